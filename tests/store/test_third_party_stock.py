"""What lies at a 3PL: its counts and our ledger, in whichever order the news of counts and shipments come in."""

from __future__ import annotations

import itertools
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import pytest

from hub.core.shipping import ProviderState
from hub.errors import BadInput, Conflict
from hub.store import connections, provider_stock
from hub.store import tables as t
from tests.store.keeper import Keeper, KeeperConnector, lots
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def keeper(warehouse: Warehouse) -> Keeper:
    return Keeper(warehouse, mug=10)


def test_the_first_count_starts_the_stock_there(keeper: Keeper) -> None:
    assert keeper.there() == (10, 0, 0)
    assert keeper.ledger() == [("adopted", 10)]
    keeper.sound()


def test_a_count_is_one_entry_with_the_record_as_its_reference(keeper: Keeper) -> None:
    keeper.count("MUG", 7, 5, minute=10)

    assert keeper.there() == (7, 0, 2)
    last = max(keeper.warehouse.rows(t.stock_entry), key=lambda row: row.number)
    assert (last.cause, last.on_hand_delta, last.quarantined_delta) == ("counted", -3, 2)
    assert (last.reference, last.happened_at) == ("record 2", keeper.minute(10))
    keeper.sound()


def test_an_older_count_and_the_same_once_more_change_nothing(keeper: Keeper) -> None:
    keeper.count("MUG", 7, minute=10)
    keeper.count("MUG", 9, minute=5)
    keeper.count("MUG", 7, minute=10)

    assert keeper.ledger() == [("adopted", 10), ("counted", -3)]


def test_what_is_on_its_way_there_and_promised_to_others_is_kept_and_moves_no_stock(keeper: Keeper) -> None:
    def told() -> tuple[int | None, int | None]:
        row = keeper.warehouse.row(t.provider_stock, t.provider_stock.c.name == "MUG")
        return row.inbound, row.reserved

    assert told() == (None, None)
    keeper.count("MUG", 10, 10, minute=10, inbound=40, reserved=3)
    assert (told(), keeper.there()) == ((40, 3), (10, 0, 0))

    keeper.count("MUG", 10, 10, minute=10, inbound=39, reserved=0)
    assert (told(), keeper.there()) == ((39, 0), (10, 0, 0))
    keeper.count("MUG", 10, 10, minute=11)
    assert told() == (None, None), "it does not say any more"
    assert keeper.ledger() == [("adopted", 10)]


def test_what_the_3pl_has_promised_for_our_own_orders_is_not_set_aside(keeper: Keeper) -> None:
    keeper.sell(("mug", 3))
    keeper.send()
    keeper.warehouse.let_pass(t.fulfillment_order, "accepted_at", timedelta(minutes=55))

    keeper.count("MUG", 10, 5, minute=10)  # three are promised, two are broken

    assert keeper.there() == (10, 3, 2)
    keeper.sound()


def test_what_it_did_not_know_of_when_it_counted_is_no_promise(keeper: Keeper) -> None:
    keeper.count("MUG", 10, 7, minute=10)
    keeper.sell(("mug", 3))
    keeper.send()
    keeper.count("MUG", 10, 7, minute=20)  # before it took the order

    assert keeper.there() == (10, 3, 3)


# ---------------------------------------------------------------- counts and shipments


@pytest.mark.parametrize("order", list(itertools.permutations(["early", "late", "count"])))
def test_in_whichever_order_they_are_heard_each_unit_leaves_once(keeper: Keeper, order: tuple[str, ...]) -> None:
    keeper.sell(("mug", 2), ("mug", 3))
    keeper.send()
    told = {
        "early": lambda: keeper.ship(("MUG", 2), minute=10, id="early"),
        "count": lambda: keeper.count("MUG", 8, minute=20),  # it has counted what is left after the first
        "late": lambda: keeper.ship(("MUG", 3), minute=30, id="late"),
    }
    for name in order:
        told[name]()
        keeper.sound()

    assert keeper.there() == (5, 0, 0)
    assert "3pl_stock_shrinks" not in keeper.issues()


def test_a_count_that_is_ahead_of_the_shipment_takes_nothing_from_the_order(keeper: Keeper) -> None:
    keeper.sell(("mug", 10))
    keeper.send()

    keeper.count("MUG", 0, minute=10)  # all have left, and nobody has told yet

    assert keeper.there() == (10, 10, 0)
    assert keeper.warehouse.waiting(keeper.skus["mug"]) == {}
    keeper.ship(("MUG", 10), minute=9)
    assert keeper.there() == (0, 0, 0)
    keeper.sound()


