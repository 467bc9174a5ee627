"""From the set-up link to the first order, in a real browser, on a real `hub up` with its sandbox."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process tree as it runs on Linux")
PATIENCE = 60_000  # milliseconds: the machine may be busy


class RunningHub:
    """A `hub up` in a folder of its own, ended with the test."""

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "hub.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TALLYHUB_")}
        environ |= {
            "TALLYHUB_DATA_DIR": str(folder / "hub"),
            "TALLYHUB_PORT": str(self.port),
            "TALLYHUB_WORKERS": "1",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "up"], env=environ, stdout=output, stderr=output
            )

    def setup_path(self) -> str:
        """The link that the console shows, without its host."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            assert self.process.poll() is None, self.log.read_text()
            if found := re.search(r"(/setup\?token=\S+)", self.log.read_text()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningHub]:
    hub = RunningHub(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def newcomer(chromium: Browser, running: RunningHub) -> Iterator[Visit]:
    visit = Visit(chromium.new_context(viewport={"width": 1280, "height": 1000}), running)  # type: ignore[arg-type]
    yield visit
    visit.close()


def step(page: Page, title: str) -> None:
    """The list says that this is the step to be taken next."""
    expect(page.locator("[aria-current=step] .todo-title")).to_have_text(title, timeout=PATIENCE)


def test_a_newcomer_sees_a_first_order_in_the_sandbox_and_leaves_nothing_behind(
    running: RunningHub, newcomer: Visit
) -> None:
    page = newcomer.go(running.setup_path())
    began = time.monotonic()
    for label, text in (
        ("Business name", "Leaf & Kettle"),
        ("Your name", "Ada"),
        ("E-mail address", "ada@tea.example"),
        ("Password", "four calm green teapots"),
        ("Password again", "four calm green teapots"),
    ):
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Set up").click()

    step(page, "Connect a shop")
    assert newcomer.accessibility_problems() == []
    page.get_by_role("button", name="Open the sandbox").click()
    for title, told in (
        ("Match its listings to SKUs", "Matched 96 listings of 2 shops"),
        ("Set your locations", "Gave your warehouse an address"),
        ("Adopt the opening stock", "Asked Shopify (sandbox) for its stock"),
        ("Look at what would be written", "Asked Shopify (sandbox), WooCommerce (sandbox) what they show"),
        ("Go live", "Set 2 shops live"),
    ):
        step(page, title)
        expect(page.get_by_role("complementary", name="Sandbox")).to_be_visible()
        page.get_by_role("button", name="Do it for me").click(timeout=PATIENCE)
        expect(page.locator(".alert-success")).to_contain_text(told, timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Your first order is here")).to_be_visible(timeout=PATIENCE)
    print(f"from the set-up page to the first order: {time.monotonic() - began:.0f} s")
    page.reload()
    assert newcomer.accessibility_problems() == []

    page.get_by_role("link", name="Open the order").click()
    expect(page.get_by_role("complementary", name="Sandbox")).to_be_visible()

    page.goto(running.address)
    page.get_by_role("button", name="Remove the sandbox with everything in it").click()
    expect(page.get_by_role("button", name="Open the sandbox")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("complementary", name="Sandbox")).to_have_count(0)
    page.goto(f"{running.address}/orders")
    expect(page.locator("main")).not_to_contain_text("#1001")
