"""The health of a connection: what waits, what was sent, replaying records, a listing and where it is stocked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from redis import ConnectionError as RedisAway
from sqlalchemy import select, update

from hub.app import create_app
from hub.connector import Capabilities, RateBudget, Settlement
from hub.jobs import Hub
from hub.limits import Left, left
from hub.store import tables as t
from hub.store import tasks
from hub.store.database import new_id
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, TeaShop, replaced


def health(owner: Browser, things: Furnished) -> str:
    answer = owner.get(f"/connections/{things.connection_id}/health")
    assert answer.status_code == 200
    return words(answer)


def effect(shop: Shop, place: UUID, kind: str, state: str, **more: Any) -> UUID:
    row = {
        "id": new_id(),
        "connection_id": place,
        "kind": kind,
        "ordering_key": str(new_id()),
        "effect_key": new_id(),
        "request": {},
        "state": state,
        "due_at": shop.now,
        "created_at": shop.ago(minutes=4),
    }
    return shop.write(t.effect, **row | more)


def test_a_connection_with_nothing_to_do_says_so(owner: Browser, shop: Shop, things: Furnished) -> None:
    said = health(owner, things)

    assert "Last success 30 s ago" in said
    assert "To be read nothing To be written nothing" in said
    assert "Reading what came in 0 — up to date" in said
    assert "API version 2026-10" in said
    assert "Rate budget the vendor names none" in said


def test_what_waits_is_told_with_its_age_and_who_is_at_it(shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.connection_id
    shop.record(here, "pending", received_at=shop.ago(minutes=7))
    effect(shop, here, "confirm_shipment", "planned")
    shop.write(
        t.fetch_request,
        connection_id=here,
        kind="order",
        external_id="9",
        requested_at=shop.ago(minutes=2),
        due_at=shop.now,
    )
    with shop.hub.database.write() as db:
        later = shop.now.replace(year=shop.now.year + 1)
        db.execute(t.lease.insert().values(name=f"inbox:{here}", holder="worker", fence=1, until=later))

    said = health(owner, things)

    assert "To be read 1 record, the oldest came 7 min ago" in said
    assert "Works, and is behind No worker gets to it." in said
    assert "Reading what came in 1 7 min ago a worker is at it" in said
    assert "Sending 1 4 min ago waits for a worker" in said
    assert "Confirm shipment: planned 4 min ago" in said


@pytest.mark.parametrize(
    ("values", "says", "then", "button"),
    [
        ({"error": ""}, "Works, up to date", "Nothing is to be done.", ""),
        (
            {"state": "paused", "paused_by": "ada@tea.example", "paused_why": "Stocktaking"},
            "Paused by a person",
            "Paused 2 min ago by ada@tea.example: “Stocktaking”. Nothing is fetched and nothing is written",
            "Resume",
        ),
        (
            {"state": "paused", "error": "The shop refused the token."},
            "Its keys are refused",
            "The shop refused the token. Enter keys that work.",
            "Reconnect",
        ),
        ({"state": "new"}, "Being checked", "A worker asks the vendor", ""),
        (
            {"state": "new", "error": "No such shop."},
            "Not connected: the check has failed",
            "No such shop.",
            "Reconnect",
        ),
        ({"error": "502"}, "The last attempt failed", "502 The hub keeps trying.", "Reconnect"),
        ({"not_before": 90}, "Waits for the vendor", "The vendor asked for a pause, or is away.", ""),
        (
            {"live_at": None},
            "Works, and is not live yet",
            "The hub reads its orders and listings.",
            "Review and go live",
        ),
    ],
)
def test_its_state_is_told_in_a_sentence_with_the_one_thing_to_do(
    owner: Browser, shop: Shop, things: Furnished, values: dict[str, Any], says: str, then: str, button: str
) -> None:
    here = things.connection_id
    shop.write_to(t.issue, things.issue_id, resolved_at=shop.now)
    if "paused_by" in values:
        values |= {"paused_at": shop.ago(minutes=2)}
    if "not_before" in values:
        values = {"not_before": shop.now + timedelta(seconds=values["not_before"])}
    shop.write_to(t.connection, here, **values)

    said = health(owner, things).split("Sign out")[-1].replace(" :", ":")

    assert f"{says} {then}" in said
    told = said.split("Last success")[0]
    assert [each for each in ("Resume", "Reconnect", "Review and go live") if each in told] == [button] * bool(button)
    assert f"{says}." in words(owner.get(f"/connections/{here}")).replace(" .", ".")


def test_refused_figures_and_open_issues_are_part_of_its_state(owner: Browser, shop: Shop, things: Furnished) -> None:
    assert "Works; 1 issue waits for you Everything else goes on. See what waits" in health(owner, things)

    with shop.hub.database.write() as db:
        this = t.publication.c.connection_id == things.connection_id
        db.execute(update(t.publication).where(this).values(error="Refused."))

    assert "1 figure is refused All others are written. The issues say why. See what waits" in health(owner, things)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (None, "Webhooks not looked at yet"),
        ({"active": ["a", "b"], "missing": [], "checked_at": "2026-01-01T00:00:00+00:00"}, "2 topics looked at"),
        ({"active": ["a"], "missing": ["orders"], "checked_at": "2026-01-01T00:00:00+00:00"}, "1 topic missing orders"),
    ],
)
def test_the_state_of_the_webhooks_is_told(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished, monkeypatch: pytest.MonkeyPatch, kept: Any, said: str
) -> None:
    assert "TALLYHUB_PUBLIC_URL is not set" in health(owner, things)
    with monkeypatch.context() as other:
        other.setattr(TeaShop, "capabilities", Capabilities(webhooks=False))
        assert "this connector has none: the hub asks for news" in health(owner, things)
    shop.write_to(t.connection, things.connection_id, subscriptions=kept)
    reachable = create_app(replaced(hub, public_url="https://localhost"))

    assert said in health(Browser(reachable, "https://localhost").sign_in("ada@tea.example"), things)


class _Redis:
    """Remembers one bucket, as the limiter's script leaves it there."""

    def __init__(self, kept: list[bytes | None]) -> None:
        self.kept = kept

    def hmget(self, key: str, names: list[str]) -> list[bytes | None]:
        assert (key, names) == ("tallyhub:rate:here", ["available", "at", "rate", "burst"])
        return self.kept

    def time(self) -> tuple[int, int]:
        return 1_000, 500_000


