"""The fields that read vendors' values, and the sentences that name the place of what cannot be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import fields, post_load

from hub.core.model import Money
from hub.errors import Unreadable
from hub.translation import DecimalNumber, Identifier, Text, Translation, UtcMoment, WholeNumber


@dataclass(frozen=True)
class Line:
    id: str
    sku: str
    quantity: int


@dataclass(frozen=True)
class Sheet:
    number: str
    total: Money
    changed: datetime
    lines: tuple[Line, ...]


class LineTranslation(Translation):
    id = Identifier(required=True)
    sku = Text(limit=64)
    quantity = WholeNumber(required=True)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> Line:
        return Line(**values)


class SheetTranslation(Translation):
    number = Text(required=True)
    total = DecimalNumber(required=True)
    currency = Text(required=True)
    changed = UtcMoment(required=True, data_key="date_modified_gmt", assume_utc=True)
    lines = fields.List(fields.Nested(LineTranslation), data_key="line_items", required=True)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> Sheet:
        total = Money.of(values["total"], values["currency"])
        return Sheet(values["number"], total, values["changed"], tuple(values["lines"]))


SHEET: dict[str, Any] = {
    "number": "1001",
    "total": "12.50",
    "currency": "EUR",
    "date_modified_gmt": "2026-11-21T22:34:33",
    "line_items": [{"id": 5, "sku": "MUG", "quantity": 2}, {"id": "6", "sku": None, "quantity": "1"}],
    "_links": {"self": "ignored"},
}


def refusal(payload: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        SheetTranslation().read(payload)
    return str(caught.value)


def test_reads_a_record_from_its_bytes() -> None:
    assert SheetTranslation().read(json.dumps(SHEET).encode()) == Sheet(
        number="1001",
        total=Money(Decimal("12.50"), "EUR"),
        changed=datetime(2026, 11, 21, 22, 34, 33, tzinfo=UTC),
        lines=(Line("5", "MUG", 2), Line("6", "", 1)),
    )


def test_reads_a_value_that_is_loaded_already() -> None:
    assert SheetTranslation().read(SHEET) == SheetTranslation().read(json.dumps(SHEET).encode())


def test_reading_does_not_change_the_payload() -> None:
    before = json.dumps(SHEET)
    SheetTranslation().read(SHEET)
    assert json.dumps(SHEET) == before


def test_names_the_place_of_a_value_that_does_not_fit() -> None:
    lines = [SHEET["line_items"][0], {"id": 6, "sku": "CUP", "quantity": "1,5"}]
    assert refusal({**SHEET, "line_items": lines}) == "line_items.1.quantity: Not a whole number."


def test_never_repeats_the_value_because_it_may_be_a_customers() -> None:
    assert "anna@example.com" not in refusal({**SHEET, "total": "anna@example.com"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("number", "number: Missing."),
        ("total", "total: Missing."),
        ("date_modified_gmt", "date_modified_gmt: Missing."),
        ("line_items", "line_items: Missing data for required field."),
    ],
)
def test_names_a_required_field_that_is_missing(name: str, sentence: str) -> None:
    assert refusal({key: value for key, value in SHEET.items() if key != name}) == sentence


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (None, "Not an object."),
        ([], "Not an object."),
        ([SHEET], "Not an object."),
        ("order", "Not an object."),
        (7, "Not an object."),
        ({**SHEET, "line_items": {}}, "line_items: Not a valid list."),
        ({**SHEET, "line_items": "MUG"}, "line_items: Not a valid list."),
        ({**SHEET, "line_items": [[]]}, "line_items.0: Not an object."),
        ({**SHEET, "line_items": [7]}, "line_items.0: Not an object."),
        ({**SHEET, "line_items": [None]}, "line_items.0: Field may not be null."),
    ],
)
def test_names_the_place_where_the_structure_differs(payload: Any, sentence: str) -> None:
    assert refusal(payload) == sentence


def test_tells_of_a_few_faults_and_counts_the_rest() -> None:
    lines = [{"id": n, "quantity": "many"} for n in range(100)]
    refused = refusal({**SHEET, "line_items": lines})
    assert refused.startswith("line_items.0.quantity: Not a whole number. line_items.1.quantity: Not a whole number.")
    assert refused.endswith("line_items.4.quantity: Not a whole number. And 95 more.")


def test_what_the_model_refuses_makes_the_record_unreadable() -> None:
    assert refusal({**SHEET, "currency": "euros"}) == "'euros' is not an ISO 4217 currency code, such as EUR."


def test_ten_thousand_unknown_fields_are_ignored() -> None:
    odd = {f"field-{n}": n for n in range(10_000)} | {"__proto__": 1, "constructor": 2, "": 3, "a.b": 4}
    assert SheetTranslation().read({**odd, **SHEET}) == SheetTranslation().read(SHEET)


def test_a_body_that_is_not_json_is_unreadable_too() -> None:
    assert refusal(b"<html>") == "The body is not JSON (Expecting value, character 0)."


def test_an_unreadable_record_can_be_read_once_it_is_mended() -> None:
    translation = SheetTranslation()
    with pytest.raises(Unreadable):
        translation.read({**SHEET, "total": "12,50"})
    assert translation.read(SHEET).total == Money(Decimal("12.50"), "EUR")


# ---------------------------------------------------------------- one field at a time


def read(field: fields.Field[Any], value: Any) -> Any:
    return Translation.from_dict({"value": field})().read({"value": value})["value"]


def field_refusal(field: fields.Field[Any], value: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        read(field, value)
    return str(caught.value).removeprefix("value: ")


WRONG_TYPES = [pytest.param(value, id=repr(value)) for value in (True, [], {}, ["1"], {"a": 1})]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("Zoë", "Zoë", id="plain"),
        pytest.param("", "", id="empty"),
        pytest.param(None, "", id="null"),
        pytest.param("  padded ", "  padded ", id="not trimmed"),
        pytest.param("a\x00b", "a\ufffdb", id="NUL"),
        pytest.param("a\ud800b", "a\ufffdb", id="half a surrogate pair"),
        pytest.param("\udfff\ud800", "\ufffd\ufffd", id="surrogates in the wrong order"),
        pytest.param("👩‍👩‍👧🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👩‍👩‍👧🏴󠁧󠁢󠁥󠁮󠁧󠁿", id="emoji families and flags"),
        pytest.param("Zoe\u0308", "Zoe\u0308", id="NFD stays NFD"),
        pytest.param("\ufeffSKU\u200b", "\ufeffSKU\u200b", id="zero width"),
        pytest.param("\u202egnp.exe", "\u202egnp.exe", id="bidi override"),
        pytest.param("a\r\nb\tc", "a\r\nb\tc", id="line ends"),
        pytest.param("<script>alert(1)</script>", "<script>alert(1)</script>", id="markup"),
        pytest.param("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0", id="formula"),
        pytest.param("'; DROP TABLE orders; --", "'; DROP TABLE orders; --", id="SQL"),
        pytest.param("../../etc/passwd", "../../etc/passwd", id="path"),
        pytest.param("İıß", "İıß", id="case folding"),
        pytest.param("00123", "00123", id="numeric-looking"),
        pytest.param("1E5", "1E5", id="number-looking"),
        pytest.param("x" * 65_536, "x" * 65_536, id="longest"),
    ],
)
def test_text_is_kept_as_it_is_except_what_no_database_keeps(sent: Any, kept: str) -> None:
    assert read(Text(), sent) == kept


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_can_be_stored_afterwards(sent: str) -> None:
    kept = read(Text(), sent)
    assert "\x00" not in kept
    assert len(kept) == len(sent)
    kept.encode("utf-8")


def test_text_that_is_missing_is_empty() -> None:
    assert Translation.from_dict({"value": Text()})().read({}) == {"value": ""}


def test_text_can_tell_null_from_empty_where_that_is_asked_for() -> None:
    assert read(Text(allow_none=True), None) is None
    assert read(Text(load_default=None, allow_none=True), "") == ""


def test_a_required_text_may_be_empty_but_not_null() -> None:
    assert read(Text(required=True), "") == ""
    assert field_refusal(Text(required=True), None) == "Empty."


def test_a_text_that_is_too_long_is_refused_and_not_cut() -> None:
    assert read(Text(limit=3), "abc") == "abc"
    assert field_refusal(Text(limit=3), "abcd") == "Longer than 3 characters."
    assert field_refusal(Text(), "x" * 1_000_000) == "Longer than 65536 characters."


@pytest.mark.parametrize("value", [*WRONG_TYPES, 7, 1.5])
def test_only_text_is_text(value: Any) -> None:
    assert field_refusal(Text(), value) == "Not a text."


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param(7, "7", id="integer"),
        pytest.param("7", "7", id="text"),
        ("00123", "00123"),
        (9007199254740993, "9007199254740993"),
        ("gid://shopify/Order/1", "gid://shopify/Order/1"),
        (0, "0"),
        ("ä" * 255, "ä" * 255),
    ],
)
def test_an_id_is_text_whether_it_was_sent_as_number_or_text(sent: Any, kept: str) -> None:
    assert read(Identifier(), sent) == kept


@pytest.mark.parametrize("value", [*WRONG_TYPES, Decimal("7.0"), 7.0, " ", "a\x00b", "a\nb", "\ud800", "\x7f"])
def test_refuses_an_id_that_could_not_be_sent_back_whole(value: Any) -> None:
    assert field_refusal(Identifier(), value) == "Not an id."


@pytest.mark.parametrize("value", ["x" * 256, pytest.param(10**5_000, id="5,000 digits")])
def test_refuses_an_id_that_is_too_long(value: Any) -> None:
    assert field_refusal(Identifier(), value) == "Longer than 255 characters."


@pytest.mark.parametrize("field", [Identifier, WholeNumber, DecimalNumber, UtcMoment])
@pytest.mark.parametrize("value", ["", None])
def test_empty_means_null(field: type[fields.Field[Any]], value: Any) -> None:
    assert read(field(allow_none=True), value) is None
    assert field_refusal(field(), value) == "Empty."


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        pytest.param(3, 3, id="integer"),
        pytest.param("3", 3, id="text"),
        pytest.param("-3", -3, id="negative"),
        pytest.param(0, 0, id="zero"),
        pytest.param("-0", 0, id="minus zero"),
        pytest.param(Decimal("-0.0"), 0, id="minus zero fraction"),
        pytest.param("007", 7, id="leading zeros"),
        pytest.param("3.00", 3, id="fraction that is whole"),
        pytest.param(Decimal("3.0"), 3, id="decimal that is whole"),
        pytest.param(Decimal("1E+2"), 100, id="exponent"),
        pytest.param(3.0, 3, id="float that is whole"),
        pytest.param(2**31 - 1, 2147483647, id="largest"),
        pytest.param(-(2**31) + 1, -2147483647, id="smallest"),
    ],
)
def test_reads_whole_numbers(sent: Any, number: int) -> None:
    kept = read(WholeNumber(), sent)
    assert kept == number
    assert type(kept) is int


NO_NUMBERS = [
    pytest.param("1,5", id="decimal comma"),
    pytest.param("1,234", id="thousands"),
    pytest.param("1.234,56", id="thousands of another country"),
    pytest.param("1 234", id="thousands with a space"),
    pytest.param("1_000", id="underscore"),
    pytest.param("١٢", id="Arabic-Indic digits"),
    pytest.param("１２", id="full-width digits"),
    pytest.param("²", id="superscript"),
    pytest.param(" 1", id="leading space"),
    pytest.param("1\n", id="trailing line end"),
    pytest.param("+1", id="plus"),
    pytest.param("--1", id="two signs"),
    pytest.param("−1", id="typographic minus"),
    pytest.param("0x10", id="hexadecimal"),
    pytest.param("1e3", id="exponent in a text"),
    pytest.param("NaN", id="NaN"),
    pytest.param("Infinity", id="Infinity"),
    pytest.param("many", id="word"),
    pytest.param(".5", id="no leading digit"),
    pytest.param("5.", id="no digit after the point"),
    pytest.param("1" * 5_000, id="5,000 digits"),
    pytest.param("0." + "0" * 128 + "1", id="129 decimal places"),
    pytest.param(float("nan"), id="float NaN"),
    pytest.param(float("inf"), id="float infinity"),
    pytest.param(Decimal("NaN"), id="decimal NaN"),
    pytest.param(Decimal("sNaN"), id="signaling NaN"),
    pytest.param(Decimal("Infinity"), id="decimal infinity"),
]


@pytest.mark.parametrize(
    "value",
    [
        *WRONG_TYPES,
        *NO_NUMBERS,
        pytest.param("1.5", id="text of a fraction"),
        Decimal("1.5"),
        2.5,
        Decimal("0.0000001"),
        "0.0000001",
        Decimal("1E-300"),
    ],
)
def test_refuses_what_is_not_a_whole_number(value: Any) -> None:
    assert field_refusal(WholeNumber(), value) == "Not a whole number."


@pytest.mark.parametrize(
    "value",
    [
        2**31,
        -(2**31),
        2**63,
        "-2147483649",
        Decimal("1E+308"),
        1e308,
        Decimal("1E+999999"),
        pytest.param(10**5_000, id="5,000 digits"),
    ],
)
def test_refuses_whole_numbers_that_no_column_holds(value: Any) -> None:
    assert field_refusal(WholeNumber(), value) == "Out of range."


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        ("12.50", "12.50"),
        ("0.005", "0.005"),
        ("-5.00", "-5.00"),
        (7, "7"),
        (Decimal("19.989999999999998"), "19.989999999999998"),
        (0.1, "0.1"),
        (1e-7, "1E-7"),
        ("0.0000001", "1E-7"),
        (Decimal("1E+3"), "1E+3"),
        ("0." + "0" * 127 + "1", "1E-128"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_reads_decimal_numbers_exactly(sent: Any, number: str) -> None:
    kept = read(DecimalNumber(), sent)
    assert str(kept) == number
    assert type(kept) is Decimal


@pytest.mark.parametrize("value", [*WRONG_TYPES, *NO_NUMBERS])
def test_refuses_what_is_not_a_decimal_number(value: Any) -> None:
    assert field_refusal(DecimalNumber(), value) == "Not a decimal number."


@pytest.mark.parametrize("value", [10**15, "-1000000000000000", Decimal("1E+308"), 1e308, Decimal("1E-129")])
def test_refuses_decimal_numbers_out_of_range(value: Any) -> None:
    assert field_refusal(DecimalNumber(), value) == "Out of range."


@given(st.decimals(-(10**14), 10**14, places=4))
def test_a_decimal_survives_the_way_through_a_text(amount: Decimal) -> None:
    assert str(read(DecimalNumber(), f"{amount:f}")) == str(amount)


@pytest.mark.parametrize(
    ("sent", "moment"),
    [
        ("2026-11-21T22:34:33Z", "2026-11-21T22:34:33+00:00"),
        ("2026-11-21T22:34:33z", "2026-11-21T22:34:33+00:00"),
        ("2026-11-21 22:34:33+00:00", "2026-11-21T22:34:33+00:00"),
        ("2026-11-21T22:34:33-05:00", "2026-11-22T03:34:33+00:00"),
        ("2026-11-21T22:34:33+1400", "2026-11-21T08:34:33+00:00"),
        ("2026-11-21T22:34:33+05:45", "2026-11-21T16:49:33+00:00"),
        ("2026-11-21T22:34:33+01", "2026-11-21T21:34:33+00:00"),
        ("2026-11-21T22:34Z", "2026-11-21T22:34:00+00:00"),
        ("2026-11-21T22:34:33.120Z", "2026-11-21T22:34:33.120000+00:00"),
        ("2026-11-21T22:34:33,5Z", "2026-11-21T22:34:33.500000+00:00"),
        ("2026-11-21T22:34:33.123456789Z", "2026-11-21T22:34:33.123456+00:00"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("2199-12-31T23:59:59Z", "2199-12-31T23:59:59+00:00"),
    ],
)
def test_reads_moments_as_utc(sent: str, moment: str) -> None:
    kept = read(UtcMoment(), sent)
    assert kept.isoformat() == moment
    assert kept.tzinfo is UTC


def test_a_time_without_a_zone_is_refused_unless_the_vendor_defines_it_as_utc() -> None:
    assert field_refusal(UtcMoment(), "2026-11-21T22:34:33") == "A time without a time zone."
    assert read(UtcMoment(assume_utc=True), "2026-11-21T22:34:33") == datetime(2026, 11, 21, 22, 34, 33, tzinfo=UTC)


def test_a_zone_that_is_given_outweighs_the_assumption() -> None:
    assert read(UtcMoment(assume_utc=True), "2026-11-21T22:34:33+01:00").hour == 21


@pytest.mark.parametrize(
    "value",
    [
        *WRONG_TYPES,
        1795300473,
        1795300473000,
        Decimal("1795300473.5"),
        "1795300474",
        "2026-11-21",
        "20261121T223433Z",
        "22:34:33Z",
        "2026-11-21T22:34:33 Z",
        " 2026-11-21T22:34:33Z",
        "2026-11-21T22:34:33Z\n",
        "２０２６-11-21T22:34:33Z",
        "21/11/2026 22:34:33",
        "10000-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-21T24:01:00Z",
        "2026-11-21T22:34:61Z",
        "2026-11-21T22:34:33+25:00",
        "2026-11-21T22:34:33 Europe/Berlin",
        "0000-00-00 00:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "yesterday",
    ],
)
def test_refuses_what_is_not_a_moment(value: Any) -> None:
    assert field_refusal(UtcMoment(assume_utc=True), value) == "Not a date with a time."


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "9999-12-31T00:00:00Z"]
)
def test_refuses_moments_that_would_make_later_changes_look_old(value: str) -> None:
    assert field_refusal(UtcMoment(), value) == "Not a plausible date."


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2198, 12, 31)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_moment_python_can_write_is_read_back(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=zone)
    assert read(UtcMoment(), aware.isoformat()) == aware
