"""The publish lane: makes every live listing say what is available, and keeps it so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, exists, select

from hub.connector import PushOutcome, PushState, SalesChannel, StockPush, Unread
from hub.core import retry
from hub.errors import AuthError, ConnectorError, HubError, NotFound, RateLimited, Rejected, Unavailable
from hub.jobs.fetch_lane import import_newest_orders
from hub.jobs.shift import Shift, jitter, limits
from hub.store import activity, connections, inbox, pending_pushes, publications
from hub.store import tables as t
from hub.store.database import Database, Interrupted
from hub.store.pending_pushes import Pending, Sent
from hub.store.publications import READ_BACK_SECONDS, Drifted, Due, Known, Postponed, Written

log = structlog.get_logger()

NOT_PUBLISHED = "not_published"  # the kind of issue; the subject is the listing's id
STOCK_DRIFT = "stock_drift"  # the kind of issue; the subject is the listing's id and the channel's location
_LISTEN_SECONDS = 1.0  # for the webhook of the sale that changed a figure, before the vendor is asked for all orders
_QUEUE_TAKES = 10.0  # seconds from a sale until its message is read, beside the pause between two looks into a queue
_BUDGET_IS_ASKED_AGAIN = 10.0  # while the budget for importing orders is spent: their news may come another way
_MOST_EXPLANATIONS = 3  # imports of orders in one shift, until a figure that nobody can explain is overwritten
_FAILURES_BEFORE_TOLD = 3
_FIRST_QUESTION = 1.0  # seconds until a channel is asked what became of what it has taken in, at the earliest
_LONGEST_BETWEEN_QUESTIONS = 60.0
_LONGEST_GATHERING = 5.0  # whatever a connector asks for


def work(shift: Shift) -> None:
    """Publish what is due, a batch per call, until nothing is or the shift ends."""
    sends = shift.public_url() and shift.installed(shift.row()).capabilities.webhooks
    odd = _OddFigures(_LISTEN_SECONDS if sends else 0.0)
    while shift.time_left():
        shift.keep()
        row = shift.row()
        if row.live_at is None or not shift.may_call(row):
            return
        caller = shift.caller(row)
        if shift.connector(row).settle_stock is not SalesChannel.settle_stock and not _settle(shift, row, caller, odd):
            return
        if not _changes_gathered(shift, caller.capabilities.coalesce_seconds):
            return
        with shift.hub.database.read() as connection:
            batch = publications.due(
                connection,
                shift.merchant_id,
                shift.connection_id,
                at=Database.now(connection),
                limits=limits(caller.capabilities),
                limit=caller.capabilities.push_batch,
            )
        if not batch:
            return
        unexplained = _publish_batch(shift, row, caller, batch, odd)
        if unexplained is None:
            return
        unexplained = _without_those_in_the_queue(shift, caller, unexplained)
        if unexplained and odd.still_listening():
            time.sleep(0.1)
        elif unexplained:
            wait = _explain(shift)
            if wait is not None:
                _postpone(shift, [Postponed(each, wait, explaining=True) for each in unexplained])
                return
            odd.orders_imported()


def _changes_gathered(shift: Shift, seconds: float) -> bool:
    """Wait until ``seconds`` after the first change that is to be told: those that follow it go out together.

    However many follow, they do not put it off. False when the shift ends before.
    """
    with shift.hub.database.read() as connection:
        at = Database.now(connection)
        first = publications.unsent_since(connection, shift.merchant_id, shift.connection_id, at=at)
    if first is None:
        return True
    seconds = min(seconds, _LONGEST_GATHERING)
    until = time.monotonic() + min(seconds, seconds - (at - first).total_seconds())
    while (left := until - time.monotonic()) > 0:
        if not shift.time_left():
            return False
        time.sleep(min(left, 0.1))
    return True


class _OddFigures:
    """Figures found in this shift that orders do not explain so far.

    Where webhooks bring the news, the order behind such a figure is mostly on its way already: for ``patience``
    seconds it is listened for. Then the newest orders are imported, and what still stands there is nobody's.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[tuple[UUID, str], float] = {}
        self._found: dict[tuple[UUID, str], list[int]] = {}  # the last one before an import, then one after each
        self._imported = False

    def found(self, due: Due, figure: int) -> None:
        """The channel says something else than was left there."""
        self._since.setdefault(due.key, time.monotonic())
        if not self._imported:
            self._found[due.key] = [figure]
        else:
            self._found.setdefault(due.key, []).append(figure)

    def may_be_overwritten(self, due: Due, figure: int) -> bool:
        """Whether the same odd figure still stands there after orders were imported.

        One that has changed meanwhile may be a customer's doing, whose order is imported first. But not for ever.
        """
        before = list(self._found.get(due.key, [])) if self._imported else []
        self.found(due, figure)
        return bool(before) and (before[-1] == figure or len(before) >= _MOST_EXPLANATIONS)

    def settled(self, due: Due) -> None:
        """The channel says what it should."""
        self._since.pop(due.key, None)
        self._found.pop(due.key, None)

    def still_listening(self) -> bool:
        """Whether the order behind each of them may still come by itself, so that none has to be imported yet."""
        return all(time.monotonic() - since < self._patience for since in self._since.values())

    def orders_imported(self) -> None:
        """The newest orders are known by now: from here on figures are compared."""
        self._imported = True


