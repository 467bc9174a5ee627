"""What a simulated WooCommerce shop keeps, and the shapes in which its API shows it: as recorded from a real one."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from hub.testing import Customer

VERSION = "11.0.1"

# WooCommerce's own statuses of orders; plugins add to them.
STATUSES = (
    "auto-draft",
    "pending",
    "processing",
    "on-hold",
    "completed",
    "cancelled",
    "refunded",
    "failed",
    "checkout-draft",
)

# Who buys, unless somebody else is named; and all that an address holds.
CUSTOMER: Mapping[str, str] = {
    "first_name": "Ada",
    "last_name": "Byron",
    "company": "",
    "address_1": "1 High St",
    "address_2": "",
    "city": "Leeds",
    "state": "",
    "postcode": "LS1 1AA",
    "country": "GB",
    "email": "ada@shop.example",
    "phone": "+44 113 000 0000",
}


def written(customer: Customer) -> Mapping[str, str]:
    """A customer as an order has them."""
    address = customer.address
    first, _, last = address.name.rpartition(" ")
    return {
        "first_name": first,
        "last_name": last,
        "company": address.company,
        "address_1": address.line1,
        "address_2": address.line2,
        "city": address.city,
        "state": address.region,
        "postcode": address.postcode,
        "country": address.country,
        "email": customer.email,
        "phone": address.phone,
    }


# What an answer holds besides what the shop keeps: the values of a plain product.
SALE_DATES = ("date_on_sale_from", "date_on_sale_from_gmt", "date_on_sale_to", "date_on_sale_to_gmt")
SELLABLE: Mapping[str, Any] = {
    **dict.fromkeys(SALE_DATES),
    "description": "",
    "global_unique_id": "",
    "sale_price": "",
    "on_sale": False,
    "purchasable": True,
    "virtual": False,
    "downloadable": False,
    "downloads": [],
    "download_limit": -1,
    "download_expiry": -1,
    "tax_status": "taxable",
    "tax_class": "",
    "backorders": "no",
    "backorders_allowed": False,
    "backordered": False,
    "low_stock_amount": None,
    "weight": "",
    "dimensions": {"length": "", "width": "", "height": ""},
    "shipping_class": "",
    "shipping_class_id": 0,
    "menu_order": 0,
}
PRODUCT: Mapping[str, Any] = {
    **SELLABLE,
    "featured": False,
    "catalog_visibility": "visible",
    "short_description": "",
    "external_url": "",
    "button_text": "",
    "sold_individually": False,
    "shipping_required": True,
    "shipping_taxable": True,
    "reviews_allowed": True,
    "average_rating": "0.00",
    "rating_count": 0,
    "upsell_ids": [],
    "cross_sell_ids": [],
    "purchase_note": "",
    "categories": [],
    "brands": [],
    "tags": [],
    "images": [],
    "default_attributes": [],
    "grouped_products": [],
    "price_html": "",
    "has_options": False,
    "post_password": "",
}
ORDER: Mapping[str, Any] = {
    "parent_id": 0,
    "version": VERSION,
    "prices_include_tax": False,
    "discount_total": "0.00",
    "discount_tax": "0.00",
    "shipping_tax": "0.00",
    "cart_tax": "0.00",
    "total_tax": "0.00",
    "customer_id": 0,
    "payment_method": "bacs",
    "payment_method_title": "Bank",
    "transaction_id": "",
    "customer_ip_address": "",
    "customer_user_agent": "",
    "created_via": "rest-api",
    "cart_hash": "",
    "tax_lines": [],
    "fee_lines": [],
    "coupon_lines": [],
    "is_editable": False,
    "needs_payment": False,
    "needs_processing": True,
    "currency_symbol": "€",
}

# ---------------------------------------------------------------- what it keeps


@dataclass
class Product:
    """A product, a variation (then ``parent`` is set and ``name`` its option), or the parent of variations."""

    id: int
    name: str
    sku: str
    price: str
    created: datetime
    modified: datetime
    type: str = "simple"
    parent: int = 0
    manage_stock: bool | str = True
    quantity: int | None = 0
    status: str = "publish"
    weight: str = ""
    picture: str = ""  # where it is shown
    meta: dict[str, str] = field(default_factory=dict)  # what plugins keep with it

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass
class Line:
    """A line of an order: ``reduced`` units are taken out of stock (None: not yet), ``restocked`` were put back."""

    id: int
    product: Product
    quantity: int
    total: Decimal
    reduced: int | None = None
    restocked: int = 0


@dataclass
class Refund:
    """Money paid back: for units, each with an id of its own, its line, how many, and the money; for ``shipping``; and
    ``beside`` for nothing in particular. ``paid``: by the way it came, else it is only noted."""

    id: int
    created: datetime
    reason: str
    lines: list[tuple[int, Line, int, Decimal]] = field(default_factory=list)
    shipping: Decimal = Decimal(0)
    beside: Decimal = Decimal(0)
    paid: bool = False

    @property
    def modified(self) -> datetime:
        return self.created

    @property
    def amount(self) -> Decimal:
        return sum((money for _, _, _, money in self.lines), self.shipping + self.beside)


@dataclass
class Order:
    """An order; ``status`` is whatever the shop, or a plugin of it, calls it."""

    id: int
    status: str
    created: datetime
    modified: datetime
    lines: list[Line]
    shipping: Decimal
    shipping_line: int
    address: Mapping[str, str]
    meta: list[dict[str, Any]]
    paid: datetime | None = None
    payment_method: str = "bacs"
    note: str = ""
    completed: datetime | None = None
    refunds: list[Refund] = field(default_factory=list)
    status_before_trash: str = ""
    fulfillments: list[dict[str, Any]] = field(default_factory=list)
    trackings: list[dict[str, str]] = field(default_factory=list)  # of the plugin, as it keeps them
    notes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shown_meta(self) -> list[dict[str, Any]]:
        """Its meta data with what WooCommerce and the plugin note there themselves."""
        noted: dict[str, Any] = {}
        if self.fulfillments:
            units: dict[int, int] = {}
            for fulfillment in self.fulfillments:
                items = next(entry["value"] for entry in fulfillment["meta_data"] if entry["key"] == "_items")
                for item in items:
                    units[item["item_id"]] = units.get(item["item_id"], 0) + item["qty"]
            done = all(units.get(line.id, 0) >= line.quantity for line in self.lines)
            noted["_fulfillment_status"] = "fulfilled" if done else "partially_fulfilled"
        if self.trackings:
            noted["_wc_shipment_tracking_items"] = self.trackings
        return [*self.meta, *({"id": 0, "key": key, "value": value} for key, value in noted.items())]

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), self.shipping)


@dataclass
class Webhook:
    """A subscription to one topic; ``failures`` in a row end in ``status`` disabled."""

    id: int
    topic: str
    delivery_url: str
    secret: str
    name: str
    status: str
    created: datetime
    modified: datetime | None = None
    failures: int = 0


@dataclass
class Shop:
    """All of it. ``site`` is the shop's address, ``zone`` the one in which it writes times that name none."""

    site: str
    title: str
    currency: str
    zone: tzinfo
    random: random.Random
    products: dict[int, Product] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    webhooks: dict[int, Webhook] = field(default_factory=dict)

    def order_json(self, order: Order) -> dict[str, Any]:
        """As a webhook and every order endpoint show it."""
        key = f"wc_order_{hashlib.sha256(str(order.id).encode()).hexdigest()[:13]}"
        shipping = {
            "id": order.shipping_line,
            "method_title": "Flat Rate",
            "method_id": "flat_rate",
            "instance_id": "",
            "total": _money(order.shipping),
            "total_tax": "0.00",
            "taxes": [],
            "tax_status": "taxable",
            "meta_data": [],
        }
        return {
            **ORDER,
            "id": order.id,
            "number": str(order.id),
            "status": order.status,
            "payment_method": order.payment_method,
            "customer_note": order.note,
            "currency": self.currency,
            **self._times(created=order.created, modified=order.modified, paid=order.paid, completed=order.completed),
            "shipping_total": _money(order.shipping),
            "total": _money(order.total),
            "order_key": key,
            "billing": {name: order.address.get(name, "") for name in CUSTOMER},
            "shipping": {name: order.address.get(name, "") for name in CUSTOMER if name != "email"},
            "meta_data": order.shown_meta,
            "line_items": [self._line_json(line) for line in order.lines],
            "shipping_lines": [shipping] if order.shipping_line else [],
            "refunds": [
                {"id": refund.id, "reason": refund.reason, "total": _money(-refund.amount), "total_tax": "0.00"}
                for refund in order.refunds
            ],
            "payment_url": f"{self.site}/checkout/order-pay/{order.id}/?pay_for_order=true&key={key}",
            "_links": self._links(f"orders/{order.id}", "orders"),
        }

    def _line_json(self, line: Line) -> dict[str, Any]:
        parent = self.products.get(line.product.parent)
        meta = {"_reduced_stock": line.reduced, "_restock_refunded_items": line.restocked or None}
        return {
            **self._item_json(line.id, line, line.quantity, line.total),
            "meta_data": [_meta_json(line.id, name, value) for name, value in meta.items() if value is not None],
            "parent_name": parent.name if parent else None,
        }

    def _item_json(self, id: int, line: Line, quantity: int, total: Decimal) -> dict[str, Any]:
        product = line.product
        each = line.total / line.quantity if line.quantity else Decimal(0)
        return {
            "id": id,
            "name": self._full_name(product),
            "product_id": product.parent or product.id,
            "variation_id": product.id if product.parent else 0,
            "quantity": quantity,
            "tax_class": "",
            "subtotal": _money(total),
            "subtotal_tax": "0.00",
            "total": _money(total),
            "total_tax": "0.00",
            "taxes": [],
            "sku": product.sku,
            "global_unique_id": "",
            "price": int(each) if each == int(each) else each,
            "image": {"id": 0 if product.parent else "", "src": ""},
        }

    def refund_json(self, order: Order, refund: Refund) -> dict[str, Any]:
        """With its lines, whose quantities and amounts are below zero."""
        return {
            "id": refund.id,
            **self._times(created=refund.created),
            "amount": _money(refund.amount),
            "reason": refund.reason,
            "refunded_by": 1,
            "refunded_payment": refund.paid,
            "meta_data": [_meta_json(refund.id, "_refund_type", "partial")],
            "line_items": [
                {
                    **self._item_json(id, line, -units, -money),
                    "meta_data": [_meta_json(id, "_refunded_item_id", line.id)],
                    "parent_name": None,
                }
                for id, line, units, money in refund.lines
            ],
            "shipping_lines": [
                {"id": refund.id, "method_title": "Flat Rate", "total": _money(-refund.shipping), "total_tax": "0.00"}
            ]
            if refund.shipping
            else [],
            "tax_lines": [],
            "fee_lines": [],
            "_links": self._links(f"orders/{order.id}/refunds/{refund.id}", f"orders/{order.id}/refunds"),
        }

    def product_json(self, product: Product) -> dict[str, Any]:
        """As a webhook and the product endpoints show it, variations too."""
        variations = [other.id for other in self.products.values() if other.parent == product.id]
        others = [other for other in self.products if other != product.id]
        return {
            **PRODUCT,
            **self._sellable_json(product),
            "name": self._full_name(product),
            "slug": product.slug,
            "total_sales": 0,
            "images": _images_json(product),
            "attributes": self._options_json(product),
            "variations": variations,
            # Picked anew for every answer.
            "related_ids": self.random.sample(others, min(4, len(others))),
            "_links": self._links(f"products/{product.id}", "products"),
        }

    def variation_json(self, product: Product) -> dict[str, Any]:
        """As the endpoints below its parent show it."""
        return {
            **SELLABLE,
            **self._sellable_json(product),
            "name": product.name,
            "image": None,
            "gallery_image_ids": [],
            "attributes": self._options_json(product),
            "_links": self._links(
                f"products/{product.parent}/variations/{product.id}", f"products/{product.parent}/variations"
            ),
        }

    def _options_json(self, product: Product) -> list[dict[str, Any]]:
        """What makes a variation differ from the others."""
        return [{"id": 0, "name": "Option", "slug": "option", "option": product.name}] if product.parent else []

    def _sellable_json(self, product: Product) -> dict[str, Any]:
        return {
            "id": product.id,
            "type": product.type,
            "status": product.status,
            "permalink": f"{self.site}/product/{product.slug}/",
            **self._times(created=product.created, modified=product.modified),
            "sku": product.sku,
            "price": product.price,
            "regular_price": product.price,
            "manage_stock": product.manage_stock,
            "stock_quantity": product.quantity,
            "stock_status": "instock" if product.quantity != 0 else "outofstock",
            "parent_id": product.parent,
            "weight": product.weight,
            "meta_data": [_meta_json(product.id, key, value) for key, value in product.meta.items()],
        }

    def _full_name(self, product: Product) -> str:
        parent = self.products.get(product.parent)
        return f"{parent.name} - {product.name}" if parent else product.name

    def webhook_json(self, webhook: Webhook) -> dict[str, Any]:
        """Everything but its secret, which is never shown again."""
        resource, _, event = webhook.topic.partition(".")
        return {
            "id": webhook.id,
            "name": webhook.name,
            "status": webhook.status,
            "topic": webhook.topic,
            "resource": resource,
            "event": event,
            "hooks": [],
            "delivery_url": webhook.delivery_url,
            **self._times(created=webhook.created, modified=webhook.modified),
            "_links": self._links(f"webhooks/{webhook.id}", "webhooks"),
        }

    def _times(self, **moments: datetime | None) -> dict[str, str | None]:
        """Each time twice: in the shop's zone, and with ``_gmt`` in UTC. Neither says which."""
        said: dict[str, str | None] = {}
        for name, moment in moments.items():
            for suffix, zone in (("", self.zone), ("_gmt", UTC)):
                local = moment.astimezone(zone).replace(tzinfo=None).isoformat() if moment else None
                said[f"date_{name}{suffix}"] = local
        return said

    def _links(self, own: str, collection: str) -> dict[str, Any]:
        api = f"{self.site}/wp-json/wc/v3"
        return {"self": [{"href": f"{api}/{own}"}], "collection": [{"href": f"{api}/{collection}"}]}


def _images_json(product: Product) -> list[dict[str, Any]]:
    if not product.picture:
        return []
    return [{"id": product.id, "src": product.picture, "name": product.name, "alt": ""}]


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _meta_json(id: int, key: str, value: Any) -> dict[str, Any]:
    return {"id": id, "key": key, "value": str(value), "display_key": key, "display_value": str(value)}
