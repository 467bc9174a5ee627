"""Customers who ask to be forgotten: nothing of them is left in the database, and money and goods are as before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import LargeBinary, insert, select, update

from hub import jobs
from hub.connector import Disconnected, Fact, PersonalDataErased, PersonalDataWanted, RawRecord
from hub.core.model import Address, ChannelShipment, Hold, HoldReason, LineQuantity, Money, Order, Refund
from hub.errors import Conflict, Unreadable
from hub.http import Exchange
from hub.jobs import erasing
from hub.plugins import Registry
from hub.store import activity, audit, connections, exchanges, forgetting, privacy
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.exchanges import Line
from hub.store.secrets import KeyRing
from tests.jobs.fake_shop import FakeChannel, Shop, open_shop, send
from tests.town import OWNER, Town, town

CANARY = "Quillfeather"
EMAIL = "zenobia@quillfeather.example"


class PersonalChannel(FakeChannel):
    """A channel whose orders say whose they are, wherever an order can say it."""

    name = "personal"

    def read_order(self, record: RawRecord) -> Order:
        return named(super().read_order(record), self._body(record))

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        body = self._body(record)
        if record.topic == "broken":
            raise Unreadable(f"“{body['name']}” is no number.")
        asked = {"order_external_ids": tuple(body.get("orders", ())), "email": body.get("email", "")}
        match record.topic:
            case "customer.wants":
                return [PersonalDataWanted(reference=body["id"], **asked)]
            case "customer.gone":
                return [PersonalDataErased(reference=body["id"], **asked)]
            case "shop.gone":
                return [PersonalDataErased(reference=body["id"], everything=True)]
            case "uninstalled":
                told = body.get("at")
                at = datetime.fromisoformat(told) if told else None
                return [Disconnected("The app was removed from the shop.", at)]
            case "order":
                return [self.read_order(record)]
        return ()


def named(order: Order, body: dict[str, Any]) -> Order:
    who = body.get("name")
    if who is None:
        return order
    there = Address(name=f"Ms {who}", line1=f"1 {who} Lane", city="Quill", country="GB", phone=f"+44 {who}")
    return replace(
        order,
        customer_name=f"Ms {who}",
        email=body.get("email", EMAIL),
        note=f"Leave it with Mr {who}",
        shipping_address=there,
        billing_address=there,
        tags=(f"vip {who}",),
        attributes={"gift": f"For {who}"},
        lines=tuple(replace(line, attributes={"engraving": who}) for line in order.lines),
        refunds=(Refund(external_id="r1", amount=Money.of(1, "EUR"), reason=f"{who} did not like it"),),
        holds=(Hold(external_id="h1", reason=HoldReason.MANUAL, note=f"Ask {who}"),) if body.get("held") else (),
        shipments=(
            (
                ChannelShipment(
                    external_id="s1",
                    lines=tuple(LineQuantity(line_external_id=line.external_id, quantity=1) for line in order.lines),
                    tracking_numbers=(f"TRACK-{who}",),
                ),
            )
            if body.get("tracked")
            else ()
        ),
    )


@pytest.fixture
def hub_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    with town(database, keyring, merchant, Registry({"personal": PersonalChannel}), tmp_path) as built:
        yield built


@pytest.fixture
def shop(hub_town: Town) -> Shop:
    return Shop(stock={"mug": 100})


@pytest.fixture
def place(hub_town: Town, shop: Shop) -> UUID:
    return open_shop(hub_town, shop, PersonalChannel)


# One kind of database is enough where the database is not what the test is about.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def everything(town: Town) -> dict[str, str]:
    """The whole database as text, table by table, with whatever is encrypted opened."""
    keyring = town.hub.keyring
    found = {}
    for table in t.metadata.sorted_tables:
        said = []
        for row in town.rows(table):
            for column in table.columns:
                value = getattr(row, column.name)
                if isinstance(column.type, LargeBinary) and value is not None:
                    value = _opened(keyring, table.name, row, value)
                said.append(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
        found[table.name] = "\n".join(said)
    return found


def _opened(keyring: KeyRing, table: str, row: Any, value: bytes) -> str:
    merchant = row.merchant_id
    places = {
        "inbox_body": lambda: keyring.unpack(value, f"inbox_body:{merchant}:{row.inbox_id}:body"),
        "connection": lambda: keyring.decrypt(value, f"connection:{merchant}:{row.id}:secrets"),
        "privacy_request": lambda: keyring.decrypt(value, f"privacy_request:{merchant}:{row.id}:subject"),
        "exchange": lambda: keyring.unpack(value, f"exchange:{merchant}:{row.id}:details"),
        "task": lambda: keyring.decrypt(value, f"task:{merchant}:{row.connection_id}:{privacy.TASK}"),
    }
    return places[table]().decode("utf-8", "replace")


def mentions(town: Town, *texts: str) -> list[str]:
    """The tables in which any of these is still said."""
    low = [text.lower() for text in texts or (CANARY, "zenobia@")]
    return sorted(name for name, said in everything(town).items() if any(text in said.lower() for text in low))


def asked(url: str, status: int = 200, said: str = "") -> Exchange:
    sizes = {"seconds": 0.1, "request_bytes": 0, "response_bytes": len(said)}
    return Exchange(
        method="GET", url=url, status=status, request_headers={}, response_headers={}, response_excerpt=said, **sizes
    )


def live_a_little(town: Town, shop: Shop, place: UUID) -> list[dict[str, Any]]:
    """Zenobia buys twice and changes her mind; a letter about her cannot be read, another matters to nobody."""
    first = shop.buy("mug", 2, name=CANARY, held=True, tracked=True)
    send(town, place, "order", first)
    town.work()
    first = shop.change(first, name=f"{CANARY}-Jones")
    send(town, place, "order", first)
    second = shop.buy("mug", 1, name=CANARY)
    town.poll(place)
    send(town, place, "customer", {"id": "c1", "name": CANARY, "email": EMAIL})
    send(town, place, "broken", {"id": "b1", "name": CANARY})
    town.work()
    order = town.row(t.sales_order, t.sales_order.c.external_id == first["id"])
    with town.hub.database.write() as connection:
        at = town.hub.database.now(connection)
        said: dict[str, Any] = {"at": at, "connection_id": place}
        activity.note(connection, town.merchant, "order_note", f"Called {CANARY}", order_id=order.id, **said)
        activity.raise_issue(
            connection, town.merchant, "address", "x", f"{CANARY} Lane is not known", "Ask.", order_id=order.id, **said
        )
        activity.raise_issue(
            connection, town.merchant, "shortfall", "y", "Two mugs too many", "Count.", order_id=order.id, **said
        )
        activity.note(connection, town.merchant, "odd", f"{EMAIL} wrote", **said)
        exchanges.keep(
            connection,
            town.hub.keyring,
            town.merchant,
            place,
            [
                Line(asked(f"https://shop.example/customers?q={quote(EMAIL)}"), at, "fetch"),
                Line(asked("https://shop.example/refused", 422, f"Ms {CANARY} has no such address"), at, "effects"),
                Line(asked("https://shop.example/labels"), at, "effects", order_id=order.id),
                Line(asked(f"https://shop.example/orders/{first['id']}"), at, "fetch"),
            ],
        )
    return [first, second]


# ---------------------------------------------------------------- being forgotten


def test_who_asks_to_be_forgotten_is_nowhere_in_the_database(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, second = live_a_little(hub_town, shop, place)
    other = shop.buy("mug", 1, name="Somebody", email="somebody@else.example")
    send(hub_town, place, "order", other)
    hub_town.work()
    assert {"sales_order", "order_line", "order_version", "refund", "inbox_body", "activity", "issue"} <= set(
        mentions(hub_town)
    )
    stock, figures = hub_town.stock(), dict(shop.stock)
    money = sorted((row.external_id, row.total_minor, row.status) for row in hub_town.rows(t.sales_order))

    send(hub_town, place, "customer.gone", {"id": "w1", "orders": [first["id"], second["id"]], "email": EMAIL})
    hub_town.work()

    assert mentions(hub_town) == []
    assert sorted((row.external_id, row.total_minor, row.status) for row in hub_town.rows(t.sales_order)) == money
    assert (hub_town.stock(), shop.stock) == (stock, figures)
    kept = hub_town.row(t.sales_order, t.sales_order.c.external_id == other["id"])
    assert (kept.customer_name, kept.erased_at) == ("Ms Somebody", None), "nobody else is forgotten"
    assert "Two mugs too many" in {row.title for row in hub_town.rows(t.issue)}, "what is to be done about goods stays"
    request = hub_town.row(t.privacy_request)
    assert (request.kind, request.reference, request.orders, request.subject) == ("erased", "w1", 2, None)
    assert request.done_at is not None
    assert hub_town.row(t.task, t.task.c.kind == privacy.TASK).state == "done"
    hub_town.sound()


@on_sqlite
def test_they_are_gone_in_the_commit_that_hears_of_it(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, _ = live_a_little(hub_town, shop, place)
    send(hub_town, place, "customer.gone", {"id": "w1", "orders": [first["id"]], "email": EMAIL})

    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)

    assert {row.customer_name for row in hub_town.rows(t.sales_order)} == {""}
    assert not {"sales_order", "order_line", "order_version", "refund"} & set(mentions(hub_town))


@on_sqlite
def test_an_order_that_comes_in_again_brings_nobody_back(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, second = live_a_little(hub_town, shop, place)
    send(hub_town, place, "customer.gone", {"id": "w1", "orders": [first["id"], second["id"]], "email": EMAIL})
    hub_town.work()

    send(hub_town, place, "order", shop.change(first, lines=[{**first["lines"][0], "quantity": 3}]))
    shop.change(second, name=CANARY)
    hub_town.poll(place)

    assert mentions(hub_town) == []
    line = hub_town.row(t.order_line, t.order_line.c.quantity == 3)
    assert line.attributes == {}, "what was bought is followed, for whom is not"
    hub_town.sound()


@on_sqlite
def test_an_order_that_comes_in_only_after_it_is_forgotten_as_well(hub_town: Town, shop: Shop, place: UUID) -> None:
    order = shop.buy("mug", 1, name=CANARY)
    send(hub_town, place, "customer.gone", {"id": "w1", "orders": [order["id"]]})
    hub_town.work()

    hub_town.poll(place)
    hub_town.work()

    assert mentions(hub_town) == []
    assert hub_town.row(t.sales_order).erased_at is not None
    assert hub_town.stock() == {"MUG": (100, 1)}


@on_sqlite
def test_heard_twice_it_is_done_once(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, _ = live_a_little(hub_town, shop, place)
    for _ in range(2):
        send(hub_town, place, "customer.gone", {"id": "w1", "orders": [first["id"]]})
        hub_town.work()

    assert hub_town.count(t.privacy_request) == 1
    assert hub_town.count(t.task, t.task.c.kind == privacy.TASK) == 1


def test_a_whole_shop_is_forgotten_bit_by_bit_and_goes_on_where_it_stopped(
    hub_town: Town, shop: Shop, place: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "PER_COMMIT", 2)
    for number in range(5):
        shop.buy("mug", 1, name=f"{CANARY} {number}")
    hub_town.poll(place)
    send(hub_town, place, "shop.gone", {"id": "w1"})
    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
    original = privacy.go_on
    steps: list[Any] = []

    def dies_after_the_second(*arguments: Any) -> Any:
        if len(steps) == 2:
            steps.append(None)
            raise RuntimeError("a bug")
        steps.append(original(*arguments))
        return steps[-1]

    monkeypatch.setattr(privacy, "go_on", dies_after_the_second)
    hub_town.work()
    assert [step.done for step in steps[:2] if step] == [2, 4]
    assert hub_town.issues() == [erasing.STUCK]
    assert hub_town.row(t.task, t.task.c.kind == privacy.TASK).state == "waiting"

    hub_town.let_pass(400)
    hub_town.work()

    assert mentions(hub_town) == []
    assert hub_town.row(t.privacy_request).orders == 5
    assert hub_town.issues() == []
    hub_town.sound()


@on_sqlite
def test_the_audit_finds_what_came_back(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, _ = live_a_little(hub_town, shop, place)
    send(hub_town, place, "customer.gone", {"id": "w1", "orders": [first["id"]]})
    hub_town.work()
    hub_town.sound()

    with hub_town.hub.database.write() as connection:
        connection.execute(
            update(t.sales_order).where(t.sales_order.c.erased_at.is_not(None)).values(note=f"{CANARY} again")
        )

    found = audit.audit(hub_town.hub.database, hub_town.hub.keyring)
    assert {each.title: each.count for each in found if each.count} == {"What was erased is gone": 1}


# ---------------------------------------------------------------- after the app is gone


@on_sqlite
def test_a_shop_that_took_the_app_out_is_paused_and_to_be_reconnected(hub_town: Town, shop: Shop, place: UUID) -> None:
    send(hub_town, place, "uninstalled", {"id": "u1"})
    hub_town.work()

    row = hub_town.row(t.connection)
    assert (row.state, row.error) == ("paused", "The app was removed from the shop.")
    assert hub_town.issues() == ["reconnect"]

    again = PersonalChannel.settings_schema().load({"shop": shop.name})
    connections.reconnect(
        hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, place, PersonalChannel, again, OWNER
    )
    hub_town.work()
    assert (hub_town.row(t.connection).state, hub_town.issues()) == ("connected", [])


@on_sqlite
def test_an_old_farewell_does_not_pause_a_shop_that_was_connected_since(
    hub_town: Town, shop: Shop, place: UUID
) -> None:
    send(hub_town, place, "uninstalled", {"id": "u1"})
    with hub_town.hub.database.write() as connection:
        at = hub_town.hub.database.now(connection)
        connection.execute(update(t.connection).values(checked_at=at))

    hub_town.work()

    assert hub_town.row(t.connection).state == "connected"


@on_sqlite
def test_a_farewell_that_comes_late_says_when_it_was(hub_town: Town, shop: Shop, place: UUID) -> None:
    with hub_town.hub.database.write() as connection:
        at = hub_town.hub.database.now(connection)
        connection.execute(update(t.connection).values(checked_at=at))
    send(hub_town, place, "uninstalled", {"id": "u1", "at": (at - timedelta(hours=4)).isoformat()})
    hub_town.work()
    assert hub_town.row(t.connection).state == "connected", "it was reconnected since"

    send(hub_town, place, "uninstalled", {"id": "u2", "at": (at + timedelta(seconds=1)).isoformat()})
    hub_town.work()
    assert hub_town.row(t.connection).state == "paused"


@on_sqlite
def test_another_connection_to_the_same_shop_is_forgotten_with_it(hub_town: Town, shop: Shop, place: UUID) -> None:
    live_a_little(hub_town, shop, place)
    hub = hub_town.hub
    connections.remove(hub.database, hub_town.merchant, place, OWNER, keyring=hub.keyring, connector=PersonalChannel)
    newer = open_shop(hub_town, shop, PersonalChannel, adopt=False)

    send(hub_town, newer, "shop.gone", {"id": "w1"})
    hub_town.work()

    assert mentions(hub_town) == ["activity"], "but for what a person wrote about no order"
    assert {row.connection_id for row in hub_town.rows(t.sales_order, t.sales_order.c.erased_at.is_not(None))} == {
        place,
        newer,
    }


# ---------------------------------------------------------------- being told


@on_sqlite
def test_who_asks_what_is_kept_is_told_all_of_it_by_the_merchant(hub_town: Town, shop: Shop, place: UUID) -> None:
    first, second = live_a_little(hub_town, shop, place)
    send(hub_town, place, "customer.wants", {"id": "w1", "orders": [first["id"]], "email": EMAIL.upper()})
    hub_town.work()
    request = hub_town.row(t.privacy_request)
    assert (request.kind, request.orders, (request.due_at - request.received_at).days) == ("wanted", 2, 30)
    assert privacy.WANTED in hub_town.issues()
    assert EMAIL.encode() not in request.subject

    found = privacy.take_along(hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, request.id, OWNER)

    said = json.dumps(found, ensure_ascii=False)
    assert [each["order"]["external_id"] for each in found["orders"]] == [first["id"], second["id"]]
    for text in (f"Leave it with Mr {CANARY}", f"+44 {CANARY}", f"For {CANARY}", "did not like it", f"Called {CANARY}"):
        assert text in said
    assert json.loads(found["orders"][1]["received"][0]["body"])["name"] == CANARY
    noted = hub_town.row(t.activity, t.activity.c.kind == "personal_data_downloaded")
    assert (noted.actor, noted.details) == (OWNER, {"request": str(request.id), "orders": 2})
    assert CANARY not in noted.summary

    privacy.hand_out(hub_town.hub.database, hub_town.merchant, request.id, OWNER)

    assert privacy.WANTED not in hub_town.issues()
    done = hub_town.row(t.privacy_request)
    assert (done.done_by, done.subject) == (OWNER, None)
    with pytest.raises(Conflict, match="This request is done"):
        privacy.take_along(hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, request.id, OWNER)
    assert len(hub_town.rows(t.activity, t.activity.c.kind == "personal_data_downloaded")) == 1


@on_sqlite
def test_another_merchant_is_told_nothing(hub_town: Town, shop: Shop, place: UUID) -> None:
    live_a_little(hub_town, shop, place)
    stranger = new_id()
    with hub_town.hub.database.write() as connection:
        now = hub_town.hub.database.now(connection)
        connection.execute(insert(t.merchant).values(id=stranger, name="Other", created_at=now))
    send(hub_town, place, "customer.wants", {"id": "w1", "email": EMAIL})
    hub_town.work()
    request = hub_town.row(t.privacy_request)

    with hub_town.hub.database.read() as connection:
        assert privacy.wishes(connection, stranger) == []
        with pytest.raises(Exception, match="does not exist"):
            privacy.take_along(hub_town.hub.database, hub_town.hub.keyring, stranger, request.id, OWNER)
        assert connection.execute(select(t.privacy_request.c.done_at)).scalar_one() is None


# ---------------------------------------------------------------- in time, without being asked


class ForgetfulChannel(PersonalChannel):
    """The same, of a vendor that wants customers forgotten 30 days after delivery."""

    name = "forgetful"
    label = "Forgetful"
    personal_days = 30


@pytest.fixture
def strict(hub_town: Town, shop: Shop) -> UUID:
    known = {**hub_town.hub.registry.connectors, ForgetfulChannel.name: ForgetfulChannel}
    hub_town.hub = replace(hub_town.hub, registry=Registry(known))
    return open_shop(hub_town, shop, ForgetfulChannel)


class Days:
    """The database's clock, which a test sets forward."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passed = timedelta(0)
        true_now = Database.now
        patch.setattr(Database, "now", staticmethod(lambda connection: true_now(connection) + self.passed))

    def pass_by(self, days: float, town: Town) -> None:
        """Let so many days pass, tidy up, and do what is due then."""
        self.passed += timedelta(days=days)
        jobs.tidy(town.hub)
        town.work()


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(monkeypatch)


