"""People of a merchant, SQLite and PostgreSQL: invited once, given roles, let out; and the last owner stays."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from hub import access
from hub.access import GRANTS, NotPermitted, Role
from hub.errors import BadInput, Conflict
from hub.store import accounts, merchants, people
from hub.store import tables as t
from hub.store.accounts import NotAllowed, Visitor
from hub.store.database import Database

PASSWORD = "four calm green teapots"
ADA, JOAN = "ada@tea.example", "joan@tea.example"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Business:
    """A business of Ada's, and what is known of its people."""

    def __init__(self, database: Database) -> None:
        token = accounts.issue_setup_token(database) or ""
        self.database = database
        self.id, self.ada = accounts.set_up(
            database, token, merchant_name="Tea", email=ADA, name="Ada", password=PASSWORD
        )

    def employ(self, email: str = JOAN, role: str = "manager") -> UUID:
        return accounts.create_user(self.database, self.id, email=email, name="", password=PASSWORD, role=role)

    def visitor(self, user_id: UUID, merchant_id: UUID | None = None) -> Visitor:
        token = accounts.open_session(self.database, user_id, "", merchant_id=merchant_id)
        assert token
        with self.database.read() as db:
            found = accounts.visitor(db, token)
        assert found
        return found

    def roles(self) -> dict[str, str]:
        with self.database.read() as db:
            return {each.email: each.role for each in people.people(db, self.id)}

    def told(self) -> list[tuple[str, str]]:
        with self.database.read() as db:
            line = t.activity.c
            rows = db.execute(
                select(line.actor, line.summary).where(line.kind.startswith("person_")).order_by(line.at, line.id)
            )
            return [(row.actor, row.summary) for row in rows]

    def sessions(self) -> int:
        with self.database.read() as db:
            return len(db.execute(select(t.session)).all())


@pytest.fixture
def tea(database: Database) -> Iterator[Business]:
    yield Business(database)


# ---------------------------------------------------------------- invitations


def test_somebody_new_comes_in_by_a_link_that_works_once(database: Database, tea: Business) -> None:
    token = people.invite(database, tea.id, " Noor@Tea.example ", "warehouse", ADA)
    with database.read() as db:
        found = people.invitation(db, token)
        kept = db.execute(select(t.invitation)).one()
    assert found and (found.email, found.role, found.merchant_name) == ("noor@tea.example", "warehouse", "Tea")
    assert not found.has_account
    assert token not in str(tuple(kept))

    with pytest.raises(BadInput):
        people.accept(database, token, name="Noor", password="short")
    user_id, merchant_id = people.accept(database, token, name="Noor", password=PASSWORD)

    assert merchant_id == tea.id
    assert tea.roles() == {ADA: "owner", "noor@tea.example": "warehouse"}
    assert tea.visitor(user_id).may("pack")
    with pytest.raises(NotAllowed, match="Ask for another one"):
        people.accept(database, token, name="Eve", password=PASSWORD)
    assert tea.told() == [
        (ADA, "noor@tea.example invited as warehouse"),
        ("noor@tea.example", f"noor@tea.example works here as warehouse, invited by {ADA}"),
    ]


def test_two_who_hold_one_link_are_one_person(database: Database, tea: Business) -> None:
    token = people.invite(database, tea.id, "noor@tea.example", "support", ADA)

    def come(number: int) -> str:
        try:
            people.accept(database, token, name=f"Noor {number}", password=PASSWORD)
        except NotAllowed:
            return "late"
        return "in"

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(come, range(3))) == ["in", "late", "late"]
    assert list(tea.roles()) == [ADA, "noor@tea.example"]


def test_an_invitation_ends_when_it_is_old_replaced_or_taken_back(database: Database, tea: Business) -> None:
    first = people.invite(database, tea.id, "noor@tea.example", "support", ADA)
    second = people.invite(database, tea.id, "noor@tea.example", "manager", ADA)
    with database.read() as db:
        assert people.invitation(db, first) is None
        found = people.invitation(db, second)
    assert found and found.role == "manager"

    with database.write() as db:
        db.execute(update(t.invitation).values(expires_at=found.expires_at - timedelta(days=7, seconds=1)))
    with pytest.raises(NotAllowed):
        people.accept(database, second, name="Noor", password=PASSWORD)

    third = people.invite(database, tea.id, "noor@tea.example", "manager", ADA)
    assert people.withdraw(database, tea.id, found.id, ADA) == "noor@tea.example"
    with pytest.raises(NotAllowed):
        people.accept(database, third, name="Noor", password=PASSWORD)
    with pytest.raises(Conflict, match="gone already"):
        people.withdraw(database, tea.id, found.id, ADA)
    assert list(tea.roles()) == [ADA]


