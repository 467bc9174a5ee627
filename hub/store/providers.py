"""Fulfillment orders that a 3PL ships: asking it, hearing how far it is, what has left, and asking it not to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from hub.connector import EffectResult
from hub.core.model import Address, Money
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import (
    Cancellation,
    CancelState,
    FulfillmentLine,
    FulfillmentOrder,
    Progress,
    ProviderState,
    Submission,
)
from hub.errors import Conflict
from hub.store import activity, effects, fulfillment, stock
from hub.store import tables as t
from hub.store.fulfillment import ELSEWHERE, State

REJECTED = "rejected_by_3pl"  # the kind of issue; the subject is the fulfillment order's id
ON_HOLD = "held_by_3pl"  # likewise
NOT_CANCELLED = "not_cancelled_by_3pl"  # likewise
STANDARD = "standard"  # the way to ship it where nobody wished for another

_STATES: Mapping[ProviderState, State] = {
    ProviderState.SUBMITTED: State.REQUESTED,
    ProviderState.ACCEPTED: State.ACCEPTED,
    ProviderState.IN_PROGRESS: State.IN_PROGRESS,
    ProviderState.ON_HOLD: State.IN_PROGRESS,
    ProviderState.PARTIALLY_SHIPPED: State.IN_PROGRESS,
    ProviderState.REJECTED: State.REJECTED,
    ProviderState.CANCELLED: State.CANCELLED,
}


# ---------------------------------------------------------------- asking


def of_location(connection: Connection, merchant_id: UUID, location_id: UUID) -> Any:
    """The 3PL's connection that ships from a location of ours, and what the 3PL calls the place; None: we do."""
    place, account, ours = t.channel_location.c, t.connection.c, t.location.c
    return connection.execute(
        select(place.connection_id, place.external_id)
        .select_from(
            t.channel_location.join(
                t.location, (ours.merchant_id == place.merchant_id) & (ours.id == place.location_id)
            ).join(t.connection, (account.merchant_id == place.merchant_id) & (account.id == place.connection_id))
        )
        .where(
            place.merchant_id == merchant_id,
            place.location_id == location_id,
            place.active,
            ours.kind == "3pl",
            account.state != "removed",
        )
        .order_by(place.connection_id)
        .limit(1)
    ).one_or_none()


def request(
    connection: Connection, merchant_id: UUID, fulfillment_order_id: UUID, *, at: datetime, actor: str = ""
) -> UUID:
    """Plan to ask the 3PL to ship it; returns the 3PL's connection, to be rung for effects.

    Raises Conflict when it must not be shipped now, or no 3PL ships from its location.
    """
    row = fulfillment.gate(connection, merchant_id, fulfillment_order_id)
    if row.state != State.OPEN:
        raise Conflict(f"{row.reference} is {row.state} already: it is asked for once only.")
    account = of_location(connection, merchant_id, row.location_id)
    if account is None:
        raise Conflict("No 3PL is connected for this location. Connect it, or choose another location.")
    asked = to_ship(connection, row, account.external_id)
    effects.plan(
        connection,
        merchant_id,
        account.connection_id,
        "submit",
        row.reference,
        to_plain(asked),
        now=at,
        ordering_key=f"{account.connection_id}/{row.reference}",
        order_id=row.order_id,
    )
    fulfillment.change(connection, row, State.REQUESTED, at=at, connection_id=account.connection_id, message="")
    fulfillment.note(connection, row, "requested_from_3pl", f"{row.reference} goes to the 3PL", at=at, actor=actor)
    return account.connection_id  # type: ignore[no-any-return]


def to_ship(connection: Connection, row: Row[Any], location_external_id: str) -> FulfillmentOrder:
    """A fulfillment order as the 3PL gets to see it: a kit as its parts, since that is what lies on the 3PL's shelves.

    The reference of a line is its place in the order, of a part of a kit that and the part's: "2", "3.1".
    """
    order = t.sales_order.c
    about = connection.execute(
        select(t.sales_order).where(order.merchant_id == row.merchant_id, order.id == row.order_id)
    ).one()
    return FulfillmentOrder(
        reference=row.reference,
        number=about.number,
        placed_at=about.placed_at or about.received_at,
        lines=tuple(each for _, _, each in _lines(connection, row, about.currency)),
        destination=from_plain(Address, about.shipping_address),
        service=row.service or STANDARD,
        email=about.email,
        ship_by=row.ship_by,
        location_external_id=location_external_id,
        note=about.note,
    )


