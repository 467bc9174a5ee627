"""The contract as pytest classes: as many tests as the grade asks for, each of them a case."""

from __future__ import annotations

from typing import Any

import pytest

from hub.certify import Level, contract_for
from hub.connector import Kind
from hub.testing import CarrierContract
from tests.scaffold.written import connector, simulator

CARRIER: Any = connector(Kind.CARRIER)


def names_of(grade: str) -> set[str]:
    """The names of the tests that a class of this grade has."""
    made = type(
        "Made", (CarrierContract,), {"connector": CARRIER, "simulator": simulator(Kind.CARRIER), "grade": grade}
    )
    return {name for name in dir(made) if name.startswith("test_")}


@pytest.mark.parametrize("grade", Level)
def test_a_class_has_the_cases_up_to_its_grade(grade: Level) -> None:
    levels = list(Level)
    asked = levels[: levels.index(grade) + 1]
    cases = contract_for(CARRIER).cases.values()

    assert names_of(grade) == {f"test_{case.id.replace('-', '_')}" for case in cases if case.rule.level in asked}


def test_a_grade_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'copper' is not a valid Level"):
        names_of("copper")
