"""What a merchant enters to connect a stall: each field becomes an input of the connect form."""

from __future__ import annotations

from marshmallow import fields, validate

import hub


class LarkmartSettings(hub.SettingsSchema):
    """The stall and the key to it."""

    stall = fields.String(
        required=True,
        validate=validate.Regexp(r"[a-z0-9-]{1,40}\Z", error="Enter only the part before .larkmart.example."),
        metadata={"label": "Stall", "hint": "For corner.larkmart.example, enter corner."},
    )
    api_key = hub.KeyText(
        required=True,
        metadata={"label": "API key", "hint": "Larkmart > Account > API keys > New key.", "secret": True},
    )
