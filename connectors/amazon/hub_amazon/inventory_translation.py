"""What Amazon says of the stock in its warehouses, read into the hub's model: summaries, and messages of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from marshmallow import fields, post_load

import hub

STOCK_CHANGE = "FBA_INVENTORY_AVAILABILITY_CHANGES"

# ---------------------------------------------------------------- summaries


class _Units(hub.WholeNumber):
    """Units that may be missing, which is not the same as none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(load_default=None, allow_none=True, **options)


class ReservedBody(hub.Translation[int]):
    """Units that Amazon has promised to somebody or is moving."""

    total = hub.WholeNumber(required=True, data_key="totalReservedQuantity")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> int:
        return int(said["total"])


class UnfulfillableBody(hub.Translation[int]):
    """Units that cannot be sold."""

    total = hub.WholeNumber(required=True, data_key="totalUnfulfillableQuantity")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> int:
        return int(said["total"])


class ResearchingBody(hub.Translation[int]):
    """Units that Amazon is looking for, or looking at."""

    total = hub.WholeNumber(required=True, data_key="totalResearchingQuantity")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> int:
        return int(said["total"])


class DetailsBody(hub.Translation[dict[str, Any]]):
    """The figures of a SKU."""

    fulfillable = hub.WholeNumber(required=True, data_key="fulfillableQuantity")
    reserved = fields.Nested(ReservedBody, required=True, data_key="reservedQuantity")
    unfulfillable = fields.Nested(UnfulfillableBody, required=True, data_key="unfulfillableQuantity")
    researching = fields.Nested(ResearchingBody, load_default=0, allow_none=True, data_key="researchingQuantity")
    shipped = _Units(data_key="inboundShippedQuantity")
    receiving = _Units(data_key="inboundReceivingQuantity")


class SummaryBody(hub.Translation[dict[str, Any]]):
    """A SKU in the inventory."""

    sku = hub.Identifier(load_default="", allow_none=True, data_key="sellerSku")
    fnsku = hub.Identifier(load_default="", allow_none=True, data_key="fnSku")
    details = fields.Nested(DetailsBody, required=True, data_key="inventoryDetails")


class StockBody(hub.Translation[list[hub.StockCount]]):
    """A SKU's summary, with the marketplace that it is for and the moment of asking."""

    marketplace_id = hub.Identifier(required=True)
    counted_at = hub.UtcMoment(required=True)
    summary = fields.Nested(SummaryBody, required=True)

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[hub.StockCount]:
        summary, figures = said["summary"], said["summary"]["details"]
        if not summary["sku"]:
            return []  # nothing of ours can be meant by it
        return [
            _count(
                summary["sku"],
                said["marketplace_id"],
                said["counted_at"],
                fnsku=summary["fnsku"] or "",
                fulfillable=figures["fulfillable"],
                reserved=figures["reserved"],
                aside=figures["unfulfillable"] + (figures["researching"] or 0),
                on_the_way=(figures["shipped"], figures["receiving"]),
            )
        ]


def _count(
    sku: str,
    marketplace_id: str,
    counted_at: datetime,
    *,
    fnsku: str,
    fulfillable: int,
    reserved: int,
    aside: int,
    on_the_way: Iterable[int | None],
) -> hub.StockCount:
    """A count; ``aside`` lies there and cannot be sold.

    Of what was announced to Amazon, only that counts as on the way which has set out: the rest still lies elsewhere.
    """
    inbound = [units for units in on_the_way if units is not None]
    return hub.StockCount(
        sku=sku,
        on_hand=fulfillable + reserved + aside,
        available=fulfillable,
        counted_at=counted_at,
        inbound=sum(inbound) if inbound else None,
        reserved=reserved,
        location_external_id=marketplace_id,
        item_external_id=fnsku,
    )


# ---------------------------------------------------------------- messages


class InboundFiguresBody(hub.Translation[list[int]]):
    """Units on their way in, as a message tells them."""

    shipped = hub.WholeNumber(required=True, data_key="Shipped")
    receiving = hub.WholeNumber(required=True, data_key="Receiving")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[int]:
        return [said["shipped"], said["receiving"]]


class ReservedFiguresBody(hub.Translation[int]):
    """Reserved units, as a message tells them."""

    processing = hub.WholeNumber(required=True, data_key="WarehouseProcessing")
    transfer = hub.WholeNumber(required=True, data_key="WarehouseTransfer")
    customers = hub.WholeNumber(required=True, data_key="PendingCustomerOrder")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> int:
        return sum(said.values())


class FiguresBody(hub.Translation[dict[str, Any]]):
    """The figures of a SKU in one marketplace, as a message tells them."""

    fulfillable = hub.WholeNumber(required=True, data_key="Fulfillable")
    unfulfillable = hub.WholeNumber(required=True, data_key="Unfulfillable")
    researching = hub.WholeNumber(required=True, data_key="Researching")
    reserved = fields.Nested(ReservedFiguresBody, required=True, data_key="ReservedQuantityBreakdown")
    on_the_way = fields.Nested(InboundFiguresBody, required=True, data_key="InboundQuantityBreakdown")


class MarketplaceFiguresBody(hub.Translation[dict[str, Any]]):
    """A SKU in one marketplace."""

    marketplace_id = hub.Identifier(required=True, data_key="MarketplaceId")
    figures = fields.Nested(FiguresBody, required=True, data_key="FulfillmentInventory")


class StockPayloadBody(hub.Translation[dict[str, Any]]):
    """The payload of a message about stock."""

    sku = hub.Identifier(required=True, data_key="SKU")
    fnsku = hub.Identifier(load_default="", allow_none=True, data_key="FNSKU")
    places = fields.List(
        fields.Nested(MarketplaceFiguresBody), required=True, data_key="FulfillmentInventoryByMarketplace"
    )


class StockMessage(hub.Translation[list[hub.StockCount]]):
    """A message about the stock of a SKU: its counts, one for each marketplace."""

    counted_at = hub.UtcMoment(required=True, data_key="EventTime")
    payload = fields.Nested(StockPayloadBody, required=True, data_key="Payload")

    @post_load
    def make(self, said: dict[str, Any], **_: Any) -> list[hub.StockCount]:
        return list(_counts(said["payload"], said["counted_at"]))


def _counts(payload: Mapping[str, Any], counted_at: datetime) -> Iterator[hub.StockCount]:
    for place in payload["places"]:
        figures = place["figures"]
        yield _count(
            payload["sku"],
            place["marketplace_id"],
            counted_at,
            fnsku=payload["fnsku"] or "",
            fulfillable=figures["fulfillable"],
            reserved=figures["reserved"],
            aside=figures["unfulfillable"] + figures["researching"],
            on_the_way=figures["on_the_way"],
        )
