"""Does a published figure look like one more run of ours? The prediction interval of a single further observation.

For n observations that are independent and normal with mean m and sample deviation s, a further one lies in
m ± t s sqrt(1 + 1/n) with probability 99 %, t being the 0.995 quantile of Student's t with n - 1 degrees of freedom
(Hahn and Meeker 1991, "Statistical Intervals", chapter 4). A confidence interval of the mean would answer another
question: a guide trained once.

How much a guide's figures could differ from ours without being noticed is `Figure.detectable`. A correct set-up is
rejected by one of k figures in k (1 - `LEVEL`) of cases at most if scores are normal (Bonferroni): 5 % for a guide of
five figures. Scores of real runs have longer tails: a single figure then lies outside in about 2 % of cases, but the
figures of a run go together, so that the guide is rejected in about as many cases as stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.analysis.published import Guide
from harness.errors import RequestError

LEVEL = 0.99
POWER = 0.8
"""With what probability a shift of the size `Figure.detectable` puts a figure outside its interval."""
FEWEST = 5
"""Seeds below which there is no verdict: the interval of three reaches to 11 standard deviations."""

PARAMETERS = "model/parameters"
SHOWN = ("final/fit_loss", "final/fit_accuracy", "final/test_loss", "final/test_accuracy")


@dataclass(frozen=True)
class Figure:
    """One figure of a guide beside ours.

    `mean` and `deviation` (the sample deviation) are over the runs; `low` and `high` bound the prediction interval of
    one further run; `percentile` (0 to 100) is where the published figure stands among further runs. Without a
    published figure that and `inside` are None. A set-up whose true mean differs from ours by `detectable` would put
    its figure outside with 80 % probability, if both set-ups vary as much as our runs do (normal, `deviation`).
    """

    metric: str
    published: float | None
    mean: float
    deviation: float
    low: float
    high: float
    percentile: float | None
    inside: bool | None
    detectable: float


@dataclass(frozen=True)
class Curve:
    """A series printed by epoch, beside ours: one value an epoch in each."""

    metric: str
    epochs: tuple[int, ...]
    points: tuple[Figure, ...]

    @property
    def inside(self) -> int:
        """How many of the published points lie in their prediction interval."""
        return sum(bool(point.inside) for point in self.points)


@dataclass(frozen=True)
class Reproduction:
    """A guide beside the runs of its experiment; `run_ids` in the order of `seeds`."""

    guide: Guide
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    parameters: int
    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """The metrics whose published figure does not look like one more run of ours."""
        wrong = (PARAMETERS,) if self.parameters != self.guide.parameters else ()
        if len(self.seeds) < FEWEST:  # numbers of parameters need no statistics
            return wrong
        return wrong + tuple(figure.metric for figure in self.figures if figure.inside is False)

    @property
    def consistent(self) -> bool | None:
        """Whether no figure lies outside; None where the guide printed none, or there are too few seeds to say so."""
        if self.outside:
            return False
        return True if self.guide.scalars and len(self.seeds) >= FEWEST else None

    @property
    def false_rejection(self) -> float:
        """The share of correct set-ups that are rejected, about: Bonferroni's bound for the figures compared."""
        return (1 - LEVEL) * sum(figure.published is not None for figure in self.figures)


def compare_figure(metric: str, published: float | None, values: Sequence[float]) -> Figure:
    """Place `published` among further runs like those that gave `values`.

    Runs that all agree leave an interval of no width: then only the same figure is inside.

    Raises:
        RequestError: fewer than two values.
    """
    if len(values) < 2:
        raise RequestError(f"{len(values)} run has no standard deviation. Give --seeds 2 or more.")
    from scipy.stats import t  # a second to import

    array = np.asarray(values, dtype=np.float64)
    if np.all(array == array[0]):  # their rounded mean may differ from them
        mean, deviation = float(array[0]), 0.0
    else:
        mean, deviation = float(array.mean()), float(array.std(ddof=1))
    scale = deviation * math.sqrt(1 + 1 / array.size)
    reach = float(t.ppf((1 + LEVEL) / 2, array.size - 1)) * scale
    low, high = mean - reach, mean + reach
    detectable = scale * _noncentrality(array.size)
    if published is None:
        return Figure(metric, None, mean, deviation, low, high, None, None, detectable)
    if scale > 0:
        percentile = 100 * float(t.cdf((published - mean) / scale, array.size - 1))
    else:
        percentile = 50.0 if published == mean else 100.0 * (published > mean)
    inside = low <= published <= high
    return Figure(metric, published, mean, deviation, low, high, percentile, inside, detectable)


@lru_cache(maxsize=64)
def _noncentrality(n: int) -> float:
    """By how many standard errors of a further run less the mean of `n` two set-ups must differ for its figure to lie
    outside with probability `POWER`: the noncentrality of the t distribution that puts so much beyond its quantile."""
    from scipy.special import nctdtrinc, stdtrit

    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return float(nctdtrinc(n - 1, 1 - POWER, reach))  # beyond the other end lies next to nothing


def compare_curve(metric: str, before: int, published: Sequence[float], runs: Sequence[Mapping[int, float]]) -> Curve:
    """The same for each epoch from `before + 1` on; `runs` have the values by epoch."""
    epochs = tuple(range(before + 1, before + len(published) + 1))
    points = [
        compare_figure(metric, figure, [run[epoch] for run in runs])
        for epoch, figure in zip(epochs, published, strict=True)
    ]
    return Curve(metric, epochs, tuple(points))
