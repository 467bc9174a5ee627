"""Reading without marshmallow's detours: the same values and the same complaints, whatever the payload says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as some
from marshmallow import ValidationError, fields, post_load, pre_load, validate, validates

from bench.old_shop import order_text
from hub.core.model import Money
from hub.errors import Unreadable
from hub.translation import (
    DecimalNumber,
    Identifier,
    MoneyAmount,
    MoneyObject,
    Text,
    Translation,
    UtcMoment,
    WholeNumber,
    load_json,
)
from hub_woocommerce.translation import FetchedOrder


class Holes(fields.List[Any]):
    """A list of its own kind, as a connector may have one."""

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        return super().deserialize(list(value.values()) if isinstance(value, dict) else value, attr, data, **kwargs)


class Row(Translation):
    id = Identifier(required=True)
    units = WholeNumber(allow_none=True, load_default=0)
    price = DecimalNumber(validate=validate.Range(min=0))
    note = Text(limit=5)


class Sheet(Translation):
    number = Identifier(required=True, data_key="name")
    text = Text(required=True)
    maybe = Text(allow_none=True)
    total = MoneyAmount()
    shown = MoneyObject(allow_none=True, load_default=None)
    at = UtcMoment(assume_utc=True, allow_none=True, load_default=None)
    anything = fields.Raw(allow_none=True)
    one = fields.Nested(Row, load_default=dict)
    rows = fields.List(fields.Nested(Row), load_default=list)
    holes = Holes(fields.Nested(Row), load_default=list)
    tags = fields.List(Text())
    flag = fields.Boolean()

    @post_load
    def make(self, sheet: dict[str, Any], **_: Any) -> Any:
        if sheet["text"] == "bad":
            raise ValueError("The model refuses it.")
        return sorted(sheet.items(), key=lambda each: each[0])


ODD = some.sampled_from(
    [
        *(None, "", "a", "bad", "12.50", "3", "-1", "1e3", "toolong", "\ud800", "\x00", "EUR", "2026-03-02T12:00:00Z"),
        *(3, -7, 2**31, True, 1.5, Decimal("2.00"), [], {}, ["x", 3], {"amount": "1.00", "currency": "EUR"}, [None]),
    ]
)
ROWS = some.dictionaries(some.sampled_from(["id", "units", "price", "note", "more"]), ODD, max_size=4) | ODD
SHEETS = some.dictionaries(
    some.sampled_from(["name", "text", "maybe", "total", "currency", "shown", "at", "anything", "flag", "tags"]),
    ODD,
) | some.fixed_dictionaries(
    {"name": some.just("7"), "text": some.sampled_from(["fine", "bad"])},
    optional={
        "one": ROWS,
        "rows": some.lists(ROWS, max_size=3) | ODD,
        "holes": some.lists(ROWS, max_size=2) | some.dictionaries(some.sampled_from("ab"), ROWS) | ODD,
        "total": ODD,
        "currency": some.sampled_from(["EUR", "", None]),
    },
)


def outcome(read: Any, payload: Any) -> Any:
    try:
        return read(payload)
    except ValidationError as error:
        return error.messages
    except ValueError as error:
        return str(error)


@given(SHEETS | ODD, ROWS)
def test_what_is_read_and_what_is_complained_of_is_marshmallows(sheet: Any, row: Any) -> None:
    for schema, payload in ((Sheet(), sheet), (Row(), row)):
        quickly = outcome(schema.load, payload)
        slowly = outcome(lambda each: marshmallow.Schema.load(schema, each), payload)  # noqa: B023

        assert quickly == slowly
        assert repr(quickly) == repr(slowly), "of the same types, too"


def test_an_order_is_read_the_same_both_ways() -> None:
    reading = FetchedOrder({})
    for number in range(0, 100, 7):
        payload = {"order": load_json(order_text(number, 100).encode()), "refunds": [], "fulfillments": []}
        assert reading.load(payload) == marshmallow.Schema.load(reading, payload)


def test_one_translation_serves_all_who_ask_for_it_without_options() -> None:
    assert Sheet() is Sheet()
    assert Row() is not Sheet()
    assert Sheet(only=["number"]) is not Sheet()
    assert Sheet(only=["number"]).fields.keys() == {"number"}
    assert Sheet().fields.keys() > {"number", "rows"}

    class Told(Translation):
        value = Text()

        def __init__(self, word: str) -> None:
            super().__init__()
            self.word = word

        @post_load
        def make(self, found: dict[str, Any], **_: Any) -> str:
            return f"{self.word} {found['value']}"

    assert (Told("a").read({"value": "x"}), Told("b").read({"value": "x"})) == ("a x", "b x")


class Prepared(Translation):
    value = WholeNumber()

    @pre_load
    def unwrap(self, payload: Any, **_: Any) -> Any:
        return payload["inner"]


class Judged(Translation):
    value = WholeNumber()

    @validates("value")
    def small(self, value: int, data_key: str) -> None:
        if value > 9:
            raise ValidationError("Too much.")


class Whole(Translation):
    value = WholeNumber()

    @post_load(pass_original=True)
    def both(self, found: Any, original: Any, **_: Any) -> Any:
        return found, original


class Strict(Translation):
    value = WholeNumber()

    class Meta:
        unknown = marshmallow.RAISE


def test_a_schema_that_does_more_than_read_its_fields_does_it_all() -> None:
    assert Prepared().read({"inner": {"value": 3}}) == {"value": 3}
    assert Judged().read({"value": 3}) == {"value": 3}
    with pytest.raises(Unreadable, match=r"value: Too much\."):
        Judged().read({"value": 10})
    assert Whole().read({"value": "3"}) == ({"value": 3}, {"value": "3"})
    with pytest.raises(Unreadable, match=r"more: Unknown field\."):
        Strict().read({"value": 3, "more": 4})
    assert Sheet().load([{"name": "1", "text": "x"}], many=True)[0] == Sheet().load({"name": "1", "text": "x"})
    assert (
        Money(Decimal(1), "EUR")
        == dict(Sheet().load({"name": "1", "text": "x", "total": "1", "currency": "EUR"}))["total"]
    )
