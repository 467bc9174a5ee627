"""What people type into the form with which they connect a vendor: the schema that connectors build theirs on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields, pre_load

__all__ = ["KeyText", "SettingsSchema"]


class SettingsSchema(marshmallow.Schema):
    """The settings of a connection: each field becomes an input of the connect form.

    Texts lose the spaces and line ends around them before they are looked at, because these are copied along from a
    vendor's page. That goes for secrets, too, but for their ends only: what stands inside a password is part of it.
    """

    @pre_load
    def _without_what_was_copied_along(self, typed: Any, **_: Any) -> Any:
        if not isinstance(typed, Mapping):
            return typed
        return {name: text.strip() if isinstance(text, str) else text for name, text in typed.items()}


class KeyText(fields.String):
    """A key, a token or an id as the vendor shows it, in which nothing stands that cannot be seen."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if not re.fullmatch(r"[!-~]{0,2048}", text):
            raise ValidationError("There is something in it that is no part of a key. Copy it again.")
        return text
