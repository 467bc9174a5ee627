"""The task that forgets customers: bit by bit, until nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, update

from hub.jobs.shift import Shift
from hub.store import activity, privacy
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

Tell = Callable[[str, int, int | None], None]  # what it is doing, how far, of how many

STUCK = "erasure_stuck"  # the kind of issue; the subject is the task's id
_READ_FIRST = timedelta(seconds=5)  # while records that came in before are still to be read
_AGAIN = timedelta(minutes=5)


def erase(shift: Shift, task: Row[Any], tell: Tell) -> str | None:
    """Forget what the task asks for; None: it goes on later. It is never given up, whatever goes wrong."""
    try:
        while shift.time_left():
            shift.keep()
            step = privacy.go_on(
                shift.hub.database, shift.hub.keyring, shift.merchant_id, shift.connection_id, task.request
            )
            if step is None:
                shift.write(
                    lambda connection, at: activity.resolve_issue(
                        connection, shift.merchant_id, STUCK, str(task.id), at=at
                    )
                )
                return "All that was kept about the customers is erased."
            tell("Erasing personal data…", step.done, step.total or None)
            if step.wait:
                _later(shift, task, _READ_FIRST)
                return None
    except Interrupted:
        raise
    except Exception as error:
        log.exception("erasing failed")
        _later(shift, task, _AGAIN, f"{type(error).__name__}: {error}")
    else:
        _later(shift, task, timedelta(0))
    return None


def _later(shift: Shift, task: Row[Any], pause: timedelta, trouble: str = "") -> None:
    def write(connection: Connection, at: datetime) -> None:
        connection.execute(
            update(t.task)
            .where(t.task.c.merchant_id == shift.merchant_id, t.task.c.id == task.id)
            # What was done is committed: these were no attempts that failed.
            .values(state="waiting", due_at=at + pause, attempts=0)
        )
        if trouble:
            activity.raise_issue(
                connection,
                shift.merchant_id,
                STUCK,
                str(task.id),
                f"Personal data that a shop asked to erase is not all gone yet: {trouble}",
                "The hub goes on trying. If this lasts, tell the operator.",
                at=at,
                connection_id=shift.connection_id,
                link="/privacy",
            )

    shift.write(write)
