"""The lane in which e-mail about a shop's orders goes out, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from hub.config import Settings
from hub.jobs.shift import Shift
from hub.mail import Handed, Letter, hand_over
from hub.store import mail
from hub.store import tables as t


def due(settings: Settings, connection: Connection, now: datetime) -> Sequence[tuple[UUID, UUID]]:
    """The connections with e-mail to be sent now; none while no mail server is set up."""
    if not settings.sends_mail:
        return []
    this = t.email.c
    rows: Any = connection.execute(select(this.merchant_id, this.connection_id).distinct().where(mail.due(now)))
    return [(row.merchant_id, row.connection_id) for row in rows]


def work(shift: Shift) -> None:
    """Hand over what is due. Each e-mail is marked before the server hears of it, so that nobody is told twice."""
    settings = shift.hub.settings
    if not (settings.smtp_url and settings.mail_from):
        return
    while shift.time_left():
        shift.keep()
        row = mail.claim(shift.hub.database, shift.merchant_id, shift.connection_id)
        if row is None:
            return
        letter = Letter(row.subject, row.body, row.html, row.qr)
        handing = hand_over(settings.smtp_url, settings.mail_from, row.recipient, letter, row.id.hex)
        mail.settle(shift.hub.database, row, handing)
        if handing.outcome is Handed.LATER:
            return  # the server is away, or asks for patience: the others wait as well
