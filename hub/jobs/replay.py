"""Reading again what came in: which orders the installed connector reads differently by now, and making them so.

Every stored record of a connection is read again, in the order it came in, and the rules of the import say which of
them each order should stand by. An order is only touched through the record that was applied last, or one that would
have been applied after it: where that record is not there any more, an older one must not win in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, and_, func, or_, select, tuple_, update
from sqlalchemy.exc import OperationalError

from hub.connector import OrderRemoved, Refetch, SalesChannel
from hub.core.model import Money, Order
from hub.core.services import OrderRecord, Received, Terms, import_orders
from hub.core.stock import StockBook
from hub.errors import BadInput, Conflict, HubError, Rejected
from hub.jobs import inbox_lane
from hub.jobs.shift import Hub, start_shift
from hub.store import activity, inbox, orders, stock
from hub.store import tables as t
from hub.store import words as shop_words
from hub.store.database import Broken, Database, Interrupted, in_chunks, new_id

log = structlog.get_logger()

Progress = Callable[[str, int, int], None]  # what is being done, how far, of how many
Result = TypeVar("Result")

_READ_AT_ONCE = 100
_WRITTEN_AT_ONCE = 50
_PATIENCE_SECONDS = 60.0  # for a worker that is at the same connection's records

# ---------------------------------------------------------------- what is found


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an order says differently; "" where it says nothing of it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Held:
    """The units of a SKU that an order holds: reserved for it."""

    sku: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Changed:
    """An order that changes, and the units it holds of each SKU. ``order_id`` None: it would be new."""

    number: str
    external_id: str
    order_id: UUID | None
    changes: tuple[Change, ...]
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that was left alone, and why: a sentence for a person."""

    number: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Item:
    """An order that may change: the record it should stand by, and what stood there when that was found out."""

    external_id: str
    record_id: UUID
    stood: datetime | None  # when the record that the hub stands by came in; None: it does not have the order


@dataclass
class Survey:
    """What reading again has found.

    ``records`` were met; ``forgotten`` of them have no body any more, ``readable`` of those ``quarantined`` can be read
    now. ``items`` are the orders that may change, ``released`` records that go the way of everything that comes in.
    """

    hub: Hub
    merchant_id: UUID
    connection_id: UUID
    label: str
    reader: SalesChannel
    records: int = 0
    forgotten: int = 0
    quarantined: int = 0
    readable: int = 0
    orders: int = 0
    items: list[_Item] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    settled: list[tuple[UUID, str]] = field(default_factory=list)  # can be read now, and say nothing new
    troubles: list[Trouble] = field(default_factory=list)
    version: str = ""


@dataclass(slots=True)
class _Standing:
    """How an order would stand by the records met so far, and which of them it stands by."""

    record: OrderRecord
    record_id: UUID
    whole: bool
    anchored: bool = False  # the record that the hub applied last was among them
    fresh: list[tuple[UUID, str]] = field(default_factory=list)  # those that had no effect before, with their state


# ---------------------------------------------------------------- which connection, which order


def find_connection(database: Database, text: str) -> Row[Any]:
    """The connection whose id or label this is. Raises BadInput, with the candidates where there are several."""
    shop = t.connection.c
    with database.read() as connection:
        rows = connection.execute(select(t.connection).order_by(shop.label, shop.id)).all()
    found = [row for row in rows if text.strip().lower() in (str(row.id), row.label.lower())]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"{row.label} ({row.connector}) {row.id}" for row in (found or rows)[:20])
    if found:
        raise BadInput(f"Several connections are called “{text}”. Name one by its id: {listed}.")
    raise BadInput(f"There is no connection “{text}”. " + (f"There are: {listed}." if rows else "There is none yet."))


def find_order(database: Database, text: str, *, connection_id: UUID | None = None) -> Row[Any]:
    """The order with this number, id or id at its channel. Raises BadInput, with the candidates if there are more."""
    order, shop = t.sales_order.c, t.connection.c
    wanted = text.strip()
    named = [order.number.in_([wanted, f"#{wanted}"]), order.external_id == wanted]
    with suppress(ValueError):
        named.append(order.id == UUID(wanted))
    query = (
        select(t.sales_order, shop.label, shop.connector)
        .join(t.connection, and_(shop.merchant_id == order.merchant_id, shop.id == order.connection_id))
        .where(or_(*named))
        .order_by(order.placed_at, order.id)
        .limit(21)
    )
    if connection_id is not None:
        query = query.where(order.connection_id == connection_id)
    with database.read() as connection:
        found = connection.execute(query).all()
    if len(found) == 1:
        return found[0]
    if found:
        listed = "; ".join(f"{row.number} of {row.label} ({row.connector}) {row.id}" for row in found[:20])
        raise BadInput(f"Several orders are called “{text}”. Name one by its id: {listed}.")
    raise BadInput(f"There is no order “{text}”. Use its number, its id at the shop, or the id in its page's address.")


