"""A connector that checks signatures by ``==``, kept in a module of its own: what is searched is a module's source."""

from __future__ import annotations

import hashlib
import hmac

import hub
from hub_larkmart.connector import LarkmartConnector


class ComparesBySign(LarkmartConnector):
    """Takes as long to compare as the signatures are alike."""

    def verify(self, webhook: hub.Webhook) -> hub.Delivery | None:
        right = hmac.new(self.context.webhook_secret.encode(), webhook.body, hashlib.sha256).hexdigest()
        if webhook.headers.get("x-larkmart-signature", "") != right:
            raise hub.Unverified("The signature does not fit the secret of this connection.")
        return hub.Delivery("order.changed", hashlib.sha256(webhook.body).hexdigest())
