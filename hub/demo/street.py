"""The street on which the demo and the sandbox take place: simulated shops, carriers and a 3PL, what is sold there, and
the customers who buy it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from uuid import UUID

from hub import plugins
from hub.demo.crew import THEIRS, Vendor
from hub.demo.drawings import drawn
from hub.demo.townsfolk import Visitors
from hub.errors import HubError
from hub.testing.carrier import CarrierSimulator
from hub.testing.simulator import Sale, ShopSimulator, VendorSimulator
from hub.testing.warehouse import WarehouseSimulator

_BASKETS = (1, 1, 1, 2, 2, 2, 3, 3, 4)  # how many things people take, each as likely as the other
_MADE_IN = "GB"


@dataclass(frozen=True, slots=True)
class _Goods:
    """Something that comes in several colors; ``grams`` and ``hs_code`` are what customs ask."""

    code: str
    title: str
    price: str
    grams: int
    hs_code: str


_GOODS = (
    _Goods("MUG", "Stoneware mug", "14.90", 380, "6912.00"),
    _Goods("BOWL", "Breakfast bowl", "17.50", 520, "6912.00"),
    _Goods("PLATE", "Dinner plate", "19.00", 640, "6912.00"),
    _Goods("TEAPOT", "Teapot", "48.00", 1100, "6912.00"),
    _Goods("JUG", "Milk jug", "22.00", 560, "6912.00"),
    _Goods("VASE", "Bud vase", "26.50", 430, "6913.90"),
    _Goods("TRAY", "Serving tray", "34.00", 900, "4419.90"),
    _Goods("CANDLE", "Candle holder", "12.00", 240, "6913.90"),
    _Goods("APRON", "Linen apron", "39.00", 310, "6211.49"),
    _Goods("TOWEL", "Tea towel", "11.00", 120, "6302.91"),
    _Goods("BOARD", "Cutting board", "29.00", 780, "4419.11"),
    _Goods("SPOON", "Wooden spoon", "6.50", 60, "4419.90"),
)
_COLORS = ("Sand", "Moss", "Ink", "Rust")
# The first two shops sell everything. Each further one sells a part; where the channel has a warehouse of its own, some
# of that lies there.
_SELL_EVERYTHING = 2
_PART = ("MUG", "BOWL", "PLATE")
_SHIPPED_BY_CHANNEL = ("APRON",)
_OF_THE_CHANNEL = 0.2  # how many of its customers buy what it ships itself
_NOBODY = UUID(int=0)


@dataclass(slots=True)
class Shop:
    """A simulated shop, what it sells and sold, and the hub's connection to it once there is one.

    ``goods`` are the SKUs it sells of the merchant's stock, ``theirs`` those that the channel ships from a warehouse of
    its own; ``sales`` are those of ``goods``. ``by_queue``: it leaves its news in a queue.
    """

    name: str
    simulator: ShopSimulator
    connection_id: UUID = _NOBODY
    goods: list[str] = field(default_factory=list)
    theirs: list[str] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)
    sold_by_channel: int = 0
    turned_away: int = 0
    by_queue: bool = False
    visitors: Visitors = field(default_factory=lambda: Visitors(1, abroad=False))

    def serve_a_customer(self, choose: random.Random) -> None:
        """Somebody buys something: what lies in the channel's own warehouse is shipped by the channel."""
        self.simulator.customer_comes(self.visitors.next(choose))
        if self.theirs and choose.random() < _OF_THE_CHANNEL:
            sale = self.simulator.buy([(choose.choice(sorted(self.theirs)), 1)])
            if sale is not None:
                self.sold_by_channel += 1
                self.simulator.fulfill(sale.order_external_id)
            return
        basket = Counter(choose.choices(sorted(self.goods), k=choose.choice(_BASKETS)))
        sale = self.simulator.buy(sorted(basket.items()))
        if sale is None:
            self.turned_away += 1
        else:
            self.sales.append(sale)


