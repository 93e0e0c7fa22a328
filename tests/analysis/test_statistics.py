"""The statistics compared with SciPy, statsmodels, and what they claim: coverage and false alarms, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from harness.analysis.contrasts import hedges_correction, paired_difference, welch_difference
from harness.analysis.statistics import ALPHA, LEVEL, Interval, bca_intervals, holm, t_interval

# Student's own example of 1908: hours of sleep gained by ten patients under each of two drugs.
DEXTRO = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
LAEVO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# From the documentation of scipy.stats.ttest_ind (after Efron and Tibshirani): groups of two sizes.
TREATED, CONTROL = [56, 128.6, 12, 123.8, 64.34, 78, 763.3], [1.1, 2.9, 4.2]


def close(interval: Interval | None, limits: tuple[float, float], within: float = 1e-10) -> None:
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(limits, rel=within, abs=1e-12)


@pytest.mark.parametrize("values", [DEXTRO, LAEVO, TREATED, CONTROL, [0.02, 0.031]])
def test_the_t_interval_is_that_of_statsmodels(values: list[float]) -> None:
    close(t_interval(values), DescrStatsW(values).tconfint_mean(alpha=1 - LEVEL))


def test_the_paired_difference_is_students_own_example_and_that_of_scipy() -> None:
    found = paired_difference(DEXTRO, LAEVO)
    expected = stats.ttest_rel(DEXTRO, LAEVO)
    assert (found.kind, found.n, found.mean) == ("paired", 10, pytest.approx(-1.58))
    assert found.p_value == pytest.approx(0.00283289, abs=1e-8)  # R: t.test(..., paired = TRUE) on `sleep`
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    limits = expected.confidence_interval(LEVEL)
    close(found.interval, (limits.low, limits.high))
    plain = np.mean(np.subtract(DEXTRO, LAEVO)) / np.std(np.subtract(DEXTRO, LAEVO), ddof=1)
    assert found.effect_size == pytest.approx(plain * hedges_correction(9))


@pytest.mark.parametrize(("values", "baseline"), [(TREATED, CONTROL), (DEXTRO, LAEVO), (CONTROL, DEXTRO)])
def test_welchs_difference_is_that_of_scipy_and_of_statsmodels(values: list[float], baseline: list[float]) -> None:
    found = welch_difference(values, baseline)
    expected = stats.ttest_ind(values, baseline, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    limits = expected.confidence_interval(LEVEL)
    close(found.interval, (limits.low, limits.high))
    means = CompareMeans(DescrStatsW(values), DescrStatsW(baseline))
    close(found.interval, means.tconfint_diff(alpha=1 - LEVEL, usevar="unequal"))
    root = math.sqrt((np.var(values, ddof=1) + np.var(baseline, ddof=1)) / 2)
    assert abs(found.effect_size) < abs(found.mean / root)


def test_the_effect_size_of_equal_groups_is_hedges_g() -> None:
    """With equal variances and sizes the average-variance form is the pooled one, whose degrees are n + m - 2."""
    values, baseline = [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]
    found = welch_difference(values, baseline)
    exact = math.gamma(3) / (math.sqrt(3) * math.gamma(2.5))
    assert found.effect_size == pytest.approx(-2 / np.std(values, ddof=1) * exact)
    assert hedges_correction(6) == pytest.approx(1 - 3 / (4 * 6 - 1), abs=1e-3)  # Hedges's own approximation
    assert math.isnan(hedges_correction(1))


@pytest.mark.parametrize(
    "p_values",
    [[0.01, 0.04, 0.03, 0.005], [0.9, 0.8, 0.001], [0.02, 0.02, 0.02], [0.5], [], [1.0, 0.6, 0.7]],
)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected))


def test_holm_does_not_count_what_could_not_be_tested() -> None:
    corrected = holm([0.01, math.nan, 0.04])
    assert [corrected[0], corrected[2]] == holm([0.01, 0.04])
    assert math.isnan(corrected[1])


def test_bca_is_scipys_whether_groups_come_alone_or_together() -> None:
    groups = [DEXTRO, CONTROL, LAEVO, TREATED, [0.5, 0.5]]
    together = bca_intervals(groups)
    for found, values in zip(together, groups, strict=True):
        [alone] = bca_intervals([values])
        assert alone is not None
        close(found, (alone.low, alone.high), within=1e-3)  # sums are rounded otherwise, which breaks ties
    for values, found in zip(groups[:4], together, strict=False):
        one = stats.bootstrap((values,), np.mean, n_resamples=100_000, method="BCa", rng=1).confidence_interval
        assert found is not None
        width = one.high - one.low  # the ends are quantiles of resamples, few of which lie out there
        assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=0.12 * width)
    assert together[4] == Interval(0.5, 0.5)


@pytest.mark.parametrize("values", [[0.3], [0.1, math.nan, 0.2], [math.inf, 0.1]])
def test_one_value_or_a_nan_has_no_interval(values: list[float]) -> None:
    assert t_interval(values) is None
    assert bca_intervals([values]) == [None]
    for found in (paired_difference(values, [0.0] * len(values)), welch_difference(values, DEXTRO)):
        assert (found.interval, found.testable) == (None, False)
        assert math.isnan(found.effect_size)


def test_values_without_variation_are_not_tested_but_their_difference_is_shown() -> None:
    shifted = [value + 0.1 for value in (0.3, 0.7, 0.2)]  # equal differences but for rounding
    for found in (paired_difference(shifted, [0.3, 0.7, 0.2]), welch_difference([0.4] * 3, [0.3] * 3)):
        assert found.mean == pytest.approx(0.1)
        assert found.interval is not None
        assert found.interval.half_width == 0
        assert not found.testable
    assert paired_difference([0.3, 0.7], [0.3, 0.7]).mean == 0


def test_unequal_lengths_make_no_pairs() -> None:
    for values in ([0.1], []):
        with pytest.raises(ValueError, match="no pairs"):
            paired_difference(values, [0.1, 0.2] if values else [])
    with pytest.raises(ValueError, match="value on each side"):
        welch_difference([], [0.1])


REPEATS = 4000
ERROR = 3.5 * math.sqrt(LEVEL * (1 - LEVEL) / REPEATS)  # of a share that is 95 %: one failure in 2,000 sets of draws


def covered(intervals: list[Interval | None], truth: float) -> float:
    return float(np.mean([interval is not None and interval.low <= truth <= interval.high for interval in intervals]))


@pytest.mark.parametrize("n", [2, 5, 10])
def test_intervals_of_runs_with_a_known_gap_cover_it_95_times_in_100(n: int) -> None:
    """Gaps around 3 points, with what seeds have in common; the other configuration's gap is 0.4 points smaller."""
    rng = np.random.default_rng(n)
    seeds = rng.normal(0, 0.002, (REPEATS, n))
    gaps = 0.030 + seeds + rng.normal(0, 0.002, (REPEATS, n))
    others = 0.026 + seeds + rng.normal(0, 0.004, (REPEATS, n))
    strangers = 0.026 + rng.normal(0, 0.006, (REPEATS, n + 2))
    assert covered([t_interval(one) for one in gaps.tolist()], 0.030) == pytest.approx(LEVEL, abs=ERROR)
    paired = [paired_difference(*both).interval for both in zip(others.tolist(), gaps.tolist(), strict=True)]
    assert covered(paired, -0.004) == pytest.approx(LEVEL, abs=ERROR)
    welch = [welch_difference(*both).interval for both in zip(strangers.tolist(), gaps.tolist(), strict=True)]
    slack = 0.03 if n == 2 else 0.01  # Welch's degrees of freedom are an approximation
    assert covered(welch, -0.004) == pytest.approx(LEVEL, abs=ERROR + slack)


def test_bca_covers_less_than_it_says_with_few_runs() -> None:
    """What docs/comparing.md says of it, and why the t interval is the one that is shown."""
    values = np.random.default_rng(0).normal(0.03, 0.002, (2000, 5)).tolist()
    assert 0.78 < covered(bca_intervals(values), 0.03) < 0.88


@pytest.mark.parametrize("kind", ["paired", "welch"])
def test_a_sweep_without_any_effect_raises_a_false_alarm_at_most_5_times_in_100(kind: str) -> None:
    """Eight configurations of five seeds, each compared with the first: uncorrected, every fourth sweep would alarm."""
    rng = np.random.default_rng(1)
    sweeps, rows = 1500, 8
    difference = paired_difference if kind == "paired" else welch_difference
    alarms = naive = 0
    for _ in range(sweeps):
        seeds = rng.normal(0, 0.002, 5) if kind == "paired" else 0.0
        first, *rest = (0.03 + rng.normal(0, 0.002, (rows, 5)) + seeds).tolist()
        p_values = [difference(values, first).p_value for values in rest]
        alarms += min(holm(p_values)) < ALPHA
        naive += min(p_values) < ALPHA
    assert alarms / sweeps <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / sweeps)
    assert naive / sweeps > 2 * ALPHA
