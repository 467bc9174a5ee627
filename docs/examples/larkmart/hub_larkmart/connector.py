"""The Larkmart connector: the orders of a stall come in, its stock goes out."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import hub
from hub_larkmart.settings import LarkmartSettings
from hub_larkmart.translation import Offer, OrderBody, outcome_of, record_of


class LarkmartConnector(hub.SalesChannel):
    """A stall on Larkmart."""

    name = "larkmart"
    label = "Larkmart"
    api_version = "v1"
    settings_schema = LarkmartSettings
    capabilities = hub.Capabilities(push_batch=50)
    rate_budget = hub.RateBudget(per_second=10, burst=20)
    effects: ClassVar[Mapping[str, hub.Settlement]] = {
        "subscribe_webhooks": hub.Settlement.NATURAL_KEY,
        "confirm_shipment": hub.Settlement.NATURAL_KEY,
    }

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        return (f"https://{settings['stall']}.larkmart.example",)

    def _ask(self, method: str, path: str, *members: str, **options: Any) -> dict[str, Any]:
        (address,) = self.hosts(self.settings)
        headers = {"Authorization": f"Bearer {self.settings['api_key']}"}
        return self.client.request(method, f"{address}/v1/{path}", headers=headers, **options).object(*members)

    def check(self) -> hub.Account:
        stall = self._ask("GET", "stall", "id", "name", "currency")
        place = hub.ChannelLocation(external_id="", name="Larkmart")
        return hub.Account(external_id=stall["id"], name=stall["name"], currency=stall["currency"], locations=(place,))

    def fetch_orders(self, cursor: str | None) -> Iterator[hub.Page]:
        return self._walk("orders", "order", cursor)

    def fetch_order(self, external_id: str) -> hub.RawRecord:
        return record_of("order", self._ask("GET", f"orders/{quote(external_id, safe='')}", "id", "changed_at"))

    def _walk(self, path: str, topic: str, cursor: str | None) -> Iterator[hub.Page]:
        while (answer := self._ask("GET", path, path, "mark", params={"after": cursor or "0"}))[path]:
            if cursor == (mark := str(answer["mark"])):
                raise hub.Unavailable("Larkmart answers with the same page again. It will be asked later.")
            yield hub.Page(tuple(record_of(topic, each) for each in answer[path]), cursor := mark)

    def read_order(self, record: hub.RawRecord) -> hub.Order:
        return OrderBody().read(record.body)

    def fetch_listings(self, cursor: str | None) -> Iterator[hub.Page]:
        return self._walk("offers", "listing", cursor)

    def fetch_listing(self, external_id: str) -> hub.RawRecord:
        return record_of("listing", self._ask("GET", f"offers/{quote(external_id, safe='')}", "id", "changed_at"))

    def read_listing(self, record: hub.RawRecord) -> Iterable[hub.Listing]:
        return [Offer().read(record.body)]

    def subscribe_webhooks(self, request: Mapping[str, Any], key: str) -> hub.EffectResult:
        hook = {"address": request["address"], "secret": self.context.webhook_secret}
        return hub.EffectResult(reference=str(self._ask("PUT", "webhook", "id", json=hook)["id"]))

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        signature = hmac.new(self.context.webhook_secret.encode(), webhook.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode(), webhook.headers.get("x-larkmart-signature", "").encode()):
            raise hub.Unverified("The signature does not fit the secret of this connection.")
        return hub.Delivery("order.changed", hashlib.sha256(webhook.body).hexdigest())

    def read_webhook(self, record: hub.RawRecord) -> Iterable[hub.Fact]:
        return [self.read_order(record)]

    def read_stock(self, refs: Sequence[hub.StockRef]) -> Sequence[int | None]:
        wanted = ",".join(ref.listing_external_id for ref in refs)
        stock = self._ask("GET", "stock", "stock", params={"offers": wanted})["stock"]
        return [stock.get(ref.listing_external_id) for ref in refs]

    def push_stock(self, pushes: Sequence[hub.StockPush]) -> Sequence[hub.PushOutcome]:
        figures = {push.ref.listing_external_id: push.quantity for push in pushes}
        refused = self._ask("POST", "stock", "refused", json={"stock": figures})["refused"]
        return [outcome_of(refused.get(push.ref.listing_external_id)) for push in pushes]

    def confirm_shipment(self, confirmation: hub.ShipmentConfirmation, key: str) -> hub.EffectResult:
        items = {line.line_external_id: line.quantity for line in confirmation.lines}
        sent = {"items": items, "carrier": confirmation.carrier_name, "numbers": list(confirmation.tracking_numbers)}
        path = f"orders/{quote(confirmation.order_external_id, safe='')}/parcels/{confirmation.reference}"
        return hub.EffectResult(reference=str(self._ask("PUT", path, "id", json=sent)["id"]))
