"""The inbox lane: stored records are read into the model and take effect, a batch in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection

from hub.connector import (
    CarrierFact,
    Connector,
    Disconnected,
    Fact,
    Kind,
    ListingRemoved,
    OrderRemoved,
    PersonalDataErased,
    PersonalDataWanted,
    RawRecord,
    Refetch,
    SalesChannel,
    StockSeen,
)
from hub.core.model import Listing, Order
from hub.core.services import Received
from hub.core.shipping import LabelVoid, Tracking
from hub.errors import HubError, Unreadable
from hub.jobs import messages_lane, provider_facts
from hub.jobs.shift import Shift, limits
from hub.store import (
    breaker,
    forgetting,
    inbox,
    labels,
    listings,
    orders,
    privacy,
    publications,
    routing_queue,
    stock,
    tracking,
)
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

BATCH = 300
TRACKING = "tracking"  # the topic of what a carrier said when it was asked
GONE = "order.gone"  # the topic of a fetched record that says the vendor has no such order


@dataclass
class _Readings:
    """What a batch of records says, in order of receipt."""

    received: list[tuple[UUID, Received]] = field(default_factory=list)
    listings: list[Listing | ListingRemoved] = field(default_factory=list)
    refetch: list[Refetch] = field(default_factory=list)
    seen: list[StockSeen] = field(default_factory=list)
    tracked: list[Tracking] = field(default_factory=list)
    voids: list[LabelVoid] = field(default_factory=list)
    disconnected: list[tuple[datetime, Disconnected]] = field(default_factory=list)
    wishes: list[tuple[UUID, PersonalDataWanted | PersonalDataErased]] = field(default_factory=list)
    done: dict[UUID, str] = field(default_factory=dict)
    ignored: list[UUID] = field(default_factory=list)
    quarantined: list[tuple[UUID, str]] = field(default_factory=list)


def work(shift: Shift) -> None:
    """Read what waits, oldest first, until nothing does or the shift ends."""
    row = shift.row()
    if row.secrets is None:
        return
    if shift.installed(row).kind is Kind.PROVIDER:
        provider_facts.work(shift)
        return
    reader = shift.reader_of_any_kind(row)
    heard = _after_removal if row.state == "removed" else _everything
    while shift.time_left():
        shift.keep()
        rows = inbox.claim(shift.hub.database, shift.hub.keyring, shift.merchant_id, shift.connection_id, limit=BATCH)
        if not rows:
            break
        try:
            touched = _apply(shift, reader, rows, heard)
        except Interrupted:
            # Not the fault of any record. If even this cannot be written, the attempt stays counted.
            with suppress(HubError):
                shift.write(lambda connection, _at, rows=rows: inbox.put_back(connection, shift.merchant_id, rows))  # type: ignore[misc]
            raise
        for connection_id in touched:
            shift.ring(connection_id, "publish")
        # If this worker dies here, the sweep does it.
        for connection_id in stock.serve_woken(shift.hub.database, shift.merchant_id):
            shift.ring(connection_id, "publish")


def _apply(shift: Shift, reader: Connector, rows: Sequence[inbox.Stored], heard: _Heard) -> set[UUID]:
    """Let a batch take effect; where it cannot be written, one record at a time, to find the one that is at fault."""
    try:
        return _apply_readings(shift, reader, heard(_read(reader, rows)))
    except Interrupted:
        raise
    except Exception as error:
        if len(rows) == 1:
            reason = f"{type(error).__name__}: {error}"
            log.warning("record set aside", connection=str(shift.connection_id), error=reason[:500])
            return _apply_readings(shift, reader, _Readings(quarantined=[(rows[0].id, reason)]))
        log.warning("batch taken apart", connection=str(shift.connection_id), error=str(error)[:500])
        touched: set[UUID] = set()
        for each in rows:
            shift.keep()
            touched |= _apply(shift, reader, [each], heard)
        return touched


def _read(reader: Connector, rows: Sequence[inbox.Stored]) -> _Readings:
    readings = _Readings()
    for row in rows:
        if row.damage:
            readings.quarantined.append((row.id, row.damage))
            continue
        if row.crash_count > inbox.MOST_CRASHES:
            readings.quarantined.append((row.id, "Reading this record broke the worker down again and again."))
            continue
        try:
            found = facts(reader, row.record)
        except Unreadable as error:
            readings.quarantined.append((row.id, str(error)))
        except (Exception, SystemExit) as error:  # a plugin may do anything; its record alone is set aside
            readings.quarantined.append(
                (row.id, f"The connector failed on this record: {type(error).__name__}: {error}")
            )
        else:
            _sort(row, found, readings)
    return readings


def facts(reader: Connector, record: RawRecord) -> list[Fact | CarrierFact]:
    """What a record says, read by its connector. Raises Unreadable, and whatever the connector may raise."""
    told = messages_lane.opened(reader, record)
    return [] if told is None else _READ[reader.kind](reader, told)


def _facts_of_channel(reader: Any, record: RawRecord) -> list[Any]:
    if record.topic == GONE:
        return [OrderRemoved(record.external_id)]
    if record.topic == "order":
        return [reader.read_order(record)]
    if record.topic == "listing":
        return list(reader.read_listing(record))
    return list(reader.read_webhook(record))


def _facts_of_carrier(reader: Any, record: RawRecord) -> list[Any]:
    return [reader.read_tracking(record)] if record.topic == TRACKING else list(reader.read_webhook(record))


_READ: Mapping[Kind, Callable[[Any, RawRecord], list[Any]]] = {
    Kind.CHANNEL: _facts_of_channel,
    Kind.CARRIER: _facts_of_carrier,
}

_Heard = Callable[[_Readings], _Readings]


def _everything(readings: _Readings) -> _Readings:
    return readings


def _after_removal(readings: _Readings) -> _Readings:
    """Of a removed connection nothing is heard but what its customers ask for."""
    asked = {row_id for row_id, _ in readings.wishes}
    return _Readings(
        wishes=readings.wishes,
        done={row_id: about for row_id, about in readings.done.items() if row_id in asked},
        ignored=[*readings.ignored, *(row_id for row_id in readings.done if row_id not in asked)],
        quarantined=readings.quarantined,
    )


def _sort(row: inbox.Stored, facts: Sequence[Fact | CarrierFact], readings: _Readings) -> None:
    if not facts:
        readings.ignored.append(row.id)
        return
    readings.done[row.id] = ""
    alone = row.source == "fetch"
    for fact in facts:
        if isinstance(fact, Order):
            received = Received(fact.external_id, fact, row.received_at, row.asked_at, alone=alone)
        elif isinstance(fact, OrderRemoved):
            received = Received(fact.external_id, None, row.received_at, row.asked_at, alone=alone)
        elif isinstance(fact, Listing | ListingRemoved):
            readings.listings.append(fact)
            continue
        elif isinstance(fact, Refetch):
            readings.refetch.append(fact)
            readings.done[row.id] = _unless_stored(row, fact.external_id)
            continue
        elif isinstance(fact, Disconnected):
            readings.disconnected.append((min(fact.at or row.received_at, row.received_at), fact))
            continue
        elif isinstance(fact, PersonalDataWanted | PersonalDataErased):
            readings.wishes.append((row.id, fact))
            continue
        elif isinstance(fact, Tracking):
            readings.tracked.append(fact)
            readings.done[row.id] = _unless_stored(row, fact.tracking_number)
            continue
        elif isinstance(fact, LabelVoid):
            readings.voids.append(fact)
            continue
        else:
            readings.seen.append(fact)
            continue
        readings.received.append((row.id, received))
        readings.done[row.id] = _unless_stored(row, fact.external_id)


def _unless_stored(row: inbox.Stored, external_id: str) -> str:
    """What a record turned out to be about, "" where its row says so already."""
    return "" if row.record.external_id == external_id[:200] else external_id


def _apply_readings(shift: Shift, reader: Connector, readings: _Readings) -> set[UUID]:
    """Write everything a batch says in one commit; returns the connections with something to publish."""

    def write(connection: Connection, at: datetime) -> tuple[set[UUID], bool, set[tuple[UUID, str]]]:
        here = (connection, shift.merchant_id, shift.connection_id)
        for handle, facts in groupby(readings.listings, lambda fact: getattr(fact, "handle", None)):
            if handle is None:
                listings.keep(*here, [fact for fact in facts if isinstance(fact, Listing)], at=at)
            else:
                listings.retire(*here, [fact.external_id for fact in facts], handle)
        touched: set[UUID] = set()
        lanes: set[tuple[UUID, str]] = set()
        fetching = bool(readings.refetch)
        if readings.received:
            plan, touched = orders.apply(*here, [each for _, each in readings.received], at=at)
            fetching = fetching or bool(plan.refetch)
            lanes = set(plan.lanes)
            if routing_queue.due(*here, at, 1):
                lanes.add((shift.connection_id, "route"))
        for kind in {each.kind for each in readings.refetch}:
            asked = {each.external_id for each in readings.refetch if each.kind == kind}
            if kind == TRACKING:
                tracking.look_again(*here, asked, at=at)
            else:
                orders.request_fetches(*here, kind, asked, at=at)
        if (
            readings.seen
            and isinstance(reader, SalesChannel)
            and publications.seen(*here, readings.seen, at=at, limits=limits(reader.capabilities))
        ):
            touched.add(shift.connection_id)
        if readings.tracked:
            lanes |= set(tracking.hear(*here, readings.tracked, at=at))
        for said in readings.voids:
            labels.void_heard(*here, said, at=at)
        inbox.set_aside(*here, readings.quarantined, at=at)
        inbox.finish(connection, shift.merchant_id, readings.done.items(), readings.ignored, at=at)
        for since, gone in readings.disconnected:
            breaker.note_disconnected(*here, gone.message, since=since, now=at)
        forgetting.keep_erased(*here, {each.external_id for _, each in readings.received}, at=at)
        for row_id, wish in readings.wishes:
            fetching = privacy.hear(connection, shift.hub.keyring, *here[1:], wish, at=at) or fetching
            inbox.forget(connection, shift.merchant_id, t.inbox.c.id == row_id)
        return touched, fetching, lanes

    touched, fetching, lanes = shift.write(write)
    if fetching:
        shift.ring(shift.connection_id, "fetch")
    shift.ring_all(sorted(lanes))
    return touched
