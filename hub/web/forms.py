"""Forms: one drawn from a connector's marshmallow schema, and the reading of what people type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import marshmallow
from flask import request
from flask_babel import gettext as _
from marshmallow import fields as kinds
from marshmallow import validate
from werkzeug.datastructures import MultiDict

from hub.errors import BadInput, HubError
from hub.web.reader import reader

Messages = Mapping[str, list[str]]
Member = TypeVar("Member", bound=Enum)


@dataclass(frozen=True, slots=True)
class Field:
    """One input as a template draws it. ``value`` is "" for a secret, whatever is kept: secrets go one way."""

    name: str
    kind: str  # text, url, email, number, password, checkbox, select, textarea
    label: str
    hint: str
    required: bool
    secret: bool
    value: str = ""
    placeholder: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    longest: int | None = None
    lowest: float | None = None
    highest: float | None = None
    errors: tuple[str, ...] = ()


class BrokenForm(HubError):
    """A connector's schema failed by itself: no input of a person can make it work."""


def fields(
    schema: marshmallow.Schema, values: Mapping[str, Any] | None = None, errors: Messages | None = None
) -> list[Field]:
    """The inputs of a schema, in its own order, with what was typed and what was wrong with it.

    Metadata of a field: ``label`` and ``hint`` for people, ``secret``, and if wanted ``placeholder`` and ``input``
    (the kind of input, where the field's type does not tell). A field that is ``hidden`` is not drawn.
    """
    return [
        _field(name, each, (values or {}).get(name), (errors or {}).get(name, ()))
        for name, each in schema.fields.items()
        if not each.dump_only and not each.metadata.get("hidden")
    ]


def load(schema: marshmallow.Schema, form: MultiDict[str, str]) -> dict[str, Any]:
    """The settings typed into a form of ``schema``, checked by it. Raises BadInput with messages by field.

    Fields that no form shows begin anew: what a permission given with one click left in them is not typed again.
    """
    typed: dict[str, Any] = {}
    for each in fields(schema):
        text = form.get(each.name, "").strip()  # copied keys often carry a line break along
        if each.kind == "checkbox":
            typed[each.name] = each.name in form
        elif text:
            typed[each.name] = text
    try:
        loaded = schema.load(typed, unknown=marshmallow.EXCLUDE)
    except marshmallow.ValidationError as error:
        raise BadInput(_("Some fields need another look."), _messages(error.messages)) from error
    except Exception as error:
        raise BrokenForm(
            _(
                "The connector failed while it checked the form (%(name)s). Nothing was stored; tell its author.",
                name=type(error).__name__,
            )
        ) from error
    settings: dict[str, Any] = dict(loaded)
    return settings


def typed(form: MultiDict[str, str], inputs: list[Field]) -> dict[str, str]:
    """What was typed, to be shown again: without secrets."""
    return {each.name: form.get(each.name, "") for each in inputs if not each.secret}


