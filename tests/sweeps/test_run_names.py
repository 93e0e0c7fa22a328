"""A run is called after what makes it differ."""

from __future__ import annotations

import pytest

from harness.composing import compose_config
from harness.config.schema import Config
from harness.sweeps.run_names import run_name, sweep_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "mlp_128 adam"),
        (["regime.epochs=4"], "mlp_128 adam epochs=4"),
        (["model=cnn", "optimizer=sgd", "optimizer.learning_rate=0.1"], "cnn sgd learning_rate=0.1"),
        (["dataset=mnist", "seed=3"], "mlp_128 adam mnist seed=3"),
        (["figures=none", "palette=green", "tracking.experiment=x", "tracking.log_model=false"], "mlp_128 adam"),
        (["model=mlp", "model.width=64", "model.depth=2"], "mlp adam width=64 depth=2"),
        (["dataset.label_noise=0.2", "model.shift=1"], "mlp_128 adam label_noise=0.2 shift=1"),
        (["tracking.run_name=mine", "seed=3"], "mine"),
        (["model.shift=4", "threads=1"], "mlp_128 adam shift=4"),
        (["model.shift=4", "+threads=2", "retries=1", "timeout=3", "max_failures=2"], "mlp_128 adam shift=4"),
        (["model.shift=4", "fail_fast=true", "resume=false", "hydra.verbose=true"], "mlp_128 adam shift=4"),
        (["model.shift=4", "hydra/launcher=basic", "dataset.directory=tests/data"], "mlp_128 adam shift=4"),
        (["seed=1", "dataset.seed=2"], "mlp_128 adam seed=1 dataset.seed=2"),
        (["dataset.seed=2"], "mlp_128 adam dataset.seed=2"),
        (["engine=keras", "debug=tiny"], "mlp_128 adam engine=keras tiny"),
        (["dataset=npz", "dataset.file=/data/digits.npz", "seed=3"], "mlp_128 adam digits seed=3"),
        (["dataset=npz", "dataset.file=a/digits.npz", "dataset.name=mine"], "mlp_128 adam mine"),
        (["dataset=image_folder", "dataset.directory=cats", "dataset.colour=grey"], "mlp_128 adam cats colour=grey"),
        (['regime.continue_from="2e1354"'], "mlp_128 adam continue_from=2e1354"),
    ],
)
def test_a_single_run_is_named_after_model_optimizer_and_overrides(overrides: list[str], name: str) -> None:
    assert run_name(compose_config(overrides), overrides) == name


def test_a_run_of_a_sweep_is_named_after_what_was_swept() -> None:
    overrides = ["model=mlp_128", "optimizer=sgd", "seed=0", "regime.epochs=2", "tracking.run_name=study"]
    assert run_name(compose_config(overrides), overrides, ("model", "seed")) == "mlp_128 seed=0"


def test_a_run_of_a_sweep_over_files_is_named_after_each() -> None:
    overrides = ["dataset=npz", "dataset.file=a/digits.npz", "seed=0"]
    assert run_name(compose_config(overrides), overrides, ("dataset.file", "seed")) == "digits seed=0"


def test_a_sweep_is_named_after_its_experiment_and_keys() -> None:
    assert sweep_name(("model", "optimizer.learning_rate"), ["model=a,b"]) == "sweep of model, learning_rate"
    assert sweep_name(("seed",), ["experiments=demo"]) == "demo: seed"
    assert sweep_name(("experiments", "seed"), ["experiments=a,b", "seed=0,1"]) == "sweep of experiments, seed"


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        (("seed", "dataset.seed"), "seed, dataset.seed"),
        (("regime.validation.seed", "dataset.seed"), "validation.seed, dataset.seed"),
        (("regime.early_stopping.patience", "regime.schedule.patience"), "early_stopping.patience, schedule.patience"),
        (("regime.schedule.patience",), "patience"),
    ],
)
def test_two_settings_with_one_last_name_are_told_apart(swept: tuple[str, ...], name: str) -> None:
    assert sweep_name(swept, []) == f"sweep of {name}"
    values = [f"{key}={place}" for place, key in enumerate(swept, 1)]
    named = run_name(Config(), values, swept)
    assert named == " ".join(f"{short}={place}" for place, short in enumerate(name.split(", "), 1))


def test_runs_of_a_sweep_over_what_names_no_run_are_called_by_model_and_optimizer() -> None:
    assert run_name(compose_config(["figures=none"]), ["figures=none"], ("figures",)) == "mlp_128 adam"
