"""Papers that are printed: packing slips, pick lists, commercial invoices and customs declarations, from values to PDF.

The letters are FiraGO, which is put into the file (Latin, Greek and Cyrillic, Thai and more). What it has no letters
for, or what a printer would have to join or turn around (Chinese, Japanese, Korean, Arabic, Hebrew...), is printed in
Latin letters, so that no paper ever has an empty box where a name was.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from io import BytesIO
from typing import Any

import pymupdf_fonts
from anyascii import anyascii
from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from hub.core.model import Address, Money
from hub.core.shipping import Customs, Document, DocumentFormat, WeightUnit
from hub.errors import Conflict

_INCH = 72.0
_MM = _INCH / 25.4


class Paper(StrEnum):
    """What a paper is printed on."""

    A4 = "a4"
    LABEL = "4x6"  # inches: a roll of labels

    @property
    def points(self) -> tuple[float, float]:
        """Width and height."""
        return A4 if self is Paper.A4 else (4 * _INCH, 6 * _INCH)


# ---------------------------------------------------------------- what is printed


@dataclass(frozen=True, slots=True, kw_only=True)
class SlipLine:
    """Units of one thing in a parcel; ``contents`` are the parts of a kit, "2 × MUG" each."""

    code: str
    title: str
    quantity: int
    contents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """What one location packs for one order. ``reference`` becomes the barcode by which it is found again."""

    merchant: str
    order_number: str
    reference: str
    placed_on: date | None
    ship_to: Address
    lines: tuple[SlipLine, ...]
    place: str = ""
    service: str = ""
    gift_message: str = ""
    note: str = ""
    collect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Units of one SKU to be taken off one shelf; ``wanted_by`` names the orders and how many each gets."""

    zone: str
    shelf: str
    code: str
    title: str
    quantity: int
    wanted_by: tuple[tuple[str, int], ...] = ()
    picture: str = ""  # where our pages find one; paper shows none


@dataclass(frozen=True, slots=True, kw_only=True)
class PickList:
    """One walk through a location for some orders, in the order of the shelves."""

    merchant: str
    place: str
    printed_at: datetime
    references: tuple[str, ...]
    picks: tuple[Pick, ...]
    zone: str = ""


def packing_slips(slips: Sequence[Slip], paper: Paper = Paper.A4) -> bytes:
    """The packing slips of some fulfillment orders in one file, each on pages of its own."""
    sheet = _Sheet(paper, "Packing slips")
    for slip in slips:
        _slip(sheet, slip)
    return sheet.bytes()


