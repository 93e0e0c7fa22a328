"""Both engines train models of the user's own, with the same numbers, and resume them bit for bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError, TrainingError
from harness.metrics import summarize
from harness.own_metrics import load_metrics
from harness.run.evaluate import evaluate_stages
from harness.training import choose_engine, load_callbacks
from harness.training.state import read_state, write_state
from harness.user_code import allow
from tests.conftest import REPOSITORY
from tests.training.test_state import same_bits
from tests.training.training_runs import VALIDATED, Watcher, setting, train
from tests.user_code import NETS, user_directory
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

METRIC = """

def error(labels, probabilities):
    return (probabilities.argmax(axis=1) != labels).mean()

error.greater_is_better = False


def entropy(y_true, y_pred, *, factor=1.0):
    return factor * keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


def halving(epoch, epochs, *, by=2.0):
    return by ** (1 - epoch)


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = logs["train/error"] < 1


class Steps(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def no_callback():
    return 3
"""

BRANCHING = """
import keras
import tensorflow as tf
from keras import layers

class Deciding(layers.Layer):
    def compute_output_shape(self, shape): return shape
    def call(self, values): return values if keras.ops.mean(values) > 0 else -values

class Unlooped(layers.Layer):
    def compute_output_shape(self, shape): return shape
    def call(self, values):
        if "body" in getattr(tf.compat.v1.get_default_graph(), "name", ""):
            raise NotImplementedError("no loops")
        return values

def deciding(input_shape, classes): return keras.Sequential([layers.Flatten(), Deciding(), layers.Dense(classes)])
def unlooped(input_shape, classes): return keras.Sequential([layers.Flatten(), Unlooped(), layers.Dense(classes)])
"""


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with user_directory(tmp_path_factory.mktemp("user"), nets_t=NETS + METRIC, branching_t=BRANCHING) as folder:
        allow([f"nets_t:{name}" for name in ("residual", "sequence", "subclassed")])
        yield folder


def test_the_residual_network_of_the_documents_trains(directory: Path) -> None:
    (text,) = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "models.md").read_text(), re.M | re.S)
    (directory / "my_models.py").write_text(text)
    allow(["my_models:residual"])
    trained = train("compiled", "model.builder=my_models:residual", "model.options.width=4", "regime.epochs=1")
    assert trained.history.series["train/accuracy"][-1] > 0.1
    assert trained.model.get_layer("scale_1").factor.numpy() != pytest.approx(1)


@pytest.mark.parametrize("name", ["residual", "subclassed"])
def test_a_run_that_was_cut_off_resumes_bit_for_bit_with_all_its_state(name: str, tmp_path: Path) -> None:
    given = (f"model.builder=nets_t:{name}", "regime.epochs=2", "regime.batch_size=64")
    whole: dict[str, list[float]] = {}
    for engine in ("compiled", "keras"):
        watcher = Watcher(keep_states=True)
        trained = train(engine, *given, watcher=watcher)
        write_state(tmp_path / "state.npz", watcher.states[1])
        rest = train(engine, *given, start=read_state(tmp_path / "state.npz"))
        same_bits(rest.model.variables, trained.model.variables)
        same_bits(rest.model.optimizer.variables, trained.model.optimizer.variables)
        whole[engine] = trained.history.series["train/loss"]
    if name == "residual":
        assert int(trained.model.get_layer("counting").steps.numpy()) == 2 * 10
    np.testing.assert_allclose(whole["compiled"], whole["keras"], rtol=1e-3)


def test_what_the_compiled_engine_cannot_train_is_left_to_keras_with_the_reason() -> None:
    reference = "branching_t:unlooped"
    allow([reference])
    trained = train("keras", f"model.builder={reference}", "regime.epochs=1")
    engine, said = choose_engine(trained.config, (), trained.model, trained.splits.train)
    assert engine == "keras"
    assert f"auto: the compiled engine cannot train {reference} (NotImplementedError: " in said
    asked = replace(trained.config, engine="compiled")
    with pytest.raises(ConfigError, match="engine=compiled: it cannot train"):
        choose_engine(asked, (), trained.model, trained.splits.train)


def test_what_no_engine_can_train_is_one_message() -> None:
    allow(["branching_t:deciding"])
    with pytest.raises(
        TrainingError, match="Training with branching_t:deciding failed: OperatorNotAllowedInGraphError"
    ):
        train("keras", "model.builder=branching_t:deciding", "regime.epochs=1")


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_run_has_the_metrics_it_is_asked_for_of_every_split_and_stage_with_their_gaps(engine: str) -> None:
    allow(["nets_t:error"])
    trained = train(engine, "metrics=[nets_t:error,top_2_accuracy]", *VALIDATED, "regime.epochs=2")
    asked_for, series = load_metrics(trained.config.metrics), trained.history.series
    stages = evaluate_stages(trained.model, trained.fitted, trained.splits, CLOTHES.class_names, asked_for)
    scalars = summarize(trained.history, stages, asked_for)
    for split in ("train", "val"):
        assert series[f"{split}/error"] == pytest.approx([1 - value for value in series[f"{split}/accuracy"]])
        assert scalars[f"final/{split}_top_2_accuracy"] == pytest.approx(series[f"{split}/top_2_accuracy"][-1])
    assert series["gap/error"] == pytest.approx(series["gap/accuracy"])
    for stage in ("final", "last", "best"):
        for split in ("val", "test"):
            assert scalars[f"{stage}/gap_{split}_error"] == pytest.approx(scalars[f"{stage}/gap_{split}_accuracy"])
            assert scalars[f"{stage}/{split}_top_2_accuracy"] > scalars[f"{stage}/{split}_accuracy"]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_loss_a_schedule_and_callbacks_of_the_users_own(engine: str) -> None:
    names = ("error", "entropy", "halving", "Stop", "Steps", "no_callback")
    allow(f"nets_t:{name}" for name in names)
    usual = train(engine, "regime.epochs=2", "regime.schedule.name=step", "regime.schedule.every_epochs=1",
                  "regime.schedule.factor=0.5", "metrics=[nets_t:error]")  # fmt: skip
    own = train(engine, "regime.epochs=2", "regime.schedule.name=nets_t:halving", "regime.loss=nets_t:entropy",
                "metrics=[nets_t:error]")  # fmt: skip
    for name in ("train/loss", "fit/loss", "optimizer/learning_rate"):
        assert own.history.series[name] == pytest.approx(usual.history.series[name], rel=1e-5), name
    given = ("regime.epochs=2", "metrics=[nets_t:error]", "regime.loss=nets_t:entropy", "regime.loss_options.factor=2")
    config, _ = setting(*given, "regime.callbacks=[nets_t:Stop]")
    stopped = train(engine, *given, callbacks=load_callbacks(config))
    assert stopped.history.epochs == 1
    assert stopped.history.series["fit/loss"][0] > 1.5 * usual.history.series["fit/loss"][0]


def test_a_callback_that_watches_batches_is_for_keras_and_what_is_none_is_refused() -> None:
    allow(["nets_t:Steps", "nets_t:no_callback"])
    config, _ = setting("regime.callbacks=[nets_t:Steps]")
    assert choose_engine(config, load_callbacks(config)) == ("keras", "auto: Steps must see every batch")
    config, _ = setting("regime.callbacks=[nets_t:no_callback]")
    with pytest.raises(ConfigError, match=r"nets_t:no_callback returns int; a keras.callbacks.Callback is wanted"):
        load_callbacks(config)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["regime.loss=hinge"], "regime.loss=hinge: must be one of cross_entropy"),
        (["regime.loss=nets_t:entropi"], "Did you mean 'entropy'"),
        (
            ["regime.loss=nets_t:entropy", "regime.loss_options.gamma=1"],
            "regime.loss_options.gamma=1: .* has no option",
        ),
        (["regime.loss_options.gamma=1"], "only a function of your own has options"),
        (["regime.loss=nets_t:entropy", "regime.label_smoothing=0.1"], "Smooth labels in your own loss"),
        (["regime.schedule.name=nets_t:entropy", "regime.schedule.options.by=3"], "nets_t:entropy has no option by"),
        (["regime.callbacks=[nets_t:halving]"], "needs regime.callbacks.epoch"),
        (["regime.callbacks=[early]"], "'early' is no reference|only a function of your own"),
    ],
)
def test_what_does_not_fit_is_refused_before_an_import(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        setting(*words)
