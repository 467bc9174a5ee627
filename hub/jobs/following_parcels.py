"""Asking carriers where parcels are that nobody told of for a while, and for the files of labels that came without."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, update

from hub.connector import Carrier
from hub.core.plain import from_plain
from hub.core.shipping import Label
from hub.errors import AuthError, ConnectorError, RateLimited, Rejected, Unavailable
from hub.jobs.shift import Shift
from hub.store import activity, inbox, labels, papers, tracking
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

_ASK_AGAIN = timedelta(hours=6)  # where a carrier has nothing new to say
NO_FILE = "label_without_file"  # the kind of issue; the subject is the shipment's id


def work(shift: Shift) -> bool:
    """Ask about the shipment of this carrier that is due; False when none is, or the carrier may not be called."""
    row = shift.row()
    if not issubclass(shift.installed(row), Carrier) or not shift.may_call(row):
        return False
    due = shift.write(
        lambda connection, at: tracking.next_to_ask(connection, shift.merchant_id, shift.connection_id, at)
    )
    if due is None:
        return False
    began = shift.now()
    carrier = shift.sender(row)
    assert isinstance(carrier, Carrier)  # noqa: S101 (what the lines before made sure of, told to mypy)
    label = from_plain(Label, due.label)
    try:
        if due.documents_at is not None and due.documents_at <= began:
            _fetch_files(shift, carrier, due, label)
        else:
            _look(shift, carrier, due, label)
    except Interrupted:
        raise
    except (RateLimited, Unavailable, AuthError) as error:
        shift.note(error, began)
        return False
    except ConnectorError as error:
        shift.note(error, began)
        _give_up(shift, due, str(error))
    except (Exception, SystemExit) as error:
        log.exception("asking a carrier failed", shipment=str(due.id))
        _give_up(shift, due, f"The connector failed: {type(error).__name__}: {error}")
    else:
        shift.note(None, began)
    return True


def _look(shift: Shift, carrier: Carrier, due: Row[Any], label: Label) -> None:
    asked_at = shift.now()
    records = list(carrier.track(label))

    def store(connection: Connection, at: datetime) -> int:
        new = inbox.store_page(
            connection,
            shift.hub.keyring,
            shift.merchant_id,
            shift.connection_id,
            records,
            asked_at=asked_at,
            at=at,
        )
        _put_off(connection, due, track_at=at + _ASK_AGAIN)
        return new

    if shift.write(store):
        shift.ring(shift.connection_id, "inbox")


def _fetch_files(shift: Shift, carrier: Carrier, due: Row[Any], label: Label) -> None:
    with shift.hub.database.read() as connection:
        wanted = labels.policy(connection, shift.merchant_id).format
    formats = carrier.capabilities.label_formats
    files = carrier.fetch_documents(label, wanted if wanted in formats else formats[0])
    if not files:
        raise Rejected("It has no file for this label.")

    def store(connection: Connection, at: datetime) -> None:
        papers.keep(connection, shift.hub.keyring, shift.merchant_id, due.effect_id, due.order_id, files, at=at)
        _put_off(connection, due, documents_at=None)
        activity.resolve_issue(connection, shift.merchant_id, NO_FILE, str(due.id), at=at)

    shift.write(store)


def _give_up(shift: Shift, due: Row[Any], why: str) -> None:
    """The carrier says no, or its connector cannot: it is tried again, later; for a file somebody waits."""

    def write(connection: Connection, at: datetime) -> None:
        if due.documents_at is None:
            _put_off(connection, due, track_at=at + _ASK_AGAIN)
            return
        _put_off(connection, due, documents_at=at + timedelta(hours=1))
        activity.raise_issue(
            connection,
            shift.merchant_id,
            NO_FILE,
            str(due.id),
            f"There is no file for the label of shipment {due.reference}: {why}"[:500],
            "Print it at the carrier. The label is bought and good; the hub goes on asking for its file.",
            at=at,
            connection_id=shift.connection_id,
            order_id=due.order_id,
            link=f"/shipments/{due.id}",
        )

    shift.write(write)


def _put_off(connection: Connection, due: Row[Any], **values: Any) -> None:
    this = t.shipment.c
    connection.execute(
        update(t.shipment).where(this.merchant_id == due.merchant_id, this.id == due.id).values(**values)
    )
