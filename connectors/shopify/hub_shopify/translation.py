"""What both shapes of Shopify's records are made of, and the variants that the connector fetches by GraphQL.

Webhooks tell the same in another shape (webhooks.py) and read alike: external ids are the numbers that both carry, and
money is in the shop's currency.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields, post_load

from hub.core.model import Listing, ListingLevel, Money
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber

# The handles of a listing: under the first Shopify keeps its stock, the second is what it is a variant of.
INVENTORY_ITEM = "inventory_item_id"
PRODUCT = "product_id"

ZERO = Decimal(0)
ON_SALE = frozenset({"active", "unlisted"})

# ---------------------------------------------------------------- small shapes


class GlobalId(Identifier):
    """A GraphQL id such as "gid://shopify/LineItem/466157049", read as the number at its end."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        number = text.rpartition("/")[2]
        if not text.startswith("gid://shopify/") or not (number.isascii() and number.isdigit()):
            raise ValidationError("Not a Shopify id.")
        return number


class ShopMoney(Translation):
    """An amount with its currency, which shapes name differently."""

    amount = DecimalNumber(required=True)
    currency = Text(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        return Money(found["amount"], found["currency"])


class _Money(ShopMoney):
    currency = Text(required=True, data_key="currencyCode")


class MoneyBag(Translation):
    """An amount in the shop's currency and in the customer's, of which the shop's is read."""

    money = fields.Nested(_Money, required=True, data_key="shopMoney")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money:
        money: Money = found["money"]
        return money


class Presentment(Translation):
    """An amount in the customer's currency, which is only shown: None where it makes no sense."""

    amount = DecimalNumber(allow_none=True, load_default=None)
    currency = Text()

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Money | None:
        try:
            return None if found["amount"] is None else Money(found["amount"], found["currency"])
        except ValueError:
            return None


class _Presentment(Presentment):
    currency = Text(data_key="currencyCode")


class TotalBag(Translation):
    """An amount in the shop's currency, and in the customer's where that is another one, None otherwise."""

    money = fields.Nested(_Money, required=True, data_key="shopMoney")
    presentment = fields.Nested(_Presentment, allow_none=True, load_default=None, data_key="presentmentMoney")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> tuple[Money, Money | None]:
        money, presentment = found["money"], found["presentment"]
        return money, presentment if presentment and presentment.currency != money.currency else None


def money_bag(**options: Any) -> fields.Nested:
    return fields.Nested(MoneyBag, **options)


def optional_money_bag(**options: Any) -> fields.Nested:
    return fields.Nested(MoneyBag, allow_none=True, load_default=None, **options)


class Attributes(fields.Field[dict[str, str]]):
    """A list of names with values, which add-ons fill with whatever they like, as text; ``name`` is what names are
    called. Missing and null read as none.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(allow_none=True, load_default=dict, **options)
        self._called = name

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().deserialize(value, attr, data, **kwargs) or {}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            raise ValidationError("Not a list of names with values.")
        said = ((each.get(self._called), each.get("value")) for each in value)
        text = Text()
        return {text.deserialize(name): text.deserialize(_as_text(value)) for name, value in said if name}


def _as_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


class Items(fields.List[Any]):
    """A list of ``shape``; missing and null read as ``load_default``, an empty list unless said otherwise."""

    def __init__(self, shape: type[Translation], **options: Any) -> None:
        if not options.get("required"):
            options.setdefault("load_default", list)
        super().__init__(fields.Nested(shape), **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        absent = value is None and not self.required
        return super().deserialize(marshmallow.missing if absent else value, attr, data, **kwargs)


class Amount(DecimalNumber):
    """An amount; missing and null read as nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, load_default=ZERO, **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().deserialize(value, attr, data, **kwargs) or ZERO


class Flag(fields.Boolean):
    """A truth value; missing and null read as False."""

    def __init__(self, **options: Any) -> None:
        super().__init__(truthy={True}, falsy={False}, load_default=False, **options)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return super().deserialize(False if value is None else value, attr, data, **kwargs)


def optional_moment(**options: Any) -> UtcMoment:
    return UtcMoment(allow_none=True, load_default=None, **options)


def total_of(currency: str, amounts: Iterable[Money | None]) -> Money:
    total = Money.zero(currency)
    for amount in amounts:
        if amount is not None:
            total = total + amount
    return total


# ---------------------------------------------------------------- listings


def variant_name(title: str) -> str:
    """A product with a single variant calls it "Default Title"."""
    return "" if title == "Default Title" else title


def variant_title(product: str, variant: str) -> str:
    """What a variant is called before people."""
    name = variant_name(variant)
    return f"{product} - {name}" if name else product


class _Quantity(Translation):
    name = Text(required=True)
    quantity = WholeNumber(required=True)


class _LocationId(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")


class _Level(Translation):
    location = fields.Nested(_LocationId, required=True)
    quantities = Items(_Quantity, required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> ListingLevel:
        return ListingLevel(location_external_id=found["location"]["id"], available=available(found["quantities"]))


def available(quantities: Iterable[Mapping[str, Any]]) -> int | None:
    """The quantity named "available" among those of an inventory level."""
    return next((each["quantity"] for each in quantities if each["name"] == "available"), None)


class _Levels(Translation):
    nodes = Items(_Level, required=True)


GRAMS = {
    "GRAMS": Decimal(1),
    "KILOGRAMS": Decimal(1000),
    "OUNCES": Decimal("28.349523125"),
    "POUNDS": Decimal("453.59237"),
}


class _Weight(Translation):
    value = DecimalNumber(required=True)
    unit = Text(required=True)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> int | None:
        # Shopify weighs what nobody has weighed at nothing.
        grams = found["value"] * GRAMS.get(found["unit"], Decimal(0))
        return int(grams.to_integral_value(ROUND_HALF_UP)) or None


class _Measurement(Translation):
    weight = fields.Nested(_Weight, allow_none=True, load_default=None)


class _Image(Translation):
    url = Text()


class _Preview(Translation):
    image = fields.Nested(_Image, allow_none=True, load_default=None)


class _Media(Translation):
    preview = fields.Nested(_Preview, allow_none=True, load_default=None)

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> str:
        preview = found["preview"]
        return preview["image"]["url"] if preview and preview["image"] else ""


class _MediaOfVariant(Translation):
    nodes = Items(_Media, load_default=())


class _InventoryItem(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    tracked = Flag()
    measurement = fields.Nested(_Measurement, allow_none=True, load_default=None)
    hs_code = Text(data_key="harmonizedSystemCode")
    origin_country = Text(data_key="countryCodeOfOrigin")
    levels = fields.Nested(_Levels, required=True, data_key="inventoryLevels")


class _Product(Translation):
    id = Identifier(required=True, data_key="legacyResourceId")
    title = Text()
    status = Text(required=True)
    picture = fields.Nested(_Media, allow_none=True, load_default=None, data_key="featuredMedia")


class FetchedVariant(Translation):
    """A product variant as the connector fetches it: Shopify's node, with the shop's currency beside it."""

    id = Identifier(required=True, data_key="legacyResourceId")
    title = Text()
    sku = Text()
    barcode = Text()
    price = DecimalNumber(required=True)
    currency = Text(required=True, data_key="currencyCode")
    media = fields.Nested(_MediaOfVariant, allow_none=True, load_default=None)
    product = fields.Nested(_Product, required=True)
    item = fields.Nested(_InventoryItem, required=True, data_key="inventoryItem")

    @post_load
    def make(self, found: dict[str, Any], **_: Any) -> Listing:
        item = found["item"]
        pictures = [*(found["media"] or {}).get("nodes", ()), found["product"]["picture"]]
        return Listing(
            external_id=found["id"],
            sku=found["sku"],
            title=variant_title(found["product"]["title"], found["title"]),
            variant=variant_name(found["title"]),
            tracked=item["tracked"],
            active=found["product"]["status"].lower() in ON_SALE,
            barcode=found["barcode"],
            price=Money(found["price"], found["currency"]),
            handles={INVENTORY_ITEM: item["id"], PRODUCT: found["product"]["id"]},
            levels=tuple(item["levels"]["nodes"]),
            image_url=next((each for each in pictures if each), ""),
            weight_grams=item["measurement"]["weight"] if item["measurement"] else None,
            origin_country=item["origin_country"],
            hs_code=item["hs_code"],
        )


# Schemas are built once: that takes longer than reading with them.
FETCHED_VARIANT = FetchedVariant()
