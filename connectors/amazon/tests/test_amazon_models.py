"""Amazon's own models: what the simulator takes and says, the connector's table of operations, every sandbox pair."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from hub.connector import RawRecord
from hub.core.model import ListingLevel, Money
from hub.testing import SimRequest, SimResponse
from hub_amazon import listings, simulator_fulfillment, simulator_operations, sp_api
from hub_amazon.marketplaces import BY_ID
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_account import NOTIFICATIONS
from hub_amazon.simulator_models import SCHEMAS, Models
from hub_amazon.simulator_operations import GET_ORDER, SEARCH_ORDERS, Operation, Parameter
from hub_amazon.simulator_orders import OLD_STATUS

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)
MODELS = Models(SPECS)

SIMULATED = [
    each
    for module in (simulator_operations, simulator_fulfillment)
    for each in vars(module).values()
    if isinstance(each, Operation)
]
IN_USE = {f"{each.model} {each.name}": each for each in SIMULATED}


# ---------------------------------------------------------------- the tables


def usage_plan(described: Mapping[str, Any]) -> tuple[float, float]:
    """Rate and burst, as the description of an operation has them in a table."""
    [row] = re.findall(r"^\|\s*([0-9.]+)\s*\|\s*([0-9]+)\s*\|\s*$", described["description"], re.MULTILINE)
    return float(row[0]), float(row[1])


@pytest.mark.parametrize("operation", IN_USE.values(), ids=IN_USE)
def test_each_operation_is_simulated_as_its_model_describes_it(operation: Operation) -> None:
    described = MODELS.described(operation)
    assert described["operationId"] == operation.name
    assert usage_plan(described) == (operation.rate, operation.burst)
    # Nothing may be told apart from the application's own token by the model, but its words do.
    assert ("grantless operation" in described["description"].lower()) is operation.grantless
    asked = {each["name"]: each for each in described["parameters"] if each["in"] == "query"}
    assert asked.keys() == operation.parameters.keys()
    for name, told in asked.items():
        assert operation.parameters[name] == _as_published(told), name


_KINDS = {"integer": "whole", "boolean": "flag", "string": "text", "array": "text"}
_OWN_LEAST = {"maxResultsPerPage": (1, 100)}  # its description says so, and the model nothing
_LEAST = {"pageSize": 1}


def _as_published(told: Mapping[str, Any]) -> Parameter:
    """A parameter as its model describes it."""
    many = told["type"] == "array"
    one = told.get("items", told) if many else told
    least, most = (told.get("minItems"), told.get("maxItems")) if many else (told.get("minimum"), told.get("maximum"))
    if told["name"] in _OWN_LEAST:
        least, most = _OWN_LEAST[told["name"]]
    return Parameter(
        kind="time" if one.get("format") == "date-time" else _KINDS[one.get("type", "string")],
        required=bool(told.get("required")),
        many=many,
        choices=frozenset(one.get("enum", ())),
        least=_LEAST.get(told["name"], least) if least is None else least,
        most=most,
    )


@pytest.mark.parametrize("name", sp_api.OPERATIONS)
def test_the_connector_calls_what_is_published_and_keeps_to_its_usage_plan(name: str) -> None:
    called = sp_api.OPERATIONS[name]
    [described] = [
        path[called.method.lower()]
        for model in {*(each.model for each in SIMULATED), "fulfillmentOutbound_2020-07-01"}
        if (path := MODELS.model(model)["paths"].get(called.path)) and called.method.lower() in path
    ]
    # Two of the models have an operation getOrder: the connector tells them apart.
    assert described["operationId"] == {"getFulfillmentOrder": "getOrder"}.get(name, name)
    assert usage_plan(described) == (called.per_second, called.burst)
    assert ("grantless operation" in described["description"].lower()) is called.grantless


def test_of_the_first_version_of_the_orders_api_nothing_is_called_but_the_confirmation() -> None:
    paths = [each.path for each in sp_api.OPERATIONS.values() if each.path.startswith("/orders/v0/")]
    assert paths == ["/orders/v0/orders/{orderId}/shipmentConfirmation"]


# ---------------------------------------------------------------- the sandbox pairs


@dataclass(frozen=True)
class Pair:
    """A request of Amazon's sandbox, and what it is answered with."""

    operation: Operation
    status: int
    parameters: Mapping[str, Any]
    response: Any


