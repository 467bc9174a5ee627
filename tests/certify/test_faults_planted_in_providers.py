"""The contract for fulfillment providers bites: a planted fault is caught by the case that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

import hub
from hub.certify import FAILED, PASSED
from hub.connector import Kind
from tests.scaffold.written import connector, tried

Honest: Any = connector(Kind.PROVIDER)
Facts = Iterable[hub.Progress | hub.ProviderShipment]


class SubmitsAgain(Honest):
    """Says that submitting twice is harmless; the vendor refuses the second."""

    effects = {**Honest.effects, "submit": hub.Settlement.NATURAL_KEY}  # noqa: RUF012


class FindsNothing(Honest):
    """Never finds the order whose answer was lost."""

    def find_submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission | None:
        return None


class MakesReferencesUp(Honest):
    """Sends another reference each time, so that nothing can be found again and nothing is refused."""

    _made = 0

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        type(self)._made += 1
        return super().submit(replace(order, reference=f"{order.reference}-{self._made}"), key)  # type: ignore[no-any-return]


class FindsAnything(Honest):
    """Takes the first order that the vendor has for ours."""

    def find_submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission | None:
        rows = self._ask("GET", "orders", params={"after": "0"})["orders"]
        return hub.Submission(reference=order.reference, external_id=rows[0]["id"]) if rows else None


class SendsTheFirstLine(Honest):
    """Sends one line of an order."""

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        return super().submit(replace(order, lines=order.lines[:1]), key)  # type: ignore[no-any-return]


class SendsOnePiece(Honest):
    """Sends one piece of each line."""

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        lines = tuple(replace(line, quantity=1) for line in order.lines)
        return super().submit(replace(order, lines=lines), key)  # type: ignore[no-any-return]


class ThinksNewWordsAreGood(Honest):
    """Takes a state that it does not know for shipped."""

    def read_shipments(self, record: hub.RawRecord) -> Facts:
        for fact in super().read_shipments(record):
            held = isinstance(fact, hub.Progress) and fact.state is hub.ProviderState.ON_HOLD
            yield replace(fact, state=hub.ProviderState.SHIPPED) if held else fact


class ForgetsLots(Honest):
    """Reads shipments without their lots."""

    def read_shipments(self, record: hub.RawRecord) -> Facts:
        for fact in super().read_shipments(record):
            if isinstance(fact, hub.ProviderShipment):
                fact = replace(fact, lines=tuple(replace(line, lots=()) for line in fact.lines))
            yield fact


class TellsTheWholeOrder(Honest):
    """Tells every shipment as if it had been the whole order."""

    def read_shipments(self, record: hub.RawRecord) -> Facts:
        ordered = {line["sku"]: line["quantity"] for line in json.loads(record.body)["lines"]}
        for fact in super().read_shipments(record):
            if isinstance(fact, hub.ProviderShipment):
                lines = tuple(hub.ShippedLine(sku=sku, quantity=quantity) for sku, quantity in ordered.items())
                fact = replace(fact, lines=lines)
            yield fact


class TellsTheFirstShipment(Honest):
    """Forgets that an order may be shipped in parts."""

    def read_shipments(self, record: hub.RawRecord) -> Facts:
        yield from list(super().read_shipments(record))[:2]


class ReadsNothingAsZero(Honest):
    """Takes a figure that it cannot read for nothing."""

    def read_stock(self, record: hub.RawRecord) -> Iterable[hub.StockCount]:
        said = json.loads(record.body)
        if not isinstance(said["on_hand"], int):
            said |= {"on_hand": 0, "available": 0}
        return super().read_stock(replace(record, body=json.dumps(said).encode()))  # type: ignore[no-any-return]


class StoresPagesWhole(Honest):
    """Makes one record of a page of stock, so that one bad row spoils all of it."""

    def fetch_stock(self, cursor: str | None) -> Iterator[hub.Page]:
        for page in super().fetch_stock(cursor):
            rows = [json.loads(record.body) for record in page.records]
            yield replace(page, records=(hub.RawRecord("stock", "page", json.dumps(rows).encode()),))

    def read_stock(self, record: hub.RawRecord) -> Sequence[hub.StockCount]:
        rows = json.loads(record.body)
        return [fact for row in rows for fact in super().read_stock(replace(record, body=json.dumps(row).encode()))]


class ReadsOnePage(Honest):
    """Does not go on after the first page."""

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        yield next(iter(super().fetch_shipments(cursor)))


class JumpsAhead(Honest):
    """Moves the cursor one too far."""

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        for page in super().fetch_shipments(cursor):
            yield replace(page, cursor=str(int(page.cursor) + 1))


class ForgetsTheCursor(Honest):
    """Begins at the beginning each time."""

    def fetch_shipments(self, cursor: str | None) -> Iterator[hub.Page]:
        yield from super().fetch_shipments(None)


class NeedsTheirId(Honest):
    """Cannot cancel what it never got an answer about."""

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        if not submission.external_id:
            raise hub.Rejected("There is no id of this order.")
        return super().cancel(submission, key)  # type: ignore[no-any-return]


class TakesItselfForCancelled(Honest):
    """Calls an order cancelled whatever the provider says."""

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        return replace(super().cancel(submission, key), state=hub.CancelState.CANCELLED)  # type: ignore[no-any-return]


class RefusesTooLate(Honest):
    """Raises where the provider has answered."""

    def cancel(self, submission: hub.Submission, key: str) -> hub.Cancellation:
        answer = super().cancel(submission, key)
        if answer.state is hub.CancelState.REFUSED:
            raise hub.Rejected("It is too late.")
        return answer  # type: ignore[no-any-return]


class TellsThatItWasAllLost(Honest):
    """Calls a lost answer a refusal."""

    def submit(self, order: hub.FulfillmentOrder, key: str) -> hub.Submission:
        try:
            return super().submit(order, key)  # type: ignore[no-any-return]
        except hub.Unavailable as error:
            raise hub.Rejected(str(error)) from error


class BelievesEverybody(Honest):
    """Does not look at signatures."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        return hub.Delivery("order", str(hash(webhook.body)))