# ---------------------------------------------------------------- reading everything again


def survey(
    hub: Hub,
    shop: Row[Any],
    *,
    progress: Progress,
    since: datetime | None = None,
    order: Row[Any] | None = None,
) -> Survey:
    """Read the records of a connection again; nothing is written.

    With ``since`` only those that came in from then on, and orders that stand by one of these; with ``order`` only
    what is about it. Raises BadInput when the connector is not installed.
    """
    connector = hub.registry.connector(shop.connector)
    if not issubclass(connector, SalesChannel):
        raise Rejected(f"{connector.label} is no sales channel: it has no orders to read again.")
    if shop.secrets is None or shop.state == "removed":
        raise Conflict(f"{shop.label} was removed, and its settings with it: its records cannot be read any more.")
    with hub.database.read() as connection:
        credentials = shop_words.credentials(connection, hub.keyring, connector, shop)
    found = Survey(hub, shop.merchant_id, shop.id, shop.label, hub.reader(connector, credentials))
    found.version = next(
        (f"{each.distribution} {each.version}" for each in hub.registry.plugins if shop.connector in each.connectors),
        shop.connector,
    )
    stored = _stored_orders(hub.database, shop, order)
    standings: dict[str, _Standing] = {}
    forgotten: set[str] = set()
    with hub.database.read() as connection:
        total = connection.execute(
            select(func.count())
            .select_from(t.inbox)
            .where(t.inbox.c.merchant_id == shop.merchant_id, *_wanted_records(shop, since, order))
        ).scalar_one()
    for row, record in _records(hub, shop, since, order):
        found.records += 1
        if found.records % 500 == 0 or found.records == total:
            progress("records", found.records, total)
        known = stored.get(row.external_id)
        if record is None:
            found.forgotten += 1
            if known is not None and known.received_at == row.received_at:
                forgotten.add(row.external_id)
            continue
        _read_one(found, row, record, stored, standings, order)
    for external_id in sorted(forgotten - {each for each, one in standings.items() if one.anchored}):
        found.troubles.append(
            Trouble(stored[external_id].number, "The record it stands by was deleted when its time was over.")
        )
    _decide(found, stored, standings, since)
    return found


def _stored_orders(database: Database, shop: Row[Any], order: Row[Any] | None) -> dict[str, Row[Any]]:
    this = t.sales_order.c
    columns = (
        this.external_id,
        this.number,
        this.status,
        this.received_at,
        this.version,
        this.content_sha256,
        this.whole,
    )
    query = select(*columns).where(this.merchant_id == shop.merchant_id, this.connection_id == shop.id)
    if order is not None:
        query = query.where(this.id == order.id)
    with database.read() as connection:
        rows: Sequence[Any] = connection.execute(query).all()
    return {row.external_id: row for row in rows}


def _wanted_records(shop: Row[Any], since: datetime | None, order: Row[Any] | None) -> list[Any]:
    this = t.inbox.c
    wanted = [
        this.connection_id == shop.id,
        this.state != "pending",  # still to be read for the first time
        this.topic != "listing",  # listings are fetched again every hour anyway
    ]
    if since is not None:
        wanted.append(this.received_at >= since)
    if order is not None:
        # What was ignored or set aside does not say yet which order it is about.
        wanted.append(or_(this.external_id.in_([order.external_id, ""]), this.received_at == order.received_at))
    return wanted


def _records(
    hub: Hub, shop: Row[Any], since: datetime | None, order: Row[Any] | None
) -> Iterator[tuple[Row[Any], inbox.Stored | None]]:
    """The records in the order they came in; None where the body is gone. No transaction is open in between."""
    this = t.inbox.c
    after: tuple[datetime, UUID] | None = None
    while True:
        wanted = _wanted_records(shop, since, order)
        if after is not None:
            wanted.append(tuple_(this.received_at, this.id) > after)
        rows, read = inbox.read_again(hub.database, hub.keyring, shop.merchant_id, *wanted, limit=_READ_AT_ONCE)
        if not rows:
            return
        for row in rows:
            yield row, read.get(row.id)
        after = rows[-1].received_at, rows[-1].id


