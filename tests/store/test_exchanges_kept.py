"""The log of requests, in each kind of database: what is kept of a request, for how long, and what empties it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from hub.http import Exchange
from hub.store import exchanges, forgetting
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.exchanges import Line
from hub.store.queries import exchanges as queries
from hub.store.queries.exchanges import Wanted
from hub.store.secrets import KeyRing, new_key

ASKED = Exchange(
    method="GET",
    url="https://shop.example/orders/4711.json?customer=Quill%20Feather&page=2",
    status=200,
    seconds=0.25,
    request_bytes=0,
    response_bytes=1200,
    request_headers={"Authorization": "•••", "Accept": "application/json"},
    response_headers={"X-Request-Id": "r-1"},
)
REFUSED = replace(
    ASKED,
    method="POST",
    url="https://shop.example/fulfillments",
    status=422,
    seconds=3.0,
    request_excerpt='{"to": "Quill Feather"}',
    response_excerpt='{"errors": "Quill Feather is no address"}',
)


ANYTHING = Wanted()


class Shop:
    def __init__(self, database: Database, keyring: KeyRing, merchant: UUID) -> None:
        self.database, self.keyring, self.merchant = database, keyring, merchant
        self.place = self.connection()

    def connection(self) -> UUID:
        made = new_id()
        at = datetime.now(UTC)
        with self.database.write() as db:
            row = {"id": made, "connector": "tea", "label": "Tea", "state": "connected", "settings": {}}
            db.execute(insert(t.connection).values(merchant_id=self.merchant, created_at=at, **row))
        return made

    def order(self, external_id: str) -> UUID:
        made = new_id()
        at = datetime.now(UTC)
        row = {"id": made, "connection_id": self.place, "external_id": external_id, "number": f"#{external_id}"}
        told = {
            "status": "open",
            "currency": "EUR",
            "version": at,
            "imported_at": at,
            "received_at": at,
            "updated_at": at,
        }
        people = {"email": "quill@feather.example", "customer_name": "Quill Feather", "shipping_address": {}}
        with self.database.write() as db:
            db.execute(
                insert(t.sales_order).values(merchant_id=self.merchant, billing_address={}, **row, **told, **people)
            )
        return made

    def keep(self, *said: Exchange, place: UUID | None = None, ago: timedelta = timedelta(0), **more: Any) -> None:
        lines = [Line(each, datetime.now(UTC) - ago, "effects", **more) for each in said]
        with self.database.write() as db:
            exchanges.keep(db, self.keyring, self.merchant, place or self.place, lines)

    def paths(self, wanted: Wanted = ANYTHING, place: UUID | None = None) -> list[str]:
        with self.database.read() as db:
            return [each.path for each in queries.exchanges(db, self.merchant, place or self.place, wanted)]


@pytest.fixture
def shop(database: Database, keyring: KeyRing, merchant: UUID) -> Shop:
    return Shop(database, keyring, merchant)


def path(name: str) -> Exchange:
    return replace(ASKED, url=f"https://shop.example/{name}")


def test_what_could_be_about_a_customer_is_kept_encrypted(shop: Shop) -> None:
    shop.keep(ASKED, REFUSED)

    with shop.database.read() as db:
        rows = db.execute(select(t.exchange).order_by(t.exchange.c.id)).all()
        seen = [queries.exchange(db, shop.keyring, shop.merchant, shop.place, row.id) for row in rows]
        lost = queries.exchange(db, KeyRing([new_key()]), shop.merchant, shop.place, rows[0].id)
        elsewhere = queries.exchange(db, shop.keyring, new_id(), shop.place, rows[0].id)
    assert not any(b"Quill" in row.details for row in rows)
    assert [(row.host, row.path, row.status, row.failed, row.tells, row.milliseconds) for row in rows] == [
        ("shop.example", "/orders/4711.json", 200, False, True, 250),
        ("shop.example", "/fulfillments", 422, True, True, 3000),
    ]
    assert seen[0] is not None and seen[1] is not None and lost is not None
    assert seen[0][1].query == "customer=Quill%20Feather&page=2" and seen[0][1].response_excerpt == ""
    assert seen[0][1].request_headers == {"Authorization": "•••", "Accept": "application/json"}
    assert seen[1][1].response_excerpt == REFUSED.response_excerpt and seen[1][0].is_slow
    assert lost[1].query == "" and "cannot be decrypted" in lost[1].error
    assert elsewhere is None


def test_lines_are_found_by_what_is_known_of_them(shop: Shop) -> None:
    order = shop.order("4711")
    shop.keep(ASKED)
    shop.keep(path("stock/levels"))
    shop.keep(REFUSED, order_id=order)
    shop.keep(replace(path("lost"), status=None, error="The shop did not answer."))

    assert shop.paths() == ["/lost", "/fulfillments", "/stock/levels", "/orders/4711.json"]
    assert shop.paths(Wanted(show="failed")) == ["/lost", "/fulfillments"]
    assert shop.paths(Wanted(show="slow")) == ["/fulfillments"]
    assert shop.paths(Wanted(show="received")) == []
    assert shop.paths(Wanted(method="POST")) == ["/fulfillments"]
    assert shop.paths(Wanted(path="/stock/")) == ["/stock/levels"] and shop.paths(Wanted(path="/%")) == []
    assert shop.paths(Wanted(order_id=order)) == ["/fulfillments", "/orders/4711.json"]
    assert shop.paths(Wanted(until=datetime.now(UTC) - timedelta(hours=1))) == []
    with shop.database.read() as db:
        [newest, *_] = queries.exchanges(db, shop.merchant, shop.place, Wanted(), limit=1)
        older = queries.exchanges(db, shop.merchant, shop.place, Wanted(), before=newest.id)
        tally = queries.tally(db, shop.merchant, shop.place)
    assert [each.path for each in older] == ["/fulfillments", "/stock/levels", "/orders/4711.json"]
    assert (tally.lines, tally.failed, tally.slow) == (4, 2, 1)


def test_what_is_old_or_too_much_goes(shop: Shop) -> None:
    quiet = shop.connection()
    shop.keep(path("old"), ago=timedelta(days=8), place=quiet)
    shop.keep(path("new"), ago=timedelta(days=6), place=quiet)
    shop.keep(*[path(f"busy/{number}") for number in range(7)])

    assert exchanges.forget_old(shop.database, most=3) == 1 + 4

    assert shop.paths(place=quiet) == ["/new"]
    assert shop.paths() == ["/busy/6", "/busy/5", "/busy/4"]
    assert exchanges.forget_old(shop.database, most=3) == 0


def test_what_was_refused_pushes_nothing_out_and_has_little_room_itself(shop: Shop) -> None:
    stranger = replace(path("guessed"), status=401, error="The signature does not fit this connection.")
    shop.keep(path("useful/1"), path("useful/2"))
    shop.keep(path("sent"), received=True)
    shop.keep(*[replace(stranger, url=f"https://hub.example/guess/{number}") for number in range(6)], received=True)
    shop.keep(REFUSED)  # what the shop refused is no stranger's doing

    assert exchanges.forget_old(shop.database, most=4, refused=2) == 4

    assert shop.paths() == ["/fulfillments", "/guess/5", "/guess/4", "/sent", "/useful/2", "/useful/1"]
    assert exchanges.forget_old(shop.database, most=3, refused=2) == 1
    assert shop.paths() == ["/fulfillments", "/guess/5", "/guess/4", "/sent", "/useful/2"]


def test_a_forgotten_customer_is_in_no_line(shop: Shop) -> None:
    order, other = shop.order("4711"), shop.order("4712")
    shop.keep(ASKED, path("orders/4712.json"), path("orders/47110"), path("label/TRACK-1"))
    shop.keep(REFUSED, order_id=order)
    shop.keep(path("hers"), order_id=other)

    with shop.database.write() as db:
        forgetting.erase_orders(db, shop.merchant, [order], at=datetime.now(UTC))

    assert shop.paths() == ["/hers", "/label/TRACK-1", "/orders/47110", "/orders/4712.json"]


@pytest.mark.parametrize(
    "said",
    [
        replace(path("x"), url="https://shop.example/x?name=Quill+Feather"),
        replace(path("x"), url="https://shop.example/x?name=quill%20feather"),
        replace(REFUSED, url="https://shop.example/x"),
    ],
)
def test_what_names_a_forgotten_customer_anywhere_goes(shop: Shop, said: Exchange) -> None:
    shop.keep(said, path("harmless?page=3"))

    with shop.database.write() as db:
        exchanges.forget_mentions(db, shop.keyring, shop.merchant, [shop.place], {b"quill feather"})

    assert shop.paths() == ["/harmless"]


def test_each_connection_and_merchant_has_a_log_of_its_own(shop: Shop) -> None:
    other = shop.connection()
    shop.keep(path("here"))
    shop.keep(path("there"), place=other)

    with shop.database.write() as db:
        exchanges.forget_connections(db, new_id(), [shop.place])
        exchanges.forget_connections(db, shop.merchant, [other])

    assert shop.paths() == ["/here"] and shop.paths(place=other) == []


def of_files(said: Exchange) -> Exchange:
    return replace(said, method="READ", url="sftp.example/out/orders.csv", status=0)


def odd(said: Exchange) -> Exchange:
    return replace(said, url="https://shop.example/a\x00b\ud800?x=\ud800", request_headers={"x": "\ud800"})


@pytest.mark.parametrize(("made", "kept"), [(of_files, "/out/orders.csv"), (odd, "/a b ")])
def test_whatever_an_address_looks_like_it_can_be_kept(
    shop: Shop, made: Callable[[Exchange], Exchange], kept: str
) -> None:
    shop.keep(made(ASKED))

    assert shop.paths() == [kept]
