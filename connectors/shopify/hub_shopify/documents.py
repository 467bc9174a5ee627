"""The GraphQL documents that the connector sends, each with the most it can cost by Shopify's rules.

Shopify refuses a query that could cost more than 1,000 points, whatever it finds: an object is a point, a connection
two points and its nodes as often as it is asked for. The page sizes here stay below that with some room, and tests
check the costs, the documents against Shopify's own schemas, and that nothing deprecated is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

API_VERSION = "2026-10"

SCAN_PAGE = 250  # marks of orders, the most Shopify gives at once
ORDER_BATCH = 7  # orders read at once, with their first lines
ORDER_LINES = 5  # lines that come with each of them
ORDER_LINES_ALONE = 10  # lines that come with an order asked for alone: webhooks have many asked for
LINES_PAGE = 80  # lines at once where an order has more
ORDER_SHIPMENTS = 2  # shipments that come with an order: where there are two, all are asked for
ORDER_WORK = 2  # fulfillment orders that come with each order, with so many of their lines
WORK_LINES = 5
WORK_ALONE = 3
WORK_LINES_ALONE = 8
WORK_PAGE = 10
WORK_LINES_PAGE = 200
REFUNDS = 150
FULFILLMENTS = 250
RETURNS = 30
TRANSACTIONS = 50
PART_BATCH = 7  # refunds, shipments and returns whose lines are read at once
PART_LINES = 15
PART_LINES_PAGE = 200
OPERATIONS = 10
DEALT_OUT_PAGE = 3  # fulfillment orders of an order read at once, with so many of their lines
DEALT_OUT_LINES_PAGE = 30
DEALT_OUT_LINES_ALONE = 100
SHIPPED = 20  # shipments of an order among which one is looked for; where there are so many, among all of them
SHIPPED_AT_MOST = 250
SHIPMENT_LINES = 50
SHIPMENT_CALL = 512  # lines shipped in one call, the most Shopify takes
REFUND_CALL = 250  # lines refunded in one call, the most Shopify takes
PAYMENTS = 10  # of one refund
VARIANT_PAGE = 33
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

_DISCOUNTS = f"""
discountAllocations {{
    allocatedAmountSet {_MONEY}
    discountApplication {{
      ... on DiscountCodeApplication {{ code }}
      ... on AutomaticDiscountApplication {{ title }}
      ... on ManualDiscountApplication {{ title }}
      ... on ScriptDiscountApplication {{ title }}
    }}
  }}"""

# What is asked for of an order, its lines and its fulfillment orders: pages ask for it by fragments, a bulk operation
# has it written out.
_LINE_SELECTION = f"""
  id name sku vendor quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard
  customAttributes {{ key value }}
  variant {{ legacyResourceId }}
  originalUnitPriceSet {_MONEY}
  {_DISCOUNTS}
  taxLines {{ priceSet {_MONEY} }}
"""

_SHIPMENT_SELECTION = """
  id legacyResourceId status createdAt
  trackingInfo { company number url }
  location { legacyResourceId }
"""

_ORDER_SELECTION = f"""
  id legacyResourceId name createdAt processedAt updatedAt cancelledAt closed test
  displayFinancialStatus displayFulfillmentStatus returnStatus currencyCode taxesIncluded email note
  tags sourceName paymentGatewayNames
  customAttributes {{ key value }}
  app {{ name }}
  totalPriceSet {{ shopMoney {{ amount currencyCode }} presentmentMoney {{ amount currencyCode }} }}
  totalShippingPriceSet {_MONEY}
  totalTaxSet {_MONEY}
  totalDiscountsSet {_MONEY}
  totalTipReceivedSet {_MONEY}
  totalReceivedSet {_MONEY}
  originalTotalDutiesSet {_MONEY}
  originalTotalAdditionalFeesSet {_MONEY}
  totalRefundedSet {_MONEY}
  shippingLine {{ title {_DISCOUNTS} }}
  risk {{ recommendation assessments {{ riskLevel facts {{ description sentiment }} }} }}
  shippingAddress {_ADDRESS}
  billingAddress {_ADDRESS}
  fulfillments(first: {ORDER_SHIPMENTS}) {{ {_SHIPMENT_SELECTION} }}
"""

_WORK_SELECTION = """
  id status requestStatus fulfillAt fulfillBy
  assignedLocation { location { legacyResourceId } }
  deliveryMethod { maxDeliveryDateTime }
  fulfillmentHolds { id reason reasonNotes displayReason heldByRequestingApp }
