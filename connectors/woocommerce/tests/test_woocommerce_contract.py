"""Every request the connector sends, checked against the routes and schemas that a real WooCommerce published."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hub.connector import StockPush, StockRef
from hub.core.model import Money
from hub.core.shipping import (
    CancelReason,
    ConfirmedLine,
    OrderCancellation,
    RefundedLine,
    RefundRequest,
    ShipmentConfirmation,
)
from hub.testing.context import connector_for
from hub.testing.simulator import SimRequest
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.listings import PRODUCT_FIELDS, VARIATION_FIELDS
from hub_woocommerce.simulator import WooCommerceSimulator
from hub_woocommerce.stock import STOCK_FIELDS

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "woocommerce"

pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

# WordPress itself understands these on every route.
OF_WORDPRESS = {"_fields": {"type": "string"}}
# A plugin's routes; WooCommerce publishes nothing of them but its documentation.
OF_THE_PLUGIN = "/wp-json/wc-shipment-tracking/v3/"


RECORDED_REFUND_LINE = {
    name
    for line in json.loads((Path(__file__).parent / "payloads" / "refund_create_line_restock.json").read_text())[
        "request"
    ]["body"]["line_items"]
    for name in line
}


@cache
def spec(name: str) -> Any:
    return json.loads((SPECS / f"{name}.json").read_text(encoding="utf-8"))["response"]["json"]


# ---------------------------------------------------------------- all that is ever asked


def journey(**options: Any) -> list[SimRequest]:
    """Everything that the connector does, in a shop with something of everything in it."""
    clock = [NOON]
    with WooCommerceSimulator(now=lambda: clock[0], **options) as shop:
        mug = shop.add_product("MUG", "Mug", 1000, "12.50")
        shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20")])
        sold = [shop.buy([("MUG", 2)]) for _ in range(205)]
        orders = [sale.order_external_id for sale in sold if sale is not None]
        shop.refund(orders[-1], [("MUG", 1)])
        connector = connector_for(WooCommerceConnector, shop, now=lambda: clock[0])
        connector.check()
        cursor = [page.cursor for page in connector.fetch_orders(None)][-1]
        shop.delete(orders[0])
        shop.trash(orders[1])
        clock[0] += timedelta(hours=1)
        list(connector.fetch_orders(cursor))
        connector.fetch_order(orders[-1])
        list(connector.fetch_listings(None))
        connector.fetch_listing(mug)
        refs = [StockRef(mug, ""), StockRef("12", "", {"parent": "11"})]
        connector.read_stock(refs)
        connector.push_stock([StockPush(ref, 3, None, "key") for ref in refs])
        first = ship(connector, orders[2], "S-1", 1)
        second = ship(connector, orders[2], "S-2", 1, supersedes=first)
        assert ship(connector, orders[2], "S-3", 1) != second
        connector.fetch_order(orders[2])
        give_back(connector, orders[3])
        calling_off = OrderCancellation(reference="C-1", order_external_id=orders[4], reason=CancelReason.OTHER)
        connector.cancel_order(calling_off, "key")
        for address in ("http://127.0.0.1:9/x", "http://127.0.0.1:10/x"):
            connector.subscribe_webhooks({"address": address}, "key")
        next(iter(shop.shop.webhooks.values())).status = "disabled"
        connector.subscribe_webhooks({"address": "http://127.0.0.1:10/x"}, "key")
        connector.read_subscriptions("http://127.0.0.1:10/x")
        return list(shop.requests)


def ship(connector: WooCommerceConnector, order: str, reference: str, quantity: int, **more: Any) -> str:
    line = connector.read_order(connector.fetch_order(order)).lines[0].external_id
    confirmation = ShipmentConfirmation(
        reference=reference,
        order_external_id=order,
        lines=(ConfirmedLine(line_external_id=line, quantity=quantity),),
        shipped_at=NOON,
        carrier="ups" if reference == "S-1" else "van",
        tracking_numbers=(f"N{reference}",),
        tracking_url="https://parcels.example/1",
        **more,
    )
    connector.confirm_shipment(confirmation, "key")
    found = connector.find_confirm_shipment(confirmation, "key")
    assert found is not None
    return found.reference


def give_back(connector: WooCommerceConnector, order: str) -> None:
    line = connector.read_order(connector.fetch_order(order)).lines[0].external_id
    refund = RefundRequest(
        reference="R-1",
        order_external_id=order,
        lines=(RefundedLine(line_external_id=line, quantity=1, amount=Money.of("12.50", "EUR")),),
        goodwill=Money.of("1", "EUR"),
        restock=True,
    )
    connector.refund(refund, "key")
    assert connector.find_refund(refund, "key") is not None


@pytest.fixture(scope="module")
def requests() -> list[SimRequest]:
    return [
        *journey(),
        *journey(fulfillments=False, tracks_parcels=True),
        *journey(fulfillments=False, version="6.4.0"),
    ]


def endpoint(request: SimRequest) -> tuple[str, Mapping[str, Any]]:
    """The route of a request, and the arguments that it declares for its method."""
    return declared(request.method, request.path.removeprefix("/wp-json"))


def declared(method: str, path: str) -> tuple[str, Mapping[str, Any]]:
    for route, known in spec("route_index_wc_v3")["routes"].items():
        if re.fullmatch(route, path):
            for one in known["endpoints"]:
                if method in one["methods"]:
                    return route, one["args"] or {}
    raise AssertionError(f"WooCommerce has no {method} {path}")


def of_api(requests: Sequence[SimRequest]) -> Iterator[SimRequest]:
    for request in requests:
        # The one question that is put to WordPress, not to WooCommerce.
        if request.path == "/wp-json/":
            assert (request.method, request.query) == ("GET", (("_fields", "name"),))
        elif not request.path.startswith(OF_THE_PLUGIN):
            yield request


# ---------------------------------------------------------------- what fits


def problem(value: str, known: Mapping[str, Any]) -> str:
    """What is wrong with a query parameter; "" if it is as declared."""
    kind = known["type"]
    checks: dict[str, Callable[[], bool]] = {
        "integer": lambda: bool(re.fullmatch(r"-?[0-9]+", value)),
        "boolean": lambda: value in ("true", "false", "1", "0"),
        "string": lambda: True,
        "array": lambda: all(not problem(part, known["items"]) for part in value.split(",")),
    }
    if not checks[kind]():
        return f"{value!r} is not of type {kind}"
    if "enum" in known and value not in known["enum"]:
        return f"{value!r} is not one of {known['enum']}"
    if kind == "integer" and not known.get("minimum", -(2**63)) <= int(value) <= known.get("maximum", 2**63):
        return f"{value} is out of bounds"
    if known.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return f"{value!r} is not a date with time and zone"
    return ""


TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def misfit(value: Any, known: Mapping[str, Any], where: str) -> str:
    """What is wrong with a part of a body; "" if it is as declared."""
    kind = known.get("type", "mixed")
    if kind != "mixed":
        kinds = kind if isinstance(kind, list) else [kind]
        if not any(type(value) in TYPES.get(each, ()) for each in kinds):
            return f"{where}: {value!r} is not of type {kind}"
    if "enum" in known and value not in known["enum"]:
        return f"{where}: {value!r} is not one of {known['enum']}"
    if isinstance(value, list) and "items" in known:
        return next(filter(None, (misfit(each, known["items"], f"{where}[]") for each in value)), "")
    if isinstance(value, dict) and "properties" in known:
        return members(value, known["properties"], where)
    return ""


def members(body: Mapping[str, Any], known: Mapping[str, Any], where: str) -> str:
    for name, value in body.items():
        if name not in known:
            return f"{where} has no {name}"
        # An entry of meta data is named by its id, which is only its reader's to choose.
        if known[name].get("readonly") and name != "id":
            return f"{where}: {name} cannot be written"
        if wrong := misfit(value, known[name], f"{where}.{name}"):
            return wrong
    return ""


def body_problem(method: str, path: str, body: Mapping[str, Any], query: Sequence[str] = ()) -> str:
    """What is wrong with a whole body; "" if its route declares all of it, and all that is required is there."""
    route, known = declared(method, path)
    in_path = set(re.findall(r"\?P<(\w+)>", route))
    missing = {name for name, each in known.items() if each.get("required")} - body.keys() - in_path - set(query)
    return f"{path} misses {sorted(missing)}" if missing else members(body, known, path)


# ---------------------------------------------------------------- checks


def test_the_connector_uses_only_these_routes(requests: list[SimRequest]) -> None:
    used = sorted({(request.method, endpoint(request)[0].removeprefix("/wc/v3/")) for request in of_api(requests)})
    assert used == [
        ("DELETE", r"webhooks/(?P<id>[\d]+)"),
        ("GET", "data/currencies/current"),
        ("GET", "orders"),
        ("GET", r"orders/(?P<id>[\d]+)"),
        ("GET", r"orders/(?P<order_id>[\d]+)/fulfillments"),
        ("GET", r"orders/(?P<order_id>[\d]+)/notes"),
        ("GET", r"orders/(?P<order_id>[\d]+)/refunds"),
        ("GET", "orders/statuses"),
        ("GET", r"payment_gateways/(?P<id>[\w-]+)"),
        ("GET", "products"),
        ("GET", r"products/(?P<id>[\d]+)"),
        ("GET", r"products/(?P<product_id>[\d]+)/variations"),
        ("GET", "reports/orders/totals"),
        ("GET", r"settings/(?P<group_id>[\w-]+)/(?P<id>[\w-]+)"),
        ("GET", "system_status"),
        ("GET", "webhooks"),
        ("POST", r"orders/(?P<order_id>[\d]+)/fulfillments"),
        ("POST", r"orders/(?P<order_id>[\d]+)/notes"),
        ("POST", r"orders/(?P<order_id>[\d]+)/refunds"),
        ("POST", r"products/(?P<product_id>[\d]+)/variations/batch"),
        ("POST", "products/batch"),
        ("POST", "webhooks"),
        ("PUT", r"orders/(?P<id>[\d]+)"),
        ("PUT", r"orders/(?P<order_id>[\d]+)/fulfillments/(?P<fulfillment_id>[\d]+)"),
        ("PUT", r"webhooks/(?P<id>[\d]+)"),
    ]


def test_the_plugin_is_asked_only_what_it_documents(requests: list[SimRequest]) -> None:
    asked = [request for request in requests if request.path.startswith(OF_THE_PLUGIN)]
    paths = {
        (each.method, re.sub(r"[0-9a-f]{32}|\d{2,}", "N", each.path.removeprefix(OF_THE_PLUGIN))) for each in asked
    }
    assert paths == {
        ("GET", "shipment-trackings/providers"),
        ("GET", "orders/N/shipment-trackings"),
        ("POST", "orders/N/shipment-trackings"),
        ("DELETE", "orders/N/shipment-trackings/N"),
    }
    for each in asked:
        if each.method == "POST":
            assert each.json().keys() <= {
                "tracking_number",
                "tracking_provider",
                "date_shipped",
                "custom_tracking_provider",
                "custom_tracking_link",
            }


def test_every_query_parameter_is_declared_and_fits(requests: list[SimRequest]) -> None:
    sent: set[str] = set()
    for request in of_api(requests):
        route, known = endpoint(request)
        for name, value in request.query:
            understood = {**OF_WORDPRESS, **known}
            assert name in understood, f"{route} does not know {name}"
            assert problem(value, understood[name]) == "", f"{route} {name}"
            sent.add(name)
    assert {"modified_after", "modified_before", "dates_are_gmt", "offset", "include", "status", "force"} <= sent
    assert "notify_customer" in sent


def test_every_body_is_declared_and_fits(requests: list[SimRequest]) -> None:
    written = [request for request in of_api(requests) if request.body and not request.path.endswith("/batch")]
    assert len(written) >= 30
    for request in written:
        path, body = request.path.removeprefix("/wp-json"), request.json()
        if path.endswith("/refunds"):
            # WooCommerce takes the lines of a refund without declaring them: what it was seen to take stands for it.
            assert {name for line in body.pop("line_items") for name in line} == RECORDED_REFUND_LINE
        assert body_problem(request.method, path, body, [name for name, _ in request.query]) == ""
    # Where the shop keeps its own, units and parcels go there; elsewhere they go onto the order.
    kept = {entry["key"] for each in written for entry in each.json().get("meta_data", ())}
    assert {"_items", "_tracking_number", "_tallyhub_reference", "_tallyhub_shipment_S-1"} <= kept


def test_every_batch_item_is_what_its_own_route_would_take(requests: list[SimRequest]) -> None:
    batches = [request for request in of_api(requests) if request.path.endswith("/batch")]
    assert len(batches) == 9
    for request in batches:
        assert request.json().keys() == {"update"}
        for item in request.json()["update"]:
            single = request.path.removeprefix("/wp-json").removesuffix("batch") + str(item["id"])
            assert body_problem("PUT", single, item) == ""
            name = "schema_variations_OPTIONS" if "/variations/" in single else "schema_products_OPTIONS"
            assert members(item, spec(name)["schema"]["properties"], single) == ""


def test_what_does_not_fit_would_be_noticed() -> None:
    _, known = endpoint(SimRequest("GET", "/wp-json/wc/v3/orders"))
    assert problem("101", known["per_page"]) == "101 is out of bounds"
    assert problem("2026-11-21T12:00:00", known["modified_after"]).endswith("is not a date with time and zone")
    assert problem("bogus", known["orderby"]).startswith("'bogus' is not one of")
    assert problem("1,x", known["include"]) == "'1,x' is not of type array"
    with pytest.raises(AssertionError):
        endpoint(SimRequest("DELETE", "/wp-json/wc/v3/system_status"))
    quantity = body_problem("PUT", "/wc/v3/products/7", {"stock_quantity": "4"})
    assert quantity == "/wc/v3/products/7.stock_quantity: '4' is not of type integer"
    assert body_problem("PUT", "/wc/v3/products/7", {"stock": 4}) == "/wc/v3/products/7 has no stock"
    assert body_problem("POST", "/wc/v3/orders/7/notes", {}) == "/wc/v3/orders/7/notes misses ['note']"
    assert "is not one of" in body_problem("PUT", "/wc/v3/orders/7", {"status": "shipped"})
    assert body_problem("PUT", "/wc/v3/orders/7", {"meta_data": [{"key": 1}]}).endswith("1 is not of type string")


@pytest.mark.parametrize("fields", [PRODUCT_FIELDS, VARIATION_FIELDS, STOCK_FIELDS])
def test_the_fields_asked_for_exist(fields: str) -> None:
    # `date_modified_gmt` and `name` are in every recorded variation, though its schema does not list them.
    known = set(spec("schema_products_OPTIONS")["schema"]["properties"])
    known |= set(spec("schema_variations_OPTIONS")["schema"]["properties"])
    assert set(fields.split(",")) <= known