def _read_one(
    found: Survey,
    row: Row[Any],
    record: inbox.Stored,
    stored: Mapping[str, Row[Any]],
    standings: dict[str, _Standing],
    order: Row[Any] | None,
) -> None:
    about = stored.get(row.external_id) if row.state == "done" else None
    found.quarantined += row.state == "quarantined"
    if row.crash_count > inbox.MOST_CRASHES:
        if order is None:
            found.released.append(row.id)  # it broke its worker down: tried again in a worker's child only
        return
    if record.damage:
        return
    try:
        facts = inbox_lane.facts(found.reader, record.record)
    except (Exception, SystemExit) as error:  # a plugin may do anything; its record alone is left as it is
        if about is not None:
            reason = f"A record of it that could be read before cannot be read by {found.version}: {_told(error)}"
            found.troubles.append(Trouble(about.number, reason))
        return
    found.readable += row.state == "quarantined"
    told = {fact.external_id: fact for fact in facts if isinstance(fact, Order | OrderRemoved)}
    if about is not None and about.external_id not in told:
        if told:
            # Two orders must not be made of one because its id is read differently: that is for a person to decide.
            reason = f"Its record is read as the order {', '.join(sorted(told))} by {found.version}. It was left alone."
            found.troubles.append(Trouble(about.number, reason))
        elif not any(isinstance(fact, Refetch) for fact in facts) and about.received_at == row.received_at:
            reason = f"The record it stands by says nothing of it any more to {found.version}. It was left alone."
            found.troubles.append(Trouble(about.number, reason))
        return
    if order is not None and order.external_id not in told:
        return
    if row.state == "quarantined" and len(told) < len(facts):
        found.released.append(row.id)  # it says other things as well, which the workers know what to do with
        return
    for external_id, fact in told.items():
        if order is None or external_id == order.external_id:
            _stand(row, fact, stored.get(external_id), standings)


def _stand(row: Row[Any], fact: Order | OrderRemoved, known: Row[Any] | None, standings: dict[str, _Standing]) -> None:
    """Let one more record say how its order stands, by the rules of the import itself, without any stock."""
    value = fact if isinstance(fact, Order) else None
    received = Received(fact.external_id, value, row.received_at, row.asked_at, alone=row.source == "fetch")
    standing = standings.get(fact.external_id)
    before = {} if standing is None else {fact.external_id: standing.record}
    plan = import_orders([received], before, Terms(at=row.received_at), StockBook({}), new_id)
    record = plan.orders.get(fact.external_id)
    if record is None:
        return  # asked for an order that neither side has
    record.lines.clear()
    record.bodies.clear()
    if standing is None:
        standing = standings[fact.external_id] = _Standing(record, row.id, record.whole)
    elif plan.outcomes == ["applied"] or (record.whole and not standing.whole):
        standing.record_id, standing.whole = row.id, record.whole
    if known is not None and known.received_at == row.received_at:
        standing.anchored = True
    if row.state != "done":
        standing.fresh.append((row.id, row.state))


def _decide(
    found: Survey, stored: Mapping[str, Row[Any]], standings: Mapping[str, _Standing], since: datetime | None
) -> None:
    found.orders = sum(1 for row in stored.values() if since is None or row.received_at >= since)
    for external_id, standing in standings.items():
        known = stored.get(external_id)
        if known is None:
            if standing.record.status == "removed":
                continue  # it is gone, and never was here
            found.items.append(_Item(external_id, standing.record_id, None))
        elif not standing.anchored:
            found.released += [record_id for record_id, _ in standing.fresh]
            continue
        elif _differs(known, standing.record):
            found.items.append(_Item(external_id, standing.record_id, known.received_at))
        found.settled += [(record_id, external_id) for record_id, _ in standing.fresh]


def _differs(known: Row[Any], record: OrderRecord) -> bool:
    if (known.status == "removed") != (record.status == "removed"):
        return True
    if record.status == "removed":
        return False
    return (known.content_sha256, known.version, known.whole) != (record.content, record.version, record.whole)


# ---------------------------------------------------------------- what would change, and changing it


