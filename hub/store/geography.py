"""Where postal addresses lie: by files of postal codes that were read in, by what is known of US ZIP codes, and else in
the middle of their country."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, delete, select, tuple_

from hub.core.countries import COUNTRIES
from hub.core.geo import Point
from hub.errors import BadInput
from hub.store import tables as t
from hub.store.database import Database, in_chunks, upsert

Code = tuple[str, str]  # (country, postal code), as somebody wrote them


@dataclass(frozen=True, slots=True)
class Found:
    """Where an address lies. ``by`` is postcode or country; ``said`` names what it was found by, for a person."""

    point: Point
    by: str
    said: str


def locate(connection: Connection, wanted: Collection[Code]) -> dict[Code, Found]:
    """The points of addresses by country and postal code; without those whose country is unknown, too.

    What US ZIP codes are looked up is kept in the table, in the caller's transaction.
    """
    tried = {each: _spellings(*each) for each in wanted}
    known = _kept(connection, {(country, code) for country, codes in tried.values() for code in codes})
    new = {
        (country, codes[-1])
        for country, codes in tried.values()
        if country == "US" and codes and not any((country, code) in known for code in codes)
    }
    if fresh := {each: point for each in sorted(new) if (point := _of_zip(each[1])) is not None}:
        _keep(connection, fresh)
        known |= fresh
    found: dict[Code, Found] = {}
    for each, (country, codes) in tried.items():
        code = next((code for code in codes if (country, code) in known), None)
        if code is not None:
            found[each] = Found(known[country, code], "postcode", f"from the postal code {code}")
        elif country in COUNTRIES:
            place = COUNTRIES[country]
            found[each] = Found(place.middle, "country", f"middle of {place.name}, only roughly")
    return found


# How much of a postal code says where it is about, where files have it so: the outward code of the United Kingdom, the
# first three letters of Canada and Ireland. What is left after so many letters is a street or a house.
_SHORTER: Mapping[str, Callable[[str], str]] = {
    "GB": lambda code: code[:-3] if len(code) > 4 else code,
    "GG": lambda code: code[:-3] if len(code) > 4 else code,
    "IM": lambda code: code[:-3] if len(code) > 4 else code,
    "JE": lambda code: code[:-3] if len(code) > 4 else code,
    "CA": lambda code: code[:3],
    "IE": lambda code: code[:3],
    "US": lambda code: code[:5],
    "PR": lambda code: code[:5],
    "NL": lambda code: code[:4],
    "PT": lambda code: code[:4],
    "BR": lambda code: code[:5],
    "MT": lambda code: code[:3],
}


def _spellings(country: str, postcode: str) -> tuple[str, list[str]]:
    """The country, and the codes to look for, the most exact one first."""
    country = country.strip().upper()
    code = plain_code(postcode)
    shorter = _SHORTER.get(country, str)(code)
    return country, list(dict.fromkeys(each for each in (code, shorter) if each))


def plain_code(postcode: str) -> str:
    """A postal code as it is compared: letters and digits alone ("LS1 4AP" is LS14AP)."""
    return re.sub(r"[^0-9A-Z]", "", postcode.upper())[:20]


def _kept(connection: Connection, codes: Collection[Code]) -> dict[Code, Point]:
    place = t.postal_place.c
    found: dict[Code, Point] = {}
    for some in in_chunks(sorted(codes), 300):
        for row in connection.execute(
            select(t.postal_place).where(tuple_(place.country, place.code).in_([tuple(each) for each in some]))
        ):
            found[row.country, row.code] = Point(row.latitude, row.longitude)
    return found


def _of_zip(code: str) -> Point | None:
    import zipcodes  # reads its data when it is first asked: nobody else waits for it

    if not re.fullmatch(r"\d{5}", code):
        return None
    for each in zipcodes.matching(code):  # type: ignore[no-untyped-call]
        if each["lat"] and each["long"]:
            return Point(float(each["lat"]), float(each["long"]))
    return None


def _keep(connection: Connection, points: Mapping[Code, Point]) -> None:
    statement = upsert(connection, t.postal_place)
    new = {name: statement.excluded[name] for name in ("latitude", "longitude")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["country", "code"], set_=new),
        [
            {"country": country, "code": code, "latitude": point.latitude, "longitude": point.longitude}
            for (country, code), point in points.items()
        ],
    )


# ---------------------------------------------------------------- files of GeoNames

_PER_COMMIT = 5000
_COLUMNS = 11  # country, code, name, three levels of region, latitude and longitude among them


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read of a file: codes by country, and lines that could not be read."""

    codes: Mapping[str, int]
    unreadable: int


