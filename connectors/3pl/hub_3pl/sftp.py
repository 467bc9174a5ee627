"""The connector for 3PLs that exchange CSV files over SFTP: orders out, and acknowledgements, shipments, stock in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import available_timezones

import marshmallow
from marshmallow import fields, validate

import hub
from hub_3pl.sftp_files import (
    ACKNOWLEDGEMENTS,
    ADJUSTMENTS,
    CANCELLATION_COLUMNS,
    KINDS,
    ORDER_COLUMNS,
    SHIPMENTS,
    STOCK,
    Reading,
    order_rows,
    written,
)

PAGE = 500  # records
_CHUNK = 1024 * 1024  # of a file that is read bit by bit
_SAMPLE = 32 * 1024
_LARGEST_GROUPED = 32 * 1024 * 1024  # rows of one shipment may stand anywhere in a file, so it is read whole
_UNFINISHED = (".part", ".tmp", ".temp", ".filepart", ".writing")
_COMPANIONS = (".done", ".ok")
_ENCODINGS = {
    "auto": "Find out (our files: UTF-8)",
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with a mark (BOM)",
    "cp1252": "Windows-1252",
    "iso-8859-15": "ISO 8859-15",
    "utf-16": "UTF-16",
}
_DELIMITERS = {"auto": "Find out (our files: comma)", ",": "Comma", ";": "Semicolon", "tab": "Tab", "|": "Pipe"}

# ---------------------------------------------------------------- settings


def _folder(label: str, hint: str, default: str) -> fields.String:
    return fields.String(
        load_default=default, metadata={"label": label, "hint": hint}, validate=validate.Length(max=200)
    )


def _choice(label: str, hint: str, choices: Mapping[str, str], default: str) -> fields.String:
    return fields.String(
        load_default=default,
        metadata={"label": label, "hint": hint},
        validate=validate.OneOf(list(choices), list(choices.values())),
    )


class SftpSettings(hub.SettingsSchema):
    """The connect form."""

    host = fields.String(
        required=True,
        validate=validate.Regexp(r"(?!-)[A-Za-z0-9.-]{1,253}\Z", error="Enter a name such as files.example."),
        metadata={"label": "Server", "hint": "The name of the SFTP server.", "placeholder": "sftp.warehouse.example"},
    )
    port = fields.Integer(
        load_default=22,
        validate=validate.Range(1, 65_535),
        metadata={"label": "Port", "hint": "22, unless the 3PL says otherwise."},
    )
    user = fields.String(
        required=True,
        validate=validate.Length(1, 200),
        metadata={"label": "User", "hint": "The user name the 3PL gave you."},
    )
    password = fields.String(
        load_default="",
        metadata={"label": "Password", "hint": "Leave empty if you sign in with a key.", "secret": True},
    )
    private_key = fields.String(
        load_default="",
        metadata={
            "label": "Private key",
            "hint": "The whole of it, from BEGIN to END (Ed25519, ECDSA or RSA). The 3PL has the public one.",
            "secret": True,
        },
    )
    passphrase = fields.String(
        load_default="",
        metadata={"label": "Passphrase of the key", "hint": "Leave empty if the key has none.", "secret": True},
    )
    fingerprint = fields.String(
        load_default="",
        validate=validate.Length(max=1000),
        metadata={
            "label": "Fingerprint of the server",
            "hint": "As ssh-keygen writes it. Leave it empty once, and the hub tells what the server shows: compare "
            "that with what the 3PL says.",
            "placeholder": "SHA256:…",
        },
    )
    orders_folder = _folder("Folder for orders", "Where the 3PL picks orders up.", "/orders")
    cancellations_folder = _folder("Folder for cancellations", "Where the 3PL picks them up.", "/cancellations")
    acknowledgements_folder = _folder(
        "Folder of acknowledgements", "Where the 3PL says how far orders are.", "/acknowledgements"
    )
    shipments_folder = _folder("Folder of shipments", "Where the 3PL says what has left.", "/shipments")
    stock_folder = _folder("Folder of stock", "Where the 3PL says what lies there.", "/stock")
    adjustments_folder = _folder("Folder of stock adjustments", "Leave it empty if the 3PL sends none.", "")
    done_folder = _folder(
        "Folder of what is done", "Yours: files that were read are moved there, and notes of what was sent.", "/done"
    )
    arrives = _choice(
        "A file is finished when",
        "Ask the 3PL. A file that is read while it is written loses its end.",
        {
            "still": "it has not changed for a while",
            "renamed": "it is there (it is renamed when it is whole)",
            "companion": "a file .done or .ok lies beside it",
        },
        "still",
    )
    still_seconds = fields.Integer(
        load_default=60,
        validate=validate.Range(5, 3600),
        metadata={"label": "Seconds without a change", "hint": "After which a file counts as finished."},
    )
    encoding = _choice("Encoding", "Of the files, both ways.", _ENCODINGS, "auto")
    delimiter = _choice("Delimiter", "Between the columns, both ways.", _DELIMITERS, "auto")
    decimal = _choice("Decimal sign", "In the 3PL's numbers.", {".": "Point", ",": "Comma"}, ".")
    dates = _choice(
        "Dates",
        "How the 3PL writes those that do not begin with the year.",
        {"dmy": "31.12.2026", "mdy": "12/31/2026"},
        "dmy",
    )
    time_zone = fields.String(
        load_default="UTC",
        metadata={
            "label": "Time zone",
            "hint": "Of times in the 3PL's files that name none.",
            "placeholder": "Europe/London",
        },
    )
    place = fields.String(
        load_default="warehouse",
        validate=validate.Length(1, 100),
        metadata={
            "label": "Places",
            "hint": "What the 3PL calls its places with stock, parted by commas. Rows without one mean the first.",
        },
    )

    @marshmallow.validates_schema
    def _is_consistent(self, settings: dict[str, Any], **_: Any) -> None:
        wrong: dict[str, list[str]] = {}
        if not settings.get("password") and not settings.get("private_key"):
            wrong["password"] = ["Enter a password or a private key."]
        seen: dict[str, str] = {}
        for name in _FOLDERS:
            folder = _path(settings.get(name, ""))
            if not folder and name == "adjustments_folder":
                continue
            if not folder.startswith("/") or ".." in folder.split("/") or not folder.isprintable():
                wrong[name] = ["Enter a folder from the top, such as /orders."]
            elif folder in seen:
                wrong[name] = ["Two kinds of files cannot share a folder."]
            seen[folder] = name
        if settings.get("time_zone", "UTC") not in available_timezones():
            wrong["time_zone"] = ["Enter a name such as Europe/London."]
        if not _places(settings.get("place", "")):
            wrong["place"] = ["Enter at least one."]
        if wrong:
            raise marshmallow.ValidationError(wrong)

    @marshmallow.post_load
    def _in_one_spelling(self, settings: dict[str, Any], **_: Any) -> dict[str, Any]:
        folders = {name: _path(settings.get(name, "")) for name in _FOLDERS}
        return settings | folders | {"host": settings["host"].lower()}


_FOLDERS = (
    "orders_folder",
    "cancellations_folder",
    "acknowledgements_folder",
    "shipments_folder",
    "stock_folder",
    "adjustments_folder",
    "done_folder",
)


def _path(text: str) -> str:
    return text.rstrip("/")


def _places(text: str) -> list[str]:
    return [place.strip() for place in text.split(",") if place.strip()]


# ---------------------------------------------------------------- where the reading of a stream stands


@dataclass(slots=True)
class _Mark:
    """The cursor. A file is [path, size, modified]: another file of the same name is another one.

    ``done``: stored to the last row, to be put away on the next visit. ``at``: the file being read, and how many
    records of it are stored. ``seen``: files that may still be written, and since when they have been as they are.
    """

    done: list[list[Any]] = field(default_factory=list)
    at: list[Any] = field(default_factory=list)
    seen: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | None) -> _Mark:
        try:
            told = json.loads(cursor or "{}")
            return cls(list(told.get("done", ())), list(told.get("at", ())), dict(told.get("seen", {})))
        except (ValueError, AttributeError, TypeError):
            return cls()  # nothing is lost by beginning anew: what is stored is recognized

    def __str__(self) -> str:
        told = {"done": self.done, "at": self.at, "seen": self.seen}
        return json.dumps({name: value for name, value in told.items() if value}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A file that has come in."""

    kind: str
    folder: str
    entry: hub.FileEntry

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.entry.name}"

    @property
    def mark(self) -> list[Any]:
        return [self.path, self.entry.size, self.entry.modified.isoformat()]


