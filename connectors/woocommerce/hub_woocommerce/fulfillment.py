"""Telling the shop what was shipped: as a fulfillment, as parcels that a plugin tracks, or as a note on the order.

WooCommerce checks none of it, so everything is checked here first: the order is read, with what was refunded and what
was shipped of it before. What an earlier attempt has left there is found by our reference and not told again. The
order is moved to "completed" only when nothing of it is open any more, and always last: customers are written to then.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hub.connector import EffectResult, RawRecord
from hub.core.model import ChannelShipment, Order, OrderLine, OrderStatus
from hub.core.shipping import ShipmentConfirmation
from hub.errors import NotFound, Rejected
from hub_woocommerce.api import TRACKING, body_of, list_of, no_route, object_of, one_of
from hub_woocommerce.orders import Orders
from hub_woocommerce.translation import REFERENCE, SHIPMENT, has_fulfillments, shipment_note

# WooCommerce's own names of carriers whose parcels it knows how to follow; every other is told by its name.
PROVIDERS = frozenset(
    {
        "amazon-logistics",
        "australia-post",
        "canada-post",
        "dhl",
        "dpd",
        "evri-hermes",
        "fedex",
        "royal-mail",
        "ups",
        "usps",
    }
)

_CLOSED = {
    OrderStatus.CANCELLED: "is cancelled",
    OrderStatus.REFUNDED: "is refunded",
    OrderStatus.REMOVED: "is in the bin",
}


@dataclass(frozen=True)
class _Told:
    """An order as the shop tells it, in its own words and in ours. ``fulfillments`` is None where it keeps none."""

    raw: Mapping[str, Any]
    order: Order
    fulfillments: Sequence[Mapping[str, Any]] | None

    def shipment(self, reference: str) -> str:
        """The id of the shipment that was told under our reference, "" if there is none."""
        for each in self.fulfillments or ():
            if _value(each, REFERENCE) == reference and not each.get("date_deleted"):
                return str(each["id"])
        return reference if _entry(self.raw, SHIPMENT + reference) else ""

    def known(self, external_id: str) -> ChannelShipment | None:
        """A shipment by the shop's id of it."""
        found = (each for each in self.order.shipments if each.external_id == external_id and not each.cancelled)
        return next(found, None)

    def is_fulfillment(self, shipment: ChannelShipment) -> bool:
        """Whether it is one of the shop's fulfillments, which have an address of their own."""
        return any(str(each["id"]) == shipment.external_id for each in self.fulfillments or ())


