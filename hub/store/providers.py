"""Fulfillment orders that a 3PL ships: asking it, hearing how far it is, what has left, and asking it not to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from hub import access
from hub.access import Permission
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
from hub.store import activity, effects, fulfillment, provider_items, stock
from hub.store import tables as t
from hub.store.database import Database, Lanes
from hub.store.fulfillment import ELSEWHERE, State

REJECTED = "rejected_by_3pl"  # the kind of issue; the subject is the order's id
ON_HOLD = "held_by_3pl"  # the kind of issue; the subject is the fulfillment order's id
NOT_CANCELLED = "not_cancelled_by_3pl"  # likewise
STANDARD = "standard"  # the way to ship it where nobody wished for another
WANTED = "wanted"  # a cancel_state of ours: a person asked the 3PL not to ship it, and another location is to do it


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
            # A channel's location may be bound to the same place, so that it sells what lies there.
            account.kind == "3pl",
            account.state.not_in(("new", "removed")),
        )
        .order_by(place.connection_id, place.external_id)
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
    effects.plan(
        connection,
        merchant_id,
        account.connection_id,
        "submit",
        row.reference,
        to_plain(to_ship(connection, row, account)),
        now=at,
        ordering_key=_key(account.connection_id, row),
        order_id=row.order_id,
    )
    asked = {"connection_id": account.connection_id, "requested_at": at, "message": ""}
    fulfillment.change(connection, row, State.REQUESTED, at=at, **asked)
    fulfillment.note(connection, row, "requested_from_3pl", f"{row.reference} goes to the 3PL", at=at, actor=actor)
    return account.connection_id  # type: ignore[no-any-return]


def _key(connection_id: UUID, row: Row[Any]) -> str:
    return f"{connection_id}/{row.reference}"


def to_ship(connection: Connection, row: Row[Any], account: Row[Any]) -> FulfillmentOrder:
    """A fulfillment order as the 3PL gets to see it: a kit as its parts, since that is what lies on the 3PL's shelves.

    ``account`` is what ``of_location`` found.
    """
    order = t.sales_order.c
    about = connection.execute(
        select(t.sales_order, t.SHIP_TO.label("ship_to")).where(
            order.merchant_id == row.merchant_id, order.id == row.order_id
        )
    ).one()
    return FulfillmentOrder(
        reference=row.reference,
        number=about.number,
        placed_at=about.placed_at or about.received_at,
        lines=tuple(each.line for each in asked_for(connection, row, account.connection_id, about.currency)),
        destination=from_plain(Address, about.ship_to),
        service=_service(connection, row, account.connection_id),
        email=about.email,
        ship_by=row.ship_by,
        location_external_id=account.external_id,
        note=about.note,
    )


def _service(connection: Connection, row: Row[Any], connection_id: UUID) -> str:
    """The 3PL's own name of the way to ship it, where a person has said which one it is; otherwise ours."""
    wished, word = row.service or STANDARD, t.word_mapping.c
    theirs = connection.execute(
        select(word.word)
        .where(
            word.merchant_id == row.merchant_id,
            word.connection_id == connection_id,
            word.kind == "service",
            word.meaning == wished,
        )
        .order_by(word.word)
        .limit(1)
    ).scalar_one_or_none()
    return theirs or wished


@dataclass(frozen=True, slots=True)
class Asked:
    """A line as a 3PL was asked for it: ``per_unit`` of the SKU are in one unit of the order's line."""

    line_id: UUID
    sku_id: UUID
    per_unit: int
    line: FulfillmentLine


