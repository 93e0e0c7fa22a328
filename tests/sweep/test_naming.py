"""A run is called after what makes it differ."""

from __future__ import annotations

import pytest

from harness.composing import compose_config
from harness.sweep.naming import run_name, sweep_name


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
        (["engine=keras", "debug=tiny"], "mlp_128 adam engine=keras tiny"),
        (['regime.continue_from="2e1354"'], "mlp_128 adam continue_from=2e1354"),
    ],
)
def test_a_single_run_is_named_after_model_optimizer_and_overrides(overrides: list[str], name: str) -> None:
    assert run_name(compose_config(overrides), overrides) == name


def test_a_run_of_a_sweep_is_named_after_what_was_swept() -> None:
    overrides = ["model=mlp_128", "optimizer=sgd", "seed=0", "regime.epochs=2", "tracking.run_name=study"]
    assert run_name(compose_config(overrides), overrides, ("model", "seed")) == "mlp_128 seed=0"


def test_a_sweep_is_named_after_its_experiment_and_keys() -> None:
    assert sweep_name(("model", "optimizer.learning_rate"), ["model=a,b"]) == "sweep of model, learning_rate"
    assert sweep_name(("seed",), ["experiments=demo"]) == "demo: seed"
    assert sweep_name(("experiments", "seed"), ["experiments=a,b", "seed=0,1"]) == "sweep of experiments, seed"
