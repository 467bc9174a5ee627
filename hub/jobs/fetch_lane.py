"""The fetch lane: checks a person asked for, records to be fetched again, polls of orders and listings."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, or_, select, update

from hub.connector import Page, RawRecord, SalesChannel, StockRef
from hub.core import retry
from hub.errors import AuthError, ConnectorError, HubError, NotFound, RateLimited, Rejected, Unavailable
from hub.jobs import inbox_lane
from hub.jobs.shift import NewTokens, Shift, jitter, start_shift
from hub.store import activity, connections, effects, inbox, publications
from hub.store import tables as t
from hub.store.database import Database, LeaseLost

log = structlog.get_logger()

POLL_SECONDS = 60.0  # between two reconciling polls where webhooks bring the news
LISTINGS_SECONDS = 3600.0
TRIES = 3  # of a check, before a person is told that the vendor cannot be reached
ADOPTION_ROUNDS = 6  # readings of the stock being adopted, until two agree


def work(shift: Shift) -> None:
    """Tasks first, since a person waits; then single records, then the streams that are due."""
    while shift.time_left():
        shift.keep()
        if not (_run_task(shift) or _fetch_requested(shift) or _poll_due(shift)):
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
    except LeaseLost:
        raise
    except (RateLimited, Unavailable) as error:
        if task.attempts + 1 >= TRIES:
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
    connector = shift.connector(row)
    credentials = connections.unseal(shift.hub.keyring, shift.merchant_id, shift.connection_id, connector, task.request)
    _report(shift, task, f"Asking {connector.label} whose account this is…")
    caller = shift.hub.caller(connector, credentials, shift.merchant_id, shift.connection_id, tokens=NewTokens())
    try:
        account = caller.check()
    finally:
        caller.client.close()
    public_url = shift.hub.settings.public_url

    def write(connection: Connection, at: datetime) -> None:
        connections.checked(
            connection,
            shift.hub.keyring,
            shift.merchant_id,
            shift.connection_id,
            connector,
            task.request,
            account,
            at=at,
            actor=task.actor,
        )
        if public_url and connector.capabilities.webhooks:
            _plan_subscription(connection, shift, public_url, task.id, at)

    shift.write(write)
    shift.hang_up()  # what was open was made of the old settings
    shift.ring(shift.connection_id, "effects")
    told = f"Connected to {account.name}. Its listings and orders are being imported now."
    return " ".join([told, *account.warnings])


def _plan_subscription(connection: Connection, shift: Shift, public_url: str, occasion: UUID, at: datetime) -> None:
    """Plan the effect that has the vendor send its webhooks here; once per ``occasion``, a check that passed."""
    effects.plan(
        connection,
        shift.merchant_id,
        shift.connection_id,
        "subscribe_webhooks",
        f"{shift.connection_id}/{occasion}",
        {"address": f"{public_url.rstrip('/')}/webhooks/{shift.merchant_id}/{shift.connection_id}"},
        now=at,
        ordering_key=f"{shift.connection_id}/webhooks",
    )


def _adopt(shift: Shift, task: Row[Any]) -> str:
    """Take over opening stock: what the shop says is available, plus what its open orders hold.

    The two are read at different moments, and customers go on buying in between. A figure is believed when two
    readings of the shop, with an import of its newest orders after each, agree in both parts.
    """
    row = shift.row()
    caller = shift.caller(row)
    wanted = _uncounted(shift)
    total = len(wanted)
    if not total:
        return "Every matched SKU has its opening stock already."
    settled: dict[tuple[UUID, UUID], int] = {}
    before: dict[tuple[UUID, UUID], tuple[int, int]] = {}
    for round_number in range(ADOPTION_ROUNDS):
        _report(shift, task, f"Reading the stock of {row.account_name}…", done=len(settled), total=total)
        refs = list(wanted.items())
        figures: dict[tuple[UUID, UUID], int] = {}
        for start in range(0, len(refs), caller.capabilities.push_batch):
            shift.keep()
            chunk = refs[start : start + caller.capabilities.push_batch]
            for (place, _ref), figure in zip(chunk, caller.read_stock([ref for _, ref in chunk]), strict=True):
                if figure is not None:
                    figures[place] = figures.get(place, 0) + figure
        import_newest_orders(shift, seconds=30.0)
        held = _held_by_open_orders(shift, {sku_id for sku_id, _ in figures})
        reading = {place: (figure, held.get(place[0], 0)) for place, figure in figures.items()}
        last = round_number == ADOPTION_ROUNDS - 1
        agreed = {
            place: figure + holding
            for place, (figure, holding) in reading.items()
            if last or before.get(place) == (figure, holding)
        }
        settled |= agreed
        wanted = {place: ref for place, ref in wanted.items() if place in figures and place not in settled}
        before = reading
        if not wanted:
            break
    return _enter_opening_stock(shift, task, settled)


def _uncounted(shift: Shift) -> dict[tuple[UUID, UUID], StockRef]:
    """Matched listings of SKUs without a balance, each with the location its stock will be at."""
    listing, place = t.listing.c, t.channel_location.c
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
                    t.sku, (t.sku.c.merchant_id == listing.merchant_id) & (t.sku.c.id == listing.sku_id)
                ).join(
                    t.channel_location,
                    (place.merchant_id == listing.merchant_id) & (place.connection_id == listing.connection_id),
                )
            )
            .where(
                listing.merchant_id == shift.merchant_id,
                listing.connection_id == shift.connection_id,
                listing.tracked,
                listing.active,
                t.sku.c.counted_since.is_(None),
                place.location_id.is_not(None),
                place.active,
            )
            .order_by(listing.id)
        ).all()
    # Two listings of one SKU show the same goods: the first one tells how many there are.
    refs: dict[tuple[UUID, UUID], StockRef] = {}
    for row in rows:
        refs.setdefault((row.sku_id, row.location_id), StockRef(row.external_id, row.where, row.handles))
    return refs


def _held_by_open_orders(shift: Shift, sku_ids: set[UUID]) -> dict[UUID, int]:
    """Units that this connection's open orders hold, by SKU: the shop has taken them off its figure already."""
    line, order = t.order_line.c, t.sales_order.c
    open_units = line.quantity - line.fulfilled - line.removed
    with shift.hub.database.read() as connection:
        return dict(
            connection.execute(
                select(line.sku_id, func.sum(open_units))
                .select_from(
                    t.order_line.join(
                        t.sales_order, (order.merchant_id == line.merchant_id) & (order.id == line.order_id)
                    )
                )
                .where(
                    line.merchant_id == shift.merchant_id,
                    order.connection_id == shift.connection_id,
                    order.holds_stock,
                    line.present,
                    open_units > 0,
                    line.sku_id.in_(sku_ids),
                )
                .group_by(line.sku_id)
            ).all()
        )


