"""The cases for webhooks: what is taken for one and what is not, how copies are known, how they are subscribed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any

from hub.certify import distribution
from hub.certify.bench import Bench, impatient, short
from hub.certify.contract import Contract, Level, NotApplicable, expect, fail
from hub.certify.odd import ODD_BODIES, ODD_VALUES, odd_leaves, reads_or_refuses, without_members
from hub.connector import Connector, Delivery, RawRecord, Refetch, Webhook
from hub.errors import ConnectorError, Unreadable, Unverified
from hub.testing.simulator import Fault, Letter

ANOTHER = "another merchant's"
HOOK = "https://hub.example/webhooks/1/2"
MOST_KEY, MOST_TOPIC = 300, 100  # characters that the inbox keeps


def has_webhooks(connector: type[Connector]) -> str:
    """Why there are no webhooks to be tried, "" where there are."""
    if not connector.capabilities.webhooks:
        return "its capabilities say that it has no webhooks"
    return "" if not follows(connector) else subscribes(connector)


def subscribes(connector: type[Connector]) -> str:
    """Why nothing is subscribed for the whole account, "" where it is."""
    if not connector.capabilities.webhooks:
        return "its capabilities say that it has no webhooks"
    return "" if "subscribe_webhooks" in connector.effects else "it does not declare the effect subscribe_webhooks"


def follows(connector: type[Connector]) -> str:
    """Why no parcel is followed by itself, "" where a carrier tells of those alone that it was asked to follow."""
    can = connector.capabilities
    followed = can.webhooks and getattr(can, "follow_days", None) is not None
    return "" if followed else "it tells of no parcel by itself (follow_days)"


def signs(connector: type[Connector]) -> str:
    """Why no signature can be tried, "" where there is one."""
    if why := has_webhooks(connector):
        return why
    return "" if connector.capabilities.webhooks_signed else "its vendor signs no webhooks: they are taken for hints"


def hints(connector: type[Connector]) -> str:
    """Why its webhooks are more than hints, "" where they are none."""
    if why := has_webhooks(connector):
        return why
    return "its webhooks are signed" if connector.capabilities.webhooks_signed else ""


def has_a_watch(connector: type[Connector]) -> str:
    """Why it cannot be told whether webhooks are still sent, "" where it can."""
    return subscribes(connector) or reads_subscriptions(connector)


def reads_subscriptions(connector: type[Connector]) -> str:
    """Why it cannot be asked what it is sent, "" where it can."""
    implements = connector.read_subscriptions is not Connector.read_subscriptions
    return "" if implements else "it does not implement read_subscriptions"


def webhook_of(letter: Letter) -> Webhook:
    """The webhook as the hub's door hands it on."""
    return Webhook({name.lower(): value for name, value in letter.headers.items()}, letter.body)


def subscribed(bench: Bench) -> tuple[Any, Any]:
    """A vendor that sends webhooks to us, and the connector that told it to."""
    vendor, connector = bench.connected()
    if not subscribes(bench.connector):  # who follows single parcels is asked for each
        connector.perform("subscribe_webhooks", {"address": HOOK}, "certify/webhooks")
    return vendor, connector


def heard(bench: Bench) -> tuple[Any, list[Webhook]]:
    """A connector that reaches nobody, and the webhooks that something at the vendor has led to."""
    vendor, _ = subscribed(bench)
    vendor.take_webhooks()
    bench.stir()
    letters = vendor.take_webhooks()
    expect(letters, "Something happened at the vendor, and no webhook was sent: was it subscribed?")
    return bench.reader(vendor), [webhook_of(letter) for letter in letters]


def verified(connector: Any, webhook: Webhook, what: str) -> Delivery | None:
    """The delivery that verify makes of a webhook, None where it refuses it or takes it for a handshake."""
    try:
        delivery: Delivery | None = connector.verify(webhook)
    except Unverified:
        return None
    except Exception as error:
        fail(f"verify raised {type(error).__name__} ({short(str(error))}) for {what}, instead of Unverified.")
    return delivery


