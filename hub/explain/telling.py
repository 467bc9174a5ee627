"""Explanations as text for a terminal: sentences with the depth at which each stands."""

from __future__ import annotations

from collections.abc import Iterator

from hub.explain.findings import LineExplained, OrderExplained, Verdict
from hub.explain.stock import StockExplained
from hub.explain.words import moment, units


def of_stock(found: StockExplained) -> Iterator[tuple[int, str]]:
    """The story of a SKU."""
    yield 0, f"{found.sku}: {found.title}" if found.title else found.sku
    if found.made_of:
        yield 1, "A kit of " + ", ".join(f"{count} {code}" for code, count in found.made_of) + "."
    for balance in found.balances:
        aside = f", {balance.set_aside} set aside" if balance.set_aside else ""
        coming = f", {balance.incoming} on the way here" if balance.incoming else ""
        kept = f", safety stock {balance.safety_stock}" if balance.safety_stock else ""
        yield (
            1,
            f"{balance.location}: {balance.on_hand} on hand, {balance.allocated} allocated{aside}, "
            f"{balance.available} available{kept}{coming} (ledger line {balance.entries}).",
        )
    if not found.balances and not found.made_of:
        yield 1, "Not counted yet: adopt its opening stock from a shop, or count it."
    if found.waiting:
        yield 1, f"Orders wait for {units(found.waiting)} more."
    yield 0, ""
    yield 0, "What the shops show"
    if not found.shops:
        yield 1, "No listing that the hub could write to is matched to this SKU."
    for shop in found.shops:
        place = f" at {shop.place}" if shop.place else ""
        yield 1, f"{shop.shop}, “{shop.listing}”{place}: {shop.sentence}"
        for step in shop.steps:
            yield 2, step
    yield 0, ""
    yield 0, f"What happened since {moment(found.since)} UTC"
    if found.cut:
        yield 1, f"Only the last {len(found.happenings)} are shown; ask for a later beginning with --since."
    if not found.happenings:
        yield 1, "Nothing."
    for happening in found.happenings:
        yield 1, f"{moment(happening.at)}  {happening.sentence}"


def of_order(found: OrderExplained) -> Iterator[tuple[int, str]]:
    """Why an order was, or was not, oversold."""
    yield 0, found.sentence
    placed = f"placed at {moment(found.placed_at)} UTC by the clock of {found.shop}" if found.placed_at else "not dated"
    heard = f", first heard of at {moment(found.heard_at)} by {found.heard_by}" if found.heard_at else ""
    yield 0, f"Order {found.number} ({found.shop}): {placed}{heard}, here since {moment(found.imported_at)}."
    for line in found.lines:
        yield 0, ""
        yield 0, f"{line.sku or 'No SKU'}, {units(line.quantity)} of “{line.title}”"
        yield from _of_line(line)


def _of_line(line: LineExplained) -> Iterator[tuple[int, str]]:
    yield 1, line.sentence
    if line.reasons:
        yield 1, f"Why: {line.reasons[0].sentence}"
        if line.reasons[0].prevention:
            yield 2, f"Next time: {line.reasons[0].prevention}"
        for other in line.reasons[1:]:
            yield 1, f"Also: {other.sentence}"
            if other.prevention:
                yield 2, f"Next time: {other.prevention}"
    if line.won:
        yield 1, "Who got them:" if line.verdict is not Verdict.ALLOWED else "Who got what there was:"
    for winner in line.won:
        who = f"order {winner.number} ({winner.shop})" if winner.number else winner.what
        placed = f", placed at {moment(winner.placed_at)}" if winner.placed_at else ""
        heard = f", heard of at {moment(winner.heard_at)} by {winner.heard_by}" if winner.heard_at else ""
        yield (
            2,
            f"{who}: {units(winner.units)}{placed}{heard}, at {moment(winner.at)} by ledger line {winner.entry} of "
            f"{winner.location}.",
        )
    if line.shown:
        yield 1, f"At the moment of the sale, {moment(line.shown.at)}: {line.shown.sentence}"
    for sentence in line.unknown:
        yield 1, f"Not known: {sentence}"
