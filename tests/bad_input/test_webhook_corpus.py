"""Bad webhooks: a clear 4xx and no row, or a row set aside with its bytes kept; never a 5xx, never half an order."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from hub import jobs, plugins
from hub.app import create_app
from hub.store import connections
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.town import Town, town

ORDER: dict[str, Any] = {
    "id": 501,
    "number": "501",
    "status": "processing",
    "currency": "EUR",
    "date_created_gmt": "2026-11-20T10:00:00",
    "date_modified_gmt": "2026-11-20T10:00:00",
    "total": "30.00",
    "total_tax": "0.00",
    "shipping_total": "5.00",
    "customer_note": "",
    "billing": {"first_name": "Ann", "last_name": "Lee", "email": "ann@example.test"},
    "shipping": {"first_name": "Ann", "last_name": "Lee", "address_1": "1 High St", "country": "GB"},
    "line_items": [
        {
            "id": 1,
            "name": "Mug",
            "sku": "MUG-1",
            "product_id": 10,
            "variation_id": 0,
            "quantity": 2,
            "price": 12.5,
            "total": "25.00",
            "total_tax": "0.00",
        }
    ],
    "refunds": [],
}


@pytest.fixture
def hub_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    with town(database, keyring, merchant, plugins.load(), tmp_path) as built:
        yield built


@pytest.fixture
def connection_id(hub_town: Town) -> UUID:
    return hub_town.connect(WooCommerceConnector, WooCommerceSimulator())


@pytest.fixture
def client(hub_town: Town, connection_id: UUID) -> FlaskClient:
    return create_app(hub_town.hub).test_client()


class Sender:
    """A shop that signs whatever it sends with the connection's secret."""

    def __init__(self, hub_town: Town, connection_id: UUID, client: FlaskClient) -> None:
        self.town, self.connection_id, self.client = hub_town, connection_id, client
        row = hub_town.row(t.connection, t.connection.c.id == connection_id)
        self.secret = connections.unseal(
            hub_town.hub.keyring, hub_town.merchant, connection_id, WooCommerceConnector, row.secrets
        ).webhook_secret

    def headers(self, body: bytes, **changes: str | None) -> dict[str, str]:
        digest = hmac.digest(self.secret.encode(), body, hashlib.sha256)
        headers: dict[str, str | None] = {
            "X-WC-Webhook-Topic": "order.updated",
            "X-WC-Webhook-Signature": base64.b64encode(digest).decode(),
            "X-WC-Webhook-Source": "https://woo.example/",
            "X-WC-Webhook-Delivery-ID": "d1",
            "Content-Type": "application/json",
        }
        headers |= {name.replace("_", "-"): text for name, text in changes.items()}
        return {name: text for name, text in headers.items() if text is not None}

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        path = f"/webhooks/{self.town.merchant}/{self.connection_id}"
        return self.client.post(path, data=body, headers=headers or self.headers(body)).status_code

    def inbox(self) -> list[tuple[str, str]]:
        return [(row.state, row.error) for row in self.town.rows(t.inbox, t.inbox.c.source == "webhook")]


@pytest.fixture
def sender(hub_town: Town, connection_id: UUID, client: FlaskClient) -> Sender:
    return Sender(hub_town, connection_id, client)


def digest(hub_town: Town) -> list[Any]:
    """Everything the merchant would notice."""
    tables = (t.sales_order, t.order_line, t.stock_level, t.stock_entry, t.allocation, t.backorder, t.refund)
    return [hub_town.rows(table) for table in tables]


# ---------------------------------------------------------------- who sent it


