"""What an order says besides its lines: what plugins call it, what customers wrote, how it was paid and reduced."""

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.connector import Context, RawRecord
from hub.core.model import (
    Charge,
    ChargeKind,
    Discount,
    Hold,
    HoldReason,
    LineKind,
    LineQuantity,
    Money,
    Order,
    OrderStatus,
    Payment,
)
from hub.http import RefusingClient
from hub.testing.context import MemoryTokenVault, context_for
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

SETTINGS = {"site": "https://127.0.0.1:8099", "consumer_key": "ck_1", "consumer_secret": "cs_2"}


def recorded(name: str) -> Any:
    path = Path(__file__).parent / "payloads" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["response"]["json"]


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def read(order: Any, refunds: Any = (), **meanings: str) -> Order:
    """An order as it is read by a merchant who said what ``meanings`` stand for; with no network at all."""
    known = context_for(SETTINGS)
    context = Context(known.settings, "", RefusingClient(), known.now, MemoryTokenVault(), {"order_status": meanings})
    body = json.dumps({"order": order, "refunds": list(refunds)}).encode()
    fetched = WooCommerceConnector(context).read_order(RawRecord("order", str(order["id"]), body))
    if not refunds:
        webhook = RawRecord("order.updated", "", json.dumps(order).encode())
        # Whichever way it comes, it says the same.
        assert list(WooCommerceConnector(context).read_webhook(webhook)) == [fetched]
    return fetched


def order(**changed: Any) -> Any:
    return {**recorded("order_get"), **changed}


def with_line_meta(*entries: Mapping[str, Any]) -> Any:
    changed = recorded("order_get")
    changed["line_items"][0]["meta_data"] = [{"id": number, **entry} for number, entry in enumerate(entries)]
    return changed


# ---------------------------------------------------------------- statuses that plugins add


@pytest.mark.parametrize(
    ("meaning", "status", "holds_stock"),
    [
        ("open", OrderStatus.OPEN, True),
        ("held", OrderStatus.OPEN, True),
        ("waiting", OrderStatus.PENDING, False),
        ("shipped", OrderStatus.FULFILLED, False),
        ("cancelled", OrderStatus.CANCELLED, False),
    ],
)
def test_a_status_stands_for_what_the_merchant_said(meaning: str, status: OrderStatus, holds_stock: bool) -> None:
    found = read(order(status="packing"), packing=meaning)
    assert (found.status, found.holds_stock, found.channel_status) == (status, holds_stock, "packing")
    over = meaning in ("shipped", "cancelled")
    assert [line.open_quantity for line in found.lines] == ([0, 0] if over else [1, 1])
    assert [line.fulfilled for line in found.lines] == ([1, 1] if meaning == "shipped" else [0, 0])


def test_a_status_that_nobody_explained_goes_by_the_stock_that_the_shop_took() -> None:
    assert read(order(status="packing"), elsewhere="cancelled").status is OrderStatus.OPEN
    untouched = with_line_meta()
    untouched["line_items"][1]["meta_data"] = []
    assert read({**untouched, "status": "packing"}).status is OrderStatus.PENDING


@pytest.mark.parametrize(
    ("status", "usual"),
    [
        ("shipped", OrderStatus.FULFILLED),
        ("delivered", OrderStatus.FULFILLED),
        ("partial-shipped", OrderStatus.OPEN),
    ],
)
def test_statuses_of_common_plugins_are_known_unless_the_merchant_means_something_else(
    status: str, usual: OrderStatus
) -> None:
    assert read(order(status=status)).status is usual
    assert read(order(status=status), **{status: "waiting"}).status is OrderStatus.PENDING


@pytest.mark.parametrize("status", ["processing", "completed", "cancelled", "on-hold", "trash"])
def test_statuses_of_woocommerce_itself_mean_the_same_everywhere(status: str) -> None:
    assert read(order(status=status), **{status: "waiting"}) == read(order(status=status))


def test_every_choice_of_the_page_is_understood_and_every_usual_one_is_a_choice() -> None:
    vocabulary = WooCommerceConnector.mappings["order_status"]
    read_as = {choice: read(order(status="x"), x=choice).status for choice in vocabulary.choices}
    assert len(read_as) == 5
    assert set(vocabulary.usual.values()) <= vocabulary.choices.keys()


