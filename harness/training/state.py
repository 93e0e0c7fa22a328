"""What training needs to go on where it stopped: weights, optimizer state, the number of epochs behind it.

The order of the images of an epoch follows from (seed, epoch), so nothing else is needed: a run that is continued from
its state ends with the weights of one that was never interrupted, bit for bit on the same machine.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError, RequestError
from harness.paths import atomic_path

log = logging.getLogger(__name__)

VERSION = 1
_LEARNING_RATE = "learning_rate"

Arrays = tuple[Any, ...]


@dataclass(frozen=True)
class TrainingState:
    """A model and an optimizer between two epochs.

    `epochs` have been trained so far. `weights` and `optimizer_variables` are in Keras's order, `generators` are the
    states of the model's random generators (dropout). `optimizer` is the Keras class; empty where there is none, as
    in a model that was saved for prediction.
    """

    epochs: int
    weights: Arrays
    generators: Arrays = ()
    optimizer: str = ""
    optimizer_variables: Arrays = ()


def capture(model: Any, epochs: int) -> TrainingState:
    """The state of a Keras model as it stands; `epochs` lie behind it."""
    optimizer = getattr(model, "optimizer", None)
    return TrainingState(
        epochs,
        _values(model.weights),
        _values(_generators(model)),
        "" if optimizer is None else type(optimizer).__name__,
        () if optimizer is None else _values(optimizer.variables),
    )


def restore_model(model: Any, state: TrainingState) -> None:
    """Put the weights and the states of random generators into `model`.

    Generators stay as they were seeded where the state has none that fit. Raises `ConfigError` if the weights are not
    those of such a model.
    """
    wanted, found = _shapes(_values(model.weights)), _shapes(state.weights)
    if wanted != found:
        raise ConfigError(
            f"The weights to continue from are of another model: {_listed(found)}; this configuration builds "
            f"{_listed(wanted)}. Give the model settings that they were trained with."
        )
    _assign(model.weights, state.weights)
    if _shapes(_values(_generators(model))) == _shapes(state.generators):
        _assign(_generators(model), state.generators)


def restore_optimizer(optimizer: Any, state: TrainingState) -> str:
    """Put the state into a built optimizer, all but the learning rate, which the configuration sets.

    Another optimizer, or one of other options, has no use for it and starts afresh. Returns which it was, in words.
    """
    if not state.optimizer:
        return "fresh: none was saved with the weights"
    if type(optimizer).__name__ != state.optimizer:
        return f"fresh: the saved one is of {state.optimizer}, this is {type(optimizer).__name__}"
    if _shapes(_values(optimizer.variables)) != _shapes(state.optimizer_variables):
        return f"fresh: this {state.optimizer} has other options than the saved one"
    pairs = zip(optimizer.variables, state.optimizer_variables, strict=True)
    kept = [(variable, value) for variable, value in pairs if variable.path.rpartition("/")[2] != _LEARNING_RATE]
    _assign([variable for variable, _ in kept], [value for _, value in kept])
    return "kept"


def begin(model: Any, start: TrainingState | None, epochs: int) -> range:
    """Put `start` into a compiled model whose optimizer is built, and say which epochs are to be trained."""
    if start is None:
        return range(1, epochs + 1)
    restore_model(model, start)
    log.info(
        "training goes on after epoch %d, optimizer state %s", start.epochs, restore_optimizer(model.optimizer, start)
    )
    return range(start.epochs + 1, start.epochs + epochs + 1)


def write_state(file: Path, state: TrainingState) -> None:
    """Write the state whole or not at all, as a NumPy archive (`.npz`) without pickled objects."""
    arrays = {
        "version": np.array(VERSION),
        "epochs": np.array(state.epochs),
        "optimizer": np.array(state.optimizer),
        **_numbered("weight", state.weights),
        **_numbered("generator", state.generators),
        **_numbered("optimizer_variable", state.optimizer_variables),
    }
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_state(file: Path) -> TrainingState:
    """Read what `write_state` wrote. Raises `RequestError` if the file is something else or damaged."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if int(archive["version"]) != VERSION:
                raise RequestError(f"{file} was written by another version of the harness: {archive['version']}.")
            return TrainingState(
                int(archive["epochs"]),
                _series(archive, "weight"),
                _series(archive, "generator"),
                str(archive["optimizer"]),
                _series(archive, "optimizer_variable"),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise RequestError(f"{file} is no training state of the harness ({error}).") from error


def state_of_model(file: Path) -> TrainingState:
    """The weights of a saved Keras model, and its optimizer's state if it was saved with one.

    How many epochs lie behind them is not in the file: 0. Raises `RequestError` if it cannot be read.
    """
    import keras

    try:
        return capture(keras.models.load_model(file), 0)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{file} is no Keras model that can be read ({error}).") from error


def _generators(model: Any) -> list[Any]:
    weights = {id(variable) for variable in model.weights}
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in weights | metrics]


def _values(variables: Sequence[Any]) -> Arrays:
    return tuple(np.array(variable) for variable in variables)


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _shapes(values: Sequence[Any]) -> list[tuple[int, ...]]:
    return [np.shape(value) for value in values]


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) or "1" for shape in shapes)


def _numbered(name: str, values: Arrays) -> dict[str, Any]:
    return {f"{name}_{number}": value for number, value in enumerate(values)}


def _series(archive: Any, name: str) -> Arrays:
    count = sum(key.rpartition("_")[0] == name for key in archive.files)
    return tuple(archive[f"{name}_{number}"] for number in range(count))
