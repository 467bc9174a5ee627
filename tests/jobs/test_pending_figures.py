"""A channel that takes figures in and judges them later: what it was told is published only once it says so."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from hub import jobs
from hub.connector import PushOutcome, PushState, StockPush
from hub.errors import RateLimited, Rejected
from hub.jobs import publish_lane
from hub.store import connections
from hub.store import tables as t
from tests.jobs.fake_shop import CarefulChannel, FeedChannel, Shop, open_shop
from tests.town import OWNER, Town

REFUSED = PushOutcome(PushState.REJECTED, message="90244: This product needs an approval.")


@pytest.fixture
def shop(hub_town: Town) -> Shop:
    """A live shop that says what it should."""
    shop = Shop(stock={"mug": 10, "tee": 10, "cup": 10})
    open_shop(hub_town, shop, FeedChannel)
    return shop


def publication(town: Town, listing: str = "mug") -> Any:
    id = town.row(t.listing, t.listing.c.external_id == listing).id
    return town.row(t.publication, t.publication.c.listing_id == id)


def is_published(town: Town, listing: str = "mug") -> bool:
    row = publication(town, listing)
    return bool(row.version == row.published_version)


def entries(town: Town) -> list[tuple[int | None, int, str]]:
    """(before, written, cause) of each figure that is known to have been written."""
    rows = sorted(town.rows(t.publication_entry), key=lambda row: (row.at, row.id))
    return [(row.before, row.quantity, row.cause["cause"]) for row in rows]


def later(town: Town, seconds: float) -> None:
    town.let_pass(seconds)
    town.work()


def publish(town: Town) -> None:
    """Drain the publish lane, and nothing else."""
    jobs.drain(town.hub, town.merchant, town.row(t.connection).id, "publish", budget_seconds=60.0)


def test_what_was_taken_in_is_published_once_the_channel_says_that_it_is_done(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    assert (shop.feeds, shop.stock["mug"]) == ({"feed/1": (("mug", 7),)}, 10)
    assert (publication(hub_town).quantity, is_published(hub_town), entries(hub_town)) == (10, False, [])
    assert hub_town.row(t.pending_push).reference == "feed/1"
    hub_town.sound()

    later(hub_town, 10)
    assert (list(shop.feeds), is_published(hub_town)) == (["feed/1"], False), "it is asked for, and not sent again"

    shop.work_off("feed/1")
    later(hub_town, 60)

    assert (publication(hub_town).quantity, is_published(hub_town)) == (7, True)
    assert entries(hub_town) == [(10, 7, "adjusted")]
    assert hub_town.rows(t.pending_push) == []
    summaries = [row.summary for row in hub_town.rows(t.activity) if row.kind in ("stock_sent", "stock_published")]
    assert sorted(summaries) == [
        "1 stock figure sent; the channel has yet to say what became of it",
        "1 stock figure written",
    ]
    hub_town.sound()


def test_exactly_what_the_report_refuses_is_told_with_the_channels_words(hub_town: Town, shop: Shop) -> None:
    for code in ("MUG", "TEE", "CUP"):
        hub_town.count_stock(code, 4)
    hub_town.work()
    assert len(shop.feeds) == 1

    shop.work_off("feed/1", tee=REFUSED)
    later(hub_town, 60)

    assert shop.stock == {"mug": 4, "tee": 10, "cup": 4}
    issue = hub_town.row(t.issue, t.issue.c.resolved_at.is_(None))
    assert issue.kind == publish_lane.NOT_PUBLISHED
    assert issue.title == "The stock of “Tee” could not be written: 90244: This product needs an approval."
    assert [publication(hub_town, each).quantity for each in ("mug", "tee", "cup")] == [4, 10, 4]
    later(hub_town, 7200)
    assert len(shop.feeds) == 1, "what was refused is not tried again by itself"

    hub_town.poll(hub_town.row(t.connection).id)
    shop.work_off("feed/2")
    later(hub_town, 60)
    assert (shop.stock["tee"], hub_town.issues()) == (4, [])


def test_news_waits_for_what_becomes_of_the_figure_before(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    hub_town.count_stock("MUG", 5)
    hub_town.count_stock("TEE", 9)
    hub_town.work()
    assert list(shop.feeds.values()) == [(("mug", 7),), (("tee", 9),)], "the others do not wait"

    shop.work_off("feed/1")
    later(hub_town, 60)
    assert shop.feeds["feed/3"] == (("mug", 5),)
    assert (publication(hub_town).quantity, is_published(hub_town)) == (7, False)

    shop.work_off("feed/3")
    later(hub_town, 60)
    assert (shop.stock["mug"], entries(hub_town)) == (5, [(10, 7, "adjusted"), (7, 5, "adjusted")])


@pytest.mark.parametrize("in_order", [True, False], ids=["the older first", "the older last"])
def test_an_older_feed_that_comes_true_late_is_never_believed(hub_town: Town, shop: Shop, in_order: bool) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    hub_town.count_stock("MUG", 5)
    later(hub_town, 200)
    assert len(shop.feeds) == 1
    later(hub_town, 150)
    assert shop.feeds["feed/2"] == (("mug", 5),), "news waits five minutes at most"
    assert hub_town.count(t.pending_push) == 2
    hub_town.sound()

    for feed in ("feed/1", "feed/2") if in_order else ("feed/2", "feed/1"):
        shop.work_off(feed)
        later(hub_town, 60)
        assert publication(hub_town).quantity != 7 or not is_published(hub_town)
        later(hub_town, 60)  # by now the newer one was read back, so that only the older one's own report tells of it
    assert shop.stock["mug"] == (5 if in_order else 7)
    for feed in list(shop.feeds)[2:]:
        shop.work_off(feed)
    later(hub_town, 700)

    assert (shop.stock["mug"], publication(hub_town).quantity, is_published(hub_town)) == (5, 5, True)
    assert entries(hub_town)[-1][1] == 5
    assert hub_town.rows(t.pending_push) == []
    assert hub_town.issues() == [], "nobody is suspected of having typed the older figure in"
    hub_town.sound()


def test_an_older_figure_that_is_found_before_its_feed_is_reported_puts_nobody_under_suspicion(
    hub_town: Town, shop: Shop
) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    hub_town.count_stock("MUG", 5)
    later(hub_town, 310)
    shop.work_off("feed/2")
    later(hub_town, 60)
    assert is_published(hub_town)

    shop.stock["mug"] = 7  # the first is worked off as well, and its report is not there yet
    later(hub_town, 900)
    shop.work_off("feed/3")
    later(hub_town, 60)

    assert (shop.stock["mug"], hub_town.issues()) == (5, [])


def test_a_figure_that_nobody_judges_is_written_anew_after_an_hour(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    for _ in range(5):
        later(hub_town, 600)
    assert len(shop.feeds) == 1

    later(hub_town, 601)
    assert shop.feeds["feed/2"] == (("mug", 7),)
    shop.work_off("feed/2")
    later(hub_town, 60)
    assert (shop.stock["mug"], is_published(hub_town), hub_town.count(t.pending_push)) == (7, True, 1)

    later(hub_town, 7 * 3600)
    assert hub_town.count(t.pending_push) == 0, "what was overtaken is asked for so long, and no longer"
    assert is_published(hub_town)


def test_a_figure_of_a_listing_that_is_written_no_more_is_not_asked_for_for_ever(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    with hub_town.hub.database.write() as connection:
        connection.execute(t.listing.update().values(tracked=False))

    later(hub_town, 5 * 3600)
    assert hub_town.count(t.pending_push) == 1
    later(hub_town, 2 * 3600)

    assert (hub_town.count(t.pending_push), publication(hub_town).pending_id) == (0, None)
    assert (is_published(hub_town), len(shop.feeds), hub_town.issues()) == (False, 1, [])
    hub_town.sound()


def test_a_figure_that_came_true_without_a_word_is_not_written_again(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.stock["mug"] = 7

    later(hub_town, 3601)

    assert (len(shop.feeds), is_published(hub_town), hub_town.issues()) == (1, True, [])


def test_what_the_channel_knows_nothing_of_is_written_anew(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.lost.add("feed/1")

    later(hub_town, 10)
    later(hub_town, 10)

    assert shop.feeds["feed/2"] == shop.feeds["feed/1"]
    shop.work_off("feed/2")
    later(hub_town, 60)
    assert (shop.stock["mug"], is_published(hub_town)) == (7, True)


def test_a_figure_that_could_not_be_written_now_is_sent_again(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.work_off("feed/1", mug=PushOutcome(PushState.RETRY, message="Busy."))
    later(hub_town, 10)
    assert publication(hub_town).error in ("Busy.", ""), "told until the next try is on its way"

    later(hub_town, 10)
    shop.work_off("feed/2")
    later(hub_town, 60)
    assert (shop.stock["mug"], is_published(hub_town), publication(hub_town).error) == (7, True, "")


def test_the_pauses_between_questions_grow(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    assert shop.count("settle feed/1") == 0, "the channel said that it makes sense after two seconds"
    for _ in range(12):
        later(hub_town, 5)
    assert 2 <= shop.count("settle feed/1") <= 12
    assert hub_town.row(t.pending_push).asked == shop.count("settle feed/1")


def test_synchronizing_now_asks_at_once(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.work_off("feed/1")

    hub_town.poll(hub_town.row(t.connection).id)

    assert (is_published(hub_town), publication(hub_town).quantity) == (True, 7)


def test_a_channel_that_asks_for_a_rest_is_asked_later(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.work_off("feed/1")
    shop.fail("settle feed/1", RateLimited("Slow down.", retry_after=60.0), ValueError("a mistake in the connector"))

    later(hub_town, 10)
    assert (shop.count("settle feed/1"), is_published(hub_town)) == (1, False)
    later(hub_town, 61)
    assert publication(hub_town).error == "a mistake in the connector"
    later(hub_town, 61)

    assert (is_published(hub_town), publication(hub_town).error) == (True, "")
    assert (publication(hub_town).quantity, len(shop.feeds)) == (7, 1)


def test_while_the_budget_for_asking_is_spent_nobody_asks_and_what_is_new_is_written(
    hub_town: Town, shop: Shop
) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.work_off("feed/1")
    shop.fail("settle feed/1", RateLimited("The rate budget of getFeed is spent.", 60.0, "getFeed"))
    hub_town.let_pass(10)
    hub_town.count_stock("TEE", 9)
    hub_town.work()
    assert shop.feeds["feed/2"] == (("tee", 9),)

    later(hub_town, 45)
    assert (shop.count("settle feed/1"), is_published(hub_town)) == (1, False), "not before the minute is over"
    later(hub_town, 30)

    assert (shop.count("settle feed/1"), is_published(hub_town)) == (2, True)


def test_a_channel_that_rejects_the_question_rejects_what_it_was_about(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    shop.fail("settle feed/1", Rejected("The feed was malformed."))

    later(hub_town, 10)

    assert hub_town.issues() == [publish_lane.NOT_PUBLISHED]
    assert publication(hub_town).error == "The feed was malformed."


def test_a_paused_connection_is_not_asked(hub_town: Town, shop: Shop) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.work()
    here = (hub_town.hub.database, hub_town.merchant, hub_town.row(t.connection).id)
    connections.pause(*here, OWNER)
    later(hub_town, 600)
    assert shop.count("settle feed/1") == 0

    connections.resume(*here, OWNER)
    shop.work_off("feed/1")
    later(hub_town, 10)
    assert (is_published(hub_town), len(shop.feeds)) == (True, 1)


class Killed(BaseException):
    """The worker's process ends here."""


