"""A model that was saved, back in memory."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.untrusted import bounded_model

KERAS_FILE = "data/model.keras"
"""Where MLflow's Keras flavour puts the model in its folder."""
LARGEST_OUTPUT = 2**26
"""Values of one layer for one image; ResNets on photographs have a million."""


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
