"""The vendor's words that mean something else in each shop, and what the merchant says that they stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, select

from hub import access
from hub.access import Permission
from hub.connector import Connector, Vocabulary
from hub.errors import BadInput, Conflict
from hub.store import activity, connections, orders, sandbox
from hub.store import tables as t
from hub.store.connections import Credentials
from hub.store.database import Database, upsert
from hub.store.secrets import KeyRing

_LONGEST_HEADER = 100


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the shop. ``meaning`` is what it stands for now, ``chosen`` whether a person said so, ``usual`` what
    the connector takes it for otherwise ("": it does not say)."""

    code: str
    name: str
    meaning: str
    usual: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """The words of one kind, and what they can stand for."""

    name: str
    vocabulary: Vocabulary
    words: tuple[Word, ...]


def mappings(connection: Connection, merchant_id: UUID, connection_id: UUID) -> dict[str, dict[str, str]]:
    """What the merchant said of the words of a connection, by kind: ``Context.mappings``."""
    this = t.word_mapping.c
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(
        select(this.kind, this.word, this.meaning).where(
            this.merchant_id == merchant_id, this.connection_id == connection_id
        )
    ):
        found.setdefault(row.kind, {})[row.word] = row.meaning
    return found


def credentials(connection: Connection, keyring: KeyRing, connector: type[Connector], shop: Row[Any]) -> Credentials:
    """A connection's credentials with what is known of its shop beside them: its words and its features."""
    kept = connections.unseal(keyring, shop.merchant_id, shop.id, connector, shop.secrets)
    said = mappings(connection, shop.merchant_id, shop.id)
    return Credentials(
        kept.settings, kept.webhook_secret, said, shop.features or {}, sandbox.routes_of(connection, shop)
    )


def kinds(connection: Connection, merchant_id: UUID, connection_id: UUID, connector: type[Connector]) -> list[Kind]:
    """All words of a connection, as its last check found them, and those that were mapped once and have gone."""
    shop = connections.row_of(connection, merchant_id, connection_id)
    said = mappings(connection, merchant_id, connection_id)
    found = []
    for name, vocabulary in connector.mappings.items():
        names = dict((shop.words or {}).get(name, {}))
        chosen = said.get(name, {})
        codes = [*names, *sorted(chosen.keys() - names.keys())]
        words = tuple(
            Word(
                code,
                names.get(code, code),
                chosen.get(code, vocabulary.usual.get(code, "")),
                vocabulary.usual.get(code, ""),
                code in chosen,
            )
            for code in codes
        )
        found.append(Kind(name, vocabulary, words))
    return found


@access.needs(Permission.SYNC)
def choose(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    connector: type[Connector],
    chosen: Mapping[tuple[str, str], str],
    actor: str,
) -> int:
    """Say what words stand for, by (kind, word); "" is what they usually do. Returns how many changed.

    Orders whose status is a word that now means something else are fetched and read again. Raises BadInput for a
    meaning that is none.
    """

    def work(connection: Connection) -> int:
        shop = connections.row_of(connection, merchant_id, connection_id, lock=True)
        if shop.state == "removed":
            raise Conflict(f"{shop.label} was removed. Nothing of it is read any more.")
        at = database.now(connection)
        changed: list[tuple[Kind, Word, str]] = []
        for kind in kinds(connection, merchant_id, connection_id, connector):
            for word in kind.words:
                meaning = chosen.get((kind.name, word.code))
                if meaning is None or meaning == (word.meaning if word.chosen else ""):
                    continue
                if meaning and meaning not in kind.vocabulary.choices:
                    raise BadInput(f"“{word.name}” cannot stand for that. Reload the page.")
                changed.append((kind, word, meaning))
        for kind, word, meaning in changed:
            _write(connection, merchant_id, connection_id, kind.name, word.code, meaning, at, actor)
            stands_for = kind.vocabulary.choices.get(meaning or word.usual, "what it usually does")
            activity.note(
                connection,
                merchant_id,
                "word_mapped",
                f"“{word.name}” at {shop.label} stands for: {stands_for}",
                at=at,
                connection_id=connection_id,
                actor=actor,
                details={
                    "kind": kind.name,
                    "word": word.code,
                    "before": word.meaning,
                    "meaning": meaning or word.usual,
                },
            )
        _read_again(connection, merchant_id, connection_id, {word.code for _, word, _ in changed}, at)
        return len(changed)

    return database.transact(work)


def _write(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    word: str,
    meaning: str,
    at: Any,
    actor: str,
) -> None:
    this = t.word_mapping.c
    if not meaning:
        connection.execute(
            delete(t.word_mapping).where(
                this.merchant_id == merchant_id,
                this.connection_id == connection_id,
                this.kind == kind,
                this.word == word,
            )
        )
        return
    _keep(connection, merchant_id, connection_id, kind, word, meaning, at, actor)


def _keep(
    connection: Connection,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    word: str,
    meaning: str,
    at: Any,
    actor: str,
) -> None:
    told = {"meaning": meaning, "changed_at": at, "changed_by": actor}
    row = upsert(connection, t.word_mapping).values(
        merchant_id=merchant_id, connection_id=connection_id, kind=kind, word=word, **told
    )
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["merchant_id", "connection_id", "kind", "word"],
            set_={name: row.excluded[name] for name in told},
        )
    )


@access.needs(Permission.SYNC)
def assign_columns(
    database: Database,
    merchant_id: UUID,
    connection_id: UUID,
    kind: str,
    label: str,
    chosen: Mapping[str, str],
    actor: str,
) -> None:
    """Say under which header each column of a kind of files stands; "": these files have none. Read so from now on.

    ``kind`` is where ``Context.mappings`` has it, ``label`` what people call such files.
    """
    if any(len(header) > _LONGEST_HEADER for header in chosen.values()):
        raise BadInput(f"A header is longer than {_LONGEST_HEADER} characters. Have it shortened by whoever sends it.")

    def work(connection: Connection) -> None:
        shop = connections.row_of(connection, merchant_id, connection_id, lock=True)
        if shop.state == "removed":
            raise Conflict(f"{shop.label} was removed. Nothing of it is read any more.")
        at = database.now(connection)
        before = mappings(connection, merchant_id, connection_id).get(kind, {})
        if before == dict(chosen):
            return
        for column, header in chosen.items():
            _keep(connection, merchant_id, connection_id, kind, column, header, at, actor)
        activity.note(
            connection,
            merchant_id,
            "columns_assigned",
            f"{label} of {shop.label} are read by other columns",
            at=at,
            connection_id=connection_id,
            actor=actor,
            details={"kind": kind, "before": before, "columns": dict(chosen)},
        )

    database.transact(work)


def _read_again(
    connection: Connection, merchant_id: UUID, connection_id: UUID, words: Collection[str], at: Any
) -> None:
    """Fetch the orders whose status is one of these words: what they were read as may be wrong now."""
    if not words:
        return
    order = t.sales_order.c
    concerned = connection.execute(
        select(order.external_id).where(
            order.merchant_id == merchant_id,
            order.connection_id == connection_id,
            order.channel_status.in_(list(words)),
        )
    ).scalars()
    orders.request_fetches(connection, merchant_id, connection_id, "order", set(concerned), at=at)