def killed(*_args: Any, **_more: Any) -> Any:
    raise Killed


def kept_and_killed(patched: pytest.MonkeyPatch) -> None:
    """The moment after the commit that holds the reference."""
    write = publish_lane.Shift.write

    def dies_after(shift: Any, work: Any) -> Any:
        written = write(shift, work)
        if "write_down" in work.__qualname__:
            raise Killed
        return written

    patched.setattr(publish_lane.Shift, "write", dies_after)


KILLS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the answer is written down": lambda patched: patched.setattr(publish_lane.pending_pushes, "keep", killed),
    "after it was written down": kept_and_killed,
    "before what became of it is written down": lambda patched: patched.setattr(
        publish_lane.pending_pushes, "drop", killed
    ),
}


@pytest.mark.parametrize("point", KILLS)
def test_a_worker_killed_anywhere_loses_nothing(
    hub_town: Town, shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    hub_town.count_stock("MUG", 7)
    with monkeypatch.context() as patched:
        KILLS[point](patched)
        with pytest.raises(Killed):
            publish(hub_town)
            hub_town.let_pass(10)
            for feed in shop.feeds:
                shop.work_off(feed)
            publish(hub_town)

    for _ in range(3):
        later(hub_town, 100)
        for feed in shop.feeds:
            shop.work_off(feed)
    later(hub_town, 100)

    assert (shop.stock["mug"], publication(hub_town).quantity, is_published(hub_town)) == (7, 7, True)
    assert len(shop.feeds) == (2 if point == "before the answer is written down" else 1)
    assert (hub_town.rows(t.pending_push), hub_town.issues()) == ([], [])
    hub_town.sound()


def test_channels_that_answer_at_once_are_not_asked_for_what_is_pending(
    hub_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(stock={"mug": 10})
    open_shop(hub_town, shop, CarefulChannel)
    monkeypatch.setattr(publish_lane.pending_pushes, "to_be_asked", killed)
    hub_town.count_stock("MUG", 7)

    hub_town.work()

    assert shop.stock == {"mug": 7}


class Forgetful(FeedChannel):
    """Does not say by what it is to be asked."""

    def push_stock(self, pushes: list[StockPush]) -> list[PushOutcome]:
        return [PushOutcome(PushState.PENDING)] * len(pushes)


def test_a_pending_answer_needs_a_reference(hub_town: Town, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeedChannel, "push_stock", Forgetful.push_stock)
    hub_town.count_stock("MUG", 7)

    publish(hub_town)

    assert "without a reference to ask for it by" in publication(hub_town).error
    assert (hub_town.rows(t.pending_push), is_published(hub_town)) == ([], False)


def test_every_pending_figure_needs_its_own_answer(hub_town: Town, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_town.count_stock("MUG", 7)
    hub_town.count_stock("TEE", 7)
    hub_town.work()
    shop.work_off("feed/1")

    def one_too_few(*_args: Any) -> list[PushOutcome]:
        return [PushOutcome(PushState.WRITTEN)]

    with monkeypatch.context() as patched:
        patched.setattr(FeedChannel, "settle_stock", one_too_few)
        later(hub_town, 10)
    assert publication(hub_town).error == "The connector gave 1 outcomes for 2 figures."
    assert not is_published(hub_town)

    later(hub_town, 60)
    assert is_published(hub_town) and is_published(hub_town, "tee")


@pytest.mark.parametrize("seed", range(4))
def test_in_whichever_order_feeds_are_worked_off_or_lost_the_last_word_is_ours(
    hub_town: Town, shop: Shop, seed: int
) -> None:
    chance = Random(seed)
    for _ in range(12):
        match chance.choice(["count", "count", "work off", "lose", "wait"]):
            case "count":
                hub_town.count_stock(chance.choice(["MUG", "TEE"]), chance.randint(0, 9))
            case "work off" if waiting := sorted(shop.feeds.keys() - shop.reports.keys()):
                answers = {"tee": PushOutcome(PushState.RETRY)} if chance.random() < 0.3 else {}
                shop.work_off(chance.choice(waiting), **answers)
            case "lose" if waiting := sorted(shop.feeds.keys() - shop.reports.keys()):
                shop.lost.add(chance.choice(waiting))
        later(hub_town, chance.choice([1, 20, 150, 400, 4000]))

    for _ in range(12):
        waiting = sorted(shop.feeds.keys() - shop.reports.keys() - shop.lost)
        chance.shuffle(waiting)
        for feed in waiting:
            shop.work_off(feed)
        later(hub_town, 700)

    stock = {code.lower(): on_hand for code, (on_hand, _) in hub_town.stock().items()}
    assert shop.stock == stock
    assert [is_published(hub_town, each) for each in stock] == [True] * 3
    assert (hub_town.rows(t.pending_push), hub_town.issues()) == ([], [])
    hub_town.sound()
