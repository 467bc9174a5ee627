"""What a person does to many orders at once: a result for each, done once whatever happens, and only what they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from hub import access, jobs
from hub.access import GRANTS, NotPermitted, Permission, Role
from hub.certify.crashing import Fate
from hub.errors import BadInput, Conflict
from hub.store import bulk_acts, handling, holds
from hub.store import tables as t
from hub.store.bulk_acts import ACTS, Act, Asked, Done, One, Person
from hub.store.database import Interrupted
from hub.store.secrets import KeyRing
from tests.core.making import a_line
from tests.jobs.dying import Deadly, every_death, passes
from tests.store.bench import to_ship
from tests.store.warehouse import Warehouse
from tests.town import Rings, Town

ADA = "ada@example.test"
GIFT = {"tag": "gift"}


class Desk:
    """Somebody at a desk in a town, with orders of two shops before them."""

    def __init__(self, town: Town, keyring: KeyRing, *, orders: int = 3) -> None:
        self.town, self.merchant = town, town.merchant
        self.warehouse = Warehouse(town.hub.database, keyring, town.merchant)
        self.shops = [self.warehouse.connect(), self.warehouse.connect()]
        for number in range(orders):
            order = to_ship(a_line(1), id=str(number), number=f"#{number}")
            self.warehouse.hear(self.shops[number % 2], order)
        rows = sorted(self.warehouse.rows(t.sales_order), key=lambda row: row.number)
        self.orders: list[UUID] = [row.id for row in rows]
        self.ada = self.hire(ADA, Role.MANAGER)

    def hire(self, email: str, role: Role) -> Person:
        user, now = uuid4(), self.warehouse.now()
        with self.town.hub.database.write() as connection:
            person = {"id": user, "email": email, "created_at": now, "password_changed_at": now}
            connection.execute(insert(t.user_account).values(**person))
            connection.execute(insert(t.membership).values(merchant_id=self.merchant, user_id=user, role=role.value))
        return Person(user, email, GRANTS[role])

    def change(self, **values: Any) -> None:
        with self.town.hub.database.write() as connection:
            connection.execute(update(t.membership).where(t.membership.c.user_id == self.ada.user_id).values(**values))

    def ask(self, kind: str = "tag", typed: dict[str, str] | None = None, orders: Sequence[UUID] | None = None) -> UUID:
        asked = Asked(uuid4(), kind, typed if typed is not None else GIFT, "")
        self.plan(asked, orders)
        return asked.id

    def plan(self, asked: Asked, orders: Sequence[UUID] | None = None, person: Person | None = None) -> Any:
        person = person or self.ada
        with access.acting_as(person.permissions):
            return bulk_acts.plan(
                self.town.hub.database, self.merchant, asked, self.orders if orders is None else orders, person
            )

    def work(self) -> None:
        for merchant_id, connection_id, lane in jobs.due(self.town.hub, lane="bulk"):
            assert jobs.drain(self.town.hub, merchant_id, connection_id, lane)

    def progress(self, act: UUID) -> bulk_acts.Progress:
        with self.town.hub.database.read() as connection:
            found = bulk_acts.progress(connection, self.merchant, act)
        assert found is not None
        return found

    def results(self, act: UUID) -> list[tuple[str, str, str]]:
        """(order, state, what is said) of each, in turn."""
        states = ("waiting", "done", "refused", "failed", "stopped")
        with self.town.hub.database.read() as connection:
            rows = bulk_acts.outcomes(connection, self.merchant, act, states=states, after=0, limit=99)
        return [(row.order_number, row.state, row.said) for row in rows]

    def tags(self) -> dict[str, list[str]]:
        return {row.number: row.own_tags for row in self.warehouse.rows(t.sales_order)}

    def noted(self, kind: str) -> int:
        return len(self.warehouse.rows(t.activity, t.activity.c.kind == kind))


@pytest.fixture
def desk(hub_town: Town, keyring: KeyRing) -> Desk:
    return Desk(hub_town, keyring)


def test_each_shop_is_asked_once_to_cancel_its_orders_and_they_are_on_hold(desk: Desk) -> None:
    typed = {"reason": "stock", "money": "refund", "confirm": "cancel"}
    with pytest.raises(BadInput, match="Type CANCEL to confirm"):
        desk.ask("cancel", typed | {"confirm": "yes"})

    act = desk.ask("cancel", typed)
    desk.work()
    desk.work()

    said = "On hold; the shop is asked to cancel it"
    assert desk.results(act) == [(number, "done", said) for number in ("#0", "#1", "#2")]
    effects = desk.warehouse.rows(t.effect, t.effect.c.kind == "cancel_order")
    assert {row.order_id for row in effects} == set(desk.orders) and len(effects) == 3
    assert {(row.request["reason"], row.request["refund"]) for row in effects} == {("stock", True)}
    held = [row.order_id for row in desk.warehouse.rows(t.order_hold) if row.external_id == "hub:cancelling"]
    assert sorted(held) == sorted(desk.orders)
    again = desk.ask("cancel", typed)
    desk.work()
    assert {state for _, state, _ in desk.results(again)} == {"refused"}


def test_each_order_has_its_result_and_each_shop_its_part_of_the_work(desk: Desk) -> None:
    asked = Asked(uuid4(), "tag", GIFT, "")

    assert desk.plan(asked) == set(desk.shops)
    assert desk.progress(asked.id).waiting == 3
    assert sorted(jobs.due(desk.town.hub, lane="bulk")) == sorted((desk.merchant, shop, "bulk") for shop in desk.shops)
    desk.work()

    assert desk.results(asked.id) == [(number, "done", "Tagged") for number in ("#0", "#1", "#2")]
    assert desk.tags() == {"#0": ["gift"], "#1": ["gift"], "#2": ["gift"]}
    told = desk.progress(asked.id)
    assert (told.total, told.done, told.waiting, told.went_wrong) == (3, 3, 0, 0)
    assert told.ended_at is not None
    assert jobs.due(desk.town.hub, lane="bulk") == []
    assert {row.actor for row in desk.warehouse.rows(t.activity, t.activity.c.kind == "order_tagged")} == {ADA}


# What is done, and what is said of an order to which nothing was done before.
SAID: list[tuple[str, dict[str, str], str]] = [
    ("release", {}, "Nothing holds this order here."),
    ("untag", GIFT, "It did not have this tag"),
    ("tag", GIFT, "Tagged"),
    ("tag", GIFT, "It had this tag already"),
    ("untag", GIFT, "The tag is off"),
    ("priority", {"priority": "-20"}, "Priority set"),
    ("priority", {"priority": ""}, "Priority left to the rules"),
    ("reroute", {}, "Dealt out again"),
    ("hold", {"reason": "fraud", "note": "Ask first"}, "On hold"),
]


def test_whatever_is_done_says_what_came_of_it(desk: Desk) -> None:
    for kind, typed, said in SAID:
        act = desk.ask(kind, typed, desk.orders[:1])
        desk.work()
        assert [line for _, _, line in desk.results(act)] == [said]


def test_orders_are_held_and_released_together(desk: Desk) -> None:
    desk.ask("hold", {"reason": "manual", "note": "Ask first"})
    desk.work()
    assert {row.note for row in desk.warehouse.rows(t.order_hold)} == {"Ask first"}

    act = desk.ask("release", {})
    desk.work()

    assert desk.results(act) == [(number, "done", "Released") for number in ("#0", "#1", "#2")]
    assert desk.warehouse.rows(t.order_hold, t.order_hold.c.released_at.is_(None)) == []


def test_a_location_that_does_not_have_it_refuses_that_order_alone(desk: Desk) -> None:
    place = desk.warehouse.location("Empty barn")
    act = desk.ask("ship_from", {"location": str(place), "reason": "Nearer"}, desk.orders[:1])
    desk.work()

    ((_, state, said),) = desk.results(act)
    assert state == "refused"
    assert "#0" in said


def test_one_that_cannot_be_done_holds_back_no_other_and_leaves_nothing_behind(desk: Desk) -> None:
    full = [f"t{number}" for number in range(20)]
    handling.set_tags(desk.town.hub.database, desk.merchant, desk.orders[0], full, ADA)

    act = desk.ask()
    desk.work()

    assert [state for _, state, _ in desk.results(act)] == ["refused", "done", "done"]
    assert desk.results(act)[0][2] == "At most 20 tags of 40 characters each."
    assert desk.tags() == {"#0": full, "#1": ["gift"], "#2": ["gift"]}


def test_what_was_refused_is_tried_again_alone(desk: Desk) -> None:
    handling.set_tags(desk.town.hub.database, desk.merchant, desk.orders[0], [f"t{n}" for n in range(20)], ADA)
    act = desk.ask()
    desk.work()
    handling.set_tags(desk.town.hub.database, desk.merchant, desk.orders[0], [], ADA)

    new = uuid4()
    with access.acting_as(desk.ada.permissions):
        bulk_acts.again(desk.town.hub.database, desk.merchant, act, new, desk.ada)
    desk.work()

    assert desk.results(new) == [("#0", "done", "Tagged")]
    assert desk.progress(new).retry_of == act
    assert desk.progress(act).refused == 1, "what it was stays as it was"


def test_what_had_to_be_confirmed_is_not_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(typed: Any) -> dict[str, str]:
        if typed.get("confirm") != "yes":
            raise BadInput("Say yes.")
        return {"note": typed["note"]}

    def refuse(one: One) -> Done:
        raise Conflict(one.arguments["note"])

    monkeypatch.setattr(bulk_acts, "ACTS", {"sure": Act(Permission.ORDERS, refuse, read)})
    act = desk.ask("sure", {"confirm": "yes", "note": "Not today"}, desk.orders[:1])
    desk.work()

    new = uuid4()
    bulk_acts.again(desk.town.hub.database, desk.merchant, act, new, desk.ada)
    desk.work()

    assert desk.results(new) == [("#0", "refused", "Not today")]


def test_an_act_that_is_stopped_leaves_the_rest_alone(desk: Desk) -> None:
    act = desk.ask()
    (first, _) = desk.shops
    jobs.drain(desk.town.hub, desk.merchant, first, "bulk")

    with access.acting_as(desk.ada.permissions):
        assert bulk_acts.stop(desk.town.hub.database, desk.merchant, act, ADA) == 1
        assert bulk_acts.stop(desk.town.hub.database, desk.merchant, act, ADA) == 0
    desk.work()

    assert [state for _, state, _ in desk.results(act)] == ["done", "stopped", "done"]
    assert (desk.progress(act).stopped_by, desk.tags()["#1"]) == (ADA, [])
    assert desk.noted("order_bulk_stopped") == 1


# ---------------------------------------------------------------- once


def test_the_same_form_sent_twice_is_one_act(desk: Desk) -> None:
    asked = Asked(uuid4(), "tag", GIFT, "")
    desk.plan(asked)

    assert desk.plan(replace(asked, typed={"tag": "other"})) == ()
    desk.work()

    assert desk.tags()["#0"] == ["gift"]
    assert desk.noted("order_bulk") == 1


def test_orders_named_twice_or_not_at_all_the_merchants_are_taken_once_and_left_out(desk: Desk) -> None:
    act = desk.ask(orders=[desk.orders[0], desk.orders[0], uuid4()])

    assert [number for number, _, _ in desk.results(act)] == ["#0"]


def test_two_workers_at_one_order_do_it_once(desk: Desk) -> None:
    desk.ask("reroute", {}, desk.orders[:1])
    database = desk.town.hub.database
    with database.read() as connection:
        (turn,) = bulk_acts.next_turns(connection, desk.merchant, desk.shops[0], 9, at=desk.warehouse.now())

    for _ in range(2):
        with database.write() as connection:
            bulk_acts.perform(connection, database, desk.merchant, turn, connectors={}, at=desk.warehouse.now())

    assert desk.noted("routed_again") == 1


def test_killed_at_any_moment_each_order_is_done_once(hub_town: Town, keyring: KeyRing) -> None:
    desk = Desk(hub_town, keyring, orders=2)

    def survives(points: Deadly) -> bool:
        act, before = desk.ask("reroute", {}), desk.noted("routed_again")
        fates = [Fate(*each) for each in points]
        assert passes(hub_town, fates, desk.work, lambda: desk.progress(act).ended_at is not None)
        assert desk.noted("routed_again") - before == 2
        assert desk.progress(act).done == 2
        return not fates[-1].dead

    assert every_death(survives) >= 4


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (ZeroDivisionError("by nothing"), "failed", "The hub stumbled over this order: ZeroDivisionError: by nothing"),
        (Conflict("It left an hour ago."), "refused", "It left an hour ago."),
    ],
)
def test_what_was_begun_for_an_order_that_goes_wrong_is_undone_and_the_others_have_their_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str, said: str
) -> None:
    def stumble(one: One) -> Done:
        with one.database.write() as connection:
            at = one.database.now(connection)
            holds.place(connection, one.merchant_id, one.order_id, holds.HoldReason.MANUAL, "x", at=at)
        if one.order_id == desk.orders[0]:
            raise error
        return Done("Well done")

    monkeypatch.setattr(bulk_acts, "ACTS", {"stumble": Act(Permission.ORDERS, stumble)})
    act = desk.ask("stumble", {})
    desk.work()

    assert desk.results(act) == [("#0", state, said), ("#1", "done", "Well done"), ("#2", "done", "Well done")]
    assert {row.order_id for row in desk.warehouse.rows(t.order_hold)} == set(desk.orders[1:])


def test_a_database_that_gets_in_the_way_leaves_the_order_its_turn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[UUID] = []

    def broken(one: One) -> Done:
        tried.append(one.order_id)
        if len(tried) == 1:
            raise Interrupted("Somebody was faster.")
        return Done("Well done")

    monkeypatch.setattr(bulk_acts, "ACTS", {"broken": Act(Permission.ORDERS, broken)})
    act = desk.ask("broken", {}, desk.orders[:1])
    with pytest.raises(Interrupted):
        desk.work()
    assert desk.progress(act).waiting == 1
    hub_town = desk.town
    hub_town.let_pass(1800)
    desk.work()

    assert desk.results(act) == [("#0", "done", "Well done")]


def test_orders_of_a_shop_that_was_removed_have_their_turn_too(desk: Desk) -> None:
    with desk.town.hub.database.write() as connection:
        connection.execute(update(t.connection).values(state="removed"))

    act = desk.ask()
    desk.work()

    assert desk.progress(act).done == 3


def test_what_follows_is_rung_for(desk: Desk) -> None:
    desk.ask("hold", {"reason": "manual", "note": "Ask first"}, desk.orders[:1])
    desk.work()
    rings = Rings()
    desk.town.hub = replace(desk.town.hub, doorbell=rings)

    desk.ask("release", {}, desk.orders[:1])
    desk.work()

    assert {(desk.shops[0], "route"), (desk.shops[0], "ship")} <= set(rings.heard)


# ---------------------------------------------------------------- who may


def test_nobody_asks_for_what_they_may_not_do(desk: Desk) -> None:
    joe = desk.hire("joe@example.test", Role.WAREHOUSE)

    with pytest.raises(NotPermitted):
        desk.plan(Asked(uuid4(), "tag", GIFT, ""), person=joe)

    assert desk.warehouse.rows(t.bulk_act) == []


@pytest.mark.parametrize(
    ("table", "column"), [("membership", "left_at"), ("membership", "disabled_at"), ("user_account", "disabled_at")]
)
def test_for_somebody_who_does_not_work_here_any_more_nothing_is_done(desk: Desk, table: str, column: str) -> None:
    act = desk.ask()
    whose = {"membership": t.membership.c.user_id, "user_account": t.user_account.c.id}[table]
    with desk.town.hub.database.write() as connection:
        gone = update(t.metadata.tables[table]).where(whose == desk.ada.user_id)
        connection.execute(gone.values({column: desk.warehouse.now()}))
    desk.work()

    said = f"{ADA} does not work here any more, and so nothing is done for them."
    assert desk.results(act) == [(number, "refused", said) for number in ("#0", "#1", "#2")]
    assert desk.tags()["#0"] == []


def test_who_may_do_less_by_now_does_less(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # An act of which nobody thought to have it ask.
    monkeypatch.setattr(bulk_acts, "ACTS", {"careless": Act(Permission.ORDERS, lambda _: Done("Well done"))})
    act = desk.ask("careless", {})
    desk.change(role="read_only")
    desk.work()

    assert {state for _, state, _ in desk.results(act)} == {"refused"}
    assert desk.results(act)[0][2].startswith("Your role does not let you change orders.")


def test_who_may_do_more_by_now_does_what_they_might_do_then(desk: Desk) -> None:
    # Planned while the person had no permission at all, as by somebody who writes rows by hand.
    act = desk.ask()
    with desk.town.hub.database.write() as connection:
        connection.execute(update(t.bulk_act).values(permissions=["look"]))
    desk.work()

    assert {state for _, state, _ in desk.results(act)} == {"refused"}


def test_another_merchants_orders_are_out_of_reach(desk: Desk) -> None:
    act = desk.ask()

    with desk.town.hub.database.read() as connection:
        assert bulk_acts.progress(connection, uuid4(), act) is None
    with pytest.raises(Conflict):
        bulk_acts.stop(desk.town.hub.database, uuid4(), act, ADA)
    with pytest.raises(Conflict):
        bulk_acts.again(desk.town.hub.database, uuid4(), act, uuid4(), desk.ada)


# ---------------------------------------------------------------- what was typed


@pytest.mark.parametrize(
    ("kind", "typed", "field"),
    [
        ("hold", {"note": "x"}, "reason"),
        ("hold", {"reason": "because", "note": "x"}, "reason"),
        ("hold", {"reason": "fraud", "note": " \t"}, "note"),
        ("tag", {"tag": ""}, "tag"),
        ("priority", {"priority": "7"}, "priority"),
        ("ship_from", {"location": "there", "reason": "x"}, "location"),
        ("ship_from", {"location": str(UUID(int=1)), "reason": ""}, "reason"),
    ],
)
def test_what_is_missing_is_asked_for(kind: str, typed: dict[str, str], field: str) -> None:
    with pytest.raises(BadInput) as error:
        ACTS[kind].read(typed)

    assert list(error.value.fields) == [field]


def test_nothing_and_too_much_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="at least one"):
        desk.ask(orders=[])
    with pytest.raises(BadInput, match="cannot be done"):
        desk.ask("paint", {})
    with pytest.raises(BadInput, match="Type a tag"):
        desk.ask("tag", {})
    monkeypatch.setattr(bulk_acts, "MOST_ORDERS", 2)
    with pytest.raises(BadInput, match="more than 2 orders"):
        desk.ask()

    assert desk.warehouse.rows(t.bulk_act) == []


def test_every_act_names_who_may_do_it() -> None:
    assert {name: each.permission for name, each in ACTS.items() if each.permission is Permission.LOOK} == {}


def test_what_is_long_over_is_forgotten_and_what_waits_is_not(desk: Desk) -> None:
    over, again, waiting = desk.ask(), uuid4(), desk.ask("untag")
    database, now = desk.town.hub.database, desk.warehouse.now()
    with database.write() as connection:
        row = t.bulk_act_row.c
        connection.execute(update(t.bulk_act_row).where(row.act_id == over).values(state="failed", done_at=now))
    bulk_acts.again(database, desk.merchant, over, again, desk.ada)
    with database.write() as connection:
        old = t.bulk_act.c.id.in_([over, waiting])
        connection.execute(update(t.bulk_act).where(old).values(created_at=now - timedelta(days=91)))

    jobs.tidy(desk.town.hub)

    assert {(row.id, row.retry_of) for row in desk.warehouse.rows(t.bulk_act)} == {(again, None), (waiting, None)}
    assert {row.act_id for row in desk.warehouse.rows(t.bulk_act_row)} == {again, waiting}


def test_one_connection_alone_is_looked_at_where_one_alone_is_asked_for(desk: Desk) -> None:
    desk.ask()

    found = jobs.due(desk.town.hub, desk.shops[0])

    assert [each for each in found if each[2] == "bulk"] == [(desk.merchant, desk.shops[0], "bulk")]
