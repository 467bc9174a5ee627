"""What the palette finds of a merchant's rows: a few of each kind, the exact one first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, select

from hub.store import searching
from hub.store import tables as t
from hub.store.database import among
from hub.store.queries import parts


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """An order by what people tell it apart."""

    id: UUID
    number: str
    customer_name: str
    connection_label: str


@dataclass(frozen=True, slots=True)
class FoundParcel:
    """A parcel that has exactly this number."""

    shipment_id: UUID
    tracking_number: str
    order_number: str


@dataclass(frozen=True, slots=True)
class FoundSku:
    """A SKU."""

    id: UUID
    code: str
    title: str


@dataclass(frozen=True, slots=True)
class FoundConnection:
    """A connection that is not removed."""

    id: UUID
    label: str


def orders(connection: Connection, merchant_id: UUID, text: str, *, limit: int) -> list[FoundOrder]:
    """Orders, the newest first, with words that begin with what was typed; before them those with this very number."""
    order = t.sales_order.c
    typed = searching.typed_words(text)
    if not typed:
        return []
    ids: dict[UUID, None] = {}
    for search in (searching.Search(words=typed), searching.Search(beginnings=typed)):
        ids |= {order_id: None for _, order_id in searching.newest(connection, merchant_id, search, limit=limit)}
    rows = {
        row.id: FoundOrder(*row)
        for row in connection.execute(
            select(order.id, order.number, order.customer_name, t.connection.c.label)
            .join(t.connection, parts.same(order.connection_id, t.connection, t.sales_order))
            .where(order.merchant_id == merchant_id, among(connection, order.id, list(ids)))
        )
    }
    found = [rows[each] for each in ids if each in rows]
    return sorted(found, key=lambda each: searching.typed_words(each.number) != typed)[:limit]


def parcels(connection: Connection, merchant_id: UUID, text: str, *, limit: int) -> list[FoundParcel]:
    """The parcels whose tracking number this is, however it is spaced."""
    number = "".join(text.split())
    parcel = t.parcel.c
    rows = connection.execute(
        select(parcel.shipment_id, parcel.tracking_number, t.sales_order.c.number)
        .join(t.shipment, parts.same(parcel.shipment_id, t.shipment, t.parcel))
        .join(t.sales_order, parts.same(t.shipment.c.order_id, t.sales_order, t.shipment))
        .where(parcel.merchant_id == merchant_id, parcel.tracking_number.in_({number, number.upper()}))
        .order_by(parcel.id)
        .limit(limit)
    )
    return [FoundParcel(*row) for row in rows]


def skus(connection: Connection, merchant_id: UUID, text: str, *, limit: int) -> list[FoundSku]:
    """SKUs with words that begin with what was typed: the very code first, then codes that begin so."""
    sku, typed = t.sku.c, searching.typed_words(text)
    found: dict[UUID, FoundSku] = {}
    for beginnings, words in (((), typed), (typed, ())):
        rows = connection.execute(
            select(sku.id, sku.code, sku.title)
            .where(sku.merchant_id == merchant_id, searching.of_skus(connection, merchant_id, text, beginnings, words))
            .order_by(sku.code, sku.id)
            .limit(limit)
        )
        found |= {row.id: FoundSku(*row) for row in rows}
    said = searching.fold(text).strip()

    def rank(each: FoundSku) -> tuple[bool, bool, str]:
        code = searching.fold(each.code)
        return code != said, not code.startswith(said), each.code

    return sorted(found.values(), key=rank)[:limit]


def connections(connection: Connection, merchant_id: UUID, text: str, *, limit: int) -> Sequence[FoundConnection]:
    """Connections with the text somewhere in their name: there are few."""
    shop = t.connection.c
    rows = connection.execute(
        select(shop.id, shop.label)
        .where(shop.merchant_id == merchant_id, shop.state != "removed", parts.contains(shop.label, text))
        .order_by(shop.label, shop.id)
        .limit(limit)
    )
    return [FoundConnection(*row) for row in rows]
