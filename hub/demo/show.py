"""What the person at the console sees: steps as they are done, and counters that stay on one line of a terminal."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

_PAUSE_BETWEEN_LINES = 5.0  # where there is no terminal


class Show:
    """Prints lines, steps and counters; safe to use from several threads."""

    def __init__(self, *, interactive: bool) -> None:
        self._terminal = interactive and sys.stdout.isatty()
        self._open = ""  # what stands on the line that is not ended yet
        self._told_at = -math.inf
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """One line; what was being shown goes on below it."""
        with self._lock:
            if self._open:
                click.echo("\r\033[K", nl=False)
            click.echo(text)
            if self._open:
                click.echo(self._open, nl=False)

    def counters(self, text: str) -> None:
        """The newest figures, in place on a terminal, otherwise as a line now and then."""
        with self._lock:
            if self._terminal:
                self._open = f"  {text}"
                click.echo(f"\r\033[K{self._open}", nl=False)
            elif time.monotonic() - self._told_at >= _PAUSE_BETWEEN_LINES:
                self._told_at = time.monotonic()
                click.echo(f"  {text}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A step: shown while it is being done, and again once it is."""
        with self._lock:
            self._close_line()
            if self._terminal:
                self._open = f"  ....  {text}"
                click.echo(self._open, nl=False)
        try:
            yield
        except BaseException:
            with self._lock:
                self._close_line()
            raise
        with self._lock:
            if self._open:
                click.echo("\r\033[K", nl=False)
                self._open = ""
            click.echo(f"  {click.style('done', fg='green')}  {text}")

    def _close_line(self) -> None:
        if self._open:
            click.echo()
            self._open = ""


@contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts whatever is being done."""
    stop = threading.Event()

    def asked(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
