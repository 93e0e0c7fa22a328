"""Builds the optimizer and the loss of a configuration."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import OptimizerConfig, RegimeConfig
from harness.config.validation import LOSS_ARGUMENTS
from harness.records import FloatArray, LabelArray
from harness.user_code import is_reference, load


def build_optimizer(config: OptimizerConfig, mixed_precision: str = "none") -> Any:
    """A fresh Keras optimizer; options left at null have Keras's own defaults.

    In float16 small gradients would vanish: as Keras's `compile` does, it is wrapped into one that scales the loss.
    """
    import keras

    optimizer = getattr(keras.optimizers, OPTIMIZERS[config.name].class_name)(**config.options())
    return keras.optimizers.LossScaleOptimizer(optimizer) if mixed_precision == "float16" else optimizer


def labels_form(regime: RegimeConfig) -> str:
    """The form in which labels meet the loss, `integers` or `one_hot`: a smoothed label is no whole number."""
    return "one_hot" if regime.label_smoothing else regime.labels


def class_weights(regime: RegimeConfig, labels: LabelArray, classes: int) -> FloatArray | None:
    """What an image of each class counts in the training loss, (classes,): n / (classes that occur * images of the
    class), as scikit-learn's "balanced" (King and Zeng 2001). None where all count the same.

    Example:
        >>> import numpy as np
        >>> class_weights(RegimeConfig(class_weights="balanced"), np.array([0, 0, 0, 1], np.uint8), 2).round(2).tolist()
        [0.67, 2.0]
    """
    if regime.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), dtype=np.float64)


def build_loss(regime: RegimeConfig, head: str) -> Any:
    """The cross-entropy that fits the form of the labels (`labels_form`) and the head of the model; or the mean of a
    loss of the user's own, which is given labels of that form and what the model answers."""
    import keras

    if is_reference(regime.loss):
        return _own_loss(regime)
    if labels_form(regime) == "integers":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=head == "logits")
    return keras.losses.CategoricalCrossentropy(from_logits=head == "logits", label_smoothing=regime.label_smoothing)


def _own_loss(regime: RegimeConfig) -> Any:
    import keras

    own = load(regime.loss, regime.loss_options, LOSS_ARGUMENTS, "regime.loss_options")

    class OwnLoss(keras.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return own(y_true, y_pred, **regime.loss_options)

    return OwnLoss(dtype="float32")


def build_accuracy(labels: str) -> Any:
    """Keras's running accuracy for the form of the labels, named `accuracy`."""
    import keras

    metrics = {
        "integers": keras.metrics.SparseCategoricalAccuracy,
        "one_hot": keras.metrics.CategoricalAccuracy,
    }
    return metrics[labels](name="accuracy")
