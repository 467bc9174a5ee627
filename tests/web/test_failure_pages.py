"""Failures: a page with a next step and a request number for people, JSON for programs, one line for htmx."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import Forbidden, MethodNotAllowed, RequestEntityTooLarge, TooManyRequests

from hub.errors import BadInput, Conflict, HubError
from hub.store.accounts import Busy, NotAllowed
from hub.store.database import DatabaseAway
from hub.web.gate import public
from tests.web.client import Browser, words


@pytest.fixture
def failing(app: Flask) -> Any:
    """``failing(error)`` is a browser for which /fail raises the error."""

    def build(error: BaseException) -> Browser:
        @public
        def fail() -> None:
            raise error

        app.add_url_rule("/fail", view_func=fail, methods=["GET", "POST"])
        return Browser(app)

    return build


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BadInput("The cup is full."), 400, "The cup is full."),
        (Forbidden("Ask Ada."), 403, "Ask Ada."),
        (NotAllowed("The door is locked."), 403, "The door is locked."),
        (MethodNotAllowed(["POST"]), 405, "Go back, reload the page and try again."),
        (Conflict("Somebody was faster."), 409, "Somebody was faster."),
        (RequestEntityTooLarge(), 413, "Send less at once."),
        (TooManyRequests(retry_after=7), 429, "Wait a little, then try again."),
        (HubError("The kettle is cold."), 500, "The kettle is cold."),
        (DatabaseAway("The database is away."), 503, "The database is away."),
        (Busy("Too many people."), 503, "Too many people."),
    ],
)
def test_each_failure_says_what_happened_and_what_to_do(failing: Any, error: Exception, status: int, said: str) -> None:
    browser = failing(error)

    page = browser.get("/fail")
    data = browser.get("/fail", headers={"Accept": "application/json"})
    part = browser.get("/fail", headers={"HX-Request": "true"})

    assert page.status_code == data.status_code == part.status_code == status
    assert said in words(page) and page.headers["X-Request-Id"] in page.text
    assert said in data.json["error"] and data.json["request_id"] == data.headers["X-Request-Id"]
    assert part.mimetype == "text/plain" and said in part.text
    if status in (429, 503):
        assert page.headers["Retry-After"] == ("7" if status == 429 else "5")
    if status == 405:
        assert page.headers["Allow"] == "POST"


def test_a_surprise_tells_nothing_about_the_inside(failing: Any, caplog: pytest.LogCaptureFixture) -> None:
    browser = failing(RuntimeError("select secret from vault"))

    page = browser.get("/fail")
    data = browser.get("/fail", headers={"Accept": "*/*"})

    assert page.status_code == data.status_code == 500
    for answer in (page, data):
        assert "vault" not in answer.text and "Traceback" not in answer.text and "RuntimeError" not in answer.text
    assert "tell the operator the request number" in words(page)


def test_what_nobody_knows_is_not_found(owner: Browser) -> None:
    page = owner.get("/nowhere")

    assert (page.status_code, "There is no such page" in words(page)) == (404, True)
    assert owner.get("/nowhere", headers={"Accept": "application/json"}).json["error"].startswith("There is no such")  # type: ignore[index]


def test_a_form_larger_than_a_form_is_refused(owner: Browser) -> None:
    token = owner.token("/settings")

    answer = owner.client.post(
        "/settings/password",
        base_url=owner.base_url,
        data={"csrf_token": token, "current": "x" * 2_000_000},
        headers={"Accept": "text/html"},
    )

    assert answer.status_code == 413
