"""E-mail to customers and colleagues: what the letters say, and handing one to an SMTP server, with what is then known
of it."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from markupsafe import Markup

from hub.papers import qr_png

_Answer = TypeVar("_Answer")

# Lines end as SMTP wants them, and no server has to know 8BITMIME.
_FORM = policy.SMTP.clone(cte_type="7bit")
_SECONDS = 15.0  # for each answer of the server


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail in words, as plain text and as simple HTML; ``qr`` is what its picture says, "" for none."""

    subject: str
    text: str
    html: str
    qr: str = ""


def ready_to_collect(*, shop: str, order_number: str, name: str, place: str, address: str, code: str) -> Letter:
    """A customer's order lies ready at a location: where, and the code that hands it out."""
    hello = f"Hello {name}," if name else "Hello,"
    text = (
        f"{hello}\n\nyour order {order_number} is ready to be collected at:\n\n{place}\n{address}\n\n"
        f"Please show or tell this code at the counter:\n\n    {code}\n\nSee you soon,\n{shop}\n"
    )
    html = Markup(
        "<!doctype html><html><body><p>{}</p><p>your order <strong>{}</strong> is ready to be collected at:</p>"
        "<p>{}<br>{}</p><p>Please show or tell this code at the counter:</p>"
        '<p><strong>{}</strong></p><p><img src="cid:code" alt="{}" width="165" height="165"></p>'
        "<p>See you soon,<br>{}</p></body></html>"
    ).format(hello, order_number, place, Markup("<br>").join(address.splitlines()), code, code, shop)
    return Letter(f"Your order {order_number} is ready to be collected", text, str(html), qr=code)


def invitation(*, business: str, invited_by: str, link: str, days: int) -> Letter:
    """Somebody is asked to work for a business: the link by which they come in, once."""
    text = (
        f"Hello,\n\n{invited_by} invites you to work for {business} in Tallyhub. Come in here:\n\n{link}\n\n"
        f"The link works once, for {days} days. If you expected nothing like this, leave it alone.\n"
    )
    html = Markup(
        "<!doctype html><html><body><p>Hello,</p><p>{} invites you to work for <strong>{}</strong> in Tallyhub.</p>"
        '<p><a href="{}">Come in</a></p><p>Or copy this address into your browser: {}</p>'
        "<p>The link works once, for {} days. If you expected nothing like this, leave it alone.</p></body></html>"
    ).format(invited_by, business, link, link, days)
    return Letter(f"{business} invites you to Tallyhub", text, str(html))


def trial(*, business: str) -> Letter:
    """What somebody sends to themselves to see that e-mail leaves the hub."""
    text = f"This is a test message of {business}.\n\nIf you can read it, e-mail leaves the hub.\n"
    html = Markup("<!doctype html><html><body><p>{}</p><p>{}</p></body></html>").format(
        f"This is a test message of {business}.", "If you can read it, e-mail leaves the hub."
    )
    return Letter("Test message of Tallyhub", text, str(html))


# ---------------------------------------------------------------- handing it over


class Handed(StrEnum):
    """What is known of an e-mail after it was handed over."""

    SENT = "sent"
    LATER = "later"  # not taken now: the same again, later
    REFUSED = "refused"  # not taken, and never will be
    UNCLEAR = "unclear"  # the server had all of it, and did not say whether it took it


@dataclass(frozen=True, slots=True)
class Handing:
    """``said`` is why it was not taken, for a person."""

    outcome: Handed
    said: str = ""


def hand_over(url: str, sender: str, recipient: str, letter: Letter, message_id: str) -> Handing:
    """Hand one e-mail to the SMTP server at ``url`` (smtp://, or smtps:// for TLS from the start; STARTTLS wherever it
    is offered). ``message_id`` is the same whenever the same e-mail is handed over."""
    try:
        message = composed(sender, recipient, letter, message_id)
    except ValueError as error:
        return Handing(Handed.REFUSED, f"This is no e-mail address: {error}")
    try:
        server = _connected(url)
    except (OSError, smtplib.SMTPException) as error:
        return _not_now(error)
    try:
        return _announced(server, sender, recipient) or _with_message(server, message)
    finally:
        server.close()


def _announced(server: smtplib.SMTP, sender: str, recipient: str) -> Handing | None:
    try:
        for command, address in ((server.mail, sender), (server.rcpt, recipient)):
            code, said = command(address)
            if code >= 400:
                return _refused(code, said)
    except (OSError, smtplib.SMTPException) as error:
        return _not_now(error)
    return None


def _not_now(error: Exception) -> Handing:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Handing(Handed.LATER, "The mail server does not accept the name and password of TALLYHUB_SMTP_URL.")
    return Handing(Handed.LATER, f"The mail server cannot be used now ({type(error).__name__}).")


def _with_message(server: smtplib.SMTP, message: EmailMessage) -> Handing:
    try:
        code, said = server.data(message.as_bytes())
    except smtplib.SMTPDataError as error:
        return _refused(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:
        return Handing(Handed.UNCLEAR, f"The mail server did not say whether it took it ({type(error).__name__}).")
    return Handing(Handed.SENT) if code == 250 else _refused(code, said)


def _refused(code: int, said: bytes | str) -> Handing:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    outcome = Handed.LATER if code < 500 else Handed.REFUSED
    return Handing(outcome, f"The mail server said {code} {' '.join(text.split())}"[:500])


def _connected(url: str) -> smtplib.SMTP:
    parts = urlsplit(url)
    context = ssl.create_default_context()
    host = parts.hostname or ""
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=_SECONDS)
    _or_close(server, server.ehlo_or_helo_if_needed)
    if parts.scheme == "smtp" and server.has_extn("starttls"):
        _or_close(server, lambda: server.starttls(context=context))
        _or_close(server, server.ehlo)
    if parts.username:
        name, password = unquote(parts.username), unquote(parts.password or "")
        _or_close(server, lambda: server.login(name, password))
    return server


def _or_close(server: smtplib.SMTP, step: Callable[[], _Answer]) -> _Answer:
    try:
        return step()
    except BaseException:
        server.close()
        raise


def composed(sender: str, recipient: str, letter: Letter, message_id: str) -> EmailMessage:
    """The e-mail as it goes over the line. Raises ValueError for an address that is none."""
    if recipient.count("@") != 1 or not recipient.isprintable() or any(each in recipient for each in " <>,;"):
        raise ValueError(recipient[:100])
    message = EmailMessage(policy=_FORM)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = " ".join(letter.subject.split())
    message["Message-ID"] = f"<{message_id}@tallyhub.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    if letter.qr:
        html = message.get_payload()[1]  # type: ignore[index]
        html.add_related(qr_png(letter.qr), "image", "png", cid="<code>")  # type: ignore[union-attr]
    return message
