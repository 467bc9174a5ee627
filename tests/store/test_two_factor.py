"""The second factor, SQLite and PostgreSQL: codes by time that work once, recovery codes, tries that are counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, update

from hub.errors import BadInput, Conflict
from hub.store import accounts, merchants, people, two_factor
from hub.store import tables as t
from hub.store.accounts import Visitor
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key

PASSWORD = "four calm green teapots"
ADA = "ada@tea.example"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch, database: Database) -> list[datetime]:
    """The time, which stands still until a test moves it."""
    with database.read() as db:
        moment = [database.now(db).replace(second=0, microsecond=0)]
    monkeypatch.setattr(Database, "now", staticmethod(lambda connection: moment[0]))
    return moment


class Ada:
    """An owner with an app on her telephone, whose clock may be wrong."""

    def __init__(self, database: Database, keyring: KeyRing, noon: list[datetime]) -> None:
        token = accounts.issue_setup_token(database) or ""
        self.database, self.keyring, self.noon = database, keyring, noon
        self.merchant, self.id = accounts.set_up(
            database, token, merchant_name="Tea", email=ADA, name="Ada", password=PASSWORD
        )
        self.secret = ""

    @property
    def visitor(self) -> Visitor:
        token = accounts.open_session(self.database, self.id, "") or ""
        with self.database.read() as db:
            found = accounts.visitor(db, token)
        assert found
        return found

    def scan(self) -> None:
        two_factor.begin(self.database, self.keyring, self.visitor)
        with self.database.read() as db:
            self.secret = two_factor.pending(db, self.keyring, self.visitor) or ""
        assert len(self.secret) == 32

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(self.secret).at(self.noon[0] + timedelta(seconds=30 * steps))

    def turn_on(self) -> list[str]:
        self.scan()
        codes = two_factor.confirm(self.database, self.keyring, self.visitor, self.code())
        self.noon[0] += timedelta(minutes=5)
        return codes

    def enter(self, code: str) -> bool:
        """One sign-in's second step."""
        token = two_factor.begin_second_step(self.database, self.id)
        return two_factor.finish_second_step(self.database, self.keyring, token, code) == self.id


@pytest.fixture
def ada(database: Database, keyring: KeyRing, noon: list[datetime]) -> Ada:
    return Ada(database, keyring, noon)


def test_it_counts_only_once_a_code_has_confirmed_it(database: Database, keyring: KeyRing, ada: Ada) -> None:
    ada.scan()
    with database.read() as db:
        assert not two_factor.is_on(db, ada.id)
        kept = db.execute(select(t.user_account.c.totp_secret)).scalar_one()
    assert ada.secret.encode() not in kept

    wrong = f"{(int(ada.code()) + 1) % 10**6:06}"
    with pytest.raises(BadInput) as caught:
        two_factor.confirm(database, keyring, ada.visitor, wrong)
    assert list(caught.value.fields) == ["code"]
    assert not ada.visitor.has_two_factor

    codes = two_factor.confirm(database, keyring, ada.visitor, f" {ada.code()[:3]} {ada.code()[3:]}")

    assert ada.visitor.has_two_factor
    assert len(set(codes)) == 10 and all(len(each) == 19 for each in codes)
    with database.read() as db:
        assert two_factor.pending(db, keyring, ada.visitor) is None  # nobody sees the secret again
    with pytest.raises(Conflict, match="on already"):
        two_factor.begin(database, keyring, ada.visitor)


def test_what_the_app_scans_names_the_hub_and_the_person(ada: Ada) -> None:
    ada.scan()

    read = pyotp.parse_uri(two_factor.address(ada.secret, ADA))

    assert (read.secret, read.name, read.issuer) == (ada.secret, ADA, "Tallyhub")


@pytest.mark.parametrize(("steps", "lets_in"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_telephone_may_be_a_step_early_or_late(ada: Ada, steps: int, lets_in: bool) -> None:
    ada.turn_on()

    assert ada.enter(ada.code(steps)) is lets_in


def test_no_code_works_twice_nor_one_before_it(ada: Ada) -> None:
    ada.turn_on()
    before, now = ada.code(-1), ada.code()

    assert ada.enter(now)
    assert not ada.enter(now)
    assert not ada.enter(before)
    assert ada.enter(ada.code(1))


def test_one_code_sent_many_times_at_once_lets_in_once(ada: Ada) -> None:
    ada.turn_on()
    code = ada.code()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ada.enter, [code] * 4)) == [False, False, False, True]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "000 00", "None"])
def test_what_is_no_code_lets_nobody_in(ada: Ada, code: str) -> None:
    ada.turn_on()

    assert not ada.enter(code)


def test_a_recovery_code_opens_one_sign_in(database: Database, ada: Ada) -> None:
    codes = ada.turn_on()
    with database.read() as db:
        kept = str(db.execute(select(t.recovery_code)).all())
    assert not any(each in kept or each.replace("-", "") in kept for each in codes)

    assert ada.enter(codes[3].lower().replace("-", " "))
    assert not ada.enter(codes[3])
    with database.read() as db:
        assert two_factor.codes_left(db, ada.id) == 9
    fresh = two_factor.fresh_codes(database, ada.visitor)
    assert not ada.enter(codes[4])
    assert ada.enter(fresh[0])


