"""Routing: how many orders are decided about in a second, with few and with many locations."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle

from bench.measure import Figures, Result, Say, in_turns
from hub.core.geo import Point, kilometers
from hub.core.routing import Line, Place, Request, RoutingPolicy, decide

LOCATIONS = (5, 50, 500)
_SKUS = [f"sku-{number}" for number in range(10)]
_ORDERS = 100


def decisions(seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """How many orders of three lines are decided about in a second, in one process."""
    for number in LOCATIONS:
        requests = _requests(number)
        figures = Figures()
        in_turns(
            repeats,
            figures,
            partial(_hub, requests, seconds / 3, say),
            partial(_floor, requests, seconds / 3, say),
        )
        yield from figures.results(
            f"routing decisions, {number} locations",
            "decisions/s",
            "nothing but the distance of each location from the customer",
            "none",
        )


def _hub(requests: list[Request], seconds: float, say: Say) -> dict[str, float]:
    policy = RoutingPolicy()
    began, done = time.perf_counter(), 0
    for request in cycle(requests):
        decide(request, policy)
        done += 1
        if done % 20 == 0 and time.perf_counter() - began > seconds:
            break
    rate = done / (time.perf_counter() - began)
    say(f"  the hub, {len(requests[0].places)} locations: {rate:.0f} decisions/s")
    return {"": rate}


def _floor(requests: list[Request], seconds: float, say: Say) -> dict[str, float]:
    began, done = time.perf_counter(), 0
    for request in cycle(requests):
        assert request.point
        for place in request.places:
            assert place.point
            kilometers(place.point, request.point)
        done += 1
        if done % 20 == 0 and time.perf_counter() - began > seconds:
            break
    rate = done / (time.perf_counter() - began)
    say(f"  distances alone, {len(requests[0].places)} locations: {rate:.0f} orders/s")
    return {"": rate}


def _requests(locations: int) -> list[Request]:
    """Orders from all over Europe; one location in four has all of a SKU, and some orders have to be split."""
    chance = random.Random(7)

    def somewhere() -> Point:
        return Point(chance.uniform(40, 60), chance.uniform(-5, 20))

    places = tuple(
        Place(
            id=str(number),
            name=f"Location {number:03}",
            country="DE",
            point=somewhere(),
            stock={sku: chance.randrange(4) for sku in _SKUS},
        )
        for number in range(locations)
    )
    return [
        Request(
            number=str(number),
            country="DE",
            point=somewhere(),
            places=places,
            lines=tuple(
                Line(id=sku, sku=sku, units=chance.randrange(1, 3), parts={sku: 1}) for sku in chance.sample(_SKUS, 3)
            ),
        )
        for number in range(_ORDERS)
    ]
