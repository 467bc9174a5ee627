"""Files at an SFTP server: whom it is told to, what it is told, nothing overwritten, and every failure by its name."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import socket
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Exchange
from hub.sftp import Files
from hub.testing import Fault, FileVendor

HOST = "sftp://files.example:22"


@pytest.fixture
def vendor() -> Iterator[FileVendor]:
    with FileVendor() as vendor:
        vendor.folders |= {"/orders", "/done"}
        yield vendor


@pytest.fixture
def exchanges() -> list[Exchange]:
    return []


@pytest.fixture
def files(vendor: FileVendor, exchanges: list[Exchange]) -> Iterator[Files]:
    made = Files(host=HOST, routes=vendor.routes(), on_exchange=exchanges.append, timeout=(2.0, 2.0))
    made.sign_in("acme", fingerprint=vendor.fingerprint, password="long-and-secret")
    yield made
    made.close()


def steps(vendor: FileVendor) -> list[str]:
    return [f"{request.method} {request.path}" for request in vendor.requests]


def test_a_file_is_written_under_another_name_and_then_given_its_own(vendor: FileVendor, files: Files) -> None:
    files.write("/orders/T-1.csv", b"a,b\r\n1,2\r\n")

    assert {path: file.body for path, file in vendor.files.items()} == {"/orders/T-1.csv": b"a,b\r\n1,2\r\n"}
    assert steps(vendor) == ["STAT /orders/T-1.csv", "PUT /orders/T-1.csv.part", "RENAME /orders/T-1.csv.part"]


def test_nothing_is_ever_overwritten(vendor: FileVendor, files: Files) -> None:
    vendor.put("/orders/T-1.csv", b"first")
    vendor.put("/done/old.csv", b"old")

    with pytest.raises(Rejected, match="is there already") as written:
        files.write("/orders/T-1.csv", b"second")
    with pytest.raises(Rejected, match="is there already") as moved:
        files.move("/done/old.csv", "/orders/T-1.csv")

    assert (written.value.code, moved.value.code) == ("exists", "exists")
    assert vendor.files["/orders/T-1.csv"].body == b"first"
    assert vendor.files["/done/old.csv"].body == b"old"


def test_files_are_listed_read_in_parts_and_moved(vendor: FileVendor, files: Files) -> None:
    vendor.put("/orders/b.csv", bytes(range(256)) * 400)
    vendor.put("/orders/a.csv", b"1")

    assert [(entry.name, entry.size) for entry in files.list("/orders")] == [("a.csv", 1), ("b.csv", 102_400)]
    assert files.read("/orders/b.csv", start=102_398) == b"\xfe\xff"
    assert files.read("/orders/b.csv", start=1, most=3) == b"\x01\x02\x03"
    files.move("/orders/a.csv", "/done/a.csv")
    assert [entry.name for entry in files.list("/done")] == ["a.csv"]
    with pytest.raises(NotFound):
        files.read("/orders/a.csv")


def test_a_server_that_shows_another_key_is_told_nothing(vendor: FileVendor, files: Files) -> None:
    files.sign_in("acme", fingerprint="SHA256:" + "A" * 43, password="long-and-secret")

    with pytest.raises(AuthError, match=f"another key .* entered: {re.escape(vendor.fingerprint)}"):
        files.list("/orders")
    assert steps(vendor) == []


def test_without_a_fingerprint_the_one_that_is_shown_is_told_and_nothing_is_sent(
    vendor: FileVendor, files: Files
) -> None:
    files.sign_in("acme", fingerprint="", password="long-and-secret")

    with pytest.raises(Rejected) as told:
        files.list("/orders")

    assert f"shows the key {vendor.fingerprint} (ssh-ed25519)" in str(told.value)
    assert "enter it as the fingerprint" in str(told.value)
    assert steps(vendor) == []


def test_one_of_several_fingerprints_is_enough(vendor: FileVendor, files: Files) -> None:
    files.sign_in("acme", fingerprint=f"SHA256:other, {vendor.fingerprint}=", password="long-and-secret")

    assert files.list("/orders") == []


def test_a_wrong_password_is_refused_and_the_right_one_works_afterwards(
    vendor: FileVendor, files: Files, exchanges: list[Exchange]
) -> None:
    files.sign_in("acme", fingerprint=vendor.fingerprint, password="wrong-and-secret")
    with pytest.raises(AuthError, match="refused the password"):
        files.list("/orders")

    files.sign_in("acme", fingerprint=vendor.fingerprint, password="long-and-secret")

    assert files.list("/orders") == []
    assert [(each.method, each.url, each.status) for each in exchanges] == [
        ("LIST", f"{HOST}/orders", None),
        ("LIST", f"{HOST}/orders", 0),
    ]
    assert "secret" not in repr(exchanges)


def test_another_way_to_sign_in_is_named(vendor: FileVendor, files: Files) -> None:
    files.sign_in("acme", fingerprint=vendor.fingerprint, private_key=a_key())

    with pytest.raises(AuthError, match="It takes: password"):
        files.list("/orders")


@pytest.mark.parametrize(
    ("fault", "error", "sent"),
    [
        (Fault.status(403), AuthError, None),
        (Fault.status(404), NotFound, None),
        (Fault.status(500), Unavailable, True),
        (Fault.reset(), Unavailable, True),
        (Fault.truncated(), Unavailable, True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_failure_is_told_by_its_name_and_the_next_request_works(
    vendor: FileVendor, files: Files, fault: Fault, error: type[Exception], sent: bool | None
) -> None:
    vendor.put("/orders/a.csv", b"1")
    files.list("/orders")
    vendor.fail_next("/orders", fault)

    with pytest.raises(error) as raised:
        files.read("/orders/a.csv")

    assert getattr(raised.value, "sent", None) is sent
    assert files.read("/orders/a.csv") == b"1"


def test_a_silent_server_is_given_up_in_time(vendor: FileVendor, files: Files) -> None:
    vendor.fail_next("/orders", Fault.half_open())

    with pytest.raises(Unavailable, match="did not answer in time"):
        files.request("LIST", "/orders", timeout=(2.0, 0.2))

    assert files.list("/orders") == []


def test_a_server_that_nobody_reaches_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    files = Files(host=HOST, routes={HOST: f"sftp://127.0.0.1:{port}"}, timeout=(1.0, 1.0))
    files.sign_in("acme", fingerprint="SHA256:x", password="p")

    with pytest.raises(Unavailable, match="could not be reached") as raised:
        files.list("/orders")

    assert raised.value.sent is False


def test_a_private_address_is_not_called_unless_the_operator_allows_it(vendor: FileVendor) -> None:
    address = vendor.serve().replace("127.0.0.1", "localhost")
    files = Files(host=address)
    files.sign_in("acme", fingerprint=vendor.fingerprint, password="long-and-secret")
    with pytest.raises(Rejected, match="private address"):
        files.list("/orders")

    allowed = Files(host=address, private_networks=["127.0.0.0/8", "::1/128"])
    allowed.sign_in("acme", fingerprint=vendor.fingerprint, password="long-and-secret")

    assert allowed.list("/orders") == []
    allowed.close()


@pytest.mark.parametrize("path", ["orders/a.csv", "/orders/../etc/passwd", "/orders/a\n.csv", "/./a"])
def test_a_path_that_leads_elsewhere_is_not_sent(vendor: FileVendor, files: Files, path: str) -> None:
    with pytest.raises(Rejected, match="not the path of a file"):
        files.read(path)
    with pytest.raises(Rejected, match="not the path of a file"):
        files.move("/orders/a.csv", path)

    assert [step for step in steps(vendor) if "RENAME" in step or "READ" in step] == []


@pytest.mark.parametrize("host", ["https://files.example", "sftp://", "sftp://a:b@files.example", "sftp://f.example/x"])
def test_only_a_server_is_a_server(host: str) -> None:
    with pytest.raises(Rejected, match="not a server"):
        Files(host=host)


def test_each_step_is_taken_from_the_budget(vendor: FileVendor) -> None:
    class Spent:
        def acquire(self, cost: float) -> None:
            raise RateLimited("Spent.", 7.0)

        def learn(self, available: float, restore_rate: float, maximum: float) -> None: ...

    files = Files(host=HOST, routes=vendor.routes(), limiter=Spent())

    with pytest.raises(RateLimited):
        files.list("/orders")
    assert steps(vendor) == []


def test_nobody_has_signed_in(vendor: FileVendor) -> None:
    with pytest.raises(Rejected, match="Nobody has signed in"):
        Files(host=HOST, routes=vendor.routes()).list("/orders")


def test_a_private_key_is_read_however_it_was_pasted(vendor: FileVendor) -> None:
    key = a_key()
    for pasted in (key, f"\n  {key}  ", key.replace("\n", ""), key.replace("\n", " ")):
        assert fingerprint_of(pasted) == fingerprint_of(key)


@pytest.mark.parametrize(
    ("text", "passphrase", "told"),
    [("no key", "", "cannot be read"), ("locked", "", "asks for a passphrase"), ("locked", "other", "cannot be read")],
    ids=["no-key", "no-passphrase", "another-passphrase"],
)
def test_a_key_that_cannot_be_used_says_what_to_do(
    vendor: FileVendor, files: Files, text: str, passphrase: str, told: str
) -> None:
    key = a_key("right") if text == "locked" else text
    files.sign_in("acme", fingerprint=vendor.fingerprint, private_key=key, passphrase=passphrase)

    with pytest.raises(AuthError, match=told):
        files.list("/orders")


def a_key(passphrase: str = "") -> str:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a merchant").digest())
    locked: Any = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, locked).decode()


def fingerprint_of(text: str) -> str:
    from hub.sftp import _private_key

    return base64.b64encode(hashlib.sha256(_private_key(text, "").asbytes()).digest()).decode()


def test_the_library_reads_the_key_as_it_is() -> None:
    """What the other tests compare with."""
    assert paramiko.Ed25519Key.from_private_key(io.StringIO(a_key())).get_name() == "ssh-ed25519"
