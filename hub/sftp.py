"""Files at a vendor's SFTP server: four things to do with them, bound to one server whose key is known."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import ipaddress
import logging
import re
import socket
import stat
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import paramiko
import requests

from hub.errors import AuthError, ConnectorError, NotFound, Rejected, Unavailable
from hub.http import Exchange, ForbiddenAddress, Limiter, Redactor, addresses_of

__all__ = ["FileEntry", "Files"]

MAX_BYTES = 32 * 1024 * 1024  # of one reading, and of a file that is written
MAX_SECONDS = 60.0  # for one request; the read timeout only bounds one silence
EXISTS = "exists"  # the code of Rejected where a file would have been overwritten
_BLOCK = 32 * 1024  # what every server takes in one packet
_KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what goes wrong is raised, and told once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as a folder lists it. ``modified`` is by the server's clock, to the second."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class _SignIn:
    user: str
    password: str
    private_key: str
    passphrase: str
    fingerprints: tuple[str, ...]


class Files:
    """The files of one connection, at one server, and nowhere else.

    ``host`` is where, as "sftp://host:port". ``routes`` and ``private_networks`` as with ``hub.Client``: a route leads
    elsewhere (a simulator) without the check of addresses, the key of the server is checked all the same. ``timeout``
    is (connect, read) in seconds. The first request connects, and the connection stays open until ``close``. Raises the
    errors of ``hub.errors``; never tries again.
    """

    def __init__(
        self,
        *,
        host: str,
        routes: Mapping[str, str] | None = None,
        private_networks: Sequence[str] = (),
        limiter: Limiter | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        timeout: tuple[float, float] = (5.0, 20.0),
    ) -> None:
        self.limiter = limiter
        self.host, self._name, self._port = _server(host)
        route = {_server(vendor)[0]: target for vendor, target in (routes or {}).items() if _is_sftp(vendor)}
        self._route = route.get(self.host)
        self._allowed = tuple(ipaddress.ip_network(network) for network in private_networks)
        self._on_exchange = on_exchange
        self._timeout = timeout
        self._redactor = Redactor()
        self._sign_in: _SignIn | None = None
        self._session: tuple[paramiko.Transport, paramiko.SFTPClient] | None = None

    # --- who it is

    def sign_in(
        self, user: str, *, fingerprint: str, password: str = "", private_key: str = "", passphrase: str = ""
    ) -> None:
        """Say by whom the files are asked for: with a key where there is one, otherwise with a password.

        ``fingerprint`` is that of the server's own key, as ``ssh-keygen -l`` writes it ("SHA256:…"); several may be
        given, parted by spaces. To a server that shows another one nothing is told, and least of all a password.
        """
        for secret in (password, passphrase, private_key):
            self.redact(secret)
        fingerprints = tuple(_plain(each) for each in fingerprint.replace(",", " ").split())
        wanted = _SignIn(user, password, private_key, passphrase, fingerprints)
        if wanted != self._sign_in:
            self.close()
            self._sign_in = wanted

    def redact(self, value: str) -> None:
        """From now on ``value`` is masked in exchanges and messages."""
        self._redactor.add(value)

    def close(self) -> None:
        """Close the connection, if one is open."""
        session, self._session = self._session, None
        if session is not None:
            session[0].close()

    # --- what can be done

    def list(self, folder: str) -> list[FileEntry]:
        """The files in a folder, by name; folders are left out. Raises NotFound where there is no such folder."""
        found: list[FileEntry] = self.request("LIST", folder)
        return found

    def read(self, path: str, *, most: int = MAX_BYTES, start: int = 0) -> bytes:
        """At most ``most`` bytes of a file, from ``start``; fewer only at its end. Raises NotFound."""
        body: bytes = self.request("READ", path, start=start, most=min(most, MAX_BYTES))
        return body

    def write(self, path: str, body: bytes) -> None:
        """Make a file: written under another name, then given its own, so that nobody meets a half of it.

        Raises Rejected with the code "exists" where there is a file of this name.
        """
        if len(body) > MAX_BYTES:
            raise Rejected(f"{path} would have {len(body):,} bytes: {MAX_BYTES:,} at most are written.")
        self._refuse_to_overwrite(path)
        self.request("PUT", f"{path}.part", body=body)
        self.request("RENAME", f"{path}.part", to=path)

    def move(self, path: str, to: str) -> None:
        """Give a file another name, in whatever folder. Raises NotFound, and Rejected ("exists") as ``write`` does."""
        self._refuse_to_overwrite(to)
        self.request("RENAME", path, to=to)

    def _refuse_to_overwrite(self, path: str) -> None:
        try:
            self.request("STAT", path)
        except NotFound:
            return
        raise Rejected(f"{path} is there already: nothing is overwritten.", EXISTS)

    # --- one request

    def request(self, method: str, path: str, *, timeout: tuple[float, float] | None = None, **options: Any) -> Any:
        """One step at the server; everything above is made of these.

        AuthError: another key, refused credentials, no permission. NotFound: no such file. Unavailable: whatever else
        goes wrong, with ``sent`` telling whether the server may have done it.
        """
        if self.limiter is not None:
            self.limiter.acquire(1.0)
        started = time.monotonic()
        error = ""
        status: int | None = None
        read = written = 0
        try:
            _checked_path(path)
            sftp = self._connected(timeout or self._timeout)
            sftp.get_channel().settimeout((timeout or self._timeout)[1])
            found = _STEPS[method](sftp, path, **options)
            status = 0
            read = len(found) if isinstance(found, bytes) else 0
            written = len(options.get("body", b""))
        except ConnectorError as told:
            error = str(told)
            raise
        except (paramiko.SSHException, EOFError, OSError, ValueError) as failure:
            refusal, status = self._refusal(path, failure)
            error = str(refusal)
            raise refusal from failure
        finally:
            self._record(method, path, status, time.monotonic() - started, written, read, error)
        return found

    def _refusal(self, path: str, failure: Exception) -> tuple[ConnectorError, int | None]:
        """What a failure means, and the server's own number of it, None where it gave no answer."""
        # paramiko makes an OSError of every refusal the server words; those of the socket are of its subclasses.
        answered = type(failure) in (OSError, FileNotFoundError, PermissionError) and isinstance(failure, OSError)
        if not answered or failure.errno not in (None, errno.ENOENT, errno.EACCES):  # type: ignore[attr-defined]
            self.close()
            if isinstance(failure, TimeoutError):
                return Unavailable(f"{self._name} did not answer in time. It will be tried again."), None
            return Unavailable(f"The connection to {self._name} broke. It will be tried again."), None
        number = failure.errno  # type: ignore[attr-defined]
        words = self._redactor.excerpt(failure.args[-1] if failure.args else "") or "no reason given"
        if number == errno.ENOENT:
            return NotFound(f"{self._name} has no {path} ({words})."), 2
        if number == errno.EACCES:
            return AuthError(
                f"{self._name} does not permit it at {path} ({words}). Ask for the permission, then reconnect."
            ), 3
        return Unavailable(f"{self._name} failed at {path} ({words}). It will be tried again."), 4

    def _record(
        self, method: str, path: str, status: int | None, seconds: float, sent: int, received: int, error: str
    ) -> None:
        if self._on_exchange is None:
            return
        exchange = Exchange(
            method=method,
            url=self._redactor.text(f"{self.host}{path}"),
            status=status,
            seconds=seconds,
            request_bytes=sent,
            response_bytes=received,
            request_headers={},
            response_headers={},
            error=self._redactor.text(error),
        )
        try:
            self._on_exchange(exchange)
        except Exception:  # it has been done: losing its line must not lose its outcome
            _log.exception("An exchange could not be recorded.")

    # --- connecting

    def _connected(self, timeout: tuple[float, float]) -> paramiko.SFTPClient:
        if self._session is not None:
            if self._session[0].is_active():
                return self._session[1]
            self.close()
        if self._sign_in is None:
            raise Rejected("Nobody has signed in to the files of this connection: nothing was sent.")
        connected = self._socket(timeout[0])
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each step waits for its answer
        try:
            transport = paramiko.Transport(connected)
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout[0]
            transport.start_client(timeout=timeout[0])
            self._recognize(transport, self._sign_in)
            self._prove(transport, self._sign_in)
            sftp = paramiko.SFTPClient.from_transport(transport)
        except (paramiko.SSHException, EOFError, OSError) as failure:
            connected.close()
            raise Unavailable(
                f"{self._name} took the connection and would not talk. It will be tried again.", sent=False
            ) from failure
        except BaseException:
            transport.close()
            raise
        if sftp is None:
            transport.close()
            raise Unavailable(f"{self._name} offers no files to {self._sign_in.user}.", sent=False)
        self._session = (transport, sftp)
        return sftp

    def _socket(self, timeout: float) -> socket.socket:
        if self._route is not None:
            _, name, port = _server(self._route)
            targets = [name]
        else:
            port = self._port
            try:
                targets = [str(address) for address in addresses_of(self._name, port, self._allowed)]
            except ForbiddenAddress as error:
                raise Rejected(
                    f"{self._name} leads to a private address ({error}), which is not called: nothing was sent. If the "
                    "server really is in your own network, the operator can allow it with TALLYHUB_PRIVATE_NETWORKS."
                ) from error
            except requests.RequestException as error:
                raise Unavailable(f"{self._name} cannot be found. It will be tried again.", sent=False) from error
        for target in targets[:-1]:
            try:
                return socket.create_connection((target, port), timeout)
            except OSError:
                continue  # the next address may do
        try:
            return socket.create_connection((targets[-1], port), timeout)
        except OSError as error:
            raise Unavailable(f"{self._name} could not be reached. It will be tried again.", sent=False) from error

    def _recognize(self, transport: paramiko.Transport, wanted: _SignIn) -> None:
        key = transport.get_remote_server_key()
        seen = _plain(base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode())
        if seen in wanted.fingerprints:
            return
        shown = f"SHA256:{seen} ({key.get_name()})"
        if not wanted.fingerprints:
            raise Rejected(
                f"{self._name} shows the key {shown}. Ask whoever runs the server for its fingerprint, by telephone or "
                "on their own page. If it is this one, enter it as the fingerprint of the server. Nothing was sent."
            )
        raise AuthError(
            f"{self._name} shows another key than the one you entered: {shown}. Somebody may stand in between, or the "
            "server has a new key: ask whoever runs it, and reconnect with the right one. Nothing was sent."
        )

    def _prove(self, transport: paramiko.Transport, wanted: _SignIn) -> None:
        try:
            if wanted.private_key:
                transport.auth_publickey(wanted.user, _private_key(wanted.private_key, wanted.passphrase))
            else:
                transport.auth_password(wanted.user, wanted.password, fallback=False)
        except paramiko.BadAuthenticationType as error:
            ways = ", ".join(error.allowed_types) or "nothing that is known here"
            raise AuthError(
                f"{self._name} does not take this way to sign in. It takes: {ways}. Reconnect it."
            ) from error
        except paramiko.AuthenticationException as error:
            what = "the key" if wanted.private_key else "the password"
            raise AuthError(f"{self._name} refused {what} of this user. Correct it, and reconnect.") from error


