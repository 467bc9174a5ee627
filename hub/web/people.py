"""The people who work for a merchant: asking them in, their roles, letting them out, and what each role may do."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from werkzeug.exceptions import NotFound

from hub import mail
from hub.access import GRANTS, Permission, Role
from hub.errors import BadInput, Conflict
from hub.mail import Handed
from hub.store import people, two_factor
from hub.web import letters
from hub.web.forms import Messages
from hub.web.gate import hub, needs, needs_password, public_address, see_other, visitor

pages = Blueprint("people", __name__)

# What a role and a permission are called, and what they are for.
ROLES = {
    Role.OWNER: (lazy_gettext("Owner"), lazy_gettext("Everything, connections and people included")),
    Role.MANAGER: (lazy_gettext("Manager"), lazy_gettext("Runs the shop: all but connections, people and privacy")),
    Role.WAREHOUSE: (lazy_gettext("Warehouse"), lazy_gettext("Counts, picks, packs and ships")),
    Role.SUPPORT: (lazy_gettext("Support"), lazy_gettext("Looks after orders and the people who placed them")),
    Role.READ_ONLY: (lazy_gettext("Read only"), lazy_gettext("Looks at everything and changes nothing")),
}
PERMISSIONS = {
    Permission.LOOK: lazy_gettext("See orders, stock, shipments and settings"),
    Permission.ORDERS: lazy_gettext("Hold, release, tag and correct orders, choose their location"),
    Permission.ISSUES: lazy_gettext("Say that an issue is dealt with"),
    Permission.MONEY: lazy_gettext("Cancel orders and give money back"),
    Permission.PACK: lazy_gettext("Pick, pack, buy labels, hand out"),
    Permission.STOCK: lazy_gettext("Count, receive, transfer and correct stock"),
    Permission.CATALOG: lazy_gettext("Match listings, make kits, set selling rules"),
    Permission.SYNC: lazy_gettext("Synchronize, pause, replay, decide what is unclear"),
    Permission.SETTINGS: lazy_gettext("Change settings, locations, routing and shipping"),
    Permission.CONNECT: lazy_gettext("Connect shops and carriers, set them live, remove them"),
    Permission.PRIVACY: lazy_gettext("See and hand out what customers asked about their data"),
    Permission.PEOPLE: lazy_gettext("Invite people, change roles, read the audit log"),
}


@pages.app_template_global()
def role_name(role: str) -> str:
    """What a role is called."""
    return next((str(name) for known, (name, _said) in ROLES.items() if known == role), role)


@pages.get("/settings/people")
@needs(Permission.PEOPLE)
def index() -> str:
    return _page({})


@pages.post("/settings/people/invite")
@needs(Permission.PEOPLE)
@needs_password
def invite() -> Any:
    """Ask somebody in: by e-mail where the hub sends any, else by a link to copy, shown this once."""
    email, role = request.form.get("email", ""), request.form.get("role", "")
    who = visitor()
    try:
        token = people.invite(hub().database, who.merchant_id, email, role, who.email)
    except BadInput as error:
        return _page(error.fields), 422
    except Conflict as error:
        return _page({"email": [str(error)]}), 409
    path = url_for("entrance.invitation", token=token)
    link = public_address(path) or request.host_url.rstrip("/") + path
    letter = mail.invitation(
        business=who.merchant_name, invited_by=who.name or who.email, link=link, days=people.INVITATION_LIFE.days
    )
    handing = letters.send(email.strip().lower(), letter)
    if handing is not None and handing.outcome is Handed.SENT:
        flash(_("%(email)s has an invitation in the mail.", email=email.strip()), "success")
        return see_other(url_for(".index"))
    return _page({}, link=link, invited=email.strip(), not_sent=handing.said if handing else "")


@pages.post("/settings/people/invitations/<uuid:invitation_id>/withdraw")
@needs(Permission.PEOPLE)
@needs_password
def withdraw(invitation_id: UUID) -> Any:
    with hub().database.read() as connection:
        asked = {each.id for each in people.invitations(connection, visitor().merchant_id)}
    if invitation_id not in asked:
        raise NotFound(_("This invitation is gone: it was used, or taken back."))
    email = people.withdraw(hub().database, visitor().merchant_id, invitation_id, visitor().email)
    flash(_("The link for %(email)s opens nothing any more.", email=email), "success")
    return see_other(url_for(".index"))


@pages.post("/settings/people/<uuid:user_id>")
@needs(Permission.PEOPLE)
@needs_password
def change(user_id: UUID) -> Any:
    """Change what somebody is here: ``act`` says how."""
    who = visitor()
    here = (hub().database, who.merchant_id, user_id)
    with hub().database.read() as connection:
        if user_id not in {each.id for each in people.people(connection, who.merchant_id)}:
            raise NotFound(_("This person does not work here."))
    try:
        match request.form.get("act"):
            case "role":
                email = people.change_role(*here, request.form.get("role", ""), who.email)
                told = _("%(email)s has another role, and signs in again.", email=email)
            case "disable":
                told = _("%(email)s may not sign in any more.", email=people.disable(*here, who.email))
            case "enable":
                told = _("%(email)s may sign in again.", email=people.enable(*here, who.email))
            case "remove":
                told = _("%(email)s does not work here any more.", email=people.remove(*here, who.email))
            case "reset":
                two_factor.reset_for(*here, who)
                told = _("Their second factor is gone: they sign in with the password alone and set up another one.")
            case _:
                raise BadInput(_("This form is damaged. Reload the page."))
    except Conflict as error:
        flash(str(error), "warning")
        return see_other(url_for(".index"))
    flash(told, "success")
    return see_other(url_for(".index"))


@pages.post("/settings/people/two-factor")
@needs(Permission.PEOPLE)
@needs_password
def require_two_factor() -> Any:
    """Whether everybody here signs in with two factors."""
    required = request.form.get("required") == "yes"
    try:
        people.require_two_factor(hub().database, visitor(), required)
    except Conflict as error:
        flash(str(error), "warning")
        return see_other(url_for(".index"))
    flash(
        _("Everybody sets up a second factor before anything else now.")
        if required
        else _("A second factor is everybody's own choice now."),
        "success",
    )
    return see_other(url_for(".index"))


def _page(errors: Messages, *, link: str = "", invited: str = "", not_sent: str = "") -> str:
    who = visitor()
    with hub().database.read() as connection:
        everybody = people.people(connection, who.merchant_id)
        asked = people.invitations(connection, who.merchant_id)
    return render_template(
        "settings/people.html",
        people=everybody,
        invitations=asked,
        roles=ROLES,
        grants=GRANTS,
        permissions=PERMISSIONS,
        errors=errors,
        form=request.form,
        link=link,
        invited=invited,
        not_sent=not_sent,
        sends_mail=hub().settings.sends_mail,
    )
