"""Long work a person asks for on a page: comparing stock before it is written, matching, reading records again.

Nothing is written to the vendor here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, select, update

from hub.connector import SalesChannel, Unread
from hub.errors import Conflict, Unavailable
from hub.jobs import replay
from hub.jobs.shift import Shift, limits
from hub.store import matching, previews, publications, tasks
from hub.store import tables as t
from hub.store.publications import Foreseen

Tell = Callable[[str, int, int | None], None]  # what it is doing, how far, of how many

_SHOWN = 100  # orders that are kept for the page


def preview_stock(shift: Shift, task: Row[Any], tell: Tell) -> str | None:
    """Read what the channel says of every figure that would be written, and keep both; None: it goes on later."""
    row = shift.row()
    if row.state != "connected":
        raise Conflict(f"{row.label} is {row.state}. Connect or resume it, then look again.")
    if not shift.may_call(row):
        raise Unavailable(f"{row.label} asked for a pause.", sent=False)
    caller = shift.caller(row)
    here = (shift.merchant_id, shift.connection_id)
    done = dict(task.arguments or {})
    after = (UUID(done["listing"]), done["place"]) if "listing" in done else None
    looked, silent = done.get("looked", 0), done.get("silent", 0)
    with shift.hub.database.read() as connection:
        total = publications.count_foreseen(connection, *here)
    if after is None:
        shift.write(lambda connection, _at: previews.begin(connection, *here))
    while True:
        shift.keep()
        with shift.hub.database.read() as connection:
            batch = publications.foreseen(
                connection,
                *here,
                limits=limits(caller.capabilities),
                after=after,
                limit=caller.capabilities.push_batch,
            )
        if not batch:
            break
        tell(f"Reading what {row.account_name} says now…", looked, total)
        silent += _look(shift, caller, batch)
        looked += len(batch)
        after = batch[-1].listing_id, batch[-1].ref.location_external_id
        if not shift.time_left():
            _go_on_later(shift, task, done | _mark(after, looked, silent))
            return None
    shift.write(lambda connection, at: previews.finish(connection, *here, at=at))
    told = f"{looked} figure{'' if looked == 1 else 's'} compared."
    return f"{told} Of {silent} the shop did not say its stock." if silent else told


def fetch_sample(shift: Shift, task: Row[Any], tell: Tell) -> str | None:
    """Look for a file of a kind that has come, and keep its beginning for the page of the columns."""
    row = shift.row()
    kind = (task.arguments or {})["about"]
    tell(f"Looking into the folder of {row.label}…", 0, None)
    sample = shift.sender(row).sample_file(kind)
    found = {"kind": kind, "sample": b64encode(sample).decode()}
    shift.write(
        lambda connection, _at: tasks.keep_result(connection, shift.hub.keyring, shift.merchant_id, task.id, found)
    )
    return "A file was found."


def _mark(after: tuple[UUID, str], looked: int, silent: int) -> dict[str, Any]:
    return {"listing": str(after[0]), "place": after[1], "looked": looked, "silent": silent}


def _look(shift: Shift, caller: SalesChannel, batch: list[Foreseen]) -> int:
    """Compare one batch; returns of how many the shop said nothing."""
    answers = caller.read_stock([each.ref for each in batch])
    said = [None if isinstance(figure, Unread) else figure for figure in answers]

    shift.write(
        lambda connection, at: previews.keep(
            connection, shift.merchant_id, shift.connection_id, zip(batch, said, strict=True), at=at
        )
    )
    return said.count(None)


def _go_on_later(shift: Shift, task: Row[Any], done: dict[str, Any]) -> None:
    """Others want the lane: the next shift goes on behind what was looked at, and it counts as no failed try."""

    def write(connection: Connection, at: Any) -> None:
        this = t.task.c
        connection.execute(
            update(t.task)
            .where(this.merchant_id == shift.merchant_id, this.id == task.id)
            .values(state="waiting", due_at=at, attempts=0, arguments=done)
        )

    shift.write(write)


# ---------------------------------------------------------------- many matches at once


def accept_matches(shift: Shift, task: Row[Any], tell: Tell) -> str:
    """Match every listing of the connection of which it is sure what it sells. Begun anew, it goes on from there."""
    listing = t.listing.c
    with shift.hub.database.read() as connection:
        total = connection.execute(
            select(func.count()).where(
                listing.merchant_id == shift.merchant_id,
                listing.connection_id == shift.connection_id,
                listing.sku_id.is_(None),
                listing.active,
            )
        ).scalar_one()

    def progress(looked_at: int) -> None:
        shift.keep()
        tell("Finding the listings that are sure, and matching them…", looked_at, total)

    act = matching.accept_suggestions(
        shift.hub.database, shift.merchant_id, shift.connection_id, None, task.actor, tell=progress
    )
    shift.ring(shift.connection_id, "publish")
    if act.id is None:
        return "Nothing was matched: nothing is that sure. Choose for each listing what it is."
    new = f", {act.new_skus} of them to new SKUs" if act.new_skus else ""
    return f"{act.matched} listings matched{new}."


# ---------------------------------------------------------------- orders, read again


def rehearse_replay(shift: Shift, task: Row[Any], tell: Tell) -> str:
    """Find out which orders would change if their stored records were read again; nothing is changed."""
    found = _survey(shift, task, tell)
    if found is None:
        return "No record is set aside any more."
    return _keep(shift, task, found, list(replay.preview(found)), "would change")


def replay_records(shift: Shift, task: Row[Any], tell: Tell) -> str:
    """Read stored records again and change what reads differently now."""
    found = _survey(shift, task, tell)
    if found is None:
        return "No record is set aside any more."
    return _keep(shift, task, found, list(replay.carry_out(found)), "changed")


def _survey(shift: Shift, task: Row[Any], tell: Tell) -> replay.Survey | None:
    """What is about one order, or all since the oldest record that is set aside; None where none is."""

    def progress(_what: str, done: int, total: int) -> None:
        shift.keep()
        tell("Reading the stored records again…", done, total)

    about = task.arguments["about"]
    order, inbox = t.sales_order.c, t.inbox.c
    with shift.hub.database.read() as connection:
        if about != "quarantined":
            wanted = connection.execute(
                select(t.sales_order).where(
                    order.merchant_id == shift.merchant_id,
                    order.connection_id == shift.connection_id,
                    order.id == UUID(about),
                )
            ).one()
            since = None
        else:
            wanted = None
            since = connection.execute(
                select(func.min(inbox.received_at)).where(
                    inbox.merchant_id == shift.merchant_id,
                    inbox.connection_id == shift.connection_id,
                    inbox.state == "quarantined",
                )
            ).scalar_one()
    if wanted is None and since is None:
        return None
    return replay.survey(shift.hub, shift.row(), progress=progress, since=since, order=wanted)


def _keep(shift: Shift, task: Row[Any], found: replay.Survey, changed: list[replay.Changed], verb: str) -> str:
    """Keep what was found for the page, and say it in one line."""
    told = {
        "orders": [
            {
                "number": each.number,
                "id": str(each.order_id) if each.order_id else "",
                "changes": [[one.what, one.before, one.after] for one in each.changes],
                "held": [[one.sku, one.before, one.after] for one in each.held],
            }
            for each in islice(changed, _SHOWN)
        ],
        "count": len(changed),
        "released": len(found.released),
        "records": found.records,
        "quarantined": found.quarantined,
        "readable": found.readable,
        "troubles": [[each.number, each.reason] for each in islice(found.troubles, _SHOWN)],
    }
    shift.write(
        lambda connection, _at: tasks.keep_result(connection, shift.hub.keyring, shift.merchant_id, task.id, told)
    )
    said = f"{found.records} record{'' if found.records == 1 else 's'} read again: "
    said += f"{len(changed)} order{'' if len(changed) == 1 else 's'} {verb}."
    if found.quarantined:
        said += f" {found.readable} of {found.quarantined} that were set aside can be read now."
    return said
