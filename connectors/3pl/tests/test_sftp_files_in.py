"""Files that a 3PL sends over SFTP: whole or half written, twice, with bad rows; read once, put away, nothing lost."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

import hub
from hub.testing import Clock, Fault, FileVendor, connector_for
from hub_3pl.sftp import SftpConnector
from hub_3pl.simulator_sftp import SftpWarehouse

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HEADER = "shipment_id,order_reference,sku,quantity,tracking_number,shipped_at,lot,expiry"


class Typed(FileVendor):
    """A server whose merchant typed other settings."""

    typed: dict[str, str]

    def settings(self) -> dict[str, str]:
        return {**super().settings(), **self.typed}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def vendor(clock: Clock) -> Iterator[Typed]:
    with Typed(now=clock) as vendor:
        vendor.folders |= {
            f"/{name}"
            for name in ["orders", "cancellations", "acknowledgements", "shipments", "stock", "adjustments", "done"]
        }
        vendor.typed = {"arrives": "renamed", "adjustments_folder": "/adjustments"}
        yield vendor


def connected(vendor: Any, clock: Clock, mappings: dict[str, dict[str, str]] | None = None) -> SftpConnector:
    connector = connector_for(SftpConnector, vendor, now=clock)
    if mappings is None:
        return connector
    context = connector.context
    return SftpConnector(
        hub.Context(context.settings, "", context.client, clock, context.tokens, mappings=mappings, files=context.files)
    )


def records(pages: list[hub.Page]) -> list[hub.RawRecord]:
    return [record for page in pages for record in page.records]


def read(connector: SftpConnector, found: list[hub.RawRecord]) -> tuple[list[Any], list[str]]:
    """What the records say, and what is wrong with the others."""
    facts, wrong = [], []
    for record in found:
        try:
            facts += list(connector.read_shipments(record))
        except hub.Unreadable as error:
            wrong.append(str(error))
    return facts, wrong


def keys(found: list[hub.RawRecord]) -> list[tuple[str, str, bytes]]:
    """What the hub recognizes a record by."""
    return [(record.external_id, record.version, record.body) for record in found]


def inside(vendor: FileVendor, folder: str) -> list[str]:
    return sorted(path for path in vendor.files if path.startswith(f"{folder}/"))


# ---------------------------------------------------------------- what rows say


def test_rows_of_one_shipment_are_told_together_with_their_lots(vendor: Typed, clock: Clock) -> None:
    vendor.put(
        "/shipments/a.csv",
        f"{HEADER}\r\n"
        "S-1,T-1,MUG,2,TRACK1,2026-03-02T10:00:00Z,L-1,2027-06-30\r\n"
        "S-2,T-2,MUG,1,TRACK9,2026-03-02T10:05:00Z,,\r\n"
        "S-1,T-1,MUG,3,TRACK1,2026-03-02T10:00:00Z,L-2,\r\n"
        "S-1,T-1,TEE,1,TRACK2,2026-03-02T10:00:00Z,,\r\n".encode(),
    )
    connector = connected(vendor, clock)

    facts, wrong = read(connector, records(list(connector.fetch_shipments(None))))

    assert wrong == []
    assert [(fact.external_id, fact.reference, fact.tracking_numbers) for fact in facts] == [
        ("S-1", "T-1", ("TRACK1", "TRACK2")),
        ("S-2", "T-2", ("TRACK9",)),
    ]
    assert facts[0].lines == (
        hub.ShippedLine(
            sku="MUG",
            quantity=5,
            lots=(
                hub.Lot(number="L-1", quantity=2, expires_on=date(2027, 6, 30)),
                hub.Lot(number="L-2", quantity=3),
            ),
        ),
        hub.ShippedLine(sku="TEE", quantity=1),
    )
    assert facts[0].shipped_at == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def test_without_a_number_of_its_own_a_shipment_is_what_has_one_tracking_number(vendor: Typed, clock: Clock) -> None:
    vendor.put("/shipments/a.csv", b"reference,sku,quantity,tracking\nT-1,MUG,2,TR1\nT-1,TEE,1,TR1\nT-1,MUG,1,TR2\n")
    connector = connected(vendor, clock)

    facts, _ = read(connector, records(list(connector.fetch_shipments(None))))

    assert [(fact.external_id, [line.quantity for line in fact.lines]) for fact in facts] == [
        ("T-1/TR1", [2, 1]),
        ("T-1/TR2", [1]),
    ]
    assert facts[0].shipped_at == NOON  # the file's time, where no row tells one


def test_stock_by_lot_is_one_count_and_a_sku_that_comes_again_is_told(vendor: Typed, clock: Clock) -> None:
    vendor.put("/stock/a.csv", b"sku;qty;available;lot\nMUG;3;2;L-1\nMUG;4;4;L-2\nTEE;7;7;\nMUG;9;9;L-3\n")
    connector = connected(vendor, clock)

    facts, wrong = read(connector, records(list(connector.fetch_stock(None))))

    assert [(fact.sku, fact.on_hand, fact.available, fact.location_external_id) for fact in facts] == [
        ("MUG", 7, 6, "warehouse"),
        ("TEE", 7, 7, "warehouse"),
    ]
    assert wrong == ["a.csv, line 5: Its SKU stands further up, too. Which of the two counts is right?"]


def test_adjustments_are_told_by_their_number(vendor: Typed, clock: Clock) -> None:
    vendor.put("/adjustments/a.csv", b"id,sku,quantity,reason\nA-1,MUG,-2,broken\nA-2,MUG,5,\n")
    connector = connected(vendor, clock)

    facts, _ = read(connector, records(list(connector.fetch_stock(None))))

    assert [(fact.external_id, fact.quantity, fact.reason) for fact in facts] == [
        ("A-1", -2, "broken"),
        ("A-2", 5, ""),
    ]


def test_an_acknowledgement_accepts_rejects_and_answers_a_cancellation(vendor: Typed, clock: Clock) -> None:
    vendor.put(
        "/acknowledgements/a.csv",
        b"order_reference,status,reason,updated_at\n"
        b"T-1,Accepted,,2026-03-02 10:00\n"
        b"T-2,REJECTED,No such SKU,2026-03-02 10:00\n"
        b"T-3,too late,It has left,2026-03-02 10:00\n"
        b"T-4,canceled,,2026-03-02 10:00\n"
        b"T-5,lost in the fog,,2026-03-02 10:00\n",
    )
    connector = connected(vendor, clock)

    facts, _ = read(connector, records(list(connector.fetch_shipments(None))))

    assert [(fact.reference, fact.state.value, fact.message) for fact in facts] == [
        ("T-1", "accepted", ""),
        ("T-2", "rejected", "No such SKU"),
        ("T-3", "refused", "It has left"),
        ("T-4", "cancelled", ""),
        ("T-4", "cancelled", ""),
        ("T-5", "on_hold", ""),
    ]


# ---------------------------------------------------------------- bad rows and bad files


def test_each_bad_row_is_told_with_its_line_and_spoils_no_other(vendor: Typed, clock: Clock) -> None:
    vendor.typed |= {"encoding": "utf-8"}
    vendor.put(
        "/stock/stock.csv",
        b'sku,on_hand\r\nA,1\r\nB,a few\nC\rD,4,5\r\n"E,6\r\nF,1.23E+12\r\nG,-1\r\n,3\r\n1.5E+9,3\r\nH,2.0\r\n'
        b"\xff\xfe,3\r\nI,1.5\r\n\r\nJ,9",
    )
    connector = connected(vendor, clock)

    facts, wrong = read(connector, records(list(connector.fetch_stock(None))))

    assert [(fact.sku, fact.on_hand) for fact in facts] == [("A", 1), ("H", 2), ("J", 9)]
    assert [text.removeprefix("stock.csv, ") for text in wrong] == [
        "line 3: “on_hand” is not a whole number.",
        "line 4: It has 1 columns where the header has 2.",
        "line 5: It has 3 columns where the header has 2.",
        "line 6: A quote is opened and never closed.",
        "line 7: “on_hand” is a number that a spreadsheet has shortened (1.23E+12).",
        "line 8: A count is below zero.",
        "line 9: It names no SKU.",
        "line 10: “sku” is a number that a spreadsheet has shortened (1.23E+12): have the column exported as text.",
        "line 12: It is not UTF-8 text. Is another encoding meant?",
        "line 13: “on_hand” is not a whole number.",
    ]


def test_a_mangled_reference_is_refused_and_never_guessed(vendor: Typed, clock: Clock) -> None:
    vendor.put("/shipments/a.csv", f"{HEADER}\nS-1,T-1,4.01E+12,1,TR,,,\nS-2,T-2,MUG,1,1.23E+15,,,\n".encode())
    connector = connected(vendor, clock)

    facts, wrong = read(connector, records(list(connector.fetch_shipments(None))))

    assert facts == []
    assert [text.split(" is ")[0] for text in wrong] == ["a.csv, line 2: “sku”", "a.csv, line 3: “tracking_number”"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "The file is empty."),
        (b"PK\x03\x04" + bytes(60), "an Excel workbook (xlsx)"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "an old Excel workbook"),
        (b"<!doctype html><title>Down</title>", "a web page"),
        (b"sku,sku,on_hand\nA,B,1\n", "Two columns of the file have the same header"),
        (b'"sku,on_hand\nA,1\n', "The header of the file cannot be read"),
    ],
    ids=["empty", "xlsx", "xls", "html", "doubled-header", "open-quote"],
)
def test_what_is_no_file_of_rows_is_one_record_that_says_so(
    vendor: Typed, clock: Clock, body: bytes, told: str
) -> None:
    vendor.put("/stock/odd.csv", body)
    vendor.put("/stock/right.csv", b"sku,on_hand\nA,1\n")
    connector = connected(vendor, clock)

    facts, wrong = read(connector, records(list(connector.fetch_stock(None))))

    assert [fact.sku for fact in facts] == ["A"]
    assert len(wrong) == 1 and wrong[0].startswith("odd.csv: ") and told in wrong[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "pipe"])
def test_encoding_and_delimiter_are_found_out(vendor: Typed, clock: Clock, encoding: str, delimiter: str) -> None:
    text = f"sku{delimiter}on_hand\r\nTASSE-GRÜN{delimiter}4\r\n"
    vendor.put("/stock/a.csv", text.encode(encoding))
    connector = connected(vendor, clock)

    (fact,), wrong = read(connector, records(list(connector.fetch_stock(None))))

    assert (fact.sku, fact.on_hand, wrong) == ("TASSE-GRÜN", 4, [])


def test_a_file_whose_columns_nobody_knows_waits_until_somebody_says(vendor: Typed, clock: Clock) -> None:
    vendor.put("/stock/a.csv", b"Artikel,Menge\nMUG,4\n")
    connector = connected(vendor, clock)
    (page,) = connector.fetch_stock(None)
    _, wrong = read(connector, list(page.records))
    again = list(connected(vendor, clock).fetch_stock(page.cursor))

    assert wrong == [
        "a.csv: The file has no column for “SKU”, “On hand”. If it has one under another name, say so on the page of "
        "the connection's columns, then read it again."
    ]
    assert keys(records(again)) == keys(list(page.records))  # the hub knows it already
    assert inside(vendor, "/stock") == ["/stock/a.csv"]

    said = connected(vendor, clock, {"columns/stock": {"sku": "Artikel", "on_hand": "Menge"}})
    (fact,), _ = read(said, records(list(said.fetch_stock(again[-1].cursor))))

    assert (fact.sku, fact.on_hand) == ("MUG", 4)
    assert read(said, list(page.records)) == ([], [])  # what was set aside has nothing more to say


# ---------------------------------------------------------------- once, whole, and in order


def test_a_file_is_put_away_on_the_visit_after_it_was_stored(vendor: Typed, clock: Clock) -> None:
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,4\n")
    connector = connected(vendor, clock)
    (page,) = connector.fetch_stock(None)
    assert inside(vendor, "/stock") == ["/stock/a.csv"]

    first, last = connector.fetch_stock(page.cursor)

    assert (inside(vendor, "/stock"), inside(vendor, "/done")) == ([], ["/done/a.csv"])
    assert records([first, last]) == []
    assert [records(list(connector.fetch_stock(last.cursor)))] == [[]]


def test_a_visit_that_dies_between_moving_and_storing_loses_nothing_and_moves_nothing_else(
    vendor: Typed, clock: Clock
) -> None:
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,4\n")
    connector = connected(vendor, clock)
    (page,) = connector.fetch_stock(None)
    next(iter(connector.fetch_stock(page.cursor)))  # moved; what it yielded was never stored
    clock.advance(60)
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,9\n")  # of the same name, a new one

    found = list(connector.fetch_stock(page.cursor))

    (fact,), _ = read(connector, records(found))
    assert (fact.sku, fact.on_hand) == ("MUG", 9)
    assert inside(vendor, "/stock") == ["/stock/a.csv"]
    list(connector.fetch_stock(found[-1].cursor))
    assert inside(vendor, "/done") == ["/done/20260302T120100000000-a.csv", "/done/a.csv"]


def test_a_file_that_takes_the_place_of_one_as_it_is_moved_comes_back(vendor: Typed, clock: Clock) -> None:
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,4\n")
    connector = connected(vendor, clock)
    (page,) = connector.fetch_stock(None)
    clock.advance(60)
    vendor.fail_next("/done/a.csv", Fault.changing(lambda: vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,12\n")))

    found = list(connector.fetch_stock(page.cursor))

    (fact,), _ = read(connector, records(found))
    assert fact.on_hand == 12
    assert inside(vendor, "/done") == []


def test_the_same_content_under_another_name_is_the_same_records(vendor: Typed, clock: Clock) -> None:
    body = f"{HEADER}\nS-1,T-1,MUG,2,TR1,2026-03-02T10:00:00Z,,\nS-1,bad,MUG,x,TR1,2026-03-02T10:00:00Z,,\n".encode()
    vendor.put("/shipments/a.csv", body)
    connector = connected(vendor, clock)
    first = list(connector.fetch_shipments(None))
    clock.advance(3600)
    vendor.put("/shipments/copy of a.csv", body)

    second = records(list(connector.fetch_shipments(first[-1].cursor)))

    assert keys(second) == keys(records(first))
    assert [record.headers["file"] for record in second] == ["copy of a.csv"]


def test_a_file_is_left_alone_until_it_has_been_still_for_a_while(vendor: Typed, clock: Clock) -> None:
    vendor.typed |= {"arrives": "still", "still_seconds": "30"}
    vendor.put("/stock/a.csv", b"sku,on_hand\nMU")
    connector = connected(vendor, clock)

    (page,) = connector.fetch_stock(None)
    assert page.records == ()
    clock.advance(60)
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,4\n")  # it has grown meanwhile
    (page,) = connector.fetch_stock(page.cursor)
    assert page.records == ()
    clock.advance(29)
    (page,) = connector.fetch_stock(page.cursor)
    assert page.records == ()
    clock.advance(1)
    (page,) = connector.fetch_stock(page.cursor)

    (fact,), _ = read(connector, list(page.records))
    assert (fact.sku, fact.on_hand) == ("MUG", 4)


def test_a_file_is_left_alone_until_its_companion_is_there_and_both_are_put_away(vendor: Typed, clock: Clock) -> None:
    vendor.typed |= {"arrives": "companion"}
    vendor.put("/stock/a.csv", b"sku,on_hand\nMUG,4\n")
    connector = connected(vendor, clock)
    (page,) = connector.fetch_stock(None)
    assert page.records == ()

    vendor.put("/stock/a.done", b"")
    (page,) = connector.fetch_stock(page.cursor)
    assert len(page.records) == 1
    list(connector.fetch_stock(page.cursor))

    assert (inside(vendor, "/stock"), inside(vendor, "/done")) == ([], ["/done/a.csv", "/done/a.done"])


def test_what_is_named_like_half_a_file_is_never_read(vendor: Typed, clock: Clock) -> None:
    for name in (".a.csv", "a.csv.part", "a.tmp", "a.csv.filepart", "~a.csv"):
        vendor.put(f"/stock/{name}", b"sku,on_hand\nMUG,4\n")

    assert records(list(connected(vendor, clock).fetch_stock(None))) == []


def test_the_oldest_file_comes_first(vendor: Typed, clock: Clock) -> None:
    for name, units in (("z", 1), ("m", 2), ("a", 3)):
        vendor.put(f"/stock/{name}.csv", f"sku,on_hand\nMUG,{units}\n".encode())
        clock.advance(60)
    connector = connected(vendor, clock)

    facts, _ = read(connector, records(list(connector.fetch_stock(None))))

    assert [fact.on_hand for fact in facts] == [1, 2, 3]


def test_a_long_file_comes_in_pages_from_each_of_which_it_goes_on(vendor: Typed, clock: Clock) -> None:
    vendor.put("/stock/a.csv", b"sku,on_hand\n" + b"".join(b"S-%d,%d\n" % (n, n) for n in range(1_200)))
    connector = connected(vendor, clock)

    pages = list(connector.fetch_stock(None))
    rest = records(list(connector.fetch_stock(pages[0].cursor)))

    assert [len(page.records) for page in pages] == [500, 500, 200]
    assert [record.external_id for record in rest] == [f"S-{n}" for n in range(500, 1_200)]


def test_a_long_file_takes_no_more_memory_than_a_part_of_it(vendor: Typed, clock: Clock) -> None:
    def peak(number_of_rows: int) -> int:
        rows = b"".join(b"A-%07d,%d,Shelf %0276d\n" % (n, n % 100, n) for n in range(number_of_rows))
        vendor.put("/adjustments/a.csv", b"id,quantity,sku\n" + rows)
        pages = connected(vendor, clock).fetch_stock(None)
        told = len(next(pages).records)
        tracemalloc.start()
        told += sum(len(page.records) for page in pages)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert told == number_of_rows
        return peak

    assert peak(16_000) < peak(8_000) * 1.25


# ---------------------------------------------------------------- orders out


def test_an_order_is_handed_over_once_even_where_the_3pl_takes_it_at_once(clock: Clock) -> None:
    with SftpWarehouse(now=clock) as vendor:
        vendor.stock_item("MUG", "Mug", 10)
        connector = connected(vendor, clock)
        order = vendor.example("T-1", {"MUG": 2})
        assert connector.find_submit(order, "key") is None

        connector.submit(order, "key")

        assert "/orders/T-1.csv" not in vendor.files
        assert connector.find_submit(order, "key") == connector.submit(order, "key")
        assert [placed.reference for placed in vendor.placed()] == ["T-1"]


@pytest.mark.parametrize("step", range(1, 10))
def test_whatever_step_it_dies_after_an_order_is_handed_over_once(clock: Clock, step: int) -> None:
    with SftpWarehouse(now=clock) as vendor:
        vendor.stock_item("MUG", "Mug", 10)
        order = vendor.example("T-1", {"MUG": 2})
        dying = connected(vendor, clock)
        files: Any = dying.context.files
        send, left = files.request, iter(range(step))

        def request(method: str, path: str, **options: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return send(method, path, **options)

        files.request = request
        with contextlib.suppress(KeyboardInterrupt):
            dying.submit(order, "key")

        living = connected(vendor, clock)
        handed_over = bool(vendor.placed())
        assert (living.find_submit(order, "key") is not None) is handed_over
        living.submit(order, "key")

        assert [placed.reference for placed in vendor.placed()] == ["T-1"]


def test_what_customers_write_is_no_formula_and_stays_on_its_line(vendor: Typed, clock: Clock) -> None:
    with SftpWarehouse() as example:
        order = example.example("T-1", {"MUG": 2})
    to = hub.Address(name='=cmd|"/c calc"', line1="1 High\r\nStreet", city="Kraków", country="PL", phone="+48 12 345")

    connected(vendor, clock).submit(
        hub.FulfillmentOrder(
            reference="T-1",
            number="#1",
            placed_at=order.placed_at,
            lines=order.lines,
            destination=to,
            service="standard",
        ),
        "key",
    )

    header, row, rest = vendor.files["/orders/T-1.csv"].body.decode().split("\r\n")
    assert header.startswith("order_reference,order_number,placed_at,service")
    assert '"\'=cmd|""/c calc""",,1 High  Street,,Kraków,,,PL,+48 12 345,' in row
    assert rest == ""


