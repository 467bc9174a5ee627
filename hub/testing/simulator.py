"""A base for simulated vendors: in process or as a real HTTP server, failing on request, sending webhooks.

A simulator is a state object. ``answer`` is its one way in, runs under one lock, and sees requests as the vendor
would; everything around it (sockets, faults, webhooks that are late, doubled or lost) is here. The clock is injected,
so that a test decides what time the vendor thinks it is.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import logging
import random
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import requests

from hub.translation import load_json

__all__ = [
    "Attempt",
    "DeliveryFault",
    "Fault",
    "Sale",
    "ShopSimulator",
    "SimRequest",
    "SimResponse",
    "Simulator",
    "StockWrite",
]

REQUESTS_KEPT = 10_000

_log = logging.getLogger(__name__)

# ---------------------------------------------------------------- requests and answers


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One request as the vendor receives it: header names lower-case, ``path`` without the query."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def parameter(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return dict(self.query).get(name, default)

    def json(self) -> Any:
        """The body as JSON. Raises Unreadable."""
        return load_json(self.body)


@dataclass(frozen=True, slots=True)
class SimResponse:
    """The vendor's answer. ``broken``: the connection ends before it ("reset") or in its body ("truncated")."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: str = ""

    @classmethod
    def of_json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer in JSON; Decimals become JSON numbers."""
        body = json.dumps(value, default=float, ensure_ascii=False).encode()
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)

    def json(self) -> Any:
        """The body as JSON. Raises Unreadable."""
        return load_json(self.body)


# ---------------------------------------------------------------- what can go wrong


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong around one request.

    ``after_effect``: the request does its work, and only its answer is lost or replaced. ``response`` replaces the
    answer; ``broken`` ends the connection ("reset" or "truncated"); ``delay`` is in seconds, before the answer.
    """

    after_effect: bool = False
    response: SimResponse | None = None
    broken: str = ""
    delay: float = 0.0

    @classmethod
    def status(cls, status: int, *, retry_after: float | str | None = None, after_effect: bool = False) -> Self:
        """An error status, with Retry-After if given."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = json.dumps({"message": f"simulated {status}"}).encode()
        response = SimResponse(status, {"Content-Type": "application/json", **headers}, body)
        return cls(after_effect=after_effect, response=response)

    @classmethod
    def reset(cls, *, after_effect: bool = True) -> Self:
        """The connection is reset instead of an answer."""
        return cls(after_effect=after_effect, broken="reset")

    @classmethod
    def truncated(cls) -> Self:
        """The request does its work; its answer ends in the middle."""
        return cls(after_effect=True, broken="truncated")

    @classmethod
    def html(cls, *, after_effect: bool = False) -> Self:
        """A page for people, with status 200, as proxies and firewalls send it."""
        page = b"<!doctype html><html><title>Checking your browser</title></html>"
        response = SimResponse(200, {"Content-Type": "text/html; charset=utf-8"}, page)
        return cls(after_effect=after_effect, response=response)

    @classmethod
    def slow(cls, seconds: float) -> Self:
        """The right answer, late: the request has done its work long before."""
        return cls(after_effect=True, delay=seconds)


@dataclass(frozen=True, slots=True)
class DeliveryFault:
    """Something that goes wrong with one webhook: never sent (``copies`` 0), sent several times, sent late."""

    copies: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver a webhook; ``status`` is None if there was no answer. ``at`` is monotonic time."""

    address: str
    headers: Mapping[str, str]
    body: bytes
    number: int
    status: int | None
    at: float


# ---------------------------------------------------------------- the simulator


def _now() -> datetime:
    return datetime.now(UTC)