def _publish_batch(
    shift: Shift, row: Row[Any], caller: SalesChannel, batch: Sequence[Due], odd: _OddFigures
) -> list[Due] | None:
    """Publish a batch; returns what orders have to explain first, or None where the vendor does not take any more.

    A batch at which the connector fails is taken apart, until those that are at fault stand alone.
    """
    unexplained: list[Due] = []
    pieces = [batch]
    while pieces:
        piece = pieces.pop()
        shift.keep()
        began = shift.now()
        try:
            unexplained += _publish(shift, caller, piece, odd)
        except Interrupted:
            raise
        except (RateLimited, Unavailable, AuthError) as error:
            # Nothing about these listings, so that it is not counted against them: the connection pauses.
            shift.note(error, began)
            if isinstance(error, RateLimited) and error.operation:  # and not even the connection: it alone waits
                wait = max(1.0, retry.rate_limit_wait(error.retry_after, jitter))
            else:
                wait = 0.5 + retry.backoff(row.failures + 1, jitter, longest=30.0)
            left = [each for one in (piece, *pieces) for each in one]
            _postpone(shift, [Postponed(each, wait, error=str(error)[:500]) for each in left])
            return None
        except (Exception, SystemExit) as error:
            shift.note(error, began)
            if len(piece) > 1:
                log.warning("batch taken apart", connection=str(shift.connection_id), error=str(error)[:500])
                middle = len(piece) // 2
                pieces += [piece[middle:], piece[:middle]]
            elif isinstance(error, Rejected):
                _stop(shift, piece[0], str(error))
            else:
                _fail(shift, piece[0], error)
        else:
            shift.note(None, began)
    return unexplained


def _without_those_in_the_queue(shift: Shift, caller: SalesChannel, unexplained: Sequence[Due]) -> list[Due]:
    """Those that no message explains which is on its way; the others are read again when it has come.

    Importing orders is dear where a vendor has a queue: it is done for what the queue does not tell.
    """
    if not connections.has_queue(shift.connector(shift.row()), caller.settings):
        return list(unexplained)
    patience = timedelta(seconds=(caller.capabilities.message_poll_seconds or 0.0) + _QUEUE_TAKES)
    fresh = [each for each in unexplained if each.explain_since is None or each.read_at - each.explain_since < patience]
    if fresh:
        _postpone(shift, [Postponed(each, 2.0 + jitter.random(), explaining=True) for each in fresh])
    return [each for each in unexplained if each not in fresh]


