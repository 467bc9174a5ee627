"""Webhooks signed as the Standard Webhooks specification has it: making a signature, and checking one."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

import hub

SECRET_PREFIX = "whsec_"  # noqa: S105 (what every secret begins with, not one)
VERSION = "v1"
TOLERANCE_SECONDS = 300.0


def secret_of(seed: str) -> str:
    """A secret in the form of the specification, always the same for the same text: 32 bytes, whatever its length."""
    return SECRET_PREFIX + base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()


def signature(secret: str, id: str, timestamp: str, body: bytes) -> str:
    """The signature of one message, without its version. Raises ValueError for what is no secret."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    content = f"{id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def headers_for(secret: str, id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers with which a message is sent at a moment."""
    timestamp = str(int(at.timestamp()))
    signed = signature(secret, id, timestamp, body)
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": f"{VERSION},{signed}"}


def message_id(headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> str:
    """The id of a message that is genuine and recent: the same for every attempt to deliver it.

    One of its signatures has to be right; a secret that is being replaced leads to several. Raises Unverified.
    """
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (id and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise hub.Unverified("The webhook carries no id, or no time at which it was sent.")
    expected = signature(secret, id, timestamp, body).rstrip("=").encode()
    given = [each.partition(",") for each in headers.get("webhook-signature", "").split(" ")]
    # Every one is compared, so that the time taken does not tell which of them was close. Padding means nothing.
    right = [hmac.compare_digest(text.rstrip("=").encode("utf-8", "replace"), expected) for _, _, text in given]
    if not any(fits and version == VERSION for fits, (version, _, _) in zip(right, given, strict=True)):
        raise hub.Unverified("The signature does not fit the secret of this connection.")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise hub.Unverified("The webhook was sent more than five minutes ago, or the clocks of both sides disagree.")
    return id
