"""The first steps of a merchant, each done at once with sensible defaults: what a person does on several pages."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, select, update

from hub import access
from hub.access import Permission
from hub.core.model import Address
from hub.core.rates import ShippedWhen, ShippingPolicy
from hub.errors import Conflict
from hub.store import activity, connections, locations, matching, policies, tasks
from hub.store import tables as t
from hub.store.database import Database, Lanes

# Where the merchant of the demo and of the sandbox packs. Abroad nothing is sent without a telephone number.
_ADDRESS = Address(
    name="Kiln & Cloth",
    line1="1 High Street",
    city="Leeds",
    region="West Yorkshire",
    postcode="LS1 4DY",
    country="GB",
    phone="+44 113 496 0100",
)


def move_in(database: Database, merchant_id: UUID, actor: str) -> None:
    """Give the first warehouse an address, and have labels bought as soon as an order is packed."""
    place = t.location.c
    with database.read() as connection:
        row = connection.execute(
            select(place.id, place.name)
            .where(place.merchant_id == merchant_id, place.kind == "warehouse")
            .order_by(place.created_at)
            .limit(1)
        ).one_or_none()
    if row is None:
        raise Conflict("No shop has told of a place with stock yet. Wait until its products are imported.")
    wanted = locations.Location(name=row.name, address=_ADDRESS, time_zone="Europe/London")
    locations.save(database, merchant_id, row.id, wanted, actor)
    policies.save_shipping(database, merchant_id, ShippingPolicy(automatic=True, shipped_when=ShippedWhen.LABEL), actor)


def sell_from_everywhere(database: Database, merchant_id: UUID, actor: str) -> Lanes:
    """Let every place of every shop that stands for a location of ours sell what lies at any of them."""
    place, shown = t.location.c, t.channel_location.c
    with database.read() as connection:
        ours = set(connection.execute(select(place.id).where(place.merchant_id == merchant_id)).scalars())
        bound = connection.execute(
            select(shown.connection_id, shown.external_id)
            .join(
                t.connection,
                (t.connection.c.merchant_id == shown.merchant_id) & (t.connection.c.id == shown.connection_id),
            )
            .where(shown.merchant_id == merchant_id, shown.location_id.is_not(None), t.connection.c.kind == "channel")
            .order_by(shown.connection_id, shown.external_id)
        ).all()
    touched = [
        connection_id
        for row in bound
        for connection_id in connections.pool_locations(
            database, merchant_id, row.connection_id, row.external_id, ours, actor
        )
    ]
    return [(connection_id, "publish") for connection_id in touched]


# ---------------------------------------------------------------- the steps of a sandbox


def match(database: Database, merchant_id: UUID, actor: str) -> tuple[str, Lanes]:
    """Match every listing of which it is sure what it sells; returns what was done and whom to wake."""
    shops = _channels(database, merchant_id)
    acts = [matching.accept_suggestions(database, merchant_id, each, None, actor) for each, _ in shops]
    matched = sum(act.matched for act in acts)
    if not matched:
        raise Conflict("There is nothing to match yet: the products of the shops are being imported. Try again soon.")
    return f"Matched {matched} listings of {len(shops)} shops by their SKUs.", [(each, "publish") for each, _ in shops]


def settle_locations(database: Database, merchant_id: UUID, actor: str) -> tuple[str, Lanes]:
    """Give the warehouse an address, and sell from it and from the 3PL."""
    move_in(database, merchant_id, actor)
    lanes = sell_from_everywhere(database, merchant_id, actor)
    return (
        "Gave your warehouse an address in Leeds, let every shop sell from it and from the 3PL, and had labels bought "
        "as soon as an order is packed.",
        lanes,
    )


def adopt(database: Database, merchant_id: UUID, actor: str) -> tuple[str, Lanes]:
    """Take the opening stock of the shop that was connected first."""
    shop, label = _channels(database, merchant_id)[0]
    connections.adopt_stock(database, merchant_id, shop, actor)
    return f"Asked {label} for its stock, which becomes yours.", [(shop, "fetch")]


def preview(database: Database, merchant_id: UUID, actor: str) -> tuple[str, Lanes]:
    """Have every shop compared with what would be written to it."""
    shops = _channels(database, merchant_id)
    for each, _ in shops:
        tasks.ask(database, merchant_id, each, "preview", actor)
    names = ", ".join(label for _, label in shops)
    return f"Asked {names} what they show, to compare it with what the hub would write.", [
        (each, "fetch") for each, _ in shops
    ]


def go_live(database: Database, merchant_id: UUID, actor: str) -> tuple[str, Lanes]:
    """Allow the hub to write to every shop."""
    shops = _channels(database, merchant_id)
    touched: set[UUID] = set()
    for each, _ in shops:
        touched |= connections.go_live(database, merchant_id, each, actor) | {each}
    return f"Set {len(shops)} shops live. From now on each sale changes the stock of all.", [
        (each, "publish") for each in sorted(touched)
    ]


def _channels(database: Database, merchant_id: UUID) -> Sequence[tuple[UUID, str]]:
    shop = t.connection.c
    with database.read() as connection:
        found = connection.execute(
            select(shop.id, shop.label)
            .where(shop.merchant_id == merchant_id, shop.kind == "channel", shop.state == "connected", shop.sandbox)
            .order_by(shop.created_at, shop.id)
        ).all()
    if not found:
        raise Conflict("The shops of the sandbox are not connected yet. Try again in a moment.")
    return [(row.id, row.label) for row in found]


@access.needs(Permission.SETTINGS)
def put_away(database: Database, merchant_id: UUID, actor: str) -> None:
    """The list of first steps is not shown any more."""

    def work(connection: Connection) -> None:
        at = database.now(connection)
        connection.execute(update(t.merchant).where(t.merchant.c.id == merchant_id).values(settled_in_at=at))
        activity.note(
            connection, merchant_id, "first_steps_put_away", "The list of first steps was put away", at=at, actor=actor
        )

    database.transact(work)
