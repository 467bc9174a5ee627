"""Reservations: many clients at once on one SKU and on many, and what an order costs when a million are stored."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import median
from uuid import UUID

import psycopg
from sqlalchemy import Connection, insert, text
from sqlalchemy.engine import make_url

from bench import places
from bench.measure import Figures, Result, Say, import_letters, in_turns
from hub.core.stock import Claim
from hub.store import migrate, stock
from hub.store import tables as t
from hub.store.database import Database, new_id

CLIENTS = 16
BATCH = 100  # orders in one transaction, as the inbox lane takes them
STOCK = 100_000_000
SOLD_PER_CLIENT = 8_000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_processes = multiprocessing.get_context("fork")

# ---------------------------------------------------------------- reservations a second


def reservations(skus: int, seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """How many one-unit orders 16 clients reserve in a second, each guarded, entered into the ledger and committed."""
    figures = Figures()
    version = ""

    def hub() -> dict[str, float]:
        nonlocal version
        with places.database_of("postgresql") as url:
            version = places.version_of(url)
            shelf = _Shelf(url, skus, orders=CLIENTS * SOLD_PER_CLIENT)
            done, took = _clients(lambda number, until: shelf.reserve(number, until), seconds)
            reserved = shelf.reserved()
        if reserved != done:
            raise places.CannotMeasure(f"{done} reservations were made, {reserved} units are allocated.")
        say(f"  the hub, {BATCH} orders to a transaction: {done / took:.0f} reservations/s")
        return {"": done / took}

    def floor() -> dict[str, float]:
        with places.database_of("postgresql") as url:
            bare = _Bare(url, skus)
            done, took = _clients(lambda number, until: bare.reserve(number, until), seconds)
        say(f"  bare UPDATE and INSERT to a transaction: {done / took:.0f} reservations/s")
        return {"": done / took}

    in_turns(repeats, figures, hub, floor)
    named = "one hot SKU" if skus == 1 else f"{skus:,} SKUs"
    bare = f"bare conditional UPDATE and one INSERT per transaction, {CLIENTS} clients"
    yield from figures.results(f"reservations on {named}, {CLIENTS} clients", "reservations/s", bare, version)


def _clients(work: Callable[[int, float], int], seconds: float) -> tuple[int, float]:
    """Let every client work, in a process of its own; returns what they did together, and in how many seconds."""
    ready = _processes.Barrier(CLIENTS + 1)
    told = _processes.SimpleQueue()

    def live(number: int) -> None:
        ready.wait(60)
        began = time.monotonic()
        done = work(number, began + seconds)
        told.put((done, time.monotonic() - began))

    running = [_processes.Process(target=live, args=(number,)) for number in range(CLIENTS)]
    for each in running:
        each.start()
    ready.wait(60)
    results = [told.get() for _ in running]
    for each in running:
        each.join()
    return sum(done for done, _ in results), max(took for _, took in results)


class _Shelf:
    """A merchant's stock in the hub's own tables, and orders that have come in and hold nothing yet."""

    def __init__(self, url: str, skus: int, orders: int) -> None:
        self.url = url
        self.merchant, self.shop, self.place = new_id(), new_id(), new_id()
        database = Database(url, pooled=False)
        migrate.upgrade(database)
        with database.write() as connection:
            _merchant(connection, self.merchant, self.shop, self.place)
            _goods(connection, self.merchant, self.place, skus)
            _orders(connection, self.merchant, self.shop, orders, skus, finished=False)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze"))
        database.close()
        self.skus = skus

    def reserve(self, number: int, until: float) -> int:
        """One client: reserves its orders, a batch to a transaction, as the import does."""
        database = Database(self.url, pool_size=1)
        first = number * SOLD_PER_CLIENT
        done = 0
        while time.monotonic() < until and done < SOLD_PER_CLIENT:
            batch = range(first + done, first + done + BATCH)
            done += database.transact(lambda connection, batch=batch: self._reserve(connection, batch), tries=50)
        database.close()
        return done

    def _reserve(self, connection: Connection, batch: range) -> int:
        wanted = {number: _id(_SKU, number % self.skus) for number in batch}
        opened = stock.open_book(connection, self.merchant, wanted.values())
        for number, sku_id in wanted.items():
            claim = opened.book.claim(Claim(_id(_LINE, number), _id(_ORDER, number), {sku_id: 1}, _BEGAN))
            opened.book.demand(claim, 1, f"{claim.order_id}/1")
            opened.book.serve(f"{claim.order_id}/1")
        stock.write_book(connection, self.merchant, opened.book, at=Database.now(connection))
        return len(batch)

    def reserved(self) -> int:
        database = Database(self.url, pooled=False)
        with database.read() as connection:
            total = connection.execute(text("select sum(allocated) from stock_level")).scalar_one()
        database.close()
        return int(total)


class _Bare:
    """The least that can be called a guarded reservation with its ledger row."""

    def __init__(self, url: str, skus: int) -> None:
        self.address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.skus = skus
        with psycopg.connect(self.address) as connection:
            connection.execute("create table bare_stock (id int primary key, on_hand int, reserved int not null)")
            connection.execute(
                "create table bare_ledger (id bigserial primary key, stock_id int, reserved int, at timestamptz)"
            )
            connection.execute(f"insert into bare_stock select n, {STOCK}, 0 from generate_series(0, {skus - 1}) n")

    def reserve(self, number: int, until: float) -> int:
        """One client: a transaction per reservation."""
        chance = random.Random(number)
        done = 0
        with psycopg.connect(self.address) as connection:
            while time.monotonic() < until:
                sku = chance.randrange(self.skus)
                taken = connection.execute(
                    "update bare_stock set reserved = reserved + 1 where id = %s and reserved + 1 <= on_hand", (sku,)
                )
                assert taken.rowcount == 1
                connection.execute("insert into bare_ledger (stock_id, reserved, at) values (%s, 1, now())", (sku,))
                connection.commit()
                done += 1
        return done


# ---------------------------------------------------------------- what an order costs as the database grows

FEW, MANY = 10_000, 1_000_000


def growth(seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """What importing an order costs with a million orders stored, beside the same with ten thousand."""
    count = int(20 * seconds)
    shop = places.Shop(count * repeats)
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    with (
        places.database_of("postgresql") as small,
        places.database_of("postgresql") as large,
        places.connected(shop, small) as few,
        places.connected(shop, large) as many,
    ):
        version = places.version_of(small)
        hubs = {FEW: few, MANY: many}
        for size, place in hubs.items():
            say(f"  storing {size:,} orders…")
            _fill(place, size)
        for repeat in range(repeats):
            letters = shop.orders[repeat * count : (repeat + 1) * count]
            for size in (FEW, MANY) if repeat % 2 == 0 else (MANY, FEW):
                cost = 1000 * import_letters(hubs[size], letters) / count
                costs[size].append(cost)
                say(f"  with {size:,} orders stored: {cost:.2f} ms an order")
    yield Result(
        name=f"importing an order with {MANY:,} stored",
        value=round(median(costs[MANY]), 2),
        unit="ms",
        compared_with=f"the same with {FEW:,} stored",
        compared_value=round(median(costs[FEW]), 2),
        database=version,
    )


def _fill(place: places.Connected, size: int) -> None:
    """Store finished orders of the connected shop, with their lines, ledger, inbox rows and activity."""
    database = Database(str(place.environ["TALLYHUB_DATABASE_URL"]), pooled=False)
    with database.write() as connection:
        connection.execute(text("set local synchronous_commit = off"))
        at = new_id()
        connection.execute(
            insert(t.location).values(merchant_id=place.merchant_id, id=at, name="Bench store", created_at=_BEGAN)
        )
        _goods(connection, place.merchant_id, at, min(size, 10_000))
        _orders(connection, place.merchant_id, place.connection_id, size, min(size, 10_000), finished=True)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    database.close()


# ---------------------------------------------------------------- rows, made by the database itself

_SKU, _ORDER, _LINE, _INBOX, _SAID = range(1, 6)


def _id(kind: int, number: int) -> UUID:
    """The id of a generated row: the kind in front, so that ids of a kind follow one another as ours do."""
    return UUID(f"{kind:08x}-0000-7000-8000-{number:012x}")


def _ids(kind: int, number: str = "n") -> str:
    return f"('{kind:08x}-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"


def _merchant(connection: Connection, merchant: UUID, shop: UUID, place: UUID) -> None:
    connection.execute(insert(t.merchant).values(id=merchant, name="Bench", created_at=_BEGAN))
    connection.execute(
        insert(t.connection).values(
            merchant_id=merchant, id=shop, connector="woocommerce", state="connected", settings={}, created_at=_BEGAN
        )
    )
    connection.execute(insert(t.location).values(merchant_id=merchant, id=place, name="Bench", created_at=_BEGAN))


def _goods(connection: Connection, merchant: UUID, place: UUID, skus: int) -> None:
    told = {"merchant": merchant, "place": place, "units": STOCK, "last": skus - 1, "began": _BEGAN}
    for statement in (
        f"insert into sku (merchant_id, id, code, created_at, counted_since)"
        f" select :merchant, {_ids(_SKU)}, 'BENCH-' || n, :began, :began from generate_series(0, :last) n",
        f"insert into stock_level (merchant_id, sku_id, location_id, on_hand, entries, updated_at)"
        f" select :merchant, {_ids(_SKU)}, :place, :units, 1, :began from generate_series(0, :last) n",
        f"insert into stock_entry"
        f" (merchant_id, sku_id, location_id, number, cause, reference, on_hand_delta, on_hand, at)"
        f" select :merchant, {_ids(_SKU)}, :place, 1, 'adopted', 'bench', :units, :units, :began"
        " from generate_series(0, :last) n",
    ):
        connection.execute(text(statement), told)


def _orders(connection: Connection, merchant: UUID, shop: UUID, count: int, skus: int, *, finished: bool) -> None:
    """Orders of one line each; ``finished`` ones with everything that importing them left behind."""
    told = {"merchant": merchant, "shop": shop, "last": count - 1, "skus": skus, "began": _BEGAN}
    units = 1 if finished else 0
    statements = [
        "insert into sales_order (merchant_id, id, connection_id, external_id, number, status, version, received_at,"
        " placed_at, currency, total_minor, lines_minor, shipping_minor, tax_minor, discount_minor, fees_minor,"
        " rounding_minor, shipping_address, billing_address, imported_at, updated_at, revision,"
        " holds_stock)"
        f" select :merchant, {_ids(_ORDER)}, :shop, 'bench-' || n, '#' || n, '{'fulfilled' if finished else 'open'}',"
        " :began, :began, :began, 'EUR', 1990, 1990, 0, 0, 0, 0, 0, '{}', '{}', :began, :began, 1, "
        f"{'false' if finished else 'true'} from generate_series(0, :last) n",
        "insert into order_line (merchant_id, id, order_id, external_id, listing_external_id, sku_id, title, quantity,"
        " fulfilled, shipped, unit_price, total_minor, tax_minor)"
        f" select :merchant, {_ids(_LINE)}, {_ids(_ORDER)}, '1', 'bench-' || (n % :skus), {_ids(_SKU, 'n % :skus')},"
        f" 'Bench', 1, {units}, {units}, '19.90', 1990, 0 from generate_series(0, :last) n",
    ]
    if finished:
        statements += [
            "insert into stock_entry (merchant_id, sku_id, location_id, number, cause, reference, allocated_delta,"
            " on_hand, allocated, order_id, at)"
            f" select :merchant, {_ids(_SKU, 'n % :skus')}, l.location_id, 2 + n / :skus, 'allocated',"
            f" {_ids(_ORDER)} || '/1', 1, l.on_hand, 1 + n / :skus, {_ids(_ORDER)}, :began"
            f" from generate_series(0, :last) n join stock_level l"
            f" on l.merchant_id = :merchant and l.sku_id = {_ids(_SKU, 'n % :skus')}",
            "insert into inbox (merchant_id, id, connection_id, source, topic, external_id, dedupe_key, body_sha256,"
            " headers, received_at, state, done_at)"
            f" select :merchant, {_ids(_INBOX)}, :shop, 'webhook', 'order.created', 'bench-' || n, 'bench-' || n, '',"
            " '{}', :began, 'done', :began from generate_series(0, :last) n",
            "insert into activity (merchant_id, id, at, kind, connection_id, order_id, summary)"
            f" select :merchant, {_ids(_SAID)}, :began, 'order_imported', :shop, {_ids(_ORDER)}, 'Order imported'"
            " from generate_series(0, :last) n",
            "update stock_level l set entries = x.last, allocated = x.last - 1 from (select sku_id, max(number) as last"
            " from stock_entry where merchant_id = :merchant and reference <> 'bench' group by sku_id) x"
            " where l.merchant_id = :merchant and l.sku_id = x.sku_id",
        ]
    for statement in statements:
        connection.execute(text(statement), told)
