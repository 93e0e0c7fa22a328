"""Modules as users write them, for tests: models with residual connections, branches, state and random draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NETS = '''
import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("tests")
class Counting(layers.Layer):
    """Counts its training steps, adds noise from a generator of its own, and scales by a weight."""

    def __init__(self, noise=0.1, **more):
        super().__init__(**more)
        self.noise = noise
        self.seeds = keras.random.SeedGenerator(3)

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, values, training=False):
        if training:
            self.steps.assign_add(1.0)
            values = values + self.noise * keras.random.normal(ops.shape(values), seed=self.seeds)
        return values * self.scale

    def get_config(self):
        return {**super().get_config(), "noise": self.noise}


def residual(input_shape, classes, *, depth=1, width=8, dropout=0.2):
    inputs = keras.Input(input_shape)
    values = layers.Conv2D(width, 3, strides=4, padding="same")(inputs)
    for _ in range(depth):
        left = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(values))
        right = Counting()(layers.Conv2D(width, 1)(values))
        values = layers.Activation("relu")(layers.Add()([values, left, right]))
    values = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(values))
    return keras.Model(inputs, layers.Dense(classes, name="output")(values))


def sequence(input_shape, classes, *, units=16, head="logits"):
    return keras.Sequential([
        layers.Flatten(), layers.Dense(units, activation="relu"), layers.Dropout(0.3),
        layers.Dense(classes, activation="softmax" if head == "softmax" else None),
    ])


class Subclassed(keras.Model):
    def __init__(self, classes, units, **more):
        super().__init__(**more)
        self.given = {"classes": classes, "units": units}
        self.inner = keras.Sequential([layers.Flatten(), layers.Dense(units, activation="relu"), layers.Dropout(0.3)])
        self.last = layers.Dense(classes)

    def call(self, values, training=False):
        return self.last(self.inner(values, training=training))

    def get_config(self):
        return {**super().get_config(), **self.given}


def subclassed(input_shape, classes, *, units=16):
    return Subclassed(classes, units)
'''


@contextmanager
def user_directory(folder: Path, **modules: str) -> Iterator[Path]:
    """The working directory is `folder`, with these modules in it."""
    before = set(sys.modules)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in modules:
            del sys.modules[name]
