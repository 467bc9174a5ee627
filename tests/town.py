"""The town that is shipped to connector authors, under the name by which the tests of the hub know it."""

from __future__ import annotations

from hub.testing.town import OWNER, Rings, Town, town

__all__ = ["OWNER", "Rings", "Town", "town"]
