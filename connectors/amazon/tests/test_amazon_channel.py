"""Orders fetched from Amazon page by page, and shipments confirmed there: whole, in parts, after a lost answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import hub
from hub.core.shipping import ConfirmedLine, ShipmentConfirmation
from hub.testing import Clock, Fault, SimResponse, connector_for, context_for
from hub_amazon.carriers import carrier_code
from hub_amazon.channel import AmazonConnector, package_reference
from hub_amazon.settings import AmazonSettings
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_models import Models

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
MODELS = Models(SPECS) if SPECS.is_dir() else None
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LAG = timedelta(minutes=2)
SEARCH = "/orders/2026-01-01/orders"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def amazon(clock: Clock) -> Iterator[AmazonSimulator]:
    """An Amazon that finds what changed two minutes later, as the real one does."""
    with AmazonSimulator(now=clock, models=MODELS, lag=LAG) as simulator:
        simulator.add_product("MUG-1", "Mug", 5000, "9.50")
        simulator.listings.add("MUG-1", "Tasse", 5000, "9.50", marketplace="FR")
        yield simulator


@pytest.fixture
def connector(amazon: AmazonSimulator, clock: Clock) -> AmazonConnector:
    return connector_for(AmazonConnector, amazon, now=clock)


def sell(amazon: AmazonSimulator, quantity: int = 1, **about: Any) -> str:
    sale = amazon.checkout([("MUG-1", quantity)], **about)
    assert sale is not None
    return sale.order_external_id


def walk(connector: AmazonConnector, cursor: str | None) -> tuple[list[str], str]:
    """The orders of all pages, and the cursor after the last."""
    pages = list(connector.fetch_orders(cursor))
    return [record.external_id for page in pages for record in page.records], pages[-1].cursor


def searches(amazon: AmazonSimulator) -> list[dict[str, str]]:
    return [dict(each.query) for each in amazon.requests if each.path == SEARCH]


# ---------------------------------------------------------------- orders


def test_at_first_what_is_open_is_found_however_old_and_the_rest_of_a_month(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    old_open, old_shipped = sell(amazon), sell(amazon)
    amazon.fulfill(old_shipped)
    clock.advance(days=100)
    late = sell(amazon)
    amazon.fulfill(late)
    clock.advance(minutes=5)
    found, cursor = walk(connector, None)
    assert set(found) == {old_open, late}
    assert json.loads(cursor) == {"since": "2027-03-01T12:01:00.000Z"}
    first, second = searches(amazon)
    assert first["fulfillmentStatuses"] == "PENDING_AVAILABILITY,PENDING,UNSHIPPED,PARTIALLY_SHIPPED"
    assert "fulfillmentStatuses" not in second
    assert second["marketplaceIds"] == "A1PA6795UKMFR9,A13V1IB3VIYZZH"


def test_each_change_is_found_once_amazon_knows_of_it(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    clock.advance(minutes=10)
    _, cursor = walk(connector, None)
    order = sell(amazon)
    clock.advance(minutes=1)
    found, cursor = walk(connector, cursor)
    assert found == []
    clock.advance(minutes=3)
    found, cursor = walk(connector, cursor)
    assert found == [order]
    # For as long as Amazon may lag behind it is met again, and recognized by the hub; then no more.
    clock.advance(minutes=3)
    assert walk(connector, cursor)[0] == [order]
    clock.advance(minutes=6)
    _, cursor = walk(connector, cursor)
    assert walk(connector, cursor)[0] == []


def test_pages_lead_on_and_a_walk_that_was_cut_off_goes_on_with_its_token(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    placed = [sell(amazon) for _ in range(250)]
    clock.advance(minutes=5)
    since = json.dumps({"since": "2026-11-21T11:00:00.000Z"})
    pages = list(connector.fetch_orders(since))
    assert [len(page.records) for page in pages] == [100, 100, 50]
    assert sorted(record.external_id for page in pages for record in page.records) == sorted(placed)
    before = len(searches(amazon))
    rest, cursor = walk(connector, pages[0].cursor)
    assert len(searches(amazon)) - before == 2
    assert {record.external_id for record in pages[0].records} | set(rest) == set(placed)
    assert cursor == pages[-1].cursor


def test_a_token_that_is_over_begins_the_search_anew(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    placed = [sell(amazon) for _ in range(150)]
    clock.advance(minutes=5)
    first = next(iter(connector.fetch_orders(json.dumps({"since": "2026-11-21T11:00:00.000Z"}))))
    clock.advance(hours=25)
    found, cursor = walk(connector, first.cursor)
    assert sorted(found) == sorted(placed)
    assert json.loads(cursor)["since"] == "2026-11-22T13:01:00.000Z"


def test_what_changes_while_pages_are_read_is_found_by_the_next_search(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    for _ in range(120):
        sell(amazon)
    clock.advance(minutes=5)
    pages = connector.fetch_orders(json.dumps({"since": "2026-11-21T11:00:00.000Z"}))
    next(pages)
    late = sell(amazon)
    clock.advance(minutes=3)
    [last] = list(pages)
    clock.advance(minutes=3)
    assert late in walk(connector, last.cursor)[0]


def test_a_search_that_is_refused_is_told(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    with pytest.raises(hub.Rejected, match="Amazon refused the request"):
        list(connector.fetch_orders(json.dumps({"since": "yesterday"})))


@pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's specifications are not there; set TALLYHUB_SPECS")
def test_every_parameter_of_a_search_is_one_that_amazons_mapping_names(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    for _ in range(120):
        sell(amazon)
    clock.advance(minutes=5)
    walk(connector, None)
    mapping = json.loads((SPECS / "orders-api-migration-data.json").read_text(encoding="utf-8"))
    renamed = {text.partition(" ")[0] for text in mapping["queryParameterMappings"].values()}
    sent = {name for query in searches(amazon) for name in query}
    assert sent - renamed == {"includedData"}
    assert "paginationToken" in sent


def test_sales_made_elsewhere_that_amazon_ships_are_no_orders_of_this_channel(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    order, elsewhere = sell(amazon), sell(amazon)
    clock.advance(minutes=5)
    answer = amazon.answer

    def mixed(request: Any) -> SimResponse:
        said = answer(request)
        if request.path != SEARCH:
            return said
        body = said.json()
        for each in body["orders"]:
            if each["orderId"] == elsewhere:
                each["salesChannel"] = {"channelName": "NON_AMAZON"}
        return SimResponse.of_json(body)

    amazon.answer = mixed  # type: ignore[method-assign]
    assert walk(connector, json.dumps({"since": "2026-11-21T11:00:00.000Z"}))[0] == [order]


def test_an_order_fetched_alone_has_the_same_bytes_as_in_a_search(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    order = sell(amazon, 2, shipping="4.00", discount="1.00", gift_message="For Ann")
    clock.advance(minutes=5)
    [page] = connector.fetch_orders(json.dumps({"since": "2026-11-21T11:00:00.000Z"}))
    [record] = page.records
    assert connector.fetch_order(order) == record
    read = connector.read_order(record)
    assert read.rounding == hub.Money.zero("EUR")
    assert (read.shipping, read.lines[0].quantity) == (hub.Money.of("4.00", "EUR"), 2)


@pytest.mark.parametrize("id", ["302-0000000-0000000", "1", "../orders", "a b/c?d"])
def test_an_order_that_amazon_does_not_have_is_not_found(connector: AmazonConnector, id: str) -> None:
    with pytest.raises(hub.NotFound):
        connector.fetch_order(id)


def test_an_order_that_amazon_ships_is_read_as_such(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    amazon.add_product_shipped_by_channel("FBA-1", "Lamp", "30.00")
    sale = amazon.checkout([("FBA-1", 1)])
    assert sale is not None
    order = connector.read_order(connector.fetch_order(sale.order_external_id))
    assert (order.shipped_by_channel, order.holds_stock, order.status) == (True, False, hub.OrderStatus.OPEN)


def test_a_buyers_wish_to_cancel_comes_and_goes(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    id = sell(amazon)
    amazon.ask_to_cancel(id, "Found it cheaper")
    [hold] = connector.read_order(connector.fetch_order(id)).holds
    assert (hold.reason, hold.note) == (hub.HoldReason.CANCELLATION, "Mug: Found it cheaper")
    amazon.think_again(id)
    assert connector.read_order(connector.fetch_order(id)).holds == ()


# ---------------------------------------------------------------- shipments


def confirmation(connector: AmazonConnector, id: str, quantity: int, **told: Any) -> ShipmentConfirmation:
    [line] = connector.read_order(connector.fetch_order(id)).lines
    return ShipmentConfirmation(
        **{
            "reference": "SHP-1",
            "order_external_id": id,
            "lines": (ConfirmedLine(line_external_id=line.external_id, quantity=quantity),),
            "shipped_at": connector.context.now(),
            "carrier": "dhl",
            "tracking_numbers": ("00340123456789",),
            **told,
        }
    )


def test_an_order_is_shipped_in_parts(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    id = sell(amazon, 3)
    first = connector.perform("confirm_shipment", hub_plain(confirmation(connector, id, 1)), "1")
    order = connector.read_order(connector.fetch_order(id))
    assert (order.channel_status, order.lines[0].fulfilled) == ("PARTIALLY_SHIPPED", 1)
    told = confirmation(connector, id, 2, reference="SHP-2", carrier="rocket", carrier_name="Rocket Post")
    second = connector.confirm_shipment(told, "2")
    order = connector.read_order(connector.fetch_order(id))
    assert order.status is hub.OrderStatus.FULFILLED
    assert [(each.external_id, each.carrier) for each in order.shipments] == [
        (first.reference, "DHL"),
        (second.reference, "Rocket Post"),
    ]


def hub_plain(value: ShipmentConfirmation) -> dict[str, Any]:
    from hub.core.plain import to_plain

    plain: dict[str, Any] = to_plain(value)
    return plain


def test_after_a_lost_answer_the_package_is_found_and_not_sent_twice(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    id = sell(amazon, 2)
    told = confirmation(connector, id, 1)
    assert connector.find_confirm_shipment(told, "1") is None
    amazon.fail_next("/orders/v0", Fault.reset(after_effect=True))
    with pytest.raises(hub.Unavailable):
        connector.confirm_shipment(told, "1")
    assert connector.find_confirm_shipment(told, "1") == hub.EffectResult(package_reference("SHP-1"))
    # Told again all the same, it is the same package.
    connector.confirm_shipment(told, "1")
    assert [each.external_id for each in connector.read_order(connector.fetch_order(id)).shipments] == [
        package_reference("SHP-1")
    ]


def test_a_new_label_for_the_same_goods_takes_the_place_of_the_old(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    id = sell(amazon, 1)
    first = connector.confirm_shipment(confirmation(connector, id, 1), "1")
    anew = confirmation(connector, id, 1, reference="SHP-2", tracking_numbers=("00340999",), supersedes=first.reference)
    assert connector.find_confirm_shipment(anew, "2") is None
    assert connector.confirm_shipment(anew, "2") == first
    [package] = connector.read_order(connector.fetch_order(id)).shipments
    assert package.tracking_numbers == ("00340999",)
    assert connector.find_confirm_shipment(anew, "2") == first


def test_the_marketplace_is_asked_for_only_where_there_are_several(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    settings = AmazonSettings().load({**amazon.settings(), "marketplaces": "DE"})
    alone = AmazonConnector(context_for(settings, amazon, hosts=AmazonConnector.hosts(settings), now=clock))
    french = sell(amazon, 1, marketplace="A13V1IB3VIYZZH")
    connector.confirm_shipment(confirmation(connector, french, 1), "1")
    assert connector.read_order(connector.fetch_order(french)).status is hub.OrderStatus.FULFILLED
    told = confirmation(alone, sell(amazon, 1), 1)
    before = len(amazon.requests)
    alone.confirm_shipment(told, "1")
    assert len(amazon.requests) - before == 1


def test_more_than_is_left_is_refused_with_amazons_words(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    id = sell(amazon, 1)
    with pytest.raises(hub.Rejected, match="only 1 are left to be shipped"):
        connector.confirm_shipment(confirmation(connector, id, 2), "1")


def test_references_are_numbers_above_zero_and_differ() -> None:
    numbers = {package_reference(f"SHP-{number}") for number in range(2000)}
    assert len(numbers) == 2000
    assert all(number.isdigit() and 0 < int(number) < 10**9 for number in numbers)
    assert package_reference("SHP-1") == package_reference("SHP-1")


@pytest.mark.parametrize(
    ("carrier", "name", "told"),
    [
        ("ups", "", ("UPS", "UPS")),
        ("royal_mail", "", ("Royal Mail", "Royal Mail")),
        ("federal_express", "", ("FedEx", "FedEx")),
        ("", "Deutsche Post", ("Deutsche Post", "Deutsche Post")),
        ("rocket_post", "", ("Other", "Rocket Post")),
        ("rocket", "Rocket & Sons", ("Other", "Rocket & Sons")),
        ("", "", ("Other", "Other")),
    ],
)
def test_carriers_have_amazons_codes_or_their_own_names(carrier: str, name: str, told: tuple[str, str]) -> None:
    assert carrier_code(carrier, name) == told
