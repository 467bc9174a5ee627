"""Orders are found by the beginnings of their words, the newest first; the words follow whatever changes an order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, insert

from hub.core.model import Address, ChannelShipment
from hub.store import forgetting, handling, searching
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.queries import orders
from hub.store.queries.orders import OrderFilter
from hub.store.secrets import KeyRing
from tests.core.making import a_line, minutes
from tests.store.bench import HOME, to_ship
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER, Warehouse

# ---------------------------------------------------------------- words


def of(**said: Any) -> list[str]:
    """The words of an order of which only this is known."""
    nothing: dict[str, Any] = dict.fromkeys(("number", "external_id", "customer_name", "email", "country"), "")
    nothing |= dict.fromkeys(("skus", "tracking_numbers", "tags"), ()) | {"placed_at": datetime.now(UTC)}
    return sorted(searching.Searchable(**nothing | said).words())


def test_each_part_of_an_order_has_its_words() -> None:
    assert of(number="#1001") == ["1001"]
    assert of(number="SO-2026/17") == ["17", "2026", "so-2026/17"]
    assert of(external_id="gid://shop/Order/55") == ["55", "gid://shop/order/55"]
    assert of(customer_name="Dr. Zoë O'Brien-Müller") == ["brien", "dr", "muller", "o'brien-muller", "zoe"]
    assert of(email="zoe.wood+tea@mail.example") == ["tea", "wood", "zoe.wood+tea@mail.example"]
    assert of(skus=("TEA-1 green", "MUG")) == ["1", "green", "mug", "tea-1"]
    assert of(tracking_numbers=("1Z 999-aa1",)) == ["1z999aa1"]
    assert of(tags=("VIP guest", "vip")) == ["#tag/vip", "#tag/vip guest", "guest", "vip"]
    assert of(country="DE") == ["#country/de"]


def test_a_word_that_another_begins_with_is_not_kept_twice() -> None:
    assert of(customer_name="Zoe Wood", email="zoe@wood.example", number="1001", external_id="1001-7") == [
        "1001-7",
        "7",
        "wood",
        "zoe@wood.example",
    ]


def test_an_order_without_a_date_has_no_words() -> None:
    assert of(number="1001", placed_at=None) == []


@pytest.mark.parametrize(
    ("typed", "looked_for"),
    [
        ("  #1001 ", ["1001"]),
        ("ZOË woo", ["woo", "zoe"]),
        ("Straße", ["strasse"]),
        ("ﬁn ＡＢＣ", ["abc", "fin"]),
        ("wo wood", ["wood"]),
        ("%", []),
        ("_ # & '' --", []),
        ("100% of it", ["100", "it", "of"]),
        ("a\x00b\x1f\u200bc", ["ab", "c"]),
        ("🎁 \U0010ffff", ["🎁"]),
        ("x" * 500, ["x" * 64]),
        ("a b c d e f g h i j", ["a", "b", "c", "d", "e", "f", "g", "h"]),
    ],
)
def test_what_is_typed_is_taken_apart_alike(typed: str, looked_for: list[str]) -> None:
    assert searching.typed_words(typed) == looked_for


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    folded = searching.fold(text)

    assert searching.fold(folded) == folded


@given(st.text(max_size=200))
def test_words_are_short_and_have_nothing_that_a_database_refuses(text: str) -> None:
    for word in of(customer_name=text, tags=(text,), skus=(text,), tracking_numbers=(text,)):
        assert 0 < len(word) <= searching.LONGEST
        assert "\x00" not in word
        assert word < searching._END
        word.encode()


@given(st.lists(st.text(alphabet="ab -.", max_size=8), max_size=4), st.text(alphabet="ab -.", max_size=8))
def test_dropping_beginnings_loses_nothing(said: list[str], typed: str) -> None:
    """However many words are left out, whatever begins one of them still finds the order."""
    every = {word for text in said for word in searching._with_pieces(text)}
    kept = of(skus=tuple(said))

    for beginning in searching._words(typed):
        assert any(word.startswith(beginning) for word in kept) == any(word.startswith(beginning) for word in every)


def test_an_order_of_a_thousand_lines_has_a_bounded_number_of_words() -> None:
    words = of(number="1001", skus=tuple(f"{number}-SKU" for number in range(1000)))

    assert 100 < len(words) <= searching.MOST_WORDS
    assert "1001" in words


def test_weeks_follow_time_whatever_time_it_is() -> None:
    assert [searching.week_of(datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 1970, 2026, 9999)] == [0, 0, 2922, 8000]


# ---------------------------------------------------------------- as orders change


@pytest.fixture
def shop(warehouse: Warehouse) -> UUID:
    warehouse.sku("MUG", 10)
    return warehouse.connect("amber")


def found(warehouse: Warehouse, text: str = "", **more: Any) -> list[str]:
    with warehouse.database.read() as connection:
        rows = orders.orders(connection, warehouse.merchant, OrderFilter(text=text, **more))
    return [row.number for row in rows]


def writes(database: Database) -> list[str]:
    """The statements that change words from now on."""
    said: list[str] = []

    def hear(*each: Any) -> None:
        if "order_word" in each[2] and not each[2].lstrip().upper().startswith("SELECT"):
            said.append(each[2])

    event.listen(database.engine, "before_cursor_execute", hear)
    return said


ZOE: dict[str, Any] = {"customer_name": "Zoë Wood", "email": "zoe@mail.example"}


def test_an_order_is_found_from_the_moment_it_is_stored(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, to_ship(a_line(1, sku="MUG-9"), id="7", **ZOE), to_ship(a_line(1), id="8"))

    for typed in ("7", "#7", "zo", "wood zoe", "ZOË@mail", "mug-9"):
        assert found(warehouse, typed) == ["#7"], typed
    assert found(warehouse, "oe") == [], "in the middle of a word"
    assert found(warehouse, "zoe 8") == [], "of two orders"
    assert sorted(found(warehouse, "%")) == ["#7", "#8"], "nothing that could be a word"


def test_an_edit_that_changes_its_words_changes_what_finds_it(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1, sku="OLD"), id="7", tags=("rush",), **ZOE)
    warehouse.hear(shop, order)
    sent = ChannelShipment(external_id="s", lines=(), tracking_numbers=("JD014",))
    other = replace(HOME, country="FR")
    warehouse.hear(
        shop,
        replace(
            order,
            version=minutes(5),
            customer_name="Ann Wood",
            email="",
            tags=("calm",),
            lines=(a_line(1, sku="NEW"),),
            shipments=(sent,),
            shipping_address=other,
        ),
    )

    assert [found(warehouse, gone) for gone in ("zoe", "old", "rush")] == [[], [], []]
    assert [found(warehouse, here) for here in ("ann wood", "new", "calm", "jd014")] == [["#7"]] * 4
    assert (found(warehouse, tag="rush"), found(warehouse, tag="CALM")) == ([], ["#7"])
    assert (found(warehouse, country="DE"), found(warehouse, country="FR")) == ([], ["#7"])
    warehouse.sound()


def test_an_edit_that_changes_no_word_writes_none(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1), id="7", **ZOE)
    warehouse.hear(shop, order)
    said = writes(warehouse.database)

    warehouse.hear(shop, replace(order, version=minutes(5), note="Ring twice", lines=(a_line(2),)))
    assert said == []

    warehouse.hear(shop, replace(order, version=minutes(6), customer_name="Ann"))
    assert len(said) == 2, "one DELETE, one INSERT"


def test_an_order_that_is_placed_at_another_time_is_listed_by_that(warehouse: Warehouse, shop: UUID) -> None:
    first, second = (to_ship(a_line(1), id=id, placed_at=minutes(int(id)), **ZOE) for id in "12")
    warehouse.hear(shop, first, second)
    assert found(warehouse, "zoe") == ["#2", "#1"]

    warehouse.hear(shop, replace(first, version=minutes(5), placed_at=minutes(20_000)))

    assert found(warehouse, "zoe") == ["#1", "#2"]
    warehouse.sound()


def test_own_tags_and_a_corrected_address_find_it_too(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1), id="7")
    warehouse.hear(shop, order)
    (order_id,) = (row.id for row in warehouse.rows(t.sales_order))
    handling.set_tags(warehouse.database, warehouse.merchant, order_id, ["Gift wrap"], OWNER)
    handling.correct_address(
        warehouse.database, warehouse.merchant, order_id, replace(HOME, country="AT", postcode="1010"), OWNER
    )

    assert found(warehouse, "wrap") == found(warehouse, tag="gift  WRAP") == found(warehouse, country="AT") == ["#7"]
    assert found(warehouse, tag="gift") == found(warehouse, country="DE") == []

    handling.set_tags(warehouse.database, warehouse.merchant, order_id, [], OWNER)
    moved = Address(name="Grace", line1="2 Quay", city="Bremen", postcode="28195", country="DE")
    warehouse.hear(shop, replace(order, version=minutes(5), shipping_address=moved))

    assert found(warehouse, "wrap") == found(warehouse, country="AT") == []
    assert found(warehouse, country="DE") == ["#7"], "the correction was dropped with the address it stood for"
    warehouse.sound()


def test_a_label_is_found_by_its_tracking_number(database: Database, keyring: KeyRing, merchant: UUID) -> None:
    counter = Counter(database, keyring, merchant)
    order_id, _, _ = counter.labelled()

    (order,) = counter.rows(t.sales_order, t.sales_order.c.id == order_id)
    assert found(counter, "gb10") == [order.number]
    counter.sound()


def test_forgetting_a_customer_leaves_no_word_of_theirs(warehouse: Warehouse, shop: UUID) -> None:
    order = to_ship(a_line(1, sku="MUG-9"), id="7", tags=("for zoe",), **ZOE)
    warehouse.hear(shop, order)
    (order_id,) = (row.id for row in warehouse.rows(t.sales_order))
    handling.set_tags(warehouse.database, warehouse.merchant, order_id, ["zoe again"], OWNER)

    with warehouse.database.write() as connection:
        forgetting.erase_orders(connection, warehouse.merchant, [order_id], at=warehouse.database.now(connection))

    left = ["7", "9", "mug-9"]
    assert sorted(row.word for row in warehouse.rows(t.order_word)) == left
    warehouse.hear(shop, replace(order, version=minutes(5), email="zoe@new.example"))
    assert sorted(row.word for row in warehouse.rows(t.order_word)) == left, "also when it comes in again"


# ---------------------------------------------------------------- reading, beside a naive reference


class Crowd:
    """Orders of three years that only have words, some of them rare, some common, some of one time alone."""

    def __init__(self, warehouse: Warehouse, shop: UUID, count: int) -> None:
        self.warehouse = warehouse
        chance = random.Random(count)
        self.orders: dict[UUID, tuple[datetime, str, bool, frozenset[str]]] = {}
        began = datetime(2023, 5, 1, tzinfo=UTC)
        rows = []
        for number in range(count):
            order_id, placed_at = new_id(), began + timedelta(hours=number // 2 * 30)
            status, paid = chance.choice(("open", "fulfilled")), chance.random() < 0.8
            searchable = searching.Searchable(
                placed_at=placed_at,
                number=f"#{1000 + number}",
                external_id=f"x{number}",
                customer_name=chance.choice(("Ann Wood", "Ánna Wolf", "Bo Wood", "Cy")),
                email="",
                skus=(),
                tracking_numbers=(),
                tags=("vip",) if number % 11 == 0 else (),
                country=chance.choice(("DE", "AT")),
            )
            self.orders[order_id] = placed_at, status, paid, searchable.words()
            self._insert(shop, order_id, searchable, status, paid)
            rows.append((order_id, searchable))
        with warehouse.database.write() as connection:
            searching.add(connection, warehouse.merchant, dict(rows))

    def _insert(self, shop: UUID, order_id: UUID, said: searching.Searchable, status: str, paid: bool) -> None:
        row = {"merchant_id": self.warehouse.merchant, "id": order_id, "connection_id": shop, "status": status}
        row |= {"external_id": said.external_id, "number": said.number, "placed_at": said.placed_at, "paid": paid}
        row |= dict.fromkeys(("received_at", "imported_at", "updated_at"), said.placed_at)
        with self.warehouse.database.write() as connection:
            connection.execute(insert(t.sales_order).values(shipping_address={}, billing_address={}, details={}, **row))

    def expected(self, wanted: OrderFilter) -> list[UUID]:
        """What fits, by looking at each order."""
        exact = [searching.tag_word(wanted.tag)] if wanted.tag else []
        exact += [searching.country_word(wanted.country)] if wanted.country else []
        fitting = [
            (placed_at, order_id)
            for order_id, (placed_at, status, paid, words) in self.orders.items()
            if all(any(word.startswith(each) for word in words) for each in searching.typed_words(wanted.text))
            and words.issuperset(exact)
            and wanted.status in ("", status)
            and wanted.paid in (None, paid)
            and (wanted.placed_from is None or placed_at >= wanted.placed_from)
            and (wanted.placed_to is None or placed_at < wanted.placed_to)
        ]
        return [order_id for _, order_id in sorted(fitting, reverse=True)]

    def read(self, wanted: OrderFilter, page: int) -> Iterator[UUID]:
        """What the list shows, page by page."""
        before = None
        while True:
            with self.warehouse.database.read() as connection:
                rows = orders.orders(connection, self.warehouse.merchant, wanted, before=before, limit=page)
            yield from (row.id for row in rows)
            if len(rows) < page:
                return
            before = rows[-1].placed_at, rows[-1].id


@pytest.mark.parametrize("few", [1, 3, 2000])
def test_every_way_of_reading_finds_what_looking_at_each_order_finds(
    warehouse: Warehouse, shop: UUID, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whatever counts as few of a week, so that each way is taken: by the conditions, all weeks at once, in spans."""
    monkeypatch.setattr(searching, "_A_WEEK", few)
    crowd = Crowd(warehouse, shop, 150)
    chance = random.Random(few)
    middle = datetime(2023, 8, 1, tzinfo=UTC)
    for _ in range(40):
        wanted = OrderFilter(
            text=" ".join(chance.sample(["a", "wo", "ann", "10", "109", "b", "#11", "x1", "zz"], chance.randrange(3))),
            tag=chance.choice(("", "", "VIP")),
            country=chance.choice(("", "", "DE")),
            status=chance.choice(("", "", "open")),
            paid=chance.choice((None, None, True)),
            placed_from=chance.choice((None, None, middle)),
            placed_to=chance.choice((None, None, middle + timedelta(days=20))),
        )

        expected = crowd.expected(wanted)

        assert list(crowd.read(wanted, 40)) == expected, wanted
        with warehouse.database.read() as connection:
            assert orders.order_ids(connection, warehouse.merchant, wanted, 7) == expected[:7], wanted
            _, count = orders.page(connection, warehouse.merchant, wanted, limit=10, most=20)
            assert count == min(20, len(expected)), wanted


def test_another_merchants_orders_are_never_found(warehouse: Warehouse, shop: UUID) -> None:
    warehouse.hear(shop, to_ship(a_line(1), id="7", **ZOE))

    with warehouse.database.read() as connection:
        assert orders.orders(connection, new_id(), OrderFilter(text="zoe")) == []


@pytest.mark.parametrize(
    "typed", ["\x00", "%", "_", "\\", "'; drop table order_word; --", "x" * 5000, "🎁", "\U0010ffff", "zoe\x00", "%oe"]
)
def test_whatever_is_typed_is_only_looked_for(warehouse: Warehouse, shop: UUID, typed: str) -> None:
    warehouse.hear(shop, to_ship(a_line(1), id="7", customer_name="Zoe Sample 🎁"))

    assert found(warehouse, typed) in ([], ["#7"])
    assert found(warehouse, "zoe") == ["#7"]
