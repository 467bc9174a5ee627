"""Labels bought for many parcels at once: each once whatever dies, at offers that still hold, each with its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, update

from hub import access, jobs
from hub.access import GRANTS, NotPermitted, Role
from hub.certify.crashing import Fate, mortal
from hub.core.model import HoldReason
from hub.core.rates import ShippingPolicy
from hub.errors import BadInput, Conflict
from hub.store import bulk_acts, holds, labels, policies
from hub.store import tables as t
from hub.store.bulk_acts import About, Asked, Person
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.jobs.dying import Deadly, every_death
from tests.jobs.test_rates_and_tracking import Bench, build
from tests.town import OWNER

ADA = "ada@example.test"


@dataclass
class Table:
    """Somebody at a table with packed parcels on it."""

    bench: Bench
    ada: Person

    @property
    def here(self) -> tuple[Database, UUID]:
        return self.bench.database, self.bench.town.merchant

    def ask(self, kind: str, parcels: Sequence[UUID], person: Person | None = None) -> UUID:
        person, asked = person or self.ada, Asked(uuid4(), kind, {}, "")
        with access.acting_as(person.permissions):
            bulk_acts.plan(*self.here, asked, parcels, person)
        return asked.id

    def work(self) -> None:
        for merchant_id, connection_id, lane in jobs.due(self.bench.town.hub, lane="bulk"):
            jobs.drain(self.bench.town.hub, merchant_id, connection_id, lane)

    def progress(self, act: UUID) -> bulk_acts.Progress:
        with self.bench.database.read() as connection:
            found = bulk_acts.progress(connection, self.bench.town.merchant, act)
        assert found is not None
        return found

    def results(self, act: UUID) -> list[tuple[str, str, str, str]]:
        """(shipment, state, what is said, how far its label is) of each, in turn."""
        states = ("waiting", "done", "refused", "failed", "stopped")
        with self.bench.database.read() as connection:
            rows = bulk_acts.outcomes(connection, self.bench.town.merchant, act, states=states, after=0, limit=99)
        return [(row.reference, row.state, row.said, row.shipment_state) for row in rows]

    def hire(self, email: str, role: Role) -> Person:
        user = uuid4()
        with self.bench.database.write() as connection:
            now = Database.now(connection)
            person = {"id": user, "email": email, "created_at": now, "password_changed_at": now}
            connection.execute(insert(t.user_account).values(**person))
            works = {"merchant_id": self.bench.town.merchant, "user_id": user, "role": role.value}
            connection.execute(insert(t.membership).values(**works))
        return Person(user, email, GRANTS[role])

    def change(self, shipment_id: UUID, **values: Any) -> None:
        with self.bench.database.write() as connection:
            connection.execute(update(t.shipment).where(t.shipment.c.id == shipment_id).values(**values))

    def grow_old(self, shipment_id: UUID) -> None:
        """The offers of a parcel are of yesterday."""
        self.change(shipment_id, rates_at=self.bench.shipment(shipment_id).rates_at - timedelta(days=1))

    def charges(self) -> int:
        return len(self.bench.acme.charges())


@pytest.fixture
def database(_sqlite_database: Database) -> Iterator[Database]:
    """One kind of database will do here: whatever is written is tested on both where it is written."""
    yield _sqlite_database
    _sqlite_database.close()


@pytest.fixture
def table(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Table]:
    for bench in build(database, keyring, merchant, tmp_path):
        made = Table(bench, Person(uuid4(), ADA, frozenset()))
        made.ada = made.hire(ADA, Role.WAREHOUSE)
        yield made


def test_each_parcel_gets_its_label_and_the_page_tells_how_far_the_carrier_is(table: Table) -> None:
    parcels = [table.bench.packed(), table.bench.packed()]

    act = table.ask("buy_labels", parcels)
    table.work()

    said = "Ordered: Written Carrier Economy, 4.90 GBP"
    references = [table.bench.shipment(each).reference for each in parcels]
    assert table.results(act) == [(each, "done", said, "buying") for each in references]
    told = table.progress(act)
    assert (told.about, told.done, told.under_way, told.bought, told.is_over) == (About.SHIPMENTS, 2, 2, 0, False)
    assert (table.charges(), told.ended_at is not None) == (0, True), "nothing is bought in the lane itself"

    table.bench.town.work()

    assert table.results(act) == [(each, "done", said, "labelled") for each in references]
    told = table.progress(act)
    assert (told.under_way, told.bought, told.fell_through, told.is_over, table.charges()) == (0, 2, 0, True, 2)
    with table.bench.database.read() as connection:
        assert bulk_acts.shipments_of(connection, table.bench.town.merchant, act) == parcels
    assert {row.actor for row in table.bench.town.rows(t.activity, t.activity.c.kind == "label_ordered")} == {ADA}


def test_offers_that_are_too_old_are_asked_for_first_and_hold_back_no_other(table: Table) -> None:
    old, fresh = table.bench.packed(), table.bench.packed()
    table.grow_old(old)

    act = table.ask("buy_labels", [old, fresh])
    table.work()

    (_, state, said, _), (_, other, _, _) = table.results(act)
    assert (state, said, other) == ("waiting", "Its offers were too old: the carriers are being asked again", "done")
    assert table.bench.shipment(old).rates_wanted_at is not None
    assert jobs.due(table.bench.town.hub, lane="bulk") == [], "it is not looked at before an answer can be there"
    assert table.progress(act).ended_at is None

    table.bench.town.let_pass(10)
    table.work()
    assert table.results(act)[0][1:3] == ("waiting", "The carriers are being asked what it costs now")
    table.bench.town.work()
    table.bench.town.let_pass(10)
    table.bench.town.work()

    assert [each[3] for each in table.results(act)] == ["labelled", "labelled"]
    assert table.charges() == 2


def test_where_nothing_comes_of_asking_again_it_is_refused_with_the_reason(table: Table) -> None:
    old = table.bench.packed()
    table.grow_old(old)
    act = table.ask("buy_labels", [old])
    table.work()
    table.change(old, rates_wanted_at=None, error="Leeds has no address yet.")

    table.bench.town.let_pass(10)
    table.work()

    assert table.results(act)[0][1:3] == ("refused", "Leeds has no address yet.")


def test_what_the_policy_has_bought_meanwhile_is_not_bought_again(table: Table) -> None:
    old = table.bench.packed()
    table.grow_old(old)
    act = table.ask("buy_labels", [old])
    table.work()
    policies.save_shipping(*table.here, ShippingPolicy(automatic=True), OWNER)
    for merchant_id, connection_id, lane in jobs.due(table.bench.town.hub, lane="ship"):
        jobs.drain(table.bench.town.hub, merchant_id, connection_id, lane)
    assert table.bench.shipment(old).state == "buying"

    table.bench.town.let_pass(10)
    table.bench.town.work()

    said = "Ordered by your shipping policy, as soon as the carriers had answered"
    assert table.results(act)[0][1:] == ("done", said, "labelled")
    assert table.charges() == 1


def test_one_that_must_not_be_shipped_is_refused_and_holds_back_no_other(table: Table) -> None:
    held, none_chosen, good = (table.bench.packed() for _ in range(3))
    row = table.bench.shipment(held)
    holds.hold_order(*table.here, row.order_id, HoldReason.MANUAL, "Ask first", OWNER)
    table.change(none_chosen, choice=None)

    act = table.ask("buy_labels", [held, none_chosen, good])
    table.work()
    table.bench.town.work()

    states = [(state, label) for _, state, _, label in table.results(act)]
    assert states == [("refused", "draft"), ("refused", "draft"), ("done", "labelled")]
    assert "hold" in table.results(act)[0][2]
    assert table.results(act)[1][2] == "No offer is chosen for it. Open it, and choose one."
    assert table.charges() == 1


def test_the_same_parcels_asked_for_twice_are_paid_for_once(table: Table) -> None:
    parcel = table.bench.packed()

    first, second = table.ask("buy_labels", [parcel, parcel]), table.ask("buy_labels", [parcel])
    table.work()
    table.bench.town.work()

    reference = table.bench.shipment(parcel).reference
    told = sorted((state, said) for act in (first, second) for _, state, said, _ in table.results(act))
    assert told == [
        ("done", "Ordered: Written Carrier Economy, 4.90 GBP"),
        ("refused", f"Shipment {reference} is buying already: its label is bought once only."),
    ]
    assert table.charges() == 1


def test_killed_at_any_moment_each_label_is_ordered_and_paid_for_once(table: Table) -> None:
    def survives(points: Deadly) -> bool:
        parcel, before = table.bench.packed(), table.charges()
        table.grow_old(parcel)  # so that it is put off once, and bought then
        act, (fate,) = table.ask("buy_labels", [parcel]), [Fate(*each) for each in points]

        for _ in range(5):
            with mortal(table.bench.town, fate) if not fate.dead else nullcontext():
                table.work()
            table.bench.town.let_pass(61)
            table.bench.town.work()  # the other lanes: that they may die is tested with them

        assert table.progress(act).is_over
        assert (table.progress(act).bought, table.charges() - before) == (1, 1)
        return not fate.dead

    assert every_death(survives) >= 3


def test_parcels_are_handed_over_and_carriers_asked_for_many(table: Table) -> None:
    parcels = [table.bench.packed(), table.bench.packed()]
    asked = table.ask("ask_carriers", parcels)
    table.work()
    assert [said for _, _, said, _ in table.results(asked)] == ["The carriers are being asked"] * 2
    assert {table.bench.shipment(each).rates_wanted_at is not None for each in parcels} == {True}

    early = table.ask("hand_over", parcels[:1])
    table.work()
    assert table.results(early)[0][1] == "refused"
    table.bench.town.work()
    table.ask("buy_labels", parcels)
    table.work()
    table.bench.town.work()
    act = table.ask("hand_over", parcels)
    table.work()

    assert [each[1:] for each in table.results(act)] == [("done", "It has left; the shop is being told", "shipped")] * 2
    assert table.progress(act).under_way == 0


def test_who_may_not_pack_asks_for_nothing_and_other_merchants_parcels_are_out_of_reach(table: Table) -> None:
    parcel = table.bench.packed()
    sue = table.hire("sue@example.test", Role.SUPPORT)

    with pytest.raises(NotPermitted):
        table.ask("buy_labels", [parcel], sue)
    with pytest.raises(BadInput, match="Choose at least one shipment"):
        table.ask("buy_labels", [uuid4()])
    with pytest.raises(BadInput, match="more than 500 shipments"):
        table.ask("buy_labels", [parcel] * (bulk_acts.MOST_SHIPMENTS + 1))
    act = table.ask("buy_labels", [parcel])
    with pytest.raises(Conflict), access.acting_as(table.ada.permissions):
        bulk_acts.stop(table.bench.database, uuid4(), act, ADA)

    assert table.bench.shipment(parcel).state == "draft"


def test_a_label_is_printed_as_the_merchant_wants_it_where_the_account_can(table: Table) -> None:
    parcel = table.bench.packed()
    with table.bench.database.read() as connection:
        account, merchant = UUID(table.bench.shipment(parcel).choice["connection"]), table.bench.town.merchant
        registry = table.bench.town.hub.registry.connectors
        assert labels.format_of(connection, merchant, account, registry).value == "pdf"
        with pytest.raises(Conflict, match="sells no labels"):
            labels.format_of(connection, merchant, table.bench.shop_id, registry)
        with pytest.raises(Conflict, match="sells no labels"):
            labels.format_of(connection, merchant, account, {})
