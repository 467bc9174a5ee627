"""A base for simulated vendors: in process or as a real HTTP server, failing on request, sending webhooks.

A simulator is a state object. ``answer`` is its one way in, runs under one lock, and sees requests as the vendor
would; everything around it (sockets, faults, webhooks that are late, doubled or lost) is here. The clock is injected,
so that a test decides what time the vendor thinks it is. Everything random comes from the seed: the same requests to
the same seed leave the same ``trace``.
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
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import requests

from hub.core.model import Address
from hub.translation import load_json

__all__ = [
    "Attempt",
    "Customer",
    "DeliveryFault",
    "Fault",
    "Letter",
    "Sale",
    "ShopSimulator",
    "SimRequest",
    "SimResponse",
    "Simulator",
    "StockWrite",
    "VendorSimulator",
]

REQUESTS_KEPT = 10_000
DROPS = 5  # in which a dripping body comes

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
    """The vendor's answer.

    ``broken``: the connection is "reset" instead of it or stays "silent", it ends in the body ("truncated"), or the
    body comes drop by drop ("dripping") in ``drip`` seconds.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: str = ""
    drip: float = 0.0

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

    ``name`` is how the trace calls it. ``after_effect``: the request does its work, and only its answer is lost or
    replaced. ``response`` replaces the answer; ``instead`` replaces it by one that the simulator makes: "repeated" (the
    last answer to the like of this request), "error_inside", or "echo" (the request itself). ``broken`` ends the
    connection, see ``SimResponse``; ``delay`` is in seconds, before the answer. ``meanwhile`` is called when the answer
    is ready and before it is sent: whatever it does, the answer does not know it yet.
    """

    name: str = "fault"
    after_effect: bool = False
    response: SimResponse | None = None
    instead: str = ""
    broken: str = ""
    delay: float = 0.0
    meanwhile: Callable[[], object] | None = None

    @classmethod
    def status(cls, status: int, *, retry_after: float | str | None = None, after_effect: bool = False) -> Self:
        """An error status, with Retry-After if given."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = json.dumps({"message": f"simulated {status}"}).encode()
        response = SimResponse(status, {"Content-Type": "application/json", **headers}, body)
        return cls(_named(str(status), after_effect), after_effect=after_effect, response=response)

    @classmethod
    def reset(cls, *, after_effect: bool = True) -> Self:
        """The connection is reset instead of an answer."""
        return cls(_named("reset", after_effect), after_effect=after_effect, broken="reset")

    @classmethod
    def half_open(cls, *, after_effect: bool = True) -> Self:
        """The connection stays open, and nothing is ever said on it."""
        return cls(_named("half open", after_effect), after_effect=after_effect, broken="silent")

    @classmethod
    def truncated(cls) -> Self:
        """The request does its work; the connection ends in the middle of its answer."""
        return cls("truncated", after_effect=True, broken="truncated")

    @classmethod
    def html(cls, *, after_effect: bool = False) -> Self:
        """A page for people, with status 200, as proxies and firewalls send it."""
        page = b"<!doctype html><html><title>Checking your browser</title></html>"
        response = SimResponse(200, {"Content-Type": "text/html; charset=utf-8"}, page)
        return cls(_named("html", after_effect), after_effect=after_effect, response=response)

    @classmethod
    def error_inside(cls, *, after_effect: bool = False) -> Self:
        """Status 200 with an error inside, as ``Simulator.error_inside`` words it."""
        return cls(_named("error inside", after_effect), after_effect=after_effect, instead="error_inside")

    @classmethod
    def echo(cls, status: int = 500) -> Self:
        """An error page that shows the request with its headers, as frameworks in debug mode write it."""
        return cls(f"echo {status}", response=SimResponse(status), instead="echo")

    @classmethod
    def repeated(cls) -> Self:
        """The page before once more, with its cursor: what was answered last to the like of this request."""
        return cls("repeated", instead="repeated")

    @classmethod
    def slow(cls, seconds: float) -> Self:
        """The right answer, late: the request has done its work long before."""
        return cls("slow", after_effect=True, delay=seconds)

    @classmethod
    def dripping(cls, seconds: float) -> Self:
        """The right answer, its body drop by drop."""
        return cls("dripping", after_effect=True, broken="dripping", delay=seconds)

    @classmethod
    def changing(cls, meanwhile: Callable[[], object]) -> Self:
        """The right answer, and before it arrives something else has happened at the vendor."""
        return cls("changing", after_effect=True, meanwhile=meanwhile)


def _named(name: str, after_effect: bool) -> str:
    return f"{name} after the effect" if after_effect else name


