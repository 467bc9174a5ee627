"""`hub sync` as an operator runs it: what it starts, how it tells how far it is, and that it can be left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from sqlalchemy import update

from hub import plugins
from hub.errors import Conflict
from hub.jobs import following, replay
from hub.store import tables as t
from hub.store.database import Database
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.ops.conftest import Run, SetUp
from tests.town import Town, town


@pytest.fixture
def woo() -> WooCommerceSimulator:
    shop = WooCommerceSimulator(site="https://woo.example")
    shop.add_product("MUG", "Mug", 100, "10.00")
    return shop


@pytest.fixture
def shop(set_up: SetUp, woo: WooCommerceSimulator) -> Iterator[Town]:
    """A connected WooCommerce shop without orders."""
    with town(set_up.database, set_up.keyring, set_up.merchant, plugins.load(), set_up.folder) as built:
        built.connect(WooCommerceConnector, woo)
        yield built


def at_work(shop: Town, monkeypatch: pytest.MonkeyPatch, *between: Callable[[], object]) -> None:
    """Whenever the command waits, this happens next; then the workers do what is due."""
    happens = list(between)

    def pause(_seconds: float) -> None:
        with redirect_stdout(StringIO()):  # what the workers log
            (happens.pop(0) if happens else shop.work)()

    looks = following.follow
    ticks = iter(range(1000))
    monkeypatch.setattr(
        following, "follow", lambda *given: looks(*given, clock=lambda: float(next(ticks)), sleep=pause)
    )


def test_it_starts_what_the_workers_then_do(shop: Town, woo: WooCommerceSimulator, run: Run) -> None:
    woo.buy([("MUG", 1)])

    done = run("sync", "woocommerce")

    assert done.exit_code == 0, done.output
    assert done.output == "The workers synchronize WooCommerce now. To see how far they are, add --follow.\n"
    assert shop.count(t.sales_order) == 0
    shop.work()
    assert shop.count(t.sales_order) == 1


def test_followed_it_tells_how_far_it_is_until_everything_is_here(
    shop: Town, woo: WooCommerceSimulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        woo.buy([("MUG", 1)])
    at_work(shop, monkeypatch)

    done = run("sync", shop.row(t.connection).id, "--follow")

    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "0 orders read, 0 fetched",
        "[########################] 3 of 3 orders, 3 a second",
        "Everything is here: 3 orders of WooCommerce in all.",
    ]


def test_in_json_each_look_is_a_line(
    shop: Town, woo: WooCommerceSimulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    woo.buy([("MUG", 1)])
    at_work(shop, monkeypatch)

    done = run("sync", "WooCommerce", "--follow", "--json")

    looks: list[dict[str, Any]] = [json.loads(line) for line in done.output.splitlines()]
    assert [(each["state"], each["read"], each["fetched"], each["total"]) for each in looks] == [
        ("running", 0, 0, 0),
        ("done", 1, 1, 1),
    ]
    assert looks[-1] == {
        "connection": str(shop.row(t.connection).id),
        "label": "WooCommerce",
        "state": "done",
        "read": 1,
        "fetched": 1,
        "total": 1,
        "per_second": 1.0,
        "seconds_left": 0,
        "error": "",
    }


def test_ctrl_c_stops_looking_and_nothing_else(
    shop: Town, woo: WooCommerceSimulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    woo.buy([("MUG", 1)])

    def pressed() -> None:
        raise KeyboardInterrupt

    at_work(shop, monkeypatch, pressed)

    left = run("sync", "WooCommerce", "--follow")

    assert left.exit_code == 0, left.output
    assert "Stopped looking. The hub goes on by itself. Look again with --follow." in left.output
    shop.work()
    assert shop.count(t.sales_order) == 1


def test_it_says_when_no_worker_is_there(shop: Town, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work(shop, monkeypatch, *[lambda: None] * 20)

    done = run("sync", "WooCommerce", "--follow")

    assert "No worker has begun: see that the hub runs (hub up, or hub worker)" in done.output
    assert done.output.endswith("Everything is here: 0 orders of WooCommerce in all.\n")


def test_a_connection_that_is_paused_meanwhile_ends_it_with_the_reason(
    shop: Town, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        with shop.hub.database.write() as connection:
            connection.execute(update(t.connection).values(state="paused", error="The key was revoked."))

    at_work(shop, monkeypatch, refused)

    done = run("sync", "WooCommerce", "--follow")

    assert done.exit_code == 1
    assert done.output.endswith("Error: WooCommerce is paused. The key was revoked.\n")
    assert run("sync", "WooCommerce").output == "Error: WooCommerce is paused. Connect or resume it first.\n"


def test_an_unknown_connection_is_named_with_those_there_are(shop: Town, run: Run) -> None:
    done = run("sync", "Etsy")

    assert done.exit_code == 1
    assert "There is no connection “Etsy”. There are: WooCommerce (woocommerce)" in done.output


def test_a_connection_that_sells_nothing_cannot_be_followed(shop: Town) -> None:
    row = replay.find_connection(shop.hub.database, "WooCommerce")
    with shop.hub.database.write() as connection:
        began = Database.now(connection)
        connection.execute(t.cursor.delete())

    with pytest.raises(Conflict, match="WooCommerce has no orders to fetch"):
        next(following.follow(shop.hub, row, began))
