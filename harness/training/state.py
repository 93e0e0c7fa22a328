"""What training needs to resume: weights, optimizer state, the number of epochs behind it.

The order of the images of an epoch follows from (seed, epoch), so nothing else is needed: a run that is continued from
its state ends with the weights of one that was never interrupted, bit for bit on the same machine.

A state serves two ends. A new run starts from it, with a regime of its own; and an interrupted run is resumed in
itself, for which the state of its callbacks and its history (`Progress`) are kept too.
"""

from __future__ import annotations

import json
import logging
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError, RequestError
from harness.paths import atomic_path, make_folder
from harness.untrusted import bounded_model, open_arrays

log = logging.getLogger(__name__)

VERSION = 1
DAMAGES = (
    OSError, ValueError, LookupError, EOFError, ArithmeticError, AttributeError, TypeError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
    RuntimeError,  # encrypted, packed in a way that is not known here, or nested too deep
)  # fmt: skip
"""What NumPy, zipfile and json raise for a file that is none of ours, or is damaged."""
DRAWS = "threefry"
"""What random layers draw from; states of earlier versions do not say."""
_LEARNING_RATE = "/learning_rate"

Arrays = tuple[Any, ...]


@dataclass(frozen=True)
class Progress:
    """How far a run has come that was cut off.

    `before` epochs had been trained when it began; `series` are its metrics by epoch; `stopped` says that a callback
    has ended training; `callbacks` has the state of Keras's callbacks by the name of their class: numbers, None, or
    lists of arrays.
    """

    before: int
    series: Mapping[str, Sequence[float]]
    stopped: bool = False
    callbacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochSpan:
    """Which epochs a run trains: those after `before` up to `last`, of which all up to `done` are trained."""

    before: int
    done: int
    last: int

    @property
    def due(self) -> range:
        return range(self.done + 1, self.last + 1)


@dataclass(frozen=True)
class TrainingState:
    """A model and an optimizer between two epochs.

    `epochs` have been trained so far. `weights` and `optimizer_variables` are in Keras's order, `generators` are the
    states of the model's random generators (dropout). `optimizer` is the Keras class; empty where there is none, as
    in a model that was saved for prediction. With `progress` it is that of a run that was cut off, and `fingerprint`
    that run's; empty where none was written. `draws` is what its random layers drew from.
    """

    epochs: int
    weights: Arrays
    generators: Arrays = ()
    optimizer: str = ""
    optimizer_variables: Arrays = ()
    progress: Progress | None = None
    fingerprint: str = ""
    draws: str = DRAWS


def capture(model: Any, epochs: int, progress: Progress | None = None) -> TrainingState:
    """The state of a Keras model as it stands; `epochs` lie behind it."""
    optimizer = getattr(model, "optimizer", None)
    return TrainingState(
        epochs,
        weights_of(model),
        _values(_generators(model)),
        "" if optimizer is None else type(optimizer).__name__,
        () if optimizer is None else _values(optimizer.variables),
        progress,
    )


def weights_of(model: Any) -> Arrays:
    """Copies of a Keras model's weights, in its order."""
    return _values(model.weights)


def weight_shapes(model: Any) -> list[tuple[int, ...]]:
    """The shapes of a Keras model's weights, in its order."""
    return [tuple(variable.shape) for variable in model.weights]


def restore_model(model: Any, state: TrainingState) -> None:
    """Put the weights and the states of random generators into `model`.

    Generators stay as they were seeded where the state has none that fit. Raises `ConfigError` if the weights are not
    those of such a model.
    """
    wanted, found = _shapes(weights_of(model)), _shapes(state.weights)
    if wanted != found:
        raise ConfigError(
            f"The weights to continue from are of another model: {_listed(found)}; this configuration builds "
            f"{_listed(wanted)}. Give the model settings that they were trained with."
        )
    _assign(model.weights, state.weights)
    if _shapes(_values(_generators(model))) == _shapes(state.generators):
        _assign(_generators(model), state.generators)


def restore_optimizer(optimizer: Any, state: TrainingState) -> str:
    """Put the state into a built optimizer; the learning rate of a new run is that of its configuration.

    Another optimizer, or one of other options, has no use for it and starts afresh. Returns which it was, in words.
    """
    if not state.optimizer:
        return "fresh: none was saved with the weights"
    if type(optimizer).__name__ != state.optimizer:
        return f"fresh: the saved one is of {state.optimizer}, this is {type(optimizer).__name__}"
    if _shapes(_values(optimizer.variables)) != _shapes(state.optimizer_variables):
        return f"fresh: this {state.optimizer} has other options than the saved one"
    pairs = zip(optimizer.variables, state.optimizer_variables, strict=True)
    everything = state.progress is not None
    kept = [(variable, value) for variable, value in pairs if everything or not variable.path.endswith(_LEARNING_RATE)]
    _assign([variable for variable, _ in kept], [value for _, value in kept])
    return "kept"