@pytest.mark.parametrize(
    ("changed", "meanings", "holds"),
    [
        ({"status": "processing"}, {}, ()),
        (
            {"status": "on-hold", "date_paid_gmt": None},
            {},
            (Hold(external_id="on-hold", reason=HoldReason.PAYMENT, held_by="WooCommerce"),),
        ),
        (
            {"status": "on-hold"},
            {},
            (Hold(external_id="on-hold", reason=HoldReason.MANUAL, held_by="WooCommerce"),),
        ),
        (
            {"status": "fraud-check"},
            {"fraud-check": "held"},
            (Hold(external_id="fraud-check", reason=HoldReason.MANUAL, held_by="WooCommerce"),),
        ),
        ({"status": "fraud-check"}, {"fraud-check": "open"}, ()),
    ],
)
def test_knows_what_must_not_be_shipped_now(changed: Any, meanings: dict[str, str], holds: tuple[Hold, ...]) -> None:
    assert read(order(**changed), **meanings).holds == holds


# ---------------------------------------------------------------- what customers and add-ons wrote


@pytest.mark.parametrize(
    ("entries", "attributes"),
    [
        # Product Add-Ons: shown with its price, its own bookkeeping hidden.
        (
            [
                {"key": "Engraving ($5.00)", "value": "For Ann &amp; Bob", "display_key": "Engraving ($5.00)"},
                {"key": "_pao_ids", "value": [{"key": "Engraving", "value": "For Ann", "id": 7}]},
                {"key": "_reduced_stock", "value": "1"},
            ],
            {"Engraving ($5.00)": "For Ann & Bob"},
        ),
        # An attribute of a variation, as people there call it and its value.
        (
            [{"key": "pa_color", "value": "dark-blue", "display_key": "Color", "display_value": "<p>Dark blue</p>\n"}],
            {"Color": "Dark blue"},
        ),
        # Boxes that were ticked come one by one under one name.
        (
            [{"key": "Extras", "value": "Ribbon"}, {"key": "Extras", "value": "Card"}],
            {"Extras": "Ribbon, Card"},
        ),
        # Whatever shape a plugin chose.
        (
            [
                {"key": "Box", "value": {"size": "L", "of": [1, 2]}},
                {"key": "Count", "value": 3},
                {"key": "Gift", "value": True},
                {"key": "Weight", "value": 1.5},
                {"key": "Nothing", "value": None},
                {"key": "Empty", "value": ""},
                {"key": "None", "value": []},
            ],
            {"Box": '{"size": "L", "of": [1, 2]}', "Count": "3", "Gift": "yes", "Weight": "1.5"},
        ),
        ([{"key": "Odd", "value": "x", "display_key": 7, "display_value": ["y"]}], {"Odd": "x"}),
        ([{"key": "Note", "value": "a < b \x00 and \ud800"}], {"Note": "a < b \ufffd and \ufffd"}),
    ],
)
def test_keeps_what_add_ons_wrote_on_a_line(entries: list[dict[str, Any]], attributes: dict[str, str]) -> None:
    assert read(with_line_meta(*entries)).lines[0].attributes == attributes


def test_keeps_what_add_ons_wrote_on_the_order() -> None:
    written = [
        {"id": 1, "key": "Delivery Date", "value": "24 December, 2026"},
        {"id": 2, "key": "_delivery_date", "value": "2026-12-24"},
        {"id": 3, "key": "_delivery_time_frame", "value": {"time_from": "10:00", "time_to": "12:00"}},
        {"id": 4, "key": "_gift_message", "value": "Happy birthday!"},
        {"id": 5, "key": "_wc_other/acme/doorbell", "value": "Ring twice"},
        {"id": 6, "key": "_wc_shipping/acme/floor", "value": "3"},
        {"id": 7, "key": "_billing_vat_number", "value": "DE123456789"},
        {"id": 8, "key": "is_vat_exempt", "value": "no"},
        {"id": 9, "key": "_wc_order_attribution_utm_source", "value": "(direct)"},
        {"id": 10, "key": "_payment_token", "value": "tok_123"},
    ]
    assert read(order(meta_data=written)).attributes == {
        "Delivery Date": "24 December, 2026",
        "Delivery date": "2026-12-24",
        "Delivery time": '{"time_from": "10:00", "time_to": "12:00"}',
        "Gift message": "Happy birthday!",
        "acme/doorbell": "Ring twice",
        "acme/floor": "3",
        "VAT number": "DE123456789",
    }


