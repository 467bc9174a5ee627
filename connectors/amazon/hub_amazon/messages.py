"""What Amazon leaves in the queue: subscribing to it, and the envelope that every message has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.connector import Delivery, EffectResult, Subscriptions
from hub.errors import Rejected, Unreadable
from hub.translation import load_json
from hub_amazon.settings import queue_arn
from hub_amazon.sp_api import SellingPartnerApi

# The operations that subscribing takes.
OPERATIONS: Final = (
    "getDestinations",
    "createDestination",
    "getSubscription",
    "createSubscription",
    "deleteSubscriptionById",
)
POLL_SECONDS: Final = 3.0  # how often the queue is emptied
PAYLOAD_VERSION: Final = "1.0"  # of every message that is read here
_OURS = "tallyhub-"  # what destinations are called that were made here


# ---------------------------------------------------------------- the envelope


def read_message(body: bytes) -> Delivery | None:
    """What a message is about. Raises Unreadable for what is no notification.

    Amazon writes the names of the envelope with a capital letter in older types, and with a small one in newer ones.
    """
    envelope = load_json(body)
    kind = member(envelope, "NotificationType")
    told_apart_by = member(member(envelope, "NotificationMetadata"), "NotificationId")
    if not isinstance(kind, str) or not isinstance(told_apart_by, str) or not kind or not told_apart_by:
        raise Unreadable("The message is no notification of Amazon's: it has no type, or no id.")
    return Delivery(kind, f"{kind}/{told_apart_by}")


def member(value: Any, name: str) -> Any:
    """A member of an object by either spelling of its name, None where there is none."""
    if not isinstance(value, Mapping):
        return None
    return value.get(name, value.get(name[0].lower() + name[1:]))


# ---------------------------------------------------------------- subscribing


def subscribe(api: SellingPartnerApi, settings: Mapping[str, Any], topics: Sequence[str]) -> EffectResult:
    """Have Amazon leave these topics in the connection's queue; what is there already stays as it is.

    A subscription that leads to another queue is taken away only where that was ours too: another program may live on
    it. Amazon keeps one subscription of each topic for an application and a seller.
    """
    arn = queue_arn(settings["queue_url"])
    destinations = _destinations(api)
    destination = next((id for id, (_, where) in destinations.items() if where == arn), None)
    if destination is None:
        destination = _create_destination(api, arn)
    for topic in topics:
        standing = _subscription(api, topic)
        if standing is not None and standing["destinationId"] != destination:
            name, where = destinations.get(standing["destinationId"], ("", ""))
            if not name.startswith(_OURS):
                raise Rejected(
                    f"Amazon leaves {topic} in another queue already ({where or standing['destinationId']}), which was "
                    "not set up here. Enter that queue's URL if nothing else reads it; or use an application of its "
                    "own for Tallyhub."
                )
            api.call(
                "deleteSubscriptionById",
                path={"notificationType": topic, "subscriptionId": standing["subscriptionId"]},
                expect=(404,),
            )
            standing = None
        if standing is None:
            api.call(
                "createSubscription",
                path={"notificationType": topic},
                body={"payloadVersion": PAYLOAD_VERSION, "destinationId": destination},
            )
    return EffectResult(destination, {"topics": list(topics)})


def read_subscriptions(api: SellingPartnerApi, settings: Mapping[str, Any], topics: Sequence[str]) -> Subscriptions:
    """Which of these topics Amazon leaves in the connection's queue now."""
    arn = queue_arn(settings["queue_url"])
    here = {id for id, (_, where) in _destinations(api).items() if where == arn}
    standing = {topic: _subscription(api, topic) for topic in topics} if here else {}
    active = tuple(topic for topic, found in standing.items() if found is not None and found["destinationId"] in here)
    return Subscriptions(active, tuple(topic for topic in topics if topic not in active))


def _destinations(api: SellingPartnerApi) -> dict[str, tuple[str, str]]:
    """The application's destinations by id: their names, and the queues they lead to."""
    listed = api.call("getDestinations").object("payload")["payload"]
    found = {}
    for each in listed if isinstance(listed, list) else ():
        sqs = member(member(each, "resource"), "sqs")
        found[str(each["destinationId"])] = (str(each.get("name", "")), str((sqs or {}).get("arn", "")))
    return found


def _create_destination(api: SellingPartnerApi, arn: str) -> str:
    created = api.call(
        "createDestination",
        body={"name": f"{_OURS}{arn.rpartition(':')[2]}", "resourceSpecification": {"sqs": {"arn": arn}}},
    )
    return str(created.object("payload")["payload"]["destinationId"])


def _subscription(api: SellingPartnerApi, topic: str) -> Mapping[str, Any] | None:
    """The account's subscription of a topic, None where it has none."""
    found = api.call(
        "getSubscription",
        path={"notificationType": topic},
        params={"payloadVersion": PAYLOAD_VERSION},
        expect=(404,),
    )
    if found.status == 404:
        return None
    payload: Mapping[str, Any] = found.object("payload")["payload"]
    return payload
