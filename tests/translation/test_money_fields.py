"""Money in payloads: as an object, or as a number with its currency beside it; what is no money is unreadable."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

import hub


class Fee(hub.Translation[dict[str, hub.Money]]):
    """A fee in both ways of writing."""

    plain = hub.MoneyAmount(currency="unit")
    whole = hub.MoneyObject(amount="value", currency="code")


def read(**said: Any) -> dict[str, hub.Money]:
    return Fee().read(json.dumps(said).encode())


@pytest.mark.parametrize("written", ["12.50", 12.5])
def test_an_amount_is_exact_however_it_is_written(written: Any) -> None:
    money = hub.Money(Decimal("12.5"), "EUR")

    assert read(plain=written, unit="EUR") == {"plain": money}
    assert read(whole={"value": written, "code": "eur"}) == {"whole": money}
    assert read(plain="0.10", unit="EUR")["plain"].amount.as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"plain": "12.50"}, "plain: No currency, such as EUR."),
        ({"plain": "12.50", "unit": 7}, "plain: No currency, such as EUR."),
        ({"plain": "12.50", "unit": "EURO"}, "plain: No currency, such as EUR."),
        ({"plain": "a lot", "unit": "EUR"}, "plain: Not a decimal number."),
        ({"plain": True, "unit": "EUR"}, "plain: Not a decimal number."),
        ({"plain": {"amount": 1}, "unit": "EUR"}, "plain: Not a decimal number."),
        ({"whole": "12.50"}, "whole: Not an amount with a currency."),
        ({"whole": []}, "whole: Not an amount with a currency."),
        ({"whole": {"value": "12.50"}}, "whole: No currency, such as EUR."),
        ({"whole": {"code": "EUR"}}, "whole: Empty."),
        ({"whole": {"value": "1e400", "code": "EUR"}}, "whole: Not a decimal number."),
    ],
)
def test_what_is_no_money_says_where(said: dict[str, Any], says: str) -> None:
    with pytest.raises(hub.Unreadable) as unreadable:
        read(**said)

    assert str(unreadable.value) == says


def test_one_that_must_be_there_must_be_there() -> None:
    class Needed(hub.Translation[dict[str, hub.Money]]):
        fee = hub.MoneyObject(required=True)

    for said in ({}, {"fee": None}):
        with pytest.raises(hub.Unreadable, match=r"^fee: (Missing|Empty)\.$"):
            Needed().read(said)
