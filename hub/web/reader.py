"""How numbers, money and times are written for whoever reads: in their merchant's locale and time zone."""

from __future__ import annotations

import datetime as calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, dates, numbers
from babel.numbers import NumberPattern
from flask import g, has_request_context, request

from hub.core.model import Money, minor_digits

TRANSLATIONS = Path(__file__).parents[1] / "translations"
_WRITTEN_IN = Locale("en")  # what every string is before it is translated


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody's way to read.

    ``locale`` is None where their merchant chose none: then the language is the browser's, as far as it is translated,
    and figures are written so that no country mistakes them for something else ("4 Nov 2026", "1,234.50 EUR").
    """

    locale: Locale | None = None
    zone: tzinfo = UTC
    language: Locale = _WRITTEN_IN

    def date(self, at: datetime) -> str:
        """The day in the reader's zone."""
        return self.day(at.astimezone(self.zone).date())

    def day(self, day: calendar.date) -> str:
        """A day of the calendar, whose zone is known already."""
        if self.locale is None:
            return dates.format_date(day, "d MMM y", locale=self.language)
        return dates.format_date(day, "medium", locale=self.locale)

    def time(self, at: datetime, *, seconds: bool = False) -> str:
        """The time of the day in the reader's zone."""
        local = at.astimezone(self.zone).time()
        if self.locale is None:
            return f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
        return dates.format_time(local, "medium" if seconds else "short", locale=self.locale)

    def moment(self, at: datetime, *, seconds: bool = False) -> str:
        """A time in the reader's zone. Where none was chosen the text itself says that it is UTC."""
        day, time = self.date(at), self.time(at, seconds=seconds)
        joined = f"{day}, {time}" if self.locale is None else _joined(self.locale).format(time, day)
        return f"{joined} UTC" if self.zone is UTC else joined

    def zone_name(self, at: datetime) -> str:
        """The zone as it is told once on a page: "Europe/Berlin (UTC+1)", "UTC"."""
        if self.zone is UTC:
            return "UTC"
        offset = at.astimezone(self.zone).utcoffset()
        minutes = int(offset.total_seconds() // 60) if offset is not None else 0
        hours, rest = divmod(abs(minutes), 60)
        ahead = f"UTC{'−' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"
        return f"{self.zone} ({ahead})"

    def number(self, value: int | Decimal) -> str:
        """A number with thousands marked."""
        return _minus(numbers.format_decimal(value, locale=self.locale or self.language))

    def signed(self, value: int) -> str:
        """A change: "+3", "−2"."""
        return f"{'+' if value >= 0 else ''}{self.number(value)}"

    def amount(self, value: Money) -> str:
        """An amount without its currency, where a column or a heading names it."""
        pattern = _amounts(self.locale or self.language, minor_digits(value.currency))
        return _minus(pattern.apply(_rounded(value), self.locale or self.language))

    def money(self, value: Money) -> str:
        """An amount as its currency is written in the reader's locale; "1,234.50 EUR" where none was chosen."""
        if self.locale is None:
            return f"{self.amount(value)} {value.currency}"
        pattern = _sums(self.locale, minor_digits(value.currency))
        text = pattern.apply(_rounded(value), self.locale, currency=value.currency, currency_digits=False)
        sign = numbers.get_currency_symbol(value.currency, self.locale)
        if sign[-1].isalpha():  # letters do not touch a figure
            text = re.sub(rf"{re.escape(sign)}(?=\d)", f"{sign}\u00a0", text)
        return _minus(text)

    def utc(self, local: datetime) -> datetime:
        """A time as it was typed, in UTC: without a zone of its own it is meant in the reader's."""
        return (local if local.tzinfo else local.replace(tzinfo=self.zone)).astimezone(UTC)


def reader() -> Reader:
    """Whoever asks for this page; somebody who chose nothing, outside one."""
    if not has_request_context():
        return Reader()
    if "reader" not in g:
        visitor = g.get("visitor")
        g.reader = _reader(visitor.locale if visitor else "", visitor.time_zone if visitor else "")
    found: Reader = g.reader
    return found


@cache
def languages() -> tuple[Locale, ...]:
    """The languages there are words in: the one everything is written in, and every compiled catalog."""
    found = sorted(path.parent.parent.name for path in TRANSLATIONS.glob("*/LC_MESSAGES/messages.mo"))
    return (_WRITTEN_IN, *(Locale.parse(name) for name in found if name != "en"))


def _reader(locale: str, time_zone: str) -> Reader:
    chosen = read_locale(locale)
    known = {str(each): each for each in languages()}
    if chosen is None:
        # A browser writes "pt-BR" for "pt_BR".
        best = request.accept_languages.best_match([name.replace("_", "-") for name in known], "en")
        language = known[best.replace("-", "_")]
    else:
        language = known.get(str(chosen)) or known.get(chosen.language) or _WRITTEN_IN
    return Reader(chosen, _zone(time_zone), language)


@cache
def read_locale(name: str) -> Locale | None:
    """The locale of that name ("en_GB"), None where there is none of it."""
    try:
        return Locale.parse(name) if name else None
    except (UnknownLocaleError, ValueError):
        return None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name and name != "UTC" else UTC
    except (KeyError, ValueError, OSError):  # a name that this system's zones do not know
        return UTC


def _rounded(value: Money) -> Decimal:
    return Decimal(value.minor).scaleb(-minor_digits(value.currency))


@cache
def _joined(locale: Locale) -> str:
    return str(locale.datetime_formats["medium"])


@cache
def _amounts(locale: Locale, digits: int) -> NumberPattern:
    return _with_digits(locale.decimal_formats[None], digits)


@cache
def _sums(locale: Locale, digits: int) -> NumberPattern:
    return _with_digits(locale.currency_formats["standard"], digits)


def _with_digits(of_locale: NumberPattern, digits: int) -> NumberPattern:
    # How many digits a currency has is for Money to say: what was rounded by one table is not cut by another.
    pattern = numbers.parse_pattern(of_locale.pattern)
    pattern.frac_prec = (digits, digits)
    return pattern


def _minus(text: str) -> str:
    """A hyphen before a figure breaks off at the end of a line."""
    return text.replace("-", "−")
