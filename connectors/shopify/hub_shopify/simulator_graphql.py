"""The simulated shop's Admin API: what its schema's fields answer, and what a document costs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute_sync,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
)

from hub import Address
from hub_shopify.simulator_model import (
    PROVINCES,
    Fulfillment,
    Line,
    Order,
    Refund,
    Return,
    Subscription,
    Variant,
    gid,
    iso,
    plain,
)

if TYPE_CHECKING:
    from hub_shopify.simulator import ShopifySimulator

MOST_COST = 1000
SHOWN_TO_ALL = timedelta(days=60)
MOST_AT_ONCE = 250
BY_HAND = ("manual", "bank_deposit", "cash_on_delivery")  # gateways through which no money goes back by itself

SCHEMA = build_schema((resources.files("hub_shopify") / "simulator.graphql").read_text())

Info: TypeAlias = "GraphQLResolveInfo[Any]"
_T = TypeVar("_T")

IN_BULK: ContextVar[bool] = ContextVar("IN_BULK", default=False)

# ---------------------------------------------------------------- the API's fields


class Api:
    """The root of every query and mutation: one method per field, in the vendor's spelling.

    Objects are dicts of their fields; what takes arguments or costs work is a function that is called when asked for.
    """

    def __init__(self, shop: ShopifySimulator) -> None:
        self._shop = shop

    def _need(self, *scopes: str) -> None:
        granted = {*self._shop.scopes, *(scope.replace("write_", "read_", 1) for scope in self._shop.scopes)}
        if granted.isdisjoint(scopes):
            needed = " or ".join(f"`{scope}` access scope" for scope in scopes)
            raise GraphQLError(
                "Access denied. Required access: " + needed,
                extensions={"code": "ACCESS_DENIED", "requiredAccess": f"{needed}."},
            )

    # --- the account

    def shop(self, info: Info) -> dict[str, Any]:
        shop = self._shop
        return {
            "id": gid("Shop", shop.shop_id),
            "name": "Demo shop",
            "currencyCode": shop.currency,
            "myshopifyDomain": shop.domain,
        }

    def currentAppInstallation(self, info: Info) -> dict[str, Any]:
        scopes = [{"handle": scope, "description": scope.replace("_", " ")} for scope in self._shop.scopes]
        return {"id": gid("AppInstallation", 1), "accessScopes": scopes}

    def locations(self, info: Info, **paging: Any) -> dict[str, Any]:
        self._need("read_locations")
        return _connection(sorted(self._shop.locations), lambda id: [id], self._location, paging)

    def _location(self, id: int) -> dict[str, Any]:
        return {**ids("Location", id), "name": self._shop.locations[id], "isActive": True}

    # --- nodes

    def node(self, info: Info, id: str) -> dict[str, Any] | None:
        kind, _, number = id.removeprefix("gid://shopify/").partition("/")
        if not number.isdigit():
            raise GraphQLError(f"Invalid global id '{id}'")
        shop, key = self._shop, int(number)
        if kind == "Order":
            return self.order(info, id)
        if kind == "ProductVariant":
            return self.productVariant(info, id)
        if kind == "InventoryItem":
            return self.inventoryItem(info, id)
        if kind == "Location":
            return self._location(key) if key in shop.locations else None
        if kind == "Refund":
            self._need("read_orders")
            refunds = (each for order in shop.sold.values() for each in order.refunds)
            return next((self._refund(each) for each in refunds if each.id == key), None)
        if kind == "LineItem":
            self._need("read_orders")
            lines = (each for order in shop.sold.values() for each in order.lines)
            return next((self._line(each) for each in lines if each.id == key), None)
        if kind == "Return":
            self._need("read_returns")
            returns = ((order, each) for order in shop.sold.values() for each in order.returns)
            return next((self._return(order, each) for order, each in returns if each.id == key), None)
        if kind == "BulkOperation":
            return self.bulkOperation(info, id)
        if kind == "Fulfillment":
            self._need("read_orders")
            every = (each for order in shop.sold.values() for each in order.fulfillments)
            return next((self._fulfillment(each) for each in every if each.id == key), None)
        return None

    def nodes(self, info: Info, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        if len(ids) > MOST_AT_ONCE:
            raise too_many("ids", len(ids))
        return [self.node(info, id) for id in ids]

    # --- orders

    def order(self, info: Info, id: str) -> dict[str, Any] | None:
        self._need("read_orders")
        order = self._shop.sold.get(legacy(id, "Order"))
        return self._order(order) if order and self.may_see(order) else None

    def may_see(self, order: Order) -> bool:
        """Whether the app may: only some apps are shown what is older than 60 days."""
        return "read_all_orders" in self._shop.scopes or order.created_at >= self._shop.now() - SHOWN_TO_ALL

    def orders(
        self, info: Info, query: str | None = None, sortKey: str = "PROCESSED_AT", **paging: Any
    ) -> dict[str, Any]:
        self._need("read_orders")
        found = self._search(query)
        if sortKey == "UPDATED_AT":
            return _connection(
                found, lambda each: [iso(each[0]), each[1].id], lambda each: self._order(each[1]), paging
            )
        return _connection(
            sorted(found, key=lambda each: each[1].id),
            lambda each: [each[1].id],
            lambda each: self._order(each[1]),
            paging,
        )

    def bulkOperationRunQuery(self, info: Info, query: str, groupObjects: bool) -> dict[str, Any]:
        return self._shop.bulk.run(query, grouped=groupObjects)

    def bulkOperationCancel(self, info: Info, id: str) -> dict[str, Any]:
        return self._shop.bulk.cancel(legacy(id, "BulkOperation"))

    def bulkOperation(self, info: Info, id: str) -> dict[str, Any] | None:
        return self._shop.bulk.shown(legacy(id, "BulkOperation"))

    def bulkOperations(
        self, info: Info, query: str | None = None, sortKey: str = "CREATED_AT", **paging: Any
    ) -> dict[str, Any]:
        shown = self._shop.bulk.all()
        return _connection(shown, lambda each: [-legacy(each["id"], "BulkOperation")], lambda each: each, paging)

    def ordersCount(self, info: Info, query: str | None = None, limit: int | None = None) -> dict[str, Any]:
        self._need("read_orders")
        return _count(len(self._search(query)), limit)

    def _search(self, query: str | None) -> list[tuple[datetime, Order]]:
        """The orders that the search index knows by now, with the mark it knows, oldest mark first."""
        since = datetime.min.replace(tzinfo=UTC)
        if query:
            term = re.fullmatch(r"updated_at:>='([^']+)'", query)
            if term is None:
                raise GraphQLError(f"The simulation does not know the search “{query}”.")
            since = datetime.fromisoformat(term[1])
        now = self._shop.now()
        known = []
        for order in self._shop.sold.values():
            mark = next((mark for visible, mark in reversed(order.marks) if visible <= now), None)
            if mark is not None and mark >= since and self.may_see(order):
                known.append((mark, order))
        return sorted(known, key=lambda each: (each[0], each[1].id))

    def _order(self, order: Order) -> dict[str, Any]:
        money = self._money
        return {
            "__typename": "Order",
            **ids("Order", order.id),
            "name": f"#{order.number}",
            "createdAt": iso(order.created_at),
            "processedAt": iso(order.created_at),
            "updatedAt": iso(order.updated_at),
            "cancelledAt": order.cancelled_at and iso(order.cancelled_at),
            "closed": order.closed_at is not None,
            "test": order.test,
            "displayFinancialStatus": order.financial,
            "displayFulfillmentStatus": order.fulfillment,
            "currencyCode": self._shop.currency,
            "taxesIncluded": False,
            "email": order.customer.email,
            "note": order.note or None,
            "tags": list(order.tags),
            "sourceName": order.source or None,
            "app": {"id": gid("App", 1), "name": order.app},
            "customAttributes": _attributes(order.attributes),
            "paymentGatewayNames": list(order.gateways),
            "returnStatus": order.return_status,
            "risk": {
                "recommendation": order.advice,
                "assessments": [
                    {
                        "riskLevel": each.level,
                        "facts": [{"sentiment": how, "description": words} for how, words in each.facts],
                    }
                    for each in order.assessments
                ],
            },
            "shippingLine": {
                "id": gid("ShippingLine", order.id),
                "title": order.shipping_method,
                "discountAllocations": [],
            }
            if order.ships
            else None,
            "transactions": lambda info, first=None: self._transactions(order)[:first],
            "returns": lambda info, **paging: self._returns(order, paging),
            "totalReceivedSet": lambda info: money(sum((amount for _, amount in order.paid), Decimal(0))),
            "totalPriceSet": lambda info: self._total(order),
            "totalShippingPriceSet": lambda info: money(order.shipping),
            "totalTaxSet": lambda info: money(order.tax),
            "totalDiscountsSet": lambda info: money(order.discount),
            "totalTipReceivedSet": lambda info: money(order.tip),
            "originalTotalDutiesSet": lambda info: money(order.duties) if order.duties else None,
            "originalTotalAdditionalFeesSet": lambda info: money(order.fees) if order.fees else None,
            "totalRefundedSet": lambda info: money(order.refunded),
            "shippingAddress": _address(order.customer.address) if order.ships else None,
            "billingAddress": _address(order.customer.address) if order.ships else None,
            "lineItems": lambda info, **paging: _connection(
                order.lines, lambda line: [line.id], lambda line: self._line(line, order.code), paging
            ),
            "refunds": lambda info, first=None: [self._refund(each) for each in order.refunds[:first]],
            "fulfillments": lambda info, first=None: [self._fulfillment(each) for each in order.fulfillments[:first]],
        }

    def _line(self, line: Line, code: str = "") -> dict[str, Any]:
        reason = {"__typename": "DiscountCodeApplication", "index": 0, "code": code}
        if not code:
            reason = {"__typename": "AutomaticDiscountApplication", "index": 0, "title": "Sale"}
        discounts = (
            [{"allocatedAmountSet": self._money(line.discount), "discountApplication": reason}] if line.discount else []
        )
        variant = line.variant
        return {
            "__typename": "LineItem",
            "id": gid("LineItem", line.id),
            "name": line.name,
            "title": line.name,
            "sku": variant.sku if variant else None,
            "quantity": line.quantity,
            "currentQuantity": line.current,
            "refundableQuantity": line.current,
            "unfulfilledQuantity": line.open,
            "requiresShipping": not line.gift_card,
            "isGiftCard": line.gift_card,
            "vendor": line.vendor or None,
            "customAttributes": _attributes(line.attributes),
            "variant": self._variant(variant) if variant and variant.id in self._shop.variants else None,
            "originalUnitPriceSet": self._money(line.price),
            "discountAllocations": discounts,
            "taxLines": lambda info, first=None: [{"title": "VAT", "priceSet": self._money(line.tax)}],
        }

    def _refund(self, refund: Refund) -> dict[str, Any]:
        def part(numbered: tuple[int, tuple[Line, int, str]]) -> dict[str, Any]:
            number, (line, quantity, how) = numbered
            id = gid("RefundLineItem", refund.id + number)
            return {"id": id, "quantity": quantity, "restockType": how.upper(), "lineItem": self._line(line)}

        return {
            **ids("Refund", refund.id),
            "createdAt": iso(refund.at),
            "__typename": "Refund",
            "note": refund.note or None,
            "totalRefundedSet": self._money(refund.amount),
            "refundLineItems": lambda info, **paging: _connection(
                list(enumerate(refund.items)), lambda each: [each[0]], part, paging
            ),
        }

    def _returns(self, order: Order, paging: Mapping[str, Any]) -> dict[str, Any]:
        self._need("read_returns")
        return _connection(order.returns, lambda each: [each.id], lambda each: self._return(order, each), paging)

    def _return(self, order: Order, coming: Return) -> dict[str, Any]:
        def part(numbered: tuple[int, tuple[Line, int]]) -> dict[str, Any]:
            number, (line, quantity) = numbered
            return {
                "__typename": "ReturnLineItem",
                "id": gid("ReturnLineItem", coming.id + number),
                "quantity": quantity,
                "returnReasonDefinition": {"id": gid("ReturnReasonDefinition", 1), "name": coming.reason},
                "fulfillmentLineItem": {"id": gid("FulfillmentLineItem", line.id), "lineItem": self._line(line)},
            }

        return {
            "__typename": "Return",
            "id": gid("Return", coming.id),
            "name": f"#{order.number}-R{order.returns.index(coming) + 1}",
            "status": coming.status,
            "order": lambda info: self._order(order),
            "returnLineItems": lambda info, **paging: _connection(
                list(enumerate(coming.items)), lambda each: [each[0]], part, paging
            ),
        }

    def _transactions(self, order: Order) -> list[dict[str, Any]]:
        return [
            {
                "id": gid("OrderTransaction", order.id + number),
                "kind": "SALE",
                "status": "SUCCESS",
                "gateway": gateway,
                "manualPaymentGateway": gateway in BY_HAND,
                "amountSet": self._money(amount),
            }
            for number, (gateway, amount) in enumerate(order.paid)
        ]

    def _total(self, order: Order) -> dict[str, Any]:
        total = self._money(order.total)
        if order.presentment:
            currency, rate = order.presentment
            total["presentmentMoney"] = {"amount": plain(order.total * rate), "currencyCode": currency}
        return total

    def _fulfillment(self, fulfillment: Fulfillment) -> dict[str, Any]:
        def part(numbered: tuple[int, tuple[Line, int]]) -> dict[str, Any]:
            number, (line, quantity) = numbered
            id = gid("FulfillmentLineItem", fulfillment.id + number)
            return {"id": id, "quantity": quantity, "lineItem": self._line(line)}

        items = list(enumerate(fulfillment.items))
        return {
            "__typename": "Fulfillment",
            **ids("Fulfillment", fulfillment.id),
            "createdAt": iso(fulfillment.at),
            "status": "CANCELLED" if fulfillment.cancelled else "SUCCESS",
            "fulfillmentLineItems": lambda info, **paging: _connection(items, lambda each: [each[0]], part, paging),
        }

    def _money(self, amount: Decimal) -> dict[str, Any]:
        money = {"amount": plain(amount), "currencyCode": self._shop.currency}
        return {"shopMoney": money, "presentmentMoney": money}

    # --- listings and stock

    def productVariant(self, info: Info, id: str) -> dict[str, Any] | None:
        self._need("read_products")
        variant = self._shop.variants.get(legacy(id, "ProductVariant"))
        return self._variant(variant) if variant else None

    def productVariants(
        self, info: Info, query: str | None = None, sortKey: str = "ID", **paging: Any
    ) -> dict[str, Any]:
        self._need("read_products")
        return _connection(self._chosen(query), lambda variant: [variant.id], self._variant, paging)

    def productVariantsCount(self, info: Info, query: str | None = None, limit: int | None = None) -> dict[str, Any]:
        self._need("read_products")
        return _count(len(self._chosen(query)), limit)

    def _chosen(self, query: str | None) -> list[Variant]:
        after = 0
        if query:
            term = re.fullmatch(r"id:>(\d+)", query)
            if term is None:
                raise GraphQLError(f"The simulation does not know the search “{query}”.")
            after = int(term[1])
        return [variant for id, variant in sorted(self._shop.variants.items()) if id > after]

    def inventoryItem(self, info: Info, id: str) -> dict[str, Any] | None:
        self._need("read_inventory", "read_products")
        variant = self._shop._by_item.get(legacy(id, "InventoryItem"))
        return self._item(variant) if variant else None

    def _variant(self, variant: Variant) -> dict[str, Any]:
        return {
            "__typename": "ProductVariant",
            **ids("ProductVariant", variant.id),
            "title": "Default Title",
            "sku": variant.sku,
            "barcode": variant.barcode or None,
            "price": plain(variant.price),
            "updatedAt": iso(variant.updated_at),
            "media": lambda info, **paging: _connection([], lambda id: [id], lambda id: {}, paging),
            "product": {
                **ids("Product", variant.product_id),
                "title": variant.title,
                "status": variant.status,
                "featuredMedia": _picture(variant),
            },
            "inventoryItem": lambda info: self._item(variant),
        }

    def _item(self, variant: Variant) -> dict[str, Any]:
        def seen(includeInactive: bool) -> list[int]:
            return sorted(id for id, level in variant.levels.items() if level.active or includeInactive)

        def levels(info: Info, includeInactive: bool = False, **paging: Any) -> dict[str, Any]:
            self._need("read_inventory")
            return _connection(seen(includeInactive), lambda id: [id], lambda id: self._level(variant, id), paging)

        def level(info: Info, locationId: str, includeInactive: bool = False) -> dict[str, Any] | None:
            self._need("read_inventory")
            location = legacy(locationId, "Location")
            return self._level(variant, location) if location in seen(includeInactive) else None

        return {
            "__typename": "InventoryItem",
            **ids("InventoryItem", variant.item_id),
            "sku": variant.sku,
            "tracked": variant.tracked,
            "measurement": {
                "id": gid("InventoryItemMeasurement", variant.item_id),
                "weight": {"value": float(variant.weight_grams), "unit": "GRAMS"},
            },
            "countryCodeOfOrigin": variant.origin_country or None,
            "harmonizedSystemCode": variant.hs_code or None,
            "inventoryLevels": levels,
            "inventoryLevel": level,
        }

    def _level(self, variant: Variant, location: int) -> dict[str, Any]:
        kept = variant.levels[location]
        amounts = {"available": kept.available, "committed": kept.committed, "on_hand": kept.available + kept.committed}
        return {
            "__typename": "InventoryLevel",
            "id": f"{gid('InventoryLevel', location)}?inventory_item_id={variant.item_id}",
            "item": lambda info: self._item(variant),
            "isActive": kept.active,
            "location": self._location(location),
            "quantities": lambda info, names: [
                {"id": f"{gid('InventoryQuantity', location)}?name={name}", "name": name, "quantity": amounts[name]}
                for name in names
                if name in amounts
            ],
        }

    # --- webhooks

    def webhookSubscriptions(self, info: Info, **paging: Any) -> dict[str, Any]:
        subscriptions = list(self._shop.subscriptions.values())
        return _connection(subscriptions, lambda each: [each.id], _subscription, paging)

    def webhookSubscriptionCreate(self, info: Info, topic: str, webhookSubscription: dict[str, Any]) -> dict[str, Any]:
        shop, uri = self._shop, webhookSubscription.get("uri") or ""
        parts = urlsplit(uri)
        # Shopify wants HTTPS; a hub on this machine has none.
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            return {"userErrors": [{"field": ["webhookSubscription", "uri"], "message": "Address is invalid"}]}
        if any((each.topic, each.uri) == (topic, uri) for each in shop.subscriptions.values()):
            taken = "Address for this topic has already been taken"
            return {"userErrors": [{"field": ["webhookSubscription", "uri"], "message": taken}]}
        if not shop.may_hear(topic):
            words = f"You do not have permission to create or update webhooks with {topic.lower()} topic."
            return {"userErrors": [{"field": ["topic"], "message": words}]}
        made = Subscription(next(shop._ids), topic, uri, webhookSubscription.get("name") or "")
        shop.subscriptions[made.id] = made
        return {"webhookSubscription": _subscription(made), "userErrors": []}

    def webhookSubscriptionDelete(self, info: Info, id: str) -> dict[str, Any]:
        if self._shop.subscriptions.pop(legacy(id, "WebhookSubscription"), None) is None:
            return {"userErrors": [{"field": ["id"], "message": "Webhook subscription does not exist"}]}
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}


# ---------------------------------------------------------------- small things


def ids(kind: str, id: int) -> dict[str, Any]:
    return {"id": gid(kind, id), "legacyResourceId": str(id)}


def legacy(gid: str, kind: str) -> int:
    """The number of an id; -1 where it is an id of something else."""
    found = re.fullmatch(rf"gid://shopify/{kind}/(\d+)", gid)
    return int(found[1]) if found else -1


def _attributes(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in attributes.items()]


def _address(address: Address) -> dict[str, str]:
    first, _, last = address.name.rpartition(" ")
    return {
        "firstName": first,
        "lastName": last,
        "name": address.name,
        "company": address.company,
        "address1": address.line1,
        "address2": address.line2,
        "city": address.city,
        "province": PROVINCES.get(address.region, address.region),
        "provinceCode": address.region,
        "zip": address.postcode,
        "countryCodeV2": address.country,
        "phone": address.phone,
    }


def _subscription(each: Subscription) -> dict[str, Any]:
    return {**ids("WebhookSubscription", each.id), "topic": each.topic, "uri": each.uri, "format": "JSON"}


def user_errors(errors: Iterable[tuple[str | None, list[str] | None, str]]) -> dict[str, Any]:
    return {"userErrors": [{"code": code, "field": path, "message": words} for code, path, words in errors]}


def too_many(name: str, count: int) -> GraphQLError:
    return GraphQLError(
        f"The input array size of {count} for {name} is greater than the maximum allowed of {MOST_AT_ONCE}.",
        extensions={"code": "MAX_INPUT_SIZE_EXCEEDED"},
    )


def _count(count: int, limit: int | None) -> dict[str, Any]:
    most = count if limit is None else min(count, limit)
    return {"count": most, "precision": "EXACT" if most == count else "AT_LEAST"}


def _connection(
    things: Sequence[_T],
    key: Callable[[_T], list[Any]],
    view: Callable[[_T], dict[str, Any]],
    paging: Mapping[str, Any],
) -> dict[str, Any]:
    """A page of ``things``, which are in the order of ``key``; a cursor is the key of the thing it comes after.

    In a bulk operation there are no pages.
    """
    first, after = paging.get("first"), paging.get("after")
    if IN_BULK.get():
        return {"edges": [{"node": view(thing), "cursor": ""} for thing in things]}
    if first is None:
        raise GraphQLError("You must provide one of first or last.", extensions={"code": "BAD_REQUEST"})
    if not 0 < first <= MOST_AT_ONCE:
        raise GraphQLError(f"first must be between 1 and {MOST_AT_ONCE}.", extensions={"code": "BAD_REQUEST"})
    rest = list(things)
    if after:
        at = json.loads(base64.urlsafe_b64decode(after))
        rest = [thing for thing in things if key(thing) > at]
    page = rest[:first]
    cursors = [base64.urlsafe_b64encode(json.dumps(key(thing)).encode()).decode() for thing in (*page[:1], *page[-1:])]
    nodes = [view(thing) for thing in page]
    return {
        "nodes": nodes,
        "edges": [{"node": node, "cursor": ""} for node in nodes],
        "pageInfo": {
            "hasNextPage": len(rest) > len(page),
            "hasPreviousPage": bool(after),
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


# ---------------------------------------------------------------- documents and what they cost


@lru_cache(maxsize=256)
def _document(text: str) -> tuple[DocumentNode | None, list[GraphQLError]]:
    try:
        document = parse(text, max_tokens=20_000)
    except GraphQLError as error:
        return None, [error]
    return document, validate(SCHEMA, document)


def _picture(variant: Variant) -> dict[str, Any] | None:
    """The picture of a product with one variant is the product's."""
    if not variant.picture:
        return None
    image = {"__typename": "MediaPreviewImage", "image": {"url": variant.picture}}
    return {"__typename": "MediaImage", "id": gid("MediaImage", variant.product_id), "preview": image}


