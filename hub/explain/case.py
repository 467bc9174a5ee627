"""One order line that came away short: who took the units, what the shops knew by then, and why not more.

Two orders sold the same unit. Whichever was placed first, its news had to reach the shop of the other one: by the shop
that told the hub, by the hub that read it, and by the hub that told the other shop. What took longest of that is the
cause; where nothing took longer than it must, only a buffer could have helped. Where no other shop sold the unit, the
shop itself did more than it was told, and is asked how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from hub.core.stock import Cause as Moved
from hub.explain import evidence
from hub.explain.evidence import Change, Heard, Offer, Sale, Told
from hub.explain.findings import LineExplained, Reason, Shown, Verdict, Why, Winner
from hub.explain.words import listed, moment, span, units
from hub.store import selling
from hub.store import tables as t

NORMAL = timedelta(seconds=10)  # what each leg of the way may take without being to blame
_CUT = timedelta(seconds=1)  # shops cut the time of an order to the second
_CLOCKS_AGREE = timedelta(seconds=2)
_MOST_CULPRITS = 5


@dataclass(frozen=True, slots=True)
class _Leg:
    """A part of the way that the news of the first sale took to the shop of the second."""

    took: timedelta
    reason: Callable[[], Reason]  # asked for only if it took too long


@dataclass(frozen=True, slots=True)
class _News:
    """How an event became known: when it happened (by the hub's clock), was heard of, and took effect."""

    name: str
    happened_at: datetime
    heard_at: datetime
    heard_by: str
    applied_at: datetime
    sale: Sale | None = None


@dataclass(frozen=True, slots=True)
class _Culprit:
    """A change that took units which this order had been sold, unknown to the shop that sold second."""

    change: Change
    units: int
    first: _News
    second: _News
    at_second: Offer | None  # the listing that the second one was sold from; None where goods only left the shelf


@dataclass
class Case:
    """Everything known of one line's last shortage."""

    connection: Connection
    merchant_id: UUID
    sale: Sale
    records: Sequence[Heard]
    line: Any
    shortage: Any
    changes: list[Change] = field(default_factory=list)  # up to the shortage, the newest first
    takers: list[Change] = field(default_factory=list)  # those of them that took units
    sales: Mapping[UUID, Sale] = field(default_factory=dict)  # the orders behind these
    culprits: list[_Culprit] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ahead: dict[UUID, timedelta] = field(default_factory=dict)  # by connection: how far its clock is ahead
    told: dict[tuple[UUID, datetime], list[Told]] = field(default_factory=dict)  # to a listing, up to a moment
    found: dict[tuple[UUID, str], Offer] = field(default_factory=dict)

    def explain(self, about: Mapping[str, Any]) -> LineExplained:
        short = self.shortage
        self.changes = evidence.changes_until(self.connection, self.merchant_id, short.sku_id, short.at)
        verdict, sentence = self._verdict()
        told: dict[str, Any] = {**about, "short": short.units, "at": short.at, "verdict": verdict, "sentence": sentence}
        if verdict is Verdict.TOGETHER:
            return LineExplained(**told)
        self.takers = [each for each in self.changes if each.free < 0 and each.order_id != self.sale.order_id]
        orders = {each.order_id for each in self.takers if each.order_id}
        self.sales = evidence.sales(self.connection, self.merchant_id, orders, [short.sku_id])
        self.culprits = [] if short.taken else self._find_culprits()
        reasons = [] if verdict is Verdict.ALLOWED else [*self._reasons(), *self._clocks()]
        shown = None if self.offer is None else self._shown(self.offer, self.own.happened_at)
        won = self._winners()
        return LineExplained(**told, won=won, shown=shown, reasons=_unique(reasons), unknown=tuple(self.unknown))

    # ------------------------------------------------------------ what it is about

    def _verdict(self) -> tuple[Verdict, str]:
        short, line = self.shortage, self.line
        code = self._code(short.sku_id)
        need = short.units * self._per_unit(short.sku_id)
        left: dict[UUID, int] = {}
        for change in self.changes:
            left.setdefault(change.location_id, change.left)
        if not short.taken and sum(left.values()) >= need:
            others = "The order is held whole or not at all, and another line waits."
            return Verdict.TOGETHER, f"It was not oversold: there is enough of {code}. {others}"
        what = f"{units(short.units)} of {line.code or code}"
        part = f" ({code} was missing)" if line.sku_id != short.sku_id else ""
        if self._allowed():
            again = "wait" if line.waiting else "waited"
            return (
                Verdict.ALLOWED,
                f"This is no oversell: a rule lets this listing sell what is not there. {what} {again}.",
            )
        if line.waiting:
            return (
                Verdict.OVERSOLD,
                f"{what} in order {self.sale.number} {_were(short.units)} sold and not there{part}.",
            )
        since = "the order has got them since" if line.held or line.shipped else "the order wants them no more"
        return (
            Verdict.SERVED_LATER,
            f"{what} in order {self.sale.number} {_were(short.units)} sold and not there{part}; {since}.",
        )

    def _allowed(self) -> bool:
        offer = self._offer(self.sale.connection_id, self.line.listing_external_id)
        if offer is None or offer.sku_id is None or self.shortage.taken:
            return False
        here = (offer.connection_id, offer.sku_id, offer.id)
        rule = selling.rules(self.connection, self.merchant_id, [here]).of(*here)
        return bool(rule.backorder_limit)

    def _code(self, sku_id: UUID) -> str:
        code: str = self.connection.execute(
            select(t.sku.c.code).where(t.sku.c.merchant_id == self.merchant_id, t.sku.c.id == sku_id)
        ).scalar_one()
        return code

    def _per_unit(self, sku_id: UUID) -> int:
        part = t.order_line_part.c
        found: int | None = self.connection.execute(
            select(part.quantity).where(
                part.merchant_id == self.merchant_id, part.order_line_id == self.line.id, part.sku_id == sku_id
            )
        ).scalar_one_or_none()
        return found or 1

    def _offer(self, connection_id: UUID, external_id: str | None) -> Offer | None:
        if external_id is None:
            return None
        if (connection_id, external_id) not in self.found:
            for each in evidence.offers(self.connection, self.merchant_id, named=[(connection_id, external_id)]):
                self.found[connection_id, external_id] = each
        return self.found.get((connection_id, external_id))

    def _entries(self, offer: Offer, until: datetime) -> list[Told]:
        """The figures written to a listing up to a moment, the newest first."""
        if (offer.id, until) not in self.told:
            self.told[offer.id, until] = evidence.told_until(self.connection, self.merchant_id, offer.id, until)
        return self.told[offer.id, until]

    # ------------------------------------------------------------ when things happened

    def _by_our_clock(self, sale: Sale) -> datetime:
        if sale.connection_id not in self.ahead:
            ahead = evidence.clock_ahead(self.connection, self.merchant_id, sale.connection_id, sale.placed_at)
            self.ahead[sale.connection_id] = ahead or timedelta(0)
        ahead = self.ahead[sale.connection_id]
        return sale.placed_at - (ahead if ahead > _CLOCKS_AGREE else timedelta(0))

    def _news(self, sale: Sale, records: Sequence[Heard], applied_at: datetime) -> _News:
        happened = self._by_our_clock(sale)
        name = f"order {sale.number} ({sale.shop})"
        if not records:
            self.unknown.append(
                f"No record of order {sale.number} is kept: when the hub first heard of it is not known."
            )
            return _News(name, happened, sale.imported_at, "", applied_at, sale)
        effective = next((each for each in records if each.read_at == applied_at), None)
        if effective is None or effective is records[0] or (records[0].read_at or applied_at) >= applied_at:
            return _News(name, happened, records[0].at, records[0].source, applied_at, sale)
        # It was known before, and only now held stock: what made it do so happened at the shop not long before.
        return _News(name, effective.at, effective.at, effective.source, applied_at, sale)

    @cached_property
    def own(self) -> _News:
        """How the order itself became known."""
        return self._news(self.sale, self.records, self.shortage.at)

    @cached_property
    def offer(self) -> Offer | None:
        """The listing that the line was sold from."""
        return self._offer(self.sale.connection_id, self.line.listing_external_id)

    # ------------------------------------------------------------ who got it

    def _find_culprits(self) -> list[_Culprit]:
        """The last changes that took units, of which the shop that sold second was not told in time."""
        own, offer = self.own, self.offer
        found: list[_Culprit] = []
        at_sale = self._entries(offer, own.happened_at) if offer else []
        for change in self.takers:
            if len(found) >= _MOST_CULPRITS:
                break
            sale = self.sales.get(change.order_id) if change.order_id else None
            if sale is None:
                told = change.at <= own.happened_at and _known(change, at_sale)
                if not told:
                    event = _News(_happened(change), change.at, change.at, "", change.at)
                    first, second = (event, own) if change.at <= own.happened_at else (own, event)
                    found.append(_Culprit(change, -change.free, first, second, offer if second is own else None))
                continue
            if offer and self._sold_at(offer, change):
                continue
            if self._by_our_clock(sale) <= own.happened_at and _known(change, at_sale):
                continue
            records = evidence.heard(self.connection, self.merchant_id, sale)
            other = self._news(sale, records, change.at)
            if other.happened_at <= own.happened_at:
                if _known(change, at_sale):
                    continue
                found.append(_Culprit(change, -change.free, other, own, offer))
            else:
                theirs = next((self._offer(sale.connection_id, each) for each in sale.listings), None)
                found.append(_Culprit(change, -change.free, own, other, theirs))
        return found

    def _winners(self) -> tuple[Winner, ...]:
        need = self.shortage.units * self._per_unit(self.shortage.sku_id)
        chosen = [each.change for each in self.culprits] or self.takers
        if self.shortage.taken:
            chosen = self._changes_behind()
        found: list[Winner] = []
        for change in chosen:
            if need <= 0 or len(found) >= 10:
                break
            taken = min(need, -change.free) if change.free < 0 else need
            need -= taken
            sale = self.sales.get(change.order_id) if change.order_id else None
            records = evidence.heard(self.connection, self.merchant_id, sale) if sale else []
            found.append(
                Winner(
                    "order" if sale else _happened(change),
                    change.order_id,
                    sale.number if sale else "",
                    sale.shop if sale else "",
                    taken,
                    sale.placed_at if sale else None,
                    records[0].at if records else None,
                    records[0].source if records else "",
                    change.at,
                    change.location,
                    change.number,
                )
            )
        return tuple(found)

    def _changes_behind(self) -> list[Change]:
        """What happened in the warehouse under the shortage's own reference."""
        causes = [each.value for each in Moved if each not in (Moved.ALLOCATED, Moved.RELEASED)]
        return evidence.changes_by(
            self.connection, self.merchant_id, self.shortage.sku_id, causes, [self.shortage.reference]
        )

    # ------------------------------------------------------------ what the shop showed

    def _shown(self, offer: Offer, at: datetime) -> Shown:
        last: dict[str, Told] = {}
        for each in self._entries(offer, at):
            last.setdefault(each.place, each)
        if not last:
            return self._shown_unwritten(offer, at)
        oldest = min(each.at for each in last.values())
        sold = 0
        for change in self.changes:
            sale = self._sold_at(offer, change)
            if sale is not None and not all(each.knows(change) for each in last.values()):
                sold += -change.free if oldest - _CUT <= sale.placed_at < at else 0
        written = sum(each.quantity for each in last.values())
        names = {
            location_id: name
            for location_id, (name, _) in evidence.locations_of(
                self.connection, self.merchant_id, self.shortage.sku_id
            ).items()
        }
        newest = max(last.values(), key=lambda each: each.at)
        numbers = [
            (names[location_id], number)
            for (sku_id, location_id), number in newest.numbers.items()
            if sku_id == self.shortage.sku_id and location_id in names
        ] or [
            (change.location, change.number)
            for change in _newest_per_location(change for change in self.changes if newest.knows(change))
        ]
        lines = listed([f"ledger line {number} of {name}" for name, number in numbers]) if numbers else ""
        less = f", less {units(sold)} it had sold since" if sold else ""
        sentence = (
            f"{offer.shop} showed {written - sold}: {written} written at {moment(newest.at)}"
            f"{f' from {lines}' if lines else ''}{less}."
        )
        return Shown(offer.shop, at, written - sold, newest.at, tuple(numbers), sentence)

    def _shown_unwritten(self, offer: Offer, at: datetime) -> Shown:
        """Where nothing was ever written the shop said the right figure by itself, as long as only it sold."""
        if not any(place.believed is not None for place in offer.places):
            nothing = f"The hub had not written any figure to this listing at {offer.shop} yet."
            return Shown(offer.shop, at, None, None, (), nothing)
        before = _newest_per_location(change for change in self.changes if change.at <= at)
        unknown = sum(-each.change.free for each in self.culprits if each.change.at <= at)
        quantity = sum(change.left for change in before) + unknown
        numbers = tuple((change.location, change.number) for change in before)
        sentence = (
            f"{offer.shop} showed {quantity} by the ledger: its figure had been right by itself, so that the hub never "
            "had to write it."
        )
        return Shown(offer.shop, at, quantity, None, numbers, sentence)

    def _sold_at(self, offer: Offer, change: Change) -> Sale | None:
        """The sale behind a change, if it was made at this very listing: then the shop itself knew of it."""
        sale = self.sales.get(change.order_id) if change.order_id else None
        here = sale and sale.connection_id == offer.connection_id and offer.external_id in sale.listings
        return sale if here else None

    # ------------------------------------------------------------ why

    def _reasons(self) -> list[Reason]:
        found = self._own_doing()
        if not found and (found := self._written_over()):
            self.culprits = []  # the shop sold its own sale once more: nobody else is to blame
        for culprit in self.culprits:
            found += self._between(culprit)
        found = found or self._at_the_shop()
        if not found:
            if len(self.changes) >= evidence.MOST_CHANGES:
                self.unknown.append(f"Only the last {len(self.changes)} ledger lines before the sale were looked at.")
            found.append(
                Reason(
                    Why.UNKNOWN,
                    "What is kept does not tell: nobody else took the units, and the shop was told in time.",
                    "Count this SKU.",
                    f"/stock/{self.shortage.sku_id}",
                )
            )
        return found

    def _own_doing(self) -> list[Reason]:
        """Causes that lie in how the order itself came to ask for units, or lost them."""
        short = self.shortage
        own = f"{self.sale.order_id}/"
        if not short.reference.startswith(own):
            return self._warehouse()
        revision = int(short.reference.removeprefix(own))
        if revision == 1:
            return []
        earlier = [f"{own}{number}" for number in range(max(1, revision - 50), revision)]
        before = evidence.changes_by(self.connection, self.merchant_id, short.sku_id, [Moved.ALLOCATED.value], earlier)
        asked = self._asked_before(earlier)
        happened = evidence.happened_to_order(self.connection, self.merchant_id, self.sale.order_id)
        expired = [row.at for row in happened if row.kind == "order_unpaid" and row.at < short.at]
        if expired:
            return [
                Reason(
                    Why.GIVEN_BACK,
                    f"The order was not paid in time: it gave its units back at {moment(expired[-1])}, others bought "
                    f"them, and it asked for them again at {moment(short.at)}.",
                    "Let unpaid orders hold their stock longer.",
                    "/settings",
                )
            ]
        if before or asked:
            return [
                Reason(
                    Why.ORDER_RAISED,
                    f"The order was changed at {self.sale.shop}, to {units(short.units)} more than there was: the hub "
                    f"heard of it at {moment(self._heard_effect())}.",
                    "Look at what is available before an order is changed to more units.",
                    f"/stock/{short.sku_id}",
                )
            ]
        if any(each.read_at == short.at for each in self.records):
            return [
                Reason(
                    Why.HELD_LATE,
                    f"The order was placed at {moment(self.sale.placed_at)} and held no stock at {self.sale.shop} "
                    f"until {moment(self._heard_effect())}: it was not paid, or not confirmed, before.",
                    "Have the shop reserve stock as soon as an order is placed, or keep a buffer there.",
                    f"/stock/{short.sku_id}",
                )
            ]
        return []

    def _heard_effect(self) -> datetime:
        return next((each.at for each in self.records if each.read_at == self.shortage.at), self.shortage.at)

    def _asked_before(self, references: Sequence[str]) -> bool:
        short = t.shortage.c
        return (
            self.connection.execute(
                select(short.id)
                .where(
                    short.merchant_id == self.merchant_id,
                    short.order_id == self.sale.order_id,
                    short.order_line_id == self.line.id,
                    short.reference.in_(list(references)),
                )
                .limit(1)
            ).first()
            is not None
        )

    def _warehouse(self) -> list[Reason]:
        changes = self._changes_behind()
        link = f"/stock/{self.shortage.sku_id}"
        if any(each.cause == Moved.ADOPTED for each in changes):
            change = next(each for each in changes if each.cause == Moved.ADOPTED)
            return [
                Reason(
                    Why.ADOPTED,
                    f"The opening stock of {units(change.on_hand)}, entered at {moment(change.at)}, was less than what "
                    "open orders wanted.",
                    "Count this SKU: the figure that was adopted may have been wrong.",
                    link,
                )
            ]
        if changes:
            return [self._lowered(changes[0])]
        self.unknown.append(f"What took the units has the reference “{self.shortage.reference}”; it is not kept.")
        return []

    def _lowered(self, change: Change) -> Reason:
        by = f" by {change.actor}" if change.actor else ""
        why = f" ({change.note})" if change.note else ""
        gone = units(max(-change.free, -change.on_hand))
        return Reason(
            Why.STOCK_LOWERED,
            f"{_happened(change).capitalize()} at {change.location} took away {gone} that "
            f"had been sold: ledger line {change.number}, {moment(change.at)}{by}{why}.",
            "Count more often, so that the figure is right before it is sold.",
            f"/stock/{self.shortage.sku_id}",
        )

    def _between(self, culprit: _Culprit) -> list[Reason]:
        """Why the shop that sold second did not know of what happened first."""
        first, second, offer = culprit.first, culprit.second, culprit.at_second
        if offer is None and second.sale is None:
            return [self._lowered(culprit.change)]  # after the sale
        until = second.happened_at
        heard, applied = min(first.heard_at, until), min(first.applied_at, until)
        legs: list[_Leg] = []
        if first.sale is not None:
            legs.append(_Leg(heard - first.happened_at, lambda: self._late_news(first)))
            legs.append(_Leg(applied - heard, lambda: self._read_late(first)))
        if until > applied:
            told_late = partial(self._told_late, first, second, offer, culprit.change, applied)
            legs.append(_Leg(until - applied, told_late))
        late = sorted((leg for leg in legs if leg.took > NORMAL), key=lambda leg: leg.took, reverse=True)
        if late:
            return [*(leg.reason() for leg in late), *self._kept_nothing(culprit)]
        if first.sale is None:
            return [self._lowered(culprit.change)]
        return self._at_once(culprit)

    def _late_news(self, first: _News) -> Reason:
        sale = first.sale
        if sale is None:
            raise AssertionError("only a sale is heard of")
        late = span(first.heard_at - first.happened_at)
        link = f"/connections/{sale.connection_id}"
        name = self._name(sale)
        at = f"placed at {moment(first.happened_at)}, heard of at {moment(first.heard_at)}"
        if first.heard_by == "webhook":
            return Reason(
                Why.LATE_WEBHOOK,
                f"The webhook of {name} came {late} late: {at}.",
                f"See whether {sale.shop} has trouble sending webhooks; keep a buffer where the same goods are sold.",
                link,
            )
        if evidence.sends_webhooks(self.connection, self.merchant_id, sale.connection_id):
            return Reason(
                Why.LOST_WEBHOOK,
                f"No webhook of {name} came; the hub found it {late} later by asking {sale.shop}: {at}.",
                f"See whether {sale.shop} has switched its webhook off; keep a buffer where the same goods are sold.",
                link,
            )
        return Reason(
            Why.RARE_POLLING,
            f"{sale.shop} sends no webhooks, and {name} was found {late} after it was placed: {at}.",
            "Give the hub a public address (TALLYHUB_PUBLIC_URL), so that shops can tell it of orders at once.",
            link,
        )

    def _read_late(self, first: _News) -> Reason:
        sale = first.sale
        if sale is None:
            raise AssertionError("only a sale is read")
        waited = span(first.applied_at - first.heard_at)
        name = self._name(sale)
        for external_id in sale.listings or [self.line.listing_external_id or ""]:
            offer = self._offer(sale.connection_id, external_id)
            if offer and offer.bound_at and first.heard_at < offer.bound_at <= first.applied_at + _CUT:
                return Reason(
                    Why.NOT_MATCHED,
                    f"The listing “{offer.title}” at {offer.shop} was matched to its SKU only at "
                    f"{moment(offer.bound_at)}: until then {name} held no stock.",
                    "Match listings before they sell.",
                    f"/connections/{offer.connection_id}/listings",
                )
        return Reason(
            Why.HUB_BEHIND,
            f"The news of {name} was here at {moment(first.heard_at)}, and was read {waited} later: no worker was "
            "running, or all were busy.",
            "See that workers are running, and enough of them (TALLYHUB_WORKERS).",
            "/activity",
        )

    def _told_late(
        self, first: _News, second: _News, offer: Offer | None, change: Change, known_at: datetime
    ) -> Reason:
        """The hub knew, and the shop did not."""
        until = second.happened_at
        if offer is None:
            return Reason(
                Why.NOT_PUBLISHED,
                "The hub does not know the listing that was sold, so it wrote no stock to it.",
                "Synchronize the connection, then match the listing.",
                f"/connections/{self.sale.connection_id}",
            )
        link = f"/connections/{offer.connection_id}"
        knew = f"The hub knew of {first.name} at {moment(known_at)}"
        if offer.sku_id is None or offer.bound_at is None or offer.bound_at > until:
            return Reason(
                Why.NOT_MATCHED,
                f"The listing “{offer.title}” at {offer.shop} was not matched to its SKU, so the hub wrote no stock to "
                "it.",
                "Match listings before they sell.",
                f"{link}/listings",
            )
        if offer.live_at is None or offer.live_at > until:
            return Reason(
                Why.NOT_LIVE,
                f"{knew}, but {offer.shop} was not live: nobody had allowed the hub to write stock to it.",
                "Set the connection live.",
                link,
            )
        after = [
            each
            for each in evidence.told_after(self.connection, self.merchant_id, offer.id, known_at)
            if each.knows(change)
        ]
        told = after[0] if after else None
        settled = max((place.published_at for place in offer.places if place.published_at), default=known_at)
        if told is not None:
            so_far, end = f"it told {offer.shop} {span(told.at - known_at)} later", told.at
        elif settled > until:
            so_far, end = f"{offer.shop} was seen to say the right figure only at {moment(settled)}", settled
        else:
            so_far, end = f"it has not told {offer.shop} yet", until
        troubles = evidence.troubles(self.connection, self.merchant_id, [offer], known_at, end)[offer.id]
        worst = max(troubles, key=lambda each: each.overlap(known_at, until), default=None)
        if worst is not None and worst.overlap(known_at, until) * 3 >= until - known_at:
            why, text, prevention = _TROUBLES[worst.kind]
            details = f" {worst.text.rstrip('.')}." if worst.text else ""
            since = f" since {moment(worst.since)}" if worst.since else ""
            ends = f" until {moment(worst.until)}" if worst.until else ""
            how_long = f" ({(since + ends).strip()})" if since or ends else ""
            return Reason(
                why,
                f"{knew}, and {so_far}: {text.format(shop=offer.shop)}{how_long}.{details}",
                prevention.format(shop=offer.shop),
                f"/stock/{self.shortage.sku_id}" if why is Why.REFUSED else link,
            )
        if not offer.places:
            return Reason(
                Why.NOT_PUBLISHED,
                f"{knew}, but writes no stock to “{offer.title}” at {offer.shop}: the shop does not track it, or none "
                "of its locations stands for one of yours.",
                "Have the shop track stock of it, and choose a location for it.",
                link,
            )
        if told is not None and (told.at - told.read_at) * 2 >= told.at - known_at:
            return Reason(
                Why.SLOW_SHOP,
                f"{knew}, and {so_far}: {offer.shop} took {span(told.at - told.read_at)} to take the figure.",
                f"Keep a buffer at {offer.shop}.",
                self._rules(offer),
            )
        pending = [place.error for place in offer.places if place.error and told is None]
        details = f" The last try ended with: {pending[0].rstrip('.')}." if pending else ""
        if told is None and settled > until:
            self.unknown.append(f"What the hub tried meanwhile at {offer.shop} is not kept: it had nothing to write.")
        return Reason(
            Why.QUEUED,
            f"{knew}, and {so_far}. Nothing stood in the way: no worker was running, or all were busy.{details}",
            "See that workers are running, and enough of them (TALLYHUB_WORKERS).",
            link,
        )

    def _kept_nothing(self, culprit: _Culprit) -> list[Reason]:
        """What added to it: the shop that sold second showed the unit, and kept too little back."""
        offer = culprit.at_second
        if offer is None:
            return []
        shown = self._shown(offer, culprit.second.happened_at)
        if shown.quantity is None:
            return []
        sentence = f"{offer.shop} showed {shown.quantity} when it sold, and kept {self._kept_back(offer)} back."
        return [Reason(Why.NO_BUFFER, sentence, self._buffer(culprit, offer), self._rules(offer))]

    def _at_once(self, culprit: _Culprit) -> list[Reason]:
        """Nothing took longer than it must: the two were sold too soon after one another."""
        first, second, offer = culprit.first, culprit.second, culprit.at_second
        if offer is None:
            return []
        apart = span(second.happened_at - first.happened_at)
        earlier = first.name[0].upper() + first.name[1:]
        names = f"{earlier}, placed at {moment(first.happened_at)}, and {second.name}, placed {apart} later"
        remedy = (self._buffer(culprit, offer), self._rules(offer))
        other = "" if second.sale is None else self._sold_as(culprit)
        if other:
            sentence = (
                f"{names}, sold the same goods: {other}. No shop knows that they share them, and the hub's figure "
                "cannot be there that fast."
            )
            return [Reason(Why.SHARED_PART, sentence, *remedy)]
        sentence = (
            f"{names}, bought the same unit: no news travels that fast, and {offer.shop} kept {self._kept_back(offer)} "
            "back."
        )
        return [Reason(Why.NO_BUFFER, sentence, *remedy)]

    def _buffer(self, culprit: _Culprit, offer: Offer) -> str:
        """Which buffer would have prevented it: so many that what the second one wanted was not shown any more."""
        shown, second = self._shown(offer, culprit.second.happened_at).quantity, culprit.second.sale
        wanted = self.line.quantity
        if second is not None and second.order_id != self.sale.order_id:
            wanted = sum(second.listings.values())
        more = culprit.units if shown is None else max(1, shown - wanted + 1)
        return f"A buffer of {units(more)} at {offer.shop} would have prevented it."

    def _sold_as(self, culprit: _Culprit) -> str:
        """How the two sold the same goods under different SKUs, "" where they did not."""
        other = culprit.first.sale if culprit.second.sale is self.sale else culprit.second.sale
        if other is None:
            return ""
        offers = [self._offer(other.connection_id, each) for each in other.listings]
        theirs = next((each for each in offers if each is not None and each.sku_id is not None), None)
        if theirs is None or theirs.sku_id is None or theirs.sku_id == self.line.sku_id:
            return ""
        part = self._code(self.shortage.sku_id)
        return f"{self._code(theirs.sku_id)} and {self.line.code} both take {part}"

    def _rules(self, offer: Offer) -> str:
        """The page of the selling rule of the SKU at this shop."""
        return f"/stock/rules?connection={offer.connection_id}&sku={offer.sku_id or self.shortage.sku_id}"

    def _kept_back(self, offer: Offer) -> str:
        if offer.sku_id is None:
            return "nothing"
        here = (offer.connection_id, offer.sku_id, offer.id)
        rule = selling.rules(self.connection, self.merchant_id, [here]).of(*here)
        said = [f"{rule.buffer_percent} %" if rule.buffer_percent else "", str(rule.buffer_units or "")]
        return " and ".join(text for text in said if text) or "nothing"

    def _name(self, sale: Sale) -> str:
        return "this order" if sale.order_id == self.sale.order_id else f"order {sale.number} ({sale.shop})"

    # ------------------------------------------------------------ nobody else took it

    def _at_the_shop(self) -> list[Reason]:
        """The shop sold more than it had been told: by somebody's hand, or by its settings."""
        offer, own = self.offer, self.own
        if offer is None:
            return []
        shown = self._shown(offer, own.happened_at)
        later = evidence.told_after(self.connection, self.merchant_id, offer.id, own.happened_at)
        repair = next((each for each in later if each.is_repair and each.before is not None), None)
        expected = (shown.quantity or 0) - self.line.quantity
        if repair is not None and repair.before is not None and repair.before > expected and repair.before >= 0:
            return [
                Reason(
                    Why.CHANGED_AT_SHOP,
                    f"Somebody changed the figure at {offer.shop}: the hub had left {shown.quantity}, and at "
                    f"{moment(repair.at)} it found {repair.before}, which no order explains. The hub wrote "
                    f"{repair.quantity} over it.",
                    "Correct stock in the hub, not in the shop.",
                    f"/stock/{self.shortage.sku_id}",
                )
            ]
        if shown.quantity is not None and shown.quantity < self.line.quantity:
            below = next((each.before for each in later if each.before is not None and each.before < 0), None)
            if below is None:
                self.unknown.append(
                    f"What {offer.shop} showed afterwards was not kept. Somebody may also have changed its figure by "
                    "hand before the sale."
                )
            read = f" Afterwards it showed {below}." if below is not None else ""
            return [
                Reason(
                    Why.SOLD_BEYOND_ZERO,
                    f"{offer.shop} sold {units(self.line.quantity)} while it showed {shown.quantity}: it lets "
                    f"customers buy what is out of stock.{read}",
                    f"In {offer.shop}, do not let this product be sold when it is out of stock; or allow backorders "
                    "for it in the hub.",
                    f"/connections/{offer.connection_id}",
                )
            ]
        return []

    def _written_over(self) -> list[Reason]:
        """A shop that cannot compare sold between the hub's reading and its writing, and sold that unit once more."""
        offer = self.offer
        if offer is None:
            return []
        made: list[tuple[datetime, str, Change | None]] = [(self.own.happened_at, "this order", None)]
        for change in self.takers:
            if sale := self._sold_at(offer, change):
                made.append((self._by_our_clock(sale), f"order {sale.number}", change))
        made.sort(key=lambda each: each[0])
        last = made[-1][0]
        entry = next(iter(self._entries(offer, last + _CUT)), None)
        if entry is None or entry.before is None or entry.quantity <= 0 or not entry.note.startswith("Read "):
            return []
        for placed, name, its_change in made[:-1]:
            # The shop cuts the time of its order to the second.
            in_between = entry.read_at - _CUT <= placed <= entry.at
            heard_later = its_change is None or (not entry.knows(its_change) and its_change.at > last)
            if in_between and heard_later:
                sentence = (
                    f"{offer.shop} cannot compare before it writes: the hub read {entry.before}, {name} was placed, "
                    f"and at {moment(entry.at)} the hub wrote {entry.quantity} over it, one sale too many."
                )
                return [Reason(Why.WRITE_WINDOW, sentence, f"Keep a buffer at {offer.shop}.", self._rules(offer))]
        return []

    def _clocks(self) -> list[Reason]:
        shop = t.connection.c
        return [
            Reason(
                Why.CLOCKS,
                f"The clock of {label} is ahead of the hub's by {span(ahead)} or more; the times above are corrected.",
                "Set the shop's clock right.",
                f"/connections/{connection_id}",
            )
            for connection_id, ahead in sorted(self.ahead.items())
            if ahead > _CLOCKS_AGREE
            for label in self.connection.execute(
                select(shop.label).where(shop.merchant_id == self.merchant_id, shop.id == connection_id)
            ).scalars()
        ]


_TROUBLES = {
    "paused": (
        Why.PAUSED,
        "the connection was paused",
        "Resume connections as soon as possible: a paused shop goes on selling.",
    ),
    "credentials": (
        Why.CREDENTIALS,
        "{shop} refused the credentials",
        "Reconnect {shop} as soon as the issue comes up.",
    ),
    "unavailable": (Why.UNAVAILABLE, "{shop} did not answer", "Keep a buffer at {shop} if this happens often."),
    "slowed": (
        Why.RATE_LIMITED,
        "{shop} had asked to slow down",
        "Keep a buffer at {shop}, or have it allow more calls.",
    ),
    "refused": (
        Why.REFUSED,
        "{shop} refused the figure",
        "Correct the listing in {shop}, then synchronize the connection.",
    ),
}

_HAPPENED = {
    Moved.ADJUSTED: "a correction",
    Moved.COUNTED: "a count",
    Moved.SENT: "a transfer to another location",
    Moved.LOST: "a loss on the way",
    Moved.SET_ASIDE: "setting units aside",
    Moved.WRITTEN_OFF: "a write-off",
    Moved.SHIPPED: "a shipment",
    Moved.ALLOCATED: "an order",
}


def _happened(change: Change) -> str:
    return _HAPPENED.get(Moved(change.cause), change.cause.replace("_", " "))


def _known(change: Change, entries: Sequence[Told]) -> bool:
    """Whether the newest of these figures, at any place of the listing, has the change in it."""
    last: dict[str, Told] = {}
    for each in entries:
        last.setdefault(each.place, each)
    return any(each.knows(change) for each in last.values())


def _newest_per_location(changes: Iterable[Change]) -> list[Change]:
    found: dict[UUID, Change] = {}
    for change in changes:
        found.setdefault(change.location_id, change)
    return list(found.values())


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """One reason of each kind, in their order."""
    found: dict[Why, Reason] = {}
    for each in reasons:
        found.setdefault(each.why, each)
    return tuple(found.values())


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
