"""Contexts for connector tests: a real client that ends at a simulator, and tokens that are really kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
import pytest

import hub
from hub.errors import Rejected
from hub.http import Exchange
from hub.testing.clock import Clock
from hub.testing.context import MemoryTokenVault, connector_for, context_for
from hub.testing.simulator import Sale, ShopSimulator, SimRequest, SimResponse


class Kiosk(ShopSimulator):
    """A shop that knows its name and nothing else."""

    origin = "https://kiosk.example"

    def answer(self, request: SimRequest) -> SimResponse:
        if request.headers.get("authorization") != "Bearer k1":
            return SimResponse(401)
        return SimResponse.of_json({"id": 7, "name": "Kiosk"})

    def settings(self) -> dict[str, str]:
        return {"store_url": self.origin, "api_key": "k1"}

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        raise NotImplementedError

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        raise NotImplementedError

    def stock(self) -> dict[str, int]:
        raise NotImplementedError

    def set_stock(self, sku: str, quantity: int) -> None:
        raise NotImplementedError

    def orders(self) -> set[str]:
        raise NotImplementedError

    def cancel(self, order: str) -> None:
        raise NotImplementedError

    def fulfill(self, order: str) -> None:
        raise NotImplementedError


class KioskSettings(marshmallow.Schema):
    store_url = marshmallow.fields.Url(required=True)
    api_key = marshmallow.fields.String(required=True, metadata={"secret": True})
    pages = marshmallow.fields.Integer(load_default=50)


class KioskConnector(hub.SalesChannel):
    name = "kiosk"
    label = "Kiosk"
    settings_schema = KioskSettings

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (settings["store_url"],)

    def check(self) -> hub.Account:
        headers = {"Authorization": f"Bearer {self.settings['api_key']}"}
        shop = self.client.get(self.settings["store_url"] + "/shop", headers=headers).json()
        return hub.Account(external_id=str(shop["id"]), name=shop["name"])

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        raise NotImplementedError

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        raise NotImplementedError

    def fetch_listings(self, cursor: str | None) -> Iterator[hub.Page]:
        raise NotImplementedError

    def fetch_listing(self, external_id: str) -> hub.RawRecord:
        raise NotImplementedError

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        raise NotImplementedError

    def read_listing(self, record: hub.RawRecord) -> Iterable[hub.Listing]:
        raise NotImplementedError

    def read_stock(self, refs: Sequence[hub.StockRef]) -> Sequence[int | None]:
        raise NotImplementedError

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        raise NotImplementedError


@pytest.fixture
def kiosk() -> Iterator[Kiosk]:
    with Kiosk() as kiosk:
        yield kiosk


def test_a_connector_reaches_the_simulator_as_it_would_reach_the_vendor(kiosk: Kiosk) -> None:
    connector = connector_for(KioskConnector, kiosk)
    assert connector.check() == hub.Account(external_id="7", name="Kiosk")
    assert kiosk.requests[0].headers["host"] == "kiosk.example"
    connector.client.close()


def test_settings_go_through_the_connectors_own_schema(kiosk: Kiosk) -> None:
    connector = connector_for(KioskConnector, kiosk)
    assert connector.settings == {"store_url": "https://kiosk.example", "api_key": "k1", "pages": 50}


def test_a_context_takes_what_a_test_wants_to_decide(kiosk: Kiosk) -> None:
    exchanges: list[Exchange] = []
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    connector = connector_for(
        KioskConnector, kiosk, now=lambda: noon, webhook_secret="s3cret", on_exchange=exchanges.append
    )
    connector.check()
    connector.client.close()
    assert connector.context.now() == noon
    assert connector.context.webhook_secret == "s3cret"
    assert [exchange.url for exchange in exchanges] == ["https://kiosk.example/shop"]


def test_no_other_host_is_reached(kiosk: Kiosk) -> None:
    context = context_for({}, kiosk)
    with pytest.raises(Rejected, match="is not an address of this connection"):
        context.client.get("https://other.example/")


def test_a_second_vendor_can_be_routed_beside_the_first(kiosk: Kiosk) -> None:
    with Kiosk() as login:
        context = context_for({}, kiosk, routes={"https://login.example": login.serve()})
        context.client.get("https://login.example/token", headers={"Authorization": "Bearer k1"})
        context.client.get("https://kiosk.example/shop", headers={"Authorization": "Bearer k1"})
        context.client.close()
        assert [request.path for request in login.requests] == ["/token"]
        assert [request.path for request in kiosk.requests] == ["/shop"]


def test_without_a_simulator_only_the_given_hosts_are_reached() -> None:
    context = context_for({"a": 1}, hosts=["https://api.example"])
    assert context.settings == {"a": 1}
    with pytest.raises(Rejected):
        context.client.get("https://other.example/")


# ---------------------------------------------------------------- tokens


class Vendor:
    """Hands out a new token each time, good for an hour."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.handed_out = 0
        self._now = now

    def obtain(self) -> hub.Token:
        self.handed_out += 1
        return hub.Token(f"token-{self.handed_out}", self._now() + timedelta(hours=1))


