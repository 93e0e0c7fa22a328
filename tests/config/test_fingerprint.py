"""The fingerprint of a run: equal for equivalent settings, different for every setting that changes a number."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.settings import settings_digest
from harness.composing import compose_config
from harness.config.fingerprint import LEFT_OUT, combined, fingerprint
from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import Config, flatten
from tests.conftest import REPOSITORY

DIGEST = "0" * 64
KEYS = sorted(flatten(Config()))
NUMBER = st.integers(1, 9)
CNN = {"model.architecture": "cnn", "model.filters": [8]}
HELD_OUT = {"regime.validation.strategy": "random"}
STOPPING = {**HELD_OUT, "regime.early_stopping.enabled": True}

FOLDER = ("image_size", "colour", "test_fraction", "test_seed")

EFFECTIVE: dict[str, dict[str, Any]] = {
    "dataset.seed": {"dataset.train_size": 100},
    **{f"dataset.{name}": {"dataset.source": "image_folder"} for name in FOLDER},
    "model.depth": {"model.width": 4},
    "model.filters": CNN,
    "model.kernel_size": CNN,
    "model.pool_size": CNN,
    "optimizer.ema_momentum": {"optimizer.use_ema": True},
    "optimizer.ema_overwrite_frequency": {"optimizer.use_ema": True},
    "optimizer.nesterov": {"optimizer.momentum": 0.5},
    "regime.validation.size": HELD_OUT,
    "regime.validation.seed": HELD_OUT,
    **{f"regime.early_stopping.{name}": STOPPING for name in ("monitor", "patience", "min_delta")},
    "regime.early_stopping.restore_best_weights": STOPPING,
    "regime.schedule.factor": {"regime.schedule.name": "step"},
    "regime.schedule.every_epochs": {"regime.schedule.name": "step"},
    "regime.schedule.decay_rate": {"regime.schedule.name": "exponential"},
    "regime.schedule.final_fraction": {"regime.schedule.name": "cosine"},
    "regime.schedule.monitor": {**HELD_OUT, "regime.schedule.name": "plateau"},
    "regime.schedule.patience": {**HELD_OUT, "regime.schedule.name": "plateau"},
}
"""The settings that give a setting an effect, if it has none by default."""


def changed(config: Config, values: dict[str, Any]) -> Config:
    """`config` with these settings, without a check."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        node: Any = config
        *above, name = key.split(".")
        for part in above:
            node = getattr(node, part)
        setattr(node, name, value)
    return config


def field_of(key: str) -> tuple[dataclasses.Field[Any], Any]:
    node: Any = Config()
    *above, name = key.split(".")
    for part in above:
        node = getattr(node, part)
    [item] = [item for item in dataclasses.fields(node) if item.name == name]
    return item, get_type_hints(type(node))[name]


def values_of(key: str) -> st.SearchStrategy[Any]:
    """Allowed values of the setting, by its type and rule."""
    item, kind = field_of(key)
    if item.metadata.get("choices"):
        return st.sampled_from(item.metadata["choices"])
    kinds = {str(kind)} if isinstance(kind, type) else {part.strip() for part in str(kind).split("|")}
    if "list[int]" in str(kind):
        return st.lists(NUMBER, min_size=1, max_size=3)
    if any("bool" in part for part in kinds):
        return st.booleans()
    if any("float" in part for part in kinds):
        return st.floats(-0.9, -0.1) if item.metadata.get("below") == 0 else st.floats(0.05, 0.9)
    if any("int" in part for part in kinds):
        return NUMBER
    return st.text("abc", min_size=1, max_size=3)


def meaning(key: str, value: Any) -> Any:
    """Two values of one meaning are equal here."""
    if key == "dataset.source":
        return value == "published"  # of other data the digest says what it is
    return {"auto": "compiled"}.get(value, value) if key == "engine" else value


def base_for(key: str) -> Config:
    base = changed(Config(), EFFECTIVE.get(key, {}))
    option = key.removeprefix("optimizer.")
    if key.startswith("optimizer.") and option != "name":
        name = next(name for name, has in sorted(OPTIMIZERS.items(), reverse=True) if option in has.options)
        base = changed(base, {"optimizer.name": name})
    return base


