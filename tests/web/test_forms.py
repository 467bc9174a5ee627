"""Forms drawn from a schema: every kind of input, what was typed, what was wrong, and no secret coming back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import marshmallow
import pytest
from flask import Flask
from flask_babel import Babel
from marshmallow import fields, validate, validates_schema
from werkzeug.datastructures import MultiDict

from hub.core.model import HoldReason
from hub.errors import BadInput
from hub.web import forms


class Everything(marshmallow.Schema):
    shop = fields.String(required=True, metadata={"label": "Shop", "hint": "Its name.", "placeholder": "acme"})
    address = fields.Url(metadata={"label": "Address", "hint": "With https."})
    contact = fields.Email(metadata={"label": "Contact", "hint": "For questions."})
    days = fields.Integer(
        load_default=90, validate=validate.Range(min=1, max=365), metadata={"label": "Days", "hint": "How long."}
    )
    size = fields.String(
        validate=validate.OneOf(["s", "l"], labels=["Small"]), metadata={"label": "Size", "hint": "Roughly."}
    )
    notes = fields.String(
        validate=validate.Length(max=50), metadata={"label": "Notes", "hint": "Any.", "input": "textarea"}
    )
    active = fields.Boolean(load_default=True, metadata={"label": "Active", "hint": "Yes or no."})
    api_key = fields.String(required=True, metadata={"secret": True, "label": "Key", "hint": "From the vendor."})
    internal = fields.String(dump_only=True)
    no_words = fields.String()

    @validates_schema
    def _both(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("shop") == "closed":
            raise marshmallow.ValidationError("This shop is closed.")


def by_name(**more: Any) -> dict[str, forms.Field]:
    return {each.name: each for each in forms.fields(Everything(), **more)}


def test_each_field_becomes_the_input_that_fits_it() -> None:
    drawn = by_name()

    assert {name: each.kind for name, each in drawn.items()} == {
        "shop": "text",
        "address": "url",
        "contact": "email",
        "days": "number",
        "size": "select",
        "notes": "textarea",
        "active": "checkbox",
        "api_key": "password",
        "no_words": "text",
    }
    assert (drawn["shop"].label, drawn["shop"].hint, drawn["shop"].placeholder) == ("Shop", "Its name.", "acme")
    assert (drawn["days"].value, drawn["days"].lowest, drawn["days"].highest) == ("90", 1, 365)
    assert drawn["size"].choices == (("s", "Small"), ("l", "l"))
    assert drawn["notes"].longest == 50
    assert [name for name, each in drawn.items() if each.required] == ["shop", "api_key"]
    assert drawn["no_words"].label == "No words"


def test_a_secret_is_never_put_into_a_form() -> None:
    drawn = by_name(values={"api_key": "s3cret", "shop": "acme"})

    assert (drawn["api_key"].value, drawn["shop"].value) == ("", "acme")
    assert "api_key" not in forms.typed(MultiDict({"api_key": "s3cret", "shop": "acme"}), list(drawn.values()))


def test_what_was_typed_is_loaded_by_the_schema() -> None:
    form = MultiDict({"shop": " acme \n", "days": "7", "active": "true", "api_key": "k", "size": "", "csrf_token": "x"})

    assert forms.load(Everything(), form) == {"shop": "acme", "days": 7, "active": True, "api_key": "k"}


def test_an_empty_box_means_no() -> None:
    assert forms.load(Everything(), MultiDict({"shop": "a", "api_key": "k"}))["active"] is False


def test_what_is_wrong_is_said_of_its_field() -> None:
    form = MultiDict({"days": "1000", "address": "nope", "api_key": "k", "shop": "closed"})
    with pytest.raises(BadInput) as caught:
        forms.load(Everything(), form)
    assert caught.value.fields["days"] == ["Must be greater than or equal to 1 and less than or equal to 365."]
    assert caught.value.fields["address"] == ["Not a valid URL."]

    with pytest.raises(BadInput) as caught:
        forms.load(Everything(), MultiDict({"shop": "closed", "api_key": "k"}))
    assert caught.value.fields == {"_schema": ["This shop is closed."]}
    drawn = by_name(errors={"days": ["Too many."]})
    assert drawn["days"].errors == ("Too many.",)


@pytest.mark.parametrize(("text", "number"), [("0", 0), (" 12 ", 12), ("007", 7)])
def test_a_whole_number_is_read(text: str, number: int) -> None:
    assert forms.whole_number(text, "on_hand") == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1,5", "1_0", "٣", "1" * 13, "0x1", "²"])
def test_anything_else_is_no_whole_number(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        forms.whole_number(text, "on_hand")
    assert list(caught.value.fields) == ["on_hand"]


# ---------------------------------------------------------------- rows, lists and ids

TEA, MUG = UUID(int=1), UUID(int=2)


@contextmanager
def sent(*pairs: tuple[str, str]) -> Iterator[None]:
    """A request with this form."""
    app = Flask(__name__)
    Babel(app)
    with app.test_request_context(method="POST", data=MultiDict(pairs)):
        yield


def test_each_row_brings_its_id_and_its_units() -> None:
    with sent(("sku", str(TEA)), ("units", "3"), ("sku", str(MUG)), ("units", "")):
        assert forms.rows("sku") == {TEA: "3", MUG: ""}


@pytest.mark.parametrize(
    "pairs",
    [
        [("sku", "tea"), ("units", "3")],
        [("sku", str(TEA))],
        [("sku", str(TEA)), ("units", "3"), ("sku", str(TEA)), ("units", "4")],
    ],
    ids=["no id", "no units", "one row twice"],
)
def test_rows_that_no_page_has_drawn_are_refused(pairs: list[tuple[str, str]]) -> None:
    with sent(*pairs), pytest.raises(BadInput, match=r"^This form is damaged\. Reload the page\.$"):
        forms.rows("sku")


def test_what_the_store_says_of_a_row_stands_at_that_row() -> None:
    said = {str(TEA): ["Not so many."], "reason": ["Say why."]}

    assert forms.at_rows(said, [TEA, MUG]) == {f"units-{TEA}": ["Not so many."], "reason": ["Say why."]}


def test_a_choice_may_be_left_empty_but_not_be_nonsense() -> None:
    with sent(("location", ""), ("place", "nowhere"), ("sku", str(TEA))):
        assert (forms.optional_identity("location"), forms.optional_identity("sku")) == (None, TEA)
        with pytest.raises(BadInput):
            forms.optional_identity("place")


def test_words_are_parted_by_commas_or_lines_and_kept_once() -> None:
    assert forms.words(" express,overnight\nexpress ,, by hand") == ("express", "overnight", "by hand")
    assert forms.words("abcdef", longest=3) == ("abc",)


def test_only_what_is_on_the_list_can_be_chosen() -> None:
    assert forms.one_of(HoldReason, "fraud") is HoldReason.FRAUD
    assert forms.one_of(HoldReason, "FRAUD") is None


def test_every_field_is_read_before_anything_is_said() -> None:
    errors: dict[str, list[str]] = {}
    read = {}
    for name, text in (("length", "x"), ("width", "12"), ("height", "y")):
        with forms.gathering(errors):
            read[name] = forms.whole_number(text, name)

    assert (read, list(errors)) == ({"width": 12}, ["length", "height"])
