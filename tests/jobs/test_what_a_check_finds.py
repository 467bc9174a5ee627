"""What a check leaves behind for the connector: its tokens, the words of the shop, and what they were said to mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from hub.connector import RawRecord, Token, Vocabulary
from hub.core.model import Account, Order, OrderStatus
from hub.errors import Rejected, Unavailable
from hub.plugins import Registry
from hub.store import connections, words
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub.store.vault import Vault
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.town import OWNER, Town, town

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class CodeChannel(FakeChannel):
    """Its key is a code that is good for once: the vendor gives a token for it, and keys for the next."""

    name = "code"
    mappings: ClassVar[Mapping[str, Vocabulary]] = {
        "order_status": Vocabulary(label="Statuses", hint="", choices={"open": "open", "held": "held"})
    }

    def check(self) -> Account:
        self.context.tokens.token("access", self._exchange)
        found = super().check()
        return replace(found, words={"order_status": {"odd": "Odd one"}}, features={"returns": "yes"})

    def _exchange(self) -> Token:
        self.shop.asked("exchange")
        if self.shop.count("exchange") > 1:
            raise Rejected("The code was used before.")
        return Token("access-1", None, "refresh-1")

    def read_order(self, record: RawRecord) -> Order:
        order = super().read_order(record)
        meaning = self.context.mappings.get("order_status", {}).get(self._body(record).get("word", ""))
        held = replace(order, status=OrderStatus.PENDING, holds_stock=False)
        told = held if meaning == "held" else order
        return replace(told, channel_status=self._body(record).get("word", ""))


@pytest.fixture
def hub_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    with town(database, keyring, merchant, Registry({"code": CodeChannel}), tmp_path) as built:
        yield built


def vault(town: Town, place: UUID) -> Vault:
    return Vault(town.hub.database, town.hub.keyring, town.merchant, place)


def begin(town: Town, shop: Shop) -> UUID:
    settings = CodeChannel.settings_schema().load({"shop": shop.name})
    place, _ = connections.connect(
        town.hub.database, town.hub.keyring, town.merchant, CodeChannel, shop.name, settings, OWNER
    )
    return place


def test_the_tokens_of_a_check_that_passed_are_the_connections(hub_town: Town) -> None:
    place = connect(hub_town, Shop(), CodeChannel)

    assert vault(hub_town, place).kept("access") == Token("access-1", None, "refresh-1")


@on_sqlite
def test_a_code_is_not_sent_twice_when_the_check_is_tried_again(hub_town: Town) -> None:
    shop = Shop()
    shop.fail("check", Unavailable("The shop is away."))
    place = begin(hub_town, shop)
    hub_town.work()
    waiting = hub_town.row(t.task)
    assert (waiting.state, shop.count("exchange")) == ("waiting", 1)
    assert b"access-1" not in waiting.request

    hub_town.let_pass(100)
    hub_town.work()

    assert (hub_town.row(t.task).state, shop.count("exchange")) == ("done", 1)
    kept = vault(hub_town, place).kept("access")
    assert kept is not None and kept.refresh_token == "refresh-1"
    sealed = hub_town.row(t.connection).secrets
    assert connections.tokens_in(hub_town.hub.keyring, hub_town.merchant, place, sealed) == {}, "in one place alone"


@on_sqlite
def test_the_tokens_of_a_check_that_failed_are_kept_by_nobody(hub_town: Town) -> None:
    shop = Shop()
    shop.fail("check", Rejected("This account is closed."))
    place = begin(hub_town, shop)

    hub_town.work()

    assert hub_town.row(t.task).request is None
    assert vault(hub_town, place).kept("access") is None


@on_sqlite
def test_what_a_word_means_is_known_to_whoever_reads_the_shops_orders(hub_town: Town) -> None:
    shop = Shop(stock={"mug": 5})
    place = connect(hub_town, shop, CodeChannel)
    row = hub_town.row(t.connection)
    assert (row.words, row.features) == ({"order_status": {"odd": "Odd one"}}, {"returns": "yes"})
    odd = shop.buy("mug", 1, word="odd")
    other = shop.buy("mug", 1)
    hub_town.poll(place)

    def statuses() -> dict[str, str]:
        return {each.external_id: each.status for each in hub_town.rows(t.sales_order)}

    assert statuses() == {odd["id"]: "open", other["id"]: "open"}
    asked = shop.count("fetch_order")

    said: dict[tuple[str, str], str] = {("order_status", "odd"): "held"}
    changed: Any = words.choose(hub_town.hub.database, hub_town.merchant, place, CodeChannel, said, OWNER)
    hub_town.work()

    assert (changed, statuses()) == (1, {odd["id"]: "pending", other["id"]: "open"})
    assert shop.count("fetch_order") == asked + 1, "the others are left alone"
    hub_town.sound()
