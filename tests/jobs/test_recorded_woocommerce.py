"""The 47 recorded deliveries of a real WooCommerce, posted with their own bytes and headers to a running hub."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import update
from werkzeug.serving import make_server

from hub import plugins
from hub.app import create_app
from hub.store import connections
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.town import Town, town

RECORDED = Path(__file__).parents[2] / "connectors/woocommerce/tests/payloads/_webhook_deliveries.jsonl"
BUSINESS = (t.sales_order, t.order_line, t.refund, t.listing, t.stock_level, t.stock_entry, t.allocation, t.issue)


@pytest.fixture
def recorded_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    with town(database, keyring, merchant, plugins.load(), tmp_path) as built:
        yield built


@pytest.fixture
def connection_id(recorded_town: Town) -> UUID:
    """A connection to the shop of the recordings, whose webhooks were signed with “s3cret”."""
    shop = WooCommerceSimulator(site="https://127.0.0.1:8099")
    connection_id = recorded_town.connect(WooCommerceConnector, shop)
    schema = WooCommerceConnector.settings_schema()
    settings = schema.dump(schema.load(shop.settings()))
    hub = recorded_town.hub
    sealed = connections.seal(hub.keyring, recorded_town.merchant, connection_id, settings, "s3cret")
    with hub.database.write() as connection:
        connection.execute(update(t.connection).where(t.connection.c.id == connection_id).values(secrets=sealed))
    return connection_id


@pytest.fixture
def deliveries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


@contextmanager
def running(built: Town) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(built.hub), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(address: str, built: Town, connection_id: UUID, delivery: dict[str, Any]) -> int:
    headers = {
        name: text
        for name, text in delivery["headers"].items()
        if name == "Content-Type" or name.startswith("X-WC-Webhook")
    }
    path = f"{address}/webhooks/{built.merchant}/{connection_id}"
    with requests.Session() as session:
        session.trust_env = False
        return session.post(path, data=delivery["body"].encode(), headers=headers, timeout=30).status_code


def told(built: Town, external_id: str) -> tuple[Any, ...]:
    """(status, the shop's word, total, shipping, rounding) of an order, all money in cents."""
    row = built.row(t.sales_order, t.sales_order.c.external_id == external_id)
    return row.status, row.channel_status, row.total_minor, row.shipping_minor, row.rounding_minor


def lines(built: Town, external_id: str) -> list[tuple[Any, ...]]:
    """(id, listing, quantity, total in cents) of an order's lines."""
    order = built.row(t.sales_order, t.sales_order.c.external_id == external_id)
    rows = sorted(built.rows(t.order_line, t.order_line.c.order_id == order.id), key=lambda row: row.position)
    return [(row.external_id, row.listing_external_id, row.quantity, row.total_minor) for row in rows]


def refunds(built: Town, external_id: str) -> list[tuple[str, int, str]]:
    order = built.row(t.sales_order, t.sales_order.c.external_id == external_id)
    return [
        (row.external_id, row.amount_minor, row.reason) for row in built.rows(t.refund, t.refund.c.order_id == order.id)
    ]


def test_they_come_out_right_to_the_cent_and_a_second_time_change_nothing(
    recorded_town: Town, connection_id: UUID, deliveries: list[dict[str, Any]]
) -> None:
    with running(recorded_town) as address:
        answers = [post(address, recorded_town, connection_id, each) for each in deliveries]
        recorded_town.work()

        assert answers == [200] * 47
        # 39 deliveries and no row for the eight pings.
        assert recorded_town.count(t.inbox, t.inbox.c.source == "webhook") == 39
        assert recorded_town.count(t.inbox, t.inbox.c.state.in_(["pending", "quarantined"])) == 0
        assert told(recorded_town, "14") == ("fulfilled", "completed", 3749, 499, 0)
        assert told(recorded_town, "15") == ("refunded", "refunded", 4999, 499, 0)
        # Cancelled in the last body of the three that share one time; deleted by a message that is only an id; and the
        # shop, asked, does not have it any more.
        assert told(recorded_town, "16") == ("removed", "cancelled", 6249, 499, 0)
        assert told(recorded_town, "19") == ("open", "processing", 2500, 0, 0)
        assert told(recorded_town, "20") == told(recorded_town, "21") == ("pending", "pending", 1250, 0, 0)
        assert recorded_town.count(t.sales_order) == 6
        assert lines(recorded_town, "14") == [("1", "10", 1, 1250), ("2", "12", 1, 2000)]
        assert lines(recorded_town, "15") == [("4", "10", 2, 2500), ("5", "12", 1, 2000)]
        assert lines(recorded_town, "16") == [("7", "10", 3, 3750), ("8", "12", 1, 2000)]
        assert lines(recorded_town, "19") == [("11", "10", 2, 2500)]
        assert refunds(recorded_town, "14") == [("18", 1250, "")]
        assert refunds(recorded_town, "15") == [("22", 4999, "Order fully refunded.")]
        assert refunds(recorded_town, "16") == [("17", 1250, "damaged")]

        before = [recorded_town.rows(table) for table in (*BUSINESS, t.inbox)]
        random.Random(7).shuffle(deliveries)
        with ThreadPoolExecutor(10) as senders:
            again = list(senders.map(lambda each: post(address, recorded_town, connection_id, each), deliveries))
        recorded_town.work()

    assert again == [200] * 47
    assert [recorded_town.rows(table) for table in (*BUSINESS, t.inbox)] == before


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_at_first_no_order_is_lost_though_delivery_ids_collide(
    recorded_town: Town, connection_id: UUID, deliveries: list[dict[str, Any]], seed: int
) -> None:
    ids = [
        each["headers"].get("X-WC-Webhook-Delivery-ID")
        for each in deliveries
        if "X-WC-Webhook-Topic" in each["headers"]
    ]
    assert len(set(ids)) < len(ids)
    random.Random(seed).shuffle(deliveries)

    with running(recorded_town) as address, ThreadPoolExecutor(10) as senders:
        list(senders.map(lambda each: post(address, recorded_town, connection_id, each), deliveries))
    recorded_town.work()

    # What has one newest body comes out the same whatever came first.
    assert told(recorded_town, "14")[:3] == ("fulfilled", "completed", 3749)
    assert told(recorded_town, "15")[:3] == ("refunded", "refunded", 4999)
    assert told(recorded_town, "20") == told(recorded_town, "21") == ("pending", "pending", 1250, 0, 0)
    # Order 16 was deleted, and the shop confirms that it is gone.
    assert told(recorded_town, "16")[0] == "removed"
    assert recorded_town.count(t.sales_order) == 6
