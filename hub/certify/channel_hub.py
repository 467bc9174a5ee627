"""What is asked of sales channels in a hub at work: exactly once, at every crash point, and stock that converges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from structlog.testing import capture_logs

from hub.app import create_app
from hub.certify.channel import CONTRACT, GOODS, ChannelBench
from hub.certify.contract import Level, NotApplicable, expect, fail
from hub.certify.crashing import POINTS, Fate, mortal
from hub.certify.secrecy import no_secret
from hub.certify.webhooks import has_webhooks
from hub.connector import RateBudget
from hub.http import LocalLimiter
from hub.store import accounts, connections
from hub.store import tables as t
from hub.testing.simulator import DeliveryFault, Fault
from hub.testing.town import OWNER, Town, town_of

PUBLIC_URL = "https://hub.example"
MINUTE, HOUR = 61.0, 3_700.0
MOST_POINTS = 120
_MOST_QUESTIONS = 20

START = {sku: stock for sku, _, stock, _ in GOODS}


def _now() -> datetime:
    return datetime.now(UTC)


class Market:
    """A shop of the connector's in a hub at work, and what should have come of everything that happened so far."""

    def __init__(self, bench: ChannelBench, *, webhooks: bool = False) -> None:
        self.bench = bench
        bench.enter(capture_logs())  # what the hub says meanwhile is read by nobody
        self.town: Town = bench.enter(town_of(bench.connector, public_url=PUBLIC_URL if webhooks else None))
        # The hub lives by the machine's clock, and so does its shop.
        self.shop: Any = bench.vendor(now=_now)
        self.place: UUID = self.town.connect(bench.connector, self.shop)
        self.town.open_for_business(self.place, adopt=True)
        self.shop.take_webhooks()
        self.on_hand: Counter[str] = Counter(START)
        self.open: dict[str, Counter[str]] = {}

    # --- what happens

    def buy(self, **items: int) -> str:
        """A customer buys, by the first letters of the SKU; "" when it is sold out."""
        basket = [(sku, items[name]) for name in items for sku in START if sku.startswith(name.upper())]
        sale = self.shop.buy(basket)
        self.bench.notes.append(f"bought {basket}{'' if sale else ', which is sold out'}")
        if sale is None:
            return ""
        order: str = sale.order_external_id
        self.open[order] = Counter(dict(basket))
        return order

    def cancel(self, order: str) -> None:
        """The shop cancels an order."""
        self.bench.notes.append(f"canceled {order}")
        self.shop.cancel(order)
        del self.open[order]

    def fulfill(self, order: str) -> None:
        """The shop ships an order."""
        self.bench.notes.append(f"fulfilled {order}")
        self.shop.fulfill(order)
        self.on_hand.subtract(self.open.pop(order))

    def count(self, sku: str, on_hand: int) -> None:
        """Somebody counts a SKU in the warehouse."""
        self.bench.notes.append(f"counted {on_hand} of {sku}")
        self.town.count_stock(sku, on_hand)
        self.on_hand[sku] = on_hand

    def something(self) -> None:
        """A customer or the shop does something, by the seed.

        Pens are counted in the warehouse, and so never shipped: who counts what a shipment that the hub has not heard
        of took away is right on the day, and wrong as soon as the hub hears of it.
        """
        chance = self.bench.chance
        kind = chance.choices(["buy", "cancel", "fulfill"], [5, 1, 1])[0]
        fitting = [order for order in sorted(self.open) if kind == "cancel" or "PEN-3" not in self.open[order]]
        if kind == "buy" or not fitting:
            wish = {chance.choice(["mug", "tee", "pen"]): chance.randint(1, 2)}
            # Something has to happen each time: of pens there are enough.
            if not self.buy(**wish):
                self.buy(pen=1)
        else:
            (self.cancel if kind == "cancel" else self.fulfill)(chance.choice(fitting))

    # --- what the hub does about it

    def poll(self) -> None:
        """The hub asks the shop."""
        self.town.poll(self.place)

    def hear(self) -> None:
        """The webhooks on their way come in, and are worked off."""
        for letter in self.shop.take_webhooks():
            status = self.town.hear(letter, self.shop)
            expect(status == 200, f"The hub's door answered a genuine webhook with {status}.")
        self.town.work()

    def settle(self) -> None:
        """Let hours pass, until whatever had to wait has been done; then see that all is as it should be."""
        self.shop.heal()
        for _ in range(8):
            self.town.let_pass(HOUR)
            self.hear()
            self.poll()
            if self.at_rest():
                break
        self.agree()
        try:
            self.town.sound()
        except AssertionError as error:
            fail(f"The audit found something: {error}")

    def go_on(self) -> None:
        """Let a minute pass, longer than a dead process holds its leases; then see that nothing is lost or doubled."""
        self.town.let_pass(MINUTE)
        self.hear()
        if not self.at_rest():
            self.settle()
        self.agree()

    # --- what should be

    def at_rest(self) -> bool:
        """Whether both sides say what they should."""
        known = {row.external_id for row in self.town.rows(t.sales_order)}
        here = self.shop.orders() <= known
        return here and self.shop.stock() == self.available() and self.town.stock() == self.book()

    def held(self) -> Counter[str]:
        """Units by SKU that open orders hold."""
        return sum(self.open.values(), Counter())

    def available(self) -> dict[str, int]:
        """What the shop should say."""
        held = self.held()
        return {sku: max(0, self.on_hand[sku] - held[sku]) for sku in START}

    def book(self) -> dict[str, tuple[int, int]]:
        """(on hand, allocated) by SKU, as the hub should have it."""
        held = self.held()
        return {sku: (self.on_hand[sku], min(self.on_hand[sku], held[sku])) for sku in START}

    def agree(self) -> None:
        """Every order is in the hub exactly once, and the stock is right on both sides."""
        orders = Counter(row.external_id for row in self.town.rows(t.sales_order))
        twice = [order for order, times in orders.items() if times > 1]
        expect(not twice, f"{len(twice)} orders are in the hub twice.")
        lost = self.shop.orders() - orders.keys()
        expect(not lost, f"{len(lost)} of {len(self.shop.orders())} orders never came into the hub.")
        expect(self.town.stock() == self.book(), f"The hub's stock is {self.town.stock()}, not {self.book()}.")
        expect(self.shop.stock() == self.available(), f"The shop says {self.shop.stock()}, not {self.available()}.")


