"""The story of a SKU: in words, as JSON, as a picture, on a page and on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert

from hub.app import create_app
from hub.cli import main
from hub.config import load_settings
from hub.core.model import Order
from hub.explain import stock as story
from hub.explain.chart import picture
from hub.explain.findings import Why
from hub.explain.stock import Line
from hub.explain.telling import of_stock
from hub.explain.words import listed, span, wrapped
from hub.store import connections, migrate
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.core.making import a_line, an_order
from tests.explain.street import Street, street
from tests.jobs.fake_shop import CarefulChannel, FakeChannel
from tests.store.warehouse import OWNER, Warehouse
from tests.web.client import Browser, words
from tests.web.shop_builder import hub_on, open_shop

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def told(s: Street, code: str = "MUG", since: datetime | None = None) -> story.StockExplained:
    with s.town.hub.database.read() as connection:
        merchant_id, sku_id = story.find_sku(connection, code)
        found = story.stock(connection, merchant_id, sku_id, at=s.town.hub.database.now(connection), since=since)
    assert found is not None
    return found


def a_small_story(s: Street) -> None:
    """Two mugs: one is sold at the left, then the right shop is paused, then the other is sold at the left."""
    s.open("left", CarefulChannel, 2, adopt=True)
    s.open("right", FakeChannel, 2, adopt=False)
    s.sell("left")
    s.wait(60)
    connections.pause(s.town.hub.database, s.town.merchant, s.places["right"], OWNER)
    s.sell("left")
    s.wait(60)


# ---------------------------------------------------------------- in words


def test_what_moved_it_and_what_each_shop_was_told_is_told_in_order() -> None:
    with street() as s:
        a_small_story(s)
        found = told(s)

    kinds = [each.kind for each in found.happenings]
    assert kinds == ["moved", "moved", "told", "trouble", "moved"]
    opened, reserved, written, trouble, again = [each.sentence for each in found.happenings]
    assert opened == (
        "2 units opening stock at Main warehouse by owner@example.test (Opening stock): 2 available there "
        "(ledger line 1)."
    )
    assert reserved == "1 unit reserved for order #100 (left) at Main warehouse: 1 available there (ledger line 2)."
    assert re.fullmatch(
        r"right was told 1 instead of 2 of “Mug”, because of: reserved for order #100 \(left\); from ledger line 2 of "
        r"Main warehouse; 10 s after the first change it tells\. Read 2, then written; .*",
        written,
    )
    assert trouble == "right is paused."
    assert again.startswith("1 unit reserved for order #101 (left)")
    assert (found.happenings[2].shop, found.happenings[2].quantity, found.happenings[4].entry) == ("right", 1, 3)


def test_what_each_shop_should_say_and_what_is_on_its_way_is_told() -> None:
    with street() as s:
        a_small_story(s)
        left, right = told(s).shops

    assert (left.shop, left.believed, left.wanted) == ("left", 0, 0)
    assert left.steps == ("2 on hand, 2 allocated: 0 free", "shown: 0")
    assert left.sentence.startswith("It says 0, last written or seen at 2026-03-02 12:")
    assert (right.believed, right.wanted) == (1, 0)
    assert re.fullmatch(r"On its way: 0, since 2026-03-02 12:0\d:\d\d\. right is paused\.", right.sentence)


def test_it_fits_the_terminal() -> None:
    with street() as s:
        a_small_story(s)
        lines = list(wrapped(of_stock(told(s)), 60))

    assert lines[:2] == ["MUG: Mug", "  Main warehouse: 2 on hand, 2 allocated, 0 available"]
    assert max(map(len, lines)) <= 60


def test_a_later_beginning_leaves_out_what_was_before() -> None:
    with street() as s:
        a_small_story(s)
        found = told(s, since=NOON + timedelta(seconds=50))

    assert [each.kind for each in found.happenings] == ["trouble", "moved"]


def test_a_kit_is_told_by_its_parts(warehouse: Warehouse) -> None:
    shop = warehouse.connect("tea", live=True)
    mug, tee = warehouse.sku("MUG", 4), warehouse.sku("TEE", 1)
    box = warehouse.kit("BOX", {mug: 2, tee: 1})
    warehouse.listing(shop, "box", box)
    warehouse.hear(shop, an_order(a_line(1, listing="box")))

    with warehouse.database.read() as connection:
        found = story.stock(connection, warehouse.merchant, box, at=warehouse.now())

    assert found is not None
    assert found.made_of == (("MUG", 2), ("TEE", 1))
    assert found.balances == ()
    assert sorted(each.sentence.partition(" at ")[0] for each in found.happenings) == [
        "1 unit of TEE opening stock",
        "1 unit of TEE reserved for order #100 (tea)",
        "2 units of MUG reserved for order #100 (tea)",
        "4 units of MUG opening stock",
    ]


def test_a_sku_that_is_not_counted_says_so(warehouse: Warehouse) -> None:
    warehouse.listing(warehouse.connect("tea", live=True), "mug", warehouse.sku("MUG"))

    with warehouse.database.read() as connection:
        merchant_id, sku_id = story.find_sku(connection, "MUG")
        found = story.stock(connection, merchant_id, sku_id, at=warehouse.now())

    assert found is not None
    text = "\n".join(wrapped(of_stock(found), 100))
    assert "Not counted yet: adopt its opening stock from a shop, or count it." in text
    assert "tea, “Mug”: Not counted yet: the hub writes no stock to it." in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (43.4, "43 s"), (725, "12 min 5 s"), (720, "12 min"),
        (12_000, "3 h 20 min"), (86_400, "1 day"), (187_300, "2 days 4 h"), (-3, "0 s"),
    ],
)  # fmt: skip
def test_spans_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(["A"]), listed(["A", "B"]), listed(["A", "B", "C"])] == ["A", "A and B", "A, B and C"]


# ---------------------------------------------------------------- the picture


def test_figures_are_drawn_as_steps() -> None:
    """Ten seconds across 704 points, two units up 202."""
    at = [NOON + timedelta(seconds=seconds) for seconds in (0, 5, 10)]
    drawn = picture(
        [Line("Available", ((at[0], 2), (at[1], 1), (at[2], 1))), Line("left: Mug", ((at[1], 2), (at[2], 2)))]
    )

    assert drawn is not None
    assert [(each.name, each.path, each.style) for each in drawn.drawn] == [
        ("Available", "M44.0 10.0H396.0V111.0H748.0V111.0", 0),
        ("left: Mug", "M396.0 10.0H748.0V10.0", 1),
    ]
    assert drawn.rows == ((212.0, "0"), (111.0, "1"), (10.0, "2"))
    assert drawn.columns == ((44.0, "12:00:00"), (396.0, "12:00:05"), (748.0, "12:00:10"))


def test_nothing_is_drawn_of_a_single_moment() -> None:
    assert picture([]) is None
    assert picture([Line("Available", ((NOON, 2),))]) is None


def test_a_shop_is_drawn_as_told_less_its_own_sales() -> None:
    """The right shop sold one itself; until the hub had heard of the left one's sale it went on showing too much."""
    with street() as s:
        s.open("left", CarefulChannel, 3, adopt=True)
        s.open("right", CarefulChannel, 3, adopt=False)
        s.sell("left")
        s.wait(30)
        s.sell("right")
        s.wait(30)
        lines = {line.name: [units for _, units in line.points] for line in told(s).lines}

    assert lines == {"Available": [0, 3, 2, 1, 1], "left: Mug": [1, 1], "right: Mug": [2, 1, 1]}


