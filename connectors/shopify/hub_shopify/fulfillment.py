"""Telling a shop what was shipped, and how it deals an order out to its locations.

Shopify gives each part of an order to a location, as a fulfillment order. Their ids change whenever the order is dealt
out anew, so they are looked up for every call. None of these calls has a key by which Shopify would know it again: what
stands there is read first, and only what differs is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from hub.connector import EffectResult
from hub.core.model import HoldReason, LineQuantity
from hub.core.shipping import (
    ConfirmedLine,
    ShipmentConfirmation,
    WorkAnswer,
    WorkHold,
    WorkMove,
    WorkQuestion,
    WorkRelease,
    WorkSplit,
)
from hub.errors import NotFound, Rejected, Unavailable
from hub_shopify import documents
from hub_shopify.admin_api import DELETED, AdminApi, gid
from hub_shopify.authorization import ADD_SCOPES
from hub_shopify.carriers import company
from hub_shopify.documents import Document

ACTIVE = frozenset({"OPEN", "IN_PROGRESS", "SCHEDULED", "ON_HOLD", "INCOMPLETE"})
SHIPPABLE = frozenset({"OPEN", "IN_PROGRESS"})
NOT_SHIPPED = frozenset({"CANCELLED", "ERROR", "FAILURE"})
# Shopify's clock and that of whoever said when the goods left are not the same.
CLOCKS = timedelta(minutes=10)
_TIMES_DEALT_OUT = 3  # the order may be dealt out anew between reading it and shipping from it

_REASONS = {
    HoldReason.PAYMENT: "AWAITING_PAYMENT",
    HoldReason.FRAUD: "HIGH_RISK_OF_FRAUD",
    HoldReason.ADDRESS: "INCORRECT_ADDRESS",
    HoldReason.BACKORDER: "INVENTORY_OUT_OF_STOCK",
    HoldReason.CANCELLATION: "OTHER",
    HoldReason.MANUAL: "OTHER",
}

# ---------------------------------------------------------------- what stands there


@dataclass(frozen=True, slots=True)
class _Line:
    """Units of the order's line ``line`` that belong to a part; ``remaining`` are still to be shipped."""

    id: str
    line: str
    name: str
    remaining: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A fulfillment order."""

    id: str
    status: str
    request: str
    location: str
    place: str
    holds: tuple[Mapping[str, Any], ...]
    lines: tuple[_Line, ...]

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def open(self) -> Counter[str]:
        """What is still to be shipped, by the order's lines."""
        units: Counter[str] = Counter()
        if self.active:
            for each in self.lines:
                units[each.line] += each.remaining
        return +units


@dataclass(frozen=True, slots=True)
class _Dealt:
    """All parts of an order, oldest first."""

    cancelled: bool
    parts: tuple[_Part, ...]

    def part(self, external_id: str) -> _Part | None:
        return next((part for part in self.parts if _number(part.id) == external_id), None)

    def name(self, line: str) -> str:
        """What people call a line of the order."""
        every = (each for part in self.parts for each in part.lines)
        return next((f"“{each.name}”" for each in every if each.line == line), f"line {line}")


@dataclass(frozen=True, slots=True)
class _Shipment:
    """A fulfillment that was not canceled."""

    id: str
    order: str
    at: datetime
    tracking: tuple[Mapping[str, str | None], ...]
    units: Counter[str]

    @property
    def numbers(self) -> list[str]:
        return sorted(each["number"] for each in self.tracking if each["number"])


@dataclass(frozen=True, slots=True)
class _Call:
    """What goes out in one call: lines of parts that are all at one location."""

    location: str
    units: tuple[tuple[_Part, _Line, int], ...]

    @property
    def of_lines(self) -> Counter[str]:
        shipped: Counter[str] = Counter()
        for _, each, quantity in self.units:
            shipped[each.line] += quantity
        return shipped


