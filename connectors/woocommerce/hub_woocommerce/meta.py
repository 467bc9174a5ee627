"""Meta data, which everything in WooCommerce may carry: read as a list, by key, and as what people wrote into it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from hub.translation import Text, Translation

# Meta data whose key begins with "_" is not for people, except these, which customers wrote or chose at checkout.
_WRITTEN_BY_CUSTOMERS: Mapping[str, str] = {
    "_delivery_date": "Delivery date",
    "_delivery_time_frame": "Delivery time",
    "_shipping_date": "Shipping date",
    "_gift_message": "Gift message",
    "_gift_note": "Gift note",
    "_billing_vat_number": "VAT number",
    "_vat_number": "VAT number",
}
# Fields that plugins add to the checkout block: "_wc_other/acme/gift-note".
_CHECKOUT_FIELD = re.compile(r"_wc_(?:other|billing|shipping)/(.{1,200})", re.DOTALL)
_MARKUP = re.compile(r"<[a-zA-Z/][^<>]*>")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Written by WooCommerce itself, and of no use to anybody who ships.
_NOISE = frozenset({"is_vat_exempt"})


class Rows(fields.List[Any]):
    """A list. PHP writes one with holes in its numbering, as a plugin leaves them, as an object: its values are it."""

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if isinstance(value, Mapping):
            value = list(value.values())
        return super().deserialize(value, attr, data, **kwargs)


def rows_of_shape(shape: type[Translation]) -> Rows:
    """A list of objects of one shape; none where it is missing."""
    return Rows(fields.Nested(shape), load_default=list)


class Meta(Translation):
    """One entry of the meta data that everything in WooCommerce may carry."""

    key = Text()
    value = fields.Raw(allow_none=True)
    display_key = fields.Raw(allow_none=True)  # on lines only, and by no means always a text
    display_value = fields.Raw(allow_none=True)


def meta_of(row: Mapping[str, Any], key: str) -> Any:
    """The value under ``key`` in a row's meta data, "" if there is none."""
    return next((entry.get("value") for entry in row["meta_data"] if entry["key"] == key), "")


def count_of(row: Mapping[str, Any], key: str) -> int:
    """A count that WooCommerce keeps in the meta data of a line, 0 if it keeps none."""
    text = str(meta_of(row, key))
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else 0


def attributes_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What add-ons and customers wrote on an order or a line, as text; entries of one name follow each other."""
    found: dict[str, list[str]] = {}
    for entry in row["meta_data"]:
        name = _name_for_people(entry)
        shown = entry.get("display_value")
        text = text_of(shown if isinstance(shown, str) and shown else entry.get("value"))
        if name and text:
            found.setdefault(name, []).append(text)
    return {name: ", ".join(texts) for name, texts in found.items()}


def _name_for_people(entry: Mapping[str, Any]) -> str:
    key = entry["key"]
    if key in _WRITTEN_BY_CUSTOMERS:
        return _WRITTEN_BY_CUSTOMERS[key]
    if asked := _CHECKOUT_FIELD.fullmatch(key):
        return asked[1]
    if key.startswith("_") or key in _NOISE:
        return ""
    shown = entry.get("display_key")
    return text_of(shown if isinstance(shown, str) and shown else key)


def text_of(value: Any) -> str:
    """A value of any shape as text: without markup, nested ones as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False) if value else ""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    # What is shown to people comes as HTML. NUL and halves of surrogate pairs could not be stored.
    bare = html.unescape(_MARKUP.sub("", str(value)))
    return _UNSTORABLE.sub("\ufffd", bare).strip()