def whole_number(text: str, name: str) -> int:
    """A number of units. Raises BadInput: "1.5", "1_000" and digits of other scripts are no number of units."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise BadInput(_("This is not a number of units."), {name: [_("Enter a whole number, such as 12.")]})
    return int(digits)


def optional_number(text: str, name: str) -> int | None:
    """A number of units, or None for a field that is left empty. Raises BadInput."""
    return whole_number(text, name) if text.strip() else None


def one_more(text: str) -> str:
    """One unit more than was typed: the same SKU was scanned again. What is no number stays, to be corrected."""
    try:
        return str(whole_number(text, "units") + 1)
    except BadInput:
        return text.strip() or "1"


def moment(text: str, name: str) -> datetime | None:
    """A time as a browser's field for times sends it, meant in the reader's zone; None if empty. Raises BadInput."""
    if not text.strip():
        return None
    try:
        return reader().utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise BadInput(
            _("This is not a time."), {name: [_("Enter a date and a time, such as 2026-05-31 14:30.")]}
        ) from None


def identity(name: str) -> UUID:
    """An id that the form carries along. Raises BadInput: a person never types one."""
    return read_identity(request.form.get(name, ""))


def read_identity(text: str) -> UUID:
    """An id that is part of what the form says. Raises BadInput."""
    try:
        return UUID(text)
    except ValueError:
        raise damaged() from None


def optional_identity(name: str) -> UUID | None:
    """An id that was chosen from a list, None where nothing was. Raises BadInput."""
    return identity(name) if request.form.get(name) else None


def identities(name: str) -> list[UUID]:
    """Every id that the form carries under this name. Raises BadInput."""
    return [read_identity(text) for text in request.form.getlist(name)]


def rows(name: str) -> dict[UUID, str]:
    """The units typed in each row of a form, by the id that the row carries under ``name``. Raises BadInput."""
    ids, units = identities(name), request.form.getlist("units")
    if len(units) != len(ids) or len(set(ids)) != len(ids):
        raise damaged()
    return dict(zip(ids, units, strict=True))


def at_rows(said: Messages, row_ids: Iterable[UUID]) -> dict[str, list[str]]:
    """What the store says of each row, by the names of their fields: the store calls a row by its id alone."""
    ids = {str(row_id) for row_id in row_ids}
    return {f"units-{name}" if name in ids else name: messages for name, messages in said.items()}


def words(text: str, longest: int = 100) -> tuple[str, ...]:
    """The words of a list with commas or line breaks between them, each of them once."""
    typed = text.replace("\n", ",").split(",")
    return tuple(dict.fromkeys(word for each in typed if (word := each.strip()[:longest])))


def one_of(kind: type[Member], text: str) -> Member | None:
    """What was chosen from a list of ``kind``, None where it is not on that list."""
    return next((each for each in kind if each.value == text), None)


@contextmanager
def gathering(errors: dict[str, list[str]]) -> Iterator[None]:
    """Around the reading of one field: what is wrong with it is added to ``errors``, and the next field is read."""
    try:
        yield
    except BadInput as error:
        errors |= error.fields


def damaged() -> BadInput:
    """Raised for a form that carries what no page of ours has put there."""
    return BadInput(_("This form is damaged. Reload the page."))


def unknown_code(code: str) -> list[str]:
    """What stands at the field where a SKU or a barcode was typed that nothing has."""
    return [_("There is no SKU or barcode “%(code)s” here. Check the code.", code=code[:60])]


def once() -> UUID:
    """What makes this form different from every other: sent twice, it is entered once. Raises BadInput."""
    return identity("once")


def _field(name: str, field: kinds.Field[Any], value: Any, errors: Any) -> Field:
    metadata = field.metadata
    secret = bool(metadata.get("secret"))
    default = "" if field.load_default is marshmallow.missing or callable(field.load_default) else field.load_default
    drawn = Field(
        name=name,
        kind=_kind(field, secret),
        label=str(metadata.get("label") or name.replace("_", " ").capitalize()),
        hint=str(metadata.get("hint") or ""),
        required=field.required,
        secret=secret,
        value="" if secret else _text(default if value is None else value),
        placeholder=str(metadata.get("placeholder") or ""),
        errors=tuple(str(message) for message in errors),
    )
    for rule in field.validators:
        if isinstance(rule, validate.OneOf):
            labels = list(rule.labels) + [str(choice) for choice in list(rule.choices)[len(list(rule.labels)) :]]
            drawn = replace(
                drawn,
                kind="select",
                choices=tuple((str(choice), str(label)) for choice, label in zip(rule.choices, labels, strict=False)),
            )
        elif isinstance(rule, validate.Length):
            drawn = replace(drawn, longest=rule.equal or rule.max)
        elif isinstance(rule, validate.Range):
            drawn = replace(drawn, lowest=rule.min, highest=rule.max)
    return drawn


def _kind(field: kinds.Field[Any], secret: bool) -> str:
    wanted = field.metadata.get("input")
    if secret:
        return "password"
    if wanted in ("text", "url", "email", "number", "checkbox", "select", "textarea"):
        return str(wanted)
    for kind, name in (
        (kinds.Boolean, "checkbox"),
        (kinds.Url, "url"),
        (kinds.Email, "email"),
        (kinds.Number, "number"),
    ):
        if isinstance(field, kind):
            return name
    return "text"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    return str(value)


def _messages(said: Any) -> dict[str, list[str]]:
    """One list of sentences per field, whatever shape a schema gave its messages; "_schema" is about all of it."""
    if not isinstance(said, Mapping):
        said = {"_schema": said}
    return {str(name): _sentences(each) for name, each in said.items()}


def _sentences(said: Any) -> list[str]:
    if isinstance(said, str):
        return [said]
    parts = said.values() if isinstance(said, Mapping) else said
    return [sentence for part in parts for sentence in _sentences(part)]
