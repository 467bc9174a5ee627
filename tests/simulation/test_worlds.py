"""A few worlds of the simulation; `make simulate` lives through ten thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.store import inbox, marking
from simulation.world import SHAPES, Broken, Builder, live

SHAPES_HERE = (1, 2)
SEEDS = [shape + SHAPES * number for shape in SHAPES_HERE for number in range(5)]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """The towns of all worlds here, built with every guard in its place."""
    builder = Builder(tmp_path_factory.mktemp("simulation"))
    for shape in SHAPES_HERE:
        builder.town(shape)
    yield builder
    builder.database.close()


def test_after_the_storm_everything_is_as_it_should_be(builder: Builder) -> None:
    happened = Counter[str]()

    for seed in SEEDS:
        happened += live(builder, seed).counts

    # They were not idle.
    assert min(happened[what] for what in ("drain", "fault", "kill", "order", "paper", "webhook")) > 1


def test_a_seed_is_the_same_world_each_time(builder: Builder, tmp_path: Path) -> None:
    first = live(builder, SEEDS[1])
    other = Builder(tmp_path)

    again = live(other, SEEDS[1])

    other.database.close()
    assert again.trace == first.trace


def forgets_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of several SKUs has only the listings of one published."""
    remember = marking.mark_dirty

    def forget(connection: Any, merchant_id: Any, causes: Any, **more: Any) -> Any:
        return remember(connection, merchant_id, dict(list(causes.items())[:1]), **more)

    monkeypatch.setattr(marking, "mark_dirty", forget)


def forgets_the_rest_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each page that is fetched only the first record is kept."""
    store = inbox.store_page

    def lose(*here: Any, **more: Any) -> int:
        *rest, records = here
        return store(*rest, records[:1], **more)

    monkeypatch.setattr(inbox, "store_page", lose)


@pytest.mark.parametrize("without", [forgets_a_listing, forgets_the_rest_of_a_page], ids=lambda each: each.__name__)
def test_worlds_show_that_a_guard_is_missing(builder: Builder, monkeypatch: pytest.MonkeyPatch, without: Any) -> None:
    without(monkeypatch)

    with pytest.raises(Broken):
        for number in range(20):
            live(builder, 2 + SHAPES * number)
