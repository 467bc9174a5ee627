"""The simulated shop's stock: writing it, beginning to keep it at a location, and keys by which a write is known again.

Shopify writes the whole of a call or nothing, once for each key. What it writes at a location where a variant is not
active is kept there, and nobody can buy it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from graphql import GraphQLError, get_directive_values

from hub_shopify.simulator_graphql import MOST_AT_ONCE, SCHEMA, Api, Info, legacy, too_many, user_errors
from hub_shopify.simulator_model import Level, gid

if TYPE_CHECKING:
    from hub_shopify.simulator import ShopifySimulator

KEY_KEPT = timedelta(hours=24)
MOST_UNITS = 1_000_000_000
_MISMATCH = "The same idempotency key cannot be used with different operation parameters."
# The codes of inventorySetQuantities as inventoryActivate words them: its errors have no codes.
KEY_WORDS = {
    "IDEMPOTENCY_CONCURRENT_REQUEST": "This request is currently in progress, please try again.",
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH": _MISMATCH,
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED": (
        "A previous request with this idempotency key failed. Retry with a new idempotency key."
    ),
}


class StockApi(Api):
    """The mutations about stock."""

    def __init__(self, shop: ShopifySimulator) -> None:
        super().__init__(shop)
        self._keys: dict[str, tuple[str, dict[str, Any], datetime]] = {}

    def inventorySetQuantities(self, info: Info, input: dict[str, Any]) -> dict[str, Any]:
        self._need("write_inventory")
        key = key_of(info)
        if len(input["quantities"]) > MOST_AT_ONCE:
            raise too_many("quantities", len(input["quantities"]))
        if any("changeFromQuantity" not in asked for asked in input["quantities"]):
            raise GraphQLError("changeFromQuantity is required: pass null to write without a comparison.")
        if code := self._key_refused(key, input):
            return user_errors([(code, None, KEY_WORDS.get(code, "Refused by the simulation."))])
        return self._once(key, input, lambda: self._set(input))

    def inventoryActivate(
        self, info: Info, inventoryItemId: str, locationId: str, available: int | None = None
    ) -> dict[str, Any]:
        self._need("write_inventory")
        key, said = key_of(info), [inventoryItemId, locationId, available]
        if code := self._key_refused(key, said):
            return {"userErrors": [{"field": None, "message": KEY_WORDS[code]}]}
        return self._once(key, said, lambda: self._activate(inventoryItemId, locationId, available))

    # --- keys

    def _key_refused(self, key: str, said: Any) -> str:
        """Why a key is not taken, "" if it is."""
        now = self._shop.now()
        self._keys = {each: kept for each, kept in self._keys.items() if kept[2] + KEY_KEPT > now}
        if key in self._keys:
            before, _, _ = self._keys[key]
            return "" if before == json.dumps(said, sort_keys=True) else "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"
        return self._shop._refusals.popleft() if self._shop._refusals else ""

    def _once(self, key: str, said: Any, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in self._keys:
            self._keys[key] = json.dumps(said, sort_keys=True), do(), self._shop.now()
        return self._keys[key][1]

    # --- beginning to keep stock

    def _activate(self, item: str, location: str, available: int | None) -> dict[str, Any]:
        shop = self._shop
        variant, place = shop._by_item.get(legacy(item, "InventoryItem")), legacy(location, "Location")
        if variant is None:
            return _wrong("inventoryItemId", "The product couldn't be stocked because it wasn't found.")
        if place not in shop.locations:
            return _wrong("locationId", "The product couldn't be stocked because the location wasn't found.")
        level = variant.levels.get(place, Level(0, active=False))
        if level.active and available is not None:
            return _wrong(
                "available", "Not allowed to set available quantity when the item is already active at the location."
            )
        variant.levels[place] = level
        if not level.active:
            level.active = True
            level.available = level.available if available is None else available
            _, body = shop._level_news(variant, place)
            shop._emit(shop._event(), [("inventory_levels/connect", body)])
        return {"inventoryLevel": self._level(variant, place), "userErrors": []}

    # --- writing

    def _set(self, call: Mapping[str, Any]) -> dict[str, Any]:
        errors = list(self._mistakes(call))
        return user_errors(errors) if errors else self._write(call)

    def _mistakes(self, call: Mapping[str, Any]) -> Iterable[tuple[str, list[str] | None, str]]:
        if call["name"] not in ("available", "on_hand"):
            yield "INVALID_NAME", ["input", "name"], "The quantity name must be either 'available' or 'on_hand'."
        if call["reason"] not in ("correction", "cycle_count_available", "other", "received", "restock"):
            yield "INVALID_REASON", ["input", "reason"], "The specified reason is invalid."
        uri = call.get("referenceDocumentUri")
        if uri is not None and not urlsplit(uri).scheme:
            yield "INVALID_REFERENCE_DOCUMENT", ["input", "referenceDocumentUri"], "The document is not a URI."
        pairs: set[tuple[str, str]] = set()
        for index, asked in enumerate(call["quantities"]):
            pair = asked["inventoryItemId"], asked["locationId"]
            code, name = self._mistake(call["name"], asked)
            if pair in pairs:
                code, name = "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", "inventoryItemId"
            pairs.add(pair)
            if code:
                path = ["input", "quantities", str(index), name] if self._shop.names_the_refused else None
                yield code, path, f"Simulated: {code.replace('_', ' ').lower()}."

    def _mistake(self, name: str, asked: Mapping[str, Any]) -> tuple[str, str]:
        variant = self._shop._by_item.get(legacy(asked["inventoryItemId"], "InventoryItem"))
        location = legacy(asked["locationId"], "Location")
        if variant is None:
            return "INVALID_INVENTORY_ITEM", "inventoryItemId"
        if location not in self._shop.locations:
            return "INVALID_LOCATION", "locationId"
        if not variant.mutable:
            return "NON_MUTABLE_INVENTORY_ITEM", "inventoryItemId"
        if asked["quantity"] < 0:
            return "INVALID_QUANTITY_NEGATIVE", "quantity"
        if asked["quantity"] > MOST_UNITS:
            return "INVALID_QUANTITY_TOO_HIGH", "quantity"
        level = variant.levels.get(location, Level(0))
        there = level.available + (level.committed if name == "on_hand" else 0)
        if asked["changeFromQuantity"] not in (None, there):
            return "CHANGE_FROM_QUANTITY_STALE", "changeFromQuantity"
        return "", ""

    def _write(self, call: Mapping[str, Any]) -> dict[str, Any]:
        shop, news = self._shop, []
        for asked in call["quantities"]:
            variant = shop._by_item[legacy(asked["inventoryItemId"], "InventoryItem")]
            location = legacy(asked["locationId"], "Location")
            level = variant.levels.setdefault(location, Level(0, active=False))
            held = level.committed if call["name"] == "on_hand" else 0
            level.available = asked["quantity"] - held
            if level.active:
                shop.wrote_stock(variant.sku, level.available)
            news.append(shop._level_news(variant, location))
        shop._emit(shop._event(), news)
        group = {
            "id": gid("InventoryAdjustmentGroup", next(shop._ids)),
            "reason": call["reason"],
            "referenceDocumentUri": call.get("referenceDocumentUri"),
        }
        return {"inventoryAdjustmentGroup": group, "userErrors": []}


def key_of(info: Info) -> str:
    """The key of a mutation that must have one."""
    directive = SCHEMA.get_directive("idempotent")
    given = directive and get_directive_values(directive, info.field_nodes[0], info.variable_values)
    if not given or not given["key"].strip():
        raise GraphQLError("This mutation requires the @idempotent directive with a key.")
    return str(given["key"])


def _wrong(field: str, words: str) -> dict[str, Any]:
    return {"userErrors": [{"field": [field], "message": words}]}
