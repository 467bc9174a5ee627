"""Locations and routing on the web: describing places, working on the rules, trying them on past orders, one order."""

from __future__ import annotations

import html
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection

from hub.core.model import Address
from hub.core.routing import Do, RoutingPolicy, Rule, When
from hub.store import locations, routing, routing_rules
from hub.store import tables as t
from hub.store.locations import Location
from hub.web.routing import Names, in_words
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop


def rows(shop: Shop, table: Any) -> list[Any]:
    with shop.hub.database.read() as db:
        return list(db.execute(table.select().where(table.c.merchant_id == shop.merchant_id)).all())


def policy(shop: Shop) -> tuple[int, RoutingPolicy]:
    with shop.hub.database.read() as db:
        return routing_rules.policy(db, shop.merchant_id)


class Shipping:
    """An order of two units that lie in Leeds and in Berlin, dealt out once."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.connection = shop.connection()
        self.leeds, self.berlin = self.open("Leeds", "GB"), self.open("Berlin", "DE")
        self.sku = shop.sku("TEA-1")
        shop.level(self.sku, self.leeds, 5, 2, entries=0)
        shop.level(self.sku, self.berlin, 5)
        self.order = shop.order(self.connection, "1001", shipping_address={"country": "GB"}, placed_at=shop.now)
        self.line = shop.line(self.order, "1", self.sku)
        shop.write(t.allocation, order_line_id=self.line, sku_id=self.sku, location_id=self.leeds, quantity=2)

        def route(connection: Connection) -> None:
            at = shop.hub.database.now(connection)
            assert routing.route(connection, shop.merchant_id, [self.order], at=at).decided == 1

        shop.hub.database.transact(route)

    def open(self, name: str, country: str) -> UUID:
        place = Location(name=name, address=Address(country=country))
        return locations.save(self.shop.hub.database, self.shop.merchant_id, None, place, "ada@tea.example")

    def states(self) -> list[tuple[UUID, str]]:
        found = sorted(rows(self.shop, t.fulfillment_order), key=lambda row: row.number)
        return [(row.location_id, row.state) for row in found]


@pytest.fixture
def shipping(shop: Shop) -> Shipping:
    return Shipping(shop)


# ---------------------------------------------------------------- locations

LEEDS = {
    "title": " Leeds ",
    "kind": "shop",
    "line1": "1 The Headrow",
    "city": "Leeds",
    "postcode": "LS1 4AP",
    "country": "GB",
    "time_zone": "Europe/London",
    "cut_off": "16:00",
    "capacity": "40",
    "priority": "2",
    "services": "Standard, express, ",
    "collects": "yes",
}


def test_a_location_is_described(owner: Browser, shop: Shop) -> None:
    answer = owner.post("/locations", LEEDS, page="/locations")

    assert answer.status_code == 303
    (row,) = rows(shop, t.location)
    assert answer.headers["Location"] == f"/locations/{row.id}"
    assert (row.name, row.kind, row.address["city"], row.capacity, row.priority) == ("Leeds", "shop", "Leeds", 40, 2)
    assert (row.services, row.ships, row.collects) == (["express", "standard"], False, True)
    assert (row.placed_by, row.latitude, row.time_zone, row.cut_off) == ("country", 53.5, "Europe/London", "16:00")
    page = words(owner.get(f"/locations/{row.id}"))
    assert "middle of United Kingdom, only roughly" in page
    assert "does not ship, customers collect · cut-off 16:00 Europe/London · 0 to do of 40 a day" in page
    assert "location_added" in [each.kind for each in rows(shop, t.activity)]


def test_typed_coordinates_count_before_the_postal_code(owner: Browser, shop: Shop) -> None:
    owner.post("/locations", LEEDS | {"latitude": "53.8", "longitude": "-1.55"}, page="/locations")

    (row,) = rows(shop, t.location)
    assert (row.placed_by, row.latitude, row.longitude) == ("typed", 53.8, -1.55)
    page = owner.get(f"/locations/{row.id}")
    assert "53.80, -1.55: as typed in" in words(page)
    assert 'name="latitude" type="text" value="53.8"' in page.text


def test_a_zip_code_says_where_it_is(owner: Browser, shop: Shop) -> None:
    owner.post("/locations", LEEDS | {"country": "US", "postcode": "10001-1234"}, page="/locations")

    (row,) = rows(shop, t.location)
    assert (row.placed_by, round(row.latitude, 1), round(row.longitude, 1)) == ("postcode", 40.7, -74.0)
    assert "from the postal code 10001-1234" in words(owner.get("/locations"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"title": " "}, "Enter a name of 1 to 200 characters."),
        ({"kind": "ship"}, "Choose one of the list."),
        ({"country": "ZZ"}, "Enter the country as two letters, such as DE."),
        ({"time_zone": "Mars/Olympus"}, "Choose one of the list."),
        ({"cut_off": "25:00"}, "Enter a time of day, such as 16:00."),
        ({"capacity": "many"}, "Enter a whole number, such as 12."),
        ({"priority": "2000"}, "Enter a whole number from 0 to 1,000."),
        ({"latitude": "95", "longitude": "0"}, "Enter both in degrees"),
        ({"latitude": "53.8"}, "Enter both in degrees"),
        ({"latitude": "nan", "longitude": "inf"}, "Enter both in degrees"),
        ({"services": "x" * 61}, "Enter at most 20 words of at most 60 letters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_sense_is_said_beside_its_field(
    owner: Browser, shop: Shop, typed: dict[str, str], said: str
) -> None:
    answer = owner.post("/locations", LEEDS | typed, page="/locations")

    assert answer.status_code == 422
    assert said in words(answer)
    assert 'value="1 The Headrow"' in answer.text, "what was typed is still there"
    assert rows(shop, t.location) == []


def test_two_locations_cannot_have_one_name(owner: Browser, shop: Shop) -> None:
    shop.location("Leeds")

    answer = owner.post("/locations", LEEDS, page="/locations")

    assert answer.status_code == 409
    assert "There is a location called “Leeds” already." in words(answer)


def test_a_change_says_what_changed(owner: Browser, shop: Shop) -> None:
    place = shop.location("Leeds")

    owner.post(f"/locations/{place}", LEEDS | {"title": "Leeds"}, page="/locations")

    told = next(each for each in rows(shop, t.activity) if each.kind == "location_changed")
    assert told.summary == (
        "Location Leeds changed: kind, address, coordinates, time zone, cut-off, capacity, services, priority, "
        "whether it ships, whether customers collect there"
    )


def test_who_packs_looks_but_does_not_change(app: Flask, shop: Shop) -> None:
    place = shop.location("Leeds")
    shop.person("may@tea.example", "warehouse", "May")
    staff = Browser(app).sign_in("may@tea.example")

    assert staff.get(f"/locations/{place}").status_code == 200
    assert staff.get("/routing").status_code == 200
    for address in ("/locations", f"/locations/{place}", "/routing", "/routing/services"):
        assert staff.post(address, LEEDS, page="/settings").status_code == 403
    assert staff.get(f"/locations/{UUID(int=5)}").status_code == 404


# ---------------------------------------------------------------- the rules


class Form:
    """The routing form, as a browser holds it from one press to the next."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.answer = browser.get("/routing")

    def press(self, act: str, **typed: Any) -> str:
        carried = {name: self.hidden(name) for name in ("policy", "after")}
        limits = {"most_parcels": "2"}
        self.answer = self.browser.post("/routing", carried | limits | {"act": act} | typed, page="/routing")
        return words(self.answer)

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.answer.text)
        assert found, self.answer.text
        return html.unescape(found[1])

    def rules(self) -> list[str]:
        return [html.unescape(each) for each in re.findall(r'flex-fill break">(\d+\. [^<]*)</div>', self.answer.text)]


