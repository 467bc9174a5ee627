"""Money: exact amounts in one currency each, with the digits that currency has."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.model import Money, minor_digits

CURRENCIES = ["EUR", "USD", "GBP", "JPY", "KRW", "CLP", "ISK", "UGX", "KWD", "BHD", "TND", "CLF", "UYW"]


@pytest.mark.parametrize(
    ("currency", "text", "minor", "shown"),
    [
        ("EUR", "12.5", 1250, "12.50 EUR"),
        ("USD", "0.01", 1, "0.01 USD"),
        ("JPY", "1200", 1200, "1200 JPY"),
        ("KRW", "1", 1, "1 KRW"),
        ("ISK", "990", 990, "990 ISK"),
        ("KWD", "1.234", 1234, "1.234 KWD"),
        ("BHD", "0.001", 1, "0.001 BHD"),
        ("CLF", "0.0001", 1, "0.0001 CLF"),
        ("UYW", "2", 20000, "2.0000 UYW"),
    ],
)
def test_counts_in_the_smallest_unit_its_currency_has(currency: str, text: str, minor: int, shown: str) -> None:
    money = Money.of(text, currency)

    assert money.minor == minor
    assert str(money) == shown
    assert Money.from_minor(minor, currency) == money


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("EUR", "0.005", 1),
        ("EUR", "-0.005", -1),
        ("EUR", "0.0049", 0),
        ("EUR", "2.675", 268),  # as a float this is 2.67499…
        ("JPY", "0.5", 1),
        ("JPY", "1.49", 1),
        ("KWD", "0.0005", 1),
        ("EUR", "1E-7", 0),
        ("EUR", "1E+3", 100_000),
    ],
)
def test_rounds_halves_away_from_zero(currency: str, text: str, minor: int) -> None:
    assert Money.of(text, currency).minor == minor


def test_a_part_of_a_cent_is_kept_until_it_is_rounded_once() -> None:
    third = Money.of("0.005", "EUR")

    assert (third + third).minor == 1
    assert third.minor + third.minor == 2


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15), st.sampled_from(CURRENCIES))
def test_whole_cents_survive_every_sum(one: int, other: int, currency: str) -> None:
    total = Money.from_minor(one, currency) + Money.from_minor(other, currency)

    assert total.minor == one + other
    assert (total - Money.from_minor(other, currency)).minor == one
    assert (-total).minor == -(one + other)
    assert Money.of(str(total).split()[0], currency) == total


def test_multiplies_by_a_quantity_or_a_rate() -> None:
    assert Money.of("0.10", "EUR") * 3 == Money.of("0.30", "EUR")
    assert Money.of("10", "EUR") * Decimal("0.19") == Money.of("1.90", "EUR")


def test_the_same_amount_is_equal_however_many_zeros_it_was_written_with() -> None:
    assert Money.of("12.5", "EUR") == Money.of("12.500", "eur")
    assert hash(Money.of("12.5", "EUR")) == hash(Money.of("12.50", "EUR"))


def test_nothing_is_never_less_than_nothing() -> None:
    assert str(-Money.zero("EUR")) == "0.00 EUR"
    assert str(Money.of("-0.001", "EUR")) == "0.00 EUR"


def test_two_currencies_are_not_added() -> None:
    with pytest.raises(ValueError, match="EUR and USD cannot be added without an exchange rate"):
        Money.of(1, "EUR") + Money.of(1, "USD")
    with pytest.raises(ValueError, match="exchange rate"):
        Money.of(1, "EUR") - Money.of(1, "USD")


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-Infinity", "1_000", "1,5", "", "ten", "0x10", "٣", "１２"]
)
def test_refuses_what_is_no_plain_decimal_number(text: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        Money.of(text, "EUR")


@pytest.mark.parametrize("currency", ["", "EU", "EURO", "E1R", "€€€", "ＥＵＲ"])
def test_refuses_what_is_no_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money.of(1, currency)


def test_a_currency_is_written_in_capitals() -> None:
    assert Money.of(1, "eur").currency == "EUR"
    assert Money.from_minor(150, "jpy") == Money.of(150, "JPY")


def test_an_unknown_currency_has_hundredths() -> None:
    assert minor_digits("XYZ") == 2
