"""A shop with a past: thousands of WooCommerce orders in the shape of a recorded one, answered as fast as Python can.

Every order is a function of its number, so that a shop of any size takes no memory, and the same bytes reach whoever
asks. It pages as WooCommerce does: by time of change, by id or by date, from a position or a page, within bounds that
are exclusive.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bench import places
from hub.core.model import Listing, ListingLevel

GOODS = 200
SITE = "https://old-shop.example"  # led to this server by TALLYHUB_ROUTES
FIRST_ID = 10_000
EVERY = timedelta(seconds=300)  # from one order to the next
BEGAN = datetime(2025, 11, 1, tzinfo=UTC)
_API = "/wp-json/wc/v3/"
_RECORDED = places.ROOT / "connectors" / "woocommerce" / "tests" / "payloads" / "orders_page1.json"

_FIRST = (
    "Ada",
    "Zoë",
    "Émile",
    "Sunniva",
    "Jürgen",
    "Mary-Ann",
    "Kofi",
    "Yuki",
    "Olga",
    "Siân",
    "Paweł",
    "Inês",
    "Tom",
)
_LAST = ("Byron", "O'Brien", "Ågren", "Müller", "Nowak", "da Silva", "Mensah", "Sato", "Ivanova", "Llewellyn", "Smith")
_TOWNS = ("Leeds", "Köln", "Gdańsk", "Porto", "Malmö", "Accra", "Cardiff", "Lyon", "Sheffield", "Tromsø", "Graz")
_STREETS = ("High St", "Mill Lane", "Rue du Bac", "Hauptstraße", "Station Road", "Storgata", "Rua Direita")
_USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile Safari"


class OldShop:
    """What the hub is told of it: how to connect it, and its listings."""

    connector = "woocommerce"

    def __init__(self, count: int, address: str) -> None:
        self.count = count
        self.address = address
        self.settings = {"site": SITE, "consumer_key": "ck_bench", "consumer_secret": "cs_bench"}
        self.routes = f"{SITE}={address}"
        self.orders = {str(number) for number in range(FIRST_ID, FIRST_ID + count)}
        self.listings = [
            Listing(
                external_id=str(number),
                sku=f"SKU-{number}",
                title=f"Product {number}",
                levels=(ListingLevel(location_external_id="", available=places.PLENTY),),
            )
            for number in range(1, GOODS + 1)
        ]


@contextmanager
def serving(count: int) -> Iterator[OldShop]:
    """A shop of ``count`` orders, in a process of its own until the end of the block."""
    port = places.free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "bench.old_shop", str(port), str(count)], cwd=places.ROOT)
    try:
        places.wait_until(process, f"{address}/")
        yield OldShop(count, address)
    finally:
        process.terminate()
        process.wait(30)


# ---------------------------------------------------------------- its orders


def _slots(value: Any) -> str:
    """JSON with ``{"#": name}`` as a place for a number and "<name>" as one for a text, ready for ``%``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("%", "%%").replace("/", r"\/")
    for opening, closing, kind in (('{"#":"', '"}', "d"), ("<", ">", "s")):
        parts = text.split(opening)
        text = parts[0] + "".join(
            f"%({name}){kind}{rest}" for name, _, rest in (part.partition(closing) for part in parts[1:])
        )
    return text


def _number(name: str) -> dict[str, str]:
    return {"#": name}


def _templates() -> list[str]:
    """The recorded order with places for what differs from one order to the next; with one line, two, three."""
    order = json.loads(_RECORDED.read_text())["response"]["json"][0]
    line = order["line_items"][0]
    person = {
        "first_name": "<first>",
        "last_name": "<last>",
        "address_1": "<street>",
        "city": "<town>",
        "postcode": "<postcode>",
        "phone": "+44 113 <phone>",
    }
    order |= {
        "id": _number("id"),
        "number": "<id>",
        "status": "<status>",
        "total": "<total>",
        "order_key": "wc_order_<key>",
        "billing": order["billing"] | person | {"email": "<mail>@example.test"},
        "shipping": order["shipping"] | person,
        "customer_id": _number("customer"),
        "customer_ip_address": "198.51.100.<byte>",
        "customer_user_agent": _USER_AGENT,
        "transaction_id": "txn_<key>",
        "date_created": "<at>",
        "date_created_gmt": "<at>",
        "date_modified": "<at>",
        "date_modified_gmt": "<at>",
        "date_paid": "<at>",
        "date_paid_gmt": "<at>",
        "date_completed": "<done>",
        "date_completed_gmt": "<done>",
        "payment_url": f"{SITE}/checkout/order-pay/<id>/?pay_for_order=true&key=wc_order_<key>",
    }
    links = json.dumps(order["_links"])
    order["_links"] = json.loads(links.replace("https://127.0.0.1:8099", SITE).replace("/14", "/<id>"))
    texts = []
    for lines in (1, 2, 3):
        order["line_items"] = [
            line
            | {
                "id": _number(f"line{place}"),
                "name": f"Product <product{place}>",
                "product_id": _number(f"product{place}"),
                "sku": f"SKU-<product{place}>",
                "quantity": _number("units"),
                "subtotal": f"<each{place}>",
                "total": f"<each{place}>",
                "price": _number("price"),
            }
            for place in range(lines)
        ]
        # What is not there in WooCommerce is null, not an empty text.
        texts.append(_slots(order).replace('"%(done)s"', "%(done)s"))
    return texts


