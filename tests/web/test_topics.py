"""What came in is told in words: every topic that a connector knows, and those that nobody knows yet."""

from __future__ import annotations

import re

from flask import Flask

from hub.connector import Carrier, FulfillmentProvider, SalesChannel
from hub.jobs import inbox_lane
from hub.store import inbox
from hub.web.timeline import effect_name
from hub.web.topics import _TOPICS, about
from hub_3pl import shipbob
from hub_amazon import channel_messages, fulfillment
from hub_carriers import easypost
from hub_shopify import webhooks as shopify
from hub_woocommerce import webhooks as woocommerce

BY_WEBHOOK = (
    *shopify.READERS,
    *woocommerce.TOPICS,
    *channel_messages.TOPICS,
    *fulfillment.TOPICS,
    *easypost.TOPICS,
    *shipbob.TOPICS,
    "track_alert",  # UPS
    "order.changed",  # the example of the tutorial
)
ASKED_FOR = ("order", inbox_lane.GONE, "listing", "shipment", "stock", inbox_lane.TRACKING, inbox.MESSAGE)


def test_each_topic_of_a_connector_has_words(app: Flask) -> None:
    with app.test_request_context():
        said = {topic: about(topic) for topic in (*BY_WEBHOOK, *ASKED_FOR)}

    words = {topic: text.removesuffix(f" ({topic})") for topic, text in said.items()}
    assert [text for text in words.values() if not re.fullmatch(r"[a-z][a-zA-Z0-9 ,]+", text)] == []
    # The vendor's own name stands behind, for its support.
    assert said == {topic: words[topic] if topic.isalpha() else f"{words[topic]} ({topic})" for topic in said}


def test_no_words_are_kept_for_what_no_connector_sends() -> None:
    assert _TOPICS.keys() - {topic.lower() for topic in (*BY_WEBHOOK, *ASKED_FOR)} == set()


def test_each_effect_of_a_connector_has_words(app: Flask) -> None:
    kinds = {kind for each in (SalesChannel, Carrier, FulfillmentProvider) for kind in each._requests}
    with app.test_request_context():
        said = {kind: effect_name(kind) for kind in (*kinds, "confirm_shipment_again")}
        assert effect_name("ring_the_bell") == "Ring the bell"

    assert len(set(said.values())) == len(said)
    assert [name for kind, name in said.items() if "_" in kind and name == kind.replace("_", " ").capitalize()] == []


def test_what_is_unknown_is_written_so_that_it_can_be_read(app: Flask) -> None:
    with app.test_request_context():
        assert about("ORDER_CHANGE") == "a change (ORDER_CHANGE)"
        assert about("SOME_NEW_THING") == "“some new thing”"
        assert about("orders/Teleported.twice") == "“orders teleported twice”"
        assert about("<b>") == "“b”"
        assert about("///") == "something without a name"
