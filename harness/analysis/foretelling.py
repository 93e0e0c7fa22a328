"""Which number foretells the gap: the rank correlation of each logged measure (`measures=...`) with the gap.

Kendall's tau-b (Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33) over all finished runs, as in
Jiang et al. 2020, "Fantastic generalization measures and where to find them". Its 95 % interval is the percentile
bootstrap over rows: a row is drawn with all its seeds, because these are no independent configurations (Davison and
Hinkley 1997, "Bootstrap Methods and their Application", section 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.comparison import Comparison
from harness.analysis.statistics import LEVEL, RESAMPLES, Interval
from harness.errors import RequestError
from harness.records import FloatArray, IntArray

PREFIX = "measure/"
FEWEST_ROWS = 5
"""The fewest rows for an interval: fewer cannot be resampled in enough ways."""
MOST_RUNS = 2_000
"""Every pair of runs is compared: 2,000 runs are two million pairs."""


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's tau-b of a measure with the gap over `runs` runs in `rows` rows: 1 where both order the runs alike. NaN
    where one of the two does not vary. `points` are (measure, gap) of each run."""

    measure: str
    runs: int
    rows: int
    tau: float
    interval: Interval | None
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Foretelling:
    """The measures of the compared runs, the strongest correlation first."""

    comparison: Comparison
    gap: str
    correlations: tuple[RankCorrelation, ...]


def foretelling(comparison: Comparison) -> Foretelling:
    """The rank correlations of every measure that at least two runs have. Raises `RequestError` where there is none."""
    gap = f"final/gap_{comparison.held_out}_accuracy"
    rows = [[run.metrics for run in row.finished_runs if gap in run.metrics] for row in comparison.rows]
    names = sorted({name for row in rows for metrics in row for name in metrics if name.startswith(PREFIX)})
    found = []
    for name in names:
        clusters = [
            [(metrics[name], metrics[gap]) for metrics in row if math.isfinite(metrics.get(name, math.nan))]
            for row in rows
        ]
        clusters = [of for of in clusters if of]
        if (count := sum(map(len, clusters))) > MOST_RUNS:
            raise RequestError(f"--foretell: {count:,} runs are compared pair by pair; at most {MOST_RUNS:,} are.")
        if count > 1:
            found.append(_correlation(name.removeprefix(PREFIX), clusters))
    if not found:
        raise RequestError(
            "--foretell: no two of these runs have measured their weights. Train with "
            "'measures=[spectral_norm,margin,sharpness]'."
        )
    found.sort(key=lambda of: -1.0 if math.isnan(of.tau) else abs(of.tau), reverse=True)
    return Foretelling(comparison, gap, tuple(found))


def _correlation(name: str, clusters: Sequence[Sequence[tuple[float, float]]]) -> RankCorrelation:
    points = np.array([point for of in clusters for point in of])
    one, other = (np.sign(values[:, None] - values[None, :]) for values in points.T)
    owners = np.repeat(np.arange(len(clusters)), [len(of) for of in clusters])
    weights = np.ones(len(points))
    return RankCorrelation(
        name, len(points), len(clusters), _tau(one, other, weights), _interval(one, other, owners, len(clusters)),
        tuple((float(x), float(y)) for x, y in points),
    )  # fmt: skip


def _tau(one: FloatArray, other: FloatArray, weights: FloatArray) -> float:
    """tau-b of runs that count `weights` times; copies of a run are ties."""
    both, ties, more_ties = (float(weights @ of @ weights) for of in (one * other, one**2, other**2))
    return both / math.sqrt(ties * more_ties) if ties and more_ties else math.nan


def _interval(one: FloatArray, other: FloatArray, owners: IntArray, rows: int) -> Interval | None:
    if rows < FEWEST_ROWS:
        return None
    draws = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES)
    weights = draws[:, owners].astype(np.float64)
    both, ties, more_ties = (((weights @ of) * weights).sum(axis=1) for of in (one * other, one**2, other**2))
    usable = (ties > 0) & (more_ties > 0)
    if usable.sum() < RESAMPLES / 2:
        return None
    taus = both[usable] / np.sqrt(ties[usable] * more_ties[usable])
    low, high = np.quantile(taus, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
