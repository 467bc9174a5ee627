"""Writing stock to a simulated shop and reading it back: one bad product never spoils the others."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hub.connector import UNREAD, PushOutcome, PushState, StockPush, StockRef
from hub.errors import AuthError, RateLimited, Unavailable
from hub.testing.context import connector_for
from hub.testing.simulator import Fault, SimRequest, SimResponse
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

GONE = "WooCommerce does not have this product any more."
UNMANAGED = (
    "WooCommerce does not count the stock of this product. Edit it there and switch on stock management, "
    "for a variation on the variation itself, or unbind the listing here."
)


@pytest.fixture
def shop() -> Iterator[WooCommerceSimulator]:
    """A mug (10) and a cap (11); tees (12) in S (13) and M (14); socks (15) in one size (16)."""
    with WooCommerceSimulator() as shop:
        shop.add_product("MUG", "Mug", 10, "12.50")
        shop.add_product("CAP", "Cap", 3, "8")
        shop.add_variable_product("Tee", [("S", "TEE-S", 5, "20"), ("M", "TEE-M", 0, "21")])
        shop.add_variable_product("Socks", [("One size", "SOCKS", 7, "5")])
        yield shop


@pytest.fixture
def connector(shop: WooCommerceSimulator) -> WooCommerceConnector:
    return connector_for(WooCommerceConnector, shop)


def ref(id: str, parent: str = "") -> StockRef:
    return StockRef(id, "", {"parent": parent} if parent else {})


def push(quantity: int, id: str, parent: str = "") -> StockPush:
    return StockPush(ref(id, parent), quantity, None, f"{id}/{quantity}")


def writes(shop: WooCommerceSimulator) -> list[tuple[str, Any]]:
    return [(request.path.removeprefix("/wp-json/wc/v3/"), request.json()) for request in shop.requests if request.body]


def states(outcomes: Sequence[PushOutcome]) -> list[tuple[PushState, int | None]]:
    return [(outcome.state, outcome.quantity) for outcome in outcomes]


def test_writes_products_in_one_call_and_the_variations_of_each_parent_in_another(
    shop: WooCommerceSimulator, connector: WooCommerceConnector
) -> None:
    pushes = [push(4, "13", "12"), push(9, "10"), push(1, "16", "15"), push(0, "11"), push(2, "14", "12")]
    assert connector.push_stock(pushes) == [PushOutcome(PushState.WRITTEN, each.quantity) for each in pushes]
    assert writes(shop) == [
        (
            "products/12/variations/batch",
            {"update": [{"id": 13, "stock_quantity": 4}, {"id": 14, "stock_quantity": 2}]},
        ),
        ("products/batch", {"update": [{"id": 10, "stock_quantity": 9}, {"id": 11, "stock_quantity": 0}]}),
        ("products/15/variations/batch", {"update": [{"id": 16, "stock_quantity": 1}]}),
    ]
    assert shop.stock() == {"MUG": 9, "CAP": 0, "TEE-S": 4, "TEE-M": 2, "SOCKS": 1}


def test_reads_stock_in_the_order_asked_for(connector: WooCommerceConnector, shop: WooCommerceSimulator) -> None:
    refs = [ref("14", "12"), ref("10"), ref("999999"), ref("13", "12"), ref("11"), ref("16", "15")]
    assert connector.read_stock(refs) == [0, 10, None, 5, 3, 7]
    assert len(shop.requests) == 3
    assert connector.read_stock([]) == []


def test_reads_nothing_where_the_shop_keeps_no_stock(
    connector: WooCommerceConnector, shop: WooCommerceSimulator
) -> None:
    shop.manage_stock("10", False)
    shop.manage_stock("13", "parent")
    assert connector.read_stock([ref("10"), ref("13", "12"), ref("11")]) == [None, None, 3]


def test_a_family_that_cannot_be_read_now_does_not_hold_back_the_others(
    connector: WooCommerceConnector, shop: WooCommerceSimulator
) -> None:
    refs = [ref("13", "12"), ref("10"), ref("14", "12"), ref("16", "15"), ref("999999")]
    shop.fail_next("/wp-json/wc/v3/products/12/", Fault.status(500))
    assert connector.read_stock(refs) == [UNREAD, 10, UNREAD, 7, None]
    shop.fail_next("/wp-json/wc/v3/products/15/", Fault.truncated())
    assert connector.read_stock(refs) == [5, 10, 0, UNREAD, None]
    shop.fail_next("/wp-json/wc/v3/products", Fault.status(500), times=3)
    with pytest.raises(Unavailable):
        connector.read_stock(refs)
    assert connector.read_stock(refs) == [5, 10, 0, 7, None]


@pytest.mark.parametrize(
    ("told", "units"),
    [
        (7, 7),
        ("7", 7),
        ("7.000", 7),
        (7.0, 7),
        (7.9, 7),  # sold by halves: a whole one more there is not
        ("-2.5", -3),
        (-3, -3),  # sold on back-order
        (None, None),
        ("", None),
        ("many", None),
        (True, None),
        ([7], None),
        ("NaN", None),
        (10**15, None),
    ],
)
def test_understands_a_quantity_however_it_is_written(
    connector: WooCommerceConnector, shop: WooCommerceSimulator, told: Any, units: int | None
) -> None:
    row = [{"id": 10, "manage_stock": True, "stock_quantity": told}]
    shop.fail_next("/", Fault(response=SimResponse.of_json(row)))
    assert connector.read_stock([ref("10")]) == [units]
    shop.fail_next("/", Fault(response=SimResponse.of_json({"update": row})))
    assert connector.push_stock([push(7, "10")]) == [PushOutcome(PushState.WRITTEN, units)]
    assert connector.read_stock([ref("10")]) == [10]


def test_writes_whole_numbers_and_never_texts_or_fractions(
    connector: WooCommerceConnector, shop: WooCommerceSimulator
) -> None:
    connector.push_stock([push(7, "10"), push(8, "13", "12")])
    assert [type(item["stock_quantity"]) for _, body in writes(shop) for item in body["update"]] == [int, int]


def test_never_writes_less_than_nothing(connector: WooCommerceConnector, shop: WooCommerceSimulator) -> None:
    assert states(connector.push_stock([push(-3, "10")])) == [(PushState.WRITTEN, 0)]
    assert shop.stock()["MUG"] == 0


def test_an_item_that_fails_in_an_answer_of_200_fails_alone(
    connector: WooCommerceConnector, shop: WooCommerceSimulator
) -> None:
    outcomes = connector.push_stock([push(9, "10"), push(1, "999999"), push(2, "11")])
    assert outcomes == [
        PushOutcome(PushState.WRITTEN, 9),
        PushOutcome(PushState.GONE, message=GONE),
        PushOutcome(PushState.WRITTEN, 2),
    ]
    assert shop.stock()["CAP"] == 2


def test_a_variation_that_is_gone_fails_alone(connector: WooCommerceConnector) -> None:
    outcomes = connector.push_stock([push(9, "13", "12"), push(1, "999999", "12")])
    assert outcomes == [PushOutcome(PushState.WRITTEN, 9), PushOutcome(PushState.GONE, message=GONE)]


def test_a_variation_without_its_parent_is_refused_with_what_to_do(
    connector: WooCommerceConnector, shop: WooCommerceSimulator
) -> None:
    outcomes = connector.push_stock([push(4, "13"), push(9, "10")])
    assert outcomes == [
        PushOutcome(
            PushState.REJECTED,
            message="WooCommerce says that this is a variation of another product. Import the listings again.",
        ),
        PushOutcome(PushState.WRITTEN, 9),
    ]
    assert shop.stock()["TEE-S"] == 5
    assert states(connector.push_stock([push(4, "13", "12")])) == [(PushState.WRITTEN, 4)]


@pytest.mark.parametrize(("id", "parent", "managed"), [("10", "", False), ("13", "12", "parent"), ("13", "12", False)])
def test_a_product_whose_stock_is_not_counted_is_refused_until_it_is(
    connector: WooCommerceConnector, shop: WooCommerceSimulator, id: str, parent: str, managed: Any
) -> None:
    shop.manage_stock(id, managed)
    outcomes = connector.push_stock([push(4, id, parent), push(2, "11")])
    assert outcomes == [PushOutcome(PushState.REJECTED, message=UNMANAGED), PushOutcome(PushState.WRITTEN, 2)]
    shop.manage_stock(id, True)
    assert states(connector.push_stock([push(4, id, parent)])) == [(PushState.WRITTEN, 4)]


def test_ids_that_are_no_ids_are_never_sent(connector: WooCommerceConnector, shop: WooCommerceSimulator) -> None:
    outcomes = connector.push_stock([push(1, "../webhooks"), push(2, "11"), push(3, "13", "12/../..")])
    assert [outcome.state for outcome in outcomes] == [PushState.GONE, PushState.WRITTEN, PushState.GONE]
    assert connector.read_stock([ref("x"), ref("11")]) == [None, 2]
    assert {request.path for request in shop.requests} == {
        "/wp-json/wc/v3/products/batch",
        "/wp-json/wc/v3/products",
    }


def test_more_than_a_hundred_go_in_several_calls(shop: WooCommerceSimulator, connector: WooCommerceConnector) -> None:
    ids = [shop.add_product(f"SKU-{number}", "Mug", 0, "1") for number in range(230)]
    pushes = [push(number, id) for number, id in enumerate(ids)]
    assert states(connector.push_stock(pushes)) == [(PushState.WRITTEN, number) for number in range(230)]
    assert [len(body["update"]) for _, body in writes(shop)] == [100, 100, 30]
    assert connector.read_stock([ref(id) for id in ids]) == list(range(230))


def test_a_host_that_gives_few_rows_at_a_time_is_read_to_the_end() -> None:
    class SmallHost(WooCommerceSimulator):
        def answer(self, request: SimRequest) -> SimResponse:
            query = [(name, "5" if name == "per_page" else value) for name, value in request.query]
            return super().answer(replace(request, query=query))

    with SmallHost() as shop:
        ids = [shop.add_product(f"SKU-{number}", "Mug", number, "1") for number in range(12)]
        connector = connector_for(WooCommerceConnector, shop)
        assert connector.read_stock([ref(id) for id in ids]) == list(range(12))


def test_one_family_that_fails_holds_back_no_other(shop: WooCommerceSimulator, connector: WooCommerceConnector) -> None:
    pushes = [push(4, "13", "12"), push(9, "10"), push(1, "16", "15")]
    shop.fail_next("/wp-json/wc/v3/products/12/", Fault.status(500))
    first, *others = connector.push_stock(pushes)
    assert first.state is PushState.RETRY
    assert "simulated 500" in first.message
    assert states(others) == [(PushState.WRITTEN, 9), (PushState.WRITTEN, 1)]
    assert states(connector.push_stock(pushes)) == [(PushState.WRITTEN, each.quantity) for each in pushes]


def test_a_family_that_is_refused_whole_is_refused_alone(
    shop: WooCommerceSimulator, connector: WooCommerceConnector
) -> None:
    pushes = [push(4, "13", "12"), push(9, "10")]
    shop.fail_next("/wp-json/wc/v3/products/12/", Fault.status(400))
    first, other = connector.push_stock(pushes)
    assert (first.state, states([other])) == (PushState.REJECTED, [(PushState.WRITTEN, 9)])
    missing = {"code": "woocommerce_rest_product_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}
    shop.fail_next("/wp-json/wc/v3/products/12/", Fault(response=SimResponse.of_json(missing, 404)), times=2)
    first, other = connector.push_stock(pushes)
    assert (first.state, states([other])) == (PushState.GONE, [(PushState.WRITTEN, 9)])
    assert connector.read_stock([ref("13", "12"), ref("10")]) == [None, 9]
    assert states(connector.push_stock(pushes)) == [(PushState.WRITTEN, 4), (PushState.WRITTEN, 9)]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(429, retry_after=3), RateLimited),
        (Fault.status(500), Unavailable),
        (Fault.status(500, after_effect=True), Unavailable),
        (Fault.reset(), Unavailable),
        (Fault.truncated(), Unavailable),
        (Fault.html(after_effect=True), Unavailable),
        (Fault(response=SimResponse(403, {}, b"<h1>Too many requests</h1>")), Unavailable),
        (Fault(response=SimResponse.of_json([])), Unavailable),
        (
            Fault(response=SimResponse.of_json({"code": "woocommerce_rest_cannot_edit", "message": "Sorry."}, 401)),
            AuthError,
        ),
    ],
)
def test_a_shop_that_fails_is_written_to_again(
    shop: WooCommerceSimulator, connector: WooCommerceConnector, fault: Fault, error: type[Exception]
) -> None:
    shop.fail_next("/", fault)
    with pytest.raises(error):
        connector.push_stock([push(9, "10"), push(2, "11")])
    assert states(connector.push_stock([push(9, "10"), push(2, "11")])) == [
        (PushState.WRITTEN, 9),
        (PushState.WRITTEN, 2),
    ]
    assert connector.read_stock([ref("10"), ref("11")]) == [9, 2]


def test_a_product_that_the_answer_leaves_out_is_tried_again(
    shop: WooCommerceSimulator, connector: WooCommerceConnector
) -> None:
    half = SimResponse.of_json({"update": [{"id": 10, "manage_stock": True, "stock_quantity": 9}, None]})
    shop.fail_next("/", Fault(response=half))
    outcomes = connector.push_stock([push(9, "10"), push(2, "11")])
    assert outcomes == [
        PushOutcome(PushState.WRITTEN, 9),
        PushOutcome(PushState.RETRY, message="WooCommerce's answer left this product out."),
    ]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ({"code": "woocommerce_rest_cannot_edit", "message": "No.", "data": {"status": 403}}, PushState.REJECTED),
        ({"code": "rest_invalid_param", "message": "No.", "data": {"status": 400}}, PushState.REJECTED),
        ({"code": "db_error", "message": "Deadlock &lt;1213&gt;", "data": {"status": 500}}, PushState.RETRY),
        ({"code": "odd", "message": "No.", "data": 500}, PushState.REJECTED),
        ({}, PushState.REJECTED),
    ],
)
def test_what_the_shop_says_of_an_item_decides_whether_it_is_tried_again(
    shop: WooCommerceSimulator, connector: WooCommerceConnector, error: dict[str, Any], state: PushState
) -> None:
    shop.fail_next("/", Fault(response=SimResponse.of_json({"update": [{"id": 10, "error": error}]})))
    (outcome,) = connector.push_stock([push(9, "10")])
    assert outcome.state is state
    said = {"db_error": "Deadlock <1213>"}.get(error.get("code", ""), error.get("message", ""))
    assert outcome.message == f"WooCommerce refused the quantity: {said}"