def _explain(shift: Shift) -> float | None:
    """Some figure at the channel is not the one we left there: import the newest orders before overwriting it.

    None once they are imported, otherwise the seconds after which to try again.
    """
    began = shift.now()
    try:
        if import_newest_orders(shift, seconds=5.0):
            return None
    except Interrupted:
        raise
    except ConnectorError as error:
        shift.note(error, began)
        if isinstance(error, RateLimited) and error.operation:
            return _BUDGET_IS_ASKED_AGAIN + jitter.random()
    except (Exception, SystemExit) as error:
        log.error("orders could not be imported", connection=str(shift.connection_id), error=str(error)[:500])
    return 1.0 + jitter.random()


@dataclass(frozen=True, slots=True)
class _Write:
    """A figure to be written over ``before``, which is ``odd`` when no order explained it."""

    due: Due
    before: int | None
    odd: bool = False


def _publish(shift: Shift, caller: SalesChannel, batch: Sequence[Due], odd: _OddFigures) -> list[Due]:
    """Make the channel say what is available; returns those whose figure has to be explained by orders first."""
    outcomes: list[Written | Known | Postponed | Drifted] = []
    stopped: list[tuple[Due, str]] = []
    unread = [
        each
        for each in batch
        if each.verify
        or each.expected is None
        or each.explain_since
        or not (caller.capabilities.compare_and_set or _is_known(shift, each))
    ]
    figures = dict(zip([each.key for each in unread], _figures(caller, unread), strict=True))
    writes: list[_Write] = []
    for each in batch:
        quantity = each.quantity
        if each.key not in figures:
            if _is_known(shift, each):
                outcomes.append(Known(each))
            else:
                writes.append(_Write(each, each.expected))
            continue
        figure = figures[each.key]
        if isinstance(figure, Unread):
            outcomes.append(_not_now(each, "The shop could not say its stock of this listing just now."))
        elif figure is None:
            stopped.append((each, "The shop does not keep stock of this listing, or does not have it any more."))
        elif figure == quantity:
            outcomes.append(Written(each, quantity, wrote=False, verify_after=_next_check(shift)))
        elif each.verify:
            odd.found(each, figure)
            outcomes.append(Drifted(each))
        elif figure in (each.expected, each.left, each.pending):
            writes.append(_Write(each, figure))
        elif odd.may_be_overwritten(each, figure):
            writes.append(_Write(each, figure, odd=True))
        else:
            outcomes.append(Postponed(each, 0.0, seen=figure if each.expected is None else None, explaining=True))
    began = time.monotonic()
    answers = _push(shift, caller, writes)
    took = time.monotonic() - began
    sent: list[Sent] = []
    for write, answer in zip(writes, answers, strict=True):
        note = _window(caller, write, took)
        if answer.state is PushState.PENDING:
            wait = max(answer.after_seconds, _FIRST_QUESTION)
            sent.append(Sent(write.due, _key(write), write.before, answer.reference, wait, note))
            continue
        safe = caller.capabilities.compare_and_set and not write.odd
        outcome = _judged(
            write, answer, odd, note, _next_check(shift) if safe else READ_BACK_SECONDS, _next_check(shift)
        )
        if isinstance(outcome, str):
            stopped.append((write.due, outcome))
        else:
            outcomes.append(outcome)

    def write_down(connection: Connection, at: datetime) -> None:
        _write_down(connection, shift, outcomes, stopped, odd, at)
        pending_pushes.keep(connection, shift.merchant_id, shift.connection_id, sent, at=at)
        for write in writes:
            if write.odd:
                _raise_drift(connection, shift, write, at)
        if sent:
            figures = "1 stock figure" if len(sent) == 1 else f"{len(sent)} stock figures"
            summary = f"{figures} sent; the channel has yet to say what became of {'it' if len(sent) == 1 else 'them'}"
            activity.note(
                connection, shift.merchant_id, "stock_sent", summary, at=at, connection_id=shift.connection_id
            )

    shift.write(write_down)
    return [
        each.due for each in outcomes if isinstance(each, Drifted) or (isinstance(each, Postponed) and each.explaining)
    ]


