"""The one way out: an HTTP client bound to a connection's hosts, its rate budget, plain errors, and a redacted log."""

from __future__ import annotations

import base64
import functools
import html
import importlib.metadata
import ipaddress
import json
import logging
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

import requests
import requests_hardened
import urllib3
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from hub.connector import RateBudget
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable, Unreadable
from hub.translation import load_json

__all__ = ["Client", "Exchange", "Limiter", "LocalLimiter", "OperationLimiter", "RefusingClient", "Response"]

MAX_BYTES = 32 * 1024 * 1024
MAX_SECONDS = 60.0  # for the whole answer; the read timeout only bounds one silence
MAX_RETRY_AFTER = 86_400.0
EXCERPT = 300

_log = logging.getLogger(__name__)
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # its debug lines hold whole URLs, signatures too

# ---------------------------------------------------------------- what comes back


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the vendor. ``headers`` are found whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    host: str = ""

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, fractions as Decimal. Raises Unavailable when it is none: an error page with status 200."""
        try:
            return load_json(self.body)
        except Unreadable as error:
            raise Unavailable(
                f"{self.host or 'The vendor'} answered {self.status} with something else than JSON. {error}"
                " It will be asked again.",
            ) from error

    def object(self, *members: str) -> dict[str, Any]:
        """The body as a JSON object that has these members, not null. Raises Unavailable for anything else.

        What comes with status 200 need not be the answer: an error inside, a page of a proxy, another call's answer.
        """
        said = self.json()
        if isinstance(said, dict) and all(said.get(name) is not None for name in members):
            return said
        wanted = f" ({', '.join(members)})" if members else ""
        raise Unavailable(
            f"{self.host or 'The vendor'} answered {self.status} with something else than was asked for{wanted}."
            " It will be asked again."
        )


class AnswerTooLarge(Unavailable):
    """An answer was longer than is read: there is nothing wrong with whoever sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its outcome, for the activity page: no secret in it. ``status`` is None without an answer.

    ``request_excerpt``, ``response_excerpt`` and ``error`` are filled only when the vendor refused or failed, because
    what it answers otherwise are the data of customers.
    """

    method: str
    url: str
    status: int | None
    seconds: float
    request_bytes: int
    response_bytes: int
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str]
    request_excerpt: str = ""
    response_excerpt: str = ""
    error: str = ""


# ---------------------------------------------------------------- how fast


class Limiter(Protocol):
    """A rate budget in the vendor's own units, shared by whoever sends for the same connection."""

    def acquire(self, cost: float) -> None:
        """Take ``cost`` units, waiting for them. Raises RateLimited when the wait would be too long."""
        ...

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        """Take over what the vendor itself says about the budget: units left now, restored per second, at most.

        Numbers that make no budget (a rate of zero) are ignored.
        """
        ...


class OperationLimiter(Limiter, Protocol):
    """The budget of one operation: of most of these a vendor says no more than how fast they are restored."""

    def learn_rate(self, restore_rate: float) -> None:
        """Take over how much the vendor restores per second; what is left and the most there can be stay."""
        ...

    def emptied(self) -> float:
        """The vendor says that nothing is left; returns the seconds until a unit is."""
        ...


class LocalLimiter:
    """A token bucket in this process. ``share`` is the part of the budget that this process may spend.

    A cost above the whole bucket waits for a full one and leaves a debt, so that the average always holds.
    ``patience`` is the longest wait in seconds.
    """

    def __init__(
        self,
        budget: RateBudget,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 10.0,
    ) -> None:
        self._share = share
        self._rate = budget.per_second * share
        self._burst = budget.burst * share
        self._available = self._burst
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._at = clock()
        self._lock = threading.Lock()

    def acquire(self, cost: float) -> None:
        with self._lock:
            self._restore()
            wait = max(0.0, (min(cost, self._burst) - self._available) / self._rate)
            if wait > self._patience:
                raise too_fast(wait)
            self._available -= cost
        if wait:
            self._sleep(wait)

    def learn(self, available: float, restore_rate: float, maximum: float) -> None:
        if restore_rate <= 0 or maximum <= 0:
            return
        with self._lock:
            self._rate = restore_rate * self._share
            self._burst = maximum * self._share
            self._available = available * self._share
            self._at = self._clock()

    def learn_rate(self, restore_rate: float) -> None:
        if restore_rate <= 0:
            return
        with self._lock:
            self._restore()
            self._rate = restore_rate * self._share

    def emptied(self) -> float:
        with self._lock:
            self._restore()
            self._available = min(0.0, self._available)
            return (min(1.0, self._burst) - self._available) / self._rate

    def _restore(self) -> None:
        now = self._clock()
        self._available = min(self._burst, self._available + max(0.0, now - self._at) * self._rate)
        self._at = now


