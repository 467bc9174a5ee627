"""Child processes with a deadline: a plugin that hangs, crashes or exits takes nothing else with it."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import structlog

from hub.store.database import DatabaseAway

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

    It leads a process group of its own and does not outlive its parent (Linux; elsewhere it ends at its deadline).
    The parent must have one thread and no open database connection. Raises OSError when the system has no process to
    spare.
    """

    _BROKEN, _DATABASE_AWAY = 1, 75

    def __init__(self, target: Callable[[], object], deadline: float) -> None:
        self.began = time.monotonic()
        self._deadline = deadline
        self._killed = False
        _flush()
        self._alive, write = os.pipe()  # readable once the child is gone
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
            os.close(write)
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
        if not self._killed and time.monotonic() - self.began > self._deadline:
            self.kill()
        if hasattr(os, "waitid"):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with suppress(ProcessLookupError, PermissionError):  # what it left behind, before its number is free
                os.killpg(self.pid, signal.SIGKILL)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        os.close(self._alive)
        return self._judge(os.waitstatus_to_exitcode(status))

    def _judge(self, code: int) -> Exit:
        if code == 0:
            return Exit()
        if code == self._DATABASE_AWAY:
            return Exit("the database was away", database_away=True)
        if self._killed or -code == signal.SIGALRM:
            return Exit(f"it took longer than {self._deadline:.0f} seconds")
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
            signal.setitimer(signal.ITIMER_REAL, self._deadline + 1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _on_stop_request)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            random.seed()
            target()
            code = 0
        except DatabaseAway as error:
            log.warning("the database is away", error=str(error))
            code = self._DATABASE_AWAY
        except BaseException:
            log.exception("a child of the worker broke down")
        finally:
            with suppress(BaseException):
                logging.shutdown()
                _flush()
            os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _on_stop_request(_signum: int, _frame: FrameType | None) -> None:
    global _stop_requested
    _stop_requested = True
