"""The contract for sales channels bites: each mistake below, made in a copy of a connector, is caught by a case."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import marshmallow
import pytest
import requests
from marshmallow import fields

import hub
from hub.certify import FAILED, PASSED, certify
from hub.testing.simulator import VendorSimulator
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.settings import LarkmartSettings
from hub_larkmart.simulator import LarkmartSimulator
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.connector import PER_PAGE, WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.certify.careless import ComparesBySign

Simulators = Callable[..., VendorSimulator]
PLANTED: list[Any] = []


def caught_by(*cases: str, simulator: Simulators = LarkmartSimulator) -> Callable[[type[Any]], type[Any]]:
    """The decorated connector is wrong in one thing, which these cases have to notice."""

    def plant(connector: type[Any]) -> type[Any]:
        PLANTED.extend(pytest.param(connector, simulator, case, id=f"{connector.__name__}-{case}") for case in cases)
        return connector

    return plant


Woo = WooCommerceConnector
Lark = LarkmartConnector
SIGNED = "x-larkmart-signature"


def changed(record: hub.RawRecord, **members: Any) -> hub.RawRecord:
    """A record of Larkmart's that says something else."""
    return replace(record, body=json.dumps(json.loads(record.body) | members).encode())


# ---------------------------------------------------------------- webhooks


@caught_by("webhook-news-has-a-key-of-its-own", simulator=WooCommerceSimulator)
class DedupesByDeliveryId(Woo):
    """WooCommerce gives all deliveries of one second the same id."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        delivery = super().verify(webhook)
        return delivery and replace(delivery, dedupe_key=webhook.headers["x-wc-webhook-delivery-id"])


@caught_by("webhook-news-has-a-key-of-its-own", simulator=ShopifySimulator)
class DedupesByTopic(ShopifyConnector):
    """One message of a kind is all that it ever takes."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        delivery = super().verify(webhook)
        return delivery and replace(delivery, dedupe_key=delivery.topic)


@caught_by("webhook-rewritten-body-refused")
class SignsWhatItParsed(Lark):
    """Compares the signature of what it has parsed and written again."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        try:
            again = json.dumps(json.loads(webhook.body)).encode()
        except ValueError:
            again = webhook.body
        return super().verify(replace(webhook, body=again))


@caught_by("webhook-swapped-between-merchants-refused")
class TakesAnySecret(Lark):
    """Checks with a secret that all its connections share."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        right = hmac.new(b"made-by-the-hub", webhook.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), webhook.headers.get(SIGNED, "").encode()):
            raise hub.Unverified("The signature does not fit.")
        return hub.Delivery("order.changed", hashlib.sha256(webhook.body).hexdigest())


@caught_by("webhook-unsigned-refused")
class TakesUnsigned(Lark):
    """Checks a signature only where there is one."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        if SIGNED not in webhook.headers:
            return hub.Delivery("order.changed", hashlib.sha256(webhook.body).hexdigest())
        return super().verify(webhook)


@caught_by("webhook-tampered-body-refused", "webhook-body-for-another-signature-refused")
class SignsTheLengthOnly(Lark):
    """Checks that there is a signature, and not whose."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        if len(webhook.headers.get(SIGNED, "")) != 64:
            raise hub.Unverified("There is no signature.")
        return hub.Delivery("order.changed", hashlib.sha256(webhook.body).hexdigest())


caught_by("webhook-compared-in-constant-time")(ComparesBySign)


@caught_by("webhook-garbled-headers-refused", simulator=WooCommerceSimulator)
class ChokesOnOddSignatures(Woo):
    """Decodes whatever stands in the header."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        base64.b64decode(webhook.headers.get("x-wc-webhook-signature", "").encode("ascii"), validate=True)
        return super().verify(webhook)


@caught_by("webhook-key-does-not-go-by-the-clock")
class KeysByTheClock(Lark):
    """Tells a copy from news by the hour in which it comes."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        delivery = super().verify(webhook)
        return delivery and replace(delivery, dedupe_key=f"{self.context.now():%H} {delivery.dedupe_key}")


