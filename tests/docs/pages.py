"""Markdown pages as the tests of the documentation see them: fenced blocks, headings, links, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^( *)```([\w.-]*)\s*$")
_LABEL = re.compile(r"^ *<!-- ([^ ]+) -->$")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``label`` is the comment right before it, such as the file that it shows."""

    language: str
    text: str
    label: str
    line: int


@dataclass(frozen=True)
class Section:
    """A heading with everything beneath it up to the next heading of its level or above."""

    level: int
    title: str
    text: str


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def _parted(self) -> tuple[list[Block], list[str]]:
        """The fenced blocks, and the lines outside them; a fenced line is left as an empty one."""
        blocks: list[Block] = []
        prose: list[str] = []
        inside: list[str] | None = None
        indent, language, label, start = "", "", "", 0
        for number, line in enumerate(self.text.splitlines(), start=1):
            fence = _FENCE.match(line)
            if inside is None and fence:
                before = next((each for each in reversed(prose) if each.strip()), "")
                found = _LABEL.match(before)
                inside, indent, language, start = [], fence[1], fence[2], number
                label = found[1] if found else ""
                prose.append("")
            elif inside is not None and fence and not fence[2]:
                blocks.append(Block(language, "\n".join(inside) + "\n", label, start))
                inside = None
                prose.append("")
            elif inside is not None:
                inside.append(line.removeprefix(indent))
                prose.append("")
            else:
                prose.append(line)
        assert inside is None, f"{self}:{start}: this block never ends"
        return blocks, prose

    @property
    def blocks(self) -> list[Block]:
        return self._parted[0]

    @property
    def prose(self) -> list[str]:
        return self._parted[1]

    @cached_property
    def sections(self) -> list[Section]:
        lines = self.text.splitlines()
        marks = [
            (number, len(found[1]), found[2])
            for number, line in enumerate(self.prose)
            if (found := _HEADING.match(line))
        ]
        sections = []
        for index, (number, level, title) in enumerate(marks):
            end = next((later for later, other, _ in marks[index + 1 :] if other <= level), len(lines))
            sections.append(Section(level, title, "\n".join(lines[number + 1 : end])))
        return sections

    def section(self, title: str) -> Section:
        found = [each for each in self.sections if each.title == title]
        assert len(found) == 1, f"{self} has {len(found)} sections “{title}”."
        return found[0]

    @cached_property
    def anchors(self) -> set[str]:
        """What a link to a heading of this page may end in, by the rule of the usual viewers."""
        seen: dict[str, int] = {}
        anchors = set()
        for section in self.sections:
            plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", section.title)
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            anchors.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
            seen[slug] = seen.get(slug, 0) + 1
        return anchors

    def links(self) -> Iterator[tuple[int, bool, str]]:
        """(line, is an image, target) of every link outside code."""
        for number, line in enumerate(self.prose, start=1):
            for found in _LINK.finditer(re.sub(r"`[^`]*`", lambda code: "x" * len(code[0]), line)):
                # The target is taken from the line as it is: the code that was masked may be the link's own text.
                yield number, found[1] == "!", line[found.start(3) : found.end(3)]

    def tables(self) -> Iterator[list[dict[str, str]]]:
        """Every table as rows by column title."""
        lines = self.prose
        for number, line in enumerate(lines[:-1]):
            if line.startswith("|") and re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", lines[number + 1]):
                titles = _cells(line)
                rows = []
                for row in lines[number + 2 :]:
                    if not row.startswith("|"):
                        break
                    cells = _cells(row)
                    assert len(cells) == len(titles), f"{self}: a row has {len(cells)} cells, not {len(titles)}: {row}"
                    rows.append(dict(zip(titles, cells, strict=True)))
                yield rows


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def all_pages() -> list[Page]:
    """Every page of the documentation, and those at the root of the repository and beside the connectors."""
    paths = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("connectors/*/README.md")]
    return [Page(path) for path in sorted(paths)]
