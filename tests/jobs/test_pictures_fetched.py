"""Pictures of listings: fetched once, a few at a time, whatever the shop sends, and gone when they are not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import update

from hub import jobs
from hub import pictures as drawing
from hub.certify.crashing import Fate
from hub.core.model import Listing
from hub.jobs import picture_lane
from hub.store import connections, listings, pictures, sandbox
from hub.store import tables as t
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator
from hub.testing.town import town_of
from tests.jobs.dying import Deadly, every_death, passes
from tests.jobs.fake_shop import FakeChannel, Shop, connect
from tests.statements import statements
from tests.town import OWNER, Town

CDN = "https://cdn.example"
MUG = f"{CDN}/mug.png"


def drawn(color: str = "teal") -> bytes:
    file = BytesIO()
    Image.new("RGB", (200, 100), color).save(file, "PNG")
    return file.getvalue()


class Photos(Simulator):
    """Where a shop keeps its pictures, by their paths; a text is the address that it sends on to."""

    origin = CDN

    def __init__(self, **shown: bytes | str) -> None:
        super().__init__()
        self.shown: dict[str, bytes | str] = {f"/{name}.png": each for name, each in shown.items()}

    def answer(self, request: SimRequest) -> SimResponse:
        found = self.shown.get(request.path)
        if found is None:
            return SimResponse(404, body=b"<h1>Not here</h1>")
        if isinstance(found, str):
            return SimResponse(302, {"Location": found})
        return SimResponse(200, {"Content-Type": "text/plain"}, found)

    def asked(self) -> list[str]:
        return [each.path for each in self.requests]


@pytest.fixture
def photos() -> Iterator[Photos]:
    with Photos(mug=drawn()) as photos:
        yield photos


@pytest.fixture
def shop_town(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """A town in which pictures are fetched."""
    monkeypatch.setattr(picture_lane, "PAUSE", 0.0)
    with town_of(FakeChannel) as town:
        yield fetching(town, photos)


@pytest.fixture
def place(shop_town: Town) -> UUID:
    """A connection without listings."""
    return connect(shop_town, Shop())


def fetching(town: Town, photos: Photos) -> Town:
    town.lead_to(photos)
    setting(town, pictures=True)
    return town


def setting(town: Town, **settings: Any) -> None:
    town.hub = replace(town.hub, settings=replace(town.hub.settings, **settings))


def import_listings(town: Town, place: UUID, images: Mapping[str, str]) -> None:
    """Import listings as their channel tells them, each with the address of its picture."""
    told = [Listing(external_id=each, sku=each, title=each.title(), image_url=url) for each, url in images.items()]
    with town.hub.database.write() as db:
        listings.keep(db, town.merchant, place, told, at=town.hub.database.now(db))


def fetch(town: Town, place: UUID) -> None:
    """Drain the lane of pictures, and nothing else."""
    jobs.drain(town.hub, town.merchant, place, "pictures", budget_seconds=5.0)


def picture(town: Town, source: str = MUG) -> Any:
    return town.row(t.picture, t.picture.c.source == source)


def shown(town: Town, row: Any, size: str = "small") -> bytes | None:
    with town.hub.database.read() as db:
        return pictures.show(db, town.merchant, row.address, size)


# ---------------------------------------------------------------- wanted, fetched, kept


def test_an_imported_picture_is_fetched_and_kept_in_both_sizes(hub_town: Town, photos: Photos) -> None:
    shop_town = fetching(hub_town, photos)
    place = connect(shop_town, Shop())
    import_listings(shop_town, place, {"mug": MUG})
    wanted = picture(shop_town)
    assert (wanted.state, wanted.address, wanted.attempts) == ("wanted", "", 0)
    assert jobs.due(shop_town.hub) == [(shop_town.merchant, place, "pictures")]

    shop_town.work()

    kept = picture(shop_town)
    assert (kept.state, kept.error, kept.due_at, kept.attempts) == ("kept", "", None, 0)
    assert photos.asked() == ["/mug.png"]
    for size, wide in (("small", 96), ("large", 200)):
        content = shown(shop_town, kept, size)
        assert content is not None
        assert Image.open(BytesIO(content)).size == (wide, wide // 2)
    assert shop_town.row(t.listing).picture_id == kept.id


def test_variants_share_a_picture_and_an_import_that_says_nothing_new_fetches_nothing(
    shop_town: Town, place: UUID, photos: Photos
) -> None:
    for _ in range(2):
        import_listings(shop_town, place, {"red": MUG, "blue": MUG})
        shop_town.work()

    assert photos.asked() == ["/mug.png"]
    assert {row.picture_id for row in shop_town.rows(t.listing)} == {picture(shop_town).id}


def test_many_listings_cost_their_import_one_statement_more(hub_town: Town, photos: Photos) -> None:
    shop_town = fetching(hub_town, photos)
    place = connect(shop_town, Shop())

    with statements(shop_town.hub.database) as bare:
        import_listings(shop_town, place, {f"bare-{number}": "" for number in range(300)})
    with statements(shop_town.hub.database) as pictured:
        import_listings(shop_town, place, {f"new-{number}": f"{CDN}/{number}.png" for number in range(300)})

    assert len(pictured) == len(bare) + 1
    assert shop_town.count(t.picture) == 300


def test_a_new_address_is_fetched_and_the_picture_that_nothing_shows_is_erased(
    shop_town: Town, place: UUID, photos: Photos
) -> None:
    import_listings(shop_town, place, {"mug": MUG})
    shop_town.work()
    photos.shown["/new.png"] = drawn("navy")

    import_listings(shop_town, place, {"mug": f"{CDN}/new.png"})
    shop_town.work()
    assert shop_town.row(t.listing).picture_id == picture(shop_town, f"{CDN}/new.png").id
    jobs.tidy(shop_town.hub)

    assert [row.source for row in shop_town.rows(t.picture)] == [f"{CDN}/new.png"]
    assert shop_town.count(t.picture_file) == 2


def test_a_message_that_leaves_the_picture_out_leaves_it_as_it_is(shop_town: Town, place: UUID) -> None:
    import_listings(shop_town, place, {"mug": MUG})
    shop_town.work()

    import_listings(shop_town, place, {"mug": ""})
    jobs.tidy(shop_town.hub)

    assert shop_town.row(t.listing).picture_id == picture(shop_town).id
    assert shown(shop_town, picture(shop_town)) is not None


@pytest.mark.parametrize("source", ["", "data:image/png;base64,AAAA", "ftp://cdn.example/mug.png", "https://[", "mug"])
def test_what_is_no_web_address_is_not_wanted(shop_town: Town, place: UUID, source: str) -> None:
    import_listings(shop_town, place, {"mug": source})

    assert shop_town.count(t.picture) == 0
    assert shop_town.row(t.listing).picture_id is None


# ---------------------------------------------------------------- what shops send


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(None, "cdn.example does not have it (404: Not here).", id="nothing there"),
        pytest.param(
            b"<html>Sign in</html>", "What the shop sends there is no JPEG, PNG, WebP or GIF picture.", id="html"
        ),
        pytest.param(drawn()[:60], "The picture is damaged: it cannot be opened.", id="truncated"),
        pytest.param(
            b"\x89PNG" + bytes(3000),
            "cdn.example answered with more than 2000 bytes, which are not read.",
            id="too long",
        ),
        pytest.param(
            "http://[/mug.png",
            "“http://[/mug.png”, where the picture is said to be, is no web address.",
            id="no address",
        ),
        pytest.param("file:///etc/passwd", "“file:///etc/passwd” is not a web address", id="a file of this machine"),
        pytest.param("/mug.png", "The picture is sent on from address to address, more than 3 times.", id="in circles"),
    ],
)
def test_what_cannot_be_shown_says_why_and_is_looked_at_again_in_a_week(
    shop_town: Town, place: UUID, photos: Photos, monkeypatch: pytest.MonkeyPatch, sent: Any, error: str
) -> None:
    monkeypatch.setattr(drawing, "MOST_BYTES", 2000)
    photos.shown = {} if sent is None else {"/mug.png": sent}
    import_listings(shop_town, place, {"mug": MUG})

    before = shop_town.hub.database
    fetch(shop_town, place)

    failed = picture(shop_town)
    assert failed.state == "failed" and failed.address == ""
    assert error in failed.error
    assert shop_town.count(t.picture_file) == 0
    with before.read() as db:
        assert failed.due_at > before.now(db) + timedelta(days=6, hours=23)
    assert jobs.due(shop_town.hub) == []

    photos.shown = {"/mug.png": drawn()}
    shop_town.let_pass(7 * 86_400)
    fetch(shop_town, place)
    assert (picture(shop_town).state, picture(shop_town).error) == ("kept", "")


def test_a_picture_that_has_moved_is_followed(shop_town: Town, place: UUID, photos: Photos) -> None:
    photos.shown |= {"/old.png": f"{CDN}/older.png", "/older.png": "mug.png"}
    import_listings(shop_town, place, {"mug": f"{CDN}/old.png"})

    fetch(shop_town, place)

    assert picture(shop_town, f"{CDN}/old.png").state == "kept"
    assert photos.asked() == ["/old.png", "/older.png", "/mug.png"]


def test_signs_that_shops_leave_in_names_are_spelled_as_an_address_has_them(
    shop_town: Town, place: UUID, photos: Photos
) -> None:
    photos.shown["/a%20mug%402x.png"] = photos.shown["/mug.png"]
    import_listings(shop_town, place, {"mug": f"{CDN}/a mug@2x.png"})

    fetch(shop_town, place)

    assert picture(shop_town, f"{CDN}/a mug@2x.png").state == "kept"


@pytest.mark.parametrize("moved", [False, True], ids=["named", "sent on to"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.7", "2130706433"])
def test_an_address_inside_is_never_asked(
    shop_town: Town, place: UUID, photos: Photos, monkeypatch: pytest.MonkeyPatch, host: str, moved: bool
) -> None:
    with Photos(mug=drawn()) as inside:
        port = inside.serve().rpartition(":")[2]
        address = f"http://{host}:{port}/mug.png"
        photos.shown["/moved.png"] = address
        import_listings(shop_town, place, {"mug": f"{CDN}/moved.png" if moved else address})

        fetch(shop_town, place)

        failed = shop_town.row(t.picture)
        assert failed.state == "failed"
        assert "which is not called: nothing was sent" in failed.error
        assert inside.asked() == []


def test_the_operator_may_allow_a_network(shop_town: Town, place: UUID) -> None:
    with Photos(mug=drawn()) as inside:
        setting(shop_town, private_networks=("127.0.0.0/8",))
        import_listings(shop_town, place, {"mug": f"{inside.serve()}/mug.png"})

        fetch(shop_town, place)

        assert shop_town.row(t.picture).state == "kept"
        assert inside.asked() == ["/mug.png"]


def test_nothing_of_a_sandbox_is_fetched_from_anywhere_but_its_own_simulators(
    shop_town: Town, place: UUID, photos: Photos
) -> None:
    with Photos(mug=drawn()) as simulated, shop_town.hub.database.write() as db:
        now = shop_town.hub.database.now(db)
        routes = {"https://simulated.example": simulated.serve()}
        db.execute(t.sandbox.insert().values(merchant_id=shop_town.merchant, wanted_at=now, routes=routes))
        db.execute(update(t.connection).where(t.connection.c.id == place).values(sandbox=True))
        db.commit()
        import_listings(shop_town, place, {"mug": MUG, "cup": "https://simulated.example/mug.png"})

        fetch(shop_town, place)

        refused = picture(shop_town)
        assert (refused.state, photos.asked()) == ("failed", [])
        assert refused.error == "https://cdn.example is not an address of this connection: nothing was sent."
        assert picture(shop_town, "https://simulated.example/mug.png").state == "kept"
        assert simulated.asked() == ["/mug.png"]


# ---------------------------------------------------------------- politely


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.status(503), id="it fails"),
        pytest.param(Fault.status(429, retry_after=600), id="it asks for patience"),
        pytest.param(Fault.reset(), id="it hangs up"),
        pytest.param(Fault.dripping(4.0), id="it never ends"),
    ],
)
def test_a_host_that_does_not_answer_is_left_alone_with_all_its_pictures(
    shop_town: Town, place: UUID, photos: Photos, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(picture_lane, "_MOST_SECONDS", 0.2)
    photos.shown |= {f"/{number}.png": drawn() for number in range(5)}
    with Photos(mug=drawn()) as other:
        other.origin = "https://other.example"
        shop_town.lead_to(other)
        photos.fail_next("/", fault)
        import_listings(shop_town, place, {str(number): f"{CDN}/{number}.png" for number in range(5)})
        import_listings(shop_town, place, {"mug": "https://other.example/mug.png"})

        fetch(shop_town, place)

        assert len(photos.requests) == 1
        assert picture(shop_town, "https://other.example/mug.png").state == "kept"
        states = sorted(row.state for row in shop_town.rows(t.picture, t.picture.c.host == "cdn.example"))
        assert states == ["failed", "wanted", "wanted", "wanted", "wanted"]
        assert jobs.due(shop_town.hub) == []

        shop_town.let_pass(601)
        fetch(shop_town, place)
        assert {row.state for row in shop_town.rows(t.picture)} == {"kept"}
        assert len(photos.requests) == 6


def test_a_picture_that_never_comes_is_given_up(shop_town: Town, place: UUID, photos: Photos) -> None:
    photos.shown = {}
    import_listings(shop_town, place, {"mug": MUG})
    for _ in range(pictures.ATTEMPTS + 2):
        fetch(shop_town, place)
        shop_town.let_pass(8 * 86_400)

    given_up = picture(shop_town)
    assert (given_up.state, given_up.due_at, given_up.attempts) == ("failed", None, pictures.ATTEMPTS)
    assert len(photos.requests) == pictures.ATTEMPTS


def test_a_paused_shop_is_not_asked_for_pictures(shop_town: Town, place: UUID, photos: Photos) -> None:
    import_listings(shop_town, place, {"mug": MUG})
    connections.pause(shop_town.hub.database, shop_town.merchant, place, OWNER)
    assert jobs.due(shop_town.hub) == []
    fetch(shop_town, place)
    assert photos.asked() == []

    connections.resume(shop_town.hub.database, shop_town.merchant, place, OWNER)
    shop_town.work()
    assert photos.asked() == ["/mug.png"]


# ---------------------------------------------------------------- two workers, and dying ones


def test_a_second_worker_fetches_nothing_while_the_first_is_at_it(shop_town: Town, place: UUID, photos: Photos) -> None:
    turned_away = []
    photos.fail_next(
        "/mug.png",
        Fault.changing(
            lambda: turned_away.append(not jobs.drain(shop_town.hub, shop_town.merchant, place, "pictures"))
        ),
    )
    import_listings(shop_town, place, {"mug": MUG})

    fetch(shop_town, place)

    assert turned_away == [True]
    assert photos.asked() == ["/mug.png"]
    assert picture(shop_town).state == "kept"


def test_who_lost_the_lane_keeps_nothing(shop_town: Town, place: UUID, photos: Photos) -> None:
    def taken_over() -> None:
        shop_town.let_pass(60)
        assert shop_town.hub.database.lease(f"pictures:{place}", 45.0) is not None

    photos.fail_next("/mug.png", Fault.changing(taken_over))
    import_listings(shop_town, place, {"mug": MUG})

    fetch(shop_town, place)

    assert picture(shop_town).state == "wanted"
    assert shop_town.count(t.picture_file) == 0


def test_a_worker_that_dies_anywhere_leaves_a_picture_that_is_fetched_later(shop_town: Town, place: UUID) -> None:
    lives = iter(range(1000))

    def survives(deadly: Deadly) -> bool:
        source = f"{CDN}/mug.png?{next(lives)}"
        import_listings(shop_town, place, {"mug": source})
        fates = [Fate(*each) for each in deadly]
        done = lambda: picture(shop_town, source).state == "kept"  # noqa: E731
        assert passes(shop_town, fates, lambda: fetch(shop_town, place), done)
        file = t.picture_file.c.picture_id == picture(shop_town, source).id
        assert shop_town.count(t.picture_file, file) == 2
        return not fates[-1].dead

    assert every_death(survives) >= 4


def test_a_picture_that_kills_its_worker_is_not_tried_for_ever(
    shop_town: Town, place: UUID, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def kill(content: bytes) -> dict[str, bytes]:
        opened.append(content)
        raise SystemExit(137)

    monkeypatch.setattr(drawing, "thumbnails", kill)
    import_listings(shop_town, place, {"mug": MUG})
    for _ in range(pictures.ATTEMPTS + 2):
        with pytest.raises(SystemExit) if len(opened) < pictures.ATTEMPTS else nullcontext():
            fetch(shop_town, place)
        shop_town.let_pass(3600)

    assert len(opened) == pictures.ATTEMPTS
    failed = picture(shop_town)
    assert (failed.state, failed.error) == ("failed", "It was begun several times, and never came to an end.")


def test_no_connector_is_blamed_for_a_picture_that_kills_its_worker(shop_town: Town, place: UUID) -> None:
    jobs.broke_down(shop_town.hub, shop_town.merchant, place, "pictures", "killed by SIGKILL")

    assert shop_town.issues() == []
    assert shop_town.row(t.connection).failures == 0


# ---------------------------------------------------------------- letting go


def remove(town: Town, place: UUID) -> None:
    connections.remove(town.hub.database, town.merchant, place, OWNER, keyring=town.hub.keyring, connector=FakeChannel)


def test_with_its_connection_a_picture_is_shown_no_more_and_then_erased(hub_town: Town, photos: Photos) -> None:
    shop_town = fetching(hub_town, photos)
    place = connect(shop_town, Shop())
    import_listings(shop_town, place, {"mug": MUG})
    shop_town.work()
    before = picture(shop_town)
    assert shown(shop_town, before) is not None

    remove(shop_town, place)
    assert shown(shop_town, before) is None
    jobs.tidy(shop_town.hub)

    assert (shop_town.count(t.picture), shop_town.count(t.picture_file)) == (0, 0)
    assert shop_town.row(t.listing).picture_id is None


def test_a_picture_that_comes_when_its_connection_is_gone_is_not_kept(
    shop_town: Town, place: UUID, photos: Photos
) -> None:
    photos.fail_next("/mug.png", Fault.changing(lambda: remove(shop_town, place)))
    import_listings(shop_town, place, {"mug": MUG})

    fetch(shop_town, place)

    assert (picture(shop_town).address, shop_town.count(t.picture_file)) == ("", 0)


def test_with_the_sandbox_its_pictures_go(shop_town: Town, place: UUID) -> None:
    import_listings(shop_town, place, {"mug": MUG})
    shop_town.work()
    with shop_town.hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == place).values(sandbox=True))
        sandbox.forget(db, shop_town.merchant, at=shop_town.hub.database.now(db))

    assert (shop_town.count(t.picture), shop_town.count(t.picture_file)) == (0, 0)


def test_switched_off_nothing_is_fetched_and_everything_is_erased_until_it_is_on_again(
    hub_town: Town, photos: Photos
) -> None:
    shop_town = fetching(hub_town, photos)
    place = connect(shop_town, Shop())
    photos.shown["/cup.png"] = drawn("navy")
    import_listings(shop_town, place, {"mug": MUG})
    shop_town.work()

    setting(shop_town, pictures=False)
    import_listings(shop_town, place, {"cup": f"{CDN}/cup.png"})
    fetch(shop_town, place)
    jobs.tidy(shop_town.hub)
    assert jobs.due(shop_town.hub) == []
    assert photos.asked() == ["/mug.png"]
    assert (shop_town.count(t.picture_file), picture(shop_town).address) == (0, "")

    setting(shop_town, pictures=True)
    shop_town.work()
    assert sorted(photos.asked()) == ["/cup.png", "/mug.png", "/mug.png"]
    assert {row.state for row in shop_town.rows(t.picture)} == {"kept"}
