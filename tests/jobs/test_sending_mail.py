"""E-mail to customers, by a real mail server: sent once, tried again, refused, or left to a person."""

from __future__ import annotations

import asyncio
import email
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import policy
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import zxingcpp
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from PIL import Image
from sqlalchemy import select, update

from hub import access
from hub.errors import Conflict
from hub.jobs import Hub, drain, due
from hub.mail import Handed, Letter, hand_over, ready_to_collect
from hub.store import mail
from hub.store import tables as t
from hub.store.database import Database, new_id
from tests.web.shop_builder import Shop, hub_on, open_shop

FROM = "shop@tea.example"
LETTER = ready_to_collect(
    shop="Leaf & Kettle",
    order_number="#7",
    name="Łucja <b>",
    place="Leeds",
    address="1 Dock\nLS1 Leeds",
    code="K7QM2XWR",
)


class Mailbox:
    """What a mail server does with e-mail: ``answer`` is what it says once it has one."""

    def __init__(self) -> None:
        self.answer: str | Callable[[], str] = "250 OK"
        self.recipient = "250 OK"
        self.silent = False
        self.got: list[tuple[str, list[str], bytes]] = []
        self.logins: list[bytes | None] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.got.append((envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content or b""))  # type: ignore[arg-type]
        if self.silent:
            assert server.transport is not None
            server.transport.abort()
            await asyncio.sleep(0)
        return str(self.answer)

    def message(self) -> Any:
        (_, _, content) = self.got[-1]
        return email.message_from_bytes(content, policy=policy.default)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox) -> Iterator[str]:
    """The address of a running mail server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        mailbox.logins.append(data.password)
        return AuthResult(success=data.password == b"p@ss", handled=False)  # the server is to say so

    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, authenticator=login, auth_require_tls=False, ready_timeout=20
    )
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


def hand(url: str, letter: Letter = LETTER, recipient: str = "ann@example.com") -> Any:
    return hand_over(url, FROM, recipient, letter, "0123")


def test_a_letter_arrives_as_text_as_html_and_with_a_code_that_is_read(mailbox: Mailbox, server: str) -> None:
    assert hand(server).outcome is Handed.SENT

    assert mailbox.got[0][:2] == (FROM, ["ann@example.com"])
    message = mailbox.message()
    assert message["Subject"] == "Your order #7 is ready to be collected"
    assert (message["Message-ID"], message["Auto-Submitted"]) == ("<0123@tallyhub.invalid>", "auto-generated")
    text, html = message.get_body(("plain",)).get_content(), message.get_body(("html",)).get_content()
    assert "Hello Łucja <b>," in text and "K7QM2XWR" in text
    assert "Hello Łucja &lt;b&gt;," in html and 'src="cid:code"' in html and "1 Dock<br>LS1 Leeds" in html
    (picture,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    (code,) = zxingcpp.read_barcodes(Image.open(BytesIO(picture.get_content())).convert("L"))
    assert code.text == "K7QM2XWR"


@pytest.mark.parametrize(
    ("said", "outcome"), [("452 Full", Handed.LATER), ("550 No such user", Handed.REFUSED)]
)  # fmt: skip
def test_what_the_server_says_decides(mailbox: Mailbox, server: str, said: str, outcome: Handed) -> None:
    mailbox.recipient = said
    found = hand(server)
    assert (found.outcome, found.said, mailbox.got) == (outcome, f"The mail server said {said}", [])

    mailbox.recipient, mailbox.answer = "250 OK", said
    found = hand(server)
    assert (found.outcome, found.said) == (outcome, f"The mail server said {said}")


def test_a_server_that_is_away_is_tried_later_and_one_that_hangs_up_leaves_it_unclear(
    mailbox: Mailbox, server: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"smtp://127.0.0.1:{free.getsockname()[1]}"
    assert hand(nobody).outcome is Handed.LATER

    mailbox.silent = True
    assert hand(server).outcome is Handed.UNCLEAR
    assert len(mailbox.got) == 1, "it had all of it"


def test_name_and_password_are_used_and_never_told(mailbox: Mailbox, server: str) -> None:
    wrong = hand(server.replace("//", "//shop:wr0ng@"))
    assert (wrong.outcome, "wr0ng" in wrong.said, mailbox.got) == (Handed.LATER, False, [])

    assert hand(server.replace("//", "//shop:p%40ss@")).outcome is Handed.SENT
    assert mailbox.logins == [b"wr0ng", b"wr0ng", b"p@ss"], "it tries both ways of signing in before it gives up"


@pytest.mark.parametrize("recipient", ["", "nobody", "a@b@c", "a@b.example\nBcc: all@c.example", "a@b, c@d"])
def test_what_is_no_address_is_refused_before_a_server_hears_of_it(
    mailbox: Mailbox, server: str, recipient: str
) -> None:
    assert hand(server, recipient=recipient).outcome is Handed.REFUSED
    assert mailbox.got == []


# ---------------------------------------------------------------- the outbox


class Office:
    """A hub with an order whose customer is to be told."""

    def __init__(self, hub: Hub, shop: Shop) -> None:
        self.hub, self.shop = hub, shop
        self.connection_id = shop.connection()
        self.order_id = shop.order(self.connection_id, "7")

    def queue(self, occasion: str = "ready/1", recipient: str = "ann@example.com") -> None:
        with self.hub.database.write() as connection:
            at = self.hub.database.now(connection)
            mail.queue(
                connection, self.shop.merchant_id, self.connection_id, self.order_id, occasion, recipient, LETTER, at=at
            )

    def is_due(self) -> bool:
        return (self.shop.merchant_id, self.connection_id, "mail") in due(self.hub)

    def drain(self) -> None:
        assert drain(self.hub, self.shop.merchant_id, self.connection_id, "mail")

    def row(self) -> Any:
        with self.hub.database.read() as connection:
            return connection.execute(select(t.email)).one()

    def rows(self) -> list[Any]:
        with self.hub.database.read() as connection:
            return list(connection.execute(select(t.email).order_by(t.email.c.created_at, t.email.c.id)))

    def noted(self) -> list[Any]:
        with self.hub.database.read() as connection:
            return list(connection.execute(select(t.activity)))

    def later(self, **values: Any) -> None:
        with self.hub.database.write() as connection:
            at = self.hub.database.now(connection)
            connection.execute(update(t.email).values(due_at=at - timedelta(minutes=11), **values))

    def issues(self) -> list[str]:
        with self.hub.database.read() as connection:
            this = t.issue.c
            rows = select(this.title).where(this.kind == mail.ISSUE, this.resolved_at.is_(None))
            return list(connection.execute(rows).scalars())


@pytest.fixture
def office(database: Database, tmp_path: Path, server: str) -> Office:
    hub = hub_on(database, tmp_path, smtp_url=server, mail_from=FROM)
    return Office(hub, open_shop(hub))


def test_an_occasion_is_told_once(office: Office, mailbox: Mailbox) -> None:
    office.queue()
    office.queue()
    assert office.is_due()

    office.drain()
    office.queue()

    assert (office.row().state, len(mailbox.got), office.is_due()) == ("sent", 1, False)
    assert mailbox.message()["Message-ID"] == f"<{office.row().id.hex}@tallyhub.invalid>"


def test_nothing_is_due_while_no_mail_server_is_set_up(office: Office, mailbox: Mailbox) -> None:
    office.hub = replace(office.hub, settings=replace(office.hub.settings, smtp_url=None))
    office.queue()

    assert not office.is_due()
    office.drain()
    assert (office.row().state, mailbox.got) == ("waiting", [])


def test_a_server_that_asks_for_patience_gets_it_and_then_the_letter(office: Office, mailbox: Mailbox) -> None:
    mailbox.answer = "451 Later"
    office.queue()
    office.drain()
    row = office.row()
    assert (row.state, row.attempts, row.error) == ("waiting", 1, "The mail server said 451 Later")
    assert not office.is_due() and office.issues() == []

    mailbox.answer = "250 OK"
    office.later()
    office.drain()

    assert (office.row().state, office.row().error) == ("sent", "")


def test_after_many_tries_a_person_is_asked(office: Office, mailbox: Mailbox) -> None:
    mailbox.answer = "451 Later"
    office.queue()
    office.later(attempts=7)

    office.drain()

    assert (office.row().state, office.issues()) == ("failed", ["An e-mail to a customer was not taken"])


def test_where_nobody_knows_whether_it_was_sent_it_is_not_sent_again_by_itself(
    office: Office, mailbox: Mailbox
) -> None:
    mailbox.silent = True
    office.queue()
    office.drain()
    assert (office.row().state, office.issues()) == ("unclear", ["It is unclear whether a customer got an e-mail"])
    mailbox.silent = False
    office.later()
    assert not office.is_due()

    merchant = office.shop.merchant_id
    woken = mail.decide(office.hub.database, merchant, office.row().id, True, "ada@tea.example")
    office.drain()

    assert (woken, office.row().state, len(mailbox.got)) == (office.connection_id, "sent", 2)
    assert office.issues() == []


def test_a_hub_that_dies_while_it_sends_leaves_it_to_a_person(office: Office, mailbox: Mailbox) -> None:
    office.queue()
    claimed = mail.claim(office.hub.database, office.shop.merchant_id, office.connection_id)
    assert claimed is not None and not office.is_due(), "somebody is at it"

    office.later()
    assert office.is_due()
    office.drain()

    assert (office.row().state, mailbox.got) == ("unclear", [])
    mail.decide(office.hub.database, office.shop.merchant_id, office.row().id, False, "ada@tea.example")
    assert (office.row().state, office.issues(), mailbox.got) == ("sent", [], [])


def test_an_order_without_an_address_is_told_to_a_person(office: Office) -> None:
    office.queue(recipient="")

    office.drain()

    assert (office.row().state, len(office.issues())) == ("failed", 1)


# ---------------------------------------------------------------- sent once more


def send_again(office: Office, once: UUID, email_id: UUID | None = None) -> UUID:
    hub, merchant = office.hub, office.shop.merchant_id
    id = email_id or next(row.id for row in office.rows() if "/again/" not in row.occasion)
    return mail.send_again(hub.database, merchant, office.order_id, id, once=once, actor="eve@tea.example")


def test_one_that_was_sent_is_written_once_more_and_the_first_stays_as_it_was(office: Office, mailbox: Mailbox) -> None:
    office.queue("thanks/1")
    office.drain()
    once = uuid4()

    assert send_again(office, once) == office.connection_id
    send_again(office, once)  # a double click
    office.drain()

    first, second = office.rows()
    assert (first.state, second.state, second.occasion) == ("sent", "sent", f"thanks/1/again/{once}")
    assert (second.subject, second.body, second.html) == (first.subject, first.body, first.html)
    assert (len(mailbox.got), first.attempts) == (2, 1)
    assert second.recipient == "grace@example.com", "where the order says that its customer is reached now"
    (noted,) = [row for row in office.noted() if row.kind == "email_again"]
    assert (noted.actor, noted.order_id) == ("eve@tea.example", office.order_id)
    # The copy can be sent again as well.
    another = uuid4()
    send_again(office, another, second.id)
    assert [row.occasion for row in office.rows()][2] == f"thanks/1/again/{another}"


def test_while_one_is_on_its_way_another_waits_for_it(office: Office) -> None:
    office.queue("thanks/1")
    with pytest.raises(Conflict, match="on its way to the customer already"):
        send_again(office, uuid4())
    office.drain()
    send_again(office, uuid4())
    with pytest.raises(Conflict, match="on its way to the customer already"):
        send_again(office, uuid4())

    assert len(office.rows()) == 2


def test_one_that_nobody_took_is_handed_over_anew_and_its_issue_is_over(office: Office, mailbox: Mailbox) -> None:
    mailbox.answer = "550 No such person"
    office.queue("thanks/1")
    office.drain()
    assert office.issues() == ["An e-mail to a customer was not taken"]
    mailbox.answer = "250 OK"

    send_again(office, uuid4())
    office.drain()

    (row,) = office.rows()
    assert (row.state, row.attempts, office.issues()) == ("sent", 1, [])


def test_what_is_over_erased_or_another_orders_is_not_sent_again(office: Office) -> None:
    shop = office.shop
    work_id = shop.to_ship(office.order_id, shop.location(), {}, "7-1", state="ready")
    office.queue(f"ready/{work_id}")
    office.drain()
    send_again(office, uuid4())
    office.drain()
    assert len(office.rows()) == 2

    shop.write_to(t.fulfillment_order, work_id, state="collected")
    with pytest.raises(Conflict, match="does not wait to be collected any more"):
        send_again(office, uuid4())
    shop.write_to(t.fulfillment_order, work_id, state="ready")
    first = office.rows()[0].id
    with pytest.raises(Conflict, match="not kept any more"):
        mail.send_again(
            office.hub.database,
            shop.merchant_id,
            shop.order(office.connection_id, "8"),
            first,
            once=uuid4(),
            actor="eve@tea.example",
        )
    shop.write_to(t.email, first, state="erased")
    with pytest.raises(Conflict, match="not kept any more"):
        send_again(office, uuid4(), first)
    assert len(office.rows()) == 2


def test_support_sends_again_and_who_packs_does_so_at_the_counter_alone(office: Office) -> None:
    office.queue("thanks/1")
    office.drain()

    with access.acting_as(access.grants("warehouse")), pytest.raises(access.NotPermitted):
        send_again(office, uuid4())
    with access.acting_as(access.grants("support")):
        send_again(office, uuid4())

    assert len(office.rows()) == 2


def test_another_merchants_outbox_is_not_there(office: Office) -> None:
    office.queue()
    stranger: UUID = new_id()

    assert mail.claim(office.hub.database, stranger, office.connection_id) is None
    with office.hub.database.read() as connection:
        assert mail.of_order(connection, stranger, office.order_id) == []
