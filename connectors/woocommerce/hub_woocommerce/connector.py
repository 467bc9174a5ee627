"""The WooCommerce connector: one shop's REST API (wc/v3) and its webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
import requests_oauthlib
from marshmallow import ValidationError

from hub.connector import (
    Capabilities,
    Context,
    Delivery,
    EffectResult,
    Fact,
    ListingRemoved,
    OrderRemoved,
    Page,
    PushOutcome,
    PushState,
    RateBudget,
    RawRecord,
    SalesChannel,
    Settlement,
    StockPush,
    StockRef,
    Webhook,
)
from hub.core.model import Account, ChannelLocation, Listing, Order
from hub.errors import AuthError, ConnectorError, NotFound, Rejected, Unavailable, Unreadable, Unverified
from hub.http import Response
from hub.translation import UtcMoment, load_json
from hub_woocommerce.settings import WooCommerceSettings, same_site, site_address
from hub_woocommerce.translation import FetchedListing, FetchedOrder, Removed, WebhookOrder, WebhookProduct, is_variable

PER_PAGE = 100  # more is refused
SECOND = timedelta(seconds=1)  # the resolution of every time in WooCommerce
# An order is stamped a moment before it is stored, in a large shop by one of several servers with clocks of their own.
OVERLAP = timedelta(seconds=10)
# The bin is read so that trashed orders are noticed without webhooks; what was trashed long before is not our concern.
BIN_AT_FIRST = timedelta(days=1)

TOPICS = (
    "order.created",
    "order.updated",
    "order.deleted",
    "order.restored",
    "product.created",
    "product.updated",
    "product.deleted",
)

# Without this, each answer holds every description, and `related_ids` in an order that changes by itself.
PRODUCT_FIELDS = (
    "id,parent_id,type,status,name,sku,global_unique_id,price,manage_stock,stock_quantity,variations,date_modified_gmt"
)
STOCK_FIELDS = "id,manage_stock,stock_quantity"

_NEW_KEY = (
    "In WooCommerce, under Settings > Advanced > REST API, add a key with the permission Read/Write for an "
    "administrator or a shop manager, and enter both of its parts."
)
_SIGNED = "Without https:// the clocks of hub and shop must agree; enter an https:// address if the shop has one."
_NO_API = (
    "No WooCommerce answers at {site}/wp-json/. Check the address (the one of the shop's front page); see that the "
    "WooCommerce plugin is active; and in WordPress, under Settings > Permalinks, choose anything but “Plain”."
)

# ---------------------------------------------------------------- the connector


class WooCommerceConnector(SalesChannel):
    """A WooCommerce shop."""

    name = "woocommerce"
    label = "WooCommerce"
    description = "Shops on WordPress with the WooCommerce plugin."
    api_version = "wc/v3"
    settings_schema = WooCommerceSettings
    capabilities = Capabilities(compare_and_set=False, push_batch=PER_PAGE)
    effects: ClassVar[Mapping[str, Settlement]] = {"subscribe_webhooks": Settlement.NATURAL_KEY}
    # WooCommerce itself has no limit; this is what a small host bears beside its customers.
    rate_budget = RateBudget(per_second=20, burst=40)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._site = str(self.settings["site"])
        self._key = str(self.settings["consumer_key"])
        self._secret = str(self.settings["consumer_secret"])
        self.client.redact(self._key)
        self.client.redact(self._secret)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        parts = urlsplit(settings["site"])
        return (f"{parts.scheme}://{parts.netloc}",)

    # --- talking to the shop

    def _auth(self) -> requests.auth.AuthBase:
        """Over plain HTTP WooCommerce takes only signed requests (OAuth 1.0a), so that the secret is never sent.

        The signature goes into the query, because some web servers keep the Authorization header from PHP.
        """
        if self._site.startswith("https://"):
            return requests.auth.HTTPBasicAuth(self._key, self._secret)
        return requests_oauthlib.OAuth1(
            self._key,
            self._secret,
            signature_method="HMAC-SHA256",
            signature_type="QUERY",
            timestamp=str(int(self.context.now().timestamp())),
        )

    def _ask(self, method: str, path: str, *, body: Any = None, **parameters: str | int) -> Response:
        """Send one request and return whatever the shop said, unless it is an error that needs no WooCommerce."""
        return self.client.request(
            method,
            f"{self._site}/wp-json/wc/v3/{path}",
            params=parameters,
            json=body,
            auth=self._auth(),
            expect=(401, 403, 404),
        )

    def _call(self, method: str, path: str, *, body: Any = None, **parameters: str | int) -> Response:
        response = self._ask(method, path, body=body, **parameters)
        if response.status >= 400:
            raise self._refusal(response)
        return response

    def _refusal(self, response: Response) -> ConnectorError:
        code, message = _said(response)
        # Only WooCommerce itself can say that something is gone, or a key wrong. A page "not found" while the shop is
        # being repaired must not remove an order, nor a firewall's whim pause the connection.
        if not code.startswith("woocommerce_rest_"):
            if response.status == 404:
                return Unavailable(_NO_API.format(site=self._site))
            return Unavailable(
                f"Something in front of WooCommerce refused the request ({response.status}): a security plugin, a "
                "firewall or a password on the site. Let the hub reach /wp-json/wc/v3/ there."
            )
        if response.status == 404:
            return NotFound("WooCommerce does not have it any more.", code)
        if code != "woocommerce_rest_authentication_error":
            message = "It is wrong, or was revoked, or may not do this."
        clocks = "" if self._site.startswith("https://") else f" {_SIGNED}"
        return AuthError(f"WooCommerce refused the key. {message} {_NEW_KEY}{clocks}")

    def _walk(self, path: str, **parameters: str | int) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        """Every row of a list by id, page by page, with how many there are.

        WooCommerce pages by position only, and a row that leaves the list (deleted, or no longer matching) moves all
        later ones forward, past the start of the next page. So each page begins with the row that ended the one
        before. If it does not, something moved, and reading goes back a page.
        """
        position, last = 0, 0
        turned_back = False
        while True:
            response = self._call(
                "GET", path, orderby="id", order="asc", per_page=PER_PAGE, offset=position, **parameters
            )
            rows, total = _rows(response), _total(response)
            if total is not None and position + len(rows) > total:
                raise self._repeats_itself()
            if position and (not rows or rows[0]["id"] > last):
                position, turned_back = max(0, position - PER_PAGE), True
                continue
            fresh = [row for row in rows if row["id"] > last]
            if fresh:
                last = fresh[-1]["id"]
                yield fresh, total
            # Some hosts lower per_page, so a short page alone says nothing.
            if (position + len(rows) >= total) if total is not None else (len(rows) < PER_PAGE):
                return
            if not fresh and not turned_back:
                raise self._repeats_itself()
            position, turned_back = position + len(rows) - 1, False

    def _all(self, path: str, **parameters: str | int) -> list[dict[str, Any]]:
        return [row for rows, _ in self._walk(path, **parameters) for row in rows]

    def _still_there(
        self, record: Callable[[dict[str, Any]], RawRecord], rows: Iterable[dict[str, Any]]
    ) -> Iterator[RawRecord]:
        """The rows as records, without those that were deleted while the list was being read."""
        for row in rows:
            try:
                yield record(row)
            except NotFound:
                continue

    def _repeats_itself(self) -> Unavailable:
        return Unavailable(
            f"{self._site} answers different questions with the same page. Exclude /wp-json/ from caching there, "
            "and see that WooCommerce is up to date."
        )

    # --- who is it

    def check(self) -> Account:
        answer = self._ask("GET", "system_status", _fields="environment.home_url,settings.currency")
        if answer.status == 404 or (answer.status == 200 and _object(answer) is None):
            raise Rejected(_NO_API.format(site=self._site))
        if answer.status >= 400:
            raise self._refusal(answer)
        # Changes nothing, but only a key that may write is allowed to ask for it.
        self._call("POST", "products/batch", body={"update": []})
        try:
            status = answer.json()
            home = site_address(status["environment"]["home_url"])
            currency = str(status["settings"]["currency"])
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected(
                "WooCommerce does not say its address and currency. Update WooCommerce, then connect again."
            ) from error
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
        )

    def _title(self) -> str:
        """The site's name, "" if it does not tell strangers: WordPress would take our key for a user's password."""
        answer = self.client.request(
            "GET", f"{self._site}/wp-json/", params={"_fields": "name"}, expect=(401, 403, 404)
        )
        index = _object(answer) if answer.status == 200 else None
        return html.unescape(str(index.get("name", ""))) if index else ""

    # --- orders in

    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        """The orders by their time of change, then the bin, which no other list shows. The cursor holds both times."""
        orders, _, binned = (cursor or "").partition(" ")
        marks = {"any": _moment(orders), "trash": _moment(binned) or self.context.now() - BIN_AT_FIRST}
        for status in marks:
            for rows, total in self._changed(status, marks[status]):
                newest = max(filter(None, (_modified(row) for row in rows)), default=None)
                if newest is not None:
                    # A shop whose clock once ran ahead must not keep us from reading what it changes until then.
                    marks[status] = max(filter(None, (marks[status], min(newest, self.context.now()))))
                records = tuple(self._still_there(self._order_record, rows))
                yield Page(records, f"{_stamp(marks['any'])} {_stamp(marks['trash'])}", total)

    def _changed(self, status: str, since: datetime | None) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        """Orders in one status by time of change, page by page, with how many there are.

        Positions cannot be trusted: an order that changes while we read leaves its place for the end, all behind it
        move up one, and the first of the next page has become the last of the page already read. So there is no next
        page. Each request asks anew for the first page of what changed at or after the last row seen; whatever moves
        meanwhile moves to where we have yet to go. ``modified_after`` means later, so the bound is a second less.

        Only when one second holds more than a page does this stand still. That second is then read by id, which
        a change cannot reorder.
        """
        after = since - OVERLAP if since else None
        expected: int | None = None
        while True:
            response = self._call(
                "GET", "orders", status=status, orderby="modified", order="asc", per_page=PER_PAGE, **_between(after)
            )
            rows, total = _rows(response), _total(response)
            expected = total if expected is None else expected
            if rows:
                yield rows, expected
            if (total <= len(rows)) if total is not None else (len(rows) < PER_PAGE):
                return
            last = _modified(rows[-1]) if rows else None
            if last is None or (after is not None and last <= after):
                raise self._repeats_itself()
            if after == last - SECOND:
                for crowd, _ in self._walk("orders", status=status, **_between(after, last + SECOND)):
                    yield crowd, expected
                after = last
            else:
                after = last - SECOND

    def fetch_order(self, external_id: str) -> RawRecord:
        return self._order_record(_one(self._call("GET", f"orders/{_path_id(external_id)}")))

    def _order_record(self, order: dict[str, Any]) -> RawRecord:
        """The order with its refunds, which it only names: what they took off its lines is told nowhere else."""
        refunds = self._all(f"orders/{order['id']}/refunds") if order.get("refunds") else []
        version = str(order.get("date_modified_gmt") or "")
        return RawRecord("order", str(order["id"]), _body({"order": order, "refunds": refunds}), version)

    def read_order(self, record: RawRecord) -> Order:
        order: Order = FetchedOrder().read(record.body)
        return order

    # --- listings in

    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        """Always all of them: a variation that changes leaves no trace on its parent, by which one could ask less."""
        currency = self._currency()
        for rows, total in self._walk("products", _fields=PRODUCT_FIELDS):
            yield Page(tuple(self._still_there(lambda row: self._listing_record(row, currency), rows)), "", total)

    def fetch_listing(self, external_id: str) -> RawRecord:
        product = _one(self._call("GET", f"products/{_path_id(external_id)}", _fields=PRODUCT_FIELDS))
        return self._listing_record(product, self._currency())

    def _currency(self) -> str:
        return str(_one(self._call("GET", "data/currencies/current"), "code")["code"])

    def _listing_record(self, product: dict[str, Any], currency: str) -> RawRecord:
        path = f"products/{product['id']}/variations"
        variations = self._all(path, _fields=PRODUCT_FIELDS) if is_variable(product) else []
        body = _body({"product": product, "variations": variations, "currency": currency})
        return RawRecord("listing", str(product["id"]), body, str(product.get("date_modified_gmt") or ""))

    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        listings: tuple[Listing, ...] = FetchedListing().read(record.body)
        return listings

    # --- webhooks in

    def verify(self, webhook: Webhook) -> Delivery | None:
        headers = webhook.headers
        topic = headers.get("x-wc-webhook-topic", "")
        signature = headers.get("x-wc-webhook-signature", "")
        if not topic and not signature and re.fullmatch(rb"webhook_id=[0-9]{1,20}", webhook.body):
            return None  # sent once, unsigned, when a webhook is saved
        if not self.context.webhook_secret:
            raise Unverified("This connection has no webhook secret yet. Subscribe its webhooks first.")
        digest = hmac.digest(self.context.webhook_secret.encode(), webhook.body, hashlib.sha256)
        if not hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "replace")):
            raise Unverified("The signature does not fit the secret of this connection's webhooks.")
        source = headers.get("x-wc-webhook-source", "")
        if source and not same_site(source, self._site):
            raise Unverified("The webhook comes from another shop than the one connected.")
        if not re.fullmatch(r"[a-z_]{1,40}\.[a-z_]{1,40}", topic):
            raise Unverified("The webhook does not say what happened.")
        # X-WC-Webhook-Delivery-ID is a hash of the webhook's id and the second: two orders of one second share it,
        # and it can never be the key. It only tells apart a second deletion of an order that was restored meanwhile,
        # because the body of a deletion is nothing but the id.
        key = f"{topic}:{hashlib.sha256(webhook.body).hexdigest()}"
        if topic.endswith(".deleted"):
            key += f":{headers.get('x-wc-webhook-delivery-id', '')[:64]}"
        return Delivery(topic, key)

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        facts: Iterable[Fact] = ()
        if record.topic in ("order.created", "order.updated", "order.restored"):
            facts = (WebhookOrder().read(record.body),)
        elif record.topic == "order.deleted":
            facts = (OrderRemoved(Removed().read(record.body)),)
        elif record.topic in ("product.created", "product.updated"):
            facts = WebhookProduct().read(record.body)
        elif record.topic == "product.deleted":
            # Shops that keep orders as WordPress posts send this for a trashed order too, with the order's id. Posts
            # share one numbering, so it names no listing, and nothing happens.
            facts = (ListingRemoved(Removed().read(record.body)),)
        return facts

    # --- stock out

    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        found: dict[str, int | None] = {}
        for parent, ids in _batches(refs):
            path = f"products/{parent}/variations" if parent else "products"
            try:
                rows = self._all(path, include=",".join(ids), _fields=STOCK_FIELDS)
            except NotFound:
                continue
            found |= {str(row["id"]): _tracked_quantity(row) for row in rows}
        return [found.get(ref.listing_external_id) for ref in refs]

    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Write products in one call and the variations of each parent in one more: other ways WooCommerce has not.

        Batches are answered 200 whatever became of their items. One that fails as a whole is tried again later, and
        only when all fail is the shop taken to be unavailable.
        """
        # WooCommerce would take a quantity below nothing, and sell on.
        quantities = {push.ref.listing_external_id: max(0, push.quantity) for push in pushes}
        outcomes: dict[str, PushOutcome] = {}
        failures: list[Unavailable] = []
        batches = list(_batches([push.ref for push in pushes]))
        for parent, ids in batches:
            path = f"products/{parent}/variations/batch" if parent else "products/batch"
            update = [{"id": int(external_id), "stock_quantity": quantities[external_id]} for external_id in ids]
            try:
                answer = _one(self._call("POST", path, body={"update": update}), "update")
            except Unavailable as error:
                failures.append(error)
                outcomes |= dict.fromkeys(ids, PushOutcome(PushState.RETRY, message=str(error)))
            except Rejected as error:
                state = PushState.GONE if isinstance(error, NotFound) else PushState.REJECTED
                outcomes |= dict.fromkeys(ids, PushOutcome(state, message=str(error)))
            else:
                outcomes |= _outcomes(ids, answer["update"])
        if failures and len(failures) == len(batches):
            raise failures[0]
        unknown = PushOutcome(PushState.GONE, message="WooCommerce has no product of this id.")
        return [outcomes.get(push.ref.listing_external_id, unknown) for push in pushes]

    # --- effects

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        address = str(request["address"])
        present: dict[str, dict[str, Any]] = {}
        for rows, _ in self._walk("webhooks"):
            for row in rows:
                # Of two for one topic the working one counts.
                topic = str(row.get("topic"))
                if row.get("delivery_url") == address and present.get(topic, {}).get("status") != "active":
                    present[topic] = row
        created, activated = [], []
        for topic in TOPICS:
            secret = {"secret": self.context.webhook_secret, "status": "active"}
            if topic not in present:
                body = {"name": f"Tallyhub {topic}", "topic": topic, "delivery_url": address, **secret}
                self._call("POST", "webhooks", body=body)
                created.append(topic)
            elif present[topic].get("status") != "active":
                # WooCommerce disables a webhook by itself after more than five failures in a row.
                self._call("PUT", f"webhooks/{present[topic]['id']}", body=secret)
                activated.append(topic)
        return EffectResult(reference=address, details={"created": created, "activated": activated})


