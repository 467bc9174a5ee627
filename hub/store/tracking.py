"""Tracking: what carriers say of parcels that are on their way, kept once, however often and late they say it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from hub.core.shipping import Tracking, TrackingStatus
from hub.store import activity, fulfillment, shipments
from hub.store import tables as t
from hub.store.database import Lanes, in_chunks, upsert
from hub.store.fulfillment import State
from hub.store.labels import UNASKED
from hub.store.locking import lock_orders
from hub.store.shipments import change, locked

EXCEPTION = "delivery_exception"  # the kind of issue; the subject is the shipment's id
LEFT_ANYWAY = "left_though_withdrawn"  # likewise

# After so long a carrier is asked again where a parcel is that nobody told of meanwhile.
_LOOK_AGAIN: Mapping[TrackingStatus, timedelta] = {
    TrackingStatus.OUT_FOR_DELIVERY: timedelta(hours=1),
    TrackingStatus.EXCEPTION: timedelta(hours=4),
}
_USUALLY = timedelta(hours=6)
_TOGETHER = timedelta(minutes=5)  # parcels that are to be followed so soon are asked for with those that are due
_QUESTIONS = ("documents_at", "void_ask_at", "track_at")  # what comes first: somebody waits for a file
_OVER = (TrackingStatus.DELIVERED, TrackingStatus.CANCELLED)
_NOT_MOVING = (TrackingStatus.UNKNOWN, TrackingStatus.LABEL_CREATED, TrackingStatus.CANCELLED)
# Of several parcels the one that is the least far is told of, and before all one that is held up.
_HOW_FAR = (
    TrackingStatus.EXCEPTION,
    TrackingStatus.RETURNING,
    TrackingStatus.UNKNOWN,
    TrackingStatus.LABEL_CREATED,
    TrackingStatus.IN_TRANSIT,
    TrackingStatus.OUT_FOR_DELIVERY,
    TrackingStatus.READY_FOR_PICKUP,
    TrackingStatus.DELIVERED,
    TrackingStatus.CANCELLED,
)


def hear(
    connection: Connection, merchant_id: UUID, connection_id: UUID, told: Sequence[Tracking], *, at: datetime
) -> Lanes:
    """Keep what a carrier's account says of parcels, in the caller's transaction; the first scan means that they have
    left. What is said of a parcel that nobody knows is passed over. Returns the lanes to ring for."""
    known = _shipments(connection, merchant_id, connection_id, {each.tracking_number[:100] for each in told})
    lock_orders(connection, merchant_id, {row.order_id for row in known.values()})
    lanes: Lanes = []
    for each in told:
        if (found := known.get(each.tracking_number[:100])) is not None:
            lanes += _hear_one(connection, merchant_id, found.id, each, at)
    return lanes


def _shipments(
    connection: Connection, merchant_id: UUID, connection_id: UUID, numbers: Iterable[str]
) -> dict[str, Any]:
    """By tracking number, the newest of those whose parcel has it."""
    box, sent = t.parcel.c, t.shipment.c
    found: dict[str, Any] = {}
    for some in in_chunks(sorted(numbers)):
        for row in connection.execute(
            select(box.tracking_number, sent.id, sent.order_id)
            .select_from(
                t.parcel.join(t.shipment, (sent.merchant_id == box.merchant_id) & (sent.id == box.shipment_id))
            )
            .where(
                box.merchant_id == merchant_id,
                box.tracking_number.in_(some),
                box.tracking_number != "",
                sent.connection_id == connection_id,
            )
            .order_by(sent.created_at, sent.id)
        ):
            found[row.tracking_number] = row
    return found


def look_again(
    connection: Connection, merchant_id: UUID, connection_id: UUID, tracking_numbers: Iterable[str], *, at: datetime
) -> None:
    """A carrier only says that something happened to these parcels: it is asked what."""
    known = _shipments(connection, merchant_id, connection_id, {each[:100] for each in tracking_numbers})
    this = t.shipment.c
    for some in in_chunks(sorted({row.id for row in known.values()})):
        connection.execute(
            update(t.shipment)
            .where(this.merchant_id == merchant_id, this.id.in_(some), this.label.is_not(None))
            .values(track_at=at)
        )


def _hear_one(connection: Connection, merchant_id: UUID, shipment_id: UUID, told: Tracking, at: datetime) -> Lanes:
    row, work = locked(connection, merchant_id, shipment_id)
    _keep_events(connection, row, told, at)
    if not _is_news(connection, row, told, at):
        change(connection, row, track_at=_next_look(row, TrackingStatus(row.tracking_status or "unknown"), at))
        return []
    lanes: Lanes = []
    if told.status not in _NOT_MOVING and row.state in ("labelled", "void"):
        if row.withdrawn_at is not None or row.state == "void":
            _left_anyway(connection, row, at)
        if row.state == "labelled":
            change(connection, row, withdrawn_at=None, **UNASKED)
            lanes = shipments.ship(connection, merchant_id, row.id, at=at)
            row, work = locked(connection, merchant_id, shipment_id)
    _learn(connection, row, work, told, at)
    return lanes


def _keep_events(connection: Connection, row: Row[Any], told: Tracking, at: datetime) -> None:
    events = [
        {
            "merchant_id": row.merchant_id,
            "shipment_id": row.id,
            "tracking_number": told.tracking_number[:100],
            "happened_at": each.happened_at,
            "status": each.status.value,
            "carrier_status": each.carrier_status[:120],
            "message": each.message[:500],
            "place": each.place[:200],
            "heard_at": at,
        }
        for each in told.events
    ]
    if events:
        connection.execute(upsert(connection, t.tracking_event).on_conflict_do_nothing(), events)


def _is_news(connection: Connection, row: Row[Any], told: Tracking, at: datetime) -> bool:
    """Whether a parcel's state is another now; keeps it then. What is older than what is known changes nothing."""
    box = t.parcel.c
    here = (
        box.merchant_id == row.merchant_id,
        box.shipment_id == row.id,
        box.tracking_number == told.tracking_number[:100],
    )
    known = connection.execute(select(t.parcel).where(*here).order_by(box.number)).first()
    if known is None:
        return False
    latest = told.events[-1].happened_at if told.events else None
    if known.tracked_at is not None:
        if latest is not None and latest < known.tracked_at:
            return False
        # A state without anything that happened is no news of what has arrived.
        if latest is None and known.tracking_status == TrackingStatus.DELIVERED:
            return False
    connection.execute(
        update(t.parcel).where(*here).values(tracking_status=told.status.value, tracked_at=latest or known.tracked_at)
    )
    return True


