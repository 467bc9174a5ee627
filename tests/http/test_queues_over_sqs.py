"""Queues of Amazon SQS: a real server of messages, one address that may be asked, and every refusal by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from hub.connector import QueueAddress
from hub.errors import AuthError, ConnectorError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Exchange
from hub.sqs import Queue
from hub.testing import Fault, SimRequest, SimResponse, Simulator
from hub.testing.queues import QueueServer, queue_server

ORIGIN = "https://sqs.us-east-1.amazonaws.com"


@pytest.fixture
def server() -> QueueServer:
    return queue_server()


@pytest.fixture
def exchanges() -> list[Exchange]:
    return []


@pytest.fixture
def queue(server: QueueServer, exchanges: list[Exchange], request: pytest.FixtureRequest) -> Iterator[Queue]:
    queue = Queue(server.create(name_of(request)), routes=server.routes(), on_exchange=exchanges.append)
    yield queue
    queue.close()


def name_of(request: pytest.FixtureRequest) -> str:
    return request.node.name.partition("[")[0][:80]


def test_messages_stay_in_the_queue_until_they_are_deleted(
    server: QueueServer, queue: Queue, request: pytest.FixtureRequest
) -> None:
    here = name_of(request)
    server.send(here, *(f"number {number}, für Zoë" for number in range(12)))

    first = queue.receive()
    assert len(first) == 10
    assert server.left(here) == 12
    queue.delete(first)
    assert server.left(here) == 2
    second = queue.receive()
    queue.delete(second)

    assert sorted(each.body.decode() for each in first + second) == sorted(
        f"number {number}, für Zoë" for number in range(12)
    )
    assert {each.deliveries for each in first + second} == {1}
    assert all(abs(datetime.now(UTC) - each.sent_at) < timedelta(minutes=1) for each in first if each.sent_at)
    assert queue.receive() == []


def test_a_message_that_is_not_deleted_comes_again_and_is_counted(
    server: QueueServer, queue: Queue, request: pytest.FixtureRequest
) -> None:
    server.send(name_of(request), "news")
    (seen,) = queue.receive()
    assert queue.receive() == []  # hidden from everybody meanwhile
    server.give_back(name_of(request), [seen.receipt])

    (again,) = queue.receive()

    assert (again.id, again.body, again.deliveries) == (seen.id, b"news", 2)


def test_what_is_logged_has_neither_the_key_nor_a_message_in_it(
    server: QueueServer, queue: Queue, exchanges: list[Exchange], request: pytest.FixtureRequest
) -> None:
    server.send(name_of(request), "Ada Lovelace, Kirchgasse 12")
    queue.delete(queue.receive())

    assert [(each.method, each.url, each.status) for each in exchanges] == [("POST", f"{ORIGIN}/", 200)] * 2
    told = repr(exchanges)
    assert "Lovelace" not in told
    assert "long-and-secret" not in told
    assert {each.request_headers["Authorization"] for each in exchanges} == {"•••"}


def test_a_queue_that_does_not_exist_is_not_found(server: QueueServer) -> None:
    address = QueueAddress(f"{ORIGIN}/123456789012/nowhere", "us-east-1", "key-id", "long-and-secret")
    with pytest.raises(NotFound, match="There is no such queue at sqs"):
        Queue(address, routes=server.routes()).receive()


def test_a_private_address_is_not_called_unless_the_operator_allows_it(server: QueueServer) -> None:
    inside = QueueAddress(f"{server.address}/123456789012/orders", "us-east-1", "key-id", "long-and-secret")
    with pytest.raises(Rejected, match="private address"):
        Queue(inside).receive()
    server.create("orders")
    assert Queue(inside, private_networks=["127.0.0.0/8"]).receive() == []


def test_nothing_of_the_machine_it_runs_on_is_asked_for_or_used(
    server: QueueServer, monkeypatch: pytest.MonkeyPatch, exchanges: list[Exchange]
) -> None:
    for name, value in {
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": "http://evil.example",
        "AWS_ENDPOINT_URL_SQS": "http://evil.example",
        "AWS_SESSION_TOKEN": "somebody-elses",
        "AWS_CONFIG_FILE": "/nowhere",
        "HTTPS_PROXY": "http://evil.example",
    }.items():
        monkeypatch.setenv(name, value)
    queue = Queue(server.create("plain"), routes=server.routes(), on_exchange=exchanges.append)

    assert queue.receive() == []
    assert [each.url for each in exchanges] == [f"{ORIGIN}/"]
    assert "X-Amz-Security-Token" not in exchanges[0].request_headers


# ---------------------------------------------------------------- a queue that is not itself


class OddQueue(Simulator):
    """Something that stands where a queue should, and answers whatever it was told to."""

    origin = ORIGIN

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse.of_json({})


@pytest.fixture
def odd() -> Iterator[OddQueue]:
    with OddQueue() as odd:
        yield odd


def ask(odd: OddQueue) -> None:
    address = QueueAddress(f"{ORIGIN}/123456789012/orders", "us-east-1", "key-id", "long-and-secret")
    Queue(address, routes=odd.routes(), timeout=(1.0, 0.5)).receive()


def refusal(status: int, code: str, message: str = "So it is.") -> Fault:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
    headers: Mapping[str, str] = {"Content-Type": "application/x-amz-json-1.0"}
    return Fault(code, response=SimResponse(status, headers, body))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "QueueDoesNotExist", NotFound),
        (400, "AWS.SimpleQueueService.NonExistentQueue", NotFound),
        (403, "InvalidClientTokenId", AuthError),
        (400, "UnrecognizedClientException", AuthError),
        (403, "SignatureDoesNotMatch", AuthError),
        (400, "AccessDeniedException", AuthError),
        (403, "SomethingNew", AuthError),
        (400, "RequestThrottled", RateLimited),
        (400, "ThrottlingException", RateLimited),
        (429, "SomethingNew", RateLimited),
        (400, "InvalidAddress", Rejected),
        (500, "InternalFailure", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
    ],
)
def test_each_refusal_has_its_own_name(odd: OddQueue, status: int, code: str, error: type[ConnectorError]) -> None:
    odd.fail_next("/", refusal(status, code))
    with pytest.raises(error) as caught:
        ask(odd)
    assert type(caught.value) is error
    assert len(odd.requests) == 1, "never tried again here"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("a page", response=SimResponse(200, {"Content-Type": "text/html"}, b"<h1>Welcome</h1>")),
        Fault("a list", response=SimResponse(200, {"Content-Type": "application/json"}, b"[1]")),
        Fault("messages without receipts", response=SimResponse.of_json({"Messages": [{"Body": "x"}]})),
        Fault("a page of an error", response=SimResponse(502, {"Content-Type": "text/html"}, b"<h1>Bad</h1>")),
        Fault("moved", response=SimResponse(302, {"Location": "http://elsewhere.example/"})),
        Fault.reset(),
        Fault.half_open(),
    ],
    ids=lambda fault: fault.name,
)
def test_an_answer_that_makes_no_sense_is_no_answer(odd: OddQueue, fault: Fault) -> None:
    odd.fail_next("/", fault)
    with pytest.raises(Unavailable):
        ask(odd)
    ask(odd)  # and the next one is understood
