"""What a merchant enters to connect a stall: each field becomes an input of the connect form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import fields, pre_load, validate


class LarkmartSettings(marshmallow.Schema):
    """The stall and the key to it."""

    stall = fields.String(
        required=True,
        validate=validate.Regexp(r"[a-z0-9-]{1,40}\Z", error="Enter only the part before .larkmart.example."),
        metadata={"label": "Stall", "hint": "For corner.larkmart.example, enter corner."},
    )
    api_key = fields.String(
        required=True,
        metadata={"label": "API key", "hint": "Larkmart > Account > API keys > New key.", "secret": True},
    )

    @pre_load
    def strip(self, typed: Any, **_: Any) -> Any:
        """Spaces and line ends that were copied along mean nothing."""
        if not isinstance(typed, Mapping):
            return typed
        return {name: text.strip() if isinstance(text, str) else text for name, text in typed.items()}