# ---------------------------------------------------------------- on a page


def test_the_pages_tell_it_all(_sqlite_database: Database, tmp_path: Path) -> None:
    hub = hub_on(_sqlite_database, tmp_path)
    shop = open_shop(hub)
    shop.person("ada@tea.example")
    warehouse = Warehouse(hub.database, hub.keyring, shop.merchant_id)
    here, mug = warehouse.connect("tea", live=True), warehouse.sku("MUG", 1)
    warehouse.listing(here, "mug", mug)
    warehouse.hear(here, an_order(a_line(1), id="1"))
    warehouse.hear(here, an_order(a_line(1), id="2"))
    browser = Browser(create_app(hub)).sign_in("ada@tea.example")
    short = warehouse.row(t.sales_order, t.sales_order.c.number == "#2")

    page = browser.get(f"/stock/{mug}/explain")
    answer = words(page)
    assert page.status_code == 200
    assert "Order #2 (tea) could not be given 1 unit: it waits." in answer
    assert "1 on hand, 1 allocated: 0 free" in answer
    assert 'role="img"' in page.text and "The same as a table" in answer
    assert f"/orders/{short.id}/oversell" in page.text

    answer = words(browser.get(f"/orders/{short.id}/oversell"))
    assert "1 unit of MUG in order #2 was sold and not there." in answer
    assert "order #1" in answer

    assert browser.get(f"/stock/{uuid4()}/explain").status_code == 404
    assert browser.get(f"/orders/{uuid4()}/oversell").status_code == 404
    _sqlite_database.close()


