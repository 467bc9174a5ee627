"""The connector to Amazon's warehouses keeps the whole contract for fulfillment providers, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import FulfillmentProviderContract
from hub_amazon.fulfillment import AmazonFulfillment
from hub_amazon.simulator_fulfillment import AmazonWarehouseSimulator


class TestAmazonFulfillment(FulfillmentProviderContract):
    """Each case of `hub certify amazon-mcf`."""

    connector = AmazonFulfillment
    simulator = AmazonWarehouseSimulator


def test_the_badge_in_the_readme_says_what_amazon_mcf_keeps() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    shown = "![Amazon Multi-Channel Fulfillment: Tallyhub certified platinum](certified-amazon-mcf.svg)"
    assert shown in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified-amazon-mcf.svg").read_text()


def test_the_package_brings_amazon_mcfs_certificate_along() -> None:
    brought = certificates.shipped("hub_amazon", "amazon-mcf")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("amazon-mcf", "platinum")
    assert brought.versions["tallyhub-amazon"] == version("tallyhub-amazon")
