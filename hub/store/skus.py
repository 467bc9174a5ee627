"""SKUs as such: made, and named, by a person. (A listing that is matched to a code that is new makes its SKU, too.)"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, select, update

from hub import access
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import activity, searching
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert
from hub.store.matching import checked_code

LONGEST_TITLE = 500


@access.needs(Permission.CATALOG)
def make(database: Database, merchant_id: UUID, code: str, title: str, actor: str) -> UUID:
    """A new SKU, of which no stock is kept before it is counted. Raises BadInput, and Conflict for a code that is
    taken."""
    code, title = checked_code(code), checked_title(title)

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        statement = upsert(connection, t.sku).values(
            merchant_id=merchant_id, id=new_id(), code=code, title=title, created_at=at
        )
        made: UUID | None = connection.execute(
            statement.on_conflict_do_nothing(index_elements=["merchant_id", "code"]).returning(t.sku.c.id)
        ).scalar_one_or_none()
        if made is None:
            raise Conflict(f"There is a SKU called {code} already.")
        searching.add_skus(connection, merchant_id, [(made, code, title)])
        activity.note(
            connection, merchant_id, "sku_made", f"SKU {code} made: {title or 'no title'}", at=at, actor=actor
        )
        return made

    return database.transact(work)


@access.needs(Permission.CATALOG)
def rename(database: Database, merchant_id: UUID, sku_id: UUID, title: str, actor: str) -> None:
    """Give a SKU another title. Its listings keep those that their shops gave them. Raises BadInput."""
    title = checked_title(title)

    def work(connection: Connection) -> None:
        at, sku = database.now(connection), t.sku.c
        this = (sku.merchant_id == merchant_id, sku.id == sku_id)
        row = connection.execute(for_update(connection, select(sku.code, sku.title).where(*this))).one_or_none()
        if row is None:
            raise BadInput("This SKU does not exist. Reload the page.")
        if row.title == title:
            return
        connection.execute(update(t.sku).where(*this).values(title=title, titled_at=at))
        searching.keep_up_sku(connection, merchant_id, sku_id, row.code, title)
        said = f"{row.code}: title “{row.title}” → “{title}”"
        activity.note(connection, merchant_id, "sku_renamed", said[:500], at=at, actor=actor)

    database.transact(work)


def checked_title(typed: str) -> str:
    """A title as it is kept. Raises BadInput for one that is too long."""
    title = " ".join(typed.split())
    if len(title) > LONGEST_TITLE:
        raise BadInput(f"A title has at most {LONGEST_TITLE} characters.")
    return title