def test_one_sign_in_has_five_tries_however_many_come_at_once(database: Database, keyring: KeyRing, ada: Ada) -> None:
    ada.turn_on()
    token = two_factor.begin_second_step(database, ada.id)

    for _ in range(5):
        assert two_factor.finish_second_step(database, keyring, token, "wrong") is None
    assert two_factor.finish_second_step(database, keyring, token, ada.code()) is None

    with database.read() as db:
        assert two_factor.whose(db, token) is None
    assert ada.enter(ada.code())


def test_the_second_step_ends_after_five_minutes_and_with_its_use(
    database: Database, keyring: KeyRing, ada: Ada, noon: list[datetime]
) -> None:
    ada.turn_on()
    late, used = (two_factor.begin_second_step(database, ada.id) for _ in range(2))
    with database.read() as db:
        assert accounts.visitor(db, late) is None  # it opens no page
        assert late not in str(db.execute(select(t.second_step)).all())
    assert two_factor.finish_second_step(database, keyring, used, ada.code()) == ada.id
    assert two_factor.finish_second_step(database, keyring, used, ada.code(1)) is None

    noon[0] += timedelta(minutes=5, seconds=1)
    assert two_factor.finish_second_step(database, keyring, late, ada.code()) is None
    assert ada.enter(ada.code())


def test_a_sign_in_begun_with_the_old_password_ends_with_it(database: Database, keyring: KeyRing, ada: Ada) -> None:
    ada.turn_on()
    token = two_factor.begin_second_step(database, ada.id)

    accounts.reset_password(database, ADA, "seven loud blue kettles")

    assert two_factor.finish_second_step(database, keyring, token, ada.code()) is None
    assert ada.enter(ada.code())


def test_a_secret_whose_key_is_gone_leaves_the_recovery_codes(database: Database, ada: Ada) -> None:
    codes = ada.turn_on()
    ada.keyring = KeyRing([new_key()])

    assert not ada.enter(ada.code())
    assert ada.enter(codes[0])


def test_a_secret_copied_to_somebody_else_is_worth_nothing(database: Database, ada: Ada) -> None:
    ada.turn_on()
    joan = accounts.create_user(
        database, ada.merchant, email="joan@tea.example", name="", password=PASSWORD, role="manager"
    )
    with database.write() as db:
        row = db.execute(select(t.user_account).where(t.user_account.c.id == ada.id)).one()
        db.execute(
            update(t.user_account)
            .where(t.user_account.c.id == joan)
            .values(totp_secret=row.totp_secret, totp_on_at=row.totp_on_at)
        )

    token = two_factor.begin_second_step(database, joan)
    assert two_factor.finish_second_step(database, ada.keyring, token, ada.code()) is None


def test_where_it_is_required_it_stays_on(database: Database, ada: Ada) -> None:
    with pytest.raises(Conflict, match="for yourself first"):
        people.require_two_factor(database, ada.visitor, True)
    ada.turn_on()
    people.require_two_factor(database, ada.visitor, True)
    assert ada.visitor.needs_two_factor

    with pytest.raises(Conflict, match="An owner decides that"):
        two_factor.turn_off(database, ada.visitor)
    people.require_two_factor(database, ada.visitor, False)
    two_factor.turn_off(database, ada.visitor)

    assert not ada.visitor.has_two_factor
    with database.read() as db:
        assert db.execute(select(func.count()).select_from(t.recovery_code)).scalar_one() == 0


def test_an_owner_resets_it_for_their_own_people_alone(database: Database, keyring: KeyRing, ada: Ada) -> None:
    ada.turn_on()
    joan = accounts.create_user(
        database, ada.merchant, email="joan@tea.example", name="", password=PASSWORD, role="owner"
    )
    token = accounts.open_session(database, joan, "") or ""
    with database.read() as db:
        visitor = accounts.visitor(db, token)
    assert visitor
    coffee = merchants.create(database, "Coffee", ada.visitor, most=2)

    with pytest.raises(Conflict, match="hub users reset-two-factor"):
        two_factor.reset_for(database, ada.merchant, ada.id, visitor)  # Coffee is none of Joan's business
    with pytest.raises(BadInput, match="does not work here"):
        two_factor.reset_for(database, coffee, joan, ada.visitor)
    assert ada.visitor.has_two_factor

    # An owner there too, who may not come in there any more.
    with database.write() as db:
        db.execute(
            t.membership.insert().values(merchant_id=coffee, user_id=joan, role="owner", disabled_at=database.now(db))
        )
    with pytest.raises(Conflict, match="hub users reset-two-factor"):
        two_factor.reset_for(database, ada.merchant, ada.id, visitor)
    assert ada.visitor.has_two_factor

    two_factor.reset(database, " ADA@tea.example")
    assert not ada.visitor.has_two_factor
    with pytest.raises(BadInput, match="Nobody signs in as"):
        two_factor.reset(database, "eve@tea.example")
