"""Loads a saved model, after checks that it is one that the harness builds."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.models.custom import LOGITS, PROBABILITIES
from harness.untrusted import bounded_model

KERAS_FILE = "data/model.keras"
"""Where MLflow's Keras flavour puts the model in its folder."""
LARGEST_OUTPUT = 2**26
"""Values of one layer for one image; ResNets on photographs have a million."""
_LAYER_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]{0,200}")
"""What TensorFlow takes for a name."""


def load_model(file: Path, objects: Mapping[str, Any] | None = None) -> Any:
    """The Keras model in `file` (`.keras`), uncompiled; `objects` are classes of the user's own by name.

    Raises `RequestError` if it is not there or no such model."""
    import keras

    if not file.is_file():
        raise RequestError(f"There is no model file {file}.")
    try:
        with bounded_model(file, keras.layers.Layer):
            model = keras.models.load_model(file, custom_objects=objects, compile=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{file} is no Keras model that can be read ({error}).") from error
    for layer in model.layers:
        for output in keras.tree.flatten(layer.output):
            if (values := math.prod(size or 1 for size in output.shape)) > LARGEST_OUTPUT:
                raise RequestError(f"{file}: a layer puts out {values:,} values for one image, so it is not used.")
    return model


def check_classifier(
    model: Any, shape: tuple[int, ...] | None = None, classes: int | None = None, custom: bool = False
) -> None:
    """Make sure that a model which was loaded is one that takes images of this `shape` and has so many `classes`, as
    the harness builds them (or around a `custom` one): whoever made a store may have put any other into it. Raises
    `RequestError`."""
    output = next((layer for layer in model.layers if layer.name == "output"), None)
    takes = [tuple(each.shape[1:]) for each in model.inputs]
    answers = [tuple(each.shape) for each in model.outputs]
    if (
        len(takes) != 1
        or None in takes[0]
        or (shape is not None and takes[0] != shape)
        or model.inputs[0].dtype not in ("uint8", "float32")
        or not (_ends_as_custom(model, classes) if custom else _ends_in_dense(output, answers, classes))
        or not all(_LAYER_NAME.fullmatch(layer.name) for layer in model.layers)
    ):
        raise RequestError(
            "The model is none that the harness builds: one input of images (uint8 or float32) of the size that the "
            "run was given and one dense layer at the end, called output, with a value for each class."
        )


def _ends_in_dense(output: Any, answers: list[tuple[int | None, ...]], classes: int | None) -> bool:
    import keras

    return (
        isinstance(output, keras.layers.Dense)
        and output.use_bias
        and answers == [(None, output.units if classes is None else classes)]
        and answers == [tuple(output.output.shape)]
    )


def _ends_as_custom(model: Any, classes: int | None) -> bool:
    """Whether a model has a last layer of `custom.custom_outputs`, and so many classes."""
    (answers,) = [tuple(each.shape) for each in model.outputs] if len(model.outputs) == 1 else [()]
    known = {layer.name for layer in model.layers} & {LOGITS, PROBABILITIES}
    return bool(known) and len(answers) == 2 and answers[0] is None and classes in (None, answers[1])
