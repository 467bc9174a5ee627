"""What people have a channel do with a whole order: cancel it, or give money back.

Both are effects, planned once however often their form is sent, and carried out after whatever the channel was asked
before about the same order. What may not be is refused twice: when it is planned, and when it is claimed. Until
a cancellation has come to an end the order is on hold, so that nothing of it leaves meanwhile; what was begun of it is
withdrawn in the commit that hears the channel say that it is cancelled (``withdrawals``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, Row, select

from hub import access
from hub.access import Permission
from hub.connector import Connector
from hub.core.model import Money, OrderStatus
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import CancelReason, OrderCancellation, RefundedLine, RefundRequest
from hub.errors import BadInput, Conflict
from hub.store import channel_work, holds
from hub.store import tables as t
from hub.store.channel_work import Asked
from hub.store.database import Database

KINDS = ("cancel_order", "refund")

# On its way to the channel, or perhaps there already.
_UNDER_WAY = ("planned", "in_flight", "unknown")


# ---------------------------------------------------------------- what can be given back


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundableLine:
    """A line of which ``left`` units were not given back yet. ``gross`` is what all its units cost, with tax."""

    external_id: str
    title: str
    sku: str
    quantity: int
    left: int
    gross: Money

    def amount(self, units: int) -> Money:
        """What so many units cost, to the cent: all of them together cost what the line does."""
        back = self.quantity - self.left
        before, after = (
            Money(self.gross.amount * some / self.quantity, self.gross.currency).minor for some in (back, back + units)
        )
        return Money.from_minor(after - before, self.gross.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refundable:
    """What is left of an order to be given back, without what is on its way. ``barred``: why nothing can be, or ""."""

    currency: str
    left: Money
    shipping: Money
    lines: tuple[RefundableLine, ...]
    barred: str


def refundable(connection: Connection, merchant_id: UUID, order_id: UUID, *, beside: UUID | None = None) -> Refundable:
    """What can be given back of an order now; the effect ``beside`` is not counted as on its way."""
    here = t.sales_order.c
    order = connection.execute(
        select(t.sales_order).where(here.merchant_id == merchant_id, here.id == order_id)
    ).one_or_none()
    if order is None:
        raise Conflict("This order does not exist here.")
    currency = order.currency or "XXX"
    back, shipping, units = _given_back(connection, merchant_id, order, beside)
    line = t.order_line.c
    lines = []
    for row in connection.execute(
        select(t.order_line, t.sku.c.code)
        .outerjoin(t.sku, (t.sku.c.merchant_id == line.merchant_id) & (t.sku.c.id == line.sku_id))
        .where(line.merchant_id == merchant_id, line.order_id == order_id, line.quantity > 0)
        .order_by(line.position, line.id)
    ):
        gross = row.total_minor + (0 if order.taxes_included else row.tax_minor)
        lines.append(
            RefundableLine(
                external_id=row.external_id,
                title=row.title,
                sku=row.code or row.sku_text,
                quantity=row.quantity,
                left=max(0, row.quantity - max(row.removed, units[row.external_id])),
                gross=Money.from_minor(gross, currency),
            )
        )
    left = order.total_minor - back
    return Refundable(
        currency=currency,
        left=Money.from_minor(max(0, left), currency),
        shipping=Money.from_minor(max(0, min(order.shipping_minor - shipping, left)), currency),
        lines=tuple(lines),
        barred=_why_not(connection, merchant_id, order, left),
    )


def _why_not(connection: Connection, merchant_id: UUID, order: Row[Any], left: int) -> str:
    if order.status == OrderStatus.REMOVED:
        return "The channel has deleted this order."
    if not order.paid or order.status == OrderStatus.PENDING:
        return "Nobody has paid for this order yet, so there is nothing to give back."
    if order.presentment_currency:
        return f"The customer paid in {order.presentment_currency}. Give it back at the channel, in that currency."
    if is_being_cancelled(connection, merchant_id, order.id):
        return "The channel is asked to cancel this order. Wait for what comes of it."
    return "" if left > 0 else "All that was paid is given back, or on its way back."


def _given_back(
    connection: Connection, merchant_id: UUID, order: Row[Any], beside: UUID | None
) -> tuple[int, int, Counter[str]]:
    """What was given back, and what is on its way: of the total, of the shipping (as far as we did it), and units by
    line."""
    this = t.refund.c
    told = connection.execute(select(t.refund).where(this.merchant_id == merchant_id, this.order_id == order.id)).all()
    total, shipping, units = sum(row.amount_minor for row in told), 0, Counter[str]()
    for row in told:
        for each in row.lines:
            units[each["line_external_id"]] += each["quantity"]
    known, reasons = {row.external_id for row in told}, [row.reason for row in told]
    effect = t.effect.c
    for row in connection.execute(
        select(effect.id, effect.request, effect.state, effect.reference).where(
            effect.merchant_id == merchant_id,
            effect.order_id == order.id,
            effect.kind == "refund",
            effect.state.in_((*_UNDER_WAY, "succeeded")),
        )
    ):
        if row.id == beside or "reference" not in row.request:  # of an erased customer's order nothing is known
            continue
        asked = from_plain(RefundRequest, row.request)
        if asked.shipping is not None:
            shipping += asked.shipping.minor
        # Where a person said that it was done, the channel's id of it may be missing: our reference is in its reason.
        if (row.state == "succeeded" and row.reference in known) or any(asked.reference in each for each in reasons):
            continue  # the channel has told of it itself
        total += asked.amount.minor
        for line in asked.lines:
            units[line.line_external_id] += line.quantity
    return total, shipping, units


def is_being_cancelled(connection: Connection, merchant_id: UUID, order_id: UUID) -> bool:
    """Whether the channel is asked to cancel this order, and what comes of it is not known yet."""
    effect = t.effect.c
    asked = select(effect.id).where(
        effect.merchant_id == merchant_id,
        effect.order_id == order_id,
        effect.kind == "cancel_order",
        effect.state.in_(_UNDER_WAY),
    )
    return connection.execute(asked.limit(1)).first() is not None


# ---------------------------------------------------------------- giving money back


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundWish:
    """What a person wants to give back: for units of lines, for the shipping, for nothing in particular."""

    units: Mapping[str, int] = field(default_factory=dict)
    amounts: Mapping[str, Money] = field(default_factory=dict)  # a line's own price where it is not named
    shipping: Money | None = None
    goodwill: Money | None = None
    restock: bool = False
    notify: bool = False
    note: str = ""


def priced(order: Refundable, wish: RefundWish) -> tuple[tuple[RefundedLine, ...], Money]:
    """The lines of a wish with their amounts, and the sum of all of it. Raises BadInput for what cannot be."""
    lines = []
    for each in order.lines:
        if units := wish.units.get(each.external_id, 0):
            if units > each.left:
                raise BadInput(
                    f"Of “{each.title}” at most {each.left} can be given back.",
                    {each.external_id: ["Enter fewer units."]},
                )
            amount = wish.amounts.get(each.external_id, each.amount(units))
            if amount.amount > each.gross.amount:
                raise BadInput(
                    f"“{each.title}” cost {each.gross}. Give back what goes beyond it as goodwill.",
                    {each.external_id: ["Enter a smaller amount."]},
                )
            lines.append(RefundedLine(line_external_id=each.external_id, quantity=units, amount=amount))
    if set(wish.units) - {each.external_id for each in order.lines}:
        raise BadInput("The order has changed meanwhile. Look at it again.")
    if wish.shipping is not None and wish.shipping.amount > order.shipping.amount:
        raise BadInput(f"At most {order.shipping} of the shipping can be given back.", {"shipping": ["Enter less."]})
    given = [each.amount for each in lines] + [each for each in (wish.shipping, wish.goodwill) if each is not None]
    total = sum(given, Money(Decimal(0), order.currency))
    if total.amount > order.left.amount:
        raise BadInput(f"At most {order.left} can be given back of this order, not {total}.", {"sum": ["Give less."]})
    return tuple(lines), total


@access.needs(Permission.MONEY)
def refund(
    database: Database,
    merchant_id: UUID,
    order_id: UUID,
    wish: RefundWish,
    *,
    once: UUID,
    actor: str,
) -> UUID:
    """Have the channel give money back; ``once`` is of the form, the same however often it is sent. Returns the id of
    the effect. Raises BadInput for what cannot be, Conflict where nothing can be given back."""

    def work(connection: Connection) -> UUID:
        def asked(order: Row[Any]) -> Asked:
            now = refundable(connection, merchant_id, order_id)
            if now.barred:
                raise Conflict(now.barred)
            lines, total = priced(now, wish)
            if not total.amount:
                raise BadInput("Choose what is given back.", {"sum": ["Choose what is given back."]})
            request = RefundRequest(
                reference=uuid5(once, "refund").hex,
                order_external_id=order.external_id,
                lines=lines,
                shipping=wish.shipping,
                goodwill=wish.goodwill,
                restock=wish.restock,
                notify=wish.notify,
                note=wish.note,
            )
            told = f"{total} to be given back{f': {wish.note}' if wish.note else ''}"
            return Asked(to_plain(request), "refund_asked", told)

        at, business_id = database.now(connection), f"{order_id}/{once}"
        return channel_work.ask(connection, merchant_id, order_id, "refund", business_id, asked, at=at, actor=actor)

    return database.transact(work)


def may_be_refunded(connection: Connection, effect: Row[Any], at: datetime) -> None:
    """The gate of a refund: what is left may have become less since it was asked for."""
    if effect.order_id is None or "reference" not in effect.request:
        return
    asked = from_plain(RefundRequest, effect.request)
    now = refundable(connection, effect.merchant_id, effect.order_id, beside=effect.id)
    left = {each.external_id: each.left for each in now.lines}
    if now.barred:
        raise Conflict(now.barred)
    if asked.amount.amount > now.left.amount:
        raise Conflict(f"Only {now.left} are left to be given back of this order, not {asked.amount}.")
    if any(each.quantity > left.get(each.line_external_id, 0) for each in asked.lines):
        raise Conflict("Some of these units were given back meanwhile. Look at the order, and choose anew.")


# ---------------------------------------------------------------- cancelling


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWish:
    """Why an order is cancelled, and what comes of its money and goods, as far as the channel leaves a choice."""

    reason: CancelReason
    refund: bool = False
    restock: bool = False
    notify: bool = False
    note: str = ""


def cancellable(connection: Connection, merchant_id: UUID, order_id: UUID) -> str:
    """Why an order cannot be cancelled, "" if it can."""
    here, line = t.sales_order.c, t.order_line.c
    order = connection.execute(
        select(here.status, here.shipped_by_channel).where(here.merchant_id == merchant_id, here.id == order_id)
    ).one_or_none()
    if order is None:
        return "This order does not exist here."
    if order.status not in (OrderStatus.OPEN, OrderStatus.PENDING):
        return f"This order is {order.status} already."
    if order.shipped_by_channel:
        return "The channel ships this order itself. Cancel it there."
    gone = connection.execute(
        select(line.id).where(line.merchant_id == merchant_id, line.order_id == order_id, t.GONE > 0).limit(1)
    ).first()
    if gone is not None:
        return "A part of this order has left. Give back the money of the rest instead: it then leaves the order."
    return ""


@access.needs(Permission.MONEY)
def cancel_order(
    database: Database,
    merchant_id: UUID,
    order_id: UUID,
    wish: CancelWish,
    *,
    once: UUID,
    actor: str,
) -> UUID:
    """Have the channel cancel an order, and hold it until it has; ``once`` is of the form. Returns the effect's id.
    Raises Conflict where it cannot be cancelled, or is on its way to be."""

    def work(connection: Connection) -> UUID:
        at = database.now(connection)

        def asked(order: Row[Any]) -> Asked:
            if why := cancellable(connection, merchant_id, order_id):
                raise Conflict(why)
            if is_being_cancelled(connection, merchant_id, order_id):
                raise Conflict("The channel is asked to cancel this order already. Wait for what comes of it.")
            holds.while_cancelling(connection, merchant_id, order_id, at=at, actor=actor)
            request = OrderCancellation(
                reference=uuid5(once, "cancel").hex,
                order_external_id=order.external_id,
                reason=wish.reason,
                refund=wish.refund,
                restock=wish.restock,
                notify=wish.notify,
                note=wish.note,
            )
            return Asked(to_plain(request), "cancellation_asked", f"To be cancelled: {wish.note or wish.reason.value}")

        business_id = f"{order_id}/{once}"
        return channel_work.ask(
            connection, merchant_id, order_id, "cancel_order", business_id, asked, at=at, actor=actor
        )

    return database.transact(work)


def may_be_cancelled(connection: Connection, effect: Row[Any], at: datetime) -> None:
    """The gate of a cancellation: something may have left since it was asked for."""
    if effect.order_id is not None and (why := cancellable(connection, effect.merchant_id, effect.order_id)):
        raise Conflict(why)


def check_connector(connector: type[Connector], kind: str) -> None:
    """Raise Conflict where a shop cannot be told at all. Nobody has to ask: the effect is refused then, too."""
    if kind not in connector.effects:
        what = "cancel an order" if kind == "cancel_order" else "give money back"
        raise Conflict(f"{connector.label} cannot be told to {what} from here. Do it there: the hub hears of it.")
