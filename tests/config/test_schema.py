"""The rules of settings, and the messages of refusals."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import pytest

from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import (
    ACTIVATIONS,
    ARCHITECTURES,
    DATASETS,
    ENGINES,
    FIGURES,
    PREPROCESSING,
    SCHEDULES,
    Config,
    ModelConfig,
    OptimizerConfig,
    TrackingConfig,
    flatten,
    settings_with,
    without_effect,
)
from harness.config.validation import check_images, validate
from harness.errors import ConfigError


def refusal(**changes: object) -> str:
    """The message of `validate` for the default configuration with `group__key=value` changed."""
    config = Config()
    for path, value in changes.items():
        *groups, key = path.split("__")
        node: object = config
        for group in groups:
            node = getattr(node, group)
        assert hasattr(node, key)
        setattr(node, key, value)
    with pytest.raises(ConfigError) as refused:
        validate(config)
    return str(refused.value)


def test_the_defaults_are_valid() -> None:
    config = Config()
    validate(config)
    assert config == Config()  # checked, not changed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"regime__epochs": 0}, ["regime.epochs=0", "at least 1"]),
        ({"regime__batch_size": -3}, ["regime.batch_size=-3", "at least 1"]),
        ({"optimizer__learning_rate": 0.0}, ["optimizer.learning_rate=0.0", "above 0"]),
        ({"optimizer__learning_rate": float("nan")}, ["optimizer.learning_rate=nan", "finite"]),
        ({"model__dropout": 1.0}, ["model.dropout=1.0", "at least 0 and below 1"]),
        ({"model__hidden": [128, 0]}, ["model.hidden=0", "at least 1"]),
        ({"model__activation": "rellu"}, ["model.activation=rellu", "must be one of", "Did you mean 'relu'?"]),
        ({"dataset__name": "cifar10"}, ["dataset.name=cifar10", "fashion_mnist, mnist"]),
        ({"dataset__label_noise": 1.0}, ["dataset.label_noise=1.0", "at least 0 and below 1"]),
        ({"model__shift": 9}, ["model.shift=9", "at least 0 and at most 8"]),
        ({"regime__label_smoothing": -0.1}, ["regime.label_smoothing=-0.1", "at least 0 and below 1"]),
        ({"model__depth": 2}, ["model.depth=2", "Set model.width too", "model.hidden"]),
        ({"model__width": 8, "model__hidden": [300, 100]}, ["model.width=8 with model.hidden=[300, 100]", "model=mlp"]),
        (
            {"model__width": 8, "model__architecture": "cnn", "model__filters": [4]},
            ["model.width=8", "only an mlp has a width", "model.filters and model.hidden"],
        ),
        ({"model__filters": [8]}, ["model.filters=[8]", "model=cnn"]),
        ({"model__architecture": "cnn"}, ["model.filters=[]", "at least one convolution"]),
        ({"optimizer__momentum": 0.9}, ["adam has no option 'momentum'", "beta_1"]),
        ({"optimizer__clipnorm": 1.0, "optimizer__clipvalue": 1.0}, ["only one kind of clipping"]),
        ({"regime__early_stopping__enabled": True}, ["no validation split to monitor", "train/loss"]),
        ({"regime__schedule__name": "plateau"}, ["regime.schedule.monitor=val/loss", "no validation split"]),
        ({"regime__schedule__warmup_epochs": 5}, ["must be below regime.epochs=5"]),
        ({"seed": 2**32}, ["seed=4294967296", "at most 4294967295"]),
    ],
)
def test_a_broken_rule_is_named_with_value_and_rule(changes: dict[str, object], said: list[str]) -> None:
    message = refusal(**changes)
    for words in said:
        assert words in message


def test_every_problem_is_named_at_once() -> None:
    message = refusal(regime__epochs=0, model__dropout=2.0)
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("experiment", "e" * 300, "has 300 characters. Use at most 256."),
        ("run_name", "r" * 251, "has 251 characters. Use at most 250."),
        ("experiment", "", "must be a name"),
        ("experiment", "two\nlines", "must be a name"),
        ("run_name", "  ", "must be a name"),
        ("experiment", "bytes \udcff", "must be a name"),
    ],
)
def test_a_name_that_could_not_be_stored_is_refused_before_training(key: str, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Config(tracking=TrackingConfig(**{key: name})))
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"tracking.{key}=")
    assert said in line
    assert len(line) < 200


def test_width_and_depth_stand_for_a_list_of_hidden_layers() -> None:
    for model, units in (
        (ModelConfig(), [128]),
        (ModelConfig(hidden=[]), []),
        (ModelConfig(width=8), [8]),
        (ModelConfig(width=8, depth=3), [8, 8, 8]),
    ):
        validate(Config(model=model))
        assert model.hidden_units() == units


def test_every_setting_has_an_effect_under_a_new_choice() -> None:
    """Without this, two different runs could have the same fingerprint."""
    config = Config()
    assert {"model.filters", "regime.schedule.factor", "regime.validation.seed"} <= without_effect(config)
    config.dataset.source = config.model.architecture = config.regime.schedule.name = (
        config.regime.validation.strategy
    ) = "new"
    config.regime.early_stopping.enabled = True
    assert without_effect(config) == set()


def test_settings_are_found_by_the_name_of_a_trait() -> None:
    assert settings_with("failures") == ("timeout", "retries", "max_failures", "fail_fast")
    assert settings_with("time", "presence") == ("model.dropout", "model.l2", "model.shift", "model.flip")
    assert "tracking." in settings_with("operational")


def test_flatten_has_every_leaf_once() -> None:
    flat = flatten(Config())
    assert flat["dataset.name"] == "fashion_mnist"
    assert flat["regime.validation.strategy"] == "none"
    assert flat["seed"] == 0
    assert not any(dataclasses.is_dataclass(value) for value in flat.values())


@pytest.mark.slow
def test_each_optimizer_has_exactly_the_options_of_keras() -> None:
    import keras

    ours = {optimizer.class_name for optimizer in OPTIMIZERS.values()}
    classes = {name: item for name, item in vars(keras.optimizers).items() if inspect.isclass(item)}
    bases = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
    assert ours == set(classes) - bases
    for name, optimizer in OPTIMIZERS.items():
        taken = set(inspect.signature(classes[optimizer.class_name]).parameters) - {"name", "kwargs", "exclude_layers"}
        assert optimizer.options == taken, name


def test_every_option_of_an_optimizer_has_a_field_with_its_rule_and_the_other_way_round() -> None:
    fields = {field.name for field in dataclasses.fields(OptimizerConfig)} - {"name"}
    assert fields == set().union(*(optimizer.options for optimizer in OPTIMIZERS.values()))


def test_allowed_names_are_those_in_the_code() -> None:
    from harness.data import PUBLICATIONS
    from harness.figures import SELECTIONS
    from harness.models.building import ARCHITECTURES as BUILDERS
    from harness.models.preprocessing import PREPROCESSING as LAYERS
    from harness.training.engines import ENGINES as BUILT
    from harness.training.schedules import SCHEDULES as FACTORS

    assert set(DATASETS) == set(PUBLICATIONS)
    assert set(ARCHITECTURES) == {*BUILDERS, "custom"}
    assert set(PREPROCESSING) == set(LAYERS)
    assert set(SCHEDULES) == set(FACTORS)
    assert set(ENGINES) == {"auto", *BUILT}
    assert set(FIGURES) == set(SELECTIONS)


@pytest.mark.slow
def test_every_activation_is_one_of_keras() -> None:
    import keras

    for name in ACTIVATIONS:
        assert callable(keras.activations.get(name))


@pytest.mark.parametrize(
    ("changes", "shape", "said"),
    [
        ({"filters": [4] * 5}, (28, 28), "5 pools shrink an image of 28 x 28 to nothing. Use fewer filters"),
        ({"filters": [4] * 4}, (8, 20), "4 pools shrink an image of 8 x 20 to nothing"),
        ({"filters": [4], "kernel_size": 9}, (8, 20), "model.kernel_size=9: images have 8 x 20 pixels. Use at most 8"),
        ({"filters": [4], "shift": 8}, (8, 20, 3), "model.shift=8: images have 8 x 20 pixels. Use at most 7"),
    ],
)
def test_a_model_that_is_too_large_for_the_images_is_refused(
    changes: dict[str, Any], shape: tuple[int, ...], said: str
) -> None:
    model = ModelConfig(architecture="cnn", **changes)
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_images(model, shape)
    check_images(model, (64, 64))
