"""The fetch lane: checks a person asked for, records to be fetched again, polls of orders and listings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, literal, literal_column, or_, select, update

from hub.connector import Kind, Page, RawRecord, SalesChannel, StockRef, Token, Unread
from hub.core import retry
from hub.errors import AuthError, Conflict, ConnectorError, HubError, NotFound, RateLimited, Rejected, Unavailable
from hub.jobs import checking_addresses, erasing, following_parcels, inbox_lane, messages_lane, previewing, watchdog
from hub.jobs.shift import NewTokens, Shift, hang_up, jitter, start_shift
from hub.store import activity, connections, inbox, listings, privacy, publications, sandbox, stock, tracking
from hub.store import tables as t
from hub.store.database import Database, Interrupted, in_chunks, upsert

log = structlog.get_logger()

POLL_SECONDS = 60.0  # between two reconciling polls where webhooks or messages bring the news
LISTINGS_SECONDS = 3600.0
_LONGEST_PAUSE = 3600.0  # that a connector may ask for
# After a change: no vendor's list of what has changed lags behind for longer.
_SURELY_LISTED = timedelta(minutes=5)
TRIES = 3  # of a check, before a person is told that the vendor cannot be reached
ADOPTION_ROUNDS = 6  # readings of the stock being adopted, until two agree
FETCH_REFUSED = "fetch_refused"  # the kind of issue; the subject is the connection's id, the kind and their id


def work(shift: Shift) -> None:
    """Tasks first, since a person waits; then single records, then the streams that are due."""
    while shift.time_left():
        shift.keep()
        if not any(look(shift) for look in _LOOKS):
            return


def _run_task(shift: Shift) -> bool:
    """Run the oldest open task of the connection; False when there is none."""

    def begin(connection: Connection, at: datetime) -> Row[Any] | None:
        task = t.task.c
        row = connection.execute(
            select(t.task)
            .where(
                task.merchant_id == shift.merchant_id,
                task.connection_id == shift.connection_id,
                task.state.in_(["waiting", "running"]),
                task.due_at <= at,
            )
            .order_by(task.created_at)
            .limit(1)
        ).one_or_none()
        if row is not None:
            # Counted before it runs: a task that breaks its worker down must not do so for ever.
            connection.execute(
                update(t.task)
                .where(task.merchant_id == shift.merchant_id, task.id == row.id)
                .values(state="running", attempts=task.attempts + 1)
            )
        return row

    task = shift.write(begin)
    if task is None:
        return False
    began = shift.now()
    try:
        if task.attempts > TRIES:
            raise Rejected("The connector broke down over this several times. Tell its author, or try again later.")
        message = _TASKS[task.kind](shift, task)
        if message is None:
            return True  # it goes on when its turn comes again
    except Interrupted:
        raise
    except (RateLimited, Unavailable) as error:
        if task.kind != "check":
            shift.note(error, began)
        if isinstance(error, RateLimited) and error.operation:
            _wait_for_budget(shift, task, error)
        elif task.attempts + 1 >= TRIES:
            _end_task(shift, task, "failed", str(error))
        else:
            wait = error.retry_after if isinstance(error, RateLimited) and error.retry_after else 2.0 * 2**task.attempts
            _report(shift, task, f"{error} Trying again shortly…", due_in=min(wait, 60.0))
    except HubError as error:
        _end_task(shift, task, "failed", str(error))
        if task.kind != "check":
            shift.note(error, began)
    except (Exception, SystemExit) as error:
        log.exception("task failed", kind=task.kind)
        _end_task(shift, task, "failed", f"The connector failed: {type(error).__name__}: {error}")
    else:
        _end_task(shift, task, "done", message)
    return True


def _wait_for_budget(shift: Shift, task: Row[Any], error: RateLimited) -> None:
    """The task goes on when the budget of what it asked for allows; this was no attempt that failed."""
    wait = retry.rate_limit_wait(error.retry_after, jitter)
    _report(shift, task, f"{error} Trying again then…", due_in=wait)
    shift.write(lambda connection, _at: connection.execute(_this_task(shift, task).values(attempts=task.attempts)))


def _report(
    shift: Shift,
    task: Row[Any],
    message: str,
    *,
    done: int | None = None,
    total: int | None = None,
    due_in: float | None = None,
) -> None:
    """Tell whoever follows the task how far it is; with ``due_in`` it goes on in so many seconds."""

    def write(connection: Connection, at: datetime) -> None:
        values: dict[str, Any] = {"message": message}
        if done is not None:
            values |= {"done": done, "total": total}
        if due_in is not None:
            values |= {"state": "waiting", "due_at": at + timedelta(seconds=due_in)}
        connection.execute(_this_task(shift, task).values(**values))

    shift.write(write)


def _end_task(shift: Shift, task: Row[Any], state: str, message: str) -> None:
    def write(connection: Connection, at: datetime) -> None:
        connection.execute(_this_task(shift, task).values(state=state, message=message, request=None, finished_at=at))
        if state == "failed":
            activity.note(
                connection,
                shift.merchant_id,
                f"{task.kind}_failed",
                message,
                at=at,
                connection_id=shift.connection_id,
                actor=task.actor,
            )

    shift.write(write)


def _this_task(shift: Shift, task: Row[Any]) -> Any:
    return update(t.task).where(t.task.c.merchant_id == shift.merchant_id, t.task.c.id == task.id)


def _check(shift: Shift, task: Row[Any]) -> str:
    """Prove new settings and, when they work, let the connection live by them."""
    row = shift.row()
    connector = shift.installed(row)
    credentials = connections.unseal(shift.hub.keyring, shift.merchant_id, shift.connection_id, connector, task.request)
    with shift.hub.database.read() as connection:
        credentials = replace(credentials, routes=sandbox.routes_of(connection, row))
    messages_lane.refuse_shared(shift, connector, credentials.settings)
    _report(shift, task, f"Asking {connector.label} whose account this is…")
    here = (shift.hub.keyring, shift.merchant_id, shift.connection_id)

    def keep(obtained: Mapping[str, Token]) -> None:
        sealed = connections.with_tokens(*here, task.request, obtained)
        shift.write(lambda connection, _at: connection.execute(_this_task(shift, task).values(request=sealed)))

    tokens = NewTokens(connections.tokens_in(*here, task.request), keep)
    caller = shift.hub.caller(
        connector, credentials, shift.merchant_id, shift.connection_id, tokens=tokens, on_exchange=shift.recorder
    )
    try:
        account = caller.check()
    finally:
        hang_up(caller)
    address = watchdog.told_at(shift, connector, credentials.settings)

    def write(connection: Connection, at: datetime) -> None:
        connections.checked(
            connection,
            shift.hub.keyring,
            shift.merchant_id,
            shift.connection_id,
            connector,
            task.request,
            account,
            tokens.obtained,
            at=at,
            actor=task.actor,
        )
        sends = connector.kind is Kind.CHANNEL and connector.capabilities.webhooks
        subscribes = sends or "subscribe_webhooks" in connector.effects
        if address is not None and subscribes:
            watchdog.plan_subscription(connection, shift, address, task.id, at)
        # The hub may have moved, and whatever was to come with the old settings does not.
        tracking.follow_from(connection, shift.merchant_id, shift.connection_id, at)

    shift.write(write)
    shift.hang_up()  # what was open was made of the old settings
    shift.ring(shift.connection_id, "effects")
    told = f"Connected to {account.name}."
    if connector.kind is Kind.CHANNEL:
        told += " Its listings and orders are being imported now."
    if connector.kind is Kind.PROVIDER:
        told += " What lies there is being counted now."
    return " ".join([told, *account.warnings])


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the shop said of one SKU: its figures by our location, and the units its open orders hold beside them."""

    figures: tuple[tuple[UUID, int], ...]
    held: int


