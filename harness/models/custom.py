"""A model of the user's own (`model.builder`): made, checked, and joined to the harness's preprocessing.

The layers of functional models and of `Sequential` become layers of the whole model; a subclassed model becomes one
layer of it. The last layer says by its name whether the model answers logits or probabilities.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.schema import ModelConfig
from harness.config.validation import BUILDER_ARGUMENTS
from harness.errors import ConfigError
from harness.records import ImageArray
from harness.user_code import describe_error, is_reference, load, objects

LOGITS, PROBABILITIES = "custom_logits", "custom_probabilities"
_RESERVED = frozenset({"pixels", "shift", "flip", "channel", "preprocessing", "probabilities", LOGITS, PROBABILITIES})
_NOT_CALLED = ("fit", "train_step", "test_step", "compute_loss", "compute_metrics")
_TRIED = 8
"""Images that a fresh model is given, to see what it answers."""


def custom_outputs(model: ModelConfig, images: Any, classes: int) -> Any:
    """What the user's model makes of the scaled `images` (None, *shape): logits or probabilities (None, classes).

    Raises `ConfigError` for whatever does not fit, and `RequestError` for code that the user has not named.
    """
    import keras

    reference, shape = str(model.builder), tuple(images.shape[1:])
    build = load(reference, model.options, BUILDER_ARGUMENTS, "model.options")
    try:
        made = build(shape, classes, **model.options)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"model.builder={reference} failed for images of {shape}: {describe_error(error)}") from error
    _check_made(reference, made, shape)
    try:
        answer = _joined(made, images)
    except Exception as error:  # likewise
        raise ConfigError(
            f"model.builder={reference} does not take images of {shape}: {describe_error(error)}"
        ) from error
    if not keras.backend.is_keras_tensor(answer) or tuple(answer.shape) != (None, classes):
        raise ConfigError(
            f"model.builder={reference} answers {_shapes(answer)}; one output of (None, {classes}) is wanted: a value "
            "for each class."
        )
    last = LOGITS if model.head == "logits" else PROBABILITIES
    return keras.layers.Activation("linear", dtype="float32", name=last)(answer)


def check_custom(model: Any, config: ModelConfig, images: ImageArray) -> None:
    """Make sure that the whole `model` answers what `model.head` says, tried on some of `images`, and that it can be
    loaded when it has been saved. Raises `ConfigError`."""
    import keras

    reference = str(config.builder)
    try:
        answers = np.asarray(model(images[:_TRIED], training=False), dtype=np.float64)
    except Exception as error:  # whatever the user's layers raise
        raise ConfigError(f"model.builder={reference}: its model fails: {describe_error(error)}") from error
    found = "softmax" if (answers >= 0).all() and np.allclose(answers.sum(axis=1), 1, atol=1e-3) else "logits"
    if found != config.head:
        said = "answers probabilities (a softmax at its end)" if found == "softmax" else "answers no probabilities"
        advice = "take the softmax out" if found == "softmax" else "end it with a softmax"
        raise ConfigError(
            f"model.builder={reference} {said}, and model.head is {config.head}. Set model.head={found}, or {advice}."
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model.keras")
            again = keras.models.load_model(Path(folder) / "model.keras", custom_objects=custom_objects(config))
        same = np.asarray(again(images[:_TRIED], training=False), dtype=np.float64)
    except Exception as error:  # likewise
        raise ConfigError(
            f"model.builder={reference}: its model could not be loaded after training. Every layer of your own needs a "
            "get_config() from which its class makes it again, and its class must be in the module of the function or "
            f"in one that it imports. Keras says: {describe_error(error)}"
        ) from error
    if not np.allclose(same, answers, rtol=1e-4, atol=1e-5):
        raise ConfigError(
            f"model.builder={reference}: its model answers otherwise after it was saved and loaded. Everything that a "
            "layer of your own computes with must be in its weights or in its get_config()."
        )


def custom_objects(config: ModelConfig) -> Mapping[str, Any]:
    """The user's own classes and functions by name, for Keras to load a saved model; imports their modules. Raises as
    `user_code.load`."""
    found: dict[str, Any] = {}
    for reference in own_parts(config):
        load(reference)
        found |= objects(reference)
    return found


def own_parts(config: ModelConfig) -> list[str]:
    """The references to code that the model is made of."""
    named = (config.builder, config.augmentation, config.initializer, config.constraint)
    return [reference for reference in named if reference is not None and is_reference(reference)]


def register_objects(config: ModelConfig) -> None:
    """Let Keras find the user's own classes by name, in this process, where it copies a model or loads it."""
    import keras

    keras.saving.get_custom_objects().update(custom_objects(config))


def own_or_named(text: str, setting: str, kind: Any) -> Any:
    """What `model.SETTING` names: one of Keras by name, or what a function (or class) of the user's own returns.

    Raises `ConfigError` where that is no `kind`, and as `user_code.load`.
    """
    if not is_reference(text):
        return text
    function = load(text, {}, (), f"model.{setting}")
    try:
        made = function()
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"model.{setting}={text} failed: {describe_error(error)}") from error
    if not isinstance(made, kind):
        raise ConfigError(f"model.{setting}={text} returns {type(made).__name__}; a keras {kind.__name__} is wanted.")
    return made


def _check_made(reference: str, made: Any, shape: tuple[int, ...]) -> None:
    import keras

    if not isinstance(made, keras.Model):
        raise ConfigError(f"model.builder={reference} returns {type(made).__name__}; a keras.Model is wanted.")
    if own := [name for name in _NOT_CALLED if getattr(type(made), name) is not getattr(keras.Model, name)]:
        raise ConfigError(
            f"model.builder={reference}: its model has a {own[0]} of its own, which the harness does not call: it "
            "trains by its own engines. Use layers, add_loss, and the settings of the regime instead."
        )
    for layer in made._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Lambda):
            raise ConfigError(
                f"model.builder={reference}: {layer.name} is a Lambda layer, which is saved as a pickle and not loaded "
                "again. Write a layer with a call of its own."
            )
    if taken := sorted(
        _RESERVED & {layer.name for layer in made.layers if not isinstance(layer, keras.layers.InputLayer)}
    ):
        raise ConfigError(f"model.builder={reference}: a layer is called {taken[0]}, as one of the harness. Rename it.")
    inputs = [tuple(each.shape[1:]) for each in getattr(made, "inputs", None) or []]
    fits = len(inputs) == 1 and len(inputs[0]) == len(shape) and all(
        size in (None, wanted) for size, wanted in zip(inputs[0], shape, strict=True)
    )  # fmt: skip
    if inputs and not fits:
        raise ConfigError(
            f"model.builder={reference}: its model takes {', '.join(map(str, inputs))}; one input of {shape} is "
            "wanted, the input_shape that the function is given."
        )


def _joined(made: Any, images: Any) -> Any:
    """`made` applied to `images`, its layers those of the graph where it has one."""
    import keras

    if type(made) is keras.Sequential:
        for layer in made.layers:
            images = layer(images)
        return images
    if type(made).__name__ == "Functional" and keras.backend.is_keras_tensor(made.output):
        return made._run_through_graph(images, operation_fn=lambda operation: operation)
    return made(images)


def _shapes(answer: Any) -> str:
    import keras

    return (
        ", ".join(str(tuple(each.shape)) for each in keras.tree.flatten(answer) if hasattr(each, "shape")) or "nothing"
    )
