"""The command `hub`: running the hub, looking after its database, asking it whether it is well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.access import Role
from hub.config import Settings, SettingsError, load_settings, read_settings
from hub.errors import BadInput, HubError

if TYPE_CHECKING:
    from hub.certify import Outcome
    from hub.jobs.following import Step
    from hub.jobs.replay import Changed, Survey
    from hub.store.backup import Progress
    from hub.store.database import Database
    from hub.store.queries.catalogue import Listed
    from hub.store.replaying import Replayed

FAILED, USAGE = 1, 2


class Hub(click.Group):
    """Turns what the hub can explain into one sentence and an exit code: 1 it failed, 2 the settings are wrong."""

    def invoke(self, context: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            context.color = False
        try:
            return super().invoke(context)
        except HubError as error:
            details = [text for texts in error.fields.values() for text in texts] if isinstance(error, BadInput) else []
            told = _WrongSettings if isinstance(error, SettingsError) else click.ClickException
            raise told(" ".join(dict.fromkeys([str(error), *details]))) from error


class _WrongSettings(click.ClickException):
    exit_code = USAGE


@click.group(cls=Hub, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="tallyhub", prog_name="hub")
def main() -> None:
    """Tallyhub: one order and stock model for every shop.

    Settings come from TALLYHUB_... variables and from tallyhub.toml in the data folder; see: hub config show.
    """


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
on_host = click.option("--host", help="Listen on this address instead of TALLYHUB_HOST.")
on_port = click.option("--port", type=click.IntRange(1, 65535), help="Listen on this port instead of TALLYHUB_PORT.")


# ---------------------------------------------------------------- running


@main.command()
@on_host
@on_port
@click.option("--workers", type=click.IntRange(1, 64), help="Run this many workers instead of TALLYHUB_WORKERS.")
def up(host: str | None, port: int | None, workers: int | None) -> None:
    """Run everything in one process tree until Ctrl-C."""
    from hub import processes

    environ = _environ(host=host, port=port, workers=workers)
    settings = load_settings(environ)
    with processes.only_one(settings.data_dir):
        redis_server = processes.private_redis(settings)
        with _progress() as progress:
            processes.upgrade_database(settings, _say, progress)
        processes.wait_for_port(settings.host, settings.port)
        for line in _about(settings, redis_server):
            click.echo(line)
        told = processes.environ_of_children(settings, environ, redis_server)
        supervisor = processes.Supervisor(processes.programs(settings, told, redis_server), _say)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: supervisor.stop())
        threading.Thread(target=_announce, args=(settings,), daemon=True).start()
        supervisor.run()
    click.echo("Tallyhub has stopped.")


@main.command()
@on_host
@on_port
def web(host: str | None, port: int | None) -> None:
    """Run the web server alone."""
    from hub import processes

    environ = _environ(host=host, port=port)
    os.environ.update(environ)  # the server makes the application in a process of its own
    settings = load_settings(environ)
    processes.write_logs(settings)
    processes.serve_web(settings)


@main.command()
@click.option("--poll", is_flag=True, help="Look for work every moment, even where there is a Redis.")
def worker(poll: bool) -> None:
    """Run one worker."""
    from hub import processes

    settings = load_settings()
    processes.write_logs(settings)
    processes.run_worker(settings, poll=poll)


@main.command()
def sandbox() -> None:
    """Serve the simulated shops of merchants who try the hub out; `hub up` runs it while one does.

    It serves on this machine alone: run it where the workers are.
    """
    from hub import processes
    from hub.demo import sandbox as play
    from hub.demo.show import stopped_by_signal
    from hub.jobs import Hub

    settings = load_settings()
    processes.write_logs(settings)
    hub = Hub.open(settings)
    try:
        with stopped_by_signal() as stop:
            play.serve(hub, stop)
    finally:
        hub.database.close()


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    help="Sell for this long, then stop [default: until Ctrl-C; headless: 30].",
)
@click.option("--headless", is_flag=True, help="Run without a person: sell, wait for quiet, count, end.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write what was counted to this file.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Orders per second.")
@click.option("--seed", type=int, default=1, show_default=True, help="Makes the customers buy the same things again.")
@on_port
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep everything in this folder.")
def demo(
    seconds: float | None,
    headless: bool,
    report: Path | None,
    rate: float,
    seed: int,
    port: int | None,
    data_dir: Path | None,
) -> None:
    """Sell on simulated shops and watch the stock follow.

    It needs a database of its own: without TALLYHUB_DATABASE_URL, a file in its own folder.
    """
    from hub import demo as show

    if headless and seconds is None:
        seconds = 30.0
    plan = show.Plan(seconds=seconds, headless=headless, report=report, rate=rate, seed=seed, port=port)
    sys.exit(show.run(plan, data_dir, os.environ))


# ---------------------------------------------------------------- the database


@main.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
@click.option("--no-backup", is_flag=True, help="Do not make a backup first.")
def upgrade(no_backup: bool) -> None:
    """Bring the database to the schema of this version, after a backup."""
    from hub import processes
    from hub.store import migrate

    settings = load_settings()
    if no_backup:
        with _database(settings) as database:
            migrate.upgrade(database)
    with _progress() as progress:
        processes.upgrade_database(settings, _say, progress)
    click.echo("The database has the newest schema.")


@db.command()
def current() -> None:
    """Show the database's schema; exit code 1 when it is not the newest."""
    from hub.store import migrate

    with _database(load_settings()) as database:
        revision = migrate.current(database)
        newest = migrate.is_current(database)
    click.echo(f"{revision or 'no tables yet'}{' (newest)' if newest else ''}")
    if not newest:
        click.echo("Run: hub db upgrade", err=True)
        sys.exit(FAILED)