# ---------------------------------------------------------------- the connector


class SftpConnector(hub.FulfillmentProvider):
    """A 3PL that exchanges CSV files over SFTP."""

    name = "sftp"
    label = "SFTP with CSV files"
    description = "Orders to a 3PL as CSV files over SFTP; acknowledgements, shipments and stock back."
    api_version = "1"
    settings_schema = SftpSettings
    capabilities = hub.ProviderCapabilities(webhooks=False, min_poll_seconds=60, stock_poll_seconds=300)
    rate_budget = hub.RateBudget(per_second=50, burst=200)
    file_kinds = KINDS
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "submit": hub.Settlement.LOOKUP,
        "cancel": hub.Settlement.LOOKUP,
    }

    def __init__(self, context: hub.Context) -> None:
        super().__init__(context)
        self._form = self.file_format(self.settings)
        self._reading = Reading(self._form, context.mappings, _places(self.settings["place"])[0])

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return ()

    @classmethod
    def file_host(cls, settings: Mapping[str, Any]) -> str:
        return f"sftp://{settings['host']}:{settings['port']}"

    @classmethod
    def file_format(cls, settings: Mapping[str, Any]) -> hub.FileFormat:
        return hub.FileFormat(
            encoding=settings["encoding"].replace("auto", ""),
            delimiter=settings["delimiter"].replace("auto", "").replace("tab", "\t"),
            decimal=settings["decimal"],
            dates=settings["dates"],
            time_zone=settings["time_zone"],
        )

    def sample_file(self, kind: str) -> bytes:
        folder = self.settings[KINDS[kind].folder]
        found = [entry for entry in self._files.list(folder) if _may_be_read(entry.name)] if folder else []
        if not found:
            raise hub.NotFound("No such file lies in its folder now. Ask the 3PL for one, or upload a sample.")
        newest = max(found, key=lambda entry: (entry.modified, entry.name))
        return self._files.read(f"{folder}/{newest.name}", most=_SAMPLE)

    @property
    def _files(self) -> hub.Files:
        files = self.context.files
        if files is None:
            raise hub.Unavailable("No files can be asked for here: nothing was sent.", sent=False)
        files.sign_in(
            self.settings["user"],
            fingerprint=self.settings["fingerprint"],
            password=self.settings["password"],
            private_key=self.settings["private_key"],
            passphrase=self.settings["passphrase"],
        )
        return files

    def check(self) -> hub.Account:
        files = self._files
        for name in _FOLDERS:
            if self.settings[name]:
                files.list(self.settings[name])
        host, user = self.settings["host"], self.settings["user"]
        return hub.Account(
            external_id=f"{user}@{host}:{self.settings['port']}{self.settings['orders_folder']}",
            name=f"{user} at {host}",
            locations=tuple(
                hub.ChannelLocation(external_id=place, name=place) for place in _places(self.settings["place"])
            ),
        )

    # --- orders out

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        if not (order.destination.line1 and order.destination.country):
            raise hub.Rejected("The order has no address to be shipped to. Correct it, and send it again.")
        name = f"{order.reference}.csv"
        if not self._was_sent(name):
            body = written(ORDER_COLUMNS, order_rows(order), self._form)
            self._send(self.settings["orders_folder"], name, body)
        return _submission(order.reference)

    def find_submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission | None:
        return _submission(order.reference) if self._was_sent(f"{order.reference}.csv") else None

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        reference = submission.reference
        if submission.external_id != reference and not self._was_sent(f"{reference}.csv"):
            raise hub.Rejected(f"The 3PL was never sent {reference}: there is nothing to cancel.")
        name = f"cancel-{reference}.csv"
        if not self._was_sent(name):
            row = {"order_reference": reference, "requested_at": f"{self.context.now():%Y-%m-%dT%H:%M:%SZ}"}
            self._send(self.settings["cancellations_folder"], name, written(CANCELLATION_COLUMNS, [row], self._form))
        return hub.Cancellation(reference=reference, state=hub.CancelState.REQUESTED)

    def find_cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation | None:
        if not self._was_sent(f"cancel-{submission.reference}.csv"):
            return None
        return hub.Cancellation(reference=submission.reference, state=hub.CancelState.REQUESTED)

    # A 3PL may take a file away the moment it appears, so that its being there proves nothing. Therefore: the file is
    # written where the 3PL does not look, then a note that it is about to be handed over, then it is moved. With the
    # note there and the file gone from the first place, it was handed over, whatever has become of it since.

    def _send(self, folder: str, name: str, body: bytes) -> None:
        done = self.settings["done_folder"]
        for path, text in ((f"{done}/to-send-{name}", body), (f"{done}/sent-{name}", _note(name))):
            try:
                self._files.write(path, text)
            except hub.Rejected as error:
                if error.code != "exists":  # left by an earlier attempt that ended between two steps
                    raise
        self._files.move(f"{done}/to-send-{name}", f"{folder}/{name}")

    def _was_sent(self, name: str) -> bool:
        done = self.settings["done_folder"]
        try:
            note = self._files.read(f"{done}/sent-{name}", most=1000)
        except hub.NotFound:
            return False
        if note != _note(name):
            raise hub.Unavailable(f"{done}/sent-{name} is not what the hub wrote. It will be looked at again.")
        try:
            self._files.read(f"{done}/to-send-{name}", most=1)
        except hub.NotFound:
            return True
        return False

    # --- files in

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        return self._fetch("shipment", (ACKNOWLEDGEMENTS, SHIPMENTS), cursor)

    def fetch_stock(self, cursor: str | None) -> Iterator[hub.Page]:
        return self._fetch("stock", (STOCK, ADJUSTMENTS), cursor)

    def _fetch(self, topic: str, kinds: Sequence[str], cursor: str | None) -> Iterator[hub.Page]:
        mark = _Mark.of(cursor)
        folders = {kind: self.settings[KINDS[kind].folder] for kind in kinds if self.settings[KINDS[kind].folder]}
        if mark.done:
            self._put_away(mark.done)
            mark.done = []
            yield hub.Page((), str(mark))
        page: list[hub.RawRecord] = []
        for arrived in self._finished(folders, mark):
            stored = mark.at[3] if mark.at[:3] == arrived.mark else 0
            waits = False
            for number, record in enumerate(self._records(topic, arrived), start=1):
                waits = "waits" in record.headers
                if number <= stored:
                    continue
                page.append(record)
                if len(page) >= PAGE:
                    mark.at = [*arrived.mark, number]
                    yield hub.Page(tuple(page), str(mark))
                    page = []
            mark.at = []
            # One whose columns nobody knows yet stays, and is looked at again.
            if not waits:
                mark.done.append(arrived.mark)
        yield hub.Page(tuple(page), str(mark))

    def _finished(self, folders: Mapping[str, str], mark: _Mark) -> list[_Arrived]:
        """Files that are whole, the oldest first. What is seen of the others is written down in ``mark``."""
        now, before, mark.seen = self.context.now(), mark.seen, {}
        found = []
        for kind, folder in folders.items():
            entries = self._files.list(folder)
            names = {entry.name for entry in entries}
            for entry in entries:
                arrived = _Arrived(kind, folder, entry)
                if not _may_be_read(entry.name):
                    continue
                match self.settings["arrives"]:
                    case "companion":
                        finished = bool(names & set(_companions(entry.name)))
                    case "still":
                        seen = before.get(arrived.path, [])
                        same = seen[:2] == arrived.mark[1:]
                        since = seen[2] if same else now.isoformat()
                        finished = now - datetime.fromisoformat(since) >= self._patience()
                        mark.seen[arrived.path] = [*arrived.mark[1:], since]
                    case _:
                        finished = True
                if finished:
                    found.append(arrived)
        return sorted(found, key=lambda each: (each.entry.modified, each.kind, each.entry.name))

    def _patience(self) -> timedelta:
        return timedelta(seconds=self.settings["still_seconds"])

    def _put_away(self, done: Sequence[Sequence[Any]]) -> None:
        """Move files that are stored to the last row. Whatever has taken the place of one meanwhile stays, or comes
        back."""
        place = self.settings["done_folder"]
        inside = {folder: self._files.list(folder) for folder in {path.rpartition("/")[0] for path, *_ in done}}
        moved: dict[str, Sequence[Any]] = {}
        for each in done:
            folder, _, name = each[0].rpartition("/")
            entry = next((entry for entry in inside[folder] if entry.name == name), None)
            if entry is None or [entry.size, entry.modified.isoformat()] != list(each[1:3]):
                continue  # moved by an earlier visit that died, or a new file of the same name
            if to := self._moved(each[0], place, name):
                moved[to] = each
            for companion in set(_companions(name)) & {entry.name for entry in inside[folder]}:
                self._moved(f"{folder}/{companion}", place, companion)
        if not moved:
            return
        there = {entry.name: entry for entry in self._files.list(place)}
        for to, each in moved.items():
            entry = there.get(to.rpartition("/")[2])
            if entry is not None and [entry.size, entry.modified.isoformat()] != list(each[1:3]):
                self._moved(to, each[0].rpartition("/")[0], each[0].rpartition("/")[2])

    def _moved(self, path: str, folder: str, name: str) -> str:
        """Move a file under its name, or one that tells when, where another has it; returns where to, "" if it has
        gone."""
        for to in (f"{folder}/{name}", f"{folder}/{self.context.now():%Y%m%dT%H%M%S%f}-{name}"):
            try:
                self._files.move(path, to)
            except hub.NotFound:
                return ""
            except hub.Rejected as error:
                if error.code != "exists":
                    raise
            else:
                return to
        raise hub.Unavailable(f"{folder} has two files {name} already. The hub tries again.")

    # --- the records of a file

    def _records(self, topic: str, arrived: _Arrived) -> Iterator[hub.RawRecord]:
        """A record for each row, or for all rows of one shipment or SKU, in the same order whenever it is read."""
        kind, chosen = KINDS[arrived.kind], self._reading.chosen(arrived.kind)
        about = _About(topic, arrived)
        if arrived.kind == SHIPMENTS and arrived.entry.size > _LARGEST_GROUPED:
            wrong = (
                f"It has {arrived.entry.size:,} bytes, {_LARGEST_GROUPED:,} at most are read. Have it sent in parts."
            )
            yield about.file(wrong=wrong)
            return
        try:
            rows = hub.RowReader(_Remote(self._files, arrived.path), self._form)
        except hub.Unreadable as error:
            yield about.file(wrong=str(error))
            return
        try:
            columns = hub.assign_columns(kind, rows.header, chosen)
        except hub.Unreadable:
            yield about.file(header=list(rows.header))
            return
        time = columns.get(_TIMES.get(arrived.kind, ""), "")
        for external_id, together, wrong in _GROUPED[arrived.kind](rows, columns):
            timeless = arrived.kind in _TIMES and not any(row.texts.get(time, "").strip() for row in together)
            yield about.rows(external_id, together, wrong or together[0].wrong, timeless=timeless)

    # --- reading

    def read_shipments(self, record: hub.RawRecord) -> Iterable[Any]:
        return list(self._reading.read(record))

    def read_stock(self, record: hub.RawRecord) -> Iterable[Any]:
        return list(self._reading.read(record))


