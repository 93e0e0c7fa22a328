"""The content of `harness data describe`, as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.models import float64_scale
from harness.records import Dataset, FloatArray, Split
from harness.tabular import text_table, wrapped

LABELS = 10
_LISTED = 30
"""Classes of which each is named."""
_PART = 2**24
"""Values that are looked at at once."""


@dataclass(frozen=True)
class Array:
    """One of a dataset's four arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    length: int


@dataclass(frozen=True)
class Values:
    """The values of all images of a split."""

    least: float
    greatest: float
    mean: float


@dataclass(frozen=True)
class Duplicates:
    """Images that are the same to the last bit: of training how many are there again; of test how many training has
    too, as pairs of numbers (test, train); how many of these have another label there."""

    train: int
    test: int
    pairs: tuple[tuple[int, int], ...]
    contradicting: int


@dataclass(frozen=True)
class Description:
    """A dataset in words and numbers. `counts` are the images of each class in training and test.

    For grey images of 8 bits: `before` are the distinct pixel values of the first training image, `after` what they
    become with `preprocessing`, in float64; `background` is its first pixel, `brightest` its greatest, each before and
    after; `pixel_scale` (LEVELS,) is what becomes of each grey value. For other data these are None or empty.
    """

    name: str
    source: str
    arrays: tuple[Array, ...]
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    values: dict[str, Values]
    duplicates: Duplicates
    first_labels: tuple[int, ...]
    one_hot: tuple[int, ...]
    preprocessing: str
    before: tuple[int, ...] = ()
    after: tuple[float, ...] = ()
    background: tuple[int, float] | None = None
    brightest: tuple[int, float] | None = None
    pixel_scale: FloatArray | None = None

    @property
    def examples(self) -> str:
        """What its examples are called: `images`, or `rows` of a dataset of vectors."""
        return "images" if len(self.arrays[0].shape) > 2 else "rows"

    def as_json(self) -> dict[str, Any]:
        """The same for `json.dumps`, without the scale."""
        return {key: value for key, value in asdict(self).items() if key != "pixel_scale"}


def describe_dataset(dataset: Dataset, preprocessing: str) -> Description:
    """Look at a whole dataset; the scalars of `preprocessing` come from all of its training images."""
    splits = {"train": dataset.train, "test": dataset.test}
    arrays = [
        Array(f"{split}_{kind}", values.shape, str(values.dtype), len(values))
        for split, held in splits.items()
        for kind, values in (("images", held.images), ("labels", held.labels))
    ]
    labels, classes = dataset.train.labels, len(dataset.class_names)
    counts = {split: np.bincount(held.labels, minlength=classes).tolist() for split, held in splits.items()}
    return Description(
        name=dataset.name,
        source=dataset.source,
        arrays=tuple(arrays),
        classes=dataset.class_names,
        counts={split: tuple(each) for split, each in counts.items()},
        values={split: _values(held) for split, held in splits.items()},
        duplicates=find_duplicates(dataset.train, dataset.test),
        first_labels=tuple(map(int, labels[:LABELS])),
        one_hot=tuple(int(number == labels[0]) for number in range(classes)),
        preprocessing=preprocessing,
        **_first_image(dataset.train, preprocessing),
    )


def find_duplicates(train: Split, test: Split) -> Duplicates:
    """Compare all images by a digest of each."""
    first: dict[bytes, int] = {}
    repeated = 0
    for number, digest in enumerate(map(_digest, train.images)):
        repeated += first.setdefault(digest, number) != number
    pairs = [(number, first[digest]) for number, digest in enumerate(map(_digest, test.images)) if digest in first]
    contradicting = sum(test.labels[one] != train.labels[other] for one, other in pairs)
    return Duplicates(repeated, len(pairs), tuple(pairs[:LABELS]), int(contradicting))


