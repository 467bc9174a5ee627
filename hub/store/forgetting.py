"""Forgetting the customers of orders.

It takes out what is about a person (``core.personal``) and keeps what is about goods and money. What was received raw
goes with it, so that nothing can be read again; the order stays marked, so that nothing of its customer is kept when it
comes in once more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, or_, select, update

from hub.core.changes import Change
from hub.core.details import OrderDetails
from hub.core.personal import ERASED, changes_without_people, without_people
from hub.core.plain import from_plain, to_plain
from hub.store import exchanges, holds, inbox, searching
from hub.store import tables as t
from hub.store.database import in_chunks

PER_COMMIT = 500  # orders
SHORTEST_NEEDLE = 4  # letters of a text that could give a customer away


def erase_orders(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], *, at: datetime) -> None:
    """Forget the customers of these orders, in the caller's transaction: money and goods stay."""
    for some in in_chunks(order_ids, PER_COMMIT):
        _erase(connection, merchant_id, some, at)


def keep_erased(
    connection: Connection, merchant_id: UUID, connection_id: UUID, external_ids: Collection[str], *, at: datetime
) -> None:
    """Orders that came in again, or only now, stay forgotten: in the transaction that has just written them."""
    order, mark = t.sales_order.c, t.erased_order.c
    for some in in_chunks(sorted(external_ids)):
        marked = select(mark.external_id).where(
            mark.merchant_id == merchant_id, mark.connection_id == connection_id, mark.external_id.in_(some)
        )
        again = connection.execute(
            select(order.id).where(
                order.merchant_id == merchant_id,
                order.connection_id == connection_id,
                order.external_id.in_(some),
                or_(order.erased_at.is_not(None), order.external_id.in_(marked)),
            )
        ).scalars()
        erase_orders(connection, merchant_id, list(again), at=at)


def _erase(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], at: datetime) -> None:
    order, line, version = t.sales_order.c, t.order_line.c, t.order_version.c
    texts = texts_about(connection, merchant_id, order_ids)
    these = (order.merchant_id == merchant_id, order.id.in_(order_ids))
    rows = connection.execute(
        select(order.id, order.connection_id, order.external_id, order.details).where(*these)
    ).all()
    details = [
        {"this_order": row.id, "rest": to_plain(without_people(from_plain(OrderDetails, row.details)))}
        for row in rows
        if row.details
    ]
    if details:
        this = (order.merchant_id == merchant_id, order.id == bindparam("this_order"))
        connection.execute(update(t.sales_order).where(*this).values(details=bindparam("rest")), details)
    connection.execute(
        update(t.sales_order)
        .where(*these)
        .values(
            customer_name="",
            email="",
            note="",
            shipping_address={},
            billing_address={},
            own_address=None,
            own_address_for=None,
            tags=[],
            own_tags=[],
            erased_at=func.coalesce(order.erased_at, at),
        )
    )
    connection.execute(
        update(t.order_line).where(line.merchant_id == merchant_id, line.order_id.in_(order_ids)).values(attributes={})
    )
    connection.execute(
        update(t.refund)
        .where(t.refund.c.merchant_id == merchant_id, t.refund.c.order_id.in_(order_ids))
        .values(reason="")
    )
    edits = connection.execute(
        select(version.order_id, version.revision, version.changes).where(
            version.merchant_id == merchant_id, version.order_id.in_(order_ids)
        )
    ).all()
    if edits:
        this_edit = (
            version.merchant_id == merchant_id,
            version.order_id == bindparam("this_order"),
            version.revision == bindparam("this_revision"),
        )
        connection.execute(
            update(t.order_version).where(*this_edit).values(changes=bindparam("rest")),
            [
                {
                    "this_order": row.order_id,
                    "this_revision": row.revision,
                    "rest": to_plain(changes_without_people(Change.from_plain(each) for each in row.changes)),
                }
                for row in edits
            ],
        )
    parcels = _tracking_numbers(connection, merchant_id, order_ids)
    effect = t.effect.c
    not_cancelled = connection.execute(
        select(effect.order_id).where(
            effect.merchant_id == merchant_id,
            effect.order_id.in_(order_ids),
            effect.kind == "cancel_order",
            effect.state == "planned",
        )
    ).scalars()
    for order_id in set(not_cancelled):
        # What was only planned is cancelled with the order's other effects: nothing is waited for any more.
        holds.not_cancelled(connection, merchant_id, order_id, at=at)
    _erase_shipping(connection, merchant_id, order_ids)
    searching.keep_up(connection, merchant_id, order_ids)
    _erase_texts(connection, merchant_id, order_ids, texts)
    by_place: dict[UUID, list[str]] = {}
    for row in rows:
        by_place.setdefault(row.connection_id, []).append(row.external_id)
    work = t.fulfillment_order.c
    for at_3pl in connection.execute(
        select(work.connection_id, work.reference, work.external_id).where(
            work.merchant_id == merchant_id, work.order_id.in_(order_ids), work.connection_id.is_not(None)
        )
    ):
        # What a 3PL has told of it, as it was read and as it was fetched.
        by_place.setdefault(at_3pl.connection_id, []).extend(
            each for each in (at_3pl.reference, at_3pl.external_id) if each
        )
    for place, numbers in parcels.items():
        by_place.setdefault(place, []).extend(numbers)
    exchanges.forget_orders(connection, merchant_id, order_ids, by_place)
    record = t.inbox.c
    for place, external_ids in by_place.items():
        inbox.forget(
            connection,
            merchant_id,
            record.connection_id == place,
            record.external_id.in_(external_ids),
            record.state != "pending",
        )


