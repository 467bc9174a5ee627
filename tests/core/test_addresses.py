"""Addresses: what is missing, what cannot be, and what a label has no room for; never cut off in silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.addresses import LIMITS, check, divided, fitted
from hub.core.model import Address

BREMEN = Address(name="Ann Li", line1="1 Harbor Road", city="Bremen", postcode="28195", country="DE")
BOSTON = Address(name="Bo", line1="9 Elm St", city="Boston", region="MA", postcode="02108", country="US")
NO_COUNTRY = "There is no country “{}”: use the two letters of its code."


@pytest.mark.parametrize(
    "address",
    [
        BREMEN,
        BOSTON,
        replace(BOSTON, region="Massachusetts"),
        replace(BREMEN, name="", company="Tea Ltd."),
        replace(BREMEN, line1="", line2="Hafenstraße 1"),
        Address(name="Siobhán", line1="4 Quay", city="Galway", country="IE"),
        Address(name="山田太郎", line1="千代田1-1", city="千代田区", region="東京都", postcode="100-0001", country="JP"),  # noqa: E501
        Address(name="Marc", line1="C/ Mallorca 1", city="Barcelona", region="B", postcode="08001", country="es"),
    ],
)  # fmt: skip
def test_nothing_speaks_against_an_address_that_is_right(address: Address) -> None:
    assert check(address).remarks == ()


@pytest.mark.parametrize(
    ("address", "part", "message"),
    [
        (Address(), "country", "It names no country."),
        (replace(BREMEN, country="Ruritania"), "country", NO_COUNTRY.format("Ruritania")),
        (replace(BREMEN, country="XX"), "country", NO_COUNTRY.format("XX")),
        (replace(BREMEN, name=" "), "name", "It names nobody: no person and no company."),
        (replace(BREMEN, line1=""), "line1", "The street is missing."),
        (replace(BREMEN, city=""), "city", "The city is missing."),
        (replace(BREMEN, postcode=""), "postcode", "The postal code is missing."),
        (replace(BREMEN, postcode="2819"), "postcode", "“2819” is no postal code of Germany, such as 26133."),
        (replace(BOSTON, region=""), "region", "The state is missing."),
        (replace(BOSTON, region="Bavaria"), "region", "“Bavaria” is no part of United States."),
        (replace(BOSTON, region="NY"), "postcode", "The postal code 02108 does not lie in NY."),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_said_at_its_part(address: Address, part: str, message: str) -> None:
    found = check(address)

    assert message in found.wrong
    assert [each.part for each in found.remarks if each.message == message] == [part]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (replace(BREMEN, line1="Postfach 12 34"), "This is a PO box or a parcel locker"),
        (replace(BREMEN, line2="Packstation 145"), "This is a PO box or a parcel locker"),
        (replace(BOSTON, line1="P.O. Box 7"), "This is a PO box or a parcel locker"),
        (replace(BOSTON, city="APO", region="AE", postcode="09001"), "This is a military address"),
    ],
)
def test_where_only_some_carriers_go_is_a_remark_and_no_error(address: Address, message: str) -> None:
    found = check(address)

    assert found.wrong == ()
    assert [each.message.startswith(message) for each in found.remarks] == [True]


@pytest.mark.parametrize(
    ("country", "typed", "written"),
    [
        ("PL", "00950", "00-950"),
        ("GB", "sw1a 1aa", "SW1A 1AA"),
        ("NL", "1012 ab", "1012 AB"),
        ("SE", "11122", "111 22"),
    ],
)
def test_a_postal_code_that_is_usually_written_otherwise_is_offered_so(country: str, typed: str, written: str) -> None:
    address = Address(name="A", line1="B 1", city="C", postcode=typed, country=country)

    found = check(address)

    assert found.wrong == ()
    assert found.written == replace(address, postcode=written) or country == "SE"
    assert check(found.written).remarks == ()


# ---------------------------------------------------------------- labels


def test_an_address_that_fits_is_left_as_it_is() -> None:
    for carrier in LIMITS:
        found = fitted(replace(BREMEN, line1="Große Straße 1"), carrier)
        assert (found.address.line1, found.changed, found.too_long) == ("Große Straße 1", (), ())


def test_other_letters_are_spelled_in_latin_ones_and_that_is_shown() -> None:
    found = fitted(replace(BREMEN, name="Иван Петров"), "ups")

    assert found.address.name == "Ivan Petrov"
    assert found.changed == ("Иван Петров → Ivan Petrov",)


def test_a_long_street_is_divided_at_a_blank_and_nothing_of_it_is_lost() -> None:
    street = "1208 North Long Harbor Boulevard, Building 7, Apartment 12"

    found = fitted(replace(BREMEN, line1=street), "ups")

    assert (found.address.line1, found.address.line2) == (
        "1208 North Long Harbor Boulevard,",
        "Building 7, Apartment 12",
    )
    assert found.changed == ("The street is divided: 1208 North Long Harbor Boulevard, / Building 7, Apartment 12",)


def test_what_does_not_fit_however_it_is_spelled_is_left_to_a_person() -> None:
    street, name = "x" * 80, "y" * 36

    found = fitted(replace(BREMEN, line1=street, name=name), "ups")

    assert (found.address.line1, found.address.name) == (street, name)
    assert found.too_long == ("name: 36 characters, and 35 fit", "line1: 80 characters, and 35 fit")


def test_a_carrier_nobody_knows_the_limits_of_gets_it_as_it_is() -> None:
    address = replace(BREMEN, name="Иван")

    assert fitted(address, "pigeon").address is address


def test_who_sells_for_several_carriers_gets_lines_that_each_of_them_takes_where_it_can_be_divided_so() -> None:
    there = divided(replace(BREMEN, name="Иван", line1="The Old Granary at Upper Mill Lane Farm 7"))

    assert (there.name, there.line1, there.line2) == ("Иван", "The Old Granary at Upper Mill Lane", "Farm 7")
    for address in (BREMEN, replace(BREMEN, line1="x" * 80), replace(BREMEN, line1="a " * 40, line2="b " * 10)):
        assert divided(address) is address
