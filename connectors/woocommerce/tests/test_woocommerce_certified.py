"""The WooCommerce connector keeps the whole contract for sales channels, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import SalesChannelContract
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator


class TestWooCommerce(SalesChannelContract):
    """Each case of `hub certify woocommerce`."""

    connector = WooCommerceConnector
    simulator = WooCommerceSimulator


def test_the_badge_in_the_readme_says_what_is_kept() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    assert "![Tallyhub certified: platinum](certified.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified.svg").read_text()


def test_the_package_brings_its_certificate_along() -> None:
    brought = certificates.shipped("hub_woocommerce", "woocommerce")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("woocommerce", "platinum")
    assert brought.versions["tallyhub-woocommerce"] == version("tallyhub-woocommerce")
