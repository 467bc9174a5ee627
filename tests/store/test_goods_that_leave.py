"""Goods that leave: stock, the channel and the customer learn of it once, whatever is told late, twice or at odds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.core.model import Address, OrderStatus
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.core.shipping import ContentsType, TrackingStatus
from hub.errors import BadInput, Conflict, Rejected
from hub.store import forgetting, labels, policies, shipments, withdrawals
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER

NOON = datetime(2030, 3, 2, 12, 0, tzinfo=UTC)
OUT = TrackingStatus.IN_TRANSIT
ROME = Address(name="Ada", line1="Via Po 1", city="Roma", postcode="00198", country="IT")


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: object) -> Counter:
    """A shop with ten mugs, and a post office."""
    return Counter(database, keyring, merchant)  # type: ignore[arg-type]


def test_what_is_handed_over_leaves_stock_and_the_channel_is_told_exactly_that(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.labelled(3)

    lanes = counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    counter.settle()

    assert (counter.shop, "effects") in lanes
    assert counter.level(counter.mug) == (7, 0)
    line = counter.line_of(order_id)
    assert (line.sent, line.shipped, line.fulfilled) == (3, 3, 0)
    (told,) = counter.channel.told
    assert [(each.line_external_id, each.quantity) for each in told.lines] == [("1", 3)]
    assert (told.carrier, told.tracking_numbers, told.supersedes) == ("royal_mail", ("GB10",), "")
    assert counter.shipment(shipment_id).channel_reference == "fulfillment-1"
    assert counter.work(work_id).state == "shipped"
    assert counter.row(t.fetch_request).kind == "order"
    counter.sound()


def test_an_import_that_does_not_know_of_it_yet_puts_nothing_back(counter: Counter) -> None:
    order_id, _, shipment_id = counter.labelled(2)
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)

    counter.again(order_id, 2)
    assert counter.level(counter.mug) == (8, 0)
    counter.again(order_id, 2, minutes=10, line={"fulfilled": 2}, status=OrderStatus.FULFILLED, holds_stock=False)

    assert counter.level(counter.mug) == (8, 0)
    assert counter.line_of(order_id).shipped == 2
    counter.sound()


def test_what_the_shop_shipped_itself_before_stays_gone_as_well(counter: Counter) -> None:
    order_id = counter.order(5)
    counter.again(order_id, 5, line={"fulfilled": 2})
    assert counter.level(counter.mug) == (8, 3)
    work_id = counter.deal_out(order_id, 3)
    shipment_id = counter.pack(work_id, 3)
    counter.buy(shipment_id)
    counter.settle()

    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    counter.again(order_id, 5, minutes=10, line={"fulfilled": 2})

    assert (counter.level(counter.mug), counter.line_of(order_id).sent) == ((5, 0), 5)
    counter.sound()


def test_handing_over_twice_is_handing_over_once(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)

    assert counter.act(shipments.hand_over, shipment_id, actor=OWNER) == []
    assert counter.level(counter.mug) == (8, 0)


def test_nothing_is_handed_over_for_an_order_on_hold_or_with_a_label_that_is_given_back(counter: Counter) -> None:
    held, _, first = counter.labelled()
    counter.hold(held)
    _, _, second = counter.labelled()
    counter.act(labels.give_back, second, actor=OWNER)

    with pytest.raises(Conflict, match="on hold"):
        counter.act(shipments.hand_over, first, actor=OWNER)
    with pytest.raises(Conflict, match="given back"):
        counter.act(shipments.hand_over, second, actor=OWNER)


def test_where_the_policy_says_so_goods_count_as_shipped_when_their_label_is_bought(counter: Counter) -> None:
    policy = ShippingPolicy(shipped_when=ShippedWhen.LABEL)
    policies.save_shipping(counter.database, counter.merchant, policy, OWNER)

    _, work_id, shipment_id = counter.labelled()

    assert (counter.shipment(shipment_id).state, counter.work(work_id).state) == ("shipped", "shipped")
    assert len(counter.channel.told) == 1


def test_a_part_leaves_and_the_rest_after_it(counter: Counter) -> None:
    order_id = counter.order(5)
    work_id = counter.deal_out(order_id, 5)
    for units, state in ((2, "open"), (3, "shipped")):
        shipment_id = counter.pack(work_id, units)
        counter.buy(shipment_id)
        counter.settle()
        counter.act(shipments.hand_over, shipment_id, actor=OWNER)
        assert counter.work(work_id).state == state
    counter.settle()

    assert [told.lines[0].quantity for told in counter.channel.told] == [2, 3]
    assert counter.level(counter.mug) == (5, 0)
    counter.sound()


def test_what_was_labelled_elsewhere_leaves_as_well(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()

    counter.act(labels.label_by_hand, shipment_id, "post_office", [" AB 1 ", ""], actor=OWNER)
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    counter.settle()

    assert (counter.channel.told[0].carrier, counter.channel.told[0].tracking_numbers) == ("post_office", ("AB 1",))
    assert counter.post.calls == []


# ---------------------------------------------------------------- the order changes meanwhile


def test_what_is_no_longer_wanted_after_a_part_has_left_closes_the_fulfillment_order(counter: Counter) -> None:
    order_id = counter.order(3)
    work_id = counter.deal_out(order_id, 3)
    shipment_id = counter.pack(work_id, 2)
    counter.buy(shipment_id)
    counter.settle()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)

    counter.again(order_id, 3, line={"removed": 1})

    assert counter.work(work_id).state == "shipped"
    assert (counter.row(t.fulfillment_line).quantity, counter.level(counter.mug)) == (2, (8, 0))
    counter.sound()


def test_a_parcel_that_leaves_although_it_was_withdrawn_leaves_stock_and_a_person_is_told(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.labelled(3)
    counter.again(order_id, 3, line={"removed": 1})
    assert counter.shipment(shipment_id).withdrawn_at is not None

    counter.hear_tracking("GB10", OUT, NOON)

    assert counter.shipment(shipment_id).state == "shipped"
    assert (counter.level(counter.mug)[0], counter.issues()) == (7, ["left_though_withdrawn"])
    assert (counter.row(t.fulfillment_line).shipped, counter.work(work_id).state) == (3, "shipped")


def test_an_order_that_somebody_else_shipped_gives_its_label_back(counter: Counter) -> None:
    order_id, work_id, _ = counter.labelled()

    counter.again(order_id, line={"fulfilled": 2}, status=OrderStatus.FULFILLED, holds_stock=False)
    counter.settle()

    assert (counter.post.paid, counter.work(work_id).state) == (0, "cancelled")
    assert "shipped by somebody else" in counter.work(work_id).message
    counter.sound()


def test_withdrawing_twice_asks_the_carrier_once(counter: Counter) -> None:
    order_id, _, _ = counter.labelled()
    counter.cancel(order_id)
    counter.act(withdrawals.keep_up, [order_id])
    counter.settle()

    assert counter.post.calls.count("void") == 1


# ---------------------------------------------------------------- another label


def test_a_new_label_for_what_has_left_gives_the_old_one_back_and_the_channel_is_told_anew(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    counter.settle()

    again = counter.act(labels.replace_label, shipment_id, actor=OWNER)
    with pytest.raises(Conflict, match="being replaced already"):
        counter.act(labels.replace_label, shipment_id, actor=OWNER)
    counter.buy(again)
    counter.settle()

    assert (counter.shipment(again).state, counter.shipment(shipment_id).state) == ("shipped", "void")
    assert (counter.post.voided, counter.level(counter.mug)) == (["label-1"], (8, 0))
    first, second = counter.channel.told
    assert (first.supersedes, second.supersedes, second.tracking_numbers) == ("", "fulfillment-1", ("GB20",))
    counter.sound()


def test_a_new_label_waits_with_telling_the_channel_until_its_id_of_the_old_one_is_known(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    again = counter.act(labels.replace_label, shipment_id, actor=OWNER)
    counter.buy(again)
    claimed = counter.claim()
    assert claimed is not None
    counter.run(claimed)
    assert [row.state for row in counter.rows(t.effect, t.effect.c.kind == "confirm_shipment")] == ["planned"]

    counter.settle()

    assert [told.supersedes for told in counter.channel.told] == ["", "fulfillment-1"]


def test_where_the_channel_would_not_hear_of_the_old_label_it_is_told_of_the_new_one_alone(counter: Counter) -> None:
    counter.channel.faults = [Rejected("Already shipped.")]
    _, _, shipment_id = counter.labelled()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    again = counter.act(labels.replace_label, shipment_id, actor=OWNER)
    counter.buy(again)
    counter.settle()

    assert [(told.supersedes, told.tracking_numbers) for told in counter.channel.told] == [("", ("GB20",))]


def test_a_return_label_brings_nothing_out_of_stock_and_tells_nobody(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.act(shipments.hand_over, shipment_id, actor=OWNER)
    back = counter.act(labels.return_label, shipment_id, actor=OWNER)
    counter.buy(back)
    counter.settle()
    counter.hear_tracking("GB20", OUT, NOON)

    assert (counter.shipment(back).state, counter.level(counter.mug)) == ("shipped", (8, 0))
    assert len(counter.channel.told) == 1
    with counter.database.read() as connection:
        carried = labels.to_carry(connection, counter.shipment(back))
    assert (carried.returning, carried.origin.city, carried.destination.city) == (True, "York", "Leeds")


# ---------------------------------------------------------------- on the way


def test_the_first_scan_means_that_it_has_left_and_delivered_closes_it(counter: Counter) -> None:
    _, work_id, shipment_id = counter.labelled()

    counter.hear_tracking("GB10", TrackingStatus.LABEL_CREATED, NOON)
    assert counter.shipment(shipment_id).state == "labelled"
    counter.hear_tracking("GB10", OUT, NOON + timedelta(hours=1), place="Leeds, GB")
    assert (counter.shipment(shipment_id).state, counter.level(counter.mug)) == ("shipped", (8, 0))
    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, NOON + timedelta(days=1))

    row = counter.shipment(shipment_id)
    assert (row.tracking_status, row.delivered_at, row.track_at) == ("delivered", NOON + timedelta(days=1), None)
    assert (counter.work(work_id).state, counter.row(t.sales_order).status) == ("delivered", "open")
    counter.sound()


def test_what_comes_late_or_twice_changes_nothing(counter: Counter) -> None:
    _, work_id, shipment_id = counter.labelled()
    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, NOON + timedelta(days=1))
    before = counter.digest(t.fulfillment_order, t.stock_entry, t.order_line, t.effect)
    events = len(counter.rows(t.tracking_event))

    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, NOON + timedelta(days=1))
    counter.hear_tracking("GB10", OUT, NOON)
    counter.hear_tracking("NOBODYS", OUT, NOON)

    assert counter.digest(t.fulfillment_order, t.stock_entry, t.order_line, t.effect) == before
    assert len(counter.rows(t.tracking_event)) == events + 1
    assert counter.shipment(shipment_id).tracking_status == "delivered"
    assert counter.work(work_id).state == "delivered"


def test_a_parcel_that_is_held_up_is_put_before_a_person_until_it_goes_on(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.hear_tracking("GB10", TrackingStatus.EXCEPTION, NOON, message="No such house number.")
    issue = counter.row(t.issue)
    assert (issue.kind, issue.link) == ("delivery_exception", f"/shipments/{shipment_id}")
    assert issue.title.endswith("No such house number.")

    counter.hear_tracking("GB10", OUT, NOON + timedelta(hours=1))

    assert counter.issues() == []


def test_a_shipment_of_two_parcels_has_arrived_when_both_have(counter: Counter) -> None:
    order_id = counter.order(2)
    work_id = counter.deal_out(order_id, 2)
    shipment_id = counter.pack(work_id, 1, 1)
    counter.buy(shipment_id)
    counter.settle()

    counter.hear_tracking("GB10", TrackingStatus.DELIVERED, NOON)
    counter.hear_tracking("GB11", TrackingStatus.OUT_FOR_DELIVERY, NOON)
    assert counter.shipment(shipment_id).tracking_status == "out_for_delivery"
    assert counter.work(work_id).state == "shipped"
    counter.hear_tracking("GB11", TrackingStatus.DELIVERED, NOON + timedelta(hours=1))

    assert counter.work(work_id).state == "delivered"


# ---------------------------------------------------------------- abroad


def test_goods_that_go_abroad_are_declared_line_by_line(counter: Counter) -> None:
    with counter.database.write() as connection:
        known = {"weight_grams": 350, "origin_country": "GB", "hs_code": "6912.00"}
        connection.execute(t.listing.update().values(**known))
    _, _, shipment_id = counter.packed(2, address=ROME)

    with counter.database.read() as connection:
        customs = labels.to_carry(connection, counter.shipment(shipment_id)).customs

    assert customs is not None and customs.contents is ContentsType.MERCHANDISE
    (item,) = customs.items
    assert (item.sku, item.quantity, str(item.unit_value), item.hs_code) == ("MUG", 2, "10.00 EUR", "6912.00")


def test_what_customs_must_know_and_nobody_entered_is_said_with_the_sku(counter: Counter) -> None:
    _, _, shipment_id = counter.packed(2, address=ROME)

    with (
        counter.database.read() as connection,
        pytest.raises(BadInput, match=r"MUG goes abroad, and the hub does not know its weight, its country of origin"),
    ):
        labels.to_carry(connection, counter.shipment(shipment_id))


# ---------------------------------------------------------------- a customer who is to be forgotten


def test_nothing_of_a_shipment_names_a_customer_who_is_forgotten(counter: Counter) -> None:
    quill = Address(name="Zenobia Quillfeather", line1="7 Mill Lane", city="York", postcode="YO1 7HH", country="GB")
    order_id, _, shipment_id = counter.packed(address=quill)
    counter.buy(shipment_id)
    counter.settle()
    counter.hear_tracking("GB10", OUT, NOON, place="Quillfeather's door", message="Met Zenobia Quillfeather")
    counter.settle()
    planned, _, second = counter.packed(address=quill)
    counter.buy(second)

    counter.act(forgetting.erase_orders, [order_id, planned])

    for table in t.metadata.sorted_tables:
        for row in counter.rows(table):
            said = repr(tuple(row)).lower()
            assert "quillfeather" not in said and "gb10" not in said, table.name
    assert (counter.rows(t.document), counter.shipment(shipment_id).state) == ([], "shipped")
    assert counter.shipment(second).state == "failed"
    assert counter.level(counter.mug) == (8, 2)
