"""Numbers and measures in words: points, percent and nats with their signs, intervals, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.analysis import difference_tables
from harness.analysis.comparison import Comparison
from harness.analysis.differences import Finding
from harness.analysis.legend import counted, what_is_repeated
from harness.analysis.rows import Row
from harness.analysis.settings import headings, sortable
from harness.analysis.statistics import ALPHA, Interval

SPLITS = {"val": "validation", "test": "test", "train": "training"}


def by_size(value: str) -> tuple[int, float, str]:
    """What values of a setting are sorted by: numbers by size and before words, `[128]` as 128."""
    return sortable(value[1:-1] if value.startswith("[") and value.endswith("]") else value)


def label(settings: Mapping[str, str]) -> str:
    """What tells a row apart, in words; a number says of which setting it is: `cnn width=64`."""
    short = headings(tuple(settings))
    parts = [value if by_size(value)[0] else f"{short[key]}={value}" for key, value in settings.items()]
    return " ".join(parts) or "all runs"


def split_of(measure: str) -> str:
    """The split in a score's name, in a word: `gap_val_loss` is of validation."""
    return next(word for split, word in SPLITS.items() if split in measure.split("_"))


def measure_in_words(measure: str) -> str:
    """`gap of accuracy on test`, `accuracy on validation`."""
    quantity = "loss" if measure.endswith("_loss") else "accuracy"
    what = f"gap of {quantity}" if measure.startswith("gap_") else quantity
    return f"{what} on {split_of(measure)}"


def amount(measure: str, value: float, decimals: int | None = None) -> str:
    """A gap or a difference with its sign, without its unit: points, or nats of a loss."""
    if not math.isfinite(value):
        return "not a number"
    scale, usual = (1, 3) if measure.endswith("_loss") else (100, 1)
    return f"{scale * value:+z.{usual if decimals is None else decimals}f}"


def unit(measure: str) -> str:
    """The unit of gaps and differences of a measure."""
    return "nats" if measure.endswith("_loss") else "points"


def from_to(measure: str, interval: Interval, decimals: int | None = None) -> str:
    """`+0.5 to +1.2`."""
    return f"{amount(measure, interval.low, decimals)} to {amount(measure, interval.high, decimals)}"


def intervals_in_words(
    measure: str, interval: Interval, wider: Interval | None, decimals: int | None = None
) -> list[str]:
    """`95 % interval +0.5 to +1.2` over seeds, `with other images +0.3 to +1.4` where that is known."""
    words = [f"95 % interval {from_to(measure, interval, decimals)}"]
    if wider is not None:
        ends = from_to(measure, wider, decimals)
        same = words[0].endswith(f" {ends}")
        words.append("the same with other images" if same else f"with other images {ends}")
    return words


def difference_in_words(finding: Finding, comparison: Comparison, *, n: bool = True) -> str:
    """`+0.87 points (95 % interval +0.52 to +1.22, with other images +0.31 to +1.43, n=6 pairs, p = 0.004)`, p
    corrected, on request without n.

    Where the setting was changed in several configurations and the difference does not go the same way in all of them,
    that is said; so is a claim that holds on these images only.
    """
    difference = finding.difference
    assert difference is not None
    decimals = 4 if finding.measure.endswith("_loss") else 2
    parts = []
    if difference.interval is not None:
        wider = finding.wider_interval if difference.testable else None
        parts += intervals_in_words(finding.measure, difference.interval, wider, decimals)
    if n:
        parts.append(count_in_words(finding))
    if difference.testable:
        parts.append(f"p {p_value(finding.corrected)}")
    if finding.agreeing < finding.contexts:
        parts.append(f"this sign in {finding.agreeing} of {finding.contexts} configurations")
    if holds_here_only(finding):
        parts.append(f"not shown beyond {these_images(comparison)}")
    size = f"{amount(finding.measure, difference.mean, decimals)} {unit(finding.measure)}"
    return f"{size} ({', '.join(parts)})" if parts else size


def count_in_words(finding: Finding) -> str:
    """`n=6 pairs of equal seed`, `n=5 and 3 seeds, not paired`; of the effect of a setting `n=5 seeds`."""
    difference = finding.difference
    assert difference is not None
    what = "draw" if finding.over_draws else "seed"
    if finding.contexts:
        return f"n={counted(difference.n, what)}"
    if difference.kind != "welch":
        return f"n={counted(difference.n, 'pair')} of equal {what}"
    return f"n={difference.n} and {difference.n_baseline} {what}s, not paired"


def is_shown(finding: Finding) -> bool:
    """Whether a difference is claimed."""
    return finding.difference is not None and finding.difference.testable and finding.corrected < ALPHA


def holds_here_only(finding: Finding) -> bool:
    """Whether a difference is claimed which other images might not show."""
    wider = finding.wider_interval
    return is_shown(finding) and wider is not None and wider.low <= 0 <= wider.high


def these_images(comparison: Comparison) -> str:
    """`these 2,000 validation images`, without the number where it is not the same for all runs, or not known."""
    name = f"data/{comparison.held_out}_images"
    counts = {run.metrics.get(name) for row in comparison.rows for run in row.finished_runs}
    count = counts.pop() if len(counts) == 1 else None
    return f"these {'' if count is None else f'{count:,.0f} '}{comparison.images_in_words}"


def p_value(p: float) -> str:
    """`= 0.031`, `< 0.001`."""
    text = difference_tables.p_value(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def gap_in_words(row: Row, comparison: Comparison, quantity: str = "accuracy") -> str:
    """`+2.5 points (95 % interval +1.7 to +3.3, n=2 seeds)` of a row that has a gap."""
    measure = f"gap_{comparison.held_out}_{quantity}"
    score = row.scores[measure]
    inside = [f"n={counted(score.n, 'draw' if row.over_draws else 'seed')}"]
    if score.interval is not None:
        inside = [*intervals_in_words(measure, score.interval, score.wider), *inside]
    elif score.n == 1:
        inside.append("no interval")
    return f"{amount(measure, score.mean)} {unit(measure)} ({', '.join(inside)})"


def seeds_in_words(comparison: Comparison) -> str:
    """How many replicates a row has: `5 seeds each`, `2 to 5 draws`."""
    counts, what = sorted({row.replicates for row in comparison.rows if row.finished}), what_is_repeated(comparison)
    if not counts:
        return "no finished run"
    if len(counts) == 1:
        return f"one {what} each" if counts[0] == 1 else f"{counts[0]} {what}s each"
    return f"{counts[0]} to {counts[-1]} {what}s"
