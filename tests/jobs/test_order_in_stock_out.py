"""The main job: an order arrives at one shop, and a moment later every other shop shows the right stock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from hub import plugins
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.town import Town, town


@pytest.fixture
def hub_town(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    with town(database, keyring, merchant, plugins.load(), tmp_path) as built:
        yield built


def test_a_sale_in_one_shop_is_taken_off_the_other(hub_town: Town) -> None:
    first, second = (WooCommerceSimulator(site=f"https://{name}.example") for name in ("one", "two"))
    for shop in (first, second):
        shop.add_product("MUG-1", "Mug", 10, "12.50")
        shop.add_product("TEE-S", "Tee", 5, "20.00")
    one = hub_town.connect(WooCommerceConnector, first)
    two = hub_town.connect(WooCommerceConnector, second)
    hub_town.open_for_business(one, adopt=True)
    hub_town.open_for_business(two)
    assert hub_town.stock() == {"MUG-1": (10, 0), "TEE-S": (5, 0)}

    assert first.buy([("MUG-1", 3), ("TEE-S", 1)])
    hub_town.poll(one)

    assert hub_town.stock() == {"MUG-1": (10, 3), "TEE-S": (5, 1)}
    assert second.stock() == {"MUG-1": 7, "TEE-S": 4}
    assert first.stock() == {"MUG-1": 7, "TEE-S": 4}
    assert hub_town.count(t.sales_order) == 1
