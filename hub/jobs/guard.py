"""Connectors as the hub calls them: whatever one gives back fits, and whatever it throws can be caught and told.

A connector is somebody else's code. What it returns is checked down to the last field before it is believed: exactly
the classes of the API with exactly the types they name, because a subclass may lie about what it equals or how it
reads. This guards against mistakes, not against malice: a plugin runs with the hub's rights.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from itertools import count
from typing import Any, TypeVar, cast

from hub.connector import (
    CarrierFact,
    Connector,
    Context,
    Delivery,
    EffectResult,
    Fact,
    Kind,
    Page,
    ProviderFact,
    PushOutcome,
    PushState,
    RawRecord,
    Refetch,
    StockPush,
    Subscriptions,
    Token,
    Unread,
)
from hub.core.model import Account, Listing, Order
from hub.core.shipping import (
    AddressVerdict,
    Cancellation,
    Document,
    Progress,
    ProviderShipment,
    Quotes,
    Shipment,
    StockAdjustment,
    StockCount,
    Tracking,
)
from hub.errors import HubError, RateLimited, Unavailable, Unreadable
from hub.http import Exchange
from hub.plugins import in_words

Guarded = TypeVar("Guarded", bound=Connector)

MOST_FACTS = 10_000  # in one record, and records in one page
LARGEST_BODY = 32 * 1024 * 1024  # of a fetched record: what the HTTP client takes
LONGEST_TEXT = 1_000_000
_LONGEST_MESSAGE = 2_000
_LONGEST_REFERENCE = 500
_LARGEST_NUMBER = 2**53
_END: Any = object()


class Broke(Exception):
    """A connector threw something that nobody could catch or show; the message tells it as far as that is possible."""


def guarded(connector: type[Guarded], context: Context) -> Guarded:
    """A connector with every answer checked: TypeError or Unreadable instead of one that does not fit.

    Everything it throws arrives as an Exception with a short message, or as SystemExit.
    """
    with _at_work():
        made = connector(context)
    return cast(Guarded, _Guard(made))


class _Guard:
    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    @property  # type: ignore[misc]  # for isinstance(): to whoever asks, this is the connector
    def __class__(self) -> type:
        return type(self._connector)

    def __getattr__(self, name: str) -> Any:
        if check := _BY_KIND.get(self._connector.kind, _CHECKS).get(name):
            return partial(check, self._connector, name)
        with _at_work():
            found = getattr(self._connector, name)
        if isinstance(found, types.MethodType):
            return partial(_call, found)
        return found


# ---------------------------------------------------------------- what it is given without being handed over

_behind: dict[int, Any] = {}
_keys = count()


class _Window:
    """Lets a connector use something of the hub without holding it: nothing leads from here to what is behind, but
    this module."""

    __slots__ = ("__weakref__", "_key")

    def __init__(self, target: Any) -> None:
        self._key = next(_keys)
        _behind[self._key] = target
        weakref.finalize(self, _behind.pop, self._key, None)


class Tokens(_Window):
    """A TokenVault, whose database and keys stay behind it."""

    __slots__ = ()

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        token: str = _behind[self._key].token(name, obtain, refused=refused)
        return token

    def kept(self, name: str) -> Token | None:
        token: Token | None = _behind[self._key].kept(name)
        return token


class Budget(_Window):
    """A Limiter, whose connection to Redis stays behind it."""

    __slots__ = ()

    def acquire(self, cost: float) -> None:
        _behind[self._key].acquire(cost)

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        _behind[self._key].learn(available, restore_rate, maximum)

    def learn_rate(self, restore_rate: float) -> None:
        _behind[self._key].learn_rate(restore_rate)

    def emptied(self) -> float:
        wait: float = _behind[self._key].emptied()
        return wait


class Listener(_Window):
    """Hears of each exchange; the worker that listens stays behind it."""

    __slots__ = ()

    def __call__(self, exchange: Exchange) -> None:
        _behind[self._key](exchange)


# ---------------------------------------------------------------- what it throws


@contextmanager
def _at_work() -> Iterator[None]:
    """Around every step into a connector's code."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        if isinstance(error, RateLimited) and not _seconds(error.retry_after):
            error.retry_after = None
        if isinstance(error, RateLimited) and type(getattr(error, "operation", None)) is not str:
            error.operation = ""
        if _can_be_shown(error):
            raise
        raise _shown(error) from None
    except BaseException as error:
        raise Broke(in_words(error)) from None


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _can_be_shown(error: BaseException) -> bool:
    try:
        text = str(error)
        return type(text) is str and len(text) <= _LONGEST_MESSAGE
    except BaseException:
        return False