def requested_cost(document: DocumentNode, variables: Mapping[str, Any]) -> int:
    """What a query costs at most: objects 1, connections 2 and their nodes as often as asked for, mutations 10."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    root = SCHEMA.get_root_type(operation.operation)

    def argument(node: FieldNode, name: str) -> Any:
        for given in node.arguments or ():
            if given.name.value == name:
                if isinstance(given.value, VariableNode):
                    return variables.get(given.value.name.value)
                return int(given.value.value) if isinstance(given.value, IntValueNode) else None
        return None

    def inside(selections: SelectionSetNode | None, parent: GraphQLNamedType | None) -> int:
        cost = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                cost += of_field(node, parent)
            elif isinstance(node, FragmentSpreadNode):
                fragment = fragments[node.name.value]
                cost += inside(fragment.selection_set, SCHEMA.get_type(fragment.type_condition.name.value))
            elif isinstance(node, InlineFragmentNode):
                kind = SCHEMA.get_type(node.type_condition.name.value) if node.type_condition else parent
                cost += inside(node.selection_set, kind)
        return cost

    def of_field(node: FieldNode, parent: GraphQLNamedType | None) -> int:
        name = node.name.value
        if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) or name.startswith("__"):
            return 0
        kind = get_named_type(parent.fields[name].type)
        if is_leaf_type(kind) or name == "pageInfo":
            return 0
        if parent is SCHEMA.mutation_type:
            return 10
        if kind.name.endswith("Connection"):
            return 2 + (argument(node, "first") or 0) * inside(node.selection_set, kind)
        ids = argument(node, "ids")
        times = len(ids) if isinstance(ids, list) else argument(node, "first") or 1
        return int(times * (1 + inside(node.selection_set, kind)))

    return inside(operation.selection_set, root)


def _actual_cost(document: DocumentNode, data: Any) -> int:
    """What a query did cost: the objects it found."""
    operation = next(each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    if operation.operation.value == "mutation":
        return 10
    return _objects(data) - 1


def _objects(found: Any) -> int:
    if isinstance(found, list):
        return sum(map(_objects, found))
    if not isinstance(found, dict):
        return 0
    own = 2 if {"nodes", "pageInfo"} & found.keys() else 1
    return own + sum(_objects(value) for name, value in found.items() if name != "pageInfo")


class Budget:
    """A shop's query points: ``rate`` are restored per second, up to ``most``."""

    def __init__(self, rate: float, most: float, now: Callable[[], datetime]) -> None:
        self._rate = rate
        self._most = most
        self._available = most
        self._now = now
        self._at = now()

    def affords(self, cost: int) -> bool:
        """Whether a query that may cost so much is let through."""
        now = self._now()
        self._available = min(self._most, self._available + self._rate * max(0.0, (now - self._at).total_seconds()))
        self._at = now
        return cost <= self._available

    def spend(self, cost: int) -> None:
        """Take what a query did cost."""
        self._available -= cost

    def told(self, requested: int, actual: int | None) -> dict[str, Any]:
        """What an answer says about its cost."""
        return {
            "requestedQueryCost": requested,
            "actualQueryCost": actual,
            "throttleStatus": {
                "maximumAvailable": self._most,
                "currentlyAvailable": int(self._available),
                "restoreRate": self._rate,
            },
        }


def execute(api: Api, budget: Budget, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a document, which is HTTP 200 whatever it says."""
    document, wrong = _document(text)
    if document is None or wrong:
        return {"errors": [error.formatted for error in wrong]}
    requested = requested_cost(document, variables)
    if requested > MOST_COST:
        words = f"Query cost is {requested}, which exceeds the single query max cost limit ({MOST_COST})."
        extensions = {"code": "MAX_COST_EXCEEDED", "cost": requested, "maxCost": MOST_COST}
        return {"errors": [{"message": words, "extensions": extensions}]}
    if not budget.affords(requested):
        throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
        return {"errors": [throttled], "extensions": {"cost": budget.told(requested, None)}}
    result = execute_sync(SCHEMA, document, root_value=api, variable_values=dict(variables))
    actual = min(requested, _actual_cost(document, result.data))
    budget.spend(actual)
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    return {**answer, "extensions": {"cost": budget.told(requested, actual)}}