# ---------------------------------------------------------------- answers


def _object(response: Response) -> dict[str, Any] | None:
    """The JSON object in an answer; None if it is none, such as a page for people."""
    try:
        said = load_json(response.body)
    except Unreadable:
        return None
    return said if isinstance(said, dict) else None


def _said(response: Response) -> tuple[str, str]:
    """WooCommerce's code and message in a refusal, "" where something else refused."""
    said = _object(response) or {}
    code, message = said.get("code"), said.get("message")
    return (code if isinstance(code, str) else ""), (html.unescape(message)[:200] if isinstance(message, str) else "")


def _rows(response: Response) -> list[dict[str, Any]]:
    rows = response.json()
    if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_id(row.get("id")) for row in rows):
        raise Unavailable("WooCommerce answered with something else than the list that was asked for.")
    return rows


def _one(response: Response, member: str = "id") -> dict[str, Any]:
    said = response.json()
    if not isinstance(said, dict) or member not in said:
        raise Unavailable("WooCommerce answered with something else than what was asked for.")
    return said


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _total(response: Response) -> int | None:
    text = response.headers.get("X-WP-Total", "")
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else None


def _body(record: Mapping[str, Any]) -> bytes:
    # PHP wrote every fraction from a double, so a double gives it back digit by digit.
    return json.dumps(record, default=float, ensure_ascii=False, separators=(",", ":")).encode()


