"""What a connector is: its base classes and the few values it exchanges with the hub.

A connector is constructed per job with a ``Context`` and lives no longer than that job. It never sees a database, a
queue or another connection. Everything it fetches goes to the hub as raw records; everything it reads is read by a
pure function of one raw record, so that reading can be repeated. It raises the errors of ``hub.errors`` and never
retries by itself: the hub does.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hub.core.model import Account, Address, Listing, Order
from hub.core.plain import from_plain, to_plain
from hub.core.shipping import (
    AddressVerdict,
    Cancellation,
    Document,
    DocumentFormat,
    FulfillmentOrder,
    Label,
    LabelPurchase,
    LabelVoid,
    OrderCancellation,
    Progress,
    ProviderShipment,
    Quotes,
    RefundRequest,
    Shipment,
    ShipmentConfirmation,
    StockAdjustment,
    StockCount,
    StockListing,
    Submission,
    Tracking,
    WorkAnswer,
    WorkHold,
    WorkMove,
    WorkRelease,
    WorkSplit,
)
from hub.errors import Rejected, Unverified

if TYPE_CHECKING:
    import marshmallow

    from hub.http import Client
    from hub.rows import FileFormat, FileKind
    from hub.sftp import Files

# The version of this API: the first number grows when a connector may have to change, the second when names are added.
API_VERSION = "1.5"

# ---------------------------------------------------------------- what comes in


@dataclass(frozen=True, slots=True)
class Webhook:
    """One inbound request, untouched: header names lower-case, ``body`` the raw bytes as received."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified webhook: its topic and the key under which a second copy of it is recognized.

    Choose the key with care: a key that two different events can share loses one of them.
    """

    topic: str
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue at which the vendor leaves its messages for this connection: Amazon SQS or what speaks like it.

    ``url`` is the queue's own address. ``key_id`` and ``secret`` are those of whoever may read and delete there.
    """

    url: str
    region: str
    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as the vendor sent it.

    ``topic`` is the webhook's topic, or "order", "listing", "tracking", "shipment" or "stock" for fetched records.
    ``version`` is the record's last-modified mark as text ("" if it has none); together with the external id and the
    body's hash it tells whether a polled record is new. ``headers`` are a webhook's (lower-case); of a fetched record
    they are what the connector wants to remember beside the body, which makes no record new (the file it came in).
    """

    topic: str
    external_id: str
    body: bytes
    version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of fetched records and the cursor from which fetching goes on once they are stored.

    The hub stores ``records`` and ``cursor`` in one commit. ``cursor`` is the connector's own text. ``total`` is how
    many records the whole fetch expects, where the vendor says so: it feeds a progress bar. ``pause_seconds`` says that
    the vendor is still getting ready what comes next: the fetch ends with this page and goes on from its cursor after
    so long.
    """

    records: tuple[RawRecord, ...]
    cursor: str
    total: int | None = None
    pause_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OrderRemoved:
    """The order was deleted or trashed at the channel: it holds no stock any more."""

    external_id: str


@dataclass(frozen=True, slots=True)
class ListingRemoved:
    """The listing was deleted at the channel.

    ``handle`` names the ``Listing.handles`` entry that ``external_id`` belongs to, "" for the listing's own id; every
    listing with that entry has gone (the variants of a deleted product, say).
    """

    external_id: str
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Refetch:
    """The record only tells that something changed: fetch ``kind`` ``external_id`` itself.

    ``kind`` is "order" or "listing" at a channel, "tracking" at a carrier (the id is a tracking number), "order" at a
    provider.
    """

    kind: str
    external_id: str


