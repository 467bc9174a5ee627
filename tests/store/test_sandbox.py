"""The sandbox as it is stored: beside nothing real, led to its simulators alone, and gone without a trace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, func, select, update

from hub.errors import Conflict, Rejected
from hub.http import Client, led
from hub.jobs import LANES, sandboxes
from hub.store import accounts, connections, people, sandbox, words
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.queries import audit
from hub.store.sandbox import Phase
from hub.store.secrets import KeyRing
from tests.ops.shop import NOON, Shop
from tests.web.shop_builder import TeaShop, hub_on

TEA = {"address": "https://tea.example", "token": "leaves and water"}
ROUTES = {"https://tea.example": "http://127.0.0.1:4001"}


@pytest.fixture
def merchant(database: Database) -> UUID:
    token = accounts.issue_setup_token(database)
    assert token is not None
    return accounts.set_up(
        database, token, merchant_name="Leaf", email="a@b.example", name="Ada", password="four calm green teapots"
    )[0]


def begin(database: Database, keyring: KeyRing, merchant: UUID) -> UUID:
    sandbox.open_up(database, merchant, "a@b.example")
    (opened,) = sandbox.begin(database, keyring, merchant, ROUTES, [(TeaShop, TEA)])
    return opened


def row_of(database: Database, connection_id: UUID) -> Row[Any]:
    with database.read() as connection:
        return connection.execute(select(t.connection).where(t.connection.c.id == connection_id)).one()


def left(database: Database) -> set[str]:
    with database.read() as connection:
        return {
            name
            for name, table in t.metadata.tables.items()
            if connection.execute(select(func.count()).select_from(table)).scalar_one()
        }


def test_a_real_shop_cannot_be_connected_beside_it(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    begin(database, keyring, merchant)
    with pytest.raises(Conflict, match="Remove the sandbox"):
        connections.connect(database, keyring, merchant, TeaShop, "Real", TEA, "a@b.example")
    with database.read() as connection:
        assert list(connection.execute(select(t.connection.c.sandbox)).scalars()) == [True]


@pytest.mark.parametrize("state", ["connected", "removed"])
def test_it_cannot_be_opened_beside_a_real_shop(
    database: Database, keyring: KeyRing, merchant: UUID, state: str
) -> None:
    connections.connect(database, keyring, merchant, TeaShop, "Real", TEA, "a@b.example")
    with database.write() as connection:
        connection.execute(update(t.connection).values(state=state))
    with pytest.raises(Conflict, match="There is a connection here already"):
        sandbox.open_up(database, merchant, "a@b.example")
    with database.read() as connection:
        assert sandbox.wanted(connection) == []


def test_one_person_opens_so_many_at_a_time(
    database: Database, merchant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MOST_PER_PERSON", 1)
    other = new_id()
    with database.write() as connection:
        at = database.now(connection)
        connection.execute(t.merchant.insert().values(id=other, name="Kettle", created_at=at))
    sandbox.open_up(database, merchant, "a@b.example")
    sandbox.open_up(database, merchant, "a@b.example")  # it is there already

    with pytest.raises(Conflict, match=r"You have opened 1 sandboxes.*: that of Leaf"):
        sandbox.open_up(database, other, "a@b.example")
    with database.read() as connection:
        assert sandbox.wanted(connection) == [merchant]

    sandbox.open_up(database, other, "somebody@else.example")
    with database.read() as connection:
        assert sorted(sandbox.wanted(connection)) == sorted([merchant, other])


def test_its_connections_alone_have_its_routes(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    simulated = begin(database, keyring, merchant)
    with database.write() as connection:
        sealed = connection.execute(select(t.task.c.request)).scalar_one()
        connection.execute(update(t.connection).values(secrets=sealed))
    with database.read() as connection:
        assert words.credentials(connection, keyring, TeaShop, row_of(database, simulated)).routes == ROUTES
    with database.write() as connection:
        connection.execute(update(t.connection).values(sandbox=False))
    with database.read() as connection:
        assert words.credentials(connection, keyring, TeaShop, row_of(database, simulated)).routes is None


def test_an_address_without_a_route_is_no_address_of_a_simulated_connection() -> None:
    hosts = led(["https://tea.example", "https://api.tea.example"], ROUTES)
    assert hosts == ["https://tea.example"]
    with pytest.raises(Rejected, match=r"api\.tea\.example is not an address of this connection: nothing was sent"):
        Client(hosts=hosts, routes=ROUTES).get("https://api.tea.example/me")


def test_a_simulated_connection_without_routes_reaches_nobody(
    database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path
) -> None:
    simulated = begin(database, keyring, merchant)
    with database.write() as connection:
        connection.execute(update(t.sandbox).values(routes={}))
        assert sandbox.routes_of(connection, row_of(database, simulated)) == {}
    hub = hub_on(database, tmp_path, routes={"https://tea.example": "http://127.0.0.1:9"})
    credentials = connections.Credentials(TEA, "secret", routes={})
    caller = hub.caller(TeaShop, credentials, merchant, simulated)
    with pytest.raises(Rejected, match="is not an address of this connection"):
        caller.client.get("https://tea.example/me")
    caller.client.close()


def test_it_goes_with_everything_in_it_and_people_stay(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        shop = Shop(connection, keyring)
        connection.execute(update(t.connection).values(sandbox=True))
    sandbox.remove(database, shop.merchant, "a@b.example")
    with database.write() as connection:
        sandbox.forget(connection, shop.merchant, at=NOON)

    of_nobody = {"user_account", "setup_token", "lease", "postal_place", "recovery_code", "second_step", "failed_try"}
    of_people = {table.name for table in sandbox.STAYS} - {"sandbox"}
    assert left(database) == of_nobody | of_people | {"activity"}


def test_the_audit_log_of_its_people_outlasts_it(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    begin(database, keyring, merchant)
    people.invite(database, merchant, "joan@b.example", "owner", "a@b.example")
    sandbox.remove(database, merchant, "a@b.example")
    with database.write() as connection:
        sandbox.forget(connection, merchant, at=NOON)
        told = audit.audit(connection, merchant)

    kinds = ["merchant_created", "person_invited", "sandbox_ending", "sandbox_wanted"]
    assert sorted(line.kind for line in told) == kinds  # and no more of its connections
    assert {line.actor for line in told} == {"a@b.example"}


def test_nothing_is_deleted_where_anything_is_real(database: Database, keyring: KeyRing) -> None:
    with database.write() as connection:
        shop = Shop(connection, keyring)
    before = left(database)
    with pytest.raises(Conflict, match="nothing was deleted"), database.write() as connection:
        sandbox.forget(connection, shop.merchant, at=NOON)
    assert left(database) == before


def test_the_other_merchant_keeps_everything(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    begin(database, keyring, merchant)
    other = new_id()
    with database.write() as connection:
        connection.execute(t.merchant.insert().values(id=other, name="Other", created_at=NOON))
    real, _ = connections.connect(database, keyring, other, TeaShop, "Real", TEA, "b@b.example")
    with database.write() as connection:
        sandbox.forget(connection, merchant, at=NOON)
    with database.read() as connection:
        assert list(connection.execute(select(t.connection.c.id)).scalars()) == [real]


@pytest.mark.parametrize("lane", ["fetch:{shop}", "desk:{merchant}"])
def test_it_is_not_emptied_while_a_worker_is_at_it(
    database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path, lane: str
) -> None:
    simulated = begin(database, keyring, merchant)
    hub = hub_on(database, tmp_path)
    lease = database.lease(lane.format(shop=simulated, merchant=merchant), 30.0)
    assert lease is not None
    sandbox.remove(database, merchant, "a@b.example")

    sandboxes.remove_ending(hub, LANES)
    assert row_of(database, simulated).state == "removed"  # nothing more begins there

    database.release(lease)
    sandboxes.remove_ending(hub, LANES)
    with database.read() as connection:
        assert connection.execute(select(t.connection.c.id)).all() == []
        assert sandbox.sandbox(connection, merchant) is None
    connections.connect(database, keyring, merchant, TeaShop, "Real", TEA, "a@b.example")


def test_it_says_how_far_it_has_come(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    def phase(later: float = 0.0) -> Phase:
        with database.read() as connection:
            found = sandbox.sandbox(connection, merchant)
            now = database.now(connection)
        assert found is not None
        return found.phase(now + timedelta(seconds=later))

    sandbox.open_up(database, merchant, "a@b.example")
    assert (phase(), phase(31)) == (Phase.OPENING, Phase.AWAY)
    sandbox.fail(database, merchant, "No simulated shop is installed here.")
    assert phase() is Phase.FAILED
    sandbox.begin(database, keyring, merchant, ROUTES, [(TeaShop, TEA)])
    assert (phase(), phase(31)) == (Phase.OPEN, Phase.AWAY)
    assert sandbox.serve_on(database, merchant)
    sandbox.remove(database, merchant, "a@b.example")
    assert phase() is Phase.ENDING
    assert not sandbox.serve_on(database, merchant)
    assert sandbox.begin(database, keyring, merchant, ROUTES, [(TeaShop, TEA)]) == []
