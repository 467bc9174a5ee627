"""A simulated ShipBob: its API with the rules of its documentation, its pickers, its shelves, its webhooks."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import hub
from hub.testing import Attempt, Letter, PlacedOrder, SimRequest, SimResponse, WarehouseSimulator
from hub_3pl import standard_webhooks

VERSION = "2026-01"
CALLS_PER_MINUTE = 150
MOST_PER_PAGE = 250
CICERO = 8
TOPICS = frozenset(
    {
        "order.shipped",
        "order.shipment.delivered",
        "order.shipment.exception",
        "order.shipment.on_hold",
        "order.shipment.cancelled",
        "return.created",
        "return.updated",
        "return.completed",
        "billing.charge.created",
        "billing.refund.created",
        "billing.credit.created",
    }
)
DETAILS: Mapping[str, tuple[int, str]] = {
    "Picked": (100, "Picking Completed"),
    "Packed": (101, "Packing Completed"),
    "Labeled": (102, "Label Generated"),
    "Processing": (200, "Waiting For Carrier Pickup"),
    "InTransit": (201, "Shipment In Transit"),
    "OutForDelivery": (202, "Shipment Out For Delivery"),
    "Delivered": (203, "Shipment Delivered"),
    "DeliveryException": (204, "OrderTracking contains CatchAll date"),
    "InactiveSku": (302, "Shipment Contains an inactive sku"),
    "OutOfStock": (303, "No Stock On Hand For Sku"),
    "PaymentDeclined": (400, "Payment Failure"),
    "InvalidAddress": (401, "Invalid Address"),
}
OPEN = ("Processing", "Exception", "OnHold", "ImportReview")


class ShipBobSimulator(WarehouseSimulator):
    """One account at ShipBob with one fulfillment center; ``add_place`` opens another.

    ``sandbox`` makes it the environment in which shipments can be simulated by the API. ``calls_per_minute`` may be
    raised where time stands still. Without ``cancels_in_part`` an order of which something has left cannot be cancelled
    as one, but its other shipments still can.
    """

    webhook_retries = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)

    def __init__(self, account: str = "corner", *, sandbox: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.origin = "https://sandbox-api.shipbob.com" if sandbox else "https://api.shipbob.com"
        self.sandbox = sandbox
        self.token = f"pat_{account}_0123456789abcdef"
        self.calls_per_minute = CALLS_PER_MINUTE
        self.cancels_in_part = True
        self.channels: list[dict[str, Any]] = []
        self.channel_id = self.add_channel(account.title())
        self.places: dict[int, str] = {CICERO: "Cicero (IL)"}
        self.shipping_methods = ["Standard", "Expedited"]
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(100_000_001)
        self._calls: deque[datetime] = deque()
        self._items: dict[str, dict[str, Any]] = {}  # inventory, by SKU
        self._bundles: dict[str, Mapping[str, int]] = {}  # SKU -> units by the SKUs of its parts
        self._orders: dict[int, dict[str, Any]] = {}
        self._changed: dict[int, datetime] = {}  # order -> when it changed last
        self._odd: dict[int, str] = {}  # order -> a status that nobody has heard of
        self._simulations: dict[str, dict[str, Any]] = {}
        self._sent: dict[str, str] = {}  # message -> subscription

    # --- the API

    def answer(self, request: SimRequest) -> SimResponse:
        self._run_simulations()
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return SimResponse.of_json({"message": "No valid token."}, 401)
        remaining = self._count_call()
        headers = {"x-remaining-calls": str(max(0, remaining))}
        if remaining < 0:
            seconds = max(1, round(60 - (self.now() - self._calls[0]).total_seconds()))
            said = {"statusCode": 429, "message": f"Rate limit is exceeded. Try again in {seconds} seconds."}
            return SimResponse.of_json(said, 429, {**headers, "x-retry-after": str(seconds)})
        channel = request.headers.get("shipbob_channel_id")
        if channel is not None and channel not in {str(each["id"]) for each in self.channels}:
            return SimResponse.of_json({"message": "This channel is not yours."}, 403, headers)
        answer = self._routed(request)
        return replace(answer, headers={**answer.headers, **headers})

    def _count_call(self) -> int:
        """Count a call; returns how many of the last minute's are left, below zero where it is refused."""
        now = self.now()
        while self._calls and self._calls[0] <= now - timedelta(minutes=1):
            self._calls.popleft()
        if len(self._calls) >= self.calls_per_minute:
            return -1
        self._calls.append(now)
        return self.calls_per_minute - len(self._calls)

    def _routed(self, request: SimRequest) -> SimResponse:
        version, _, path = request.path.removeprefix("/").partition("/")
        routes: list[tuple[str, str, Callable[..., SimResponse]]] = [
            ("GET", "channel", self._tell_channels),
            ("GET", "location", self._tell_locations),
            ("GET", "shipping-method", self._tell_methods),
            ("POST", "order", self._take),
            ("GET", "order", self._tell_orders),
            ("GET", r"order/(\d+)", self._tell_order),
            ("POST", r"order/(\d+):cancel", self._cancel_order),
            ("POST", r"shipment/(\d+):cancel", self._cancel_shipment),
            ("POST", "shipment:batchCancel", self._cancel_shipments),
            ("GET", "inventory-level/locations", self._tell_levels),
            ("GET", "inventory-level/lots", self._tell_lots),
            ("GET", "webhook", self._tell_subscriptions),
            ("POST", "webhook", self._subscribe),
            ("DELETE", r"webhook/([A-Za-z0-9_-]+)", self._unsubscribe),
            ("POST", "simulate/shipment", self._simulate),
            ("GET", r"simulate/status/([A-Za-z0-9-]+)", self._tell_simulation),
        ]
        for method, pattern, answer in routes if version == VERSION else ():
            if method == request.method and (found := re.fullmatch(pattern, path)):
                return answer(request, *found.groups())
        return _refused(404, {"": ["There is no such resource."]})

    def _tell_channels(self, request: SimRequest) -> SimResponse:
        return _said({"items": self.channels, "next": None, "prev": None})

    def _tell_locations(self, request: SimRequest) -> SimResponse:
        return _said(
            [
                {
                    "id": id,
                    "name": name,
                    "is_active": True,
                    "is_shipping_enabled": True,
                    "is_receiving_enabled": True,
                    "access_granted": True,
                }
                for id, name in self.places.items()
            ]
        )

    def _tell_methods(self, request: SimRequest) -> SimResponse:
        if (size := _whole(request, "Limit", 50)) > MOST_PER_PAGE:
            return _refused(400, {"Limit": [f"The most is {MOST_PER_PAGE}."]})
        names = self.shipping_methods[(_whole(request, "Page", 1) - 1) * size :][:size]
        return _said([{"id": id, "name": name, "active": True} for id, name in enumerate(names, start=1)])

    # orders

    def _take(self, request: SimRequest) -> SimResponse:
        channel = next(
            (each for each in self.channels if str(each["id"]) == request.headers.get("shipbob_channel_id")), None
        )
        if channel is None:
            return _refused(400, {"shipbob_channel_id": ["The header shipbob_channel_id is required."]})
        if "orders_write" not in " ".join(channel["scopes"] or ("orders_write",)):
            return _refused(403, {"": ["The channel has no scope orders_write."]})
        said = request.json()
        if problems := self._problems(said, channel):
            return _refused(422, problems)
        for product in said["products"]:
            if product["reference_id"] not in self._items and product["reference_id"] not in self._bundles:
                self.stock_item(product["reference_id"], product["name"], 0)
        if said["shipping_method"] not in self.shipping_methods:
            self.shipping_methods.append(said["shipping_method"])  # to be shipped as Standard
        order = self._placed_order(said, channel)
        self._orders[order["id"]] = order
        self._allocate(order["shipments"][0])
        self._change(order, order["shipments"])
        return _said(self._view(order), 201)

    def _problems(self, said: Mapping[str, Any], channel: Mapping[str, Any]) -> dict[str, list[str]]:
        """What ShipBob refuses of a new order."""
        problems: dict[str, list[str]] = {}
        for member in ("reference_id", "shipping_method"):
            if not isinstance(said.get(member), str) or not said[member].strip():
                problems[member] = [f"The {member} field is required."]
        if said.get("type") not in ("DTC", "DropShip", "B2B"):
            problems["type"] = ["The type is not one of DTC, DropShip, B2B."]
        there = {each["reference_id"] for each in self._orders.values() if each["channel"]["id"] == channel["id"]}
        if said.get("reference_id") in there:
            problems[""] = ["Cannot insert order with existing ReferenceId"]
        recipient = said.get("recipient") or {}
        address = recipient.get("address") or {}
        if not str(recipient.get("name") or "").strip():
            problems["recipient.name"] = ["The name of the recipient is required."]
        for member in ("address1", "city", "country"):
            if not str(address.get(member) or "").strip():
                problems[f"recipient.address.{member}"] = [f"The recipient's {member} is required."]
        products = said.get("products") or []
        if not products:
            problems["products"] = ["At least one product is required."]
        for index, product in enumerate(products):
            sku = product.get("reference_id")
            if not isinstance(product.get("quantity"), int) or product["quantity"] < 1:
                problems[f"products[{index}].quantity"] = ["The quantity must be greater than 0."]
            if sku not in self._items and sku not in self._bundles and not product.get("name"):
                problems[f"products[{index}].name"] = ["A product that does not exist yet needs a name."]
        place = said.get("location_id")
        if place is not None and place not in self.places:
            problems["location_id"] = ["You have no access to this location."]
        return problems

    def _placed_order(self, said: Mapping[str, Any], channel: Mapping[str, Any]) -> dict[str, Any]:
        now, id = self._now(), next(self._ids)
        place = said.get("location_id") or self._place_for(said["products"])
        shipment = {
            "id": next(self._ids),
            "order_id": id,
            "reference_id": said["reference_id"],
            "status": "Processing",
            "status_details": [],
            "created_date": now,
            "last_update_at": now,
            "last_tracking_update_at": None,
            "actual_fulfillment_date": None,
            "delivery_date": None,
            "estimated_fulfillment_date": now,
            "estimated_fulfillment_date_status": "PendingOnTime",
            "gift_message": said.get("gift_message"),
            "insurance_value": None,
            "invoice_amount": None,
            "is_tracking_uploaded": False,
            "location": {"id": place, "name": self.places[place]},
            "measurements": {"length_in": 0, "width_in": 0, "depth_in": 0, "total_weight_oz": 0},
            "package_material_type": "Unknown",
            "parent_cartons": [],
            "products": [self._picked_as(each["reference_id"], each["quantity"]) for each in said["products"]],
            "recipient": {**said["recipient"], "full_name": said["recipient"]["name"]},
            "require_signature": False,
            "ship_option": said["shipping_method"],
            "tracking": dict.fromkeys(("carrier", "carrier_service", "tracking_number", "tracking_url")),
        }
        return {
            "id": id,
            "reference_id": said["reference_id"],
            "order_number": said.get("order_number") or said["reference_id"],
            "channel": {"id": channel["id"], "name": channel["name"]},
            "created_date": now,
            "purchase_date": said.get("purchase_date"),
            "status": "Processing",
            "type": said["type"],
            "shipping_method": said["shipping_method"],
            "gift_message": said.get("gift_message"),
            "recipient": said["recipient"],
            "products": [
                {
                    "reference_id": each["reference_id"],
                    "sku": each["reference_id"],
                    "quantity": each["quantity"],
                    "unit_price": each.get("unit_price"),
                }
                for each in said["products"]
            ],
            "shipments": [shipment],
            "tags": [],
        }

    def _picked_as(self, sku: str, quantity: int) -> dict[str, Any]:
        """A product in a shipment, with the items that it is picked as."""
        parts = self._bundles.get(sku, {sku: 1})
        items = [
            {
                "id": self._items[part]["inventory_id"],
                "name": self._items[part]["name"],
                "quantity": quantity * units,
                "quantity_committed": 0,
                "lot": None,
                "expiration_date": None,
                "serial_numbers": [],
                "is_dangerous_goods": False,
            }
            for part, units in parts.items()
        ]
        return {"id": next(self._ids), "reference_id": sku, "sku": sku, "name": sku, "inventory_items": items}

    def _place_for(self, products: Iterable[Mapping[str, Any]]) -> int:
        """The first place that has everything, or else the first."""
        wanted = self._parts({each["reference_id"]: each["quantity"] for each in products})
        for place in self.places:
            if all(self._free(sku, place) >= units for sku, units in wanted.items()):
                return place
        return next(iter(self.places))

    def _parts(self, quantities: Mapping[str, int]) -> Counter[str]:
        units: Counter[str] = Counter()
        for sku, quantity in quantities.items():
            for part, each in self._bundles.get(sku, {sku: 1}).items():
                units[part] += quantity * each
        return units

    def _free(self, sku: str, place: int) -> int:
        shelf = self._items[sku]["places"].get(place, {"on_hand": 0, "committed": 0})
        return int(shelf["on_hand"] - shelf["committed"])

    def _allocate(self, shipment: dict[str, Any]) -> None:
        """Commit stock to a shipment, or set it aside for want of some."""
        place = shipment["location"]["id"]
        short = [
            item
            for product in shipment["products"]
            for item in product["inventory_items"]
            if self._free(self._sku(item["id"]), place) < item["quantity"] - item["quantity_committed"]
        ]
        if short:
            shipment["status"] = "Exception"
            shipment["status_details"] = [self._detail("OutOfStock", inventory_id=item["id"]) for item in short]
            self._tell("order.shipment.exception", shipment)
            return
        for product in shipment["products"]:
            for item in product["inventory_items"]:
                shelf = self._items[self._sku(item["id"])]["places"][place]
                shelf["committed"] += item["quantity"] - item["quantity_committed"]
                item["quantity_committed"] = item["quantity"]
        shipment |= {"status": "Processing", "status_details": []}

    def _release(self, shipment: dict[str, Any]) -> None:
        """Take a shipment's stock back."""
        for product in shipment["products"]:
            for item in product["inventory_items"]:
                shelf = self._items[self._sku(item["id"])]["places"].get(shipment["location"]["id"])
                if shelf and item["quantity_committed"]:
                    shelf["committed"] -= item["quantity_committed"]
                item["quantity_committed"] = 0

    def _sku(self, inventory_id: int) -> str:
        return next(sku for sku, item in self._items.items() if item["inventory_id"] == inventory_id)

    def _tell_orders(self, request: SimRequest) -> SimResponse:
        page, size = _whole(request, "Page", 1), _whole(request, "Limit", 50)
        if page < 1 or not 1 <= size <= MOST_PER_PAGE:
            return _refused(400, {"Limit": [f"Page begins with 1; Limit is between 1 and {MOST_PER_PAGE}."]})
        try:
            since = datetime.fromisoformat(request.parameter("LastUpdateStartDate") or "1970-01-01T00:00:00+00:00")
        except ValueError:
            return _refused(400, {"LastUpdateStartDate": ["The value is not a date."]})
        references = request.parameter("ReferenceIds")
        channel = request.headers.get("shipbob_channel_id")
        found = [
            self._view(order)
            for id, order in self._orders.items()
            if (not references or order["reference_id"] in references.split(","))
            and (channel is None or str(order["channel"]["id"]) == channel)
            and self._changed[id] >= since
        ]
        if request.parameter("SortOrder", "Newest") != "Oldest":
            found.reverse()
        return _said(found[(page - 1) * size : page * size])

    def _tell_order(self, request: SimRequest, id: str) -> SimResponse:
        order = self._orders.get(int(id))
        return _said(self._view(order)) if order else _refused(404, {"": ["There is no such order."]})

    def _view(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return {**copy.deepcopy(dict(order)), "status": self._odd.get(order["id"], order["status"])}

    # cancelling

    def _cancel_order(self, request: SimRequest, id: str) -> SimResponse:
        order = self._orders.get(int(id))
        if order is None:
            return _refused(404, {"": ["There is no such order."]})
        waiting = [each for each in order["shipments"] if self._can_be_cancelled(each)]
        if not waiting or not (self.cancels_in_part or len(waiting) == len(order["shipments"])):
            return _refused(422, {"": ["The order is not in a cancellable state."]})
        results = [self._cancelled(each) for each in order["shipments"]]
        self._change(order, waiting)
        whole = all(each["is_success"] for each in results)
        return _said(
            {
                "order_id": order["id"],
                "order": self._view(order),
                "status": "Success" if whole else "PartialSuccess",
                "canceled_shipment_results": results,
            }
        )

    def _cancel_shipment(self, request: SimRequest, id: str) -> SimResponse:
        found = self._shipment(int(id))
        if found is None:
            return _refused(404, {"": ["There is no such shipment."]})
        result = self._cancelled(found)
        self._change(self._orders[found["order_id"]], [found])
        return _said(result) if result["is_success"] else _refused(422, {"": [result["reason"]]})

    def _cancel_shipments(self, request: SimRequest) -> SimResponse:
        if request.headers.get("shipbob_channel_id") is None:
            return _refused(422, {"shipbob_channel_id": ["The header shipbob_channel_id is required."]})
        results = []
        for id in request.json().get("shipment_ids") or []:
            found = self._shipment(id)
            if found is not None:
                results.append(self._cancelled(found))
                self._change(self._orders[found["order_id"]], [found])
        return _said({"results": results})

    def _shipment(self, id: int) -> dict[str, Any] | None:
        every = (each for order in self._orders.values() for each in order["shipments"])
        return next((each for each in every if each["id"] == id), None)

    @staticmethod
    def _can_be_cancelled(shipment: Mapping[str, Any]) -> bool:
        begun = {each["name"] for each in shipment["status_details"]} & {"Picked", "Packed", "Labeled"}
        return shipment["status"] in OPEN and not begun

    def _cancelled(self, shipment: dict[str, Any]) -> dict[str, Any]:
        """Cancel one shipment, if it still can be; returns the result as the API tells it."""
        possible = self._can_be_cancelled(shipment)
        if possible:
            self._release(shipment)
            shipment |= {"status": "Cancelled", "status_details": []}
            self._tell("order.shipment.cancelled", shipment)
        reason = None if possible else "The shipment is not in a cancellable state"
        return {"shipment_id": shipment["id"], "action": "Cancel", "is_success": possible, "reason": reason}

    # stock

    def _tell_levels(self, request: SimRequest) -> SimResponse:
        return self._tell_inventory(
            request,
            lambda item: {
                "locations": [
                    {"location_id": place, "name": self.places[place], **_figures(shelf, item)}
                    for place, shelf in item["places"].items()
                ]
            },
        )

    def _tell_lots(self, request: SimRequest) -> SimResponse:
        return self._tell_inventory(request, lambda item: {"lots": item["lots"]})

    def _tell_inventory(self, request: SimRequest, told: Callable[[Any], Mapping[str, Any]]) -> SimResponse:
        """A page of the items, with a link to the next one whose token nobody can make up."""
        size = _whole(request, "PageSize", 50)
        if not 1 <= size <= MOST_PER_PAGE:
            return _said({"title": "Bad Request", "status": 400, "detail": "PageSize is out of range."}, 400)
        wanted = set(filter(None, request.parameter("InventoryIds").split(",")))
        items = [each for each in self._items.values() if not wanted or str(each["inventory_id"]) in wanted]
        start = int(request.parameter("cursor", "c0").removeprefix("c"))
        page = items[start : start + size]
        query = {"cursor": f"c{start + size}", "PageSize": size}
        more = start + size < len(items)
        following = f"{self.origin}{request.path}?{urlencode(query)}" if more else None
        rows = [
            {"inventory_id": each["inventory_id"], "name": each["name"], "sku": each["sku"], **told(each)}
            for each in page
        ]
        return _said({"items": rows, "first": None, "last": None, "next": following, "prev": None})

    # webhooks

    def _tell_subscriptions(self, request: SimRequest) -> SimResponse:
        rows = [
            {name: value for name, value in each.items() if name != "secret"} for each in self.subscriptions.values()
        ]
        return _said({"items": rows, "next": None, "prev": None})

    def _subscribe(self, request: SimRequest) -> SimResponse:
        said = request.json()
        url, topics = urlsplit(str(said.get("url"))), said.get("topics")
        if url.scheme != "https" and url.hostname not in ("127.0.0.1", "localhost"):
            return _refused(422, {"url": ["The URL must use HTTPS."]})
        if not topics or not set(topics) <= TOPICS:
            return _refused(422, {"topics": ["A topic is not one of those that can be subscribed to."]})
        id = f"ep_{next(self._ids)}"
        secret = said.get("secret") or standard_webhooks.secret_of(f"made for {id}")
        if not re.fullmatch(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}", secret):
            return _refused(422, {"secret": ["The secret is whsec_ and 24 to 64 bytes in base64."]})
        made = {
            "id": id,
            "url": said["url"],
            "topics": topics,
            "description": said.get("description"),
            "secret": secret,
        }
        self.subscriptions[id] = {**made, "enabled": True, "created_at": self._now()}
        return _said({**made, "created_at": self._now()})

    def _unsubscribe(self, request: SimRequest, id: str) -> SimResponse:
        self.subscriptions.pop(id, None)
        return SimResponse(204)

    def _tell(self, topic: str, thing: Mapping[str, Any]) -> None:
        body = json.dumps(thing, default=float).encode()
        for id, subscription in self.subscriptions.items():
            if subscription["enabled"] and topic in subscription["topics"]:
                message = f"msg_{next(self._ids)}"
                self._sent[message] = id
                headers = standard_webhooks.headers_for(subscription["secret"], message, self.now(), body)
                headers |= {"x-webhook-topic": topic, "Content-Type": "application/json"}
                self.deliver(subscription["url"], headers, body)

    def renewed(self, letter: Letter) -> Letter:
        """Each attempt is signed at its own time; the message keeps its id."""
        message = letter.headers["webhook-id"]
        if (subscription := self.subscriptions.get(self._sent[message])) is None:
            return letter
        signed = standard_webhooks.headers_for(subscription["secret"], message, self.now(), letter.body)
        return replace(letter, headers={**letter.headers, **signed})

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        """A subscription whose webhook was never answered well, however often it was tried, is switched off."""
        accepted = attempt.status is not None and 200 <= attempt.status < 300
        subscription = self.subscriptions.get(self._sent[attempt.headers["webhook-id"]])
        if subscription and not accepted and attempt.number > len(self.webhook_retries):
            subscription["enabled"] = False

    # the sandbox's simulations

    def _simulate(self, request: SimRequest) -> SimResponse:
        said = request.json()
        if not self.sandbox:
            return _refused(404, {"": ["There are simulations in the sandbox only."]})
        id = f"00000000-0000-4000-8000-{next(self._ids):012d}"
        chain, step, at = [], said.get("simulation"), self.now()
        while step:
            at += timedelta(minutes=step.get("delay") or 0)
            chain.append({"action": step["action"], "at": at, "status": "Scheduled", "message": None})
            step = step.get("next")
        self._simulations[id] = {"shipment": int(said["shipment_id"]), "chain": chain}
        self._run_simulations()
        return _said({"simulation_id": id, "message": None})

    def _run_simulations(self) -> None:
        for simulation in self._simulations.values():
            for step in simulation["chain"]:
                if step["status"] == "Scheduled" and step["at"] <= self.now():
                    step["message"] = self._run(simulation["shipment"], step["action"])
                    step["status"] = "Failed" if step["message"] else "Completed"

    def _run(self, id: int, action: str) -> str | None:
        shipment = self._shipment(id)
        wanted = {"ShipOrder": "Processing", "DeliverOrder": "Completed"}[action]
        if shipment is None or shipment["status"] != wanted:
            return f"The shipment is not {wanted}."
        order = self._orders[shipment["order_id"]]
        if action == "ShipOrder":
            self._pack(order, shipment)
        else:
            self.deliver_parcel(order["reference_id"])
        return None

    def _tell_simulation(self, request: SimRequest, id: str) -> SimResponse:
        if id not in self._simulations:
            return _refused(404, {"": ["There is no such simulation."]})
        simulation = self._simulations[id]
        told: dict[str, Any] = {}
        for step in reversed(simulation["chain"]):
            following = {"next": told} if told else {}
            at = step["at"].astimezone(UTC).isoformat()
            shown = {"action": step["action"], "status": step["status"], "message": step["message"]}
            told = {**shown, "schedule_time": at, **following}
        about = {"entity_id": str(simulation["shipment"]), "entity_type": "Shipment"}
        return _said({"simulation_id": id, **about, "simulation": told})

    # --- the merchant

    def settings(self) -> dict[str, str]:
        environment = "sandbox" if self.sandbox else "production"
        return {"token": self.token, "channel_id": str(self.channel_id), "environment": environment}

    def add_channel(self, name: str, *, writable: bool = True) -> int:
        """Another channel that the token is for; returns its id."""
        with self.lock:
            id = 4001 + len(self.channels)
            scopes = ["channels_read", "orders_read", "inventory_read", "locations_read", "webhooks_read"]
            scopes += ["orders_write", "webhooks_write"] if writable else []
            # In one text, as ShipBob's own example has them.
            self.channels.append({"id": id, "name": name, "application_name": "SMA", "scopes": [" ".join(scopes)]})
            return id

    def example(self, reference: str, quantities: Mapping[str, int]) -> hub.FulfillmentOrder:
        home = hub.Address(
            name="Ada Byron",
            line1="100 Mill Lane",
            city="Springfield",
            region="IL",
            postcode="62701",
            country="US",
        )
        lines = tuple(
            hub.FulfillmentLine(reference=str(position), sku=sku, quantity=quantity)
            for position, (sku, quantity) in enumerate(quantities.items(), start=1)
        )
        return hub.FulfillmentOrder(
            reference=reference,
            number=f"#{reference}",
            placed_at=self.now(),
            lines=lines,
            destination=home,
            service="Standard",
        )

    # --- the people in the warehouse

    def add_place(self, name: str) -> int:
        """Open another fulfillment center; returns its id."""
        with self.lock:
            id = max(self.places) + 1
            self.places[id] = name
            return id

    def stock_item(self, sku: str, title: str, on_hand: int) -> str:
        with self.lock:
            id = next(self._ids)
            shelf = {"on_hand": on_hand, "committed": 0}
            self._items[sku] = {"inventory_id": id, "sku": sku, "name": title, "lots": [], "places": {CICERO: shelf}}
            return str(id)

    def stock_bundle(self, sku: str, parts: Mapping[str, int]) -> None:
        """Let ``sku`` stand for so many of each of its parts, which are in stock."""
        with self.lock:
            self._bundles[sku] = dict(parts)

    def set_on_hand(self, sku: str, quantity: int) -> None:
        self.set_on_hand_at(CICERO, sku, quantity)

    def set_on_hand_at(self, place: int, sku: str, quantity: int) -> None:
        """Somebody counts the shelf of one place; what waited for goods goes on."""
        with self.lock:
            self._items[sku]["places"].setdefault(place, {"on_hand": 0, "committed": 0})["on_hand"] = quantity
            for order in self._orders.values():
                for shipment in order["shipments"]:
                    if shipment["status"] == "Exception":
                        self._allocate(shipment)
                        self._change(order, [shipment])

    def forget_place(self, place: int, sku: str) -> None:
        """From now on the place is not named where the item's stock is told: it has none."""
        with self.lock:
            del self._items[sku]["places"][place]

    def receive_lot(self, sku: str, lot: str, quantity: int, *, day: str, place: int = CICERO) -> None:
        """A delivery of one lot is put on the shelf of one place."""
        with self.lock:
            shelf = self._items[sku]["places"].setdefault(place, {"on_hand": 0, "committed": 0})
            shelf["on_hand"] += quantity
            figures = _figures({"on_hand": quantity, "committed": 0}, {})
            there = {"location_id": place, "name": self.places[place], **figures}
            self._items[sku]["lots"].append({"lot_number": lot, "lot_date": day, **figures, "locations": [there]})

    def spoil_stock(self, sku: str) -> None:
        with self.lock:
            self._items[sku]["spoiled"] = True

    def placed(self) -> list[PlacedOrder]:
        with self.lock:
            return [
                PlacedOrder(
                    order["reference_id"],
                    str(order["id"]),
                    {each["reference_id"]: each["quantity"] for each in order["products"]},
                    self._left(order),
                    order["status"] == "Cancelled",
                )
                for order in self._orders.values()
            ]

    def reject(self, reference: str, reason: str) -> None:
        """Somebody at ShipBob cancels the order, and says why."""
        with self.lock:
            order = self._of(reference)
            for shipment in order["shipments"]:
                self._release(shipment)
                detail = {"id": 500, "name": "MerchantCare", "description": reason}
                shipment |= {"status": "Cancelled", "status_details": [detail]}
                self._tell("order.shipment.cancelled", shipment)
            self._change(order, order["shipments"])

    def hold(self, reference: str, detail: str, *messages: str) -> None:
        """The order waits for somebody, by one of ShipBob's details ("InvalidAddress")."""
        with self.lock:
            order = self._of(reference)
            for shipment in self._still_there(order):
                shipment |= {"status": "OnHold", "status_details": [self._detail(detail, messages=messages)]}
                self._tell("order.shipment.on_hold", shipment)
                self._change(order, [shipment])

    def begin(self, reference: str, detail: str = "Picked") -> None:
        """Somebody begins to pick what is left of the order: it cannot be cancelled any more."""
        with self.lock:
            order = self._of(reference)
            for shipment in self._still_there(order):
                shipment |= {"status": "Processing", "status_details": [self._detail(detail)]}
                self._change(order, [shipment])

    def ship(self, reference: str, quantities: Mapping[str, int] | None = None, *, lot: str = "") -> str:
        with self.lock:
            order = self._of(reference)
            shipment = self._still_there(order)[0]
            left = {each["reference_id"]: self._units(each) for each in shipment["products"]}
            wanted = {sku: units for sku, units in (quantities or left).items() if units}
            if wanted != left:
                self._split(order, shipment, left, wanted)
            self._pack(order, shipment, lot=lot)
            return str(shipment["id"])

    def deliver_parcel(self, reference: str, detail: str = "Delivered") -> None:
        """The carrier scans the parcels of an order: "InTransit", "OutForDelivery", "Delivered"."""
        with self.lock:
            order = self._of(reference)
            for shipment in order["shipments"]:
                if shipment["status"] == "Completed":
                    at = self._now()
                    shipment |= {"status_details": [self._detail(detail)], "last_tracking_update_at": at}
                    shipment["delivery_date"] = at if detail == "Delivered" else None
                    self._change(order, [shipment])
                    if detail == "Delivered":
                        self._tell("order.shipment.delivered", shipment)

    def recall(self, reference: str) -> None:
        """What was packed and labeled is taken out of the van again, and cancelled."""
        with self.lock:
            order = self._of(reference)
            for shipment in order["shipments"]:
                if shipment["status"] == "Completed":
                    for item in (each for product in shipment["products"] for each in product["inventory_items"]):
                        shelf = self._items[self._sku(item["id"])]["places"][shipment["location"]["id"]]
                        shelf["on_hand"] += item["quantity"]
                        item["quantity_committed"] = 0
                    shipment |= {"status": "Cancelled", "status_details": []}
                    self._tell("order.shipment.cancelled", shipment)
                    self._change(order, [shipment])

    def status_oddly(self, reference: str, word: str) -> None:
        with self.lock:
            order = self._of(reference)
            self._odd[order["id"]] = word
            self._change(order, order["shipments"])

    # --- inside

    def _of(self, reference: str) -> dict[str, Any]:
        return next(each for each in self._orders.values() if each["reference_id"] == reference)

    @staticmethod
    def _still_there(order: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [each for each in order["shipments"] if each["status"] in OPEN]

    def _units(self, product: Mapping[str, Any]) -> int:
        """How many of a product there are in a shipment."""
        parts = self._bundles.get(product["reference_id"], {product["reference_id"]: 1})
        item = product["inventory_items"][0]
        return int(item["quantity"] // parts[self._sku(item["id"])])

    def _left(self, order: Mapping[str, Any]) -> dict[str, int]:
        units: Counter[str] = Counter()
        for shipment in order["shipments"]:
            if shipment["status"] == "Completed":
                for product in shipment["products"]:
                    units[product["reference_id"]] += self._units(product)
        return dict(units)

    def _split(
        self, order: dict[str, Any], shipment: dict[str, Any], left: Mapping[str, int], wanted: Mapping[str, int]
    ) -> None:
        """Leave the wanted units in the shipment, and make another one of the rest."""
        self._release(shipment)
        rest = {**copy.deepcopy(shipment), "id": next(self._ids), "created_date": self._now()}
        shipment["products"] = [self._picked_as(sku, units) for sku, units in wanted.items()]
        remainder = {sku: units - wanted.get(sku, 0) for sku, units in left.items()}
        rest["products"] = [self._picked_as(sku, units) for sku, units in remainder.items() if units]
        order["shipments"].append(rest)
        self._allocate(shipment)
        self._allocate(rest)
        self._change(order, [rest])

    def _pack(self, order: dict[str, Any], shipment: dict[str, Any], *, lot: str = "") -> None:
        now = self._now()
        for product in shipment["products"]:
            for item in product["inventory_items"]:
                shelf = self._items[self._sku(item["id"])]["places"][shipment["location"]["id"]]
                shelf["on_hand"] -= item["quantity"]
                shelf["committed"] -= item["quantity_committed"]
                if lot:
                    item |= {"lot": lot, "expiration_date": "2027-06-30T00:00:00+00:00"}
        number = f"94001{shipment['id']}"
        shipment |= {
            "status": "Completed",
            "status_details": [self._detail("Processing")],
            "actual_fulfillment_date": now,
            "estimated_fulfillment_date_status": "FulfilledOnTime",
            "measurements": {"length_in": 12, "width_in": 9, "depth_in": 4, "total_weight_oz": 23},
            "tracking": {
                "carrier": "USPS",
                "carrier_service": "USPS Ground Advantage",
                "tracking_number": number,
                "tracking_url": f"https://tools.usps.com/go/TrackConfirmAction?tLabels={number}",
            },
        }
        self._change(order, [shipment])
        if order["status"] == "Fulfilled":  # of an order in several shipments, only the last one is told
            self._tell("order.shipped", self._view(order))

    def _detail(self, name: str, *, inventory_id: int | None = None, messages: Iterable[str] = ()) -> dict[str, Any]:
        id, description = DETAILS[name]
        extra = {"extra_information": {"validation_messages": list(messages)}} if messages else {}
        return {"id": id, "name": name, "description": description, "inventory_id": inventory_id, **extra}

    def _now(self) -> str:
        return self.now().astimezone(UTC).isoformat()

    def _change(self, order: dict[str, Any], shipments: Iterable[dict[str, Any]]) -> None:
        """Note that shipments of an order were touched, and what that makes of the order."""
        now = self._now()
        for shipment in shipments:
            shipment["last_update_at"] = now
        self._changed[order["id"]] = self.now()
        words = [each["status"] for each in order["shipments"]]
        going = [word for word in words if word != "Cancelled"]
        if not going:
            order["status"] = "Cancelled"
        elif all(word == "Completed" for word in going):
            order["status"] = "Fulfilled"
        elif "Completed" in going:
            order["status"] = "PartiallyFulfilled"
        else:
            order["status"] = next((word for word in ("Exception", "ImportReview") if word in going), "Processing")


def _figures(shelf: Mapping[str, int], item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "on_hand_quantity": "a few" if item.get("spoiled") else shelf["on_hand"],
        "committed_quantity": shelf["committed"],
        "fulfillable_quantity": shelf["on_hand"] - shelf["committed"],
        "awaiting_quantity": 0,
        "internal_transfer_quantity": 0,
    }


def _whole(request: SimRequest, name: str, usual: int) -> int:
    text = request.parameter(name)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else usual if not text else -1


def _said(value: Any, status: int = 200) -> SimResponse:
    return SimResponse.of_json(value, status)


def _refused(status: int, problems: Mapping[str, list[str]]) -> SimResponse:
    return SimResponse.of_json(problems, status)
