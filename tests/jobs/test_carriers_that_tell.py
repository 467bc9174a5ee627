"""Carriers that tell by themselves, and those that are asked: UPS's alerts, lost webhooks, labels that are taken back
late, addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import update

import hub
from hub.connector import CarrierCapabilities, Refetch
from hub.core.plain import to_plain
from hub.core.rates import ShippingPolicy
from hub.core.shipping import AddressState, Label, LabelVoid, TrackingStatus, VoidState
from hub.errors import Rejected, Unreadable
from hub.jobs import following_parcels, watchdog
from hub.jobs.guard import guarded
from hub.plugins import Registry
from hub.store import address_checks, connections, handling, labels, policies
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub.testing import Fault, connector_for
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.simulator_easypost import EasyPostSimulator
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector
from tests.jobs.fake_shop import FakeSettings, Shop, connect, open_shop
from tests.jobs.test_rates_and_tracking import Bench, ListeningShop
from tests.store.post_office import LEEDS, PostOffice
from tests.town import OWNER, Town, town

PUBLIC = "https://hub.example"
# What is written is tested on both databases where it is written.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class Patient(PostOffice):
    """Takes labels back late, and is asked what has become of it by looking."""

    name, label = "patient", "Patient"
    settings_schema: ClassVar[Any] = FakeSettings
    capabilities = CarrierCapabilities(webhooks=False)
    office: ClassVar[PostOffice]
    found: ClassVar[LabelVoid | Exception | None] = None
    keys: ClassVar[list[str]] = []
    effects: ClassVar[dict[str, hub.Settlement]] = {
        "buy_label": hub.Settlement.LOOKUP,
        "void_label": hub.Settlement.LOOKUP,
    }

    def __init__(self, context: Any) -> None:
        self.__dict__ = type(self).office.__dict__  # one carrier, however often it is constructed
        self.context, self.client = context, context.client

    def check(self) -> hub.Account:
        return hub.Account(external_id=self.name, name=self.label, currency="GBP")

    def track(self, label: Label) -> Iterator[hub.RawRecord]:
        yield from ()

    def find_void_label(self, label: Label, key: str) -> LabelVoid | None:
        self.calls.append("find void")
        self.keys.append(key)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def built(database: Database, keyring: KeyRing, merchant: UUID, tmp_path: Path) -> Iterator[Town]:
    Patient.office, Patient.found = PostOffice(), None
    Patient.keys.clear()
    ListeningShop.told.clear()
    registry = Registry({each.name: each for each in (ListeningShop, UpsConnector, EasyPostConnector, Patient)})
    with town(database, keyring, merchant, registry, tmp_path, public_url=PUBLIC) as built:
        yield built


def opened(town: Town, carrier: Any = None, connector: Any = None) -> Bench:
    """A shop whose orders are shipped from Leeds with this carrier, which labels are bought from by themselves."""
    shop = Shop(stock={"mug": 20})
    shop_id = open_shop(town, shop, ListeningShop, adopt=True)
    with town.hub.database.write() as connection:
        connection.execute(update(t.location).values(address=to_plain(replace(LEEDS, phone="0113 496 0000"))))
    policies.save_shipping(town.hub.database, town.merchant, ShippingPolicy(automatic=True), OWNER)
    if carrier is None:
        return Bench(town, None, shop_id, connect(town, Shop(name="patient"), connector), shop)
    carrier.price_in("GBP")
    carrier.hold_webhooks()
    return Bench(town, carrier, shop_id, town.connect(connector, carrier), shop)


@pytest.fixture
def ups(built: Town) -> Bench:
    return opened(built, UpsSimulator(), UpsConnector)


def labelled(bench: Bench) -> Any:
    """A shipment with a label."""
    shipment_id = bench.packed()
    row = bench.shipment(shipment_id)
    assert row.state == "labelled", row.error
    return row


def subscribed(bench: Bench) -> list[list[str]]:
    """The parcels of each request to be told of them."""
    return [each.json()["trackingNumberList"] for each in bench.acme.requests if "subscription" in each.path]


def later(bench: Bench, **span: float) -> None:
    bench.town.let_pass(timedelta(**span).total_seconds())
    bench.town.work()


# ---------------------------------------------------------------- followed by UPS


def test_a_new_label_is_followed_and_an_alert_has_ups_asked_where_the_parcel_is(ups: Bench) -> None:
    row = labelled(ups)
    (number,) = row.tracking_numbers
    assert subscribed(ups) == [], "the next labels are waited for"
    later(ups, seconds=40)
    assert subscribed(ups) == [[number]]
    asked = ups.acme.requests[-1].json()["destination"]
    assert asked["url"] == f"{PUBLIC}/webhooks/{ups.town.merchant}/{ups.acme_id}"

    for status in (TrackingStatus.IN_TRANSIT, TrackingStatus.DELIVERED):
        ups.acme.scan(number, status)
        (letter,) = ups.acme.take_webhooks()
        assert ups.town.hear(letter) == 200
        ups.town.work()

    row = ups.shipment(row.id)
    assert (row.state, row.tracking_status, row.follow_at) == ("shipped", "delivered", None)
    assert [told.tracking_numbers for told in ListeningShop.told] == [(number,)]
    notes = [each.summary for each in ups.town.rows(t.activity, t.activity.c.kind == "parcels_followed")]
    assert notes == ["UPS tells what happens to 1 parcel"]
    ups.town.sound()


def test_an_alert_that_somebody_made_up_changes_nothing_by_what_it_says(ups: Bench) -> None:
    row = labelled(ups)
    later(ups, seconds=40)
    ups.acme.scan(row.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    (letter,) = ups.acme.take_webhooks()
    stranger = replace(letter, headers={**letter.headers, "credential": "guessed"})
    assert ups.town.hear(stranger) == 401

    assert ups.town.hear(replace(letter, body=letter.body.replace(b'"AR"', b'"KB"').replace(b'"I"', b'"D"'))) == 200
    ups.town.work()

    assert ups.shipment(row.id).tracking_status == "in_transit", "UPS was asked, and says so"


def test_all_that_is_due_is_one_request_and_it_is_renewed_before_the_days_are_over(ups: Bench) -> None:
    rows = [labelled(ups) for _ in range(3)]
    numbers = sorted(number for row in rows for number in row.tracking_numbers)
    later(ups, seconds=40)
    assert [sorted(each) for each in subscribed(ups)] == [numbers]

    ups.acme.scan(rows[0].tracking_numbers[0], TrackingStatus.DELIVERED)
    later(ups, days=10)
    assert len(subscribed(ups)) == 1, "it still tells of them"
    later(ups, hours=13)

    still = sorted(number for row in rows[1:] for number in row.tracking_numbers)
    assert [sorted(each) for each in subscribed(ups)] == [numbers, still], "of what has arrived nobody asks any more"


def test_an_account_without_alerts_sells_labels_and_is_asked_once_a_day(ups: Bench) -> None:
    refused = Fault(response=hub.testing.SimResponse.of_json({"response": {"errors": []}}, 403))
    ups.acme.fail_next("/api/track/v1/subscription", refused, times=50)
    row = labelled(ups)
    later(ups, seconds=40)
    second = labelled(ups)
    later(ups, hours=3)

    assert following_parcels.NOT_FOLLOWED in ups.town.issues()
    assert (len(subscribed(ups)), ups.town.row(t.connection, t.connection.c.id == ups.acme_id).state) == (
        2,
        "connected",
    )
    assert second.state == "labelled"
    ups.acme.scan(row.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    later(ups, hours=7)
    assert ups.shipment(row.id).tracking_status == "in_transit", "it is asked as before"

    ups.acme.heal()
    later(ups, days=1)
    assert following_parcels.NOT_FOLLOWED not in ups.town.issues()


def test_a_carrier_that_is_away_is_asked_to_follow_later(ups: Bench) -> None:
    ups.acme.fail_next("/api/track/v1/subscription", Fault.status(500))
    row = labelled(ups)
    later(ups, seconds=40)
    assert len(subscribed(ups)) == 1

    later(ups, minutes=11)

    assert len(subscribed(ups)) == 2
    ups.acme.scan(row.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    assert len(ups.acme.take_webhooks()) == 1


def test_a_hub_that_nobody_can_reach_has_nothing_followed_until_it_can_be(ups: Bench) -> None:
    settings = ups.town.hub.settings
    ups.town.hub = replace(ups.town.hub, settings=replace(settings, public_url=None))
    labelled(ups)
    later(ups, hours=1)
    assert subscribed(ups) == []

    ups.town.hub = replace(ups.town.hub, settings=settings)
    later(ups, days=1)

    assert len(subscribed(ups)) == 1


def test_who_tells_of_all_its_parcels_or_of_none_is_not_asked_for_each(built: Town) -> None:
    bench = opened(built, connector=Patient)
    row = labelled(bench)
    assert row.follow_at is not None

    later(bench, seconds=40)

    assert (bench.shipment(row.id).follow_at, Patient.office.calls) == (None, ["buy"])


def test_reconnecting_has_every_parcel_under_way_followed_anew(ups: Bench) -> None:
    labelled(ups)
    later(ups, seconds=40)

    connections.reconnect(
        ups.town.hub.database,
        ups.town.hub.keyring,
        ups.town.merchant,
        ups.acme_id,
        UpsConnector,
        UpsConnector.settings_schema().load(ups.acme.settings()),
        OWNER,
    )
    ups.town.work()

    assert len(subscribed(ups)) == 2


# ---------------------------------------------------------------- what is not signed is not believed


class Gullible(UpsConnector):
    """Believes what nobody has signed."""

    believed: ClassVar[Any] = None

    def read_webhook(self, record: hub.RawRecord) -> Sequence[Any]:
        return [self.believed]


def test_a_connector_whose_webhooks_are_unsigned_may_only_ask_for_more(ups: Bench) -> None:
    record = hub.RawRecord("track_alert", "", b"{}")
    believing = guarded(Gullible, connector_for(Gullible, ups.acme).context)
    Gullible.believed = hub.Tracking(
        tracking_number="1Z", status=TrackingStatus.DELIVERED, carrier_status="D", events=()
    )
    with pytest.raises(Unreadable, match="nobody has signed: it may only answer Refetch"):
        believing.read_webhook(record)

    Gullible.believed = Refetch("tracking", "1Z")
    assert list(believing.read_webhook(record)) == [Refetch("tracking", "1Z")]


# ---------------------------------------------------------------- webhooks that are lost


def test_a_webhook_that_easypost_has_given_up_is_made_again_and_the_gap_is_filled(built: Town) -> None:
    bench = opened(built, EasyPostSimulator(), EasyPostConnector)
    row = labelled(bench)
    later(bench, minutes=6)
    kept = bench.town.row(t.connection, t.connection.c.id == bench.acme_id).subscriptions
    assert (kept["missing"], "tracker.updated" in kept["active"]) == ([], True)
    for _ in range(3):  # our address is broken for a while, until EasyPost gives up
        bench.acme.scan(row.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
        for letter in bench.acme.take_webhooks():
            bench.acme.answered(letter, 500)
    bench.acme.scan(row.tracking_numbers[0], TrackingStatus.OUT_FOR_DELIVERY)
    assert bench.acme.take_webhooks() == [], "it has given up"
    with bench.database.write() as connection:  # the parcel was looked at just now: only the watchdog is due
        now = bench.database.now(connection)
        connection.execute(update(t.shipment).values(track_at=now + timedelta(days=1)))
        connection.execute(t.cursor.update().where(t.cursor.c.stream == watchdog.STREAM).values(due_at=now))

    bench.town.work()

    assert bench.shipment(row.id).tracking_status == "out_for_delivery"
    (told,) = bench.town.rows(t.activity, t.activity.c.kind == watchdog.LOST)
    assert told.summary.startswith("EasyPost had stopped sending webhooks")
    bench.acme.scan(row.tracking_numbers[0], TrackingStatus.DELIVERED)
    (letter,) = bench.acme.take_webhooks()
    assert bench.town.hear(letter) == 200
    bench.town.work()
    assert bench.shipment(row.id).tracking_status == "delivered"
    later(bench, hours=2)
    kept = bench.town.row(t.connection, t.connection.c.id == bench.acme_id).subscriptions
    assert kept["missing"] == []


def test_a_webhook_that_somebody_deleted_at_easypost_is_made_again(built: Town) -> None:
    bench = opened(built, EasyPostSimulator(), EasyPostConnector)
    bench.acme.webhooks.clear()

    later(bench, hours=2)

    (webhook,) = bench.acme.webhooks.values()
    assert webhook["url"] == f"{PUBLIC}/webhooks/{built.merchant}/{bench.acme_id}"


def test_a_carrier_of_which_only_single_parcels_are_told_is_not_watched(ups: Bench) -> None:
    assert ups.town.rows(t.cursor, t.cursor.c.connection_id == ups.acme_id) == []


# ---------------------------------------------------------------- labels that are taken back late


@pytest.fixture
def patient(built: Town) -> Bench:
    return opened(built, connector=Patient)


def given_back(bench: Bench) -> Any:
    row = labelled(bench)
    Patient.office.says = VoidState.REQUESTED
    bench.act(labels.give_back, row.id, actor=OWNER)
    bench.town.work()
    assert bench.shipment(row.id).void_ask_at is not None
    return row


def not_voided(bench: Bench) -> int:
    """Open issues about labels that could not be given back."""
    return bench.town.count(t.issue, t.issue.c.kind == labels.NOT_VOIDED, t.issue.c.resolved_at.is_(None))


def said(state: VoidState) -> LabelVoid:
    return LabelVoid(label_external_id="label-1", state=state, message="It was used.")


@pytest.mark.parametrize(
    ("state", "ends", "issues"),
    [(VoidState.VOIDED, "void", 0), (VoidState.REFUSED, "labelled", 1)],
    ids=["taken back", "refused"],
)
def test_a_carrier_that_decides_later_is_asked_until_it_has(
    patient: Bench, state: VoidState, ends: str, issues: int
) -> None:
    row = given_back(patient)
    Patient.found = said(VoidState.REQUESTED)
    later(patient, hours=1.1)
    later(patient, hours=1.5)
    assert Patient.office.calls.count("find void") == 2

    Patient.found = said(state)
    later(patient, hours=3)
    later(patient, days=2)

    assert (patient.shipment(row.id).state, not_voided(patient)) == (ends, issues)
    assert Patient.office.calls.count("find void") == 3, "once it has decided nobody asks"
    assert Patient.office.calls.count("void") == 1
    effect = patient.town.row(t.effect, t.effect.c.kind == "void_label")
    assert set(Patient.keys) == {str(effect.effect_key)}


def test_a_carrier_that_cannot_say_is_asked_again_later_and_at_last_a_person_is_told(patient: Bench) -> None:
    row = given_back(patient)
    Patient.found = Rejected("It does not know this label.")
    later(patient, hours=1.1)
    assert patient.shipment(row.id).void_ask_at is not None
    later(patient, hours=1.5)
    assert Patient.office.calls.count("find void") == 2

    later(patient, days=30)

    assert (patient.shipment(row.id).void_ask_at, not_voided(patient)) == (None, 1)


def test_a_carrier_that_knows_of_no_wish_is_told_it_again(patient: Bench) -> None:
    row = given_back(patient)
    Patient.office.says = VoidState.VOIDED

    later(patient, hours=1.1)

    assert (patient.shipment(row.id).state, Patient.office.calls.count("void")) == ("void", 2)


# ---------------------------------------------------------------- addresses


def fifth_avenue(bench: Bench, **more: str) -> UUID:
    """An order to New York; returns its id."""
    work_id = bench.order()
    order_id = bench.town.row(t.fulfillment_order, t.fulfillment_order.c.id == work_id).order_id
    address = replace(bench.acme.example("R-1").destination, **more)
    handling.correct_address(bench.database, bench.town.merchant, order_id, address, OWNER)
    return order_id  # type: ignore[no-any-return]


def ask(bench: Bench, order_id: UUID) -> address_checks.Check:
    address_checks.ask(bench.database, bench.town.merchant, order_id, bench.acme_id, OWNER)
    bench.town.work()
    return check(bench, order_id)


def check(bench: Bench, order_id: UUID) -> address_checks.Check:
    with bench.database.read() as connection:
        found = address_checks.of_order(connection, bench.town.merchant, order_id)
    assert found is not None
    return found


def test_what_ups_would_write_otherwise_is_taken_over_and_right_then(ups: Bench) -> None:
    order_id = fifth_avenue(ups, line1="350 Fifth Street")
    found = ask(ups, order_id)
    assert found.verdict is not None and found.verdict.state is AddressState.CORRECTED
    assert [each.line1 for each in found.suggestions] == ["350 FIFTH ST"]

    address_checks.take_over(ups.database, ups.town.merchant, order_id, found.suggested[0], OWNER)

    assert check(ups, order_id).taken
    verdict = ask(ups, order_id).verdict
    assert verdict is not None and verdict.state is AddressState.VALID


def test_why_ups_does_not_check_an_address_is_told_and_the_account_stays_connected(ups: Bench) -> None:
    work_id = ups.order()
    order_id = ups.town.row(t.fulfillment_order, t.fulfillment_order.c.id == work_id).order_id

    found = ask(ups, order_id)

    assert (found.state, "United States and Puerto Rico only" in found.error) == ("failed", True)
    assert ups.town.row(t.connection, t.connection.c.id == ups.acme_id).state == "connected"


def test_a_question_over_which_the_worker_died_each_time_is_given_up(ups: Bench) -> None:
    order_id = fifth_avenue(ups)
    address_checks.ask(ups.database, ups.town.merchant, order_id, ups.acme_id, OWNER)
    with ups.database.write() as connection:  # each try is counted before it is made
        connection.execute(update(t.address_check).values(attempts=address_checks.TRIES))
    before = len(ups.acme.requests)

    ups.town.work()

    found = check(ups, order_id)
    assert (found.state, "broke down over this several times" in found.error) == ("failed", True)
    assert len(ups.acme.requests) == before


def test_a_carrier_that_is_away_is_asked_three_times_and_then_it_is_said(ups: Bench) -> None:
    order_id = fifth_avenue(ups)
    ups.acme.fail_next("/api/addressvalidation", Fault.status(500), times=3)
    assert ask(ups, order_id).state == "asked"

    later(ups, seconds=30)
    assert check(ups, order_id).state == "asked"
    later(ups, seconds=60)

    assert check(ups, order_id).state == "failed"
    assert ask(ups, order_id).state == "answered", "and asked anew it answers"