def _is_number(external_id: str) -> bool:
    return re.fullmatch(r"[0-9]{1,19}", external_id) is not None


def _path_id(external_id: str) -> str:
    """An id fit to stand in an address. Raises NotFound: whatever else it is, WooCommerce has nothing of that name."""
    if not _is_number(external_id):
        raise NotFound(f"WooCommerce has no id “{external_id[:40]}”.")
    return external_id


# ---------------------------------------------------------------- times


def _modified(row: Mapping[str, Any]) -> datetime | None:
    return _moment(row.get("date_modified_gmt"))


def _moment(text: Any) -> datetime | None:
    try:
        moment: datetime | None = UtcMoment(assume_utc=True, allow_none=True).deserialize(text or None)
    except ValidationError:
        return None
    return moment


def _stamp(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def _between(after: datetime | None, before: datetime | None = None) -> dict[str, str]:
    """The bounds of a query, both exclusive.

    WooCommerce reads a time without a zone in the shop's own, which loses or repeats hours of orders; the zone and
    ``dates_are_gmt`` each prevent that.
    """
    bounds = {"modified_after": _stamp(after), "modified_before": _stamp(before), "dates_are_gmt": "true"}
    return {name: bound for name, bound in bounds.items() if bound} if after else {}


# ---------------------------------------------------------------- stock


def _batches(refs: Iterable[StockRef]) -> Iterator[tuple[str, Sequence[str]]]:
    """The listings' ids in batches that one call can carry, with their parent product ("" for those without one)."""
    families: dict[str, list[str]] = {}
    for ref in refs:
        parent = ref.handles.get("parent", "")
        if _is_number(ref.listing_external_id) and (not parent or _is_number(parent)):
            families.setdefault(parent, []).append(ref.listing_external_id)
    for parent, members in families.items():
        for start in range(0, len(members), PER_PAGE):
            yield parent, members[start : start + PER_PAGE]


def _tracked_quantity(row: Mapping[str, Any]) -> int | None:
    quantity = row.get("stock_quantity")
    return quantity if row.get("manage_stock") is True and _is_id(quantity) else None


def _outcomes(ids: Iterable[str], answered: Any) -> dict[str, PushOutcome]:
    items = answered if isinstance(answered, list) else []
    told = {str(item.get("id")): _outcome(item) for item in items if isinstance(item, dict)}
    silence = PushOutcome(PushState.RETRY, message="WooCommerce's answer left this product out.")
    return {external_id: told.get(external_id, silence) for external_id in ids}


def _outcome(item: Mapping[str, Any]) -> PushOutcome:
    error = item.get("error")
    if isinstance(error, dict):
        return _item_refusal(str(error.get("code", "")), html.unescape(str(error.get("message", ""))), error)
    if item.get("manage_stock") is not True:
        return PushOutcome(
            PushState.REJECTED,
            message="WooCommerce does not count the stock of this product. Edit it there and switch on stock "
            "management, for a variation on the variation itself, or unbind the listing here.",
        )
    return PushOutcome(PushState.WRITTEN, _tracked_quantity(item))


def _item_refusal(code: str, message: str, error: Mapping[str, Any]) -> PushOutcome:
    if code.endswith("_invalid_id"):
        return PushOutcome(PushState.GONE, message="WooCommerce does not have this product any more.")
    if code == "woocommerce_rest_invalid_product_id":
        return PushOutcome(
            PushState.REJECTED,
            message="WooCommerce says that this is a variation of another product. Import the listings again.",
        )
    details = error.get("data")
    status = details.get("status") if isinstance(details, dict) else None
    state = PushState.RETRY if isinstance(status, int) and status >= 500 else PushState.REJECTED
    return PushOutcome(state, message=f"WooCommerce refused the quantity: {message or code}")
