"""Talking to the Selling Partner API: every operation used with its address and its budget, tokens, and refusals."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from hub.connector import Context, RateBudget
from hub.errors import AuthError, NotFound, Rejected, Unavailable
from hub.http import Response
from hub_amazon.authorization import Tokens
from hub_amazon.settings import region

# ---------------------------------------------------------------- the operations


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of Amazon's. ``per_second`` and ``burst`` are its usage plan where Amazon says nothing else.

    ``grantless``: called with the application's own token.
    """

    method: str
    path: str
    per_second: float
    burst: float
    grantless: bool = False


ORDERS_VERSION: Final = "2026-01-01"
_LISTINGS = "/listings/2021-08-01/items/{sellerId}"
_FEEDS = "/feeds/2021-06-30"
_NOTIFICATIONS = "/notifications/v1"
_OUTBOUND = "/fulfillment/outbound/2026-07-04"

OPERATIONS: Mapping[str, Operation] = {
    # orders
    "searchOrders": Operation("GET", f"/orders/{ORDERS_VERSION}/orders", 0.0056, 20),
    "getOrder": Operation("GET", f"/orders/{ORDERS_VERSION}/orders/{{orderId}}", 0.5, 30),
    "confirmShipment": Operation("POST", "/orders/v0/orders/{orderId}/shipmentConfirmation", 2, 10),
    # listings and their stock
    "searchListingsItems": Operation("GET", _LISTINGS, 5, 5),
    "getListingsItem": Operation("GET", f"{_LISTINGS}/{{sku}}", 5, 10),
    "patchListingsItem": Operation("PATCH", f"{_LISTINGS}/{{sku}}", 5, 5),
    "createFeedDocument": Operation("POST", f"{_FEEDS}/documents", 0.5, 15),
    "createFeed": Operation("POST", f"{_FEEDS}/feeds", 0.0083, 15),
    "getFeed": Operation("GET", f"{_FEEDS}/feeds/{{feedId}}", 2, 15),
    "getFeedDocument": Operation("GET", f"{_FEEDS}/documents/{{feedDocumentId}}", 0.0222, 10),
    # the account, and where its messages go
    "getMarketplaceParticipations": Operation("GET", "/sellers/v1/marketplaceParticipations", 0.016, 15),
    "getDestinations": Operation("GET", f"{_NOTIFICATIONS}/destinations", 1, 5, grantless=True),
    "createDestination": Operation("POST", f"{_NOTIFICATIONS}/destinations", 1, 5, grantless=True),
    "getSubscription": Operation("GET", f"{_NOTIFICATIONS}/subscriptions/{{notificationType}}", 1, 5),
    "createSubscription": Operation("POST", f"{_NOTIFICATIONS}/subscriptions/{{notificationType}}", 1, 5),
    "deleteSubscriptionById": Operation(
        "DELETE", f"{_NOTIFICATIONS}/subscriptions/{{notificationType}}/{{subscriptionId}}", 1, 5, grantless=True
    ),
    # Amazon's warehouses
    "getInventorySummaries": Operation("GET", "/fba/inventory/v1/summaries", 2, 2),
    "getOrderPreview": Operation("POST", f"{_OUTBOUND}/previews", 2, 30),
    "createOrder": Operation("POST", f"{_OUTBOUND}/orders", 2, 30),
    "listOrders": Operation("GET", f"{_OUTBOUND}/orders", 2, 30),
    "getFulfillmentOrder": Operation("GET", f"{_OUTBOUND}/orders/{{orderId}}", 2, 30),
    "cancelOrder": Operation("PUT", f"{_OUTBOUND}/orders/{{orderId}}/cancel", 2, 30),
}

# Login with Amazon, and the store of documents: they name no plan of their own.
ELSEWHERE: Final = {"login": RateBudget(per_second=1, burst=10), "documents": RateBudget(per_second=5, burst=20)}


def budgets(*operations: str) -> Mapping[str, RateBudget]:
    """The budgets of these operations, and of what every connection calls beside them."""
    named = {name: RateBudget(OPERATIONS[name].per_second, OPERATIONS[name].burst) for name in operations}
    return {**named, **ELSEWHERE}


# ---------------------------------------------------------------- the client

MOST_REPORT_BYTES: Final = 256 * 1024 * 1024


