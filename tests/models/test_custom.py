"""Models of the user's own: joined to the preprocessing, checked before training, loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.composing import compose_config
from harness.config.schema import ModelConfig
from harness.models import build_model
from harness.records import UInt8Array
from harness.user_code import allow
from tests.user_code import NETS, user_directory
from tests.variants import CLOTHES

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to import

WRONG = """
import keras
from keras import layers

def flat(input_shape, classes): return keras.Sequential([layers.Dense(classes)])
def three(input_shape, classes):
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(classes)])
def two(input_shape, classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, [layers.Dense(classes)(layers.Flatten()(inputs))] * 2)
def nothing(input_shape, classes): pass
def broken(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes // 0)])
def lambdas(input_shape, classes):
    return keras.Sequential([layers.Flatten(), layers.Lambda(lambda x: x), layers.Dense(classes)])
def softmax(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes, "softmax")])
def logits(input_shape, classes): return keras.Sequential([layers.Flatten(), layers.Dense(classes)])
def taken(input_shape, classes): return keras.Sequential([layers.Flatten(name="pixels"), layers.Dense(classes)])

class Own(keras.Model):
    def __init__(self, units): super().__init__(); self.last = layers.Dense(units)
    def call(self, values): return self.last(keras.ops.reshape(values, (-1, 784)))
class Stepping(Own):
    def train_step(self, data): return {}
def forgetful(input_shape, classes): return Own(classes)
class Changing(layers.Layer):
    made = 0
    def __init__(self, **more):
        super().__init__(**more)
        Changing.made += 1
        self.factor = float(Changing.made)
    def call(self, values): return values * self.factor
def changing(input_shape, classes): return keras.Sequential([layers.Flatten(), Changing(), layers.Dense(classes)])
def stepping(input_shape, classes): return Stepping(classes)
"""


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with user_directory(tmp_path_factory.mktemp("user"), nets_m=NETS, wrong_m=WRONG) as folder:
        yield folder


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (32, 28, 28), dtype=np.uint8)


def configured(reference: str, *overrides: str) -> ModelConfig:
    allow([reference])
    return compose_config([f"model.builder={reference}", *overrides]).model


@pytest.mark.parametrize(
    ("name", "overrides", "layers"),
    [
        ("residual", ["model.options.depth=2"], ["batch_normalization_1", "counting_1", "dropout"]),
        ("sequence", ["model.options.head=softmax", "model.head=softmax"], ["dense", "dropout"]),
        ("subclassed", ["model.options.units=4", "model.shift=2"], ["shift", "subclassed"]),
    ],
)
def test_a_model_is_trained_saved_and_loaded_as_part_of_one_that_takes_raw_pixels(
    name: str, overrides: list[str], layers: list[str], images: UInt8Array, tmp_path: Path
) -> None:
    import keras

    keras.backend.clear_session()
    config = configured(f"nets_m:{name}", *overrides)
    model = build_model(config, "unit_range", CLOTHES, images)
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
