"""Model values as plain JSON values and back: how typed requests and results are kept in rows.

A field that has its default is left out, so that a value keeps its text when its class grows a field with a default.
Names that a class does not know are passed over: a newer version may have written them.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, TypeVar

_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """``value`` as JSON values: a dataclass as an object, a Decimal, a date and an enumeration as text.

    Raises TypeError for what has no such form (bytes, say), inside it too.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if dataclasses.is_dataclass(kind):
        said = ((name, getattr(value, name), default) for name, default in _defaults(kind))
        return {name: to_plain(each) for name, each, default in said if each != default}
    raise TypeError(f"{kind.__name__} has no plain form.")


_AS_THEY_ARE = frozenset({str, int, bool, types.NoneType})
_NO_DEFAULT = object()


@cache
def _defaults(kind: type[Any]) -> list[tuple[str, Any]]:
    """The fields of a dataclass, each with the value it has when it is left out."""
    found = []
    for each in dataclasses.fields(kind):
        default = each.default
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        found.append((each.name, _NO_DEFAULT if default is dataclasses.MISSING else default))
    return found


def from_plain(kind: type[_T], plain: Any) -> _T:
    """The value of class ``kind`` that ``to_plain`` wrote. Raises ValueError for anything else, naming the place."""
    read: Any = _reader
    value: _T = read(kind)(plain)
    return value


# ---------------------------------------------------------------- reading

_Reader = Callable[[Any], Any]


@cache
def _reader(kind: Any) -> _Reader:
    if dataclasses.is_dataclass(kind):
        return _object_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [each for each in arguments if each is not type(None)]
        return _optional(_reader(inner))
    if origin is tuple:
        return _list_reader(_reader(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(_reader(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _SCALARS[kind]


def _object_reader(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    fields = {each.name: _reader(hints[each.name]) for each in dataclasses.fields(kind) if each.init}

    def read(plain: Any) -> Any:
        if not isinstance(plain, Mapping):
            raise ValueError(f"{kind.__name__}: not an object.")
        given = {}
        for name, reader in fields.items():
            if name in plain:
                try:
                    given[name] = reader(plain[name])
                except ValueError as error:
                    raise ValueError(f"{kind.__name__}.{name}: {error}") from error
        try:
            return kind(**given)
        except TypeError as error:  # a field without a default is missing
            raise ValueError(f"{kind.__name__}: {error}") from error

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda plain: None if plain is None else inner(plain)


def _list_reader(inner: _Reader) -> _Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, list | tuple):
            raise ValueError("not a list.")
        return tuple(inner(each) for each in plain)

    return read


def _mapping_reader(inner: _Reader) -> _Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, Mapping):
            raise ValueError("not an object.")
        return {str(name): inner(each) for name, each in plain.items()}

    return read


def _exactly(kind: type[Any], what: str) -> _Reader:
    def read(plain: Any) -> Any:
        if type(plain) is not kind:  # True is an int, but no quantity
            raise ValueError(f"not {what}.")
        return plain

    return read


def _decimal(plain: Any) -> Decimal:
    try:
        return Decimal(_text(plain))
    except InvalidOperation as error:
        raise ValueError("not a decimal number.") from error


def _no_file(plain: Any) -> Any:
    raise ValueError("files have no plain form.")


def _number(plain: Any) -> float:
    if type(plain) not in (int, float) or not isfinite(plain):
        raise ValueError("not a number.")
    return float(plain)


_text = _exactly(str, "a text")
_SCALARS: Mapping[Any, _Reader] = {
    str: _text,
    int: _exactly(int, "a whole number"),
    bool: _exactly(bool, "true or false"),
    float: _number,
    bytes: _no_file,
    Decimal: _decimal,
    datetime: lambda plain: datetime.fromisoformat(_text(plain)),
    date: lambda plain: date.fromisoformat(_text(plain)),
}
