"""Tests of the differences between groups of values and a baseline group.

Each value belongs to a unit of replication: a seed, or a draw of the data. Runs of one unit share random effects (the
order of batches, the training images, for similar models the initial weights), so groups are paired by unit.

- *paired*: the t test of the paired differences, if enough units are in common for a narrower interval.
- *pooled*: the same with one variance, estimated from all groups that have the baseline's units, in a two-way layout of
  groups and units. Five units of eight groups give 28 degrees of freedom instead of 4. If one group varies more than
  the others (`POOLING_GUARD`), each difference has its own variance, or the pooled one if that is larger, with the
  degrees of freedom of its own.
- *welch*: Welch's test of all values, if few units or none are in common.

The choice between paired and Welch depends only on the numbers of units, never on the values: see `pairs_promise_more`.

Sources:
    Welch 1947, "The generalization of Student's problem ...", Biometrika 34 (degrees of freedom: Satterthwaite 1946).
    Scheffé 1959, "The Analysis of Variance", chapter 4 (two-way layout, one observation a cell).
    Dunnett 1955, "A multiple comparison procedure for comparing several treatments with a control", JASA 50.
    Hedges 1981, "Distribution theory for Glass's estimator of effect size ...", J. of Educational Statistics 6.
    Bonett 2008, "Confidence intervals for standardized linear contrasts of means", Psychological Methods 13.
    Pitman 1937, "Significance tests which may be applied to samples from any populations", Suppl. to the JRSS 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from harness.analysis.statistics import (
    LEVEL,
    ROUNDING,
    Interval,
    added_error,
    interval_around,
    mean_and_deviation,
    t_quantile,
)
from harness.records import FloatArray

Values = Mapping[str, float]
"""A score by unit."""

POOLING_GUARD = 0.20
"""Level of the test whether one group's variance is larger than the others' (corrected for the number of groups). If it
is, variances are not pooled."""

FEWEST_TO_POOL = 3
"""The fewest units for pooling: with two units, a group that varies more than the others cannot be detected."""

TYPICAL_CORRELATION = 0.4
"""The correlation of two groups' values over common units that `pairs_promise_more` assumes (docs/comparing.md)."""

FEWEST_TO_FLIP = 6
"""The fewest pairs with which a sign-flip test can give p < 0.05."""
_FLIPS = 10_000