# ---------------------------------------------------------------- money


def test_coupons_and_fees_are_told_apart_from_what_they_add_up_to() -> None:
    found = read(
        order(
            total="41.49",
            coupon_lines=[
                {"id": 9, "code": "spring", "discount": "3.00", "discount_tax": "0.60"},
                {"id": 10, "code": "free-shipping", "discount": "0.00"},
            ],
            fee_lines=[
                {"id": 7, "name": "Gift wrap", "total": "5.00", "total_tax": "1.00"},
                {"id": 8, "name": "Loyalty", "total": "-1.00"},
            ],
        )
    )
    assert found.discounts == (Discount(code="spring", amount=usd("3.00")),)
    assert found.charges == (
        Charge(kind=ChargeKind.FEE, title="Gift wrap", amount=usd("5.00")),
        Charge(kind=ChargeKind.FEE, title="Loyalty", amount=usd("-1.00")),
    )
    # What coupons took off is off the lines already.
    assert (found.fees, found.discount, found.rounding) == (usd("4.00"), usd("0"), usd("0"))


@pytest.mark.parametrize(
    ("changed", "payments"),
    [
        ({}, (Payment(method="Bank", amount=usd("37.49")),)),
        ({"payment_method_title": ""}, (Payment(method="bacs", amount=usd("37.49")),)),
        ({"date_paid_gmt": None}, ()),
        ({"total": "0.00"}, ()),
    ],
)
def test_says_what_was_paid_and_how(changed: Any, payments: tuple[Payment, ...]) -> None:
    assert read(order(**changed)).payments == payments


def test_says_how_it_is_to_be_sent_and_where_it_was_sold() -> None:
    lines = [{"method_title": "Express"}, {"method_title": ""}, {"method_title": "Cold box"}]
    found = read(order(shipping_lines=lines, created_via="pos-rest-api", customer_note="Leave it at the door"))
    assert (found.shipping_method, found.source, found.note) == (
        "Express, Cold box",
        "pos-rest-api",
        "Leave it at the door",
    )


def test_a_line_that_no_product_stands_behind_is_one_of_its_own_kind() -> None:
    custom = order()
    custom["line_items"][0] |= {"product_id": 0}
    found = read(custom)
    assert [line.kind for line in found.lines] == [LineKind.CUSTOM, LineKind.PRODUCT]


def test_a_refund_names_the_units_it_was_for_and_none_where_it_was_of_money_alone() -> None:
    (units,) = recorded("refunds_list")
    money = recorded("refund_create_amount")
    found = read(order(refunds=[{"id": 18, "reason": "", "total": "-12.50"}]), [units, money])
    assert [each.lines for each in found.refunds] == [(LineQuantity(line_external_id="1", quantity=1),), ()]


def test_units_refunded_after_they_were_shipped_are_not_taken_off_the_order() -> None:
    with WooCommerceSimulator() as shop:
        shop.add_product("MUG", "Mug", 10, "12.50")
        sale = shop.buy([("MUG", 3)])
        assert sale is not None
        context = context_for(shop.settings(), shop)
        connector = WooCommerceConnector(replace(context, features={"shipments": "fulfillments"}))
        fulfillment = {
            "is_fulfilled": True,
            "meta_data": [{"key": "_items", "value": [{"item_id": 1, "qty": 2}]}],
        }
        connector._call("POST", f"orders/{sale.order_external_id}/fulfillments", body=fulfillment)
        shop.refund(sale.order_external_id, [("MUG", 2)])
        found = connector.read_order(connector.fetch_order(sale.order_external_id))
    # One unit was never shipped; the other one refunded came back.
    assert [(line.quantity, line.fulfilled, line.removed, line.open_quantity) for line in found.lines] == [(3, 2, 1, 0)]
