"""Priorities: which order is packed first, by a merchant's own list of rules, and why it is that one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum


class Urgency(IntEnum):
    """How soon an order is packed: the smaller the sooner. A person may choose any number beside these."""

    URGENT = -20
    SOON = -10
    NORMAL = 0
    LATER = 10


class Kind(StrEnum):
    """What a rule looks at."""

    EXPRESS = "express"  # paid, and the customer chose a way of shipping with one of ``words`` in its name
    PROMISED = "promised"  # promised for a moment at most ``days`` away, or past
    VALUE = "value"  # worth ``value`` or more, in the shop's currency
    TAG = "tag"  # tagged with one of ``words``, by the channel or by a person


EXPRESS_WORDS = ("express", "overnight", "next day", "same day", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityRule:
    """One rule: orders that are so have this urgency."""

    kind: Kind
    urgency: Urgency
    words: tuple[str, ...] = ()
    days: int | None = None
    value: Decimal | None = None

    def __post_init__(self) -> None:
        if self.kind is Kind.PROMISED and (self.days is None or self.days < 0):
            raise ValueError("Say within how many days the order is promised.")
        if self.kind is Kind.VALUE and (self.value is None or self.value <= 0):
            raise ValueError("Say from which value on.")
        if self.kind is Kind.TAG and not self.words:
            raise ValueError("Name at least one tag.")


DEFAULT_RULES = (PriorityRule(kind=Kind.EXPRESS, urgency=Urgency.URGENT, words=EXPRESS_WORDS),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What of an order the rules look at. ``own`` is the priority that a person has given it."""

    paid: bool
    shipping_method: str
    promised_at: datetime | None
    value: Decimal
    tags: tuple[str, ...]
    own: int | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The priority of an order, the smaller the sooner, and why, for a person."""

    priority: int
    why: str


def rank(facts: Facts, rules: Sequence[PriorityRule], at: datetime) -> Ranking:
    """The priority of an order at a moment: a person's word first, else the first rule that fits."""
    if facts.own is not None:
        return Ranking(facts.own, "A person said so.")
    for rule in rules:
        if why := _fits(facts, rule, at):
            return Ranking(rule.urgency.value, why)
    return Ranking(Urgency.NORMAL.value, "No rule speaks of it.")


def _fits(facts: Facts, rule: PriorityRule, at: datetime) -> str:
    if rule.kind is Kind.EXPRESS:
        method = facts.shipping_method.casefold()
        fits = facts.paid and any(word.casefold() in method for word in rule.words or EXPRESS_WORDS)
        return f"The customer paid for “{facts.shipping_method}”." if fits else ""
    if rule.kind is Kind.PROMISED:
        if facts.promised_at is None or rule.days is None or facts.promised_at > at + timedelta(days=rule.days):
            return ""
        return f"It is promised for {facts.promised_at:%d %b %Y}."
    if rule.kind is Kind.VALUE:
        return f"It is worth {rule.value} or more." if rule.value is not None and facts.value >= rule.value else ""
    wanted = {word.casefold() for word in rule.words}
    named = [tag for tag in facts.tags if tag.casefold() in wanted]
    return f"It is tagged “{named[0]}”." if named else ""
