"""What an edit changed: everything a person would call a change, told once, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from hub.core.changes import Change, changes
from hub.core.details import completed, on_hold, returns_open
from hub.core.model import (
    Address,
    ChannelShipment,
    ChannelWork,
    Charge,
    ChargeKind,
    Discount,
    Hold,
    HoldReason,
    LineKind,
    LineQuantity,
    Money,
    Order,
    OrderStatus,
    Payment,
    Refund,
    Return,
    ReturnStatus,
    Risk,
    RiskLevel,
    WorkRequest,
    WorkStatus,
)
from hub.core.personal import ERASED, PERSONAL, changes_without_people, without_people
from hub.core.plain import to_plain
from hub.core.services import content_of
from tests.core.making import a_line, an_order, euros, minutes


def of_line(quantity: int, id: str = "1") -> tuple[LineQuantity, ...]:
    return (LineQuantity(line_external_id=id, quantity=quantity),)


def told(before: Order, after: Order) -> list[tuple[Any, ...]]:
    return [(each.part, each.external_id, each.member, each.before, each.after) for each in changes(before, after)]


def test_nothing_has_changed_where_only_the_version_has() -> None:
    order = an_order(a_line(2), note="Ring twice.", attributes={"a": "1", "b": "2"})

    again = replace(order, version=minutes(5), holds_stock=False, attributes={"b": "2", "a": "1"})

    assert changes(order, again) == []


def test_a_line_is_named_by_its_title_and_only_what_differs_is_told() -> None:
    before = an_order(a_line(2, title="Blue mug"), a_line(1, id="2", title="Gift wrap", listing=None))
    after = an_order(
        a_line(1, title="Blue mug", removed=1, attributes={"Engraving": "For Ann"}), a_line(4, id="3", title="Tea")
    )

    found = changes(before, after)

    assert [(each.subject, each.member, each.before, each.after) for each in found] == [
        ("Blue mug", "quantity", 2, 1),
        ("Blue mug", "removed", 0, 1),
        ("Blue mug", "total", {"amount": "20.00", "currency": "EUR"}, {"amount": "10.00", "currency": "EUR"}),
        ("Blue mug", "attributes/Engraving", None, "For Ann"),
        ("Gift wrap", "", 1, None),
        ("Tea", "", None, 4),
        ("", "", {"amount": "30.00", "currency": "EUR"}, {"amount": "50.00", "currency": "EUR"}),
    ]


def test_an_amount_has_changed_only_if_a_row_would_keep_another() -> None:
    order = an_order(a_line(1), shipping=euros("4.9"))

    assert told(order, replace(order, shipping=euros("4.900"))) == []
    assert told(order, replace(order, shipping=euros("4.904"))) == []
    assert len(told(order, replace(order, shipping=euros("4.91")))) == 1


ONE = an_order(a_line(3))
HOLD = Hold(external_id="h", reason=HoldReason.ADDRESS, note="No such street")
SHIPPED = ChannelShipment(external_id="s", lines=of_line(2), carrier="DHL", tracking_numbers=("1",))
PART = ChannelWork(external_id="w", status=WorkStatus.OPEN, lines=of_line(3), location_external_id="a")
BACK = Return(external_id="r", status=ReturnStatus.REQUESTED, lines=of_line(1), number="R-1")

EDITS: Mapping[str, tuple[dict[str, Any], dict[str, Any], list[tuple[Any, ...]]]] = {
    "a status": (
        {},
        {"status": OrderStatus.CANCELLED, "paid": False, "promised_at": minutes(0)},
        [
            ("status", "", "", "open", "cancelled"),
            ("paid", "", "", True, False),
            ("promised_at", "", "", None, "2026-03-02T12:00:00+00:00"),
        ],
    ),
    "an address": (
        {"shipping_address": Address(name="Ann", city="Leeds")},
        {"shipping_address": Address(name="Ann", city="York", postcode="YO1")},
        [("shipping_address", "", "city", "Leeds", "York"), ("shipping_address", "", "postcode", None, "YO1")],
    ),
    "a refund": (
        {},
        {"refunds": (Refund(external_id="9", amount=euros(5)),)},
        [("refunds", "9", "", None, {"amount": "5.00", "currency": "EUR"})],
    ),
    "goods asked back": ({}, {"returns": (BACK,)}, [("returns", "r", "", None, "requested")]),
    "goods on their way back": (
        {"returns": (BACK,)},
        {"returns": (replace(BACK, status=ReturnStatus.OPEN, lines=of_line(2)),)},
        [("returns", "r", "", "requested", "open"), ("returns", "r", "units", 1, 2)],
    ),
    "a shipment": ({}, {"shipments": (SHIPPED,)}, [("shipments", "s", "", None, 2)]),
    "a shipment that was called back": (
        {"shipments": (SHIPPED,)},
        {"shipments": (replace(SHIPPED, cancelled=True, tracking_numbers=("1", "2")),)},
        [("shipments", "s", "tracking_numbers", "1", "1, 2"), ("shipments", "s", "cancelled", False, True)],
    ),
    "a part dealt out anew": (
        {"work": (PART,)},
        {"work": (replace(PART, external_id="v", location_external_id="b"),)},
        [("work", "w", "", "open", None), ("work", "v", "", None, "open")],
    ),
    "a part that is asked for elsewhere": (
        {"work": (PART,)},
        {"work": (replace(PART, request=WorkRequest.SUBMITTED, location_external_id="b", ship_by=minutes(1)),)},
        [
            ("work", "w", "request", "none", "submitted"),
            ("work", "w", "location_external_id", "a", "b"),
            ("work", "w", "ship_by", None, "2026-03-02T12:01:00+00:00"),
        ],
    ),
    "one hold on the order and on its part": (
        {"work": (PART,)},
        {"holds": (HOLD,), "work": (replace(PART, holds=(HOLD,)),)},
        [("holds", "h", "", None, "address")],
    ),
    "a risk": (
        {"risk": Risk(level=RiskLevel.PENDING)},
        {"risk": Risk(level=RiskLevel.HIGH, reasons=("Stolen", "Proxy"))},
        [("risk", "", "level", "pending", "high"), ("risk", "", "reasons", "", "Stolen; Proxy")],
    ),
    "amounts of one name": (
        {"discounts": (Discount(code="A", amount=euros(1)), Discount(code="A", amount=euros(2)))},
        {
            "discounts": (Discount(code="A", amount=euros(3)),),
            "charges": (Charge(kind=ChargeKind.TIP, title="Tip", amount=euros(2)),),
            "payments": (Payment(method="Visa", amount=euros(7)),),
        },
        [
            ("charges", "", "", None, {"amount": "2.00", "currency": "EUR"}),
            ("payments", "", "", None, {"amount": "7.00", "currency": "EUR"}),
        ],
    ),
    "tags and what add-ons wrote": (
        {"tags": ("VIP", "gift"), "attributes": {"Wrap": "red"}},
        {"tags": ("gift", "rush"), "attributes": {"Wrap": "blue"}},
        [
            ("attributes", "", "Wrap", "red", "blue"),
            ("tags", "", "VIP", "VIP", None),
            ("tags", "", "rush", None, "rush"),
        ],
    ),
    "amounts that were not told before": (
        {"priced": False, "lines": (a_line(2, total=euros(0)),), "total": euros(0)},
        {"lines": (a_line(2),), "total": euros(25), "shipping": euros(5)},
        [
            ("lines", "1", "total", None, {"amount": "20.00", "currency": "EUR"}),
            ("total", "", "", None, {"amount": "25.00", "currency": "EUR"}),
            ("shipping", "", "", None, {"amount": "5.00", "currency": "EUR"}),
        ],
    ),
    "what the customer saw": (
        {},
        {"presentment_total": Money.of("31.20", "USD")},
        [("presentment_total", "", "", None, {"amount": "31.20", "currency": "USD"})],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_tells_of(edit: str) -> None:
    before, after, expected = EDITS[edit]

    assert told(replace(ONE, **before), replace(ONE, **after)) == expected
    assert told(replace(ONE, **after), replace(ONE, **after)) == []


def test_a_change_comes_back_from_its_plain_form() -> None:
    found = changes(an_order(a_line(2)), an_order(a_line(1)))

    plain = to_plain(found)

    assert plain[0] == {
        "part": "lines",
        "external_id": "1",
        "member": "quantity",
        "subject": "mug",
        "before": 2,
        "after": 1,
    }
    assert [Change.from_plain(each) for each in plain] == found


# ---------------------------------------------------------------- what is said, and what is only left out


def test_two_bodies_that_say_the_same_are_the_same_whatever_the_order_of_their_names() -> None:
    one = an_order(a_line(1, attributes={"a": "1", "b": "2"}), attributes={"x": "1", "y": "2"})
    other = an_order(a_line(1, attributes={"b": "2", "a": "1"}), attributes={"y": "2", "x": "1"})

    assert content_of(one) == content_of(other)


@pytest.mark.parametrize("edit", [name for name, (_, after, _told) in EDITS.items() if after])
def test_whatever_is_a_change_is_another_content(edit: str) -> None:
    before, after, _ = EDITS[edit]

    assert content_of(replace(ONE, **before)) != content_of(replace(ONE, **after))


def test_half_a_record_keeps_what_it_leaves_out() -> None:
    refund = Refund(external_id="1", amount=euros(1))
    before = an_order(
        a_line(2), work=(PART,), risk=Risk(level=RiskLevel.LOW), tags=("VIP",), source="pos", refunds=(refund,)
    )
    other = Refund(external_id="2", amount=euros(2))

    half = completed(an_order(a_line(1), whole=False, tags=("rush",), refunds=(other,)), before)
    whole = completed(an_order(a_line(1), tags=("rush",)), before)

    assert (half.work, half.risk, half.source) == (before.work, before.risk, "pos")
    assert (half.tags, half.refunds, half.lines[0].quantity) == (("rush",), (refund, other), 1)
    assert (whole.work, whole.risk, whole.source, whole.refunds) == ((), None, "", ())


def test_an_order_is_on_hold_while_a_part_of_it_is() -> None:
    held = replace(PART, holds=(HOLD,))

    assert [on_hold(replace(ONE, **more)) for more in ({}, {"work": (PART,)})] == [False, False]
    assert on_hold(replace(ONE, holds=(HOLD,)))
    assert on_hold(replace(ONE, work=(PART, held)))
    assert on_hold(replace(ONE, work=(replace(PART, status=WorkStatus.ON_HOLD),)))


@pytest.mark.parametrize(
    ("status", "still"), [("requested", True), ("open", True), ("closed", False), ("declined", False)]
)
def test_a_return_is_open_until_it_is_dealt_with(status: str, still: bool) -> None:
    assert returns_open(replace(ONE, returns=(replace(BACK, status=ReturnStatus(status)),))) is still


# ---------------------------------------------------------------- people

ANN = an_order(
    a_line(1, kind=LineKind.CUSTOM, attributes={"Engraving": "For Ann"}),
    customer_name="Ann Lee",
    email="ann@shop.example",
    note="Ann is at work.",
    shipping_address=Address(name="Ann Lee", line1="1 High St"),
    billing_address=Address(name="Ann Lee"),
    refunds=(Refund(external_id="9", amount=euros(5), reason="Ann sent it back", lines=of_line(1)),),
    returns=(replace(BACK, reason="Ann's size"),),
    shipments=(replace(SHIPPED, tracking_numbers=("ANN-1",), tracking_url="https://track.example/ANN-1"),),
    work=(replace(PART, holds=(replace(HOLD, note="Ask Ann", held_by="Ann's bank"),)),),
    holds=(replace(HOLD, note="Ask Ann"),),
    risk=Risk(level=RiskLevel.HIGH, reasons=("Ann's card",)),
    payments=(Payment(method="Visa", amount=euros(10)),),
    tags=("Ann",),
    attributes={"Gift for": "Ann"},
)


def test_nothing_of_a_person_is_left_and_everything_else_is() -> None:
    nobody = without_people(ANN)

    assert "Ann" not in repr(nobody) and "ANN" not in repr(nobody) and "ann@" not in repr(nobody)
    assert (nobody.refunds[0].amount, nobody.refunds[0].lines) == (euros(5), of_line(1))
    assert (nobody.work[0].holds[0].reason, nobody.shipments[0].carrier) == (HoldReason.ADDRESS, "DHL")
    assert (nobody.payments, nobody.lines[0].kind, nobody.total) == (ANN.payments, LineKind.CUSTOM, ANN.total)


def test_every_personal_member_there_is_is_a_member() -> None:
    for kind, names in PERSONAL.items():
        assert names <= {each.name for each in fields(kind)}, kind


def test_an_erased_edit_still_tells_what_was_edited() -> None:
    found = changes(without_people(ANN), ANN)

    left = changes_without_people(found)

    assert "Ann" not in repr(left) and "ANN" not in repr(left) and "ann@" not in repr(left)
    assert [each.part for each in left] == [each.part for each in found]
    (email,) = [each for each in left if each.part == "email"]
    assert (email.before, email.after) == (ERASED, ERASED)
    assert changes_without_people(changes(ANN, replace(ANN, total=euros(7)))) == changes(
        ANN, replace(ANN, total=euros(7))
    )