def _tracking_numbers(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """By carrier's connection, the numbers under which it tells where these orders' parcels are."""
    sent, box = t.shipment.c, t.parcel.c
    _, of_these = _shipments(merchant_id, order_ids)
    found: dict[UUID, list[str]] = {}
    for row in connection.execute(
        select(sent.connection_id, box.tracking_number)
        .join(t.parcel, (box.merchant_id == sent.merchant_id) & (box.shipment_id == sent.id))
        .where(
            sent.merchant_id == merchant_id,
            of_these,
            sent.connection_id.is_not(None),
            box.tracking_number != "",
        )
    ):
        found.setdefault(row.connection_id, []).append(row.tracking_number)
    return found


def _shipments(merchant_id: UUID, order_ids: Sequence[UUID]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The shipments that hold something of these orders, also beside goods of others: one label names the customer."""
    sent, along = t.shipment.c, t.shipment_companion.c
    beside = select(along.shipment_id).where(along.merchant_id == merchant_id, along.order_id.in_(order_ids))
    return sent.merchant_id == merchant_id, sent.order_id.in_(order_ids) | sent.id.in_(beside)


def _erase_shipping(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> None:
    """Labels name the customer, and a tracking number leads to their door."""
    sent, box = t.shipment.c, t.parcel.c
    here = _shipments(merchant_id, order_ids)
    labels = select(sent.effect_id).where(*here, sent.effect_id.is_not(None))
    connection.execute(
        update(t.parcel)
        .where(box.merchant_id == merchant_id, box.shipment_id.in_(select(sent.id).where(*here)))
        .values(tracking_number="")
    )
    connection.execute(
        update(t.shipment)
        .where(*here)
        .values(
            label=None,
            rates=None,
            choice=None,
            tracking_numbers=[],
            tracking_url="",
            track_at=None,
            documents_at=None,
            follow_at=None,
            void_requested_at=None,
            void_ask_at=None,
            error="",
            # What was only planned is cancelled below: it is not being bought any more.
            state=case(
                (
                    (sent.state == "buying")
                    & sent.effect_id.in_(
                        select(t.effect.c.id).where(
                            t.effect.c.merchant_id == merchant_id, t.effect.c.state == "planned"
                        )
                    ),
                    "failed",
                ),
                else_=sent.state,
            ),
        )
    )
    seen = t.tracking_event.c
    connection.execute(
        delete(t.tracking_event).where(
            seen.merchant_id == merchant_id, seen.shipment_id.in_(select(sent.id).where(*here))
        )
    )
    connection.execute(
        update(t.fulfillment_order)
        .where(t.fulfillment_order.c.merchant_id == merchant_id, t.fulfillment_order.c.order_id.in_(order_ids))
        .values(message="", handles={}, collection_code="")
    )
    connection.execute(
        delete(t.address_check).where(
            t.address_check.c.merchant_id == merchant_id, t.address_check.c.order_id.in_(order_ids)
        )
    )
    # Where it went, and what a person wrote who chose another location.
    connection.execute(
        update(t.routing_decision)
        .where(t.routing_decision.c.merchant_id == merchant_id, t.routing_decision.c.order_id.in_(order_ids))
        .values(inputs={}, outcome={}, summary=_plainly("routed"))
    )
    connection.execute(
        update(t.order_hold)
        .where(t.order_hold.c.merchant_id == merchant_id, t.order_hold.c.order_id.in_(order_ids))
        .values(note="")
    )
    connection.execute(
        update(t.email)
        .where(t.email.c.merchant_id == merchant_id, t.email.c.order_id.in_(order_ids))
        .values(
            recipient="",
            subject="",
            body="",
            html="",
            qr="",
            error="",
            state=case((t.email.c.state.in_(["waiting", "failed"]), "erased"), else_=t.email.c.state),
        )
    )
    connection.execute(
        delete(t.document).where(
            t.document.c.merchant_id == merchant_id,
            t.document.c.order_id.in_(order_ids) | t.document.c.effect_id.in_(labels),
        )
    )
    effect = t.effect.c
    connection.execute(
        update(t.effect)
        .where(
            effect.merchant_id == merchant_id,
            effect.order_id.in_(order_ids) | effect.id.in_(labels),
            # What is under way is not known to have ended: somebody still has to settle it.
            effect.state.not_in(["in_flight", "unknown"]),
        )
        .values(
            request={},
            result=None,
            error="",
            state=case((effect.state == "planned", "cancelled"), else_=effect.state),
        )
    )


def _erase_texts(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID], texts: Sequence[str]) -> None:
    """What was told about these orders: that something happened stays, what it said does not.

    An issue that is still open says what is to be done, mostly about goods: it stays, unless it names the customer.
    """
    told, issue = t.activity.c, t.issue.c
    of_orders = (told.merchant_id == merchant_id, told.order_id.in_(order_ids))
    for kind in connection.execute(select(told.kind).distinct().where(*of_orders)).scalars().all():
        connection.execute(
            update(t.activity).where(*of_orders, told.kind == kind).values(summary=_plainly(kind), details=None)
        )
    raised = connection.execute(
        select(issue.id, issue.kind, issue.title, issue.next_step, issue.resolved_at).where(
            issue.merchant_id == merchant_id, issue.order_id.in_(order_ids)
        )
    ).all()
    naming = [
        {"this": row.id, "plainly": _plainly(row.kind)}
        for row in raised
        if row.resolved_at is not None or _names(f"{row.title} {row.next_step}", texts)
    ]
    if naming:
        connection.execute(
            update(t.issue)
            .where(issue.merchant_id == merchant_id, issue.id == bindparam("this"))
            .values(title=bindparam("plainly"), next_step=LOOK),
            naming,
        )


LOOK = "What this said about a customer is erased. Look at the page it leads to."


def _plainly(kind: str) -> str:
    return f"{kind.replace('_', ' ').capitalize()} {ERASED}"


def _names(said: str, texts: Iterable[str]) -> bool:
    low = said.lower()
    return any(text.lower() in low for text in texts)


def texts_about(connection: Connection, merchant_id: UUID, order_ids: Sequence[UUID]) -> tuple[str, ...]:
    """Whatever could give a customer away in a text: names and what they consist of, addresses, telephone numbers."""
    order = t.sales_order.c
    found: dict[str, None] = {}
    for some in in_chunks(order_ids):
        for row in connection.execute(
            select(order.customer_name, order.email, order.shipping_address, order.billing_address).where(
                order.merchant_id == merchant_id, order.id.in_(some)
            )
        ):
            named = [row.customer_name, row.email]
            for address in (row.shipping_address, row.billing_address):
                named += [address.get(part, "") for part in ("name", "company", "line1", "line2", "phone")]
            names = " ".join(
                [row.customer_name, row.shipping_address.get("name", ""), row.billing_address.get("name", "")]
            )
            named += re.findall(r"\w+", names)
            found |= dict.fromkeys(text.strip() for text in named if len(text.strip()) >= SHORTEST_NEEDLE)
    return tuple(found)
