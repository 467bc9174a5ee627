"""The doorbell behind the pages: whose lanes are rung for, and how often."""

from __future__ import annotations

from uuid import UUID

from flask import Flask, g

from hub.jobs import Hub
from hub.store.accounts import Visitor
from hub.web import waking
from tests.web.shop_builder import Shop

ALPHA, BETA = UUID(int=1), UUID(int=2)


def ada(shop: Shop) -> Visitor:
    return Visitor(UUID(int=9), "ada@tea.example", "Ada", "owner", shop.merchant_id, "Tea", shop.now, shop.now)


def test_a_lane_that_is_named_twice_is_rung_for_once(app: Flask, hub: Hub, shop: Shop) -> None:
    with app.test_request_context():
        g.visitor = ada(shop)
        waking.ring([(ALPHA, "publish"), (BETA, "route"), (ALPHA, "publish")])

    assert hub.doorbell.rung == [  # type: ignore[attr-defined]
        (shop.merchant_id, ALPHA, "publish"),
        (shop.merchant_id, BETA, "route"),
    ]


def test_every_lane_of_every_connection_is_rung_for(app: Flask, hub: Hub, shop: Shop) -> None:
    with app.test_request_context():
        g.visitor = ada(shop)
        waking.wake([ALPHA, BETA], "fetch", "publish")

    assert [(connection_id, lane) for _, connection_id, lane in hub.doorbell.rung] == [  # type: ignore[attr-defined]
        (ALPHA, "fetch"),
        (ALPHA, "publish"),
        (BETA, "fetch"),
        (BETA, "publish"),
    ]
