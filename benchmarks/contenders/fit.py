"""Keras `fit` on arrays prepared beforehand: with its defaults, or (`tuned`) with the best of a few settings.

The progress bar is off, which only helps it. An epoch is timed from `on_epoch_begin` to `on_epoch_end`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import keras

from benchmarks.contenders.gate import Gate
from benchmarks.contenders.task import CLASSES, KERNEL, SIDE, Task

STEPS_PER_EXECUTION = (10, 50, 200)


class Clock(keras.callbacks.Callback):
    """Starts each epoch when told to and reports how long it took."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._gate.wait()
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._started
        self._gate.answer(seconds=seconds, accuracy=float((logs or {})["accuracy"]))


def build(task: Task, **compiling: Any) -> keras.Model:
    optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    from_logits = task.head == "logits"
    losses = {
        True: keras.losses.CategoricalCrossentropy(from_logits=from_logits),
        False: keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
    }
    model = keras.Sequential([keras.Input((SIDE * SIDE,)), *_layers(task)])
    model.add(keras.layers.Dense(CLASSES, activation=None if from_logits else "softmax"))
    optimizer = optimizers[task.optimizer](learning_rate=task.learning_rate)
    model.compile(optimizer=optimizer, loss=losses[task.one_hot], metrics=["accuracy"], **compiling)
    return model


def _layers(task: Task) -> Iterator[keras.Layer]:
    if task.filters or task.shift:
        yield keras.layers.Reshape((SIDE, SIDE, 1))
    if task.shift:  # each of the moves by whole pixels equally likely
        share = (task.shift + 0.5) / SIDE
        yield keras.layers.RandomTranslation(share, share, fill_mode="constant", interpolation="nearest")
    for filters in task.filters:
        yield keras.layers.Conv2D(filters, KERNEL, padding="same")
        if task.batch_norm:
            yield keras.layers.BatchNormalization()
        yield keras.layers.ReLU()
        yield keras.layers.MaxPooling2D(2)
    if task.filters or task.shift:
        yield keras.layers.Flatten()
    for units in task.hidden:
        yield keras.layers.Dense(units)
        if task.batch_norm:
            yield keras.layers.BatchNormalization()
        yield keras.layers.ReLU()
        if task.dropout:
            yield keras.layers.Dropout(task.dropout)


def best_setting(task: Task, images: Any, targets: Any) -> dict[str, Any]:
    """The fastest of the settings, by the quicker of two epochs after the one that compiles. XLA cannot compile Keras's
    translation of images."""
    seconds, jit = {}, not task.shift
    for steps in STEPS_PER_EXECUTION:
        model = build(task, steps_per_execution=steps, jit_compile=jit)
        model.fit(images, targets, batch_size=task.batch_size, verbose=0)
        tries = []
        for _ in range(2):
            started = time.perf_counter()
            model.fit(images, targets, batch_size=task.batch_size, verbose=0)
            tries.append(time.perf_counter() - started)
        seconds[steps] = min(tries)
    return {"steps_per_execution": min(seconds, key=lambda steps: seconds[steps]), "jit_compile": jit}


def main() -> None:
    task, gate = Task.from_arguments(), Gate()
    gate.wait()
    images, labels = task.arrays()
    targets = keras.utils.to_categorical(labels, CLASSES) if task.one_hot else labels
    keras.utils.set_random_seed(0)
    setting = best_setting(task, images, targets) if task.tuned else {}
    model = build(task, **setting)
    gate.answer(setting=setting)
    model.fit(images, targets, batch_size=task.batch_size, epochs=task.epochs, callbacks=[Clock(gate)], verbose=0)


if __name__ == "__main__":
    main()
