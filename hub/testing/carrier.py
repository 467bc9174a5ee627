"""A base for simulated carriers: besides their API, what depots, drivers and the carrier's accounts do."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from hub.core.model import Money
from hub.core.shipping import Shipment, TrackingStatus, Weight
from hub.testing.simulator import VendorSimulator

__all__ = ["CarrierSimulator", "Charge"]


@dataclass(frozen=True, slots=True)
class Charge:
    """A label that a simulated carrier has sold.

    ``reference`` is the shipment's, ``weight`` that of all its parcels as the vendor understood it. ``voided``: the
    money came back.
    """

    reference: str
    label_external_id: str
    tracking_numbers: tuple[str, ...]
    cost: Money
    weight: Weight
    voided: bool = False


class CarrierSimulator(VendorSimulator):
    """A simulated carrier. It sells what is asked for again, too: that nothing is bought twice is not its business."""

    @abstractmethod
    def example(self, reference: str, parcels: int = 1) -> Shipment:
        """A shipment that this carrier takes, of so many parcels."""

    @abstractmethod
    def charges(self) -> list[Charge]:
        """Every label that was ever bought, in order, voided ones too."""

    @abstractmethod
    def scan(self, tracking_number: str, status: TrackingStatus) -> None:
        """Somebody scans a parcel, and the vendor says it in its own word; subscribers are told.

        Raises LookupError for a status that the vendor has no word for.
        """

    @abstractmethod
    def scan_oddly(self, tracking_number: str, word: str) -> None:
        """The same with a status word that nobody has ever heard."""

    @abstractmethod
    def price_in(self, currency: str) -> None:
        """From now on the account is charged in another currency."""
