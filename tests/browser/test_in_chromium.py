"""The pages in a real browser: clicked through, by keyboard, on a phone, in the dark, without a complaint."""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import UUID

import marshmallow
import pytest
from marshmallow import fields
from playwright.sync_api import Page, expect
from sqlalchemy import insert, select, update

from hub.app import create_app
from hub.jobs import Hub
from hub.store import accounts
from hub.store import tables as t
from tests.browser.conftest import Site, Visit
from tests.web.shop_builder import PASSWORD, Shop, TeaShop, furnish, registry
from tests.web.test_pages_render import PUBLIC, pages

pytestmark = pytest.mark.browser


def finish_check(hub: Hub) -> UUID:
    """What a worker does when the check has passed, and the first listings are in."""
    with hub.database.write() as db:
        task = db.execute(select(t.task)).one()
        here = {"merchant_id": task.merchant_id, "connection_id": task.connection_id}
        now = hub.database.now(db)
        db.execute(update(t.task).values(state="done", message="Connected to Tea Street Ltd.", request=None))
        db.execute(
            update(t.connection).values(
                state="connected", account_name="Tea Street Ltd.", account_external_id="7", secrets=task.request
            )
        )
        location_id = UUID(int=1)
        db.execute(
            insert(t.location).values(
                merchant_id=task.merchant_id, id=location_id, name="Main warehouse", created_at=now
            )
        )
        db.execute(insert(t.channel_location).values(external_id="", name="", location_id=location_id, **here))
        db.execute(insert(t.channel_location_source).values(external_id="", location_id=location_id, **here))
        for number, title in enumerate(["Green tea", "White tea"]):
            db.execute(
                insert(t.listing).values(
                    id=UUID(int=10 + number),
                    external_id=str(number),
                    title=title,
                    sku_text=f"TEA-{number}",
                    handles={},
                    imported_at=now,
                    **here,
                )
            )
    connection_id: UUID = task.connection_id
    return connection_id


