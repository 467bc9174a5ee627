"""Reading what a vendor sent: a strict JSON loader, and typed marshmallow fields that turn a payload into the model.

Every record is read from its stored bytes, possibly years later, so nothing here depends on a clock, a locale or the
network. What cannot be read raises Unreadable with a sentence that names the place and never the value: the value may
be a customer's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

import marshmallow
from marshmallow import Schema, ValidationError, fields, missing
from marshmallow.decorators import POST_LOAD, PRE_LOAD, VALIDATES, VALIDATES_SCHEMA

from hub.core.model import Money
from hub.errors import Unreadable

__all__ = [
    "DecimalNumber",
    "Identifier",
    "MoneyAmount",
    "MoneyObject",
    "Text",
    "Translation",
    "UtcMoment",
    "WholeNumber",
    "load_json",
]

MAX_NESTING = 64  # vendors stay below 20
MAX_DIGITS = 128  # of one number, its exponent not counted; PHP may be set to write floats with 100
MAX_EXPONENT = 308  # what a double can hold
MAX_TEXT = 65_536
MAX_IDENTIFIER = 255
MAX_WHOLE = 2**31
MAX_DECIMAL = Decimal(10) ** 15

_T = TypeVar("_T")
if TYPE_CHECKING:  # Python 3.13 has it in the standard library
    import typing_extensions

    _R = typing_extensions.TypeVar("_R", default=Any)
else:
    _R = TypeVar("_R")

# ---------------------------------------------------------------- JSON


def load_json(body: bytes) -> Any:
    """The value in a JSON text, fractions as Decimal.

    UTF-8 with or without a byte order mark. Stricter than the standard library: no NaN or Infinity, no name twice in
    one object (which of the two quantities is meant?), no more than 64 levels, no number that a double could not hold.
    Raises Unreadable.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"The body is not UTF-8 text (byte {error.start}).") from error
    if not text.strip():
        raise Unreadable("The body is empty.")
    try:
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=_fraction,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"The body is not JSON ({error.msg}, character {error.pos}).") from error
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    _check_nesting(value)
    return value


_TOO_DEEP = f"The body is nested more than {MAX_NESTING} levels deep."


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise Unreadable(f"The body holds a number of {len(text)} digits; {MAX_DIGITS} are the most that is read.")
    return int(text)


def _fraction(text: str) -> Decimal:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > MAX_EXPONENT:
        raise Unreadable("The body holds a number that is too long or too large to be read exactly.")
    return Decimal(text)


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"The body holds {name}, which is not a JSON number.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Unreadable("The body says one name twice in the same object, so its meaning is unclear.")
    return value


def _check_nesting(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_NESTING):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    if level:
        raise Unreadable(_TOO_DEEP)


# ---------------------------------------------------------------- fields

# What PostgreSQL or UTF-8 cannot hold: NUL and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_WHOLE_TEXT = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(?:\.0{{1,{MAX_DIGITS}}})?")
_DECIMAL_TEXT = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(?:\.[0-9]{{1,{MAX_DIGITS}}})?")
_MOMENT_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


class _PlainField(fields.Field[_T]):
    """A field that says in plain words what it misses."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["error_messages"] = {"required": "Missing.", "null": "Empty.", **kwargs.get("error_messages", {})}
        super().__init__(**kwargs)


class _VendorField(_PlainField[_T]):
    """A field to which an empty text means the same as null, as it does to most vendors."""

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if isinstance(value, str) and value == "":
            value = None
        return super().deserialize(value, attr, data, **kwargs)


class Text(_PlainField[str]):
    """Any text. Missing and null read as "", unless the field is required or says otherwise.

    NUL and unpaired surrogates, which no database keeps, are replaced by U+FFFD, so that an odd note does not hold
    back an order. A text longer than ``limit`` characters is refused rather than cut.
    """

    def __init__(self, *, limit: int = MAX_TEXT, **kwargs: Any) -> None:
        if not kwargs.get("required"):
            kwargs.setdefault("load_default", "")
        super().__init__(**kwargs)
        self.limit = limit

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if value is None and not self.required and not self.allow_none:
            value = ""
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a text.")
        if len(value) > self.limit:
            raise ValidationError(f"Longer than {self.limit} characters.")
        return _UNSTORABLE.sub("\ufffd", value)


class Identifier(_VendorField[str]):
    """An id of the vendor's, text or integer, as text. What could not be stored or sent back whole is refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValidationError("Not an id.")
        long = len(value) > MAX_IDENTIFIER if isinstance(value, str) else abs(value) >= 10**MAX_IDENTIFIER
        if long:
            raise ValidationError(f"Longer than {MAX_IDENTIFIER} characters.")
        text = str(value)
        if not text.strip() or _CONTROL.search(text):
            raise ValidationError("Not an id.")
        return text


