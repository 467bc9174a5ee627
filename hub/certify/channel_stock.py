"""What is asked of sales channels: stock written as it is told, and webhooks that say what fetching says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hub.certify.bench import only_connector_errors
from hub.certify.channel import CONTRACT, GOODS, NO_ID, ChannelBench, capabilities, settles
from hub.certify.contract import Level, NotApplicable, Refuted, expect
from hub.certify.webhooks import has_webhooks, subscribed, webhook_of
from hub.connector import (
    Connector,
    Delivery,
    ListingRemoved,
    OrderRemoved,
    PushOutcome,
    PushState,
    RawRecord,
    Refetch,
    StockPush,
    StockRef,
    StockSeen,
)
from hub.core.model import Listing, Order
from hub.errors import Unavailable
from hub.testing.simulator import Fault

_MOST_QUESTIONS = 200

# ---------------------------------------------------------------- stock

STOCK = CONTRACT.rule(
    "stock-out",
    Level.SILVER,
    "It writes exactly the figures it is given, says what became of each, and reads them back.",
    "See push_stock, PushState and read_stock in the reference: one outcome per push, in order.",
)


def push(ref: StockRef, quantity: int, expected: int | None = None, key: str = "") -> StockPush:
    """A push as the hub makes it."""
    return StockPush(ref, quantity, expected, key or f"{ref.listing_external_id}/{quantity}/{expected}")


def pushed(bench: ChannelBench, connector: Any, *pushes: StockPush) -> list[PushOutcome]:
    """What became of each push in the end: what is pending is asked for, as time passes, until it is not."""
    outcomes = _one_each(connector.push_stock(list(pushes)), len(pushes), "pushes")
    for _ in range(_MOST_QUESTIONS):
        waiting = _pending(outcomes)
        if not waiting:
            break
        bench.clock.advance(max(1.0, *(outcome.after_seconds for outcome in outcomes)))
        for reference, places in waiting.items():
            asked = [pushes[place] for place in places]
            answers = _one_each(connector.settle_stock(reference, asked), len(asked), "pending pushes")
            for place, answer in zip(places, answers, strict=True):
                outcomes[place] = replace(answer, reference=answer.reference or reference)
    left = len(_pending(outcomes))
    expect(not left, f"Asked {_MOST_QUESTIONS} times, it has still to say what became of {left} pushes.")
    return outcomes


def _one_each(given: Iterable[PushOutcome], wanted: int, what: str) -> list[PushOutcome]:
    outcomes = list(given)
    expect(len(outcomes) == wanted, f"{wanted} {what} had {len(outcomes)} outcomes.")
    for outcome in outcomes:
        expect(isinstance(outcome, PushOutcome), f"An outcome is a {type(outcome).__name__}.")
        explained = outcome.state not in (PushState.REJECTED, PushState.GONE) or outcome.message.strip()
        expect(explained, f"An outcome {outcome.state} has no message for a person.")
    return outcomes


def _pending(outcomes: Sequence[PushOutcome]) -> dict[str, list[int]]:
    """The places of the outcomes that are to be asked for, by reference."""
    found: dict[str, list[int]] = {}
    for place, outcome in enumerate(outcomes):
        if outcome.state is PushState.PENDING:
            expect(outcome.reference, "A pending outcome has no reference to ask for it by.")
            found.setdefault(outcome.reference, []).append(place)
    return found


def nobodys(ref: StockRef) -> StockRef:
    """A reference to a listing that does not exist."""
    return StockRef(NO_ID, ref.location_external_id, dict.fromkeys(ref.handles, NO_ID))


@CONTRACT.each(STOCK, "figure-written-{}", "The figure {} is written as it is.", {"7": 7, "0": 0, "1000000": 1_000_000})
def _(bench: ChannelBench, quantity: int) -> None:
    shop, connector, ref = bench.a_reference()
    (outcome,) = pushed(bench, connector, push(ref, quantity, 10))
    expect(outcome.state is PushState.WRITTEN, f"The outcome is {outcome}.")
    expect(shop.stock()["MUG-1"] == quantity, f"The shop says {shop.stock()['MUG-1']}.")
    expect(list(connector.read_stock([ref])) == [quantity], "Read back, it is another one.")


@CONTRACT.case(STOCK, "figure-written-touches-no-other", "Writing one figure changes no other.")
def _(bench: ChannelBench) -> None:
    shop, connector, ref = bench.a_reference()
    pushed(bench, connector, push(ref, 3, 10))
    left = {sku: quantity for sku, quantity in shop.stock().items() if sku != "MUG-1"}
    expect(left == {"TEE-S": 5, "PEN-3": 100}, f"The others are {left}.")


@CONTRACT.case(
    STOCK, "figure-unknown-is-overwritten", "Where the hub expects nothing, the figure is written whatever is there."
)
def _(bench: ChannelBench) -> None:
    shop, connector, ref = bench.a_reference()
    (outcome,) = pushed(bench, connector, push(ref, 6, None))
    expect(outcome.state is PushState.WRITTEN and shop.stock()["MUG-1"] == 6, f"The outcome is {outcome}.")


@CONTRACT.case(STOCK, "figures-written-together", "A batch as large as it may be is written, each its own figure.")
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    size = min(capabilities(bench.connector).push_batch, 120)
    for number in range(size):
        shop.add_product(f"BULK-{number}", f"Bulk {number}", 1, "1.00")
    refs = bench.references(connector)
    outcomes = pushed(bench, connector, *(push(refs[f"BULK-{number}"], number + 2, 1) for number in range(size)))
    written = sum(outcome.state is PushState.WRITTEN for outcome in outcomes)
    expect(written == size, f"{written} of {size} were written.")
    wrong = {sku: told for number in range(size) if (told := shop.stock()[sku := f"BULK-{number}"]) != number + 2}
    expect(not wrong, f"These figures are wrong: {dict(list(wrong.items())[:5])}.")
    told = list(connector.read_stock([refs[f"BULK-{number}"] for number in range(size)]))
    expect(told == [number + 2 for number in range(size)], "Read together they are not what was written.")


@CONTRACT.case(STOCK, "figures-nothing-for-nothing", "No push is no outcome, and no reference no figure.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    expect(list(connector.push_stock([])) == [], "push_stock([]) has outcomes.")
    expect(list(connector.read_stock([])) == [], "read_stock([]) has figures.")


@CONTRACT.case(
    STOCK, "figure-of-nobody-spoils-no-other", "A listing that does not exist is refused, and the others are written."
)
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    refs = bench.references(connector)
    outcomes = pushed(
        bench, connector, push(refs["MUG-1"], 3, 10), push(nobodys(refs["MUG-1"]), 4, 1), push(refs["TEE-S"], 2, 5)
    )
    states = [outcome.state for outcome in outcomes]
    expect(states[0] is states[2] is PushState.WRITTEN, f"The outcomes are {[state.value for state in states]}.")
    expect(states[1] in (PushState.GONE, PushState.REJECTED), f"The unknown one is {states[1].value}.")
    seen = {sku: shop.stock()[sku] for sku in ("MUG-1", "TEE-S")}
    expect(seen == {"MUG-1": 3, "TEE-S": 2}, f"The shop says {seen}.")


@CONTRACT.case(STOCK, "figure-repeated-does-no-harm", "The same push again leaves the same figure.")
def _(bench: ChannelBench) -> None:
    shop, connector, ref = bench.a_reference()
    for _ in range(2):
        (outcome,) = pushed(bench, connector, push(ref, 7, None, "same"))
        expect(outcome.state in (PushState.WRITTEN, PushState.STALE), f"The outcome is {outcome}.")
    expect(shop.stock()["MUG-1"] == 7, f"The shop says {shop.stock()['MUG-1']}.")


@CONTRACT.case(STOCK, "figures-read-in-order", "Figures come in the order in which they were asked for.")
def _(bench: ChannelBench) -> None:
    _, connector = bench.open()
    refs = bench.references(connector)
    for skus in (["MUG-1", "TEE-S", "PEN-3"], ["PEN-3", "MUG-1", "TEE-S"], ["TEE-S", "TEE-S"]):
        figures = list(connector.read_stock([refs[sku] for sku in skus]))
        stock = {sku: quantity for sku, _, quantity, _ in GOODS}
        expect(figures == [stock[sku] for sku in skus], f"Of {skus} it says {figures}.")


@CONTRACT.case(STOCK, "figure-of-nobody-is-none", "Of a listing that does not exist there is no figure.")
def _(bench: ChannelBench) -> None:
    _, connector, ref = bench.a_reference()
    figures = list(connector.read_stock([nobodys(ref), ref]))
    expect(figures == [None, 10], f"It says {figures}.")


def compares(connector: type[Connector]) -> str:
    """Why it cannot be asked to compare, "" if it can."""
    return "" if capabilities(connector).compare_and_set else "it has no compare-and-set"


@CONTRACT.case(
    STOCK, "figure-stale-not-written", "What the hub did not expect is not overwritten, but STALE.", needs=compares
)
def _(bench: ChannelBench) -> None:
    shop, connector, ref = bench.a_reference()
    shop.set_stock("MUG-1", 4)
    (outcome,) = pushed(bench, connector, push(ref, 9, 10))
    expect(outcome.state is PushState.STALE, f"The outcome is {outcome}.")
    expect(shop.stock()["MUG-1"] == 4, "It wrote over somebody else's figure.")


@CONTRACT.case(
    STOCK, "figure-stale-spoils-no-other", "A stale figure keeps no other from being written.", needs=compares
)
def _(bench: ChannelBench) -> None:
    shop, connector = bench.open()
    refs = bench.references(connector)
    shop.set_stock("MUG-1", 4)
    states = [each.state for each in pushed(bench, connector, push(refs["MUG-1"], 9, 10), push(refs["TEE-S"], 2, 5))]
    expect(states == [PushState.STALE, PushState.WRITTEN], f"The outcomes are {[state.value for state in states]}.")
    expect(shop.stock()["TEE-S"] == 2, "The other figure was not written.")


@CONTRACT.case(STOCK, "figure-sold-meanwhile-kept", "A sale between reading and writing is not undone.", needs=compares)
def _(bench: ChannelBench) -> None:
    shop, connector, ref = bench.a_reference()
    (before,) = connector.read_stock([ref])
    bench.buy(("MUG-1", 3))
    (outcome,) = pushed(bench, connector, push(ref, 20, before))
    expect(outcome.state is PushState.STALE, f"The outcome is {outcome}.")
    expect(shop.stock()["MUG-1"] == 7, "The sale was undone.")


@CONTRACT.each(
    STOCK,
    "figure-right-after-{}",
    "After a lost answer ({}), pushing again leaves the right figure.",
    {
        "reset-after-the-effect": Fault.reset(),
        "reset-before-the-effect": Fault.reset(after_effect=False),
        "500-after-the-effect": Fault.status(500, after_effect=True),
        "truncated": Fault.truncated(),
        "html-after-the-effect": Fault.html(after_effect=True),
    },
)
def _(bench: ChannelBench, fault: Fault) -> None:
    shop, connector, ref = bench.a_reference()
    shop.fail_next("", fault)
    with only_connector_errors(f"push_stock after {fault.name}") as raised:
        outcomes = pushed(bench, connector, push(ref, 7, 10, "lost"))
    if not raised:
        expect(outcomes[0].state is PushState.RETRY, f"It did not notice: {outcomes[0]}.")
    elif fault.after_effect and isinstance(raised[0], Unavailable):
        expect(raised[0].sent, "It says that the shop never saw it.")
    (outcome,) = pushed(bench, connector, push(ref, 7, 10, "lost"))
    if outcome.state is PushState.STALE:
        (outcome,) = pushed(bench, connector, push(ref, 7, 7, "lost again"))
    expect(outcome.state is PushState.WRITTEN, f"The outcome is {outcome}.")
    expect(shop.stock()["MUG-1"] == 7, f"The shop says {shop.stock()['MUG-1']}.")


# ---------------------------------------------------------------- figures that are judged later


def _taken_in(bench: ChannelBench) -> tuple[Any, list[StockPush], dict[str, list[int]]]:
    """The shop, three figures of which the last is nobody's, and by which references they are to be asked for."""
    shop, connector = bench.open()
    refs = bench.references(connector)
    pushes = [push(refs["MUG-1"], 3, 10), push(refs["TEE-S"], 2, 5), push(nobodys(refs["MUG-1"]), 4, 1)]
    outcomes = _one_each(connector.push_stock(pushes), len(pushes), "pushes")
    if PushState.PENDING not in (outcomes[0].state, outcomes[1].state):
        raise NotApplicable("it judges so few figures at once")
    bench.clock.advance(max(1.0, *(outcome.after_seconds for outcome in outcomes)))
    return shop, pushes, _pending(outcomes)


