"""Plugins that are not ours: listed without being imported, tried out before they are believed, shown as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from hub import certificates, plugins
from hub.cli import main
from hub.connector import Connector
from hub.plugins import Plugin, Registry
from hub.store import migrate
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.queries import catalogue
from hub_shopify.connector import ShopifyConnector

Install = Callable[..., str]

GOOD = """
import hub, marshmallow, pathlib

pathlib.Path(__file__).with_name("imported").touch()

class Settings(marshmallow.Schema):
    pass

class Good(hub.SalesChannel):
    name = {name!r}
    label = "Good"
    settings_schema = Settings
    hosts = check = fetch_orders = fetch_order = fetch_listings = fetch_listing = lambda *_: None
    read_order = read_listing = read_stock = push_stock = lambda *_: None
    {more}

@hub.hookimpl
def register_connectors(register):
    register(Good)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(name, code)`` leaves a distribution ``tallyhub-<name>`` as pip would; returns its name.

    Without code it is a good connector of that name, with ``more`` in its class. It marks in a file that it was
    imported.
    """
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)

    def install(name: str, code: str | None = None, *, more: str = "pass") -> str:
        package = site / f"hub_{name}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(GOOD.format(name=name, more=more) if code is None else code)
        about = site / f"tallyhub_{name}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tallyhub-{name}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(f"[hub]\n{name} = hub_{name}\n")
        return f"tallyhub-{name}"

    return install


def found(registry: Registry, name: str) -> Plugin:
    (plugin,) = [each for each in registry.plugins if each.name == name]
    return plugin


# ---------------------------------------------------------------- never imported


def test_a_plugin_that_may_not_load_is_listed_from_its_metadata_and_never_imported(
    install: Install, tmp_path: Path
) -> None:
    distribution = install("stranger")
    trace = tmp_path / "site" / "hub_stranger" / "imported"

    for allowed in ([], ["tallyhub-somebody"], ["tallyhub-stranger==1.3"]):
        registry = plugins.load(allowed)
        plugin = found(registry, "stranger")
        assert (plugin.distribution, plugin.version, plugin.allowed, plugin.connectors) == (
            distribution,
            "1.2",
            False,
            (),
        )
        assert "stranger" not in registry.connectors
    assert not trace.exists()
    assert "hub_stranger" not in sys.modules

    assert "stranger" in plugins.load([distribution]).connectors
    assert trace.exists(), "importing it would have left this"


def test_a_refused_plugin_is_not_imported_by_the_commands_that_list_it(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("stranger")
    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(tmp_path / "data"))

    rows = json.loads(CliRunner().invoke(main, ["connectors", "--json"]).stdout)
    CliRunner().invoke(main, ["doctor"])

    (row,) = [each for each in rows if each["name"] == "stranger"]
    assert (row["state"], row["plugin"], row["version"], row["hosts"]) == ("refused", "tallyhub-stranger", "1.2", [])
    assert row["error"].startswith("Not loaded: add tallyhub-stranger to TALLYHUB_PLUGINS if you trust it.")
    assert not (tmp_path / "site" / "hub_stranger" / "imported").exists()
    assert not (tmp_path / "data").exists(), "listing makes nothing"


# ---------------------------------------------------------------- tried out

BROKEN = {
    "raise ValueError('boom')": "ValueError: boom",
    "class E(BaseException):\n    def __str__(self): raise E\n    __repr__ = __str__\nraise E": "E: it cannot say what",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "import os; os._exit(0)": "Importing it ended its process.",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "Importing it ended its process (SIGSEGV).",
    "import time; time.sleep(600)": "Importing it took longer than 0.5 seconds.",
    "import ctypes; ctypes.PyDLL(None).sleep(600)": "Importing it took longer than 0.5 seconds.",
    "raise ValueError('x' * 10**7)": "ValueError: xxxxxx",
    "import hub\n@hub.hookimpl\ndef register_connectors(register): raise SystemExit(7)": "SystemExit: 7",
    "import hub\n@hub.hookimpl\ndef register_connectors(register): register(int)": "TypeError: <class 'int'> is not a",
    "import hub\n@hub.hookimpl\ndef register_connectors(register): register(hub.SalesChannel)": "does not implement",
    "import hub\n@hub.hookimpl\ndef no_such_hook(): pass": "unknown hook 'no_such_hook'",
}


@pytest.mark.parametrize("code", sorted(BROKEN))
def test_a_plugin_that_breaks_at_import_is_listed_with_the_reason_and_the_others_load(
    install: Install, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(plugins, "IMPORT_SECONDS", 0.5 if "sleep" in code else 20.0)
    allowed = [install("bad", code), install("good")] if "sleep" not in code else [install("bad", code)]

    registry = plugins.load(allowed)

    plugin = found(registry, "bad")
    assert BROKEN[code] in plugin.error
    assert (plugin.allowed, plugin.connectors, len(plugin.error) <= 500) == (True, (), True)
    assert {"shopify", "woocommerce"} <= set(registry.connectors)
    assert ("good" in registry.connectors) == (len(allowed) == 2)


def test_a_plugin_that_crashes_leaves_no_stack_in_anybodys_log(install: Install, tmp_path: Path) -> None:
    program = (
        "import faulthandler, sys\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from hub import plugins\n"
        f"faulthandler.enable(open({str(tmp_path / 'log')!r}, 'w'))\n"
        f"registry = plugins.load([{install('bad', next(code for code in BROKEN if 'SIGSEGV' in code))!r}])\n"
        "print([each.error for each in registry.plugins if each.name == 'bad'], faulthandler.is_enabled())"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("['Importing it ended its process (SIGSEGV).'] True\n", "")
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("name = 'Not A Name'", "ValueError: 'Not A Name' is not a connector name"),
        ("name = 7", "ValueError: 7 is not a connector name"),
        ("name = 'shopify'", "The connector name “shopify” is taken by another plugin."),
        ("label = None", "Good.label is not a text."),
        ("label = ''", "Good.label is not a text."),
        ("api_version_ends = '2030-01-01'", "Good.api_version_ends is not a date or None."),
        ("settings_schema = dict", "Good.settings_schema is not a marshmallow schema."),
        ("capabilities = {'webhooks': True}", "Good.capabilities is not its kind's Capabilities."),
        ("effects = {'refund': 'lookup'}", "Good.effects is not a mapping of names to Settlement."),
        ("rate_budget = 5", "Good.rate_budget is not a RateBudget that allows something, or None."),
        ("raw_days = 0", "Good.raw_days is not a number of days or None."),
    ],
)
def test_a_connector_that_describes_itself_with_nonsense_is_refused(install: Install, more: str, reason: str) -> None:
    plugin = found(plugins.load([install("zebra", more=more)]), "zebra")

    assert reason in plugin.error


def test_of_two_plugins_with_one_name_the_first_has_it(install: Install) -> None:
    allowed = [install("aaa", more="name = 'same'"), install("bbb", more="name = 'same'")]

    registry = plugins.load(allowed)

    assert registry.connectors["same"].__module__ == "hub_aaa"
    assert found(registry, "bbb").error == "ValueError: The connector name “same” is taken by another plugin."


# ---------------------------------------------------------------- how they are listed

TODAY = date(2026, 11, 22)


def connector(**attributes: Any) -> type[Connector]:
    told: dict[str, Any] = {"name": "acme", "label": "Acme", "api_version": "2", "hosts": lambda settings: ()}
    return type("Acme", (ShopifyConnector,), told | attributes)


def one(
    acme: type[Connector],
    *,
    settings: list[dict[str, Any]] | None = None,
    graded: dict[str, certificates.Certificate] | None = None,
) -> catalogue.Listed:
    registry = Registry({"acme": acme}, (Plugin("acme", "tallyhub-acme", "1.2", ("acme",)),))
    (row,) = catalogue.listed(registry, graded or {}, {"acme": settings or []}, {}, TODAY)
    return row


@pytest.mark.parametrize(
    ("ends", "warning"),
    [
        (None, ""),
        (TODAY + timedelta(days=91), ""),
        (TODAY + timedelta(days=90), "Its vendor serves API version 2 until 2027-02-20. Update the package before."),
        (TODAY, "Its vendor has not served API version 2 since 2026-11-22. Update the package."),
    ],
)
def test_the_end_of_an_api_version_is_warned_of_in_time(ends: date | None, warning: str) -> None:
    row = one(connector(api_version_ends=ends))

    assert (row.api_version_ends, row.warning) == (ends, warning)


def test_the_hosts_are_those_of_its_connections() -> None:
    def hosts(settings: dict[str, str]) -> list[str]:
        return [f"https://{settings['shop']}.example", "https://api.acme.example"]

    acme = connector(hosts=staticmethod(hosts))

    assert one(acme).hosts == ("the host in its settings",)
    assert one(acme, settings=[{"shop": "b"}, {"shop": "a"}, {}]).hosts == (
        "https://a.example",
        "https://api.acme.example",
        "https://b.example",
        "the host in its settings",
    )


def test_a_grade_says_to_which_version_it_was_given() -> None:
    acme = connector()
    grade = certificates.Certificate("acme", "gold", datetime(2026, 11, 1, tzinfo=UTC), {"tallyhub-acme": "1.1"})

    assert (one(acme).grade, one(acme).graded_version) == ("", "")
    assert (one(acme, graded={"acme": grade}).grade, one(acme, graded={"acme": grade}).graded_version) == (
        "gold",
        "1.1",
    )


def test_the_command_tells_all_that_is_known(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TALLYHUB_PLUGINS", install("acme", more="api_version, api_version_ends = '9', "
                                                   "__import__('datetime').date(2020, 1, 1)"))  # fmt: skip
    install("stranger")
    (tmp_path / "data").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'data' / 'tallyhub.sqlite3'}", pooled=False)
    migrate.upgrade(database)
    at = datetime(2026, 11, 22, 4, 5, tzinfo=UTC)
    merchant, shop = new_id(), new_id()
    with database.write() as connection:
        connection.execute(insert(t.merchant).values(id=merchant, name="Corner Shop", created_at=at))
        connection.execute(
            insert(t.connection).values(
                merchant_id=merchant, id=shop, connector="acme", label="Tea Street", state="connected", settings={},
                created_at=at,
            )
        )  # fmt: skip
        for kind, minutes in (("connector_broke_down", 0), ("unreachable", 5), ("unmatched_listing", 9)):
            connection.execute(
                insert(t.issue).values(
                    merchant_id=merchant, id=new_id(), kind=kind, subject="1", connection_id=shop, title=kind,
                    opened_at=at, last_seen_at=at + timedelta(minutes=minutes),
                )
            )  # fmt: skip
    database.close()

    told = CliRunner().invoke(main, ["connectors"]).stdout
    rows = json.loads(CliRunner().invoke(main, ["connectors", "--json"]).stdout)

    assert (
        "acme             Good, API version 9 (tallyhub-acme 1.2)\n"
        "                 channel, not certified; talks to the host in its settings\n"
        "                 can: webhooks\n"
        "                 Its vendor has not served API version 9 since 2020-01-01. Update the package.\n"
        "                 failed last on 2026-11-22 04:10 UTC at Tea Street: unreachable\n"
    ) in told
    assert told.splitlines()[-1].startswith("stranger         Not loaded: add tallyhub-stranger")
    (acme,) = [row for row in rows if row["name"] == "acme"]
    assert acme["last_failure"] == {
        "at": "2026-11-22 04:10:00+00:00",
        "connection_label": "Tea Street",
        "title": "unreachable",
    }
    assert (acme["kind"], acme["state"], acme["capabilities"]) == ("channel", "loaded", ["webhooks"])
