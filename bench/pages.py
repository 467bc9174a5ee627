"""How long the pages take on the server: of a merchant with a million orders and 100,000 SKUs, beside one with ten
thousand orders and 1,000 SKUs; searches are typed letter by letter."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from bench import places
from bench.load import percentile
from bench.measure import Result, Say
from hub.app import create_app
from hub.store import migrate, searching
from hub.store import tables as t
from hub.store.database import Database
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop, furnish, hub_on, open_shop
from tests.web.test_pages_render import PUBLIC, pages

FEW, MANY = (10_000, 1_000), (1_000_000, 100_000)  # orders, SKUs

_LIST, _TYPED = "the list of orders", "searching orders as one types"


def at_size(seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """Server time of every page and of searching orders as one types, with a million orders beside ten thousand."""
    rounds = max(2, round(seconds / 5)) * repeats
    with (
        places.database_of("postgresql") as small,
        places.database_of("postgresql") as large,
        tempfile.TemporaryDirectory(prefix="tallyhub-bench-") as folder,
    ):
        version = places.version_of(small)
        few, many = (Town.built(url, Path(folder), size, say) for url, size in ((small, FEW), (large, MANY)))
        taken = measure(few, many, rounds)
        few.close()
        many.close()
    tell(taken, say)
    yield from _results(taken, version)


Taken = Mapping[str, tuple[list[float], list[float]]]
"""By what was asked for: seconds of each time, with few orders and with many."""


def measure(few: Town, many: Town, rounds: int) -> Taken:
    """Ask both for every page in turns, after each has been read once."""
    asked = [(label, few.addresses[label], many.addresses[label]) for label in few.addresses]
    taken: dict[str, tuple[list[float], list[float]]] = {label: ([], []) for label, _, _ in asked}
    for label, *addresses in asked:
        for town, address in zip((few, many), addresses, strict=True):
            town.get(address)
        for turn in range(rounds):
            for place in (0, 1) if turn % 2 == 0 else (1, 0):
                taken[label][place].append((few, many)[place].get(addresses[place]))
    return taken


def tell(taken: Taken, say: Say) -> None:
    say("  median      p95 |  median      p95   ms: few, then many")
    for label, both in sorted(taken.items(), key=lambda each: -median(each[1][1])):
        few, many = (f"{_ms(median(times)):8.1f} {percentile(times, 95):8.1f}" for times in both)
        say(f"{few} |{many}   {label}")


def _results(taken: Taken, version: str) -> Iterator[Result]:
    beside = f"the same with {FEW[0]:,} orders and {FEW[1]:,} SKUs"
    slowest = max(taken, key=lambda label: median(taken[label][1]))
    few, many = (_ms(median(times)) for times in taken[slowest])
    yield Result(f"the slowest page with {MANY[0]:,} orders stored, median", many, "ms", beside, few, version)
    for part in (_LIST, _TYPED):
        few, many = (
            round(
                percentile([each for label, both in taken.items() if label.startswith(part) for each in both[n]], 95), 1
            )
            for n in (0, 1)
        )
        yield Result(f"{part} with {MANY[0]:,} stored p95", many, "ms", beside, few, version)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


# ---------------------------------------------------------------- a merchant of this size


class Town:
    """A merchant with so many orders and SKUs, and a browser in which the owner has signed in."""

    def __init__(self, database: Database, browser: Browser, addresses: Mapping[str, str]) -> None:
        self.database = database
        self.browser = browser
        self.addresses = addresses  # by what they are called in every town

    @classmethod
    def built(cls, url: str, folder: Path, size: tuple[int, int], say: Say) -> Town:
        database = Database(url)
        migrate.upgrade(database)
        home = folder / str(size[0])
        home.mkdir()
        hub = hub_on(database, home)
        shop = open_shop(hub)
        shop.person("ada@tea.example")
        things = furnish(shop)
        began = time.monotonic()
        filling = Filling(shop, things, *size)
        filling.write()
        say(f"  {size[0]:,} orders and {size[1]:,} SKUs stored in {time.monotonic() - began:.0f} s")
        app = create_app(hub)
        app.jinja_env.auto_reload = False
        every = replace(things, order_id=filling.order_ids[-40], sku_id=filling.skus[7].id)
        plain = {_anonymous(path, every): path for path in pages(app, every) if path not in PUBLIC}
        # A record as it came in belongs to the order that it was read into.
        plain = {
            name: path.replace(str(every.order_id), str(things.order_id)) if "/records/" in path else path
            for name, path in plain.items()
        }
        return cls(database, Browser(app).sign_in("ada@tea.example"), plain | filling.addresses())

    def get(self, path: str) -> float:
        """Seconds that the page takes."""
        began = time.perf_counter()
        answer = self.browser.get(path)
        took = time.perf_counter() - began
        if answer.status_code != 200:
            raise places.CannotMeasure(f"{path} answers {answer.status}.")
        return took

    def close(self) -> None:
        self.database.close()


def _anonymous(path: str, things: Furnished) -> str:
    """The address without ids, which are others in every town."""
    for name, identity in vars_of(things).items():
        path = path.replace(str(identity), f"<{name}>")
    return path


def vars_of(things: Furnished) -> dict[str, UUID]:
    return {name: getattr(things, name) for name in Furnished.__dataclass_fields__}


def _each(words: str) -> list[str]:
    return words.split()


_FIRST = _each(
    "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karla Leon Mia Noah Olga Paul Quentin Rosa Sofia Tom "
    "Ulla Viktor Wanda Xenia Yusuf Zoë Anaïs Björn Chloé Dörte Élodie François Göran Håkon Inés Jürgen Käthe "
    "Łukasz Márta Núria Øyvind Piotr Renée Søren Thérèse Ursula Věra Włodek Yağmur Žofie"
)
_LAST = _each(
    "Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Koch Bauer Richter Klein Wolf "
    "Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Smith Jones Taylor Brown Williams "
    "Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Roberts Green Hall Wood Martin Dubois "
    "Lefèvre Moreau Laurent Rossi Russo Ferrari Esposito Bianchi Romano García Fernández González Rodríguez López "
    "Martínez Sánchez Pérez Jansen Visser Bakker Smit Nowak Kowalski Wiśniewski Hansen Johansen Olsen Larsen "
    "Nielsen Jensen Virtanen Korhonen"
)
_SYLLABLES = _each(
    "ba be bi bo da de di fo ga go ha he ka ke ki la le li lo ma me mi na ne ni ra re ri sa se ta te ti va wa"
)
_HOSTS = _each("gmail.com web.de gmx.net outlook.com yahoo.co.uk orange.fr icloud.com posteo.de")
_COUNTRIES = ("DE",) * 60 + ("AT",) * 10 + ("CH",) * 6 + ("FR",) * 8 + ("GB",) * 8 + ("NL",) * 5 + ("US",) * 2 + ("IS",)
_TAGS = ("VIP", "gift", "wholesale", "subscription", "fragile", "influencer")
_KINDS = _each("TEA MUG CUP POT TIN BOX SET JAM HON BAG")
_COLORS = _each("GRN BLK WHT RED BLU")
_YEARS = 3
_AT_ONCE = 20_000  # orders that are written in one go


class _Sku:
    def __init__(self, number: int, identity: UUID) -> None:
        self.id = identity
        self.code = f"{_KINDS[number % len(_KINDS)]}-{number:06d}-{_COLORS[number // 7 % len(_COLORS)]}"
        self.title = (
            f"{_KINDS[number % len(_KINDS)].title()} No. {number}, {_COLORS[number // 7 % len(_COLORS)].lower()}"
        )


class Filling:
    """Everything that a merchant of this size has gathered in three years."""

    def __init__(self, shop: Shop, things: Furnished, orders: int, skus: int) -> None:
        self.shop, self.things, self.orders = shop, things, orders
        self.chance = random.Random(8)
        self.began = shop.now - timedelta(days=365 * _YEARS)
        self.skus = [_Sku(number, self._id(self.began)) for number in range(skus)]
        self.shops = [things.connection_id, things.other_connection_id]
        self.locations = [things.location_id]
        self.order_ids: list[UUID] = []
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.examples: dict[str, str] = {}  # what somebody may type, by what it is
        self._seen: set[str] = set()

    def _id(self, moment: datetime) -> UUID:
        """An id as if it had been made then."""
        milliseconds = int(moment.timestamp() * 1000)
        return UUID(
            int=milliseconds << 80 | 7 << 76 | self.chance.getrandbits(12) << 64 | 2 << 62 | self.chance.getrandbits(62)
        )

    def write(self) -> None:
        """Write all of it, without its references being checked row by row."""
        for name in ("Northern warehouse", "Southern warehouse"):
            self.locations.append(self.shop.location(name))
        for name in ("Harbour Street", "Market Square"):
            self.shops.append(self.shop.connection(name))
            self.shop.place(self.shops[-1], self.locations[-1])
        with self.shop.hub.database.write() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            connection.execute(text("set local synchronous_commit = off"))
            for start in range(0, len(self.skus), _AT_ONCE):
                for number in range(start, min(start + _AT_ONCE, len(self.skus))):
                    self._goods(number)
                self._flush(connection)
            for start in range(0, self.orders, _AT_ONCE):
                for number in range(start, min(start + _AT_ONCE, self.orders)):
                    self._order(number)
                self._flush(connection)
        with self.shop.hub.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze"))

    def _add(self, table: Any, **values: Any) -> None:
        self.rows[table.name].append(values)

    def _flush(self, connection: Any) -> None:
        """By COPY in its text form: adapting every value to the binary one would take most of the time."""
        merchant = str(self.shop.merchant_id)
        driver = connection.connection.cursor()
        for name, rows in self.rows.items():
            always = {
                column.name: column.default.arg
                for column in t.metadata.tables[name].columns
                if column.name not in rows[0]
                and column.server_default is None
                and isinstance(column.default, ScalarElementColumnDefault)
            }
            rest = "".join(f"\t{_copied(value)}" for value in always.values())
            listed = ", ".join(f'"{each}"' for each in (*rows[0], *always))
            with driver.copy(f'copy "{name}" (merchant_id, {listed}) from stdin') as copy:
                for start in range(0, len(rows), 1000):
                    copy.write(
                        "".join(
                            f"{merchant}\t{chr(9).join([_copied(value) for value in row.values()])}{rest}\n"
                            for row in rows[start : start + 1000]
                        )
                    )
        self.rows.clear()

    # ------------------------------------------------------------ goods

    def _goods(self, number: int) -> None:
        chance, sku = self.chance, self.skus[number]
        self._add(t.sku, id=sku.id, code=sku.code, title=sku.title, created_at=self.began, counted_since=self.began)
        for word in sorted(searching.sku_words(sku.code, sku.title)):
            self._add(t.sku_word, sku_id=sku.id, word=word)
        for place in chance.sample(self.locations, 2):
            on_hand = chance.choice((0, 2, 5, 40, 300))
            self._add(
                t.stock_level,
                sku_id=sku.id,
                location_id=place,
                on_hand=on_hand,
                allocated=min(on_hand, chance.choice((0, 0, 1))),
                entries=3,
                updated_at=self.shop.now,
            )
            for entry in range(1, 4):
                self._add(
                    t.stock_entry,
                    sku_id=sku.id,
                    location_id=place,
                    number=entry,
                    cause="adopted" if entry == 1 else "corrected",
                    reference=f"{entry}",
                    on_hand_delta=1,
                    on_hand=on_hand,
                    at=self.began + timedelta(days=entry),
                )
        for connection_id in chance.sample(self.shops, 1 + number % 2):
            listing_id = self._id(self.began)
            matched = number % 50 > 0
            self._add(
                t.listing,
                id=listing_id,
                connection_id=connection_id,
                external_id=f"P{number}",
                sku_id=sku.id if matched else None,
                sku_text=sku.code,
                title=sku.title,
                barcode=f"40{number:011d}",
                handles={},
                imported_at=self.began,
                bound_at=self.began if matched else None,
            )
            if matched:
                dirty = number % 5000 == 0
                self._add(
                    t.publication,
                    listing_id=listing_id,
                    location_external_id="",
                    connection_id=connection_id,
                    version=2,
                    published_version=1 if dirty else 2,
                    quantity=5,
                    dirty_since=self.shop.now if dirty else None,
                    published_at=self.shop.now - timedelta(minutes=number % 5000),
                )
                self._add(
                    t.publication_entry,
                    id=self._id(self.began),
                    listing_id=listing_id,
                    location_external_id="",
                    version=1,
                    before=6,
                    quantity=5,
                    at=self.shop.now - timedelta(minutes=number % 50_000),
                )

    # ------------------------------------------------------------ orders

    def _order(self, number: int) -> None:
        chance = self.chance
        # More and more of them as the years go by.
        age = 1 - ((number + 1) / self.orders) ** 0.6
        placed_at = self.shop.now - timedelta(days=365 * _YEARS * age, seconds=number % 60)
        order_id = self._id(placed_at)
        self.order_ids.append(order_id)
        shop = chance.randrange(len(self.shops))
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        if chance.random() < 0.6:
            last = "".join(chance.choices(_SYLLABLES, k=3)).title()
        name = f"{first} {last}"
        login = searching.fold(f"{first}.{last}").replace("ł", "l").replace("ø", "o")
        email = f"{login}{chance.randrange(1, 99) if number % 3 else ''}@{chance.choice(_HOSTS)}"
        left = self.orders - number
        # Two of them are looked for: they are called alike in every town.
        looked_for = {self.orders // 20: "old", self.orders - self.orders // 50: "new"}.get(number, "")
        if looked_for:
            shop = int(looked_for == "old")
            first, last = ("Renée", "Zimmermann") if looked_for == "old" else ("Tom", "Kowalski")
            name, email = f"{first} {last}", f"{searching.fold(first)}.{last.lower()}@posteo.de"
        status = chance.choices(("fulfilled", "cancelled", "refunded"), (95, 4, 1))[0]
        if left <= max(200, self.orders // 300):
            status = chance.choices(("open", "fulfilled", "pending"), (60, 30, 10))[0]
        numbered = f"#{100_000 + number}" if shop % 2 else f"SO-{2023 + number * 3 // self.orders}-{number:07d}"
        country = chance.choice(_COUNTRIES)
        tags = [chance.choice(_TAGS)] if number % 7 == 0 else []
        address = {"name": name, "line1": f"{number % 200 + 1} High Street", "city": "Bremen", "country": country}
        # Some goods sell all the time, most hardly ever.
        goods = [self.skus[int(len(self.skus) * chance.random() ** 3)] for _ in range(2)]
        total = 1990 + number % 9000
        self._add(
            t.sales_order,
            id=order_id,
            connection_id=self.shops[shop],
            external_id=str(5_500_000_000_000 + number * 32_768),
            number=numbered,
            status=status,
            channel_status=status,
            version=placed_at,
            received_at=placed_at,
            holds_stock=status == "open",
            shipped_by_channel=number % 40 == 0,
            test=number % 5000 == 0,
            paid=number % 60 > 0,
            placed_at=placed_at,
            currency="EUR",
            total_minor=total,
            lines_minor=total,
            customer_name=name,
            email=email,
            shipping_address=address,
            billing_address=address,
            shipping_method=("Standard", "Express", "DHL Paket")[number % 3],
            risk_level=("", "low", "low", "medium", "high")[number % 5] if number % 90 < 5 else "",
            on_hold=status == "open" and number % 9 == 0,
            returns_open=number % 300 == 0,
            tags=tags,
            imported_at=placed_at,
            updated_at=placed_at,
        )
        lines = [self._id(placed_at) for _ in goods]
        for place, (line_id, sku) in enumerate(zip(lines, goods, strict=True)):
            self._add(
                t.order_line,
                id=line_id,
                order_id=order_id,
                external_id=f"{place}",
                position=place,
                listing_external_id=f"P{sku.code[4:10]}",
                sku_id=sku.id,
                sku_text=sku.code,
                title=sku.title,
                quantity=1,
                fulfilled=int(status == "fulfilled"),
                unit_price="9.95",
                total_minor=total // 2,
            )
        tracking = (
            f"00340{chance.randrange(10**14, 10**15)}"
            if (number % 3 == 0 and status == "fulfilled") or looked_for
            else ""
        )
        words = searching.Searchable(
            placed_at=placed_at,
            number=numbered,
            external_id=str(5_500_000_000_000 + number * 32_768),
            customer_name=name,
            email=email,
            skus=tuple(each.code for each in goods),
            tracking_numbers=(tracking,) if tracking else (),
            tags=tuple(tags),
            country=country,
        ).words()
        week = searching.week_of(placed_at)
        for word in sorted(words):
            self._add(t.order_word, order_id=order_id, word=word, week=week, placed_at=placed_at)
        for minutes, kind in ((0, "order_imported"), (90, "order_updated")):
            moment = placed_at + timedelta(minutes=minutes)
            self._add(
                t.activity,
                id=self._id(moment),
                at=moment,
                kind=kind,
                connection_id=self.shops[shop],
                order_id=order_id,
                summary=f"Order {numbered} {kind.removeprefix('order_')}",
            )
        self._add(
            t.inbox,
            id=self._id(placed_at),
            connection_id=self.shops[shop],
            source="webhook",
            topic="order.created",
            external_id=str(5_500_000_000_000 + number * 32_768),
            dedupe_key=f"{number}",
            body_sha256="",
            headers={},
            received_at=placed_at,
            state="done",
            done_at=placed_at,
        )
        if tracking or status == "open":
            self._shipping(number, order_id, lines, placed_at, tracking)
        if number % 50 == 0:
            is_open = left < self.orders // 100
            self._add(
                t.issue,
                id=self._id(placed_at),
                kind=("unmatched_listing", "order_not_found", "3pl_shipped_something_else")[number // 50 % 3],
                subject=f"{order_id}",
                connection_id=self.shops[shop],
                order_id=order_id,
                title=f"Something is the matter with order {numbered}",
                next_step="Look at it.",
                opened_at=placed_at,
                last_seen_at=placed_at,
                resolved_at=None if is_open else placed_at + timedelta(days=1),
            )
        if looked_for:
            self.examples |= {
                f"number ({looked_for})": numbered,
                f"name ({looked_for})": last,
                f"two words ({looked_for})": f"{first} {last}",
                f"e-mail ({looked_for})": email,
                f"SKU ({looked_for})": goods[0].code,
                f"tracking number ({looked_for})": tracking,
            }

    def _shipping(self, number: int, order_id: UUID, lines: Sequence[UUID], placed_at: datetime, tracking: str) -> None:
        work, place = self._id(placed_at), self.locations[number % len(self.locations)]
        packed = placed_at + timedelta(hours=5) if tracking else None
        self._add(
            t.fulfillment_order,
            id=work,
            order_id=order_id,
            location_id=place,
            number=1,
            reference=f"{number:07d}-1-ABC",
            state="shipped" if tracking else "open",
            created_at=placed_at,
            updated_at=placed_at,
            ship_by=placed_at + timedelta(days=1),
            packed_at=packed,
            shipped_at=packed,
            closed_at=packed,
        )
        for line_id in lines:
            self._add(
                t.fulfillment_line,
                fulfillment_order_id=work,
                order_line_id=line_id,
                quantity=1,
                packed=int(bool(tracking)),
                shipped=int(bool(tracking)),
            )
        self._add(
            t.routing_decision,
            id=self._id(placed_at),
            order_id=order_id,
            policy_number=0,
            cause="imported",
            inputs={},
            outcome={},
            summary="The nearest location has all of it.",
            at=placed_at,
        )
        if not tracking:
            return
        shipment, parcel = self._id(placed_at), self._id(placed_at)
        self._add(
            t.shipment,
            id=shipment,
            order_id=order_id,
            fulfillment_order_id=work,
            reference=f"{number:07d}-1-ABC-1",
            state="shipped",
            carrier="dhl",
            service="paket",
            tracking_numbers=[tracking],
            tracking_status="delivered",
            created_at=placed_at + timedelta(hours=4),
            labelled_at=placed_at + timedelta(hours=4),
            shipped_at=packed,
            delivered_at=placed_at + timedelta(days=2),
        )
        self._add(t.parcel, id=parcel, shipment_id=shipment, number=1, weight_grams=400, tracking_number=tracking)
        for line_id in lines:
            self._add(t.parcel_line, parcel_id=parcel, order_line_id=line_id, quantity=1)

    # ------------------------------------------------------------ what is asked for

    def addresses(self) -> dict[str, str]:
        """Lists with filters, and orders that are searched as one types, by what they are called."""
        late = self.shop.now - timedelta(days=300)
        found = {
            f"{_LIST}: {query}": f"/orders?{query}"
            for query in (
                "status=open",
                "status=pending",
                "status=fulfilled",
                "status=waiting",
                "status=on_hold",
                "status=risky",
                "status=test",
            )
        }
        found[f"{_LIST}: all"] = "/orders"
        found[f"{_LIST}: one shop"] = f"/orders?connection={self.shops[1]}"
        found[f"{_LIST}: an old page"] = "/orders?" + urlencode({"before": f"{late.isoformat()}~{self.order_ids[0]}"})
        for text_ in ("m", "mül", "mug-000017"):
            found[f"/stock?q={text_}"] = f"/stock?{urlencode({'q': text_})}"
        for what, typed in self.examples.items():
            for length in range(1, min(len(typed), 24) + 1):
                found[f"{_TYPED}: {what}, {length:2} letters"] = f"/orders?{urlencode({'q': typed[:length]})}"
        return found


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
