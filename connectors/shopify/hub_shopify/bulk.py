"""The first import by a bulk operation: Shopify writes all orders into one file, which is read piece by piece.

Nobody knows how long that takes, so every step leaves a cursor from which the next shift, or the next worker, goes on:
the operation while it runs, and the place in the file while it is read. Where no operation succeeds, paging does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hub.connector import Page, RawRecord
from hub.errors import AuthError, Unavailable
from hub.http import Client
from hub_shopify import documents
from hub_shopify.admin_api import AdminApi

FILES = "https://storage.googleapis.com"  # where Shopify puts the files

ATTEMPTS = 3  # operations that are begun before paging takes over
PAUSE = 10.0  # seconds between two looks at a running operation
PAUSE_FOR_OTHERS = 30.0
MOST_WAITS = 20  # for an operation of somebody else
PIECE = 4 * 1024 * 1024
PAGE = 100  # orders stored at once

_UNDER_WAY = frozenset({"CREATED", "RUNNING", "CANCELING"})
_BUSY = frozenset({"OPERATION_IN_PROGRESS", "LIMIT_REACHED"})
# What the storage says when the address of a file has expired, or the file is gone.
_NO_FILE = frozenset({400, 401, 403, 404, 410})
_BEHIND_THE_END = 416


@dataclass(frozen=True, slots=True)
class BulkCursor:
    """Where a first import stands: the operation, and how much of its file is stored.

    ``operation`` is "" before one was begun. ``total`` is how many orders there are, ``attempt`` counts operations and
    ``waits`` looks in vain while Shopify was busy with somebody else's.
    """

    operation: str = ""
    offset: int = 0
    total: int | None = None
    attempt: int = 1
    waits: int = 0

    @classmethod
    def parse(cls, text: str | None) -> BulkCursor | None:
        """The cursor in a text, None if the text is another stage's."""
        saved = json.loads(text)["bulk"] if text and text.startswith('{"bulk":') else None
        return None if saved is None else cls(**saved)

    def __str__(self) -> str:
        saved = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"bulk": saved}, separators=(",", ":"))


