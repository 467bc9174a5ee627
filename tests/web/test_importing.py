"""The progress of an import on the connection's page: how many, how fast, how long; and what is said at its end."""

from __future__ import annotations

import re
from uuid import UUID

from sqlalchemy import insert, update

from hub.store import tables as t
from hub.store.database import new_id
from hub.store.queries import importing
from tests.web.client import Browser, words
from tests.web.shop_builder import Shop, open_shop


def being_imported(shop: Shop, fetched: int, total: int | None, waiting: int) -> UUID:
    """A connection whose first import is on its way."""
    connection_id = shop.connection("Tea at Etsy")
    with shop.hub.database.write() as db:
        db.execute(
            insert(t.cursor).values(
                merchant_id=shop.merchant_id,
                connection_id=connection_id,
                stream="orders",
                fetched=fetched,
                total=total,
                due_at=shop.now,
            )
        )
    wait(shop, connection_id, waiting)
    return connection_id


def wait(shop: Shop, connection_id: UUID, waiting: int) -> None:
    """So many records are to be read, and no others."""
    with shop.hub.database.write() as db:
        db.execute(t.inbox.delete())
        for number in range(waiting):
            db.execute(
                insert(t.inbox).values(
                    merchant_id=shop.merchant_id,
                    id=new_id(),
                    connection_id=connection_id,
                    source="poll",
                    topic="order",
                    dedupe_key=f"order/{number}",
                    body_sha256="",
                    headers={},
                    received_at=shop.now,
                    state="pending",
                )
            )


def finish(shop: Shop) -> None:
    with shop.hub.database.write() as db:
        db.execute(update(t.cursor).values(polled_at=shop.now))


def test_the_page_of_a_connection_shows_how_far_its_first_import_is(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=1200, total=4800, waiting=200)

    answer = owner.get(f"/connections/{connection_id}")

    assert "1,000 of 4,800 orders imported, 1,200 fetched" in words(answer)
    assert '<progress class="progress w-100" aria-label="Orders imported" value="1000" max="4800">' in answer.text
    assert f'hx-get="/connections/{connection_id}/import"' in answer.text


def test_asked_again_it_says_how_fast_and_how_long(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=1200, total=4800, waiting=200)
    first = owner.get(f"/connections/{connection_id}/import").text
    (at,) = re.findall(r"import\?at=([0-9.]+)&amp;read=1000", first)
    assert "a second" not in first, "one look tells no pace"

    # Ten seconds later, as the page asks: five hundred more were read meanwhile.
    with shop.hub.database.write() as db:
        db.execute(update(t.cursor).values(fetched=1700))
    earlier = float(at) - 10
    second = words(owner.get(f"/connections/{connection_id}/import?at={earlier}&read=1000"))

    assert "1,500 of 4,800 orders imported, 1,700 fetched · 50 a second · about 1 minute left" in second


def test_a_channel_that_does_not_count_its_orders_has_a_bar_without_an_end(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=300, total=None, waiting=0)

    answer = owner.get(f"/connections/{connection_id}/import?at={shop.ago(seconds=10).timestamp()}&read=100")

    assert '<progress class="progress w-100" aria-label="Orders imported"></progress>' in answer.text
    assert "300 orders imported" in words(answer)
    assert "left" not in words(answer)


def test_at_its_end_the_bar_says_so_and_asks_no_more(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=4800, total=4800, waiting=600)
    finish(shop)
    assert "Reading what came in" in words(owner.get(f"/connections/{connection_id}/import"))

    wait(shop, connection_id, 0)
    answer = owner.get(f"/connections/{connection_id}/import")

    assert "All 4,800 orders of the shop are here." in words(answer)
    assert "hx-trigger" not in answer.text.partition('id="import"')[2].partition("</section>")[0]
    assert 'id="import"' not in owner.get(f"/connections/{connection_id}").text, "news need no progress bar"


def test_a_paused_import_says_that_it_waits(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=10, total=20, waiting=0)
    with shop.hub.database.write() as db:
        db.execute(update(t.connection).where(t.connection.c.id == connection_id).values(state="paused"))

    assert "10 orders imported so far. It goes on when the connection works again." in words(
        owner.get(f"/connections/{connection_id}/import")
    )


def test_nonsense_in_the_address_does_no_harm(shop: Shop, owner: Browser) -> None:
    connection_id = being_imported(shop, fetched=10, total=20, waiting=0)

    for odd in ("at=x&read=y", "at=nan&read=1", "at=1e400&read=0", "at=-1&read=-99999999999999999999"):
        assert owner.get(f"/connections/{connection_id}/import?{odd}").status_code == 200


def test_only_the_merchant_sees_it(shop: Shop, owner: Browser) -> None:
    rival = being_imported(open_shop(shop.hub, "Rival"), fetched=10, total=20, waiting=0)

    assert owner.get(f"/connections/{rival}/import").status_code == 404
    with shop.hub.database.read() as db:
        assert importing.progress(db, shop.merchant_id, rival) is None


def test_a_stretch_of_time_is_said_in_words() -> None:
    spans = {0: "less than a minute", 29: "less than a minute", 31: "about 1 minute", 600: "about 10 minutes"}
    spans |= {5940: "about 99 minutes", 7200: "about 2 hours"}

    assert {seconds: importing.about(seconds) for seconds in spans} == spans