def test_the_shipments_are_asked_for_when_a_count_is_ahead_of_them(keeper: Keeper) -> None:
    keeper.sell(("mug", 10))
    keeper.send()
    keeper.warehouse.let_pass(t.cursor, "due_at", timedelta(days=-1))

    keeper.count("MUG", 0, minute=10)

    cursor = keeper.warehouse.row(t.cursor, t.cursor.c.connection_id == keeper.id, t.cursor.c.stream == "shipments")
    assert cursor.due_at <= keeper.warehouse.now()


def test_an_order_that_is_not_with_the_3pl_yet_loses_what_is_not_there(keeper: Keeper) -> None:
    keeper.sell(("mug", 8))

    keeper.count("MUG", 10, 1, minute=10)

    assert keeper.there() == (10, 8, 2)  # it is on its way: what it has reserved stays
    keeper.warehouse.rows(t.backorder)
    keeper.sound()


def test_goods_that_came_in_are_given_to_who_waits(keeper: Keeper) -> None:
    keeper.sell(("mug", 12))
    assert keeper.warehouse.waiting(keeper.skus["mug"]) == {"#1": 2}

    keeper.count("MUG", 30, minute=10)

    assert keeper.there()[1] == 12
    keeper.sound()


def test_losses_that_grow_are_put_before_a_person_and_one_alone_is_not(keeper: Keeper) -> None:
    keeper.count("MUG", 9, minute=10)
    assert keeper.issues() == {}
    keeper.count("MUG", 7, minute=20)

    assert "3 fewer of MUG" in keeper.issues()["3pl_stock_shrinks"]
    keeper.count("MUG", 10, minute=30)
    assert keeper.issues() == {}


def test_a_count_beyond_all_reason_is_refused(keeper: Keeper) -> None:
    with pytest.raises(ValueError, match="the hub counts to"):
        keeper.count("MUG", 2_000_000_000, minute=10)


def test_less_than_nothing_is_nothing(keeper: Keeper) -> None:
    keeper.count("MUG", -4, -4, minute=10)
    assert keeper.there() == (0, 0, 0)


# ---------------------------------------------------------------- corrections


def test_an_adjustment_counts_once(keeper: Keeper) -> None:
    keeper.adjust("MUG", -2, minute=10, reason="broken")
    keeper.adjust("MUG", -2, minute=10, reason="broken")

    assert keeper.ledger() == [("adopted", 10), ("adjusted", -2)]
    assert keeper.there() == (8, 0, 0)
    keeper.sound()


def test_an_adjustment_that_was_counted_since_is_in_the_count(keeper: Keeper) -> None:
    keeper.count("MUG", 8, minute=10)
    keeper.adjust("MUG", -2, minute=9)
    assert keeper.there() == (8, 0, 0)

    keeper.adjust("MUG", 4, minute=11, id="a-2")
    keeper.count("MUG", 8, minute=10.5)

    assert keeper.there() == (12, 0, 0)
    keeper.sound()


def test_an_adjustment_takes_no_more_than_there_is(keeper: Keeper) -> None:
    keeper.adjust("MUG", -99, minute=10)
    assert keeper.there() == (0, 0, 0)


# ---------------------------------------------------------------- names


def test_an_item_that_is_unknown_waits_for_its_sku_and_is_counted_then(keeper: Keeper) -> None:
    keeper.skus["tee"] = keeper.warehouse.sku("TEE")
    keeper.count("K-TEE-9", 6, 4, minute=10, item_external_id="item 9", lots=lots(("L1", 6)))
    assert "K-TEE-9" in keeper.issues()["unknown_3pl_item"]

    provider_stock.match(keeper.database, keeper.merchant, keeper.id, "K-TEE-9", "TEE", OWNER)

    assert (keeper.there("tee"), keeper.issues()) == ((6, 0, 2), {})
    keeper.warehouse.listing(keeper.channel, "tee", keeper.skus["tee"])
    keeper.sell(("tee", 1))
    keeper.send()
    (line,) = keeper.depot.taken[0].lines
    assert (line.sku, line.item_external_id, line.reference) == ("K-TEE-9", "item 9", "1")
    keeper.ship(("K-TEE-9", 1), minute=20)
    assert keeper.there("tee") == (5, 0, 2)
    assert keeper.warehouse.row(t.provider_stock, t.provider_stock.c.name == "K-TEE-9").lots[0]["number"] == "L1"
    keeper.sound()


def test_a_name_that_means_none_of_ours_is_not_asked_for_again(keeper: Keeper) -> None:
    keeper.count("PALLET", 3, minute=10)
    provider_stock.match(keeper.database, keeper.merchant, keeper.id, "PALLET", "", OWNER)
    keeper.count("PALLET", 4, minute=20)

    assert keeper.issues() == {}


