"""Matching listings to SKUs: what is suggested, what a person decides, and what it means for orders that waited."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from hub.core.model import Listing, Money, OrderStatus
from hub.core.selling import Limits
from hub.errors import BadInput, Conflict
from hub.store import listings, matching, publications
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.matching import Offer
from hub.store.queries import connections as summaries
from tests.core.making import a_line, an_order, minutes
from tests.store.warehouse import OWNER, Warehouse


def offered(warehouse: Warehouse, shop: UUID) -> dict[str, Offer]:
    """What is suggested for each unmatched listing of a shop, by its external id."""
    named = {each.id: each.external_id for each in warehouse.rows(t.listing, t.listing.c.connection_id == shop)}
    open_ones = [each.id for each in warehouse.rows(t.listing, t.listing.c.sku_id.is_(None)) if each.id in named]
    with warehouse.database.read() as connection:
        found = matching.offers(connection, warehouse.merchant, open_ones)
    return {named[listing_id]: offer for listing_id, offer in found.items()}


def told(offer: Offer) -> list[tuple[str, int, str]]:
    return [(each.code, each.score, each.reason) for each in offer.suggestions]


def accept(warehouse: Warehouse, shop: UUID, chosen: Any = None) -> int:
    return matching.accept_suggestions(warehouse.database, warehouse.merchant, shop, chosen, OWNER).matched


def bind(warehouse: Warehouse, listing: UUID, code: str) -> None:
    matching.bind(warehouse.database, warehouse.merchant, listing, code, OWNER)


def keep(warehouse: Warehouse, shop: UUID, *told: Listing) -> None:
    with warehouse.database.write() as connection:
        listings.keep(connection, warehouse.merchant, shop, told, at=warehouse.now())


def matched(warehouse: Warehouse) -> dict[str, str | None]:
    """SKU codes by the listing's external id."""
    codes = {each.id: each.code for each in warehouse.rows(t.sku)}
    return {each.external_id: codes.get(each.sku_id) for each in warehouse.rows(t.listing)}


# ---------------------------------------------------------------- suggestions


