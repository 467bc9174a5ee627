"""One world: drawn from a seed, lived through step by step, brought to rest, and looked at from all sides."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

import time_machine
from sqlalchemy import event, insert, select

from hub import jobs
from hub.config import Settings
from hub.connector import Delivery, Webhook
from hub.core.allocation import QueueOrder, StockPolicy
from hub.core.stock import Condition
from hub.errors import BadInput, Conflict, RateLimited, Unavailable
from hub.jobs import Hub, shift
from hub.plugins import Registry
from hub.store import audit, connections, inbox, kits, matching, policies, publications, selling, stock, warehouse
from hub.store import database as database_module
from hub.store import locations as places
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.locations import Location
from hub.store.secrets import KeyRing, new_key
from simulation.shops import SHOPS, CarefulChannel, PlainChannel, Shop, open_units
from tests.store.stock_as_stored import stored

OWNER = "owner@example.test"
NOON = datetime(2030, 3, 2, 12, 0, tzinfo=UTC)
SHAPES = 12  # towns that are built once and copied for each seed
SKUS = ("MUG", "TEE", "CAP")
KITS = {"SET": {"MUG": 1, "TEE": 2}, "SIX": {"MUG": 3}, "ALL": {"SET": 1, "CAP": 1}}
# How long a world is waited for: until it has come to rest, but not until the hourly look for drift repairs it.
_PATIENCE = (61, 61, 61, 125, 300, 600)

Answer = TypeVar("Answer")


class Killed(BaseException):
    """The worker is no more. Nothing in the hub may catch it, and its leases run out by the clock."""


class Broken(AssertionError):
    """The world came to rest in a state that it must never be in."""


class Clock:
    """The time of this process: it stands still until it is moved."""

    def __init__(self) -> None:
        self._traveller: Any = None
        self.slept: Callable[[float], None] = self.pass_time

    @contextmanager
    def running(self) -> Iterator[None]:
        """Under this clock, from noon on."""
        with (
            time_machine.travel(NOON, tick=False) as self._traveller,
            patch.object(time, "sleep", self._sleep),
            patch.object(time, "monotonic", self._monotonic),
        ):
            yield

    def pass_time(self, seconds: float) -> None:
        # Rounded up: whoever sleeps for less than a microsecond wakes up later than he went to bed.
        self._traveller.shift(timedelta(microseconds=math.ceil(seconds * 1e6)))

    def _sleep(self, seconds: float) -> None:
        self.slept(seconds)

    @staticmethod
    def _monotonic() -> float:
        return (datetime.now(UTC) - NOON).total_seconds()


@dataclass
class Town:
    """What a world begins with: shops that are connected, counted and live. Copied for each seed."""

    merchant: UUID
    settings: Settings
    shops: dict[UUID, Shop]
    skus: dict[str, UUID]
    locations: list[UUID]
    file: Path
    at: datetime


class Rings:
    """Which lanes were rung for; in a storm nobody listens."""

    def __init__(self) -> None:
        self.heard: dict[tuple[UUID, UUID, str], None] = {}

    def ring(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        """Remember it; nobody is woken."""
        self.heard[merchant_id, connection_id, lane] = None


class Builder:
    """Builds towns, and the hub that all worlds of this process share, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = KeyRing([new_key()])
        self._towns: dict[int, Town] = {}
        self._file = folder / "hub.db"
        self._empty = folder / "empty.db"
        template = Database(f"sqlite:///{self._empty}")
        t.metadata.create_all(template.engine)
        template.close()
        # One engine for all of them, so that each statement is compiled once.
        self.database = Database(f"sqlite:///{self._file}")
        self.clock = Clock()

    def hub(self, settings: Settings) -> Hub:
        registry = Registry({each.name: each for each in (PlainChannel, CarefulChannel)})
        return Hub(settings, self.database, self._keys, registry, Rings())

    def put(self, file: Path) -> None:
        """Let the hub's database be a copy of this one."""
        self.database.close()
        for suffix in ("-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(file, self._file)

    def town(self, shape: int) -> Town:
        if shape not in self._towns:
            self._towns[shape] = self._build(shape)
        return self._towns[shape]

    def _build(self, shape: int) -> Town:
        self.put(self._empty)
        with repeatable(self.clock, f"town {shape}") as chance:
            town = _Building(self, chance, shape).town()
        self.database.close()
        town.file = self._folder / f"town-{shape}.db"
        shutil.copyfile(self._file, town.file)
        return town


@contextmanager
def repeatable(clock: Clock, seed: str) -> Iterator[random.Random]:
    """Everything that is drawn inside is drawn from this seed, by us and by the hub: chance, ids, jitter and time."""
    chance = random.Random(seed)
    dice = random.Random(f"the hub's own for {seed}")
    random.seed(f"ids for {seed}")
    with (
        clock.running(),
        patch.object(database_module, "_last_id", (0, 0)),
        patch.object(type(shift.jitter), "random", lambda _self: dice.random()),
    ):
        yield chance


class _Wire:
    """A wire on which nothing happens."""

    def call(self, shop: Shop, what: str, answer: Callable[[], Answer]) -> Answer:
        return answer()

    def spoiled(self, what: str) -> bool:
        return False


class _Building:
    """Builds one town the way a merchant does: connect, match, count, go live."""

    def __init__(self, builder: Builder, chance: random.Random, shape: int) -> None:
        self._chance = chance
        self._builder = builder
        told = chance.random() < 0.7
        self._settings = Settings(
            data_dir=Path("/nowhere"),
            database_url="",
            secret_keys=(),
            public_url="https://hub.example" if told else None,
        )
        self._hub = builder.hub(self._settings)
        self._shops = [self._shop(number) for number in range(chance.choice((1, 2, 2, 2, 3)))]

    def _shop(self, number: int) -> Shop:
        chance = self._chance
        shop = Shop(
            f"shop-{number}",
            places=chance.choice((("",), ("",), ("here", "there"))),
            compare_and_set=chance.random() < 0.5,
            webhooks=self._settings.public_url is not None and chance.random() < 0.8,
            tells_stock=chance.random() < 0.3,
            partial_webhooks=chance.random() < 0.2,
        )
        goods = [*SKUS, *chance.sample(sorted(KITS), chance.randint(0, 2))]
        for listing in goods:
            if listing == "MUG" or chance.random() < 0.8:
                for place in shop.places:
                    shop.stock[listing.lower(), place] = 0
        return shop

    def town(self) -> Town:
        chance, database = self._chance, self._builder.database
        merchant = new_id()
        with database.write() as connection:
            at = database.now(connection)
            connection.execute(insert(t.merchant).values(id=merchant, name="Corner Shop", created_at=at))
        shops: dict[UUID, Shop] = {}
        for shop in self._shops:
            SHOPS[shop.name] = (shop, _Wire())
            connector = CarefulChannel if shop.compare_and_set else PlainChannel
            settings = {"shop": shop.name}
            connected, _ = connections.connect(
                database, self._hub.keyring, merchant, connector, shop.name, settings, OWNER
            )
            shops[connected] = shop
        self._work()
        for connected in shops:
            matching.accept_suggestions(database, merchant, connected, None, OWNER)
        with database.read() as connection:
            skus = {row.code: row.id for row in connection.execute(select(t.sku.c.code, t.sku.c.id))}
            (main,) = connection.execute(select(t.location.c.id)).scalars()
        for code in {*SKUS, *KITS} - skus.keys():
            with database.write() as connection:
                skus[code] = new_id()
                connection.execute(
                    insert(t.sku).values(merchant_id=merchant, id=skus[code], code=code, title=code, created_at=at)
                )
        locations = [main, places.save(database, merchant, None, Location(name="Barn"), OWNER)]
        for connected, shop in shops.items():
            if len(shop.places) > 1:
                connections.bind_location(database, merchant, connected, shop.places[1], locations[1], OWNER)
            elif chance.random() < 0.4:
                connections.pool_locations(database, merchant, connected, "", locations, OWNER)
        for code in KITS:
            parts = {skus[part]: units for part, units in KITS[code].items()}
            kits.define(database, merchant, skus[code], parts, OWNER)
        for code in SKUS:
            for location in locations[: 1 if chance.random() < 0.3 else 2]:
                units = chance.randint(0, 9)
                warehouse.adjust(database, merchant, skus[code], location, units, "opening", OWNER, str(new_id()))
        for connected in shops:
            connections.go_live(database, merchant, connected, OWNER)
        self._work()
        return Town(merchant, self._settings, shops, skus, locations, Path(), datetime.now(UTC))

    def _work(self) -> None:
        for _ in range(50):
            if not (waiting := jobs.due(self._hub)):
                return
            for merchant_id, connection_id, lane in waiting:
                jobs.drain(self._hub, merchant_id, connection_id, lane)
        raise Broken("the town is not ready")


# ---------------------------------------------------------------- a life


@dataclass
class Letter:
    """A webhook on its way."""

    connection_id: UUID
    topic: str
    body: bytes
    key: str
    due: float


@dataclass
class World:
    """A copy of a town, and what becomes of it."""

    builder: Builder
    seed: int
    chance: random.Random
    town: Town
    hub: Hub
    shops: dict[UUID, Shop]
    trace: list[str] = field(default_factory=list)
    post: list[Letter] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    transfers: list[tuple[UUID, UUID, int]] = field(default_factory=list)
    stormy: bool = True
    depth: int = 0  # of workers that go on while another one waits for a vendor
    doomed: bool = False  # the worker dies before its next transaction

    @property
    def database(self) -> Database:
        return self.hub.database

    @property
    def merchant(self) -> UUID:
        return self.town.merchant

    def say(self, what: str) -> None:
        at = (datetime.now(UTC) - NOON).total_seconds()
        self.trace.append(f"{at:10.3f}  {'  ' * self.depth}{what}")

    # ------------------------------------------------------------ what goes wrong

    def call(self, shop: Shop, what: str, answer: Callable[[], Answer]) -> Answer:
        """A shop is asked something: meanwhile life goes on, and the question or the answer may be lost."""
        chance = self.chance
        self.clock_ticks()
        if not self.stormy:
            found = answer()
            self.say(f"{shop.name} {what}{_briefly(found)}")
            return found
        weather = chance.random()
        if weather < 0.06:
            fault = chance.choice(
                (
                    Unavailable("The shop cannot be reached.", sent=False),
                    RateLimited("Too many calls.", retry_after=float(chance.randint(1, 20))),
                    RuntimeError("a mistake in the connector"),
                )
            )
            self.say(f"{shop.name} {what}: {type(fault).__name__} before it was done")
            self.counts["fault"] += 1
            raise fault
        if weather < 0.12:
            self.doomed = True
            self.say(f"{shop.name} {what}: its worker is killed before it was done")
            raise Unavailable("nobody hears this", sent=False)
        if weather < 0.40:
            self.meanwhile()
        found = answer()
        self.say(f"{shop.name} {what}{_briefly(found)}")
        weather = chance.random()
        if weather < 0.07:
            self.say(f"{shop.name} {what}: its answer is lost")
            self.counts["fault"] += 1
            raise Unavailable("The connection broke.", sent=True)
        if weather < 0.13:
            self.doomed = True
            self.say(f"{shop.name} {what}: its worker is killed after it was done")
        elif weather < 0.4:
            self.meanwhile()
        return found

    def spoiled(self, what: str) -> bool:
        return self.stormy and self.chance.random() < 0.04

    def transaction_begins(self) -> None:
        """A worker that is doomed gets no further than this; others may die here by chance."""
        if self.doomed or (self.depth and self.stormy and self.chance.random() < 0.004):
            self.doomed = False
            self.counts["kill"] += 1
            raise Killed

    def transaction_ends(self) -> None:
        if self.depth and self.stormy and self.chance.random() < 0.002:
            self.say("its worker is killed before the commit")
            self.counts["kill"] += 1
            raise Killed

    def clock_ticks(self) -> None:
        self.builder.clock.pass_time(self.chance.choice((0.001, 0.02, 0.3)))

    def meanwhile(self) -> None:
        """Others act while a worker waits."""
        if self.depth > 2:
            return
        self.act(
            self.chance.choice((self.customer, self.merchant_at_a_shop, self.postman, self.worker, self.warehouse))
        )

    def sleep(self, seconds: float) -> None:
        self.builder.clock.pass_time(seconds)
        if self.stormy and self.chance.random() < 0.5:
            self.act(self.chance.choice((self.customer, self.postman, self.worker)))

    # ------------------------------------------------------------ what happens

    def act(self, who: Callable[[], None]) -> None:
        who()
        self.collect_post()

    def live(self) -> None:
        """Some steps of this world, each by somebody else."""
        somebody = [
            *[self.customer] * 4,
            *[self.merchant_at_a_shop] * 4,
            *[self.postman] * 4,
            *[self.worker] * 7,
            *[self.warehouse] * 3,
            self.office,
            self.sweeper,
            *[self.time_passes] * 3,
        ]
        for _ in range(self.chance.randint(8, 24)):
            self.act(self.chance.choice(somebody))
            self.counts["step"] += 1

    def customer(self) -> None:
        shop = self.a_shop()
        listings = sorted({listing for listing, _ in shop.stock})
        wanted = {
            listing: self.chance.choice((1, 1, 2, 3))
            for listing in self.chance.sample(listings, min(len(listings), self.chance.choice((1, 1, 2))))
        }
        order = shop.buy(wanted, paid=self.chance.random() < 0.8)
        self.say(f"{shop.name}: a customer wants {wanted}: {order['id'] if order else 'sold out'}")
        self.counts["order"] += order is not None

    def merchant_at_a_shop(self) -> None:
        shop = self.a_shop()
        if not shop.orders:
            return
        order = shop.orders[self.chance.choice(sorted(shop.orders))]
        line = self.chance.choice(order["lines"])
        is_open = order["status"] == "open"
        match self.chance.choice(("edit", "cancel", "ship", "ship", "unship", "delete", "pay")):
            case "edit" if is_open:
                quantity = self.chance.randint(0, 4)
                done = shop.edit(order, line["id"], quantity)
                self.say(f"{shop.name}: line {line['id']} of {order['id']} to be {quantity}: {bool(done)}")
            case "cancel" if is_open:
                shop.cancel(order)
                self.say(f"{shop.name}: {order['id']} cancelled")
            case "ship" if is_open:
                units = {each["id"]: self.chance.randint(0, open_units(each)) for each in order["lines"]}
                shop.ship(order, units)
                self.say(f"{shop.name}: of {order['id']} shipped {units}")
            case "unship" if order["status"] != "cancelled" and self.chance.random() < 0.5:
                shop.unship(order)
                self.say(f"{shop.name}: {order['id']} is to be shipped again")
            # Without webhooks nobody tells: such an order stays, and only the hourly look repairs the figure.
            case "delete" if shop.webhooks and self.chance.random() < 0.4:
                shop.delete(order)
                self.say(f"{shop.name}: {order['id']} deleted")
            case "pay" if not order["paid"]:
                shop.pay(order)
                self.say(f"{shop.name}: {order['id']} paid")

    def postman(self) -> None:
        """Webhooks come in: those that are due, in any order, now and then twice, now and then never."""
        now = time.time()
        ready = [each for each in self.post if each.due <= now]
        self.chance.shuffle(ready)
        for letter in ready[: self.chance.randint(1, 4)]:
            # The news of a deletion comes once in a lifetime: who loses it has an order too many, and rightly so.
            fate = self.chance.random() if self.stormy and letter.topic != "order.deleted" else 1.0
            if fate < 0.1:
                self.say(f"webhook {letter.key} is lost")
                self.counts["webhook lost"] += 1
            else:
                self.deliver(letter)
            if fate < 0.2:
                letter.due += 30 * self.chance.random()  # it comes once more, later
                letter.key += "" if self.chance.random() < 0.5 else " again"
                if fate >= 0.1:
                    continue
            self.post.remove(letter)

    def deliver(self, letter: Letter) -> None:
        self.say(f"webhook {letter.key}")
        webhook = Webhook({"x-topic": letter.topic}, letter.body)
        inbox.store_webhook(
            self.database,
            self.hub.keyring,
            self.merchant,
            letter.connection_id,
            Delivery(letter.topic, letter.key),
            webhook,
        )

    def collect_post(self) -> None:
        """What the shops have written goes into the post."""
        for connection_id, shop in self.shops.items():
            for topic, body in shop.letters:
                key = f"{shop.name}/{topic}/{self.counts['webhook']}"
                self.counts["webhook"] += 1
                if topic in ("order.created", "order.updated") and self.chance.random() < 0.1:
                    topic, body = "order.changed", {"id": body["id"]}
                delay = self.chance.choice((0.0, 0.0, 0.05, 1.0, 40.0))
                encoded = json.dumps(body).encode()
                self.post.append(Letter(connection_id, topic, encoded, key, time.time() + delay))
            shop.letters.clear()

    def worker(self) -> None:
        """Somebody works at one lane; if he is killed, the lane stays taken until its lease has run out."""
        waiting = jobs.due(self.hub)
        if waiting:
            self.drain(*self.chance.choice(waiting))

    def drain(self, merchant_id: UUID, connection_id: UUID, lane: str) -> None:
        self.say(f"drain {lane} of {self.shops[connection_id].name}")
        self.counts["drain"] += 1
        self.depth += 1
        try:
            jobs.drain(self.hub, merchant_id, connection_id, lane, budget_seconds=5.0)
        except Killed:
            self.say("killed")
        finally:
            self.depth -= 1
            self.doomed = False

    def sweeper(self) -> None:
        self.say("sweep")
        jobs.sweep(self.hub)

    def time_passes(self) -> None:
        seconds = self.chance.choice((0.5, 2.0, 10.0, 46.0, 70.0))
        self.builder.clock.pass_time(seconds)
        self.say(f"{seconds} s later")

    def warehouse(self) -> None:
        """Somebody does something in the warehouse; what cannot be done is refused."""
        chance = self.chance
        here = (self.database, self.merchant)
        sku_id = self.town.skus[chance.choice(SKUS)]
        location, other = chance.sample(self.town.locations, 2)
        units = chance.randint(1, 5)
        reference = f"paper {self.counts['paper']}"
        self.counts["paper"] += 1
        condition = chance.choice(list(Condition))
        what = chance.choice(
            ("count", "receive", "receive", "adjust", "send", "arrive", "lose", "aside", "back", "off")
        )
        self.say(f"warehouse: {what} {units}")
        try:
            match what:
                case "adjust":
                    warehouse.adjust(*here, sku_id, location, chance.randint(0, 9), "found", OWNER, reference)
                case "count":
                    warehouse.count(*here, location, {sku_id: chance.randint(0, 9)}, "yearly", OWNER, reference)
                case "receive":
                    warehouse.receive(*here, location, {sku_id: units}, reference, OWNER)
                case "send":
                    paper, _ = warehouse.send(*here, location, other, {sku_id: units}, reference, OWNER)
                    self.transfers.append((paper, sku_id, units))
                case "arrive" if self.transfers:
                    paper, sent, most = self.transfers[-1]
                    warehouse.arrive(*here, paper, {sent: chance.randint(1, most)}, OWNER)
                case "lose" if self.transfers:
                    warehouse.close_transfer(*here, self.transfers.pop()[0], OWNER)
                case "aside":
                    warehouse.set_aside(*here, sku_id, location, units, condition, "wet", OWNER, reference)
                case "back":
                    warehouse.restore(*here, sku_id, location, units, condition, "dry", OWNER, reference)
                case "off":
                    warehouse.write_off(*here, sku_id, location, units, condition, "mould", OWNER, reference)
        except (BadInput, Conflict) as refused:
            self.say(f"refused: {refused}")

    def office(self) -> None:
        """Somebody changes the rules."""
        chance = self.chance
        match chance.choice(("policy", "rule", "rule", "safety")):
            case "policy":
                policy = StockPolicy(
                    hold_together=chance.random() < 0.5,
                    queue=chance.choice(list(QueueOrder)),
                    unpaid_hours=chance.choice((None, 1)),
                )
                self.say(f"policy {policy}")
                policies.save(self.database, self.merchant, policy, OWNER)
            case "rule":
                rule = selling.SellingRule(
                    buffer_units=chance.choice((None, 0, 1)),
                    stop_at=chance.choice((None, None, 1)),
                    maximum=chance.choice((None, None, 4)),
                    share_percent=chance.choice((None, None, 50)),
                )
                shop = chance.choice([None, *self.shops])
                sku_id = chance.choice([None, self.town.skus["MUG"]])
                self.say(f"rule {rule.said}")
                selling.save_rule(
                    self.database, self.merchant, selling.Scope(connection_id=shop, sku_id=sku_id), rule, OWNER
                )
            case "safety":
                sku_id, location = self.town.skus[chance.choice(SKUS)], chance.choice(self.town.locations)
                try:
                    warehouse.set_safety_stock(
                        self.database, self.merchant, sku_id, location, chance.randint(0, 2), OWNER
                    )
                except (BadInput, Conflict) as refused:
                    self.say(f"refused: {refused}")

    def a_shop(self) -> Shop:
        return self.chance.choice(list(self.shops.values()))

    # ------------------------------------------------------------ the end

    def come_to_rest(self) -> None:
        """No more faults; the clock moves on, and within a few hours everything is as it should be."""
        self.stormy = False
        self.say("the storm is over")
        wrong = ["nothing was looked at"]
        waited = 0
        for seconds in _PATIENCE:
            waited += seconds
            self.builder.clock.pass_time(seconds)
            self.say(f"{seconds} s later")
            for letter in self.post:
                if self.chance.random() < 0.8 or letter.topic == "order.deleted":
                    self.deliver(letter)
            self.post.clear()
            jobs.sweep(self.hub)
            self.work()
            self.collect_post()
            wrong = [*self.wrong_orders(), *self.wrong_figures()]
            for each in wrong:
                self.say(f"still wrong: {each}")
            if not wrong and not self.post:
                self.counts[f"at rest after {waited:5} s"] += 1
                break
        self.sound()
        if wrong:
            raise Broken("; ".join(wrong))

    def work(self) -> None:
        """Work at the lanes that are rung for, and then at all that are due, until none is."""
        assert isinstance(self.hub.doorbell, Rings)
        for _ in range(60):
            rung, self.hub.doorbell.heard = list(self.hub.doorbell.heard), {}
            if not (waiting := rung or jobs.due(self.hub)):
                return
            for each in waiting:
                self.drain(*each)
        raise Broken(f"still due: {jobs.due(self.hub)}")

    def wrong_orders(self) -> list[str]:
        """Orders that the hub does not have, has twice, or has otherwise than its shop."""
        order, line = t.sales_order.c, t.order_line.c
        with self.database.read() as connection:
            known = connection.execute(select(order.connection_id, order.external_id, order.status, order.id)).all()
            lines: dict[UUID, dict[str, tuple[int, int, int]]] = {}
            for row in connection.execute(select(t.order_line).where(line.present)):
                lines.setdefault(row.order_id, {})[row.external_id] = (row.quantity, row.fulfilled, row.removed)
        wrong = [f"{what} is there twice" for what, times in Counter(row[:2] for row in known).items() if times > 1]
        ours = {(row.connection_id, row.external_id): (row.status, lines.get(row.id, {})) for row in known}
        for connection_id, shop in self.shops.items():
            theirs = {
                id: (body["status"], {each["id"]: _told(each) for each in body["lines"]})
                for id, body in shop.orders.items()
            }
            for id, told in theirs.items():
                if ours.get((connection_id, id)) != told:
                    wrong.append(f"order {id} of {shop.name} is {told}, the hub says {ours.get((connection_id, id))}")
            for (of, id), (status, _) in ours.items():
                if of == connection_id and id not in theirs and not (id in shop.deleted and status == "removed"):
                    wrong.append(f"order {id} is not at {shop.name} any more, the hub says {status}")
        return wrong

    def wrong_figures(self) -> list[str]:
        """Listings that say something else than the hub says they should."""
        wrong = []
        with self.database.read() as connection:
            names = {row.id: row for row in connection.execute(select(t.listing))}
            for code, sku_id in self.town.skus.items():
                for each in publications.preview(connection, self.merchant, sku_id):
                    shop = self.shops[each.connection_id]
                    says = shop.stock[names[each.listing_id].external_id, each.location_external_id]
                    if each.figure is not None and says != max(0, each.figure.quantity):
                        wrong.append(
                            f"{code} at {shop.name} {each.location_external_id!r} says {says}, "
                            f"should say {each.figure.quantity}: {'; '.join(each.figure.steps)}"
                        )
        return wrong

    def sound(self) -> None:
        """A second opinion about who holds what; of every fourth world, since it takes long, the whole audit."""
        if self.seed % 4 == 0:
            findings = audit.audit(self.database, self.hub.keyring, settle=timedelta(0))
            broken = [(each.title, each.examples) for each in findings if each.count]
            if broken:
                raise Broken(f"audit: {broken}")
            self.counts["audit"] += 1
        with self.database.read() as connection:
            if stock.has_woken(connection, self.merchant):
                raise Broken("somebody is woken and not served")
            stored(connection, self.merchant).check()


def _briefly(answer: object) -> str:
    """What a shop answers, for the trace."""
    if isinstance(answer, list):
        return f": {', '.join(str(getattr(each, 'state', each)) for each in answer)}"
    return ""


def _told(line: dict[str, Any]) -> tuple[int, int, int]:
    return line["quantity"], line.get("fulfilled", 0), line.get("removed", 0)


def live(builder: Builder, seed: int) -> World:
    """The life of one world, from its seed to its end. Raises whatever it meets that must not be."""
    town = builder.town(seed % SHAPES)
    builder.put(town.file)
    with repeatable(builder.clock, f"world {seed}") as chance:
        builder.clock.pass_time((town.at - NOON).total_seconds() + 1)
        shops = deepcopy(town.shops)
        world = World(builder, seed, chance, town, builder.hub(town.settings), shops)
        for shop in shops.values():
            SHOPS[shop.name] = (shop, world)
        builder.clock.slept = world.sleep
        listeners = (("begin", lambda _c: world.transaction_begins()), ("commit", lambda _c: world.transaction_ends()))
        for name, listener in listeners:
            event.listen(builder.database.engine, name, listener, insert=True)
        try:
            world.live()
            world.come_to_rest()
        except BaseException as error:
            error.world = world  # type: ignore[attr-defined]
            raise
        finally:
            for name, listener in listeners:
                event.remove(builder.database.engine, name, listener)
            builder.clock.slept = builder.clock.pass_time
    return world
