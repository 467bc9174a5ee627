"""`hub routing replay` and `hub geo import`, as an operator runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from hub.core.model import Address
from hub.store import locations, routing
from hub.store import tables as t
from hub.store.locations import Location
from tests.core.making import a_line, an_order
from tests.ops.conftest import Run, SetUp
from tests.store.warehouse import OWNER, Warehouse


@pytest.fixture
def house(set_up: SetUp) -> Warehouse:
    """A merchant with two locations, of which the nearer one ships the one order there is."""
    database, keyring, merchant, _ = set_up
    house = Warehouse(database, keyring, merchant)
    shop = house.connect()
    mug = house.sku("MUG", 5)
    house.listing(shop, "mug", mug)
    leeds = locations.save(database, merchant, None, Location(name="Leeds", address=Address(country="GB")), OWNER)
    house.count(mug, 5, leeds)
    house.hear(shop, an_order(a_line(2), shipping_address=Address(country="GB")))

    def route(connection: Connection) -> None:
        at = database.now(connection)
        routing.route(connection, merchant, [house.row(t.sales_order).id], at=at)

    database.transact(route)
    return house


def test_what_was_decided_comes_out_the_same(run: Run, house: Warehouse) -> None:
    result = run("routing", "replay")

    assert result.exit_code == 0
    assert "1 decisions made again: 1 come out the same.\n" in result.output

    # Somebody has changed what was decided then.
    with house.database.write() as connection:
        row = house.row(t.routing_decision)
        connection.execute(update(t.routing_decision).values(outcome=row.outcome | {"summary": "I did."}))
    assert run("routing", "replay").exit_code == 1


def test_another_policy_is_compared(run: Run, house: Warehouse, tmp_path: Path) -> None:
    leeds = next(row.id for row in house.rows(t.location) if row.name == "Leeds")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"rules": [{"do": "never", "places": [str(leeds)]}]}))

    result = run("routing", "replay", "--policy", policy, "--days", "1")
    assert result.exit_code == 0
    assert "1 decisions made again: 0 come out the same, 1 differ.\n" in result.output
    assert "Split orders: 0 before, 0 after.\n" in result.output
    assert (
        "#100: Leeds: nearest of the 2 that have it (roughly: only the country is known). → "
        "Main warehouse: the only location that has it and may ship it.\n"
    ) in result.output

    found = json.loads(run("routing", "replay", "--policy", policy, "--last", "5", "--json").stdout)
    assert (found["made"], found["same"], found["differ"][0]["number"]) == (1, 0, "#100")
    assert "1 come out the same, 0 differ." in run("routing", "replay", "--policy", "0").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "7"], "There is no routing policy 7."),
        (["--policy", "nowhere.json"], "nowhere.json cannot be read"),
        (["--merchant", "Coffee"], "Name the business with --merchant: “Tea”."),
    ],
)
def test_what_cannot_be_replayed_is_said(run: Run, house: Warehouse, arguments: list[str], said: str) -> None:
    result = run("routing", "replay", *arguments)

    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize("text", ["{", '{"rules": [{"do": "dance"}]}', '{"most_parcels": 9}', "[]"])
def test_a_file_without_a_policy_is_said(run: Run, house: Warehouse, tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)

    result = run("routing", "replay", "--policy", file)

    assert result.exit_code == 1
    assert "holds no routing policy" in result.output


def test_a_file_of_postal_codes_is_read_in(run: Run, house: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "GB.txt"
    line = "\t".join(["GB", "LS1", "Leeds", *[""] * 6, "53.8", "-1.55", "4"])
    file.write_text(f"{line}\nno such line\n")

    result = run("geo", "import", file, "--country", "gb")

    assert result.exit_code == 0, result.output
    assert "GB: 1 postal codes.\n1 lines could not be read and were left out.\n" in result.output
    assert [(row.country, row.code) for row in house.rows(t.postal_place)] == [("GB", "LS1")]

    refused = run("geo", "import", file, "--country", "DE")
    assert (refused.exit_code, "holds no postal codes of DE" in refused.output) == (1, True)
