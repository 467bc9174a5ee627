"""Locations: what they are called, where they lie, what they offer, and how much they can do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Connection, Row, func, insert, select, update

from hub import access
from hub.access import Permission
from hub.core.countries import COUNTRIES
from hub.core.geo import Point
from hub.core.model import Address
from hub.core.plain import from_plain, to_plain
from hub.errors import BadInput, Conflict
from hub.store import activity, geography, providers
from hub.store import tables as t
from hub.store.database import Database, for_update, new_id

KINDS = ("warehouse", "shop", "3pl")
MOST_A_DAY = 1_000_000
_MOST_SERVICES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A location as a person describes it. ``point`` is what they typed; None: it is found by the address."""

    name: str
    kind: str = "warehouse"
    address: Address = field(default_factory=Address)
    point: Point | None = None
    time_zone: str = ""
    cut_off: str = ""
    capacity: int | None = None
    services: tuple[str, ...] = ()
    priority: int = 0
    ships: bool = True
    collects: bool = False


@dataclass(frozen=True, slots=True)
class LocationView:
    """A location as the pages show it. ``placed`` says where its coordinates come from, ``load`` counts the
    fulfillment orders that it has to do."""

    id: UUID
    location: Location
    point: Point | None
    placed_by: str
    placed: str
    load: int
    created_at: datetime


def locations(connection: Connection, merchant_id: UUID) -> list[LocationView]:
    """Every location, in the order of names."""
    place = t.location.c
    loads = loads_of(connection, merchant_id)
    rows = connection.execute(select(t.location).where(place.merchant_id == merchant_id).order_by(place.name))
    return [_view(row, loads.get(row.id, 0)) for row in rows]


def location(connection: Connection, merchant_id: UUID, location_id: UUID) -> LocationView | None:
    """One location; None: there is none of this id."""
    place = t.location.c
    row = connection.execute(
        select(t.location).where(place.merchant_id == merchant_id, place.id == location_id)
    ).one_or_none()
    return None if row is None else _view(row, loads_of(connection, merchant_id).get(location_id, 0))


def loads_of(connection: Connection, merchant_id: UUID) -> dict[UUID, int]:
    """How many fulfillment orders each location has to do: those that are not on their way yet."""
    work = t.fulfillment_order.c
    return dict(
        connection.execute(
            select(work.location_id, func.count())
            .where(work.merchant_id == merchant_id, work.closed_at.is_(None))
            .group_by(work.location_id)
        ).all()
    )


def _view(row: Row[Any], load: int) -> LocationView:
    address = from_plain(Address, row.address)
    point = Point(row.latitude, row.longitude) if row.latitude is not None else None
    return LocationView(
        row.id,
        Location(
            name=row.name,
            kind=row.kind,
            address=address,
            point=point if row.placed_by == "typed" else None,
            time_zone=row.time_zone,
            cut_off=row.cut_off,
            capacity=row.capacity,
            services=tuple(row.services),
            priority=row.priority,
            ships=row.ships,
            collects=row.collects,
        ),
        point,
        row.placed_by,
        _placed(row.placed_by, address),
        load,
        row.created_at,
    )


def _placed(by: str, address: Address) -> str:
    if by == "typed":
        return "as typed in"
    if by == "postcode":
        return f"from the postal code {address.postcode}"
    if by == "country":
        return f"middle of {COUNTRIES[address.country].name}, only roughly"
    return "not known: enter a country"


# ---------------------------------------------------------------- saving


@access.needs(Permission.SETTINGS)
def save(database: Database, merchant_id: UUID, location_id: UUID | None, wanted: Location, actor: str) -> UUID:
    """Keep a location as it is described, a new one without ``location_id``; returns its id.

    Raises BadInput with messages by field, also for another kind of a place that a 3PL ships from; Conflict for a name
    that is taken or a location that does not exist.
    """
    wanted = _checked(wanted)

    def work(connection: Connection) -> UUID:
        at = database.now(connection)
        place = t.location.c
        others = select(place.id).where(place.merchant_id == merchant_id, place.name == wanted.name)
        if any(other != location_id for other in connection.execute(others).scalars()):
            raise Conflict(f"There is a location called “{wanted.name}” already. Give this one another name.")
        values = _values(connection, wanted)
        if location_id is None:
            new = new_id()
            connection.execute(insert(t.location).values(merchant_id=merchant_id, id=new, created_at=at, **values))
            summary = f"Location {wanted.name} added"
            activity.note(connection, merchant_id, "location_added", summary, at=at, actor=actor)
            return new
        this = (place.merchant_id == merchant_id, place.id == location_id)
        row = connection.execute(for_update(connection, select(t.location).where(*this))).one_or_none()
        if row is None:
            raise Conflict("This location does not exist. Go back to the list.")
        if row.kind != wanted.kind and (provider := _provider_of(connection, merchant_id, location_id)):
            sentence = f"{provider} ships from here: it stays a 3PL's place as long as that is connected."
            raise BadInput(f"{sentence} Remove that connection first.", {"kind": [sentence]})
        if changed := [name for name, value in values.items() if getattr(row, name) != value]:
            connection.execute(update(t.location).where(*this).values(**values))
            named = ", ".join(dict.fromkeys(_IN_WORDS.get(name, name.replace("_", " ")) for name in changed))
            summary = f"Location {wanted.name} changed: {named}"
            activity.note(connection, merchant_id, "location_changed", summary, at=at, actor=actor)
        return location_id

    return database.transact(work)


