"""The page on which a merchant says which column of a file is which: a sample, what comes of it, and saving it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import select, update

from hub.app import create_app
from hub.jobs import Hub
from hub.rows import Column, FileFormat, FileKind, ValueKind
from hub.store import tables as t
from hub.store import tasks, words
from tests.web import client
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, TeaShop, registry

STOCK = FileKind(
    label="Stock",
    hint="What lies there.",
    folder="stock_folder",
    columns={
        "sku": Column(label="SKU", hint="The goods.", kind=ValueKind.IDENTIFIER, required=True, usual=("sku",)),
        "units": Column(label="Units", hint="How many.", kind=ValueKind.WHOLE, required=True, usual=("quantity",)),
        "expiry": Column(label="Best before", hint="If told.", kind=ValueKind.DATE, usual=("expiry",)),
    },
)


class FilingTea(TeaShop):
    name = "filing"
    file_kinds: ClassVar[Mapping[str, FileKind]] = {"stock": STOCK, "returns": replace(STOCK, label="Returns")}

    @classmethod
    def file_format(cls, settings: Mapping[str, Any]) -> FileFormat:
        return FileFormat(dates="dmy")


@pytest.fixture
def filing(hub: Hub, shop: Shop, things: Furnished) -> Hub:
    with hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == things.connection_id).values(connector="filing"))
    return replace(hub, registry=registry(FilingTea))


@pytest.fixture
def ada(filing: Hub) -> Browser:
    return Browser(create_app(filing)).sign_in("ada@tea.example")


def upload(ada: Browser, here: str, body: bytes) -> Any:
    return ada.post(f"{here}/stock", {"file": (io.BytesIO(body), "stock.csv")}, page=here)


def kept(hub: Hub, things: Furnished, shop: Shop) -> dict[str, dict[str, str]]:
    with hub.database.read() as db:
        return words.mappings(db, shop.merchant_id, things.connection_id)


@pytest.fixture
def here(things: Furnished) -> str:
    return f"/connections/{things.connection_id}/columns"


def test_the_connection_leads_to_its_columns_and_each_kind_of_file_has_a_page(
    ada: Browser, things: Furnished, here: str
) -> None:
    assert f'href="{here}?kind=stock"' in ada.get(f"/connections/{things.connection_id}/mappings").text

    text = client.words(ada.get(here))

    assert "Columns of stock" in text
    assert "Stock Returns A sample What lies there. Its columns are looked for under their usual names." in text
    assert "Columns of returns" in client.words(ada.get(f"{here}?kind=returns"))
    assert ada.get(f"{here}?kind=nothing").status_code == 404


def test_a_sample_is_shown_as_it_would_be_read_with_each_bad_row_marked(ada: Browser, here: str) -> None:
    page = upload(ada, here, "sku;quantity;expiry\r\nMUG-GRÜN;4;31.12.2026\r\nTEE;a few;\r\n".encode("cp1252"))

    text = client.words(page)
    assert page.status_code == 200
    assert "Encoding CP1252, 3 columns parted by semicolons." in text
    assert "2 MUG-GRÜN 4 2026-12-31" in text
    assert "3 “quantity” is not a whole number." in text
    assert "<option selected>quantity</option>" in page.text


def test_columns_are_saved_once_every_row_that_is_shown_reads(
    filing: Hub, shop: Shop, things: Furnished, ada: Browser, here: str
) -> None:
    sample = base64.b64encode(b"Artikel,Menge,Haltbar\nMUG,4,\nTEE,2,01.02.2027\n").decode()
    wrong = {"sample": sample, "column/sku": "Artikel", "column/units": "Haltbar", "column/expiry": ""}
    right = {**wrong, "column/units": "Menge", "column/expiry": "Haltbar"}

    refused = ada.post(f"{here}/stock", {**wrong, "act": "save"}, page=here)
    looked = ada.post(f"{here}/stock", {**right, "act": "look"}, page=here)
    assert (refused.status_code, looked.status_code) == (422, 200)
    assert "so nothing was saved" in client.words(refused)
    assert kept(filing, things, shop) == {}

    saved = ada.post(f"{here}/stock", {**right, "act": "save"}, page=here)

    assert saved.status_code == 303
    assert kept(filing, things, shop) == {"columns/stock": {"sku": "Artikel", "units": "Menge", "expiry": "Haltbar"}}
    with filing.database.read() as db:
        lines = db.execute(
            select(t.activity.c.actor, t.activity.c.summary).where(t.activity.c.kind == "columns_assigned")
        ).all()
    assert [tuple(line) for line in lines] == [
        ("ada@tea.example", f"Stock of {shop_label(filing, things)} are read by other columns")
    ]
    assert "Its columns were chosen by a person." in client.words(ada.get(here))


def shop_label(hub: Hub, things: Furnished) -> str:
    with hub.database.read() as db:
        return str(
            db.execute(select(t.connection.c.label).where(t.connection.c.id == things.connection_id)).scalar_one()
        )


def test_a_required_column_that_nobody_chose_is_told(ada: Browser, here: str) -> None:
    page = upload(ada, here, b"Artikel,quantity\nMUG,4\n")

    assert "The file has no column for “SKU”." in client.words(page)
    assert "<option selected>quantity</option>" in page.text


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"PK\x03\x04" + bytes(40), "Excel workbook"), (b"sku,quantity\n", "no row below its header")],
    ids=["xlsx", "header-only"],
)
def test_what_is_no_file_of_rows_is_told(ada: Browser, here: str, body: bytes, told: str) -> None:
    assert told in client.words(upload(ada, here, body))


def test_a_file_larger_than_the_sample_is_shown_by_its_first_rows(ada: Browser, here: str) -> None:
    text = client.words(upload(ada, here, b"sku,quantity\n" + b"".join(b"SKU-%06d,7\n" % n for n in range(9_000))))

    assert "21 SKU-000019 7" in text
    assert "SKU-000020" not in text


def test_markup_in_a_file_stays_text(ada: Browser, here: str) -> None:
    page = upload(ada, here, b'sku,quantity,<script>alert(1)</script>\n"<b>x</b>",4,\n')

    assert "<script>alert" not in page.text
    assert "<b>x</b>" not in page.text


@pytest.mark.parametrize("sample", ["", "not base64!"], ids=["none", "damaged"])
def test_a_form_without_its_sample_is_told(ada: Browser, here: str, sample: str) -> None:
    assert ada.post(f"{here}/stock", {"sample": sample, "act": "save"}, page=here).status_code == 400


def test_a_file_from_the_folder_is_fetched_by_a_worker_and_shown(
    filing: Hub, shop: Shop, ada: Browser, things: Furnished, here: str
) -> None:
    asked = ada.post(f"{here}/stock/sample", page=here)
    task_id = asked.headers["Location"].rpartition("/")[2]
    with filing.database.write() as db:
        task = db.execute(select(t.task).where(t.task.c.kind == "sample")).one()
        found = {"kind": "stock", "sample": base64.b64encode(b"sku,quantity\nFROM-THE-FOLDER,4\n").decode()}
        tasks.keep_result(db, filing.keyring, shop.merchant_id, task.id, found)
        db.execute(update(t.task).where(t.task.c.id == task.id).values(state="done", message="A file was found."))

    assert (str(task.id), task.arguments) == (task_id, {"about": "stock"})
    followed = ada.get(asked.headers["Location"])
    assert f"{here}?kind=stock&amp;task={task_id}" in followed.text
    assert "2 FROM-THE-FOLDER 4" in client.words(ada.get(f"{here}?kind=stock&task={task_id}"))
    assert ada.get(f"{here}?kind=stock&task=none").status_code == 404


def test_a_shop_without_files_has_nothing_to_say(owner: Browser, things: Furnished, here: str) -> None:
    assert "Tea Shop exchanges no files." in client.words(owner.get(here))
    assert f'href="{here}"' not in owner.get(f"/connections/{things.connection_id}").text
