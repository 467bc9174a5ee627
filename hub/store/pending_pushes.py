"""Figures that a channel has taken in and judges later: kept with their reference, asked for, and settled.

A listing waits for one such push at a time (``publication.pending_id``). One that was not judged in time is overtaken
by the next write. It may still come true, in whichever order the channel works off what it has taken in; so it is asked
for all the same, and the listing is looked at once more when it does. What the channel is believed to say never comes
from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, bindparam, case, delete, exists, insert, or_, select, update

from hub.connector import StockPush, StockRef
from hub.store import tables as t
from hub.store.database import in_chunks, new_id
from hub.store.marking import first_change
from hub.store.publications import Due, named, this_one

# Long before that the next write overtakes it, but where nothing may be written: the listing may be gone by now.
_IS_ASKED_FOR = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel has taken the figure in; by ``reference`` it tells what became of it, after so many seconds."""

    due: Due
    key: str
    before: int | None
    reference: str
    ask_after: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """A push that is to be asked for, as it was when it was sent. ``current``: the listing waits for it."""

    id: UUID
    due: Due
    key: str
    before: int | None
    reference: str
    note: str
    asked: int
    current: bool
    given_up: bool  # sent so long ago that it is asked for no more

    @property
    def push(self) -> StockPush:
        """The push itself."""
        return StockPush(self.due.ref, self.due.quantity, self.before, self.key)


def keep(connection: Connection, merchant_id: UUID, connection_id: UUID, sent: Sequence[Sent], *, at: datetime) -> None:
    """Write down what a channel has taken in. Each is what its listing waits for from now on."""
    if not sent:
        return
    # In the order in which others lock them, too.
    rows = [(new_id(), each) for each in sorted(sent, key=lambda each: each.due.key)]
    connection.execute(
        insert(t.pending_push),
        [
            {
                "merchant_id": merchant_id,
                "id": id,
                "listing_id": each.due.listing_id,
                "location_external_id": each.due.ref.location_external_id,
                "connection_id": connection_id,
                "reference": each.reference,
                "key": each.key,
                "version": each.due.version,
                "before": each.before,
                "quantity": each.due.quantity,
                "cause": each.due.cause,
                "basis": dict(each.due.basis),
                "dirty_since": each.due.dirty_since,
                "read_at": each.due.read_at,
                "note": each.note[:500],
                "sent_at": at,
                "ask_at": at + timedelta(seconds=each.ask_after),
            }
            for id, each in rows
        ],
    )
    connection.execute(
        this_one(merchant_id).values(
            pending_id=bindparam("its_push"), checked_at=None, explain_since=None, not_before=None, error=""
        ),
        [named(*each.due.key) | {"its_push": id} for id, each in rows],
    )


def to_be_asked(
    connection: Connection, merchant_id: UUID, connection_id: UUID, *, at: datetime, limit: int
) -> list[Pending]:
    """What is to be asked for now, the longest waiting first, and what goes by one reference together."""
    pending, publication, listing = t.pending_push.c, t.publication.c, t.listing.c
    rows = connection.execute(
        select(
            t.pending_push,
            publication.pending_id,
            publication.attempts,
            publication.quantity.label("expected"),
            publication.left_quantity,
            publication.published_at,
            listing.external_id,
            listing.handles,
            listing.sku_id,
        )
        .select_from(
            t.pending_push.join(
                t.publication,
                (publication.merchant_id == pending.merchant_id)
                & (publication.listing_id == pending.listing_id)
                & (publication.location_external_id == pending.location_external_id),
            ).join(t.listing, (listing.merchant_id == pending.merchant_id) & (listing.id == pending.listing_id))
        )
        .where(pending.merchant_id == merchant_id, pending.connection_id == connection_id, pending.ask_at <= at)
        .order_by(pending.ask_at, pending.reference, pending.id)
        .limit(limit)
    )
    return [
        Pending(
            row.id,
            Due(
                listing_id=row.listing_id,
                sku_id=row.sku_id,
                ref=StockRef(row.external_id, row.location_external_id, row.handles),
                version=row.version,
                quantity=row.quantity,
                expected=row.expected,
                left=row.left_quantity,
                pending=None,
                cause=row.cause,
                attempts=row.attempts,
                verify=False,
                explain_since=None,
                left_at=row.published_at,
                checked_at=None,
                dirty_since=row.dirty_since,
                read_at=row.read_at,
                basis=row.basis,
            ),
            row.key,
            row.before,
            row.reference,
            row.note,
            row.asked,
            row.pending_id == row.id,
            row.sent_at <= at - _IS_ASKED_FOR,
        )
        for row in rows
    ]


