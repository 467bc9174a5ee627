"""Priorities: a person's word first, then the first rule that fits, and why."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from hub.core.plain import from_plain, to_plain
from hub.core.priorities import DEFAULT_RULES, Facts, Kind, PriorityRule, Ranking, Urgency, rank
from tests.core.making import NOON

PLAIN = {"paid": True, "shipping_method": "Standard", "promised_at": None, "value": Decimal(50), "tags": ()}
RULES = (
    PriorityRule(kind=Kind.PROMISED, urgency=Urgency.SOON, days=1),
    PriorityRule(kind=Kind.EXPRESS, urgency=Urgency.URGENT, words=("Overnight",)),
    PriorityRule(kind=Kind.VALUE, urgency=Urgency.SOON, value=Decimal(100)),
    PriorityRule(kind=Kind.TAG, urgency=Urgency.LATER, words=("slow", "wholesale")),
)


def ranked(rules: tuple[PriorityRule, ...] = RULES, **facts: Any) -> Ranking:
    return rank(Facts(**PLAIN | facts), rules, NOON)


@pytest.mark.parametrize(
    ("facts", "priority", "why"),
    [
        ({}, 0, "No rule speaks of it."),
        ({"shipping_method": "UPS overnight saver"}, -20, "The customer paid for “UPS overnight saver”."),
        ({"shipping_method": "Overnight", "paid": False}, 0, "No rule speaks of it."),
        ({"promised_at": NOON + timedelta(days=1)}, -10, "It is promised for 03 Mar 2026."),
        ({"promised_at": NOON + timedelta(days=1, seconds=1)}, 0, "No rule speaks of it."),
        ({"promised_at": NOON - timedelta(days=9)}, -10, "It is promised for 21 Feb 2026."),
        ({"value": Decimal("99.99")}, 0, "No rule speaks of it."),
        ({"value": Decimal(100)}, -10, "It is worth 100 or more."),
        ({"tags": ("VIP", "Wholesale")}, 10, "It is tagged “Wholesale”."),
        ({"tags": ("slow",), "own": 5}, 5, "A person said so."),
        ({"own": 0, "shipping_method": "Overnight"}, 0, "A person said so."),
    ],
)
def test_the_first_rule_that_fits_says_it(facts: dict[str, Any], priority: int, why: str) -> None:
    assert ranked(**facts) == Ranking(priority, why)


def test_an_earlier_rule_comes_before_a_later_one() -> None:
    both = {"promised_at": NOON, "shipping_method": "Overnight"}

    assert ranked(**both).priority == Urgency.SOON
    assert ranked(tuple(reversed(RULES)), **both).priority == Urgency.URGENT


def test_without_rules_of_ones_own_paid_express_is_urgent() -> None:
    assert ranked(DEFAULT_RULES, shipping_method="DHL Express").priority == Urgency.URGENT
    assert ranked(DEFAULT_RULES, shipping_method="Letter").priority == Urgency.NORMAL


@pytest.mark.parametrize("rule", [*RULES, *DEFAULT_RULES])
def test_a_rule_is_kept_as_json(rule: PriorityRule) -> None:
    assert from_plain(PriorityRule, to_plain(rule)) == rule


@pytest.mark.parametrize(
    "values",
    [{"kind": Kind.PROMISED}, {"kind": Kind.PROMISED, "days": -1}, {"kind": Kind.VALUE}, {"kind": Kind.TAG},
     {"kind": Kind.VALUE, "value": Decimal(0)}],
)  # fmt: skip
def test_a_rule_that_says_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\."):
        PriorityRule(urgency=Urgency.SOON, **values)