class Fulfillment(Orders):
    """Confirms shipments."""

    def confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult:
        told = self._told(confirmation)
        already = told.shipment(confirmation.reference)
        if already:
            self._complete(told, shipped=())
            return EffectResult(already)
        replaced = told.known(confirmation.supersedes) if confirmation.supersedes else None
        _check(told.order, confirmation, replaced)
        way = self._way(told)
        if way == "fulfillments":
            return self._as_fulfillment(told, confirmation, replaced)
        if way == "trackings":
            self._as_trackings(told, confirmation, replaced)
        else:
            self._as_note(told, confirmation)
        self._seal(told, confirmation, replaced)
        return EffectResult(confirmation.reference)

    def find_confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult | None:
        """Half of it does not count: then it is confirmed again, which adds what is missing."""
        try:
            told = self._told(confirmation)
        except NotFound:
            return None
        already = told.shipment(confirmation.reference)
        if not already or _completes(told.order, ()):
            return None
        return EffectResult(already)

    def _told(self, confirmation: ShipmentConfirmation) -> _Told:
        raw = self._order(confirmation.order_external_id)
        # Whatever the order notes of them: one that was made a moment ago is what is looked for.
        keeps = self.context.features.get("shipments", "fulfillments") == "fulfillments" or has_fulfillments(raw)
        fulfillments = self._fulfillments(raw["id"]) if keeps else None
        record = {"order": raw, "refunds": self._refunds(raw), "fulfillments": fulfillments or []}
        return _Told(raw, self.read_order(RawRecord("order", str(raw["id"]), body_of(record))), fulfillments)

    def _way(self, told: _Told) -> str:
        """Which way of telling it the shop has: as found when it was connected, or as it shows now."""
        if told.fulfillments is not None:
            return "fulfillments"
        if self.context.features.get("shipments") == "notes":
            return "notes"
        return "trackings" if self._tracked_carriers is not None else "notes"

    # --- as a fulfillment

    def _as_fulfillment(
        self, told: _Told, confirmation: ShipmentConfirmation, replaced: ChannelShipment | None
    ) -> EffectResult:
        meta: list[dict[str, Any]] = [
            {
                "key": "_items",
                "value": [{"item_id": int(each.line_external_id), "qty": each.quantity} for each in confirmation.lines],
            },
            {"key": REFERENCE, "value": confirmation.reference},
        ]
        if confirmation.tracking_numbers:
            meta.append({"key": "_tracking_number", "value": ", ".join(confirmation.tracking_numbers)})
        if confirmation.tracking_url:
            meta.append({"key": "_tracking_url", "value": confirmation.tracking_url})
        slug = confirmation.carrier.replace("_", "-")
        if slug in PROVIDERS:
            meta.append({"key": "_shipment_provider", "value": slug})
        elif name := _carrier(confirmation):
            meta += [{"key": "_shipment_provider", "value": "other"}, {"key": "_provider_name", "value": name}]
        method, path = "POST", f"orders/{told.raw['id']}/fulfillments"
        if replaced is not None and told.is_fulfillment(replaced):
            # What is left out is deleted.
            kept = replaced.shipped_at or confirmation.shipped_at
            meta.append({"key": "_date_fulfilled", "value": f"{kept:%Y-%m-%dT%H:%M:%SZ}"})
            method, path = "PUT", f"{path}/{replaced.external_id}"
        body = {"status": "fulfilled", "is_fulfilled": True, "meta_data": meta}
        notify = "true" if confirmation.notify else "false"
        made = one_of(self._call(method, path, body=body, notify_customer=notify))
        self._complete(told, confirmation.lines, replaced)
        return EffectResult(str(made["id"]))

    def _complete(self, told: _Told, shipped: Iterable[Any], replaced: ChannelShipment | None = None) -> None:
        """Move the order on, if with what was shipped just now nothing is left open."""
        if _completes(told.order, shipped, replaced):
            self._call("PUT", f"orders/{told.raw['id']}", body={"status": "completed"})

    # --- in shops without fulfillments

    def _as_trackings(self, told: _Told, confirmation: ShipmentConfirmation, replaced: ChannelShipment | None) -> None:
        path = f"orders/{told.raw['id']}/shipment-trackings"
        present = {
            str(each.get("tracking_number")): str(each.get("tracking_id"))
            for each in list_of(self._call("GET", path, namespace=TRACKING))
        }
        provider = self._provider(_carrier(confirmation))
        for number in confirmation.tracking_numbers:
            if number in present:
                continue
            body = {"tracking_number": number, "date_shipped": f"{confirmation.shipped_at:%Y-%m-%d}"}
            if provider and not confirmation.tracking_url:
                body["tracking_provider"] = provider
            else:
                body["custom_tracking_provider"] = _carrier(confirmation)
                body["custom_tracking_link"] = confirmation.tracking_url
            self._call("POST", path, body=body, namespace=TRACKING)
        for number in replaced.tracking_numbers if replaced else ():
            if number in present and number not in confirmation.tracking_numbers:
                self._call("DELETE", f"{path}/{present[number]}", namespace=TRACKING)

    @cached_property
    def _tracked_carriers(self) -> Mapping[str, Any] | None:
        """The carriers that the tracking plugin knows, by region; None where there is no such plugin."""
        answer = self._ask("GET", "shipment-trackings/providers", namespace=TRACKING)
        if no_route(answer):
            return None
        if answer.status >= 400:
            raise self._refusal(answer)
        return object_of(answer) or {}

    def _provider(self, carrier: str) -> str:
        """The tracking plugin's name of a carrier, "" if it does not know it."""
        regions = (self._tracked_carriers or {}).values()
        names = (name for region in regions if isinstance(region, Mapping) for name in region)
        return next((name for name in names if carrier and _bare(name) == _bare(carrier)), "")

    def _as_note(self, told: _Told, confirmation: ShipmentConfirmation) -> None:
        begins = f"Shipment {confirmation.reference}:"
        path = f"orders/{told.raw['id']}/notes"
        notes = list_of(self._call("GET", path))
        if any(str(note.get("note")).startswith(begins) for note in notes):
            return
        titles = {line.external_id: line.title for line in told.order.lines}
        goods = ", ".join(f"{each.quantity} × {titles[each.line_external_id]}" for each in confirmation.lines)
        parts = [
            f"{begins} {goods}.",
            f"{_carrier(confirmation)} {', '.join(confirmation.tracking_numbers)}".strip(),
            confirmation.tracking_url,
        ]
        # Notes are HTML.
        text = html.escape("\n".join(part for part in parts if part), quote=False)
        self._call("POST", path, body={"note": text, "customer_note": confirmation.notify})

    def _seal(self, told: _Told, confirmation: ShipmentConfirmation, replaced: ChannelShipment | None) -> None:
        """Note on the order which units have left, and move it on with the same request if they were the last."""
        note = shipment_note(
            {each.line_external_id: each.quantity for each in confirmation.lines},
            confirmation.shipped_at,
            _carrier(confirmation),
            confirmation.tracking_numbers,
            confirmation.tracking_url,
        )
        meta: list[dict[str, Any]] = [{"key": SHIPMENT + confirmation.reference, "value": note}]
        before = _entry(told.raw, SHIPMENT + replaced.external_id) if replaced else None
        if before:
            meta.append({"id": before["id"], "key": before["key"], "value": None})  # which deletes it
        body: dict[str, Any] = {"meta_data": meta}
        if _completes(told.order, confirmation.lines, replaced):
            body["status"] = "completed"
        self._call("PUT", f"orders/{told.raw['id']}", body=body)