@pytest.mark.parametrize("key", KEYS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_setting_changes_the_fingerprint_or_is_named_as_left_out(key: str, data: st.DataObject) -> None:
    base = base_for(key)
    one, other = (data.draw(values_of(key)) for _ in range(2))
    same = fingerprint(changed(base, {key: one}), DIGEST) == fingerprint(changed(base, {key: other}), DIGEST)
    if key.startswith(tuple(LEFT_OUT)):
        assert same
    else:
        assert same == (meaning(key, one) == meaning(key, other)), (one, other)


def test_settings_left_out_of_the_fingerprint_exist_and_have_a_reason() -> None:
    for beginning, reason in LEFT_OUT.items():
        assert any(key.startswith(beginning) for key in KEYS), beginning
        assert reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["engine=auto"], ["engine=compiled"]),
        (["regime.validation.size=5"], ["regime.validation.seed=7"]),
        (
            ["regime.validation.strategy=first", "regime.validation.seed=1"],
            ["regime.validation.strategy=first"],
        ),
        (["regime.early_stopping.patience=9"], ["regime.early_stopping.monitor=fit/loss"]),
        (["regime.schedule.factor=0.3"], ["regime.schedule.final_fraction=0.4", "regime.schedule.patience=1"]),
        (["model.kernel_size=5"], ["model.pool_size=3"]),
        (["dataset.seed=4"], []),
        (["dataset.label_noise=0"], ["model.shift=0", "regime.label_smoothing=0"]),
        (["model=mlp", "model.width=64", "model.depth=2"], ["model=mlp", "model.hidden=[64,64]"]),
        (["model=mlp", "model.width=64"], ["model=mlp", "model.width=64", "model.depth=1"]),
        (["regime.label_smoothing=0.1"], ["regime.label_smoothing=0.1", "regime.labels=one_hot"]),
        (["model=mlp_128"], ["model=mlp", "model.hidden=[128]", "model.name=wide"]),
        (["optimizer.beta_1=null", "optimizer.amsgrad=null"], []),
        (["optimizer=adamw", "optimizer.weight_decay=null"], ["optimizer=adamw", "optimizer.weight_decay=0.004"]),
        (["optimizer.weight_decay=0"], []),
        (["optimizer.use_ema=false", "optimizer.ema_momentum=0.5"], []),
        (["optimizer=sgd", "optimizer.nesterov=true"], ["optimizer=sgd"]),
        (["optimizer.clipnorm=1"], ["optimizer.clipnorm=1.0"]),
        (["optimizer.learning_rate=1e-3"], ["optimizer.learning_rate=0.001"]),
        (["tracking.experiment=x", "figures=all", "palette=green", "threads=3", "resume=false"], []),
    ],
    ids=str,
)
def test_equivalent_settings_have_the_same_fingerprint(one: list[str], other: list[str]) -> None:
    assert fingerprint(compose_config(one), DIGEST) == fingerprint(compose_config(other), DIGEST)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["optimizer=adamw", "optimizer.weight_decay=0"], ["optimizer=adamw"]),
        (["optimizer.use_ema=true", "optimizer.ema_momentum=0.5"], ["optimizer.use_ema=true"]),
        (["regime.schedule.warmup_epochs=1"], []),
        (["model=mlp", "model.hidden=[12,8]"], ["model=mlp", "model.hidden=[128]"]),
        (["regime.shuffle=false"], []),
        (["dataset.label_noise=0.2", "dataset.seed=1"], ["dataset.label_noise=0.2"]),
        (["model.shift=1"], []),
        (["regime.labels=one_hot"], []),
    ],
    ids=str,
)
def test_a_setting_that_changes_numbers_changes_the_fingerprint(one: list[str], other: list[str]) -> None:
    assert fingerprint(compose_config(one), DIGEST) != fingerprint(compose_config(other), DIGEST)


def test_the_fingerprint_depends_on_images_and_the_continued_run() -> None:
    config = compose_config()
    found = {fingerprint(config, DIGEST), fingerprint(config, "1" * 64), fingerprint(config, DIGEST, "a run")}
    assert len(found) == 3
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in found)


def test_a_fingerprint_is_the_same_on_every_day_and_machine() -> None:
    assert fingerprint(Config(), DIGEST) == "ddbe1400122aff1f98d35722c4e12443"


def test_fingerprints_of_earlier_versions_stay_equal() -> None:
    """`fingerprints.json` is from a version with a manual list of the settings that decide numbers."""
    recorded = json.loads((REPOSITORY / "tests" / "data" / "fingerprints.json").read_text())
    assert len(recorded) > 400
    for values, before, digest in recorded:
        config = changed(Config(), values)
        assert (fingerprint(config, DIGEST), settings_digest(flatten(config))) == (before, digest), values


def test_a_sweeps_fingerprint_ignores_the_order_of_jobs_but_not_repeats() -> None:
    one, two = ("a", "mlp"), ("b", "mlp")
    assert combined([one, two]) == combined([two, one])
    assert combined([one, two]) != combined([one, one, two])
    assert combined([one]) != combined([("a", "cnn")])


@pytest.mark.slow
def test_optimizer_defaults_are_those_of_keras() -> None:
    import keras

    for name, optimizer in OPTIMIZERS.items():
        parameters = inspect.signature(getattr(keras.optimizers, optimizer.class_name)).parameters
        theirs = {option: parameters[option].default for option in optimizer.options - {"learning_rate"}}
        assert optimizer.defaults == theirs, name
        assert optimizer.learning_rate == parameters["learning_rate"].default