# ---------------------------------------------------------------- pages


@CONTRACT.case(
    CONTRACT.rules["secrets-stay-hidden"],
    "secrets-not-on-pages",
    "No page of the hub shows one, after all has gone well and after the vendor has repeated the request in an error.",
)
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    market.shop.fail_next("", Fault.echo(500), times=3)
    market.poll()
    browser = _signed_in(market.town)
    order = market.buy(mug=1)
    market.settle()
    row = market.town.row(t.sales_order, t.sales_order.c.external_id == order)
    pages = ["/", "/connections", f"/connections/{market.place}", f"/connections/{market.place}/reconnect"]
    pages += [f"/connections/{market.place}/listings", "/activity", "/issues", "/orders", f"/orders/{row.id}", "/stock"]
    for page in pages:
        answer = browser.get(page)
        expect(answer.status_code == 200, f"{page} was answered with {answer.status_code}.")
        no_secret(bench, market.shop, [answer.text], f"the page {page}")


def _signed_in(town: Town) -> Any:
    """A browser in which the owner has signed in."""
    password = "correct horse battery staple 42"  # noqa: S105 (of a town that is gone in a moment)
    accounts.create_user(town.hub.database, town.merchant, email=OWNER, name="Owner", password=password, role="owner")
    browser = create_app(town.hub).test_client()
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/sign-in").text)
    expect(token, "The page to sign in has no form.")
    form = {"csrf_token": token[1] if token else "", "email": OWNER, "password": password}
    browser.post("/sign-in", data=form, headers={"Referer": "http://localhost/sign-in"})
    return browser


# ---------------------------------------------------------------- exactly once

ONCE = CONTRACT.rule(
    "exactly-once",
    Level.GOLD,
    "In a hub at work every order comes in once and takes its stock once, whatever fails on the way.",
    "Look at the case's faults: a cursor that runs ahead, a key that two events share, a version that does not rise.",
)

_FAULTS: Mapping[str, Fault] = {
    "429": Fault.status(429, retry_after=1),
    "500": Fault.status(500),
    "500-after-the-effect": Fault.status(500, after_effect=True),
    "reset": Fault.reset(after_effect=False),
    "reset-after-the-effect": Fault.reset(),
    "truncated": Fault.truncated(),
    "repeated": Fault.repeated(),
    "html": Fault.html(),
    "error-inside": Fault.error_inside(),
}