_Uncounted = dict[UUID, dict[UUID, StockRef]]  # by SKU: where its stock is not counted yet, and where the shop says it


def _adopt(shift: Shift, task: Row[Any]) -> str:
    """Take over opening stock: what the shop says is available, plus what its open orders hold.

    The two are read at different moments, and customers go on buying in between. A SKU is believed when two readings
    of it, with an import of the shop's newest orders after each, agree in both parts.
    """
    row = shift.row()
    if row.state != "connected":
        raise Conflict(f"{row.label} is {row.state}. Connect or resume it, then adopt its stock.")
    if not shift.may_call(row):
        raise Unavailable(f"{row.label} asked for a pause.", sent=False)
    caller = shift.caller(row)
    wanted = _uncounted(shift)
    total, adopted = len(wanted), 0
    if not total:
        return "Every matched SKU has its opening stock already."
    before: dict[UUID, _Reading] = {}
    for _ in range(ADOPTION_ROUNDS):
        _report(shift, task, f"Reading the stock of {row.account_name}…", done=adopted, total=total)
        figures = _figures(shift, caller, wanted)
        if not import_newest_orders(shift, seconds=30.0):
            raise Unavailable(f"The orders of {row.account_name} are still being imported.", sent=False)
        with shift.hub.database.read() as connection:
            held = _held(connection, shift, wanted)
        reading = {sku_id: _Reading(tuple(said.items()), held[sku_id]) for sku_id, said in figures.items()}
        agreed = {sku_id: each for sku_id, each in reading.items() if before.get(sku_id) == each}
        entered = _enter_opening_stock(shift, task, agreed, wanted)
        adopted += len(entered)
        wanted = {sku_id: wanted[sku_id] for sku_id in reading if sku_id not in entered}
        before = reading
        if not wanted:
            break
    told = f"The opening stock of {adopted} SKUs was adopted."
    if wanted:
        told += f" {len(wanted)} were sold too fast to be counted: adopt again in a quieter moment."
    if silent := total - adopted - len(wanted):
        told += f" {silent} have no stock in the shop."
    return told


