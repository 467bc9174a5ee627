"""A colleague comes in, in a real browser: invited, two factors, a lost telephone, another browser signed out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Site, Visit
from tests.web.shop_builder import PASSWORD as ADAS_PASSWORD
from tests.web.shop_builder import Shop

pytestmark = pytest.mark.browser

NOOR, PASSWORD = "noor@tea.example", "seven loud blue kettles"


@pytest.fixture
def colleague(chromium: Browser, site: Site) -> Iterator[Visit]:
    """Somebody else's browser, in the dark."""
    visit = Visit(chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark"), site)
    visit.expected.append("status of 401")
    yield visit
    visit.close()


def code_of(hub: Hub, secret: str) -> str:
    """What the app shows; as if this step's code had not been used yet."""
    with hub.database.write() as db:
        db.execute(update(t.user_account).where(t.user_account.c.email == NOOR).values(totp_step=None))
        return pyotp.TOTP(secret).at(hub.database.now(db))


def sign_in(page: Page, visit: Visit) -> None:
    visit.go("/sign-in")
    page.get_by_label("E-mail address").fill(NOOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="The code of your app")).to_be_visible()


def test_a_colleague_comes_in_with_two_factors(hub: Hub, shop: Shop, visit: Visit, colleague: Visit) -> None:
    owner, page = visit.sign_in().go("/settings/people"), colleague.page
    owner.get_by_label("E-mail address").fill(NOOR)
    owner.get_by_label("Support").check()
    owner.get_by_role("button", name="Invite").click()
    link = owner.get_by_role("textbox", name="Link").input_value()
    assert visit.accessibility_problems() == []

    page.goto(link)
    assert colleague.accessibility_problems() == []
    page.get_by_label("Your name").fill("Noor")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Accept and sign in").click()
    page.wait_for_url(f"{colleague.site.address}/")

    colleague.go("/settings/security")
    page.get_by_role("button", name="Set it up").click()
    secret = page.locator("#secret").inner_text()
    expect(page.get_by_role("img", name="QR code with the secret for your app")).to_be_visible()
    assert colleague.accessibility_problems() == []
    page.get_by_label("Code", exact=True).fill(code_of(hub, secret))
    page.get_by_role("button", name="Turn it on").click()
    codes = page.locator("#recovery-codes li").all_inner_texts()
    assert len(codes) == 10
    assert colleague.accessibility_problems() == []
    page.get_by_role("button", name="Sign out").click()

    sign_in(page, colleague)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This code is not right")).to_be_visible()
    assert colleague.accessibility_problems() == []
    page.get_by_label("Code").fill(code_of(hub, secret))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{colleague.site.address}/")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, colleague)
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{colleague.site.address}/")
    colleague.go("/settings/security")
    expect(page.get_by_text("9 recovery codes are left.")).to_be_visible()

    # The owner looks at the log, and asks it of everybody, which she has to do herself first.
    log = visit.go("/settings/audit?area=people")
    expect(log.get_by_text("Signed in with a recovery code; 9 left")).to_be_visible()
    assert visit.accessibility_problems() == []
    visit.go("/settings/people").get_by_role("button", name="Require it of everybody").click()
    expect(owner.get_by_text("Turn it on for yourself first")).to_be_visible()


def test_another_browser_is_signed_out(shop: Shop, visit: Visit, phone: Visit) -> None:
    phone.sign_in()
    page = visit.sign_in().go("/settings/security")
    page.get_by_role("button", name="Sign it out").click()
    expect(page.get_by_text("That browser is signed out.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign it out")).to_have_count(0)

    phone.go("/orders")

    expect(phone.page.get_by_role("heading", name="Sign in")).to_be_visible()


def let_the_password_grow_old(hub: Hub) -> None:
    with hub.database.write() as db:
        at = db.execute(select(t.session.c.confirmed_at)).scalar_one()
        db.execute(update(t.session).values(confirmed_at=at - timedelta(minutes=11)))


def test_the_password_is_asked_for_again_and_nothing_typed_is_lost(hub: Hub, shop: Shop, visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.sign_in().go("/settings/people")
    page.get_by_label("E-mail address").fill(NOOR)
    page.get_by_label("Support").check()
    let_the_password_grow_old(hub)

    page.get_by_role("button", name="Invite").click()
    asking = page.get_by_role("heading", name="Your password again")
    expect(asking).to_be_visible()
    expect(page.get_by_text("What you entered is kept")).to_be_visible()
    assert visit.accessibility_problems() == []
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("This is not your password.")).to_be_visible()
    page.get_by_label("Password").fill(ADAS_PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name=f"Send this link to {NOOR}")).to_be_visible()
    expect(page.get_by_text(f"{NOOR} · Support")).to_be_visible()

    # A form that htmx sends.
    visit.go("/connectors/tea")
    page.get_by_label("Shop address").fill("https://tea.example")
    page.get_by_label("Access token").fill("a token of mine")
    let_the_password_grow_old(hub)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(asking).to_be_visible()
    assert visit.accessibility_problems() == []
    page.get_by_label("Password").fill(ADAS_PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/tasks/*")

    # What is saved as a file.
    let_the_password_grow_old(hub)
    visit.go("/settings/audit?area=people")
    page.get_by_role("button", name="Export as CSV").click()
    expect(page.get_by_text("press the button again")).to_be_visible()
    page.get_by_label("Password").fill(ADAS_PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/settings/audit?area=people")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export as CSV").click()
    assert f"{NOOR} invited as support" in saved.value.path().read_text()


def test_the_settings_are_reached_on_a_telephone_by_keyboard(shop: Shop, phone: Visit) -> None:
    page = phone.sign_in().go("/settings")
    opener = page.get_by_role("button", name="Pages of Settings, now: Business")
    locations = page.get_by_role("link", name="Locations")
    expect(locations).to_be_hidden()

    opener.focus()
    page.keyboard.press("Enter")
    expect(locations).to_be_visible()
    expect(opener).to_have_attribute("aria-expanded", "true")
    assert phone.accessibility_problems() == []
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="People", exact=True)).to_be_focused()
    page.keyboard.press("Enter")

    page.wait_for_url("**/settings/people")
    expect(page.get_by_role("button", name="Pages of Settings, now: People")).to_be_visible()
    expect(locations).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
