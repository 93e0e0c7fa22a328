"""Arrays of anybody's making as a dataset: checked, in one of two types, with labels from 0.

Images (n, height, width), (n, height, width, channels) or vectors (n, features): unsigned bytes stay as they are, every
other kind of number becomes float32. Labels are whole numbers of any kind, one-hot rows, booleans or texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import UnusableData
from harness.machine import available_memory
from harness.records import Dataset, Split

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""Keras's names of the four arrays of a dataset."""
MOST_CLASSES = 2**16
_EXACT = 2**24
"""Up to here float32 holds every whole number."""
_PART = 2**24
"""Values that are converted at once."""
_SHOWN = 40
_LONGEST_NAME = 200

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RawData:
    """What a file or a loader has, not checked yet: the four arrays by Keras's names, where they are from in words
    (`source`, which begins messages), and the class names by label, if it has any."""

    source: str
    arrays: dict[str, Any]
    class_names: Sequence[str] | None = None


def make_dataset(name: str, raw: RawData, class_names: Sequence[str] | None = None) -> Dataset:
    """The dataset in `raw`. `class_names` go before those that it has itself; without any they are the values of the
    labels. Raises `UnusableData`, which names the array, the index in it and the reason."""
    named = raw.class_names if class_names is None else class_names
    arrays = {key: _array(raw.source, key, value) for key, value in raw.arrays.items()}
    for kind in ("train", "test"):
        _check_lengths(raw.source, kind, arrays[f"x_{kind}"], arrays[f"y_{kind}"])
    images = [_pixels(raw.source, key, arrays[key]) for key in ("x_train", "x_test")]
    _check_alike(raw.source, *images)
    names, *labels = _numbered(raw.source, arrays["y_train"], arrays["y_test"], named)
    train, test = (Split(*each) for each in zip(images, labels, strict=True))
    return assembled(name, raw.source, train, test, names)


def assembled(name: str, source: str, train: Split, test: Split, class_names: Sequence[str]) -> Dataset:
    """The dataset of two checked splits. Its digest is of shape, type, class names and content. Raises `UnusableData`
    for class names that cannot be shown, and for classes without training images."""
    names = _checked_names(source, class_names)
    counts = np.bincount(train.labels, minlength=len(names))
    if empty := [names[label] for label in np.flatnonzero(counts == 0)]:
        raise UnusableData(
            f"{source}: {_listed(empty)} {'has' if len(empty) == 1 else 'have'} no training images. Leave "
            f"{'this class' if len(empty) == 1 else 'these classes'} out of the class names, or add images."
        )
    for split in (train, test):
        split.images.flags.writeable = split.labels.flags.writeable = False  # runs share them
    shape, dtype = train.images.shape[1:], str(train.images.dtype)
    content = json.dumps([shape, dtype, names, train.digest, test.digest])
    return Dataset(name, names, train, test, hashlib.sha256(content.encode()).hexdigest(), source)