@main.group()
def backup() -> None:
    """Make, check and restore backups."""


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--with-keys", is_flag=True, help="Put the secret keys into the file, which then opens everything.")
def create(file: Path | None, with_keys: bool) -> None:
    """Write the whole database to FILE (by default, a new file in the data folder); the hub may be running."""
    from hub.store import backup as backups

    settings = load_settings()
    path = file or settings.data_dir / "backups" / f"tallyhub-{_stamp()}.zip"
    with _database(settings) as database, _progress() as progress:
        made = backups.create(
            database,
            path,
            version=version("tallyhub"),
            key_ids=_key_ids(settings),
            keys=settings.secret_keys if with_keys else (),
            progress=progress,
        )
    click.echo(f"{path}: {made.rows:,} rows in {len(made.tables)} tables, {path.stat().st_size / 1024**2:.1f} MiB.")
    if with_keys:
        click.echo("It holds the secret keys: whoever has this file can read everything in it.")
    else:
        click.echo("The secret keys are not in it. Keep a copy of them elsewhere: without them its secrets are lost.")


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@as_json
def verify(file: Path, as_json: bool) -> None:
    """Read FILE to its end and compare it with what it says about itself."""
    from hub.store import backup as backups

    with _progress() as progress:
        seen = backups.verify(file, progress)
    if as_json:
        click.echo(json.dumps(asdict(seen) | {"rows": seen.rows}, default=str, indent=2))
        return
    click.echo(
        f"{file} is whole: {seen.rows:,} rows in {len(seen.tables)} tables, made {seen.made_at:%Y-%m-%d %H:%M} UTC by "
        f"Tallyhub {seen.tallyhub} from {seen.database}, schema {seen.schema}."
    )
    where = "in the file" if seen.with_keys else "not in the file"
    click.echo(f"It needs the secret keys {', '.join(seen.key_ids)}, which are {where}.")


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force-empty", is_flag=True, help="Delete everything in the database first.")
@click.option("--without-keys", is_flag=True, help="Go on although the keys of the backup are lost.")
def restore(file: Path, force_empty: bool, without_keys: bool) -> None:
    """Fill the database from FILE. The hub must not be running."""
    from hub import processes
    from hub.store import backup as backups
    from hub.store import migrate

    settings = read_settings()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with processes.only_one(settings.data_dir), _database(settings) as database:
        _bring_keys(settings, backups.manifest(file), backups.keys_in(file), without_keys)
        migrate.upgrade(database)
        with _progress() as progress:
            made = backups.restore(database, file, replace=force_empty, progress=progress)
    load_settings()  # makes a key where the old ones are lost
    click.echo(f"Restored {made.rows:,} rows as they were at {made.made_at:%Y-%m-%d %H:%M} UTC.")
    click.echo("Everybody is signed out. On the next start every shop is asked for what happened since.")


