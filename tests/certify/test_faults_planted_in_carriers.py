"""The contract for carriers bites: a fault planted in a connector that keeps it is caught by the case that names it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

import hub
from hub.certify import FAILED, NOT_APPLICABLE, PASSED
from hub.connector import Kind
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector
from tests.scaffold.written import connector, module, tried

Honest: Any = connector(Kind.CARRIER)


class BuysAgain(Honest):
    """Says that buying twice is harmless."""

    effects = {**Honest.effects, "buy_label": hub.Settlement.NATURAL_KEY}  # noqa: RUF012


class FindsNothing(Honest):
    """Never finds the label whose answer was lost."""

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        return None


class FindsAnyLabel(Honest):
    """Looks for the newest label, whosever it is."""

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        others = replace(purchase, shipment=replace(purchase.shipment, reference=self._last or "none"))
        return super().find_buy_label(others, key)  # type: ignore[no-any-return]

    _last = ""

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        type(self)._last = purchase.shipment.reference
        return super().buy_label(purchase, key)  # type: ignore[no-any-return]


class LooksByBuying(Honest):
    """Buys while it looks."""

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        return self.buy_label(purchase, key)  # type: ignore[no-any-return]


class KeepsTheReference(Honest):
    """Sends the vendor another reference than ours."""

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        renamed = replace(purchase, shipment=replace(purchase.shipment, reference="SHIPMENT"))
        return super().buy_label(renamed, key)  # type: ignore[no-any-return]


class RetriesByItself(Honest):
    """Tries once more when an answer is lost."""

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        try:
            return super().buy_label(purchase, key)  # type: ignore[no-any-return]
        except hub.Unavailable:
            return super().buy_label(purchase, key)  # type: ignore[no-any-return]


class SaysItWasNeverSent(Honest):
    """Calls every lost answer a request that never left."""

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        try:
            return super().buy_label(purchase, key)  # type: ignore[no-any-return]
        except hub.Unavailable as error:
            raise hub.Unavailable(str(error), sent=False) from error


class ForgetsTheUnit(Honest):
    """Sends the number of a weight, whatever it was weighed in."""

    def _light(self, shipment: hub.Shipment) -> hub.Shipment:
        amounts = [hub.Weight(parcel.weight.amount, hub.WeightUnit.GRAM) for parcel in shipment.parcels]
        parcels = [replace(parcel, weight=weight) for parcel, weight in zip(shipment.parcels, amounts, strict=True)]
        return replace(shipment, parcels=tuple(parcels))

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        return super().buy_label(replace(purchase, shipment=self._light(purchase.shipment)), key)  # type: ignore[no-any-return]


class RoundsDown(ForgetsTheUnit):
    """Cuts fractions of a gram off."""

    def _light(self, shipment: hub.Shipment) -> hub.Shipment:
        grams = [max(1, int(each.weight.rounded_up(hub.WeightUnit.GRAM, 3))) for each in shipment.parcels]
        weights = [hub.Weight.of(each, hub.WeightUnit.GRAM) for each in grams]
        parcels = [replace(parcel, weight=weight) for parcel, weight in zip(shipment.parcels, weights, strict=True)]
        return replace(shipment, parcels=tuple(parcels))


class ThinksInEuros(Honest):
    """Takes every amount for euros."""

    def rates(self, shipment: hub.Shipment) -> hub.Quotes:
        quotes = super().rates(shipment)
        euros = [replace(rate, cost=hub.Money(rate.cost.amount, "EUR")) for rate in quotes.rates]
        return replace(quotes, rates=tuple(euros))  # type: ignore[no-any-return]


class TakesAnythingForALabel(Honest):
    """Does not look at the file it got."""

    def fetch_documents(self, label: hub.Label, format: hub.DocumentFormat) -> Sequence[hub.Document]:
        path = f"https://api.written-carrier.example/v1/labels/{label.external_id}/file"
        headers = {"Authorization": f"Bearer {self.settings['api_key']}", "X-Account": self.settings["account"]}
        body = self.client.get(path, params={"format": format.value}, headers=headers).body
        return [hub.Document(content=body, format=format)]


class MixesFormatsUp(Honest):
    """Calls every file a PDF."""

    def fetch_documents(self, label: hub.Label, format: hub.DocumentFormat) -> Sequence[hub.Document]:
        return [replace(each, format=hub.DocumentFormat.PDF) for each in super().fetch_documents(label, format)]


class ThinksNewWordsAreGood(Honest):
    """Takes a status that it does not know for delivered."""

    def read_tracking(self, record: hub.RawRecord) -> hub.Tracking:
        found = super().read_tracking(record)
        if found.status is hub.TrackingStatus.UNKNOWN:
            return replace(found, status=hub.TrackingStatus.DELIVERED)  # type: ignore[no-any-return]
        return found  # type: ignore[no-any-return]


class FollowsTheFirstParcel(Honest):
    """Forgets that a shipment may have several parcels."""

    def track(self, label: hub.Label) -> Iterator[hub.RawRecord]:
        yield next(super().track(label))


class TakesItselfForVoided(Honest):
    """Calls a label voided whatever the carrier says."""

    def void_label(self, label: hub.Label, key: str) -> hub.LabelVoid:
        return replace(super().void_label(label, key), state=hub.VoidState.VOIDED)  # type: ignore[no-any-return]


class BelievesEverybody(Honest):
    """Does not look at signatures."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        return hub.Delivery("tracking", hashlib.sha256(webhook.body).hexdigest())