class _Undone(Exception):
    """Carries a result out of a transaction that is rolled back."""

    def __init__(self, done: _Done) -> None:
        self.done = done


_Read = tuple[_Item, Any, Order | OrderRemoved]
_Done = tuple[list[Changed], dict[str, Trouble]]  # and those that could not be changed, by external id


def preview(found: Survey) -> Iterator[Changed]:
    """The orders that would change, and how. Each is changed for real, and the change taken back, so that the figures
    are what they would be; orders that compete for the same stock are looked at fifty at a time."""
    for batch in _batches(found):
        yield from _noted(found, _rehearsed(found, batch))


def carry_out(found: Survey) -> Iterator[Changed]:
    """Change the orders, a batch per commit, and hand what can be read now to the workers.

    Safe while workers run, and safe to begin anew after it was broken off: what was changed does not differ any more.
    Raises Conflict when a worker does not let go of the connection's records.
    """
    touched: set[UUID] = set()
    for batch in _batches(found):
        yield from _noted(found, _in_the_lane(found, lambda c, at, batch=batch: _apply(found, c, batch, at, touched)))  # type: ignore[misc]
    # Last, so that they meet the orders as they are read now.
    for rows in in_chunks(found.settled, 500):
        _in_the_lane(found, lambda c, at, rows=rows: _settle(found, c, rows, at))  # type: ignore[misc]
    for ids in in_chunks(found.released, 500):
        _in_the_lane(found, lambda c, at, ids=ids: _release(found, c, ids, at))  # type: ignore[misc]
    for connection_id in touched | stock.serve_woken(found.hub.database, found.merchant_id):
        found.hub.doorbell.ring(found.merchant_id, connection_id, "publish")
    for lane in ("inbox", "fetch"):
        found.hub.doorbell.ring(found.merchant_id, found.connection_id, lane)


def _batches(found: Survey) -> Iterator[list[_Read]]:
    """What may change, each order with its record as it is read now. No transaction is open meanwhile."""
    for items in in_chunks(found.items, _WRITTEN_AT_ONCE):
        ids = [each.record_id for each in items]
        rows, read = inbox.read_again(
            found.hub.database, found.hub.keyring, found.merchant_id, t.inbox.c.id.in_(ids), limit=len(ids)
        )
        by_id = {row.id: row for row in rows}
        batch: list[_Read] = []
        for item in items:
            record = read.get(item.record_id)
            try:
                facts = inbox_lane.facts(found.reader, record.record) if record else []
            except (Exception, SystemExit) as error:
                reason = f"Its record could be read a moment ago, and cannot be now: {_told(error)}"
                found.troubles.append(Trouble(item.external_id, reason))
                continue
            for fact in facts:
                if isinstance(fact, Order | OrderRemoved) and fact.external_id == item.external_id:
                    batch.append((item, by_id[item.record_id], fact))
        yield batch


def _noted(found: Survey, done: _Done) -> list[Changed]:
    """What changed, with what did not kept among the troubles."""
    changed, failed = done
    for external_id, trouble in failed.items():
        found.troubles.append(trouble)
        found.settled = [each for each in found.settled if each[1] != external_id]
    return changed


def _rehearsed(found: Survey, batch: Sequence[_Read]) -> _Done:
    for attempt in range(5):
        try:
            with found.hub.database.write() as connection:
                raise _Undone(_apply(found, connection, batch, Database.now(connection), set()))
        except _Undone as undone:
            return undone.done
        except Interrupted:
            time.sleep(0.1 * 2**attempt)
    raise Conflict("The database is too busy to try these changes out. Try again in a while.")


def _in_the_lane(found: Survey, work: Callable[[Connection, datetime], Result]) -> Result:
    """One commit in the connection's inbox lane, in which nobody else imports meanwhile."""
    gives_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with start_shift(found.hub, found.merchant_id, found.connection_id, "inbox", gives_up) as shift:
            if shift is not None:
                return shift.write(lambda connection, at: work(connection, at))
        if time.monotonic() > gives_up:
            raise Conflict(
                f"A worker has been reading the records of {found.label} for a minute. What was changed so far stays; "
                "try again in a while."
            )
        time.sleep(0.05)


def _settle(found: Survey, connection: Connection, rows: Sequence[tuple[UUID, str]], at: datetime) -> None:
    inbox.finish(connection, found.merchant_id, rows, (), at=at)
    inbox.resolve_quarantine(connection, found.merchant_id, found.connection_id, at=at)


