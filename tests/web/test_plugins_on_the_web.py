"""Plugins in the web process: what the catalogue tells of them, and how little one that breaks or hangs takes along."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import marshmallow
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from hub import certificates
from hub.app import create_app
from hub.connector import Delivery, Webhook
from hub.jobs import Hub
from hub.store import activity
from tests.web.client import Browser
from tests.web.shop_builder import Shop, TeaShop, registry, sign


def words(answer: TestResponse) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def browser(hub: Hub, *more: type[TeaShop]) -> Browser:
    return Browser(create_app(replace(hub, registry=registry(*more)))).sign_in("ada@tea.example")


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_tells_what_each_connector_talks_to_can_do_and_did_wrong_last(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeaShop, "api_version_ends", date(2020, 1, 1))
    place = shop.connection(label="Tea Street")
    with hub.database.write() as db:
        activity.raise_issue(
            db, shop.merchant_id, "connector_broke_down", "1", "It broke down", "", at=hub.database.now(db),
            connection_id=place,
        )  # fmt: skip
    report: dict[str, Any] = {"connector": "tea", "grade": "gold", "versions": {"tallyhub-tea": "0.9"}, "cases": []}
    Path(hub.settings.data_dir).mkdir(exist_ok=True)
    certificates.keep(hub.settings.data_dir, report, datetime.now(UTC))

    page = words(browser(hub).get("/connectors"))

    for told in (
        "Kind Sales channel",
        "Talks to tea.example",
        "Can webhooks",
        "API version 2026-10, served until 2020-01-01",
        "Certified gold in version 0.9",
        "Last failure just now , Tea Street: It broke down",
        "Its vendor has not served API version 2026-10 since 2020-01-01. Update the package.",
    ):
        assert told in page


def test_of_many_hosts_the_first_are_named_and_the_others_on_request(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [f"https://{name}.tea.example" for name in ("api", "eu", "files", "queue", "us")]
    monkeypatch.setattr(TeaShop, "hosts", classmethod(lambda cls, settings: named))
    shop.connection(label="Tea Street")

    page = browser(hub).get("/connectors")

    assert "Talks to api.tea.example, eu.tea.example, files.tea.example and 2 more" in words(page)
    folded = page.text.split("<details>")[1].split("</details>")[0]
    assert "queue.tea.example, us.tea.example" in folded and "files.tea.example" not in folded
    monkeypatch.setattr(TeaShop, "hosts", classmethod(lambda cls, settings: named[:4]))
    assert "files.tea.example, queue.tea.example Can" in words(browser(hub).get("/connectors"))


def test_a_merchant_does_not_see_where_others_failed_or_what_they_talk_to(hub: Hub, shop: Shop) -> None:
    from tests.web.shop_builder import open_shop

    other = open_shop(hub, "Other Shop")
    place = other.connection(label="Secret Street")
    with hub.database.write() as db:
        activity.raise_issue(
            db, other.merchant_id, "unreachable", str(place), "It is away", "", at=hub.database.now(db),
            connection_id=place,
        )  # fmt: skip

    page = words(browser(hub).get("/connectors"))

    assert "Secret Street" not in page
    assert "https://tea.example" not in page
    assert "Last failure none" in page
    assert "Certified not certified" in page


# ---------------------------------------------------------------- its form


class Ends(BaseException):
    """No Exception, so that nobody catches it by accident."""


class Raising(marshmallow.Schema):
    """Breaks as soon as it is made."""

    error: BaseException = Ends("at once")

    def __init__(self, **options: Any) -> None:
        raise self.error


class Formless(TeaShop):
    name = "formless"
    label = "Formless"
    settings_schema = Raising


@pytest.mark.parametrize("error", [Ends("at once"), SystemExit(1), ValueError("x" * 10**6)])
def test_a_connector_whose_form_breaks_takes_nothing_else_along(
    hub: Hub, shop: Shop, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Raising, "error", error)
    owner = browser(hub, Formless)

    answer = owner.get("/connectors/formless")

    assert answer.status_code == 409
    assert f"The connector Formless failed at its own form ({type(error).__name__}" in words(answer)
    assert "Everything else goes on." in words(answer)
    assert len(answer.text) < 20_000
    assert owner.get("/connectors").status_code == 200
    assert owner.get("/connectors/tea").status_code == 200


# ---------------------------------------------------------------- its check of webhooks


class Hanging(TeaShop):
    """Its check of a webhook does not end before it is let go."""

    name = "hanging"
    label = "Hanging"
    begun = threading.Semaphore(0)
    go_on = threading.Event()

    def verify(self, webhook: Webhook) -> Delivery | None:
        if webhook.body == b"hang":
            Hanging.begun.release()
            assert Hanging.go_on.wait(60)
        return super().verify(webhook)


@pytest.fixture
def let_go() -> Iterator[None]:
    Hanging.go_on.clear()
    yield
    Hanging.go_on.set()


def deliver(app: Flask, shop: Shop, connection_id: Any, body: bytes) -> TestResponse:
    headers = {"X-Tea-Topic": "order", "X-Tea-Signature": sign("token-of-tea", body).decode()}
    return app.test_client().post(f"/webhooks/{shop.merchant_id}/{connection_id}", data=body, headers=headers)


def test_a_check_that_hangs_leaves_threads_to_everybody_else(hub: Hub, shop: Shop, let_go: None) -> None:
    bad, good = shop.connection(connector="hanging"), shop.connection(connector="tea")
    settings = replace(hub.settings, web_threads=4)
    app = create_app(replace(hub, settings=settings, registry=registry(Hanging)))
    stuck = [threading.Thread(target=deliver, args=(app, shop, bad, b"hang")) for _ in range(2)]
    for each in stuck:
        each.start()
        assert Hanging.begun.acquire(timeout=60)

    turned_away = deliver(app, shop, bad, b"order 2")

    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (503, "60")
    assert deliver(app, shop, good, b"order 3").json == {"stored": True}

    Hanging.go_on.set()
    for each in stuck:
        each.join(60)
    assert deliver(app, shop, bad, b"order 4").json == {"stored": True}
