"""The publish lane: every live listing says what is available, however the shop, its customers and its admin behave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub import jobs
from hub.connector import PushOutcome, PushState
from hub.errors import AuthError, RateLimited, Rejected, Unavailable
from hub.jobs import publish_lane
from hub.store import connections, matching, warehouse
from hub.store import tables as t
from tests.jobs.fake_shop import CarefulChannel, FakeChannel, Shop, connect, open_shop, send
from tests.town import OWNER, Town

BOTH_KINDS = pytest.mark.parametrize("channel", [FakeChannel, CarefulChannel], ids=["plain", "compare-and-set"])


def count_stock(town: Town, code: str, on_hand: int, reference: str = "form/1") -> None:
    """A person sets what is on hand."""
    sku = town.row(t.sku, t.sku.c.code == code)
    place = town.row(t.location)
    warehouse.adjust(
        town.hub.database, town.merchant, sku.id, place.id, on_hand, "counted", OWNER, f"{reference}/{code}"
    )


def publication(town: Town, listing: str = "mug") -> Any:
    id = town.row(t.listing, t.listing.c.external_id == listing).id
    return town.row(t.publication, t.publication.c.listing_id == id)


def entries(town: Town) -> list[tuple[int | None, int, str]]:
    """(before, written, cause) of each write, in order."""
    rows = sorted(town.rows(t.publication_entry), key=lambda row: (row.at, row.id))
    return [(row.before, row.quantity, row.cause["cause"]) for row in rows]


def publish(town: Town, place: UUID) -> None:
    """Drain the publish lane, and nothing else."""
    jobs.drain(town.hub, town.merchant, place, "publish", budget_seconds=60.0)


# ---------------------------------------------------------------- the plain case


def test_nothing_is_written_before_a_person_says_so(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = connect(hub_town, shop)
    matching.accept_suggestions(hub_town.hub.database, hub_town.merchant, place, None, OWNER)
    count_stock(hub_town, "MUG", 7)
    hub_town.work()
    hub_town.poll(place)
    assert (shop.writes, shop.stock) == ([], {"mug": 10})

    connections.go_live(hub_town.hub.database, hub_town.merchant, place, OWNER)
    hub_town.work()
    assert shop.stock == {"mug": 7}


@BOTH_KINDS
def test_a_sale_in_one_shop_is_taken_off_all_others_and_off_nothing_else(
    hub_town: Town, channel: type[FakeChannel]
) -> None:
    shops = [Shop(stock={"mug": 10, "tee": 5}) for _ in range(3)]
    places = [open_shop(hub_town, shop, channel, adopt=index == 0) for index, shop in enumerate(shops)]
    for shop in shops:
        shop.writes.clear()
        shop.calls.clear()

    shops[0].buy("mug", 3)
    hub_town.poll(places[0])

    assert [shop.stock for shop in shops] == [{"mug": 7, "tee": 5}] * 3
    assert [shop.writes for shop in shops] == [[], [("mug", 7)], [("mug", 7)]]
    hub_town.sound()


@BOTH_KINDS
def test_every_figure_written_says_why(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place, _ = open_shop(hub_town, shop, channel), open_shop(hub_town, other, channel, adopt=False)
    order = shop.buy("mug", 3)
    hub_town.poll(place)

    (entry,) = hub_town.rows(t.publication_entry)
    line = hub_town.row(t.sales_order)
    assert (entry.before, entry.quantity) == (10, 7)
    assert (entry.cause["cause"], entry.cause["order_id"]) == ("allocated", str(line.id))
    assert line.external_id == order["id"]
    assert ("Read 10, then written" in entry.note) == (channel is FakeChannel), "the window that remains is told"


@BOTH_KINDS
def test_many_changes_of_one_figure_are_one_write(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop, other = Shop(stock={"mug": 50}), Shop(stock={"mug": 50})
    place = open_shop(hub_town, shop, channel)
    open_shop(hub_town, other, channel, adopt=False)
    for _ in range(9):
        shop.buy("mug", 2)

    hub_town.poll(place)

    assert other.writes == [("mug", 32)]


def test_many_listings_are_written_in_few_calls(hub_town: Town) -> None:
    shop = Shop(stock={f"item-{number}": 10 for number in range(20)})
    open_shop(hub_town, shop, CarefulChannel)
    shop.calls.clear()
    for number in range(20):
        count_stock(hub_town, f"ITEM-{number}", 5)

    hub_town.work()

    assert (shop.count("push_stock"), set(shop.stock.values())) == (3, {5})
    assert shop.count("read_stock") == 0, "with compare-and-set nobody has to ask first"


def test_two_listings_of_one_sku_show_the_same(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "mug-gift": 4})
    place = connect(hub_town, shop)
    for row in sorted(hub_town.rows(t.listing), key=lambda row: len(row.external_id)):
        matching.bind(hub_town.hub.database, hub_town.merchant, row.id, "MUG", OWNER)
    hub_town.open_for_business(place, adopt=True)
    assert shop.stock == {"mug": 10, "mug-gift": 10}

    shop.buy("mug-gift", 3)
    hub_town.poll(place)
    assert shop.stock == {"mug": 7, "mug-gift": 7}


def test_backorders_never_show_as_less_than_nothing(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 1}), Shop(stock={"mug": 1})
    place, second = open_shop(hub_town, shop), open_shop(hub_town, other, adopt=False)
    shop.buy("mug", 1)
    other.buy("mug", 1)

    hub_town.poll(place)
    hub_town.poll(second)

    assert (shop.stock, other.stock) == ({"mug": 0}, {"mug": 0})
    assert hub_town.stock() == {"MUG": (1, 1)}
    assert hub_town.row(t.backorder).quantity == 1


# ---------------------------------------------------------------- figures that are not ours


@BOTH_KINDS
def test_a_sale_that_was_not_imported_yet_is_not_overwritten(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    shop.buy("mug", 4)

    count_stock(hub_town, "MUG", 12)
    publish(hub_town, place)

    assert hub_town.stock() == {"MUG": (12, 4)}
    assert shop.stock == {"mug": 8}
    assert shop.writes == [("mug", 8)], "12 was never shown"
    (entry,) = hub_town.rows(t.publication_entry)
    assert "no order explained" not in entry.note


@BOTH_KINDS
def test_a_figure_that_nobody_can_explain_is_overwritten_with_a_note(
    hub_town: Town, channel: type[FakeChannel]
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    shop.stock["mug"] = 3  # somebody typed it in

    count_stock(hub_town, "MUG", 12)
    publish(hub_town, place)

    assert shop.stock == {"mug": 12}
    (entry,) = hub_town.rows(t.publication_entry)
    assert (entry.before, entry.quantity) == (3, 12)
    assert "The shop said 3; no order explained the difference." in entry.note


@BOTH_KINDS
def test_a_sale_and_an_edit_at_once_end_at_the_hubs_figure(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    shop.buy("mug", 2)
    shop.stock["mug"] = 50

    count_stock(hub_town, "MUG", 11)
    publish(hub_town, place)

    assert (hub_town.stock(), shop.stock) == ({"MUG": (11, 2)}, {"mug": 9})


@BOTH_KINDS
def test_a_sale_while_its_figure_is_being_explained_is_explained_as_well(
    hub_town: Town, channel: type[FakeChannel]
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)
    shop.buy("mug", 2)
    # After the orders were imported, and before the figure is looked at again, somebody else buys.
    seen = shop.count("read_stock")

    def buy_again() -> None:
        if shop.count("read_stock") > seen + 1:
            shop.buy("mug", 3)

    shop.fail("read_stock", *[buy_again] * 3)
    count_stock(hub_town, "MUG", 20)

    publish(hub_town, place)
    hub_town.poll(place)

    sold = sum(line["quantity"] for order in shop.orders.values() for line in order["lines"])
    assert (hub_town.stock(), shop.stock) == ({"MUG": (20, sold)}, {"mug": 20 - sold})
    assert not any("no order explained" in row.note for row in hub_town.rows(t.publication_entry))


def test_a_figure_that_changes_all_the_time_is_overwritten_in_the_end(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)

    def edited_again() -> None:
        shop.stock["mug"] = (shop.stock["mug"] or 0) + 100

    shop.fail("read_stock", *[edited_again] * 20)
    count_stock(hub_town, "MUG", 7)

    publish(hub_town, place)

    assert shop.writes == [("mug", 7)]


@BOTH_KINDS
def test_a_figure_that_is_right_already_is_not_written(hub_town: Town, channel: type[FakeChannel]) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, channel)

    hub_town.poll(place)
    hub_town.poll(place)

    assert (shop.writes, entries(hub_town)) == ([], [])


def test_a_write_that_customers_overtook_is_read_back_and_put_right(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    open_shop(hub_town, other, adopt=False)

    def bought_between_reading_and_writing() -> None:
        order = other.buy("mug", 1)
        other.index_lags.add(order["id"])  # and its list shows the order a moment later

    other.fail("push mug", bought_between_reading_and_writing)
    shop.buy("mug", 2)
    hub_town.poll(place)
    assert other.stock == {"mug": 8}, "the other sale was overwritten, in a window that cannot be closed"

    other.index_lags.clear()
    hub_town.let_pass(60)  # until the next poll
    hub_town.work()

    assert hub_town.stock() == {"MUG": (10, 3)}
    assert (shop.stock, other.stock) == ({"mug": 7}, {"mug": 7})
    hub_town.sound()


def test_a_figure_that_drifted_is_put_right(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    shop.stock["mug"] = 4

    hub_town.poll(place)

    assert (shop.stock, entries(hub_town)) == ({"mug": 10}, [(4, 10, "drift")])


def test_a_drift_that_was_a_sale_is_explained_and_not_overwritten(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    shop.buy("mug", 4)
    with hub_town.hub.database.write() as connection:
        connection.execute(update(t.publication).values(verify_at=hub_town.hub.database.now(connection)))

    publish(hub_town, place)

    assert (hub_town.stock(), shop.stock, shop.writes) == ({"MUG": (10, 4)}, {"mug": 6}, [])


# ---------------------------------------------------------------- one listing's trouble


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (PushOutcome(PushState.REJECTED, message="Not for sale."), "Not for sale."),
        (PushOutcome(PushState.GONE), "The shop refused this figure."),
        (PushOutcome(PushState.GONE, message="It is gone."), "It is gone."),
    ],
    ids=["rejected", "gone without a word", "gone"],
)
def test_a_listing_that_is_refused_holds_back_no_other(hub_town: Town, outcome: PushOutcome, said: str) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5, "cup": 3})
    place = open_shop(hub_town, shop)
    shop.answers["tee"] = outcome
    for code in ("MUG", "TEE", "CUP"):
        count_stock(hub_town, code, 8)

    hub_town.work()

    assert shop.stock == {"mug": 8, "tee": 5, "cup": 8}
    issue = hub_town.row(t.issue, t.issue.c.kind == publish_lane.NOT_PUBLISHED)
    assert issue.title == f"The stock of “Tee” could not be written: {said}"
    assert publication(hub_town, "tee").error == said
    tries = shop.count("push tee")
    hub_town.let_pass(7200)
    hub_town.work()
    assert shop.count("push tee") == tries, "what was refused is not tried again by itself"

    shop.answers.clear()
    hub_town.poll(place)
    assert (shop.stock["tee"], hub_town.issues()) == (8, [])


def test_a_listing_the_shop_lost_is_not_written(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = open_shop(hub_town, shop)
    del shop.stock["tee"]
    count_stock(hub_town, "MUG", 8)
    count_stock(hub_town, "TEE", 8)

    hub_town.work()
    assert (shop.stock, hub_town.issues()) == ({"mug": 8}, [publish_lane.NOT_PUBLISHED])

    send(hub_town, place, "gone", {"id": "tee"})
    hub_town.work()
    hub_town.poll(place)
    assert shop.stock == {"mug": 8}


def test_a_listing_that_cannot_be_written_now_is_tried_again(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    open_shop(hub_town, shop)
    shop.answers["tee"] = PushOutcome(PushState.RETRY, message="Being edited.")
    count_stock(hub_town, "MUG", 8)
    count_stock(hub_town, "TEE", 8)
    hub_town.work()
    assert (shop.stock["mug"], publication(hub_town, "tee").attempts) == (8, 1)
    assert publication(hub_town, "tee").error == "Being edited."

    hub_town.let_pass(900)
    hub_town.work()
    assert publication(hub_town, "tee").attempts == 2

    shop.answers.clear()
    hub_town.let_pass(900)
    hub_town.work()
    assert shop.stock == {"mug": 8, "tee": 8}
    assert (publication(hub_town, "tee").attempts, publication(hub_town, "tee").error) == (0, "")


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(1)], ids=lambda error: type(error).__name__)
def test_a_listing_at_which_the_connector_fails_is_found_and_set_aside(hub_town: Town, error: BaseException) -> None:
    shop = Shop(stock={f"item-{number}": 10 for number in range(20)})
    place = open_shop(hub_town, shop)
    shop.fail("push item-7", *[error] * 200)
    for number in range(20):
        count_stock(hub_town, f"ITEM-{number}", 4)

    hub_town.work()

    assert {listing for listing, figure in shop.stock.items() if figure != 4} == {"item-7"}
    assert str(error) in publication(hub_town, "item-7").error
    assert hub_town.issues() == [], "it may be better in a moment"
    for _ in range(3):
        hub_town.let_pass(900)
        publish(hub_town, place)
    assert hub_town.issues() == [publish_lane.NOT_PUBLISHED]

    shop.faults.clear()
    hub_town.let_pass(900)
    hub_town.work()
    assert (shop.stock["item-7"], hub_town.issues()) == (4, [])


def test_a_refusal_of_the_whole_call_is_pinned_on_the_listing_at_fault(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5, "cup": 3})
    open_shop(hub_town, shop)
    shop.fail("push tee", *[Rejected("No such product.")] * 5)
    for code in ("MUG", "TEE", "CUP"):
        count_stock(hub_town, code, 8)

    hub_town.work()

    assert shop.stock == {"mug": 8, "tee": 5, "cup": 8}
    assert publication(hub_town, "tee").error == "No such product."
    assert hub_town.issues() == [publish_lane.NOT_PUBLISHED]


def test_a_connector_that_answers_for_fewer_than_asked_is_not_believed(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10, "tee": 5})
    place = open_shop(hub_town, shop)
    count_stock(hub_town, "MUG", 8)
    with monkeypatch.context() as patched:
        patched.setattr(FakeChannel, "push_stock", lambda self, pushes: [])
        hub_town.work()
    assert "gave 0 outcomes for 1 figures" in publication(hub_town).error

    hub_town.let_pass(900)
    publish(hub_town, place)
    assert shop.stock == {"mug": 8, "tee": 5}


# ---------------------------------------------------------------- the shop's trouble


def test_a_rate_limit_pauses_this_shop_alone_and_for_as_long_as_it_asks(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    second = open_shop(hub_town, other, adopt=False)
    shop.fail("read_stock", RateLimited("Slow down.", 30))
    count_stock(hub_town, "MUG", 8)

    hub_town.work()
    assert (shop.stock, other.stock) == ({"mug": 10}, {"mug": 8})
    asked_for = hub_town.row(t.connection, t.connection.c.id == place).not_before
    pause = (asked_for - publication_of(hub_town, second).published_at).total_seconds()
    assert 28 < pause < 36
    calls = len(shop.calls)
    hub_town.let_pass(20)
    hub_town.work()
    assert len(shop.calls) == calls, "not one call before the time is up"

    hub_town.let_pass(20)
    hub_town.work()
    assert (shop.stock, hub_town.issues()) == ({"mug": 8}, [])
    assert publication_of(hub_town, place).attempts == 0, "that is not held against the listing"


def publication_of(town: Town, place: UUID) -> Any:
    return town.row(t.publication, t.publication.c.connection_id == place)


def test_refused_credentials_pause_the_shop_until_somebody_reconnects_it(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    open_shop(hub_town, other, adopt=False)
    shop.fail("read_stock", AuthError("The key was revoked."))
    count_stock(hub_town, "MUG", 8)

    hub_town.work()
    assert (shop.stock, other.stock) == ({"mug": 10}, {"mug": 8})
    row = hub_town.row(t.connection, t.connection.c.id == place)
    assert (row.state, row.error, hub_town.issues()) == ("paused", "The key was revoked.", ["reconnect"])
    calls = len(shop.calls)
    hub_town.let_pass(10_000)
    hub_town.work()
    assert len(shop.calls) == calls

    settings = FakeChannel.settings_schema().load({"shop": shop.name, "key": "new"})
    connections.reconnect(
        hub_town.hub.database, hub_town.hub.keyring, hub_town.merchant, place, FakeChannel, settings, OWNER
    )
    hub_town.work()
    assert (shop.stock, hub_town.issues()) == ({"mug": 8}, [])


def test_credentials_refused_before_they_were_replaced_pause_nothing(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)

    def replaced_meanwhile() -> None:
        with hub_town.hub.database.write() as connection:
            connection.execute(update(t.connection).values(checked_at=hub_town.hub.database.now(connection)))
        raise AuthError("The old key was refused.")

    shop.fail("read_stock", replaced_meanwhile)
    count_stock(hub_town, "MUG", 8)

    hub_town.work()
    hub_town.let_pass(30)
    hub_town.work()

    assert hub_town.row(t.connection, t.connection.c.id == place).state == "connected"
    assert (shop.stock, hub_town.issues()) == ({"mug": 8}, [])


def test_an_outage_opens_the_breaker_and_everything_catches_up_when_it_is_over(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    open_shop(hub_town, other, adopt=False)
    down = Unavailable("The shop is away.")
    for what in ("read_stock", "fetch_orders", "fetch_listings"):
        shop.fail(what, *[down] * 100)
    count_stock(hub_town, "MUG", 8)
    hub_town.work()
    assert (shop.stock, other.stock) == ({"mug": 10}, {"mug": 8})
    for _ in range(8):
        hub_town.let_pass(40)
        hub_town.work()
    row = hub_town.row(t.connection, t.connection.c.id == place)
    assert (row.state, hub_town.issues()) == ("connected", ["unreachable"])
    assert row.failures >= 5
    assert row.not_before is not None
    calls = len(shop.calls)
    hub_town.work()
    assert len(shop.calls) == calls, "it is left alone for a while"
    assert publication_of(hub_town, place).attempts == 0

    shop.faults.clear()
    hub_town.let_pass(600)
    hub_town.work()
    assert shop.stock == {"mug": 8}
    row = hub_town.row(t.connection, t.connection.c.id == place)
    assert (row.failures, row.not_before, hub_town.issues()) == (0, None, [])


@pytest.mark.parametrize(
    "error",
    [Unavailable("The shop is away."), RateLimited("Slow down.", 5), RuntimeError("a bug"), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_orders_that_cannot_be_asked_for_keep_a_figure_from_being_overwritten(
    hub_town: Town, error: BaseException
) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    shop.buy("mug", 4)
    shop.fail("fetch_orders", error)
    count_stock(hub_town, "MUG", 12)

    publish(hub_town, place)
    assert shop.writes == []
    calls = shop.count("read_stock")
    publish(hub_town, place)
    assert shop.count("read_stock") == calls, "nor is it asked again at once"
    taken = hub_town.count(t.lease, t.lease.c.until > hub_town.row(t.publication).explain_since, t.lease.c.holder != "")
    assert taken == 0, "no lane stays taken"

    hub_town.let_pass(60)
    hub_town.work()
    assert (hub_town.stock(), shop.stock) == ({"MUG": (12, 4)}, {"mug": 8})


def test_while_others_fetch_its_orders_a_figure_waits_and_the_shop_is_left_alone(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    shop.buy("mug", 4)
    lease = hub_town.hub.database.lease(f"fetch:{place}", 60)
    count_stock(hub_town, "MUG", 12)
    before = shop.count("read_stock")

    publish(hub_town, place)

    assert (shop.writes, shop.count("read_stock") - before) == ([], 1)
    assert lease is not None
    hub_town.hub.database.release(lease)
    hub_town.let_pass(5)
    hub_town.work()
    assert shop.stock == {"mug": 8}


def test_a_plugin_that_is_missing_parks_its_rows(hub_town: Town) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, CarefulChannel)
    open_shop(hub_town, other, adopt=False)
    everything = hub_town.hub.registry
    without = {name: each for name, each in everything.connectors.items() if name != "careful"}
    hub_town.hub = replace(hub_town.hub, registry=replace(everything, connectors=without))
    send(hub_town, place, "order", shop.buy("mug", 2))
    count_stock(hub_town, "MUG", 8)

    hub_town.work()
    hub_town.let_pass(1000)
    hub_town.work()
    assert (shop.stock, other.stock) == ({"mug": 8}, {"mug": 8})
    assert hub_town.row(t.inbox, t.inbox.c.state == "pending").crash_count == 0
    assert all(each[1] != place for each in jobs.due(hub_town.hub))

    hub_town.hub = replace(hub_town.hub, registry=everything)
    hub_town.work()
    assert hub_town.stock() == {"MUG": (8, 2)}
    assert (shop.stock, other.stock) == ({"mug": 6}, {"mug": 6})


def test_a_drain_that_broke_down_is_counted_and_shown(hub_town: Town) -> None:
    place = open_shop(hub_town, Shop(stock={"mug": 10}))

    jobs.broke_down(hub_town.hub, hub_town.merchant, place, "publish", "it took longer than 120 seconds")

    assert hub_town.row(t.connection).failures == 1
    issue = hub_town.row(t.issue)
    assert issue.title == ("A connector broke down while publishing stock (it took longer than 120 seconds)")


def test_a_worker_killed_after_the_write_and_before_its_record_repeats_no_harm(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, other = Shop(stock={"mug": 10}), Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop, CarefulChannel)
    second = open_shop(hub_town, other, CarefulChannel, adopt=False)

    class Killed(BaseException):
        pass

    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    send(hub_town, place, "order", shop.buy("mug", 3))
    jobs.drain(hub_town.hub, hub_town.merchant, place, "inbox", budget_seconds=60.0)
    with monkeypatch.context() as patched:
        patched.setattr(publish_lane.publications, "record", killed)
        with pytest.raises(Killed):
            publish(hub_town, second)
    assert other.stock == {"mug": 7}

    hub_town.let_pass(100)
    hub_town.work()
    assert (shop.stock, other.stock, publication_of(hub_town, second).quantity) == ({"mug": 7}, {"mug": 7}, 7)


def test_a_listing_unmatched_or_unbound_meanwhile_is_left_alone(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 10})
    place = open_shop(hub_town, shop)
    count_stock(hub_town, "MUG", 8)
    matching.unbind(hub_town.hub.database, hub_town.merchant, hub_town.row(t.listing).id, OWNER)

    hub_town.work()
    assert shop.stock == {"mug": 10}

    matching.bind(hub_town.hub.database, hub_town.merchant, hub_town.row(t.listing).id, "MUG", OWNER)
    connections.bind_location(hub_town.hub.database, hub_town.merchant, place, "", None, OWNER)
    hub_town.work()
    assert shop.stock == {"mug": 10}

    location = hub_town.row(t.location).id
    connections.bind_location(hub_town.hub.database, hub_town.merchant, place, "", location, OWNER)
    hub_town.work()
    assert shop.stock == {"mug": 8}
