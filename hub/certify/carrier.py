"""What is asked of carriers: rates, labels that are bought once and can be given back, tracking, addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import cycle
from typing import Any

from hub.certify import everywhere, shared, webhooks
from hub.certify import odd as odd_input
from hub.certify.bench import Bench, only_connector_errors
from hub.certify.contract import Call, Contract, Level, NotApplicable, expect, fail
from hub.connector import Carrier, Connector, RawRecord, Settlement
from hub.core.model import Address, Money, minor_digits
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import (
    AddressState,
    AddressVerdict,
    ContentsType,
    Customs,
    CustomsItem,
    Document,
    DocumentFormat,
    Label,
    LabelPurchase,
    LabelVoid,
    Quotes,
    Rate,
    Shipment,
    Tracking,
    TrackingStatus,
    VoidState,
    Weight,
    WeightUnit,
)
from hub.errors import Rejected
from hub.testing.carrier import Charge
from hub.testing.simulator import Fault

# ---------------------------------------------------------------- the bench


class CarrierBench(Bench):
    """A bench with carriers; every shipment has a reference of its own."""

    def stir(self, vendor: Any = None, *, at_once: bool = False) -> None:
        """A parcel is handed over: the vendor tells it by webhook."""
        vendor = vendor or self.vendors[-1]
        connector = self.connect(vendor)
        label = self.bought(vendor, connector)
        if not webhooks.follows(self.connector):
            connector.follow_parcels(label.tracking_numbers, webhooks.HOOK)
        if not at_once:
            self.clock.advance(60)
        vendor.scan(label.tracking_numbers[0], TrackingStatus.IN_TRANSIT)

    def example(self, vendor: Any, parcels: int = 1) -> Shipment:
        """A shipment that the carrier takes."""
        shipment: Shipment = vendor.example(self.reference(), parcels)
        return shipment

    def purchase(self, connector: Any, shipment: Shipment) -> LabelPurchase:
        """The order for its cheapest label."""
        rates = connector.rates(shipment).rates
        expect(rates, "It offers no rate for the shipment that its own simulator calls an example.")
        cheapest = min(rates, key=lambda rate: rate.cost.amount)
        return LabelPurchase(shipment=shipment, rate=cheapest, format=self.connector.capabilities.label_formats[0])  # type: ignore[union-attr]

    def bought(self, vendor: Any, connector: Any, parcels: int = 1) -> Label:
        """A label."""
        label: Label = connector.buy_label(self.purchase(connector, self.example(vendor, parcels)), self.reference())
        return label

    def remember(self) -> None:
        """Arrange what the calls are about, before any fault is planned: some of each, since calls are repeated."""
        vendor = self.vendors[-1]
        connector = self.connect(vendor)
        self.purchases = cycle([self.purchase(connector, self.example(vendor)) for _ in range(3)])
        self.labels = cycle([self.bought(vendor, connector) for _ in range(3)])


def _looks_up(connector: type[Connector]) -> str:
    looked_up = connector.effects.get("buy_label") is Settlement.LOOKUP
    return "" if looked_up else "It does not look labels up."


def _fetches_documents(connector: type[Connector]) -> str:
    own = getattr(connector, "fetch_documents", None) is not Carrier.fetch_documents
    return "" if own else "Its files come with the label only."


def _validates(connector: type[Connector]) -> str:
    return "" if connector.capabilities.validates_addresses else "It does not check addresses."  # type: ignore[union-attr]


def _returns(connector: type[Connector]) -> str:
    return "" if connector.capabilities.returns else "It takes no returns."  # type: ignore[union-attr]


def _several(connector: type[Connector]) -> str:
    return "" if connector.capabilities.parcels_per_shipment > 1 else "It takes one parcel per shipment."  # type: ignore[union-attr]


CALLS = (
    Call("check", lambda bench, it: it.check()),
    Call("rates", lambda bench, it: it.rates(bench.example(bench.vendors[0]))),
    Call(
        "buy-label",
        lambda bench, it: it.buy_label(next(bench.purchases), bench.reference()),
        CarrierBench.remember,
        writes=True,
    ),
    Call(
        "find-label",
        lambda bench, it: it.find_buy_label(next(bench.purchases), "key-1"),
        CarrierBench.remember,
        needs=_looks_up,
    ),
    Call(
        "documents",
        lambda bench, it: it.fetch_documents(next(bench.labels), bench.connector.capabilities.label_formats[0]),
        CarrierBench.remember,
        needs=_fetches_documents,
    ),
    Call(
        "void-label",
        lambda bench, it: it.void_label(next(bench.labels), bench.reference()),
        CarrierBench.remember,
        writes=True,
    ),
    Call("track", lambda bench, it: list(it.track(next(bench.labels))), CarrierBench.remember),
    Call(
        "address",
        lambda bench, it: it.validate_address(bench.example(bench.vendors[0]).destination),
        needs=_validates,
    ),
    Call(
        "subscribe",
        lambda bench, it: it.perform("subscribe_webhooks", {"address": webhooks.HOOK}, "key-1"),
        needs=webhooks.subscribes,
    ),
    Call(
        "follow",
        lambda bench, it: it.follow_parcels(next(bench.labels).tracking_numbers, webhooks.HOOK),
        CarrierBench.remember,
        needs=webhooks.follows,
    ),
)

CONTRACT = Contract("carrier", Carrier, CarrierBench, CALLS)
everywhere.add_to(CONTRACT)

# ---------------------------------------------------------------- rates

RATES = CONTRACT.rule(
    "rates",
    Level.BRONZE,
    "It offers rates in exact money, for what it is asked, and buys nothing by it.",
    "Read amounts with hub.MoneyAmount or hub.MoneyObject, convert weights with rounded_up, raise Rejected for a no.",
)
CURRENCIES = {currency: currency for currency in ("EUR", "USD", "GBP", "JPY", "KWD")}
SAME_WEIGHTS = {
    "grams": (Weight.of("1500", WeightUnit.GRAM), Decimal(1500)),
    "kilograms": (Weight.of("1.5", WeightUnit.KILOGRAM), Decimal(1500)),
    "ounces": (Weight.of("52.9109", WeightUnit.OUNCE), Decimal("1499.999")),
    "pounds": (Weight.of("3.306", WeightUnit.POUND), Decimal("1499.576")),
    "a-few-grams": (Weight.of("20", WeightUnit.GRAM), Decimal(20)),
    "a-fraction-of-an-ounce": (Weight.of("0.3", WeightUnit.OUNCE), Decimal("8.505")),
}


@CONTRACT.case(RATES, "rates-are-offered", "It offers a rate for what its simulator calls an example.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    quotes = bench.connect(vendor).rates(bench.example(vendor))
    expect(isinstance(quotes, Quotes), f"rates() returned {type(quotes).__name__}, not Quotes.")
    expect(quotes.rates and all(isinstance(rate, Rate) for rate in quotes.rates), f"It offers {quotes.rates}.")


@CONTRACT.case(RATES, "rates-can-be-told-apart", "Each rate has an id and a service; no two are the same.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    rates = bench.connect(vendor).rates(bench.example(vendor)).rates
    ids = [rate.external_id for rate in rates]
    expect(all(ids) and len(ids) == len(set(ids)), f"The ids are {ids}.")
    expect(all(rate.service for rate in rates), "A rate has no service.")


@CONTRACT.case(RATES, "rates-name-the-carrier", "The carrier of a rate is a word of lower-case letters, digits and _.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    words = {rate.carrier for rate in bench.connect(vendor).rates(bench.example(vendor)).rates}
    expect(all(re.fullmatch(r"[a-z0-9_]+", word) for word in words), f"It says {sorted(words)}.")


@CONTRACT.case(RATES, "rates-cost-something", "Each rate costs more than nothing.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    for rate in bench.connect(vendor).rates(bench.example(vendor)).rates:
        expect(isinstance(rate.cost, Money) and rate.cost.amount > 0, f"{rate.service} costs {rate.cost}.")


@CONTRACT.case(RATES, "rates-buy-nothing", "Asking for rates charges nothing.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    bench.connect(vendor).rates(bench.example(vendor))
    expect(vendor.charges() == [], f"It bought {vendor.charges()}.")


@CONTRACT.case(RATES, "rates-survive-storage", "A rate is the same after it was stored as JSON.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    for rate in bench.connect(vendor).rates(bench.example(vendor)).rates:
        stored = json.loads(json.dumps(to_plain(rate)))
        expect(from_plain(Rate, stored) == rate, f"{rate} came back as {from_plain(Rate, stored)}.")


@CONTRACT.each(RATES, "rates-in-{}", "Rates of an account in {} are in that currency, to its last digit.", CURRENCIES)
def _(bench: CarrierBench, currency: str) -> None:
    vendor = bench.vendor()
    vendor.price_in(currency)
    connector = bench.connect(vendor)
    for rate in connector.rates(bench.example(vendor)).rates:
        expect(rate.cost.currency == currency, f"{rate.service} is in {rate.cost.currency}.")
        places = -int(rate.cost.amount.normalize().as_tuple().exponent)
        expect(places <= minor_digits(currency), f"{rate.service} costs {rate.cost.amount} {currency}.")


@CONTRACT.each(RATES, "rates-are-charged-in-{}", "What was offered in {} is what is charged.", CURRENCIES)
def _(bench: CarrierBench, currency: str) -> None:
    vendor = bench.vendor()
    vendor.price_in(currency)
    connector = bench.connect(vendor)
    purchase = bench.purchase(connector, bench.example(vendor))
    connector.buy_label(purchase, "key-1")
    (charge,) = vendor.charges()
    expect(charge.cost == purchase.rate.cost, f"It said {purchase.rate.cost}, and {charge.cost} was charged.")


@CONTRACT.case(
    RATES, "rates-too-many-parcels-are-refused", "More parcels than it can take are refused with a sentence."
)
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    most = bench.connector.capabilities.parcels_per_shipment  # type: ignore[union-attr]
    _refused(bench, vendor, replace(bench.example(vendor), parcels=bench.example(vendor).parcels * (most + 1)))


@CONTRACT.case(RATES, "rates-too-heavy-is-refused", "A parcel of a hundred tons is refused, or has no rate.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    example = bench.example(vendor)
    heavy = replace(example.parcels[0], weight=Weight.of("100000", WeightUnit.KILOGRAM))
    _refused(bench, vendor, replace(example, parcels=(heavy,)))


@CONTRACT.case(RATES, "rates-to-nowhere-are-refused", "A shipment without a destination is refused, or has no rate.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    _refused(bench, vendor, replace(bench.example(vendor), destination=Address()))


def _refused(bench: CarrierBench, vendor: Any, shipment: Shipment) -> None:
    try:
        quotes = bench.connect(vendor).rates(shipment)
    except Rejected as error:
        expect(str(error).strip(), "It refuses without a word.")
        return
    expect(quotes.rates == (), f"It offers {len(quotes.rates)} rates.")


@CONTRACT.each(RATES, "rates-with-{}", "An address with {} gets rates or a refusal.", shared.ODD_TEXTS)
def _(bench: CarrierBench, text: str) -> None:
    vendor = bench.vendor()
    example = bench.example(vendor)
    odd = replace(example, destination=shared.odd_address(example.destination, text))
    with only_connector_errors("Rates for it") as raised:
        bench.connect(vendor).rates(odd)
    expect(all(isinstance(error, Rejected) for error in raised), f"It raised {raised}.")


WEIGHTS = CONTRACT.rule(
    "units",
    Level.SILVER,
    "The vendor hears the weight that the parcel has, whatever unit it was given in, and never less.",
    "Convert with Weight.rounded_up and Dimensions.rounded_up to the unit that the vendor's documentation names.",
)


@CONTRACT.each(WEIGHTS, "weight-in-{}", "A parcel weighed in {} is as heavy for the vendor.", SAME_WEIGHTS)
def _(bench: CarrierBench, weighed: tuple[Weight, Decimal]) -> None:
    weight, grams = weighed
    vendor, connector = bench.connected()
    example = bench.example(vendor)
    parcel = replace(example.parcels[0], weight=weight)
    connector.buy_label(bench.purchase(connector, replace(example, parcels=(parcel,))), "key-1")
    heard = vendor.charges()[-1].weight.rounded_up(WeightUnit.GRAM, 3)
    expect(heard >= grams, f"The vendor heard {heard} g of {grams} g: the parcel is declared too light.")
    expect(heard <= grams + 50, f"The vendor heard {heard} g of {grams} g.")


# ---------------------------------------------------------------- labels

LABELS = CONTRACT.rule(
    "labels",
    Level.BRONZE,
    "A label that is bought has an id, a tracking number for each parcel, a price, and a file that can be printed.",
    "Read buy_label in the reference: nothing may fail once it is bought; files are left to fetch_documents.",
)
FORMATS = {each.value: each for each in DocumentFormat}


@CONTRACT.case(LABELS, "label-is-bought", "Buying charges once, and returns the label that was charged.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor))
    expect(isinstance(label, Label), f"buy_label returned {type(label).__name__}.")
    charge = _only_charge(vendor)
    expect(
        label.external_id == charge.label_external_id, f"It says {label.external_id}, not {charge.label_external_id}."
    )
    expect(label.tracking_numbers == charge.tracking_numbers, f"It says {label.tracking_numbers}.")


@CONTRACT.case(LABELS, "label-carries-our-reference", "The vendor has our reference on the label.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    purchase = bench.purchase(connector, bench.example(vendor))
    connector.buy_label(purchase, "key-1")
    heard = _only_charge(vendor).reference
    expect(heard == purchase.shipment.reference, f"The vendor has {heard!r}, not {purchase.shipment.reference!r}.")


@CONTRACT.case(LABELS, "label-says-its-price", "Where it tells a cost, it is what was charged.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor))
    expect(label.cost in (None, _only_charge(vendor).cost), f"It says {label.cost}.")


@CONTRACT.each(
    LABELS, "label-for-{}-parcels", "A label for {} parcels has as many numbers.", {"2": 2, "3": 3}, needs=_several
)
def _(bench: CarrierBench, parcels: int) -> None:
    if parcels > bench.connector.capabilities.parcels_per_shipment:  # type: ignore[union-attr]
        raise NotApplicable(f"It takes less than {parcels} parcels per shipment.")
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor), parcels)
    expect(len(set(label.tracking_numbers)) == parcels, f"It has {label.tracking_numbers}.")


@CONTRACT.each(LABELS, "label-file-in-{}", "The file of a label in {} is there, and is of that format.", FORMATS)
def _(bench: CarrierBench, format: DocumentFormat) -> None:
    if format not in bench.connector.capabilities.label_formats:  # type: ignore[union-attr]
        raise NotApplicable(f"It prints no {format.name}.")
    vendor, connector = bench.connected()
    purchase = replace(bench.purchase(connector, bench.example(vendor)), format=format)
    _is_printable(_documents(connector, connector.buy_label(purchase, "key-1"), format), format)


@CONTRACT.case(
    LABELS, "label-file-can-be-had-again", "The file can be fetched twice, and is the same.", needs=_fetches_documents
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label, format = bench.bought(vendor, connector), bench.connector.capabilities.label_formats[0]  # type: ignore[union-attr]
    first, second = (list(bench.connect(vendor).fetch_documents(label, format)) for _ in range(2))
    expect(first == second, "The second time it is another file.")
    expect(len(vendor.charges()) == 1, "Fetching the file bought another label.")


@CONTRACT.case(
    LABELS, "label-file-of-the-wrong-kind-is-refused", "A page for people is no label.", needs=_fetches_documents
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label, format = bench.bought(vendor, connector), bench.connector.capabilities.label_formats[0]  # type: ignore[union-attr]
    vendor.fail_next("", Fault.html())
    with only_connector_errors("Fetching the file") as raised:
        connector.fetch_documents(label, format)
    expect(raised, "It took a page for people for a label.")


@CONTRACT.case(LABELS, "label-survives-storage", "A label is the same after it was stored as JSON, without its files.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    label = replace(bench.bought(vendor, bench.connect(vendor)), documents=())
    stored = json.loads(json.dumps(to_plain(label)))
    expect(from_plain(Label, stored) == label, f"It came back as {from_plain(Label, stored)}.")


@CONTRACT.case(
    LABELS, "label-for-no-offer-is-refused", "A rate that was never offered is refused, and nothing is charged."
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    purchase = bench.purchase(connector, bench.example(vendor))
    strange = dict.fromkeys(purchase.rate.handles, "no-such-thing")
    rate = replace(purchase.rate, external_id="no-such-offer", service="no-such-service", handles=strange)
    try:
        connector.buy_label(replace(purchase, rate=rate), "key-1")
    except Rejected:
        expect(vendor.charges() == [], "It refused, and something was charged.")
        return
    fail("It bought a label at a rate that nobody offered.")


@CONTRACT.each(LABELS, "label-to-{}", "A label to an address with {} is bought or refused, as one.", shared.ODD_TEXTS)
def _(bench: CarrierBench, text: str) -> None:
    vendor, connector = bench.connected()
    example = bench.example(vendor)
    odd = replace(example, destination=shared.odd_address(example.destination, text))
    try:
        label = connector.buy_label(bench.purchase(connector, odd), "key-1")
    except Rejected:
        expect(vendor.charges() == [], "It refused, and something was charged.")
        return
    expect(_only_charge(vendor).label_external_id == label.external_id, "Another label was charged.")


@CONTRACT.case(LABELS, "label-for-a-return", "The way back can be bought like the way there.", needs=_returns)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    example = bench.example(vendor)
    back = replace(example, origin=example.destination, destination=example.origin, returning=True)
    expect(connector.buy_label(bench.purchase(connector, back), "key-1").tracking_numbers, "It has no tracking number.")


@CONTRACT.case(LABELS, "label-with-customs", "A customs declaration is taken, or refused with a sentence.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    item = CustomsItem(
        description="Mug",
        quantity=2,
        unit_value=Money.of("12.50", "EUR"),
        unit_weight=Weight.of("0.35", WeightUnit.KILOGRAM),
        origin_country="GB",
        hs_code="6912.00",
    )
    declared = replace(bench.example(vendor), customs=Customs(contents=ContentsType.MERCHANDISE, items=(item,)))
    with only_connector_errors("Buying with customs") as raised:
        connector.buy_label(bench.purchase(connector, declared), "key-1")
    expect(all(isinstance(error, Rejected) for error in raised), f"It raised {raised}.")


def _only_charge(vendor: Any) -> Charge:
    charges: list[Charge] = vendor.charges()
    expect(len(charges) == 1, f"{len(charges)} labels were charged.")
    return charges[0]


def _documents(connector: Any, label: Label, format: DocumentFormat) -> list[Document]:
    return list(label.documents or connector.fetch_documents(label, format))


def _is_printable(documents: list[Document], format: DocumentFormat) -> None:
    expect(documents, "There is no file.")
    for each in documents:
        expect(each.content, "A file is empty.")
        expect(each.format is format, f"It says that a {format.name} is a {each.format.name}.")
        expect(each.well_formed, f"{each.content[:12]!r} is not the beginning of a {each.format.name}.")


# ---------------------------------------------------------------- giving labels back

VOIDS = CONTRACT.rule(
    "voids",
    Level.SILVER,
    "A label can be given back: the answer says whether it was, and “too late” is an answer.",
    "Return a LabelVoid: REFUSED with the vendor's reason where it is too late; raise only where there is no answer.",
)


@CONTRACT.case(VOIDS, "void-gives-the-money-back", "An unused label is voided, or the wish is taken.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    answer = connector.void_label(bench.bought(vendor, connector), "key-1")
    expect(isinstance(answer, LabelVoid), f"void_label returned {type(answer).__name__}.")
    expect(answer.state in (VoidState.VOIDED, VoidState.REQUESTED), f"It says {answer.state}: {answer.message}")
    if answer.state is VoidState.VOIDED:
        expect(_only_charge(vendor).voided, "It says voided, and the vendor still charges it.")


@CONTRACT.case(VOIDS, "void-names-the-label", "The answer names the label that it is about.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label = bench.bought(vendor, connector)
    answer = connector.void_label(label, "key-1")
    expect(answer.label_external_id == label.external_id, f"It names {answer.label_external_id}.")


@CONTRACT.case(VOIDS, "void-touches-one-label", "Other labels stay as they are.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    kept, given_back = bench.bought(vendor, connector), bench.bought(vendor, connector)
    connector.void_label(given_back, "key-1")
    voided = {charge.label_external_id: charge.voided for charge in vendor.charges()}
    expect(not voided[kept.external_id], "Another label was voided.")


@CONTRACT.case(
    VOIDS, "void-of-a-used-label-is-refused", "A label whose parcel is on its way is refused, and stays charged."
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label = bench.bought(vendor, connector)
    vendor.scan(label.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    answer = connector.void_label(label, "key-1")
    expect(answer.state is not VoidState.VOIDED, "It says voided.")
    expect(answer.state is VoidState.REQUESTED or answer.message.strip(), "It is refused without a reason.")
    expect(not _only_charge(vendor).voided, "The money came back for a parcel on its way.")


@CONTRACT.case(VOIDS, "void-twice-is-one", "Voiding what is voided does no harm.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label = bench.bought(vendor, connector)
    connector.void_label(label, "key-1")
    with only_connector_errors("Voiding it again") as raised:
        connector.void_label(label, "key-2")
    expect(all(isinstance(error, Rejected) for error in raised), f"It raised {raised}.")
    expect(_only_charge(vendor).voided or not raised, "It is not voided any more.")


@CONTRACT.case(VOIDS, "void-of-no-label-is-an-error", "A label that the vendor does not know is refused.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    handles = dict.fromkeys(bench.bought(vendor, connector).handles, "no-such-thing")
    strange = Label(
        external_id="no-such-label", carrier="", service="", tracking_numbers=("NO-SUCH-NUMBER",), handles=handles
    )
    try:
        answer = connector.void_label(strange, "key-1")
    except Rejected:
        return
    expect(answer.state is VoidState.REFUSED, f"It says {answer.state}.")


# ---------------------------------------------------------------- tracking

TRACKING = CONTRACT.rule(
    "tracking",
    Level.SILVER,
    "It says where a parcel is in the hub's words, keeps the carrier's, and reads what is stored asking nobody.",
    "Map every status of the vendor's documentation; read a word that is new as UNKNOWN; keep times with their zones.",
)
STATUSES = {each.value.replace("_", "-"): each for each in TrackingStatus if each is not TrackingStatus.UNKNOWN}


def _records(bench: CarrierBench, vendor: Any, connector: Any, label: Label) -> list[RawRecord]:
    records = list(connector.track(label))
    expect(all(isinstance(record, RawRecord) for record in records), f"track gave {records}.")
    return records


def _tracking(bench: CarrierBench, vendor: Any, label: Label) -> Tracking:
    (record, *_) = _records(bench, vendor, bench.connect(vendor), label)
    found = bench.reader(vendor).read_tracking(record)
    expect(isinstance(found, Tracking), f"read_tracking returned {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


@CONTRACT.case(TRACKING, "track-tells-each-parcel", "Each parcel of a label has a record of its own.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    parcels = min(3, bench.connector.capabilities.parcels_per_shipment)  # type: ignore[union-attr]
    label = bench.bought(vendor, connector, parcels)
    records = _records(bench, vendor, connector, label)
    expect([record.external_id for record in records] == list(label.tracking_numbers), f"It tells {records}.")
    expect({record.topic for record in records} == {"tracking"}, "A record has another topic than “tracking”.")
    numbers = [bench.reader(vendor).read_tracking(record).tracking_number for record in records]
    expect(numbers == list(label.tracking_numbers), f"It reads them as {numbers}.")


@CONTRACT.each(TRACKING, "track-says-{}", "A parcel that is {} is said to be so.", STATUSES)
def _(bench: CarrierBench, status: TrackingStatus) -> None:
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor))
    try:
        vendor.scan(label.tracking_numbers[0], status)
    except LookupError:
        raise NotApplicable("The vendor has no word for it.") from None
    found = _tracking(bench, vendor, label)
    expect(found.status is status, f"It says {found.status.value} ({found.carrier_status}).")
    expect(found.carrier_status, "It does not keep the carrier's word.")


@CONTRACT.case(TRACKING, "track-says-unknown-for-a-new-word", "A word that nobody has heard is UNKNOWN, and is kept.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor))
    vendor.scan_oddly(label.tracking_numbers[0], "swallowed_by_a_whale")
    found = _tracking(bench, vendor, label)
    expect(found.status is TrackingStatus.UNKNOWN, f"It says {found.status.value}.")
    expect("whale" in found.carrier_status, f"It keeps {found.carrier_status!r}.")


@CONTRACT.case(TRACKING, "track-events-in-their-order", "What happened is told oldest first, in UTC.")
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    label = bench.bought(vendor, bench.connect(vendor))
    for status in (TrackingStatus.IN_TRANSIT, TrackingStatus.OUT_FOR_DELIVERY, TrackingStatus.DELIVERED):
        bench.clock.advance(3600)
        vendor.scan(label.tracking_numbers[0], status)
    events = _tracking(bench, vendor, label).events
    expect(len(events) >= 3, f"It tells {len(events)} events of three scans.")
    times = [event.happened_at for event in events]
    expect(times == sorted(times), "They are not in their order.")
    expect(
        abs((times[-1] - bench.clock()).total_seconds()) < 1, f"The last was at {times[-1]}, not at {bench.clock()}."
    )
    expect(events[-1].status is TrackingStatus.DELIVERED, f"The last is {events[-1].status.value}.")


@CONTRACT.case(TRACKING, "track-reads-twice-alike", "A stored record says the same whenever it is read.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    (record, *_) = _records(bench, vendor, connector, bench.bought(vendor, connector))
    first = bench.reader(vendor).read_tracking(record)
    bench.clock.advance(86_400)
    expect(first == bench.reader(vendor).read_tracking(record), "A day later it says something else.")


@CONTRACT.case(TRACKING, "track-of-no-parcel-is-an-error", "A number that the carrier does not know breaks nothing.")
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    label = bench.bought(vendor, connector)
    strange = dict.fromkeys(label.handles, "no-such-thing")
    with only_connector_errors("Tracking it"):
        for record in connector.track(replace(label, tracking_numbers=("NO-SUCH-NUMBER",), handles=strange)):
            found = bench.reader(vendor).read_tracking(record)
            expect(found.status is TrackingStatus.UNKNOWN, f"It says {found.status.value}.")


@CONTRACT.each(
    TRACKING,
    "track-value-{}-survived",
    "A record in which any one value is {} is read or set aside.",
    odd_input.ODD_VALUES,
)
def _(bench: CarrierBench, odd: Any) -> None:
    record, read = _scanned(bench)
    odd_input.reads_or_refuses(read, odd_input.odd_leaves(record.body, odd), "A value")


@CONTRACT.each(TRACKING, "track-body-{}-set-aside", "A record that is {} is read or set aside.", odd_input.ODD_BODIES)
def _(bench: CarrierBench, odd: Any) -> None:
    record, read = _scanned(bench)
    odd_input.reads_or_refuses(read, [odd(record.body)], "A body")


@CONTRACT.case(TRACKING, "track-member-missing-survived", "A record without any one member is read or set aside.")
def _(bench: CarrierBench) -> None:
    record, read = _scanned(bench)
    odd_input.reads_or_refuses(read, odd_input.without_members(record.body), "A record without a member")


def _scanned(bench: CarrierBench) -> tuple[RawRecord, Callable[[bytes], object]]:
    """A record of a parcel on its way, and how the connector reads another body in its place."""
    vendor, connector = bench.connected()
    label = bench.bought(vendor, connector)
    vendor.scan(label.tracking_numbers[0], TrackingStatus.IN_TRANSIT)
    (record, *_) = _records(bench, vendor, connector, label)
    reader = bench.reader(vendor)
    return record, lambda body: reader.read_tracking(replace(record, body=body))


# ---------------------------------------------------------------- addresses

FOLLOWING = CONTRACT.rule(
    "following",
    Level.GOLD,
    "It tells by itself of the parcels that it was asked to follow, once, and of no others.",
    "See follow_parcels in the reference: ask for all numbers at once, and return those that the vendor does not take.",
)


def _told_of(vendor: Any, number: str) -> int:
    """How many webhooks follow when a parcel is scanned."""
    vendor.take_webhooks()
    vendor.scan(number, TrackingStatus.IN_TRANSIT)
    return len(vendor.take_webhooks())


@CONTRACT.case(
    FOLLOWING,
    "following-tells-of-that-parcel",
    "A parcel that is followed is told of, another one is not.",
    needs=webhooks.follows,
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    followed, other = (bench.bought(vendor, connector).tracking_numbers[0] for _ in range(2))
    refused = connector.follow_parcels((followed,), webhooks.HOOK)
    expect(not refused, f"It does not follow {refused}, which it has sold itself.")
    expect(_told_of(vendor, followed), "A parcel that is followed was scanned, and nothing was sent.")
    expect(not _told_of(vendor, other), "Something was sent of a parcel that nobody has asked it to follow.")


@CONTRACT.case(
    FOLLOWING,
    "following-again-only-renews",
    "A parcel that it was asked to follow twice is told of once.",
    needs=webhooks.follows,
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    number = bench.bought(vendor, connector).tracking_numbers[0]
    connector.follow_parcels((number,), webhooks.HOOK)
    once = _told_of(vendor, number)
    connector.follow_parcels((number,), webhooks.HOOK)
    twice = _told_of(vendor, number)
    expect(once == twice, f"Something that sent {once} webhooks sends {twice} after asking again.")


@CONTRACT.case(
    FOLLOWING,
    "following-lasts-as-declared",
    "It tells of a parcel nearly as long as follow_days says, and longer once it was asked again.",
    needs=webhooks.follows,
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    seconds = bench.connector.capabilities.follow_days * 86400.0  # type: ignore[union-attr, operator]
    number = bench.bought(vendor, connector).tracking_numbers[0]
    connector.follow_parcels((number,), webhooks.HOOK)
    bench.clock.advance(seconds * 0.95)
    expect(_told_of(vendor, number), "Shortly before the days are over, nothing is sent any more.")
    bench.connect(vendor).follow_parcels((number,), webhooks.HOOK)
    bench.clock.advance(seconds * 0.95)
    expect(_told_of(vendor, number), "Asked again in time, it stopped all the same.")


@CONTRACT.case(
    FOLLOWING,
    "following-names-what-it-does-not",
    "A number that is none is returned, and does not keep the others from being followed.",
    needs=webhooks.follows,
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    number = bench.bought(vendor, connector).tracking_numbers[0]
    refused = connector.follow_parcels(("no such parcel", number), webhooks.HOOK)
    expect(tuple(refused) == ("no such parcel",), f"It returned {tuple(refused)}.")
    expect(_told_of(vendor, number), "The parcel beside it is not followed.")
    alone = connector.follow_parcels(("no such parcel",), webhooks.HOOK)
    expect(tuple(alone) == ("no such parcel",), f"Asked for it alone, it returned {tuple(alone)}.")


@CONTRACT.case(
    FOLLOWING,
    "following-a-full-batch-is-one-request",
    "As many parcels as follow_batch says are asked for in one request.",
    needs=webhooks.follows,
)
def _(bench: CarrierBench) -> None:
    vendor, connector = bench.connected()
    number = bench.bought(vendor, connector).tracking_numbers[0]
    most = bench.connector.capabilities.follow_batch  # type: ignore[union-attr]
    numbers = (number, *(f"{number[:-3]}{place:03}" for place in range(most - 1)))
    connector.follow_parcels((number,), webhooks.HOOK)  # whatever is asked first, a token say, is asked now
    before = len(vendor.requests)
    connector.follow_parcels(numbers, webhooks.HOOK)
    asked = len(vendor.requests) - before
    expect(asked == 1, f"For {most} parcels it asked {asked} times.")


ADDRESSES = CONTRACT.rule(
    "addresses",
    Level.SILVER,
    "It says whether an address can be delivered to, and breaks at none.",
    "Return an AddressVerdict; raise Rejected only where the vendor refuses to look at the address.",
)


@CONTRACT.case(
    ADDRESSES,
    "address-of-the-example-is-deliverable",
    "The example's destination can be delivered to.",
    needs=_validates,
)
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    verdict = bench.connect(vendor).validate_address(bench.example(vendor).destination)
    expect(isinstance(verdict, AddressVerdict), f"It returned {type(verdict).__name__}.")
    expect(
        verdict.state in (AddressState.VALID, AddressState.CORRECTED), f"It says {verdict.state}: {verdict.messages}"
    )


@CONTRACT.case(ADDRESSES, "address-of-nowhere-is-not", "An empty address cannot be delivered to.", needs=_validates)
def _(bench: CarrierBench) -> None:
    try:
        verdict = bench.connect(bench.vendor()).validate_address(Address())
    except Rejected:
        return
    expect(verdict.state in (AddressState.INVALID, AddressState.AMBIGUOUS), f"It says {verdict.state}.")


@CONTRACT.case(
    ADDRESSES, "address-corrections-are-shown", "A corrected address comes with the correction.", needs=_validates
)
def _(bench: CarrierBench) -> None:
    vendor = bench.vendor()
    right = bench.example(vendor).destination
    verdict = bench.connect(vendor).validate_address(replace(right, city=f" {right.city.lower()} "))
    expect(verdict.state is not AddressState.CORRECTED or verdict.candidates, "It was corrected, and does not say how.")


@CONTRACT.each(
    ADDRESSES, "address-with-{}", "An address with {} is judged, or refused.", shared.ODD_TEXTS, needs=_validates
)
def _(bench: CarrierBench, text: str) -> None:
    vendor = bench.vendor()
    address = shared.odd_address(bench.example(vendor).destination, text)
    with only_connector_errors("Judging it") as raised:
        bench.connect(vendor).validate_address(address)
    expect(all(isinstance(error, Rejected) for error in raised), f"It raised {raised}.")


# ---------------------------------------------------------------- what must happen once


def _to_buy(bench: CarrierBench, vendor: Any, connector: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = to_plain(bench.purchase(connector, bench.example(vendor)))
    return plain


def _to_void(bench: CarrierBench, vendor: Any, connector: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = to_plain(replace(bench.bought(vendor, connector), documents=()))
    return plain


shared.add_to(
    CONTRACT,
    (
        shared.Deed("buy_label", "buying", _to_buy, lambda bench, vendor: len(vendor.charges())),
        shared.Deed(
            "void_label", "voiding", _to_void, lambda bench, vendor: sum(each.voided for each in vendor.charges())
        ),
    ),
)