def _shown(error: Exception) -> Exception:
    """The same kind of error with a message that does no harm."""
    text = in_words(error).partition(": ")[2] or "It does not say why."
    if isinstance(error, RateLimited):
        return RateLimited(text, error.retry_after, error.operation)
    if isinstance(error, Unavailable):
        return Unavailable(text, sent=bool(error.sent))
    if isinstance(error, HubError) and type(error).__module__ == HubError.__module__:
        return type(error)(text)
    return Broke(in_words(error))


def _call(method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with _at_work():
        return method(*arguments, **named)


# ---------------------------------------------------------------- what each answer must be


def _one(kind: Any, connector: Connector, name: str, *arguments: Any) -> Any:
    answer = _call(getattr(connector, name), *arguments)
    _expect(answer, kind, name)
    return answer


def _record(connector: Connector, name: str, *arguments: Any) -> RawRecord:
    record: RawRecord = _one(RawRecord, connector, name, *arguments)
    _expect_size(record, name)
    return record


def _pages(connector: Connector, name: str, *arguments: Any) -> Iterator[Page]:
    with _at_work():
        pages = iter(getattr(connector, name)(*arguments))
    try:
        while True:
            with _at_work():
                page = next(pages, _END)
            if page is _END:
                return
            _expect(page, Page, name)
            if len(page.records) > MOST_FACTS:
                raise TypeError(f"{name} gave a page of {len(page.records):,} records, not {MOST_FACTS:,}.")
            for record in page.records:
                _expect_size(record, name)
            yield page
    finally:
        with suppress(Exception), _at_work():
            getattr(pages, "close", lambda: None)()


def _expect_size(record: RawRecord, what: str) -> None:
    if len(record.body) > LARGEST_BODY:
        raise TypeError(f"{what} gave a record of {len(record.body):,} bytes: {LARGEST_BODY:,} at most.")


def _reading(kind: type, connector: Connector, name: str, record: RawRecord) -> Any:
    return _fact(_call(getattr(connector, name), record), (kind,), name)


def _records(connector: Connector, name: str, *arguments: Any) -> list[RawRecord]:
    found: list[RawRecord] = []
    with _at_work():
        for record in getattr(connector, name)(*arguments):
            found.append(record)
            if len(found) > MOST_FACTS:
                raise TypeError(f"{name} gave more than {MOST_FACTS:,} records.")
    for record in found:
        _expect(record, RawRecord, name)
        _expect_size(record, name)
    return found


def _files(connector: Connector, name: str, *arguments: Any) -> list[Document]:
    with _at_work():
        found = list(getattr(connector, name)(*arguments))
    for document in found:
        _expect(document, Document, name)
        if len(document.content) > LARGEST_BODY:
            raise TypeError(f"{name} gave a file of {len(document.content):,} bytes: {LARGEST_BODY:,} at most.")
        if not document.well_formed:
            raise TypeError(f"{name} gave a file that is no {document.format}.")
    return found


def _rates(connector: Connector, name: str, shipment: Shipment) -> Quotes:
    quotes: Quotes = _one(Quotes, connector, name, shipment)
    if any(rate.cost.amount < 0 or not rate.external_id for rate in quotes.rates):
        raise TypeError(f"{name} gave a rate without an id, or with a price below zero.")
    return quotes


def _facts(kinds: tuple[type, ...], connector: Connector, name: str, record: RawRecord) -> list[Any]:
    found: list[Any] = []
    with _at_work():
        for fact in getattr(connector, name)(record):
            found.append(fact)
            if len(found) > MOST_FACTS:
                raise Unreadable(f"The connector read more than {MOST_FACTS:,} things in one record.")
    for fact in found:
        _fact(fact, kinds, name)
    return found


def _webhook(kinds: tuple[type, ...], connector: Connector, name: str, record: RawRecord) -> list[Any]:
    """What nobody has signed is a hint that anybody can give: all it may lead to is that the vendor is asked."""
    found = _facts(kinds, connector, name, record)
    if not connector.capabilities.webhooks_signed and any(type(fact) is not Refetch for fact in found):
        raise Unreadable("The connector believes a webhook that nobody has signed: it may only answer Refetch.")
    return found


def _numbers(connector: Connector, name: str, numbers: Sequence[str], address: str) -> tuple[str, ...]:
    """Those of ``numbers`` that a carrier does not follow."""
    answer = _call(getattr(connector, name), numbers, address)
    _expect(answer, tuple[str, ...], name)
    return tuple(answer)


def _fact(fact: Any, kinds: tuple[type, ...], what: str) -> Any:
    if type(fact) not in kinds:
        raise Unreadable(f"The connector read something that is not a fact of the hub: {type(fact).__name__[:100]}.")
    try:
        _expect(fact, type(fact), what)
    except TypeError as error:
        raise Unreadable(f"The connector's answer does not fit: {error}") from None
    return fact


def _each(kind: Any, connector: Connector, name: str, asked: Sequence[Any]) -> list[Any]:
    """One answer for each thing asked, in order."""
    return _answers(kind, name, len(asked), lambda: getattr(connector, name)(asked))


def _answers(kind: Any, name: str, wanted: int, give: Callable[[], Iterable[Any]]) -> list[Any]:
    answers: list[Any] = []
    with _at_work():
        for answer in give():
            answers.append(answer)
            if len(answers) > wanted:
                break
    if len(answers) != wanted:
        many = f"more than {wanted}" if len(answers) > wanted else len(answers)
        raise TypeError(f"The connector gave {many} outcomes for {wanted} figures.")
    for answer in answers:
        _expect(answer, kind, name)
    return answers


def _pushed(connector: Connector, name: str, pushes: Sequence[StockPush]) -> list[PushOutcome]:
    """What is pending is asked for by its reference: without one nobody would ever learn what became of it."""
    answers = _each(PushOutcome, connector, name, pushes)
    _expect_questions(answers, name)
    for answer in answers:
        if answer.state is PushState.PENDING and not answer.reference:
            raise TypeError(f"{name} gave a pending outcome without a reference to ask for it by.")
    return answers


def _settled(connector: Connector, name: str, reference: str, pushes: Sequence[StockPush]) -> list[PushOutcome]:
    """What is still pending keeps its reference, unless it has a new one."""
    answers = _answers(PushOutcome, name, len(pushes), lambda: getattr(connector, name)(reference, pushes))
    _expect_questions(answers, name)
    return answers


def _expect_questions(answers: Sequence[PushOutcome], name: str) -> None:
    for answer in answers:
        if not _seconds(answer.after_seconds):
            raise TypeError(f"{name} gave an outcome that is to be asked for after {answer.after_seconds} seconds.")
        if len(answer.reference) > _LONGEST_REFERENCE:
            raise TypeError(f"{name} gave a reference of {len(answer.reference):,} characters: 500 at most.")


_CHECKS: Mapping[str, Callable[..., Any]] = {
    "check": partial(_one, Account),
    "read_subscriptions": partial(_one, Subscriptions),
    "read_message": partial(_one, Delivery | None),
    "sample_file": partial(_one, bytes),
    "fetch_orders": _pages,
    "fetch_listings": _pages,
    "fetch_order": _record,
    "fetch_listing": _record,
    "read_order": partial(_reading, Order),
    "read_listing": partial(_facts, (Listing,)),
    "read_webhook": partial(_webhook, typing.get_args(Fact)),
    "read_stock": partial(_each, int | Unread | None),
    "push_stock": _pushed,
    "settle_stock": _settled,
    "perform": partial(_one, EffectResult),
    "find": partial(_one, EffectResult | None),
}
_ANY: Mapping[str, Callable[..., Any]] = {
    name: _CHECKS[name] for name in ("check", "read_subscriptions", "read_message", "perform", "find")
}
_BY_KIND: Mapping[Kind, Mapping[str, Callable[..., Any]]] = {
    Kind.CHANNEL: _CHECKS,
    Kind.CARRIER: {
        **_ANY,
        "rates": _rates,
        "validate_address": partial(_one, AddressVerdict),
        "fetch_documents": _files,
        "track": _records,
        "read_tracking": partial(_reading, Tracking),
        "follow_parcels": _numbers,
        "read_webhook": partial(_webhook, typing.get_args(CarrierFact)),
    },
    Kind.PROVIDER: {
        **_ANY,
        "fetch_shipments": _pages,
        "fetch_stock": _pages,
        "fetch_order": _record,
        "read_shipments": partial(_facts, (Progress, ProviderShipment, Cancellation, Tracking)),
        "read_stock": partial(_facts, (StockCount, StockAdjustment)),
        "read_webhook": partial(_webhook, typing.get_args(ProviderFact)),
    },
}

# ---------------------------------------------------------------- whether a value is of a type, to the last field

_Check = Callable[[Any], tuple[str, str] | None]  # where something else stands, and what; None: it fits


def _expect(value: Any, kind: Any, what: str) -> None:
    """Raise TypeError unless ``value`` is exactly of this type, with everything in it."""
    wrong = _check_of(kind)(value)
    if wrong is not None:
        where, found = wrong
        raise TypeError(
            f"{what} gave {type(value).__name__[:100]}{where} as {found}." if where else f"{what} gave {found}."
        )


@cache
def _check_of(kind: Any) -> _Check:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _any_of([_check_of(each) for each in inner])
    if origin is tuple:
        return _all_of(_check_of(inner[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_check_of(inner[0]), _check_of(inner[1]))
    if dataclasses.is_dataclass(kind):
        return _fields(cast(type, kind))
    if kind is str:
        return _text
    if kind is int:
        return _number
    if kind is float:  # a whole number of seconds is one, too
        return lambda value: None if type(value) in (int, float) else _odd(value, float)
    if kind in (datetime, date):
        return lambda value: None if isinstance(value, kind) else _odd(value, kind)
    if isinstance(kind, type) and issubclass(kind, Enum | bool | bytes | Decimal | types.NoneType):
        return lambda value: None if type(value) is kind else _odd(value, kind)
    return lambda value: None


def _odd(value: Any, wanted: type) -> tuple[str, str]:
    return "", f"{type(value).__name__[:100]}, not {'None' if wanted is types.NoneType else wanted.__name__}"


def _text(value: Any) -> tuple[str, str] | None:
    if type(value) is not str and not (isinstance(value, str) and isinstance(value, Enum)):
        return _odd(value, str)
    if len(value) > LONGEST_TEXT:
        return "", f"a text of {len(value):,} characters, of which {LONGEST_TEXT:,} are the most"
    return None


def _number(value: Any) -> tuple[str, str] | None:
    if type(value) is not int:
        return _odd(value, int)
    return None if -_LARGEST_NUMBER < value < _LARGEST_NUMBER else ("", "a number beyond all reason")


def _any_of(checks: Sequence[_Check]) -> _Check:
    def check(value: Any) -> tuple[str, str] | None:
        wrong: tuple[str, str] | None = None
        for each in checks:
            found = each(value)
            if found is None:
                return None
            if wrong is None or found[0]:  # the one that found something inside says the most
                wrong = found
        return wrong

    return check


def _all_of(one: _Check) -> _Check:
    def check(value: Any) -> tuple[str, str] | None:
        if type(value) is not tuple and type(value) is not list:
            return _odd(value, tuple)
        for place, each in enumerate(value):
            if wrong := one(each):
                return f"[{place}]{wrong[0]}", wrong[1]
        return None

    return check


def _mapping(key: _Check, inner: _Check) -> _Check:
    def check(value: Any) -> tuple[str, str] | None:
        if type(value) is not dict and type(value) is not types.MappingProxyType:
            return _odd(value, dict)
        for name, each in value.items():
            if wrong := key(name):
                return "'s key", wrong[1]
            if wrong := inner(each):
                return f"[{name[:40]!r}]{wrong[0]}", wrong[1]
        return None

    return check


def _fields(kind: type) -> _Check:
    hints = typing.get_type_hints(kind)
    checks = [(each.name, _check_of(hints[each.name])) for each in dataclasses.fields(kind)]

    def check(value: Any) -> tuple[str, str] | None:
        if type(value) is not kind:
            return _odd(value, kind)
        for name, each in checks:
            if wrong := each(getattr(value, name)):
                return f".{name}{wrong[0]}", wrong[1]
        return None

    return check