@cache
def pairs() -> Mapping[str, Pair]:
    """Every pair of each operation that is in use, by a name for the reader."""
    found = {}
    for name, operation in IN_USE.items():
        for status, described in MODELS.described(operation)["responses"].items():
            sandbox = described.get("x-amzn-api-sandbox", {})
            for number, each in enumerate(sandbox.get("static", []), start=1):
                parameters = {
                    key: value["value"] for key, value in each["request"]["parameters"].items() if "value" in value
                }
                found[f"{name} {status} #{number}"] = Pair(operation, int(status), parameters, each["response"])
    return found


PAIRS = pairs() if SPECS.is_dir() else {}


def test_there_is_a_pair_of_each_operation_but_those_amazon_has_none_for() -> None:
    without = set(IN_USE) - {name.rpartition(" ")[0].rpartition(" ")[0] for name in PAIRS}
    assert {name.partition(" ")[0] for name in without} == {
        "fbaInventory",
        "fulfillmentOutbound_2020-07-01",
        "fulfillmentOutbound_2026-07-04",
    } & {name.partition(" ")[0] for name in IN_USE}
    assert len(PAIRS) >= 38


class Account:
    """A seller with tokens, whose every request and answer is checked against the models."""

    def __init__(self) -> None:
        self.amazon = AmazonSimulator(marketplaces=("US", "CA", "MX", "BR"), models=MODELS)
        self.amazon.seller_id = "A3SANDBOX9"
        self._tokens = {True: self._token(grantless=True), False: self._token(grantless=False)}

    def _token(self, *, grantless: bool) -> str:
        asked = {"client_id": self.amazon.client_id, "client_secret": self.amazon.client_secret}
        if grantless:
            asked |= {"grant_type": "client_credentials", "scope": "sellingpartnerapi::notifications"}
        else:
            asked |= {"grant_type": "refresh_token", "refresh_token": self.amazon.refresh_token}
        answer = self.amazon.handle(SimRequest("POST", "/auth/o2/token", body=urlencode(asked).encode()))
        token: str = answer.json()["access_token"]
        return token

    def ask(self, operation: Operation, parameters: Mapping[str, Any]) -> SimResponse:
        """Send the request of a pair; what it leaves out of the path is made up."""
        told = {"sellerId": self.amazon.seller_id, "marketplaceIds": ["ATVPDKIKX0DER"], **parameters}
        path = re.sub(
            r"\{(\w+)\}", lambda found: quote(str(told.get(found[1], _MADE_UP[found[1]])), safe=""), operation.path
        )
        query = [
            (name, ",".join(map(str, told[name])) if isinstance(told[name], list) else str(told[name]))
            for name in operation.parameters
            if name in told
        ]
        body = json.dumps(told["body"]).encode() if "body" in told else b""
        headers = {"x-amz-access-token": self._tokens[operation.grantless]}
        return self.amazon.handle(SimRequest(operation.method, path, query, headers, body))


_MADE_UP = {
    "sellerId": "A3SANDBOX9",
    "sku": "GM-ZDPI-9B4E",
    "orderId": "902-1106328-1059050",
    "notificationType": "ORDER_CHANGE",
    "subscriptionId": "TEST_CASE_200",
    "destinationId": "TEST_CASE_200",
    "feedId": "feedId1",
    "feedDocumentId": "0356cf79-b8b0-4226-b4b9-0ee058ea5760",
}
# Requests of the sandbox that say nothing, and are answered by their address alone.
_SAYING_NOTHING = ("patchListingsItem 200", "createSubscription 200", "createDestination 200")
# What the sandbox answers 400 to by the name alone; to others it is what is not there.
_BY_NAME_ALONE = ("getFeed 400", "getFeedDocument 400", "getListingsItem 400")


