"""A real Chromium on a real server, that fails a test for anything the content policy blocks or that leaves the hub."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Request, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from hub import plugins
from hub.app import create_app
from hub.core.model import Address
from hub.jobs import Hub
from hub.store import locations
from hub.store import tables as t
from hub.store.database import Database
from tests.town import OWNER, Town
from tests.web.shop_builder import PASSWORD, Shop, hub_on, open_shop

ASSETS = Path(__file__).parents[2] / "hub" / "web" / "static" / "vendor" / "manifest.json"
AXE = Path(__file__).parents[1] / "vendor" / "axe.min.js"
PATIENCE = 60_000  # milliseconds; it shares the machine with the rest of the suite
expect.set_options(timeout=PATIENCE)


def _chromium() -> str | None:
    for candidate in (os.environ.get("TALLYHUB_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if candidate and (found := shutil.which(candidate)):
            return found
    return None


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    executable = _chromium()
    if executable is None:
        pytest.skip("no Chromium here: install it, or name one in TALLYHUB_CHROMIUM")
    if not ASSETS.exists():
        pytest.skip("the front-end files have not been fetched: run make assets")
    with sync_playwright() as playwright:
        try:
            # As root, and in most containers, Chromium cannot build its own sandbox.
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"Chromium does not start here: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def hub(_sqlite_database: Database, tmp_path: Path) -> Iterator[Hub]:
    yield hub_on(_sqlite_database, tmp_path)
    _sqlite_database.close()


@pytest.fixture
def shop(hub: Hub) -> Shop:
    shop = open_shop(hub, "Leaf & Kettle")
    shop.person("ada@tea.example")
    return shop


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


class Site:
    """A served hub. ``serve`` replaces what is served at the same address."""

    def __init__(self) -> None:
        self._app: object = None
        self._server = make_server("127.0.0.1", 0, self._dispatch, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.address = f"http://localhost:{self._server.server_port}"

    def serve(self, hub: Hub) -> None:
        self._app = create_app(hub)

    def _dispatch(self, environ: object, start_response: object) -> object:
        return self._app(environ, start_response)  # type: ignore[operator]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site(hub: Hub) -> Iterator[Site]:
    site = Site()
    site.serve(hub)
    yield site
    site.close()


@pytest.fixture
def town(hub: Hub, shop: Shop, site: Site) -> Town:
    """The hub at work for the shop, with every connector that is installed, heard of at the site's address.

    Led to the simulators of a test, ``town.hub`` is what is to be served.
    """
    settings = replace(hub.settings, public_url=site.address)
    return Town(replace(hub, settings=settings, registry=plugins.load()), shop.merchant_id)


def move_to_leeds(town: Town) -> None:
    """The hub's only location gets a name and an address, so that carriers can be asked for labels."""
    address = Address(name="Leaf & Kettle", line1="1 High Street", city="Leeds", postcode="LS1 4DY", country="GB")
    leeds = locations.Location(name="Leeds", address=address, time_zone="Europe/London")
    locations.save(town.hub.database, town.merchant, town.row(t.location).id, leeds, OWNER)


class Visit:
    """One person's browser. ``close`` fails for every problem that was seen on the way."""

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.context, self.site = context, site
        self.problems: list[str] = []
        self.expected: list[str] = []  # parts of messages that a test means to cause
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', event =>"
            " console.error('blocked: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile))"
        )
        self.page = self.tab()

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self._note(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._note(f"script error: {error}"))
        page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self._check_host)
        return page

    def _note(self, problem: str) -> None:
        self.problems.append(problem)

    def _check_host(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if host and host != urlsplit(self.site.address).netloc:
            self._note(f"a request to another host: {request.url}")

    def go(self, path: str) -> Page:
        self.page.goto(self.site.address + path)
        return self.page

    def sign_in(self, email: str = "ada@tea.example") -> Visit:
        self.go("/sign-in")
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.site.address}/")
        return self

    def accessibility_problems(self, *rules: str) -> list[str]:
        """What axe finds on the page as it is now; by these rules alone, if any are named."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        asked = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = self.page.evaluate("async asked => (await axe.run(document, asked)).violations", asked)
        return [
            f"{each['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
            for each in found
            for node in each["nodes"]
        ]

    def close(self) -> None:
        self.context.close()
        unexpected = [
            problem for problem in self.problems if not any(expected in problem for expected in self.expected)
        ]
        assert unexpected == []


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Visit]:
    visit = Visit(chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light"), site)
    yield visit
    visit.close()


@pytest.fixture
def phone(chromium: Browser, site: Site) -> Iterator[Visit]:
    visit = Visit(
        chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True), site
    )
    yield visit
    visit.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser shares two cores with the suite: a journey has more time, and in CI one that fails is taken once more,
    and told as a rerun."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))
            if os.environ.get("CI"):
                item.add_marker(pytest.mark.flaky(reruns=1))