def _submission(reference: str) -> hub.Submission:
    return hub.Submission(reference=reference, external_id=reference, state=hub.ProviderState.SUBMITTED)


def _note(name: str) -> bytes:
    return f"Tallyhub hands {name} over. Leave this note here: it keeps the file from being sent twice.\n".encode()


def _may_be_read(name: str) -> bool:
    plain = name.lower()
    return not plain.startswith((".", "~")) and not plain.endswith((*_UNFINISHED, *_COMPANIONS))


def _companions(name: str) -> list[str]:
    stem = name.rpartition(".")[0] or name
    return [f"{each}{suffix}" for each in (name, stem) for suffix in _COMPANIONS]


class _About:
    """Makes the records of one file.

    A record's body is what the rows say and nothing else, so that the same rows in another file are the same record;
    what tells of the file stands beside it. Where rows do not say when they were true, the file's time does, and the
    same row in a later file is another record; so it is with what is wrong with a whole file.
    """

    def __init__(self, topic: str, arrived: _Arrived) -> None:
        self._topic = topic
        self._kind = arrived.kind
        self._name = arrived.entry.name
        self._modified = arrived.entry.modified.isoformat()

    def file(self, *, wrong: str = "", header: Sequence[str] | None = None) -> hub.RawRecord:
        """What is wrong with the file, or the header of one whose columns nobody knows."""
        headers = {"file": self._name, "modified": self._modified}
        if header is None:
            return self._made(self._name, {"wrong": wrong}, self._modified, headers)
        return self._made(self._name, {"header": header}, self._modified, {**headers, "waits": "for its columns"})

    def rows(self, external_id: str, together: Sequence[hub.Row], wrong: str, *, timeless: bool) -> hub.RawRecord:
        """Rows that belong together, or a row with which something is wrong."""
        lines = " ".join(str(row.line) for row in together)
        told: dict[str, Any] = {"rows": [dict(row.texts) for row in together]}
        if wrong:
            told |= {"wrong": wrong, "whole": together[0].whole}
        headers = {"file": self._name, "modified": self._modified, "lines": lines}
        return self._made(external_id, told, self._modified if timeless else "", headers)

    def _made(
        self, external_id: str, told: Mapping[str, Any], version: str, headers: Mapping[str, str]
    ) -> hub.RawRecord:
        body = json.dumps({"kind": self._kind, **told})  # in ASCII: bytes that were no text come through
        plain = "".join(each for each in external_id if each.isprintable())[:200]
        return hub.RawRecord(self._topic, plain or self._name, body.encode(), version, headers)


