"""Past routing decisions made again: as they were, or under another policy, with what would differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select

from hub.core.plain import from_plain, to_plain
from hub.core.routing import Decision, Request, RoutingPolicy, decide
from hub.store import routing_rules
from hub.store import tables as t

_PER_READ = 200
MOST_SHOWN = 100

Progress = Callable[[int, int], None]  # how many decisions were made again, of how many


@dataclass(slots=True)
class Totals:
    """What decisions come to. Distance and cost are added up where they are known before and after."""

    nobody: int = 0
    parcels: int = 0
    split: int = 0  # orders that go in more than one parcel
    kilometers: int = 0
    cost: Decimal = Decimal(0)

    def add(self, decision: Decision, *, far: bool, paid: bool) -> None:
        """Count one more decision; ``far`` and ``paid``: its distance and its cost are to be compared."""
        self.nobody += not decision.shares
        self.parcels += len(decision.shares)
        self.split += len(decision.shares) > 1
        self.kilometers += (decision.kilometers or 0) if far else 0
        self.cost += (decision.cost or Decimal(0)) if paid else Decimal(0)


@dataclass(frozen=True, slots=True)
class Differs:
    """An order that would be shipped in another way."""

    order_id: UUID
    number: str
    at: datetime
    before: Decision
    after: Decision


@dataclass(slots=True)
class Replayed:
    """What came of making decisions again.

    ``made`` were made again, ``same`` of them came out the same, byte for byte where the policy is the one they were
    made by. ``by_others`` were made by a person or a plugin, ``forgotten`` hold nothing any more, since their customer
    was forgotten; neither is made again. ``left`` were not reached in the time there was. ``differ`` are the newest of
    those that come out differently.
    """

    made: int = 0
    same: int = 0
    by_others: int = 0
    forgotten: int = 0
    left: int = 0
    far: int = 0  # decisions of which the distances are compared
    paid: int = 0  # and of which the costs are
    before: Totals = field(default_factory=Totals)
    after: Totals = field(default_factory=Totals)
    differ: list[Differs] = field(default_factory=list)


def replay(
    connection: Connection,
    merchant_id: UUID,
    policy: RoutingPolicy | None,
    *,
    since: datetime | None = None,
    newest: int | None = None,
    progress: Progress = lambda _done, _of: None,
    go_on: Callable[[], bool] = lambda: True,
) -> Replayed:
    """Make decisions again under ``policy``, the newest first; None: each under the policy that it was made by.

    Those ``since`` a time, or so many of the ``newest``. ``go_on`` is asked now and then whether there is time.
    """
    this = t.routing_decision.c
    which: list[ColumnElement[bool]] = [this.merchant_id == merchant_id]
    if since is not None:
        which.append(this.at >= since)
    total = connection.execute(select(func.count()).select_from(t.routing_decision).where(*which)).scalar_one()
    total = min(total, newest) if newest is not None else total
    replayed = Replayed()
    policies: dict[int, RoutingPolicy] = {}
    looked_at = 0
    for row in _newest(connection, which, total):
        if looked_at % _PER_READ == 0:
            progress(looked_at, total)
            if not go_on():
                replayed.left = total - looked_at
                break
        looked_at += 1
        if not row.inputs:
            replayed.forgotten += 1
        elif row.cause in ("chosen", "plugin"):
            replayed.by_others += 1
        else:
            if policy is None and row.policy_number not in policies:
                made_by = routing_rules.numbered(connection, merchant_id, row.policy_number)
                policies[row.policy_number] = made_by or RoutingPolicy()
            _compare(replayed, row, policy or policies[row.policy_number], plainly=policy is None)
    progress(looked_at, total)
    return replayed


def _newest(connection: Connection, which: list[ColumnElement[bool]], most: int) -> Iterator[Any]:
    this = t.routing_decision.c
    mark: tuple[datetime, UUID] | None = None
    while most > 0:
        before = [] if mark is None else [(this.at < mark[0]) | ((this.at == mark[0]) & (this.id < mark[1]))]
        rows = connection.execute(
            select(t.routing_decision)
            .where(*which, *before)
            .order_by(this.at.desc(), this.id.desc())
            .limit(min(most, _PER_READ))
        ).all()
        if not rows:
            return
        yield from rows
        most -= len(rows)
        mark = rows[-1].at, rows[-1].id


def _compare(replayed: Replayed, row: Any, policy: RoutingPolicy, *, plainly: bool) -> None:
    request, before = from_plain(Request, row.inputs), from_plain(Decision, row.outcome)
    after = decide(request, policy)
    far = before.kilometers is not None and after.kilometers is not None
    paid = before.cost is not None and after.cost is not None
    replayed.made += 1
    replayed.far += far
    replayed.paid += paid
    replayed.before.add(before, far=far, paid=paid)
    replayed.after.add(after, far=far, paid=paid)
    same = _text(to_plain(after)) == _text(row.outcome) if plainly else _dealt(after) == _dealt(before)
    if same:
        replayed.same += 1
    elif len(replayed.differ) < MOST_SHOWN:
        replayed.differ.append(Differs(row.order_id, request.number, row.at, before, after))


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)


def _dealt(decision: Decision) -> dict[str, dict[str, int]]:
    return {share.place: dict(share.units) for share in decision.shares}
