"""The simulated ShipBob refuses what ShipBob refuses, and sends what ShipBob sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from hub.testing import SimRequest, SimResponse
from hub_3pl import standard_webhooks
from hub_3pl.simulator_shipbob import ShipBobSimulator

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> list[datetime]:
    return [NOON]


@pytest.fixture
def shipbob(clock: list[datetime]) -> Iterator[ShipBobSimulator]:
    with ShipBobSimulator(now=lambda: clock[0], sandbox=True) as simulator:
        simulator.stock_item("MUG-1", "Mug", 10)
        yield simulator


def ask(shipbob: ShipBobSimulator, method: str, path: str, body: Any = None, **changed: Any) -> SimResponse:
    path, _, query = path.partition("?")
    headers = {"authorization": f"Bearer {shipbob.token}", "shipbob_channel_id": str(shipbob.channel_id)} | changed
    sent = json.dumps(body).encode() if body is not None else b""
    pairs = tuple((name, value) for name, _, value in (each.partition("=") for each in query.split("&") if each))
    headers = {name: value for name, value in headers.items() if value is not None}
    return shipbob.handle(SimRequest(method, f"/2026-01{path}", pairs, headers, sent))


def order(reference: str = "R-1", **changed: Any) -> dict[str, Any]:
    address = {"address1": "100 Mill Lane", "city": "Springfield", "country": "US"}
    products = [{"reference_id": "MUG-1", "name": None, "quantity": 2}]
    wanted = {"reference_id": reference, "shipping_method": "Standard", "type": "DTC", "products": products}
    return {**wanted, "recipient": {"name": "Ada Byron", "address": address}, **changed}


@pytest.mark.parametrize(
    ("changed", "member"),
    [
        ({"reference_id": " "}, "reference_id"),
        ({"shipping_method": None}, "shipping_method"),
        ({"type": "Gift"}, "type"),
        ({"products": []}, "products"),
        ({"products": [{"reference_id": "MUG-1", "quantity": 0}]}, "products[0].quantity"),
        ({"products": [{"reference_id": "NO-SUCH", "quantity": 1}]}, "products[0].name"),
        ({"recipient": {"name": "Ada"}}, "recipient.address.address1"),
        ({"location_id": 99}, "location_id"),
    ],
    ids=str,
)
def test_an_order_that_lacks_something_is_refused_by_member(
    shipbob: ShipBobSimulator, changed: dict[str, Any], member: str
) -> None:
    answer = ask(shipbob, "POST", "/order", order(**changed))
    assert (answer.status, shipbob.placed()) == (422, [])
    assert member in answer.json()


def test_a_reference_is_taken_once(shipbob: ShipBobSimulator) -> None:
    assert ask(shipbob, "POST", "/order", order()).status == 201
    again = ask(shipbob, "POST", "/order", order())
    assert (again.status, again.json()) == (422, {"": ["Cannot insert order with existing ReferenceId"]})


def test_a_product_with_a_name_is_made_up_and_so_is_a_shipping_method(shipbob: ShipBobSimulator) -> None:
    unknown = [{"reference_id": "NEW-1", "name": "Novelty", "quantity": 1}]
    answer = ask(shipbob, "POST", "/order", order(products=unknown, shipping_method="By carrier pigeon"))
    assert (answer.status, answer.json()["status"]) == (201, "Exception")  # nobody has ever received one
    assert shipbob.shipping_methods == ["Standard", "Expedited", "By carrier pigeon"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"authorization": "Bearer wrong"}, 401),
        ({"shipbob_channel_id": None}, 400),
        ({"shipbob_channel_id": "77"}, 403),
    ],
    ids=["another token", "no channel", "another's channel"],
)
def test_an_order_needs_a_token_and_a_channel_of_its_own(
    shipbob: ShipBobSimulator, changed: dict[str, Any], status: int
) -> None:
    assert ask(shipbob, "POST", "/order", order(), **changed).status == status


def test_a_channel_that_may_only_be_read_takes_no_order(shipbob: ShipBobSimulator) -> None:
    shopify = shipbob.add_channel("Their Shopify", writable=False)
    assert ask(shipbob, "POST", "/order", order(), shipbob_channel_id=str(shopify)).status == 403
    ask(shipbob, "POST", "/order", order())
    assert ask(shipbob, "GET", "/order", shipbob_channel_id=str(shopify)).json() == []
    assert len(ask(shipbob, "GET", "/order", shipbob_channel_id=None).json()) == 1


@pytest.mark.parametrize("query", ["Limit=251", "Limit=0", "Page=0", "LastUpdateStartDate=yesterday"])
def test_pages_have_their_limits(shipbob: ShipBobSimulator, query: str) -> None:
    assert ask(shipbob, "GET", f"/order?{query}").status == 400
    assert ask(shipbob, "GET", "/inventory-level/locations?PageSize=251").status == 400


def test_150_calls_a_minute_are_answered_and_the_window_slides(
    shipbob: ShipBobSimulator, clock: list[datetime]
) -> None:
    first = ask(shipbob, "GET", "/channel")
    clock[0] += timedelta(seconds=40)
    last = [ask(shipbob, "GET", "/channel") for _ in range(149)][-1]
    refused = ask(shipbob, "GET", "/channel")
    clock[0] += timedelta(seconds=20)
    again = [ask(shipbob, "GET", "/channel").status for _ in range(2)]

    assert [each.headers["x-remaining-calls"] for each in (first, last, refused)] == ["149", "0", "0"]
    assert (refused.status, refused.headers["x-retry-after"]) == (429, "20")
    assert refused.json() == {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 20 seconds."}
    assert again == [200, 429]  # one of them is a minute old, and no more


def test_a_shipment_can_be_cancelled_until_somebody_picks_it(shipbob: ShipBobSimulator) -> None:
    shipments = [ask(shipbob, "POST", "/order", order(f"R-{n}")).json()["shipments"][0]["id"] for n in range(2)]
    shipbob.begin("R-1")
    early, late = (ask(shipbob, "POST", f"/shipment/{id}:cancel", {}) for id in shipments)
    assert early.json() == {"shipment_id": shipments[0], "action": "Cancel", "is_success": True, "reason": None}
    assert (late.status, late.json()) == (422, {"": ["The shipment is not in a cancellable state"]})
    assert [(each.reference, each.cancelled) for each in shipbob.placed()] == [("R-0", True), ("R-1", False)]


def test_a_cancelled_order_gives_its_goods_back(shipbob: ShipBobSimulator) -> None:
    id = ask(shipbob, "POST", "/order", order(products=[{"reference_id": "MUG-1", "quantity": 10}])).json()["id"]
    waiting = ask(shipbob, "POST", "/order", order("R-2")).json()
    assert waiting["shipments"][0]["status_details"][0]["name"] == "OutOfStock"
    assert ask(shipbob, "POST", f"/order/{id}:cancel").json()["status"] == "Success"
    level = ask(shipbob, "GET", "/inventory-level/locations").json()["items"][0]["locations"][0]
    assert (level["on_hand_quantity"], level["committed_quantity"], level["fulfillable_quantity"]) == (10, 0, 10)


def test_simulations_run_when_their_time_has_come(shipbob: ShipBobSimulator, clock: list[datetime]) -> None:
    shipment = ask(shipbob, "POST", "/order", order()).json()["shipments"][0]["id"]
    steps = {"action": "ShipOrder", "delay": 5, "next": {"action": "DeliverOrder", "delay": 60}}
    id = ask(shipbob, "POST", "/simulate/shipment", {"shipment_id": str(shipment), "simulation": steps}).json()
    told = []
    for minutes in (0, 5, 60):
        clock[0] += timedelta(minutes=minutes)
        status = ask(shipbob, "GET", f"/simulate/status/{id['simulation_id']}").json()["simulation"]
        told.append((status["status"], status["next"]["status"], dict(shipbob.placed()[0].shipped)))
    assert told == [
        ("Scheduled", "Scheduled", {}),
        ("Completed", "Scheduled", {"MUG-1": 2}),
        ("Completed", "Completed", {"MUG-1": 2}),
    ]
    with ShipBobSimulator() as production:
        assert ask(production, "POST", "/simulate/shipment", {}).status == 404


@pytest.mark.parametrize(
    "wanted",
    [
        {"url": "http://hub.example/hook", "topics": ["order.shipped"]},
        {"url": "https://hub.example/hook", "topics": []},
        {"url": "https://hub.example/hook", "topics": ["order.shipment.tracking.updated"]},
        {"url": "https://hub.example/hook", "topics": ["order.shipped"], "secret": "whsec_short"},
    ],
    ids=["not https", "no topic", "a topic of later versions", "no secret in its form"],
)
def test_a_subscription_has_its_rules(shipbob: ShipBobSimulator, wanted: dict[str, Any]) -> None:
    assert ask(shipbob, "POST", "/webhook", wanted).status == 422
    assert shipbob.subscriptions == {}


class Receiver:
    """An address for webhooks that answers as it was told, status by status; ``meanwhile`` is done before each."""

    def __init__(self, statuses: list[int], meanwhile: Callable[[], object] = lambda: None) -> None:
        heard: list[tuple[dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                meanwhile()
                self.send_response(statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.heard = heard
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_a_webhook_is_tried_again_with_its_id_and_signed_at_its_own_time(
    shipbob: ShipBobSimulator, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipbob.webhook_retries[:3] == (5.0, 300.0, 1800.0)
    monkeypatch.setattr(shipbob, "webhook_retries", (0.0, 0.0))

    def half_an_hour_passes() -> None:
        clock[0] += timedelta(minutes=30)

    receiver = Receiver([500, 500, 204], half_an_hour_passes)
    try:
        wanted = {"url": receiver.address, "topics": ["order.shipment.cancelled"]}
        made = ask(shipbob, "POST", "/webhook", wanted).json()
        id = ask(shipbob, "POST", "/order", order()).json()["id"]
        ask(shipbob, "POST", f"/order/{id}:cancel")
        assert shipbob.wait_for_deliveries()
    finally:
        receiver.close()

    ids = [
        standard_webhooks.message_id(headers, body, made["secret"], NOON + timedelta(minutes=minutes))
        for (headers, body), minutes in zip(receiver.heard, (0, 30, 60), strict=True)
    ]
    assert len(set(ids)) == 1
    assert {headers["x-webhook-topic"] for headers, _ in receiver.heard} == {"order.shipment.cancelled"}
    assert shipbob.subscriptions[made["id"]]["enabled"]


def test_an_address_that_never_answers_well_is_switched_off(
    shipbob: ShipBobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipbob, "webhook_retries", (0.0,))
    receiver = Receiver([500, 500])
    try:
        made = ask(
            shipbob, "POST", "/webhook", {"url": receiver.address, "topics": ["order.shipment.cancelled"]}
        ).json()
        id = ask(shipbob, "POST", "/order", order()).json()["id"]
        ask(shipbob, "POST", f"/order/{id}:cancel")
        assert shipbob.wait_for_deliveries()
    finally:
        receiver.close()
    (told,) = ask(shipbob, "GET", "/webhook").json()["items"]
    assert (told["id"], told["enabled"], len(receiver.heard)) == (made["id"], False, 2)
    assert "secret" not in told
