"""What is asked of sales channels: odd records, and pages that break, repeat, and change while they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from hub.certify.bench import impatient, leaves, only_connector_errors, replaced
from hub.certify.channel import CONTRACT, ChannelBench, machine_in
from hub.certify.contract import Level, NotApplicable, expect, fail
from hub.certify.odd import ODD_BODIES, ODD_VALUES, odd_leaves, reads_or_refuses, without_members
from hub.connector import Page, RawRecord
from hub.errors import ConnectorError
from hub.testing.simulator import Fault

# ---------------------------------------------------------------- odd input

ODD = CONTRACT.rule(
    "odd-records",
    Level.SILVER,
    "A record that is not what it should be is set aside alone: Unreadable, and never anything else.",
    "Read with hub.Translation and let it raise; do not index into payloads by hand.",
)


def _readers(bench: ChannelBench) -> list[tuple[str, bytes, Callable[[bytes], object]]]:
    """Each kind of fetched record: its name, a genuine body, and the reading of a body."""
    _, connector = bench.open()
    order = connector.fetch_order(bench.buy(("MUG-1", 2), ("TEE-S", 1)))
    listing = next(record for page in connector.fetch_listings(None) for record in page.records)
    return [
        ("an order", order.body, lambda body: connector.read_order(replace(order, body=body))),
        ("a listing", listing.body, lambda body: list(connector.read_listing(replace(listing, body=body)))),
    ]


@CONTRACT.each(ODD, "record-of-{}-set-aside", "A record that is {} is set aside.", ODD_BODIES)
def _(bench: ChannelBench, odd: Callable[[bytes], bytes]) -> None:
    for what, body, read in _readers(bench):
        reads_or_refuses(read, [odd(body)], what)


@CONTRACT.each(ODD, "value-{}-survived", "A record in which any one value is {} is read or set aside.", ODD_VALUES)
def _(bench: ChannelBench, value: Any) -> None:
    for what, body, read in _readers(bench):
        reads_or_refuses(read, odd_leaves(body, value), what)


@CONTRACT.case(ODD, "member-missing-survived", "A record in which any one member is missing is read or set aside.")
def _(bench: ChannelBench) -> None:
    for what, body, read in _readers(bench):
        reads_or_refuses(read, without_members(body), what)


@CONTRACT.case(ODD, "members-that-are-new-ignored", "Members that the vendor adds one day change nothing.")
def _(bench: ChannelBench) -> None:
    for what, body, read in _readers(bench):
        richer = _with_new_members(json.loads(body))
        expect(read(json.dumps(richer).encode()) == read(body), f"{what} reads differently.")


def _with_new_members(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{name: _with_new_members(inner) for name, inner in value.items()}, "tallyhub_new_one_day": {"a": [1]}}
    return [_with_new_members(inner) for inner in value] if isinstance(value, list) else value


@CONTRACT.case(ODD, "status-that-is-new-kept", "An order in a status nobody has heard of is kept, and says so.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    record = connector.fetch_order(bench.buy(("MUG-1", 2)))
    order = connector.read_order(record)
    words = {word for word in re.findall(r"[a-z_]+", order.channel_status.lower()) if len(word) > 2}
    told = json.loads(record.body)
    paths = [path for path, leaf in leaves(told) if isinstance(leaf, str) and leaf.lower() in words]
    if not paths:
        raise NotApplicable("its channel_status is not a word of the record")
    for path in paths:
        odd = replace(record, body=json.dumps(replaced(told, path, "brand_new_status")).encode())
        with only_connector_errors("reading an order in a new status") as raised:
            read = connector.read_order(odd)
        expect(not raised, f"It cannot read the order: {raised[0] if raised else ''}")
        expect(read.lines == order.lines or read.channel_status != order.channel_status, "Its lines changed.")


@CONTRACT.case(ODD, "text-of-all-scripts-kept", "Names and titles keep every script, emoji and quote.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    title = "Ταҫʃα “Größe” 😀 <b>'&\\"
    shop.add_product("UNI-1", title, 5, "1.00")
    bench.buy(("UNI-1", 1))
    (listing,) = [each for each in bench.listings(connector) if each.sku == "UNI-1"]
    expect(title in listing.title, f"The listing is called {listing.title!r}.")


@CONTRACT.case(
    ODD, "times-in-another-zone-are-the-same", "A time that the vendor writes with another offset is the same moment."
)
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    record = connector.fetch_order(bench.buy())
    order, told = connector.read_order(record), json.loads(record.body)
    moved = [(path, _elsewhere(leaf)) for path, leaf in leaves(told) if isinstance(leaf, str)]
    paths = [(path, text) for path, text in moved if text]
    if not paths:
        raise NotApplicable("its records have no time with a zone in them")
    for path, text in paths:
        told = replaced(told, path, text)
    read = connector.read_order(replace(record, body=json.dumps(told).encode()))
    seen = (read.placed_at, read.version)
    expect(seen == (order.placed_at, order.version), f"Written with +05:30 the times are {seen}.")


@CONTRACT.case(ODD, "times-without-a-zone-refused", "A time without its zone is refused, or it never had one.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    record = connector.fetch_order(bench.buy())
    order, told = connector.read_order(record), json.loads(record.body)
    zoned = [(path, leaf) for path, leaf in leaves(told) if isinstance(leaf, str) and _elsewhere(leaf)]
    if not zoned:
        raise NotApplicable("its records have no time with a zone in them")
    told_with = json.loads(record.body)
    for path, leaf in zoned:
        told_with = replaced(told_with, path, re.sub(r"(Z|[+-]\d\d:?\d\d)$", "", leaf))
    with suppress(ConnectorError), machine_in("Pacific/Kiritimati"):
        read = connector.read_order(replace(record, body=json.dumps(told_with).encode()))
        fail(f"It took a time without a zone for {read.version}; with its zone it is {order.version}.")


def _elsewhere(text: str) -> str:
    """A time with a zone as it is written in India, "" for any other text."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", text):
        return ""
    return datetime.fromisoformat(text).astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()


