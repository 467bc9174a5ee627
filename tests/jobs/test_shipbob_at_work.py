"""ShipBob in a hub at work: an order of a shop goes there, and what left comes back to the shop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from hub.plugins import Registry
from hub.store import providers
from hub.store.database import Database
from hub.store.fulfillment import State
from hub.store.secrets import KeyRing
from hub_3pl.shipbob import ShipBobConnector
from hub_3pl.simulator_shipbob import ShipBobSimulator
from tests.jobs import third_party
from tests.jobs.third_party import TellingChannel, ThirdParty
from tests.town import town

# What the hub stores of any 3PL is tested on both databases; here it is what ShipBob says.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def shipbob(
    database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ThirdParty]:
    monkeypatch.setattr(third_party, "PROVIDER", ShipBobConnector)
    monkeypatch.setattr(third_party, "VENDOR", ShipBobSimulator)
    registry = Registry({each.name: each for each in (TellingChannel, ShipBobConnector)})
    with town(database, keyring, merchant, registry, tmp_path, public_url="https://hub.example") as built:
        shop = ThirdParty(built)
        shop.vendor.hold_webhooks()
        shop.clock = datetime.now(UTC) - timedelta(minutes=4)  # clocks may differ, but not by more than this
        yield shop


def test_an_order_goes_to_shipbob_and_back_to_the_shop_until_it_is_delivered(shipbob: ThirdParty) -> None:
    shipbob.buy(("mug", 2), ("tee", 1))
    (placed,) = shipbob.vendor.placed()
    assert placed.lines == {"MUG": 2, "TEE": 1}
    assert (shipbob.states(), shipbob.effects("submit")) == ([State.ACCEPTED], ["succeeded"])

    shipbob.pass_time()
    first = shipbob.vendor.ship(placed.reference, {"MUG": 2}, lot="L-42")
    shipbob.hear()
    shipbob.pass_time()
    second = shipbob.vendor.ship(placed.reference)
    shipbob.hear()

    assert shipbob.shipped() == [("shipped", "usps", [f"94001{first}"]), ("shipped", "usps", [f"94001{second}"])]
    assert [[(line.line_external_id, line.quantity) for line in told.lines] for told in shipbob.shop.told] == [
        [("1", 2)],
        [("2", 1)],
    ]
    assert (shipbob.states(), shipbob.there("MUG")) == ([State.SHIPPED], (8, 0, 0))
    shipbob.pass_time()
    shipbob.vendor.deliver_parcel(placed.reference)
    shipbob.hear()
    assert shipbob.states() == [State.DELIVERED]
    shipbob.town.sound()


def test_an_order_that_shipbob_holds_is_an_issue_with_its_reason_and_can_be_cancelled(shipbob: ThirdParty) -> None:
    order = shipbob.buy(("mug", 2))
    shipbob.pass_time()
    shipbob.vendor.hold(shipbob.reference, "InvalidAddress", "There is no such street")
    shipbob.hear()
    (told,) = shipbob.issue_titles(providers.ON_HOLD)
    assert "ShipBob takes the address for wrong: correct it at ShipBob. There is no such street." in told

    shipbob.shop.change(order, status="cancelled")
    shipbob.hear_shop()

    assert shipbob.effects("cancel") == ["succeeded"]
    assert [each.cancelled for each in shipbob.vendor.placed()] == [True]
    assert shipbob.states() == [State.CANCELLED]
    shipbob.town.sound()


def test_webhooks_tell_at_once_what_has_left_and_that_it_was_delivered(shipbob: ThirdParty) -> None:
    def told() -> list[int]:
        statuses = [shipbob.town.hear(letter) for letter in shipbob.vendor.take_webhooks()]
        shipbob.town.settle()
        return statuses

    shipbob.buy(("mug", 2))
    shipbob.pass_time()
    shipbob.vendor.ship(shipbob.reference)
    assert (told(), shipbob.states(), len(shipbob.shop.told)) == ([200], [State.SHIPPED], 1)
    shipbob.pass_time()
    shipbob.vendor.deliver_parcel(shipbob.reference)
    assert (told(), shipbob.states()) == ([200], [State.DELIVERED])
    shipbob.town.sound()