def _digest(image: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _values(split: Split) -> Values:
    step = max(1, _PART // split.images[0].size)
    parts: Sequence[Any] = [split.images[start : start + step] for start in range(0, len(split), step)]
    total = sum(float(part.sum(dtype=np.float64)) for part in parts)
    least, greatest = min(part.min() for part in parts), max(part.max() for part in parts)
    return Values(float(least), float(greatest), total / split.images.size)


def _first_image(train: Split, preprocessing: str) -> dict[str, Any]:
    if train.images.dtype != np.uint8 or train.images.ndim != 3:
        return {}
    scale = float64_scale(preprocessing, train.images)
    image = train.images[0]
    values = np.unique(image)
    corner, greatest = int(image[0, 0]), int(values[-1])
    return {
        "before": tuple(map(int, values)),
        "after": tuple(map(float, scale[values])),
        "background": (corner, float(scale[corner])),
        "brightest": (greatest, float(scale[greatest])),
        "pixel_scale": scale,
    }


def description_lines(description: Description) -> list[str]:
    """What a terminal shows of it; with a thousand classes as readable as with ten."""
    cells = [(array.name, str(array.shape), array.dtype, f"{array.length:,}") for array in description.arrays]
    first = description.first_labels[0]
    one_hot = _words(description.one_hot) if len(description.classes) <= _LISTED else (
        f"a 1 at place {first} (from 0) of {len(description.classes):,}"
    )  # fmt: skip
    lines = [
        *_class_lines(description),
        f"First training labels: {_words(description.first_labels)}",
        f"First training label {first} as one-hot: {one_hot}",
        *(
            f"Values of {'training' if split == 'train' else split} {description.examples}: {each.least:.6g} to "
            f"{each.greatest:.6g}, {each.mean:.6g} on average"
            for split, each in description.values.items()
        ),
        *_duplicate_lines(description.duplicates, description.examples),
    ]
    if description.background is not None and description.brightest is not None:
        lines += [
            f"Pixel values of the first training image: {len(description.before)}",
            f"  before: {_words(description.before)}",
            f"  after {description.preprocessing}: {' '.join(f'{value:.5f}' for value in description.after)}",
            f"  first pixel (background): {description.background[0]} becomes {description.background[1]!r}",
            f"  brightest pixel: {description.brightest[0]} becomes {description.brightest[1]!r}",
        ]
    table = text_table(("array", "shape", "type", "length"), cells, {"length"})
    return [
        f"{description.name}, from {description.source}",
        "",
        *table,
        "",
        *_class_table(description),
        *wrapped(lines),
    ]


def _class_lines(description: Description) -> list[str]:
    """How many classes there are; of many, what is usual among them."""
    train, test, names = description.counts["train"], description.counts["test"], description.classes
    if len(names) <= _LISTED:
        numbered = [name if name == str(number) else f"{number} {name}" for number, name in enumerate(names)]
        return [f"Classes: {', '.join(numbered)}"]
    order = sorted(range(len(names)), key=lambda label: train[label])
    few, many = (
        ", ".join(f"{names[label]} ({train[label]:,})" for label in part) for part in (order[:3], order[:-4:-1])
    )
    return [
        f"{len(names):,} classes: {', '.join(names[:5])} ... {', '.join(names[-2:])}",
        f"Training {description.examples} of a class: {train[order[0]]:,} to {train[order[-1]]:,}, "
        f"median {np.median(train):,.0f}",
        f"  fewest: {few}",
        f"  most: {many}",
        f"Test {description.examples} of a class: {min(test):,} to {max(test):,}, median {np.median(test):,.0f}; "
        f"{test.count(0):,} classes have none",
    ]


def _class_table(description: Description) -> list[str]:
    if len(description.classes) > _LISTED:
        return []
    counts = zip(description.classes, description.counts["train"], description.counts["test"], strict=True)
    cells = [(name, f"{train:,}", f"{test:,}") for name, train, test in counts]
    training, held_out = f"training {description.examples}", f"test {description.examples}"
    return [*text_table(("class", training, held_out), cells, {training, held_out}), ""]


def _duplicate_lines(found: Duplicates, examples: str) -> list[str]:
    lines = [
        f"Training {examples} that are there again: {found.train:,}",
        f"Test {examples} that training has too: {found.test:,}",
    ]
    if found.pairs:
        shown = ", ".join(f"test {one} = train {other}" for one, other in found.pairs[:3])
        lines[1] += f" ({found.contradicting:,} of them with another label; {shown}{', ...' if found.test > 3 else ''})"
    return lines


def _words(values: Iterable[float]) -> str:
    return " ".join(map(str, values))
