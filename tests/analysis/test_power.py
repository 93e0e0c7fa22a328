from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.power import TTestPower

from harness.analysis.comparison import compare
from harness.analysis.contrasts import POOLING_GUARD, differences_to
from harness.analysis.power import Design, Spread, power, spread
from harness.analysis.power_tables import in_a_line, render
from harness.analysis.statistics import holm
from harness.errors import RequestError
from harness.records import Predictions, RunRecord
from tests.analysis.records import data, run
from tests.conftest import REPOSITORY


def of(deviation: float, rows: int, alike: bool = True) -> Design:
    return Design(Spread(deviation, 10, "paired", alike, 12), rows)


def grid(rows: int, seeds: int, rng: np.random.Generator, deviation: float = 0.01) -> list[dict[str, float]]:
    """Scores of rows by seed whose differences under a seed have this deviation."""
    luck = rng.normal(0, 0.02, seeds)
    left = rng.normal(0, deviation / math.sqrt(2), (rows, seeds))
    return [{str(seed): float(luck[seed] + left[row, seed]) for seed in range(seeds)} for row in range(rows)]


def runs(values: list[dict[str, float]]) -> list[RunRecord]:
    return [
        run(0.9 + gap, 0.9, seed=int(seed), model__name=f"m{number}")
        for number, row in enumerate(values)
        for seed, gap in row.items()
    ]


def test_the_spread_is_that_of_a_two_way_layout() -> None:
    values = grid(4, 5, np.random.default_rng(0))
    found = spread(values)
    frame = pd.DataFrame(
        [(row, seed, v) for row, by in enumerate(values) for seed, v in by.items()], columns=["r", "s", "v"]
    )
    fitted = ols("v ~ C(r) + C(s)", frame).fit()
    assert found is not None
    assert (found.kind, found.degrees, found.values) == ("paired", 12, 20)
    assert found.degrees == fitted.df_resid
    assert found.deviation == pytest.approx(math.sqrt(2 * fitted.mse_resid))
    low, high = (math.sqrt(2 * fitted.ssr / stats.chi2.ppf(p, 12)) for p in (0.975, 0.025))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_of_two_rows_it_is_the_deviation_of_the_pairs() -> None:
    one, other = grid(2, 6, np.random.default_rng(1))
    found = spread([one, other])
    assert found is not None
    assert found.deviation == pytest.approx(np.std([one[seed] - other[seed] for seed in one], ddof=1))


def test_a_row_that_lacks_seeds_does_not_cost_the_others_theirs() -> None:
    values = grid(4, 5, np.random.default_rng(2))
    whole = spread(values[:3])
    del values[3]["1"], values[3]["2"], values[3]["3"]
    values[0]["9"] = math.nan
    assert spread(values) == whole


def test_rows_without_common_seeds_give_the_deviation_within_them() -> None:
    rng = np.random.default_rng(3)
    values = [{f"{row} {seed}": rng.normal(0, 0.01) for seed in range(4)} for row in range(3)]
    found = spread(values)
    within = np.mean([np.var(list(row.values()), ddof=1) for row in values])
    assert found is not None
    assert (found.kind, found.degrees) == ("within", 9)
    assert found.deviation == pytest.approx(math.sqrt(2 * within))
    assert "No two rows have seeds in common" in render(
        replace(power(compare(runs(grid(2, 3, rng))), 0.01), design=Design(found, 3)), "table"
    )


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("size", [0.002, 0.01, 0.018])
def test_two_rows_have_the_power_that_statsmodels_gives_a_paired_test(seeds: int, size: float) -> None:
    published = TTestPower().power(size / 0.015, seeds, 0.05)
    assert of(0.015, 2).power(size, seeds) == pytest.approx(published, abs=1e-4)
    assert of(0.015, 2).smallest(seeds) == pytest.approx(
        0.015 * TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8), rel=1e-3
    )


@pytest.mark.parametrize("size", [0.004, 0.01, 0.02])
def test_the_fewest_seeds_are_those_of_statsmodels(size: float) -> None:
    asked = TTestPower().solve_power(size / 0.015, alpha=0.05, power=0.8)
    assert of(0.015, 2).fewest(size) == math.ceil(asked)
    assert of(0.015, 2).fewest(1e-6) is None