_TIMES = {ACKNOWLEDGEMENTS: "at", STOCK: "counted_at"}
_Group = tuple[str, Sequence[hub.Row], str]  # what it is about, its rows, what is wrong with them


def _by(name: str) -> Callable[[hub.RowReader, Mapping[str, str]], Iterator[_Group]]:
    """Each row by itself, called by one of its columns."""

    def rows(file: hub.RowReader, columns: Mapping[str, str]) -> Iterator[_Group]:
        for row in file:
            yield row.texts.get(columns[name], "").strip() or f"line {row.line}", [row], ""

    return rows


def _shipments(file: hub.RowReader, columns: Mapping[str, str]) -> Iterator[_Group]:
    """All rows of a shipment together, wherever they stand: a shipment is told whole."""
    found: dict[str, list[hub.Row]] = {}
    for row in file:
        shipment, tracking, reference = (
            row.texts.get(columns.get(name, ""), "").strip() for name in ("shipment", "tracking", "reference")
        )
        if row.wrong:
            yield f"line {row.line}", [row], ""
        elif shipment or tracking:
            found.setdefault(shipment or f"{reference}/{tracking}", []).append(row)
        else:
            yield f"line {row.line}", [row], "It names neither a shipment nor a tracking number."
    for name, rows in found.items():
        yield name, rows, ""