def _provider_of(connection: Connection, merchant_id: UUID, location_id: UUID) -> str:
    """The name of the 3PL that ships from a location; "": none does."""
    account = providers.of_location(connection, merchant_id, location_id)
    if account is None:
        return ""
    this = t.connection.c
    return connection.execute(  # type: ignore[no-any-return]
        select(this.label).where(this.merchant_id == merchant_id, this.id == account.connection_id)
    ).scalar_one()


_IN_WORDS: Mapping[str, str] = {
    "latitude": "coordinates",
    "longitude": "coordinates",
    "placed_by": "coordinates",
    "cut_off": "cut-off",
    "ships": "whether it ships",
    "collects": "whether customers collect there",
}


def _values(connection: Connection, wanted: Location) -> dict[str, Any]:
    point, by = wanted.point, "typed"
    if point is None:
        where = (wanted.address.country, wanted.address.postcode)
        found = geography.locate(connection, [where]).get(where) if where[0] else None
        point, by = (found.point, found.by) if found else (None, "")
    return {
        "name": wanted.name,
        "kind": wanted.kind,
        "address": to_plain(wanted.address),
        "latitude": point.latitude if point else None,
        "longitude": point.longitude if point else None,
        "placed_by": by,
        "time_zone": wanted.time_zone,
        "cut_off": wanted.cut_off,
        "capacity": wanted.capacity,
        "services": list(wanted.services),
        "priority": wanted.priority,
        "ships": wanted.ships,
        "collects": wanted.collects,
    }


def _checked(wanted: Location) -> Location:
    """The location with its texts in order. Raises BadInput with everything that is wrong with it."""
    wrong = {name: [said] for name, said in _wrong(wanted)}
    if wrong:
        raise BadInput("Some fields need another look.", wrong)
    address = from_plain(Address, {name: text.strip()[:300] for name, text in to_plain(wanted.address).items()})
    return Location(
        name=wanted.name.strip(),
        kind=wanted.kind,
        address=from_plain(Address, to_plain(address) | {"country": address.country.upper()}),
        point=wanted.point,
        time_zone=wanted.time_zone,
        cut_off=wanted.cut_off,
        capacity=wanted.capacity,
        services=tuple(sorted({each.strip().lower() for each in wanted.services if each.strip()})),
        priority=wanted.priority,
        ships=wanted.ships,
        collects=wanted.collects,
    )


def _wrong(wanted: Location) -> Sequence[tuple[str, str]]:
    name = wanted.name.strip()
    checks = [
        ("name", 0 < len(name) <= 200 and name.isprintable(), "Enter a name of 1 to 200 characters."),
        ("kind", wanted.kind in KINDS, "Choose one of the list."),
        (
            "country",
            not wanted.address.country.strip() or wanted.address.country.strip().upper() in COUNTRIES,
            "Enter the country as two letters, such as DE.",
        ),
        ("time_zone", not wanted.time_zone or wanted.time_zone in available_timezones(), "Choose one of the list."),
        (
            "cut_off",
            not wanted.cut_off or re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", wanted.cut_off) is not None,
            "Enter a time of day, such as 16:00.",
        ),
        (
            "capacity",
            wanted.capacity is None or 0 <= wanted.capacity <= MOST_A_DAY,
            f"Enter a whole number up to {MOST_A_DAY:,}, or leave it empty.",
        ),
        (
            "services",
            len(wanted.services) <= _MOST_SERVICES and all(len(each.strip()) <= 60 for each in wanted.services),
            f"Enter at most {_MOST_SERVICES} words of at most 60 letters, with commas between them.",
        ),
        ("priority", 0 <= wanted.priority <= 1000, "Enter a whole number from 0 to 1,000."),
    ]
    return [(field_name, said) for field_name, fine, said in checks if not fine]
