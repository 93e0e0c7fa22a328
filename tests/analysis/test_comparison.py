from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from statsmodels.stats.weightstats import DescrStatsW

from harness.analysis.comparison import Comparison, compare
from harness.analysis.legend import context, legend
from harness.analysis.ranking import WITHIN, Demand
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from tests.analysis.records import data, run
from tests.tracking.stores import scores


def models(comparison: Comparison) -> list[str]:
    return [row.settings["model.name"] for row in comparison.rows]


def test_runs_that_differ_only_in_seed_share_a_row_with_sample_deviation() -> None:
    accuracies = [0.90, 0.92, 0.97]
    runs = [run(train, 0.8, seed=seed, model__name="a") for seed, train in enumerate(accuracies)]
    comparison = compare([*runs, run(model__name="b")])
    row = next(row for row in comparison.rows if row.settings["model.name"] == "a")
    assert (row.n, row.finished, row.seeds) == (3, 3, ("0", "1", "2"))
    assert row.scores["train_accuracy"].mean == pytest.approx(statistics.mean(accuracies))
    assert row.scores["train_accuracy"].deviation == pytest.approx(statistics.stdev(accuracies))
    assert row.scores["gap_test_accuracy"].mean == pytest.approx(statistics.mean(accuracies) - 0.8)


def test_one_run_has_neither_deviation_nor_interval() -> None:
    score = compare([run()]).rows[0].scores["test_accuracy"]
    assert (score.deviation, score.interval) == (None, None)


def test_where_a_run_is_recorded_does_not_part_rows() -> None:
    runs = [run(seed=seed, figures=figures, tracking__run_name=figures) for seed, figures in enumerate(("all", "none"))]
    assert len(compare(runs).rows) == 1


def test_unfinished_runs_are_counted_and_never_averaged() -> None:
    states = (RunState.FINISHED, RunState.FAILED, RunState.KILLED, RunState.RUNNING, RunState.FAILED)
    runs = [
        run(0.9 if state is RunState.FINISHED else 0.1, seed=seed, state=state) for seed, state in enumerate(states)
    ]
    (row,) = compare(runs).rows
    assert (row.n, row.finished) == (5, 1)
    assert row.unfinished == {RunState.FAILED: 2, RunState.KILLED: 1, RunState.RUNNING: 1}
    assert row.scores["train_accuracy"] == compare(runs[:1]).rows[0].scores["train_accuracy"]


def test_a_row_without_finished_runs_stays_and_comes_last_in_either_direction() -> None:
    runs = [
        run(model__name="a", state=RunState.FAILED),
        run(0.9, 0.8, model__name="b"),
        run(0.9, 0.79, model__name="c"),
    ]
    assert models(compare(runs)) == ["b", "c", "a"]
    assert models(compare(runs, ascending=False)) == ["c", "b", "a"]
    assert compare(runs).rows[-1].scores == {}


def test_a_seed_that_ran_twice_is_kept_and_noted() -> None:
    comparison = compare([run(seed=0), run(seed=0), run(seed=1)])
    assert (comparison.rows[0].n, comparison.repeats) == (3, 2)


def three() -> list[RunRecord]:
    return [
        run(0.95, 0.90, model__name="over"),
        run(0.80, 0.81, model__name="under"),
        run(0.90, 0.885, model__name="fair"),
    ]


def test_the_smallest_gap_is_first_but_an_underfitting_model_never_wins() -> None:
    comparison = compare(three())
    assert models(comparison) == ["fair", "over", "under"]
    assert [row.underfit for row in comparison.rows] == [False, False, True]
    assert comparison.accuracy_floor == pytest.approx(0.90 - WITHIN)
    assert comparison.rows[1].scores["gap_test_accuracy"].mean > 0


