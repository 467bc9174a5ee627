"""Asking a carrier what it thinks of an address, for somebody who waits for it on the page of an order."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row

from hub.connector import Carrier
from hub.core.model import Address
from hub.core.plain import from_plain
from hub.errors import AuthError, ConnectorError, RateLimited, Unavailable
from hub.jobs.shift import Shift
from hub.store import address_checks
from hub.store.database import Interrupted

log = structlog.get_logger()


def work(shift: Shift) -> bool:
    """Ask this carrier about the address that waits the longest; False when none does, or it may not be called."""
    row = shift.row()
    if not issubclass(shift.installed(row), Carrier) or not shift.may_call(row):
        return False
    asked = shift.write(
        lambda connection, at: address_checks.next_to_ask(connection, shift.merchant_id, shift.connection_id, at)
    )
    if asked is None:
        return False
    if asked.attempts >= address_checks.TRIES:  # counted before each try: not one of them came to an end
        _not_answered(shift, asked, "The connector broke down over this several times. Tell its author.")
        return True
    began = shift.now()
    carrier = shift.sender(row)
    assert isinstance(carrier, Carrier)  # noqa: S101 (what the lines before made sure of, told to mypy)
    try:
        verdict = carrier.validate_address(from_plain(Address, asked.address))
    except Interrupted:
        raise
    except AuthError as error:
        shift.note(error, began)
        _not_answered(shift, asked, str(error))
        return False
    except (RateLimited, Unavailable) as error:
        shift.note(error, began)
        if asked.attempts + 1 >= address_checks.TRIES:
            _not_answered(shift, asked, str(error))
        return False
    except ConnectorError as error:
        shift.note(error, began)
        _not_answered(shift, asked, str(error))
    except (Exception, SystemExit) as error:
        log.exception("checking an address failed", order=str(asked.order_id))
        _not_answered(shift, asked, f"The connector failed: {type(error).__name__}: {error}")
    else:
        shift.note(None, began)

        def keep(connection: Connection, at: datetime) -> None:
            address_checks.answered(connection, asked, verdict, at=at)

        shift.write(keep)
    return True


def _not_answered(shift: Shift, asked: Row[Any], why: str) -> None:
    shift.write(lambda connection, at: address_checks.not_answered(connection, asked, why, at=at))
