"""Every page: links and pictures lead somewhere, code can be parsed, the README's commands exist."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from tests.docs.pages import DOCS, ROOT, Page, all_pages

PAGES = all_pages()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def _each_page(test: object) -> object:
    return pytest.mark.parametrize("page", PAGES, ids=str)(test)  # type: ignore[type-var]


@_each_page
def test_every_relative_link_and_picture_leads_somewhere(page: Page) -> None:
    broken = []
    for line, _, target in page.links():
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / unquote(name)).resolve() if name else page.path
        if not path.exists():
            broken.append(f"{page}:{line}: {target} does not exist")
        elif anchor and path.suffix == ".md" and anchor not in Page(path).anchors:
            broken.append(f"{page}:{line}: {name or page} has no heading #{anchor}")
    assert broken == []


@_each_page
def test_every_picture_says_what_it_shows(page: Page) -> None:
    text = "\n".join(page.prose)
    assert re.findall(r"!\[\s*\]\([^)]*\)", text) == []


@_each_page
def test_python_and_toml_can_be_parsed(page: Page) -> None:
    import tomllib

    for block in page.blocks:
        if block.language == "python":
            try:
                ast.parse(textwrap.dedent(block.text))
            except SyntaxError as error:
                pytest.fail(f"{page}:{block.line + (error.lineno or 0)}: {error.msg}")
        elif block.language == "toml":
            tomllib.loads(block.text)


@_each_page
def test_every_make_task_that_a_page_names_exists(page: Page) -> None:
    spans = re.findall(r"`(make [^`]+)`", "\n".join(page.prose))
    lines = [line for block in page.blocks if block.language == "sh" for line in block.text.splitlines()]
    named = {found[1] for text in [*spans, *lines] if (found := re.search(r"(?:^|\s)make ([a-z][a-z-]*)", text))}
    assert named <= TARGETS, f"{page} names tasks that the Makefile does not have: {sorted(named - TARGETS)}"


@_each_page
def test_every_page_of_the_documentation_is_linked_from_another(page: Page) -> None:
    if not page.path.is_relative_to(DOCS) or page.path.is_relative_to(DOCS / "examples"):
        return
    linked = {
        (other.path.parent / unquote(target.partition("#")[0])).resolve()
        for other in PAGES
        if other.path != page.path
        for _, _, target in other.links()
        if not re.match(r"[a-z]+:", target)
    }
    assert page.path in linked, f"Nobody can find {page}."


def test_the_readme_begins_with_two_commands() -> None:
    readme = Page(ROOT / "README.md")
    commands = [block.text.strip() for block in readme.blocks if block.language == "sh"]
    assert commands[:2] == ["make demo", "make test"]
    assert {"demo", "test"} <= TARGETS


def test_no_page_repeats_a_figure_that_is_still_to_be_measured() -> None:
    """Figures come from bench/results.json; a page that waits for one says so and is not to be published."""
    waiting = [f"{page}: {found}" for page in PAGES for found in re.findall(r"TO BE MEASURED", page.text)]
    assert waiting == []


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_drawings_carry_text_that_a_screen_reader_can_read(path: Path) -> None:
    space = "{http://www.w3.org/2000/svg}"
    root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
    title, description = root.find(f"{space}title"), root.find(f"{space}desc")

    assert root.get("viewBox")
    assert root.get("role") == "img"
    assert title is not None and title.text
    assert description is not None and description.text
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert root.findall(f".//{space}text"), "The words are text, not outlines."
    assert root.findall(f".//{space}image") == [], "Nothing is loaded from elsewhere."


def test_every_picture_of_the_hub_is_one_that_the_screenshots_make() -> None:
    program = ast.parse((ROOT / "tools" / "screenshots.py").read_text())
    drawn = {
        call.args[0].value
        for call in ast.walk(program)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "Picture"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    used = {Path(target).stem for page in PAGES for _, image, target in page.links() if image and "images/" in target}

    assert "home" in drawn
    assert used - drawn == set()
