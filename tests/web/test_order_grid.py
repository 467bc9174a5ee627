"""The list of orders: narrowing it down, views, columns, what is asked for many orders at once, and files of them."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import select, update

from hub import jobs
from hub.errors import BadInput
from hub.jobs import Hub
from hub.store import bulk_acts, saved_views
from hub.store import tables as t
from hub.store.queries.orders import OrderFilter
from hub.store.saved_views import Person
from hub.web import exports, order_filter, order_list
from hub.web.order_filter import Narrowed
from tests.web.client import Browser, words
from tests.web.shop_builder import Furnished, Shop, open_shop


@pytest.fixture
def place(shop: Shop) -> UUID:
    """A shop with four orders, the newest first: 1 open, 2 on hold, 3 fulfilled, 4 not paid and tagged."""
    place = shop.connection()
    for number, more in enumerate(
        [{}, {"on_hold": True}, {"status": "fulfilled"}, {"paid": False, "tags": ["gift"]}], start=1
    ):
        shop.order(place, f"#{number}", placed_at=shop.ago(days=number), customer_name=f"Customer {number}", **more)
    return place


def shown(browser: Browser, path: str) -> list[str]:
    page = browser.get(path)
    assert page.status_code == 200, page.status
    return re.findall(r'class="row-link" href="[^"]+">([^<]+)<', page.text)


def ids(hub: Hub, shop: Shop) -> dict[str, UUID]:
    order = t.sales_order.c
    with hub.database.read() as db:
        rows = db.execute(select(order.number, order.id).where(order.merchant_id == shop.merchant_id))
        return {row.number: row.id for row in rows}


def rows_of(hub: Hub, table: Any, *conditions: Any) -> list[Any]:
    with hub.database.read() as db:
        return list(db.execute(select(table).where(*conditions)))


# ---------------------------------------------------------------- narrowing it down


# What is asked for, and the orders that are shown.
NARROWED = {
    "": ["#1", "#2", "#3", "#4"],
    "status=open": ["#1", "#2", "#4"],
    "mark=on_hold": ["#2"],
    "status=on_hold": ["#2"],
    "status=open&mark=on_hold": ["#2"],
    "status=nonsense": ["#1", "#2", "#3", "#4"],
    "paid=no": ["#4"],
    "tag=gift": ["#4"],
    "country=de&paid=yes&status=fulfilled": ["#3"],
    "country=FR": [],
    "status=waiting": [],
}


def test_the_list_shows_what_its_address_says(owner: Browser, place: UUID) -> None:
    assert {query: shown(owner, f"/orders?{query}") for query in NARROWED} == NARROWED


def test_days_are_those_of_the_readers_calendar_and_both_are_included(app: Flask, shop: Shop, owner: Browser) -> None:
    with shop.hub.database.write() as db:
        db.execute(update(t.merchant).values(time_zone="Pacific/Auckland"))
    place = shop.connection()
    # The 10th of May in Auckland begins at noon of the 9th in UTC.
    for number, at in (("late on the 9th", 11), ("early on the 10th", 13)):
        shop.order(place, number, placed_at=datetime(2026, 5, 9, at, tzinfo=UTC))

    assert shown(owner, "/orders?placed_from=2026-05-10") == ["early on the 10th"]
    assert shown(owner, "/orders?placed_to=2026-05-09") == ["late on the 9th"]
    assert shown(owner, "/orders?placed_from=2026-05-09&placed_to=2026-05-10") == [
        "early on the 10th",
        "late on the 9th",
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"q": " a\u202e \n b ", "tag": "x" * 99}, {"q": "a b", "tag": "x" * 40}),
        ({"country": "germany", "paid": "maybe", "placed_from": "soon", "placed_to": "0001-01-01"}, {}),
        ({"country": "1!", "mark": "nothing", "other": "x"}, {}),
        ({"status": "waiting"}, {"mark": "waiting"}),
        ({"status": "open", "mark": "risky", "paid": "no"}, {"status": "open", "mark": "risky", "paid": "no"}),
    ],
)
def test_what_an_address_says_wrongly_counts_as_not_said(said: dict[str, str], kept: dict[str, str]) -> None:
    assert order_filter.of_address(said).parts() == kept


def test_a_filter_comes_back_from_its_own_words(app: Flask) -> None:
    every = Narrowed("a&b=c d", "open", "risky", str(UUID(int=7)), "é+", "DE", "no", "2026-01-02", "2026-02-03")

    assert order_filter.of_query(every.query()) == every
    with app.test_request_context("/"):
        assert Narrowed().wanted() == OrderFilter()
        assert every.wanted() == OrderFilter(
            status="open",
            connection_id=UUID(int=7),
            text="a&b=c d",
            marked="risky",
            tag="é+",
            country="DE",
            paid=False,
            placed_from=datetime(2026, 1, 2, tzinfo=UTC),
            placed_to=datetime(2026, 2, 4, tzinfo=UTC),
        )
    with pytest.raises(BadInput):
        order_filter.of_query("connection=here")


def test_each_part_of_the_filter_can_be_taken_off_by_itself(owner: Browser, place: UUID) -> None:
    page = owner.get(f"/orders?status=open&q=Customer&tag=gift&connection={place}").text
    chips = {
        label: dict(parse_qsl(urlsplit(address.replace("&amp;", "&")).query))
        for address, label in re.findall(r'class="chip" href="([^"]+)"[^>]*>([^<]+)<', page)
    }

    assert list(chips) == ["“Customer”", "Open", "Tea Street", "Tag: gift"]
    assert chips["Open"] == {"q": "Customer", "tag": "gift", "connection": str(place)}
    (last,) = re.findall(r'class="chip" href="([^"]+)"', owner.get("/orders?tag=gift").text)
    assert last == "/orders?all=1"


def test_orders_are_counted_up_to_a_thousand(owner: Browser, place: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "4 orders" in words(owner.get("/orders"))
    monkeypatch.setattr(order_list, "_MANY", 3)

    page = owner.get("/orders")

    assert "3+ orders" in words(page)
    assert "Choose all that fit, more than 3" in words(page)


def test_the_list_draws_itself_anew_as_it_is_narrowed_down(owner: Browser, place: UUID) -> None:
    page = owner.get("/orders?status=open&tag=gift").text

    assert 'data-live hx-get="/orders?status=open&amp;tag=gift" hx-select="#orders-rows"' in page
    assert 'hx-select="#orders-rows"' not in owner.get("/orders?before=2026-03-02T12:00:00%2B00:00~" + str(place)).text


# ---------------------------------------------------------------- views and columns


def keep(browser: Browser, name: str, query: str, **more: str) -> str:
    """The address that keeping a view leads to."""
    answer = browser.post("/orders/views", {"name": name, "query": query, **more}, page="/orders")
    assert answer.status_code == 303
    return answer.headers["Location"]


def test_a_view_is_a_tab_that_says_when_the_list_is_something_else(owner: Browser, place: UUID) -> None:
    address = keep(owner, "To do", "status=open&evil=1&tag=gift")
    view = dict(parse_qsl(urlsplit(address).query))["view"]
    assert address == f"/orders?status=open&tag=gift&view={view}"

    page = owner.get(address).text
    assert re.search(r'aria-current="true">To do<', page)
    assert "Changed" not in page
    alone = owner.get(f"/orders?view={view}")
    assert (alone.status_code, alone.headers["Location"]) == (303, address)
    changed = owner.get(f"/orders?status=open&view={view}").text
    assert "Changed" in changed

    owner.post(f"/orders/views/{view}", {"act": "save", "query": "status=open"}, page="/orders")
    assert "Changed" not in owner.get(f"/orders?status=open&view={view}").text


def test_the_list_begins_with_the_view_that_somebody_chose(owner: Browser, staff: Browser, place: UUID) -> None:
    address = keep(owner, "To do", "status=open", shared="yes")
    view = dict(parse_qsl(urlsplit(address).query))["view"]
    owner.post(f"/orders/views/{view}", {"act": "begin", "query": ""}, page="/orders")

    assert owner.get("/orders").headers["Location"] == address
    assert shown(owner, "/orders?all=1") == ["#1", "#2", "#3", "#4"]
    assert shown(staff, "/orders") == ["#1", "#2", "#3", "#4"]
    assert "To do shared" in words(staff.get("/orders"))

    owner.post(f"/orders/views/{view}", {"act": "begin_with_all", "query": ""}, page="/orders?all=1")
    assert len(shown(owner, "/orders")) == 4


def test_a_view_is_renamed_and_deleted_by_its_maker_and_by_who_sees_to_settings(
    app: Flask, shop: Shop, owner: Browser, place: UUID
) -> None:
    view = dict(parse_qsl(urlsplit(keep(owner, "To do", "status=open", shared="yes")).query))["view"]
    shop.person("sue@tea.example", "support", "Sue")
    sue = Browser(app).sign_in("sue@tea.example")

    refused = sue.post(f"/orders/views/{view}", {"act": "rename", "name": "Mine", "shared": "yes"}, page="/orders")
    assert refused.status_code == 403
    assert "ada@tea.example shares this view." in words(sue.get(f"/orders?status=open&view={view}"))
    renamed = {"act": "rename", "name": "Late", "shared": "yes", "query": "status=open"}
    assert owner.post(f"/orders/views/{view}", renamed, page="/orders").status_code == 303
    assert ">Late<" in sue.get("/orders").text
    wrong = owner.post(f"/orders/views/{view}", {"act": "rename", "name": ""}, page="/orders")
    assert "Give the view a name" in words(owner.get(wrong.headers["Location"]))
    owner.post(f"/orders/views/{view}", {"act": "remove"}, page="/orders")
    assert ">Late<" not in sue.get("/orders").text
    assert owner.post(f"/orders/views/{view}", {"act": "remove"}, page="/orders").status_code == 409
    assert owner.post(f"/orders/views/{view}", {"act": "paint"}, page="/orders").status_code == 400


def test_who_may_only_look_keeps_views_and_shares_none(app: Flask, shop: Shop, place: UUID) -> None:
    shop.person("ron@tea.example", "read_only", "Ron")
    ron = Browser(app).sign_in("ron@tea.example")

    keep(ron, "Mine", "status=open")
    answer = ron.post("/orders/views", {"name": "Ours", "query": "", "shared": "yes"}, page="/orders")

    assert answer.status_code == 403
    assert [row.name for row in rows_of(shop.hub, t.saved_view)] == ["Mine"]
    assert 'name="shared"' not in ron.get("/orders?all=1").text


def test_columns_are_chosen_in_an_order_by_each_for_themselves(owner: Browser, staff: Browser, place: UUID) -> None:
    def heads(browser: Browser) -> list[str]:
        head = re.search(r"(?s)<thead>.*?</thead>", browser.get("/orders?all=1").text)
        assert head
        return [words_.strip() for words_ in re.findall(r">([^<>]+)</th>", head[0])]

    usual = ["Order", "Shop", "Customer", "Placed", "Status", "Stock", "Total"]
    assert heads(owner) == usual
    form = {"column": ["tags", "total", "tags", "nonsense"], "act": "keep", "back": "/orders?q=tea"}
    answer = owner.post("/orders/columns", form, page="/orders")
    assert answer.headers["Location"] == "/orders?q=tea"

    assert heads(owner) == ["Order", "Tags", "Total"]
    assert heads(staff) == usual
    owner.post("/orders/columns", {"column": ["tags"], "act": "usual", "back": "https://evil.example"}, page="/orders")
    assert heads(owner) == usual


def test_every_column_can_be_shown(owner: Browser, things: Furnished) -> None:
    every = list(order_list._IN_A_FILE)
    owner.post("/orders/columns", {"column": every, "act": "keep", "back": "/orders"}, page="/orders")

    page = owner.get("/orders").text

    assert set(re.findall(r'name="column" value="([a-z_]+)" checked', page)) == set(every)
    assert "VIP" in page


# ---------------------------------------------------------------- many orders at once


def ask(browser: Browser, *orders: UUID, **form: Any) -> Any:
    said = {"act": "tag", "tag": "late", "once": str(uuid4()), "order": [str(each) for each in orders]}
    return browser.post("/orders/bulk", said | form, page="/orders?all=1")


def test_the_ticked_orders_are_worked_through_and_each_tells_what_came_of_it(
    hub: Hub, shop: Shop, owner: Browser, place: UUID
) -> None:
    order = ids(hub, shop)

    answer = ask(owner, order["#3"], order["#1"])

    assert answer.status_code == 303
    assert (shop.merchant_id, place, "bulk") in hub.doorbell.rung  # type: ignore[attr-defined]
    page = answer.headers["Location"]
    assert "0 of 2" in words(owner.get(page))
    assert 'hx-get="' in owner.get(page).text
    assert jobs.drain(hub, shop.merchant_id, place, "bulk")
    told = owner.get(page)
    assert "Done for all of them." in words(told)
    assert "data-live" not in told.text
    assert re.findall(r'class="row-link"[^>]*>([^<]+)<', told.text) == ["#3", "#1"], "in the sequence of the list"
    assert "Nothing has this result." in words(owner.get(f"{page}?show=wrong"))
    assert re.findall(r'class="row-link"[^>]*>([^<]+)<', owner.get(f"{page}?after=1").text) == ["#1"]


def test_all_that_fit_are_those_that_fit_when_it_is_asked_for(
    hub: Hub, shop: Shop, owner: Browser, place: UUID
) -> None:
    answer = ask(owner, all="yes", query="status=open")
    jobs.drain(hub, shop.merchant_id, place, "bulk")

    tagged = {row.number for row in rows_of(hub, t.sales_order) if row.own_tags == ["late"]}
    assert tagged == {"#1", "#2", "#4"}
    assert 'href="/orders?status=open"' in owner.get(answer.headers["Location"]).text


def test_more_than_can_be_looked_through_is_refused(
    hub: Hub, shop: Shop, owner: Browser, place: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_acts, "MOST_ORDERS", 3)
    answer = ask(owner, all="yes", query="")

    assert "These are more than 3 orders." in words(owner.get(answer.headers["Location"]))
    assert rows_of(hub, t.bulk_act) == []


def test_a_form_that_misses_something_leads_back_to_the_list_as_it_was(
    hub: Hub, shop: Shop, owner: Browser, place: UUID
) -> None:
    answer = ask(owner, ids(hub, shop)["#1"], act="hold", query="status=open")

    assert answer.headers["Location"] == "/orders?status=open"
    assert "Choose why they are held." in words(owner.get(answer.headers["Location"]))


def test_who_may_not_change_orders_is_offered_nothing_and_refused(
    hub: Hub, app: Flask, shop: Shop, place: UUID
) -> None:
    shop.person("joe@tea.example", "warehouse", "Joe")
    joe = Browser(app).sign_in("joe@tea.example")

    assert 'id="do-hold"' not in joe.get("/orders").text
    assert ask(joe, ids(hub, shop)["#1"]).status_code == 403
    assert rows_of(hub, t.bulk_act) == []


def test_what_went_wrong_is_retried_and_what_waits_is_stopped(
    hub: Hub, shop: Shop, owner: Browser, place: UUID
) -> None:
    order = ids(hub, shop)
    page = ask(owner, order["#1"], order["#2"], act="release").headers["Location"]
    jobs.drain(hub, shop.merchant_id, place, "bulk")
    assert "It went wrong for 2 of 2." in words(owner.get(page))

    answer = owner.post(f"{page}/again", {"once": str(uuid4())}, page=page)
    again = answer.headers["Location"]
    assert again != page
    owner.post(f"{again}/stop", page=again)
    assert "Stopped by ada@tea.example after 0 of 2." in words(owner.get(again))
    owner.post(f"{again}/stop", page="/settings")
    assert "It was over already." in words(owner.get(again))
    nothing = owner.post(f"{again}/again", {"once": str(uuid4())}, page=page)
    assert "Choose at least one order." in words(owner.get(nothing.headers["Location"]))


def test_orders_and_acts_of_another_merchant_are_out_of_reach(
    hub: Hub, app: Flask, shop: Shop, owner: Browser, place: UUID
) -> None:
    other = open_shop(hub, "Elsewhere")
    other.person("eve@else.example")
    eve = Browser(app).sign_in("eve@else.example")
    order = ids(hub, shop)["#1"]
    page = ask(owner, order).headers["Location"]

    assert eve.get(page).status_code == 404
    assert eve.post(f"{page}/stop", page="/orders").status_code == 404
    assert eve.post(f"{page}/again", {"once": str(uuid4())}, page="/orders").status_code == 404
    assert ask(eve, order).headers["Location"] == "/orders?all=1"
    assert len(rows_of(hub, t.bulk_act)) == 1
    exported = eve.post("/orders/export", {"order": str(order)}, page="/orders")
    assert exported.text.count("\r\n") == 1


def test_papers_are_printed_of_what_is_to_be_packed_of_the_ticked_orders(
    hub: Hub, shop: Shop, owner: Browser, things: Furnished
) -> None:
    work = t.fulfillment_order.c
    (open_one,) = rows_of(hub, t.fulfillment_order, work.order_id == things.order_id, work.state == "open")

    pick = owner.get(f"/orders/papers?order={things.order_id}&paper=pick")
    slips = owner.get(f"/orders/papers?order={things.order_id}&paper=slips")
    none = owner.get(f"/orders/papers?order={uuid4()}&back=/orders?q=x")

    assert pick.headers["Location"] == f"/pack/pick?order={open_one.id}"
    assert slips.headers["Location"] == f"/pack/slips.pdf?order={open_one.id}"
    assert none.headers["Location"] == "/orders?q=x"


# ---------------------------------------------------------------- files


def export(browser: Browser, **form: Any) -> list[list[str]]:
    answer = browser.post("/orders/export", form, page="/orders?all=1")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True), newline="")))


def test_a_file_holds_what_the_list_shows_however_long_it_is(
    hub: Hub, shop: Shop, owner: Browser, place: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_list, "_READ_AT_ONCE", 2)
    owner.post("/orders/columns", {"column": ["customer", "total"], "back": "/"}, page="/orders")
    answer = owner.post("/orders/export", {"query": "status=open", "bom": "yes"}, page="/orders")

    today = datetime.now(UTC)
    assert answer.headers["Content-Disposition"] in (
        f'attachment; filename="orders-{day:%Y-%m-%d}.csv"' for day in (today, today - timedelta(days=1))
    )
    assert answer.data.decode() == (
        "\ufeffOrder,Customer,Total,Currency\r\n"
        "#1,Customer 1,28.90,EUR\r\n#2,Customer 2,28.90,EUR\r\n#4,Customer 4,28.90,EUR\r\n"
    )
    began, ended = [row for row in rows_of(hub, t.activity) if row.kind == "exported"]
    assert (began.summary, began.actor) == ("Began to export orders", "ada@tea.example")
    assert ended.summary == "Exported orders: 3 rows (status=open)"
    columns = ["Order", "Customer", "Total", "Currency"]
    assert ended.details == {
        "what": "orders", "which": "status=open", "columns": columns, "rows": 3, "complete": True
    }  # fmt: skip


def test_a_file_of_lines_has_a_row_for_each_and_every_column_if_wanted(
    owner: Browser, things: Furnished, shop: Shop
) -> None:
    head, *lines = export(owner, what="lines", columns="all")

    assert head[-7:] == ["SKU", "Title", "Quantity", "Fulfilled", "Removed", "Unit price", "Line total"]
    assert [(line[0], line[head.index("SKU")]) for line in lines] == [("1001", "TEA-1")] * 3
    assert lines[0][head.index("On hold")] == "yes"
    assert lines[0][head.index("Tags")] == "VIP"


def test_the_ticked_orders_alone_are_in_a_file_of_them(hub: Hub, shop: Shop, owner: Browser, place: UUID) -> None:
    order = ids(hub, shop)
    _, *rows = export(owner, order=[str(order["#3"]), str(order["#1"])], query="status=open")

    assert [row[0] for row in rows] == ["#1", "#3"]


def test_what_customers_call_themselves_is_no_formula_in_a_file(shop: Shop, owner: Browser) -> None:
    shop.order(shop.connection(), "=1", customer_name='=HYPERLINK("https://evil.example","Ann")')

    _, row = export(owner, columns="all")

    assert row[:3] == ["'=1", "Tea Street", '\'=HYPERLINK("https://evil.example","Ann")']


def test_a_browser_that_goes_away_has_got_what_it_has_got(
    hub: Hub, shop: Shop, owner: Browser, place: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_CHUNK", 10)
    token = owner.token("/orders")
    answer = owner.client.post(
        "/orders/export", base_url=owner.base_url, data={"csrf_token": token}, headers={"Accept": "text/html"}
    )
    pieces = iter(answer.response)
    next(pieces), next(pieces)
    answer.close()

    ended = [row for row in rows_of(hub, t.activity) if row.kind == "exported"][-1]
    assert (ended.details["rows"], ended.details["complete"]) == (2, False)
    assert ended.summary == "Exported orders: 2 rows, and did not get to the end"


def test_only_a_few_export_at_once_and_the_others_are_told_to_wait(
    owner: Browser, place: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_running", BoundedSemaphore(1))
    assert len(export(owner)) == 5
    with exports._running:
        busy = owner.post("/orders/export", page="/orders")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "60")

    assert len(export(owner)) == 5, "a file that is over gives its place back"


def test_a_view_of_somebody_else_is_no_tab_and_opens_nothing(
    hub: Hub, shop: Shop, owner: Browser, staff: Browser, place: UUID
) -> None:
    person = Person(shop.merchant_id, shop.people["joan@tea.example"])
    view = saved_views.save(hub.database, person, "orders", "Joan's own", "status=open", shared=False)

    page = owner.get(f"/orders?view={view}")

    assert page.status_code == 200
    assert "Joan" not in page.text.replace("joan@", "")
