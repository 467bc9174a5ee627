"""What is asked of channels told of shipments, how to deal an order out, to cancel it or to give money back: exactly
what was asked for, and once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from hub.certify import shared
from hub.certify.bench import impatient, only_connector_errors
from hub.certify.channel import CONTRACT, ChannelBench
from hub.certify.contract import expect
from hub.connector import Connector, Settlement
from hub.core.model import HoldReason, LineQuantity, Money, OrderStatus
from hub.core.plain import to_plain
from hub.core.shipping import (
    CancelReason,
    ConfirmedLine,
    OrderCancellation,
    RefundedLine,
    RefundRequest,
    ShipmentConfirmation,
    WorkHold,
    WorkRelease,
    WorkSplit,
)
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

    def perform(self, kind: str, request: Any) -> Any:
        """Have the shop do something, as the hub does."""
        self.bench.clock.advance(60)
        return self.connector.perform(kind, to_plain(request), f"key-{kind}")

    def work(self) -> list[tuple[str, int, int]]:
        """The parts that the shop has dealt the order out in: id, units left to ship, holds."""
        order = self.order()
        return [(each.external_id, sum(line.quantity for line in each.lines), len(each.holds)) for each in order.work]

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


# ---------------------------------------------------------------- parts of an order


def holds(connector: type[Connector]) -> str:
    """Why it cannot be told to hold a part of an order, "" if it can."""
    return "" if {"hold_work", "release_work"} <= connector.effects.keys() else "it does not declare hold_work"


def splits(connector: type[Connector]) -> str:
    """Why it cannot be told to split a part of an order, "" if it can."""
    return "" if "split_work" in connector.effects else "it does not declare split_work"


def _hold(bought: _Bought, *, work: str = "", quantity: int = 0) -> WorkHold:
    """The hold H-1 of the order's only part, or of so many units of it."""
    ((only, _, _),) = bought.work()
    lines = (LineQuantity(line_external_id=bought.line.external_id, quantity=quantity),) if quantity else ()
    return WorkHold(
        reference="H-1",
        order_external_id=bought.order_id,
        work_external_id=work or only,
        reason=HoldReason.ADDRESS,
        note="No house number.",
        lines=lines,
    )


