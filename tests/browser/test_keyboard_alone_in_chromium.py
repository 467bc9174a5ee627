"""By keyboard alone in a real browser: a shop connected, matched and set live, and an order packed and shipped.

Nothing here clicks, fills or focuses. At every stop of the Tab key the focus can be seen, and stands after the one
before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from hub.core.model import Money
from hub.store import tables as t
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.browser.conftest import Site, Visit, move_to_leeds
from tests.town import Town
from tests.web.shop_builder import PASSWORD

pytestmark = pytest.mark.browser

ADDRESS = "https://woo.example"
MOST_STOPS = 150  # of one page: who has not arrived by then is held in a circle

# What the focus is on: whether it is in sight, whether it stands after the stop before, and whether the stop before
# looks any different now that it has lost the focus.
STOP = """() => {
  const it = document.activeElement;
  const isRound = it && it.matches(".skip-link") && window.stopBefore; // straight from the end to the beginning
  if (!it || it === document.body || isRound) return (window.stopBefore = null);
  const shown = (each) => (each.matches(".visually-hidden") ? each.nextElementSibling : each);
  const looks = (each) => {
    const style = getComputedStyle(shown(each));
    return [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor, style.top].join(" ");
  };
  const [box] = shown(it).getClientRects();
  const [x, y] = box ? [box.left + box.width / 2, box.top + box.height / 2] : [-1, -1];
  const there = document.elementFromPoint(x, y);
  const before = window.stopBefore;
  const stop = {
    name: it.getAttribute("aria-label") || it.textContent.trim().replace(/\\s+/g, " ").slice(0, 60) || it.name || it.id,
    inSight: Boolean(there) && (shown(it).contains(there) || there.contains(shown(it))),
    isMarked: it.matches(":focus-visible"),
    isLater: !before || !before.isConnected || it === before ||
      Boolean(before.compareDocumentPosition(it) & Node.DOCUMENT_POSITION_FOLLOWING),
    lookedDifferent: !before || !before.isConnected || it === before || looks(before) !== window.looksBefore,
  };
  window.stopBefore = it;
  window.looksBefore = looks(it);
  return stop;
}"""

# Everything on the page that a mouse could use, but for what is folded away, switched off or offered twice.
USABLE = """() =>
  [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.type !== "hidden")
    .filter((each) => each.type !== "radio" || each.checked)
    .filter((each) => each.tabIndex >= 0)
"""


class Hands:
    """One person's hands on the keys, and eyes on the focus."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.keyboard = page.keyboard
        page.emulate_media(reduced_motion="reduce")  # a focus ring that grows is compared when it is there

    def tab(self, *, back: bool = False) -> bool:
        """On to the next stop, or to the one before; False at the end of the page."""
        if back:
            self.page.evaluate("window.stopBefore = null")
        self.keyboard.press("Shift+Tab" if back else "Tab")
        stop = self.page.evaluate(STOP)
        if stop is None:
            return False
        assert stop["isMarked"] and stop["lookedDifferent"], f"nobody sees that the focus left for {stop['name']!r}"
        assert stop["inSight"], f"{stop['name']!r} has the focus and is out of sight"
        assert stop["isLater"], f"{stop['name']!r} comes out of its turn"
        return True

    def tab_to(self, target: Locator, *, back: bool = False) -> None:
        """Tab until the target has the focus."""
        expect(target).to_be_visible()
        on_it = "each => each === document.activeElement"
        for _ in range(MOST_STOPS):
            if not self.tab(back=back):
                break
            if target.evaluate(on_it):
                return
        raise AssertionError(f"the keyboard does not reach {target}")

    def go_to(self, target: Locator) -> None:
        """Past what every page begins with, by its first link, and on to the target."""
        beginning = self.page.get_by_role("link", name="Skip to the content")
        if not beginning.evaluate("each => each === document.activeElement"):
            self.tab_to(beginning)
        self.keyboard.press("Enter")
        expect(self.page.locator("#content")).to_be_focused()
        self.tab_to(target)

    def press(self, key: str = "Enter") -> None:
        """A key that leads to another page."""
        with self.page.expect_navigation():
            for each in key.split():
                self.keyboard.press(each)

    def type_in(self, label: str, text: str) -> None:
        """On to a field, and write."""
        self.tab_to(self.page.get_by_label(label).last)
        self.keyboard.type(text)

    def round(self) -> None:
        """Once round the page from its beginning: every control has its stop, and at the end the page is left."""
        usable = self.page.evaluate_handle(USABLE)
        self.page.evaluate("window.stops = []")
        while self.tab():
            count = self.page.evaluate("window.stops.push(document.activeElement)")
            assert count < MOST_STOPS, "the keyboard does not leave this page"
        missed = self.page.evaluate(
            "usable => usable.filter(each => each.isConnected && !window.stops.includes(each))"
            ".map(each => each.outerHTML.slice(0, 200))",
            usable,
        )
        assert missed == []