# ---------------------------------------------------------------- paging

PAGES = CONTRACT.rule(
    "paging",
    Level.SILVER,
    "Page by page it finds every order, comes to an end, and goes on from any cursor without losing one.",
    "A page's cursor must lead to everything after that page, with an overlap as wide as the vendor's clock is coarse.",
)


def many_orders(bench: ChannelBench) -> tuple[Any, Any, list[Page]]:
    """A shop with so many orders that they come in several pages, a connector to it, and the pages."""
    shop, connector = bench.open()
    shop.set_stock("PEN-3", 10_000)
    pages: list[Page] = []
    for upto in (60, 130, 260, 520):
        while len(shop.orders()) < upto:
            bench.buy(("PEN-3", 1))
        pages = list(connector.fetch_orders(None))
        if len(pages) >= 3 or shop.orders() - _ids(pages):
            return shop, connector, pages
    raise NotApplicable(f"{len(shop.orders())} orders come in {len(pages)} pages")


def _ids(pages: list[Page]) -> set[str]:
    return {record.external_id for page in pages for record in page.records}


@CONTRACT.case(PAGES, "pages-hold-everything", "All pages together hold every order.")
def _(bench: ChannelBench) -> None:
    shop, _, pages = many_orders(bench)
    missing = shop.orders() - _ids(pages)
    expect(not missing, f"{len(missing)} of {len(shop.orders())} orders are on no page.")


@CONTRACT.case(PAGES, "pages-come-to-an-end", "When nothing is new, fetching from the last cursor ends at once.")
def _(bench: ChannelBench) -> None:
    shop, connector, pages = many_orders(bench)
    bench.clock.advance(3600)
    before = len(shop.requests)
    list(connector.fetch_orders(pages[-1].cursor))
    asked = len(shop.requests) - before
    expect(asked <= 25, f"It sent {asked} requests although nothing was new.")


@CONTRACT.case(
    PAGES,
    "cursor-is-a-text-that-leads-on",
    "Every page has a cursor that can be stored, and that is not the one before.",
)
def _(bench: ChannelBench) -> None:
    _, _, pages = many_orders(bench)
    for page in pages:
        expect(isinstance(page.cursor, str) and page.cursor, f"A page has the cursor {page.cursor!r}.")
        expect(len(page.cursor.encode()) <= 200_000, f"A cursor has {len(page.cursor)} characters.")


@CONTRACT.case(PAGES, "every-cursor-leads-to-the-rest", "From the cursor of any page everything after it is found.")
def _(bench: ChannelBench) -> None:
    shop, connector, pages = many_orders(bench)
    for index in sorted(bench.chance.sample(range(len(pages)), min(4, len(pages)))):
        found = _ids(pages[: index + 1]) | _ids(list(connector.fetch_orders(pages[index].cursor)))
        missing = shop.orders() - found
        expect(not missing, f"After page {index + 1} of {len(pages)} {len(missing)} orders are never found.")


@CONTRACT.each(
    PAGES,
    "cursor-finds-what-comes-{}",
    "An order placed {} is found from the last cursor.",
    {"in-the-same-second": 0, "a-second-later": 1, "an-hour-later": 3600},
)
def _(bench: ChannelBench, seconds: int) -> None:
    _, connector = bench.open()
    bench.buy()
    (*_, last) = connector.fetch_orders(None)
    bench.clock.advance(seconds)
    late = bench.buy(("PEN-3", 1), at_once=True)
    found = bench.orders(connector, last.cursor)
    expect(late in found, f"The order placed {seconds} s after the poll was not found by the next one.")


@CONTRACT.each(
    PAGES,
    "cursor-finds-what-changes-{}",
    "An order that is canceled {} is found again from the last cursor.",
    {"in-the-same-second": 0, "a-minute-later": 60, "a-week-later": 604_800},
)
def _(bench: ChannelBench, seconds: int) -> None:
    shop, connector = bench.open()
    bought = bench.buy()
    bench.buy(("PEN-3", 1))
    (*_, last) = connector.fetch_orders(None)
    bench.clock.advance(seconds)
    shop.cancel(bought)
    found = bench.orders(connector, last.cursor)
    expect(bought in found, "The canceled order was not found.")
    expect(not found[bought].holds_stock, "It was found as it was before.")


