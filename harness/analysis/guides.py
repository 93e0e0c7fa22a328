"""The published figures of the five guides, and a test whether they are consistent with one more run of ours: the
prediction interval of a single further observation.

For n observations that are independent and normal with mean m and sample deviation s, a further one lies in
m ± t s sqrt(1 + 1/n) with probability 99 %, t being the 0.995 quantile of Student's t with n - 1 degrees of freedom
(Hahn and Meeker 1991, "Statistical Intervals", chapter 4). A confidence interval of the mean would be wrong here,
because a guide trained only once.

`ComparedFigure.detectable` is the smallest difference between a guide and our runs that is usually noticed. With k
figures and normal scores, a correct set-up is rejected in at most k (1 - `LEVEL`) of cases (Bonferroni): 5 % for a
guide with five figures. Scores of real runs have longer tails: a single figure is outside in about 2 % of cases, but
the figures of a run are correlated, so that the guide is rejected in about as many cases as stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.errors import RequestError

LEVEL = 0.99
POWER = 0.8
"""The probability that a shift of size `ComparedFigure.detectable` puts a figure outside its interval."""
FEWEST = 5
"""The fewest seeds for a verdict: with three, the interval would be ± 11 standard deviations."""

PARAMETERS = "model/parameters"
SHOWN = ("final/fit_loss", "final/fit_accuracy", "final/test_loss", "final/test_accuracy")


@dataclass(frozen=True, eq=False)  # one object per guide
class Guide:
    """One published walk-through; `experiment` names its configuration in experiments/.

    `loss` and `accuracy` are its published running averages by epoch, starting with epoch `before + 1`; the others are
    None if they were not published.
    """

    letter: str
    experiment: str
    title: str
    parameters: int
    loss: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()
    test_loss: float | None = None
    test_accuracy: float | None = None
    before: int = 0
    gap: float | None = None

    @property
    def name(self) -> str:
        return f"{self.letter} {self.experiment}"

    @property
    def series(self) -> Mapping[str, tuple[float, ...]]:
        """The figures published by epoch, under our metric names."""
        return {"fit/loss": self.loss, "fit/accuracy": self.accuracy} if self.loss else {}

    @property
    def scalars(self) -> Mapping[str, float]:
        """The published figures under our metric names: of the last epoch, and of the test images."""
        last = {name.replace("/", "_"): values[-1] for name, values in self.series.items()}
        known = {**last, "test_loss": self.test_loss, "test_accuracy": self.test_accuracy,
                 "gap_test_accuracy_running": self.gap}  # fmt: skip
        return {f"final/{name}": value for name, value in known.items() if value is not None}


GUIDES = (
    Guide(
        "A",
        "fashion_single_128",
        "Fashion-MNIST, 128 units, Adam, 10 epochs",
        101_770,
        (0.4985, 0.3762, 0.3355, 0.3149, 0.2966, 0.2794, 0.2683, 0.2571, 0.2479, 0.2370),
        (0.8241, 0.8648, 0.8773, 0.8838, 0.8911, 0.8969, 0.9006, 0.9032, 0.9079, 0.9119),
        test_loss=0.3402,
        test_accuracy=0.8807,
        gap=0.0312,
    ),
    Guide(
        "B",
        "mnist_128_128",
        "MNIST, 128 and 128 units, SGD, 3 epochs",
        118_282,
        (0.3811, 0.1890, 0.1432),
        (0.8894, 0.9448, 0.9577),
        test_loss=0.1316,
        test_accuracy=0.9611,
    ),
    Guide(
        "C",
        "fashion_single_128_continued",
        "Fashion-MNIST, 128 units, Adam, batches of 200, epochs 41 to 60",
        101_770,
        (
            0.1415, 0.1353, 0.1331, 0.1320, 0.1311, 0.1302, 0.1284, 0.1270, 0.1257, 0.1254,
            0.1228, 0.1214, 0.1176, 0.1174, 0.1143, 0.1122, 0.1094, 0.1090, 0.1058, 0.1050,
        ),
        (
            0.9482, 0.9505, 0.9518, 0.9520, 0.9525, 0.9524, 0.9539, 0.9539, 0.9539, 0.9546,
            0.9556, 0.9560, 0.9572, 0.9576, 0.9586, 0.9593, 0.9602, 0.9598, 0.9615, 0.9611,
        ),
        test_loss=0.3956,
        test_accuracy=0.8929,
        before=40,
    ),
    Guide("D", "fashion_300_100", "Fashion-MNIST, 300 and 100 units, SGD, 30 epochs, 5,000 images held out", 266_610),
    Guide("E", "fashion_single_128_short", "Fashion-MNIST, 128 units, Adam, 5 epochs", 101_770),
)  # fmt: skip
"""The guides by letter. D and E published no figures: their models are checked, and our scores are shown."""


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of a guide compared with ours.

    `mean` and `deviation` (the sample deviation) are over the runs; `low` and `high` are the prediction interval of one
    further run; `percentile` (0 to 100) is the percentile of the published figure among further runs. Without a
    published figure `percentile` and `inside` are None. If the true mean of a set-up differs from ours by `detectable`,
    its figure is outside with 80 % probability, provided that both set-ups vary as our runs do (normal, `deviation`).
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
    """A series published by epoch, compared with ours: one value per epoch in each field."""

    metric: str
    epochs: tuple[int, ...]
    points: tuple[ComparedFigure, ...]

    @property
    def inside(self) -> int:
        """How many of the published points are in their prediction interval."""
        return sum(bool(point.inside) for point in self.points)


@dataclass(frozen=True)
class Reproduction:
    """A guide compared with the runs of its experiment; `run_ids` are in the order of `seeds`."""

    guide: Guide
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    parameters: int
    figures: tuple[ComparedFigure, ...]
    curves: tuple[Curve, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """The metrics whose published figure is not consistent with one more run of ours."""
        wrong = (PARAMETERS,) if self.parameters != self.guide.parameters else ()
        if len(self.seeds) < FEWEST:  # numbers of parameters need no statistics
            return wrong
        return wrong + tuple(figure.metric for figure in self.figures if figure.inside is False)

    @property
    def consistent(self) -> bool | None:
        """Whether no figure is outside its interval; None if the guide published none, or for too few seeds."""
        if self.outside:
            return False
        return True if self.guide.scalars and len(self.seeds) >= FEWEST else None

    @property
    def false_rejection(self) -> float:
        """The approximate share of correct set-ups that are rejected: Bonferroni's bound for the compared figures."""
        return (1 - LEVEL) * sum(figure.published is not None for figure in self.figures)


