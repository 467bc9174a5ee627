"""What a connector is: its base classes and the few values it exchanges with the hub.

A connector is constructed per job with a ``Context`` and lives no longer than that job. It never sees a database, a
queue or another connection. Everything it fetches goes to the hub as raw records; everything it reads is read by a
pure function of one raw record, so that reading can be repeated. It raises the errors of ``hub.errors`` and never
retries by itself: the hub does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hub.core.model import Account, Listing, Order
from hub.errors import Rejected

if TYPE_CHECKING:
    import marshmallow

    from hub.http import Client

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
class RawRecord:
    """One record as the vendor sent it.

    ``topic`` is the webhook's topic, or "order" / "listing" for fetched records. ``version`` is the record's
    last-modified mark as text ("" if it has none); together with the external id and the body's hash it tells
    whether a polled record is new. ``headers`` are a webhook's (lower-case), empty for a fetched record.
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
    many records the whole fetch expects, where the vendor says so: it feeds a progress bar.
    """

    records: tuple[RawRecord, ...]
    cursor: str
    total: int | None = None


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
    """The record only tells that something changed: fetch ``kind`` ("order" or "listing") ``external_id`` itself."""

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


Fact = Order | Listing | OrderRemoved | ListingRemoved | Refetch | StockSeen

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


class PushState(StrEnum):
    WRITTEN = "written"
    STALE = "stale"  # compare-and-set failed: somebody else changed the quantity
    RETRY = "retry"  # this one could not be written now; it will be tried again
    REJECTED = "rejected"  # refused for good: becomes an Issue
    GONE = "gone"  # the listing does not exist at the channel any more


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What became of one StockPush; ``quantity`` is what the channel says now, where its answer tells."""

    state: PushState
    quantity: int | None = None
    message: str = ""


class Settlement(StrEnum):
    """How an unclear outcome of an effect is settled."""

    NATIVE_KEY = "native_key"  # send the same key again: the vendor recognizes it
    NATURAL_KEY = "natural_key"  # repeating is harmless: do it again, read back
    LOOKUP = "lookup"  # find it by our reference, then decide
    NONE = "none"  # a person decides


@dataclass(frozen=True, slots=True)
class EffectResult:
    """What an effect brought about: the vendor's id of it and details worth keeping (JSON values, no secrets)."""

    reference: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a connector can do: the hub and its pages go by this.

    ``compare_and_set``: push_stock honors ``StockPush.expected``. ``push_batch``: most pushes per call of push_stock,
    and most refs per call of read_stock. ``webhooks``: it can subscribe and verify. ``min_poll_seconds``: the shortest
    sensible pause between two polls of the same stream.
    """

    compare_and_set: bool = False
    push_batch: int = 100
    webhooks: bool = True
    min_poll_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class RateBudget:
    """At most ``burst`` units at once, restored at ``per_second``; shared by all workers of one connection."""

    per_second: float
    burst: float


# ---------------------------------------------------------------- the context a connector lives in


@dataclass(frozen=True, slots=True)
class Token:
    """A short-lived credential obtained with the settings; ``expires_at`` aware UTC, None if it does not expire."""

    value: str = field(repr=False)
    expires_at: datetime | None = None


class TokenVault(Protocol):
    """Keeps short-lived tokens of one connection, encrypted, shared by all workers."""

    def token(self, name: str, obtain: Callable[[], Token], *, refused: str | None = None) -> str:
        """The valid token ``name``; calls ``obtain`` when there is none, when it is about to expire, or when the kept
        one equals ``refused`` (the vendor answered 401 to it). At most one ``obtain`` at a time per connection."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """All a connector gets: its settings as loaded by its schema, an HTTP client bound to its hosts, a clock, tokens.

    ``webhook_secret`` is made by the hub per connection, for vendors that let the receiver choose the signing secret.
    In the web process, where only ``verify`` runs, ``client`` refuses every request.
    """

    settings: Mapping[str, Any] = field(repr=False)
    webhook_secret: str = field(repr=False)
    client: Client
    now: Callable[[], datetime]
    tokens: TokenVault


class Connector(ABC):
    """One outside system. Subclass SalesChannel rather than this."""

    name: ClassVar[str]  # unique, lower-case: "shopify"
    label: ClassVar[str]  # for people: "Shopify"
    description: ClassVar[str] = ""
    api_version: ClassVar[str] = ""
    api_version_ends: ClassVar[date | None] = None  # when the vendor stops serving api_version, if it says
    # Schema of the connect form. Give every field the metadata "label" and "hint", and secrets "secret": True.
    settings_schema: ClassVar[type[marshmallow.Schema]]
    effects: ClassVar[Mapping[str, Settlement]] = {}  # method name -> how an unclear outcome is settled
    rate_budget: ClassVar[RateBudget | None] = None
    raw_days: ClassVar[int | None] = None  # keep raw bodies at most this long, None: as long as the hub does

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.client = context.client

    @classmethod
    @abstractmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        """Base addresses this connection may talk to, such as ("https://acme.example",): scheme, host, port."""

    @abstractmethod
    def check(self) -> Account:
        """Prove that the settings work and say whose account it is. Raises AuthError, Rejected, Unavailable."""

    def perform(self, kind: str, request: Mapping[str, Any], key: str) -> EffectResult:
        """Carry out the effect ``kind``: calls the method of that name with (request, key)."""
        if kind not in self.effects:
            raise Rejected(f"{self.label} does not support “{kind}”.")
        result: EffectResult = getattr(self, kind)(request, key)
        return result

    def find(self, kind: str, request: Mapping[str, Any], key: str) -> EffectResult | None:
        """Look for the result of an earlier attempt: calls ``find_<kind>``. None: the vendor surely has none."""
        result: EffectResult | None = getattr(self, f"find_{kind}")(request, key)
        return result


class SalesChannel(Connector):
    """A shop or marketplace: orders come from it, stock goes to it."""

    capabilities: ClassVar[Capabilities] = Capabilities()

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

    def verify(self, webhook: Webhook) -> Delivery | None:
        """Check the signature over the raw bytes, in constant time. None: a handshake to be answered 200, not stored.

        Runs in the web process: no network, no parsing of the body. Raises Unverified.
        """
        raise Rejected(f"{self.label} sends no webhooks.")

    def read_webhook(self, record: RawRecord) -> Iterable[Fact]:
        """What a stored webhook says; nothing for a topic that does not matter. Raises Unreadable."""
        return ()

    # --- out: convergent state

    @abstractmethod
    def read_stock(self, refs: Sequence[StockRef]) -> Sequence[int | None]:
        """What the channel says is available, in the order of ``refs``; None: unknown listing, or not tracked there.

        At most ``capabilities.push_batch`` refs are asked for at once.
        """

    @abstractmethod
    def push_stock(self, pushes: Sequence[StockPush]) -> Sequence[PushOutcome]:
        """Write absolute quantities, none below 0; one outcome per push, in order.

        One bad item must not spoil the others. Raise only when nothing was written, or nobody can tell what was.
        """

    # --- out: effects. A connector lists in ``effects`` those it implements.

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> EffectResult:
        """Make the vendor send the topics the connector needs to ``request["address"]``; adds what is missing.

        Reads the vendor's subscriptions first, so that repeating it changes nothing.
        """
        raise Rejected(f"{self.label} sends no webhooks.")