def asked_for(connection: Connection, row: Row[Any], connection_id: UUID, currency: str = "") -> Iterator[Asked]:
    """The lines of a fulfillment order as a 3PL knows them.

    The reference of a line is its place in the fulfillment order, of a part of a kit that and the part's: "2", "3.1".
    An edit of the order moves neither.
    """
    line, asked, sku = t.order_line.c, t.fulfillment_line.c, t.sku.c
    rows = connection.execute(
        select(line.id, line.sku_id, line.title, line.unit_price, asked.quantity)
        .select_from(
            t.fulfillment_line.join(
                t.order_line, (line.merchant_id == asked.merchant_id) & (line.id == asked.order_line_id)
            )
        )
        .where(asked.merchant_id == row.merchant_id, asked.fulfillment_order_id == row.id)
        .order_by(asked.order_line_id)
    ).all()
    kits = stock.kit_parts(connection, row.merchant_id, [each.id for each in rows])
    wanted = {each.sku_id for each in rows} | {sku_id for parts in kits.values() for sku_id in parts}
    skus = {
        each.id: each
        for each in connection.execute(
            select(sku.id, sku.code, sku.title).where(sku.merchant_id == row.merchant_id, sku.id.in_(wanted))
        )
    }
    theirs = provider_items.called(connection, row.merchant_id, connection_id, wanted)
    for place, each in enumerate(rows, start=1):
        parts = kits.get(each.id)
        for number, (sku_id, per_unit) in enumerate((parts or {each.sku_id: 1}).items(), start=1):
            name, item_external_id = theirs.get(sku_id, (skus[sku_id].code, ""))
            value = FulfillmentLine(
                reference=f"{place}.{number}" if parts else str(place),
                sku=name,
                quantity=each.quantity * per_unit,
                title=skus[sku_id].title if parts else each.title,
                unit_price=Money.of(each.unit_price, currency) if currency and not parts else None,
                item_external_id=item_external_id,
            )
            yield Asked(each.id, sku_id, per_unit, value)


# ---------------------------------------------------------------- what it answers


