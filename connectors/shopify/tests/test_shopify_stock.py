"""Listings with their stock, and writing stock: compare-and-set, all or nothing, and one outcome per quantity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import pytest

from hub.connector import PushOutcome, PushState, Settlement, StockPush, StockRef
from hub.core.model import Listing, Money
from hub.core.shipping import StockListing
from hub.errors import NotFound, RateLimited, Rejected, Unavailable
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimRequest, SimResponse
from hub_shopify import documents
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.translation import FETCHED_VARIANT

GRAPHQL = "/admin/api"


@pytest.fixture
def shop() -> Iterator[ShopifySimulator]:
    with ShopifySimulator() as simulator:
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop)


def listings(connector: ShopifyConnector) -> dict[str, Listing]:
    """Every listing of the shop, by its SKU."""
    found = [
        listing
        for page in connector.fetch_listings(None)
        for record in page.records
        for listing in connector.read_listing(record)
    ]
    return {listing.sku: listing for listing in found}


def stocked(shop: ShopifySimulator, connector: ShopifyConnector, count: int, quantity: int = 5) -> list[StockRef]:
    """So many products with ``quantity`` each, SKU0, SKU1…, as the hub refers to them."""
    for number in range(count):
        shop.add_product(f"SKU{number}", f"Thing {number}", quantity, "1.00")
    found = listings(connector)
    return [ref(found[f"SKU{number}"]) for number in range(count)]


def ref(listing: Listing) -> StockRef:
    return StockRef(listing.external_id, listing.levels[0].location_external_id, listing.handles)


def push(target: StockRef, quantity: int, expected: int | None = 5, key: str = "k") -> StockPush:
    return StockPush(target, quantity, expected, f"{key}-{target.listing_external_id}")


def states(outcomes: Sequence[PushOutcome]) -> list[str]:
    return [outcome.state.value for outcome in outcomes]


def writes(shop: ShopifySimulator) -> list[SimRequest]:
    return [request for request in shop.requests if b"SetStock" in request.body]


def keys(shop: ShopifySimulator) -> list[str]:
    return [request.json()["variables"]["key"] for request in writes(shop)]


# --- listings


def test_a_variant_is_a_listing_with_its_stock_per_location(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = shop.add_product("MUG", "Mug", 7, "8.50")
    town = shop.add_location("Store in town")
    shop.stock_at(town, "MUG", 2)
    listing = listings(connector)["MUG"]
    variant = shop.variants[int(id)]
    assert listing.external_id == id
    assert (listing.title, listing.price) == ("Mug", Money(Decimal("8.50"), "EUR"))
    assert (listing.tracked, listing.active) == (True, True)
    assert listing.handles == {"inventory_item_id": str(variant.item_id), "product_id": str(variant.product_id)}
    assert [(level.available, level.location_external_id == town) for level in listing.levels] == [
        (7, False),
        (2, True),
    ]


def test_a_listing_brings_its_picture_its_weight_and_what_customs_ask_for(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    variant = shop.variants[int(shop.add_product("MUG", "Mug", 7, "8.50"))]
    variant.barcode, variant.picture = "4006381333931", "https://cdn.shopify.com/s/files/mug.jpg"
    variant.weight_grams, variant.origin_country, variant.hs_code = 350, "DE", "691200"
    shop.add_product("BARE", "Bare", 1, "1.00")

    found = listings(connector)

    mug, bare = found["MUG"], found["BARE"]
    assert (mug.barcode, mug.image_url) == ("4006381333931", "https://cdn.shopify.com/s/files/mug.jpg")
    assert (mug.variant, mug.weight_grams, mug.origin_country, mug.hs_code) == ("", 350, "DE", "691200")
    assert (bare.image_url, bare.weight_grams, bare.origin_country, bare.hs_code) == ("", None, "", "")


def test_a_variant_says_what_tells_it_from_the_others_of_its_product() -> None:
    node = {
        "legacyResourceId": "1",
        "title": "Red / M",
        "price": "9.00",
        "currencyCode": "EUR",
        "media": {"nodes": [{"preview": {"image": {"url": "https://cdn.shopify.com/red.jpg"}}}]},
        "product": {
            "legacyResourceId": "2",
            "title": "Shirt",
            "status": "ACTIVE",
            "featuredMedia": {"preview": {"image": {"url": "https://cdn.shopify.com/all.jpg"}}},
        },
        "inventoryItem": {
            "legacyResourceId": "3",
            "tracked": True,
            "measurement": {"weight": {"value": 0.5, "unit": "POUNDS"}},
            "inventoryLevels": {"nodes": []},
        },
    }

    listing = FETCHED_VARIANT.read(json.dumps(node).encode())

    assert (listing.title, listing.variant) == ("Shirt - Red / M", "Red / M")
    assert listing.image_url == "https://cdn.shopify.com/red.jpg"
    assert listing.weight_grams == 227


def test_what_is_not_tracked_or_not_on_sale_is_said(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.variants[int(shop.add_product("GIFT", "Gift card", 0, "10.00"))].tracked = False
    shop.variants[int(shop.add_product("DRAFT", "Draft", 0, "10.00"))].status = "DRAFT"
    shop.variants[int(shop.add_product("HIDDEN", "Unlisted", 0, "10.00"))].status = "UNLISTED"
    found = listings(connector)
    assert {sku: (listing.tracked, listing.active) for sku, listing in found.items()} == {
        "GIFT": (False, True),
        "DRAFT": (True, False),
        "HIDDEN": (True, True),
    }


def test_stock_at_many_locations_comes_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    shop.add_product("MUG", "Mug", 1, "8.50")
    for number in range(documents.VARIANT_LEVELS + 3):
        shop.stock_at(shop.add_location(f"Store {number}"), "MUG", number)
    levels = listings(connector)["MUG"].levels
    assert [level.available for level in levels] == [1, *range(documents.VARIANT_LEVELS + 3)]


def test_all_listings_come_page_by_page_and_an_interrupted_import_goes_on(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    ids = [shop.add_product(f"SKU{number}", "Thing", 1, "1.00") for number in range(2 * documents.VARIANT_PAGE + 1)]
    pages = list(connector.fetch_listings(None))
    assert [record.external_id for page in pages for record in page.records] == ids
    assert {page.total for page in pages} == {len(ids)}
    rest = [record.external_id for page in connector.fetch_listings(pages[0].cursor) for record in page.records]
    assert rest == ids[documents.VARIANT_PAGE :]


def test_one_listing_can_be_fetched_until_it_is_deleted(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = shop.add_product("MUG", "Mug", 7, "8.50")
    record = connector.fetch_listing(id)
    assert (record.topic, record.external_id) == ("listing", id)
    (listing,) = connector.read_listing(record)
    assert listing == listings(connector)["MUG"]
    shop.delete_product(id)
    with pytest.raises(NotFound):
        connector.fetch_listing(id)
    assert listings(connector) == {}


# --- reading stock


def test_stock_is_read_in_the_order_asked_for(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    town = shop.add_location("Store in town")
    first, second = stocked(shop, connector, 2)
    shop.stock_at(town, "SKU0", 1)
    shop.set_stock("SKU1", 8)
    in_town = StockRef(first.listing_external_id, town, first.handles)
    nowhere = StockRef(second.listing_external_id, town, second.handles)
    assert connector.read_stock([second, in_town, first, nowhere, second]) == [8, 1, 5, None, 8]


def test_stock_that_nobody_can_know_is_none(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    known, deleted, untracked = stocked(shop, connector, 3)
    shop.delete_product(deleted.listing_external_id)
    shop.variants[int(untracked.listing_external_id)].tracked = False
    strange = StockRef("1", "x", {"inventory_item_id": "gid://shopify/InventoryItem/1"})
    bare = StockRef(known.listing_external_id, known.location_external_id)
    assert connector.read_stock([known, deleted, untracked, strange, bare]) == [5, None, None, None, None]
    assert connector.read_stock([]) == []


def test_much_stock_is_read_in_few_calls(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    refs = stocked(shop, connector, documents.STOCK_BATCH + 1)
    shop.requests.clear()
    assert connector.read_stock(refs) == [5] * len(refs)
    assert len(shop.requests) == 2


# --- writing stock


def test_stock_is_written_when_the_shop_still_says_what_was_expected(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    first, second = stocked(shop, connector, 2)
    outcomes = connector.push_stock([push(first, 9), push(second, 0)])
    assert outcomes == [PushOutcome(PushState.WRITTEN, 9), PushOutcome(PushState.WRITTEN, 0)]
    assert shop.stock() == {"SKU0": 9, "SKU1": 0}
    (request,) = writes(shop)
    call = request.json()["variables"]["input"]
    assert (call["name"], call["reason"]) == ("available", "correction")
    assert call["referenceDocumentUri"].startswith("gid://tallyhub/StockPush/")
    assert [quantity["changeFromQuantity"] for quantity in call["quantities"]] == [5, 5]
    assert "@idempotent(key: $key)" in request.json()["query"]


def test_without_an_expectation_null_is_sent_and_it_is_written(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    (target,) = stocked(shop, connector, 1)
    assert states(connector.push_stock([push(target, 9, expected=None)])) == ["written"]
    (quantity,) = writes(shop)[0].json()["variables"]["input"]["quantities"]
    assert quantity["changeFromQuantity"] is None
    assert shop.stock() == {"SKU0": 9}


def test_a_quantity_changed_by_somebody_else_is_not_overwritten(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    refs = stocked(shop, connector, 4)
    shop.buy([("SKU1", 2)])
    shop.set_stock("SKU3", 50)
    outcomes = connector.push_stock([push(target, 9) for target in refs])
    assert states(outcomes) == ["written", "stale", "written", "stale"]
    assert shop.stock() == {"SKU0": 9, "SKU1": 3, "SKU2": 9, "SKU3": 50}
    assert len(writes(shop)) == 2  # all four, refused as a whole; then the two that nobody had touched
    assert len(set(keys(shop))) == 2


def test_after_a_stale_write_the_new_expectation_is_written(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    (target,) = stocked(shop, connector, 1)
    shop.set_stock("SKU0", 3)
    assert states(connector.push_stock([push(target, 9)])) == ["stale"]
    (seen,) = connector.read_stock([target])
    assert states(connector.push_stock([push(target, 9, expected=seen, key="k2")])) == ["written"]
    assert shop.stock() == {"SKU0": 9}


def test_halves_are_tried_when_shopify_does_not_say_which_it_refused(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    refs = stocked(shop, connector, 7)
    shop.set_stock("SKU2", 1)
    shop.names_the_refused = False
    outcomes = connector.push_stock([push(target, 9) for target in refs])
    assert states(outcomes) == ["written", "written", "stale", *["written"] * 4]
    assert shop.stock() == {f"SKU{number}": 9 for number in range(7)} | {"SKU2": 1}
    assert len(set(keys(shop))) == len(keys(shop))


def test_each_refusal_says_what_to_do_and_spoils_nothing_else(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    good, deleted, bundle, negative, huge, elsewhere, bare, odd = stocked(shop, connector, 8)
    shop.delete_product(deleted.listing_external_id)
    shop.variants[int(bundle.listing_external_id)].mutable = False
    elsewhere = StockRef(elsewhere.listing_external_id, "999", elsewhere.handles)
    bare = StockRef(bare.listing_external_id, bare.location_external_id)
    odd = StockRef(odd.listing_external_id, "Main warehouse", odd.handles)
    outcomes = connector.push_stock(
        [
            push(deleted, 9),
            push(bundle, 9),
            push(negative, -1),
            push(huge, 1_000_000_001),
            push(elsewhere, 9),
            push(bare, 9),
            push(odd, 9),
            push(good, 9),
        ]
    )
    assert states(outcomes) == ["gone", *["rejected"] * 6, "written"]
    messages = [outcome.message for outcome in outcomes]
    assert "does not have this variant any more" in messages[0]
    assert "Publish the stock of its parts" in messages[1]
    assert "invalid quantity negative" in messages[2]
    assert "invalid quantity too high" in messages[3]
    assert "Choose another location" in messages[4]
    assert "Import the listings again" in messages[5] == messages[6]
    assert shop.stock()["SKU0"] == 9
    assert [(write.sku, write.quantity) for write in shop.stock_writes] == [("SKU0", 9)]


def test_an_item_that_is_not_stocked_at_a_location_is_explained(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    (target,) = stocked(shop, connector, 1)
    # Until 2026-07 Shopify refused this with a code of its own.
    error = {
        "code": "ITEM_NOT_STOCKED_AT_LOCATION",
        "field": ["input", "quantities", "0", "locationId"],
        "message": "x",
    }
    refusal = {"data": {"inventorySetQuantities": {"userErrors": [error]}}}
    shop.fail_next(GRAPHQL, Fault(response=SimResponse.of_json(refusal)))
    (outcome,) = connector.push_stock([push(target, 9)])
    assert outcome.state is PushState.REJECTED
    assert "Tick the location on the variant's page" in outcome.message


def test_one_item_twice_is_sent_in_two_calls(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    (target,) = stocked(shop, connector, 1)
    outcomes = connector.push_stock([push(target, 6, expected=5), push(target, 7, expected=6, key="k2")])
    assert states(outcomes) == ["written", "written"]
    assert shop.stock() == {"SKU0": 7}
    assert len(writes(shop)) == 2


def test_more_than_shopify_takes_goes_into_several_calls(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    refs = stocked(shop, connector, documents.STOCK_BATCH + 1)
    assert states(connector.push_stock([push(target, 1) for target in refs])) == ["written"] * len(refs)
    sizes = [len(request.json()["variables"]["input"]["quantities"]) for request in writes(shop)]
    assert sizes == [documents.STOCK_BATCH, 1]
    assert set(shop.stock().values()) == {1}


def test_nothing_to_push_is_no_call(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    assert connector.push_stock([]) == []
    assert writes(shop) == []


def test_stock_goes_to_several_locations_in_one_call_and_comes_back_from_each(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    town = shop.add_location("Store in town")
    first, second = stocked(shop, connector, 2)
    shop.stock_at(town, "SKU0", 1)
    in_town = StockRef(first.listing_external_id, town, first.handles)
    outcomes = connector.push_stock([push(first, 9), push(in_town, 4, expected=1), push(second, 6)])
    assert outcomes == [PushOutcome(PushState.WRITTEN, quantity) for quantity in (9, 4, 6)]
    assert len(writes(shop)) == 1
    assert connector.read_stock([in_town, second, first]) == [4, 6, 9]


# --- locations where stock is not kept


def listing_at(target: StockRef, location: str) -> StockListing:
    return StockListing(
        listing_external_id=target.listing_external_id, location_external_id=location, handles=target.handles
    )


def activations(shop: ShopifySimulator) -> list[str]:
    """The key of every attempt to keep stock somewhere."""
    found = [request.json() for request in shop.requests if b"mutation ActivateStock(" in request.body]
    return [request["variables"]["key"] for request in found]


def test_stock_written_where_nobody_can_buy_it_is_not_taken_for_stock(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    in_town = StockRef(target.listing_external_id, town, target.handles)
    # Since 2026-10 Shopify takes a figure for any location.
    assert states(connector.push_stock([push(in_town, 4, expected=None)])) == ["written"]
    assert connector.read_stock([in_town, target]) == [None, 5]
    assert [level.location_external_id for level in listings(connector)["SKU0"].levels] != [town]
    assert shop.stock() == {"SKU0": 5}
    assert shop.stock_writes == []


def test_stock_begins_to_be_kept_at_zero_and_is_written_from_then_on(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    in_town = StockRef(target.listing_external_id, town, target.handles)
    result = connector.stock_listing(listing_at(target, town), "key")
    assert result.details == {"activated": True}
    assert connector.read_stock([in_town, target]) == [0, 5]
    assert states(connector.push_stock([push(in_town, 4, expected=0)])) == ["written"]
    assert connector.stock_listing(listing_at(target, town), "key").details == {"activated": False}
    assert connector.read_stock([in_town, target]) == [4, 5]
    assert len(activations(shop)) == 1


def test_what_was_there_before_the_location_was_unticked_does_not_come_back(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    shop.stock_at(town, "SKU0", 7)
    shop.stop_stocking(town, "SKU0")
    in_town = StockRef(target.listing_external_id, town, target.handles)
    assert connector.read_stock([in_town]) == [None]
    connector.stock_listing(listing_at(target, town), "key")
    assert connector.read_stock([in_town]) == [0]


@pytest.mark.parametrize("fault", [Fault.reset(after_effect=False), Fault.reset(), Fault.truncated()])
def test_whatever_answer_is_lost_the_same_key_begins_it_once(
    shop: ShopifySimulator, connector: ShopifyConnector, fault: Fault
) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    assert connector.effects["stock_listing"] is Settlement.NATIVE_KEY
    shop.fail_next(GRAPHQL, fault, after=1)
    with pytest.raises(Unavailable):
        connector.stock_listing(listing_at(target, town), "key")
    shop.set_stock("SKU0", 3)
    connector.stock_listing(listing_at(target, town), "key")
    assert connector.read_stock([StockRef(target.listing_external_id, town, target.handles), target]) == [0, 3]
    assert len(set(activations(shop))) == 1


def test_two_who_begin_at_once_do_no_harm(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    # Between the look and the call a colleague ticks the location, and counts six.
    shop.fail_next(GRAPHQL, Fault(after_effect=True, meanwhile=lambda: shop.stock_at(town, "SKU0", 6)))
    assert connector.stock_listing(listing_at(target, town), "key").details == {"activated": False}
    assert connector.read_stock([StockRef(target.listing_external_id, town, target.handles)]) == [6]


def test_a_key_in_use_waits_and_a_used_up_one_is_replaced(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    shop.refuse_next_write("IDEMPOTENCY_CONCURRENT_REQUEST")
    with pytest.raises(Unavailable):
        connector.stock_listing(listing_at(target, town), "key")
    shop.refuse_next_write("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")
    assert connector.stock_listing(listing_at(target, town), "key").details == {"activated": True}
    first, second, third = activations(shop)
    assert first == second != third
    for _ in range(3):
        shop.refuse_next_write("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")
    with pytest.raises(Unavailable):
        connector.stock_listing(listing_at(target, shop.add_location("Elsewhere")), "key")


@pytest.mark.parametrize(
    ("code", "done"),
    [
        ("IDEMPOTENCY_CONCURRENT_REQUEST", False),
        ("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", True),
        ("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", True),
    ],
)
def test_what_is_said_of_a_key_counts_wherever_it_stands_in_the_answer(
    shop: ShopifySimulator, connector: ShopifyConnector, code: str, done: bool
) -> None:
    town = shop.add_location("Store in town")
    (target,) = stocked(shop, connector, 1)
    error = {"message": "Something about the key.", "extensions": {"code": code}}
    shop.fail_next(GRAPHQL, Fault(response=SimResponse.of_json({"errors": [error]})), after=1)
    with nullcontext() if done else pytest.raises(Unavailable):
        connector.stock_listing(listing_at(target, town), "key")
    assert len(set(activations(shop))) == (2 if done else 1)
    assert connector.read_stock([StockRef(target.listing_external_id, town, target.handles)]) == [0 if done else None]


def test_where_stock_cannot_be_kept_it_says_why(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    town = shop.add_location("Store in town")
    deleted, untracked, fine = stocked(shop, connector, 3)

    def says(listing: StockListing) -> str:
        with pytest.raises(Rejected) as refusal:
            connector.stock_listing(listing, "key")
        return str(refusal.value)

    shop.delete_product(deleted.listing_external_id)
    shop.variants[int(untracked.listing_external_id)].tracked = False
    assert says(listing_at(deleted, town)) == "Shopify does not have this variant any more."
    assert "Turn on “Track quantity”" in says(listing_at(untracked, town))
    assert "Tick the location on the variant's page" in says(listing_at(fine, "999"))
    assert "Import the listings again" in says(StockListing(listing_external_id="1", location_external_id=town))
    assert activations(shop) == [activations(shop)[0]]
    connector.stock_listing(listing_at(fine, town), "key")
    assert connector.read_stock([StockRef(fine.listing_external_id, town, fine.handles)]) == [0]


# --- keys


def test_the_same_push_again_after_a_lost_answer_is_recognized(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    first, second = stocked(shop, connector, 2)
    pushes = [push(first, 9), push(second, 8)]
    shop.fail_next(GRAPHQL, Fault.reset(after_effect=True))
    with pytest.raises(Unavailable) as unclear:
        connector.push_stock(pushes)
    assert unclear.value.sent
    assert states(connector.push_stock(pushes)) == ["written", "written"]
    assert [(write.sku, write.quantity) for write in shop.stock_writes] == [("SKU0", 9), ("SKU1", 8)]
    assert len(set(keys(shop))) == 1


@pytest.mark.parametrize("changed", [{"quantity": 8}, {"expected": None}, {"key": "k2"}])
def test_another_push_is_never_taken_for_the_same(
    shop: ShopifySimulator, connector: ShopifyConnector, changed: dict[str, Any]
) -> None:
    (target,) = stocked(shop, connector, 1)
    connector.push_stock([push(target, 9)])
    connector.push_stock([push(target, **{"quantity": 9, "expected": 5, "key": "k", **changed})])
    assert len(set(keys(shop))) == len(writes(shop)) == 2


def test_a_write_in_progress_elsewhere_is_tried_again_later(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    refs = stocked(shop, connector, 2)
    shop.refuse_next_write("IDEMPOTENCY_CONCURRENT_REQUEST")
    pushes = [push(target, 9) for target in refs]
    assert states(connector.push_stock(pushes)) == ["retry", "retry"]
    assert states(connector.push_stock(pushes)) == ["written", "written"]
    assert len(set(keys(shop))) == 1


@pytest.mark.parametrize("code", ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"])
def test_a_used_up_key_is_replaced_by_another_at_once(
    shop: ShopifySimulator, connector: ShopifyConnector, code: str
) -> None:
    (target,) = stocked(shop, connector, 1)
    shop.refuse_next_write(code)
    assert states(connector.push_stock([push(target, 9)])) == ["written"]
    assert len(set(keys(shop))) == 2


def test_a_key_that_is_never_accepted_is_left_for_later(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    (target,) = stocked(shop, connector, 1)
    for _ in range(3):
        shop.refuse_next_write("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")
    assert states(connector.push_stock([push(target, 9)])) == ["retry"]
    assert states(connector.push_stock([push(target, 9)])) == ["written"]


# --- what is interrupted


def test_what_was_written_before_a_fault_stays_written_and_the_rest_is_tried_again(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    first, second = stocked(shop, connector, 2)
    pushes = [push(first, 9), push(second, 9), push(first, 10, expected=9, key="k2")]
    shop.fail_next(GRAPHQL, Fault(after_effect=True))
    shop.fail_next(GRAPHQL, Fault.status(500))
    outcomes = connector.push_stock(pushes)
    assert states(outcomes) == ["written", "written", "retry"]
    assert states(connector.push_stock([pushes[2]])) == ["written"]
    assert shop.stock() == {"SKU0": 10, "SKU1": 9}


def test_a_rate_limit_before_anything_was_written_is_raised(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    (target,) = stocked(shop, connector, 1)
    bare = StockRef(target.listing_external_id, target.location_external_id)
    shop.fail_next(GRAPHQL, Fault.status(429, retry_after=3))
    with pytest.raises(RateLimited) as limited:
        connector.push_stock([push(bare, 1), push(target, 9)])
    assert limited.value.retry_after == 3
    assert states(connector.push_stock([push(bare, 1), push(target, 9)])) == ["rejected", "written"]


def test_an_answer_that_tells_nothing_is_unclear(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    (target,) = stocked(shop, connector, 1)
    shop.fail_next(GRAPHQL, Fault(response=SimResponse.of_json({"data": {"inventorySetQuantities": None}})))
    with pytest.raises(Unavailable):
        connector.push_stock([push(target, 9)])
    assert states(connector.push_stock([push(target, 9)])) == ["written"]


def test_the_hub_is_told_that_compare_and_set_works() -> None:
    assert ShopifyConnector.capabilities.compare_and_set
    assert ShopifyConnector.capabilities.push_batch == 250
