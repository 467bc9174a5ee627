"""Figures over time as steps in a picture: what is drawn where. The template writes it down as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hub.explain.stock import Line

WIDTH, HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 28
_MOST_LINES = 6  # more cannot be told apart


@dataclass(frozen=True, slots=True)
class Drawn:
    """One figure: its name, the path of its steps, and a number by which its dashes differ from the others'."""

    name: str
    path: str
    style: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A step chart in a box of WIDTH by HEIGHT. ``rows`` and ``columns`` are grid lines with their labels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    drawn: tuple[Drawn, ...]
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]


def picture(lines: Sequence[Line]) -> Picture | None:
    """The chart of these figures; None when there is nothing to draw."""
    lines = [line for line in lines if line.points][:_MOST_LINES]
    moments = [at for line in lines for at, _ in line.points]
    if not moments or min(moments) == max(moments):
        return None
    start, end = min(moments), max(moments)
    figures = [figure for line in lines for _, figure in line.points]
    low, high = min(0, *figures), max(1, *figures)
    across = (WIDTH - _LEFT - _RIGHT) / (end - start).total_seconds()
    up = (HEIGHT - _TOP - _BOTTOM) / (high - low)

    def x(at: datetime) -> float:
        return round(_LEFT + (at - start).total_seconds() * across, 1)

    def y(figure: int) -> float:
        return round(HEIGHT - _BOTTOM - (figure - low) * up, 1)

    drawn = []
    for style, line in enumerate(lines):
        (first, figure), *others = sorted(line.points, key=lambda point: point[0])
        path = [f"M{x(first)} {y(figure)}", *(f"H{x(at)}V{y(units)}" for at, units in others)]
        drawn.append(Drawn(line.name, "".join(path), style))
    step = max(1, -(-(high - low) // 4))
    rows = tuple((y(figure), f"{figure:,}") for figure in range(low, high + 1, step))
    short = (end - start).total_seconds() < 2 * 86400
    columns = tuple(
        (x(at), f"{at.astimezone(UTC):%H:%M:%S}" if short else f"{at.astimezone(UTC):%d %b}")
        for at in (start, start + (end - start) / 2, end)
    )
    return Picture(WIDTH, HEIGHT, _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM, tuple(drawn), rows, columns)
