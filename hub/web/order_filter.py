"""What the list of orders is narrowed down to: as its address says it, as the database is asked, and for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from flask import url_for
from flask_babel import gettext as _

from hub.core.model import OrderStatus
from hub.store.queries import orders
from hub.store.queries.orders import OrderFilter
from hub.web import lists
from hub.web.looks import state_of
from hub.web.reader import reader

STATUSES = tuple(status.value for status in OrderStatus)
_WAITING = "waiting"
_MARKS = (_WAITING, *orders.MARKS)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What of the orders is wanted, as the address of the list says it; every part may be empty."""

    q: str = ""
    status: str = ""
    mark: str = ""
    connection: str = ""
    tag: str = ""
    country: str = ""
    paid: str = ""  # yes, no
    placed_from: str = ""  # days of the reader's calendar, both included
    placed_to: str = ""

    def address(self, view: str = "") -> str:
        """The list of orders, narrowed down to this, under this view."""
        # Without anything it would be the address of the view itself, or of what somebody's list begins with.
        said: dict[str, Any] = self.parts() or {"all": "1"}
        return url_for("orders.index", **(said | ({"view": view} if view else {})))

    def query(self) -> str:
        """The part of the address that says just this, always in the same words."""
        return urlencode(self.parts())

    def parts(self) -> dict[str, str]:
        """What is not empty, by the names that the address knows."""
        return {each.name: text for each in fields(self) if (text := getattr(self, each.name))}

    def wanted(self) -> OrderFilter:
        """The same for the database."""
        first, last = _day(self.placed_from), _day(self.placed_to)
        return OrderFilter(
            status=self.status,
            connection_id=UUID(self.connection) if self.connection else None,
            text=self.q,
            waiting=self.mark == _WAITING,
            marked="" if self.mark == _WAITING else self.mark,
            tag=self.tag,
            placed_from=_midnight(first) if first else None,
            placed_to=_midnight(last + timedelta(days=1)) if last else None,
            country=self.country,
            paid=None if not self.paid else self.paid == "yes",
        )


def of_address(said: Mapping[str, str]) -> Narrowed:
    """What an address says is wanted; what it says wrongly counts as not said. Raises BadInput for a shop that is no
    id."""

    def one_of(name: str, allowed: Sequence[str]) -> str:
        return text if (text := said.get(name, "")) in allowed else ""

    def line(name: str, longest: int) -> str:
        return " ".join("".join(each for each in said.get(name, "") if each.isprintable()).split())[:longest]

    shop = said.get("connection", "")
    if shop:
        try:
            shop = str(UUID(shop))
        except ValueError:
            raise lists.stale() from None
    country = line("country", 10).upper()
    first, last = _day(said.get("placed_from", "")), _day(said.get("placed_to", ""))
    return Narrowed(
        q=line("q", 200),
        status=one_of("status", STATUSES),
        # In older addresses marks stand among the statuses.
        mark=one_of("mark", _MARKS) or one_of("status", _MARKS),
        connection=shop,
        tag=line("tag", 40),
        country=country if len(country) == 2 and country.isascii() and country.isalpha() else "",
        paid=one_of("paid", ("yes", "no")),
        placed_from=first.isoformat() if first else "",
        placed_to=last.isoformat() if last else "",
    )


def of_query(query: str) -> Narrowed:
    """The same of the part of an address that a form or a view carries."""
    return of_address(dict(parse_qsl(query[:4000])))


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1970 <= found.year < 9000 else None


def _midnight(day: date) -> datetime:
    return reader().utc(datetime.combine(day, time()))


def mark_names() -> dict[str, str]:
    return {
        "on_hold": _("On hold"),
        _WAITING: _("On backorder"),
        "risky": _("Risk"),
        "returns": _("Returns"),
        "by_channel": _("Shipped by the channel"),
        "test": _("Test"),
        "late": _("Should have left"),
        "due": _("To leave within four hours"),
        "overdue": _("Promised for earlier"),
        "unanswered": _("3PL says nothing"),
    }


@dataclass(frozen=True, slots=True)
class Chip:
    """One part of the filter as a person reads it, and the list without it."""

    name: str  # of Narrowed
    label: str
    without: str


def chips(chosen: Narrowed, shops: Mapping[UUID, str], view: str) -> list[Chip]:
    """What the list is narrowed down to, part by part."""
    told = {
        "q": _("“%(text)s”", text=chosen.q),
        "status": state_of("order", chosen.status).label,
        "mark": mark_names().get(chosen.mark, ""),
        "connection": shops.get(UUID(chosen.connection), _("a removed shop")) if chosen.connection else "",
        "tag": _("Tag: %(tag)s", tag=chosen.tag),
        "country": _("To: %(country)s", country=chosen.country),
        "paid": _("Paid") if chosen.paid == "yes" else _("Not paid"),
        "placed_from": _("From %(day)s", day=_read_day(chosen.placed_from)),
        "placed_to": _("To %(day)s", day=_read_day(chosen.placed_to)),
    }
    return [Chip(name, told[name], replace(chosen, **{name: ""}).address(view)) for name in chosen.parts()]


def _read_day(text: str) -> str:
    day = _day(text)
    return reader().day(day) if day else ""