@pytest.mark.parametrize("name", PAIRS)
def test_each_answer_of_the_sandbox_is_what_its_model_allows(name: str) -> None:
    """And so the checker of the models refuses nothing that Amazon itself answers."""
    pair = PAIRS[name]
    schema = MODELS.described(pair.operation)["responses"][str(pair.status)].get("schema")
    if schema is None:
        assert pair.response in ({}, None)
        return
    answer = SimResponse.of_json(pair.response, pair.status)
    assert MODELS.problem_of_answer(pair.operation, answer) == ""


@pytest.mark.parametrize("name", PAIRS)
def test_each_request_of_the_sandbox_is_taken_or_refused_as_there(name: str) -> None:
    pair = PAIRS[name]
    account = Account()
    account.amazon.marketplaces = tuple(BY_ID.values())
    answer = account.ask(pair.operation, pair.parameters)
    said = answer.json()["errors"][0] if answer.status >= 400 else {}
    if pair.status >= 400:
        wanted = (400, 404) if any(each in name for each in _BY_NAME_ALONE) else (400,)
        assert answer.status in wanted, answer.body
    elif answer.status >= 400 and not any(each in name for each in _SAYING_NOTHING):
        # The request is fine, but nothing of the kind has been put into this account.
        missing = ("not found", "no such", "no order", "does not exist", "there is no ", "expired")
        words = f"{said['message']} {said['details']}".lower()
        assert any(each in words for each in missing), answer.body


@pytest.mark.parametrize(("number", "attribute"), [(2, "item_name"), (3, "fulfillment_availability")])
def test_a_preview_of_the_sandbox_says_what_a_write_would_come_to(number: int, attribute: str) -> None:
    pair = PAIRS[f"listingsItems_2021-08-01 patchListingsItem 200 #{number}"]
    account = Account()
    account.amazon.add_product(pair.parameters["sku"], "Mug", 5, "12.50")
    patch = {"op": "replace", "path": f"/attributes/{attribute}", "value": [{"value": "of no kind that is known"}]}
    answer = account.ask(pair.operation, {**pair.parameters, "body": {"productType": "PRODUCT", "patches": [patch]}})
    told, sandbox = answer.json(), pair.response
    assert (told["sku"], told["status"]) == (sandbox["sku"], sandbox["status"])
    assert bool(told["issues"]) is bool(sandbox["issues"])
    assert account.amazon.stock() == {pair.parameters["sku"]: 5}


@pytest.mark.parametrize("operation", ["searchListingsItems", "getListingsItem"])
def test_the_listings_of_the_sandbox_are_read_in_each_of_their_marketplaces(operation: str) -> None:
    answer = PAIRS[f"listingsItems_2021-08-01 {operation} 200 #1"].response
    [item] = answer.get("items", [answer])
    for place, price in (
        ("ATVPDKIKX0DER", Money(Decimal("100.00"), "USD")),
        ("A2EUQ1WTGCTBG2", Money(Decimal("130.00"), "CAD")),
    ):
        body = json.dumps({"marketplaceId": place, "item": item}).encode()
        listing = listings.read(RawRecord("listing", f"{place}/GM-ZDPI-9B4E", body))
        assert (listing.external_id, listing.sku) == (f"{place}/GM-ZDPI-9B4E", "GM-ZDPI-9B4E")
        assert listing.title == "Hardside Carry-On Spinner Suitcase Luggage"
        assert (listing.price, listing.tracked) == (price, True)
        assert listing.levels == (ListingLevel(location_external_id="DEFAULT", available=100),)


# ---------------------------------------------------------------- the mapping from the first version


@cache
def mapping() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((SPECS / "orders-api-migration-data.json").read_text(encoding="utf-8"))
    return found


def test_a_status_is_told_in_messages_by_the_word_it_had_before() -> None:
    renamed = {new: old for old, new in mapping()["statusMappings"]["fulfillmentStatus"].items()}
    assert renamed.items() >= OLD_STATUS.items()
    assert OLD_STATUS.keys() == renamed.keys() - {"INVOICE_UNCONFIRMED"}  # of Brazil, and not in the new model