@CONTRACT.each(ONCE, "once-under-{}", "A part of all requests fails ({}): every order comes in once.", _FAULTS)
def _(bench: ChannelBench, fault: Fault) -> None:
    market = Market(bench)
    market.shop.fail_randomly(0.3, [fault])
    for _ in range(4):
        market.something()
        market.town.let_pass(MINUTE)
        market.town.work()
    market.settle()


_DELIVERIES: Mapping[str, DeliveryFault] = {
    "three-times": DeliveryFault(copies=3),
    "never": DeliveryFault(copies=0),
    "late-and-twice": DeliveryFault(copies=2, behind=3),
}


@CONTRACT.each(
    ONCE,
    "once-with-webhooks-delivered-{}",
    "Webhooks come in {}: every order comes in once.",
    _DELIVERIES,
    needs=has_webhooks,
)
def _(bench: ChannelBench, fault: DeliveryFault) -> None:
    market = Market(bench, webhooks=True)
    market.shop.disturb_randomly(0.6, [fault])
    for _ in range(4):
        market.something()
        market.hear()
    market.settle()


@CONTRACT.case(
    ONCE,
    "once-with-webhooks-in-any-order",
    "Webhooks come in any order: every order ends the same.",
    needs=has_webhooks,
)
def _(bench: ChannelBench) -> None:
    market = Market(bench, webhooks=True)
    bought, other = market.buy(mug=2), market.buy(tee=1)
    market.cancel(bought)
    market.fulfill(other)
    letters = market.shop.take_webhooks()
    bench.chance.shuffle(letters)
    for letter in letters:
        market.town.hear(letter, market.shop)
    market.town.work()
    market.settle()


@CONTRACT.case(
    ONCE, "once-by-webhook-and-by-poll", "An order that a webhook and a poll tell of is one order.", needs=has_webhooks
)
def _(bench: ChannelBench) -> None:
    market = Market(bench, webhooks=True)
    market.buy(mug=1)
    letters = market.shop.take_webhooks()
    market.poll()
    for letter in letters:
        market.town.hear(letter, market.shop)
    market.town.work()
    market.buy(mug=1)
    market.hear()
    market.poll()
    market.settle()


@CONTRACT.case(ONCE, "once-after-reconnecting", "Connected anew with the same settings, no order comes in again.")
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    market.buy(mug=1)
    market.poll()
    loaded = bench.connector.settings_schema().load(market.shop.settings())
    hub = market.town.hub
    connections.reconnect(hub.database, hub.keyring, market.town.merchant, market.place, bench.connector, loaded, OWNER)
    market.town.work()
    market.buy(tee=1)
    market.settle()


@CONTRACT.case(ONCE, "once-from-the-beginning", "Fetched again from the very beginning, no order comes in again.")
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    for _ in range(3):
        market.buy(pen=1)
    market.poll()
    with market.town.hub.database.write() as connection:
        connection.execute(t.cursor.update().values(value=None))
    market.settle()


# ---------------------------------------------------------------- crash points

CRASH = CONTRACT.rule(
    "crash-points",
    Level.GOLD,
    "Wherever the hub's process dies, a new one goes on: nothing is lost and nothing happens twice.",
    "Keep nothing between two calls that is not in a record, a cursor or the vendor; make every write safe to repeat.",
)


def _polling(market: Market) -> None:
    market.poll()


def _hearing(market: Market) -> None:
    for letter in market.shop.take_webhooks():
        market.town.hear(letter, market.shop)
    market.town.work()


def _publishing(market: Market) -> None:
    market.town.work()


_JOBS: Mapping[str, tuple[Callable[[Market], object], Callable[[Market], None]]] = {
    "importing": (lambda market: market.something(), _polling),
    "publishing": (
        lambda market: market.count("PEN-3", 500 + market.bench.chance.randrange(400)),
        _publishing,
    ),
}

# What a dead process was about to do makes no difference: right before a call or a commit the world is as it was right
# after the one before. So the long jobs are killed after each, and only the short one is killed before each as well.
_AFTER = tuple(point for point in POINTS if point.startswith("after"))
_CRASHES = {
    f"{job}-{point}": (*what, point)
    for job, what in _JOBS.items()
    for point in (POINTS if job == "publishing" else _AFTER)
}


