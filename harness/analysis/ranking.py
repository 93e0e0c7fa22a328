"""The ranking of rows: the accuracy floor (underfit), the Pareto front, collapsed runs, and sorting.

A model that has learnt nothing has no gap either. So only rows with a sufficient held-out accuracy are ranked by their
gap; the others are listed below them as underfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from harness.analysis.rows import MeanScore, Row
from harness.analysis.settings import headings, sortable
from harness.errors import RequestError, suggestion
from harness.records import FloatArray

COUNT = "n"
"""The column that counts replicates."""

WITHIN = 0.02
"""How far the mean accuracy of a row may be below the best held-out accuracy and still be ranked, as a fraction. With a
larger loss of accuracy, a small gap is no advantage."""

RESAMPLES = 500
"""The number of resamples for the share that says how certain a place on the front is."""

COLLAPSED = 0.05
"""A run has collapsed if its accuracy lies so far below the median of its row (a fraction), ..."""
COLLAPSED_DEVIATIONS = 6.0
"""... and by so many standard deviations, estimated from the runs of all rows around their medians."""

_ROUNDING = 1e-12
_CHUNK = 4_000_000  # resampled means held at once


@dataclass(frozen=True)
class Demand:
    """The held-out accuracy that a row must reach to be ranked by its gap: at least `minimum`, and no more than
    `within` below the best row's. Fractions; None demands nothing."""

    minimum: float | None = None
    within: float | None = WITHIN

    def floor(self, accuracies: Iterable[float]) -> float | None:
        """The lowest sufficient accuracy, given the accuracies of all rows (NaN: unknown); None if there is no
        demand."""
        known = [accuracy for accuracy in accuracies if not math.isnan(accuracy)]
        limits = [] if self.minimum is None else [self.minimum]
        if self.within is not None and known:
            limits.append(max(known) - self.within)
        return max(limits, default=None)


def is_underfit(accuracy: float, floor: float | None) -> bool:
    """Whether an accuracy is known and below the floor."""
    return floor is not None and accuracy < floor - _ROUNDING


def pareto_front(accuracies: Sequence[float], gaps: Sequence[float]) -> list[bool]:
    """Whether each row is on the Pareto front: no other row is better in accuracy or gap and at least as good in both.

    Rows with a missing value (NaN) are not on the front; equal rows are on it together.
    """
    front = [False] * len(gaps)
    best = math.inf
    known = [place for place in range(len(gaps)) if not math.isnan(accuracies[place] + gaps[place])]
    previous = math.nan
    for place in sorted(known, key=lambda place: (-accuracies[place], gaps[place])):
        same = accuracies[place] == previous and gaps[place] == best
        front[place] = gaps[place] < best or same
        if gaps[place] < best:
            best, previous = gaps[place], accuracies[place]
    return front


