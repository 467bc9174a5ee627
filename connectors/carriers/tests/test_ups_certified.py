"""The UPS connector keeps the whole contract for carriers, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import CarrierContract
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector


class TestUps(CarrierContract):
    """Each case of `hub certify ups`."""

    connector = UpsConnector
    simulator = UpsSimulator


def test_the_readme_shows_the_badge_of_the_grade_that_is_kept() -> None:
    root = Path(__file__).parents[1]
    assert "![UPS: Tallyhub certified: platinum](certified_ups.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified_ups.svg").read_text()


def test_the_package_brings_the_certificate_along() -> None:
    brought = certificates.shipped("hub_carriers", "ups")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("ups", "platinum")
    assert brought.versions["tallyhub-carriers"] == version("tallyhub-carriers")
