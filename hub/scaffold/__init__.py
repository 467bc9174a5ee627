"""`hub connector new`: a complete distribution of a new connector, written from the templates in this folder.

The templates are the connector of an invented vendor, Acme, once for each kind. Every mention of Acme is replaced; what
stands there is code that runs, passes its tests and can be certified before anybody has changed a line.
"""

from __future__ import annotations

import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from hub.connector import Kind
from hub.errors import BadInput

_TEMPLATES = Path(__file__).parent
_SUFFIX = ".template"


def new_distribution(name: str, kind: Kind, into: Path, taken: Collection[str] = ()) -> Path:
    """Write the distribution of a connector ``name`` into a new folder below ``into``, and return that folder.

    ``taken`` are names of connectors that exist. Raises BadInput for a name that cannot be used, and for a folder that
    is there already; then nothing is written.
    """
    _check(name, taken)
    folder = into / name
    if folder.exists():
        raise BadInput(f"There is something at {folder} already. Choose another name, or another folder with --into.")
    try:
        into.mkdir(parents=True, exist_ok=True)
        # Written beside its place and then moved there: nobody finds half of it.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=into) as unfinished:
            made = Path(unfinished) / name
            for place, text in _files(name, kind):
                path = made / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            shutil.move(made, folder)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}. Choose another folder with --into.") from error
    return folder


def _check(name: str, taken: Collection[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,39}", name) or name.endswith("_") or "__" in name:
        raise BadInput(
            f"“{name}” cannot be the name of a connector. Use 2 to 40 lower-case letters, digits and single "
            "underscores, beginning with a letter, such as royal_mail."
        )
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in ("hub", "tallyhub"):
        raise BadInput(f"“{name}” has a meaning of its own in Python. Choose a name that only your vendor has.")
    if name in taken:
        raise BadInput(f"There is a connector “{name}” already. Choose another name.")


def _files(name: str, kind: Kind) -> Iterator[tuple[str, str]]:
    for folder in (_TEMPLATES / "all", _TEMPLATES / kind.value):
        for path in sorted(folder.rglob(f"*{_SUFFIX}")):
            place = path.relative_to(folder).as_posix().removesuffix(_SUFFIX)
            yield _renamed(place, name), _renamed(path.read_text(encoding="utf-8"), name)


def _renamed(text: str, name: str) -> str:
    """The text about the connector ``name`` instead of Acme."""
    words = name.split("_")
    dashed = "-".join(words)
    for acme, own in (
        ("tallyhub-acme", f"tallyhub-{dashed}"),
        ("api.acme.example", f"api.{dashed}.example"),
        ("//acme.example", f"//{dashed}.example"),
        ("x-acme-", f"x-{dashed}-"),
        ("X-Acme-", f"X-{dashed.title()}-"),
        ("hub_acme", f"hub_{name}"),
        ("test_acme", f"test_{name}"),
    ):
        text = text.replace(acme, own)
    text = re.sub(r"\bAcme(?=[A-Z])", "".join(word.capitalize() for word in words), text)
    text = re.sub(r"\bAcme\b", " ".join(word.capitalize() for word in words), text)
    return re.sub(r"\bacme\b", name, text)
