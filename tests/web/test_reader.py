"""Numbers, money and times as their reader writes them: by locale and zone, exactly."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from flask import Flask
from sqlalchemy import update

from hub.core.model import Money
from hub.errors import BadInput
from hub.store import tables as t
from hub.web import forms
from hub.web.reader import Reader, _zone, read_locale
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop

NOBODY = Reader()
BERLIN = Reader(Locale.parse("de_DE"), ZoneInfo("Europe/Berlin"))
NEW_YORK = Reader(Locale.parse("en_US"), ZoneInfo("America/New_York"))
EVENING = datetime(2026, 11, 14, 23, 30, 5, tzinfo=UTC)


def test_a_time_is_told_in_the_readers_zone_and_way() -> None:
    assert NOBODY.moment(EVENING) == "14 Nov 2026, 23:30 UTC"
    assert NOBODY.moment(EVENING, seconds=True) == "14 Nov 2026, 23:30:05 UTC"
    assert BERLIN.moment(EVENING) == "15.11.2026, 00:30"  # the next day there
    assert NEW_YORK.moment(EVENING, seconds=True) == "Nov 14, 2026, 6:30:05\u202fPM"
    assert Reader(None, ZoneInfo("Europe/Berlin")).moment(EVENING) == "15 Nov 2026, 00:30"


def test_a_day_of_the_calendar_is_the_same_in_every_zone() -> None:
    assert BERLIN.day(date(2026, 3, 1)) == "01.03.2026"
    assert NEW_YORK.day(date(2026, 3, 1)) == "Mar 1, 2026"
    assert NOBODY.day(date(2026, 3, 1)) == "1 Mar 2026"
    assert BERLIN.date(EVENING) == "15.11.2026"


def test_the_zone_is_named_with_what_it_is_ahead_on_that_day() -> None:
    assert NOBODY.zone_name(EVENING) == "UTC"
    assert BERLIN.zone_name(EVENING) == "Europe/Berlin (UTC+1)"
    assert BERLIN.zone_name(datetime(2026, 7, 1, tzinfo=UTC)) == "Europe/Berlin (UTC+2)"
    assert NEW_YORK.zone_name(EVENING) == "America/New_York (UTC−5)"
    assert Reader(None, ZoneInfo("Asia/Kolkata")).zone_name(EVENING) == "Asia/Kolkata (UTC+5:30)"


@pytest.mark.parametrize(
    ("amount", "currency", "nobody", "berlin", "new_york"),
    [
        ("1234.5", "EUR", "1,234.50 EUR", "1.234,50\xa0€", "€1,234.50"),
        ("1234.5", "JPY", "1,235 JPY", "1.235\xa0¥", "¥1,235"),
        ("1.2345", "KWD", "1.235 KWD", "1,235\xa0KWD", "KWD\xa01.235"),
        ("-0.125", "USD", "−0.13 USD", "−0,13\xa0$", "−$0.13"),
        ("0.005", "GBP", "0.01 GBP", "0,01\xa0£", "£0.01"),
        ("-0.001", "GBP", "0.00 GBP", "0,00\xa0£", "£0.00"),
    ],
)
def test_money_is_written_as_its_currency_is_rounded_once(
    amount: str, currency: str, nobody: str, berlin: str, new_york: str
) -> None:
    money = Money.of(amount, currency)

    assert (NOBODY.money(money), BERLIN.money(money), NEW_YORK.money(money)) == (nobody, berlin, new_york)


def test_amounts_have_the_digits_of_their_currency_and_numbers_have_none() -> None:
    assert BERLIN.amount(Money.of("-1234567.891", "EUR")) == "−1.234.567,89"
    assert NOBODY.amount(Money.of("3", "KWD")) == "3.000"
    assert (BERLIN.number(1234567), NOBODY.number(-1234567), BERLIN.number(0)) == ("1.234.567", "−1,234,567", "0")
    assert BERLIN.number(Decimal("0.5")) == "0,5"
    assert (BERLIN.signed(1234), BERLIN.signed(-2), NOBODY.signed(0)) == ("+1.234", "−2", "+0")


def test_what_is_typed_without_a_zone_is_meant_in_the_readers() -> None:
    assert BERLIN.utc(datetime.fromisoformat("2026-07-01T14:30")) == datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    assert BERLIN.utc(EVENING) == EVENING
    assert NOBODY.utc(datetime.fromisoformat("2026-07-01T14:30")) == datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
    # An hour that comes twice is the first of them; one that never comes is the one after it.
    assert BERLIN.utc(datetime.fromisoformat("2026-10-25T02:30")) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert BERLIN.utc(datetime.fromisoformat("2026-03-29T02:30")) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["", "UTC", "Mars/Olympus", "../../etc/passwd", "x\x00y"])
def test_a_zone_that_is_not_known_is_utc(name: str) -> None:
    assert _zone(name) is UTC


@pytest.mark.parametrize("name", ["", "xx_XX", "de-DE-", "../de", "\x00"])
def test_a_locale_that_is_not_known_is_none(name: str) -> None:
    assert read_locale(name) is None


def test_every_page_of_a_merchant_is_in_their_zone_and_names_it_once(
    app: Flask, shop: Shop, owner: Browser, things: Furnished
) -> None:
    chosen = {"time_zone": "Europe/Berlin", "locale": "de_DE"}
    shop.hub.database.transact(lambda db: db.execute(update(t.merchant).values(chosen)))
    placed = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    order_id = shop.order(things.connection_id, "late", placed_at=placed)

    page = owner.get(f"/orders/{order_id}").text

    assert 'title="1 Mar 2026, 23:30:00 UTC">02.03.2026, 00:30</time>' in page
    assert "28,90\xa0€" in page
    assert page.count("Europe/Berlin (UTC+") == 1


def test_a_time_typed_into_a_form_is_meant_in_the_merchants_zone(app: Flask) -> None:
    with app.test_request_context():
        assert forms.moment("2026-07-01T14:30", "at") == datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
        assert forms.moment("2026-07-01T14:30+02:00", "at") == datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
        assert forms.moment(" ", "at") is None
        with pytest.raises(BadInput) as refused:
            forms.moment("yesterday", "at")
    assert refused.value.fields == {"at": ["Enter a date and a time, such as 2026-05-31 14:30."]}
