"""Orders of one customer go in one parcel with one label; whatever takes one out, nothing is paid or sent wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.core.model import Address, HoldReason
from hub.core.rates import Answer, ShippedWhen, ShippingPolicy
from hub.core.shipping import TrackingStatus, VoidState
from hub.errors import BadInput, Conflict, Rejected, Unavailable
from hub.store import forgetting, handling, holds, labels, locking, packing, policies, shipments, together
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.core.making import a_line, an_order
from tests.statements import plans, statements
from tests.store.post_office import YORK, Counter, a_rate
from tests.store.test_buying_labels import at_once
from tests.store.warehouse import OWNER

NOON = datetime(2030, 3, 2, 12, 0, tzinfo=UTC)
ROME = Address(name="Ada Byron", line1="Via Po 1", city="Roma", postcode="00198", country="IT")


class Table(Counter):
    """A counter at which orders are packed by scanning."""

    def to_pack(self, units: int = 2, **more: Any) -> tuple[UUID, UUID]:
        """An order of mugs for Ada, and what Leeds is to ship of it."""
        order_id = self.order(units, **{"customer_name": "Ada Byron", "email": "ada@example.com"} | more)
        return order_id, self.deal_out(order_id, units)

    def lines(self, lead_id: UUID) -> list[packing.TableLine]:
        """What is packed on the table of a fulfillment order."""
        with self.database.read() as connection:
            works = together.members(connection, self.merchant, lead_id)
            return list(packing.lines_of(connection, works, lead_id).values())

    def offered(self, work_id: UUID) -> list[UUID]:
        with self.database.read() as connection:
            return together.fitting(connection, self.work(work_id))

    def join(self, lead: UUID, *others: UUID) -> None:
        together.join(self.database, self.merchant, lead, others, OWNER)

    def scan(self, work_id: UUID, times: int = 1) -> list[str]:
        return [packing.scan(self.database, self.merchant, work_id, uuid4(), "MUG", OWNER).said for _ in range(times)]

    def finish(self, work_id: UUID) -> UUID:
        packing.weigh(self.database, self.merchant, work_id, 1, None, 900, OWNER)
        shipment_id, lanes = packing.finish(self.database, self.merchant, work_id, OWNER)
        assert lanes == [(self.shop, "ship")]
        return shipment_id

    def together(self, *units: int) -> tuple[list[UUID], list[UUID], UUID]:
        """Orders of so many mugs, packed into one parcel: their ids, their fulfillment orders, and the shipment."""
        made = [self.to_pack(each) for each in units]
        works = [work_id for _, work_id in made]
        self.join(*works)
        self.scan(works[0], sum(units))
        return [order_id for order_id, _ in made], works, self.finish(works[0])

    def states(self, works: Sequence[UUID]) -> list[str]:  # type: ignore[override]
        return [self.work(work_id).state for work_id in works]

    def said(self, work_id: UUID) -> str:
        return str(self.work(work_id).message)

    def ask_for_label(self, shipment_id: UUID) -> None:
        self.buy(shipment_id)
        self.settle()


@pytest.fixture
def table(database: Database, keyring: KeyRing, merchant: UUID) -> Table:
    """A shop with twenty mugs, and a post office."""
    return Table(database, keyring, merchant, 20)


# ---------------------------------------------------------------- what is offered


def test_orders_of_one_customer_to_one_address_are_offered_however_it_is_spelled(table: Table) -> None:
    _, first = table.to_pack()
    shouted = replace(YORK, line1="7, MILL LANE", city="York ", postcode="yo17hh")
    _, second = table.to_pack(address=shouted, email="", customer_name="ADA BYRON")
    _, third = table.to_pack(customer_name="A. Byron", email="Ada@Example.com")

    assert table.offered(first) == [second, third]


def test_nothing_is_offered_that_goes_elsewhere_is_begun_held_or_not_hers(table: Table) -> None:
    _, first = table.to_pack()
    table.to_pack(address=replace(YORK, line1="8 Mill Lane"))
    table.to_pack(customer_name="Bob", email="bob@example.com")
    held, _ = table.to_pack()
    holds.hold_order(table.database, table.merchant, held, HoldReason.MANUAL, "Wait", OWNER)
    _, begun = table.to_pack()
    table.scan(begun)
    gone, _ = table.to_pack()
    table.cancel(gone)
    _, elsewhere = table.to_pack()
    barn = table.location("Barn")
    with table.database.write() as connection:
        connection.execute(t.fulfillment_order.update().where(_is(elsewhere)).values(location_id=barn))

    assert table.offered(first) == []
    for other in (begun, first):
        with pytest.raises(Conflict, match="Only orders of one customer to one address"):
            table.join(first, other)


def _is(work_id: UUID) -> Any:
    return t.fulfillment_order.c.id == work_id


# ---------------------------------------------------------------- the whole way


def test_two_orders_go_in_one_parcel_with_one_label_and_each_shop_is_told_its_own_lines(table: Table) -> None:
    (first, second), works, shipment_id = table.together(2, 1)
    assert table.states(works) == ["packed", "packed"]
    assert [(row.number, row.weight_grams) for row in table.rows(t.parcel)] == [(1, 900)]
    assert sorted(row.quantity for row in table.rows(t.parcel_line)) == [1, 2]

    table.ask_for_label(shipment_id)
    assert table.post.charged == [table.shipment(shipment_id).reference]
    table.act(shipments.hand_over, shipment_id, actor=OWNER)
    table.settle()

    assert table.states(works) == ["shipped", "shipped"]
    assert table.level(table.mug) == (17, 0)
    assert [(table.line_of(each).sent, table.line_of(each).shipped) for each in (first, second)] == [(2, 2), (1, 1)]
    # Which shipment is told first does not matter.
    told = {each.order_external_id: each for each in table.channel.told}
    assert sorted((len(each.lines), each.lines[0].quantity, each.tracking_numbers) for each in told.values()) == [
        (1, 1, ("GB10",)),
        (1, 2, ("GB10",)),
    ]
    assert len({each.reference for each in told.values()}) == len(table.channel.told) == 2
    (along,) = table.rows(t.shipment_companion)
    assert {along.channel_reference, table.shipment(shipment_id).channel_reference} == {
        "fulfillment-1",
        "fulfillment-2",
    }
    ledger = table.rows(t.stock_entry, t.stock_entry.c.cause == "shipped")
    assert sorted(row.reference.partition("/")[0] for row in ledger) == sorted([str(first), str(second)])

    table.hear_tracking("GB10", TrackingStatus.DELIVERED, NOON)
    assert table.states(works) == ["delivered", "delivered"]
    table.sound()


def test_orders_of_two_shops_are_told_to_two_shops(table: Table) -> None:
    other = table.connect("Other shop")
    table.listing(other, "mug", table.mug)
    _, first = table.to_pack(2)
    more = {"customer_name": "Ada Byron", "email": "ada@example.com", "id": "900"}
    table.hear(other, an_order(a_line(1), shipping_address=YORK, **more))
    order = table.row(t.sales_order, t.sales_order.c.connection_id == other)
    second = table.deal_out(order.id, 1)
    table.join(first, second)
    table.scan(first, 3)
    shipment_id = table.finish(first)
    table.ask_for_label(shipment_id)

    table.act(shipments.hand_over, shipment_id, actor=OWNER)

    told = table.rows(t.effect, t.effect.c.kind == "confirm_shipment")
    assert {(row.connection_id, row.order_id, row.request["lines"][0]["quantity"]) for row in told} == {
        (table.shop, table.work(first).order_id, 2),
        (other, order.id, 1),
    }


def test_where_a_label_counts_as_shipped_all_of_them_are(table: Table) -> None:
    policy = ShippingPolicy(shipped_when=ShippedWhen.LABEL)
    policies.save_shipping(table.database, table.merchant, policy, OWNER)
    _, works, shipment_id = table.together(1, 1, 1)

    table.ask_for_label(shipment_id)

    assert (table.states(works), len(table.channel.told)) == (["shipped"] * 3, 3)


def test_the_promise_to_the_one_who_waits_least_is_kept(table: Table) -> None:
    soon = NOON + timedelta(days=1)
    _, first = table.to_pack(1)
    _, second = table.to_pack(1, promised_at=soon)
    table.join(first, second)
    table.scan(first, 2)
    shipment_id = table.finish(first)
    slow, fast = a_rate("3.00", "slow", deliver_by=soon + timedelta(days=3)), a_rate("9.00", "fast", deliver_by=soon)

    chosen = table.act(labels.keep_answers, shipment_id, [Answer(connection="c", account="Post", rates=(slow, fast))])

    assert chosen.offer.rate.service == "fast"


def test_another_label_for_what_has_left_is_told_to_both_with_what_it_replaces(table: Table) -> None:
    _, works, shipment_id = table.together(2, 1)
    table.ask_for_label(shipment_id)
    table.act(shipments.hand_over, shipment_id, actor=OWNER)
    table.settle()

    again = table.act(labels.replace_label, shipment_id, actor=OWNER)
    table.ask_for_label(again)

    assert table.level(table.mug) == (17, 0)
    assert [(each.tracking_numbers, bool(each.supersedes)) for each in table.channel.told[2:]] == [
        (("GB20",), True)
    ] * 2
    assert {each.supersedes for each in table.channel.told[2:]} == {"fulfillment-1", "fulfillment-2"}
    assert (table.post.paid, table.states(works)) == (1, ["shipped", "shipped"])
    back = table.act(labels.return_label, again, actor=OWNER)
    held = table.rows(t.shipment_companion, t.shipment_companion.c.shipment_id == back)
    assert [row.fulfillment_order_id for row in held] == works[1:]
    assert len({row.reference for row in table.rows(t.shipment_companion)}) == 3
    table.sound()


def test_goods_of_all_orders_are_declared_in_one_currency(table: Table) -> None:
    with table.database.write() as connection:
        values = {"weight_grams": 300, "origin_country": "CN", "hs_code": "6912.00"}
        connection.execute(t.listing.update().values(**values))
    _, first = table.to_pack(2, address=ROME)
    dollars, second = table.to_pack(1, address=ROME)
    table.join(first, second)
    table.scan(first, 3)
    shipment_id = table.finish(first)

    def declared() -> Any:
        with table.database.read() as connection:
            customs = labels.to_carry(connection, table.shipment(shipment_id)).customs
        assert customs is not None
        return [item.quantity for item in customs.items]

    assert declared() == [2, 1]
    with table.database.write() as connection:
        connection.execute(t.sales_order.update().where(t.sales_order.c.id == dollars).values(currency="USD"))
    with pytest.raises(BadInput, match="different currencies"):
        declared()


# ---------------------------------------------------------------- on the table


def test_units_of_all_orders_are_counted_on_one_table_and_the_slip_of_each_leads_to_it(table: Table) -> None:
    _, first = table.to_pack(1)
    _, second = table.to_pack(2)
    table.join(first, second)

    assert [each.partition(":")[2] for each in table.scan(first, 4)] == [
        " 1 of 1. Complete.",
        " 1 of 2.",
        " 2 of 2. Complete.",
        " all 1 of “mug” are packed. Take this one out.",
    ]
    with table.database.read() as connection:
        slip = table.work(second).reference
        assert packing.find_order(connection, table.merchant, slip) == first
        own = packing.on_table(connection, table.work(second))
    assert [(each.quantity, each.on_table) for each in own] == [(2, 2)]
    with pytest.raises(Conflict, match="packed together with another order"):
        table.scan(second)
    with pytest.raises(Conflict, match="is packed together with another order itself"):
        table.join(second, table.to_pack(1)[1])
    with pytest.raises(Conflict, match="Take those out first"):
        packing.split(table.database, table.merchant, first, {own[0].id: 1}, OWNER)


def test_orders_that_are_packed_together_go_whole(table: Table) -> None:
    _, first = table.to_pack(1)
    _, second = table.to_pack(2)
    table.join(first, second)
    table.scan(first, 2)
    packing.weigh(table.database, table.merchant, first, 1, None, 900, OWNER)

    with pytest.raises(BadInput, match="go whole"):
        packing.finish(table.database, table.merchant, first, OWNER, rest_later=True)
    assert table.rows(t.shipment) == []


@pytest.mark.parametrize("when", ["on the table", "packed", "refused by the carrier", "given back"])
def test_until_there_is_a_label_an_order_is_taken_out_again(table: Table, when: str) -> None:
    _, first = table.to_pack(2)
    _, second = table.to_pack(1)
    table.join(first, second)
    table.scan(first, 3)
    if when != "on the table":
        shipment_id = table.finish(first)
    if when == "given back":
        table.ask_for_label(shipment_id)
        with pytest.raises(Conflict, match="has a label together with other orders"):
            together.take_apart(table.database, table.merchant, second, OWNER)
        table.act(labels.give_back, shipment_id, actor=OWNER)
        table.settle()
    if when == "refused by the carrier":
        table.post.faults = [("before", Rejected("No."))]
        table.ask_for_label(shipment_id)

    together.take_apart(table.database, table.merchant, second, OWNER)

    assert table.states([first, second]) == ["open", "open"]
    packed = [row.packed for row in table.rows(t.fulfillment_line)]
    assert sorted(packed) == ([0, 2] if when == "on the table" else [0, 0])
    assert [row.state for row in table.rows(t.shipment)] == ([] if when == "on the table" else ["void"])
    table.scan(first, 2 if when != "on the table" else 0)
    table.scan(second, 1)
    table.ask_for_label(table.finish(first))
    table.ask_for_label(table.finish(second))
    assert (table.post.paid, table.states([first, second])) == (2, ["packed", "packed"])
    table.sound()


def test_who_goes_along_is_looked_up_without_going_through_all_there_is_to_ship(table: Table) -> None:
    """A scanner waits for it, at every scan."""
    if not table.database.is_sqlite:
        return  # its plan depends on how much there is; SQLite's says what can be done at all
    with statements(table.database) as sent, table.database.read() as connection:
        assert together.members(connection, table.merchant, uuid4()) == []

    (works,) = (each for each in plans(table.database, sent) if "fulfillment_order" in each)
    assert works.endswith("(merchant_id=? AND id=?)")


# ---------------------------------------------------------------- what takes one of them out


def cancelled(table: Table, order_id: UUID) -> None:
    table.cancel(order_id)


def held(table: Table, order_id: UUID) -> None:
    holds.hold_order(table.database, table.merchant, order_id, HoldReason.FRAUD, "Odd", OWNER)


def edited(table: Table, order_id: UUID) -> None:
    table.again(order_id, 1, customer_name="Ada Byron", email="ada@example.com")


def moved(table: Table, order_id: UUID) -> None:
    address = replace(YORK, line1="9 Mill Lane")
    handling.correct_address(table.database, table.merchant, order_id, address, OWNER)


REASONS = {cancelled: "the order was cancelled", held: "is on hold", edited: "was changed", moved: "another address"}


@pytest.mark.parametrize("change", [cancelled, held, edited, moved], ids=lambda each: each.__name__)
@pytest.mark.parametrize("which", [0, 1], ids=["the leading one", "one along"])
@pytest.mark.parametrize("stage", ["on the table", "packed", "planned"])
def test_what_changes_before_the_label_takes_its_order_out_and_the_others_are_packed_again(
    table: Table, change: Any, which: int, stage: str
) -> None:
    made = [table.to_pack(2) for _ in range(3)]
    works = [work_id for _, work_id in made]
    table.join(*works)
    table.scan(works[0], 6)
    if stage != "on the table":
        shipment_id = table.finish(works[0])
        if stage == "planned":
            table.buy(shipment_id)

    change(table, made[which][0])
    table.settle()

    others = [work_id for work_id in works if work_id != works[which]]
    assert table.post.calls == []
    assert table.states(others) == ["open", "open"]
    assert table.states([works[which]]) == ["cancelled" if change is cancelled else "open"]
    if stage != "on the table":
        assert table.shipment(shipment_id).state == "void"
        assert all(REASONS[change] in table.said(work_id) or change is cancelled for work_id in others)
    lead = others[0]
    if which == 0:
        table.join(*others)
    left = packing_left(table, lead)
    table.scan(lead, left)
    table.ask_for_label(table.finish(lead))
    assert (len(table.post.charged), table.states(others)) == (1, ["packed", "packed"])
    inside = {row.order_line_id for row in last_parcel(table)}
    assert inside == {table.line_of(table.work(each).order_id).id for each in others}
    table.sound()


def test_an_address_that_is_changed_at_the_shop_takes_the_order_out_and_another_spelling_does_not(table: Table) -> None:
    made = [table.to_pack(1) for _ in range(2)]
    works = [work_id for _, work_id in made]
    table.join(*works)
    row = table.row(t.sales_order, t.sales_order.c.id == made[1][0])

    def told(address: Address, minutes: int) -> None:
        version = row.version + timedelta(minutes=minutes)
        table.hear(table.shop, an_order(a_line(1), id=row.external_id, version=version, shipping_address=address))

    told(replace(YORK, line1="7 MILL LANE"), 1)
    assert lead_of(table, works[1]) == works[0]
    told(replace(YORK, line1="9 Mill Lane"), 2)

    assert (lead_of(table, works[0]), lead_of(table, works[1])) == (None, None)
    assert table.said(works[0]).endswith("goes to another address now")


def packing_left(table: Table, lead: UUID) -> int:
    return sum(line.left for line in table.lines(lead))


def last_parcel(table: Table) -> list[Any]:
    newest = max(table.rows(t.parcel), key=lambda row: row.id)
    return table.rows(t.parcel_line, t.parcel_line.c.parcel_id == newest.id)


@pytest.mark.parametrize("which", [0, 1], ids=["the leading one", "one along"])
def test_a_cancellation_after_the_label_gives_it_back_and_the_other_order_is_packed_again(
    table: Table, which: int
) -> None:
    orders, works, shipment_id = table.together(2, 1)
    table.ask_for_label(shipment_id)

    table.cancel(orders[which])
    table.settle()

    assert (table.post.paid, table.shipment(shipment_id).state) == (0, "void")
    assert table.states([works[which], works[1 - which]]) == ["cancelled", "open"]
    rest = works[1 - which]
    table.scan(rest, packing_left(table, rest))
    table.ask_for_label(table.finish(rest))
    assert (table.post.paid, table.states([rest])) == (1, ["packed"])
    table.sound()


def test_a_hold_after_the_label_keeps_the_parcel_here_until_it_is_taken_off(table: Table) -> None:
    (_, second), works, shipment_id = table.together(2, 1)
    table.ask_for_label(shipment_id)
    held(table, second)

    with pytest.raises(Conflict, match="on hold"):
        table.act(shipments.hand_over, shipment_id, actor=OWNER)

    assert table.states(works) == ["packed", "packed"]
    hold = table.row(t.order_hold)
    handling.release(table.database, table.merchant, second, hold.id, OWNER)
    table.act(shipments.hand_over, shipment_id, actor=OWNER)
    assert table.states(works) == ["shipped", "shipped"]


def test_what_leaves_although_one_was_cancelled_leaves_the_stock_of_all_and_a_person_is_told(table: Table) -> None:
    (_, second), works, shipment_id = table.together(2, 1)
    table.ask_for_label(shipment_id)
    table.post.says = VoidState.REFUSED
    table.cancel(second)
    table.settle()

    table.hear_tracking("GB10", TrackingStatus.IN_TRANSIT, NOON)

    assert "left_though_withdrawn" in table.issues()
    assert table.level(table.mug) == (17, 0)
    assert table.work(works[0]).state == "shipped"


def test_parcels_of_which_an_order_was_taken_out_are_not_offered_again_as_they_were(table: Table) -> None:
    (_, second), _, shipment_id = table.together(2, 1)
    held(table, second)
    handling.release(table.database, table.merchant, second, table.row(t.order_hold).id, OWNER)

    with pytest.raises(Conflict, match="taken out of the parcels"):
        table.act(labels.offer_again, shipment_id, actor=OWNER)


def test_while_a_carrier_decides_about_the_old_label_what_was_packed_anew_stays_packed(table: Table) -> None:
    orders, works, _ = table.together(2, 2, 1)
    table.buy(table.row(t.shipment).id)
    table.settle()
    table.post.says = VoidState.REQUESTED
    table.cancel(orders[0])
    table.settle()
    for work_id in works[1:]:
        table.scan(work_id, packing_left(table, work_id))
        table.ask_for_label(table.finish(work_id))
    assert table.states(works) == ["cancelled", "packed", "packed"]

    edited(table, orders[1])
    table.settle()

    assert table.states(works) == ["cancelled", "open", "packed"], "the third has parcels and a label of its own"
    assert table.post.calls.count("void") == 2, "of the shared label once, and of the second one's own"
    table.sound()


def test_a_customer_who_is_forgotten_is_on_no_label_that_her_order_shared(table: Table) -> None:
    (_, second), _, shipment_id = table.together(2, 1)
    table.ask_for_label(shipment_id)

    table.act(forgetting.erase_orders, [second])

    row = table.shipment(shipment_id)
    assert (row.label, row.tracking_numbers, table.rows(t.document)) == (None, [], [])


# ---------------------------------------------------------------- races


@pytest.mark.parametrize("which", [0, 1], ids=["the leading one", "one along"])
@pytest.mark.parametrize("stage", ["before it is planned", "planned", "claimed", "bought"])
def test_in_every_order_of_cancel_and_buy_nothing_stays_paid_and_nothing_ships(
    table: Table, stage: str, which: int
) -> None:
    orders, works, shipment_id = table.together(2, 1)
    if stage != "before it is planned":
        table.buy(shipment_id)
    taken = table.claim() if stage in ("claimed", "bought") else None
    if stage == "bought" and taken is not None:
        table.run(taken)

    def buy() -> None:
        if stage == "before it is planned":
            table.buy(shipment_id)
        found = taken if stage == "claimed" else table.claim()
        if found is not None:
            table.run(found)

    at_once(buy, lambda: table.cancel(orders[which]))
    table.settle()

    assert (table.post.paid, len(table.post.charged) <= 1) == (0, True)
    assert (table.shipment(shipment_id).state, table.states([works[which]])) == ("void", ["cancelled"])
    assert table.states([works[1 - which]]) == ["open"]
    assert table.issues() == []
    table.sound()


def test_both_are_cancelled_while_the_label_is_bought(table: Table) -> None:
    orders, works, shipment_id = table.together(2, 1)
    table.buy(shipment_id)
    taken = table.claim()
    assert taken is not None

    at_once(lambda: table.run(taken), lambda: table.cancel(orders[0]), lambda: table.cancel(orders[1]))
    table.settle()

    assert (table.post.paid, table.states(works)) == (0, ["cancelled", "cancelled"])
    assert table.level(table.mug) == (20, 0)
    table.sound()


@pytest.mark.parametrize("stage", ["packed", "planned", "claimed"])
def test_whatever_happens_to_three_orders_at_once_no_label_covers_what_must_not_ship(table: Table, stage: str) -> None:
    orders, works, shipment_id = table.together(1, 1, 1)
    if stage != "packed":
        table.buy(shipment_id)
    taken = table.claim() if stage == "claimed" else None

    def buy() -> None:
        if stage == "packed":
            table.buy(shipment_id)
        found = taken or table.claim()
        if found is not None:
            table.run(found)

    at_once(
        buy,
        lambda: table.cancel(orders[0]),
        lambda: held(table, orders[1]),
        lambda: together.take_apart(table.database, table.merchant, works[2], OWNER),
    )
    table.settle()

    assert (table.post.paid, len(table.post.charged) <= 1) == (0, True)
    assert (table.shipment(shipment_id).state, table.states(works)) == ("void", ["cancelled", "open", "open"])
    handling.release(table.database, table.merchant, orders[1], table.row(t.order_hold).id, OWNER)
    for work_id in works[1:]:
        apart = lead_of(table, work_id)
        if apart in (None, work_id):
            table.scan(work_id, packing_left(table, work_id))
            table.ask_for_label(table.finish(work_id))
    assert table.states(works[1:]) == ["packed", "packed"]
    table.sound()


def lead_of(table: Table, work_id: UUID) -> UUID | None:
    with table.database.read() as connection:
        return together.lead_of(connection, table.merchant, work_id)


def test_an_order_joins_two_tables_at_once_and_is_on_one(table: Table) -> None:
    works = [table.to_pack(1)[1] for _ in range(3)]

    at_once(lambda: table.join(works[0], works[2]), lambda: table.join(works[1], works[2]))

    rows = table.rows(t.packed_together, t.packed_together.c.left_at.is_(None))
    assert len({row.lead_id for row in rows}) == 1
    assert len(rows) == 2


def test_a_cancellation_and_a_join_at_once_leave_nothing_cancelled_in_the_parcel(table: Table) -> None:
    order_id, second = table.to_pack(1)
    _, first = table.to_pack(2)

    at_once(lambda: table.join(first, second), lambda: table.cancel(order_id))

    assert table.states([first, second]) == ["open", "cancelled"]
    assert {line.fulfillment_order_id for line in table.lines(first)} == {first}
    table.sound()


def test_orders_that_share_a_parcel_are_locked_before_all_others_whoever_locks_several(table: Table) -> None:
    """As importing and dealing out do: in two sequences each could hold what the other one waits for."""
    if table.database.is_sqlite:
        return  # it has one lock
    alone = table.to_pack(1)[0]
    (first, second), _, _ = table.together(1, 1)
    assert alone < first

    with statements(table.database) as sent, table.database.write() as connection:
        locking.lock_orders(connection, table.merchant, [alone, first])

    taken = [list(parameters.values()) for statement, parameters in sent if "FOR NO KEY UPDATE" in statement]
    assert taken == [[table.merchant, first, second], [table.merchant, alone]]


def test_an_answer_that_was_lost_is_looked_up_and_one_label_is_paid_for_both(table: Table) -> None:
    _, works, shipment_id = table.together(2, 1)
    table.post.faults = [("after", Unavailable("No answer.", sent=True))]

    table.ask_for_label(shipment_id)

    assert (table.post.calls, table.post.paid) == (["buy", "find"], 1)
    assert (table.shipment(shipment_id).state, table.states(works)) == ("labelled", ["packed", "packed"])
