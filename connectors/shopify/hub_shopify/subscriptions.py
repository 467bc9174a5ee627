"""Which webhooks Shopify sends to this hub: what is missing is added, what was left at an older address is deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from hub.connector import EffectResult, Subscriptions
from hub.errors import Rejected
from hub_shopify import documents
from hub_shopify.admin_api import AdminApi
from hub_shopify.webhooks import TOPICS

_BY_NAME = {topic.replace("/", "_").upper(): topic for topic in TOPICS}  # as GraphQL calls them


def read(api: AdminApi, address: str) -> Subscriptions:
    """The topics that Shopify sends to ``address``, and those it should."""
    there = {topic for topic, uri, _ in _kept(api) if uri == address}
    return Subscriptions(
        active=tuple(topic for topic in TOPICS if topic in there),
        missing=tuple(topic for topic in TOPICS if topic not in there),
    )


def subscribe(api: AdminApi, address: str) -> EffectResult:
    """Subscribe to what is missing, then delete what still goes to another host with the path of ``address``.

    Shopify refuses single topics (for a scope, for customers' data that it has not approved): the others are still
    subscribed to. Raises Rejected, naming those it refused.
    """
    kept = list(_kept(api))
    there = {topic for topic, uri, _ in kept if uri == address}
    created, refused = [], []
    for name, topic in _BY_NAME.items():
        if topic in there:
            continue
        answer = api.ask(documents.SUBSCRIBE, topic=name, address=address)["webhookSubscriptionCreate"]
        # Taken: somebody else was faster.
        errors = [each["message"] for each in answer["userErrors"] if "already been taken" not in each["message"]]
        if errors:
            refused.append(f"{topic} ({errors[0]})")
        else:
            created.append(topic)
    path = urlsplit(address).path
    left = [id for _, uri, id in kept if uri != address and urlsplit(uri).path == path]
    for id in left:
        # Where it is not there any more, it is gone as it should be: what the answer says changes nothing.
        api.ask(documents.UNSUBSCRIBE, id=id)
    if refused:
        raise Rejected(f"Shopify does not send this to the hub: {', '.join(refused)}")
    return EffectResult(details={"address": address, "created": created, "deleted": len(left)})


def _kept(api: AdminApi) -> Iterator[tuple[str, str, str]]:
    """(topic, address, id) of the app's subscriptions at Shopify; a topic we don't know is ""."""
    each: Mapping[str, Any]
    for each in api.all(documents.SUBSCRIPTIONS, ("webhookSubscriptions",)):
        yield _BY_NAME.get(each["topic"], ""), each["uri"], each["id"]