class Simulator(ABC):
    """A simulated vendor.

    Subclasses implement ``answer`` and set ``origin``, the address that the production connector calls. ``now`` is the
    vendor's clock, ``seed`` decides every random fault.
    """

    origin: str
    # Seconds to wait before each further attempt of a webhook that was not answered 2xx: the vendor's own rule.
    webhook_retries: Sequence[float] = ()
    webhook_timeout: float = 5.0
    webhook_senders: ClassVar[int] = 4

    def __init__(self, *, now: Callable[[], datetime] = _now, seed: int = 0) -> None:
        self.now = now
        self.lock = threading.RLock()
        self.requests: deque[SimRequest] = deque(maxlen=REQUESTS_KEPT)
        self.attempts: deque[Attempt] = deque(maxlen=REQUESTS_KEPT)
        self._random = random.Random(seed)
        self._planned: list[tuple[str, Fault]] = []
        self._faults: tuple[float, Sequence[Fault]] = (0.0, ())
        self._server: _Server | None = None
        self._post = _PostOffice(self, random.Random(seed))
        self._closed = threading.Event()

    @abstractmethod
    def answer(self, request: SimRequest) -> SimResponse:
        """What the vendor answers, after doing what was asked. Called with the lock held."""

    # --- faults

    def fail_next(self, path_prefix: str, fault: Fault, times: int = 1) -> None:
        """Let ``fault`` happen to the next ``times`` requests whose path starts so."""
        with self.lock:
            self._planned += [(path_prefix, fault)] * times

    def fail_randomly(self, rate: float, faults: Sequence[Fault]) -> None:
        """Let one of ``faults`` happen to a part of all requests, by the seed; a rate of 0 stops it."""
        with self.lock:
            self._faults = (rate, tuple(faults))

    def _fault_for(self, request: SimRequest) -> Fault | None:
        for index, (prefix, fault) in enumerate(self._planned):
            if request.path.startswith(prefix):
                del self._planned[index]
                return fault
        rate, faults = self._faults
        if faults and self._random.random() < rate:
            return self._random.choice(faults)
        return None

    # --- in

    def handle(self, request: SimRequest) -> SimResponse:
        """Answer one request, with whatever goes wrong around it."""
        with self.lock:
            self.requests.append(request)
            fault = self._fault_for(request) or Fault(after_effect=True)
            response = self.answer(request) if fault.after_effect else SimResponse()
        if fault.delay:
            self._closed.wait(fault.delay)
        return replace(fault.response or response, broken=fault.broken or response.broken)

    def serve(self, port: int = 0) -> str:
        """Serve on 127.0.0.1 from background threads until ``close``; returns the address, without a path."""
        with self.lock:
            if self._server is None:
                self._server = _Server(self, port)
            return self._server.address

    def close(self) -> None:
        """Stop serving and sending."""
        self._closed.set()
        if self._server is not None:
            self._server.stop()
        self._post.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- out

    def deliver(self, address: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send a webhook in the background, again and again by ``webhook_retries``; returns at once."""
        self._post.accept(address, headers, body)

    def delivered(self, attempt: Attempt, *, final: bool) -> None:  # noqa: B027 (a hook, not a duty)
        """Called after each attempt, ``final`` when no other follows; vendors that count failures override it."""

    def disturb_next(self, fault: DeliveryFault, times: int = 1) -> None:
        """Let ``fault`` happen to the next ``times`` webhooks."""
        self._post.disturb_next(fault, times)

    def disturb_randomly(self, rate: float, faults: Sequence[DeliveryFault]) -> None:
        """Let one of ``faults`` happen to a part of all webhooks, by the seed; a rate of 0 stops it."""
        self._post.disturb_randomly(rate, faults)

    def wait_for_deliveries(self, timeout: float = 10.0) -> bool:
        """Wait until nothing is left to send; False if that takes longer."""
        return self._post.wait_until_empty(timeout)


# ---------------------------------------------------------------- serving


class _Server:
    """The thin HTTP/1.1 server around a simulator."""

    def __init__(self, simulator: Simulator, port: int) -> None:
        open_sockets: set[socket.socket] = set()
        to_reset: set[socket.socket] = set()
        connections = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self) -> None:
                super().setup()
                with connections:
                    open_sockets.add(self.connection)

            def finish(self) -> None:
                with connections:
                    open_sockets.discard(self.connection)
                    connections.notify_all()
                super().finish()

            def do_GET(self) -> None:
                length = self.headers.get("Content-Length") or "0"
                if not length.isascii() or not length.isdigit() or "Transfer-Encoding" in self.headers:
                    self.send_error(411)
                    return
                parts = urlsplit(self.path)
                request = SimRequest(
                    method=self.command,
                    path=parts.path,
                    query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(length)),
                )
                try:
                    response = simulator.handle(request)
                except Exception as error:
                    _log.exception("The simulator failed to answer %s %s.", request.method, request.path)
                    response = SimResponse.of_json({"message": f"simulator: {error!r}"}, 500)
                self._send(response)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

            def _send(self, response: SimResponse) -> None:
                if response.broken == "reset":
                    self.close_connection = True
                    to_reset.add(self.connection)
                    return
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                if response.status not in (204, 304):
                    self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                if response.broken == "truncated":
                    self.close_connection = True
                    self.wfile.write(response.body[: len(response.body) // 2])
                elif self.command != "HEAD":
                    self.wfile.write(response.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: ``Simulator.requests`` is the log."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def shutdown_request(self, request: Any) -> None:
                if request not in to_reset:
                    super().shutdown_request(request)
                    return
                to_reset.discard(request)
                request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_request(request)  # closing at once, with nothing to linger for, is a reset

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: the other side has gone, or the answer was to be broken."""

        self._open_sockets = open_sockets
        self._connections = connections
        self._server = Server(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._connections:
            for kept_open in self._open_sockets:
                with contextlib.suppress(OSError):
                    kept_open.shutdown(socket.SHUT_RDWR)
            self._connections.wait_for(lambda: not self._open_sockets, timeout=2.0)


# ---------------------------------------------------------------- webhooks


@dataclass(frozen=True, slots=True)
class _Letter:
    address: str
    headers: Mapping[str, str]
    body: bytes
    number: int = 1


class _PostOffice:
    """Sends webhooks from a few threads, each when it is due."""

    def __init__(self, simulator: Simulator, draw: random.Random) -> None:
        self._simulator = simulator
        self._random = draw
        self._due: list[tuple[float, int, _Letter]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._sending = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._planned: deque[DeliveryFault] = deque()
        self._faults: tuple[float, Sequence[DeliveryFault]] = (0.0, ())

    def disturb_next(self, fault: DeliveryFault, times: int) -> None:
        with self._changed:
            self._planned.extend([fault] * times)

    def disturb_randomly(self, rate: float, faults: Sequence[DeliveryFault]) -> None:
        with self._changed:
            self._faults = (rate, tuple(faults))

    def accept(self, address: str, headers: Mapping[str, str], body: bytes) -> None:
        with self._changed:
            fault = self._fault()
            for _ in range(fault.copies):
                self._add(_Letter(address, dict(headers), body), fault.delay)

    def _fault(self) -> DeliveryFault:
        if self._planned:
            return self._planned.popleft()
        rate, faults = self._faults
        return self._random.choice(faults) if faults and self._random.random() < rate else DeliveryFault()

    def _add(self, letter: _Letter, delay: float) -> None:
        if self._stopped:
            return
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), letter))
        if len(self._threads) < self._simulator.webhook_senders:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        self._changed.notify_all()

    def wait_until_empty(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._sending, timeout)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(self._simulator.webhook_timeout + 1)

    def _work(self) -> None:
        while (letter := self._next()) is not None:
            attempt = self._attempt(letter)
            retries = self._simulator.webhook_retries
            accepted = attempt.status is not None and 200 <= attempt.status < 300
            final = accepted or letter.number > len(retries)
            with self._simulator.lock:
                self._simulator.attempts.append(attempt)
                self._simulator.delivered(attempt, final=final)
            with self._changed:
                if not final:
                    self._add(replace(letter, number=letter.number + 1), retries[letter.number - 1])
                self._sending -= 1
                self._changed.notify_all()

    def _next(self) -> _Letter | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._sending += 1
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
            return None

    def _attempt(self, letter: _Letter) -> Attempt:
        status: int | None = None
        at = time.monotonic()
        # A connection of its own each: on a kept one, a webhook that is never sent again could meet its closing.
        with requests.Session() as session, contextlib.suppress(requests.RequestException):
            session.trust_env = False
            with session.post(
                letter.address,
                data=letter.body,
                headers={**letter.headers, "Connection": "close"},
                timeout=self._simulator.webhook_timeout,
                allow_redirects=False,
            ) as answer:
                status = answer.status_code
        return Attempt(letter.address, letter.headers, letter.body, letter.number, status, at)