def webhooks(contract: Contract) -> None:
    """What is taken for a webhook, and what is not."""
    rule = contract.rule(
        "webhooks",
        Level.SILVER,
        "It takes the vendor's webhooks and nobody else's, and knows a copy from news.",
        "Compare an HMAC of the raw body by hmac.compare_digest; see verify and Delivery in the reference.",
    )

    def case(
        id: str, says: str, needs: Callable[[type[Connector]], str] = has_webhooks
    ) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        return contract.case(rule, id, says, needs=needs)

    @case("webhook-genuine-accepted", "What the vendor sends is accepted, without asking anybody.")
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        for webhook in webhooks:
            delivery = verified(reader, webhook, "a genuine webhook")
            expect(delivery is not None, "It refused a webhook that is genuine.")

    @case("webhook-handshake-answered", "What the vendor sends while it is being subscribed is no stranger's.")
    def _(bench: Bench) -> None:
        vendor, _ = subscribed(bench)
        letters = vendor.take_webhooks()
        if not letters:
            raise NotApplicable("the vendor sends nothing while it is being subscribed")
        reader = bench.reader(vendor)
        for letter in letters:
            try:
                reader.verify(webhook_of(letter))
            except Unverified as error:
                fail(f"It refused the vendor's handshake: {error}")

    def refused(reader: Any, webhook: Webhook, what: str) -> None:
        expect(verified(reader, webhook, what) is None, f"It accepted {what}.")

    @case("webhook-tampered-body-refused", "A body with one changed byte is refused.", signs)
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        for at in sorted(bench.chance.sample(range(len(webhook.body)), min(24, len(webhook.body)))):
            body = bytearray(webhook.body)
            body[at] ^= 1
            refused(reader, Webhook(webhook.headers, bytes(body)), f"a body whose byte {at} was changed")

    @case("webhook-shortened-body-refused", "A body that ends early is refused.", signs)
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        for shorter in (webhook.body[:-1], webhook.body[1:], b""):
            refused(reader, Webhook(webhook.headers, shorter), f"a body of {len(shorter)} bytes")

    @case("webhook-lengthened-body-refused", "A body with something appended is refused, be it a space.", signs)
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        for more in (b" ", b"\n", b"\x00", b"{}"):
            refused(reader, Webhook(webhook.headers, webhook.body + more), f"a body with {more!r} appended")

    @case(
        "webhook-rewritten-body-refused",
        "The same JSON in another spelling is refused: what is signed are the bytes.",
        signs,
    )
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        try:
            told = json.loads(webhook.body)
        except ValueError:
            raise NotApplicable("its webhooks are not JSON") from None
        for spelled in (json.dumps(told, indent=1), json.dumps(told, separators=(",", ":")), json.dumps(told)):
            if spelled.encode() != webhook.body:
                refused(reader, Webhook(webhook.headers, spelled.encode()), "the same JSON in another spelling")

    @case("webhook-unsigned-refused", "Without any header of the vendor's it is refused.")
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        for webhook in webhooks:
            refused(
                reader, Webhook({"content-type": "application/json"}, webhook.body), "a webhook without a signature"
            )
            refused(reader, Webhook({}, webhook.body), "a webhook without a header")

    @case("webhook-emptied-headers-refused", "With every header emptied it is refused.")
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        refused(reader, Webhook(dict.fromkeys(webhook.headers, ""), webhook.body), "a webhook with empty headers")

    @case("webhook-garbled-headers-refused", "Whatever stands in a header, it is refused in order.")
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        for odd in ("💥", "é" * 40, "x" * 70_000, "sha256=", "=", "t=1,v1="):
            garbled = dict.fromkeys(webhook.headers, odd)
            refused(reader, Webhook(garbled, webhook.body), f"a webhook whose headers are {short(odd)}")
            for name in webhook.headers:
                verified(reader, Webhook({**webhook.headers, name: odd}, webhook.body), f"{name} being {short(odd)}")

    @case("webhook-swapped-between-merchants-refused", "A webhook of one merchant is refused by another's connection.")
    def _(bench: Bench) -> None:
        _, webhooks = heard(bench)
        vendor = bench.vendors[0]
        stranger = bench.connect(vendor, settings=bench.other_secrets(vendor), webhook_secret=ANOTHER)
        for webhook in webhooks:
            refused(stranger, webhook, "another merchant's webhook")

    @case(
        "webhook-body-for-another-signature-refused",
        "The signature of one webhook does not carry another's body.",
        signs,
    )
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        bodies = {webhook.body: webhook for webhook in webhooks}
        if len(bodies) < 2:
            vendor = bench.vendors[0]
            bench.stir()
            bodies |= {letter.body: webhook_of(letter) for letter in vendor.take_webhooks()}
        one, other, *_ = bodies.values()
        refused(reader, Webhook(one.headers, other.body), "a body under another one's signature")

    @case("webhook-huge-body-refused", "A megabyte of nothing is refused.", signs)
    def _(bench: Bench) -> None:
        reader, (webhook, *_) = heard(bench)
        refused(reader, Webhook(webhook.headers, b"x" * 1_000_000), "a megabyte of nothing")

    @case(
        "webhook-unsigned-is-a-hint", "What nobody has signed only says what is to be fetched, whatever it says.", hints
    )
    def _(bench: Bench) -> None:
        for reader, record in heard_records(bench):
            for body in (record.body, *islice(odd_leaves(record.body, "DELIVERED"), 20)):
                try:
                    found = list(reader.read_webhook(replace(record, body=body)))
                except Unreadable:
                    continue
                believed = [type(each).__name__ for each in found if not isinstance(each, Refetch)]
                expect(not believed, f"It believes {believed[:1]} of a webhook that nobody has signed.")

    @case("webhook-compared-in-constant-time", "Signatures are compared in constant time.")
    def _(bench: Bench) -> None:
        source = distribution.source_of(bench.connector, "verify")
        safe = re.search(r"compare_digest|\.verify\(|hmac\.verify|constant_time", source)
        expect(safe, "Its package names neither hmac.compare_digest nor the check of a public-key signature.")

    @case("webhook-copies-share-a-key", "A second copy is known by the key of the first.")
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        for webhook in webhooks:
            expect(reader.verify(webhook) == reader.verify(webhook), "One webhook has two keys.")

    @case("webhook-key-does-not-go-by-the-clock", "A copy that comes later is known, or refused for its age.")
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        before = [reader.verify(webhook) for webhook in webhooks]
        bench.clock.advance(240)
        expect(before == [reader.verify(webhook) for webhook in webhooks], "Minutes later a copy has another key.")
        bench.clock.advance(3600)
        for webhook, delivery in zip(webhooks, before, strict=True):
            later = verified(reader, webhook, "a copy that comes an hour later")
            expect(later in (delivery, None), "An hour later a copy has another key.")

    @case("webhook-news-has-a-key-of-its-own", "Two events never share a key, not even in one second.")
    def _(bench: Bench) -> None:
        vendor, _ = subscribed(bench)
        vendor.take_webhooks()
        for _ in range(3):
            bench.stir(at_once=True)
        reader = bench.reader(vendor)
        keys: dict[str, bytes] = {}
        for letter in vendor.take_webhooks():
            delivery = reader.verify(webhook_of(letter))
            if delivery is None:
                continue
            before = keys.setdefault(delivery.dedupe_key, letter.body)
            expect(before == letter.body, f"Two events share the key {delivery.dedupe_key!r}: one of them is lost.")
        expect(len(keys) >= 3, f"Of three events {len(keys)} are left: the others count as copies.")

    @case("webhook-key-can-be-kept", "The key and the topic are texts that the inbox can keep.")
    def _(bench: Bench) -> None:
        reader, webhooks = heard(bench)
        for webhook in webhooks:
            delivery = reader.verify(webhook)
            if delivery is not None:
                expect(0 < len(delivery.dedupe_key) <= MOST_KEY, f"A key has {len(delivery.dedupe_key)} characters.")
                expect(0 < len(delivery.topic) <= MOST_TOPIC, f"The topic is {short(delivery.topic)}.")

    @case("webhook-read-without-asking", "Reading a webhook asks nobody, and says the same twice.")
    def _(bench: Bench) -> None:
        for reader, record in heard_records(bench):
            expect(
                list(reader.read_webhook(record)) == list(reader.read_webhook(record)), "It reads two things from one."
            )

    @case("webhook-of-no-matter-read", "A topic that does not matter tells nothing, or is set aside.")
    def _(bench: Bench) -> None:
        reader, record = heard_records(bench)[0]
        reads_or_refuses(
            lambda body: list(reader.read_webhook(RawRecord("no_such/topic", "", body, headers=record.headers))),
            [b"{}"],
            "an unknown topic",
        )

    @contract.each(
        rule,
        "webhook-body-{}-set-aside",
        "A signed body that is not what it should be ({}) is set aside, and nothing breaks.",
        ODD_BODIES,
        needs=has_webhooks,
    )
    def _(bench: Bench, odd: Callable[[bytes], bytes]) -> None:
        for reader, record in heard_records(bench):
            reads_or_refuses(
                _reading(reader, record),
                [odd(record.body)],
                f"a body of the topic {record.topic}",
            )

    @contract.each(
        rule,
        "webhook-value-{}-survived",
        "A webhook in which any one value is {} is read or set aside, and nothing breaks.",
        ODD_VALUES,
        needs=has_webhooks,
    )
    def _(bench: Bench, value: Any) -> None:
        for reader, record in heard_records(bench)[:6]:
            reads_or_refuses(
                _reading(reader, record),
                odd_leaves(record.body, value),
                f"a value of the topic {record.topic}",
            )

    @case("webhook-member-missing-survived", "A webhook in which any one member is missing is read or set aside.")
    def _(bench: Bench) -> None:
        for reader, record in heard_records(bench)[:6]:
            reads_or_refuses(
                _reading(reader, record),
                without_members(record.body),
                f"a member of the topic {record.topic}",
            )

    subscribing = contract.rule(
        "settlement",
        Level.GOLD,
        "Each effect is settled as its class says: whatever is lost on the way, it takes place once.",
        "Read what is there before you write, or send the key along; see Settlement in the reference.",
    )

    @contract.case(
        subscribing,
        "subscription-repeated-changes-nothing",
        "Subscribing again adds no second subscription.",
        needs=subscribes,
    )
    def _(bench: Bench) -> None:
        vendor, connector = subscribed(bench)
        once = _letters_per_event(bench, vendor)
        connector.perform("subscribe_webhooks", {"address": HOOK}, "certify/webhooks")
        twice = _letters_per_event(bench, vendor)
        expect(once == twice, f"Something that sent {once} webhooks sends {twice} after subscribing again.")

    @contract.each(
        subscribing,
        "subscription-{}-takes-place-once",
        "Subscribing takes place once, though an answer is lost on the way ({}).",
        {
            "reset-after-the-effect": Fault.reset(),
            "half-open-after-the-effect": Fault.half_open(),
            "500-after-the-effect": Fault.status(500, after_effect=True),
            "truncated": Fault.truncated(),
            "reset-before-the-effect": Fault.reset(after_effect=False),
            "429": Fault.status(429),
        },
        needs=subscribes,
    )
    def _(bench: Bench, fault: Fault) -> None:
        vendor, _ = subscribed(bench)
        right = _letters_per_event(bench, vendor)
        shop, connector = bench.connected()
        connector.check()
        for point in range(40):
            shop.fail_next("", fault, after=point)
            try:
                with impatient(connector) if fault.broken == "silent" else nullcontext():
                    connector.perform("subscribe_webhooks", {"address": HOOK}, "certify/webhooks")
            except ConnectorError:
                shop.heal()
                continue
            shop.heal()
            break
        got = _letters_per_event(bench, shop)
        expect(got == right, f"Something that should send {right} webhooks sends {got}.")


