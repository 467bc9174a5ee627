"""Every request the connector sends and every answer it reads, checked against what ShipBob has published."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from marshmallow import fields

import hub
from hub.testing import SimRequest, SimResponse, connector_for, context_for
from hub_3pl import shipbob_translation as translation
from hub_3pl import standard_webhooks
from hub_3pl.shipbob import TOPICS, ShipBobConnector
from hub_3pl.simulator_shipbob import TOPICS as TAKEN
from hub_3pl.simulator_shipbob import ShipBobSimulator

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "shipbob"
pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOOK, MOVED = "https://hub.example/webhooks/1/2", "https://elsewhere.example/webhooks/1/2"


@cache
def api() -> Mapping[str, Any]:
    said: Mapping[str, Any] = json.loads((SPECS / "shipbob-2026-01-openapi.json").read_text(encoding="utf-8"))
    return said


@cache
def events() -> Mapping[str, Any]:
    said: Mapping[str, Any] = yaml.safe_load((SPECS / "shipbob-webhooks-asyncapi.yml").read_text(encoding="utf-8"))
    return said


def operation(request: SimRequest) -> tuple[str, Mapping[str, Any], Mapping[str, str]]:
    """The path that the request fits, what is published of it, and what the path holds."""
    by_their_names = sorted(api()["paths"].items(), key=lambda each: each[0].count("{"))
    for path, methods in by_their_names:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(path))
        found = re.fullmatch(pattern, request.path)
        if found and request.method.lower() in methods:
            return path, methods[request.method.lower()], found.groupdict()
    raise AssertionError(f"{request.method} {request.path} is not published.")


def problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a published schema."""
    whole = {**schema, "components": api()["components"]}
    return [error.message for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)]