def _asked_until_final(
    bench: ChannelBench, shop: Any, reference: str, pushes: Sequence[StockPush]
) -> list[PushOutcome]:
    """What becomes of pending pushes in the end, each time asked by a connector that knows nothing but its settings."""
    answers: list[PushOutcome] = []
    for _ in range(_MOST_QUESTIONS):
        answers = _one_each(bench.connect(shop).settle_stock(reference, list(pushes)), len(pushes), "pending pushes")
        if all(each.state is not PushState.PENDING for each in answers):
            return answers
        bench.clock.advance(max(1.0, *(each.after_seconds for each in answers)))
        reference = answers[0].reference or reference
    raise Refuted(f"Asked {_MOST_QUESTIONS} times, it has still to say what became of {reference}.")


@CONTRACT.case(
    STOCK,
    "figure-pending-is-known-to-another-worker",
    "What is pending is asked for by its reference alone: the connector that wrote it is gone.",
    needs=settles,
)
def _(bench: ChannelBench) -> None:
    shop, pushes, waiting = _taken_in(bench)
    for reference, places in waiting.items():
        for place, answer in zip(
            places, _asked_until_final(bench, shop, reference, [pushes[each] for each in places]), strict=True
        ):
            wanted = (PushState.GONE, PushState.REJECTED) if place == 2 else (PushState.WRITTEN,)
            expect(answer.state in wanted, f"Of {pushes[place].quantity} it says {answer}.")
    seen = {sku: shop.stock()[sku] for sku in ("MUG-1", "TEE-S")}
    expect(seen == {"MUG-1": 3, "TEE-S": 2}, f"The shop says {seen}.")