def _enter_opening_stock(shift: Shift, task: Row[Any], opening: dict[tuple[UUID, UUID], int]) -> str:
    adopted, touched = 0, set()
    places = sorted(opening)
    for start in range(0, len(places), 200):
        shift.keep()
        chunk = places[start : start + 200]

        def write(connection: Connection, at: datetime, chunk: list[tuple[UUID, UUID]] = chunk) -> set[UUID]:
            skus = {sku_id for sku_id, _ in chunk}
            line = t.order_line.c
            order_ids = connection.execute(
                select(line.order_id)
                .distinct()
                .where(line.merchant_id == shift.merchant_id, line.sku_id.in_(skus), line.present)
            ).scalars()
            changed = connections.settle_orders(
                connection,
                shift.merchant_id,
                list(order_ids),
                sku_ids=skus,
                at=at,
                book_opened={place: (max(0, opening[place]), f"adopt/{task.id}") for place in chunk},
                actor=task.actor,
                remark="Opening stock",
            )
            return changed | publications.ensure(connection, shift.merchant_id, at=at)

        touched |= shift.write(write)
        adopted += len(chunk)
        _report(shift, task, "Entering the opening stock…", done=adopted, total=len(places))
    for connection_id in touched:
        shift.ring(connection_id, "publish")
    return f"The opening stock of {adopted} SKUs was adopted."


def import_newest_orders(shift: Shift, *, seconds: float) -> bool:
    """Fetch and read whatever orders the channel has by now; False if others were at it, or it took too long.

    Callable from any lane: it takes the lanes it needs for as long as it needs them.
    """
    if shift.lane == "fetch":
        _poll(shift, "orders")
    else:
        with start_shift(shift.hub, shift.merchant_id, shift.connection_id, "fetch", shift.ends) as fetching:
            if fetching is None:
                return False
            _poll(fetching, "orders")
    began = shift.now()
    gives_up = time.monotonic() + seconds
    while time.monotonic() < gives_up:
        with start_shift(shift.hub, shift.merchant_id, shift.connection_id, "inbox", gives_up) as reading:
            if reading is not None:
                inbox_lane.work(reading)
        with shift.hub.database.read() as connection:
            if not inbox.unread(connection, shift.merchant_id, shift.connection_id, since=began):
                return True
        shift.keep()
        time.sleep(0.05)
    return False


