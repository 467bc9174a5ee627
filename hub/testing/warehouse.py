"""A base for simulated fulfillment providers: besides their API, what the people in the warehouse do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from hub.core.shipping import FulfillmentOrder
from hub.testing.simulator import VendorSimulator

__all__ = ["PlacedOrder", "WarehouseSimulator"]


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order that a simulated warehouse has. ``lines`` are ordered units by SKU, ``shipped`` those that left."""

    reference: str
    external_id: str
    lines: Mapping[str, int]
    shipped: Mapping[str, int]
    cancelled: bool = False


class WarehouseSimulator(VendorSimulator):
    """A simulated warehouse of somebody else's."""

    @abstractmethod
    def example(self, reference: str, quantities: Mapping[str, int]) -> FulfillmentOrder:
        """An order that this provider takes: units by SKU, sent in a way that it knows."""

    @abstractmethod
    def stock_item(self, sku: str, title: str, on_hand: int) -> str:
        """Put goods on the shelf; returns the vendor's id of the item."""

    @abstractmethod
    def set_on_hand(self, sku: str, quantity: int) -> None:
        """Somebody counts the shelf."""

    @abstractmethod
    def spoil_stock(self, sku: str) -> None:
        """From now on the quantity that is told of this SKU is no number."""

    @abstractmethod
    def placed(self) -> list[PlacedOrder]:
        """Every order that ever arrived, in order, cancelled ones too."""

    @abstractmethod
    def reject(self, reference: str, reason: str) -> None:
        """Somebody refuses an order that had been taken."""

    @abstractmethod
    def ship(self, reference: str, quantities: Mapping[str, int] | None = None, *, lot: str = "") -> str:
        """Pack units by SKU (None: all that are left), from one lot; returns the shipment's external id."""

    @abstractmethod
    def status_oddly(self, reference: str, word: str) -> None:
        """An order gets a status word that nobody has ever heard."""
