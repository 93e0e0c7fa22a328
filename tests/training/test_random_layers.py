"""Dropout and shifts while they train: the right shares, cheap under XLA, and no trace in the layers afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from harness.models import build_model
from harness.records import UInt8Array
from harness.training import compiled_engine, seed_everything
from harness.training.random_layers import compilable_by_xla, threefry_draws
from tests.training.training_runs import VALIDATED, setting, train
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

STEPS, IMAGES, UNITS = 5, 40, 500


def masks(rate: float, jit_compile: bool, seed: int = 1, dtype: str = "float32") -> np.ndarray:
    """What a dropout layer makes of ones in some steps."""
    inputs = keras.Input((UNITS,))
    model = keras.Model(inputs, keras.layers.Dropout(rate, seed=seed, dtype=dtype)(inputs))

    @tf.function(jit_compile=jit_compile)
    def step(values: tf.Tensor) -> tf.Tensor:
        return model(values, training=True)

    with threefry_draws(model):
        return np.stack([step(tf.ones((IMAGES, UNITS))).numpy() for _ in range(STEPS)])


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_the_rate_is_dropped_in_every_image_step_and_unit_and_the_rest_makes_up_for_it(rate: float) -> None:
    found = masks(rate, jit_compile=True)
    assert set(np.unique(found)) == {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    dropped = found == 0
    for axes in ((0, 1, 2), (1, 2), (0, 2), (0, 1)):
        count = np.prod([found.shape[axis] for axis in axes])
        deviation = np.sqrt(rate * (1 - rate) / count)
        assert np.abs(dropped.mean(axis=axes) - rate).max() < 5 * deviation, axes


def test_steps_and_seeds_have_masks_that_know_nothing_of_each_other() -> None:
    first, other = (masks(0.5, jit_compile=True, seed=seed).reshape(STEPS, -1) == 0 for seed in (1, 2))
    related = np.corrcoef(np.concatenate([first, other]))
    assert np.abs(related - np.eye(2 * STEPS)).max() < 5 / np.sqrt(IMAGES * UNITS)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_masks_are_the_same_under_xla_and_without(dtype: str) -> None:
    np.testing.assert_array_equal(*(masks(0.3, jit_compile, dtype=dtype) for jit_compile in (True, False)))


def shifted(most: int, jit_compile: bool, images: UInt8Array) -> np.ndarray:
    """The images as the first layers of a model with `model.shift` put them out in training."""
    config, _ = setting(f"model.shift={most}")
    seed_everything(0)
    model = build_model(config.model, "unit_range", CLOTHES, images)
    moving = keras.Model(model.input, model.get_layer("shift").output)
    assert compilable_by_xla(model)
    with threefry_draws(moving):
        return tf.function(partial(moving, training=True), jit_compile=jit_compile)(tf.constant(images)).numpy()[..., 0]


@pytest.mark.parametrize("most", [1, 3, 8])
def test_images_are_moved_by_whole_pixels_all_moves_equally_likely_and_nothing_comes_round(most: int) -> None:
    count = 4_000
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 14, 14], images[:, 0, 0], images[:, 27, 27] = 200, 1, 2
    found = shifted(most, True, images)
    _, rows, columns = np.nonzero(found == 200)
    moves = np.stack([rows - 14, columns - 14])
    assert moves.shape == (2, count), "a pixel was lost or doubled"
    cells = np.histogram2d(*moves, bins=[np.arange(-most - 0.5, most + 1)] * 2)[0]
    assert cells.sum() == count, "moved too far"
    expected = count / (2 * most + 1) ** 2
    assert ((cells - expected) ** 2 / expected).sum() < cells.size + 6 * np.sqrt(2 * cells.size)  # chi-squared
    stays = (found[:, 0, 0] == 1).mean()
    assert stays == pytest.approx((2 * most + 1) ** -2, abs=5 * np.sqrt((2 * most + 1) ** -2 / count))
    for image, row, column in zip(found, *moves, strict=True):
        assert image.sum() == 200 + (row >= 0 and column >= 0) * 1 + (row <= 0 and column <= 0) * 2


def test_shifts_are_the_same_under_xla_and_without_and_none_where_nothing_is_trained() -> None:
    _, splits = setting()
    images = splits.train.images[:100]
    moved = [shifted(2, jit_compile, images) for jit_compile in (True, False)]
    np.testing.assert_array_equal(*moved)
    assert (moved[0] != images).any(axis=(1, 2)).mean() > 0.8
    config, _ = setting("model.shift=2")
    model = build_model(config.model, "unit_range", CLOTHES, images)
    with threefry_draws(model):
        still = keras.Model(model.input, model.get_layer("shift").output)(images, training=False)
    np.testing.assert_array_equal(still[..., 0], images)


def test_an_epoch_with_dropout_takes_little_longer_than_one_without() -> None:
    """Processor time, the least of several turns: what else runs here must not decide."""
    programs = {}
    for rate in (0.0, 0.2):
        config, splits = setting("model=mlp_300_100", f"model.dropout={rate}")
        seed_everything(config.seed)
        model = build_model(config.model, config.dataset.preprocessing, splits.spec, splits.train.images)
        programs[rate] = compiled_engine._build(model, config, 600, None)
    seconds = {rate: [] for rate in programs}
    order = np.arange(600, dtype=np.int32)
    for _ in range(12):
        for rate, program in programs.items():
            with threefry_draws(program.model):
                started = time.process_time()
                program.epoch(tf.constant(splits.train.images), tf.constant(splits.train.labels), order)[0].numpy()
            seconds[rate].append(time.process_time() - started)
    assert min(seconds[0.2]) < 1.3 * min(seconds[0.0])


class SaveEveryEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the model while it is trained, as a user's own callback may."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.save(self.folder / f"{epoch}.keras")


PREDICT = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1])
assert keras.layers.Dropout in map(type, model.layers), model.layers
numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[3]), verbose=0))
assert "harness" not in sys.modules
"""


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_a_model_saved_meanwhile_is_plain_keras(engine: str, tmp_path: Path) -> None:
    trained = train(engine, "model.dropout=0.3", "regime.epochs=2", *VALIDATED, callbacks=[SaveEveryEpoch(tmp_path)])
    images: UInt8Array = trained.splits.test.images[:50]
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / name) for name in ("1.keras", "answers.npy", "images.npy")]
    subprocess.run([sys.executable, "-c", PREDICT, *files], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), trained.model.predict(images, verbose=0), atol=1e-5)
    assert not any("call" in vars(layer) for layer in trained.model.layers)
