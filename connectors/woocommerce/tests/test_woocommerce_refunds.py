"""Cancelling orders and giving money back in a simulated shop: exactly so much, never twice, and refusals in words."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from hub.core.model import Money, OrderStatus
from hub.core.shipping import CancelReason, OrderCancellation, RefundedLine, RefundRequest
from hub.errors import NotFound, Rejected, Unavailable
from hub.testing.context import connector_for
from hub.testing.simulator import Fault
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.refunds import _parted
from hub_woocommerce.simulator import WooCommerceSimulator


class Desk:
    """A shop with an order of two mugs (line 1) and a cap (line 2), 33.00 in all, and a connector."""

    def __init__(self, shop: WooCommerceSimulator) -> None:
        self.shop = shop
        shop.add_product("MUG", "Mug", 100, "12.50")
        shop.add_product("CAP", "Cap", 100, "8")
        self.connector = connector_for(WooCommerceConnector, shop)
        sale = shop.buy([("MUG", 2), ("CAP", 1)])
        assert sale is not None
        self.id = sale.order_external_id
        self.kept = shop.shop.orders[int(self.id)]

    def refund(self, *wanted: tuple[str, int, str], **more: Any) -> RefundRequest:
        return RefundRequest(
            reference=more.pop("reference", "R-1"),
            order_external_id=more.pop("order", self.id),
            lines=tuple(
                RefundedLine(line_external_id=line, quantity=quantity, amount=eur(amount))
                for line, quantity, amount in wanted
            ),
            **more,
        )

    def cancellation(self) -> OrderCancellation:
        return OrderCancellation(reference="C-1", order_external_id=self.id, reason=CancelReason.CUSTOMER)


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")


@pytest.fixture
def desk() -> Iterator[Desk]:
    with WooCommerceSimulator() as shop:
        yield Desk(shop)


# ---------------------------------------------------------------- giving money back


def test_gives_back_exactly_so_much_and_restocks(desk: Desk) -> None:
    result = desk.connector.refund(desk.refund(("1", 1, "12.50"), restock=True, note="Chipped"), "key")
    (made,) = desk.kept.refunds
    assert (result.reference, result.details) == (
        str(made.id),
        {"amount": "12.50", "currency": "EUR", "by_hand": True},
    )
    assert (made.amount, made.reason) == (Decimal("12.50"), "Chipped [R-1]")
    assert desk.shop.stock()["MUG"] == 99
    order = desk.connector.read_order(desk.connector.fetch_order(desk.id))
    assert [line.open_quantity for line in order.lines] == [1, 1]


def test_what_is_not_restocked_stays_out_of_stock(desk: Desk) -> None:
    desk.connector.refund(desk.refund(("1", 1, "12.50")), "key")
    assert desk.shop.stock()["MUG"] == 98


def test_money_goes_back_by_itself_where_the_way_of_paying_can(desk: Desk) -> None:
    desk.kept.payment_method = "cards"
    assert desk.connector.refund(desk.refund(goodwill=eur("3")), "key").details["by_hand"] is False
    assert [each.paid for each in desk.kept.refunds] == [True]


def test_nobody_is_told_to_pay_out_what_a_payment_provider_may_have_paid(desk: Desk) -> None:
    refund = desk.refund(goodwill=eur("3"))
    desk.kept.payment_method = "cards"
    desk.connector.refund(refund, "key")
    desk.kept.refunds[0].paid = False  # the shop broke off between noting it and hearing of the provider

    again = desk.connector.find_refund(refund, "key")

    assert again is not None
    assert again.details == {"amount": "3.00", "currency": "EUR", "by_hand": True, "unsure": True}
    assert desk.connector.refund(refund, "another key").details == again.details


@pytest.mark.parametrize("method", ["a-plugin-that-is-gone", "", "../orders"])
def test_an_unknown_way_of_paying_gives_nothing_back_by_itself(desk: Desk, method: str) -> None:
    desk.kept.payment_method = method
    assert desk.connector.refund(desk.refund(goodwill=eur("3")), "key").details["by_hand"] is True


def test_a_gesture_comes_beside_the_lines(desk: Desk) -> None:
    result = desk.connector.refund(desk.refund(("2", 1, "8"), goodwill=eur("2")), "key")
    assert result.details["amount"] == "10.00"


def test_shipping_goes_back_by_its_own_line(desk: Desk) -> None:
    desk.kept.shipping, desk.kept.shipping_line = Decimal("4.90"), 77
    desk.connector.refund(desk.refund(shipping=eur("4")), "key")
    assert [each.shipping for each in desk.kept.refunds] == [Decimal("4.00")]
    with pytest.raises(Rejected, match=r"can give back 0\.90 EUR of the shipping, not 1\.00 EUR"):
        desk.connector.refund(desk.refund(shipping=eur("1"), reference="R-2"), "key")


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.truncated(), Fault.status(500, after_effect=True)])
def test_money_goes_back_once_though_the_answer_is_lost(desk: Desk, fault: Fault) -> None:
    wanted = desk.refund(goodwill=eur("3"))
    desk.shop.fail_next(f"/wp-json/wc/v3/orders/{desk.id}/refunds", fault)
    with pytest.raises(Unavailable):
        desk.connector.refund(wanted, "key")
    found = desk.connector.find_refund(wanted, "key")
    assert found is not None
    assert desk.connector.refund(wanted, "another key") == found
    assert [each.amount for each in desk.kept.refunds] == [Decimal(3)]


def test_another_refund_is_not_taken_for_ours(desk: Desk) -> None:
    desk.connector.refund(desk.refund(goodwill=eur("3"), reference="R-10"), "key")
    assert desk.connector.find_refund(desk.refund(goodwill=eur("3"), reference="R-1"), "key") is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"goodwill": "33.01"}, r"can give back 33\.00 EUR of order \d+, not 33\.01 EUR"),
        ({"line": ("1", 3)}, "Of “Mug” WooCommerce can refund 2, not 3"),
        ({"line": ("9", 1)}, "has no line 9 in WooCommerce"),
        ({"shipping": "0.01"}, r"can give back 0\.00 EUR of the shipping"),
    ],
)
def test_refuses_more_than_is_left(desk: Desk, wanted: dict[str, Any], words: str) -> None:
    lines = [(*wanted.pop("line"), "1")] if "line" in wanted else []
    asked = desk.refund(*lines, **{name: eur(amount) for name, amount in wanted.items()})
    with pytest.raises(Rejected, match=words):
        desk.connector.refund(asked, "key")
    assert desk.kept.refunds == []


def test_units_that_were_refunded_are_not_refunded_again(desk: Desk) -> None:
    desk.connector.refund(desk.refund(("1", 2, "25")), "key")
    with pytest.raises(Rejected, match="Of “Mug” WooCommerce can refund 0, not 1"):
        desk.connector.refund(desk.refund(("1", 1, "1"), reference="R-2"), "key")


def test_another_currency_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected, match="is in EUR, not in USD"):
        desk.connector.refund(desk.refund(goodwill=Money.of("1", "USD")), "key")


def test_what_woocommerce_refuses_with_a_500_is_refused_and_not_repeated(desk: Desk) -> None:
    """Between the look and the refund somebody else gives everything back."""

    def meanwhile() -> None:
        desk.shop.refund(desk.id, [("MUG", 2)])

    desk.shop.fail_next("/wp-json/wc/v3/payment_gateways/", Fault(after_effect=True, meanwhile=meanwhile))
    with pytest.raises(Rejected, match="Invalid refund amount"):
        desk.connector.refund(desk.refund(goodwill=eur("33")), "key")
    assert len(desk.kept.refunds) == 1


def test_an_order_that_is_gone_gets_nothing(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.connector.refund(desk.refund(goodwill=eur("1"), order="999"), "key")


def test_an_amount_is_parted_into_net_and_tax_as_the_line_is() -> None:
    line = {
        "total": "20.00",
        "total_tax": "4.60",
        "taxes": [{"id": 1, "total": "4.00"}, {"id": 2, "total": "0.60"}, {"id": 3, "total": ""}],
    }
    assert _parted(line, eur("24.60")) == {
        "refund_total": "20.00",
        "refund_tax": [{"id": 1, "refund_total": "4.00"}, {"id": 2, "refund_total": "0.60"}],
    }
    parts = _parted(line, eur("0.10"))
    assert parts == {"refund_total": "0.08", "refund_tax": [{"id": 1, "refund_total": "0.02"}]}


# ---------------------------------------------------------------- cancelling


def test_cancels_and_puts_the_goods_back(desk: Desk) -> None:
    result = desk.connector.cancel_order(desk.cancellation(), "key")
    assert (result.reference, desk.kept.status, desk.shop.stock()["MUG"]) == (desk.id, "cancelled", 100)
    assert desk.connector.find_cancel_order(desk.cancellation(), "key") == result
    asked = len(desk.shop.requests)
    assert desk.connector.cancel_order(desk.cancellation(), "key") == result
    assert all(each.method == "GET" for each in list(desk.shop.requests)[asked:])


def test_what_is_over_cannot_be_cancelled(desk: Desk) -> None:
    desk.shop.fulfill(desk.id)
    with pytest.raises(Rejected, match="is completed in WooCommerce"):
        desk.connector.cancel_order(desk.cancellation(), "key")
    assert desk.connector.find_cancel_order(desk.cancellation(), "key") is None
    order = desk.connector.read_order(desk.connector.fetch_order(desk.id))
    assert order.status is OrderStatus.FULFILLED


def test_what_has_left_in_part_cannot_be_cancelled(desk: Desk) -> None:
    parcel = [{"key": "_items", "value": [{"item_id": 1, "qty": 1}]}]
    desk.kept.fulfillments.append({"id": 5, "is_fulfilled": True, "date_deleted": None, "meta_data": parcel})
    with pytest.raises(Rejected, match="A part of order"):
        desk.connector.cancel_order(desk.cancellation(), "key")
    assert desk.kept.status == "processing"
