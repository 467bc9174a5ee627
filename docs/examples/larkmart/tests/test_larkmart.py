"""The Larkmart connector against its simulator: what comes in, what goes out, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import hub
from hub.testing import WEBHOOK_SECRET, Fault, SalesChannelContract, connector_for
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.settings import LarkmartSettings
from hub_larkmart.simulator import LarkmartSimulator


class TestContract(SalesChannelContract):
    """Everything that `hub certify larkmart` asks, case by case."""

    connector = LarkmartConnector
    simulator = LarkmartSimulator
    grade = "gold"


@pytest.fixture
def stall() -> Iterator[LarkmartSimulator]:
    with LarkmartSimulator() as simulator:
        simulator.add_product("MUG-1", "Mug", stock=10, price="12.50")
        yield simulator


@pytest.fixture
def connector(stall: LarkmartSimulator) -> LarkmartConnector:
    return connector_for(LarkmartConnector, stall)


def test_says_whose_account_it_is(connector: LarkmartConnector) -> None:
    account = connector.check()

    assert (account.external_id, account.name, account.currency) == ("stall-corner", "Corner", "EUR")


def test_a_wrong_key_is_an_auth_error(stall: LarkmartSimulator) -> None:
    connector = connector_for(LarkmartConnector, stall)
    stall.api_key = "lk_another"

    with pytest.raises(hub.AuthError, match=r"corner\.larkmart\.example refused the credentials"):
        connector.check()


def test_the_form_refuses_a_whole_address() -> None:
    problems = LarkmartSettings().validate({"stall": "https://corner.larkmart.example", "api_key": "lk_1"})

    assert problems == {"stall": ["Enter only the part before .larkmart.example."]}


def test_reads_an_order_to_the_cent(stall: LarkmartSimulator, connector: LarkmartConnector) -> None:
    sale = stall.buy([("MUG-1", 3)])
    assert sale

    order = connector.read_order(connector.fetch_order(sale.order_external_id))

    assert (order.number, order.status, order.holds_stock) == ("1001", hub.OrderStatus.OPEN, True)
    assert order.total == hub.Money(Decimal("42.40"), "EUR")
    assert order.rounding == hub.Money.zero("EUR")
    (line,) = order.lines
    assert (line.listing_external_id, line.sku, line.open_quantity) == ("offer-1", "MUG-1", 3)


def test_fetching_goes_on_where_the_cursor_says(stall: LarkmartSimulator, connector: LarkmartConnector) -> None:
    stall.set_stock("MUG-1", 100)
    for _ in range(60):
        stall.buy([("MUG-1", 1)])
    pages = list(connector.fetch_orders(None))
    assert [len(page.records) for page in pages] == [50, 10]

    late = stall.buy([("MUG-1", 1)])
    assert late
    (page,) = connector.fetch_orders(pages[-1].cursor)

    assert [record.external_id for record in page.records] == [late.order_external_id]


def test_an_order_it_cannot_read_says_where(stall: LarkmartSimulator, connector: LarkmartConnector) -> None:
    sale = stall.buy([("MUG-1", 3)])
    assert sale
    record = connector.fetch_order(sale.order_external_id)
    odd = replace(record, body=record.body.replace(b'"quantity": 3', b'"quantity": "three"'))

    with pytest.raises(hub.Unreadable, match=r"^items\.0\.quantity: Not a whole number\.$"):
        connector.read_order(odd)


def test_takes_only_what_larkmart_signed(connector: LarkmartConnector) -> None:
    body = b'{"id": "order-1"}'
    signature = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()

    assert connector.verify(hub.Webhook({"x-larkmart-signature": signature}, body)) == hub.Delivery(
        "order.changed", hashlib.sha256(body).hexdigest()
    )
    for headers in ({}, {"x-larkmart-signature": ""}, {"x-larkmart-signature": signature.upper()}):
        with pytest.raises(hub.Unverified):
            connector.verify(hub.Webhook(headers, body))
    with pytest.raises(hub.Unverified):
        connector.verify(hub.Webhook({"x-larkmart-signature": signature}, body + b" "))


def test_one_refused_figure_does_not_spoil_the_others(stall: LarkmartSimulator, connector: LarkmartConnector) -> None:
    mug, gone = hub.StockRef("offer-1", ""), hub.StockRef("offer-9", "")

    outcomes = connector.push_stock([hub.StockPush(gone, 4, None, "a"), hub.StockPush(mug, 7, 10, "b")])

    assert [outcome.state for outcome in outcomes] == [hub.PushState.GONE, hub.PushState.WRITTEN]
    assert stall.stock() == {"MUG-1": 7}
    assert connector.read_stock([mug, gone]) == [7, None]


def test_after_a_lost_answer_the_figure_is_written_again(
    stall: LarkmartSimulator, connector: LarkmartConnector
) -> None:
    push = hub.StockPush(hub.StockRef("offer-1", ""), 7, 10, "a")
    stall.fail_next("/v1/stock", Fault.reset(after_effect=True))

    with pytest.raises(hub.Unavailable) as lost:
        connector.push_stock([push])

    assert lost.value.sent  # the stall has it, but nobody told us
    assert [outcome.state for outcome in connector.push_stock([push])] == [hub.PushState.WRITTEN]
    assert stall.stock() == {"MUG-1": 7}


def test_a_parcel_whose_answer_was_lost_is_confirmed_once(
    stall: LarkmartSimulator, connector: LarkmartConnector
) -> None:
    sale = stall.buy([("MUG-1", 3)])
    assert sale
    parcel = hub.ShipmentConfirmation(
        reference="P-1",
        order_external_id=sale.order_external_id,
        lines=(hub.ConfirmedLine(line_external_id="item-1", quantity=2),),
        shipped_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
        carrier_name="Royal Mail",
        tracking_numbers=("RM1",),
    )
    stall.fail_next("/v1/orders", Fault.reset(after_effect=True))

    with pytest.raises(hub.Unavailable):
        connector.confirm_shipment(parcel, "key")
    again = connector.confirm_shipment(parcel, "key")

    assert again == hub.EffectResult(reference="order-1001/P-1")
    order = connector.read_order(connector.fetch_order(sale.order_external_id))
    assert [(line.quantity, line.fulfilled) for line in order.lines] == [(3, 2)]
    with pytest.raises(hub.Rejected, match="There are not 2 of item-1 left"):
        connector.confirm_shipment(replace(parcel, reference="P-2"), "other")