def _next_look(row: Row[Any], status: TrackingStatus, at: datetime) -> datetime | None:
    if row.label is None or row.state == "void" or status in _OVER:
        return None
    return at + _LOOK_AGAIN.get(status, _USUALLY)


def _learn(connection: Connection, row: Row[Any], work: Row[Any], told: Tracking, at: datetime) -> None:
    box = t.parcel.c
    parcels = connection.execute(
        select(box.tracking_status, box.tracked_at).where(
            box.merchant_id == row.merchant_id, box.shipment_id == row.id, box.tracking_number != ""
        )
    ).all()
    status = min((TrackingStatus(each.tracking_status or "unknown") for each in parcels), key=_HOW_FAR.index)
    moments = [each.tracked_at for each in parcels if each.tracked_at is not None]
    latest = max(moments, default=at)
    values: dict[str, Any] = {
        "tracking_status": status.value,
        "tracked_at": latest,
        "track_at": _next_look(row, status, at),
    }
    if status in _OVER:
        values["follow_at"] = None
    if told.deliver_by is not None:
        values["deliver_by"] = told.deliver_by
    if status is TrackingStatus.DELIVERED and row.delivered_at is None:
        values["delivered_at"] = latest
    change(connection, row, **values)
    if status is TrackingStatus.EXCEPTION:
        said = told.events[-1].message if told.events and told.events[-1].message else told.carrier_status
        activity.raise_issue(
            connection,
            row.merchant_id,
            EXCEPTION,
            str(row.id),
            f"Shipment {row.reference} is held up: {said}"[:500],
            "Ask the carrier what is missing (an address, a payment), and tell the customer.",
            at=at,
            order_id=row.order_id,
            link=f"/shipments/{row.id}",
        )
    else:
        activity.resolve_issue(connection, row.merchant_id, EXCEPTION, str(row.id), at=at)
    if "delivered_at" in values:
        what = "is back" if row.is_return else "has arrived"
        held = shipments.shares(connection, row, work)
        shipments.note(connection, row, held, "delivered", f"Shipment {row.reference} {what}", at=at)
        for share in held:
            _close(connection, share.work, at)


def _close(connection: Connection, work: Row[Any], at: datetime) -> None:
    """All that a location has shipped has arrived: nothing more is to be done about it."""
    sent, along = t.shipment.c, t.shipment_companion.c
    with_others = select(along.shipment_id).where(
        along.merchant_id == work.merchant_id, along.fulfillment_order_id == work.id
    )
    on_the_way = connection.execute(
        select(func.count()).where(
            sent.merchant_id == work.merchant_id,
            (sent.fulfillment_order_id == work.id) | sent.id.in_(with_others),
            sent.state == "shipped",
            sent.is_return.is_(False),
            sent.delivered_at.is_(None),
        )
    ).scalar_one()
    if work.state == State.SHIPPED and not on_the_way:
        fulfillment.change(connection, work, State.DELIVERED, at=at, closed_at=work.closed_at, delivered_at=at)


