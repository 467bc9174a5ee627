"""The simulated shop's fulfillment orders: what each location is to ship of an order, and what becomes of it.

Shopify deals every order out to locations. A part is open, held, moved, split or shipped; where the location belongs to
a fulfillment service, it is asked for and answered. Whatever opens units again (a shipment is canceled) makes parts
with other ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from graphql import GraphQLError

from hub_shopify.simulator_graphql import Info, _connection, legacy, user_errors
from hub_shopify.simulator_model import Fulfillment, Line, Order, Tracking, gid, iso
from hub_shopify.simulator_stock import StockApi
from hub_shopify.simulator_webhooks import fulfillment_body, order_body, work_body

if TYPE_CHECKING:
    from hub_shopify.simulator import ShopifySimulator

MOST_LINES = 512
MOST_HOLDS = 10
MOST_HANDLE = 64
ACTIVE = ("OPEN", "IN_PROGRESS", "SCHEDULED", "ON_HOLD", "INCOMPLETE")
SHIPPABLE = ("OPEN", "IN_PROGRESS")
# While a fulfillment service has been asked, nobody takes the goods away from it.
ASKED = ("SUBMITTED", "ACCEPTED", "CANCELLATION_REQUESTED", "CANCELLATION_REJECTED")

_MERCHANTS = "merchant_managed_fulfillment_orders"
_OURS = "assigned_fulfillment_orders"
_OTHERS = "third_party_fulfillment_orders"

# ---------------------------------------------------------------- what there is


@dataclass
class Hold:
    """A reason not to ship a part now; ``by_app``: the app that asks has put it there."""

    id: int
    reason: str
    notes: str
    handle: str
    by_app: bool


@dataclass
class WorkLine:
    """Units of an order's line that belong to a part; ``remaining`` are still to be shipped."""

    id: int
    line: Line
    total: int
    remaining: int


@dataclass
class Work:
    """A fulfillment order. ``reported``: somebody said that packing has begun."""

    id: int
    order: Order
    location: int
    lines: list[WorkLine]
    at: datetime
    status: str = "OPEN"
    request: str = "UNSUBMITTED"
    holds: list[Hold] = field(default_factory=list)
    reported: bool = False

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


