"""What is said of a row under fresh seeds: compared with SciPy, and no figure that the runs do not suffice for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pytest
from scipy import stats

from harness.analysis.comparison import Comparison, compare
from harness.analysis.confirmation import Confirmation, Figure, figures, render
from harness.analysis.rows import Row, make_row
from harness.records import RunRecord, RunState
from tests.analysis.records import run

FIRST, OTHER = [0.010, 0.014, 0.012], [0.020, 0.027, 0.019]
FIRST_FRESH, OTHER_FRESH = [0.018, 0.023, 0.021, 0.016], [0.022, 0.024, 0.025, 0.019]


def runs(name: str, gaps: Sequence[float], first: int = 0) -> list[RunRecord]:
    """Runs with these gaps of accuracy on validation; 0.01 more on test."""
    return [
        run(0.9, 0.89 - gap, 0.9 - gap, seed=first + seed, model__name=name) for seed, gap in enumerate(gaps)
    ]  # fmt: skip


def again(row: Row, gaps: Sequence[float]) -> tuple[Row, Row]:
    return row, make_row(row.settings, runs(row.label, gaps, first=3), row.stage)


def compared() -> Comparison:
    return compare([*runs("first", FIRST), *runs("other", OTHER)], title="T")


def confirmation(*, baseline: bool = True, asked: bool = True) -> Confirmation:
    winner, other = (comparison := compared()).rows
    pairs = (again(winner, FIRST_FRESH), again(other, OTHER_FRESH))
    return Confirmation(comparison, (3, 4, 5, 6), pairs if baseline else pairs[:1], asked)


def figure(of: Confirmation, row: str, seeds: str, measure: str = "gap_val_accuracy") -> Figure:
    (found,) = [one for one in figures(of) if (one.row, one.seeds, one.measure) == (row, seeds, measure)]
    return found


@pytest.mark.parametrize(
    ("row", "seeds", "values"),
    [
        ("winner", "compared", FIRST),
        ("winner", "fresh", FIRST_FRESH),
        ("baseline", "compared", OTHER),
        ("baseline", "fresh", OTHER_FRESH),
    ],
)
def test_a_mean_has_the_t_interval_of_its_own_seeds(row: str, seeds: str, values: list[float]) -> None:
    found = figure(confirmation(), row, seeds)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    assert (found.n, found.value, found.low, found.high) == (
        len(values), pytest.approx(sum(values) / len(values)), pytest.approx(low), pytest.approx(high)
    )  # fmt: skip


def test_what_fresh_seeds_change_is_welchs_difference_and_no_test() -> None:
    found = figure(confirmation(), "winner", "fresh - compared")
    outside = stats.ttest_ind(FIRST_FRESH, FIRST, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(outside.low), pytest.approx(outside.high))
    assert (found.n, found.n_other, found.p) == (4, 3, None)


@pytest.mark.parametrize(
    ("seeds", "winner", "baseline"), [("compared", FIRST, OTHER), ("fresh", FIRST_FRESH, OTHER_FRESH)]
)
def test_winner_and_baseline_are_paired_by_seed(seeds: str, winner: list[float], baseline: list[float]) -> None:
    found = figure(confirmation(), "winner - baseline", seeds)
    outside = stats.ttest_rel(winner, baseline)
    interval = outside.confidence_interval(0.95)
    assert (found.paired, found.n, found.p) == (True, len(winner), pytest.approx(outside.pvalue))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_test_accuracy_stands_beside_the_ranked_split_which_may_be_validation() -> None:
    assert confirmation().measures == ("gap_val_accuracy", "gap_val_loss", "val_accuracy", "test_accuracy")


def test_the_table_says_who_won_which_seeds_are_fresh_and_what_to_quote() -> None:
    table = render(confirmation(), "table")
    assert "Winner: first, first of 2 rows, by the smallest gap_val_accuracy.\nBaseline: other.\n" in table
    assert "Compared seeds: 0 to 2. Fresh seeds: 3 to 6, above every seed of the comparison." in table
    assert "winner gap of accuracy, val, points +1.20 ± 0.50 3 +1.95 ± 0.49 4 +0.75" in " ".join(table.split())
    assert "partly by luck" in table
    markdown = render(confirmation(), "markdown")
    assert "| winner | gap of accuracy, val, points | +1.20 ± 0.50 | 3 | +1.95 ± 0.49 | 4 | +0.75 |" in markdown
    assert r"winner & gap of accuracy, val, points & +1.20 $\pm$ 0.50 & 3 & +1.95" in render(confirmation(), "latex")
    assert "partly by luck" in render(confirmation(), "html")


def test_a_baseline_that_ranks_first_is_said_to_be_the_winner() -> None:
    said = "It is the baseline itself that ranks first"
    alone = confirmation(baseline=False)
    assert said in render(alone, "table")
    assert json.loads(render(alone, "json"))["baseline_is_winner"] is True
    assert "winner - baseline" not in render(alone, "table")
    assert said not in render(confirmation(baseline=False, asked=False), "table")


def test_of_a_single_row_it_is_not_said_that_it_was_chosen() -> None:
    comparison = compare(runs("first", FIRST))
    alone = Confirmation(comparison, (3, 4, 5, 6), (again(comparison.rows[0], FIRST_FRESH),))
    assert "the only row" in render(alone, "table")
    assert "partly by luck" not in render(alone, "table")


def test_json_and_csv_have_every_figure_in_the_fractions_of_the_store() -> None:
    document = json.loads(render(confirmation(), "json"))
    assert document["seeds"] == {"compared": [0, 1, 2], "fresh": [3, 4, 5, 6]}
    assert document["figures"] == [vars(one) for one in figures(confirmation())]
    lines = list(csv.DictReader(io.StringIO(render(confirmation(), "csv"))))
    assert [float(line["value"]) for line in lines] == [one.value for one in figures(confirmation())]


def test_fresh_runs_that_did_not_finish_are_counted_and_in_no_figure() -> None:
    comparison = compared()
    winner = comparison.rows[0]
    done = [*runs("first", [0.02], first=3), run(state=RunState.FAILED, seed=4, model__name="first", metrics={})]
    for finished, fresh in ((1, make_row(winner.settings, done, "final")), (0, make_row(winner.settings, [], "final"))):
        found = Confirmation(comparison, (3, 4), ((winner, fresh),))
        assert f"{2 - finished} of 2 fresh runs of the winner did not finish" in render(found, "table")
        assert figure(found, "winner", "fresh").low is None
        assert figure(found, "winner", "fresh - compared").low is None
        json.loads(render(found, "json"))
