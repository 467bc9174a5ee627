"""The page of settings says what the code says: every setting, its default, its bounds."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hub.config import _SETTINGS, PREFIX, SettingsError, load_settings, read_settings
from hub.store.secrets import KeyRing
from tests.docs.pages import DOCS, Page, all_pages

PAGE = Page(DOCS / "operators" / "configuration.md")
(ROWS,) = [rows for rows in PAGE.tables() if "Setting" in rows[0]]
WRITTEN = {row["Setting"].strip("`"): row for row in ROWS}


def _name(setting: str) -> str:
    return f"{PREFIX}{setting.upper()}"


def test_every_setting_is_on_the_page_and_no_other() -> None:
    assert set(WRITTEN) == {_name(setting) for setting in _SETTINGS}


@pytest.mark.parametrize("setting", sorted(set(_SETTINGS) - {"data_dir"}))
def test_defaults_are_those_of_the_code(setting: str, tmp_path: Path) -> None:
    defaults = read_settings({"TALLYHUB_DATA_DIR": str(tmp_path)})
    value = defaults.key_file if setting == "secret_keys" else getattr(defaults, setting)
    if isinstance(value, bool):
        value = "on" if value else "off"
    empty = "(not set)" if value is None else "(none)"

    written = str(value).replace(str(tmp_path), "<data folder>")

    assert WRITTEN[_name(setting)]["Default"] == (f"`{written}`" if value not in (None, (), {}) else empty)


def test_the_data_folder_is_where_the_page_says(tmp_path: Path) -> None:
    row = WRITTEN["TALLYHUB_DATA_DIR"]

    assert row["Default"] == "`~/.local/share/tallyhub`"
    assert read_settings({"XDG_DATA_HOME": str(tmp_path)}).data_dir == tmp_path / "tallyhub"
    assert "`$XDG_DATA_HOME/tallyhub`" in row["Meaning"]


@pytest.mark.parametrize("setting", sorted(_SETTINGS))
def test_the_bounds_of_numbers_are_those_of_the_code(setting: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({"TALLYHUB_DATA_DIR": str(tmp_path), _name(setting): "-", f"{_name(setting)}_FILE": "-"})

    bounds = re.search(r"must be a whole number (from [0-9]+ to [0-9]+)\.", str(refused.value))
    if bounds:
        assert bounds[1] in WRITTEN[_name(setting)]["Meaning"]
    else:
        assert not re.search(r"from [0-9]+ to [0-9]+", WRITTEN[_name(setting)]["Meaning"])


def test_a_setting_is_found_in_the_order_the_page_gives(tmp_path: Path) -> None:
    (tmp_path / "tallyhub.toml").write_text("workers = 3\n")
    (tmp_path / "workers").write_text("4\n")
    toml = {"TALLYHUB_DATA_DIR": str(tmp_path)}
    file = toml | {"TALLYHUB_WORKERS_FILE": str(tmp_path / "workers")}

    assert [read_settings(environ).workers for environ in (toml, file, toml | {"TALLYHUB_WORKERS": "5"})] == [3, 4, 5]


def test_the_example_file_can_be_used(tmp_path: Path) -> None:
    (example,) = [block.text for block in PAGE.blocks if block.language == "toml"]
    (tmp_path / "tallyhub.toml").write_text(example)

    settings = read_settings({"TALLYHUB_DATA_DIR": str(tmp_path)})

    assert (settings.public_url, settings.workers, dict(settings.routes)) == ("https://hub.example.com", 4, {})


def test_a_new_key_is_put_before_the_old_ones_as_the_page_tells(tmp_path: Path) -> None:
    """Every command of the page is run as it stands, in the folder of the keys."""
    old = load_settings({"TALLYHUB_DATA_DIR": str(tmp_path)}).secret_keys
    page = Page(DOCS / "operators" / "running.md")
    (commands,) = re.findall(r"```sh\n(.*?)```", page.section("Keys").text, re.DOTALL)

    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, check=True, timeout=30)

    new = read_settings({"TALLYHUB_DATA_DIR": str(tmp_path)}).secret_keys
    assert [key.partition(":")[0] for key in new] == ["k2", *(key.partition(":")[0] for key in old)]
    sealed = KeyRing(old).encrypt(b"kept", "place")
    assert KeyRing(new).decrypt(sealed, "place") == b"kept"


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {_name(setting) + suffix for setting in _SETTINGS for suffix in ("", "_FILE")}
    known |= {"TALLYHUB_TEST_DATABASE_URL", "TALLYHUB_SPECS", "TALLYHUB_FIXTURES", "TALLYHUB_SERVICE_HOST"}
    known |= {"TALLYHUB_VERSION", "TALLYHUB_PUBLISHED_PORT"}  # of deploy/compose.yaml alone
    unknown = {
        f"{page}: {name}"
        for page in all_pages()
        for name in re.findall(r"\bTALLYHUB_[A-Z_]+[A-Z]\b", page.text)
        if name not in known
    }
    assert unknown == set()
