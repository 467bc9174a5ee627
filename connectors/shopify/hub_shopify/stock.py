"""A shop's stock: what it says, writing it with compare-and-set, and beginning to keep it at a location."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hub.connector import EffectResult, PushOutcome, PushState, StockPush, StockRef
from hub.core.shipping import StockListing
from hub.errors import NotFound, RateLimited, Rejected, Unavailable
from hub_shopify import documents
from hub_shopify.admin_api import AdminApi, gid
from hub_shopify.translation import INVENTORY_ITEM, available

_T = TypeVar("_T")

MOST_ATTEMPTS = 3  # with keys of their own


class Stock:
    """The stock of the shop that ``api`` talks to."""

    def __init__(self, api: AdminApi, shop: str) -> None:
        self._api = api
        self._shop = shop

    # --- reading

    def read(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        """What is available, in the order of ``refs``; None where it is not tracked, or where nobody can buy it."""
        found: dict[tuple[str, str], int | None] = {}
        by_location: dict[str, list[str]] = {}
        for item, location in dict.fromkeys(pair for ref in refs if (pair := _pair(ref))):
            by_location.setdefault(location, []).append(item)
        for location, items in by_location.items():
            for ids in _chunks(sorted(items), documents.STOCK_BATCH):
                found_there = self._api.ask(documents.STOCK, ids=ids, location=location)["nodes"]
                for item, node in zip(ids, found_there, strict=True):
                    level = node and node["tracked"] and node["inventoryLevel"]
                    found[item, location] = available(level["quantities"]) if level else None
        return [found.get(pair) if (pair := _pair(ref)) else None for ref in refs]

    # --- beginning to keep it

    def begin(self, listing: StockListing, key: str) -> EffectResult:
        """Keep stock of a listing at a location from now on, at zero; harmless where it is kept already."""
        pair = _pair(StockRef(listing.listing_external_id, listing.location_external_id, listing.handles))
        if pair is None:
            raise Rejected(_NO_PLACE.message)
        if self._kept(*pair):
            return EffectResult(details={"activated": False})
        for attempt in range(1, MOST_ATTEMPTS + 1):
            refusal = self._activate(*pair, self._key(key, attempt))
            if refusal is None:
                return EffectResult(details={"activated": True})
            # What counts is whether stock is kept there now, whoever saw to it.
            if self._kept(*pair):
                return EffectResult(details={"activated": False})
            if refusal.code in _SAME_KEY_AGAIN:
                break
            if refusal.code not in _OTHER_KEY:
                raise refusal
        raise Unavailable("Shopify is still busy with an earlier request of this kind. It will be tried again.")

    def _activate(self, item: str, location: str, key: str) -> Rejected | None:
        """Try to begin it; what Shopify says against it."""
        try:
            answer = self._api.ask(documents.ACTIVATE_STOCK, item=item, location=location, key=key)["inventoryActivate"]
        except Rejected as error:
            return error
        if answer is None:
            raise Unavailable("Shopify did not say whether it keeps stock there now. It will be asked again.")
        if not answer["userErrors"]:
            return None
        # These errors have no codes: what they say of the key is all there is to tell them by.
        words = answer["userErrors"][0]["message"]
        code = next((code for said, code in _SAID_OF_KEYS.items() if said in words), "")
        return Rejected(
            f"Shopify does not keep stock of this variant at that location: {words} Tick the location on the variant's "
            "page in Shopify, under Inventory.",
            code,
        )

    def _kept(self, item: str, location: str) -> bool:
        """Whether stock is kept there. Raises Rejected where it cannot be."""
        node = self._api.ask(documents.STOCK_KEPT, item=item, location=location)["inventoryItem"]
        if node is None:
            raise NotFound(_REFUSALS["INVALID_INVENTORY_ITEM"][1])
        if not node["tracked"]:
            raise Rejected(
                "Shopify does not track the stock of this variant. Turn on “Track quantity” on its page in Shopify, "
                "then try again."
            )
        return bool(node["inventoryLevel"])

    # --- writing

    def push(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Write absolute quantities where the shop still says what was expected; one outcome per push."""
        placed = {index: pair for index, push in enumerate(pushes) if (pair := _pair(push.ref))}
        outcomes = {index: _NO_PLACE for index in range(len(pushes)) if index not in placed}
        unsent = len(outcomes)
        try:
            for indexes in _calls(placed):
                self._write({index: pushes[index] for index in indexes}, outcomes)
        except (RateLimited, Unavailable) as error:
            if len(outcomes) == unsent:
                raise
            # What has been written stays written: only the rest is tried again.
            rest = PushOutcome(PushState.RETRY, message=str(error))
            return [outcomes.get(index, rest) for index in range(len(pushes))]
        return [outcomes[index] for index in range(len(pushes))]

    def _write(self, batch: Mapping[int, StockPush], outcomes: dict[int, PushOutcome], attempt: int = 1) -> None:
        """Write a batch and note what became of each push. Shopify writes all of a call or nothing.

        So what it refuses is taken out and the others are sent again; where it does not say which it refused, halves
        are tried. Each call has the key that belongs to what is in it.
        """
        if not batch:
            return
        errors = self._set_quantities(list(batch.values()), attempt)
        if not errors:
            outcomes |= {index: PushOutcome(PushState.WRITTEN, push.quantity) for index, push in batch.items()}
            return
        codes = {error["code"] for error in errors}
        if codes & _SAME_KEY_AGAIN:
            outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        if codes & _OTHER_KEY:
            if attempt < MOST_ATTEMPTS:
                self._write(batch, outcomes, attempt + 1)
            else:
                outcomes |= dict.fromkeys(batch, PushOutcome(PushState.RETRY, message=errors[0]["message"]))
            return
        about_all = [error for error in errors if len(batch) == 1 or error["code"] in _ABOUT_THE_CALL]
        if about_all:
            outcomes |= dict.fromkeys(batch, _refusal(about_all[0]))
            return
        indexes = list(batch)
        refused = {
            indexes[position]: _refusal(error)
            for error in errors
            if (position := _position(error["field"])) is not None and position < len(indexes)
        }
        outcomes |= refused
        rest = {index: push for index, push in batch.items() if index not in refused}
        if refused:
            self._write(rest, outcomes)
        else:
            for half in _chunks(list(rest.items()), (len(rest) + 1) // 2):
                self._write(dict(half), outcomes)

    def _set_quantities(self, pushes: Sequence[StockPush], attempt: int) -> Sequence[Mapping[str, Any]]:
        quantities = []
        for push in pushes:
            item, location = _pair(push.ref) or ("", "")
            quantities.append(
                {
                    "inventoryItemId": item,
                    "locationId": location,
                    "quantity": push.quantity,
                    # Null writes without a comparison; leaving it out is an error.
                    "changeFromQuantity": push.expected,
                }
            )
        # The same writes in the same order are the same key, anything else is another.
        key = self._key([push.key for push in pushes], quantities, attempt)
        call = {
            "name": "available",
            "reason": "correction",
            "referenceDocumentUri": f"gid://tallyhub/StockPush/{key}",
            "quantities": quantities,
        }
        answer = self._api.ask(documents.SET_STOCK, input=call, key=key)["inventorySetQuantities"]
        if answer is None:
            raise Unavailable("Shopify did not say what became of the stock that was sent. It will be tried again.")
        errors: Sequence[Mapping[str, Any]] = answer["userErrors"]
        return errors

    def _key(self, *what: Any) -> str:
        """Shopify wants keys that look random: one for this shop and whatever is done."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._shop} {json.dumps(what)}"))


# ---------------------------------------------------------------- what became of it

_SAME_KEY_AGAIN = frozenset({"IDEMPOTENCY_CONCURRENT_REQUEST"})
_OTHER_KEY = frozenset({"IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"})
_SAID_OF_KEYS = {
    "currently in progress": "IDEMPOTENCY_CONCURRENT_REQUEST",
    "idempotency key failed": "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED",
    "idempotency key cannot be used": "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
}
_ABOUT_THE_CALL = frozenset({"INVALID_NAME", "INVALID_REASON", "INVALID_REFERENCE_DOCUMENT"})
_REFUSALS = {
    "CHANGE_FROM_QUANTITY_STALE": (PushState.STALE, "Shopify's quantity has changed meanwhile."),
    "INVALID_INVENTORY_ITEM": (PushState.GONE, "Shopify does not have this variant any more."),
    # Until 2026-07. From then on it is written where nobody can buy it: reading it says None.
    "ITEM_NOT_STOCKED_AT_LOCATION": (
        PushState.REJECTED,
        "Shopify does not stock this variant at this location. Tick the location on the variant's page in Shopify, "
        "under Inventory, or publish to another location.",
    ),
    "INVALID_LOCATION": (
        PushState.REJECTED,
        "Shopify does not have this location, or it is deactivated. Choose another location for this connection.",
    ),
    "NON_MUTABLE_INVENTORY_ITEM": (
        PushState.REJECTED,
        "Shopify keeps the stock of this variant itself, as it does for bundles. Publish the stock of its parts.",
    ),
}


_NO_PLACE = PushOutcome(
    PushState.REJECTED,
    message="It is not known where Shopify keeps the stock of this variant. Import the listings again, and choose one "
    "of the shop's locations.",
)


def _refusal(error: Mapping[str, Any]) -> PushOutcome:
    state, message = _REFUSALS.get(
        error["code"], (PushState.REJECTED, f"Shopify refused this quantity: {error['message']}")
    )
    return PushOutcome(state, message=message)


def _position(path: Sequence[str] | None) -> int | None:
    """The number of the quantity that an error is about, from a path such as input.quantities.0.changeFromQuantity."""
    names = [str(name) for name in path or ()]
    if "quantities" not in names[:-1]:
        return None
    number = names[names.index("quantities") + 1]
    return int(number) if number.isascii() and number.isdigit() else None


def _pair(ref: StockRef) -> tuple[str, str] | None:
    """The inventory item and the location of a listing, None where one of them is missing."""
    try:
        return gid("InventoryItem", ref.handles.get(INVENTORY_ITEM, "")), gid("Location", ref.location_external_id)
    except NotFound:
        return None


def _calls(placed: Mapping[int, tuple[str, str]]) -> Iterable[Collection[int]]:
    """What goes into one call each: no more than Shopify takes, and no item twice at one location."""
    calls: list[dict[tuple[str, str], int]] = []
    for index, pair in placed.items():
        fitting = (call for call in calls if pair not in call and len(call) < documents.STOCK_BATCH)
        call = next(fitting, None)
        if call is None:
            calls.append(call := {})
        call[pair] = index
    return [call.values() for call in calls]


def _chunks(things: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
