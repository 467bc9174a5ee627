"""The simulated shop against the recordings: the same shapes, the same refusals, the same oddities."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import requests_oauthlib

from hub.testing.clock import Clock
from hub.testing.simulator import ShopSimulator, SimRequest, SimResponse, Simulator
from hub_woocommerce.simulator import WooCommerceSimulator

PAYLOADS = Path(__file__).parent / "payloads"
DELIVERIES = [
    json.loads(line) for line in (PAYLOADS / "_webhook_deliveries.jsonl").read_text(encoding="utf-8").splitlines()
]
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def shop(clock: Clock) -> Iterator[WooCommerceSimulator]:
    """The shop of the recordings: a mug (10) and a tee (11) in S (12) and M (13)."""
    with WooCommerceSimulator(site="https://127.0.0.1:8099", currency="USD", now=clock) as shop:
        shop.add_product("MUG-1", "Mug — blå", 10, "12.50")
        shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20"), ("M", "TEE-M", 0, "21")])
        yield shop


def recording(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


def ask(shop: WooCommerceSimulator, method: str, path: str, body: Any = None, **query: Any) -> SimResponse:
    pair = base64.b64encode(f"{shop.consumer_key}:{shop.consumer_secret}".encode()).decode()
    sent = b"" if body is None else json.dumps(body).encode()
    pairs = [(name, str(value)) for name, value in query.items()]
    return shop.handle(SimRequest(method, f"/wp-json/wc/v3/{path}", pairs, {"authorization": f"Basic {pair}"}, sent))


def place(shop: WooCommerceSimulator, name: str) -> Any:
    """Send the recorded request; returns what the simulator answers."""
    request = recording(name)["request"]
    path = request["url"].partition("/wc/v3/")[2]
    answered = ask(shop, request["method"], path, request["body"])
    return answered.json()


# ---------------------------------------------------------------- shapes


def unlike(recorded: Any, simulated: Any, where: str = "") -> list[str]:
    """Where the simulated value lacks a member of the recorded one, or holds another type there."""
    if isinstance(recorded, Mapping) and isinstance(simulated, Mapping):
        return [
            problem
            for name, value in recorded.items()
            # WordPress's own hints on what may be done with a link.
            if name not in ("targetHints", "email_templates", "up")
            for problem in (
                unlike(value, simulated[name], f"{where}.{name}") if name in simulated else [f"{where}.{name} missing"]
            )
        ]
    if isinstance(recorded, list) and isinstance(simulated, list):
        return unlike(recorded[0], simulated[0], f"{where}[]") if recorded and simulated else []
    numbers = (int, float, Decimal)
    if type(recorded) is type(simulated) or (
        isinstance(recorded, numbers)
        and isinstance(simulated, numbers)
        and bool not in (type(recorded), type(simulated))
    ):
        return []
    return [f"{where} is {type(simulated).__name__}, not {type(recorded).__name__}"]


def test_orders_have_the_recorded_shape(shop: WooCommerceSimulator) -> None:
    for name in ("order_create_0", "order_create_1", "order_create_2"):
        assert unlike(recording(name)["response"]["json"], place(shop, name)) == []
    orders = ask(shop, "GET", "orders", orderby="id", order="asc")
    assert unlike(recording("orders_orderby_modified")["response"]["json"], orders.json()) == []
    one = ask(shop, "GET", f"orders/{orders.json()[0]['id']}").json()
    assert unlike(recording("order_get")["response"]["json"], one) == []


def test_a_completed_and_refunded_order_has_the_recorded_shape(shop: WooCommerceSimulator) -> None:
    order = str(place(shop, "order_create_0")["id"])
    shop.fulfill(order)
    shop.refund(order, [("MUG-1", 1)])
    shown = ask(shop, "GET", f"orders/{order}").json()
    assert unlike(json.loads(DELIVERIES[31]["body"]), shown) == []
    meta = {entry["key"]: entry["value"] for entry in shown["line_items"][0]["meta_data"]}
    assert meta == {"_reduced_stock": "0", "_restock_refunded_items": "1"}
    refunds = ask(shop, "GET", f"orders/{order}/refunds").json()
    assert unlike(recording("refunds_list")["response"]["json"], refunds) == []
    assert [(line["quantity"], line["total"]) for line in refunds[0]["line_items"]] == [(-1, "-12.50")]


def test_products_and_variations_have_the_recorded_shape(shop: WooCommerceSimulator) -> None:
    recorded = recording("product_after_orders")["response"]["json"]
    assert unlike(recorded, ask(shop, "GET", "products/10").json()) == []
    by_sku = ask(shop, "GET", "products", sku="MUG-1,TEE-S", orderby="id", order="desc").json()
    assert [(row["id"], row["name"], row["parent_id"]) for row in by_sku] == [(12, "Tee - S", 11), (10, "Mug — blå", 0)]
    recorded = recording("product_variable_create")["response"]["json"]
    recorded = {name: value for name, value in recorded.items() if name not in ("permalink_template", "generated_slug")}
    assert unlike(recorded, ask(shop, "GET", "products/11").json()) == []
    variations = ask(shop, "GET", "products/11/variations").json()
    assert unlike(recording("variations_list")["response"]["json"], variations) == []


def test_the_shop_itself_and_its_webhooks_have_the_recorded_shape(shop: WooCommerceSimulator) -> None:
    recorded = recording("webhook_create_order_created")
    assert unlike(recorded["response"]["json"], place(shop, "webhook_create_order_created")) == []
    status = ask(shop, "GET", "system_status").json()
    for part, name in (("environment", "home_url"), ("settings", "currency"), ("settings", "HPOS_enabled")):
        assert type(status[part][name]) is type(recording("system_status")["response"]["json"][part][name])
    assert ask(shop, "GET", "data/currencies/current").json()["code"] == "USD"


def test_a_webhook_is_sent_as_recorded(shop: WooCommerceSimulator) -> None:
    sent: list[SimRequest] = []

    class Receiver(Simulator):
        origin = "https://hub.example"

        def answer(self, request: SimRequest) -> SimResponse:
            sent.append(request)
            return SimResponse()

    with Receiver() as receiver:
        body = {"topic": "product.updated", "secret": "s3cret", "delivery_url": f"{receiver.serve()}/x"}
        ask(shop, "POST", "webhooks", body)
        assert shop.wait_for_deliveries()
        shop.set_stock("MUG-1", 7)
        assert shop.wait_for_deliveries()
    ping, delivery = sent
    recorded_ping, recorded_delivery = DELIVERIES[0], DELIVERIES[12]
    assert (ping.body, ping.headers["content-type"]) == (b"webhook_id=1", recorded_ping["headers"]["Content-Type"])
    assert not any(name.startswith("x-wc") for name in ping.headers)
    expected = {name.lower(): value for name, value in recorded_delivery["headers"].items() if "X-WC" in name}
    found = {name: value for name, value in delivery.headers.items() if name.startswith("x-wc")}
    assert found.keys() == expected.keys()
    same = ("source", "topic", "resource", "event")
    assert [found[f"x-wc-webhook-{name}"] for name in same] == [expected[f"x-wc-webhook-{name}"] for name in same]
    digest = hmac.digest(b"s3cret", delivery.body, hashlib.sha256)
    assert found["x-wc-webhook-signature"] == base64.b64encode(digest).decode()
    assert unlike(json.loads(recorded_delivery["body"]), json.loads(delivery.body)) == []
    # As PHP writes it.
    assert b"Mug \\u2014 bl\\u00e5" in delivery.body
    assert b"https:\\/\\/127.0.0.1:8099\\/wp-json\\/" in delivery.body


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "name",
    [
        "orders_per_page_101_error",
        "orders_orderby_bogus_error",
        "order_get_404",
        "product_update_stock_fraction",
        "product_update_stock_bad_type_error",
        "product_batch_101_error",
    ],
)
def test_refuses_with_the_recorded_answer(shop: WooCommerceSimulator, name: str) -> None:
    request, response = recording(name)["request"], recording(name)["response"]
    path, _, query = request["url"].partition("/wc/v3/")[2].partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    answered = ask(shop, request["method"], path, request["body"], **parameters)
    assert (answered.status, answered.json()) == (response["status"], response["json"])


def test_refuses_strangers_with_the_recorded_answer(shop: WooCommerceSimulator) -> None:
    recorded = recording("orders_unauth_error")["response"]
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "nonsense"}):
        answered = shop.handle(SimRequest("GET", "/wp-json/wc/v3/orders", (), headers))
        assert (answered.status, answered.json()) == (recorded["status"], recorded["json"])
    assert ask(shop, "GET", "orders").status == 200


def test_over_plain_http_a_password_is_not_looked_at(clock: Clock) -> None:
    with WooCommerceSimulator(site="http://127.0.0.1:8099", now=clock) as shop:
        recorded = recording("orders_unauth_error")["response"]
        answered = ask(shop, "GET", "orders")
        assert (answered.status, answered.json()) == (recorded["status"], recorded["json"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "nothing"), ("DELETE", "orders"), ("GET", "orders/x"), ("POST", "system_status")]
)
def test_knows_no_other_route(shop: WooCommerceSimulator, method: str, path: str) -> None:
    answered = ask(shop, method, path)
    assert (answered.status, answered.json()["code"]) == (404, "rest_no_route")


def test_a_page_for_people_is_found_everywhere_else(shop: WooCommerceSimulator) -> None:
    answered = shop.handle(SimRequest("GET", "/shop/"))
    assert (answered.status, answered.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")


def test_a_body_that_is_no_json_is_refused(shop: WooCommerceSimulator) -> None:
    pair = base64.b64encode(f"{shop.consumer_key}:{shop.consumer_secret}".encode()).decode()
    request = SimRequest("POST", "/wp-json/wc/v3/products/batch", (), {"authorization": f"Basic {pair}"}, b"{")
    assert (shop.handle(request).status, shop.handle(request).json()["code"]) == (400, "rest_invalid_json")


# ---------------------------------------------------------------- shipments


@pytest.fixture
def order(shop: WooCommerceSimulator) -> str:
    """The order of the recorded fulfillments: two mugs."""
    sale = shop.buy([("MUG-1", 2)])
    assert sale is not None
    return sale.order_external_id


def test_fulfillments_have_the_recorded_shape_and_their_quantities_are_not_looked_at(
    shop: WooCommerceSimulator, order: str
) -> None:
    for name in ("fulfillment_create", "fulfillment_create_too_many"):
        recorded = recording(name)
        asked = json.loads(json.dumps(recorded["request"]["body"]).replace('"item_id": 11', '"item_id": 1'))
        answered = ask(shop, "POST", f"orders/{order}/fulfillments", asked, notify_customer="false")
        assert (answered.status, unlike(recorded["response"]["json"], answered.json())) == (201, [])
    listed = ask(shop, "GET", f"orders/{order}/fulfillments").json()
    recorded_list = recording("fulfillments_list")["response"]["json"]
    assert unlike(recorded_list, listed) == []
    assert [each["is_fulfilled"] for each in listed] == [each["is_fulfilled"] for each in recorded_list] == ["1", "1"]
    shown = ask(shop, "GET", f"orders/{order}").json()
    assert (shown["status"], shown["meta_data"][-1]["key"], shown["meta_data"][-1]["value"]) == (
        "processing",
        "_fulfillment_status",
        "fulfilled",
    )


def test_looking_a_number_up_tells_whose_it_may_be_and_nothing_of_the_order(
    shop: WooCommerceSimulator, order: str
) -> None:
    answered = ask(shop, "GET", f"orders/{order}/fulfillments/lookup", tracking_number="1Z999AA10123456784").json()
    recorded = recording("fulfillments_lookup")["response"]["json"]
    assert (answered["shipping_provider"], answered["tracking_url"]) == ("ups", recorded["tracking_url"])


def test_a_fulfillment_without_items_is_refused_as_recorded(shop: WooCommerceSimulator, order: str) -> None:
    recorded = recording("fulfillment_create_no_items_error")
    answered = ask(shop, "POST", f"orders/{order}/fulfillments", recorded["request"]["body"])
    assert (answered.status, answered.json()) == (400, recorded["response"]["json"])
    assert ask(shop, "POST", f"orders/{order}/fulfillments", {}).json()["code"] == "rest_missing_callback_param"
    for item in ({"item_id": "1", "qty": 1}, {"item_id": 1, "qty": 0}):
        body = {"meta_data": [{"key": "_items", "value": [item]}]}
        assert ask(shop, "POST", f"orders/{order}/fulfillments", body).json()["message"] == "Invalid item."
        assert ask(shop, "PUT", f"orders/{order}/fulfillments/1", body).json()["code"] == 0
    assert ask(shop, "GET", f"orders/{order}/fulfillments").json() == []


def test_an_order_that_is_none_has_no_fulfillments(shop: WooCommerceSimulator) -> None:
    answered = ask(shop, "GET", "orders/999/fulfillments")
    assert (answered.status, answered.json()["code"]) == (404, "woocommerce_rest_order_invalid_id")


def test_a_fulfillment_written_anew_loses_what_is_not_sent_again(shop: WooCommerceSimulator, order: str) -> None:
    items = {"key": "_items", "value": [{"item_id": 1, "qty": 1}]}
    number = {"key": "_tracking_number", "value": "N1"}
    ask(shop, "POST", f"orders/{order}/fulfillments", {"is_fulfilled": True, "meta_data": [items, number]})
    written = ask(shop, "PUT", f"orders/{order}/fulfillments/1", {"meta_data": [items]}).json()
    assert [entry["key"] for entry in written["meta_data"]] == ["_items"]
    missing = ask(shop, "PUT", f"orders/{order}/fulfillments/2", {"meta_data": [items]})
    assert (missing.status, missing.json()["message"]) == (400, "Fulfillment not found.")


def test_a_shop_without_the_feature_or_the_plugin_has_no_such_route() -> None:
    with WooCommerceSimulator(fulfillments=False) as shop:
        shop.add_product("MUG-1", "Mug", 10, "1")
        sale = shop.buy([("MUG-1", 1)])
        assert sale is not None
        assert ask(shop, "GET", f"orders/{sale.order_external_id}/fulfillments").json()["code"] == "rest_no_route"
        path = "/wp-json/wc-shipment-tracking/v3/shipment-trackings/providers"
        assert shop.handle(SimRequest("GET", path)).json()["code"] == "rest_no_route"
        shop.fulfillments, shop.tracks_parcels = True, True
        assert ask(shop, "GET", f"orders/{sale.order_external_id}/fulfillments").json() == []
        assert "Royal Mail" in shop.handle(SimRequest("GET", path)).json()["United Kingdom"]


def test_the_plugin_takes_a_parcel_twice_and_none_without_a_number(shop: WooCommerceSimulator, order: str) -> None:
    shop.tracks_parcels = True
    path = f"../../wc-shipment-tracking/v3/orders/{order}/shipment-trackings"

    def track(method: str, more: str = "", body: Any = None) -> SimResponse:
        pair = base64.b64encode(f"{shop.consumer_key}:{shop.consumer_secret}".encode()).decode()
        sent = b"" if body is None else json.dumps(body).encode()
        url = path.replace("../../", "/wp-json/") + more
        return shop.handle(SimRequest(method, url, (), {"authorization": f"Basic {pair}"}, sent))

    assert track("POST", body={"date_shipped": "2026-11-21"}).status == 400
    made = [track("POST", body={"tracking_number": "N1", "custom_tracking_provider": "Van"}).json() for _ in range(2)]
    assert [(each["tracking_number"], each["tracking_provider"], each["date_shipped"]) for each in made] == [
        ("N1", "Van", "2026-11-21")
    ] * 2
    assert track("DELETE", f"/{made[0]['tracking_id']}").status == 200
    assert track("DELETE", f"/{made[0]['tracking_id']}").status == 404
    assert [each["tracking_id"] for each in track("GET").json()] == [made[1]["tracking_id"]]


def test_a_note_has_the_recorded_shape(shop: WooCommerceSimulator, order: str) -> None:
    recorded = recording("order_note_create")
    answered = ask(shop, "POST", f"orders/{order}/notes", recorded["request"]["body"])
    shape = {name: value for name, value in recorded["response"]["json"].items() if name != "_links"}
    assert (answered.status, unlike(shape, answered.json())) == (201, [])
    assert ask(shop, "POST", f"orders/{order}/notes", {}).status == 400
    assert [note["note"] for note in ask(shop, "GET", f"orders/{order}/notes").json()] == [shape["note"]]


# ---------------------------------------------------------------- changing and deleting


def test_meta_data_is_written_by_key_and_deleted_by_id(shop: WooCommerceSimulator, order: str) -> None:
    def write(*entries: Mapping[str, Any]) -> list[tuple[str, Any]]:
        shown = ask(shop, "PUT", f"orders/{order}", {"meta_data": entries}).json()["meta_data"]
        kept.update({entry["key"]: entry["id"] for entry in shown})
        return [(entry["key"], entry["value"]) for entry in shown]

    kept: dict[str, int] = {}
    assert write({"key": "a", "value": "1"}, {"key": "b", "value": "2"}) == [("a", "1"), ("b", "2")]
    assert write({"key": "a", "value": "3"}) == [("a", "3"), ("b", "2")]
    assert write({"key": "a", "value": None}) == [("a", None), ("b", "2")]
    assert write({"id": kept["a"], "key": "a", "value": None}) == [("b", "2")]


def test_an_order_is_trashed_first_and_deleted_only_by_force(shop: WooCommerceSimulator, order: str) -> None:
    recorded = recording("order_delete_force")["response"]["json"]
    assert ask(shop, "DELETE", f"orders/{order}").json()["status"] == "processing"
    assert ask(shop, "GET", "orders").json() == []
    assert [row["id"] for row in ask(shop, "GET", "orders", status="trash").json()] == [int(order)]
    deleted = ask(shop, "DELETE", f"orders/{order}", force="true")
    assert (deleted.status, deleted.json()["id"], type(recorded["id"])) == (200, int(order), int)
    assert ask(shop, "GET", f"orders/{order}").status == 404


def test_webhooks_are_deleted_only_by_force(shop: WooCommerceSimulator) -> None:
    place(shop, "webhook_create_order_created")
    assert ask(shop, "DELETE", "webhooks/1").status == 501
    assert ask(shop, "DELETE", "webhooks/1", force="true").status == 200
    assert ask(shop, "DELETE", "webhooks/1", force="true").status == 404


@pytest.mark.parametrize(("version", "status"), [("11.0.1", 200), ("8.9.3", 404)])
def test_an_older_woocommerce_names_its_statuses_only_with_their_totals(
    clock: Clock, version: str, status: int
) -> None:
    with WooCommerceSimulator(version=version, statuses={"packing": "Being packed"}, now=clock) as shop:
        shop.add_product("MUG-1", "Mug", 10, "1")
        assert shop.buy([("MUG-1", 1)]) is not None
        assert ask(shop, "GET", "orders/statuses").status == status
        totals = {row["slug"]: (row["name"], row["total"]) for row in ask(shop, "GET", "reports/orders/totals").json()}
        assert (totals["packing"], totals["processing"]) == (("Being packed", 0), ("Processing", 1))
        assert ask(shop, "GET", "orders", status="packing").json() == []
        assert ask(shop, "GET", "orders", status="parking").status == 400


# ---------------------------------------------------------------- signatures


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
def test_a_signature_is_checked_with_its_time_and_taken_once(method: str) -> None:
    clock = Clock(NOON)
    with WooCommerceSimulator(site="http://woo.example/store", now=clock) as shop:

        def signed(secret: str = shop.consumer_secret, at: datetime = NOON, nonce: str = "n1") -> SimRequest:
            auth = requests_oauthlib.OAuth1(
                shop.consumer_key,
                secret,
                signature_method=method,
                signature_type="QUERY",
                timestamp=str(int(at.timestamp())),
                nonce=nonce,
            )
            url = "http://woo.example/store/wp-json/wc/v3/orders"
            prepared = requests.Request("GET", url, params={"search": "Zoë & co/å?", "page": 1}, auth=auth).prepare()
            path, _, query = (prepared.url or "").removeprefix("http://woo.example").partition("?")
            return SimRequest("GET", path, parse_qsl(query))

        def said(request: SimRequest) -> tuple[int, str]:
            answered = shop.handle(request)
            return answered.status, "" if answered.status == 200 else answered.json()["message"]

        replayed = signed()
        assert said(replayed) == (200, "")
        assert said(replayed) == (401, "Invalid nonce - nonce has already been used.")
        assert said(signed(nonce="n2")) == (200, "")
        wrong = (401, "Invalid signature - provided signature does not match.")
        assert said(signed(secret="cs_wrong", nonce="n3")) == wrong
        late = timedelta(minutes=15, seconds=1)
        assert said(signed(at=NOON - late, nonce="n4")) == (401, "Invalid timestamp.")
        assert said(signed(at=NOON + late, nonce="n5")) == (401, "Invalid timestamp.")
        assert said(signed(at=NOON - timedelta(minutes=15), nonce="n6")) == (200, "")


# ---------------------------------------------------------------- lists and times


def test_counts_its_pages_and_shows_nothing_past_the_last(shop: WooCommerceSimulator) -> None:
    for _ in range(3):
        assert shop.buy([("MUG-1", 1)]) is not None
    recorded = recording("orders_page1")["response"]["headers"]
    first = ask(shop, "GET", "orders", per_page=2, page=1, orderby="id", order="asc")
    assert [first.headers[name] for name in ("X-WP-Total", "X-WP-TotalPages")] == [
        recorded[name] for name in ("X-WP-Total", "X-WP-TotalPages")
    ]
    assert 'page=2>; rel="next"' in first.headers["Link"]
    assert 'rel="next"' in recorded["Link"]
    second = ask(shop, "GET", "orders", per_page=2, page=2, orderby="id", order="asc")
    assert [row["id"] for row in first.json() + second.json()] == [14, 15, 16]
    assert 'rel="next"' not in second.headers["Link"]
    assert ask(shop, "GET", "orders", per_page=2, page=3).json() == []


def test_the_bound_of_a_change_is_exclusive_and_whole_seconds(shop: WooCommerceSimulator, clock: Clock) -> None:
    clock.now += timedelta(milliseconds=700)
    assert shop.buy([("MUG-1", 1)]) is not None
    assert ask(shop, "GET", "orders", modified_after="2026-11-21T12:00:00Z").json() == []
    assert len(ask(shop, "GET", "orders", modified_after="2026-11-21T11:59:59Z").json()) == 1
    assert ask(shop, "GET", "orders", modified_before="2026-11-21T12:00:00Z").json() == []
    assert len(ask(shop, "GET", "orders", modified_before="2026-11-21T12:00:01Z").json()) == 1


@pytest.mark.parametrize(("timezone", "found"), [("America/New_York", 0), ("UTC", 3), ("Australia/Sydney", 4)])
def test_a_time_without_a_zone_is_read_in_the_shops_own(timezone: str, found: int) -> None:
    clock = Clock(NOON)
    with WooCommerceSimulator(timezone=timezone, now=clock) as shop:
        shop.add_product("MUG-1", "Mug", 10, "1")
        assert shop.buy([("MUG-1", 1)]) is not None
        clock.now += timedelta(hours=1)
        for _ in range(3):
            assert shop.buy([("MUG-1", 1)]) is not None

        def count(**bounds: str) -> int:
            return len(ask(shop, "GET", "orders", **bounds).json())

        assert count(modified_after="2026-11-21T12:30:00") == found
        # Naming the zone, or saying that it is UTC, either is enough.
        assert count(modified_after="2026-11-21T12:30:00Z") == 3
        assert count(modified_after="2026-11-21T12:30:00", dates_are_gmt="true") == 3
        row = ask(shop, "GET", "orders").json()[0]
        assert (row["date_modified"] == row["date_modified_gmt"]) is (timezone == "UTC")


def test_the_bin_is_shown_only_to_who_asks_for_it(shop: WooCommerceSimulator) -> None:
    sale = shop.buy([("MUG-1", 1)])
    assert sale is not None
    shop.trash(sale.order_external_id)
    assert ask(shop, "GET", "orders").json() == []
    (row,) = ask(shop, "GET", "orders", status="trash").json()
    assert (row["id"], row["status"]) == (14, "trash")
    assert shop.orders() == {"14"}
    assert ask(shop, "GET", "orders", status="nonsense").status == 400


# ---------------------------------------------------------------- stock and orders


def test_a_batch_answers_200_whatever_became_of_its_items(shop: WooCommerceSimulator) -> None:
    mixed = recording("product_batch_update_mixed")
    answered = ask(shop, "POST", "products/batch", mixed["request"]["body"])
    assert answered.status == 200
    done, failed = answered.json()["update"]
    assert (done["id"], done["stock_quantity"]) == (10, 7)
    assert failed == mixed["response"]["json"]["update"][1]
    variation = recording("product_batch_update_with_variation_id")
    assert place(shop, "product_batch_update_with_variation_id") == variation["response"]["json"]
    assert shop.stock() == {"MUG-1": 7, "TEE-S": 5, "TEE-M": 0}
    (written,) = place(shop, "variations_batch_update")["update"]
    assert unlike(recording("variations_batch_update")["response"]["json"]["update"][0], written) == []
    assert shop.stock()["TEE-S"] == 4
    assert [(write.sku, write.quantity) for write in shop.stock_writes] == [("MUG-1", 7), ("TEE-S", 4)]


def test_takes_a_quantity_below_nothing(shop: WooCommerceSimulator) -> None:
    assert place(shop, "product_update_stock_negative")["stock_quantity"] == -3
    assert shop.stock()["MUG-1"] == -3


def test_passes_over_the_stock_of_what_keeps_none(shop: WooCommerceSimulator) -> None:
    shop.manage_stock("10", False)
    answered = ask(shop, "PUT", "products/10", {"stock_quantity": 5})
    assert (answered.status, answered.json()["stock_quantity"]) == (200, None)
    assert shop.stock_writes == []


def test_an_order_paid_at_once_takes_its_goods_and_notes_it(shop: WooCommerceSimulator) -> None:
    paid, unpaid = place(shop, "order_create_0"), place(shop, "order_create_1")
    for name, order in (("order_create_0", paid), ("order_create_1", unpaid)):
        recorded = recording(name)["response"]["json"]
        told = ("status", "total", "shipping_total", "billing", "shipping")
        assert [order[part] for part in told] == [recorded[part] for part in told]
        assert [
            [entry["value"] for entry in line["meta_data"] if entry["key"] == "_reduced_stock"]
            for line in order["line_items"]
        ] == [
            [entry["value"] for entry in line["meta_data"] if entry["key"] == "_reduced_stock"]
            for line in recorded["line_items"]
        ]
        assert [line["price"] for line in order["line_items"]] == [line["price"] for line in recorded["line_items"]]
    assert shop.stock() == {"MUG-1": 9, "TEE-S": 4, "TEE-M": 0}
    ask(shop, "PUT", f"orders/{unpaid['id']}", {"status": "processing"})
    assert shop.stock() == {"MUG-1": 7, "TEE-S": 3, "TEE-M": 0}
    shop.cancel(str(unpaid["id"]))
    assert shop.stock() == {"MUG-1": 9, "TEE-S": 4, "TEE-M": 0}
    assert ask(shop, "PUT", f"orders/{paid['id']}", {"status": "nonsense"}).status == 400


def test_placing_an_order_twice_places_two_whatever_the_key(shop: WooCommerceSimulator) -> None:
    first, second = place(shop, "order_create_0"), place(shop, "order_create_0")
    assert first["id"] != second["id"]
    assert shop.stock()["MUG-1"] == 8


def test_customers_buy_all_or_nothing(shop: WooCommerceSimulator) -> None:
    assert isinstance(shop, ShopSimulator)
    assert shop.buy([("MUG-1", 6), ("TEE-S", 6)]) is None
    assert shop.buy([("MUG-1", 6), ("MUG-1", 5)]) is None
    assert shop.stock() == {"MUG-1": 10, "TEE-S": 5, "TEE-M": 0}
    sale = shop.buy([("MUG-1", 6), ("TEE-S", 5)])
    assert sale is not None
    assert (sale.order_external_id, sale.items) == ("14", (("MUG-1", 6), ("TEE-S", 5)))
    assert shop.stock() == {"MUG-1": 4, "TEE-S": 0, "TEE-M": 0}
    assert shop.buy([("TEE-S", 1)]) is None
    assert shop.orders() == {"14"}


# ---------------------------------------------------------------- webhooks


class Listening:
    """A shop whose webhooks are kept instead of sent."""

    def __init__(self, **options: Any) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        listening = self

        class Shop(WooCommerceSimulator):
            def deliver(self, address: str, headers: Mapping[str, str], body: bytes) -> None:
                if "X-WC-Webhook-Topic" in headers:
                    topic, id = headers["X-WC-Webhook-Topic"], headers["X-WC-Webhook-Delivery-ID"]
                    listening.sent.append((topic, id, json.loads(body)))

        self.shop = Shop(now=lambda: NOON, **options)
        self.shop.add_product("MUG-1", "Mug", 10, "12.50")
        for topic in ("order.created", "order.updated", "order.deleted", "order.restored", "product.updated",
                      "product.deleted"):  # fmt: skip
            ask(self.shop, "POST", "webhooks", {"topic": topic, "secret": "s", "delivery_url": "http://x.example"})

    def topics(self) -> list[str]:
        topics = [topic for topic, _, _ in self.sent]
        self.sent.clear()
        return topics


def test_what_follows_from_what_as_recorded() -> None:
    told = Listening()
    sale = told.shop.buy([("MUG-1", 2)])
    assert sale is not None
    order = sale.order_external_id
    assert told.sent[0][2] == told.sent[1][2]
    assert told.topics() == ["order.created", "order.updated", "product.updated"]
    told.shop.fulfill(order)
    assert told.topics() == ["order.updated"]
    told.shop.refund(order, [("MUG-1", 1)])
    assert told.topics() == ["product.updated", "order.updated"]
    told.shop.cancel(order)
    assert told.topics() == ["order.updated", "product.updated"]
    told.shop.trash(order)
    assert told.sent[0][2] == {"id": int(order)}
    assert told.topics() == ["order.deleted"]
    told.shop.restore(order)
    assert told.topics() == ["order.restored"]
    told.shop.delete(order)
    assert told.topics() == []
    told.shop.trash_product("10")
    assert told.topics() == ["product.deleted"]


def test_a_full_refund_ends_the_order() -> None:
    told = Listening()
    sale = told.shop.buy([("MUG-1", 2)])
    assert sale is not None
    told.shop.refund(sale.order_external_id, [("MUG-1", 2)])
    assert told.sent[-1][2]["status"] == "refunded"
    assert told.shop.stock() == {"MUG-1": 10}


def test_an_old_shop_tells_of_a_trashed_order_as_of_a_product_too() -> None:
    told = Listening(hpos=False)
    sale = told.shop.buy([("MUG-1", 2)])
    assert sale is not None
    told.topics()
    told.shop.trash(sale.order_external_id)
    assert told.topics() == ["order.deleted", "product.deleted"]


def test_two_orders_of_one_second_share_a_delivery_id() -> None:
    told = Listening()
    for _ in range(2):
        assert told.shop.buy([("MUG-1", 1)]) is not None
    created = [(id, body["id"]) for topic, id, body in told.sent if topic == "order.created"]
    assert created[0][0] == created[1][0]
    assert created[0][1] != created[1][1]
