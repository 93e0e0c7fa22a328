"""Kendall's tau of a measure with the gap, and its interval over rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from harness.analysis.comparison import Comparison, compare
from harness.analysis.foretelling import foretelling
from harness.analysis.foretelling_tables import render
from harness.errors import RequestError
from tests.analysis.records import run
from tests.tracking.stores import scores


def comparison_of(measure: list[float], gaps: list[float], seeds: int = 2) -> Comparison:
    runs = [
        run(
            metrics={**scores(0.9, 0.9 - gap, None), "measure/spectral_norm": value, "measure/margin": -value},
            model__width=8 * (place // seeds + 1),
            seed=place % seeds,
        )
        for place, (value, gap) in enumerate(zip(measure, gaps, strict=True))
    ]
    return compare(runs, swept=("model.width", "seed"))


def test_tau_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    measure, gaps = rng.integers(0, 6, 24).astype(float), rng.integers(0, 8, 24) / 100
    found = foretelling(comparison_of(list(measure), list(gaps)))
    by_name = {of.measure: of for of in found.correlations}
    expected = stats.kendalltau(measure, gaps).statistic
    assert by_name["spectral_norm"].tau == pytest.approx(expected)
    assert by_name["margin"].tau == pytest.approx(-expected)
    assert (by_name["margin"].runs, by_name["margin"].rows) == (24, 12)


def test_the_interval_is_that_of_whole_rows_drawn_again() -> None:
    rng = np.random.default_rng(1)
    measure = np.repeat(np.arange(10.0), 2)
    gaps = 0.01 * measure + rng.normal(0, 0.03, 20)
    of = next(of for of in foretelling(comparison_of(list(measure), list(gaps))).correlations if of.tau > 0)
    taus = []
    for _ in range(2_000):
        rows = rng.integers(0, 10, 10)
        places = np.concatenate([[2 * row, 2 * row + 1] for row in rows])
        taus.append(stats.kendalltau(measure[places], gaps[places]).statistic)
    assert of.interval is not None
    assert tuple(of.interval) == pytest.approx(np.nanquantile(taus, [0.025, 0.975]), abs=0.05)


def test_few_rows_have_no_interval_and_what_does_not_vary_no_tau() -> None:
    found = foretelling(comparison_of([1.0, 1.0, 1.0, 1.0], [0.01, 0.02, 0.03, 0.04]))
    assert all(np.isnan(of.tau) and of.interval is None for of in found.correlations)
    assert json.loads(render(found, "json"))["measures"][0]["tau"] is None
    assert render(found, "csv").splitlines()[1] == "margin,4,2,,,"


def test_runs_without_measures_are_refused() -> None:
    with pytest.raises(RequestError, match="measures="):
        foretelling(compare([run(seed=0), run(seed=1)]))
