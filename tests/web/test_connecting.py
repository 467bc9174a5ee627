"""Connections in the browser: connecting, following the check, matching, adopting, going live, pausing, removing."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from hub.app import create_app
from hub.jobs import Hub
from hub.store import connections, effects
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.queries import connections as summaries
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, TeaShop, replaced

SETTINGS = {"address": "https://tea.example", "plan": "plus", "everything": "true", "token": "token-of-tea"}


def row(hub: Hub, connection_id: UUID) -> Any:
    with hub.database.read() as db:
        return db.execute(select(t.connection).where(t.connection.c.id == connection_id)).one()


def rung(hub: Hub) -> list[tuple[UUID, str]]:
    return [(connection_id, lane) for _, connection_id, lane in hub.doorbell.rung]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the catalogue and the form


def test_the_catalogue_lists_connectors_and_every_plugin_that_is_not_in_use(owner: Browser) -> None:
    page = words(owner.get("/connectors"))

    assert "Tea Shop Sells tea." in page and "tallyhub-tea 1.0" in page and "API version 2026-10" in page
    assert "coffee-hub 0.3 (coffee): broken ImportError: No module named 'beans'" in page
    assert "mate-hub 2.0 (mate): not allowed Not loaded: add mate-hub to TALLYHUB_PLUGINS." in page


def test_the_form_is_drawn_from_the_schema(owner: Browser) -> None:
    page = owner.get("/connectors/tea").text

    for text in ("Shop address", "As your customers type it", "Access token", "From the settings of the tea shop."):
        assert text in page
    assert 'type="url"' in page and 'type="password"' in page and 'type="checkbox"' in page
    assert '<option value="basic" selected>Basic</option>' in page
    assert owner.get("/connectors/unheard-of").status_code == 404


def test_connecting_stores_the_secret_encrypted_and_leads_to_the_check(hub: Hub, shop: Shop, owner: Browser) -> None:
    answer = owner.post("/connectors/tea", SETTINGS | {"label": "Tea Street"}, page="/connectors/tea")

    assert answer.status_code == 303
    with hub.database.read() as db:
        kept = db.execute(select(t.connection)).one()
        task = db.execute(select(t.task)).one()
    assert answer.headers["Location"] == f"/connections/{kept.id}/tasks/{task.id}"
    assert (kept.label, kept.state, kept.secrets) == ("Tea Street", "new", None)
    assert kept.settings == {"address": "https://tea.example", "plan": "plus", "everything": True}
    assert b"token-of-tea" not in task.request
    credentials = connections.unseal(hub.keyring, shop.merchant_id, kept.id, TeaShop, task.request)
    assert credentials.settings["token"] == "token-of-tea"
    assert rung(hub) == [(kept.id, "fetch")]


def test_mistakes_come_back_beside_their_fields_without_the_secret(hub: Hub, owner: Browser) -> None:
    wrong = {"address": "ftp://tea.example", "plan": "gold", "token": "secret1", "label": "x" * 10}

    answer = owner.post("/connectors/tea", wrong, page="/connectors/tea", headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert "Not a valid URL." in words(answer)
    assert "Must be one of: basic, plus." in words(answer)
    assert "Length must be between 8 and 100." in words(answer)
    assert 'value="ftp://tea.example"' in answer.text and 'value="xxxxxxxxxx"' in answer.text
    assert "secret1" not in answer.text
    with hub.database.read() as db:
        assert db.execute(select(t.connection)).first() is None

    good = owner.post("/connectors/tea", SETTINGS, page="/connectors/tea", headers={"HX-Request": "true"})
    assert (good.status_code, good.headers["HX-Redirect"][:13]) == (200, "/connections/")


def test_a_secret_copied_with_a_line_break_is_trimmed(hub: Hub, shop: Shop, owner: Browser) -> None:
    owner.post("/connectors/tea", SETTINGS | {"token": " token-of-tea\r\n"}, page="/connectors/tea")

    with hub.database.read() as db:
        task = db.execute(select(t.task)).one()
    credentials = connections.unseal(hub.keyring, shop.merchant_id, task.connection_id, TeaShop, task.request)
    assert credentials.settings["token"] == "token-of-tea"


def test_a_form_that_breaks_its_connector_is_a_page_not_a_crash(hub: Hub, shop: Shop) -> None:
    import marshmallow
    from marshmallow import fields

    def explode(_: Any) -> None:
        raise ZeroDivisionError("boom")

    class Broken(marshmallow.Schema):
        name = fields.String(required=True, validate=explode, metadata={"label": "Name", "hint": "Any."})

    class Explosive(TeaShop):
        name = "explosive"
        settings_schema = Broken

    from dataclasses import replace

    from tests.web.shop_builder import registry

    owner = Browser(create_app(replace(hub, registry=registry(Explosive)))).sign_in("ada@tea.example")

    answer = owner.post("/connectors/explosive", {"name": "x"}, page="/connectors/explosive")

    assert answer.status_code == 500
    assert "The connector failed while it checked the form (ZeroDivisionError)." in words(answer)
    assert owner.post("/connectors/tea", SETTINGS, page="/connectors/tea").status_code == 303


def test_reconnecting_shows_the_settings_but_never_the_secret(hub: Hub, owner: Browser, things: Furnished) -> None:
    page = owner.get(f"/connections/{things.connection_id}/reconnect")
    assert 'value="https://tea.example"' in page.text
    assert "token-of-tea" not in page.text

    missing = owner.post(f"/connections/{things.connection_id}/reconnect", SETTINGS | {"token": ""}, page="/settings")
    assert missing.status_code == 422
    before = row(hub, things.connection_id).secrets
    answer = owner.post(
        f"/connections/{things.connection_id}/reconnect", SETTINGS | {"token": "a-new-token"}, page="/settings"
    )

    assert answer.status_code == 303 and "/tasks/" in answer.headers["Location"]
    assert row(hub, things.connection_id).secrets == before  # replaced only when the check has passed


# ---------------------------------------------------------------- following a task


def test_the_check_is_followed_until_it_ends(shop: Shop, owner: Browser, things: Furnished) -> None:
    path = f"/connections/{things.connection_id}/tasks/{things.task_id}"
    running = owner.get(path).text
    assert "Asking the shop who it is…" in running and 'hx-trigger="every 1s"' in running

    shop.set_task(things.task_id, state="failed", message="The shop refused the token. Copy it again.")
    failed = owner.get(path)
    assert "The shop refused the token. Copy it again." in words(failed)
    assert f'href="/connections/{things.connection_id}/reconnect"' in failed.text
    assert "hx-trigger" not in failed.text

    shop.set_task(things.task_id, state="done", message="Connected to Tea Street Ltd.")
    done = owner.get(path)
    assert "Connected to Tea Street Ltd." in words(done) and "Go on" in words(done)


def test_an_adoption_shows_how_far_it_is(shop: Shop, owner: Browser, things: Furnished) -> None:
    task_id = shop.task(things.connection_id, "adopt", message="Reading stock…", done=120, total=480)
    path = f"/connections/{things.connection_id}/tasks/{task_id}"

    assert (
        '<progress class="progress w-100" aria-label="Adopting the opening stock" value="120" max="480">'
        in owner.get(path).text
    )
    shop.set_task(task_id, state="failed", message="The shop went away.")
    assert f'action="/connections/{things.connection_id}/adopt"' in owner.get(path).text
    assert owner.get(f"/connections/{things.other_connection_id}/tasks/{task_id}").status_code == 404


# ---------------------------------------------------------------- matching


def test_all_suggestions_are_accepted_at_once(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.listing(things.connection_id, "L3", sku_text="TEA-3")
    page = owner.get(f"/connections/{things.connection_id}")
    assert "Accept all at 100 %" in words(page)

    owner.post(f"/connections/{things.connection_id}/suggestions", {"which": "all"}, page="/settings")

    with hub.database.read() as db:
        codes = set(db.execute(select(t.sku.c.code)).scalars())
        unmatched = db.execute(select(t.listing.c.id).where(t.listing.c.sku_id.is_(None))).all()
    assert codes == {"BOX-1", "TEA-1", "TEA-2", "TEA-3"} and unmatched == []
    assert (things.connection_id, "publish") in rung(hub)


def test_a_listing_is_matched_by_hand_and_unmatched_again(hub: Hub, owner: Browser, things: Furnished) -> None:
    base = f"/connections/{things.connection_id}/listings"
    here = f"{base}/{things.unmatched_listing_id}"

    nothing = owner.post(f"{here}/bind", {"sku": "  "}, page="/settings")
    assert nothing.status_code == 422 and "Enter a SKU." in words(nothing)
    answer = owner.post(f"{here}/bind", {"sku": " TEA-7 ", "from": "listings", "show": "unmatched"}, page="/settings")
    assert answer.headers["Location"] == f"{base}?show=unmatched"
    assert "is matched to SKU TEA-7" in words(owner.get(base))
    assert "TEA-7" in owner.get(f"{base}?show=matched").text

    owner.post(f"{here}/unbind", page="/settings")

    with hub.database.read() as db:
        listing = t.listing.c
        assert db.execute(select(listing.sku_id).where(listing.id == things.unmatched_listing_id)).scalar_one() is None
    assert owner.post(f"{here}/unbind", page="/settings").status_code == 409


def test_a_location_is_set_and_taken_away(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    cellar = shop.location("Cellar")
    path = f"/connections/{things.connection_id}/locations"

    def place() -> Any:
        with hub.database.read() as db:
            here = t.channel_location.c
            return db.execute(select(here.location_id).where(here.connection_id == things.connection_id)).scalar_one()

    owner.post(path, {"external_id": "", "location_id": str(cellar)}, page="/settings")
    assert place() == cellar
    owner.post(path, {"external_id": "", "location_id": ""}, page="/settings")
    assert place() is None
    assert owner.post(path, {"external_id": "nowhere", "location_id": ""}, page="/settings").status_code == 400
    assert owner.post(path, {"external_id": "", "location_id": "x"}, page="/settings").status_code == 400


# ---------------------------------------------------------------- stock and going live


def test_adopting_stock_is_a_task_that_is_followed(hub: Hub, owner: Browser, things: Furnished) -> None:
    path = f"/connections/{things.connection_id}/adopt"

    first = owner.post(path, page="/settings").headers["Location"]
    again = owner.post(path, page="/settings").headers["Location"]

    assert first == again and "/tasks/" in first
    assert "Waiting for a worker…" in words(owner.get(first))


def test_going_live_wants_a_look_first(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    here = things.other_connection_id
    page = words(owner.get(f"/connections/{here}/go-live"))
    assert "Nothing was compared yet. Preview asks the shop what it shows" in page
    assert row(hub, here).live_at is None

    blind = owner.post(f"/connections/{here}/go-live", page="/settings")
    assert blind.status_code == 409 and "Nobody has looked within the last hour" in words(blind)
    assert row(hub, here).live_at is None
    owner.post(f"/connections/{here}/go-live", {"unseen": "yes"}, page="/settings")

    assert row(hub, here).live_at is not None
    assert (here, "publish") in rung(hub)
    assert "is live since" in words(owner.get(f"/connections/{here}/go-live"))


def test_a_connection_that_was_never_checked_cannot_go_live(hub: Hub, owner: Browser, things: Furnished) -> None:
    answer = owner.post(f"/connections/{things.new_connection_id}/go-live", page="/settings")

    assert answer.status_code == 409
    assert "only a working connection can go live" in words(answer)
    assert row(hub, things.new_connection_id).live_at is None


# ---------------------------------------------------------------- pausing, syncing, removing


def test_pausing_and_resuming(hub: Hub, owner: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}"

    owner.post(f"{here}/pause", {"why": " Stocktaking until Monday "}, page="/settings")
    paused = row(hub, things.connection_id)
    assert (paused.state, paused.paused_by, paused.paused_why) == (
        "paused",
        "ada@tea.example",
        "Stocktaking until Monday",
    )
    for page in (here, f"{here}/settings", f"{here}/health"):
        assert "by ada@tea.example: “Stocktaking until Monday”." in words(owner.get(page)).replace(" :", ":"), page
    assert "Resume" in words(owner.get(here))
    assert owner.post(f"{here}/pause", page="/settings").status_code == 409
    assert owner.post(f"{here}/sync", page="/settings").status_code == 409

    owner.post(f"{here}/resume", page="/settings")
    goes_on = row(hub, things.connection_id)
    assert (goes_on.state, goes_on.paused_at, goes_on.paused_why) == ("connected", None, "")
    assert "Stocktaking" not in words(owner.get(f"{here}/settings"))
    assert {lane for _, lane in rung(hub)} == {"fetch", "publish"}
    assert owner.post(f"{here}/sync", page="/settings").status_code == 303


def test_removing_asks_first_and_keeps_the_history(hub: Hub, owner: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}"
    said = words(owner.get(f"{here}/remove"))
    assert "What stays 1 order with its history: 1 of them is open and can still be shipped" in said
    assert "1 stock figure is not kept up to date there any more" in said
    assert "1 line of its log of requests is deleted" in said
    assert row(hub, things.connection_id).state == "connected"

    assert owner.post(f"{here}/remove", page="/settings").headers["Location"] == "/connections"

    gone = row(hub, things.connection_id)
    assert (gone.state, gone.secrets, gone.live_at) == ("removed", None, None)
    assert "This connection was removed." in words(owner.get(here))
    assert owner.get(f"/orders/{things.order_id}").status_code == 200


def test_what_removing_comes_to_is_counted_only_so_far(
    owner: Browser, shop: Shop, things: Furnished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "MOST_COUNTED", 2)
    for number in range(3):
        shop.order(things.connection_id, f"200{number}")

    said = words(owner.get(f"/connections/{things.connection_id}/remove"))

    assert "What stays more than 2 orders with their history: more than 2 of them are open" in said
    assert "1 stock figure is not kept" in said
    with shop.hub.database.read() as db:
        assert summaries.removal(db, shop.merchant_id, things.connection_id).orders == 3, "of four"


def test_a_connection_tells_its_trouble_and_the_way_out(shop: Shop, owner: Browser) -> None:
    refused = shop.connection("Outlet", state="paused", error="The shop refused the token. Reconnect the shop.")

    page = owner.get(f"/connections/{refused}")

    assert "The shop refused the token. Reconnect the shop." in words(page)
    assert "What the shop sends meanwhile is kept." in words(page)
    assert f'class="btn btn-primary" href="/connections/{refused}/reconnect"' in page.text


def test_says_that_the_hub_polls_while_shops_cannot_reach_it(hub: Hub, owner: Browser, things: Furnished) -> None:
    here = f"/connections/{things.connection_id}"
    assert "TALLYHUB_PUBLIC_URL is not set" in words(owner.get(here))

    reachable = create_app(replaced(hub, public_url="https://hub.tea.example"))
    page = words(Browser(reachable).sign_in("ada@tea.example").get(here))
    assert "webhooks and, to be sure, by asking" in page and "TALLYHUB_PUBLIC_URL" not in page


def test_a_connection_whose_connector_is_gone_is_still_shown(hub: Hub, shop: Shop, owner: Browser) -> None:
    lost = shop.connection("Old shop", connector="abandoned")

    page = owner.get(f"/connections/{lost}")

    assert "The connector “abandoned” is not installed." in words(page)
    assert "/reconnect" not in page.text
    assert owner.get("/connections").status_code == 200


# ---------------------------------------------------------------- what only a person can settle


def test_quarantined_records_are_shown_and_read_again(hub: Hub, shop: Shop, owner: Browser, things: Furnished) -> None:
    record = shop.record(things.connection_id, "quarantined", error="lines.0.quantity: Not a whole number.")
    here = f"/connections/{things.connection_id}"
    assert "are set aside" not in words(owner.get(here))
    shop.issue(kind="unreadable_record", subject=str(things.connection_id), connection_id=things.connection_id)
    assert f'href="{here}/replay"' in owner.get(here).text and "are set aside" in words(owner.get(here))
    assert "lines.0.quantity: Not a whole number." in words(owner.get(f"{here}/replay"))

    answer = owner.post(f"{here}/read-again", {"record_id": str(record)}, page="/settings")
    assert answer.headers["Location"] == f"{here}/replay"

    with hub.database.read() as db:
        assert db.execute(select(t.inbox.c.state).where(t.inbox.c.id == record)).scalar_one() == "pending"
    assert (things.connection_id, "inbox") in rung(hub)
    assert "are set aside" not in words(owner.get(here))
    assert "Nothing is set aside" in words(owner.get(f"{here}/replay"))
    assert "1 quarantined record read again" in words(owner.get("/activity"))


@pytest.mark.parametrize(
    ("decision", "state"), [("done", "succeeded"), ("cancel", "cancelled"), ("retry", "cancelled")]
)
def test_a_person_decides_about_an_unclear_effect(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished, decision: str, state: str
) -> None:
    effect_id = shop.write(
        t.effect,
        id=new_id(),
        connection_id=things.connection_id,
        kind="subscribe_webhooks",
        ordering_key="k",
        effect_key=uuid4(),
        generation=1,
        request={},
        state="unknown",
        due_at=shop.now,
        created_at=shop.now,
        error="The answer was lost.",
    )
    issue_id = shop.issue(kind=effects.ISSUE, subject=str(effect_id), connection_id=things.connection_id)
    here = f"/connections/{things.connection_id}"
    page = words(owner.get(here))
    assert "Subscribe webhooks: unclear whether it was done The answer was lost." in page
    assert owner.post(f"/issues/{issue_id}/resolve", page="/settings").status_code == 409
    assert owner.post(f"{here}/effects/{effect_id}", {"decision": "shrug"}, page="/settings").status_code == 400

    answer = owner.post(f"{here}/effects/{effect_id}", {"decision": decision}, page="/settings")

    assert answer.status_code == 303
    with hub.database.read() as db:
        of_this_kind = select(t.effect.c.state).where(t.effect.c.kind == "subscribe_webhooks")
        states = list(db.execute(of_this_kind.order_by(t.effect.c.generation)).scalars())
        assert (
            db.execute(select(t.issue.c.resolved_by).where(t.issue.c.id == issue_id)).scalar_one() == "ada@tea.example"
        )
    assert states == ([state, "planned"] if decision == "retry" else [state])
    assert owner.post(f"{here}/effects/{effect_id}", {"decision": decision}, page="/settings").status_code == 404


def test_a_broken_setting_in_the_database_does_not_break_the_page(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    with hub.database.write() as db:
        db.execute(update(t.connection).values(settings=json.loads('{"address": 5, "unknown": [1]}')))

    assert owner.get(f"/connections/{things.connection_id}/reconnect").status_code == 200