class Fulfillment:
    """Shipping from the shop that ``api`` talks to."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    # --- shipments

    def confirm(self, confirmation: ShipmentConfirmation) -> EffectResult:
        """Ship exactly the lines of ``confirmation``, in as many calls as there are locations they come from.

        What an earlier attempt has done stays, and only what is missing is done. A label that was replaced shows by its
        new tracking alone: the shipment gets it where the lines are the same, and is canceled and made anew otherwise.
        """
        order, wanted = gid("Order", confirmation.order_external_id), _units(confirmation.lines)
        tracking = _tracking(confirmation)
        earlier = list(self._superseded(order, confirmation))
        if earlier and sum((each.units for each in earlier), Counter()) == wanted:
            for each in earlier:
                if not _shows(each, tracking):
                    call = {"id": each.id, "tracking": tracking, "notify": confirmation.notify}
                    self._do(documents.CHANGE_TRACKING, "fulfillmentTrackingInfoUpdate", "change the tracking", **call)
            return _shipped([each.id for each in earlier])
        for each in earlier:
            self._cancel(each)
        made, missing = self._already(order, confirmation)
        while missing:
            id, units = self._ship_some(order, confirmation, missing, tracking)
            made.append(id)
            missing -= units
        return _shipped(made)

    def find(self, confirmation: ShipmentConfirmation) -> EffectResult | None:
        """The shipments of ``confirmation``, once they are all there; None while one is missing."""
        order = gid("Order", confirmation.order_external_id)
        try:
            made, missing = self._already(order, confirmation)
            replaced = [each for each in self._superseded(order, confirmation) if each.id not in made]
        except NotFound:
            return None
        return None if missing or replaced else _shipped(made)

    def _already(self, order: str, confirmation: ShipmentConfirmation) -> tuple[list[str], Counter[str]]:
        """The shipments that are this confirmation's own, and the units they lack.

        Shopify keeps no reference of ours. One with the same tracking numbers and no other lines is the same parcel;
        without a number it also has to be made after the goods left.
        """
        numbers = sorted(_numbers(confirmation))
        candidates = []
        for each in self._shipments(order):
            shown = [parcel["number"] for parcel in each["trackingInfo"] if parcel["number"]]
            alike = shown[0] in numbers if shown else not numbers
            if alike and (shipment := self._shipment(each["id"])):
                candidates.append(shipment)
        missing, made = _units(confirmation.lines), []
        for shipment in sorted(candidates, key=lambda each: each.units != missing):
            in_time = bool(numbers) or shipment.at >= confirmation.shipped_at - CLOCKS
            if shipment.numbers == numbers and in_time and shipment.units <= missing and shipment.units:
                made.append(shipment.id)
                missing = missing - shipment.units
        return made, missing

    def _shipments(self, order: str) -> Sequence[Mapping[str, Any]]:
        """The id of every shipment of an order, with its first tracking number. Raises NotFound."""
        shipments: Sequence[Mapping[str, Any]] = ()
        # They do not come page by page, and asking for many at once takes much of the budget.
        for document in (documents.SHIPMENTS, documents.ALL_SHIPMENTS):
            found = self._api.ask(document, id=order)["order"]
            if found is None:
                raise NotFound(DELETED)
            shipments = found["fulfillments"]
            if len(shipments) < documents.SHIPPED:
                break
        return shipments

    def _superseded(self, order: str, confirmation: ShipmentConfirmation) -> Iterator[_Shipment]:
        """The shipments whose place this confirmation takes, as far as they still stand."""
        for external_id in filter(None, confirmation.supersedes.split(",")):
            shipment = self._shipment(gid("Fulfillment", external_id))
            if shipment and shipment.order == order:
                yield shipment

    def _shipment(self, id: str) -> _Shipment | None:
        """A shipment, None where it was canceled or deleted."""
        node = self._api.ask(documents.SHIPMENT, id=id)["node"]
        if not node or node["status"] in NOT_SHIPPED:
            return None
        lines = node["fulfillmentLineItems"]
        self._api.complete(documents.SHIPMENT, ("node", "fulfillmentLineItems"), lines, id)
        units: Counter[str] = Counter()
        for each in lines["nodes"]:
            units[_number(each["lineItem"]["id"])] += each["quantity"]
        at = datetime.fromisoformat(node["createdAt"])
        return _Shipment(id, node["order"]["id"], at, tuple(node["trackingInfo"]), units)

    def _cancel(self, shipment: _Shipment) -> None:
        answer = self._api.ask(documents.CANCEL_SHIPMENT, id=shipment.id)["fulfillmentCancel"]
        if (answer is None or answer["userErrors"]) and self._shipment(shipment.id):
            raise _refused(answer, "cancel the shipment whose label was replaced")

    def _ship_some(
        self, order: str, confirmation: ShipmentConfirmation, missing: Counter[str], tracking: Mapping[str, Any]
    ) -> tuple[str, Counter[str]]:
        """Make one shipment of what is missing; its id and units. All of it has to be open, or none is shipped."""
        before, answer = None, None
        for _ in range(_TIMES_DEALT_OUT):
            call = _next_call(self._dealt(order), missing, confirmation.location_external_id)
            if call == before:
                break
            shipment = {"lineItemsByFulfillmentOrder": _by_part(call), "notifyCustomer": confirmation.notify}
            answer = self._api.ask(documents.SHIP, shipment={**shipment, "trackingInfo": tracking})["fulfillmentCreate"]
            if answer and answer["fulfillment"] and not answer["userErrors"]:
                return answer["fulfillment"]["id"], call.of_lines
            if answer is None or not answer["userErrors"]:
                break
            before = call
        raise _refused(answer, "take this shipment")

    # --- parts of an order

    def hold(self, hold: WorkHold) -> EffectResult:
        """Hold a part back; our reference is the hold's handle, by which it is known again."""
        order = gid("Order", hold.order_external_id)
        dealt = self._dealt(order)
        if found := _held(dealt, hold.reference):
            return found
        part = _part(dealt, hold.work_external_id)
        units = _lines_of(dealt, part, _units(hold.lines))
        asked = {
            "reason": _REASONS[hold.reason],
            "reasonNotes": hold.note,
            "handle": hold.reference,
            "externalId": hold.reference,
            "notifyMerchant": False,
        }
        if not _whole(part, units):
            asked["fulfillmentOrderLineItems"] = units
        answer = self._api.ask(documents.HOLD, id=part.id, hold=asked)["fulfillmentOrderHold"]
        if answer and answer["fulfillmentHold"] and not answer["userErrors"]:
            return _hold_result(answer["fulfillmentHold"]["id"], part)
        if found := _held(self._dealt(order), hold.reference):
            return found
        raise _refused(answer, "hold this part of the order back")

    def release(self, release: WorkRelease) -> EffectResult:
        """Take holds of ours off. Shopify is always told which: told nothing, it would take off everybody's."""
        dealt = self._dealt(gid("Order", release.order_external_id))
        named = set(release.hold_external_ids)
        released = []
        for part in dealt.parts:
            if named:
                holds = [each for each in part.holds if _number(each["id"]) in named]
            else:
                ours = _number(part.id) == release.work_external_id
                holds = [each for each in part.holds if ours and each["heldByRequestingApp"]]
            if foreign := [each for each in holds if not each["heldByRequestingApp"]]:
                raise Rejected(f"The hold “{_said(foreign[0])}” was not put there by Tallyhub. Release it in Shopify.")
            if holds:
                ids = [each["id"] for each in holds]
                call = {"id": part.id, "holds": ids}
                self._do(documents.RELEASE_HOLDS, "fulfillmentOrderReleaseHold", "release the hold", **call)
                released += [_number(id) for id in ids]
        return EffectResult(release.work_external_id, {"released": released})

    def move(self, move: WorkMove) -> EffectResult:
        """Have a location ship a part, or so many units of lines: what it is to ship of them already counts."""
        order, location = gid("Order", move.order_external_id), gid("Location", move.location_external_id)
        dealt = self._dealt(order)
        wanted = _units(move.lines)
        there = [part for part in dealt.parts if part.location == move.location_external_id and part.open]
        missing = wanted - sum((part.open for part in there), Counter[str]())
        if found := _part_there(there, wanted, missing, dealt.part(move.work_external_id)):
            return EffectResult(_number(found.id), {"moved": False})
        part = _part(dealt, move.work_external_id)
        units = _lines_of(dealt, part, missing)
        call = {"id": part.id, "location": location, "lines": None if _whole(part, units) else units}
        answer = self._do(documents.MOVE, "fulfillmentOrderMove", "move this part of the order there", **call)
        return EffectResult(_number(answer["movedFulfillmentOrder"]["id"]), {"moved": True})

    def split(self, split: WorkSplit) -> EffectResult:
        """Make lines a part of their own. Where a part of the order is just that, it is the one."""
        order, wanted = gid("Order", split.order_external_id), _units(split.lines)
        dealt = self._dealt(order)
        if found := _alone(dealt, wanted):
            return EffectResult(_number(found.id), {"split": False})
        part = _part(dealt, split.work_external_id)
        asked = {"fulfillmentOrderId": part.id, "fulfillmentOrderLineItems": _lines_of(dealt, part, wanted)}
        self._do(documents.SPLIT, "fulfillmentOrderSplit", "split this part of the order", splits=[asked])
        # Which of the two keeps the id is not to be relied on.
        if found := _alone(self._dealt(order), wanted):
            return EffectResult(_number(found.id), {"split": True})
        raise Unavailable("Shopify has split the order, but does not show it yet. It will be looked at again.")

    def answer(self, answer: WorkAnswer) -> EffectResult:
        """Accept or reject what the merchant asks of the location."""
        dealt = self._dealt(gid("Order", answer.order_external_id))
        part = dealt.part(answer.work_external_id)
        if part is None:
            raise _gone()
        asked, answers = _QUESTIONS[answer.question]
        document, mutation, wish, status = answers[answer.accepted]
        if part.request == status:
            return EffectResult(answer.work_external_id, {"answered": False})
        if part.request != asked:
            said = part.request.replace("_", " ").lower()
            raise Rejected(
                f"Shopify does not wait for this answer: the request is {said}. Look at the order in Shopify."
            )
        self._do(document, mutation, wish, id=part.id, message=answer.message or None)
        return EffectResult(answer.work_external_id, {"answered": True})

    # --- asking

    def _dealt(self, order: str) -> _Dealt:
        """How the order is dealt out now. Raises NotFound."""
        nodes: list[dict[str, Any]] = []
        after = None
        while True:
            found = self._api.ask(documents.DEALT_OUT, id=order, after=after)["order"]
            if found is None:
                raise NotFound(DELETED)
            page = found["fulfillmentOrders"]
            nodes += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]
        for node in nodes:
            self._api.complete(documents.DEALT_OUT_LINES, ("node", "lineItems"), node["lineItems"], node["id"])
        return _Dealt(found["cancelledAt"] is not None, tuple(_read_part(node) for node in nodes))

    def _do(self, document: Document, mutation: str, wish: str, **variables: Any) -> Mapping[str, Any]:
        """Carry out a mutation; its payload. Raises Rejected with Shopify's words."""
        answer: Mapping[str, Any] | None = self._api.ask(document, **variables)[mutation]
        if answer is None or answer["userErrors"]:
            raise _refused(answer, wish)
        return answer


