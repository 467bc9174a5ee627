"""From the packed parcel to the door: every carrier asked at once, the best label bought once, the parcel followed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import update

import hub
from hub import jobs, plugins
from hub.certify.crashing import Fate
from hub.connector import Kind
from hub.core.model import HoldReason
from hub.core.plain import to_plain
from hub.core.rates import ShippingPolicy
from hub.core.shipping import DocumentFormat, Quotes, Shipment, TrackingStatus
from hub.errors import BadInput
from hub.jobs import ship_lane
from hub.plugins import Registry
from hub.store import fulfillment, handling, holds, labels, papers, policies, routing_queue, shipments
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub.testing import Fault
from tests.jobs.dying import Deadly, every_death, passes
from tests.jobs.fake_shop import FakeChannel, FakeSettings, Shop, connect, open_shop, send
from tests.scaffold.written import connector, simulator
from tests.store.post_office import LEEDS, YORK, PostOffice, a_rate
from tests.town import OWNER, Town, town

Acme: Any = connector(Kind.CARRIER)


class ListeningShop(FakeChannel):
    """Is told of shipments, too."""

    name = "listening"
    effects: ClassVar[Mapping[str, hub.Settlement]] = {"confirm_shipment": hub.Settlement.NATURAL_KEY}
    told: ClassVar[list[Any]] = []

    def confirm_shipment(self, confirmation: Any, key: str) -> hub.EffectResult:
        self.told.append(confirmation)
        return hub.EffectResult("told")


class Quick(PostOffice):
    """A carrier of which the test says what it answers to the question of what a shipment costs."""

    name, label = "quick", "Quick"
    settings_schema = FakeSettings
    answer: ClassVar[Any] = None

    def __init__(self, context: Any) -> None:
        super().__init__()
        self.context, self.client = context, context.client

    def check(self) -> hub.Account:
        return hub.Account(external_id=self.name, name=self.label, currency="GBP")

    def rates(self, shipment: Shipment) -> Quotes:
        return type(self).answer(shipment)  # type: ignore[no-any-return]


class Second(Quick):
    """Another one."""

    name, label = "second", "Second"


@dataclass
class Bench:
    """A hub with a shop, a real (simulated) carrier, and an order of two mugs that is to be shipped from Leeds."""

    town: Town
    acme: Any
    shop_id: UUID
    acme_id: UUID
    shop: Shop

    def order(self) -> UUID:
        """An order that is dealt out to Leeds; returns its fulfillment order."""
        send(self.town, self.shop_id, "order", self.shop.buy("mug", 2))
        self.town.work()
        order = max(self.town.rows(t.sales_order), key=lambda row: row.id)
        with self.database.write() as connection:
            now = self.database.now(connection)
            connection.execute(update(t.order_hold).values(released_at=now, released_by=OWNER))
            connection.execute(
                update(t.sales_order).where(t.sales_order.c.id == order.id).values(shipping_address=to_plain(YORK))
            )
            routing_queue.mark(connection, self.town.merchant, [order.id], at=now)
        self.town.work()
        return self.town.row(t.fulfillment_order, t.fulfillment_order.c.order_id == order.id).id  # type: ignore[no-any-return]

    @property
    def database(self) -> Database:
        return self.town.hub.database

    def act(self, function: Any, *arguments: Any, **more: Any) -> Any:
        return self.database.transact(
            lambda connection: function(
                connection, self.town.merchant, *arguments, at=self.database.now(connection), **more
            )
        )

    def pack(self, work_id: UUID) -> UUID:
        def work(connection: Any) -> UUID:
            row = fulfillment.locked(connection, self.town.merchant, work_id)
            line = self.town.row(t.fulfillment_line, t.fulfillment_line.c.fulfillment_order_id == work_id)
            box = shipments.ParcelDraft(units={line.order_line_id: 2}, weight_grams=800)
            return shipments.draft(connection, self.town.merchant, row, [box], at=self.database.now(connection))

        return self.database.transact(work)

    def packed(self) -> UUID:
        """A shipment for which all carriers have been asked."""
        shipment_id = self.pack(self.order())
        self.town.work()
        return shipment_id

    def shipment(self, shipment_id: UUID) -> Any:
        return self.town.row(t.shipment, t.shipment.c.id == shipment_id)

    def buy(self, shipment_id: UUID) -> None:
        """A person takes the offer that was chosen."""
        row = self.shipment(shipment_id)
        (offer,) = [each for each in labels.offers(row) if to_plain(each.rate) == row.choice["rate"]]
        self.act(labels.buy, shipment_id, UUID(offer.connection), offer.rate, row.choice["why"], actor=OWNER)

    def connect(self, carrier: Any) -> UUID:
        return connect(self.town, Shop(name=carrier.name), carrier)

    def automatic(self) -> None:
        policies.save_shipping(self.database, self.town.merchant, ShippingPolicy(automatic=True), OWNER)

    def comes_to(self, shipment_id: UUID, state: str) -> bool:
        """Whether the shipment gets into this state, in time."""
        for _ in range(6):
            if self.shipment(shipment_id).state == state:
                return True
            self.town.let_pass(1800)
            self.town.work()
        return False


def build(database: Database, keyring: KeyRing, merchant: UUID, folder: Path) -> Iterator[Bench]:
    registry = Registry({each.name: each for each in (ListeningShop, Acme, Quick, Second)})
    ListeningShop.told.clear()
    with town(database, keyring, merchant, registry, folder, public_url="https://hub.example") as built:
        shop = Shop(stock={"mug": 20})
        shop_id = open_shop(built, shop, ListeningShop, adopt=True)
        with database.write() as connection:
            connection.execute(update(t.location).values(address=to_plain(LEEDS)))
        acme = simulator(Kind.CARRIER)()
        acme.price_in("GBP")
        yield Bench(built, acme, shop_id, built.connect(Acme, acme), shop)


@pytest.fixture
def database(_sqlite_database: Database) -> Iterator[Database]:
    """One kind of database will do here: whatever is written is tested on both where it is written."""
    yield _sqlite_database
    _sqlite_database.close()


@pytest.fixture
def bench(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Bench]:
    yield from build(database, keyring, merchant, tmp_path)


# ---------------------------------------------------------------- asking


def test_all_carriers_are_asked_and_the_best_offer_is_named_with_its_reason(bench: Bench) -> None:
    shipment_id = bench.packed()

    row = bench.shipment(shipment_id)
    (answer,) = labels.answers(row)
    assert (answer.account, sorted(str(rate.cost) for rate in answer.rates)) == (Acme.label, ["12.40 GBP", "4.90 GBP"])
    assert (row.choice["rate"]["service"], row.choice["why"]) == (
        "economy",
        "Cheapest of 2 offers: no day was promised.",
    )
    assert (row.state, row.rates_wanted_at, bench.acme.charges()) == ("draft", None, [])


def test_who_is_silent_refuses_or_breaks_keeps_nobody_from_an_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_lane, "DEADLINE_SECONDS", 3.0)
    let_go = threading.Event()

    def silent(shipment: Shipment) -> Quotes:
        let_go.wait(60)
        return Quotes(rates=(a_rate("0.01"),))

    def broken(shipment: Shipment) -> Quotes:
        raise ZeroDivisionError("by accident")

    Quick.answer, Second.answer = silent, broken
    for each in (Quick, Second):
        bench.connect(each)

    began = time.monotonic()
    shipment_id = bench.packed()
    took = time.monotonic() - began
    let_go.set()

    said = {each.account: each for each in labels.answers(bench.shipment(shipment_id))}
    assert said["quick"].trouble.startswith("No answer within")
    assert said["second"].trouble == "The connector failed: ZeroDivisionError: by accident"
    assert (len(said[Acme.label].rates), took < 40) == (2, True)


def test_a_rate_that_makes_no_sense_is_not_believed(bench: Bench) -> None:
    Quick.answer = lambda _shipment: Quotes(rates=(a_rate("-5.00"),))
    bench.connect(Quick)

    said = {each.account: each for each in labels.answers(bench.shipment(bench.packed()))}

    assert (said["quick"].rates, "below zero" in said["quick"].trouble) == ((), True)


def test_where_nobody_offers_anything_it_is_said_why(bench: Bench) -> None:
    bench.acme.fail_next("/v1/quotes", Fault.status(500), times=5)

    row = bench.shipment(bench.packed())

    assert (row.choice, row.error.startswith(Acme.label)) == (None, True)


def test_what_a_label_needs_and_is_missing_is_said_before_anybody_is_asked(bench: Bench) -> None:
    with bench.database.write() as connection:
        connection.execute(update(t.location).values(address={}))

    row = bench.shipment(bench.packed())

    assert "no address yet" in row.error and row.rates_wanted_at is None and row.rates is None


def test_a_plugin_may_choose_another_offer(bench: Bench) -> None:
    def dearest(shipment: Shipment, rates: Sequence[hub.Rate]) -> hub.Rate:
        return max(rates, key=lambda rate: rate.cost.amount)

    def broken(shipment: Shipment, rates: Sequence[hub.Rate]) -> hub.Rate:
        raise ZeroDivisionError

    registry = replace(bench.town.hub.registry, rate_choosers={"broken": broken, "dearest": dearest})
    bench.town.hub = replace(bench.town.hub, registry=registry)

    row = bench.shipment(bench.packed())

    assert (row.choice["rate"]["service"], row.choice["why"]) == ("express", "Chosen by the plugin dearest.")


def test_a_plugin_offers_itself_by_the_hook() -> None:
    module = ModuleType("dearest")

    @hub.hookimpl
    def choose_rate(shipment: Shipment, rates: Sequence[hub.Rate]) -> hub.Rate | None:
        return max(rates, key=lambda rate: rate.cost.amount, default=None)

    module.choose_rate = choose_rate  # type: ignore[attr-defined]

    class Point(EntryPoint):
        def load(self) -> Any:
            return module

    registry = plugins.load(["dearest"], [Point(name="dearest", value="dearest", group="hub")])

    assert [each.error for each in registry.plugins] == [""]
    box = hub.Parcel(weight=hub.Weight.of(1, hub.WeightUnit.KILOGRAM))
    shipment = Shipment(reference="1", origin=LEEDS, destination=YORK, parcels=(box,))
    rates = [a_rate("1.00"), a_rate("2.00")]
    assert registry.rate_choosers["dearest"](shipment, rates) == rates[1]
    assert registry.rate_choosers["dearest"](shipment, []) is None


# ---------------------------------------------------------------- buying


def test_the_best_offer_is_bought_by_itself_where_that_is_wished_and_its_file_is_fetched(bench: Bench) -> None:
    bench.automatic()

    shipment_id = bench.packed()

    row = bench.shipment(shipment_id)
    assert (row.state, len(bench.acme.charges()), row.documents_at) == ("labelled", 1, None)
    (file,) = bench.town.rows(t.document)
    with bench.database.read() as connection:
        kept = papers.read(connection, bench.town.hub.keyring, bench.town.merchant, file.id)
    assert (kept.format, kept.well_formed) == (DocumentFormat.PDF, True)


def test_what_is_on_hold_is_not_bought_by_itself_and_the_shipment_says_why(bench: Bench) -> None:
    bench.automatic()
    work_id = bench.order()
    with bench.database.write() as connection:
        order_id = bench.town.row(t.fulfillment_order, t.fulfillment_order.c.id == work_id).order_id
        holds.place(
            connection,
            bench.town.merchant,
            order_id,
            HoldReason.MANUAL,
            "Wait.",
            at=bench.database.now(connection),
            actor=OWNER,
        )
    shipment_id = bench.pack(work_id)
    bench.town.work()

    row = bench.shipment(shipment_id)
    assert (row.state, "on hold (manual)" in row.error, bench.acme.charges()) == ("draft", True, [])
    assert row.choice["rate"]["service"] == "economy"

    release(bench, order_id)
    bench.town.work()

    assert (bench.shipment(shipment_id).state, len(bench.acme.charges())) == ("labelled", 1)


def release(bench: Bench, order_id: UUID) -> None:
    (hold,) = bench.town.rows(t.order_hold, t.order_hold.c.released_at.is_(None))
    handling.release(bench.database, bench.town.merchant, order_id, hold.id, OWNER)


def hold(bench: Bench, order_id: UUID) -> None:
    holds.hold_order(bench.database, bench.town.merchant, order_id, HoldReason.FRAUD, "Odd", OWNER)


def test_a_purchase_that_a_hold_has_stopped_is_made_when_the_hold_goes_and_only_where_that_is_wished(
    bench: Bench,
) -> None:
    shipment_id = bench.packed()
    order_id = bench.shipment(shipment_id).order_id
    bench.buy(shipment_id)
    hold(bench, order_id)
    bench.town.work()
    assert (bench.shipment(shipment_id).state, bench.acme.charges()) == ("failed", [])

    release(bench, order_id)
    bench.town.work()
    assert (bench.shipment(shipment_id).state, bench.town.count(t.shipment)) == ("failed", 1)
    bench.automatic()
    hold(bench, order_id)
    release(bench, order_id)
    bench.town.work()

    (again,) = bench.town.rows(t.shipment, t.shipment.c.id != shipment_id)
    assert (bench.shipment(shipment_id).state, again.state, len(bench.acme.charges())) == ("void", "labelled", 1)


def test_an_address_is_written_as_each_carrier_takes_it_and_what_does_not_fit_is_said_before_it_is_asked(
    bench: Bench,
) -> None:
    asked: list[Any] = []
    Quick.answer = lambda shipment: asked.append(shipment) or Quotes(rates=(a_rate("2.00"),))
    quick_id = bench.connect(Quick)
    long = replace(YORK, line1="The Old Granary at Upper Mill Lane Farm 7")
    work_id = bench.order()
    shipment_id = bench.pack(work_id)
    order_id = bench.shipment(shipment_id).order_id

    def send_to(address: Any) -> None:
        with bench.database.write() as connection:
            connection.execute(
                update(t.sales_order).where(t.sales_order.c.id == order_id).values(shipping_address=to_plain(address))
            )
        bench.act(labels.ask_rates, shipment_id)
        bench.town.work()

    send_to(long)
    assert (asked[-1].destination.line1, asked[-1].destination.line2) == (
        "The Old Granary at Upper Mill Lane",
        "Farm 7",
    )
    send_to(replace(YORK, city="Y" * 45))
    with pytest.raises(BadInput, match="Too long for its labels: city: 45 characters, and 35 fit"):
        bench.act(labels.buy, shipment_id, quick_id, a_rate("2.00"), "")
    monkey = replace(YORK, name="N" * 36)
    with pytest.raises(BadInput, match="name: 36 characters, and 35 fit"):
        labels.for_carrier(replace(asked[-1], destination=monkey), "ups")
    assert bench.shipment(shipment_id).state == "draft"


def test_a_file_that_does_not_come_is_asked_for_again_and_a_person_told(bench: Bench) -> None:
    bench.automatic()
    bench.acme.fail_next("/v1/labels/", Fault.status(404), times=1)

    bench.packed()
    assert bench.town.count(t.issue, t.issue.c.kind == "label_without_file", t.issue.c.resolved_at.is_(None)) == 1
    bench.town.let_pass(2 * 3600)
    bench.town.work()

    assert bench.town.count(t.issue, t.issue.c.kind == "label_without_file", t.issue.c.resolved_at.is_(None)) == 0
    assert bench.town.count(t.document) == 1


# ---------------------------------------------------------------- on the way


def test_webhooks_tell_where_a_parcel_is_and_the_channel_hears_that_it_left(bench: Bench) -> None:
    bench.automatic()
    bench.acme.hold_webhooks()
    shipment_id = bench.packed()
    (number,) = bench.shipment(shipment_id).tracking_numbers

    for status in (TrackingStatus.IN_TRANSIT, TrackingStatus.DELIVERED):
        bench.acme.scan(number, status)
        (letter,) = bench.acme.take_webhooks()
        assert bench.town.hear(letter) == 200
        bench.town.work()

    row = bench.shipment(shipment_id)
    assert (row.state, row.tracking_status, row.delivered_at is not None) == ("shipped", "delivered", True)
    assert [told.tracking_numbers for told in ListeningShop.told] == [(number,)]
    assert bench.town.stock()["MUG"] == (18, 0)
    assert bench.town.row(t.fulfillment_order).state == "delivered"
    bench.town.sound()


def test_a_forged_webhook_of_a_carrier_is_refused(bench: Bench) -> None:
    bench.automatic()
    bench.acme.hold_webhooks()
    shipment_id = bench.packed()
    bench.acme.scan(bench.shipment(shipment_id).tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    (letter,) = bench.acme.take_webhooks()

    assert bench.town.hear(replace(letter, body=letter.body + b" ")) == 401
    bench.town.work()

    assert bench.shipment(shipment_id).state == "labelled"


def test_without_webhooks_the_carrier_is_asked_every_few_hours(bench: Bench) -> None:
    bench.automatic()
    shipment_id = bench.packed()
    bench.acme.webhook = None
    bench.acme.scan(bench.shipment(shipment_id).tracking_numbers[0], TrackingStatus.OUT_FOR_DELIVERY)

    bench.town.work()
    assert bench.shipment(shipment_id).state == "labelled"
    bench.town.let_pass(2 * 3600)
    bench.town.work()

    row = bench.shipment(shipment_id)
    assert (row.state, row.tracking_status) == ("shipped", "out_for_delivery")
    assert bench.town.row(t.tracking_event, t.tracking_event.c.status == "out_for_delivery").place == "Leeds, GB"


def test_where_nothing_new_is_said_the_next_look_comes_later_all_the_same(bench: Bench) -> None:
    bench.automatic()
    shipment_id = bench.packed()
    for _ in range(2):
        bench.town.let_pass(7 * 3600)
        bench.town.work()

    row = bench.shipment(shipment_id)
    with bench.database.read() as connection:
        assert row.track_at > bench.database.now(connection)


# ---------------------------------------------------------------- killed anywhere


@pytest.mark.parametrize("deaths", [pytest.param(1, id="once"), pytest.param(2, id="twice", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_whoever_dies_at_any_point_of_any_pass_of_buying_and_voiding_charges_once_and_gets_all_of_it_back(
    bench: Bench, lost: bool, deaths: int
) -> None:
    work_id = bench.order()
    first = bench.pack(work_id)
    bench.town.work()
    offer = labels.offers(bench.shipment(first))[0]
    bench.act(labels.give_back, first, actor=OWNER)

    def lives_to_see(shipment_id: UUID, state: str, fates: Sequence[Fate]) -> bool:
        if lost:
            bench.acme.fail_next("/v1/labels", Fault.reset(after_effect=True))
        found = passes(
            bench.town,
            fates,
            lambda: jobs.drain(bench.town.hub, bench.town.merchant, bench.acme_id, "effects"),
            lambda: bool(bench.shipment(shipment_id).state == state),
        )
        bench.acme.heal()
        return found

    def survives(deadly: Deadly) -> bool:
        shipment_id = bench.pack(work_id)
        reference = bench.shipment(shipment_id).reference
        bench.act(labels.buy, shipment_id, bench.acme_id, offer.rate, "Cheapest.")
        buying, voiding = [Fate(*each) for each in deadly], [Fate(*each) for each in deadly]
        assert lives_to_see(shipment_id, "labelled", buying), buying
        assert [each.voided for each in bench.acme.charges() if each.reference == reference] == [False]
        bench.act(labels.give_back, shipment_id, actor=OWNER)
        assert lives_to_see(shipment_id, "void", voiding), voiding
        assert [each.voided for each in bench.acme.charges() if each.reference == reference] == [True]
        return not (buying[-1].dead or voiding[-1].dead)

    died = every_death(survives, deaths)
    bench.town.sound()
    assert died >= 8 + 6 * lost