def too_fast(wait: float) -> RateLimited:
    """The error for a budget that is spent for the next ``wait`` seconds."""
    return RateLimited(f"The rate budget of this connection is spent for {math.ceil(wait)} s; work goes on then.", wait)


# ---------------------------------------------------------------- where to

# Addresses that no vendor has. Named one by one: what the standard library calls global includes ways back inside.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, on a public address
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # everything outside is local, mapped, translated or unassigned
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo: reaches an IPv4 address written inside
        "2001:db8::/32",
        "2002::/16",  # 6to4: likewise
        "3fff::/20",
    )
)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


class ForbiddenAddress(requests.RequestException):
    """A host leads to an address that is not to be reached."""


class _CheckedAdapter(IPFilterAdapter):  # type: ignore[misc]  # the library is untyped
    """Resolves a host once, checks every address it has, and connects to the one it checked.

    Public addresses pass the library's own filter too; ``allowed`` networks, named by the operator, pass neither.
    Where a host has an IPv4 and an IPv6 address, the second family is tried when the first cannot be connected.
    """

    def __init__(self, is_https: bool, allowed: Sequence[_Network]) -> None:
        super().__init__(is_https_proto=is_https)
        self._allowed = allowed
        self._attempt = threading.local()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._attempt.failed = frozenset()
        while True:
            self._attempt.address = None
            try:
                return super().send(request, *args, **kwargs)  # type: ignore[no-any-return]
            except requests.ConnectionError as error:
                address = self._attempt.address
                if address is None or not _never_sent(error) or not self._attempt.others:
                    raise
                self._attempt.failed |= {address.version}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: str | tuple[str, str] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        address = self._address(host, parts.port or (443 if self._is_https_proto else 80))
        literal = requests.PreparedRequest()
        literal.url = urlunsplit((parts.scheme, _netloc(str(address), parts.port), "/", "", ""))
        build: Any = (
            HTTPAdapter.build_connection_pool_key_attributes
            if self._allows(address)
            else IPFilterAdapter.build_connection_pool_key_attributes
        )
        host_params, pool_kwargs = build(self, literal, verify, cert)
        request.headers["Host"] = _netloc(host, parts.port)
        if self._is_https_proto:
            pool_kwargs["assert_hostname"] = pool_kwargs["server_hostname"] = host
        return host_params, pool_kwargs

    def _address(self, host: str, port: int) -> _Address:
        addresses = addresses_of(host, port, self._allowed)
        untried = [address for address in addresses if address.version not in self._attempt.failed]
        if not untried:
            raise requests.exceptions.ConnectTimeout(f"{host} has no address.")
        self._attempt.address = untried[0]
        self._attempt.others = any(address.version != untried[0].version for address in untried)
        return untried[0]

    def _allows(self, address: _Address) -> bool:
        return any(address in network for network in self._allowed)


def addresses_of(host: str, port: int, allowed: Sequence[_Network]) -> list[_Address]:
    """The addresses of a host, all of them public or in an ``allowed`` network. Raises ForbiddenAddress."""
    addresses = list(dict.fromkeys(_resolve(host, port)))
    for address in addresses:
        if not _is_public(address) and not any(address in network for network in allowed):
            raise ForbiddenAddress(str(address))
    return addresses