@pytest.mark.parametrize(("rows", "seeds", "comparisons"), [(6, 3, 1), (6, 5, 5), (20, 10, 19), (200, 3, 199)])
def test_a_pooled_test_has_the_degrees_of_all_rows(rows: int, seeds: int, comparisons: int) -> None:
    """But for the cases in which the guard of pooling raises an alarm."""
    noncentrality = 3.2

    def published(degrees: int) -> float:
        reach = stats.t.ppf(1 - 0.025 / comparisons, degrees)
        return float(stats.nct.sf(reach, degrees, noncentrality))  # the other side is below 1e-4

    size = 0.01 * noncentrality / math.sqrt(seeds)
    pooled, alone = published((rows - 1) * (seeds - 1)), of(0.01, rows, alike=False).power(size, seeds, comparisons)
    expected = (1 - POOLING_GUARD) * pooled + POOLING_GUARD * alone
    assert of(0.01, rows).power(size, seeds, comparisons) == pytest.approx(expected, abs=2e-4)
    # Alone, no pair counts for more than the rest lets expect: by a deviation that is never below the pooled one.
    assert alone <= min(
        published(seeds - 1), float(stats.norm.sf(stats.t.ppf(1 - 0.025 / comparisons, seeds - 1) - 3.2))
    )


def test_two_seeds_or_unequal_rows_are_not_pooled() -> None:
    assert of(0.01, 6).power(0.01, 2) == pytest.approx(of(0.01, 2).power(0.01, 2))
    assert of(0.01, 6, alike=False).power(0.01, 5) < of(0.01, 2).power(0.01, 5)
    values = grid(6, 8, np.random.default_rng(4))
    values[2] = {seed: value + 0.2 * (-1) ** int(seed) for seed, value in values[2].items()}
    found = spread(values)
    assert found is not None
    assert not found.alike


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_simulated_rows_are_told_apart_as_often_as_promised(seeds: int) -> None:
    """Through the tests that --baseline makes, with the guard of pooling; Holm's finds no fewer than Bonferroni's."""
    rng, rows, repeats = np.random.default_rng(5), 6, 1500
    design = of(0.01, rows)
    size = design.smallest(seeds)
    found = together = 0
    for _ in range(repeats):
        values = grid(rows, seeds, rng)
        values[1] = {seed: value + size for seed, value in values[1].items()}
        tests = differences_to(values[0], values[1:])
        p_values = [test.p_value for test in tests if test is not None]
        found, together = found + (p_values[0] < 0.05), together + (holm(p_values)[0] < 0.05)
    error = math.sqrt(0.8 * 0.2 / repeats)
    assert found / repeats == pytest.approx(0.8, abs=4 * error)
    assert together / repeats > design.power(size, seeds, rows - 1) - 4 * error


def test_the_page_says_what_the_design_says() -> None:
    comparison = compare(runs(grid(4, 5, np.random.default_rng(6))))
    found = power(comparison, 0.012)
    document = json.loads(render(found, "json"))
    assert (document["rows"], document["comparisons"], document["runs"]) == (4, 3, 20)
    assert [row["seeds"] for row in document["table"]] == [2, 3, 4, 5, 6, 8, 10, 15, 20, 30]
    at = {row["seeds"]: row for row in document["table"]}
    assert at[document["fewest"]]["power"] >= 0.8 > at[document["fewest"] - 1]["power"]
    assert document["fewest_interval"][0] <= document["fewest"] <= document["fewest_each"]
    text = render(found, "table").replace("\n  ", " ")
    assert f"{document['fewest']} seeds show 1.2 points in 80 % of cases in one comparison" in text
    assert f"{document['fewest_each']} seeds in each of 3 comparisons" in text
    assert len(render(found, "csv").splitlines()) == 11
    for form in ("markdown", "latex", "html"):
        assert "power, each of 3" in render(found, form)


