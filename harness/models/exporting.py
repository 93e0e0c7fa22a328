"""Exports a logged model as files that need neither the harness nor its store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.models.saved import check_classifier, load_model

EXPORTED_KERAS = "model.keras"


@dataclass(frozen=True)
class ExportFormat:
    """`write(file, folder, load)` turns the `.keras` file that a run logged into files in `folder`, which is there and
    empty; `load` reads the file and checks the model.

    `files` are the names of what it may leave there. `use` is Python, with a `{folder}` to be filled in, that turns
    `images` into `probabilities`. What is loaded has a name there, because the weights of a SavedModel go with the
    object.
    """

    write: Callable[..., None]
    files: frozenset[str]
    use: str
    needs_tensorflow: bool


def _classifier(file: Path) -> Any:
    model = load_model(file)
    check_classifier(model)
    return model


def _copy_keras(file: Path, folder: Path, load: Callable[[Path], Any] = _classifier) -> None:
    if not file.is_file():
        raise RequestError(f"There is no model file {file}.")
    shutil.copyfile(file, folder / EXPORTED_KERAS)


def _write_saved_model(file: Path, folder: Path, load: Callable[[Path], Any] = _classifier) -> None:
    """A TensorFlow SavedModel with the signature `serving_default` (also callable as `serve`).

    Input `pixels` uint8, output `probabilities` (n, classes) float32.
    """
    model = load(file)
    import keras
    import tensorflow as tf

    def probabilities(pixels: Any) -> dict[str, Any]:
        # Runs of earlier versions logged models whose input is a list of one.
        return {"probabilities": model(keras.tree.pack_sequence_as(model.input, [pixels]), training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype, name="pixels")]
    archive.add_endpoint("serve", probabilities, input_signature=signature)  # the first one is `serving_default` too
    archive.write_out(folder, verbose=False)


FORMATS: Mapping[str, ExportFormat] = {
    "keras": ExportFormat(
        _copy_keras,
        frozenset({EXPORTED_KERAS}),
        f"model = keras.models.load_model('{{folder}}/{EXPORTED_KERAS}'); probabilities = model.predict(images)",
        needs_tensorflow=False,
    ),
    "saved_model": ExportFormat(
        _write_saved_model,
        frozenset({"saved_model.pb", "fingerprint.pb", "variables", "assets"}),
        "model = tf.saved_model.load('{folder}'); probabilities = model.serve(images)['probabilities']",
        needs_tensorflow=True,
    ),
}