@caught_by("webhook-body-no-json-set-aside")
class TrustsBodies(Lark):
    """Looks into a body before it reads it."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        return super().read_webhook(record) if json.loads(record.body)["id"] else []


@caught_by("webhook-agrees-on-an-order-fulfilled")
class CallsHalvesWhole(Lark):
    """Takes every unit of a webhook for open."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        (order,) = super().read_webhook(record)
        assert isinstance(order, hub.Order)
        return [replace(order, lines=tuple(replace(line, fulfilled=0) for line in order.lines))]


# ---------------------------------------------------------------- what is asked of people


@caught_by("authorization-other-state-refused", simulator=ShopifySimulator)
class TakesAnyState(ShopifyConnector):
    """Believes whatever state comes back."""

    @classmethod
    def read_authorization(
        cls, settings: Mapping[str, Any], answer: hub.AuthorizationAnswer
    ) -> Mapping[str, Any] | None:
        return super().read_authorization(settings, replace(answer, state=answer.parameters.get("state", "")))


@caught_by("authorization-forged-answer-refused", simulator=ShopifySimulator)
class TakesUnsignedPermission(ShopifyConnector):
    """Checks the state of an answer, and nothing else."""

    @classmethod
    def read_authorization(
        cls, settings: Mapping[str, Any], answer: hub.AuthorizationAnswer
    ) -> Mapping[str, Any] | None:
        answer.check_state(answer.parameters.get("state", ""))
        if not answer.parameters.get("code"):
            raise hub.Unverified("No code.")
        return {**settings, "grant": "authorization_code", "authorization_code": answer.parameters["code"]}


@caught_by("authorization-of-another-shop-refused", simulator=WooCommerceSimulator)
class ConnectsWhoeverAnswers(Woo):
    """Connects the one shop it knows, whatever was typed in."""

    @classmethod
    def read_authorization(
        cls, settings: Mapping[str, Any], answer: hub.AuthorizationAnswer
    ) -> Mapping[str, Any] | None:
        found = super().read_authorization(settings, answer)
        return found and {**found, "site": WooCommerceSimulator().origin}


@caught_by("authorization-garbled-answer-survived", simulator=WooCommerceSimulator)
class ParsesWhateverComes(Woo):
    """Takes every body for the JSON of a key."""

    @classmethod
    def read_authorization(
        cls, settings: Mapping[str, Any], answer: hub.AuthorizationAnswer
    ) -> Mapping[str, Any] | None:
        if not answer.by_browser:
            json.loads(answer.body)["user_id"]
        return super().read_authorization(settings, answer)


class _ForgetsTokens:
    """A vault that never remembers what was kept."""

    def __init__(self, vault: Any) -> None:
        self.vault = vault

    def token(self, name: str, obtain: Callable[[], hub.Token], *, refused: str | None = None) -> str:
        token: str = self.vault.token(name, obtain, refused=refused)
        return token

    def kept(self, name: str) -> hub.Token | None:
        return None


@caught_by("token-renewed-again-and-again", simulator=ShopifySimulator)
class SendsTheCodeAgain(ShopifyConnector):
    """Has forgotten the refresh token when the token has ended."""

    def __init__(self, context: hub.Context) -> None:
        super().__init__(replace(context, tokens=_ForgetsTokens(context.tokens)))


@caught_by("token-renewed-once-for-all-workers", simulator=ShopifySimulator)
class RenewsForItself(ShopifyConnector):
    """Renews the token once for each worker."""

    _one_by_one = threading.Lock()

    def check(self) -> hub.Account:
        with self._one_by_one:
            kept = self.context.tokens.kept("admin")
            if kept is not None:
                self._api._tokens.token(refused=kept.value)
        return super().check()


@caught_by("subscription-lost-is-named-and-made-again", simulator=WooCommerceSimulator)
class TakesSwitchedOffForActive(Woo):
    """Does not look at whether a subscription is switched off."""

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        found = super().read_subscriptions(address)
        rows = {row["topic"] for row in self._all("webhooks") if row["delivery_url"] == address}
        missing = tuple(topic for topic in found.missing if topic not in rows)
        return hub.Subscriptions(tuple({*found.active, *found.missing} - set(missing)), missing)


