"""A colleague comes in, in a real browser: invited, two factors, a lost telephone, another browser signed out."""

from __future__ import annotations

from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from hub.jobs import Hub
from hub.store import tables as t
from tests.browser.conftest import Site, Visit
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
