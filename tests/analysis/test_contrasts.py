"""Differences to a baseline compared with SciPy, statsmodels, and what they claim."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from harness.analysis.contrasts import (
    Values,
    differences_to,
    dunnett_quantile,
    paired_difference,
    pairs_promise_more,
    sign_flip_p,
    simultaneous,
    welch_difference,
)
from harness.analysis.statistics import ALPHA, holm, t_quantile

RNG = np.random.default_rng(20)


def groups(values: np.ndarray) -> list[Values]:
    return [{str(unit): float(value) for unit, value in enumerate(row)} for row in values]


def layout(rows: int, units: int, rng: np.random.Generator, deviations: object = 1.0) -> np.ndarray:
    """Rows without any difference, with a luck that they share."""
    return rng.normal(size=(1, units)) + rng.normal(size=(rows, units)) * np.reshape(deviations, (-1, 1))


def test_a_pooled_difference_is_that_of_the_two_way_analysis_of_variance() -> None:
    values = layout(6, 4, np.random.default_rng(0))
    every = [(row, unit, values[row, unit]) for row in range(6) for unit in range(4)]
    fit = ols("value ~ C(row) + C(unit)", pandas.DataFrame(every, columns=["row", "unit", "value"])).fit()
    base, *others = groups(values)
    for row, of in enumerate(differences_to(base, others), start=1):
        assert of is not None
        assert (of.kind, of.n, of.degrees) == ("pooled", 4, 15)
        assert of.mean == pytest.approx(fit.params[f"C(row)[T.{row}]"])
        assert of.error == pytest.approx(fit.bse[f"C(row)[T.{row}]"])
        assert of.p_value == pytest.approx(fit.pvalues[f"C(row)[T.{row}]"])


def test_variances_are_not_pooled_where_one_row_varies_more() -> None:
    values = layout(6, 8, np.random.default_rng(3), [1, 1, 1, 1, 1, 8])
    base, *others = groups(values)
    found = differences_to(base, others)
    assert {of.kind for of in found if of} == {"paired"}
    wild = found[-1]
    assert wild is not None
    assert wild.p_value == pytest.approx(stats.ttest_rel(values[5], values[0]).pvalue)


def test_where_they_are_not_pairs_that_lie_close_by_chance_do_not_count_for_more() -> None:
    """Else the guard makes false claims: of three seeds one page in five that is not pooled, though rows vary alike."""
    rng, false = np.random.default_rng(4), 0
    for _ in range(1500):
        found = [of for of in differences_to(*_split(layout(3, 3, rng))) if of]
        false += min(holm([of.p_value for of in found])) < ALPHA
    assert false / 1500 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_two_seeds_are_not_pooled_and_rows_of_other_seeds_do_not_take_part() -> None:
    base, *others = groups(layout(5, 2, np.random.default_rng(4)))
    assert {of.kind for of in differences_to(base, others) if of} == {"paired"}
    base, first, second, third = groups(layout(4, 5, np.random.default_rng(5)))
    short = {unit: value for unit, value in third.items() if unit != "4"}
    kinds = [of and of.kind for of in differences_to(base, [first, second, short])]
    assert kinds == ["pooled", "pooled", "paired"]


def test_pooling_has_more_power_and_claims_as_few_differences_that_are_none() -> None:
    rng = np.random.default_rng(6)
    false, found, alone = 0, 0, 0
    for _ in range(400):
        values = layout(8, 5, rng)
        false += min(holm([of.p_value for of in differences_to(*_split(values)) if of])) < ALPHA
        values[-1] += 2.0
        found += holm([of.p_value for of in differences_to(*_split(values)) if of])[-1] < ALPHA
        base, others = _split(values)
        alone += holm([differences_to(base, [other])[0].p_value for other in others])[-1] < ALPHA  # type: ignore[union-attr]
    assert false / 400 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert found > 1.5 * alone


def _split(values: np.ndarray) -> tuple[Values, list[Values]]:
    base, *others = groups(values)
    return base, others


def test_pairs_are_used_where_their_number_promises_the_narrower_interval() -> None:
    assert [common for common in range(6) if pairs_promise_more(common, 5, 5)] == [4, 5]
    assert pairs_promise_more(2, 2, 2)
    assert pairs_promise_more(1, 1, 1)
    assert not pairs_promise_more(2, 5, 5)
    assert not pairs_promise_more(0, 5, 5)


def test_few_common_seeds_leave_it_to_welch_on_all_runs() -> None:
    mine = {str(seed): float(value) for seed, value in enumerate(RNG.normal(size=5))}
    theirs = {str(seed + 3): float(value) for seed, value in enumerate(RNG.normal(size=5))}
    (of,) = differences_to(theirs, [mine])
    assert of is not None
    assert (of.kind, of.n, of.n_baseline) == ("welch", 5, 5)
    expected = stats.ttest_ind(list(mine.values()), list(theirs.values()), equal_var=False)
    assert of.p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("tests", "degrees", "published"), [(2, 5, 3.03), (2, 10, 2.57), (4, 20, 2.65), (9, 60, 2.77)])
def test_dunnetts_quantile_is_that_of_his_table(tests: int, degrees: int, published: float) -> None:
    assert dunnett_quantile(degrees, tests) == pytest.approx(published, abs=0.006)


def test_dunnetts_quantile_is_the_one_by_which_scipy_makes_its_intervals() -> None:
    control, *others = RNG.normal(size=(5, 8))
    done = stats.dunnett(*others, control=control, rng=np.random.default_rng(0))
    interval = done.confidence_interval(0.95)
    error = math.sqrt(2 * np.mean([values.var(ddof=1) for values in (control, *others)]) / 8)
    reach = (interval.high[0] - interval.low[0]) / 2
    assert dunnett_quantile(35, 4) == pytest.approx(reach / error, rel=5e-3)


def test_simultaneous_intervals_hold_all_at_once() -> None:
    rng, missed = np.random.default_rng(7), 0
    for _ in range(500):
        base, others = _split(layout(6, 5, rng))
        found = [of for of in differences_to(base, others) if of]
        intervals = simultaneous(found)
        missed += any(interval is not None and not interval.low <= 0 <= interval.high for interval in intervals)
    assert missed / 500 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)


@pytest.mark.parametrize("n", [6, 10, 13])
def test_the_sign_flip_test_is_scipys(n: int) -> None:
    pairs = list(RNG.normal(0.5, 1.0, size=n))
    theirs = stats.permutation_test((pairs,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(pairs) == pytest.approx(theirs.pvalue, rel=1e-6)
    assert math.isnan(sign_flip_p(pairs[:5]))


def test_of_many_pairs_the_sign_flip_test_draws_the_ways() -> None:
    pairs = list(RNG.normal(0.4, 1.0, size=30))
    assert sign_flip_p(pairs) == pytest.approx(stats.ttest_1samp(pairs, 0.0).pvalue, abs=0.02)


def test_an_effect_size_has_the_interval_of_the_noncentral_t_distribution() -> None:
    pairs = RNG.normal(0.8, 1.0, size=9)
    of = paired_difference(list(pairs), [0.0] * 9)
    interval, t = of.effect_interval, stats.ttest_1samp(pairs, 0.0).statistic
    assert interval is not None
    low, high = interval.low / of.effect_scale, interval.high / of.effect_scale
    assert stats.nct.sf(t, 8, low) == pytest.approx(0.025, abs=1e-6)
    assert stats.nct.cdf(t, 8, high) == pytest.approx(0.025, abs=1e-6)
    other = welch_difference(list(pairs), list(RNG.normal(size=7)))
    assert other.effect_interval is not None
    assert other.effect_interval.low < other.effect_size < other.effect_interval.high


def test_an_added_variance_widens_the_interval_and_its_degrees() -> None:
    of = paired_difference([1.0, 2.0, 4.0], [0.0, 0.0, 0.0])
    wider = of.with_variance(1.0)
    assert wider.error == pytest.approx(math.sqrt(of.error**2 + 1.0))  # type: ignore[operator]
    assert wider.degrees > of.degrees == 2
    assert of.with_variance(0.0).interval == of.interval
    still = paired_difference([1.0, 1.0], [0.0, 0.0])
    assert not still.testable
    assert still.with_variance(0.04).interval.half_width == pytest.approx(1.96 * 0.2, abs=0.01)  # type: ignore[union-attr]


def test_differences_that_were_not_pooled_together_have_bonferronis_intervals() -> None:
    """Of two values of a setting each compared in configurations of its own: equal degrees, two variances."""
    rng = np.random.default_rng(5)
    found = []
    for scale in (1.0, 2.0):
        values = rng.normal(0, scale, size=(3, 6))
        groups = [{str(unit): value for unit, value in enumerate(row)} for row in values]
        found += differences_to(groups[0], groups[1:])
    differences = [of for of in found if of is not None]
    assert [of.kind for of in differences] == ["pooled"] * 4
    assert len({of.degrees for of in differences}) == 1
    for of, interval in zip(differences, simultaneous(differences), strict=True):
        assert interval is not None
        assert of.error is not None
        assert interval.half_width == pytest.approx(t_quantile(of.degrees, 4) * of.error)


def test_what_a_variance_is_pooled_over_is_told_and_where_one_group_forbids_it() -> None:
    rng = np.random.default_rng(6)
    baseline, *groups = [{str(unit): value for unit, value in enumerate(row)} for row in rng.normal(size=(4, 8))]
    assert [(of.pooled_over, of.unequal) for of in differences_to(baseline, groups) if of] == [(4, False)] * 3
    wild = {unit: 50 * value for unit, value in groups[0].items()}
    refused = differences_to(baseline, [wild, *groups[1:]])
    assert [(of.kind, of.pooled_over, of.unequal) for of in refused if of] == [("paired", 0, True)] * 3


def test_groups_with_many_more_values_than_the_baseline_are_not_pooled() -> None:
    """Welch's test uses all their values, so that a variance of the common ones would not be that of the difference."""
    rng = np.random.default_rng(7)
    baseline = {str(unit): value for unit, value in enumerate(rng.normal(size=3))}
    groups = [{str(unit): value for unit, value in enumerate(rng.normal(size=30))} for _ in range(2)]
    assert [of.kind for of in differences_to(baseline, groups) if of] == ["welch", "welch"]
