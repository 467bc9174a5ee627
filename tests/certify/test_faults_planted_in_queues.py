"""The contract for vendors that leave messages bites: each mistake below is caught by a case."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import pytest

import hub
from hub.certify import FAILED, PASSED, certify
from hub.testing import SimRequest, SimResponse
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.simulator import LarkmartSimulator

PLANTED: list[Any] = []
CASES = (
    "queue-is-named",
    "message-is-named",
    "message-copies-share-a-key",
    "message-events-have-keys-of-their-own",
    "message-odd-refused",
    "message-with-a-member-left-out-refused",
    "message-read-as-a-webhook",
    "messages-subscribed-once",
    "messages-watched",
)


class Queueing(LarkmartConnector):
    """Larkmart, if it left its webhooks in a queue instead of sending them."""

    capabilities: ClassVar[hub.Capabilities] = hub.Capabilities(webhooks=False, message_poll_seconds=2.0)

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> hub.QueueAddress | None:
        url = "https://sqs.us-east-1.amazonaws.com/123456789012/larkmart"
        return hub.QueueAddress(url, "us-east-1", "key-id", "long-and-secret")

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        told = hub.load_json(body)
        if not isinstance(told, dict) or "id" not in told:
            raise hub.Unreadable("This is no message of Larkmart's.")
        return hub.Delivery("order.changed", hashlib.sha256(body).hexdigest())

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        told = self._ask("GET", "webhook", "hook")["hook"]
        return hub.Subscriptions(("order",)) if address in told else hub.Subscriptions((), ("order",))


class QueueingSimulator(LarkmartSimulator):
    """Says whom it tells, too."""

    def answer(self, request: SimRequest) -> SimResponse:
        if (request.method, request.path.rpartition("/")[2]) == ("GET", "webhook"):
            return SimResponse.of_json({"hook": [] if self.webhook is None else [self.webhook["address"]]})
        return super().answer(request)


def caught_by(*cases: str) -> Callable[[type[Any]], type[Any]]:
    """The decorated connector is wrong in one thing, which these cases have to notice."""

    def plant(connector: type[Any]) -> type[Any]:
        PLANTED.extend(pytest.param(connector, case, id=f"{connector.__name__}-{case}") for case in cases)
        return connector

    return plant


@caught_by("queue-is-named")
class NamesNoQueue(Queueing):
    """Says that there are messages, and not where."""

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> hub.QueueAddress | None:
        return None


@caught_by("queue-is-named")
class NamesAnOpenQueue(Queueing):
    """Would read messages from whoever stands in between."""

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> hub.QueueAddress | None:
        return hub.QueueAddress("http://sqs.us-east-1.amazonaws.com/1/larkmart", "us-east-1", "key-id", "secret")


@caught_by("message-is-named")
class KeepsNothing(Queueing):
    """Takes every message for a test."""

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        super().read_message(body)
        return None


@caught_by("message-is-named")
class NamesNoKey(Queueing):
    """Leaves the key out."""

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        super().read_message(body)
        return hub.Delivery("order.changed", "")


@caught_by("message-copies-share-a-key")
class CountsCopies(Queueing):
    """Gives every copy a key of its own."""

    copies: ClassVar[list[bytes]] = []

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        super().read_message(body)
        cls.copies.append(body)
        return hub.Delivery("order.changed", str(len(cls.copies)))


@caught_by("message-events-have-keys-of-their-own")
class KnowsOneMessageOnly(Queueing):
    """Names all messages by their topic."""

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        super().read_message(body)
        return hub.Delivery("order.changed", "order.changed")


@caught_by("message-odd-refused")
class TakesAnything(Queueing):
    """Takes whatever lies in the queue for news."""

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        return hub.Delivery("order.changed", hashlib.sha256(body).hexdigest())


@caught_by("message-odd-refused", "message-with-a-member-left-out-refused")
class StumblesOverOddOnes(Queueing):
    """Believes that every message is as it should be."""

    @classmethod
    def read_message(cls, body: bytes) -> hub.Delivery | None:
        return hub.Delivery("order.changed", f"{hub.load_json(body)['id']}/{hashlib.sha256(body).hexdigest()}")


@caught_by("message-read-as-a-webhook")
class HearsNothing(Queueing):
    """Reads nothing in what it keeps."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        return ()


@caught_by("messages-subscribed-once")
class ForgetsToSubscribeAgain(Queueing):
    """Switches off what it has switched on before."""

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        if key == "certify/again":
            return hub.EffectResult(str(self._ask("PUT", "webhook", "id", json=None)))
        return super().subscribe_webhooks(request, key)


@caught_by("messages-watched")
class BelievesThatAllIsWell(Queueing):
    """Asks nobody whether its messages are sent."""

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        return hub.Subscriptions((), ("order",))


@pytest.mark.parametrize("case", CASES)
def test_a_channel_that_leaves_messages_can_keep_the_contract(case: str) -> None:
    (outcome,) = certify(Queueing, QueueingSimulator, only=[case]).outcomes

    assert outcome.state == PASSED, outcome.reason


@pytest.mark.parametrize(("connector", "case"), PLANTED)
def test_each_mistake_is_caught(connector: type[Any], case: str) -> None:
    (outcome,) = certify(connector, QueueingSimulator, only=[case]).outcomes

    assert outcome.state == FAILED, f"{outcome.state}: {outcome.reason}"


def test_a_vendor_without_a_queue_is_not_asked_for_messages() -> None:
    (outcome,) = certify(LarkmartConnector, LarkmartSimulator, only=["message-is-named"]).outcomes

    assert outcome.reason == "its vendor leaves no messages in a queue (message_poll_seconds)"