@caught_by("subscriptions-agree-with-subscribing", simulator=ShopifySimulator)
class TakesEverySubscriptionForItsOwn(ShopifyConnector):
    """Says of every address what is true of one."""

    def read_subscriptions(self, address: str) -> hub.Subscriptions:
        return super().read_subscriptions(address.removesuffix("-of-another"))


@caught_by("wishes-of-customers-understood", simulator=ShopifySimulator)
class ForgetsNobody(ShopifyConnector):
    """Does not say which orders are to be forgotten."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        for fact in super().read_webhook(record):
            yield replace(fact, order_external_ids=()) if isinstance(fact, hub.PersonalDataErased) else fact


@caught_by("wishes-of-strangers-refused", simulator=ShopifySimulator)
class BelievesAnyWish(ShopifyConnector):
    """Takes what customers ask for without a look at the signature."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        if webhook.headers.get("x-shopify-topic", "").startswith(("customers/", "shop/")):
            return hub.Delivery(webhook.headers["x-shopify-topic"], hashlib.sha256(webhook.body).hexdigest())
        return super().verify(webhook)


# ---------------------------------------------------------------- orders


@caught_by("order-read-in-any-time-zone", simulator=WooCommerceSimulator)
class ReadsNaiveTimes(Woo):
    """Reads the time that has no zone, in whatever zone this machine happens to be."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        naive = datetime.fromisoformat(json.loads(record.body)["order"]["date_created"])
        return replace(super().read_order(record), placed_at=naive.astimezone(UTC))


@caught_by("times-without-a-zone-refused")
class GuessesZones(Lark):
    """Takes a time without a zone for the machine's own."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        told = json.loads(record.body)
        aware = {name: datetime.fromisoformat(told[name]).astimezone(UTC) for name in ("changed_at", "placed_at")}
        return super().read_order(changed(record, **{name: each.isoformat() for name, each in aware.items()}))


@caught_by("order-money-is-exact")
class CountsInFloats(Lark):
    """Adds up money in floats."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        order = super().read_order(record)
        total = sum(float(line.unit_price.amount) * line.quantity for line in order.lines)
        return replace(order, total=hub.Money(Decimal(total), order.currency))


@caught_by("order-version-is-the-vendors", "order-old-record-stays-old")
class VersionsByTheClock(Lark):
    """Takes the moment of fetching for the version, so that a stale order looks new."""

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        now = self.context.now().isoformat()
        return replace(changed(super().fetch_order(external_id), changed_at=now), version=now)

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        return replace(super().read_order(record), version=self.context.now())


@caught_by("order-cancelled-lets-go", "order-old-record-stays-old")
class KeepsTheFirstVersion(Lark):
    """Gives every state of an order the same version, so that a stale one is accepted."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        order = super().read_order(record)
        return replace(order, version=order.placed_at)


@caught_by("order-cancelled-lets-go")
class HoldsForever(Lark):
    """Lets a canceled order hold its stock."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        return replace(super().read_order(record), holds_stock=True)


@caught_by("order-lines-are-whole")
class ForgetsListings(Lark):
    """Does not say which listing a line is of."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        order = super().read_order(record)
        return replace(order, lines=tuple(replace(line, listing_external_id=None) for line in order.lines))


@caught_by("order-read-without-asking")
class AsksWhileReading(Lark):
    """Asks the vendor while it reads a stored record."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        return super().read_order(super().fetch_order(record.external_id))


@caught_by("order-unknown-a-path")
class PutsIdsIntoPaths(Lark):
    """Puts an id into an address as it is."""

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        return super().fetch_order("order-1001" if ".." in external_id else external_id)


@caught_by("status-that-is-new-kept")
class KnowsEveryState(Lark):
    """Breaks at a state that the vendor invents."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        order = super().read_order(record)
        return replace(order, status={"open": order.status, "shipped": order.status, "cancelled": order.status}[
            order.channel_status
        ])  # fmt: skip


@caught_by("member-missing-survived")
class IndexesByHand(Lark):
    """Takes members for granted."""

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        said = json.loads(record.body)
        return replace(super().read_order(record), note=said["customer"])


# ---------------------------------------------------------------- paging


