"""What follows from an effect that was done: in the same commit, once, and never in the way of what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import OperationalError

from hub.connector import EffectResult
from hub.core.shipping import Document, DocumentFormat, DocumentKind
from hub.errors import Rejected
from hub.store import effects, followups, papers
from hub.store import tables as t
from hub.store.database import Broken, Database, new_id
from hub.store.secrets import KeyRing, SecretsUnreadable, new_key
from tests.engine.test_effects import Desk

OWNER = "owner@example.test"


@pytest.fixture
def desk(database: Database, merchant: UUID, connection_id: UUID) -> Desk:
    return Desk(database, merchant, connection_id)


def follows(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Iterable[tuple[UUID, str]]]) -> None:
    """Let this follow when a mail was sent."""
    monkeypatch.setattr(followups, "FOLLOW_UPS", {"send_mail": function})


def note(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> list[tuple[UUID, str]]:
    connection.execute(
        insert(t.activity).values(
            merchant_id=effect.merchant_id, id=new_id(), at=at, kind="followed", summary=f"after {result.reference}"
        )
    )
    return [(effect.connection_id, "publish")]


def followed(desk: Desk) -> list[str]:
    return [summary for _, summary in desk.notes() if summary.startswith("after")]


def test_it_follows_once_and_its_lanes_are_rung_for_after_the_commit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    follows(monkeypatch, note)
    desk.plan("send_mail")
    rung = []

    def ring(connection_id: UUID, lane: str) -> None:
        rung.append((connection_id, lane, followed(desk)))

    claimed = desk.claim()
    assert claimed is not None
    effects.run(desk.database, desk.keyring, claimed, desk.connector, ring=ring)

    assert rung == [(desk.connection_id, "publish", ["after sent"])]
    assert desk.settle() == [] and followed(desk) == ["after sent"]


def test_nothing_follows_from_what_was_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    follows(monkeypatch, note)
    desk.vendor.faults = [("before", Rejected("No such address."))]
    desk.plan("send_mail")

    assert (desk.settle(), followed(desk)) == (["failed"], [])


def test_it_follows_as_well_when_a_person_says_that_it_was_done(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    follows(monkeypatch, note)
    desk.vendor.faults = [("before", Rejected("We have that already."))]
    planned = desk.plan("send_mail")
    desk.settle()

    effects.mark_succeeded(desk.database, desk.merchant, planned, OWNER, "mail 7")

    assert followed(desk) == ["after mail 7"]


def test_what_fails_is_undone_alone_and_put_before_a_person(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Any:
        note(connection, effect, result, at)
        raise ZeroDivisionError("by accident")

    follows(monkeypatch, half)
    planned = desk.plan("send_mail")

    assert desk.settle() == ["succeeded"]

    assert (desk.row(planned).state, desk.vendor.done, followed(desk)) == ("succeeded", ["1"], [])
    assert desk.issues() == [("followup", "Done, but what was to follow from it failed: send mail")]


def test_a_row_the_database_refuses_is_undone_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Any:
        connection.execute(insert(t.merchant).values(id=effect.merchant_id, name="Again", created_at=at))

    follows(monkeypatch, twice)
    planned = desk.plan("send_mail")

    assert (desk.settle(), desk.row(planned).state) == (["succeeded"], "succeeded")
    assert [kind for kind, _ in desk.issues()] == ["followup"]


@pytest.mark.parametrize("trouble", [Broken("Others were faster."), OperationalError("x", {}, Exception("locked"))])
def test_where_the_database_got_in_the_way_the_whole_commit_is_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    troubles = [trouble]

    def second_time(connection: Connection, effect: Row[Any], result: EffectResult, at: datetime) -> Any:
        if troubles:
            raise troubles.pop()
        return note(connection, effect, result, at)

    follows(monkeypatch, second_time)
    desk.plan("send_mail")

    assert desk.settle() == ["succeeded"]
    assert (followed(desk), desk.vendor.calls, desk.issues()) == (["after sent"], ["send_mail"], [])


# ---------------------------------------------------------------- files

LABEL = Document(content=b"%PDF-1.7 " + b"x" * 5000, format=DocumentFormat.PDF, tracking_number="1Z")
INVOICE = Document(content=b"^XA^XZ", format=DocumentFormat.ZPL, kind=DocumentKind.INVOICE)


def brings(desk: Desk, *documents: Any) -> UUID:
    """Carry out an effect whose result brings these files."""

    def send(request: Mapping[str, Any], key: str) -> EffectResult:
        return EffectResult("sent", documents=documents)

    desk.connector.send_mail = send  # type: ignore[method-assign]
    planned = desk.plan("send_mail")
    assert desk.settle() == ["succeeded"]
    return planned


def kept(desk: Desk) -> list[Any]:
    with desk.database.read() as connection:
        return list(connection.execute(select(t.document).order_by(t.document.c.id)))


def test_files_are_kept_with_the_end_of_their_effect_and_nobody_reads_them_from_the_database(desk: Desk) -> None:
    planned = brings(desk, LABEL, INVOICE)

    label, invoice = kept(desk)
    assert (label.effect_id, label.kind, label.format, label.tracking_number) == (planned, "label", "pdf", "1Z")
    assert (invoice.kind, invoice.format, invoice.tracking_number) == ("invoice", "zpl", "")
    assert b"%PDF" not in label.content and len(label.content) < 500
    with desk.database.read() as connection:
        assert papers.read(connection, desk.keyring, desk.merchant, label.id) == LABEL
        with pytest.raises(SecretsUnreadable):
            papers.read(connection, KeyRing([new_key()]), desk.merchant, label.id)


def test_what_is_no_file_is_passed_over(desk: Desk) -> None:
    odd = Document(content=b"x", format=DocumentFormat.PDF, tracking_number="1\x00Z")
    wrong: Any = Document(content="text", format="pdf", kind="label")  # type: ignore[arg-type]

    brings(desk, "label.pdf", wrong, odd)

    assert [row.tracking_number for row in kept(desk)] == ["1Z"]


def test_an_effect_whose_end_was_not_stored_has_no_files(desk: Desk) -> None:
    desk.plan("send_mail")
    claimed = desk.claim()
    assert claimed is not None
    with desk.database.write() as connection:
        connection.execute(update(t.effect).values(fence=t.effect.c.fence + 1))

    def send(request: Mapping[str, Any], key: str) -> EffectResult:
        return EffectResult("sent", documents=(LABEL,))

    desk.connector.send_mail = send  # type: ignore[method-assign]
    with pytest.raises(effects.LeaseLost):
        desk.run(claimed)

    with desk.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.document)).scalar() == 0