# ---------------------------------------------------------------- what may be shipped


def _check(order: Order, confirmation: ShipmentConfirmation, replaced: ChannelShipment | None) -> None:
    """Refuse what WooCommerce would take without a word. Raises Rejected."""
    if order.status in _CLOSED:
        raise Rejected(f"Order {order.number} {_CLOSED[order.status]} in WooCommerce: nothing of it can be shipped.")
    lines = {line.external_id: line for line in order.lines}
    for each in confirmation.lines:
        line = lines.get(each.line_external_id)
        if line is None:
            raise Rejected(f"Order {order.number} has no line {each.line_external_id[:40]} in WooCommerce.")
        left = line.open_quantity + _units(replaced.lines if replaced else (), line)
        if each.quantity > left:
            raise Rejected(
                f"Of “{line.title}” only {left} can still be shipped in WooCommerce, not {each.quantity}: "
                f"{line.quantity} were ordered, {line.fulfilled} are shipped and {line.removed} refunded."
            )


def _completes(order: Order, shipped: Iterable[Any], replaced: ChannelShipment | None = None) -> bool:
    """Whether nothing of an order that is being dealt with stays open once ``shipped`` has left as well."""
    if order.status not in (OrderStatus.OPEN, OrderStatus.PENDING):
        return False
    shipped = tuple(shipped)
    return all(
        line.open_quantity + _units(replaced.lines if replaced else (), line) <= _units(shipped, line)
        for line in order.lines
    )


def _units(lines: Iterable[Any], line: OrderLine) -> int:
    return sum(each.quantity for each in lines if each.line_external_id == line.external_id)


def _carrier(confirmation: ShipmentConfirmation) -> str:
    return confirmation.carrier_name or confirmation.carrier.replace("_", " ").replace("-", " ").title()


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _entry(row: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    entries = row.get("meta_data")
    found = (entry for entry in entries if isinstance(entry, Mapping)) if isinstance(entries, list) else ()
    return next((entry for entry in found if entry.get("key") == key), None)


def _value(row: Mapping[str, Any], key: str) -> Any:
    return (_entry(row, key) or {}).get("value")
