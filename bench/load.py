"""An open-loop load: requests leave when they are due, however slow the answers are, and latency counts from then."""

from __future__ import annotations

import http.client
import itertools
import math
import threading
import time
from collections.abc import Sequence

from bench.places import CannotMeasure, Letter

SENDERS = 32
WARM_UP_SECONDS = 2.0


def send(letters: Sequence[Letter], port: int, path: str, per_second: float) -> list[float]:
    """Post every letter at its time; returns the seconds from then to the answer, without the warm-up's.

    Raises CannotMeasure when one was not answered 200.
    """
    begin = time.monotonic() + 0.5
    numbers = itertools.count()
    taken = threading.Lock()
    seconds: list[float] = []
    refused: list[str] = []

    def work() -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while True:
            with taken:
                number = next(numbers)
            if number >= len(letters):
                line.close()
                return
            due = begin + number / per_second
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                line.request("POST", path, letters[number].body, dict(letters[number].headers))
                answer = line.getresponse()
                answer.read()
                if answer.status != 200:
                    refused.append(str(answer.status))
            except OSError as error:
                refused.append(repr(error))
                line.close()
            if due - begin >= WARM_UP_SECONDS:
                seconds.append(time.monotonic() - due)

    senders = [threading.Thread(target=work) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if refused:
        raise CannotMeasure(f"{len(refused)} webhooks were not accepted: {', '.join(sorted(set(refused)))}.")
    return seconds


def percentile(seconds: Sequence[float], part: int) -> float:
    """The smallest value that at least ``part`` percent do not exceed, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(len(ordered) * part / 100) - 1)] * 1000
