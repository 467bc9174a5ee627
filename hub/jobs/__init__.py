"""The work behind the pages: draining what is due on one connection, lane by lane, and finding what is due."""

from hub.jobs.draining import (
    BUDGET_SECONDS,
    LANES,
    LEISURELY_LANES,
    URGENT_LANES,
    broke_down,
    drain,
    due,
    sweep,
    tidy,
)
from hub.jobs.shift import Doorbell, Hub

__all__ = [
    "BUDGET_SECONDS",
    "LANES",
    "LEISURELY_LANES",
    "URGENT_LANES",
    "Doorbell",
    "Hub",
    "broke_down",
    "drain",
    "due",
    "sweep",
    "tidy",
]
