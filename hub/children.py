"""Child processes with a deadline: a plugin that hangs, crashes or exits takes nothing else with it."""

from __future__ import annotations

import ctypes
import gc
import io
import logging
import os
import random
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import structlog

from hub.plugins import in_words
from hub.store.database import DatabaseAway

# What one child may take of what everybody shares. A batch of records as large as they may be fits.
MOST_MEMORY = 2 * 1024**3  # bytes, beyond what the worker itself has
MOST_TALK = 1024**2  # characters printed and logged during one task

log = structlog.get_logger()

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_stop_requested = False


def stop_requested() -> bool:
    """Inside a child: whether the worker is shutting down, so that nothing new should be begun."""
    return _stop_requested


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended; ``reason`` is empty when all went well. ``database_away``: that, and nothing else, it was."""

    reason: str = ""
    database_away: bool = False


class Child:
    """A forked process that runs ``target`` and is killed, with everything it started, ``deadline`` seconds later.

    It leads a process group of its own and does not outlive its parent (Linux; elsewhere it ends at its deadline). Its
    memory and what it prints are limited.
    ``deadline`` None means that somebody else sees to it.
    The parent must have one thread and no open database connection. Raises OSError when the system has no process to
    spare.
    """

    _BROKEN, _DATABASE_AWAY = 1, 75

    def __init__(self, target: Callable[[], object], deadline: float | None) -> None:
        self.began = time.monotonic()
        self._deadline = deadline
        self._killed = False
        _flush()
        self._alive, self._last_words = os.pipe()  # readable once the child is gone, or says why it goes
        parent = os.getpid()
        # No signal may run the parent's handlers in the child, before the child has its own.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self._live(target, parent, mask)
        except OSError:
            os.close(self._alive)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._last_words)
        with suppress(OSError):  # the child does it too: whoever is first
            os.setpgid(self.pid, self.pid)

    def fileno(self) -> int:
        return self._alive

    def ask_to_stop(self) -> None:
        """Let it finish what it is doing, and begin nothing new."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it started, now."""
        self._killed = True
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def ended(self) -> Exit | None:
        """How it ended, None while it lives. Kills it when its deadline has passed."""
        if not self._killed and self._deadline is not None and time.monotonic() - self.began > self._deadline:
            self.kill()
        if hasattr(os, "waitid"):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with suppress(ProcessLookupError, PermissionError):  # what it left behind, before its number is free
                os.killpg(self.pid, signal.SIGKILL)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        os.set_blocking(self._alive, False)
        words = b""
        with suppress(BlockingIOError):  # what it left behind may hold the other end, and says nothing
            words = os.read(self._alive, 2048)
        os.close(self._alive)
        return self._judge(os.waitstatus_to_exitcode(status), words.decode("utf-8", "replace"))

    def _judge(self, code: int, words: str) -> Exit:
        if code == 0:
            return Exit()
        if code == self._DATABASE_AWAY:
            return Exit("the database was away", database_away=True)
        if self._killed or -code == signal.SIGALRM:
            return Exit(_too_long(self._deadline))
        if code == self._BROKEN and words:
            return Exit(words)
        return Exit(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")

    def _live(self, target: Callable[[], object], parent: int, mask: Iterable[Any]) -> NoReturn:
        code = self._BROKEN
        try:
            os.setpgid(0, 0)
            if _LIBC is not None:
                _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(code)
            # The system ends it even if the parent is gone and this process has lost its mind.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            if self._deadline is not None:
                signal.setitimer(signal.ITIMER_REAL, self._deadline + 1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _on_stop_request)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            random.seed()
            # Nothing of what the parent had is garbage here: to look through it again and again for some that is
            # takes a tenth of a long drain.
            gc.freeze()
            _limit_memory()
            _limit_talk()
            target()
            code = 0
        except DatabaseAway as error:
            log.warning("the database is away", error=str(error))
            code = self._DATABASE_AWAY
        except BaseException as error:
            with suppress(BaseException):
                os.write(self._last_words, in_words(error).encode("utf-8", "replace"))
                log.exception("a child of the worker broke down")
        finally:
            with suppress(BaseException):
                logging.shutdown()
                _flush()
            os._exit(code)


_MORE, _LAST = b".", b"!"  # what a runner says at the end of a task


class Runner:
    """A child that does one task after another, so that what the first one warmed up serves the next.

    ``do`` gets each task as one line of text. A task that takes longer than ``deadline`` seconds, raises, or ends the
    process ends the runner with it; one that comes to an orderly end leaves it free for more. Python's caches make up
    most of what a short task costs: a fresh process for each would spend its time filling them.
    """

    def __init__(self, do: Callable[[str], object], deadline: float) -> None:
        self._deadline = deadline
        self._began: float | None = None
        self._ending = False
        self.tasks = 0
        self.born = time.monotonic()
        heard, self._commands = os.pipe()
        self._answers, told = os.pipe()

        def live() -> None:
            for theirs in (self._commands, self._answers):
                os.close(theirs)
            for task in _lines(heard):
                signal.setitimer(signal.ITIMER_REAL, deadline + 1)
                _limit_talk()
                do(task)
                signal.setitimer(signal.ITIMER_REAL, 0)
                last = _left_something()
                os.write(told, _LAST if last else _MORE)
                if last:
                    return  # the parent ends it, with whatever it is

        try:
            self._child = Child(live, None)
        except OSError:
            os.close(self._commands)
            os.close(self._answers)
            raise
        finally:
            os.close(heard)
            os.close(told)

    @property
    def pid(self) -> int:
        return self._child.pid

    def fileno(self) -> int:
        """Readable when a task has ended, or the process has."""
        return self._answers

    def begin(self, task: str) -> bool:
        """Hand it a task; False if the process is gone, or about to be."""
        if self._ending:
            return False
        try:
            os.write(self._commands, f"{task}\n".encode())
        except BrokenPipeError:
            return False
        self._began = time.monotonic()
        self.tasks += 1
        return True

    def ended(self) -> Exit | None:
        """How its task ended, None while it is at it. After an Exit with a reason the runner is gone."""
        if select.select([self._answers], (), (), 0)[0] and (said := os.read(self._answers, 1)):
            self._began = None
            self._ending = said == _LAST
            return Exit()
        if self._began is not None and time.monotonic() - self._began > self._deadline:
            self._child.kill()
        ended = self._child.ended()
        if ended is None:
            return None
        self._close()
        if ended.reason:
            return Exit(_too_long(self._deadline)) if ended.reason == _too_long(None) else ended
        return Exit("it ended its process")

    def gone(self) -> bool:
        """Whether the process has ended while it had nothing to do; what it left behind is ended too."""
        if self._child.ended() is None:
            return False
        self._close()
        return True

    def ask_to_stop(self) -> None:
        """Let it finish what it is doing, and begin nothing new."""
        self._child.ask_to_stop()

    def kill(self) -> None:
        """End it and whatever it started, now."""
        self._child.kill()

    def retire(self) -> None:
        """End it while it has nothing to do."""
        self._child.kill()
        while not self.gone():
            time.sleep(0.001)

    def _close(self) -> None:
        for mine in (self._commands, self._answers):
            with suppress(OSError):
                os.close(mine)


def _left_something() -> bool:
    """Whether the task has started a process or a thread that still runs."""
    if threading.active_count() > 1:
        return True
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _lines(source: int) -> Iterator[str]:
    """Lines of text from a pipe, until it ends, the parent is gone or the process is asked to stop."""
    parent = os.getppid()
    kept = b""
    while os.getppid() == parent and not _stop_requested:
        # Looked at now and then: brothers forked later hold the pipe open when the parent is gone.
        if not select.select([source], (), (), 5.0)[0]:
            continue
        read = os.read(source, 65536)
        if not read:
            return
        *lines, kept = (kept + read).split(b"\n")
        yield from (line.decode() for line in lines)


def _too_long(deadline: float | None) -> str:
    return "it took too long" if deadline is None else f"it took longer than {deadline:.0f} seconds"


def _limit_memory() -> None:
    """What wants more than this beyond what the parent had gets a MemoryError, before others go without."""
    with suppress(OSError, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        had = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = had + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))


def _limit_talk() -> None:
    """From here on this process prints and logs so much and no more: a disk full of it would stop everybody."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.write = _Talk(stream)  # type: ignore[method-assign]


class _Talk:
    """Writes to a stream until it was too much."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._write = getattr(stream.write, "_write", stream.write)
        self._left = MOST_TALK

    def __call__(self, text: str) -> int:
        if self._left > 0:
            self._left -= len(text)
            self._write(text if self._left >= 0 else f"{text[: self._left]}\n(It said more, which was left out.)\n")
        return len(text)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _on_stop_request(_signum: int, _frame: FrameType | None) -> None:
    global _stop_requested
    _stop_requested = True
