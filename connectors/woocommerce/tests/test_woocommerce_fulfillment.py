"""Telling a simulated shop what was shipped, in each of its three ways: exactly those units, and exactly once."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.connector import RawRecord, Refetch, Settlement
from hub.core.model import ChannelShipment, LineQuantity, Order, OrderStatus
from hub.core.shipping import ConfirmedLine, ShipmentConfirmation
from hub.errors import NotFound, RateLimited, Rejected, Unavailable
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimRequest
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

SHIPPED_AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WAYS: Mapping[str, Mapping[str, bool]] = {
    "fulfillments": {"fulfillments": True},
    "trackings": {"fulfillments": False, "tracks_parcels": True},
    "notes": {"fulfillments": False},
}


class Desk:
    """A shop with an order of three mugs (line 1) and two caps (line 2), and a connector that confirms shipments."""

    def __init__(self, shop: WooCommerceSimulator) -> None:
        self.shop = shop
        shop.add_product("MUG", "Mug <large>", 100, "12.50")
        shop.add_product("CAP", "Cap", 100, "8")
        self.connector = connector_for(WooCommerceConnector, shop)
        self.id = self.sell(("MUG", 3), ("CAP", 2))

    def sell(self, *items: tuple[str, int]) -> str:
        sale = self.shop.buy(items)
        assert sale is not None
        return sale.order_external_id

    def knowing(self, features: Mapping[str, str]) -> None:
        """From now on the connector knows what the last check found."""
        self.connector = WooCommerceConnector(replace(self.connector.context, features=features))

    def order(self) -> Order:
        return self.connector.read_order(self.connector.fetch_order(self.id))

    def confirmation(self, reference: str, lines: Mapping[str, int], **more: Any) -> ShipmentConfirmation:
        told: dict[str, Any] = {
            "carrier": "parcel_post",
            "carrier_name": "Parcel Post",
            "tracking_numbers": (f"PP{reference}",),
            "tracking_url": f"https://parcels.example/PP{reference}",
            **more,
        }
        return ShipmentConfirmation(
            reference=reference,
            order_external_id=self.id,
            lines=tuple(ConfirmedLine(line_external_id=line, quantity=units) for line, units in lines.items()),
            shipped_at=SHIPPED_AT,
            **told,
        )

    def confirm(self, reference: str, lines: Mapping[str, int], **more: Any) -> str:
        return self.connector.confirm_shipment(self.confirmation(reference, lines, **more), "key").reference

    def asked(self) -> list[tuple[str, str, Any]]:
        """What was written: method, path with query, body."""
        return [
            (each.method, _address(each), json.loads(each.body) if each.body else None)
            for each in self.shop.requests
            if each.method != "GET"
        ]

    def told(self) -> tuple[int, int, int]:
        """How many fulfillments, parcels and notes there are on the order."""
        order = self.shop.shop.orders[int(self.id)]
        return len(order.fulfillments), len(order.trackings), len(order.notes)


def _address(request: SimRequest) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.query)
    return request.path.removeprefix("/wp-json/") + (f"?{query}" if query else "")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def desk(way: str) -> Iterator[Desk]:
    with WooCommerceSimulator(now=lambda: NOON, **WAYS[way]) as shop:
        yield Desk(shop)


@pytest.fixture
def desk_of() -> Iterator[Callable[[str], Desk]]:
    """Opens a shop that has one way and no other."""
    with ExitStack() as shops:

        def opened(way: str) -> Desk:
            return Desk(shops.enter_context(WooCommerceSimulator(now=lambda: NOON, **WAYS[way])))

        yield opened


def units(order: Order) -> list[tuple[int, int]]:
    """Of each line: shipped, still open."""
    return [(line.fulfilled, line.open_quantity) for line in order.lines]


# ---------------------------------------------------------------- in every way


def test_a_shipment_is_on_the_order_with_exactly_its_units(desk: Desk, way: str) -> None:
    reference = desk.confirm("S-1", {"1": 2})
    order = desk.order()
    assert (order.status, units(order)) == (OrderStatus.OPEN, [(2, 1), (0, 2)])
    assert order.shipments == (
        ChannelShipment(
            external_id=reference,
            lines=(LineQuantity(line_external_id="1", quantity=2),),
            shipped_at=NOON if way == "fulfillments" else SHIPPED_AT,
            carrier="Parcel Post",
            tracking_numbers=("PPS-1",),
            tracking_url="https://parcels.example/PPS-1",
        ),
    )
    assert reference == ("1" if way == "fulfillments" else "S-1")


def test_the_order_is_completed_with_the_last_unit_and_not_before(desk: Desk) -> None:
    desk.confirm("S-1", {"1": 3})
    desk.confirm("S-2", {"2": 1})
    assert (desk.order().channel_status, units(desk.order())) == ("processing", [(3, 0), (1, 1)])
    desk.confirm("S-3", {"2": 1})
    order = desk.order()
    assert (order.channel_status, units(order)) == ("completed", [(3, 0), (2, 0)])
    assert [[(line.line_external_id, line.quantity) for line in each.lines] for each in order.shipments] == [
        [("1", 3)],
        [("2", 1)],
        [("2", 1)],
    ]


def test_units_that_were_refunded_need_not_be_shipped_for_the_order_to_be_complete(desk: Desk) -> None:
    desk.shop.refund(desk.id, [("CAP", 2), ("MUG", 1)])
    desk.confirm("S-1", {"1": 2})
    assert (desk.order().channel_status, units(desk.order())) == ("completed", [(2, 0), (0, 0)])


def test_the_same_shipment_told_again_changes_nothing(desk: Desk) -> None:
    first = desk.confirm("S-1", {"1": 2})
    before = desk.told()
    assert desk.confirm("S-1", {"1": 2}) == first
    assert (desk.told(), units(desk.order())) == (before, [(2, 1), (0, 2)])


def test_an_order_cancelled_after_all_is_not_completed_by_telling_it_again(desk: Desk) -> None:
    first = desk.confirm("S-1", {"1": 3})
    desk.shop.cancel(desk.id)
    confirmation = desk.confirmation("S-1", {"1": 3})
    found = desk.connector.find_confirm_shipment(confirmation, "key")
    assert found is not None
    assert (found.reference, desk.confirm("S-1", {"1": 3})) == (first, first)
    order = desk.order()
    assert (order.channel_status, units(order)) == ("cancelled", [(3, 0), (0, 0)])


LOST = {
    "reset before the effect": Fault.reset(after_effect=False),
    "reset": Fault.reset(),
    "truncated": Fault.truncated(),
    "500": Fault.status(500, after_effect=True),
    "429": Fault.status(429),
}


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("notify", [True, False])
def test_an_answer_lost_at_any_point_leads_to_one_shipment(desk: Desk, way: str, fault: str, notify: bool) -> None:
    confirmation = desk.confirmation("S-1", {"1": 3, "2": 2}, notify=notify)
    assert WooCommerceConnector.effects["confirm_shipment"] is Settlement.LOOKUP
    for point in range(12):
        desk.shop.fail_next("/", LOST[fault], after=point)
        try:
            # As the hub does: what became of the last attempt is looked up before another.
            found = point and desk.connector.find_confirm_shipment(confirmation, "key")
            found = found or desk.connector.confirm_shipment(confirmation, "key")
            break
        except (RateLimited, Unavailable):
            continue
        finally:
            desk.shop.heal()
    else:
        pytest.fail("It was never confirmed.")
    assert point >= 3
    assert desk.told() == {"fulfillments": (1, 0, 0), "trackings": (0, 1, 0), "notes": (0, 0, 1)}[way]
    order = desk.order()
    assert (order.channel_status, units(order), len(order.shipments)) == ("completed", [(3, 0), (2, 0)], 1)


def test_an_attempt_that_broke_off_half_way_is_not_taken_for_done(desk: Desk) -> None:
    confirmation = desk.confirmation("S-1", {"1": 3, "2": 2})
    assert desk.connector.find_confirm_shipment(confirmation, "key") is None
    # It breaks off where the shop was told, and the order is still to be completed.
    for request in range(12):
        desk.shop.fail_next("/", Fault.status(500), after=request)
        with pytest.raises(Unavailable):
            desk.connector.confirm_shipment(confirmation, "key")
        if any(desk.told()):
            break
    assert (sum(desk.told()), desk.order().channel_status) == (1, "processing")
    assert desk.connector.find_confirm_shipment(confirmation, "key") is None
    desk.connector.confirm_shipment(confirmation, "key")
    assert desk.connector.find_confirm_shipment(confirmation, "key") is not None
    assert (sum(desk.told()), desk.order().channel_status) == (1, "completed")


# ---------------------------------------------------------------- what WooCommerce would take and we do not


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (
            lambda desk: None,
            "Of “Mug <large>” only 3 can still be shipped in WooCommerce, not 4: 3 were ordered, 0 are shipped and 0 "
            "refunded.",
        ),
        (
            lambda desk: desk.confirm("S-0", {"1": 2}),
            "Of “Mug <large>” only 1 can still be shipped in WooCommerce, not 4: 3 were ordered, 2 are shipped and 0 "
            "refunded.",
        ),
        (
            lambda desk: desk.shop.refund(desk.id, [("MUG", 2)]),
            "Of “Mug <large>” only 1 can still be shipped in WooCommerce, not 4: 3 were ordered, 0 are shipped and 2 "
            "refunded.",
        ),
        (
            lambda desk: desk.shop.fulfill(desk.id),
            "Of “Mug <large>” only 0 can still be shipped in WooCommerce, not 4: 3 were ordered, 3 are shipped and 0 "
            "refunded.",
        ),
        (lambda desk: desk.shop.cancel(desk.id), "Order 12 is cancelled in WooCommerce: nothing of it can be shipped."),
        (lambda desk: desk.shop.trash(desk.id), "Order 12 is in the bin in WooCommerce: nothing of it can be shipped."),
        (
            lambda desk: desk.shop.refund(desk.id, [("MUG", 3), ("CAP", 2)]),
            "Order 12 is refunded in WooCommerce: nothing of it can be shipped.",
        ),
    ],
)
def test_more_than_is_open_is_refused(desk: Desk, before: Any, sentence: str) -> None:
    before(desk)
    told = desk.told()
    with pytest.raises(Rejected) as refused:
        desk.confirm("S-1", {"1": 4})
    assert (str(refused.value), desk.told()) == (sentence, told)


def test_a_line_that_the_order_does_not_have_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected) as refused:
        desk.confirm("S-1", {"1": 1, "77": 1})
    assert str(refused.value) == "Order 12 has no line 77 in WooCommerce."
    assert (desk.told(), units(desk.order())) == ((0, 0, 0), [(0, 3), (0, 2)])


def test_an_order_that_is_gone_is_refused(desk: Desk) -> None:
    confirmation = desk.confirmation("S-1", {"1": 1})
    desk.shop.delete(desk.id)
    assert desk.connector.find_confirm_shipment(confirmation, "key") is None
    with pytest.raises(NotFound):
        desk.connector.confirm_shipment(confirmation, "key")


# ---------------------------------------------------------------- a label that was replaced


def test_a_replaced_label_takes_the_place_of_the_first(desk: Desk, way: str) -> None:
    first = desk.confirm("S-1", {"1": 3, "2": 2})
    assert desk.order().channel_status == "completed"
    second = desk.confirm("S-2", {"1": 3, "2": 2}, supersedes=first, carrier_name="Other Post")
    order = desk.order()
    assert (order.channel_status, units(order)) == ("completed", [(3, 0), (2, 0)])
    assert [(each.external_id, each.carrier, each.tracking_numbers) for each in order.shipments] == [
        (second, "Other Post", ("PPS-2",))
    ]
    assert desk.told() == {"fulfillments": (1, 0, 0), "trackings": (0, 1, 0), "notes": (0, 0, 2)}[way]
    assert desk.confirm("S-2", {"1": 3, "2": 2}, supersedes=first) == second
    assert len(desk.order().shipments) == 1


def test_a_replaced_label_does_not_make_more_units_shippable(desk: Desk) -> None:
    first = desk.confirm("S-1", {"1": 2})
    with pytest.raises(Rejected):
        desk.confirm("S-2", {"1": 4}, supersedes=first)
    assert desk.confirm("S-2", {"1": 3}, supersedes=first) == ("1" if first == "1" else "S-2")
    assert units(desk.order()) == [(3, 0), (0, 2)]


# ---------------------------------------------------------------- what is sent


def test_a_fulfillment_is_sent_with_its_items_and_its_parcel(desk_of: Callable[[str], Desk]) -> None:
    desk = desk_of("fulfillments")
    desk.confirm("S-1", {"1": 2}, notify=False)
    assert desk.asked() == [
        (
            "POST",
            "wc/v3/orders/12/fulfillments?notify_customer=false",
            {
                "status": "fulfilled",
                "is_fulfilled": True,
                "meta_data": [
                    {"key": "_items", "value": [{"item_id": 1, "qty": 2}]},
                    {"key": "_tallyhub_reference", "value": "S-1"},
                    {"key": "_tracking_number", "value": "PPS-1"},
                    {"key": "_tracking_url", "value": "https://parcels.example/PPS-1"},
                    {"key": "_shipment_provider", "value": "other"},
                    {"key": "_provider_name", "value": "Parcel Post"},
                ],
            },
        )
    ]


@pytest.mark.parametrize(
    ("carrier", "name", "meta"),
    [
        ("ups", "", {"_shipment_provider": "ups"}),
        ("royal_mail", "Royal Mail", {"_shipment_provider": "royal-mail"}),
        ("fast_vans", "", {"_shipment_provider": "other", "_provider_name": "Fast Vans"}),
        ("", "", {}),
    ],
)
def test_a_carrier_is_called_as_woocommerce_calls_it(
    desk_of: Callable[[str], Desk], carrier: str, name: str, meta: dict[str, str]
) -> None:
    desk = desk_of("fulfillments")
    desk.confirm("S-1", {"1": 1}, carrier=carrier, carrier_name=name, tracking_numbers=("A", "B"), tracking_url="")
    ((_, _, body),) = desk.asked()
    sent = {entry["key"]: entry["value"] for entry in body["meta_data"]}
    assert {key: value for key, value in sent.items() if "provider" in key} == meta
    assert sent["_tracking_number"] == "A, B"
    assert desk.order().shipments[0].tracking_numbers == ("A", "B")


def test_parcels_go_to_the_plugin_and_the_units_onto_the_order_with_its_last_request(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("trackings")
    desk.confirm("S-1", {"1": 3, "2": 2}, tracking_numbers=("A1", "A2"))
    first, second, (method, path, body) = desk.asked()
    assert first == (
        "POST",
        "wc-shipment-tracking/v3/orders/12/shipment-trackings",
        {
            "tracking_number": "A1",
            "date_shipped": "2026-11-21",
            "custom_tracking_provider": "Parcel Post",
            "custom_tracking_link": "https://parcels.example/PPS-1",
        },
    )
    assert second[2]["tracking_number"] == "A2"
    assert (method, path, body["status"]) == ("PUT", "wc/v3/orders/12", "completed")
    assert [entry["key"] for entry in body["meta_data"]] == ["_tallyhub_shipment_S-1"]
    assert json.loads(body["meta_data"][0]["value"]) == {
        "lines": {"1": 3, "2": 2},
        "at": "2026-11-21T09:30:00+00:00",
        "carrier": "Parcel Post",
        "numbers": ["A1", "A2"],
        "url": "https://parcels.example/PPS-1",
    }


def test_a_carrier_that_the_plugin_knows_is_named_as_it_does_where_we_have_no_link(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("trackings")
    desk.confirm("S-1", {"1": 1}, carrier="royal_mail", carrier_name="", tracking_url="")
    desk.confirm("S-2", {"1": 1}, carrier="fast_vans", carrier_name="", tracking_url="")
    known, _, unknown, _ = (body for _, _, body in desk.asked())
    assert known == {"tracking_number": "PPS-1", "date_shipped": "2026-11-21", "tracking_provider": "Royal Mail"}
    assert (unknown["custom_tracking_provider"], "tracking_provider" in unknown) == ("Fast Vans", False)


@pytest.mark.parametrize("notify", [True, False])
def test_a_note_says_to_the_customer_what_is_on_its_way(desk_of: Callable[[str], Desk], notify: bool) -> None:
    desk = desk_of("notes")
    desk.confirm("S-1", {"1": 2, "2": 1}, notify=notify)
    assert desk.asked()[0] == (
        "POST",
        "wc/v3/orders/12/notes",
        {
            "note": "Shipment S-1: 2 × Mug &lt;large&gt;, 1 × Cap.\nParcel Post PPS-1\nhttps://parcels.example/PPS-1",
            "customer_note": notify,
        },
    )


# ---------------------------------------------------------------- which way


@pytest.mark.parametrize("features", [{}, {"shipments": "fulfillments"}, {"shipments": "trackings"}])
def test_the_way_is_that_of_the_last_check_or_found_out_anew(
    desk_of: Callable[[str], Desk], features: dict[str, str]
) -> None:
    desk = desk_of("trackings")
    desk.knowing(features)
    desk.confirm("S-1", {"1": 1})
    assert desk.told() == (0, 1, 0)
    asked = any(each.path.endswith("/fulfillments") for each in desk.shop.requests)
    # What the check found spares a question; where it is no longer true, the shop's answer counts.
    assert asked is (features != {"shipments": "trackings"})


@pytest.mark.parametrize("shipments", ["fulfillments", "trackings", "notes"])
def test_a_shop_that_has_given_up_what_the_check_found_is_told_by_a_note(
    desk_of: Callable[[str], Desk], shipments: str
) -> None:
    desk = desk_of("notes")
    desk.knowing({"shipments": shipments})
    desk.confirm("S-1", {"1": 3, "2": 2})
    assert (desk.told(), desk.order().channel_status) == ((0, 0, 1), "completed")


def test_a_shop_that_has_switched_fulfillments_on_meanwhile_still_knows_its_first_shipment(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("notes")
    desk.confirm("S-1", {"1": 2})
    desk.shop.fulfillments = True
    assert desk.confirm("S-1", {"1": 2}) == "S-1"
    desk.confirm("S-2", {"1": 1, "2": 2})
    order = desk.order()
    assert [each.external_id for each in order.shipments] == ["1", "S-1"]
    assert (order.channel_status, units(order)) == ("completed", [(3, 0), (2, 0)])


# ---------------------------------------------------------------- what others told the shop


def recorded(name: str) -> Any:
    path = Path(__file__).parent / "payloads" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["response"]["json"]


def test_recorded_fulfillments_are_read_and_never_more_than_was_ordered(desk_of: Callable[[str], Desk]) -> None:
    desk = desk_of("fulfillments")
    record = {"order": recorded("order_after_partial_fulfillment"), "fulfillments": recorded("fulfillments_list")}
    order = desk.connector.read_order(RawRecord("order", "19", json.dumps(record).encode()))
    # One of two, and then five more that WooCommerce took without a word.
    assert [(line.quantity, line.fulfilled, line.open_quantity) for line in order.lines] == [(2, 2, 0)]
    first, second = order.shipments
    assert first == ChannelShipment(
        external_id="1",
        lines=(LineQuantity(line_external_id="11", quantity=1),),
        shipped_at=datetime(2026, 11, 21, 22, 34, 35, tzinfo=UTC),
        carrier="ups",
        tracking_numbers=("1Z999AA10123456784",),
        tracking_url="https://www.ups.com/track?tracknum=1Z999AA10123456784",
    )
    assert (second.external_id, second.lines[0].quantity) == ("2", 5)


def test_a_fulfillment_that_is_a_draft_or_deleted_ships_nothing(desk_of: Callable[[str], Desk]) -> None:
    desk = desk_of("fulfillments")
    draft, deleted = recorded("fulfillments_list")
    draft["is_fulfilled"], deleted["date_deleted"] = "0", "2026-11-22T00:00:00Z"
    record = {"order": recorded("order_after_partial_fulfillment"), "fulfillments": [draft, deleted]}
    order = desk.connector.read_order(RawRecord("order", "19", json.dumps(record).encode()))
    assert [(line.fulfilled, line.open_quantity) for line in order.lines] == [(0, 2)]
    assert [(each.external_id, each.cancelled) for each in order.shipments] == [("2", True)]


def test_a_parcel_that_somebody_typed_into_the_plugin_is_shown_and_ships_no_units(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("trackings")
    path = f"{desk.connector.settings['site']}/wp-json/wc-shipment-tracking/v3/orders/{desk.id}/shipment-trackings"
    typed = {"tracking_number": "T1", "custom_tracking_provider": "Van", "date_shipped": "2026-11-20"}
    desk.connector.client.post(path, json=typed, auth=(desk.shop.consumer_key, desk.shop.consumer_secret))
    order = desk.order()
    assert units(order) == [(0, 3), (0, 2)]
    (shipment,) = order.shipments
    assert (shipment.carrier, shipment.tracking_numbers, shipment.lines) == ("Van", ("T1",), ())
    assert shipment.shipped_at == datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("value", ["", "{", "[]", "{}", '{"lines": 1}', None, 7])
def test_a_note_of_ours_that_somebody_spoiled_ships_nothing(desk_of: Callable[[str], Desk], value: Any) -> None:
    desk = desk_of("notes")
    desk.shop.shop.orders[int(desk.id)].meta.append({"id": 5, "key": "_tallyhub_shipment_S-1", "value": value})
    order = desk.order()
    assert (order.shipments, units(order)) == ((), [(0, 3), (0, 2)])


def test_a_webhook_of_a_shop_with_fulfillments_only_tells_that_something_changed(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("fulfillments")
    desk.confirm("S-1", {"1": 2})
    body = json.dumps(desk.shop.shop.order_json(desk.shop.shop.orders[int(desk.id)]), default=float).encode()
    record = RawRecord("order.updated", "", body)
    desk.knowing({"shipments": "fulfillments"})
    # It names no units: believed, it would open again what was shipped.
    assert list(desk.connector.read_webhook(record)) == [Refetch("order", desk.id)]
    desk.knowing({"shipments": "notes"})
    (order,) = desk.connector.read_webhook(record)
    assert isinstance(order, Order)


def test_a_webhook_of_any_other_shop_tells_what_was_shipped_itself(desk_of: Callable[[str], Desk]) -> None:
    desk = desk_of("notes")
    desk.knowing({"shipments": "notes"})
    desk.confirm("S-1", {"1": 2})
    body = json.dumps(desk.shop.shop.order_json(desk.shop.shop.orders[int(desk.id)]), default=float).encode()
    assert list(desk.connector.read_webhook(RawRecord("order.updated", "", body))) == [desk.order()]


def test_fulfillments_that_cannot_be_asked_for_leave_the_order_to_be_fetched_later(
    desk_of: Callable[[str], Desk],
) -> None:
    desk = desk_of("fulfillments")
    desk.confirm("S-1", {"1": 2})
    desk.shop.fail_next(f"/wp-json/wc/v3/orders/{desk.id}/fulfillments", Fault.status(403))
    with pytest.raises(Unavailable):
        desk.connector.fetch_order(desk.id)
    assert units(desk.order()) == [(2, 1), (0, 2)]