def _uncounted(shift: Shift) -> _Uncounted:
    """Matched SKUs without a balance at a location of this shop."""
    listing, place, level, ours = t.listing.c, t.channel_location.c, t.stock_level.c, t.location.c
    with shift.hub.database.read() as connection:
        rows = connection.execute(
            select(
                listing.sku_id,
                listing.external_id,
                listing.handles,
                place.external_id.label("where"),
                place.location_id,
            )
            .select_from(
                t.listing.join(
                    t.channel_location,
                    (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
                )
                .join(t.location, (ours.merchant_id == place.merchant_id) & (ours.id == place.location_id))
                .outerjoin(
                    t.stock_level,
                    (level.merchant_id == listing.merchant_id)
                    & (level.sku_id == listing.sku_id)
                    & (level.location_id == place.location_id),
                )
            )
            .where(
                listing.merchant_id == shift.merchant_id,
                listing.connection_id == shift.connection_id,
                listing.sku_id.is_not(None),
                listing.sku_id.not_in(select(t.sku.c.id).where(t.sku.c.merchant_id == shift.merchant_id, t.sku.c.kit)),
                listing.tracked,
                listing.active,
                place.active,
                level.sku_id.is_(None),
            )
            .order_by(listing.bound_at, listing.external_id, ours.created_at, ours.id)
        ).all()
    # Two listings of one SKU show the same goods: the one that was matched first tells how many there are.
    found: _Uncounted = {}
    for row in rows:
        found.setdefault(row.sku_id, {}).setdefault(row.location_id, StockRef(row.external_id, row.where, row.handles))
    return found


def _figures(shift: Shift, caller: SalesChannel, wanted: _Uncounted) -> dict[UUID, dict[UUID, int]]:
    """What the shop says of each SKU at each of our locations; those of which it says nothing are left out."""
    refs = [(sku_id, location, ref) for sku_id, places in wanted.items() for location, ref in places.items()]
    found: dict[UUID, dict[UUID, int]] = {}
    for some in in_chunks(refs, caller.capabilities.push_batch):
        shift.keep()
        for (sku_id, location, _), figure in zip(some, caller.read_stock([ref for *_, ref in some]), strict=True):
            if isinstance(figure, Unread):
                raise Unavailable("The shop could not say its stock of every listing just now.", sent=False)
            if figure is not None:
                found.setdefault(sku_id, {})[location] = figure
    return found


def _held(connection: Connection, shift: Shift, wanted: _Uncounted) -> Counter[UUID]:
    """Units by SKU that open orders hold of the very listings that are read: the shop has taken them off its figure."""
    told_by = {sku_id: {ref.listing_external_id for ref in places.values()} for sku_id, places in wanted.items()}
    held: Counter[UUID] = Counter()
    for line in stock.lines_to_hold(connection, shift.merchant_id, wanted):
        # A kit's own listing holds no stock of its parts at the shop.
        (sku_id, *more) = line.parts
        if (
            line.connection_id == shift.connection_id
            and not more
            and line.listing_external_id in told_by.get(sku_id, ())
        ):
            held[sku_id] += line.units
    return held


def _enter_opening_stock(
    shift: Shift, task: Row[Any], readings: Mapping[UUID, _Reading], wanted: _Uncounted
) -> set[UUID]:
    """Start counting these SKUs; returns those that were entered, all others have changed since they were read."""
    entered: set[UUID] = set()
    touched: set[UUID] = set()
    for some in in_chunks(sorted(readings), 200):
        shift.keep()

        def write(connection: Connection, at: datetime, some: list[UUID] = some) -> tuple[set[UUID], set[UUID]]:
            opened, lines = stock.open_book_to_count(connection, shift.merchant_id, some)
            new = {sku_id: wanted[sku_id] for sku_id in some if sku_id not in opened.counted}
            held = _held(connection, shift, new)
            on_hand: dict[tuple[UUID, UUID], int] = {}
            for sku_id in some:
                # What open orders hold is on the shelf beside the figure, once; of a SKU that is counted elsewhere
                # already they hold it there.
                beside = readings[sku_id].held if sku_id in new else 0
                if sku_id in new and held[sku_id] != beside:
                    continue
                for location, figure in readings[sku_id].figures:
                    if (sku_id, location) not in opened.book.before:
                        on_hand[sku_id, location] = max(0, figure + beside)
                        beside = 0
            started = {sku_id for sku_id, _ in on_hand}
            stock.start_counting(opened, on_hand, lines, f"adopt/{task.id}")
            changed = stock.write_book(
                connection, shift.merchant_id, opened.book, at=at, actor=task.actor, remark="Opening stock"
            )
            return started, changed | publications.ensure(connection, shift.merchant_id, at=at, sku_ids=started)

        started, changed = shift.write(write)
        entered |= started
        touched |= changed
    touched |= stock.serve_woken(shift.hub.database, shift.merchant_id)
    for connection_id in touched:
        shift.ring(connection_id, "publish")
    return entered


def import_newest_orders(shift: Shift, *, seconds: float) -> bool:
    """Fetch and read whatever orders the channel has by now; False if others were at it, or it took too long.

    Callable from any lane: it takes the lanes it needs for as long as it needs them.
    """
    finished = _poll(shift, "orders") if shift.lane == "fetch" else _poll_from_another_lane(shift, "orders")
    began = shift.now()
    gives_up = time.monotonic() + seconds
    while finished and time.monotonic() < gives_up:
        with start_shift(shift.hub, shift.merchant_id, shift.connection_id, "inbox", gives_up) as reading:
            if reading is not None:
                inbox_lane.work(reading)
        with shift.hub.database.read() as connection:
            if not inbox.unread(connection, shift.merchant_id, shift.connection_id, since=began):
                return True
        shift.keep()
        time.sleep(0.05)
    return False


def _poll_from_another_lane(shift: Shift, stream: str) -> bool:
    failure: BaseException | None = None
    with start_shift(shift.hub, shift.merchant_id, shift.connection_id, "fetch", shift.ends) as fetching:
        if fetching is None:
            return False
        try:
            return _poll(fetching, stream)
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            failure = error  # the other lane must not stay taken for it
    raise failure


def _fetch_requested(shift: Shift) -> bool:
    """Fetch the record that has been asked for the longest; False when none is due, or the vendor may not be called."""
    request = t.fetch_request.c
    row = shift.row()
    if not shift.may_call(row):
        return False

    def begin(connection: Connection, at: datetime) -> Row[Any] | None:
        found = connection.execute(
            select(t.fetch_request)
            .where(
                request.merchant_id == shift.merchant_id,
                request.connection_id == shift.connection_id,
                request.due_at <= at,
                _budget_allows(at),
            )
            .order_by(request.due_at)
            .limit(1)
        ).one_or_none()
        if found is not None:
            # Put off before it is tried: whatever happens to this worker, the next try comes later.
            pause = timedelta(seconds=10 + retry.backoff(found.attempts + 1, jitter))
            connection.execute(_this_request(shift, found).values(attempts=request.attempts + 1, due_at=at + pause))
        return found

    wanted = shift.write(begin)
    if wanted is None:
        return False
    asked_at = shift.now()
    try:
        caller: Any = shift.sender(row)
        fetch = caller.fetch_order if wanted.kind == "order" else caller.fetch_listing
        try:
            record: RawRecord | None = fetch(wanted.external_id)
        except NotFound:
            gone = wanted.kind == "order" and caller.kind is Kind.CHANNEL
            record = RawRecord(inbox_lane.GONE, wanted.external_id, b"") if gone else None
    except Interrupted:
        raise
    except (RateLimited, Unavailable, AuthError) as error:
        # Nothing about this record, so that it is not made to wait longer and longer: the connection pauses, or all
        # records of its kind where only their budget is spent.
        shift.note(error, asked_at)
        _put_off(shift, wanted, str(error), attempts=wanted.attempts)
        if not (isinstance(error, RateLimited) and error.operation):
            return False
        _put_off_kind(shift, wanted.kind, retry.rate_limit_wait(error.retry_after, jitter))
        return True
    except ConnectorError as error:
        shift.note(error, asked_at)
        _put_off(shift, wanted, str(error), stuck=True)
        return True
    except (Exception, SystemExit) as error:
        log.exception("fetch failed", kind=wanted.kind)
        _put_off(shift, wanted, f"{type(error).__name__}: {error}", stuck=True)
        return True
    shift.note(None, asked_at)

    def store(connection: Connection, at: datetime) -> None:
        if record is not None:
            inbox.store_fetched(
                connection,
                shift.hub.keyring,
                shift.merchant_id,
                shift.connection_id,
                record,
                asked_at=asked_at,
                at=at,
            )
        elif wanted.kind == "listing":
            listings.retire(connection, shift.merchant_id, shift.connection_id, [wanted.external_id])
        # A request repeated after the vendor was asked stays: this answer may be too old for it.
        connection.execute(
            delete(t.fetch_request).where(
                request.merchant_id == shift.merchant_id,
                request.connection_id == shift.connection_id,
                request.kind == wanted.kind,
                request.external_id == wanted.external_id,
                request.requested_at <= asked_at,
            )
        )
        connection.execute(_this_request(shift, wanted).values(due_at=at, attempts=0, error=""))
        activity.resolve_issue(connection, shift.merchant_id, FETCH_REFUSED, _subject(shift, wanted), at=at)

    shift.write(store)
    shift.ring(shift.connection_id, "inbox")
    return True


def _put_off(shift: Shift, wanted: Row[Any], reason: str, *, stuck: bool = False, attempts: int | None = None) -> None:
    def write(connection: Connection, at: datetime) -> None:
        values: dict[str, Any] = {"error": reason[:1000]}
        if attempts is not None:
            values |= {"attempts": attempts, "due_at": at + timedelta(seconds=1 + retry.backoff(1, jitter))}
        connection.execute(_this_request(shift, wanted).values(**values))
        if stuck:
            activity.raise_issue(
                connection,
                shift.merchant_id,
                FETCH_REFUSED,
                _subject(shift, wanted),
                f"The {wanted.kind} {wanted.external_id} could not be fetched: {reason}",
                "The hub keeps it as last received and goes on trying.",
                at=at,
                connection_id=shift.connection_id,
                link=f"/connections/{shift.connection_id}",
            )

    shift.write(write)


def _put_off_kind(shift: Shift, kind: str, seconds: float) -> None:
    """No single record of this kind is asked for until then: a row for all of them, however many wait."""

    def write(connection: Connection, at: datetime) -> None:
        until = at + timedelta(seconds=max(1.0, seconds))
        statement = upsert(connection, t.cursor).values(
            merchant_id=shift.merchant_id,
            connection_id=shift.connection_id,
            stream=f"{connections.ONE}{kind}",
            due_at=until,
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["merchant_id", "connection_id", "stream"], set_={"due_at": until}
            )
        )

    shift.write(write)


