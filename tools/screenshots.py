"""Draws the pictures of the README and the docs from running hubs: `python -m tools.screenshots --base-url URL`.

`hub demo` prints an address and a sign-in that fit; the password may also come from SCREENSHOTS_PASSWORD. The first
steps need a hub that nobody has set up: `--setup-url` is the link that its console shows. What is done for a picture is
not undone: throw these hubs away afterwards.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, StorageState, sync_playwright

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


def _leave(page: Page) -> None:
    """Nothing has the focus, and the page shows its beginning."""
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")


def _today(page: Page) -> None:
    """The list of first steps is put away."""
    away = page.get_by_role("button", name="Put the list of first steps away")
    if away.count():
        away.click()
        away.wait_for(state="detached")


def _view_and_bulk(page: Page) -> None:
    """A view that was saved, three of its orders chosen."""
    view = page.get_by_role("link", name="To ship, paid")
    if view.count() == 0:
        page.goto(page.url + "?status=open&paid=yes")
        page.get_by_role("button", name="Save as a view").click()
        page.get_by_role("dialog").get_by_label("Name").fill("To ship, paid")
        page.get_by_role("dialog").get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Close this message").click()
    else:
        view.click()
    page.locator("#orders-views [aria-current]", has_text="To ship, paid").wait_for()
    for row in (1, 2, 4):
        page.locator("#orders tbody input[data-tick]").nth(row).check()
    _leave(page)


def _earlier(page: Page) -> None:
    """An order that was dealt out already, and perhaps packed."""
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**before=**")
    _first_row(page)


def _refund(page: Page) -> None:
    """One unit of the first line of an order at Shopify is paid back."""
    page.locator("main a.row-link", has_text="#").first.click()
    page.get_by_text("More actions").click()
    page.get_by_role("link", name="Give money back").click()
    page.locator("input[name^=units-]").first.fill("1")
    page.get_by_label("Why").fill("Arrived chipped")
    _leave(page)


def _preview(page: Page) -> None:
    """What the first shop says, compared with what the hub would write."""
    _first_row(page)
    page.wait_for_url("**/connections/*-*")
    page.goto(page.url + "/go-live")
    page.locator("form[action$='/preview'] button").click()
    page.get_by_role("link", name="See the differences").click()
    page.get_by_text("Compared").wait_for()
    page.goto(page.url + "?show=all")


def _tab(name: str) -> Callable[[Page], None]:
    """A tab of the first connection."""

    def open_it(page: Page) -> None:
        _first_row(page)
        page.get_by_role("navigation", name="Pages of").get_by_role("link", name=name).click()
        page.locator(".section-tabs [aria-current]", has_text=name).wait_for()

    return open_it


def _request(page: Page) -> None:
    """One request of the log, an answer that tells a lot."""
    _tab("Requests")(page)
    page.goto(page.url + "?show=sent")
    _first_row(page)
    page.get_by_role("heading", name="What was asked").wait_for()


def _bench(page: Page) -> None:
    """An order half packed, the last scan a good one."""
    page.locator("main a.row-link").last.click()
    page.get_by_label("Scan what goes into the parcel").wait_for()
    code = page.locator("main td .mono").first.inner_text().split(" ")[0]
    page.get_by_label("Scan what goes into the parcel").fill(code)
    page.keyboard.press("Enter")
    page.locator(".verdict").wait_for()


def _bench_from_afar(page: Page) -> None:
    _bench(page)
    page.get_by_role("button", name="Read from afar").click()


def _matching(page: Page) -> None:
    """What was matched last is taken back: some listings wait, each with a suggestion."""
    if page.get_by_text("Everything is matched").count():
        page.get_by_role("button", name=re.compile("^Undo")).first.click()
        page.get_by_text("Undone:").first.wait_for()
        page.goto(page.url)


def _issue(page: Page) -> None:
    """There is one by now, or soon."""
    for _ in range(60):
        if page.locator("main .happened li").count():
            return
        page.wait_for_timeout(1000)
        page.reload()


def _people(page: Page) -> None:
    """A colleague is invited, and the owner is here."""
    if page.get_by_text("ben@example.com").count() == 0:
        page.get_by_label("E-mail address").fill("ben@example.com")
        page.get_by_role("radio", name="Warehouse").check()
        page.get_by_role("button", name="Invite").click()
        page.get_by_text("ben@example.com").first.wait_for()
        page.goto(page.url.partition("/settings")[0] + "/settings/people")


def _two_factor(page: Page) -> None:
    page.get_by_role("button", name="Set it up").click()
    page.get_by_role("textbox", name="Code").wait_for()
    _leave(page)


def _palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("st")
    page.locator("#palette-found [role=option]").first.wait_for()


def _keys(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard shortcuts").wait_for()


def _import(page: Page) -> None:
    """A file of counted stock, one row of which cannot be taken."""
    codes = _codes(page, 5)
    rows = [f"{code},{units}" for code, units in zip(codes, (40, 12, 75, 31, 8), strict=True)]
    body = "\n".join(["SKU,Counted", *rows, "OLD-CODE,3", ""])
    page.get_by_label("File", exact=True).set_input_files(
        {"name": "count-november.csv", "mimeType": "text/csv", "buffer": body.encode()}
    )
    page.get_by_role("button", name="Look at it").click()
    page.get_by_label("Counted figures").check()
    page.get_by_label("Quantity").select_option("Counted")
    page.get_by_label("Where rows without a location belong").select_option(index=1)
    page.get_by_role("button", name="See what would change").click()
    page.get_by_role("button", name=re.compile("^Apply")).wait_for(timeout=90_000)


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
        page.get_by_label("Name", exact=True).fill("Shop floor")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Shop floor is stored.").wait_for()
    page.goto(page.url.partition("/locations")[0] + "/stock/transfer")
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
    Picture("home-phone", "/", _today, phone=True, height=844),
    Picture("orders", "/orders", _view_and_bulk),
    Picture("orders-phone", "/orders", phone=True, height=844),
    Picture("order", "/orders?status=open", _earlier, height=1600),
    Picture("order-refund", "/orders?status=open", _refund, height=900),
    Picture("shipments", "/shipments?show=shipped", height=760),
    Picture("pack", "/pack", height=700),
    Picture("bench", "/pack?state=open", _bench, height=1000),
    Picture("bench-afar", "/pack?state=open", _bench_from_afar, dark=True, height=800),
    Picture("stock", "/stock"),
    Picture("stock-phone", "/stock", phone=True, height=844),
    Picture("sku", "/stock", _first_row, height=1180),
    Picture("stock-receive", "/stock/receive", _receipt, height=760),
    Picture("stock-count", "/stock/count", _count, height=960),
    Picture("stock-kit", "/stock", _kit, height=640),
    Picture("stock-rule", "/stock/rules", _rule, height=960),
    Picture("stock-transfer", "/locations", _transfer, height=560),
    Picture("stock-import", "/stock/import", _import, height=800),
    Picture("connections", "/connections", height=560),
    Picture("connection", "/connections", _first_row, height=1000),
    Picture("requests", "/connections", _tab("Requests"), height=760),
    Picture("request", "/connections", _request, height=1000),
    Picture("mappings", "/connections", _tab("Mappings"), height=900),
    Picture("health", "/connections", _tab("Health"), height=1060),
    Picture("go-live", "/connections", _preview, height=860),
    Picture("catalogue", "/connectors", height=800),
    Picture("connect", "/connectors/shopify"),
    Picture("connect-amazon", "/connectors/amazon", _amazon, height=1500),
    Picture("connection-amazon", "/connections", _amazon_connected),
    Picture("people", "/settings/people", _people, height=900),
    Picture("two-factor", "/settings/security", _two_factor, height=900),
    Picture("audit", "/settings/audit", height=700),
    Picture("palette", "/", _palette, height=760),
    Picture("keys", "/orders", _keys, height=760),
    Picture("matching", "/matching", _matching, height=860),
    # Somebody buys what is not matched now.
    Picture("issues", "/issues", _issue, height=560),
    Picture("home", "/", height=1160),
    Picture("home-dark", "/", dark=True, height=1160),
)


def _open_the_sandbox(page: Page) -> None:
    page.get_by_role("button", name="Open the sandbox").click()
    page.get_by_role("button", name="Do it for me").wait_for(timeout=90_000)


def _walk_to_the_first_order(page: Page) -> None:
    """Every step is taken by the hub itself; prints how long it took from the set-up page on."""
    began = time.monotonic()
    first = page.get_by_role("heading", name="Your first order is here")
    step = page.get_by_role("button", name="Do it for me")
    while not first.is_visible():
        if step.is_visible() and step.is_enabled():
            step.click()
        page.wait_for_timeout(250)
        if time.monotonic() - began > 300:
            sys.exit("screenshots: no first order came within five minutes.")
    print(f"  from the opened sandbox to the first order: {time.monotonic() - began:.0f} s")
    page.reload()


# In this order, on one page after the other.
FIRST_STEPS = (
    Picture("getting-started", "/", height=900),
    Picture("sandbox", "/", _open_the_sandbox, height=900),
    Picture("first-order", "/", _walk_to_the_first_order, height=900),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.screenshots", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base-url", help="where the demo runs, such as http://127.0.0.1:8484")
    parser.add_argument("--email", default="demo@example.com", help="whom to sign in as (default: %(default)s)")
    parser.add_argument(
        "--password", default=os.environ.get("SCREENSHOTS_PASSWORD"), help="the password of that person"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="the folder (default: docs/images)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="draw these alone: " + ", ".join(_names()))
    parser.add_argument("--setup-url", help="the set-up link of a hub that nobody has set up, for the first steps")
    given = parser.parse_args()
    if unknown := set(given.only or ()) - set(_names()):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    if not (given.base_url or given.setup_url):
        parser.error("give --base-url or --setup-url, or both")
    if given.base_url and not given.password:
        parser.error("give --password, or set SCREENSHOTS_PASSWORD")
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        failed: list[str] = []
        if given.base_url:
            base_url = given.base_url.rstrip("/")
            session = _sign_in(browser, base_url, given.email, given.password)
            failed += _draw_all(browser, session, base_url, _wanted(PICTURES, given.only), given.out)
        if given.setup_url:
            session = _set_up(browser, given.setup_url)
            base_url = given.setup_url.partition("/setup")[0]
            failed += _draw_all(browser, session, base_url, _wanted(FIRST_STEPS, given.only), given.out)
        browser.close()
    if failed:
        sys.exit(f"screenshots: not drawn: {', '.join(failed)}. The rest is; try these again with --only.")


def _wanted(pictures: tuple[Picture, ...], only: list[str] | None) -> list[Picture]:
    return [each for each in pictures if not only or each.name in only]


def _draw_all(browser: Browser, session: StorageState, base_url: str, wanted: list[Picture], out: Path) -> list[str]:
    """Draws what is wanted, one after the other; returns the names of those whose page was not as expected."""
    failed = []
    for number, picture in enumerate(wanted, start=1):
        print(f"{number}/{len(wanted)}  {picture.name}.png", flush=True)
        try:
            _draw(browser, session, base_url, picture, out / f"{picture.name}.png")
        except Error as error:
            print(f"  {error.message.splitlines()[0]}", flush=True)
            failed.append(picture.name)
    return failed


def _names() -> list[str]:
    return [picture.name for picture in (*PICTURES, *FIRST_STEPS)]


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
    return _session(context)


def _session(context: BrowserContext) -> StorageState:
    session = context.storage_state()
    context.close()
    return session


def _set_up(browser: Browser, setup_url: str) -> StorageState:
    """The cookies of the owner of a new business."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(setup_url)
    for label, text in (
        ("Business name", "Leaf & Kettle"),
        ("Your name", "Ada"),
        ("E-mail address", "ada@example.com"),
        ("Password", "four calm green teapots"),
        ("Password again", "four calm green teapots"),
    ):
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Set up").click()
    page.get_by_role("button", name="Open the sandbox").wait_for()
    return _session(context)


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
    _write(page.screenshot(), target)
    context.close()


def _write(drawn: bytes, target: Path) -> None:
    """A page has few colors: with 256 of them the file is a third as large, and nobody sees which are missing."""
    Image.open(io.BytesIO(drawn)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
