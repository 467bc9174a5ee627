"""Recorded products and variations read as listings, and what product webhooks say."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.connector import Fact, ListingRemoved, RawRecord, Refetch, StockSeen
from hub.core.model import Listing, ListingLevel, Money
from hub.errors import NotFound, Unreadable
from hub.testing.context import connector_for
from hub.testing.simulator import SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

PAYLOADS = Path(__file__).parent / "payloads"
DELIVERIES = [
    json.loads(line) for line in (PAYLOADS / "_webhook_deliveries.jsonl").read_text(encoding="utf-8").splitlines()
]

MUG = Listing(
    external_id="10",
    sku="MUG-1",
    title="Mug — blå",
    price=Money(Decimal("12.50"), "USD"),
    levels=(ListingLevel(location_external_id="", available=4),),
)
TEE_S = Listing(
    external_id="12",
    sku="TEE-S",
    title="Tee - S",
    price=Money(Decimal("20"), "USD"),
    handles={"parent": "11"},
    levels=(ListingLevel(location_external_id="", available=5),),
    variant="S",
)
TEE_M = Listing(
    external_id="13",
    sku="TEE-M",
    title="Tee - M",
    price=Money(Decimal("21"), "USD"),
    handles={"parent": "11"},
    levels=(ListingLevel(location_external_id="", available=0),),
    variant="M",
)


def recorded(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))["response"]["json"]


@pytest.fixture(scope="module")
def reader() -> Any:
    with WooCommerceSimulator() as shop:
        yield connector_for(WooCommerceConnector, shop)


def fetched(reader: WooCommerceConnector, product: Any, variations: Any = ()) -> list[Listing]:
    body = json.dumps({"product": product, "variations": list(variations), "currency": "USD"}).encode()
    return list(reader.read_listing(RawRecord("listing", str(product["id"]), body)))


def facts(reader: WooCommerceConnector, number: int, **changed: Any) -> list[Fact]:
    row = DELIVERIES[number]
    body = json.dumps({**json.loads(row["body"]), **changed}).encode()
    return list(reader.read_webhook(RawRecord(row["headers"]["X-WC-Webhook-Topic"], "", body)))


def test_reads_a_simple_product(reader: WooCommerceConnector) -> None:
    assert fetched(reader, recorded("product_after_orders")) == [MUG]


def test_reads_variations_and_not_their_parent(reader: WooCommerceConnector) -> None:
    assert fetched(reader, recorded("product_variable_create"), recorded("variations_list")) == [TEE_M, TEE_S]


def test_a_variable_product_without_variations_holds_no_listing(reader: WooCommerceConnector) -> None:
    assert fetched(reader, recorded("product_variable_create")) == []


def test_a_variation_is_the_same_whichever_way_it_is_asked_for(reader: WooCommerceConnector) -> None:
    (alone,) = recorded("variation_list_by_sku")
    assert (alone["name"], recorded("variations_list")[1]["name"]) == ("Tee - S", "S")
    assert fetched(reader, alone) == [TEE_S]


def test_a_variation_that_does_not_name_its_parent_is_still_written_through_it(reader: WooCommerceConnector) -> None:
    variation = {
        key: value for key, value in recorded("variations_list")[1].items() if key not in ("parent_id", "name")
    }
    (listing,) = fetched(reader, recorded("product_variable_create"), [variation])
    assert (listing.handles, listing.title) == ({"parent": "11"}, "Tee")


@pytest.mark.parametrize("managed", [False, "parent", None, "yes"])
def test_stock_that_is_not_the_variations_own_is_not_tracked(reader: WooCommerceConnector, managed: Any) -> None:
    variations = [{**recorded("variations_list")[1], "manage_stock": managed, "stock_quantity": 99}]
    (listing,) = fetched(reader, recorded("product_variable_create"), variations)
    assert listing.tracked is False
    assert listing.levels == (ListingLevel(location_external_id="", available=None),)


def test_stock_below_nothing_is_told_as_it_is(reader: WooCommerceConnector) -> None:
    (listing,) = fetched(reader, recorded("product_update_stock_negative"))
    assert listing.levels == (ListingLevel(location_external_id="", available=-3),)


def test_a_product_may_have_no_price_and_no_quantity(reader: WooCommerceConnector) -> None:
    (listing,) = fetched(reader, {**recorded("product_after_orders"), "price": "", "stock_quantity": None})
    assert (listing.price, listing.tracked) == (None, True)
    assert listing.levels == (ListingLevel(location_external_id="", available=None),)


@pytest.mark.parametrize(
    ("status", "active"), [("publish", True), ("draft", False), ("private", False), ("trash", False)]
)
def test_only_published_products_are_active(reader: WooCommerceConnector, status: str, active: bool) -> None:
    (listing,) = fetched(reader, {**recorded("product_after_orders"), "status": status})
    assert listing.active is active


@pytest.mark.parametrize("kind", ["grouped", "external"])
def test_products_sold_as_something_else_are_no_listings(reader: WooCommerceConnector, kind: str) -> None:
    assert fetched(reader, {**recorded("product_after_orders"), "type": kind}) == []
    assert facts(reader, 12, type=kind) == []


def test_a_products_barcode_is_its_gtin(reader: WooCommerceConnector) -> None:
    (listing,) = fetched(reader, {**recorded("product_after_orders"), "global_unique_id": "4006381333931"})
    assert listing.barcode == "4006381333931"


# ---------------------------------------------------------------- what it looks like and weighs


def weighed(reader: WooCommerceConnector, weight: Any, unit: str, **changed: Any) -> int | None:
    product = {**recorded("product_after_orders"), "weight": weight, **changed}
    body = json.dumps({"product": product, "currency": "USD", "weight_unit": unit}).encode()
    (listing,) = reader.read_listing(RawRecord("listing", "10", body))
    return listing.weight_grams


@pytest.mark.parametrize(
    ("weight", "unit", "grams"),
    [
        ("1.5", "kg", 1500),
        ("1,5", "kg", 1500),
        ("250", "g", 250),
        ("0.5", "g", 1),
        ("2", "lbs", 907),
        ("16", "oz", 454),
        (" 3 ", "kg", 3000),
        ("", "kg", None),
        ("0", "kg", None),
        ("-1", "kg", None),
        ("about 2", "kg", None),
        ("1e9", "kg", None),
        ("999999999", "kg", 2**31 - 1),
        ("2", "stone", None),
        ("2", "", None),
    ],
)
def test_weighs_in_grams_whatever_the_shop_weighs_in(
    reader: WooCommerceConnector, weight: str, unit: str, grams: int | None
) -> None:
    assert weighed(reader, weight, unit) == grams


def test_a_variation_has_of_its_parent_what_it_has_not_of_its_own(reader: WooCommerceConnector) -> None:
    parent = {
        **recorded("product_variable_create"),
        "weight": "200",
        "images": [{"id": 5, "src": "https://woo.example/tee.jpg"}, {"id": 6, "src": "https://woo.example/back.jpg"}],
        "meta_data": [{"id": 1, "key": "hs_code", "value": "6109.10"}, {"id": 2, "key": "_hs_code", "value": "9999"}],
    }
    medium, small = recorded("variations_list")
    small |= {
        "weight": "180",
        "image": {"id": 9, "src": "https://woo.example/s.jpg"},
        "attributes": [
            {"name": "Size", "option": "S"},
            {"name": "Color", "option": "Red"},
            {"name": "X", "option": ""},
        ],
        "meta_data": [
            {"id": 3, "key": "_hs_code", "value": "610910"},
            {"id": 4, "key": "_origin_country", "value": "pt"},
        ],
    }
    body = {"product": parent, "variations": [medium, small], "currency": "USD", "weight_unit": "g"}
    first, second = reader.read_listing(RawRecord("listing", "11", json.dumps(body).encode()))
    assert (first.variant, first.weight_grams, first.image_url, first.hs_code, first.origin_country) == (
        "M",
        200,
        "https://woo.example/tee.jpg",
        "6109.10",
        "",
    )
    assert (second.variant, second.weight_grams, second.image_url, second.hs_code, second.origin_country) == (
        "S / Red",
        180,
        "https://woo.example/s.jpg",
        "610910",
        "PT",
    )


@pytest.mark.parametrize("written", ["none", "12", "", None, ["6109"], "61091000000000000"])
def test_what_is_no_code_of_customs_is_left_out(reader: WooCommerceConnector, written: Any) -> None:
    meta = [{"id": 1, "key": "_hs_code", "value": written}, {"id": 2, "key": "_country_of_origin", "value": "Portugal"}]
    (listing,) = fetched(reader, {**recorded("product_after_orders"), "meta_data": meta})
    assert (listing.hs_code, listing.origin_country) == ("", "")


def test_of_all_that_plugins_keep_on_a_product_only_what_customs_ask_for_is_stored() -> None:
    class Builder(WooCommerceSimulator):
        """A shop whose products are pages of a page builder."""

        def answer(self, request: SimRequest) -> SimResponse:
            response = super().answer(request)
            if "/products" not in request.path:
                return response
            said = response.json()
            for row in said if isinstance(said, list) else [said]:
                row["meta_data"] = [
                    {"id": 1, "key": "_elementor_data", "value": "x" * 500_000},
                    {"id": 2, "key": "_hs_code", "value": "6912.00"},
                ]
            return SimResponse.of_json(said, response.status, response.headers)

    with Builder() as shop:
        mug = shop.add_product("MUG", "Mug", 1, "1")
        shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20")])
        connector = connector_for(WooCommerceConnector, shop)
        records = [record for page in connector.fetch_listings(None) for record in page.records]
        assert connector.fetch_listing(mug).body == records[0].body
    assert [len(record.body) < 2000 for record in records] == [True, True]
    assert [listing.hs_code for record in records for listing in connector.read_listing(record)] == ["6912.00"] * 2


def test_a_stock_of_halves_is_told_in_whole_units(reader: WooCommerceConnector) -> None:
    (listing,) = fetched(reader, {**recorded("product_after_orders"), "stock_quantity": 4.5})
    assert listing.levels == (ListingLevel(location_external_id="", available=4),)


def test_the_shop_is_asked_what_it_weighs_in_unless_the_last_check_found_out() -> None:
    with WooCommerceSimulator(weight_unit="lbs") as shop:
        mug = shop.add_product("MUG", "Mug", 1, "1")
        shop.shop.products[int(mug)].weight = "2"
        connector = connector_for(WooCommerceConnector, shop)
        (listing,) = connector.read_listing(connector.fetch_listing(mug))
        assert listing.weight_grams == 907
        shop.requests.clear()
        known = WooCommerceConnector(replace(connector.context, features={"weight_unit": "lbs"}))
        assert known.fetch_listing(mug) == connector.fetch_listing(mug)
        asked = [request.path.rpartition("/")[2] for request in shop.requests]
    assert asked.count("woocommerce_weight_unit") == 1


# ---------------------------------------------------------------- webhooks


def test_a_product_webhook_knows_the_price_once_the_currency_of_the_shop_is_known(
    reader: WooCommerceConnector,
) -> None:
    features = {"currency": "USD", "weight_unit": "kg"}
    known = WooCommerceConnector(replace(reader.context, features=features))
    listing, _ = facts(known, 12, weight="0.3")
    assert isinstance(listing, Listing)
    assert (listing.price, listing.weight_grams) == (Money(Decimal("12.50"), "USD"), 300)


def test_a_product_taken_out_of_the_bin_is_a_listing_again() -> None:
    with WooCommerceSimulator() as shop:
        connector = connector_for(WooCommerceConnector, shop)
        mug = shop.add_product("MUG", "Mug", 3, "1")
        connector.subscribe_webhooks({"address": "http://127.0.0.1:9/hook"}, "key")
        shop.hold_webhooks()
        shop.trash_product(mug)
        shop.restore_product(mug)
        said = {each.headers["X-WC-Webhook-Topic"]: each.body for each in shop.take_webhooks()}
    assert list(connector.read_webhook(RawRecord("product.deleted", "", said["product.deleted"]))) == [
        ListingRemoved(mug)
    ]
    listing, seen = connector.read_webhook(RawRecord("product.restored", "", said["product.restored"]))
    assert isinstance(listing, Listing)
    assert (listing.external_id, listing.active, seen) == (mug, True, StockSeen(mug, "", 3))


def test_a_product_webhook_tells_the_listing_and_its_stock(reader: WooCommerceConnector) -> None:
    assert facts(reader, 12) == [
        Listing(
            external_id="10",
            sku="MUG-1",
            title="Mug — blå",
            levels=(ListingLevel(location_external_id="", available=7),),
        ),
        StockSeen("10", "", 7),
    ]


def test_a_variations_webhook_comes_as_a_product_with_a_parent(reader: WooCommerceConnector) -> None:
    assert facts(reader, 13) == [
        Listing(
            external_id="12",
            sku="TEE-S",
            title="Tee - S",
            handles={"parent": "11"},
            levels=(ListingLevel(location_external_id="", available=4),),
            variant="S",
        ),
        StockSeen("12", "", 4),
    ]


def test_the_webhook_of_a_variable_product_asks_for_its_variations(reader: WooCommerceConnector) -> None:
    assert facts(reader, 9) == [Refetch("listing", "11")]


def test_the_webhook_of_a_product_without_stock_management_tells_no_stock(reader: WooCommerceConnector) -> None:
    (listing,) = facts(reader, 12, manage_stock=False, stock_quantity=None)
    assert isinstance(listing, Listing)
    assert listing.tracked is False


def test_every_recorded_product_webhook_tells_the_stock_in_its_body(reader: WooCommerceConnector) -> None:
    seen = [
        (fact.external_id, fact.available)
        for number, row in enumerate(DELIVERIES)
        if row["headers"].get("X-WC-Webhook-Topic", "").startswith("product.")
        for fact in facts(reader, number)
        if isinstance(fact, StockSeen)
    ]
    assert seen == [
        ("10", 10), ("12", 5), ("13", 0), ("10", 7), ("12", 4), ("10", 8), ("10", 7), ("12", 3), ("10", 4),
        ("12", 2), ("10", 2), ("12", 1), ("10", 3), ("10", 6), ("12", 2), ("10", 4), ("10", -3),
    ]  # fmt: skip


def test_a_deletion_names_the_listing_that_is_gone(reader: WooCommerceConnector) -> None:
    assert list(reader.read_webhook(RawRecord("product.deleted", "", b'{"id":10}'))) == [ListingRemoved("10")]


def test_a_trashed_order_of_an_old_shop_removes_no_listing() -> None:
    """Shops that keep orders as posts tell of a trashed order as a deleted product; no product has that number."""
    with WooCommerceSimulator(hpos=False) as shop:
        mug = shop.add_product("MUG", "Mug", 10, "12.50")
        sale = shop.buy([("MUG", 1)])
        assert sale is not None
        connector = connector_for(WooCommerceConnector, shop)
        known = {each.external_id for page in connector.fetch_listings(None) for record in page.records
                 for each in connector.read_listing(record)}  # fmt: skip
        body = json.dumps({"id": int(sale.order_external_id)}).encode()
        (fact,) = connector.read_webhook(RawRecord("product.deleted", "", body))
    assert known == {mug}
    assert fact == ListingRemoved(sale.order_external_id)
    assert sale.order_external_id not in known


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":{}}', b"\x00", b'{"id":1,"stock_quantity":"many"}'])
@pytest.mark.parametrize("topic", ["product.created", "product.updated"])
def test_any_other_product_body_is_unreadable_and_nothing_worse(
    reader: WooCommerceConnector, topic: str, body: bytes
) -> None:
    with pytest.raises(Unreadable):
        list(reader.read_webhook(RawRecord(topic, "", body)))


# ---------------------------------------------------------------- fetching


@pytest.fixture
def shop() -> Any:
    with WooCommerceSimulator() as shop:
        yield shop


def listings_of(connector: WooCommerceConnector) -> list[Listing]:
    return [
        listing
        for page in connector.fetch_listings(None)
        for record in page.records
        for listing in connector.read_listing(record)
    ]


def test_fetches_every_listing_with_its_price_in_the_shops_currency(shop: WooCommerceSimulator) -> None:
    shop.add_product("MUG", "Mug", 10, "12.50")
    shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20"), ("M", "TEE-M", 0, "21")])
    assert [
        (each.external_id, each.sku, each.title, each.price, each.levels[0].available, dict(each.handles))
        for each in listings_of(connector_for(WooCommerceConnector, shop))
    ] == [
        ("10", "MUG", "Mug", Money(Decimal("12.50"), "EUR"), 10, {}),
        ("12", "TEE-S", "Tee - S", Money(Decimal("20"), "EUR"), 5, {"parent": "11"}),
        ("13", "TEE-M", "Tee - M", Money(Decimal("21"), "EUR"), 0, {"parent": "11"}),
    ]


def test_fetches_a_listing_by_its_own_id_or_its_parents(shop: WooCommerceSimulator) -> None:
    parent = shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20"), ("M", "TEE-M", 0, "21")])
    connector = connector_for(WooCommerceConnector, shop)
    both = list(connector.read_listing(connector.fetch_listing(parent)))
    assert [each.external_id for each in both] == ["11", "12"]
    assert list(connector.read_listing(connector.fetch_listing("12"))) == [both[1]]


def test_the_record_of_an_unchanged_product_never_changes(shop: WooCommerceSimulator) -> None:
    # WooCommerce draws the related products of a product anew for each answer.
    ids = [shop.add_product(f"SKU-{number}", "Mug", 1, "1") for number in range(12)]
    connector = connector_for(WooCommerceConnector, shop)
    assert len({connector.fetch_listing(ids[0]).body for _ in range(5)}) == 1


def test_a_listing_that_was_deleted_is_not_found(shop: WooCommerceSimulator) -> None:
    connector = connector_for(WooCommerceConnector, shop)
    for unknown in ("999999", "../orders", "12/variations", "", "１２"):
        with pytest.raises(NotFound):
            connector.fetch_listing(unknown)


def test_no_listing_is_missed_when_products_vanish_while_the_list_is_read(shop: WooCommerceSimulator) -> None:
    ids = [shop.add_product(f"SKU-{number}", "Mug", 1, "1") for number in range(250)]
    connector = connector_for(WooCommerceConnector, shop)
    pages = connector.fetch_listings(None)
    read = [record.external_id for record in next(pages).records]
    assert read == ids[:100]
    # Among them the very last that was read, and one more than a whole page.
    for gone in [*ids[:60], *ids[61:102]]:
        shop.trash_product(gone)
    read += [record.external_id for page in pages for record in page.records]
    assert read == [*ids[:100], *ids[102:]]