def _left_anyway(connection: Connection, row: Row[Any], at: datetime) -> None:
    given = "was given back" if row.state == "void" else "is being given back"
    activity.raise_issue(
        connection,
        row.merchant_id,
        LEFT_ANYWAY,
        str(row.id),
        f"Shipment {row.reference} is on its way, although its label {given}",
        "Ask the carrier to stop the parcel, or expect it back. Tell the customer.",
        at=at,
        order_id=row.order_id,
        link=f"/shipments/{row.id}",
    )


# ---------------------------------------------------------------- asking


def next_to_ask(
    connection: Connection, merchant_id: UUID, connection_id: UUID, at: datetime
) -> tuple[Row[Any], str] | None:
    """The shipment whose carrier is to be asked something now, and what, by the column that says when: for the files of
    its label ("documents_at"), whether that is taken back ("void_ask_at"), or where it is ("track_at"). Put off before
    it is tried, so that whatever happens to this worker, the next try comes later."""
    this = t.shipment.c
    here = (this.merchant_id == merchant_id, this.connection_id == connection_id)
    due = connection.execute(
        select(t.shipment)
        .where(
            *here,
            this.label.is_not(None),
            (this.track_at <= at) | (this.documents_at <= at) | (this.void_ask_at <= at),
        )
        .order_by(func.coalesce(this.documents_at, this.void_ask_at, this.track_at))
        .limit(1)
    ).one_or_none()
    if due is None:
        return None
    asked = next(name for name in _QUESTIONS if (when := getattr(due, name)) is not None and when <= at)
    put_off = update(t.shipment).where(*here, this.id == due.id)
    connection.execute(put_off.values(**{asked: at + timedelta(minutes=10)}))
    return due, asked


# ---------------------------------------------------------------- having the carrier tell


@dataclass(frozen=True, slots=True)
class ToFollow:
    """Shipments whose parcels their carrier is to be asked to follow, and the tracking numbers of these."""

    shipment_ids: tuple[UUID, ...]
    tracking_numbers: tuple[str, ...]


def next_to_follow(
    connection: Connection, merchant_id: UUID, connection_id: UUID, most: int, at: datetime
) -> ToFollow | None:
    """As many shipments as one question may be about (``most`` tracking numbers), once one of them is due; None where
    none is. Put off before it is tried, as with ``next_to_ask``."""
    this = t.shipment.c
    here = (this.merchant_id == merchant_id, this.connection_id == connection_id, this.label.is_not(None))
    rows = connection.execute(
        select(this.id, this.follow_at, this.tracking_numbers)
        .where(*here, this.follow_at <= at + _TOGETHER)
        .order_by(this.follow_at, this.id)
        .limit(most)
    ).all()
    if not rows or rows[0].follow_at > at:
        return None
    ids: list[UUID] = []
    numbers: list[str] = []
    for row in rows:
        if ids and len(numbers) + len(row.tracking_numbers) > most:
            break
        ids.append(row.id)
        numbers += row.tracking_numbers
    _follow_at(connection, merchant_id, ids, at + timedelta(minutes=10))
    return ToFollow(tuple(ids), tuple(dict.fromkeys(numbers)))


def followed(
    connection: Connection, merchant_id: UUID, asked: ToFollow, refused: Collection[str], next_at: datetime
) -> None:
    """The carrier follows these parcels but for the ``refused`` ones, and is asked to go on at ``next_at``; shipments
    of which it follows none are left to the looks. What has arrived meanwhile stays left out."""
    box = t.parcel.c
    taken = {
        row.shipment_id
        for some in in_chunks(sorted(asked.shipment_ids))
        for row in connection.execute(
            select(box.shipment_id, box.tracking_number).where(
                box.merchant_id == merchant_id, box.shipment_id.in_(some), box.tracking_number != ""
            )
        )
        if row.tracking_number not in refused
    }
    _follow_at(connection, merchant_id, taken, next_at)
    _follow_at(connection, merchant_id, set(asked.shipment_ids) - taken, None)


def _follow_at(connection: Connection, merchant_id: UUID, shipment_ids: Iterable[UUID], when: datetime | None) -> None:
    this = t.shipment.c
    for some in in_chunks(sorted(shipment_ids)):
        connection.execute(
            update(t.shipment)
            .where(this.merchant_id == merchant_id, this.id.in_(some), this.follow_at.is_not(None))
            .values(follow_at=when)
        )


def follow_from(connection: Connection, merchant_id: UUID, connection_id: UUID, when: datetime | None) -> None:
    """No parcel of this carrier is followed before ``when``; None: it follows none."""
    this = t.shipment.c
    connection.execute(
        update(t.shipment)
        .where(this.merchant_id == merchant_id, this.connection_id == connection_id, this.follow_at.is_not(None))
        .values(follow_at=when)
    )


def look_at_all(connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime) -> None:
    """Nobody knows any more what this carrier sends: it is asked now where each parcel is that has not arrived."""
    this = t.shipment.c
    connection.execute(
        update(t.shipment)
        .where(this.merchant_id == merchant_id, this.connection_id == connection_id, this.track_at.is_not(None))
        .values(track_at=at)
    )
