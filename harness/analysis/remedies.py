"""What was tried against overfitting, on one scale: the accuracy that a smaller gap brings or costs.

For each remedy of a study (`harness.analysis.studies.Remedy`) the runs are paired by seed. With x the points of gap
removed and y the points of test accuracy gained, the scale is y / x: positive where the remedy makes the network more
accurate, zero where it is free, negative where a smaller gap is paid with accuracy (-0.5: half a point of accuracy for
each point of gap, so two points of gap per point of accuracy). Its 95 % interval is Fieller's (1954, "Some problems in
interval estimation", JRSS B 16), which allows for x and y of one seed being correlated. It is bounded just where the
gap is shown to differ; so remedies that are not shown to make the gap smaller are not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.contrasts import Difference, paired_difference
from harness.analysis.measures import amount, from_to
from harness.analysis.statistics import Interval, t_quantile
from harness.analysis.studies import Outcome, Remedy, StudyRow, find_row
from harness.tabular import Table

GAP, ACCURACY = "final/gap_test_accuracy", "final/test_accuracy"
HEADINGS = (
    "", "remedy", "study", "gap, points", "95 % interval", "test accuracy, points", "95 % interval",
    "accuracy per point of gap", "95 % interval", "gap per point of accuracy",
)  # fmt: skip
LEGEND = (
    "Rows are in the order of accuracy per point of gap: points of test accuracy gained (+) or lost (-) for each point "
    "of gap removed, with Fieller's interval. gap per point of accuracy: the same the other way round, the points of "
    "gap removed for each point of accuracy that is paid; free: the mean accuracy is not lower. Rows without a rank "
    "are not shown to make the gap smaller. All intervals are over seeds, each for itself: neighbours in this order "
    "may well change places. Studies differ in data, network and length of training: compare within a study first."
)


@dataclass(frozen=True)
class Tried:
    """A remedy of a study with its effects. `ratio` is accuracy gained per gap removed, with its interval; both are
    None where the gap is not shown to be smaller."""

    study: str
    remedy: Remedy
    gap: Difference
    accuracy: Difference
    ratio: float | None = None
    interval: Interval | None = None


def tried(outcomes: Sequence[Outcome]) -> list[Tried]:
    """Every remedy that has runs, the best first; those that are not ranked last."""
    found = [one for of in outcomes for remedy in of.study.remedies if (one := _tried(of, remedy)) is not None]
    return sorted(found, key=lambda one: (one.ratio is None, -(one.ratio or 0.0)))


def _tried(of: Outcome, remedy: Remedy) -> Tried | None:
    row, baseline = find_row(of.rows, remedy.row), find_row(of.rows, remedy.baseline)
    if row is None or baseline is None:
        return None
    (gap, less), (accuracy, more) = (_paired(row, baseline, measure) for measure in (GAP, ACCURACY))
    if gap is None or accuracy is None:
        return None
    shown = gap.interval is not None and gap.interval.high < 0
    if not shown:
        return Tried(of.study.name, remedy, gap, accuracy)
    return Tried(of.study.name, remedy, gap, accuracy, accuracy.mean / -gap.mean, fieller([-x for x in less], more))


def _paired(row: StudyRow, baseline: StudyRow, measure: str) -> tuple[Difference | None, list[float]]:
    own, other = row.values(measure), baseline.values(measure)
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None, []
    values, others = [own[seed] for seed in seeds], [other[seed] for seed in seeds]
    return paired_difference(values, others), [a - b for a, b in zip(values, others, strict=True)]


def fieller(denominators: Sequence[float], numerators: Sequence[float]) -> Interval | None:
    """Fieller's 95 % interval of mean(numerators) / mean(denominators), paired; None if it is not bounded.

    Example:
        >>> tuple(round(end, 2) for end in fieller([2.0, 2.2, 1.8], [1.0, 1.1, 0.9]))
        (0.5, 0.5)
    """
    n, x, y = len(denominators), float(np.mean(denominators)), float(np.mean(numerators))
    if n < 2:
        return None
    covariance = np.cov(denominators, numerators, ddof=1)
    reach = t_quantile(n - 1) ** 2 / n
    a, b, c = x**2 - reach * covariance[0, 0], x * y - reach * covariance[0, 1], y**2 - reach * covariance[1, 1]
    if a <= 0:
        return None
    half = math.sqrt(max(0.0, b**2 - a * c))
    return Interval(float((b - half) / a), float((b + half) / a))


def table(found: Sequence[Tried]) -> Table:
    """The ranking; see `LEGEND`."""
    rows = []
    for place, one in enumerate(found, start=1):
        ratio = "" if one.ratio is None else f"{one.ratio:+.2f}"
        interval = "" if one.interval is None else f"{one.interval.low:+.2f} to {one.interval.high:+.2f}"
        paid = "" if one.ratio is None else "free" if one.ratio >= 0 else f"{-1 / one.ratio:.1f}"
        rows.append((
            "" if one.ratio is None else str(place), one.remedy.name, one.study,
            amount(GAP, one.gap.mean), from_to(GAP, one.gap.interval),
            amount(ACCURACY, one.accuracy.mean), from_to(ACCURACY, one.accuracy.interval), ratio, interval, paid,
        ))  # fmt: skip
    return Table("", HEADINGS, rows, "rll")


def as_data(found: Sequence[Tried]) -> list[dict[str, Any]]:
    """The ranking for JSON; fractions, not points."""
    return [
        {
            "remedy": one.remedy.name, "study": one.study, "accuracy_per_gap": one.ratio, "interval": one.interval,
            "gap": one.gap.mean, "gap_interval": one.gap.interval,
            "accuracy": one.accuracy.mean, "accuracy_interval": one.accuracy.interval,
        }
        for one in found
    ]  # fmt: skip


def page(found: Sequence[Tried]) -> str:
    """The ranking as a page of Markdown."""
    return "\n\n".join(["# What was tried against overfitting", LEGEND, table(found).markdown()]) + "\n"
