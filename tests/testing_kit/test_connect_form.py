"""What a connector makes of what people paste into its form, and of the answer to a permission they were asked for."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError, fields, validate

import hub


class BoothSettings(hub.SettingsSchema):
    booth = fields.String(required=True, validate=validate.Regexp(r"[a-z]+\Z"))
    port = fields.Integer(load_default=22)
    key = hub.KeyText(load_default="")
    password = fields.String(load_default="", metadata={"secret": True})


def loaded(**typed: Any) -> dict[str, Any]:
    settings: dict[str, Any] = BoothSettings().load({"booth": "corner", **typed})
    return settings


def refused(typed: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refusal:
        BoothSettings().load(typed)
    return refusal.value.normalized_messages()


@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "{}\r\n", "\t{}", "\u00a0{}"])
def test_what_was_copied_along_is_gone_before_a_validator_looks(around: str) -> None:
    settings = loaded(booth=around.format("corner"), key=around.format("k-1"), password=around.format("Pa55"))
    assert settings == {"booth": "corner", "port": 22, "key": "k-1", "password": "Pa55"}


def test_what_stands_inside_a_password_is_part_of_it() -> None:
    assert loaded(password=" corner  horse\tbattery ")["password"] == "corner  horse\tbattery"


def test_a_required_setting_of_spaces_alone_is_missing() -> None:
    assert list(refused({"booth": "  "})) == ["booth"]


def test_what_is_no_text_is_left_as_it_is() -> None:
    assert loaded(port=2222)["port"] == 2222
    assert refused(["corner"]) == {"_schema": ["Invalid input type."]}


def test_what_is_stored_loads_as_it_was() -> None:
    settings = loaded(key=" k-1\n", password="a b")
    assert loaded(**settings) == settings


@pytest.mark.parametrize("copied", ["k 1", "k\n1", "k\u200b1", "\ufeffk1", "ключ", "k" * 2049])
def test_a_key_with_something_in_it_that_no_vendor_shows_is_copied_again(copied: str) -> None:
    assert refused({"booth": "corner", "key": copied}) == {
        "key": ["There is something in it that is no part of a key. Copy it again."]
    }


def test_a_long_token_is_a_key() -> None:
    assert loaded(key="~!" * 1024)["key"] == "~!" * 1024


# ---------------------------------------------------------------- with one click

ANSWER = hub.AuthorizationAnswer("state-1", {}, b"", by_browser=True)


def test_the_answer_to_what_was_asked_is_believed() -> None:
    ANSWER.check_state("state-1")


@pytest.mark.parametrize("given", ["", "state-2", "state-", "state-11", "STATE-1", "stäte-1", "\ud800"])
def test_the_answer_to_something_else_is_not(given: str) -> None:
    with pytest.raises(hub.Unverified, match="another request"):
        ANSWER.check_state(given)
