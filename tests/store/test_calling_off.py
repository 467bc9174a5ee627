"""Cancelling an order at its channel, and giving money back: asked for once, never too much, and told how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from hub.access import NotPermitted, Permission, acting_as
from hub.connector import EffectResult, Settlement
from hub.core.model import LineQuantity, OrderStatus, Refund
from hub.core.shipping import CancelReason, OrderCancellation, RefundRequest
from hub.errors import BadInput, Conflict, Rejected, Unavailable
from hub.store import calling_off, connections, effects, forgetting
from hub.store import tables as t
from hub.store.calling_off import CancelWish, RefundWish
from tests.core.making import a_line, an_order, euros, minutes
from tests.store.post_office import Counter
from tests.store.warehouse import OWNER, FakeChannel


class Till(FakeChannel):
    """A channel that gives money back and cancels: what it did is in ``done``, what goes wrong next in ``faults``."""

    effects: ClassVar[Mapping[str, Settlement]] = dict.fromkeys(calling_off.KINDS, Settlement.LOOKUP)
    done: ClassVar[dict[str, str]] = {}
    faults: ClassVar[list[tuple[str, Exception]]] = []

    def cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult:
        return self._do("cancelled", cancellation.reference)

    def find_cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult | None:
        return self._found(cancellation.reference)

    def refund(self, refund: RefundRequest, key: str) -> EffectResult:
        return self._do(str(refund.amount), refund.reference)

    def find_refund(self, refund: RefundRequest, key: str) -> EffectResult | None:
        return self._found(refund.reference)

    def _found(self, reference: str) -> EffectResult | None:
        return EffectResult(reference) if reference in self.done else None

    def _do(self, what: str, reference: str) -> EffectResult:
        when, error = self.faults.pop(0) if self.faults else ("", None)
        if error and when == "before":
            raise error
        assert reference not in self.done, "it was done twice"
        self.done[reference] = what
        if error:
            raise error
        return EffectResult(reference)


class Desk:
    """An order of two mugs and a tee, 35 euros with 5 for the shipping, and somebody who calls it off."""

    def __init__(self, counter: Counter) -> None:
        Till.done.clear()
        Till.faults.clear()
        self.counter = counter
        self.shop = counter.connect()
        self.hear()
        self.order_id: UUID = self.row(t.sales_order).id

    def hear(self, at: float = 0, **more: Any) -> None:
        lines = (a_line(2), a_line(1, id="2", listing=None))
        values = {"shipping": euros(5), "total": euros(35), "version": minutes(at), **more}
        self.counter.hear(self.shop, an_order(*lines, id="777", **values))

    def row(self, table: Any, *conditions: Any) -> Any:
        here = (table.c.connection_id == self.shop,) if "connection_id" in table.c else ()
        return self.counter.row(table, *here, *conditions)

    def refund(self, wish: RefundWish, once: UUID | None = None) -> UUID:
        database, merchant = self.counter.database, self.counter.merchant
        return calling_off.refund(database, merchant, self.order_id, wish, once=once or uuid4(), actor=OWNER)

    def cancel(self, once: UUID | None = None, **wish: Any) -> UUID:
        database, merchant = self.counter.database, self.counter.merchant
        wanted = CancelWish(reason=CancelReason.CUSTOMER, **wish)
        return calling_off.cancel_order(database, merchant, self.order_id, wanted, once=once or uuid4(), actor=OWNER)

    def settle(self) -> list[str]:
        """Carry out what is planned for the shop, until nothing is due."""
        ended = []
        database = self.counter.database
        while (claimed := effects.claim(database, self.counter.merchant, self.shop)) is not None:
            ended.append(effects.run(database, self.counter.keyring, claimed, Till.__new__(Till)))
        return ended

    def let_pass(self) -> None:
        with self.counter.database.write() as connection:
            connection.execute(update(t.effect).values(due_at=self.counter.database.now(connection)))

    def left(self) -> tuple[Decimal, list[int], str]:
        with self.counter.database.read() as connection:
            found = calling_off.refundable(connection, self.counter.merchant, self.order_id)
        return found.left.amount, [each.left for each in found.lines], found.barred

    def held(self) -> list[str]:
        rows = self.counter.rows(t.order_hold, t.order_hold.c.order_id == self.order_id)
        return [row.external_id for row in rows if row.released_at is None and row.external_id == "hub:cancelling"]


@pytest.fixture
def desk(database: Any, keyring: Any, merchant: UUID) -> Desk:
    return Desk(Counter(database, keyring, merchant))


# ---------------------------------------------------------------- giving money back


def test_a_refund_is_one_effect_however_often_its_form_is_sent(desk: Desk) -> None:
    once = uuid4()
    wish = RefundWish(units={"1": 1}, shipping=euros(5), restock=True, notify=True, note="Chipped")

    assert desk.refund(wish, once) == desk.refund(wish, once)

    row = desk.row(t.effect)
    request = dict(row.request)
    assert (row.kind, len(request.pop("reference"))) == ("refund", 32)
    assert request == {
        "order_external_id": "777",
        "lines": [{"line_external_id": "1", "quantity": 1, "amount": {"amount": "10.00", "currency": "EUR"}}],
        "shipping": {"amount": "5", "currency": "EUR"},
        "restock": True,
        "notify": True,
        "note": "Chipped",
    }
    (noted,) = [row for row in desk.counter.rows(t.activity) if row.kind == "refund_asked"]
    assert (noted.summary, noted.actor) == ("15.00 EUR to be given back: Chipped", OWNER)


def test_done_it_has_the_order_fetched(desk: Desk) -> None:
    desk.refund(RefundWish(goodwill=euros(3)))

    assert desk.settle() == ["succeeded"]

    assert (list(Till.done.values()), desk.row(t.fetch_request).external_id) == (["3.00 EUR"], "777")


def test_money_goes_back_once_though_the_answer_is_lost(desk: Desk) -> None:
    desk.refund(RefundWish(goodwill=euros(3)))
    Till.faults.append(("after", Unavailable("The answer was lost.")))

    assert desk.settle() == ["planned"]
    desk.let_pass()

    assert (desk.settle(), list(Till.done.values())) == (["succeeded"], ["3.00 EUR"])


def test_what_is_only_noted_a_person_is_asked_to_pay_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = {"amount": "3.00", "currency": "EUR", "by_hand": True}
    monkeypatch.setattr(Till, "refund", lambda self, refund, key: EffectResult("r7", noted))
    desk.refund(RefundWish(goodwill=euros(3)))

    assert desk.settle() == ["succeeded"]

    issue = desk.row(t.issue, t.issue.c.kind == "refund_by_hand")
    assert (issue.title, issue.order_id) == ("Give the customer 3.00 EUR back yourself", desk.order_id)


def test_what_is_on_its_way_is_not_given_back_again(desk: Desk) -> None:
    assert desk.left() == (Decimal(35), [2, 1], "")
    desk.refund(RefundWish(units={"1": 1}, goodwill=euros(20)))

    assert desk.left() == (Decimal(5), [1, 1], "")
    with pytest.raises(BadInput, match=r"At most 5\.00 EUR can be given back of this order, not 10\.00 EUR"):
        desk.refund(RefundWish(units={"2": 1}))


def test_a_refund_that_the_channel_tells_of_counts_once(desk: Desk) -> None:
    desk.refund(RefundWish(units={"1": 1}))
    desk.settle()
    assert desk.left()[0] == Decimal(25)
    (reference,) = Till.done

    lines = (LineQuantity(line_external_id="1", quantity=1),)
    desk.hear(1, refunds=(Refund(external_id=reference, amount=euros(10), lines=lines),))

    assert desk.left() == (Decimal(25), [1, 1], "")


def test_a_refund_is_not_sent_once_somebody_else_has_given_it_back(desk: Desk) -> None:
    effect_id = desk.refund(RefundWish(goodwill=euros(30)))
    desk.hear(1, refunds=(Refund(external_id="r1", amount=euros(30)),))

    assert (desk.settle(), Till.done) == ([], {})
    row = desk.row(t.effect, t.effect.c.id == effect_id)
    assert (row.state, row.error) == (
        "cancelled",
        "Only 5.00 EUR are left to be given back of this order, not 30.00 EUR.",
    )


def test_a_refund_that_may_have_been_made_is_found_though_it_must_not_be_made_any_more(desk: Desk) -> None:
    desk.refund(RefundWish(goodwill=euros(30)))
    Till.faults.append(("after", Unavailable("The answer was lost.")))
    desk.settle()
    desk.hear(1, refunds=(Refund(external_id="r1", amount=euros(30)),))
    desk.let_pass()

    assert (desk.settle(), list(Till.done.values())) == (["succeeded"], ["30.00 EUR"])


def test_a_refund_that_a_person_says_was_done_counts_once(desk: Desk) -> None:
    effect_id = desk.refund(RefundWish(goodwill=euros(10)))
    Till.faults.append(("before", Rejected("The bank says no.")))
    desk.settle()
    effects.mark_succeeded(desk.counter.database, desk.counter.merchant, effect_id, OWNER)
    reference = desk.row(t.effect).request["reference"]

    desk.hear(1, refunds=(Refund(external_id="r1", amount=euros(10), reason=f"[{reference}]"),))

    assert desk.left()[0] == Decimal(25)


def test_where_the_money_may_have_gone_nobody_is_told_to_pay_it_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = {"amount": "3.00", "currency": "EUR", "by_hand": True, "unsure": True}
    monkeypatch.setattr(Till, "refund", lambda self, refund, key: EffectResult("r7", noted))
    desk.refund(RefundWish(goodwill=euros(3)))

    desk.settle()

    issue = desk.row(t.issue, t.issue.c.kind == "refund_by_hand")
    assert issue.title == "Find out whether the customer got 3.00 EUR back"
    assert "pay it back only if it is not there" in issue.next_step


def test_a_refused_refund_leaves_everything_to_be_given_back(desk: Desk) -> None:
    desk.refund(RefundWish(goodwill=euros(30)))
    Till.faults.append(("before", Rejected("The bank says no.")))

    assert desk.settle() == ["failed"]

    assert desk.left()[0] == Decimal(35)
    assert desk.row(t.issue, t.issue.c.kind == "effect").title == "Fake refused: refund"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (RefundWish(units={"1": 3}), "Of “mug” at most 2 can be given back"),
        (RefundWish(units={"1": 1}, amounts={"1": euros(21)}), r"“mug” cost 20\.00 EUR\. Give back what goes beyond"),
        (RefundWish(units={"9": 1}), "The order has changed meanwhile"),
        (RefundWish(shipping=euros(6)), r"At most 5\.00 EUR of the shipping"),
        (RefundWish(goodwill=euros(36)), r"At most 35\.00 EUR can be given back"),
        (RefundWish(), "Choose what is given back"),
    ],
)
def test_what_cannot_be_given_back_is_refused(desk: Desk, wish: RefundWish, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        desk.refund(wish)
    assert desk.counter.rows(t.effect, t.effect.c.kind == "refund") == []


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"paid": False}, "Nobody has paid for this order yet"),
        ({"presentment_total": None, "status": OrderStatus.PENDING}, "Nobody has paid for this order yet"),
        ({"refunds": (Refund(external_id="r1", amount=euros(35)),)}, "All that was paid is given back"),
    ],
)
def test_where_nothing_is_left_nothing_is_offered(desk: Desk, order: dict[str, Any], words: str) -> None:
    desk.hear(1, **order)

    assert words in desk.left()[2]
    with pytest.raises(Conflict, match=words):
        desk.refund(RefundWish(goodwill=euros(1)))


def test_parts_of_a_line_add_up_to_it() -> None:
    line = calling_off.RefundableLine(external_id="1", title="", sku="", quantity=3, left=3, gross=euros(10))
    after_one = calling_off.RefundableLine(external_id="1", title="", sku="", quantity=3, left=2, gross=euros(10))

    assert [str(line.amount(1)), str(after_one.amount(2)), str(line.amount(3))] == [
        "3.33 EUR",
        "6.67 EUR",
        "10.00 EUR",
    ]


# ---------------------------------------------------------------- cancelling


def test_the_order_is_on_hold_until_its_channel_has_cancelled_it(desk: Desk) -> None:
    once = uuid4()
    assert desk.cancel(once, refund=True, restock=True, note="By phone") == desk.cancel(once)
    assert desk.held() == ["hub:cancelling"]
    request = desk.row(t.effect).request
    assert (request["reason"], request["refund"], request["restock"], request["note"]) == (
        "customer",
        True,
        True,
        "By phone",
    )

    desk.hear(1, note="Something else about it changed")
    assert desk.held() == ["hub:cancelling"], "nothing leaves before the channel has said so"

    assert (desk.settle(), list(Till.done.values())) == (["succeeded"], ["cancelled"])
    desk.hear(2, status=OrderStatus.CANCELLED, holds_stock=False)
    assert desk.held() == []


def test_a_refused_cancellation_lets_the_order_go_on(desk: Desk) -> None:
    desk.cancel()
    Till.faults.append(("before", Rejected("It has left.")))

    assert desk.settle() == ["failed"]

    assert (desk.held(), desk.row(t.fetch_request).external_id) == ([], "777")


def test_a_cancellation_that_is_tried_again_holds_the_order_again(desk: Desk) -> None:
    effect_id = desk.cancel()
    Till.faults.append(("before", Rejected("Not now.")))
    desk.settle()

    effects.retry(desk.counter.database, desk.counter.merchant, effect_id, OWNER)

    assert desk.held() == ["hub:cancelling"]


def test_one_cancellation_that_fails_leaves_the_hold_to_another(desk: Desk) -> None:
    refused = desk.cancel()
    Till.faults.append(("before", Rejected("Not now.")))
    desk.settle()
    desk.cancel()
    again = effects.retry(desk.counter.database, desk.counter.merchant, refused, OWNER)

    effects.cancel(desk.counter.database, desk.counter.merchant, again, OWNER)

    assert desk.held() == ["hub:cancelling"]


@pytest.mark.parametrize(("ended", "becomes"), [("failed", "cancelled"), ("unknown", "succeeded")])
def test_nobody_decides_about_a_cancellation_that_has_come_about(desk: Desk, ended: str, becomes: str) -> None:
    effect_id = desk.cancel()
    Till.faults.append(("before", Rejected("Not now.")))
    desk.settle()
    with desk.counter.database.write() as connection:
        connection.execute(update(t.effect).values(state=ended))
    assert desk.row(t.issue, t.issue.c.kind == effects.ISSUE).resolved_at is None

    desk.hear(1, status=OrderStatus.CANCELLED, holds_stock=False)

    assert desk.row(t.effect, t.effect.c.id == effect_id).state == becomes
    assert desk.row(t.issue, t.issue.c.kind == effects.ISSUE).resolved_at is not None


def test_a_customer_who_is_forgotten_leaves_no_hold_for_a_cancellation_that_will_not_be_sent(desk: Desk) -> None:
    desk.cancel()

    with desk.counter.database.write() as connection:
        at = desk.counter.database.now(connection)
        forgetting.erase_orders(connection, desk.counter.merchant, [desk.order_id], at=at)

    assert (desk.row(t.effect).state, desk.held()) == ("cancelled", [])


def test_a_shop_that_is_removed_leaves_no_hold_either(desk: Desk) -> None:
    desk.cancel()

    database, keyring = desk.counter.database, desk.counter.keyring
    connections.remove(database, desk.counter.merchant, desk.shop, OWNER, keyring=keyring, connector=Till)

    assert (desk.row(t.effect).state, desk.held()) == ("cancelled", [])


def test_nobody_cancels_twice_and_no_money_goes_back_beside(desk: Desk) -> None:
    desk.cancel()

    with pytest.raises(Conflict, match="asked to cancel this order already"):
        desk.cancel()
    with pytest.raises(Conflict, match="The channel is asked to cancel this order"):
        desk.refund(RefundWish(goodwill=euros(1)))


def test_what_has_left_is_not_cancelled(desk: Desk) -> None:
    effect_id = desk.cancel()
    with desk.counter.database.write() as connection:
        connection.execute(update(t.order_line).where(t.order_line.c.external_id == "1").values(sent=1))

    assert (desk.settle(), Till.done, desk.held()) == ([], {}, [])
    assert desk.row(t.effect, t.effect.c.id == effect_id).error.startswith("A part of this order has left.")
    with pytest.raises(Conflict, match="A part of this order has left"):
        desk.cancel()


def test_an_order_that_is_over_is_not_cancelled(desk: Desk) -> None:
    desk.hear(1, status=OrderStatus.CANCELLED, holds_stock=False)

    with pytest.raises(Conflict, match="This order is cancelled already"):
        desk.cancel()


def test_a_channel_that_cannot_is_told_of_before_anything_is_asked() -> None:
    with pytest.raises(Conflict, match="Fake cannot be told to give money back from here"):
        calling_off.check_connector(FakeChannel, "refund")
    with pytest.raises(Conflict, match="Fake cannot be told to cancel an order from here"):
        calling_off.check_connector(FakeChannel, "cancel_order")
    calling_off.check_connector(Till, "refund")


def test_only_who_may_handle_money_does_either(desk: Desk) -> None:
    with acting_as(frozenset({Permission.LOOK, Permission.ORDERS})):
        with pytest.raises(NotPermitted):
            desk.cancel()
        with pytest.raises(NotPermitted):
            desk.refund(RefundWish(goodwill=euros(1)))
    assert desk.counter.rows(t.effect, t.effect.c.kind.in_(calling_off.KINDS)) == []
