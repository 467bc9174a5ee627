"""What 3PLs call our SKUs: learned where they are called the same, matched by a person where they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, update

from hub.errors import BadInput, Conflict
from hub.store import activity
from hub.store import tables as t
from hub.store.database import for_update, in_chunks, upsert

UNKNOWN = "unknown_3pl_item"  # the kind of issue; the subject is the connection's id and the name


def called(
    connection: Connection, merchant_id: UUID, connection_id: UUID, sku_ids: Collection[UUID]
) -> dict[UUID, tuple[str, str]]:
    """What the 3PL calls these SKUs, and its ids of the goods; those of which it never spoke are left out."""
    item = t.provider_item.c
    found: dict[UUID, tuple[str, str]] = {}
    for some in in_chunks(sku_ids):
        for row in connection.execute(
            select(item.sku_id, item.name, item.item_external_id).where(
                item.merchant_id == merchant_id, item.connection_id == connection_id, item.sku_id.in_(some)
            )
        ):
            found[row.sku_id] = (row.name, row.item_external_id)
    return found


def meant_by(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    named: Mapping[str, str],
    *,
    at: datetime,
) -> dict[str, UUID]:
    """The SKUs that a 3PL means by these names (each with its id of the goods, "" if it does not say).

    A name that is new is kept; it means the SKU that is called the same here, unless the 3PL calls that one otherwise.
    Names that mean none, or a kit, are left out: an issue asks for them.
    """
    item, sku = t.provider_item.c, t.sku.c
    here = (item.merchant_id == merchant_id, item.connection_id == connection_id)
    names = {name[:200]: id[:200] for name, id in named.items()}
    known: dict[str, Any] = {}
    for some in in_chunks(names):
        for row in connection.execute(
            select(item.name, item.item_external_id, item.sku_id, item.matched_by).where(*here, item.name.in_(some))
        ):
            known[row.name] = row
    new = [name for name in names if name not in known]
    # One that nobody has said anything of may have got its SKU since.
    open_ones = [*new, *(name for name, row in known.items() if row.sku_id is None and not row.matched_by)]
    codes: dict[str, UUID] = {}
    for some in in_chunks(open_ones):
        taken = select(item.sku_id).where(*here, item.sku_id.is_not(None))
        for own in connection.execute(
            select(sku.id, sku.code).where(
                sku.merchant_id == merchant_id, sku.code.in_(some), sku.kit.is_(False), sku.id.not_in(taken)
            )
        ):
            codes[own.code] = own.id
    for name in open_ones:
        values = {"sku_id": codes.get(name), "item_external_id": names[name], "heard_at": at}
        statement = upsert(connection, t.provider_item).values(
            merchant_id=merchant_id, connection_id=connection_id, name=name, **values
        )
        connection.execute(
            statement.on_conflict_do_update(index_elements=["merchant_id", "connection_id", "name"], set_=values)
        )
    for name, row in known.items():
        if names[name] and names[name] != row.item_external_id and name not in open_ones:
            connection.execute(
                update(t.provider_item).where(*here, item.name == name).values(item_external_id=names[name])
            )
    meant = {name: row.sku_id for name, row in known.items() if row.sku_id is not None} | codes
    _ask(connection, merchant_id, connection_id, [name for name in open_ones if name not in codes], at)
    subjects = [f"{connection_id}/{name}"[:300] for name in codes]
    activity.resolve_issues(connection, merchant_id, UNKNOWN, subjects, at=at)
    kits = _kits(connection, merchant_id, meant.values())
    return {name: sku_id for name, sku_id in meant.items() if sku_id not in kits}


def _kits(connection: Connection, merchant_id: UUID, sku_ids: Iterable[UUID]) -> set[UUID]:
    sku = t.sku.c
    found: set[UUID] = set()
    for some in in_chunks(sku_ids):
        found |= set(
            connection.execute(
                select(sku.id).where(sku.merchant_id == merchant_id, sku.id.in_(some), sku.kit)
            ).scalars()
        )
    return found


def _ask(connection: Connection, merchant_id: UUID, connection_id: UUID, names: Iterable[str], at: datetime) -> None:
    for name in names:
        activity.raise_issue(
            connection,
            merchant_id,
            UNKNOWN,
            f"{connection_id}/{name}"[:300],
            f"The 3PL speaks of “{name}”, and there is no such SKU here",
            "Match it to the SKU that it is. Its stock is counted from the next time the 3PL tells it.",
            at=at,
            connection_id=connection_id,
            link=f"/connections/{connection_id}/warehouse",
        )


def mean(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    name: str,
    code: str,
    actor: str,
    *,
    at: datetime,
    item_external_id: str = "",
) -> None:
    """A person says which SKU a 3PL means by ``name``; with an empty ``code``, that it means none of ours.

    Raises BadInput for a SKU that does not exist or is a kit, Conflict where the 3PL calls that SKU otherwise already.
    """
    name, code = name.strip(), code.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise BadInput("Enter what the 3PL calls it.", {"name": ["Enter 1 to 200 characters."]})
    this, sku = t.provider_item.c, t.sku.c
    here = (this.merchant_id == merchant_id, this.connection_id == connection_id)
    sku_id = None
    if code:
        found = connection.execute(
            for_update(connection, select(sku.id, sku.kit).where(sku.merchant_id == merchant_id, sku.code == code))
        ).one_or_none()
        if found is None:
            raise BadInput(f"There is no SKU {code}. Enter one that exists.", {"code": ["There is no such SKU."]})
        if found.kit:
            raise BadInput(f"{code} is a kit: a 3PL keeps its parts. Match each of them.", {"code": ["This is a kit."]})
        sku_id = found.id
        other = connection.execute(
            select(this.name).where(*here, this.sku_id == sku_id, this.name != name)
        ).scalar_one_or_none()
        if other is not None:
            raise Conflict(f"This 3PL calls {code} “{other}” already. Take that name away from it first.")
    values = {"sku_id": sku_id, "matched_by": actor, "heard_at": at}
    if item_external_id.strip():
        values["item_external_id"] = item_external_id.strip()[:200]
    statement = upsert(connection, t.provider_item).values(
        merchant_id=merchant_id, connection_id=connection_id, name=name, **values
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["merchant_id", "connection_id", "name"], set_=values)
    )
    activity.resolve_issue(connection, merchant_id, UNKNOWN, f"{connection_id}/{name}"[:300], at=at, by=actor)
    activity.note(
        connection,
        merchant_id,
        "3pl_item_matched",
        f"“{name}” at the 3PL is {code}" if code else f"“{name}” at the 3PL is none of our SKUs",
        at=at,
        connection_id=connection_id,
        actor=actor,
    )
