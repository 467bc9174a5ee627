"""The Amazon connector keeps the whole contract for sales channels, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import SalesChannelContract
from hub_amazon.channel import AmazonConnector
from hub_amazon.simulator import AmazonSimulator


class TestAmazon(SalesChannelContract):
    """Each case of `hub certify amazon`."""

    connector = AmazonConnector
    simulator = AmazonSimulator


def test_the_badge_in_the_readme_says_what_amazon_keeps() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    assert "![Amazon: Tallyhub certified platinum](certified-amazon.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified-amazon.svg").read_text()


def test_the_package_brings_amazons_certificate_along() -> None:
    brought = certificates.shipped("hub_amazon", "amazon")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("amazon", "platinum")
    assert brought.versions["tallyhub-amazon"] == version("tallyhub-amazon")
