"""What people keep of a list: filters under names, for themselves or for everybody, and which columns they want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, or_, select, update

from hub import access
from hub.access import Permission
from hub.errors import BadInput, Conflict
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id, upsert

_MOST_VIEWS = 30  # of one person and one list: what still fits above it
_LONGEST_NAME = 60
_LONGEST_QUERY = 2000


@dataclass(frozen=True, slots=True)
class Person:
    """Whose list it is."""

    merchant_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter under a name; ``query`` is the part of the address that says it."""

    id: UUID
    name: str
    query: str
    shared: bool
    own: bool
    owner: str


@dataclass(frozen=True, slots=True)
class Preference:
    """How somebody wants a list: the columns in their order (none: the usual ones), and the view it begins with."""

    columns: tuple[str, ...] = ()
    view_id: UUID | None = None


def views(connection: Connection, person: Person, page: str) -> list[SavedView]:
    """The views of a list that somebody sees, their own first."""
    view, owner = t.saved_view.c, t.user_account.c
    rows = connection.execute(
        select(t.saved_view, owner.email)
        .join(t.user_account, owner.id == view.user_id)
        .where(
            view.merchant_id == person.merchant_id,
            view.page == page,
            or_(view.user_id == person.user_id, view.shared),
        )
        .order_by((view.user_id == person.user_id).desc(), view.created_at, view.id)
    )
    return [
        SavedView(row.id, row.name, row.query, row.shared, row.user_id == person.user_id, row.email) for row in rows
    ]


def preference(connection: Connection, person: Person, page: str) -> Preference:
    """How somebody wants a list."""
    this = t.list_preference.c
    row = connection.execute(select(t.list_preference).where(*_theirs(this, person), this.page == page)).one_or_none()
    return Preference() if row is None else Preference(tuple(row.columns), row.view_id)


def save(database: Database, person: Person, page: str, name: str, query: str, *, shared: bool) -> UUID:
    """Keep a filter under a name. Raises BadInput for a name that is empty or taken by another view of theirs, and
    NotPermitted where somebody shares who may only look."""
    name = _name(name)
    if len(query) > _LONGEST_QUERY:
        raise BadInput("This filter is too long to be kept. Leave some of it out.")
    _may_share(shared)

    def work(connection: Connection) -> UUID:
        view = t.saved_view.c
        theirs = (*_theirs(view, person), view.page == page)
        if connection.execute(select(func.count()).where(*theirs)).scalar_one() >= _MOST_VIEWS:
            raise BadInput(f"You have {_MOST_VIEWS} views of this list. Delete one you do not need any more.")
        view_id = new_id()
        row = upsert(connection, t.saved_view).values(
            merchant_id=person.merchant_id,
            id=view_id,
            user_id=person.user_id,
            page=page,
            name=name,
            query=query,
            shared=shared,
            created_at=database.now(connection),
        )
        keys = ["merchant_id", "user_id", "page", "name"]
        if connection.execute(row.on_conflict_do_nothing(index_elements=keys).returning(view.id)).first() is None:
            raise _taken(name)
        return view_id

    return database.transact(work)


def replace_query(database: Database, person: Person, view_id: UUID, query: str) -> None:
    """Have a view say another filter from now on. Raises Conflict, NotPermitted."""
    if len(query) > _LONGEST_QUERY:
        raise BadInput("This filter is too long to be kept. Leave some of it out.")
    _change(database, person, view_id, query=query)


def rename(database: Database, person: Person, view_id: UUID, name: str, *, shared: bool) -> None:
    """Call a view something else, and share it or no longer. Raises BadInput, Conflict, NotPermitted."""
    _may_share(shared)
    _change(database, person, view_id, name=_name(name), shared=shared)


def remove(database: Database, person: Person, view_id: UUID) -> None:
    """Delete a view; whose list begins with it begins with everything. Raises Conflict, NotPermitted."""

    def work(connection: Connection) -> None:
        _to_change(connection, person, view_id)
        this, view = t.list_preference.c, t.saved_view.c
        connection.execute(
            update(t.list_preference)
            .where(this.merchant_id == person.merchant_id, this.view_id == view_id)
            .values(view_id=None)
        )
        connection.execute(delete(t.saved_view).where(view.merchant_id == person.merchant_id, view.id == view_id))

    database.transact(work)


def choose_columns(database: Database, person: Person, page: str, columns: Sequence[str]) -> None:
    """Show somebody these columns of a list, in this order; none: the usual ones."""
    _prefer(database, person, page, columns=list(columns))


def begin_with(database: Database, person: Person, page: str, view_id: UUID | None) -> None:
    """Have a list begin with a view, None: with everything. Raises Conflict for a view they do not see."""
    if view_id is not None:
        with database.read() as connection:
            if view_id not in [each.id for each in views(connection, person, page)]:
                raise _gone()
    _prefer(database, person, page, view_id=view_id)


def _prefer(database: Database, person: Person, page: str, **values: Any) -> None:
    def work(connection: Connection) -> None:
        keys = {"merchant_id": person.merchant_id, "user_id": person.user_id, "page": page}
        row = upsert(connection, t.list_preference).values(**({"columns": []} | keys | values))
        connection.execute(row.on_conflict_do_update(index_elements=list(keys), set_=values))

    database.transact(work)


def _change(database: Database, person: Person, view_id: UUID, **values: Any) -> None:
    def work(connection: Connection) -> None:
        row, view = _to_change(connection, person, view_id), t.saved_view.c
        if "name" in values:
            named = (view.user_id == row.user_id, view.page == row.page, view.name == values["name"])
            others = select(view.id).where(view.merchant_id == person.merchant_id, view.id != view_id, *named)
            if connection.execute(others).first() is not None:
                raise _taken(values["name"])
        if row.shared and not values.get("shared", True):
            # Whoever else begins with it would begin with what they do not see.
            this = t.list_preference.c
            connection.execute(
                update(t.list_preference)
                .where(this.merchant_id == person.merchant_id, this.view_id == view_id, this.user_id != row.user_id)
                .values(view_id=None)
            )
        connection.execute(
            update(t.saved_view).where(view.merchant_id == person.merchant_id, view.id == view_id).values(**values)
        )

    database.transact(work)


def _to_change(connection: Connection, person: Person, view_id: UUID) -> Row[Any]:
    """The view, locked. Raises Conflict where they do not see it, NotPermitted for somebody else's."""
    view = t.saved_view.c
    row = connection.execute(
        for_update(
            connection,
            select(t.saved_view).where(view.merchant_id == person.merchant_id, view.id == view_id),
        )
    ).one_or_none()
    if row is None or not (row.shared or row.user_id == person.user_id):
        raise _gone()
    if row.user_id != person.user_id:
        access.demand(Permission.SETTINGS)  # everybody works with it
    return row


def _may_share(shared: bool) -> None:
    if shared:
        access.demand(Permission.ORDERS)


def _theirs(table: Any, person: Person) -> tuple[Any, ...]:
    return (table.merchant_id == person.merchant_id, table.user_id == person.user_id)


def _name(text: str) -> str:
    name = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if not name or len(name) > _LONGEST_NAME:
        sentence = f"Give the view a name of at most {_LONGEST_NAME} characters."
        raise BadInput(sentence, {"name": [sentence]})
    return name


def _taken(name: str) -> BadInput:
    sentence = f"You have a view called “{name}” already. Choose another name."
    return BadInput(sentence, {"name": [sentence]})


def _gone() -> Conflict:
    return Conflict("This view was deleted, or is not shared any more. Reload the page.")