def _release(found: Survey, connection: Connection, ids: Sequence[UUID], at: datetime) -> None:
    inbox.release(connection, found.merchant_id, found.connection_id, ids)
    inbox.resolve_quarantine(connection, found.merchant_id, found.connection_id, at=at)


def _apply(found: Survey, connection: Connection, batch: Sequence[_Read], at: datetime, touched: set[UUID]) -> _Done:
    """Change a batch of orders in the caller's transaction. One that cannot be changed holds back no other."""
    changed: list[Changed] = []
    failed: dict[str, Trouble] = {}
    for item, row, fact in batch:
        step = connection.begin_nested()
        try:
            one = _apply_one(found, connection, item, row, fact, at, touched)
        except Interrupted:
            raise
        except OperationalError as error:
            # Orders are changed one by one, so that stock is locked in no fixed order: all of it is done again.
            raise Broken("Somebody else changed the same stock at the same moment.") from error
        except Exception as error:
            step.rollback()
            reason = _told(error)
            log.warning("an order could not be read again", connection=str(found.connection_id), error=reason)
            number = fact.number if isinstance(fact, Order) else item.external_id
            failed[item.external_id] = Trouble(number, f"It could not be changed: {reason}")
            continue
        if one is None:
            step.rollback()  # it reads a little differently and says the same
        else:
            step.commit()
            changed.append(one)
    return changed, failed


def _told(error: BaseException) -> str:
    return (str(error) if isinstance(error, HubError) else f"{type(error).__name__}: {error}")[:500]


def _apply_one(
    found: Survey,
    connection: Connection,
    item: _Item,
    row: Row[Any],
    fact: Order | OrderRemoved,
    at: datetime,
    touched: set[UUID],
) -> Changed | None:
    """Let one order stand by its record, in the caller's transaction; None when that changes nothing about it."""
    here = (connection, found.merchant_id, found.connection_id)
    value = fact if isinstance(fact, Order) else None
    this = t.sales_order.c
    mine = (
        this.merchant_id == found.merchant_id,
        this.connection_id == found.connection_id,
        this.external_id == item.external_id,
    )
    known = connection.execute(select(t.sales_order).where(*mine)).one_or_none()
    if (known.received_at if known else None) != item.stood:
        raise Conflict("Something newer came in meanwhile. Look again.")
    before = words(connection, found.merchant_id, known.id) if known else {}
    held_before = _held(connection, found.merchant_id, known.id) if known else {}
    asked_at = row.asked_at
    if known is not None:
        # It is the reading that has changed, not the order: what stands there is made to be as old and as whole as its
        # record is read now, and the record then comes in as the answer to a question asked after it.
        asked_at = max(row.asked_at or known.received_at, known.received_at)
        if value is not None:
            connection.execute(update(t.sales_order).where(*mine).values(version=value.version, whole=value.whole))
            edit = t.order_version.c
            connection.execute(
                update(t.order_version)
                .where(edit.merchant_id == found.merchant_id, edit.order_id == known.id, edit.version > value.version)
                .values(version=value.version)
            )
    received = Received(item.external_id, value, row.received_at, asked_at, alone=bool(value) and row.source == "fetch")
    _plan, others = orders.apply(*here, [received], at=at)
    now = connection.execute(select(this.id, this.number).where(*mine)).one()
    after = words(connection, found.merchant_id, now.id)
    changes = tuple(
        Change(what, before.get(what, ""), after.get(what, ""))
        for what in dict.fromkeys([*before, *after])
        if before.get(what, "") != after.get(what, "")
    )
    held_after = _held(connection, found.merchant_id, now.id)
    held = tuple(
        Held(sku, held_before.get(sku, 0), held_after.get(sku, 0))
        for sku in sorted({*held_before, *held_after})
        if held_before.get(sku, 0) != held_after.get(sku, 0)
    )
    if not changes and not held:
        return None
    named = list(dict.fromkeys(each.what.partition(":")[0] for each in changes))
    activity.note(
        connection,
        found.merchant_id,
        "order_replayed",
        f"Order {now.number} was read again by {found.version}: {', '.join(named)}.",
        at=at,
        connection_id=found.connection_id,
        order_id=now.id,
        details={"cause": "replayed", "record": str(row.id), "connector": found.version},
    )
    touched |= others
    return Changed(now.number, item.external_id, known.id if known else None, changes, held)