@CONTRACT.each(
    CRASH,
    "crash-{}",
    "The process dies ({}), at each such point there is, and a new one goes on.",
    _CRASHES,
)
def _(bench: ChannelBench, crash: tuple[Callable[[Market], object], Callable[[Market], None], str]) -> None:
    arrange, job, point = crash
    _die_at_every(Market(bench), arrange, job, point)


@CONTRACT.each(
    CRASH,
    "crash-hearing-{}",
    "The process dies while webhooks come in ({}), at each such point there is, and a new one goes on.",
    {point: point for point in _AFTER},
    needs=has_webhooks,
)
def _(bench: ChannelBench, point: str) -> None:
    _die_at_every(Market(bench, webhooks=True), lambda market: market.something(), _hearing, point)


def _die_at_every(
    market: Market, arrange: Callable[[Market], object], job: Callable[[Market], None], point: str
) -> None:
    for number in range(1, MOST_POINTS):
        arrange(market)
        fate = Fate(point, number)
        with mortal(market.town, fate):
            job(market)
        market.go_on()
        if not fate.dead:
            if number == 1:
                raise NotApplicable("there is no such point in this job")
            market.settle()
            return
    fail(f"The job has more than {MOST_POINTS} such points: it does not come to an end.")


@CONTRACT.each(
    CRASH,
    "crash-connecting-{}",
    "The process dies while the shop is being connected ({}), and a new one goes on.",
    {point: point for point in _AFTER},
)
def _(bench: ChannelBench, point: str) -> None:
    bench.enter(capture_logs())
    hooked = not has_webhooks(bench.connector)
    for number in range(1, MOST_POINTS):
        fate = Fate(point, number)
        with town_of(bench.connector, public_url=PUBLIC_URL if hooked else None) as town:
            shop = bench.vendor(now=_now)
            shop.buy([("MUG-1", 1)])
            town.lead_to(shop)
            with mortal(town, fate):
                town.connect(bench.connector, shop)
            if not town.count(t.connection):  # it died before anything was stored: the merchant sends the form again
                town.connect(bench.connector, shop)
            for _ in range(5):
                town.let_pass(MINUTE)
                town.work()
                if town.count(t.sales_order) and (not hooked or _sends_webhooks(shop)):
                    break
            state, orders = town.row(t.connection).state, town.count(t.sales_order)
            expect(state == "connected", f"Having died at point {number}, it is {state}.")
            expect(orders >= 1, f"Having died at point {number}, it has no order.")
            expect(not hooked or _sends_webhooks(shop), f"Having died at point {number}, it has no webhooks.")
        if not fate.dead:
            return
    fail(f"Connecting has more than {MOST_POINTS} such points: it does not come to an end.")


def _sends_webhooks(shop: Any) -> bool:
    shop.take_webhooks()
    shop.buy([("PEN-3", 1)])
    return bool(shop.take_webhooks())


# ---------------------------------------------------------------- stock converges

CONVERGES = CONTRACT.rule(
    "stock-converges",
    Level.GOLD,
    "Whatever happens on both sides and on the way, in the end the shop says what is available.",
    "Write absolute figures, honor StockPush.expected if you declare compare_and_set, and report what became of each.",
)


@CONTRACT.case(CONVERGES, "stock-counted-reaches-the-shop", "What is counted in the warehouse is what the shop says.")
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    market.count("MUG-1", 42)
    market.town.work()
    for _ in range(_MOST_QUESTIONS):
        if not market.town.count(t.pending_push):
            break
        market.town.let_pass(MINUTE)  # the shop takes figures in, and judges them later
        market.town.work()
    expect(market.shop.stock()["MUG-1"] == 42, f"The shop says {market.shop.stock()['MUG-1']}.")
    market.settle()


@CONTRACT.case(CONVERGES, "stock-sold-out-is-nought", "When nothing is left, the shop says nought.")
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    market.count("TEE-S", 0)
    market.settle()
    expect(market.shop.stock()["TEE-S"] == 0, f"The shop says {market.shop.stock()['TEE-S']}.")


@CONTRACT.case(
    CONVERGES, "stock-edited-in-the-shop-is-put-right", "A figure that somebody edits in the shop is put right."
)
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    market.shop.set_stock("MUG-1", 77)
    market.count("MUG-1", 12)
    market.settle()


