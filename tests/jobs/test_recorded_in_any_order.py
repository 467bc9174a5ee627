"""The recorded WooCommerce deliveries arriving in any order: what they leave open, asking the shop settles."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.connector import RawRecord, Webhook
from hub.core.model import Listing
from hub.store import connections, inbox, listings, matching, warehouse
from hub.store import tables as t
from hub.testing.simulator import SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.town import OWNER, Town

PAYLOADS = Path(__file__).parents[2] / "connectors" / "woocommerce" / "tests" / "payloads"
DELIVERIES = [json.loads(line) for line in (PAYLOADS / "_webhook_deliveries.jsonl").read_text().splitlines()]
SEEDS = pytest.mark.parametrize("seed", range(3))

FULL_REFUND = {
    "id": 22,
    "amount": "49.99",
    "reason": "Order fully refunded.",
    "date_created_gmt": "2026-11-21T22:34:37",
    "line_items": [],
}


def recorded(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())["response"]["json"]


def last_bodies() -> dict[str, dict[str, Any]]:
    """Each order as its last delivery tells it."""
    bodies: dict[str, dict[str, Any]] = {}
    for delivery in DELIVERIES:
        if delivery["headers"].get("X-WC-Webhook-Topic", "").startswith("order."):
            body = json.loads(delivery["body"])
            bodies[str(body["id"])] = bodies.get(str(body["id"]), {}) | body
    return bodies


class RecordedShop(WooCommerceSimulator):
    """A shop that, asked for an order, answers with how it ended; with nothing known it has no order at all."""

    def __init__(self, ends: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__(site="https://127.0.0.1:8099")
        self.ends = ends

    def answer(self, request: SimRequest) -> SimResponse:
        asked = re.search(r"/orders/([0-9]+)(/refunds)?$", request.path)
        if asked and asked[1] in self.ends:
            order, refunds = self.ends[asked[1]]
            return SimResponse.of_json(refunds if asked[2] else order)
        return super().answer(request)


def with_every_order() -> RecordedShop:
    ends = {external_id: (body, []) for external_id, body in last_bodies().items()}
    ends["14"] = (ends["14"][0], recorded("refunds_list"))
    ends["15"] = (ends["15"][0], [FULL_REFUND])
    ends["16"] = (ends["16"][0] | {"status": "trash"}, [recorded("refund_create_amount")])
    return RecordedShop(ends)


def open_recorded(town: Town, shop: RecordedShop) -> UUID:
    """Connect the shop with the secret of the recordings, and a hundred of each of its two goods on the shelf."""
    place = town.connect(WooCommerceConnector, shop)
    settings = WooCommerceConnector.settings_schema().dump(WooCommerceConnector.settings_schema().load(shop.settings()))
    sealed = connections.seal(town.hub.keyring, town.merchant, place, settings, "s3cret")
    with town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(secrets=sealed))
        known = [each for body in goods() for each in shop_reads(town, place, body)]
        listings.keep(connection, town.merchant, place, known, at=town.hub.database.now(connection))
    shelf = town.row(t.location)
    for external_id, code in (("10", "MUG"), ("12", "TEE")):
        listing = town.row(t.listing, t.listing.c.external_id == external_id)
        matching.bind(town.hub.database, town.merchant, listing.id, code, OWNER)
        sku = town.row(t.sku, t.sku.c.code == code)
        warehouse.adjust(town.hub.database, town.merchant, sku.id, shelf.id, 100, "counted", OWNER, f"count/{code}")
    with town.hub.database.write() as connection:
        connection.execute(update(t.sku).values(counted_since=datetime(2026, 11, 1, tzinfo=UTC)))
    return place


def goods() -> list[bytes]:
    created = (each for each in DELIVERIES if each["headers"].get("X-WC-Webhook-Topic") == "product.created")
    return [each["body"].encode() for each in created if json.loads(each["body"])["id"] in (10, 12)]


def shop_reads(town: Town, place: UUID, body: bytes) -> list[Any]:
    facts = reader(town, place).read_webhook(RawRecord("product.created", "", body))
    return [fact for fact in facts if isinstance(fact, Listing)]


def reader(town: Town, place: UUID) -> WooCommerceConnector:
    sealed = town.row(t.connection, t.connection.c.id == place).secrets
    credentials = connections.unseal(town.hub.keyring, town.merchant, place, WooCommerceConnector, sealed)
    return town.hub.reader(WooCommerceConnector, credentials)


def arrive(town: Town, place: UUID, seed: int) -> None:
    """Let every delivery come in, shuffled, in batches of any size, each read and followed up before the next."""
    chance = random.Random(seed)
    shuffled = list(DELIVERIES)
    chance.shuffle(shuffled)
    door = reader(town, place)
    for raw in shuffled:
        webhook = Webhook({name.lower(): text for name, text in raw["headers"].items()}, raw["body"].encode())
        delivery = door.verify(webhook)
        if delivery is not None:
            inbox.store_webhook(town.hub.database, town.hub.keyring, town.merchant, place, delivery, webhook)
        if chance.random() < 0.3:
            town.work()
    town.work()


def told(town: Town) -> dict[str, tuple[Any, ...]]:
    """By order: status, total and its lines as (quantity, shipped, still held) and refunds, in cents."""
    held = {row.order_line_id: row.quantity for row in town.rows(t.allocation)}
    said = {}
    for order in town.rows(t.sales_order):
        lines = sorted(town.rows(t.order_line, t.order_line.c.order_id == order.id), key=lambda line: line.position)
        refunds = {row.external_id: row.amount_minor for row in town.rows(t.refund, t.refund.c.order_id == order.id)}
        said[order.external_id] = (
            order.status,
            order.total_minor,
            [(line.quantity, line.shipped, held.get(line.id, 0)) for line in lines],
            refunds,
        )
    return said


@SEEDS
def test_with_a_shop_that_knows_how_each_order_ended_every_arrival_ends_the_same(hub_town: Town, seed: int) -> None:
    place = open_recorded(hub_town, with_every_order())

    arrive(hub_town, place, seed)

    assert told(hub_town) == {
        "14": ("fulfilled", 3749, [(1, 1, 0), (1, 1, 0)], {"18": 1250}),
        "15": ("refunded", 4999, [(2, 0, 0), (1, 0, 0)], {"22": 4999}),
        "16": ("removed", 6249, [(3, 0, 0), (1, 0, 0)], {"17": 1250}),
        "19": ("open", 2500, [(2, 0, 2)], {}),
        "20": ("pending", 1250, [(1, 0, 0)], {}),
        "21": ("pending", 1250, [(1, 0, 0)], {}),
    }
    assert hub_town.stock() == {"MUG": (99, 2), "TEE": (99, 0)}
    assert (hub_town.count(t.fetch_request), hub_town.issues()) == (0, [])
    assert hub_town.count(t.inbox, t.inbox.c.state.in_(["pending", "quarantined"])) == 0
    hub_town.sound()


@SEEDS
def test_with_a_shop_that_has_none_of_them_any_more_the_last_received_stands_and_a_person_is_told(
    hub_town: Town, seed: int
) -> None:
    place = open_recorded(hub_town, RecordedShop({}))

    arrive(hub_town, place, seed)

    said = told(hub_town)
    assert {id: (status, total) for id, (status, total, *_) in said.items()} == {
        "14": ("fulfilled", 3749),
        "15": ("refunded", 4999),
        "16": ("removed", said["16"][1]),  # nothing at all is known of it if its deletion came last of few
        "19": ("open", 2500),
        "20": ("pending", 1250),
        "21": ("pending", 1250),
    }
    assert said["16"][2] in ([], [(3, 0, 0), (1, 0, 0)])
    assert said["19"][2] == [(2, 0, 2)]
    assert (said["14"][3], said["15"][3]) == ({"18": 1250}, {"22": 4999})
    levels = hub_town.stock()
    assert (levels["MUG"][1], levels["TEE"]) == (2, (99, 0))
    assert levels["MUG"][0] in (99, 100), "whether the refunded unit had left is what only the shop could say"
    assert set(hub_town.issues()) == {"order_not_found"}
    assert hub_town.count(t.fetch_request) == 0
    hub_town.sound()
