"""What the connect forms ask for, and how what people paste into them is understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields

import hub

CLIENT_CREDENTIALS = "client_credentials"
CODE_GRANT = "authorization_code"

_PASTED = re.compile(r"\A(?:https?://)?([a-z0-9][a-z0-9-]*\.myshopify\.com)(?:[/?][!-~]*)?\Z")
_PASTED_ADMIN = re.compile(r"\A(?:https?://)?admin\.shopify\.com/store/([a-z0-9][a-z0-9-]*)(?:[/?][!-~]*)?\Z")
_NAME = re.compile(r"\A([a-z0-9][a-z0-9-]*)\Z")


def shop_domain(text: str) -> str:
    """The shop's own domain, "my-shop.myshopify.com", from what people paste. Raises ValueError."""
    text = text.lower()
    if found := _PASTED.match(text):
        return found[1]
    if found := _PASTED_ADMIN.match(text) or _NAME.match(text):
        return f"{found[1]}.myshopify.com"
    raise ValueError(f"{text!r} is not the address of a Shopify shop.")


class ShopDomain(fields.String):
    """A shop's domain, as people paste it: with https://, from a page of its admin, or its name alone."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        try:
            return shop_domain(str(super()._deserialize(value, attr, data, **kwargs)))
        except ValueError as error:
            raise ValidationError(
                "Not a Shopify address. Enter the one that ends in .myshopify.com: in Shopify it is under "
                "Settings > Domains, also when customers use another one."
            ) from error


class AppSettings(hub.SettingsSchema):
    """The form of those who connect by installing their app: Shopify then asks them in its own words."""

    shop = ShopDomain(
        required=True,
        metadata={
            "label": "Shop address",
            "hint": "It ends in .myshopify.com, such as my-shop.myshopify.com.",
            "placeholder": "my-shop.myshopify.com",
            "signs": True,
        },
    )
    client_id = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Length(min=1, error="Enter the client ID of your app."),
        metadata={"label": "Client ID", "hint": "In the Dev Dashboard, under your app's Settings."},
    )
    client_secret = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Length(min=1, error="Shopify signs its messages with it: it is needed."),
        metadata={
            "label": "Client secret",
            "hint": "Beside the client ID. For an app made in the shop's admin it is called API secret key.",
            "secret": True,
            "signs": True,
        },
    )

    @marshmallow.validates_schema
    def no_token_for_a_secret(self, found: Mapping[str, Any], **_: Any) -> None:
        """Refuse what was probably mixed up."""
        if found["client_secret"].startswith("shpat_"):
            raise ValidationError("This is an access token. The client secret is another text.", "client_secret")


class ShopifySettings(AppSettings):
    """What the connect form asks for, and which of the ways to connect was taken.

    Shopify's messages are still verified after a connection was removed, with what "signs" them.
    """

    client_id = hub.KeyText(
        load_default="",
        metadata={
            "label": "Client ID",
            "hint": "In the Dev Dashboard, under your app's Settings. Leave it empty if you enter an access token.",
        },
    )
    access_token = hub.KeyText(
        load_default="",
        metadata={
            "label": "Access token",
            "hint": "Only for an app made in the shop's admin before 2026: the token that begins with shpat_.",
            "secret": True,
        },
    )
    grant = fields.String(
        load_default=CLIENT_CREDENTIALS,
        validate=marshmallow.validate.OneOf((CLIENT_CREDENTIALS, CODE_GRANT)),
        metadata={"label": "Grant", "hint": "The way in which the app was given its permission.", "hidden": True},
    )
    authorization_code = hub.KeyText(
        load_default="",
        metadata={
            "label": "Authorization code",
            "hint": "What Shopify gave when the app was installed, good for one time.",
            "secret": True,
            "hidden": True,
        },
    )

    @marshmallow.validates_schema
    def belong_together(self, found: Mapping[str, Any], **_: Any) -> None:
        """Refuse what cannot work."""
        if found["access_token"].startswith("shpss_"):
            raise ValidationError("This is a client secret. Access tokens begin with shpat_.", "access_token")
        if not found["client_id"] and not found["access_token"]:
            raise ValidationError("Enter the client ID of your app, or an access token below.", "client_id")
        if found["grant"] == CODE_GRANT and not found["authorization_code"]:
            raise ValidationError("Connect the shop once more: Shopify's permission is missing.", "grant")
