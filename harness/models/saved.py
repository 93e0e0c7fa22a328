"""Loads a saved model, after checks that it is one that the harness builds."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.untrusted import bounded_model

KERAS_FILE = "data/model.keras"
"""Where MLflow's Keras flavour puts the model in its folder."""
LARGEST_OUTPUT = 2**26
"""Values of one layer for one image; ResNets on photographs have a million."""
_LAYER_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]{0,200}")
"""What TensorFlow takes for a name."""


def load_model(file: Path) -> Any:
    """The Keras model in `file` (`.keras`), uncompiled. Raises `RequestError` if it is not there or no such model."""
    import keras

    if not file.is_file():
        raise RequestError(f"There is no model file {file}.")
    try:
        with bounded_model(file, keras.layers.Layer):
            model = keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{file} is no Keras model that can be read ({error}).") from error
    for layer in model.layers:
        for output in keras.tree.flatten(layer.output):
            if (values := math.prod(size or 1 for size in output.shape)) > LARGEST_OUTPUT:
                raise RequestError(f"{file}: a layer puts out {values:,} values for one image, so it is not used.")
    return model


def check_classifier(model: Any, shape: tuple[int, ...] | None = None, classes: int | None = None) -> None:
    """Make sure that a model which was loaded is one that takes images of this `shape` and has so many `classes`, as
    the harness builds them: whoever made a store may have put any other into it. Raises `RequestError`."""
    import keras

    output = next((layer for layer in model.layers if layer.name == "output"), None)
    takes = [tuple(each.shape[1:]) for each in model.inputs]
    answers = [tuple(each.shape) for each in model.outputs]
    if (
        len(takes) != 1
        or None in takes[0]
        or (shape is not None and takes[0] != shape)
        or model.inputs[0].dtype not in ("uint8", "float32")
        or not isinstance(output, keras.layers.Dense)
        or not output.use_bias
        or answers != [(None, output.units if classes is None else classes)]
        or answers != [tuple(output.output.shape)]
        or not all(_LAYER_NAME.fullmatch(layer.name) for layer in model.layers)
    ):
        raise RequestError(
            "The model is none that the harness builds: one input of images (uint8 or float32) of the size that the run was given "
            "and one dense layer at the end, called output, with a value for each class."
        )
