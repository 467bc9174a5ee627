"""The pages on which a simulated WooCommerce shop asks whether a key may be handed out, and the handing out."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from hub.testing.simulator import SimRequest, SimResponse

if TYPE_CHECKING:
    from hub_woocommerce.simulator import WooCommerceSimulator

ROOT = "wc-auth/v1/"
SCOPES = ("read", "write", "read_write")
_NEEDED = ("app_name", "user_id", "return_url", "callback_url", "scope")


class Refused(Exception):
    """WooCommerce shows an error instead of its question."""


def question(address: str) -> dict[str, str]:
    """The parameters of an address that leads to the question. Raises Refused for what WooCommerce refuses."""
    asked = {name: value for name, value in parse_qsl(urlsplit(address).query) if value}
    for name in _NEEDED:
        if name not in asked:
            raise Refused(f"Missing parameter {name}")
    if asked["scope"] not in SCOPES:
        raise Refused(f"Invalid scope {asked['scope']}")
    for name in ("return_url", "callback_url"):
        asked[name] = unquote(asked[name])  # a second time: an address must not depend on its escapes
        if urlsplit(asked[name]).scheme not in ("http", "https"):
            raise Refused(f"The {name} is not a valid URL")
    if not asked["callback_url"].startswith("https://"):
        raise Refused("The callback_url needs to be over SSL")
    return asked


def answer(vendor: WooCommerceSimulator, request: SimRequest, page: str) -> SimResponse:
    """The question; behind its button to approve, the key is handed out and the browser sent back."""
    address = f"?{urlencode(list(request.query))}"
    try:
        asked = question(address)
    except Refused as refused:
        return _page(401, f"<h1>An error occurred</h1><p>Error: {html.escape(str(refused))}.</p>")
    if page == "authorize":
        name = html.escape(asked["app_name"])
        links = f'<a href="access_granted{html.escape(address)}">Approve</a> <a href="{_back(asked, 0)}">Deny</a>'
        return _page(200, f"<h1>{name} would like to connect to your store</h1>{links}")
    if page == "access_granted":
        return SimResponse(302, {"Location": approve(vendor, address)})
    return _page(404, "<h1>Page not found</h1>")


def approve(vendor: WooCommerceSimulator, address: str) -> str:
    """Make the key, send it to the callback, and say where the browser goes then."""
    asked = question(address)
    key, secret = (f"{kind}_{vendor.token()}" for kind in ("ck", "cs"))
    vendor.handed_out[key] = (secret, asked["scope"])
    said = {
        "key_id": vendor.next_id("key"),
        "user_id": asked["user_id"],
        "consumer_key": key,
        "consumer_secret": secret,
        "key_permissions": asked["scope"],
    }
    vendor.deliver(asked["callback_url"], {"Content-Type": "application/json;charset=UTF-8"}, json.dumps(said).encode())
    return _back(asked, 1)


def deny(address: str) -> str:
    """Say where the browser goes when the merchant says no."""
    return _back(question(address), 0)


def _back(asked: Mapping[str, str], success: int) -> str:
    url = asked["return_url"]
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'success': success, 'user_id': asked['user_id']})}"


def _page(status: int, body: str) -> SimResponse:
    page = f"<!doctype html><html><title>WooCommerce</title>{body}</html>"
    return SimResponse(status, {"Content-Type": "text/html; charset=UTF-8"}, page.encode())
