"""What is kept of an order beside its lines and its money: who ships it, what is on hold, what came back, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from hub.connector import RawRecord
from hub.core.model import (
    ChannelShipment,
    ChannelWork,
    Charge,
    ChargeKind,
    Discount,
    Hold,
    HoldReason,
    LineKind,
    LineQuantity,
    Money,
    Order,
    OrderStatus,
    Payment,
    Return,
    ReturnStatus,
    Risk,
    RiskLevel,
    WorkRequest,
    WorkStatus,
)
from hub.errors import AuthError, Unreadable
from hub.testing import Clock, connector_for
from hub_shopify import documents
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_model import Assessment, Refund, Tracking
from hub_shopify.simulator_webhooks import order_body

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock, bucket=1_000_000) as simulator:
        simulator.add_product("MUG", "Mug", 100_000, "8.00")
        simulator.add_product("POT", "Pot", 100_000, "19.99")
        yield simulator


@pytest.fixture
def connector(shop: ShopifySimulator, clock: Clock) -> ShopifyConnector:
    return connector_for(ShopifyConnector, shop, now=clock)


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def sell(shop: ShopifySimulator, *items: tuple[str, int], **options: Any) -> str:
    sale = shop.checkout(items or [("MUG", 1)], **options)
    assert sale is not None
    return sale.order_external_id


def read(connector: ShopifyConnector, external_id: str) -> Order:
    return connector.read_order(connector.fetch_order(external_id))


def told(connector: ShopifyConnector, shop: ShopifySimulator, external_id: str) -> Order:
    """The order as a webhook tells it now."""
    body = json.dumps(order_body(shop.sold[int(external_id)], shop.currency)).encode()
    (order,) = connector.read_webhook(RawRecord("orders/updated", external_id, body))
    assert isinstance(order, Order)
    return order


def changed(connector: ShopifyConnector, external_id: str, **changed: Any) -> Order:
    """The order with some of its fields as they may come, too."""
    record = connector.fetch_order(external_id)
    body = json.dumps({**json.loads(record.body), **changed}).encode()
    return connector.read_order(RawRecord("order", external_id, body))


def asked(shop: ShopifySimulator, document: documents.Document) -> int:
    name = document.text.split()[1].partition("(")[0]
    return sum(f" {name}(".encode() in request.body for request in shop.requests)


def points_left(shop: ShopifySimulator) -> int:
    left: int = shop._budget.told(0, 0)["throttleStatus"]["currentlyAvailable"]
    return left


def units_left(order: Order) -> list[int]:
    return [line.open_quantity for line in order.lines]


def units(line_external_id: str, quantity: int) -> LineQuantity:
    return LineQuantity(line_external_id=line_external_id, quantity=quantity)


# --- what was sold


def test_gift_cards_and_what_was_typed_in_are_told_from_products(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    card = shop.variants[int(shop.add_product("CARD", "Gift card", 10, "25.00"))]
    card.gift_card = True
    id = sell(shop, ("MUG", 1), ("CARD", 1), extras=[("Gift wrap", "2.50", 1)])
    for order in (read(connector, id), told(connector, shop, id)):
        assert [(line.title, line.kind, line.requires_shipping) for line in order.lines] == [
            ("Mug", LineKind.PRODUCT, True),
            ("Gift card", LineKind.GIFT_CARD, False),
            ("Gift wrap", LineKind.CUSTOM, True),
        ]


def test_a_line_whose_product_was_deleted_is_no_custom_line(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    product = shop.add_product("OLD", "Old thing", 5, "3.00")
    id = sell(shop, ("OLD", 2))
    shop.delete_product(product)
    (line,) = read(connector, id).lines
    assert (line.listing_external_id, line.kind) == (None, LineKind.PRODUCT)


def test_what_add_ons_wrote_is_kept_as_text(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    next(iter(shop.variants.values())).engraving = {"Engraving": "For Zoë"}
    id = sell(shop, ("MUG", 1), attributes={"Gift": "yes"}, tags=("vip", "wholesale"))
    for order in (read(connector, id), told(connector, shop, id)):
        assert order.lines[0].attributes == {"Engraving": "For Zoë"}
        assert order.attributes == {"Gift": "yes"}
        assert order.tags == ("vip", "wholesale")
    odd = [{"key": "n", "value": 3}, {"key": "deep", "value": {"a": ["é"]}}, {"key": None, "value": "x"}, {"key": "e"}]
    assert changed(connector, id, customAttributes=odd).attributes == {"n": "3", "deep": '{"a": ["é"]}', "e": ""}
    with pytest.raises(Unreadable):
        changed(connector, id, customAttributes="no list")


def test_an_order_of_the_till_has_no_address_and_no_shipping(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, ("MUG", 2), source="pos", app="Point of Sale", ships=False)
    shop.fulfill(id)
    for order in (read(connector, id), told(connector, shop, id)):
        assert (order.source, order.shipping_method, order.shipping) == ("pos", "", eur("0"))
        assert (order.customer_name, order.shipping_address.city) == ("", "")
        assert (order.status, order.holds_stock) == (OrderStatus.FULFILLED, False)
        assert (order.total, order.rounding) == (eur("17.60"), eur("0"))


@pytest.mark.parametrize(
    ("source", "app", "told_as"),
    [("web", "Online Store", "web"), ("5422", "Meta", "Meta"), ("", "Draft Orders", "Draft Orders"), ("77", "", "77")],
)
def test_an_app_without_a_word_is_called_by_its_name(
    shop: ShopifySimulator, connector: ShopifyConnector, source: str, app: str, told_as: str
) -> None:
    assert read(connector, sell(shop, source=source, app=app)).source == told_as


# --- money


def test_the_customers_currency_is_kept_where_it_is_another(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    here, abroad = sell(shop), sell(shop, presentment=("USD", Decimal("1.10")))
    for order in (read(connector, here), told(connector, shop, here)):
        assert (order.total, order.presentment_total) == (eur("13.70"), None)
    for order in (read(connector, abroad), told(connector, shop, abroad)):
        assert (order.total, order.presentment_total) == (eur("13.70"), Money(Decimal("15.07"), "USD"))
        assert order.lines[0].unit_price == eur("8.00")


def test_what_is_charged_beside_is_named_and_adds_up_to_the_fees(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, tip=Decimal("2.00"), duties=Decimal("1.10"), fees=Decimal("0.40"))
    for order in (read(connector, id), told(connector, shop, id)):
        assert order.charges == (
            Charge(kind=ChargeKind.TIP, title="Tip", amount=eur("2.00")),
            Charge(kind=ChargeKind.DUTY, title="Duties", amount=eur("1.10")),
            Charge(kind=ChargeKind.FEE, title="Additional fees", amount=eur("0.40")),
        )
        assert (order.fees, order.rounding) == (eur("3.50"), eur("0.00"))


def test_a_charge_that_the_total_has_no_room_for_is_in_it_already(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    bag = {"shopMoney": {"amount": "2.00", "currencyCode": "EUR"}}
    total = {"shopMoney": {"amount": "16.70", "currencyCode": "EUR"}}  # 13.70 and 3.00
    order = changed(
        connector,
        sell(shop),
        totalTipReceivedSet=bag,
        originalTotalDutiesSet=bag,
        originalTotalAdditionalFeesSet=bag,
        totalPriceSet=total,
    )
    assert [(charge.kind, charge.amount) for charge in order.charges] == [
        (ChargeKind.TIP, eur("2.00")),
        (ChargeKind.DUTY, eur("1.00")),
    ]
    assert (order.fees, order.rounding) == (eur("3.00"), eur("0.00"))


def test_discounts_say_where_they_come_from(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    by_code = sell(shop, ("MUG", 1), ("POT", 1), discount="10.00", code="TENOFF")
    by_itself = sell(shop, ("MUG", 1), discount="1.50")
    for order in (read(connector, by_code), told(connector, shop, by_code)):
        assert order.discounts == (Discount(code="TENOFF", amount=eur("10.00")),)  # of both lines
        assert order.discount == eur("0.00")
    for order in (read(connector, by_itself), told(connector, shop, by_itself)):
        assert order.discounts == (Discount(code="Sale", amount=eur("1.50")),)
    assert read(connector, sell(shop)).discounts == ()


def test_a_discount_on_the_shipping_is_told_too(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    allocation = {
        "allocatedAmountSet": {"shopMoney": {"amount": "4.90", "currencyCode": "EUR"}},
        "discountApplication": {"code": "FREESHIP"},
    }
    line = {"title": "Express", "discountAllocations": [allocation]}
    order = changed(connector, sell(shop), shippingLine=line)
    assert order.discounts == (Discount(code="FREESHIP", amount=eur("4.90")),)
    assert order.shipping_method == "Express"


def test_payments_tell_gift_cards_from_money(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    once = sell(shop)
    twice = sell(shop, payments=(("gift_card", Decimal("10.00")), ("shopify_payments", Decimal("3.70"))))
    card = sell(shop, payments=(("gift_card", Decimal("13.70")),))
    for order in (read(connector, once), told(connector, shop, once)):
        assert order.payments == (Payment(method="shopify_payments", amount=eur("13.70")),)
    assert read(connector, twice).payments == (
        Payment(method="gift_card", amount=eur("10.00"), gift_card=True),
        Payment(method="shopify_payments", amount=eur("3.70")),
    )
    assert told(connector, shop, twice).payments == ()  # who paid how much, a body does not say
    for order in (read(connector, card), told(connector, shop, card)):
        assert order.payments == (Payment(method="gift_card", amount=eur("13.70"), gift_card=True),)


@pytest.mark.parametrize("financial", ["PENDING", "AUTHORIZED", "VOIDED", "EXPIRED"])
def test_what_is_only_promised_is_no_payment(
    shop: ShopifySimulator, connector: ShopifyConnector, financial: str
) -> None:
    id = sell(shop, financial=financial)
    assert read(connector, id).payments == told(connector, shop, id).payments == ()


def test_a_failed_payment_is_none(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    def transaction(kind: str, status: str, amount: str) -> dict[str, Any]:
        bag = {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}
        return {"kind": kind, "status": status, "gateway": "card", "amountSet": bag}

    tried = [
        transaction("SALE", "FAILURE", "13.70"),
        transaction("AUTHORIZATION", "SUCCESS", "13.70"),
        transaction("CAPTURE", "SUCCESS", "10.00"),
        transaction("CAPTURE", "SUCCESS", "3.70"),
        transaction("REFUND", "SUCCESS", "1.00"),
    ]
    order = changed(connector, sell(shop), transactions=tried)
    assert order.payments == (Payment(method="card", amount=eur("13.70")),)


# --- who ships it


def test_work_says_which_location_ships_what(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3), ("POT", 1))
    order = read(connector, id)
    mug, pot = (line.external_id for line in order.lines)
    home = str(next(iter(shop.locations)))
    (work,) = shop.fulfillment_orders.open(id)
    assert order.work == (
        ChannelWork(
            external_id=str(work.id),
            status=WorkStatus.OPEN,
            lines=(units(mug, 3), units(pot, 1)),
            location_external_id=home,
        ),
    )
    shop.fulfill(id, units=1)
    (left,) = read(connector, id).work
    assert left.lines == (units(mug, 2),)
    shop.fulfill(id)
    assert read(connector, id).work == ()  # nothing is left to ship


def test_a_hold_says_why_and_whose_it_is(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop)
    (work,) = shop.fulfillment_orders.open(id)
    hold = shop.fulfillment_orders.hold_by_hand(work, "HIGH_RISK_OF_FRAUD", "Call her")
    other = shop.fulfillment_orders.hold_by_hand(work, "AWAITING_RETURN_ITEMS")
    (held,) = read(connector, id).work
    assert held.status is WorkStatus.ON_HOLD
    assert held.holds == (
        Hold(external_id=str(hold.id), reason=HoldReason.FRAUD, note="Call her"),
        Hold(external_id=str(other.id), reason=HoldReason.MANUAL, note="Awaiting return items"),
    )
    hold.by_app = True
    assert read(connector, id).work[0].holds[0].held_by == "Tallyhub"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("AWAITING_PAYMENT", HoldReason.PAYMENT),
        ("HIGH_RISK_OF_FRAUD", HoldReason.FRAUD),
        ("INCORRECT_ADDRESS", HoldReason.ADDRESS),
        ("INVENTORY_OUT_OF_STOCK", HoldReason.BACKORDER),
        ("OTHER", HoldReason.MANUAL),
        ("UNKNOWN_DELIVERY_DATE", HoldReason.MANUAL),
    ],
)
def test_every_reason_for_a_hold_is_understood(
    shop: ShopifySimulator, connector: ShopifyConnector, theirs: str, ours: HoldReason
) -> None:
    id = sell(shop)
    shop.fulfillment_orders.hold_by_hand(shop.fulfillment_orders.open(id)[0], theirs)
    assert read(connector, id).work[0].holds[0].reason is ours


@pytest.mark.parametrize("request_status", ["SUBMITTED", "ACCEPTED", "REJECTED", "CANCELLATION_REQUESTED"])
def test_what_a_location_is_asked_is_told(
    shop: ShopifySimulator, connector: ShopifyConnector, request_status: str
) -> None:
    id = sell(shop)
    shop.fulfillment_orders.ask(shop.fulfillment_orders.open(id)[0], request_status)
    assert read(connector, id).work[0].request is WorkRequest(request_status.lower())


def test_times_of_work_are_told_and_the_first_promise_is_the_orders(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, promised_at=NOON + timedelta(days=3))
    (work,) = json.loads(connector.fetch_order(id).body)["fulfillmentOrders"]["nodes"]
    later = {**work, "id": "gid://shopify/FulfillmentOrder/9", "status": "SCHEDULED"}
    later["fulfillAt"], later["fulfillBy"] = "2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"
    later["deliveryMethod"] = {"maxDeliveryDateTime": "2026-11-30T12:00:00Z"}
    closed = {**work, "status": "CLOSED", "deliveryMethod": {"maxDeliveryDateTime": "2026-11-01T00:00:00Z"}}
    order = changed(connector, id, fulfillmentOrders={"nodes": [closed, later, work]})
    assert order.promised_at == NOON + timedelta(days=3)
    assert [each.status for each in order.work] == [WorkStatus.SCHEDULED, WorkStatus.OPEN]
    assert order.work[0].ship_from == datetime(2026, 11, 25, tzinfo=UTC)
    assert order.work[0].ship_by == datetime(2026, 11, 26, tzinfo=UTC)
    assert read(connector, sell(shop)).promised_at is None


def test_work_in_many_parts_with_many_lines_comes_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    many = documents.WORK_LINES_ALONE + documents.WORK_PAGE + 5
    id = sell(shop, *[("MUG", 2)] * many)
    parts = documents.WORK_ALONE + documents.WORK_PAGE
    for _ in range(parts):
        work = shop.fulfillment_orders.open(id)[0]
        shop.fulfillment_orders.take_out(work, [(work.lines[0], 1)], work.location)
    (page,) = connector.fetch_orders(None)
    for order in (read(connector, id), connector.read_order(page.records[0])):
        assert len(order.work) == parts + 1
        assert sum(line.quantity for work in order.work for line in work.lines) == 2 * many
    assert asked(shop, documents.WORK_LINES_AFTER) == 2
    assert asked(shop, documents.ORDER_WORK_AFTER) == 4


# --- what left, what came back


def test_the_only_shipment_needs_no_further_question(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3), ("POT", 1))
    shop.fulfill(id, units=1)
    order = read(connector, id)
    shipment = shop.sold[int(id)].fulfillments[0]
    shipment.tracking = [Tracking("UPS", "1Z1", "https://ups.example/1Z1"), Tracking("UPS", "1Z2", None)]
    shipment.location = next(iter(shop.locations))
    mug, pot = (line.external_id for line in order.lines)
    expected = ChannelShipment(
        external_id=str(shipment.id),
        lines=(units(mug, 1), units(pot, 1)),
        shipped_at=NOON,
        carrier="UPS",
        tracking_numbers=("1Z1", "1Z2"),
        tracking_url="https://ups.example/1Z1",
        location_external_id=str(shipment.location),
    )
    assert read(connector, id).shipments == told(connector, shop, id).shipments == (expected,)
    assert asked(shop, documents.ORDER_AFTERMATH) == 0


def test_several_shipments_have_their_own_lines(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3), ("POT", 1))
    shop.fulfill(id, units=1)
    shop.fulfill(id)
    order = read(connector, id)
    mug, pot = (line.external_id for line in order.lines)
    assert [shipment.lines for shipment in order.shipments] == [(units(mug, 1), units(pot, 1)), (units(mug, 2),)]
    assert told(connector, shop, id).shipments == order.shipments
    assert order.whole


def test_a_canceled_shipment_is_told_and_counts_as_none(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id)
    shop.cancel_fulfillment(id)
    for order in (read(connector, id), told(connector, shop, id)):
        assert [(shipment.cancelled, shipment.lines[0].quantity) for shipment in order.shipments] == [(True, 3)]
        assert (order.lines[0].fulfilled, order.lines[0].open_quantity) == (0, 3)
        assert order.holds_stock


def test_several_shipments_that_were_not_asked_for_make_half_an_order(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id)
    (shipment,) = json.loads(connector.fetch_order(id).body)["fulfillments"]
    assert not changed(connector, id, fulfillments=[shipment, {**shipment, "legacyResourceId": "9"}]).whole


def test_one_shipment_does_not_say_its_lines_where_units_were_taken_out(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id, units=1)
    shop.edit(id, take_out=[("MUG", 1)])
    body = json.loads(connector.fetch_order(id).body)
    del body["transactions"], body["fulfillments"][0]["fulfillmentLineItems"]  # as before what came of it was asked
    half = connector.read_order(RawRecord("order", id, json.dumps(body).encode()))
    assert (half.shipments[0].lines, half.whole) == ((), False)


def test_money_given_back_without_goods_is_a_refund_too(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.sold[int(id)].refunds.append(Refund(5, NOON, Decimal("2.00"), "Late", []))
    order = read(connector, id)
    assert [(refund.amount, refund.reason, refund.lines) for refund in order.refunds] == [(eur("2.00"), "Late", ())]
    assert units_left(order) == [3]


def test_a_refund_says_for_which_units(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id, units=2)
    shop.refund(id, "MUG", 3)
    for order in (read(connector, id), told(connector, shop, id)):
        (refund,) = order.refunds
        line = order.lines[0].external_id
        assert refund.lines == (units(line, 2), units(line, 1))  # two that had been shipped, one that had not


def test_a_return_is_another_matter_than_a_refund(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 3))
    shop.fulfill(id)
    coming = shop.send_back(id, "MUG", 2, reason="Too small", status="REQUESTED")
    order = read(connector, id)
    assert order.refunds == ()
    assert order.returns == (
        Return(
            external_id=str(coming.id),
            number="#1001-R1",
            status=ReturnStatus.REQUESTED,
            reason="Too small",
            lines=(units(order.lines[0].external_id, 2),),
        ),
    )
    assert order.whole
    assert (order.lines[0].fulfilled, order.lines[0].removed) == (3, 0)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("REQUESTED", ReturnStatus.REQUESTED),
        ("OPEN", ReturnStatus.OPEN),
        ("CLOSED", ReturnStatus.CLOSED),
        ("DECLINED", ReturnStatus.DECLINED),
        ("CANCELED", ReturnStatus.CANCELLED),
    ],
)
def test_every_state_of_a_return_is_understood(
    shop: ShopifySimulator, connector: ShopifyConnector, theirs: str, ours: ReturnStatus
) -> None:
    id = sell(shop, ("MUG", 1))
    shop.fulfill(id)
    shop.send_back(id, "MUG", 1, status=theirs)
    assert read(connector, id).returns[0].status is ours


def test_goods_that_were_never_sent_come_back_without_a_line(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    back = {
        "id": "gid://shopify/Return/5",
        "name": "#1001-R1",
        "status": "OPEN",
        "returnLineItems": {"nodes": [{"quantity": 1, "returnReasonDefinition": None}]},
    }
    assert changed(connector, sell(shop), returns=[back]).returns == (
        Return(external_id="5", number="#1001-R1", status=ReturnStatus.OPEN, lines=()),
    )


def test_many_returns_and_refunds_come_whole(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    lines = documents.PART_LINES + 2
    id = sell(shop, *[("MUG", 40)] * lines)
    shop.fulfill(id)
    order = shop.sold[int(id)]
    for _ in range(documents.RETURNS + 3):
        shop.send_back(id, "MUG", 1)
    order.returns[0].items = [(line, 1) for line in order.lines]
    found = read(connector, id)
    assert len(found.returns) == documents.RETURNS + 3
    assert len(found.returns[0].lines) == len(found.shipments[0].lines) == lines
    assert asked(shop, documents.RETURN_LINES) == asked(shop, documents.FULFILLMENT_LINES) == 1
    assert asked(shop, documents.ORDER_RETURNS_AFTER) == 1


def test_returns_need_a_scope_that_is_named(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 1))
    shop.fulfill(id)
    shop.send_back(id, "MUG", 1)
    shop.scopes = tuple(scope for scope in shop.scopes if not scope.endswith("_returns"))
    with pytest.raises(AuthError, match="read_returns"):
        connector.fetch_order(id)


# --- risk


def test_the_worst_that_anybody_thinks_is_the_risk(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop)
    assert read(connector, id).risk is None
    shop.assess(
        id,
        "CANCEL",
        Assessment("LOW", (("POSITIVE", "Card matches the address."),)),
        Assessment("HIGH", (("NEGATIVE", "Proxy used."), ("NEUTRAL", "First order."), ("NEGATIVE", "Proxy used."))),
    )
    assert read(connector, id).risk == Risk(level=RiskLevel.HIGH, reasons=("Proxy used.",))


@pytest.mark.parametrize(
    ("advice", "levels", "level"),
    [
        ("NONE", ["PENDING"], RiskLevel.PENDING),
        ("NONE", ["PENDING", "LOW"], RiskLevel.LOW),
        ("ACCEPT", ["MEDIUM"], RiskLevel.MEDIUM),
        ("INVESTIGATE", [], RiskLevel.MEDIUM),
        ("CANCEL", [], RiskLevel.HIGH),
        ("ACCEPT", ["NONE"], RiskLevel.LOW),
    ],
)
def test_levels_and_advice_are_weighed(
    shop: ShopifySimulator, connector: ShopifyConnector, advice: str, levels: list[str], level: RiskLevel
) -> None:
    id = sell(shop)
    shop.assess(id, advice, *(Assessment(each) for each in levels))
    assert read(connector, id).risk == Risk(level=level)


# --- edits


def test_an_edit_adds_lines_and_takes_units_out(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    id = sell(shop, ("MUG", 3))
    before = read(connector, id)
    clock.now += timedelta(minutes=1)
    shop.edit(id, add=[("POT", 2)], take_out=[("MUG", 1)])
    after = read(connector, id)
    assert after.version == before.version + timedelta(minutes=1)
    assert [(line.sku, line.quantity, line.removed, line.open_quantity) for line in after.lines] == [
        ("MUG", 3, 1, 2),
        ("POT", 2, 0, 2),
    ]
    assert after.lines[0].external_id == before.lines[0].external_id
    assert after.refunds == ()  # nothing was given back
    assert sum(line.quantity for work in after.work for line in work.lines) == 4
    assert replace(told(connector, shop, id), whole=True, work=after.work) == after


def test_an_edit_that_was_shipped_in_part_keeps_both_apart(shop: ShopifySimulator, connector: ShopifyConnector) -> None:
    id = sell(shop, ("MUG", 4))
    shop.fulfill(id, units=1)
    shop.edit(id, take_out=[("MUG", 2)])
    order = read(connector, id)
    (line,) = order.lines
    assert (line.fulfilled, line.removed, line.open_quantity) == (1, 2, 1)
    assert order.shipments[0].lines == (units(line.external_id, 1),)


# --- how much it costs to know all that


def test_a_webhook_counts_at_once_and_has_the_order_asked_for_once(
    shop: ShopifySimulator, connector: ShopifyConnector
) -> None:
    """What a body says of units and money is taken; what nobody could read from it (who ships what, what is on hold)
    costs one question of so many points."""
    id = sell(shop, ("MUG", 2), ("POT", 1))
    order = told(connector, shop, id)
    assert (order.holds_stock, order.whole, order.work) == (True, False, ())
    left = points_left(shop)
    connector.fetch_order(id)
    assert left - points_left(shop) == 49
    assert documents.ORDER.cost == 231  # what has to be there for it


def test_orders_older_than_sixty_days_come_with_the_scope_for_them(
    shop: ShopifySimulator, connector: ShopifyConnector, clock: Clock
) -> None:
    old = sell(shop)
    clock.now += timedelta(days=61)
    new = sell(shop)
    assert [record.external_id for page in connector.fetch_orders(None) for record in page.records] == [old, new]
    shop.scopes = tuple(scope for scope in shop.scopes if scope != "read_all_orders")
    assert [record.external_id for page in connector.fetch_orders(None) for record in page.records] == [new]
    assert [warning for warning in connector.check().warnings if "60 days" in warning]