class WholeNumber(_VendorField[int]):
    """A whole number: an integer, or a text or fraction that is one ("3", "3.00"), strictly between ±2³¹."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, str) and not _WHOLE_TEXT.fullmatch(value):
            raise ValidationError("Not a whole number.")
        number = _decimal(value)
        if number is None:
            raise ValidationError("Not a whole number.")
        if abs(number) >= MAX_WHOLE:  # before int(), which would write out 1E+300
            raise ValidationError("Out of range.")
        if number != int(number):
            raise ValidationError("Not a whole number.")
        return int(number)


class DecimalNumber(_VendorField[Decimal]):
    """An exact decimal number, from a number or from a text such as "12.50", strictly between ±10¹⁵."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Decimal:
        if isinstance(value, str) and not _DECIMAL_TEXT.fullmatch(value):
            raise ValidationError("Not a decimal number.")
        number = _decimal(value)
        if number is None:
            raise ValidationError("Not a decimal number.")
        if abs(number) >= MAX_DECIMAL:
            raise ValidationError("Out of range.")
        if not isinstance(value, str) or len(value) > MAX_DIGITS:
            exponent = number.as_tuple().exponent
            if isinstance(exponent, int) and exponent < -MAX_DIGITS:
                raise ValidationError("Out of range.")
        return number


def _decimal(value: Any) -> Decimal | None:
    """The finite Decimal that ``value`` is; a float by its shortest text, so that 0.1 stays 0.1."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    number = Decimal(repr(value) if isinstance(value, float) else value)
    return number if number.is_finite() else None


class MoneyObject(_VendorField[Money]):
    """Money written as an object, such as {"amount": "12.50", "currency": "EUR"}; the names of its parts are given."""

    def __init__(self, *, amount: str = "amount", currency: str = "currency", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.amount_key = amount
        self.currency_key = currency

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Money:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an amount with a currency.")
        return _money(value.get(self.amount_key), value.get(self.currency_key))


class MoneyAmount(_VendorField[Money]):
    """Money written as a number or a text such as "12.50", its currency beside it in the same object."""

    def __init__(self, *, currency: str = "currency", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.currency_key = currency

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Money:
        return _money(value, (data or {}).get(self.currency_key))


_AMOUNT = DecimalNumber(required=True)


def _money(amount: Any, currency: Any) -> Money:
    quick = amount is not None and amount != ""
    number = cast(Decimal, _AMOUNT._deserialize(amount, None, None) if quick else _AMOUNT.deserialize(amount))
    try:
        return Money(number, currency if isinstance(currency, str) else "")
    except ValueError as error:
        raise ValidationError("No currency, such as EUR.") from error


class UtcMoment(_VendorField[datetime]):
    """A moment in ISO 8601 as aware UTC.

    A text without a zone is refused, because it would have to be guessed; ``assume_utc`` is for fields that the vendor
    defines as UTC, such as WooCommerce's ``…_gmt``. Years outside 1970 to 2199 are refused: one such version mark
    would make every later change of the record look old.
    """

    def __init__(self, *, assume_utc: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.assume_utc = assume_utc

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        found = _MOMENT_TEXT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("Not a date with a time.")
        date, minute, second, fraction, zone = found.groups()
        if zone is None and not self.assume_utc:
            raise ValidationError("A time without a time zone.")
        leap = second == "60"  # a leap second is the first second of the next minute to us
        text = f"{date}T{minute}:{'59' if leap else second or '00'}.{(fraction or '0')[:6]:0<6}"
        try:
            moment = datetime.fromisoformat(text + _offset(zone))
            moment = moment.astimezone(UTC) + timedelta(seconds=leap)
        except (ValueError, OverflowError) as error:
            raise ValidationError("Not a date with a time.") from error
        if not 1970 <= moment.year < 2200:
            raise ValidationError("Not a plausible date.")
        return moment


def _offset(zone: str | None) -> str:
    if zone is None or zone in "Zz":
        return "+00:00"
    digits = zone[1:].replace(":", "")
    return f"{zone[0]}{digits[:2]}:{digits[2:] or '00'}"


# ---------------------------------------------------------------- schemas


class _Shared(marshmallow.schema.SchemaMeta):
    """Makes a translation once for all who read with it: making one copies all of its fields, which takes longer than
    reading an order with it. It says the same to everybody, unless it was given options or has an __init__ of its own.
    """

    _made: Translation[Any] | None = None

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if args or options or cls.__init__ is not Schema.__init__:  # type: ignore[misc]
            return super().__call__(*args, **options)
        if "_made" not in cls.__dict__:
            cls._made = super().__call__()
        return cls._made


class Translation(marshmallow.Schema, Generic[_R], metaclass=_Shared):
    """A schema that reads one shape of a vendor's payload; build the model value in a ``@post_load`` method.

    ``Translation[Order]`` says what that method returns, so that type checkers know what ``read`` does.

    Fields that are not named are ignored, because vendors add fields at any time. A ValueError of the model's (two
    lines with one id, an unknown currency form) makes the record unreadable, like a field that does not fit.
    """

    class Meta:
        unknown = marshmallow.EXCLUDE

    error_messages = {"type": "Not an object."}  # noqa: RUF012 (declared so by marshmallow)

    def read(self, payload: Any) -> _R:
        """What the payload says: bytes are JSON, anything else is already loaded. Raises Unreadable."""
        value = load_json(payload) if isinstance(payload, bytes) else payload
        try:
            return cast("_R", self.load(value))
        except ValidationError as error:
            raise Unreadable(_sentences(error)) from error
        except (ValueError, ArithmeticError) as error:
            raise Unreadable(str(error)) from error

    def load(self, data: Any, *, many: bool | None = None, partial: Any = None, unknown: Any = None) -> Any:
        """As marshmallow's, with the same result, several times faster for what is without a fault."""
        if many or partial or unknown or self._quick is None:
            return super().load(data, many=many, partial=partial, unknown=unknown)
        try:
            return self._quick(data)
        except Exception:
            # Read once more in full, which finds every fault and says where it is.
            return super().load(data, many=many, partial=partial, unknown=unknown)

    @cached_property
    def _quick(self) -> Callable[[Any], Any] | None:
        """A function that reads one payload in which nothing is wrong; None where the schema does more than that."""
        if any(self._hooks[tag] for tag in (PRE_LOAD, VALIDATES, VALIDATES_SCHEMA)):
            return None
        if self.many or self.partial or self.unknown != marshmallow.EXCLUDE or self.dict_class is not dict:
            return None
        if any(many or options.get("pass_original") for _, many, options in self._hooks[POST_LOAD]):
            return None
        finish = [getattr(self, name) for name, _, _ in self._hooks[POST_LOAD]]
        named = [
            (field.attribute or name, name if field.data_key is None else field.data_key, _quick_reader(field))
            for name, field in self.load_fields.items()
        ]
        if any("." in name for name, _, _ in named):
            return None
        told = {"many": False, "partial": self.partial, "unknown": self.unknown}

        def read(data: Any) -> Any:
            if not isinstance(data, Mapping):
                raise TypeError
            found: Any = {}
            for name, key, reader in named:
                value = reader(data.get(key, missing), key, data)
                if value is not missing:
                    found[name] = value
            for step in finish:
                found = step(found, **told)
            return found

        return read