class KnowsParcelsByNumber(Honest):
    """Takes two scans of one parcel for one and the same."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        delivery = super().verify(webhook)
        return replace(delivery, dedupe_key="tracking") if delivery else None


class TellsTheKey(Honest):
    """Puts the key into the message about it."""

    def rates(self, shipment: hub.Shipment) -> hub.Quotes:
        try:
            return super().rates(shipment)  # type: ignore[no-any-return]
        except hub.ConnectorError as error:
            raise hub.Rejected(f"{error} The key was {self.settings['api_key']}.") from error


class CrashesOnNull(Honest):
    """Reads a record without looking at it."""

    def read_tracking(self, record: hub.RawRecord) -> hub.Tracking:
        json.loads(record.body)["scans"][0]["at"].upper()
        return super().read_tracking(record)  # type: ignore[no-any-return]


class JudgesNobody(Honest):
    """Finds every address good."""

    def validate_address(self, address: hub.Address) -> hub.AddressVerdict:
        super().validate_address(address)
        return hub.AddressVerdict(state=hub.AddressState.VALID)


class SaysWebhooksTwice(Honest):
    """Asks a clock while it reads."""

    _reads = 0

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.CarrierFact]:
        type(self)._reads += 1
        return [replace(each, signed_by=str(self._reads)) for each in super().read_webhook(record)]


PLANTED: list[tuple[type[Any], str]] = [
    (BuysAgain, "buying-once-after-a-500-after"),
    (BuysAgain, "buying-once-dying-after-the-first-answer"),
    (BuysAgain, "buying-twice-with-one-key-is-one"),
    (FindsNothing, "buying-once-after-a-reset-after"),
    (FindsNothing, "buying-is-found-after"),
    (FindsAnyLabel, "buying-of-others-is-not-found"),
    (LooksByBuying, "buying-looking-changes-nothing"),
    (KeepsTheReference, "label-carries-our-reference"),
    (RetriesByItself, "buying-once-after-a-truncated-answer"),
    (RetriesByItself, "no-retry-after-reset-at-buy-label"),
    (SaysItWasNeverSent, "error-reset-after-the-effect-at-buy-label"),
    (SaysItWasNeverSent, "buying-once-after-a-silent-connection"),
    (ForgetsTheUnit, "weight-in-ounces"),
    (RoundsDown, "weight-in-a-fraction-of-an-ounce"),
    (ThinksInEuros, "rates-in-JPY"),
    (TakesAnythingForALabel, "label-file-of-the-wrong-kind-is-refused"),
    (MixesFormatsUp, "label-file-in-zpl"),
    (ThinksNewWordsAreGood, "track-says-unknown-for-a-new-word"),
    (FollowsTheFirstParcel, "track-tells-each-parcel"),
    (TakesItselfForVoided, "void-of-a-used-label-is-refused"),
    (BelievesEverybody, "webhook-tampered-body-refused"),
    (BelievesEverybody, "webhook-swapped-between-merchants-refused"),
    (KnowsParcelsByNumber, "webhook-news-has-a-key-of-its-own"),
    (TellsTheKey, "secrets-not-in-errors-of-rates"),
    (CrashesOnNull, "track-value-null-survived"),
    (JudgesNobody, "address-of-nowhere-is-not"),
    (SaysWebhooksTwice, "webhook-read-without-asking"),
]


@pytest.mark.parametrize(("planted", "case"), PLANTED, ids=lambda each: getattr(each, "__name__", each))
def test_a_planted_fault_is_caught(planted: type[Any], case: str) -> None:
    caught = tried(case, planted)

    assert caught.state == FAILED, f"{case} let pass: {planted.__doc__}"
    assert not re.match("(Attribute|Key|Name|Type)Error", caught.reason), "The fault itself is broken."


@pytest.mark.parametrize("case", sorted({case for _, case in PLANTED} - {"buying-twice-with-one-key-is-one"}))
def test_the_connector_that_it_was_planted_in_passes(case: str) -> None:
    passed = tried(case, Honest)

    assert (passed.state, passed.reason) == (PASSED, "")


# ---------------------------------------------------------------- the other settlement classes


class AsksAPerson(Honest):
    """Belongs to a vendor that can neither be asked nor told twice."""

    effects = {**Honest.effects, "buy_label": hub.Settlement.NONE, "void_label": hub.Settlement.NONE}  # noqa: RUF012


def _keyed_simulator() -> Callable[..., Any]:
    honest = module(Kind.CARRIER, "simulator")

    class Keyed(honest.WrittenCarrierSimulator):  # type: ignore[misc,name-defined]
        """Answers a key that it has seen with what it answered then."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._by_key: dict[str, Any] = {}

        def answer(self, request: Any) -> Any:
            key = request.headers.get("idempotency-key", "")
            if key in self._by_key:
                return self._by_key[key]
            answer = super().answer(request)
            if key and answer.status < 300:
                self._by_key[key] = answer
            return answer

    return Keyed