# ---------------------------------------------------------------- what is asked for


def _numbers(confirmation: ShipmentConfirmation) -> list[str]:
    return list(dict.fromkeys(number for each in confirmation.tracking_numbers if (number := each.strip())))


def _tracking(confirmation: ShipmentConfirmation) -> Mapping[str, Any]:
    """The tracking as Shopify takes it: a link for every number, where one can be told."""
    numbers, url = _numbers(confirmation), confirmation.tracking_url.strip()
    tracking: dict[str, Any] = {}
    if name := company(confirmation.carrier, confirmation.carrier_name):
        tracking["company"] = name
    if numbers:
        tracking["numbers"] = numbers
        # Shopify refuses the whole shipment for a link that is none.
        parts = urlsplit(url)
        if parts.scheme in ("https", "http") and parts.netloc:
            tracking["urls"] = [url.replace(numbers[0], number) for number in numbers]
    return tracking


def _shows(shipment: _Shipment, tracking: Mapping[str, Any]) -> bool:
    """Whether a shipment shows just this tracking. Shopify makes links itself: only ours are compared."""
    numbers, urls = tracking.get("numbers", []), tracking.get("urls", [])
    shown = [each for each in shipment.tracking if each["number"]]
    if [each["number"] for each in shown] != numbers:
        return False
    return not numbers or (
        all(each["company"] == tracking.get("company") for each in shown)
        and (not urls or [each["url"] for each in shown] == urls)
    )