@dataclass(frozen=True, slots=True)
class StockSeen:
    """The channel tells its stock of a listing: compared with what the hub published, and repaired if it drifted.

    ``handle`` names the ``Listing.handles`` entry that ``external_id`` belongs to, "" for the listing's own id.
    """

    external_id: str
    location_external_id: str
    available: int | None
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The merchant took the hub's permission away at the vendor (removed its app, say).

    The connection is paused and the merchant asked to reconnect it. ``message`` is for them. ``at`` is when it was
    taken away, where the vendor says that: news that comes late must not pause a shop that was reconnected meanwhile.
    """

    message: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataWanted:
    """A customer wants to see what is stored about them: gathered by the hub, handed out by the merchant.

    ``reference`` is the vendor's id of the wish. They are known by their orders, and by ``email``.
    """

    reference: str
    order_external_ids: tuple[str, ...] = ()
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataErased:
    """Personal data must go: of these orders and of whoever has ``email``, or with ``everything`` of all customers."""

    reference: str
    order_external_ids: tuple[str, ...] = ()
    email: str = ""
    everything: bool = False


Fact = (
    Order
    | Listing
    | OrderRemoved
    | ListingRemoved
    | Refetch
    | StockSeen
    | Disconnected
    | PersonalDataWanted
    | PersonalDataErased
)
CarrierFact = Tracking | LabelVoid | Refetch
ProviderFact = Progress | ProviderShipment | StockCount | StockAdjustment | Cancellation | Tracking | Refetch

# ---------------------------------------------------------------- what goes out


@dataclass(frozen=True, slots=True)
class StockRef:
    """One listing at one of the channel's locations."""

    listing_external_id: str
    location_external_id: str
    handles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StockPush:
    """Make the channel say ``quantity`` for ``ref``.

    ``expected`` is what the hub believes the channel says now, None if it does not know: with compare-and-set the
    write must fail (STALE) when the channel says something else. ``key`` is stable for this very write (same ref,
    quantity, expected and attempt), for vendors with idempotency keys.
    """

    ref: StockRef
    quantity: int
    expected: int | None
    key: str


class Unread(Enum):
    """In an answer of ``read_stock``: this one could not be read now; it will be tried again."""

    UNREAD = "unread"


UNREAD = Unread.UNREAD


class PushState(StrEnum):
    WRITTEN = "written"
    PENDING = "pending"  # taken in, and judged later: ``settle_stock`` is asked what became of it
    STALE = "stale"  # compare-and-set failed: somebody else changed the quantity
    RETRY = "retry"  # this one could not be written now; it will be tried again
    REJECTED = "rejected"  # refused for good: becomes an Issue
    GONE = "gone"  # the listing does not exist at the channel any more


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What became of one StockPush; ``quantity`` is what the channel says now, where its answer tells.

    ``reference`` goes with PENDING: the vendor's id of the work that will tell (a feed, a submission). Asking for it
    makes sense after ``after_seconds``.
    """

    state: PushState
    quantity: int | None = None
    message: str = ""
    reference: str = ""
    after_seconds: float = 0.0


class Settlement(StrEnum):
    """How an unclear outcome of an effect is settled."""

    NATIVE_KEY = "native_key"  # send the same key again: the vendor recognizes it
    NATURAL_KEY = "natural_key"  # repeating is harmless: do it again, read back
    LOOKUP = "lookup"  # find it by our reference, then decide
    NONE = "none"  # a person decides


@dataclass(frozen=True, slots=True)
class EffectResult:
    """What an effect brought about: the vendor's id of it and details worth keeping (JSON values, no secrets).

    ``documents`` are files that came with it, kept apart from the details.
    """

    reference: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The topics a vendor sends to one address: those that work, and those needed that are missing or switched off."""

    active: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Words of the vendor that mean something else in each shop: the merchant says on a page what each stands for.

    ``choices`` are what a word can stand for, with what people call it. ``Account.words`` tells which words there are;
    what was chosen is in ``Context.mappings``. ``usual`` is what the connector takes a word for that nobody mapped.
    """

    label: str
    hint: str
    choices: Mapping[str, str]
    usual: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a vendor needs in order to ask the merchant for a permission.

    ``state`` is made for this once. The browser comes back to ``return_url``; a vendor that sends the keys from server
    to server sends them to ``callback_url``. Both lead to ``read_authorization``.
    """

    state: str
    return_url: str
    callback_url: str


