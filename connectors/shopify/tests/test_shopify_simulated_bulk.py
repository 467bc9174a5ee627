"""The simulated shop keeps Shopify's rules for bulk operations and their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from hub.testing import Clock
from hub.testing.simulator import SimRequest, SimResponse
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_bulk import FILES_HOST

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
IDS = "{ orders { edges { node { id } } } }"
LINES = "{ orders { edges { node { id name lineItems { edges { node { id sku } } } } } } }"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: Clock) -> Iterator[ShopifySimulator]:
    with ShopifySimulator(now=clock) as simulator:
        simulator.add_product("MUG", "Mug", 100, "8.00")
        for _ in range(3):
            simulator.checkout([("MUG", 1), ("MUG", 2)])
        yield simulator


def ask(shop: ShopifySimulator, document: str, /, **variables: Any) -> dict[str, Any]:
    headers = {"x-shopify-access-token": shop.legacy_token}
    body = json.dumps({"query": document, "variables": variables}).encode()
    return dict(
        shop.handle(SimRequest("POST", "/admin/api/2026-10/graphql.json", headers=headers, body=body)).json()["data"]
    )


def run(shop: ShopifySimulator, query: str, *, grouped: bool = False) -> dict[str, Any]:
    document = """mutation ($query: String!, $grouped: Boolean!) {
      bulkOperationRunQuery(query: $query, groupObjects: $grouped) {
        bulkOperation { id status } userErrors { code message }
      }
    }"""
    return dict(ask(shop, document, query=query, grouped=grouped)["bulkOperationRunQuery"])


def operation(shop: ShopifySimulator) -> dict[str, Any]:
    fields = "id status errorCode objectCount rootObjectCount fileSize url partialDataUrl completedAt"
    return dict(ask(shop, f"{{ bulkOperations(first: 1) {{ nodes {{ {fields} }} }} }}")["bulkOperations"]["nodes"][0])


def get(shop: ShopifySimulator, url: str, **headers: str) -> SimResponse:
    parts = urlsplit(url)
    sent = {"host": FILES_HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return shop.handle(SimRequest("GET", parts.path, parse_qsl(parts.query), sent))


def kinds(file: bytes) -> list[str]:
    return [json.loads(line)["id"].split("/")[-2] for line in file.splitlines()]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ shop { name } }", "exports all orders"),
        ("{ nodes(ids: []) { id } }", "top-level"),
        ("{ orders { edges { node { name } } } }", "'id'"),
        ("{ orders { edges { node { id unknown } } } }", "Cannot query field"),
        ("{ orders {", "Syntax Error"),
        (
            "{ orders { edges { node { id fulfillments { fulfillmentLineItems { nodes { id } } } } } } }",
            "within a list field",
        ),
        (
            "{ orders { edges { node { id fulfillmentOrders { edges { node { id lineItems { edges { node { id"
            " lineItem { variant { inventoryItem { inventoryLevels { nodes { id } } } } } } } } } } } } } } }",
            "deeper",
        ),
        (
            "{ orders { edges { node { id a: lineItems { edges { node { id } } } b: lineItems { edges { node { id } } }"
            " c: lineItems { edges { node { id } } } d: lineItems { edges { node { id } } }"
            " e: lineItems { edges { node { id } } } } } } }",
            "more than 5",
        ),
    ],
)
def test_a_query_of_another_form_is_refused(shop: ShopifySimulator, query: str, words: str) -> None:
    (error,) = run(shop, query)["userErrors"]
    assert error["code"] == "INVALID"
    assert words in error["message"]


def test_an_operation_takes_its_time_and_another_has_to_wait(shop: ShopifySimulator, clock: Clock) -> None:
    shop.bulk.seconds = 60
    first = run(shop, LINES)
    assert (first["bulkOperation"]["status"], first["userErrors"]) == ("CREATED", [])
    (error,) = run(shop, IDS)["userErrors"]
    assert error["code"] == "OPERATION_IN_PROGRESS"
    assert (operation(shop)["status"], operation(shop)["url"]) == ("RUNNING", None)
    clock.now += timedelta(seconds=60)
    done = operation(shop)
    assert (done["status"], done["objectCount"], done["rootObjectCount"]) == ("COMPLETED", "9", "3")
    assert done["completedAt"] == "2026-11-21T12:01:00Z"
    assert run(shop, IDS)["userErrors"] == []


def test_what_belongs_together_stands_together_only_where_that_was_asked_for(shop: ShopifySimulator) -> None:
    run(shop, LINES, grouped=True)
    together = get(shop, operation(shop)["url"]).body
    assert kinds(together) == ["Order", "LineItem", "LineItem"] * 3
    order, line = (json.loads(each) for each in together.splitlines()[:2])
    assert order.keys() == {"id", "name"}
    assert line.keys() == {"id", "sku", "__parentId"}
    assert line["__parentId"] == order["id"]
    run(shop, LINES)
    assert kinds(get(shop, operation(shop)["url"]).body) == ["Order"] * 3 + ["LineItem"] * 6


def test_a_file_is_served_in_parts_unless_it_would_be_packed(shop: ShopifySimulator) -> None:
    run(shop, IDS)
    done = operation(shop)
    url, size = done["url"], int(done["fileSize"])
    part = get(shop, url, range="bytes=0-9", accept_encoding="identity")
    assert (part.status, part.headers["Content-Range"], len(part.body)) == (206, f"bytes 0-9/{size}", 10)
    last = get(shop, url, range=f"bytes={size - 5}-{size + 5}", accept_encoding="identity")
    assert (last.status, len(last.body)) == (206, 5)
    assert get(shop, url, range=f"bytes={size}-", accept_encoding="identity").status == 200
    assert get(shop, url, range=f"bytes={size}-{size + 1}", accept_encoding="identity").status == 416
    assert (get(shop, url, range="bytes=0-9").status, len(get(shop, url).body)) == (200, size)


def test_a_file_is_for_whoever_has_its_address_for_a_week(shop: ShopifySimulator, clock: Clock) -> None:
    run(shop, IDS)
    url = operation(shop)["url"]
    assert get(shop, url).status == 200
    assert get(shop, url, x_shopify_access_token=shop.legacy_token).status == 400
    assert get(shop, url.replace("Signature=", "Signature=x")).status == 403
    clock.now += timedelta(days=7)
    assert get(shop, url).status == 400
    assert (operation(shop)["status"], operation(shop)["url"]) == ("EXPIRED", None)


def test_a_failed_operation_leaves_a_part_of_its_file(shop: ShopifySimulator) -> None:
    shop.bulk.fail_next("TIMEOUT", after=2)
    run(shop, LINES, grouped=True)
    failed = operation(shop)
    assert (failed["status"], failed["errorCode"], failed["url"]) == ("FAILED", "TIMEOUT", None)
    assert get(shop, failed["partialDataUrl"]).body.count(b"\n") == 5
    run(shop, LINES, grouped=True)
    assert operation(shop)["status"] == "COMPLETED"


def test_an_operation_that_may_not_read_orders_is_denied(shop: ShopifySimulator) -> None:
    run(shop, LINES)
    shop.scopes = ("read_products",)
    assert run(shop, LINES)["userErrors"] == []
    assert (operation(shop)["status"], operation(shop)["errorCode"]) == ("FAILED", "ACCESS_DENIED")


def test_a_running_operation_can_be_canceled(shop: ShopifySimulator) -> None:
    shop.bulk.seconds = 60
    id = run(shop, LINES)["bulkOperation"]["id"]
    cancel = "mutation ($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } userErrors { message } } }"
    assert ask(shop, cancel, id=id)["bulkOperationCancel"] == {
        "bulkOperation": {"status": "CANCELED"},
        "userErrors": [],
    }
    assert ask(shop, cancel, id=id)["bulkOperationCancel"]["userErrors"] != []
