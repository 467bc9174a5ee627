"""How a contract is tried: grades, what is not applicable, what a connector may do to the run, the same seed twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import hub
from hub import certificates
from hub.certify import CONTRACTS, Bench, Contract, Level, NotApplicable, certify, expect, running
from hub.certify.report import badge
from hub.errors import BadInput
from hub_larkmart.connector import LarkmartConnector
from hub_larkmart.simulator import LarkmartSimulator
from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.simulator import WooCommerceSimulator

Cases = dict[str, tuple[Level, Callable[[Any], None]]]


def passes(bench: Bench) -> None:
    """All is well."""


def fails(bench: Bench) -> None:
    expect(False, "It does not.")


def cannot(bench: Bench) -> None:
    raise NotApplicable("it has no wheels")


def breaks(bench: Bench) -> None:
    raise KeyError("sku")


def leaves(bench: Bench) -> None:
    sys.exit(3)


def tried(monkeypatch: pytest.MonkeyPatch, cases: Cases) -> Any:
    """The report of a contract of these cases, each with a rule of its own."""
    contract = Contract("channel", hub.SalesChannel, Bench, ())
    for name, (level, run) in cases.items():
        contract.case(contract.rule(name, level, f"{name} holds.", f"Mend {name}."), name, f"{name} holds.")(run)
    monkeypatch.setattr(running, "contract_for", lambda connector: contract)
    return certify(LarkmartConnector, LarkmartSimulator)


@pytest.mark.parametrize(
    ("failing", "grade"),
    [
        ((), "platinum"),
        (("platinum",), "gold"),
        (("gold",), "silver"),
        (("silver",), "bronze"),
        (("bronze",), "none"),
        (("bronze", "gold"), "none"),
        (("gold", "platinum"), "silver"),
    ],
)
def test_a_grade_needs_every_rule_of_its_level_and_of_those_before(
    monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...], grade: str
) -> None:
    report = tried(monkeypatch, {level.value: (level, fails if level.value in failing else passes) for level in Level})

    assert report.grade == grade
    assert [each.case.id for each in report.outcomes if each.state == "failed"] == list(failing)


def test_what_is_not_applicable_is_told_and_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    report = tried(monkeypatch, {"rolls": (Level.BRONZE, cannot), "stands": (Level.BRONZE, passes)})

    assert report.as_json()["counts"] == {"passed": 1, "failed": 0, "not_applicable": 1}
    assert "not applicable: it has no wheels" in report.as_text()
    assert report.state(report.rules[0]) == "not_applicable"


@pytest.mark.parametrize(
    ("run", "reason"), [(breaks, "KeyError: 'sku'"), (leaves, "SystemExit: 3"), (fails, "It does not.")]
)
def test_whatever_a_case_meets_the_others_are_tried(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None], reason: str
) -> None:
    report = tried(monkeypatch, {"first": (Level.BRONZE, run), "second": (Level.BRONZE, passes)})

    assert [(each.state, each.reason) for each in report.outcomes] == [("failed", reason), ("passed", "")]
    assert f"first: first holds.\n             {reason}" in report.as_text()
    assert "What to do: Mend first." in report.as_text()


def test_a_case_that_nobody_has_is_said_to_be_none() -> None:
    with pytest.raises(BadInput, match="The contract has no case no-such-case"):
        certify(LarkmartConnector, LarkmartSimulator, only=["no-such-case"])


def test_single_cases_give_no_grade() -> None:
    report = certify(LarkmartConnector, LarkmartSimulator, only=["label-is-for-people"])

    assert (report.grade, report.partial, report.count("passed")) == ("none", True, 1)
    assert "No grade, since not all cases were tried. 1 cases passed" in report.as_text()


BY_THE_SEED = [
    "webhook-tampered-body-refused",
    "every-cursor-leads-to-the-rest",
    "page-repeated-loses-nothing",
    "figures-written-together",
    "seed-monday",
]


def test_the_same_seed_leaves_the_same_trace_and_another_one_another() -> None:
    def trace(seed: int) -> list[str]:
        return certify(WooCommerceConnector, WooCommerceSimulator, seed=seed, only=BY_THE_SEED).trace

    first = trace(7)

    assert trace(7) == first
    assert trace(8) != first
    assert len(first) > 50
    assert any("(repeated)" in line for line in first), "The trace tells which fault there was."
    assert any(line.startswith("seed-monday bought") for line in first), "And what the customers did."


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.kind)
def test_each_kind_has_a_contract_of_at_least_120_cases(contract: Contract) -> None:
    assert len(contract.cases) >= 120
    assert {case.rule.level for case in contract.cases.values()} == set(Level)


def test_our_connectors_can_be_asked_at_least_120_cases() -> None:
    applicable = [
        case
        for case in running.contract_for(WooCommerceConnector).cases.values()
        if not case.needs(WooCommerceConnector)
    ]
    assert len(applicable) >= 120


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.kind)
def test_cases_have_ids_to_be_named_by_and_sentences_to_be_read(contract: Contract) -> None:
    for case in contract.cases.values():
        assert not set(case.id) & set(" _{}()"), case.id
        assert case.says.endswith((".", ".”")), case.says
    for rule in contract.rules.values():
        assert rule.says.endswith(".")
        assert rule.advice.endswith((".", ")."))
        assert any(case.rule is rule for case in contract.cases.values()), f"The rule {rule.id} has no case."


@pytest.mark.parametrize("grade", ["none", "bronze", "silver", "gold", "platinum"])
def test_a_badge_says_the_grade_to_those_who_see_it_and_to_those_who_hear_it(grade: str) -> None:
    drawn = ElementTree.fromstring(badge(grade))  # noqa: S314 (our own)

    texts = [each.text for each in drawn.iter() if each.tag.endswith("}text")]
    assert texts == ["tallyhub", grade]
    assert drawn.attrib["aria-label"] == f"Tallyhub certified: {grade}"


def test_a_connector_without_a_simulator_is_told_how_to_name_one() -> None:
    with pytest.raises(BadInput, match=r'\[project\.entry-points\."hub\.simulators"\], such as larkmart = '):
        running.simulator_of(LarkmartConnector, [])


def test_certificates_are_kept_and_an_unreadable_one_is_none(tmp_path: Path) -> None:
    report = certify(LarkmartConnector, LarkmartSimulator, only=["label-is-for-people"])
    at = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

    assert certificates.kept(tmp_path) == {}
    certificates.keep(tmp_path, report.as_json(), at)
    (tmp_path / "certificates" / "broken.json").write_text('{"connector": ')

    kept = certificates.kept(tmp_path)
    assert list(kept) == ["larkmart"]
    assert (kept["larkmart"].grade, kept["larkmart"].at, kept["larkmart"].failed) == ("none", at, ())
    assert kept["larkmart"].versions["API"] == "v1"


def test_what_was_tried_here_counts_for_more_than_what_a_package_brings_along(tmp_path: Path) -> None:
    packages = {"shopify": "hub_shopify", "acme": "no_such_package", "larkmart": "hub_larkmart"}
    brought = certificates.known(tmp_path, packages)
    assert {name: (each.grade, each.brought) for name, each in brought.items()} == {"shopify": ("platinum", True)}

    report = {"connector": "shopify", "grade": "silver", "versions": {}, "cases": []}
    certificates.keep(tmp_path, report, datetime(2026, 3, 2, tzinfo=UTC))

    here = certificates.known(tmp_path, packages)["shopify"]
    assert (here.grade, here.brought) == ("silver", False)
