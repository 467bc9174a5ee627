"""The customers of the demo: people who do not exist and come back, and shops that tell all there is of them."""

from __future__ import annotations

import random
from collections import Counter

from hub import addresses
from hub.demo.street import Shop, Street
from hub.demo.townsfolk import Visitors, people
from hub.testing import Customer
from hub_amazon.simulator import AmazonSimulator
from hub_shopify.simulator import ShopifySimulator
from hub_woocommerce.simulator import WooCommerceSimulator


def came(count: int, *, abroad: bool = True) -> list[Customer]:
    """The first customers who come to a shop."""
    visitors, choose = Visitors(1, abroad=abroad), random.Random(1)
    return [visitors.next(choose) for _ in range(count)]


def test_the_same_town_for_the_same_seed_and_nobody_twice() -> None:
    town = people(1)
    assert town == people(1) != people(2)
    assert len(town) == len({each.address.name for each in town}) == len({each.email for each in town}) == 40
    assert {each.email.partition("@")[2] for each in town} == {"example.com"}
    assert all(each.email.isascii() for each in town)
    assert sum(not each.address.name.isascii() for each in town) >= 10
    countries = {"GB", "IE", "DE", "FR", "ES", "NL", "SE", "DK", "PL", "PT", "US", "CA"}
    assert {each.address.country for each in town} == countries


def test_everybody_can_be_delivered_to_but_those_who_mistyped_their_address() -> None:
    wrong = [each.address.name for each in people(1) if addresses.check(each.address).wrong]
    assert wrong == ["Percival Quill", "Marguerite Sansonnet"]


def test_some_come_back_and_are_regulars_from_then_on() -> None:
    some = came(200)
    orders = Counter(each.email for each in some)
    assert orders.most_common(1)[0][1] >= 15
    assert sum(count == 1 for count in orders.values()) >= 1
    often = orders.most_common(1)[0][0]
    assert [("regular" in each.tags) for each in some if each.email == often][:6] == [False] * 4 + [True] * 2
    assert 10 <= sum(bool(each.note) for each in some) <= 60
    assert 3 <= sum(each.pays_later for each in some) <= 25
    assert all(("gift" in each.tags) == ("present" in each.note) for each in some)


def test_only_the_shops_own_country_buys_where_nothing_goes_abroad() -> None:
    assert {each.address.country for each in came(200, abroad=False)} == {"GB"}


def test_the_shops_tell_who_bought_with_note_tags_and_whether_it_is_paid() -> None:
    shopify, woo, amazon = ShopifySimulator(), WooCommerceSimulator(), AmazonSimulator(marketplaces=("UK",))
    street = Street([Shop("shopify", shopify), Shop("woocommerce", woo), Shop("amazon", amazon)])
    street.stock_the_shelves(1, 400.0)
    choose = random.Random(1)
    for shop in street.shops:
        for _ in range(60):
            shop.serve_a_customer(choose)

    sold = list(shopify.sold.values())
    assert len({each.customer.address.name for each in sold}) >= 15
    assert {each.note for each in sold} - {""} and {tag for each in sold for tag in each.tags} >= {"regular"}
    assert {each.financial for each in sold} == {"PAID", "PENDING"}
    assert {len(each.lines) for each in sold} >= {1, 2, 3}
    written = list(woo.shop.orders.values())
    assert len({each.address["last_name"] for each in written}) >= 15
    assert {each.status for each in written} == {"processing", "on-hold"}
    assert {each.paid is None for each in written if each.status == "on-hold"} == {True}
    # Amazon keeps nothing for customs: what is bought there stays in the country.
    buyers = [
        (each.buyer_name, each.recipient["name"], each.recipient["countryCode"]) for each in amazon.book.sold.values()
    ]
    assert len({name for name, _, _ in buyers}) >= 6
    assert {(name == recipient, country) for name, recipient, country in buyers} == {(True, "GB")}
    assert {variant.hs_code for variant in shopify.variants.values()} >= {"6912.00"}