def _budget_allows(at: datetime) -> ColumnElement[bool]:
    """Whether the kind of record of the outer query's request is not put off."""
    cursor, request = t.cursor.c, t.fetch_request.c
    return ~(
        select(cursor.merchant_id)
        .where(
            cursor.merchant_id == request.merchant_id,
            cursor.connection_id == request.connection_id,
            cursor.stream == literal(connections.ONE) + request.kind,
            cursor.due_at > at,
        )
        .exists()
    )


def _subject(shift: Shift, wanted: Row[Any]) -> str:
    return f"{shift.connection_id}/{wanted.kind}/{wanted.external_id}"


def _this_request(shift: Shift, wanted: Row[Any]) -> Any:
    request = t.fetch_request.c
    return update(t.fetch_request).where(
        request.merchant_id == shift.merchant_id,
        request.connection_id == shift.connection_id,
        request.kind == wanted.kind,
        request.external_id == wanted.external_id,
    )


def _poll_due(shift: Shift) -> bool:
    """Poll the stream that is due; False when none is, or the vendor may not be called."""
    cursor = t.cursor.c
    with shift.hub.database.read() as connection:
        stream = connection.execute(
            select(cursor.stream)
            .where(
                cursor.merchant_id == shift.merchant_id,
                cursor.connection_id == shift.connection_id,
                _stream_due(Database.now(connection)),
            )
            # Listings before orders, whose lines are better off with the listings known; what a 3PL has shipped before
            # what it counts, which is less by then.
            .order_by(cursor.stream)
            .limit(1)
        ).scalar_one_or_none()
    if stream is None or not shift.may_call(shift.row()):
        return False
    began = shift.now()
    try:
        if stream == watchdog.STREAM:
            watchdog.watch(shift)
        else:
            _poll(shift, stream)
    except Interrupted:
        raise
    except ConnectorError as error:
        shift.note(error, began)
        if isinstance(error, RateLimited) and error.operation:
            _poll_later(shift, stream, error)
            return True
        _poll_failed(shift, stream, str(error))
        return False
    except (Exception, SystemExit) as error:
        log.exception("poll failed", stream=stream)
        _poll_failed(shift, stream, f"The connector failed: {type(error).__name__}: {error}")
        return False
    shift.note(None, began)
    return True