def test_the_sku_text_of_a_listing_suggests_its_match(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.sku("MUG")
    keep(
        warehouse,
        shop,
        Listing(external_id="1", sku=" MUG ", title="A cup for coffee"),
        Listing(external_id="2", sku="TEE", title="Shirt"),
        Listing(external_id="3", sku="  ", title="Nothing at all"),
    )

    found = offered(warehouse, shop)

    assert told(found["1"]) == [("MUG", 100, "its SKU at the shop is “MUG”")]
    assert told(found["2"]) == [("TEE", 100, "no SKU is like it: a new one, called as the shop calls it")]
    assert [(name, offer.sure) for name, offer in sorted(found.items())] == [("1", True), ("2", True), ("3", False)]
    assert found["3"].best is None, "a blank text suggests nothing"
    assert (accept(warehouse, shop), matched(warehouse)) == (2, {"1": "MUG", "2": "TEE", "3": None})


def test_one_text_on_several_listings_is_matched_one_by_one(warehouse: Warehouse) -> None:
    shop = warehouse.connect("Tea Street")
    first = warehouse.listing(shop, "1", sku_text="MUG", title="Mug")
    second = warehouse.listing(shop, "2", sku_text="MUG", title="Another mug")
    warehouse.listing(shop, "3", sku_text="TEE", title="Shirt")

    assert accept(warehouse, shop) == 1
    assert matched(warehouse) == {"1": None, "2": None, "3": "TEE"}

    assert accept(warehouse, shop, [first]) == 1
    assert told(offered(warehouse, shop)["2"]) == [("MUG", 90, "its SKU “MUG” stands on 2 listings of Tea Street")], (
        "the other one still stands beside it"
    )
    assert accept(warehouse, shop) == 0
    assert accept(warehouse, shop, [second]) == 1
    assert matched(warehouse) == {"1": "MUG", "2": "MUG", "3": "TEE"}
    assert len(warehouse.rows(t.sku)) == 2


def test_a_text_in_small_letters_is_put_before_a_person(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.sku("MUG-BLUE")
    warehouse.listing(shop, "1", sku_text="mug-blue", title="Cup")

    offer = offered(warehouse, shop)["1"]

    assert told(offer) == [
        ("MUG-BLUE", 95, "“mug-blue” is “MUG-BLUE” but for small and capital letters"),
        ("mug-blue", 70, "a new SKU, called as the shop calls it"),
    ]
    assert (offer.sure, accept(warehouse, shop)) == (False, 0)


@pytest.mark.parametrize("theirs", ["4006381333931", "036000291452"])
def test_the_barcode_of_a_matched_listing_suggests_its_sku(warehouse: Warehouse, theirs: str) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    warehouse.listing(one, "a", warehouse.sku("MUG"), title="Blue mug", barcode=theirs.zfill(13))
    warehouse.listing(two, "b", sku_text="77-123", title="Tasse", barcode=theirs)

    offer = offered(warehouse, two)["b"]

    assert told(offer) == [
        ("MUG", 100, "same barcode as “Blue mug” at one"),
        ("77-123", 70, "a new SKU, called as the shop calls it"),
    ]
    assert offer.sure
    assert (accept(warehouse, two), matched(warehouse)["b"]) == (1, "MUG")


def test_a_barcode_of_two_skus_proves_nothing(warehouse: Warehouse) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    for code in ("CUP", "MUG"):
        warehouse.listing(one, code, warehouse.sku(code), title=code, barcode="4006381333931")
    warehouse.listing(two, "b", sku_text="", title="Tasse", barcode="4006381333931")

    offer = offered(warehouse, two)["b"]

    assert [(each.code, each.score) for each in offer.suggestions] == [("CUP", 90), ("MUG", 90)]
    assert (offer.sure, accept(warehouse, two)) == (False, 0)


def test_a_text_and_a_barcode_that_contradict_each_other_are_left_to_a_person(warehouse: Warehouse) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    warehouse.sku("TEE")
    warehouse.listing(one, "a", warehouse.sku("MUG"), title="Blue mug", barcode="4006381333931")
    warehouse.listing(two, "b", sku_text="TEE", title="Tasse", barcode="4006381333931")

    offer = offered(warehouse, two)["b"]

    assert [(each.code, each.score) for each in offer.suggestions] == [("MUG", 100), ("TEE", 100)]
    assert (offer.sure, accept(warehouse, two)) == (False, 0)


def test_a_close_title_suggests_and_is_never_sure(warehouse: Warehouse) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    bind(warehouse, warehouse.listing(one, "a", title="Enamel mug, sky blue"), "MUG-1")
    bind(warehouse, warehouse.listing(one, "b", title="Linen shirt"), "TEE-1")
    warehouse.listing(two, "x", sku_text="", title="Enamel Mug - Sky Blue")
    warehouse.listing(two, "y", sku_text="", title="Garden chair")

    found = offered(warehouse, two)

    assert told(found["x"]) == [("MUG-1", 95, "its title is 95 % like “Enamel mug, sky blue”")]
    assert (found["x"].sure, found["y"].suggestions) == (False, ())


def test_the_variants_of_a_product_are_not_taken_for_one_another(warehouse: Warehouse) -> None:
    shop = warehouse.connect("one")
    bind(warehouse, warehouse.listing(shop, "a", title="Shirt - Red / M"), "TEE-RED-M")
    warehouse.listing(shop, "b", sku_text="TEE-RED-L", title="Shirt - Red / L")

    offer = offered(warehouse, shop)["b"]

    assert told(offer) == [("TEE-RED-L", 100, "no SKU is like it: a new one, called as the shop calls it")]


def test_a_new_sku_is_not_made_at_once_where_a_title_is_close(warehouse: Warehouse) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    bind(warehouse, warehouse.listing(one, "a", title="Enamel mug, blue"), "MUG-1")
    warehouse.listing(two, "x", sku_text="77-123", title="Enamel mug (blue)")

    assert [(each.code, each.score) for each in offered(warehouse, two)["x"].suggestions] == [
        ("MUG-1", 95),
        ("77-123", 70),
    ]
    assert (accept(warehouse, two), len(warehouse.rows(t.sku))) == (0, 1)


def test_what_is_gone_or_ignored_is_not_accepted_with_all(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.listing(shop, "1", sku_text="GONE", active=False)
    ignored = warehouse.listing(shop, "2", sku_text="OLD", title="Old")
    assert matching.ignore(warehouse.database, warehouse.merchant, [ignored], OWNER) == 1
    assert matching.ignore(warehouse.database, warehouse.merchant, [ignored], OWNER) == 0

    assert accept(warehouse, shop) == 0

    assert matching.bring_back(warehouse.database, warehouse.merchant, [ignored], OWNER) == 1
    assert (accept(warehouse, shop), matched(warehouse)) == (1, {"1": None, "2": "OLD"})
    assert [each.summary for each in warehouse.rows(t.activity) if each.kind.startswith("listing_")] == [
        "“Old” is left unmatched on purpose",
        "“Old” is to be matched again",
        "“Old” is matched to SKU OLD",
    ]


def test_all_shops_can_be_matched_at_once(warehouse: Warehouse) -> None:
    one, two = warehouse.connect("one"), warehouse.connect("two")
    warehouse.listing(one, "1", sku_text="MUG", title="Mug")
    warehouse.listing(two, "2", sku_text="MUG", title="Mug")
    warehouse.listing(two, "3", sku_text="TEE", title="Shirt")

    act = matching.accept_suggestions(warehouse.database, warehouse.merchant, None, None, OWNER)

    assert (act.matched, act.new_skus) == (3, 2)
    assert matched(warehouse) == {"1": "MUG", "2": "MUG", "3": "TEE"}


# ---------------------------------------------------------------- undoing an act


def test_a_bulk_acceptance_is_undone_as_one_act(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    for number in range(450):  # more than are matched in one transaction
        warehouse.listing(shop, str(number), sku_text=f"SKU-{number}", title=f"Thing {number}")
    act = matching.accept_suggestions(warehouse.database, warehouse.merchant, shop, None, OWNER)
    row = warehouse.row(t.match_act)
    assert (row.id, row.listings, row.summary, row.actor) == (act.id, 450, "450 listings matched", OWNER)

    assert act.id is not None
    assert matching.undo(warehouse.database, warehouse.merchant, act.id, OWNER) == 450

    assert set(matched(warehouse).values()) == {None}
    row = warehouse.row(t.match_act)
    assert (row.undone, row.undone_by, row.undone_at is None) == (450, OWNER, False)
    with pytest.raises(Conflict, match="undone already"):
        matching.undo(warehouse.database, warehouse.merchant, act.id, OWNER)


def test_what_was_changed_since_an_act_stays_when_it_is_undone(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    ids = {name: warehouse.listing(shop, name, sku_text=name, title=name) for name in ("one", "two", "three")}
    act = matching.accept_suggestions(warehouse.database, warehouse.merchant, shop, None, OWNER)
    bind(warehouse, ids["two"], "SPECIAL")
    matching.unbind(warehouse.database, warehouse.merchant, ids["three"], OWNER)
    bind(warehouse, ids["three"], "three")

    assert act.id is not None
    assert matching.undo(warehouse.database, warehouse.merchant, act.id, OWNER) == 1

    assert matched(warehouse) == {"one": None, "two": "SPECIAL", "three": "three"}


def test_one_match_is_an_act_of_its_own(warehouse: Warehouse) -> None:
    listing = warehouse.listing(warehouse.connect(), "1", title="Mug")

    act = matching.bind(warehouse.database, warehouse.merchant, listing, "MUG", OWNER)

    assert warehouse.row(t.match_act).summary == "“Mug” matched to SKU MUG"
    assert matching.undo(warehouse.database, warehouse.merchant, act, OWNER) == 1
    assert matched(warehouse) == {"1": None}


def test_an_act_that_never_was_cannot_be_undone(warehouse: Warehouse) -> None:
    with pytest.raises(BadInput, match="nothing of this kind to undo"):
        matching.undo(warehouse.database, warehouse.merchant, new_id(), OWNER)


# ---------------------------------------------------------------- accepting


def test_accepting_everything_twice_matches_everything_once(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    for number in range(450):  # more than are matched in one transaction
        warehouse.listing(shop, str(number), sku_text=f"SKU-{number}")

    assert accept(warehouse, shop) == 450
    assert accept(warehouse, shop) == 0

    assert set(matched(warehouse).values()) == {f"SKU-{number}" for number in range(450)}


def test_what_a_person_matched_meanwhile_stays(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    listing = warehouse.listing(shop, "1", sku_text="MUG")
    other = warehouse.listing(shop, "2", sku_text="TEE")
    bind(warehouse, listing, "SPECIAL")

    act = matching.accept(warehouse.database, warehouse.merchant, {listing: "MUG", other: "TEE"}, OWNER)

    assert (act.matched, matched(warehouse)) == (1, {"1": "SPECIAL", "2": "TEE"})
    nothing = matching.accept(warehouse.database, warehouse.merchant, {listing: "MUG"}, OWNER)
    assert (nothing.id, nothing.matched) == (None, 0)


# ---------------------------------------------------------------- binding


@pytest.mark.parametrize("code", ["", "   ", "x" * 201, "MUG\n1", "MUG\x00"])
def test_a_code_that_is_none_is_refused(warehouse: Warehouse, code: str) -> None:
    listing = warehouse.listing(warehouse.connect(), "1")

    with pytest.raises(BadInput) as refused:
        bind(warehouse, listing, code)

    assert (list(refused.value.fields), warehouse.rows(t.sku)) == (["sku"], [])


def test_a_listing_that_does_not_exist_cannot_be_matched(warehouse: Warehouse) -> None:
    with pytest.raises(BadInput, match="This listing does not exist"):
        bind(warehouse, new_id(), "MUG")
    assert warehouse.rows(t.sku) == []


def test_listings_of_two_shops_share_a_sku_by_its_code(warehouse: Warehouse) -> None:
    one, two = warehouse.connect(), warehouse.connect()
    bind(warehouse, warehouse.listing(one, "1"), "MUG")
    bind(warehouse, warehouse.listing(two, "1"), " MUG ")

    (sku,) = warehouse.rows(t.sku)
    assert {each.sku_id for each in warehouse.rows(t.listing)} == {sku.id}


def test_codes_that_differ_in_case_are_different_skus(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    for number, code in enumerate(["mug", "MUG", "00123", "123", "1E5"]):
        bind(warehouse, warehouse.listing(shop, str(number)), code)

    assert sorted(each.code for each in warehouse.rows(t.sku)) == ["00123", "123", "1E5", "MUG", "mug"]


def test_a_match_holds_when_the_shop_renames_the_sku(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    keep(warehouse, shop, Listing(external_id="1", sku="MUG", title="Mug"))
    assert accept(warehouse, shop) == 1

    keep(warehouse, shop, Listing(external_id="1", sku="MUG-OLD", title="Old mug", price=Money.of("9.90", "EUR")))

    listing = warehouse.row(t.listing)
    assert (listing.sku_text, listing.title, listing.price, listing.currency) == ("MUG-OLD", "Old mug", "9.90", "EUR")
    assert (matched(warehouse), listing.bound_by) == ({"1": "MUG"}, OWNER)


def test_a_match_can_be_undone_and_the_listing_is_published_no_more(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    sku = warehouse.sku("MUG", 5)
    listing = warehouse.listing(shop, "mug")
    bind(warehouse, listing, "MUG")
    warehouse.hear(shop, an_order(a_line(2)))
    assert warehouse.level(sku) == (5, 2)

    matching.unbind(warehouse.database, warehouse.merchant, listing, OWNER)

    assert matched(warehouse) == {"mug": None}
    assert warehouse.level(sku) == (5, 2), "orders keep what they hold"
    assert waiting_at(warehouse, shop) == 0
    with pytest.raises(Conflict, match="not matched any more"):
        matching.unbind(warehouse.database, warehouse.merchant, listing, OWNER)


def waiting_at(warehouse: Warehouse, shop: UUID) -> int:
    """How many figures its page says that a shop waits for."""
    with warehouse.database.read() as connection:
        found = summaries.connection_summary(connection, warehouse.merchant, shop)
    assert found is not None
    return found.waiting


def test_what_was_to_be_written_waits_no_more_once_the_match_is_undone(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    warehouse.sku("MUG", 5)
    warehouse.sku("BOWL", 5)
    warehouse.listing(shop, "mug")
    bind(warehouse, warehouse.listing(shop, "bowl"), "BOWL")
    act = matching.accept_suggestions(warehouse.database, warehouse.merchant, shop, None, OWNER)
    assert waiting_at(warehouse, shop) == 2
    with warehouse.database.write() as connection:
        connection.execute(t.publication.update().values(error="Refused."))

    matching.undo(warehouse.database, warehouse.merchant, act.id, OWNER)

    assert waiting_at(warehouse, shop) == 1, "the bowl alone"
    assert sorted(each.error for each in warehouse.rows(t.publication)) == ["", "Refused."]
    bind(warehouse, warehouse.rows(t.listing, t.listing.c.external_id == "mug")[0].id, "MUG")
    assert waiting_at(warehouse, shop) == 2, "matched anew, it is written anew"


def test_a_figure_under_way_while_its_match_is_undone_brings_nothing_back(warehouse: Warehouse) -> None:
    shop = warehouse.connect(live=True)
    sku = warehouse.sku("MUG", 5)
    listing = warehouse.listing(shop, "mug")
    bind(warehouse, listing, "MUG")
    with warehouse.database.read() as connection:
        (due,) = publications.due(connection, warehouse.merchant, shop, at=warehouse.now(), limits=Limits(), limit=10)
    warehouse.count(sku, 7)  # its figure changes while the first one is on its way

    matching.unbind(warehouse.database, warehouse.merchant, listing, OWNER)
    with warehouse.database.write() as connection:
        publications.record(
            connection, warehouse.merchant, [publications.Written(due, 5, True, 60.0)], at=warehouse.now()
        )

    assert waiting_at(warehouse, shop) == 0
    assert warehouse.row(t.publication).quantity == 5, "what it said last is known"


# ---------------------------------------------------------------- lines that waited for it


def test_an_order_with_an_unknown_listing_is_kept_whole_and_a_person_is_asked(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    warehouse.listing(shop, "mug", sku)

    warehouse.hear(shop, an_order(a_line(2), a_line(3, id="2", listing="tee"), a_line(1, id="3", listing="cup")))

    lines = {each.external_id: (each.listing_external_id, each.sku_id) for each in warehouse.rows(t.order_line)}
    assert lines == {"1": ("mug", sku), "2": ("tee", None), "3": ("cup", None)}
    assert warehouse.level(sku) == (5, 2)
    issues = {each.subject: each.title for each in warehouse.rows(t.issue)}
    assert issues == {
        f"{shop}/tee": "“tee” (SKU TEE) was sold in order #100, but is not matched to a SKU",
        f"{shop}/cup": "“cup” (SKU CUP) was sold in order #100, but is not matched to a SKU",
    }

    bind(warehouse, warehouse.listing(shop, "tee"), "TEE")
    open_issues = warehouse.rows(t.issue, t.issue.c.resolved_at.is_(None))
    assert [each.subject for each in open_issues] == [f"{shop}/cup"]


def test_a_match_gives_waiting_lines_their_stock_oldest_order_first(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    for number in (2, 1, 3):
        warehouse.hear(shop, an_order(a_line(2), id=str(number), number=f"#{number}", placed_at=minutes(number)))
    assert warehouse.level(sku) == (5, 0)

    bind(warehouse, warehouse.listing(shop, "mug"), "MUG")

    assert (warehouse.level(sku), warehouse.waiting(sku)) == ((5, 5), {"#3": 1})
    warehouse.sound()


def test_lines_of_finished_orders_learn_their_sku_and_take_nothing(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 5)
    over = {"status": OrderStatus.FULFILLED, "holds_stock": False}
    warehouse.hear(shop, an_order(a_line(2, fulfilled=2), id="over", **over))
    warehouse.hear(shop, an_order(a_line(3, fulfilled=1), id="open"))

    bind(warehouse, warehouse.listing(shop, "mug"), "MUG")

    assert warehouse.level(sku) == (5, 2)
    assert {each.sku_id for each in warehouse.rows(t.order_line)} == {sku}
    warehouse.hear(shop, an_order(a_line(3, fulfilled=3), id="open", version=minutes(5), **over))
    assert warehouse.level(sku) == (3, 0), "what left after the match is taken out"
    warehouse.sound()


def test_a_line_that_was_dropped_holds_nothing_when_it_is_matched(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 10)
    warehouse.hear(shop, an_order(a_line(2), a_line(3, id="2")))
    warehouse.hear(shop, an_order(a_line(2), version=minutes(1)))

    bind(warehouse, warehouse.listing(shop, "mug"), "MUG")

    assert warehouse.level(sku) == (10, 2)
    warehouse.sound()


def test_a_line_of_another_shop_with_the_same_listing_id_is_left_alone(warehouse: Warehouse) -> None:
    one, two = warehouse.connect(), warehouse.connect()
    sku = warehouse.sku("MUG", 10)
    for shop in (one, two):
        warehouse.hear(shop, an_order(a_line(2), id=f"of {shop}"))

    bind(warehouse, warehouse.listing(one, "mug"), "MUG")

    assert warehouse.level(sku) == (10, 2)
    by_shop = {each.id: each.connection_id for each in warehouse.rows(t.sales_order)}
    assert {by_shop[each.order_id]: each.sku_id for each in warehouse.rows(t.order_line)} == {one: sku, two: None}


def test_a_match_to_a_sku_that_is_not_counted_reserves_nothing_yet(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    warehouse.hear(shop, an_order(a_line(2)))
    bind(warehouse, warehouse.listing(shop, "mug"), "MUG")
    (sku,) = warehouse.rows(t.sku)
    assert warehouse.rows(t.allocation) == warehouse.rows(t.backorder) == []

    warehouse.count(sku.id, 1)

    assert (warehouse.level(sku.id), warehouse.waiting(sku.id)) == ((1, 1), {"#100": 1})
    warehouse.sound()


def test_a_second_line_of_the_same_sku_is_matched_without_a_clash_in_the_ledger(warehouse: Warehouse) -> None:
    shop, sku = warehouse.connect(), warehouse.sku("MUG", 10)
    warehouse.listing(shop, "mug", sku)
    warehouse.hear(shop, an_order(a_line(2), a_line(3, id="2", listing="mug-gift")))

    bind(warehouse, warehouse.listing(shop, "mug-gift"), "MUG")

    assert warehouse.level(sku) == (10, 5)
    warehouse.sound()


def test_matching_makes_the_shops_of_the_sku_due(warehouse: Warehouse) -> None:
    one, two = warehouse.connect(live=True), warehouse.connect(live=True)
    sku = warehouse.sku("MUG")
    warehouse.listing(one, "mug", sku)
    warehouse.count(sku, 5)
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))
    warehouse.hear(two, an_order(a_line(2)))

    bind(warehouse, warehouse.listing(two, "mug"), "MUG")

    due = warehouse.rows(t.publication, t.publication.c.version > t.publication.c.published_version)
    assert {each.connection_id for each in due} == {one, two}


# ---------------------------------------------------------------- listings that go


def test_a_deleted_listing_is_published_no_more(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    keep(
        warehouse, shop, Listing(external_id="1", sku="MUG", title="Mug"), Listing(external_id="2", sku="X", title="X")
    )

    with warehouse.database.write() as connection:
        listings.retire(connection, warehouse.merchant, shop, ["1"])

    assert {each.external_id: each.active for each in warehouse.rows(t.listing)} == {"1": False, "2": True}
    keep(warehouse, shop, Listing(external_id="1", sku="MUG", title="Mug"))
    assert all(each.active for each in warehouse.rows(t.listing)), "it is back"


def test_a_deleted_product_takes_all_its_variants_with_it(warehouse: Warehouse) -> None:
    one, two = warehouse.connect(), warehouse.connect()
    for shop in (one, two):
        keep(
            warehouse,
            shop,
            *(
                Listing(external_id=str(number), sku="", title="", handles={"product": product, "item": str(number)})
                for number, product in enumerate(["shirt", "shirt", "mug"])
            ),
            Listing(external_id="shirt", sku="", title="named like the product"),
        )

    with warehouse.database.write() as connection:
        listings.retire(connection, warehouse.merchant, one, ["shirt"], "product")

    gone = {(each.connection_id, each.external_id) for each in warehouse.rows(t.listing, ~t.listing.c.active)}
    assert gone == {(one, "0"), (one, "1")}


def test_a_page_of_thousands_of_listings_is_kept(warehouse: Warehouse) -> None:
    shop = warehouse.connect()
    many = [Listing(external_id=str(number), sku=f"S{number}", title="x" * 900) for number in range(5000)]

    keep(warehouse, shop, *many, many[0])

    rows = warehouse.rows(t.listing)
    assert (len(rows), len(rows[0].title)) == (5000, 500)


def test_a_row_of_another_merchant_is_not_matched(warehouse: Warehouse) -> None:
    other = Warehouse(warehouse.database, warehouse.keyring, new_id())
    with warehouse.database.write() as connection:
        now = warehouse.database.now(connection)
        connection.execute(insert(t.merchant).values(id=other.merchant, name="Other", created_at=now))
    mine, theirs = warehouse.connect(), other.connect()
    warehouse.listing(mine, "1", sku_text="MUG")
    other.listing(theirs, "1", sku_text="MUG")
    other.sku("MUG", 5)

    assert told(offered(warehouse, mine)["1"]) == [
        ("MUG", 100, "no SKU is like it: a new one, called as the shop calls it")
    ]
    assert accept(warehouse, mine) == 1

    skus = {each.merchant_id: each.id for each in warehouse.rows(t.sku)}
    assert {each.merchant_id: each.sku_id for each in warehouse.rows(t.listing)} == {
        warehouse.merchant: skus[warehouse.merchant],
        other.merchant: None,
    }
