"""What customers asked about their data, as pages: what leaves the hub leaves a line, and is kept by no browser."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select, update

from hub.jobs import Hub
from hub.store import privacy
from hub.store import tables as t
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop

ALICE = "alice@example.com"


@pytest.fixture
def asked(hub: Hub, shop: Shop, things: Furnished) -> UUID:
    """A customer wants to know what is kept about her."""
    subject = privacy._Subject(email=ALICE)
    sealed = privacy._sealed(hub.keyring, shop.merchant_id, things.request_id, subject)
    with hub.database.write() as db:
        db.execute(update(t.privacy_request).values(subject=sealed))
        db.execute(update(t.sales_order).where(t.sales_order.c.id == things.order_id).values(email=ALICE))
    return things.request_id


def lines(hub: Hub) -> list[tuple[str, object]]:
    with hub.database.read() as db:
        line = t.activity.c
        rows = db.execute(select(line.actor, line.details).where(line.kind == "personal_data_downloaded"))
        return [(row.actor, row.details) for row in rows]


def test_whoever_downloads_what_is_kept_about_a_customer_is_in_the_audit_log(
    hub: Hub, owner: Browser, asked: UUID
) -> None:
    page = f"/privacy/{asked}"
    assert owner.get(f"{page}/download").status_code == 405 and lines(hub) == []

    file = owner.post(f"{page}/download", page=page)

    assert (file.status_code, file.mimetype) == (200, "application/json")
    assert file.headers["Content-Disposition"].startswith('attachment; filename="customer-')
    assert file.headers["Cache-Control"] == "no-store"
    assert json.loads(file.text)["email"] == ALICE
    assert lines(hub) == [("ada@tea.example", {"request": str(asked), "orders": 1})]
    log = words(owner.get("/settings/audit?area=privacy"))
    assert "What is kept about a customer was downloaded, as asked on" in log
    owner.post(f"{page}/download", page=page)
    assert len(lines(hub)) == 2


def test_what_was_handed_out_is_downloaded_no_more(hub: Hub, owner: Browser, asked: UUID) -> None:
    page = f"/privacy/{asked}"
    token = owner.token(page)
    owner.post(page, page=page)

    late = owner.client.post(f"{page}/download", base_url=owner.base_url, data={"csrf_token": token})

    assert late.status_code == 409
    assert lines(hub) == []


def test_who_may_not_see_them_downloads_nothing(app: Flask, hub: Hub, staff: Browser, asked: UUID) -> None:
    assert staff.post(f"/privacy/{asked}/download", page="/settings").status_code == 403
    assert lines(hub) == []
