"""The Shopify connector keeps the whole contract for sales channels, up to the highest grade."""

from __future__ import annotations

from pathlib import Path

from hub.testing import SalesChannelContract
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator


class TestShopify(SalesChannelContract):
    """Each case of `hub certify shopify`."""

    connector = ShopifyConnector
    simulator = ShopifySimulator


def test_the_badge_in_the_readme_says_what_is_kept() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    assert "![Tallyhub certified: platinum](certified.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified.svg").read_text()