_TEMPLATES = _templates()


def order_text(number: int, count: int) -> str:
    """The order of this number, of ``count``: the newest twentieth is open, a few are cancelled, the rest completed."""
    mixed = number * 2654435761 & 0xFFFFFFFF
    lines, units = 1 + (mixed >> 7) % 3, 1 + (mixed >> 11) % 2
    price = 5 + (mixed >> 3) % 90
    at = (BEGAN + number * EVERY).strftime("%Y-%m-%dT%H:%M:%S")
    is_open, cancelled = number >= count * 0.95, mixed % 40 == 0
    first, last = _FIRST[mixed % 13], _LAST[(mixed >> 5) % 11]
    told: dict[str, Any] = {
        "id": FIRST_ID + number,
        "status": "processing" if is_open else "cancelled" if cancelled else "completed",
        "total": f"{price * units * lines + 4.99:.2f}",
        "key": f"{mixed:08x}{number:05x}",
        "first": first,
        "last": last,
        "mail": f"{first[0]}.{mixed:x}".lower(),
        "street": f"{1 + mixed % 190} {_STREETS[(mixed >> 9) % 7]}",
        "town": _TOWNS[(mixed >> 13) % 11],
        "postcode": f"LS{mixed % 29} {mixed % 9}AA",
        "phone": f"{mixed % 1000:03} {(mixed >> 10) % 10000:04}",
        "customer": (mixed >> 4) % 40_000,
        "byte": mixed % 254,
        "at": at,
        "done": "null" if is_open or cancelled else f'"{at}"',
        "units": units,
        "price": price,
    }
    for place in range(lines):
        told[f"line{place}"] = 3 * number + place + 1
        told[f"product{place}"] = 1 + (mixed + 37 * place) % GOODS
        told[f"each{place}"] = f"{price * units}.00"
    return _TEMPLATES[lines - 1] % told


# ---------------------------------------------------------------- its API


def page_of(asked: Mapping[str, str], count: int) -> tuple[range, int]:
    """The numbers of the orders on the page that was asked for, and how many orders there are within the bounds."""
    first, end = 0, count
    if after := asked.get("modified_after"):
        first = max(0, (datetime.fromisoformat(after) - BEGAN) // EVERY + 1)
    if before := asked.get("modified_before"):
        end = min(count, -((BEGAN - datetime.fromisoformat(before)) // EVERY))
    if asked.get("status", "any") != "any":
        end = first
    size = min(100, int(asked.get("per_page", 10)))
    begin = int(asked.get("offset", (int(asked.get("page", 1)) - 1) * size))
    numbers = range(first, max(first, end))
    if asked.get("order", "desc") == "desc":
        numbers = numbers[::-1]
    return numbers[begin : begin + size], len(numbers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, count: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body in one piece

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                more = {}
                body = b"[]"
                if parts.path == f"{_API}orders":
                    asked = dict(parse_qsl(parts.query))
                    numbers, total = page_of(asked, count)
                    body = f"[{','.join([order_text(number, count) for number in numbers])}]".encode()
                    pages = -(-total // min(100, int(asked.get("per_page", 10))))
                    more = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
                self.send_response(200)
                for name, value in {**more, "Content-Type": "application/json; charset=UTF-8"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who asked was killed on the way."""


if __name__ == "__main__":
    _Server(int(sys.argv[1]), int(sys.argv[2])).serve_forever()
