"""What `hub connector new` writes, written once per process for each kind, and imported."""

from __future__ import annotations

import atexit
import importlib
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hub.certify import Outcome, contract_for, try_case
from hub.connector import Connector, Kind
from hub.scaffold import new_distribution

NAMES = {Kind.CHANNEL: "written_channel", Kind.CARRIER: "written_carrier", Kind.PROVIDER: "written_provider"}


@cache
def folder(kind: Kind) -> Path:
    """The folder of the distribution, on the path of this process from now on."""
    into = Path(tempfile.mkdtemp(prefix="tallyhub-written-"))
    atexit.register(shutil.rmtree, into, ignore_errors=True)
    made = new_distribution(NAMES[kind], kind, into)
    sys.path.append(str(made))
    return made


def module(kind: Kind, name: str) -> ModuleType:
    """A module of its package."""
    folder(kind)
    return importlib.import_module(f"hub_{NAMES[kind]}.{name}")


def connector(kind: Kind) -> Any:
    """Its connector class."""
    return next(
        each
        for each in vars(module(kind, "connector")).values()
        if isinstance(each, type) and issubclass(each, Connector) and each.__module__.startswith("hub_written")
    )


def simulator(kind: Kind) -> Any:
    """Its simulator class."""
    found = module(kind, "simulator")
    return next(each for name, each in vars(found).items() if name.startswith("Written") and name.endswith("Simulator"))


def tried(case: str, of: type[Connector], vendor: Any = None) -> Outcome:
    """What becomes of one case of the contract."""
    contract = contract_for(of)
    return try_case(contract, contract.cases[case], of, vendor or simulator(of.kind))