def _poll_failed(shift: Shift, stream: str, reason: str) -> None:
    shift.write(lambda connection, at: connection.execute(_this_cursor(shift, stream).values(error=reason[:1000])))


def _poll_later(shift: Shift, stream: str, error: RateLimited) -> None:
    """The budget of this stream is spent: it alone goes on later, from the last page that was stored."""
    wait = retry.rate_limit_wait(error.retry_after, jitter)
    shift.write(
        lambda connection, at: connection.execute(
            _this_cursor(shift, stream).values(due_at=at + timedelta(seconds=max(1.0, wait)), error=str(error)[:1000])
        )
    )


def _poll(shift: Shift, stream: str) -> bool:
    """Read a stream, each page stored in one commit with the cursor that leads on from it; True at its end.

    When the shift's time is over it ends after a page, and the next shift goes on from there. So it does, later, where
    the vendor is still getting ready what comes next.
    """
    caller = shift.sender(shift.row())
    cursor = t.cursor.c
    pause = _pause_after(shift, stream, caller)

    def begin(connection: Connection, at: datetime) -> tuple[str | None, int | None, datetime]:
        # Put off before it is tried, as with a fetch request.
        found = connection.execute(
            _this_cursor(shift, stream).values(due_at=at + timedelta(seconds=30)).returning(cursor.value, cursor.total)
        ).one_or_none()
        return (None, None, at) if found is None else (found.value, found.total, at)

    value, total, began = shift.write(begin)
    fetch = getattr(caller, f"fetch_{stream}")  # of the streams that connections.STREAMS names
    asked_at = began
    for page in fetch(value):
        shift.keep()
        # Some vendors count everything, some what is left from the cursor on: what was known before is no less.
        total = total if page.total is None else max(total or 0, page.total)
        if _store_page(shift, stream, page, total, asked_at):
            shift.ring(shift.connection_id, "inbox")
        if page.pause_seconds is not None:
            _end_poll(shift, stream, min(page.pause_seconds, _LONGEST_PAUSE))
            return False
        # A stream without a cursor can only be read in one go.
        if not shift.time_left() and page.cursor not in ("", value):
            _end_poll(shift, stream, 0.0)
            return False
        asked_at = shift.now()
    _end_poll(shift, stream, pause, polled_at=began, total=cursor.fetched)
    return True


