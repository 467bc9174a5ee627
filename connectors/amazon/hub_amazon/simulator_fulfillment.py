"""Amazon's simulated warehouses: FBA inventory, orders of Multi-Channel Fulfillment, those who pick, pack and count."""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import hub
from hub.testing import PlacedOrder, SimResponse, WarehouseSimulator
from hub_amazon.simulator_account import SellerAccount, iso
from hub_amazon.simulator_operations import TEXT, TIME, Call, Operation, Parameter, Refused, invalid, known, needed

INVENTORY_PAGE, ORDER_PAGE = 50, 40
TOKEN_LIFE = timedelta(seconds=30)
LOOK_BACK = timedelta(days=540)  # how far back changes of the inventory can be asked for
PACKING = timedelta(hours=6)  # from picking to leaving, as Amazon estimates it
ON_THE_ROAD = timedelta(days=2)

_INVENTORY = "fbaInventory"
GET_SUMMARIES = Operation(
    _INVENTORY,
    "getInventorySummaries",
    "GET",
    "/fba/inventory/v1/summaries",
    2,
    2,
    {
        "details": Parameter("flag"),
        "granularityType": Parameter(required=True, choices=frozenset({"Marketplace"})),
        "granularityId": Parameter(required=True),
        "startDateTime": TIME,
        "sellerSkus": Parameter(many=True, most=50),
        "sellerSku": TEXT,
        "nextToken": TEXT,
        "marketplaceIds": Parameter(many=True, required=True, most=1),
    },
)
_OUTBOUND, _ORDERS = "fulfillmentOutbound_2026-07-04", "/fulfillment/outbound/2026-07-04/orders"
_SHIPMENTS = Parameter(choices=frozenset({"INCLUDE", "EXCLUDE"}))
PREVIEW = Operation(_OUTBOUND, "getOrderPreview", "POST", "/fulfillment/outbound/2026-07-04/previews", 2, 30)
CREATE = Operation(_OUTBOUND, "createOrder", "POST", _ORDERS, 2, 30)
LIST = Operation(
    _OUTBOUND, "listOrders", "GET", _ORDERS, 2, 30, {"updatedAfter": TIME, "pageToken": TEXT, "shipments": _SHIPMENTS}
)
GET = Operation(_OUTBOUND, "getOrder", "GET", f"{_ORDERS}/{{orderId}}", 2, 30, {"shipments": _SHIPMENTS})
CANCEL = Operation(_OUTBOUND, "cancelOrder", "PUT", f"{_ORDERS}/{{orderId}}/cancel", 2, 30)

# What the version before calls a state of an order: its words are those of the notifications.
_OLDER_WORDS = {
    "PROCESSING": "Processing",
    "COMPLETE": "Complete",
    "COMPLETE_PARTIAL": "CompletePartialled",
    "CANCELLED": "Cancelled",
    "UNFULFILLABLE": "Unfulfillable",
    "INVALID": "Invalid",
}


@dataclass(slots=True)
class _Item:
    """A SKU in the inventory. ``sold`` are units that customers at Amazon have bought and that have not left yet."""

    fnsku: str
    title: str
    fulfillable: int
    changed_at: datetime
    sold: int = 0
    unfulfillable: int = 0
    researching: int = 0
    working: int = 0
    shipped: int = 0
    receiving: int = 0
    spoiled: bool = False

    @property
    def coming(self) -> int:
        """Units in inbound shipments."""
        return self.working + self.shipped + self.receiving


@dataclass(slots=True)
class _Line:
    """A line of an order; what is neither shipped, picked, cancelled nor unfulfillable waits on the shelf."""

    id: str
    sku: str
    quantity: int
    told: Mapping[str, Any]
    cancelled: int = 0
    unfulfillable: int = 0


