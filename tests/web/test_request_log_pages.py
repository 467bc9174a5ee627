"""The pages of a connection's log of requests: what is listed, what one shows, and that no secret ever is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from hub.http import Exchange
from hub.jobs import Hub
from hub.store import exchanges
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.exchanges import Details, Line
from hub.store.queries.exchanges import ExchangeView
from hub.web import webhooks
from hub.web.exchanges import as_curl
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, sign

REFUSED = Exchange(
    method="POST",
    url="https://tea.example/fulfillments?notify=yes&token=•••",
    status=422,
    seconds=2.5,
    request_bytes=30,
    response_bytes=40,
    request_headers={"Authorization": "•••", "Content-Type": "application/json"},
    response_headers={"X-Request-Id": "tea-77"},
    request_excerpt='{"tracking": "<script>alert(1)</script>"}',
    response_excerpt='{"errors": "no such parcel"}',
)


def keep(hub: Hub, shop: Shop, connection_id: UUID, exchange: Exchange, **more: Any) -> UUID:
    with hub.database.write() as db:
        line = Line(exchange, datetime.now(UTC), "effects", **more)
        exchanges.keep(db, hub.keyring, shop.merchant_id, connection_id, [line])
        newest = select(t.exchange.c.id).order_by(t.exchange.c.id.desc()).limit(1)
        found: UUID = db.execute(newest).scalar_one()
    return found


def test_the_list_shows_what_was_asked_and_is_narrowed_down(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    keep(hub, shop, things.connection_id, REFUSED, order_id=things.order_id)
    here = f"/connections/{things.connection_id}/requests"

    said = words(owner.get(here))

    assert "POST /fulfillments tea.example 422 2.5 s Sending order 1001" in said
    assert "GET /orders.json tea.example 200 120 ms Asking the shop" in said
    assert "2 requests since" in said and "1 of them failed" in said
    assert "/orders.json" not in words(owner.get(f"{here}?show=failed"))
    assert "/fulfillments" not in words(owner.get(f"{here}?method=GET"))
    assert "/orders.json" not in words(owner.get(f"{here}?order={things.order_id}"))
    assert "/fulfillments" in words(owner.get(f"{here}?show=slow&q=/fulfill"))
    assert "No request fits" in words(owner.get(f"{here}?q=/nowhere"))
    assert "No request fits" in words(owner.get(f"{here}?until=2020-01-01T00:00"))
    assert owner.get(f"{here}?order=x").status_code == 400
    assert "2 requests" not in words(owner.get(f"/connections/{things.other_connection_id}/requests"))


def test_a_long_list_goes_on_where_it_ended(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    for number in range(55):
        shop.exchange(things.other_connection_id, path=f"/page/{number:02}")
    here = f"/connections/{things.other_connection_id}/requests"

    first = owner.get(here).text
    mark = first.partition("before=")[2].partition('"')[0]
    second = owner.get(f"{here}?before={mark}").text

    shown = [[n for n in range(55) if f"/page/{n:02}<" in page] for page in (first, second)]
    assert shown == [list(range(5, 55)), list(range(5))]


def test_one_request_shows_what_was_said_and_how_to_repeat_it(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    one = keep(hub, shop, things.connection_id, REFUSED, order_id=things.order_id)

    page = owner.get(f"/connections/{things.connection_id}/requests/{one}")

    said = words(page)
    assert '{"errors": "no such parcel"}' in said and "X-Request-Id tea-77" in said and "Authorization •••" in said
    assert "<script>alert" not in page.text
    assert "The shop refused it." in said and f'href="/orders/{things.order_id}"' in page.text
    assert "curl -i -g -X POST https://tea.example/fulfillments?notify=yes'&'token=" in said.replace(
        "'https://tea.example/fulfillments?'", "https://tea.example/fulfillments?"
    )
    assert '"${AUTHORIZATION}"' in said and '"${TOKEN}"' in said
    elsewhere = f"/connections/{things.other_connection_id}/requests/{one}"
    assert owner.get(elsewhere).status_code == 404


VIEW = ExchangeView(
    id=new_id(),
    at=datetime(2026, 1, 2, tzinfo=UTC),
    lane="fetch",
    received=False,
    method="GET",
    host="tea.example",
    path="/orders",
    status=200,
    seconds=0.1,
    request_bytes=0,
    response_bytes=0,
    failed=False,
    order_id=None,
    order_number="",
    effect_id=None,
    effect_kind="",
)


@pytest.mark.parametrize(
    ("view", "details", "command"),
    [
        (VIEW, Details(), "curl -i -g -X GET https://tea.example/orders"),
        (
            VIEW,
            Details("a=1&key=•••", {"Host": "tea.example", "X-Note": "it's"}),
            "curl -i -g -X GET 'https://tea.example/orders?'a=1'&'key=\"${KEY}\" -H 'X-Note: it'\"'\"'s'",
        ),
        (
            replace(VIEW, method="POST"),
            Details(request_headers={"X-Api-Key": "•••"}, request_excerpt='{"p": "•••"}'),
            "curl -i -g -X POST https://tea.example/orders -H 'X-Api-Key: '\"${X_API_KEY}\" "
            '--data-raw \'{"p": "\'"${SECRET}"\'"}\'',
        ),
        (replace(VIEW, method="LIST"), Details(), ""),
        (replace(VIEW, received=True), Details(), ""),
    ],
)
def test_a_command_to_repeat_a_request_leaves_its_secrets_to_the_shell(
    view: ExchangeView, details: Details, command: str
) -> None:
    assert as_curl(view, details) == command


# ---------------------------------------------------------------- what a vendor sends


def send(owner: Browser, shop: Shop, place: UUID, body: bytes, **headers: str) -> int:
    return owner.client.post(f"/webhooks/{shop.merchant_id}/{place}", data=body, headers=headers).status_code


def test_every_webhook_is_in_the_log_without_its_signature(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    body = b'{"id": 1, "name": "Quill Feather"}'
    signature = sign("token-of-tea", body).decode()
    webhooks._refused.clear()

    statuses = [
        send(owner, shop, things.connection_id, body, **{"X-Tea-Signature": signature, "X-Tea-Topic": "order"}),
        send(owner, shop, things.connection_id, body, **{"X-Tea-Signature": "guessed"}),
        send(owner, shop, things.connection_id, body, **{"X-Tea-Signature": "guessed again"}),
    ]

    with hub.database.read() as db:
        rows = db.execute(select(t.exchange).where(t.exchange.c.received).order_by(t.exchange.c.id)).all()
        told = [exchanges.details_of(hub.keyring, shop.merchant_id, row.id, row.details) for row in rows]
    assert statuses == [200, 401, 401]
    assert [row.status for row in rows] == [200, 401], "who guesses fills no log"
    assert not any("Quill" in str(each) or signature in str(each) or "guessed" in str(each) for each in told)
    page = owner.get(f"/connections/{things.connection_id}/requests?show=received")
    assert "from the shop" in words(page) and "401" in words(page)


def test_no_line_shows_what_webhooks_are_signed_with_wherever_it_came_along(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    body, token = b'{"id": 1}', "token-of-tea"
    webhooks._refused.clear()
    address = f"/webhooks/{shop.merchant_id}/{things.connection_id}?from={token}&page=2"
    signed = {"X-Tea-Signature": sign(token, body).decode(), "X-Tea-Topic": "order", "X-Sent-By": f"tea {token}"}

    answers = [
        owner.client.post(address, data=body, headers=headers) for headers in (signed, {"X-Sent-By": f"tea {token}"})
    ]

    assert [each.status_code for each in answers] == [200, 401]
    with hub.database.read() as db:
        rows = db.execute(select(t.exchange).where(t.exchange.c.received).order_by(t.exchange.c.id)).all()
        told = [exchanges.details_of(hub.keyring, shop.merchant_id, row.id, row.details) for row in rows]
    assert [row.path for row in rows] == [address.partition("?")[0]] * 2
    assert [each.query for each in told] == ["from=•••&page=2"] * 2
    assert [(each.request_headers or {})["x-sent-by"] for each in told] == ["tea •••"] * 2
    pages = [owner.get(f"/connections/{things.connection_id}/requests/{row.id}").text for row in rows]
    assert not any(token in page for page in pages)


# ---------------------------------------------------------------- issues and activity


def test_several_issues_are_resolved_at_once_and_each_tells_what_came_of_it(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    first = shop.issue(kind="oversold", subject="a", title="Two mugs too many")
    second = shop.issue(kind="effect", subject=str(new_id()), title="A label is unclear")

    answer = owner.post("/issues", {"issue_id": [str(first), str(second), str(new_id())]}, page="/issues")

    said = words(answer)
    assert "1 of 3 resolved" in said
    assert "Two mugs too many: resolved" in said
    assert "A label is unclear: is settled by a decision, on the page of its connection" in said
    with hub.database.read() as db:
        issue = t.issue.c
        open_ones = set(db.execute(select(issue.id).where(issue.resolved_at.is_(None))).scalars())
        noted = db.execute(
            select(t.activity.c.summary, t.activity.c.actor).where(t.activity.c.kind == "issue_resolved")
        ).all()
    assert first not in open_ones and second in open_ones
    assert [tuple(row) for row in noted] == [("Resolved: Two mugs too many", "ada@tea.example")]
    again = words(owner.post("/issues", {"issue_id": str(first)}, page="/issues"))
    assert "Two mugs too many: was resolved already" in again
    assert owner.post("/issues", {}, page="/issues").status_code == 400


def test_issues_are_counted_by_kind_and_shown_by_kind_and_shop(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.issue(kind="oversold", subject="a", title="Two mugs too many")
    shop.issue(kind="oversold", subject="b", title="Three pots too many")
    shop.issue(kind="reconnect", subject="c", title="No such token", connection_id=things.other_connection_id)

    assert "Units were sold that are not there (2)" in words(owner.get("/issues"))
    only = words(owner.get("/issues?kind=oversold"))
    assert "Two mugs too many" in only and "No such token" not in only
    there = words(owner.get(f"/issues?connection={things.other_connection_id}"))
    assert "No such token" in there and "Two mugs too many" not in there
    assert "No issue fits" in words(owner.get("/issues?kind=nothing"))


def test_activity_is_narrowed_down_by_what_it_is_about_who_did_it_and_when(
    shop: Shop, owner: Browser, things: Furnished
) -> None:
    def note(kind: str, summary: str, **more: Any) -> None:
        shop.write(t.activity, id=new_id(), kind=kind, summary=summary, **({"at": shop.now} | more))

    note("order_held", "Held by hand", actor="joan@tea.example", order_id=things.order_id)
    note("ordering", "Something else", actor="ada@tea.example")
    note("connection_paused", "Paused long ago", connection_id=things.connection_id, at=shop.now - timedelta(days=9))
    note("order_held", "At the shop", connection_id=things.connection_id, order_id=things.order_id)

    about = words(owner.get("/activity?kind=order"))
    assert "Held by hand" in about and "Something else" not in about
    by = words(owner.get("/activity?actor=joan@tea.example"))
    assert "Held by hand" in by and "Something else" not in by
    day = (shop.now - timedelta(days=8)).strftime("%Y-%m-%dT%H:%M")
    before = words(owner.get(f"/activity?until={day}"))
    assert "Paused long ago" in before and "Held by hand" not in before
    own = words(owner.get(f"/connections/{things.connection_id}/activity"))
    assert "Paused long ago" in own and "At the shop" not in own
    assert "Nothing happened that fits" in words(owner.get("/activity?kind=word"))
