"""Tallyhub's public API for connector authors: ``import hub`` and nothing else.

Every name is loaded when it is first used, so that a program which needs only the core loads neither an HTTP client nor
a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.connect_form import KeyText as KeyText
    from hub.connect_form import SettingsSchema as SettingsSchema
    from hub.connector import API_VERSION as API_VERSION
    from hub.connector import UNREAD as UNREAD
    from hub.connector import AuthorizationAnswer as AuthorizationAnswer
    from hub.connector import AuthorizationRequest as AuthorizationRequest
    from hub.connector import Capabilities as Capabilities
    from hub.connector import Carrier as Carrier
    from hub.connector import CarrierCapabilities as CarrierCapabilities
    from hub.connector import CarrierFact as CarrierFact
    from hub.connector import Connector as Connector
    from hub.connector import Context as Context
    from hub.connector import Delivery as Delivery
    from hub.connector import Disconnected as Disconnected
    from hub.connector import EffectResult as EffectResult
    from hub.connector import Fact as Fact
    from hub.connector import FulfillmentProvider as FulfillmentProvider
    from hub.connector import Kind as Kind
    from hub.connector import ListingRemoved as ListingRemoved
    from hub.connector import OrderRemoved as OrderRemoved
    from hub.connector import Page as Page
    from hub.connector import PersonalDataErased as PersonalDataErased
    from hub.connector import PersonalDataWanted as PersonalDataWanted
    from hub.connector import ProviderCapabilities as ProviderCapabilities
    from hub.connector import ProviderFact as ProviderFact
    from hub.connector import PushOutcome as PushOutcome
    from hub.connector import PushState as PushState
    from hub.connector import QueueAddress as QueueAddress
    from hub.connector import RateBudget as RateBudget
    from hub.connector import RawRecord as RawRecord
    from hub.connector import Refetch as Refetch
    from hub.connector import SalesChannel as SalesChannel
    from hub.connector import Settlement as Settlement
    from hub.connector import StockPush as StockPush
    from hub.connector import StockRef as StockRef
    from hub.connector import StockSeen as StockSeen
    from hub.connector import Subscriptions as Subscriptions
    from hub.connector import Token as Token
    from hub.connector import TokenVault as TokenVault
    from hub.connector import Unread as Unread
    from hub.connector import Vocabulary as Vocabulary
    from hub.connector import Webhook as Webhook
    from hub.core.carriers import carrier_word as carrier_word
    from hub.core.model import Account as Account
    from hub.core.model import Address as Address
    from hub.core.model import ChannelLocation as ChannelLocation
    from hub.core.model import ChannelShipment as ChannelShipment
    from hub.core.model import ChannelWork as ChannelWork
    from hub.core.model import Charge as Charge
    from hub.core.model import ChargeKind as ChargeKind
    from hub.core.model import Discount as Discount
    from hub.core.model import Hold as Hold
    from hub.core.model import HoldReason as HoldReason
    from hub.core.model import LineKind as LineKind
    from hub.core.model import LineQuantity as LineQuantity
    from hub.core.model import Listing as Listing
    from hub.core.model import ListingLevel as ListingLevel
    from hub.core.model import Money as Money
    from hub.core.model import Order as Order
    from hub.core.model import OrderLine as OrderLine
    from hub.core.model import OrderStatus as OrderStatus
    from hub.core.model import Payment as Payment
    from hub.core.model import Refund as Refund
    from hub.core.model import Return as Return
    from hub.core.model import ReturnStatus as ReturnStatus
    from hub.core.model import Risk as Risk
    from hub.core.model import RiskLevel as RiskLevel
    from hub.core.model import WorkRequest as WorkRequest
    from hub.core.model import WorkStatus as WorkStatus
    from hub.core.shipping import AddressState as AddressState
    from hub.core.shipping import AddressVerdict as AddressVerdict
    from hub.core.shipping import Cancellation as Cancellation
    from hub.core.shipping import CancelReason as CancelReason
    from hub.core.shipping import CancelState as CancelState
    from hub.core.shipping import ConfirmedLine as ConfirmedLine
    from hub.core.shipping import ContentsType as ContentsType
    from hub.core.shipping import Customs as Customs
    from hub.core.shipping import CustomsItem as CustomsItem
    from hub.core.shipping import Dimensions as Dimensions
    from hub.core.shipping import Document as Document
    from hub.core.shipping import DocumentFormat as DocumentFormat
    from hub.core.shipping import DocumentKind as DocumentKind
    from hub.core.shipping import FulfillmentLine as FulfillmentLine
    from hub.core.shipping import FulfillmentOrder as FulfillmentOrder
    from hub.core.shipping import Label as Label
    from hub.core.shipping import LabelPurchase as LabelPurchase
    from hub.core.shipping import LabelVoid as LabelVoid
    from hub.core.shipping import LengthUnit as LengthUnit
    from hub.core.shipping import Lot as Lot
    from hub.core.shipping import OrderCancellation as OrderCancellation
    from hub.core.shipping import Parcel as Parcel
    from hub.core.shipping import Progress as Progress
    from hub.core.shipping import ProviderShipment as ProviderShipment
    from hub.core.shipping import ProviderState as ProviderState
    from hub.core.shipping import Quotes as Quotes
    from hub.core.shipping import Rate as Rate
    from hub.core.shipping import RefundedLine as RefundedLine
    from hub.core.shipping import RefundRequest as RefundRequest
    from hub.core.shipping import Shipment as Shipment
    from hub.core.shipping import ShipmentConfirmation as ShipmentConfirmation
    from hub.core.shipping import ShippedLine as ShippedLine
    from hub.core.shipping import StockAdjustment as StockAdjustment
    from hub.core.shipping import StockCount as StockCount
    from hub.core.shipping import StockListing as StockListing
    from hub.core.shipping import Submission as Submission
    from hub.core.shipping import Tracking as Tracking
    from hub.core.shipping import TrackingEvent as TrackingEvent
    from hub.core.shipping import TrackingStatus as TrackingStatus
    from hub.core.shipping import VoidState as VoidState
    from hub.core.shipping import Weight as Weight
    from hub.core.shipping import WeightUnit as WeightUnit
    from hub.core.shipping import WorkAnswer as WorkAnswer
    from hub.core.shipping import WorkHold as WorkHold
    from hub.core.shipping import WorkMove as WorkMove
    from hub.core.shipping import WorkQuestion as WorkQuestion
    from hub.core.shipping import WorkRelease as WorkRelease
    from hub.core.shipping import WorkSplit as WorkSplit
    from hub.errors import AuthError as AuthError
    from hub.errors import ConnectorError as ConnectorError
    from hub.errors import HubError as HubError
    from hub.errors import NotFound as NotFound
    from hub.errors import RateLimited as RateLimited
    from hub.errors import Rejected as Rejected
    from hub.errors import Unavailable as Unavailable
    from hub.errors import Unreadable as Unreadable
    from hub.errors import Unverified as Unverified
    from hub.hookspecs import hookimpl as hookimpl
    from hub.http import Client as Client
    from hub.http import Exchange as Exchange
    from hub.http import Limiter as Limiter
    from hub.http import OperationLimiter as OperationLimiter
    from hub.http import Response as Response
    from hub.rows import Column as Column
    from hub.rows import FileFormat as FileFormat
    from hub.rows import FileKind as FileKind
    from hub.rows import Row as Row
    from hub.rows import RowReader as RowReader
    from hub.rows import ValueKind as ValueKind
    from hub.rows import assign_columns as assign_columns
    from hub.rows import columns_of as columns_of
    from hub.rows import read_values as read_values
    from hub.sftp import FileEntry as FileEntry
    from hub.sftp import Files as Files
    from hub.translation import DecimalNumber as DecimalNumber
    from hub.translation import Identifier as Identifier
    from hub.translation import MoneyAmount as MoneyAmount
    from hub.translation import MoneyObject as MoneyObject
    from hub.translation import Text as Text
    from hub.translation import Translation as Translation
    from hub.translation import UtcMoment as UtcMoment
    from hub.translation import WholeNumber as WholeNumber
    from hub.translation import load_json as load_json

_NAMES = {
    "hub.connect_form": ("KeyText SettingsSchema"),
    "hub.connector": (
        "API_VERSION AuthorizationAnswer AuthorizationRequest Capabilities Carrier CarrierCapabilities"
        " CarrierFact Connector Context Delivery Disconnected EffectResult Fact FulfillmentProvider Kind"
        " ListingRemoved OrderRemoved Page PersonalDataErased PersonalDataWanted ProviderCapabilities"
        " ProviderFact PushOutcome PushState QueueAddress RateBudget RawRecord Refetch SalesChannel Settlement"
        " StockPush StockRef StockSeen Subscriptions Token TokenVault UNREAD Unread Vocabulary Webhook"
    ),
    "hub.core.carriers": ("carrier_word"),
    "hub.core.model": (
        "Account Address ChannelLocation ChannelShipment ChannelWork Charge ChargeKind Discount Hold"
        " HoldReason LineKind LineQuantity Listing ListingLevel Money Order OrderLine OrderStatus Payment"
        " Refund Return ReturnStatus Risk RiskLevel WorkRequest WorkStatus"
    ),
    "hub.core.shipping": (
        "AddressState AddressVerdict CancelReason CancelState Cancellation ConfirmedLine ContentsType Customs"
        " CustomsItem Dimensions Document DocumentFormat DocumentKind FulfillmentLine FulfillmentOrder Label"
        " LabelPurchase LabelVoid LengthUnit Lot OrderCancellation Parcel Progress ProviderShipment"
        " ProviderState Quotes Rate RefundRequest RefundedLine Shipment ShipmentConfirmation ShippedLine"
        " StockAdjustment StockCount StockListing Submission Tracking TrackingEvent TrackingStatus VoidState"
        " Weight WeightUnit WorkAnswer WorkHold WorkMove WorkQuestion WorkRelease WorkSplit"
    ),
    "hub.errors": ("AuthError ConnectorError HubError NotFound RateLimited Rejected Unavailable Unreadable Unverified"),
    "hub.hookspecs": ("hookimpl"),
    "hub.http": ("Client Exchange Limiter OperationLimiter Response"),
    "hub.rows": ("Column FileFormat FileKind Row RowReader ValueKind assign_columns columns_of read_values"),
    "hub.sftp": ("FileEntry Files"),
    "hub.translation": (
        "DecimalNumber Identifier MoneyAmount MoneyObject Text Translation UtcMoment WholeNumber load_json"
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hub' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
