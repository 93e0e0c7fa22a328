"""`harness.keras.OverfittingGap` in a plain `model.fit`."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.python.framework.config import disable_op_determinism

from harness.errors import RequestError
from harness.keras import TAG, OverfittingGap

DRAWS = np.random.default_rng(0)
X, Y = DRAWS.random((90, 6)).astype("float32"), (np.arange(90) % 3).astype("int32")
TRAIN, VAL = (X[:60], Y[:60]), (X[60:], Y[60:])


def build(**options: Any) -> Any:
    keras.utils.set_random_seed(7)
    model = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def fit(callbacks: list[Any], model: Any = None, data: Any = TRAIN, epochs: int = 3, **options: Any) -> Any:
    model = build() if model is None else model
    arrays: Any = {"x": data, "shuffle": False}
    if isinstance(data, tuple):
        arrays = {"x": data[0], "y": data[1], "batch_size": 16}
    model.fit(**arrays, epochs=epochs, callbacks=callbacks, verbose=0, **options)
    return model


class Shuffled(keras.utils.PyDataset):
    """Batches in an order that is drawn again after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.order = np.arange(60)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Any:
        rows = self.order[number * 15 : number * 15 + 15]
        return X[rows] + np.random.normal(scale=0.01, size=(15, 6)), Y[rows]

    def on_epoch_end(self) -> None:
        random.shuffle(list(range(5)))
        self.order = np.random.permutation(60)


