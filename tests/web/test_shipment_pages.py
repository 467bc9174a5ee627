"""The pages of shipments: what carriers offer side by side, what can be done next, and the label as a file."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import select, update

from hub.connector import Carrier, CarrierCapabilities
from hub.core.plain import to_plain
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.core.shipping import Document, DocumentFormat
from hub.jobs import Hub
from hub.store import labels, papers
from hub.store import tables as t
from hub.store.database import new_id
from tests.store.post_office import LEEDS, YORK, PostOffice
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop


class Printer(PostOffice):
    """Prints ZPL first."""

    capabilities: ClassVar[CarrierCapabilities] = CarrierCapabilities(
        label_formats=(DocumentFormat.ZPL, DocumentFormat.PNG)
    )


def account_of(printer: type[PostOffice], hub: Hub, shop: Shop, things: Furnished) -> UUID:
    """An account of this carrier, whose the furnished shipment's first offers are; nothing is held."""
    hub.registry.connectors["post"] = printer  # type: ignore[index]
    carrier_id = new_id()
    row = {"connector": "post", "label": "Post", "state": "connected", "settings": {}, "created_at": shop.now}
    shop.write(t.connection, id=carrier_id, **row)
    with hub.database.write() as db:
        sent = db.execute(select(t.shipment).where(t.shipment.c.id == things.shipment_id)).one()
        rates = [sent.rates[0] | {"connection": str(carrier_id)}, sent.rates[1]]
        choice = sent.choice | {"connection": str(carrier_id)}
        db.execute(update(t.shipment).where(t.shipment.c.id == sent.id).values(rates=rates, choice=choice))
        db.execute(update(t.order_hold).values(released_at=shop.now))
        db.execute(update(t.location).values(address=to_plain(LEEDS)))
        db.execute(update(t.sales_order).values(shipping_address=to_plain(YORK), status="open"))
        db.execute(update(t.shipment).values(rates_at=hub.database.now(db)))
    return carrier_id


@pytest.fixture
def carrier(hub: Hub, shop: Shop, things: Furnished) -> UUID:
    """The account of a carrier that prints ZPL first."""
    assert issubclass(Printer, Carrier)
    return account_of(Printer, hub, shop, things)


def row_of(hub: Hub, shipment_id: UUID) -> Any:
    with hub.database.read() as db:
        return db.execute(select(t.shipment).where(t.shipment.c.id == shipment_id)).one()


def act(browser: Browser, shipment_id: UUID, name: str, **more: str) -> Any:
    return browser.post(f"/shipments/{shipment_id}", {"act": name} | more, page="/settings")


def test_the_list_is_narrowed_and_searched_by_tracking_number(owner: Browser, things: Furnished) -> None:
    for path, there in (
        ("/shipments", True),
        ("/shipments?show=to_label", True),
        ("/shipments?show=delivered", False),
        ("/shipments?q=gb1", True),
        ("/shipments?q=1001", True),
        ("/shipments?q=nothing", False),
        ("/shipments?show=' or 1=1", True),
    ):
        assert (f"/shipments/{things.shipment_id}" in owner.get(path).text) == there, path


def test_all_offers_stand_side_by_side_with_the_chosen_one_and_why(owner: Browser, things: Furnished) -> None:
    page = words(owner.get(f"/shipments/{things.shipment_id}"))

    for text in (
        "Cheapest of 2 offers.",
        "economy Chosen Royal Mail Post — 4.90 GBP Buy",
        "express Royal Mail Post — 12.40 GBP Buy",
        "Other: No answer within 8 seconds.",
        "On its way",
        "Leeds, GB",
        "400 g GB1 1 ×",
    ):
        assert text in page, text


def test_an_offer_is_bought_in_a_format_that_the_carrier_prints(
    owner: Browser, hub: Hub, things: Furnished, carrier: UUID
) -> None:
    answer = act(owner, things.shipment_id, "buy", offer=f"{carrier}|express")

    assert answer.status_code == 303
    row = row_of(hub, things.shipment_id)
    assert (row.state, row.connection_id, row.choice["why"]) == ("buying", carrier, "Chosen by a person.")
    with hub.database.read() as db:
        effect = db.execute(select(t.effect).where(t.effect.c.kind == "buy_label")).one()
    assert (effect.request["format"], effect.request["rate"]["service"]) == ("zpl", "express")
    page = owner.get(f"/shipments/{things.shipment_id}").text
    assert "Label is being bought" in page and "data-live" in page


