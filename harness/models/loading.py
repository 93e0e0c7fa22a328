"""A model that was saved, back in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import RequestError

KERAS_FILE = "data/model.keras"
"""Where MLflow's Keras flavour puts the model in its folder."""


def load_model(file: Path) -> Any:
    """The Keras model in `file` (`.keras`), uncompiled. Raises `RequestError` if it is not there or no such model."""
    import keras

    if not file.is_file():
        raise RequestError(f"There is no model file {file}.")
    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{file} is no Keras model that can be read ({error}).") from error
