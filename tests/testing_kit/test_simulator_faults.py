"""What can go wrong at a simulated vendor: half-open connections, odd answers, skewed clocks, held webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from hub.testing import DeliveryFault, Fault, SimRequest, SimResponse, Simulator

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOOK = "https://hub.example/hook"


class Pages(Simulator):
    """A vendor that lists three pages, and tells of every change."""

    origin = "https://pages.example"

    def __init__(self, **options: Any) -> None:
        super().__init__(now=lambda: NOON, **options)
        self.changes = 0

    def answer(self, request: SimRequest) -> SimResponse:
        number = int(request.parameter("page", "1"))
        return SimResponse.of_json({"page": number, "next": number + 1, "changes": self.changes})

    def change(self) -> None:
        with self.lock:
            self.changes += 1
            self.deliver(HOOK, {}, str(self.changes).encode())


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages(seed=5) as pages:
        yield pages


def page(number: int, **headers: str) -> SimRequest:
    return SimRequest("GET", "/list", (("page", str(number)),), headers)


def test_a_half_open_connection_never_answers_and_then_the_next_one_does(pages: Pages) -> None:
    pages.fail_next("/list", Fault.half_open())
    with requests.Session() as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(f"{pages.serve()}/list", timeout=(1, 0.1))
        assert session.get(f"{pages.serve()}/list", timeout=5).json()["page"] == 1
    assert pages.trace[0] == "GET /list -> 200 (half open after the effect)"


def test_a_dripping_answer_comes_in_pieces_and_whole(pages: Pages) -> None:
    pages.fail_next("/list", Fault.dripping(0.2))
    began = time.monotonic()

    with requests.Session() as session:
        answer = session.get(f"{pages.serve()}/list", timeout=5)

    assert answer.json() == {"page": 1, "next": 2, "changes": 0}
    assert time.monotonic() - began >= 0.15


def test_the_page_before_can_come_again_with_its_cursor(pages: Pages) -> None:
    pages.fail_next("/list", Fault.repeated(), after=2)

    told = [pages.handle(page(number)).json()["page"] for number in (1, 2, 3, 3)]

    assert told == [1, 2, 2, 3]


def test_where_there_was_no_page_before_the_right_one_comes(pages: Pages) -> None:
    pages.fail_next("/list", Fault.repeated())

    assert pages.handle(page(1)).json()["page"] == 1


def test_something_can_change_while_an_answer_is_on_its_way(pages: Pages) -> None:
    pages.fail_next("/list", Fault.changing(pages.change))

    assert pages.handle(page(1)).json()["changes"] == 0
    assert pages.handle(page(2)).json()["changes"] == 1


def test_an_error_can_come_with_status_200(pages: Pages) -> None:
    pages.fail_next("/list", Fault.error_inside())

    answer = pages.handle(page(1))

    assert (answer.status, answer.json()) == (200, {"errors": [{"message": "simulated error"}]})


def test_a_vendor_can_show_the_whole_request_in_its_error(pages: Pages) -> None:
    pages.fail_next("/list", Fault.echo(503))

    answer = pages.handle(page(1, authorization="Bearer abc"))

    assert answer.status == 503
    assert answer.body == b"GET /list?page=1\nauthorization: Bearer abc\n\n"


def test_a_fault_can_wait_until_others_have_passed(pages: Pages) -> None:
    pages.fail_next("/list", Fault.status(401), times=2, after=1)

    assert [pages.handle(page(number)).status for number in (1, 2, 3, 4)] == [200, 401, 401, 200]


def test_healing_forgets_whatever_was_planned(pages: Pages) -> None:
    pages.fail_next("/list", Fault.status(500), times=9)
    pages.fail_randomly(1.0, [Fault.status(500)])
    pages.heal()

    assert pages.handle(page(1)).status == 200


def test_a_clock_can_run_ahead_and_behind(pages: Pages) -> None:
    pages.skew(3600)
    assert pages.now() == datetime(2026, 3, 2, 13, 0, tzinfo=UTC)
    pages.skew(-7200)
    assert pages.now() == datetime(2026, 3, 2, 11, 0, tzinfo=UTC)


def luck(seed: int) -> list[str]:
    """The trace of forty requests to a vendor with this seed."""
    with Pages(seed=seed) as pages:
        pages.fail_randomly(0.5, [Fault.status(500), Fault.reset(), Fault.repeated(), Fault.html()])
        for number in range(40):
            pages.handle(page(number))
        return list(pages.trace)


def test_the_same_seed_leaves_the_same_trace() -> None:
    first = luck(11)

    assert luck(11) == first
    assert luck(12) != first
    assert {"GET /list -> 200", "GET /list -> 500 (500)", "GET /list -> 200 (repeated)"} <= set(first)


# ---------------------------------------------------------------- webhooks that are held


def taken(pages: Pages) -> list[str]:
    return [letter.body.decode() for letter in pages.take_webhooks()]


def test_held_webhooks_wait_to_be_taken(pages: Pages) -> None:
    pages.hold_webhooks()
    for _ in range(3):
        pages.change()

    assert taken(pages) == ["1", "2", "3"]
    assert taken(pages) == []
    assert pages.wait_for_deliveries()
    assert not pages.attempts


@pytest.mark.parametrize(
    ("fault", "arriving"),
    [
        (DeliveryFault(copies=0), ["2", "3"]),
        (DeliveryFault(copies=2), ["1", "1", "2", "3"]),
        (DeliveryFault(delay=5.0), ["2", "3", "1"]),
        (DeliveryFault(behind=1), ["2", "1", "3"]),
        (DeliveryFault(behind=2, copies=2), ["2", "3", "1", "1"]),
        (DeliveryFault(behind=9), ["2", "3", "1"]),
    ],
)
def test_held_webhooks_arrive_as_they_were_disturbed(pages: Pages, fault: DeliveryFault, arriving: list[str]) -> None:
    pages.hold_webhooks()
    pages.disturb_next(fault)
    for _ in range(3):
        pages.change()

    assert taken(pages) == arriving


def test_the_simulator_hears_how_a_taken_webhook_was_answered(pages: Pages) -> None:
    pages.hold_webhooks()
    pages.change()
    (letter,) = pages.take_webhooks()
    pages.answered(letter, 503)

    (attempt,) = pages.attempts
    assert (attempt.address, attempt.body, attempt.status, attempt.number) == (HOOK, b"1", 503, 1)
    assert json.loads(attempt.body) == pages.changes
