"""Settings of a business: its name, zone and language, the business beside it, how orders get stock, its e-mail."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from babel import Locale
from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _

from hub import mail
from hub.access import Permission
from hub.core.allocation import QueueOrder, StockPolicy
from hub.errors import BadInput, Conflict
from hub.mail import Handed
from hub.store import merchants, policies, stock
from hub.store.merchants import Works
from hub.web import forms, letters
from hub.web.entrance import go_on_for
from hub.web.forms import Messages
from hub.web.gate import hub, needs, needs_password, own_account, see_other, visitor
from hub.web.reader import languages, read_locale
from hub.web.waking import wake

pages = Blueprint("settings", __name__)

# How figures and dates can be written, beside the languages that there are words in.
_FORMATS = (
    *("en_GB", "en_US", "en_IE", "en_AU", "en_CA", "de_DE", "de_AT", "de_CH", "fr_FR", "fr_BE", "fr_CH", "nl_NL"),
    *("nl_BE", "it_IT", "es_ES", "es_MX", "pt_PT", "pt_BR", "pl_PL", "cs_CZ", "sv_SE", "nb_NO", "da_DK", "fi_FI"),
    *("ja_JP",),
)


@pages.app_context_processor
def _merchants_of_mine() -> dict[str, Any]:
    return {"merchants_of_mine": merchants_of_mine}


def merchants_of_mine() -> list[Works]:
    """The businesses the visitor works for. A template asks only where there is more than one."""
    with hub().database.read() as connection:
        return merchants.of_person(connection, visitor().user_id)


# ---------------------------------------------------------------- the business


@pages.get("/settings")
def settings() -> str:
    return _business_page({})


@pages.post("/settings")
@needs(Permission.SETTINGS)
def save() -> Any:
    """Its name, the zone its people read times in, how they read figures, and in which language."""
    form, who = request.form, visitor()
    locale = form.get("locale", "")
    try:
        if locale and locale not in dict(_locales()):
            raise BadInput(_("There is no such language."), {"locale": [_("Choose one of the list.")]})
        merchants.save(
            hub().database, who.merchant_id, form.get("name", ""), form.get("time_zone", ""), locale, who.email
        )
    except BadInput as error:
        return _business_page(error.fields), 422
    flash(_("Kept. Every page shows it from now on."), "success")
    return see_other(url_for(".settings"))


@pages.post("/merchants")
@needs(Permission.PEOPLE)
@needs_password
def create_merchant() -> Any:
    """Another business, with nothing of this one in it."""
    name = request.form.get("new_name", "")
    try:
        most = hub().settings.businesses_per_owner
        merchant_id = merchants.create(hub().database, name, visitor(), most=most)
    except BadInput as error:
        return _business_page({"new_name": error.fields["name"]}), 422
    except Conflict as error:
        return _business_page({"new_name": [str(error)]}), 409
    go_on_for(merchant_id)
    flash(_("%(name)s is there, and empty. You are its owner.", name=name.strip()), "success")
    return see_other(url_for("home.home"))


@pages.post("/merchants/switch")
@own_account
def switch_merchant() -> Any:
    """Go on for another business."""
    if not go_on_for(forms.identity("merchant_id")):
        raise BadInput(_("You do not work for that business any more. Reload the page."))
    return see_other(url_for("home.home"))


def _business_page(errors: Messages) -> str:
    who = visitor()
    kept = {"name": who.merchant_name, "time_zone": who.time_zone, "locale": who.locale, "new_name": ""}
    return render_template(
        "settings/business.html",
        errors=errors,
        form=kept | request.form.to_dict(),
        zones=_zones(),
        locales=_locales(),
        businesses=merchants_of_mine(),
    )


@cache
def _zones() -> tuple[str, ...]:
    """The zones that places have; of the rest only UTC, which "" stands for."""
    return tuple(sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


@cache
def _locales() -> tuple[tuple[str, str], ...]:
    """What can be chosen, each in its own words."""
    names = dict.fromkeys((*(str(each) for each in languages()), *_FORMATS))
    known = [each for name in names if (each := read_locale(name)) is not None]
    return tuple((str(each), _in_its_own_words(each)) for each in known)


def _in_its_own_words(locale: Locale) -> str:
    name = locale.get_display_name(locale) or str(locale)
    return name[:1].upper() + name[1:]


# ---------------------------------------------------------------- how orders get stock


@pages.get("/settings/stock-policy")
def stock_policy() -> str:
    return _policy_page({})


@pages.post("/settings/stock-policy")
@needs(Permission.SETTINGS)
def save_policy() -> Any:
    """Say which orders get stock first, and how much at once."""
    form = request.form
    queue = forms.one_of(QueueOrder, form.get("queue", ""))
    if queue is None:
        raise forms.damaged()
    try:
        policy = StockPolicy(
            hold_together=form.get("hold_together") == "yes",
            queue=queue,
            unpaid_hours=forms.optional_number(form.get("unpaid_hours", ""), "unpaid_hours"),
        )
        touched = policies.save(hub().database, visitor().merchant_id, policy, visitor().email)
    except BadInput as error:
        return _policy_page(error.fields), 422
    wake(touched, "publish")
    flash(_("Orders get stock this way from now on."), "success")
    return see_other(url_for(".stock_policy"))


def _policy_page(errors: Messages) -> str:
    with hub().database.read() as connection:
        return render_template(
            "settings/stock_policy.html",
            policy=stock.policy(connection, visitor().merchant_id),
            queues=tuple(QueueOrder),
            form=request.form,
            errors=errors,
        )


# ---------------------------------------------------------------- e-mail


@pages.get("/settings/email")
def email() -> str:
    here = hub().settings
    server = urlsplit(here.smtp_url or "").hostname or ""
    return render_template("settings/email.html", sends_mail=here.sends_mail, sender=here.mail_from, server=server)


@pages.post("/settings/email/test")
@needs(Permission.SETTINGS)
def send_test() -> Any:
    """Send a message to oneself, and say what the mail server said."""
    who = visitor()
    handing = letters.send(who.email, mail.trial(business=who.merchant_name))
    if handing is None:
        flash(_("This hub sends no e-mail. The operator sets TALLYHUB_SMTP_URL and TALLYHUB_MAIL_FROM."), "warning")
    elif handing.outcome is Handed.SENT:
        flash(_("The mail server took it. Look into the inbox of %(email)s.", email=who.email), "success")
    else:
        flash(_("It was not taken: %(said)s", said=handing.said), "warning")
    return see_other(url_for(".email"))
