"""The EasyPost connector keeps the whole contract for carriers, up to the highest grade."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from hub import certificates
from hub.testing import CarrierContract
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator


class TestEasyPost(CarrierContract):
    """Each case of `hub certify easypost`."""

    connector = EasyPostConnector
    simulator = EasyPostSimulator


def test_the_badge_in_the_readme_says_what_is_kept() -> None:
    """Every case above has to pass for the highest grade, which is the one that is shown."""
    root = Path(__file__).parents[1]
    assert "![EasyPost: Tallyhub certified: platinum](certified_easypost.svg)" in (root / "README.md").read_text()
    assert "<title>Tallyhub certified: platinum</title>" in (root / "certified_easypost.svg").read_text()


def test_the_package_brings_its_certificate_along() -> None:
    brought = certificates.shipped("hub_carriers", "easypost")
    assert brought is not None
    assert (brought.connector, brought.grade) == ("easypost", "platinum")
    assert brought.versions["tallyhub-carriers"] == version("tallyhub-carriers")