@caught_by("pages-hold-everything", simulator=WooCommerceSimulator)
class ReadsOnePage(Woo):
    """Takes the first page for everything."""

    def _changed(self, status: str, since: datetime | None) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        yield from list(super()._changed(status, since))[:1]


@caught_by("pages-hold-everything", simulator=WooCommerceSimulator)
class TrustsItsPageSize(Woo):
    """Takes a page for the last one when it is shorter than what was asked for, though the vendor gives less."""

    def _changed(self, status: str, since: datetime | None) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        for rows, total in super()._changed(status, since):
            yield rows, total
            if len(rows) < PER_PAGE + 1:
                return


@caught_by("cursor-survives-a-clock-an-hour-ahead")
class CursorsByTheClock(Lark):
    """Goes on from the moment at which it last asked."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        records = [record for page in super().fetch_orders(None) for record in page.records]
        fresh = tuple(record for record in records if record.version >= (cursor or ""))
        yield hub.Page(fresh, self.context.now().isoformat())


@caught_by("cursor-finds-what-comes-in-the-same-second", simulator=WooCommerceSimulator)
class LeavesNoOverlap(Woo):
    """Asks for what changed after the last change, of which there may be more in the same second."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        reached = cursor or ""
        for page in super().fetch_orders(None):
            fresh = tuple(record for record in page.records if record.version > reached)
            yield hub.Page(fresh, max([reached, *(record.version for record in page.records)]))


@caught_by("order-changed-while-paging-is-found", simulator=WooCommerceSimulator)
class PagesByPosition(Woo):
    """Counts on positions that move while it reads."""

    def _changed(self, status: str, since: datetime | None) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        number = 1
        while rows := self._call(
            "GET", "orders", status=status, orderby="modified", order="asc", per_page=30, page=number
        ).json():
            yield rows, None
            number += 1


@caught_by("page-repeated-loses-nothing")
class GoesInCircles(Lark):
    """Follows a cursor wherever it leads."""

    def _walk(self, path: str, topic: str, cursor: str | None) -> Iterator[hub.Page]:
        met: set[str] = set()
        for page in super()._walk(path, topic, cursor):
            if page.cursor in met:
                return
            met.add(page.cursor)
            yield page

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        last = ""
        try:
            for page in super().fetch_orders(cursor):
                last = page.cursor
                yield page
        except hub.Unavailable:
            yield hub.Page((), str(int(last or "0") + 1_000))


@caught_by("pages-come-to-an-end")
class NeverEnds(Lark):
    """Asks for as long as it gets an answer."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        while True:
            pages = list(super().fetch_orders(cursor))
            yield from pages
            if cursor is None:
                return


@caught_by("error-500-at-fetch-orders", "page-failing-with-500-loses-nothing")
class TakesSilenceForTheEnd(Lark):
    """Takes a failure for the end of the list, and the cursor of the clock for its place."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        try:
            yield from super().fetch_orders(cursor)
        except hub.Unavailable:
            yield hub.Page((), "1000000")


# ---------------------------------------------------------------- stock


@caught_by("figure-stale-not-written", "figure-sold-meanwhile-kept", simulator=ShopifySimulator)
class LeavesOutTheComparison(ShopifyConnector):
    """Writes whatever stands there, though it says that it compares."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        return super().push_stock([replace(push, expected=None) for push in pushes])


@caught_by("figure-of-nobody-spoils-no-other")
class WritesAllOrNothing(Lark):
    """Lets one refused figure spoil the others."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        outcomes = super().push_stock(pushes)
        if bad := [each for each in outcomes if each.state is not hub.PushState.WRITTEN]:
            raise hub.Rejected(bad[0].message)
        return outcomes


