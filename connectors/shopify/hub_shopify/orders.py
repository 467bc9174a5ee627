"""Orders as they are fetched: all of them at first, then what changed, each of them whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hub.connector import Page, RawRecord
from hub.errors import NotFound
from hub.http import Client
from hub_shopify import documents
from hub_shopify.admin_api import DELETED, AdminApi, gid, json_body
from hub_shopify.bulk import BulkCursor, BulkImport

# From so many orders on, the first import is a bulk operation: below, pages are there sooner.
BULK_FROM = 500
# Shopify ends a listing after 25,000 things; before that a new search begins where the last one stands.
LISTING_LIMIT = 20_000

# ---------------------------------------------------------------- where fetching goes on

# Shopify finds and sorts orders by an index that lags behind what it then shows. What comes late is looked for this far
# back; a mark younger than this may be ahead of the order's place in the index, so it does not tell how far we are.
OVERLAP = timedelta(minutes=5)
# An order may change again within the second that its mark names. What is older than this has its last mark.
SETTLED = timedelta(seconds=15)
KNOWN = 1500  # orders remembered within the overlap; the others are only fetched again


@dataclass(frozen=True, slots=True)
class OrderCursor:
    """How far the orders have been fetched: the newest mark, and the orders near it that need not be fetched again."""

    newest: datetime | None = None
    known: Mapping[str, str] = field(default_factory=dict)  # GraphQL id -> updatedAt

    @classmethod
    def parse(cls, text: str | None) -> OrderCursor:
        """The cursor of a page; the beginning without one."""
        if not text:
            return cls()
        saved = json.loads(text)
        return cls(saved["newest"] and datetime.fromisoformat(saved["newest"]), saved["known"])

    def __str__(self) -> str:
        newest = self.newest.isoformat() if self.newest else None
        return json.dumps({"newest": newest, "known": self.known}, separators=(",", ":"))

    def after(self, orders: Iterable[Mapping[str, Any]], now: datetime, *, last: bool) -> OrderCursor:
        """The cursor once ``orders`` (nodes, fetched at ``now`` or later) are stored; ``last`` if none is left then."""
        marks = {order["id"]: order["updatedAt"] for order in orders}
        moments = {id: _moment(mark) for id, mark in marks.items()}
        sure = [moment for moment in moments.values() if last or moment <= now - OVERLAP]
        newest = max([*sure, *([self.newest] if self.newest else [])], default=None)
        known = {**self.known, **{id: mark for id, mark in marks.items() if moments[id] <= now - SETTLED}}
        near = sorted((mark, id) for id, mark in known.items() if newest is None or _moment(mark) >= newest - OVERLAP)
        return OrderCursor(newest, {id: mark for mark, id in near[-KNOWN:]})


def _moment(mark: str) -> datetime:
    return datetime.fromisoformat(mark)


# ---------------------------------------------------------------- orders


class Orders:
    """The orders of one shop. ``now`` is our own clock; ``bulk_from`` and ``listing_limit`` as the constants above."""

    def __init__(
        self,
        api: AdminApi,
        client: Client,
        now: Callable[[], datetime],
        *,
        bulk_from: int = BULK_FROM,
        listing_limit: int = LISTING_LIMIT,
    ) -> None:
        self._api = api
        self._now = now
        self._bulk_from = bulk_from
        self._listing_limit = listing_limit
        self._bulk = BulkImport(api, client, self._records)

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Every order changed since ``cursor``, see ``SalesChannel.fetch_orders``."""
        total = None if cursor else self._api.count(documents.ORDERS_COUNT, "ordersCount")
        bulk = BulkCursor.parse(cursor)
        if bulk is None and total is not None and total >= self._bulk_from:
            bulk = BulkCursor(total=total)
        if bulk is None:
            yield from self._changed(OrderCursor.parse(cursor), total)
            return
        began = yield from self._bulk.pages(bulk)
        if began is None:
            return
        # What changed while Shopify wrote the file may be in it as it was before.
        at = OrderCursor(_moment(began) if began else None)
        yield Page((), str(at), bulk.total)
        yield from self._changed(at, bulk.total)

    def _changed(self, at: OrderCursor, total: int | None) -> Iterator[Page]:
        """The orders changed since a little before ``at``, oldest change first."""
        for marks, more in self._changed_marks(at.newest):
            changed = [mark["id"] for mark in marks if at.known.get(mark["id"]) != mark["updatedAt"]]
            for start in range(0, len(changed), documents.ORDER_BATCH):
                end = start + documents.ORDER_BATCH
                now = self._now()
                found = self._api.ask(documents.ORDERS, ids=changed[start:end])["nodes"]
                if orders := self._existing(found):
                    at = at.after(orders, now, last=not more and end >= len(changed))
                    yield Page(tuple(map(_record, orders)), str(at), total)

    def _changed_marks(self, newest: datetime | None) -> Iterator[tuple[Sequence[Mapping[str, Any]], bool]]:
        """The ids and marks of all orders changed since a little before ``newest``, oldest change first, by the page,
        and whether more follow."""
        since = newest and newest - OVERLAP
        sure_until = self._now() - OVERLAP
        while True:
            query = since and f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
            met, reached = 0, since
            for page in self._api.pages(documents.CHANGED_ORDERS, ("orders",), query=query):
                yield page["nodes"], page["pageInfo"]["hasNextPage"]
                met += len(page["nodes"])
                sure = [moment for mark in page["nodes"] if (moment := _moment(mark["updatedAt"])) <= sure_until]
                reached = max([*sure, *([reached] if reached else [])], default=None)
                if met >= self._listing_limit and reached != since:
                    since = reached
                    break
            else:
                return

    def one(self, external_id: str) -> RawRecord:
        """One order, whole. Raises NotFound."""
        node = self._api.ask(documents.ORDER, id=gid("Order", external_id))["order"]
        if node is None:
            raise NotFound(DELETED)
        return _record(self._whole(node))

    # --- the whole of an order

    def _records(self, nodes: Iterable[dict[str, Any] | None]) -> list[RawRecord]:
        return [_record(order) for order in self._existing(nodes)]

    def _existing(self, nodes: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
        """The orders, each whole, without those that were deleted before they were."""
        found = []
        for node in nodes:
            if node is not None:
                with contextlib.suppress(NotFound):
                    found.append(self._whole(node))
        return found

    def _whole(self, node: dict[str, Any]) -> dict[str, Any]:
        """The order with all that did not come with it. Raises NotFound."""
        id, complete = node["id"], self._api.complete
        complete(documents.ORDER_LINES_AFTER, ("order", "lineItems"), node["lineItems"], id)
        complete(documents.ORDER_WORK_AFTER, ("order", "fulfillmentOrders"), node["fulfillmentOrders"], id)
        for work in node["fulfillmentOrders"]["nodes"]:
            complete(documents.WORK_LINES_AFTER, ("node", "lineItems"), work["lineItems"], work["id"])
        if _has_aftermath(node):
            self._add_aftermath(node)
        return node

    def _add_aftermath(self, node: dict[str, Any]) -> None:
        found = self._api.ask(documents.ORDER_AFTERMATH, id=node["id"])["order"]
        if found is None:
            raise NotFound(DELETED)
        returns = found["returns"]
        self._api.complete(documents.ORDER_RETURNS_AFTER, ("order", "returns"), returns, node["id"])
        parts = self._parts([each["id"] for each in (*found["refunds"], *found["fulfillments"], *returns["nodes"])])
        node["refunds"] = [{**each, **parts[each["id"]]} for each in found["refunds"]]
        node["fulfillments"] = [parts[each["id"]] for each in found["fulfillments"]]
        node["returns"] = [{**each, **parts[each["id"]]} for each in returns["nodes"]]
        node["transactions"] = found["transactions"]

    def _parts(self, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        """Refunds, shipments and returns with all their lines. Raises NotFound when one of them is gone."""
        parts: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), documents.PART_BATCH):
            asked = ids[start : start + documents.PART_BATCH]
            for part in self._api.ask(documents.ORDER_PARTS, ids=asked)["nodes"]:
                if part is None:
                    raise NotFound(DELETED)
                for name, document in _PART_LINES.items():
                    if name in part:
                        self._api.complete(document, ("node", name), part[name], part["id"])
                parts[part["id"]] = part
        return parts


_PART_LINES = {
    "refundLineItems": documents.REFUND_LINES,
    "fulfillmentLineItems": documents.FULFILLMENT_LINES,
    "returnLineItems": documents.RETURN_LINES,
}


def _has_aftermath(node: Mapping[str, Any]) -> bool:
    """Whether more came of an order than it says itself.

    One shipment of an order from which nothing was taken holds what is not to be shipped any more; one way of paying
    has paid what was received.
    """
    return (
        len(node["fulfillments"]) > 1
        or any(each["status"] != "SUCCESS" for each in node["fulfillments"])
        or any(line["currentQuantity"] < line["quantity"] for line in node["lineItems"]["nodes"])
        or Decimal(node["totalRefundedSet"]["shopMoney"]["amount"]) != 0
        or node["returnStatus"] != "NO_RETURN"
        or len(node["paymentGatewayNames"]) > 1
    )


def _record(node: Mapping[str, Any]) -> RawRecord:
    return RawRecord("order", node["legacyResourceId"], json_body(node), version=node["updatedAt"])
