"""The reference engine: Keras's own `fit`, fed batch by batch in an order drawn from (seed, epoch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.config.schema import Config
from harness.records import Fitted, FloatArray, Split
from harness.training.compiling import build_accuracy, build_loss, build_optimizer, class_weights, labels_form
from harness.training.events import TrainingObserver
from harness.training.scoring import build_measures, build_scorer
from harness.training.seeding import epoch_order
from harness.training.state import TrainingState, begin, stopped_already

STEPS_PER_EXECUTION = 50
"""Batches between two returns to Python: the same numbers, bit for bit, in half the time."""


def fit(
    model: Any,
    config: Config,
    train: Split,
    validation: Split | None,
    observer: TrainingObserver,
    callbacks: Sequence[Any] = (),
    start: TrainingState | None = None,
) -> Fitted:
    """Train `model` in place with `keras.Model.fit`. See `engines.fit`."""
    import keras

    from harness.training.callbacks import EpochRecorder, StateKeeper, regime_callbacks, stop_reason
    from harness.training.random_layers import threefry_draws

    regime = config.regime
    model.compile(
        optimizer=build_optimizer(config.optimizer, config.mixed_precision),
        loss=build_loss(regime, config.model.head),
        metrics=[build_accuracy(labels_form(regime))],
        # Under XLA a convolution on a CPU takes many times as long, and Keras refuses it with deterministic kernels.
        jit_compile=False,
        steps_per_execution=1 if callbacks else STEPS_PER_EXECUTION,  # theirs may watch every batch
    )
    # Built inside `fit`, ScheduleFreeAdamW would start its averages from zero instead of from the weights (Keras 3.15).
    model.optimizer.build(model.trainable_variables)
    span = begin(model, start, regime.epochs)
    classes = model.outputs[0].shape[-1]
    weights = class_weights(regime, train.labels, classes)
    batches, set_order = _batches(train, regime.batch_size, labels_form(regime), classes, weights)

    def reorder(epoch: int, logs: Any) -> None:
        order = epoch_order(config.seed, epoch + 1, len(train)) if regime.shuffle else np.arange(len(train))
        set_order(order)

    splits = {"train": train} if validation is None else {"train": train, "val": validation}
    measures = build_measures(model, config.metrics, config.model.head)
    recorder = EpochRecorder(splits, build_scorer(model, config.model.head, False), observer, start, measures)
    asked_for = regime_callbacks(config, span.before)
    observer.training_started(span.due)
    with threefry_draws(model):
        model.fit(
            batches,
            epochs=span.done if stopped_already(start) else span.last,
            initial_epoch=span.done,
            verbose=0,
            shuffle=False,  # the batches come in an order of our own
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=reorder),
                recorder,
                *asked_for,
                *callbacks,
                StateKeeper([recorder, *asked_for], recorder.history, observer, start),
            ],
        )
    observer.training_ended(stop_reason(recorder.history, span))
    return recorder.fitted()


def _batches(
    train: Split, batch_size: int, labels: str, classes: int, weights: FloatArray | None
) -> tuple[Any, Callable[[Any], None]]:
    """A `tf.data.Dataset` of one epoch, and the function that sets the order of the next one.

    The order lives in a variable that the pipeline reads while it runs: a permutation of our own instead of
    TensorFlow's shuffle, so that another engine can train on the very same batches.
    """
    import keras
    import tensorflow as tf

    images = tf.constant(train.images)
    targets = tf.constant(train.labels if labels == "integers" else keras.utils.to_categorical(train.labels, classes))
    arrays = (images, targets) if weights is None else (images, targets, tf.constant(weights[train.labels], tf.float32))
    order = tf.Variable(tf.range(len(train), dtype=tf.int64), trainable=False)

    def epoch(_: Any) -> tuple[Any, ...]:
        return tuple(tf.gather(array, order) for array in arrays)

    # The whole epoch is gathered at once and then cut into batches: faster than a gather for each batch.
    steps = math.ceil(len(train) / batch_size)
    batches = (
        tf.data.Dataset.range(1).map(epoch).rebatch(batch_size).apply(tf.data.experimental.assert_cardinality(steps))
    )
    return batches.prefetch(tf.data.AUTOTUNE), order.assign
