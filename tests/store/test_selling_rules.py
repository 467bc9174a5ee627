"""Selling rules in the database: which one holds, what saving one publishes again, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hub.core.selling import SellingRule
from hub.errors import BadInput
from hub.store import connections, publications, selling
from hub.store import tables as t
from hub.store.database import new_id
from hub.store.selling import Scope
from tests.core.making import a_line, an_order
from tests.statements import statements
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def shops(warehouse: Warehouse) -> dict[str, UUID]:
    """Two live shops that sell the mug, ten of them; the first also sells the tee."""
    found = {"amber": warehouse.connect("amber", live=True), "blue": warehouse.connect("blue", live=True)}
    mug, tee = warehouse.sku("MUG"), warehouse.sku("TEE")
    found |= {"MUG": mug, "TEE": tee}
    for shop, external_id, sku_id in (("amber", "mug", mug), ("amber", "tee", tee), ("blue", "mug", mug)):
        found[f"{shop} {external_id}"] = warehouse.listing(found[shop], external_id, sku_id)
    for sku_id in (mug, tee):
        warehouse.count(sku_id, 10)
    settle(warehouse)
    return found


def settle(warehouse: Warehouse) -> None:
    """Everything was told."""
    with warehouse.database.write() as connection:
        connection.execute(update(t.publication).values(published_version=t.publication.c.version))


def save(warehouse: Warehouse, scope: Scope | None = None, **rule: Any) -> set[UUID]:
    return selling.save_rule(warehouse.database, warehouse.merchant, scope or Scope(), SellingRule(**rule), OWNER)


def dirty(warehouse: Warehouse, shops: dict[str, UUID]) -> set[str]:
    """The listings that are to be published again, each for the rule."""
    names = {row_id: name for name, row_id in shops.items()}
    rows = [row for row in warehouse.rows(t.publication) if row.version > row.published_version]
    assert all(row.cause["cause"] == "rule" for row in rows)
    return {names[row.listing_id] for row in rows}


def figures(warehouse: Warehouse, sku_id: UUID) -> list[int | None]:
    with warehouse.database.read() as connection:
        said = publications.preview(connection, warehouse.merchant, sku_id)
    return [each.figure.quantity if each.figure else None for each in said]


# ---------------------------------------------------------------- which rule holds


def test_the_narrowest_rule_wins_field_by_field(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    amber, mug, listing = shops["amber"], shops["MUG"], shops["amber mug"]
    save(warehouse, buffer_units=1, stop_at=1, maximum=1, backorder_limit=1, buffer_percent=1)
    save(warehouse, Scope(connection_id=amber), stop_at=2, maximum=2, backorder_limit=2, buffer_percent=2)
    save(warehouse, Scope(sku_id=mug), maximum=3, backorder_limit=3, buffer_percent=3)
    save(warehouse, Scope(connection_id=amber, sku_id=mug), backorder_limit=4, buffer_percent=4)
    save(warehouse, Scope(listing_id=listing), buffer_percent=5)

    for wanted in (None, [(amber, mug, listing), (shops["blue"], shops["TEE"], new_id())]):
        with warehouse.database.read() as connection:
            rules = selling.rules(connection, warehouse.merchant, wanted)
        assert rules.of(amber, mug, listing) == SellingRule(
            buffer_units=1, stop_at=2, maximum=3, backorder_limit=4, buffer_percent=5
        )
        assert rules.of(shops["blue"], shops["TEE"], new_id()) == SellingRule(
            buffer_units=1, stop_at=1, maximum=1, backorder_limit=1, buffer_percent=1
        )


def test_there_is_one_rule_of_each_scope_and_an_empty_one_takes_it_away(
    warehouse: Warehouse, shops: dict[str, UUID]
) -> None:
    scope = Scope(sku_id=shops["MUG"])
    save(warehouse, scope, maximum=5, stop_at=1)
    save(warehouse, scope, maximum=4)

    row = warehouse.row(t.selling_rule)
    assert (row.maximum, row.stop_at, row.changed_by) == (4, None, OWNER)

    save(warehouse, scope)
    assert warehouse.rows(t.selling_rule) == []


# ---------------------------------------------------------------- what is published again


@pytest.mark.parametrize(
    ("scope", "changed"),
    [
        (lambda shops: Scope(), {"amber mug", "amber tee", "blue mug"}),
        (lambda shops: Scope(connection_id=shops["amber"]), {"amber mug", "amber tee"}),
        (lambda shops: Scope(sku_id=shops["MUG"]), {"amber mug", "blue mug"}),
        (lambda shops: Scope(connection_id=shops["blue"], sku_id=shops["MUG"]), {"blue mug"}),
        (lambda shops: Scope(listing_id=shops["amber tee"]), {"amber tee"}),
    ],
    ids=["everything", "connection", "sku", "sku on a connection", "listing"],
)
def test_a_rule_publishes_what_it_is_about_and_nothing_else(
    warehouse: Warehouse, shops: dict[str, UUID], scope: Callable[[dict[str, UUID]], Scope], changed: set[str]
) -> None:
    touched = save(warehouse, scope(shops), maximum=5)

    assert dirty(warehouse, shops) == changed
    assert touched == {shops[name.split()[0]] for name in changed}


def test_what_a_narrower_rule_says_already_is_left_alone(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, Scope(connection_id=shops["amber"], sku_id=shops["MUG"]), maximum=5)
    settle(warehouse)

    save(warehouse, Scope(sku_id=shops["MUG"]), maximum=5)
    assert dirty(warehouse, shops) == {"blue mug"}

    settle(warehouse)
    assert save(warehouse, Scope(sku_id=shops["MUG"]), maximum=5) == set(), "saving the same again changes nothing"
    assert dirty(warehouse, shops) == set()
    assert len(warehouse.rows(t.activity, t.activity.c.kind == "selling_rule_saved")) == 2


def test_taking_a_rule_away_publishes_as_well(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, Scope(sku_id=shops["TEE"]), maximum=5)
    settle(warehouse)

    assert save(warehouse, Scope(sku_id=shops["TEE"])) == {shops["amber"]}
    assert dirty(warehouse, shops) == {"amber tee"}


def test_a_share_changes_what_the_other_channels_see(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, Scope(connection_id=shops["amber"]), share_percent=60)
    assert dirty(warehouse, shops) == {"amber mug", "amber tee"}, "blue has no share and sees everything"
    assert figures(warehouse, shops["MUG"]) == [6, 10]

    settle(warehouse)
    save(warehouse, Scope(connection_id=shops["blue"]), share_percent=60)
    assert figures(warehouse, shops["MUG"]) == [5, 5], "more than everything is shared in proportion"
    assert dirty(warehouse, shops) == {"amber mug", "blue mug"}
    assert figures(warehouse, shops["TEE"]) == [6]


def test_a_channel_that_is_new_takes_its_share_from_the_others(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, share_percent=50)
    later = warehouse.connect("cyan")
    warehouse.listing(later, "mug", shops["MUG"])
    settle(warehouse)
    assert figures(warehouse, shops["MUG"])[:2] == [5, 5]

    touched = connections.go_live(warehouse.database, warehouse.merchant, later, OWNER)

    assert touched == {shops["amber"], shops["blue"], later}
    assert figures(warehouse, shops["MUG"]) == [4, 3, 3]


def test_one_merchants_rule_says_nothing_for_another(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, maximum=1)
    with warehouse.database.read() as connection:
        assert selling.rules(connection, new_id()).by_scope == {}


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("buffer_units", -1),
        ("stop_at", 1.5),
        ("maximum", math.nan),
        ("backorder_limit", math.inf),
        ("buffer_units", True),
        ("stop_at", "5"),
        ("maximum", 1_000_000_001),
        ("backorder_limit", 10**30),
    ],
)
def test_a_number_of_units_that_cannot_be_is_refused_with_a_sentence(
    warehouse: Warehouse, name: str, value: Any
) -> None:
    with pytest.raises(BadInput, match=r"must be a whole number from 0 to 1,000,000,000, or empty\.") as refused:
        save(warehouse, **{name: value})

    assert list(refused.value.fields) == [name]
    assert warehouse.rows(t.selling_rule) == []


@pytest.mark.parametrize("name", ["buffer_percent", "share_percent"])
@pytest.mark.parametrize("value", [-1, 101, 0.5])
def test_a_percentage_that_cannot_be_is_refused(warehouse: Warehouse, name: str, value: Any) -> None:
    with pytest.raises(BadInput, match="must be a whole number from 0 to 100, or empty"):
        save(warehouse, **{name: value})


def test_a_share_of_a_listing_and_a_rule_about_two_things_are_refused(
    warehouse: Warehouse, shops: dict[str, UUID]
) -> None:
    with pytest.raises(BadInput, match="shared between channels, not listings"):
        save(warehouse, Scope(listing_id=shops["amber mug"]), share_percent=50)
    with pytest.raises(BadInput, match="not about both"):
        save(warehouse, Scope(listing_id=shops["amber mug"], sku_id=shops["MUG"]), maximum=5)


@pytest.mark.parametrize("name", ["connection_id", "sku_id", "listing_id"])
def test_a_rule_about_what_does_not_exist_is_refused(warehouse: Warehouse, name: str) -> None:
    with pytest.raises(BadInput, match="does not exist any more"):
        save(warehouse, Scope(**{name: new_id()}), maximum=5)
    assert warehouse.rows(t.selling_rule) == []


# ---------------------------------------------------------------- backorders


def test_whoever_waits_leaves_less_to_be_sold_at_every_channel(warehouse: Warehouse, shops: dict[str, UUID]) -> None:
    save(warehouse, backorder_limit=4)
    assert figures(warehouse, shops["MUG"]) == [14, 14]
    warehouse.hear(shops["amber"], an_order(a_line(listing="mug", quantity=10), id="1"))
    assert figures(warehouse, shops["MUG"]) == [4, 4]
    settle(warehouse)

    warehouse.hear(shops["amber"], an_order(a_line(listing="mug", quantity=3), id="2"))

    assert figures(warehouse, shops["MUG"]) == [1, 1]
    waiting = [row for row in warehouse.rows(t.publication) if row.version > row.published_version]
    assert {row.listing_id for row in waiting} == {shops["amber mug"], shops["blue mug"]}
    assert {row.cause["cause"] for row in waiting} == {"waiting"}


def test_who_waits_where_backorders_are_not_sold_concerns_the_shop_of_the_order_alone(
    warehouse: Warehouse, shops: dict[str, UUID]
) -> None:
    warehouse.hear(shops["amber"], an_order(a_line(listing="mug", quantity=10), id="1"))
    settle(warehouse)

    warehouse.hear(shops["amber"], an_order(a_line(listing="mug", quantity=3), id="2"))

    # It has taken the units off its own figure; the others see no less than before.
    due = [row.listing_id for row in warehouse.rows(t.publication) if row.version > row.published_version]
    assert due == [shops["amber mug"]]


# ---------------------------------------------------------------- how it is read


def test_a_batch_of_figures_takes_as_many_statements_as_one(warehouse: Warehouse) -> None:
    shop, other = warehouse.connect("amber", live=True), warehouse.connect("blue", live=True)
    skus = [warehouse.sku(f"SKU-{number}", 5) for number in range(12)]
    for number, sku_id in enumerate(skus):
        for each in (shop, other):
            warehouse.listing(each, f"item-{number}", sku_id)
    save(warehouse, share_percent=50, backorder_limit=2)
    with warehouse.database.write() as connection:
        publications.ensure(connection, warehouse.merchant, at=warehouse.database.now(connection))

    def found_with(limit: int) -> tuple[int, int]:
        """(listings found, statements it took)."""
        with warehouse.database.read() as connection:
            at = warehouse.database.now(connection)
            with statements(warehouse.database) as sent:
                found = publications.due(
                    connection, warehouse.merchant, shop, at=at, limits=publications.Limits(), limit=limit
                )
        return len(found), len(sent)

    (few, of_few), (many, of_many) = found_with(2), found_with(12)
    assert (few, many) == (2, 12)
    assert of_few - 1 <= of_many <= of_few, "a full batch is not looked for twice"
