"""Listings in: every product and variation of the shop, and what they are translated into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Any

from marshmallow import ValidationError, fields, post_load

from hub.connector import Fact, Page, RawRecord, Refetch, StockSeen
from hub.core.model import Listing, ListingLevel, Money
from hub.translation import Identifier, Text, Translation, WholeNumber
from hub_woocommerce.api import ShopApi, body_of, one_of, path_id
from hub_woocommerce.meta import Meta, Rows, rows_of_shape
from hub_woocommerce.stock import whole_units
from hub_woocommerce.translation import amount

# Without this, each answer holds every description, and `related_ids` in an order that changes by itself.
PRODUCT_FIELDS = (
    "id,parent_id,type,status,name,sku,global_unique_id,price,manage_stock,stock_quantity,variations,date_modified_gmt,"
    "images,weight,attributes,meta_data"
)
# A variation has one image of its own.
VARIATION_FIELDS = PRODUCT_FIELDS.replace("images", "image")

# Products that are not sold as such: their parts or another site are.
UNSOLD_TYPES = frozenset({"grouped", "external"})

# What a shop can weigh in (WooCommerce > Settings > Products), in grams.
GRAMS = {"kg": Decimal(1000), "g": Decimal(1), "lbs": Decimal("453.59237"), "oz": Decimal("28.349523125")}

# Where add-ons keep what customs ask for: plugins of carriers, WooCommerce Shipping, and whoever took after them.
HS_CODES = frozenset(
    {"hs_code", "_hs_code", "hts_code", "_hts_code", "_tariff_code", "_wc_hs_code", "_dhlp_hs_code", "_commodity_code"}
)
ORIGINS = frozenset({"country_of_origin", "_country_of_origin", "_origin_country", "_dhlp_manufacture_country"})
CUSTOMS = ",".join(sorted(HS_CODES | ORIGINS))


class Listings(ShopApi):
    """Fetches products, each with its variations, and reads them."""

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        """Always all of them: a variation that changes leaves no trace on its parent, by which one could ask less."""
        units = self._units()
        for rows, total in self._walk("products", _fields=PRODUCT_FIELDS, include_meta=CUSTOMS):
            yield Page(tuple(self._still_there(lambda row: self._listing_record(row, units), rows)), "", total)

    def fetch_listing(self, external_id: str) -> RawRecord:
        product = one_of(self._call("GET", f"products/{path_id(external_id)}", _fields=PRODUCT_FIELDS))
        return self._listing_record(product, self._units())

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        listings: tuple[Listing, ...] = self._fetched_listing.read(record.body)
        return listings

    def _units(self) -> dict[str, str]:
        """In what the shop counts money, and in what it weighs: no product says it."""
        weighs_in = self.context.features.get("weight_unit") or self._weight_unit()
        currency = str(one_of(self._call("GET", "data/currencies/current"), "code")["code"])
        return {"currency": currency, "weight_unit": weighs_in}

    def _weight_unit(self) -> str:
        answer = self._call("GET", "settings/products/woocommerce_weight_unit", _fields="id,value")
        return str(one_of(answer, "value")["value"])

    def _listing_record(self, product: dict[str, Any], units: Mapping[str, str]) -> RawRecord:
        path = f"products/{product['id']}/variations"
        variable = is_variable(product)
        variations = self._all(path, _fields=VARIATION_FIELDS, include_meta=CUSTOMS) if variable else []
        for row in (product, *variations):
            # A page builder keeps a whole page there, and one product, or an older WooCommerce, always shows all of it.
            row["meta_data"] = _for_customs(row.get("meta_data"))
        body = body_of({"product": product, "variations": variations, **units})
        return RawRecord("listing", str(product["id"]), body, str(product.get("date_modified_gmt") or ""))

    @cached_property
    def _fetched_listing(self) -> FetchedListing:
        return FetchedListing()

    @cached_property
    def _webhook_product(self) -> WebhookProduct:
        return WebhookProduct(self.context.features)


# ---------------------------------------------------------------- translation


class _Units(fields.Field[int | None]):
    """A stock quantity in whole units, however it is written."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int | None:
        if value == "":
            return None
        if (units := whole_units(value)) is None:
            raise ValidationError("Not a quantity.")
        return units


class _Image(Translation):
    src = Text()


class _Attribute(Translation):
    name = Text()
    option = Text()


class _Product(Translation):
    id = Identifier(required=True)
    name = Text()
    type = Text()
    status = Text()
    sku = Text()
    price = amount()
    global_unique_id = Text()
    manage_stock = fields.Raw(allow_none=True)  # true, false, or "parent" for a variation
    stock_quantity = _Units(allow_none=True, load_default=None)
    parent_id = WholeNumber(allow_none=True, load_default=0)
    variations = Rows(fields.Raw(), load_default=list)
    images = rows_of_shape(_Image)
    image = fields.Nested(_Image, allow_none=True, load_default=None)
    weight = Text()
    attributes = rows_of_shape(_Attribute)
    meta_data = rows_of_shape(Meta)