@dataclass(slots=True)
class Street:
    """Everybody who takes part."""

    shops: list[Shop] = field(default_factory=list)
    carriers: list[Vendor[CarrierSimulator]] = field(default_factory=list)
    warehouses: list[Vendor[WarehouseSimulator]] = field(default_factory=list)

    def vendors(self) -> Sequence[tuple[str, VendorSimulator]]:
        """All of them by the names of their connectors."""
        return [
            *((shop.name, shop.simulator) for shop in self.shops),
            *((carrier.name, carrier.simulator) for carrier in self.carriers),
            *((warehouse.name, warehouse.simulator) for warehouse in self.warehouses),
        ]

    def routes(self) -> dict[str, str]:
        """Where each of their addresses leads; they are served from now on."""
        return {origin: address for _, each in self.vendors() for origin, address in each.routes().items()}

    def stock_the_shelves(self, seed: int, sold: float) -> dict[str, int]:
        """Put up for sale what there is, when about so many units of each are ``sold``; returns the units by SKU.

        Of most things there is enough, of some too little, so that they sell out.
        """
        choose = random.Random(seed)  # noqa: S311 (customers are no secret)
        goods = {
            f"{each.code}-{color.upper()}": replace(each, title=f"{each.title}, {color.lower()}")
            for each in _GOODS
            for color in _COLORS
        }
        opening = {sku: 3 + round(sold * choose.choice((0.5, 2.0, 3.0, 4.0))) for sku in goods}
        theirs = {sku for sku in opening if sku.startswith(THEIRS)} if self.warehouses else set()
        for number, shop in enumerate(self.shops):
            abroad = True
            for sku, each in goods.items():
                if number < _SELL_EVERYTHING or each.code in _PART:
                    # Before they are connected, the second shop says something of its own. A marketplace, which takes
                    # figures in and judges them later, would keep everybody waiting.
                    here = 0 if sku in theirs else opening[sku]
                    says = choose.randint(0, 20) if number == 1 else here
                    shop.simulator.add_product(sku, each.title, says, each.price)
                    abroad &= shop.simulator.goes_abroad(sku, each.grams, _MADE_IN, each.hs_code)
                    shop.simulator.show_picture(sku, drawn(each.code, sku.partition("-")[2].capitalize()))
                    shop.goods.append(sku)
                elif each.code in _SHIPPED_BY_CHANNEL and shop.simulator.add_product_shipped_by_channel(
                    sku, each.title, each.price
                ):
                    shop.theirs.append(sku)
            shop.visitors = Visitors(seed, abroad=abroad)
        for warehouse in self.warehouses:
            for sku in sorted(theirs):
                warehouse.simulator.stock_item(sku, goods[sku].title, opening[sku])
        return opening

    @property
    def expected_units(self) -> float:
        """How many units of a thing one customer takes, on the average of all things, at most."""
        return max(_BASKETS) / (len(_GOODS) * len(_COLORS))


def open_street(cast: Collection[str], seed: int, say: Callable[[str], None], ending: ExitStack) -> Street:
    """The simulated vendors of ``cast``, as far as they are installed with what they need; raises HubError where one
    cannot be opened. Other people's packages are not imported unasked."""
    street = Street()
    for each in plugins.simulators(cast):
        if each.lacking:
            say(f"Without {each.name}: {', '.join(each.lacking)} is missing. Install {each.package}[simulator].")
            continue
        try:
            found = each.load()
        except (ImportError, AttributeError) as error:
            raise HubError(
                f"The simulated “{each.name}” cannot be opened ({error}). Install {each.package}[simulator] again."
            ) from error
        if issubclass(found, ShopSimulator):
            street.shops.append(Shop(each.name, ending.enter_context(found(seed=seed))))
        elif issubclass(found, CarrierSimulator):
            street.carriers.append(Vendor(each.name, ending.enter_context(found(seed=seed))))
        elif issubclass(found, WarehouseSimulator):
            street.warehouses.append(Vendor(each.name, ending.enter_context(found(seed=seed))))
    return street