def test_another_merchants_stock_is_not_explained(warehouse: Warehouse) -> None:
    mug = warehouse.sku("MUG", 1)

    with warehouse.database.read() as connection:
        assert story.stock(connection, new_id(), mug, at=warehouse.now()) is None


def test_every_cause_is_on_the_page_for_merchants() -> None:
    page = (Path(__file__).parents[2] / "docs" / "merchants" / "stock.md").read_text()
    section = page.partition("## Why did it oversell")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(Why)


# ---------------------------------------------------------------- on the command line

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, on a hub with two orders for one mug."""
    own = {"TALLYHUB_DATA_DIR": str(tmp_path / "hub"), "TALLYHUB_REDIS_URL": "none"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(own)
    database = Database(settings.database_url, pooled=False)
    migrate.upgrade(database)
    merchant = _merchant(database, "Corner Shop")
    warehouse = Warehouse(database, KeyRing(settings.secret_keys), merchant)
    shop = warehouse.connect("tea", live=True)
    warehouse.listing(shop, "mug", warehouse.sku("MUG", 1))
    orders: list[Order] = [an_order(a_line(1), id=number) for number in ("1", "2")]
    warehouse.hear(shop, *orders)
    other = Warehouse(database, warehouse.keyring, _merchant(database, "Market Hall"))
    warehouse.sku("TEE"), other.sku("TEE")
    database.close()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "70"})

    return invoke


def _merchant(database: Database, name: str) -> UUID:
    merchant = new_id()
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(insert(t.merchant).values(id=merchant, name=name, created_at=now))
    return merchant


def test_the_command_tells_the_story_of_a_sku(run: Run) -> None:
    result = run("explain", "stock", "MUG")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("MUG: MUG\n  Main warehouse: 1 on hand, 1 allocated, 0 available")
    assert "Order #2 (tea) could not be given 1 unit: it waits." in " ".join(result.output.split())
    assert max(map(len, result.output.splitlines())) <= 70


def test_the_command_tells_it_as_json(run: Run) -> None:
    found = json.loads(run("explain", "stock", "MUG", "--json", "--since", "2026-01-01").output)

    assert sorted(found) == [
        "at", "balances", "cut", "happenings", "lines", "made_of", "shops", "since", "sku", "sku_id", "title",
        "waiting",
    ]  # fmt: skip
    assert (found["sku"], found["since"], found["waiting"]) == ("MUG", "2026-01-01T00:00:00+00:00", 1)
    assert found["balances"] == [
        {
            "location": "Main warehouse", "on_hand": 1, "allocated": 1, "set_aside": 0, "incoming": 0,
            "safety_stock": 0, "entries": 2,
        }
    ]  # fmt: skip
    assert [each["kind"] for each in found["happenings"]] == ["moved", "moved", "short"]


def test_the_command_says_why_an_order_was_oversold(run: Run) -> None:
    result = run("explain", "oversell", "2")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 unit of MUG in order #2 was sold and not there.\n")
    found = json.loads(run("explain", "oversell", "#2", "--json").output)
    assert [line["verdict"] for line in found["lines"]] == ["oversold"]
    served = run("explain", "oversell", "1")
    assert served.output.startswith("Order #1 was not oversold. Every line has what it can have.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stock", "HAT"), "There is no SKU “HAT”. Write its code as the list of stock has it, or use its id."),
        (("stock", "TEE"), "Several merchants have a SKU “TEE”. Name one by its id: Corner Shop "),
        (("oversell", "999"), "There is no order “999”."),
    ],
    ids=["no such SKU", "two such SKUs", "no such order"],
)
def test_the_command_says_what_it_cannot_find(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("explain", *arguments)

    assert result.exit_code == 1
    assert said in result.output
