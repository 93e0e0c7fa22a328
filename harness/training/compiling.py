"""The optimizer and the loss that a configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config import OptimizerConfig

KERAS_OPTIMIZERS: Mapping[str, str] = {
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "adagrad": "Adagrad",
    "adam": "Adam",
    "adamax": "Adamax",
    "adamw": "AdamW",
    "ftrl": "Ftrl",
    "lamb": "Lamb",
    "lion": "Lion",
    "muon": "Muon",
    "nadam": "Nadam",
    "rmsprop": "RMSprop",
    "schedule_free_adamw": "ScheduleFreeAdamW",
    "sgd": "SGD",
}
"""Our names of Keras's built-in optimizers, and theirs."""


def build_optimizer(config: OptimizerConfig, mixed_precision: str = "none") -> Any:
    """A fresh Keras optimizer; options left at null have Keras's own defaults.

    In float16 small gradients would vanish: as Keras's `compile` does, it is wrapped into one that scales the loss.
    """
    import keras

    optimizer = getattr(keras.optimizers, KERAS_OPTIMIZERS[config.name])(**config.options())
    return keras.optimizers.LossScaleOptimizer(optimizer) if mixed_precision == "float16" else optimizer


def build_loss(labels: str, head: str) -> Any:
    """The cross-entropy that fits the form of the labels (`integers`, `one_hot`) and the head of the model."""
    import keras

    losses = {
        "integers": keras.losses.SparseCategoricalCrossentropy,
        "one_hot": keras.losses.CategoricalCrossentropy,
    }
    return losses[labels](from_logits=head == "logits")


def build_accuracy(labels: str) -> Any:
    """Keras's running accuracy for the form of the labels, named `accuracy`."""
    import keras

    metrics = {
        "integers": keras.metrics.SparseCategoricalAccuracy,
        "one_hot": keras.metrics.CategoricalAccuracy,
    }
    return metrics[labels](name="accuracy")
