"""Webhooks: believing them, reading them, and looking after the shop's subscriptions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from hub.connector import Delivery, EffectResult, Fact, ListingRemoved, OrderRemoved, RawRecord, Subscriptions, Webhook
from hub.errors import NotFound, Unverified
from hub_woocommerce.listings import Listings
from hub_woocommerce.orders import Orders
from hub_woocommerce.settings import same_site
from hub_woocommerce.translation import Removed

TOPICS = (
    "order.created",
    "order.updated",
    "order.deleted",
    "order.restored",
    "product.created",
    "product.updated",
    "product.deleted",
    "product.restored",
)


class Webhooks(Orders, Listings):
    """What the shop sends by itself."""

    def verify(self, webhook: Webhook) -> Delivery | None:
        headers = webhook.headers
        topic = headers.get("x-wc-webhook-topic", "")
        signature = headers.get("x-wc-webhook-signature", "")
        if not topic and not signature and re.fullmatch(rb"webhook_id=[0-9]{1,20}", webhook.body):
            return None  # sent once, unsigned, when a webhook is saved
        if not self.context.webhook_secret:
            raise Unverified("This connection has no webhook secret yet. Subscribe its webhooks first.")
        digest = hmac.digest(self.context.webhook_secret.encode(), webhook.body, hashlib.sha256)
        if not hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "replace")):
            raise Unverified("The signature does not fit the secret of this connection's webhooks.")
        source = headers.get("x-wc-webhook-source", "")
        if source and not same_site(source, self._site):
            raise Unverified("The webhook comes from another shop than the one connected.")
        if not re.fullmatch(r"[a-z_]{1,40}\.[a-z_]{1,40}", topic):
            raise Unverified("The webhook does not say what happened.")
        # X-WC-Webhook-Delivery-ID is a hash of the webhook's id and the second: two orders of one second share it,
        # and it can never be the key. It only tells apart a second deletion of an order that was restored meanwhile,
        # because the body of a deletion is nothing but the id.
        key = f"{topic}:{hashlib.sha256(webhook.body).hexdigest()}"
        if topic.endswith(".deleted"):
            key += f":{headers.get('x-wc-webhook-delivery-id', '')[:64]}"
        return Delivery(topic, key)

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        facts: Iterable[Fact] = ()
        if record.topic in ("order.created", "order.updated", "order.restored"):
            facts = (self._webhook_order.read(record.body),)
        elif record.topic == "order.deleted":
            facts = (OrderRemoved(Removed().read(record.body)),)
        elif record.topic in ("product.created", "product.updated", "product.restored"):
            facts = self._webhook_product.read(record.body)
        elif record.topic == "product.deleted":
            # Shops that keep orders as WordPress posts send this for a trashed order too, with the order's id. Posts
            # share one numbering, so it names no listing, and nothing happens.
            facts = (ListingRemoved(Removed().read(record.body)),)
        return facts

    # --- subscriptions

    def read_subscriptions(self, address: str) -> Subscriptions:
        present = _subscribed(self._all("webhooks"), address)
        working = {topic for topic, row in present.items() if row.get("status") == "active"}
        return Subscriptions(
            active=tuple(topic for topic in TOPICS if topic in working),
            missing=tuple(topic for topic in TOPICS if topic not in working),
        )

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        address = str(request["address"])
        rows = self._all("webhooks")
        present = _subscribed(rows, address)
        created, activated = [], []
        for topic in TOPICS:
            secret = {"secret": self.context.webhook_secret, "status": "active"}
            if topic not in present:
                body = {"name": f"Tallyhub {topic}", "topic": topic, "delivery_url": address, **secret}
                self._call("POST", "webhooks", body=body)
                created.append(topic)
            elif present[topic].get("status") != "active":
                # WooCommerce disables a webhook by itself after more than five failures in a row.
                self._call("PUT", f"webhooks/{present[topic]['id']}", body=secret)
                activated.append(topic)
        # The hub has moved: what goes to this connection's path at its old address reaches nobody.
        deleted = []
        for row in rows:
            url = str(row.get("delivery_url"))
            if url != address and _path(url) == _path(address):
                with suppress(NotFound):
                    self._call("DELETE", f"webhooks/{row['id']}", force="true")
                deleted.append(str(row.get("topic")))
        return EffectResult(reference=address, details={"created": created, "activated": activated, "deleted": deleted})


def _subscribed(rows: Iterable[dict[str, Any]], address: str) -> dict[str, dict[str, Any]]:
    """The webhook of each topic that is sent to the address; of two for one topic, the working one."""
    present: dict[str, dict[str, Any]] = {}
    for row in rows:
        topic = str(row.get("topic"))
        if row.get("delivery_url") == address and present.get(topic, {}).get("status") != "active":
            present[topic] = row
    return present


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return url
