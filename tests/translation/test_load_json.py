"""What the strict JSON loader takes, what it refuses, and the sentence it refuses with."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Unreadable
from hub.translation import load_json

ORDER = b'{"id": 7, "total": "12.50", "lines": [{"sku": "MUG", "quantity": 2, "price": 6.25}]}'


def refusal(body: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        load_json(body)
    return str(caught.value)


def test_reads_an_order_with_its_fractions_exact() -> None:
    assert load_json(ORDER) == {
        "id": 7,
        "total": "12.50",
        "lines": [{"sku": "MUG", "quantity": 2, "price": Decimal("6.25")}],
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", Decimal("0.1")),
        ("19.989999999999998", Decimal("19.989999999999998")),
        (
            "19.989999999999998436805981327779591083526611328125",
            Decimal.from_float(19.99),
        ),  # a float, as PHP can be set to write it
        ("-0.0", Decimal("-0.0")),
        ("1e2", Decimal("1E+2")),
        ("1e308", Decimal("1E+308")),
        ("9007199254740993", 9007199254740993),
        ("-3", -3),
        ('"\\ud83d\\ude00"', "😀"),
        ("true", True),
        ("null", None),
    ],
)
def test_reads_a_value_as_it_was_written(text: str, value: Any) -> None:
    loaded = load_json(text.encode())
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert load_json(b"\xef\xbb\xbf" + ORDER) == load_json(ORDER)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param(b"", "The body is empty.", id="empty"),
        pytest.param(b" \r\n\t", "The body is empty.", id="whitespace"),
        pytest.param(b"\xef\xbb\xbf", "The body is empty.", id="only a byte order mark"),
        pytest.param(b"webhook_id=1", "The body is not JSON (Expecting value, character 0).", id="form"),
        pytest.param(b"<html></html>", "The body is not JSON (Expecting value, character 0).", id="html"),
        pytest.param(ORDER + b"x", "The body is not JSON (Extra data, character 84).", id="trailing garbage"),
        pytest.param(ORDER + ORDER, "The body is not JSON (Extra data, character 84).", id="two texts"),
        pytest.param(b"{'a': 1}", None, id="single quotes"),
        pytest.param(b'{"a": 1,}', None, id="trailing comma"),
        pytest.param(b'{"a": 01}', None, id="leading zero"),
        pytest.param(b'{"a": "\x00"}', None, id="raw control character"),
        pytest.param(ORDER.decode().encode("utf-16"), "The body is not UTF-8 text (byte 0).", id="utf-16"),
        pytest.param(ORDER.decode().encode("utf-16-le"), None, id="utf-16 without a mark"),
        pytest.param(b'{"name": "\xff"}', "The body is not UTF-8 text (byte 10).", id="invalid utf-8"),
        pytest.param(
            '{"name": "Zoë"}'.encode("latin-1"), "The body is not UTF-8 text (byte 12).", id="mislabelled latin-1"
        ),
        pytest.param(b'"\xed\xa0\x80"', "The body is not UTF-8 text (byte 1).", id="surrogate as bytes"),
        pytest.param(b"\x1f\x8b\x08\x00", "The body is not UTF-8 text (byte 1).", id="gzip"),
        pytest.param(b"NaN", "The body holds NaN, which is not a JSON number.", id="nan"),
        pytest.param(b'{"a": Infinity}', "The body holds Infinity, which is not a JSON number.", id="infinity"),
        pytest.param(b"[-Infinity]", "The body holds -Infinity, which is not a JSON number.", id="-infinity"),
        pytest.param(
            b"1" * 5_000,
            "The body holds a number of 5000 digits; 128 are the most that is read.",
            id="5,000-digit integer",
        ),
        pytest.param(
            b'{"quantity": 1, "quantity": 100}',
            "The body says one name twice in the same object, so its meaning is unclear.",
            id="duplicate name",
        ),
    ],
)
def test_refuses_what_is_not_strict_json(body: bytes, sentence: str | None) -> None:
    refused = refusal(body)
    assert refused.startswith("The body ")
    if sentence is not None:
        assert refused == sentence


@pytest.mark.parametrize(
    "number", ["-1e999", "1e309", "1e-309", "1e99999999999999999999", "1." + "0" * 200, "0.0" + "1" * 200 + "e5"]
)
def test_refuses_numbers_that_cannot_be_kept_exactly(number: str) -> None:
    refused = refusal(f'{{"total": {number}}}'.encode())
    assert refused == "The body holds a number that is too long or too large to be read exactly."


def test_refuses_an_order_cut_off_at_any_byte() -> None:
    for length in range(len(ORDER)):
        assert refusal(ORDER[:length]).startswith("The body is ")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="100,000 arrays, never closed"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 arrays"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 objects"),
        pytest.param(b"[" * 65 + b"]" * 65, id="one level too many"),
    ],
)
def test_refuses_deep_nesting_without_running_out_of_stack(body: bytes) -> None:
    assert refusal(body) == "The body is nested more than 64 levels deep."


def test_reads_as_many_levels_as_it_says() -> None:
    value = load_json(b"[" * 64 + b"7" + b"]" * 64)
    for _ in range(64):
        (value,) = value
    assert value == 7


def test_the_depth_of_the_caller_does_not_matter() -> None:
    def load_from(depth: int) -> Any:
        return load_from(depth - 1) if depth else load_json(b"[" * 60 + b"]" * 60)

    assert load_from(500) == load_json(b"[" * 60 + b"]" * 60)


def test_a_wide_body_is_no_deep_one() -> None:
    lines = [{"sku": f"SKU-{n}", "quantity": n} for n in range(10_000)]
    assert load_json(json.dumps({"lines": lines}).encode()) == {"lines": lines}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@given(json_values)
def test_reads_back_whatever_a_vendor_may_write(value: Any) -> None:
    assert load_json(json.dumps(value).encode()) == value
    assert load_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(body: bytes) -> None:
    try:
        load_json(body)
    except Unreadable as error:
        assert str(error).endswith(".")
