"""Runs that others wrote become records that the statistics take, and what is not known of them is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.analysis.comparison import Comparison, compare
from harness.analysis.external_runs import adapt
from harness.analysis.legend import marks, warnings
from harness.analysis.metric_names import Naming, recognised
from harness.analysis.presenting import render
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from tests.analysis import records


def other(metrics: dict[str, float], state: RunState = RunState.FINISHED, **parameters: object) -> RunRecord:
    """A run that has nothing of the harness."""
    run = records.run(metrics=metrics, state=state)
    return replace(run, tags={}, parameters={key: str(value) for key, value in parameters.items()})


def keras(train: float, val: float, **parameters: object) -> RunRecord:
    return other({"accuracy": train, "val_accuracy": val, "loss": 1 - train, "val_loss": 1 - val}, **parameters)


def compared(runs: list[RunRecord], **naming: object) -> Comparison:
    found, reading = adapt(runs, Naming(**naming))  # type: ignore[arg-type]
    return compare(found, reading=reading)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (("accuracy", "val_accuracy"), ("accuracy", "val_accuracy", None)),
        (
            ("sparse_categorical_accuracy", "val_sparse_categorical_accuracy", "restored_epoch"),
            ("sparse_categorical_accuracy", "val_sparse_categorical_accuracy", None),
        ),
        (("accuracy", "validation_accuracy", "val_accuracy"), ("accuracy", "val_accuracy", None)),
        (("accuracy", "test_accuracy"), ("accuracy", None, "test_accuracy")),
        (("train_acc", "val_acc", "test_acc"), ("train_acc", "val_acc", "test_acc")),
        (
            ("train_acc", "train_acc_step", "train_acc_epoch", "valid_acc", "valid_acc_epoch"),
            ("train_acc_epoch", "valid_acc_epoch", None),
        ),
        (("train/Accuracy", "valid/Accuracy"), ("train/Accuracy", "valid/Accuracy", None)),
        (("accuracy", "val_acc"), None),  # not the same score
        (("accuracy",), None),
    ],
)
def test_the_names_of_keras_and_lightning_are_known(
    metrics: tuple[str, ...], expected: tuple[str | None, ...] | None
) -> None:
    names = recognised(metrics)
    keys = ("train_accuracy", "val_accuracy", "test_accuracy")
    assert tuple(names.get(key) for key in keys) == (expected or (None, None, None))


def test_gaps_have_the_signs_of_the_harness() -> None:
    [run], _ = adapt([keras(0.9, 0.8, seed=1)])
    assert run.metrics["final/gap_val_accuracy"] == pytest.approx(0.1)
    assert run.metrics["final/gap_val_loss"] == pytest.approx(0.1)
    assert run.metrics["val_loss"] == pytest.approx(0.2), "the run's own metrics are still there"


def test_runs_that_differ_in_a_seed_only_are_one_row() -> None:
    runs = [
        keras(0.9 + seed / 100, 0.8, random_state=seed, optimizer_name=name, optimizer_learning_rate=rate)
        for name, rate in (("sgd", "0.009999999776482582"), ("adam", "0.0010000000474974513"))
        for seed in range(3)
    ]
    comparison = compared(runs)
    assert [row.settings for row in comparison.rows] == [{"optimizer_name": "adam"}, {"optimizer_name": "sgd"}]
    assert all(row.seeds == ("0", "1", "2") for row in comparison.rows)
    assert comparison.follows == {"optimizer_learning_rate": "optimizer_name"}
    assert comparison.repeats == 0
    assert "0.01 for sgd" in render(comparison, "table")


def test_keras_counts_the_optimizers_of_a_process_and_that_is_no_setting() -> None:
    runs = [keras(0.9, 0.8, seed=seed, optimizer_name=f"adam_{seed}" if seed else "adam") for seed in range(3)]
    [row] = compared(runs).rows
    assert row.n == 3


def test_runs_without_a_seed_are_repetitions_that_pair_with_nothing() -> None:
    comparison = compared([keras(0.9, 0.8 - n / 100, width=n // 2) for n in range(4)])
    assert [row.finished for row in comparison.rows] == [2, 2]
    assert comparison.repeats == 0
    assert len(comparison.rows[0].by_unit("gap_val_accuracy")) == 2
    assert any("No run records a seed" in line for line in warnings(comparison))


def test_gaps_on_running_averages_are_marked() -> None:
    comparison = compared([keras(0.9, 0.8, seed=0, width=8), keras(0.9, 0.7, seed=0, width=16)])
    table = render(comparison, "table")
    heading = next(line for line in table.splitlines() if line.startswith("width"))
    assert "train %‡" in heading
    assert "gap val†‡" in heading
    assert "val %†" in heading
    assert any(mark.startswith("‡ rests on accuracy and loss: running averages") for mark in marks(comparison))


def test_the_harness_own_runs_are_not_marked_and_not_changed() -> None:
    runs = [records.run(seed=seed) for seed in range(2)]
    found, reading = adapt(runs)
    assert found == runs
    assert "‡" not in render(compare(found, reading=reading), "table")


def test_the_harness_own_runs_can_be_read_by_other_metrics() -> None:
    run = records.run(metrics={"fit/accuracy": 0.85, "val/accuracy": 0.8, "final/gap_test_accuracy": 0.5})
    [found], reading = adapt([run], Naming(train_accuracy="fit/accuracy", held_out_accuracy="val/accuracy"))
    assert found.metrics["final/gap_val_accuracy"] == pytest.approx(0.05)
    assert "final/gap_test_accuracy" not in found.metrics, "two definitions do not mix"
    assert reading.running.startswith("fit/accuracy: running averages")
    _, clean = adapt(
        [replace(run, metrics={"train/accuracy": 0.9, "val/accuracy": 0.8})],
        Naming(train_accuracy="train/accuracy", held_out_accuracy="val/accuracy"),
    )
    assert not clean.running


def test_metrics_of_any_name_and_parameters_to_group_by_can_be_named() -> None:
    runs = [
        other({"top1": 90 + n, "eval_top1": 80}, seed=n, host=f"node{n}", width=8 * (1 + n % 2), depth=2)
        for n in range(4)
    ]
    naming = {"train_accuracy": "top1", "held_out_accuracy": "eval_top1", "group_by": ("width",)}
    comparison = compared(runs, **naming)
    assert comparison.settings == ("width",)
    assert comparison.constants == {"depth": "2"}
    assert comparison.held_out == "test"
    assert comparison.rows[0].scores["gap_test_accuracy"].mean == pytest.approx(0.11)
    said = " ".join(warnings(comparison))
    assert "per cent" in said
    assert "Not known of top1: whether measured with the weights at the end" in said
    assert "Not told apart, though they differ: host." in said


def test_where_every_run_is_a_row_of_its_own_grouping_is_suggested() -> None:
    runs = [keras(0.9, 0.8, seed=n, started=f"10:0{n}", width=8) for n in range(3)]
    said = " ".join(warnings(compared(runs)))
    assert "They differ in started: name those that matter with --group-by" in said


def test_of_a_mixed_experiment_the_harness_own_runs_are_compared_and_that_is_said() -> None:
    own, theirs = records.run(model__name="mlp"), keras(0.9, 0.8, seed=0)
    comparison = compared([own, theirs])
    assert comparison.runs == 1
    assert any("1 run that the harness did not write is left out" in line for line in warnings(comparison))
    theirs = replace(theirs, parameters={**theirs.parameters, "model.name": "cnn"})
    both = compared([replace(own, metrics=records.scores(0.9, 0.8, 0.85)), theirs], group_by=("model.name",))
    assert {row.label for row in both.rows} == {"mlp", "cnn"}
    assert any("1 of 2 runs are not the harness's" in line for line in warnings(both))
    assert any("(in 1 of 2 runs)" in mark for mark in marks(both))


def test_a_run_that_only_holds_others_together_is_no_run_of_its_own() -> None:
    parent = other({"best_value": 0.9})
    children = [keras(0.9, 0.8, seed=n) for n in range(2)]
    children = [replace(run, tags={"mlflow.parentRunId": parent.run_id}) for run in children]
    assert compared([parent, *children]).runs == 2


def test_early_stopping_that_autologging_tells_of_selected_the_epoch() -> None:
    run = keras(0.9, 0.8, seed=0, monitor="val_loss")
    stopped = replace(run, metrics={**run.metrics, "restored_epoch": 3.0})
    assert "early stopping chose the epoch by it in the run" in compared([stopped]).selected_on["val"]
    assert compared([run]).selected_on == {}


def test_losses_alone_are_ranked_by_their_gap() -> None:
    runs = [other({"train_loss": 0.2, "val_loss": 0.2 + n / 10}, seed=0, width=n) for n in (3, 1)]
    comparison = compared(runs)
    assert comparison.sorted_by == "gap_val_loss"
    assert [row.label for row in comparison.rows] == ["1", "3"]
    assert any("There are no accuracies" in line for line in warnings(comparison))


def test_metrics_that_are_not_known_are_listed_with_the_options_that_name_them() -> None:
    runs = [other({"top1": 0.9, "top1_dev": 0.8}, seed=n) for n in range(2)]
    with pytest.raises(RequestError, match=r"None of the 2 .*Metrics here: top1, top1_dev\. .*--train-metric NAME"):
        adapt(runs)
    with pytest.raises(RequestError, match=r"no metrics at all"):
        adapt([other({})])
    found, _ = adapt([other({}, state=RunState.FAILED)])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("naming", "message"),
    [
        (Naming(train_accuracy="accuracy"), r"--train-metric accuracy: .*--held-out-metric"),
        (Naming(held_out_loss="val_loss"), r"--held-out-loss-metric val_loss: .*--train-loss-metric"),
        (Naming("acuracy", "val_accuracy"), r"'acuracy'\. Did you mean 'accuracy'\? They have accuracy, loss"),
        (Naming(group_by=("wdth",)), r"--group-by wdth: .*Did you mean 'width'\? They have width"),
        (Naming(group_by=("seed",)), r"--group-by seed: a seed tells repetitions"),
    ],
)
def test_what_is_named_must_be_there(naming: Naming, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        adapt([keras(0.9, 0.8, seed=0, width=8)], naming)


def test_the_harness_own_settings_are_not_grouped_by_hand() -> None:
    with pytest.raises(RequestError, match="--effect SETTING"):
        adapt([records.run()], Naming(group_by=("model.name",)))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("opt_name", ("adam", "adam_1", "adam_2")),  # of mlflow.tensorflow, and of mlflow.autolog
        ("optimizer_name", ("rm_sprop", "rm_sprop_1", "rm_sprop_12")),
        ("opt_name", ("my_own_optimizer", "my_own_optimizer_1", "my_own_optimizer_2")),
        ("optimizer", ("sgd_3", "sgd_4", "sgd")),
        ("model_name", ("sequential", "sequential_1", "sequential_2")),
        ("model.name", ("functional", "functional_1", "functional_2")),
        ("layers/0/name", ("dense_1", "dense_3", "dense_5")),
        ("last_layer", ("conv2d_2", "conv2d_5", "conv2d")),
        ("layer_name", ("global_average_pooling2d_1", "global_average_pooling2d_2", "global_average_pooling2d")),
        ("model", tuple(str({"name": f"sequential{end}"}) for end in ("", "_1", "_2"))),
        ("network", tuple(f"<Sequential name=sequential{end}, built=True>" for end in ("", "_1", "_2"))),
        ("optimizer", tuple(f"<keras.src.optimizers.adam.Adam object at 0x7f{end}>" for end in "abc")),
        (
            "config",
            tuple(str([{"class_name": "Dense", "config": {"name": f"dense{end}"}}]) for end in ("", "_1", "_2")),
        ),
    ],
)
def test_the_numbers_and_addresses_of_objects_are_no_settings(key: str, values: tuple[str, ...]) -> None:
    runs = [keras(0.9, 0.8, seed=seed, **{key: value}) for seed, value in enumerate(values)]
    [row] = compared(runs).rows
    assert row.n == 3


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("model_name", ("mlp_1", "mlp_2")),
        ("model", ("model_1", "model_2")),
        ("variant", ("adam_1", "adam_2")),
        ("units", ("dense_64", "dense_128")),
        ("hidden_layers", ("resnet_18", "resnet_34")),
        ("freeze_until_layer", ("block_3", "block_4")),
        ("layer", ("encoder_6", "encoder_12")),
        ("model", ("{'name': 'vit_16'}", "{'name': 'vit_32'}")),
        ("config", ("[{'units': 64}]", "[{'units': 128}]")),
    ],
)
def test_a_number_that_somebody_chose_is_a_setting(key: str, values: tuple[str, ...]) -> None:
    assert len(compared([keras(0.9, 0.8, seed=0, **{key: value}) for value in values]).rows) == 2


def test_options_follow_from_the_optimizer_under_either_name_of_autologging() -> None:
    runs = [
        keras(0.9, 0.8, seed=seed, opt_name=name, opt_learning_rate=rate, opt_beta_1=beta)
        for name, rate, beta in (("adam", 0.001, 0.9), ("sgd", 0.01, None))
        for seed in range(2)
    ]
    comparison = compared(runs)
    assert comparison.settings == ("opt_name",)
    assert "0.01 for sgd" in render(comparison, "table")


def test_digests_of_the_harness_runs_are_no_parameters_that_tell_rows_apart() -> None:
    own = [
        records.run(seed=seed, model__name="a", val=0.8, **records.data(f"t{seed}", f"s{seed}")) for seed in range(2)
    ]
    theirs = [keras(0.9, 0.8, seed=seed, **{"model.name": "a"}) for seed in range(2)]
    comparison = compared([*own, *theirs], group_by=("model.name",))
    assert [row.n for row in comparison.rows] == [4]
    assert any("the images of the harness's runs" in line for line in warnings(comparison))