@dataclass(frozen=True, slots=True)
class DeliveryFault:
    """Something that goes wrong with one webhook: never sent (``copies`` 0), sent several times, sent late.

    ``behind`` later webhooks overtake it; ``delay`` is in seconds.
    """

    copies: int = 1
    delay: float = 0.0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """A webhook to be delivered, see ``Simulator.hold_webhooks``; ``number`` counts the attempts."""

    address: str
    headers: Mapping[str, str]
    body: bytes
    number: int = 1


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
    other_origins: Sequence[str] = ()  # further addresses at which the vendor is called, such as one for files
    # Seconds to wait before each further attempt of a webhook that was not answered 2xx: the vendor's own rule.
    webhook_retries: Sequence[float] = ()
    webhook_timeout: float = 5.0
    webhook_senders: ClassVar[int] = 4

    def __init__(self, *, now: Callable[[], datetime] = _now, seed: int = 0) -> None:
        self.now = now
        self.lock = threading.RLock()
        self.requests: deque[SimRequest] = deque(maxlen=REQUESTS_KEPT)
        self.attempts: deque[Attempt] = deque(maxlen=REQUESTS_KEPT)
        self.trace: deque[str] = deque(maxlen=REQUESTS_KEPT)
        self._random = random.Random(seed)
        self._planned: list[_Planned] = []
        self._last: dict[str, SimResponse] = {}
        self._faults: tuple[float, Sequence[Fault]] = (0.0, ())
        self._server: _Server | None = None
        self._post = _PostOffice(self, random.Random(seed))
        self._closed = threading.Event()

    @abstractmethod
    def answer(self, request: SimRequest) -> SimResponse:
        """What the vendor answers, after doing what was asked. Called with the lock held."""

    def about(self, request: SimRequest) -> str:
        """What a request asks for, whatever the page: the trace names it so, and ``Fault.repeated`` goes by it.

        A vendor with one path for everything overrides it.
        """
        return f"{request.method} {request.path}"

    def error_inside(self, request: SimRequest) -> SimResponse:
        """How this vendor words an error that comes with status 200; override it with what the real one says."""
        return SimResponse.of_json({"errors": [{"message": "simulated error"}]})

    def skew(self, seconds: float) -> None:
        """From now on the vendor's clock is so much ahead; behind, if negative."""
        right = self.now
        self.now = lambda: right() + timedelta(seconds=seconds)

    # --- faults

    def fail_next(self, path_prefix: str, fault: Fault, times: int = 1, *, after: int = 0) -> None:
        """Let ``fault`` happen to the next ``times`` requests whose path starts so, once ``after`` more have passed."""
        with self.lock:
            self._planned += [_Planned(path_prefix, fault, after) for _ in range(times)]

    def heal(self) -> None:
        """Forget every fault that was planned, and stop the random ones."""
        with self.lock:
            self._planned.clear()
            self._faults = (0.0, ())

    def fail_randomly(self, rate: float, faults: Sequence[Fault]) -> None:
        """Let one of ``faults`` happen to a part of all requests, by the seed; a rate of 0 stops it."""
        with self.lock:
            self._faults = (rate, tuple(faults))

    def _fault_for(self, request: SimRequest) -> Fault | None:
        for index, planned in enumerate(self._planned):
            if request.path.startswith(planned.prefix):
                if planned.after:
                    planned.after -= 1
                    continue
                del self._planned[index]
                return planned.fault
        rate, faults = self._faults
        if faults and self._random.random() < rate:
            return self._random.choice(faults)
        return None

    # --- in

    def handle(self, request: SimRequest) -> SimResponse:
        """Answer one request, with whatever goes wrong around it."""
        with self.lock:
            self.requests.append(request)
            about = self.about(request)
            fault = self._fault_for(request)
            response = self._answered(request, about, fault or _NOTHING)
            told = f" ({fault.name})" if fault else ""
            self.trace.append(f"{about} -> {response.status}{told}")
            if fault and fault.meanwhile:
                fault.meanwhile()
        if fault and fault.delay and fault.broken != "dripping":
            self._closed.wait(fault.delay)
        return response

    def _answered(self, request: SimRequest, about: str, fault: Fault) -> SimResponse:
        response = self.answer(request) if fault.after_effect else SimResponse()
        if fault.instead == "repeated":
            # The first of its kind has none before it: it is answered, and nothing goes wrong.
            response = self._last.get(about) or self.answer(request)
        elif fault.instead == "error_inside":
            response = self.error_inside(request)
        elif fault.instead == "echo":
            return _echo(request, fault.response.status if fault.response else 500)
        elif fault.after_effect:
            self._last[about] = response
        response = fault.response or response
        return replace(response, broken=fault.broken or response.broken, drip=fault.delay)

    def serve(self, port: int = 0) -> str:
        """Serve on 127.0.0.1 from background threads until ``close``; returns the address, without a path."""
        with self.lock:
            if self._server is None:
                self._server = _Server(self, port)
            return self._server.address

    def routes(self) -> dict[str, str]:
        """Where each address of the vendor leads while it is served, which it is from now on."""
        return dict.fromkeys((self.origin, *self.other_origins), self.serve())

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

    def renewed(self, letter: Letter) -> Letter:
        """What is sent when a webhook is tried again; vendors that sign each attempt at its own time override it."""
        return letter

    def transmit(self, letter: Letter) -> int | None:
        """Bring a webhook to its address; returns the status it was answered with, None if it was not.

        Vendors that leave what they have to tell in a queue override it.
        """
        # A connection of its own each: on a kept one, a webhook that is never sent again could meet its closing.
        with requests.Session() as session, contextlib.suppress(requests.RequestException):
            session.trust_env = False
            with session.post(
                letter.address,
                data=letter.body,
                headers={**letter.headers, "Connection": "close"},
                timeout=self.webhook_timeout,
                allow_redirects=False,
            ) as answer:
                return answer.status_code
        return None

    def delivered(self, attempt: Attempt, *, final: bool) -> None:  # noqa: B027 (a hook, not a duty)
        """Called after each attempt, ``final`` when no other follows; vendors that count failures override it."""

    def hold_webhooks(self) -> None:
        """From now on webhooks are not sent but kept for ``take_webhooks``: a test delivers them when it wants to."""
        self._post.hold()

    def take_webhooks(self) -> list[Letter]:
        """The webhooks kept so far, in the order in which they would arrive."""
        return self._post.take()

    def answered(self, letter: Letter, status: int | None) -> None:
        """Tell how a webhook that was taken was answered, ``None`` if it was not; it is not sent again."""
        attempt = Attempt(letter.address, letter.headers, letter.body, letter.number, status, time.monotonic())
        with self.lock:
            self.attempts.append(attempt)
            self.delivered(attempt, final=True)

    def disturb_next(self, fault: DeliveryFault, times: int = 1) -> None:
        """Let ``fault`` happen to the next ``times`` webhooks."""
        self._post.disturb_next(fault, times)

    def disturb_randomly(self, rate: float, faults: Sequence[DeliveryFault]) -> None:
        """Let one of ``faults`` happen to a part of all webhooks, by the seed; a rate of 0 stops it."""
        self._post.disturb_randomly(rate, faults)

    def wait_for_deliveries(self, timeout: float = 60.0) -> bool:
        """Wait until nothing is left to send; False if that takes longer."""
        return self._post.wait_until_empty(timeout)