def _resolve(host: str, port: int) -> Iterator[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise requests.exceptions.ConnectTimeout(f"{host} cannot be resolved.") from error
    for family, _, _, _, sockaddr in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
            yield getattr(address, "ipv4_mapped", None) or address


def _netloc(host: str, port: int | None) -> str:
    literal = f"[{host}]" if ":" in host else host
    return literal if port is None else f"{literal}:{port}"


def _never_sent(error: BaseException) -> bool:
    """Whether a failure happened before a connection stood, so that the vendor cannot have seen the request."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    for cause in _causes(error):
        if isinstance(cause, urllib3.exceptions.NewConnectionError | ssl.SSLCertVerificationError):
            return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    stack = [error]
    while stack:
        one = stack.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        stack += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _origin(url: str) -> str:
    """Scheme, host and port of a prepared URL, the default port left out."""
    parts = urlsplit(url)
    port = None if parts.port == {"http": 80, "https": 443}.get(parts.scheme) else parts.port
    return f"{parts.scheme}://{_netloc(parts.hostname or '', port)}"


def _prepared_origin(url: str) -> str:
    """The origin of an address as somebody wrote it, in the form that requests gives it. Raises Rejected."""
    request = requests.PreparedRequest()
    try:
        if not re.fullmatch(r"(?i)https?://[^\s\\@]+", url):
            raise ValueError("no scheme, or something that two parsers would read differently")
        request.prepare_url(url, None)
        return _origin(request.url or "")
    except (requests.RequestException, ValueError) as error:
        shown = re.sub(r"[?#].*|(?<=//)[^/]*@", "", url)[:100]  # no user name, no password
        raise Rejected(f"“{shown}” is not a web address such as https://shop.example.") from error


def led(hosts: Iterable[str], routes: Mapping[str, str]) -> list[str]:
    """Those of ``hosts`` that one of ``routes`` leads elsewhere. Raises Rejected for what is no web address."""
    known = {_prepared_origin(vendor) for vendor in routes if not vendor.startswith("sftp:")}
    return [host for host in hosts if _prepared_origin(host) in known]


# ---------------------------------------------------------------- what is never shown

_NAMED_LIKE_SECRETS = (
    "authorization|cookie|token|secret|passw|passphrase|pwd|credential|signature|hmac|nonce|session"
    "|(?:api|consumer|access|private)[-_]?key|\\bsig\\b"
)
_SECRET_NAME = re.compile(_NAMED_LIKE_SECRETS, re.IGNORECASE)
# Each anchored at the start of a word or a quote, so that no text makes them slow.
_PARAMETER = re.compile(r"(?<![\w.%\[\]-])([\w.%\[\]-]++)=([^&;\s\"'<>]*+)")
_MEMBER = re.compile(r'("[^"\\]*+"\s*+:\s*+)("(?:[^"\\]++|\\.)*+"?|[\w.+-]++)')
MASK = "•••"


_SHORTEST_SECRET = 8  # what is shorter may stand in any text
_MOST_SEEN = 50  # by one client: each costs time in all that is masked
_PLACE_IN_A_LIST = re.compile(r"(?:next|page|pagination|continuation|start|sync)[-_]?token", re.IGNORECASE)


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and bool(_SECRET_NAME.search(name)) and not _PLACE_IN_A_LIST.search(name)


def _secrets_in(sent: Any, named: bool = False) -> Iterator[str]:
    """The texts in parameters, a form or a JSON body that are named like secrets."""
    if isinstance(sent, str):
        if named and len(sent) >= _SHORTEST_SECRET:
            yield sent
    elif isinstance(sent, Mapping):
        for name, value in sent.items():
            yield from _secrets_in(value, _is_secret(name))
    elif isinstance(sent, list | tuple):
        for each in sent:
            if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str):
                yield from _secrets_in(each[1], _is_secret(each[0]))
            else:
                yield from _secrets_in(each, named)


class Redactor:
    """Masks registered values, in the spellings they may come back in, and whatever is named like a secret."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, value: str) -> None:
        if not value:
            return
        raw = value.encode("utf-8", "surrogatepass")
        escaped = json.dumps(value)[1:-1]
        self._values |= {
            value,
            html.escape(value),
            quote(raw, safe=""),
            quote_plus(raw),
            escaped,
            escaped.replace("/", "\\/"),  # as PHP writes JSON
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
        }

    def text(self, text: str) -> str:
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        text = _MEMBER.sub(lambda found: self._masked(found, f'{found[1]}"{MASK}"'), text)
        return _PARAMETER.sub(lambda found: self._masked(found, f"{found[1]}={MASK}"), text)

    @staticmethod
    def _masked(found: re.Match[str], masked: str) -> str:
        return masked if _SECRET_NAME.search(found[1]) else found[0]

    def headers(self, headers: Mapping[str, str | bytes]) -> dict[str, str]:
        return {
            name: MASK if _SECRET_NAME.search(name) else self.excerpt(_decoded(value))
            for name, value in headers.items()
        }

    def excerpt(self, text: str) -> str:
        plain = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", self.text(text[: 20 * EXCERPT])).split())
        return plain if len(plain) <= EXCERPT else plain[: EXCERPT - 1] + "…"


def _decoded(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


# ---------------------------------------------------------------- the client


class _Session(requests_hardened.HTTPSession):  # type: ignore[misc]  # the library is untyped
    """Takes no notice of redirects: even where they are not followed, the library looks where they lead, and reads the
    whole of such an answer to that end, however long it is."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _session(timeout: tuple[float, float]) -> requests.Session:
    session: requests.Session = _Session(
        requests_hardened.Config(
            ip_filter_enable=True, ip_filter_allow_loopback_ips=False, never_redirect=True, default_timeout=timeout
        )
    )
    session.trust_env = False  # neither a proxy of the environment nor a password of ~/.netrc
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # a connection has no sessions
    session.headers["User-Agent"] = _user_agent()
    return session


@functools.cache
def _user_agent() -> str:
    return f"Tallyhub/{importlib.metadata.version('tallyhub')}"


class Client:
    """Sends requests to the hosts of one connection, and to nothing else.

    ``hosts`` are the origins it may talk to. ``routes`` lead a vendor's origin to another one (a simulator): the
    request is built and signed for the vendor and only then sent elsewhere, without the check of addresses.
    ``private_networks`` (CIDRs) are the operator's exceptions from that check. ``limiters`` are the budgets of single
    operations, beside that of the whole connection. ``timeout`` is (connect, read) in seconds; the whole of an answer
    may have ``max_bytes`` and take ``max_seconds``. Raises the errors of ``hub.errors``; never follows a redirect,
    never tries again.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        routes: Mapping[str, str] | None = None,
        private_networks: Sequence[str] = (),
        limiter: Limiter | None = None,
        limiters: Mapping[str, OperationLimiter] | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        timeout: tuple[float, float] = (5.0, 20.0),
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self.limiter = limiter
        self.limiters = dict(limiters or {})
        self._hosts = frozenset(_prepared_origin(host) for host in hosts)
        self._routes = {
            _prepared_origin(vendor): target.rstrip("/")
            for vendor, target in (routes or {}).items()
            if not vendor.startswith("sftp:")  # those are for hub.sftp
        }
        self._on_exchange = on_exchange
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._redactor = Redactor()
        self._seen: set[str] = set()  # secrets found in what was sent
        allowed = tuple(ipaddress.ip_network(network) for network in private_networks)
        self._direct = _session(timeout)
        self._direct.mount("https://", _CheckedAdapter(True, allowed))
        self._direct.mount("http://", _CheckedAdapter(False, allowed))
        self._routed = _session(timeout)
        self._routed.mount("https://", HTTPAdapter())
        self._routed.mount("http://", HTTPAdapter())

    def redact(self, value: str) -> None:
        """From now on ``value`` is masked in exchanges and messages."""
        self._redactor.add(value)

    def learn_rate(self, operation: str, per_second: float) -> None:
        """Take over how fast the vendor says that the budget of ``operation`` is restored."""
        if operation in self.limiters:
            self.limiters[operation].learn_rate(per_second)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._direct.close()
        self._routed.close()

    def get(self, url: str, **options: Any) -> Response:
        """GET; the options are those of ``request``."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Response:
        """POST; the options are those of ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Response:
        """PUT; the options are those of ``request``."""
        return self.request("PUT", url, **options)

    def delete(self, url: str, **options: Any) -> Response:
        """DELETE; the options are those of ``request``."""
        return self.request("DELETE", url, **options)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | requests.auth.AuthBase | None = None,
        cost: float = 1.0,
        operation: str = "",
        expect: Collection[int] = (),
        timeout: tuple[float, float] | None = None,
    ) -> Response:
        """Send one request, and return a 2xx answer or one whose status is in ``expect``; raise otherwise.

        ``cost`` is taken from the rate budget, and from that of ``operation`` where it has its own. AuthError: 401,
        403. NotFound: 404, 410. RateLimited: 429, and 503 with Retry-After; it names the operation whose own budget
        is meant. Rejected: other 4xx, a redirect, a host that is not the connection's. Unavailable: 5xx and everything
        that leaves no answer, with ``sent`` telling whether the vendor may have seen the request.
        """
        prepared = self._prepare(method, url, params, json, data, headers, auth)
        own = self.limiters.get(operation)
        if own is not None:
            self._acquire(own, operation, cost)
        if self.limiter is not None:
            self.limiter.acquire(cost)
        response = self._send(prepared, timeout or self._timeout)
        if 200 <= response.status < 300 or response.status in expect:
            return response
        refusal = self._refusal(response)
        if own is not None and isinstance(refusal, RateLimited):
            # Somebody else spends it too: the vendor knows better than we do what is left.
            wait = own.emptied()
            raise RateLimited(str(refusal), refusal.retry_after or wait, operation)
        raise refusal

    @staticmethod
    def _acquire(own: OperationLimiter, operation: str, cost: float) -> None:
        try:
            own.acquire(cost)
        except RateLimited as error:
            wait = error.retry_after or 0.0
            raise RateLimited(
                f"The rate budget of {operation} is spent for {math.ceil(wait)} s; it goes on then.", wait, operation
            ) from None

    # --- before

    def _prepare(
        self, method: str, url: str, params: Any, json: Any, data: Any, headers: Mapping[str, str] | None, auth: Any
    ) -> requests.PreparedRequest:
        origin = _prepared_origin(url)
        if origin not in self._hosts:
            raise Rejected(f"{self._redactor.text(origin)} is not an address of this connection: nothing was sent.")
        for secret in (*auth, ":".join(auth)) if isinstance(auth, tuple) else ():
            self.redact(secret)
        for name, value in (headers or {}).items():
            if _SECRET_NAME.search(name):
                self.redact(value.rpartition(" ")[2])
        for sent in (params, json, data):
            for value in _secrets_in(sent):  # a careless answer repeats them, in whatever spelling
                if len(self._seen) < _MOST_SEEN:
                    self._seen.add(value)
                    self.redact(value)
        try:
            return self._direct.prepare_request(
                requests.Request(method, url, params=params, json=json, data=data, headers=headers, auth=auth)
            )
        except requests.RequestException as error:
            raise Rejected(f"The request to {origin} could not be built: {self._redactor.text(str(error))}") from error

    # --- sending

    def _send(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> Response:
        vendor_url = request.url or ""
        host = urlsplit(vendor_url).hostname or ""
        session = self._lead(request)
        started = time.monotonic()
        try:
            response = self._exchange(session, request, host, timeout)
        except (Rejected, Unavailable) as error:
            self._record(request, vendor_url, None, time.monotonic() - started, str(error))
            raise
        self._record(request, vendor_url, response, time.monotonic() - started, "")
        return response

    def _lead(self, request: requests.PreparedRequest) -> requests.Session:
        """Lead a built request along its route, if there is one; returns the session to send it with."""
        parts = urlsplit(request.url or "")
        origin = _origin(request.url or "")
        target = self._routes.get(origin)
        if target is None:
            return self._direct
        request.headers["Host"] = origin.partition("://")[2]
        request.url = target + urlunsplit(("", "", parts.path, parts.query, ""))
        return self._routed

    def _exchange(
        self, session: requests.Session, request: requests.PreparedRequest, host: str, timeout: tuple[float, float]
    ) -> Response:
        deadline = time.monotonic() + self._max_seconds
        try:
            with session.send(request, timeout=timeout, stream=True) as answer:
                body = self._body(answer, host, deadline)
        except (ForbiddenAddress, InvalidIPAddress) as error:
            raise Rejected(
                f"{host} leads to a private address ({error}), which is not called: nothing was sent. "
                "If the shop really is in your own network, the operator can allow it with TALLYHUB_PRIVATE_NETWORKS."
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _unavailable(host, error) from error
        return Response(answer.status_code, answer.headers, body, host)

    def _body(self, answer: requests.Response, host: str, deadline: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := answer.raw.read1(65_536, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise AnswerTooLarge(f"{host} answered with more than {self._max_bytes} bytes, which are not read.")
            if time.monotonic() > deadline:
                raise Unavailable(f"{host} took longer than {self._max_seconds:.0f} s to answer.")
        return b"".join(chunks)

    # --- after

    def _refusal(self, response: Response) -> Exception:
        status, host = response.status, response.host
        words, code = _vendor_words(response)
        words = self._redactor.excerpt(words)
        said = f"{status}: {words}" if words else f"{status} {_phrase(status)}".strip()
        retry_after = _retry_after(response.headers.get("Retry-After"))
        if 300 <= status < 400:
            location = self._redactor.excerpt(response.headers.get("Location", ""))
            return Rejected(
                f"{host} has moved to {location or 'another address'}. Connect the new address.", code=str(status)
            )
        if status in (401, 403):
            return AuthError(f"{host} refused the credentials ({said}). Reconnect it.")
        if status in (404, 410):
            return NotFound(f"{host} does not have it ({said}).", code=code)
        if status == 429 or (status == 503 and retry_after is not None):
            return RateLimited(f"{host} asks to slow down ({said}).", retry_after)
        if status >= 500 or status in (408, 425):
            return Unavailable(f"{host} failed ({said}). It will be tried again.")
        return Rejected(f"{host} refused the request ({said}).", code=code)

    def _record(
        self, request: requests.PreparedRequest, url: str, response: Response | None, seconds: float, error: str
    ) -> None:
        if self._on_exchange is None:
            return
        redactor = self._redactor
        sent = request.body or b""
        failed = response is None or response.status >= 300
        exchange = Exchange(
            method=request.method or "",
            url=redactor.text(url),
            status=response.status if response else None,
            seconds=seconds,
            request_bytes=len(sent.encode() if isinstance(sent, str) else sent),
            response_bytes=len(response.body) if response else 0,
            request_headers=redactor.headers(request.headers),
            response_headers=redactor.headers(response.headers) if response else {},
            request_excerpt=redactor.excerpt(_decoded(sent)) if failed else "",
            response_excerpt=redactor.excerpt(response.text) if failed and response else "",
            error=redactor.text(error),
        )
        try:
            self._on_exchange(exchange)
        except Exception:  # the request has been sent: losing its line must not lose its outcome
            _log.exception("An exchange could not be recorded.")


class RefusingClient(Client):
    """The client of the web process, where connectors only verify: every request is refused."""

    def __init__(self) -> None:
        super().__init__(hosts=())

    def request(self, method: str, url: str, **options: Any) -> NoReturn:
        """Refuse. Raises Rejected."""
        raise Rejected("Connectors do not talk to their vendor in the web process: nothing was sent.")


def _unavailable(host: str, error: Exception) -> Unavailable:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Unavailable(f"The TLS certificate of {host} is not valid: nothing was sent.", sent=False)
    if _never_sent(error):
        return Unavailable(f"{host} could not be reached. It will be tried again.", sent=False)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        return Unavailable(f"{host} did not answer in time. It will be tried again.")
    return Unavailable(f"The connection to {host} broke before its answer was complete. It will be tried again.")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", value.strip(), re.ASCII):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER)


def _vendor_words(response: Response) -> tuple[str, str]:
    """The vendor's own message and code, from the usual places in its answer."""
    try:
        said = load_json(response.body)
    except Unreadable:
        return re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]*>", " ", response.text[: 20 * EXCERPT]), ""
    if not isinstance(said, dict):
        return (said if isinstance(said, str) else response.text), ""
    code = said.get("code") or said.get("error")
    message = next(
        (said[name] for name in ("message", "error_description", "errors", "error", "detail") if said.get(name)),
        response.text,
    )
    return (
        message if isinstance(message, str) else json.dumps(message, default=str, ensure_ascii=False),
        code if isinstance(code, str) else "",
    )
