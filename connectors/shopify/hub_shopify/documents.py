"""The GraphQL documents that the connector sends, each with the most it can cost by Shopify's rules.

Shopify refuses a query that could cost more than 1,000 points, whatever it finds: an object is a point, a connection
two points and its nodes as often as it is asked for. The page sizes here stay below that with some room, and tests
check the costs, the documents against Shopify's own schemas, and that nothing deprecated is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

API_VERSION = "2026-10"

SCAN_PAGE = 250  # marks of orders, the most Shopify gives at once
ORDER_BATCH = 12  # orders read at once, with their first lines
ORDER_LINES = 5  # lines that come with each of them
ORDER_LINES_ALONE = 25  # lines that come with an order asked for alone
LINES_PAGE = 90  # lines at once where an order has more
REFUNDS = 200
FULFILLMENTS = 250
FULFILLMENT_LINES_PAGE = 250
VARIANT_PAGE = 45
VARIANT_LEVELS = 5  # stock at so many locations comes with each variant
LEVELS_PAGE = 250
STOCK_BATCH = 250  # inventory items read or written at once, the most Shopify takes
LOCATIONS_PAGE = 250
SUBSCRIPTIONS_PAGE = 250


class Document(NamedTuple):
    """A query or mutation and the most points it can cost."""

    text: str
    cost: int


_MONEY = "{ shopMoney { amount currencyCode } }"
_PAGE_INFO = "pageInfo { hasNextPage endCursor }"
_ADDRESS = "{ name company address1 address2 city province provinceCode zip countryCodeV2 phone }"

_LINE = f"""
fragment Line on LineItem {{
  id name sku quantity currentQuantity unfulfilledQuantity requiresShipping
  variant {{ legacyResourceId }}
  originalUnitPriceSet {_MONEY}
  discountAllocations {{ allocatedAmountSet {_MONEY} }}
  taxLines {{ priceSet {_MONEY} }}
}}
"""

_ORDER = f"""
fragment Order on Order {{
  legacyResourceId name createdAt processedAt updatedAt cancelledAt closed test
  displayFinancialStatus displayFulfillmentStatus currencyCode taxesIncluded email note
  totalPriceSet {_MONEY}
  totalShippingPriceSet {_MONEY}
  totalTaxSet {_MONEY}
  totalDiscountsSet {_MONEY}
  totalTipReceivedSet {_MONEY}
  originalTotalDutiesSet {_MONEY}
  originalTotalAdditionalFeesSet {_MONEY}
  totalRefundedSet {_MONEY}
  shippingAddress {_ADDRESS}
  billingAddress {_ADDRESS}
}}
"""

_LEVEL = """
fragment Level on InventoryLevel {
  location { legacyResourceId }
  quantities(names: ["available"]) { name quantity }
}
"""

_VARIANT = f"""
fragment Variant on ProductVariant {{
  legacyResourceId title sku barcode price updatedAt
  product {{ legacyResourceId title status }}
  inventoryItem {{
    id legacyResourceId tracked
    inventoryLevels(first: {VARIANT_LEVELS}) {{ nodes {{ ...Level }} {_PAGE_INFO} }}
  }}
}}
"""

# ---------------------------------------------------------------- the account

SHOP = Document(
    """
    query Shop {
      shop { id name currencyCode myshopifyDomain }
      currentAppInstallation { accessScopes { handle } }
    }
    """,
    3,
)

LOCATIONS = Document(
    f"""
    query Locations($after: String) {{
      locations(first: {LOCATIONS_PAGE}, after: $after, includeInactive: true, includeLegacy: true) {{
        nodes {{ legacyResourceId name isActive }} {_PAGE_INFO}
      }}
    }}
    """,
    2 + LOCATIONS_PAGE,
)

# ---------------------------------------------------------------- orders

ORDERS_COUNT = Document("query OrdersCount { ordersCount(limit: null) { count } }", 1)

CHANGED_ORDERS = Document(
    f"""
    query ChangedOrders($query: String, $after: String) {{
      orders(first: {SCAN_PAGE}, after: $after, query: $query, sortKey: UPDATED_AT) {{
        nodes {{ id updatedAt }} {_PAGE_INFO}
      }}
    }}
    """,
    2 + SCAN_PAGE,
)

_LINE_COST = 10
_ORDER_COST = 21

ORDERS = Document(
    f"""
    query Orders($ids: [ID!]!) {{
      nodes(ids: $ids) {{
        ... on Order {{ id ...Order lineItems(first: {ORDER_LINES}) {{ nodes {{ ...Line }} {_PAGE_INFO} }} }}
      }}
    }}
    {_ORDER}{_LINE}
    """,
    ORDER_BATCH * (_ORDER_COST + ORDER_LINES * _LINE_COST),
)

ORDER = Document(
    f"""
    query Order($id: ID!) {{
      order(id: $id) {{ id ...Order lineItems(first: {ORDER_LINES_ALONE}) {{ nodes {{ ...Line }} {_PAGE_INFO} }} }}
    }}
    {_ORDER}{_LINE}
    """,
    _ORDER_COST + ORDER_LINES_ALONE * _LINE_COST,
)

ORDER_LINES_AFTER = Document(
    f"""
    query OrderLines($id: ID!, $after: String) {{
      order(id: $id) {{ lineItems(first: {LINES_PAGE}, after: $after) {{ nodes {{ ...Line }} {_PAGE_INFO} }} }}
    }}
    {_LINE}
    """,
    3 + LINES_PAGE * _LINE_COST,
)

ORDER_AFTERMATH = Document(
    f"""
    query OrderAftermath($id: ID!) {{
      order(id: $id) {{
        refunds(first: {REFUNDS}) {{ legacyResourceId createdAt note totalRefundedSet {_MONEY} }}
        fulfillments(first: {FULFILLMENTS}) {{ id status }}
      }}
    }}
    """,
    1 + REFUNDS * 3 + FULFILLMENTS,
)

FULFILLMENT_LINES = Document(
    f"""
    query FulfillmentLines($id: ID!, $after: String) {{
      node(id: $id) {{
        ... on Fulfillment {{
          fulfillmentLineItems(first: {FULFILLMENT_LINES_PAGE}, after: $after) {{
            nodes {{ quantity lineItem {{ id }} }} {_PAGE_INFO}
          }}
        }}
      }}
    }}
    """,
    3 + FULFILLMENT_LINES_PAGE * 2,
)

# ---------------------------------------------------------------- listings and stock

VARIANTS_COUNT = Document("query VariantsCount { productVariantsCount(limit: null) { count } }", 1)

_LEVEL_COST = 3
_VARIANT_COST = 5 + VARIANT_LEVELS * _LEVEL_COST

VARIANTS = Document(
    f"""
    query Variants($query: String) {{
      shop {{ currencyCode }}
      productVariants(first: {VARIANT_PAGE}, query: $query, sortKey: ID) {{ nodes {{ ...Variant }} {_PAGE_INFO} }}
    }}
    {_VARIANT}{_LEVEL}
    """,
    3 + VARIANT_PAGE * _VARIANT_COST,
)

VARIANT = Document(
    f"""
    query Variant($id: ID!) {{
      shop {{ currencyCode }}
      productVariant(id: $id) {{ ...Variant }}
    }}
    {_VARIANT}{_LEVEL}
    """,
    1 + _VARIANT_COST,
)

LEVELS_AFTER = Document(
    f"""
    query Levels($id: ID!, $after: String) {{
      inventoryItem(id: $id) {{
        inventoryLevels(first: {LEVELS_PAGE}, after: $after) {{ nodes {{ ...Level }} {_PAGE_INFO} }}
      }}
    }}
    {_LEVEL}
    """,
    3 + LEVELS_PAGE * _LEVEL_COST,
)

STOCK = Document(
    """
    query Stock($ids: [ID!]!, $location: ID!) {
      nodes(ids: $ids) {
        ... on InventoryItem {
          tracked
          inventoryLevel(locationId: $location) { quantities(names: ["available"]) { name quantity } }
        }
      }
    }
    """,
    STOCK_BATCH * 3,
)

SET_STOCK = Document(
    """
    mutation SetStock($input: InventorySetQuantitiesInput!, $key: String!) {
      inventorySetQuantities(input: $input) @idempotent(key: $key) { userErrors { code field message } }
    }
    """,
    10,
)

# ---------------------------------------------------------------- webhooks

SUBSCRIPTIONS = Document(
    f"""
    query Subscriptions($after: String) {{
      webhookSubscriptions(first: {SUBSCRIPTIONS_PAGE}, after: $after) {{ nodes {{ topic uri }} {_PAGE_INFO} }}
    }}
    """,
    2 + SUBSCRIPTIONS_PAGE,
)

SUBSCRIBE = Document(
    """
    mutation Subscribe($topic: WebhookSubscriptionTopic!, $address: String!) {
      webhookSubscriptionCreate(topic: $topic, webhookSubscription: {uri: $address, format: JSON}) {
        userErrors { field message }
      }
    }
    """,
    10,
)

ALL = {name: value for name, value in globals().items() if isinstance(value, Document)}
