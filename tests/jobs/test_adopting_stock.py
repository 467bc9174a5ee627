"""Opening stock, adopted from a shop while its customers go on buying: counted once, and never by a guess."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.errors import AuthError, Unavailable
from hub.jobs import fetch_lane
from hub.store import connections, matching
from hub.store import tables as t
from tests.jobs.fake_shop import FakeChannel, Shop, connect, open_shop, send
from tests.town import OWNER, Town


def match(town: Town, place: UUID) -> None:
    matching.accept_suggestions(town.hub.database, town.merchant, place, None, OWNER)


def adopt(town: Town, place: UUID) -> Any:
    """Ask for adoption and work until nothing is due; returns the task."""
    task_id = connections.adopt_stock(town.hub.database, town.merchant, place, OWNER)
    town.work()
    return town.row(t.task, t.task.c.id == task_id)


def test_what_is_available_and_what_open_orders_hold_is_on_hand(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5, "cup": 0})
    shop.buy("mug", 3)
    over = shop.buy("mug", 2)
    shop.ship(over)
    shop.cancel(shop.buy("tee", 4))
    place = connect(hub_town, shop)
    match(hub_town, place)
    assert shop.stock == {"mug": 5, "tee": 5, "cup": 0}

    task = adopt(hub_town, place)

    assert (task.state, task.message) == ("done", "The opening stock of 3 SKUs was adopted.")
    assert hub_town.stock() == {"MUG": (8, 3), "TEE": (5, 0), "CUP": (0, 0)}
    entries = hub_town.rows(t.stock_entry, t.stock_entry.c.cause == "adopted")
    assert {(entry.on_hand_delta, entry.actor, entry.note) for entry in entries} == {
        (8, OWNER, "Opening stock"),
        (5, OWNER, "Opening stock"),
    }
    assert shop.writes == [], "nothing is written before it is live"
    hub_town.sound()

    connections.go_live(hub_town.hub.database, hub_town.merchant, place, OWNER)
    hub_town.work()
    assert shop.writes == [], "the shop says it all already"


def test_stock_is_adopted_once(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 99})
    place, second = open_shop(hub_town, shop), connect(hub_town, other)
    match(hub_town, second)

    for each in (place, second):
        task = adopt(hub_town, each)
        assert (task.state, task.message) == ("done", "Every matched SKU has its opening stock already.")

    assert hub_town.stock() == {"MUG": (10, 0)}


def test_a_sku_that_came_later_is_adopted_alone(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    shop.stock |= {"mug": 3, "tee": 7}
    send(hub_town, place, "changed", {"kind": "listing", "id": "tee"})
    hub_town.work()
    match(hub_town, place)

    assert adopt(hub_town, place).message == "The opening stock of 1 SKUs was adopted."

    assert hub_town.stock() == {"MUG": (10, 0), "TEE": (7, 0)}


def test_nothing_is_adopted_of_what_the_shop_does_not_count(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": None})
    place = connect(hub_town, shop)
    match(hub_town, place)
    matching.bind(hub_town.hub.database, hub_town.merchant, listing(hub_town, "tee"), "TEE", OWNER)

    task = adopt(hub_town, place)

    assert (task.state, hub_town.stock()) == ("done", {"MUG": (10, 0)})
    shop.stock["mug"] = None


def test_what_the_shop_says_nothing_about_is_named(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = connect(hub_town, shop)
    match(hub_town, place)
    shop.stock["tee"] = None  # after its listing was read

    task = adopt(hub_town, place)

    assert task.message == "The opening stock of 1 SKUs was adopted. 1 have no stock in the shop."
    assert hub_town.stock() == {"MUG": (10, 0)}


def listing(town: Town, external_id: str) -> UUID:
    found: UUID = town.row(t.listing, t.listing.c.external_id == external_id).id
    return found


def test_a_sale_between_the_two_halves_of_a_reading_is_not_counted_twice(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = connect(hub_town, shop)
    match(hub_town, place)
    # The first reading of the stock is taken; before its orders are, somebody buys.
    shop.fail("fetch_orders", lambda: shop.buy("mug", 2))

    task = adopt(hub_town, place)

    assert task.message == "The opening stock of 2 SKUs was adopted."
    assert hub_town.stock() == {"MUG": (10, 2), "TEE": (5, 0)}
    assert shop.count("read_stock") == 3, "the tee was believed after two readings, the mug after three"
    hub_town.sound()


def test_a_sale_before_every_reading_is_seen_in_both_parts(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    shop.fail("read_stock", lambda: shop.buy("mug"), lambda: shop.buy("mug"))

    adopt(hub_town, place)

    assert (hub_town.stock(), shop.stock) == ({"MUG": (10, 2)}, {"mug": 8})


def test_what_sells_too_fast_to_be_counted_is_left_for_later(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 100, "tee": 5})
    place = connect(hub_town, shop)
    match(hub_town, place)
    shop.fail("fetch_orders", *[lambda: shop.buy("mug")] * fetch_lane.ADOPTION_ROUNDS)

    task = adopt(hub_town, place)

    assert task.message == (
        "The opening stock of 1 SKUs was adopted. 1 were sold too fast to be counted: adopt again in a quieter moment."
    )
    assert hub_town.stock() == {"TEE": (5, 0)}

    assert adopt(hub_town, place).message == "The opening stock of 1 SKUs was adopted."
    assert hub_town.stock() == {"TEE": (5, 0), "MUG": (100, fetch_lane.ADOPTION_ROUNDS)}
    hub_town.sound()


def test_an_order_shipped_while_its_stock_is_entered_is_not_counted_as_there(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10})
    order = shop.buy("mug", 3)
    place = connect(hub_town, shop)
    match(hub_town, place)
    original = fetch_lane._enter_opening_stock

    def shipped_just_before(shift: Any, task: Any, readings: Any, wanted: Any) -> Any:
        if readings and shop.orders[order["id"]]["status"] == "open":
            send(hub_town, place, "order", shop.ship(order))
            jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
        return original(shift, task, readings, wanted)

    monkeypatch.setattr(fetch_lane, "_enter_opening_stock", shipped_just_before)

    adopt(hub_town, place)

    assert (hub_town.stock(), shop.stock) == ({"MUG": (7, 0)}, {"mug": 7})
    hub_town.sound()


def test_an_order_that_comes_in_between_is_held_and_not_added(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    original, bought = fetch_lane._enter_opening_stock, []

    def bought_just_before(shift: Any, task: Any, readings: Any, wanted: Any) -> Any:
        if readings and not bought:
            bought.append(shop.buy("mug", 3))
            send(hub_town, place, "order", bought[0])
            jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
        return original(shift, task, readings, wanted)

    monkeypatch.setattr(fetch_lane, "_enter_opening_stock", bought_just_before)

    adopt(hub_town, place)

    assert (hub_town.stock(), shop.stock) == ({"MUG": (10, 3)}, {"mug": 7})


def test_open_orders_of_other_shops_hold_their_part(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    other.buy("mug", 4)
    place, second = connect(hub_town, shop), connect(hub_town, other)
    match(hub_town, place)
    match(hub_town, second)

    adopt(hub_town, place)

    assert hub_town.stock() == {"MUG": (10, 4)}, "this shop's figure knows nothing of the other's sales"
    hub_town.sound()


def test_only_the_listing_that_was_read_has_taken_its_orders_off(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "mug-gift": 10})
    shop.buy("mug", 1)
    shop.buy("mug-gift", 4)
    place = connect(hub_town, shop)
    for external_id in ("mug", "mug-gift"):
        matching.bind(hub_town.hub.database, hub_town.merchant, listing(hub_town, external_id), "MUG", OWNER)

    adopt(hub_town, place)

    assert hub_town.stock() == {"MUG": (10, 5)}
    hub_town.sound()


def test_two_places_of_a_shop_share_what_their_orders_hold(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 0}, places=("hall", "barn"))
    shop.shelves = {("mug", "hall"): 5, ("mug", "barn"): 3}
    shop.order([("mug", 2)])
    place = connect(hub_town, shop)
    match(hub_town, place)
    with hub_town.hub.database.write() as connection:
        barn = connections.new_id()
        now = hub_town.hub.database.now(connection)
        connection.execute(
            t.location.insert().values(merchant_id=hub_town.merchant, id=barn, name="Barn", created_at=now)
        )
    connections.bind_location(hub_town.hub.database, hub_town.merchant, place, "barn", barn, OWNER)

    adopt(hub_town, place)

    assert hub_town.stock() == {"MUG": (10, 2)}
    connections.go_live(hub_town.hub.database, hub_town.merchant, place, OWNER)
    hub_town.work()
    assert shop.shelves == {("mug", "hall"): 5, ("mug", "barn"): 3}
    hub_town.sound()


def test_a_second_place_is_adopted_when_it_is_bound(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 0}, places=("hall", "barn"))
    shop.shelves = {("mug", "hall"): 5, ("mug", "barn"): 3}
    place = connect(hub_town, shop)
    hub_town.open_for_business(place, adopt=True)
    assert hub_town.stock() == {"MUG": (5, 0)}
    order = shop.order([("mug", 2)])
    shop.shelves["mug", "hall"] = 3
    hub_town.poll(place)
    with hub_town.hub.database.write() as connection:
        barn = connections.new_id()
        now = hub_town.hub.database.now(connection)
        connection.execute(
            t.location.insert().values(merchant_id=hub_town.merchant, id=barn, name="Barn", created_at=now)
        )
    connections.bind_location(hub_town.hub.database, hub_town.merchant, place, "barn", barn, OWNER)
    hub_town.work()
    assert shop.shelves["mug", "barn"] == 3, "what nobody counted is not overwritten"

    adopt(hub_town, place)

    assert hub_town.stock() == {"MUG": (8, 2)}
    assert shop.shelves == {("mug", "hall"): 3, ("mug", "barn"): 3}
    assert order["id"] in {row.external_id for row in hub_town.rows(t.sales_order)}
    hub_town.sound()


def test_a_shop_that_sold_more_than_it_had_begins_with_what_its_orders_hold(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 1})
    shop.buy("mug", 4)
    place = connect(hub_town, shop)
    match(hub_town, place)
    assert shop.stock == {"mug": -3}

    adopt(hub_town, place)

    assert hub_town.stock() == {"MUG": (1, 1)}
    assert hub_town.row(t.backorder).quantity == 3
    hub_town.sound()


# ---------------------------------------------------------------- trouble on the way


def test_an_outage_is_waited_out(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    shop.fail("read_stock", Unavailable("The shop is away."))

    task = adopt(hub_town, place)
    assert (task.state, task.message) == ("waiting", "The shop is away. Trying again shortly…")

    hub_town.let_pass(60)
    hub_town.work()
    assert (hub_town.row(t.task, t.task.c.id == task.id).state, hub_town.stock()) == ("done", {"MUG": (10, 0)})


def test_refused_credentials_end_it_and_pause_the_shop(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    shop.fail("read_stock", AuthError("The key was revoked."))

    task = adopt(hub_town, place)

    assert (task.state, task.message) == ("failed", "The key was revoked.")
    assert hub_town.row(t.connection).state == "paused"
    assert hub_town.issues() == ["reconnect"]


def test_a_shop_paused_meanwhile_is_not_called(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    task_id = connections.adopt_stock(hub_town.hub.database, hub_town.merchant, place, OWNER)
    connections.pause(hub_town.hub.database, hub_town.merchant, place, OWNER)

    hub_town.work()

    task = hub_town.row(t.task, t.task.c.id == task_id)
    assert (task.state, shop.count("read_stock")) == ("failed", 0)
    assert "is paused. Connect or resume it, then adopt its stock." in task.message


def test_orders_that_cannot_be_imported_yet_keep_it_waiting(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    match(hub_town, place)
    monkeypatch.setattr(fetch_lane, "import_newest_orders", lambda shift, *, seconds: False)

    task = adopt(hub_town, place)

    assert task.state == "waiting"
    assert "are still being imported" in task.message
    assert hub_town.stock() == {}


def test_a_connector_that_gives_too_few_figures_enters_nothing(hub_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = connect(hub_town, shop)
    match(hub_town, place)
    monkeypatch.setattr(FakeChannel, "read_stock", lambda self, refs: [7])

    task = adopt(hub_town, place)

    assert (task.state, hub_town.stock()) == ("failed", {})


def test_a_worker_killed_in_the_middle_is_followed_by_one_that_ends_it(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = connect(hub_town, shop)
    match(hub_town, place)
    connections.adopt_stock(hub_town.hub.database, hub_town.merchant, place, OWNER)
    with hub_town.hub.database.write() as connection:  # as it leaves it behind
        connection.execute(update(t.task).where(t.task.c.kind == "adopt").values(state="running", attempts=1))

    hub_town.work()

    assert hub_town.row(t.task, t.task.c.kind == "adopt").state == "done"
    assert hub_town.stock() == {"MUG": (10, 0), "TEE": (5, 0)}