@pytest.fixture
def woo() -> Iterator[WooCommerceSimulator]:
    with WooCommerceSimulator(site=ADDRESS) as woo:
        woo.add_product("MUG", "Stoneware mug", 8, "14.90")
        woo.add_product("VASE", "Bud vase", 5, "26.50")
        woo.add_product("WRAP", "Gift wrap", 3, "2.00")
        yield woo


@pytest.fixture
def easypost() -> Iterator[EasyPostSimulator]:
    with EasyPostSimulator() as easypost:
        yield easypost


def sign_in(hands: Hands, visit: Visit) -> Page:
    page = visit.go("/sign-in")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    hands.keyboard.type("ada@tea.example")
    hands.type_in("Password", PASSWORD)
    hands.press()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def test_a_shop_is_connected_matched_and_set_live(
    town: Town, site: Site, woo: WooCommerceSimulator, visit: Visit
) -> None:
    town.lead_to(woo)
    site.serve(town.hub)
    hands = Hands(visit.page)
    visit.expected = ["422 (UNPROCESSABLE ENTITY)"]
    page = sign_in(hands, visit)

    # The shop is found in the catalogue.
    hands.press("g c")
    hands.go_to(page.get_by_role("link", name="Connect a shop"))
    hands.press()
    hands.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    hands.keyboard.type("woo")
    hands.press()
    hands.go_to(page.get_by_role("link", name="Connect WooCommerce"))
    hands.press()

    # Its form: refused with something missing, which stays where it is; then taken.
    hands.round()
    hands.go_to(page.get_by_label("Name").last)
    hands.keyboard.type("Tea Street")
    hands.type_in("Address of the shop", ADDRESS)
    hands.type_in("Consumer key", woo.consumer_key)
    hands.tab_to(page.get_by_role("button", name="Connect", exact=True))
    hands.keyboard.press("Enter")
    expect(page.get_by_text("Some fields need another look.")).to_be_visible()
    expect(page.get_by_label("Consumer secret").last).to_be_focused()
    hands.keyboard.type(woo.consumer_secret)
    hands.tab_to(page.get_by_role("button", name="Connect", exact=True))
    hands.press()
    expect(page.get_by_text("Waiting for a worker…")).to_be_visible()
    town.work()
    place = town.row(t.connection).id
    town.shops[place] = woo
    hands.go_to(page.get_by_role("link", name="Go on"))
    hands.press()

    # Its listings, row by row: two marked and matched at once, one to a SKU that is typed.
    hands.round()
    hands.go_to(page.get_by_role("link", name="See what is suggested"))
    hands.press()
    for title in ("Bud vase", "Gift wrap", "Stoneware mug"):
        hands.keyboard.press("j")
        expect(page.get_by_label(title, exact=True)).to_be_focused()
    hands.keyboard.press("x")
    hands.keyboard.press("k")
    hands.keyboard.press("k")
    hands.keyboard.press("x")
    expect(page.get_by_label("Bud vase", exact=True)).to_be_checked()
    hands.tab_to(page.get_by_role("button", name="Match the chosen"), back=True)
    hands.press()
    expect(page.get_by_text("2 listings matched, 2 of them to new SKUs.")).to_be_visible()
    hands.round()
    hands.keyboard.press("j")
    hands.keyboard.press("e")
    hands.tab_to(page.get_by_label("Another SKU for Gift wrap"))
    hands.keyboard.type("RIBBON")
    hands.press()
    expect(page.get_by_text("Everything is matched")).to_be_visible()
    codes = {row.title: row.code for row in town.rows(t.listing.join(t.sku, t.listing.c.sku_id == t.sku.c.id))}
    assert codes == {"Bud vase": "VASE", "Gift wrap": "RIBBON", "Stoneware mug": "MUG"}

    # Its stock is adopted, what would be written is looked at, and it goes live.
    hands.press("g c")
    hands.go_to(page.get_by_role("link", name="Tea Street", exact=True))
    hands.press()
    hands.go_to(page.get_by_role("button", name="Adopt its stock"))
    hands.press()
    town.work()
    hands.go_to(page.get_by_role("link", name="Go on"))
    hands.press()
    hands.go_to(page.get_by_role("link", name="Review and go live"))
    hands.press()
    hands.go_to(page.get_by_role("button", name="Preview"))
    hands.press()
    town.work()
    hands.go_to(page.get_by_role("link", name="See the differences"))
    hands.press()
    hands.round()
    hands.go_to(page.get_by_role("button", name="Go live"))
    hands.press()
    expect(page.get_by_text("Tea Street is live.")).to_be_visible()
    town.settle()
    assert town.stock() == {"MUG": (8, 0), "VASE": (5, 0), "RIBBON": (3, 0)}
    assert woo.stock() == {"MUG": 8, "VASE": 5, "WRAP": 3}
    town.sound()


