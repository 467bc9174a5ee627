"""A base for simulated vendors that exchange files: a folder tree behind a real SSH server, failing on request."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.testing.simulator import SimRequest, SimResponse, VendorSimulator

__all__ = ["FileVendor"]

_STATUSES = {
    401: paramiko.SFTP_PERMISSION_DENIED,
    403: paramiko.SFTP_PERMISSION_DENIED,
    404: paramiko.SFTP_NO_SUCH_FILE,
}


@dataclass(slots=True)
class _File:
    body: bytes
    modified: datetime


class FileVendor(VendorSimulator):
    """A simulated vendor at an SFTP server.

    Each step of a client is one request to ``answer``: LIST, READ, STAT, PUT (of a file that is about to be written)
    and RENAME, with the path as its path; so all faults of ``Simulator`` can be planned. SFTP knows few refusals: 401
    and 403 become "permission denied", 404 "no such file", every other status "failure".
    """

    origin = "sftp://files.example:22"
    user = "acme"
    password = "long-and-secret"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.files: dict[str, _File] = {}
        self.folders: set[str] = {"/"}
        self._sshd: _Server | None = None

    def settings(self) -> dict[str, str]:
        """What a merchant is told: where the server is, and how to sign in."""
        host, _, port = self.origin.removeprefix("sftp://").rpartition(":")
        known = {"user": self.user, "password": self.password, "fingerprint": self.fingerprint}
        return {"host": host, "port": port, **known}

    # --- what the vendor does with files

    def put(self, path: str, body: bytes) -> None:
        """Somebody at the vendor puts a file there, whole."""
        with self.lock:
            self.files[path] = _File(body, self.now())

    def arrived(self, path: str) -> None:
        """A client has put a file there, or given one this name: a vendor that takes files overrides it."""

    def looked_at(self, folder: str) -> None:
        """A client is about to list a folder: a vendor that writes its files when they are asked for overrides it."""

    # --- what a client asks

    def answer(self, request: SimRequest) -> SimResponse:
        """What the server answers, after doing what was asked."""
        path = request.path
        if request.method == "LIST":
            self.looked_at(path)
            if path not in self.folders:
                return SimResponse(404)
            inside = {name: each for name, each in self.files.items() if _folder(name) == path}
            return SimResponse.of_json([_attributes(name, each) for name, each in inside.items()])
        if request.method == "PUT":
            if _folder(path) not in self.folders:
                return SimResponse(404)
            self.files[path] = _File(b"", self.now())
            return SimResponse()
        if path not in self.files:
            return SimResponse(404)
        if request.method == "STAT":
            return SimResponse.of_json(_attributes(path, self.files[path]))
        if request.method == "READ":
            return SimResponse(body=self.files[path].body)
        to = request.parameter("to")
        if to in self.files:
            return SimResponse(409)
        self.files[to] = self.files.pop(path)
        self.arrived(to)
        return SimResponse()

    def written(self, path: str, start: int, block: bytes) -> None:
        """A block of a file that was opened by PUT has come."""
        with self.lock:
            body = self.files[path].body
            self.files[path] = _File(body[:start] + block + body[start + len(block) :], self.now())

    # --- the server around it

    @property
    def fingerprint(self) -> str:
        """That of the server's key, as a merchant is told it."""
        digest = hashlib.sha256(_host_key().asbytes()).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def serve(self, port: int = 0) -> str:
        """Serve on 127.0.0.1 from background threads until ``close``; returns the address."""
        with self.lock:
            if self._sshd is None:
                self._sshd = _Server(self, port)
            return self._sshd.address

    def close(self) -> None:
        """Stop serving."""
        super().close()
        if self._sshd is not None:
            self._sshd.stop()

    def silent(self) -> None:
        """Say nothing until ``close``: what a connection does that stays open for nothing."""
        self._closed.wait()


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _attributes(path: str, file: _File) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    return {"name": name, "size": len(file.body), "modified": int(file.modified.timestamp())}


@functools.cache
def _host_key() -> paramiko.PKey:
    """Made once per process: what it is does not matter, only that it stays the same."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a simulated server").digest())
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text.decode()))


class _Server:
    """The thin SSH server around a simulated vendor."""

    def __init__(self, vendor: FileVendor, port: int) -> None:
        self._vendor = vendor
        self._listening = socket.create_server(("127.0.0.1", port))
        self.address = f"sftp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = paramiko.Transport(connected)
            transport.add_server_key(_host_key())
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Steps, self._vendor, transport)
            self._transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(threading.Event(), _Door(self._vendor))

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        self._listening.close()
        self._thread.join(2.0)
        for transport in self._transports:
            transport.close()


class _Door(paramiko.ServerInterface):  # type: ignore[misc]  # the library is untyped
    """Who may come in."""

    def __init__(self, vendor: FileVendor) -> None:
        self._vendor = vendor

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> Any:
        known = (username, password) == (self._vendor.user, self._vendor.password)
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> Any:
        return paramiko.OPEN_SUCCEEDED


class _Steps(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """A client's steps, handed to the vendor one by one."""

    def __init__(self, server: _Door, vendor: FileVendor, transport: paramiko.Transport) -> None:
        super().__init__(server)
        self._vendor = vendor
        self._transport = transport

    def _ask(self, method: str, path: str, read: Callable[[SimResponse], Any], to: str = "") -> Any:
        """What ``read`` makes of the answer, or the number of a refusal."""
        query = (("to", to),) if to else ()
        response = self._vendor.handle(SimRequest(method, path, query))
        if response.broken:
            if response.broken == "silent":
                self._vendor.silent()
            self._transport.close()
            return paramiko.SFTP_FAILURE
        if not 200 <= response.status < 300:
            return _STATUSES.get(response.status, paramiko.SFTP_FAILURE)
        try:
            return read(response)
        except (ValueError, TypeError, KeyError):
            return paramiko.SFTP_FAILURE  # it was to be another answer

    def list_folder(self, path: str) -> Any:
        return self._ask("LIST", path, lambda response: [_sftp(each) for each in json.loads(response.body)])

    def lstat(self, path: str) -> Any:
        return self._ask("STAT", path, lambda response: _sftp(json.loads(response.body)))

    stat = lstat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
        if flags & 3:  # for writing
            return self._ask("PUT", path, lambda _: _Open(self._vendor, path, b""))
        return self._ask("READ", path, lambda response: _Open(self._vendor, path, response.body))

    def rename(self, oldpath: str, newpath: str) -> Any:
        return self._ask("RENAME", oldpath, lambda _: paramiko.SFTP_OK, to=newpath)


class _Open(paramiko.SFTPHandle):  # type: ignore[misc]
    """A file that a client has opened."""

    def __init__(self, vendor: FileVendor, path: str, body: bytes) -> None:
        super().__init__()
        self._vendor = vendor
        self._path = path
        self._body = body

    def read(self, offset: int, length: int) -> Any:
        return self._body[offset : offset + length] or paramiko.SFTP_EOF

    def write(self, offset: int, data: bytes) -> Any:
        self._vendor.written(self._path, offset, data)
        return paramiko.SFTP_OK

    def stat(self) -> Any:
        return _sftp({"name": "", "size": len(self._body), "modified": int(datetime.now(UTC).timestamp())})


def _sftp(file: dict[str, Any]) -> paramiko.SFTPAttributes:
    attributes = paramiko.SFTPAttributes()
    attributes.filename = file["name"]
    attributes.st_size = file["size"]
    attributes.st_mtime = attributes.st_atime = file["modified"]
    attributes.st_mode = 0o100644
    return attributes