def test_the_demand_on_accuracy_can_be_set_and_dropped() -> None:
    assert models(compare(three(), demand=Demand(within=None))) == ["under", "fair", "over"]
    assert models(compare(three(), demand=Demand(within=0.01))) == ["over", "under", "fair"]
    strict = compare(three(), demand=Demand(minimum=0.89, within=None))
    assert (models(strict), strict.accuracy_floor) == (["over", "under", "fair"], 0.89)
    assert compare(three(), demand=Demand(minimum=0.5, within=0.02)).accuracy_floor == pytest.approx(0.88)


def test_a_row_is_held_to_the_accuracies_on_its_own_dataset() -> None:
    runs = [
        run(0.99, 0.98, dataset__name="mnist", model__name="a"),
        run(0.97, 0.95, dataset__name="mnist", model__name="b"),
        run(0.92, 0.88, dataset__name="fashion_mnist", model__name="a"),
        run(0.80, 0.79, dataset__name="fashion_mnist", model__name="b"),
    ]
    comparison = compare(runs)
    rows = {(row.settings["dataset.name"], row.settings["model.name"]): row for row in comparison.rows}
    assert {name for name, row in rows.items() if row.underfit} == {("mnist", "b"), ("fashion_mnist", "b")}
    assert rows["fashion_mnist", "a"].on_front
    assert "below the best of the same images or sweep" in "\n".join(legend(comparison))


def test_an_explicit_sorting_sorts_as_asked_and_marks_underfitting_all_the_same() -> None:
    comparison = compare(three(), sort_by="gap_test_accuracy")
    assert models(comparison) == ["under", "fair", "over"]
    assert comparison.rows[0].underfit


def test_the_front_has_the_rows_that_none_beats_in_both_and_can_be_all_that_is_kept() -> None:
    runs = [*three(), run(0.95, 0.88, model__name="beaten")]
    comparison = compare(runs, only_front=True)
    assert set(models(comparison)) == {"fair", "over"}, "the gap of an underfit row counts for nothing"
    assert comparison.configurations == 4
    assert set(models(compare(runs, only_front=True, demand=Demand(within=None)))) == {"under", "fair", "over"}


def test_a_row_that_lacks_a_seed_of_others_is_incomplete_and_names_it() -> None:
    whole = [run(model__name="a", seed=seed) for seed in range(3)]
    lacking = [run(model__name="b", seed=0), run(model__name="b", seed=1, state=RunState.FAILED)]
    rows = {row.label: row for row in compare([*whole, *lacking]).rows}
    assert (rows["a"].incomplete, rows["a"].expected) == (False, 3)
    assert (rows["b"].incomplete, rows["b"].missing, rows["b"].finished, rows["b"].expected) == (True, ("2",), 1, 3)


def test_a_failed_run_whose_seed_finished_in_another_leaves_nothing_incomplete() -> None:
    again = [run(seed=0, model__name="a", state=RunState.FAILED) for _ in range(2)]
    replaced, owed = compare([*again, *(run(seed=seed, model__name=name) for name, seed in
                                        (("a", 0), ("a", 1), ("b", 1)))]).rows  # fmt: skip
    assert (replaced.finished, replaced.expected, replaced.incomplete, replaced.repeats) == (2, 2, False, 0)
    assert (owed.expected, owed.missing) == (2, ("0",))
    (failed,) = compare(again).rows
    assert (failed.expected, len(failed.lacking)) == (1, 1)


def test_rows_without_a_common_seed_owe_each_other_none() -> None:
    runs = [run(model__name="a", seed=0), run(model__name="b", seed=1)]
    assert not any(row.incomplete for row in compare(runs).rows)


def test_a_score_has_the_t_interval_of_its_mean() -> None:
    gaps = [0.10, 0.12, 0.17]
    (row,) = compare([run(0.8 + gap, 0.8, seed=seed) for seed, gap in enumerate(gaps)]).rows
    score = row.scores["gap_test_accuracy"]
    assert score.interval is not None
    assert (score.interval.low, score.interval.high) == pytest.approx(DescrStatsW(gaps).tconfint_mean())
    assert row.by_unit("gap_test_accuracy") == pytest.approx({"0": 0.10, "1": 0.12, "2": 0.17})


