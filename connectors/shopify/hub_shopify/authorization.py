"""A shop's permission: what the connector asks for, the ways to be given it, and the tokens that come of it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from hub.connector import AuthorizationAnswer, AuthorizationRequest, Context, Token
from hub.errors import AuthError, Rejected, Unavailable, Unverified
from hub_shopify.settings import CODE_GRANT

# ---------------------------------------------------------------- what is asked for

# Each access scope, and what it is needed for. Who may write may read, so the reading half is not asked for beside it.
# The three kinds of fulfillment orders are those at the shop's own locations, at those of fulfillment services, and
# those given to this app: each scope shows its own kind and hides the others.
SCOPES: Mapping[str, str] = {
    "write_orders": "to import orders, cancel them and give money back",
    "read_returns": "to know what customers send back",
    "read_products": "to import listings",
    "read_locations": "to know the shop's locations",
    "write_inventory": "to read and publish stock",
    "read_fulfillments": "to hear of shipments",
    "write_merchant_managed_fulfillment_orders": "to see and confirm what your own locations ship",
    "write_third_party_fulfillment_orders": "to see and confirm what fulfillment services ship",
    "write_assigned_fulfillment_orders": "to answer requests to ship",
}
# Without it Shopify shows only the orders of the last 60 days; it is not asked for, as Shopify has to approve it.
OLD_ORDERS = "read_all_orders"

ADD_SCOPES = (
    "Add what is missing to the app's access scopes in the Dev Dashboard, release the new version, accept it in the "
    "shop, and reconnect."
)


def granted(handles: Iterable[str]) -> set[str]:
    """Access scopes with what they include: who may write may read."""
    scopes = set(handles)
    return scopes | {scope.replace("write_", "read_", 1) for scope in scopes}


def complaint(scopes: Collection[str]) -> str:
    """What to tell a merchant whose app has these scopes (see ``granted``); "" where nothing is missing."""
    missing = [f"{scope} ({use})" for scope, use in SCOPES.items() if scope not in scopes]
    return f"The app may not do all that is needed. Missing: {', '.join(missing)}. {ADD_SCOPES}" if missing else ""


# ---------------------------------------------------------------- asking the merchant


def authorization_url(settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
    """The page of the shop's admin that shows the scopes and asks to install the app."""
    asked = {
        "client_id": settings["client_id"],
        "scope": ",".join(SCOPES),
        "redirect_uri": request.return_url,
        "state": request.state,
    }
    return f"https://{settings['shop']}/admin/oauth/authorize?{urlencode(asked)}"


def read_authorization(settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any]:
    """The settings of the connection, with the code that ``Tokens`` exchanges. Raises Unverified, Rejected."""
    said = answer.parameters
    if not answer.by_browser:
        raise Unverified("Shopify gives its permission in the browser. This came from elsewhere.")
    if not _same(signature(said, settings["client_secret"]), said.get("hmac", "")):
        raise Unverified(
            "The signature does not fit: this is not Shopify's answer, or the client secret is that of another app. "
            "Copy it again and connect once more."
        )
    answer.check_state(said.get("state", ""))
    if not _same(settings["shop"], said.get("shop", "").lower()):
        raise Unverified(
            f"Shopify gave its permission for another shop than {settings['shop']}. Log in to that one, or enter the "
            "address of the other."
        )
    if said.get("error"):
        raise Rejected("The app was not installed, so the shop is not connected. Nothing was changed.")
    if not said.get("code"):
        raise Unverified("Shopify's answer has no permission in it. Connect once more.")
    return {
        "shop": settings["shop"],
        "client_id": settings["client_id"],
        "client_secret": settings["client_secret"],
        "grant": CODE_GRANT,
        "authorization_code": said["code"],
    }


