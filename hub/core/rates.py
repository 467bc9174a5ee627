"""Rates: what carriers offer for a shipment, and which offer is taken and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.core.carriers import named_service
from hub.core.shipping import DocumentFormat, Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one carrier's account said when it was asked: rates, notes on those that are missing, or what went wrong.

    ``connection`` is the id of the account's connection, ``account`` what people call it.
    """

    connection: str
    account: str
    rates: tuple[Rate, ...] = ()
    notes: tuple[str, ...] = ()
    trouble: str = ""


def offers_of(answers: Iterable[Answer]) -> list[Offer]:
    """Every rate of every carrier that answered."""
    return [
        Offer(connection=each.connection, account=each.account, rate=rate) for each in answers for rate in each.rates
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A rate, and the connection whose label it would be."""

    connection: str
    account: str  # what people call that connection
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The offer that is taken, and why in words."""

    offer: Offer
    why: str


class ShippedWhen(StrEnum):
    """From when on goods count as shipped: they leave stock, and the channel tells the customer."""

    HANDED_OVER = "handed_over"  # a person says so, or the carrier's first scan
    LABEL = "label"  # as soon as the label is bought


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingPolicy:
    """Which offers a merchant takes, and how. ``carriers`` and ``services`` (as "carrier/service") empty: any.

    ``automatic``: the best offer is bought as soon as the carriers have answered.
    """

    carriers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    never: tuple[str, ...] = ()  # "carrier" or "carrier/service"
    format: DocumentFormat = DocumentFormat.PDF
    automatic: bool = False
    shipped_when: ShippedWhen = ShippedWhen.HANDED_OVER

    def allows(self, rate: Rate) -> bool:
        """Whether a rate is one the merchant takes at all."""
        service = f"{rate.carrier}/{rate.service}"
        return (
            (not self.carriers or rate.carrier in self.carriers)
            and (not self.services or service in self.services)
            and rate.carrier not in self.never
            and service not in self.never
        )


def currency_of(offers: Sequence[Offer], preferred: str) -> str:
    """The currency in which offers are compared: the preferred one where anybody asks for it, else the most usual."""
    named = Counter(each.rate.cost.currency for each in offers)
    if not named or preferred in named:
        return preferred
    return min(named, key=lambda currency: (-named[currency], currency))


def choose(
    offers: Iterable[Offer], policy: ShippingPolicy, currency: str, promised_by: datetime | None
) -> Choice | None:
    """The cheapest offer that keeps the promise; where none does, the one that comes nearest to it. None: nothing fits.

    Only offers in ``currency`` are compared: a price in another one is no number without an exchange rate.
    """
    fitting = [each for each in offers if each.rate.cost.currency == currency and policy.allows(each.rate)]
    if not fitting:
        return None
    cheapest = min(fitting, key=_price)
    if promised_by is None:
        return Choice(offer=cheapest, why=f"Cheapest of {_number(len(fitting))}: no day was promised.")
    keeping = [each for each in fitting if each.rate.deliver_by is not None and each.rate.deliver_by <= promised_by]
    day = f"{promised_by:%Y-%m-%d}"
    if keeping:
        best = min(keeping, key=_price)
        also = "" if best is cheapest else f"; {_name(cheapest)} is cheaper, but comes later or names no day"
        return Choice(offer=best, why=f"Cheapest of the {len(keeping)} of {len(fitting)} that arrive by {day}{also}.")
    dated = [each for each in fitting if each.rate.deliver_by is not None]
    if dated:
        soonest = min(dated, key=lambda each: (each.rate.deliver_by, *_price(each)))
        return Choice(offer=soonest, why=f"Soonest of {_number(len(dated))}: none arrives by {day}.")
    return Choice(offer=cheapest, why=f"Cheapest of {_number(len(fitting))}: none says whether it arrives by {day}.")


def _price(offer: Offer) -> tuple[object, ...]:
    rate = offer.rate
    return rate.cost.amount, rate.days is None, rate.days or 0, rate.carrier, rate.service, offer.connection


def _name(offer: Offer) -> str:
    return offer.rate.name or named_service(offer.rate.carrier, offer.rate.service)


def _number(count: int) -> str:
    return "1 offer" if count == 1 else f"{count} offers"
