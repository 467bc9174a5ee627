"""The first import by a bulk operation: begun once, waited for, read in pieces, and never ending in half an import."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.connector import Page
from hub.errors import AuthError, Unavailable
from hub.testing import Clock
from hub.testing.context import connector_for
from hub.testing.simulator import Fault
from hub_shopify import bulk, documents
from hub_shopify.admin_api import AdminApi
from hub_shopify.bulk import ATTEMPTS, FILES, MOST_WAITS, PAUSE, PAUSE_FOR_OTHERS, BulkCursor, orders_in
from hub_shopify.connector import ShopifyConnector
from hub_shopify.orders import OrderCursor, Orders
from hub_shopify.simulator import ShopifySimulator

BEGAN = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock, bucket=1_000_000) as simulator:
        simulator.add_product("MUG", "Mug", 100_000, "8.00")
        simulator.add_product("POT", "Pot", 100_000, "19.99")
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator, clock: Clock) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop, now=clock)


@pytest.fixture
def orders(connector: ShopifyConnector) -> Orders:
    """The orders of the shop, exported from the first one on."""
    context = connector.context
    return Orders(AdminApi(context), context.client, context.now, bulk_from=1)


def sell(shop: ShopifySimulator, *items: tuple[str, int], **options: Any) -> str:
    sale = shop.checkout(items or [("MUG", 1)], **options)
    assert sale is not None
    return sale.order_external_id


def shift(orders: Orders, cursor: str | None) -> list[Page]:
    """What the hub gets until it has to wait, or nothing is left."""
    return list(orders.pages(cursor))


def begun(orders: Orders, cursor: str | None = None) -> str:
    """The cursor of an operation that has just begun."""
    (page,) = shift(orders, cursor)
    assert (page.records, page.pause_seconds) == ((), PAUSE)
    at = BulkCursor.parse(page.cursor)
    assert at is not None and at.operation.startswith("gid://shopify/BulkOperation/")
    return page.cursor


def imported(orders: Orders) -> tuple[list[str], list[Page]]:
    """The ids of all orders that a first import brings, shift after shift, and its pages."""
    cursor, pages = None, []
    for _ in range(20):
        pages += shift(orders, cursor)
        cursor = pages[-1].cursor
        if pages[-1].pause_seconds is None:
            return [record.external_id for page in pages for record in page.records], pages
    raise AssertionError("The import never ends.")


def asked(shop: ShopifySimulator, document: documents.Document) -> int:
    name = document.text.split()[1].partition("(")[0]
    return sum(f" {name}".encode() in request.body for request in shop.requests)


def pieces(shop: ShopifySimulator) -> list[str]:
    return [request.headers["range"] for request in shop.requests if request.path.startswith("/simulated-exports")]


# --- the usual way


def test_an_import_waits_for_the_file_and_reads_all_of_it(shop: ShopifySimulator, orders: Orders, clock: Clock) -> None:
    ids = [sell(shop, ("MUG", 2), ("POT", 1)) for _ in range(bulk.PAGE + 3)]
    shop.bulk.seconds = 60
    cursor = begun(orders)
    (waiting,) = shift(orders, cursor)
    assert (waiting.records, waiting.cursor, waiting.pause_seconds) == ((), cursor, PAUSE)
    clock.advance(seconds=60)
    *pages, last = shift(orders, cursor)[:3]
    assert [record.external_id for page in pages for record in page.records] == ids
    assert [len(page.records) for page in pages] == [bulk.PAGE, 3]
    assert [page.total for page in pages] == [len(ids), len(ids)]
    assert last.records == ()
    assert OrderCursor.parse(last.cursor) == OrderCursor(BEGAN)
    assert asked(shop, documents.RUN_BULK) == 1
    assert asked(shop, documents.CHANGED_ORDERS) == 1  # only for what has changed since


def test_what_comes_by_the_file_is_what_a_page_would_bring(
    shop: ShopifySimulator, connector: ShopifyConnector, orders: Orders
) -> None:
    many = sell(shop, *[("MUG", 1)] * 30, extras=[("Gift wrap", "2.50", 1)], discount="5.00", tags=("vip",))
    shipped, returned, split = sell(shop, ("MUG", 3)), sell(shop, ("MUG", 3)), sell(shop, ("POT", 2))
    shop.fulfill(shipped)
    shop.fulfill(returned, units=2)
    shop.refund(returned, "MUG", 1)
    shop.fulfill(split, units=1)
    shop.fulfill(split)
    page = next(orders.pages(begun(orders)))
    assert asked(shop, documents.ORDER_LINES_AFTER) == 0  # a file has no pages
    assert [record.external_id for record in page.records] == [many, shipped, returned, split]
    for record in page.records:
        alone = connector.fetch_order(record.external_id)
        assert connector.read_order(record) == connector.read_order(alone)
        assert (record.topic, record.version) == (alone.topic, alone.version)
        assert connector.read_order(record).whole


def test_a_small_shop_is_imported_page_by_page(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    ids = [sell(shop) for _ in range(20)]
    pages = list(connector.fetch_orders(None))
    assert [record.external_id for page in pages for record in page.records] == ids
    assert asked(shop, documents.RUN_BULK) == 0


def test_a_large_shop_is_imported_by_a_file(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    for _ in range(500):
        sell(shop)
    (page,) = connector.fetch_orders(None)
    assert (page.total, page.pause_seconds) == (500, PAUSE)
    assert sum(len(page.records) for page in connector.fetch_orders(page.cursor)) >= 500
    assert asked(shop, documents.RUN_BULK) == 1


def test_the_files_are_on_a_host_that_is_named(connector: ShopifyConnector, shop: ShopifySimulator) -> None:
    assert FILES == "https://storage.googleapis.com"
    assert connector.hosts({"shop": shop.domain}) == (shop.origin, FILES)


def test_the_host_of_the_files_is_not_told_the_token(shop: ShopifySimulator, orders: Orders) -> None:
    sell(shop)
    imported(orders)
    (request,) = (each for each in shop.requests if each.path.startswith("/simulated-exports"))
    assert not [name for name in request.headers if "token" in name or "authorization" in name]
    assert request.headers["accept-encoding"] == "identity"


# --- nothing is lost between the file and the pages


def test_what_changes_while_the_file_is_written_is_found_afterwards(
    shop: ShopifySimulator, connector: ShopifyConnector, orders: Orders, clock: Clock
) -> None:
    old, changed = sell(shop), sell(shop)
    clock.advance(days=1)
    shop.bulk.seconds = 3600
    cursor = begun(orders)
    clock.advance(minutes=20)
    shop.cancel(changed)
    late = sell(shop)
    clock.advance(minutes=40)
    pages = shift(orders, cursor)
    after = next(index for index, page in enumerate(pages) if not page.records)
    assert {record.external_id for page in pages[after:] for record in page.records} == {changed, late}
    assert {record.external_id for page in pages[:after] for record in page.records} == {old, changed}


def test_an_order_that_the_index_did_not_know_yet_is_found_afterwards(
    shop: ShopifySimulator, orders: Orders, clock: Clock
) -> None:
    known = sell(shop)
    clock.advance(hours=1)
    shop.index_lag = timedelta(minutes=3)
    unknown = sell(shop)  # just before the operation, and not in its file
    clock.advance(minutes=1)
    cursor = begun(orders)
    clock.advance(minutes=10)
    pages = shift(orders, cursor)
    assert [[record.external_id for record in page.records] for page in pages] == [[known], [], [unknown]]


def test_a_clock_of_ours_that_is_wrong_does_not_matter(shop: ShopifySimulator, clock: Clock) -> None:
    ahead = connector_for(ShopifyConnector, shop, now=lambda: clock() + timedelta(days=1)).context
    orders = Orders(AdminApi(ahead), ahead.client, ahead.now, bulk_from=1)
    sell(shop)
    pages = shift(orders, begun(orders))
    assert OrderCursor.parse(pages[1].cursor).newest == BEGAN  # Shopify's word, not ours


# --- killed in the middle


def test_a_killed_import_goes_on_where_it_was(
    shop: ShopifySimulator, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 4)
    ids = [sell(shop, ("MUG", 1), ("POT", 1)) for _ in range(12)]
    first = next(iter(orders.pages(begun(orders))))
    assert [record.external_id for record in first.records] == ids[:4]
    rest = shift(orders, first.cursor)
    assert [record.external_id for page in rest[:2] for record in page.records] == ids[4:]
    assert pieces(shop)[1].startswith(f"bytes={BulkCursor.parse(first.cursor).offset}-")  # type: ignore[union-attr]
    assert asked(shop, documents.RUN_BULK) == 1


def test_a_killed_import_whose_file_was_read_to_its_end_only_ends(
    shop: ShopifySimulator, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 4)
    for _ in range(8):
        sell(shop)
    *_, last = (page for page in shift(orders, begun(orders)) if BulkCursor.parse(page.cursor))
    after = shift(orders, last.cursor)
    assert after[0].records == ()
    assert OrderCursor.parse(after[0].cursor).newest == BEGAN


def test_an_operation_that_was_begun_but_never_noted_is_found_again(shop: ShopifySimulator, orders: Orders) -> None:
    ids = [sell(shop) for _ in range(3)]
    shop.bulk.seconds = 1  # it runs while the answer is lost
    shop.fail_next("/admin/api", Fault.reset(after_effect=True), after=1)
    with pytest.raises(Unavailable):
        shift(orders, None)
    cursor = begun(orders)
    assert asked(shop, documents.RUN_BULK) == 2
    assert len(shop.bulk.all()) == 1
    shop.bulk.seconds = 0
    assert BulkCursor.parse(cursor).operation == shop.bulk.all()[0]["id"]  # type: ignore[union-attr]
    assert ids


# --- the file comes in pieces


def test_a_file_comes_in_pieces_wherever_they_are_cut(
    shop: ShopifySimulator, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PIECE", 1000)
    ids = [sell(shop, ("MUG", 1), note="Für Zoë, 雨") for _ in range(9)]
    found, _ = imported(orders)
    assert found[:9] == ids
    assert len(pieces(shop)) > 9
    assert pieces(shop)[:2] == ["bytes=0-999", "bytes=1000-1999"]


def test_memory_stays_flat_whatever_the_size_of_the_file() -> None:
    order = b'{"id":"gid:\\/\\/shopify\\/Order\\/1","note":"' + b"x" * 2000 + b'"}\n'

    def peak(orders: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in orders_in((order * 100 for _ in range(orders // 100)), 0)) == orders
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 1.5 * peak(1_000)


@pytest.mark.parametrize("broken", ["truncated", "html", "reset", "500", "repeated"])
def test_a_piece_that_does_not_arrive_is_asked_for_again(
    shop: ShopifySimulator, orders: Orders, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 2)
    monkeypatch.setattr(bulk, "PIECE", 10_000)
    ids = [sell(shop) for _ in range(8)]
    faults = {
        "truncated": Fault.truncated(),
        "html": Fault.html(),
        "reset": Fault.reset(),
        "500": Fault.status(500),
        "repeated": Fault.repeated(),
    }
    cursor, found = begun(orders), []
    shop.fail_next("/simulated-exports", faults[broken], after=1)
    with pytest.raises(Unavailable):
        for page in orders.pages(cursor):
            found += [record.external_id for record in page.records]
            cursor = page.cursor
    assert 0 < len(found) < len(ids)
    found += [record.external_id for page in shift(orders, cursor) for record in page.records]
    assert list(dict.fromkeys(found)) == ids
    assert asked(shop, documents.RUN_BULK) == 1


# --- operations that come to nothing


@pytest.mark.parametrize("error", ["INTERNAL_SERVER_ERROR", "TIMEOUT"])
def test_a_failed_operation_gives_what_it_has_and_is_begun_again(
    shop: ShopifySimulator, orders: Orders, error: str
) -> None:
    ids = [sell(shop) for _ in range(6)]
    shop.bulk.fail_next(error, after=4)
    cursor = begun(orders)
    partly, again = shift(orders, cursor)
    # The last order of a file that was cut off may lack some of its lines.
    assert [record.external_id for record in partly.records] == ids[:3]
    assert (again.records, again.pause_seconds) == ((), PAUSE)
    assert BulkCursor.parse(again.cursor) == BulkCursor(total=6, attempt=2)
    pages = shift(orders, begun(orders, again.cursor))
    assert [record.external_id for record in pages[0].records] == ids


def test_after_several_failures_pages_bring_everything(shop: ShopifySimulator, orders: Orders) -> None:
    ids = [sell(shop) for _ in range(20)]
    for _ in range(ATTEMPTS):
        shop.bulk.fail_next()
    found, pages = imported(orders)
    assert found == ids
    assert asked(shop, documents.RUN_BULK) == ATTEMPTS
    assert {page.total for page in pages} == {20}


def test_a_file_on_a_host_that_nobody_knows_is_not_fetched(
    shop: ShopifySimulator, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [sell(shop) for _ in range(3)]
    monkeypatch.setattr(shop.bulk, "_address", lambda operation: f"https://files.example/{operation.id}.jsonl")
    found, _ = imported(orders)
    assert found == ids
    assert asked(shop, documents.RUN_BULK) == ATTEMPTS  # then page by page
    assert pieces(shop) == []


def test_a_canceled_operation_is_begun_again(shop: ShopifySimulator, orders: Orders) -> None:
    ids = [sell(shop) for _ in range(3)]
    shop.bulk.seconds = 60
    cursor = begun(orders)
    shop.bulk.cancel(int(BulkCursor.parse(cursor).operation.rpartition("/")[2]))  # type: ignore[union-attr]
    shop.bulk.seconds = 0
    (again,) = shift(orders, cursor)
    assert again.pause_seconds == PAUSE
    pages = shift(orders, begun(orders, again.cursor))
    assert [record.external_id for record in pages[0].records] == ids


def test_a_file_that_has_expired_is_written_again(shop: ShopifySimulator, orders: Orders, clock: Clock) -> None:
    ids = [sell(shop) for _ in range(3)]
    cursor = begun(orders)
    assert shop.bulk.all()[0]["status"] == "COMPLETED"
    clock.advance(days=7)
    assert shop.bulk.all()[0]["status"] == "EXPIRED"
    (again,) = shift(orders, cursor)
    pages = shift(orders, begun(orders, again.cursor))
    assert [record.external_id for record in pages[0].records] == ids
    assert OrderCursor.parse(pages[1].cursor).newest == BEGAN + timedelta(days=7)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_file_whose_address_is_refused_is_written_again(shop: ShopifySimulator, orders: Orders, status: int) -> None:
    ids = [sell(shop) for _ in range(3)]
    shop.fail_next("/simulated-exports", Fault.status(status))
    found, _ = imported(orders)
    assert list(dict.fromkeys(found)) == ids
    assert asked(shop, documents.RUN_BULK) == 2


def test_an_operation_that_shopify_does_not_know_any_more_is_begun_again(
    shop: ShopifySimulator, orders: Orders
) -> None:
    ids = [sell(shop) for _ in range(3)]
    lost = str(BulkCursor(operation="gid://shopify/BulkOperation/1", offset=500, total=3))
    (again,) = shift(orders, lost)
    assert BulkCursor.parse(again.cursor) == BulkCursor(total=3, attempt=2)
    pages = shift(orders, begun(orders, again.cursor))
    assert [record.external_id for record in pages[0].records] == ids


def test_a_denied_operation_says_what_to_do_and_another_one_is_begun_after_that(
    shop: ShopifySimulator, orders: Orders
) -> None:
    id = sell(shop)
    shop.bulk.fail_next("ACCESS_DENIED")
    cursor = begun(orders)
    with pytest.raises(AuthError, match="scopes"):
        for page in orders.pages(cursor):
            cursor = page.cursor
    assert BulkCursor.parse(cursor) == BulkCursor(total=1)
    pages = shift(orders, begun(orders, cursor))
    assert [record.external_id for record in pages[0].records] == [id]


# --- one at a time


def test_while_somebody_else_exports_the_import_waits(shop: ShopifySimulator, orders: Orders, clock: Clock) -> None:
    ids = [sell(shop) for _ in range(3)]
    shop.bulk.seconds = 60
    theirs = shop.bulk.run("{ orders { edges { node { id } } } }", grouped=False)["bulkOperation"]["id"]
    (page,) = shift(orders, None)
    assert (page.records, page.pause_seconds) == ((), PAUSE_FOR_OTHERS)
    assert BulkCursor.parse(page.cursor) == BulkCursor(total=3, waits=1)  # not theirs
    clock.advance(seconds=60)
    shop.bulk.seconds = 0
    cursor = begun(orders, page.cursor)
    assert BulkCursor.parse(cursor).operation != theirs  # type: ignore[union-attr]
    assert [record.external_id for record in shift(orders, cursor)[0].records] == ids


def test_nobody_waits_for_others_for_ever(shop: ShopifySimulator, orders: Orders) -> None:
    ids = [sell(shop) for _ in range(3)]
    shop.bulk.seconds = 3600
    shop.bulk.run("{ orders { edges { node { id } } } }", grouped=False)
    pages = shift(orders, str(BulkCursor(total=3, waits=MOST_WAITS)))
    assert [record.external_id for page in pages for record in page.records] == ids


def test_an_export_that_shopify_will_not_have_leaves_pages(
    shop: ShopifySimulator, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [sell(shop) for _ in range(3)]
    monkeypatch.setattr(documents, "BULK_ORDERS", documents.Document("{ shop { name } }", 1))
    found, pages = imported(orders)
    assert found == ids
    assert OrderCursor.parse(pages[0].cursor) == OrderCursor()


# --- the file itself


def lines(*nodes: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(node).encode() + b"\n" for node in nodes)


def test_what_belongs_together_is_joined_by_its_parents() -> None:
    order, work = "gid://shopify/Order/1", "gid://shopify/FulfillmentOrder/3"
    file = lines(
        {"id": order, "name": "#1"},
        {"id": "gid://shopify/LineItem/2", "__parentId": order},
        {"id": work, "__parentId": order},
        {"id": "gid://shopify/FulfillmentOrderLineItem/4", "__parentId": work, "lineItem": {"id": "x"}},
        {"id": "gid://shopify/Order/5"},
    )
    whole = {"hasNextPage": False}
    first, second = orders_in([file], 100)
    assert first == (
        {
            "id": order,
            "name": "#1",
            "lineItems": {"nodes": [{"id": "gid://shopify/LineItem/2"}], "pageInfo": whole},
            "fulfillmentOrders": {
                "nodes": [
                    {
                        "id": work,
                        "lineItems": {
                            "nodes": [{"id": "gid://shopify/FulfillmentOrderLineItem/4", "lineItem": {"id": "x"}}],
                            "pageInfo": whole,
                        },
                    }
                ],
                "pageInfo": whole,
            },
        },
        100 + file.rindex(b"{"),
    )
    assert (second[0]["id"], second[1]) == ("gid://shopify/Order/5", 100 + len(file))


def test_the_last_order_of_a_file_needs_no_end_of_line() -> None:
    file = lines({"id": "gid://shopify/Order/1"}, {"id": "gid://shopify/Order/2"})[:-1]
    assert [order["id"][-1] for order, _ in orders_in([file], 0)] == ["1", "2"]


@pytest.mark.parametrize(
    "odd",
    [
        b"not json\n",
        b'{"id":"gid://shopify/LineItem/2","__parentId":"gid://shopify/Order/9"}\n',  # its order came long before
        b'{"id":"gid://shopify/LineItem/2"}\n',
        b'{"errors":[]}\n',
        b"[]\n",
    ],
)
def test_a_file_of_another_form_is_not_taken_for_orders(odd: bytes) -> None:
    file = lines({"id": "gid://shopify/Order/1"}) + odd
    with pytest.raises(bulk._Unusable):
        list(orders_in([file], 0))


def test_the_cursor_tells_its_stage() -> None:
    cursor = BulkCursor("gid://shopify/BulkOperation/1", 123, 456, 2, 3)
    assert BulkCursor.parse(str(cursor)) == cursor
    assert BulkCursor.parse(None) is None
    assert BulkCursor.parse(str(OrderCursor(BEGAN))) is None