@CONTRACT.case(
    STOCK,
    "figures-pending-settled-in-order",
    "What is pending is answered in the order in which it is asked for, all of it or a part.",
    needs=settles,
)
def _(bench: ChannelBench) -> None:
    shop, pushes, waiting = _taken_in(bench)
    for reference, places in waiting.items():
        forth = _asked_until_final(bench, shop, reference, [pushes[each] for each in places])
        back = _asked_until_final(bench, shop, reference, [pushes[each] for each in reversed(places)])
        one, other = [each.state for each in forth], [each.state for each in reversed(back)]
        expect(one == other, f"Forth it says {one}, and back {other}.")
        for place, answer in zip(places, forth, strict=True):
            (alone,) = _asked_until_final(bench, shop, reference, [pushes[place]])
            expect(alone.state is answer.state, f"Alone it says {alone.state}, among others {answer.state}.")


# ---------------------------------------------------------------- what webhooks tell

TELLS = CONTRACT.rule(
    "webhooks-tell",
    Level.SILVER,
    "What its webhooks say of orders is what fetching says, or asks for that.",
    "read_webhook gives the whole Order, or Refetch where the body leaves something out.",
)


def told(bench: ChannelBench, happens: Callable[[Any, str], object]) -> tuple[Any, str, list[Any]]:
    """The connector, an order, and the facts of the webhooks about what ``happens`` to it."""
    shop, connector = subscribed(bench)
    shop.take_webhooks()
    bought = bench.buy(("MUG-1", 2))
    shop_letters = [] if happens is _nothing_more else shop.take_webhooks()
    del shop_letters
    if happens is not _nothing_more:
        bench.clock.advance(60)
        happens(shop, bought)
    reader = bench.reader(shop)
    facts: list[Any] = []
    for letter in shop.take_webhooks():
        webhook = webhook_of(letter)
        delivery: Delivery | None = reader.verify(webhook)
        if delivery is not None:
            facts += reader.read_webhook(RawRecord(delivery.topic, "", webhook.body, headers=webhook.headers))
    return connector, bought, facts


