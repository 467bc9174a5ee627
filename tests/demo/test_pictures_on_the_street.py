"""What is sold on the street is to be seen: every simulated shop shows its pictures where its listings say."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image, ImageChops

from hub import plugins
from hub.demo.drawings import drawn
from hub.jobs import picture_lane
from hub.store import pictures
from hub.store import tables as t
from hub.testing.simulator import ShopSimulator
from hub.testing.town import town_of


def simulated(name: str) -> type[ShopSimulator]:
    (found,) = [each.load() for each in plugins.simulators([name])]
    assert issubclass(found, ShopSimulator)
    return found


@pytest.mark.parametrize("name", ["shopify", "woocommerce", "amazon"])
def test_a_simulated_shop_shows_its_pictures_where_its_listings_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_lane, "PAUSE", 0.0)
    connector = plugins.load().connector(name)
    with town_of(connector) as town, simulated(name)(seed=1) as shop:
        shop.hold_webhooks()
        town.hub = replace(town.hub, settings=replace(town.hub.settings, pictures=True))
        shop.add_product("TEAPOT-MOSS", "Teapot, moss", 3, "48.00")
        assert shop.show_picture("TEAPOT-MOSS", drawn("TEAPOT", "Moss"))

        town.connect(connector, shop)

        kept = town.row(t.picture)
        assert (kept.state, kept.error) == ("kept", "")
        with town.hub.database.read() as db:
            content = pictures.show(db, town.merchant, kept.address, "large")
        assert content is not None
        seen, meant = (Image.open(BytesIO(each)).convert("RGB") for each in (content, drawn("TEAPOT", "Moss")))
        assert seen.size == meant.size
        most = max(high for _, high in ImageChops.difference(seen, meant).resize((24, 24)).getextrema())
        assert most < 24, "the same teapot"