def _echo(request: SimRequest, status: int) -> SimResponse:
    head = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    query = "&".join(f"{name}={value}" for name, value in request.query)
    page = f"{request.method} {request.path}?{query}\n{head}\n\n{request.body.decode('utf-8', 'replace')}"
    return SimResponse(status, {"Content-Type": "text/plain; charset=utf-8"}, page.encode())


@dataclass(slots=True)
class _Planned:
    prefix: str
    fault: Fault
    after: int


_NOTHING = Fault("nothing", after_effect=True)


class VendorSimulator(Simulator):
    """A simulated vendor to which a merchant can connect."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """What a merchant types into the connect form."""

    def approve(self, address: str) -> str:
        """The merchant follows ``address``, which asks for a permission, and agrees; returns where the browser goes.

        Keys that the vendor sends from server to server are delivered like a webhook.
        """
        raise NotImplementedError("This vendor asks for no permission.")


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
                if response.broken == "silent":
                    simulator._closed.wait()
                if response.broken in ("reset", "silent"):
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
                elif response.broken == "dripping":
                    self._drip(response)
                elif self.command != "HEAD":
                    self.wfile.write(response.body)

            def _drip(self, response: SimResponse) -> None:
                size = max(1, len(response.body) // DROPS)
                for start in range(0, len(response.body), size):
                    self.wfile.write(response.body[start : start + size])
                    self.wfile.flush()
                    simulator._closed.wait(response.drip / DROPS)

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


class _PostOffice:
    """Sends webhooks from a few threads, each when it is due."""

    def __init__(self, simulator: Simulator, draw: random.Random) -> None:
        self._simulator = simulator
        self._random = draw
        self._due: list[tuple[float, int, Letter]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._sending = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._planned: deque[DeliveryFault] = deque()
        self._faults: tuple[float, Sequence[DeliveryFault]] = (0.0, ())
        self._overtaken: list[tuple[int, DeliveryFault, Letter]] = []  # each with how many more may overtake it
        self._held: list[tuple[float, int, Letter]] | None = None

    def hold(self) -> None:
        with self._changed:
            self._held = self._held or []

    def take(self) -> list[Letter]:
        with self._changed:
            self._catch_up(everything=True)
            taken, self._held = sorted(self._held or [], key=lambda each: each[:2]), []
            return [letter for *_, letter in taken]

    def disturb_next(self, fault: DeliveryFault, times: int) -> None:
        with self._changed:
            self._planned.extend([fault] * times)

    def disturb_randomly(self, rate: float, faults: Sequence[DeliveryFault]) -> None:
        with self._changed:
            self._faults = (rate, tuple(faults))

    def accept(self, address: str, headers: Mapping[str, str], body: bytes) -> None:
        with self._changed:
            fault = self._fault()
            letter = Letter(address, dict(headers), body)
            if fault.behind:
                self._overtaken.append((fault.behind, fault, letter))
                return
            self._post(letter, fault)
            self._catch_up()

    def _post(self, letter: Letter, fault: DeliveryFault) -> None:
        for _ in range(fault.copies):
            if self._held is None:
                self._add(letter, fault.delay)
            else:
                self._held.append((fault.delay, next(self._order), letter))

    def _catch_up(self, *, everything: bool = False) -> None:
        """Another webhook has been posted: those that enough of them have overtaken follow."""
        waiting, self._overtaken = self._overtaken, []
        for left, fault, letter in waiting:
            if left > 1 and not everything:
                self._overtaken.append((left - 1, fault, letter))
            else:
                self._post(letter, fault)

    def _fault(self) -> DeliveryFault:
        if self._planned:
            return self._planned.popleft()
        rate, faults = self._faults
        return self._random.choice(faults) if faults and self._random.random() < rate else DeliveryFault()

    def _add(self, letter: Letter, delay: float) -> None:
        if self._stopped:
            return
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), letter))
        if len(self._threads) < self._simulator.webhook_senders:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        self._changed.notify_all()

    def wait_until_empty(self, timeout: float) -> bool:
        with self._changed:
            self._catch_up(everything=True)
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
            if letter.number > 1:
                with self._simulator.lock:
                    letter = self._simulator.renewed(letter)
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

    def _next(self) -> Letter | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._sending += 1
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
            return None

    def _attempt(self, letter: Letter) -> Attempt:
        at = time.monotonic()
        status = self._simulator.transmit(letter)
        return Attempt(letter.address, letter.headers, letter.body, letter.number, status, at)


# ---------------------------------------------------------------- shops


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Who buys: where they live, under their name, and what comes with what they buy.

    ``note`` is what they write to the shop, ``tags`` what the shop puts on the order. With ``pays_later`` the order
    waits for its payment.
    """

    address: Address
    email: str
    note: str = ""
    tags: tuple[str, ...] = ()
    pays_later: bool = False


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