def test_an_order_is_packed_and_shipped(
    town: Town, site: Site, woo: WooCommerceSimulator, easypost: EasyPostSimulator, visit: Visit
) -> None:
    for each in (woo, easypost):
        town.lead_to(each)
    site.serve(town.hub)
    town.open_for_business(town.connect(WooCommerceConnector, woo), adopt=True)
    move_to_leeds(town)
    town.connect(EasyPostConnector, easypost)
    sale = woo.buy([("MUG", 2)])
    assert sale is not None
    town.settle()
    hands = Hands(visit.page)
    page = sign_in(hands, visit)

    # The order says which slip to look for.
    hands.press("g o")
    hands.go_to(page.get_by_role("link", name=sale.order_external_id, exact=True))
    hands.press()
    reference = re.findall(rf"{sale.order_external_id}-1-[A-Z2-7]{{8}}", page.locator("main").inner_text())[0]
    hands.round()

    # At the bench, where the focus waits for the scanner: the slip, a wrong item, both mugs, the scales.
    hands.press("g h")
    expect(page.get_by_role("textbox", name="Scan a packing slip")).to_be_focused()
    hands.keyboard.type(reference)
    hands.press()
    expect(page.get_by_label("Scan what goes into the parcel")).to_be_focused()
    hands.keyboard.type("VASE\n")
    expect(page.get_by_role("alert")).to_contain_text("STOP Wrong item")
    hands.keyboard.type("MUG\nMUG\n")
    expect(page.get_by_role("alert")).to_have_text("OK Stoneware mug: 2 of 2. Complete.")
    expect(page.get_by_label("Scan what goes into the parcel")).to_be_focused()
    hands.type_in("Weight of parcel 1 in grams", "900")
    hands.tab_to(page.get_by_role("button", name="Packed: go on to the label"))
    hands.press()
    expect(page.get_by_text("Packed. Choose a rate and buy the label.")).to_be_visible()

    # The offers come while the page is open; the label is bought, and the parcel handed over.
    town.settle()
    offers = page.get_by_role("region", name="What carriers offer").locator("tbody tr")
    expect(offers).not_to_have_count(0)
    hands.round()
    hands.go_to(offers.first.get_by_role("button", name="Buy"))
    hands.press()
    expect(page.get_by_text("Label is being bought")).to_be_visible()
    town.settle()
    expect(page.get_by_role("link", name="Label, PDF")).to_be_visible()
    hands.go_to(page.get_by_role("button", name="Handed over"))
    hands.press()
    expect(page.get_by_text("It has left: stock is changed, and the shop is being told.")).to_be_visible()
    town.settle()

    (charge,) = easypost.charges()
    assert (charge.reference, charge.cost) == (f"{reference}-1", Money(Decimal("7.85"), "USD"))
    (told,) = woo.shop.orders[int(sale.order_external_id)].fulfillments
    assert {each["key"]: each["value"] for each in told["meta_data"]}["_tracking_number"] == charge.tracking_numbers[0]
    assert town.stock()["MUG"] == (6, 0)
    town.sound()
