"""Talking to Shopify's Admin API: the query budget, pages, and errors that come with HTTP 200."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.connector import Context
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Response
from hub_shopify.authorization import ADD_SCOPES, Tokens
from hub_shopify.documents import API_VERSION, Document

_REFUSED = "Shopify refused the request; asking again changes nothing. It says:"
DELETED = "Shopify does not have it any more."


class AdminApi:
    """The Admin API of the shop in a connection's settings."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._shop: str = context.settings["shop"]
        self._tokens = Tokens(context)

    def ask(self, document: Document, **variables: Any) -> Mapping[str, Any]:
        """The data that answers a document."""
        return self.exchange(document, **variables)[1]

    def exchange(self, document: Document, **variables: Any) -> tuple[Response, Mapping[str, Any]]:
        """Send a document; returns the answer and its data. HTTP 200 proves nothing: errors come with it too."""
        response = self._post({"query": document.text, "variables": variables}, document.cost)
        answer = response.json()
        if not isinstance(answer, dict):
            raise Unavailable("Shopify answered with something else than a GraphQL answer. It will be asked again.")
        cost = _cost(answer)
        if self._client.limiter is not None and cost.available is not None:
            self._client.limiter.learn(cost.available, cost.restore_rate, cost.maximum)
        if errors := answer.get("errors"):
            raise _graphql_error(errors, cost)
        data = answer.get("data")
        if not isinstance(data, dict):
            raise Unavailable("Shopify answered without data. It will be asked again.")
        return response, data

    def _post(self, body: Mapping[str, Any], cost: int) -> Response:
        token = self._tokens.token()
        response = self._send(body, cost, token)
        if response.status == 401 and not self._tokens.by_hand:
            response = self._send(body, cost, self._tokens.token(refused=token))
        if response.status == 401:
            raise AuthError(self._tokens.refusal)
        return response

    def _send(self, body: Mapping[str, Any], cost: int, token: str) -> Response:
        return self._client.post(
            f"https://{self._shop}/admin/api/{API_VERSION}/graphql.json",
            json=body,
            headers={"X-Shopify-Access-Token": token},
            cost=cost,
            expect=(401,),
        )

    def count(self, document: Document, name: str) -> int | None:
        """How many things there are, by the field ``name``; None where Shopify does not say."""
        counted = self.ask(document)[name]
        return counted["count"] if counted else None

    def pages(self, document: Document, path: Sequence[str], **variables: Any) -> Iterator[Mapping[str, Any]]:
        """A connection, page by page, each with its ``nodes`` and ``pageInfo``; ``path`` leads to it in the answer.

        Raises NotFound when what it belongs to is gone, so that nobody takes some pages for all.
        """
        while True:
            found: Any = self.ask(document, **variables)
            for name in path:
                found = found and found[name]
            if not found:
                raise NotFound(DELETED)
            yield found
            if not found["pageInfo"]["hasNextPage"]:
                return
            variables["after"] = found["pageInfo"]["endCursor"]

    def all(self, document: Document, path: Sequence[str], **variables: Any) -> Iterator[dict[str, Any]]:
        """The nodes of a connection, see ``pages``."""
        for page in self.pages(document, path, **variables):
            yield from page["nodes"]

    def complete(self, document: Document, path: Sequence[str], connection: dict[str, Any], id: str) -> None:
        """Append to a connection's first page of nodes all further ones, see ``pages``."""
        page = connection["pageInfo"]
        if page["hasNextPage"]:
            connection["nodes"] += self.all(document, path, id=id, after=page["endCursor"])
        connection["pageInfo"] = {"hasNextPage": False}


# ---------------------------------------------------------------- what Shopify answers


@dataclass(frozen=True, slots=True)
class _Cost:
    """What an answer says about its cost and the budget, in points; ``available`` is None where it says nothing."""

    requested: float
    available: float | None
    maximum: float
    restore_rate: float


def _cost(answer: Mapping[str, Any]) -> _Cost:
    try:
        cost = answer["extensions"]["cost"]
        status = cost["throttleStatus"]
        return _Cost(
            requested=float(cost["requestedQueryCost"] or 0),
            available=float(status["currentlyAvailable"]),
            maximum=float(status["maximumAvailable"]),
            restore_rate=float(status["restoreRate"]),
        )
    except (KeyError, TypeError, ValueError):
        return _Cost(0, None, 0, 0)


_SHOPIFYS_FAULT = frozenset(
    {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "BAD_GATEWAY", "GATEWAY_TIMEOUT"}
)


def _graphql_error(errors: Any, cost: _Cost) -> Exception:
    """The error that GraphQL's errors amount to; one that passes by itself goes before one that does not."""
    found = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    by_code = {_extension(error, "code"): error for error in reversed(found)}
    if "THROTTLED" in by_code:
        missing = max(0.0, cost.requested - (cost.available or 0.0))
        return RateLimited(
            "Shopify asks to slow down: the rate budget of this shop is spent.",
            max(1.0, missing / cost.restore_rate) if cost.restore_rate > 0 else None,
        )
    if failed := next((by_code[code] for code in by_code if code in _SHOPIFYS_FAULT), None):
        return Unavailable(f"Shopify failed ({_words(failed)}). It will be tried again.")
    if denied := by_code.get("ACCESS_DENIED"):
        needed = _extension(denied, "requiredAccess") or _words(denied)
        return AuthError(f"Shopify denies access, it needs: {needed} {ADD_SCOPES}")
    if "SHOP_INACTIVE" in by_code:
        return AuthError("Shopify has closed this shop or paused it. Open it again in Shopify, then reconnect.")
    if not found:
        return Rejected(f"{_REFUSED} {str(errors)[:300]}")
    return Rejected(f"{_REFUSED} {_words(found[0])}", code=_extension(found[0], "code"))


def _extension(error: Mapping[str, Any], name: str) -> str:
    extensions = error.get("extensions")
    value = extensions.get(name) if isinstance(extensions, dict) else None
    return value if isinstance(value, str) else ""


def _words(error: Mapping[str, Any]) -> str:
    """What an error says, as a sentence."""
    said = str(error.get("message", ""))[:300].rstrip()
    return said if said.endswith((".", "!", "?")) else f"{said}."


# ---------------------------------------------------------------- ids and bodies


def gid(kind: str, external_id: str) -> str:
    """Shopify's GraphQL id. Raises NotFound for what cannot be one of its ids."""
    if not (external_id.isascii() and external_id.isdigit()):
        raise NotFound(f"“{external_id[:40]}” is no id of Shopify's.")
    return f"gid://shopify/{kind}/{external_id}"


def json_body(node: Mapping[str, Any]) -> bytes:
    """What was fetched as the body of a record: the same bytes in whichever order its members came."""
    # A number with a fraction is read as a Decimal: its text is kept.
    return json.dumps(node, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str).encode()