class ShopSimulator(VendorSimulator):
    """A simulated shop: besides its API, what customers and people in its admin do."""

    def __init__(self, *, now: Callable[[], datetime] = _now, seed: int = 0) -> None:
        super().__init__(now=now, seed=seed)
        self.stock_writes: list[StockWrite] = []

    def wrote_stock(self, sku: str, quantity: int) -> None:
        """Note that the API has just written a quantity: to be called by ``answer``."""
        self.stock_writes.append(StockWrite(time.monotonic(), sku, quantity))

    @abstractmethod
    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        """Put a product up for sale; returns its listing's external id."""

    def add_product_shipped_by_channel(self, sku: str, title: str, price: str) -> str | None:
        """Put a product up for sale that lies in a warehouse of the channel's own; returns its listing's external id.

        None: the channel has none. An order of it is the channel's to ship, and none of the shop's ``stock``.
        """
        return None

    def goes_abroad(self, sku: str, weight_grams: int, origin_country: str, hs_code: str) -> bool:
        """Say what customs ask of a product. False: the shop keeps none of it, and sells within its country."""
        return False

    def show_picture(self, sku: str, content: bytes) -> bool:
        """Show this picture (PNG) of a product, at an address of the vendor's. False: the shop shows none."""
        return False

    def customer_comes(self, customer: Customer) -> None:
        """Whoever buys from now on; a simulator may know only its own customer, and of this one only a part."""

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
