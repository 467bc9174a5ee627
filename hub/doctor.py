"""What an installation needs and whether it has it: one check after the other, each with what to do about it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from hub import plugins
from hub.config import TOML_NAME, Settings, SettingsError, read_settings
from hub.errors import HubError
from hub.processes import find_redis_server
from hub.store import migrate, rekeying
from hub.store import tables as t
from hub.store.database import Database
from hub.store.secrets import KeyRing, SecretsUnreadable, key_id_of

State = Literal["ok", "warning", "failed"]

_STATIC = Path(__file__).parent / "web" / "static" / "vendor"
_LOW_DISK, _NO_DISK = 1024**3, 100 * 1024**2
_CLOCKS_MAY_DIFFER = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one check. ``next_step`` is empty when there is nothing to do."""

    name: str
    state: State
    message: str
    next_step: str = ""


def examine(environ: Mapping[str, str]) -> list[Check]:
    """Every check, in the order in which they make sense. Makes nothing and changes nothing."""
    checks = [_python()]
    try:
        settings = read_settings(environ)
    except SettingsError as error:
        return [*checks, *(Check("settings", "failed", problem, "Correct this setting.") for problem in error.problems)]
    checks.append(Check("settings", "ok", "All settings can be used."))
    for check in (_data_folder, _keys, _database, _redis, _public_address, _assets, _disk, _plugins):
        checks.extend(check(settings))
    return checks


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sqlite3.sqlite_version_info < (3, 35):
        library = sqlite3.sqlite_version
        return Check("python", "failed", f"Its SQLite is {library}.", "Use a Python whose SQLite is 3.35 or later.")
    return Check("python", "ok", f"Python {version} with SQLite {sqlite3.sqlite_version}.")


# ---------------------------------------------------------------- on this machine


def _data_folder(settings: Settings) -> Iterator[Check]:
    folder = settings.data_dir
    if not folder.exists():
        yield Check("data folder", "ok", f"{folder} is made on the first start.")
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        step = f"Give its owner the right to write, or name another folder in TALLYHUB_DATA_DIR ({error.strerror})."
        yield Check("data folder", "failed", f"{folder} cannot be written.", step)
        return
    open_to = [path for path in (folder, folder / TOML_NAME) if path.exists() and path.stat().st_mode & 0o007]
    if open_to:
        names = " and ".join(map(str, open_to))
        yield Check("data folder", "warning", f"{names} can be read by everybody.", f"Run: chmod o-rwx {names}")
        return
    yield Check("data folder", "ok", f"{folder} can be written.")


def _keys(settings: Settings) -> Iterator[Check]:
    if not settings.secret_keys:
        yield Check("secret keys", "ok", f"They are made on the first start, in {settings.key_file}.")
        return
    ids = ", ".join(key.partition(":")[0] for key in settings.secret_keys)
    origin = settings.origins.get("secret_keys", "default")
    if origin != "default":
        yield Check("secret keys", "ok", f"Given by the {origin}: {ids}.")
        return
    mode = stat.S_IMODE(settings.key_file.stat().st_mode)
    yield Check("secret keys", "ok", f"{settings.key_file} (mode {mode:04o}): {ids}. Keep a copy apart from backups.")


