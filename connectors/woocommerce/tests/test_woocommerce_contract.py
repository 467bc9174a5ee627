"""Every request the connector sends, checked against the routes and schemas that a real WooCommerce published."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.connector import StockPush, StockRef
from hub.testing.context import connector_for
from hub.testing.simulator import SimRequest
from hub_woocommerce.connector import PRODUCT_FIELDS, STOCK_FIELDS, WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "woocommerce"

pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"the vendor's specifications are not at {SPECS}; set TALLYHUB_SPECS"
)

# WordPress itself understands these on every route.
OF_WORDPRESS = {"_fields": {"type": "string"}}


def spec(name: str) -> Any:
    return json.loads((SPECS / f"{name}.json").read_text(encoding="utf-8"))["response"]["json"]


@pytest.fixture(scope="module")
def requests() -> list[SimRequest]:
    """All that the connector ever asks, of a shop with something of everything in it."""
    with WooCommerceSimulator() as shop:
        mug = shop.add_product("MUG", "Mug", 1000, "12.50")
        shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20")])
        for _ in range(205):
            sale = shop.buy([("MUG", 1)])
            assert sale is not None
        shop.refund(sale.order_external_id, [("MUG", 1)])
        connector = connector_for(WooCommerceConnector, shop)
        connector.check()
        cursor = [page.cursor for page in connector.fetch_orders(None)][-1]
        list(connector.fetch_orders(cursor))
        connector.fetch_order(sale.order_external_id)
        list(connector.fetch_listings(None))
        connector.fetch_listing(mug)
        refs = [StockRef(mug, ""), StockRef("12", "", {"parent": "11"})]
        connector.read_stock(refs)
        connector.push_stock([StockPush(ref, 3, None, "key") for ref in refs])
        connector.subscribe_webhooks({"address": "http://127.0.0.1:9/x"}, "key")
        next(iter(shop.shop.webhooks.values())).status = "disabled"
        connector.subscribe_webhooks({"address": "http://127.0.0.1:9/x"}, "key")
        return list(shop.requests)


def endpoint(request: SimRequest) -> tuple[str, Mapping[str, Any]]:
    path = request.path.removeprefix("/wp-json")
    for route, known in spec("route_index_wc_v3")["routes"].items():
        if re.fullmatch(route, path):
            for one in known["endpoints"]:
                if request.method in one["methods"]:
                    return route, one["args"]
    raise AssertionError(f"WooCommerce has no {request.method} {path}")


def of_api(requests: list[SimRequest]) -> Iterator[SimRequest]:
    for request in requests:
        # The one question that is put to WordPress, not to WooCommerce.
        if request.path == "/wp-json/":
            assert (request.method, request.query) == ("GET", (("_fields", "name"),))
        else:
            yield request


def problem(value: str, declared: Mapping[str, Any]) -> str:
    """What is wrong with a query parameter; "" if it is as declared."""
    kind = declared["type"]
    checks: dict[str, Callable[[], bool]] = {
        "integer": lambda: bool(re.fullmatch(r"-?[0-9]+", value)),
        "boolean": lambda: value in ("true", "false", "1", "0"),
        "string": lambda: True,
        "array": lambda: all(not problem(part, declared["items"]) for part in value.split(",")),
    }
    if not checks[kind]():
        return f"{value!r} is not of type {kind}"
    if "enum" in declared and value not in declared["enum"]:
        return f"{value!r} is not one of {declared['enum']}"
    if kind == "integer" and not declared.get("minimum", -(2**63)) <= int(value) <= declared.get("maximum", 2**63):
        return f"{value} is out of bounds"
    if declared.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return f"{value!r} is not a date with time and zone"
    return ""


def test_the_connector_uses_only_these_routes(requests: list[SimRequest]) -> None:
    used = sorted({(request.method, endpoint(request)[0].removeprefix("/wc/v3/")) for request in of_api(requests)})
    assert used == [
        ("GET", "data/currencies/current"),
        ("GET", "orders"),
        ("GET", r"orders/(?P<id>[\d]+)"),
        ("GET", r"orders/(?P<order_id>[\d]+)/refunds"),
        ("GET", "products"),
        ("GET", r"products/(?P<id>[\d]+)"),
        ("GET", r"products/(?P<product_id>[\d]+)/variations"),
        ("GET", "system_status"),
        ("GET", "webhooks"),
        ("POST", r"products/(?P<product_id>[\d]+)/variations/batch"),
        ("POST", "products/batch"),
        ("POST", "webhooks"),
        ("PUT", r"webhooks/(?P<id>[\d]+)"),
    ]


def test_every_query_parameter_is_declared_and_fits(requests: list[SimRequest]) -> None:
    sent: set[str] = set()
    for request in of_api(requests):
        route, declared = endpoint(request)
        for name, value in request.query:
            known = {**OF_WORDPRESS, **declared}
            assert name in known, f"{route} does not know {name}"
            assert problem(value, known[name]) == "", f"{route} {name}"
            sent.add(name)
    assert {"modified_after", "modified_before", "dates_are_gmt", "offset", "include", "status"} <= sent


def test_a_wrong_parameter_would_be_noticed() -> None:
    _, declared = endpoint(SimRequest("GET", "/wp-json/wc/v3/orders"))
    assert problem("101", declared["per_page"]) == "101 is out of bounds"
    assert problem("2026-11-21T12:00:00", declared["modified_after"]).endswith("is not a date with time and zone")
    assert problem("bogus", declared["orderby"]).startswith("'bogus' is not one of")
    assert problem("1,x", declared["include"]) == "'1,x' is not of type array"
    with pytest.raises(AssertionError):
        endpoint(SimRequest("DELETE", "/wp-json/wc/v3/system_status"))


def test_every_batch_item_writes_only_what_the_schema_lets_it(requests: list[SimRequest]) -> None:
    batches = [request for request in of_api(requests) if request.path.endswith("/batch")]
    assert len(batches) == 3
    for request in batches:
        schema = spec("schema_variations_OPTIONS" if "/variations/" in request.path else "schema_products_OPTIONS")
        properties = schema["schema"]["properties"]
        assert request.json().keys() == {"update"}
        for item in request.json()["update"]:
            assert item.keys() == {"id", "stock_quantity"}
            for name, value in item.items():
                assert properties[name]["type"] == "integer"
                assert type(value) is int
            assert not properties["stock_quantity"].get("readonly")


def test_every_webhook_is_written_as_declared(requests: list[SimRequest]) -> None:
    written = [request for request in of_api(requests) if request.method != "GET" and "/webhooks" in request.path]
    assert [request.method for request in written] == [*["POST"] * 7, "PUT"]
    for request in written:
        _, declared = endpoint(request)
        body = request.json()
        assert body.keys() <= declared.keys()
        assert {name for name, known in declared.items() if known["required"]} <= body.keys()
        assert body["status"] in declared["status"]["enum"]


@pytest.mark.parametrize("fields", [PRODUCT_FIELDS, STOCK_FIELDS])
def test_the_fields_asked_for_exist(fields: str) -> None:
    known = set(spec("schema_products_OPTIONS")["schema"]["properties"])
    # `date_modified_gmt` and `name` are in every recorded variation, though its schema does not list them.
    assert set(fields.split(",")) <= known
