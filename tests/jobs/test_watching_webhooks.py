"""The watchdog of webhooks: a lost subscription is noticed and made again, and what it would have told is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from hub.connector import Capabilities, EffectResult, Settlement, Subscriptions
from hub.errors import Unavailable
from hub.jobs import watchdog
from hub.plugins import Registry
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub.testing.simulator import ShopSimulator
from hub_3pl.shipbob import ShipBobConnector
from hub_3pl.simulator_shipbob import ShipBobSimulator
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.jobs.fake_shop import FakeChannel, Shop, connect, send
from tests.town import Town, town

PUBLIC = "https://hub.example"
NEEDED = ("order.created", "order.updated", "product.updated")


@dataclass
class TellingShop(Shop):
    """A shop that sends webhooks: the topics it sends, by address."""

    sends: dict[str, set[str]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return id(self)


class TellingChannel(FakeChannel):
    name = "telling"
    capabilities: ClassVar[Capabilities] = Capabilities(coalesce_seconds=0.0)
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        self.shop.asked("subscribe")
        self.shop.sends.setdefault(request["address"], set()).update(NEEDED)  # type: ignore[attr-defined]
        return EffectResult()

    def read_subscriptions(self, address: str) -> Subscriptions:
        self.shop.asked("read_subscriptions")
        active = self.shop.sends.get(address, set())  # type: ignore[attr-defined]
        return Subscriptions(tuple(active), tuple(set(NEEDED) - active))


@pytest.fixture
def hub_town(_sqlite_database: Database, keyring: KeyRing, tmp_path: Path) -> Iterator[Town]:
    from sqlalchemy import insert

    from hub.store.database import new_id

    merchant = new_id()
    with _sqlite_database.write() as connection:
        now = _sqlite_database.now(connection)
        connection.execute(insert(t.merchant).values(id=merchant, name="Corner Shop", created_at=now))
    registry = Registry({each.name: each for each in (TellingChannel, FakeChannel)})
    with town(_sqlite_database, keyring, merchant, registry, tmp_path, public_url=PUBLIC) as built:
        yield built
    _sqlite_database.close()


@pytest.fixture
def shop(hub_town: Town) -> TellingShop:
    return TellingShop(stock={"mug": 10})


@pytest.fixture
def place(hub_town: Town, shop: TellingShop) -> UUID:
    return connect(hub_town, shop, TellingChannel)


def address(town: Town, place: UUID) -> str:
    return f"{PUBLIC}/webhooks/{town.merchant}/{place}"


def kept(town: Town) -> Any:
    return town.row(t.connection).subscriptions


def told(town: Town) -> list[str]:
    return [row.summary for row in town.rows(t.activity, t.activity.c.kind == watchdog.LOST)]


def an_hour_later(town: Town) -> None:
    town.let_pass(3700)
    town.work()


# ---------------------------------------------------------------- lost and found


def test_a_lost_subscription_is_made_again_and_the_gap_is_filled(
    hub_town: Town, shop: TellingShop, place: UUID
) -> None:
    hub_town.let_pass(400)
    hub_town.work()
    assert (kept(hub_town)["active"], kept(hub_town)["missing"]) == (sorted(NEEDED), [])
    polls, subscribed = shop.count("fetch_orders"), shop.count("subscribe")
    shop.sends[address(hub_town, place)] -= {"order.created", "order.updated"}
    lost = [shop.buy("mug") for _ in range(2)]  # nobody is told of these

    with hub_town.hub.database.write() as connection:  # the orders were polled just now: only the watchdog is due
        connection.execute(
            t.cursor.update()
            .where(t.cursor.c.stream == watchdog.STREAM)
            .values(due_at=hub_town.hub.database.now(connection))
        )
    hub_town.work()

    assert shop.sends[address(hub_town, place)] == set(NEEDED)
    assert shop.count("subscribe") == subscribed + 1
    assert shop.count("fetch_orders") == polls + 1
    assert {row.external_id for row in hub_town.rows(t.sales_order)} == {order["id"] for order in lost}
    assert kept(hub_town)["missing"] == ["order.created", "order.updated"]
    assert told(hub_town) == [
        f"{shop.name} had stopped sending webhooks (order.created, order.updated): it is told to send them again, "
        "and asked for what they would have said"
    ]
    assert watchdog.LOST not in hub_town.issues(), "once may happen"
    an_hour_later(hub_town)
    assert kept(hub_town)["missing"] == [] and len(told(hub_town)) == 1
    hub_town.sound()


def test_one_that_is_lost_again_and_again_is_put_before_a_person_until_it_lasts(
    hub_town: Town, shop: TellingShop, place: UUID
) -> None:
    for _ in range(3):
        shop.sends[address(hub_town, place)].discard("order.updated")
        an_hour_later(hub_town)
    assert hub_town.issues() == [watchdog.LOST]
    assert kept(hub_town)["lost"] == 3

    an_hour_later(hub_town)
    assert hub_town.issues() == [watchdog.LOST], "an hour is not long enough to believe it"
    long_ago = kept(hub_town) | {"lost_at": "2020-01-01T00:00:00+00:00"}
    with hub_town.hub.database.write() as connection:
        connection.execute(t.connection.update().values(subscriptions=long_ago))
    an_hour_later(hub_town)

    assert hub_town.issues() == []
    assert kept(hub_town)["lost"] == 0


def test_what_is_just_being_subscribed_is_not_lost(hub_town: Town, shop: TellingShop) -> None:
    shop.fail("subscribe", *[Unavailable("The shop is away.")] * 2)
    connect(hub_town, shop, TellingChannel)
    hub_town.let_pass(400)

    hub_town.work()

    assert told(hub_town) == []


def test_a_vendor_that_does_not_answer_is_asked_again(hub_town: Town, shop: TellingShop, place: UUID) -> None:
    shop.fail("read_subscriptions", Unavailable("The shop is away."))
    hub_town.let_pass(400)
    hub_town.work()
    assert kept(hub_town) is None
    assert hub_town.row(t.cursor, t.cursor.c.stream == watchdog.STREAM).error == "The shop is away."

    hub_town.let_pass(100)
    hub_town.work()

    assert kept(hub_town)["missing"] == []
    assert hub_town.row(t.cursor, t.cursor.c.stream == watchdog.STREAM).error == ""


# ---------------------------------------------------------------- how often


def test_it_looks_once_an_hour(hub_town: Town, shop: TellingShop, place: UUID) -> None:
    hub_town.let_pass(400)
    hub_town.work()
    assert shop.count("read_subscriptions") == 1

    hub_town.let_pass(3000)
    hub_town.work()
    assert shop.count("read_subscriptions") == 1
    hub_town.let_pass(700)
    hub_town.work()

    assert shop.count("read_subscriptions") == 2


def test_a_shop_that_falls_silent_is_looked_at_at_once_and_only_once(
    hub_town: Town, shop: TellingShop, place: UUID
) -> None:
    for _ in range(12):
        send(hub_town, place, "order", shop.buy("mug", 0))
    hub_town.let_pass(400)
    hub_town.work()
    asked = shop.count("read_subscriptions")

    _last_heard(hub_town, minutes=6)
    hub_town.let_pass(400)
    hub_town.work()
    assert shop.count("read_subscriptions") == asked + 1, "long before the hour is over"
    _last_heard(hub_town, minutes=12)
    hub_town.let_pass(400)
    hub_town.work()

    assert shop.count("read_subscriptions") == asked + 1, "it is still the same silence"


def test_a_shop_of_which_nobody_knows_the_pace_is_not_called_silent(
    hub_town: Town, shop: TellingShop, place: UUID
) -> None:
    send(hub_town, place, "order", shop.buy("mug"))
    hub_town.let_pass(400)
    hub_town.work()

    _last_heard(hub_town, minutes=50)
    hub_town.let_pass(1000)
    hub_town.work()

    assert shop.count("read_subscriptions") == 1


def _last_heard(town: Town, minutes: int) -> None:
    with town.hub.database.write() as connection:
        at = town.hub.database.now(connection) - timedelta(minutes=minutes)
        connection.execute(t.connection.update().values(last_event_at=at))


def test_a_hub_that_nobody_can_reach_and_a_connector_of_before_are_left_alone(hub_town: Town) -> None:
    shop = TellingShop(stock={"mug": 1})
    unreachable = replace(hub_town.hub.settings, public_url=None)
    hub_town.hub = replace(hub_town.hub, settings=unreachable)
    connect(hub_town, shop, TellingChannel)
    an_hour_later(hub_town)
    assert shop.count("read_subscriptions") == 0 and kept(hub_town) is None

    hub_town.hub = replace(hub_town.hub, settings=replace(unreachable, public_url=PUBLIC))
    an_hour_later(hub_town)
    assert kept(hub_town)["missing"] == [] or told(hub_town), "reachable now: it is looked at, and told to send"
    assert shop.sends != {}


# ---------------------------------------------------------------- with real shops


@pytest.fixture(params=["woocommerce", "shopify"])
def real(request: pytest.FixtureRequest, hub_town: Town) -> ShopSimulator:
    """A real shop, connected, whose webhooks wait until they are taken."""
    connector, shop = {
        "woocommerce": (WooCommerceConnector, WooCommerceSimulator()),
        "shopify": (ShopifyConnector, ShopifySimulator()),
    }[request.param]
    hub_town.hub = replace(hub_town.hub, registry=Registry({connector.name: connector}))
    shop.hold_webhooks()
    shop.add_product("MUG", "Mug", 100, "5.00")
    hub_town.connect(connector, shop)
    return shop


def test_a_real_shop_that_gave_up_on_us_sends_again_and_its_orders_are_here(
    hub_town: Town, real: ShopSimulator
) -> None:
    shop = real
    hub_town.let_pass(400)
    hub_town.settle()
    assert kept(hub_town)["missing"] == [] and len(kept(hub_town)["active"]) >= 2
    for _ in range(12):  # our address is broken for a while, until the shop gives up
        shop.buy([("MUG", 1)])
        for letter in shop.take_webhooks():
            shop.answered(letter, 500)
    lost = shop.buy([("MUG", 1)])
    assert lost is not None

    hub_town.let_pass(3700)
    hub_town.settle()

    assert kept(hub_town)["missing"] != [] and len(told(hub_town)) == 1
    assert lost.order_external_id in {row.external_id for row in hub_town.rows(t.sales_order)}
    shop.take_webhooks()
    hub_town.let_pass(3700)
    hub_town.settle()
    assert kept(hub_town)["missing"] == []
    shop.buy([("MUG", 1)])
    assert [hub_town.hear(letter, shop) for letter in shop.take_webhooks()], "it sends again"


# ---------------------------------------------------------------- with a 3PL


@pytest.mark.parametrize("lost", ["switched off", "deleted"])
def test_a_3pl_that_stopped_sending_sends_again_and_is_asked_what_it_would_have_said(hub_town: Town, lost: str) -> None:
    hub_town.hub = replace(hub_town.hub, registry=Registry({ShipBobConnector.name: ShipBobConnector}))
    vendor = ShipBobSimulator()
    vendor.hold_webhooks()
    vendor.stock_item("MUG", "Mug", 10)
    hub_town.connect(ShipBobConnector, vendor)
    hub_town.let_pass(400)
    hub_town.settle()
    topics = kept(hub_town)["active"]
    assert (kept(hub_town)["missing"], len(topics)) == ([], 5)
    if lost == "deleted":
        vendor.subscriptions.clear()
    for each in vendor.subscriptions.values():
        each["enabled"] = False
    with hub_town.hub.database.write() as connection:
        soon = hub_town.hub.database.now(connection)
        connection.execute(
            t.cursor.update().where(t.cursor.c.stream != watchdog.STREAM).values(due_at=soon + timedelta(days=1))
        )
        connection.execute(t.cursor.update().where(t.cursor.c.stream == watchdog.STREAM).values(due_at=soon))
    before = len([each for each in vendor.requests if "inventory" in each.path])

    hub_town.settle()

    assert kept(hub_town)["missing"] == topics and len(told(hub_town)) == 1
    assert [each["enabled"] for each in vendor.subscriptions.values()] == [True]
    assert len([each for each in vendor.requests if "inventory" in each.path]) > before, "it was asked at once"
    hub_town.let_pass(3700)
    hub_town.settle()
    assert kept(hub_town)["missing"] == [] and len(told(hub_town)) == 1