def _judged(
    write: _Write, answer: PushOutcome, odd: _OddFigures, note: str, check_after: float, usual_check: float
) -> Written | Postponed | str:
    """What an answer that is final means for the listing; a text: why it is refused for good."""
    due, quantity = write.due, write.due.quantity
    if answer.state is PushState.WRITTEN:
        return Written(due, quantity, write.before != quantity, check_after, before=write.before, note=note)
    if answer.state is PushState.STALE and answer.quantity == quantity:
        # It says so already: a sale of its own.
        return Written(due, quantity, wrote=False, verify_after=usual_check)
    if answer.state is PushState.STALE:
        if answer.quantity is not None:
            odd.found(due, answer.quantity)
        return Postponed(due, 0.0, explaining=True)
    if answer.state is PushState.RETRY:
        return _not_now(due, answer.message)
    return answer.message or "The shop refused this figure."


def _write_down(
    connection: Connection,
    shift: Shift,
    outcomes: Sequence[Written | Known | Postponed | Drifted],
    stopped: Sequence[tuple[Due, str]],
    odd: _OddFigures,
    at: datetime,
) -> None:
    publications.record(connection, shift.merchant_id, outcomes, at=at)
    for due, reason in stopped:
        publications.stop(connection, shift.merchant_id, due, error=reason)
        _raise_not_published(connection, shift, due, reason, at)
    settled = [outcome.due for outcome in outcomes if isinstance(outcome, Written)]
    for due in settled:
        odd.settled(due)
    activity.resolve_issues(
        connection, shift.merchant_id, NOT_PUBLISHED, {str(due.listing_id) for due in settled}, at=at
    )
    read = {_subject(outcome.due) for outcome in outcomes if isinstance(outcome, Written) and not outcome.wrote}
    activity.resolve_issues(connection, shift.merchant_id, STOCK_DRIFT, read, at=at)
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


# ---------------------------------------------------------------- what a channel judges later


def _settle(shift: Shift, row: Row[Any], caller: SalesChannel, odd: _OddFigures) -> bool:
    """Ask what became of the figures that the channel has taken in; False where the vendor does not take any more."""
    with shift.hub.database.read() as connection:
        waiting = pending_pushes.to_be_asked(
            connection,
            shift.merchant_id,
            shift.connection_id,
            at=Database.now(connection),
            limit=caller.capabilities.push_batch,
        )
    by_reference = [list(some) for _, some in groupby(waiting, key=lambda each: each.reference)]
    for number, asked in enumerate(by_reference):
        shift.keep()
        began = shift.now()
        try:
            answers = caller.settle_stock(asked[0].reference, [each.push for each in asked])
        except Interrupted:
            raise
        except NotFound:
            lost = PushOutcome(PushState.RETRY, message="The channel knows nothing of it any more.")
            answers = [lost] * len(asked)
        except Rejected as error:
            answers = [PushOutcome(PushState.REJECTED, message=str(error)[:500])] * len(asked)
        except (RateLimited, Unavailable, AuthError) as error:
            shift.note(error, began)
            left = [each for some in by_reference[number:] for each in some]
            if isinstance(error, RateLimited) and error.operation:  # the questions wait, and what is to be written not
                _ask_later(shift, left, max(1.0, retry.rate_limit_wait(error.retry_after, jitter)), error)
                return True
            # Nothing about these listings: the connection pauses.
            _ask_later(shift, left, 0.5 + retry.backoff(row.failures + 1, jitter, longest=30.0), error)
            return False
        except (Exception, SystemExit) as error:
            shift.note(error, began)
            log.error("settling failed", connection=str(shift.connection_id), error=str(error)[:500])
            _ask_later(shift, asked, 0.5 + retry.backoff(asked[0].asked + 1, jitter), error)
            continue
        shift.note(None, began)
        _settled(shift, asked, answers, odd)
    return True


def _ask_later(shift: Shift, asked: Sequence[Pending], wait: float, error: BaseException) -> None:
    undecided = [(each, "", wait) for each in asked]
    said = str(error)[:500]
    shift.write(
        lambda connection, at: pending_pushes.ask_again(connection, shift.merchant_id, undecided, at=at, error=said)
    )


