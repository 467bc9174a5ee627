"""A seller's permission: asking for it at Seller Central, and the tokens of Login with Amazon that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from hub.connector import AuthorizationAnswer, AuthorizationRequest, Context, Token
from hub.errors import AuthError, Rejected, Unavailable, Unverified
from hub_amazon.settings import LOGIN, marketplaces

# ---------------------------------------------------------------- asking the seller


def authorization_url(settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
    """The page of Seller Central that asks whether the application may act for the account."""
    asked = {
        "application_id": settings["application_id"],
        "state": request.state,
        "redirect_uri": request.return_url,
    }
    return f"https://{marketplaces(settings)[0].seller_central}/apps/authorize/consent?{urlencode(asked)}"


def read_authorization(settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any]:
    """The settings of the connection, with the code that ``Tokens`` exchanges. Raises Unverified, Rejected."""
    said = answer.parameters
    if not answer.by_browser:
        raise Unverified("Amazon gives its permission in the browser. This came from elsewhere.")
    answer.check_state(said.get("state", ""))
    if said.get("error"):
        raise Rejected("The application was not authorized, so the account is not connected. Nothing was changed.")
    if not said.get("spapi_oauth_code") or not said.get("selling_partner_id"):
        raise Unverified("Amazon's answer has no permission in it. Connect once more.")
    return {
        **settings,
        "seller_id": said["selling_partner_id"],
        "authorization_code": said["spapi_oauth_code"],
    }


# ---------------------------------------------------------------- tokens

# What may be called without a seller's permission, with the application's own: the places where messages go.
GRANTLESS_SCOPE = "sellingpartnerapi::notifications"

_WRONG_APP = (
    "Amazon does not know this client ID together with this client secret. Copy both again from your application's "
    "LWA credentials; a secret that was replaced there no longer works."
)
_CODE_SPENT = (
    "Amazon's permission was not used in time, or was used already: it is good for one time, within five minutes. "
    "Connect the account once more."
)
_OVER = (
    "Amazon's permission is over: it was taken back in Seller Central, it was not renewed within a year, or the "
    "refresh token belongs to another application. Authorize the application again and reconnect."
)
_NO_NOTIFICATIONS = (
    "Amazon gives this application no access to notifications. Register it for the Selling Partner API, then reconnect."
)


class Tokens:
    """The token to send with each call: about an hour's access, for the account or for the application alone."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings

    def of_account(self, refused: str | None = None) -> str:
        """For what is done in the seller's name. Raises AuthError where the merchant has to reconnect."""
        return self._redacted(self._context.tokens.token("account", self._by_permission, refused=refused))

    def of_application(self, refused: str | None = None) -> str:
        """For what needs no seller's permission."""
        return self._redacted(self._context.tokens.token("application", self._by_scope, refused=refused))

    def _redacted(self, token: str) -> str:
        self._context.client.redact(token)
        return token

    def _by_permission(self) -> Token:
        """A refresh token lasts and can be used again and again; the code that brings the first one cannot.

        Where the answer to the code is lost, Amazon gives no second one: the merchant connects once more.
        """
        kept = self._context.tokens.kept("account")
        refresh_token = (kept.refresh_token if kept else "") or self._settings["refresh_token"]
        if refresh_token:
            self._context.client.redact(refresh_token)
            return self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token}, _OVER, refresh_token)
        code = self._settings["authorization_code"]
        self._context.client.redact(code)
        return self._grant({"grant_type": "authorization_code", "code": code}, _CODE_SPENT, "")

    def _by_scope(self) -> Token:
        return self._grant({"grant_type": "client_credentials", "scope": GRANTLESS_SCOPE}, _NO_NOTIFICATIONS, "")

    def _grant(self, asked: Mapping[str, str], refusal: str, refresh_token: str) -> Token:
        """Ask for a token; where the answer names no refresh token, the one before stays."""
        client = self._context.client
        app = {"client_id": self._settings["client_id"], "client_secret": self._settings["client_secret"]}
        response = client.post(
            f"{LOGIN}/auth/o2/token", data={**app, **asked}, operation="login", expect=(400, 401, 403)
        )
        if response.status >= 400:
            said = response.json()
            wrong_app = isinstance(said, dict) and said.get("error") == "invalid_client"
            raise AuthError(_WRONG_APP if wrong_app else refusal)
        answer = response.object("access_token", "expires_in")
        seconds = answer["expires_in"]
        if not isinstance(answer["access_token"], str) or not isinstance(seconds, int) or not 0 < seconds <= 86_400:
            raise Unavailable("Amazon answered with something else than a token. It will be asked again.")
        renewed = answer.get("refresh_token")
        return Token(
            answer["access_token"],
            self._context.now() + timedelta(seconds=seconds),
            renewed if isinstance(renewed, str) else refresh_token,
        )
