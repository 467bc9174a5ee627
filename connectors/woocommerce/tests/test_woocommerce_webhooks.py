"""Signatures, senders and keys of webhooks, on the 47 recorded deliveries."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hub.connector import Context, Delivery, RawRecord, Webhook
from hub.errors import Unverified
from hub.http import RefusingClient
from hub.testing.context import MemoryTokenVault, context_for
from hub_woocommerce.connector import WooCommerceConnector

DELIVERIES = [
    json.loads(line)
    for line in (Path(__file__).parent / "payloads" / "_webhook_deliveries.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
SECRET = "s3cret"
SETTINGS = {"site": "https://127.0.0.1:8099", "consumer_key": "ck_1", "consumer_secret": "cs_2"}


def connector(*, secret: str = SECRET, site: str = SETTINGS["site"]) -> WooCommerceConnector:
    context = context_for({**SETTINGS, "site": site}, webhook_secret=secret)
    # As in the web process: verifying needs no network.
    return WooCommerceConnector(
        Context(context.settings, secret, RefusingClient(), context.now, MemoryTokenVault(context.now))
    )


def webhook(number: int, body: bytes | None = None, **headers: str) -> Webhook:
    row = DELIVERIES[number]
    sent = {name.lower(): value for name, value in row["headers"].items()}
    changed = {f"x-wc-webhook-{name.replace('_', '-')}": value for name, value in headers.items()}
    return Webhook({**sent, **changed}, row["body"].encode() if body is None else body)


def signed(body: bytes, headers: Mapping[str, str]) -> Webhook:
    digest = hmac.digest(SECRET.encode(), body, hashlib.sha256)
    return Webhook({**headers, "x-wc-webhook-signature": base64.b64encode(digest).decode()}, body)


def verified() -> Iterator[tuple[int, Delivery]]:
    for number in range(len(DELIVERIES)):
        delivery = connector().verify(webhook(number))
        if delivery is not None:
            yield number, delivery


def test_every_recorded_delivery_is_verified_and_every_ping_is_a_handshake() -> None:
    known = dict(verified())
    assert len(DELIVERIES) == 47
    assert len(known) == 39
    assert {DELIVERIES[number]["body"] for number in range(47) if number not in known} == {
        f"webhook_id={id}" for id in range(1, 9)
    }
    assert {number: delivery.topic for number, delivery in known.items()} == {
        number: DELIVERIES[number]["headers"]["X-WC-Webhook-Topic"] for number in known
    }


def test_delivery_ids_collide_and_yet_no_delivery_is_taken_for_another() -> None:
    known = dict(verified())
    ids = {number: DELIVERIES[number]["headers"]["X-WC-Webhook-Delivery-ID"] for number in known}
    # Orders 14 and 15 came through one webhook in one second: by this id, one of them would be lost.
    assert ids[15] == ids[19]
    assert json.loads(DELIVERIES[15]["body"])["id"] == 14
    assert json.loads(DELIVERIES[19]["body"])["id"] == 15
    assert len(set(ids.values())) == 22
    keys = {number: delivery.dedupe_key for number, delivery in known.items()}
    assert len(set(keys.values())) == 39


def test_the_same_delivery_has_the_same_key_again() -> None:
    first, second = connector().verify(webhook(29)), connector().verify(webhook(29))
    assert first == second
    assert first is not None
    assert first.dedupe_key == f"order.updated:{hashlib.sha256(DELIVERIES[29]['body'].encode()).hexdigest()}"


def test_a_deletion_repeated_after_the_order_was_restored_is_not_taken_for_the_first() -> None:
    first = connector().verify(webhook(35))
    again = connector().verify(webhook(35, delivery_id="ffff0000ffff0000ffff0000ffff0000"))
    assert first is not None
    assert again is not None
    assert first.topic == again.topic == "order.deleted"
    assert first.dedupe_key != again.dedupe_key


@pytest.mark.parametrize("number", [8, 15, 35])
def test_a_body_changed_by_one_byte_is_refused(number: int) -> None:
    body = DELIVERIES[number]["body"].encode()
    with pytest.raises(Unverified):
        connector().verify(webhook(number, body[:-1] + b" }"))
    assert connector().verify(webhook(number, body)) is not None


@pytest.mark.parametrize(
    "signature", ["", "x", "é", "\ud800", "i3F25XbdUqmgRDs1cwu+OSc5NxbIqhsttiECnv2YI+Q", "A" * 10_000]
)
def test_any_other_signature_is_refused(signature: str) -> None:
    with pytest.raises(Unverified) as refused:
        connector().verify(webhook(8, signature=signature))
    assert str(refused.value) == "The signature does not fit the secret of this connection's webhooks."


def test_the_secret_of_another_connection_is_refused() -> None:
    with pytest.raises(Unverified):
        connector(secret="another").verify(webhook(15))


def test_without_a_secret_nothing_is_believed_not_even_what_is_signed_with_none() -> None:
    body = DELIVERIES[15]["body"].encode()
    digest = base64.b64encode(hmac.digest(b"", body, hashlib.sha256)).decode()
    with pytest.raises(Unverified):
        connector(secret="").verify(webhook(15, signature=digest))


def test_another_shops_webhook_is_refused_even_if_it_is_signed_right() -> None:
    with pytest.raises(Unverified) as refused:
        connector().verify(webhook(15, source="https://other.example/"))
    assert str(refused.value) == "The webhook comes from another shop than the one connected."


@pytest.mark.parametrize(
    ("site", "source"),
    [
        ("http://127.0.0.1:8099", "https://127.0.0.1:8099/"),
        ("https://shop.example", "http://shop.example:8080/"),
        ("https://shop.example", "https://www.shop.example/"),
        ("https://shop.example/store", "https://shop.example/Store/"),
        ("https://shop.example", ""),
    ],
)
def test_a_shop_that_is_wrong_about_its_scheme_or_port_is_still_the_shop(site: str, source: str) -> None:
    delivery = connector(site=site).verify(webhook(15, source=source))
    assert delivery is not None
    assert delivery.topic == "order.created"


def test_a_signed_webhook_without_a_topic_is_refused() -> None:
    sent = webhook(15)
    headers = {name: value for name, value in sent.headers.items() if name != "x-wc-webhook-topic"}
    with pytest.raises(Unverified):
        connector().verify(Webhook(headers, sent.body))


@pytest.mark.parametrize("topic", ["order.created\nx", "order", "order." + "x" * 300, "ORDER.CREATED", "../order.x"])
def test_a_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(Unverified):
        connector().verify(webhook(15, topic=topic))


@pytest.mark.parametrize(
    "body",
    [b"", b"webhook_id=", b"webhook_id=1&x=2", b"webhook_id=abc", b"webhook_id=1\n", b"{}", b'{"id":1}', b"x" * 100],
)
def test_nothing_else_unsigned_passes_for_a_ping(body: bytes) -> None:
    with pytest.raises(Unverified):
        connector().verify(Webhook({"content-type": "application/x-www-form-urlencoded"}, body))


def test_a_ping_that_claims_a_topic_is_no_ping() -> None:
    with pytest.raises(Unverified):
        connector().verify(Webhook({"x-wc-webhook-topic": "order.created"}, b"webhook_id=1"))


def test_any_bytes_can_be_verified_because_the_body_is_not_read() -> None:
    body = b"\xff\x00 not json"
    delivery = connector().verify(signed(body, {"x-wc-webhook-topic": "order.updated"}))
    assert delivery == Delivery("order.updated", f"order.updated:{hashlib.sha256(body).hexdigest()}")


@pytest.mark.parametrize(
    "topic", ["customer.created", "coupon.updated", "action.woocommerce_add_to_cart", "order.paid"]
)
def test_topics_that_do_not_matter_say_nothing(topic: str) -> None:
    assert list(connector().read_webhook(RawRecord(topic, "", b"whatever"))) == []