def test_who_works_here_is_not_asked_again_until_they_have_left(database: Database, tea: Business) -> None:
    joan = tea.employ()
    with pytest.raises(Conflict, match="works here already"):
        people.invite(database, tea.id, JOAN, "support", ADA)

    people.remove(database, tea.id, joan, ADA)
    token = people.invite(database, tea.id, JOAN, "support", ADA)
    with pytest.raises(NotAllowed):
        people.accept_as(database, token, tea.ada)  # somebody else's
    assert people.accept_as(database, token, joan) == tea.id

    assert tea.roles() == {ADA: "owner", JOAN: "support"}
    assert tea.visitor(joan).role == "support"


def test_so_many_invitations_are_open_at_a_time(
    database: Database, tea: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MOST_INVITATIONS", 2)
    for email in ("noor@tea.example", "kim@tea.example"):
        people.invite(database, tea.id, email, "support", ADA)

    with pytest.raises(Conflict, match="2 invitations are open"):
        people.invite(database, tea.id, "eve@tea.example", "support", ADA)
    people.invite(database, tea.id, "kim@tea.example", "manager", ADA)  # replaces her own
    with database.read() as db:
        asked = {each.email: each.id for each in people.invitations(db, tea.id)}
    assert sorted(asked) == ["kim@tea.example", "noor@tea.example"]

    people.withdraw(database, tea.id, asked["noor@tea.example"], ADA)
    people.invite(database, tea.id, "eve@tea.example", "support", ADA)


# ---------------------------------------------------------------- roles


def test_another_role_counts_at_once_and_ends_the_sessions(database: Database, tea: Business) -> None:
    joan = tea.employ()
    assert tea.visitor(joan).may("sync")
    assert tea.sessions() == 1

    assert people.change_role(database, tea.id, joan, "read_only", ADA) == JOAN

    assert tea.sessions() == 0
    assert not tea.visitor(joan).may("sync")
    with pytest.raises(BadInput, match="There is no role “king”"):
        people.change_role(database, tea.id, joan, "king", ADA)


def test_the_last_owner_stays_whatever_is_tried(database: Database, tea: Business) -> None:
    joan = tea.employ(role="manager")
    for change in (
        lambda: people.change_role(database, tea.id, tea.ada, "manager", ADA),
        lambda: people.disable(database, tea.id, tea.ada, ADA),
        lambda: people.remove(database, tea.id, tea.ada, ADA),
    ):
        with pytest.raises(Conflict, match="Make somebody else an owner first"):
            change()
    assert tea.roles() == {ADA: "owner", JOAN: "manager"}

    people.change_role(database, tea.id, joan, "owner", ADA)
    people.disable(database, tea.id, joan, ADA)
    with pytest.raises(Conflict):
        people.remove(database, tea.id, tea.ada, JOAN)  # the other owner may not sign in
    people.enable(database, tea.id, joan, ADA)
    people.remove(database, tea.id, tea.ada, JOAN)
    assert tea.roles() == {JOAN: "owner"}


def test_two_owners_who_remove_each_other_leave_one(database: Database, tea: Business) -> None:
    joan = tea.employ(role="owner")

    def remove(user_id: UUID) -> str:
        try:
            return people.remove(database, tea.id, user_id, "")
        except Conflict:
            return "kept"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(remove, (tea.ada, joan)))

    assert outcomes.count("kept") == 1
    assert len(tea.roles()) == 1


def test_whoever_is_disabled_or_gone_is_out_at_once(database: Database, tea: Business) -> None:
    joan = tea.employ()
    for leave in (people.disable, people.remove):
        token = accounts.open_session(database, joan, "") or ""
        leave(database, tea.id, joan, ADA)
        with database.read() as db:
            assert accounts.visitor(db, token) is None
        assert accounts.open_session(database, joan, "") is None
        if leave is people.disable:
            people.enable(database, tea.id, joan, ADA)
    with pytest.raises(BadInput, match="does not work here"):
        people.enable(database, tea.id, joan, ADA)


def test_only_owners_touch_people(database: Database, tea: Business) -> None:
    joan = tea.employ()
    with access.acting_as(GRANTS[Role.MANAGER]):
        for act in (
            lambda: people.invite(database, tea.id, "x@y", "support", JOAN),
            lambda: people.change_role(database, tea.id, joan, "owner", JOAN),
            lambda: people.remove(database, tea.id, tea.ada, JOAN),
            lambda: merchants.create(database, "Coffee", tea.visitor(joan), most=2),
        ):
            with pytest.raises(NotPermitted):
                act()
    assert tea.roles() == {ADA: "owner", JOAN: "manager"}