@dataclass(frozen=True)
class Difference:
    """A difference to a baseline: `mean` = values - baseline, so a smaller gap gives a negative difference.

    `n` and `n_baseline` count units; if paired, both are the number of pairs. `error` is the standard error of `mean`
    with its `degrees` of freedom: None for too few or non-finite values, 0 if nothing varies.

    `effect_size` is the difference in standard deviations (of the differences if paired, else of the two groups),
    corrected for small samples, NaN if it cannot be computed; `effect_interval` is its 95 % interval. `p_flip` is the p
    of the sign-flip test of the pairs, which assumes only symmetry; NaN for fewer than six pairs. `pooled_over` is the
    number of groups in a pooled variance, including the baseline; `unequal`: not pooled, because one of the groups
    varies more than the others.
    """

    kind: Literal["paired", "pooled", "welch"]
    n: int
    n_baseline: int
    mean: float
    error: float | None
    degrees: float = math.nan
    effect_size: float = math.nan
    effect_scale: float = math.nan
    effect_degrees: float = math.nan
    p_flip: float = math.nan
    pooled_over: int = 0
    unequal: bool = False

    @property
    def testable(self) -> bool:
        """Whether there is a p-value: at least two values, and some variation among them."""
        return bool(self.error)

    @property
    def interval(self) -> Interval | None:
        """The 95 % t interval; None for too few values, of width 0 if nothing varies."""
        return None if self.error is None else interval_around(self.mean, self.error, self.degrees)

    @property
    def p_value(self) -> float:
        """The two-sided p-value; NaN if there is none."""
        if not self.error:
            return math.nan
        from scipy.special import stdtr

        return 2 * float(stdtr(self.degrees, -abs(self.mean / self.error)))

    @property
    def effect_interval(self) -> Interval | None:
        """The 95 % interval of the effect size, by the noncentral t distribution (Steiger and Fouladi 1997)."""
        if math.isnan(self.effect_size):
            return None
        from scipy.special import nctdtrinc

        t = self.effect_size / self.effect_scale
        low, high = (float(nctdtrinc(self.effect_degrees, p, t)) for p in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
        return Interval(low * self.effect_scale, high * self.effect_scale)

    def with_variance(self, variance: float) -> Difference:
        """The difference with an independent `variance` added to that of its mean (see `statistics.added_error`)."""
        if self.error is None:
            return self
        error, degrees = added_error(self.error, self.degrees, variance)
        return replace(self, error=error, degrees=degrees)


def differences_to(baseline: Values, groups: Sequence[Values]) -> list[Difference | None]:
    """Each group's difference to the baseline; None if one of the two has no value."""
    found = [difference(values, baseline) for values in groups]
    block = [
        place
        for place, own in enumerate(found)
        if len(baseline) >= FEWEST_TO_POOL and own is not None and own.kind == "paired"
        and baseline.keys() <= groups[place].keys()
    ]  # fmt: skip
    if len(block) < 2:
        return found
    units = list(baseline)
    values = np.array([[group[unit] for unit in units] for group in (baseline, *(groups[place] for place in block))])
    if not np.isfinite(values).all():
        return found
    variance, unequal = pooled_variance(values)
    if variance == 0.0:
        return found
    error, degrees = math.sqrt(2 * variance / len(units)), len(units) - 1
    for place in block:
        own = found[place]
        if own is None or not own.error:
            continue
        if unequal:  # pairs with little variation by chance must not get a smaller variance than the pooled one
            found[place] = replace(own, error=max(own.error, error), unequal=True)
        else:
            found[place] = replace(
                own, kind="pooled", error=error, degrees=len(block) * degrees, pooled_over=len(values)
            )  # fmt: skip
    return found


def pooled_variance(values: FloatArray) -> tuple[float, bool]:
    """The variance of the residuals of `values` (groups, units) after removing the means of groups and units, 0.0 if
    nothing varies; and whether one group varies more than the others, so that the variance must not be pooled.

    A group's residuals from the mean of the others are independent of the residuals of those among themselves, so that
    the ratio of the two variances has an F distribution if all are equal.
    """
    groups, units = values.shape
    squares = (residuals(values) ** 2).sum(axis=1)
    variance = float(squares.sum() / ((groups - 1) * (units - 1)))
    if math.sqrt(variance) <= ROUNDING * float(np.abs(values).max()):
        return 0.0, False
    if groups <= 2:
        return variance, False
    from scipy.special import fdtrc

    own = squares * groups / (groups - 1) / (units - 1)
    others = (squares.sum() - squares * groups / (groups - 1)) / ((groups - 2) * (units - 1))
    with np.errstate(divide="ignore"):
        p = fdtrc(units - 1, (groups - 2) * (units - 1), own / others)
    return variance, bool(groups * float(p.min()) < POOLING_GUARD)


def residuals(values: FloatArray) -> FloatArray:
    """The residuals of `values` (groups, units) after removing the means of groups and units."""
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    return np.asarray(left, dtype=np.float64)


def difference(values: Values, baseline: Values) -> Difference | None:
    """The difference of two groups: paired by unit, or Welch's (see `pairs_promise_more`); None if one has no value."""
    common = [unit for unit in values if unit in baseline]
    if common and pairs_promise_more(len(common), len(values), len(baseline)):
        return paired_difference([values[unit] for unit in common], [baseline[unit] for unit in common])
    if values and baseline:
        return welch_difference(list(values.values()), list(baseline.values()))
    return None


def pairs_promise_more(common: int, n: int, n_baseline: int) -> bool:
    """Whether `common` pairs are expected to give a narrower interval than all `n` and `n_baseline` values.

    Computed only from these numbers, for equal variances and `TYPICAL_CORRELATION`. Welch's degrees of freedom are
    taken at their minimum, so that groups with the same units are always paired. A choice that depends on the values
    would claim too many differences.
    """
    if common < 2:
        return common == n == n_baseline
    fewest = min(n, n_baseline)
    paired = t_quantile(common - 1) * math.sqrt(2 * (1 - TYPICAL_CORRELATION) / common)
    return paired <= t_quantile(fewest - 1) * math.sqrt(1 / n + 1 / n_baseline)


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The mean of `values[i] - baseline[i]`, with the t test of those differences.

    The effect size is d_z = mean / deviation of the differences, times Hedges's correction for n - 1 degrees of
    freedom (Lakens 2013, "Calculating and reporting effect sizes ...", Frontiers in Psychology 4, equation 7).

    Raises:
        ValueError: there is no pair, or the two are not of one length.
    """
    if len(values) != len(baseline) or not values:
        raise ValueError(f"{len(values)} and {len(baseline)} values make no pairs")
    n = len(values)
    pairs = [value - other for value, other in zip(values, baseline, strict=True)]
    mean, deviation = mean_and_deviation(pairs)
    if deviation is None:
        return Difference("paired", n, n, mean, None)
    if deviation <= ROUNDING * max(map(abs, (*values, *baseline))):  # only rounding errors of the values
        return Difference("paired", n, n, mean, 0.0, n - 1)
    correction = hedges_correction(n - 1)
    return Difference(
        "paired", n, n, mean, deviation / math.sqrt(n), n - 1, mean / deviation * correction,
        correction / math.sqrt(n), n - 1, sign_flip_p(pairs),
    )  # fmt: skip


def welch_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The difference of two means whose values are not paired, with Welch's test.

    The effect size is the difference over sqrt((s1² + s2²) / 2), the root of the average variance, which does not
    assume equal variances (Bonett 2008), times Hedges's correction for the degrees of freedom
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
        return Difference("welch", n, m, difference, None)
    if deviation == other_deviation == 0:
        return Difference("welch", n, m, difference, 0.0, n + m - 2)
    v, w = deviation**2, other_deviation**2
    error = math.sqrt(v / n + w / m)
    degrees = error**4 / ((v / n) ** 2 / (n - 1) + (w / m) ** 2 / (m - 1))
    effect_degrees = (n - 1) * (m - 1) * (v + w) ** 2 / ((m - 1) * v**2 + (n - 1) * w**2)
    unit = math.sqrt((v + w) / 2)
    correction = hedges_correction(effect_degrees)
    return Difference(
        "welch", n, m, difference, error, degrees, difference / unit * correction, error / unit * correction, degrees
    )


def hedges_correction(degrees: float) -> float:
    """The factor that makes a standardized difference with so many degrees of freedom unbiased (Hedges 1981).

    NaN for one degree of freedom, for which there is no such factor.
    """
    if degrees <= 1:
        return math.nan
    return math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2)


def sign_flip_p(pairs: Sequence[float]) -> float:
    """The two-sided p of the sign-flip test (Pitman 1937): the share of all sign patterns of the differences whose mean
    is at least as far from 0. For more than 13 pairs, 10,000 random patterns; NaN for fewer than six pairs.
    """
    if len(pairs) < FEWEST_TO_FLIP:
        return math.nan
    sums = np.abs(_signs(len(pairs)) @ np.array(pairs))
    return float((sums >= abs(math.fsum(pairs)) * (1 - 1e-9)).mean())


@lru_cache(maxsize=16)
def _signs(n: int) -> FloatArray:
    """Sign patterns of n values, one per row; the first changes no sign."""
    if 2**n <= _FLIPS:
        return np.asarray(1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1), dtype=np.float64)
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), size=(_FLIPS, n))
    signs[0] = 1.0
    return np.asarray(signs, dtype=np.float64)


def simultaneous(differences: Sequence[Difference]) -> list[Interval | None]:
    """Simultaneous 95 % intervals of the differences; None for a difference without a standard error.

    If all differences have one pooled variance and one baseline, and so one error, the quantile is Dunnett's (1955);
    otherwise Bonferroni's.
    """
    tested = [of for of in differences if of.testable]
    pooled = all(of.kind == "pooled" for of in tested) and len({(of.error, of.degrees) for of in tested}) == 1
    quantile = dunnett_quantile if pooled and len(tested) > 1 else t_quantile
    found: list[Interval | None] = []
    for of in differences:
        reach = quantile(of.degrees, len(tested)) * of.error if of.error else 0.0
        found.append(None if of.error is None else Interval(of.mean - reach, of.mean + reach))
    return found


@lru_cache(maxsize=1024)
def deviations(degrees: float) -> tuple[FloatArray, FloatArray]:
    """Estimated standard deviations (true value 1) with so many degrees of freedom, and weights to average over
    them."""
    from scipy.special import gammaincinv

    points, weights = np.polynomial.legendre.leggauss(128)
    if math.isinf(degrees):
        return np.ones(len(points)), weights / 2
    return np.sqrt(2 * gammaincinv(degrees / 2, (points + 1) / 2) / degrees), weights / 2


@lru_cache(maxsize=256)
def dunnett_quantile(degrees: float, tests: int) -> float:
    """Dunnett's two-sided quantile (1955): the largest |t| of `tests` numbers exceeds it with probability 5 %, if each
    two have the correlation 1/2, as the differences of groups of equal size to one baseline have.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    scale, weights = deviations(degrees)
    shared, density = np.polynomial.hermite_e.hermegauss(64)
    density = density / density.sum()

    def surplus(quantile: float) -> float:
        reach = quantile * scale[:, None] * math.sqrt(2)
        inside = ndtr(reach - shared) - ndtr(-reach - shared)  # given the common part and the deviation
        return float(weights @ (inside**tests @ density)) - LEVEL

    return float(brentq(surplus, 1.0, 2 * t_quantile(degrees, tests)))