def import_file(
    database: Database, file: Path, country: str = "", progress: Callable[[str, int], None] = lambda _text, _done: None
) -> Imported:
    """Read a postal code file of GeoNames (XX.zip, or the text in it) into the table, or one country of it.

    A country that is in the file replaces what was known of it. A code that is there several times, for several places,
    lies in their middle. Raises BadInput for a file that is none.
    """
    wanted = country.strip().upper()
    if wanted and wanted not in COUNTRIES:
        raise BadInput(f"“{country}” is no country code. Use two letters, such as GB.")
    sums: dict[Code, list[float]] = {}
    unreadable = 0
    with _opened(file) as lines:
        for number, parts in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)):
            if number % 20_000 == 0:
                progress("Reading the file", number)
            point = _read_line(parts)
            if point is None:
                unreadable += 1
                if unreadable > 100 and not sums:
                    break
            elif not wanted or parts[0] == wanted:
                total = sums.setdefault((parts[0], plain_code(parts[1])), [0, 0, 0])
                total[0] += point.latitude
                total[1] += point.longitude
                total[2] += 1
    if not sums:
        said = f" of {wanted}" if wanted else ""
        raise BadInput(
            f"{file.name} holds no postal codes{said}. Get the file from download.geonames.org/export/zip, such as "
            "GB.zip."
        )
    points = {each: Point(total[0] / total[2], total[1] / total[2]) for each, total in sums.items()}
    counts: dict[str, int] = {}
    for where, _ in points:
        counts[where] = counts.get(where, 0) + 1
    _replace(database, counts, points, progress)
    return Imported(counts, unreadable)


def _replace(
    database: Database, countries: Iterable[str], points: Mapping[Code, Point], progress: Callable[[str, int], None]
) -> None:
    with database.write() as connection:
        connection.execute(delete(t.postal_place).where(t.postal_place.c.country.in_(sorted(countries))))
    done = 0
    for some in in_chunks(points.items(), _PER_COMMIT):
        with database.write() as connection:
            _keep(connection, dict(some))
        done += len(some)
        progress("Storing codes", done)


def _read_line(parts: list[str]) -> Point | None:
    try:
        if len(parts) < _COLUMNS or not re.fullmatch("[A-Z]{2}", parts[0]) or not plain_code(parts[1]):
            return None
        return Point(float(parts[9]), float(parts[10]))
    except ValueError:
        return None


@contextmanager
def _opened(file: Path) -> Iterator[Iterable[str]]:
    try:
        if not zipfile.is_zipfile(file):
            with file.open(encoding="utf-8", errors="replace", newline="") as lines:
                yield lines
            return
        with zipfile.ZipFile(file) as archive:
            named = [each for each in archive.namelist() if each.endswith(".txt") and each != "readme.txt"]
            if len(named) != 1:
                raise BadInput(f"{file.name} holds {len(named)} files of postal codes, not one. Unpack it first.")
            inner: IO[bytes]
            with archive.open(named[0]) as inner:
                yield io.TextIOWrapper(inner, encoding="utf-8", errors="replace", newline="")
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{file.name} cannot be read: {error}.") from error
