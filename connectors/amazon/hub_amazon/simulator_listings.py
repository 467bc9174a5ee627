"""What a simulated seller sells: Listings Items with stock that comes true later, and feeds with processing reports."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from hub.testing import SimRequest, SimResponse
from hub_amazon.marketplaces import Region
from hub_amazon.simulator_account import PICTURES, SellerAccount, iso
from hub_amazon.simulator_operations import (
    CREATE_FEED,
    CREATE_FEED_DOCUMENT,
    GET_FEED,
    GET_FEED_DOCUMENT,
    GET_FEEDS,
    GET_LISTING,
    PATCH_LISTING,
    SEARCH_LISTINGS,
    Call,
    Refused,
    invalid,
    known,
    needed,
)

DEFAULT = "DEFAULT"  # the seller ships it
AMAZON_SHIPS = {Region.NORTH_AMERICA: "AMAZON_NA", Region.EUROPE: "AMAZON_EU", Region.FAR_EAST: "AMAZON_JP"}
AVAILABILITY = "fulfillment_availability"
MOST_FOUND = 1000  # that can be paged through
MOST_MESSAGES = 25_000
DOCUMENT_LIFE = timedelta(minutes=5)  # of the address at which a document is put or fetched


@dataclass(slots=True)
class Stock:
    """What a seller says of a SKU: in a region it is one figure for all marketplaces. ``channel`` is who ships it."""

    quantity: int
    channel: str
    issues: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """A SKU as one marketplace shows it."""

    marketplace: str
    sku: str
    asin: str
    title: str
    price: Decimal
    currency: str
    stock: Stock
    created_at: datetime
    updated_at: datetime
    product_type: str = "HOME"
    barcode: str = ""
    buyable: bool = True

    @property
    def external_id(self) -> str:
        """What the hub calls it."""
        return f"{self.marketplace}/{self.sku}"


@dataclass(slots=True)
class _Document:
    """A document in the store beside the API."""

    content_type: str
    expires_at: datetime
    body: bytes | None = None
    packed: bool = False


@dataclass(slots=True)
class _Feed:
    """A feed, and what becomes of it."""

    id: str
    type: str
    marketplaces: list[str]
    document: str
    created_at: datetime
    status: str = "IN_QUEUE"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    report: str = ""


@dataclass(slots=True)
class _Write:
    """A quantity that was accepted, and is not true yet."""

    due_at: datetime
    listing: Listing
    quantity: int


class Listings:
    """The listings of an account and its feeds.

    ``applies_after`` is how long a quantity that was accepted takes to come true, ``feed_takes`` how long a feed is
    worked at. With ``packs_reports`` processing reports are gzipped, as Amazon's are. ``refused`` are the SKUs of which
    every quantity is accepted and then found wrong, with the words.
    """

    def __init__(self, account: SellerAccount, wrote: Callable[[str, int], None]) -> None:
        self._account = account
        self._wrote = wrote
        self.applies_after = timedelta(0)
        self.feed_takes = timedelta(0)
        self.packs_reports = True
        self.refused: dict[str, str] = {}
        self.listed: dict[tuple[str, str], Listing] = {}
        self._stocks: dict[str, Stock] = {}
        self._documents: dict[str, _Document] = {}
        self._feeds: dict[str, _Feed] = {}
        self._writes: list[_Write] = []
        account.offer(
            {
                SEARCH_LISTINGS: self._search,
                GET_LISTING: self._tell,
                PATCH_LISTING: self._patch,
                CREATE_FEED_DOCUMENT: self._make_document,
                CREATE_FEED: self._make_feed,
                GET_FEED: self._tell_feed,
                GET_FEEDS: self._tell_feeds,
                GET_FEED_DOCUMENT: self._tell_document,
            }
        )

    # --- what people do

    def add(
        self, sku: str, title: str, quantity: int, price: str, *, marketplace: str = "", by_amazon: bool = False
    ) -> Listing:
        """Put a SKU up for sale in one marketplace (its code, the home one if "")."""
        account, now = self._account, self._account.now()
        here = next((each for each in account.marketplaces if each.code == marketplace), account.home)
        channel = AMAZON_SHIPS[here.region] if by_amazon else DEFAULT
        stock = self._stocks.setdefault(sku, Stock(quantity, channel))
        listing = Listing(
            marketplace=here.external_id,
            sku=sku,
            asin=f"B{next(account.ids):09d}",
            title=title,
            price=Decimal(price),
            currency=here.currency,
            stock=stock,
            created_at=now,
            updated_at=now,
        )
        self.listed[here.external_id, sku] = listing
        self._tell_status(listing, _statuses(listing))
        return listing

    def remove(self, external_id: str) -> None:
        """Somebody deletes a listing."""
        marketplace, _, sku = external_id.partition("/")
        self._tell_status(self.listed.pop((marketplace, sku)), ["DELETED"])

    def _tell_status(self, listing: Listing, statuses: Sequence[str]) -> None:
        told = {
            "SellerId": self._account.seller_id,
            "MarketplaceId": listing.marketplace,
            "Asin": listing.asin,
            "Sku": listing.sku,
            "CreatedDate": iso(listing.created_at),
            "Status": list(statuses),
        }
        self._account.notify("LISTINGS_ITEM_STATUS_CHANGE", told)

    def set_quantity(self, sku: str, quantity: int) -> None:
        """Somebody edits the quantity in Seller Central."""
        self._apply(self._stocks[sku], sku, quantity)

    def take(self, listing: Listing, quantity: int) -> None:
        """A customer buys so many; below zero they come back."""
        self._apply(listing.stock, listing.sku, max(0, listing.stock.quantity - quantity))

    def quantities(self) -> dict[str, int]:
        """What the seller ships itself, by SKU."""
        self.catch_up()
        here = {listing.sku for listing in self.listed.values() if listing.stock.channel == DEFAULT}
        return {sku: self._stocks[sku].quantity for sku in sorted(here)}

    def find(self, sku: str, marketplace: str = "") -> Listing:
        """The listing of a SKU, in any marketplace if "" (the one listed first)."""
        return next(
            each
            for each in self.listed.values()
            if each.sku == sku and (not marketplace or each.marketplace == marketplace)
        )

    # --- what takes its time

    def catch_up(self) -> None:
        """Do what has become due: quantities come true, feeds are worked off."""
        now = self._account.now()
        for feed in self._feeds.values():
            self._work_at(feed, now)
        due = [write for write in self._writes if write.due_at <= now]
        self._writes = [write for write in self._writes if write.due_at > now]
        for write in due:
            self._come_true(write)

    def _accept(self, listing: Listing, quantity: int) -> None:
        self._writes.append(_Write(self._account.now() + self.applies_after, listing, quantity))
        self.catch_up()

    def _come_true(self, write: _Write) -> None:
        listing, stock = write.listing, write.listing.stock
        stock.issues = []
        listing.updated_at = self._account.now()
        if words := self.refused.get(listing.sku):
            stock.issues.append(_issue("99010", words, listing.marketplace))
            return
        stock.channel = DEFAULT  # whoever writes the seller's own quantity of a SKU ships it from now on
        self._wrote(listing.sku, write.quantity)
        self._apply(stock, listing.sku, write.quantity)

    def _apply(self, stock: Stock, sku: str, quantity: int) -> None:
        if stock.quantity != quantity:
            stock.quantity = quantity
            told = {"SellerId": self._account.seller_id, "FulfillmentChannelCode": DEFAULT, "Sku": sku}
            self._account.notify("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {**told, "Quantity": quantity})

    # --- reading

    def _search(self, call: Call) -> SimResponse:
        self._own(call)
        query = call.query
        if ("identifiers" in query) != ("identifiersType" in query):
            raise invalid("identifiers and identifiersType go together.")
        if "identifiers" in query and ("variationParentSku" in query or "packageHierarchySku" in query):
            raise invalid("identifiers cannot be combined with variationParentSku or packageHierarchySku.")
        found = sorted(self._matching(query), key=_ORDERS[query.get("sortBy", "lastUpdatedDate")])
        if query.get("sortOrder", "DESC") == "DESC":
            found.reverse()
        page_size, start = query.get("pageSize", 10), self._page(query)
        last = min(len(found), MOST_FOUND)
        items = found[start : min(start + page_size, last)]
        answer: dict[str, Any] = {
            "numberOfResults": len(found),
            "items": [self._view(listings, query) for listings in items],
        }
        turned: dict[str, str] = {}
        if start + page_size < last:
            turned["nextToken"] = f"page-{start + page_size}"
        if start:
            turned["previousToken"] = f"page-{max(0, start - page_size)}"
        if turned:
            answer["pagination"] = turned
        return SimResponse.of_json(answer)

    def _page(self, query: Mapping[str, Any]) -> int:
        token = query.get("pageToken", "page-0")
        if not token.startswith("page-") or not token[5:].isdigit():
            raise invalid("pageToken is none that was given.")
        return int(token[5:])

    def _matching(self, query: Mapping[str, Any]) -> list[list[Listing]]:
        """The listings that a search is after: those of one SKU together."""
        wanted = [self._account.marketplace(id).external_id for id in query["marketplaceIds"]]
        by_sku: dict[str, list[Listing]] = {}
        for listing in self.listed.values():
            if listing.marketplace in wanted and _fits(listing, query):
                by_sku.setdefault(listing.sku, []).append(listing)
        return list(by_sku.values())

    def _tell(self, call: Call) -> SimResponse:
        return SimResponse.of_json(self._view(self._listings(call), call.query))

    def _listings(self, call: Call) -> list[Listing]:
        """The listings of the SKU in the path, in the marketplaces that are asked for."""
        self._own(call)
        places = [self._account.marketplace(id).external_id for id in call.query["marketplaceIds"]]
        found = [self.listed[place, call.path["sku"]] for place in places if (place, call.path["sku"]) in self.listed]
        if not found:
            raise Refused(404, "NOT_FOUND", f"SKU '{call.path['sku']}' not found in marketplace {', '.join(places)}")
        return found

    def _own(self, call: Call) -> None:
        self.catch_up()
        for id in call.query["marketplaceIds"]:
            self._account.marketplace(id)
        if call.path["sellerId"] != self._account.seller_id:
            raise Refused(403, "Unauthorized", "Access to requested resource is denied.", "This is another seller.")

    def _view(self, listings: Sequence[Listing], query: Mapping[str, Any]) -> dict[str, Any]:
        first, view = listings[0], {"sku": listings[0].sku}
        parts: dict[str, Callable[[], Any]] = {
            "summaries": lambda: [_summary(each) for each in listings],
            "attributes": lambda: _attributes(listings),
            "issues": lambda: first.stock.issues,
            "offers": lambda: [_offer(each) for each in listings],
            "fulfillmentAvailability": lambda: [_availability(first.stock)],
            "procurement": list,
            "relationships": lambda: [{"marketplaceId": each.marketplace, "relationships": []} for each in listings],
            "productTypes": lambda: [
                {"marketplaceId": each.marketplace, "productType": each.product_type} for each in listings
            ],
        }
        return view | {name: parts[name]() for name in query.get("includedData", ["summaries"])}

    # --- writing

    def _patch(self, call: Call) -> SimResponse:
        self._own(call)
        told, preview = call.body(), call.query.get("mode") == "VALIDATION_PREVIEW"
        if "identifiers" in call.query.get("includedData", ()) and not preview:
            raise invalid("identifiers can be asked for with VALIDATION_PREVIEW alone.")
        needed(told, "productType", "patches")
        known(told, "productType", "patches")
        try:
            [listing, *_] = self._listings(call)
        except Refused as refusal:
            if refusal.status == 404:
                raise invalid(str(refusal)) from None
            raise
        found = self._found_wrong(listing, told)
        answer: dict[str, Any] = {
            "sku": listing.sku,
            "status": "INVALID" if found else "VALID" if preview else "ACCEPTED",
            "submissionId": self._account.unique(),
            "issues": found,
        }
        if "identifiers" in call.query.get("includedData", ()):
            answer["identifiers"] = [{"marketplaceId": listing.marketplace, "asin": listing.asin}]
        if answer["status"] == "ACCEPTED":
            self._accept_all(listing, told["patches"])
        return SimResponse.of_json(answer)

    def _found_wrong(self, listing: Listing, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is wrong with patches at first sight."""
        if told["productType"] not in (listing.product_type, "PRODUCT"):
            words = f"The product type '{told['productType']}' is not that of the listing."
            return [_issue("90000902", words, listing.marketplace)]
        for patch in told["patches"]:
            if patch.get("op") not in ("add", "replace", "merge", "delete"):
                raise invalid("op is none of add, replace, merge, delete.")
            if not str(patch.get("path", "")).startswith("/attributes/"):
                raise invalid("path does not lead to an attribute.")
            if patch["op"] != "delete":
                for value in patch.get("value") or [{}]:
                    if patch["path"] == f"/attributes/{AVAILABILITY}" and (problem := _quantity_problem(value)):
                        return [_issue("90220", problem, listing.marketplace)]
        return []

    def _accept_all(self, listing: Listing, patches: Sequence[Mapping[str, Any]]) -> None:
        for patch in patches:
            if patch["path"] == f"/attributes/{AVAILABILITY}" and patch["op"] != "delete":
                for value in patch["value"]:
                    if value["fulfillment_channel_code"] == DEFAULT:
                        self._accept(listing, value["quantity"])

    # --- feeds

    def document(self, request: SimRequest) -> SimResponse | None:
        """What the store of documents answers; None where something else was asked."""
        document = self._documents.get(request.path.removeprefix("/"))
        if document is None:
            return None
        if document.expires_at <= self._account.now() or request.parameter("X-Amz-Signature") != "simulated":
            return _stored(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
        if "x-amz-access-token" in request.headers:
            return _stored(400, b"<Error><Code>InvalidRequest</Code><Message>No tokens here</Message></Error>")
        if request.method == "PUT":
            if request.headers.get("content-type") != document.content_type:
                return _stored(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            document.body = request.body
            return _stored(200, b"")
        if request.method != "GET" or document.body is None:
            return _stored(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return SimResponse(200, {"Content-Type": "application/octet-stream"}, document.body)

    def _put(self, content_type: str, body: bytes | None = None, *, packed: bool = False) -> str:
        id = f"amzn1.tortuga.4.{self._account.home.region}.{self._account.unique()}"
        self._documents[id] = _Document(content_type, self._account.now() + DOCUMENT_LIFE, body, packed)
        return id

    def _address(self, id: str) -> str:
        self._documents[id].expires_at = self._account.now() + DOCUMENT_LIFE
        return f"{self._account.document_host}/{quote(id)}?X-Amz-Expires=300&X-Amz-Signature=simulated"

    def _make_document(self, call: Call) -> SimResponse:
        told = call.body()
        needed(told, "contentType")
        known(told, "contentType")
        id = self._put(told["contentType"])
        return SimResponse.of_json({"feedDocumentId": id, "url": self._address(id)}, 201)

    def _make_feed(self, call: Call) -> SimResponse:
        told = call.body()
        needed(told, "feedType", "marketplaceIds", "inputFeedDocumentId")
        known(told, "feedType", "marketplaceIds", "inputFeedDocumentId", "feedOptions")
        if told["feedType"] != "JSON_LISTINGS_FEED":
            raise invalid(f"There is no feed type {told['feedType']}.")
        if len(told["marketplaceIds"]) > 25:
            raise invalid("There are more than 25 marketplaces.")
        for id in told["marketplaceIds"]:
            self._account.marketplace(id)
        document = self._documents.get(told["inputFeedDocumentId"])
        if document is None or document.body is None:
            raise invalid("There is no such document, or nothing was put into it.")
        feed = _Feed(
            id=str(50_000_000_000 + next(self._account.ids)),
            type=told["feedType"],
            marketplaces=told["marketplaceIds"],
            document=told["inputFeedDocumentId"],
            created_at=self._account.now(),
        )
        self._feeds[feed.id] = feed
        return SimResponse.of_json({"feedId": feed.id}, 202)

    def _tell_feed(self, call: Call) -> SimResponse:
        self.catch_up()
        feed = self._feeds.get(call.path["feedId"])
        if feed is None:
            raise Refused(404, "NotFound", "There is no such feed.")
        return SimResponse.of_json(_feed_view(feed))

    def _tell_feeds(self, call: Call) -> SimResponse:
        self.catch_up()
        query = call.query
        if "nextToken" not in query and "feedTypes" not in query:
            raise invalid("feedTypes or nextToken is needed.")
        found = [
            _feed_view(feed)
            for feed in self._feeds.values()
            if feed.type in query.get("feedTypes", [feed.type])
            and feed.status in query.get("processingStatuses", [feed.status])
            and query.get("createdSince", feed.created_at) <= feed.created_at
        ]
        return SimResponse.of_json({"feeds": found[::-1][: query.get("pageSize", 10)]})

    def _tell_document(self, call: Call) -> SimResponse:
        id = call.path["feedDocumentId"]
        if id not in self._documents:
            raise Refused(404, "NotFound", "There is no such document.")
        packed = {"compressionAlgorithm": "GZIP"} if self._documents[id].packed else {}
        return SimResponse.of_json({"feedDocumentId": id, "url": self._address(id), **packed})

    def _work_at(self, feed: _Feed, now: datetime) -> None:
        begins, ends = feed.created_at + self.feed_takes / 2, feed.created_at + self.feed_takes
        if feed.status == "IN_QUEUE" and begins <= now:
            feed.status, feed.started_at = "IN_PROGRESS", now
        if feed.status != "IN_PROGRESS" or ends > now:
            return
        feed.ended_at = now
        report = self._processed(feed)
        feed.status = "FATAL" if report is None else "DONE"
        if report is not None:
            if self._account.models is not None:
                problem = self._account.models.problem_of_feed("listings-feed-processing-report-schema-v2", report)
                if problem:
                    raise AssertionError(f"The report is none of Amazon's: {problem}")
            body = json.dumps(report).encode()
            packed = gzip.compress(body, mtime=0) if self.packs_reports else body
            feed.report = self._put("application/json; charset=UTF-8", packed, packed=self.packs_reports)
        seller = self._account.seller_id
        told = {"sellerId": seller, "accountId": f"amzn1.merchant.o.{seller}", "feedId": feed.id}
        told |= {"feedType": feed.type, "processingStatus": feed.status}
        if feed.report:
            told["resultFeedDocumentId"] = feed.report
        self._account.notify("FEED_PROCESSING_FINISHED", {"feedProcessingFinishedNotification": told})

    def _processed(self, feed: _Feed) -> dict[str, Any] | None:
        """Do what a feed says; its processing report, None where it cannot be read."""
        try:
            told = json.loads(self._documents[feed.document].body or b"")
            messages = told["messages"]
            right = told["header"]["sellerId"] == self._account.seller_id and told["header"]["version"] == "2.0"
            numbers = {each["messageId"] for each in messages}
        except (ValueError, KeyError, TypeError):
            return None
        if not right or len(numbers) != len(messages) or not 0 < len(messages) <= MOST_MESSAGES:
            return None
        models = self._account.models
        if models is not None and models.problem_of_feed("listings-feed-schema-v2", told):
            return None
        issues = [issue for message in messages for issue in self._issues_of(feed, message)]
        failed = {issue["messageId"] for issue in issues}
        return {
            "header": {"sellerId": self._account.seller_id, "version": "2.0", "feedId": feed.id},
            "issues": issues,
            "summary": {
                "errors": len(issues),
                "warnings": 0,
                "messagesProcessed": len(messages),
                "messagesAccepted": len(messages) - len(failed),
                "messagesInvalid": len(failed),
            },
        }

    def _issues_of(self, feed: _Feed, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Do what a message says, or tell what is wrong with it."""
        sku, said = message.get("sku", ""), {"messageId": message["messageId"], "sku": message.get("sku", "")}
        listing = next((self.listed[id, sku] for id in feed.marketplaces if (id, sku) in self.listed), None)
        if listing is None:
            yield {**said, "code": "13013", "severity": "ERROR", "message": f"The SKU {sku} does not exist."}
            return
        if words := self.refused.get(sku):
            yield {**said, "code": "99010", "severity": "ERROR", "message": words, "attributeName": AVAILABILITY}
            return
        attributes = message.get("attributes") or {}
        patches = message.get("patches") or [
            {"op": "replace", "path": f"/attributes/{name}", "value": value} for name, value in attributes.items()
        ]
        try:
            wrong = self._found_wrong(listing, {"productType": message.get("productType"), "patches": patches})
        except Refused as refusal:
            wrong = [_issue("90000900", refusal.body["errors"][0]["details"], listing.marketplace)]
        for issue in wrong:
            yield {**said, "code": issue["code"], "severity": "ERROR", "message": issue["message"]}
        if not wrong:
            for patch in patches:
                if patch["path"] == f"/attributes/{AVAILABILITY}" and patch["op"] != "delete":
                    for value in patch["value"]:
                        if value["fulfillment_channel_code"] == DEFAULT:
                            self._come_true(_Write(self._account.now(), listing, value["quantity"]))


_ORDERS: Mapping[str, Callable[[list[Listing]], Any]] = {
    "sku": lambda found: found[0].sku,
    "createdDate": lambda found: (found[0].created_at, found[0].sku),
    "lastUpdatedDate": lambda found: (found[0].updated_at, found[0].sku),
}


def _fits(listing: Listing, query: Mapping[str, Any]) -> bool:
    """Whether a listing is what a search is after."""
    ids = {"SKU": listing.sku, "ASIN": listing.asin, "EAN": listing.barcode, "GTIN": listing.barcode}
    statuses = set(_statuses(listing))
    return (
        ("identifiers" not in query or ids.get(query["identifiersType"]) in query["identifiers"])
        and query.get("createdAfter", listing.created_at) <= listing.created_at
        and listing.created_at <= query.get("createdBefore", listing.created_at)
        and query.get("lastUpdatedAfter", listing.updated_at) <= listing.updated_at
        and listing.updated_at <= query.get("lastUpdatedBefore", listing.updated_at)
        and not {"variationParentSku", "packageHierarchySku"} & query.keys()
        and ("withIssueSeverity" not in query or bool(listing.stock.issues))
        and set(query.get("withStatus", ())) <= statuses
        and not set(query.get("withoutStatus", ())) & statuses
    )


def _statuses(listing: Listing) -> list[str]:
    return ["BUYABLE", "DISCOVERABLE"] if listing.buyable else ["DISCOVERABLE"]


def _summary(listing: Listing) -> dict[str, Any]:
    return {
        "marketplaceId": listing.marketplace,
        "asin": listing.asin,
        "productType": listing.product_type,
        "conditionType": "new_new",
        "status": _statuses(listing),
        "itemName": listing.title,
        "createdDate": iso(listing.created_at),
        "lastUpdatedDate": iso(listing.updated_at),
        "mainImage": {
            "link": f"{PICTURES}/images/I/{listing.asin}.jpg",
            "height": 500,
            "width": 500,
        },
    }


def _attributes(listings: Sequence[Listing]) -> dict[str, Any]:
    first = listings[0]
    found: dict[str, Any] = {
        "item_name": [{"value": each.title, "marketplace_id": each.marketplace} for each in listings],
        AVAILABILITY: [{"fulfillment_channel_code": first.stock.channel, "quantity": first.stock.quantity}],
    }
    if first.barcode:
        found["externally_assigned_product_identifier"] = [
            {"type": "ean", "value": first.barcode, "marketplace_id": each.marketplace} for each in listings
        ]
    return found


def _offer(listing: Listing) -> dict[str, Any]:
    return {
        "marketplaceId": listing.marketplace,
        "offerType": "B2C",
        "price": {"currencyCode": listing.currency, "amount": str(listing.price)},
        "audience": {"value": "ALL", "displayName": "Sell on Amazon"},
    }


def _availability(stock: Stock) -> dict[str, Any]:
    told: dict[str, Any] = {"fulfillmentChannelCode": stock.channel}
    return {**told, "quantity": stock.quantity} if stock.channel == DEFAULT else told


def _issue(code: str, message: str, marketplace: str) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "severity": "ERROR",
        "attributeNames": [AVAILABILITY],
        "categories": ["INVALID_ATTRIBUTE"],
        "marketplaceIds": [marketplace],
    }


def _quantity_problem(value: Mapping[str, Any]) -> str:
    """What is wrong with one value of the attribute, "" for nothing."""
    if not isinstance(value.get("fulfillment_channel_code"), str):
        return "'fulfillment_channel_code' is required but not supplied."
    quantity = value.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        return "'quantity' is not a whole number of at least 0."
    return ""


def _feed_view(feed: _Feed) -> dict[str, Any]:
    view: dict[str, Any] = {
        "feedId": feed.id,
        "feedType": feed.type,
        "marketplaceIds": feed.marketplaces,
        "createdTime": iso(feed.created_at),
        "processingStatus": feed.status,
    }
    if feed.started_at:
        view["processingStartTime"] = iso(feed.started_at)
    if feed.ended_at:
        view["processingEndTime"] = iso(feed.ended_at)
    if feed.report:
        view["resultFeedDocumentId"] = feed.report
    return view


def _stored(status: int, body: bytes) -> SimResponse:
    return SimResponse(status, {"Content-Type": "application/xml"}, body)
