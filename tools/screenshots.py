"""Draws the pictures of the README and the docs from a running hub: `python -m tools.screenshots --base-url URL`.

`hub demo` prints an address and a sign-in that fit; the password may also come from SCREENSHOTS_PASSWORD.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page, StorageState, sync_playwright

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Picture:
    """One file: the page at ``path``, reached from there by ``then``."""

    name: str
    path: str
    then: Callable[[Page], None] | None = None
    dark: bool = False
    phone: bool = False
    height: int = 860


def _first_row(page: Page) -> None:
    page.locator("main a.row-link").first.click()


def _preview(page: Page) -> None:
    """What the first shop says, compared with what the hub would write."""
    _first_row(page)
    page.wait_for_url("**/connections/*-*")
    page.goto(page.url + "/go-live")
    page.locator("form[action$='/preview'] button").click()
    page.get_by_role("link", name="See the differences").click()
    page.get_by_text("Compared").wait_for()
    page.goto(page.url + "?show=all")


def _health(page: Page) -> None:
    """How well the first shop keeps up."""
    _first_row(page)
    page.get_by_role("heading", name="Health").wait_for()
    page.goto(page.url + "/health")


def _scan(page: Page, *codes: str) -> None:
    for code in codes:
        page.get_by_label("Add a SKU").fill(code)
        page.get_by_label("Add a SKU").press("Enter")
        page.locator(f"[name=units][aria-label$={code!r}]").wait_for()


def _codes(page: Page, count: int) -> list[str]:
    """The first SKUs of the list, which is then left for ``path``."""
    path = urlsplit(page.url).path
    page.goto(page.url.replace(path, "/stock"))
    codes = [each.strip() for each in page.locator("main a.row-link").all_inner_texts()[:count]]
    page.goto(page.url.replace("/stock", path))
    return codes


def _receipt(page: Page) -> None:
    """A delivery of three SKUs, filled in."""
    codes = _codes(page, 3)
    page.get_by_label("Location").select_option(index=1)
    page.get_by_label("Delivery note").fill("DN-2041")
    page.get_by_label("Note", exact=True).fill("Northwind Textiles")
    _scan(page, *codes)
    for code, units in zip(codes, ("48", "24", "12"), strict=True):
        page.locator(f"[name=units][aria-label$={code!r}]").fill(units)


def _count(page: Page) -> None:
    """A count of three SKUs, one of which is not as expected; shown before it is entered."""
    codes = _codes(page, 3)
    page.get_by_label("Location").select_option(index=1)
    _scan(page, *codes)
    page.get_by_role("button", name="Check the count").click()
    page.get_by_text("Nothing is entered yet.").wait_for()
    for row, more in enumerate((0, 0, -1)):
        expected = page.locator("tbody tr").nth(row).locator("td").nth(2).inner_text().replace(",", "")
        page.locator("[name=units]").nth(row).fill(str(int(expected) + more))
    page.get_by_role("button", name="Check again").click()
    page.get_by_text("−1", exact=True).wait_for()
    page.get_by_label("Reason").fill("one torn")


def _kit(page: Page) -> None:
    """The parts of a kit, filled in."""
    codes = _codes(page, 3)
    _first_row(page)
    page.get_by_role("link", name="Make it a kit").click()
    page.get_by_label("Add a SKU").wait_for()
    _scan(page, *codes[1:])
    page.locator("[name=units]").first.fill("2")


def _rule(page: Page) -> None:
    """A buffer for everything, and what would be shown with it."""
    page.get_by_label("Buffer in units").fill("2")
    page.get_by_label("Stop at").fill("1")
    page.get_by_text("not stored yet").wait_for()


def _transfer(page: Page) -> None:
    """Two SKUs on their way to a second location."""
    if page.get_by_text("Shop floor").count() == 0:
        page.get_by_label("Another location").fill("Shop floor")
        page.get_by_role("button", name="Add the location").click()
        page.get_by_text("Shop floor is a location now.").wait_for()
    page.goto(page.url.partition("/settings")[0] + "/stock/transfer")
    codes = _codes(page, 2)
    page.get_by_label("From").select_option(label="Main warehouse")
    page.get_by_label("To", exact=True).select_option(label="Shop floor")
    page.get_by_label("Note", exact=True).fill("With the morning van")
    _scan(page, *codes)
    page.locator("[name=units]").first.fill("4")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("They have arrived").wait_for()


def _amazon(page: Page) -> None:
    """Both forms of Amazon, the upper one filled in."""
    page.get_by_label("Marketplaces").first.fill("DE, FR")
    page.get_by_label("Client ID").first.fill("amzn1.application-oa2-client.3f1c07d5")
    page.get_by_label("Queue URL").first.fill("https://sqs.eu-west-1.amazonaws.com/123456789012/tallyhub")
    page.get_by_label("Queue access key ID").first.fill("AKIDEXAMPLE")
    page.get_by_label("Application ID").fill("amzn1.sp.solution.5d2b61aa")
    page.evaluate("window.scrollTo(0, 0)")


def _amazon_connected(page: Page) -> None:
    page.locator("main a.row-link", has_text="Amazon").first.click()
    page.get_by_role("heading", name="Health").wait_for()


PICTURES = (
    Picture("home", "/"),
    Picture("home-dark", "/", dark=True),
    Picture("orders", "/orders"),
    Picture("order", "/orders?status=open", _first_row),
    Picture("stock", "/stock"),
    Picture("stock-phone", "/stock", phone=True, height=844),
    Picture("sku", "/stock", _first_row, height=1180),
    Picture("stock-receive", "/stock/receive", _receipt, height=700),
    Picture("stock-count", "/stock/count", _count, height=860),
    Picture("stock-kit", "/stock", _kit, height=640),
    Picture("stock-rule", "/stock/rules", _rule, height=960),
    Picture("stock-transfer", "/settings", _transfer, height=560),
    Picture("connections", "/connections", height=560),
    Picture("connection", "/connections", _first_row),
    Picture("matching", "/matching", height=760),
    Picture("go-live", "/connections", _preview, height=860),
    Picture("health", "/connections", _health, height=1060),
    Picture("catalogue", "/connectors", height=560),
    Picture("connect", "/connectors/shopify"),
    Picture("connect-amazon", "/connectors/amazon", _amazon, height=1500),
    Picture("connection-amazon", "/connections", _amazon_connected),
    Picture("issues", "/issues", height=560),
    Picture("activity", "/activity"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base-url", required=True, help="where the hub runs, such as http://127.0.0.1:8484")
    parser.add_argument("--email", default="demo@example.com", help="whom to sign in as (default: %(default)s)")
    parser.add_argument(
        "--password", default=os.environ.get("SCREENSHOTS_PASSWORD"), help="the password of that person"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="the folder (default: docs/images)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="draw these alone: " + ", ".join(_names()))
    given = parser.parse_args()
    if not given.password:
        parser.error("give --password, or set SCREENSHOTS_PASSWORD")
    if unknown := set(given.only or ()) - set(_names()):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    wanted = [each for each in PICTURES if not given.only or each.name in given.only]
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        try:
            session = _sign_in(browser, given.base_url.rstrip("/"), given.email, given.password)
            for number, picture in enumerate(wanted, start=1):
                print(f"{number}/{len(wanted)}  {picture.name}.png", flush=True)
                _draw(browser, session, given.base_url.rstrip("/"), picture, given.out / f"{picture.name}.png")
        except Error as error:
            sys.exit(f"screenshots: {error.message.splitlines()[0]}")
        finally:
            browser.close()


def _names() -> list[str]:
    return [picture.name for picture in PICTURES]


def _chromium() -> str:
    for candidate in (os.environ.get("TALLYHUB_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if candidate and (found := shutil.which(candidate)):
            return found
    sys.exit("screenshots: no Chromium here. Install it, or name one in TALLYHUB_CHROMIUM.")


def _sign_in(browser: Browser, base_url: str, email: str, password: str) -> StorageState:
    """The cookies of a session that has been signed in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{base_url}/sign-in")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    if urlsplit(page.url).path != "/":
        sys.exit(f"screenshots: {base_url} does not let {email} in. Check the address and the password.")
    session = context.storage_state()
    context.close()
    return session


def _draw(browser: Browser, session: StorageState, base_url: str, picture: Picture, target: Path) -> None:
    context = browser.new_context(
        viewport={"width": 390 if picture.phone else 1280, "height": picture.height},
        device_scale_factor=2 if picture.phone else 1.5,
        color_scheme="dark" if picture.dark else "light",
        storage_state=session,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(f"{base_url}{picture.path}")
    if picture.then is not None:
        picture.then(page)
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    page.screenshot(path=target)
    context.close()


if __name__ == "__main__":
    main()