def test_a_sku_that_comes_later_is_found_by_itself(keeper: Keeper) -> None:
    keeper.count("TEE", 3, minute=10)
    keeper.skus["tee"] = keeper.warehouse.sku("TEE")
    keeper.count("TEE", 4, minute=20)

    assert (keeper.there("tee"), keeper.issues()) == ((4, 0, 0), {})


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("X-1", "NOPE", "There is no SKU NOPE"),
        ("X-1", "BOX", "BOX is a kit"),
        ("", "MUG", "Enter what the 3PL calls it"),
    ],
)
def test_what_cannot_be_matched_is_refused_with_a_sentence(keeper: Keeper, name: str, code: str, said: str) -> None:
    keeper.warehouse.kit("BOX", {keeper.skus["mug"]: 2})
    with pytest.raises(BadInput, match=said):
        provider_stock.match(keeper.database, keeper.merchant, keeper.id, name, code, OWNER)


def test_a_sku_has_one_name_at_a_3pl(keeper: Keeper) -> None:
    with pytest.raises(Conflict, match="calls MUG “MUG” already"):
        provider_stock.match(keeper.database, keeper.merchant, keeper.id, "X-1", "MUG", OWNER)


# ---------------------------------------------------------------- places


def test_each_place_has_a_location_of_its_own_and_one_that_is_new_gets_one(keeper: Keeper) -> None:
    connections.reconnect(
        keeper.database,
        keeper.warehouse.keyring,
        keeper.merchant,
        keeper.id,
        KeeperConnector,
        {"shop": "keeper-1", "password": "s3same"},
        OWNER,
    )
    keeper.check(keeper.id, "keeper-1", ("leeds", "york"))

    places = keeper.warehouse.rows(t.location, t.location.c.kind == "3pl")
    assert sorted(row.name for row in places) == ["Keeper Leeds", "Keeper York"]
    assert keeper.places()[0] == keeper.place
    keeper.sound()


def test_two_3pls_of_one_name_have_locations_of_different_names(keeper: Keeper) -> None:
    keeper.connect("keeper-2")
    places = keeper.warehouse.rows(t.location, t.location.c.kind == "3pl")
    assert sorted(row.name for row in places) == ["Keeper Leeds", "Keeper Leeds (2)"]


def test_a_place_is_bound_to_a_location_of_a_3pl_that_no_other_keeps(keeper: Keeper) -> None:
    here = (keeper.database, keeper.merchant)
    with pytest.raises(Conflict, match="a place of your own"):
        connections.bind_location(*here, keeper.id, "leeds", keeper.warehouse.location(), OWNER)
    other = keeper.connect("keeper-2")
    with pytest.raises(Conflict, match="is kept by keeper-1 already"):
        connections.bind_location(*here, other, "leeds", keeper.place, OWNER)


def test_a_place_that_nobody_knows_is_asked_for(keeper: Keeper) -> None:
    keeper.count("MUG", 3, minute=10, place="mars")
    assert "mars" in keeper.issues()["unknown_3pl_place"]


def test_its_progress_moves_no_stock(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.tell(ProviderState.SHIPPED, minute=10)
    assert keeper.there() == (10, 2, 0)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_there_and_however_late_it_is_heard_the_shelves_agree_in_the_end(
    keeper: Keeper, seed: int
) -> None:
    """A 3PL that ships, finds, loses and counts; its news come in any order, and some of them twice."""
    random = Random(seed)
    keeper.count("MUG", 40, minute=1)
    references = []
    for _ in range(4):
        keeper.sell(("mug", random.randint(1, 4)))
        keeper.send()
        references.append(keeper.reference)
    asked = [each.lines[0].quantity for each in keeper.depot.taken]
    shelf, shipped = 40, 0
    news: list[Any] = []
    minutes = iter(range(2, 50))
    for number in random.sample(range(12), 12):
        minute = next(minutes)
        if number < 4:
            units = asked[number]
            shelf, shipped = shelf - units, shipped + units
            told = {"minute": minute, "id": f"s-{number}", "reference": references[number]}
            news.append(partial(keeper.ship, ("MUG", units), **told))
        elif number < 7:
            units = random.choice((-2, -1, 3))
            shelf += units
            news.append(partial(keeper.adjust, "MUG", units, minute=minute, id=f"a-{number}"))
        else:
            news.append(partial(keeper.count, "MUG", shelf, minute=minute))
    random.shuffle(news)
    for each in [*news, *random.sample(news, 3)]:
        each()

    assert keeper.there() == (shelf, sum(asked) - shipped, 0)
    keeper.sound()
