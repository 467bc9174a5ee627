"""A simulated seller account at Amazon: Login with Amazon, tokens, usage plans, subscriptions, messages in a queue.

What both simulators of this package share. A part of the API (orders, listings, Amazon's warehouses) is an object of
its own that is given to ``SellerAccount.offer``: each operation with what answers it.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from hub.testing import Letter, SimRequest, SimResponse, VendorSimulator
from hub_amazon.marketplaces import BY_CODE, BY_ID, Marketplace
from hub_amazon.simulator_models import Models
from hub_amazon.simulator_operations import (
    CREATE_DESTINATION,
    CREATE_SUBSCRIPTION,
    DELETE_DESTINATION,
    DELETE_SUBSCRIPTION,
    GET_DESTINATION,
    GET_DESTINATIONS,
    GET_PARTICIPATIONS,
    GET_SUBSCRIPTION,
    GET_SUBSCRIPTION_BY_ID,
    GET_SUBSCRIPTIONS,
    Call,
    Operation,
    Refused,
    invalid,
    known,
    needed,
)

if TYPE_CHECKING:
    from hub.testing.queues import QueueServer

Handler = Callable[[Call], SimResponse]

LOGIN = "https://api.amazon.com"
PICTURES = "https://m.media-amazon.com"
TOKEN_LIFE = timedelta(hours=1)
CODE_LIFE = timedelta(minutes=5)
# Of each type of notification: the version of its payload, and whether its envelope begins with capitals.
NOTIFICATIONS: Mapping[str, tuple[str, bool]] = {
    "ORDER_CHANGE": ("1.0", True),
    "FULFILLMENT_ORDER_STATUS": ("1.0", True),
    "FBA_INVENTORY_AVAILABILITY_CHANGES": ("1.0", True),
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": ("1.0", True),
    "LISTINGS_ITEM_STATUS_CHANGE": ("1.0", True),
    "FEED_PROCESSING_FINISHED": ("2020-09-04", False),
}
_GRANTLESS_SCOPE = "sellingpartnerapi::notifications"
_LANGUAGES = {"UK": "en_GB", "DE": "de_DE", "FR": "fr_FR", "IT": "it_IT", "ES": "es_ES", "JP": "ja_JP", "BR": "pt_BR"}
_TRIES = (1.0, 10.0, 60.0)  # a message that the queue did not take is sent again


@functools.cache
def queue_server() -> QueueServer:
    """The queues of every simulated account of this process. Needs the extra ``simulator``."""
    from hub.testing.queues import QueueServer

    server = QueueServer()
    atexit.register(server.close)
    return server


@dataclass(slots=True)
class _Token:
    """An access token; ``grantless`` is that of the application itself."""

    expires_at: datetime
    grantless: bool


@dataclass(slots=True)
class _Bucket:
    """What is left of one operation's usage plan."""

    left: float
    at: datetime