def test_letters_that_the_encoding_lacks_are_told_before_anything_is_sent(vendor: Typed, clock: Clock) -> None:
    vendor.typed |= {"encoding": "cp1252"}
    with SftpWarehouse() as example:
        order = example.example("T-1", {"MUG": 2})
    to = hub.Address(name="東京", line1="1", city="東京都", country="JP")

    with pytest.raises(hub.Rejected, match="cp1252 files cannot hold"):
        connected(vendor, clock).submit(
            hub.FulfillmentOrder(
                reference="T-1",
                number="#1",
                placed_at=order.placed_at,
                lines=order.lines,
                destination=to,
                service="standard",
            ),
            "key",
        )
    assert vendor.files == {}


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"stock_folder": "/orders"}, "stock_folder"),
        ({"stock_folder": "stock"}, "stock_folder"),
        ({"stock_folder": "/a/../b"}, "stock_folder"),
        ({"password": ""}, "password"),
        ({"time_zone": "Leeds"}, "time_zone"),
        ({"host": "https://files.example"}, "host"),
        ({"place": " , "}, "place"),
        ({"port": "0"}, "port"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_settings_that_cannot_work_are_told_by_their_field(vendor: Typed, typed: dict[str, str], field: str) -> None:
    problems = SftpConnector.settings_schema().validate({**vendor.settings(), **typed})

    assert list(problems) == [field]
