"""Stock out: what the shop says is there, and writing it, products and the variations of each parent apart."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

from hub.connector import UNREAD, PushOutcome, PushState, StockPush, StockRef, Unread
from hub.errors import NotFound, Rejected, Unavailable
from hub_woocommerce.api import PER_PAGE, ShopApi, is_number, one_of

STOCK_FIELDS = "id,manage_stock,stock_quantity"


class Stock(ShopApi):
    """Reads and writes quantities."""

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | Unread | None]:
        found: dict[str, int | Unread | None] = {}
        failures: list[Unavailable] = []
        batches = list(_batches(refs))
        for parent, ids in batches:
            path = f"products/{parent}/variations" if parent else "products"
            try:
                rows = self._all(path, include=",".join(ids), _fields=STOCK_FIELDS)
            except NotFound:
                continue
            except Unavailable as error:
                failures.append(error)
                found |= dict.fromkeys(ids, UNREAD)
            else:
                found |= {str(row["id"]): _tracked_quantity(row) for row in rows}
        if failures and len(failures) == len(batches):
            raise failures[0]
        return [found.get(ref.listing_external_id) for ref in refs]

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Write products in one call and the variations of each parent in one more: other ways WooCommerce has not.

        Batches are answered 200 whatever became of their items. One that fails as a whole is tried again later, and
        only when all fail is the shop taken to be unavailable.
        """
        # WooCommerce would take a quantity below nothing, and sell on.
        quantities = {push.ref.listing_external_id: max(0, push.quantity) for push in pushes}
        outcomes: dict[str, PushOutcome] = {}
        failures: list[Unavailable] = []
        batches = list(_batches([push.ref for push in pushes]))
        for parent, ids in batches:
            path = f"products/{parent}/variations/batch" if parent else "products/batch"
            update = [{"id": int(external_id), "stock_quantity": quantities[external_id]} for external_id in ids]
            try:
                answer = one_of(self._call("POST", path, body={"update": update}), "update")
            except Unavailable as error:
                failures.append(error)
                outcomes |= dict.fromkeys(ids, PushOutcome(PushState.RETRY, message=str(error)))
            except Rejected as error:
                state = PushState.GONE if isinstance(error, NotFound) else PushState.REJECTED
                outcomes |= dict.fromkeys(ids, PushOutcome(state, message=str(error)))
            else:
                outcomes |= _outcomes(ids, answer["update"])
        if failures and len(failures) == len(batches):
            raise failures[0]
        unknown = PushOutcome(PushState.GONE, message="WooCommerce has no product of this id.")
        return [outcomes.get(push.ref.listing_external_id, unknown) for push in pushes]


def _batches(refs: Iterable[StockRef]) -> Iterator[tuple[str, Sequence[str]]]:
    """The listings' ids in batches that one call can carry, with their parent product ("" for those without one)."""
    families: dict[str, list[str]] = {}
    for ref in refs:
        parent = ref.handles.get("parent", "")
        if is_number(ref.listing_external_id) and (not parent or is_number(parent)):
            families.setdefault(parent, []).append(ref.listing_external_id)
    for parent, members in families.items():
        for start in range(0, len(members), PER_PAGE):
            yield parent, members[start : start + PER_PAGE]


def whole_units(quantity: Any) -> int | None:
    """A quantity as WooCommerce and its plugins write it ("4", 4.0, 4.5 where halves are sold), in whole units."""
    if isinstance(quantity, bool) or not isinstance(quantity, int | str | Decimal):
        return None
    try:
        number = Decimal(quantity)
    except InvalidOperation:
        return None
    # Half a unit cannot be sold to anybody who counts in whole ones.
    return int(number.to_integral_value(ROUND_FLOOR)) if number.is_finite() and abs(number) < 2**31 else None


def _tracked_quantity(row: Mapping[str, Any]) -> int | None:
    return whole_units(row.get("stock_quantity")) if row.get("manage_stock") is True else None


def _outcomes(ids: Iterable[str], answered: Any) -> dict[str, PushOutcome]:
    items = answered if isinstance(answered, list) else []
    told = {str(item.get("id")): _outcome(item) for item in items if isinstance(item, dict)}
    silence = PushOutcome(PushState.RETRY, message="WooCommerce's answer left this product out.")
    return {external_id: told.get(external_id, silence) for external_id in ids}


def _outcome(item: Mapping[str, Any]) -> PushOutcome:
    error = item.get("error")
    if isinstance(error, dict):
        return _item_refusal(str(error.get("code", "")), html.unescape(str(error.get("message", ""))), error)
    if item.get("manage_stock") is not True:
        return PushOutcome(
            PushState.REJECTED,
            message="WooCommerce does not count the stock of this product. Edit it there and switch on stock "
            "management, for a variation on the variation itself, or unbind the listing here.",
        )
    return PushOutcome(PushState.WRITTEN, _tracked_quantity(item))


def _item_refusal(code: str, message: str, error: Mapping[str, Any]) -> PushOutcome:
    if code.endswith("_invalid_id"):
        return PushOutcome(PushState.GONE, message="WooCommerce does not have this product any more.")
    if code == "woocommerce_rest_invalid_product_id":
        return PushOutcome(
            PushState.REJECTED,
            message="WooCommerce says that this is a variation of another product. Import the listings again.",
        )
    details = error.get("data")
    status = details.get("status") if isinstance(details, dict) else None
    state = PushState.RETRY if isinstance(status, int) and status >= 500 else PushState.REJECTED
    return PushOutcome(state, message=f"WooCommerce refused the quantity: {message or code}")
