"""`hub replay` and `hub bundle` as an operator runs them: what they print, what they change, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from hub import plugins
from hub.store import tables as t
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator
from tests.ops.conftest import Run, SetUp
from tests.town import Town, town


@pytest.fixture
def shop(set_up: SetUp) -> Iterator[Town]:
    """A WooCommerce shop with ten mugs and one order of two, which an earlier version read as one."""
    with town(set_up.database, set_up.keyring, set_up.merchant, plugins.load(), set_up.folder) as built:
        woo = WooCommerceSimulator(site="https://woo.example")
        woo.add_product("MUG", "Mug", 10, "10.00")
        place = built.connect(WooCommerceConnector, woo)
        built.open_for_business(place, adopt=True)
        sale = woo.buy([("MUG", 2)])
        assert sale is not None
        built.poll(place)
        with set_up.database.write() as connection:
            connection.execute(update(t.order_line).values(quantity=1))
            connection.execute(update(t.sales_order).values(status="pending", note="misread", content_sha256="old"))
        yield built


def test_a_dry_run_shows_what_would_change_and_the_real_one_changes_it_once(shop: Town, run: Run) -> None:
    number = shop.row(t.sales_order).number

    dry = run("replay", "--connection", "WooCommerce", "--dry-run")

    assert dry.exit_code == 0, dry.output
    assert dry.stdout == (
        f"Order {number} ({shop.row(t.sales_order).external_id} at the shop)\n"
        "  status: pending → open\n"
        "  note: misread → (nothing)\n"
        "  line “Mug”: quantity: 1 → 2\n"
        "WooCommerce: 1 records read again with tallyhub-woocommerce 0.1.0.\n"
        "1 order of 1 would change.\n"
    )
    assert shop.row(t.sales_order).status == "pending"

    done = run("replay", "--connection", str(shop.row(t.connection).id))
    assert done.stdout.endswith("1 order of 1 changed.\n")
    assert (shop.row(t.sales_order).status, shop.row(t.order_line).quantity) == ("open", 2)
    assert run("replay", "--connection", "WooCommerce").stdout.endswith("No order of 1 changed.\n")


def test_only_part_of_it_can_be_read_again_and_what_is_not_there_is_said(shop: Town, run: Run) -> None:
    number = shop.row(t.sales_order).number

    later = run("replay", "--connection", "WooCommerce", "--since", "2199-01-01")
    one = run("replay", "--connection", "WooCommerce", "--order", number, "--dry-run")

    assert "0 records read again" in later.stdout
    assert "No order of 0 changed." in later.stdout
    assert "1 order of 1 would change." in one.stdout
    assert shop.row(t.sales_order).status == "pending"

    for arguments, said in (
        (["replay", "--connection", "Nowhere"], "There is no connection “Nowhere”. There are: WooCommerce ("),
        (["replay", "--connection", "WooCommerce", "--order", "77"], "There is no order “77”. Use its number"),
        (["bundle", "77"], "There is no order “77”. Use its number, its id at the shop, or the id in its page"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert refused.output.startswith(f"Error: {said}")


def test_a_bundle_is_written_where_one_is_told_to(
    shop: Town, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    number = shop.row(t.sales_order).number

    here = run("bundle", number)
    packed = run("bundle", number, "--out", tmp_path / "order.zip")
    again = run("bundle", number)

    assert here.exit_code == 0, here.output
    assert here.stdout == (
        f"bundle-woocommerce-{number}: 1 records. Names, addresses and free texts in it are made up.\n"
        "It fails here: the installed connector makes another order of these records than the hub has.\n"
        f"Run it with: python -m pytest bundle-woocommerce-{number}\n"
    )
    assert (tmp_path / f"bundle-woocommerce-{number}" / "test_bundle.py").exists()
    assert (packed.exit_code, (tmp_path / "order.zip").exists()) == (0, True)
    assert packed.stdout.endswith("Unpack it, then run pytest on it.\n")
    assert again.exit_code == 1
    assert "is there already. Name another place with --out." in again.output