class SendsTheKey(Honest):
    """Belongs to a vendor that knows idempotency keys."""

    effects = {**Honest.effects, "buy_label": hub.Settlement.NATIVE_KEY}  # noqa: RUF012
    _key = ""

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        self._key = key
        return super().buy_label(purchase, key)  # type: ignore[no-any-return]

    def _ask(self, method: str, path: str, **options: Any) -> hub.Response:
        headers = {"Authorization": f"Bearer {self.settings['api_key']}", "X-Account": self.settings["account"]}
        if self._key:
            headers["Idempotency-Key"] = self._key
        return self.client.request(  # type: ignore[no-any-return]
            method, f"https://api.written-carrier.example/v1/{path}", headers=headers, **options
        )


class MakesNewKeys(SendsTheKey):
    """Sends another key each time."""

    _made = 0

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        type(self)._made += 1
        return super().buy_label(purchase, f"{key}-{self._made}")


ONCE = ["buying-once-after-a-500-after", "buying-once-after-a-reset-before", "buying-once-dying-after-the-first-answer"]


@pytest.mark.parametrize("case", [*ONCE, "buying-is-never-repeated-blindly"])
def test_where_nobody_can_tell_a_person_is_asked(case: str) -> None:
    assert tried(case, AsksAPerson).state == PASSED


@pytest.mark.parametrize("case", [*ONCE, "buying-twice-with-one-key-is-one"])
def test_a_vendor_that_knows_keys_is_sent_the_same_again(case: str) -> None:
    keyed = _keyed_simulator()

    assert (outcome := tried(case, SendsTheKey, keyed)).state == PASSED, outcome.reason


def test_a_key_that_changes_is_caught() -> None:
    caught = tried("buying-twice-with-one-key-is-one", MakesNewKeys, _keyed_simulator())

    assert (caught.state, caught.reason) == (FAILED, "The vendor did it 2 times.")


# ---------------------------------------------------------------- who tells of single parcels, and signs nothing


class BelievesWhatIsPushed(UpsConnector):
    """Takes what nobody has signed for what the carrier says."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.CarrierFact]:
        for each in super().read_webhook(record):
            assert isinstance(each, hub.Refetch)
            said = hub.TrackingStatus.DELIVERED
            yield hub.Tracking(tracking_number=each.external_id, status=said, carrier_status="D")


class AsksForEachParcel(UpsConnector):
    """Makes a request of every number."""

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        ask = super().follow_parcels
        return tuple(refused for number in tracking_numbers for refused in ask([number], address))


class TakesEveryNumberForFollowed(UpsConnector):
    """Does not look at what the carrier refuses."""

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        super().follow_parcels(tracking_numbers, address)
        return ()


class NeverAsksTwice(UpsConnector):
    """Remembers what was asked for, and spares the carrier the second time."""

    _asked: ClassVar[set[str]] = set()

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        new = [number for number in tracking_numbers if number not in self._asked]
        self._asked.update(new)
        return super().follow_parcels(new, address)


class PromisesAMonth(UpsConnector):
    """Says that the carrier tells of a parcel for longer than it does."""

    capabilities = replace(UpsConnector.capabilities, follow_days=30)


class FollowsNothing(UpsConnector):
    """Forgets to ask."""

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        return ()


PLANTED_IN_UPS: list[tuple[type[UpsConnector], str]] = [
    (BelievesWhatIsPushed, "webhook-unsigned-is-a-hint"),
    (AsksForEachParcel, "following-a-full-batch-is-one-request"),
    (TakesEveryNumberForFollowed, "following-names-what-it-does-not"),
    (NeverAsksTwice, "following-lasts-as-declared"),
    (PromisesAMonth, "following-lasts-as-declared"),
    (FollowsNothing, "following-tells-of-that-parcel"),
]


@pytest.mark.parametrize(("planted", "case"), PLANTED_IN_UPS, ids=lambda each: getattr(each, "__name__", each))
def test_a_fault_planted_in_who_follows_single_parcels_is_caught(planted: type[UpsConnector], case: str) -> None:
    caught = tried(case, planted, UpsSimulator)

    assert caught.state == FAILED, f"{case} let pass: {planted.__doc__}"
    assert not re.match("(Attribute|Key|Name|Type)Error", caught.reason), "The fault itself is broken."


@pytest.mark.parametrize("case", ["webhook-tampered-body-refused", "subscription-repeated-changes-nothing"])
def test_what_cannot_be_asked_of_such_a_carrier_is_not(case: str) -> None:
    assert tried(case, UpsConnector, UpsSimulator).state == NOT_APPLICABLE
