"""Cancelling orders and giving money back at Shopify: exactly so much, never twice, and refusals in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from hub.core.model import Money
from hub.core.shipping import CancelReason, OrderCancellation, RefundedLine, RefundRequest
from hub.errors import NotFound, Rejected, Unavailable
from hub.testing import Clock
from hub.testing.context import connector_for
from hub.testing.simulator import Fault
from hub_shopify import documents
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock) as shop:
        shop.add_product("MUG", "Mug", 10, "10.00")
        shop.add_product("TEE", "Tee", 10, "20.00")
        yield shop


def connect(shop: ShopifySimulator) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop, now=shop.now)


def order(shop: ShopifySimulator, **about: Any) -> str:
    """Two mugs and a tee: 44.00 with tax, and 4.90 to ship it."""
    sale = shop.checkout([("MUG", 2), ("TEE", 1)], **about)
    assert sale is not None
    return sale.order_external_id


def lines(shop: ShopifySimulator, order: str) -> list[str]:
    return [str(line.id) for line in shop.sold[int(order)].lines]


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")


def refund(order: str, *wanted: tuple[str, int, str], **more: Any) -> RefundRequest:
    return RefundRequest(
        reference=more.pop("reference", "R-1"),
        order_external_id=order,
        lines=tuple(
            RefundedLine(line_external_id=line, quantity=quantity, amount=eur(amount))
            for line, quantity, amount in wanted
        ),
        **more,
    )


# ---------------------------------------------------------------- giving money back


def test_gives_back_exactly_so_much_for_units_and_shipping(shop: ShopifySimulator) -> None:
    bought = order(shop)
    mug, _ = lines(shop, bought)
    wanted = refund(bought, (mug, 1, "11.00"), shipping=eur("4.90"), restock=True, notify=True, note="Chipped")
    result = connect(shop).refund(wanted, "key-1")
    (made,) = shop.sold[int(bought)].refunds
    assert (result.reference, result.details) == (
        str(made.id),
        {"amount": "15.90", "currency": "EUR", "by_hand": False},
    )
    assert (f"{made.amount}", f"{made.shipping}", made.note, made.notified) == ("15.90", "4.90", "Chipped [R-1]", 1)
    assert shop.stock()["MUG"] == 9
    read = connect(shop).read_order(connect(shop).fetch_order(bought))
    assert [(each.amount, each.lines[0].quantity) for each in read.refunds] == [(eur("15.90"), 1)]
    assert [line.open_quantity for line in read.lines] == [1, 1]


def test_units_that_were_not_shipped_leave_the_order_first(shop: ShopifySimulator) -> None:
    bought = order(shop)
    mug, _ = lines(shop, bought)
    shop.fulfill(bought, units=1)
    connect(shop).refund(refund(bought, (mug, 2, "22.00"), restock=True), "key-1")
    (made,) = shop.sold[int(bought)].refunds
    assert [(quantity, how) for _, quantity, how in made.items] == [(1, "cancel"), (1, "return")]
    assert shop.stock()["MUG"] == 10


def test_what_is_not_restocked_is_named_once(shop: ShopifySimulator) -> None:
    bought = order(shop)
    mug, _ = lines(shop, bought)
    shop.fulfill(bought, units=1)
    connect(shop).refund(refund(bought, (mug, 2, "22.00")), "key-1")
    (made,) = shop.sold[int(bought)].refunds
    assert [(quantity, how) for _, quantity, how in made.items] == [(2, "no_restock")]
    assert shop.stock()["MUG"] == 8


def test_a_gesture_needs_no_line(shop: ShopifySimulator) -> None:
    bought = order(shop)
    result = connect(shop).refund(refund(bought, goodwill=eur("5")), "key-1")
    assert result.details["amount"] == "5.00"
    assert shop.sold[int(bought)].financial == "PARTIALLY_REFUNDED"


def test_several_payments_are_given_back_in_their_order(shop: ShopifySimulator) -> None:
    bought = order(shop, payments=[("gift_card", Decimal(30)), ("shopify_payments", Decimal(18))])
    connect(shop).refund(refund(bought, goodwill=eur("40")), "key-1")
    sent = next(each.json() for each in shop.requests if b"mutation Refund" in each.body)
    paid = sent["variables"]["input"]["transactions"]
    assert [(each["gateway"], each["amount"]) for each in paid] == [
        ("gift_card", "30.00"),
        ("shopify_payments", "10.00"),
    ]


def test_says_where_the_merchant_has_to_hand_the_money_out(shop: ShopifySimulator) -> None:
    bought = order(shop, payments=[("bank_deposit", Decimal(49))])
    assert connect(shop).refund(refund(bought, goodwill=eur("5")), "key-1").details["by_hand"] is True


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.truncated(), Fault.status(500, after_effect=True)])
def test_money_goes_back_once_though_the_answer_is_lost(shop: ShopifySimulator, fault: Fault) -> None:
    bought = order(shop)
    wanted = refund(bought, goodwill=eur("5"))
    shop.fail_next("/admin/api/", fault, after=2)
    with pytest.raises(Unavailable):
        connect(shop).refund(wanted, "key-1")
    found = connect(shop).find_refund(wanted, "key-1")
    assert found is not None
    assert connect(shop).refund(wanted, "another-key") == found
    assert [f"{each.amount}" for each in shop.sold[int(bought)].refunds] == ["5.00"]


def test_another_refund_is_not_taken_for_ours(shop: ShopifySimulator) -> None:
    bought = order(shop)
    connect(shop).refund(refund(bought, goodwill=eur("5"), reference="R-10"), "key-1")
    assert connect(shop).find_refund(refund(bought, goodwill=eur("5"), reference="R-1"), "key-2") is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"goodwill": "48.91"}, r"Shopify can give back 48\.90 EUR of this order, not 48\.91 EUR"),
        ({"shipping": "4.91"}, r"Shopify can give back 4\.90 EUR of the shipping, not 4\.91 EUR"),
        ({"units": 3}, "Of “Mug” Shopify can refund 2, not 3"),
    ],
)
def test_refuses_more_than_is_left(shop: ShopifySimulator, wanted: dict[str, Any], words: str) -> None:
    bought = order(shop)
    mug, _ = lines(shop, bought)
    units = wanted.pop("units", 0)
    asked = refund(
        bought, *([(mug, units, "1.00")] if units else []), **{name: eur(each) for name, each in wanted.items()}
    )
    with pytest.raises(Rejected, match=words):
        connect(shop).refund(asked, "key-1")
    assert shop.sold[int(bought)].refunds == []


def test_shopify_itself_refuses_more_than_was_paid(shop: ShopifySimulator) -> None:
    """What changes between the look and the refund is refused by the shop, and told in its words."""
    bought = order(shop)
    connector = connect(shop)
    connector.refund(refund(bought, goodwill=eur("40")), "key-1")
    payment = f"gid://shopify/OrderTransaction/{bought}"
    call = {
        "orderId": f"gid://shopify/Order/{bought}",
        "transactions": [
            {
                "orderId": f"gid://shopify/Order/{bought}",
                "kind": "REFUND",
                "gateway": "shopify_payments",
                "amount": "9.00",
                "parentId": payment,
            }
        ],
    }
    answer = connector._api.ask(documents.REFUND, input=call, key="key-2")["refundCreate"]
    assert answer["userErrors"][0]["message"] == "Refund amount is greater than net payment received"
    assert len(shop.sold[int(bought)].refunds) == 1


def test_an_order_paid_in_another_currency_is_left_to_shopify(shop: ShopifySimulator) -> None:
    bought = order(shop, presentment=("CHF", Decimal("0.95")))
    with pytest.raises(Rejected, match="The customer paid in CHF"):
        connect(shop).refund(refund(bought, goodwill=eur("5")), "key-1")


def test_a_deleted_order_gets_nothing(shop: ShopifySimulator) -> None:
    with pytest.raises(NotFound):
        connect(shop).refund(refund("999", goodwill=eur("5")), "key-1")


# ---------------------------------------------------------------- cancelling


def cancellation(order: str, **more: Any) -> OrderCancellation:
    return OrderCancellation(reference="C-1", order_external_id=order, reason=CancelReason.STOCK, **more)


def test_cancels_gives_back_and_restocks(shop: ShopifySimulator) -> None:
    bought = order(shop)
    result = connect(shop).cancel_order(cancellation(bought, refund=True, restock=True, note="Sold out"), "key-1")
    assert result.reference == bought
    kept = shop.sold[int(bought)]
    assert (kept.financial, f"{kept.refunded}", kept.staff_note) == ("REFUNDED", "48.90", "Sold out")
    assert shop.stock() == {"MUG": 10, "TEE": 10}


def test_cancels_without_giving_back_or_restocking(shop: ShopifySimulator) -> None:
    bought = order(shop)
    connect(shop).cancel_order(cancellation(bought), "key-1")
    kept = shop.sold[int(bought)]
    assert (kept.cancelled_at is not None, f"{kept.refunded}", shop.stock()["MUG"]) == (True, "0", 8)


def test_is_done_only_when_shopify_shows_it(shop: ShopifySimulator, clock: Clock) -> None:
    shop.cancel_lag = timedelta(seconds=30)
    bought = order(shop)
    with pytest.raises(Unavailable, match="still cancelling"):
        connect(shop).cancel_order(cancellation(bought), "key-1")
    assert connect(shop).find_cancel_order(cancellation(bought), "key-1") is None
    clock.now += timedelta(seconds=31)
    found = connect(shop).find_cancel_order(cancellation(bought), "key-1")
    assert found is not None and found.reference == bought
    assert connect(shop).cancel_order(cancellation(bought), "key-1") == found


def test_what_has_left_cannot_be_cancelled(shop: ShopifySimulator) -> None:
    bought = order(shop)
    shop.fulfill(bought, units=1)
    with pytest.raises(Rejected, match="Cannot cancel an order with fulfillments"):
        connect(shop).cancel_order(cancellation(bought), "key-1")
    assert shop.sold[int(bought)].cancelled_at is None


def test_an_order_that_customers_send_back_cannot_be_cancelled(shop: ShopifySimulator) -> None:
    bought = order(shop)
    shop.send_back(bought, "MUG", 1)
    with pytest.raises(Rejected, match="active returns"):
        connect(shop).cancel_order(cancellation(bought), "key-1")
