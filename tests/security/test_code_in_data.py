"""What held, and must go on holding: neither models nor arrays run code when they are read."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import RequestError
from harness.models import load_model
from harness.training.state import read_state, state_of_model


class Touch:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.file),)


def test_a_lambda_layer_does_not_run(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8,))
    ran = str(tmp_path / "ran")

    def run(values: object) -> object:
        import pathlib

        pathlib.Path(ran).touch()
        return values

    layer = keras.layers.Lambda(run, output_shape=(8,))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    Path(ran).unlink(missing_ok=True)
    for read in (load_model, state_of_model):
        with pytest.raises(RequestError, match="no Keras model that can be read"):
            read(tmp_path / "model.keras")
    assert not Path(ran).exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("keras.utils", "get_file"), ("os", "system"), ("keras.layers", "TFSMLayer"), ("builtins", "eval")],
)
def test_a_class_that_is_no_layer_is_not_called(module: str, name: str, tmp_path: Path) -> None:
    config = (
        f'{{"module": "{module}", "class_name": "{name}", "config": {{"fname": "x", "origin": "file:///etc/passwd", '
        f'"filepath": "/etc", "command": "touch {tmp_path}/ran"}}, "registered_name": null}}'
    )
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", '{"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}')
        archive.writestr("model.weights.h5", b"")
    for read in (load_model, state_of_model):
        with pytest.raises(RequestError):
            read(tmp_path / "model.keras")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.keras"]


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", version=np.array([Touch(tmp_path / "ran")], dtype=object))
    with pytest.raises(RequestError):
        read_state(tmp_path / "state.npz")
    assert not (tmp_path / "ran").exists()
