"""Files that came with the result of an effect, labels above all: kept once, compressed and encrypted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, select

from hub.core.shipping import Document, DocumentFormat, DocumentKind
from hub.errors import Conflict
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.secrets import KeyRing


def keep(
    connection: Connection,
    keyring: KeyRing,
    merchant_id: UUID,
    effect_id: UUID,
    order_id: UUID | None,
    documents: Iterable[Document],
    *,
    at: datetime,
) -> None:
    """Keep what came with the result of an effect, in the caller's transaction."""
    rows = []
    for each in documents:
        document_id = new_id()
        rows.append(
            {
                "merchant_id": merchant_id,
                "id": document_id,
                "effect_id": effect_id,
                "order_id": order_id,
                "kind": each.kind.value,
                "format": each.format.value,
                "tracking_number": each.tracking_number,
                "content": keyring.pack(each.content, _place(merchant_id, document_id)),
                "created_at": at,
            }
        )
    if rows:
        connection.execute(insert(t.document), rows)


def read(connection: Connection, keyring: KeyRing, merchant_id: UUID, document_id: UUID) -> Document:
    """A kept file. Raises Conflict when there is none, SecretsUnreadable."""
    this = t.document.c
    row = connection.execute(
        select(t.document).where(this.merchant_id == merchant_id, this.id == document_id)
    ).one_or_none()
    if row is None:
        raise Conflict("There is no such document any more. Go back and look at the list again.")
    return Document(
        content=keyring.unpack(row.content, _place(merchant_id, document_id)),
        format=DocumentFormat(row.format),
        kind=DocumentKind(row.kind),
        tracking_number=row.tracking_number,
    )


def _place(merchant_id: UUID, document_id: UUID) -> str:
    return f"document:{merchant_id}:{document_id}:content"