def _units(lines: Sequence[ConfirmedLine | LineQuantity]) -> Counter[str]:
    units: Counter[str] = Counter()
    for each in lines:
        units[each.line_external_id] += each.quantity
    return +units


def _next_call(dealt: _Dealt, missing: Counter[str], preferred: str) -> _Call:
    """What to ship first: as much as one location has and one call takes. Raises Rejected if not all of it is open.

    The location that the goods are said to have left comes first, then whichever has most of them.
    """
    shippable = [part for part in dealt.parts if part.status in SHIPPABLE]
    open = sum((part.open for part in shippable), Counter[str]())
    for line, quantity in missing.items():
        if open[line] < quantity:
            raise _not_open(dealt, line, quantity, open[line])

    def suits(part: _Part) -> tuple[bool, int]:
        there = sum((other.open for other in shippable if other.location == part.location), Counter[str]())
        return part.location != preferred, -(there & missing).total()

    location = min((part for part in shippable if part.open & missing), key=suits).location
    left, units = Counter(missing), []
    for part in shippable:
        for each in part.lines if part.location == location else ():
            if quantity := min(left[each.line], each.remaining):
                units.append((part, each, quantity))
                left[each.line] -= quantity
    return _Call(location, tuple(units[: documents.SHIPMENT_CALL]))


