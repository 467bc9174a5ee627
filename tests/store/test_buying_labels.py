"""Labels are bought once, and never for what is known to be cancelled, in every order of the race."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import pytest

from hub.connector import EffectResult
from hub.core.shipping import VoidState
from hub.errors import BadInput, Conflict, Rejected, Unavailable
from hub.store import connections, effects, labels
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.store.post_office import Counter, PostOffice
from tests.store.warehouse import OWNER


@pytest.fixture
def counter(database: Database, keyring: KeyRing, merchant: UUID) -> Counter:
    """A shop with ten mugs, and a post office."""
    return Counter(database, keyring, merchant)


def test_a_label_is_bought_and_kept_with_its_file(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()

    counter.buy(shipment_id)
    counter.settle()

    row = counter.shipment(shipment_id)
    assert (row.state, row.external_id, row.tracking_numbers, row.cost_minor) == ("labelled", "label-1", ["GB10"], 490)
    assert (row.choice["why"], row.track_at is not None, row.documents_at) == ("Cheapest of 1 offer.", True, None)
    assert counter.row(t.parcel).tracking_number == "GB10"
    assert counter.row(t.document).effect_id == row.effect_id
    assert counter.post.charged == [row.reference]
    counter.sound()


def test_the_file_that_did_not_come_with_the_answer_is_fetched(counter: Counter) -> None:
    counter.post.files = ()
    _, _, shipment_id = counter.labelled()

    assert counter.shipment(shipment_id).documents_at is not None


def test_a_shipment_pays_for_one_label_only(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()
    counter.buy(shipment_id)

    with pytest.raises(Conflict, match="bought once only"):
        counter.buy(shipment_id)


def test_nothing_is_bought_for_an_order_that_is_on_hold_or_cancelled(counter: Counter) -> None:
    held, _, first = counter.packed()
    counter.hold(held)
    over, _, second = counter.packed()
    counter.cancel(over)

    with pytest.raises(Conflict, match=r"on hold \(manual\)"):
        counter.buy(first)
    with pytest.raises(Conflict):
        counter.buy(second)
    assert (counter.rows(t.effect, t.effect.c.kind == "buy_label"), counter.post.calls) == ([], [])


# ---------------------------------------------------------------- cancel x buy


def test_a_cancellation_between_planning_and_sending_cancels_the_purchase(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.packed()
    counter.buy(shipment_id)

    counter.cancel(order_id)
    counter.settle()

    assert (counter.states()["buy_label"], counter.post.calls) == ("cancelled", [])
    assert (counter.work(work_id).state, counter.shipment(shipment_id).state) == ("cancelled", "void")
    assert counter.level(counter.mug) == (10, 0)
    counter.sound()


def test_a_hold_between_planning_and_sending_cancels_the_purchase_and_it_can_be_offered_again(
    counter: Counter,
) -> None:
    order_id, work_id, shipment_id = counter.packed()
    counter.buy(shipment_id)
    counter.hold(order_id)

    counter.settle()

    assert (counter.states(), counter.post.calls) == ({"buy_label": "cancelled"}, [])
    row = counter.shipment(shipment_id)
    assert (row.state, "on hold" in row.error, counter.work(work_id).state) == ("failed", True, "open")
    with counter.database.write() as connection:
        connection.execute(t.order_hold.update().values(released_at=counter.database.now(connection)))
    again = counter.act(labels.offer_again, shipment_id, actor=OWNER)
    counter.buy(again)
    counter.settle()
    assert (counter.shipment(shipment_id).state, counter.shipment(again).state) == ("void", "labelled")
    assert counter.post.charged == [counter.shipment(again).reference]


def test_a_cancellation_while_it_is_being_bought_gives_the_label_back_at_once(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.packed()
    counter.buy(shipment_id)
    claimed = counter.claim()
    assert claimed is not None
    counter.cancel(order_id)
    assert counter.shipment(shipment_id).withdrawn_at is not None

    counter.run(claimed)
    counter.settle()

    assert (counter.post.charged, counter.post.voided) == ([counter.shipment(shipment_id).reference], ["label-1"])
    assert (counter.work(work_id).state, counter.shipment(shipment_id).state) == ("cancelled", "void")
    counter.sound()


def test_a_cancellation_after_the_label_gives_it_back(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.labelled()

    counter.cancel(order_id)
    counter.settle()

    assert (counter.post.voided, counter.post.paid) == (["label-1"], 0)
    assert (counter.work(work_id).state, counter.shipment(shipment_id).state) == ("cancelled", "void")
    assert counter.issues() == []


def test_a_cancellation_between_a_lost_answer_and_the_look_for_it_finds_the_label_and_gives_it_back(
    counter: Counter,
) -> None:
    order_id, _, shipment_id = counter.packed()
    counter.post.faults = [("after", Unavailable("No answer.", sent=True))]
    counter.buy(shipment_id)
    claimed = counter.claim()
    assert claimed is not None
    counter.run(claimed)

    counter.cancel(order_id)
    counter.settle()

    assert counter.post.calls == ["buy", "find", "void"]
    assert (counter.post.paid, counter.shipment(shipment_id).state) == (0, "void")


def test_after_a_cancellation_an_attempt_that_never_arrived_is_not_made_again(counter: Counter) -> None:
    order_id, _, shipment_id = counter.packed()
    counter.post.faults = [("before", Unavailable("No answer.", sent=True))]
    counter.buy(shipment_id)
    claimed = counter.claim()
    assert claimed is not None
    counter.run(claimed)

    counter.cancel(order_id)
    counter.settle()

    assert (counter.post.calls, counter.post.charged) == (["buy", "find"], [])
    assert (counter.states()["buy_label"], counter.shipment(shipment_id).state) == ("cancelled", "void")


def at_once(*acts: Callable[[], object]) -> None:
    """Do these in threads that start together; what one of them raises is raised here."""
    start = threading.Barrier(len(acts))
    raised: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
        except Conflict:
            pass  # the other one was first
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if raised:
        raise raised[0]


@pytest.mark.parametrize("stage", ["before it is planned", "planned", "claimed", "bought"])
def test_whoever_is_first_in_the_race_of_cancel_and_buy_nothing_stays_paid(counter: Counter, stage: str) -> None:
    order_id, work_id, shipment_id = counter.packed()
    if stage != "before it is planned":
        counter.buy(shipment_id)
    claimed = counter.claim() if stage in ("claimed", "bought") else None
    if stage == "bought" and claimed is not None:
        counter.run(claimed)

    def buy() -> None:
        if stage == "before it is planned":
            counter.buy(shipment_id)
        found = claimed if stage == "claimed" else counter.claim()
        if found is not None:
            counter.run(found)

    at_once(buy, lambda: counter.cancel(order_id))
    counter.settle()

    assert (counter.post.paid, len(counter.post.charged) <= 1) == (0, True)
    assert (counter.work(work_id).state, counter.shipment(shipment_id).state) == ("cancelled", "void")
    assert counter.level(counter.mug) == (10, 0)
    assert counter.issues() == []
    counter.sound()


# ---------------------------------------------------------------- refusals


def test_what_the_carrier_refuses_can_be_tried_again_by_a_person(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()
    counter.post.faults = [("before", Rejected("The postcode is unknown."))]
    effect_id = counter.buy(shipment_id)
    counter.settle()
    row = counter.shipment(shipment_id)
    assert (row.state, row.error, counter.issues()) == ("failed", "The postcode is unknown.", ["effect"])

    effects.retry(counter.database, counter.merchant, effect_id, OWNER)
    counter.settle()

    assert (counter.shipment(shipment_id).state, counter.post.paid) == ("labelled", 1)


def test_what_was_refused_cannot_be_tried_again_once_its_parcels_are_offered_anew(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()
    counter.post.faults = [("before", Rejected("No."))]
    effect_id = counter.buy(shipment_id)
    counter.settle()

    counter.act(labels.offer_again, shipment_id, actor=OWNER)

    with pytest.raises(Conflict):
        effects.retry(counter.database, counter.merchant, effect_id, OWNER)
    assert (counter.shipment(shipment_id).state, counter.issues()) == ("void", [])


def test_a_person_says_that_an_unclear_label_was_not_bought(counter: Counter) -> None:
    _, _, shipment_id = counter.packed()
    effect_id = counter.buy(shipment_id)
    with counter.database.write() as connection:
        connection.execute(t.effect.update().values(state="unknown"))

    effects.cancel(counter.database, counter.merchant, effect_id, OWNER)

    row = counter.shipment(shipment_id)
    assert (row.state, row.error) == ("failed", f"{OWNER} cancelled it")


def test_a_person_says_that_an_unclear_label_of_a_cancelled_order_was_bought(counter: Counter) -> None:
    order_id, _, shipment_id = counter.packed()
    effect_id = counter.buy(shipment_id)
    with counter.database.write() as connection:
        connection.execute(t.effect.update().values(state="unknown"))
    counter.cancel(order_id)

    effects.mark_succeeded(counter.database, counter.merchant, effect_id, OWNER, "label-7")

    assert counter.shipment(shipment_id).external_id == "label-7"
    assert counter.issues() == ["label_not_voided"]


def test_a_label_whose_answer_cannot_be_read_is_bought_all_the_same(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, _, shipment_id = counter.packed()
    odd = EffectResult("label-9", {"external_id": 9})
    monkeypatch.setattr(counter.post, "perform", lambda kind, request, key: odd)
    counter.buy(shipment_id)
    counter.settle()
    row = counter.shipment(shipment_id)
    assert (row.state, row.external_id, row.label, counter.issues()) == ("labelled", "label-9", None, [])

    counter.cancel(order_id)

    assert counter.issues() == ["label_not_voided"]


# ---------------------------------------------------------------- edits


def test_an_edit_while_a_label_is_being_bought_gives_it_back_and_it_is_packed_again(counter: Counter) -> None:
    order_id, work_id, shipment_id = counter.packed(3)
    counter.buy(shipment_id)
    claimed = counter.claim()
    assert claimed is not None
    counter.again(order_id, 3, line={"removed": 1})
    counter.run(claimed)
    counter.settle()
    assert (counter.post.paid, counter.work(work_id).state) == (0, "open")

    smaller = counter.pack(work_id, 2)
    counter.buy(smaller)
    counter.settle()

    assert (counter.post.paid, counter.shipment(smaller).state) == (1, "labelled")
    with pytest.raises(BadInput, match="more in the parcels"):
        counter.pack(work_id, 1)
    counter.sound()


# ---------------------------------------------------------------- giving back


def test_a_label_that_cannot_be_given_back_is_put_before_a_person(counter: Counter) -> None:
    order_id, _, shipment_id = counter.labelled()
    counter.post.says = VoidState.REFUSED

    counter.cancel(order_id)
    counter.settle()

    assert (counter.shipment(shipment_id).state, counter.issues()) == ("labelled", ["label_not_voided"])
    counter.post.says = VoidState.VOIDED
    counter.act(labels.give_back, shipment_id, actor=OWNER)
    counter.settle()
    assert (counter.shipment(shipment_id).state, counter.issues(), counter.post.paid) == ("void", [], 0)


def test_the_carrier_may_answer_later(counter: Counter) -> None:
    _, _, shipment_id = counter.labelled()
    counter.post.says = VoidState.REQUESTED
    counter.act(labels.give_back, shipment_id, actor=OWNER)
    counter.act(labels.give_back, shipment_id, actor=OWNER)
    counter.settle()
    assert (counter.shipment(shipment_id).state, counter.post.calls.count("void")) == ("labelled", 1)

    said = labels.LabelVoid(label_external_id="label-1", state=VoidState.VOIDED)
    counter.act(labels.void_heard, counter.carrier_id, said)

    assert counter.shipment(shipment_id).state == "void"


def test_a_carrier_that_is_disconnected_leaves_nothing_in_between(counter: Counter) -> None:
    _, _, unsent = counter.packed()
    counter.buy(unsent)
    _, _, unclear = counter.packed()
    counter.buy(unclear)
    with counter.database.write() as connection:
        row = t.effect.c
        of_unclear = row.ordering_key == f"shipment/{unclear}"
        connection.execute(
            t.effect.update().where(of_unclear).values(unclear=True, sent_at=counter.database.now(connection))
        )

    given = {"keyring": counter.keyring, "connector": PostOffice}
    connections.remove(counter.database, counter.merchant, counter.carrier_id, OWNER, **given)

    assert [counter.shipment(each).state for each in (unsent, unclear)] == ["failed", "failed"]
    (issue,) = counter.rows(t.issue, t.issue.c.kind == "label_not_voided")
    assert issue.subject == str(unclear)