def _end_poll(shift: Shift, stream: str, pause: float, **more: Any) -> None:
    """The stream is due again after ``pause`` seconds."""

    def end(connection: Connection, at: datetime) -> None:
        due_at = at + timedelta(seconds=max(0.0, pause))
        connection.execute(_this_cursor(shift, stream).values(due_at=due_at, error="", **more))

    shift.write(end)


def _store_page(shift: Shift, stream: str, page: Page, total: int | None, asked_at: datetime) -> int:
    """Store a page and its cursor, with how many records there will be in all; returns how many of it are new."""

    def store(connection: Connection, at: datetime) -> int:
        new = inbox.store_page(
            connection,
            shift.hub.keyring,
            shift.merchant_id,
            shift.connection_id,
            page.records,
            asked_at=asked_at,
            at=at,
        )
        if stream == "orders":
            _forget_requests(connection, shift, page.records, asked_at, at)
        connection.execute(
            _this_cursor(shift, stream).values(
                value=page.cursor,
                fetched=t.cursor.c.fetched + new,
                total=total,
                due_at=at + timedelta(seconds=30),
            )
        )
        return new

    return shift.write(store)


def _forget_requests(
    connection: Connection, shift: Shift, records: Sequence[RawRecord], asked_at: datetime, at: datetime
) -> None:
    """Orders that waited for long to be fetched one by one have come with the others: nobody asks for them again."""
    request = t.fetch_request.c
    for some in in_chunks([each.external_id for each in records]):
        forgotten = connection.execute(
            delete(t.fetch_request)
            .where(
                request.merchant_id == shift.merchant_id,
                request.connection_id == shift.connection_id,
                request.kind == "order",
                request.external_id.in_(some),
                request.requested_at <= asked_at - _SURELY_LISTED,
            )
            .returning(t.fetch_request)
        ).all()
        subjects = {_subject(shift, each) for each in forgotten}
        activity.resolve_issues(connection, shift.merchant_id, FETCH_REFUSED, subjects, at=at)


