"""The ShipBob connector keeps the whole contract for fulfillment providers, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import FulfillmentProviderContract
from hub_3pl.shipbob import ShipBobConnector
from hub_3pl.simulator_shipbob import ShipBobSimulator


class TestShipBob(FulfillmentProviderContract):
    """Each case of `hub certify shipbob`."""

    connector = ShipBobConnector
    simulator = ShipBobSimulator


def test_the_badge_in_the_readme_says_what_shipbob_keeps() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    assert "![ShipBob: Tallyhub certified platinum](certified-shipbob.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified-shipbob.svg").read_text()


def test_the_package_brings_shipbobs_certificate_along() -> None:
    brought = certificates.shipped("hub_3pl", "shipbob")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("shipbob", "platinum")
    assert brought.versions["tallyhub-3pl"] == version("tallyhub-3pl")