def test_the_line_of_a_plan_has_the_smallest_difference_of_so_many_seeds() -> None:
    comparison = compare(runs(grid(4, 3, np.random.default_rng(9))))
    design = power(comparison, 0.01).design
    sd, smallest = (
        f"{100 * value:.{2 if value < 0.01 else 1}f}" for value in (design.spread.deviation, design.smallest(5))
    )
    assert in_a_line(comparison, 5, 4) == (
        f"By the spread so far (sd of a paired difference {sd} points, from 12 runs) 5 seeds show a difference of "
        f"{smallest} points in the gap of accuracy in 80 % of cases."
    )
    assert in_a_line(comparison, 1, 4) is None
    assert in_a_line(compare(runs(grid(4, 1, np.random.default_rng(7)))), 5, 4) is None


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(RequestError, match="--power 1: a spread needs two seeds"):
        power(compare(runs(grid(3, 1, np.random.default_rng(8)))), 0.01)
    with pytest.raises(RequestError, match="does not vary"):
        power(compare([run(seed=seed, model__name=name) for seed in range(3) for name in "ab"]), 0.01)
    with pytest.raises(RequestError, match="a spread needs two"):
        power(compare([]), 0.01)


def test_rows_on_other_images_are_left_out_and_counted() -> None:
    values = grid(5, 3, np.random.default_rng(9))
    every = [
        run(0.9 + gap, 0.9, seed=int(seed), model__name=f"m{number}", **data("t", "few" if number > 2 else "many"))
        for number, row in enumerate(values)
        for seed, gap in row.items()
    ]
    found = power(compare(every), 0.01)
    assert (found.apart, found.design.rows) == (2, 3)
    assert found.design.spread.values == 9
    assert found.design.spread.deviation == pytest.approx(spread(values[:3]).deviation)
    assert "Left out: 2 rows scored on other test images." in render(found, "table")


def test_the_floor_of_held_out_images_is_that_of_a_z_test_of_the_mean_over_them() -> None:
    """Every seed answers alike, so that the difference of the rows on each image is known for certain."""
    n, rng = 400, np.random.default_rng(10)
    right = {name: rng.random(n) < p for name, p in (("a", 0.8), ("b", 0.75))}
    every, predictions = [], {}
    for name, row in zip("ab", grid(2, 4, rng), strict=True):
        for seed, luck in row.items():
            accuracy = float(right[name].mean())
            every.append(run(0.9 + luck, accuracy, seed=int(seed), model__name=name))
            every[-1].metrics["data/test_images"] = float(n)
            labels = np.zeros(n, np.uint8)
            kept = Predictions(labels, (~right[name]).astype(np.uint8), labels.astype(np.float16))
            predictions[every[-1].run_id] = {"test": kept}
    found = power(compare(every, predictions=predictions), 0.01)
    error = np.std(right["a"].astype(float) - right["b"], ddof=1) / math.sqrt(n)
    assert found.floor == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error)
    assert "Beyond these 400 test images no number of seeds" in render(found, "table").replace("\n  ", " ")
    assert power(compare(every), 0.01).floor is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_real_differences_are_found_as_often_as_promised(seeds: int) -> None:
    """Six settings under 40 seeds: their means are taken for the truth, and tested on a few seeds drawn from them."""
    recorded = pd.read_csv(REPOSITORY / "tests" / "data" / "real_runs" / "runs.csv").query("sweep == 'settings'")
    recorded["gap"] = recorded["train_accuracy"] - recorded["test_accuracy"]
    values = recorded.pivot_table(index=["model.name", "model.dropout"], columns="seed", values="gap").to_numpy()
    estimated = spread([{str(seed): value for seed, value in enumerate(row)} for row in values])
    assert estimated is not None
    rng, repeats, found = np.random.default_rng(11), 500, np.zeros(len(values) - 1)
    for _ in range(repeats):
        drawn = rng.choice(values.shape[1], seeds, replace=False)
        rows = [{str(seed): row[seed] for seed in drawn} for row in values]
        found += [test is not None and test.p_value < 0.05 for test in differences_to(rows[0], rows[1:])]
    sizes = np.abs(values[1:].mean(axis=1) - values[0].mean())
    promised = np.array([Design(estimated, len(values)).power(size, seeds) for size in sizes])
    assert promised.min() < 0.25 < 0.65 < promised.max(), "small and large differences are among them"
    apart = found / repeats - promised
    assert abs(apart.mean()) < 0.06
    assert np.abs(apart).max() < 0.16