def send_out(town: Town, order: dict[str, Any], days: Days, **more: Any) -> UUID:
    """Let the hub have shipped an order of its now, in a box that a carrier follows; returns the shipment's id."""
    row = town.row(t.sales_order, t.sales_order.c.external_id == order["id"])
    work = town.rows(t.fulfillment_order, t.fulfillment_order.c.order_id == row.id)[0]
    shipment = new_id()
    with town.hub.database.write() as connection:
        now = Database.now(connection)
        connection.execute(
            insert(t.shipment).values(
                merchant_id=town.merchant,
                id=shipment,
                order_id=row.id,
                fulfillment_order_id=work.id,
                reference=f"T-{shipment.hex[:12]}",
                state="shipped",
                tracking_numbers=[f"TRACK-{CANARY}"],
                tracking_url=f"https://carrier.example/{CANARY}",
                created_at=now,
                **{"shipped_at": now} | more,
            )
        )
    return shipment


def test_customers_are_forgotten_thirty_days_after_delivery(
    hub_town: Town, shop: Shop, strict: UUID, days: Days
) -> None:
    first, second = live_a_little(hub_town, shop, strict)
    for order in (first, second):
        shipment = send_out(hub_town, order, days)
        send(hub_town, strict, "order", shop.ship(shop.orders[order["id"]]))
    hub_town.work()
    days.pass_by(6, hub_town)
    with hub_town.hub.database.write() as connection:
        connection.execute(
            update(t.shipment).where(t.shipment.c.id == shipment).values(delivered_at=Database.now(connection))
        )

    days.pass_by(23.9, hub_town)
    assert {"sales_order", "order_line", "order_version", "shipment", "inbox_body"} <= set(mentions(hub_town))
    days.pass_by(0.2, hub_town)
    gone = {row.external_id: row.erased_at is not None for row in hub_town.rows(t.sales_order)}
    assert gone == {first["id"]: True, second["id"]: False}, "without news of it, delivery is when it was shipped"
    days.pass_by(5.8, hub_town)
    assert mentions(hub_town) != []
    money = sorted((row.external_id, row.total_minor, row.status) for row in hub_town.rows(t.sales_order))
    days.pass_by(0.2, hub_town)

    assert mentions(hub_town) == []
    assert sorted((row.external_id, row.total_minor, row.status) for row in hub_town.rows(t.sales_order)) == money
    with hub_town.hub.database.read() as connection:
        assert privacy.wishes(connection, hub_town.merchant) == [], "nobody has asked for it"
    send(hub_town, strict, "order", shop.change(shop.orders[first["id"]], name=CANARY))
    hub_town.work()
    assert mentions(hub_town) == [], "and it does not come back"
    hub_town.sound()


