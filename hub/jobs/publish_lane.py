"""The publish lane: makes every live listing say what is available, and keeps it so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection, select

from hub.connector import PushOutcome, PushState, SalesChannel, StockPush
from hub.core import retry
from hub.errors import ConnectorError, HubError, Unavailable
from hub.jobs.fetch_lane import import_newest_orders, orders_known_at
from hub.jobs.shift import Shift, jitter
from hub.store import activity, publications
from hub.store import tables as t
from hub.store.database import Database, LeaseLost
from hub.store.publications import Drifted, Due, Postponed, Written

log = structlog.get_logger()

READ_BACK_SECONDS = 5.0  # after a write to a channel without compare-and-set


def work(shift: Shift) -> None:
    """Publish what is due, a batch per call, until nothing is or the shift ends."""
    while shift.time_left():
        shift.keep()
        row = shift.row()
        if row.live_at is None or not shift.may_call(row):
            return
        caller = shift.caller(row)
        with shift.hub.database.read() as connection:
            batch = publications.due(
                connection,
                shift.merchant_id,
                shift.connection_id,
                at=Database.now(connection),
                limit=caller.capabilities.push_batch,
            )
        if not batch:
            return
        began = shift.now()
        try:
            unexplained = _publish(shift, caller, batch)
        except LeaseLost:
            raise
        except (Exception, SystemExit) as error:
            shift.note(error, began)
            _publish_failed(shift, batch, error)
            return
        shift.note(None, began)
        if unexplained and not _explain(shift):
            return


def _explain(shift: Shift) -> bool:
    """Some figure at the channel is not the one we left there: import the newest orders before overwriting it."""
    began = shift.now()
    try:
        return import_newest_orders(shift, seconds=5.0)
    except ConnectorError as error:
        shift.note(error, began)
        return False


def _publish(shift: Shift, caller: SalesChannel, batch: Sequence[Due]) -> bool:
    """Make the channel say what is available; True when figures were found that orders have to explain first."""
    explained_at = orders_known_at(shift)
    outcomes: list[Written | Postponed | Drifted] = []
    stopped: list[tuple[Due, str]] = []
    unread = [
        each
        for each in batch
        if each.verify or each.expected is None or not caller.capabilities.compare_and_set or each.explain_since
    ]
    figures = dict(zip([each.key for each in unread], _figures(caller, unread), strict=True))
    writes: list[tuple[Due, int | None]] = []
    for each in batch:
        quantity = max(0, each.quantity)
        if each.key not in figures:
            writes.append((each, each.expected))
            continue
        figure = figures[each.key]
        if figure is None:
            stopped.append((each, "The shop does not keep stock of this listing, or does not have it any more."))
        elif figure == quantity:
            outcomes.append(Written(each, quantity, wrote=False))
        elif each.verify:
            outcomes.append(Drifted(each))
        elif figure == each.expected or (each.explain_since and explained_at and each.explain_since <= explained_at):
            writes.append((each, figure))
        else:
            outcomes.append(Postponed(each, 0.0, seen=figure if each.expected is None else None, explaining=True))
    began = time.monotonic()
    answers = _push(shift, caller, writes)
    took = time.monotonic() - began
    for (each, before), answer in zip(writes, answers, strict=True):
        quantity = max(0, each.quantity)
        if answer.state is PushState.WRITTEN:
            outcomes.append(
                Written(
                    each,
                    quantity,
                    wrote=before != quantity,
                    before=before,
                    verify_after=None if caller.capabilities.compare_and_set else READ_BACK_SECONDS,
                    note=_window(caller, each, before, took),
                )
            )
        elif answer.state is PushState.STALE:
            outcomes.append(Postponed(each, 0.0, explaining=True))
        elif answer.state is PushState.RETRY:
            wait = 0.2 + retry.backoff(each.attempts + 1, jitter, first=1.0)
            outcomes.append(Postponed(each, wait, error=answer.message, failed=True))
        else:
            stopped.append((each, answer.message or "The shop refused this figure."))

    def write(connection: Connection, at: datetime) -> None:
        publications.record(connection, shift.merchant_id, outcomes, at=at)
        for each, reason in stopped:
            publications.stop(connection, shift.merchant_id, each, error=reason)
            _raise_not_published(connection, shift, each, reason, at)
        for outcome in outcomes:
            if isinstance(outcome, Written):
                activity.resolve_issue(
                    connection, shift.merchant_id, "not_published", str(outcome.due.listing_id), at=at
                )
        written = sum(isinstance(each, Written) and each.wrote for each in outcomes)
        if written:
            activity.note(
                connection,
                shift.merchant_id,
                "stock_published",
                f"{written} stock figure{'s' if written > 1 else ''} written",
                at=at,
                connection_id=shift.connection_id,
            )

    shift.write(write)
    return any(isinstance(each, Postponed) and each.explaining for each in outcomes)


def _push(shift: Shift, caller: SalesChannel, writes: Sequence[tuple[Due, int | None]]) -> Sequence[PushOutcome]:
    if not writes:
        return []
    shift.keep()
    pushes = [
        StockPush(
            each.ref,
            max(0, each.quantity),
            expected,
            f"{each.listing_id}/{each.ref.location_external_id}/{each.version}/{each.attempts}/{expected}",
        )
        for each, expected in writes
    ]
    answers = caller.push_stock(pushes)
    if len(answers) != len(pushes):
        raise Unavailable(f"The connector gave {len(answers)} outcomes for {len(pushes)} figures.")
    return answers


def _figures(caller: SalesChannel, batch: Sequence[Due]) -> Sequence[int | None]:
    return caller.read_stock([each.ref for each in batch]) if batch else []


def _window(caller: SalesChannel, each: Due, before: int | None, took: float) -> str:
    notes = []
    if each.explain_since is not None:
        notes.append(f"The shop said {before}; no order explained the difference.")
    if not caller.capabilities.compare_and_set:
        notes.append(
            f"Read {before}, then written; a sale in the {took * 1000:.0f} ms between shows when its order comes in."
        )
    return " ".join(notes)


def _raise_not_published(connection: Connection, shift: Shift, each: Due, reason: str, at: datetime) -> None:
    title = connection.execute(
        select(t.listing.c.title).where(t.listing.c.merchant_id == shift.merchant_id, t.listing.c.id == each.listing_id)
    ).scalar_one()
    activity.raise_issue(
        connection,
        shift.merchant_id,
        "not_published",
        str(each.listing_id),
        f"The stock of “{title}” could not be written: {reason}",
        "Correct the listing in the shop, then synchronize the connection.",
        at=at,
        connection_id=shift.connection_id,
        link=f"/stock/{each.sku_id}",
    )


def _publish_failed(shift: Shift, batch: Sequence[Due], error: BaseException) -> None:
    reason = str(error) if isinstance(error, HubError) else f"The connector failed: {type(error).__name__}: {error}"
    if not isinstance(error, HubError):
        log.error("publishing failed", connection=str(shift.connection_id), error=reason)
    postponed = [
        Postponed(each, 0.5 + retry.backoff(each.attempts + 1, jitter), error=reason[:500], failed=True)
        for each in batch
    ]
    shift.write(lambda connection, at: publications.record(connection, shift.merchant_id, postponed, at=at))
