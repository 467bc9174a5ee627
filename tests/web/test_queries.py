"""Read models on SQLite and PostgreSQL: figures add up, lists page without gaps, one merchant is all they see."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from hub.core.model import Money
from hub.store import effects
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.queries import connections, documents, journal, orders, stock
from hub.store.queries.connections import Health
from tests.statements import statements
from tests.web.shop_builder import Furnished, Shop, furnish, hub_on, open_shop


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    return open_shop(hub_on(database, tmp_path))


@pytest.fixture
def things(shop: Shop) -> Furnished:
    furnish(open_shop(shop.hub, "Rival"))  # what must never be seen
    return furnish(shop)


# ---------------------------------------------------------------- connections


def test_a_connection_tells_its_health_and_its_backlog(database: Database, shop: Shop, things: Furnished) -> None:
    for number in range(3):
        shop.record(things.connection_id, "pending", received_at=shop.ago(seconds=number))
    failing = shop.listing(things.connection_id, "L7", things.sku_id)
    shop.publication(failing, things.connection_id, None, version=2, dirty_since=shop.ago(seconds=5), error="refused")
    shop.connection("Gone", state="removed")

    with database.read() as db:
        shown = connections.connections(db, shop.merchant_id)
        with_removed = connections.connections(db, shop.merchant_id, removed=True)
        one = connections.connection_summary(db, shop.merchant_id, things.connection_id)
        of_another = connections.connection_summary(db, uuid4(), things.connection_id)

    assert [each.label for each in shown] == ["Tea Street", "Market Hall", "Pier 7"]
    assert with_removed[-1].health(shop.now) is Health.REMOVED
    first = shown[0]
    assert one == first and of_another is None
    assert (first.backlog, first.backlog_since) == (3, shop.ago(seconds=2))
    assert (first.listings, first.matched, first.unmatched) == (3, 2, 1)
    assert (first.waiting, first.waiting_since, first.failing) == (1, shop.ago(seconds=5), 1)
    assert first.issues == 1
    assert [each.health(shop.now) for each in shown] == [Health.LIVE, Health.PREPARING, Health.NEW]


@pytest.mark.parametrize(
    ("state", "more", "health"),
    [
        ("connected", {"error": "It does not answer."}, Health.PROBLEM),
        ("connected", {"error": "It does not answer.", "waits": 30}, Health.WAITING),
        ("connected", {"waits": -30}, Health.LIVE),
        ("paused", {}, Health.PAUSED),
        ("paused", {"error": "refused"}, Health.PAUSED),
        ("new", {"error": "refused"}, Health.PROBLEM),
    ],
)
def test_health_names_the_worst(
    database: Database, shop: Shop, state: str, more: dict[str, object], health: Health
) -> None:
    more = dict(more)
    waits = more.pop("waits", None)
    not_before = shop.now + timedelta(seconds=waits) if isinstance(waits, int) else None
    connection_id = shop.connection(state=state, not_before=not_before, **more)

    with database.read() as db:
        found = connections.connection_summary(db, shop.merchant_id, connection_id)

    assert found and found.health(shop.now) is health


def test_listings_page_by_title_without_gaps_or_doubles(database: Database, shop: Shop) -> None:
    connection_id = shop.connection()
    titles = ["Tea", "Tea", "Tea", "tea", "Äpfel", "Zen", "", "100% pure", "a_b"]
    for number, title in enumerate(titles):
        shop.listing(connection_id, str(number), title=title, sku_text="x")

    seen: list[connections.ListingView] = []
    after: tuple[str, UUID] | None = None
    with database.read() as db:
        while page := connections.listings(db, shop.merchant_id, connection_id, after=after, limit=2):
            seen += page
            after = (page[-1].title, page[-1].id)
        found = connections.listings(db, shop.merchant_id, connection_id, text="0%")
        underscore = connections.listings(db, shop.merchant_id, connection_id, text="a_b")

    assert sorted(each.title for each in seen) == sorted(titles)
    assert len({each.id for each in seen}) == len(titles)
    assert [each.title for each in found] == ["100% pure"]
    assert [each.title for each in underscore] == ["a_b"]


def test_listings_are_chosen_by_how_they_are_matched(database: Database, shop: Shop, things: Furnished) -> None:
    shop.listing(things.connection_id, "L5", tracked=False, title="Voucher")

    def titles(show: str, **more: str) -> list[str]:
        with database.read() as db:
            return [
                each.title
                for each in connections.listings(db, shop.merchant_id, things.connection_id, show=show, **more)
            ]

    assert titles("all") == ["Green tea", "Voucher", "White tea"]
    assert titles("matched") == ["Green tea"]
    assert titles("unmatched") == ["White tea"]
    assert titles("untracked") == ["Voucher"]
    assert titles("all", text="tea-1") == ["Green tea"]
    assert titles("all", text="TEA-2") == ["White tea"]


def test_the_plan_for_going_live_says_what_would_be_written_and_what_not(
    database: Database, shop: Shop, things: Furnished
) -> None:
    here = things.other_connection_id
    empty = shop.sku("TEA-0")
    shop.level(empty, things.location_id, on_hand=0)
    elsewhere = shop.sku("TEA-8")
    shop.level(elsewhere, shop.location("Attic"), on_hand=8)
    uncounted = shop.sku("TEA-9", counted=False)
    shop.place(here, None, "Cellar", "cellar")
    shop.listing(here, "M1", things.sku_id)
    shop.listing(here, "M2", empty)
    shop.listing(here, "M6", elsewhere)
    shop.listing(here, "M3", uncounted)
    shop.listing(here, "M4")
    shop.listing(here, "M5", things.sku_id, tracked=False)

    with database.read() as db:
        found = connections.left_out(db, shop.merchant_id, here)

    assert found == connections.LeftOut(unmatched=1, untracked=1, uncounted=1, not_here=1, unbound_locations=1)


def test_the_effects_to_decide_are_those_with_an_open_issue(database: Database, shop: Shop, things: Furnished) -> None:
    ids = {}
    for name, state, has_issue in [
        ("lost", "unknown", True),
        ("failed", "failed", True),
        ("old", "failed", False),
        ("on its way", "in_flight", True),
    ]:
        ids[name] = shop.write(
            t.effect,
            id=new_id(),
            connection_id=things.connection_id,
            kind="subscribe_webhooks",
            ordering_key=name,
            effect_key=uuid4(),
            generation=1,
            request={},
            state=state,
            due_at=shop.now,
            created_at=shop.now,
            error="No answer.",
        )
        if has_issue:
            shop.issue(kind=effects.ISSUE, subject=str(ids[name]), connection_id=things.connection_id)

    with database.read() as db:
        shown = connections.undecided(db, shop.merchant_id, things.connection_id)
        elsewhere = connections.undecided(db, shop.merchant_id, things.other_connection_id)

    assert {each.id for each in shown} == {ids["lost"], ids["failed"]}
    assert elsewhere == []


# ---------------------------------------------------------------- orders


def numbers(database: Database, shop: Shop, **wanted: object) -> list[str]:
    with database.read() as db:
        return [each.number for each in orders.orders(db, shop.merchant_id, orders.OrderFilter(**wanted))]  # type: ignore[arg-type]


def test_orders_are_found_by_what_a_person_types(database: Database, shop: Shop, things: Furnished) -> None:
    shop.order(things.connection_id, "2001", customer_name="Zoë 100% Wood", email="z@example.com", status="fulfilled")
    with_sku = shop.order(things.other_connection_id, "#2002", customer_name="", external_id="77")
    shop.line(with_sku, "1", sku_text="CUP-7", listing_external_id=None)

    assert numbers(database, shop, text="2001") == ["2001"]
    assert numbers(database, shop, text="#2002") == ["#2002"]
    assert numbers(database, shop, text="77") == ["#2002"]
    assert numbers(database, shop, text="hopper") == ["1001"]
    assert numbers(database, shop, text="zoe 100%") == ["2001"]
    assert numbers(database, shop, text="CUP-7") == ["#2002"]
    assert numbers(database, shop, status="fulfilled") == ["2001"]
    assert numbers(database, shop, connection_id=things.other_connection_id) == ["#2002"]
    assert numbers(database, shop, waiting=True) == ["1001"]
    assert numbers(database, shop, text="nothing like it") == []


def test_orders_page_by_time_without_gaps_or_doubles(database: Database, shop: Shop) -> None:
    connection_id = shop.connection()
    same = shop.ago(hours=1)
    for number in range(7):
        shop.order(connection_id, str(number), placed_at=same if number % 2 else shop.ago(minutes=number))
    shop.order(connection_id, "never seen", placed_at=None, status="removed")

    seen = []
    before = None
    with database.read() as db:
        while page := orders.orders(db, shop.merchant_id, orders.OrderFilter(), before=before, limit=2):
            seen += page
            before = (page[-1].placed_at, page[-1].id)

    assert [each.number for each in seen][:4] == ["0", "2", "4", "6"]
    assert sorted(each.number for each in seen) == [str(number) for number in range(7)]


def test_an_order_tells_its_lines_its_money_and_its_story(database: Database, shop: Shop, things: Furnished) -> None:
    with database.read() as db:
        order = orders.order(db, shop.merchant_id, things.order_id)
        (summary,) = orders.orders(db, shop.merchant_id, orders.OrderFilter())

    assert order
    assert order.total == Money.of("28.90", "EUR")
    assert order.parts == (
        ("Items", Money.of("20.00", "EUR")),
        ("Shipping", Money.of("4.90", "EUR")),
        ("Tax", Money.of("4.00", "EUR")),
    )
    assert sum((part.amount for _, part in order.parts)) == order.total.amount
    first, second, third = order.lines
    held = tuple((each.sku_code, each.location_name, each.units) for each in first.allocations)
    assert (held, first.allocated, first.backordered, first.counted) == ((("TEA-1", "Main warehouse", 2),), 2, 0, True)
    assert (second.allocations, second.allocated, second.backordered, second.parts) == ((), 0, 2, ())
    assert (third.sku_id, third.listing_id) == (None, things.unmatched_listing_id)
    assert [(each.external_id, each.amount) for each in order.refunds] == [("r1", Money.of("5.00", "EUR"))]
    assert (summary.units, summary.allocated, summary.backordered, summary.unmatched) == (6, 2, 2, 1)


@pytest.mark.parametrize(
    ("included", "shown"),
    [
        (False, ["Items", "Shipping", "Fees", "Discount", "Tax", "Rounding"]),
        (True, ["Items", "Shipping", "Fees", "Discount", "Rounding"]),
    ],
)
def test_the_parts_of_an_order_add_up_to_its_total(
    database: Database, shop: Shop, included: bool, shown: list[str]
) -> None:
    tax = 0 if included else 333
    order_id = shop.order(
        shop.connection(),
        "9",
        currency="JPY",
        lines_minor=1000,
        shipping_minor=200,
        fees_minor=30,
        discount_minor=150,
        tax_minor=333,
        rounding_minor=-1,
        taxes_included=included,
        total_minor=1000 + 200 + 30 - 150 + tax - 1,
    )

    with database.read() as db:
        order = orders.order(db, shop.merchant_id, order_id)

    assert order and order.total
    assert [name for name, _ in order.parts] == shown
    assert sum(part.amount for _, part in order.parts) == order.total.amount


def test_an_order_of_which_only_the_removal_was_heard_can_be_opened(database: Database, shop: Shop) -> None:
    order_id = shop.order(
        shop.connection(), "5", status="removed", currency="", total_minor=0, version=None, placed_at=None
    )

    with database.read() as db:
        order = orders.order(db, shop.merchant_id, order_id)

    assert order and (order.total, order.parts, order.placed_at) == (None, (), None)


# ---------------------------------------------------------------- stock


def test_the_stock_list_adds_locations_up_and_shows_what_shops_show(
    database: Database, shop: Shop, things: Furnished
) -> None:
    shop.level(
        things.sku_id,
        shop.location("Attic"),
        on_hand=9,
        allocated=1,
        quarantined=1,
        damaged=2,
        incoming=4,
        safety_stock=2,
    )
    shop.listing(things.other_connection_id, "M1", things.sku_id, title="Market tea")
    shop.sku("TEA-9", counted=False)

    with database.read() as db:
        box, tea, uncounted = stock.stock(db, shop.merchant_id)

    assert (tea.on_hand, tea.allocated, tea.set_aside, tea.incoming, tea.available, tea.waiting) == (21, 3, 3, 4, 15, 2)
    assert (box.code, box.kit, box.available) == ("BOX-1", True, 7)
    assert (uncounted.counted, uncounted.kit, uncounted.figures) == (False, False, ())
    market, street = tea.figures
    assert (street.connection_label, street.published, street.wanted, street.dirty) == ("Tea Street", 10, 10, False)
    assert (street.live, market.live) == (True, False)
    assert (market.connection_label, market.published, market.wanted) == ("Market Hall", None, 10)
    assert street.steps == ("12 on hand, 2 allocated: 10 free", "shown: 10")


def test_a_shop_that_sells_from_several_locations_shows_them_pooled(
    database: Database, shop: Shop, things: Furnished
) -> None:
    attic = shop.location("Attic")
    shop.level(things.sku_id, attic, on_hand=9, safety_stock=2)
    shop.write(t.channel_location_source, connection_id=things.connection_id, external_id="", location_id=attic)

    with database.read() as db:
        (street,) = stock.stock(db, shop.merchant_id, text="TEA-1")[0].figures
        (place,) = connections.channel_locations(db, shop.merchant_id, things.connection_id)

    assert street.wanted == 17
    assert (place.location_id, place.sources) == (things.location_id, {things.location_id, attic})


def test_the_stock_list_is_chosen_and_paged(database: Database, shop: Shop, things: Furnished) -> None:
    place = things.location_id
    out = shop.sku("OUT-1")
    shop.level(out, place, on_hand=3, allocated=3)
    behind = shop.sku("BEHIND-1")
    shop.level(behind, place, on_hand=3)
    listing = shop.listing(things.connection_id, "B1", behind)
    shop.publication(listing, things.connection_id, 9, version=2, dirty_since=shop.now)
    shop.sku("NEW-1", "50% off_er", counted=False)
    shop.level(shop.sku("RISK-1"), place, on_hand=3, damaged=1)
    shop.level(shop.sku("MOVE-1"), place, on_hand=3, incoming=1)

    def codes(**more: object) -> list[str]:
        with database.read() as db:
            return [each.code for each in stock.stock(db, shop.merchant_id, **more)]  # type: ignore[arg-type]

    assert codes() == ["BEHIND-1", "BOX-1", "MOVE-1", "NEW-1", "OUT-1", "RISK-1", "TEA-1"]
    assert codes(show="short") == ["OUT-1", "TEA-1"]
    assert codes(show="set_aside") == ["RISK-1"]
    assert codes(show="in_transit") == ["MOVE-1"]
    assert codes(show="kits") == ["BOX-1"]
    assert codes(show="behind") == ["BEHIND-1"]
    assert codes(show="uncounted") == ["NEW-1"]
    assert codes(text="tea-1") == ["TEA-1"]
    assert codes(text="50%") == ["NEW-1"]
    assert codes(after="NEW-1", limit=1) == ["OUT-1"]


def test_a_sku_shows_its_ledger_its_queue_and_every_write(database: Database, shop: Shop, things: Furnished) -> None:
    shelf = shop.location("Shelf")
    shop.level(things.sku_id, shelf, on_hand=0)
    for number in range(5):
        shop.entry(
            things.sku_id, shelf if number % 2 else things.location_id, "adjusted", 1, at=shop.ago(minutes=5 - number)
        )

    with database.read() as db:
        sku = stock.sku(db, shop.merchant_id, things.sku_id)
        newest = stock.ledger(db, shop.merchant_id, things.sku_id, limit=3)
        mark = {entry.location_id: entry.number for entry in newest}
        rest = stock.ledger(db, shop.merchant_id, things.sku_id, before=mark)
        of_another = stock.sku(db, uuid4(), things.sku_id)

    assert sku and of_another is None
    main, other = sku.levels
    assert (main.location_name, main.level.on_hand, main.level.available) == ("Main warehouse", 12, 10)
    assert (other.location_name, sku.total.on_hand) == ("Shelf", 12)
    assert [each.name for each in sku.uncounted] == ["Harbor"]
    assert [(each.order_number, each.units) for each in sku.waiting] == [("1001", 2)]
    assert sku.waiting_units == 2
    assert [(each.code, each.quantity) for each in sku.used_in] == [("BOX-1", 2)]
    assert [(each.before, each.quantity) for each in sku.writes] == [(12, 10)]
    assert [each.at for each in newest] == [shop.ago(minutes=number) for number in range(1, 4)]
    assert [(each.location_name, each.number, each.change.on_hand, each.after.on_hand) for each in newest + rest] == [
        ("Main warehouse", 5, 1, 15),
        ("Shelf", 2, 1, 2),
        ("Main warehouse", 4, 1, 14),
        ("Shelf", 1, 1, 1),
        ("Main warehouse", 3, 1, 13),
        ("Main warehouse", 2, 0, 12),
        ("Main warehouse", 1, 12, 12),
    ]
    assert [each.order_number for each in newest + rest] == ["", "", "", "", "", "1001", ""]


def test_the_ledger_pages_by_number_where_clocks_did_not_agree(
    database: Database, shop: Shop, things: Furnished
) -> None:
    sku_id = shop.sku("CLOCK-1")
    shop.level(sku_id, things.location_id, on_hand=3)
    for number, minutes in enumerate((9, 3, 5)):
        shop.entry(sku_id, things.location_id, "adjusted", 1, note=str(number), at=shop.ago(minutes=minutes))

    seen: list[str] = []
    mark: dict[UUID, int] = {}
    with database.read() as db:
        while page := stock.ledger(db, shop.merchant_id, sku_id, before=mark, limit=1):
            seen += [each.note for each in page]
            mark = {each.location_id: each.number for each in page}

    assert seen == ["2", "1", "0"]


def test_a_kit_tells_how_many_can_be_made_and_what_there_is_least_of(
    database: Database, shop: Shop, things: Furnished
) -> None:
    cup = shop.sku("CUP-1", "Cup")
    shop.level(cup, things.location_id, on_hand=4)
    shop.level(cup, shop.location("Attic"), on_hand=3)
    inner = shop.kit("PAIR-1", {cup: 2}, "Two cups")
    outer = shop.kit("SET-1", {things.sku_id: 1}, "Tea for two")
    shop.write(t.kit_part, kit_id=outer, part_id=inner, quantity=1)
    shop.write(t.kit_leaf, kit_id=outer, part_id=cup, quantity=2)

    with database.read() as db:
        found = stock.sku(db, shop.merchant_id, outer)

    assert found and found.kit and found.kit.makes == 3
    assert [(each.code, each.kit, each.depth, each.needed, each.available) for each in found.kit.parts] == [
        ("PAIR-1", True, 0, 1, 3),
        ("CUP-1", False, 1, 2, 7),
        ("TEA-1", False, 0, 1, 10),
    ]
    assert [(each.code, each.enough_for) for each in found.kit.limited_by] == [("CUP-1", 3)]
    assert found.levels == ()


def test_an_order_for_a_kit_tells_what_it_holds_in_kits_and_in_parts(
    database: Database, shop: Shop, things: Furnished
) -> None:
    cup = shop.sku("CUP-1", "Cup")
    shop.level(cup, things.location_id, on_hand=4)
    kit = shop.kit("SET-1", {things.sku_id: 1, cup: 2})
    order_id = shop.order(things.connection_id, "1002")
    line = shop.line(order_id, "1", kit, quantity=5)
    for sku_id, per_unit, missing in ((things.sku_id, 1, False), (cup, 2, True)):
        shop.write(t.order_line_part, order_line_id=line, sku_id=sku_id, quantity=per_unit)
        shop.allocation(line, sku_id, things.location_id, 2 * per_unit)
        shop.backorder(line, sku_id, 3, per_unit=per_unit, missing=missing)

    with database.read() as db:
        order = orders.order(db, shop.merchant_id, order_id)
        summary = orders.orders(db, shop.merchant_id, orders.OrderFilter(text="1002"))[0]
        waiting = stock.sku(db, shop.merchant_id, cup)

    assert order
    (shown,) = order.lines
    assert (shown.allocated, shown.backordered, summary.allocated, summary.backordered) == (2, 3, 2, 3)
    assert [(each.sku_code, each.quantity, each.waiting) for each in shown.parts] == [
        ("CUP-1", 2, True),
        ("TEA-1", 1, False),
    ]
    assert [(each.sku_code, each.units) for each in shown.allocations] == [("CUP-1", 4), ("TEA-1", 2)]
    assert waiting and [(each.order_number, each.units, each.missing) for each in waiting.waiting] == [
        ("1002", 6, True)
    ]


def test_a_sku_is_found_by_its_code_or_by_a_barcode_that_means_only_it(
    database: Database, shop: Shop, things: Furnished
) -> None:
    upper, lower = shop.sku("MUG"), shop.sku("mug")
    shop.listing(things.connection_id, "B1", things.sku_id, barcode="4006381333931")
    shop.listing(things.connection_id, "B2", upper, barcode="11")
    shop.listing(things.other_connection_id, "B3", lower, barcode="11")

    with database.read() as db:

        def find(text: str) -> UUID | None:
            return stock.find(db, shop.merchant_id, text)

        assert find("TEA-1") == find("tea-1") == find("4006381333931") == things.sku_id
        assert (find("MUG"), find("mug"), find("Mug")) == (upper, lower, None)
        assert (find("11"), find("nothing"), find("TEA")) == (None, None, None)


def test_documents_are_listed_by_kind_place_number_and_sku(database: Database, shop: Shop, things: Furnished) -> None:
    attic = shop.location("Attic")
    shop.document("count", "count/1", attic, {things.sku_id: 3}, note="yearly count")

    def shown(**wanted: object) -> list[str]:
        with database.read() as db:
            found = documents.documents(db, shop.merchant_id, documents.DocumentFilter(**wanted))  # type: ignore[arg-type]
            return [each.reference for each in found]

    assert shown() == ["count/1", "DN-7", "T-1"]
    assert shown(kind="receipt") == ["DN-7"]
    assert shown(in_transit=True) == ["T-1"]
    assert shown(location_id=attic) == ["count/1"]
    assert shown(text="dn-7") == ["DN-7"]
    assert shown(text="yearly") == ["count/1"]
    assert shown(text="TEA-1") == ["count/1", "DN-7", "T-1"]
    with database.read() as db:
        (first,) = documents.documents(db, shop.merchant_id, documents.DocumentFilter(), limit=1)
        rest = documents.documents(db, shop.merchant_id, documents.DocumentFilter(), before=first.id)
        one = documents.document(db, shop.merchant_id, things.document_id)
        of_another = documents.document(db, uuid4(), things.document_id)
    assert [each.reference for each in rest] == ["DN-7", "T-1"]
    assert one and of_another is None
    assert (one.head.location_name, one.head.to_location_name, one.head.on_the_way) == ("Main warehouse", "Harbor", 3)
    assert [(each.code, each.quantity, each.on_the_way) for each in one.lines] == [("TEA-1", 3, 3)]


# ---------------------------------------------------------------- issues, activity, and how much is asked


def test_issues_and_activity_page_by_time(database: Database, shop: Shop) -> None:
    same = shop.ago(minutes=1)
    for number in range(5):
        shop.issue(f"open {number}", opened_at=same)
        shop.issue(f"done {number}", resolved_at=same, resolved_by="ada")
        shop.activity(f"line {number}", at=same)

    with database.read() as db:
        for resolved in (False, True):
            first = journal.issues(db, shop.merchant_id, resolved=resolved, limit=3)
            mark = first[-1].resolved_at or first[-1].opened_at
            rest = journal.issues(db, shop.merchant_id, resolved=resolved, before=(mark, first[-1].id))
            assert len({each.title for each in first + rest}) == 5
        lines = journal.activity(db, shop.merchant_id, limit=3)
        more = journal.activity(db, shop.merchant_id, before=(lines[-1].at, lines[-1].id))
        assert len({each.summary for each in lines + more}) == 5


def test_a_page_of_orders_or_stock_asks_as_often_for_fifty_rows_as_for_one(database: Database, shop: Shop) -> None:
    connection_id = shop.connection()
    place = shop.location()
    shop.place(connection_id, place)

    def cost() -> tuple[int, int]:
        counts = []
        for read in (
            lambda db: orders.orders(db, shop.merchant_id, orders.OrderFilter()),
            lambda db: stock.stock(db, shop.merchant_id),
        ):
            with database.read() as db, statements(database) as asked:
                read(db)
            counts.append(len(asked))
        return counts[0], counts[1]

    def fill(first: int, count: int) -> None:
        with database.write() as db:
            for number in range(first, first + count):
                sku_id = new_id()
                row = {"merchant_id": shop.merchant_id}
                db.execute(
                    insert(t.sku).values(
                        id=sku_id, code=f"S{number}", created_at=shop.now, counted_since=shop.now, **row
                    )
                )
        for number in range(first, first + count):
            shop.order(connection_id, f"o{number}")

    fill(0, 1)
    one = cost()
    fill(1, 20)

    assert cost() == one
    assert one[0] <= 4 and one[1] <= 12