def begin(model: Any, start: TrainingState | None, epochs: int) -> EpochSpan:
    """Put `start` into a compiled model whose optimizer is built, and say which of `epochs` are to be trained."""
    if start is None:
        return EpochSpan(0, 0, epochs)
    restore_model(model, start)
    log.info(
        "training resumes after epoch %d, optimizer state %s", start.epochs, restore_optimizer(model.optimizer, start)
    )
    if start.progress is not None and start.draws != DRAWS and start.generators:
        log.warning(
            "An earlier version trained the first %d epochs, and drew dropout masks and shifts from another generator. "
            "The rest draws from %s: the run will not have the numbers of an uninterrupted one.",
            *(start.epochs, DRAWS),
        )
    before = start.epochs if start.progress is None else start.progress.before
    return EpochSpan(before, start.epochs, before + epochs)


def stopped_already(start: TrainingState | None) -> bool:
    """Whether a callback had ended training before the run was cut off."""
    return start is not None and start.progress is not None and start.progress.stopped


def write_state(file: Path, state: TrainingState) -> None:
    """Write the state whole or not at all, as a NumPy archive (`.npz`) without pickled objects."""
    arrays = {
        "version": np.array(VERSION),
        "epochs": np.array(state.epochs),
        "optimizer": np.array(state.optimizer),
        "fingerprint": np.array(state.fingerprint),
        "draws": np.array(state.draws),
        **_numbered("weight", state.weights),
        **_numbered("generator", state.generators),
        **_numbered("optimizer_variable", state.optimizer_variables),
    }
    if state.progress is not None:
        described, kept = _described(state.progress)
        arrays |= {"progress": np.array(json.dumps(described)), **_numbered("callback_array", kept)}
    make_folder(file.parent)
    with atomic_path(file, kept=True) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_state(file: Path) -> TrainingState:
    """Read what `write_state` wrote. Raises `RequestError` if the file is something else or damaged."""
    try:
        with open_arrays(file) as archive:
            if int(archive["version"]) != VERSION:
                raise RequestError(f"{file} was written by another version of the harness: {archive['version']}.")
            state = TrainingState(
                int(archive["epochs"]),
                _series(archive, "weight"),
                _series(archive, "generator"),
                str(archive["optimizer"]),
                _series(archive, "optimizer_variable"),
                _progress(archive) if "progress" in archive.files else None,
                str(archive["fingerprint"]) if "fingerprint" in archive.files else "",
                str(archive["draws"]) if "draws" in archive.files else "",
            )
            _check_progress(state)
            return state
    except DAMAGES as error:
        raise RequestError(
            f"{file} is no training state of the harness, or a damaged one ({type(error).__name__})."
        ) from error


def _check_progress(state: TrainingState) -> None:
    """Raise `ValueError` if a run could not be resumed from what was read."""
    if state.epochs < 0 or not all(np.issubdtype(value.dtype, np.number) for value in state.weights):
        raise ValueError("epochs or weights")
    if (progress := state.progress) is None:
        return
    if not 0 <= progress.before <= state.epochs or not isinstance(progress.stopped, bool):
        raise ValueError("progress")
    for values in progress.series.values():
        if len(values) > state.epochs - progress.before or not all(isinstance(value, float | int) for value in values):
            raise ValueError("series")


def _described(progress: Progress) -> tuple[dict[str, Any], Arrays]:
    """The progress as JSON keeps it (floats to the last bit), and apart from it the arrays that it refers to."""
    arrays: list[Any] = []

    def plain(value: Any) -> Any:
        if isinstance(value, list):  # of weights
            arrays.extend(value)
            return {"first": len(arrays) - len(value), "count": len(value)}
        return value

    callbacks = {
        name: {key: plain(value) for key, value in state.items()} for name, state in progress.callbacks.items()
    }
    described = {**vars(progress), "series": dict(progress.series), "callbacks": callbacks}
    return described, tuple(arrays)


def _progress(archive: Any) -> Progress:
    described = json.loads(str(archive["progress"]))
    arrays = _series(archive, "callback_array")

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return list(arrays[value["first"] : value["first"] + value["count"]])
        return value

    callbacks = {
        name: {key: whole(value) for key, value in state.items()} for name, state in described["callbacks"].items()
    }
    return Progress(described["before"], described["series"], described["stopped"], callbacks)


def state_of_model(file: Path, objects: Mapping[str, Any] | None = None) -> TrainingState:
    """The weights of a saved Keras model, and its optimizer's state if it was saved with one.

    How many epochs lie behind them is not in the file: 0. `objects` are classes of the user's own by name. Raises
    `RequestError` if it cannot be read.
    """
    import keras

    try:
        with bounded_model(file, keras.layers.Layer):
            return capture(keras.models.load_model(file, custom_objects=objects), 0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
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