def test_rules_are_added_moved_changed_removed_and_saved(owner: Browser, shop: Shop) -> None:
    place = shop.location("Leeds")
    form = Form(owner)
    assert form.rules() == ["1. Fewest parcels", "2. Nearest to the customer", "3. By the priority of the locations"]

    form.press("put", do="only", kinds="warehouse", places=str(place), countries="gb, IE", value_from="100")
    form.press("up:3")
    form.press("up:2")
    form.press("up:1")
    form.press("remove:3")
    form.press("put:2", do="cheapest")
    assert form.rules() == [
        "1. Only Leeds and warehouses may ship it, for orders to gb or IE, worth 100 or more",
        "2. Fewest parcels",
        "3. Cheapest to ship, by what labels cost of late",
    ]
    assert policy(shop) == (0, RoutingPolicy()), "nothing holds before it is saved"

    form.press("save", most_parcels="3", in_parts="yes", note="Peak season")

    number, kept = policy(shop)
    assert number == 1
    assert (kept.most_parcels, kept.in_parts) == (3, True)
    assert kept.rules[0] == Rule(
        do=Do.ONLY, kinds=("warehouse",), places=(str(place),), when=When(countries=("gb", "IE"), value_from=100)
    )
    assert [rule.do for rule in kept.rules] == [Do.ONLY, Do.FEWEST_PARCELS, Do.CHEAPEST]
    told = next(each for each in rows(shop, t.activity) if each.kind == "routing_changed")
    assert (told.summary, told.actor) == (
        "Routing policy 1 holds from now on: Peak season",
        "ada@tea.example",
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"do": "never"}, "“never” has to name places, or kinds of places."),
        ({"do": "keep", "kinds": "shop"}, "A number of units belongs to “keep”, and only there."),
        ({"do": "dance"}, "Choose one of the list."),
        ({"do": "nearest", "value_from": "a lot"}, "Enter an amount, such as 100 or 99.50."),
        ({"do": "nearest", "most_parcels": "7"}, "An order may be split into 1 to 4 parcels."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_makes_no_sense_is_not_taken(owner: Browser, shop: Shop, typed: dict[str, str], said: str) -> None:
    form = Form(owner)

    assert said in form.press("put", **typed)
    assert form.answer.status_code == 422
    assert len(form.rules()) == 3


@pytest.mark.parametrize("damage", [{"policy": "{"}, {"policy": "[]"}, {"act": "up:9"}, {"after": "x"}])
def test_a_damaged_form_changes_nothing(owner: Browser, shop: Shop, damage: dict[str, str]) -> None:
    form = Form(owner)
    form.press(**({"act": "save"} | damage))

    assert form.answer.status_code in (400, 422)
    assert policy(shop)[0] == 0


def test_who_saves_second_is_told(owner: Browser, shop: Shop) -> None:
    one, other = Form(owner), Form(owner)
    one.press("save")

    assert "Somebody has changed the routing policy meanwhile." in other.press("save")
    assert policy(shop)[0] == 1


def test_what_would_differ_is_shown_before_it_holds(owner: Browser, shop: Shop, shipping: Shipping) -> None:
    form = Form(owner)

    same = form.press("what-if", period="30")
    assert "1 decision made again: 1 come out the same, 0 differ ." in same

    form.press("put", do="never", places=str(shipping.leeds))
    said = form.press("what-if", period="1000")

    assert "1 decision made again: 0 come out the same, 1 differ ." in said
    assert "Berlin: the only location that has it and may ship it." in said
    assert "Split orders 0 0" in said
    assert policy(shop) == (0, RoutingPolicy())


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(do=Do.NEAREST), "Nearest to the customer"),
        (Rule(do=Do.NEVER, kinds=("shop", "3pl")), "Never from shops and 3PLs"),
        (Rule(do=Do.KEEP, kinds=("shop",), units=1), "Keep 1 of each SKU back in shops"),
        (
            Rule(do=Do.ONLY, places=("1", "2", "9"), when=When(skus=("MUG", "TEE"))),
            "Only Leeds, Berlin and a location that is gone may ship it, for orders of MUG or TEE",
        ),
        (
            Rule(do=Do.SOONEST, when=When(services=("express",), channels=("7",), tags=("gift",), postcodes=("LS",))),
            "Soonest to leave, for orders to postal codes that begin with LS, sold at Tea Street, to be shipped as "
            "express, tagged gift",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tells_a_rule_as_a_person_would(rule: Rule, said: str) -> None:
    assert in_words(rule, Names({"1": "Leeds", "2": "Berlin"}, {"7": "Tea Street"})) == said


def test_what_a_shop_calls_express_is_said_once(owner: Browser, shop: Shop, shipping: Shipping) -> None:
    shop.order(shipping.connection, "1002", shipping_method="DHL Express")

    assert "dhl express" in words(owner.get("/routing"))
    answer = owner.post("/routing/services", {"method": "dhl express", "service": "Express"}, page="/routing")

    assert answer.status_code == 303
    assert [(row.method, row.service) for row in rows(shop, t.shipping_service)] == [("dhl express", "express")]


# ---------------------------------------------------------------- one order


def test_the_order_says_where_it_is_shipped_from_and_what_was_looked_at(owner: Browser, shipping: Shipping) -> None:
    page = words(owner.get(f"/orders/{shipping.order}"))

    assert "Leeds: nearest of the 2 that have it (roughly: only the country is known)." in page
    assert "Show all 2 locations looked at" in page
    assert "Berlin 1 about 881 km not known Yes" in page
    assert "the hub's own rules" in page


def test_a_person_chooses_another_location(staff: Browser, shop: Shop, shipping: Shipping) -> None:
    form = {"location": str(shipping.berlin), "reason": "Leeds has a flood."}
    answer = staff.post(f"/orders/{shipping.order}/location", form, page=f"/orders/{shipping.order}")

    assert answer.headers["Location"] == f"/orders/{shipping.order}#dealt-out"
    assert shipping.states() == [(shipping.leeds, "cancelled"), (shipping.berlin, "open")]
    told = next(each for each in rows(shop, t.activity) if each.kind == "routed" and each.actor)
    assert (told.actor, told.summary) == (
        "joan@tea.example",
        "Berlin: chosen by joan@tea.example. Leeds has a flood.",
    )
    assert [(row.location_id, row.quantity) for row in rows(shop, t.allocation)] == [(shipping.berlin, 2)]
    assert "by a person" in words(staff.get(f"/orders/{shipping.order}"))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"reason": " "}, "Say why: whoever looks at this order next has to know."),
        ({"location": str(UUID(int=9)), "reason": "x"}, "There is no location"),
    ],
)
def test_a_choice_that_cannot_be_followed_changes_nothing(
    owner: Browser, shop: Shop, shipping: Shipping, form: dict[str, str], said: str
) -> None:
    page = f"/orders/{shipping.order}"
    answer = owner.post(f"{page}/location", {"location": str(shipping.berlin)} | form, page=page)

    shown = answer if answer.status_code == 409 else owner.get(page)
    assert said in words(shown)
    assert shipping.states() == [(shipping.leeds, "open")]


def test_the_rules_decide_once_more(owner: Browser, shop: Shop, shipping: Shipping) -> None:
    page = f"/orders/{shipping.order}"
    assert owner.post(f"{page}/route-again", page=page).status_code == 303

    assert shipping.states() == [(shipping.leeds, "cancelled")]
    rung: Any = shop.hub.doorbell
    assert (shop.merchant_id, shipping.connection, "route") in rung.rung
    (mark,) = rows(shop, t.routing_mark)
    assert mark.order_id == shipping.order


def test_an_order_that_is_over_is_not_dealt_out_again(owner: Browser, shop: Shop, shipping: Shipping) -> None:
    with shop.hub.database.write() as db:
        db.execute(t.sales_order.update().values(status="fulfilled"))
    page = f"/orders/{shipping.order}"

    answer = owner.post(f"{page}/route-again", page=page)

    assert answer.status_code == 409
    assert "Order 1001 is fulfilled: nothing more is to be shipped." in words(answer)
    assert "Ship it from somewhere else" not in words(owner.get(page))
