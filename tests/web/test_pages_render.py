"""Every page of the hub: with one of everything on it, and with nothing."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from flask import Flask

from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished

PUBLIC = {"/setup", "/sign-in", "/healthz", "/readyz"}


# Files, and what is shown to those alone who come with a vendor's answer.
_NO_PAGES = (
    "static",
    "authorize.come_back",
    "shipments.document",
    "packing.pick_pdf",
    "packing.slips_pdf",
    "packing.invoice_pdf",
    "packing.declaration_pdf",
    "bulk.papers",
    "shipments.labels_pdf",
    "stock_import.template",
    "connections.line",
    "search.found",
    "entrance.code_form",
    "health.security_txt",
    "pictures.show",
    "entrance.invitation",
    "entrance.invitation_again",
)


def pages(app: Flask, things: Furnished | None) -> list[str]:
    """The address of every page, with the ids of things where it needs some."""
    values = {
        "connection_id": things.connection_id if things else uuid4(),
        "task_id": things.task_id if things else uuid4(),
        "order_id": things.order_id if things else uuid4(),
        "location_id": things.location_id if things else uuid4(),
        "sku_id": things.sku_id if things else uuid4(),
        "listing_id": things.listing_id if things else uuid4(),
        "document_id": things.document_id if things else uuid4(),
        "request_id": things.request_id if things else uuid4(),
        "shipment_id": things.shipment_id if things else uuid4(),
        "fulfillment_order_id": things.fulfillment_order_id if things else uuid4(),
        "bulk_id": things.bulk_id if things else uuid4(),
        "record_id": things.record_id if things else uuid4(),
        "exchange_id": things.exchange_id if things else uuid4(),
        "import_id": things.import_id if things else uuid4(),
        "name": "tea",
    }
    adapter = app.url_map.bind("localhost")
    return [
        adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.endpoint not in _NO_PAGES
    ]


def test_every_page_renders_with_one_of_everything(app: Flask, owner: Browser, things: Furnished) -> None:
    shown = {path: owner.get(path) for path in pages(app, things) if path not in PUBLIC}

    assert len(shown) >= 15
    for path, answer in shown.items():
        assert answer.status_code == 200, f"{path}: {answer.status}\n{answer.text[:3000]}"
        assert "Tallyhub" in answer.text, path


def test_every_page_renders_for_a_merchant_with_nothing(app: Flask, owner: Browser) -> None:
    for path in pages(app, None):
        if path in PUBLIC:
            continue
        answer = owner.get(path)
        expected = (
            404
            if re.search(
                r"/(connections|orders|orders/bulk|stock|import|documents|privacy|shipments|pack|collect|locations)/[0-9a-f-]{36}",
                path,
            )
            else 200
        )
        assert answer.status_code == expected, f"{path}: {answer.status}\n{answer.text[:3000]}"


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/", "Connect a shop"),
        ("/orders", "Connect a shop"),
        ("/stock", "See the connections"),
        ("/connections", "Connect a shop"),
        ("/issues", "Home"),
        ("/issues?show=resolved", "Show open issues"),
        ("/activity?connection=00000000-0000-0000-0000-000000000000", "Show all activity"),
        ("/orders?status=open", "Show all orders"),
        ("/stock?q=nothing-like-it", "Show all SKUs"),
    ],
)
def test_an_empty_page_offers_one_thing_to_do(owner: Browser, path: str, action: str) -> None:
    page = words(owner.get(path))

    assert action in page