class BulkImport:
    """All orders of a shop by one bulk operation. ``records`` makes orders, as they are in the file, into records."""

    def __init__(
        self, api: AdminApi, client: Client, records: Callable[[Sequence[dict[str, Any]]], Iterable[RawRecord]]
    ) -> None:
        self._api = api
        self._client = client
        self._records = records

    def pages(self, at: BulkCursor) -> Generator[Page, None, str | None]:
        """The pages from ``at`` on. Returns the time from which paging goes on for whatever changed since, "" where
        paging has to find everything, and None where the import is not yet that far.
        """
        if not at.operation:
            at, pause = self._begun(at)
            if pause is not None:
                yield _standing(at, pause)
                return None
            if not at.operation:
                return ""
        operation = self._api.ask(documents.BULK_OPERATION, id=at.operation)["bulkOperation"]
        if operation and operation["status"] in _UNDER_WAY:
            yield _standing(at, PAUSE)
            return None
        if operation and operation["errorCode"] == "ACCESS_DENIED":
            anew = BulkCursor(total=at.total)
            yield Page((), str(anew), anew.total)  # once it may, another one is to be begun
            raise AuthError(
                "Shopify denies the app something that the first import asks for. See that the app has all access "
                "scopes, accept its new version in the shop, then reconnect."
            )
        if operation and operation["status"] == "COMPLETED":
            at = replace(at, total=int(operation["rootObjectCount"]))
            if (yield from self._read(at, operation["url"], cut_off=False)):
                began: str = operation["createdAt"]
                return began
        elif operation and operation["partialDataUrl"]:
            # Good orders, but nobody says which are missing.
            yield from self._read(at, operation["partialDataUrl"], cut_off=True)
        if at.attempt >= ATTEMPTS:
            return ""
        yield _standing(BulkCursor(total=at.total, attempt=at.attempt + 1), PAUSE)
        return None

    def _begun(self, at: BulkCursor) -> tuple[BulkCursor, float | None]:
        """Begin an operation, or find the one that an earlier attempt has begun. How long to wait comes with it, None
        where there is nothing to wait for: Shopify wants no operation of us.
        """
        answer = self._api.ask(documents.RUN_BULK, query=documents.BULK_ORDERS.text)["bulkOperationRunQuery"]
        if answer is None:
            raise Unavailable("Shopify did not say whether it has begun to export the orders. It will be asked again.")
        if answer["bulkOperation"] and not answer["userErrors"]:
            return replace(at, operation=answer["bulkOperation"]["id"]), PAUSE
        if not any(error["code"] in _BUSY for error in answer["userErrors"]):
            return at, None
        for each in self._api.ask(documents.BULK_OPERATIONS)["bulkOperations"]["nodes"]:
            if each["status"] in _UNDER_WAY and each["query"] == documents.BULK_ORDERS.text:
                return replace(at, operation=each["id"]), PAUSE
        if at.waits >= MOST_WAITS:
            return at, None
        return replace(at, waits=at.waits + 1), PAUSE_FOR_OTHERS

    def _read(self, at: BulkCursor, url: str | None, *, cut_off: bool) -> Generator[Page, None, bool]:
        """The orders of a file from the cursor on; whether it could be read to its end. Without an address it is empty.

        A file that was ``cut_off`` may end in the middle of its last order, which is left out.
        """
        if url is None:
            return True
        try:
            batch: list[dict[str, Any]] = []
            last = at.offset
            for order, end in orders_in(self._pieces(url, at.offset), at.offset, cut_off=cut_off):
                batch.append(order)
                last = end
                if len(batch) >= PAGE:
                    yield self._page(batch, replace(at, offset=last))
                    batch = []
            if batch:
                yield self._page(batch, replace(at, offset=last))
        except _Unusable:
            return False
        return True

    def _page(self, orders: Sequence[dict[str, Any]], at: BulkCursor) -> Page:
        return Page(tuple(self._records(orders)), str(at), at.total)

    def _pieces(self, url: str, offset: int) -> Iterator[bytes]:
        """The file from an offset on, a few megabytes at a time. Raises _Unusable when it is gone, or elsewhere."""
        if not url.startswith(f"{FILES}/"):
            raise _Unusable
        while True:
            response = self._client.get(
                url,
                # Packed, the parts of a file would be other parts.
                headers={"Range": f"bytes={offset}-{offset + PIECE - 1}", "Accept-Encoding": "identity"},
                cost=0.0,
                expect=(*_NO_FILE, _BEHIND_THE_END),
            )
            if response.status == _BEHIND_THE_END:
                return
            if response.status in _NO_FILE:
                raise _Unusable
            part = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if response.status != 206 or part is None or int(part[1]) != offset or not response.body:
                raise Unavailable("The file with the orders did not come as asked for. It will be asked for again.")
            yield response.body
            offset += len(response.body)
            if offset >= int(part[2]):
                return


class _Unusable(Exception):
    """The file of an operation is gone, or is no file of orders: another operation has to be begun."""


def _standing(at: BulkCursor, pause: float) -> Page:
    return Page((), str(at), at.total, pause)


# ---------------------------------------------------------------- the file

_CONNECTIONS = {
    "LineItem": "lineItems",
    "FulfillmentOrder": "fulfillmentOrders",
    "FulfillmentOrderLineItem": "lineItems",
}


def orders_in(pieces: Iterable[bytes], offset: int, *, cut_off: bool = False) -> Iterator[tuple[dict[str, Any], int]]:
    """Each order of a file with what belongs to it, as a page would hold it, and the offset at which the next begins.

    Every object is a line; what belongs to another one follows it and names it. Raises _Unusable for any other file.
    """
    order: dict[str, Any] | None = None
    parents: dict[str, dict[str, Any]] = {}
    for line, start in _lines(pieces, offset):
        try:
            node = json.loads(line)
            parent = node.pop("__parentId", None)
            kind = node["id"].split("/")[-2]
            if parent is not None:
                parents[parent][_CONNECTIONS[kind]]["nodes"].append(node)
            elif kind != "Order":
                raise _Unusable
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if cut_off:
                return
            raise _Unusable from error
        if parent is None:
            if order is not None:
                yield order, start
            order, parents = node, {}
        for name in _HOLDS.get(kind, ()):
            node[name] = {"nodes": [], "pageInfo": {"hasNextPage": False}}
        parents[node["id"]] = node
        offset = start + len(line) + 1
    if order is not None and not cut_off:
        yield order, offset


_HOLDS: Mapping[str, Sequence[str]] = {"Order": ("lineItems", "fulfillmentOrders"), "FulfillmentOrder": ("lineItems",)}


def _lines(pieces: Iterable[bytes], offset: int) -> Iterator[tuple[bytes, int]]:
    """The lines of a file that comes in pieces, each with the offset at which it begins."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line, offset
            offset += len(line) + 1
    if rest.strip():
        yield rest, offset