def _counts(file: hub.RowReader, columns: Mapping[str, str]) -> Iterator[_Group]:
    """Rows of one SKU that follow each other are its lots; one that comes again further down has two counts."""
    seen: set[int] = set()
    name, rows = "", list[hub.Row]()
    for row in file:
        sku, place = (row.texts.get(columns.get(column, ""), "").strip() for column in ("sku", "place"))
        called = f"{sku} at {place}" if place else sku
        if rows and (row.wrong or not sku):
            yield name, rows, ""
            name, rows = "", []
        if row.wrong or not sku:
            yield f"line {row.line}", [row], row.wrong or "It names no SKU."
            continue
        if rows and called == name and "lot" in columns:
            rows.append(row)
            continue
        if rows:
            yield name, rows, ""
            name, rows = "", []
        if hash(called) in seen:
            yield called, [row], "Its SKU stands further up, too. Which of the two counts is right?"
            continue
        seen.add(hash(called))
        name, rows = called, [row]
    if rows:
        yield name, rows, ""


_GROUPED: Mapping[str, Callable[[hub.RowReader, Mapping[str, str]], Iterator[_Group]]] = {
    ACKNOWLEDGEMENTS: _by("reference"),
    SHIPMENTS: _shipments,
    STOCK: _counts,
    ADJUSTMENTS: _by("id"),
}


class _Remote(io.RawIOBase):
    """A file at the server, read a megabyte at a time as it is needed."""

    def __init__(self, files: hub.Files, path: str) -> None:
        self._files = files
        self._path = path
        self._start = 0
        self._chunk = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunk and not self._ended:
            self._chunk = self._files.read(self._path, start=self._start, most=_CHUNK)
            self._start += len(self._chunk)
            self._ended = len(self._chunk) < _CHUNK
        taken = self._chunk[: len(buffer)]
        self._chunk = self._chunk[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
