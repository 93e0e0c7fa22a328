"""Intervals of a few runs' mean score, and the correction for looking at many tests (differences: contrasts.py).

Everything here takes plain numbers and knows no run. Means of n values are taken as normal. What cannot be computed
from the values given (one value, or values without any variation) is None or NaN, never a guess.

`scipy.special` has all that a table needs and is imported in a fifth of the time of `scipy.stats`.

Sources:
    Student 1908, "The probable error of a mean", Biometrika 6.
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    Efron 1987, "Better bootstrap confidence intervals", J. of the American Statistical Association 82.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.metrics import NORMAL_QUANTILE

LEVEL = 0.95
"""Of every interval here."""

ALPHA = 0.05
"""A corrected p-value below it is called a difference."""

RESAMPLES = 2000
"""Of a bootstrap. Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 14.3, want 1,000 for BCa."""

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Values that differ by this share of their size are equal but for rounding."""
_CHUNK = 20_000_000  # resampled values held at once: 160 MB


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, in the unit of the values."""

    low: float
    high: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.high))

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean(values: Sequence[float]) -> float:
    """NaN if any of the values (at least one) is not finite."""
    return mean_and_deviation(values)[0]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample deviation (divided by n - 1; None for one value); NaN and None if any value is not finite.

    Values that are equal but for rounding have the deviation 0.
    """
    if not all(map(math.isfinite, values)):
        return math.nan, None
    n, middle = len(values), math.fsum(values) / len(values)
    if n == 1:
        return middle, None
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1))
    return middle, 0.0 if deviation <= ROUNDING * max(map(abs, values)) else deviation


@lru_cache(maxsize=4096)
def t_quantile(degrees: float) -> float:
    """What a t-distributed number with so many degrees of freedom exceeds in size with probability 1 - `LEVEL`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))


def interval_around(middle: float, error: float, degrees: float) -> Interval:
    """`middle` ± t `error`, t with so many degrees of freedom."""
    reach = t_quantile(degrees) * error if error else 0.0
    return Interval(middle - reach, middle + reach)


def added_error(error: float, degrees: float, variance: float) -> tuple[float, float]:
    """A standard error to which an independent `variance`, taken as known, is added, and its degrees of freedom.

    They make the half width of the 95 % interval sqrt((t error)² + 1.96² variance), the root of the squared half widths
    of the two (Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine
    27). Satterthwaite's degrees would make it narrower than without the variance where `degrees` are few.
    """
    if not variance:
        return error, degrees
    if not error:
        return math.sqrt(variance), math.inf
    from scipy.special import stdtridf

    total = math.sqrt(error**2 + variance)
    quantile = math.hypot(t_quantile(degrees) * error, NORMAL_QUANTILE * math.sqrt(variance)) / total
    known = quantile <= NORMAL_QUANTILE * (1 + 1e-9)
    return total, math.inf if known else max(degrees, float(stdtridf((1 + LEVEL) / 2, quantile)))


def t_interval(values: Sequence[float]) -> Interval | None:
    """The t interval of the mean: m ± t s / sqrt(n), t with n - 1 degrees of freedom.

    None for fewer than two values, or if one of them is not finite.
    """
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return None
    return interval_around(mean, deviation / math.sqrt(len(values)), len(values) - 1)


def bca_interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """The bootstrap interval of the mean, bias-corrected and accelerated; None as for `t_interval`.

    With the five runs that are usual here it is too narrow (see docs/comparing.md): it stands beside the t interval,
    which shows where the two disagree because the values are skewed, and does not replace it.
    """
    return bca_intervals([values], seed)[0]


def bca_intervals(groups: Sequence[Sequence[float]], seed: int = 0) -> list[Interval | None]:
    """`bca_interval` of each group. Groups of one size are resampled together, and alike: but for the rounding of
    ties, what a group is given does not depend on the others."""
    found: list[Interval | None] = [None] * len(groups)
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for place, values in enumerate(groups):
        mean, deviation = mean_and_deviation(values) if values else (math.nan, None)
        if deviation == 0:
            found[place] = Interval(mean, mean)
        elif deviation is not None:
            by_size[len(values)].append(place)
    for size, places in by_size.items():
        step = max(1, _CHUNK // (RESAMPLES * size))
        for start in range(0, len(places), step):
            chunk = places[start : start + step]
            for place, interval in zip(chunk, _bootstrap([groups[place] for place in chunk], seed), strict=True):
                found[place] = interval
    return found


def _bootstrap(groups: Sequence[Sequence[float]], seed: int) -> list[Interval]:
    from scipy.stats import bootstrap  # two thirds of a second to import

    done = bootstrap(
        (np.asarray(groups, dtype=np.float64),), np.mean, axis=-1, vectorized=True, n_resamples=RESAMPLES,
        confidence_level=LEVEL, method="BCa", rng=np.random.default_rng(seed),
    )  # fmt: skip
    limits = zip(done.confidence_interval.low, done.confidence_interval.high, strict=True)
    return [Interval(float(low), float(high)) for low, high in limits]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given. Calling those below alpha differences is wrong about even one of
    them with probability alpha at most, however the tests depend on each other.

    A NaN, which no test gave, stays one and does not count as a comparison.
    """
    corrected = [math.nan] * len(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected
