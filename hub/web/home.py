"""The home page: the first steps of a merchant, then the day at a glance, for each role what is theirs first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, flash, g, render_template, request, url_for
from flask_babel import gettext as _

from hub import plugins
from hub.access import Permission, Role
from hub.errors import BadInput, Conflict
from hub.store import first_steps, sandbox
from hub.store.queries import home as queries
from hub.store.queries import journal
from hub.store.queries.home import Day, FirstSteps, Step
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.journal import KINDS
from hub.web.reader import reader
from hub.web.waking import ring

pages = Blueprint("home", __name__)

# What a role sees first. The rest follows in the order of the owner's page.
_SECTIONS = ("needs", "late", "day", "bench", "shops", "shelves", "latest", "money")
_FIRST: Mapping[str, Sequence[str]] = {
    Role.WAREHOUSE.value: ("bench", "late", "shelves"),
    Role.SUPPORT.value: ("needs", "late"),
}
# The simulated vendors of a sandbox (hub.demo.sandbox opens those that are installed).
_SIMULATED = ("shopify", "woocommerce")


@pages.get("/")
def home() -> Any:
    merchant_id, now = visitor().merchant_id, datetime.now(UTC)
    around = g.surroundings
    if "ending" in request.args and around.sandbox is None:
        return see_other(url_for(".home"))  # the whole page is another one now
    with hub().database.read() as connection:
        steps = None if around.settled_in else queries.first_steps(connection, merchant_id)
        shops = queries.pulses(connection, merchant_id, now)
        if not shops:
            return render_template("home.html", steps=steps, shown=(), **_about(steps))
        day = queries.day(connection, merchant_id, now, reader().zone)
        return render_template(
            "home.html",
            steps=steps,
            shown=_order_for(visitor().role),
            shops=shops,
            kinds=queries.issue_kinds(connection, merchant_id),
            called=KINDS,
            waiting=queries.waiting(connection, merchant_id, now),
            benches=queries.benches(connection, merchant_id, now),
            shelves=queries.shelves(connection, merchant_id),
            day=day,
            today=day.begins.astimezone(reader().zone).date(),
            charts=(
                Chart.of(_("Orders"), day.orders, day.orders_before, day),
                Chart.of(_("Shipments"), day.shipments, day.shipments_before, day),
            ),
            activity=journal.activity(connection, merchant_id, limit=6),
            **_about(steps),
        )


def _order_for(role: str) -> Sequence[str]:
    first = tuple(_FIRST.get(role, ()))
    return (*first, *(each for each in _SECTIONS if each not in first))


# ---------------------------------------------------------------- a chart


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of a chart, in the units of its picture; ``now``: the hour that has not ended."""

    hour: str
    count: int
    before: int
    x: int
    y: float
    height: float
    now: bool


_WIDTH, _HEIGHT = 20, 100  # of an hour, and of the highest one


@dataclass(frozen=True, slots=True)
class Chart:
    """What happened by the hour, as bars, and as a line what had happened a week before."""

    title: str
    bars: tuple[Bar, ...]
    line: str  # the points of a polyline
    total: int
    so_far: int  # a week before, up to this hour
    width: int = 24 * _WIDTH
    height: int = _HEIGHT

    @classmethod
    def of(cls, title: str, counts: Sequence[int], before: Sequence[int], day: Day) -> Chart:
        """The chart of a day. What is highest, of either day, fills it."""
        most = max(*counts, *before, 1)

        def high(count: int) -> float:
            return round(count / most * (_HEIGHT - 4), 1)

        bars = tuple(
            Bar(
                reader().time(day.begins + timedelta(hours=hour)),
                count,
                past,
                hour * _WIDTH + 2,
                _HEIGHT - high(count),
                high(count),
                hour == day.hours - 1,
            )
            for hour, (count, past) in enumerate(zip(counts, before, strict=True))
        )
        line = " ".join(f"{hour * _WIDTH + _WIDTH // 2},{_HEIGHT - high(past)}" for hour, past in enumerate(before))
        return cls(title, bars, line, sum(counts), sum(before[: day.hours]))