@caught_by("figure-of-nobody-spoils-no-other")
class AlwaysSaysWritten(Lark):
    """Never looks at what the vendor refused."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        return [hub.PushOutcome(hub.PushState.WRITTEN) for _ in super().push_stock(pushes)]


class TakesIn(Lark):
    """Has figures judged later. Nothing wrong with that."""

    feeds: ClassVar[dict[str, list[tuple[hub.StockPush, int]]]] = {}

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        reference = f"feed-{len(self.feeds) + 1}"
        self.feeds[reference] = [(push, 0) for push in pushes]
        return [hub.PushOutcome(hub.PushState.PENDING, reference=reference, after_seconds=5.0)] * len(pushes)

    def settle_stock(self, reference: str, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        self.check()
        asked = self.feeds[reference][0][1]
        self.feeds[reference] = [(push, asked + 1) for push, asked in self.feeds[reference]]
        if asked == 0:
            return [hub.PushOutcome(hub.PushState.PENDING)] * len(pushes)
        return Lark.push_stock(self, pushes)


FIGURES = ("figure-written-7", "figures-written-together", "figure-of-nobody-spoils-no-other")
LATER = ("figure-pending-is-known-to-another-worker", "figures-pending-settled-in-order")


@pytest.mark.parametrize("case", [*FIGURES, *LATER, "error-500-at-settle-stock", "stock-counted-reaches-the-shop"])
def test_a_channel_that_judges_later_can_keep_the_contract(case: str) -> None:
    (outcome,) = certify(TakesIn, LarkmartSimulator, only=[case]).outcomes

    assert outcome.state == PASSED, outcome.reason


@pytest.mark.parametrize("case", LATER)
def test_a_channel_that_answers_at_once_is_not_asked_what_became_of_it(case: str) -> None:
    (outcome,) = certify(Lark, LarkmartSimulator, only=[case]).outcomes

    assert outcome.reason == "it says at once what became of a figure"


@caught_by("figure-written-7", "figures-written-together")
class NamesNoReference(TakesIn):
    """Does not say by what it is to be asked."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        return [replace(outcome, reference="") for outcome in super().push_stock(pushes)]