# ---------------------------------------------------------------- shops


@dataclass(frozen=True, slots=True)
class Sale:
    """A checkout that the shop accepted: its order and what was bought, (SKU, quantity). ``at`` is monotonic time."""

    order_external_id: str
    items: tuple[tuple[str, int], ...]
    at: float


@dataclass(frozen=True, slots=True)
class StockWrite:
    """A quantity that was written through the API. ``at`` is monotonic time."""

    at: float
    sku: str
    quantity: int


class ShopSimulator(Simulator):
    """A simulated shop: besides its API, what customers and people in its admin do."""

    def __init__(self, *, now: Callable[[], datetime] = _now, seed: int = 0) -> None:
        super().__init__(now=now, seed=seed)
        self.stock_writes: list[StockWrite] = []

    def wrote_stock(self, sku: str, quantity: int) -> None:
        """Note that the API has just written a quantity: to be called by ``answer``."""
        self.stock_writes.append(StockWrite(time.monotonic(), sku, quantity))

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What a merchant types into the connect form for this shop."""

    @abstractmethod
    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        """Put a product up for sale; returns its listing's external id."""

    @abstractmethod
    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        """A customer checks out (SKU, quantity): all or nothing against the shop's own stock; None is sold out."""

    @abstractmethod
    def stock(self) -> dict[str, int]:
        """What the shop says is available, by SKU."""

    @abstractmethod
    def set_stock(self, sku: str, quantity: int) -> None:
        """Somebody edits the stock in the shop's admin."""

    @abstractmethod
    def orders(self) -> set[str]:
        """The external ids of all orders."""

    @abstractmethod
    def cancel(self, order: str) -> None:
        """Somebody cancels an order and puts its goods back into stock."""

    @abstractmethod
    def fulfill(self, order: str) -> None:
        """Somebody ships an order."""