def _nothing_more(shop: Any, order: str) -> None:
    """It was bought, and that is all."""


_HAPPENINGS: Mapping[str, Callable[[Any, str], object]] = {
    "bought": _nothing_more,
    "cancelled": lambda shop, order: shop.cancel(order),
    "fulfilled": lambda shop, order: shop.fulfill(order),
}


@CONTRACT.each(
    TELLS,
    "webhook-tells-of-an-order-{}",
    "When an order is {}, a webhook says so: the order, or that it has to be fetched.",
    _HAPPENINGS,
    needs=has_webhooks,
)
def _(bench: ChannelBench, happens: Callable[[Any, str], object]) -> None:
    _, bought, facts = told(bench, happens)
    about = [
        fact
        for fact in facts
        if (isinstance(fact, Order | OrderRemoved) and fact.external_id == bought)
        or (isinstance(fact, Refetch) and (fact.kind, fact.external_id) == ("order", bought))
    ]
    expect(about, f"Of {len(facts)} facts none is about the order.")


@CONTRACT.each(
    TELLS,
    "webhook-agrees-on-an-order-{}",
    "What a webhook says of an order that is {} is what fetching it says.",
    _HAPPENINGS,
    needs=has_webhooks,
)
def _(bench: ChannelBench, happens: Callable[[Any, str], object]) -> None:
    connector, bought, facts = told(bench, happens)
    fetched = connector.read_order(connector.fetch_order(bought))
    orders = [fact for fact in facts if isinstance(fact, Order) and fact.external_id == bought]
    if not orders:
        raise NotApplicable("its webhooks do not carry the order")
    for order in orders:
        same = ("external_id", "number", "currency", "total", "version", "placed_at")
        other = [name for name in same if getattr(order, name) != getattr(fetched, name)]
        expect(not other, f"They differ in {', '.join(other)}.")
        if order.whole:
            one, two = (
                (each.status, each.holds_stock, sorted((line.external_id, line.open_quantity) for line in each.lines))
                for each in (order, fetched)
            )
            expect(one == two, f"The webhook says {one}, fetching {two}.")


@CONTRACT.case(
    TELLS, "webhook-facts-are-facts", "Everything a webhook says is one of the facts the hub knows.", needs=has_webhooks
)
def _(bench: ChannelBench) -> None:
    known = (Order, Listing, OrderRemoved, ListingRemoved, Refetch, StockSeen)
    for happens in _HAPPENINGS.values():
        for fact in told(bench, happens)[2]:
            expect(isinstance(fact, known), f"It says a {type(fact).__name__}.")


@CONTRACT.case(
    TELLS,
    "webhook-and-fetch-name-listings-alike",
    "The lines of a webhook name listings as fetching does.",
    needs=has_webhooks,
)
def _(bench: ChannelBench) -> None:
    connector, bought, facts = told(bench, _nothing_more)
    fetched = connector.read_order(connector.fetch_order(bought))
    wanted = {line.external_id: line.listing_external_id for line in fetched.lines}
    for fact in facts:
        if isinstance(fact, Order):
            seen = {line.external_id: line.listing_external_id for line in fact.lines}
            expect(seen == wanted, f"The webhook names {seen}, fetching {wanted}.")
