"""The verdict on what a study states: found, not found or undecided."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.analysis.remedies import Remedy, fieller, tried
from harness.analysis.studies import (
    Criterion,
    Published,
    Study,
    StudyOutcome,
    StudyRow,
    Verdict,
    outcome,
    study_of,
)
from harness.analysis.study_tables import expected, render, section
from harness.errors import ConfigError

GAP = "final/gap_test_accuracy"
SMALL, LARGE = {"regime.batch_size": 32}, {"regime.batch_size": 600}
NOISE = np.array([0.001, -0.002, 0.0, 0.002, -0.001])


def row(settings: dict[str, Any], gaps: Any, accuracies: Any = None) -> StudyRow:
    accuracies = np.full(len(gaps), 0.9) if accuracies is None else accuracies
    runs = {
        str(seed): {GAP: float(gap), "final/test_accuracy": float(accuracy)}
        for seed, (gap, accuracy) in enumerate(zip(gaps, accuracies, strict=True))
    }
    return StudyRow({**settings, "model.name": "mlp"}, runs)


def study(*criteria: Criterion) -> Study:
    return Study("batch", "nobody 2026", 5, criteria)


def claim(**bound: float) -> Criterion:
    return Criterion("the large batch has the larger gap", GAP, LARGE, SMALL, **bound)


def verdict(criterion: Criterion, *rows: StudyRow) -> Verdict:
    return outcome(study(criterion), rows).decisions[0].verdict


WIDER = (row(SMALL, 0.02 + NOISE), row(LARGE, 0.05 - NOISE))
EQUAL = (row(SMALL, 0.02 + NOISE), row(LARGE, 0.0201 - NOISE))


@pytest.mark.parametrize(
    ("bound", "rows", "expected"),
    [
        ({"above": 0.0}, WIDER, Verdict.FOUND),
        ({"below": 0.0}, WIDER, Verdict.NOT_FOUND),
        ({"above": 0.0}, EQUAL, Verdict.UNDECIDED),
        ({"above": 0.1}, WIDER, Verdict.NOT_FOUND),
        ({"above": -0.01}, EQUAL, Verdict.FOUND),
        ({"within": 0.01}, EQUAL, Verdict.FOUND),
        ({"within": 0.001}, EQUAL, Verdict.UNDECIDED),
        ({"within": 0.1}, WIDER, Verdict.NOT_FOUND),
    ],
)
def test_a_claim_is_found_or_refuted_by_its_bound(
    bound: dict[str, float], rows: tuple[StudyRow, ...], expected: Verdict
) -> None:
    assert verdict(claim(**bound), *rows) is expected


def test_a_claim_about_one_row_is_tested_against_its_bound() -> None:
    values = 0.05 - NOISE
    found = outcome(study(Criterion("large", GAP, LARGE, above=0.04)), WIDER).decisions[0]
    assert found.verdict is Verdict.FOUND
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.04).pvalue)
    assert found.interval is not None
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert tuple(found.interval) == pytest.approx((low, high))


def test_p_values_are_corrected_over_the_claims_of_a_study() -> None:
    rows = (row(SMALL, 0.02 + NOISE), row(LARGE, 0.024 - NOISE))
    p = stats.ttest_rel(0.024 - NOISE, 0.02 + NOISE).pvalue
    alone = outcome(study(claim(above=0.0)), rows).decisions[0]
    both = outcome(study(claim(above=0.0), claim(above=0.001)), rows).decisions[0]
    assert alone.p == pytest.approx(p)
    assert both.p == pytest.approx(2 * p)


def test_missing_runs_and_single_seeds_leave_a_claim_undecided() -> None:
    assert verdict(claim(above=0.0), WIDER[0]) is Verdict.UNDECIDED
    assert verdict(claim(above=0.0), row(SMALL, [0.02]), row(LARGE, [0.9])) is Verdict.UNDECIDED
    diverged = row(LARGE, [0.05, math.nan, 0.05, 0.05, 0.05])
    assert verdict(claim(above=0.0), WIDER[0], diverged) is Verdict.UNDECIDED


def test_equal_runs_decide_by_their_only_value() -> None:
    same = (row(SMALL, [0.02] * 5), row(LARGE, [0.02] * 5))
    assert verdict(claim(above=0.0), *same) is Verdict.UNDECIDED
    assert verdict(claim(above=-0.01), *same) is Verdict.FOUND
    assert verdict(claim(above=0.01), *same) is Verdict.NOT_FOUND
    assert verdict(claim(within=0.001), *same) is Verdict.FOUND


def test_power_is_the_share_of_studies_that_find_the_foreseen_effect() -> None:
    criterion = replace(claim(above=0.0), foreseen=0.02, deviation=0.01)
    stated = study(criterion).power(criterion)
    assert stated is not None
    draws = np.random.default_rng(0).normal(0.02, 0.01, (20_000, 5))
    assert stated == pytest.approx((stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean(), abs=0.01)


def test_a_true_null_is_claimed_in_at_most_five_per_cent_of_studies() -> None:
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(300):
        rows = (row(SMALL, rng.normal(0, 1, 5)), row(LARGE, rng.normal(0, 1, 5)))
        wrong += verdict(claim(above=0.0), *rows) is not Verdict.UNDECIDED
    assert wrong <= stats.binom.ppf(0.999, 300, 0.05)


def both(bound: str) -> StudyOutcome:
    published = Published(LARGE, GAP, 0.05, 0.01)
    return outcome(replace(study(claim(**{bound: 0.0})), published=(published,)), WIDER)


def test_tables_say_the_verdict_with_interval_and_published_figures() -> None:
    text = render([both("above")], "table")
    assert "1 of 1 claim found (5 seeds a row)" in text
    assert "final/gap_test_accuracy, regime.batch_size=600" in text
    assert "above +0.00 points  +3.00 points" in text
    assert both("below").failed == ("the large batch has the larger gap",)
    assert "0 of 1 claim found, 1 not found" in section(both("below"))
    assert '"verdict": "not found"' in render([both("below")], "json")
    alone = Criterion("the gap is large", GAP, SMALL, above=0.8)
    assert (expected(alone), expected(replace(alone, measure="final/test_accuracy"))) == (
        "above 80.00 points", "above 80.00 %",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"source": "x", "seeds": 5}, "criteria is missing"),
        ({"source": "x", "seeds": 5, "criteria": [], "qiuck": []}, "qiuck: there is no such key"),
        ({"source": "x", "seeds": 5, "criteria": [{"claim": "a", "measure": GAP, "row": {}}]}, "has 0 bounds"),
        ({"source": "x", "seeds": 5, "criteria": [{"claim": "a", "row": {}}]}, "measure is missing"),
        ("text", "must have the keys"),
    ],
)
def test_a_wrong_statement_is_refused(stated: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study_of("mine", stated)


def test_remedies_are_ranked_by_accuracy_per_point_of_gap() -> None:
    rows = (
        row({"model.l2": 0}, 0.10 + NOISE, 0.90 + NOISE),
        row({"model.l2": 1}, 0.05 - NOISE, 0.89 - NOISE),
        row({"model.l2": 2}, 0.06 - NOISE, 0.92 + 2 * NOISE),
        row({"model.l2": 3}, 0.10 - NOISE, 0.95 - NOISE),
    )
    remedies = tuple(Remedy(f"l2 {value}", {"model.l2": value}, {"model.l2": 0}) for value in (1, 2, 3))
    found = tried([outcome(replace(study(), remedies=remedies), rows)])
    assert [one.remedy.name for one in found] == ["l2 2", "l2 1", "l2 3"]
    assert [one.ratio for one in found] == [pytest.approx(0.5), pytest.approx(-0.2), None]
    interval = found[1].interval
    assert interval is not None
    assert interval.low < -0.2 < interval.high


def test_fiellers_interval_covers_the_ratio_in_95_per_cent() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(2_000):
        x = rng.normal(3.0, 1.0, 5)
        y = 0.5 * x + rng.normal(0.0, 0.5, 5) + (0.7 - 0.5) * 3.0
        interval = fieller(list(x), list(y))
        hits += interval is None or interval.low <= 0.7 <= interval.high
    assert hits / 2_000 == pytest.approx(0.95, abs=0.02)