def test_what_a_split_selected_is_known() -> None:
    stopped = {"regime__early_stopping__enabled": True, "regime__early_stopping__monitor": "val/loss"}
    slowed = {"regime__schedule__name": "plateau", "regime__schedule__monitor": "train/loss"}
    alone = compare([run(val=0.85, **stopped), run(val=0.85, seed=1, **stopped)]).selected_on
    assert alone == {"val": ("early stopping chose the epoch by it in all runs",)}
    several = compare([run(val=0.85, **stopped), run(val=0.85, model__name="b", **slowed)])
    assert several.selected_on == {
        "val": ("it ranks the rows", "early stopping chose the epoch by it in 1 of 2 runs"),
        "test": ("val ranks the rows, and most of a run's luck is in its weights",),
    }
    assert compare(three(), sort_by="train_accuracy").selected_on == {}
    assert compare(three()).selected_on == {"test": ("it ranks the rows",)}


def test_the_split_whose_front_is_all_that_is_left_selected_the_rows_however_they_are_sorted() -> None:
    runs = [run(0.9, 0.8, model__name="a"), run(0.9, 0.85, model__name="b")]
    assert compare(runs, sort_by="model").selected_on == {}
    assert list(compare(runs, sort_by="model", only_front=True).selected_on) == ["test"]


def test_the_validation_gap_ranks_only_where_every_finished_run_has_one() -> None:
    with_validation = run(0.9, 0.7, val=0.8, model__name="a")
    without = run(0.9, 0.75, model__name="b")
    failed = run(metrics={}, state=RunState.FAILED, model__name="c")
    assert compare([with_validation, failed]).sorted_by == "gap_val_accuracy"
    assert compare([with_validation, without]).sorted_by == "gap_test_accuracy"
    assert compare([with_validation], held_out="test").sorted_by == "gap_test_accuracy"


def test_settings_sort_as_numbers_where_they_are_numbers() -> None:
    runs = [run(regime__epochs=epochs) for epochs in (10, 5, "auto", 100)]
    order = [row.settings["regime.epochs"] for row in compare(runs, sort_by="epochs").rows]
    assert order == ["5", "10", "100", "auto"]


def test_every_column_can_be_sorted_by() -> None:
    runs = [run(0.9, 0.8, 0.7, model__name="a"), run(0.8, 0.7, 0.75, model__name="b"), run(model__name="b", seed=1)]
    for column in compare(runs).columns:
        both = [models(compare(runs, sort_by=column, ascending=ascending)) for ascending in (True, False)]
        assert both[0] == both[1][::-1], column


def test_an_unknown_column_is_refused_with_choices_and_a_near_miss() -> None:
    with pytest.raises(RequestError, match=r"'gap_tets_accuracy'.*mean 'gap_test_accuracy'.*train_accuracy") as refusal:
        compare([run()], sort_by="gap_tets_accuracy")
    assert refusal.value.exit_code == 2
    with pytest.raises(RequestError):
        compare([run()], sort_by="val_accuracy")  # no run here has one


def test_a_loss_that_became_nan_makes_the_mean_nan_and_the_row_last() -> None:
    broken = {"final/gap_test_accuracy": math.nan, "final/train_accuracy": 0.1}
    runs = [run(model__name="a", metrics=broken), run(model__name="b")]
    comparison = compare(runs)
    assert models(comparison) == ["b", "a"]
    assert math.isnan(comparison.rows[1].scores["gap_test_accuracy"].mean)


def test_a_parameter_that_one_run_lacks_parts_it_from_the_others() -> None:
    assert len(compare([run(engine="keras"), run()]).rows) == 2


def test_nothing_compares_to_nothing() -> None:
    assert compare([]).rows == ()


