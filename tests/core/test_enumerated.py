"""How sentences name a few of many things."""

from __future__ import annotations

import pytest

from hub.core.sentences import enumerated


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ""),
        (["TEA-1"], "TEA-1"),
        (["TEA-1", "TEA-2"], "TEA-1, TEA-2"),
        (["TEA-1", "TEA-2", "TEA-3"], "TEA-1, TEA-2 and 1 more"),
        ([f"TEA-{number}" for number in range(1, 10)], "TEA-1, TEA-2 and 7 more"),
    ],
)
def test_the_first_are_named_and_the_others_counted(words: list[str], said: str) -> None:
    assert enumerated(iter(words), 2) == said
