"""A connector that does the worst a plugin can do, where its settings say so; and a worker that works for it.

python -m tests.jobs.wicked DATABASE_URL SECRET_KEY DATA_DIR
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import marshmallow
import structlog

from hub import children, jobs
from hub.config import Settings
from hub.connector import (
    Capabilities,
    EffectResult,
    Fact,
    Page,
    PushOutcome,
    PushState,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
)
from hub.core.model import Account, Listing, Order
from hub.jobs import Hub
from hub.plugins import Registry
from hub.store.database import Database
from hub.store.secrets import KeyRing
from hub.wakeup import Chore, SilentDoorbell, Worker
from tests.jobs.fake_shop import an_order

DEADLINE = 4.0


class Unprintable(BaseException):
    """Neither an Exception nor one that can be shown."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")

    __repr__ = __str__


class Liar:
    """Equals everything, and says what nobody can read."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "x" * 10**8


def _flood_memory() -> NoReturn:
    kept = []
    while True:
        kept.append(bytearray(1024**2))


def _flood_log() -> NoReturn:
    while True:
        print("x" * 1000)


def _raise(error: BaseException) -> NoReturn:
    raise error


MOODS: Mapping[str, Any] = {
    "raises the unprintable": lambda: _raise(Unprintable()),
    "exits": lambda: sys.exit(3),
    "ends its process": lambda: os._exit(3),
    "crashes": lambda: ctypes.string_at(0),
    "hangs": lambda: time.sleep(3600),
    "hangs in C": lambda: ctypes.PyDLL(None).sleep(3600),  # and keeps Python's own lock
    "floods memory": _flood_memory,
    "floods the log": _flood_log,
    "gives None": lambda: None,
    "lies": lambda: [Liar()],
    "gives no end": lambda: itertools.repeat(Page((), "")),
}


class WickedSettings(marshmallow.Schema):
    shop = marshmallow.fields.String(required=True)
    mood = marshmallow.fields.String(load_default="")
    where = marshmallow.fields.String(load_default="")


class Wicked(SalesChannel):
    """A shop with one product, of which it has ten."""

    name = "wicked"
    label = "Wicked"
    settings_schema = WickedSettings
    capabilities: ClassVar[Capabilities] = Capabilities(webhooks=False, compare_and_set=True)
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['shop']}.example",)

    def _or(self, where: str, good: Any) -> Any:
        return MOODS[self.settings["mood"]]() if self.settings["where"] == where else good

    def check(self) -> Account:
        return Account(external_id=self.settings["shop"], name=self.settings["shop"], currency="EUR")

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        return self._or("fetch_orders", iter((Page((), "end"),)))  # type: ignore[no-any-return]

    def fetch_order(self, external_id: str) -> RawRecord:
        raise NotImplementedError

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        yield Page((RawRecord("listing", "mug", b"{}"),), "")

    def fetch_listing(self, external_id: str) -> RawRecord:
        return RawRecord("listing", "mug", b"{}")

    def read_order(self, record: RawRecord) -> Order:
        raise NotImplementedError

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        return [Listing(external_id="mug", sku="MUG", title="Mug")]

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        return self._or("read_webhook", [an_order(json.loads(record.body))])  # type: ignore[no-any-return]

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        return [10 for _ in refs]

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        return self._or("push_stock", [PushOutcome(PushState.WRITTEN, push.quantity) for push in pushes])  # type: ignore[no-any-return]

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        return self._or("subscribe_webhooks", EffectResult("done"))  # type: ignore[no-any-return]


def main(database_url: str, key: str, data_dir: str) -> None:
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    children.MOST_MEMORY = 200 * 1024**2
    database = Database(database_url)
    settings = Settings(data_dir=Path(data_dir), database_url=database_url, secret_keys=(key,))
    hub = Hub(settings, database, KeyRing([key]), Registry({"wicked": Wicked}), SilentDoorbell())
    Worker(
        database,
        drain=partial(jobs.drain, hub, budget_seconds=1.0),
        due=partial(jobs.due, hub),
        broke_down=partial(jobs.broke_down, hub),
        lanes=jobs.LANES,
        chores=[Chore("sweep", 2.0, partial(jobs.sweep, hub))],
        deadline_seconds=DEADLINE,
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
