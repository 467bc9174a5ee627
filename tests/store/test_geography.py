"""Where addresses lie: files of postal codes, ZIP codes, the middle of a country; and replaying past decisions."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from hub.core.countries import COUNTRIES
from hub.core.geo import Point
from hub.core.model import Address
from hub.core.routing import Do, RoutingPolicy, Rule
from hub.errors import BadInput
from hub.store import geography, locations, replaying
from hub.store import tables as t
from hub.store.database import Database
from hub.store.geography import Found
from hub.store.locations import Location
from hub.store.replaying import Replayed
from tests.store.test_routing import Merchant
from tests.store.warehouse import OWNER, Warehouse


def line(country: str, code: str, latitude: float, longitude: float, name: str = "Somewhere") -> str:
    """A line as GeoNames has it: eleven columns and the accuracy."""
    return "\t".join([country, code, name, "", "", "", "", "", "", str(latitude), str(longitude), "4"])


GB = [
    line("GB", "LS1", 53.80, -1.55, "Leeds"),
    line("GB", "YO1", 53.95, -1.08, "York"),
    line("GB", "YO1", 53.97, -1.10, "York"),
]
DE = [line("DE", "10115", 52.53, 13.38, "Berlin")]


def locate(database: Database, country: str, postcode: str) -> Found | None:
    def work(connection: Any) -> Found | None:
        return geography.locate(connection, [(country, postcode)]).get((country, postcode))

    return database.transact(work)


def test_a_file_says_where_postal_codes_are(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "GB.txt"
    file.write_text("\n".join([*GB, "damaged", line("GB", "XX1", 95, 0)]), encoding="utf-8")

    found = geography.import_file(database, file)

    assert (found.codes, found.unreadable) == ({"GB": 2}, 2)
    assert locate(database, "GB", "ls1 4ap") == Found(Point(53.80, -1.55), "postcode", "from the postal code LS1")
    york = locate(database, "gb", "YO1")
    assert york is not None
    assert (round(york.point.latitude, 2), round(york.point.longitude, 2)) == (53.96, -1.09)


def test_a_zip_of_several_countries_gives_the_one_that_is_asked_for(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "allCountries.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "About these files.")
        archive.writestr("allCountries.txt", "\n".join([*GB, *DE]))
    told: list[tuple[str, int]] = []

    found = geography.import_file(database, file, "de", lambda text, done: told.append((text, done)))

    assert found.codes == {"DE": 1}
    assert told == [("Reading the file", 0), ("Storing codes", 1)]
    assert locate(database, "DE", "10115") == Found(Point(52.53, 13.38), "postcode", "from the postal code 10115")
    assert locate(database, "GB", "LS1") == Found(
        COUNTRIES["GB"].middle, "country", "middle of United Kingdom, only roughly"
    )


def test_a_newer_file_replaces_what_was_known_of_its_countries(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "codes.txt"
    file.write_text("\n".join([*GB, *DE]), encoding="utf-8")
    geography.import_file(database, file)
    file.write_text(line("GB", "LS1", 53.81, -1.56), encoding="utf-8")
    geography.import_file(database, file)

    with database.read() as connection:
        rows = connection.execute(t.postal_place.select().order_by(t.postal_place.c.country)).all()
    assert [(row.country, row.code, row.latitude) for row in rows] == [("DE", "10115", 52.53), ("GB", "LS1", 53.81)]


@pytest.mark.parametrize(
    ("country", "postcode", "code"),
    [
        ("CA", "K1A 0B6", "K1A"),
        ("IE", "D02 X285", "D02"),
        ("NL", "1012 AB", "1012"),
        ("PT", "1000-205", "1000"),
        ("BR", "01310-100", "01310"),
        ("JP", "100-0001", "1000001"),
        ("PL", "00-001", "00001"),
    ],
)
def test_a_code_is_shortened_to_what_files_have(
    database: Database, tmp_path: Path, country: str, postcode: str, code: str
) -> None:
    file = tmp_path / "codes.txt"
    file.write_text(line(country, code, 10, 20), encoding="utf-8")
    geography.import_file(database, file)

    assert locate(database, country, postcode) == Found(Point(10, 20), "postcode", f"from the postal code {code}")


def test_zip_codes_are_known_without_a_file_and_kept(database: Database) -> None:
    first = locate(database, "US", "10001-1234")

    assert first == Found(Point(40.7484, -73.9967), "postcode", "from the postal code 10001")
    with database.read() as connection:
        assert [(row.country, row.code) for row in connection.execute(t.postal_place.select())] == [("US", "10001")]
    assert locate(database, "US", "10001") == first
    assert locate(database, "US", "00000") == Found(
        COUNTRIES["US"].middle, "country", "middle of United States, only roughly"
    )


def test_nothing_is_known_of_no_country(database: Database) -> None:
    assert locate(database, "", "LS1") is None
    assert locate(database, "ZZ", "LS1") is None


@pytest.mark.parametrize(
    ("content", "country", "said"),
    [
        (b"name,latitude\n", "", "holds no postal codes"),
        ("\n".join(GB).encode(), "DE", "holds no postal codes of DE"),
        ("\n".join(GB).encode(), "Germany", "is no country code"),
        (b"\xff\xfe\x00", "", "holds no postal codes"),
    ],
)
def test_a_file_that_is_none_changes_nothing(
    database: Database, tmp_path: Path, content: bytes, country: str, said: str
) -> None:
    file = tmp_path / "codes.txt"
    file.write_bytes(content)

    with pytest.raises(BadInput, match=said):
        geography.import_file(database, file, country)
    with database.read() as connection:
        assert connection.execute(t.postal_place.select()).all() == []


def test_a_location_is_found_anew_when_it_is_saved_again(warehouse: Warehouse, tmp_path: Path) -> None:
    wanted = Location(name="Leeds", address=Address(postcode="LS1 4AP", country="gb"))
    place = locations.save(warehouse.database, warehouse.merchant, None, wanted, OWNER)

    def placed() -> str:
        with warehouse.database.read() as connection:
            found = locations.location(connection, warehouse.merchant, place)
        assert found is not None
        return found.placed

    assert placed() == "middle of United Kingdom, only roughly"
    file = tmp_path / "GB.txt"
    file.write_text("\n".join(GB), encoding="utf-8")
    geography.import_file(warehouse.database, file)
    locations.save(warehouse.database, warehouse.merchant, place, wanted, OWNER)
    assert placed() == "from the postal code LS1 4AP"


# ---------------------------------------------------------------- past decisions


def replay(house: Merchant, policy: RoutingPolicy | None = None, **more: Any) -> Replayed:
    with house.warehouse.database.read() as connection:
        return replaying.replay(connection, house.warehouse.merchant, policy, **more)


@pytest.fixture
def house(warehouse: Warehouse) -> Merchant:
    """Four orders were dealt out, under two policies: two from Leeds, one from Berlin, one from both."""
    house = Merchant(warehouse)
    house.stock(mug={house.leeds: 5, house.berlin: 5}, tee={house.berlin: 5})
    house.route(house.sell("100", ("mug", 1)), house.sell("101", ("mug", 1)))
    house.policy(Rule(do=Do.NEVER, places=(str(house.leeds),)), Rule(do=Do.NEAREST))
    house.route(house.sell("102", ("mug", 1)))
    house.policy(Rule(do=Do.NEAREST), most_parcels=3)
    house.route(house.sell("103", ("mug", 5), ("tee", 1)))
    return house


def test_with_the_same_policies_everything_comes_out_the_same(house: Merchant) -> None:
    found = replay(house)

    assert (found.made, found.same, found.differ) == (4, 4, [])
    assert found.before == found.after
    assert found.before.parcels == 5


def test_another_policy_shows_what_would_differ(house: Merchant) -> None:
    told: list[tuple[int, int]] = []
    never_leeds = RoutingPolicy(rules=(Rule(do=Do.NEVER, places=(str(house.leeds),)),), most_parcels=1)

    found = replay(house, never_leeds, progress=lambda done, of: told.append((done, of)))

    assert (found.made, found.same) == (4, 1)
    assert [each.number for each in found.differ] == ["#103", "#101", "#100"]
    last = found.differ[0]
    assert last.before.summary.startswith("Leeds (")
    assert last.after.summary.startswith("Nobody has both lines: Berlin has 5 of 6 units")
    assert (found.before.split, found.after.split) == (1, 0)
    assert (found.before.parcels, found.after.parcels) == (5, 3)
    assert (found.before.nobody, found.after.nobody) == (0, 1)
    assert (found.far, found.paid) == (3, 0)
    assert found.before.kilometers < found.after.kilometers
    assert told == [(0, 4), (4, 4)]
    assert [row.policy_number for row in house.decisions()] == [0, 0, 1, 2], "nothing was written"


def test_only_the_newest_are_made_again(house: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "_PER_READ", 2)

    assert replay(house, newest=3).made == 3
    assert replay(house, newest=9).made == 4
    with house.warehouse.database.read() as connection:
        now = house.warehouse.database.now(connection)
    assert replay(house, since=now).made == 0
    stopped = replay(house, go_on=iter([True, False]).__next__)
    assert (stopped.made, stopped.left) == (2, 2)


def test_what_a_person_or_a_plugin_decided_stands_and_what_is_forgotten_is_left_out(house: Merchant) -> None:
    first, second, *_ = house.decisions()
    with house.warehouse.database.write() as connection:
        this = t.routing_decision
        connection.execute(this.update().where(this.c.id == first.id).values(cause="chosen"))
        connection.execute(this.update().where(this.c.id == second.id).values(inputs={}, outcome={}))

    found = replay(house, RoutingPolicy())

    assert (found.made, found.by_others, found.forgotten) == (2, 1, 1)
