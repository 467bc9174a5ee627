"""Taking personal data out of vendors' records: what could be about a person is replaced, the same by the same.

Replaced is whatever is not known to be harmless: amounts, quantities, moments, ids, SKUs and states stay, every other
text is made up word by word. A word keeps its length and its kind of characters, so that what was put together from
parts ("Ada" and "Lovelace") still fits its parts. The words are chosen with a key that nobody keeps.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*")
_LETTERS, _DIGITS = "bcdfghjklmnpqrstvwxz", "0123456789"
_STAY = frozenset({"http", "https"})

# Names of members, in lower case and without what separates their words.
_PEOPLE = frozenset(
    ("address", "addresses", "billing", "billto", "billingaddress", "browser", "buyer", "clientdetails", "contact",
     "creditcard", "customattributes", "customer", "customers", "defaultaddress", "noteattributes", "paymentdetails",
     "person", "properties", "receiver", "recipient", "sender", "shipping", "shippingaddress", "shipto", "user")
)  # fmt: skip
_PERSONAL = re.compile(
    "account|address|agent|birth|bic$|card|city|cnpj|comment|company|contact|cookie|county|cpf|customer(?!id$)|descri"
    "|domain|email|fax|gender|gift|hash|hmac|host|href|iban|instruction|^ip$|key$|label|landing|latitude|link|longitude"
    "|mail|message|mobile|name|note|passport|password|phone|postal|postcode|province|reason|referr|region|secret"
    "|session|signature|site|ssn|street|tel$|tax(?:id|code|number)|title|token|uri|url|vat|zip"
)
_ID = re.compile(r"id$|ids$|sku")
_STATE = re.compile(
    "status|state$|type|kind|currency|method|locale|version|event|topic|resource|financial|fulfillment|strategy|source$"
)
_COUNTED = re.compile("amount|price|total|tax|cost|fee|discount|quantity|rate|weight|count|units")
_TIMED = re.compile("date|time|at$|atgmt|dategmt|created|updated|modified|since|until|gmt$")

_CODE = re.compile(r"[\w.:/=+|#-]{1,120}")
_WORDS = re.compile(r"[A-Za-z][\w.-]{0,40}")
_SMALL = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]{1,10})?")
_AMOUNT = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,10})?")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]{5,18}(?:Z|[+-][0-9:]{2,6})?)?")
_COUNTRY = re.compile(r"[A-Z]{2,3}")
_GLOBAL_ID = re.compile(r"gid://[A-Za-z]+/[A-Za-z]+/[0-9]+")
_MEMBER = re.compile(r"[A-Za-z_$@][\w.:$@-]{0,60}")
_TOLD = frozenset({"true", "false", "yes", "no", ""})

_DROPPED_HEADER = re.compile("hmac|signature|token|secret|auth|cookie|key|password|session|forward|ip$")
_KEPT_HEADER = re.compile("topic|event|resource|version|test|triggered|id$|delivery")


class Disguise:
    """Replaces what could be about a person in texts, JSON bodies and headers, the same text always by the same.

    ``keep`` are texts that stay wherever they stand alone: the numbers, ids and SKUs that are known to be such.
    """

    def __init__(self, keep: Collection[str] = ()) -> None:
        self._key = secrets.token_bytes(32)
        self._keep = frozenset(keep) - {""}
        self._words: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text with every word made up; e-mail addresses end in .example."""
        if text in self._keep:
            return text
        made, at = [], 0
        for found in _EMAIL.finditer(text):
            made += [self._in_words(text[at : found.start()]), self._email(found[0])]
            at = found.end()
        return "".join([*made, self._in_words(text[at:])])

    def _email(self, address: str) -> str:
        user, _, domain = address.rpartition("@")
        return f"{self._in_words(user)}@{self._in_words(domain.partition('.')[0])}.example"

    def _in_words(self, text: str) -> str:
        return _WORD.sub(lambda found: self._word(found[0]), text)

    def _word(self, word: str) -> str:
        plain = word.casefold()
        if plain in _STAY:
            return word
        if plain not in self._words:
            self._words[plain] = self._made_up(plain)
        made = self._words[plain]
        if len(made) != len(word):  # a letter that is two in lower case, such as ß
            return made
        return "".join(new.upper() if old.isupper() else new for old, new in zip(word, made, strict=True))

    def _made_up(self, plain: str) -> str:
        stream = b""
        while len(stream) < len(plain):
            stream += hmac.digest(self._key, f"{len(stream)} {plain}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        made = []
        for place, (old, number) in enumerate(zip(plain, stream, strict=False)):
            choice = (_DIGITS[1:] if place == 0 and old != "0" else _DIGITS) if old.isdigit() else _LETTERS
            others = choice.replace(old, "")
            made.append(others[number % len(others)])
        return "".join(made)

    # ------------------------------------------------------------ JSON

    def body(self, body: bytes) -> bytes:
        """A record's body: JSON member by member, anything else word by word. What was no UTF-8 is none any more."""
        text = body.decode("utf-8", "replace")
        try:
            value = json.loads(
                text, object_pairs_hook=_Members, parse_int=_Number, parse_float=_Number, parse_constant=_Number
            )
        except (ValueError, RecursionError):
            return self.text(text).encode()
        return _written(self._value(value, "", False)).encode()

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value of a known name, with plain numbers and objects."""
        return json.loads(self.body(json.dumps({name: value}).encode()))[name]

    def _value(self, value: Any, name: str, of_person: bool) -> Any:
        if isinstance(value, _Members):
            named = _named_value(value)
            if named is not None:
                return self._setting(value, named)
            return _Members(
                (
                    member if _MEMBER.fullmatch(member) else self.text(member),
                    self._value(inner, _plain(member), of_person or _plain(member) in _PEOPLE),
                )
                for member, inner in value
            )
        if isinstance(value, list):
            return [self._value(inner, name, of_person) for inner in value]
        if isinstance(value, _Number):
            return value if self._number_stays(value, name, of_person) else _Number(self._digits(value))
        if isinstance(value, str):
            return value if self._stays(value, name, of_person) else self.text(value)
        return value

    def _setting(self, members: _Members, named: str) -> _Members:
        """A pair such as {"key": "_reduced_stock", "value": "2"}, in which only the key tells what the value is."""
        internal = re.fullmatch(r"_[a-z0-9_]{1,60}", named) is not None
        harmless = internal and not _PERSONAL.search(_plain(named))

        def stays(value: Any) -> bool:
            if not harmless or not isinstance(value, str | _Number):
                return False
            return bool(_SMALL.fullmatch(str(value)) or (named.endswith("_id") and re.fullmatch(r"[0-9]+", str(value))))

        made = []
        for member, value in members:
            if value == named and isinstance(value, str):
                made.append((member, value if internal else self.text(value)))
            elif member == "id" and isinstance(value, _Number):
                made.append((member, value))
            else:
                made.append((member, value if stays(value) else self._all(value)))
        return _Members(made)

    def _all(self, value: Any) -> Any:
        """A value with nothing left as it was."""
        if isinstance(value, _Members):
            return _Members((self.text(member), self._all(inner)) for member, inner in value)
        if isinstance(value, list):
            return [self._all(inner) for inner in value]
        if isinstance(value, _Number):
            return _Number(self._digits(value))
        return self.text(value) if isinstance(value, str) else value

    def _stays(self, text: str, name: str, of_person: bool) -> bool:
        if text in self._keep or text.lower() in _TOLD:
            return True
        if name.startswith("country"):
            return _COUNTRY.fullmatch(text) is not None
        if _COUNTED.search(name) and not _PERSONAL.search(name) and _AMOUNT.fullmatch(text):
            return True
        if _PERSONAL.search(name):
            return False
        if _MOMENT.fullmatch(text) and (not of_person or _TIMED.search(name)):
            return True
        if of_person:
            return bool(_ID.search(name) and re.fullmatch(r"[0-9]{1,20}", text)) or "currency" in name
        if _GLOBAL_ID.fullmatch(text):
            return True
        if _ID.search(name):
            return _CODE.fullmatch(text) is not None
        if _STATE.search(name):
            return _WORDS.fullmatch(text) is not None
        return _SMALL.fullmatch(text) is not None

    def _number_stays(self, number: _Number, name: str, of_person: bool) -> bool:
        if number in self._keep or _ID.search(name) or (_COUNTED.search(name) and not _PERSONAL.search(name)):
            return True
        if of_person or _PERSONAL.search(name):
            return False
        return len(number) <= 9 or _TIMED.search(name) is not None

    def _digits(self, number: _Number) -> str:
        whole = re.fullmatch(r"(-?)([0-9]+)((?:\.[0-9]+)?)", number)
        if whole is None:
            return "0"
        made = "0" if whole[2] == "0" else self._word(whole[2])
        return f"{whole[1]}{made}{whole[3] and '.' + self._word(whole[3][1:])}"

    # ------------------------------------------------------------ headers

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """A webhook's headers, without signatures and credentials."""
        return {
            name: text
            if _KEPT_HEADER.search(name) and (_CODE.fullmatch(text) or _MOMENT.fullmatch(text))
            else self.text(text)
            for name, text in headers.items()
            if not _DROPPED_HEADER.search(name)
        }


class _Members(list[tuple[str, Any]]):
    """The members of an object as they were written: a name may be there twice."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _named_value(members: _Members) -> str | None:
    """The name in a pair of a name and a value, None for any other object."""
    found = dict(members)
    if "value" not in found:
        return None
    name = found.get("key", found.get("name"))
    return name if isinstance(name, str) and not isinstance(name, _Number) else None


def _plain(member: str) -> str:
    return re.sub(r"[^a-z0-9]", "", member.lower())


def _written(value: Any) -> str:
    write: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False).encode
    if isinstance(value, _Members):
        return "{" + ", ".join(f"{write(name)}: {_written(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, _Number) else write(value)