def _not_open(dealt: _Dealt, line: str, wanted: int, open: int) -> Rejected:
    """Why so many units of a line cannot be shipped, and what to do about it."""
    name = dealt.name(line)
    if dealt.cancelled:
        return Rejected(
            "This order is canceled in Shopify: nothing of it can be marked as shipped. Stop the parcel if you still "
            "can, or make a new order in Shopify for what the customer gets."
        )
    if not dealt.parts:
        return Rejected(
            "Shopify does not show what is to be shipped of this order. The app may lack the access scopes for "
            f"fulfillment orders. {ADD_SCOPES}"
        )
    having = [part for part in dealt.parts if part.open[line]]
    for part in having:
        if part.status == "ON_HOLD":
            held = "; ".join(_said(each) for each in part.holds)
            return Rejected(f"Shopify holds {name} back ({held}). Release the hold there or here, then try again.")
        if part.status == "SCHEDULED":
            return Rejected(f"Shopify has scheduled {name} for a later day. Mark it as open there, then try again.")
        if part.status == "INCOMPLETE":
            return Rejected(
                f"{part.place} has told Shopify that it cannot ship {name}. Give it to another location there, then "
                "try again."
            )
    return Rejected(
        f"{wanted} of {name} were shipped, but Shopify has only {open} left to ship. Look there: they may "
        "have been marked as shipped or taken off the order in Shopify."
    )


def _by_part(call: _Call) -> list[dict[str, Any]]:
    """The lines of each part, always named: a part without lines would ship all that is left of it."""
    by_part: dict[str, list[dict[str, Any]]] = {}
    for part, each, quantity in call.units:
        by_part.setdefault(part.id, []).append({"id": each.id, "quantity": quantity})
    return [{"fulfillmentOrderId": id, "fulfillmentOrderLineItems": lines} for id, lines in by_part.items()]


def _lines_of(dealt: _Dealt, part: _Part, wanted: Counter[str]) -> list[dict[str, Any]]:
    """Lines of a part by Shopify's ids of them, all that is open where none is named. Raises Rejected."""
    units = []
    for line, quantity in (wanted or part.open).items():
        if part.open[line] < quantity:
            raise Rejected(
                f"This part of the order has {part.open[line]} of {dealt.name(line)} left to ship, not {quantity}. "
                "Import the order again, and choose anew."
            )
        for each in part.lines:
            if each.line == line and (some := min(quantity, each.remaining)):
                units.append({"id": each.id, "quantity": some})
                quantity -= some
    return units


def _whole(part: _Part, units: Sequence[Mapping[str, Any]]) -> bool:
    units_named: int = sum(each["quantity"] for each in units)
    return units_named == part.open.total()


# ---------------------------------------------------------------- what is found


def _read_part(node: Mapping[str, Any]) -> _Part:
    assigned = node["assignedLocation"]
    return _Part(
        id=node["id"],
        status=node["status"],
        request=node["requestStatus"],
        location=assigned["location"]["legacyResourceId"] if assigned["location"] else "",
        place=assigned["name"],
        holds=tuple(node["fulfillmentHolds"]),
        lines=tuple(
            _Line(each["id"], _number(each["lineItem"]["id"]), each["lineItem"]["name"], each["remainingQuantity"])
            for each in node["lineItems"]["nodes"]
        ),
    )