# ---------------------------------------------------------------- first steps


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the list: what it is for, where it is done, and about how long that takes."""

    name: str
    title: str
    text: str
    seconds: int
    done: bool
    current: bool
    address: str
    label: str
    permission: str


def _about(steps: FirstSteps | None) -> dict[str, Any]:
    """What the list of first steps shows."""
    if steps is None:
        return {"todo": (), "minutes_left": 0, "lacking": ()}
    todo = [_view(step, steps) for step in Step]
    return {
        "todo": todo,
        "minutes_left": math.ceil(sum(each.seconds for each in todo if not each.done) / 60),
        "lacking": _lacking(),
    }


def _view(step: Step, steps: FirstSteps) -> StepView:
    shop = steps.connection_id
    shop_page = url_for("connections.connection", connection_id=shop) if shop else ""
    live_page = url_for("going_live.form", connection_id=shop) if shop else ""
    title, text, seconds, address, label, permission = {
        Step.CONNECT: (
            _("Connect a shop"),
            _("The simulated shops are being opened and connected, and their products imported.")
            if g.surroundings.sandbox
            else _("The hub checks the account, then imports its products and orders. It writes nothing."),
            90,
            url_for("connections.catalogue"),
            _("Connect a shop"),
            Permission.CONNECT,
        ),
        Step.MATCH: (
            _("Match its listings to SKUs"),
            _(
                "A SKU is one product, whatever each shop calls it. Shops that match one SKU share its stock. "
                "%(count)s wait.",
                count=reader().number(steps.unmatched),
            )
            if steps.unmatched
            else _("A SKU is one product, whatever each shop calls it. Shops that match one SKU share its stock."),
            45,
            url_for("matching.index"),
            _("See what is suggested"),
            Permission.CATALOG,
        ),
        Step.LOCATIONS: (
            _("Set your locations"),
            _("Say where your goods lie: parcels leave from that address, and every place of a shop stands for one."),
            60,
            url_for("locations.index"),
            _("Set locations"),
            Permission.SETTINGS,
        ),
        Step.STOCK: (
            _("Adopt the opening stock"),
            _("Take the stock over from the shop whose figures you trust, or count it yourself."),
            30,
            shop_page,
            _("Adopt stock"),
            Permission.STOCK,
        ),
        Step.PREVIEW: (
            _("Look at what would be written"),
            _("Every figure beside the one the shop shows now. Nothing is written while you look."),
            30,
            live_page,
            _("Preview"),
            Permission.CONNECT,
        ),
        Step.LIVE: (
            _("Go live"),
            _("From then on every sale changes the stock of every shop."),
            15,
            live_page,
            _("Go live"),
            Permission.CONNECT,
        ),
        Step.ORDER: (
            _("See the first order"),
            _("It appears here by itself, with its stock reserved and the other shops told."),
            0,
            url_for("orders.index"),
            _("See the orders"),
            Permission.LOOK,
        ),
    }[step]
    return StepView(
        step.value, title, text, seconds, step in steps.done, step is steps.next, address, label, permission.value
    )


def _lacking() -> Sequence[str]:
    """The packages that have to be installed before a sandbox can be opened; none, where one can."""
    there = [each for each in plugins.simulators(_SIMULATED) if not each.lacking]
    return () if there else [f"tallyhub-{name}[simulator]" for name in _SIMULATED]


@pages.post("/sandbox")
@needs(Permission.CONNECT)
def open_sandbox() -> Any:
    """Have simulated shops, carriers and a 3PL connected."""
    if not hub().settings.sandbox:
        raise BadInput(_("Whoever runs this hub has turned the sandbox off. Connect a shop instead."))
    if lacking := _lacking():
        raise BadInput(
            _(
                "The simulated shops are not installed here. Whoever runs the hub installs %(packages)s.",
                packages=", ".join(lacking),
            )
        )
    try:
        sandbox.open_up(hub().database, visitor().merchant_id, visitor().email)
    except Conflict as error:
        flash(str(error), "warning")
    return see_other(url_for(".home"))


@pages.post("/sandbox/remove")
@needs(Permission.CONNECT)
def remove_sandbox() -> Any:
    """End it, with everything in it."""
    sandbox.remove(hub().database, visitor().merchant_id, visitor().email)
    flash(_("The sandbox is being removed with everything in it."), "success")
    return see_other(url_for(".home"))


_WALK = {
    Step.MATCH: first_steps.match,
    Step.LOCATIONS: first_steps.settle_locations,
    Step.STOCK: first_steps.adopt,
    Step.PREVIEW: first_steps.preview,
    Step.LIVE: first_steps.go_live,
}


@pages.post("/sandbox/next-step")
@needs(Permission.CONNECT)
def walk_on() -> Any:
    """In a sandbox, do the next step with sensible defaults, and say what was done."""
    database, merchant_id = hub().database, visitor().merchant_id
    with database.read() as connection:
        steps = queries.first_steps(connection, merchant_id)
    act = _WALK.get(steps.next) if steps.next and g.surroundings.sandbox else None
    if act is None or steps.busy or steps.next != request.form.get("step"):
        flash(_("Something has gone on meanwhile. This is where things stand."), "info")
        return see_other(url_for(".home"))
    try:
        told, lanes = act(database, merchant_id, visitor().email)
    except Conflict as error:
        flash(str(error), "warning")
        return see_other(url_for(".home"))
    ring(lanes)
    flash(told, "success")
    return see_other(url_for(".home"))


@pages.post("/first-steps/put-away")
@needs(Permission.SETTINGS)
def put_away() -> Any:
    """The list of first steps is done, and not shown any more."""
    first_steps.put_away(hub().database, visitor().merchant_id, visitor().email)
    return see_other(url_for(".home"))
