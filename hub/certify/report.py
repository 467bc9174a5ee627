"""What became of the cases of a contract: the grade, the report as text and as JSON, the badge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from hub.certify.contract import LEVELS, NO_GRADE, Case, Level, Rule

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not_applicable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case. ``reason`` says what was seen instead, or why the case is not applicable; ``error`` is
    what was raised."""

    case: Case
    state: str
    reason: str = ""
    seconds: float = 0.0
    trace: tuple[str, ...] = field(default=(), repr=False)
    error: BaseException | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """What a connector was found to be.

    ``versions`` names what was tried with what. ``partial``: only some cases were asked for, so that there is no grade.
    """

    connector: str
    label: str
    kind: str
    seed: int
    versions: Mapping[str, str]
    rules: Sequence[Rule]
    outcomes: Sequence[Outcome]
    partial: bool = False

    @property
    def grade(self) -> str:
        """The highest level all of whose rules are kept, with those of the levels before it; "none" without bronze."""
        reached = NO_GRADE
        if self.partial:
            return reached
        for level in LEVELS:
            if any(self.state(rule) == FAILED for rule in self.rules if rule.level is level):
                break
            reached = level.value
        return reached

    def of(self, rule: Rule) -> list[Outcome]:
        """The outcomes of a rule's cases."""
        return [each for each in self.outcomes if each.case.rule.id == rule.id]

    def state(self, rule: Rule) -> str:
        """Whether a rule is kept; not applicable when none of its cases is."""
        states = {each.state for each in self.of(rule)}
        return next((state for state in (FAILED, PASSED) if state in states), NOT_APPLICABLE)

    def count(self, state: str) -> int:
        """How many cases ended so."""
        return sum(each.state == state for each in self.outcomes)

    @property
    def trace(self) -> list[str]:
        """Every request to a simulated vendor, case by case: the same for the same seed."""
        return [f"{each.case.id} {line}" for each in self.outcomes for line in each.trace]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "connector": self.connector,
            "label": self.label,
            "kind": self.kind,
            "grade": self.grade,
            "partial": self.partial,
            "seed": self.seed,
            "versions": dict(self.versions),
            "counts": {state: self.count(state) for state in (PASSED, FAILED, NOT_APPLICABLE)},
            "trace": hashlib.sha256("\n".join(self.trace).encode()).hexdigest(),
            "rules": [
                {"id": rule.id, "level": rule.level.value, "state": self.state(rule), "says": rule.says}
                for rule in self.rules
            ],
            "cases": [
                {
                    "id": each.case.id,
                    "rule": each.case.rule.id,
                    "level": each.case.rule.level.value,
                    "state": each.state,
                    "says": each.case.says,
                    "reason": each.reason,
                    "seconds": round(each.seconds, 3),
                }
                for each in self.outcomes
            ],
        }

    def as_text(self, paint: Any = None) -> str:
        """The report for a person; ``paint(text, state)`` may color a rule's state."""
        paint = paint or (lambda text, state: text)
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items() if version)
        lines = [f"{self.label} ({self.connector}), {self.kind}, seed {self.seed}: {versions}", ""]
        for level in Level:
            rules = [each for each in self.rules if each.level is level]
            if rules:
                about = [line for rule in rules for line in self._about(rule, paint)]
                lines += [level.value.capitalize(), *about, ""]
        grade = "No grade, since not all cases were tried" if self.partial else f"Grade: {self.grade}"
        lines.append(
            f"{grade}. {self.count(PASSED)} cases passed, {self.count(FAILED)} failed, "
            f"{self.count(NOT_APPLICABLE)} were not applicable."
        )
        return "\n".join(lines)

    def _about(self, rule: Rule, paint: Any) -> list[str]:
        outcomes = self.of(rule)
        state = self.state(rule)
        passed = sum(each.state == PASSED for each in outcomes)
        tried = sum(each.state != NOT_APPLICABLE for each in outcomes)
        word = {PASSED: "ok", FAILED: "FAILED", NOT_APPLICABLE: "n/a"}[state]
        lines = [f"  {paint(f'{word:<6}', state)} {rule.id} ({passed} of {tried}): {rule.says}"]
        for each in outcomes:
            if each.state == FAILED:
                lines += [f"           {each.case.id}: {each.case.says}", f"             {each.reason}"]
        if state == FAILED:
            lines.append(f"           What to do: {rule.advice}")
        skipped = dict.fromkeys(each.reason for each in outcomes if each.state == NOT_APPLICABLE)
        lines += [f"           not applicable: {reason}" for reason in skipped]
        return lines


# ---------------------------------------------------------------- the badge

_COLORS = {
    "none": "#a4262c",
    "bronze": "#8c5a2b",
    "silver": "#5f6b76",
    "gold": "#8a6d00",
    "platinum": "#1f6f8b",
}


def badge(grade: str) -> str:
    """An SVG that says the grade, to be shown in a README."""
    left, right = "tallyhub", grade
    widths = [round(len(text) * 6.6 + 14) for text in (left, right)]
    total = sum(widths)
    title = escape(f"Tallyhub certified: {grade}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{title}">\n'
        f"  <title>{title}</title>\n"
        f'  <rect width="{total}" height="20" rx="3" fill="#33373d"/>\n'
        f'  <rect x="{widths[0]}" width="{widths[1]}" height="20" rx="3" fill="{_COLORS[grade]}"/>\n'
        f'  <rect x="{widths[0]}" width="4" height="20" fill="{_COLORS[grade]}"/>\n'
        '  <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">\n'
        f'    <text x="{widths[0] / 2:g}" y="14">{left}</text>\n'
        f'    <text x="{widths[0] + widths[1] / 2:g}" y="14">{right}</text>\n'
        "  </g>\n"
        "</svg>\n"
    )
