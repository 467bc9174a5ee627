"""Customs: which parcels need a declaration, and the declaration made of what is known about their goods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hub.core.model import Address, Money
from hub.core.shipping import ContentsType, Customs, CustomsItem, Weight, WeightUnit

# The customs union of the EU, with Monaco. Goods go about in it without a declaration.
_UNION = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MC MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """What is known of one kind of goods in a parcel; what nobody has entered is None or ""."""

    sku: str
    title: str
    quantity: int
    unit_value: Money
    weight_grams: int | None
    origin_country: str
    hs_code: str


class GoodsUnknown(ValueError):
    """Something that customs must be told is not known. The message names the SKU and what is missing."""


def crosses_a_border(origin: Address, destination: Address) -> bool:
    """Whether goods from one address to the other have to be declared."""
    here, there = origin.country.upper(), destination.country.upper()
    return here != there and not (here in _UNION and there in _UNION)


def declared(goods: Iterable[Goods], *, returning: bool, signer: str, invoice_number: str) -> Customs:
    """The declaration of these goods. Raises GoodsUnknown."""
    items = []
    for each in goods:
        missing = [
            what
            for what, there in (
                ("its weight", each.weight_grams),
                ("its country of origin", each.origin_country),
                ("its customs tariff number (HS code)", each.hs_code),
            )
            if not there
        ]
        if missing or not each.weight_grams:
            raise GoodsUnknown(
                f"{each.sku or each.title} goes abroad, and the hub does not know {', '.join(missing)}. "
                "Enter it at the product in your shop, and import the listing again."
            )
        items.append(
            CustomsItem(
                description=each.title[:200] or each.sku,
                quantity=each.quantity,
                unit_value=each.unit_value,
                unit_weight=Weight.of(each.weight_grams, WeightUnit.GRAM),
                origin_country=each.origin_country,
                hs_code=each.hs_code,
                sku=each.sku,
            )
        )
    contents = ContentsType.RETURN if returning else ContentsType.MERCHANDISE
    return Customs(contents=contents, items=tuple(items), signer=signer, invoice_number=invoice_number)
