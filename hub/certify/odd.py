"""Odd input of every kind: bodies and values that no vendor should send, and that some vendor does send."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hub.certify.bench import leaves, replaced, short
from hub.certify.contract import expect, fail
from hub.errors import Unreadable

ODD_BODIES: Mapping[str, Callable[[bytes], bytes]] = {
    "nothing": lambda body: b"",
    "white-space": lambda body: b" \r\n\t ",
    "no-json": lambda body: b"<!doctype html><title>Maintenance</title>",
    "half-a-body": lambda body: body[: len(body) // 2],
    "a-body-and-a-half": lambda body: body + body[: len(body) // 2],
    "null": lambda body: b"null",
    "a-number": lambda body: b"7",
    "a-text": lambda body: b'"order"',
    "a-list": lambda body: b"[1, 2]",
    "an-empty-object": lambda body: b"{}",
    "broken-utf-8": lambda body: b'{"id": "\xff\xfe"}',
    "utf-16": lambda body: body.decode().encode("utf-16"),
    "nan": lambda body: b'{"id": NaN, "total": -Infinity}',
    "a-name-twice": lambda body: b'{"id": 1, "id": 2}',
    "deep-nesting": lambda body: b"[" * 100_000,
    "an-endless-number": lambda body: b'{"id": ' + b"9" * 5_000 + b"}",
}

ODD_VALUES: Mapping[str, Any] = {
    "null": None,
    "nought": 0,
    "a-negative-number": -1,
    "a-fraction": 1.5,
    "a-huge-number": 2**63,
    "true": True,
    "an-empty-text": "",
    "a-word": "something",
    "digits-of-another-script": "١٢٣",
    "nul-and-half-a-surrogate": "a\x00\ud83d",
    "a-long-text": "x" * 70_000,
    "a-list": [],
    "an-object": {},
}


def odd_leaves(body: bytes, value: Any) -> list[bytes]:
    """The body once for each of its values, with that one replaced."""
    told = json.loads(body)
    return [json.dumps(replaced(told, path, value)).encode() for path, _ in leaves(told)]


def without_members(body: bytes) -> list[bytes]:
    """The body once for each name in it, with that member left out."""
    told = json.loads(body)
    return [json.dumps(shorter).encode() for shorter in _shortened(told)]


def _shortened(value: Any) -> list[Any]:
    if isinstance(value, dict):
        left_out = [{name: inner for name, inner in value.items() if name != gone} for gone in value]
        inside = [{**value, name: shorter} for name, inner in value.items() for shorter in _shortened(inner)]
        return left_out + inside
    if isinstance(value, list):
        return [
            [*value[:index], shorter, *value[index + 1 :]]
            for index, inner in enumerate(value[:2])  # further rows are like the first ones
            for shorter in _shortened(inner)
        ]
    return []


def reads_or_refuses(read: Callable[[bytes], object], bodies: list[bytes], what: str) -> None:
    """Whatever the body, reading gives something or raises Unreadable."""
    for body in bodies:
        try:
            read(body)
        except Unreadable as error:
            expect(str(error).strip(), f"{what}: it raised Unreadable without a word.")
        except Exception as error:
            fail(f"{what}: it raised {type(error).__name__} ({short(str(error))}) instead of Unreadable.")
