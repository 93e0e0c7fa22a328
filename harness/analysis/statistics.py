"""Intervals and differences of a few runs' scores, and the correction for looking at many of them.

Everything here takes plain numbers and knows no run. Means of n values are taken as normal: Student's t for one mean
and for paired differences, Welch's approximation where two groups have nothing to pair by. What cannot be computed from
the values given (one value, or values without any variation) is None or NaN, never a guess.

`scipy.special` has all that a table needs and is imported in a fifth of the time of `scipy.stats`.

Sources:
    Student 1908, "The probable error of a mean", Biometrika 6.
    Welch 1947, "The generalization of Student's problem ...", Biometrika 34 (degrees of freedom: Satterthwaite 1946).
    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    Hedges 1981, "Distribution theory for Glass's estimator of effect size ...", J. of Educational Statistics 6.
    Bonett 2008, "Confidence intervals for standardized linear contrasts of means", Psychological Methods 13.
    Efron 1987, "Better bootstrap confidence intervals", J. of the American Statistical Association 82.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

LEVEL = 0.95
"""Of every interval here."""

ALPHA = 0.05
"""A corrected p-value below it is called a difference."""

RESAMPLES = 2000
"""Of a bootstrap. Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 14.3, want 1,000 for BCa."""

_ROUNDING = 8 * float(np.finfo(np.float64).eps)
_CHUNK = 20_000_000  # resampled values held at once: 160 MB


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, in the unit of the values."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """How far values are from a baseline's: `mean` = values - baseline, so a smaller gap is negative.

    `n` and `n_baseline` count values; where they are paired both are the number of pairs. `effect_size` is the
    difference in units of a standard deviation (of the differences where paired, else of the two groups, see
    `paired_difference` and `welch_difference`), corrected for small samples. `interval` is None, `p_value` and
    `effect_size` are NaN, where the values do not suffice; `interval` has no width where nothing varies.
    """

    kind: Literal["paired", "welch"]
    n: int
    n_baseline: int
    mean: float
    interval: Interval | None
    p_value: float
    effect_size: float

    @property
    def testable(self) -> bool:
        """Whether there is a p-value: two values at least, and some variation among them."""
        return not math.isnan(self.p_value)


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
    return middle, 0.0 if deviation <= _ROUNDING * max(map(abs, values)) else deviation


@lru_cache(maxsize=4096)
def t_quantile(degrees: float) -> float:
    """What a t-distributed number with so many degrees of freedom exceeds in size with probability 1 - `LEVEL`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))


def t_interval(values: Sequence[float]) -> Interval | None:
    """The t interval of the mean: m ± t s / sqrt(n), t with n - 1 degrees of freedom.

    None for fewer than two values, or if one of them is not finite.
    """
    mean, deviation = mean_and_deviation(values)
    if deviation is None:
        return None
    return _around(mean, deviation / math.sqrt(len(values)), len(values) - 1)


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


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The mean of `values[i] - baseline[i]`, with the t interval and the two-sided t test of those differences.

    The effect size is d_z = mean / deviation of the differences, times Hedges's correction for n - 1 degrees of
    freedom (Lakens 2013, "Calculating and reporting effect sizes ...", Frontiers in Psychology 4, equation 7).

    Raises:
        ValueError: there is no pair, or the two are not of one length.
    """
    if len(values) != len(baseline) or not values:
        raise ValueError(f"{len(values)} and {len(baseline)} values make no pairs")
    n = len(values)
    mean, deviation = mean_and_deviation([value - other for value, other in zip(values, baseline, strict=True)])
    if deviation is None:
        return Difference("paired", n, n, mean, None, math.nan, math.nan)
    if deviation <= _ROUNDING * max(map(abs, (*values, *baseline))):  # rounding of what they are differences of
        return Difference("paired", n, n, mean, Interval(mean, mean), math.nan, math.nan)
    error = deviation / math.sqrt(n)
    effect = mean / deviation * hedges_correction(n - 1)
    return Difference("paired", n, n, mean, _around(mean, error, n - 1), _p_value(mean / error, n - 1), effect)


def welch_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The difference of two means whose values have nothing to pair by, with Welch's interval and two-sided test.

    The effect size is the difference over sqrt((s1² + s2²) / 2), the root of the average variance, which does not
    suppose equal variances (Bonett 2008), times Hedges's correction for the degrees of freedom
    (n1 - 1) (n2 - 1) (s1² + s2²)² / ((n2 - 1) s1⁴ + (n1 - 1) s2⁴) (Delacre et al. 2021, "Why Hedges' g*s based on the
    non-pooled standard deviation should be reported with Welch's t-test", section 2).

    Raises:
        ValueError: one of the two is empty.
    """
    if not values or not baseline:
        raise ValueError("a difference needs a value on each side")
    n, m = len(values), len(baseline)
    (mean, deviation), (other_mean, other_deviation) = mean_and_deviation(values), mean_and_deviation(baseline)
    difference = mean - other_mean
    if deviation is None or other_deviation is None:
        return Difference("welch", n, m, difference, None, math.nan, math.nan)
    if deviation == other_deviation == 0:
        return Difference("welch", n, m, difference, Interval(difference, difference), math.nan, math.nan)
    v, w = deviation**2, other_deviation**2
    error = math.sqrt(v / n + w / m)
    degrees = error**4 / ((v / n) ** 2 / (n - 1) + (w / m) ** 2 / (m - 1))
    effect_degrees = (n - 1) * (m - 1) * (v + w) ** 2 / ((m - 1) * v**2 + (n - 1) * w**2)
    effect = difference / math.sqrt((v + w) / 2) * hedges_correction(effect_degrees)
    interval = _around(difference, error, degrees)
    return Difference("welch", n, m, difference, interval, _p_value(difference / error, degrees), effect)


def hedges_correction(degrees: float) -> float:
    """By what a standardized difference with so many degrees of freedom is multiplied to be unbiased (Hedges 1981).

    NaN for one degree of freedom, where no factor does.
    """
    if degrees <= 1:
        return math.nan
    return math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2)


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


def _around(middle: float, error: float, degrees: float) -> Interval:
    reach = t_quantile(degrees) * error
    return Interval(middle - reach, middle + reach)


def _p_value(t: float, degrees: float) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))
