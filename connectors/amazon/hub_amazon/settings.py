"""What the connect forms of both Amazon connectors ask for, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields

import hub
from hub.connector import QueueAddress
from hub_amazon.marketplaces import BY_CODE, Marketplace, Region

_QUEUE = re.compile(r"https://sqs\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com/([0-9]{12})/([A-Za-z0-9_-]{1,80})")


# ---------------------------------------------------------------- fields


class MarketplaceCodes(fields.String):
    """Marketplaces as people write them: "de, fr", "GB"; kept as "DE, FR"."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        words = re.split(r"[\s,;]+", str(super()._deserialize(value, attr, data, **kwargs)).upper())
        codes = list(dict.fromkeys("UK" if word == "GB" else word for word in words if word))
        if not codes:
            raise ValidationError("Enter at least one marketplace, such as DE.")
        if unknown := [code for code in codes if code not in BY_CODE]:
            raise ValidationError(f"Amazon has no marketplace {unknown[0][:20]}. Those it has: {', '.join(BY_CODE)}.")
        if len({BY_CODE[code].region for code in codes}) > 1:
            raise ValidationError(
                "These marketplaces belong to different regions. An account has one region: make a connection of each."
            )
        return ", ".join(codes)


class QueueUrl(hub.KeyText):
    """The address of an SQS queue, "" for none."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        url = super()._deserialize(value, attr, data, **kwargs)
        if url.endswith(".fifo"):
            raise ValidationError("Amazon sends no messages to a FIFO queue. Make a standard queue.")
        if url and not _QUEUE.fullmatch(url):
            raise ValidationError(
                "Not the URL of a queue. Copy it from the queue's page in the AWS console; it looks like "
                "https://sqs.eu-west-1.amazonaws.com/123456789012/tallyhub."
            )
        return url


# ---------------------------------------------------------------- forms


class _App(hub.SettingsSchema):
    """The application that asks, and the marketplaces that it asks for."""

    marketplaces = MarketplaceCodes(
        required=True,
        metadata={
            "label": "Marketplaces",
            "hint": "Country codes of the marketplaces you sell in, all of one region, such as DE, FR, IT.",
            "placeholder": "DE, FR",
        },
    )
    client_id = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Length(min=1, error="Enter the client ID of your application."),
        metadata={
            "label": "Client ID",
            "hint": "In the Solution Provider Portal, under your application's LWA credentials. It begins with "
            "amzn1.application-oa2-client.",
        },
    )
    client_secret = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Length(min=1, error="Enter the client secret of your application."),
        metadata={
            "label": "Client secret",
            "hint": "Beside the client ID. Amazon wants it replaced every 180 days.",
            "secret": True,
        },
    )


class _Queue(hub.SettingsSchema):
    """The queue in which Amazon leaves what it has to tell; all three fields or none."""

    queue_url = QueueUrl(
        load_default="",
        metadata={
            "label": "Queue URL",
            "hint": "An Amazon SQS queue of this connection alone, in which Amazon leaves its notifications. Without "
            "one, changes are found up to a few minutes later.",
            "placeholder": "https://sqs.eu-west-1.amazonaws.com/123456789012/tallyhub",
        },
    )
    queue_key_id = hub.KeyText(
        load_default="",
        metadata={
            "label": "Queue access key ID",
            "hint": "Of an AWS user that may read from this queue and delete there, and nothing else.",
        },
    )
    queue_secret = hub.KeyText(
        load_default="",
        metadata={"label": "Queue secret access key", "hint": "Shown once when the key is made.", "secret": True},
    )

    @marshmallow.validates_schema
    def queue_with_its_key(self, found: Mapping[str, Any], **_: Any) -> None:
        """Refuse a queue that cannot be opened."""
        if found["queue_url"]:
            for name in ("queue_key_id", "queue_secret"):
                if not found[name]:
                    raise ValidationError("The queue is opened with it: it is needed.", name)


_APPLICATION_ID = {
    "label": "Application ID",
    "hint": "In the Solution Provider Portal, beside the application's name. It begins with amzn1.sp.solution.",
}


class AppSettings(_Queue, _App):
    """The form of those who connect by giving their permission at Seller Central."""

    application_id = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Regexp(
            r"amzn1\.[ -~]+", error="Enter the application ID. It begins with amzn1.sp.solution."
        ),
        metadata=_APPLICATION_ID,
    )


class _Permission(hub.SettingsSchema):
    """Whose account it is, and what proves that its owner agreed."""

    seller_id = hub.KeyText(
        required=True,
        validate=marshmallow.validate.Regexp(r"\A[A-Z0-9]{8,20}\Z", error="Not a merchant token, such as A3EXAMPLE9S."),
        metadata={
            "label": "Merchant token",
            "hint": "In Seller Central under Settings > Account Info > Merchant Token.",
        },
    )
    refresh_token = hub.KeyText(
        load_default="",
        metadata={
            "label": "Refresh token",
            "hint": "Shown when you authorize your application for your own account. It begins with Atzr|.",
            "secret": True,
        },
    )
    authorization_code = hub.KeyText(
        load_default="",
        metadata={
            "label": "Authorization code",
            "hint": "What Amazon gave at Seller Central, good for one time.",
            "secret": True,
            "hidden": True,
        },
    )
    application_id = hub.KeyText(load_default="", metadata={**_APPLICATION_ID, "hidden": True})

    @marshmallow.validates_schema
    def permitted(self, found: Mapping[str, Any], **_: Any) -> None:
        """Refuse what cannot work."""
        if not found["refresh_token"] and not found["authorization_code"]:
            raise ValidationError("Enter the refresh token of your application.", "refresh_token")


class AmazonSettings(_Queue, _Permission, _App):
    """What the connect form asks for; a code takes the place of the refresh token where Seller Central was asked."""


# ---------------------------------------------------------------- what follows from them


def marketplaces(settings: Mapping[str, Any]) -> tuple[Marketplace, ...]:
    """The marketplaces of a connection, in the order in which they were entered."""
    return tuple(BY_CODE[code] for code in settings["marketplaces"].split(", "))


def region(settings: Mapping[str, Any]) -> Region:
    """The region they all belong to."""
    return marketplaces(settings)[0].region


def hosts(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a connection talks to."""
    here = region(settings)
    return (here.host, LOGIN, *here.document_hosts)


LOGIN = "https://api.amazon.com"


def queue_address(settings: Mapping[str, Any]) -> QueueAddress | None:
    """The queue of a connection, None where none was entered."""
    found = _QUEUE.fullmatch(settings["queue_url"])
    if found is None:
        return None
    return QueueAddress(settings["queue_url"], found[1], settings["queue_key_id"], settings["queue_secret"])


def queue_arn(url: str) -> str:
    """What Amazon calls a queue, by its address."""
    found = _QUEUE.fullmatch(url)
    if found is None:
        raise ValueError(f"{url!r} is not the URL of a queue.")
    return f"arn:aws:sqs:{found[1]}:{found[2]}:{found[3]}"