@CONTRACT.case(
    CONVERGES, "stock-after-an-order-and-its-end", "Bought, canceled, bought and shipped: the figure follows."
)
def _(bench: ChannelBench) -> None:
    market = Market(bench)
    gone = market.buy(mug=4)
    market.poll()
    market.cancel(gone)
    market.poll()
    market.fulfill(market.buy(mug=3))
    market.settle()


@CONTRACT.each(
    CONVERGES,
    "stock-sold-while-written-{}",
    "A customer buys while a figure is being written ({}): nothing is sold twice, and the figures agree.",
    {"at-the-first-request": 0, "at-the-second-request": 1, "at-the-third-request": 2},
)
def _(bench: ChannelBench, after: int) -> None:
    market = Market(bench)
    market.count("MUG-1", 30)
    market.shop.fail_next("", Fault.changing(lambda: market.buy(mug=2)), after=after)
    market.town.work()
    market.settle()


@CONTRACT.each(
    CONVERGES,
    "stock-after-{}",
    "Writing fails for a while ({}), and afterwards the figure is right.",
    {name: _FAULTS[name] for name in ("429", "500-after-the-effect", "reset-after-the-effect", "truncated", "html")},
)
def _(bench: ChannelBench, fault: Fault) -> None:
    market = Market(bench)
    market.shop.fail_next("", fault, times=3)
    market.count("MUG-1", 25)
    for _ in range(3):
        market.town.work()
        market.town.let_pass(60)
    market.settle()


# ---------------------------------------------------------------- the rate budget, in time


@CONTRACT.case(
    CONTRACT.rules["rate-budget"],
    "budget-kept-over-time",
    "However much there is to do, no more is sent than the budget allows.",
)
def _(bench: ChannelBench) -> None:
    budget = bench.connector.rate_budget
    if budget is None:
        raise NotApplicable("it declares no rate budget")
    _, connector, ref = bench.a_reference()
    pace = _Pace(budget)
    connector.client.limiter = pace
    for _ in range(int(min(budget.burst, 100)) + 20):
        connector.read_stock([ref])
    earliest = (pace.units - budget.burst) / budget.per_second
    expect(pace.seconds >= earliest - 1e-6, f"{pace.units:g} units went out in {pace.seconds:g} s.")


class _Pace(LocalLimiter):
    """The connection's budget in a time that passes only by waiting, whatever the vendor says of it."""

    def __init__(self, budget: RateBudget) -> None:
        self.seconds = 0.0
        self.units = 0.0
        super().__init__(budget, clock=lambda: self.seconds, sleep=self._wait, patience=1e9)

    def acquire(self, cost: float) -> None:
        super().acquire(cost)
        self.units += max(1.0, cost)  # nothing is free

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """The declared budget is what is tried."""

    def _wait(self, seconds: float) -> None:
        self.seconds += seconds


# ---------------------------------------------------------------- seeds

_DAYS = {name: name for name in ("monday", "wednesday", "friday")}

SEEDS = CONTRACT.rule(
    "seeds",
    Level.PLATINUM,
    "Customers, faults, webhooks and crashes in any mixture that a seed makes of them end as they should.",
    "Run the case again with the seed of the report (hub certify NAME --seed N): the same happens again.",
)


@CONTRACT.each(
    SEEDS, "seed-{}", "A market day by the seed ({}): everything goes wrong, and in the end all is right.", _DAYS
)
def _(bench: ChannelBench, day: str) -> None:
    hooked = not has_webhooks(bench.connector)
    market = Market(bench, webhooks=hooked)
    chance = bench.chance
    market.shop.fail_randomly(0.15, list(_FAULTS.values()))
    if hooked:
        market.shop.disturb_randomly(0.5, list(_DELIVERIES.values()))
    for _ in range(8):
        market.something()
        if chance.random() < 0.3:
            market.count("PEN-3", chance.randint(50, 200))
        job = chance.choice([_polling, _hearing, _publishing])
        fate = Fate(chance.choice(POINTS), chance.randint(1, 30))
        bench.notes.append(f"{job.__name__.strip('_')}, to die {fate.point} {fate.number}")
        with mortal(market.town, fate):
            job(market)
        market.town.let_pass(chance.choice([1.0, 60.0, HOUR]))
    market.shop.disturb_randomly(0.0, [])
    market.settle()