def _assets(_: Settings) -> Iterator[Check]:
    try:
        wanted = json.loads((_STATIC / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield Check("assets", "failed", "The front-end files are missing.", "Run: make assets")
        return
    if missing := [name for name in wanted if not (_STATIC / name).is_file()]:
        yield Check("assets", "failed", f"Front-end files are missing: {', '.join(missing)}.", "Run: make assets")
        return
    yield Check("assets", "ok", f"{len(wanted)} front-end files are in place.")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = next(each for each in (settings.data_dir, *settings.data_dir.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB are free in {folder}."
    step = "Make room: with a full disk nothing can be accepted any more."
    state: State = "failed" if free < _NO_DISK else "warning" if free < _LOW_DISK else "ok"
    yield Check("disk", state, said, "" if state == "ok" else step)


def _plugins(settings: Settings) -> Iterator[Check]:
    for plugin in plugins.load(settings.plugins).plugins:
        name = f"plugin {plugin.distribution}"
        if not plugin.allowed:
            yield Check(name, "warning", f"Version {plugin.version} is installed, but not in use.", plugin.error)
        elif plugin.error:
            step = "Install another version of it, or remove it."
            yield Check(name, "failed", f"Version {plugin.version} is broken: {plugin.error}", step)
        else:
            yield Check(name, "ok", f"Version {plugin.version} brings {', '.join(plugin.connectors) or 'nothing'}.")


# ---------------------------------------------------------------- beside it


def _database(settings: Settings) -> Iterator[Check]:
    database = Database(settings.database_url, pooled=False, busy_seconds=3.0)
    where = database.url.render_as_string(hide_password=True)
    try:
        if database.is_sqlite and not Path(database.url.database or "").exists():
            yield Check("database", "ok", f"{where} is made on the first start.")
            return
        revision = migrate.current(database)
        if revision is None:
            step = "Start with: hub up (or run: hub db upgrade)"
            yield Check("database", "warning", f"{where} answers; it has no tables yet.", step)
            return
        if not migrate.is_current(database):
            step = "Run: hub backup create, then: hub db upgrade"
            yield Check("database", "failed", f"{where} has the older schema {revision}.", step)
            return
        yield from _working_database(settings, database, where)
    except (HubError, DBAPIError) as error:
        step = "Check TALLYHUB_DATABASE_URL, and that the database runs and lets this user in."
        reason = str(error.orig).strip().splitlines()[0] if isinstance(error, DBAPIError) else str(error)
        yield Check("database", "failed", f"{where}: {reason}", step)
    finally:
        database.close()


def _working_database(settings: Settings, database: Database, where: str) -> Iterator[Check]:
    with database.write() as connection:  # takes the write lock, changes nothing
        connection.execute(text("delete from lease where name = 'no lease has this name'"))
        theirs = database.now(connection)
        apart = abs((datetime.now(UTC) - theirs).total_seconds())
        sealed = connection.execute(
            select(t.connection.c.label, t.connection.c.secrets).where(t.connection.c.secrets.is_not(None))
        ).all()
    yield Check("database", "ok", f"{where} can be written and has the newest schema.")
    if apart > _CLOCKS_MAY_DIFFER:
        step = "Let both machines take their time from a time server (NTP)."
        yield Check("clock", "warning", f"This machine's clock and the database's are {apart:.0f} s apart.", step)
    else:
        yield Check("clock", "ok", f"It is {theirs:%Y-%m-%d %H:%M:%S} UTC, here and at the database.")
    known = {key.partition(":")[0] for key in settings.secret_keys}
    for label, value in sealed:
        try:
            needed = key_id_of(value)
        except SecretsUnreadable as error:
            yield Check("stored secrets", "failed", f"{label}: {error}", "Reconnect this shop.")
            continue
        if needed not in known:
            step = "Put that key back from your copy, or reconnect the shop."
            yield Check("stored secrets", "failed", f"“{label}” needs the key {needed}, which is not there.", step)
    yield from _old_keys(settings, database)


def _old_keys(settings: Settings, database: Database) -> Iterator[Check]:
    """Only while there is more than one key: counting goes through all that is stored."""
    if len(settings.secret_keys) < 2:
        return
    with database.read() as connection:
        needed = rekeying.needing(connection, KeyRing(settings.secret_keys))
    for key_id, values in needed.items():
        if values:
            told = f"{values:,} stored values still need the key {key_id}."
            yield Check("old keys", "warning", told, "Run: hub keys rotate")
        else:
            yield Check("old keys", "ok", f"Nothing stored needs the key {key_id} any more: its line may be removed.")


def _redis(settings: Settings) -> Iterator[Check]:
    if settings.redis_mode == "none":
        yield Check("redis", "ok", "None: workers look for work every moment instead of being woken.")
        return
    if settings.redis_url is None:
        binary = find_redis_server()
        if binary is None:
            step = "Install valkey or redis, or set TALLYHUB_REDIS_URL (none to poll on purpose)."
            yield Check("redis", "warning", "There is no server to start: workers will poll.", step)
        else:
            yield Check("redis", "ok", f"hub up starts a private one: {binary}.")
        return
    try:
        client = redis.Redis.from_url(
            settings.redis_url, socket_timeout=3.0, socket_connect_timeout=3.0, retry=Retry(NoBackoff(), 0)
        )
        with client:
            client.ping()
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except (redis.RedisError, OSError, ValueError) as error:
        step = "Check TALLYHUB_REDIS_URL and that the server runs. Until then workers poll; nothing is lost."
        yield Check("redis", "warning", f"It does not answer: {error}", step)
        return
    if policy not in (None, "noeviction"):
        step = "Set maxmemory-policy to noeviction: an evicted wake-up only means that work starts later."
        yield Check("redis", "warning", f"It answers, but may forget things (maxmemory-policy {policy}).", step)
        return
    yield Check("redis", "ok", "It answers.")


def _public_address(settings: Settings, fetch: Callable[[str], int] | None = None) -> Iterator[Check]:
    address = settings.public_url
    if address is None:
        step = "Set TALLYHUB_PUBLIC_URL to the address shops can reach, so that orders arrive at once."
        yield Check("public address", "warning", "There is none: shops are asked for news every few seconds.", step)
        return
    parts = urlsplit(address)
    if parts.hostname in ("localhost", "127.0.0.1", "::1"):
        step = "Fine for a demo. For real shops, set TALLYHUB_PUBLIC_URL to an https address they can reach."
        yield Check("public address", "warning", f"{address} can be reached from this machine only.", step)
        return
    if parts.scheme != "https":
        step = "Put a reverse proxy with a certificate in front. Shopify sends webhooks to https addresses only."
        yield Check("public address", "warning", f"{address} is not encrypted.", step)
        return
    try:
        status = (fetch or _status_of)(f"{address}/healthz")
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        step = "Start the hub if it does not run; check the name, the proxy and the certificate if it does."
        yield Check("public address", "warning", f"{address} does not answer: {reason}.", step)
        return
    if status != 200:
        step = "Check that the proxy passes requests on to the hub's web server."
        yield Check("public address", "warning", f"{address}/healthz answers {status}, not 200.", step)
        return
    yield Check("public address", "ok", f"{address} leads here.")


def _status_of(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5.0) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