def submitted(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Lanes:
    """The 3PL has the order. Where it must not be shipped any more by now, it is asked not to."""
    row = find(connection, effect.merchant_id, effect.connection_id, effect.request["reference"])
    if row is None:
        return []
    answer = (
        from_plain(Submission, result.details)
        if result.details
        else Submission(reference=row.reference, external_id=result.reference)
    )
    theirs = {"external_id": answer.external_id[:200], "handles": dict(answer.handles)}
    if row.state in (State.CANCELLING, State.REJECTED, State.CANCELLED):
        # Withdrawn while it was being sent, or given to somebody else because it was thought not to be there.
        fulfillment.change(connection, row, State.CANCELLING, at=at, closed_at=None, **theirs)
        return _ask_to_cancel(connection, row, answer, at)
    if row.state != State.REQUESTED:  # its facts were faster than its answer
        fulfillment.change(connection, row, State(row.state), at=at, closed_at=row.closed_at, **theirs)
        return []
    state = _STATES.get(answer.state, State.ACCEPTED)
    taken = {"accepted_at": at} if state in _TAKEN else {}
    fulfillment.change(connection, row, state, at=at, message=answer.message[:500], **theirs, **taken)
    return _rejected(connection, row, answer.message, at) if state is State.REJECTED else []


def refused(connection: Connection, effect: Row[Any], error: str, at: datetime) -> Lanes:
    """The 3PL said no at once: the order is dealt out anew, without it."""
    row = find(connection, effect.merchant_id, effect.connection_id, effect.request["reference"])
    if row is None or row.state not in (State.REQUESTED, State.CANCELLING):
        return []
    # Nobody may try it again: by then somebody else ships it.
    effects.withdraw(connection, effect.merchant_id, effect.ordering_key, "submit", at=at)
    if row.state == State.CANCELLING:
        return _ended(connection, row, error, at)
    fulfillment.change(connection, row, State.REJECTED, at=at, message=error[:500])
    return _rejected(connection, row, error, at)


def not_asked(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Lanes:
    """It was never sent, and will not be: what it was to ship is dealt out anew, when it may be."""
    row = find(connection, effect.merchant_id, effect.connection_id, effect.request["reference"])
    if row is None or row.state not in (State.REQUESTED, State.CANCELLING):
        return []
    return _ended(connection, row, why, at)


def _rejected(connection: Connection, row: Row[Any], why: str, at: datetime) -> Lanes:
    why = why or "it does not say why"
    fulfillment.note(connection, row, "rejected_by_3pl", f"The 3PL does not ship {row.reference}: {why}", at=at)
    activity.resolve_issue(connection, row.merchant_id, ON_HOLD, str(row.id), at=at)
    activity.raise_issue(
        connection,
        row.merchant_id,
        REJECTED,
        str(row.order_id),
        f"The 3PL does not ship {row.reference}: {why}",
        "The hub looks for another location. If there is none, put the cause right and send it again from the order.",
        at=at,
        connection_id=row.connection_id,
        order_id=row.order_id,
        link=f"/orders/{row.order_id}",
    )
    return fulfillment.deal_out_again(connection, row.merchant_id, row.order_id, at=at)


_TAKEN = (State.ACCEPTED, State.IN_PROGRESS)


def progress(connection: Connection, merchant_id: UUID, connection_id: UUID, told: Progress, *, at: datetime) -> Lanes:
    """How far the 3PL is with an order; what is older than what is known, or about none of ours, is passed over."""
    row = find(connection, merchant_id, connection_id, told.reference)
    if row is None or row.state not in ELSEWHERE or (row.told_at is not None and told.version < row.told_at):
        return []
    known = {
        "told_at": told.version,
        "message": told.message[:500],
        "external_id": told.external_id[:200] or row.external_id,
    }
    state = _STATES.get(told.state, State.IN_PROGRESS)
    if state in (State.REJECTED, State.CANCELLED):
        fulfillment.change(connection, row, State(row.state), at=at, **known)
        return _not_shipped(connection, row, told.message or told.provider_state, at)
    if row.state == State.CANCELLING:
        state = State.CANCELLING
    elif state == State.REQUESTED:
        state = State(row.state)  # it has arrived there: that much is known
    if row.accepted_at is None and told.state is not ProviderState.SUBMITTED:
        known["accepted_at"] = at
    fulfillment.change(connection, row, state, at=at, **known)
    if told.state is ProviderState.ON_HOLD:
        activity.raise_issue(
            connection,
            merchant_id,
            ON_HOLD,
            str(row.id),
            f"The 3PL holds {row.reference}: {told.message or told.provider_state}",
            "Put right there what it asks for.",
            at=at,
            connection_id=connection_id,
            order_id=row.order_id,
            link=f"/orders/{row.order_id}",
        )
        return []
    activity.resolve_issue(connection, merchant_id, ON_HOLD, str(row.id), at=at)
    partly = told.state in (ProviderState.PARTIALLY_SHIPPED, ProviderState.SHIPPED)
    if row.state == State.CANCELLING and row.cancel_state == CancelState.PARTLY and partly:
        return _ended(connection, row, told.message, at)  # the same record tells what has left
    return []


def _not_shipped(connection: Connection, row: Row[Any], why: str, at: datetime) -> Lanes:
    """The 3PL will not ship it, or no more of it: because it was asked to, or of its own accord."""
    if row.state == State.CANCELLING:
        return _ended(connection, row, why, at)
    # Whoever cancelled it there: the goods are to be shipped all the same, until the channel says otherwise.
    fulfillment.change(connection, row, State.REJECTED, at=at, message=(why or "it was cancelled at the 3PL")[:500])
    return _rejected(connection, row, why or "it was cancelled there", at)


def _ended(connection: Connection, row: Row[Any], why: str, at: datetime) -> Lanes:
    """What was withdrawn is not shipped: what the order still wants is dealt out anew."""
    line = t.fulfillment_line.c
    left = connection.execute(
        select(func.sum(line.shipped)).where(line.merchant_id == row.merchant_id, line.fulfillment_order_id == row.id)
    ).scalar_one()
    ended = State.REJECTED if row.cancel_state == WANTED else State.SHIPPED if left else State.CANCELLED
    told = {"message": why[:500]} if why else {}
    fulfillment.change(connection, row, ended, at=at, **told)
    fulfillment.note(connection, row, "cancelled_at_3pl", f"The 3PL does not ship {row.reference}", at=at)
    for kind in (ON_HOLD, NOT_CANCELLED):
        activity.resolve_issue(connection, row.merchant_id, kind, str(row.id), at=at)
    return fulfillment.deal_out_again(connection, row.merchant_id, row.order_id, at=at)


# ---------------------------------------------------------------- asking it not to


def withdraw(connection: Connection, row: Row[Any], why: str, *, at: datetime) -> Lanes:
    """Ask the 3PL not to ship a locked fulfillment order, once; returns the lanes to ring for.

    What it has refused before it is not asked again by itself.
    """
    if row.state == State.CANCELLING or row.cancel_state == CancelState.REFUSED:
        return []
    fulfillment.note(connection, row, "withdrawn_from_3pl", f"{row.reference} is not to be shipped: {why}", at=at)
    return _take_back(connection, row, why, at)


def _take_back(connection: Connection, row: Row[Any], why: str, at: datetime, cancel_state: str = "") -> Lanes:
    unsent = row.state == State.REQUESTED and effects.withdraw(
        connection, row.merchant_id, _key(row.connection_id, row), "submit", at=at
    )
    fulfillment.change(connection, row, State.CANCELLING, at=at, message=why[:500], cancel_state=cancel_state)
    if unsent or _is_removed(connection, row):
        return _ended(connection, _again(connection, row), "", at)
    if row.state == State.REQUESTED and not row.external_id:
        return []  # it is being sent at this moment: the answer brings what to cancel it by
    answer = Submission(reference=row.reference, external_id=row.external_id, handles=dict(row.handles))
    return _ask_to_cancel(connection, row, answer, at)


def _is_removed(connection: Connection, row: Row[Any]) -> bool:
    """Whether the hub knows the 3PL no more that has it in hand: nobody can be asked, and a person has been told."""
    account = t.connection.c
    state = connection.execute(
        select(account.state).where(account.merchant_id == row.merchant_id, account.id == row.connection_id)
    ).scalar_one()
    return bool(state == "removed")


def _again(connection: Connection, row: Row[Any]) -> Row[Any]:
    this = t.fulfillment_order.c
    return connection.execute(
        select(t.fulfillment_order).where(this.merchant_id == row.merchant_id, this.id == row.id)
    ).one()


def _ask_to_cancel(connection: Connection, row: Row[Any], submission: Submission, at: datetime) -> Lanes:
    """Plan the wish as an effect: each time it is asked is an intent of its own."""
    key, this = _key(row.connection_id, row), t.effect.c
    before = connection.execute(
        select(func.count()).where(
            this.merchant_id == row.merchant_id,
            this.ordering_key == key,
            this.kind == "cancel",
            this.generation == 1,
        )
    ).scalar_one()
    effects.plan(
        connection,
        row.merchant_id,
        row.connection_id,
        "cancel",
        f"{row.reference}/{before + 1}",
        to_plain(submission),
        now=at,
        ordering_key=key,
        order_id=row.order_id,
    )
    return [(row.connection_id, "effects")]


def cancel_answered(
    connection: Connection, merchant_id: UUID, connection_id: UUID, answer: Cancellation, *, at: datetime
) -> Lanes:
    """What the 3PL says to not shipping it, at once or later."""
    row = find(connection, merchant_id, connection_id, answer.reference)
    if row is None or row.state not in ELSEWHERE:
        return []
    if answer.state is CancelState.CANCELLED or (answer.state is CancelState.PARTLY and row.state != State.CANCELLING):
        return _not_shipped(connection, row, answer.message, at)
    if row.state != State.CANCELLING:
        return []
    told: dict[str, Any] = {"message": answer.message[:500]} if answer.message else {}
    if answer.state is CancelState.REFUSED:
        fulfillment.change(connection, row, State.IN_PROGRESS, at=at, cancel_state=answer.state.value, **told)
        activity.raise_issue(
            connection,
            merchant_id,
            NOT_CANCELLED,
            str(row.id),
            f"The 3PL ships {row.reference} all the same: {answer.message or 'it is too late'}",
            "Ask the 3PL to stop the parcel, or expect it back. Tell the customer.",
            at=at,
            connection_id=connection_id,
            order_id=row.order_id,
            link=f"/orders/{row.order_id}",
        )
        return []
    if row.cancel_state != WANTED or answer.state is CancelState.PARTLY:
        told["cancel_state"] = answer.state.value
    fulfillment.change(connection, row, State.CANCELLING, at=at, **told)
    if answer.state is CancelState.PARTLY:
        # The rest is not given to anybody before it is known what has left.
        return ask_what_left(connection, merchant_id, connection_id, at=at)
    return []


def not_cancelled(connection: Connection, effect: Row[Any], why: str, at: datetime) -> Lanes:
    """A person says that the 3PL was not asked, and is not to be. Where it failed, they are still to decide."""
    if effect.state == "failed" or "reference" not in effect.request:
        return []
    row = find(connection, effect.merchant_id, effect.connection_id, effect.request["reference"])
    if row is not None and row.state == State.CANCELLING:
        state = {"cancel_state": CancelState.REFUSED.value}
        fulfillment.change(connection, row, State.IN_PROGRESS, at=at, message=why[:500], **state)
    return []


def ask_what_left(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> Lanes:
    """Have the 3PL's shipments fetched at once; returns the lane to ring for."""
    cursor = t.cursor.c
    connection.execute(
        update(t.cursor)
        .where(cursor.merchant_id == merchant_id, cursor.connection_id == connection_id, cursor.stream == "shipments")
        .values(due_at=at)
    )
    return [(connection_id, "fetch")]


# ---------------------------------------------------------------- what a person asks for


@access.needs(Permission.SYNC)
def ask_to_cancel(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, actor: str) -> Lanes:
    """Take a fulfillment order back from its 3PL: if the 3PL agrees, another location ships it.

    Asks also where the 3PL has refused before. Raises Conflict for one that no 3PL has in hand.
    """

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        row = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
        if row.state not in ELSEWHERE:
            raise Conflict(f"{row.reference} is {row.state}: no 3PL has it in hand.")
        if row.state == State.CANCELLING and not _is_removed(connection, row):
            raise Conflict(f"The 3PL has been asked not to ship {row.reference} already. Wait for its answer.")
        fulfillment.note(
            connection, row, "withdrawn_from_3pl", f"{row.reference} is taken back from the 3PL", at=at, actor=actor
        )
        return _take_back(connection, row, f"taken back by {actor}", at, WANTED)

    return database.transact(work)


@access.needs(Permission.SYNC)
def send_again(database: Database, merchant_id: UUID, fulfillment_order_id: UUID, actor: str) -> Lanes:
    """The cause of a rejection is put right: the 3PL may be asked again, where routing chooses it.

    Raises Conflict for one that was not rejected.
    """

    def work(connection: Connection) -> Lanes:
        at = database.now(connection)
        row = fulfillment.locked(connection, merchant_id, fulfillment_order_id)
        if row.state != State.REJECTED:
            raise Conflict(f"{row.reference} is {row.state}: only what was rejected can be sent again.")
        # Routing leaves out whoever has rejected a part of the order: this one counts for it no more.
        fulfillment.change(connection, row, State.CANCELLED, at=at, closed_at=row.closed_at)
        fulfillment.note(
            connection, row, "sent_again_to_3pl", f"{row.reference}: the 3PL may be asked again", at=at, actor=actor
        )
        activity.resolve_issue(connection, merchant_id, REJECTED, str(row.order_id), at=at, by=actor)
        return fulfillment.deal_out_again(connection, merchant_id, row.order_id, at=at)

    return database.transact(work)


# ---------------------------------------------------------------- finding


def find(connection: Connection, merchant_id: UUID, connection_id: UUID, reference: str) -> Row[Any] | None:
    """The fulfillment order that a 3PL knows by this reference, locked; None: it has none like that of ours."""
    this = t.fulfillment_order.c
    id = connection.execute(
        select(this.id).where(
            this.merchant_id == merchant_id, this.connection_id == connection_id, this.reference == reference
        )
    ).scalar_one_or_none()
    return None if id is None else fulfillment.locked(connection, merchant_id, id)
