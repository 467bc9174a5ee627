"""Nonsense entered about stock: refused with a sentence that says what to do, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from hub.core.stock import Condition
from hub.errors import BadInput, Conflict, HubError
from hub.store import tables as t
from hub.store import warehouse as house
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing
from tests.store.warehouse import OWNER, Warehouse

MOST = 1_000_000_000
NO_NUMBERS: tuple[Any, ...] = (
    *(True, False, None, -1, MOST + 1, 2**63, 1.0, 2.5, float("nan"), float("inf"), -float("inf")),
    *(Decimal(1), Decimal("1.5"), Decimal("NaN"), Fraction(1, 2), "3", "", "drei", b"3", [3]),
)


class Stockroom:
    """A warehouse with ten mugs, two of them damaged, and every act on them as a call of what is entered."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.mug, self.main, self.barn = warehouse.sku("MUG", 10), warehouse.location(), warehouse.location("Barn")
        self.here = (warehouse.database, warehouse.merchant)
        house.set_aside(*self.here, self.mug, self.main, 2, Condition.DAMAGED, "fell off", OWNER, "A-0")
        self.transfer, _ = house.send(*self.here, self.main, self.barn, {self.mug: 1}, "T-0", OWNER)

    def digest(self) -> str:
        return self.warehouse.digest(*t.metadata.sorted_tables)

    def acts(self, *, sku: UUID | None = None, place: UUID | None = None, reference: str = "N") -> dict[str, Any]:
        """What can be done with units of a SKU at a place, by name."""
        sku, place, here = sku or self.mug, place or self.main, self.here
        aside = (Condition.DAMAGED, "fell off", OWNER, reference)
        return {
            "adjust": lambda units: house.adjust(*here, sku, place, units, "counted", OWNER, reference),
            "receive": lambda units: house.receive(*here, place, {sku: units}, reference, OWNER),
            "count": lambda units: house.count(*here, place, {sku: units}, "counted", OWNER, reference),
            "send": lambda units: house.send(*here, place, self.barn, {sku: units}, reference, OWNER),
            "send to": lambda units: house.send(*here, self.barn, place, {sku: units}, reference, OWNER),
            "arrive": lambda units: house.arrive(*here, self.transfer, {sku: units}, OWNER),
            "set aside": lambda units: house.set_aside(*here, sku, place, units, *aside),
            "restore": lambda units: house.restore(*here, sku, place, units, *aside),
            "write off": lambda units: house.write_off(*here, sku, place, units, *aside),
            "safety stock": lambda units: house.set_safety_stock(*here, sku, place, units, OWNER),
        }


ACTS = ("adjust", "receive", "count", "send", "arrive", "set aside", "restore", "write off", "safety stock")
NOUGHT_IS_A_NUMBER = {"adjust", "count", "safety stock"}


@pytest.fixture
def stockroom(database: Database, keyring: KeyRing, merchant: UUID) -> Stockroom:
    return Stockroom(Warehouse(database, keyring, merchant))


def refusal(act: Callable[[Any], Any], units: Any) -> HubError:
    with pytest.raises((BadInput, Conflict)) as refused:
        act(units)
    said = str(refused.value)
    assert said[0].isupper() or said[0].isdigit(), said
    assert said.endswith("."), said
    return refused.value


@pytest.mark.parametrize("name", ACTS)
def test_what_is_no_number_of_units_is_refused(stockroom: Stockroom, name: str) -> None:
    act, before = stockroom.acts()[name], stockroom.digest()

    for units in NO_NUMBERS if name in NOUGHT_IS_A_NUMBER else (0, *NO_NUMBERS):
        error = refusal(act, units)
        assert "whole number" in str(error), f"{units!r}: {error}"
        assert isinstance(error, BadInput)
        assert error.fields

    assert stockroom.digest() == before


def test_a_number_too_many_is_refused_for_the_sum_of_all_locations(stockroom: Stockroom) -> None:
    acts, before = stockroom.acts(), stockroom.digest()

    for name, units in (("receive", MOST - 9), ("receive", MOST), ("adjust", MOST), ("count", MOST)):
        assert "the hub counts to 1,000,000,000" in str(refusal(acts[name], units)), name
    assert stockroom.digest() == before

    acts["receive"](MOST - 10)
    stockroom.warehouse.sound()