def label_type(classes: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds the labels of so many classes."""
    return np.uint8 if classes <= 2**8 else np.uint16


def check_memory(source: str, wanted: int) -> None:
    """Raise `UnusableData` if so many bytes are not free."""
    if wanted > (free := available_memory()):
        raise UnusableData(
            f"{source}: takes {_gigabytes(wanted)} of memory to load, and {_gigabytes(free)} are free. Use fewer or "
            "smaller images, end other programs, or use a machine with more memory."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**27 else f"{count / 2**20:,.0f} MiB"


def _array(source: str, key: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the object's own conversion raises
        raise UnusableData(f"{source}: {key} cannot be read as an array ({_in_short(error)}).") from error
    if array.ndim == 0:
        raise UnusableData(f"{source}: {key} is no array, but {type(value).__name__} {str(value)[:_SHOWN]!r}.")
    return array


def _check_lengths(source: str, kind: str, images: Array, labels: Array) -> None:
    if len(images) != len(labels) or not len(images):
        raise UnusableData(
            f"{source}: x_{kind} has {len(images):,} images and y_{kind} {len(labels):,} labels. There must be as many "
            "of each, and at least one."
        )


def _pixels(source: str, key: str, array: Array) -> Array:
    """Images as uint8 or float32 without a channel axis of 1."""
    if array.dtype.kind not in "buif":
        what = "Python objects" if array.dtype.hasobject else f"type {array.dtype}"
        several = " (images of several sizes cannot be one array)" if array.dtype.hasobject else ""
        raise UnusableData(f"{source}: {key} holds {what}{several}. Its values must be numbers.")
    shape = array.shape
    if array.ndim not in (2, 3, 4) or 0 in shape:
        raise UnusableData(
            f"{source}: {key} has shape {shape}. Images are (n, height, width) or (n, height, width, channels), "
            "vectors (n, features)."
        )
    if array.ndim == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise UnusableData(
            f"{source}: {key} has shape {shape}: its channels seem to come first. Put them last, as Keras has them: "
            "np.moveaxis(images, 1, -1)."
        )
    if array.ndim == 4 and shape[3] == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return _as_float32(source, key, array)


def _as_float32(source: str, key: str, array: Array) -> Array:
    """In parts, so that no second copy of all of it is made on the way. Raises `UnusableData` for NaN, infinity, and
    whole numbers that lose digits."""
    same = array.dtype == np.float32 and array.flags.c_contiguous
    if not same:
        check_memory(source, 4 * array.size)
    made = array if same else np.empty(array.shape, np.float32)
    step = max(1, _PART // max(1, array[0].size))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        if not same:
            with np.errstate(over="ignore", invalid="ignore"):
                made[start : start + step] = part
        wrong = ~np.isfinite(made[start : start + step])
        if array.dtype.kind in "iu" and array.dtype.itemsize > 2:
            wrong |= (part > _EXACT) | (part < -_EXACT)
        if wrong.any():
            first = tuple(int(place) for place in np.argwhere(wrong)[0])
            place = (start + first[0], *first[1:])
            value = array[place]
            reason = (
                "must be a finite number" if not np.isfinite(value) else "is too large for float32: scale the values"
            )
            raise UnusableData(f"{source}: {key}{list(place)} is {value}, and {reason}.")
    return made


def _check_alike(source: str, train: Array, test: Array) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise UnusableData(
            f"{source}: images of x_train have shape {train.shape[1:]} and those of x_test {test.shape[1:]}. They must "
            "be the same."
        )
    if train.dtype != test.dtype:
        raise UnusableData(
            f"{source}: x_train has type {train.dtype} and x_test {test.dtype}. Give both the same type and range."
        )


def _numbered(
    source: str, train: Array, test: Array, class_names: Sequence[str] | None
) -> tuple[Sequence[str], Array, Array]:
    """Class names, and the labels of both splits as numbers of these."""
    y_train, columns = _label_values(source, "y_train", train)
    y_test, test_columns = _label_values(source, "y_test", test)
    kinds = ["one-hot" if width else each.dtype.kind for each, width in ((y_train, columns), (y_test, test_columns))]
    if columns != test_columns or (kinds[0] == "U") != (kinds[1] == "U"):
        raise UnusableData(
            f"{source}: y_train (shape {train.shape}, {train.dtype}) and y_test (shape {test.shape}, {test.dtype}) "
            "must have labels of one kind."
        )
    texts = kinds[0] == "U"
    if class_names is not None:
        names: Sequence[str] = _checked_names(source, class_names)
        values = np.array(names) if texts else np.arange(len(names))
        if columns and columns != len(names):
            raise UnusableData(f"{source}: {len(names)} class names for one-hot labels of {columns} columns.")
    else:
        values = np.arange(columns) if columns else np.unique(y_train)
        names = [str(bool(value)) if train.dtype == bool and not columns else str(value) for value in values.tolist()]
    if len(values) > MOST_CLASSES:
        raise UnusableData(
            f"{source}: y_train has {len(values):,} different values; at most {MOST_CLASSES:,} classes can be told "
            "apart. Are these numbers to be predicted (a regression) instead of classes?"
        )
    order = np.argsort(values)
    found = []
    for key, labels in (("y_train", y_train), ("y_test", y_test)):
        places = np.minimum(np.searchsorted(values, labels, sorter=order), len(values) - 1)
        numbers = order[places]
        if (unknown := np.flatnonzero(values[numbers] != labels)).size:
            index = int(unknown[0])
            raise UnusableData(f"{source}: {key}[{index}] is {_unknown(labels[index], names, class_names is not None)}")
        found.append(numbers.astype(label_type(len(names))))
    return names, found[0], found[1]


def _unknown(value: Any, names: Sequence[str], named: bool) -> str:
    shown = repr(str(value)[:_SHOWN]) if isinstance(value, str) else str(value)
    if not named:
        return f"{shown}, a class that y_train does not have, and no model can learn. Add training images."
    if isinstance(value, str):
        return f"{shown}, which is none of the {len(names)} class names ({_listed(names)})."
    return (
        f"{shown}; with {len(names)} class names labels must be 0 to {len(names) - 1}. Change the labels, or leave the "
        "class names out: then every value is a class."
    )


def _label_values(source: str, key: str, array: Array) -> tuple[Array, int]:
    """Labels as (n,) int64 or text, and the number of columns if they were one-hot, else 0."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "S":
        array = _decoded(source, key, array)
    elif array.dtype.hasobject:
        if wrong := [place for place, value in enumerate(array.flat) if not isinstance(value, str)]:
            raise UnusableData(
                f"{source}: {key} holds Python objects (number {wrong[0]} is of type "
                f"{type(array.flat[wrong[0]]).__name__}). Labels must be numbers or texts."
            )
        array = array.astype(str)
    if array.dtype.kind not in "biufU" or array.ndim not in (1, 2) or (array.ndim == 2 and array.dtype.kind == "U"):
        raise UnusableData(
            f"{source}: {key} has shape {array.shape} and type {array.dtype}. Labels are (n,) numbers or texts, or (n, "
            "classes) one-hot."
        )
    if array.ndim == 2:
        ones = array == 1
        wrong_rows = np.flatnonzero((ones.sum(axis=1) != 1) | (~ones & (array != 0)).any(axis=1))
        if wrong_rows.size:
            raise UnusableData(
                f"{source}: {key}[{wrong_rows[0]}] is no one-hot row: a single 1, and 0 elsewhere. One image has one "
                "class."
            )
        return ones.argmax(axis=1), array.shape[1]
    if array.dtype.kind == "U":
        return array, 0
    return _whole_numbers(source, key, array), 0


def _whole_numbers(source: str, key: str, array: Array) -> Array:
    wrong = np.zeros(len(array), bool)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(array) | (array != np.rint(array)) | (np.abs(array) >= 2.0**62)
    elif array.dtype.kind == "u":
        wrong = array > np.iinfo(np.int64).max
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise UnusableData(
            f"{source}: {key}[{index}] is {array[index]}. Labels must be whole numbers, each one a class."
        )
    return array.astype(np.int64)


def _decoded(source: str, key: str, array: Array) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise UnusableData(
            f"{source}: {key} has a label that is no text in UTF-8 ({error.object[:_SHOWN]!r})."
        ) from error


def _checked_names(source: str, class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(map(str, class_names))
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UnusableData(
            f"{source}: {len(names)} class{'' if len(names) == 1 else 'es'} ({_listed(names)}). There must be at least "
            f"2, and at most {MOST_CLASSES:,}."
        )
    for place, name in enumerate(names):
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise UnusableData(
                f"{source}: class {place} is called {name[:_SHOWN]!a}. A name must have characters that can be shown, "
                f"on one line, and at most {_LONGEST_NAME}."
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnusableData(f"{source}: two classes are called {twice!r}. Give each a name of its own.")
    return names


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(str(name)[:_SHOWN] for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _in_short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