def _bring_keys(settings: Settings, manifest: Any, keys: tuple[str, ...], without_keys: bool) -> None:
    missing = set(manifest.key_ids) - set(_key_ids(settings))
    if not missing:
        return
    if keys and not settings.secret_keys:
        draft = os.open(settings.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(draft, "w", encoding="ascii") as file:
            file.write("".join(f"{key}\n" for key in keys))
        click.echo(f"The secret keys of the backup are now in {settings.key_file}.")
        return
    if not without_keys:
        raise HubError(
            f"This backup needs the secret keys {', '.join(sorted(missing))}. Put them back into {settings.key_file} "
            "first. If they are lost, add --without-keys: orders and stock come back, shops have to be reconnected."
        )


# ---------------------------------------------------------------- people


@main.group()
def keys() -> None:
    """Look after the keys that encrypt what is stored."""


@keys.command("rotate")
def rotate_keys() -> None:
    """Encrypt with the first secret key what an older one encrypted; the hub may be running.

    Stopped at any moment, it goes on where it was when it is run again.
    """
    from hub.store import rekeying
    from hub.store.secrets import KeyRing

    settings = load_settings()
    keyring = KeyRing(settings.secret_keys)
    first, *others = keyring.key_ids
    with _database(settings, migrated=True) as database:
        with _progress() as progress:
            unreadable = rekeying.rotate(database, keyring, progress)
        with database.read() as connection:
            left = [key_id for key_id, values in rekeying.needing(connection, keyring).items() if values]
    for place in unreadable[:10]:
        click.echo(f"It cannot be decrypted: {place}", err=True)
    if unreadable:
        raise HubError(
            f"{len(unreadable):,} stored values cannot be decrypted with the keys there are, and were left alone. Put "
            "their key back, or reconnect the shops that hub doctor names."
        )
    if left:
        raise HubError(
            f"Something was encrypted with {', '.join(left)} meanwhile: a process runs that has not read the new keys. "
            "Restart every process of the hub, then run this again."
        )
    click.echo(f"All that is stored needs the key {first} alone.")
    if others:
        click.echo(f"Remove {', '.join(others)} from the secret keys, and restart every process of the hub.")
    else:
        click.echo("There is no other key. To begin using a new one, put it on the first line.")


@main.group()
def users() -> None:
    """Let people in."""


email = click.option("--email", required=True, prompt="E-mail address", help="The address they sign in with.")


@users.command("create")
@email
@click.option("--name", default="", help="Their name.")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="owner", show_default=True)
@click.option("--merchant", help="The business they work for; needed when there is more or less than one.")
def create_user(email: str, name: str, role: str, merchant: str | None) -> None:
    """Let somebody sign in; the first one also makes the business. The password is asked for."""
    from sqlalchemy import select

    from hub.store import accounts
    from hub.store import tables as t

    with _database(load_settings(), migrated=True) as database:
        with database.read() as connection:
            known = connection.execute(select(t.merchant.c.id, t.merchant.c.name).order_by(t.merchant.c.name)).all()
        if not known and merchant is None:
            raise HubError("There is no business yet. Name it with --merchant; this person will own it.")
        chosen = [row.id for row in known if merchant is None or row.name == merchant]
        if known and len(chosen) != 1:
            names = ", ".join(f"“{row.name}”" for row in known)
            raise HubError(f"Name the business they work for with --merchant, one of {names}.")
        password = _new_password()
        if chosen:
            accounts.create_user(database, chosen[0], email=email, name=name, password=password, role=role)
        else:
            token = accounts.issue_setup_token(database) or ""
            whose = name or email.partition("@")[0]
            accounts.set_up(database, token, merchant_name=merchant or "", email=email, name=whose, password=password)
    click.echo(f"{email} can sign in.")


@users.command("reset-password")
@email
def reset_password(email: str) -> None:
    """Give somebody a new password, which is asked for; they are signed out everywhere."""
    from hub.store import accounts

    with _database(load_settings(), migrated=True) as database:
        accounts.reset_password(database, email, _new_password())
    click.echo(f"{email} has a new password and was signed out everywhere.")


@users.command("reset-two-factor")
@email
def reset_two_factor(email: str) -> None:
    """Take somebody's second factor, who has lost it; they are signed out everywhere and set up another one."""
    from hub.store import two_factor

    with _database(load_settings(), migrated=True) as database:
        two_factor.reset(database, email)
    click.echo(f"{email} signs in with the password alone until they set up another second factor.")


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


# ---------------------------------------------------------------- what came in


on_connection = click.option("--connection", "label", required=True, help="The connection, by its name or its id.")


