"""What is asked of sales channels that can be told of shipments: exactly the units, and exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from hub.certify.bench import impatient, only_connector_errors
from hub.certify.channel import CONTRACT, ChannelBench
from hub.certify.contract import expect
from hub.connector import Connector, Settlement
from hub.core.plain import to_plain
from hub.core.shipping import ConfirmedLine, ShipmentConfirmation
from hub.errors import ConnectorError, Rejected
from hub.testing.simulator import Fault

RULE = CONTRACT.rules["settlement"]
KIND = "confirm_shipment"


def confirms(connector: type[Connector]) -> str:
    """Why it cannot be told of shipments, "" if it can."""
    return "" if KIND in connector.effects else "it does not declare the effect confirm_shipment"


class _Bought:
    """An order of three mugs, and a connector that can confirm its shipment."""

    def __init__(self, bench: ChannelBench) -> None:
        self.bench = bench
        self.shop = bench.vendor()
        self.connector = bench.connect(self.shop)
        self.order_id = bench.buy(("MUG-1", 3))
        (self.line,) = self.order().lines

    def order(self) -> Any:
        """The order as the shop tells it now."""
        return self.connector.read_order(self.connector.fetch_order(self.order_id))

    def shipped(self) -> int:
        """How many units the shop takes for shipped."""
        (line,) = self.order().lines
        fulfilled: int = line.fulfilled
        return fulfilled

    def request(self, reference: str, quantity: int = 1, line: str = "") -> Mapping[str, Any]:
        """The confirmation of so many mugs, as the hub stores it."""
        confirmation = ShipmentConfirmation(
            reference=reference,
            order_external_id=self.order_id,
            lines=(ConfirmedLine(line_external_id=line or self.line.external_id, quantity=quantity),),
            shipped_at=self.bench.clock(),
            carrier_name="Parcel Post",
            tracking_numbers=(f"PP{reference}",),
            tracking_url=f"https://parcels.example/PP{reference}",
        )
        plain: Mapping[str, Any] = to_plain(confirmation)
        return plain

    def confirm(self, reference: str, quantity: int = 1, line: str = "") -> Any:
        """Tell the shop, as the hub does."""
        self.bench.clock.advance(60)
        return self.connector.perform(KIND, self.request(reference, quantity, line), f"key-{reference}")


@CONTRACT.case(
    RULE,
    "shipment-confirmed-is-on-the-order",
    "A confirmed shipment is on the order, with exactly its units.",
    needs=confirms,
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    bought.confirm("S-1", 2)
    expect(bought.shipped() == 2, f"Of 2 units {bought.shipped()} are shipped.")


@CONTRACT.case(RULE, "shipment-after-shipment-adds-up", "A second shipment is another one.", needs=confirms)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    bought.confirm("S-1", 1)
    bought.confirm("S-2", 2)
    expect(bought.shipped() == 3, f"Of 1 and 2 units {bought.shipped()} are shipped.")


@CONTRACT.case(
    RULE, "shipment-of-no-line-refused", "A shipment of a line that the order has not is refused.", needs=confirms
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    with only_connector_errors("confirming a line that is none") as raised:
        bought.confirm("S-1", 1, line="999999999")
    expect(raised and isinstance(raised[0], Rejected), f"It led to {raised or 'a shipment'}.")
    expect(bought.shipped() == 0, "Something else was shipped by it.")


@CONTRACT.each(
    RULE,
    "shipment-confirmed-once-after-{}",
    "A shipment is confirmed once, though an answer is lost on the way ({}).",
    {
        "reset-before-the-effect": Fault.reset(after_effect=False),
        "reset-after-the-effect": Fault.reset(),
        "half-open-after-the-effect": Fault.half_open(),
        "500-after-the-effect": Fault.status(500, after_effect=True),
        "truncated": Fault.truncated(),
    },
    needs=confirms,
)
def _(bench: ChannelBench, fault: Fault) -> None:
    bought = _Bought(bench)
    settlement = bench.connector.effects[KIND]
    done = False
    for point in range(20):
        bought.shop.fail_next("", fault, after=point)
        try:
            # What the hub does about an unclear outcome: a look-up first where that is the connector's class.
            with impatient(bought.connector) if fault.broken == "silent" else nullcontext():
                found = point and settlement is Settlement.LOOKUP and _found(bought)
                if not found:
                    bought.confirm("S-1")
            done = True
        except ConnectorError:
            done = False
        finally:
            bought.shop.heal()
        if done or settlement is Settlement.NONE:
            break
    expect(done or settlement is Settlement.NONE, "It was never confirmed.")
    shipped = bought.shipped()
    expect(
        shipped == 1 or (settlement is Settlement.NONE and shipped in (0, 1)), f"{shipped} units are shipped, not 1."
    )


def _found(bought: _Bought) -> bool:
    return bought.connector.find(KIND, bought.request("S-1"), "key-S-1") is not None
