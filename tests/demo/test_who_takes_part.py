"""Who takes part in the demo: our own simulators in their order, as far as they are installed with what they need."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

import pytest

from hub import demo, plugins
from hub.demo.show import Show
from hub.errors import HubError


@pytest.fixture
def ending() -> ExitStack:
    return ExitStack()


def open_street(ending: ExitStack) -> tuple[list[str], list[str], list[str]]:
    """The names of the shops, carriers and 3PLs that take part."""
    with ending:
        street = demo._open_street(demo.Plan(), Show(interactive=False), ending)
        return (
            [each.name for each in street.shops],
            [each.name for each in street.carriers],
            [each.name for each in street.warehouses],
        )


def lacking(point: EntryPoint, *missing: str) -> EntryPoint:
    """The entry point of a package whose extra asks for more than there is."""
    requires = [*(point.dist.requires or ()), *(f'{name}>=1; extra == "simulator"' for name in missing)]  # type: ignore[union-attr]
    dist = SimpleNamespace(name=point.dist.name, requires=requires)  # type: ignore[union-attr]
    return point._for(dist)  # type: ignore[attr-defined,no-any-return]


def installed(monkeypatch: pytest.MonkeyPatch, **missing: str) -> None:
    """Let the extras of these simulators' packages ask for what nobody has."""
    found = [
        lacking(each, missing[each.name]) if each.name in missing else each
        for each in entry_points(group="hub.simulators")
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)


def test_everybody_has_a_place(ending: ExitStack) -> None:
    assert open_street(ending) == (["shopify", "woocommerce", "amazon"], ["easypost", "ups"], ["shipbob"])


def test_it_goes_on_without_amazon_where_its_queue_cannot_be_made(
    ending: ExitStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch, amazon="a-queue-of-nobodys")
    shops, _, _ = open_street(ending)
    assert shops == ["shopify", "woocommerce"]
    assert capsys.readouterr().out == (
        "Without amazon: a-queue-of-nobodys is missing. Install tallyhub-amazon[simulator].\n"
    )


def test_one_shop_is_too_few(ending: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, amazon="a-queue-of-nobodys", shopify="nothing-like-it")
    with pytest.raises(HubError, match=r"^The demo needs two simulated shops: install tallyhub\[all\]"):
        open_street(ending)