@main.command()
@on_connection
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
    metavar="DATE",
    help="Only records that came in from then on (UTC), and orders that stand by one of them.",
)
@click.option("--order", "number", help="Only this order, by its number or its id.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def replay(label: str, since: datetime | None, number: str | None, dry_run: bool) -> None:
    """Read stored records again and correct the orders read differently.

    They are read with the connector as it is installed now. Nothing is asked of the shop.
    """
    from hub import jobs
    from hub.jobs import replay as again

    settings = load_settings()
    with _database(settings, migrated=True):
        hub = jobs.Hub.open(settings, pooled=False)
    try:
        shop = again.find_connection(hub.database, label)
        order = again.find_order(hub.database, number, connection_id=shop.id) if number else None
        with _progress() as progress:
            found = again.survey(
                hub, shop, progress=progress, since=since.replace(tzinfo=UTC) if since else None, order=order
            )
        count = 0
        for each in again.preview(found) if dry_run else again.carry_out(found):
            count += 1
            click.echo("\n".join(_changed_order(each, dry_run)))
        for line in _about_replay(found, count, dry_run):
            click.echo(line)
    finally:
        hub.database.close()


def _changed_order(order: Changed, dry_run: bool) -> Iterator[str]:
    news = "" if order.order_id else " is new"
    yield click.style(f"Order {order.number} ({order.external_id} at the shop){news}", bold=True)
    for each in order.changes:
        yield f"  {each.what}: {each.before or '(nothing)'} → {each.after or '(nothing)'}"
    for sku in order.held:
        more = sku.after - sku.before
        yield f"  stock: holds {sku.after} of {sku.sku}, {abs(more)} {'more' if more > 0 else 'less'}"


def _about_replay(found: Survey, changed: int, dry_run: bool) -> Iterator[str]:
    many = f"{changed or 'No'} order{'' if changed < 2 else 's'}"
    yield f"{found.label}: {found.records:,} records read again with {found.version}."
    yield f"{many} of {found.orders:,} {'would change' if dry_run else 'changed'}."
    if found.forgotten:
        yield f"{found.forgotten:,} records have no body any more: it was deleted when its time was over."
    if found.quarantined:
        yield f"{found.quarantined:,} records were set aside; {found.readable:,} of them can be read now."
    if found.released:
        yield f"{len(found.released):,} records {'would be' if dry_run else 'were'} given to the workers to read again."
    for trouble in found.troubles:
        yield f"Order {trouble.number}: {trouble.reason}"


@main.command()
@click.argument("connection")
@click.option(
    "--follow", is_flag=True, help="Show how far it is, until every order is here; Ctrl-C stops looking only."
)
@as_json
def sync(connection: str, follow: bool, as_json: bool) -> None:
    """Have the workers ask CONNECTION's shop for everything new, now.

    CONNECTION is its name or its id. With --json, each look is a JSON object on a line of its own.
    """
    from hub import jobs
    from hub.jobs import following
    from hub.jobs import replay as again

    settings = load_settings()
    with _database(settings, migrated=True):
        hub = jobs.Hub.open(settings, pooled=False)
    step: following.Step | None = None
    try:
        shop = again.find_connection(hub.database, connection)
        began = following.start(hub, shop, "")
        if not follow:
            if as_json:
                click.echo(json.dumps({"connection": str(shop.id), "label": shop.label, "state": "started"}))
            else:
                click.echo(f"The workers synchronize {shop.label} now. To see how far they are, add --follow.")
            return
        with _followed(shop, as_json) as tell:
            for step in following.follow(hub, shop, began):
                tell(step)
        if not as_json and step is not None:
            click.echo(f"Everything is here: {step.progress.fetched:,} orders of {shop.label} in all.")
    except KeyboardInterrupt:
        left = (step.progress.expected or step.progress.fetched) - step.progress.read if step else 0
        about = f"{left:,} orders are still to be read. " if left else ""
        click.echo(f"Stopped looking. The hub goes on by itself. {about}Look again with --follow.", err=True)
    finally:
        hub.database.close()


@contextmanager
def _followed(shop: Any, as_json: bool) -> Iterator[Callable[[Step], None]]:
    """Tell how far a synchronization is: in place on a terminal, otherwise a line every few seconds; or in JSON."""
    terminal = sys.stdout.isatty() and not as_json
    told_at, worker = 0.0, True

    def tell(step: Step) -> None:
        nonlocal told_at, worker
        if as_json:
            click.echo(json.dumps(_step_as_json(shop, step)))
            return
        about = _about_step(step)
        if terminal:
            wide = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\033[K{about[:wide]}", nl=False)
        elif not told_at or step.done or step.taken_up != worker or time.monotonic() - told_at >= 10:
            told_at, worker = time.monotonic(), step.taken_up
            click.echo(about)

    try:
        yield tell
    finally:
        if terminal:
            click.echo()


def _about_step(step: Step) -> str:
    from hub.store.queries.importing import about

    found, pace = step.progress, step.pace
    text = f"{found.read:,} orders read, {found.fetched:,} fetched"
    if found.expected:
        filled = min(24, 24 * found.read // found.expected)
        text = f"[{'#' * filled}{'-' * (24 - filled)}] {found.read:,} of {found.expected:,} orders"
    if pace is not None:
        text += f", {pace.per_second:,.0f} a second"
        if pace.seconds_left is not None and not step.done:
            text += f", {about(pace.seconds_left)} left"
    if found.error:
        text += f". {found.error}"
    elif not step.taken_up:
        text += ". No worker has begun: see that the hub runs (hub up, or hub worker)"
    return text


def _step_as_json(shop: Any, step: Step) -> dict[str, Any]:
    found, pace = step.progress, step.pace
    return {
        "connection": str(shop.id),
        "label": shop.label,
        "state": "done" if step.done else "running" if step.taken_up else "no worker",
        "read": found.read,
        "fetched": found.fetched,
        "total": found.expected,
        "per_second": round(pace.per_second, 1) if pace else None,
        "seconds_left": round(pace.seconds_left) if pace and pace.seconds_left is not None else None,
        "error": found.error,
    }


@main.command()
@click.argument("order")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write to this folder, or this file ending in .zip [default: bundle-… here].",
)
def bundle(order: str, out: Path | None) -> None:
    """Write ORDER's records without personal data as a test.

    ORDER is its number, its id at the shop, or its id here. The test reads the records with the installed connector,
    imports them, and compares the order that comes of it with the one that the hub has.
    """
    from hub import bundle as bundles
    from hub import jobs
    from hub.jobs import replay as again

    settings = load_settings()
    with _database(settings, migrated=True):
        hub = jobs.Hub.open(settings, pooled=False)
    try:
        made = bundles.make(hub, again.find_order(hub.database, order))
    finally:
        hub.database.close()
    path = bundles.write(made, out or Path(f"bundle-{made.name}"))
    click.echo(f"{path}: {len(made.records)} records. Names, addresses and free texts in it are made up.")
    for line in made.remarks:
        click.echo(line)
    click.echo(
        f"Run it with: python -m pytest {path}" if path.suffix != ".zip" else "Unpack it, then run pytest on it."
    )


# ---------------------------------------------------------------- why


@main.group()
def explain() -> None:
    """Say why stock is what it is."""


@explain.command("stock")
@click.argument("sku")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
    metavar="DATE",
    help="What happened from then on, in UTC [default: in the last seven days].",
)
@as_json
def explain_stock(sku: str, since: datetime | None, as_json: bool) -> None:
    """Tell the story of SKU: what moved it, and what each shop was told of it and why."""
    from hub.explain import stock as story
    from hub.explain import telling

    with _database(load_settings(), migrated=True) as database, database.read() as connection:
        merchant_id, sku_id = story.find_sku(connection, sku)
        begin = since.replace(tzinfo=UTC) if since else None
        found = story.stock(connection, merchant_id, sku_id, at=database.now(connection), since=begin)
    if found is not None:
        _tell(found, telling.of_stock(found), as_json)


@explain.command("oversell")
@click.argument("order")
@as_json
def explain_oversell(order: str, as_json: bool) -> None:
    """Say why ORDER could not be given what it bought: who got it, and the cause."""
    from hub.explain import oversell, telling
    from hub.jobs import replay as again

    with _database(load_settings(), migrated=True) as database:
        row = again.find_order(database, order)
        with database.read() as connection:
            found = oversell.oversell(connection, row.merchant_id, row.id)
    if found is not None:
        _tell(found, telling.of_order(found), as_json)


def _tell(found: Any, told: Iterator[tuple[int, str]], as_json: bool) -> None:
    from hub.explain import words

    if as_json:
        click.echo(json.dumps(words.as_plain(found), indent=2, ensure_ascii=False))
        return
    for line in words.wrapped(told, min(shutil.get_terminal_size().columns, 120)):
        click.echo(line)


# ---------------------------------------------------------------- asking


# ---------------------------------------------------------------- where orders are shipped from


@main.group()
def routing() -> None:
    """Look at how orders are dealt out to locations."""


@routing.command("replay")
@click.option("--policy", help="A policy's number, or a JSON file with one [default: the one each was made by].")
@click.option("--days", type=click.IntRange(1, 3650), help="Only decisions of so many days.")
@click.option("--last", type=click.IntRange(1), help="Only so many of the newest.")
@click.option("--merchant", help="The business; needed when there is more than one.")
@as_json
def replay_routing(policy: str | None, days: int | None, last: int | None, merchant: str | None, as_json: bool) -> None:
    """Make past routing decisions again, as they were or under another policy, and show what differs.

    Nothing is changed. Under the policies they were made by, all have to come out the same; exit code 1 when not.
    """
    from hub.store import replaying

    with _database(load_settings(), migrated=True) as database, _progress() as progress, database.read() as connection:
        merchant_id = _business(connection, merchant)
        found = replaying.replay(
            connection,
            merchant_id,
            _policy_of(connection, merchant_id, policy),
            since=database.now(connection) - timedelta(days=days) if days else None,
            newest=last,
            progress=lambda done, total: progress("decisions", done, total),
        )
    if as_json:
        click.echo(json.dumps(asdict(found), default=str, indent=2))
    else:
        for line in _replayed(found, compared=policy is not None):
            click.echo(line)
    if policy is None and found.same != found.made:
        sys.exit(FAILED)


def _business(connection: Any, name: str | None) -> Any:
    from sqlalchemy import select

    from hub.store import tables as t

    known = connection.execute(select(t.merchant.c.id, t.merchant.c.name).order_by(t.merchant.c.name)).all()
    chosen = [row.id for row in known if name is None or row.name == name]
    if len(chosen) != 1:
        names = ", ".join(f"“{row.name}”" for row in known) or "none yet"
        raise HubError(f"Name the business with --merchant: {names}.")
    return chosen[0]


def _policy_of(connection: Any, merchant_id: Any, named: str | None) -> Any:
    from hub.core.plain import from_plain
    from hub.core.routing import RoutingPolicy
    from hub.store import routing_rules

    if named is None:
        return None
    if named.isascii() and named.isdigit():
        found = routing_rules.numbered(connection, merchant_id, int(named))
        if found is None:
            raise HubError(f"There is no routing policy {named}. The page Routing lists them.")
        return found
    try:
        return from_plain(RoutingPolicy, json.loads(Path(named).read_text(encoding="utf-8")))
    except OSError as error:
        raise HubError(f"{named} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise HubError(f"{named} holds no routing policy: {error}") from error


def _replayed(found: Replayed, *, compared: bool) -> Iterator[str]:
    told = f"{found.made:,} decisions made again: {found.same:,} come out the same"
    yield told + (f", {found.made - found.same:,} differ." if compared else ".")
    if found.by_others:
        yield f"{found.by_others:,} were made by a person or a plugin, and stand."
    if found.forgotten:
        yield f"{found.forgotten:,} are of customers who were forgotten."
    if compared:
        yield f"Split orders: {found.before.split:,} before, {found.after.split:,} after."
        yield f"Parcels: {found.before.parcels:,} before, {found.after.parcels:,} after."
        yield f"Nobody can ship: {found.before.nobody:,} before, {found.after.nobody:,} after."
        if found.far:
            yield (
                f"Distance: {found.before.kilometers:,} km before, {found.after.kilometers:,} km after "
                f"(known of {found.far:,})."
            )
        if found.paid:
            yield f"Cost: {found.before.cost} before, {found.after.cost} after (known of {found.paid:,})."
    for each in found.differ[:20]:
        yield f"{each.number}: {each.before.summary} → {each.after.summary}"
    if len(found.differ) > 20:
        yield "Only the newest 20 are shown; --json has more."


@main.group()
def geo() -> None:
    """Say where postal codes lie."""


@geo.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--country", default="", help="Take the codes of this country alone, such as GB.")
def import_geo(file: Path, country: str) -> None:
    """Read FILE, a postal code file of GeoNames (GB.zip, or the text in it), for the distances that routing compares.

    Codes of the United States are known without. Locations and orders that are there already keep their coordinates
    until they are saved, or dealt out, again.
    """
    from hub.store import geography

    with _database(load_settings(), migrated=True) as database, _progress() as progress:
        found = geography.import_file(database, file, country, lambda text, done: progress(text, done, 0))
    for where, codes in sorted(found.codes.items()):
        click.echo(f"{where}: {codes:,} postal codes.")
    if found.unreadable:
        click.echo(f"{found.unreadable:,} lines could not be read and were left out.")


@main.group()
def connector() -> None:
    """Write connectors of your own."""


@connector.command(name="new")
@click.argument("name")
@click.option("--kind", type=click.Choice(["channel", "carrier", "3pl"]), required=True, help="What it connects.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), default=".", help="Write it below this folder."
)
def new_connector(name: str, kind: str, into: Path) -> None:
    """Write the distribution of a new connector: package, simulator, tests, README.

    It connects an invented vendor, runs as it is written, and waits for you to put your vendor in its place.
    """
    from hub import plugins, scaffold
    from hub.connector import Kind

    registry = plugins.load()
    taken = {*registry.connectors, *(plugin.name for plugin in registry.plugins)}
    folder = scaffold.new_distribution(name, Kind(kind), into, taken)
    distribution = f"tallyhub-{name.replace('_', '-')}"
    click.echo(f"Written to {folder}. What to do next:")
    click.echo(f"  python -m pip install -e '{folder}[simulator,test]'")
    click.echo(f"  python -m pytest {folder}")
    click.echo(f"  TALLYHUB_PLUGINS={distribution} hub certify {name}")


@main.command()
@as_json
def connectors(as_json: bool) -> None:
    """List every installed connector and plugin, in use or not."""
    from hub import certificates, plugins
    from hub.store.queries import catalogue

    settings = read_settings()
    shops: dict[str, Any] = {}
    failures: dict[str, Any] = {}
    with suppress(HubError), _database(settings, migrated=True) as database, database.read() as connection:
        shops, failures = catalogue.settings_by_connector(connection), catalogue.last_failures(connection)
    registry = plugins.load(settings.plugins)
    rows = catalogue.listed(
        registry,
        certificates.known(settings.data_dir, registry.packages),
        shops,
        failures,
        datetime.now(UTC).date(),
    )
    if as_json:
        click.echo(json.dumps([asdict(each) for each in rows], indent=2, default=str))
        return
    for row in rows:
        click.echo("\n".join(_about_connector(row)))


def _about_connector(row: Listed) -> Iterator[str]:
    about = row.error or f"{row.label}, API version {row.api_version or 'not stated'}"
    yield f"{row.name:<16} {about} ({row.plugin} {row.version})"
    if row.state == "loaded":
        graded = f"certified {row.grade}" if row.grade else "not certified"
        if row.grade and row.graded_version != row.version:
            graded += f" in version {row.graded_version or 'unknown'}"
        if row.graded_by_author:
            graded += " by its author"
        yield f"{'':<16} {row.kind}, {graded}; talks to {', '.join(row.hosts) or 'nobody'}"
        if row.capabilities:
            yield f"{'':<16} can: {', '.join(row.capabilities)}"
    if row.warning:
        yield f"{'':<16} {click.style(row.warning, fg='yellow')}"
    if failure := row.last_failure:
        yield f"{'':<16} failed last on {failure.at:%Y-%m-%d %H:%M} UTC at {failure.connection_label}: {failure.title}"


@main.command()
@click.argument("name")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides everything random: the same run again.")
@as_json
@click.option("--badge", type=click.Path(dir_okay=False, path_type=Path), help="Draw the grade as an SVG file.")
@click.option("--certificate", type=click.Path(dir_okay=False, path_type=Path), help="Write what its package may ship.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write every simulated request here.")
@click.option("--case", "cases", multiple=True, help="Try only this case (may be repeated); there is no grade then.")
def certify(
    name: str,
    seed: int,
    as_json: bool,
    badge: Path | None,
    certificate: Path | None,
    trace: Path | None,
    cases: tuple[str, ...],
) -> None:
    """Try the connector NAME against its simulator, and grade it; exit code 0 from bronze on.

    NAME is what `hub connectors` lists. No vendor is called and no database of yours is touched.
    """
    if cases and (badge is not None or certificate is not None):
        raise BadInput("Badges and certificates show a grade, and single cases give none: leave out --case.")
    import structlog

    from hub import certificates, certify, plugins

    settings = read_settings()
    connector = plugins.load(settings.plugins).connector(name)
    simulator = certify.simulator_of(connector)
    # What the hubs of the cases have to say is not the report; and with --json the report has to stand alone.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with _tried(len(cases) or len(certify.contract_for(connector).cases)) as told:
        report = certify.certify(connector, simulator, seed=seed, only=cases, told=told)
    if settings.data_dir.is_dir() and not report.partial:
        certificates.keep(settings.data_dir, report.as_json(), datetime.now(UTC))
    if badge is not None:
        badge.write_text(certify.badge(report.grade), encoding="utf-8")
    if certificate is not None:
        certificate.write_text(certificates.to_ship(report.as_json(), datetime.now(UTC)), encoding="utf-8")
    if trace is not None:
        trace.write_text("".join(f"{line}\n" for line in report.trace), encoding="utf-8")
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else report.as_text(_in_color))
    if report.count(certify.FAILED) if report.partial else report.grade == certify.NO_GRADE:
        sys.exit(FAILED)


def _in_color(text: str, state: str) -> str:
    return click.style(text, fg={"passed": "green", "failed": "red"}.get(state))


@contextmanager
def _tried(total: int) -> Iterator[Callable[[Outcome], None]]:
    """Tell on a terminal how many cases have been tried, and how many failed."""
    terminal = sys.stderr.isatty()
    tried = failed = 0

    def told(outcome: Outcome) -> None:
        nonlocal tried, failed
        tried += 1
        failed += outcome.state == "failed"
        if terminal:
            about = f"{tried} of {total} cases tried, {failed} failed: {outcome.case.id}"
            click.echo(f"\r\033[K{about[:110]}", nl=False, err=True)

    yield told
    if terminal:
        click.echo("\r\033[K", nl=False, err=True)


@main.command()
@as_json
@click.option("--quiet", is_flag=True, help="The hub is at rest: what came in a moment ago must be done as well.")
def audit(as_json: bool, quiet: bool) -> None:
    """Check every invariant of the stored data; exit code 1 when one is broken."""
    from hub.store import audit as audits
    from hub.store.secrets import KeyRing

    settings = load_settings()
    settle = timedelta(0) if quiet else audits.MINUTES_TO_SETTLE
    with _database(settings, migrated=True) as database:
        findings = audits.audit(database, KeyRing(settings.secret_keys), settle=settle)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            sign = click.style("ok", fg="green") if not each.count else click.style(str(each.count), fg="red")
            click.echo(f"{each.invariant:<4} {each.title}: {sign}")
            for example in each.examples:
                click.echo(f"       {example}")
    if any(each.count for each in findings):
        click.echo("Some rows break an invariant. Please report this with the output of: hub audit --json", err=True)
        sys.exit(FAILED)


@main.command()
@as_json
def doctor(as_json: bool) -> None:
    """Say what is missing and what to do; exit code 1 when the hub could not work."""
    from hub.doctor import examine

    checks = examine(os.environ)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in checks], indent=2))
    else:
        colors = {"ok": "green", "warning": "yellow", "failed": "red"}
        for each in checks:
            click.echo(f"{click.style(each.state, fg=colors[each.state])}  {each.name}: {each.message}")
            if each.next_step:
                click.echo(f"      {each.next_step}")
    if any(each.state == "failed" for each in checks):
        sys.exit(FAILED)