def test_an_offer_that_is_too_old_is_asked_for_again(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    with hub.database.write() as db:
        db.execute(update(t.shipment).values(rates_at=hub.database.now(db) - labels.RATES_LAST * 2))

    answer = act(owner, things.shipment_id, "buy", offer=f"{carrier}|economy")

    row = row_of(hub, things.shipment_id)
    assert (answer.status_code, row.state, row.rates_wanted_at is not None) == (303, "draft", True)
    assert "too old" in owner.get(f"/shipments/{things.shipment_id}").text


@pytest.mark.parametrize(
    ("name", "more", "status", "said"),
    [
        ("buy", {"offer": "made up"}, 422, "Choose one of the offers."),
        ("by_hand", {"carrier": " "}, 422, "Say with whom it is sent."),
        ("hand_over", {}, 409, "only one that has its label can leave"),
        ("return", {}, 409, "Only what has been shipped can come back."),
        ("replace", {}, 409, "has no label that could be replaced"),
        ("offer_again", {}, 409, "Give its label back first"),
        ("sell", {}, 400, "damaged"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    owner: Browser, things: Furnished, carrier: UUID, name: str, more: dict[str, str], status: int, said: str
) -> None:
    answer = act(owner, things.shipment_id, name, **more)

    assert (answer.status_code, said in answer.text) == (status, True)


def test_a_label_from_elsewhere_is_handed_over(owner: Browser, hub: Hub, things: Furnished, carrier: UUID) -> None:
    act(owner, things.shipment_id, "by_hand", carrier="Royal Mail", tracking="RM1, RM2")
    assert (row_of(hub, things.shipment_id).carrier, row_of(hub, things.shipment_id).tracking_numbers) == (
        "royal_mail",
        ["RM1", "RM2"],
    )

    assert act(owner, things.shipment_id, "hand_over").status_code == 303

    assert row_of(hub, things.shipment_id).state == "shipped"


def test_a_label_is_downloaded_as_often_as_it_is_wanted_and_kept_by_no_browser(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    act(owner, things.shipment_id, "buy", offer=f"{carrier}|economy")
    row = row_of(hub, things.shipment_id)
    file = Document(content=b"^XA a label ^XZ", format=DocumentFormat.ZPL)
    with hub.database.write() as db:
        here = (db, hub.keyring, row.merchant_id, row.effect_id, row.order_id)
        papers.keep(*here, [file], at=shop.now)
        (document_id,) = db.execute(select(t.document.c.id)).scalars()
    path = f"/shipments/{things.shipment_id}/documents/{document_id}"
    assert path in owner.get(f"/shipments/{things.shipment_id}").text

    for _ in range(2):
        answer = owner.get(path)
        assert (answer.data, answer.headers["Cache-Control"]) == (file.content, "no-store")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="label-{row.reference}.zpl"'
    assert owner.get(f"/shipments/{things.shipment_id}/documents/{new_id()}").status_code == 404
    assert owner.get(f"/shipments/{new_id()}/documents/{document_id}").status_code == 404


def test_the_manifest_of_a_day_names_what_was_labelled(owner: Browser, hub: Hub, things: Furnished) -> None:
    with hub.database.write() as db:
        db.execute(update(t.shipment).values(state="labelled", labelled_at=hub.database.now(db), carrier="ups"))

    assert "UPS: 1 shipment" in words(owner.get("/shipments/manifest"))
    assert "Nothing was labelled that day" in owner.get("/shipments/manifest?day=2020-01-01").text
    for day in ("soon", "9999-12-31"):
        assert owner.get(f"/shipments/manifest?day={day}").status_code == 400


def test_the_order_page_tells_what_each_location_ships(owner: Browser, things: Furnished) -> None:
    page = owner.get(f"/orders/{things.order_id}")

    assert re.search(r"0 of 2 units shipped", words(page)) and f"/shipments/{things.shipment_id}" in page.text


def test_an_owner_changes_the_shipping_policy(owner: Browser, hub: Hub, things: Furnished) -> None:
    said = {"carriers": "ups, royal_mail", "services": "", "never": "ups/03\nups/03", "format": "png"}
    answer = owner.post("/shipping", said | {"shipped_when": "label", "automatic": "yes"}, page="/shipping")

    assert answer.status_code == 303
    with hub.database.read() as db:
        merchant = db.execute(select(t.shipping_policy.c.merchant_id)).scalar_one()
        kept = labels.policy(db, merchant)
    assert kept == ShippingPolicy(
        carriers=("ups", "royal_mail"),
        never=("ups/03",),
        format=DocumentFormat.PNG,
        automatic=True,
        shipped_when=ShippedWhen.LABEL,
    )
    assert 'value="ups/03"' in owner.get("/shipping").text
    assert owner.post("/shipping", said | {"format": "gif"}, page="/shipping").status_code == 400
