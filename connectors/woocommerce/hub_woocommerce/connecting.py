"""Connecting: whose shop it is, what it can do, and what to do about the usual mistakes."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlencode, urljoin

from hub.connector import AuthorizationAnswer, AuthorizationRequest, Vocabulary
from hub.core.model import Account, ChannelLocation
from hub.errors import ConnectorError, Rejected, Unavailable, Unreadable, Unverified
from hub.translation import load_json
from hub_woocommerce.api import NO_API, TRACKING, list_of, no_route, object_of
from hub_woocommerce.listings import Listings
from hub_woocommerce.settings import SiteSettings, WooCommerceSettings, same_site, site_address
from hub_woocommerce.translation import ORDER_STATUS, STATUS_WORDS, STATUSES

# The first that finds orders by their time of change.
OLDEST = (5, 8)

MOVED = (301, 302, 303, 307, 308)

APP_NAME = "Tallyhub"

STATUS_FIELDS = (
    "environment.home_url,environment.version,environment.wp_version,settings.currency,settings.HPOS_enabled,"
    "settings.enabled_features"
)


class Connecting(Listings):
    """Proves that the settings work, and leads those who connect with one click."""

    settings_schema = WooCommerceSettings
    authorization_schema = SiteSettings
    mappings: ClassVar[Mapping[str, Vocabulary]] = {ORDER_STATUS: STATUS_WORDS}

    # --- who is it

    def check(self) -> Account:
        status = self._status()
        # Changes nothing, but only a key that may write is allowed to ask for it.
        self._call("POST", "products/batch", body={"update": []})
        try:
            environment, settings = status["environment"], status["settings"]
            home = site_address(environment["home_url"])
            currency = str(settings["currency"])
            version = str(environment["version"])
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected(
                "WooCommerce does not say its address and currency. Update WooCommerce, then connect again."
            ) from error
        if () < _release(version) < OLDEST:
            raise Rejected(
                f"WooCommerce {version} is too old to be asked for what has changed: it has to be "
                f"{'.'.join(map(str, OLDEST))} or later. Update WooCommerce, then connect again."
            )
        warnings = []
        if not same_site(home, self._site):
            warnings.append(
                f"The shop calls itself {home}: its webhooks will be refused. Connect it under that address."
            )
        if self._site.startswith("http://"):
            warnings.append("The shop has no https:// address: orders travel readable by everybody on the way.")
        return Account(
            # Without the scheme: a shop that moves to https:// is still the same shop.
            external_id=home.partition("://")[2],
            name=self._title() or home.partition("://")[2],
            currency=currency,
            locations=(ChannelLocation(external_id="", name="WooCommerce"),),
            warnings=tuple(warnings),
            words={ORDER_STATUS: self._added_statuses()},
            features={
                "woocommerce": version,
                "wordpress": str(environment.get("wp_version") or ""),
                "orders": "own tables" if settings.get("HPOS_enabled") is True else "posts",
                "shipments": self._shipments_go_to(settings.get("enabled_features")),
                "weight_unit": self._weight_unit(),
                "currency": currency,
            },
        )

    def _status(self) -> dict[str, Any]:
        """What WooCommerce says of itself, or the mistake that keeps it from saying anything."""
        answer = self._ask(
            "GET",
            "system_status",
            {"_fields": STATUS_FIELDS},
            expect=(401, 403, 404, 503, *MOVED),
        )
        if answer.status in MOVED:
            raise self._moved(answer.headers.get("Location", ""))
        if answer.status == 503:
            raise Unavailable(
                "The shop is in maintenance mode (503). Switch it off, or wait until its update is through, then "
                "connect again."
            )
        if answer.status == 404 or (answer.status == 200 and object_of(answer) is None):
            self._explain_no_api()
        if answer.status >= 400:
            raise self._refusal(answer)
        return object_of(answer) or {}

    def _title(self) -> str:
        """The site's name, "" if it does not tell strangers: WordPress would take our key for a user's password."""
        answer = self.client.request(
            "GET", f"{self._site}/wp-json/", params={"_fields": "name"}, expect=(401, 403, 404)
        )
        index = object_of(answer) if answer.status == 200 else None
        return html.unescape(str(index.get("name", ""))) if index else ""

    def _added_statuses(self) -> dict[str, str]:
        """The statuses that plugins have added, with what people call them: WooCommerce's own need no explaining."""
        answer = self._ask("GET", "orders/statuses")
        if no_route(answer):  # an older WooCommerce, which tells them only along with how many orders are in each
            answer = self._call("GET", "reports/orders/totals")
        elif answer.status >= 400:
            raise self._refusal(answer)
        told = {str(row.get("slug")): html.unescape(str(row.get("name"))) for row in list_of(answer)}
        return {slug: name for slug, name in told.items() if slug not in STATUSES}

    def _shipments_go_to(self, enabled: Any) -> str:
        """Where the shop keeps what was shipped: fulfillments, a plugin that tracks parcels, or notes on the order."""
        if isinstance(enabled, list) and "fulfillments" in enabled:
            return "fulfillments"
        return "trackings" if self._tracks() else "notes"

    def _tracks(self) -> bool:
        """Whether the plugin Shipment Tracking is there, or another that speaks like it."""
        answer = self._ask("GET", "shipment-trackings/providers", namespace=TRACKING)
        return answer.status == 200 and object_of(answer) is not None

    # --- the usual mistakes

    def _moved(self, location: str) -> ConnectorError:
        """The shop sends its visitors elsewhere: to https://, to www, to another site, or to a page of its own."""
        page = location.partition("?")[0]  # over plain HTTP the query holds our signature
        try:
            # Of an address of the interface the site is what stands before it; of any other page only the host says it.
            new = site_address(page if "/wp-json" in page else urljoin(page, "/"))
        except ValueError:
            new = self._site
        if "/wp-json" not in page and same_site(urljoin(new, "/"), urljoin(self._site, "/")):
            return Rejected(
                f"{self._site} sends every visitor elsewhere ({page[:200]}): a login, a page of its host, or a "
                "“coming soon”. Let the hub reach /wp-json/ there."
            )
        if new.removeprefix("https://") == self._site.removeprefix("http://"):
            return Rejected(f"The shop is at {new}: enter its address with https://.")
        return Rejected(f"{self._site} has moved to {new}. Connect the new address.")

    def _explain_no_api(self) -> NoReturn:
        """Every page of a WordPress names the address of its interface: it tells what is wrong with ours."""
        page = self.client.request("GET", f"{self._site}/", expect=(401, 403, 404, 503, *MOVED))
        found = re.search(r'<([^<>]+)>\s*;\s*rel="?https://api\.w\.org/', page.headers.get("Link", ""))
        if found is None:
            raise Rejected(NO_API.format(site=self._site))
        root = found[1]
        if "rest_route=" in root:
            raise Rejected(
                "The shop's permalinks are “Plain”, so it has no address to be asked at. In WordPress, under "
                "Settings > Permalinks, choose any other structure, and save."
            )
        try:
            real = site_address(root)
        except ValueError:
            real = self._site
        if real != self._site:
            raise Rejected(f"The shop is not at {self._site}, but at {real}. Enter that address.")
        raise Rejected(
            f"WordPress answers at {self._site}, but no WooCommerce does. See that the WooCommerce plugin is active, "
            "and that no plugin switches off its REST API."
        )

    # --- connecting with one click

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        if not request.callback_url.startswith("https://"):
            raise Rejected(
                "WooCommerce hands out a key only to an https:// address, and this hub has none. "
                "Make a key in WooCommerce, and type it in."
            )
        parameters = {
            "app_name": APP_NAME,
            "scope": "read_write",
            "user_id": request.state,
            "return_url": request.return_url,
            "callback_url": request.callback_url,
        }
        return f"{settings['site']}/wc-auth/v1/authorize?{urlencode(parameters)}"

    @classmethod
    def read_authorization(cls, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
        """The browser only tells yes or no; the key comes from the shop's own server."""
        said = dict(answer.parameters) if answer.by_browser else _posted(answer.body)
        answer.check_state(str(said.get("user_id", "")))
        if answer.by_browser:
            if said.get("success") != "1":
                raise Rejected("In WooCommerce the connection was denied. Approve it there, or type a key in.")
            return None
        if said.get("key_permissions") != "read_write":
            raise Rejected(
                f"WooCommerce made a key with the permission “{str(said.get('key_permissions'))[:40]}”. "
                "The hub has to read and write: begin again, and approve both."
            )
        keys = {name: said.get(name) for name in ("consumer_key", "consumer_secret")}
        if not all(isinstance(value, str) and value for value in keys.values()):
            raise Unverified("The shop sent no key. Begin again.")
        return {"site": settings["site"], **keys}


def _posted(body: bytes) -> dict[str, Any]:
    try:
        posted = load_json(body)
    except Unreadable as error:
        raise Unverified("The shop sent something else than a key.") from error
    if not isinstance(posted, dict):
        raise Unverified("The shop sent something else than a key.")
    return posted


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version: "11.0.1-beta.2" is (11, 0, 1), and what is no version is ()."""
    found = re.match(r"[0-9]{1,5}(?:\.[0-9]{1,5}){0,3}", version, re.ASCII)
    return tuple(map(int, found[0].split("."))) if found else ()