@dataclass(frozen=True, slots=True)
class AuthorizationAnswer:
    """What came back, untouched: the parameters of the query, the body. ``state`` is that of the request.

    ``by_browser`` tells the merchant's return from the vendor's own call.
    """

    state: str
    parameters: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    by_browser: bool

    def check_state(self, given: str) -> None:
        """Raises Unverified unless ``given``, the state as the vendor gave it back, is the one that was sent."""
        # In constant time, and as bytes: comparing texts fails on anything beyond ASCII.
        if not hmac.compare_digest(self.state.encode("utf-8", "replace"), given.encode("utf-8", "replace")):
            raise Unverified("This answers another request than the one that was sent. Connect once more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a sales channel can do: the hub and its pages go by this.

    ``compare_and_set``: push_stock honors ``StockPush.expected``. ``push_batch``: most pushes per call of push_stock,
    and most refs per call of read_stock. ``coalesce_seconds``: changes that follow the first within so long go out in
    the same write. ``negative_stock``: a figure below 0 may be written. ``most_units``: the largest figure it takes.
    ``webhooks``: it can subscribe and verify. ``webhooks_signed``: ``verify`` proves that the vendor wrote the body;
    where it cannot, what comes is a hint, and ``read_webhook`` may answer Refetch alone. ``message_poll_seconds``: the
    queue of ``queue_address`` is emptied so often. ``min_poll_seconds``: the shortest sensible pause between two polls
    of the same stream. ``cancel_choices``: what of an OrderCancellation can be chosen ("refund", "restock", "notify");
    the rest the channel does as it is set there. ``refund_choices``: the same of a RefundRequest ("restock", "notify").
    """

    compare_and_set: bool = False
    push_batch: int = 100
    coalesce_seconds: float = 0.1
    negative_stock: bool = False
    most_units: int | None = None
    webhooks: bool = True
    webhooks_signed: bool = True
    message_poll_seconds: float | None = None
    min_poll_seconds: float = 5.0
    cancel_choices: tuple[str, ...] = ()
    refund_choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierCapabilities:
    """What a carrier can do.

    ``label_formats``: those a label can be bought in, the usual one first. ``parcels_per_shipment``: most in one.
    ``returns``: it takes shipments that are ``returning``. ``validates_addresses``: ``validate_address`` works.
    ``webhooks`` and ``webhooks_signed`` as in Capabilities; ``min_poll_seconds``: the shortest sensible pause between
    two looks at a parcel. ``follow_days``: webhooks come for so many days, and only of parcels that it was asked to
    follow; None: of all, once subscribed. ``follow_batch``: most parcels in one call of ``follow_parcels``.
    """

    label_formats: tuple[DocumentFormat, ...] = (DocumentFormat.PDF,)
    parcels_per_shipment: int = 1
    returns: bool = False
    validates_addresses: bool = False
    webhooks: bool = True
    webhooks_signed: bool = True
    min_poll_seconds: float = 900.0
    follow_days: float | None = None
    follow_batch: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCapabilities:
    """What a fulfillment provider can do; the fields are those of Capabilities.

    ``stock_poll_seconds`` is the shortest sensible pause between two readings of all its stock.
    """

    webhooks: bool = True
    webhooks_signed: bool = True
    message_poll_seconds: float | None = None
    min_poll_seconds: float = 60.0
    stock_poll_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class RateBudget:
    """At most ``burst`` units at once, restored at ``per_second``; shared by all workers of one connection."""

    per_second: float
    burst: float


# ---------------------------------------------------------------- the context a connector lives in


@dataclass(frozen=True, slots=True)
class Token:
    """A credential obtained with the settings; ``expires_at`` aware UTC, None if it does not expire.

    ``refresh_token`` is what the next one is asked for with, where the vendor gives one, good until
    ``refresh_expires_at``: it is stored in the same moment as the token, so that a rotating one is never lost.
    """

    value: str = field(repr=False)
    expires_at: datetime | None = None
    refresh_token: str = field(default="", repr=False)
    refresh_expires_at: datetime | None = None


class TokenVault(Protocol):
    """Keeps short-lived tokens of one connection, encrypted, shared by all workers."""

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        """The valid token ``name``; calls ``obtain`` when there is none, when it is about to expire, or when the kept
        one equals ``refused`` (the vendor answered 401 to it). At most one ``obtain`` at a time per connection."""
        ...

    def kept(self, name: str) -> Token | None:
        """The token ``name`` as it was kept last, expired or not: ``obtain`` finds its refresh token there."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """All a connector gets: its settings as loaded by its schema, an HTTP client bound to its hosts, a clock, tokens.

    ``webhook_secret`` is made by the hub per connection, for vendors that let the receiver choose the signing secret.
    In the web process, where only ``verify`` runs, ``client`` refuses every request. ``mappings`` is what the merchant
    said of the vendor's words, by kind (see ``Connector.mappings``), and of the columns of its files, by
    ``hub.columns_of``; ``features`` what the last check found. ``files`` are those at ``Connector.file_host``, None
    where it names none, and wherever ``client`` refuses.
    """

    settings: Mapping[str, Any] = field(repr=False)
    webhook_secret: str = field(repr=False)
    client: Client
    now: Callable[[], datetime]
    tokens: TokenVault
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    files: Files | None = None


class Kind(StrEnum):
    """The kinds of connectors; each has its class."""

    CHANNEL = "channel"  # SalesChannel
    CARRIER = "carrier"  # Carrier
    PROVIDER = "3pl"  # FulfillmentProvider


class Connector(ABC):
    """One outside system. Subclass SalesChannel, Carrier or FulfillmentProvider rather than this."""

    kind: ClassVar[Kind]  # set by the class it derives from
    name: ClassVar[str]  # unique, lower-case: "shopify"
    label: ClassVar[str]  # for people: "Shopify"
    description: ClassVar[str] = ""
    api_version: ClassVar[str] = ""
    api_version_ends: ClassVar[date | None] = None  # when the vendor stops serving api_version, if it says
    # Schema of the connect form. Give every field the metadata "label" and "hint", and secrets "secret": True.
    settings_schema: ClassVar[type[marshmallow.Schema]]
    # Schema of the form of those who connect with one click, None where the vendor has no such way: what is typed in
    # before the merchant is sent to ``authorization_url``.
    authorization_schema: ClassVar[type[marshmallow.Schema] | None] = None
    # kind of word -> what the merchant may map it to
    mappings: ClassVar[Mapping[str, Vocabulary]] = {}
    # kind of file -> what its columns mean: the merchant says on a page which column is which
    file_kinds: ClassVar[Mapping[str, FileKind]] = {}
    capabilities: ClassVar[Capabilities | CarrierCapabilities | ProviderCapabilities]
    effects: ClassVar[Mapping[str, Settlement]] = {}  # method name -> how an unclear outcome is settled
    rate_budget: ClassVar[RateBudget | None] = None
    # operation -> a budget of its own, for vendors that have one per operation: name it in ``client.request``
    rate_budgets: ClassVar[Mapping[str, RateBudget]] = {}
    raw_days: ClassVar[int | None] = None  # keep raw bodies at most this long, None: as long as the hub does
    # keep what is known of customers so many days after delivery, None: until somebody asks to erase it
    personal_days: ClassVar[int | None] = None
    # the vendor wants the secrets replaced after so many days, None: they last
    secret_days: ClassVar[int | None] = None
    # effect -> the class its request is read into; the others get the stored mapping itself
    _requests: ClassVar[Mapping[str, type[Any]]] = {}

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.client = context.client

    @classmethod
    @abstractmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        """Base addresses this connection may talk to, such as ("https://acme.example",): scheme, host, port."""

    @classmethod
    def file_host(cls, settings: Mapping[str, Any]) -> str:
        """The SFTP server this connection may exchange files with, as "sftp://files.example:22"; "": none."""
        return ""

    @classmethod
    def file_format(cls, settings: Mapping[str, Any]) -> FileFormat:
        """How the files of ``file_kinds`` are written. Pure, called in the web process without the secrets."""
        raise Rejected(f"{cls.label} exchanges no files.")

    def sample_file(self, kind: str) -> bytes:
        """The beginning of a file of this kind that has come, for the page of the columns. Raises NotFound."""
        raise Rejected(f"{self.label} exchanges no files.")

    @abstractmethod
    def check(self) -> Account:
        """Prove that the settings work and say whose account it is. Raises AuthError, Rejected, Unavailable."""

    # --- connecting with one click: pure, called in the web process

    @classmethod
    def authorization_url(cls, settings: Mapping[str, Any], request: AuthorizationRequest) -> str:
        """Where the merchant gives the permission; ``settings`` as loaded by ``authorization_schema``."""
        raise Rejected(f"{cls.label} is connected by what its form asks for.")

    @classmethod
    def read_authorization(cls, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
        """What ``settings_schema`` loads, completed by what the vendor answered; None: this brought nothing yet.

        Checks signatures in constant time, and that the answer is for this shop. Raises Unverified, and Rejected where
        the merchant said no.
        """
        raise Rejected(f"{cls.label} is connected by what its form asks for.")

    # --- webhooks

    @classmethod
    def webhook_account(cls, webhook: Webhook) -> Mapping[str, str] | None:
        """Settings by which to find the connections a webhook may be for, where a vendor has one address for an app:
        {"shop": "acme.myshopify.com"}. Not believed before ``verify``. None: it does not say."""
        return None

    def verify(self, webhook: Webhook) -> Delivery | None:
        """Check the signature over the raw bytes, in constant time. None: a handshake to be answered 200, not stored.

        Runs in the web process: no network, no parsing of the body. Raises Unverified.
        """
        raise Rejected(f"{self.label} sends no webhooks.")

    # --- messages: for vendors that leave what they have to tell in a queue

    @classmethod
    def queue_address(cls, settings: Mapping[str, Any]) -> QueueAddress | None:
        """The queue of this connection; None: the vendor uses none, or the merchant has not named one.

        The hub empties it every ``capabilities.message_poll_seconds``: each message is stored like a webhook, and
        deleted from the queue only after that. ``read_webhook`` reads what was stored.
        """
        return None

    @classmethod
    def read_message(cls, body: bytes) -> Delivery | None:
        """What a message of the queue is about, and the key under which a second copy of it is recognized. Pure.

        None: it is nothing to be kept (a test message). Raises Unreadable; the hub keeps such a message all the same.
        """
        raise Rejected(f"{cls.label} leaves no messages.")

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        """Make the vendor send the topics the connector needs to ``request["address"]``; adds what is missing.

        Reads the vendor's subscriptions first, so that repeating it changes nothing. Those that this connection left
        behind at another address (the path is the same, the hub has moved) are deleted.
        """
        raise Rejected(f"{self.label} sends no webhooks.")

    def read_subscriptions(self, address: str) -> Subscriptions:
        """Which topics the vendor sends to ``address`` now. Changes nothing; asked for every now and then."""
        raise Rejected(f"{self.label} sends no webhooks.")

    # --- effects. A connector lists in ``effects`` those it implements.

    def perform(self, kind: str, request: Mapping[str, Any], key: str) -> EffectResult:
        """Carry out the effect ``kind``: calls the method of that name with the request as its class, and ``key``."""
        if kind not in self.effects:
            raise Rejected(f"{self.label} does not support “{kind}”.")
        return _effect_result(getattr(self, kind)(self._request(kind, request), key))

    def find(self, kind: str, request: Mapping[str, Any], key: str) -> EffectResult | None:
        """Look for the result of an earlier attempt: calls ``find_<kind>``. None: the vendor surely has none."""
        found = getattr(self, f"find_{kind}")(self._request(kind, request), key)
        return None if found is None else _effect_result(found)

    def _request(self, kind: str, request: Mapping[str, Any]) -> Any:
        if kind not in self._requests:
            return request
        try:
            return from_plain(self._requests[kind], request)
        except ValueError as error:
            raise Rejected(
                f"What was stored for “{kind}” cannot be read ({error}). Cancel it, and ask anew."
            ) from error


def _effect_result(result: Any) -> EffectResult:
    match result:
        case Label():
            details = to_plain(replace(result, documents=()))
            return EffectResult(result.external_id, details, result.documents)
        case LabelVoid():
            return EffectResult(result.label_external_id, to_plain(result))
        case Submission():
            return EffectResult(result.external_id, to_plain(result))
        case Cancellation():
            return EffectResult(result.reference, to_plain(result))
    return result  # type: ignore[no-any-return]  # an EffectResult, or what the engine will complain about


class SalesChannel(Connector):
    """A shop or marketplace: orders come from it, stock goes to it."""

    kind = Kind.CHANNEL
    capabilities: ClassVar[Capabilities] = Capabilities()
    _requests = {  # noqa: RUF012 (declared in Connector)
        "confirm_shipment": ShipmentConfirmation,
        "hold_work": WorkHold,
        "release_work": WorkRelease,
        "move_work": WorkMove,
        "split_work": WorkSplit,
        "answer_work": WorkAnswer,
        "stock_listing": StockListing,
        "cancel_order": OrderCancellation,
        "refund": RefundRequest,
    }

    # --- in: fetching (talks to the vendor, stores nothing)

    @abstractmethod
    def fetch_orders(self, cursor: str | None) -> Iterator[Page]:
        """Every order changed since ``cursor`` (None: every order the hub should know), oldest change first.

        Each page's records have the topic "order". The cursor of a page must lead to everything after it, with an
        overlap wide enough for the vendor's clock and index lag; records met twice are recognized by the hub.
        """

    @abstractmethod
    def fetch_order(self, external_id: str) -> RawRecord:
        """One order, whole. Raises NotFound when it was deleted."""

    @abstractmethod
    def fetch_listings(self, cursor: str | None) -> Iterator[Page]:
        """Every listing (None: all of them); records have the topic "listing". One record may hold many listings."""

    @abstractmethod
    def fetch_listing(self, external_id: str) -> RawRecord:
        """The record (topic "listing") that holds the listing. Raises NotFound when it was deleted."""

    # --- in: reading (pure: no clock, no network)

    @abstractmethod
    def read_order(self, record: RawRecord) -> Order:
        """The order in a record of fetch_orders or fetch_order. Raises Unreadable."""

    @abstractmethod
    def read_listing(self, record: RawRecord) -> Iterable[Listing]:
        """The listings in a record of fetch_listings or fetch_listing. Raises Unreadable."""

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        """What a stored webhook says; nothing for a topic that does not matter. Raises Unreadable."""
        return ()

    # --- out: convergent state

    @abstractmethod
    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | Unread | None]:
        """What the channel says is available, in the order of ``refs``; None: unknown listing, or not tracked there.

        UNREAD stands for one that could not be read now. Raise where none could be, or where nobody can tell which.
        At most ``capabilities.push_batch`` refs are asked for at once.
        """

    @abstractmethod
    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Write absolute quantities, within ``capabilities``; one outcome per push, in order.

        One bad item must not spoil the others. Raise only when nothing was written, or nobody can tell what was.
        """

    def settle_stock(self, reference: str, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """What became of pushes that were PENDING under ``reference``; one outcome per push, in order.

        PENDING again: the vendor is still at it. NotFound: it knows nothing of it (any more), so they are written anew.
        """
        raise Rejected(f"{self.label} answers at once.")

    # --- out: effects

    def confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult:
        """Tell the channel what was shipped; the result's reference is the channel's id of it.

        Exactly the lines of ``confirmation``, with its tracking. ``find_confirm_shipment`` goes with the class LOOKUP.
        Raises Rejected where the channel says no (already shipped, cancelled, no such line).
        """
        raise Rejected(f"{self.label} takes no shipments.")

    def find_confirm_shipment(self, confirmation: ShipmentConfirmation, key: str) -> EffectResult | None:
        """The confirmation that an earlier attempt may have left at the channel; None: it surely has none."""
        raise Rejected(f"{self.label} cannot be asked for a shipment.")

    def cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult:
        """Cancel an order; done means that the channel shows it as cancelled.

        An order that is cancelled already is done. Where the channel goes on with it behind the answer, raise
        Unavailable until it has: it is looked at again. Raises Rejected where the channel says no (shipped, returned).
        """
        raise Rejected(f"{self.label} takes no cancellations.")

    def find_cancel_order(self, cancellation: OrderCancellation, key: str) -> EffectResult | None:
        """Whether the order is cancelled by now; None: it is not. Goes with the class LOOKUP."""
        raise Rejected(f"{self.label} cannot be asked whether an order is cancelled.")

    def refund(self, refund: RefundRequest, key: str) -> EffectResult:
        """Give money back, exactly so much; the result's reference is the channel's id of the refund.

        ``details["by_hand"]`` is True where the channel only notes it, and the merchant hands the money out. Raises
        Rejected, and changes nothing, where it is more than is left of what was paid. ``find_refund`` goes with LOOKUP.
        """
        raise Rejected(f"{self.label} gives no money back.")

    def find_refund(self, refund: RefundRequest, key: str) -> EffectResult | None:
        """The refund that an earlier attempt may have made, found by its reference; None: there surely is none."""
        raise Rejected(f"{self.label} cannot be asked for a refund.")

    # The next five go with channels that deal an order out to locations themselves (``Order.work``). Repeating one must
    # be harmless: read what stands there, change what differs.

    def hold_work(self, hold: WorkHold, key: str) -> EffectResult:
        """Hold a part of an order back; the result's reference is the channel's id of the hold."""
        raise Rejected(f"{self.label} cannot be told to hold an order.")

    def release_work(self, release: WorkRelease, key: str) -> EffectResult:
        """Take our holds off again."""
        raise Rejected(f"{self.label} cannot be told to release an order.")

    def move_work(self, move: WorkMove, key: str) -> EffectResult:
        """Have another location ship it; the result's reference is the id it has there."""
        raise Rejected(f"{self.label} cannot be told which location ships an order.")

    def split_work(self, split: WorkSplit, key: str) -> EffectResult:
        """Make these units a part of their own; the result's reference is its id."""
        raise Rejected(f"{self.label} cannot be told to split an order.")

    def answer_work(self, answer: WorkAnswer, key: str) -> EffectResult:
        """Accept or reject what the channel asks of the location."""
        raise Rejected(f"{self.label} asks for no answer.")

    def stock_listing(self, listing: StockListing, key: str) -> EffectResult:
        """Begin to keep stock of a listing at a location where the channel kept none."""
        raise Rejected(f"{self.label} keeps stock of every listing everywhere.")


class Carrier(Connector):
    """A carrier, or a service that sells labels of many: rates, labels and tracking."""

    kind = Kind.CARRIER
    capabilities: ClassVar[CarrierCapabilities] = CarrierCapabilities()
    _requests = {"buy_label": LabelPurchase, "void_label": Label}  # noqa: RUF012 (declared in Connector)

    # --- asking

    @abstractmethod
    def rates(self, shipment: Shipment) -> Quotes:
        """What the shipment costs with each service that takes it; no rate where none does.

        Nothing is bought. Ids that buying will need go into ``Rate.handles``: the hub stores them before it buys.
        Raises Rejected where the vendor refuses the shipment itself (an address, a weight), with its words.
        """

    def validate_address(self, address: Address) -> AddressVerdict:
        """What the carrier thinks of an address; goes with ``capabilities.validates_addresses``."""
        raise Rejected(f"{self.label} does not check addresses.")

    def fetch_documents(self, label: Label, format: DocumentFormat) -> Sequence[Document]:
        """The files of a label that was bought: called where ``buy_label`` returned none, as often as needed."""
        raise Rejected(f"{self.label} gives the file of a label only when it is bought.")

    # --- effects: each buys or cancels something, so each names its settlement class in ``effects``

    @abstractmethod
    def buy_label(self, purchase: LabelPurchase, key: str) -> Label:
        """Buy the label: this charges money. Send ``purchase.shipment.reference`` (and ``key``) along.

        Nothing may fail once it is bought: a file that has to be downloaded is left to ``fetch_documents``. Raises
        Rejected where the carrier says no, Unavailable where nobody can tell whether it was bought.
        """

    def find_buy_label(self, purchase: LabelPurchase, key: str) -> Label | None:
        """The label that an earlier attempt may have bought. None: it surely was not. Goes with the class LOOKUP."""
        raise Rejected(f"{self.label} cannot be asked for a label by our reference.")

    @abstractmethod
    def void_label(self, label: Label, key: str) -> LabelVoid:
        """Give the label back unused. "Too late" is an answer (REFUSED), not an error."""

    def find_void_label(self, label: Label, key: str) -> LabelVoid | None:
        """What an earlier attempt to void it has led to. None: the label surely was not voided."""
        raise Rejected(f"{self.label} cannot be asked whether a label was voided.")

    # --- tracking

    @abstractmethod
    def track(self, label: Label) -> Iterator[RawRecord]:
        """What the carrier says of each parcel of the label: topic "tracking", the external id its tracking number."""

    @abstractmethod
    def read_tracking(self, record: RawRecord) -> Tracking:
        """The tracking in a record of ``track``. Pure. Raises Unreadable."""

    def follow_parcels(self, tracking_numbers: Sequence[str], address: str) -> Sequence[str]:
        """Have the carrier send to ``address`` what happens to these parcels; goes with ``capabilities.follow_days``.

        Asked soon after a label is bought, and again before the days are over: repeating it only renews. Returns those
        that the carrier does not follow; the hub goes on asking for them by itself.
        """
        raise Rejected(f"{self.label} sends no webhooks of single parcels.")

    def read_webhook(self, record: RawRecord) -> Iterable[CarrierFact]:
        """What a stored webhook says; nothing for a topic that does not matter. Pure. Raises Unreadable."""
        return ()


class FulfillmentProvider(Connector):
    """A third-party warehouse (3PL): it keeps stock and ships orders for the merchant."""

    kind = Kind.PROVIDER
    capabilities: ClassVar[ProviderCapabilities] = ProviderCapabilities()
    _requests = {"submit": FulfillmentOrder, "cancel": Submission}  # noqa: RUF012 (declared in Connector)

    # --- effects: each names its settlement class in ``effects``

    @abstractmethod
    def submit(self, order: FulfillmentOrder, key: str) -> Submission:
        """Ask the provider to ship the order. Send ``order.reference`` (and ``key``) along.

        Raises Rejected where the provider refuses it at once; one that answers later returns SUBMITTED.
        """

    def find_submit(self, order: FulfillmentOrder, key: str) -> Submission | None:
        """The order that an earlier attempt may have placed. None: it surely was not. Goes with the class LOOKUP."""
        raise Rejected(f"{self.label} cannot be asked for an order by our reference.")

    @abstractmethod
    def cancel(self, submission: Submission, key: str) -> Cancellation:
        """Ask the provider not to ship the order. "Too late" is an answer (REFUSED), not an error.

        ``submission.external_id`` is "" where the answer to ``submit`` never came: the reference is all there is.
        """

    def find_cancel(self, submission: Submission, key: str) -> Cancellation | None:
        """What an earlier attempt to cancel has led to. None: the order surely was not cancelled."""
        raise Rejected(f"{self.label} cannot be asked whether an order was cancelled.")

    # --- in: fetching (talks to the vendor, stores nothing)

    @abstractmethod
    def fetch_shipments(self, cursor: str | None) -> Iterator[Page]:
        """Every order or shipment changed since ``cursor`` (None: all that are open), oldest change first.

        Records have the topic "shipment". Where a file of rows comes, make a record of each row, or of the rows of one
        shipment: what cannot be read is set aside record by record.
        """

    @abstractmethod
    def fetch_stock(self, cursor: str | None) -> Iterator[Page]:
        """The stock of every SKU, or what changed since ``cursor``; a record per SKU or row, topic "stock"."""

    def fetch_order(self, external_id: str) -> RawRecord:
        """One order (topic "shipment"), after a webhook that only named it. Raises NotFound."""
        raise Rejected(f"{self.label} cannot be asked for one order.")

    # --- in: reading (pure: no clock, no network)

    @abstractmethod
    def read_shipments(self, record: RawRecord) -> Iterable[Progress | ProviderShipment | Cancellation | Tracking]:
        """How far an order is, what has left and where that is, in a record of ``fetch_shipments``. Raises Unreadable.

        A shipment comes before the tracking of its parcels.
        """

    @abstractmethod
    def read_stock(self, record: RawRecord) -> Iterable[StockCount | StockAdjustment]:
        """The stock in a record of ``fetch_stock``. Raises Unreadable."""

    def read_webhook(self, record: RawRecord) -> Iterable[ProviderFact]:
        """What a stored webhook says; nothing for a topic that does not matter. Raises Unreadable."""
        return ()
