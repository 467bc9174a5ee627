"""Secrets at rest: bound to their place, readable with any key of the ring, refused when damaged."""

from __future__ import annotations

import zlib

import pytest

from hub.errors import BadInput
from hub.store.secrets import KeyRing, SecretsUnreadable, key_id_of, new_key

PLACE = "connection:m1:c1:secrets"


def test_reads_back_what_it_encrypted() -> None:
    ring = KeyRing([new_key()])

    sealed = ring.encrypt(b"shpat_not_for_eyes", PLACE)

    assert b"shpat" not in sealed
    assert ring.decrypt(sealed, PLACE) == b"shpat_not_for_eyes"


def test_never_encrypts_the_same_value_to_the_same_bytes() -> None:
    ring = KeyRing([new_key()])

    assert ring.encrypt(b"token", PLACE) != ring.encrypt(b"token", PLACE)


def test_refuses_a_value_that_was_copied_to_another_merchants_row() -> None:
    ring = KeyRing([new_key()])
    sealed = ring.encrypt(b"token", PLACE)

    with pytest.raises(SecretsUnreadable, match="copied from another row"):
        ring.decrypt(sealed, "connection:m2:c1:secrets")


def test_encrypts_with_the_first_key_and_still_reads_what_an_older_one_wrote() -> None:
    old, new = new_key(), new_key()
    sealed_before = KeyRing([old]).encrypt(b"token", PLACE)
    ring = KeyRing([new, old])

    assert ring.decrypt(sealed_before, PLACE) == b"token"
    assert key_id_of(ring.encrypt(b"token", PLACE)) == new.split(":")[0] == ring.key_ids[0]


def test_names_the_missing_key_and_reads_again_once_it_is_back() -> None:
    old, new = new_key(), new_key()
    sealed = KeyRing([old]).encrypt(b"token", PLACE)

    with pytest.raises(SecretsUnreadable, match=f"“{old.split(':')[0]}”"):
        KeyRing([new]).decrypt(sealed, PLACE)

    assert KeyRing([new, old]).decrypt(sealed, PLACE) == b"token"


@pytest.mark.parametrize("place", [0, 1, 2, -1, 20])
def test_refuses_every_damaged_byte(place: int) -> None:
    ring = KeyRing([new_key()])
    sealed = bytearray(ring.encrypt(b"token", PLACE))
    sealed[place] ^= 0x80

    with pytest.raises(SecretsUnreadable):
        ring.decrypt(bytes(sealed), PLACE)


@pytest.mark.parametrize(
    "text", [b"", b"\x01", b"\x01\x05abc", b"plain text that nobody encrypted", b"\x01\xff" + b"x" * 40]
)
def test_refuses_what_it_never_wrote(text: bytes) -> None:
    with pytest.raises(SecretsUnreadable):
        KeyRing([new_key()]).decrypt(text, PLACE)


def test_packs_a_body_smaller_and_unpacks_it_unchanged() -> None:
    ring = KeyRing([new_key()])
    body = b'{"id": 1, "line_items": []}' * 400

    packed = ring.pack(body, PLACE)

    assert len(packed) < len(body) / 10
    assert ring.unpack(packed, PLACE) == body
    assert ring.unpack(ring.pack(b"", PLACE), PLACE) == b""


def test_refuses_to_unpack_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.store.secrets._MOST_UNPACKED", 10_000)
    ring = KeyRing([new_key()])

    with pytest.raises(SecretsUnreadable, match="far too large"):
        ring.unpack(ring.pack(b"0" * 10_001, PLACE), PLACE)
    assert ring.unpack(ring.pack(b"0" * 10_000, PLACE), PLACE) == b"0" * 10_000


def test_refuses_a_packed_body_that_is_cut_off_or_not_compressed() -> None:
    ring = KeyRing([new_key()])

    with pytest.raises(SecretsUnreadable, match="cut off"):
        ring.unpack(ring.encrypt(zlib.compress(b"order" * 100)[:-3], PLACE), PLACE)
    with pytest.raises(SecretsUnreadable, match="not compressed"):
        ring.unpack(ring.encrypt(b"order", PLACE), PLACE)


@pytest.mark.parametrize(
    "line", ["", "nocolon", "id:c2hvcnQ=", "id:not base64!", "bad id:" + "A" * 43 + "=", ":" + "A" * 43 + "="]
)
def test_refuses_a_line_that_is_no_key_without_repeating_it(line: str) -> None:
    with pytest.raises(BadInput) as refused:
        KeyRing([new_key(), line])

    assert str(refused.value) == "Secret key 2 is not of the form “id:base64 of 32 bytes”. Copy the whole line again."


def test_refuses_an_empty_ring_and_two_keys_of_one_id() -> None:
    key = new_key()

    with pytest.raises(BadInput, match="no secret key"):
        KeyRing([])
    with pytest.raises(BadInput, match="twice"):
        KeyRing([key, key])
