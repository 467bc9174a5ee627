"""Where places lie, and how far they are from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

_EARTH_KILOMETERS = 6371.0  # mean radius


@dataclass(frozen=True, slots=True)
class Point:
    """A place on earth, in degrees: north and east above zero."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(f"{self.latitude}, {self.longitude} is no place on earth.")


def kilometers(one: Point, other: Point) -> int:
    """The distance as the crow flies, in whole kilometers (at most 0.5 % off, as the earth is no ball)."""
    return measured_from(one)(other)


def measured_from(origin: Point) -> Callable[[Point], int]:
    """``kilometers`` from one place to many: what the first of them needs is worked out once."""
    north, east = radians(origin.latitude), radians(origin.longitude)
    width = cos(north)

    def measure(point: Point) -> int:
        latitude = radians(point.latitude)
        height = sin((latitude - north) / 2)
        side = sin((radians(point.longitude) - east) / 2)
        chord = height * height + width * cos(latitude) * side * side
        return round(2 * _EARTH_KILOMETERS * asin(min(1.0, sqrt(chord))))

    return measure