class SellerAccount(VendorSimulator):
    """A seller in one region with an application of its own, and what both have at Amazon.

    ``marketplaces`` are those the seller takes part in, by code, the home first. ``plan`` is how much more than the
    usual usage plans the account has, as sellers with many orders do: 1 is what Amazon's documentation says. With
    ``models`` every request and every answer is checked against Amazon's own. Tests may set ``redirects`` (where the
    application may send people back to, None for anywhere), ``tells_rates`` (whether answers name their limit) and
    ``token_life``.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seed: int = 0,
        marketplaces: Sequence[str] = ("DE", "FR"),
        plan: float = 1000.0,
        models: Models | None = None,
    ) -> None:
        super().__init__(now=now, seed=seed)
        self.webhook_retries = _TRIES
        self.marketplaces: tuple[Marketplace, ...] = tuple(BY_CODE[code] for code in marketplaces)
        self.home = self.marketplaces[0]
        region = self.home.region
        self.origin = region.host
        self.document_host = region.document_hosts[0]
        self.other_origins = (LOGIN, self.document_host, f"https://{self.home.seller_central}", PICTURES)
        self.plan = plan
        self.models = models
        self.draw = random.Random(seed)
        self.ids = itertools.count(1)
        self.seller_id = f"A{self.draw.randrange(16**12):012X}"
        self.application_id = "amzn1.sp.solution.00000000-aaaa-4bbb-8ccc-dddddddddddd"
        self.client_id = "amzn1.application-oa2-client.0123456789abcdef"
        self.client_secret = "amzn1.oa2-cs.v1.simulated0123456789"
        self.refresh_token = "Atzr|simulated-refresh-token-0123456789"
        self.redirects: Sequence[str] | None = None
        self.tells_rates = True
        self.token_life = TOKEN_LIFE
        self.permitted = True
        self.queue_name = f"tallyhub-{uuid.uuid4().hex[:12]}"  # of this simulator alone, in whatever process
        self.queue_open = True
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self._destinations: dict[str, dict[str, Any]] = {}
        self._codes: dict[str, datetime] = {}
        self._tokens: dict[str, _Token] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._operations: list[tuple[Operation, Handler]] = []
        self.offer(
            {
                GET_PARTICIPATIONS: self._tell_participations,
                GET_DESTINATIONS: self._tell_destinations,
                CREATE_DESTINATION: self._make_destination,
                GET_DESTINATION: self._tell_destination,
                DELETE_DESTINATION: self._delete_destination,
                GET_SUBSCRIPTION: self._tell_subscription,
                GET_SUBSCRIPTIONS: self._tell_subscriptions,
                CREATE_SUBSCRIPTION: self._subscribe,
                GET_SUBSCRIPTION_BY_ID: self._tell_subscription_by_id,
                DELETE_SUBSCRIPTION: self._unsubscribe,
            }
        )

    def offer(self, operations: Mapping[Operation, Handler]) -> None:
        """Answer these operations, too."""
        self._operations += operations.items()

    # --- what people do

    def settings(self) -> dict[str, str]:
        queue = queue_server().create(self.queue_name)
        return {
            "marketplaces": ", ".join(each.code for each in self.marketplaces),
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "application_id": self.application_id,
            "seller_id": self.seller_id,
            "refresh_token": self.refresh_token,
            "queue_url": queue.url,
            "queue_key_id": queue.key_id,
            "queue_secret": queue.secret,
        }

    def routes(self) -> dict[str, str]:
        return super().routes() | queue_server().routes()

    def approve(self, address: str) -> str:
        """The seller follows ``address`` to Seller Central and agrees; returns where the browser is sent to.

        Raises ValueError with what the page says where it does not ask for anything.
        """
        parts = urlsplit(address)
        if parts.hostname != self.home.seller_central:
            raise ValueError(f"This leads to {parts.hostname}.")
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        page = self.handle(SimRequest("GET", parts.path, query, {"host": parts.hostname}))
        if page.status != 302:
            raise ValueError(page.body.decode())
        return page.headers["Location"]

    def take_back(self) -> None:
        """The seller takes the permission back in Seller Central: every token stops working."""
        with self.lock:
            self.permitted = False
            self._codes.clear()
            self.revoke_tokens()

    def revoke_tokens(self) -> None:
        """All access tokens given so far stop working."""
        with self.lock:
            self._tokens.clear()

    def listen_elsewhere(self, type: str, name: str = "another-program") -> None:
        """Another program of the seller's has this type of notification left in a queue of its own."""
        with self.lock:
            queue_server().create(name)
            id = self.unique()
            self._destinations[id] = {
                "destinationId": id,
                "name": name,
                "resource": {"sqs": {"arn": queue_server().arn(name)}},
            }
            version, _ = NOTIFICATIONS[type]
            self.subscriptions[type] = {
                "subscriptionId": self.unique(),
                "payloadVersion": version,
                "destinationId": id,
            }

    def replace_secret(self) -> str:
        """Somebody makes a new client secret; the one before stops working. Returns the new one."""
        with self.lock:
            self.client_secret = f"amzn1.oa2-cs.v1.{self.unique()}"
            return self.client_secret

    # --- answering

    def answer(self, request: SimRequest) -> SimResponse:
        if request.path == "/auth/o2/token" and request.method == "POST":
            return self._grant(dict(parse_qsl(request.body.decode("utf-8", "replace"))))
        if request.path == "/apps/authorize/consent":
            return self._consent(request)
        document = self.document(request)
        if document is not None:
            return document
        for operation, handler in self._operations:
            if (names := operation.names(request)) is not None:
                return self._operate(operation, handler, names, request)
        return _refusal(Refused(404, "NotFound", "The resource doesn't exist.", request.path))

    def document(self, request: SimRequest) -> SimResponse | None:
        """What the store of documents answers; None where something else was asked."""
        return None

    def error_inside(self, request: SimRequest) -> SimResponse:
        error = {"code": "InternalFailure", "message": "We encountered an internal error. Please try again."}
        return SimResponse.of_json({"errors": [error]})

    def _operate(
        self, operation: Operation, handler: Handler, names: dict[str, str], request: SimRequest
    ) -> SimResponse:
        headers = {"x-amzn-RequestId": self.unique()}
        rate = operation.rate * self.plan
        if self.tells_rates:
            headers["x-amzn-RateLimit-Limit"] = f"{rate:g}"
        try:
            self._admit(operation, request)
            self._spend(operation, rate)
            call = Call(operation, names, operation.query(request), request)
            if self.models is not None and (problem := self.models.problem_of_request(operation, call)):
                raise invalid(problem)
            response = handler(call)
        except Refused as refusal:
            response = _refusal(refusal)
        if self.models is not None and (problem := self.models.problem_of_answer(operation, response)):
            raise AssertionError(f"{operation.name} answers what its model does not allow: {problem}")
        return replace(response, headers={**response.headers, **headers})

    def _admit(self, operation: Operation, request: SimRequest) -> None:
        """Refuse a token that is missing, over, or for something else."""
        token = request.headers.get("x-amz-access-token", "")
        kept = self._tokens.get(token)
        said = ""
        if not token:
            said = "Access token is missing in the request header."
        elif kept is None:
            said = "The access token you provided is revoked, malformed or invalid."
        elif kept.expires_at <= self.now():
            said = "The access token you provided has expired."
        if said or kept is None:
            raise Refused(403, "Unauthorized", "Access to requested resource is denied.", said)
        if kept.grantless is not operation.grantless:
            raise Refused(403, "Unauthorized", "Access to requested resource is denied.")

    def _spend(self, operation: Operation, rate: float) -> None:
        """Take one call from the operation's usage plan. Raises Refused when there is none left."""
        now, burst = self.now(), operation.burst * self.plan
        bucket = self._buckets.setdefault(f"{operation.model} {operation.name}", _Bucket(burst, now))
        passed = max(0.0, (now - bucket.at).total_seconds())
        bucket.left, bucket.at = min(burst, bucket.left + passed * rate), now
        if bucket.left < 1:
            raise Refused(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")
        bucket.left -= 1

    def unique(self) -> str:
        """An id that nothing else has, by the seed."""
        return str(uuid.UUID(int=self.draw.getrandbits(128), version=4))

    # --- Login with Amazon

    def _consent(self, request: SimRequest) -> SimResponse:
        """The page of Seller Central on which a seller agrees; here nobody has to press the button."""
        back = request.parameter("redirect_uri") or next(iter(self.redirects or ()), "")
        if request.parameter("application_id") != self.application_id:
            return SimResponse(400, {"Content-Type": "text/plain"}, b"MD1000: the application is not known.")
        if not back or (self.redirects is not None and back not in self.redirects):
            return SimResponse(400, {"Content-Type": "text/plain"}, b"MD9100: the redirect URI is not registered.")
        self.permitted = True
        code = self.unique()
        self._codes[code] = self.now() + CODE_LIFE
        said = {
            "state": request.parameter("state"),
            "selling_partner_id": self.seller_id,
            "spapi_oauth_code": code,
        }
        return SimResponse(302, {"Location": f"{back}{'&' if urlsplit(back).query else '?'}{urlencode(said)}"})

    def _grant(self, form: Mapping[str, str]) -> SimResponse:
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return _oauth_error(401, "invalid_client", "Client authentication failed")
        match form.get("grant_type"):
            case "refresh_token":
                if not self.permitted or form.get("refresh_token") != self.refresh_token:
                    return _oauth_error(400, "invalid_grant", "The request has an invalid grant parameter")
            case "authorization_code":
                expires_at = self._codes.pop(form.get("code", ""), None)
                if expires_at is None or expires_at <= self.now():
                    return _oauth_error(400, "invalid_grant", "The request has an invalid grant parameter : code")
            case "client_credentials":
                if form.get("scope") != _GRANTLESS_SCOPE:
                    return _oauth_error(400, "invalid_scope", "The request has an invalid scope")
                return self._token_given(grantless=True)
            case _:
                return _oauth_error(400, "unsupported_grant_type", "The grant type is not supported")
        return self._token_given(grantless=False)

    def _token_given(self, *, grantless: bool) -> SimResponse:
        token = f"Atza|{self.unique()}"
        self._tokens[token] = _Token(self.now() + self.token_life, grantless)
        said = {"access_token": token, "token_type": "bearer", "expires_in": int(self.token_life.total_seconds())}
        return SimResponse.of_json(said if grantless else {**said, "refresh_token": self.refresh_token})

    # --- the account

    def marketplace(self, id: str) -> Marketplace:
        """A marketplace the seller takes part in. Raises Refused."""
        found = BY_ID.get(id)
        if found not in self.marketplaces:
            raise invalid(f"The seller does not take part in the marketplace {id}.")
        return found

    def _tell_participations(self, call: Call) -> SimResponse:
        return SimResponse.of_json(
            {
                "payload": [
                    {
                        "marketplace": {
                            "id": each.external_id,
                            "name": f"Amazon.{each.code.lower()}",
                            "countryCode": "GB" if each.code == "UK" else each.code,
                            "defaultCurrencyCode": each.currency,
                            "defaultLanguageCode": _LANGUAGES.get(each.code, "en_US"),
                            "domainName": f"www.amazon.{each.code.lower()}",
                        },
                        "participation": {"isParticipating": True, "hasSuspendedListings": False},
                        "storeName": "Kiln & Cloth",
                    }
                    for each in self.marketplaces
                ]
            }
        )

    # --- where messages go

    def _tell_destinations(self, call: Call) -> SimResponse:
        return SimResponse.of_json({"payload": list(self._destinations.values())})

    def _make_destination(self, call: Call) -> SimResponse:
        told = call.body()
        needed(told, "name", "resourceSpecification")
        known(told, "name", "resourceSpecification")
        arn = told["resourceSpecification"].get("sqs", {}).get("arn", "")
        if arn.endswith(".fifo"):
            raise invalid("FIFO queues are not supported.")
        if arn != queue_server().arn(self.queue_name) or not self.queue_open:
            raise invalid("The queue does not exist, or Amazon may not send messages to it.")
        if any(each["resource"]["sqs"]["arn"] == arn for each in self._destinations.values()):
            raise Refused(409, "ResourceConflict", "The destination exists already.")
        id = self.unique()
        self._destinations[id] = {"destinationId": id, "name": told["name"], "resource": {"sqs": {"arn": arn}}}
        return SimResponse.of_json({"payload": self._destinations[id]})

    def _destination(self, call: Call) -> str:
        id = call.path["destinationId"]
        if id not in self._destinations:
            raise Refused(404, "NotFound", "The destination does not exist.")
        return id

    def _tell_destination(self, call: Call) -> SimResponse:
        return SimResponse.of_json({"payload": self._destinations[self._destination(call)]})

    def _delete_destination(self, call: Call) -> SimResponse:
        id = self._destination(call)
        if any(each["destinationId"] == id for each in self.subscriptions.values()):
            raise Refused(409, "ResourceConflict", "There are subscriptions to the destination.")
        del self._destinations[id]
        return SimResponse.of_json({})

    def _type(self, name: str) -> str:
        if name not in NOTIFICATIONS:
            raise invalid(f"There is no notification type {name}.")
        return name

    def _subscribed(self, type: str, version: str | None) -> dict[str, Any]:
        """The subscription to a type. Raises Refused where there is none."""
        found = self.subscriptions.get(self._type(type))
        if found is None or version not in (None, found["payloadVersion"]):
            raise Refused(404, "NotFound", "There is no subscription.")
        return found

    def _tell_subscription(self, call: Call) -> SimResponse:
        found = self._subscribed(call.path["notificationType"], call.query.get("payloadVersion"))
        return SimResponse.of_json({"payload": found})

    def _tell_subscriptions(self, call: Call) -> SimResponse:
        [type] = call.query["notificationTypes"]
        found = self.subscriptions.get(self._type(type))
        return SimResponse.of_json({"payload": {"subscriptions": [found] if found else []}})

    def _subscribe(self, call: Call) -> SimResponse:
        type, told = self._type(call.path["notificationType"]), call.body()
        needed(told, "destinationId", "payloadVersion")
        known(told, "destinationId", "payloadVersion", "processingDirective")
        if told["destinationId"] not in self._destinations:
            raise invalid("The destination does not exist.")
        if told["payloadVersion"] != NOTIFICATIONS[type][0]:
            raise invalid(f"There is no version {told['payloadVersion']} of {type}.")
        if type in self.subscriptions:
            raise Refused(409, "ResourceConflict", "The subscription exists already.")
        directive = told.get("processingDirective")
        if directive is not None:
            filtered = directive.get("eventFilter", {}).get("eventFilterType")
            if filtered not in (None, type) or (filtered and type != "ORDER_CHANGE"):
                raise invalid(f"{type} cannot be filtered so.")
        self.subscriptions[type] = {"subscriptionId": self.unique(), **told}
        return SimResponse.of_json({"payload": self.subscriptions[type]})

    def _by_id(self, call: Call) -> str:
        type, id = self._type(call.path["notificationType"]), call.path["subscriptionId"]
        if self.subscriptions.get(type, {}).get("subscriptionId") != id:
            raise Refused(404, "NotFound", "There is no such subscription.")
        return type

    def _tell_subscription_by_id(self, call: Call) -> SimResponse:
        return SimResponse.of_json({"payload": self.subscriptions[self._by_id(call)]})

    def _unsubscribe(self, call: Call) -> SimResponse:
        del self.subscriptions[self._by_id(call)]
        return SimResponse.of_json({})

    def notify(self, type: str, payload: Mapping[str, Any], *, change: str = "") -> None:
        """Leave a message in the seller's queue, if there is a subscription; ``change`` is what filters go by."""
        subscription = self.subscriptions.get(type)
        if subscription is None:
            return
        chosen = (subscription.get("processingDirective") or {}).get("eventFilter", {})
        if change and change not in chosen.get("orderChangeTypes", [change]):
            return
        version, capitals = NOTIFICATIONS[type]
        now = iso(self.now())
        metadata = {
            "applicationId": self.application_id,
            "subscriptionId": subscription["subscriptionId"],
            "publishTime": now,
            "notificationId": self.unique(),
        }
        envelope = {
            "notificationVersion": version,
            "notificationType": type,
            "payloadVersion": version,
            "eventTime": now,
            "payload": payload,
            "notificationMetadata": _capitalized(metadata) if capitals else metadata,
        }
        message = _capitalized(envelope) if capitals else envelope
        if self.models is not None:
            self.models.check_notification(type, message)
        arn = self._destinations[subscription["destinationId"]]["resource"]["sqs"]["arn"]
        self.deliver(arn, {}, json.dumps(message, ensure_ascii=False).encode())

    def transmit(self, letter: Letter) -> int | None:
        """Put a message into the seller's queue, with the rights that Amazon was given there."""
        if not self.queue_open:
            return 403
        queue_server().send(letter.address.rpartition(":")[2], letter.body.decode())
        return 200


def _capitalized(members: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name[0].upper()}{name[1:]}": value for name, value in members.items()}


def iso(moment: datetime) -> str:
    """A time as Amazon writes it, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _refusal(refused: Refused) -> SimResponse:
    return SimResponse.of_json(refused.body, refused.status)


def _oauth_error(status: int, code: str, words: str) -> SimResponse:
    return SimResponse.of_json({"error": code, "error_description": words}, status)
