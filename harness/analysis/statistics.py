"""Intervals for the mean score of a few runs, and the correction for multiple tests (differences: contrasts.py).

All functions take plain numbers. Means of n values are taken as normally distributed. What cannot be computed from the
given values (a single value, or values without variation) is None or NaN, never a guess.

`scipy.special` has everything for a table, and its import takes a fifth of the time of `scipy.stats`.

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
"""The confidence level of every interval here."""

ALPHA = 0.05
"""A difference is claimed if its corrected p-value is below this level."""

RESAMPLES = 2000
"""The number of bootstrap resamples; for BCa at least 1,000 (Efron and Tibshirani 1993, "An Introduction to the
Bootstrap", section 14.3)."""

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Values that differ relatively by less than this are equal except for rounding errors."""
_CHUNK = 20_000_000  # resampled values held at once: 160 MB


@dataclass(frozen=True)
class Interval:
    """An interval from `low` to `high`, in the unit of the values."""

    low: float
    high: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.high))

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value; NaN if any value is not finite."""
    return mean_and_deviation(values)[0]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample deviation (divided by n - 1; None for one value); NaN and None if any value is not finite.

    Values that are equal except for rounding errors have the deviation 0.
    """
    if not all(map(math.isfinite, values)):
        return math.nan, None
    n, middle = len(values), math.fsum(values) / len(values)
    if n == 1:
        return middle, None
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1))
    return middle, 0.0 if deviation <= ROUNDING * max(map(abs, values)) else deviation


@lru_cache(maxsize=4096)
def t_quantile(degrees: float, tests: int = 1) -> float:
    """The two-sided t quantile: |t| with so many degrees of freedom exceeds it with probability `ALPHA` / `tests`
    (Bonferroni's correction)."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - ALPHA / max(tests, 1) / 2))


def interval_around(middle: float, error: float, degrees: float) -> Interval:
    """The interval `middle` ± t `error`, with the t quantile for so many degrees of freedom."""
    reach = t_quantile(degrees) * error if error else 0.0
    return Interval(middle - reach, middle + reach)


def added_error(error: float, degrees: float, variance: float) -> tuple[float, float]:
    """The standard error after adding an independent, known `variance`, and its degrees of freedom.

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
    """The t interval of the mean: m ± t s / sqrt(n), with n - 1 degrees of freedom.

    None for fewer than two values, or if one of them is not finite.
    """
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return None
    return interval_around(mean, deviation / math.sqrt(len(values)), len(values) - 1)


def bca_intervals(groups: Sequence[Sequence[float]]) -> list[Interval | None]:
    """The bootstrap interval of each group's mean, bias-corrected and accelerated; None as for `t_interval`.

    For the usual five runs it is too narrow (see docs/comparing.md), so it does not replace the t interval. It is shown
    beside it because the two differ if the values are skewed. Groups of equal size are resampled together with the same
    indices; except for the rounding of ties, the result of a group does not depend on the others.
    """
    found: list[Interval | None] = [None] * len(groups)
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for place, values in enumerate(groups):
        mean, deviation = mean_and_deviation(values) if values else (math.nan, None)
        if deviation == 0:
            found[place] = Interval(mean, mean)
        elif deviation is not None:
            by_size[len(values)].append(place)
    for size, places in by_size.items():
        from scipy.stats import bootstrap  # two thirds of a second to import

        step = max(1, _CHUNK // (RESAMPLES * size))
        for chunk in (places[start : start + step] for start in range(0, len(places), step)):
            array = np.array([groups[place] for place in chunk], dtype=np.float64)
            limits = bootstrap(
                (array,), np.mean, axis=-1, vectorized=True, n_resamples=RESAMPLES, confidence_level=LEVEL,
                method="BCa", rng=np.random.default_rng(0),
            ).confidence_interval  # fmt: skip
            for place, low, high in zip(chunk, limits.low, limits.high, strict=True):
                found[place] = Interval(float(low), float(high))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the given order. If all those below alpha are claimed, the probability of at least
    one false claim is at most alpha, for any dependence between the tests.

    NaN (no test) stays NaN and does not count as a test.
    """
    corrected = [math.nan] * len(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected
