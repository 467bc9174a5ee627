"""Bundles: an order's records run as a test elsewhere, and nothing in them tells whose order it was."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from hub import bundle
from hub.connector import RawRecord
from hub.core.model import Order
from hub.disguise import Disguise
from hub.errors import BadInput
from hub.jobs import replay
from hub.store import inbox
from hub.store import tables as t
from hub.testing.simulator import ShopSimulator
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.jobs.fake_shop import DealingChannel, FakeChannel, Shop, an_order, open_shop, send
from tests.town import Town

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

# One for each thing that could be told about a person; none of their words may stand in a bundle.
CANARIES = {
    "first": "Zephyrine",
    "last": "Quackenbush",
    "company": "Wobblethorpe Ltd",
    "street": "Fizzlewick 4711",
    "second": "Hinterhaus Knorz",
    "city": "Plopsburg",
    "postcode": "XQ47ZZ",
    "phone": "+49 171 98765432",
    "email": "zeph.quackenbush@plopsmail.example",
    "note": "Ring at Snorkelmann, the dog is called Fluffernutz",
    "ip": "203.0.113.77",
    "agent": "Grumblezilla/5.0",
    "token": "wc_Xrdq_Kx93kdJf02Lm",
    "meta": "Brimblecombe",
    "number": "4917198765432",
    "tax": "DE813992525",
}


def planted_in(text: str) -> list[str]:
    """The canaries of which a word of at least four characters stands in a text."""
    words = {word for canary in CANARIES.values() for word in re.findall(r"[^\W_]{4,}", canary)} - {"example"}
    return sorted(word for word in words if word.lower() in text.lower())


def plant_woocommerce(body: dict[str, Any]) -> None:
    order, it = body["order"], CANARIES
    person = {
        "first_name": it["first"], "last_name": it["last"], "company": it["company"], "address_1": it["street"],
        "address_2": it["second"], "city": it["city"], "postcode": it["postcode"], "country": "DE", "state": "BE",
        "phone": it["phone"], "email": it["email"],
    }  # fmt: skip
    secret = {"id": 5, "key": "_billing_name", "value": it["meta"]}
    order |= {"billing": person, "shipping": person | {"first_name": "Ida"}, "customer_note": it["note"]}
    order |= {"customer_ip_address": it["ip"], "customer_user_agent": it["agent"], "order_key": it["token"]}
    order["meta_data"] = [
        secret,
        {"id": 6, "key": it["last"], "value": {it["first"]: [it["meta"], int(it["number"])]}},
        {"id": 7, "key": "_vat_id", "value": it["tax"]},
        {"id": 8, "key": "_wa_contact", "value": it["number"]},
        {"id": 9, "key": "_is_vat_exempt", "value": "no"},
    ]
    order["line_items"][0]["meta_data"].append({"id": 10, "key": "Engraving", "value": it["first"]})
    order["line_items"][0]["name"] = f"Mug for {it['first']}"
    order["coupon_lines"] = [{"id": 3, "code": it["last"], "discount": "1.00"}]
    order["_links"] = {"customer": [{"href": f"https://shop.example/{it['last']}"}]}


def plant_shopify(node: dict[str, Any]) -> None:
    it = CANARIES
    address = {
        "name": f"{it['first']} {it['last']}", "company": it["company"], "address1": it["street"],
        "address2": it["second"], "city": it["city"], "zip": it["postcode"], "countryCodeV2": "DE",
        "provinceCode": "BE", "province": "Berlin", "phone": it["phone"],
    }  # fmt: skip
    node |= {"email": it["email"], "note": it["note"], "shippingAddress": address, "billingAddress": address}
    node |= {"clientIp": it["ip"], "customAttributes": [{"key": "gift for", "value": it["first"]}]}
    node["customer"] = {"id": "gid://shopify/Customer/77", "displayName": it["last"], "phone": int(it["number"])}
    node["noteAttributes"] = [{"name": it["last"], "value": it["number"]}]
    node["buyerSaid"] = [it["note"], {"greeting": it["meta"]}]
    node["lineItems"]["nodes"][0]["name"] = f"Mug for {it['first']}"


SHOPS: dict[str, tuple[Any, Callable[[], ShopSimulator], Callable[[dict[str, Any]], None], str]] = {
    "woocommerce": (
        WooCommerceConnector,
        lambda: WooCommerceSimulator(site="https://plopsshop.example"),
        plant_woocommerce,
        "date_modified_gmt",
    ),
    "shopify": (ShopifyConnector, ShopifySimulator, plant_shopify, "updatedAt"),
}


def planted(town: Town, name: str) -> UUID:
    """An order of a shop of this kind that tells all canaries; returns its id."""
    connector, shop, plant, changed = SHOPS[name]
    sells = shop()
    sells.add_product("MUG", "Mug", 10, "10.00")
    place = town.connect(connector, sells)
    assert sells.buy([("MUG", 2)]) is not None
    town.poll(place)
    row = town.row(t.inbox, t.inbox.c.topic == "order")
    _, read = inbox.read_again(town.hub.database, town.hub.keyring, town.merchant, t.inbox.c.id == row.id, limit=1)
    body = json.loads(read[row.id].record.body)
    plant(body)
    told = body.get("order", body)
    told[changed] = "2199-01-02T03:04:05" + ("Z" if name == "shopify" else "")
    record = RawRecord(
        "order", row.external_id, json.dumps(body).encode(), told[changed], {"x-about": CANARIES["last"]}
    )
    with town.hub.database.write() as connection:
        at = town.hub.database.now(connection)
        inbox.store_page(connection, town.hub.keyring, town.merchant, place, [record], asked_at=at, at=at)
    town.work()
    order = town.row(t.sales_order)
    assert (order.email, order.shipping_address["city"]) == (CANARIES["email"], CANARIES["city"])
    return order.id


@on_sqlite
@pytest.mark.parametrize("name", sorted(SHOPS))
def test_nothing_in_it_tells_whose_order_it_was_and_it_runs(hub_town: Town, tmp_path: Path, name: str) -> None:
    order_id = planted(hub_town, name)
    order = replay.find_order(hub_town.hub.database, str(order_id))

    made = bundle.make(hub_town.hub, order)
    folder = bundle.write(made, tmp_path / "bundle")

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.name for path in files] == ["bundle.json", "01-order.json", "02-order.json", "test_bundle.py"]
    assert {path.name: planted_in(path.read_text()) for path in files} == {path.name: [] for path in files}
    assert "plopsshop" not in (folder / "bundle.json").read_text()
    assert bundle.imported(folder, tmp_path / "scratch") == bundle.stored(folder)
    assert made.remarks == [
        "It passes here: the installed connector makes the order of these records that the hub has."
    ]
    told = bundle.stored(folder)
    assert (told["number"], told["total_minor"]) == (order.number, order.total_minor)
    assert told["lines"][0]["sku_text"] == "MUG"
    assert told["shipping_address"]["country"] == "DE"
    assert re.fullmatch(r"[\w.]+@\w+\.example", told["email"])
    assert {each["happened"] for each in made.events} >= {"order_imported", "order_updated"}


@on_sqlite
def test_it_is_a_test_that_passes_or_fails(hub_town: Town, tmp_path: Path) -> None:
    order = replay.find_order(hub_town.hub.database, str(planted(hub_town, "woocommerce")))
    made = bundle.make(hub_town.hub, order)
    with zipfile.ZipFile(bundle.write(made, tmp_path / "order.zip")) as packed:
        packed.extractall(tmp_path)
    other = bundle.write(replace(made, stored={**made.stored, "total_minor": 1999}), tmp_path / "other")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-c", "/dev/null",
         "--import-mode=importlib", str(tmp_path / "order"), str(other)],
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "'total_minor': 2000} != {'total_minor': 1999}" in done.stdout


# ---------------------------------------------------------------- what belongs to an order, with a shop of our own


def bundled(town: Town, place: UUID, external_id: str) -> bundle.Bundle:
    return bundle.make(town.hub, replay.find_order(town.hub.database, external_id, connection_id=place))


@on_sqlite
def test_a_record_that_was_set_aside_belongs_to_the_order_it_names(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order, other = shop.buy("mug", 1, id="4711"), shop.buy("mug", 1, id="14711")
    for each in (order, other):
        send(hub_town, place, "order", each)
        send(hub_town, place, "odd", each | {"fact": 7})
    hub_town.work()

    made = bundled(hub_town, place, "4711")

    assert [(each.topic, each.state, each.external_id) for each in made.records] == [
        ("order", "done", "4711"),
        ("odd", "quarantined", ""),
    ]
    assert made.remarks == [
        "It fails here: the installed connector makes another order of these records than the hub has.",
    ]


@on_sqlite
def test_a_merchants_bug_fails_where_the_connector_has_it(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 3)
    send(hub_town, place, "order", order)
    hub_town.work()
    monkeypatch.setattr(bundle.plugins, "load", lambda allowed: hub_town.hub.registry)
    folder = bundle.write(bundled(hub_town, place, order["id"]), tmp_path / "bundle")
    assert bundle.imported(folder, tmp_path / "first") == bundle.stored(folder)

    def read_order(self: FakeChannel, record: RawRecord) -> Order:
        found = an_order(self._body(record))
        return replace(found, lines=tuple(replace(line, quantity=1) for line in found.lines))

    monkeypatch.setattr(FakeChannel, "read_order", read_order)

    broken = bundle.imported(folder, tmp_path / "second")
    assert [line["quantity"] for line in broken["lines"]] == [1]
    assert [line["quantity"] for line in bundle.stored(folder)["lines"]] == [3]


@on_sqlite
def test_what_is_kept_beside_is_told_without_anybodys_words(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 9})
    connection_id = open_shop(hub_town, shop, DealingChannel, adopt=False)
    hold = {"id": "h1", "kind": "address", "note": CANARIES["note"]}
    shop.buy(
        "mug",
        2,
        work=[{"id": "w1", "lines": [{"id": "1", "quantity": 2}], "place": "", "status": "on_hold", "hold": hold}],
    )
    hub_town.poll(connection_id)
    hub_town.work()

    made = bundle.make(hub_town.hub, hub_town.row(t.sales_order))

    assert made.stored["details"] == {
        "work": [
            {
                "external_id": "w1",
                "status": "on_hold",
                "lines": [{"line_external_id": "1", "quantity": 2}],
                "holds": [{"external_id": "h1"}],
            }
        ]
    }
    assert (made.stored["on_hold"], planted_in(repr(made))) == (True, [])
    assert [remark.partition(":")[0] for remark in made.remarks] == ["It passes here"]


@on_sqlite
def test_records_whose_time_was_over_are_missed(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 1)
    send(hub_town, place, "order", order)
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        connection.execute(delete(t.inbox_body))

    made = bundled(hub_town, place, order["id"])

    assert (list(made.records), made.remarks[0]) == (
        [],
        "1 of its records have no body any more: it was deleted when its time was over.",
    )


@on_sqlite
def test_records_keep_the_order_and_the_times_they_came_in(hub_town: Town, tmp_path: Path) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 1)
    send(hub_town, place, "order", order | {"whole": False})  # so that it is fetched
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.inbox).values(received_at=t.inbox.c.received_at))

    made = bundled(hub_town, place, order["id"])

    first, second = made.records
    assert (first.source, second.source) == ("webhook", "fetch")
    assert second.asked_at is not None
    assert first.received_at <= second.asked_at < second.received_at + timedelta(seconds=1)


@on_sqlite
def test_what_is_there_is_not_overwritten(hub_town: Town, tmp_path: Path) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    order = shop.buy("mug", 1)
    send(hub_town, place, "order", order)
    hub_town.work()
    made = bundled(hub_town, place, order["id"])

    with pytest.raises(BadInput, match=r"is there already. Name another place with --out.$"):
        bundle.write(made, tmp_path)
    with pytest.raises(BadInput, match=r"^The bundle cannot be written to /dev/null/here: Not a directory.$"):
        bundle.write(made, Path("/dev/null/here"))


# ---------------------------------------------------------------- the disguise

words = st.from_regex(r"[A-Za-z]{6,12}", fullmatch=True)
members = st.one_of(
    st.sampled_from(
        ["first_name", "lastName", "email", "phone", "note", "address1", "customer_ip_address", "value", "key", "name",
         "message", "zip", "order_key", "shipping", "billing", "customer", "meta_data", "properties", "anything", "x"]
    ),
    words,
)  # fmt: skip


@st.composite
def planted_json(draw: st.DrawFn) -> tuple[Any, str]:
    """Some JSON, and a word that stands somewhere in a text in it, under a name that is neither an id nor a state."""
    canary = draw(words.map(lambda word: f"q{word}j"))
    value: Any = draw(st.sampled_from([canary, f"to {canary}!", f"{canary}@{canary}.com", f"<b>{canary}</b> 12"]))
    for _ in range(draw(st.integers(1, 4))):
        name = draw(
            members.filter(
                lambda name: (
                    not re.search("(?i)id|sku|stat|type|kind|curr|vers|event|topi|loc|sou|res|fin|ful|meth|strat", name)
                )
            )
        )
        value = draw(
            st.sampled_from(
                [{name: value}, [value, 3], {name: value, "total": "12.50"}, {"key": name, "value": value, "id": 4}]
            )
        )
    return value, canary


@given(planted_json())
def test_no_text_that_could_be_about_a_person_stays(planted: tuple[Any, str]) -> None:
    value, canary = planted
    written = json.dumps(value, ensure_ascii=False)

    disguised = Disguise().body(written.encode()).decode()

    assert canary in written
    assert canary.lower() not in disguised.lower()
    json.loads(disguised)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_what_is_put_together_from_parts_is_disguised_like_its_parts(parts: list[str]) -> None:
    disguise = Disguise()
    plain = [part for part in parts if "@" not in part]

    assert disguise.text(" ".join(plain)) == " ".join(map(disguise.text, plain))
    assert [disguise.text(part) for part in parts] == [disguise.text(part) for part in parts]


@given(st.binary(max_size=200))
def test_a_body_that_is_no_json_is_disguised_too(body: bytes) -> None:
    Disguise().body(body).decode()


def test_what_an_order_is_made_of_stays_to_the_digit() -> None:
    body = (
        b'{"id": 632910392, "admin_graphql_api_id": "gid://shopify/Order/632910392", "total_price": "12.50", "rate":'
        b' 0.190, "tip": "1.00", "currency": "EUR", "financial_status": "partially_paid", "updated_at":'
        b' "2026-11-22T04:05:06+01:00", "sku": "MUG-BLUE/1", "test": false, "cancelled_at": null, "x": 1e3, "x": 2,'
        b' "meta_data": [{"id": 12345678901, "key": "_reduced_stock", "value": "2"}],'
        b' "country": "DE", "quantity": 3}'
    )

    assert Disguise().body(body) == body


def test_the_same_is_replaced_by_the_same_within_a_bundle_only() -> None:
    one, other = Disguise(), Disguise()

    assert one.text("Ada ADA ada").split() == [made := one.text("Ada"), made.upper(), made.lower()]
    assert one.text("Quackenbush") != other.text("Quackenbush")
    assert [len(one.text(word)) for word in ("Ada", "10115", "x1")] == [3, 5, 2]


def test_a_number_about_a_person_is_another_number() -> None:
    made = json.loads(Disguise().body(b'{"customer": {"phone": 4917198765432, "id": 7}, "contact_no": 4917198765432}'))

    assert made["customer"]["id"] == 7
    assert made["customer"]["phone"] == made["contact_no"] != 4917198765432
    assert len(str(made["contact_no"])) == 13


def test_known_ids_stay_wherever_they_stand_alone() -> None:
    disguise = Disguise({"#1001"})

    assert json.loads(disguise.body(b'{"name": "#1001", "note": "about #1001"}'))["name"] == "#1001"


def test_headers_lose_signatures_and_credentials() -> None:
    headers = {
        "x-wc-webhook-topic": "order.updated",
        "x-wc-webhook-source": "https://plopsshop.example/",
        "x-wc-webhook-resource": "order",
        "x-shopify-triggered-at": "2026-11-22T04:05:06.123Z",
        "x-shopify-hmac-sha256": "c2lnbmF0dXJl",
        "x-api-key": "plops",
        "x-forwarded-for": "203.0.113.77",
        "x-wc-webhook-id": "7",
        "x-event-by": "zeph@plops.example",
    }

    made = Disguise().headers(headers)

    assert sorted(made) == sorted(set(headers) - {"x-shopify-hmac-sha256", "x-api-key", "x-forwarded-for"})
    for name in ("x-wc-webhook-topic", "x-wc-webhook-resource", "x-shopify-triggered-at", "x-wc-webhook-id"):
        assert made[name] == headers[name]
    assert "plops" not in " ".join(made.values())
    assert made["x-wc-webhook-source"].startswith("https://")
