"""Orders as Amazon tells them, read into the hub's: every sandbox answer, Amazon's own mapping, and the odd ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import hub
from hub_amazon.order_translation import FETCHED_ORDER, INCLUDED_DATA

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)
DE = "A1PA6795UKMFR9"


def money(amount: str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": amount, "currencyCode": currency}


def told(type: str, amount: str, **details: str) -> dict[str, Any]:
    """A breakdown of an item's proceeds, with its details by subtype."""
    found: dict[str, Any] = {"type": type, "subtotal": money(amount)}
    if details:
        found["detailedBreakdowns"] = [
            {"subtype": subtype, "value": money(value)} for subtype, value in details.items()
        ]
    return found


def an_item(**changed: Any) -> dict[str, Any]:
    return {
        "orderItemId": "11",
        "quantityOrdered": 2,
        "product": {"asin": "B01", "title": "Mug", "sellerSku": "MUG / BLUE", "price": {"unitPrice": money("10.00")}},
        "proceeds": {"proceedsTotal": money("20.00"), "breakdowns": [told("ITEM", "20.00")]},
        "fulfillment": {"quantityFulfilled": 0, "quantityUnfulfilled": 2},
        **changed,
    }


def an_order(*items: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "orderId": "302-1234567-7654321",
        "createdTime": "2026-11-20T09:30:00.123Z",
        "lastUpdatedTime": "2026-11-20T10:00:00.456Z",
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": DE, "marketplaceName": "Amazon.de"},
        "proceeds": {"grandTotal": money("20.00")},
        "fulfillment": {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT"},
        "orderItems": list(items) or [an_item()],
        **changed,
    }


def read(order: Mapping[str, Any]) -> hub.Order:
    return FETCHED_ORDER.read(json.dumps(order).encode())


def eur(amount: str) -> hub.Money:
    return hub.Money.of(amount, "EUR")


# ---------------------------------------------------------------- what Amazon's sandbox answers


@cache
def sandbox() -> Mapping[str, dict[str, Any]]:
    """Every order in the sandbox answers and the examples of the model, by its id."""
    model = json.loads((SPECS / "models/orders-api-model/orders_2026-01-01.json").read_text(encoding="utf-8"))
    answers = []
    for methods in model["paths"].values():
        answer = methods["get"]["responses"]["200"]
        answers += [pair["response"] for pair in answer["x-amzn-api-sandbox"]["static"]]
        answers.append(answer["examples"]["application/json"])
    return {order["orderId"]: order for answer in answers for order in answer.get("orders") or [answer["order"]]}


SANDBOX = sandbox() if SPECS.is_dir() else {}


@needs_specs
@pytest.mark.parametrize("order_id", SANDBOX)
def test_the_parts_of_every_order_of_the_sandbox_add_up_to_its_total(order_id: str) -> None:
    order = read(SANDBOX[order_id])
    assert order.total.amount == Decimal(SANDBOX[order_id]["proceeds"]["grandTotal"]["amount"])
    assert order.rounding == hub.Money.zero(order.currency)


@needs_specs
def test_reads_an_order_of_the_sandbox_with_everything_in_it() -> None:
    order = read(SANDBOX["123-4567890-1234567"])
    assert (order.number, order.status, order.channel_status) == (
        "123-4567890-1234567",
        hub.OrderStatus.FULFILLED,
        "SHIPPED",
    )
    assert order.placed_at == datetime(2024, 12, 25, 10, 30, tzinfo=UTC)
    assert order.version == datetime(2024, 12, 25, 14, 45, tzinfo=UTC)
    assert order.promised_at == datetime(2024, 12, 27, 23, 59, 59, tzinfo=UTC)
    assert (order.source, order.shipping_method, order.tags) == ("Amazon.com", "STANDARD", ("PRIME", "AMAZON_BUSINESS"))
    assert (order.customer_name, order.email) == ("John Smith", "buyer-email@marketplace.amazon.com")
    assert order.shipping_address == hub.Address(
        name="John Smith",
        company="Smith Industries LLC",
        line1="123 Main Street",
        line2="Suite 456",
        city="Seattle",
        region="WA",
        postcode="98101",
        country="US",
        phone="555-123-4567",
    )
    assert order.note == "Front desk reception\nEnter through main lobby, ask for John Smith at reception"
    assert order.charges == (
        hub.Charge(kind=hub.ChargeKind.TIP, title="Delivery tip", amount=hub.Money.of("5.00", "USD")),
    )
    first = order.lines[0]
    assert (first.sku, first.listing_external_id) == ("ECHO-DOT-4-CHARCOAL", "ATVPDKIKX0DER/ECHO-DOT-4-CHARCOAL")
    assert (first.quantity, first.fulfilled, first.removed, first.open_quantity) == (2, 2, 0, 0)
    assert (first.unit_price, first.total, first.tax) == tuple(
        hub.Money.of(amount, "USD") for amount in ("49.99", "99.98", "0.02")
    )
    assert first.attributes["Gift message"] == "Happy Holidays! Enjoy your new smart speakers."
    assert first.attributes["Gift wrap"] == "PREMIUM"
    assert "signatureConfirmation" in first.attributes["Shipping constraints"]
    [package] = order.shipments
    assert (package.external_id, package.carrier) == ("PKG-2024-001", "UPS")
    assert package.tracking_numbers == ("1Z999AA1234567890",)
    assert package.shipped_at == datetime(2024, 12, 25, 14, 0, tzinfo=UTC)
    assert [(line.line_external_id, line.quantity) for line in package.lines] == [
        ("12345678901234", 2),
        ("12345678901235", 1),
    ]
    assert order.attributes == {
        "Seller's order number": "SELLER-ORDER-2024-001",
        "Purchase order": "PO-2024-12345",
        "Company": "Smith Industries LLC",
        "Belongs to order": "123-4567890-1234566 (REPLACEMENT_ORIGINAL_ID)",
    }
    # The wish to cancel was followed: nothing is held any more.
    assert order.holds == ()


@needs_specs
def test_reads_tax_registrations_and_who_collects_the_tax() -> None:
    turkish, brazilian = read(SANDBOX["028-1234567-8901234"]), read(SANDBOX["171-2345678-9012345"])
    assert turkish.billing_address.company == "Test company name"
    assert turkish.attributes["Tax number BUSINESS"] == "TR1234567890"
    assert turkish.lines[0].attributes["Tax collection"] == (
        "MARKETPLACE_FACILITATOR by Amazon Services Europe S.a.r.L."
    )
    assert turkish.lines[0].attributes["Tax scheme"] == "IOSS"
    assert brazilian.payments == (hub.Payment(method="CreditCard", amount=hub.Money.of("1599.90", "BRL")),)
    # Of the three tax registrations only the buyer's is kept.
    assert brazilian.attributes["Tax number VAT"] == "1234567890"


# ---------------------------------------------------------------- Amazon's mapping from the version before


@cache
def mapping() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((SPECS / "orders-api-migration-data.json").read_text(encoding="utf-8"))
    return found


STATUSES = {
    "Pending": (hub.OrderStatus.PENDING, True, False),
    "PendingAvailability": (hub.OrderStatus.PENDING, True, False),
    "Unshipped": (hub.OrderStatus.OPEN, True, True),
    "PartiallyShipped": (hub.OrderStatus.OPEN, True, True),
    "Shipped": (hub.OrderStatus.FULFILLED, False, True),
    "InvoiceUnconfirmed": (hub.OrderStatus.FULFILLED, False, True),
    "Canceled": (hub.OrderStatus.CANCELLED, False, True),
    "Unfulfillable": (hub.OrderStatus.CANCELLED, False, True),
}


@needs_specs
def test_every_status_of_amazons_mapping_has_its_meaning() -> None:
    assert mapping()["statusMappings"]["fulfillmentStatus"].keys() == STATUSES.keys()
    for before, now in mapping()["statusMappings"]["fulfillmentStatus"].items():
        order = read(an_order(fulfillment={"fulfillmentStatus": now, "fulfilledBy": "MERCHANT"}))
        assert (order.status, order.holds_stock, order.paid) == STATUSES[before], before
        assert order.channel_status == now


@needs_specs
@pytest.mark.parametrize(("before", "by_amazon"), [("MFN", False), ("AFN", True)])
def test_who_ships_is_told_apart_as_amazon_maps_it(before: str, by_amazon: bool) -> None:
    now = mapping()["statusMappings"]["fulfillmentChannel"][before]
    order = read(an_order(fulfillment={"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": now}))
    assert (order.shipped_by_channel, order.holds_stock) == (by_amazon, not by_amazon)


# Each amount by its old name, with what is read from it in an order that has all of them.
AMOUNTS = {
    "OrderTotal": ("total", "37.45"),
    "ItemPrice": ("line.unit_price", "10.00"),
    "ShippingPrice": ("shipping", "4.00"),
    "ItemTax": ("line.tax", "3.42"),
    "ShippingTax": ("tax beside the line's", "0.67"),
    "ShippingDiscount": ("discount", "0.50"),
    "PromotionDiscount": ("line discount and discount", "2.50"),
    "CODFee": ("fee Cash on delivery", "9.00"),
    "ItemBuyerInfo.GiftWrapPrice": ("fee Gift wrap", "2.86"),
}


@needs_specs
def test_every_amount_of_amazons_mapping_is_read_from_where_it_has_moved() -> None:
    assert AMOUNTS.keys() <= mapping()["attributeMappings"].keys()
    item = an_item(
        proceeds={
            "proceedsTotal": money("37.45"),
            "breakdowns": [
                told("ITEM", "20.00"),
                told("SHIPPING", "4.00"),
                told("GIFT_WRAP", "2.86"),
                told("COD_FEE", "9.00"),
                told("TAX", "4.09", ITEM="3.42", SHIPPING="0.67"),
                told("DISCOUNT", "-2.50", ITEM="-2.00", SHIPPING="-0.50"),
            ],
        }
    )
    order = read(an_order(item, proceeds={"grandTotal": money("37.45")}))
    [line] = order.lines
    fees = {charge.title: charge.amount for charge in order.charges}
    found = {
        "total": order.total,
        "line.unit_price": line.unit_price,
        "shipping": order.shipping,
        "line.tax": line.tax,
        "tax beside the line's": order.tax - line.tax,
        "discount": order.discount,
        "line discount and discount": line.unit_price * 2 - line.total + order.discount,
        "fee Cash on delivery": fees["Cash on delivery"],
        "fee Gift wrap": fees["Gift wrap"],
    }
    assert found == {name: eur(amount) for name, amount in AMOUNTS.values()}
    assert (line.total, order.fees, order.rounding) == (eur("18.00"), eur("11.86"), eur("0.00"))


@needs_specs
def test_what_is_asked_for_beside_the_order_are_names_of_the_model_and_of_the_mapping() -> None:
    model = json.loads((SPECS / "models/orders-api-model/orders_2026-01-01.json").read_text(encoding="utf-8"))
    [choices] = {
        tuple(each["items"]["enum"])
        for methods in model["paths"].values()
        for each in methods["get"]["parameters"]
        if each["name"] == "includedData"
    }
    assert set(choices) - set(INCLUDED_DATA) == {"EXPENSE", "FULFILLMENT_ORDERS"}
    assert set(INCLUDED_DATA) < mapping()["includedDataParameters"].keys()


# ---------------------------------------------------------------- amounts


@pytest.mark.parametrize("discount", ["3.00", "-3.00"])
def test_a_discount_is_taken_off_whichever_sign_it_has(discount: str) -> None:
    item = an_item(proceeds={"breakdowns": [told("ITEM", "20.00"), told("DISCOUNT", discount)]})
    order = read(an_order(item, proceeds={"grandTotal": money("17.00")}))
    assert (order.lines[0].total, order.discount, order.rounding) == (eur("17.00"), eur("0.00"), eur("0.00"))


def test_prices_with_the_tax_in_them_are_known_by_the_total() -> None:
    item = an_item(proceeds={"breakdowns": [told("ITEM", "23.80"), told("TAX", "3.80")]})
    within = read(an_order(item, proceeds={"grandTotal": money("23.80")}))
    beside = read(an_order(item, proceeds={"grandTotal": money("27.60")}))
    assert (within.taxes_included, within.tax, within.rounding) == (True, eur("3.80"), eur("0.00"))
    assert (beside.taxes_included, beside.tax, beside.rounding) == (False, eur("3.80"), eur("0.00"))


def test_what_does_not_add_up_is_kept_as_rounding() -> None:
    assert read(an_order(proceeds={"grandTotal": money("20.01")})).rounding == eur("0.01")


def test_items_that_tell_no_proceeds_leave_the_parts_of_the_whole_order() -> None:
    item = {name: value for name, value in an_item().items() if name != "proceeds"}
    breakdowns = [told("ITEM", "20.00"), told("SHIPPING", "5.00"), told("TAX", "1.00")]
    order = read(an_order(item, proceeds={"grandTotal": money("26.00"), "breakdowns": breakdowns}))
    assert (order.shipping, order.tax, order.total) == (eur("5.00"), eur("1.00"), eur("26.00"))


def test_a_unit_price_that_is_not_told_is_the_part_of_one() -> None:
    item = an_item(product={"sellerSku": "MUG-1"})
    assert read(an_order(item)).lines[0].unit_price == eur("10")


# ---------------------------------------------------------------- an order that is not paid yet


def test_an_order_that_is_not_paid_has_no_money_and_no_customer_and_holds_stock() -> None:
    pending = {
        name: value
        for name, value in an_order(
            an_item(proceeds=None, fulfillment={"quantityFulfilled": 0, "quantityUnfulfilled": 0}),
            fulfillment={"fulfillmentStatus": "PENDING", "fulfilledBy": "MERCHANT"},
        ).items()
        if name != "proceeds"
    }
    pending["orderItems"][0]["product"] = {"sellerSku": "MUG / BLUE"}
    order = read(pending)
    assert (order.status, order.paid, order.holds_stock) == (hub.OrderStatus.PENDING, False, True)
    assert (order.priced, order.total, order.lines[0].unit_price) == (False, eur("0"), eur("0"))
    assert (order.customer_name, order.shipping_address) == ("", hub.Address())
    # That it names no units to be shipped does not mean that they were cancelled.
    assert order.lines[0].open_quantity == 2


def test_an_order_that_costs_nothing_says_so_and_has_a_price() -> None:
    free = an_order(proceeds={"grandTotal": {"amount": "0.00", "currencyCode": "EUR"}})
    assert (read(free).priced, read(free).total) == (True, eur("0"))
    assert read(an_order(proceeds=None)).priced is True, "its items have amounts"


def test_without_money_the_currency_is_that_of_the_marketplace() -> None:
    item = an_item(product={"sellerSku": "MUG-1"}, proceeds=None)
    elsewhere = {"channelName": "AMAZON", "marketplaceId": "A1VC38T7YXB528", "marketplaceName": "Amazon.co.jp"}
    assert read(an_order(item, salesChannel=elsewhere, proceeds=None)).currency == "JPY"
    with pytest.raises(hub.Unreadable, match="its marketplace is not known"):
        read(an_order(item, salesChannel={**elsewhere, "marketplaceId": "A0UNKNOWN"}, proceeds=None))


def test_a_status_that_amazon_has_made_up_since_holds_stock_and_is_not_shipped() -> None:
    order = read(an_order(fulfillment={"fulfillmentStatus": "BEING_CHECKED", "fulfilledBy": "MERCHANT"}))
    assert (order.status, order.channel_status, order.holds_stock) == (hub.OrderStatus.PENDING, "BEING_CHECKED", True)


# ---------------------------------------------------------------- cancelled, asked to be cancelled


def wish(**execution: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"cancellationRequest": {"requester": "BUYER", "cancelReason": "Ordered by mistake"}}
    return {**asked, "cancellationExecution": execution} if execution else asked


def test_a_buyers_wish_to_cancel_holds_the_order_until_it_is_gone() -> None:
    asked = read(an_order(an_item(cancellation=wish())))
    assert asked.holds == (
        hub.Hold(
            external_id="cancellation/11",
            reason=hub.HoldReason.CANCELLATION,
            note="Mug: Ordered by mistake",
            held_by="BUYER",
        ),
    )
    assert read(an_order(an_item(cancellation={}))).holds == ()


def test_a_wish_that_came_too_late_or_was_followed_holds_nothing() -> None:
    shipped = an_item(cancellation=wish(), fulfillment={"quantityFulfilled": 2, "quantityUnfulfilled": 0})
    followed = an_item(cancellation=wish(cancelledBy="MERCHANT"), fulfillment={"quantityFulfilled": 0})
    assert read(an_order(shipped)).holds == ()
    assert read(an_order(followed)).holds == ()
    assert read(an_order(followed)).lines[0].removed == 2


def test_of_an_item_that_was_cancelled_in_part_the_rest_is_still_to_be_shipped() -> None:
    item = an_item(
        quantityOrdered=3,
        cancellation=wish(cancelledBy="MERCHANT"),
        fulfillment={"quantityFulfilled": 0, "quantityUnfulfilled": 2},
    )
    [line] = read(an_order(item)).lines
    assert (line.removed, line.open_quantity) == (1, 2)


@pytest.mark.parametrize(
    ("status", "fulfilled", "unfulfilled", "removed"),
    [
        ("UNSHIPPED", 0, 2, 0),
        ("PARTIALLY_SHIPPED", 1, 1, 0),
        ("PARTIALLY_SHIPPED", 1, 0, 1),
        ("SHIPPED", 2, 0, 0),
        ("SHIPPED", 1, 0, 1),
        ("CANCELLED", 0, 0, 2),
        ("CANCELLED", 0, None, 2),
        ("UNSHIPPED", 0, None, 0),
    ],
)
def test_units_that_are_neither_shipped_nor_to_be_shipped_were_cancelled(
    status: str, fulfilled: int, unfulfilled: int | None, removed: int
) -> None:
    item = an_item(fulfillment={"quantityFulfilled": fulfilled, "quantityUnfulfilled": unfulfilled})
    order = read(an_order(item, fulfillment={"fulfillmentStatus": status, "fulfilledBy": "MERCHANT"}))
    assert (order.lines[0].fulfilled, order.lines[0].removed) == (fulfilled, removed)


# ---------------------------------------------------------------- packages, promises, odd ones


def test_a_package_that_waits_to_be_picked_up_has_not_left_and_a_cancelled_one_came_back() -> None:
    def package(number: str, status: str) -> dict[str, Any]:
        items = [{"orderItemId": "11", "quantity": 1}]
        return {"packageReferenceId": number, "packageStatus": {"status": status}, "packageItems": items}

    statuses = ("PENDING", "IN_TRANSIT", "CANCELLED", "DELIVERED")
    order = read(an_order(packages=[package(str(number), status) for number, status in enumerate(statuses, 1)]))
    assert [(each.external_id, each.cancelled) for each in order.shipments] == [("2", False), ("3", True), ("4", False)]


def test_what_was_promised_is_when_it_ships_or_else_when_it_arrives() -> None:
    ships, arrives = {"latestDateTime": "2026-11-22T22:59:59Z"}, {"latestDateTime": "2026-11-25T22:59:59Z"}
    told = {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT", "deliverByWindow": arrives}
    assert read(an_order(fulfillment={**told, "shipByWindow": ships})).promised_at == datetime(
        2026, 11, 22, 22, 59, 59, tzinfo=UTC
    )
    assert read(an_order(fulfillment=told)).promised_at == datetime(2026, 11, 25, 22, 59, 59, tzinfo=UTC)
    assert read(an_order()).promised_at is None


def test_an_item_without_a_sku_names_no_listing() -> None:
    line = read(an_order(an_item(product={"asin": "B01"}))).lines[0]
    assert (line.listing_external_id, line.sku, line.title) == (None, "", "B01")


def test_what_amazon_says_null_for_reads_as_what_it_leaves_out() -> None:
    full = an_order()
    empty = dict.fromkeys(("buyer", "recipient", "payment", "tax", "programs"))
    item = an_item(promotion=None, cancellation=None, tax=None, programs=None)
    assert read({**full, **empty, "orderItems": [item]}) == replace(read(full))


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ({"lastUpdatedTime": "2026-11-20T10:00:00"}, "lastUpdatedTime: A time without a time zone."),
        ({"createdTime": None}, "createdTime: Empty."),
        ({"fulfillment": None}, "fulfillment"),
        ({"orderItems": None}, "orderItems"),
        ({"orderItems": [an_item(), an_item()]}, "two lines have the same id"),
        ({"proceeds": {"grandTotal": money("1.00", "USD")}}, "USD and EUR cannot be added"),
    ],
)
def test_what_makes_no_sense_is_set_aside_with_the_place_named(spoilt: dict[str, Any], words: str) -> None:
    with pytest.raises(hub.Unreadable, match=words):
        read(an_order(**spoilt))
