"""What a merchant enters to connect a WooCommerce shop, and how the address of a WordPress site is understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from marshmallow import ValidationError, fields, validate

import hub


class ShopAddress(fields.String):
    """The address of a WordPress site, as people paste it: with or without https://, or from any page of its admin."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        try:
            return site_address(text)
        except ValueError as error:
            raise ValidationError("Not a web address. Enter it like https://shop.example.") from error


def site_address(text: str) -> str:
    """The site's base address without a trailing slash: "Shop.example/wp-admin/" is "https://shop.example".

    A folder in front of WordPress's own pages is kept. Raises ValueError for what is no web address.
    """
    parts = urlsplit(text if re.match(r"[A-Za-z]+://", text) else f"https://{text}")
    host = _host(parts)
    if (
        parts.scheme not in ("http", "https")
        or not re.fullmatch(r"[a-z0-9.:\[\]-]+", host)
        or parts.username is not None
        or re.search(r"\s", text)
    ):
        raise ValueError(f"{text!r} is not the address of a web site.")
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{_folder(parts)}"


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        return f"[{host}]"
    return host.encode("idna").decode().lower() if host else ""


def _folder(parts: SplitResult) -> str:
    own_page = r"/(?:wp-admin|wp-json|wp-login\.php|index\.php)(?:/.*)?$"
    return re.sub(own_page, "", re.sub(r"//+", "/", parts.path)).rstrip("/")


def same_site(one: str, other: str) -> bool:
    """Whether two addresses mean one shop: behind a proxy it is often wrong about its scheme, its port and "www."."""
    try:
        first, second = urlsplit(site_address(one)), urlsplit(site_address(other))
    except ValueError:
        return False
    return (_bare_host(first), first.path.lower()) == (_bare_host(second), second.path.lower())


def _bare_host(parts: SplitResult) -> str:
    return (parts.hostname or "").removeprefix("www.")


def _key(prefix: str, name: str) -> Any:
    return validate.Regexp(
        rf"{prefix}_[0-9a-zA-Z]+\Z", error=f"This is not a {name}: WooCommerce's begin with “{prefix}_”."
    )


class SiteSettings(hub.SettingsSchema):
    """What is asked of those who connect with one click: the shop itself hands out the key."""

    site = ShopAddress(
        required=True,
        metadata={
            "label": "Address of the shop",
            "hint": "The address of its front page, such as https://shop.example.",
        },
    )


class WooCommerceSettings(SiteSettings):
    """What the connect form asks for."""

    consumer_key = fields.String(
        required=True,
        validate=_key("ck", "consumer key"),
        metadata={
            "label": "Consumer key",
            "hint": "WooCommerce > Settings > Advanced > REST API > Add key, permission Read/Write.",
        },
    )
    consumer_secret = fields.String(
        required=True,
        validate=_key("cs", "consumer secret"),
        metadata={"label": "Consumer secret", "hint": "Shown beside the consumer key, once.", "secret": True},
    )
