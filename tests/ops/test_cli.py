"""The command: what each part prints and with which code it ends; errors are sentences, never tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select, update

from hub.cli import main
from hub.config import load_settings
from hub.processes import only_one
from hub.store import accounts, migrate
from hub.store import tables as t
from hub.store.backup import manifest
from hub.store.database import Database
from hub.store.secrets import KeyRing
from tests.ops.shop import Shop

Run = Callable[..., Result]


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings for commands in this process and in others."""
    own = {"TALLYHUB_DATA_DIR": str(tmp_path / "hub"), "TALLYHUB_REDIS_URL": "none"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return own


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def invoke(*arguments: str | Path, **options: Any) -> Result:
        return CliRunner().invoke(main, [str(each) for each in arguments], **options)

    return invoke


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[Database]:
    """The database of a hub that was started before."""
    database = Database(load_settings(environ).database_url, pooled=False)
    migrate.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def shop(hub: Database, environ: dict[str, str]) -> Database:
    """The same with a merchant and an order in it."""
    with hub.write() as connection:
        Shop(connection, KeyRing(load_settings(environ).secret_keys))
    return hub


# ---------------------------------------------------------------- errors


def test_says_its_version(run: Run) -> None:
    result = run("-V")

    assert (result.exit_code, result.output) == (0, "hub, version 0.1.0\n")


@pytest.mark.parametrize(
    "command",
    ["", "up", "web", "worker", "demo", "db", "db upgrade", "db current", "backup", "backup create", "backup verify",
     "backup restore", "users", "users create", "users reset-password", "replay", "bundle", "connectors", "audit",
     "doctor", "config", "config show"],
)  # fmt: skip
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")

    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert len(result.output.splitlines()) > 4


def test_wrong_settings_are_a_usage_error_in_plain_sentences(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_PORT", "high")
    monkeypatch.setenv("TALLYHUB_HUM", "loud")

    result = run("audit")

    assert result.exit_code == 2
    assert result.output == (
        "Error: TALLYHUB_PORT must be a whole number from 1 to 65535.\nTALLYHUB_HUM is no setting of Tallyhub.\n"
    )


def test_a_database_that_is_away_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYHUB_DATABASE_URL", "postgresql://hub:canary@127.0.0.1:1/hub")

    for command in (["audit"], ["db", "upgrade"], ["db", "current"], ["backup", "create"]):
        result = run(*command)
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert "canary" not in result.output
        assert "Traceback" not in result.output


def test_a_database_without_tables_names_the_command_that_makes_them(run: Run) -> None:
    result = run("audit")

    assert result.exit_code == 1
    assert result.output == "Error: The database has no tables yet, or an older schema. Run: hub db upgrade\n"


# ---------------------------------------------------------------- the database


def test_upgrading_twice_is_harmless(run: Run) -> None:
    assert run("db", "current").exit_code == 1

    for _ in range(2):
        result = run("db", "upgrade")
        assert (result.exit_code, result.output) == (0, "The database has the newest schema.\n")

    result = run("db", "current")
    assert result.exit_code == 0
    assert result.output.endswith(" (newest)\n")


def test_a_newer_database_is_refused_everywhere(run: Run, hub: Database) -> None:
    with hub.write() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")

    for command in (["audit"], ["db", "upgrade"], ["db", "current"], ["up", "--port", "1"]):
        result = run(*command)
        assert result.exit_code == 1
        assert "upgraded by a newer Tallyhub" in result.output


def test_a_backup_goes_out_and_comes_back(run: Run, shop: Database, tmp_path: Path) -> None:
    result = run("backup", "create", tmp_path / "b.zip")
    assert result.exit_code == 0
    assert "activity: 1 rows" in result.stderr, "progress is told"
    assert "The secret keys are not in it." in result.stdout
    result = run("backup", "verify", tmp_path / "b.zip")
    assert result.exit_code == 0
    assert "which are not in the file" in result.stdout
    with shop.write() as connection:
        connection.execute(update(t.merchant).values(name="Somebody else"))

    refused = run("backup", "restore", tmp_path / "b.zip")
    assert refused.exit_code == 1
    assert "not empty" in refused.output
    result = run("backup", "restore", tmp_path / "b.zip", "--force-empty")

    assert result.exit_code == 0, result.output
    with shop.read() as connection:
        assert connection.execute(select(t.merchant.c.name)).scalar_one() == "Corner Shop"
    assert run("audit").exit_code == 0


def test_a_backup_without_a_name_lands_in_the_data_folder(run: Run, shop: Database, environ: dict[str, str]) -> None:
    assert run("backup", "create").exit_code == 0

    (made,) = Path(environ["TALLYHUB_DATA_DIR"], "backups").iterdir()
    assert made.name.startswith("tallyhub-")
    assert manifest(made).rows > 20


def test_a_new_machine_needs_the_keys_of_the_backup(
    run: Run, shop: Database, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = load_settings(environ).key_file.read_text()
    run("backup", "create", tmp_path / "without.zip")
    run("backup", "create", tmp_path / "with.zip", "--with-keys")
    key_id = keys.partition(":")[0]
    assert keys.partition(":")[2].strip().encode() not in (tmp_path / "without.zip").read_bytes()

    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(tmp_path / "second"))
    refused = run("backup", "restore", tmp_path / "without.zip")
    assert refused.exit_code == 1
    assert f"This backup needs the secret keys {key_id}." in refused.output
    assert not (tmp_path / "second" / "secret.keys").exists()

    result = run("backup", "restore", tmp_path / "with.zip")
    assert result.exit_code == 0, result.output
    brought = tmp_path / "second" / "secret.keys"
    assert brought.read_text() == keys
    assert brought.stat().st_mode & 0o777 == 0o600
    assert run("audit").exit_code == 0

    monkeypatch.setenv("TALLYHUB_DATA_DIR", str(tmp_path / "third"))
    assert run("backup", "restore", tmp_path / "without.zip", "--without-keys").exit_code == 0
    audit = json.loads(run("audit", "--json").stdout)
    assert {each["invariant"] for each in audit if each["count"]} == {"I17"}


def test_nothing_is_restored_under_a_running_hub(
    run: Run, shop: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    run("backup", "create", tmp_path / "b.zip")

    with only_one(Path(environ["TALLYHUB_DATA_DIR"])):
        result = run("backup", "restore", tmp_path / "b.zip", "--force-empty")

    assert result.exit_code == 1
    assert "Tallyhub runs already" in result.output


# ---------------------------------------------------------------- people


def test_the_first_person_makes_the_business(run: Run, hub: Database) -> None:
    arguments = ["users", "create", "--email", "ada@example.com", "--name", "Ada"]
    refused = run(*arguments, input="correct horse battery\n")
    assert refused.exit_code == 1
    assert "Name it with --merchant" in refused.output

    result = run(*arguments, "--merchant", "Corner Shop", input="correct horse battery\n")

    assert (result.exit_code, result.stdout) == (0, "ada@example.com can sign in.\n")
    assert accounts.authenticate(hub, "ada@example.com", "correct horse battery")
    with hub.read() as connection:
        assert connection.execute(select(t.merchant.c.name)).scalar_one() == "Corner Shop"
        assert connection.execute(select(t.membership.c.role)).scalar_one() == "owner"


def test_somebody_else_joins_the_only_business(run: Run, hub: Database) -> None:
    run("users", "create", "--email", "ada@example.com", "--merchant", "Corner Shop", input="correct horse battery\n")

    result = run("users", "create", "--email", "bob@example.com", "--role", "manager", input="staple battery horse\n")

    assert result.exit_code == 0, result.output
    with hub.read() as connection:
        roles = connection.execute(select(t.membership.c.role).order_by(t.membership.c.role)).scalars().all()
    assert roles == ["manager", "owner"]


def test_a_lost_second_factor_is_taken_by_the_operator(run: Run, hub: Database) -> None:
    run("users", "create", "--email", "ada@example.com", "--merchant", "Corner Shop", input="correct horse battery\n")
    with hub.write() as connection:
        now = hub.now(connection)
        connection.execute(update(t.user_account).values(totp_secret=b"sealed", totp_on_at=now))

    unknown = run("users", "reset-two-factor", "--email", "eve@example.com")
    result = run("users", "reset-two-factor", "--email", "Ada@example.com")

    assert (unknown.exit_code, "Nobody signs in as eve@example.com." in unknown.output) == (1, True)
    assert result.exit_code == 0, result.output
    with hub.read() as connection:
        row = connection.execute(select(t.user_account)).one()
        told = connection.execute(select(t.activity.c.actor).where(t.activity.c.kind == "two_factor_reset")).scalars()
        assert (row.totp_secret, row.totp_on_at, list(told)) == (None, None, ["operator"])


def test_with_several_businesses_one_must_be_named(run: Run, shop: Database) -> None:
    with shop.write() as connection:
        first = connection.execute(select(t.merchant)).one()
        connection.execute(
            insert(t.merchant).values(id=first.id.__class__(int=7), name="B", created_at=first.created_at)
        )

    result = run("users", "create", "--email", "bob@example.com", input="staple battery horse\n")

    assert result.exit_code == 1
    assert "one of “B”, “Corner Shop”" in result.output


def test_a_weak_password_is_refused_with_the_reason(run: Run, hub: Database) -> None:
    result = run("users", "create", "--email", "ada@example.com", "--merchant", "Corner Shop", input="short\n")

    assert result.exit_code == 1
    assert "Use at least 12 characters" in result.output
    assert "short" not in result.output


def test_a_password_is_reset(run: Run, hub: Database) -> None:
    run("users", "create", "--email", "ada@example.com", "--merchant", "Corner Shop", input="correct horse battery\n")

    result = run("users", "reset-password", "--email", "ada@example.com", input="staple battery horse\n")

    assert result.exit_code == 0
    assert accounts.authenticate(hub, "ada@example.com", "correct horse battery") is None
    assert accounts.authenticate(hub, "ada@example.com", "staple battery horse")
    unknown = run("users", "reset-password", "--email", "eve@example.com", input="staple battery horse\n")
    assert unknown.exit_code == 1
    assert "Nobody signs in as eve@example.com" in unknown.output


# ---------------------------------------------------------------- asking


def test_connectors_are_listed_by_name(run: Run) -> None:
    rows = json.loads(run("connectors", "--json").stdout)

    assert {row["name"]: (row["label"], row["plugin"], row["error"]) for row in rows} == {
        "amazon": ("Amazon", "tallyhub-amazon", ""),
        "amazon-mcf": ("Amazon Multi-Channel Fulfillment: FBA", "tallyhub-amazon", ""),
        "easypost": ("EasyPost", "tallyhub-carriers", ""),
        "sftp": ("SFTP with CSV files", "tallyhub-3pl", ""),
        "shipbob": ("ShipBob", "tallyhub-3pl", ""),
        "shopify": ("Shopify", "tallyhub-shopify", ""),
        "ups": ("UPS", "tallyhub-carriers", ""),
        "woocommerce": ("WooCommerce", "tallyhub-woocommerce", ""),
    }
    assert "Shopify, API version 2026-10 (tallyhub-shopify 0.1.0)" in run("connectors").stdout


def test_a_broken_plugin_is_listed_with_its_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, group = "etsy", "hub"
        dist = type("Dist", (), {"name": "tallyhub-etsy", "version": "2.0"})()

        def load(self) -> None:
            raise RuntimeError("no such module")

    monkeypatch.setattr("hub.plugins.entry_points", lambda group: [Broken()])
    monkeypatch.setenv("TALLYHUB_PLUGINS", "tallyhub-etsy")

    (row,) = json.loads(run("connectors", "--json").stdout)

    assert (row["name"], row["version"], row["error"]) == ("etsy", "2.0", "RuntimeError: no such module")


def test_the_audit_of_a_healthy_hub_is_clean(run: Run, shop: Database) -> None:
    result = run("audit")

    assert result.exit_code == 0
    assert all(line.endswith(": ok") for line in result.stdout.splitlines())
    rows = json.loads(run("audit", "--json").stdout)
    assert [each["count"] for each in rows] == [0] * len(rows)
    assert {"invariant", "title", "count", "examples"} == set(rows[0])


def test_the_audit_ends_with_one_when_an_invariant_is_broken(run: Run, shop: Database) -> None:
    with shop.write() as connection:
        connection.execute(update(t.sales_order).values(total_minor=1))

    result = run("audit")

    assert result.exit_code == 1
    assert "I12  The parts of every order add up to its total: 2" in result.stdout
    assert "hub audit --json" in result.stderr
    broken = [each for each in json.loads(run("audit", "--json").stdout) if each["count"]]
    assert [(each["invariant"], each["count"]) for each in broken] == [("I12", 2)]


def test_a_quiet_audit_counts_what_came_in_a_moment_ago(run: Run, shop: Database) -> None:
    with shop.write() as connection:
        connection.execute(update(t.inbox).values(state="pending", received_at=Database.now(connection)))

    assert run("audit").exit_code == 0
    assert run("audit", "--quiet").exit_code == 1


def test_the_doctor_ends_with_one_when_the_hub_could_not_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("doctor").exit_code == 0
    checks = json.loads(run("doctor", "--json").stdout)
    assert {"name", "state", "message", "next_step"} == set(checks[0])

    monkeypatch.setenv("TALLYHUB_DATABASE_URL", "postgresql://127.0.0.1:1/hub")
    result = run("doctor")
    assert result.exit_code == 1
    assert "failed  database: " in result.stdout


def test_settings_are_shown_without_secrets(run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    key = load_settings(environ).secret_keys[0]
    monkeypatch.setenv("TALLYHUB_DATABASE_URL", "postgresql://hub:canary@db.example/hub")

    for result in (run("config", "show"), run("config", "show", "--json")):
        assert result.exit_code == 0
        assert "postgresql://hub:***@db.example/hub" in result.stdout
        assert "canary" not in result.stdout
        assert key.partition(":")[2] not in result.stdout


# ---------------------------------------------------------------- as a program


def test_it_runs_as_a_program_and_respects_no_color(environ: dict[str, str], hub: Database) -> None:
    def output(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments], capture_output=True, text=True, env=dict(environ) | more
        )

    audited = output("audit", NO_COLOR="1")
    assert (audited.returncode, audited.stderr) == (0, "")
    assert "\x1b" not in audited.stdout

    wrong = output("audit", TALLYHUB_WORKERS="many")
    assert (wrong.returncode, wrong.stderr) == (2, "Error: TALLYHUB_WORKERS must be a whole number from 1 to 64.\n")

    unknown = output("sing")
    assert unknown.returncode == 2
    assert "No such command 'sing'" in unknown.stderr
