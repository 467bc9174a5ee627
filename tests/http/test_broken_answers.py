"""The client against wires that break: what is certain not to have been sent, what is unclear, and that it recovers."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.errors import Unavailable
from hub.http import Client
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator

SHOP = "http://shop.example"
BROKEN = "The connection to shop.example broke before its answer was complete. It will be tried again."
LATE = "shop.example did not answer in time. It will be tried again."
UNREACHED = "shop.example could not be reached. It will be tried again."

EMPTY = "shop.example answered 200 with something else than JSON. The body is empty. It will be asked again."

GOOD = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n{"ok":true}'


class Wire:
    """A listening socket that answers each connection with the next script; the last one is repeated."""

    def __init__(self, *scripts: Callable[[socket.socket], None]) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(10.0)
                    self.requests.append(_request(connection))
                    script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                    script(connection)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join()
        self._listener.close()


def _request(connection: socket.socket) -> bytes:
    """One whole request: closing with something unread would reset the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def say(*parts: bytes) -> Callable[[socket.socket], None]:
    """A script that sends the parts and closes the connection."""

    def script(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return script


def reset_after(part: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.sendall(part)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def drip(start: bytes, piece: bytes, pause: float) -> Callable[[socket.socket], None]:
    """A script that never falls silent for long, and never ends."""

    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        pausing = threading.Event()
        for _ in range(400):
            connection.sendall(piece)
            pausing.wait(pause)

    return script


def stall(start: bytes) -> Callable[[socket.socket], None]:
    """A script that falls silent until the other side has given up."""

    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.recv(1)

    return script


def client_for(wire: Wire, timeout: tuple[float, float] = (5.0, 10.0)) -> Client:
    return Client(hosts=[SHOP], routes={SHOP: wire.address}, timeout=timeout, max_bytes=100_000)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        pytest.param(say(), BROKEN, id="closed without an answer"),
        pytest.param(reset_after(b""), BROKEN, id="reset without an answer"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Le"), EMPTY, id="closed in the headers"),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), BROKEN, id="closed in the body"),
        pytest.param(reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), BROKEN, id="reset in the body"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), BROKEN, id="closed in a chunk"
        ),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), BROKEN, id="no last chunk"
        ),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"), BROKEN, id="no chunk size"
        ),
        pytest.param(say(b"\x16\x03\x01 not http at all\r\n\r\n"), BROKEN, id="another protocol"),
        pytest.param(say(b"HTTP/1.1 two hundred OK\r\n\r\n"), BROKEN, id="no status"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 200 + b"\r\n"), BROKEN, id="more than 100 headers"
        ),
        pytest.param(say(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n"), BROKEN, id="a 70 KB header"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"),
            BROKEN,
            id="no gzip",
        ),
        pytest.param(
            say(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"
                + gzip.compress(b'{"ok":true}', mtime=0)[:20]
            ),
            None,
            id="half a gzip",
        ),
        pytest.param(stall(b""), LATE, id="silence"),
        pytest.param(stall(b"HTTP/1.1 200 OK\r\n"), LATE, id="silence in the headers"),
        pytest.param(stall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), LATE, id="silence in the body"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"x" * 200_000),
            "shop.example answered with more than 100000 bytes, which are not read.",
            id="too large",
        ),
        pytest.param(
            drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000, 0.0),
            "shop.example answered with more than 100000 bytes, which are not read.",
            id="without end",
        ),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(b"0" * 50_000_000)),
            "shop.example answered with more than 100000 bytes, which are not read.",
            id="gzip bomb",
        ),
    ],
)
def test_an_answer_that_breaks_leaves_the_outcome_unclear_and_the_next_request_gets_through(
    script: Callable[[socket.socket], None], sentence: str | None
) -> None:
    with Wire(script, say(GOOD)) as wire:
        client = client_for(wire)
        patience = (5.0, 0.2) if sentence == LATE else None
        with pytest.raises(Unavailable) as caught:
            client.post(SHOP + "/orders", json={"id": 7}, timeout=patience).json()
        assert caught.value.sent is True
        if sentence is not None:
            assert str(caught.value) == sentence
        assert wire.requests[0].startswith(b"POST /orders HTTP/1.1\r\n")

        assert client.post(SHOP + "/orders", json={"id": 7}).json() == {"ok": True}
        client.close()


def test_an_answer_that_drips_for_ever_is_given_up() -> None:
    with Wire(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"x", 0.02)) as wire:
        client = Client(hosts=[SHOP], routes={SHOP: wire.address}, max_seconds=0.3)
        with pytest.raises(Unavailable, match=r"shop.example took longer than 0 s to answer.") as caught:
            client.get(SHOP + "/orders")
        assert caught.value.sent is True
        client.close()


