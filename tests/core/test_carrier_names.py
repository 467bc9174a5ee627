"""What people call carriers."""

from __future__ import annotations

import pytest

from hub.core.carriers import carrier_name, named_service


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("usps", "USPS"),
        ("UPSDAP", "UPS"),
        ("ups", "UPS"),
        ("UPS", "UPS"),
        ("dhl_express", "DHL Express"),
        ("DHLExpress", "DHL Express"),
        ("royal_mail", "Royal Mail"),
        ("Royal Mail", "Royal Mail"),
        ("RoyalMail", "Royal Mail"),
        ("fedex", "FedEx"),
        ("harbor_couriers", "Harbor Couriers"),
        ("Österreichische Post", "Österreichische Post"),
        ("McKenzie's Vans", "McKenzie's Vans"),
        ("", ""),
    ],
)
def test_a_carrier_has_one_name_whatever_a_vendor_writes(said: str, name: str) -> None:
    assert carrier_name(said) == name


def test_a_service_is_told_with_its_carrier_once() -> None:
    assert named_service("ups", "UPS Ground") == "UPS Ground"
    assert named_service("UPSDAP", "Ground") == "UPS Ground"
    assert named_service("royal_mail", "") == "Royal Mail"
    assert named_service("", "Express") == "Express"