def test_runs_are_compared_with_the_weights_that_are_asked_for() -> None:
    def evaluated(final: float, best: float, name: str) -> RunRecord:
        at = {f"best/{key.partition('/')[2]}": value for key, value in scores(best, 0.8, 0.8).items()}
        return run(model__name=name, metrics=scores(final, 0.8, 0.8) | at)

    runs = [evaluated(0.90, 0.83, "a"), evaluated(0.95, 0.82, "b")]
    assert [row.label for row in compare(runs).rows] == ["a", "b"]
    best = compare(runs, stage="best")
    assert [row.label for row in best.rows] == ["b", "a"]
    assert best.rows[0].by_unit("gap_val_accuracy") == {"0": pytest.approx(0.02)}
    assert "the epoch of its least loss was chosen" in best.selected_on["val"]
    assert "least validation loss" in context(best)[0]


def test_runs_on_other_files_are_another_row_and_the_word_for_them_is_shown() -> None:
    published = [run(0.9, 0.88, seed=seed, **data("a" * 32, "b" * 32)) for seed in range(3)]
    variant = [run(0.9, 1.05, seed=seed, **data("c" * 32, "d" * 32, variant="variant 1a2b3c4d")) for seed in range(3)]
    comparison = compare([*published, *variant])
    assert {row.label: row.n for row in comparison.rows} == {"published": 3, "variant 1a2b3c4d": 3}
    assert comparison.settings == ("data.variant",)
    assert comparison.repeats == 0


def test_other_training_images_of_the_same_files_are_told_by_their_digest_where_no_setting_does() -> None:
    runs = [run(model__name=name, **data(train * 32, "b" * 32)) for name in "xy" for train in "ac"]
    labels = {row.settings["data.variant"] for row in compare(runs).rows}
    assert labels == {"published train aaaaaaaa", "published train cccccccc"}


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset__train_size": (5000, None)},
        {"dataset__label_noise": ("0.0", "0.4")},
        {"dataset__seed": (0, 1)},
        {"regime__validation__seed": (0, 7)},
        {"dataset__test_size": (100, None)},
    ],
)
def test_images_that_a_shown_setting_tells_apart_have_no_column_of_their_own(
    settings: dict[str, tuple[object, object]],
) -> None:
    ((key, values),) = settings.items()
    runs = [run(**{key: value}, **data(f"{n}" * 32, f"{n}" * 32, f"{n}" * 32)) for n, value in enumerate(values)]
    comparison = compare(runs, replicates=())
    assert comparison.settings == (key.replace("__", "."),)
    assert "data" not in "".join(context(comparison))


def test_images_are_not_told_by_a_setting_that_does_not_decide_them() -> None:
    """Each model on other files: a confusion that a column must show."""
    runs = [run(model__name="x", **data("a", "b")), run(model__name="y", **data("c", "d", variant="variant 1"))]
    assert compare(runs).settings == ("model.name", "data.variant")


def test_a_variant_that_all_runs_share_is_named_above_the_table() -> None:
    runs = [run(model__name=name, **data("a", "b", variant="variant 1a2b3c4d")) for name in "xy"]
    assert "data variant 1a2b3c4d" in context(compare(runs))[0]
    assert context(compare([run(model__name=name, **data("a", "b")) for name in "xy"])) == []


def evaluated(few: str = "few") -> list[RunRecord]:
    """Two models each on all and on the first 100 test images, on which both do better."""
    return [
        run(0.99, 0.97, model__name="a", dataset__test_size=100, **data("t", few)),
        run(0.99, 0.96, model__name="b", dataset__test_size=100, **data("t", few)),
        run(0.90, 0.885, model__name="a", **data("t", "all")),
        run(0.90, 0.875, model__name="b", **data("t", "all")),
        run(0.80, 0.79, model__name="c", **data("t", "all")),
    ]


def test_rows_on_different_test_images_have_floors_and_fronts_of_their_own_and_stand_in_groups() -> None:
    comparison = compare(evaluated())
    assert [row.scored_on for row in comparison.rows] == ["all"] * 3 + ["few"] * 2, "the largest group first"
    assert [row.label for row in comparison.rows if row.underfit] == ["c -"]
    assert [row.label for row in comparison.rows if row.on_front] == ["a -", "a 100"]
    assert any("different test images" in line for line in legend(comparison))
    assert comparison.accuracy_floors == pytest.approx((0.865, 0.95))
    alike = compare(evaluated("all"))
    assert {row.label for row in alike.rows if row.underfit} == {"a -", "b -", "c -"}
    assert not any("different" in line for line in legend(alike))