@dataclass(slots=True)
class _Order:
    """An order. ``seen_from`` is when those who ask begin to be told of it."""

    id: str
    told: Mapping[str, Any]
    lines: list[_Line]
    received_at: datetime
    seen_from: datetime
    status: str
    status_at: datetime
    changed_at: datetime
    shipments: list[dict[str, Any]] = field(default_factory=list)

    def packed(self, line: _Line, *statuses: str) -> int:
        """Units of a line in shipments of these states."""
        return sum(
            int(item["amount"]["value"])
            for shipment in self.shipments
            if shipment["status"] in statuses
            for item in shipment["items"]
            if item["lineItemId"] == line.id
        )

    def waiting(self, line: _Line) -> int:
        """Units of a line that nobody has begun to pick."""
        return line.quantity - line.cancelled - line.unfulfillable - self.packed(line, "PROCESSING", "SHIPPED")

    @property
    def open(self) -> bool:
        """Whether Amazon still works on it."""
        return self.status not in ("COMPLETE", "COMPLETE_PARTIAL", "CANCELLED", "UNFULFILLABLE", "INVALID")


@dataclass(frozen=True, slots=True)
class _Page:
    """What a token of the inventory leads to."""

    expires_at: datetime
    query: Mapping[str, Any]
    position: int