class SellingPartnerApi:
    """The Selling Partner API of the region in a connection's settings."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._host = region(context.settings).host
        self._tokens = Tokens(context)

    def call(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        expect: Collection[int] = (),
    ) -> Response:
        """Carry out an operation: ``path`` are the parts of its address, ``params`` those of its query.

        Lists are sent with commas between their parts, as Amazon's model says. An answer whose status is in ``expect``
        is returned, whatever it says; any other refusal is raised with Amazon's words. A token that is refused is
        replaced once.
        """
        operation = OPERATIONS[name]
        obtain = self._tokens.of_application if operation.grantless else self._tokens.of_account
        token = obtain()
        response = self._send(name, operation, token, path or {}, params or {}, body)
        if _token_refused(response):
            response = self._send(name, operation, obtain(token), path or {}, params or {}, body)
        if (rate := _usage_rate(response)) is not None:
            self._client.learn_rate(name, rate)
        if response.status < 300 or response.status in expect:
            return response
        raise _refusal(response)

    def _send(
        self,
        name: str,
        operation: Operation,
        token: str,
        path: Mapping[str, str],
        params: Mapping[str, Any],
        body: Any,
    ) -> Response:
        return self._client.request(
            operation.method,
            self._host + operation.path.format_map({part: _escaped(value) for part, value in path.items()}),
            params={key: _parameter(value) for key, value in params.items()},
            json=body,
            headers={"x-amz-access-token": token, "Accept": "application/json"},
            operation=name,
            expect=_REFUSALS,
        )

    # --- documents, which lie beside the API: whoever has the address may read or write, so no token is sent

    def upload(self, url: str, body: bytes, content_type: str) -> None:
        """Put a document where ``createFeedDocument`` said."""
        self._document("PUT", url, data=body, headers={"Content-Type": content_type})

    def download(self, url: str, compression: str | None) -> bytes:
        """The document that ``getFeedDocument`` named, unpacked."""
        body = self._document("GET", url)
        if compression is None:
            return body
        if compression != "GZIP":
            raise Unavailable(f"Amazon has packed its report in a way that is not known here ({compression[:20]}).")
        try:
            unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            plain = unpacked.decompress(body, MOST_REPORT_BYTES)
        except zlib.error as error:
            raise Unavailable("Amazon's report came damaged. It will be asked for again.") from error
        if unpacked.unconsumed_tail or not unpacked.eof:
            raise Unavailable("Amazon's report is not complete, or too large to be read. It will be asked for again.")
        return plain

    def _document(self, method: str, url: str, **options: Any) -> bytes:
        """Addresses of documents live for five minutes: a refusal says that this one is over, and nothing of ours."""
        response = self._client.request(method, url, operation="documents", expect=(401, 403, 404), **options)
        if response.status >= 300:
            raise Unavailable("The address that Amazon gave for a document is over. Another one will be asked for.")
        return response.body


def _escaped(value: str) -> str:
    """A part of an address: a SKU may hold slashes, spaces and anything else."""
    if value in (".", ".."):
        raise NotFound(f"Amazon cannot be asked for “{value}”: that is no name in an address.")
    return quote(value, safe="")


def _parameter(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list | tuple) else value


# ---------------------------------------------------------------- refusals

# A spent budget is not among them: the client knows how to wait for it.
_REFUSALS = (400, 401, 403, 404, 409, 413, 415)


def _errors(response: Response) -> list[Mapping[str, Any]]:
    """What an answer complains about; [] where it cannot be read."""
    try:
        said = response.json()
    except Unavailable:
        return []
    found = said.get("errors") if isinstance(said, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _token_refused(response: Response) -> bool:
    """Whether Amazon refused the token itself, rather than what was asked with it."""
    if response.status == 401:
        return True
    told = " ".join(str(each.get("details")) for each in _errors(response)).lower()
    return response.status == 403 and "access token" in told


def _refusal(response: Response) -> Exception:
    errors = _errors(response)
    words = "; ".join(dict.fromkeys(said for each in errors if (said := _words(each)))) or f"status {response.status}"
    code = str(errors[0].get("code", "")) if errors else ""
    if response.status in (401, 403):
        return AuthError(
            f"Amazon does not allow it: {words} See that the application has the roles that are needed and that the "
            "account still permits it, then reconnect."
        )
    if response.status == 404:
        return NotFound(f"Amazon does not have it: {words}", code=code)
    return Rejected(f"Amazon refused the request: {words}", code=code)


def _words(error: Mapping[str, Any]) -> str:
    """What an error says, as a sentence."""
    said = [str(error[part]).strip() for part in ("message", "details") if error.get(part)]
    text = " ".join(dict.fromkeys(part if part.endswith((".", "!", "?")) else f"{part}." for part in said))
    return text[:500]


def _usage_rate(response: Response) -> float | None:
    """Calls per second that Amazon grants an operation, where the answer says it."""
    try:
        rate = float(response.headers.get("x-amzn-RateLimit-Limit", ""))
    except ValueError:
        return None
    return rate if 0 < rate < 10_000 else None
