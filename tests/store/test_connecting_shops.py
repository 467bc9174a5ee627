"""Connections in the database: connecting, going live, pausing and removing, and what each of them may not do."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, update

from hub.connector import Delivery, Webhook
from hub.errors import BadInput, Conflict
from hub.store import connections, inbox, matching
from hub.store import tables as t
from hub.store.database import new_id
from tests.core.making import a_line, an_order
from tests.store.warehouse import OWNER, FakeChannel, Warehouse


def begin(warehouse: Warehouse, label: str = "Green Shop", password: str = "s3same") -> tuple[UUID, UUID]:
    settings = {"shop": "green", "password": password}
    return connections.connect(
        warehouse.database, warehouse.keyring, warehouse.merchant, FakeChannel, label, settings, OWNER
    )


def shop(warehouse: Warehouse, connection_id: UUID) -> Any:
    return warehouse.row(t.connection, t.connection.c.id == connection_id)


def credentials(warehouse: Warehouse, connection_id: UUID) -> connections.Credentials:
    sealed = shop(warehouse, connection_id).secrets
    return connections.unseal(warehouse.keyring, warehouse.merchant, connection_id, FakeChannel, sealed)


# ---------------------------------------------------------------- connecting


def test_a_new_connection_waits_for_its_check(warehouse: Warehouse) -> None:
    connection_id, task_id = begin(warehouse)

    row = shop(warehouse, connection_id)
    assert (row.state, row.label, row.settings, row.secrets) == ("new", "Green Shop", {"shop": "green"}, None)
    task = warehouse.row(t.task)
    assert (task.id, task.kind, task.state, task.actor) == (task_id, "check", "waiting", OWNER)
    assert b"s3same" not in task.request
    assert warehouse.rows(t.cursor) == []


def test_a_check_that_passed_starts_the_import(warehouse: Warehouse) -> None:
    connection_id, _ = begin(warehouse)

    warehouse.check(connection_id, "green-1", places=("", "Barn"))

    row = shop(warehouse, connection_id)
    assert (row.state, row.account_external_id, row.account_name, row.currency, row.live_at) == (
        "connected",
        "green-1",
        "Green-1",
        "EUR",
        None,
    )
    assert {(each.stream, each.value) for each in warehouse.rows(t.cursor)} == {
        ("orders", None),
        ("listings", None),
        ("webhooks", None),
    }
    assert credentials(warehouse, connection_id).settings == {"shop": "green", "password": "s3same"}
    assert len(credentials(warehouse, connection_id).webhook_secret) >= 32


def test_the_shops_first_location_is_the_merchants(warehouse: Warehouse) -> None:
    connection_id, _ = begin(warehouse)
    warehouse.check(connection_id, "green-1", places=("hall", "barn"))

    places = {each.external_id: each.location_id for each in warehouse.rows(t.channel_location)}

    assert places == {"hall": warehouse.row(t.location).id, "barn": None}
    warehouse.connect("blue-1")
    assert len(warehouse.rows(t.location)) == 1, "the second shop shows the same shelf"


def test_secrets_never_lie_beside_the_settings(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect()

    row = shop(warehouse, connection_id)

    assert "password" not in row.settings
    assert b"s3same" not in row.secrets
    assert connections.secret_fields(FakeChannel) == {"password"}


def test_one_account_is_connected_once(warehouse: Warehouse) -> None:
    warehouse.connect("green-1")
    second, _ = begin(warehouse)

    with pytest.raises(Conflict, match=r"Green-1 is connected already\. Open that connection instead\."):
        warehouse.check(second, "green-1")

    assert (shop(warehouse, second).state, shop(warehouse, second).secrets) == ("new", None)


def test_another_merchant_may_connect_the_same_account(warehouse: Warehouse) -> None:
    warehouse.connect("green-1")
    other = Warehouse(warehouse.database, warehouse.keyring, new_id())
    with warehouse.database.write() as connection:
        now = warehouse.database.now(connection)
        connection.execute(insert(t.merchant).values(id=other.merchant, name="Other", created_at=now))

    assert shop(warehouse, other.connect("green-1")).state == "connected"


# ---------------------------------------------------------------- reconnecting


def reconnect(warehouse: Warehouse, connection_id: UUID, password: str) -> UUID:
    return connections.reconnect(
        warehouse.database,
        warehouse.keyring,
        warehouse.merchant,
        connection_id,
        FakeChannel,
        {"shop": "green", "password": password},
        OWNER,
    )


def test_new_settings_replace_the_old_ones_only_when_their_check_passes(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1")
    secret = credentials(warehouse, connection_id).webhook_secret

    reconnect(warehouse, connection_id, "changed")
    assert credentials(warehouse, connection_id).settings["password"] == "s3same"

    warehouse.check(connection_id, "green-1")
    assert credentials(warehouse, connection_id).settings["password"] == "changed"
    assert credentials(warehouse, connection_id).webhook_secret == secret, "its webhooks are signed with it"


def test_settings_of_another_account_are_refused(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1")
    reconnect(warehouse, connection_id, "changed")

    with pytest.raises(Conflict, match=r"reach Blue-9, but this connection belongs to Green-1"):
        warehouse.check(connection_id, "blue-9")

    assert credentials(warehouse, connection_id).settings["password"] == "s3same"


def test_reconnecting_ends_a_pause_and_settles_the_request_to_do_so(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1", live=True)
    with warehouse.database.write() as connection:
        connection.execute(update(t.connection).values(state="paused", error="The key was revoked.", failures=9))
        connection.execute(
            insert(t.connection_token).values(
                merchant_id=warehouse.merchant, connection_id=connection_id, name="access", value=b"old"
            )
        )
    reconnect(warehouse, connection_id, "changed")

    warehouse.check(connection_id, "green-1")

    row = shop(warehouse, connection_id)
    assert (row.state, row.error, row.failures) == ("connected", "", 0)
    assert row.live_at is not None
    assert warehouse.rows(t.connection_token) == [], "tokens of the old credentials are void"


# ---------------------------------------------------------------- live, paused, removed


def test_only_a_working_connection_goes_live(warehouse: Warehouse) -> None:
    connection_id, _ = begin(warehouse)
    here = (warehouse.database, warehouse.merchant, connection_id, OWNER)

    with pytest.raises(Conflict, match="only a working connection can go live"):
        connections.go_live(*here)

    warehouse.check(connection_id, "green-1")
    connections.go_live(*here)
    first = shop(warehouse, connection_id).live_at
    connections.go_live(*here)
    assert shop(warehouse, connection_id).live_at == first
    assert [each.kind for each in warehouse.rows(t.activity)].count("went_live") == 1


def test_going_live_publishes_what_may_be_published_and_nothing_else(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(places=("hall", "barn"))
    counted, uncounted = warehouse.sku("MUG", 5), warehouse.sku("TEE")
    published = warehouse.listing(connection_id, "mug", counted)
    warehouse.listing(connection_id, "second listing of the mug, gone", counted, active=False)
    warehouse.listing(connection_id, "not tracked there", counted, tracked=False)
    warehouse.listing(connection_id, "not matched")
    warehouse.listing(connection_id, "not counted", uncounted)
    assert warehouse.rows(t.publication) == []

    touched = connections.go_live(warehouse.database, warehouse.merchant, connection_id, OWNER)

    assert touched == {connection_id}
    assert [(each.listing_id, each.location_external_id) for each in warehouse.rows(t.publication)] == [
        (published, "hall")
    ]


def test_what_may_be_published_later_is_due_as_soon_as_it_may(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(live=True)
    sku = warehouse.sku("MUG")
    listing = warehouse.listing(connection_id, "mug")
    assert warehouse.rows(t.publication) == []

    matching.bind(warehouse.database, warehouse.merchant, listing, "MUG", OWNER)
    assert warehouse.rows(t.publication) == [], "nothing is known of its stock"

    assert warehouse.count(sku, 5) == {connection_id}
    assert len(warehouse.rows(t.publication)) == 1


def test_a_paused_connection_is_left_alone_until_it_is_resumed(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(live=True)
    here = (warehouse.database, warehouse.merchant, connection_id, OWNER)
    with warehouse.database.write() as connection:
        connection.execute(update(t.cursor).values(due_at=None))

    connections.pause(*here)
    assert shop(warehouse, connection_id).state == "paused"
    for useless in (connections.pause, connections.sync_now, connections.go_live, connections.adopt_stock):
        with pytest.raises(Conflict):
            useless(*here)

    connections.resume(*here)
    assert shop(warehouse, connection_id).state == "connected"
    assert all(each.due_at is not None for each in warehouse.rows(t.cursor)), "what was missed is fetched"
    with pytest.raises(Conflict, match="is connected now"):
        connections.resume(*here)


def test_synchronizing_has_every_figure_read_back(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(live=True)
    warehouse.listing(connection_id, "mug", warehouse.sku("MUG"))
    warehouse.count(warehouse.row(t.sku).id, 5)
    with warehouse.database.write() as connection:
        far = warehouse.database.now(connection) + timedelta(hours=1)
        connection.execute(update(t.publication).values(not_before=far, published_version=t.publication.c.version))

    connections.sync_now(warehouse.database, warehouse.merchant, connection_id, OWNER)

    row = warehouse.row(t.publication)
    assert (row.not_before, row.verify_at is not None) == (None, True)


def test_a_removed_connection_keeps_its_history_and_forgets_its_credentials(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1", live=True)
    sku = warehouse.sku("MUG", 5)
    warehouse.listing(connection_id, "mug", sku)
    warehouse.hear(connection_id, an_order(a_line(2)))
    inbox.store_webhook(
        warehouse.database,
        warehouse.keyring,
        warehouse.merchant,
        connection_id,
        Delivery("order.updated", "1"),
        Webhook({}, b"{}"),
    )
    waiting = connections.adopt_stock(warehouse.database, warehouse.merchant, connection_id, OWNER)
    reconnect(warehouse, connection_id, "changed")

    connections.remove(
        warehouse.database, warehouse.merchant, connection_id, OWNER, keyring=warehouse.keyring, connector=None
    )

    row = shop(warehouse, connection_id)
    assert (row.state, row.secrets, row.live_at) == ("removed", None, None)
    assert warehouse.level(sku) == (5, 2), "the order is still to be shipped"
    assert warehouse.row(t.inbox).state == "ignored"
    tasks = {each.id: each for each in warehouse.rows(t.task)}
    assert tasks[waiting].message == "The connection was removed."
    assert {(each.state, each.request) for each in tasks.values()} == {("done", None), ("failed", None)}
    warehouse.sound()


def test_nothing_brings_a_removed_connection_back(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1")
    here = (warehouse.database, warehouse.merchant, connection_id, OWNER)
    reconnect(warehouse, connection_id, "changed")
    request = warehouse.row(t.task, t.task.c.state == "waiting").request
    remove = partial(connections.remove, keyring=warehouse.keyring, connector=None)
    remove(*here)

    for attempt in (remove, connections.pause, connections.resume, connections.go_live):
        with pytest.raises(Conflict):
            attempt(*here)
    with pytest.raises(Conflict, match=r"was removed\. Connect the shop anew"):
        reconnect(warehouse, connection_id, "again")
    with warehouse.database.write() as connection:  # a check that was under way all the time
        connection.execute(
            update(t.task)
            .where(t.task.c.message == "The connection was removed.")
            .values(state="waiting", request=request)
        )
    with pytest.raises(Conflict, match="was removed meanwhile"):
        warehouse.check(connection_id, "green-1")

    assert shop(warehouse, connection_id).state == "removed"
    assert shop(warehouse, warehouse.connect("green-1")).state == "connected", "connected anew, as another connection"


def test_opening_stock_is_asked_for_once_at_a_time(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect()
    here = (warehouse.database, warehouse.merchant, connection_id, OWNER)

    first = connections.adopt_stock(*here)
    assert connections.adopt_stock(*here) == first
    with warehouse.database.write() as connection:
        connection.execute(update(t.task).values(state="done"))
    assert connections.adopt_stock(*here) != first


# ---------------------------------------------------------------- locations


def test_a_location_is_bound_to_one_place_of_a_shop(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(live=True, places=("hall", "barn"))
    main, barn = warehouse.location(), warehouse.location("Barn")
    here = (warehouse.database, warehouse.merchant, connection_id)

    with pytest.raises(Conflict, match="“hall” is bound to that location already"):
        connections.bind_location(*here, "barn", main, OWNER)
    with pytest.raises(BadInput, match="does not exist at the shop any more"):
        connections.bind_location(*here, "attic", barn, OWNER)
    with pytest.raises(BadInput, match="This location does not exist"):
        connections.bind_location(*here, "barn", new_id(), OWNER)

    connections.bind_location(*here, "barn", barn, OWNER)
    assert {each.location_id for each in warehouse.rows(t.channel_location)} == {main, barn}


def sources(warehouse: Warehouse, external_id: str) -> set[UUID]:
    source = t.channel_location_source.c
    return {row.location_id for row in warehouse.rows(t.channel_location_source, source.external_id == external_id)}


def test_a_place_of_a_shop_sells_from_several_locations_as_one(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect("green-1", live=True)
    sku, main, barn = warehouse.sku("MUG", 5), warehouse.location(), warehouse.location("Barn")
    warehouse.listing(connection_id, "mug", sku)
    warehouse.count(sku, 6)
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))
    here = (warehouse.database, warehouse.merchant, connection_id, "")

    assert connections.pool_locations(*here, [main, barn], OWNER) == {connection_id}

    assert sources(warehouse, "") == {main, barn}
    row = warehouse.row(t.publication)
    assert (row.version - row.published_version, row.cause["cause"]) == (1, "location_bound")
    (noted,) = warehouse.rows(t.activity, t.activity.c.kind == "locations_pooled")
    assert noted.summary == "“Everything” at green-1 sells from Barn, Main warehouse"
    assert connections.pool_locations(*here, [barn, main], OWNER) == set()
    connections.pool_locations(*here, [main], OWNER)
    assert sources(warehouse, "") == {main}
    warehouse.sound()


def test_two_shops_may_sell_from_one_location_but_two_places_of_one_shop_may_not(warehouse: Warehouse) -> None:
    green = warehouse.connect(places=("hall", "yard"))
    blue = warehouse.connect()
    main, barn, attic = warehouse.location(), warehouse.location("Barn"), warehouse.location("Attic")
    at_green = (warehouse.database, warehouse.merchant, green)
    connections.bind_location(*at_green, "yard", attic, OWNER)
    connections.pool_locations(*at_green, "hall", [main, barn], OWNER)
    connections.pool_locations(warehouse.database, warehouse.merchant, blue, "", [main, barn], OWNER)
    before = warehouse.digest(t.channel_location, t.channel_location_source)

    with pytest.raises(Conflict, match="“hall” is bound to that location already: its stock would be published twice"):
        connections.pool_locations(*at_green, "yard", [attic, barn], OWNER)
    with pytest.raises(Conflict, match="“hall” is bound to that location already"):
        connections.bind_location(*at_green, "yard", barn, OWNER)

    assert warehouse.digest(t.channel_location, t.channel_location_source) == before
    connections.pool_locations(*at_green, "hall", [main], OWNER)
    connections.pool_locations(*at_green, "yard", [attic, barn], OWNER)
    assert sources(warehouse, "yard") == {attic, barn}
    warehouse.sound()


def test_a_place_always_sells_from_its_own_location(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(places=("hall", "yard"))
    main, barn, attic = warehouse.location(), warehouse.location("Barn"), warehouse.location("Attic")
    here = (warehouse.database, warehouse.merchant, connection_id)

    with pytest.raises(BadInput, match="“hall” is Main warehouse and always sells from it"):
        connections.pool_locations(*here, "hall", [barn], OWNER)
    with pytest.raises(BadInput, match="always sells from it"):
        connections.pool_locations(*here, "hall", [], OWNER)
    with pytest.raises(Conflict, match="Say first which of your locations “yard” is"):
        connections.pool_locations(*here, "yard", [barn], OWNER)
    with pytest.raises(BadInput, match=r"This location does not exist\. Reload"):
        connections.pool_locations(*here, "hall", [main, new_id()], OWNER)
    with pytest.raises(BadInput, match="does not exist at the shop any more"):
        connections.pool_locations(*here, "attic", [main], OWNER)
    assert sources(warehouse, "hall") == {main}

    connections.pool_locations(*here, "hall", [main, barn], OWNER)
    connections.bind_location(*here, "hall", attic, OWNER)
    assert sources(warehouse, "hall") == {attic, barn}, "what it sells from besides stays"
    connections.bind_location(*here, "hall", barn, OWNER)
    assert sources(warehouse, "hall") == {barn}
    connections.pool_locations(*here, "hall", [main, barn], OWNER)
    connections.bind_location(*here, "hall", None, OWNER)
    assert sources(warehouse, "hall") == set(), "the hub writes nothing there"
    connections.bind_location(*here, "yard", main, OWNER)
    warehouse.sound()


def test_no_stock_is_written_where_the_sku_was_never_counted(warehouse: Warehouse) -> None:
    connection_id = warehouse.connect(live=True, places=("hall", "barn"))
    sku, barn = warehouse.sku("MUG", 5), warehouse.location("Barn")
    warehouse.listing(connection_id, "mug", sku)
    warehouse.count(sku, 6)
    here = (warehouse.database, warehouse.merchant, connection_id)

    assert connections.bind_location(*here, "barn", barn, OWNER) == set()
    assert [each.location_external_id for each in warehouse.rows(t.publication)] == ["hall"]

    assert warehouse.count(sku, 3, barn) == {connection_id}
    assert {each.location_external_id for each in warehouse.rows(t.publication)} == {"hall", "barn"}


def test_settings_come_back_as_the_schema_loads_them(warehouse: Warehouse) -> None:
    sealed = connections.seal(warehouse.keyring, warehouse.merchant, new_id(), {"shop": "green"}, "hush")

    assert b"hush" not in sealed
    with pytest.raises(Exception, match="damaged or was copied from another row"):
        connections.unseal(warehouse.keyring, warehouse.merchant, new_id(), FakeChannel, sealed)


def test_the_check_of_a_connection_leaves_no_secret_in_the_log(warehouse: Warehouse) -> None:
    warehouse.connect("green-1")

    with warehouse.database.read() as connection:
        said = json.dumps([str(row) for row in connection.execute(select(t.activity))])
    assert "s3same" not in said
