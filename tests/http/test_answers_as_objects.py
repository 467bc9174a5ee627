"""Asking an answer for the members it has to have: whatever else comes with status 200 is no answer."""

from __future__ import annotations

import pytest

from hub.errors import Unavailable
from hub.http import Response


def answer(body: bytes) -> Response:
    return Response(200, {}, body, "api.acme.example")


def test_an_object_with_its_members_is_handed_on_whole() -> None:
    assert answer(b'{"id": "1", "count": 0, "rows": [], "note": null}').object("id", "count", "rows") == {
        "id": "1",
        "count": 0,
        "rows": [],
        "note": None,
    }
    assert answer(b"{}").object() == {}


@pytest.mark.parametrize("body", [b"7", b"null", b'"id"', b'["id"]', b"{}", b'{"id": null}', b'{"error": {"id": 1}}'])
def test_anything_else_is_to_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(Unavailable) as unclear:
        answer(body).object("id")

    assert str(unclear.value) == (
        "api.acme.example answered 200 with something else than was asked for (id). It will be asked again."
    )
    assert unclear.value.sent


def test_a_page_for_people_is_no_object() -> None:
    with pytest.raises(Unavailable, match="something else than JSON"):
        answer(b"<!doctype html>").object("id")
