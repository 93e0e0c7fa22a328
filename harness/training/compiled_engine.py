"""The fast engine: a whole epoch as one compiled program over images that stay on the device.

Keras's `fit` returns to Python for every few batches; for a model of this size that, and not arithmetic, is where most
of its time goes. Here a `tf.while_loop` walks over a permutation, gathers each batch and applies Keras's own
model, loss and optimizer; Python sees an epoch. Runs of one structure share one program: a run's initial weights and
optimizer state are copied in, and what was trained is copied out.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.config.fingerprint import code_digests
from harness.config.schema import Config, flatten, settings_with
from harness.records import Fitted, FloatArray, Split
from harness.training.compiling import build_accuracy, build_loss, build_optimizer, class_weights, labels_form
from harness.training.events import TrainingObserver
from harness.training.scoring import Scorer, build_measures, build_scorer, on_device
from harness.training.seeding import epoch_order
from harness.training.state import TrainingState, begin, stopped_already
from harness.user_code import describe_error

log = logging.getLogger(__name__)

_TRIED = 8
"""Images on which a copy of a model is compared with it."""
PROGRAMS_KEPT = 8
"""Structures whose programs a process keeps; the one unused for longest goes first."""


@dataclass(frozen=True)
class Program:
    """A model and an optimizer of one structure with what was compiled for them."""

    model: Any
    optimizer: Any
    epoch: Any
    score: Scorer


_programs: OrderedDict[Hashable, Program] = OrderedDict()


def fit(
    model: Any,
    config: Config,
    train: Split,
    validation: Split | None,
    observer: TrainingObserver,
    callbacks: Sequence[Any] = (),
    start: TrainingState | None = None,
) -> Fitted:
    """Train `model` in place, an epoch in one call. See `engines.fit`."""
    import keras

    from harness.training.callbacks import EpochRecorder, StateKeeper, regime_callbacks, stop_reason
    from harness.training.random_layers import threefry_draws

    regime = config.regime
    program = _program(model, config, train)
    model.compile(
        optimizer=build_optimizer(config.optimizer, config.mixed_precision),
        loss=build_loss(regime, config.model.head),
        metrics=[build_accuracy(labels_form(regime))],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    span = begin(model, start, regime.epochs)
    _copy(model.variables, program.model.variables)
    _copy(model.optimizer.variables, program.optimizer.variables)

    splits = {"train": train} if validation is None else {"train": train, "val": validation}
    recorder = EpochRecorder(
        splits, program.score, observer, start, build_measures(program.model, config.metrics, config.model.head)
    )
    asked_for = regime_callbacks(config, span.before)
    listeners = keras.callbacks.CallbackList(
        [recorder, *asked_for, *callbacks, StateKeeper([recorder, *asked_for], recorder.history, observer, start)],
        model=program.model,
        epochs=span.last,
        verbose=0,
    )
    images, labels = on_device(train.images), on_device(train.labels)
    program.model.stop_training = stopped_already(start)
    observer.training_started(span.due)
    steps = math.ceil(len(train) / regime.batch_size)
    listeners.on_train_begin()
    for epoch in span.due:
        if program.model.stop_training:
            break
        listeners.on_epoch_begin(epoch - 1)
        order = epoch_order(config.seed, epoch, len(train)) if regime.shuffle else np.arange(len(train))
        with threefry_draws(program.model):  # the first call traces
            loss, accuracy = program.epoch(images, labels, order.astype(np.int32))
        logs = {"loss": float(loss), "accuracy": float(accuracy)}
        listeners.on_train_batch_end(steps - 1, logs)  # for TerminateOnNaN
        listeners.on_epoch_end(epoch - 1, logs)
    program.optimizer.finalize_variable_values(program.model.trainable_variables)
    listeners.on_train_end()
    _copy(program.model.variables, model.variables)
    _copy(program.optimizer.variables, model.optimizer.variables)
    observer.training_ended(stop_reason(recorder.history, span))
    return recorder.fitted()


def obstacle(model: Any, config: Config, train: Split) -> str:
    """Why a model of the user's own cannot be trained by this engine, in words; empty if it can.

    It is copied, and its epoch is traced: `fit` uses what was made here.
    """
    from harness.training.random_layers import threefry_draws

    try:
        program = _program(model, config, train)
        _copy(model.variables, program.model.variables)
        tried = train.images[:_TRIED]
        if not np.allclose(model(tried, training=False), program.model(tried, training=False), rtol=1e-4, atol=1e-5):
            return "a copy of the model answers otherwise"
        order = np.arange(len(train), dtype=np.int32)
        with threefry_draws(program.model):
            program.epoch.get_concrete_function(on_device(train.images), on_device(train.labels), order)
    except Exception as error:  # whatever the user's layers raise
        log.info("the compiled engine cannot train this model", exc_info=True)
        return describe_error(error)
    return ""


def helped_by_xla(model: Any) -> bool:
    """Whether XLA makes the model faster here: always on a GPU, not for convolutions on a CPU. It is not tried on
    layers of the user's own."""
    import keras
    import tensorflow as tf

    from harness.training.random_layers import every_layer

    layers = every_layer(model)
    if any(not type(layer).__module__.startswith("keras.") for layer in layers):
        return False
    convolves = any(isinstance(layer, keras.layers.Conv2D) for layer in layers)
    return bool(tf.config.list_physical_devices("GPU")) or not convolves