# ---------------------------------------------------------------- an order in words

_AMOUNTS = {
    "total_minor": "total",
    "lines_minor": "lines together",
    "shipping_minor": "shipping",
    "tax_minor": "tax",
    "discount_minor": "discount",
    "fees_minor": "fees",
    "rounding_minor": "rounding",
}
_TEXTS = {
    "number": "number",
    "channel_status": "status at the shop",
    "customer_name": "customer",
    "email": "e-mail",
    "note": "note",
}
_FLAGS = {
    "holds_stock": "holds stock at the shop",
    "whole": "whole record",
    "test": "test order",
    "taxes_included": "prices include tax",
    "priced": "amounts are told",
}


def words(connection: Connection, merchant_id: UUID, order_id: UUID) -> dict[str, str]:
    """What the hub says of an order, each thing by its name in words, in the order a person reads it."""
    order, line = t.sales_order.c, t.order_line.c
    row = connection.execute(select(t.sales_order).where(order.merchant_id == merchant_id, order.id == order_id)).one()
    lines = connection.execute(
        select(t.order_line)
        .where(line.merchant_id == merchant_id, line.order_id == order_id)
        .order_by(line.position, line.external_id)
    ).all()
    currency = row.currency
    said: dict[str, str] = {"status": row.status}
    said |= {name: getattr(row, column) for column, name in _TEXTS.items()}
    said |= {"placed": _moment(row.placed_at), "changed at the shop": _moment(row.version)}
    said |= {name: "yes" if getattr(row, column) else "no" for column, name in _FLAGS.items()}
    said |= {name: _amount(getattr(row, column), currency) for column, name in _AMOUNTS.items()}
    for whose in ("shipping_address", "billing_address"):
        said |= {f"{whose.replace('_', ' ')}: {part}": text for part, text in getattr(row, whose).items()}
    titles: dict[str, int] = {}
    for each in lines:
        titles[each.title] = titles.get(each.title, 0) + 1
        again = f" ({titles[each.title]})" if titles[each.title] > 1 else ""
        name = f"line “{each.title or each.external_id}”{again}"
        said |= {
            f"{name}: quantity": str(each.quantity) if each.present else f"dropped (was {each.quantity})",
            f"{name}: shipped": str(each.fulfilled),
            f"{name}: removed": str(each.removed),
            f"{name}: price": f"{each.unit_price} {currency}",
            f"{name}: total": _amount(each.total_minor, currency),
            f"{name}: tax": _amount(each.tax_minor, currency),
            f"{name}: SKU at the shop": each.sku_text,
            f"{name}: listing": each.listing_external_id or "none",
            f"{name}: to be shipped": "yes" if each.requires_shipping else "no",
        }
    refund = t.refund.c
    for each in connection.execute(
        select(t.refund)
        .where(refund.merchant_id == merchant_id, refund.order_id == order_id)
        .order_by(refund.external_id)
    ):
        what = f"{_amount(each.amount_minor, currency)} {each.reason}".strip()
        said[f"refund {each.external_id}"] = f"{what}, {_moment(each.refunded_at)}" if each.refunded_at else what
    waits = t.backorder.c
    waiting = connection.execute(
        select(func.sum(waits.quantity)).where(
            waits.merchant_id == merchant_id, waits.order_line_id.in_([each.id for each in lines])
        )
    ).scalar_one()
    if waiting:
        said["waits for"] = _units(waiting)
    if shipped := sum(each.shipped for each in lines):
        said["taken out of stock"] = _units(shipped)
    return said


def _held(connection: Connection, merchant_id: UUID, order_id: UUID) -> dict[str, int]:
    held, sku, line = t.allocation.c, t.sku.c, t.order_line.c
    rows = connection.execute(
        select(sku.code, func.sum(held.quantity).label("units"))
        .select_from(
            t.allocation.join(t.sku, and_(sku.merchant_id == held.merchant_id, sku.id == held.sku_id)).join(
                t.order_line, and_(line.merchant_id == held.merchant_id, line.id == held.order_line_id)
            )
        )
        .where(held.merchant_id == merchant_id, line.order_id == order_id)
        .group_by(sku.code)
    )
    return {row.code: int(row.units) for row in rows}


def _units(count: int) -> str:
    return f"{count} unit{'' if count == 1 else 's'}"


def _amount(minor: int, currency: str) -> str:
    return str(Money.from_minor(minor, currency)) if currency else ""


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
