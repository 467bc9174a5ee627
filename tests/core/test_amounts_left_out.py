"""Amounts that an order does not mention are zero, in the order's own currency."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.core.model import Money, Order, OrderLine, OrderStatus

AT = datetime(2026, 3, 2, tzinfo=UTC)


def order(currency: str = "jpy", **amounts: Money) -> Order:
    price = Money.of("500", currency)
    line = OrderLine(
        external_id="1", listing_external_id="1", sku="MUG", title="Mug", quantity=2, unit_price=price, total=price * 2
    )
    return Order(
        external_id="1",
        number="1001",
        status=OrderStatus.OPEN,
        channel_status="open",
        version=AT,
        placed_at=AT,
        currency=currency,
        holds_stock=True,
        lines=(line,),
        total=price * 2,
        **amounts,
    )


def test_what_is_left_out_is_zero_and_the_sum_is_right() -> None:
    made = order()

    nothing = Money.zero("JPY")
    assert (made.shipping, made.tax, made.discount, made.fees, made.lines[0].tax) == (nothing,) * 5
    assert made.rounding == nothing


def test_what_is_said_stands() -> None:
    made = order(shipping=Money.of("300", "JPY"))

    assert made.shipping == Money.of("300", "JPY")
    assert made.rounding == Money.of("-300", "JPY")


def test_a_foreign_amount_is_still_refused_be_it_nothing() -> None:
    for foreign in (Money.zero("EUR"), Money.of("1", "XXX"), Money.zero("XXX")):
        with pytest.raises(ValueError, match=f"has amounts in {foreign.currency}"):
            order(fees=foreign)
