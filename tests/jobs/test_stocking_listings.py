"""A channel that keeps no stock of a listing at a place: told to on request, and the figure follows."""

from __future__ import annotations

from uuid import UUID

import pytest

from hub.connector import EffectResult, PushOutcome, PushState, Settlement
from hub.core.shipping import StockListing
from hub.errors import Conflict, Rejected
from hub.jobs import publish_lane
from hub.store import effects, listings
from hub.store import tables as t
from tests.jobs.fake_shop import FakeChannel, Shop, open_shop
from tests.town import OWNER, Town

# One kind of database is enough where the database is not what the test is about.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def stocking(monkeypatch: pytest.MonkeyPatch) -> list[StockListing]:
    """Let the shop be told where to keep stock; returns what it was told."""
    told: list[StockListing] = []

    def stock_listing(self: FakeChannel, listing: StockListing, key: str) -> EffectResult:
        self.shop.asked("stock_listing")
        told.append(listing)
        del self.shop.answers[listing.listing_external_id]
        return EffectResult("level-1")

    monkeypatch.setattr(FakeChannel, "effects", {"stock_listing": Settlement.NATURAL_KEY})
    monkeypatch.setattr(FakeChannel, "stock_listing", stock_listing)
    return told


def refused(town: Town) -> tuple[Shop, UUID, UUID]:
    """A shop that keeps no stock of its mug where the figure belongs; with its connection and the listing."""
    shop = Shop(stock={"mug": 10})
    place = open_shop(town, shop)
    shop.answers["mug"] = PushOutcome(PushState.REJECTED, message="The mug is not stocked at this location.")
    town.count_stock("MUG", 7)
    town.work()
    assert (shop.stock, town.issues()) == ({"mug": 10}, [publish_lane.NOT_PUBLISHED])
    listing = town.row(t.listing).id
    assert town.row(t.issue).link == f"/connections/{place}/listings/{listing}"
    return shop, place, listing


def test_the_figure_is_published_as_soon_as_the_shop_keeps_stock_there(
    hub_town: Town, stocking: list[StockListing]
) -> None:
    shop, _, listing = refused(hub_town)

    listings.stock_there(hub_town.hub.database, hub_town.merchant, listing, "", OWNER)
    hub_town.work()

    assert [(each.listing_external_id, dict(each.handles)) for each in stocking] == [("mug", {"item": "item of mug"})]
    assert (shop.stock, hub_town.issues()) == ({"mug": 7}, [])
    assert hub_town.row(t.publication).error == ""
    hub_town.sound()
    with pytest.raises(Conflict, match="No figure of this listing is refused there any more"):
        listings.stock_there(hub_town.hub.database, hub_town.merchant, listing, "", OWNER)


def test_a_shop_that_refuses_that_too_is_told_of_and_can_be_asked_again(
    hub_town: Town, stocking: list[StockListing]
) -> None:
    shop, _, listing = refused(hub_town)
    shop.fail("stock_listing", Rejected("This location is closed."))

    listings.stock_there(hub_town.hub.database, hub_town.merchant, listing, "", OWNER)
    hub_town.work()

    assert (shop.stock, sorted(hub_town.issues())) == ({"mug": 10}, ["effect", publish_lane.NOT_PUBLISHED])
    failed = hub_town.row(t.effect, t.effect.c.state == "failed")
    assert failed.error == "This location is closed."

    effects.retry(hub_town.hub.database, hub_town.merchant, failed.id, OWNER)
    hub_town.work()

    assert (shop.stock, hub_town.issues()) == ({"mug": 7}, [])
