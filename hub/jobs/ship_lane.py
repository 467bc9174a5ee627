"""The ship lane: all carriers are asked at once what a shipment costs; the best label is bought where that is wished.

It belongs to the connection of the order, since the question goes to every carrier of the merchant. Who has not
answered by the deadline has not answered: somebody waits at the packing bench.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, select

from hub.connector import Carrier
from hub.core.rates import Answer, Choice, offers_of
from hub.core.shipping import Shipment
from hub.errors import BadInput, Conflict, ConnectorError, HubError
from hub.jobs.shift import Shift
from hub.plugins import in_words
from hub.store import breaker, labels, words
from hub.store import tables as t
from hub.store.database import Interrupted

log = structlog.get_logger()

DEADLINE_SECONDS = 8.0


def work(shift: Shift) -> None:
    """Ask for one shipment after the other, the one that waits the longest first."""
    while shift.time_left():
        shift.keep()
        due = shift.write(
            lambda connection, at: labels.next_to_rate(connection, shift.merchant_id, shift.connection_id, at)
        )
        if due is None:
            return
        if due.state == "draft":
            _ask(shift, due)


def _ask(shift: Shift, due: Row[Any]) -> None:
    try:
        with shift.hub.database.read() as connection:
            shipment = labels.to_carry(connection, due)
            carriers = _carriers(shift, connection)
    except (BadInput, ValueError) as error:
        reason = str(error)
        shift.write(lambda connection, _at: labels.refuse_rates(connection, shift.merchant_id, due.id, reason))
        return
    answers = ask_all(shift, carriers, shipment, due.order_id)
    wished = _of_plugins(shift, shipment, answers)
    formats = {str(row.id): shift.installed(row).capabilities.label_formats for row in carriers}  # type: ignore[union-attr]

    def write(connection: Connection, at: datetime) -> UUID | None:
        chosen = labels.keep_answers(connection, shift.merchant_id, due.id, answers, at=at, wished=wished)
        wanted = labels.policy(connection, shift.merchant_id)
        if chosen is None or not wanted.automatic or due.is_return:
            return None
        carrier_id, possible = UUID(chosen.offer.connection), formats[chosen.offer.connection]
        try:
            labels.buy(
                connection,
                shift.merchant_id,
                due.id,
                carrier_id,
                chosen.offer.rate,
                chosen.why,
                at=at,
                format=wanted.format if wanted.format in possible else possible[0],
            )
        except (Conflict, BadInput) as error:
            labels.refuse_rates(connection, shift.merchant_id, due.id, str(error))  # a person buys it when it may go
            return None
        return carrier_id

    if (bought_from := shift.write(write)) is not None:
        shift.ring(bought_from, "effects")


def _carriers(shift: Shift, connection: Connection) -> list[Row[Any]]:
    """The merchant's connections to carriers that may be called now."""
    account = t.connection.c
    names = [name for name, each in shift.hub.registry.connectors.items() if issubclass(each, Carrier)]
    return list(
        connection.execute(
            select(t.connection)
            .where(
                account.merchant_id == shift.merchant_id,
                account.connector.in_(names),
                account.state == "connected",
            )
            .order_by(account.created_at, account.id)
        )
    )


# ---------------------------------------------------------------- asking


def ask_all(shift: Shift, carriers: Sequence[Row[Any]], shipment: Shipment, order_id: UUID) -> list[Answer]:
    """What each carrier says, asked all at once; one that is silent by the deadline is told as such."""
    heard: dict[UUID, Answer] = {}
    asking = [
        threading.Thread(
            target=_ask_one, args=(shift, row, shipment, order_id, heard), name=f"rates-{row.id}", daemon=True
        )
        for row in carriers
    ]
    gives_up = time.monotonic() + DEADLINE_SECONDS
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(max(0.0, gives_up - time.monotonic()))
    answered = dict(heard)  # who answers from here on is too late
    return [
        answered.get(row.id)
        or Answer(
            connection=str(row.id), account=row.label, trouble=f"No answer within {DEADLINE_SECONDS:.0f} seconds."
        )
        for row in carriers
    ]


def _ask_one(shift: Shift, row: Row[Any], shipment: Shipment, order_id: UUID, heard: dict[UUID, Answer]) -> None:
    said: dict[str, Any] = {"connection": str(row.id), "account": row.label}
    began = shift.now()
    failure: BaseException | None = None
    try:
        if row.not_before is not None and row.not_before > began:
            raise Conflict("It asked for a pause, or cannot be reached at the moment.")
        connector = shift.installed(row)
        _refuse_unfitting(connector, shipment)
        fitting = labels.for_carrier(shipment, row.connector)
        with shift.hub.database.read() as connection:
            credentials = words.credentials(connection, shift.hub.keyring, connector, row)
        recorder = shift.recorder_of(row.id, order_id=order_id)
        carrier: Any = shift.hub.caller(connector, credentials, shift.merchant_id, row.id, on_exchange=recorder)
        try:
            quotes = carrier.rates(fitting)
        finally:
            carrier.client.close()
            recorder.flush()
        heard[row.id] = Answer(**said, rates=tuple(quotes.rates), notes=tuple(quotes.notes))
    except ConnectorError as error:
        failure = error
        heard[row.id] = Answer(**said, trouble=str(error)[:500])
    except HubError as error:
        heard[row.id] = Answer(**said, trouble=str(error)[:500])
        return
    except (Exception, SystemExit) as error:  # somebody else's code: the other carriers' answers stand
        log.exception("asking for rates failed", carrier=row.connector)
        heard[row.id] = Answer(**said, trouble=f"The connector failed: {in_words(error)}"[:500])
        return
    # Where it cannot be written, the next call to this carrier tells the same.
    with suppress(Interrupted), shift.hub.database.write() as connection:
        at = shift.hub.database.now(connection)
        breaker.note_outcome(connection, shift.merchant_id, row.id, failure, now=at, began=began)


def _refuse_unfitting(connector: Any, shipment: Shipment) -> None:
    can = connector.capabilities
    if len(shipment.parcels) > can.parcels_per_shipment:
        most = can.parcels_per_shipment
        raise Conflict(f"It takes {most} parcel{'' if most == 1 else 's'} a shipment at most.")
    if shipment.returning and not can.returns:
        raise Conflict("It sells no return labels.")


# ---------------------------------------------------------------- what a plugin wants


def _of_plugins(shift: Shift, shipment: Shipment, answers: Sequence[Answer]) -> Choice | None:
    """The offer that a plugin chooses; None: there is no such plugin, or it leaves it to the policy."""
    offers = offers_of(answers)
    if not offers:
        return None
    for name, choose in shift.hub.registry.rate_choosers.items():
        try:
            chosen = choose(shipment, [each.rate for each in offers])
        except (Exception, SystemExit) as error:
            log.warning("a plugin could not choose a rate", plugin=name, error=in_words(error))
            continue
        for offer in offers:
            if offer.rate == chosen:
                return Choice(offer=offer, why=f"Chosen by the plugin {name}.")
    return None