@CONTRACT.case(
    RULE,
    "work-held-is-held-once-until-released",
    "A part of an order is held once, however often it is asked for, and released again.",
    needs=holds,
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    hold = _hold(bought)
    results = [bought.perform("hold_work", hold) for _ in range(2)]
    expect([each[1:] for each in bought.work()] == [(3, 1)], f"The parts are {bought.work()}, not one of 3 held once.")
    expect(results[0].reference == results[1].reference, "The same hold was called two names.")
    release = WorkRelease(order_external_id=bought.order_id, work_external_id=hold.work_external_id)
    for _ in range(2):
        bought.perform("release_work", release)
    expect([each[1:] for each in bought.work()] == [(3, 0)], f"The parts are {bought.work()}, not one of 3 free to go.")


@CONTRACT.case(RULE, "work-held-in-part", "Of a part of an order only the units asked for are held, once.", needs=holds)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    hold = _hold(bought, quantity=1)
    for _ in range(2):
        bought.perform("hold_work", hold)
    found = sorted(each[1:] for each in bought.work())
    expect(found == [(1, 1), (2, 0)], f"Units and holds of the parts are {found}.")


@CONTRACT.case(
    RULE, "work-that-is-none-not-held", "A part that the order does not have is not held, nor another.", needs=holds
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    with only_connector_errors("holding a part that is none") as raised:
        bought.perform("hold_work", _hold(bought, work="999999999"))
    expect(raised and isinstance(raised[0], Rejected), f"It led to {raised or 'a hold'}.")
    expect([each[1:] for each in bought.work()] == [(3, 0)], f"The parts are {bought.work()}.")


@CONTRACT.case(
    RULE, "work-split-is-split-once", "Units become a part of their own once, however often asked for.", needs=splits
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    ((only, _, _),) = bought.work()
    lines = (LineQuantity(line_external_id=bought.line.external_id, quantity=1),)
    split = WorkSplit(order_external_id=bought.order_id, work_external_id=only, lines=lines)
    results = [bought.perform("split_work", split) for _ in range(2)]
    units = {id: quantity for id, quantity, _ in bought.work()}
    expect(sorted(units.values()) == [1, 2], f"The parts have {sorted(units.values())} units.")
    named = [units.get(each.reference) for each in results]
    expect(named == [1, 1], f"The part of 1 unit is said to be one of {named}.")


@CONTRACT.each(
    RULE,
    "work-held-once-after-{}",
    "A part of an order is held once, though an answer is lost on the way ({}).",
    {
        "reset-before-the-effect": Fault.reset(after_effect=False),
        "reset-after-the-effect": Fault.reset(),
        "truncated": Fault.truncated(),
    },
    needs=holds,
)
def _(bench: ChannelBench, fault: Fault) -> None:
    bought = _Bought(bench)
    hold = _hold(bought)
    done = False
    for point in range(20):
        bought.shop.fail_next("", fault, after=point)
        try:
            bought.perform("hold_work", hold)
            done = True
        except ConnectorError:
            done = False
        finally:
            bought.shop.heal()
        if done:
            break
    expect(done, "It was never held.")
    expect([each[1:] for each in bought.work()] == [(3, 1)], f"The parts are {bought.work()}, not one of 3 held once.")


# ---------------------------------------------------------------- cancelling, and giving money back


def cancels(connector: type[Connector]) -> str:
    """Why it cannot be told to cancel an order, "" if it can."""
    return "" if "cancel_order" in connector.effects else "it does not declare cancel_order"


def refunds(connector: type[Connector]) -> str:
    """Why it cannot be told to give money back, "" if it can."""
    return "" if "refund" in connector.effects else "it does not declare refund"


def _a_cancellation(order: str, reference: str = "C-1") -> OrderCancellation:
    return OrderCancellation(
        reference=reference, order_external_id=order, reason=CancelReason.CUSTOMER, note="By phone."
    )


def _to_cancel(bench: Any, vendor: Any, connector: Any) -> Mapping[str, Any]:
    """Another order, and the wish to cancel it."""
    order_id = bench.buy(("MUG-1", 1), shop=vendor)
    plain: Mapping[str, Any] = to_plain(_a_cancellation(order_id, f"C-{order_id[-20:]}"))
    return plain


def _cancelled(bench: Any, vendor: Any) -> int:
    connector = bench.connect(vendor)
    orders = (connector.read_order(connector.fetch_order(each)) for each in vendor.orders())
    return sum(order.status in (OrderStatus.CANCELLED, OrderStatus.REFUNDED) for order in orders)


def _to_refund(bench: Any, vendor: Any, connector: Any) -> Mapping[str, Any]:
    """Another order of two mugs, and the wish to give the money of one back."""
    order_id = bench.buy(("MUG-1", 2), shop=vendor)
    (line,) = connector.read_order(connector.fetch_order(order_id)).lines
    plain: Mapping[str, Any] = to_plain(_a_refund(order_id, line, reference=f"R-{order_id[-20:]}"))
    return plain


def _a_refund(order: str, line: Any, *, units: int = 1, amount: str = "12.50", reference: str = "R-1") -> RefundRequest:
    money = Money.of(amount, line.total.currency)
    lines = (RefundedLine(line_external_id=line.external_id, quantity=units, amount=money),)
    return RefundRequest(reference=reference, order_external_id=order, lines=lines, restock=True, note="Chipped.")


def _refunded(bench: Any, vendor: Any) -> int:
    connector = bench.connect(vendor)
    return sum(len(connector.read_order(connector.fetch_order(each)).refunds) for each in vendor.orders())


@CONTRACT.case(
    RULE, "cancelled-order-is-cancelled", "An order that was cancelled is, and holds nothing.", needs=cancels
)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    bought.perform("cancel_order", _a_cancellation(bought.order_id))
    order = bought.order()
    expect(order.status in (OrderStatus.CANCELLED, OrderStatus.REFUNDED), f"Its status is {order.status}.")
    expect(not order.holds_stock, "It still holds stock.")


@CONTRACT.case(RULE, "shipped-order-not-cancelled", "What has left cannot be cancelled, and is not.", needs=cancels)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    bench.clock.advance(60)
    bought.shop.fulfill(bought.order_id)
    with only_connector_errors("cancelling a shipped order") as raised:
        bought.perform("cancel_order", _a_cancellation(bought.order_id))
    expect(raised and isinstance(raised[0], Rejected), f"It led to {raised or 'a cancellation'}.")
    expect(bought.order().status is OrderStatus.FULFILLED, f"Its status is {bought.order().status}.")


@CONTRACT.case(RULE, "refund-is-exact", "Exactly so much is given back, for exactly these units.", needs=refunds)
def _(bench: ChannelBench) -> None:
    bought = _Bought(bench)
    bought.perform("refund", _a_refund(bought.order_id, bought.line, amount="7.25"))
    order = bought.order()
    given = [str(each.amount) for each in order.refunds]
    expect(given == [f"7.25 {order.currency}"], f"Of 7.25 {order.currency} it gave back {given}.")
    (line,) = order.lines
    expect(line.open_quantity == 2, f"Of 3 units, one of them given back, {line.open_quantity} are to be shipped.")


@CONTRACT.each(
    RULE,
    "refund-of-{}-refused",
    "More than there is ({}) is not given back, nor a part of it.",
    {"too-much-money": (1, "9999"), "too-many-units": (4, "12.50")},
    needs=refunds,
)
def _(bench: ChannelBench, asked: tuple[int, str]) -> None:
    bought = _Bought(bench)
    units, amount = asked
    with only_connector_errors("giving back too much") as raised:
        bought.perform("refund", _a_refund(bought.order_id, bought.line, units=units, amount=amount))
    expect(raised and isinstance(raised[0], Rejected), f"It led to {raised or 'a refund'}.")
    expect(not bought.order().refunds, "Something was given back all the same.")


shared.add_where_declared(
    CONTRACT,
    RULE,
    (
        shared.Deed("cancel_order", "cancelling", _to_cancel, _cancelled),
        shared.Deed("refund", "refunding", _to_refund, _refunded),
    ),
)
