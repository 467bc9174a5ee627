"""Lines for the progress of long work: few, short, and they say nothing but that something is new."""

from __future__ import annotations

from flask import Flask

from hub.jobs import Hub
from hub.web import streams
from hub.web.streams import Lines, events, most_lines
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop

LISTENING = {"Accept": "text/event-stream"}


def test_fewer_than_half_of_the_threads_hold_lines() -> None:
    assert {threads: most_lines(threads) for threads in (1, 2, 3, 4, 8, 9)} == {1: 0, 2: 0, 3: 1, 4: 1, 8: 3, 9: 4}


def test_a_line_is_taken_and_given_back() -> None:
    lines = Lines(1)

    assert lines.take()
    assert not lines.take()
    lines.give_back()
    assert lines.take()
    assert not Lines(0).take()


def test_it_rings_when_there_is_something_new_and_once_more_at_the_end() -> None:
    said = iter(["1 of 3", "1 of 3", "2 of 3", streams.OVER])
    waited: list[float] = []

    heard = b"".join(events(lambda: next(said), waited.append))

    assert heard == (b"retry: 3000\n\ndata: new\n\n: still\n\ndata: new\n\ndata: over\n\nevent: over\ndata:\n\n")
    assert waited == [1.0, 1.0, 1.0]


def test_it_is_closed_after_a_minute() -> None:
    waited: list[float] = []

    heard = b"".join(events(lambda: "still at it", waited.append))

    assert sum(waited) == 60
    assert b"over" not in heard and heard.count(b": still\n\n") == 59


def test_who_finds_no_line_free_is_told_to_ask_later(app: Flask, shop: Shop, owner: Browser, things: Furnished) -> None:
    finished = shop.task(things.connection_id, "check", "done")
    path = f"/connections/{things.connection_id}/tasks/{finished}/line"
    lines: Lines = app.extensions["lines"]
    taken = 0
    while lines.take():
        taken += 1
    assert taken == most_lines(8) == 3

    refused = owner.get(path, headers=LISTENING)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "3")

    lines.give_back()
    heard = owner.get(path, headers=LISTENING)
    assert (heard.status_code, heard.mimetype) == (200, "text/event-stream")
    assert heard.data.endswith(b"data: over\n\nevent: over\ndata:\n\n")
    heard.close()
    assert lines.take(), "the line was not given back when it was closed"
    assert not lines.take()


def test_a_line_is_no_page_and_is_about_a_task_of_ones_own(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    path = f"/connections/{things.connection_id}/tasks/{things.task_id}/line"

    assert owner.get(path).status_code == 406
    elsewhere = f"/connections/{things.connection_id}/tasks/{shop.merchant_id}/line"
    assert owner.get(elsewhere, headers=LISTENING).status_code == 404
