"""The bodies of the simulated shop's webhooks, in the shape of Shopify's REST API."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from hub import Address
from hub_shopify.simulator_model import PROVINCES, Fulfillment, Line, Order, Refund, Return, Variant, gid, iso, plain


def _money(amount: Decimal, currency: str) -> dict[str, Any]:
    money = {"amount": plain(amount), "currency_code": currency}
    return {"shop_money": money, "presentment_money": money}


def order_body(order: Order, currency: str) -> dict[str, Any]:
    fulfillment = {"UNFULFILLED": None, "PARTIALLY_FULFILLED": "partial", "FULFILLED": "fulfilled"}
    subtotal = sum((line.total for line in order.lines), Decimal(0))
    total = _money(order.total, currency)
    if order.presentment:
        theirs, rate = order.presentment
        total["presentment_money"] = {"amount": plain(order.total * rate), "currency_code": theirs}
    reason = {"type": "discount_code", "code": order.code} if order.code else {"type": "automatic", "title": "Sale"}
    return {
        "id": order.id,
        "admin_graphql_api_id": gid("Order", order.id),
        "name": f"#{order.number}",
        "order_number": order.number,
        "created_at": iso(order.created_at),
        "processed_at": iso(order.created_at),
        "updated_at": iso(order.updated_at),
        "cancelled_at": order.cancelled_at and iso(order.cancelled_at),
        "closed_at": order.closed_at and iso(order.closed_at),
        "confirmed": True,
        "test": order.test,
        "currency": currency,
        "presentment_currency": order.presentment[0] if order.presentment else currency,
        "taxes_included": False,
        "financial_status": order.financial.lower(),
        "fulfillment_status": fulfillment[order.fulfillment],
        "email": order.customer.email,
        "note": order.note or None,
        "note_attributes": [{"name": name, "value": value} for name, value in order.attributes.items()],
        "tags": ", ".join(order.tags),
        "source_name": order.source,
        "payment_gateway_names": list(order.gateways),
        "discount_applications": [reason] if order.discount else [],
        "subtotal_price": plain(subtotal),
        "subtotal_price_set": _money(subtotal, currency),
        "total_discounts": plain(order.discount),
        "total_discounts_set": _money(order.discount, currency),
        "total_shipping_price_set": _money(order.shipping, currency),
        "total_tax": plain(order.tax),
        "total_tax_set": _money(order.tax, currency),
        "total_tip_received": plain(order.tip),
        "total_price": plain(order.total),
        "total_price_set": total,
        "original_total_duties_set": _money(order.duties, currency) if order.duties else None,
        "original_total_additional_fees_set": _money(order.fees, currency) if order.fees else None,
        "shipping_address": _address_body(order.customer.address) if order.ships else None,
        "billing_address": _address_body(order.customer.address) if order.ships else None,
        "shipping_lines": [
            {
                "title": order.shipping_method,
                "price": plain(order.shipping),
                "price_set": _money(order.shipping, currency),
                "discount_allocations": [],
            }
        ]
        if order.ships
        else [],
        "line_items": [line_body(line, currency) for line in order.lines],
        "fulfillments": [fulfillment_body(order, each, currency) for each in order.fulfillments],
        "refunds": [refund_body(order, each, currency) for each in order.refunds],
    }


def _address_body(address: Address) -> dict[str, Any]:
    first, _, last = address.name.rpartition(" ")
    return {
        "first_name": first,
        "last_name": last,
        "name": address.name,
        "company": address.company,
        "address1": address.line1,
        "address2": address.line2,
        "city": address.city,
        "province": PROVINCES.get(address.region, address.region),
        "province_code": address.region,
        "zip": address.postcode,
        "country_code": address.country,
        "phone": address.phone,
    }


def line_body(line: Line, currency: str) -> dict[str, Any]:
    discounts = (
        [
            {
                "amount": plain(line.discount),
                "amount_set": _money(line.discount, currency),
                "discount_application_index": 0,
            }
        ]
        if line.discount
        else []
    )
    return {
        "id": line.id,
        "admin_graphql_api_id": gid("LineItem", line.id),
        "variant_id": line.variant and line.variant.id,
        "product_id": line.variant and line.variant.product_id,
        "name": line.name,
        "title": line.name,
        "sku": line.variant.sku if line.variant else "",
        "quantity": line.quantity,
        "current_quantity": line.current,
        "fulfillable_quantity": line.open,
        "fulfillment_status": "fulfilled" if line.fulfilled and not line.open else None,
        "requires_shipping": not line.gift_card,
        "gift_card": line.gift_card,
        "vendor": line.vendor or None,
        "properties": [{"name": name, "value": value} for name, value in line.attributes.items()],
        "price": plain(line.price),
        "price_set": _money(line.price, currency),
        "total_discount": "0.00",
        "total_discount_set": _money(Decimal(0), currency),
        "discount_allocations": discounts,
        "tax_lines": [{"title": "VAT", "rate": 0.1, "price": plain(line.tax), "price_set": _money(line.tax, currency)}],
    }


def fulfillment_body(order: Order, fulfillment: Fulfillment, currency: str) -> dict[str, Any]:
    return {
        "id": fulfillment.id,
        "admin_graphql_api_id": gid("Fulfillment", fulfillment.id),
        "order_id": order.id,
        "status": "cancelled" if fulfillment.cancelled else "success",
        "created_at": iso(fulfillment.at),
        "location_id": fulfillment.location,
        "tracking_company": next((each.company for each in fulfillment.tracking), None),
        "tracking_numbers": [each.number for each in fulfillment.tracking if each.number],
        "tracking_urls": [each.url for each in fulfillment.tracking if each.url],
        "line_items": [{**line_body(line, currency), "quantity": quantity} for line, quantity in fulfillment.items],
    }


def refund_body(order: Order, refund: Refund, currency: str) -> dict[str, Any]:
    transaction = {
        "id": refund.id + 1,
        "kind": "refund",
        "status": "success",
        "amount": plain(refund.amount),
        "currency": currency,
    }
    return {
        "id": refund.id,
        "admin_graphql_api_id": gid("Refund", refund.id),
        "order_id": order.id,
        "created_at": iso(refund.at),
        "note": refund.note or None,
        "refund_line_items": [
            {"line_item_id": line.id, "quantity": quantity, "restock_type": how} for line, quantity, how in refund.items
        ],
        "transactions": [transaction] if refund.amount else [],
    }


def return_body(order: Order, coming: Return) -> dict[str, Any]:
    return {
        "id": coming.id,
        "admin_graphql_api_id": gid("Return", coming.id),
        "status": coming.status.lower(),
        "order": {"id": order.id, "admin_graphql_api_id": gid("Order", order.id)},
        "total_return_line_items": len(coming.items),
    }


def risk_body(order: Order, level: str) -> dict[str, Any]:
    return {"admin_graphql_api_order_id": gid("Order", order.id), "risk_level": level.lower(), "provider_id": None}


def work_body(id: int, status: str) -> dict[str, Any]:
    """What is said of a fulfillment order that has changed: nothing of the order it belongs to."""
    return {"fulfillment_order": {"id": gid("FulfillmentOrder", id), "status": status.lower()}}


def product_body(variant: Variant) -> dict[str, Any]:
    return {
        "id": variant.product_id,
        "admin_graphql_api_id": gid("Product", variant.product_id),
        "title": variant.title,
        "status": variant.status.lower(),
        "updated_at": iso(variant.updated_at),
        "variants": [
            {
                "id": variant.id,
                "admin_graphql_api_id": gid("ProductVariant", variant.id),
                "product_id": variant.product_id,
                "inventory_item_id": variant.item_id,
                "title": "Default Title",
                "sku": variant.sku,
                "barcode": variant.barcode or None,
                "price": plain(variant.price),
                "inventory_management": "shopify" if variant.tracked else None,
                "inventory_quantity": sum(level.available for level in variant.levels.values()),
            }
        ],
    }


def level_body(variant: Variant, location: int, at: datetime) -> dict[str, Any]:
    return {
        "inventory_item_id": variant.item_id,
        "location_id": location,
        "available": variant.levels[location].available,
        "updated_at": iso(at),
        "admin_graphql_api_id": f"{gid('InventoryLevel', location)}?inventory_item_id={variant.item_id}",
    }
