"""Where everything is: every page belongs to a section, and nobody is offered what they may not open."""

from __future__ import annotations

import re
from collections import Counter

from flask import Flask

from hub.web import navigation
from tests.web.client import Browser
from tests.web.shop_builder import Furnished, Shop
from tests.web.test_pages_render import PUBLIC, pages


def offered(page: str) -> set[str]:
    """Where the side bar, and the tabs or the menu of a section lead."""
    menus = re.findall(r'(?s)<nav aria-label="Main".*?</nav>|<nav class="section-(?:tabs|menu)".*?</nav>', page)
    return {address for menu in menus for address in re.findall(r'href="([^"]+)"', menu)}


def test_every_page_belongs_to_one_section_of_the_side_bar(app: Flask, owner: Browser, things: Furnished) -> None:
    lost = []
    for path in pages(app, things):
        if path in PUBLIC:
            continue
        answer = owner.get(path)
        if answer.mimetype != "text/html" or 'aria-label="Main"' not in answer.text:
            continue  # a file, or a part of a page
        main = re.findall(r'(?s)<nav aria-label="Main".*?</nav>', answer.text)[0]
        if main.count("aria-current") != 1:
            lost.append(path)

    assert lost == []


def test_keys_and_tabs_are_named_once_and_lead_to_pages_that_are_there(app: Flask) -> None:
    keys = Counter(each.key for each in navigation.SECTIONS)
    tabs = Counter(tab.endpoint for each in navigation.SECTIONS for tab in each.tabs)
    belonging = Counter(name for each in navigation.SECTIONS for tab in each.tabs for name in tab.also)

    assert [name for name, count in (keys + tabs + belonging).items() if count > 1] == []
    assert [name for name in tabs if name not in app.view_functions] == []
    assert [each.endpoint for each in navigation.ERRANDS if each.endpoint not in app.view_functions] == []


def test_nobody_is_offered_what_they_may_not_open(app: Flask, shop: Shop, owner: Browser, things: Furnished) -> None:
    shop.person("rosa@tea.example", "read_only", "Rosa")
    rosa = Browser(app).sign_in("rosa@tea.example")

    of_owner, of_rosa = (offered(each.get("/settings").text) for each in (owner, rosa))
    assert "/privacy" in of_owner and "/privacy" not in of_rosa
    assert {path: rosa.get(path).status_code for path in of_rosa} == dict.fromkeys(of_rosa, 200)


def headings(page: str) -> dict[str, list[str]]:
    """What the menu of a section offers, under its headings."""
    (menu,) = re.findall(r'(?s)<nav class="section-menu".*?</nav>', page)
    parts = re.split(r'<p class="section-menu-heading"[^>]*>', menu)[1:]
    return {part.partition("<")[0]: re.findall(r"<li><a [^>]*>([^<]*)</a>", part) for part in parts}


def test_the_settings_stand_under_headings_as_far_as_they_may_be_seen(app: Flask, shop: Shop, owner: Browser) -> None:
    shop.person("rosa@tea.example", "read_only", "Rosa")
    rosa = Browser(app).sign_in("rosa@tea.example")

    assert headings(owner.get("/settings").text) == {
        "Your business": ["Business", "People", "E-mail", "Audit log", "Personal data"],
        "Orders and stock": ["Stock policy", "Routing", "Order rules"],
        "Warehouse and shipping": ["Locations", "Shelves", "Boxes", "Shipping"],
        "Your account": ["Your sign-in"],
    }
    assert headings(rosa.get("/settings").text)["Your business"] == ["Business", "E-mail"]


def test_the_menu_says_which_page_is_shown_and_to_which_a_page_below_belongs(owner: Browser, things: Furnished) -> None:
    def marked(path: str) -> list[tuple[str, str]]:
        menus = re.findall(r'(?s)<nav class="section-menu".*?</nav>', owner.get(path).text)
        return [found for menu in menus for found in re.findall(r'aria-current="(\w+)">([^<]*)<', menu)]

    assert marked("/settings/people") == [("page", "People")]
    assert marked(f"/privacy/{things.request_id}") == [("true", "Personal data")]
    assert marked("/orders") == []  # a row of tabs is enough there
