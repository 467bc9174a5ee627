"""The oddities of UPS's JSON as fields: one without a list, empty objects as texts, flags without a value, times."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields, missing

import hub


class Several(fields.List[Any]):
    """A list, or its one element without the list around it; missing is none."""

    def __init__(self, inner: Any, **kwargs: Any) -> None:
        if not kwargs.get("required"):
            kwargs.setdefault("load_default", list)
        super().__init__(inner, **kwargs)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if isinstance(value, Mapping | str) and value != "":
            value = [value]
        elif value in (None, "") and not self.required:
            value = []
        return super().deserialize(value, attr, data, **kwargs)


class Flag(fields.Field[bool]):
    """A member that says yes by being there, whatever its value."""

    def __init__(self) -> None:
        super().__init__(load_default=False, allow_none=True)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        return True

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return True if value is None else super().deserialize(value, attr, data, **kwargs)


class Base64(fields.Field[bytes]):
    """A file."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bytes:
        try:
            return base64.b64decode(value if isinstance(value, str) else "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValidationError("Not a file in base64.") from error


class Part(fields.Nested):
    """An object that may be missing; UPS writes an empty one as "" at times. Both are read as an empty one."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(hub.Translation.from_dict(parts), load_default=dict)

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        return {} if value is missing or value in (None, "") else self.schema.load(value)


def local_moment(day: str, time: str) -> datetime | None:
    """A day as yyyymmdd and a time as hhmmss, leading zeros left out at times; None where it is no such thing."""
    if not (re.fullmatch(r"[0-9]{8}", day) and re.fullmatch(r"[0-9]{1,6}", time)):
        return None
    digits = time.zfill(6)
    hour, minute, second = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    try:
        return datetime(int(day[:4]), int(day[4:6]), int(day[6:]), hour, minute, second)  # noqa: DTZ001 (told elsewhere)
    except ValueError:
        return None
