"""The app a simulated shop has installed: its scopes, permission, tokens and subscriptions, and how it is removed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from hub.testing.simulator import Attempt, ShopSimulator, SimRequest, SimResponse
from hub_shopify.simulator_model import Subscription, gid, iso

API_VERSION = "2026-10"
# What the app's version in the Dev Dashboard asks for.
SCOPES = (
    "write_orders",
    "read_all_orders",
    "read_returns",
    "read_products",
    "read_locations",
    "read_fulfillments",
    "write_inventory",
    "write_merchant_managed_fulfillment_orders",
    "write_third_party_fulfillment_orders",
    "write_assigned_fulfillment_orders",
)
CREDENTIAL_SECONDS = 86_399
OFFLINE_SECONDS = 3600
REFRESH_LIFE = timedelta(days=90)
# A refresh token that was used can be sent again until its successor is used, but not longer than this.
REFRESH_RETRIED = timedelta(days=30)
# Eight further attempts within four hours, further and further apart: how far, Shopify does not say.
RETRIES = (5.0, 15.0, 60.0, 240.0, 900.0, 1800.0, 3600.0, 7780.0)

_WORK_SCOPES = (
    "read_merchant_managed_fulfillment_orders",
    "read_assigned_fulfillment_orders",
    "read_third_party_fulfillment_orders",
)
# One of these scopes is needed to hear of a topic, by what the topic is about.
_HEARING = {
    "orders": ("read_orders",),
    "refunds": ("read_orders",),
    "returns": ("read_returns",),
    "fulfillments": ("read_fulfillments",),
    "fulfillment_orders": _WORK_SCOPES,
    "fulfillment_holds": _WORK_SCOPES,
    "products": ("read_products",),
    "inventory_items": ("read_inventory", "read_products"),
    "inventory_levels": ("read_inventory",),
    "locations": ("read_locations",),
}


@dataclass
class _Refresh:
    """A refresh token that was given; ``before`` is the one it came in exchange for."""

    expires_at: datetime
    before: str = ""
    used_at: datetime | None = None
    successor: str = ""


class AppSimulator(ShopSimulator):
    """A shop with one app of the Dev Dashboard.

    ``scopes`` are those granted on the shop. ``redirects`` are the addresses the app may send people back to, None for
    any. ``compliance_address`` is where the app's configuration has the compliance webhooks sent. ``permitted`` is
    whether app and shop belong to the same organization.
    """

    def __init__(
        self, domain: str, *, now: Callable[[], datetime], seed: int, webhook_retries: Sequence[float]
    ) -> None:
        super().__init__(now=now, seed=seed)
        self.domain = domain
        self.origin = f"https://{domain}"
        self.webhook_retries = webhook_retries
        self.scopes: tuple[str, ...] = SCOPES
        self.served_version = API_VERSION
        self.client_id = "c0ffee5e7f1e1d0000000000000000aa"
        self.client_secret = "shpss_simulated0000000000000000000000"
        self.legacy_token = "shpat_simulated0000000000000000000000"
        self.installed = True
        self.permitted = True
        self.redirects: Sequence[str] | None = None
        self.compliance_address = ""
        self.subscriptions: dict[int, Subscription] = {}
        # Real ids are beyond 32 bits; no two kinds share one here, so that mixing them up shows.
        self._ids = itertools.count(7_000_000_001, 7)
        self._uuids = random.Random(seed)
        self._codes: set[str] = set()
        self._tokens: dict[str, datetime] = {}
        self._refreshing: dict[str, _Refresh] = {}
        self.shop_id = next(self._ids)

    # --- what people do

    def settings(self) -> dict[str, str]:
        return {"shop": self.domain, "client_id": self.client_id, "client_secret": self.client_secret}

    def install(self, url: str) -> str:
        """The merchant opens the page at ``url`` and installs the app; returns where the browser is sent to.

        Raises ValueError with what the page says where it does not offer to install anything.
        """
        parts = urlsplit(url)
        if parts.hostname != self.domain:
            raise ValueError(f"This leads to {parts.hostname}.")
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        for method in ("GET", "POST"):
            page = self.handle(SimRequest(method, parts.path, query, {"host": self.domain}))
            if page.status >= 400:
                raise ValueError(page.body.decode())
        return page.headers["Location"]

    def approve(self, address: str) -> str:
        """As ``install``, by the name that all simulators have for it."""
        return self.install(address)

    def uninstall(self) -> None:
        """The merchant removes the app: its access and its subscriptions go with it."""
        with self.lock:
            shop = {"id": self.shop_id, "name": "Demo shop", "domain": self.domain, "myshopify_domain": self.domain}
            self._emit(self._event(), [("app/uninstalled", shop)])
            self.installed = False
            self.revoke_tokens()
            self._refreshing.clear()
            self._codes.clear()
            self.subscriptions.clear()

    def accept_scopes(self, scopes: Sequence[str]) -> None:
        """The merchant accepts a version of the app with these scopes."""
        with self.lock:
            before, self.scopes = self.scopes, tuple(scopes)
            told = {
                "id": gid("AppInstallation", 1),
                "previous": before,
                "current": self.scopes,
                "updated_at": iso(self.now()),
            }
            self._emit(self._event(), [("app/scopes_update", told)])

    def revoke_tokens(self) -> None:
        """All access tokens given so far stop working."""
        with self.lock:
            self._tokens.clear()

    def ask_for_data(self, orders: Iterable[str], email: str = "ada@example.com") -> int:
        """A customer asks what is stored about them; returns the id of the wish."""
        with self.lock:
            wish = next(self._ids)
            told = {
                **self._customer(email),
                "orders_requested": [int(order) for order in orders],
                "data_request": {"id": wish},
            }
            self._comply("customers/data_request", told)
            return wish

    def erase_customer(self, orders: Iterable[str], email: str = "ada@example.com") -> None:
        """A customer is to be forgotten."""
        with self.lock:
            redacted = [int(order) for order in orders]
            self._comply("customers/redact", {**self._customer(email), "orders_to_redact": redacted})

    def erase_shop(self) -> None:
        """Two days after the app was removed everything of the shop is to be forgotten."""
        with self.lock:
            self._comply("shop/redact", {"shop_id": self.shop_id, "shop_domain": self.domain})

    def _customer(self, email: str) -> dict[str, Any]:
        customer = {"id": 191_167, "email": email, "phone": "+442079460000"}
        return {"shop_id": self.shop_id, "shop_domain": self.domain, "customer": customer}

    # --- webhooks

    def _event(self) -> str:
        return str(uuid.UUID(int=self._uuids.getrandbits(128), version=4))

    def _emit(self, event: str, news: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Send every message about one thing that somebody did to whoever subscribed to its topic."""
        for topic, told in news:
            wanted = topic.replace("/", "_").upper()
            takers = [each for each in self.subscriptions.values() if each.topic == wanted]
            body = json.dumps(told, default=str).encode() if takers else b""
            for subscription in takers:
                name = {"X-Shopify-Name": subscription.name} if subscription.name else {}
                self._send(subscription.uri, topic, body, event, name)

    def _comply(self, topic: str, told: Mapping[str, Any]) -> None:
        """Send what the app's configuration has sent, whether it is still installed or not."""
        if self.compliance_address:
            self._send(self.compliance_address, topic, json.dumps(told).encode(), self._event(), {})

    def _send(self, address: str, topic: str, body: bytes, event: str, further: Mapping[str, str]) -> None:
        signature = hmac.digest(self.client_secret.encode(), body, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(signature).decode(),
            "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-API-Version": self.served_version,
            "X-Shopify-Webhook-Id": self._event(),
            "X-Shopify-Event-Id": event,
            "X-Shopify-Triggered-At": self.now().isoformat(),
            **further,
        }
        self.deliver(address, headers, body)

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        """Forget a subscription whose receiver never answered: Shopify deletes it, and says nothing."""
        if final and (attempt.status is None or not 200 <= attempt.status < 300):
            topic = attempt.headers["X-Shopify-Topic"].replace("/", "_").upper()
            self.subscriptions = {
                id: each
                for id, each in self.subscriptions.items()
                if (each.topic, each.uri) != (topic, attempt.address)
            }

    def may_hear(self, topic: str) -> bool:
        """Whether the app's scopes allow it to hear of a topic, which is named as in GraphQL."""
        about = next((about for about in sorted(_HEARING, reverse=True) if topic.lower().startswith(f"{about}_")), "")
        return not about or not self._granted.isdisjoint(_HEARING[about])

    @property
    def _granted(self) -> set[str]:
        return {*self.scopes, *(scope.replace("write_", "read_", 1) for scope in self.scopes)}

    # --- permission and tokens

    def _admits(self, token: str) -> bool:
        known = token == self.legacy_token or self._tokens.get(token, self.now()) > self.now()
        return known and self.installed

    def _answer_app(self, request: SimRequest) -> SimResponse | None:
        """What is answered to an app that asks for permission; None where it asks for something else."""
        if request.path == "/admin/oauth/authorize" and request.method in ("GET", "POST"):
            return self._install_page(request)
        if (request.method, request.path) == ("POST", "/admin/oauth/access_token"):
            return self._grant(dict(parse_qsl(request.body.decode("utf-8", "replace"))))
        return None

    def _install_page(self, request: SimRequest) -> SimResponse:
        """The page on which a merchant gives the permission; by its button, the way back to the app."""
        back = request.parameter("redirect_uri")
        asked = request.parameter("scope").split(",")
        if request.parameter("client_id") != self.client_id:
            return _oauth_error("application_cannot_be_found")
        if self.redirects is not None and back not in self.redirects:
            return _oauth_error("invalid_request: The redirect_uri is not whitelisted")
        if unknown := [scope for scope in asked if scope not in SCOPES]:
            return _oauth_error(f"invalid_scope: {', '.join(unknown)}")
        if request.method == "GET":
            items = "".join(f"<li>{escape(scope)}</li>" for scope in asked)
            return _page(f"<h1>Install app</h1><ul>{items}</ul><form method=post><button>Install</button></form>")
        self.installed = True
        code = f"{self._uuids.getrandbits(128):032x}"
        self._codes.add(code)
        name = self.domain.partition(".")[0]
        answer = {
            "code": code,
            "host": base64.b64encode(f"admin.shopify.com/store/{name}".encode()).decode().rstrip("="),
            "shop": self.domain,
            "state": request.parameter("state"),
            "timestamp": str(int(self.now().timestamp())),
        }
        message = "&".join(f"{name}={value}" for name, value in sorted(answer.items()))
        answer["hmac"] = hmac.new(self.client_secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        return SimResponse(302, {"Location": f"{back}{'&' if urlsplit(back).query else '?'}{urlencode(answer)}"})

    def _grant(self, form: Mapping[str, str]) -> SimResponse:
        if form.get("client_id") != self.client_id:
            return _oauth_error("application_cannot_be_found")
        if form.get("client_secret") != self.client_secret:
            return _oauth_error("invalid_client")
        if "code" in form:
            return self._exchange(form["code"], expiring=form.get("expiring") == "1")
        if form.get("grant_type") == "refresh_token":
            return self._refresh(form.get("refresh_token", ""))
        if form.get("grant_type") != "client_credentials":
            return _oauth_error("unsupported_grant_type")
        if not self.permitted:
            return _oauth_error("shop_not_permitted")
        if not self.installed:
            return _oauth_error("app_not_installed")
        return self._tokens_given(CREDENTIAL_SECONDS)

    def _exchange(self, code: str, *, expiring: bool) -> SimResponse:
        if code not in self._codes:
            return _refused(400, "The authorization code was not found or was already used")
        self._codes.remove(code)
        self._refreshing.clear()  # a new permission takes the place of the one before
        if not expiring:
            return self._tokens_given(None)
        return self._tokens_given(OFFLINE_SECONDS, self._refresh_token(""))

    def _refresh(self, token: str) -> SimResponse:
        now, kept = self.now(), self._refreshing.get(token)
        retried_too_late = kept and kept.used_at and kept.used_at + REFRESH_RETRIED <= now
        if kept is None or kept.expires_at <= now or retried_too_late:
            return _refused(401, "This request requires an active refresh_token")
        self._refreshing.pop(kept.before, None)  # using a token retires the one before it
        if kept.used_at is None:
            kept.used_at = now
            kept.successor = self._refresh_token(token)
        return self._tokens_given(OFFLINE_SECONDS, kept.successor)

    def _refresh_token(self, before: str) -> str:
        token = f"shprt_{self._uuids.getrandbits(128):032x}"
        self._refreshing[token] = _Refresh(self.now() + REFRESH_LIFE, before)
        return token

    def _tokens_given(self, seconds: int | None, refresh_token: str = "") -> SimResponse:
        token = f"shpat_{self._uuids.getrandbits(128):032x}"
        lives = datetime.max.replace(tzinfo=UTC) if seconds is None else self.now() + timedelta(seconds=seconds)
        self._tokens[token] = lives
        answer: dict[str, Any] = {"access_token": token, "scope": ",".join(self.scopes)}
        if seconds is not None:
            answer["expires_in"] = seconds
        if refresh_token:
            left = self._refreshing[refresh_token].expires_at - self.now()
            answer |= {"refresh_token": refresh_token, "refresh_token_expires_in": int(left.total_seconds())}
        return SimResponse.of_json(answer)


def _page(words: str, status: int = 200) -> SimResponse:
    page = f"<!doctype html><html><body>{words}</body></html>"
    return SimResponse(status, {"Content-Type": "text/html; charset=utf-8"}, page.encode())


def _oauth_error(code: str) -> SimResponse:
    return _page(f"Oauth error {escape(code)}", 400)


def _refused(status: int, words: str) -> SimResponse:
    return SimResponse.of_json({"error": "invalid_request", "error_description": words}, status)
