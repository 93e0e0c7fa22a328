"""Tables and numbers of the page, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows)


def spread(seconds: Sequence[float]) -> tuple[str, str]:
    """The median, and the least and the greatest."""
    return seconds_text(statistics.median(seconds)), f"{seconds_text(min(seconds))}, {seconds_text(max(seconds))}"


def times(ratio: float) -> str:
    return f"{ratio:.1f}"


def seconds_text(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"