class NoisyAlways(keras.layers.Layer):
    """Draws in inference as well, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        self.calls.assign_add(1.0)
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seeds) * (1 + 0.01 * self.calls)


def with_noise() -> Any:
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((6,)), NoisyAlways(), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def batches() -> Any:
    return tf.data.Dataset.from_tensor_slices(TRAIN).batch(16)


@pytest.fixture(autouse=True)
def a_process_without_runs_of_the_harness() -> None:
    """Keras compiles nothing with XLA once a run in this process has asked for deterministic operations."""
    disable_op_determinism()


@pytest.mark.parametrize(
    ("train", "model", "options"),
    [
        (TRAIN, build, {}),
        (batches, build, {}),
        (Shuffled, build, {}),
        (TRAIN, with_noise, {}),
        (TRAIN, lambda: build(steps_per_execution=2), {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}),
        pytest.param(TRAIN, lambda: build(jit_compile=True), {}, marks=pytest.mark.slow),
        (TRAIN, lambda: build(run_eagerly=True), {"validation_split": 0.2}),
    ],
    ids=["arrays", "tf.data", "PyDataset", "state in inference", "steps_per_execution", "jit", "eager"],
)
def test_the_weights_after_fit_are_those_without_the_callback(train: Any, model: Any, options: Any) -> None:
    data = train if isinstance(train, tuple) else train()
    plain = fit([], model(), data, **options)
    data = train if isinstance(train, tuple) else train()
    gap = OverfittingGap(train=data, held_out={"val": VAL}, samples=None if callable(train) else 30)
    measured = fit([gap], model(), data, **options)
    for one, other in zip(plain.variables, measured.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {name: values for name, values in measured.history.history.items() if "/" not in name} == (
        plain.history.history
    )


def test_the_scores_are_those_of_evaluate_without_penalties_and_the_gap_is_positive_if_it_overfits() -> None:
    model = fit([OverfittingGap(train=TRAIN, held_out={"val": VAL, "test": (X[:30], Y[:30])})])
    last = {name: values[-1] for name, values in model.history.history.items()}
    penalty = sum(float(loss) for loss in model.losses)
    for split, (x, y) in {"train": TRAIN, "val": VAL, "test": (X[:30], Y[:30])}.items():
        probabilities = model.predict(x, verbose=0)
        loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
        assert last[f"{split}/loss"] == pytest.approx(loss, abs=1e-5)
        assert last[f"{split}/loss"] == pytest.approx(model.evaluate(x, y, verbose=0)[0] - penalty, abs=1e-5)
        assert last[f"{split}/accuracy"] == pytest.approx((probabilities.argmax(axis=1) == y).mean())
    assert penalty > 0.001
    assert last["gap/loss"] == last["val/loss"] - last["train/loss"]
    assert last["gap/accuracy"] == last["train/accuracy"] - last["val/accuracy"]
    assert last["gap_test/accuracy"] == last["train/accuracy"] - last["test/accuracy"]


def test_the_validation_data_of_fit_is_used_if_there_is_no_other(caplog: pytest.LogCaptureFixture) -> None:
    explicit = fit([OverfittingGap(train=TRAIN, held_out={"val": VAL})]).history.history
    implicit = fit([OverfittingGap(train=TRAIN)], validation_data=VAL).history.history
    for name, values in explicit.items():
        assert implicit[name] == pytest.approx(values, abs=1e-6)
    sparse = fit([OverfittingGap(train=TRAIN)], validation_data=VAL, validation_freq=2, epochs=4).history.history
    assert len(sparse["gap/loss"]) == len(sparse["val_loss"]) == 2
    assert "no gap was measured" not in caplog.text
    fit([OverfittingGap(train=TRAIN)], epochs=1)
    assert "no gap was measured, because fit had no validation data" in caplog.text


@pytest.mark.parametrize("first", [True, False])
def test_other_callbacks_see_the_gap_in_any_order(first: bool, tmp_path: Path) -> None:
    gap = OverfittingGap(train=TRAIN, held_out={"val": VAL})
    stop = keras.callbacks.EarlyStopping(monitor="gap/loss", mode="min", patience=0, baseline=-100.0)
    saved = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.weights.h5"), monitor="gap/loss", mode="min", save_best_only=True, save_weights_only=True
    )
    model = fit([gap, stop, saved] if first else [stop, saved, gap])
    assert len(model.history.history["gap/loss"]) == 2  # Keras never stops after the first
    assert (tmp_path / "best.weights.h5").exists()


def test_thinned_it_measures_every_second_epoch_and_the_last_on_the_same_samples(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    history = fit([OverfittingGap(TRAIN, {"val": VAL}, every=2, samples=20, seed=3)], epochs=5).history.history
    assert len(history["gap/loss"]) == 3
    assert len(history["loss"]) == 5
    assert "every=2 samples=20 seed=3" in caplog.text
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    still = fit([OverfittingGap(TRAIN, {"val": VAL}, samples=20)], model).history.history["train/loss"]
    assert len(set(still)) == 1


@pytest.mark.parametrize("kind", ["arrays", "tf.data", "PyDataset"])
def test_samples_are_drawn_from_the_whole_of_the_data(kind: str) -> None:
    x = np.arange(400, dtype="float32")[:, None]
    sets = {
        "arrays": ({"in": x}, x),
        "tf.data": tf.data.Dataset.from_tensor_slices(({"in": x}, x)).batch(32),
    }

    class Ordered(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 13

        def __getitem__(self, number: int) -> Any:
            return {"in": x[number * 32 : number * 32 + 32]}, x[number * 32 : number * 32 + 32]

    data = Ordered() if kind == "PyDataset" else sets[kind]
    inputs = keras.Input((1,), name="in")
    model = keras.Model({"in": inputs}, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mae")
    gap = OverfittingGap(train=data, held_out={"val": data}, samples=100)
    model.fit({"in": x}, x, callbacks=[gap], verbose=0)
    drawn = gap._chosen[1].ravel()
    assert len(set(drawn)) == 100
    np.testing.assert_array_equal(drawn, gap._chosen[0]["in"].ravel())
    assert drawn.min() < 40
    assert drawn.max() > 360
    assert 160 < drawn.mean() < 240


def test_the_sign_of_other_metrics_is_keras_own_or_given(caplog: pytest.LogCaptureFixture) -> None:
    def margin(truth: Any, predicted: Any) -> Any:
        return keras.ops.max(predicted, axis=-1)

    def run(**options: Any) -> dict[str, list[float]]:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6,))
        outputs = {name: keras.layers.Dense(3, activation="softmax", name=name)(inputs) for name in "ab"}
        model = keras.Model(inputs, outputs)
        model.compile(
            "sgd", {"a": "sparse_categorical_crossentropy", "b": "mse"},
            metrics={"a": ["accuracy", margin], "b": [keras.metrics.MeanAbsoluteError(), "cosine_similarity"]},
        )  # fmt: skip
        targets = {"a": TRAIN[1], "b": np.eye(3)[TRAIN[1]]}
        held_out = {"a": VAL[1], "b": np.eye(3)[VAL[1]]}
        gap = OverfittingGap((TRAIN[0], targets), {"val": (VAL[0], held_out)}, **options)
        found: dict[str, list[float]] = model.fit(TRAIN[0], targets, callbacks=[gap], verbose=0).history
        return found

    found = run()
    for name, sign in {"loss": -1, "a_loss": -1, "b_loss": -1, "a_accuracy": 1, "b_mean_absolute_error": -1,
                       "b_cosine_similarity": 1}.items():  # fmt: skip
        assert found[f"gap/{name}"][0] == sign * (found[f"train/{name}"][0] - found[f"val/{name}"][0])
    assert "gap/a_margin" not in found
    assert "train/a_margin" in found
    assert "modes={'a_margin': 'max'}" in caplog.text
    given = run(modes={"a_margin": "max"})
    assert given["gap/a_margin"][0] == given["train/a_margin"][0] - given["val/a_margin"][0]


def test_sample_weights_weigh_the_scores() -> None:
    weights = np.where(TRAIN[1] == 0, 1.0, 0.0)
    history = fit([OverfittingGap((*TRAIN, weights), {"val": (X[60:], Y[60:])})])
    only = TRAIN[1] == 0
    loss = -np.log(history.predict(TRAIN[0][only], verbose=0)[:, 0]).mean()
    assert history.history.history["train/loss"][-1] * 3 == pytest.approx(loss, rel=0.01)


def test_a_dataset_that_shuffles_is_told(caplog: pytest.LogCaptureFixture) -> None:
    OverfittingGap(train=batches().shuffle(10).prefetch(1), held_out={"val": VAL})
    assert "train shuffles" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": X}, "ndarray"),
        ({"train": (X,)}, "has 1 parts"),
        ({"train": (X, Y[:5])}, "5 and 90 examples"),
        ({"train": (X[:0], Y[:0])}, "0 examples"),
        ({"train": iter([TRAIN])}, "generator"),
        ({"train": batches().repeat()}, "has no end"),
        ({"train": TRAIN, "held_out": VAL}, "not tuple"),
        ({"train": TRAIN, "held_out": {}}, "not {}"),
        ({"train": TRAIN, "held_out": {"gap": VAL}}, "'gap' cannot name a split"),
        ({"train": TRAIN, "held_out": {"a/b": VAL}}, "cannot name a split"),
        ({"train": TRAIN, "every": 0}, "every=0"),
        ({"train": TRAIN, "samples": 2.5}, "samples=2.5"),
        ({"train": TRAIN, "modes": {"f1": "up"}}, "Say min or max"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words.replace("(", r"\(")):
        OverfittingGap(**options)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("mine", artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment("mine")
    yield uri
    mlflow.set_tracking_uri(None)  # and the variable, which it sets as well


@pytest.mark.parametrize("autolog", ["none", "epochs", pytest.param("steps", marks=pytest.mark.slow)])
def test_mlflow_has_each_value_once_and_compare_reads_it_as_clean(store: str, autolog: str) -> None:
    steps: Any = {"log_every_epoch": False, "log_every_n_steps": 2} if autolog == "steps" else {}
    if autolog != "none":
        mlflow.keras.autolog(log_models=False, log_datasets=False, silent=True, **steps)
    try:
        with mlflow.start_run() as run:
            gap = OverfittingGap(train=TRAIN, held_out={"val": VAL}, samples=50)
            model = fit([gap], validation_data=(X[:20], Y[:20]))
        mlflow.flush_async_logging()
    finally:
        if autolog != "none":
            mlflow.keras.autolog(disable=True)
    client = mlflow.MlflowClient()
    for name in ("train/loss", "val/accuracy", "gap/accuracy"):
        logged = client.get_metric_history(run.info.run_id, name)
        assert [one.step for one in logged] == [0, 1, 2]
        assert [one.value for one in logged] == pytest.approx(model.history.history[name])
    assert client.get_run(run.info.run_id).data.tags[TAG] == "every=1 samples=50 seed=0"
    from harness.commands.compare import command

    shown = CliRunner().invoke(command, ["--experiment", "mine", "--store", store], catch_exceptions=False)
    assert "‡" not in shown.output
    assert "val_accuracy = val/accuracy" in shown.output.replace("val accuracy", "val_accuracy")
    assert "Not known of" not in shown.output


def test_it_works_without_mlflow() -> None:
    script = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] == 'mlflow': raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import harness; assert 'keras' not in sys.modules\n"
        "import numpy as np, keras\n"
        "from harness.keras import OverfittingGap\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation='softmax')])\n"
        "model.compile('sgd', 'sparse_categorical_crossentropy')\n"
        "data = (np.ones((4, 2)), np.array([0, 1, 0, 1]))\n"
        "print(sorted(model.fit(*data, callbacks=[OverfittingGap(data, {'val': data})], verbose=0).history))\n"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['gap/loss', 'loss', 'train/loss', 'val/loss']"