@pytest.mark.parametrize(
    ("kept", "available"),
    [
        ([None] * 4, 40.0),
        ([b"10", b"990.5", b"2", b"40"], 30.0),
        ([b"10", b"0", b"2", b"40"], 40.0),
        ([b"-5", b"1000.5", b"2", b"40"], 0.0),
    ],
)
def test_what_is_left_of_a_rate_budget_grows_until_it_is_whole(kept: list[bytes | None], available: float) -> None:
    assert left(_Redis(kept), "here", RateBudget(2, 40)).available == available  # type: ignore[arg-type]


def test_a_budget_that_is_not_shared_is_told_as_such(
    hub: Hub, owner: Browser, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeaShop, "rate_budget", RateBudget(2, 40))
    assert "40 at once, 2 a second; not shared through Redis now" in health(owner, things)

    def away(*_: Any, **__: Any) -> Any:
        raise RedisAway("away")

    monkeypatch.setattr("hub.web.connections.left", away)
    with_redis = Browser(create_app(replaced(hub, redis_url="redis://localhost:1"))).sign_in("ada@tea.example")
    assert "not shared through Redis now" in health(with_redis, things), "a page does not break for it"


def test_each_operation_tells_what_is_left_of_its_own_budget(
    hub: Hub, owner: Browser, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = {"getOrder": RateBudget(0.5, 30), "searchOrders": RateBudget(0.0056, 20), "patchItem": RateBudget(5, 5)}
    monkeypatch.setattr(TeaShop, "rate_budgets", budgets)
    told = health(owner, things)
    assert "Rate budget one for each kind of request" in told
    assert "getOrder 30 at once, 30.0 a minute" in told
    assert "patchItem 5 at once, 5 a second" in told
    assert "searchOrders 20 at once, 20.2 an hour" in told

    asked: list[str] = []

    def some(_: Any, key: str, budget: RateBudget) -> Left:
        asked.append(key.removeprefix(str(things.connection_id)))
        return Left(budget.burst / 2, budget.per_second, budget.burst)

    monkeypatch.setattr("hub.web.connections.left", some)
    with_redis = Browser(create_app(replaced(hub, redis_url="redis://localhost:1"))).sign_in("ada@tea.example")
    assert "getOrder 15 of 30 left, 30.0 a minute come back" in health(with_redis, things)
    assert asked == [":getOrder", ":patchItem", ":searchOrders"]


def test_a_queue_takes_the_place_of_webhooks(
    owner: Browser, shop: Shop, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeaShop, "capabilities", Capabilities(webhooks=False, message_poll_seconds=5.0))
    shop.write(t.cursor, connection_id=things.connection_id, stream="messages", polled_at=shop.ago(seconds=5))
    assert "Messages not looked at yet" in health(owner, things)
    page = words(owner.get(f"/connections/{things.connection_id}"))
    assert "News comes by messages in a queue and, to be sure, by asking" in page


def test_keys_that_grow_old_say_since_when_they_are_here(
    owner: Browser, shop: Shop, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/connections/{things.connection_id}"
    with shop.hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == things.connection_id).values(secrets_at=shop.now))
    assert "Keys entered" not in words(owner.get(address))
    monkeypatch.setattr(TeaShop, "secret_days", 180)
    assert "to be replaced every 180 days" in words(owner.get(address))


