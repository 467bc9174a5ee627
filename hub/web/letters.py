"""Handing an e-mail to the mail server at once, while the person who wants it sent waits for the answer."""

from __future__ import annotations

from uuid import uuid4

from hub import mail
from hub.mail import Handing, Letter
from hub.web.gate import hub


def send(recipient: str, letter: Letter) -> Handing | None:
    """What the mail server said; None where the hub sends no e-mail. No transaction may be open."""
    settings = hub().settings
    if not settings.smtp_url or not settings.mail_from:
        return None
    return mail.hand_over(settings.smtp_url, settings.mail_from, recipient, letter, uuid4().hex)