def _pause_after(shift: Shift, stream: str, caller: Any) -> float:
    if stream == "listings":
        return LISTINGS_SECONDS
    if stream == "stock":
        return float(caller.capabilities.stock_poll_seconds)
    told = watchdog.told_at(shift, caller.__class__, caller.settings) is not None
    return max(POLL_SECONDS if told else 0.0, float(caller.capabilities.min_poll_seconds))


def _this_cursor(shift: Shift, stream: str) -> Any:
    return update(t.cursor).where(
        t.cursor.c.merchant_id == shift.merchant_id,
        t.cursor.c.connection_id == shift.connection_id,
        t.cursor.c.stream == stream,
    )


def _previewing(
    work: Callable[[Shift, Row[Any], previewing.Tell], str | None],
) -> Callable[[Shift, Row[Any]], str | None]:
    def run(shift: Shift, task: Row[Any]) -> str | None:
        return work(shift, task, lambda told, done, total: _report(shift, task, told, done=done, total=total))

    return run


_TASKS: Mapping[str, Callable[[Shift, Row[Any]], str | None]] = {
    "check": _check,
    "adopt": _adopt,
    "preview": _previewing(previewing.preview_stock),
    "match": _previewing(previewing.accept_matches),
    "sample": _previewing(previewing.fetch_sample),
    "replay": _previewing(previewing.rehearse_replay),
    "apply_replay": _previewing(previewing.replay_records),
    privacy.TASK: _previewing(erasing.erase),
}