def orders_known_at(shift: Shift) -> datetime | None:
    """The moment up to which the channel's orders are surely imported: its last full poll, once all of it is read.

    Webhooks that came in later do not matter; under load there always are some.
    """
    cursor = t.cursor.c
    with shift.hub.database.read() as connection:
        polled_at: datetime | None = connection.execute(
            select(cursor.polled_at).where(
                cursor.merchant_id == shift.merchant_id,
                cursor.connection_id == shift.connection_id,
                cursor.stream == "orders",
            )
        ).scalar_one_or_none()
        if polled_at is None or inbox.unread(connection, shift.merchant_id, shift.connection_id, since=polled_at):
            return None
        return polled_at


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
        caller = shift.caller(row)
        fetch = caller.fetch_order if wanted.kind == "order" else caller.fetch_listing
        try:
            record: RawRecord | None = fetch(wanted.external_id)
        except NotFound:
            record = RawRecord(inbox_lane.GONE, wanted.external_id, b"") if wanted.kind == "order" else None
    except ConnectorError as error:
        shift.note(error, asked_at)
        _put_off(shift, wanted, str(error), stuck=isinstance(error, Rejected))
        return not isinstance(error, RateLimited | Unavailable | AuthError)
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
        else:
            connections.retire_listing(connection, shift.merchant_id, shift.connection_id, wanted.external_id)
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

    shift.write(store)
    shift.ring(shift.connection_id, "inbox")
    return True


def _put_off(shift: Shift, wanted: Row[Any], reason: str, *, stuck: bool) -> None:
    def write(connection: Connection, at: datetime) -> None:
        connection.execute(_this_request(shift, wanted).values(error=reason[:1000]))
        if stuck:
            activity.raise_issue(
                connection,
                shift.merchant_id,
                "fetch_refused",
                f"{shift.connection_id}/{wanted.kind}/{wanted.external_id}",
                f"The {wanted.kind} {wanted.external_id} could not be fetched: {reason}",
                "The hub keeps it as last received and goes on trying.",
                at=at,
                connection_id=shift.connection_id,
                link=f"/connections/{shift.connection_id}",
            )

    shift.write(write)


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
                cursor.due_at <= Database.now(connection),
            )
            # Listings first: an order's lines are better off with the listings known.
            .order_by(cursor.stream)
            .limit(1)
        ).scalar_one_or_none()
    if stream is None or not shift.may_call(shift.row()):
        return False
    began = shift.now()
    try:
        _poll(shift, stream)
    except LeaseLost:
        raise
    except ConnectorError as error:
        shift.note(error, began)
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


def _poll(shift: Shift, stream: str) -> None:
    """Read a stream to its end, each page stored in one commit with the cursor that leads on from it."""
    row = shift.row()
    caller = shift.caller(row)
    cursor = t.cursor.c
    pause = _pause_after(shift, stream, caller)

    def begin(connection: Connection, at: datetime) -> tuple[str | None, datetime]:
        # Put off before it is tried, as with a fetch request.
        value = connection.execute(
            _this_cursor(shift, stream).values(due_at=at + timedelta(seconds=30)).returning(cursor.value)
        ).scalar_one_or_none()
        return value, at

    value, began = shift.write(begin)
    fetch = caller.fetch_orders if stream == "orders" else caller.fetch_listings
    asked_at = began
    for page in fetch(value):
        shift.keep()
        new = _store_page(shift, stream, page, asked_at)
        if new:
            shift.ring(shift.connection_id, "inbox")
        asked_at = shift.now()
    shift.write(
        lambda connection, at: connection.execute(
            _this_cursor(shift, stream).values(polled_at=began, due_at=at + timedelta(seconds=pause), error="")
        )
    )


def _store_page(shift: Shift, stream: str, page: Page, asked_at: datetime) -> int:
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
        connection.execute(
            _this_cursor(shift, stream).values(
                value=page.cursor,
                fetched=t.cursor.c.fetched + new,
                total=page.total,
                due_at=at + timedelta(seconds=30),
            )
        )
        return new

    return shift.write(store)


def _pause_after(shift: Shift, stream: str, caller: SalesChannel) -> float:
    if stream == "listings":
        return LISTINGS_SECONDS
    told = shift.hub.settings.public_url and caller.capabilities.webhooks
    return max(POLL_SECONDS if told else 0.0, caller.capabilities.min_poll_seconds)


def _this_cursor(shift: Shift, stream: str) -> Any:
    return update(t.cursor).where(
        t.cursor.c.merchant_id == shift.merchant_id,
        t.cursor.c.connection_id == shift.connection_id,
        t.cursor.c.stream == stream,
    )


_TASKS = {"check": _check, "adopt": _adopt}


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
    return anything(t.task, t.task.c.state.in_(["waiting", "running"]), t.task.c.due_at <= at)


def fetch_due(at: datetime) -> ColumnElement[bool]:
    return or_(anything(t.fetch_request, t.fetch_request.c.due_at <= at), anything(t.cursor, t.cursor.c.due_at <= at))
