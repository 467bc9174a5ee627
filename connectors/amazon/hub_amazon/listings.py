"""Listings of a seller and their stock: finding them, reading what they say, and writing few at once or many."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import fields, post_load

from hub.connector import UNREAD, Page, PushOutcome, PushState, RawRecord, StockPush, StockRef, Unread
from hub.core.model import Listing, ListingLevel
from hub.errors import NotFound, RateLimited, Rejected, Unavailable, Unreadable
from hub.translation import MoneyObject, Text, Translation, WholeNumber, load_json
from hub_amazon.marketplaces import Marketplace
from hub_amazon.order_translation import listing_id
from hub_amazon.sp_api import SellingPartnerApi

DEFAULT: Final = "DEFAULT"  # the stock of what the merchant ships; what lies with Amazon has other codes
INCLUDED_DATA: Final = ("summaries", "offers", "fulfillmentAvailability")
PAGE: Final = 20  # listings in one answer, and SKUs in one question
MOST_FOUND: Final = 1000  # listings that one search leads through, however many it found
FEW: Final = 20  # quantities that are written one by one; more go out in a feed
MANY: Final = 500  # at most in one feed, though Amazon takes 25,000: what is asked for together fits into memory
_ANY_PRODUCT = "PRODUCT"  # the product type for what says nothing of the product itself

PATCH_SECONDS: Final = 15.0  # after which a quantity that was written alone is looked for
PATCH_PATIENCE: Final = 900.0  # after which it is taken for lost
FEED_SECONDS: Final = 60.0


# ---------------------------------------------------------------- reading


class _Image(Translation):
    link = Text()


class _Summary(Translation):
    marketplaceId = Text(required=True)
    asin = Text()
    productType = Text()
    itemName = Text()
    mainImage = fields.Nested(_Image, load_default=dict, allow_none=True)


class _Offer(Translation):
    marketplaceId = Text(required=True)
    offerType = Text()
    price = MoneyObject(currency="currencyCode", load_default=None, allow_none=True)


class _Availability(Translation):
    fulfillmentChannelCode = Text(required=True)
    quantity = WholeNumber(load_default=None, allow_none=True)


class _Item(Translation):
    sku = Text(required=True)
    summaries = fields.List(fields.Nested(_Summary), load_default=list)
    offers = fields.List(fields.Nested(_Offer), load_default=list)
    fulfillmentAvailability = fields.List(fields.Nested(_Availability), load_default=list)


class _Record(Translation[Listing]):
    """A listing as it is stored: Amazon's item, and the marketplace that was asked."""

    marketplaceId = Text(required=True)
    item = fields.Nested(_Item, required=True)

    @post_load
    def build(self, said: dict[str, Any], **_: Any) -> Listing:
        place, item = said["marketplaceId"], said["item"]
        summary: Mapping[str, Any] = next((each for each in item["summaries"] if each["marketplaceId"] == place), {})
        offers = [each for each in item["offers"] if each["marketplaceId"] == place and each["offerType"] != "B2B"]
        channels = {each["fulfillmentChannelCode"] for each in item["fulfillmentAvailability"]}
        return Listing(
            external_id=listing_id(place, item["sku"]),
            sku=item["sku"],
            title=summary.get("itemName") or item["sku"],
            # What lies in Amazon's warehouse is Amazon's to count. A parent of variations has no stock at all.
            tracked=channels == {DEFAULT},
            price=offers[0]["price"] if offers else None,
            handles={"product_type": summary.get("productType") or _ANY_PRODUCT},
            levels=tuple(
                ListingLevel(location_external_id=DEFAULT, available=each["quantity"])
                for each in item["fulfillmentAvailability"]
                if each["fulfillmentChannelCode"] == DEFAULT
            ),
            image_url=(summary.get("mainImage") or {}).get("link", ""),
        )


_RECORD = _Record()


def read(record: RawRecord) -> Listing:
    """The listing in a record. Raises Unreadable."""
    return _RECORD.read(record.body)


def _record(place: str, item: Mapping[str, Any]) -> RawRecord:
    body = json.dumps({"marketplaceId": place, "item": item}, ensure_ascii=False, sort_keys=True, default=str)
    return RawRecord("listing", listing_id(place, item["sku"]), body.encode(), version=_changed_at(place, item))


def _changed_at(place: str, item: Mapping[str, Any]) -> str:
    summaries = item.get("summaries") or ()
    return next((str(each["lastUpdatedDate"]) for each in summaries if each["marketplaceId"] == place), "")


def _quantity(item: Mapping[str, Any]) -> int | None:
    """What the merchant has of an item, None where Amazon keeps no such stock of it."""
    for each in item.get("fulfillmentAvailability") or ():
        if each["fulfillmentChannelCode"] == DEFAULT:
            quantity = each.get("quantity")
            return quantity if isinstance(quantity, int) else None
    return None


