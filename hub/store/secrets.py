"""Encryption of what the database keeps: AES-256-GCM under a ring of keys, each value bound to its own place."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import zlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.errors import BadInput, HubError

_FORMAT = 1
_NONCE = 12
# Twice the largest answer the HTTP client accepts. A body that unpacks to more was not packed by us.
_MOST_UNPACKED = 64 * 1024 * 1024


class SecretsUnreadable(HubError):
    """A stored secret cannot be decrypted: its key is missing, or the value is damaged or not from this place."""


def new_key() -> str:
    """A fresh key as a line of text, "id:base64 of 32 bytes"."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(AESGCM.generate_key(256)).decode()}"


class KeyRing:
    """Encrypts with the first of its keys and decrypts with whichever one a value names.

    ``keys`` are lines "id:base64 of 32 bytes". ``aad`` names the place of a value, "table:merchant:row:column": a
    value copied to another place cannot be decrypted there. A value is: format, length of the key id, key id, nonce,
    ciphertext with tag. Raises BadInput for a line that is not a key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys: dict[str, AESGCM] = {}
        for number, line in enumerate(keys, start=1):
            key_id, key = _parsed(line, number)
            if key_id in self._keys:
                raise BadInput(f"The secret key id “{key_id}” is there twice. Give each key an id of its own.")
            self._keys[key_id] = key
        if not self._keys:
            raise BadInput("There is no secret key. Make one, or restore the file with the keys from your backup.")
        self._first = next(iter(self._keys))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, the encrypting one first."""
        return tuple(self._keys)

    @property
    def openings(self) -> tuple[bytes, ...]:
        """What every value begins with that one of the keys decrypts: the audit looks for it without decrypting."""
        return tuple(bytes((_FORMAT, len(key_id))) + key_id.encode() for key_id in self._keys)

    def encrypt(self, plaintext: bytes, aad: str) -> bytes:
        """``plaintext`` under the first key, readable only at ``aad``."""
        # 96 random bits per value: one key is good for some four thousand million of them before it should be rotated.
        nonce = secrets.token_bytes(_NONCE)
        key_id = self._first.encode()
        sealed = self._keys[self._first].encrypt(nonce, plaintext, aad.encode())
        return bytes((_FORMAT, len(key_id))) + key_id + nonce + sealed

    def decrypt(self, ciphertext: bytes, aad: str) -> bytes:
        """What was encrypted for ``aad``. Raises SecretsUnreadable."""
        name = key_id_of(ciphertext)
        key = self._keys.get(name)
        if key is None:
            raise SecretsUnreadable(
                f"A stored secret needs the key “{name}”, which is not among the secret keys. "
                "Put that key back; nothing was changed."
            )
        start = 2 + len(name)
        try:
            return key.decrypt(ciphertext[start : start + _NONCE], ciphertext[start + _NONCE :], aad.encode())
        except (InvalidTag, ValueError) as error:
            raise SecretsUnreadable(
                f"A stored secret ({aad}) is damaged or was copied from another row. Enter it again."
            ) from error

    def pack(self, body: bytes, aad: str) -> bytes:
        """A raw body, compressed, then encrypted."""
        return self.encrypt(zlib.compress(body), aad)

    def unpack(self, packed: bytes, aad: str) -> bytes:
        """The raw body of ``pack``. Raises SecretsUnreadable, also when it would unpack beyond all reason."""
        stream = zlib.decompressobj()
        try:
            body = stream.decompress(self.decrypt(packed, aad), _MOST_UNPACKED)
        except zlib.error as error:
            raise SecretsUnreadable(f"A stored body ({aad}) is not compressed the way the hub does it.") from error
        if not stream.eof:
            raise SecretsUnreadable(f"A stored body ({aad}) is cut off or far too large; it was left alone.")
        return body


def key_id_of(ciphertext: bytes) -> str:
    """The id of the key that ``ciphertext`` needs. Raises SecretsUnreadable for anything this module did not write."""
    if len(ciphertext) > 2 and ciphertext[0] == _FORMAT and len(ciphertext) >= 2 + ciphertext[1] + _NONCE:
        try:
            return ciphertext[2 : 2 + ciphertext[1]].decode("ascii")
        except UnicodeDecodeError:
            pass
    raise SecretsUnreadable("A stored secret is not in the form the hub writes. Enter it again, or restore a backup.")


def _parsed(line: str, number: int) -> tuple[str, AESGCM]:
    key_id, separator, text = line.strip().partition(":")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    # The line itself must not be repeated in the message: it is a secret.
    if not separator or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key_id) or len(key) != 32:
        raise BadInput(f"Secret key {number} is not of the form “id:base64 of 32 bytes”. Copy the whole line again.")
    return key_id, AESGCM(key)
