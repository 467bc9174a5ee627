"""A figure is believed to stand at the channel only while nothing can have changed it: found by the simulation."""

from __future__ import annotations

import pytest

from hub.errors import Unavailable
from tests.jobs.fake_shop import CarefulChannel, FakeChannel, Shop, open_shop, send
from tests.town import Town

each_kind = pytest.mark.parametrize("connector", [FakeChannel, CarefulChannel], ids=lambda each: each.label)


@each_kind
def test_after_a_write_without_an_answer_the_old_figure_is_not_believed(
    hub_town: Town, connector: type[FakeChannel]
) -> None:
    """The write took effect, its answer was lost, and then the old figure is the right one again."""
    shop = Shop(stock={"mug": 5})
    open_shop(hub_town, shop, connector)

    def answer_gets_lost() -> None:
        shop.stock["mug"] = 7
        raise Unavailable("The connection broke.", sent=True)

    shop.fail("push mug", answer_gets_lost)
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    hub_town.count_stock("MUG", 5)

    hub_town.let_pass(120)
    hub_town.work()

    assert shop.stock["mug"] == 5


@each_kind
def test_a_line_that_only_waited_may_give_units_back_to_its_shops_figure(
    hub_town: Town, connector: type[FakeChannel]
) -> None:
    """No balance of the hub changes when it is cancelled, and the shop sells one unit too many all the same."""
    shop = Shop(stock={"mug": 1})
    connection = open_shop(hub_town, shop, connector)
    hub_town.count_stock("MUG", 0)  # it is not there at all; the shop does not know yet
    order = shop.buy("mug")
    hub_town.poll(connection)
    assert (hub_town.stock(), shop.stock["mug"]) == ({"MUG": (0, 0)}, 0)

    send(hub_town, connection, "order", shop.cancel(order))
    hub_town.work()

    assert shop.stock["mug"] == 0
