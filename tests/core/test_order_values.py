"""Orders as values: what they refuse, and what their total says beyond the sum of its parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.model import Money
from hub.core.services import content_of
from tests.core.making import NOON, a_line, an_order, euros


def test_an_order_whose_parts_add_up_has_no_rounding() -> None:
    order = an_order(
        a_line(2),
        a_line(1, id="2"),
        total=euros("38.50"),
        shipping=euros(5),
        fees=euros(1),
        tax=euros("4.50"),
        discount=euros(2),
    )

    assert order.rounding == euros(0)


def test_the_rounding_is_what_the_channel_made_of_it() -> None:
    lines = (
        a_line(1, total=euros("3.33")),
        a_line(1, id="2", total=euros("3.33")),
        a_line(1, id="3", total=euros("3.33")),
    )

    assert an_order(*lines, total=euros(10)).rounding == euros("0.01")
    assert an_order(*lines, total=euros("9.95")).rounding == euros("-0.04")


def test_taxes_are_counted_once_where_the_parts_include_them() -> None:
    order = an_order(a_line(1, total=euros("11.90")), total=euros("11.90"), tax=euros("1.90"), taxes_included=True)

    assert order.rounding == euros(0)
    assert replace(order, taxes_included=False).rounding == euros("-1.90")


cents = st.integers(-(10**9), 10**9).map(lambda minor: Money.from_minor(minor, "EUR"))


@given(st.lists(cents, max_size=6), cents, cents, cents, cents, cents, st.booleans())
def test_parts_and_rounding_always_make_the_total(
    totals: list[Money], total: Money, shipping: Money, tax: Money, discount: Money, fees: Money, included: bool
) -> None:
    lines = [a_line(1, id=str(number), total=each) for number, each in enumerate(totals)]
    order = an_order(
        *lines, total=total, shipping=shipping, tax=tax, discount=discount, fees=fees, taxes_included=included
    )

    parts = sum(each.minor for each in totals) + shipping.minor + fees.minor - discount.minor
    assert parts + (0 if included else tax.minor) + order.rounding.minor == total.minor


@pytest.mark.parametrize("part", ["total", "shipping", "tax", "discount", "fees"])
def test_refuses_an_amount_in_another_currency(part: str) -> None:
    with pytest.raises(ValueError, match="Order 100 is in EUR, but has amounts in USD"):
        an_order(a_line(1), **{part: Money.of(1, "USD")})


@pytest.mark.parametrize("part", ["unit_price", "total", "tax"])
def test_refuses_a_line_in_another_currency(part: str) -> None:
    with pytest.raises(ValueError, match="amounts in JPY"):
        an_order(a_line(1, **{part: Money.of(1, "JPY")}), total=euros(10))


def test_a_currency_in_small_letters_is_the_same_currency() -> None:
    assert an_order(a_line(1), currency="eur").currency == "EUR"


def test_refuses_two_lines_with_one_id() -> None:
    with pytest.raises(ValueError, match="two lines have the same id"):
        an_order(a_line(1), a_line(2))


@pytest.mark.parametrize("quantities", [{"quantity": -1}, {"fulfilled": -1}, {"removed": -1}])
def test_refuses_quantities_below_nothing(quantities: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="quantities cannot be negative"):
        replace(a_line(1), **quantities)


@pytest.mark.parametrize(
    ("quantity", "fulfilled", "removed", "still_open"),
    [(3, 0, 0, 3), (3, 1, 1, 1), (3, 3, 0, 0), (3, 0, 3, 0), (3, 2, 2, 0), (0, 0, 0, 0)],
)
def test_what_is_still_to_be_shipped_is_never_negative(
    quantity: int, fulfilled: int, removed: int, still_open: int
) -> None:
    assert a_line(quantity, fulfilled=fulfilled, removed=removed).open_quantity == still_open


def test_times_are_kept_in_utc() -> None:
    there = datetime(2026, 3, 2, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    order = an_order(a_line(1), version=there, placed_at=there)

    assert (order.version, order.version.tzinfo) == (NOON, UTC)
    assert order.placed_at.isoformat() == "2026-03-02T12:00:00+00:00"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        an_order(a_line(1), version=datetime(2026, 3, 2, 12, 0))  # noqa: DTZ001


def test_two_bodies_that_say_the_same_have_one_content() -> None:
    webhook = an_order(a_line(1, unit_price=euros("10.00")), whole=False)
    fetched = an_order(a_line(1, unit_price=euros("1E+1")), whole=True)

    assert content_of(webhook) == content_of(fetched)
    assert content_of(webhook) != content_of(replace(fetched, note="Ring twice"))
    assert content_of(webhook) != content_of(an_order(a_line(2), total=euros(10)))
