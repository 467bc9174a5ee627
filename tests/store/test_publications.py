"""What is to be published: which listings, with which figure, made of what, and what the channel tells by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from hub.connector import StockSeen
from hub.core.selling import Limits, SellingRule
from hub.store import connections, publications, selling
from hub.store import tables as t
from hub.store.publications import Drifted, Due, Written
from hub.store.selling import Scope
from tests.core.making import a_line, an_order
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def shop(warehouse: Warehouse) -> UUID:
    """A live shop without listings."""
    return warehouse.connect("amber", live=True)


def ensure(warehouse: Warehouse, **where: Any) -> set[UUID]:
    with warehouse.database.write() as connection:
        return publications.ensure(connection, warehouse.merchant, at=warehouse.database.now(connection), **where)


def due(warehouse: Warehouse, shop: UUID, limits: Limits | None = None, limit: int = 100) -> list[Due]:
    with warehouse.database.read() as connection:
        at = warehouse.database.now(connection)
        return publications.due(connection, warehouse.merchant, shop, at=at, limits=limits or Limits(), limit=limit)


def is_due(warehouse: Warehouse, *conditions: Any) -> list[UUID]:
    with warehouse.database.read() as connection:
        at = warehouse.database.now(connection)
        return [shop for _, shop in publications.connections_due(connection, at, *conditions)]


def tell(warehouse: Warehouse, shop: UUID, wrote: bool = True) -> list[Due]:
    """Everything that is due is written, and known from then on."""
    batch = due(warehouse, shop)
    with warehouse.database.write() as connection:
        outcomes = [Written(each, each.quantity, wrote, 3600.0, before=each.expected) for each in batch]
        publications.record(connection, warehouse.merchant, outcomes, at=warehouse.database.now(connection))
    return batch


def hear(
    warehouse: Warehouse, shop: UUID, figure: int | None, listing: str = "mug", later: timedelta = timedelta(0)
) -> bool:
    """The channel tells a figure by itself."""
    with warehouse.database.write() as connection:
        return publications.seen(
            connection,
            warehouse.merchant,
            shop,
            [StockSeen(listing, "", figure)],
            at=warehouse.database.now(connection) + later,
            limits=Limits(),
        )


def pool(warehouse: Warehouse, shop: UUID, location: UUID, place: str = "") -> None:
    with warehouse.database.write() as connection:
        connection.execute(
            insert(t.channel_location_source).values(
                merchant_id=warehouse.merchant, connection_id=shop, external_id=place, location_id=location
            )
        )


def figures(batch: Sequence[Due]) -> dict[str, int]:
    return {each.ref.listing_external_id: each.quantity for each in batch}


# ---------------------------------------------------------------- what is published


def test_a_kit_is_published_once_every_part_is_counted_where_it_sells_from(warehouse: Warehouse, shop: UUID) -> None:
    cup, pot = warehouse.sku("CUP", 9), warehouse.sku("POT")
    kit = warehouse.kit("SET", {cup: 2, pot: 1})
    both, attic = warehouse.connect("blue", live=True), warehouse.location("Attic")
    pool(warehouse, both, attic)
    for place in (shop, both):
        warehouse.listing(place, "set", kit)
    assert ensure(warehouse) == set()

    assert warehouse.count(pot, 3, attic) == {both}, "the other channel does not sell from the attic"
    assert (due(warehouse, shop), figures(due(warehouse, both))) == ([], {"set": 3})
    assert is_due(warehouse) == [both]

    assert warehouse.count(pot, 1) == {shop, both}, "counting the last part publishes the kit"
    assert figures(due(warehouse, shop)) == {"set": 1}


def test_a_change_of_one_part_publishes_the_kit_with_what_can_be_made_up(warehouse: Warehouse, shop: UUID) -> None:
    cup, pot = warehouse.sku("CUP", 9), warehouse.sku("POT", 3)
    warehouse.listing(shop, "set", warehouse.kit("SET", {cup: 2, pot: 1}))
    warehouse.listing(shop, "cup", cup)
    ensure(warehouse)
    assert figures(tell(warehouse, shop)) == {"set": 3, "cup": 9}

    warehouse.count(cup, 5)

    (kit,) = [each for each in due(warehouse, shop) if each.ref.listing_external_id == "set"]
    assert kit.quantity == 2
    assert kit.basis["units"] == {str(cup): 2, str(pot): 1}
    assert [(level["sku"], level["on_hand"], level["entries"]) for level in kit.basis["levels"]] == [
        (str(cup), 5, 2),
        (str(pot), 3, 1),
    ]
    assert kit.basis["steps"][-2:] == ["kit: 2 can be made up", "shown: 2"]


def test_a_place_shows_all_locations_it_sells_from_and_no_other(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 4)
    attic, cellar = warehouse.location("Attic"), warehouse.location("Cellar")
    warehouse.count(mug, 3, attic)
    warehouse.count(mug, 50, cellar)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    assert figures(due(warehouse, shop)) == {"mug": 4}

    pool(warehouse, shop, attic)

    (each,) = due(warehouse, shop)
    assert each.quantity == 7
    assert {level["location"] for level in each.basis["levels"]} == {str(warehouse.location()), str(attic)}


def test_a_sku_counted_only_where_a_place_pools_is_published(warehouse: Warehouse, shop: UUID) -> None:
    mug, attic = warehouse.sku("MUG"), warehouse.location("Attic")
    warehouse.count(mug, 3, attic)
    warehouse.listing(shop, "mug", mug)
    assert ensure(warehouse) == set()

    pool(warehouse, shop, attic)
    assert ensure(warehouse) == {shop}
    assert figures(due(warehouse, shop)) == {"mug": 3}

    with warehouse.database.write() as connection:
        connection.execute(update(t.channel_location).values(location_id=None))
    assert (due(warehouse, shop), is_due(warehouse)) == ([], []), "the hub writes no stock there any more"


def test_safety_stock_and_what_is_set_aside_are_not_shown(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    with warehouse.database.write() as connection:
        connection.execute(update(t.stock_level).values(safety_stock=2, quarantined=1, damaged=3))

    (each,) = due(warehouse, shop)

    assert each.quantity == 4
    (level,) = each.basis["levels"]
    assert (level["safety_stock"], level["quarantined"], level["damaged"]) == (2, 1, 3)


def test_the_basis_says_which_rule_held_and_who_waited(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    selling.save_rule(
        warehouse.database, warehouse.merchant, Scope(), SellingRule(buffer_units=1, backorder_limit=5), OWNER
    )
    warehouse.hear(shop, an_order(a_line(12)))

    (each,) = due(warehouse, shop)

    assert (each.quantity, each.basis["waiting"]) == (3, 2)
    assert each.basis["rule"] == {"buffer_units": 1, "backorder_limit": 5}
    assert each.basis["steps"] == [
        "10 on hand, 10 allocated: 0 free",
        "buffer of 1: 0 kept back",
        "backorders up to 5, 2 wait: 3 more may be sold",
        "shown: 3",
    ]


def test_a_place_that_is_closed_takes_nothing_of_the_channels_share(warehouse: Warehouse) -> None:
    shop, mug = warehouse.connect("blue", live=True, places=("north", "south")), warehouse.sku("MUG", 10)
    south = warehouse.location("South")
    warehouse.count(mug, 6, south)
    connections.bind_location(warehouse.database, warehouse.merchant, shop, "south", south, OWNER)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    selling.save_rule(warehouse.database, warehouse.merchant, Scope(), SellingRule(share_percent=50), OWNER)

    def shown() -> dict[str, int]:
        return {each.ref.location_external_id: each.quantity for each in due(warehouse, shop)}

    assert shown() == {"north": 5, "south": 3}
    with warehouse.database.write() as connection:
        south_there = t.channel_location.c.external_id == "south"
        connection.execute(update(t.channel_location).where(south_there).values(active=False))
    assert shown() == {"north": 5}
    assert due(warehouse, shop)[0].basis["steps"][1] == "share 50 %: 5 of 10"


def test_a_channel_is_told_no_more_than_it_takes(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 5000))
    ensure(warehouse)
    assert figures(due(warehouse, shop, Limits(most_units=999))) == {"mug": 999}


def test_what_was_written_keeps_what_it_was_made_of(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)

    (each,) = tell(warehouse, shop)

    entry = warehouse.row(t.publication_entry)
    assert entry.basis == dict(each.basis)
    assert (entry.dirty_since, entry.read_at) == (each.dirty_since, each.read_at)
    assert entry.dirty_since <= entry.read_at <= entry.at
    (level,) = entry.basis["levels"]
    assert level == {
        "sku": str(mug),
        "location": str(warehouse.location()),
        "on_hand": 10,
        "allocated": 0,
        "quarantined": 0,
        "damaged": 0,
        "safety_stock": 0,
        "entries": 1,
    }


# ---------------------------------------------------------------- since when


def test_it_is_dirty_since_the_first_change_that_was_not_told(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    tell(warehouse, shop)

    warehouse.count(mug, 9)
    first = warehouse.row(t.publication).dirty_since
    warehouse.count(mug, 8)
    hear(warehouse, shop, 77)
    assert warehouse.row(t.publication).dirty_since == first

    (each,) = due(warehouse, shop)
    warehouse.count(mug, 7)  # while it is being written
    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        publications.record(
            connection, warehouse.merchant, [Written(each, each.quantity, True, 60.0, before=10)], at=at
        )

    row = warehouse.row(t.publication)
    assert row.version > row.published_version, "the count in between is told next"
    assert row.dirty_since == each.read_at, "and what was told already does not make it look older"
    assert row.checked_at is None, "the change may have been a sale of the channel's own"


def test_a_drift_found_while_something_changed_does_not_make_it_look_younger(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    tell(warehouse, shop)
    warehouse.let_pass(t.publication, "verify_at", timedelta(hours=2))
    (reading,) = due(warehouse, shop)
    warehouse.count(mug, 9)
    first = warehouse.row(t.publication).dirty_since

    with warehouse.database.write() as connection:
        at = warehouse.database.now(connection)
        publications.record(connection, warehouse.merchant, [Drifted(reading)], at=at)

    row = warehouse.row(t.publication)
    assert (row.dirty_since, row.explain_since, row.checked_at) == (first, at, None)
    assert row.cause["cause"] == "drift"


def test_the_longest_waiting_comes_first(warehouse: Warehouse, shop: UUID) -> None:
    skus = {code: warehouse.sku(code, 10) for code in ("A", "B", "C")}
    for code, sku_id in skus.items():
        warehouse.listing(shop, code, sku_id)
    ensure(warehouse)
    tell(warehouse, shop)
    for code in ("B", "C", "A", "B"):
        warehouse.count(skus[code], 9 if code != "B" else 8)

    assert [each.ref.listing_external_id for each in due(warehouse, shop, limit=2)] == ["B", "C"]
    with warehouse.database.read() as connection:
        at = warehouse.database.now(connection)
        first = publications.unsent_since(connection, warehouse.merchant, shop, at=at)
    assert first == due(warehouse, shop, limit=1)[0].dirty_since


def test_a_connection_is_due_as_long_as_something_is(warehouse: Warehouse, shop: UUID) -> None:
    other = warehouse.connect("blue", live=True)
    mug = warehouse.sku("MUG", 10)
    for each in (shop, other):
        warehouse.listing(each, "mug", mug)
    assert is_due(warehouse) == []
    ensure(warehouse)

    assert set(is_due(warehouse)) == {shop, other}
    assert is_due(warehouse, t.connection.c.id == other) == [other]
    tell(warehouse, other)
    assert is_due(warehouse) == [shop]

    tell(warehouse, shop)
    warehouse.let_pass(t.publication, "verify_at", timedelta(hours=2))
    assert set(is_due(warehouse)) == {shop, other}, "both are read back"
    assert [each.verify for each in due(warehouse, shop)] == [True]


def test_a_reading_makes_no_change_wait_unless_it_is_late_itself(warehouse: Warehouse, shop: UUID) -> None:
    mug, tee = warehouse.sku("MUG", 10), warehouse.sku("TEE", 10)
    for external_id, sku_id in (("mug", mug), ("tee", tee)):
        warehouse.listing(shop, external_id, sku_id)
    ensure(warehouse)
    tell(warehouse, shop)
    warehouse.count(mug, 9)
    warehouse.let_pass(t.publication, "verify_at", timedelta(hours=1, seconds=5))
    assert figures(due(warehouse, shop)) == {"mug": 9}

    warehouse.let_pass(t.publication, "verify_at", timedelta(seconds=15))
    assert [(each.quantity, each.verify) for each in due(warehouse, shop)] == [(9, False), (10, True)]


# ---------------------------------------------------------------- what the channel tells by itself


@pytest.fixture
def mug(warehouse: Warehouse, shop: UUID) -> UUID:
    """Ten mugs, as the shop says."""
    sku_id = warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", sku_id)
    ensure(warehouse)
    tell(warehouse, shop, wrote=False)
    return sku_id


def test_our_own_figure_and_one_that_is_right_are_no_news(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    assert not hear(warehouse, shop, 10)
    warehouse.count(mug, 8)
    before = warehouse.row(t.publication)

    assert not hear(warehouse, shop, 10), "what we left there"
    assert not hear(warehouse, shop, 8), "what is right anyway"

    assert warehouse.row(t.publication) == before


def test_a_figure_that_is_nobodys_is_news(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    assert hear(warehouse, shop, 4)

    row = warehouse.row(t.publication)
    assert (row.version - row.published_version, row.cause["cause"], row.cause["reference"]) == (1, "seen", "4")
    assert row.checked_at is None, "what it says is not known any more"


def test_an_echo_that_comes_late_writes_nothing_and_is_looked_into(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    for count in (8, 7):
        warehouse.count(mug, count)
        tell(warehouse, shop)
    before = warehouse.row(t.publication)

    assert not hear(warehouse, shop, 8), "8 was ours, before 7"
    assert not hear(warehouse, shop, 10), "and 10 is what 8 was written over"

    row = warehouse.row(t.publication)
    assert (row.version, row.published_version) == (before.version, before.published_version)
    assert is_due(warehouse) == []
    assert row.verify_at < before.verify_at - timedelta(minutes=50), "whether it is one is seen in a moment"
    assert row.checked_at is None
    first = row.verify_at
    hear(warehouse, shop, 8)
    assert warehouse.row(t.publication).verify_at == first, "more echoes do not put that off"


def test_a_figure_of_long_ago_is_no_echo(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    for count in (8, 7):
        warehouse.count(mug, count)
        tell(warehouse, shop)

    assert not hear(warehouse, shop, 8, later=timedelta(minutes=9))
    assert hear(warehouse, shop, 8, later=timedelta(minutes=11))


def test_the_figure_of_another_listing_is_no_echo(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    tee = warehouse.sku("TEE", 5)
    warehouse.listing(shop, "tee", tee)
    ensure(warehouse)
    tell(warehouse, shop)

    assert hear(warehouse, shop, 5, "mug")


# ---------------------------------------------------------------- for pages and explanations


def test_a_preview_says_what_every_listing_should_show_and_what_it_does(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG", 10)
    amber = warehouse.listing(shop, "mug", mug)
    ensure(warehouse)
    tell(warehouse, shop)
    blue = warehouse.connect("blue")
    idle = warehouse.listing(blue, "mug", mug)
    selling.save_rule(warehouse.database, warehouse.merchant, Scope(connection_id=blue), SellingRule(maximum=4), OWNER)
    warehouse.count(mug, 9)

    with warehouse.database.read() as connection:
        first, second = publications.preview(connection, warehouse.merchant, mug)

    assert (first.listing_id, first.connection_id, first.location_external_id) == (amber, shop, "")
    assert first.figure is not None
    assert (first.figure.quantity, first.figure.steps) == (9, ("9 on hand: 9 free", "shown: 9"))
    row = warehouse.row(t.publication)
    assert (first.quantity, first.published_at, first.unsent_since) == (10, row.published_at, row.dirty_since)
    assert second.figure is not None
    assert (second.listing_id, second.figure.quantity) == (idle, 4)
    assert (second.quantity, second.published_at, second.unsent_since) == (None, None, None)

    tell(warehouse, shop)
    with warehouse.database.read() as connection:
        first, _ = publications.preview(connection, warehouse.merchant, mug)
    assert (first.quantity, first.unsent_since) == (9, None)


def test_a_preview_of_what_is_not_counted_has_no_figure(warehouse: Warehouse, shop: UUID) -> None:
    mug = warehouse.sku("MUG")
    warehouse.listing(shop, "mug", mug)
    with warehouse.database.read() as connection:
        (each,) = publications.preview(connection, warehouse.merchant, mug)
    assert each.figure is None


def test_nothing_of_another_merchant_is_seen(warehouse: Warehouse, shop: UUID, mug: UUID) -> None:
    stranger = UUID(int=7)
    with warehouse.database.read() as connection:
        at = warehouse.database.now(connection)
        assert publications.preview(connection, stranger, mug) == []
        assert publications.due(connection, stranger, shop, at=at, limits=Limits(), limit=9) == []
        assert publications.unsent_since(connection, stranger, shop, at=at) is None