# ---------------------------------------------------------------- at Amazon


@dataclass(frozen=True, slots=True)
class _Named:
    """A listing's id taken apart."""

    place: str
    sku: str


class Listings:
    """The listings of one seller in the marketplaces of a connection."""

    def __init__(
        self,
        api: SellingPartnerApi,
        seller_id: str,
        places: Sequence[Marketplace],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._seller = seller_id
        self._places = places
        self._now = now

    def _find(self, external_id: str) -> _Named | None:
        """A listing's id taken apart; None for what names no listing in these marketplaces."""
        place, _, sku = external_id.partition("/")
        return _Named(place, sku) if sku and any(place == each.external_id for each in self._places) else None

    def _named(self, external_id: str) -> _Named:
        """The same, where there has to be one. Raises NotFound."""
        named = self._find(external_id)
        if named is None:
            raise NotFound(f"“{external_id[:60]}” names no listing in the marketplaces of this connection.")
        return named

    # --- finding

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Every listing that was changed since ``cursor``, one marketplace after the other.

        The cursor holds for each marketplace the moment of the last change that was met. A search leads through a
        thousand listings at most: the next one begins where it ended.
        """
        since: dict[str, str] = _since(cursor)
        first = not since
        seen = 0
        for place in (each.external_id for each in self._places):
            for items, found in self._changed(place, since.get(place)):
                since[place] = max([since.get(place, ""), *(_changed_at(place, item) for item in items)])
                records = tuple(_record(place, item) for item in items)
                yield Page(records, json.dumps(since, sort_keys=True), seen + found if first else None)
            seen += found

    def _changed(self, place: str, since: str | None) -> Iterator[tuple[Sequence[Mapping[str, Any]], int]]:
        """The listings of one marketplace, oldest change first, with how many a search has found."""
        while True:
            asked: dict[str, Any] = {
                "marketplaceIds": [place],
                "includedData": INCLUDED_DATA,
                "sortBy": "lastUpdatedDate",
                "sortOrder": "ASC",
                "pageSize": PAGE,
            }
            if since:
                asked["lastUpdatedAfter"] = since
            count, found, last = 0, 0, since or ""
            while True:
                answer = self._search(asked)
                items, found = answer["items"], max(found, answer["numberOfResults"])
                count += len(items)
                last = max([last, *(_changed_at(place, item) for item in items)])
                yield items, found
                token = (answer.get("pagination") or {}).get("nextToken")
                if not token:
                    break
                asked["pageToken"] = token
            if count < MOST_FOUND or count >= found:
                return
            if last == since:
                raise Unavailable(
                    f"Amazon names {found} listings of {place} that were changed in the same moment and leads through "
                    f"{MOST_FOUND} of them only. It will be tried again."
                )
            since = last

    def one(self, external_id: str) -> RawRecord:
        """One listing as a record. Raises NotFound."""
        named = self._named(external_id)
        return _record(named.place, self._item(named))

    def _item(self, named: _Named) -> Mapping[str, Any]:
        return self._api.call(
            "getListingsItem",
            path={"sellerId": self._seller, "sku": named.sku},
            params={"marketplaceIds": [named.place], "includedData": (*INCLUDED_DATA, "issues")},
        ).object("sku")

    def _search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = self._api.call("searchListingsItems", path={"sellerId": self._seller}, params=asked)
        return found.object("items", "numberOfResults")

    # --- what they say

    def stock(self, refs: Sequence[StockRef]) -> Sequence[int | Unread | None]:
        """What each listing says the merchant has; UNREAD from where Amazon did not answer any more."""
        named = {ref.listing_external_id: self._find(ref.listing_external_id) for ref in refs}
        found: dict[str, int | None] = {external_id: None for external_id, each in named.items() if each is None}
        read = 0
        for some in _questions(each for each in named.values() if each is not None):
            try:
                found |= {external_id: _quantity(item) for external_id, item in self._items(some).items()}
            except (RateLimited, Unavailable):
                if not read:
                    raise
                break
            read += len(some)
            found |= {name: None for each in some if (name := listing_id(each.place, each.sku)) not in found}
        return [found.get(ref.listing_external_id, UNREAD) for ref in refs]

    def _items(self, some: Sequence[_Named]) -> dict[str, Mapping[str, Any]]:
        """These listings of one marketplace, by the hub's name; those that Amazon does not know are left out."""
        place = some[0].place
        if len(some) == 1:
            try:
                return {listing_id(place, some[0].sku): self._item(some[0])}
            except NotFound:
                return {}
        answer = self._search(
            {
                "marketplaceIds": [place],
                "identifiersType": "SKU",
                "identifiers": [each.sku for each in some],
                "includedData": (*INCLUDED_DATA, "issues"),
                "pageSize": PAGE,
            }
        )
        return {listing_id(place, item["sku"]): item for item in answer["items"]}

    # --- writing

    def write(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Tell Amazon these quantities: none is true before ``settle`` says so."""
        reached = [push for push in pushes if self._find(push.ref.listing_external_id) is not None]
        outcomes = self._patch(reached) if len(reached) <= FEW else self._feed(reached)
        told = {push.key: outcome for push, outcome in zip(reached, outcomes, strict=True)}
        return [told.get(push.key, _ELSEWHERE) for push in pushes]

    def _patch(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        outcomes: list[PushOutcome] = []
        for push in pushes:
            try:
                outcomes.append(self._patch_one(push))
            except (RateLimited, Unavailable) as error:
                # What was not sent, or nobody knows of, is written again; it is a figure, so that does no harm.
                if not outcomes:
                    raise
                rest = len(pushes) - len(outcomes)
                return [*outcomes, *[PushOutcome(PushState.RETRY, message=str(error))] * rest]
        return outcomes

    def _patch_one(self, push: StockPush) -> PushOutcome:
        named = self._named(push.ref.listing_external_id)
        try:
            answer = self._api.call(
                "patchListingsItem",
                path={"sellerId": self._seller, "sku": named.sku},
                params={"marketplaceIds": [named.place], "includedData": ["issues"]},
                body={"productType": _product_type(push), "patches": [_patch_of(push)]},
            ).object("status", "submissionId")
        except NotFound as error:
            return PushOutcome(PushState.GONE, message=str(error))
        except Rejected as error:
            return PushOutcome(PushState.REJECTED, message=str(error))
        if answer["status"] != "ACCEPTED":
            said = _words(answer.get("issues") or ())
            return PushOutcome(PushState.REJECTED, message=said or "Amazon says that this quantity is not valid.")
        sent_at = int(self._now().timestamp())
        return PushOutcome(
            PushState.PENDING, reference=f"patch/{sent_at}/{answer['submissionId']}", after_seconds=PATCH_SECONDS
        )

    def _feed(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        outcomes: dict[str, PushOutcome] = {}
        by_place: dict[str, list[StockPush]] = defaultdict(list)
        for push in pushes:
            by_place[self._named(push.ref.listing_external_id).place].append(push)
        for place, some in by_place.items():
            try:
                reference = f"feed/{self._send_feed(place, some)}"
                told = PushOutcome(PushState.PENDING, reference=reference, after_seconds=FEED_SECONDS)
            except (RateLimited, Unavailable) as error:
                if not outcomes:
                    raise
                told = PushOutcome(PushState.RETRY, message=str(error))
            outcomes |= {push.key: told for push in some}
        return [outcomes[push.key] for push in pushes]

    def _send_feed(self, place: str, pushes: Sequence[StockPush]) -> str:
        """Hand in a feed; returns its id. A document that no feed was made of is forgotten by Amazon."""
        content_type = "application/json; charset=UTF-8"
        document = self._api.call("createFeedDocument", body={"contentType": content_type})
        put = document.object("feedDocumentId", "url")
        feed = {
            "header": {"sellerId": self._seller, "version": "2.0", "issueLocale": "en_US"},
            "messages": [
                {
                    "messageId": number,
                    "sku": self._named(push.ref.listing_external_id).sku,
                    "operationType": "PATCH",
                    "productType": _product_type(push),
                    "patches": [_patch_of(push)],
                }
                for number, push in enumerate(pushes, 1)
            ],
        }
        self._api.upload(put["url"], json.dumps(feed, ensure_ascii=False).encode(), content_type)
        created = self._api.call(
            "createFeed",
            body={
                "feedType": "JSON_LISTINGS_FEED",
                "marketplaceIds": [place],
                "inputFeedDocumentId": put["feedDocumentId"],
            },
        )
        return str(created.object("feedId")["feedId"])

    # --- what became of it

    def settle(self, reference: str, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """What became of quantities that Amazon has taken in under ``reference``."""
        kind, _, rest = reference.partition("/")
        if kind == "feed":
            return self._feed_outcomes(rest, pushes)
        sent_at, _, _ = rest.partition("/")
        if kind != "patch" or not sent_at.isdigit():
            raise NotFound(f"“{reference[:60]}” is no reference of Amazon's.")
        waited = (self._now() - datetime.fromtimestamp(int(sent_at), UTC)).total_seconds()
        return self._patch_outcomes(pushes, waited)

    def _patch_outcomes(self, pushes: Sequence[StockPush], waited: float) -> Sequence[PushOutcome]:
        items: dict[str, Mapping[str, Any]] = {}
        for some in _questions(self._named(push.ref.listing_external_id) for push in pushes):
            items |= self._items(some)
        return [_patch_outcome(push, items.get(push.ref.listing_external_id), waited) for push in pushes]

    def _feed_outcomes(self, feed_id: str, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        feed = self._api.call("getFeed", path={"feedId": feed_id}).object("processingStatus")
        status = feed["processingStatus"]
        if status in ("IN_QUEUE", "IN_PROGRESS"):
            return [PushOutcome(PushState.PENDING, reference=f"feed/{feed_id}", after_seconds=FEED_SECONDS)] * len(
                pushes
            )
        if status == "CANCELLED":
            return [PushOutcome(PushState.RETRY, message="Amazon cancelled the feed before it was read.")] * len(pushes)
        report = self._report(feed.get("resultFeedDocumentId"))
        about_all = [each for each in report if not each.get("sku") and not each.get("messageId")]
        if status == "FATAL" or about_all:
            said = _words(about_all or report) or "Amazon could not read the feed, and does not say why."
            return [PushOutcome(PushState.REJECTED, message=said)] * len(pushes)
        wrong: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for each in report:
            wrong[str(each.get("sku", ""))].append(each)
        outcomes = []
        for push in pushes:
            issues = wrong.get(self._named(push.ref.listing_external_id).sku)
            outcomes.append(
                PushOutcome(PushState.REJECTED, message=_words(issues)) if issues else PushOutcome(PushState.WRITTEN)
            )
        return outcomes

    def _report(self, document_id: Any) -> list[Mapping[str, Any]]:
        """The errors in a feed's processing report; [] where it has none."""
        if not isinstance(document_id, str):
            return []
        found = self._api.call("getFeedDocument", path={"feedDocumentId": document_id}).object("url")
        try:
            report = load_json(self._api.download(found["url"], found.get("compressionAlgorithm")))
        except Unreadable as error:
            raise Unavailable(
                f"Amazon's processing report cannot be read: {error} It will be asked for again."
            ) from error
        issues = report.get("issues") if isinstance(report, dict) else None
        if not isinstance(issues, list):
            raise Unavailable("Amazon's processing report has no list of issues. It will be asked for again.")
        return [each for each in issues if each["severity"] == "ERROR"]


_ELSEWHERE: Final = PushOutcome(
    PushState.GONE, message="The marketplaces of this connection are others now. Add this listing's, and reconnect."
)


def _since(cursor: str | None) -> dict[str, str]:
    return dict(json.loads(cursor)) if cursor else {}


def _questions(names: Iterable[_Named]) -> Iterator[list[_Named]]:
    """Listings as they can be asked for together: of one marketplace, so many at once.

    The SKUs of a question have commas between them, so one that has a comma itself is asked for alone.
    """
    by_place: dict[str, dict[str, _Named]] = defaultdict(dict)
    for each in names:
        if "," in each.sku:
            yield [each]
        else:
            by_place[each.place][each.sku] = each
    for named in by_place.values():
        listed = list(named.values())
        for start in range(0, len(listed), PAGE):
            yield listed[start : start + PAGE]


def _product_type(push: StockPush) -> str:
    return push.ref.handles.get("product_type") or _ANY_PRODUCT


def _patch_of(push: StockPush) -> dict[str, Any]:
    return {
        "op": "replace",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": DEFAULT, "quantity": push.quantity}],
    }


def _came_true(push: StockPush, says: int | None) -> bool:
    """Whether a figure is there, or was and customers have bought since: they take away from it, and add nothing."""
    if says is None or says == push.quantity or push.expected is None:
        return says == push.quantity
    return push.expected < says < push.quantity if push.expected < push.quantity else says < push.quantity


def _patch_outcome(push: StockPush, item: Mapping[str, Any] | None, waited: float) -> PushOutcome:
    if item is None:
        return PushOutcome(PushState.GONE, message="Amazon does not have this listing any more.")
    says = _quantity(item)
    if _came_true(push, says):
        return PushOutcome(PushState.WRITTEN, quantity=says)
    about_stock = [
        issue
        for issue in item.get("issues") or ()
        if issue["severity"] == "ERROR" and "fulfillment_availability" in (issue.get("attributeNames") or ())
    ]
    if about_stock:
        return PushOutcome(PushState.REJECTED, quantity=says, message=_words(about_stock))
    if waited < PATCH_PATIENCE:
        return PushOutcome(PushState.PENDING, quantity=says, after_seconds=PATCH_SECONDS)
    return PushOutcome(
        PushState.RETRY,
        quantity=says,
        message=f"Amazon took in {push.quantity} and says {'nothing' if says is None else says} after all that time.",
    )


def _words(issues: Iterable[Mapping[str, Any]]) -> str:
    """What Amazon says of a listing, each issue with its code, so that it can be looked up."""
    told = dict.fromkeys(
        f"{str(each.get('message', '')).strip()} ({each['code']})" if each.get("code") else str(each["message"]).strip()
        for each in issues
    )
    return "; ".join(told)[:500]