@caught_by("figure-written-7")
class NeverComesToAnEnd(TakesIn):
    """Is for ever at it."""

    def settle_stock(self, reference: str, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        return [hub.PushOutcome(hub.PushState.PENDING)] * len(pushes)


@caught_by("figure-written-7", "figure-pending-is-known-to-another-worker")
class BelievesWhatWasTakenIn(TakesIn):
    """Takes what was accepted for done."""

    def settle_stock(self, reference: str, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        return [hub.PushOutcome(hub.PushState.WRITTEN)] * len(pushes)


@caught_by("figure-pending-is-known-to-another-worker")
class RemembersWhatItSent(TakesIn):
    """Keeps in memory what the reference is about."""

    def __init__(self, context: hub.Context) -> None:
        super().__init__(context)
        self.feeds = {}  # type: ignore[misc]


@caught_by("figures-pending-settled-in-order")
class SettlesInItsOwnOrder(TakesIn):
    """Answers in the order in which it was told."""

    def settle_stock(self, reference: str, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        sent = [push for push, _ in self.feeds[reference]]
        return super().settle_stock(reference, sorted(pushes, key=lambda push: sent.index(push)))


@caught_by("figures-read-in-order")
class ReadsInItsOwnOrder(Lark):
    """Answers in the order of the ids."""

    def read_stock(self, refs: Sequence[hub.StockRef]) -> Sequence[int | None]:
        return super().read_stock(sorted(refs, key=lambda ref: ref.listing_external_id))


@caught_by("figure-of-nobody-is-none")
class SaysNoughtForNobody(Lark):
    """Says nought of what does not exist."""

    def read_stock(self, refs: Sequence[hub.StockRef]) -> Sequence[int | None]:
        return [figure or 0 for figure in super().read_stock(refs)]


@caught_by("figure-repeated-does-no-harm", "stock-counted-reaches-the-shop")
class WritesDifferences(Lark):
    """Adds to what is there, so that doing it twice does it twice."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        there = self.read_stock([push.ref for push in pushes])
        return super().push_stock(
            [
                replace(push, quantity=max(0, push.quantity - 3 + (now or 0)))
                for push, now in zip(pushes, there, strict=True)
            ]
        )


@caught_by("error-500-after-the-effect-at-push-stock", "answer-html-at-push-stock")
class TakesAnyAnswerForSuccess(Lark):
    """Says “written” when nobody can know."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        try:
            return super().push_stock(pushes)
        except hub.Unavailable:
            return [hub.PushOutcome(hub.PushState.WRITTEN) for _ in pushes]


# ---------------------------------------------------------------- errors, budgets, effects


@caught_by("no-retry-after-reset-at-push-stock", "no-retry-after-500-at-push-stock")
class RetriesByItself(Lark):
    """Sends again at once what may have arrived."""

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        try:
            return super().push_stock(pushes)
        except hub.Unavailable:
            return super().push_stock(pushes)


@caught_by("subscription-repeated-changes-nothing", simulator=WooCommerceSimulator)
class SubscribesBlindly(Woo):
    """Subscribes without looking what is there."""

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        body = {"name": "Tallyhub", "topic": "order.created", "delivery_url": request["address"], "status": "active"}
        self._call("POST", "webhooks", body={**body, "secret": self.context.webhook_secret})
        return hub.EffectResult(reference=request["address"])


@caught_by("subscription-reset-after-the-effect-takes-place-once", simulator=WooCommerceSimulator)
class RetriesWithoutLookingUp(Woo):
    """Creates a subscription again when the answer was lost, without looking whether it is there."""

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        if list(self._walk("webhooks")):
            return hub.EffectResult(reference=request["address"])
        body = {"name": "Tallyhub", "topic": "order.created", "delivery_url": request["address"], "status": "active"}
        for _ in range(2):
            try:
                self._call("POST", "webhooks", body={**body, "secret": self.context.webhook_secret})
                break
            except hub.Unavailable:
                continue
        return hub.EffectResult(reference=request["address"])


@caught_by("error-429-at-fetch-orders")
class TakesLimitsForFailures(Lark):
    """Calls a limit an outage, so that a whole breaker opens for it."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        try:
            yield from super().fetch_orders(cursor)
        except hub.RateLimited as error:
            raise hub.Unavailable("Larkmart is away. It will be asked again.") from error


@caught_by("answer-null-at-check")
class TrustsAnswers(Lark):
    """Takes what comes for what it asked for."""

    def check(self) -> hub.Account:
        headers = {"Authorization": f"Bearer {self.settings['api_key']}"}
        said = self.client.get(f"{self.hosts(self.settings)[0]}/v1/stall", headers=headers).json()
        return hub.Account(external_id=said["id"], name=said["name"])


@caught_by("budget-counts-check")
class GoesAroundTheClient(Lark):
    """Sends with a library of its own, past the rate budget, the host check and the log."""

    def check(self) -> hub.Account:
        (address,) = self.client._routes.values()
        headers = {"Authorization": f"Bearer {self.settings['api_key']}"}
        said = requests.get(f"{address}/v1/stall", headers=headers, timeout=5).json()
        return hub.Account(external_id=said["id"], name=said["name"], locations=super().check().locations)


@caught_by("budget-counts-read-stock", "budget-kept-over-time")
class CostsNothing(Lark):
    """Declares each request to be free."""

    def _ask(self, method: str, path: str, *members: str, **options: Any) -> dict[str, Any]:
        return super()._ask(method, path, *members, cost=0.0, **options)


@caught_by("check-refuses-wrong-secrets")
class BelievesTheForm(Lark):
    """Says whose account it is without asking."""

    def check(self) -> hub.Account:
        return hub.Account(external_id=f"stall-{self.settings['stall']}", name="Corner")


@caught_by("shipment-confirmed-is-on-the-order")
class ConfirmsEverything(Lark):
    """Tells the vendor that the whole order was shipped, whatever was."""

    def confirm_shipment(self, confirmation: hub.ShipmentConfirmation, key: str) -> hub.EffectResult:
        order = self.read_order(self.fetch_order(confirmation.order_external_id))
        units = {line.external_id: line.open_quantity for line in order.lines}
        lines = tuple(replace(line, quantity=units[line.line_external_id]) for line in confirmation.lines)
        return super().confirm_shipment(replace(confirmation, lines=lines), key)


@caught_by("shipment-confirmed-once-after-reset-after-the-effect")
class NamesEachTryAnew(Lark):
    """Gives the same shipment another reference each time it is told of."""

    def confirm_shipment(self, confirmation: hub.ShipmentConfirmation, key: str) -> hub.EffectResult:
        again = f"{confirmation.reference}-{self.context.now():%H%M%S}"
        return super().confirm_shipment(replace(confirmation, reference=again), key)


@caught_by(
    "work-held-is-held-once-until-released", "work-held-once-after-reset-after-the-effect", simulator=ShopifySimulator
)
class HoldsAnewEachTime(ShopifyConnector):
    """Gives the same hold another reference each time it is asked for."""

    def hold_work(self, hold: hub.WorkHold, key: str) -> hub.EffectResult:
        return super().hold_work(replace(hold, reference=f"H-{self.context.now():%H%M%S}"), key)


@caught_by("work-held-in-part", simulator=ShopifySimulator)
class HoldsAllOfIt(ShopifyConnector):
    """Holds a part whole, whichever units were named."""

    def hold_work(self, hold: hub.WorkHold, key: str) -> hub.EffectResult:
        return super().hold_work(replace(hold, lines=()), key)


@caught_by("work-that-is-none-not-held", simulator=ShopifySimulator)
class HoldsTheNextBest(ShopifyConnector):
    """Takes the first part of an order for one that it does not find."""

    def hold_work(self, hold: hub.WorkHold, key: str) -> hub.EffectResult:
        (part, *_) = self.read_order(self.fetch_order(hold.order_external_id)).work
        return super().hold_work(replace(hold, work_external_id=part.external_id), key)


@caught_by("work-split-is-split-once", simulator=ShopifySimulator)
class NamesTheRest(ShopifyConnector):
    """Takes the part that was split for the one that was split off."""

    def split_work(self, split: hub.WorkSplit, key: str) -> hub.EffectResult:
        return replace(super().split_work(split, key), reference=split.work_external_id)


# ---------------------------------------------------------------- secrets and settings


@caught_by("secrets-not-on-pages", "secrets-not-in-results-of-check")
class WarnsWithTheKey(Lark):
    """Tells the merchant of the key that was used, in a warning that is kept and shown."""

    def check(self) -> hub.Account:
        return replace(super().check(), warnings=(f"Connected with the key {self.settings['api_key']}.",))


@caught_by("secrets-not-in-errors-of-check")
class TellsTheKey(Lark):
    """Shows the key to whoever reads the message."""

    def check(self) -> hub.Account:
        try:
            return super().check()
        except hub.AuthError as error:
            raise hub.AuthError(f"Larkmart refused the key {self.settings['api_key']}. Enter another.") from error


@caught_by("secrets-not-in-repr")
class ShowsItself(Lark):
    """Shows its settings wherever it is printed."""

    def __repr__(self) -> str:
        return f"<Larkmart {dict(self.settings)}>"


@caught_by("secrets-not-in-logs-of-fetch-orders")
class LogsTheKey(Lark):
    """Writes the key into the log, at a level that nobody looks at until it is too late."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        logging.getLogger("larkmart").debug("asking with %s", self.settings["api_key"])
        return super().fetch_orders(cursor)


@caught_by("secrets-not-in-results-of-subscribe-webhooks")
class KeepsTheSecretInTheResult(Lark):
    """Lets the signing secret be stored beside the effect."""

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        done = super().subscribe_webhooks(request, key)
        return replace(done, details={"secret": self.context.webhook_secret})


class _OpenForm(marshmallow.Schema):
    """A form that leaves everything to luck."""

    stall = fields.String(required=True, metadata={"label": "Stall", "hint": "Its name."})
    api_key = fields.String(required=True, metadata={"label": "API key", "hint": "Under Account."})


@caught_by("settings-mark-secrets", "settings-pasted-with-a-line-end")
class LeavesTheFormOpen(Lark):
    """Draws the key in the clear, and keeps what was copied along with it."""

    settings_schema = _OpenForm


class _ChokingForm(LarkmartSettings):
    """A form that cleans what it has not looked at."""

    @marshmallow.pre_load
    def clean(self, typed: Any, **_: Any) -> Any:
        """Strip every value, whatever it is."""
        return {name: value.strip() for name, value in typed.items()}


@caught_by("settings-survive-a-list", "settings-survive-nothing")
class ChokesOnTheForm(Lark):
    """Breaks at a form that is not what it expects."""

    settings_schema = _ChokingForm


@caught_by("hosts-are-origins")
class NamesPages(Lark):
    """Names a page of the vendor's as its host."""

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return [f"{host}/v1?all" for host in super().hosts(settings)]


@caught_by("effects-are-methods")
class PromisesRefunds(Lark):
    """Declares an effect that it does not have."""

    effects: ClassVar[Mapping[str, hub.Settlement]] = {**Lark.effects, "send_flowers": hub.Settlement.NONE}


@caught_by("effects-can-be-looked-up")
class PromisesLookUps(Lark):
    """Says that it can be looked up, and has nothing to look it up with."""

    effects: ClassVar[Mapping[str, hub.Settlement]] = {"subscribe_webhooks": hub.Settlement.LOOKUP}


# ---------------------------------------------------------------- in a hub at work


@caught_by("crash-importing-after-a-commit")
class MovesTheCursorFirst(Lark):
    """Hands on the cursor of a page before its records."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        for page in super().fetch_orders(cursor):
            yield hub.Page((), page.cursor)
            yield page


@caught_by("once-under-500")
class SkipsWhatFailed(Lark):
    """Goes on behind a page that it never got."""

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        try:
            yield from super().fetch_orders(cursor)
        except hub.Unavailable:
            yield hub.Page((), str(int(cursor or "0") + 100))


@caught_by("once-with-webhooks-delivered-three-times", "once-by-webhook-and-by-poll")
class NamesOrdersAnew(Lark):
    """Gives the order of a webhook another id than the one it is fetched by."""

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        (order,) = super().read_webhook(record)
        assert isinstance(order, hub.Order)
        return [replace(order, external_id=order.number)]


# ---------------------------------------------------------------- cancelling, and giving money back


@caught_by(
    "refunding-once-dying-after-anywhere",
    "refunding-once-with-a-lost-answer-anywhere",
    simulator=WooCommerceSimulator,
)
class RefundsAgain(Woo):
    """Takes it that what was asked for did not happen."""

    def find_refund(self, refund: hub.RefundRequest, key: str) -> hub.EffectResult | None:
        return None

    def refund(self, refund: hub.RefundRequest, key: str) -> hub.EffectResult:
        return super().refund(replace(refund, reference=f"R-{time.monotonic_ns()}"), key)


@caught_by("refunding-of-others-is-not-found", simulator=ShopifySimulator)
class TakesAnyRefund(ShopifyConnector):
    """One refund is as good as the other."""

    def find_refund(self, refund: hub.RefundRequest, key: str) -> hub.EffectResult | None:
        order = self.read_order(self.fetch_order(refund.order_external_id))
        return hub.EffectResult("any") if order else None


@caught_by("refund-is-exact", simulator=ShopifySimulator)
class RefundsTheWholeLine(ShopifyConnector):
    """Gives back what the line cost, whatever was asked for."""

    def refund(self, refund: hub.RefundRequest, key: str) -> hub.EffectResult:
        lines = tuple(replace(each, amount=hub.Money.of("12.50", each.amount.currency)) for each in refund.lines)
        return super().refund(replace(refund, lines=lines), key)


@caught_by("cancelled-order-is-cancelled", "cancelling-is-done-once-without-trouble", simulator=ShopifySimulator)
class SaysItIsCancelled(ShopifyConnector):
    """Believes that asking is enough."""

    def cancel_order(self, cancellation: hub.OrderCancellation, key: str) -> hub.EffectResult:
        return hub.EffectResult(cancellation.order_external_id, {"cancelled": True})


@pytest.mark.parametrize(("connector", "simulator", "case"), PLANTED)
def test_a_planted_fault_is_caught(connector: type[hub.SalesChannel], simulator: Simulators, case: str) -> None:
    report = certify(connector, simulator, only=[case])

    (outcome,) = report.outcomes
    assert outcome.state == FAILED, f"{connector.__doc__} {case} did not notice: {outcome.case.says}"
    assert outcome.reason


def test_there_are_faults_enough() -> None:
    assert len({planted.values[0] for planted in PLANTED}) >= 25
