"""Whose account a connection reaches, and whether it sells where the connection says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from hub.core.model import Account
from hub.errors import Rejected, Unavailable, Unreadable
from hub.translation import Text, Translation
from hub_amazon.settings import marketplaces, region
from hub_amazon.sp_api import SellingPartnerApi


class _Marketplace(Translation):
    id = Text(required=True)


class _Participation(Translation):
    isParticipating = fields.Boolean(required=True)
    hasSuspendedListings = fields.Boolean(required=True)


class _Seat(Translation):
    marketplace = fields.Nested(_Marketplace, required=True)
    participation = fields.Nested(_Participation, required=True)
    storeName = Text()


class _Participations(Translation):
    payload = fields.List(fields.Nested(_Seat), required=True)


def account(api: SellingPartnerApi, settings: Mapping[str, Any]) -> Account:
    """The seller's account, without locations. Raises AuthError, and Rejected where it does not sell somewhere."""
    try:
        seats = _Participations().read(api.call("getMarketplaceParticipations").body)["payload"]
    except Unreadable as error:
        raise Unavailable(f"Amazon answered with something else than marketplaces. {error}") from error
    selling = {each["marketplace"]["id"]: each for each in seats if each["participation"]["isParticipating"]}
    places = marketplaces(settings)
    if absent := [place.name for place in places if place.external_id not in selling]:
        raise Rejected(
            f"This account does not sell in {', '.join(absent)}. Take that out of the marketplaces, or begin to sell "
            "there first."
        )
    name = selling[places[0].external_id]["storeName"] or settings["seller_id"]
    return Account(
        # A merchant token is unique within a region only.
        external_id=f"{region(settings)}/{settings['seller_id']}",
        name=f"{name} ({settings['marketplaces']})",
        currency=places[0].currency,
        warnings=tuple(
            f"Amazon has suspended the listings of this account in {place.name}. See Account Health in Seller Central."
            for place in places
            if selling[place.external_id]["participation"]["hasSuspendedListings"]
        ),
    )
