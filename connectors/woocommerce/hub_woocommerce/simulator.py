"""A simulated WooCommerce 11 shop: the rules of its REST API, its webhooks, its customers and its admin."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from hub.errors import Unreadable
from hub.testing.simulator import Attempt, Customer, Sale, ShopSimulator, SimRequest, SimResponse
from hub_woocommerce import simulator_authorization as authorization
from hub_woocommerce import simulator_itself as itself
from hub_woocommerce import simulator_refunds as refunds
from hub_woocommerce import simulator_shipments as shipments
from hub_woocommerce.simulator_answers import (
    Answer,
    Refusal,
    choice,
    gone,
    invalid,
    listed,
    number,
    stranger,
    unauthenticated,
)
from hub_woocommerce.simulator_shop import CUSTOMER, STATUSES, VERSION, Line, Order, Product, Refund, Shop, written

TIMESTAMP_WINDOW = 15 * 60
MOST_PER_PAGE = 100
PICTURES = "wp-content/uploads/2026/03/"
MOST_PER_BATCH = 100
MOST_FAILURES = 5

# Asked by anybody, with or without a key.
PUBLIC = (r"wc/v3/orders/statuses", r"wc-shipment-tracking/v3/shipment-trackings/providers")

PRODUCT_STATUSES = ("any", "future", "trash", "draft", "pending", "private", "publish")
ORDERBY = ("date", "id", "include", "title", "slug", "modified")
# An order's goods leave the stock when it reaches one of the first statuses, and return when it reaches the second.
TAKES_STOCK = ("processing", "on-hold", "completed")
GIVES_BACK = ("cancelled", "pending")


class WooCommerceSimulator(ShopSimulator):
    """One shop.

    ``site`` is the address it knows itself by; its scheme decides how keys are checked, as in the real thing.
    ``timezone`` is the one it reads times in that name none. ``permission`` is that of its key: read, write or
    read_write. ``hpos`` is False for a shop that keeps its orders as WordPress posts. It has the feature
    ``fulfillments`` and the plugin that ``tracks_parcels`` or not, ``statuses`` that plugins added (slug: name), and
    weighs in ``weight_unit``. ``permalinks`` is False where they are plain.
    """

    consumer_key = "ck_1f0c6a4b2d"
    consumer_secret = "cs_9e8d7c6b5a"
    webhook_retries = ()  # WooCommerce sends each webhook once

    def __init__(
        self,
        *,
        site: str = "https://woo.example",
        title: str = "Woo Example",
        currency: str = "EUR",
        timezone: str = "UTC",
        permission: str = "read_write",
        hpos: bool = True,
        fulfillments: bool = True,
        tracks_parcels: bool = False,
        statuses: Mapping[str, str] | None = None,
        weight_unit: str = "kg",
        version: str = VERSION,
        permalinks: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        parts = urlsplit(site)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.permission = permission
        self.hpos = hpos
        self.fulfillments = fulfillments
        self.tracks_parcels = tracks_parcels
        self.statuses = dict(statuses or {})
        self.weight_unit = weight_unit
        self.version = version
        self.permalinks = permalinks
        self._customer: Customer | None = None
        self._pictures: dict[str, bytes] = {}  # by their paths below the shop's
        self.handed_out: dict[str, tuple[str, str]] = {}  # keys made with one click: secret and permission
        self._folder = f"{parts.path.rstrip('/')}/"
        self._secure = parts.scheme == "https"
        self.shop = Shop(site.rstrip("/"), title, currency, _zone(timezone), self._random)
        self._nonces: set[tuple[str, str]] = set()
        self._last_id = {"post": 9}

    def next_id(self, kind: str = "post") -> int:
        """Orders, products and refunds are all posts to WordPress, and share one numbering."""
        self._last_id[kind] = self._last_id.get(kind, 0) + 1
        return self._last_id[kind]

    def token(self) -> str:
        """Forty characters that nobody can guess, and that are the same for the same seed."""
        return f"{self._random.getrandbits(160):040x}"

    def second(self) -> datetime:
        """Now: WooCommerce keeps no more than the second."""
        return self.now().astimezone(UTC).replace(microsecond=0)

    # ------------------------------------------------------------ its customers and its admin

    def settings(self) -> dict[str, str]:
        return {
            "site": self.shop.site,
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
        }

    def add_product(self, sku: str, title: str, stock: int, price: str) -> str:
        with self.lock:
            return str(self._add(title, sku, price, stock).id)

    def add_variable_product(self, title: str, variations: Sequence[tuple[str, str, int, str]]) -> str:
        """Put a product up for sale that comes in (option, SKU, stock, price); returns the id of their parent."""
        with self.lock:
            parent = self._add(title, "", "", None, type="variable", manage_stock=False)
            for option, sku, stock, price in variations:
                self._add(option, sku, price, stock, type="variation", parent=parent.id)
            return str(parent.id)

    def _add(self, name: str, sku: str, price: str, stock: int | None, **more: Any) -> Product:
        now = self.second()
        product = Product(self.next_id(), name, sku, price, now, now, quantity=stock, **more)
        self.shop.products[product.id] = product
        self._send("product.created", self.shop.product_json(product))
        return product

    def manage_stock(self, external_id: str, managed: bool | str) -> None:
        """Somebody switches stock management of a product on or off, or to "parent"."""
        with self.lock:
            product = self.shop.products[int(external_id)]
            product.manage_stock = managed
            product.quantity = (product.quantity or 0) if managed is True else None
            self._product_changed(product)

    def trash_product(self, external_id: str) -> None:
        """Somebody moves a product to the bin."""
        with self.lock:
            product = self.shop.products[int(external_id)]
            product.status, product.modified = "trash", self.second()
            self._send("product.deleted", {"id": product.id})

    def restore_product(self, external_id: str) -> None:
        """Somebody takes a product out of the bin."""
        with self.lock:
            product = self.shop.products[int(external_id)]
            product.status, product.modified = "publish", self.second()
            self._send("product.restored", self.shop.product_json(product))

    def stock(self) -> dict[str, int]:
        with self.lock:
            return {
                product.sku: product.quantity or 0
                for product in self.shop.products.values()
                if product.manage_stock is True and product.status == "publish"
            }

    def set_stock(self, sku: str, quantity: int) -> None:
        with self.lock:
            self._set_quantity(self._by_sku(sku), quantity)

    def _by_sku(self, sku: str) -> Product:
        return next(product for product in self.shop.products.values() if product.sku == sku)

    def buy(self, items: Sequence[tuple[str, int]]) -> Sale | None:
        with self.lock:
            wanted: dict[str, int] = {}
            for sku, quantity in items:
                wanted[sku] = wanted.get(sku, 0) + quantity
            stock = self.stock()
            if any(stock.get(sku, quantity) < quantity for sku, quantity in wanted.items()):
                return None
            bought = [(self._by_sku(sku), quantity) for sku, quantity in items]
            if (comes := self._customer) is None:
                order = self._place(bought, status="processing")
            else:
                status = "on-hold" if comes.pays_later else "processing"
                order = self._place(bought, status=status, billing=written(comes), note=comes.note)
            return Sale(str(order.id), tuple((sku, quantity) for sku, quantity in items), time.monotonic())

    def goes_abroad(self, sku: str, weight_grams: int, origin_country: str, hs_code: str) -> bool:
        with self.lock:
            product = self._by_sku(sku)
            product.weight = str(Decimal(weight_grams) / 1000)
            product.meta = {"_hs_code": hs_code, "_country_of_origin": origin_country}
            self._product_changed(product)
            return True

    def show_picture(self, sku: str, content: bytes) -> bool:
        with self.lock:
            product = self._by_sku(sku)
            path = f"{PICTURES}{product.id}.png"
            self._pictures[path] = content
            product.picture = f"{self.shop.site}/{path}"
            self._product_changed(product)
            return True

    def customer_comes(self, customer: Customer) -> None:
        with self.lock:
            self._customer = customer

    def orders(self) -> set[str]:
        with self.lock:
            return {str(id) for id in self.shop.orders}

    def cancel(self, order: str) -> None:
        self.set_status(order, "cancelled")

    def fulfill(self, order: str) -> None:
        self.set_status(order, "completed")

    def set_status(self, order: str, status: str) -> None:
        """Somebody, or a plugin with a status of its own, moves an order on."""
        with self.lock:
            self._move(self.shop.orders[int(order)], status)

    def touch(self, order: str) -> None:
        """Something about an order changes that nobody needs to know, such as a note."""
        with self.lock:
            self.order_changed(self.shop.orders[int(order)])

    def refund(self, order: str, units: Sequence[tuple[str, int]], *, restock: bool = True) -> str:
        """Somebody refunds units (SKU, quantity) of an order; returns the refund's id."""
        with self.lock:
            found = self.shop.orders[int(order)]
            lines = [
                (next(line for line in found.lines if line.product.sku == sku), quantity) for sku, quantity in units
            ]
            return str(self._refund(found, lines, restock).id)

    def trash(self, order: str) -> None:
        """Somebody moves an order to the bin: it vanishes from the lists, and its goods stay taken."""
        with self.lock:
            found = self.shop.orders[int(order)]
            found.status_before_trash, found.status, found.modified = found.status, "trash", self.second()
            self._send("order.deleted", {"id": found.id})
            if not self.hpos:
                self._send("product.deleted", {"id": found.id})

    def restore(self, order: str) -> None:
        """Somebody takes an order out of the bin."""
        with self.lock:
            found = self.shop.orders[int(order)]
            found.status, found.modified = found.status_before_trash, self.second()
            self._send("order.restored", self.shop.order_json(found))

    def approve(self, address: str) -> str:
        """The merchant follows an address that asks for a key, and approves; returns where the browser goes then."""
        with self.lock:
            return authorization.approve(self, address)

    def deny(self, address: str) -> str:
        """The merchant says no; returns where the browser goes then."""
        return authorization.deny(address)

    def delete(self, order: str) -> None:
        """Somebody deletes an order for good, of which a shop with its own order tables tells nobody."""
        with self.lock:
            del self.shop.orders[int(order)]

    # ------------------------------------------------------------ what follows from what

    def _place(
        self,
        items: Iterable[tuple[Product, int]],
        *,
        status: str,
        shipping: Decimal = Decimal(0),
        billing: Mapping[str, str] = CUSTOMER,
        meta: Iterable[Mapping[str, Any]] = (),
        note: str = "",
    ) -> Order:
        now = self.second()
        order = Order(
            id=self.next_id(),
            status=status,
            created=now,
            modified=now,
            lines=[
                Line(self.next_id("item"), product, quantity, Decimal(product.price) * quantity)
                for product, quantity in items
            ],
            shipping=shipping,
            shipping_line=self.next_id("item") if shipping else 0,
            address=billing,
            meta=[{"id": self.next_id("item"), "key": entry["key"], "value": entry["value"]} for entry in meta],
            # An order that is "on-hold" has its goods put aside, and waits for the money.
            paid=now if status in TAKES_STOCK and status != "on-hold" else None,
            note=note,
        )
        self.shop.orders[order.id] = order
        changed = self._move_stock(order)
        # Both are written when the request that placed the order has ended, and so are the same.
        self._send("order.created", self.shop.order_json(order))
        self._send("order.updated", self.shop.order_json(order))
        self._products_changed(changed)
        return order

    def _move(self, order: Order, status: str) -> None:
        order.status = status
        if status == "completed":
            order.completed = self.second()
        if status in TAKES_STOCK:
            order.paid = order.paid or self.second()
        changed = self._move_stock(order)
        self.order_changed(order)
        self._products_changed(changed)

    def _move_stock(self, order: Order) -> list[Product]:
        """Take an order's goods out of stock, or put them back, as its status asks; the products that changed."""
        changed = []
        for line in order.lines:
            product = line.product
            if product.manage_stock is not True:
                continue
            if order.status in TAKES_STOCK and line.reduced is None:
                line.reduced = line.quantity
                product.quantity = (product.quantity or 0) - line.quantity
                changed.append(product)
            elif order.status in GIVES_BACK and line.reduced is not None:
                product.quantity = (product.quantity or 0) + line.reduced
                line.reduced = None
                changed.append(product)
        return changed

    def _refund(self, order: Order, units: Sequence[tuple[Line, int]], restock: bool) -> Refund:
        refund = Refund(self.next_id(), self.second(), reason="")
        for line, quantity in units:
            money = line.total / line.quantity * quantity
            refund.lines.append((self.next_id("item"), line, quantity, money))
        self.paid_back(order, refund, restock=restock)
        return refund

    def paid_back(self, order: Order, refund: Refund, *, restock: bool) -> None:
        """Keep a refund, and put its units back where they were taken from."""
        for _, line, quantity, _ in refund.lines:
            if restock and line.reduced is not None:
                line.reduced -= quantity
                line.restocked += quantity
                self._set_quantity(line.product, (line.product.quantity or 0) + quantity)
        order.refunds.append(refund)
        if sum(each.amount for each in order.refunds) == order.total:
            order.status = "refunded"
        self.order_changed(order)

    def order_changed(self, order: Order) -> None:
        """Note that an order is another now, and tell whoever listens."""
        order.modified = self.second()
        self._send("order.updated", self.shop.order_json(order))

    def _products_changed(self, products: Iterable[Product]) -> None:
        for product in products:
            self._product_changed(product)

    def _product_changed(self, product: Product) -> None:
        product.modified = self.second()
        self._send("product.updated", self.shop.product_json(product))

    def _set_quantity(self, product: Product, quantity: int) -> None:
        product.quantity = quantity
        self._product_changed(product)

    # ------------------------------------------------------------ webhooks out

    def _send(self, topic: str, resource: Mapping[str, Any]) -> None:
        kind, _, event = topic.partition(".")
        # PHP escapes slashes, and everything that is not ASCII.
        body = json.dumps(resource, default=float, separators=(",", ":")).replace("/", r"\/").encode()
        for webhook in self.shop.webhooks.values():
            if webhook.topic != topic or webhook.status != "active":
                continue
            signature = hmac.digest(webhook.secret.encode(), body, hashlib.sha256)
            # Of the webhook and the second: whatever else happens in that second gets the same.
            delivery = hashlib.sha256(f"{webhook.id} {int(self.now().timestamp())}".encode()).hexdigest()[:32]
            headers = {
                "User-Agent": f"WooCommerce/{VERSION} Hookshot (WordPress/7.0.4)",
                "Content-Type": "application/json",
                "X-WC-Webhook-Source": f"{self.shop.site}/",
                "X-WC-Webhook-Topic": topic,
                "X-WC-Webhook-Resource": kind,
                "X-WC-Webhook-Event": event,
                "X-WC-Webhook-Signature": base64.b64encode(signature).decode(),
                "X-WC-Webhook-ID": str(webhook.id),
                "X-WC-Webhook-Delivery-ID": delivery,
            }
            self.deliver(webhook.delivery_url, headers, body)

    def delivered(self, attempt: Attempt, *, final: bool) -> None:
        webhook = self.shop.webhooks.get(int(attempt.headers.get("X-WC-Webhook-ID", 0)))
        if webhook is None:
            if attempt.status != 200 and "charset" in attempt.headers["Content-Type"]:
                # A key that did not arrive is deleted again.
                self.handed_out.pop(json.loads(attempt.body)["consumer_key"], None)
            return
        # Redirects are not followed, yet pass for a success.
        if attempt.status is not None and 200 <= attempt.status < 303:
            webhook.failures = 0
            return
        webhook.failures += 1
        if webhook.failures > MOST_FAILURES:
            webhook.status = "disabled"

    # ------------------------------------------------------------ requests in

    def answer(self, request: SimRequest) -> SimResponse:
        path = request.path.removeprefix(self._folder)
        if path == request.path or not (self.permalinks and path.startswith("wp-json/")):
            return self._page(request, path)
        try:
            status, value, more = self._answer(request, path.removeprefix("wp-json/").strip("/"))
        except Refusal as refusal:
            status, value, more = refusal.status, refusal.error, {}
        except Unreadable:
            status, more = 400, {}
            value = {"code": "rest_invalid_json", "message": "Invalid JSON body passed.", "data": {"status": 400}}
        if status < 400 and request.parameter("_fields"):
            value = _only(value, request.parameter("_fields").split(","))
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "Link": f'<{self.shop.site}/wp-json/>; rel="https://api.w.org/"',
            **more,
        }
        return SimResponse.of_json(value, status, headers)

    def _page(self, request: SimRequest, path: str) -> SimResponse:
        """A page for people; every page of WordPress names the address of its interface."""
        if path.startswith(authorization.ROOT):
            return authorization.answer(self, request, path.removeprefix(authorization.ROOT))
        if path in self._pictures:
            return SimResponse(200, {"Content-Type": "image/png"}, self._pictures[path])
        root = f"{self.shop.site}/wp-json/" if self.permalinks else f"{self.shop.site}/index.php?rest_route=/"
        headers = {"Content-Type": "text/html; charset=UTF-8"}
        if request.path.startswith(self._folder):
            headers["Link"] = f'<{root}>; rel="https://api.w.org/"'
        if not path:
            return SimResponse(200, headers, b"<!doctype html><html><title>Shop</title></html>")
        return SimResponse(404, headers, b"<!doctype html><html><title>Page not found</title></html>")

    def _answer(self, request: SimRequest, path: str) -> Answer:
        if not path:
            return 200, self._index(request), {}
        for methods, pattern, handler in (*self._ROUTES, *shipments.ROUTES, *refunds.ROUTES, *itself.ROUTES):
            found = re.fullmatch(pattern, path)
            if found and request.method in methods.split():
                if pattern not in PUBLIC:
                    self._authenticate(request)
                return handler(self, request, *(int(part) if part.isdecimal() else part for part in found.groups()))
        raise Refusal(404, "rest_no_route", "No route was found matching the URL and request method.")

    def _index(self, request: SimRequest) -> dict[str, Any]:
        if self._secure and "authorization" in request.headers:
            # Here it is WordPress itself that reads the header: as a user, and a password for one application.
            raise Refusal(401, "invalid_username", "Unknown username. Check again or try your email address.")
        return {
            "name": self.shop.title,
            "description": "",
            "url": self.shop.site,
            "home": self.shop.site,
            "timezone_string": str(self.shop.zone),
            "namespaces": ["oembed/1.0", "wc/v3", "wp/v2"],
        }

    # --- keys

    def _authenticate(self, request: SimRequest) -> None:
        permission = self._check_basic(request) if self._secure else self._check_signature(request)
        needed = "read" if request.method in ("GET", "HEAD") else "write"
        if needed not in permission:
            raise unauthenticated(f"The API key provided does not have {needed} permissions.")

    def _keys(self) -> dict[str, tuple[str, str]]:
        """Each key with its secret and its permission."""
        return {self.consumer_key: (self.consumer_secret, self.permission), **self.handed_out}

    def _check_basic(self, request: SimRequest) -> str:
        for key, (secret, permission) in self._keys().items():
            pair = base64.b64encode(f"{key}:{secret}".encode()).decode()
            if request.headers.get("authorization") == f"Basic {pair}":
                return permission
        raise stranger(request)

    def _check_signature(self, request: SimRequest) -> str:
        given = dict(request.query)
        secret, permission = self._keys().get(given.get("oauth_consumer_key", ""), ("", ""))
        if not permission:
            raise stranger(request)
        signature = given.pop("oauth_signature", "")
        method = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}.get(given.get("oauth_signature_method", ""))
        if method is None:
            raise unauthenticated("Invalid signature - signature method is invalid.")
        # The shop signs the address it knows itself by, whatever the request was sent to.
        pairs = sorted((_quoted(name), _quoted(value)) for name, value in given.items())
        text = "&".join(f"{name}={value}" for name, value in pairs)
        base = f"{request.method}&{_quoted(self.origin + request.path)}&{_quoted(text)}"
        digest = hmac.digest(f"{secret}&".encode(), base.encode(), method)
        if base64.b64encode(digest).decode() != signature:
            raise unauthenticated("Invalid signature - provided signature does not match.")
        used = (given.get("oauth_timestamp", ""), given.get("oauth_nonce", ""))
        if not used[0].isdecimal() or abs(int(used[0]) - self.now().timestamp()) > TIMESTAMP_WINDOW:
            raise unauthenticated("Invalid timestamp.")
        if used in self._nonces:
            raise unauthenticated("Invalid nonce - nonce has already been used.")
        self._nonces.add(used)
        return permission

    # --- lists

    def page_of(
        self,
        request: SimRequest,
        rows: Iterable[Any],
        shape: Callable[[Any], Mapping[str, Any]],
        orderby: Sequence[str] = ORDERBY,
    ) -> Answer:
        """The page of a list that was asked for, with how many there are in the headers."""
        per_page = number(request, "per_page", 10, low=1, high=MOST_PER_PAGE)
        page = number(request, "page", 1, low=1)
        start = number(request, "offset", (page - 1) * per_page, low=0)
        by = choice(request, "orderby", "date", orderby)
        descending = choice(request, "order", "desc", ("asc", "desc")) == "desc"
        included = [int(id) for id in request.parameter("include").split(",") if id.isdecimal()]
        found = [row for row in rows if not included or row.id in included]
        # In what order rows come that are equal in what they are sorted by, the database does not say.
        self._random.shuffle(found)
        keys: dict[str, Callable[[Any], Any]] = {
            "date": lambda row: row.created,
            "modified": lambda row: row.modified,
        }
        found.sort(key=keys.get(by, lambda row: row.id), reverse=descending)
        pages = -(-len(found) // per_page)
        headers = {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(pages)}
        if page < pages:
            query = urlencode([*(pair for pair in request.query if pair[0] != "page"), ("page", page + 1)])
            headers["Link"] = f'<{self.origin}{request.path}?{query}>; rel="next"'
        return 200, [shape(row) for row in found[start : start + per_page]], headers

    def _changed_within(self, request: SimRequest, rows: Iterable[Any]) -> list[Any]:
        """The rows whose time of change lies between the bounds, both of which are exclusive."""
        after, before = self._moment(request, "modified_after"), self._moment(request, "modified_before")
        return [
            row for row in rows if (after is None or row.modified > after) and (before is None or row.modified < before)
        ]

    def _moment(self, request: SimRequest, name: str) -> datetime | None:
        text = request.parameter(name)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise invalid(name, "rest_invalid_date", f"{name} is not a valid date.") from None
        if moment.tzinfo is None:
            gmt = request.parameter("dates_are_gmt") in ("true", "1")
            moment = moment.replace(tzinfo=UTC if gmt else self.shop.zone)
        return moment.astimezone(UTC).replace(microsecond=0)

    # --- orders

    def _get_orders(self, request: SimRequest) -> Answer:
        asked = request.parameter("status", "any").split(",")
        for status in asked:
            if status not in ("any", "trash", *STATUSES, *self.statuses):
                message = f"status[0] is not one of any, trash, {listed(STATUSES)}."
                raise invalid("status[0]", "rest_not_in_enum", message)
        rows = [
            order
            for order in self.shop.orders.values()
            if order.status in asked or ("any" in asked and order.status not in ("trash", "auto-draft"))
        ]
        return self.page_of(request, self._changed_within(request, rows), self.shop.order_json)

    def _get_order(self, request: SimRequest, id: int) -> Answer:
        return 200, self.shop.order_json(self._order(id)), {}

    def _order(self, id: int) -> Order:
        if id not in self.shop.orders:
            raise gone("shop_order")
        return self.shop.orders[id]

    def _post_order(self, request: SimRequest) -> Answer:
        """Place an order; whatever the request says of idempotency, a second one places a second order."""
        asked = request.json()
        items = [
            (self._product(item.get("variation_id") or item["product_id"]), item["quantity"])
            for item in asked.get("line_items", ())
        ]
        order = self._place(
            items,
            status="processing" if asked.get("set_paid") else "pending",
            shipping=sum((Decimal(line["total"]) for line in asked.get("shipping_lines", ())), Decimal(0)),
            billing=asked.get("billing", {}),
            meta=asked.get("meta_data", ()),
        )
        return 201, self.shop.order_json(order), {}

    def _put_order(self, request: SimRequest, id: int) -> Answer:
        order, asked = self._order(id), request.json()
        status = asked.get("status", order.status)
        if status not in (*STATUSES, *self.statuses, order.status):
            raise invalid("status", "rest_not_in_enum", f"status is not one of {listed(STATUSES)}.")
        for entry in asked.get("meta_data", ()):
            self._keep_meta(order, entry)
        if status == order.status:
            self.order_changed(order)
        else:
            self._move(order, status)
        return 200, self.shop.order_json(order), {}

    def _keep_meta(self, order: Order, entry: Mapping[str, Any]) -> None:
        """Write one entry of an order's meta data: by its id, else by its key; null deletes one that is named by id."""
        same = "id" if entry.get("id") else "key"
        found = next((each for each in order.meta if each[same] == entry[same]), None)
        if found is None:
            order.meta.append({"id": self.next_id("item"), "key": entry["key"], "value": entry["value"]})
        elif entry["value"] is None and same == "id":
            order.meta.remove(found)
        else:
            found["value"] = entry["value"]

    def _delete_order(self, request: SimRequest, id: int) -> Answer:
        order = self._order(id)
        said = self.shop.order_json(order)  # even then with the status it had
        if request.parameter("force") in ("true", "1"):
            self.delete(str(id))
        else:
            self.trash(str(id))
        return 200, said, {}

    def _get_refunds(self, request: SimRequest, id: int) -> Answer:
        order = self._order(id)
        return self.page_of(request, order.refunds, lambda refund: self.shop.refund_json(order, refund))

    # --- products

    def _get_products(self, request: SimRequest) -> Answer:
        status = choice(request, "status", "any", PRODUCT_STATUSES)
        skus = [sku for sku in request.parameter("sku").split(",") if sku]
        rows = [
            product
            for product in self.shop.products.values()
            # Only who asks by SKU is shown variations among the products.
            if (product.sku in skus if skus else product.type != "variation")
            and (product.status == status or (status == "any" and product.status != "trash"))
        ]
        return self.page_of(request, self._changed_within(request, rows), self.shop.product_json)

    def _get_product(self, request: SimRequest, id: int) -> Answer:
        return 200, self.shop.product_json(self._product(id)), {}

    def _product(self, id: Any) -> Product:
        if id not in self.shop.products:
            raise gone("product")
        return self.shop.products[id]

    def _put_product(self, request: SimRequest, id: int) -> Answer:
        product = self._product(id)
        self._update(product, request.json())
        return 200, self.shop.product_json(product), {}

    def _batch_products(self, request: SimRequest) -> Answer:
        return self._batch(request, self._own_product, self.shop.product_json)

    def _own_product(self, id: Any) -> Product:
        product = self.shop.products.get(id)
        if product is None:
            raise gone("product", status=400)
        if product.type == "variation":
            raise Refusal(
                404,
                "woocommerce_rest_invalid_product_id",
                "To manipulate product variations you should use the "
                "/products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint.",
            )
        return product

    def _get_variations(self, request: SimRequest, parent: int) -> Answer:
        rows = [product for product in self.shop.products.values() if product.parent == parent]
        return self.page_of(request, self._changed_within(request, rows), self.shop.variation_json)

    def _batch_variations(self, request: SimRequest, parent: int) -> Answer:
        def variation(id: Any) -> Product:
            product = self.shop.products.get(id)
            if product is None or product.parent != parent:
                raise gone("product_variation")
            return product

        return self._batch(request, variation, self.shop.variation_json)

    def _batch(
        self,
        request: SimRequest,
        find: Callable[[Any], Product],
        shape: Callable[[Product], Mapping[str, Any]],
    ) -> Answer:
        items = request.json().get("update") or []
        if len(items) > MOST_PER_BATCH:
            message = f"Unable to accept more than {MOST_PER_BATCH} items for this request."
            raise Refusal(413, "woocommerce_rest_request_entity_too_large", message)
        done: list[Mapping[str, Any]] = []
        for item in items:
            try:
                product = find(item.get("id"))
                self._update(product, item)
                done.append(shape(product))
            except Refusal as refusal:
                done.append({"id": item.get("id"), "error": refusal.error})
        return 200, {"update": done} if done else [], {}

    def _update(self, product: Product, asked: Mapping[str, Any]) -> None:
        """Write the quantity asked for: any whole number, last write wins; without a word nothing if none is kept."""
        if "stock_quantity" not in asked:
            return
        if not re.fullmatch(r"-?[0-9]+", str(asked["stock_quantity"])):
            message = "stock_quantity is not of type integer."
            raise invalid("stock_quantity", "rest_invalid_type", message, {"param": "stock_quantity"})
        if product.manage_stock is True:
            self._set_quantity(product, int(asked["stock_quantity"]))
            self.wrote_stock(product.sku, int(asked["stock_quantity"]))

    _ROUTES: ClassVar[Sequence[tuple[str, str, Callable[..., Answer]]]] = (
        ("GET", r"wc/v3/orders", _get_orders),
        ("POST", r"wc/v3/orders", _post_order),
        ("GET", r"wc/v3/orders/(\d+)", _get_order),
        ("PUT POST PATCH", r"wc/v3/orders/(\d+)", _put_order),
        ("GET", r"wc/v3/orders/(\d+)/refunds", _get_refunds),
        ("GET", r"wc/v3/products", _get_products),
        ("POST PUT PATCH", r"wc/v3/products/batch", _batch_products),
        ("GET", r"wc/v3/products/(\d+)", _get_product),
        ("PUT POST PATCH", r"wc/v3/products/(\d+)", _put_product),
        ("GET", r"wc/v3/products/(\d+)/variations", _get_variations),
        ("POST PUT PATCH", r"wc/v3/products/(\d+)/variations/batch", _batch_variations),
        ("DELETE", r"wc/v3/orders/(\d+)", _delete_order),
    )


def _only(value: Any, names: Sequence[str]) -> Any:
    """What `_fields` leaves of an answer; "settings.currency" names a member of a member."""
    if isinstance(value, list):
        return [_only(item, names) for item in value]
    kept: dict[str, Any] = {}
    for name in names:
        outer, _, inner = name.partition(".")
        if outer in value:
            kept[outer] = {**kept.get(outer, {}), **_only(value[outer], [inner])} if inner else value[outer]
    return kept


def _zone(name: str) -> tzinfo:
    # Not every system brings a database of time zones, and most shops of tests need none.
    return UTC if name == "UTC" else ZoneInfo(name)


def _quoted(text: str) -> str:
    return quote(text, safe="~")