@on_sqlite
def test_open_orders_and_those_of_other_shops_are_kept(
    hub_town: Town, shop: Shop, place: UUID, strict: UUID, days: Days
) -> None:
    here = shop.buy("mug", 1, name=CANARY, placed="2020-01-01T00:00:00+00:00")
    elsewhere = {**here, "id": "other"}
    send(hub_town, strict, "order", here)
    send(hub_town, place, "order", shop.ship(elsewhere))
    hub_town.work()

    days.pass_by(400, hub_town)

    assert {row.customer_name for row in hub_town.rows(t.sales_order)} == {f"Ms {CANARY}"}
    assert hub_town.count(t.privacy_request) == 0


@on_sqlite
@pytest.mark.parametrize("ending", ["ship", "cancel"])
def test_an_order_that_was_never_followed_counts_from_when_it_was_done_whatever_is_edited_later(
    hub_town: Town, shop: Shop, strict: UUID, days: Days, ending: str
) -> None:
    order = shop.buy("mug", 1, name=CANARY, placed="2020-01-01T00:00:00+00:00")
    send(hub_town, strict, "order", order)
    hub_town.work()
    days.pass_by(10, hub_town)
    done = getattr(shop, ending)(order)
    send(hub_town, strict, "order", done)
    hub_town.work()
    days.pass_by(29, hub_town)
    send(hub_town, strict, "order", shop.change(done, note=f"{CANARY} was here again"))
    hub_town.work()
    assert "sales_order" in mentions(hub_town)

    days.pass_by(1.1, hub_town)

    assert mentions(hub_town) == []


@on_sqlite
def test_an_order_that_was_over_long_before_it_was_imported_is_not_kept_at_all(
    hub_town: Town, shop: Shop, strict: UUID, days: Days
) -> None:
    shop.clock = shop.clock.replace(year=2020)
    order = shop.buy("mug", 1, name=CANARY)
    send(hub_town, strict, "order", shop.ship(order))
    hub_town.work()
    assert "sales_order" in mentions(hub_town)

    days.pass_by(0, hub_town)

    assert mentions(hub_town) == []