def signature(parameters: Mapping[str, str], secret: str) -> str:
    """What Shopify signs its redirects with: all parameters but ``hmac``, by name.

    What would end a name or a value is escaped, so that a text can't be cut into other parameters.
    """
    pairs = sorted(
        (_escaped(name).replace("=", "%3D"), _escaped(value)) for name, value in parameters.items() if name != "hmac"
    )
    message = "&".join(f"{name}={value}" for name, value in pairs)
    return hmac.new(secret.encode(), message.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26")


def _same(one: str, other: str) -> bool:
    """Compare in constant time, as bytes: comparing text fails on anything beyond ASCII."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


# ---------------------------------------------------------------- tokens

_NAME = "admin"

_WRONG_APP = (
    "Shopify does not know this client ID together with this client secret. Copy both again from your app's Settings "
    "in the Dev Dashboard; after a new secret was made there, only the new one works."
)
_NOTHING_GIVEN = (
    "Shopify gave this app no token for {shop}. Check the client ID and the client secret, and that the app is "
    "installed on this shop."
)
_CODE_SPENT = (
    "Shopify's permission for {shop} was not used in time, or was used already: it is good for one time only. Connect "
    "the shop once more."
)
_OVER = (
    "Shopify's permission for {shop} is over: the app was removed, or nothing was asked for 90 days. Install the app "
    "once more with “Reconnect”."
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
NO_SHOP = "There is no Shopify shop at {shop}. Check the address under Settings > Domains in Shopify."


class Tokens:
    """The token to send with each call, by whichever way the shop in a connection's settings was connected."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings

    @property
    def by_hand(self) -> bool:
        """Whether a token was typed in: there is no other than that one."""
        return bool(self._settings["access_token"])

    @property
    def refusal(self) -> str:
        """What to tell a merchant when Shopify does not take a token that should be good."""
        return _REFUSED_BY_HAND if self.by_hand else _REFUSED_APP

    def token(self, refused: str | None = None) -> str:
        """A valid token; another one than ``refused``. Raises AuthError where the merchant has to reconnect."""
        token: str = self._settings["access_token"]
        if not self.by_hand:
            grant = self._by_code if self._settings["grant"] == CODE_GRANT else self._by_credentials
            token = self._context.tokens.token(_NAME, grant, refused=refused)
        self._context.client.redact(token)
        return token

    def _by_credentials(self) -> Token:
        """About a day's access for an app of the shop's own organization."""
        return self._grant({"grant_type": "client_credentials"}, _NOTHING_GIVEN)

    def _by_code(self) -> Token:
        """An hour's access: the first for the code, which is good once, each further one for a refresh token.

        Where an answer with new tokens is lost, the refresh token before them is sent again: Shopify takes it until
        its successor is used, for at most 30 days. Of a code the answer can't be asked for again.
        """
        kept = self._context.tokens.kept(_NAME)
        if kept is None:
            self._context.client.redact(self._settings["authorization_code"])
            return self._grant({"code": self._settings["authorization_code"], "expiring": "1"}, _CODE_SPENT)
        over = kept.refresh_expires_at is not None and kept.refresh_expires_at <= self._context.now()
        if over or not kept.refresh_token:
            raise AuthError(_OVER.format(shop=self._settings["shop"]))
        self._context.client.redact(kept.refresh_token)
        return self._grant({"grant_type": "refresh_token", "refresh_token": kept.refresh_token}, _OVER, kept)

    def _grant(self, asked: Mapping[str, str], refusal: str, before: Token | None = None) -> Token:
        """Ask for a token; what an answer leaves out stays as it was ``before``."""
        client, shop = self._context.client, self._settings["shop"]
        app = {"client_id": self._settings["client_id"], "client_secret": self._settings["client_secret"]}
        client.redact(app["client_secret"])
        response = client.post(
            f"https://{shop}/admin/oauth/access_token", data={**app, **asked}, expect=(400, 401, 403, 404)
        )
        if response.status == 404:
            raise Rejected(NO_SHOP.format(shop=shop))
        if response.status >= 400:
            said = next((words for code, words in _TOKEN_REFUSALS.items() if code in response.text), refusal)
            raise AuthError(said.format(shop=shop))
        answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise Unavailable("Shopify answered without a token. It will be asked again.")
        refresh_token = answer.get("refresh_token")
        if isinstance(refresh_token, str):
            renewable = (refresh_token, self._after(answer.get("refresh_token_expires_in")))
        else:
            renewable = (before.refresh_token, before.refresh_expires_at) if before else ("", None)
        return Token(answer["access_token"], self._after(answer.get("expires_in")), *renewable)

    def _after(self, seconds: Any) -> datetime | None:
        """So many seconds from now; None where it is not said: such a token is used until it is refused."""
        said = str(seconds)
        known = said.isascii() and said.isdigit() and len(said) < 10
        return self._context.now() + timedelta(seconds=int(said)) if known else None