def watch(contract: Contract) -> None:
    """Whether it is noticed that webhooks are not sent any more."""
    rule = contract.rule(
        "watch",
        Level.GOLD,
        "It says which webhooks the vendor sends, names those that are lost, and has them sent again.",
        "Read the vendor's own list, its switched-off entries too; see read_subscriptions in the reference.",
    )

    @contract.case(
        rule,
        "subscriptions-agree-with-subscribing",
        "Before subscribing everything is missing, afterwards nothing, and another address has nothing.",
        needs=has_a_watch,
    )
    def _(bench: Bench) -> None:
        before = bench.connect(bench.vendor()).read_subscriptions(HOOK)
        expect(not before.active and before.missing, "It names webhooks that nobody has asked for yet.")
        _, connector = subscribed(bench)
        after = connector.read_subscriptions(HOOK)
        expect(not after.missing, f"Just subscribed, {', '.join(after.missing)} is said to be missing.")
        expect(set(after.active) == set(before.missing), "What is active is not what was missing before.")
        elsewhere = connector.read_subscriptions(f"{HOOK}-of-another")
        expect(not elsewhere.active, "It takes webhooks that go to another address for its own.")

    @contract.case(
        rule,
        "subscription-lost-is-named-and-made-again",
        "One that the vendor gave up is named as missing, and subscribing makes it again.",
        needs=has_a_watch,
    )
    def _(bench: Bench) -> None:
        vendor, connector = subscribed(bench)
        vendor.take_webhooks()
        for _ in range(12):
            bench.stir(vendor=vendor)
            letters = vendor.take_webhooks()
            if not letters:
                break  # it has given up
            for letter in letters:
                vendor.answered(letter, 500)
        else:
            raise NotApplicable("its simulator goes on sending, however often it is answered 500")
        found = connector.read_subscriptions(HOOK)
        expect(found.missing, "The vendor sends nothing any more, and nothing is said to be missing.")
        connector.perform("subscribe_webhooks", {"address": HOOK}, "certify/again")
        again = connector.read_subscriptions(HOOK)
        expect(not again.missing, f"Subscribed again, {', '.join(again.missing)} is still missing.")
        bench.stir(vendor=vendor)
        expect(vendor.take_webhooks(), "Subscribed again, the vendor still sends nothing.")


def heard_records(bench: Bench) -> list[tuple[Any, RawRecord]]:
    """A reader and each of the webhooks as the inbox keeps them, one per topic."""
    reader, webhooks = heard(bench)
    found: dict[str, RawRecord] = {}
    for webhook in webhooks:
        delivery = reader.verify(webhook)
        if delivery is not None:
            record = RawRecord(delivery.topic, "", webhook.body, headers=webhook.headers)
            found.setdefault(delivery.topic, record)
    expect(found, "None of the vendor's webhooks was taken.")
    return [(reader, record) for record in found.values()]


def _reading(reader: Any, record: RawRecord) -> Callable[[bytes], object]:
    """The reading of another body under the record's topic."""
    return lambda body: list(reader.read_webhook(replace(record, body=body)))


def _letters_per_event(bench: Bench, vendor: Any) -> int:
    vendor.take_webhooks()
    bench.stir(vendor=vendor)
    return len(vendor.take_webhooks())
