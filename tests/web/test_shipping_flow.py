"""The way of goods out of the house as one list: picking, packing, labels, handing over, and what is held up."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pypdfium2
import pytest
from reportlab.pdfgen.canvas import Canvas
from sqlalchemy import select, update

from hub import jobs
from hub.connector import CarrierCapabilities
from hub.core.shipping import Document, DocumentFormat
from hub.errors import Conflict
from hub.jobs import Hub
from hub.papers import joined_labels, qr_png
from hub.store import papers
from hub.store import tables as t
from hub.store.database import new_id
from tests.statements import statements
from tests.store.post_office import PostOffice
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, open_shop
from tests.web.test_shipment_pages import account_of, row_of


class Printer(PostOffice):
    """Prints PDF."""

    capabilities: ClassVar[CarrierCapabilities] = CarrierCapabilities(label_formats=(DocumentFormat.PDF,))


@pytest.fixture
def carrier(hub: Hub, shop: Shop, things: Furnished) -> UUID:
    """The account of a carrier that prints PDF."""
    return account_of(Printer, hub, shop, things)


def rest(hub: Hub, shop: Shop, things: Furnished, **changed: Any) -> UUID:
    """Another shipment of the same order, as the furnished one but for this."""
    with hub.database.read() as db:
        sent = db.execute(select(t.shipment).where(t.shipment.c.id == things.shipment_id)).one()
    row = {name: value for name, value in sent._mapping.items() if name not in ("id", "merchant_id", "reference")}
    identity = new_id()
    return shop.write(t.shipment, id=identity, reference=f"S-{str(identity)[-6:]}", **(row | changed))


def a_pdf(text: str, pages: int = 1) -> bytes:
    out = BytesIO()
    canvas = Canvas(out, pagesize=(288, 432))
    for _ in range(pages):
        canvas.drawString(20, 400, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def label(content: bytes, format: DocumentFormat = DocumentFormat.PDF) -> Document:
    return Document(content=content, format=format)


# ---------------------------------------------------------------- the tabs


def test_held_work_is_an_exception_and_released_work_is_to_be_picked(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished
) -> None:
    path = f"/pack/{things.fulfillment_order_id}"
    assert path not in owner.get("/shipments?show=to_pick").text
    held = owner.get("/shipments?show=exceptions")
    assert path in held.text
    assert "Orders that are held up" in words(held)

    with hub.database.write() as db:
        db.execute(update(t.order_hold).values(released_at=shop.now))
        db.execute(update(t.packing).values(fulfillment_order_id=things.fulfillment_order_id))
        begun = db.execute(select(t.packing)).first()

    shown = "to_pack" if begun else "to_pick"
    page = owner.get(f"/shipments?show={shown}")
    assert path in page.text
    assert path not in owner.get("/shipments?show=exceptions").text
    assert ("To pack (1)" if begun else "To pick (1)") in words(page)


def test_every_trouble_of_a_parcel_is_listed_with_its_next_step(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished
) -> None:
    found = {
        rest(hub, shop, things, state="failed", error="No such service."): "Offer its parcels again.",
        rest(hub, shop, things, state="draft", error="Too heavy."): "Choose an offer, or correct what is wrong",
        rest(hub, shop, things, state="labelled", withdrawn_at=shop.now): "has not taken the label back yet",
        rest(hub, shop, things, state="shipped", tracking_status="returning"): "It comes back.",
        rest(hub, shop, things, state="shipped", tracking_status="exception"): "The carrier is held up.",
    }
    fine = (
        rest(hub, shop, things, state="draft", error="", withdrawn_at=None, tracking_status=""),
        rest(hub, shop, things, state="void", withdrawn_at=shop.now, tracking_status=""),
    )

    page = owner.get("/shipments?show=exceptions")

    for shipment_id, step in found.items():
        assert f"/shipments/{shipment_id}" in page.text
        assert step in words(page), step
    for shipment_id in fine:
        assert f"/shipments/{shipment_id}" not in page.text


def test_a_purchase_that_is_unclear_waits_for_somebody_to_look(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished
) -> None:
    effect_id = shop.wished(things.order_id, things.connection_id, "buy_label", "x", "unknown", unclear=True)
    unclear = rest(hub, shop, things, state="buying", effect_id=effect_id)

    page = owner.get("/shipments?show=exceptions")

    assert f"/shipments/{unclear}" in page.text
    assert "Nobody knows whether it was bought." in words(page)


def test_the_list_is_narrowed_to_a_location_and_a_carrier(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished
) -> None:
    mine = rest(hub, shop, things, state="labelled", carrier="dhl")
    other = rest(hub, shop, things, state="labelled", carrier="ups")
    barn = shop.location("Barn")

    page = owner.get("/shipments?show=labelled&carrier=dhl").text
    assert (f"/shipments/{mine}" in page, f"/shipments/{other}" in page) == (True, False)
    assert f"/shipments/{mine}" not in owner.get(f"/shipments?show=labelled&location={barn}").text


@pytest.mark.parametrize("show", ["", "to_pick", "to_label", "labelled", "exceptions", "shipped"])
def test_the_list_takes_few_statements(owner: Browser, hub: Hub, things: Furnished, show: str) -> None:
    with statements(hub.database) as said:
        owner.get(f"/shipments?show={show}")

    assert len(said) <= 15, said


# ---------------------------------------------------------------- many at once


def buy(browser: Browser, **form: Any) -> Any:
    asked = {"act": "buy_labels", "query": "show=to_label", "once": str(uuid4())}
    return browser.post("/shipments", asked | form, page="/settings")


def test_chosen_offers_are_bought_by_a_worker_and_each_refusal_is_told(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    unwanted = rest(hub, shop, things, choice=None)

    answer = buy(owner, shipment=[things.shipment_id, unwanted])

    page = answer.headers["Location"]
    assert row_of(hub, things.shipment_id).state == "draft", "nothing is bought while somebody waits for a page"
    assert re.search(r'<a[^>]*href="/pack"[^>]*aria-current="true"', owner.get(page).text), "it is of Shipments"
    assert "0 of 2" in words(owner.get(page)) and "data-live" in owner.get(page).text
    assert jobs.drain(hub, shop.merchant_id, things.connection_id, "bulk")
    told = owner.get(page)
    assert "Buy labels: 2 shipments" in words(told)
    assert "1 label is being bought at its carrier" in words(told) and "data-live" in told.text
    assert "No offer is chosen for it." in words(told)
    assert "Label is being bought" in words(told)
    with hub.database.read() as db:
        (bought,) = db.execute(select(t.effect).where(t.effect.c.kind == "buy_label")).all()
    assert (bought.connection_id, bought.request["rate"]["service"]) == (carrier, "economy")
    assert (row_of(hub, things.shipment_id).state, row_of(hub, unwanted).state) == ("buying", "draft")


def test_the_labels_of_all_are_one_file_when_the_carrier_has_sold_them(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    chosen = [things.shipment_id, rest(hub, shop, things, created_at=shop.ago(days=9))]
    shop.write(t.parcel, id=new_id(), shipment_id=chosen[1], number=1, weight_grams=400)
    page = buy(owner, shipment=chosen).headers["Location"]
    jobs.drain(hub, shop.merchant_id, things.connection_id, "bulk")
    assert "Print" not in words(owner.get(page))

    for number, shipment_id in enumerate(chosen):
        file, sent = label(a_pdf(f"Parcel {number}")), row_of(hub, shipment_id)
        with hub.database.write() as db:
            papers.keep(db, hub.keyring, shop.merchant_id, sent.effect_id, things.order_id, [file], at=shop.now)
            sold = {"state": "labelled", "labelled_at": shop.now, "tracking_numbers": [f"GB{number}"]}
            db.execute(update(t.shipment).where(t.shipment.c.id == shipment_id).values(**sold))

    told = owner.get(page)
    assert "2 labels bought" in words(told) and "GB1" in words(told) and "data-live" not in told.text
    (address,) = re.findall(r'href="(/shipments/labels\.pdf\?act=[^"]+)"', told.text)
    document = pypdfium2.PdfDocument(owner.get(address).data)
    assert [each.get_textpage().get_text_bounded().strip() for each in document] == ["Parcel 0", "Parcel 1"]
    document.close()


def test_what_a_carrier_refuses_is_told_beside_its_parcel(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    page = buy(owner, shipment=[things.shipment_id]).headers["Location"]
    jobs.drain(hub, shop.merchant_id, things.connection_id, "bulk")
    with hub.database.write() as db:
        refused = {"state": "failed", "error": "The postcode is not known."}
        db.execute(update(t.shipment).where(t.shipment.c.id == things.shipment_id).values(**refused))

    told = words(owner.get(page))

    assert "1 refused by its carrier" in told and "The postcode is not known." in told
    assert "Done for all of them." not in told and "Print" not in told


def test_all_that_fit_the_list_are_those_that_can_still_be_bought(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished, carrier: UUID
) -> None:
    rest(hub, shop, things, state="buying")
    rest(hub, shop, things, state="failed")
    barn = shop.location("Barn")

    nowhere = buy(owner, all="yes", query=f"show=to_label&location={barn}")
    assert "Choose shipments first" in words(owner.get(nowhere.headers["Location"]))
    page = buy(owner, all="yes").headers["Location"]

    jobs.drain(hub, shop.merchant_id, things.connection_id, "bulk")
    told = owner.get(page)
    assert "Buy labels: 1 shipment" in words(told) and str(things.shipment_id) in told.text
    assert 'href="/shipments?show=to_label"' in told.text


def test_another_merchant_sees_nothing_of_it(
    app: Any, owner: Browser, hub: Hub, things: Furnished, carrier: UUID
) -> None:
    page = buy(owner, shipment=[things.shipment_id]).headers["Location"]
    open_shop(hub, "Elsewhere").person("eve@else.example")
    eve = Browser(app).sign_in("eve@else.example")

    assert eve.get(page).status_code == 404
    assert eve.get(f"/shipments/labels.pdf?act={page.rpartition('/')[2]}").status_code == 404
    refused = buy(eve, shipment=[things.shipment_id])
    assert "Choose at least one shipment." in words(eve.get(refused.headers["Location"]))


def test_who_may_not_pack_buys_nothing(app: Any, hub: Hub, shop: Shop, things: Furnished, carrier: UUID) -> None:
    shop.person("sue@tea.example", "support", "Sue")
    support = Browser(app).sign_in("sue@tea.example")

    assert "Buy the chosen offers" not in support.get("/shipments?show=to_label").text
    answer = support.post("/shipments", {"act": "buy_labels", "shipment": things.shipment_id}, page="/settings")

    assert answer.status_code == 403
    with hub.database.read() as db:
        assert db.execute(select(t.effect).where(t.effect.c.kind == "buy_label")).all() == []


def test_many_labels_are_printed_as_one_file_in_the_order_of_the_list(
    owner: Browser, hub: Hub, shop: Shop, things: Furnished
) -> None:
    chosen = []
    for number in range(2):
        effect_id = shop.wished(things.order_id, things.connection_id, "buy_label", f"x{number}", "succeeded")
        chosen.append(rest(hub, shop, things, state="labelled", effect_id=effect_id, created_at=shop.ago(days=number)))
        with hub.database.write() as db:
            file = label(a_pdf(f"Parcel {number}"))
            papers.keep(db, hub.keyring, shop.merchant_id, effect_id, things.order_id, [file], at=shop.now)

    answer = owner.post("/shipments", {"act": "print", "shipment": chosen[::-1]}, page="/settings")
    file = owner.get(answer.headers["Location"])

    assert file.mimetype == "application/pdf"
    document = pypdfium2.PdfDocument(file.data)
    assert [page.get_textpage().get_text_bounded().strip() for page in document] == ["Parcel 0", "Parcel 1"]
    document.close()
    assert owner.get(f"/shipments/labels.pdf?shipment={new_id()}").status_code == 404


def test_nothing_chosen_is_said_and_nothing_done(owner: Browser, things: Furnished) -> None:
    answer = owner.post("/shipments", {"act": "buy_labels", "query": "show=to_label"}, page="/settings")

    assert "Choose shipments first" in words(owner.get(answer.headers["Location"]))


# ---------------------------------------------------------------- files, joined


def test_pictures_become_pages_and_what_two_printers_print_is_refused() -> None:
    content, format = joined_labels([label(a_pdf("one", 2)), label(qr_png("two"), DocumentFormat.PNG)])
    document = pypdfium2.PdfDocument(content)
    assert (format, len(document)) == (DocumentFormat.PDF, 3)
    document.close()

    zpl = label(b"^XA^FDx^FS^XZ", DocumentFormat.ZPL)
    assert joined_labels([zpl, zpl]) == (b"^XA^FDx^FS^XZ\n^XA^FDx^FS^XZ\n", DocumentFormat.ZPL)
    with pytest.raises(Conflict, match="1 of these 2 labels are ZPL"):
        joined_labels([zpl, label(a_pdf("one"))])
    with pytest.raises(Conflict, match="cannot be read"):
        joined_labels([label(b"%PDF-1.7 nothing more")])
