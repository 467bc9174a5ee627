"""A simulated 3PL that takes orders as CSV files and answers in CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import hub
from hub.testing import FileVendor, PlacedOrder, WarehouseSimulator


@dataclass(slots=True)
class _Order:
    reference: str
    lines: dict[str, int]
    shipped: dict[str, int] = field(default_factory=dict)
    cancelled: bool = False
    rejected: bool = False


class SftpWarehouse(FileVendor, WarehouseSimulator):
    """A warehouse with folders. It takes a file away the moment it arrives, and says nothing but in files."""

    origin = "sftp://files.warehouse.example:22"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.folders |= {
            "/orders",
            "/cancellations",
            "/acknowledgements",
            "/shipments",
            "/stock",
            "/adjustments",
            "/done",
        }
        self._orders: dict[str, _Order] = {}
        self._shelf: dict[str, tuple[str, datetime]] = {}  # SKU -> what is told of it, and since when
        self._number = 0
        self._counted = False

    def settings(self) -> dict[str, str]:
        """What a merchant types into the connect form."""
        return {**super().settings(), "adjustments_folder": "/adjustments", "arrives": "renamed"}

    # --- what arrives

    def arrived(self, path: str) -> None:
        """An order or a cancellation is taken at once."""
        folder = path.rpartition("/")[0]
        if folder not in ("/orders", "/cancellations"):
            return
        rows = list(csv.DictReader(io.StringIO(self.files.pop(path).body.decode())))
        reference = rows[0]["order_reference"]
        if folder == "/cancellations":
            self._asked_to_cancel(reference)
            return
        lines: dict[str, int] = {}
        for row in rows:
            lines[row["sku"]] = lines.get(row["sku"], 0) + int(row["quantity"])
        order = self._orders[reference] = _Order(reference, lines)
        if unknown := sorted(lines.keys() - self._shelf.keys()):
            order.rejected = True
            self._tell(reference, "rejected", f"We have no {', '.join(unknown)}.")
        else:
            self._tell(reference, "accepted")

    def _asked_to_cancel(self, reference: str) -> None:
        order = self._orders.get(reference)
        if order is None or order.shipped:
            self._tell(reference, "cancel refused", "It has left already." if order else "We do not have it.")
            return
        order.cancelled = True
        self._tell(reference, "cancelled")

    # --- what people in the warehouse do

    def example(self, reference: str, quantities: Mapping[str, int]) -> hub.FulfillmentOrder:
        """An order that this provider takes."""
        return hub.FulfillmentOrder(
            reference=reference,
            number=f"#{reference}",
            placed_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
            lines=tuple(
                hub.FulfillmentLine(
                    reference=str(place), sku=sku, quantity=quantity, unit_price=hub.Money.of(Decimal("9.50"), "GBP")
                )
                for place, (sku, quantity) in enumerate(quantities.items(), start=1)
            ),
            destination=hub.Address(
                name="Ada Byron", line1="12 High Street", city="Leeds", postcode="LS1 4AP", country="GB"
            ),
            service="standard",
            email="ada@example.com",
        )

    def stock_item(self, sku: str, title: str, on_hand: int) -> str:
        """Put goods on the shelf."""
        self.set_on_hand(sku, on_hand)
        return sku

    def set_on_hand(self, sku: str, quantity: int) -> None:
        """Somebody counts the shelf."""
        with self.lock:
            self._shelf[sku] = (str(quantity), self.now())
            self._counted = True

    def spoil_stock(self, sku: str) -> None:
        """From now on the quantity that is told of this SKU is no number."""
        with self.lock:
            self._shelf[sku] = ("a few", self.now())
            self._counted = True

    def adjust(self, number: str, sku: str, quantity: int, reason: str = "") -> None:
        """Units are found or lost."""
        columns = ("adjustment_id", "sku", "quantity", "adjusted_at", "reason")
        self.send("/adjustments", columns, [(number, sku, str(quantity), self.now().isoformat(), reason)])

    def placed(self) -> list[PlacedOrder]:
        """Every order that ever arrived and was taken, in order."""
        return [
            PlacedOrder(each.reference, each.reference, each.lines, each.shipped, each.cancelled)
            for each in self._orders.values()
        ]

    def reject(self, reference: str, reason: str) -> None:
        """Somebody refuses an order that had been taken."""
        self._tell(reference, "rejected", reason)

    def ship(self, reference: str, quantities: Mapping[str, int] | None = None, *, lot: str = "") -> str:
        """Pack units by SKU (None: all that are left), from one lot; returns the shipment's external id."""
        with self.lock:
            order = self._orders[reference]
            left = {sku: units - order.shipped.get(sku, 0) for sku, units in order.lines.items()}
            leaving = dict(quantities or {sku: units for sku, units in left.items() if units})
            self._number += 1
            shipment = f"S-{self._number:06}"
            for sku, units in leaving.items():
                order.shipped[sku] = order.shipped.get(sku, 0) + units
                on_hand, _ = self._shelf[sku]
                self.set_on_hand(sku, int(on_hand) - units)
            columns = (
                "shipment_id",
                "order_reference",
                "sku",
                "quantity",
                "tracking_number",
                "carrier",
                "shipped_at",
                "lot",
                "expiry",
            )
            at, tracking = self.now().isoformat(), f"TRACK{self._number:08}"
            expiry = "2027-06-30" if lot else ""
            rows = [
                (shipment, reference, sku, str(units), tracking, "royal_mail", at, lot, expiry)
                for sku, units in leaving.items()
            ]
            self.send("/shipments", columns, rows)
            self._tell(reference, "shipped" if order.shipped == order.lines else "partially shipped")
            return shipment

    def status_oddly(self, reference: str, word: str) -> None:
        """An order gets a status word that nobody has ever heard."""
        self._tell(reference, word)

    # --- what is sent

    def looked_at(self, folder: str) -> None:
        """The shelf is told as it is when somebody looks."""
        if folder == "/stock" and self._counted:
            self._counted = False
            rows = [(sku, told, at.isoformat()) for sku, (told, at) in self._shelf.items()]
            self.send("/stock", ("sku", "on_hand", "counted_at"), rows)

    def _tell(self, reference: str, status: str, reason: str = "") -> None:
        columns = ("order_reference", "status", "reason", "updated_at")
        self.send("/acknowledgements", columns, [(reference, status, reason, self.now().isoformat())])

    def send(self, folder: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """Put a file into a folder of what is sent; returns its path."""
        with self.lock:
            self._number += 1
            text = io.StringIO()
            csv.writer(text).writerows([columns, *rows])
            path = f"{folder}/{folder[1:]}-{self._number:06}.csv"
            self.put(path, text.getvalue().encode())
            return path
