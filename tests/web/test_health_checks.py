"""Health: a process that lives, and a process that can do its work, told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hub.app import create_app
from hub.jobs import Hub
from hub.store import migrate
from hub.store.database import Database
from tests.servers import RedisServer
from tests.web.shop_builder import hub_on, replaced


def ask(hub: Hub, path: str) -> tuple[int, Any]:
    answer = create_app(hub).test_client().get(path, base_url="http://localhost")
    return answer.status_code, answer.json


@pytest.fixture
def migrated(database: Database, tmp_path: Path) -> Hub:
    with database.write() as db:
        migrate_marks = "create table if not exists alembic_version (version_num varchar(32) primary key)"
        db.execute(text(migrate_marks))
        db.execute(text("delete from alembic_version"))
        head = migrate._scripts(migrate._config()).get_current_head()
        db.execute(text("insert into alembic_version values (:head)"), {"head": head})
    return hub_on(database, tmp_path)


def test_a_hub_with_everything_it_needs_is_ready(migrated: Hub) -> None:
    assert ask(migrated, "/healthz") == (200, {"status": "ok"})
    assert ask(migrated, "/readyz") == (200, {"status": "ready"})


def test_an_old_schema_is_named_with_the_command_that_mends_it(migrated: Hub) -> None:
    with migrated.database.write() as db:
        db.execute(text("delete from alembic_version"))

    status, answer = ask(migrated, "/readyz")

    assert status == 503
    assert answer["problems"] == {"database": "The database has an older schema. Run: hub db upgrade"}


def test_a_newer_schema_is_named_too(migrated: Hub) -> None:
    with migrated.database.write() as db:
        db.execute(text("update alembic_version set version_num = '9999_from_the_future'"))

    status, answer = ask(migrated, "/readyz")

    assert status == 503
    assert "9999_from_the_future" in answer["problems"]["database"]


def test_a_database_that_is_away_is_said_plainly_and_the_process_still_lives(tmp_path: Path) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none", pooled=False)
    hub = hub_on(away, tmp_path)

    assert ask(hub, "/healthz") == (200, {"status": "ok"})
    status, answer = ask(hub, "/readyz")
    assert status == 503
    assert "cannot be reached" in answer["problems"]["database"]
    page = create_app(hub).test_client().get("/sign-in", base_url="http://localhost", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "The database cannot be reached" in page.text and "Request number" in page.text


def test_redis_is_needed_only_where_it_is_configured(migrated: Hub, redis_server: RedisServer) -> None:
    with_redis = replaced(migrated, redis_url=redis_server.url)
    assert ask(with_redis, "/readyz") == (200, {"status": "ready"})

    redis_server.stop()

    status, answer = ask(with_redis, "/readyz")
    assert status == 503
    assert answer["problems"] == {
        "redis": "Redis does not answer (ConnectionError). Workers poll meanwhile; nothing is lost."
    }
    assert ask(migrated, "/readyz")[0] == 200

    redis_server.start()
    assert ask(with_redis, "/readyz") == (200, {"status": "ready"})
