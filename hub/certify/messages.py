"""The cases for vendors that leave messages in a queue: what each is about, how copies are known, who asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.certify.bench import Bench, short
from hub.certify.contract import Contract, Level, NotApplicable, expect, fail
from hub.certify.odd import ODD_BODIES, ODD_VALUES, odd_leaves, reads_or_refuses, without_members
from hub.certify.webhooks import MOST_KEY, MOST_TOPIC, reads_subscriptions
from hub.connector import Connector, Delivery, RawRecord
from hub.errors import Unreadable
from hub.http import RefusingClient

HERE = ""  # the address that stands for the queue of the settings


def has_messages(connector: type[Connector]) -> str:
    """Why there are no messages to be tried, "" where there are."""
    polled = getattr(connector.capabilities, "message_poll_seconds", None)
    return "" if polled is not None else "its vendor leaves no messages in a queue (message_poll_seconds)"


def subscribes(connector: type[Connector]) -> str:
    """Why messages are not asked for, "" where they are."""
    if why := has_messages(connector):
        return why
    return "" if "subscribe_webhooks" in connector.effects else "it does not declare the effect subscribe_webhooks"


def is_watched(connector: type[Connector]) -> str:
    """Why it cannot be told whether messages are still sent, "" where it can."""
    return subscribes(connector) or reads_subscriptions(connector)


def subscribed(bench: Bench) -> Any:
    """A vendor that was told to leave its messages in our queue."""
    vendor, connector = bench.connected()
    if not subscribes(bench.connector):
        connector.perform("subscribe_webhooks", {"address": HERE}, "certify/messages")
    vendor.take_webhooks()
    return vendor


def left(bench: Bench, vendor: Any) -> list[bytes]:
    """The messages to which something at the vendor has led."""
    bench.stir(vendor)
    bodies = [letter.body for letter in vendor.take_webhooks()]
    expect(bodies, "Something happened at the vendor, and it left no message: was it asked to?")
    return bodies


def about(bench: Bench, body: bytes) -> Delivery | None:
    """What a genuine message is about."""
    try:
        found = bench.connector.read_message(body)
    except Unreadable as error:
        fail(f"It cannot read a genuine message: {error}")
    return found


def messages(contract: Contract) -> None:
    """What a vendor leaves in a queue."""
    rule = contract.rule(
        "messages",
        Level.SILVER,
        "It tells what each message in the vendor's queue is about, and knows a copy from news.",
        "See queue_address and read_message in the reference.",
    )

    def case(
        id: str, says: str, needs: Callable[[type[Connector]], str] = has_messages
    ) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        return contract.case(rule, id, says, needs=needs)

    @case("queue-is-named", "The settings name a queue, and nothing else is asked about it.")
    def _(bench: Bench) -> None:
        settings = bench.connector.settings_schema().load(dict(bench.vendor().settings()))
        address = bench.connector.queue_address(settings)
        expect(address is not None, "Its settings name no queue, although its vendor leaves messages.")
        expect(address == bench.connector.queue_address(settings), "It names two queues for the same settings.")
        expect(bool(address and address.url.startswith("https://")), f"The queue is at {short(str(address))}.")

    @case("message-is-named", "A message has a topic and a key that the inbox can keep.")
    def _(bench: Bench) -> None:
        kept = [found for body in left(bench, subscribed(bench)) if (found := about(bench, body)) is not None]
        expect(kept, "It keeps none of the vendor's messages.")
        for found in kept:
            expect(0 < len(found.dedupe_key) <= MOST_KEY, f"A key has {len(found.dedupe_key)} characters.")
            expect(0 < len(found.topic) <= MOST_TOPIC, f"The topic is {short(found.topic)}.")
            expect(f"{found.topic}{found.dedupe_key}".isprintable(), "A topic or a key cannot be printed.")

    @case("message-copies-share-a-key", "A second copy is known by the key of the first, whenever it comes.")
    def _(bench: Bench) -> None:
        bodies = left(bench, subscribed(bench))
        before = [about(bench, body) for body in bodies]
        bench.clock.advance(6 * 3600)
        expect(before == [about(bench, body) for body in bodies], "Hours later a copy has another key.")

    @case("message-events-have-keys-of-their-own", "Three events have three keys.")
    def _(bench: Bench) -> None:
        vendor = subscribed(bench)
        keys: dict[str, bytes] = {}
        for _ in range(3):
            for body in left(bench, vendor):
                if (found := about(bench, body)) is not None:
                    before = keys.setdefault(found.dedupe_key, body)
                    expect(before == body, f"Two events share the key {found.dedupe_key!r}: one of them is lost.")
        expect(len(keys) >= 3, f"Of three events {len(keys)} are left: the others count as copies.")

    @case("message-odd-refused", "What is no message of the vendor's is called unreadable, whatever it is.")
    def _(bench: Bench) -> None:
        for body in left(bench, subscribed(bench)):
            bodies = [spoil(body) for spoil in ODD_BODIES.values()]
            reads_or_refuses(bench.connector.read_message, bodies, "A body that is no message")
        refused = 0
        for odd in (b"", b"<Message/>", b"null", b"[1, 2]", b'"order"'):
            try:
                bench.connector.read_message(odd)
            except Unreadable:
                refused += 1
        expect(refused == 5, "It takes something for a message that is none.")

    @case("message-with-a-member-left-out-refused", "A message that lacks something, or has odd values, harms nobody.")
    def _(bench: Bench) -> None:
        body = left(bench, subscribed(bench))[0]
        bodies = without_members(body) + [each for value in ODD_VALUES.values() for each in odd_leaves(body, value)]
        reads_or_refuses(bench.connector.read_message, bodies[:400], "A message with something odd in it")

    @case("message-read-as-a-webhook", "What it says is read without asking anybody, twice the same.")
    def _(bench: Bench) -> None:
        vendor = subscribed(bench)
        reader = bench.reader(vendor)
        expect(isinstance(reader.client, RefusingClient), "The reader is not the one of the inbox.")
        told = 0
        for body in left(bench, vendor):
            if (found := about(bench, body)) is not None:
                record = RawRecord(found.topic, "", body)
                once = list(reader.read_webhook(record))
                expect(once == list(reader.read_webhook(record)), "It reads two things from one message.")
                told += len(once)
        expect(told, "Something happened at the vendor, and its messages tell nothing of it.")

    @case("messages-subscribed-once", "Asked for twice, an event leaves as many messages as before.", subscribes)
    def _(bench: Bench) -> None:
        vendor = subscribed(bench)
        once = len(left(bench, vendor))
        connector = bench.connect(vendor)
        connector.perform("subscribe_webhooks", {"address": HERE}, "certify/again")
        vendor.take_webhooks()
        twice = len(left(bench, vendor))
        expect(twice == once, f"An event left {once}, and after subscribing once more {twice}.")

    @case("messages-watched", "Before they are asked for all are missing, afterwards none is.", is_watched)
    def _(bench: Bench) -> None:
        before = bench.connect(bench.vendor()).read_subscriptions(HERE)
        if before.active:
            raise NotApplicable("its simulator leaves messages from the beginning")
        expect(before.missing, "It names nothing that is missing, and nobody has asked for anything yet.")
        after = bench.connect(subscribed(bench)).read_subscriptions(HERE)
        expect(not after.missing, f"Just subscribed, {', '.join(after.missing)} is said to be missing.")
        expect(set(after.active) == set(before.missing), "What is active is not what was missing before.")