def _lines(connection: Connection, row: Row[Any], currency: str) -> Iterable[tuple[UUID, int, FulfillmentLine]]:
    """The lines of a fulfillment order as a 3PL knows them, each with the order line, and how many of it are in one."""
    line, asked, sku = t.order_line.c, t.fulfillment_line.c, t.sku.c
    rows = connection.execute(
        select(line.id, line.position, line.sku_id, line.title, line.unit_price, asked.quantity)
        .select_from(
            t.fulfillment_line.join(
                t.order_line, (line.merchant_id == asked.merchant_id) & (line.id == asked.order_line_id)
            )
        )
        .where(asked.merchant_id == row.merchant_id, asked.fulfillment_order_id == row.id)
        .order_by(line.position, line.id)
    ).all()
    kits = stock.kit_parts(connection, row.merchant_id, [each.id for each in rows])
    wanted = {each.sku_id for each in rows} | {sku_id for parts in kits.values() for sku_id in parts}
    codes = {
        each.id: each
        for each in connection.execute(
            select(sku.id, sku.code, sku.title).where(sku.merchant_id == row.merchant_id, sku.id.in_(wanted))
        )
    }
    for each in rows:
        parts = kits.get(each.id)
        if parts is None:
            price = Money.of(each.unit_price, currency) if currency else None
            value = FulfillmentLine(
                reference=str(each.position + 1),
                sku=codes[each.sku_id].code,
                quantity=each.quantity,
                title=each.title,
                unit_price=price,
            )
            yield each.id, 1, value
            continue
        for number, (sku_id, per_unit) in enumerate(parts.items(), start=1):
            value = FulfillmentLine(
                reference=f"{each.position + 1}.{number}",
                sku=codes[sku_id].code,
                quantity=each.quantity * per_unit,
                title=codes[sku_id].title,
            )
            yield each.id, per_unit, value


# ---------------------------------------------------------------- what it answers