# Each does one thing that is due, True if there was one: people wait for the first two.
_LOOKS: Sequence[Callable[[Shift], bool]] = (
    _run_task,
    checking_addresses.work,
    _fetch_requested,
    _poll_due,
    following_parcels.work,
)

# ---------------------------------------------------------------- what is due here


def anything(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the connection of the outer query has a row in ``table`` that meets ``conditions``."""
    shop = t.connection.c
    return (
        select(table.c.merchant_id)
        .where(table.c.merchant_id == shop.merchant_id, table.c.connection_id == shop.id, *conditions)
        .exists()
    )


def task_due(at: datetime) -> ColumnElement[bool]:
    # Spelled out as in the index of those: by parameters SQLite does not find it.
    states: list[ColumnElement[str]] = [literal_column("'waiting'"), literal_column("'running'")]
    return anything(t.task, t.task.c.state.in_(states), t.task.c.due_at <= at)


def _stream_due(at: datetime) -> ColumnElement[bool]:
    """Whether this lane has to see after a stream: a queue has its own, and a kind that is put off is no stream."""
    cursor = t.cursor.c
    return and_(cursor.due_at <= at, cursor.stream != connections.MESSAGES, ~cursor.stream.startswith(connections.ONE))


def fetch_due(at: datetime) -> ColumnElement[bool]:
    return or_(
        anything(t.fetch_request, t.fetch_request.c.due_at <= at, _budget_allows(at)),
        anything(t.cursor, _stream_due(at)),
        anything(t.shipment, t.shipment.c.label.is_not(None), t.shipment.c.track_at <= at),
        anything(t.shipment, t.shipment.c.label.is_not(None), t.shipment.c.documents_at <= at),
        anything(t.shipment, t.shipment.c.label.is_not(None), t.shipment.c.follow_at <= at),
        anything(t.shipment, t.shipment.c.label.is_not(None), t.shipment.c.void_ask_at <= at),
        anything(t.address_check, t.address_check.c.due_at <= at),
    )