def ask_again(
    connection: Connection,
    merchant_id: UUID,
    undecided: Sequence[tuple[Pending, str, float]],
    *,
    at: datetime,
    error: str = "",
) -> None:
    """Ask for these once more, each under its reference after so many seconds; ``error`` is what stood in the way."""
    pending, publication = t.pending_push.c, t.publication.c
    if not undecided:
        return
    connection.execute(
        update(t.pending_push)
        .where(pending.merchant_id == merchant_id, pending.id == bindparam("this_push"))
        .values(reference=bindparam("its_reference"), ask_at=bindparam("its_moment"), asked=pending.asked + 1),
        [
            {
                "this_push": each.id,
                "its_reference": reference or each.reference,
                "its_moment": at + timedelta(seconds=seconds),
            }
            for each, reference, seconds in undecided
        ],
    )
    for some in in_chunks([each.id for each, _, _ in undecided if error]):
        connection.execute(
            update(t.publication)
            .where(publication.merchant_id == merchant_id, publication.pending_id.in_(some))
            .values(error=error)
        )


def drop(connection: Connection, merchant_id: UUID, settled: Sequence[Pending]) -> None:
    """These are settled: no listing waits for them any more, and none is asked for."""
    pending, publication = t.pending_push.c, t.publication.c
    current = [each for each in sorted(settled, key=lambda each: each.due.key) if each.current]
    if current:
        connection.execute(
            this_one(merchant_id).where(publication.pending_id == bindparam("its_push")).values(pending_id=None),
            [named(*each.due.key) | {"its_push": each.id} for each in current],
        )
    for some in in_chunks([each.id for each in settled]):
        connection.execute(delete(t.pending_push).where(pending.merchant_id == merchant_id, pending.id.in_(some)))


def came_late(connection: Connection, merchant_id: UUID, overtaken: Sequence[Pending], *, at: datetime) -> None:
    """The channel has worked off what was overtaken, before or after what overtook it: the listing is looked at again.

    That it says the older figure is what is expected, so that nobody is suspected of having typed it in.
    """
    publication = t.publication.c
    dirty = publication.version > publication.published_version
    for each in sorted(overtaken, key=lambda each: each.due.key):
        cause: Mapping[str, str | None] = {
            "cause": "came_late",
            "reference": str(each.due.quantity),
            "order_id": None,
            "at": at.isoformat(),
        }
        connection.execute(
            this_one(merchant_id).values(
                version=publication.version + 1,
                dirty_since=first_change(at),
                quantity=each.due.quantity,
                checked_at=None,
                cause=case((dirty, publication.cause), else_=bindparam("why", type_=publication.cause.type)),
            ),
            [named(*each.due.key) | {"why": cause}],
        )


def is_on_its_way(
    connection: Connection, merchant_id: UUID, listing_id: UUID, location_external_id: str, quantity: int | None
) -> bool:
    """Whether the channel has taken in this very figure for the listing, and nobody knows yet what became of it."""
    pending = t.pending_push.c
    return connection.execute(
        select(
            exists().where(
                pending.merchant_id == merchant_id,
                pending.listing_id == listing_id,
                pending.location_external_id == location_external_id,
                or_(pending.quantity == quantity, pending.before == quantity),
            )
        )
    ).scalar_one()
