"""The base of simulated vendors: what it serves, how it fails on demand, and how its webhooks go out."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from hub.testing.simulator import (
    Attempt,
    DeliveryFault,
    Fault,
    Sale,
    ShopSimulator,
    SimRequest,
    SimResponse,
    Simulator,
    StockWrite,
)


class Counter(Simulator):
    """A vendor with one effect: POST /count adds one."""

    origin = "https://counter.example"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.count = 0
        self.told: list[tuple[int | None, bool]] = []

    def answer(self, request: SimRequest) -> SimResponse:
        if request.path == "/fail":
            raise LookupError("a mistake in the simulator")
        if request.method == "POST":
            counted = self.count
            time.sleep(0)  # invites another thread in: only the lock keeps it out
            self.count = counted + 1
        return SimResponse.of_json({"count": self.count, "price": Decimal("1.50"), "at": self.now().isoformat()})

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        self.told.append((attempt.status, final))


@pytest.fixture
def counter() -> Iterator[Counter]:
    with Counter() as counter:
        yield counter


def post(counter: Counter, path: str = "/count") -> requests.Response:
    with requests.Session() as session:
        return session.post(counter.serve() + path, timeout=5)


# ---------------------------------------------------------------- in process


def test_answers_in_process_without_a_server() -> None:
    counter = Counter(now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
    response = counter.handle(SimRequest("POST", "/count"))
    assert (response.status, response.broken) == (200, "")
    assert response.json() == {"count": 1, "price": Decimal("1.5"), "at": "2026-11-22T00:00:00+00:00"}


def test_a_request_tells_its_parts() -> None:
    request = SimRequest("GET", "/orders", (("page", "1"), ("page", "2"), ("q", "")), {"x-a": "b"}, b'{"n": 1.5}')
    assert request.parameter("page") == "2"
    assert request.parameter("q", "none") == ""
    assert request.parameter("missing", "none") == "none"
    assert request.json() == {"n": Decimal("1.5")}


def test_keeps_a_log_of_requests() -> None:
    counter = Counter()
    first, second = SimRequest("GET", "/a"), SimRequest("POST", "/b", body=b"x")
    counter.handle(first)
    counter.handle(second)
    assert list(counter.requests) == [first, second]


# ---------------------------------------------------------------- serving


def test_serves_over_http_and_keeps_connections(counter: Counter) -> None:
    address = urlsplit(counter.serve())
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=5)
    for n in (1, 2, 3):
        connection.request("POST", "/count?a=1&a=2&b=", b"\x00\xff", {"X-Thing": "Yes"})
        if n == 1:
            kept = connection.sock
        assert b'"count": %d' % n in connection.getresponse().read()
    assert connection.sock is kept
    connection.close()

    request = counter.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/count", b"\x00\xff")
    assert request.query == (("a", "1"), ("a", "2"), ("b", ""))
    assert request.headers["x-thing"] == "Yes"


def test_serves_on_this_machine_only_and_always_at_the_same_address(counter: Counter) -> None:
    assert counter.serve().startswith("http://127.0.0.1:")
    assert counter.serve() == counter.serve()


def test_serves_every_method(counter: Counter) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        assert requests.request(method, counter.serve() + "/", timeout=5).status_code == 200
    assert [request.method for request in counter.requests] == [
        "GET",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "HEAD",
    ]


def test_many_clients_at_once_see_one_state(counter: Counter) -> None:
    counter.serve()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: post(counter), range(200)))
    assert counter.count == 200


def test_a_mistake_in_a_simulator_is_told(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    answer = post(counter, "/fail")
    assert (answer.status_code, answer.json()) == (
        500,
        {"message": "simulator: LookupError('a mistake in the simulator')"},
    )
    assert caplog.messages == ["The simulator failed to answer POST /fail."]
    assert post(counter).json()["count"] == 1


def test_a_body_without_a_length_is_refused(counter: Counter) -> None:
    answer = requests.post(counter.serve() + "/count", data=iter([b"a", b"b"]), timeout=5)
    assert answer.status_code == 411
    assert counter.count == 0


def test_a_client_that_goes_away_harms_nobody(counter: Counter) -> None:
    address = urlsplit(counter.serve())
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=5)
    connection.putrequest("POST", "/count")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"only this")
    connection.close()
    assert post(counter).json()["count"] >= 1


def test_closing_ends_connections_that_are_kept_open(counter: Counter) -> None:
    address = urlsplit(counter.serve())
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=5)
    connection.request("GET", "/")
    connection.getresponse().read()
    counter.close()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection.request("GET", "/")
        connection.getresponse()
    connection.close()
    with pytest.raises(ConnectionError):
        http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=5).connect()


# ---------------------------------------------------------------- faults


def test_a_status_before_the_effect_keeps_it_from_happening(counter: Counter) -> None:
    counter.fail_next("/count", Fault.status(429, retry_after=2))
    refused = post(counter)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert refused.json() == {"message": "simulated 429"}
    assert counter.count == 0
    assert post(counter).json()["count"] == 1


def test_a_status_after_the_effect_hides_it(counter: Counter) -> None:
    counter.fail_next("/count", Fault.status(500, after_effect=True))
    failed = post(counter)
    assert (failed.status_code, "Retry-After" in failed.headers) == (500, False)
    assert counter.count == 1


@pytest.mark.parametrize("after_effect", [True, False])
def test_a_reset_comes_before_or_after_the_effect(counter: Counter, after_effect: bool) -> None:
    counter.fail_next("/count", Fault.reset(after_effect=after_effect))
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        post(counter)
    assert counter.count == after_effect
    assert post(counter).status_code == 200


def test_a_truncated_answer_ends_in_its_body(counter: Counter) -> None:
    counter.fail_next("/count", Fault.truncated())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(counter)
    assert counter.count == 1


@pytest.mark.parametrize("after_effect", [True, False])
def test_a_page_comes_instead_of_the_answer(counter: Counter, after_effect: bool) -> None:
    counter.fail_next("/count", Fault.html(after_effect=after_effect))
    page = post(counter)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert counter.count == after_effect


def test_a_slow_answer_comes_after_the_effect_and_holds_up_nobody_else(counter: Counter) -> None:
    counter.serve()
    counter.fail_next("/count", Fault.slow(3600))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(post, counter)
        while counter.count == 0:
            time.sleep(0.005)
        assert post(counter, "/other").json()["count"] == 2
        assert not slow.done()
        counter.close()


def test_a_slow_answer_comes_in_the_end(counter: Counter) -> None:
    counter.fail_next("/count", Fault.slow(0.05))
    started = time.monotonic()
    assert post(counter).json()["count"] == 1
    assert time.monotonic() - started >= 0.05


def test_closing_ends_the_wait_for_a_slow_answer(counter: Counter) -> None:
    counter.fail_next("/count", Fault.slow(3600))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(counter.handle, SimRequest("POST", "/count"))
        while counter.count == 0:
            time.sleep(0.005)
        counter.close()
        assert slow.result(timeout=60).status == 200


def test_a_fault_waits_for_its_path_and_counts_its_times(counter: Counter) -> None:
    counter.fail_next("/count", Fault.status(500), times=2)
    assert post(counter, "/other").status_code == 200
    assert [post(counter).status_code for _ in range(3)] == [500, 500, 200]


def test_faults_happen_in_the_order_they_were_planned(counter: Counter) -> None:
    counter.fail_next("/", Fault.status(503))
    counter.fail_next("/count", Fault.status(500))
    assert [post(counter).status_code for _ in range(3)] == [503, 500, 200]


def test_in_process_a_broken_connection_is_told_by_the_answer(counter: Counter) -> None:
    counter.fail_next("/", Fault.reset())
    counter.fail_next("/", Fault.truncated())
    assert counter.handle(SimRequest("POST", "/count")).broken == "reset"
    assert counter.handle(SimRequest("POST", "/count")).broken == "truncated"
    assert counter.count == 2


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    def statuses(seed: int) -> list[int]:
        counter = Counter(seed=seed)
        counter.fail_randomly(0.3, [Fault.status(429), Fault.status(500)])
        return [counter.handle(SimRequest("POST", "/count")).status for _ in range(100)]

    assert statuses(7) == statuses(7)
    assert statuses(7) != statuses(8)
    assert 15 < sum(status != 200 for status in statuses(7)) < 45


def test_random_faults_can_be_stopped(counter: Counter) -> None:
    counter.fail_randomly(1.0, [Fault.status(500)])
    assert counter.handle(SimRequest("POST", "/count")).status == 500
    counter.fail_randomly(0.0, [])
    assert counter.handle(SimRequest("POST", "/count")).status == 200


# ---------------------------------------------------------------- webhooks


class Receiver:
    """Where webhooks arrive; answers with the next status, the last one again and again."""

    def __init__(self, *statuses: int) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        left = list(statuses)
        received = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.times.append(time.monotonic())
                received.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                received.headers.append(dict(self.headers))
                status = left.pop(0) if len(left) > 1 else left[0]
                if status == 0:
                    return  # hang up without an answer
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_a_webhook_arrives_with_its_bytes_and_headers(counter: Counter) -> None:
    with Receiver(200) as receiver:
        counter.deliver(receiver.address, {"X-Topic": "orders/create", "Content-Type": "application/json"}, b'{"id":1}')
        assert counter.wait_for_deliveries()
    assert receiver.bodies == [b'{"id":1}']
    assert receiver.headers[0]["X-Topic"] == "orders/create"
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert counter.told == [(200, True)]
    (attempt,) = counter.attempts
    assert (attempt.address, attempt.body, attempt.number, attempt.status) == (receiver.address, b'{"id":1}', 1, 200)


def test_a_receiver_that_refuses_is_asked_again_by_the_vendors_rule(counter: Counter) -> None:
    counter.webhook_retries = (0.05, 0.1)
    with Receiver(500) as receiver:
        counter.deliver(receiver.address, {}, b"1")
        assert counter.wait_for_deliveries()
    assert receiver.bodies == [b"1", b"1", b"1"]
    assert counter.told == [(500, False), (500, False), (500, True)]
    assert [attempt.number for attempt in counter.attempts] == [1, 2, 3]
    assert receiver.times[1] - receiver.times[0] >= 0.05
    assert receiver.times[2] - receiver.times[1] >= 0.1


def test_a_vendor_without_a_rule_never_sends_again(counter: Counter) -> None:
    with Receiver(500) as receiver:
        counter.deliver(receiver.address, {}, b"1")
        assert counter.wait_for_deliveries()
    assert receiver.bodies == [b"1"]
    assert counter.told == [(500, True)]


@pytest.mark.parametrize(("status", "seen"), [(0, None), (301, 301), (401, 401)])
def test_only_2xx_ends_the_attempts_and_redirects_are_not_followed(
    counter: Counter, status: int, seen: int | None
) -> None:
    counter.webhook_retries = (0.01, 0.01)
    with Receiver(status, 204) as receiver:
        counter.deliver(receiver.address, {}, b"1")
        assert counter.wait_for_deliveries()
    assert counter.told == [(seen, False), (204, True)]
    assert len(receiver.bodies) == 2


def test_a_receiver_that_is_down_is_asked_again(counter: Counter) -> None:
    with Receiver(200) as receiver:
        address = receiver.address
    counter.webhook_retries = (0.01,)
    counter.deliver(address, {}, b"1")
    assert counter.wait_for_deliveries()
    assert counter.told == [(None, False), (None, True)]


def test_a_slow_receiver_does_not_hold_up_sales(counter: Counter) -> None:
    going = threading.Event()

    class Slow(Counter):
        def answer(self, request: SimRequest) -> SimResponse:
            going.wait(5)
            return super().answer(request)

    with Slow() as receiver:
        address = receiver.serve() + "/count"
        for _ in range(20):
            counter.deliver(address, {}, b"1")
            assert counter.handle(SimRequest("POST", "/count")).status == 200
        assert not counter.wait_for_deliveries(timeout=0.05)
        assert list(counter.attempts) == []
        going.set()
        assert counter.wait_for_deliveries()
    assert counter.told == [(200, True)] * 20


def test_a_webhook_can_be_lost(counter: Counter) -> None:
    with Receiver(200) as receiver:
        counter.disturb_next(DeliveryFault(copies=0))
        counter.deliver(receiver.address, {}, b"lost")
        counter.deliver(receiver.address, {}, b"sent")
        assert counter.wait_for_deliveries()
    assert receiver.bodies == [b"sent"]


def test_a_webhook_can_arrive_several_times(counter: Counter) -> None:
    with Receiver(200) as receiver:
        counter.disturb_next(DeliveryFault(copies=3), times=2)
        for body in (b"1", b"2", b"3"):
            counter.deliver(receiver.address, {}, body)
        assert counter.wait_for_deliveries()
    assert sorted(receiver.bodies) == [b"1", b"1", b"1", b"2", b"2", b"2", b"3"]


def test_a_webhook_can_be_overtaken(counter: Counter) -> None:
    with Receiver(200) as receiver:
        counter.disturb_next(DeliveryFault(delay=0.6))
        counter.deliver(receiver.address, {}, b"first")
        counter.deliver(receiver.address, {}, b"second")
        assert counter.wait_for_deliveries()
    assert receiver.bodies == [b"second", b"first"]


def test_webhooks_can_be_disturbed_at_random_and_by_the_seed() -> None:
    def arrived(seed: int) -> set[bytes]:
        with Counter(seed=seed) as counter, Receiver(200) as receiver:
            counter.disturb_randomly(0.5, [DeliveryFault(copies=0)])
            for n in range(40):
                counter.deliver(receiver.address, {}, b"%d" % n)
            assert counter.wait_for_deliveries()
            return set(receiver.bodies)

    first = arrived(7)
    assert 8 < len(first) < 32
    assert arrived(7) == first
    assert arrived(8) != first


def test_closing_drops_what_was_not_yet_sent(counter: Counter) -> None:
    with Receiver(200) as receiver:
        counter.disturb_next(DeliveryFault(delay=60))
        counter.deliver(receiver.address, {}, b"late")
        counter.close()
        counter.deliver(receiver.address, {}, b"too late")
        assert counter.wait_for_deliveries()
    assert receiver.bodies == []


# ---------------------------------------------------------------- shops


class Kiosk(ShopSimulator):
    """The smallest shop there is."""

    origin = "https://kiosk.example"

    def __init__(self) -> None:
        super().__init__()
        self._stock: dict[str, int] = {}
        self._orders: set[str] = set()

    def answer(self, request: SimRequest) -> SimResponse:
        sku, quantity = request.json()["sku"], request.json()["quantity"]
        self._stock[sku] = quantity
        self.wrote_stock(sku, quantity)
        return SimResponse()

    def settings(self) -> dict[str, str]:
        return {"store_url": self.origin}

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        self._stock[sku] = stock
        return f"listing-{sku}"

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        if any(self._stock[sku] < quantity for sku, quantity in items):
            return None
        for sku, quantity in items:
            self._stock[sku] -= quantity
        self._orders.add(f"order-{len(self._orders) + 1}")
        return Sale(f"order-{len(self._orders)}", tuple(items), time.monotonic())

    def stock(self) -> dict[str, int]:
        return dict(self._stock)

    def set_stock(self, sku: str, quantity: int) -> None:
        self._stock[sku] = quantity

    def orders(self) -> set[str]:
        return set(self._orders)

    def cancel(self, order: str) -> None:
        self._orders.discard(order)

    def fulfill(self, order: str) -> None: ...


def test_a_shop_notes_every_stock_write_of_its_api_and_nothing_else() -> None:
    shop = Kiosk()
    shop.add_product("MUG", "Mug", 5, "12.50")
    shop.set_stock("MUG", 9)
    before = time.monotonic()
    shop.handle(SimRequest("PUT", "/stock", body=b'{"sku": "MUG", "quantity": 3}'))

    (write,) = shop.stock_writes
    assert write == StockWrite(write.at, "MUG", 3)
    assert before <= write.at <= time.monotonic()
