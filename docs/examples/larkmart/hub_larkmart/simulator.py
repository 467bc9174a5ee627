"""A simulated stall on Larkmart: its API with the rules of its documentation, its customers, its owner."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

from hub.testing import Sale, ShopSimulator, SimRequest, SimResponse

PER_PAGE = 50
CURRENCY = "EUR"
SHIPPING = Decimal("4.90")


class LarkmartSimulator(ShopSimulator):
    """One stall. Every order and every offer carries the mark of its last change; marks only ever rise."""

    webhook_retries = (1.0, 5.0, 30.0)

    def __init__(self, stall: str = "corner", **options: Any) -> None:
        super().__init__(**options)
        self.stall = stall
        self.origin = f"https://{stall}.larkmart.example"
        self.api_key = f"lk_{stall}_0123456789"
        self.webhook: dict[str, Any] | None = None
        self._stock: dict[str, int] = {}  # by offer
        self._offers: dict[str, dict[str, Any]] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._marks = itertools.count(1)
        self.parcels: dict[tuple[str, str], dict[str, Any]] = {}  # by order and reference

    # --- the API

    def answer(self, request: SimRequest) -> SimResponse:
        if request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _refused(401, "Unknown key.")
        answers: Mapping[tuple[str, str], Callable[[SimRequest], SimResponse]] = {
            ("GET", "stall"): self._tell_stall,
            ("GET", "orders"): lambda asked: self._tell_changes(asked, "orders", self._orders),
            ("GET", "offers"): lambda asked: self._tell_changes(asked, "offers", self._offers),
            ("GET", "stock"): self._tell_stock,
            ("POST", "stock"): self._take_stock,
            ("PUT", "webhook"): self._take_webhook,
        }
        what, _, id = request.path.removeprefix("/v1/").partition("/")
        order, _, parcel = id.partition("/parcels/")
        if (request.method, what) == ("PUT", "orders") and parcel:
            return self._take_parcel(order, parcel, request)
        if (request.method, what) not in answers:
            return _refused(405, "There is no such call.")
        if not id:
            return answers[request.method, what](request)
        found = {"orders": self._orders, "offers": self._offers}.get(what, {}).get(id)
        return _said(found) if found else _refused(404, f"There is no {what} {id}.")

    def _tell_stall(self, _: SimRequest) -> SimResponse:
        return _said({"id": f"stall-{self.stall}", "name": self.stall.title(), "currency": CURRENCY})

    def _tell_changes(self, asked: SimRequest, name: str, things: Mapping[str, dict[str, Any]]) -> SimResponse:
        after = int(asked.parameter("after", "0"))
        changed = sorted((each for each in things.values() if each["mark"] > after), key=lambda each: int(each["mark"]))
        page = changed[:PER_PAGE]
        return _said({name: page, "mark": page[-1]["mark"] if page else after})

    def _tell_stock(self, asked: SimRequest) -> SimResponse:
        offers = asked.parameter("offers").split(",")
        return _said({"stock": {offer: self._stock[offer] for offer in offers if offer in self._stock}})

    def _take_stock(self, asked: SimRequest) -> SimResponse:
        figures: Mapping[str, int] = asked.json()["stock"]
        if len(figures) > PER_PAGE:
            return _refused(400, f"At most {PER_PAGE} figures at once.")
        refused = {}
        for offer, quantity in figures.items():
            if offer not in self._offers:
                refused[offer] = "no such offer"
            elif quantity < 0:
                refused[offer] = "less than nothing"
            else:
                self._stock[offer] = quantity
                self.wrote_stock(self._offers[offer]["sku"], quantity)
        return _said({"refused": refused})

    def _take_parcel(self, id: str, parcel: str, asked: SimRequest) -> SimResponse:
        """A parcel stands under the reference its sender gave it: sent again, it is the same one."""
        order, sent = self._orders.get(id), asked.json()
        if order is None:
            return _refused(404, f"There is no order {id}.")
        if (id, parcel) not in self.parcels:
            lines = {line["id"]: line for line in order["items"]}
            for item, quantity in sent["items"].items():
                if item not in lines or not 0 < quantity <= lines[item]["quantity"] - lines[item]["shipped"]:
                    return _refused(422, f"There are not {quantity} of {item} left to be sent.")
            for item, quantity in sent["items"].items():
                lines[item]["shipped"] += quantity
            if all(line["shipped"] == line["quantity"] for line in order["items"]):
                order["state"] = "shipped"
            self.parcels[id, parcel] = sent
            self._tell_hub(order)
        return _said({"id": f"{id}/{parcel}"})

    def _take_webhook(self, asked: SimRequest) -> SimResponse:
        self.webhook = asked.json()
        return _said({"id": "hook-1"})

    # --- its customers and its owner

    def settings(self) -> dict[str, str]:
        return {"stall": self.stall, "api_key": self.api_key}

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        with self.lock:
            id = f"offer-{len(self._offers) + 1}"
            self._stock[id] = stock
            self._offers[id] = {"id": id, "sku": sku, "title": title, "price": _amount(Decimal(price))}
            self._change(self._offers[id])
            return id

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        with self.lock:
            wanted: Counter[str] = Counter()
            for sku, quantity in items:
                wanted[self._offer(sku)["id"]] += quantity
            if any(self._stock[offer] < quantity for offer, quantity in wanted.items()):
                return None
            self._stock = {offer: there - wanted[offer] for offer, there in self._stock.items()}
            order = self._new_order(wanted)
            self._orders[order["id"]] = order
            self._tell_hub(order)
            return Sale(order["id"], tuple(items), time.monotonic())

    def stock(self) -> dict[str, int]:
        with self.lock:
            return {offer["sku"]: self._stock[id] for id, offer in self._offers.items()}

    def set_stock(self, sku: str, quantity: int) -> None:
        with self.lock:
            self._stock[self._offer(sku)["id"]] = quantity

    def withdraw(self, offer: str) -> None:
        """The owner takes an offer down."""
        with self.lock:
            del self._offers[offer], self._stock[offer]

    def orders(self) -> set[str]:
        with self.lock:
            return set(self._orders)

    def cancel(self, order: str) -> None:
        with self.lock:
            for line in self._orders[order]["items"]:
                self._stock[line["offer"]] += line["quantity"]
            self._orders[order]["state"] = "cancelled"
            self._tell_hub(self._orders[order])

    def fulfill(self, order: str) -> None:
        with self.lock:
            for line in self._orders[order]["items"]:
                line["shipped"] = line["quantity"]
            self._orders[order]["state"] = "shipped"
            self._tell_hub(self._orders[order])

    # --- inside

    def _new_order(self, wanted: Mapping[str, int]) -> dict[str, Any]:
        lines, goods = [], Decimal(0)
        for position, (id, quantity) in enumerate(wanted.items(), start=1):
            offer = self._offers[id]
            total = Decimal(offer["price"]["amount"]) * quantity
            goods += total
            line = {"id": f"item-{position}", "offer": id, "quantity": quantity, "shipped": 0}
            told = {name: offer[name] for name in ("sku", "title", "price")}
            lines.append(line | told | {"total": _amount(total), "tax": _amount(Decimal(0))})
        number = str(1001 + len(self._orders))
        return {
            "id": f"order-{number}",
            "number": number,
            "state": "open",
            "placed_at": self._now(),
            "currency": CURRENCY,
            "customer": "Ada Byron",
            "items": lines,
            "shipping": _amount(SHIPPING),
            "tax": _amount(Decimal(0)),
            "total": _amount(goods + SHIPPING),
        }

    def _offer(self, sku: str) -> dict[str, Any]:
        return next(offer for offer in self._offers.values() if offer["sku"] == sku)

    def _now(self) -> str:
        return self.now().astimezone(UTC).isoformat()

    def _change(self, thing: dict[str, Any]) -> None:
        thing |= {"mark": next(self._marks), "changed_at": self._now()}

    def _tell_hub(self, order: dict[str, Any]) -> None:
        self._change(order)
        if self.webhook is not None:
            body = json.dumps(order).encode()
            signature = hmac.new(self.webhook["secret"].encode(), body, hashlib.sha256).hexdigest()
            self.deliver(self.webhook["address"], {"X-Larkmart-Signature": signature}, body)


def _said(value: Mapping[str, Any]) -> SimResponse:
    return SimResponse.of_json(value)


def _refused(status: int, message: str) -> SimResponse:
    return SimResponse.of_json({"message": message}, status)


def _amount(amount: Decimal) -> dict[str, str]:
    return {"amount": str(amount), "currency": CURRENCY}
