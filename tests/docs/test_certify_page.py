"""The page on certifying names every rule and case there is, and promises what the command does."""

from __future__ import annotations

import re

import pytest

from hub.certify import CONTRACTS, Contract, Level
from tests.docs.dictated import CERTIFY_PAGE, contract_tables, help_of
from tests.docs.pages import Page

PAGE = Page(CERTIFY_PAGE)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.kind)
def test_every_rule_is_listed_with_its_cases(contract: Contract) -> None:
    written = re.search(rf"<!-- rules: {contract.kind} -->\n\n(.*?)\n<!-- end -->", PAGE.text, re.DOTALL)

    assert written is not None
    assert written[1] == contract_tables(contract), "Run: python -m tests.docs.dictated"


def test_every_grade_and_every_option_is_explained() -> None:
    grades, options = PAGE.section("Grades").text, PAGE.section("Run it").text
    assert [row["Grade"] for table in PAGE.tables() for row in table if "Grade" in row] == [
        each.value for each in Level
    ]
    assert all(level.value in grades for level in Level)
    assert set(re.findall(r"--[a-z]+", help_of("hub certify"))) - {"--help"} == set(re.findall(r"--[a-z]+", options))
