"""Tables and numbers of the page, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.summaries import Result

QUIET, OTHERS = 0.25, 0.05
"""Load a core, and the share of the processors, from which on the page says that others were using the machine."""


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


def where(result: Result) -> str:
    """When and on what machine a part was measured, and whether others used it."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = machine["load_before"]
    busy = "" if load < QUIET * machine["cores"] else f" **The machine was busy: load {load:.1f} before the start.**"
    if "others" in machine:  # measured while the part ran, which says more
        others = machine["others"]
        busy = "" if others < OTHERS else f" **The machine was busy: others used {others:.0%} of it meanwhile.**"
    rounds = f" {result['rounds']} rounds." if "rounds" in result else ""
    return (
        f"*{result['date']}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['system']}.{rounds} {versions}.*{busy}"
    )