class FetchedListing(Translation):
    """The record of a fetched product: ``{"product": …, "variations": […], "currency": …, "weight_unit": …}``."""

    product = fields.Nested(_Product, required=True)
    variations = rows_of_shape(_Product)
    currency = Text()
    weight_unit = Text()

    @post_load
    def make(self, record: Mapping[str, Any], **_: Any) -> tuple[Listing, ...]:
        product, units = record["product"], record
        if product["type"] in UNSOLD_TYPES:
            return ()
        if not is_variable(product):
            return (_listing(product, units),)
        return tuple(_listing(_of_parent(variation, product), units) for variation in record["variations"])


class WebhookProduct(_Product):
    """The body of a product webhook: a product, a variation in the shape of one, or the parent of variations.

    It does not say in what currency its price is, and what its weight is counted in: ``units`` is what is known of it.
    """

    def __init__(self, units: Mapping[str, str]) -> None:
        super().__init__()
        self._units = units

    @post_load
    def make(self, product: Mapping[str, Any], **_: Any) -> tuple[Fact, ...]:
        if product["type"] in UNSOLD_TYPES:
            return ()
        if is_variable(product):
            return (Refetch("listing", product["id"]),)
        listing = _listing(product, self._units)
        if not listing.tracked:
            return (listing,)
        return (listing, StockSeen(listing.external_id, "", product["stock_quantity"]))


def is_variable(product: Mapping[str, Any]) -> bool:
    """Whether not the product is sold but its variations are; plugins have types of their own for it."""
    return bool(product.get("variations")) or str(product.get("type")).startswith("variable")


def _of_parent(variation: Mapping[str, Any], parent: Mapping[str, Any]) -> Mapping[str, Any]:
    """A variation in the shape it has everywhere else: asked for through its parent it is called "S", not "Tee - S".

    What it has not of its own, it has of its parent.
    """
    return {
        **variation,
        "name": " - ".join(name for name in (parent["name"], variation["name"]) if name),
        "parent_id": parent["id"],
        "images": parent["images"],
        "weight": variation["weight"] or parent["weight"],
        "meta_data": [*variation["meta_data"], *parent["meta_data"]],
    }


def _listing(product: Mapping[str, Any], units: Mapping[str, str]) -> Listing:
    tracked = product.get("manage_stock") is True
    parent = product["parent_id"] or 0
    price, currency = product["price"], units.get("currency")
    pictures = [image["src"] for image in (product["image"], *product["images"]) if image and image["src"]]
    return Listing(
        external_id=product["id"],
        sku=product["sku"],
        title=product["name"],
        # A variation that shares the stock of its parent has none of its own to write: "parent" is not tracked.
        tracked=tracked,
        active=product["status"] == "publish",
        barcode=product["global_unique_id"],
        price=Money(price, currency) if currency and price is not None else None,
        handles={"parent": str(parent)} if parent else {},
        levels=(ListingLevel(location_external_id="", available=product["stock_quantity"] if tracked else None),),
        variant=" / ".join(each["option"] for each in product["attributes"] if each["option"]) if parent else "",
        image_url=pictures[0] if pictures else "",
        weight_grams=_grams(product["weight"], units.get("weight_unit", "")),
        origin_country=_country(_customs(product, ORIGINS)),
        hs_code=_hs_code(_customs(product, HS_CODES)),
    )


def _grams(weight: str, unit: str) -> int | None:
    # Typed in by people: a shop may have "1,2" or "about 2" there.
    if unit not in GRAMS or not re.fullmatch(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?", weight.strip(), re.ASCII):
        return None
    grams = Decimal(weight.strip().replace(",", ".")) * GRAMS[unit]
    whole = int(grams.to_integral_value(ROUND_HALF_UP))
    return min(whole, 2**31 - 1) or None


def _customs(product: Mapping[str, Any], keys: Iterable[str]) -> str:
    said = (entry.get("value") for entry in product["meta_data"] if entry["key"] in keys)
    return next((value.strip() for value in said if isinstance(value, str) and value.strip()), "")


def _for_customs(entries: Any) -> list[Mapping[str, Any]]:
    known = (each for each in entries if isinstance(each, Mapping)) if isinstance(entries, list) else ()
    return [each for each in known if each.get("key") in HS_CODES | ORIGINS]


def _hs_code(text: str) -> str:
    return text if re.fullmatch(r"[0-9][0-9. ]{3,14}", text, re.ASCII) else ""


def _country(text: str) -> str:
    return text.upper() if re.fullmatch(r"[A-Za-z]{2}", text, re.ASCII) else ""