def test_an_explicit_sorting_goes_over_all_groups() -> None:
    order = [row.label for row in compare(evaluated(), sort_by="gap_test_accuracy").rows]
    assert order == ["c -", "a -", "a 100", "b -", "b 100"]


def test_a_sweep_on_fewer_images_has_its_own_floor() -> None:
    small = [run(0.9, 0.80, model__name=name, dataset__train_size=5000, sweep="s", **data("few", "x")) for name in "ab"]
    full = [run(0.9, 0.88, model__name=name, sweep="f", **data("all", "x")) for name in "ab"]
    assert not any(row.underfit for row in compare([*small, *full]).rows)
    assert any(row.underfit for row in compare([*small, run(0.9, 0.88, model__name="c", **data("few", "x"))]).rows)
    sizes = [run(0.9, 0.86, model__name="a", sweep="sizes", dataset__train_size=50000, **data("most", "x"))]
    sizes.append(run(0.9, 0.80, model__name="c", sweep="sizes", dataset__train_size=5000, **data("few", "x")))
    rows = {row.label: row.underfit for row in compare([*small, *full, *sizes]).rows}
    assert [label for label, underfit in rows.items() if underfit] == ["c 5000"], "the only one swept with more images"


def test_a_sweep_over_the_number_of_images_has_one_floor() -> None:
    runs = [
        run(0.9, test, dataset__train_size=size, sweep="s", **data(f"{size}", "x"))
        for size, test in ((500, 0.7), (5000, 0.8), (None, 0.88))
    ]
    assert [row.settings["dataset.train_size"] for row in compare(runs).rows if row.underfit] == ["5000", "500"]


def test_rows_of_two_sweeps_lack_only_what_their_own_sweep_asked_for() -> None:
    two = [run(model__name="a", seed=seed, sweep="two") for seed in range(2)]
    three = [run(model__name="b", seed=seed, sweep="three") for seed in range(3)]
    assert not any(row.incomplete for row in compare([*two, *three]).rows)
    cut = [run(model__name="c", seed=0, sweep="three")]
    rows = {row.label: row for row in compare([*two, *three, *cut]).rows}
    assert (rows["a"].missing, rows["b"].missing, rows["c"].missing) == ((), (), ("1", "2"))


def test_seeds_that_an_earlier_sweep_trained_are_not_missing() -> None:
    earlier = [run(model__name="a", seed=seed, sweep="first") for seed in range(2)]
    added = [run(model__name="a", seed=seed, sweep="second") for seed in (2, 3)]
    fresh = [run(model__name="b", seed=seed, sweep="second") for seed in range(4)]
    assert not any(row.incomplete for row in compare([*earlier, *added, *fresh]).rows)


def test_runs_that_did_not_record_their_images_are_counted() -> None:
    old = [run(model__name=name) for name in "ab"]
    assert compare([*old, run(model__name="c", **data("t", "s"))]).unrecorded == 2
    assert compare([run(**data("t", "s"))]).unrecorded == 0


def test_a_run_that_a_sweep_reuses_belongs_to_it() -> None:
    """Of a sweep over sizes and seeds the small ones were trained before; a job of it did not begin."""
    earlier = [run(0.9, 0.8, seed=seed, dataset__train_size=500, sweep="first", **data("few", "x")) for seed in (0, 1)]
    reused = [replace(record, reused_by="second") for record in earlier]
    added = [run(0.9, 0.88, seed=seed, sweep="second", **data("all", "x")) for seed in range(3)]
    rows = {row.label: row for row in compare([*reused, *added]).rows}
    assert (rows["500"].underfit, rows["500"].missing) == (True, ("2",))
    rows = {row.label: row for row in compare([*earlier, *added]).rows}
    assert (rows["500"].underfit, rows["500"].missing) == (False, ())