class Warehouse:
    """What a seller keeps in Amazon's warehouses of one country, and the orders that are shipped from it.

    Tests may set ``answers_later`` (so many seconds pass until an order that was taken in can be seen) and
    ``cancels_later`` (until a cancellation has taken effect).
    """

    def __init__(self, account: SellerAccount) -> None:
        self.account = account
        self.answers_later = 0.0
        self.cancels_later = 0.0
        self._items: dict[str, _Item] = {}
        self._orders: dict[str, _Order] = {}
        self._pages: dict[str, _Page] = {}
        self._undeliverable: dict[str, str] = {}  # why, by address
        self._cancelling: dict[str, datetime] = {}
        account.offer(
            {
                GET_SUMMARIES: self._tell_inventory,
                PREVIEW: self._preview,
                CREATE: self._take,
                LIST: self._tell_orders,
                GET: self._tell_order,
                CANCEL: self._cancel,
            }
        )

    # --- the inventory

    def _tell_inventory(self, call: Call) -> SimResponse:
        query = dict(call.query)
        marketplace = self.account.marketplace(query["granularityId"])
        if query["marketplaceIds"] != [marketplace.external_id]:
            raise invalid("granularityId is not the marketplace of marketplaceIds.")
        start = query.get("startDateTime")
        if start is not None and start < self.account.now() - LOOK_BACK:
            raise invalid("startDateTime is earlier than 18 months ago.")
        position = 0
        if token := query.pop("nextToken", None):
            page = self._pages.get(token)
            if page is None or page.expires_at <= self.account.now() or page.query != query:
                raise invalid("Next token is invalid or expired.")
            position = page.position
        wanted = set(query.get("sellerSkus", ())) | ({query["sellerSku"]} if "sellerSku" in query else set())
        found = [
            (sku, item)
            for sku, item in sorted(self._items.items())
            if (start is None or item.changed_at > start) and (not wanted or sku in wanted)
        ]
        page_of = found[position:][:INVENTORY_PAGE] if marketplace is self.account.home else []
        answer: dict[str, Any] = {
            "payload": {
                "granularity": {"granularityType": "Marketplace", "granularityId": marketplace.external_id},
                "inventorySummaries": [self._summary(sku, item, query.get("details", False)) for sku, item in page_of],
            }
        }
        if position + len(page_of) < len(found) and page_of:
            token = self.account.unique()
            self._pages[token] = _Page(self.account.now() + TOKEN_LIFE, query, position + len(page_of))
            answer["pagination"] = {"nextToken": token}
        return SimResponse.of_json(answer)

    def _summary(self, sku: str, item: _Item, details: bool) -> dict[str, Any]:
        reserved = self._reserved(sku)
        summary: dict[str, Any] = {
            "asin": f"B0{item.fnsku[-8:]}",
            "fnSku": item.fnsku,
            "sellerSku": sku,
            "condition": "NewItem",
            "lastUpdatedTime": iso(item.changed_at),
            "productName": item.title,
            "totalQuantity": item.fulfillable + reserved + item.unfulfillable + item.researching + item.coming,
            "stores": [],
        }
        if details:
            damage = ("customerDamaged", "warehouseDamaged", "distributorDamaged", "carrierDamaged", "defective")
            summary["inventoryDetails"] = {
                "fulfillableQuantity": "counting" if item.spoiled else item.fulfillable,
                "inboundWorkingQuantity": item.working,
                "inboundShippedQuantity": item.shipped,
                "inboundReceivingQuantity": item.receiving,
                "reservedQuantity": {
                    "totalReservedQuantity": reserved,
                    "pendingCustomerOrderQuantity": reserved,
                    "pendingTransshipmentQuantity": 0,
                    "fcProcessingQuantity": 0,
                },
                "researchingQuantity": {
                    "totalResearchingQuantity": item.researching,
                    "researchingQuantityBreakdown": [],
                },
                "unfulfillableQuantity": {
                    "totalUnfulfillableQuantity": item.unfulfillable,
                    **{f"{each}Quantity": 0 for each in damage},
                    "warehouseDamagedQuantity": item.unfulfillable,
                    "expiredQuantity": 0,
                },
            }
        return summary

    def _reserved(self, sku: str) -> int:
        """Units that lie there for orders: those of Amazon's customers, and ours."""
        ours = sum(
            order.waiting(line) + order.packed(line, "PROCESSING")
            for order in self._orders.values()
            if order.open
            for line in order.lines
            if line.sku == sku
        )
        return self._items[sku].sold + ours

    def _count_changed(self, *skus: str) -> None:
        """Keep when, and tell it."""
        for sku in dict.fromkeys(skus):
            item = self._items[sku]
            item.changed_at = self.account.now()
            figures = {
                "InboundQuantityBreakdown": {
                    "Working": item.working,
                    "Shipped": item.shipped,
                    "Receiving": item.receiving,
                },
                "Fulfillable": item.fulfillable,
                "Unfulfillable": item.unfulfillable,
                "Researching": item.researching,
                "ReservedQuantityBreakdown": {
                    "WarehouseProcessing": 0,
                    "WarehouseTransfer": 0,
                    "PendingCustomerOrder": self._reserved(sku),
                },
                "FutureSupplyBuyable": 0,
                "PendingCustomerOrderInTransit": 0,
            }
            place = {
                "MarketplaceId": self.account.home.external_id,
                "ItemName": item.title,
                "FulfillmentInventory": figures,
            }
            payload = {
                "SellerId": self.account.seller_id,
                "FNSKU": item.fnsku,
                "ASIN": f"B0{item.fnsku[-8:]}",
                "SKU": sku,
                "FulfillmentInventoryByMarketplace": [place],
            }
            self.account.notify("FBA_INVENTORY_AVAILABILITY_CHANGES", payload)

    # --- orders

    def _preview(self, call: Call) -> SimResponse:
        told = call.body()
        needed(told, "lineItems", "destination")
        known(
            told,
            "channel",
            "fulfillmentConfiguration",
            "origin",
            "destination",
            "lineItems",
            "excludeEstimatedFees",
            "includePaymentOnDelivery",
        )
        address = self._address(told)
        wanted: Counter[str] = Counter()
        for line in told["lineItems"]:
            wanted[_sku(line)] += _units(line)
        constraints = [self._constraint(sku, units) for sku, units in wanted.items() if self._free(sku) < units]
        if why := self._undeliverable.get(_written(address)):
            constraints.append({"type": "ValidationError", "code": "AddressNotDeliverable", "message": why})
        planned = {} if why else {sku: units for sku, units in wanted.items() if self._free(sku) >= units}
        return SimResponse.of_json(
            {
                "plannedShipments": [self._planned(planned, self._tier(told))] if planned else [],
                "constraints": constraints,
            }
        )

    def _planned(self, units: Mapping[str, int], tier: str) -> dict[str, Any]:
        leaves = self.account.now() + PACKING
        within = {"startTime": iso(leaves), "endTime": iso(leaves + ON_THE_ROAD)}
        return {
            "items": [
                {"productIdentifier": {"amazonSku": sku}, "amount": {"unit": "EACHES", "value": str(each)}}
                for sku, each in units.items()
            ],
            "offers": [
                {"fulfillmentConfiguration": {"serviceLevel": {"serviceTier": tier, "deliveryInterval": within}}}
            ],
        }

    def _free(self, sku: str) -> int:
        return self._items[sku].fulfillable if sku in self._items else -1

    def _constraint(self, sku: str, units: int) -> dict[str, Any]:
        if sku not in self._items:
            code, message = "InvalidSku", f"The SKU {sku} is not in the inventory"
        else:
            code = "ItemQuantityNotAvailable"
            message = f"There is not enough quantity of item {sku}: {self._free(sku)} of {units}"
        return {"type": "ValidationError", "code": code, "message": message}

    def _address(self, told: Mapping[str, Any]) -> Mapping[str, str]:
        address: Mapping[str, str] = told["destination"].get("deliveryAddress") or {}
        wanted = ["name", "addressLine1", "postalCode", "countryCode"]
        if address.get("countryCode") != "JP":
            wanted.append("city")
        for name in wanted:
            if not str(address.get(name) or "").strip():
                raise invalid(f"The value of {name} in the delivery address is missing.")
        return address

    def _tier(self, told: Mapping[str, Any]) -> str:
        level = (told.get("fulfillmentConfiguration") or {}).get("serviceLevel") or {}
        tier = next(iter(level.get("serviceTiers") or ["STANDARD"]))
        offered = {"STANDARD", "EXPEDITED"} | ({"PRIORITY"} if self.account.home.code in ("CA", "IN", "MX") else set())
        if tier not in offered:
            raise invalid(f"The service tier {tier} is not available.")
        return str(tier)

    def _take(self, call: Call) -> SimResponse:
        told = call.body()
        needed(told, "orderId", "lineItems", "destination")
        known(
            told,
            "orderId",
            "channel",
            "fulfillmentConfiguration",
            "origin",
            "destination",
            "lineItems",
            "paymentInformation",
        )
        id = told["orderId"]
        if not isinstance(id, str) or not 0 < len(id) <= 40:
            raise invalid("The orderId has more than 40 characters.")
        if id in self._orders:
            raise invalid(f"The orderId {id} is already in use.")
        self._address(told)
        self._tier(told)
        if (told.get("origin") or {}).get("countryCode") not in (None, _country(self.account.home.code)):
            raise invalid("There is no inventory in the country of origin.")
        lines = [_Line(each["lineItemId"], _sku(each), _units(each), each) for each in told["lineItems"]]
        if len({line.id for line in lines}) < len(lines):
            raise invalid("A lineItemId is there twice.")
        for line in lines:
            if line.sku not in self._items:
                raise invalid(f"The SKU for Item Id: {line.id} is invalid.")
        now = self.account.now()
        seen_from = now + timedelta(seconds=self.answers_later)
        order = self._orders[id] = _Order(id, copy.deepcopy(told), lines, now, seen_from, "PROCESSING", now, now)
        self._allocate(order)
        self._tell_of(order)
        if self.answers_later:
            return SimResponse.of_json({"orderId": id, "status": "PROCESSING"}, 202)
        return SimResponse.of_json({"order": self._view(order, shipments=False)})

    def _allocate(self, order: _Order) -> None:
        """Put its goods aside, or give it up: the policy is to fill all of it or nothing."""
        wanted: Counter[str] = Counter()
        for line in order.lines:
            wanted[line.sku] += line.quantity
        if all(self._free(sku) >= units for sku, units in wanted.items()):
            for sku, units in wanted.items():
                self._items[sku].fulfillable -= units
            self._count_changed(*wanted)
            return
        for line in order.lines:
            line.unfulfillable = line.quantity
        order.status = "UNFULFILLABLE"

    def _tell_orders(self, call: Call) -> SimResponse:
        after, token = call.query.get("updatedAfter"), call.query.get("pageToken")
        position = 0
        if token:
            asked, position = _opened(token)
            if asked != (after.isoformat() if after else ""):
                raise invalid("The pageToken belongs to other arguments.")
        self._cancel_at_last()
        # By age, oldest first: what is changed meanwhile keeps its place, and what is new comes last.
        found = [
            (place, order)
            for place, order in enumerate(self._orders.values())
            if place >= position and self._seen(order) and (after is None or order.changed_at > after)
        ]
        page = found[:ORDER_PAGE]
        shipments = call.query.get("shipments") != "EXCLUDE"
        answer: dict[str, Any] = {"orders": [self._view(order, shipments=shipments) for _, order in page]}
        if len(found) > len(page):
            answer["pagination"] = {"nextToken": _sealed(after.isoformat() if after else "", page[-1][0] + 1)}
        return SimResponse.of_json(answer)

    def _seen(self, order: _Order) -> bool:
        return order.seen_from <= self.account.now()

    def _order(self, id: str) -> _Order:
        self._cancel_at_last()
        order = self._orders.get(id)
        if order is None or not self._seen(order):
            raise Refused(404, "NotFound", f"There is no order {id}.")
        return order

    def _tell_order(self, call: Call) -> SimResponse:
        order = self._order(call.path["orderId"])
        return SimResponse.of_json({"order": self._view(order, shipments=call.query.get("shipments") != "EXCLUDE")})

    def _view(self, order: _Order, *, shipments: bool) -> dict[str, Any]:
        told = order.told
        view = {
            "orderId": order.id,
            "receiveTime": iso(order.received_at),
            "status": order.status,
            "statusUpdateTime": iso(order.status_at),
            "destination": told["destination"],
            "lineItems": [
                {
                    "lineItemId": line.id,
                    "product": line.told["product"],
                    "amount": line.told["amount"],
                    "cancelledAmount": _amount(line.cancelled),
                    "unfulfillableAmount": _amount(line.unfulfillable),
                }
                for line in order.lines
            ],
        }
        view |= {name: told[name] for name in ("channel", "fulfillmentConfiguration", "origin") if name in told}
        return copy.deepcopy({**view, "shipments": order.shipments} if shipments else view)

    def _cancel(self, call: Call) -> SimResponse:
        order = self._order(call.path["orderId"])
        if not order.open:
            raise invalid(f"The order {order.id} is {order.status} and can no longer be cancelled.")
        self._cancelling.setdefault(order.id, self.account.now() + timedelta(seconds=self.cancels_later))
        self._cancel_at_last()
        return SimResponse.of_json({}, 202)

    def _cancel_at_last(self) -> None:
        """Let the cancellations take effect whose time has come: what nobody has begun to pick is not shipped."""
        for id in [id for id, at in self._cancelling.items() if at <= self.account.now()]:
            del self._cancelling[id]
            order = self._orders[id]
            if not order.open:
                continue
            returned: Counter[str] = Counter()
            for line in order.lines:
                units = order.waiting(line)
                line.cancelled += units
                returned[line.sku] += units
            for sku, units in returned.items():
                self._items[sku].fulfillable += units
            self._settle(order)
            self._count_changed(*(sku for sku, units in returned.items() if units))

    def _settle(self, order: _Order) -> None:
        """What an order has come to, when something of it has changed."""
        left = [order.packed(line, "SHIPPED") for line in order.lines]
        undone = any(order.waiting(line) or order.packed(line, "PROCESSING") for line in order.lines)
        status = order.status
        if order.status == "PROCESSING" and not undone:
            whole = all(units == line.quantity for units, line in zip(left, order.lines, strict=True))
            status = "COMPLETE" if whole else "COMPLETE_PARTIAL" if any(left) else "CANCELLED"
        self._become(order, status)

    def _become(self, order: _Order, status: str) -> None:
        order.changed_at = self.account.now()
        if status != order.status:
            order.status, order.status_at = status, self.account.now()
        self._tell_of(order)

    def _tell_of(self, order: _Order) -> None:
        """The notification, in the words of the version before."""
        shipment = order.shipments[-1] if order.shipments else None
        packages = [
            {
                "PackageNumber": number,
                "CarrierCode": each["tracking"]["carrier"]["carrierCode"],
                "TrackingNumber": each["tracking"]["carrier"]["trackingNumber"],
            }
            for number, each in enumerate(shipment["packages"] if shipment else [], start=1)
        ]
        none = {"PackageNumber": 0, "CarrierCode": "", "TrackingNumber": ""}
        told = {
            "SellerId": self.account.seller_id,
            "EventType": "Shipment" if shipment else "Order",
            "StatusUpdatedDateTime": iso(self.account.now()),
            "SellerFulfillmentOrderId": order.id,
            "FulfillmentOrderStatus": _OLDER_WORDS.get(order.status, order.status),
            "FulfillmentShipment": {
                "FulfillmentShipmentStatus": shipment["status"] if shipment else "",
                "AmazonShipmentId": shipment["amazonShipmentId"] if shipment else "",
                "EstimatedArrivalDateTime": iso(self.account.now() + ON_THE_ROAD),
                "info": packages[0] if packages else none,
                "FulfillmentShipmentPackages": packages,
            },
            "FulfillmentReturnItem": {
                "ReceivedDateTime": iso(self.account.now()),
                "ReturnedQuantity": 0,
                "SellerSKU": "",
            },
        }
        self.account.notify("FULFILLMENT_ORDER_STATUS", {"FulfillmentOrderStatusNotification": told})

    # --- what people do there

    def example(self, reference: str, quantities: Mapping[str, int]) -> hub.FulfillmentOrder:
        """An order that these warehouses take."""
        lines = tuple(
            hub.FulfillmentLine(reference=str(number), sku=sku, quantity=units)
            for number, (sku, units) in enumerate(quantities.items(), start=1)
        )
        return hub.FulfillmentOrder(
            reference=reference,
            number=f"#{reference}",
            placed_at=self.account.now(),
            lines=lines,
            destination=hub.Address(
                name="Ada Byron",
                line1="100 Mill Lane",
                city="Springfield",
                region="IL",
                postcode="62701",
                country=_country(self.account.home.code),
            ),
            service="standard",
        )

    def stock_item(self, sku: str, title: str, on_hand: int) -> str:
        """Put goods on the shelf; returns Amazon's own number of them."""
        with self.account.lock:
            item = self._items[sku] = _Item(f"X00{next(self.account.ids):07d}", title, on_hand, self.account.now())
            self._count_changed(sku)
            return item.fnsku

    def set_on_hand(self, sku: str, quantity: int) -> None:
        """Somebody counts the shelf."""
        with self.account.lock:
            item = self._items[sku]
            item.fulfillable = max(0, quantity - self._reserved(sku) - item.unfulfillable - item.researching)
            self._count_changed(sku)

    def spoil_stock(self, sku: str) -> None:
        """From now on the quantity that is told of this SKU is no number."""
        with self.account.lock:
            self._items[sku].spoiled = True

    def sell(self, sku: str, units: int) -> None:
        """A customer at Amazon buys: the goods are reserved."""
        with self.account.lock:
            item = self._items[sku]
            item.fulfillable -= units
            item.sold += units
            self._count_changed(sku)

    def ship_sold(self, sku: str) -> None:
        """What customers at Amazon have bought leaves."""
        with self.account.lock:
            self._items[sku].sold = 0
            self._count_changed(sku)

    def damage(self, sku: str, units: int) -> None:
        """Somebody drops goods: they can no longer be sold."""
        with self.account.lock:
            item = self._items[sku]
            item.fulfillable -= units
            item.unfulfillable += units
            self._count_changed(sku)

    def send_in(self, sku: str, *, working: int = 0, shipped: int = 0, receiving: int = 0) -> None:
        """Goods are announced, sent and unpacked. Asking for what changed does not find it, and nothing is told."""
        with self.account.lock:
            item = self._items[sku]
            item.working, item.shipped, item.receiving = working, shipped, receiving

    def placed(self) -> list[PlacedOrder]:
        """Every order that ever arrived."""
        with self.account.lock:
            return [
                PlacedOrder(
                    reference=order.id,
                    external_id=order.id,
                    lines=_sum((line.sku, line.quantity) for line in order.lines),
                    shipped=_sum((line.sku, order.packed(line, "SHIPPED")) for line in order.lines),
                    cancelled=order.status == "CANCELLED" or order.id in self._cancelling,
                )
                for order in self._orders.values()
            ]

    def order_by_hand(self, id: str, quantities: Mapping[str, int]) -> None:
        """Somebody places an order in Seller Central, or with another application."""
        with self.account.lock:
            told = {
                "destination": {
                    "deliveryAddress": {
                        "name": "Grace Hopper",
                        "addressLine1": "1 Bug Street",
                        "city": "New York",
                        "postalCode": "10001",
                        "countryCode": _country(self.account.home.code),
                    }
                }
            }
            lines = [
                _Line(
                    f"consumer-{number}",
                    sku,
                    units,
                    {"product": {"productIdentifier": {"amazonSku": sku}}, "amount": _amount(units)},
                )
                for number, (sku, units) in enumerate(quantities.items())
            ]
            now = self.account.now()
            order = self._orders[id] = _Order(id, told, lines, now, now, "PROCESSING", now, now)
            self._allocate(order)
            self._tell_of(order)

    def reject(self, reference: str, reason: str) -> None:
        """Amazon finds an order invalid; a preview to the same address says why from now on."""
        with self.account.lock:
            order = self._orders[reference]
            self._undeliverable[_written(order.told["destination"]["deliveryAddress"])] = reason
            for line in order.lines:
                units = order.waiting(line)
                line.unfulfillable += units
                self._items[line.sku].fulfillable += units
            self._become(order, "INVALID")
            self._count_changed(*(line.sku for line in order.lines))

    def lose(self, reference: str, sku: str) -> None:
        """The goods of an order cannot be found: what has not left is given up."""
        with self.account.lock:
            order = self._orders[reference]
            for line in order.lines:
                lost = order.waiting(line)
                if line.sku == sku:
                    line.unfulfillable += lost
                else:
                    line.cancelled += lost
                    self._items[line.sku].fulfillable += lost
            left = any(order.packed(line, "SHIPPED") for line in order.lines)
            self._become(order, "COMPLETE_PARTIAL" if left else "UNFULFILLABLE")
            self._count_changed(*(line.sku for line in order.lines))

    def pick(self, reference: str, quantities: Mapping[str, int] | None = None) -> str:
        """Somebody begins to pick units by SKU (None: all that are left); returns the shipment's external id."""
        with self.account.lock:
            order = self._orders[reference]
            id = self._pack(order, quantities, "")
            self._become(order, order.status)
            return id

    def ship(self, reference: str, quantities: Mapping[str, int] | None = None, *, lot: str = "") -> str:
        """Pack units by SKU (None: all that are left, or what was picked); returns the shipment's id."""
        with self.account.lock:
            order = self._orders[reference]
            picked = next((each for each in order.shipments if each["status"] == "PROCESSING"), None)
            id = self._pack(order, quantities, lot) if picked is None else str(picked["amazonShipmentId"])
            shipment = next(each for each in order.shipments if each["amazonShipmentId"] == id)
            number = f"TBA{next(self.account.ids):012d}"
            shipment |= {
                "status": "SHIPPED",
                "shipTime": iso(self.account.now()),
                "deliveryTime": iso(self.account.now() + ON_THE_ROAD),
                "packages": [
                    {
                        "packageId": f"PKG-{id}",
                        "status": "IN_TRANSIT",
                        "deliveryTime": iso(self.account.now() + ON_THE_ROAD),
                        "tracking": {
                            "carrier": {
                                "carrierCode": "AMZL",
                                "trackingNumber": number,
                                "trackingUrl": f"https://www.swiship.com/track?id={number}",
                            }
                        },
                    }
                ],
            }
            self._settle(order)
            self._count_changed(*(item["productIdentifier"]["amazonSku"] for item in shipment["items"]))
            return id

    def _pack(self, order: _Order, quantities: Mapping[str, int] | None, lot: str) -> str:
        left = dict(quantities) if quantities is not None else None
        items = []
        for line in order.lines:
            units = order.waiting(line)
            if left is not None:
                units = min(units, left.get(line.sku, 0))
                left[line.sku] = left.get(line.sku, 0) - units
            if units:
                item = {
                    "shipmentItemId": f"SI{next(self.account.ids)}",
                    "productIdentifier": {"amazonSku": line.sku},
                    "lineItemId": line.id,
                    "amount": _amount(units),
                }
                items.append({**item, "unitIdentifiers": {"MANUFACTURER_LOT_CODE": [lot]}} if lot else item)
        id = f"D{self.account.unique().replace('-', '')[:20]}"
        order.shipments.append(
            {
                "amazonShipmentId": id,
                "amazonFacility": {"facilityId": "RIC2"},
                "status": "PROCESSING",
                "shipTime": iso(self.account.now() + PACKING),
                "items": items,
                "packages": [],
            }
        )
        return id

    def move_parcel(self, shipment_id: str, status: str, *, received_by: str = "") -> None:
        """The carrier scans the parcel of a shipment."""
        with self.account.lock:
            for order in self._orders.values():
                for shipment in order.shipments:
                    if shipment["amazonShipmentId"] == shipment_id:
                        [package] = shipment["packages"]
                        package["status"] = status
                        if received_by:
                            package["tracking"]["proofOfDelivery"] = {"receivedBy": received_by}
                        self._become(order, order.status)

    def status_oddly(self, reference: str, word: str) -> None:
        """An order gets a status word that nobody has ever heard."""
        with self.account.lock:
            self._become(self._orders[reference], word)


