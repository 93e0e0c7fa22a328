"""The images that a command is asked to look at: test images by index, image files, or an array in a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from harness.config.schema import PUBLISHED_SOURCE, Config
from harness.data.fitting import looks_inverted
from harness.data.pictures import read_array, read_picture, scaled_picture
from harness.errors import DataError, RequestError
from harness.records import WHITE, ImageArray, RunRecord, Split
from harness.run.load import recorded_dtype, recorded_shape, test_images

_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_NAMED = 3
"""Files that a warning names; it counts the rest."""


@dataclass(frozen=True)
class ChosenImage:
    """An image (*shape), what to call it, and its class where it is known; `index` counts test images."""

    label: str
    image: ImageArray
    true: int | None = None
    index: int | None = None


@dataclass(frozen=True)
class Choice:
    """What was asked for, checked as far as that goes without data: one of `spans`, `files` and `array`, or nothing,
    which stands for the `first` so many test images."""

    first: int
    spans: tuple[range, ...] = ()
    files: tuple[Path, ...] = ()
    array: Path | None = None
    fit: str | None = None
    invert: bool = False

    @property
    def count(self) -> int | None:
        """How many images there will be at most; None where a file must be read to know."""
        if self.array is not None:
            return None
        return sum(map(len, self.spans)) + len(self.files) or self.first


def choose(
    indices: Sequence[str],
    files: Sequence[Path],
    array: Path | None,
    more: Sequence[str],
    fit: str | None,
    invert: bool,
    first: int,
) -> Choice:
    """The choice that the options make; `more` are words that stand free, as those of `--image *.png` do.

    Where nothing is asked for, the `first` so many test images are taken. Raises `RequestError`.
    """
    given = [name for name, value in (("--index", indices), ("--image", files), ("--npy", array)) if value]
    if len(given) > 1:
        raise RequestError(f"{' and '.join(given)} were given together. Each says which images: use one of them.")
    if more and given not in (["--index"], ["--image"]):
        raise RequestError(
            f"{' '.join(more)}: give one run. Write indices of test images after --index, files after --image."
        )
    if more and given == ["--index"]:
        indices = [*indices, *more]
    elif more:
        files = [*files, *map(Path, more)]
    if fit is not None and not files:
        raise RequestError(f"--fit {fit}: only image files are fitted. Give some with --image, or leave --fit out.")
    if invert and not files and array is None:
        raise RequestError("--invert: test images need no inversion. Use it with --image or --npy.")
    spans = tuple(span for text in indices for span in _spans(text))
    return Choice(first, spans, tuple(files), array, fit, invert)


def _spans(text: str) -> list[range]:
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            raise RequestError(f"--index {text}: '{part}' is no index. Write 12, 0-14 or 0,3,7-9; they count from 0.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise RequestError(f"--index {text}: {part} runs backwards. Write {last}-{first}.")
        spans.append(range(first, last + 1))
    return spans


def load(choice: Choice, record: RunRecord, config: Config) -> tuple[list[ChosenImage], list[str]]:
    """The images, at least one, and for each file that gave none the reason; warns of pictures that look inverted.

    They are the test images of the run `record`, whose configuration is `config`, or files brought to the size of its
    images.

    Raises:
        RequestError: an index that the test images do not have, test images that are others now than those that the
            run was evaluated on, or no file can be read.
        DataError: the dataset cannot be had.
    """
    if not choice.files and choice.array is None:
        try:
            test = test_images(record, config)
        except RequestError as error:
            raise RequestError(f"{error} Or choose pictures of your own with --image or --npy.") from error
        return _test_images(choice.spans or [range(min(choice.first, len(test)))], test, config.dataset.name), []
    shape, _ = recorded_shape(record, config)
    dtype, published = recorded_dtype(record), config.dataset.source == PUBLISHED_SOURCE
    if choice.invert and dtype != "uint8":
        raise RequestError("--invert: the run's images are no bytes, so it is not known what is black and white.")
    if choice.array is not None:
        images, faults = _from_array(choice, choice.array, shape, dtype, published)
    elif published or choice.fit is not None:
        images, faults = _from_files(choice, config.dataset.name, shape)
    else:
        images, faults = _scaled_files(choice, shape, dtype)
    if not images:
        raise RequestError(told(faults, len(faults)))
    return images, faults


def told(faults: Sequence[str], count: int) -> str:
    """What is wrong with some of `count` files, in a line for each."""
    if count == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} of {count} files could not be used.", *(f"  {fault}" for fault in faults)])


def _test_images(spans: Sequence[range], test: Split, dataset: str) -> list[ChosenImage]:
    for span in spans:
        if span[-1] >= len(test):
            raise RequestError(
                f"--index {span[-1]}: {dataset} has {len(test):,} test images. Choose from 0 to {len(test) - 1}."
            )
    return [
        ChosenImage(f"test image {index}", test.images[index], int(test.labels[index]), index)
        for span in spans
        for index in span
    ]


def _from_files(choice: Choice, dataset: str, shape: tuple[int, ...]) -> tuple[list[ChosenImage], list[str]]:
    images, faults, bright = [], [], []
    for file in choice.files:
        try:
            picture = read_picture(file, choice.fit or dataset, shape, choice.invert)
        except DataError as error:
            faults.append(str(error))
            continue
        for note in picture.notes:
            _warn(note)
        if picture.looks_inverted:
            bright.append(str(file))
        images.append(ChosenImage(str(file), picture.image))
    _warn_of_bright(bright, choice.invert)
    return images, faults


def _scaled_files(choice: Choice, shape: tuple[int, ...], dtype: str) -> tuple[list[ChosenImage], list[str]]:
    """Pictures for a model of the user's own data, scaled as `dataset=image_folder` does. Raises `RequestError` if the
    data are not bytes of pictures."""
    if dtype != "uint8" or len(shape) == 1 or shape[2:] not in ((), (3,)):
        what = f"vectors of {shape[0]:,} features" if len(shape) == 1 else f"{dtype} of the shape {shape}"
        raise RequestError(f"--image: the data of the run are {what}. Give an array instead: --npy FILE.npy")
    images, faults = [], []
    for file in choice.files:
        try:
            picture = scaled_picture(file, shape[:2], "rgb" if len(shape) == 3 else "grey")
        except DataError as error:
            faults.append(f"{file}: {error}.")
            continue
        images.append(ChosenImage(str(file), np.uint8(WHITE) - picture if choice.invert else picture))
    return images, faults


def _from_array(
    choice: Choice, file: Path, shape: tuple[int, ...], dtype: str, published: bool
) -> tuple[list[ChosenImage], list[str]]:
    try:
        array = read_array(file, shape, dtype, choice.invert)
    except DataError as error:
        return [], [str(error)]
    images = [ChosenImage(f"{file}[{place}]", image) for place, image in enumerate(array)]
    if published:
        _warn_of_bright([each.label for each in images if looks_inverted(each.image)], choice.invert)
    return images, []


def _warn_of_bright(labels: Sequence[str], inverted: bool) -> None:
    if not labels:
        return
    named = ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else "")
    _warn(
        f"{named}: after --invert the background is bright, and models know light objects on a dark one. Leave "
        "--invert out."
        if inverted
        else f"{named}: the background is bright, as if inverted; models know light objects on a dark one. --invert "
        "corrects this."
    )


def _warn(message: str) -> None:
    """Say on standard error what does not stop the work."""
    click.secho("warning: ", fg="yellow", nl=False, err=True)
    click.echo(message, err=True)
