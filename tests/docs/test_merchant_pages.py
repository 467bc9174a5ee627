"""What the pages for merchants tell about stock, played through: connecting, counting, selling, correcting."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hub.core.stock import Cause
from hub.store import connections, inbox, matching, warehouse
from hub.store import tables as t
from hub.web.looks import cause
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.simulator import LarkmartSimulator
from tests.docs.pages import DOCS, Page
from tests.town import OWNER, Town


def _stall(name: str, **shelf: int) -> LarkmartSimulator:
    stall = LarkmartSimulator(name)
    for sku, units in shelf.items():
        stall.add_product(sku, sku.title(), stock=units, price="12.50")
    return stall


def _two_stalls(town: Town, **shelf: int) -> tuple[LarkmartSimulator, UUID, LarkmartSimulator, UUID]:
    """Two stalls with the same goods, both live; the stock was adopted from the first."""
    corner, market = _stall("corner", **shelf), _stall("market", **dict.fromkeys(shelf, 99))
    here, there = town.connect(LarkmartConnector, corner), town.connect(LarkmartConnector, market)
    town.open_for_business(here, adopt=True)
    town.open_for_business(there)
    return corner, here, market, there


def _written(stall: LarkmartSimulator) -> list[tuple[str, int]]:
    return [(write.sku, write.quantity) for write in stall.stock_writes]


def _open_issues(town: Town) -> list[tuple[str, str]]:
    return [(row.kind, row.title) for row in town.rows(t.issue, t.issue.c.resolved_at.is_(None))]


def _correct(town: Town, sku: str, on_hand: int, reference: str = "form/1") -> None:
    row = town.row(t.sku, t.sku.c.code == sku)
    place = town.row(t.location)
    warehouse.adjust(town.hub.database, town.merchant, row.id, place.id, on_hand, "Counted", OWNER, reference)
    town.work()


# ---------------------------------------------------------------- first-steps.md


def test_nothing_is_written_before_somebody_says_so(hub_town: Town) -> None:
    corner = _stall("corner", mug=10)
    here = hub_town.connect(LarkmartConnector, corner)
    matching.accept_suggestions(hub_town.hub.database, hub_town.merchant, here, None, OWNER)
    connections.adopt_stock(hub_town.hub.database, hub_town.merchant, here, OWNER)
    hub_town.work()
    corner.buy([("mug", 1)])
    hub_town.poll(here)
    _correct(hub_town, "mug", 7)

    assert _written(corner) == []
    assert hub_town.stock() == {"mug": (7, 1)}

    connections.go_live(hub_town.hub.database, hub_town.merchant, here, OWNER)
    hub_town.work()
    assert _written(corner) == [("mug", 6)]


def test_what_is_not_matched_or_not_counted_is_left_alone_in_a_live_shop_too(hub_town: Town) -> None:
    corner = _stall("corner", mug=10, tee=5, cap=3)
    here = hub_town.connect(LarkmartConnector, corner)
    listings = {row.sku_text: row.id for row in hub_town.rows(t.listing)}
    database = hub_town.hub.database
    matching.bind(database, hub_town.merchant, listings["mug"], "mug", OWNER)
    connections.adopt_stock(database, hub_town.merchant, here, OWNER)
    hub_town.work()
    matching.bind(database, hub_town.merchant, listings["tee"], "tee", OWNER)
    connections.go_live(database, hub_town.merchant, here, OWNER)
    hub_town.work()
    _correct(hub_town, "mug", 8)

    assert _written(corner) == [("mug", 8)]
    assert corner.stock() == {"mug": 8, "tee": 5, "cap": 3}


def test_opening_stock_is_what_the_shop_shows_plus_what_its_open_orders_hold(hub_town: Town) -> None:
    corner = _stall("corner", mug=10)
    corner.buy([("mug", 2)])
    shipped = corner.buy([("mug", 3)])
    assert shipped
    corner.fulfill(shipped.order_external_id)
    here = hub_town.connect(LarkmartConnector, corner)
    hub_town.open_for_business(here, adopt=True)

    assert corner.stock() == {"mug": 5}
    assert hub_town.stock() == {"mug": (7, 2)}
    assert _written(corner) == []


def test_a_sku_is_adopted_once_from_whichever_shop(hub_town: Town) -> None:
    corner, _, market, there = _two_stalls(hub_town, mug=10)
    connections.adopt_stock(hub_town.hub.database, hub_town.merchant, there, OWNER)
    hub_town.work()

    assert hub_town.stock() == {"mug": (10, 0)}
    assert (corner.stock(), market.stock()) == ({"mug": 10}, {"mug": 10})


def test_a_paused_shop_keeps_its_figures_and_resuming_catches_up(hub_town: Town) -> None:
    corner, here, market, there = _two_stalls(hub_town, mug=10)
    connections.pause(hub_town.hub.database, hub_town.merchant, there, OWNER)
    corner.buy([("mug", 4)])
    hub_town.poll(here)
    assert market.stock() == {"mug": 10}

    connections.resume(hub_town.hub.database, hub_town.merchant, there, OWNER)
    hub_town.work()
    assert market.stock() == {"mug": 6}


# ---------------------------------------------------------------- stock.md


def test_the_last_unit_sold_in_two_shops_is_promised_once_and_the_oldest_is_served_first(hub_town: Town) -> None:
    corner, here, market, there = _two_stalls(hub_town, mug=1)
    assert corner.buy([("mug", 1)])
    assert market.buy([("mug", 1)])  # in the moment before anybody heard of the first
    hub_town.poll(there)
    hub_town.poll(here)

    assert hub_town.stock() == {"mug": (1, 1)}
    (waiting,) = hub_town.rows(t.backorder)
    assert waiting.quantity == 1
    assert (corner.stock(), market.stock()) == ({"mug": 0}, {"mug": 0})

    _correct(hub_town, "mug", 3)

    assert hub_town.rows(t.backorder) == []
    assert hub_town.stock() == {"mug": (3, 2)}
    assert (corner.stock(), market.stock()) == ({"mug": 1}, {"mug": 1})


def test_a_lower_count_takes_from_the_newest_order(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    first, second = corner.buy([("mug", 4)]), corner.buy([("mug", 4)])
    assert first
    assert second
    hub_town.poll(here)

    _correct(hub_town, "mug", 5)

    held = {row.order_id: row.quantity for row in _with_order(hub_town, t.allocation)}
    waiting = {row.order_id: row.quantity for row in _with_order(hub_town, t.backorder)}
    orders = {row.external_id: row.id for row in hub_town.rows(t.sales_order)}
    assert held == {orders[first.order_external_id]: 4, orders[second.order_external_id]: 1}
    assert waiting == {orders[second.order_external_id]: 3}
    assert market.stock() == {"mug": 0}


def test_a_cancelled_order_gives_back_what_it_held(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    sale = corner.buy([("mug", 4)])
    assert sale
    hub_town.poll(here)
    corner.cancel(sale.order_external_id)
    hub_town.poll(here)

    assert hub_town.stock() == {"mug": (10, 0)}
    assert market.stock() == {"mug": 10}


def test_a_figure_edited_in_the_shop_is_replaced_by_the_hubs(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    corner.set_stock("mug", 42)
    hub_town.poll(here)

    assert (corner.stock(), market.stock()) == ({"mug": 10}, {"mug": 10})
    assert hub_town.stock() == {"mug": (10, 0)}
    (entry,) = [row for row in hub_town.rows(t.publication_entry) if row.before == 42]
    assert str(cause(entry.cause).label) in Page(DOCS / "merchants" / "stock.md").text


def test_many_changes_of_one_sku_become_one_write(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    before = len(market.stock_writes)
    for _ in range(4):
        corner.buy([("mug", 1)])
    hub_town.poll(here)

    assert _written(market)[before:] == [("mug", 6)]


@pytest.mark.parametrize("why", [*Cause, "went_live", "drift"])
def test_every_cause_is_explained_by_its_label(why: Any) -> None:
    page = Page(DOCS / "merchants" / "stock.md")
    label = cause(str(why)).label
    rows = [row["In the ledger"] for rows in page.tables() for row in rows if "In the ledger" in row]

    assert label in rows or f"**{label}**" in page.text
    assert (label in rows) == isinstance(why, Cause)


# ---------------------------------------------------------------- issues.md


def test_an_order_with_an_unmatched_listing_is_kept_whole_and_settled_by_the_match(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    corner.add_product("tee", "Tee", stock=5, price="20.00")
    assert corner.buy([("mug", 1), ("tee", 2)])
    hub_town.poll(here)

    lines = {row.sku_text: (row.quantity, row.sku_id is not None) for row in hub_town.rows(t.order_line)}
    assert lines == {"mug": (1, True), "tee": (2, False)}
    assert market.stock() == {"mug": 9}
    (issue,) = _open_issues(hub_town)
    assert issue[0] == "unmatched_listing"

    tee = hub_town.row(t.listing, t.listing.c.sku_text == "tee")
    matching.bind(hub_town.hub.database, hub_town.merchant, tee.id, "tee", OWNER)
    connections.adopt_stock(hub_town.hub.database, hub_town.merchant, here, OWNER)
    hub_town.work()

    assert _open_issues(hub_town) == []
    assert hub_town.stock() == {"mug": (10, 1), "tee": (5, 2)}


def test_more_shipped_than_there_was_is_told_and_settled_by_counting(hub_town: Town) -> None:
    corner, here, _, _ = _two_stalls(hub_town, mug=10)
    sale = corner.buy([("mug", 4)])
    assert sale
    hub_town.poll(here)
    _correct(hub_town, "mug", 3)
    corner.fulfill(sale.order_external_id)
    hub_town.poll(here)

    assert hub_town.stock() == {"mug": (0, 0)}
    assert [kind for kind, _ in _open_issues(hub_town)] == ["shipped_more_than_on_hand"]

    _correct(hub_town, "mug", 6, "form/2")
    assert _open_issues(hub_town) == []
    assert hub_town.stock() == {"mug": (6, 0)}


def test_a_record_that_cannot_be_read_is_set_aside_alone_and_read_again_later(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10)
    odd, plain = corner.buy([("mug", 1)]), corner.buy([("mug", 2)])
    assert odd
    assert plain
    with monkeypatch.context() as broken:
        read = LarkmartConnector.read_order

        def fails_once(self: LarkmartConnector, record: Any) -> Any:
            if record.external_id == odd.order_external_id:
                raise ValueError("an older version did not know this")
            return read(self, record)

        broken.setattr(LarkmartConnector, "read_order", fails_once)
        hub_town.poll(here)

    assert market.stock() == {"mug": 8}
    assert [kind for kind, _ in _open_issues(hub_town)] == ["unreadable_record"]

    assert inbox.release_quarantined(hub_town.hub.database, hub_town.merchant, here) == 1
    hub_town.work()
    assert market.stock() == {"mug": 7}
    assert _open_issues(hub_town) == []


def test_refused_credentials_pause_the_shop_until_it_is_reconnected(hub_town: Town) -> None:
    corner, here, market, there = _two_stalls(hub_town, mug=10)
    corner.api_key = "lk_new"
    hub_town.poll(here)
    assert [kind for kind, _ in _open_issues(hub_town)] == ["reconnect"]
    assert hub_town.row(t.connection, t.connection.c.id == here).state == "paused"

    corner.buy([("mug", 4)])
    market.buy([("mug", 1)])
    hub_town.poll(there)
    assert market.stock() == {"mug": 9}
    assert corner.stock() == {"mug": 6}

    connections.reconnect(
        hub_town.hub.database,
        hub_town.hub.keyring,
        hub_town.merchant,
        here,
        LarkmartConnector,
        corner.settings(),
        OWNER,
    )
    hub_town.work()
    assert _open_issues(hub_town) == []

    hub_town.poll(here)
    assert (corner.stock(), market.stock()) == ({"mug": 5}, {"mug": 5})


def test_one_listing_that_is_refused_holds_back_no_other(hub_town: Town) -> None:
    corner, here, market, _ = _two_stalls(hub_town, mug=10, tee=5)
    market.withdraw("offer-1")
    assert corner.buy([("mug", 1), ("tee", 1)])
    hub_town.poll(here)

    assert market.stock() == {"tee": 4}
    assert [kind for kind, _ in _open_issues(hub_town)] == ["not_published"]


def _with_order(town: Town, table: Any) -> list[Any]:
    with town.hub.database.read() as connection:
        line = t.order_line.c
        joined = table.join(
            t.order_line, (line.merchant_id == table.c.merchant_id) & (line.id == table.c.order_line_id)
        )
        return list(connection.execute(select(line.order_id, table.c.quantity).select_from(joined)).all())
