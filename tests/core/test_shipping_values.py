"""Parcels, rates, labels, orders for a warehouse: what they refuse, how they convert, that storing changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.model import Address, Money
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import (
    Cancellation,
    CancelState,
    ConfirmedLine,
    ContentsType,
    Customs,
    CustomsItem,
    Dimensions,
    Document,
    DocumentFormat,
    DocumentKind,
    FulfillmentLine,
    FulfillmentOrder,
    Label,
    LabelPurchase,
    LabelVoid,
    LengthUnit,
    Lot,
    Parcel,
    Progress,
    ProviderShipment,
    ProviderState,
    Rate,
    Shipment,
    ShipmentConfirmation,
    ShippedLine,
    StockAdjustment,
    StockCount,
    Submission,
    Tracking,
    TrackingEvent,
    TrackingStatus,
    VoidState,
    Weight,
    WeightUnit,
)

# ---------------------------------------------------------------- any value there is

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
REFERENCES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,34}", fullmatch=True)
AMOUNTS = st.decimals("0.001", "99999", places=3)
MONEY = st.builds(Money, st.decimals("-9999", "9999", places=2), st.sampled_from(["EUR", "USD", "JPY", "KWD"]))
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (its bounds)
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))
HANDLES = st.dictionaries(TEXTS, TEXTS, max_size=2)
WEIGHTS = st.builds(Weight, AMOUNTS, st.sampled_from(WeightUnit))
SIZES = st.builds(Dimensions, AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from(LengthUnit))
ADDRESSES = st.builds(Address, name=TEXTS, line1=TEXTS, city=TEXTS, country=TEXTS)
PARCELS = st.builds(Parcel, weight=WEIGHTS, dimensions=st.none() | SIZES, packaging=TEXTS, insured=st.none() | MONEY)
ITEMS = st.builds(
    CustomsItem,
    description=TEXTS,
    quantity=st.integers(1, 99),
    unit_value=MONEY,
    unit_weight=WEIGHTS,
    origin_country=TEXTS,
    hs_code=TEXTS,
)
CUSTOMS = st.builds(
    Customs, contents=st.sampled_from(ContentsType), items=st.lists(ITEMS, min_size=1, max_size=2).map(tuple)
)
SHIPMENTS = st.builds(
    Shipment,
    reference=REFERENCES,
    origin=ADDRESSES,
    destination=ADDRESSES,
    parcels=st.lists(PARCELS, min_size=1, max_size=3).map(tuple),
    customs=st.none() | CUSTOMS,
    returning=st.booleans(),
    signature=st.booleans(),
    email=TEXTS,
    ship_on=st.none() | DAYS,
)
RATES = st.builds(
    Rate,
    external_id=TEXTS,
    carrier=TEXTS,
    service=TEXTS,
    cost=MONEY,
    name=TEXTS,
    days=st.none() | st.integers(0, 99),
    deliver_by=st.none() | MOMENTS,
    guaranteed=st.booleans(),
    handles=HANDLES,
)
LABELS = st.builds(
    Label,
    external_id=TEXTS,
    carrier=TEXTS,
    service=TEXTS,
    tracking_numbers=st.lists(TEXTS, max_size=3).map(tuple),
    cost=st.none() | MONEY,
    tracking_url=TEXTS,
    handles=HANDLES,
)
LINES = st.lists(
    st.builds(FulfillmentLine, reference=TEXTS, sku=TEXTS, quantity=st.integers(1, 999), unit_price=st.none() | MONEY),
    min_size=1,
    max_size=3,
    unique_by=lambda line: line.reference,
).map(tuple)
ORDERS = st.builds(
    FulfillmentOrder,
    reference=REFERENCES,
    number=TEXTS,
    placed_at=MOMENTS,
    lines=LINES,
    destination=ADDRESSES,
    service=TEXTS,
    ship_by=st.none() | MOMENTS,
    gift_message=TEXTS,
)
LOTS = st.builds(Lot, number=TEXTS, quantity=st.integers(0, 99), expires_on=st.none() | DAYS)
SHIPPED = st.builds(
    ShippedLine,
    sku=TEXTS,
    quantity=st.integers(0, 99),
    lots=st.lists(LOTS, max_size=2).map(tuple),
    serial_numbers=st.lists(TEXTS, max_size=2).map(tuple),
)
CONFIRMED = st.lists(
    st.builds(ConfirmedLine, line_external_id=TEXTS, quantity=st.integers(1, 99)),
    min_size=1,
    max_size=3,
    unique_by=lambda line: line.line_external_id,
).map(tuple)
EVENTS = st.builds(
    TrackingEvent, status=st.sampled_from(TrackingStatus), carrier_status=TEXTS, happened_at=MOMENTS, place=TEXTS
)
VALUES = st.one_of(
    st.builds(LabelPurchase, shipment=SHIPMENTS, rate=RATES, format=st.sampled_from(DocumentFormat)),
    LABELS,
    st.builds(LabelVoid, label_external_id=TEXTS, state=st.sampled_from(VoidState), message=TEXTS),
    ORDERS,
    st.builds(Submission, reference=TEXTS, external_id=TEXTS, state=st.sampled_from(ProviderState), handles=HANDLES),
    st.builds(Cancellation, reference=TEXTS, state=st.sampled_from(CancelState), message=TEXTS),
    st.builds(
        ShipmentConfirmation,
        reference=REFERENCES,
        order_external_id=TEXTS,
        lines=CONFIRMED,
        shipped_at=MOMENTS,
        carrier=TEXTS,
        tracking_numbers=st.lists(TEXTS, max_size=2).map(tuple),
        notify=st.booleans(),
    ),
    st.builds(
        Tracking,
        tracking_number=TEXTS,
        status=st.sampled_from(TrackingStatus),
        carrier_status=TEXTS,
        events=st.lists(EVENTS, max_size=3).map(tuple),
        deliver_by=st.none() | MOMENTS,
    ),
    st.builds(
        ProviderShipment,
        external_id=TEXTS,
        reference=TEXTS,
        lines=st.lists(SHIPPED, max_size=2).map(tuple),
        version=MOMENTS,
        shipped_at=st.none() | MOMENTS,
        cancelled=st.booleans(),
    ),
    st.builds(StockCount, sku=TEXTS, on_hand=st.integers(), available=st.integers(), counted_at=MOMENTS),
)


@given(VALUES)
def test_what_is_stored_comes_back_as_it_was(value: Any) -> None:
    stored = json.loads(json.dumps(to_plain(value)))

    assert from_plain(type(value), stored) == value


@given(VALUES)
def test_what_a_newer_version_adds_is_passed_over(value: Any) -> None:
    stored = {**to_plain(value), "added_later": {"anything": [1]}}

    assert from_plain(type(value), stored) == value


@given(VALUES)
def test_what_is_left_at_its_default_is_not_written(value: Any) -> None:
    """So that a field which is added later does not change the text of what was planned before."""
    assert to_plain(from_plain(type(value), to_plain(value))) == to_plain(value)
    assert "documents" not in to_plain(value) and "message" not in to_plain(replace(LEEDS, region=""))


LEEDS = Address(line1="1 High Street", city="Leeds", country="GB")


def test_a_value_is_plain_json_that_a_person_can_read() -> None:
    parcel = Parcel(weight=Weight.of("1.20", WeightUnit.KILOGRAM), insured=Money.of("10.50", "EUR"))
    shipment = Shipment(
        reference="1001-1", origin=LEEDS, destination=LEEDS, parcels=(parcel,), ship_on=date(2026, 3, 2)
    )

    assert to_plain(shipment) == {
        "reference": "1001-1",
        "origin": {"line1": "1 High Street", "city": "Leeds", "country": "GB"},
        "destination": {"line1": "1 High Street", "city": "Leeds", "country": "GB"},
        "parcels": [
            {"weight": {"amount": "1.20", "unit": "kg"}, "insured": {"amount": "10.50", "currency": "EUR"}},
        ],
        "ship_on": "2026-03-02",
    }


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ([], "Lot: not an object."),
        ({"number": "L-1"}, "Lot: .*quantity"),
        ({"number": 7, "quantity": 1}, "Lot.number: not a text."),
        ({"number": "L-1", "quantity": "1"}, "Lot.quantity: not a whole number."),
        ({"number": "L-1", "quantity": True}, "Lot.quantity: not a whole number."),
        ({"number": "L-1", "quantity": 1, "expires_on": "soon"}, "Lot.expires_on: Invalid isoformat"),
    ],
)
def test_what_cannot_be_read_says_where(stored: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_plain(Lot, stored)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Money, {"amount": "1,50", "currency": "EUR"}),
        (Weight, {"amount": "0", "unit": "g"}),
        (Weight, {"amount": "1", "unit": "stone"}),
        (Label, {"external_id": "1", "carrier": "a", "service": "b", "tracking_numbers": "one"}),
        (Label, {"external_id": "1", "carrier": "a", "service": "b", "tracking_numbers": [], "handles": []}),
        (
            Label,
            {
                "external_id": "1",
                "carrier": "a",
                "service": "b",
                "tracking_numbers": [],
                "documents": [{"content": "x"}],
            },
        ),
    ],
)
def test_what_makes_no_value_is_refused(kind: type[Any], stored: Any) -> None:
    with pytest.raises(ValueError):
        from_plain(kind, stored)


def test_files_are_never_stored_beside_what_they_belong_to() -> None:
    label = Label(
        external_id="1",
        carrier="acme",
        service="x",
        tracking_numbers=("N",),
        documents=(Document(content=b"%PDF-1.4", format=DocumentFormat.PDF),),
    )

    with pytest.raises(TypeError, match="bytes has no plain form"):
        to_plain(label)


# ---------------------------------------------------------------- weights and sizes

GRAMS = {"g": Fraction(1), "kg": Fraction(1000), "oz": Fraction(28349523125, 10**9), "lb": Fraction(45359237, 10**5)}


@given(WEIGHTS, st.sampled_from(WeightUnit), st.integers(0, 4))
def test_a_weight_is_rounded_up_and_by_less_than_one_step(weight: Weight, unit: WeightUnit, places: int) -> None:
    exact = Fraction(weight.amount) * GRAMS[weight.unit.value] / GRAMS[unit.value]
    rounded = Fraction(weight.rounded_up(unit, places))

    assert exact <= rounded < exact + Fraction(1, 10**places)


def test_a_weight_in_its_own_unit_stays_as_it_is() -> None:
    assert Weight.of("16", WeightUnit.OUNCE).rounded_up(WeightUnit.POUND) == 1
    assert Weight.of("1", WeightUnit.POUND).rounded_up(WeightUnit.GRAM) == 454
    assert Weight.of("1", WeightUnit.POUND).rounded_up(WeightUnit.GRAM, 5) == Decimal("453.59237")
    assert str(Weight.of("0.5", WeightUnit.KILOGRAM).rounded_up(WeightUnit.KILOGRAM, 2)) == "0.50"


def test_a_size_is_rounded_up_side_by_side() -> None:
    size = Dimensions.of("10", "8.5", "0.1", LengthUnit.INCH)

    assert size.rounded_up(LengthUnit.MILLIMETER) == (254, 216, 3)
    assert size.rounded_up(LengthUnit.CENTIMETER, 1) == (Decimal("25.4"), Decimal("21.6"), Decimal("0.3"))


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "heavy", ""])
def test_nothing_weighs_nothing(amount: str) -> None:
    with pytest.raises(ValueError):
        Weight.of(amount, WeightUnit.GRAM)
    with pytest.raises(ValueError):
        Dimensions.of("1", amount, "1", LengthUnit.CENTIMETER)


# ---------------------------------------------------------------- what is refused when it is made

BOX = Parcel(weight=Weight.of("1", WeightUnit.KILOGRAM))
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("reference", ["", "-1", "a" * 36, "1001/1", "1001 1", "ä", "1001\n"])
def test_a_reference_is_what_every_vendor_takes(reference: str) -> None:
    line = FulfillmentLine(reference="1", sku="MUG-1", quantity=1)
    order = {"number": "1001", "placed_at": AT, "lines": (line,), "destination": LEEDS, "service": "standard"}
    confirmed = (ConfirmedLine(line_external_id="1", quantity=1),)

    with pytest.raises(ValueError, match="1 to 35 letters, digits and hyphens"):
        Shipment(reference=reference, origin=LEEDS, destination=LEEDS, parcels=(BOX,))
    with pytest.raises(ValueError, match="1 to 35 letters, digits and hyphens"):
        FulfillmentOrder(reference=reference, **order)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 35 letters, digits and hyphens"):
        ShipmentConfirmation(reference=reference, order_external_id="1", lines=confirmed, shipped_at=AT)


def test_what_has_no_parts_is_refused() -> None:
    line = FulfillmentLine(reference="1", sku="MUG-1", quantity=1)

    with pytest.raises(ValueError, match="at least one parcel"):
        Shipment(reference="1", origin=LEEDS, destination=LEEDS, parcels=())
    with pytest.raises(ValueError, match="at least one line"):
        Customs(contents=ContentsType.GIFT, items=())
    for lines in ((), (line, line)):
        with pytest.raises(ValueError, match="lines, each with a reference of its own"):
            FulfillmentOrder(
                reference="1", number="1", placed_at=AT, lines=lines, destination=LEEDS, service="standard"
            )
    confirmed = ConfirmedLine(line_external_id="1", quantity=1)
    for twice in ((), (confirmed, confirmed)):
        with pytest.raises(ValueError, match="each of the order's named once"):
            ShipmentConfirmation(reference="1", order_external_id="1", lines=twice, shipped_at=AT)


@pytest.mark.parametrize("quantity", [0, -1])
def test_what_is_asked_for_is_more_than_nothing(quantity: int) -> None:
    weight, value = Weight.of("1", WeightUnit.GRAM), Money.of("1", "EUR")

    with pytest.raises(ValueError, match="above zero"):
        FulfillmentLine(reference="1", sku="MUG-1", quantity=quantity)
    with pytest.raises(ValueError, match="above zero"):
        ConfirmedLine(line_external_id="1", quantity=quantity)
    with pytest.raises(ValueError, match="above zero"):
        CustomsItem(description="Mug", quantity=quantity, unit_value=value, unit_weight=weight)


def test_less_than_nothing_cannot_have_been_shipped() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        ShippedLine(sku="MUG-1", quantity=-1)
    with pytest.raises(ValueError, match="cannot be negative"):
        ShippedLine(sku="MUG-1", quantity=1, lots=(Lot(number="L-1", quantity=-1),))


# ---------------------------------------------------------------- times

NAIVE = datetime(2026, 3, 2, 12)  # noqa: DTZ001 - that is the point
ABROAD = datetime(2026, 3, 2, 14, tzinfo=timezone(timedelta(hours=2)))

TIMED: list[Any] = [
    lambda at: TrackingEvent(status=TrackingStatus.IN_TRANSIT, carrier_status="", happened_at=at).happened_at,
    lambda at: (
        Tracking(tracking_number="1", status=TrackingStatus.IN_TRANSIT, carrier_status="", deliver_by=at).deliver_by
    ),
    lambda at: Rate(external_id="1", carrier="a", service="b", cost=Money.of("1", "EUR"), deliver_by=at).deliver_by,
    lambda at: (
        Progress(reference="1", external_id="1", state=ProviderState.SHIPPED, provider_state="", version=at).version
    ),
    lambda at: ProviderShipment(external_id="1", reference="1", lines=(), version=AT, shipped_at=at).shipped_at,
    lambda at: ProviderShipment(external_id="1", reference="1", lines=(), version=at).version,
    lambda at: StockCount(sku="1", on_hand=1, available=1, counted_at=at).counted_at,
    lambda at: StockAdjustment(external_id="1", sku="1", quantity=1, adjusted_at=at).adjusted_at,
]


@pytest.mark.parametrize("made", TIMED)
def test_a_time_is_kept_in_utc_and_refused_without_a_zone(made: Any) -> None:
    assert made(ABROAD) == AT and made(ABROAD).tzinfo is UTC
    with pytest.raises(ValueError, match="has no time zone"):
        made(NAIVE)


def test_events_are_put_into_their_order() -> None:
    late, early = (
        TrackingEvent(status=TrackingStatus.IN_TRANSIT, carrier_status=word, happened_at=AT + timedelta(hours=hour))
        for word, hour in (("late", 2), ("early", 1))
    )

    tracking = Tracking(tracking_number="1", status=TrackingStatus.IN_TRANSIT, carrier_status="", events=(late, early))

    assert [event.carrier_status for event in tracking.events] == ["early", "late"]


# ---------------------------------------------------------------- files

FILES = {
    DocumentFormat.PDF: b"%PDF-1.7\n...",
    DocumentFormat.PNG: b"\x89PNG\r\n\x1a\n...",
    DocumentFormat.ZPL: b"\n^XA^FDParcel^FS^XZ\n",
}
PAGE = b"<!doctype html><title>Sign in</title>"


@pytest.mark.parametrize("format", DocumentFormat)
def test_a_file_is_known_by_its_first_bytes(format: DocumentFormat) -> None:
    others = [content for each, content in FILES.items() if each is not format]

    assert Document(content=FILES[format], format=format, kind=DocumentKind.LABEL).well_formed
    for content in (*others, PAGE, b"", b"^XA"):
        assert not Document(content=content, format=format).well_formed
    assert repr(FILES[format])[2:10] not in repr(Document(content=FILES[format], format=format))