# ---------------------------------------------------------------- steps


def _list(sftp: paramiko.SFTPClient, folder: str) -> list[FileEntry]:
    found = [
        FileEntry(each.filename, each.st_size or 0, datetime.fromtimestamp(each.st_mtime or 0, UTC))
        for each in sftp.listdir_attr(folder)
        if each.st_mode is None or not stat.S_ISDIR(each.st_mode)
    ]
    return sorted(found, key=lambda entry: entry.name)


def _read(sftp: paramiko.SFTPClient, path: str, start: int, most: int) -> bytes:
    deadline = time.monotonic() + MAX_SECONDS
    blocks: list[bytes] = []
    with sftp.open(path, "r") as file:
        file.seek(start)
        while most and (block := file.read(min(_BLOCK, most))):
            blocks.append(block)
            most -= len(block)
            _in_time(path, deadline)
    return b"".join(blocks)


def _put(sftp: paramiko.SFTPClient, path: str, body: bytes) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    with sftp.open(path, "w") as file:
        for start in range(0, len(body), _BLOCK):
            file.write(body[start : start + _BLOCK])
            _in_time(path, deadline)


def _in_time(path: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise Unavailable(f"{path} took longer than {MAX_SECONDS:.0f} s. It will be tried again.")


_STEPS: Mapping[str, Callable[..., Any]] = {
    "LIST": _list,
    "READ": _read,
    "STAT": lambda sftp, path: sftp.lstat(path).st_size,
    "PUT": _put,
    "RENAME": lambda sftp, path, to: sftp.rename(path, _checked_path(to)),
}


# ---------------------------------------------------------------- words for servers, paths and keys


def _is_sftp(host: str) -> bool:
    return host.startswith("sftp://")


def _server(address: str) -> tuple[str, str, int]:
    """A server as it is written in one way only, its name and its port. Raises Rejected."""
    try:
        parts = urlsplit(address)
        name, port = parts.hostname or "", parts.port or 22
    except ValueError:
        parts, name, port = urlsplit(""), "", 0
    if parts.scheme != "sftp" or not name or parts.path not in ("", "/") or parts.username or parts.query:
        raise Rejected("This is not a server such as sftp://files.example:22.")
    return f"sftp://{f'[{name}]' if ':' in name else name}:{port}", name, port


def _checked_path(path: str) -> str:
    """A path that leads from the top straight to a file. Raises Rejected: whatever makes it may be a customer."""
    steps = path.split("/")[1:]
    if not path.startswith("/") or any(step in (".", "..") for step in steps) or not path.isprintable():
        raise Rejected("This is not the path of a file such as /orders/T-1.csv: nothing was sent.")
    return path


def _plain(fingerprint: str) -> str:
    return fingerprint.removeprefix("SHA256:").rstrip("=")


def _private_key(text: str, passphrase: str) -> paramiko.PKey:
    """A private key as it is pasted. Raises AuthError."""
    found = re.fullmatch(r"\s*(-----BEGIN [A-Z ]+-----)([\w+/=\s]+)(-----END [A-Z ]+-----)\s*", text)
    if found:  # a field of one line has taken its line ends away
        text = "\n".join([found[1], *textwrap.wrap("".join(found[2].split()), 64), found[3]])
    for kind in _KEYS:
        try:
            return kind.from_private_key(io.StringIO(text + "\n"), passphrase or None)
        except paramiko.PasswordRequiredException as error:
            raise AuthError("The private key asks for a passphrase. Enter it beside the key.") from error
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    raise AuthError(
        "The private key cannot be read. Paste the whole of it, from BEGIN to END (Ed25519, ECDSA or RSA), with the "
        "right passphrase."
    )
