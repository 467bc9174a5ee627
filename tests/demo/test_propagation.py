"""How long a sale took to reach the other shop: which write counts as having told of it."""

from __future__ import annotations

from hub.demo.books import propagation
from hub.testing.simulator import Sale, StockWrite


def sale(at: float, units: int = 1, sku: str = "MUG") -> Sale:
    return Sale(f"order-{at}", ((sku, units),), at)


def write(at: float, quantity: int, sku: str = "MUG") -> StockWrite:
    return StockWrite(at, sku, quantity)


def measured(here: list[Sale], there: list[Sale], *, to_there: list[StockWrite], opening: int = 10) -> list[float]:
    """Shop "here" and shop "there"; nothing is ever written to "here"."""
    told = propagation({"MUG": opening, "BOWL": opening}, [here, there], [[], to_there])
    assert told.keys() <= {(0, 1)}
    return [round(each, 3) for each in told.get((0, 1), [])]


def test_a_sale_is_told_by_the_write_that_follows_it() -> None:
    assert measured([sale(1.0)], [], to_there=[write(1.2, 9)]) == [0.2]


def test_a_write_before_the_sale_tells_nothing_of_it() -> None:
    assert measured([sale(1.0)], [], to_there=[write(0.9, 9), write(1.5, 9)]) == [0.5]


def test_a_later_write_that_does_not_know_of_the_sale_does_not_count() -> None:
    first, second = sale(1.0), sale(1.1)
    assert measured([first, second], [], to_there=[write(1.2, 9), write(1.4, 8)]) == [0.2, 0.3]


def test_one_write_may_tell_of_several_sales() -> None:
    assert measured([sale(1.0), sale(1.1), sale(1.2)], [], to_there=[write(1.5, 7)]) == [0.3, 0.4, 0.5]


def test_what_the_other_shop_sold_itself_is_not_mistaken_for_news() -> None:
    # There, one mug was sold at 0.5. A write of 9 says no more than that; 8 tells of the sale here as well.
    there = [sale(0.5)]
    assert measured([sale(1.0)], there, to_there=[write(1.1, 9), write(1.3, 8)]) == [0.3]


def test_a_write_that_overlooks_a_sale_of_the_other_shop_does_not_count() -> None:
    # At 1.2 the hub writes 9 although, with the sale there at 1.1, 8 are left: nothing tells of the sale here yet.
    assert measured([sale(1.0)], [sale(1.1)], to_there=[write(1.2, 9), write(1.6, 8)]) == [0.6]


def test_a_sale_that_needed_no_write_is_not_measured() -> None:
    assert measured([sale(1.0)], [sale(0.5, units=10)], to_there=[]) == []


def test_nothing_left_tells_of_every_sale_however_many_were_too_many() -> None:
    assert measured([sale(1.0, units=7)], [sale(1.1, units=7)], to_there=[write(1.4, 0)]) == [0.4]


def test_every_sku_is_followed_by_itself() -> None:
    basket = Sale("order", (("BOWL", 2), ("MUG", 1)), 1.0)
    assert measured([basket], [], to_there=[write(1.2, 9), write(1.7, 8, "BOWL")]) == [0.2, 0.7]


def test_every_other_shop_is_told() -> None:
    told = propagation({"MUG": 10}, [[sale(1.0)], [], []], [[], [write(1.25, 9)], [write(1.5, 9)]])
    assert told == {(0, 1): [0.25], (0, 2): [0.5]}


def test_a_sku_without_a_known_opening_is_not_followed() -> None:
    assert propagation({"BOWL": 10}, [[sale(1.0)], []], [[], [write(1.2, 9)]]) == {}


def test_both_directions_are_measured() -> None:
    told = propagation({"MUG": 10}, [[sale(1.0)], [sale(2.0)]], [[write(2.5, 8)], [write(1.25, 9)]])
    assert told == {(0, 1): [0.25], (1, 0): [0.5]}
