"""A browser as far as HTTP goes: it keeps cookies, fills in the CSRF token, and can ask the way htmx does."""

from __future__ import annotations

import html
import re
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.web.shop_builder import PASSWORD

HTML = {"Accept": "text/html,application/xhtml+xml"}


class Browser:
    def __init__(self, app: Flask, base_url: str = "http://localhost", **environ: Any) -> None:
        self.client = app.test_client()
        self.base_url = base_url
        self.environ = environ

    def get(self, path: str, *, headers: dict[str, str] | None = None) -> TestResponse:
        return self.client.get(
            path,
            base_url=self.base_url,
            headers=HTML | (headers or {}),
            environ_overrides=self.environ,
            buffered=True,
        )

    def post(
        self,
        path: str,
        form: dict[str, Any] | None = None,
        *,
        page: str = "/sign-in",
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        """Send a form with the CSRF token of ``page``."""
        return self.client.post(
            path,
            base_url=self.base_url,
            data={"csrf_token": self.token(page)} | (form or {}),
            headers=HTML | {"Referer": f"{self.base_url}{page}"} | (headers or {}),
            environ_overrides=self.environ,
        )

    def token(self, page: str = "/sign-in") -> str:
        answer = self.get(page)
        if answer.status_code in (302, 303):
            answer = self.get(answer.headers["Location"])
        found = re.search(r'name="csrf_token" value="([^"]+)"', answer.text)
        assert found, f"no form on {page}: {answer.status}"
        return found[1]

    def sign_in(self, email: str, password: str = PASSWORD) -> Browser:
        answer = self.post("/sign-in", {"email": email, "password": password})
        assert answer.status_code == 303, answer.text
        return self

    def cookie(self, name: str = "tallyhub") -> str:
        found = self.client.get_cookie(name)
        return found.value if found else ""


def words(answer: TestResponse) -> str:
    """The text of a page, without its markup."""
    body = re.sub(r"(?s)<head>.*?</head>", "", answer.text)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())
