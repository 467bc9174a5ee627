"""Orders at a 3PL: asked for once, rejected, held, cancelled in every order of the race; and what has left it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.core.model import HoldReason, OrderStatus
from hub.core.shipping import CancelState, ProviderState, ShippedLine, Tracking, TrackingEvent, TrackingStatus
from hub.errors import BadInput, Conflict, Rejected, Unavailable, Unreadable
from hub.store import connections, effects, holds, locations, providers, tracking
from hub.store import tables as t
from hub.store.fulfillment import State
from tests.core.making import a_line
from tests.store.keeper import Keeper, KeeperConnector, lots
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def keeper(warehouse: Warehouse) -> Keeper:
    return Keeper(warehouse, mug=10, tee=10)


def cancelled(keeper: Keeper, id: str = "1", units: int = 2) -> None:
    """The shop cancels the order."""
    line = a_line(units, removed=units)
    keeper.hear(id, line, status=OrderStatus.CANCELLED, holds_stock=False)


# ---------------------------------------------------------------- asking


def test_an_order_is_asked_for_whole_and_once(keeper: Keeper) -> None:
    keeper.sell(("mug", 2), ("tee", 1))
    keeper.route()

    assert keeper.send() == ["submit succeeded"]
    (order,) = keeper.depot.taken
    assert [(line.reference, line.sku, line.quantity) for line in order.lines] == [("1", "MUG", 2), ("2", "TEE", 1)]
    assert (order.number, order.service, order.location_external_id) == ("#1", "standard", "leeds")
    assert order.destination.postcode == "YO1 7HH"
    row = keeper.work()[0]
    assert (row.state, row.external_id) == ("accepted", f"keeper of {order.reference}")
    assert row.requested_at is not None and row.accepted_at is not None
    keeper.sound()


def test_a_kit_is_asked_for_as_its_parts(keeper: Keeper) -> None:
    box = keeper.warehouse.kit("BOX", {keeper.skus["mug"]: 2, keeper.skus["tee"]: 1})
    keeper.warehouse.listing(keeper.channel, "box", box)
    keeper.sell(("tee", 1), ("box", 3))
    keeper.send()

    lines = [(line.reference, line.sku, line.quantity) for line in keeper.depot.taken[0].lines]
    assert lines == [("1", "TEE", 1), ("2.1", "MUG", 6), ("2.2", "TEE", 3)]


def test_a_service_is_called_as_the_3pl_calls_it(keeper: Keeper) -> None:
    with keeper.database.write() as connection:
        connection.execute(
            t.word_mapping.insert().values(
                merchant_id=keeper.merchant,
                connection_id=keeper.id,
                kind="service",
                word="Ground Saver",
                meaning="standard",
                changed_at=keeper.minute(0),
            )
        )
    keeper.sell(("mug", 1))
    keeper.send()
    assert keeper.depot.taken[0].service == "Ground Saver"


def test_a_channel_s_place_that_is_bound_to_the_same_location_is_no_3pl(keeper: Keeper) -> None:
    """The oldest connection with this location is the shop's: it is not asked to ship anything."""
    with keeper.database.write() as connection:
        place = t.channel_location.c
        connection.execute(
            t.channel_location.update().where(place.connection_id == keeper.channel).values(location_id=keeper.place)
        )
        found = providers.of_location(connection, keeper.merchant, keeper.place)
    assert found.connection_id == keeper.id


def test_an_answer_that_gets_lost_is_looked_up_and_the_order_is_there_once(keeper: Keeper) -> None:
    keeper.depot.after = [Unavailable("The connection broke off.", sent=True)]
    keeper.sell(("mug", 2))

    assert keeper.send() == ["submit planned", "submit succeeded"]
    assert (len(keeper.depot.taken), keeper.states) == (1, [State.ACCEPTED])


# ---------------------------------------------------------------- no


