"""What a simulated WooCommerce shop says no with, and how it reads the parameters of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hub.testing.simulator import SimRequest

# Status, what the body holds, further headers.
Answer: TypeAlias = tuple[int, Any, Mapping[str, str]]


class Refusal(Exception):
    """What WooCommerce answers instead of doing it."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": code, "message": message, "data": {"status": status, **more}}


def invalid(name: str, code: str, message: str, details: Any = None) -> Refusal:
    return Refusal(
        400,
        "rest_invalid_param",
        f"Invalid parameter(s): {name}",
        params={name: message},
        details={name: {"code": code, "message": message, "data": details}},
    )


def gone(kind: str, status: int = 404) -> Refusal:
    return Refusal(status, f"woocommerce_rest_{kind}_invalid_id", "Invalid ID.")


def stranger(request: SimRequest) -> Refusal:
    """A wrong key, a missing one, and one whose user may not: all get the same answer."""
    if request.method == "GET":
        return Refusal(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
    return Refusal(401, "woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource.")


def unauthenticated(message: str) -> Refusal:
    return Refusal(401, "woocommerce_rest_authentication_error", message)


# ---------------------------------------------------------------- parameters and answers


def number(request: SimRequest, name: str, default: int, *, low: int, high: int | None = None) -> int:
    text = request.parameter(name)
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]+", text):
        raise invalid(name, "rest_invalid_type", f"{name} is not of type integer.", {"param": name})
    if high is not None and not low <= int(text) <= high:
        message = f"{name} must be between {low} (inclusive) and {high} (inclusive)"
        raise invalid(name, "rest_out_of_bounds", message)
    if int(text) < low:
        raise invalid(name, "rest_out_of_bounds", f"{name} must be greater than or equal to {low}")
    return int(text)


def choice(request: SimRequest, name: str, default: str, choices: Sequence[str]) -> str:
    text = request.parameter(name, default)
    if text not in choices:
        raise invalid(name, "rest_not_in_enum", f"{name} is not one of {listed(choices)}.")
    return text


def listed(choices: Sequence[str]) -> str:
    return f"{', '.join(choices[:-1])}, and {choices[-1]}"
