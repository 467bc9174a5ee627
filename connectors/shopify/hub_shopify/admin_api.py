"""Talking to Shopify's Admin API: tokens, the query budget, pages, and errors that come with HTTP 200."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hub.connector import Context, Token
from hub.errors import AuthError, NotFound, RateLimited, Rejected, Unavailable
from hub.http import Response
from hub_shopify.documents import API_VERSION, Document

_WRONG_APP = (
    "Shopify does not know this client ID together with this client secret. Copy both again from your app's Settings "
    "in the Dev Dashboard; after a new secret was made there, only the new one works."
)
_NOTHING_GIVEN = (
    "Shopify gave this app no token for {shop}. Check the client ID and the client secret, and that the app is "
    "installed on this shop."
)
_REFUSED_APP = (
    "Shopify refused the token it had just given. See that the app is still installed, then reconnect the shop."
)
_REFUSED_BY_HAND = (
    "Shopify refused the access token. Copy it again, or better, use the client ID and secret of a Dev Dashboard app; "
    "then reconnect the shop."
)
_TOKEN_REFUSALS = {
    "app_not_installed": "The app is not installed on {shop}. Install it from its page in the Dev Dashboard.",
    "shop_not_permitted": (
        "Shopify gives this app no access to {shop}: the app and the shop must belong to the same organization. "
        "Create the app in the Dev Dashboard of the organization that owns the shop."
    ),
    "application_cannot_be_found": _WRONG_APP,
    "invalid_client": _WRONG_APP,
}
_REFUSED = "Shopify refused the request; asking again changes nothing. It says:"
ADD_SCOPES = (
    "Add what is missing to the app's access scopes in the Dev Dashboard, release the new version, accept it in the "
    "shop, and reconnect."
)
DELETED = "Shopify does not have it any more."
NO_SHOP = "There is no Shopify shop at {shop}. Check the address under Settings > Domains in Shopify."


class AdminApi:
    """The Admin API of the shop in a connection's settings."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._settings = context.settings
        self._shop: str = context.settings["shop"]

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
        token = self._token()
        response = self._send(body, cost, token)
        if response.status == 401 and not self._settings["access_token"]:
            response = self._send(body, cost, self._token(refused=token))
        if response.status == 401:
            raise AuthError(_REFUSED_BY_HAND if self._settings["access_token"] else _REFUSED_APP)
        return response

    def _send(self, body: Mapping[str, Any], cost: int, token: str) -> Response:
        return self._client.post(
            f"https://{self._shop}/admin/api/{API_VERSION}/graphql.json",
            json=body,
            headers={"X-Shopify-Access-Token": token},
            cost=cost,
            expect=(401,),
        )

    def _token(self, refused: str | None = None) -> str:
        legacy: str = self._settings["access_token"]
        return legacy or self._context.tokens.token("admin", self._grant, refused=refused)

    def _grant(self) -> Token:
        """A token by the client credentials grant: about a day's access for an app of the shop's own organization."""
        shop = self._shop
        self._client.redact(self._settings["client_secret"])
        response = self._client.post(
            f"https://{shop}/admin/oauth/access_token",
            data={
                "grant_type": "client_credentials",
                "client_id": self._settings["client_id"],
                "client_secret": self._settings["client_secret"],
            },
            expect=(400, 401, 403, 404),
        )
        if response.status == 404:
            raise Rejected(NO_SHOP.format(shop=shop))
        if response.status >= 400:
            said = next((words for code, words in _TOKEN_REFUSALS.items() if code in response.text), _NOTHING_GIVEN)
            raise AuthError(said.format(shop=shop))
        answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise Unavailable("Shopify answered without a token. It will be asked again.")
        seconds = answer.get("expires_in")
        expires_at = self._context.now() + timedelta(seconds=seconds) if isinstance(seconds, int) else None
        self._client.redact(answer["access_token"])
        return Token(answer["access_token"], expires_at)

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
