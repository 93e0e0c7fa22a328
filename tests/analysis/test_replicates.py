"""What was varied to repeat is one row; draws, not their seeds, are what is repeated then."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.comparison import compare
from harness.analysis.differences import differences, find_row
from harness.analysis.effects import effects
from harness.analysis.legend import components, legend
from harness.analysis.rows import named_replicates
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from tests.analysis.records import data, run


def drawn(gap: float, draw: int, seed: int = 0, model: str = "a", digest: str | None = None) -> RunRecord:
    images = data(digest or f"train {draw}", "test")
    return run(0.8 + gap, 0.8, seed=seed, model__name=model, dataset__seed=draw, **images)


def test_twenty_draws_are_one_row_of_twenty() -> None:
    gaps = np.random.default_rng(0).normal(0.1, 0.01, size=(20, 3))
    comparison = compare([drawn(gaps[draw, seed], draw, seed) for draw in range(20) for seed in range(3)])
    (row,) = comparison.rows
    score = row.scores["gap_test_accuracy"]
    assert (row.n, row.replicates, score.n) == (60, 20, 20)
    assert score.mean == pytest.approx(gaps.mean())
    assert score.deviation == pytest.approx(gaps.mean(axis=1).std(ddof=1))
    assert comparison.replicates == ("dataset.seed",)
    assert "dataset.seed" not in comparison.settings
    assert row.within_draws("gap_test_accuracy") == pytest.approx(np.sqrt(gaps.var(axis=1, ddof=1).mean()))


def test_the_parts_of_the_spread_are_those_that_the_runs_were_made_with() -> None:
    rng = np.random.default_rng(1)
    gaps = 0.1 + rng.normal(0, 0.008, size=(200, 1)) + rng.normal(0, 0.004, size=(200, 3))
    comparison = compare([drawn(gaps[draw, seed], draw, seed) for draw in range(200) for seed in range(3)])
    parts = components(comparison, "gap_test_accuracy")
    assert parts["between draws"] == pytest.approx(0.008, rel=0.15)
    assert parts["between seeds"] == pytest.approx(0.004, rel=0.1)
    assert "between draws" in " ".join(legend(comparison))


def test_copies_of_a_run_count_once() -> None:
    """`dataset.seed` has no effect where all images are used: five copies of each run are no more evidence."""
    gaps = {"a": (0.10, 0.12, 0.11), "b": (0.13, 0.12, 0.15)}
    copies = [
        drawn(gap, draw, seed, model, digest="all")
        for model, of in gaps.items() for seed, gap in enumerate(of) for draw in range(5)
    ]  # fmt: skip
    comparison = compare(copies)
    first = differences(comparison, find_row(comparison, "a")).findings[0].difference
    assert first is not None
    assert first.n == 3
    assert first.p_value == pytest.approx(stats.ttest_rel(gaps["b"], gaps["a"]).pvalue)
    assert [row.scores["gap_test_accuracy"].n for row in comparison.rows] == [3, 3]
    assert comparison.repeats == 30
    assert "equal runs count once" in " ".join(legend(comparison))


def test_rows_and_effects_are_paired_by_draw() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(0.1, 0.02, size=4)
    runs = [
        drawn(luck[draw] + (0.01 if model == "b" else 0.0) + rng.normal(0, 0.001), draw, seed, model)
        for model in "ab" for draw in range(4) for seed in range(2)
    ]  # fmt: skip
    comparison = compare(runs)
    for found in (differences(comparison, find_row(comparison, "a")), effects(comparison, "model")):
        first = found.findings[0]
        assert first.difference is not None
        assert (first.difference.kind, first.difference.n, first.over_draws) == ("paired", 4, True)
        assert first.difference.p_value < 0.01


def test_other_validation_splits_are_replicates_too() -> None:
    runs = [
        run(0.9, 0.8, 0.8 + n / 100, model__name=model, regime__validation__seed=n,
            **data(f"train {n}", "test", f"val {n}"))
        for n in range(3) for model in "ab"
    ]  # fmt: skip
    comparison = compare(runs)
    assert [row.scores["gap_val_accuracy"].n for row in comparison.rows] == [3, 3]
    assert not comparison.scored_apart
    assert comparison.rows[0].scores["gap_val_accuracy"].image_error == 0.0  # in the spread over draws already


def test_a_draw_that_each_configuration_has_its_own_of_is_no_replicate() -> None:
    comparison = compare(
        [drawn(0.1, 0, seed, "a") for seed in range(2)] + [drawn(0.1, 1, seed, "b") for seed in range(2)]
    )
    assert comparison.replicates == ()
    assert comparison.settings == ("model.name", "dataset.seed")


def test_replicates_can_be_named() -> None:
    runs = [drawn(0.1 + draw / 100, draw, seed) for draw in range(2) for seed in range(2)]
    assert len(compare(runs, replicates=named_replicates("seed")).rows) == 2
    assert len(compare(runs, replicates=named_replicates("seed, dataset.seed")).rows) == 1
    assert named_replicates("seed,validation.seed") == ("regime.validation.seed",)
    with pytest.raises(RequestError, match=r"Choose from seed, dataset\.seed, validation\.seed"):
        named_replicates("seed,epochs")
    with pytest.raises(RequestError, match=r"Give seed,dataset\.seed"):
        named_replicates("dataset.seed")


def test_a_missing_draw_makes_a_row_incomplete() -> None:
    runs = [drawn(0.1, draw, 0, model) for model in "ab" for draw in range(3) if (model, draw) != ("b", 2)]
    rows = {row.label: row for row in compare([*runs, drawn(0.1, 2, 0, "b")]).rows}
    assert not any(row.incomplete for row in rows.values())
    (lacking,) = [row for row in compare(runs).rows if row.label == "b"]
    assert lacking.missing == ("dataset.seed=2 seed=0",)
    failed = run(state=RunState.FAILED, metrics={}, model__name="b", dataset__seed=2, **data("train 2", "test"))
    (lacking,) = [row for row in compare([*runs, failed]).rows if row.label == "b"]
    assert [one.run_id for one in lacking.lacking] == [failed.run_id]