@pytest.mark.parametrize("address", [b"https://elsewhere.example/", b"http://[", b"\xff"])
def test_an_answer_that_only_sends_us_elsewhere_is_not_read_further_than_any_other(address: bytes) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 100001\r\n\r\n" % address
    with Wire(say(head, b"x" * 100_001)) as wire:
        client = client_for(wire)
        with pytest.raises(Unavailable, match=r"shop.example answered with more than 100000 bytes"):
            client.get(SHOP + "/orders")
        client.close()


def test_an_answer_may_be_as_large_as_is_allowed_and_come_in_pieces() -> None:
    body = b'"' + b"x" * 99_998 + b'"'
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:7], body[7:50_000], body[50_000:])]
    with Wire(say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n")) as wire:
        client = client_for(wire)
        assert client.get(SHOP + "/orders").body == body
        client.close()


def test_a_compressed_answer_is_unpacked() -> None:
    packed = gzip.compress(b'{"ok": true}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with Wire(say(head, packed)) as wire:
        client = client_for(wire)
        assert client.get(SHOP + "/orders").json() == {"ok": True}
        client.close()


def test_a_timeout_can_be_given_per_request() -> None:
    with Wire(stall(b""), say(GOOD)) as wire:
        client = client_for(wire, timeout=(5.0, 60.0))
        with pytest.raises(Unavailable, match=r"did not answer in time"):
            client.get(SHOP + "/orders", timeout=(5.0, 0.1))
        client.close()


# ---------------------------------------------------------------- never sent


def test_a_closed_port_means_that_nothing_was_sent() -> None:
    with Wire(say(GOOD)) as wire:
        address = wire.address
    client = Client(hosts=[SHOP], routes={SHOP: address}, timeout=(1.0, 1.0))
    with pytest.raises(Unavailable) as caught:
        client.post(SHOP + "/orders")
    assert caught.value.sent is False
    assert str(caught.value) == UNREACHED


def test_a_name_that_cannot_be_resolved_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    client = Client(hosts=[SHOP])
    with pytest.raises(Unavailable) as caught:
        client.post(SHOP + "/orders")
    assert caught.value.sent is False
    assert str(caught.value) == UNREACHED


def test_a_name_without_an_address_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(Unavailable) as caught:
        Client(hosts=[SHOP]).post(SHOP + "/orders")
    assert caught.value.sent is False


def test_a_full_backlog_means_that_nothing_was_sent() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # nobody accepts: the kernel lets further connections hang
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        client = Client(
            hosts=[SHOP], routes={SHOP: f"http://127.0.0.1:{listener.getsockname()[1]}"}, timeout=(0.2, 5.0)
        )
        with pytest.raises(Unavailable) as caught:
            client.post(SHOP + "/orders")
    assert caught.value.sent is False
    assert str(caught.value) == UNREACHED


# ---------------------------------------------------------------- TLS


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "shop.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(
    self_signed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str | None] = []
    received: list[bytes] = []
    self_signed.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    def handshake(connection: socket.socket) -> None:
        with self_signed.wrap_socket(connection, server_side=True) as tls:
            received.append(tls.recv(65_536))

    # The name leads to this machine, which the operator allows: the whole way is walked as for a real vendor.
    with _Listener(handshake) as port:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
        )
        shop = f"https://shop.example:{port}"
        client = Client(hosts=[shop], private_networks=["127.0.0.0/8"], timeout=(2.0, 2.0))
        with pytest.raises(Unavailable) as caught:
            client.post(shop + "/orders", auth=("ck", "cs"))
        client.close()

    assert caught.value.sent is False
    assert str(caught.value) == "The TLS certificate of shop.example is not valid: nothing was sent."
    assert asked_for == ["shop.example"]
    assert received == []


def test_a_server_without_tls_gets_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with _Listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
        )
        shop = f"https://shop.example:{port}"
        client = Client(hosts=[shop], private_networks=["127.0.0.0/8"], timeout=(2.0, 2.0))
        with pytest.raises(Unavailable, match=r"broke before its answer was complete"):
            client.post(shop + "/orders")
        client.close()


@contextlib.contextmanager
def _Listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which one connection is served without waiting for a request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


# ---------------------------------------------------------------- keeping connections


class Counting(Simulator):
    origin = SHOP

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse.of_json({"n": len(self.requests)})


def test_a_kept_connection_that_the_vendor_has_closed_is_replaced() -> None:
    with Counting() as vendor:
        client = Client(hosts=[SHOP], routes={SHOP: vendor.serve()})
        assert client.get(SHOP + "/").json() == {"n": 1}
        vendor.fail_next("/", Fault.truncated())
        with pytest.raises(Unavailable):
            client.get(SHOP + "/")
        assert client.get(SHOP + "/").json() == {"n": 3}
        client.close()
