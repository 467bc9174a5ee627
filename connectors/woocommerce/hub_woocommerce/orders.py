"""Orders in: those that changed, those in the bin, and those that vanished without a word."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from hub.connector import Page, RawRecord
from hub.core.model import Order
from hub.errors import NotFound
from hub_woocommerce.api import (
    PER_PAGE,
    SECOND,
    ShopApi,
    between,
    body_of,
    modified,
    moment_of,
    no_route,
    one_of,
    path_id,
    rows_of,
    stamp,
    total_of,
)
from hub_woocommerce.translation import ORDER_STATUS, FetchedOrder, WebhookOrder, has_fulfillments

# An order is stamped a moment before it is stored, in a large shop by one of several servers with clocks of their own.
OVERLAP = timedelta(seconds=10)
# The bin is read so that trashed orders are noticed without webhooks; what was trashed long before is not our concern.
BIN_AT_FIRST = timedelta(days=1)
# An order deleted past the bin is told by nobody. So every now and then the shop is asked whether it still has those
# that may hold stock, the newest of them: twenty requests, however many orders it ever had.
LOOK_EVERY = timedelta(minutes=15)
WATCHED = 2000

# In these an order holds no stock, and leaves the ones looked after.
_SETTLED = frozenset({"completed", "cancelled", "failed", "refunded"})


@dataclass
class OrderCursor:
    """How far the orders, and the bin, have been read; the orders to be looked after, and when that was done last."""

    orders: datetime | None
    trash: datetime | None
    looked: datetime | None
    watched: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, text: str | None) -> OrderCursor:
        """As written by ``str``, or by versions that did not look after orders yet."""
        orders, trash, looked, watched = [*(text or "").split(" "), "", "", "", ""][:4]
        return cls(moment_of(orders), moment_of(trash), moment_of(looked), set(_numbers(watched)))

    def __str__(self) -> str:
        return f"{stamp(self.orders)} {stamp(self.trash)} {stamp(self.looked)} {_text(self.watched)}".rstrip()

    def watch(self, rows: Iterable[dict[str, Any]]) -> None:
        """Look after those of the rows that may hold stock, and no longer after the others."""
        for row in rows:
            if row.get("status") in _SETTLED:
                self.watched.discard(row["id"])
            else:
                self.watched.add(row["id"])
        if len(self.watched) > WATCHED:
            self.watched = set(sorted(self.watched)[-WATCHED:])


def _text(ids: Collection[int]) -> str:
    """Ids in little space: each as how much it is above the one before."""
    last, steps = 0, []
    for id in sorted(ids):
        steps.append(f"{id - last:x}")
        last = id
    return ".".join(steps)


def _numbers(text: str) -> Iterator[int]:
    last = 0
    for step in re.findall(r"[0-9a-f]{1,16}", text):
        last += int(step, 16)
        yield last


class Orders(ShopApi):
    """Fetches orders, each with what it only names, and reads them."""

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        """The orders by their time of change, then the bin, which no other list shows, then those that vanished."""
        known = OrderCursor.of(cursor)
        known.trash = known.trash or self.context.now() - BIN_AT_FIRST
        known.looked = known.looked or self.context.now()
        for rows, total in self._changed("any", known.orders):
            known.orders = self._reached(known.orders, rows)
            known.watch(rows)
            yield Page(tuple(self._still_there(self._order_record, rows)), str(known), total)
        for rows, total in self._changed("trash", known.trash):
            known.trash = self._reached(known.trash, rows)
            known.watched -= {row["id"] for row in rows}
            yield Page(tuple(self._still_there(self._order_record, rows)), str(known), total)
        if abs(self.context.now() - known.looked) >= LOOK_EVERY:
            known.looked = self.context.now()
            records = tuple(self._vanished(known))
            yield Page(records, str(known))

    def _reached(self, mark: datetime | None, rows: Iterable[dict[str, Any]]) -> datetime | None:
        newest = max(filter(None, (modified(row) for row in rows)), default=None)
        if newest is None:
            return mark
        # A shop whose clock once ran ahead must not keep us from reading what it changes until then.
        return max(filter(None, (mark, min(newest, self.context.now()))))

    def _vanished(self, known: OrderCursor) -> Iterator[RawRecord]:
        """A record of each order looked after that is in no list any more: where it went, or that it is gone."""
        watched, asking = sorted(known.watched), PER_PAGE
        for start in range(0, len(watched), PER_PAGE):
            ids = watched[start : start + PER_PAGE]
            asked = ",".join(map(str, ids))
            there = {row["id"] for row in self._all("orders", status="any", include=asked, _fields="id")}
            for id in [id for id in ids if id not in there]:
                if not asking:
                    return  # the others next time
                asking -= 1
                # A list may lie, from a cache or while plugins change; only the shop's word on this one order counts.
                try:
                    yield self.fetch_order(str(id))
                except NotFound:
                    known.watched.discard(id)
                    yield RawRecord("order.deleted", str(id), body_of({"id": id}))

    def _changed(self, status: str, since: datetime | None) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        """Orders in one status by time of change, page by page, with how many there are.

        Positions cannot be trusted: an order that changes while we read leaves its place for the end, all behind it
        move up one, and the first of the next page has become the last of the page already read. So there is no next
        page. Each request asks anew for the first page of what changed at or after the last row seen; whatever moves
        meanwhile moves to where we have yet to go. ``modified_after`` means later, so the bound is a second less.

        Only when one second holds more than a page does this stand still. That second is then read by id, which
        a change cannot reorder.
        """
        after = since - OVERLAP if since else None
        expected: int | None = None
        while True:
            response = self._call(
                "GET", "orders", status=status, orderby="modified", order="asc", per_page=PER_PAGE, **between(after)
            )
            rows, total = rows_of(response), total_of(response)
            expected = total if expected is None else expected
            if rows:
                yield rows, expected
            if (total <= len(rows)) if total is not None else (len(rows) < PER_PAGE):
                return
            last = modified(rows[-1]) if rows else None
            if last is None or (after is not None and last <= after):
                raise self._repeats_itself()
            if after == last - SECOND:
                for crowd, _ in self._walk("orders", status=status, **between(after, last + SECOND)):
                    yield crowd, expected
                after = last
            else:
                after = last - SECOND

    def fetch_order(self, external_id: str) -> RawRecord:
        return self._order_record(self._order(external_id))

    def _order(self, external_id: str) -> dict[str, Any]:
        return one_of(self._call("GET", f"orders/{path_id(external_id)}"))

    def _order_record(self, order: dict[str, Any]) -> RawRecord:
        """The order with what it only names: what refunds took off its lines, and which units were fulfilled."""
        record: dict[str, Any] = {"order": order, "refunds": self._refunds(order)}
        if has_fulfillments(order):
            record["fulfillments"] = self._fulfillments(order["id"]) or []
        return RawRecord("order", str(order["id"]), body_of(record), str(order.get("date_modified_gmt") or ""))

    def _refunds(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        return self._all(f"orders/{order['id']}/refunds") if order.get("refunds") else []

    def _fulfillments(self, order_id: int) -> list[dict[str, Any]] | None:
        """The fulfillments of an order; None where the shop has no such thing, or has it no more."""
        answer = self._ask("GET", f"orders/{order_id}/fulfillments")
        if no_route(answer):
            return None
        if answer.status >= 400:
            refusal = self._refusal(answer)
            if isinstance(refusal, NotFound):
                return None  # the order itself was there a moment ago: if it has gone, asking for that will tell
            raise refusal
        return rows_of(answer)

    def read_order(self, record: RawRecord) -> Order:
        order: Order = self._fetched_order.read(record.body)
        return order

    @cached_property
    def _fetched_order(self) -> FetchedOrder:
        return FetchedOrder(self.context.mappings.get(ORDER_STATUS, {}))

    @cached_property
    def _webhook_order(self) -> WebhookOrder:
        return WebhookOrder(
            self.context.mappings.get(ORDER_STATUS, {}),
            keeps_fulfillments=self.context.features.get("shipments") == "fulfillments",
        )
