"""`hub certify`: what it prints, what it writes, and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub import certificates, certify
from hub.certify import Bench, Contract, Level, expect
from hub.cli import main
from hub.connector import SalesChannel


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(folder))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["certify", *map(str, arguments)])


@pytest.fixture
def short_contract(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A contract with a rule for bronze and one for gold; what is False here fails."""
    holds = {"honest": True, "tireless": True}
    contract = Contract("channel", SalesChannel, Bench, ())

    def case(name: str, level: Level) -> None:
        rule = contract.rule(name, level, f"It is {name}.", "Try harder.")

        @contract.case(rule, name, f"It is {name}.")
        def _(bench: Any) -> None:
            expect(holds[name], "It is not.")

    case("honest", Level.BRONZE)
    case("tireless", Level.GOLD)
    monkeypatch.setattr("hub.certify.CONTRACTS", (contract,))
    return holds


def test_json_is_all_there_is_on_standard_output(data_dir: Path, short_contract: dict[str, bool]) -> None:
    short_contract["tireless"] = False
    done = run("shopify", "--json", "--seed", 3)

    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (report["connector"], report["kind"], report["grade"], report["seed"]) == ("shopify", "channel", "silver", 3)
    assert report["versions"]["tallyhub-shopify"]
    assert [(each["id"], each["state"], each["reason"]) for each in report["cases"]] == [
        ("honest", "passed", ""),
        ("tireless", "failed", "It is not."),
    ]


def test_below_bronze_it_ends_with_1_and_says_what_to_do(data_dir: Path, short_contract: dict[str, bool]) -> None:
    short_contract["honest"] = False
    done = run("shopify")

    assert done.exit_code == 1
    assert "honest: It is honest.\n             It is not.\n           What to do: Try harder." in done.stdout
    assert done.stdout.splitlines()[-1] == "Grade: none. 1 cases passed, 1 failed, 0 were not applicable."


def test_it_draws_a_badge_writes_the_trace_and_keeps_the_grade(
    data_dir: Path, tmp_path: Path, short_contract: dict[str, bool]
) -> None:
    done = run("shopify", "--badge", tmp_path / "badge.svg", "--trace", tmp_path / "trace.txt")

    assert done.exit_code == 0, done.output
    assert "<title>Tallyhub certified: platinum</title>" in (tmp_path / "badge.svg").read_text()
    assert (tmp_path / "trace.txt").read_text() == "", "These cases ask nobody."
    assert certificates.kept(data_dir)["shopify"].grade == "platinum"


def test_single_cases_of_the_real_contract_are_tried_and_keep_no_grade(data_dir: Path, tmp_path: Path) -> None:
    done = run("woocommerce", "--case", "error-429-at-check", "--json", "--trace", tmp_path / "trace.txt")

    report = json.loads(done.stdout)
    assert (done.exit_code, report["partial"], report["grade"]) == (0, True, certify.NO_GRADE)
    assert [each["state"] for each in report["cases"]] == ["passed"]
    assert "error-429-at-check GET /wp-json/wc/v3/system_status -> 429 (429)" in (tmp_path / "trace.txt").read_text()
    assert certificates.kept(data_dir) == {}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "The connector “nowhere” is not installed."),
        (["shopify", "--case", "be-nice"], "The contract has no case be-nice."),
        (["shopify", "--case", "label-is-for-people", "--badge", "b.svg"], "single cases give none"),
    ],
)
def test_what_cannot_be_tried_is_said_in_a_sentence(data_dir: Path, arguments: list[str], complaint: str) -> None:
    done = run(*arguments)

    assert done.exit_code == 1
    assert complaint in done.stderr
    assert done.stdout == ""
