"""Papers: what is printed can be read by people, and its barcodes by a scanner."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO

import pypdfium2
import pytest
import zxingcpp
from PIL import Image

from hub.core.model import Address, Money
from hub.core.shipping import ContentsType, Customs, CustomsItem, Weight, WeightUnit
from hub.papers import (
    Export,
    Paper,
    Pick,
    PickList,
    Slip,
    SlipLine,
    commercial_invoice,
    customs_declaration,
    packing_slips,
    pick_list,
    printable,
    qr_png,
)

SLIP = Slip(
    merchant="Leaf & Kettle",
    order_number="#1001",
    reference="1001-1-MFRGG2LT",
    placed_on=date(2026, 3, 2),
    ship_to=Address(name="Łucja Żółć", line1="ul. Długa 1", city="Łódź", postcode="90-001", country="PL"),
    lines=(
        SlipLine(code="BOX-1", title="Gift box", quantity=2, contents=("1 × MUG-1", "2 × TEE-1")),
        SlipLine(code="TEA-1", title="Green tea", quantity=1),
    ),
    place="Leeds",
    service="Express",
    gift_message="Happy birthday",
    note="Ring twice",
)


def texts(pdf: bytes) -> list[str]:
    """What stands on each page, blanks made one."""
    document = pypdfium2.PdfDocument(pdf)
    found = []
    for page in document:
        text = page.get_textpage()
        found.append(re.sub(r"\s+", " ", text.get_text_range()))
        text.close()
        page.close()
    document.close()
    return found


def barcodes(pdf: bytes, scale: float = 3) -> list[list[tuple[str, str]]]:
    """(format, text) of each barcode on each page, as a scanner reads them off the paper."""
    document = pypdfium2.PdfDocument(pdf)
    found = []
    for page in document:
        seen = zxingcpp.read_barcodes(page.render(scale=scale).to_pil())
        found.append([(str(each.format).rpartition(".")[2], each.text) for each in seen])
        page.close()
    document.close()
    return found


@pytest.mark.parametrize("paper", Paper)
def test_a_packing_slip_says_what_is_in_the_parcel_and_is_found_by_its_barcode(paper: Paper) -> None:
    pdf = packing_slips([SLIP], paper)

    (page,) = texts(pdf)
    for said in ("Leaf & Kettle", "Order #1001", "Łucja Żółć", "90-001 Łódź", "2 ×", "Gift box", "contains 2 × TEE-1",
                 "TEA-1", "Gift message Happy birthday", "Note Ring twice", "from Leeds", "page 1 of 1"):  # fmt: skip
        assert said in page, said
    ((code,),) = barcodes(pdf)
    assert code[1] == "1001-1-MFRGG2LT"


def test_every_slip_begins_on_a_page_of_its_own_and_counts_its_own_pages() -> None:
    long = replace(SLIP, reference="1002-1-A", lines=tuple(replace(SLIP.lines[1], code=f"T-{n}") for n in range(60)))

    pages = texts(packing_slips([SLIP, long]))

    feet = [re.findall(r"page \d of \d", page) for page in pages]
    assert feet == [["page 1 of 1"], ["page 1 of 2"], ["page 2 of 2"]]
    assert all(sum(f"T-{n} " in f"{page} " for page in pages) == 1 for n in range(60)), "each line once, none lost"


def test_the_longest_reference_still_fits_and_is_read() -> None:
    longest = "ABCDEFGHIJKLMNOPQR-10-MFRGG2LT"
    for paper in Paper:
        ((code,),) = barcodes(packing_slips([replace(SLIP, reference=longest)], paper), scale=6)
        assert code[1] == longest


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("Łucja Żółć", "Łucja Żółć"),
        ("Ἀθήνα Иван", "Ἀθήνα Иван"),
        ("山田", "ShanTian"),
        ("김철수", "GimCheolSu"),
        ("שלום", "slvm"),
        ("tab\there", "tab here"),
        ("gone\u0000", "gone"),
    ],
)
def test_no_name_becomes_an_empty_box(written: str, printed: str) -> None:
    assert printable(written) == printed


def test_a_pick_list_is_sorted_as_it_was_given_and_tells_which_order_gets_what() -> None:
    wanted = PickList(
        merchant="Leaf & Kettle",
        place="Leeds",
        printed_at=datetime(2026, 3, 2, 8, 0, tzinfo=UTC),
        references=("1001-1-A", "1002-1-B"),
        picks=(
            Pick(
                zone="A",
                shelf="A-1",
                code="MUG-1",
                title="Mug",
                quantity=3,
                wanted_by=(("1001-1-A", 1), ("1002-1-B", 2)),
            ),
            Pick(zone="B", shelf="B-9", code="TEA-1", title="Tea", quantity=1, wanted_by=(("1002-1-B", 1),)),
        ),
    )

    (page,) = texts(pick_list(wanted))

    assert "2 orders, 4 units" in page
    assert page.index("Zone A") < page.index("MUG-1") < page.index("2 × for 1002-1-B") < page.index("Zone B")
    assert barcodes(pick_list(wanted)) == [[]], "only a list for one order leads to it"
    ((code,),) = barcodes(pick_list(replace(wanted, references=("1001-1-A",))))
    assert code[1] == "1001-1-A"


EXPORT = Export(
    reference="1001-1-A-1",
    sent_on=date(2026, 3, 2),
    origin=Address(name="Leaf & Kettle", line1="1 Dock", city="Leeds", postcode="LS1 1AA", country="GB"),
    destination=Address(name="Урс Мейер", line1="Gasse 2", city="Bern", postcode="3011", country="CH"),
    customs=Customs(
        contents=ContentsType.GIFT,
        items=(
            CustomsItem(
                description="Green tea",
                quantity=3,
                unit_value=Money.of("9.50", "GBP"),
                unit_weight=Weight.of("100.5", WeightUnit.GRAM),
                origin_country="CN",
                hs_code="0902.10",
                sku="TEA-1",
            ),
            CustomsItem(
                description="Mug",
                quantity=1,
                unit_value=Money.of("5", "GBP"),
                unit_weight=Weight.of(1, WeightUnit.POUND),
            ),
        ),
        signer="Ada Byron",
        incoterm="DAP",
    ),
    tracking_numbers=("RM1",),
)


def test_a_commercial_invoice_tells_value_weight_origin_and_tariff_number() -> None:
    (page,) = texts(commercial_invoice(EXPORT))

    for said in ("Number 1001-1-A-1", "02 Mar 2026", "gift · terms DAP", "Урс Мейер", "3 × Green tea 28.50 GBP",
                 "303 g · 9.50 GBP each · origin CN · HS 0902.10 · TEA-1", "Total 757 g 33.50 GBP", "Ada Byron",
                 "Tracking: RM1"):  # fmt: skip
        assert said in page, said


def test_a_customs_declaration_marks_what_it_is() -> None:
    (page,) = texts(customs_declaration(EXPORT))

    assert "CN 22" in page and "[x] Gift" in page and "[ ] Sale of goods" in page and "Total 757 g 33.50 GBP" in page


def test_a_collection_code_is_read_off_its_picture() -> None:
    picture = Image.open(BytesIO(qr_png("K7QM2XWR"))).convert("L")

    (found,) = zxingcpp.read_barcodes(picture)

    assert found.text == "K7QM2XWR" and "QR" in str(found.format)


def test_the_same_values_make_the_same_paper() -> None:
    assert packing_slips([SLIP]) == packing_slips([SLIP])
