"""The doctor: it finds what is missing, says what to do, and leaves everything as it was."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from hub import doctor
from hub.config import load_settings, read_settings
from hub.doctor import Check, examine
from hub.store import migrate
from hub.store import tables as t
from hub.store.database import Database, new_id
from hub.store.secrets import KeyRing, new_key
from tests.ops.shop import NOON


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"TALLYHUB_DATA_DIR": str(tmp_path / "hub"), "TALLYHUB_REDIS_URL": "none", "PATH": os.environ["PATH"]}


def found(environ: dict[str, str], name: str) -> list[Check]:
    return [each for each in examine(environ) if each.name == name]


def started(environ: dict[str, str]) -> Database:
    database = Database(load_settings(environ).database_url)
    migrate.upgrade(database)
    return database


def test_a_fresh_machine_lacks_nothing_but_a_public_address(environ: dict[str, str]) -> None:
    checks = [each for each in examine(environ) if not each.name.startswith("plugin")]

    assert {each.name for each in checks if each.state != "ok"} == {"public address"}
    assert [each.name for each in checks] == [
        "python", "settings", "data folder", "secret keys", "database", "redis", "public address", "assets", "disk"
    ]  # fmt: skip
    assert not Path(environ["TALLYHUB_DATA_DIR"]).exists(), "the doctor makes nothing"


def test_a_hub_that_was_started_is_well(environ: dict[str, str]) -> None:
    started(environ).close()

    checks = {each.name: each for each in examine(environ)}

    assert checks["database"].state == "ok"
    assert checks["database"].message.endswith("can be written and has the newest schema.")
    assert checks["clock"].state == "ok"
    assert "mode 0600" in checks["secret keys"].message
    assert "stored secrets" not in checks


def test_every_problem_is_followed_by_what_to_do(environ: dict[str, str]) -> None:
    for each in examine(environ | {"TALLYHUB_REDIS_URL": "redis://127.0.0.1:1/0"}):
        assert each.state == "ok" or each.next_step, each


def test_bad_settings_are_told_one_by_one_and_nothing_else_is_tried(environ: dict[str, str]) -> None:
    checks = examine(environ | {"TALLYHUB_PORT": "high", "TALLYHUB_COLOR": "blue"})

    assert [(each.name, each.state) for each in checks] == [
        ("python", "ok"),
        ("settings", "failed"),
        ("settings", "failed"),
    ]
    assert checks[1].message == "TALLYHUB_PORT must be a whole number from 1 to 65535."


def test_a_database_without_tables_gets_them_on_the_first_start(environ: dict[str, str]) -> None:
    database = started(environ)
    with database.write() as connection:
        connection.execute(text("delete from alembic_version"))
    database.close()
    (check,) = found(environ, "database")
    assert (check.state, check.next_step) == ("warning", "Start with: hub up (or run: hub db upgrade)")


def test_a_newer_schema_is_not_touched(environ: dict[str, str]) -> None:
    database = started(environ)
    with database.write() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    database.close()

    (check,) = found(environ, "database")

    assert check.state == "failed"
    assert "newer Tallyhub" in check.message


def test_a_database_that_is_away_is_said_to_be_away_without_its_password(environ: dict[str, str]) -> None:
    url = "postgresql://hub:canary@127.0.0.1:1/hub"

    (check,) = found(environ | {"TALLYHUB_DATABASE_URL": url}, "database")

    assert check.state == "failed"
    assert "TALLYHUB_DATABASE_URL" in check.next_step
    assert "canary" not in str(check)


def test_a_secret_whose_key_is_gone_is_found(environ: dict[str, str]) -> None:
    database = started(environ)
    lost = KeyRing([new_key()])
    merchant_id = new_id()
    with database.write() as connection:
        connection.execute(insert(t.merchant).values(id=merchant_id, name="Corner Shop", created_at=NOON))
        shop = {"merchant_id": merchant_id, "connector": "x", "state": "connected", "settings": {}, "created_at": NOON}
        connection.execute(
            insert(t.connection).values(id=new_id(), label="Main", secrets=lost.encrypt(b"", ""), **shop)
        )
        connection.execute(insert(t.connection).values(id=new_id(), label="Plain", secrets=b"shpat", **shop))
    database.close()

    checks = found(environ, "stored secrets")

    assert [each.state for each in checks] == ["failed", "failed"]
    messages = sorted(each.message for each in checks)
    assert messages[0].startswith("Plain: A stored secret is not in the form the hub writes")
    assert messages[1] == f"“Main” needs the key {lost.key_ids[0]}, which is not there."


def test_a_folder_that_everybody_can_read_is_pointed_out(environ: dict[str, str]) -> None:
    settings = load_settings(environ)
    settings.data_dir.chmod(0o755)
    (check,) = found(environ, "data folder")
    assert (check.state, check.next_step) == ("warning", f"Run: chmod o-rwx {settings.data_dir}")

    settings.data_dir.chmod(0o700)
    (check,) = found(environ, "data folder")
    assert check.state == "ok"


def test_a_given_redis_that_does_not_answer_is_no_disaster(environ: dict[str, str]) -> None:
    (check,) = found(environ | {"TALLYHUB_REDIS_URL": "redis://127.0.0.1:1/0"}, "redis")

    assert check.state == "warning"
    assert "Until then workers poll; nothing is lost." in check.next_step


def test_without_any_server_workers_poll(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_redis_server", lambda: None)

    (check,) = found(environ | {"TALLYHUB_REDIS_URL": ""}, "redis")

    assert (check.state, check.message) == ("warning", "There is no server to start: workers will poll.")


def test_missing_front_end_files_are_named(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_STATIC", tmp_path)
    (check,) = found(environ, "assets")
    assert (check.state, check.next_step) == ("failed", "Run: make assets")

    (tmp_path / "manifest.json").write_text('{"here.js": {}, "gone.js": {}}')
    (tmp_path / "here.js").write_text("")
    (check,) = found(environ, "assets")
    assert check.message == "Front-end files are missing: gone.js."

    (tmp_path / "gone.js").write_text("")
    (check,) = found(environ, "assets")
    assert (check.state, check.message) == ("ok", "2 front-end files are in place.")


@pytest.mark.parametrize(("free", "state"), [(99 * 1024**2, "failed"), (500 * 1024**2, "warning"), (2 * 1024**3, "ok")])
def test_a_disk_that_fills_up_is_noticed(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    class Usage:
        pass

    usage = Usage()
    usage.free = free  # type: ignore[attr-defined]
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)

    (check,) = found(environ, "disk")

    assert check.state == state


def address_check(environ: dict[str, str], url: str, answer: int | OSError) -> Check:
    def fetch(asked: str) -> int:
        assert asked == f"{url}/healthz"
        if isinstance(answer, OSError):
            raise answer
        return answer

    settings = read_settings(environ | {"TALLYHUB_PUBLIC_URL": url})
    (check,) = doctor._public_address(settings, fetch)
    return check


def test_a_public_address_is_tried(environ: dict[str, str]) -> None:
    url = "https://hub.example.com"

    assert address_check(environ, url, 200) == Check("public address", "ok", f"{url} leads here.")
    assert address_check(environ, url, 502).message == f"{url}/healthz answers 502, not 200."
    away = address_check(environ, url, urllib.error.URLError("Name or service not known"))
    assert away.message == f"{url} does not answer: Name or service not known."
    assert "certificate" in away.next_step


def test_an_address_shops_cannot_use_is_pointed_out_without_trying_it(environ: dict[str, str]) -> None:
    refuse = AssertionError("nothing is asked")

    def fetch(_: str) -> int:
        raise refuse

    for url, said in (("http://127.0.0.1:8484", "from this machine only"), ("http://hub.example.com", "not encrypted")):
        (check,) = doctor._public_address(read_settings(environ | {"TALLYHUB_PUBLIC_URL": url}), fetch)
        assert check.state == "warning"
        assert said in check.message


def test_installed_plugins_are_listed(environ: dict[str, str]) -> None:
    names = {each.name: each for each in examine(environ) if each.name.startswith("plugin")}

    assert "shipbob" in names["plugin tallyhub-3pl"].message
    assert names["plugin tallyhub-shopify"].message.endswith("brings shopify.")
    assert names["plugin tallyhub-woocommerce"].message.endswith("brings woocommerce.")