def _quick_reader(field: fields.Field[Any]) -> Callable[[Any, str, Mapping[str, Any]], Any]:
    """What ``field.deserialize`` does, without what is of no use to this field."""
    if field.validators or field.pre_load or field.post_load:
        return field.deserialize
    read = _quick_reader_of_what_is_there(field)
    if field.required or type(field).deserialize not in _MISSING_IS_THE_DEFAULT:
        return read
    default = field.load_default
    if callable(default):
        return lambda value, key, data: default() if value is missing else read(value, key, data)
    return lambda value, key, data: default if value is missing else read(value, key, data)


_MISSING_IS_THE_DEFAULT = (fields.Field.deserialize, Text.deserialize, _VendorField.deserialize)


def _quick_reader_of_what_is_there(
    field: fields.Field[Any],
) -> Callable[[Any, str, Mapping[str, Any]], Any]:
    kind = type(field)
    read = field._deserialize
    may_be_none = field.allow_none

    def absent(value: Any, key: str, data: Mapping[str, Any]) -> Any:
        return None if value is None and may_be_none else field.deserialize(value, key, data)

    if kind is Text:
        longest = cast(Text, field).limit

        def text(value: Any, key: str, data: Mapping[str, Any]) -> Any:
            if type(value) is str and len(value) <= longest and not _UNSTORABLE.search(value):
                return value
            return field.deserialize(value, key, data)

        return text
    if kind is fields.Raw:
        return lambda value, key, data: field.deserialize(value, key, data) if value is None else value
    if kind is fields.Nested and isinstance(cast(fields.Nested, field).schema, Translation):
        nested = cast(fields.Nested, field)
        if not nested.schema.many and not nested.unknown:
            load = nested.schema.load
            return lambda value, key, data: (
                field.deserialize(value, key, data) if value is missing or value is None else load(value)
            )
    if issubclass(kind, _VendorField) and kind.deserialize is _VendorField.deserialize:

        def vendors(value: Any, key: str, data: Mapping[str, Any]) -> Any:
            if value is None or value is missing or value == "":
                return absent(value, key, data)
            return read(value, key, data)

        return vendors
    if kind is fields.List:
        inner = _quick_reader(cast("fields.List[Any]", field).inner)

        def rows(value: Any, key: str, data: Mapping[str, Any]) -> Any:
            if type(value) is not list:
                return field.deserialize(value, key, data)
            return [inner(each, key, data) for each in value]

        return rows
    return field.deserialize


def _sentences(error: ValidationError, most: int = 5) -> str:
    found = list(_flat(error.messages, ()))
    text = " ".join(f"{'.'.join(path)}: {message}" if path else message for path, message in found[:most])
    return f"{text} And {len(found) - most} more." if len(found) > most else text


def _flat(messages: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, path if name == "_schema" else (*path, str(name)))
    elif isinstance(messages, list | tuple):
        for inner in messages:
            yield from _flat(inner, path)
    else:
        yield path, str(messages)
