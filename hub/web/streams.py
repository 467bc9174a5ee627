"""Lines kept open for the progress of long work: each rings when there is something new, and the page then asks for it.

A line holds a thread of the web process, so there are few of them, and each is closed after a while; whoever gets none
asks again and again instead (hub.js). A line says nothing but that something is new: what is shown is drawn in one
place only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore

from flask import Flask, Response, current_app, request
from flask_babel import gettext as _

from hub.web.failures import failure

LOOKS = 60  # of one line; the browser then calls again
PAUSE = 1.0  # seconds from look to look
AGAIN_AFTER = 3  # seconds until a browser calls again
OVER = ""  # what the last look says


class Lines:
    """The lines of one process."""

    def __init__(self, most: int) -> None:
        self._free = BoundedSemaphore(most) if most > 0 else None

    def take(self) -> bool:
        """Whether there is one left; it has to be given back."""
        return self._free is not None and self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """It is closed."""
        if self._free is not None:
            self._free.release()


def most_lines(web_threads: int) -> int:
    """How many lines may be open at once: fewer than half of the threads, so that pages always find one."""
    return (web_threads - 1) // 2


def install(app: Flask) -> None:
    """Give ``app`` its lines."""
    app.extensions["lines"] = Lines(most_lines(app.extensions["hub"].settings.web_threads))


def ring(look: Callable[[], str]) -> Response:
    """A line that rings whenever ``look`` says something else than before, until it says OVER.

    ``look`` opens the database and closes it again: nothing is held between two looks. Where no line is free the
    answer is 503, and the page goes on asking by itself.
    """
    if "text/event-stream" not in request.headers.get("Accept", ""):
        return failure(406, _("This is no page: a page keeps it open to hear of what is new."))
    lines: Lines = current_app.extensions["lines"]
    if not lines.take():
        return failure(503, None, {"Retry-After": str(AGAIN_AFTER)})
    answer = Response(events(look, time.sleep), mimetype="text/event-stream")
    answer.headers["X-Accel-Buffering"] = "no"  # a proxy that gathers an answer would keep the bell from ringing
    answer.call_on_close(lines.give_back)
    return answer


def events(look: Callable[[], str], wait: Callable[[float], None]) -> Iterator[bytes]:
    """What goes over the line."""
    yield f"retry: {AGAIN_AFTER * 1000}\n\n".encode()
    before: str | None = None
    for _look in range(LOOKS):
        now = look()
        if now == OVER:
            # One more ring for what is shown at the end, then word that nothing follows.
            yield b"data: over\n\nevent: over\ndata:\n\n"
            return
        # Where nothing is new a comment finds out whether anybody is still there.
        yield b": still\n\n" if now == before else b"data: new\n\n"
        before = now
        wait(PAUSE)