PLANTED: list[tuple[type[Any], str]] = [
    (SubmitsAgain, "submitting-once-after-a-500-after"),
    (SubmitsAgain, "submitting-twice-with-one-key-is-one"),
    (FindsNothing, "submitting-is-found-after"),
    (FindsNothing, "submitting-once-dying-after-the-first-answer"),
    (MakesReferencesUp, "submitting-once-after-a-reset-after"),
    (MakesReferencesUp, "order-carries-our-reference"),
    (FindsAnything, "submitting-of-others-is-not-found"),
    (SendsTheFirstLine, "order-of-two-lines-is-whole"),
    (SendsOnePiece, "order-of-a-large-quantity-is-whole"),
    (ThinksNewWordsAreGood, "progress-with-a-new-word"),
    (ForgetsLots, "shipment-tells-its-lots"),
    (TellsTheWholeOrder, "shipment-in-parts-adds-up"),
    (TellsTheFirstShipment, "shipment-in-parts-adds-up"),
    (ReadsNothingAsZero, "stock-bad-row-is-set-aside-alone"),
    (StoresPagesWhole, "stock-bad-row-is-set-aside-alone"),
    (ReadsOnePage, "pages-hold-every-order"),
    (JumpsAhead, "pages-go-on-from-each-cursor"),
    (ForgetsTheCursor, "pages-tell-what-changed-since"),
    (NeedsTheirId, "cancel-without-their-id"),
    (TakesItselfForCancelled, "cancel-of-shipped-goods-is-refused"),
    (RefusesTooLate, "cancel-of-shipped-goods-is-refused"),
    (TellsThatItWasAllLost, "error-reset-at-submit"),
    (TellsThatItWasAllLost, "submitting-once-after-a-silent-connection"),
    (BelievesEverybody, "webhook-unsigned-refused"),
]


@pytest.mark.parametrize(("planted", "case"), PLANTED, ids=lambda each: getattr(each, "__name__", each))
def test_a_planted_fault_is_caught(planted: type[Any], case: str) -> None:
    caught = tried(case, planted)

    assert caught.state == FAILED, f"{case} let pass: {planted.__doc__}"
    assert not re.match("(Attribute|Key|Name)Error", caught.reason), "The fault itself is broken."


@pytest.mark.parametrize("case", sorted({case for _, case in PLANTED} - {"submitting-twice-with-one-key-is-one"}))
def test_the_connector_that_it_was_planted_in_passes(case: str) -> None:
    passed = tried(case, Honest)

    assert (passed.state, passed.reason) == (PASSED, "")