def test_what_does_not_exist_or_is_another_merchants_is_refused(stockroom: Stockroom, keyring: KeyRing) -> None:
    theirs = Warehouse(stockroom.warehouse.database, keyring, new_id())
    with theirs.database.write() as connection:
        now = theirs.database.now(connection)
        connection.execute(t.merchant.insert().values(id=theirs.merchant, name="Other", created_at=now))
    their_sku, their_place = theirs.sku("MUG", 10), theirs.location()
    before = stockroom.digest()

    for wrong in ({"sku": new_id()}, {"sku": their_sku}, {"place": new_id()}, {"place": their_place}):
        for name, act in stockroom.acts(**wrong).items():
            if name == "arrive" and "place" in wrong:
                continue  # where it arrives is on its paper
            assert "does not exist" in str(refusal(act, 1)), (name, wrong)
    with pytest.raises(BadInput, match="This transfer does not exist"):
        house.arrive(theirs.database, theirs.merchant, stockroom.transfer, {their_sku: 1}, OWNER)
    with pytest.raises(BadInput, match="This transfer does not exist"):
        house.close_transfer(theirs.database, theirs.merchant, stockroom.transfer, OWNER)

    assert stockroom.digest() == before


@pytest.mark.parametrize(
    "reference", ["", "   ", "x" * 101, "a\nb", "\x00"], ids=["none", "blank", "long", "lines", "nul"]
)
def test_a_paper_without_a_reference_that_can_be_kept_is_refused(stockroom: Stockroom, reference: str) -> None:
    before = stockroom.digest()

    for name, act in stockroom.acts(reference=reference).items():
        if name not in ("arrive", "safety stock"):
            assert "reference of at most 100 characters" in str(refusal(act, 1)), name

    assert stockroom.digest() == before


def test_every_paper_is_entered_once(stockroom: Stockroom) -> None:
    for name, act in stockroom.acts().items():
        if name in ("arrive", "safety stock", "send to"):
            continue
        units = 8 if name in NOUGHT_IS_A_NUMBER else 1
        act(units)
        before = stockroom.digest()
        assert "entered already, on 2" in str(refusal(act, units)), name
        assert stockroom.digest() == before
    stockroom.warehouse.sound()


def test_a_reason_is_asked_for_where_stock_goes(stockroom: Stockroom) -> None:
    here, mug, place, before = stockroom.here, stockroom.mug, stockroom.main, stockroom.digest()

    for act in (house.set_aside, house.restore, house.write_off):
        with pytest.raises(BadInput) as refused:
            act(*here, mug, place, 1, Condition.DAMAGED, "  ", OWNER, "N")
        assert list(refused.value.fields) == ["reason"]

    assert stockroom.digest() == before


def test_a_paper_is_neither_empty_nor_endless(stockroom: Stockroom) -> None:
    here, before = stockroom.here, stockroom.digest()
    endless = {new_id(): 1 for _ in range(1001)}

    for lines, sentence in (
        ({}, "Enter at least one SKU with its units."),
        (endless, "at most 1,000 SKUs. Split this"),
    ):
        for enter in (
            lambda lines: house.receive(*here, stockroom.main, lines, "N", OWNER),
            lambda lines: house.count(*here, stockroom.main, lines, "counted", OWNER, "N"),
            lambda lines: house.send(*here, stockroom.main, stockroom.barn, lines, "N", OWNER),
            lambda lines: house.arrive(*here, stockroom.transfer, lines, OWNER),
        ):
            assert sentence in str(refusal(enter, lines))

    assert stockroom.digest() == before


def test_a_wrong_line_among_many_leaves_all_out(stockroom: Stockroom) -> None:
    tee = stockroom.warehouse.sku("TEE", 5)
    before, here = stockroom.digest(), stockroom.here

    for act in (
        lambda units: house.receive(*here, stockroom.main, {tee: 1, stockroom.mug: units}, "N", OWNER),
        lambda units: house.count(*here, stockroom.main, {tee: 1, stockroom.mug: units}, "counted", OWNER, "N"),
        lambda units: house.send(*here, stockroom.main, stockroom.barn, {tee: 1, stockroom.mug: units}, "N", OWNER),
        lambda units: house.arrive(*here, stockroom.transfer, {stockroom.mug: 1, tee: units}, OWNER),
    ):
        for units in (-1, MOST + 1, "x"):
            refusal(act, units)
    refusal(lambda _: house.send(*here, stockroom.main, stockroom.barn, {tee: 1, stockroom.mug: 8}, "N", OWNER), 0)

    assert stockroom.digest() == before