REFUSED: dict[str, Callable[[Sender, bytes], dict[str, str]]] = {
    "no signature": lambda sender, body: sender.headers(body, X_WC_Webhook_Signature=None),
    "empty signature": lambda sender, body: sender.headers(body, X_WC_Webhook_Signature=""),
    "signature of another body": lambda sender, body: sender.headers(body + b" "),
    "short signature": lambda sender, body: sender.headers(body, X_WC_Webhook_Signature="AAAA"),
    "signature in hex": lambda sender, body: sender.headers(
        body, X_WC_Webhook_Signature=hmac.new(sender.secret.encode(), body, hashlib.sha256).hexdigest()
    ),
    "signature beyond ASCII": lambda sender, body: sender.headers(body, X_WC_Webhook_Signature="ÄÖÜ"),
    "another shop's address": lambda sender, body: sender.headers(body, X_WC_Webhook_Source="https://other.example/"),
    "no topic": lambda sender, body: sender.headers(body, X_WC_Webhook_Topic=None),
    "a topic that is none": lambda sender, body: sender.headers(body, X_WC_Webhook_Topic="../../etc/passwd"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_webhook_that_proves_nothing_is_refused_and_leaves_no_row(sender: Sender, kind: str) -> None:
    body = json.dumps(ORDER).encode()

    assert sender.post(body, REFUSED[kind](sender, body)) == 401
    assert sender.inbox() == []

    assert sender.post(body) == 200
    assert sender.inbox() == [("pending", "")]


def test_the_signature_of_another_merchants_shop_is_refused(
    sender: Sender, client: FlaskClient, hub_town: Town
) -> None:
    body = json.dumps(ORDER).encode()
    theirs = client.post(f"/webhooks/{uuid4()}/{sender.connection_id}", data=body, headers=sender.headers(body))
    unknown = client.post(f"/webhooks/{hub_town.merchant}/{uuid4()}", data=body, headers=sender.headers(body))

    assert (theirs.status_code, unknown.status_code) == (404, 404)
    assert sender.inbox() == []


def test_the_unsigned_ping_is_answered_and_not_stored(sender: Sender) -> None:
    ping = {"Content-Type": "application/x-www-form-urlencoded"}

    assert sender.post(b"webhook_id=7", ping) == 200
    assert sender.post(b"webhook_id=7&x=1", ping) == 401
    assert sender.inbox() == []


def test_fifty_megabytes_are_refused_before_they_are_read_into_memory(sender: Sender) -> None:
    body = b'{"id": 501, "x": "' + b"a" * (50 * 1024 * 1024) + b'"}'

    assert sender.post(body) == 413
    assert sender.inbox() == []


# ---------------------------------------------------------------- what it says


def _order(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


def _line(**changes: Any) -> bytes:
    order = copy.deepcopy(ORDER)
    order["line_items"][0] |= changes
    return json.dumps(order).encode()


def _without(name: str) -> bytes:
    return json.dumps({key: value for key, value in ORDER.items() if key != name}).encode()


WHOLE = json.dumps(ORDER).encode()

SET_ASIDE: dict[str, bytes] = {
    "empty body": b"",
    "white space": b"  \n ",
    "not JSON": b"hello",
    "HTML": b"<!doctype html><title>Down for maintenance</title>",
    **{f"cut off at byte {at}": WHOLE[:at] for at in range(1, len(WHOLE) - 1, 61)},
    "something behind the end": WHOLE + b"}",
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "invalid UTF-8": WHOLE.replace(b"Ann", b"\xff\xfe"),
    "Latin-1": WHOLE.replace(b"Ann", "Zoë".encode("latin-1")),
    "nested 100,000 deep": b"[" * 100_000,
    "nested and closed": b"[" * 50_000 + b"]" * 50_000,
    "a name twice": WHOLE[:-1] + b', "total": "1.00"}',
    "NaN": WHOLE.replace(b"12.5", b"NaN"),
    "Infinity": WHOLE.replace(b"12.5", b"-Infinity"),
    "5,000 digits": WHOLE.replace(b'"quantity": 2', b'"quantity": ' + b"9" * 5000),
    "a list": b"[" + WHOLE + b"]",
    "a number": b"17",
    "null": b"null",
    "an empty object": b"{}",
    **{f"without {name}": _without(name) for name in ("id", "status", "currency", "total", "date_modified_gmt")
       if name != "date_modified_gmt"},
    "no time at all": json.dumps({**ORDER, "date_modified_gmt": None, "date_created_gmt": None}).encode(),
    "id is a list": _order(id=[501]),
    "id is null": _order(id=None),
    "currency is a number": _order(currency=5),
    "currency that is none": _order(currency="EURO"),
    "total in words": _order(total="thirty"),
    "total with an underscore": _order(total="1_000"),
    "total in Arabic digits": _order(total="٣٠"),
    "total too large": _order(total="1e308"),
    "a time without sense": _order(date_modified_gmt="2026-13-40T99:00:00"),
    "a year beyond all": _order(date_modified_gmt="10000-01-01T00:00:00"),
    "lines are a text": _order(line_items="two mugs"),
    "a line is null": _order(line_items=[None]),
    "quantity is a fraction": _line(quantity=1.5),
    "quantity with a comma": _line(quantity="1,5"),
    "quantity is negative": _line(quantity=-2),
    "quantity is true": _line(quantity=True),
    "quantity is 2^63": _line(quantity=2**63),
    "quantity is null": _line(quantity=None),
    "price of a line is a list": _line(total=[]),
    "two lines with one id": _order(line_items=[ORDER["line_items"][0], ORDER["line_items"][0]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SET_ASIDE)
def test_a_record_that_cannot_be_read_is_set_aside_with_its_bytes(sender: Sender, hub_town: Town, kind: str) -> None:
    body = SET_ASIDE[kind]
    before = digest(hub_town)

    assert sender.post(body) == 200
    hub_town.work()

    [(state, error)] = sender.inbox()
    assert state == "quarantined"
    assert error
    assert digest(hub_town) == before
    row = hub_town.row(t.inbox, t.inbox.c.state == "quarantined")
    kept = hub_town.row(t.inbox_body, t.inbox_body.c.inbox_id == row.id).body
    assert hub_town.hub.keyring.unpack(kept, f"inbox_body:{hub_town.merchant}:{row.id}:body") == body
    issue = hub_town.row(t.issue, t.issue.c.kind == "unreadable_record")
    assert issue.next_step

    # The next order goes through as if nothing had happened.
    assert sender.post(WHOLE) == 200
    hub_town.work()
    assert hub_town.row(t.sales_order).total_minor == 3000


KEPT: dict[str, tuple[bytes, str, Any]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + WHOLE, "number", "501"),
    "ten thousand unknown fields": (_order(**{f"x{number}": number for number in range(10_000)}), "number", "501"),
    "names of prototypes": (_order(__proto__={"a": 1}, constructor=1, **{"": 2, "a.b": 3}), "number", "501"),
    "an id beyond 2^53": (_order(id=9007199254740993), "external_id", "9007199254740993"),
    "markup in a name": (
        _order(billing={"first_name": "<script>alert(1)</script>", "last_name": ""}),
        "customer_name",
        "<script>alert(1)</script>",
    ),
    "an emoji family": (_order(customer_note="👨‍👩‍👧‍👦"), "note", "👨‍👩‍👧‍👦"),
    "right to left": (_order(customer_note="\u202eabc"), "note", "\u202eabc"),
    "no lines": (_order(line_items=[], total="5.00"), "total_minor", 500),
    "a total that does not add up by a cent": (_order(total="30.01"), "rounding_minor", 1),
    "yen": (_order(currency="JPY", total="3000", shipping_total="500"), "total_minor", 3000),
    "lower-case currency": (_order(currency="eur"), "currency", "EUR"),
    "a status nobody knows": (_order(status="wc-at-the-baker"), "channel_status", "wc-at-the-baker"),
    "a guest without an address": (_order(billing={}, shipping={}), "customer_name", ""),
    "SQL": (_order(customer_note="'; DROP TABLE sales_order; --"), "note", "'; DROP TABLE sales_order; --"),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_odd_but_meant_is_kept(sender: Sender, hub_town: Town, kind: str) -> None:
    body, column, expected = KEPT[kind]

    assert sender.post(body) == 200
    hub_town.work()

    assert [state for state, _ in sender.inbox()] == ["done"]
    assert getattr(hub_town.row(t.sales_order), column) == expected


def test_an_order_of_ten_thousand_lines_is_kept_whole(sender: Sender, hub_town: Town) -> None:
    lines = [{**ORDER["line_items"][0], "id": number, "total": "1.00"} for number in range(10_000)]

    assert sender.post(_order(line_items=lines, total="10005.00")) == 200
    hub_town.work()

    assert hub_town.count(t.order_line) == 10_000
    assert hub_town.row(t.sales_order).rounding_minor == 0


def test_an_unreadable_record_is_read_again_when_asked(sender: Sender, hub_town: Town) -> None:
    from hub.store import inbox

    assert sender.post(b"{}") == 200
    hub_town.work()
    assert inbox.release_quarantined(hub_town.hub.database, hub_town.merchant, sender.connection_id) == 1
    assert (hub_town.merchant, sender.connection_id, "inbox") in jobs.due(hub_town.hub)