class FulfillmentOrders:
    """Every fulfillment order of a shop, and what its staff do with them.

    ``services`` are the locations of the app's own fulfillment service. ``splits_off``: a split leaves the old id to
    the rest; otherwise to what was split off. Shopify's words allow both.
    """

    def __init__(self, shop: ShopifySimulator) -> None:
        self._shop = shop
        self._all: dict[int, list[Work]] = {}
        self._shipped: dict[int, list[tuple[WorkLine, int]]] = {}  # by the shipment
        self.services: set[int] = set()
        self.splits_off = True

    def of(self, order: Order) -> list[Work]:
        """The parts of an order, oldest first, after whatever happened to its lines."""
        works = self._all.setdefault(order.id, [])
        missing: dict[int, list[tuple[Line, int]]] = {}
        for line in order.lines:
            there = [each for work in works if work.active for each in work.lines if each.line is line]
            too_many = sum(each.remaining for each in there) - line.open
            for each in reversed(there):
                gone = max(0, min(too_many, each.remaining))
                each.remaining -= gone
                too_many -= gone
            if too_many < 0:
                missing.setdefault(line.location, []).append((line, -too_many))
        for location, units in missing.items():
            self._new(order, location, units)
        for work in works:
            if work.active and not any(each.remaining for each in work.lines):
                work.status = "CANCELLED" if order.cancelled_at else "CLOSED"
                work.holds.clear()
        return works

    def every(self) -> Iterator[Work]:
        """All of the shop."""
        for order in self._shop.sold.values():
            yield from self.of(order)

    def part(self, id: str) -> Work | None:
        """The part with an id of GraphQL's, or its number."""
        number = int(id) if id.isdigit() else legacy(id, "FulfillmentOrder")
        return next((work for work in self.every() if work.id == number), None)

    # --- what staff and services do

    def open(self, order: str) -> list[Work]:
        """The parts of an order with something left to ship."""
        with self._shop.lock:
            return [work for work in self.of(self._shop.sold[int(order)]) if work.active]

    def hold_by_hand(self, work: Work, reason: str, notes: str = "") -> Hold:
        """Somebody holds a part in Shopify's own pages."""
        with self._shop.lock:
            hold = self.add_hold(work, Hold(next(self._shop._ids), reason, notes, "", by_app=False))
            self.tell_of(work, "fulfillment_holds/added")
            return hold

    def report_progress(self, work: Work) -> None:
        """Somebody says that packing has begun."""
        with self._shop.lock:
            work.status, work.reported = "IN_PROGRESS", True
            self.tell_of(work, "fulfillment_orders/progress_reported")

    def schedule(self, work: Work) -> None:
        """The part is to be shipped on a day to come."""
        with self._shop.lock:
            work.status = "SCHEDULED"

    def ask(self, work: Work, request: str = "SUBMITTED") -> None:
        """The merchant asks the fulfillment service to ship a part, or to stop (CANCELLATION_REQUESTED)."""
        with self._shop.lock:
            work.request = request
            asked = "cancellation" if request == "CANCELLATION_REQUESTED" else "fulfillment"
            self.tell_of(work, f"fulfillment_orders/{asked}_request_submitted")

    def tell_of(self, work: Work, topic: str) -> None:
        """Such messages name the part, not its order; the order's own mark stays as it is."""
        self._shop._emit(self._shop._event(), [(topic, work_body(work.id, work.status))])

    def tell_moved(self, work: Work, moved: Work) -> None:
        """A move is told of with the part it is about and the part it led to."""
        parts = {"original_fulfillment_order": work, "moved_fulfillment_order": moved}
        body = {name: work_body(part.id, part.status)["fulfillment_order"] for name, part in parts.items()}
        self._shop._emit(self._shop._event(), [("fulfillment_orders/moved", body)])

    # --- changes, checked by whoever calls them

    def add_hold(self, work: Work, hold: Hold) -> Hold:
        work.holds.append(hold)
        work.status = "ON_HOLD"
        return hold

    def release(self, work: Work, holds: Sequence[Hold]) -> None:
        work.holds = [each for each in work.holds if each not in holds]
        if not work.holds:
            work.status = "OPEN"

    def take_out(self, work: Work, units: Sequence[tuple[WorkLine, int]], location: int) -> Work:
        """Make units of a part another one, at a location."""
        for each, quantity in units:
            each.remaining -= quantity
            each.total -= quantity
        work.lines = [each for each in work.lines if each.total]
        self._commit([(each.line, quantity) for each, quantity in units], work.location, location)
        made = self._new(work.order, location, [(each.line, quantity) for each, quantity in units])
        made.request = work.request
        return made

    def move_all(self, work: Work, location: int) -> None:
        """Assign a part to another location."""
        self._commit([(each.line, each.remaining) for each in work.lines], work.location, location)
        work.location = location

    def ship(self, units: Sequence[tuple[Work, WorkLine, int]], tracking: list[Tracking], notify: bool) -> Fulfillment:
        """Ship units, all of one order and from one location."""
        shop = self._shop
        order, location = units[0][0].order, units[0][0].location
        items: Counter[int] = Counter()
        lines = {each.line.id: each.line for _, each, _ in units}
        for work, each, quantity in units:
            each.remaining -= quantity
            each.line.fulfilled += quantity
            items[each.line.id] += quantity
            if work.status == "OPEN":
                work.status = "IN_PROGRESS"
            if each.line.variant:
                shop._move(each.line.variant, location, committed=-quantity)
        shipped = [(lines[id], quantity) for id, quantity in items.items()]
        made = Fulfillment(next(shop._ids), shop._second(), shipped, False, location, tracking, int(notify))
        self._shipped[made.id] = [(each, quantity) for _, each, quantity in units]
        order.fulfillments.append(made)
        self.of(order)
        self._tell(order, ("fulfillments/create", fulfillment_body(order, made, shop.currency)))
        return made

    def cancel(self, order: Order, shipment: Fulfillment) -> None:
        """Cancel a shipment: its units are open again, where the part they were of is, or in a new one."""
        shop = self._shop
        shipment.cancelled = True
        location = shipment.location or shop._home
        open_again: Counter[int] = Counter()
        active = {each.id for work in self.of(order) if work.active for each in work.lines}
        for each, quantity in self._shipped.pop(shipment.id, []):
            if each.id in active:
                each.remaining += quantity
                open_again[each.line.id] += quantity
        for line, quantity in shipment.items:
            line.fulfilled -= quantity
            if line.variant:
                shop._move(line.variant, location, committed=quantity)
        units = [(line, quantity - open_again[line.id]) for line, quantity in shipment.items]
        if units := [(line, quantity) for line, quantity in units if quantity]:
            self._new(order, location, units)
        self._tell(order, ("fulfillments/update", fulfillment_body(order, shipment, shop.currency)))

    def replace(self, work: Work) -> Work:
        """Give what is left of a part to a new one, that may be shipped from elsewhere."""
        units = [(each.line, each.remaining) for each in work.lines if each.remaining]
        for each in work.lines:
            each.remaining = 0
        return self._new(work.order, work.location, units)

    def track(self, order: Order, shipment: Fulfillment, tracking: list[Tracking], notify: bool) -> None:
        """Show another tracking."""
        shipment.tracking = tracking
        shipment.notified += notify
        self._tell(order, ("fulfillments/update", fulfillment_body(order, shipment, self._shop.currency)))

    def _new(self, order: Order, location: int, units: Sequence[tuple[Line, int]]) -> Work:
        new_id = self._shop._ids
        lines = [WorkLine(next(new_id), line, quantity, quantity) for line, quantity in units]
        made = Work(next(new_id), order, location, lines, self._shop._second())
        self._all.setdefault(order.id, []).append(made)
        return made

    def _commit(self, units: Sequence[tuple[Line, int]], before: int, after: int) -> None:
        """What an order holds of the stock goes along with the part."""
        if before == after:
            return
        for line, quantity in units:
            if line.variant:
                self._shop._move(line.variant, before, available=quantity, committed=-quantity)
                self._shop._move(line.variant, after, available=-quantity, committed=quantity)

    def _tell(self, order: Order, news: tuple[str, Mapping[str, Any]]) -> None:
        shop = self._shop
        shop._touch(order)
        body = order_body(order, shop.currency)
        topics = ["orders/updated"]
        if news[0] == "fulfillments/create":
            topics.insert(0, "orders/fulfilled" if order.fulfillment == "FULFILLED" else "orders/partially_fulfilled")
        shop._emit(shop._event(), [news, *((topic, body) for topic in topics)])