"""

_WORK_LINE_SELECTION = "id remainingQuantity lineItem { id }"

_LINE = f"fragment Line on LineItem {{ {_LINE_SELECTION} }}"
_ORDER = f"fragment Order on Order {{ {_ORDER_SELECTION} }}"
_WORK = f"fragment Work on FulfillmentOrder {{ {_WORK_SELECTION} }}"

_LEVEL = """
fragment Level on InventoryLevel {
  location { legacyResourceId }
  quantities(names: ["available"]) { name quantity }
}
"""

_VARIANT = f"""
fragment Variant on ProductVariant {{
  legacyResourceId title sku barcode price updatedAt
  media(first: 1) {{ nodes {{ preview {{ image {{ url }} }} }} }}
  product {{ legacyResourceId title status featuredMedia {{ preview {{ image {{ url }} }} }} }}
  inventoryItem {{
    id legacyResourceId tracked harmonizedSystemCode countryCodeOfOrigin
    measurement {{ weight {{ value unit }} }}
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

_LINE_COST = 12
_ORDER_COST = 38
_WORK_COST = 5
_WORK_LINE_COST = 2


def _of_an_order(lines: int, work: int, work_lines: int) -> tuple[str, int]:
    """What is asked for of an order with its first lines and fulfillment orders, and what that costs."""
    text = f"""
    ...Order
    lineItems(first: {lines}) {{ nodes {{ ...Line }} {_PAGE_INFO} }}
    fulfillmentOrders(first: {work}) {{
      nodes {{ ...Work lineItems(first: {work_lines}) {{ nodes {{ {_WORK_LINE_SELECTION} }} {_PAGE_INFO} }} }}
      {_PAGE_INFO}
    }}
    """
    cost_of_work = 2 + work * (_WORK_COST + 2 + work_lines * _WORK_LINE_COST)
    return text, _ORDER_COST + 2 + lines * _LINE_COST + cost_of_work


_AMONG_OTHERS, _COST_AMONG_OTHERS = _of_an_order(ORDER_LINES, ORDER_WORK, WORK_LINES)
_ALONE, _COST_ALONE = _of_an_order(ORDER_LINES_ALONE, WORK_ALONE, WORK_LINES_ALONE)

ORDERS = Document(
    f"""
    query Orders($ids: [ID!]!) {{
      nodes(ids: $ids) {{ ... on Order {{ {_AMONG_OTHERS} }} }}
    }}
    {_ORDER}{_LINE}{_WORK}
    """,
    ORDER_BATCH * _COST_AMONG_OTHERS,
)

ORDER = Document(
    f"""
    query Order($id: ID!) {{
      order(id: $id) {{ {_ALONE} }}
    }}
    {_ORDER}{_LINE}{_WORK}
    """,
    _COST_ALONE,
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

ORDER_WORK_AFTER = Document(
    f"""
    query OrderWork($id: ID!, $after: String) {{
      order(id: $id) {{
        fulfillmentOrders(first: {WORK_PAGE}, after: $after) {{
          nodes {{ ...Work lineItems(first: {WORK_LINES_ALONE}) {{ nodes {{ {_WORK_LINE_SELECTION} }} {_PAGE_INFO} }} }}
          {_PAGE_INFO}
        }}
      }}
    }}
    {_WORK}
    """,
    3 + WORK_PAGE * (_WORK_COST + 2 + WORK_LINES_ALONE * _WORK_LINE_COST),
)

WORK_LINES_AFTER = Document(
    f"""
    query WorkLines($id: ID!, $after: String) {{
      node(id: $id) {{
        ... on FulfillmentOrder {{
          lineItems(first: {WORK_LINES_PAGE}, after: $after) {{ nodes {{ {_WORK_LINE_SELECTION} }} {_PAGE_INFO} }}
        }}
      }}
    }}
    """,
    3 + WORK_LINES_PAGE * _WORK_LINE_COST,
)

_RETURN = "id name status"

# What came of an order: refunds, shipments, returns, payments by several ways. Few orders have more than one shipment.
ORDER_AFTERMATH = Document(
    f"""
    query OrderAftermath($id: ID!) {{
      order(id: $id) {{
        refunds(first: {REFUNDS}) {{ id legacyResourceId createdAt note totalRefundedSet {_MONEY} }}
        fulfillments(first: {FULFILLMENTS}) {{ id }}
        returns(first: {RETURNS}) {{ nodes {{ {_RETURN} }} {_PAGE_INFO} }}
        transactions(first: {TRANSACTIONS}) {{ kind status gateway amountSet {_MONEY} }}
      }}
    }}
    """,
    1 + REFUNDS * 3 + FULFILLMENTS + 2 + RETURNS + TRANSACTIONS * 3,
)

ORDER_RETURNS_AFTER = Document(
    f"""
    query OrderReturns($id: ID!, $after: String) {{
      order(id: $id) {{ returns(first: {RETURNS}, after: $after) {{ nodes {{ {_RETURN} }} {_PAGE_INFO} }} }}
    }}
    """,
    3 + RETURNS,
)

_SHIPPED = "quantity lineItem { id }"
_RETURNED = "quantity returnReasonDefinition { name } ... on ReturnLineItem { fulfillmentLineItem { lineItem { id } } }"
_SHIPPED_COST = 2
_RETURNED_COST = 4

ORDER_PARTS = Document(
    f"""
    query OrderParts($ids: [ID!]!) {{
      nodes(ids: $ids) {{
        ... on Refund {{ id refundLineItems(first: {PART_LINES}) {{ nodes {{ {_SHIPPED} }} {_PAGE_INFO} }} }}
        ... on Fulfillment {{
          {_SHIPMENT_SELECTION}
          fulfillmentLineItems(first: {PART_LINES}) {{ nodes {{ {_SHIPPED} }} {_PAGE_INFO} }}
        }}
        ... on Return {{ id returnLineItems(first: {PART_LINES}) {{ nodes {{ {_RETURNED} }} {_PAGE_INFO} }} }}
      }}
    }}
    """,
    PART_BATCH * (3 + 2 * (2 + PART_LINES * _SHIPPED_COST) + 2 + PART_LINES * _RETURNED_COST),
)


def _part_lines(kind: str, field: str, line: str, cost: int) -> Document:
    """The lines of a part of an order that has more of them than came with it."""
    return Document(
        f"""
    query {kind}Lines($id: ID!, $after: String) {{
      node(id: $id) {{
        ... on {kind} {{ {field}(first: {PART_LINES_PAGE}, after: $after) {{ nodes {{ {line} }} {_PAGE_INFO} }} }}
      }}
    }}
    """,
        3 + PART_LINES_PAGE * cost,
    )


REFUND_LINES = _part_lines("Refund", "refundLineItems", _SHIPPED, _SHIPPED_COST)
FULFILLMENT_LINES = _part_lines("Fulfillment", "fulfillmentLineItems", _SHIPPED, _SHIPPED_COST)
RETURN_LINES = _part_lines("Return", "returnLineItems", _RETURNED, _RETURNED_COST)

# ---------------------------------------------------------------- orders, all at once

# Sent inside RUN_BULK, where no cost is limited but the form is: five connections, one in another at most twice, and
# none inside a list (so the lines of shipments and refunds do not come with it).
BULK_ORDERS = Document(
    f"""
    query BulkOrders {{
      orders {{
        edges {{
          node {{
            {_ORDER_SELECTION}
            lineItems {{ edges {{ node {{ {_LINE_SELECTION} }} }} }}
            fulfillmentOrders {{
              edges {{ node {{ {_WORK_SELECTION} lineItems {{ edges {{ node {{ {_WORK_LINE_SELECTION} }} }} }} }} }}
            }}
          }}
        }}
      }}
    }}
    """,
    2,
)

RUN_BULK = Document(
    """
    mutation RunBulk($query: String!) {
      bulkOperationRunQuery(query: $query, groupObjects: true) {
        bulkOperation { id createdAt }
        userErrors { code message }
      }
    }
    """,
    10,
)

BULK_OPERATION = Document(
    """
    query BulkOperation($id: ID!) {
      bulkOperation(id: $id) { status errorCode createdAt rootObjectCount url partialDataUrl }
    }
    """,
    1,
)

BULK_OPERATIONS = Document(
    f"""
    query BulkOperations {{
      bulkOperations(first: {OPERATIONS}) {{ nodes {{ id status query createdAt }} }}
    }}
    """,
    2 + OPERATIONS,
)

# ---------------------------------------------------------------- listings and stock

VARIANTS_COUNT = Document("query VariantsCount { productVariantsCount(limit: null) { count } }", 1)

_LEVEL_COST = 3
_PICTURE_COST = 3
_VARIANT_COST = 9 + 2 * _PICTURE_COST + VARIANT_LEVELS * _LEVEL_COST

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

STOCK_KEPT = Document(
    """
    query StockKept($item: ID!, $location: ID!) {
      inventoryItem(id: $item) { tracked inventoryLevel(locationId: $location) { id } }
    }
    """,
    2,
)

ACTIVATE_STOCK = Document(
    """
    mutation ActivateStock($item: ID!, $location: ID!, $key: String!) {
      inventoryActivate(inventoryItemId: $item, locationId: $location, available: 0) @idempotent(key: $key) {
        userErrors { field message }
      }
    }
    """,
    10,
)

# ---------------------------------------------------------------- shipping

_DEALT_OUT_LINE = "id remainingQuantity lineItem { id name }"

DEALT_OUT = Document(
    f"""
    query DealtOut($id: ID!, $after: String) {{
      order(id: $id) {{
        cancelledAt
        fulfillmentOrders(first: {DEALT_OUT_PAGE}, after: $after) {{
          nodes {{
            id status requestStatus
            assignedLocation {{ name location {{ legacyResourceId }} }}
            fulfillmentHolds {{ id handle displayReason reasonNotes heldByRequestingApp }}
            lineItems(first: {DEALT_OUT_LINES_PAGE}) {{ nodes {{ {_DEALT_OUT_LINE} }} {_PAGE_INFO} }}
          }}
          {_PAGE_INFO}
        }}
      }}
    }}
    """,
    3 + DEALT_OUT_PAGE * (6 + DEALT_OUT_LINES_PAGE * 2),
)

DEALT_OUT_LINES = Document(
    f"""
    query DealtOutLines($id: ID!, $after: String) {{
      node(id: $id) {{
        ... on FulfillmentOrder {{
          lineItems(first: {DEALT_OUT_LINES_ALONE}, after: $after) {{ nodes {{ {_DEALT_OUT_LINE} }} {_PAGE_INFO} }}
        }}
      }}
    }}
    """,
    3 + DEALT_OUT_LINES_ALONE * 2,
)


def _shipments(most: int) -> Document:
    return Document(
        f"""
        query Shipments($id: ID!) {{
          order(id: $id) {{ fulfillments(first: {most}) {{ id trackingInfo(first: 1) {{ number }} }} }}
        }}
        """,
        1 + most * 2,
    )


SHIPMENTS = _shipments(SHIPPED)
ALL_SHIPMENTS = _shipments(SHIPPED_AT_MOST)

SHIPMENT = Document(
    f"""
    query Shipment($id: ID!, $after: String) {{
      node(id: $id) {{
        ... on Fulfillment {{
          id status createdAt
          order {{ id }}
          trackingInfo {{ company number url }}
          fulfillmentLineItems(first: {SHIPMENT_LINES}, after: $after) {{
            nodes {{ quantity lineItem {{ id }} }} {_PAGE_INFO}
          }}
        }}
      }}
    }}
    """,
    5 + SHIPMENT_LINES * 2,
)

SHIP = Document(
    """
    mutation Ship($shipment: FulfillmentInput!) {
      fulfillmentCreate(fulfillment: $shipment) { fulfillment { id } userErrors { field message } }
    }
    """,
    10,
)

CHANGE_TRACKING = Document(
    """
    mutation ChangeTracking($id: ID!, $tracking: FulfillmentTrackingInput!, $notify: Boolean!) {
      fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $tracking, notifyCustomer: $notify) {
        userErrors { field message }
      }
    }
    """,
    10,
)

CANCEL_SHIPMENT = Document(
    "mutation CancelShipment($id: ID!) { fulfillmentCancel(id: $id) { userErrors { field message } } }",
    10,
)

HOLD = Document(
    """
    mutation Hold($id: ID!, $hold: FulfillmentOrderHoldInput!) {
      fulfillmentOrderHold(id: $id, fulfillmentHold: $hold) {
        fulfillmentHold { id } userErrors { code field message }
      }
    }
    """,
    10,
)

RELEASE_HOLDS = Document(
    """
    mutation ReleaseHolds($id: ID!, $holds: [ID!]!) {
      fulfillmentOrderReleaseHold(id: $id, holdIds: $holds) { userErrors { code field message } }
    }
    """,
    10,
)

MOVE = Document(
    """
    mutation Move($id: ID!, $location: ID!, $lines: [FulfillmentOrderLineItemInput!]) {
      fulfillmentOrderMove(id: $id, newLocationId: $location, fulfillmentOrderLineItems: $lines) {
        movedFulfillmentOrder { id } userErrors { code field message }
      }
    }
    """,
    10,
)

SPLIT = Document(
    """
    mutation Split($splits: [FulfillmentOrderSplitInput!]!) {
      fulfillmentOrderSplit(fulfillmentOrderSplits: $splits) { userErrors { code field message } }
    }
    """,
    10,
)


def _answer(name: str, mutation: str) -> Document:
    return Document(
        f"""
        mutation {name}($id: ID!, $message: String) {{
          {mutation}(id: $id, message: $message) {{ userErrors {{ field message }} }}
        }}
        """,
        10,
    )


ACCEPT_WORK = _answer("AcceptWork", "fulfillmentOrderAcceptFulfillmentRequest")
REJECT_WORK = _answer("RejectWork", "fulfillmentOrderRejectFulfillmentRequest")
ACCEPT_CANCELLATION = _answer("AcceptCancellation", "fulfillmentOrderAcceptCancellationRequest")
REJECT_CANCELLATION = _answer("RejectCancellation", "fulfillmentOrderRejectCancellationRequest")

# ---------------------------------------------------------------- cancelling, and giving money back

_BOTH_MONIES = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_REFUND_MADE = f"""
fragment RefundMade on Refund {{
  legacyResourceId note
  totalRefundedSet {_MONEY}
  transactions(first: {PAYMENTS}) {{ nodes {{ manualPaymentGateway }} }}
}}
"""

CANCELLED = Document("query Cancelled($id: ID!) { order(id: $id) { cancelledAt } }", 1)

CANCEL_ORDER = Document(
    """
    mutation CancelOrder(
      $id: ID!, $reason: OrderCancelReason!, $refund: OrderCancelRefundMethodInput!, $restock: Boolean!,
      $notify: Boolean!, $note: String
    ) {
      orderCancel(
        orderId: $id, reason: $reason, refundMethod: $refund, restock: $restock, notifyCustomer: $notify,
        staffNote: $note
      ) {
        orderCancelUserErrors { code field message }
      }
    }
    """,
    10,
)

REFUND_NOTES = Document(
    f"""
    query RefundNotes($id: ID!) {{
      order(id: $id) {{ refunds(first: {REFUNDS}) {{ id note }} }}
    }}
    """,
    1 + REFUNDS,
)

REFUND_MADE = Document(
    f"query RefundMade($id: ID!) {{ node(id: $id) {{ ...RefundMade }} }}{_REFUND_MADE}", 1 + 2 + 2 + PAYMENTS
)

REFUNDABLE_LINES = Document(
    """
    query RefundableLines($ids: [ID!]!) {
      nodes(ids: $ids) { ... on LineItem { id name refundableQuantity unfulfilledQuantity } }
    }
    """,
    REFUND_CALL,
)

SUGGESTED_REFUND = Document(
    f"""
    query SuggestedRefund($id: ID!, $lines: [RefundLineItemInput!], $shipping: Money) {{
      order(id: $id) {{
        suggestedRefund(refundLineItems: $lines, shippingAmount: $shipping) {{
          maximumRefundableSet {_BOTH_MONIES}
          shipping {{ maximumRefundableSet {_MONEY} }}
          refundLineItems {{ restockType lineItem {{ id }} location {{ id }} }}
          suggestedTransactions {{ gateway maximumRefundableSet {_MONEY} parentTransaction {{ id }} }}
        }}
      }}
    }}
    """,
    15,
)

REFUND = Document(
    f"""
    mutation Refund($input: RefundInput!, $key: String!) {{
      refundCreate(input: $input) @idempotent(key: $key) {{
        refund {{ ...RefundMade }} userErrors {{ field message }}
      }}
    }}
    {_REFUND_MADE}
    """,
    10,
)

# ---------------------------------------------------------------- webhooks

SUBSCRIPTIONS = Document(
    f"""
    query Subscriptions($after: String) {{
      webhookSubscriptions(first: {SUBSCRIPTIONS_PAGE}, after: $after) {{ nodes {{ id topic uri }} {_PAGE_INFO} }}
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

UNSUBSCRIBE = Document(
    "mutation Unsubscribe($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { field message } } }", 10
)

# Webhooks about returns and fulfillment orders name those only.
ORDER_OF = Document(
    """
    query OrderOf($id: ID!) {
      node(id: $id) {
        ... on Return { order { id } }
        ... on FulfillmentOrder { orderId }
      }
    }
    """,
    2,
)

ALL = {name: value for name, value in globals().items() if isinstance(value, Document)}
