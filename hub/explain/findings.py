"""What an explanation of an oversell is made of: the verdicts, the causes, who got the units, what the shop showed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from hub.explain.words import listed


class Why(StrEnum):
    """Every cause there is."""

    LATE_WEBHOOK = "late_webhook"  # the shop's webhook of the sale came late
    LOST_WEBHOOK = "lost_webhook"  # it never came: the sale was found when the shop was asked
    RARE_POLLING = "rare_polling"  # the shop sends no webhooks, and was asked too rarely
    HUB_BEHIND = "hub_behind"  # the news was here, and was read late
    PAUSED = "paused"  # a person had paused the other connection
    CREDENTIALS = "credentials"  # its shop refused the credentials
    RATE_LIMITED = "rate_limited"  # its shop asked to slow down
    UNAVAILABLE = "unavailable"  # its shop did not answer
    SLOW_SHOP = "slow_shop"  # its shop took long to take the figure
    QUEUED = "queued"  # the hub knew, nothing stood in the way, and it wrote late
    REFUSED = "refused"  # its shop refused the figure of this listing
    NOT_LIVE = "not_live"  # nothing was written to its shop yet
    NOT_MATCHED = "not_matched"  # the hub did not know which SKU the listing sells
    NOT_PUBLISHED = "not_published"  # the listing's stock is not written by the hub
    NO_BUFFER = "no_buffer"  # sold within the time that nobody can beat
    SHARED_PART = "shared_part"  # the same, by a kit and its part, that no shop knows to be the same goods
    STOCK_LOWERED = "stock_lowered"  # a count, a damage, a transfer: fewer were there than had been thought
    ADOPTED = "adopted"  # the opening stock was smaller than what open orders wanted
    WRITE_WINDOW = "write_window"  # a sale fell between the hub's reading and its writing
    CHANGED_AT_SHOP = "changed_at_shop"  # somebody changed the figure there
    SOLD_BEYOND_ZERO = "sold_beyond_zero"  # the shop sells what it does not have
    ORDER_RAISED = "order_raised"  # the order was changed to more units at the shop
    HELD_LATE = "held_late"  # the order held nothing until it was paid
    GIVEN_BACK = "given_back"  # the order lost its units because it was not paid in time, and was paid afterwards
    CLOCKS = "clocks"  # the clocks differ; never the main cause
    UNKNOWN = "unknown"  # what would tell is not kept


class Verdict(StrEnum):
    """What became of an order line."""

    OVERSOLD = "oversold"  # it waits for units that were sold and are not there
    SERVED_LATER = "served_later"  # it was oversold, and has got its units since
    HELD = "held"  # it has, or had, all it wants
    ALLOWED = "allowed"  # it waits, and its listing may sell what is not there
    TOGETHER = "together"  # it waits only because its order is held whole or not at all
    UNMATCHED = "unmatched"  # nobody knows what it sells
    UNCOUNTED = "uncounted"  # the hub keeps no stock of it
    NOTHING = "nothing"  # it wants nothing


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause in words, what would prevent it next time, and the page on which that is done."""

    why: Why
    sentence: str
    prevention: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Winner:
    """Who, or what, got units that the order did not get."""

    what: str  # order, or what happened in the warehouse
    order_id: UUID | None
    number: str
    shop: str
    units: int
    placed_at: datetime | None  # by the shop's clock
    heard_at: datetime | None
    heard_by: str
    at: datetime  # reserved, or taken away
    location: str
    entry: int  # the number of its ledger line at the location


@dataclass(frozen=True, slots=True)
class Shown:
    """What a shop showed for the listing at a moment, as far as the hub can tell."""

    shop: str
    at: datetime
    quantity: int | None  # None: the hub had not written any figure
    since: datetime | None
    entries: tuple[tuple[str, int], ...] = ()  # location and number of the last ledger lines in that figure
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class LineExplained:
    """One order line: what became of it, and if it was oversold how that came."""

    title: str
    sku_id: UUID | None
    sku: str
    quantity: int
    waiting: int
    short: int  # units it could not be given when it last asked
    at: datetime | None
    verdict: Verdict
    sentence: str
    won: tuple[Winner, ...] = ()
    shown: Shown | None = None
    reasons: tuple[Reason, ...] = ()  # the main one first
    unknown: tuple[str, ...] = ()  # what would be needed and is not kept


@dataclass(frozen=True, slots=True)
class OrderExplained:
    """An order, and each of its lines."""

    order_id: UUID
    number: str
    shop: str
    placed_at: datetime | None
    heard_at: datetime | None
    heard_by: str
    imported_at: datetime
    lines: tuple[LineExplained, ...]

    @property
    def oversold(self) -> bool:
        """Whether any line was sold that was not there."""
        return any(line.verdict in (Verdict.OVERSOLD, Verdict.SERVED_LATER) for line in self.lines)

    @property
    def sentence(self) -> str:
        """The whole answer in a sentence."""
        if not self.lines:
            return f"Order {self.number} has no lines."
        short = [line for line in self.lines if line.verdict in (Verdict.OVERSOLD, Verdict.SERVED_LATER)]
        if not short:
            waits = [line for line in self.lines if line.waiting]
            what = "It waits, but not because of that." if waits else "Every line has what it can have."
            return f"Order {self.number} was not oversold. {what}"
        if len(short) == 1:
            return short[0].sentence
        return f"{len(short)} lines of order {self.number} were oversold: {listed([line.sku for line in short])}."