def front_shares(accuracies: Sequence[Mapping[str, float]], gaps: Sequence[Mapping[str, float]]) -> list[float]:
    """The share of bootstrap resamples over replicates in which each row is on the Pareto front; NaN for rows with one
    replicate, and for all rows if no other row has two.

    Replicates (the keys) are resampled together for all rows, which preserves their common random effects. Means of
    resamples of n values spread too little by sqrt((n - 1) / n), which is corrected.
    """
    counts = [len(values) for values in accuracies]
    if len(counts) < 2 or max(counts) < 2:
        return [math.nan] * len(counts)
    units = list(dict.fromkeys(unit for values in accuracies for unit in values))
    accuracy, gap = (_table(values, units) for values in (accuracies, gaps))
    chosen = np.random.default_rng(0).multinomial(len(units), np.full(len(units), 1 / len(units)), size=RESAMPLES)
    on_front = np.zeros(len(counts))
    step = max(1, _CHUNK // len(counts))
    for start in range(0, RESAMPLES, step):
        weights = chosen[start : start + step].astype(np.float64)
        on_front += _fronts(_resampled(accuracy, weights), _resampled(gap, weights)).sum(axis=0)
    shares = on_front / RESAMPLES
    return [float(share) if n > 1 else math.nan for share, n in zip(shares, counts, strict=True)]


def _table(values: Sequence[Mapping[str, float]], units: Sequence[str]) -> FloatArray:
    """The values as an array (rows, units), NaN if a row lacks the unit."""
    return np.array([[row.get(unit, math.nan) for unit in units] for row in values])


def _resampled(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The means of resamples (resamples, rows); if none of a row's units was drawn, the mean of the row."""
    known = np.isfinite(values)
    filled, counts = np.where(known, values, 0.0), known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=1) / counts
        drawn = (weights @ filled.T) / (weights @ known.T.astype(np.float64))
        spread = np.sqrt(counts / (counts - 1))
        moved = means + np.where(counts > 1, spread, 0.0) * (np.where(np.isfinite(drawn), drawn, means) - means)
    return np.asarray(np.where(np.isfinite(moved), moved, means))


def _fronts(accuracies: FloatArray, gaps: FloatArray) -> FloatArray:
    """Which rows are on the front of each resample, (resamples, rows): `pareto_front` without ties."""
    known = np.isfinite(accuracies) & np.isfinite(gaps)
    order = np.argsort(np.where(known, -accuracies, np.inf), axis=1, kind="stable")
    ordered = np.take_along_axis(np.where(known, gaps, np.inf), order, axis=1)
    before = np.minimum.accumulate(ordered, axis=1)
    least = np.concatenate([np.full((len(gaps), 1), np.inf), before[:, :-1]], axis=1)
    found = np.zeros(gaps.shape)
    np.put_along_axis(found, order, (ordered < least).astype(np.float64), axis=1)
    return found


def collapsed_runs(rows: Sequence[Row], accuracy: str) -> list[tuple[str, ...]]:
    """The ids of each row's runs whose score `accuracy` is far below that of the row's others (`COLLAPSED`).

    The values of a row with such a run are not normally distributed, so its t interval is not reliable.
    """
    scores = [
        {
            run.run_id: run.metrics[metric]
            for run in row.finished_runs
            if (metric := f"{row.stage}/{accuracy}") in run.metrics
        }
        for row in rows
    ]
    medians = [median(of.values()) if of else math.nan for of in scores]
    off = [
        abs(value - middle)
        for of, middle in zip(scores, medians, strict=True) if len(of) > 2
        for value in of.values()
    ]  # fmt: skip
    limit = max(COLLAPSED, COLLAPSED_DEVIATIONS * 1.4826 * median(off)) if off else COLLAPSED
    return [
        tuple(run for run, value in of.items() if value < middle - limit)
        for of, middle in zip(scores, medians, strict=True)
    ]


def column_named(wanted: str, settings: Sequence[str], scores: Sequence[str]) -> str:
    """The column that `wanted` names, by its name or a setting's short name. Raises `RequestError` if there is none."""
    columns = (*settings, COUNT, *scores)
    if wanted in columns:
        return wanted
    for key, heading in headings(settings).items():
        if wanted == heading:
            return key
    raise RequestError(
        f"There is no column '{wanted}' to sort by.{suggestion(wanted, columns)} Choose from {', '.join(columns)}."
    )


def in_order(rows: list[Row], column: str, settings: Sequence[str], ascending: bool) -> list[Row]:
    """The rows sorted by a column, then by their settings; rows without a value come last."""
    tidy = sorted(rows, key=lambda row: tuple(sortable(row.settings[key]) for key in settings))
    if column in settings:
        return sorted(tidy, key=lambda row: sortable(row.settings[column]), reverse=not ascending)
    value: Callable[[Row], float] = (
        (lambda row: row.finished) if column == COUNT else (lambda row: mean_of(row.scores.get(column)))
    )
    known = sorted((row for row in tidy if not math.isnan(value(row))), key=value, reverse=not ascending)
    return known + [row for row in tidy if math.isnan(value(row))]


def mean_of(score: MeanScore | None) -> float:
    """The mean of a score; NaN if there is no score."""
    return math.nan if score is None else score.mean