# ---------------------------------------------------------------- the API's fields


class FulfillmentApi(StockApi):
    """What the API shows of fulfillment orders, and the mutations about them."""

    def __init__(self, shop: ShopifySimulator) -> None:
        super().__init__(shop)
        self._orders = shop.fulfillment_orders

    # --- reading

    def node(self, info: Info, id: str) -> dict[str, Any] | None:
        if id.startswith("gid://shopify/FulfillmentOrder/"):
            work = self._visible(id)
            return self._work(work) if work else None
        return super().node(info, id)

    def _order(self, order: Order) -> dict[str, Any]:
        def works(info: Info, displayable: bool = False, **paging: Any) -> dict[str, Any]:
            seen = [
                each for each in self._orders.of(order) if self._may(each, "read") and (each.lines or not displayable)
            ]
            return _connection(seen, lambda each: [each.id], self._work, paging)

        return {**super()._order(order), "fulfillmentOrders": works}

    def _fulfillment(self, fulfillment: Fulfillment) -> dict[str, Any]:
        def order() -> Order:
            return next(each for each in self._shop.sold.values() if fulfillment in each.fulfillments)

        def name(info: Info) -> str:
            return f"#{order().number}-F{order().fulfillments.index(fulfillment) + 1}"

        return {
            **super()._fulfillment(fulfillment),
            "name": name,
            "order": lambda info: self._order(order()),
            "updatedAt": iso(fulfillment.at),
            "location": self._location(fulfillment.location) if fulfillment.location else None,
            "trackingInfo": lambda info, first=None: [
                {"company": each.company, "number": each.number, "url": each.url}
                for each in fulfillment.tracking[:first]
            ],
        }

    def _work(self, work: Work) -> dict[str, Any]:
        shop = self._shop

        def line(each: WorkLine) -> dict[str, Any]:
            return {
                "__typename": "FulfillmentOrderLineItem",
                "id": gid("FulfillmentOrderLineItem", each.id),
                "lineItem": lambda info: self._line(each.line),
                "remainingQuantity": each.remaining,
                "totalQuantity": each.total,
                "sku": each.line.variant.sku if each.line.variant else None,
            }

        place = self._location(work.location)
        return {
            "__typename": "FulfillmentOrder",
            "id": gid("FulfillmentOrder", work.id),
            "assignedLocation": {"location": place, "name": shop.locations[work.location]},
            "createdAt": iso(work.at),
            "deliveryMethod": {
                "id": gid("DeliveryMethod", work.id),
                "maxDeliveryDateTime": work.order.promised_at and iso(work.order.promised_at),
            },
            "updatedAt": iso(work.at),
            "fulfillAt": None,
            "fulfillBy": None,
            "fulfillmentHolds": [self._hold(each) for each in work.holds],
            "lineItems": lambda info, **paging: _connection(work.lines, lambda each: [each.id], line, paging),
            "orderId": gid("Order", work.order.id),
            "requestStatus": work.request,
            "status": work.status,
        }

    def _hold(self, hold: Hold) -> dict[str, Any]:
        return {
            "__typename": "FulfillmentHold",
            "id": gid("FulfillmentHold", hold.id),
            "displayReason": hold.reason.replace("_", " ").capitalize(),
            "handle": hold.handle or None,
            "heldByRequestingApp": hold.by_app,
            "reason": hold.reason,
            "reasonNotes": hold.notes or None,
        }

    def _may(self, work: Work, what: str) -> bool:
        kinds = [_OURS, _OTHERS] if work.location in self._orders.services else [_MERCHANTS]
        granted = {*self._shop.scopes, *(scope.replace("write_", "read_", 1) for scope in self._shop.scopes)}
        return any(f"{what}_{kind}" in granted for kind in kinds)

    def _visible(self, id: str, what: str = "read") -> Work | None:
        work = self._orders.part(id)
        return work if work and self._may(work, what) else None

    # --- shipments

    def fulfillmentCreate(self, info: Info, fulfillment: dict[str, Any], message: str = "") -> dict[str, Any]:
        self._need(*(f"write_{kind}" for kind in (_OURS, _MERCHANTS, _OTHERS)))
        tracking = _tracking(fulfillment.get("trackingInfo") or {})
        units: list[tuple[Work, WorkLine, int]] = []
        for index, asked in enumerate(fulfillment["lineItemsByFulfillmentOrder"]):
            path = ["fulfillment", "lineItemsByFulfillmentOrder", str(index)]
            work = self._visible(asked["fulfillmentOrderId"], "write")
            if work is None:
                return _wrong([*path, "fulfillmentOrderId"], "Fulfillment order does not exist.")
            if work.status not in SHIPPABLE:
                words = f"Fulfillment order {work.id} has an unfulfillable status= {work.status.lower()}."
                return _wrong(["fulfillment"], words)
            wanted = asked.get("fulfillmentOrderLineItems")
            if not wanted:
                units += [(work, each, each.remaining) for each in work.lines if each.remaining]
                continue
            if len(wanted) > MOST_LINES:
                return _wrong([*path, "fulfillmentOrderLineItems"], f"No more than {MOST_LINES} line items.")
            for each, quantity in _units(work, wanted):
                if each is None:
                    return _wrong([*path, "fulfillmentOrderLineItems"], "Fulfillment order line item does not exist.")
                if not 0 < quantity <= each.remaining:
                    return _wrong(["fulfillment"], "Invalid fulfillment order line item quantity requested.")
                units.append((work, each, quantity))
        if not units:
            return _wrong(["fulfillment"], "Fulfillment order has no line items to fulfill.")
        if len({work.order.id for work, _, _ in units}) > 1:
            return _wrong(["fulfillment"], "All fulfillment orders must belong to the same order.")
        if len({work.location for work, _, _ in units}) > 1:
            return _wrong(["fulfillment"], "All fulfillment orders must be assigned to the same location.")
        made = self._orders.ship(units, tracking, bool(fulfillment.get("notifyCustomer")))
        return {"fulfillment": self._fulfillment(made), "userErrors": []}

    def fulfillmentTrackingInfoUpdate(
        self, info: Info, fulfillmentId: str, trackingInfoInput: dict[str, Any], notifyCustomer: bool = False
    ) -> dict[str, Any]:
        self._need(*(f"write_{kind}" for kind in (_OURS, _MERCHANTS, _OTHERS)))
        found = self._shipment(fulfillmentId)
        if found is None:
            return _wrong(["fulfillmentId"], "Fulfillment does not exist.")
        order, shipment = found
        if shipment.cancelled:
            return _wrong(["fulfillmentId"], "The tracking of a cancelled fulfillment cannot be changed.")
        self._orders.track(order, shipment, _tracking(trackingInfoInput), bool(notifyCustomer))
        return {"fulfillment": self._fulfillment(shipment), "userErrors": []}

    def fulfillmentCancel(self, info: Info, id: str) -> dict[str, Any]:
        self._need(*(f"write_{kind}" for kind in (_OURS, _MERCHANTS, _OTHERS)))
        found = self._shipment(id)
        if found is None:
            return _wrong(["id"], "Fulfillment not found.")
        order, shipment = found
        if shipment.cancelled:
            return _wrong(["id"], "Fulfillment is already cancelled.")
        self._orders.cancel(order, shipment)
        return {"fulfillment": self._fulfillment(shipment), "userErrors": []}

    def _shipment(self, id: str) -> tuple[Order, Fulfillment] | None:
        number = legacy(id, "Fulfillment")
        every = ((order, each) for order in self._shop.sold.values() for each in order.fulfillments)
        return next((found for found in every if found[1].id == number), None)

    # --- holding

    def fulfillmentOrderHold(self, info: Info, id: str, fulfillmentHold: dict[str, Any]) -> dict[str, Any]:
        self._need(f"write_{_MERCHANTS}", f"write_{_OTHERS}")
        work = self._visible(id, "write")
        if work is None:
            return user_errors([("FULFILLMENT_ORDER_NOT_FOUND", ["id"], "Fulfillment order not found.")])
        if not work.active:
            return user_errors([("TAKEN", ["id"], f"A fulfillment order that is {work.status.lower()} is not held.")])
        handle = fulfillmentHold.get("handle") or ""
        by_app = [each for each in work.holds if each.by_app]
        if len(handle) > MOST_HANDLE:
            return user_errors([("TAKEN", ["fulfillmentHold", "handle"], "Handle is too long.")])
        if any(each.handle == handle for each in by_app):
            words = "The handle is already in use by this app for another hold on this fulfillment order."
            return user_errors([("DUPLICATE_FULFILLMENT_HOLD_HANDLE", ["fulfillmentHold", "handle"], words)])
        if len(by_app) >= MOST_HOLDS:
            words = "The maximum number of fulfillment holds has been reached."
            return user_errors([("FULFILLMENT_ORDER_HOLD_LIMIT_REACHED", ["id"], words)])
        rest = None
        if wanted := fulfillmentHold.get("fulfillmentOrderLineItems"):
            path = ["fulfillmentHold", "fulfillmentOrderLineItems"]
            if work.status == "ON_HOLD":
                words = "The fulfillment order is not in a splittable state."
                return user_errors([("FULFILLMENT_ORDER_NOT_SPLITTABLE", path, words)])
            if len({each["id"] for each in wanted}) < len(wanted):
                return user_errors([("DUPLICATED_FULFILLMENT_ORDER_LINE_ITEMS", path, "Line items are not unique.")])
            if any(each["quantity"] <= 0 for each in wanted):
                return user_errors([("GREATER_THAN_ZERO", path, "Quantity must be greater than 0.")])
            left = _left(work, wanted)
            if left is None:
                return user_errors([("INVALID_LINE_ITEM_QUANTITY", path, "Invalid line item quantity.")])
            rest = self._orders.take_out(work, left, work.location) if left else None
        reason, notes = fulfillmentHold["reason"], fulfillmentHold.get("reasonNotes") or ""
        hold = self._orders.add_hold(work, Hold(next(self._shop._ids), reason, notes, handle, by_app=True))
        self._orders.tell_of(work, "fulfillment_orders/placed_on_hold")
        return {
            "fulfillmentHold": self._hold(hold),
            "fulfillmentOrder": self._work(work),
            "remainingFulfillmentOrder": self._work(rest) if rest else None,
            "userErrors": [],
        }

    def fulfillmentOrderReleaseHold(
        self, info: Info, id: str, holdIds: list[str] | None = None, externalId: str = ""
    ) -> dict[str, Any]:
        self._need(f"write_{_MERCHANTS}", f"write_{_OTHERS}")
        work = self._visible(id, "write")
        if work is None:
            return user_errors([("FULFILLMENT_ORDER_NOT_FOUND", ["id"], "Fulfillment order not found.")])
        numbers = None if holdIds is None else {legacy(each, "FulfillmentHold") for each in holdIds}
        released = [each for each in work.holds if numbers is None or each.id in numbers]
        self._orders.release(work, released)
        self._orders.tell_of(work, "fulfillment_orders/hold_released")
        return {"fulfillmentOrder": self._work(work), "userErrors": []}

    # --- dealing out anew

    def fulfillmentOrderMove(
        self, info: Info, id: str, newLocationId: str, fulfillmentOrderLineItems: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        self._need(f"write_{_MERCHANTS}", f"write_{_OTHERS}")
        work, location = self._visible(id, "write"), legacy(newLocationId, "Location")
        if work is None:
            return user_errors([(None, ["id"], "Fulfillment order does not exist.")])
        if location not in self._shop.locations:
            return user_errors([(None, ["newLocationId"], "Location does not exist.")])
        if not work.active:
            words = f"Cannot change the location of a fulfillment order that is {work.status.lower()}."
            return user_errors([(None, ["id"], words)])
        if work.reported:
            code = "CANNOT_MOVE_FULFILLMENT_ORDER_WITH_REPORTED_PROGRESS"
            return user_errors([(code, ["id"], "Cannot move a fulfillment order that has progress reported.")])
        if work.request in ASKED:
            words = f"Cannot move a fulfillment order whose request status is {work.request.lower()}."
            return user_errors([(None, ["id"], words)])
        wanted = fulfillmentOrderLineItems or [
            {"id": gid("FulfillmentOrderLineItem", each.id), "quantity": each.remaining}
            for each in work.lines
            if each.remaining
        ]
        units = [(each, quantity) for each, quantity in _units(work, wanted) if each and 0 < quantity <= each.remaining]
        if len(units) < len(wanted):
            return user_errors([(None, ["fulfillmentOrderLineItems"], "Invalid line item quantity.")])
        for each, _ in units:
            variant = each.line.variant
            if variant and not (location in variant.levels and variant.levels[location].active):
                words = f"{each.line.name} is not stocked at {self._shop.locations[location]}."
                return user_errors([(None, ["newLocationId"], words)])
        if location == work.location:
            moved = work
        elif sum(quantity for _, quantity in units) == sum(each.total for each in work.lines):
            self._orders.move_all(work, location)
            moved = work
        elif work.status == "ON_HOLD":
            return user_errors([(None, ["id"], "The fulfillment order is not in a splittable state.")])
        else:
            moved = self._gathered(work, units, location)
        self._orders.tell_moved(work, moved)
        return {
            "movedFulfillmentOrder": self._work(moved),
            "originalFulfillmentOrder": self._work(work),
            "userErrors": [],
        }

    def _gathered(self, work: Work, units: Sequence[tuple[WorkLine, int]], location: int) -> Work:
        """Move units; what the location was to ship of the order already joins them in a new part."""
        there = [each for each in self._orders.of(work.order) if each.location == location and each.status == "OPEN"]
        moved = self._orders.take_out(work, units, location)
        for other in there:
            for extra in other.lines:
                same = next((each for each in moved.lines if each.line is extra.line), None)
                if same is None:
                    moved.lines.append(WorkLine(next(self._shop._ids), extra.line, extra.total, extra.remaining))
                else:
                    same.total += extra.total
                    same.remaining += extra.remaining
            other.lines, other.status = [], "CLOSED"
        return moved

    def fulfillmentOrderSplit(self, info: Info, fulfillmentOrderSplits: list[dict[str, Any]]) -> dict[str, Any]:
        self._need(f"write_{_MERCHANTS}", f"write_{_OTHERS}")
        planned = []
        for index, asked in enumerate(fulfillmentOrderSplits):
            path = ["fulfillmentOrderSplits", str(index), "fulfillmentOrderLineItems"]
            work = self._visible(asked["fulfillmentOrderId"], "write")
            wanted = asked["fulfillmentOrderLineItems"]
            if work is None or not work.active:
                return user_errors([("FULFILLMENT_ORDER_NOT_FOUND", path[:2], "Fulfillment order not found.")])
            if not wanted:
                words = "The fulfillment order must have at least one line item input to split."
                return user_errors([("NO_LINE_ITEMS_PROVIDED_TO_SPLIT", path, words)])
            if any(each["quantity"] <= 0 for each in wanted):
                return user_errors([("GREATER_THAN", path, "Quantity must be greater than 0.")])
            left = _left(work, wanted)
            if not left:
                return user_errors([("INVALID_LINE_ITEM_QUANTITY", path, "Invalid line item quantity.")])
            units = [(each, quantity) for each, quantity in _units(work, wanted) if each]
            planned.append((work, units if self._orders.splits_off else left))
        results = []
        for work, units in planned:
            made = self._orders.take_out(work, units, work.location)
            results.append({"fulfillmentOrder": self._work(work), "remainingFulfillmentOrder": self._work(made)})
            self._orders.tell_of(work, "fulfillment_orders/split")
        return {"fulfillmentOrderSplits": results, "userErrors": []}

    # --- what a fulfillment service answers

    def fulfillmentOrderAcceptFulfillmentRequest(self, info: Info, id: str, **_: Any) -> dict[str, Any]:
        return self._answer(id, "SUBMITTED", "ACCEPTED", "IN_PROGRESS")

    def fulfillmentOrderRejectFulfillmentRequest(self, info: Info, id: str, **_: Any) -> dict[str, Any]:
        return self._answer(id, "SUBMITTED", "REJECTED", "OPEN")

    def fulfillmentOrderAcceptCancellationRequest(self, info: Info, id: str, **_: Any) -> dict[str, Any]:
        return self._answer(id, "CANCELLATION_REQUESTED", "CANCELLATION_ACCEPTED", "CANCELLED")

    def fulfillmentOrderRejectCancellationRequest(self, info: Info, id: str, **_: Any) -> dict[str, Any]:
        return self._answer(id, "CANCELLATION_REQUESTED", "CANCELLATION_REJECTED", "IN_PROGRESS")

    def _answer(self, id: str, asked: str, answer: str, status: str) -> dict[str, Any]:
        self._need(f"write_{_OURS}")
        work = self._visible(id, "write")
        if work is None or work.location not in self._orders.services:
            return _wrong(["id"], "Fulfillment order does not exist.")
        if work.request != asked:
            words = f"Cannot answer a request of a fulfillment order whose request status is {work.request.lower()}."
            return _wrong(["id"], words)
        work.request, work.status = answer, status
        if status == "CANCELLED":
            self._orders.replace(work)
        question = "fulfillment" if asked == "SUBMITTED" else "cancellation"
        self._orders.tell_of(work, f"fulfillment_orders/{question}_request_{answer.rpartition('_')[2].lower()}")
        return {"fulfillmentOrder": self._work(work), "userErrors": []}


# ---------------------------------------------------------------- small things


def _units(work: Work, wanted: Sequence[Mapping[str, Any]]) -> list[tuple[WorkLine | None, int]]:
    """The lines of a part that ids name, each once, with the quantities asked for."""
    quantities: Counter[str] = Counter()
    for each in wanted:
        quantities[each["id"]] += each["quantity"]
    by_id = {gid("FulfillmentOrderLineItem", each.id): each for each in work.lines}
    return [(by_id.get(id), quantity) for id, quantity in quantities.items()]


def _left(work: Work, wanted: Sequence[Mapping[str, Any]]) -> list[tuple[WorkLine, int]] | None:
    """What remains of a part besides the units named, None where it does not have those."""
    taken: Counter[int] = Counter()
    for each, quantity in _units(work, wanted):
        if each is None or quantity > each.remaining:
            return None
        taken[each.id] = quantity
    left = [(each, each.remaining - taken[each.id]) for each in work.lines]
    return [(each, quantity) for each, quantity in left if quantity]


def _tracking(asked: Mapping[str, Any]) -> list[Tracking]:
    """The tracking that was asked for. Raises GraphQLError for what the schema's words do not allow."""
    numbers = asked.get("numbers") or ([asked["number"]] if asked.get("number") else [])
    urls = asked.get("urls") or ([asked["url"]] if asked.get("url") else [])
    for url in urls:
        if not (urlsplit(url).scheme and urlsplit(url).netloc):
            raise GraphQLError(f"Invalid url '{url}', missing scheme", extensions={"code": "INVALID_VARIABLE"})
    if asked.get("numbers") and asked.get("number"):
        raise GraphQLError("Provide number or numbers, not both.", extensions={"code": "INVALID_VARIABLE"})
    company = asked.get("company") or None
    if not numbers:
        return [Tracking(company, None, urls[0] if urls else None)] if company or urls else []
    return [
        Tracking(company, number, urls[index] if index < len(urls) else None) for index, number in enumerate(numbers)
    ]


def _wrong(field: list[str], words: str) -> dict[str, Any]:
    return {"userErrors": [{"field": field, "message": words}]}