def _sku(line: Mapping[str, Any]) -> str:
    return str(line["product"]["productIdentifier"]["amazonSku"])


def _units(line: Mapping[str, Any]) -> int:
    value = str(line["amount"]["value"])
    if line["amount"].get("unit", "EACHES") != "EACHES" or not value.removesuffix(".0").isdigit() or not float(value):
        raise invalid(f"The amount {value} is not a number of units.")
    return int(value.removesuffix(".0"))


def _amount(units: int) -> dict[str, str]:
    return {"unit": "EACHES", "value": str(units)}


def _sum(pairs: Any) -> dict[str, int]:
    units: Counter[str] = Counter()
    for sku, quantity in pairs:
        units[sku] += quantity
    return {sku: quantity for sku, quantity in units.items() if quantity}


def _country(code: str) -> str:
    return "GB" if code == "UK" else code


def _written(address: Mapping[str, str]) -> str:
    return json.dumps(address, sort_keys=True)


def _sealed(after: str, position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([after, position]).encode()).decode()


def _opened(token: str) -> tuple[str, int]:
    try:
        after, position = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise invalid("The pageToken is not one of ours.") from None
    return after, position


# ---------------------------------------------------------------- a seller with nothing else


class AmazonWarehouseSimulator(SellerAccount, WarehouseSimulator):
    """A seller whose goods all lie in Amazon's warehouses; see ``warehouse`` for what else happens there."""

    def __init__(self, *, marketplaces: Sequence[str] = ("US",), **options: Any) -> None:
        super().__init__(marketplaces=marketplaces, **options)
        self.warehouse = Warehouse(self)

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "marketplaces": self.home.code, "boxes": "UNBRANDED"}

    def example(self, reference: str, quantities: Mapping[str, int]) -> hub.FulfillmentOrder:
        return self.warehouse.example(reference, quantities)

    def stock_item(self, sku: str, title: str, on_hand: int) -> str:
        return self.warehouse.stock_item(sku, title, on_hand)

    def set_on_hand(self, sku: str, quantity: int) -> None:
        self.warehouse.set_on_hand(sku, quantity)

    def spoil_stock(self, sku: str) -> None:
        self.warehouse.spoil_stock(sku)

    def placed(self) -> list[PlacedOrder]:
        return self.warehouse.placed()

    def reject(self, reference: str, reason: str) -> None:
        self.warehouse.reject(reference, reason)

    def ship(self, reference: str, quantities: Mapping[str, int] | None = None, *, lot: str = "") -> str:
        return self.warehouse.ship(reference, quantities, lot=lot)

    def status_oddly(self, reference: str, word: str) -> None:
        self.warehouse.status_oddly(reference, word)