def test_what_is_refused_at_once_goes_to_another_place_and_cannot_be_sent_by_accident(keeper: Keeper) -> None:
    keeper.depot.before = [Rejected("No such street.")]
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    keeper.send()
    assert keeper.issues()["rejected_by_3pl"].endswith("No such street.")
    keeper.route()

    places = [row.location_id for row in keeper.work()]
    assert keeper.states == [State.REJECTED, State.OPEN]
    assert places == [keeper.place, keeper.warehouse.location()]
    assert keeper.send() == [] and keeper.depot.taken == []
    (effect,) = keeper.warehouse.rows(t.effect, t.effect.c.kind == "submit")
    with pytest.raises(Conflict):
        effects.retry(keeper.database, keeper.merchant, effect.id, OWNER)
    keeper.sound()


def test_what_is_rejected_later_goes_to_another_place(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    keeper.send()
    keeper.tell(ProviderState.REJECTED, message="Out of boxes.")
    keeper.route()

    assert keeper.states == [State.REJECTED, State.OPEN]
    assert keeper.work()[0].message == "Out of boxes."
    keeper.sound()


def test_a_rejected_order_is_sent_again_once_a_person_has_put_it_right(keeper: Keeper) -> None:
    keeper.depot.before = [Rejected("No such SKU.")]
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.route()
    assert keeper.states == [State.REJECTED]

    providers.send_again(keeper.database, keeper.merchant, keeper.work()[0].id, OWNER)
    keeper.route()

    assert keeper.send() == ["submit succeeded"]
    assert keeper.states == [State.CANCELLED, State.ACCEPTED]
    assert "rejected_by_3pl" not in keeper.issues()
    with pytest.raises(Conflict, match="only what was rejected"):
        providers.send_again(keeper.database, keeper.merchant, keeper.work()[1].id, OWNER)


def test_what_the_3pl_cancels_of_its_own_accord_is_not_given_to_it_again(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.tell(ProviderState.CANCELLED)
    keeper.route()

    assert keeper.states == [State.REJECTED]
    assert keeper.issues()["rejected_by_3pl"].endswith("cancelled")
    assert keeper.send() == []


def test_a_hold_of_the_3pl_is_an_issue_until_it_goes_on(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.tell(ProviderState.ON_HOLD, minute=1, message="Which mug?")
    assert "Which mug?" in keeper.issues()["held_by_3pl"]
    keeper.tell(ProviderState.IN_PROGRESS, minute=2)
    assert keeper.issues() == {}
    keeper.tell(ProviderState.ON_HOLD, minute=1, message="Which mug?")
    assert (keeper.issues(), keeper.states) == ({}, [State.IN_PROGRESS])


def test_facts_about_orders_of_another_connection_are_passed_over(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    other, mine = keeper.connect("keeper-2"), keeper.id
    keeper.id = other
    keeper.tell(ProviderState.REJECTED)
    with pytest.raises(Unreadable, match="which the hub has not sent to it"):
        keeper.ship(("MUG", 2), minute=1)
    keeper.id = mine
    assert keeper.states == [State.ACCEPTED]


# ---------------------------------------------------------------- cancelling


def test_what_is_cancelled_before_it_is_sent_is_never_sent(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    cancelled(keeper)

    assert keeper.send() == []
    assert (keeper.depot.taken, keeper.states) == ([], [State.CANCELLED])
    keeper.sound()


@pytest.mark.parametrize("moment", ["before it arrives", "instead of arriving", "when it has arrived"])
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "answer lost"])
@pytest.mark.parametrize("cancel_answered", [True, False], ids=["cancel answered", "cancel answer lost"])
def test_what_is_cancelled_while_it_is_being_sent_is_cancelled_there_or_never_arrives(
    keeper: Keeper, moment: str, answered: bool, cancel_answered: bool
) -> None:
    lost = Unavailable("The connection broke off.", sent=True)

    def cancel_now() -> None:
        cancelled(keeper)
        if moment == "instead of arriving" or (moment == "when it has arrived" and not answered):
            raise lost

    if moment == "when it has arrived":
        keeper.depot.after = [cancel_now]
    else:
        keeper.depot.before = [cancel_now]
        keeper.depot.after = [] if answered or moment == "instead of arriving" else [lost]
    keeper.depot.after += [] if cancel_answered else [lost]
    keeper.sell(("mug", 2))
    keeper.send()

    assert len(keeper.depot.taken) == (0 if moment == "instead of arriving" else 1)
    assert set(keeper.depot.cancelled) == {order.reference for order in keeper.depot.taken}
    assert keeper.states == [State.CANCELLED]
    assert keeper.there() == (10, 0, 0)
    keeper.sound()


@pytest.mark.parametrize("answer_lost", [False, True], ids=["answered", "answer lost"])
def test_what_is_cancelled_after_it_was_sent_is_cancelled_there(keeper: Keeper, answer_lost: bool) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    cancelled(keeper)
    assert keeper.states == [State.CANCELLING]
    keeper.depot.after = [Unavailable("The connection broke off.", sent=True)] if answer_lost else []
    keeper.send()

    assert keeper.states == [State.CANCELLED]
    assert set(keeper.depot.cancelled) == {keeper.reference}
    keeper.sound()


def test_too_late_is_an_issue_and_is_not_asked_again_and_again(keeper: Keeper) -> None:
    keeper.depot.says_to_cancelling = CancelState.REFUSED
    keeper.sell(("mug", 2))
    keeper.send()
    cancelled(keeper)
    keeper.send()
    assert keeper.states == [State.IN_PROGRESS]
    assert "all the same" in keeper.issues()["not_cancelled_by_3pl"]

    keeper.hear("1", a_line(2, removed=2), status=OrderStatus.CANCELLED, holds_stock=False, minutes=5, note="really")

    assert keeper.send() == []
    keeper.depot.says_to_cancelling = CancelState.CANCELLED
    providers.ask_to_cancel(keeper.database, keeper.merchant, keeper.work()[0].id, OWNER)
    assert keeper.send() == ["cancel succeeded"]
    assert (keeper.states, keeper.issues()) == ([State.REJECTED], {})


def test_an_answer_that_comes_later_ends_it(keeper: Keeper) -> None:
    keeper.depot.says_to_cancelling = CancelState.REQUESTED
    keeper.sell(("mug", 2))
    keeper.send()
    cancelled(keeper)
    keeper.send()
    assert (keeper.states, keeper.work()[0].cancel_state) == ([State.CANCELLING], "requested")

    keeper.answer(CancelState.CANCELLED)

    assert keeper.states == [State.CANCELLED]


def test_an_edit_takes_the_order_back_and_sends_what_is_left_of_it(keeper: Keeper) -> None:
    keeper.sell(("mug", 3))
    keeper.send()
    keeper.hear("1", a_line(1))
    keeper.send()
    keeper.route()
    keeper.send()

    assert [[line.quantity for line in order.lines] for order in keeper.depot.taken] == [[3], [1]]
    assert keeper.states == [State.CANCELLED, State.ACCEPTED]
    keeper.sound()


def test_what_is_cancelled_in_part_is_dealt_out_only_when_it_is_known_what_has_left(keeper: Keeper) -> None:
    keeper.depot.says_to_cancelling = CancelState.PARTLY
    keeper.sell(("mug", 5))
    keeper.send()
    keeper.hear("1", a_line(4))
    keeper.send()
    assert keeper.states == [State.CANCELLING]

    keeper.ship(("MUG", 3), minute=10)
    assert keeper.states == [State.CANCELLING]
    keeper.tell(ProviderState.PARTIALLY_SHIPPED, minute=10)
    keeper.route()
    keeper.send()

    assert keeper.states == [State.SHIPPED, State.ACCEPTED]
    assert [line.quantity for line in keeper.depot.taken[1].lines] == [1]
    keeper.sound()


def test_a_person_takes_an_order_back_and_another_place_ships_it(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    keeper.send()
    providers.ask_to_cancel(keeper.database, keeper.merchant, keeper.work()[0].id, OWNER)
    with pytest.raises(Conflict, match="already"):
        providers.ask_to_cancel(keeper.database, keeper.merchant, keeper.work()[0].id, OWNER)
    keeper.send()
    keeper.route()

    assert keeper.states == [State.REJECTED, State.OPEN]
    with pytest.raises(Conflict, match="no 3PL has it in hand"):
        providers.ask_to_cancel(keeper.database, keeper.merchant, keeper.work()[1].id, OWNER)


def test_what_is_cancelled_after_an_attempt_that_did_not_arrive_is_not_sent_again(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.depot.before = [Unavailable("?", sent=True)]
    keeper.send(most=1)
    cancelled(keeper)
    keeper.send()
    assert (keeper.states, keeper.depot.taken) == ([State.CANCELLED], [])


# ---------------------------------------------------------------- what has left


def test_a_shipment_takes_the_goods_out_and_tells_the_channel(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    lanes = keeper.ship(("MUG", 2), minute=10, tracking_numbers=("T-1", "T-2"), tracking_url="https://t.example/1")

    assert keeper.there() == (8, 0, 0)
    (told,) = keeper.confirmations()
    assert (told["carrier"], told["tracking_numbers"]) == ("royal_mail", ["T-1", "T-2"])
    assert told["lines"] == [{"line_external_id": "1", "quantity": 2}]
    assert (keeper.channel, "effects") in lanes
    parcels = sorted(keeper.warehouse.rows(t.parcel), key=lambda row: row.number)
    assert [(row.number, row.tracking_number) for row in parcels] == [(1, "T-1"), (2, "T-2")]
    assert (keeper.line().sent, keeper.line().shipped, keeper.states) == (2, 2, [State.SHIPPED])
    keeper.sound()


def test_parts_of_an_order_add_up_and_are_told_one_by_one(keeper: Keeper) -> None:
    keeper.sell(("mug", 3), ("tee", 1))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10, id="s-1")
    assert keeper.states == [State.ACCEPTED]
    keeper.ship(("MUG", 1), ("TEE", 1), minute=20, id="s-2")

    told = [[tuple(line.values()) for line in each["lines"]] for each in keeper.confirmations()]
    assert told == [[("1", 2)], [("1", 1), ("2", 1)]]
    assert keeper.states == [State.SHIPPED]
    keeper.sound()


def test_the_same_shipment_heard_twice_is_one_and_an_older_version_is_passed_over(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10, version=5)
    keeper.ship(("MUG", 2), minute=10, version=5)
    keeper.ship(("MUG", 1), minute=10, version=1)

    assert keeper.there() == (8, 0, 0)
    assert len(keeper.warehouse.rows(t.shipment)) == len(keeper.confirmations()) == 1


def test_lots_and_serial_numbers_are_kept(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    line = ShippedLine(sku="MUG", quantity=2, line_reference="1", lots=lots(("L-42", 2)), serial_numbers=("A", "B"))
    keeper.ship(line, minute=10)

    part = keeper.warehouse.row(t.shipped_part)
    assert (part.lots, part.serial_numbers) == ([{"number": "L-42", "quantity": 2}], ["A", "B"])
    assert keeper.warehouse.row(t.parcel_line).lots == [{"number": "L-42", "quantity": 2}]


def test_lines_are_known_by_our_reference_and_else_by_sku_over_the_lines_in_order(keeper: Keeper) -> None:
    keeper.sell(("mug", 1), ("mug", 2), ("tee", 1))
    keeper.send()
    keeper.ship(ShippedLine(sku="MUG", quantity=1, line_reference="2"), minute=10, id="s-1")
    keeper.ship(("MUG", 2), ShippedLine(sku="TEE", quantity=1, line_reference="1"), minute=20, id="s-2")

    sent = {row.external_id: row.sent for row in keeper.warehouse.rows(t.order_line)}
    assert sent == {"1": 1, "2": 2, "3": 1}
    keeper.sound()


def test_a_kit_has_left_when_all_of_its_parts_have(keeper: Keeper) -> None:
    box = keeper.warehouse.kit("BOX", {keeper.skus["mug"]: 2, keeper.skus["tee"]: 1})
    keeper.warehouse.listing(keeper.channel, "box", box)
    keeper.sell(("box", 2))
    keeper.send()

    keeper.ship(("MUG", 4), minute=10, id="s-1")
    assert (keeper.confirmations(), keeper.line().sent) == ([], 0)
    keeper.sound()
    keeper.count("MUG", 6, minute=15)  # they are off the shelf there
    keeper.ship(("TEE", 1), minute=20, id="s-2")
    keeper.sound()
    assert [told["lines"][0]["quantity"] for told in keeper.confirmations()] == [1]
    keeper.ship(("TEE", 1), minute=30, id="s-3")

    assert (keeper.line().sent, keeper.states) == (2, [State.SHIPPED])
    assert (keeper.there("mug"), keeper.there("tee")) == ((6, 0, 0), (8, 0, 0))
    keeper.sound()


def test_more_than_was_asked_for_has_left_all_the_same(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 3), minute=10)

    assert keeper.there() == (7, 0, 0)
    assert keeper.line().sent == 3
    keeper.sound()


def test_something_else_is_put_before_a_person(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), ("TEE", 1), minute=10)
    assert "1 × TEE" in keeper.issues()["3pl_shipped_something_else"]


def test_another_tracking_number_takes_the_place_of_the_first(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10, tracking_numbers=())
    keeper.ship(("MUG", 2), minute=10, version=5, tracking_numbers=("T-9",))

    assert keeper.there() == (8, 0, 0)
    rows = sorted(keeper.warehouse.rows(t.shipment), key=lambda row: row.id)
    assert [(row.state, row.tracking_numbers) for row in rows] == [("shipped", []), ("shipped", ["T-9"])]
    assert rows[1].supersedes_id == rows[0].id
    assert keeper.line().sent == 2
    keeper.sound()


def test_a_shipment_that_is_corrected_counts_as_it_is_told_last(keeper: Keeper) -> None:
    keeper.sell(("mug", 3))
    keeper.send()
    keeper.ship(("MUG", 3), minute=10)
    keeper.ship(("MUG", 1), minute=10, version=5)

    assert keeper.there() == (9, 2, 0)
    assert (keeper.line().sent, keeper.line().shipped) == (1, 1)
    assert keeper.work()[0].closed_at is None
    keeper.sound()


def test_a_shipment_that_did_not_leave_after_all_is_undone_and_the_channel_hears_nothing(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10)
    keeper.ship(("MUG", 2), minute=10, version=5, cancelled=True)

    assert keeper.there() == (10, 2, 0)
    assert (keeper.states, keeper.confirmations(), keeper.issues()) == ([State.IN_PROGRESS], [], {})
    keeper.sound()
    keeper.ship(("MUG", 2), minute=20, id="s-2")
    assert keeper.there() == (8, 0, 0)
    keeper.sound()


def test_where_the_channel_was_told_a_person_has_to_take_it_back_there(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10)
    with keeper.database.write() as connection:
        this = t.effect.c
        connection.execute(t.effect.update().where(this.kind == "confirm_shipment").values(state="succeeded"))
    keeper.ship(("MUG", 2), minute=10, version=5, cancelled=True)

    assert "the channel was told" in keeper.issues()["3pl_shipment_cancelled"]


def test_what_is_shipped_though_it_was_cancelled_is_gone_and_a_person_is_told(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    cancelled(keeper)
    keeper.send()
    keeper.ship(("MUG", 2), minute=10)

    assert keeper.there() == (8, 0, 0)
    assert "though it is cancelled" in keeper.issues()["3pl_shipped_all_the_same"]
    assert keeper.confirmations() == []
    keeper.sound()


def test_what_is_shipped_though_it_was_rejected_is_not_shipped_by_anybody_else(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    keeper.send()
    first = keeper.reference
    keeper.tell(ProviderState.REJECTED)
    keeper.route()
    keeper.ship(("MUG", 2), minute=10, reference=first)

    assert keeper.states == [State.SHIPPED, State.CANCELLED]
    assert len(keeper.confirmations()) == 1
    keeper.sound()


def test_a_shipment_that_is_faster_than_the_answer_is_believed(keeper: Keeper) -> None:
    keeper.depot.after = [Unavailable("The connection broke off.", sent=True)]
    keeper.sell(("mug", 2))
    keeper.send(most=1)
    keeper.ship(("MUG", 2), minute=10)
    closed = keeper.work()[0].closed_at

    assert keeper.send() == ["submit succeeded"]
    row = keeper.work()[0]
    assert (row.state, row.closed_at, len(keeper.depot.taken)) == ("shipped", closed, 1)
    assert row.external_id == f"keeper of {row.reference}"


def test_what_left_the_3pl_s_shelf_is_not_taken_from_another_place(keeper: Keeper) -> None:
    """The order's reservation lies elsewhere by now: it is given up, and nothing leaves that shelf."""
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    keeper.send()
    with keeper.database.write() as connection:
        held = t.allocation.c
        assert connection.execute(t.allocation.select().where(held.location_id == keeper.place)).one().quantity == 2
    keeper.ship(("MUG", 2), minute=10)

    assert keeper.there() == (8, 0, 0)
    assert keeper.there(place=keeper.warehouse.location()) == (5, 0, 0)


# ---------------------------------------------------------------- on the way


def test_its_tracking_is_kept_and_delivered_closes_the_order(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.ship(("MUG", 2), minute=10, tracking_numbers=("T-9",))
    arrived = TrackingEvent(status=TrackingStatus.DELIVERED, carrier_status="D", happened_at=keeper.minute(40))
    told = Tracking(tracking_number="T-9", status=TrackingStatus.DELIVERED, carrier_status="D", events=(arrived,))
    keeper.write(lambda connection, at: tracking.hear(connection, keeper.merchant, keeper.id, [told], at=at))

    row = keeper.warehouse.row(t.shipment)
    assert (row.tracking_status, row.delivered_at) == ("delivered", keeper.minute(40))
    assert keeper.states == [State.DELIVERED]


def test_an_order_that_is_held_before_it_is_sent_goes_when_it_is_released(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    order_id = keeper.warehouse.row(t.sales_order).id
    here = (keeper.database, keeper.merchant, order_id)
    holds.hold_order(*here, HoldReason.MANUAL, "Ask about the color.", OWNER)
    assert (keeper.send(), keeper.depot.taken) == ([], [])
    keeper.route()
    assert keeper.send() == []

    holds.release(*here, keeper.warehouse.row(t.order_hold).id, OWNER)
    keeper.route()

    assert keeper.send() == ["submit succeeded"]
    keeper.sound()


def test_what_a_3pl_was_not_asked_for_yet_goes_elsewhere_when_it_is_removed(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    here = (keeper.database, keeper.merchant, keeper.id, OWNER)
    connections.remove(*here, keyring=keeper.warehouse.keyring, connector=KeeperConnector)
    keeper.route()

    assert keeper.states[0] is State.CANCELLED
    assert keeper.work()[0].message == "The 3PL was removed."
    assert len(keeper.states) == 2


def test_a_3pl_that_is_removed_with_orders_in_hand_is_an_issue_that_names_them(keeper: Keeper) -> None:
    keeper.sell(("mug", 2))
    keeper.send()
    keeper.warehouse.count(keeper.skus["mug"], 5, keeper.warehouse.location())
    here = (keeper.database, keeper.merchant, keeper.id, OWNER)
    number = keeper.warehouse.row(t.sales_order).number

    connections.remove(*here, keyring=keeper.warehouse.keyring, connector=KeeperConnector)

    assert keeper.issues()["3pl_removed_with_orders"].endswith(f"was removed with 1 order in hand: {number}")
    assert len(keeper.states) == 1
    providers.ask_to_cancel(keeper.database, keeper.merchant, keeper.work()[0].id, OWNER)
    keeper.route()
    assert (keeper.states[0], len(keeper.states)) == (State.REJECTED, 2)
    keeper.sound()


def test_a_place_that_a_3pl_ships_from_stays_one_until_the_3pl_is_removed(keeper: Keeper) -> None:
    (place,) = keeper.warehouse.rows(t.location, t.location.c.kind == "3pl")
    with keeper.database.read() as connection:
        shown = locations.location(connection, keeper.merchant, place.id)
    assert shown is not None
    ours = replace(shown.location, kind="warehouse")

    with pytest.raises(BadInput, match="ships from here: it stays a 3PL's place") as refused:
        locations.save(keeper.database, keeper.merchant, place.id, ours, OWNER)

    assert list(refused.value.fields) == ["kind"]
    locations.save(keeper.database, keeper.merchant, place.id, replace(shown.location, priority=3), OWNER)
    here = (keeper.database, keeper.merchant, keeper.id, OWNER)
    connections.remove(*here, keyring=keeper.warehouse.keyring, connector=KeeperConnector)
    locations.save(keeper.database, keeper.merchant, place.id, ours, OWNER)
    assert keeper.warehouse.row(t.location, t.location.c.id == place.id).kind == "warehouse"