@main.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@as_json
def show(as_json: bool) -> None:
    """Print every setting, where it comes from, and no secret."""
    rows = [{"name": name, "value": value, "origin": origin} for name, value, origin in read_settings().shown()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<17} {row['value'] or '(none)'}  [{row['origin']}]")


# ---------------------------------------------------------------- what the commands share


def _environ(**given: object) -> dict[str, str]:
    """The environment, with what was given on the command line in it: children read their settings from there."""
    return dict(os.environ) | {
        f"TALLYHUB_{name.upper()}": str(value) for name, value in given.items() if value is not None
    }


@contextmanager
def _database(settings: Settings, *, migrated: bool = False) -> Iterator[Database]:
    from hub.store import migrate
    from hub.store.database import Database

    database = Database(settings.database_url, pooled=False)
    try:
        if migrated and not migrate.is_current(database):
            raise HubError("The database has no tables yet, or an older schema. Run: hub db upgrade")
        yield database
    finally:
        database.close()


def _key_ids(settings: Settings) -> list[str]:
    return [key.partition(":")[0] for key in settings.secret_keys]


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


@contextmanager
def _progress() -> Iterator[Progress]:
    """Tell how far a long piece of work is: in place on a terminal, otherwise one line per table with rows."""
    terminal = sys.stderr.isatty()

    def show(table: str, done: int, total: int) -> None:
        if terminal:
            of = f" of {total:,}" if total else ""
            click.echo(f"\r\033[K{table}: {done:,}{of}", nl=False, err=True)
        elif total and done == total:
            click.echo(f"{table}: {total:,} rows", err=True)

    yield show
    if terminal:
        click.echo("\r\033[K", nl=False, err=True)


def _about(settings: Settings, redis_server: object | None) -> Iterator[str]:
    yield f"Data folder: {settings.data_dir}"
    if settings.redis_mode == "private" and redis_server is None:
        yield "There is no Redis here: workers look for work every moment. Set TALLYHUB_REDIS_URL to have them woken."
    if settings.public_url is None:
        yield "TALLYHUB_PUBLIC_URL is not set: shops cannot send webhooks, so the hub asks them every few seconds."
    if settings.routes:
        yield "TALLYHUB_ROUTES is set: calls to vendors are led elsewhere. Never do this with real shops."


def _announce(settings: Settings) -> None:
    """Wait until the pages answer, then say where; on a first run also how to begin."""
    from hub import processes
    from hub.store import accounts

    address = settings.own_address
    if not processes.wait_until_ready(address):
        _say("The pages do not answer yet; the log above says why.")
        return
    _say(f"Tallyhub is ready at {settings.public_url or address}")
    with _database(settings) as database:
        token = accounts.issue_setup_token(database)
    if token:
        _say(f"Set it up within the next hour, once: {address}/setup?token={token}")


def _say(sentence: str) -> None:
    click.echo(sentence)


if __name__ == "__main__":
    main()