def test_an_order_is_looked_at_before_it_is_replayed(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    base = f"/connections/{things.connection_id}"
    assert owner.post(f"{base}/replay", {"order": "nothing"}, page="/settings").status_code == 400

    followed = owner.post(f"{base}/replay", {"order": "1001"}, page="/settings").headers["Location"]

    look = UUID(followed.rsplit("/", 1)[1])
    with hub.database.read() as db:
        asked = db.execute(select(t.task.c.kind, t.task.c.arguments).where(t.task.c.id == look)).one()
    assert asked == ("replay", {"about": str(things.order_id)})
    early = owner.post(f"{followed}/apply", page="/settings")
    assert early.status_code == 409 and "Look first at what would change." in words(early)

    change = {
        "number": "1001",
        "id": str(things.order_id),
        "changes": [["note", "", "gift"]],
        "held": [["TEA-1", 2, 4]],
    }
    found = {
        "orders": [change],
        "count": 1,
        "released": 0,
        "records": 3,
        "quarantined": 0,
        "readable": 0,
        "troubles": [["1002", "Its record was deleted."]],
    }
    with hub.database.write() as db:
        tasks.keep_result(db, hub.keyring, shop.merchant_id, look, found)
    shop.set_task(look, state="done", message="3 records read again: 1 order would change.", finished_at=shop.now)
    said = words(owner.get(followed))
    assert "Order 1001 note: nothing → gift holds 2 → 4 of TEA-1" in said
    assert "1002: Its record was deleted." in said and "Make it so" in said

    applied = owner.post(f"{followed}/apply", page="/settings").headers["Location"]

    with hub.database.read() as db:
        made = db.execute(select(t.task.c.kind, t.task.c.arguments).where(t.task.c.id == UUID(applied[-36:]))).one()
    assert made == ("apply_replay", {"about": str(things.order_id)})


def test_what_is_set_aside_can_be_replayed(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}/replay"
    assert "Replay what is set aside" not in words(owner.get(here))
    shop.record(things.connection_id, "quarantined", error="A new kind of order.")

    said = words(owner.get(here))
    assert "Replay what is set aside" in said and "A new kind of order." in said
    owner.post(f"/connections/{things.connection_id}/replay", {"which": "quarantined"}, page="/settings")

    with hub.database.read() as db:
        asked = db.execute(select(t.task.c.arguments).where(t.task.c.kind == "replay")).scalar_one()
    assert asked == {"about": "quarantined"}


# ---------------------------------------------------------------- one listing


def test_a_listing_shows_all_that_the_shop_tells_of_it(shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.write_to(
        t.listing,
        things.listing_id,
        variant="100 g",
        barcode="4006381333931",
        weight_grams=1250,
        origin_country="CN",
        hs_code="090210",
        price="4.50",
        currency="EUR",
        image_url="https://cdn.example/tea.jpg",
    )

    said = words(owner.get(f"/connections/{things.connection_id}/listings/{things.listing_id}"))

    assert (
        "Variant 100 g Barcode 4006381333931 Price 4.50 EUR Weight 1,250 g Origin CN Customs code (HS) 090210" in said
    )
    elsewhere = owner.get(f"/connections/{things.other_connection_id}/listings/{things.listing_id}")
    assert elsewhere.status_code == 404


def test_a_figure_that_the_shop_is_still_judging_says_so(shop: Shop, owner: Browser, things: Furnished) -> None:
    listing = shop.listing(things.connection_id, "L9", things.sku_id)
    shop.sent(listing, things.connection_id, 7, seconds=12, version=2, quantity=10)

    said = words(owner.get(f"/connections/{things.connection_id}/listings/{listing}"))

    assert "10 7 sent to Tea Street 12 s ago , being processed" in said


def test_a_refused_figure_offers_to_stock_the_listing_there(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/connections/{things.connection_id}/listings/{things.listing_id}"
    with hub.database.write() as db:
        db.execute(t.publication.update().values(error="Not stocked at this location."))
    assert "Stock it there" not in words(owner.get(path)), "this shop cannot be told"
    assert owner.post(f"{path}/stock-there", {"place": ""}, page="/settings").status_code == 409
    monkeypatch.setattr(TeaShop, "effects", {"stock_listing": Settlement.NATURAL_KEY})
    assert "Not stocked at this location. Stock it there" in words(owner.get(path))

    for _ in range(2):
        assert owner.post(f"{path}/stock-there", {"place": ""}, page="/settings").status_code == 303

    with hub.database.read() as db:
        (planned,) = db.execute(select(t.effect).where(t.effect.c.kind == "stock_listing")).all()
    assert planned.state == "planned"
    assert planned.request == {"listing_external_id": "L1", "location_external_id": ""}
    assert (shop.merchant_id, things.connection_id, "effects") in hub.doorbell.rung  # type: ignore[attr-defined]
    said = words(owner.get(path))
    assert "the shop is told to keep stock of it there" in said and "refused" not in said
    assert owner.post(f"{path}/stock-there", {"place": "elsewhere"}, page="/settings").status_code == 409
