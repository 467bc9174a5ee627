"""Matching: the queue of listings of all shops that no SKU is known of, what is suggested for each, and undoing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from hub.access import Permission
from hub.errors import BadInput
from hub.store import matching, tasks
from hub.store.queries import matching as queries
from hub.store.queries.parts import PAGE
from hub.web import forms, lists
from hub.web.gate import hub, needs, see_other, visitor
from hub.web.reader import reader
from hub.web.waking import wake

pages = Blueprint("matching", __name__)

_AT_ONCE = 2_000  # listings whose suggestions a page waits for; more are left to a worker
_OTHER = "other"  # what the choice of a SKU says when another one is typed beside it


@pages.get("/matching")
def index() -> str:
    return _page()


# By how sure the best suggestion is.
_SCORES: Mapping[str, Callable[[matching.Offer], bool]] = {
    "sure": lambda offer: offer.sure,
    "likely": lambda offer: offer.best is not None and offer.best.score >= matching.CLOSE and not offer.sure,
    "none": lambda offer: offer.best is None or offer.best.score < matching.CLOSE,
}
_LOOKED_THROUGH = 300  # listings of one page that is narrowed to some scores: these are worked out, and not stored


def _page(typed: dict[UUID, str] | None = None, wrong: str = "") -> str:
    merchant_id = visitor().merchant_id
    show = lists.choice("show", ("waiting", "ignored"), "waiting")
    score = lists.choice("score", tuple(_SCORES)) if show == "waiting" else ""
    chosen = lists.chosen_id("connection")
    text = lists.search_text()
    with hub().database.read() as db:
        rows = queries.waiting(
            db,
            merchant_id,
            connection_id=chosen,
            ignored=show == "ignored",
            text=text,
            after=lists.read_text_mark(),
            limit=_LOOKED_THROUGH if score else lists.ONE_MORE,
        )
        looked_at = rows if score else rows[:PAGE]
        offers = matching.offers(db, merchant_id, [row.id for row in looked_at]) if show == "waiting" else {}
        likely = {best.sku_id for each in offers.values() if (best := each.best) and best.sku_id}
        pictures = queries.pictures(db, merchant_id, likely)
        shops = queries.queues(db, merchant_id)
        acts = queries.acts(db, merchant_id)
    return render_template(
        "matching.html",
        page=_fitting(rows, offers, score) if score else lists.listed(rows, _mark, parameter="after"),
        offers=offers,
        pictures=pictures,
        shops=shops,
        acts=acts,
        show=show,
        score=score,
        chosen=chosen,
        text=text,
        typed=typed or {},
        wrong=wrong,
    )


def _mark(row: queries.Waiting) -> str:
    return lists.text_mark(row.title, row.id)


def _fitting(
    rows: Sequence[queries.Waiting], offers: Mapping[UUID, matching.Offer], score: str
) -> lists.Listed[queries.Waiting]:
    """Those of ``rows`` with such a score; the next page goes on behind the last one shown, or looked at."""
    fitting = [row for row in rows if _SCORES[score](offers[row.id])]
    older = ""
    if len(fitting) > PAGE:
        older = _mark(fitting[PAGE - 1])
    elif len(rows) == _LOOKED_THROUGH:
        older = _mark(rows[-1])
    return lists.Listed(fitting[:PAGE], older, not request.args.get("after"))


@pages.post("/matching")
@needs(Permission.CATALOG)
def decide() -> Any:
    """What a person wants done: with one listing (its id follows the word), with the chosen ones, or with all."""
    wish, _rest, one = request.form.get("act", "").partition(":")
    listing_ids = [forms.read_identity(one)] if one else forms.identities("listing")
    connection_id = forms.optional_identity("connection")
    if wish != "sure" and not listing_ids:
        flash(_("Choose listings first, by the boxes before them."), "warning")
        return see_other(_back())
    database, merchant_id, who = hub().database, visitor().merchant_id, visitor().email
    match wish:
        case "sure" if many := _shops_with_many(connection_id):
            return _have_it_done(many)
        case "sure":
            act = matching.accept_suggestions(database, merchant_id, connection_id, None, who)
            _tell(act, _("nothing is that sure. Choose for each listing what it is."))
        case "match":
            try:
                wanted = _wanted(listing_ids)
            except BadInput as error:
                typed = {each: request.form.get(f"{_OTHER}:{each}", "") for each in listing_ids}
                return _page(typed, str(error)), 422
            _tell(matching.accept(database, merchant_id, wanted, who), _("it was done meanwhile."))
        case "ignore":
            count = matching.ignore(database, merchant_id, listing_ids, who)
            flash(
                _("%(listings)s taken out of the queue. You find them under Ignored.", listings=_listings(count)),
                "success",
            )
        case "bring-back":
            count = matching.bring_back(database, merchant_id, listing_ids, who)
            flash(_("%(listings)s back in the queue.", listings=_listings(count)), "success")
        case _:
            raise BadInput(_("Choose what is to be done with the listings."))
    return see_other(_back())


@pages.post("/matching/acts/<uuid:act_id>/undo")
@needs(Permission.CATALOG)
def undo(act_id: UUID) -> Any:
    count = matching.undo(hub().database, visitor().merchant_id, act_id, visitor().email)
    flash(
        _("Undone: %(listings)s not matched any more. What was changed since stays.", listings=_listings(count)),
        "success",
    )
    return see_other(url_for(".index"))


def _shops_with_many(connection_id: UUID | None) -> list[UUID]:
    """The shops to be matched, where they are more than a page can wait for; the longest queue first."""
    with hub().database.read() as db:
        shops = queries.queues(db, visitor().merchant_id)
    waiting = [each for each in shops if each.unmatched and connection_id in (None, each.connection_id)]
    if sum(each.unmatched for each in waiting) <= _AT_ONCE:
        return []
    return [each.connection_id for each in sorted(waiting, key=lambda each: -each.unmatched)]


def _have_it_done(shops: list[UUID]) -> Any:
    """Let workers match, and follow the longest of it."""
    database, merchant_id, who = hub().database, visitor().merchant_id, visitor().email
    planned = [tasks.ask(database, merchant_id, each, "match", who) for each in shops]
    wake(shops, "fetch")
    return see_other(url_for("connections.follow", connection_id=shops[0], task_id=planned[0]))


def _wanted(listing_ids: list[UUID]) -> dict[UUID, str]:
    """The SKU chosen or typed for each of these listings. Raises BadInput where there is none."""
    wanted: dict[UUID, str] = {}
    for each in listing_ids:
        typed = request.form.get(f"{_OTHER}:{each}", "").strip()
        code = typed or request.form.get(f"sku:{each}", "")
        if not code and len(listing_ids) > 1:
            raise BadInput(_("For some of the chosen listings no SKU is named. Name one, or leave them out."))
        wanted[each] = matching.checked_code(code)
    return wanted


def _tell(act: matching.Act, why_nothing: str) -> None:
    if act.id is None:
        flash(_("Nothing was matched: %(why_nothing)s", why_nothing=why_nothing), "warning")
        return
    new = _(", %(count)s of them to new SKUs", count=act.new_skus) if act.new_skus else ""
    flash(
        _("%(listings)s matched%(new)s. You can undo this below.", listings=_listings(act.matched), new=new), "success"
    )
    wake(_shops(), "publish")


def _shops() -> list[UUID]:
    """Every shop may have something to publish now: a SKU of one is sold at others, too."""
    with hub().database.read() as db:
        return [each.connection_id for each in queries.queues(db, visitor().merchant_id)]


def _listings(count: int) -> str:
    return ngettext("%(number)s listing", "%(number)s listings", count, number=reader().number(count))


def _back() -> str:
    """The same list again, from its beginning."""
    kept: dict[str, Any] = {name: request.form.get(name) or None for name in ("connection", "q", "show", "score")}
    return url_for(".index", **kept)
