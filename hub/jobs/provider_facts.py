"""What a 3PL's records say, and how it takes effect: one order's record in a commit of its own, counts together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import Connection

from hub.connector import FulfillmentProvider, ProviderFact, RawRecord, Refetch
from hub.core.shipping import Cancellation, Progress, ProviderShipment, StockAdjustment, StockCount, Tracking
from hub.errors import HubError, Unreadable
from hub.jobs import messages_lane
from hub.jobs.shift import Shift
from hub.store import inbox, orders, provider_shipments, provider_stock, providers, stock, tracking
from hub.store.database import Interrupted, Lanes

log = structlog.get_logger()

BATCH = 300


@dataclass
class _Counts:
    """Records that only count stock, one after the other: they take effect in one commit."""

    rows: list[inbox.Stored] = field(default_factory=list)
    told: list[tuple[StockCount, str]] = field(default_factory=list)


def work(shift: Shift) -> None:
    """Read what waits, oldest first, until nothing does or the shift ends."""
    row = shift.row()
    if row.state == "removed":
        shift.write(
            lambda connection, at: inbox.ignore_pending(connection, shift.merchant_id, shift.connection_id, at=at)
        )
        return
    reader = shift.hub.reader(shift.installed(row), shift.credentials(row))
    assert isinstance(reader, FulfillmentProvider)  # noqa: S101 (whoever calls this has looked, told to mypy)
    while shift.time_left():
        shift.keep()
        rows = inbox.claim(shift.hub.database, shift.hub.keyring, shift.merchant_id, shift.connection_id, limit=BATCH)
        if not rows:
            break
        try:
            _apply(shift, reader, rows)
        except Interrupted:
            # Not the fault of any record. If even this cannot be written, the attempt stays counted.
            with suppress(HubError):
                shift.write(lambda connection, _at, rows=rows: inbox.put_back(connection, shift.merchant_id, rows))  # type: ignore[misc]
            raise
        for connection_id in stock.serve_woken(shift.hub.database, shift.merchant_id):
            shift.ring(connection_id, "publish")


def facts(reader: FulfillmentProvider, record: RawRecord) -> list[ProviderFact]:
    """What a record says, read by its connector. Raises Unreadable, and whatever the connector may raise."""
    told = messages_lane.opened(reader, record)
    if told is None:
        return []
    if told.topic == "shipment":
        return list(reader.read_shipments(told))
    if told.topic == "stock":
        return list(reader.read_stock(told))
    return list(reader.read_webhook(told))


def _apply(shift: Shift, reader: FulfillmentProvider, rows: Sequence[inbox.Stored]) -> None:
    counts = _Counts()
    for row in rows:
        if row.damage:
            _set_aside(shift, row, row.damage)
            continue
        if row.crash_count > inbox.MOST_CRASHES:
            _set_aside(shift, row, "Reading this record broke the worker down again and again.")
            continue
        try:
            told = facts(reader, row.record)
        except Unreadable as error:
            _set_aside(shift, row, str(error))
            continue
        except (Exception, SystemExit) as error:  # a plugin may do anything; its record alone is set aside
            _set_aside(shift, row, f"The connector failed on this record: {type(error).__name__}: {error}")
            continue
        counted = [fact for fact in told if isinstance(fact, StockCount)]
        if told and len(counted) == len(told):
            counts.rows.append(row)
            counts.told += [(fact, f"{shift.connection_id}/{row.id}") for fact in counted]
            continue
        _count(shift, counts)
        counts = _Counts()
        _guarded(shift, row, lambda connection, at, told=told, row=row: _write(connection, shift, row, told, at))  # type: ignore[misc]
    _count(shift, counts)


def _guarded(shift: Shift, row: inbox.Stored, write: Callable[[Connection, datetime], Lanes]) -> None:
    """Let a record take effect in a commit of its own; one that cannot be written is set aside alone."""
    shift.keep()
    try:
        lanes = shift.write(write)
    except Interrupted:
        raise
    except Unreadable as error:
        _set_aside(shift, row, str(error))
    except Exception as error:
        log.warning("record set aside", connection=str(shift.connection_id), error=str(error)[:500])
        _set_aside(shift, row, f"{type(error).__name__}: {error}")
    else:
        shift.ring_all(lanes)


def _count(shift: Shift, counts: _Counts) -> None:
    if not counts.rows:
        return

    def write(connection: Connection, at: datetime) -> Lanes:
        lanes = provider_stock.count(connection, shift.merchant_id, shift.connection_id, counts.told, at=at)
        inbox.finish(connection, shift.merchant_id, [(row.id, "") for row in counts.rows], [], at=at)
        return lanes

    if len(counts.rows) == 1:
        _guarded(shift, counts.rows[0], write)
        return
    try:
        shift.keep()
        shift.ring_all(shift.write(write))
    except Interrupted:
        raise
    except Exception as error:
        log.warning("batch taken apart", connection=str(shift.connection_id), error=str(error)[:500])
        for row in counts.rows:
            source = f"{shift.connection_id}/{row.id}"
            _count(shift, _Counts([row], [each for each in counts.told if each[1] == source]))


def _write(
    connection: Connection, shift: Shift, row: inbox.Stored, told: Sequence[ProviderFact], at: datetime
) -> Lanes:
    here = (connection, shift.merchant_id, shift.connection_id)
    lanes: Lanes = []
    about: set[str] = set()
    # What has left before how far the order is: an order that is over may have left in part.
    for fact in sorted(told, key=lambda each: not isinstance(each, ProviderShipment)):
        match fact:
            case Progress():
                lanes += providers.progress(*here, fact, at=at)
                about.add(fact.reference)
            case ProviderShipment():
                lanes += provider_shipments.keep(*here, fact, at=at)
                about.add(fact.reference)
            case Cancellation():
                lanes += providers.cancel_answered(*here, fact, at=at)
                about.add(fact.reference)
            case StockCount():
                lanes += provider_stock.count(*here, [(fact, f"{shift.connection_id}/{row.id}")], at=at)
            case StockAdjustment():
                lanes += provider_stock.adjust(*here, fact, at=at)
            case Tracking():
                lanes += tracking.hear(*here, [fact], at=at)
            case Refetch():
                orders.request_fetches(*here, fact.kind, [fact.external_id], at=at)
                lanes.append((shift.connection_id, "fetch"))
    # By our reference a record is found when the order's customer is to be forgotten.
    reference = about.pop() if len(about) == 1 else ""
    done, ignored = ([(row.id, reference)], []) if told else ([], [row.id])
    inbox.finish(connection, shift.merchant_id, done, ignored, at=at)
    return lanes


def _set_aside(shift: Shift, row: inbox.Stored, reason: str) -> None:
    shift.write(
        lambda connection, at: inbox.set_aside(
            connection, shift.merchant_id, shift.connection_id, [(row.id, reason)], at=at
        )
    )