def _settled(shift: Shift, asked: Sequence[Pending], answers: Sequence[PushOutcome], odd: _OddFigures) -> None:
    """Write down what the channel says of figures that it had taken in."""
    outcomes: list[Written | Known | Postponed | Drifted] = []
    stopped: list[tuple[Due, str]] = []
    undecided: list[tuple[Pending, str, float]] = []
    over: list[Pending] = []
    late: list[Pending] = []
    for each, answer in zip(asked, answers, strict=True):
        if answer.state is PushState.PENDING and not each.given_up:
            pause = retry.backoff(each.asked + 1, jitter, longest=_LONGEST_BETWEEN_QUESTIONS)
            undecided.append((each, answer.reference, max(answer.after_seconds, _FIRST_QUESTION, pause)))
            continue
        over.append(each)
        if not each.current:
            if answer.state not in (PushState.REJECTED, PushState.GONE, PushState.STALE):
                late.append(each)
            continue
        if answer.state is PushState.PENDING:
            continue  # nobody ever said: it is written anew once it may be
        was_read = answer.quantity == each.due.quantity
        outcome = _judged(
            _Write(each.due, each.before),
            answer,
            odd,
            each.note,
            _next_check(shift) if was_read else READ_BACK_SECONDS,
            _next_check(shift),
        )
        if isinstance(outcome, str):
            stopped.append((each.due, outcome))
        else:
            outcomes.append(outcome)

    def write_down(connection: Connection, at: datetime) -> None:
        pending_pushes.ask_again(connection, shift.merchant_id, undecided, at=at)
        pending_pushes.drop(connection, shift.merchant_id, over)
        _write_down(connection, shift, outcomes, stopped, odd, at)
        pending_pushes.came_late(connection, shift.merchant_id, late, at=at)

    shift.write(write_down)


def _push(shift: Shift, caller: SalesChannel, writes: Sequence[_Write]) -> Sequence[PushOutcome]:
    if not writes:
        return []
    shift.keep()
    # Before the call: whatever becomes of it, and of this worker, nobody knows what the channel says until it is read.
    if known := [each.due for each in writes if each.due.checked_at is not None]:
        shift.write(lambda connection, _at: publications.doubt(connection, shift.merchant_id, known))
    pushes = [StockPush(each.due.ref, each.due.quantity, each.before, _key(each)) for each in writes]
    answers = caller.push_stock(pushes)
    if len(answers) != len(pushes):
        raise TypeError(f"The connector gave {len(answers)} outcomes for {len(pushes)} figures.")
    return answers


def _key(write: _Write) -> str:
    due = write.due
    return f"{due.listing_id}/{due.ref.location_external_id}/{due.version}/{due.attempts}/{write.before}"


def _is_known(shift: Shift, due: Due) -> bool:
    """Whether the channel surely says it already: it was known to, not long ago, and nothing has cast a doubt on it."""
    return (
        not due.verify
        and due.explain_since is None
        and due.quantity == due.expected
        and due.checked_at is not None
        and due.read_at - due.checked_at < timedelta(minutes=shift.hub.settings.drift_check_minutes)
    )


def _next_check(shift: Shift) -> float:
    """Seconds until a figure that is right is read back; spread, so that not all are read in one moment."""
    return shift.hub.settings.drift_check_minutes * 60 * (0.75 + 0.25 * jitter.random())


def _not_now(due: Due, message: str) -> Postponed:
    wait = 0.2 + retry.backoff(due.attempts + 1, jitter, first=1.0)
    return Postponed(due, wait, error=message, failed=True)


def _figures(caller: SalesChannel, batch: Sequence[Due]) -> Sequence[int | Unread | None]:
    return caller.read_stock([each.ref for each in batch]) if batch else []


def _window(caller: SalesChannel, write: _Write, took: float) -> str:
    notes = []
    if write.odd:
        odd = f"The shop said {write.before}; no order explained the difference."
        notes.append(f"{odd} Before that, {_left(write.due)}.")
    if not caller.capabilities.compare_and_set:
        notes.append(
            f"Read {write.before}, then written; a sale in the {took * 1000:.0f} ms between shows when its order "
            "comes in."
        )
    return " ".join(notes)


