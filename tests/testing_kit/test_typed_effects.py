"""Between the stored request of an effect and the typed method of a connector: what is read, kept and refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

import hub
from hub.core.plain import from_plain, to_plain
from hub.http import RefusingClient

PARCEL = hub.Parcel(weight=hub.Weight.of("1", hub.WeightUnit.KILOGRAM))
SHIPMENT = hub.Shipment(reference="R-1", origin=hub.Address(), destination=hub.Address(), parcels=(PARCEL,))
RATE = hub.Rate(external_id="7", carrier="acme", service="economy", cost=hub.Money.of("4.90", "EUR"))
PURCHASE = hub.LabelPurchase(shipment=SHIPMENT, rate=RATE)
FILE = hub.Document(content=b"%PDF-1.4", format=hub.DocumentFormat.PDF)
LABEL = hub.Label(external_id="L-1", carrier="acme", service="economy", tracking_numbers=("N-1",), documents=(FILE,))
VOIDED = hub.LabelVoid(label_external_id="L-1", state=hub.VoidState.VOIDED)


class Carrier(hub.Carrier):
    """Notes what it is asked, and answers what it was told to."""

    name = "acme"
    label = "Acme"
    effects = {  # noqa: RUF012
        "buy_label": hub.Settlement.LOOKUP,
        "void_label": hub.Settlement.NATURAL_KEY,
        "subscribe_webhooks": hub.Settlement.NATURAL_KEY,
    }

    def __init__(self, answer: Any = None) -> None:
        context = hub.Context({}, "", RefusingClient(), lambda: datetime(2026, 3, 2, tzinfo=UTC), cast(Any, None))
        super().__init__(context)
        self.answer = answer
        self.asked: list[Any] = []

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> list[str]:
        return []

    def check(self) -> hub.Account:
        return hub.Account(external_id="1", name="Acme")

    def rates(self, shipment: hub.Shipment) -> hub.Quotes:
        return hub.Quotes(rates=(RATE,))

    def _noted(self, *asked: Any) -> Any:
        self.asked += asked
        return self.answer

    def buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label:
        return self._noted(purchase, key)  # type: ignore[no-any-return]

    def find_buy_label(self, purchase: hub.LabelPurchase, key: str) -> hub.Label | None:
        return self._noted(purchase, key)  # type: ignore[no-any-return]

    def void_label(self, label: hub.Label, key: str) -> hub.LabelVoid:
        return self._noted(label, key)  # type: ignore[no-any-return]

    def track(self, label: hub.Label) -> Any:
        yield from ()

    def read_tracking(self, record: hub.RawRecord) -> hub.Tracking:
        raise hub.Unreadable("There is nothing to read.")

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        return self._noted(request, key)  # type: ignore[no-any-return]


def test_a_stored_purchase_is_bought_as_a_typed_one_and_its_label_kept_as_json() -> None:
    carrier = Carrier(LABEL)

    result = carrier.perform("buy_label", to_plain(PURCHASE), "key-1")

    assert carrier.asked == [PURCHASE, "key-1"]
    assert (result.reference, result.documents) == ("L-1", (FILE,))
    assert result.details == {
        "external_id": "L-1",
        "carrier": "acme",
        "service": "economy",
        "tracking_numbers": ["N-1"],
    }
    kept = from_plain(hub.Label, result.details)
    assert (kept.external_id, kept.tracking_numbers, kept.documents) == ("L-1", ("N-1",), ())


def test_a_label_that_is_found_is_kept_as_one_that_was_bought() -> None:
    assert Carrier(LABEL).find("buy_label", to_plain(PURCHASE), "k") == Carrier(LABEL).perform(
        "buy_label", to_plain(PURCHASE), "k"
    )
    assert Carrier(None).find("buy_label", to_plain(PURCHASE), "k") is None


def test_what_was_kept_of_a_label_is_enough_to_void_it() -> None:
    bought = Carrier(LABEL).perform("buy_label", to_plain(PURCHASE), "k")
    carrier = Carrier(VOIDED)

    voided = carrier.perform("void_label", bought.details, "k2")

    assert carrier.asked[0].external_id == "L-1"
    assert voided == hub.EffectResult("L-1", {"label_external_id": "L-1", "state": "voided"})


def test_an_effect_without_a_class_gets_the_stored_request_itself() -> None:
    carrier = Carrier(hub.EffectResult("hook"))

    assert carrier.perform("subscribe_webhooks", {"address": "https://hub.example"}, "k") == hub.EffectResult("hook")
    assert carrier.asked[0] == {"address": "https://hub.example"}


def test_a_request_that_cannot_be_read_is_refused_before_anything_is_sent() -> None:
    carrier = Carrier(LABEL)

    for damaged in ({}, {"shipment": {}, "rate": to_plain(RATE)}, {**to_plain(PURCHASE), "format": "fax"}):
        with pytest.raises(hub.Rejected, match=r"What was stored for “buy_label” cannot be read \(LabelPurchase"):
            carrier.perform("buy_label", damaged, "k")
    assert carrier.asked == []


def test_what_it_does_not_do_is_refused_with_a_sentence() -> None:
    carrier = Carrier(LABEL)

    with pytest.raises(hub.Rejected, match="Acme does not support “fly”"):
        carrier.perform("fly", {}, "k")
    with pytest.raises(hub.Rejected, match="Acme does not check addresses"):
        carrier.validate_address(hub.Address())
    with pytest.raises(hub.Rejected, match="Acme gives the file of a label only when it is bought"):
        carrier.fetch_documents(LABEL, hub.DocumentFormat.PDF)
    with pytest.raises(hub.Rejected, match="Acme cannot be asked whether a label was voided"):
        carrier.find(
            "void_label", to_plain(hub.Label(external_id="1", carrier="", service="", tracking_numbers=())), "k"
        )
    with pytest.raises(hub.Rejected, match="Acme sends no webhooks"):
        carrier.verify(hub.Webhook({}, b""))
    assert list(carrier.read_webhook(hub.RawRecord("anything", "", b""))) == []


def test_each_kind_has_its_class() -> None:
    kinds = {each.kind: each for each in (hub.SalesChannel, hub.Carrier, hub.FulfillmentProvider)}

    assert set(kinds) == set(hub.Kind)
    assert [kind.value for kind in kinds] == ["channel", "carrier", "3pl"]
