"""Settings: where each value may come from, which wins, and what is said about the ones that cannot be used."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hub.config import Settings, SettingsError, load_settings, read_settings, without_password

KEY = "first:" + base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = "second:" + base64.b64encode(bytes(32)).decode()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"TALLYHUB_DATA_DIR": str(tmp_path / "hub"), "HOME": str(tmp_path)}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    return caught.value.problems


def toml(environ: dict[str, str], text: str) -> Path:
    path = Path(environ["TALLYHUB_DATA_DIR"]) / "tallyhub.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_needs_no_setting_at_all(tmp_path: Path) -> None:
    settings = read_settings({"HOME": str(tmp_path)})

    assert settings.database_url == f"sqlite:///{settings.data_dir}/tallyhub.sqlite3"
    assert settings.data_dir.is_relative_to(tmp_path)
    assert (settings.redis_url, settings.redis_mode) == (None, "private")
    assert (settings.host, settings.port, settings.workers, settings.raw_days) == ("127.0.0.1", 8484, 2, 90)
    assert settings.public_url is None
    assert set(settings.origins.values()) == {"default"}


def test_the_data_folder_follows_the_desktop_standard(tmp_path: Path) -> None:
    settings = read_settings({"HOME": "/nowhere", "XDG_DATA_HOME": str(tmp_path)})

    assert settings.data_dir == tmp_path / "tallyhub"


def test_reading_settings_leaves_the_disk_alone(environ: dict[str, str]) -> None:
    assert read_settings(environ).secret_keys == ()
    assert not Path(environ["TALLYHUB_DATA_DIR"]).exists()


def test_the_first_start_makes_a_key_for_the_owner_alone(environ: dict[str, str]) -> None:
    first = load_settings(environ)
    second = load_settings(environ)

    (key,) = first.secret_keys
    assert len(base64.b64decode(key.partition(":")[2])) == 32
    assert second.secret_keys == first.secret_keys
    assert first.key_file.stat().st_mode & 0o777 == 0o600
    assert first.data_dir.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in first.data_dir.iterdir()] == ["secret.keys"]


def test_refuses_a_key_file_that_others_can_read(environ: dict[str, str]) -> None:
    path = load_settings(environ).key_file
    path.chmod(0o640)

    (problem,) = problems(environ)
    assert problem.startswith(f"{path} can be read by others (its mode is 0640): run chmod 600 on it.")

    path.chmod(0o600)
    assert len(read_settings(environ).secret_keys) == 1


def test_an_emptied_key_file_is_never_replaced_by_a_new_key(environ: dict[str, str]) -> None:
    path = load_settings(environ).key_file
    path.write_text("")

    assert problems(environ) == (f"{path} is empty: it must hold at least one key.",)


def test_given_keys_need_no_key_file(environ: dict[str, str]) -> None:
    settings = load_settings(environ | {"TALLYHUB_SECRET_KEYS": f"{KEY}\n{OTHER_KEY}\n"})

    assert settings.secret_keys == (KEY, OTHER_KEY)
    assert not settings.key_file.exists()


@pytest.mark.parametrize(
    "keys",
    ["no-colon", "id:not base64", "id:" + base64.b64encode(b"short").decode(), "a b:" + KEY.partition(":")[2], ":"],
)
def test_a_bad_key_is_not_repeated_in_the_message(environ: dict[str, str], keys: str) -> None:
    (problem,) = problems(environ | {"TALLYHUB_SECRET_KEYS": keys})

    assert problem == (
        "TALLYHUB_SECRET_KEYS must be keys of the form id:base64 of 32 bytes, one per line; one of them is not."
    )


def test_two_keys_with_one_id_are_refused(environ: dict[str, str]) -> None:
    assert problems(environ | {"TALLYHUB_SECRET_KEYS": f"{KEY} {KEY}"}) == (
        "TALLYHUB_SECRET_KEYS has two keys with the same id.",
    )


def test_the_environment_wins_over_the_file(environ: dict[str, str]) -> None:
    toml(environ, 'port = 9000\nworkers = 4\nplugins = ["tallyhub-etsy", "tallyhub-ebay==1.2"]\n')

    settings = read_settings(environ | {"TALLYHUB_PORT": "9001"})

    assert (settings.port, settings.workers) == (9001, 4)
    assert settings.plugins == ("tallyhub-etsy", "tallyhub-ebay==1.2")
    assert settings.origins["port"] == "environment"
    assert settings.origins["workers"] == "tallyhub.toml"


def test_a_value_may_lie_in_a_file_of_its_own(environ: dict[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "database-url"
    secret.write_text("postgres://hub:pass@db.example/hub\n")

    settings = read_settings(environ | {"TALLYHUB_DATABASE_URL_FILE": str(secret)})

    assert settings.database_url == "postgresql://hub:pass@db.example/hub"
    assert settings.origins["database_url"] == "environment file"


def test_a_value_and_its_file_contradict_each_other(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "port").write_text("1")

    assert problems(environ | {"TALLYHUB_PORT": "1", "TALLYHUB_PORT_FILE": str(tmp_path / "port")}) == (
        "TALLYHUB_PORT and TALLYHUB_PORT_FILE are both set: keep one of them.",
    )


def test_a_file_that_is_not_there_is_named(environ: dict[str, str]) -> None:
    assert problems(environ | {"TALLYHUB_REDIS_URL_FILE": "/nowhere/redis"}) == (
        "TALLYHUB_REDIS_URL_FILE names /nowhere/redis, which cannot be read: No such file or directory.",
    )


def test_an_empty_value_is_as_good_as_none(environ: dict[str, str]) -> None:
    settings = read_settings(environ | {"TALLYHUB_REDIS_URL": "", "TALLYHUB_PUBLIC_URL": " "})

    assert settings.redis_mode == "private"
    assert settings.public_url is None


def test_redis_none_means_polling(environ: dict[str, str]) -> None:
    settings = read_settings(environ | {"TALLYHUB_REDIS_URL": "none"})

    assert (settings.redis_url, settings.redis_mode) == (None, "none")


def test_a_redis_of_ones_own_is_given(environ: dict[str, str]) -> None:
    settings = read_settings(environ | {"TALLYHUB_REDIS_URL": "rediss://cache.example/0"})

    assert (settings.redis_url, settings.redis_mode) == ("rediss://cache.example/0", "given")


def test_every_problem_is_told_at_once(environ: dict[str, str]) -> None:
    path = toml(environ, 'workers = "many"\ncolor = "blue"\ndata_dir = "/elsewhere"\n')
    bad = {
        "TALLYHUB_PORT": "70000",
        "TALLYHUB_DATBASE_URL": "x",
        "TALLYHUB_DATABASE_URL": "mysql://x",
        "TALLYHUB_REDIS_URL": "localhost",
        "TALLYHUB_PUBLIC_URL": "hub.example.com",
        "TALLYHUB_PRIVATE_NETWORKS": "10.0.0.0/8, 300.1.1.1",
        "TALLYHUB_ROUTES": "https://shop.example",
        "TALLYHUB_LOG_LEVEL": "loud",
    }

    assert set(problems(environ | bad)) == {
        "TALLYHUB_PORT must be a whole number from 1 to 65535.",
        "TALLYHUB_DATBASE_URL is no setting of Tallyhub. Did you mean TALLYHUB_DATABASE_URL?",
        "TALLYHUB_DATABASE_URL must begin with postgresql:// or sqlite:/// (an SQLAlchemy address).",
        "TALLYHUB_REDIS_URL must begin with redis://, rediss:// or unix://, or be none (workers then poll).",
        "TALLYHUB_PUBLIC_URL must be the address shops reach the hub at, such as https://hub.example.com.",
        "TALLYHUB_PRIVATE_NETWORKS has '300.1.1.1', which is not a network such as 192.168.1.0/24.",
        "TALLYHUB_ROUTES has '', which is not an origin such as https://shop.example.",
        "TALLYHUB_LOG_LEVEL must be debug, info, warning or error.",
        f"workers in {path} must be a whole number from 1 to 64.",
        f"color in {path} is no setting of Tallyhub.",
        f"data_dir cannot stand in {path}, which lies in it: set TALLYHUB_DATA_DIR.",
    }


def test_a_broken_file_is_said_to_be_broken(environ: dict[str, str]) -> None:
    path = toml(environ, "port = \n")

    (problem,) = problems(environ)
    assert problem.startswith(f"{path} is not a TOML file: ")


def test_a_database_in_memory_is_refused_because_processes_cannot_share_it(environ: dict[str, str]) -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        (problem,) = problems(environ | {"TALLYHUB_DATABASE_URL": url})
        assert "in memory" in problem


def test_routes_lead_one_origin_to_another(environ: dict[str, str]) -> None:
    routes = "https://Demo.myshopify.com=http://127.0.0.1:9000, https://woo.example/=http://127.0.0.1:9001"

    assert read_settings(environ | {"TALLYHUB_ROUTES": routes}).routes == {
        "https://demo.myshopify.com": "http://127.0.0.1:9000",
        "https://woo.example": "http://127.0.0.1:9001",
    }


def test_routes_in_the_file_are_a_table(environ: dict[str, str]) -> None:
    toml(environ, '[routes]\n"https://woo.example" = "http://127.0.0.1:9001"\n')

    assert read_settings(environ).routes == {"https://woo.example": "http://127.0.0.1:9001"}


def test_what_kubernetes_adds_to_the_environment_is_no_setting(environ: dict[str, str]) -> None:
    links = {
        "TALLYHUB_PORT": "tcp://10.0.0.7:80",
        "TALLYHUB_SERVICE_HOST": "10.0.0.7",
        "TALLYHUB_SERVICE_PORT": "80",
        "TALLYHUB_PORT_80_TCP_ADDR": "10.0.0.7",
        "TALLYHUB_WEB_PORT": "tcp://10.0.0.8:80",
    }

    assert read_settings(environ | links).port == 8484


def test_passwords_and_keys_never_reach_a_screen(environ: dict[str, str]) -> None:
    settings = read_settings(
        environ
        | {
            "TALLYHUB_DATABASE_URL": "postgresql://hub:canary-1@db.example:5432/hub",
            "TALLYHUB_REDIS_URL": "redis://:canary-2@cache.example/0",
            "TALLYHUB_SECRET_KEYS": KEY,
        }
    )

    shown = {name: value for name, value, _ in settings.shown()}
    assert shown["database_url"] == "postgresql://hub:***@db.example:5432/hub"
    assert shown["redis_url"] == "redis://:***@cache.example/0"
    assert shown["secret_keys"] == "first:…"
    for text in (repr(settings), str(settings.shown())):
        assert "canary" not in text
        assert KEY.partition(":")[2] not in text


def test_a_password_in_the_query_is_hidden_too() -> None:
    assert (
        without_password("postgresql://db/hub?user=hub&password=canary") == "postgresql://db/hub?user=hub&password=***"
    )


def test_an_address_without_a_password_is_left_as_it_is() -> None:
    assert without_password("sqlite:////var/lib/hub.sqlite3") == "sqlite:////var/lib/hub.sqlite3"
    assert without_password("postgresql://db/hub?user=hub") == "postgresql://db/hub?user=hub"


def test_settings_can_be_built_by_hand(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/a", secret_keys=(KEY,))

    assert (settings.redis_mode, settings.workers) == ("none", 2)
