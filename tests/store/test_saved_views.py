"""What people keep of a list: views of their own and shared ones, columns, and what the list begins with."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from hub import access
from hub.access import GRANTS, NotPermitted, Role
from hub.errors import BadInput, Conflict
from hub.store import saved_views
from hub.store import tables as t
from hub.store.database import Database
from hub.store.saved_views import Person, Preference

PAGE = "orders"


@pytest.fixture
def ada(database: Database, merchant: UUID) -> Person:
    return hire(database, merchant, "ada@example.test")


@pytest.fixture
def ben(database: Database, merchant: UUID) -> Person:
    return hire(database, merchant, "ben@example.test")


def hire(database: Database, merchant: UUID, email: str) -> Person:
    user_id = uuid4()
    with database.write() as connection:
        now = database.now(connection)
        values = {"id": user_id, "email": email, "created_at": now, "password_changed_at": now}
        connection.execute(insert(t.user_account).values(**values))
    return Person(merchant, user_id)


def seen(database: Database, person: Person) -> list[tuple[str, str, bool, bool, str]]:
    with database.read() as connection:
        return [
            (each.name, each.query, each.shared, each.own, each.owner)
            for each in saved_views.views(connection, person, PAGE)
        ]


def preference(database: Database, person: Person) -> Preference:
    with database.read() as connection:
        return saved_views.preference(connection, person, PAGE)


def test_a_view_is_for_its_maker_alone_unless_it_is_shared(database: Database, ada: Person, ben: Person) -> None:
    saved_views.save(database, ada, PAGE, "  Late   ones ", "status=open", shared=False)
    saved_views.save(database, ada, PAGE, "Risky", "mark=risky", shared=True)
    saved_views.save(database, ben, PAGE, "Late ones", "paid=no", shared=False)
    saved_views.save(database, ben, "stock", "Elsewhere", "q=mug", shared=True)

    assert seen(database, ada) == [
        ("Late ones", "status=open", False, True, "ada@example.test"),
        ("Risky", "mark=risky", True, True, "ada@example.test"),
    ]
    assert seen(database, ben) == [
        ("Late ones", "paid=no", False, True, "ben@example.test"),
        ("Risky", "mark=risky", True, False, "ada@example.test"),
    ]
    assert seen(database, Person(uuid4(), ada.user_id)) == []


def test_a_view_says_something_else_is_renamed_shared_and_deleted(database: Database, ada: Person, ben: Person) -> None:
    view = saved_views.save(database, ada, PAGE, "Late", "status=open", shared=False)

    saved_views.replace_query(database, ada, view, "status=open&paid=yes")
    saved_views.rename(database, ada, view, "Late and paid", shared=True)
    assert seen(database, ben) == [("Late and paid", "status=open&paid=yes", True, False, "ada@example.test")]
    saved_views.begin_with(database, ben, PAGE, view)
    saved_views.remove(database, ada, view)

    assert seen(database, ada) == []
    assert preference(database, ben) == Preference()


def test_a_view_that_is_no_longer_shared_is_no_longer_what_others_begin_with(
    database: Database, ada: Person, ben: Person
) -> None:
    view = saved_views.save(database, ada, PAGE, "Late", "status=open", shared=True)
    for person in (ada, ben):
        saved_views.begin_with(database, person, PAGE, view)

    saved_views.rename(database, ada, view, "Late", shared=False)

    assert preference(database, ben).view_id is None
    assert preference(database, ada).view_id == view


def test_columns_and_beginning_are_kept_apart(database: Database, ada: Person, ben: Person) -> None:
    view = saved_views.save(database, ada, PAGE, "Late", "status=open", shared=False)

    saved_views.choose_columns(database, ada, PAGE, ["total", "shop"])
    saved_views.begin_with(database, ada, PAGE, view)
    saved_views.choose_columns(database, ada, PAGE, ["shop"])

    assert preference(database, ada) == Preference(("shop",), view)
    assert preference(database, ben) == Preference()
    saved_views.begin_with(database, ada, PAGE, None)
    assert preference(database, ada) == Preference(("shop",), None)


@pytest.mark.parametrize("name", ["", " \t ", "x" * 61, "\u202e"])
def test_a_view_has_a_name_that_fits(database: Database, ada: Person, name: str) -> None:
    with pytest.raises(BadInput) as error:
        saved_views.save(database, ada, PAGE, name, "", shared=False)

    assert list(error.value.fields) == ["name"]


def test_a_name_is_taken_once_by_one_person(database: Database, ada: Person) -> None:
    saved_views.save(database, ada, PAGE, "Late", "status=open", shared=False)
    other = saved_views.save(database, ada, PAGE, "Other", "", shared=False)

    with pytest.raises(BadInput, match="called “Late” already"):
        saved_views.save(database, ada, PAGE, "Late", "", shared=False)
    with pytest.raises(BadInput, match="called “Late” already"):
        saved_views.rename(database, ada, other, "Late", shared=False)
    saved_views.rename(database, ada, other, "Other", shared=False)

    assert [name for name, *_ in seen(database, ada)] == ["Late", "Other"]


def test_too_long_and_too_many_are_refused(database: Database, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "_MOST_VIEWS", 1)
    view = saved_views.save(database, ada, PAGE, "One", "", shared=False)

    with pytest.raises(BadInput, match="You have 1 views"):
        saved_views.save(database, ada, PAGE, "Two", "", shared=False)
    for query in ("x" * 2001,):
        with pytest.raises(BadInput, match="too long"):
            saved_views.save(database, ada, PAGE, "Long", query, shared=False)
        with pytest.raises(BadInput, match="too long"):
            saved_views.replace_query(database, ada, view, query)


def test_somebody_elses_view_is_out_of_reach(database: Database, ada: Person, ben: Person) -> None:
    private = saved_views.save(database, ada, PAGE, "Mine", "", shared=False)
    shared = saved_views.save(database, ada, PAGE, "Ours", "", shared=True)
    stranger = Person(uuid4(), ada.user_id)

    for person, view in ((ben, private), (stranger, shared), (ben, uuid4())):
        with pytest.raises(Conflict):
            saved_views.remove(database, person, view)
        with pytest.raises(Conflict):
            saved_views.replace_query(database, person, view, "q=x")
        with pytest.raises(Conflict):
            saved_views.begin_with(database, person, PAGE, view)
    with access.acting_as(GRANTS[Role.SUPPORT]), pytest.raises(NotPermitted):
        saved_views.rename(database, ben, shared, "Theirs", shared=True)
    with access.acting_as(GRANTS[Role.MANAGER]):
        saved_views.rename(database, ben, shared, "Everybody's", shared=True)

    assert [name for name, *_ in seen(database, ada)] == ["Mine", "Everybody's"]


def test_who_may_only_look_keeps_views_and_shares_none(database: Database, ada: Person) -> None:
    with access.acting_as(GRANTS[Role.READ_ONLY]):
        view = saved_views.save(database, ada, PAGE, "Mine", "", shared=False)
        with pytest.raises(NotPermitted):
            saved_views.save(database, ada, PAGE, "Ours", "", shared=True)
        with pytest.raises(NotPermitted):
            saved_views.rename(database, ada, view, "Mine", shared=True)

    assert [shared for _, _, shared, *_ in seen(database, ada)] == [False]