def _subject(due: Due) -> str:
    return f"{due.listing_id}/{due.ref.location_external_id}"


def _left(due: Due) -> str:
    """What the hub had left there."""
    if due.expected is None or due.left_at is None:
        return "the hub had written nothing there"
    return f"it was left at {due.expected} on {due.left_at:%d %b, %H:%M:%S} UTC"


def _raise_drift(connection: Connection, shift: Shift, write: _Write, at: datetime) -> None:
    entry, issue = t.publication_entry.c, t.issue.c
    ours = (
        select(entry.quantity)
        .where(
            entry.merchant_id == shift.merchant_id,
            entry.listing_id == write.due.listing_id,
            entry.location_external_id == write.due.ref.location_external_id,
            entry.at < at,
        )
        .order_by(entry.at.desc())
        .limit(1)
    )
    if connection.execute(ours).scalar() == write.before:
        return  # nobody changed it: a sale of its own was expected to be taken off, and was not
    place = (write.due.listing_id, write.due.ref.location_external_id)
    if pending_pushes.is_on_its_way(connection, shift.merchant_id, *place, write.before):
        return  # what was sent before has come true late
    unread = exists().where(
        issue.merchant_id == shift.merchant_id,
        issue.kind == inbox.QUARANTINE,
        issue.subject == str(shift.connection_id),
        issue.resolved_at.is_(None),
    )
    if connection.execute(select(unread)).scalar_one():
        return  # the order that explains it may be among the records that could not be read: that is told already
    title = _title(connection, shift, write.due)
    activity.raise_issue(
        connection,
        shift.merchant_id,
        STOCK_DRIFT,
        _subject(write.due),
        f"“{title}” said {write.before} on {at:%d %b, %H:%M:%S} UTC, and no order explains it; {_left(write.due)}",
        "It is being put right. Find out who else changes stock in the shop: a person, an import or another app.",
        at=at,
        connection_id=shift.connection_id,
        link=f"/stock/{write.due.sku_id}",
    )


def _raise_not_published(connection: Connection, shift: Shift, each: Due, reason: str, at: datetime) -> None:
    title = _title(connection, shift, each)
    activity.raise_issue(
        connection,
        shift.merchant_id,
        NOT_PUBLISHED,
        str(each.listing_id),
        f"The stock of “{title}” could not be written: {reason}",
        "Correct the listing in the shop, then synchronize the connection.",
        at=at,
        connection_id=shift.connection_id,
        link=f"/connections/{shift.connection_id}/listings/{each.listing_id}",
    )


def _title(connection: Connection, shift: Shift, due: Due) -> str:
    listing = t.listing.c
    found: str = connection.execute(
        select(listing.title).where(listing.merchant_id == shift.merchant_id, listing.id == due.listing_id)
    ).scalar_one()
    return found


def _postpone(shift: Shift, postponed: Sequence[Postponed]) -> None:
    shift.write(lambda connection, at: publications.record(connection, shift.merchant_id, postponed, at=at))


def _stop(shift: Shift, due: Due, reason: str) -> None:
    """The shop refuses this listing for good."""

    def write(connection: Connection, at: datetime) -> None:
        publications.stop(connection, shift.merchant_id, due, error=reason[:500])
        _raise_not_published(connection, shift, due, reason, at)

    shift.write(write)


def _fail(shift: Shift, due: Due, error: BaseException) -> None:
    """The connector fails at this very listing: tried again later, and a person is told when that does not help."""
    reason = str(error) if isinstance(error, HubError) else f"The connector failed: {type(error).__name__}: {error}"
    if not isinstance(error, HubError):
        log.error("publishing failed", connection=str(shift.connection_id), error=reason)
    wait = 0.5 + retry.backoff(due.attempts + 1, jitter)
    _postpone(shift, [Postponed(due, wait, error=reason[:500], failed=True)])
    if due.attempts + 1 >= _FAILURES_BEFORE_TOLD:
        shift.write(lambda connection, at: _raise_not_published(connection, shift, due, reason, at))