# ---------------------------------------------------------------- several merchants


def test_a_person_has_a_role_in_each_business(database: Database, tea: Business) -> None:
    ada = tea.visitor(tea.ada)
    coffee = merchants.create(database, " Coffee ", ada, most=2)
    joan = tea.employ()
    people.accept_as(database, people.invite(database, coffee, JOAN, "warehouse", ADA), joan)

    with database.read() as db:
        assert [(each.name, each.role) for each in merchants.of_person(db, joan)] == [
            ("Coffee", "warehouse"),
            ("Tea", "manager"),
        ]
    assert tea.visitor(joan).merchants == 2
    token = accounts.open_session(database, joan, "") or ""
    with database.read() as db:
        here = accounts.visitor(db, token)
    assert here and (here.merchant_id, here.role) == (tea.id, "manager")

    other = accounts.switch(database, here, token, coffee) or ""
    with database.read() as db:
        there = accounts.visitor(db, other)
        assert accounts.visitor(db, token) is None  # the token was renewed
    assert there and (there.merchant_id, there.role) == (coffee, "warehouse")
    line = t.activity.c
    came_in = select(line.actor, line.summary).where(line.merchant_id == coffee, line.kind == "signed_in")
    with database.read() as db:
        told = db.execute(came_in).all()
    assert [tuple(each) for each in told] == [(JOAN, "Came in from another business they work for")]

    people.remove(database, coffee, joan, ADA)
    with database.read() as db:
        assert accounts.visitor(db, other) is None
    assert tea.visitor(joan).merchants == 1


def test_somebody_owns_so_many_businesses_and_works_for_any_number(database: Database, tea: Business) -> None:
    coffee = merchants.create(database, "Coffee", tea.visitor(tea.ada), most=2)

    with pytest.raises(Conflict, match="This hub allows 2 businesses to each owner"):
        merchants.create(database, "Cocoa", tea.visitor(tea.ada), most=2)

    joan = tea.employ(role="owner")
    people.accept_as(database, people.invite(database, coffee, JOAN, "owner", ADA), joan)
    people.remove(database, coffee, tea.ada, JOAN)  # what she has left she owns no more
    merchants.create(database, "Cocoa", tea.visitor(tea.ada), most=2)
    with database.read() as db:
        assert [each.name for each in merchants.of_person(db, tea.ada)] == ["Cocoa", "Tea"]


def test_two_at_once_make_no_business_too_many(database: Database, tea: Business) -> None:
    ada = tea.visitor(tea.ada)

    def another(number: int) -> str:
        try:
            merchants.create(database, f"Coffee {number}", ada, most=2)
        except Conflict:
            return "one too many"
        return "made"

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(another, range(3))) == ["made", "one too many", "one too many"]


def test_nobody_switches_to_where_they_do_not_work(database: Database, tea: Business) -> None:
    coffee = merchants.create(database, "Coffee", tea.visitor(tea.ada), most=2)
    joan = tea.employ()
    token = accounts.open_session(database, joan, "") or ""
    with database.read() as db:
        visitor = accounts.visitor(db, token)
    assert visitor

    assert accounts.switch(database, visitor, token, coffee) is None

    with database.read() as db:
        still = accounts.visitor(db, token)
    assert still and still.merchant_id == tea.id


def test_a_business_keeps_its_zone_and_language_and_tells_what_was_changed(database: Database, tea: Business) -> None:
    merchants.save(database, tea.id, "Leaf", "Europe/Berlin", "de_DE", ADA)
    merchants.save(database, tea.id, "Leaf", "Europe/Berlin", "de_DE", ADA)  # nothing is new
    with pytest.raises(BadInput) as caught:
        merchants.save(database, tea.id, "Leaf", "Europe/Atlantis", "", ADA)

    assert list(caught.value.fields) == ["time_zone"]
    seen = tea.visitor(tea.ada)
    assert (seen.merchant_name, seen.time_zone, seen.locale) == ("Leaf", "Europe/Berlin", "de_DE")
    with database.read() as db:
        (details,) = db.execute(select(t.activity.c.details).where(t.activity.c.kind == "merchant_changed")).scalars()
    assert details == {
        "name": {"before": "Tea", "after": "Leaf"},
        "time_zone": {"before": "", "after": "Europe/Berlin"},
        "locale": {"before": "", "after": "de_DE"},
    }
