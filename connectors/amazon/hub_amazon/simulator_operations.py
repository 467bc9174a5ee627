"""The operations of Amazon's Selling Partner API that the simulator answers: addresses, parameters, usage plans.

A table of our own, so that the simulator refuses what Amazon refuses wherever it runs. The tests hold it against
Amazon's published models, name by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from hub.testing import SimRequest

# ---------------------------------------------------------------- refusing


class Refused(Exception):
    """What Amazon answers instead of doing what it was asked."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errors": [{"code": code, "message": message, "details": details}]}


def invalid(details: str, message: str = "Invalid Input") -> Refused:
    """The refusal of a request that cannot be right."""
    return Refused(400, "InvalidInput", message, details)


# ---------------------------------------------------------------- what an operation takes


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter. ``many`` are separated by commas; ``most`` is how many, or how large a number may be."""

    kind: str = "text"  # or "whole", "time", "flag"
    required: bool = False
    many: bool = False
    choices: frozenset[str] = frozenset()
    least: int | None = None
    most: int | None = None

    def read(self, name: str, text: str) -> Any:
        """The value in a query. Raises Refused."""
        words = text.split(",") if self.many else [text]
        if self.many and self.most is not None and len(words) > self.most:
            raise invalid(f"{name} has {len(words)} values, the most is {self.most}.")
        values = [self._one(name, word) for word in words]
        return values if self.many else values[0]

    def _one(self, name: str, word: str) -> Any:
        if self.choices and word not in self.choices:
            raise invalid(f"{name} cannot be {word!r}.")
        match self.kind:
            case "whole":
                if not re.fullmatch(r"-?[0-9]{1,9}", word):
                    raise invalid(f"{name} is no whole number.")
                number = int(word)
                if number < (self.least or 0) or (self.most is not None and number > self.most):
                    raise invalid(f"{name} is {number}, out of its range.")
                return number
            case "time":
                return moment(name, word)
            case "flag":
                if word not in ("true", "false"):
                    raise invalid(f"{name} is neither true nor false.")
                return word == "true"
        if not word:
            raise invalid(f"{name} is empty.")
        return word


def moment(name: str, text: Any) -> datetime:
    """A time as Amazon takes it: ISO 8601 with its zone. Raises Refused."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise invalid(f"{name} is no ISO 8601 time.") from None
    if found.tzinfo is None or "T" not in text:
        raise invalid(f"{name} is no ISO 8601 time with a zone.")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of one model. ``grantless``: it takes a token for the application itself, without a seller."""

    model: str
    name: str
    method: str
    path: str
    rate: float
    burst: int
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    grantless: bool = False

    def names(self, request: SimRequest) -> dict[str, str] | None:
        """The names in the request's path, decoded; None where this operation is not meant."""
        if request.method != self.method:
            return None
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, request.path)
        return found and {name: unquote(value) for name, value in found.groupdict().items()}

    def query(self, request: SimRequest) -> dict[str, Any]:
        """What the query asks for. Raises Refused."""
        told = dict(request.query)
        if len(told) < len(request.query):
            raise invalid("A parameter is there twice.")
        if unknown := told.keys() - self.parameters.keys():
            raise invalid(f"There is no parameter {min(unknown)}.")
        for name, each in self.parameters.items():
            if each.required and name not in told:
                raise invalid(f"{name} is missing.")
        return {name: self.parameters[name].read(name, text) for name, text in told.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as an operation understands it: the names in the path, the query as values."""

    operation: Operation
    path: Mapping[str, str]
    query: Mapping[str, Any]
    request: SimRequest

    def body(self) -> dict[str, Any]:
        """The body, a JSON object. Raises Refused."""
        try:
            told = self.request.json()
        except Exception:
            raise invalid("The body is no JSON.") from None
        if not isinstance(told, dict):
            raise invalid("The body is no JSON object.")
        return told


def needed(told: Mapping[str, Any], *names: str) -> None:
    """Raises Refused where one of these members is missing."""
    for name in names:
        if told.get(name) in (None, "", [], {}):
            raise invalid(f"{name} is missing.")


def known(told: Mapping[str, Any], *names: str) -> None:
    """Raises Refused where there is a member beside these."""
    if unknown := told.keys() - set(names):
        raise invalid(f"There is no member {min(unknown)}.")


# ---------------------------------------------------------------- the tables

TIME = Parameter("time")
TEXT = Parameter()
MANY = Parameter(many=True)
MARKETPLACES = Parameter(many=True, required=True)

_ORDERS, _ORDERS_V0 = "orders_2026-01-01", "ordersV0"
_INCLUDED = Parameter(
    many=True,
    choices=frozenset(
        {
            "BUYER",
            "RECIPIENT",
            "PROCEEDS",
            "EXPENSE",
            "PROMOTION",
            "CANCELLATION",
            "FULFILLMENT",
            "PACKAGES",
            "TAX",
            "PAYMENT",
            "FULFILLMENT_ORDERS",
        }
    ),
)
SEARCH_ORDERS = Operation(
    _ORDERS,
    "searchOrders",
    "GET",
    "/orders/2026-01-01/orders",
    0.0056,
    20,
    {
        "createdAfter": TIME,
        "createdBefore": TIME,
        "lastUpdatedAfter": TIME,
        "lastUpdatedBefore": TIME,
        "fulfillmentStatuses": Parameter(
            many=True,
            choices=frozenset(
                {
                    "PENDING_AVAILABILITY",
                    "PENDING",
                    "UNSHIPPED",
                    "PARTIALLY_SHIPPED",
                    "SHIPPED",
                    "CANCELLED",
                    "UNFULFILLABLE",
                }
            ),
        ),
        "marketplaceIds": Parameter(many=True, most=50),
        "fulfilledBy": Parameter(many=True, choices=frozenset({"MERCHANT", "AMAZON"})),
        "maxResultsPerPage": Parameter("whole", least=1, most=100),
        "paginationToken": TEXT,
        "includedData": _INCLUDED,
    },
)
GET_ORDER = Operation(
    _ORDERS, "getOrder", "GET", "/orders/2026-01-01/orders/{orderId}", 0.5, 30, {"includedData": _INCLUDED}
)
CONFIRM_SHIPMENT = Operation(
    _ORDERS_V0, "confirmShipment", "POST", "/orders/v0/orders/{orderId}/shipmentConfirmation", 2, 10
)

_LISTINGS = "listingsItems_2021-08-01"
_ITEM = "/listings/2021-08-01/items/{sellerId}/{sku}"
_ITEM_DATA = Parameter(
    many=True,
    choices=frozenset(
        {
            "summaries",
            "attributes",
            "issues",
            "offers",
            "fulfillmentAvailability",
            "procurement",
            "relationships",
            "productTypes",
        }
    ),
)
_BUYABLE = Parameter(many=True, choices=frozenset({"BUYABLE", "DISCOVERABLE"}))
SEARCH_LISTINGS = Operation(
    _LISTINGS,
    "searchListingsItems",
    "GET",
    "/listings/2021-08-01/items/{sellerId}",
    5,
    5,
    {
        "marketplaceIds": MARKETPLACES,
        "issueLocale": TEXT,
        "includedData": _ITEM_DATA,
        "identifiers": Parameter(many=True, most=20),
        "identifiersType": Parameter(
            choices=frozenset({"ASIN", "EAN", "FNSKU", "GTIN", "ISBN", "JAN", "MINSAN", "SKU", "UPC"})
        ),
        "variationParentSku": TEXT,
        "packageHierarchySku": TEXT,
        "createdAfter": TIME,
        "createdBefore": TIME,
        "lastUpdatedAfter": TIME,
        "lastUpdatedBefore": TIME,
        "withIssueSeverity": Parameter(many=True, choices=frozenset({"WARNING", "ERROR"})),
        "withStatus": _BUYABLE,
        "withoutStatus": _BUYABLE,
        "sortBy": Parameter(choices=frozenset({"sku", "createdDate", "lastUpdatedDate"})),
        "sortOrder": Parameter(choices=frozenset({"ASC", "DESC"})),
        "pageSize": Parameter("whole", least=1, most=20),
        "pageToken": TEXT,
    },
)
GET_LISTING = Operation(
    _LISTINGS,
    "getListingsItem",
    "GET",
    _ITEM,
    5,
    10,
    {"marketplaceIds": MARKETPLACES, "issueLocale": TEXT, "includedData": _ITEM_DATA},
)
PATCH_LISTING = Operation(
    _LISTINGS,
    "patchListingsItem",
    "PATCH",
    _ITEM,
    5,
    5,
    {
        "marketplaceIds": MARKETPLACES,
        "includedData": Parameter(many=True, choices=frozenset({"identifiers", "issues"})),
        "mode": Parameter(choices=frozenset({"VALIDATION_PREVIEW"})),
        "issueLocale": TEXT,
    },
)

_FEEDS = "feeds_2021-06-30"
CREATE_FEED_DOCUMENT = Operation(_FEEDS, "createFeedDocument", "POST", "/feeds/2021-06-30/documents", 0.5, 15)
CREATE_FEED = Operation(_FEEDS, "createFeed", "POST", "/feeds/2021-06-30/feeds", 0.0083, 15)
GET_FEED = Operation(_FEEDS, "getFeed", "GET", "/feeds/2021-06-30/feeds/{feedId}", 2, 15)
GET_FEED_DOCUMENT = Operation(
    _FEEDS,
    "getFeedDocument",
    "GET",
    "/feeds/2021-06-30/documents/{feedDocumentId}",
    0.0222,
    10,
    {"enableContentEncodingUrlHeader": Parameter("flag")},
)
GET_FEEDS = Operation(
    _FEEDS,
    "getFeeds",
    "GET",
    "/feeds/2021-06-30/feeds",
    0.0222,
    10,
    {
        "feedTypes": Parameter(many=True, least=1, most=10),
        "marketplaceIds": Parameter(many=True, least=1, most=10),
        "pageSize": Parameter("whole", least=1, most=100),
        "processingStatuses": Parameter(
            many=True, least=1, choices=frozenset({"CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE"})
        ),
        "createdSince": TIME,
        "createdUntil": TIME,
        "nextToken": TEXT,
    },
)

_NOTIFICATIONS = "notifications"
_SUBSCRIPTIONS = "/notifications/v1/subscriptions/{notificationType}"
GET_SUBSCRIPTIONS = Operation(
    _NOTIFICATIONS,
    "getSubscriptions",
    "GET",
    "/notifications/v1/subscriptions",
    1,
    5,
    {
        "notificationTypes": Parameter(many=True, required=True, least=1, most=1),
        "payloadVersion": TEXT,
        "pageSize": Parameter("whole", least=30, most=100),
        "nextToken": TEXT,
    },
)
GET_SUBSCRIPTION = Operation(_NOTIFICATIONS, "getSubscription", "GET", _SUBSCRIPTIONS, 1, 5, {"payloadVersion": TEXT})
CREATE_SUBSCRIPTION = Operation(_NOTIFICATIONS, "createSubscription", "POST", _SUBSCRIPTIONS, 1, 5)
GET_SUBSCRIPTION_BY_ID = Operation(
    _NOTIFICATIONS, "getSubscriptionById", "GET", f"{_SUBSCRIPTIONS}/{{subscriptionId}}", 1, 5, grantless=True
)
DELETE_SUBSCRIPTION = Operation(
    _NOTIFICATIONS, "deleteSubscriptionById", "DELETE", f"{_SUBSCRIPTIONS}/{{subscriptionId}}", 1, 5, grantless=True
)
GET_DESTINATIONS = Operation(
    _NOTIFICATIONS, "getDestinations", "GET", "/notifications/v1/destinations", 1, 5, grantless=True
)
CREATE_DESTINATION = Operation(
    _NOTIFICATIONS, "createDestination", "POST", "/notifications/v1/destinations", 1, 5, grantless=True
)
GET_DESTINATION = Operation(
    _NOTIFICATIONS, "getDestination", "GET", "/notifications/v1/destinations/{destinationId}", 1, 5, grantless=True
)
DELETE_DESTINATION = Operation(
    _NOTIFICATIONS,
    "deleteDestination",
    "DELETE",
    "/notifications/v1/destinations/{destinationId}",
    1,
    5,
    grantless=True,
)

GET_PARTICIPATIONS = Operation(
    "sellers", "getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", 0.016, 15
)