def body_schema(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def resolved(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema, with what it refers to and every one of which it has to be."""
    if "$ref" in schema:
        yield from resolved(api()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        return
    yield schema
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from resolved(each)


def unpublished(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """The members of a value that the schema does not name: it forbids none, and ShipBob would ignore them."""
    kinds = list(resolved(schema))
    if isinstance(value, list):
        items = next(each["items"] for each in kinds if "items" in each)
        for each in value:
            yield from unpublished(items, each, f"{path}[]")
    elif isinstance(value, dict) and not any(each.get("additionalProperties") for each in kinds):
        known: dict[str, Any] = {}
        for each in kinds:
            known |= each.get("properties", {})
        for name, inner in value.items():
            if name in known:
                yield from unpublished(known[name], inner, f"{path}.{name}")
            else:
                yield f"{path}.{name}"


# ---------------------------------------------------------------- all that is ever asked


class Recorded(ShipBobSimulator):
    """A ShipBob that keeps what it was asked with what it answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls_per_minute = 10_000
        self.talk: list[tuple[SimRequest, SimResponse]] = []

    def answer(self, request: SimRequest) -> SimResponse:
        answer = super().answer(request)
        self.talk.append((request, answer))
        return answer


@cache
def journey() -> list[tuple[SimRequest, SimResponse]]:
    """Everything that the connector does at an account with something of everything in it."""
    clock = [NOON]
    with Recorded(now=lambda: clock[0]) as vendor:
        vendor.hold_webhooks()
        reno = vendor.add_place("Reno (NV)")
        for number in range(103):
            vendor.stock_item(f"SKU-{number}", f"Thing {number}", number)
        vendor.stock_item("MUG-1", "Mug", 1000)
        vendor.receive_lot("MUG-1", "L-1", 20, day="2027-03-01T00:00:00Z", place=reno)
        connector = connector_for(ShipBobConnector, vendor, now=lambda: clock[0])
        unsure = ShipBobConnector(
            context_for(
                {**connector.settings, "channel_id": ""},
                vendor,
                hosts=ShipBobConnector.hosts(connector.settings),
                now=lambda: clock[0],
            )
        )
        connector.check()
        unsure.check()
        price = hub.Money.of("12.50", "USD")
        for number in range(104):
            order = vendor.example(f"R-{number}", {"MUG-1": 2})
            lines = (hub.FulfillmentLine(reference="1", sku="MUG-1", quantity=2, unit_price=price),)
            there = hub.FulfillmentOrder(
                reference=order.reference,
                number=order.number,
                placed_at=NOON,
                lines=lines,
                destination=order.destination,
                service="Expedited",
                email="ada@example.com",
                location_external_id=str(reno) if number == 0 else "",
                gift_message="Many happy returns!",
            )
            connector.submit(there if number % 2 == 0 else order, "key")
        connector.submit(vendor.example("R-0", {"MUG-1": 2}), "key")
        for odd in (vendor.example("R-X", {"NO-SUCH": 1}), vendor.example("R-X", {"MUG-1": 1})):
            with pytest.raises(hub.Rejected):
                nowhere = hub.FulfillmentOrder(
                    reference="R-X",
                    number="",
                    placed_at=NOON,
                    lines=odd.lines,
                    destination=hub.Address(),
                    service="",
                )
                connector.submit(nowhere, "key")
        clock[0] += timedelta(minutes=1)
        vendor.ship("R-1", lot="L-42")
        vendor.ship("R-2", {"MUG-1": 1})
        vendor.deliver_parcel("R-1")
        vendor.hold("R-3", "InvalidAddress", "The street is not known.")
        vendor.begin("R-4")
        for reference in ("R-1", "R-2", "R-4", "R-5", "R-5"):
            connector.cancel(hub.Submission(reference=reference, external_id=""), "key")
        vendor.cancels_in_part = False
        vendor.ship("R-6", {"MUG-1": 1})
        connector.cancel(hub.Submission(reference="R-6", external_id=""), "key")
        connector.find_cancel(hub.Submission(reference="R-5", external_id=""), "key")
        cursor = [page.cursor for page in connector.fetch_shipments(None)][-1]
        list(connector.fetch_shipments(cursor))
        connector.fetch_order(vendor.placed()[0].external_id)
        list(connector.fetch_stock(None))
        for address in (MOVED, HOOK, HOOK):
            connector.subscribe_webhooks({"address": address}, "key")
        connector.read_subscriptions(HOOK)
        return list(vendor.talk)


def test_the_journey_asks_for_everything_that_the_connector_ever_asks_for() -> None:
    assert {f"{request.method} {operation(request)[0]}" for request, _ in journey()} == {
        "GET /2026-01/channel",
        "GET /2026-01/location",
        "GET /2026-01/shipping-method",
        "POST /2026-01/order",
        "GET /2026-01/order",
        "GET /2026-01/order/{orderId}",
        "POST /2026-01/order/{orderId}:cancel",
        "POST /2026-01/shipment:batchCancel",
        "GET /2026-01/inventory-level/locations",
        "GET /2026-01/inventory-level/lots",
        "GET /2026-01/webhook",
        "POST /2026-01/webhook",
        "DELETE /2026-01/webhook/{id}",
    }


def test_every_parameter_is_published_and_every_one_that_is_needed_is_sent() -> None:
    for request, _ in journey():
        path, published, in_path = operation(request)
        known = {(each["in"], each["name"].lower()): each for each in published.get("parameters", ())}
        headers = {
            name: value for name, value in request.headers.items() if name in ("authorization", "shipbob_channel_id")
        }
        sent = [("query", name, value) for name, value in request.query]
        sent += [("header", name, value) for name, value in headers.items()]
        sent += [("path", name, value) for name, value in in_path.items()]
        for place, name, value in sent:
            if name == "cursor" and place == "query":
                continue  # what ShipBob's own link says
            if name == "shipbob_channel_id" and ("header", name) not in known:
                continue  # it narrows whatever it can to one channel, and is ignored elsewhere
            schema = known[place, name.lower()]["schema"]
            typed = {"integer": int, "boolean": json.loads}.get(schema["type"], str)(value)
            assert not problems(schema, typed), f"{path}: {name} is {value!r}"
        needed = {key for key, each in known.items() if each.get("required")}
        assert needed <= {(place, name.lower()) for place, name, _ in sent}, path
        if ("header", "shipbob_channel_id") in known:
            assert headers["shipbob_channel_id"].isdigit()


def test_every_body_that_is_sent_is_as_published_to_the_last_member() -> None:
    bodies = 0
    for request, _ in journey():
        path, published, _ = operation(request)
        assert bool(request.body) == ("requestBody" in published), path
        if request.body:
            bodies += 1
            schema = body_schema(published)
            assert not problems(schema, request.json()), f"{path}: {request.json()}"
            assert not list(unpublished(schema, request.json())), path
    assert bodies > 100


def test_every_answer_of_the_simulator_is_as_published_to_the_last_member() -> None:
    statuses = set()
    for request, answer in journey():
        path, published, _ = operation(request)
        statuses.add(answer.status)
        assert str(answer.status) in published["responses"], f"{request.method} {path} answered {answer.status}"
        told = published["responses"][str(answer.status)].get("content")
        if told and answer.body:
            schema = told["application/json"]["schema"]
            assert not problems(schema, answer.json()), f"{path}: {answer.body.decode()[:400]}"
            assert not list(unpublished(schema, answer.json())), path
    assert statuses == {200, 201, 204, 422}


SHAPES = {
    translation.OrderBody: "Orders.OrderViewModel",
    translation.OrderedProductBody: "Orders.ProductInfoViewModel",
    translation.ShipmentBody: "Orders.ShipmentViewModel",
    translation.StatusDetailBody: "Orders.StatusDetailViewModel",
    translation.ExtraBody: "Orders.StatusInformationViewModel",
    translation.PackedProductBody: "Orders.ShipmentProductViewModel",
    translation.PackedItemBody: "Orders.InventoryViewModel",
    translation.TrackingBody: "Orders.TrackingViewModel",
    translation.CancelBody: "Orders.CanceledOrderViewModel",
    translation.ShipmentResultBody: "Orders.CanceledShipmentViewModel",
    translation.LevelBody: "Inventory.FulfillmentCenterResponse",
    translation.LotBody: "Inventory.Lots",
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_member_that_is_read_is_published(shape: type[hub.Translation[Any]]) -> None:
    published = api()["components"]["schemas"][SHAPES[shape]]["properties"]
    for name, field in shape().fields.items():
        kind = str(published[field.data_key or name])
        wanted = {
            hub.WholeNumber: "integer",
            hub.UtcMoment: "date-time",
            fields.Boolean: "boolean",
            fields.List: "array",
        }
        assert wanted.get(type(field), "") in kind, f"{shape.__name__}.{name} is published as {kind}"


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (translation.ORDER_STATES, "Orders.OrderStatus"),
        (translation.RUNNING | translation.WAITING | {"CleanSweeped"}, "Orders.OrderStatusEnum"),
    ],
)
def test_every_status_that_is_published_is_known(words: Any, schema: str) -> None:
    assert set(api()["components"]["schemas"][schema]["enum"]) == set(words)


def test_a_shipment_simulated_in_the_sandbox_is_as_published() -> None:
    with Recorded(now=lambda: NOON, sandbox=True) as vendor:
        vendor.stock_item("MUG-1", "Mug", 3)
        connector = connector_for(ShipBobConnector, vendor, now=lambda: NOON)
        placed = connector.submit(vendor.example("R-1", {"MUG-1": 1}), "key")
        shipment = json.loads(connector.fetch_order(placed.external_id).body)["shipments"][0]["id"]
        wanted = {
            "shipment_id": str(shipment),
            "simulation": {"action": "ShipOrder", "next": {"action": "DeliverOrder", "delay": 5}},
        }
        headers = {"authorization": f"Bearer {vendor.token}"}
        path = "/2026-01/simulate"
        made = vendor.handle(SimRequest("POST", f"{path}/shipment", (), headers, json.dumps(wanted).encode()))
        vendor.handle(SimRequest("GET", f"{path}/status/{quote(made.json()['simulation_id'])}", (), headers))

        for request, answer in vendor.talk[-2:]:
            _, published, _ = operation(request)
            schema = published["responses"]["200"]["content"]["application/json"]["schema"]
            assert not problems(schema, answer.json()), answer.json()
            assert not list(unpublished(schema, answer.json()))
        assert not problems(body_schema(operation(vendor.talk[-2][0])[1]), wanted)


# ---------------------------------------------------------------- webhooks


def test_the_topics_are_those_that_can_be_subscribed_to() -> None:
    assert set(api()["components"]["schemas"]["Webhooks.Topics"]["enum"]) == TAKEN
    assert set(TOPICS) <= TAKEN
    assert set(TOPICS) <= set(events()["channels"])


def examples() -> Iterator[tuple[str, Mapping[str, str]]]:
    for name, message in events()["components"]["messages"].items():
        yield from ((name, each["headers"]) for each in message["examples"])


def test_every_published_example_of_a_webhook_is_taken_apart() -> None:
    """Only headers are published. The signature is of nobody's secret: with the right one in its place, it is taken."""
    secret = standard_webhooks.secret_of("made-by-the-hub")
    seen = {}
    for name, headers in examples():
        sent = datetime.fromtimestamp(int(headers.get("webhook-timestamp", 0)), UTC)
        with ShipBobSimulator(now=lambda at=sent: at) as vendor:
            connector = connector_for(ShipBobConnector, vendor, now=lambda at=sent: at)
            body = b'{"id": 12, "order_id": 34, "status": "OnHold"}'
            with pytest.raises(hub.Unverified):
                connector.verify(hub.Webhook(headers, body))
            if "webhook-id" not in headers:
                seen[name] = "refused: the old form is not signed"
                continue
            right = standard_webhooks.headers_for(secret, headers["webhook-id"], sent, body)
            assert right.keys() == headers.keys() - {"x-webhook-topic", "content-type"}
            delivery = connector.verify(hub.Webhook({**headers, **right}, body))
            assert delivery == hub.Delivery("order.shipment.on_hold", "msg_31eW7bWRi16lL0Ajjik68kfyeUh")
            (fact,) = connector.read_webhook(hub.RawRecord(delivery.topic, "", body, headers=headers))
            assert fact == hub.Refetch("order", "34")
            seen[name] = "read"
    assert seen == {"ShipBobWebhook": "read", "ShipBobLegacyWebhook": "refused: the old form is not signed"}


def test_every_published_topic_of_an_order_leads_to_its_order_and_no_other_topic_to_anything() -> None:
    with ShipBobSimulator() as vendor:
        connector = connector_for(ShipBobConnector, vendor)
        for topic in events()["channels"]:
            record = hub.RawRecord(topic, "", b'{"id": 12, "order_id": 34}')
            found = list(connector.read_webhook(record))
            assert found == ([hub.Refetch("order", "34")] if topic.startswith("order.") else []), topic