@CONTRACT.case(
    PAGES,
    "order-changed-while-paging-is-found",
    "An order that changes while pages are read is not lost, nor is another.",
)
def _(bench: ChannelBench) -> None:
    shop, connector, pages = many_orders(bench)
    for index in range(min(3, len(pages) - 1)):
        first = min(_ids(pages[index : index + 1]))
        bench.clock.advance(60)
        seen: dict[str, RawRecord] = {}
        cursor = None
        for number, page in enumerate(connector.fetch_orders(None)):
            seen |= {record.external_id: record for record in page.records}
            cursor = page.cursor
            if number == index:
                shop.cancel(first)
        missing = shop.orders() - seen.keys()
        expect(not missing, f"An order changed on page {index + 1}, and {len(missing)} orders were never met.")
        bench.clock.advance(60)
        seen |= {record.external_id: record for record in bench.records(connector, cursor)}
        expect(not connector.read_order(seen[first]).holds_stock, "The change itself was never met.")


@CONTRACT.case(
    PAGES,
    "order-placed-while-paging-is-found",
    "An order that is placed while pages are read is found by then or by the next poll.",
)
def _(bench: ChannelBench) -> None:
    shop, connector, _ = many_orders(bench)
    seen: set[str] = set()
    cursor = None
    late = ""
    for number, page in enumerate(connector.fetch_orders(None)):
        seen |= _ids([page])
        cursor = page.cursor
        if number == 0:
            late = bench.buy(("PEN-3", 1))
    seen |= _ids(list(connector.fetch_orders(cursor)))
    expect(late in seen, "It was never found.")
    expect(shop.orders() <= seen, "Another order was lost by it.")


_BROKEN_PAGES: Mapping[str, Fault] = {
    "truncated": Fault.truncated(),
    "repeated": Fault.repeated(),
    "refused-with-401": Fault.status(401),
    "limited-with-429": Fault.status(429, retry_after=1),
    "failing-with-500": Fault.status(500),
    "html": Fault.html(),
    "reset": Fault.reset(),
    "half-open": Fault.half_open(),
    "an-error-inside": Fault.error_inside(),
}


@CONTRACT.each(
    PAGES,
    "page-{}-loses-nothing",
    "Where a page in the middle is {}, fetching goes on from the last cursor, and nothing is lost.",
    _BROKEN_PAGES,
)
def _(bench: ChannelBench, fault: Fault) -> None:
    shop, connector, _ = many_orders(bench)
    seen: set[str] = set()
    cursor = None
    shop.fail_next("", fault, after=2)
    hurry = impatient(connector, (5.0, 1.5)) if fault.broken == "silent" else nullcontext()
    with hurry, only_connector_errors(f"fetch_orders with a page that is {fault.name}") as raised:
        for page in connector.fetch_orders(None):
            seen |= _ids([page])
            cursor = page.cursor
    shop.heal()
    for page in connector.fetch_orders(cursor):
        seen |= _ids([page])
    missing = shop.orders() - seen
    expect(not missing, f"It {'raised' if raised else 'noticed nothing'}, and {len(missing)} orders were never met.")


@CONTRACT.each(
    PAGES,
    "cursor-survives-a-clock-{}",
    "With our clock {} of the vendor's, no order is lost.",
    {"an-hour-ahead": 3_600, "an-hour-behind": -3_600, "a-day-ahead": 86_400, "a-minute-ahead": 60},
)
def _(bench: ChannelBench, seconds: int) -> None:
    shop = bench.vendor()
    connector = bench.connect(shop, now=lambda: bench.clock() + timedelta(seconds=seconds))
    seen: set[str] = set()
    cursor = None
    for _ in range(4):
        bench.buy(("PEN-3", 1))
        for page in connector.fetch_orders(cursor):
            seen |= _ids([page])
            cursor = page.cursor
        bench.clock.advance(30)
    missing = shop.orders() - seen
    expect(not missing, f"{len(missing)} of {len(shop.orders())} orders were never found.")


@CONTRACT.case(PAGES, "shop-without-orders-is-fetched", "A shop without an order has none, and its first one is found.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    pages = list(connector.fetch_orders(None))
    expect(not _ids(pages), "It found orders where there are none.")
    cursor = pages[-1].cursor if pages else None
    first = bench.buy()
    expect(first in bench.orders(connector, cursor), "The first order was not found.")


@CONTRACT.case(PAGES, "listings-all-paged", "So many products that they come in several pages are all found.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    for number in range(130):
        shop.add_product(f"BULK-{number}", f"Bulk {number}", 1, "1.00")
    found = {listing.sku for listing in bench.listings(connector)}
    missing = {f"BULK-{number}" for number in range(130)} - found
    expect(not missing, f"{len(missing)} of 130 products were not found.")