def _program(model: Any, config: Config, train: Split) -> Program:
    size, weights = len(train), class_weights(config.regime, train.labels, model.outputs[0].shape[-1])
    key = _structure(model, config, size, weights)
    if key in _programs:
        _programs.move_to_end(key)
    else:
        _programs[key] = _build(model, config, size, weights)
        if len(_programs) > PROGRAMS_KEPT:
            _programs.popitem(last=False)
    return _programs[key]


def _structure(model: Any, config: Config, size: int, weights: FloatArray | None) -> Hashable:
    """What is compiled into a program: everything but seed, weights, learning rate and the number of epochs."""
    regime, given = config.regime, settings_with("data")
    optimizer = {key: value for key, value in flatten(config.optimizer, "optimizer.").items() if key not in given}
    return repr((
        model.get_config(), optimizer, config.mixed_precision, labels_form(regime), regime.label_smoothing,
        regime.batch_size, size, regime.loss, regime.loss_options, code_digests(config),
        None if weights is None else weights.tolist(),
    ))  # fmt: skip


def _build(model: Any, config: Config, size: int, weights: FloatArray | None) -> Program:
    import keras

    from harness.training.random_layers import compilable_by_xla

    copy = keras.models.clone_model(model)
    optimizer = build_optimizer(config.optimizer, config.mixed_precision)
    optimizer.build(copy.trainable_variables)
    copy.optimizer = optimizer  # callbacks change its learning rate
    jit_compile = helped_by_xla(model)
    return Program(
        copy,
        optimizer,
        _epoch(copy, optimizer, config, size, weights, jit_compile and compilable_by_xla(copy)),
        build_scorer(copy, config.model.head, jit_compile),
    )


def _epoch(model: Any, optimizer: Any, config: Config, size: int, weights: FloatArray | None, jit_compile: bool) -> Any:
    """The compiled epoch: (images, labels, order) to the running averages of loss and accuracy, as `fit` has them."""
    import tensorflow as tf

    batch_size, form = config.regime.batch_size, labels_form(config.regime)
    measure = build_loss(config.regime, config.model.head)
    steps, rest = divmod(size, batch_size)

    def train_on(images: Any, labels: Any, count: int) -> tuple[Any, Any]:
        targets = labels if form == "integers" else tf.one_hot(tf.cast(labels, tf.int32), model.outputs[0].shape[-1])
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            counted = (
                None if weights is None else tf.gather(tf.constant(weights, tf.float32), tf.cast(labels, tf.int32))
            )
            loss = measure(targets, outputs, counted)
            if model.losses:
                loss = loss + tf.add_n(model.losses)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        right = tf.equal(tf.argmax(outputs, axis=1, output_type=tf.int32), tf.cast(labels, tf.int32))
        return loss * count, tf.reduce_sum(tf.cast(right, tf.float32))

    @tf.function(jit_compile=jit_compile, autograph=False, reduce_retracing=False)  # type: ignore[untyped-decorator]
    def epoch(images: Any, labels: Any, order: Any) -> tuple[Any, Any]:
        def batch(positions: Any, count: int) -> tuple[Any, Any]:
            return train_on(tf.gather(images, positions), tf.gather(labels, positions), count)

        def add(step: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
            more_loss, more_right = batch(tf.slice(order, [step * batch_size], [batch_size]), batch_size)
            return step + 1, loss + more_loss, right + more_right

        loss, right = tf.constant(0.0), tf.constant(0.0)
        if steps:
            _, loss, right = tf.while_loop(
                lambda step, *_: step < steps, add, (tf.constant(0), loss, right), maximum_iterations=steps
            )
        if rest:
            more_loss, more_right = batch(order[size - rest :], rest)
            loss, right = loss + more_loss, right + more_right
        return loss / size, right / size

    return epoch


def _copy(source: list[Any], target: list[Any]) -> None:
    for ours, theirs in zip(source, target, strict=True):
        theirs.assign(ours)