def test_from_an_empty_hub_to_a_live_shop(hub: Hub, site: Site, visit: Visit) -> None:
    token = accounts.issue_setup_token(hub.database)
    page = visit.go(f"/setup?token={token}")
    page.get_by_label("Business name").fill("Leaf & Kettle")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("E-mail address").fill("ada@tea.example")
    page.get_by_label("Password", exact=False).nth(0).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()

    # The first step of the list; mistakes are shown in place, and a secret that was typed stays in its box.
    page.get_by_role("link", name="Connect a shop").click()
    page.get_by_role("link", name="Connect Tea Shop").click()
    visit.expected.append("422")
    page.get_by_label("Shop address").fill("tea")
    page.get_by_label("Access token").fill("token-of-tea")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("Not a valid URL.")).to_be_visible()
    expect(page.get_by_label("Access token")).to_have_value("token-of-tea")
    assert page.url.endswith("/connectors/tea")
    page.get_by_label("Shop address").fill("https://tea.example")
    page.get_by_role("button", name="Connect").click()

    # The check is followed without reloading.
    expect(page.get_by_role("heading", name="Checking the connection")).to_be_visible()
    expect(page.get_by_text("Waiting for a worker…")).to_be_visible()
    page.evaluate("window.untouched = true")
    connection_id = finish_check(hub)
    expect(page.get_by_text("Connected to Tea Street Ltd.")).to_be_visible()
    assert page.evaluate("window.untouched") is True
    page.get_by_role("link", name="Go on").click()

    # Matched, counted, live.
    page.get_by_role("button", name="Accept all at 100 %").first.click()
    expect(page.get_by_text("2 listings of Tea Shop matched.")).to_be_visible()
    page.get_by_role("link", name="Stock", exact=True).click()
    page.get_by_role("link", name="TEA-0").click()
    page.get_by_label("Units on the shelf").fill("12")
    page.get_by_label("Reason").fill("counted")
    page.get_by_role("button", name="Correct").click()
    expect(page.get_by_text("The stock is corrected.")).to_be_visible()
    visit.go(f"/connections/{connection_id}/go-live")
    expect(page.get_by_text("Nothing was compared yet.")).to_be_visible()
    page.get_by_label("Go live without looking").check()
    page.get_by_role("button", name="Go live").click()
    expect(page.get_by_text("Tea Shop is live.")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    visit.go("/orders")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/orders$"))


def test_on_a_phone_nothing_is_cut_off_and_the_menu_opens(hub: Hub, shop: Shop, phone: Visit) -> None:
    things = furnish(shop)
    long = "Ein-sehr-langer-Name-ohne-Leerzeichen-" * 4
    sku_id = shop.sku(long[:150], long)
    shop.listing(things.connection_id, "long", sku_id, title=long, sku_text=long)
    shop.order(things.connection_id, "9" * 40, customer_name=long, email=f"{long}@example.com")
    shop.issue(long)
    shop.activity(long)
    phone.sign_in()
    problems = []
    for path in [*pages(create_app(hub), things), f"/stock/{sku_id}"]:
        if path in PUBLIC:
            continue
        page = phone.go(path)
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            problems.append(f"{path} is {width} wide")
        problems += [f"{path} {each}" for each in phone.accessibility_problems()]
    assert not problems, "\n".join(problems)

    page = phone.go("/")
    expect(page.get_by_role("link", name="Orders", exact=True)).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Orders", exact=True).click()
    expect(page.get_by_role("heading", name="Orders")).to_be_visible()


def test_everything_is_within_reach_of_the_keyboard(shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    visit.sign_in()
    page = visit.go("/orders")

    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")  # past the navigation

    page.locator("#content").focus()
    page.keyboard.press("/")
    page.keyboard.type("1001")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"q=1001"))
    link = page.get_by_role("link", name="1001", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/orders/{things.order_id}"))


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.innerText")
    return text.strip()


def test_the_home_page_follows_what_happens(shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    visit.sign_in()
    page = visit.page
    expect(page.get_by_text("Order 4711 imported")).not_to_be_visible()
    page.evaluate("window.untouched = true")

    shop.activity("Order 4711 imported", order_id=things.order_id, at=shop.now)

    expect(page.get_by_text("Order 4711 imported")).to_be_visible()
    assert page.evaluate("window.untouched") is True
    page.get_by_role("link", name="All activity").click()  # what was swapped in works
    expect(page.get_by_role("heading", name="Activity")).to_be_visible()


def test_a_page_left_open_leads_to_the_sign_in_when_its_session_ends(hub: Hub, shop: Shop, visit: Visit) -> None:
    furnish(shop)
    visit.sign_in()

    with hub.database.write() as db:
        db.execute(t.session.delete())

    expect(visit.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_failure_behind_a_form_is_told_on_the_page(hub: Hub, site: Site, shop: Shop, visit: Visit) -> None:
    def explode(_: object) -> None:
        raise ZeroDivisionError

    class Broken(marshmallow.Schema):
        token = fields.String(required=True, validate=explode, metadata={"label": "Token", "hint": "Any."})

    class Explosive(TeaShop):
        name = "explosive"
        label = "Explosive"
        settings_schema = Broken

    site.serve(replace(hub, registry=registry(Explosive)))
    visit.expected.append("500")
    page = visit.sign_in().go("/connectors/explosive")
    page.get_by_label("Token").fill("x")

    page.get_by_role("button", name="Connect").click()

    expect(page.get_by_role("alert")).to_contain_text("The connector failed while it checked the form")
    expect(page.get_by_label("Token")).to_have_value("x")


def test_the_choice_of_light_or_dark_stays(shop: Shop, visit: Visit) -> None:
    page = visit.sign_in().page
    theme = "document.documentElement.dataset.bsTheme"
    assert page.evaluate(theme) == "light"

    page.locator("label[for=theme-dark]").click()
    assert page.evaluate(theme) == "dark"
    visit.go("/orders")
    assert page.evaluate(theme) == "dark"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(theme) == "dark"


def test_a_form_sent_twice_by_an_impatient_finger_is_one_wish(hub: Hub, shop: Shop, visit: Visit) -> None:
    things = furnish(shop)
    page = visit.sign_in().go(f"/stock/{things.sku_id}")
    page.get_by_label("Units on the shelf").fill("30")
    page.get_by_label("Reason").fill("counted")

    page.get_by_role("button", name="Correct").dblclick()

    expect(page.get_by_text("The stock is corrected.")).to_be_visible()
    with hub.database.read() as db:
        counted = db.execute(select(t.stock_entry.c.number).where(t.stock_entry.c.cause == "adjusted")).all()
    assert len(counted) == 1