def pick_list(wanted: PickList, paper: Paper = Paper.A4) -> bytes:
    """A pick list, with room to tick off."""
    sheet = _Sheet(paper, "Pick list")
    zone = f" · zone {wanted.zone}" if wanted.zone else ""
    orders = f"{len(wanted.references)} order{'' if len(wanted.references) == 1 else 's'}"
    sheet.begin(f"Pick list: {wanted.place}{zone} · {wanted.printed_at:%d %b %Y %H:%M} UTC")
    sheet.text(wanted.merchant, bold=True)
    sheet.text(f"Pick list · {wanted.place}{zone}", size=13, bold=True)
    sheet.text(f"{orders}, {sum(each.quantity for each in wanted.picks)} units")
    if len(wanted.references) == 1:
        sheet.barcode(wanted.references[0])
    sheet.gap()
    zone_before = None
    for each in wanted.picks:
        if each.zone != zone_before:
            sheet.text(f"Zone {each.zone}" if each.zone else "No zone", bold=True)
            zone_before = each.zone
        sheet.row(f"☐ {each.shelf or '—'}", f"{each.code}  {each.title}", f"{each.quantity} ×")
        if len(wanted.references) > 1:
            for reference, units in each.wanted_by:
                sheet.text(f"{units} × for {reference}", size=8, indent=26 * _MM)
    sheet.end()
    return sheet.bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A shipment that crosses a border, as its papers tell of it."""

    reference: str
    sent_on: date
    origin: Address
    destination: Address
    customs: Customs
    tracking_numbers: tuple[str, ...] = ()


def commercial_invoice(export: Export, paper: Paper = Paper.A4) -> bytes:
    """The commercial invoice of a shipment: who sends what to whom, its value, weight, origin and tariff numbers."""
    sheet, customs = _Sheet(paper, "Commercial invoice"), export.customs
    number = customs.invoice_number or export.reference
    sheet.begin(f"Commercial invoice {number}")
    sheet.text("Commercial invoice", size=15, bold=True)
    sheet.text(f"Number {number} · {export.sent_on:%d %b %Y} · shipment {export.reference}")
    if export.tracking_numbers:
        sheet.text(f"Tracking: {', '.join(export.tracking_numbers)}")
    terms = f" · terms {customs.incoterm}" if customs.incoterm else ""
    sheet.text(f"Reason for export: {customs.contents.value}{terms}")
    for title, address in (("Sender", export.origin), ("Recipient", export.destination)):
        sheet.gap()
        sheet.text(title, bold=True)
        sheet.address(address)
    sheet.gap()
    _goods(sheet, customs)
    sheet.gap()
    sheet.text("I declare that all statements made here are true and correct.")
    sheet.text(f"{customs.signer or '________________________'}   {export.sent_on:%d %b %Y}")
    sheet.end()
    return sheet.bytes()


def customs_declaration(export: Export, paper: Paper = Paper.LABEL) -> bytes:
    """The declaration that goes onto a parcel by post, with the entries of the form CN 22."""
    sheet, customs = _Sheet(paper, "Customs declaration CN 22"), export.customs
    sheet.begin(f"CN 22 · {export.reference}")
    sheet.text("CUSTOMS DECLARATION · CN 22", size=12, bold=True)
    sheet.text("May be opened officially", size=8)
    boxes = {"gift": "Gift", "documents": "Documents", "sample": "Commercial sample", "return": "Returned goods"}
    for contents, title in (*boxes.items(), ("merchandise", "Sale of goods")):
        mark = "☒" if customs.contents.value == contents else "☐"
        sheet.text(f"{mark} {title}")
    sheet.gap()
    _goods(sheet, customs)
    sheet.gap()
    sheet.text(
        "I, the undersigned, whose name and address are given on the item, certify that the particulars given in this "
        "declaration are correct and that this item does not contain any dangerous article prohibited by law.",
        size=7,
    )
    sheet.text(f"{customs.signer or '____________________'}   {export.sent_on:%d %b %Y}")
    sheet.end()
    return sheet.bytes()


def joined_labels(labels: Sequence[Document]) -> tuple[bytes, DocumentFormat]:
    """Labels in one file, in this order: ZPL of a label printer one after the other, pictures as pages of a PDF.

    Raises Conflict where two kinds of printers are meant, or a file cannot be read.
    """
    for_printers = [each for each in labels if each.format is DocumentFormat.ZPL]
    if len(for_printers) == len(labels):
        return b"\n".join(each.content.strip() for each in labels) + b"\n", DocumentFormat.ZPL
    if for_printers:
        raise Conflict(
            f"{len(for_printers)} of these {len(labels)} labels are ZPL, for a label printer, and the others are not. "
            "Print them apart: narrow the list to one carrier."
        )
    joined = PdfWriter()
    for label in labels:
        try:
            pages = PdfReader(BytesIO(_as_pdf(label)))
            joined.append(pages)
        except (PyPdfError, OSError, ValueError, KeyError) as error:
            which = f" {label.tracking_number}" if label.tracking_number else ""
            raise Conflict(f"A label{which} cannot be read. Open it on its shipment's page.") from error
    out = BytesIO()
    joined.write(out)
    joined.close()
    return out.getvalue(), DocumentFormat.PDF


def _as_pdf(label: Document) -> bytes:
    if label.format is DocumentFormat.PDF:
        return label.content
    out = BytesIO()
    width, height = Paper.LABEL.points
    canvas = Canvas(out, pagesize=(width, height))
    canvas.drawImage(ImageReader(BytesIO(label.content)), 0, 0, width, height, preserveAspectRatio=True, mask="auto")
    canvas.save()
    return out.getvalue()


def _goods(sheet: _Sheet, customs: Customs) -> None:
    total: Money | None = None
    grams = Decimal(0)
    for each in customs.items:
        value = each.unit_value * each.quantity
        weight = each.unit_weight.rounded_up(WeightUnit.GRAM) * each.quantity
        total = value if total is None else total + value
        grams += weight
        sheet.row(f"{each.quantity} ×", each.description, str(value))
        facts = [f"{weight:,} g", f"{each.unit_value} each"]
        facts += [f"origin {each.origin_country}"] if each.origin_country else []
        facts += [f"HS {each.hs_code}"] if each.hs_code else []
        facts += [each.sku] if each.sku else []
        sheet.text(" · ".join(facts), size=8, indent=26 * _MM)
    sheet.row("Total", f"{grams:,} g", str(total))


def _slip(sheet: _Sheet, slip: Slip) -> None:
    sheet.begin(f"{slip.merchant} · order {slip.order_number} · {slip.reference}")
    sheet.text(slip.merchant, size=13, bold=True)
    sheet.text(f"Order {slip.order_number}", size=11, bold=True)
    facts = [f"placed {slip.placed_on:%d %b %Y}"] if slip.placed_on else []
    facts += [slip.service] if slip.service else []
    facts += [f"from {slip.place}"] if slip.place else []
    sheet.text(" · ".join(facts), size=8)
    sheet.barcode(slip.reference)
    sheet.text(f"To be collected at {slip.place} by" if slip.collect else "Ship to", bold=True)
    sheet.address(slip.ship_to)
    sheet.gap()
    for line in slip.lines:
        sheet.row(f"{line.quantity} ×", line.title or line.code, line.code)
        for part in line.contents:
            sheet.text(f"contains {part}", size=8, indent=26 * _MM)
    for title, said in (("Gift message", slip.gift_message), ("Note", slip.note)):
        if said:
            sheet.gap()
            sheet.text(title, bold=True)
            sheet.text(said)
    sheet.end()


# ---------------------------------------------------------------- drawing


class _Sheet:
    """Pages that are filled from the top; what does not fit goes on on the next one. ``begin`` and ``end`` make a run
    of pages that counts by itself."""

    def __init__(self, paper: Paper, title: str) -> None:
        self._out = BytesIO()
        self._width, self._height = paper.points
        self._margin = (15 if paper is Paper.A4 else 5) * _MM
        self._canvas = Canvas(self._out, pagesize=paper.points, invariant=1)
        self._canvas.setLineWidth(0.4)
        self._canvas.setTitle(title)
        self._canvas.setCreator("Tallyhub")
        self._steps: list[list[Callable[[], None]]] = []
        self._foot = ""
        self._y = 0.0

    def bytes(self) -> bytes:
        self._canvas.save()
        return self._out.getvalue()

    def begin(self, foot: str) -> None:
        self._foot = foot
        self._steps = []
        self._new_page()

    def end(self) -> None:
        """Draw what was collected: only now is known how many pages there are."""
        for number, steps in enumerate(self._steps, start=1):
            for step in steps:
                step()
            foot = f"{self._foot} · page {number} of {len(self._steps)}"
            line = next(iter(_lines_of(foot, 7, self._width - 2 * self._margin, bold=False)), "")
            _draw(self._canvas, self._margin, self._margin * 0.6, line, 7, bold=False)
            self._canvas.showPage()

    def _new_page(self) -> None:
        self._steps.append([])
        self._y = self._height - self._margin

    def _room(self, height: float) -> float:
        """The base line of something that is so high."""
        if self._y - height < self._margin * 1.4:
            self._new_page()
        self._y -= height
        return self._y

    def _add(self, step: Callable[[], None]) -> None:
        self._steps[-1].append(step)

    def gap(self) -> None:
        self._y -= 3 * _MM

    def text(self, said: str, *, size: float = 9, bold: bool = False, indent: float = 0.0) -> None:
        for line in _lines_of(said, size, self._width - 2 * self._margin - indent, bold=bold):
            y, x = self._room(size * 1.35), self._margin + indent
            self._add(lambda line=line, y=y, x=x: _draw(self._canvas, x, y, line, size, bold=bold))  # type: ignore[misc]

    def address(self, value: Address) -> None:
        city = " ".join(filter(None, [value.postcode, value.city]))
        for line in (value.name, value.company, value.line1, value.line2, city, value.region, value.country):
            if line:
                self.text(line, size=10)

    def row(self, left: str, middle: str, right: str, *, size: float = 9) -> None:
        wide = self._width - 2 * self._margin
        columns = (min(24 * _MM, wide * 0.22), wide * 0.5, wide * 0.25)
        cells = [
            list(_lines_of(text, size, width, bold=False))
            for text, width in zip((left, middle, right), columns, strict=True)
        ]
        height = size * 1.3
        rows = max(map(len, cells))
        for number in range(rows):
            y = self._room(height)
            x = self._margin
            for cell, width in zip(cells, (*columns[:2], wide - columns[0] - columns[1]), strict=True):
                if number < len(cell):
                    self._add(lambda line=cell[number], y=y, x=x: _draw(self._canvas, x, y, line, size, bold=False))  # type: ignore[misc]
                x += width
        under = self._y - 3.5
        self._add(lambda: self._canvas.line(self._margin, under, self._width - self._margin, under))
        self._y -= 5

    def barcode(self, text: str) -> None:
        """The text as Code 128, as wide as the page allows, and in letters beneath."""
        # Not before it is needed: it brings pictures and charts along, and every process of the hub loads this module.
        from reportlab.graphics.barcode.code128 import Code128

        height = 13 * _MM
        bars = Code128(text, barWidth=0.33 * _MM, barHeight=height, quiet=True)
        most = self._width - 2 * self._margin
        if bars.width > most:
            bars = Code128(text, barWidth=0.33 * _MM * most / bars.width, barHeight=height, quiet=True)
        y = self._room(height + 2 * _MM)
        self._add(lambda: bars.drawOn(self._canvas, self._margin, y))
        self.text(text, size=8)


# ---------------------------------------------------------------- letters


@cache
def _font(bold: bool) -> tuple[str, frozenset[int]]:
    """The font that is put into the files, and the characters it has letters for."""
    name = "FiraGO-Bold" if bold else "FiraGO"
    font: Any = TTFont(name, BytesIO(bytes(pymupdf_fonts.myfont("figbo" if bold else "figo"))))
    pdfmetrics.registerFont(font)
    return name, frozenset(font.face.charToGlyph)


# In these scripts letters join, stack or run from right to left, which a plain row of letters does not show.
_SHAPED = ("ARABIC", "HEBREW", "DEVANAGARI", "SYRIAC", "THAANA")
_SIGNS = {"☐": "[  ]", "☒": "[x]"}


def printable(text: str) -> str:
    """A text with every character that cannot be printed spelled in Latin letters."""
    _, known = _font(False)
    spelled = []
    for each in unicodedata.normalize("NFC", text):
        if each in _SIGNS:
            spelled.append(_SIGNS[each])
        elif each in "\n\r\t":
            spelled.append(" ")
        elif ord(each) in known and not unicodedata.name(each, "").startswith(_SHAPED):
            spelled.append(each)
        elif each.isprintable():
            spelled.append(anyascii(each))
    return "".join(spelled)


def _lines_of(text: str, size: float, width: float, *, bold: bool) -> Iterable[str]:
    """The text in lines that fit; a word that is longer than a line is divided."""
    name, _ = _font(bold)

    def wide(line: str) -> bool:
        return float(pdfmetrics.stringWidth(line, name, size)) > width

    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in printable(paragraph).split(" "):
            longer = f"{line} {word}" if line else word
            if not wide(longer):
                line = longer
                continue
            if line:
                yield line
            while wide(word):
                fits = next(count for count in range(len(word) - 1, 0, -1) if not wide(word[:count]) or count == 1)
                yield word[:fits]
                word = word[fits:]
            line = word
        if line:
            yield line


def _draw(canvas: Canvas, x: float, y: float, line: str, size: float, *, bold: bool) -> None:
    canvas.setFont(_font(bold)[0], size)
    canvas.drawString(x, y, line)


# ---------------------------------------------------------------- pictures


def qr_png(text: str) -> bytes:
    """The text as a QR code, a PNG picture with its quiet zone."""
    from reportlab.graphics.barcode.qrencoder import QRCode, QRErrorCorrectLevel  # as late as the bars above

    code: Any = QRCode(None, QRErrorCorrectLevel.M)
    code.addData(text)
    code.make()
    quiet, scale = 4, 5
    side = (code.getModuleCount() + 2 * quiet) * scale
    rows = bytearray()
    for y in range(side):
        row = bytearray((side + 7) // 8)
        for x in range(side):
            across, down = x // scale - quiet, y // scale - quiet
            count = code.getModuleCount()
            dark = 0 <= across < count and 0 <= down < count and code.isDark(down, across)
            if not dark:
                row[x // 8] |= 0x80 >> (x % 8)
        rows += b"\0" + row
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