def test_a_token_is_obtained_once_and_kept() -> None:
    clock = Clock()
    vendor, vault = Vendor(clock), MemoryTokenVault(clock)
    assert [vault.token("access", vendor.obtain) for _ in range(3)] == ["token-1"] * 3
    assert vendor.handed_out == vault.obtained == 1


def test_a_token_that_is_about_to_expire_is_replaced() -> None:
    clock = Clock()
    vendor, vault = Vendor(clock), MemoryTokenVault(clock)
    vault.token("access", vendor.obtain)
    clock.advance(minutes=58)
    assert vault.token("access", vendor.obtain) == "token-1"
    clock.advance(minutes=1)
    assert vault.token("access", vendor.obtain) == "token-2"


def test_a_token_that_was_refused_is_replaced_once() -> None:
    clock = Clock()
    vendor, vault = Vendor(clock), MemoryTokenVault(clock)
    vault.token("access", vendor.obtain)
    assert vault.token("access", vendor.obtain, refused="token-1") == "token-2"
    assert vault.token("access", vendor.obtain, refused="token-1") == "token-2"


def test_a_token_without_an_end_is_kept_for_ever() -> None:
    clock = Clock()
    vault = MemoryTokenVault(clock)
    assert vault.token("access", lambda: hub.Token("for ever")) == "for ever"
    clock.advance(days=10_000)
    assert vault.token("access", lambda: hub.Token("another")) == "for ever"


def test_tokens_are_kept_by_name() -> None:
    vault = MemoryTokenVault()
    assert vault.token("access", lambda: hub.Token("a")) == "a"
    assert vault.token("upload", lambda: hub.Token("b")) == "b"


def test_workers_that_ask_at_once_obtain_one_token() -> None:
    clock = Clock()
    vendor, vault = Vendor(clock), MemoryTokenVault(clock)
    gate = threading.Barrier(8)

    def ask(_: int) -> str:
        gate.wait()
        return vault.token("access", vendor.obtain)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"token-1"}


def test_a_failure_to_obtain_keeps_nothing() -> None:
    vault = MemoryTokenVault()

    def fail() -> hub.Token:
        raise hub.AuthError("refused")

    with pytest.raises(hub.AuthError):
        vault.token("access", fail)
    assert vault.token("access", lambda: hub.Token("a")) == "a"


# ---------------------------------------------------------------- the time


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = Clock()
    assert clock() == clock() == clock.now == datetime(2026, 3, 2, 12, tzinfo=UTC)
    clock.advance(30)
    clock.advance(1.5, hours=2, days=1)
    assert clock() == datetime(2026, 3, 3, 14, 0, 31, 500_000, tzinfo=UTC)


def test_a_clock_begins_where_a_test_says_and_can_be_set() -> None:
    clock = Clock(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    clock.advance(minutes=1)
    assert clock() == datetime(2027, 1, 1, tzinfo=UTC)
    clock.now = datetime(2026, 6, 1, tzinfo=UTC)
    assert clock() == datetime(2026, 6, 1, tzinfo=UTC)