def submitted(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> list[tuple[UUID, str]]:
    """The 3PL has the order. Where it must not be shipped any more by now, it is asked not to."""
    row = _of_reference(connection, effect.merchant_id, effect.request["reference"])
    answer = (
        from_plain(Submission, result.details)
        if result.details
        else Submission(reference=row.reference, external_id=result.reference)
    )
    state = _STATES.get(answer.state, State.ACCEPTED)
    if row.state == State.CANCELLING:  # cancelled while it was being sent
        return _ask_to_cancel(connection, row, replace(answer, external_id=answer.external_id), at)
    fulfillment.change(
        connection,
        row,
        State(row.state) if row.state not in (State.REQUESTED, State.OPEN) else state,
        at=at,
        external_id=answer.external_id[:200],
        handles=dict(answer.handles),
        message=answer.message[:500],
    )
    if state is State.REJECTED:
        return _rejected(connection, row, answer.message, at)
    return []


def refused(connection: Connection, effect: Row[Any], error: str, at: datetime) -> list[tuple[UUID, str]]:
    """The 3PL said no at once: the order is dealt out anew, without it."""
    row = _of_reference(connection, effect.merchant_id, effect.request["reference"])
    if row.state not in (State.REQUESTED, State.CANCELLING):
        return []
    ended = State.CANCELLED if row.state == State.CANCELLING else State.REJECTED
    fulfillment.change(connection, row, ended, at=at, message=error[:500])
    return _rejected(connection, row, error, at) if ended is State.REJECTED else []


def _rejected(connection: Connection, row: Row[Any], why: str, at: datetime) -> list[tuple[UUID, str]]:
    fulfillment.note(connection, row, "rejected_by_3pl", f"The 3PL does not ship {row.reference}: {why}", at=at)
    activity.raise_issue(
        connection,
        row.merchant_id,
        REJECTED,
        str(row.id),
        f"The 3PL does not ship {row.reference}: {why}",
        "The hub looks for another location. If there is none, put the cause right and send it again from the order.",
        at=at,
        order_id=row.order_id,
        link=f"/orders/{row.order_id}",
    )
    return fulfillment.deal_out_again(connection, row.merchant_id, row.order_id, at=at)


def progress(connection: Connection, merchant_id: UUID, told: Progress, *, at: datetime) -> list[tuple[UUID, str]]:
    """How far the 3PL is with an order; what is older than what is known, or about none of ours, is passed over."""
    row = _find(connection, merchant_id, told.reference)
    if row is None or row.state not in ELSEWHERE or (row.told_at is not None and told.version < row.told_at):
        return []
    state = _STATES.get(told.state, State(row.state))
    if row.state == State.CANCELLING and state not in (State.CANCELLED, State.REJECTED):
        state = State.CANCELLING
    fulfillment.change(
        connection,
        row,
        state,
        at=at,
        told_at=told.version,
        message=told.message[:500],
        external_id=told.external_id[:200] or row.external_id,
    )
    if told.state is ProviderState.ON_HOLD:
        activity.raise_issue(
            connection,
            merchant_id,
            ON_HOLD,
            str(row.id),
            f"The 3PL holds {row.reference}: {told.message or told.provider_state}",
            "Put right there what it asks for.",
            at=at,
            order_id=row.order_id,
            link=f"/orders/{row.order_id}",
        )
    else:
        activity.resolve_issue(connection, merchant_id, ON_HOLD, str(row.id), at=at)
    if state is State.REJECTED:
        return _rejected(connection, row, told.message or told.provider_state, at)
    if state is State.CANCELLED and row.state != State.CANCELLING:
        # Cancelled there by somebody: the goods are to be shipped all the same, until the channel says otherwise.
        return _rejected(connection, row, told.message or "it was cancelled at the 3PL", at)
    return []


# ---------------------------------------------------------------- asking it not to


def withdraw(connection: Connection, row: Row[Any], why: str, *, at: datetime) -> list[tuple[UUID, str]]:
    """Ask the 3PL not to ship a locked fulfillment order; returns the lanes to ring for."""
    if row.state == State.CANCELLING:
        return []
    if row.state == State.REQUESTED and effects.withdraw(
        connection, row.merchant_id, f"{row.connection_id}/{row.reference}", "submit", at=at
    ):
        fulfillment.change(connection, row, State.CANCELLED, at=at, message=why[:500])
        return []
    fulfillment.change(connection, row, State.CANCELLING, at=at, message=why[:500])
    if row.state == State.REQUESTED and not row.external_id:
        return []  # it is being sent at this moment: the answer brings what to cancel it by
    answer = Submission(reference=row.reference, external_id=row.external_id, handles=dict(row.handles))
    return _ask_to_cancel(connection, row, answer, at)


def _ask_to_cancel(
    connection: Connection, row: Row[Any], submission: Submission, at: datetime
) -> list[tuple[UUID, str]]:
    effects.plan(
        connection,
        row.merchant_id,
        row.connection_id,
        "cancel",
        row.reference,
        to_plain(submission),
        now=at,
        ordering_key=f"{row.connection_id}/{row.reference}",
        order_id=row.order_id,
    )
    fulfillment.change(
        connection,
        row,
        State.CANCELLING,
        at=at,
        external_id=submission.external_id[:200],
        handles=dict(submission.handles),
    )
    return [(row.connection_id, "effects")]


def cancel_answered(
    connection: Connection, merchant_id: UUID, answer: Cancellation, *, at: datetime
) -> list[tuple[UUID, str]]:
    """What the 3PL says to not shipping it, at once or later."""
    row = _find(connection, merchant_id, answer.reference)
    if row is None or row.state != State.CANCELLING:
        return []
    if answer.state in (CancelState.CANCELLED, CancelState.PARTLY):
        fulfillment.change(connection, row, State.CANCELLED, at=at, message=answer.message[:500])
        fulfillment.note(connection, row, "cancelled_at_3pl", f"The 3PL does not ship {row.reference}", at=at)
        return fulfillment.deal_out_again(connection, merchant_id, row.order_id, at=at)
    if answer.state is CancelState.REFUSED:
        fulfillment.change(connection, row, State.IN_PROGRESS, at=at, message=answer.message[:500])
        activity.raise_issue(
            connection,
            merchant_id,
            NOT_CANCELLED,
            str(row.id),
            f"The 3PL ships {row.reference} all the same: {answer.message or 'it is too late'}",
            "Ask the 3PL to stop the parcel, or expect it back. Tell the customer.",
            at=at,
            order_id=row.order_id,
            link=f"/orders/{row.order_id}",
        )
    return []


# ---------------------------------------------------------------- inside


def _find(connection: Connection, merchant_id: UUID, reference: str) -> Row[Any] | None:
    this = t.fulfillment_order.c
    id = connection.execute(
        select(this.id).where(this.merchant_id == merchant_id, this.reference == reference[:35])
    ).scalar_one_or_none()
    return None if id is None else fulfillment.locked(connection, merchant_id, id)


def _of_reference(connection: Connection, merchant_id: UUID, reference: str) -> Row[Any]:
    row = _find(connection, merchant_id, reference)
    if row is None:
        raise Conflict(f"There is no fulfillment order {reference}.")
    return row
