"""What one would import orders with instead: dlt's rest_api source, and a loop that only fetches, parses and copies.

Each runs in a process of its own, as the hub's workers do, and prints what it took: seconds, and seconds of CPU.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import requests
from sqlalchemy.engine import make_url

PER_PAGE = 100


_TABLES = (
    "bare_order (id bigint primary key, number text, status text, currency text, total numeric, tax numeric,"
    " shipping numeric, discount numeric, placed_at timestamptz, changed_at timestamptz, name text, email text,"
    " note text, billing jsonb, shipping_address jsonb, body jsonb)",
    "bare_line (order_id bigint, id bigint, product_id bigint, sku text, title text, quantity int, price numeric,"
    " total numeric, tax numeric, primary key (order_id, id))",
)


def bare_loop(shop: str, database: str) -> Callable[[], None]:
    """Fetch a page, parse it, COPY its orders with their bodies, and their lines; commit. No promise is kept."""
    connection = psycopg.connect(_address(database))
    for table in _TABLES:
        connection.execute(f"create table {table}")
    connection.commit()
    session = requests.Session()
    session.trust_env = False

    def run() -> None:
        page = 0
        while True:
            page += 1
            orders = session.get(
                f"{shop}/wp-json/wc/v3/orders",
                params={"orderby": "modified", "order": "asc", "per_page": PER_PAGE, "page": page},
                timeout=30,
            ).json()
            if not orders:
                return
            with connection.cursor() as cursor:
                with cursor.copy("copy bare_order from stdin") as copy:
                    for order in orders:
                        copy.write_row(_order(order))
                with cursor.copy("copy bare_line from stdin") as copy:
                    for order in orders:
                        for line in order["line_items"]:
                            copy.write_row(_line(order["id"], line))
            connection.commit()

    return run


def _order(order: dict[str, Any]) -> tuple[Any, ...]:
    return (
        order["id"],
        order["number"],
        order["status"],
        order["currency"],
        Decimal(order["total"]),
        Decimal(order["total_tax"]),
        Decimal(order["shipping_total"]),
        Decimal(order["discount_total"]),
        datetime.fromisoformat(f"{order['date_created_gmt']}Z"),
        datetime.fromisoformat(f"{order['date_modified_gmt']}Z"),
        f"{order['billing']['first_name']} {order['billing']['last_name']}",
        order["billing"]["email"],
        order["customer_note"],
        json.dumps(order["billing"]),
        json.dumps(order["shipping"]),
        json.dumps(order),
    )


def _line(order_id: int, line: dict[str, Any]) -> tuple[Any, ...]:
    return (
        order_id,
        line["id"],
        line["product_id"],
        line["sku"],
        line["name"],
        line["quantity"],
        Decimal(str(line["price"])),
        Decimal(line["total"]),
        Decimal(line["total_tax"]),
    )


def dlt_merge(shop: str, database: str) -> Callable[[], None]:
    """dlt's own REST source as its documentation shows it, merged into PostgreSQL by the order's id."""
    home = tempfile.mkdtemp(prefix="tallyhub-bench-dlt-")
    os.environ |= {"DLT_DATA_DIR": home, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": f"{shop}/wp-json/wc/v3/",
                "paginator": {"type": "page_number", "base_page": 1, "total_path": None},
            },
            "resources": [
                {
                    "name": "orders",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "orders",
                        "params": {"orderby": "modified", "order": "asc", "per_page": PER_PAGE},
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(_named_in_full(database)),
        dataset_name="bench_dlt",
        pipelines_dir=home,
    )

    def run() -> None:
        pipeline.run(source)

    return run


RIVALS = {"bare": bare_loop, "dlt": dlt_merge}


def _address(database: str) -> str:
    return make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)


def _named_in_full(database: str) -> str:
    """The address as dlt wants it, with a host and a password even where neither is needed."""
    url = make_url(database)
    full = url.set(host=url.host or "localhost", port=url.port or 5432, password=url.password or "none")
    return full.set(drivername="postgresql").render_as_string(hide_password=False)


if __name__ == "__main__":
    name, shop, database = sys.argv[1:]
    run = RIVALS[name](shop, database)
    began, cpu = time.monotonic(), time.process_time()
    run()
    print(json.dumps({"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}))
