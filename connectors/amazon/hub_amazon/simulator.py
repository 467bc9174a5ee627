"""A simulated seller at Amazon: the Selling Partner API with the rules it really has, its messages, its customers.

What Amazon enforces is enforced here: tokens that expire, a usage plan for each operation, parameters and bodies,
page tokens that end, orders that are not found until they are two minutes old, quantities that are accepted and come
true later, feeds and their reports. Messages are left in a queue that is a real server's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hub.testing import Customer, Sale, ShopSimulator, SimRequest, SimResponse
from hub_amazon.simulator_account import SellerAccount
from hub_amazon.simulator_listings import DEFAULT, Listings
from hub_amazon.simulator_models import Models
from hub_amazon.simulator_orders import Order, Orders, Package, home_of


class AmazonSimulator(SellerAccount, ShopSimulator):
    """A seller whose goods lie with the seller, and some in Amazon's warehouses.

    ``marketplaces``, ``plan`` and ``models`` as with ``SellerAccount``; ``lag`` is how long a change stays unknown to
    searches, two minutes at Amazon. Tests may set what ``Listings`` and ``Orders`` name.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seed: int = 0,
        marketplaces: Sequence[str] = ("DE", "FR"),
        plan: float = 1000.0,
        models: Models | None = None,
        lag: timedelta = timedelta(0),
    ) -> None:
        super().__init__(now=now, seed=seed, marketplaces=marketplaces, plan=plan, models=models)
        self.listings = Listings(self, self.wrote_stock)
        self.book = Orders(self, lag)
        self._pictures: dict[str, bytes] = {}  # by their paths

    def document(self, request: SimRequest) -> SimResponse | None:
        found = self._pictures.get(request.path)
        return (
            self.listings.document(request) if found is None else SimResponse(200, {"Content-Type": "image/png"}, found)
        )

    # --- what people do

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        with self.lock:
            return self.listings.add(sku, title, stock, price).external_id

    def add_product_shipped_by_channel(self, sku: str, title: str, price: str) -> str | None:
        with self.lock:
            return self.listings.add(sku, title, 0, price, by_amazon=True).external_id

    def show_picture(self, sku: str, content: bytes) -> bool:
        with self.lock:
            asins = [each.asin for each in self.listings.listed.values() if each.sku == sku]
            self._pictures |= {f"/images/I/{asin}.jpg": content for asin in asins}
            return True

    def customer_comes(self, customer: Customer) -> None:
        address = customer.address
        written = {
            "name": address.name,
            "addressLine1": address.line1,
            "addressLine2": address.line2,
            "city": address.city,
            "stateOrRegion": address.region,
            "postalCode": address.postcode,
            "countryCode": address.country,
            "phone": address.phone,
            "addressType": "RESIDENTIAL",
        }
        with self.lock:
            self.book.recipient = {name: value for name, value in written.items() if value}
            self.book.buyer_name = address.name

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        return self.checkout(items)

    def checkout(
        self,
        items: Sequence[tuple[str, int]],
        *,
        marketplace: str = "",
        shipping: str = "0",
        discount: str = "0",
        gift_message: str = "",
        **about: Any,
    ) -> Sale | None:
        """A customer checks out, in the home marketplace if ``marketplace`` (an id) is "".

        ``shipping`` and ``discount`` are of the first line; ``about`` is what else the order says, by the members of
        ``simulator_orders.Order``: a ``status`` of PENDING is an order that is not paid yet. SKUs that Amazon ships
        make an order that Amazon ships.
        """
        with self.lock:
            self.listings.catch_up()
            lines = [(self.listings.find(sku, marketplace), quantity) for sku, quantity in items]
            by_amazon = any(listing.stock.channel != DEFAULT for listing, _ in lines)
            wanted: Counter[str] = Counter()
            for listing, quantity in lines:
                wanted[listing.sku] += quantity
            if not by_amazon and any(self.listings.find(sku).stock.quantity < wanted[sku] for sku in wanted):
                return None
            if not by_amazon:
                for listing, quantity in lines:
                    self.listings.take(listing, quantity)
            order = self.book.place(home_of(lines[0][0]), lines, by_amazon=by_amazon, **about)
            first = order.items[0]
            first.shipping, first.discount, first.gift_message = Decimal(shipping), Decimal(discount), gift_message
            return Sale(order.id, tuple(items), time.monotonic())

    def pay(self, order: str) -> None:
        """The payment of a pending order comes in."""
        with self.lock:
            found = self.book.sold[order]
            found.status = "UNSHIPPED"
            self.book.touch(found)

    def ask_to_cancel(self, order: str, reason: str = "Ordered by mistake") -> None:
        """The buyer asks the seller to cancel."""
        with self.lock:
            found = self.book.sold[order]
            for item in found.items:
                item.cancel_reason = reason
            self.book.touch(found, "BuyerRequestedChange", "Buyer Requested Cancel")

    def think_again(self, order: str) -> None:
        """The buyer takes the request to cancel back."""
        with self.lock:
            found = self.book.sold[order]
            for item in found.items:
                item.cancel_reason = None
            self.book.touch(found, "BuyerRequestedChange", "Buyer Requested Cancel")

    def stock(self) -> dict[str, int]:
        with self.lock:
            return self.listings.quantities()

    def set_stock(self, sku: str, quantity: int) -> None:
        with self.lock:
            self.listings.set_quantity(sku, quantity)

    def orders(self) -> set[str]:
        with self.lock:
            return set(self.book.sold)

    def cancel(self, order: str) -> None:
        with self.lock:
            found = self.book.sold[order]
            for item in found.items:
                if not found.by_amazon:
                    self.listings.take(item.listing, -item.open)
                item.cancelled, item.cancelled_by, item.cancel_reason = item.cancelled + item.open, "MERCHANT", None
            found.status = "CANCELLED" if found.status == "PENDING" else found.status
            self.book.touch(found)

    def fulfill(self, order: str, units: int | None = None) -> None:
        """Somebody ships an order (Amazon does, where it is Amazon's), or at most so many units of each line."""
        with self.lock:
            found = self.book.sold[order]
            leaving = {item.id: item.open if units is None else min(units, item.open) for item in found.items}
            for item in found.items:
                item.shipped += leaving[item.id]
            if not found.by_amazon:
                found.packages.append(self._package(found, leaving))
            self.book.touch(found)

    def _package(self, order: Order, leaving: dict[str, int]) -> Package:
        number, now = len(order.packages) + 1, self.now()
        tracking = f"00340{self.draw.randrange(10**13):013d}"
        return Package(str(number), "DHL", tracking, "DHL Paket", now, now, {id: n for id, n in leaving.items() if n})