def test_each_parameter_that_lived_on_is_taken_under_its_new_name() -> None:
    renamed = {
        old: re.match(r"(\w+)", new)[1]  # type: ignore[index]
        for old, new in mapping()["queryParameterMappings"].items()
        if not new.startswith("Not available")
    }
    assert renamed["NextToken"] == "paginationToken"
    assert set(renamed.values()) | {"includedData"} == SEARCH_ORDERS.parameters.keys()


def test_each_part_of_an_order_that_has_to_be_asked_for_is_told_only_then() -> None:
    account = Account()
    account.amazon.add_product("MUG-1", "Mug", 5, "12.50")
    sale = account.amazon.checkout([("MUG-1", 1)], discount="1.00", shipping="4.90")
    assert sale is not None
    account.amazon.ask_to_cancel(sale.order_external_id)
    account.amazon.fulfill(sale.order_external_id)
    asked_for = mapping()["includedDataParameters"]
    simulated = asked_for.keys() - {"EXPENSE", "TAX", "PAYMENT"}  # of which the simulator has nothing to tell
    for name in simulated:
        order = account.ask(GET_ORDER, {"orderId": sale.order_external_id, "includedData": [name]}).json()["order"]
        told = {other: _parts(order, asked_for[other]["attributes"]) for other in simulated}
        assert all(told[name]), name
        assert not [other for other in simulated - {name, "FULFILLMENT"} if any(told[other])], name


def _parts(order: Any, attributes: list[str]) -> list[Any]:
    """What an order has at these addresses: "Order.orderItems.fulfillment", of its first item."""
    found = []
    for attribute in attributes:
        value: Any = order
        for step in attribute.split(".")[1:]:
            value = value.get(step) if isinstance(value, dict) else None
            value = value[0] if isinstance(value, list) else value
        found.append(value)
    return found


@pytest.mark.parametrize(
    ("before", "type", "subtype", "amount"),
    [
        ("ItemPrice", "ITEM", "", "25.00"),
        ("ShippingPrice", "SHIPPING", "", "4.90"),
        ("ItemBuyerInfo.GiftWrapPrice", "GIFT_WRAP", "", "3.00"),
        ("PromotionDiscount", "DISCOUNT", "", "-3.50"),
        ("ShippingDiscount", "DISCOUNT", "SHIPPING", "-1.50"),
        ("ItemTax", "TAX", "ITEM", "5.59"),
    ],
)
def test_each_amount_is_where_the_mapping_says(before: str, type: str, subtype: str, amount: str) -> None:
    wanted = mapping()["attributeMappings"][before]
    assert f"type == {type}" in wanted
    assert (f"subtype == {subtype}" in wanted) is bool(subtype)
    account = Account()
    account.amazon.add_product("MUG-1", "Mug", 5, "12.50")
    sale = account.amazon.checkout([("MUG-1", 2)], discount="2.00", shipping="4.90")
    assert sale is not None
    item = account.amazon.book.sold[sale.order_external_id].items[0]
    item.gift_wrap, item.shipping_discount = Decimal("3.00"), Decimal("1.50")
    answer = account.ask(GET_ORDER, {"orderId": sale.order_external_id, "includedData": ["PROCEEDS"]})
    proceeds = answer.json()["order"]["orderItems"][0]["proceeds"]
    [found] = [each for each in proceeds["breakdowns"] if each["type"] == type]
    if not subtype:
        assert found["subtotal"] == {"amount": amount, "currencyCode": "USD"}
    else:
        told = {each["subtype"]: each["value"]["amount"] for each in found["detailedBreakdowns"]}
        assert told[subtype] == amount
    total = sum(Decimal(each["subtotal"]["amount"]) for each in proceeds["breakdowns"])
    assert proceeds["proceedsTotal"]["amount"] == str(total)


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("type", NOTIFICATIONS)
def test_each_type_of_notification_has_the_version_and_the_spelling_of_its_schema(type: str) -> None:
    version, capitals = NOTIFICATIONS[type]
    schema = MODELS.schema("notifications", SCHEMAS[type])
    name = "NotificationVersion" if capitals else "notificationVersion"
    assert name in schema["properties"]
    for example in schema.get("examples", []):
        assert example["PayloadVersion" if capitals else "payloadVersion"] == version
        MODELS.check_notification(type, example)