def compare_figure(metric: str, published: float | None, values: Sequence[float]) -> ComparedFigure:
    """Compare `published` with further runs like those that gave `values`.

    If all values are equal, the interval has width 0: then only the same figure is inside.

    Raises:
        RequestError: fewer than two values.
    """
    if len(values) < 2:
        raise RequestError(f"{len(values)} run has no standard deviation. Give --seeds 2 or more.")
    from scipy.special import stdtr, stdtrit

    array = np.asarray(values, dtype=np.float64)
    if np.all(array == array[0]):  # the rounded mean may differ from the values
        mean, deviation = float(array[0]), 0.0
    else:
        mean, deviation = float(array.mean()), float(array.std(ddof=1))
    scale = deviation * math.sqrt(1 + 1 / array.size)
    reach = float(stdtrit(array.size - 1, (1 + LEVEL) / 2)) * scale
    low, high = mean - reach, mean + reach
    detectable = scale * _noncentrality(array.size)
    if published is None:
        return ComparedFigure(metric, None, mean, deviation, low, high, None, None, detectable)
    if scale > 0:
        percentile = 100 * float(stdtr(array.size - 1, (published - mean) / scale))
    else:
        percentile = 50.0 if published == mean else 100.0 * (published > mean)
    inside = low <= published <= high
    return ComparedFigure(metric, published, mean, deviation, low, high, percentile, inside, detectable)


@lru_cache(maxsize=64)
def _noncentrality(n: int) -> float:
    """The difference of two set-ups, in standard errors of (a further run - mean of `n`), at which a figure is outside
    with probability `POWER`: the noncentrality of the t distribution with this probability beyond the quantile."""
    from scipy.special import nctdtrinc, stdtrit

    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return float(nctdtrinc(n - 1, 1 - POWER, reach))  # the probability beyond the other end is negligible


def compare_curve(metric: str, before: int, published: Sequence[float], runs: Sequence[Mapping[int, float]]) -> Curve:
    """Compare each epoch from `before + 1` on; `runs` have the values by epoch."""
    epochs = tuple(range(before + 1, before + len(published) + 1))
    points = [
        compare_figure(metric, figure, [run[epoch] for run in runs])
        for epoch, figure in zip(epochs, published, strict=True)
    ]
    return Curve(metric, epochs, tuple(points))
