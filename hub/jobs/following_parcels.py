"""What carriers are asked about labels that were bought: to tell of their parcels, where these are that nobody told of
for a while, for files that came without, and what has become of a label that was given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, update

from hub.connector import Carrier, CarrierCapabilities, EffectResult, Settlement
from hub.core.plain import from_plain
from hub.core.shipping import Label, LabelVoid
from hub.errors import AuthError, ConnectorError, RateLimited, Rejected, Unavailable
from hub.jobs import watchdog
from hub.jobs.shift import Shift
from hub.store import activity, inbox, labels, papers, tracking
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

_ASK_AGAIN = timedelta(hours=6)  # where a carrier has nothing new to say
NO_FILE = "label_without_file"  # the kind of issue; the subject is the shipment's id
NOT_FOLLOWED = "parcels_not_followed"  # likewise; the subject is the connection's id
_REFUSED_TO_FOLLOW = timedelta(days=1)  # before a carrier is asked again that will not tell of parcels
_RENEWED_AFTER = 0.75  # of the days for which a carrier tells of a parcel


def work(shift: Shift) -> bool:
    """Ask this carrier what is due; False when nothing is, or it may not be called."""
    row = shift.row()
    if not issubclass(shift.installed(row), Carrier) or not shift.may_call(row):
        return False
    return _have_followed(shift, row) or _ask(shift, row)


# ---------------------------------------------------------------- having it tell by itself


def _have_followed(shift: Shift, row: Row[Any]) -> bool:
    """Have the carrier tell of parcels with a new label, and of those that it will soon stop to tell of."""
    can = shift.installed(row).capabilities
    if not isinstance(can, CarrierCapabilities):
        return False
    public_url, days = shift.public_url(), can.follow_days if can.webhooks else None

    def choose(connection: Connection, at: datetime) -> tracking.ToFollow | None:
        here = (connection, shift.merchant_id, shift.connection_id)
        found = tracking.next_to_follow(*here, can.follow_batch, at)
        if found is not None and days is None:  # it tells of all its parcels, or of none
            tracking.follow_from(*here, None)
        elif found is not None and not public_url:  # nobody could tell us anything yet
            tracking.follow_from(*here, at + _REFUSED_TO_FOLLOW)
        return found

    chosen = shift.write(choose)
    if chosen is None or days is None or not public_url:
        return False
    began = shift.now()
    carrier = shift.sender(row)
    assert isinstance(carrier, Carrier)  # noqa: S101 (whoever calls this has looked, told to mypy)
    address = watchdog.address_of(public_url, shift.merchant_id, shift.connection_id)
    try:
        refused = carrier.follow_parcels(chosen.tracking_numbers, address)
    except Interrupted:
        raise
    except (RateLimited, Unavailable) as error:
        shift.note(error, began)
        return False
    except AuthError as error:
        # An account may be without this alone: that must not keep it from selling labels. Where it is not let in at
        # all, its next call tells.
        _not_followed(shift, row, str(error))
        return True
    except ConnectorError as error:
        shift.note(error, began)
        _not_followed(shift, row, str(error))
        return True
    except (Exception, SystemExit) as error:
        log.exception("having parcels followed failed", connection=str(shift.connection_id))
        _not_followed(shift, row, f"The connector failed: {type(error).__name__}: {error}")
        return True
    shift.note(None, began)
    _followed(shift, row, chosen, set(refused), timedelta(days=days))
    return True


def _followed(shift: Shift, row: Row[Any], chosen: tracking.ToFollow, refused: set[str], lasts: timedelta) -> None:
    taken = len(chosen.tracking_numbers) - len(refused.intersection(chosen.tracking_numbers))

    def write(connection: Connection, at: datetime) -> None:
        here = (connection, shift.merchant_id)
        tracking.followed(*here, chosen, refused, at + lasts * _RENEWED_AFTER)
        said = f"{row.label} tells what happens to {taken} parcel{'' if taken == 1 else 's'}"
        if refused:
            said += f"; of {len(refused)} it does not tell, and is asked about them as before"
        activity.note(*here, "parcels_followed", said, at=at, connection_id=shift.connection_id)
        activity.resolve_issue(*here, NOT_FOLLOWED, str(shift.connection_id), at=at)

    shift.write(write)


def _not_followed(shift: Shift, row: Row[Any], why: str) -> None:
    """The carrier says no, or its connector cannot: for all its parcels it is asked again tomorrow, not for each."""

    def write(connection: Connection, at: datetime) -> None:
        tracking.follow_from(connection, shift.merchant_id, shift.connection_id, at + _REFUSED_TO_FOLLOW)
        activity.raise_issue(
            connection,
            shift.merchant_id,
            NOT_FOLLOWED,
            str(shift.connection_id),
            f"{row.label} does not tell by itself what happens to parcels: {why}"[:500],
            "Nothing is lost: the hub asks where each parcel is, every few hours, and tries this again once a day.",
            at=at,
            connection_id=shift.connection_id,
            link=f"/connections/{shift.connection_id}",
        )

    shift.write(write)


# ---------------------------------------------------------------- asking


def _ask(shift: Shift, row: Row[Any]) -> bool:
    found = shift.write(
        lambda connection, at: tracking.next_to_ask(connection, shift.merchant_id, shift.connection_id, at)
    )
    if found is None:
        return False
    due, question = found
    began = shift.now()
    carrier = shift.sender(row)
    assert isinstance(carrier, Carrier)  # noqa: S101 (what the lines before made sure of, told to mypy)
    label = from_plain(Label, due.label)
    try:
        with shift.recorder.doing(order_id=due.order_id):
            _QUESTIONS[question](shift, carrier, due, label)
    except Interrupted:
        raise
    except (RateLimited, Unavailable, AuthError) as error:
        shift.note(error, began)
        return False
    except ConnectorError as error:
        shift.note(error, began)
        _give_up(shift, due, question, str(error))
    except (Exception, SystemExit) as error:
        log.exception("asking a carrier failed", shipment=str(due.id))
        _give_up(shift, due, question, f"The connector failed: {type(error).__name__}: {error}")
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


def _ask_about_void(shift: Shift, carrier: Carrier, due: Row[Any], label: Label) -> None:
    """Ask whether a label is taken back, in the way in which the connector settles what is unclear."""
    settlement = carrier.effects.get("void_label", Settlement.NONE)
    if settlement is Settlement.NONE:
        raise Rejected("It cannot be asked.")
    with shift.hub.database.read() as connection:
        key = labels.key_of_void(connection, shift.merchant_id, due.id)
    ask = carrier.find if settlement is Settlement.LOOKUP else carrier.perform
    answer: EffectResult | None = ask("void_label", due.label, key)
    said = None if answer is None else from_plain(LabelVoid, answer.details)
    lanes = shift.write(lambda connection, at: labels.void_asked(connection, shift.merchant_id, due.id, said, at=at))
    shift.ring_all(lanes)


_QUESTIONS: Mapping[str, Callable[[Shift, Carrier, Row[Any], Label], None]] = {
    "documents_at": _fetch_files,
    "void_ask_at": _ask_about_void,
    "track_at": _look,
}


def _give_up(shift: Shift, due: Row[Any], question: str, why: str) -> None:
    """The carrier says no, or its connector cannot: it is tried again, later; for a file somebody waits."""

    def write(connection: Connection, at: datetime) -> None:
        if question == "track_at":
            _put_off(connection, due, track_at=at + _ASK_AGAIN)
            return
        if question == "void_ask_at":
            labels.void_not_asked(connection, shift.merchant_id, due.id, at=at)
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
