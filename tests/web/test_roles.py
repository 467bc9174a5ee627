"""The acts of the store ask whoever acts, also where no gate stands before them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select

from hub import access
from hub.access import GRANTS, NotPermitted, Permission, Role
from hub.jobs import Hub
from hub.store import authorizations, calling_off, effects, listings, packing, routing_rules, selling, tasks, warehouse
from hub.store import tables as t
from hub.store import words as vendor_words
from hub.web import gate
from tests.web.client import HTML, Browser
from tests.web.shop_builder import Furnished, Shop
from tests.web.test_gate import FOR_MACHINES, OPEN_TO_ALL, routes

# Fields that make most forms whole; what a form does not know it leaves alone.
_FILLED = {
    "on_hand": "5",
    "reason": "counted",
    "sku": "TEA-1",
    "code": "TEA-1",
    "which": "quarantined",
    "decision": "retry",
    "name": "Cellar",
    "units": "1",
    "why": "broken",
    "address": "https://tea.example",
    "plan": "basic",
    "token": "a token of mine",
    "safety_stock": "3",
    "queue": "value",
    "format": "pdf",
    "shipped_when": "handed_over",
    "paper": "a4",
    "condition": "damaged",
    "sure": "yes",
    "email": "new@tea.example",
    "role": "support",
    "new_name": "Coffee",
}
_ANYTHING = str(uuid4())


def _of_route(endpoint: str, things: Furnished) -> dict[str, Any]:
    """What the form of this route says beside that."""
    bulk = {"act": "tag", "tag": "gift", "order": str(things.order_id)}
    location, sku = str(things.location_id), str(things.sku_id)
    millimeters = dict.fromkeys(("length_mm", "width_mm", "height_mm", "empty_grams", "most_grams"), "100")
    said: dict[str, dict[str, Any]] = {
        "bulk.ask": bulk,
        "collecting.email": {"email": _ANYTHING},
        "handling.act": {"act": "tags", "tags": "gift"},
        "journal.resolve_many": {"issue_id": str(things.issue_id)},
        "matching.decide": {"act": "ignore", "listing": str(things.unmatched_listing_id)},
        "order_acts.again": {"act": "fetch"},
        "orders.work": {"act": "release_work", "part": "1"},
        "packing.finish": {"act": "pack"},
        "packing.merge": {"other": _ANYTHING},
        "packing.parcel": {"number": "2"},
        "packing.save_box": {"box": _ANYTHING} | millimeters,
        "packing.set_shelf": {"location": location, "sku": sku},
        "packing.split": {"line": _ANYTHING},
        "packing.take_apart": {"other": _ANYTHING},
        "people.change": {"act": "disable"},
        "routing.choose": {"location": location},
        "shipments.act": {"act": "hand_over"},
        "shipments.act_on_many": {"act": "hand_over", "shipment": str(things.shipment_id), "once": _ANYTHING},
        "stock.act_on_many": {"act": "safety_stock", "sku": sku, "at": location},
        "stock.condition": {"act": "set_aside"},
        "stock.define_kit": {"act": "enter", "sku": sku},
        "stock_import.choose": {"meaning": "counted"},
        "stock_import.hand_in": {"file": (BytesIO(b"SKU,Quantity\r\nTEA-1,5\r\n"), "stock.csv")},
    }
    return said.get(endpoint, {})


# Where the form of no more than this shop has would be refused first: the acts behind it, each of which asks.
_BEHIND: dict[str, Sequence[Any]] = {
    "authorize.connect": [authorizations.begin],
    "authorize.reconnect": [authorizations.begin],
    "columns.look": [vendor_words.assign_columns],
    "connections.decide": [effects.retry, effects.mark_succeeded, effects.cancel],
    "order_acts.cancel_now": [calling_off.cancel_order],
    "order_acts.give_back": [calling_off.refund],
    "packing.find": [packing.begin],
    "routing.change": [routing_rules.save],
    "selling.save": [selling.save_rule],
    "sync.stock_there": [listings.stock_there],
    "warehouse.arrive": [warehouse.arrive],
    "warehouse.count": [warehouse.count],
    "warehouse.receive": [warehouse.receive],
    "warehouse.transfer": [warehouse.send],
    "words.choose": [vendor_words.choose],
}
# Behind these the act asks for more than one thing, or there is none.
_APART = {
    "collecting.find": "leads to a page",
    "columns.fetch": "a task, which asks for what its kind takes",
    "home.walk_on": "one step after the other of those that have pages of their own",
    "settings.send_test": "writes nothing: an e-mail to whoever asks",
    "sync.apply": "a task, which asks for what its kind takes",
}
# Lists as files: whoever may look may take them along.
_FILES = {"orders.export", "stock.export", "stock_import.bad", "warehouse.export"}


def test_without_the_gate_the_acts_themselves_refuse_whoever_may_only_look(
    hub: Hub, app: Flask, shop: Shop, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.person("kim@tea.example", "read_only", "Kim")
    kim = Browser(app).sign_in("kim@tea.example")
    token = kim.token("/settings")
    unguarded = SimpleNamespace(begin=access.begin, end=access.end, demand=lambda permission: None)
    monkeypatch.setattr(gate, "access", unguarded)
    before = everything(hub)

    refused: set[str] = set()
    others: set[str] = set()
    for endpoint, method, path in routes(app, things):
        view = app.view_functions[endpoint]
        if method == "GET" or endpoint in OPEN_TO_ALL | FOR_MACHINES or getattr(view, "is_own_account", False):
            continue
        if endpoint in _FILES:
            continue
        form = {"csrf_token": token, "once": str(uuid4()), "location_id": str(things.location_id)}
        form |= _FILLED | _of_route(endpoint, things)
        answer = kim.client.open(path, method=method, base_url=kim.base_url, data=form, headers=HTML)
        (refused if answer.status_code == 403 else others).add(endpoint)

    assert everything(hub) == before
    assert hub.doorbell.rung == []  # type: ignore[attr-defined]
    assert sorted(others) == sorted(_BEHIND.keys() | _APART.keys())
    assert len(refused) >= 77


def test_an_act_that_no_such_form_reaches_asks_what_its_route_asks(app: Flask) -> None:
    views: dict[str, Any] = app.view_functions
    asked = {endpoint: {getattr(act, "permission", None) for act in acts} for endpoint, acts in _BEHIND.items()}

    assert asked == {endpoint: {views[endpoint].permission} for endpoint in _BEHIND}


def everything(hub: Hub) -> dict[str, list[str]]:
    """All rows of all tables, but for when a session was last used."""
    with hub.database.read() as db:
        return {
            table.name: sorted(map(str, db.execute(select(table))))
            for table in t.metadata.sorted_tables
            if table.name != "session"
        }


def test_an_act_asks_what_its_route_asks(hub: Hub, shop: Shop, things: Furnished) -> None:
    def count() -> Any:
        return warehouse.adjust(
            hub.database, shop.merchant_id, things.sku_id, things.location_id, 5, "counted", "kim@tea.example", "form/1"
        )

    with access.acting_as(GRANTS[Role.SUPPORT]), pytest.raises(NotPermitted, match="does not let you change stock"):
        count()
    with access.acting_as(GRANTS[Role.WAREHOUSE]):
        count()


def test_a_task_asks_for_what_its_kind_takes(hub: Hub, shop: Shop, things: Furnished) -> None:
    def ask(kind: str) -> None:
        tasks.ask(hub.database, shop.merchant_id, things.connection_id, kind, "joan@tea.example")

    with access.acting_as(frozenset({Permission.CATALOG})):
        ask("match")
        with pytest.raises(NotPermitted, match="decide how connections run"):
            ask("preview")


def test_the_hub_itself_may_do_everything(hub: Hub, shop: Shop, things: Furnished) -> None:
    with access.acting_as(None):
        tasks.ask(hub.database, shop.merchant_id, things.connection_id, "preview", "")