def _part(dealt: _Dealt, external_id: str) -> _Part:
    """The part with this id, with something left to ship. Raises Rejected."""
    part = dealt.part(external_id)
    if part is None:
        raise _gone()
    if not part.open:
        raise Rejected(
            "Nothing is left to ship of this part of the order: it was shipped, canceled or dealt out anew. Import the "
            "order again, and choose anew."
        )
    return part


def _gone() -> Rejected:
    return NotFound(
        "Shopify does not have this part of the order any more: it has dealt the order out anew. Import the order "
        "again, and choose anew."
    )


def _held(dealt: _Dealt, reference: str) -> EffectResult | None:
    for part in dealt.parts:
        for hold in part.holds:
            if hold["heldByRequestingApp"] and hold["handle"] == reference:
                return _hold_result(hold["id"], part)
    return None


def _hold_result(hold: str, part: _Part) -> EffectResult:
    return EffectResult(_number(hold), {"work_external_id": _number(part.id)})


def _part_there(
    there: Sequence[_Part], wanted: Counter[str], missing: Counter[str], part: _Part | None
) -> _Part | None:
    """The part at the location that already ships what was to be moved there."""
    if wanted:
        return None if missing else next(each for each in there if each.open & wanted)
    if part is None or part in there:
        return part
    # With nothing left it may have gone into another part on the way: what it lists, if anything, is there.
    lines = {each.line for each in part.lines}
    return next((each for each in there if not part.open and (not lines or lines & each.open.keys())), None)


def _alone(dealt: _Dealt, wanted: Counter[str]) -> _Part | None:
    """The part that is just ``wanted``."""
    return next((part for part in dealt.parts if part.open == wanted), None)


def _said(hold: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (hold["displayReason"], hold["reasonNotes"])))


def _shipped(ids: Sequence[str]) -> EffectResult:
    numbers = [_number(id) for id in ids]
    return EffectResult(",".join(numbers), {"shipments": numbers})


def _number(id: str) -> str:
    return id.rpartition("/")[2]


# ---------------------------------------------------------------- refusals

_QUESTIONS = {
    WorkQuestion.FULFILLMENT: (
        "SUBMITTED",
        {
            True: (
                documents.ACCEPT_WORK,
                "fulfillmentOrderAcceptFulfillmentRequest",
                "take the request as accepted",
                "ACCEPTED",
            ),
            False: (
                documents.REJECT_WORK,
                "fulfillmentOrderRejectFulfillmentRequest",
                "take the request as rejected",
                "REJECTED",
            ),
        },
    ),
    WorkQuestion.CANCELLATION: (
        "CANCELLATION_REQUESTED",
        {
            True: (
                documents.ACCEPT_CANCELLATION,
                "fulfillmentOrderAcceptCancellationRequest",
                "take the cancellation as accepted",
                "CANCELLATION_ACCEPTED",
            ),
            False: (
                documents.REJECT_CANCELLATION,
                "fulfillmentOrderRejectCancellationRequest",
                "take the cancellation as rejected",
                "CANCELLATION_REJECTED",
            ),
        },
    ),
}

# What to do about a refusal, by its code.
_NEXT_STEPS = {
    "FULFILLMENT_ORDER_NOT_FOUND": "Shopify has dealt the order out anew: import it again, and choose anew.",
    "FULFILLMENT_ORDER_NOT_SPLITTABLE": (
        "A part that is held already can only be held whole. Release it first, or hold all of it."
    ),
    "FULFILLMENT_ORDER_HOLD_LIMIT_REACHED": "Release one of the ten holds that Tallyhub has put there.",
    "INVALID_ACCESS": "Release the hold in Shopify.",
    "CANNOT_MOVE_FULFILLMENT_ORDER_WITH_REPORTED_PROGRESS": (
        "Somebody has begun to pack it: mark it as open in Shopify, then move it."
    ),
}


def _refused(answer: Mapping[str, Any] | None, wish: str) -> Rejected | Unavailable:
    """The error that an answer amounts to, with Shopify's words and what to do next."""
    if answer is None or not answer["userErrors"]:
        return Unavailable(f"Shopify did not say whether it could {wish}. It will be looked at again.")
    error = answer["userErrors"][0]
    code, words = error.get("code") or "", error["message"].rstrip(".")
    step = _NEXT_STEPS.get(code, "Look at the order in Shopify, then try again or cancel this message.")
    return Rejected(f"Shopify does not {wish}: {words}. {step}", code=code)
