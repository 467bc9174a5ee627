"""Signatures of the Standard Webhooks specification: its own example, and everything that must not pass for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import hub
from hub_3pl import standard_webhooks

# The example of the specification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": ID, "webhook-timestamp": "1614265330", "webhook-signature": f"v1,{SIGNATURE}"}


def test_the_example_of_the_specification_is_signed_as_it_says() -> None:
    assert standard_webhooks.signature(SECRET, ID, "1614265330", BODY) == SIGNATURE
    assert standard_webhooks.headers_for(SECRET, ID, SENT, BODY) == HEADERS
    assert standard_webhooks.message_id(HEADERS, BODY, SECRET, SENT) == ID


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,{'A' * 43}= v1,{SIGNATURE}",
        f"v1,{SIGNATURE} v1,{'A' * 43}=",
        f"v1a,{'A' * 43}= v2,{SIGNATURE} v1,{SIGNATURE}",
        f"v1,{SIGNATURE.rstrip('=')}",
    ],
    ids=["the new secret's second", "the new secret's first", "beside other versions", "without padding"],
)
def test_one_right_signature_of_several_is_enough(signatures: str) -> None:
    headers = {**HEADERS, "webhook-signature": signatures}
    assert standard_webhooks.message_id(headers, BODY, SECRET, SENT) == ID


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": f"v2,{SIGNATURE}"},
        {"webhook-signature": f"v1,{SIGNATURE.lower()}"},
        {"webhook-signature": SIGNATURE},
        {"webhook-signature": f"v1,,{SIGNATURE}"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": ""},
        {"webhook-id": "msg_another"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "-1614265330"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "9" * 4000},
        {"webhook-timestamp": ""},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(hub.Unverified):
        standard_webhooks.message_id({**HEADERS, **changed}, BODY, SECRET, SENT)


def test_another_body_or_another_secret_is_refused() -> None:
    for body, secret in ((BODY + b" ", SECRET), (BODY, standard_webhooks.secret_of("another"))):
        with pytest.raises(hub.Unverified, match="does not fit the secret"):
            standard_webhooks.message_id(HEADERS, body, secret, SENT)


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_five_minutes_either_way_are_forgiven(minutes: int) -> None:
    now = SENT + timedelta(minutes=minutes)
    assert standard_webhooks.message_id(HEADERS, BODY, SECRET, now) == ID


@pytest.mark.parametrize("seconds", [-301, 301])
def test_what_was_sent_long_ago_or_is_yet_to_be_sent_is_refused(seconds: int) -> None:
    with pytest.raises(hub.Unverified, match="more than five minutes ago, or the clocks"):
        standard_webhooks.message_id(HEADERS, BODY, SECRET, SENT + timedelta(seconds=seconds))


def test_a_secret_made_of_any_text_is_as_long_as_it_has_to_be_and_stays_the_same() -> None:
    secret = standard_webhooks.secret_of("x")
    assert secret == "whsec_LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
    assert secret == standard_webhooks.secret_of("x") != standard_webhooks.secret_of("y")
