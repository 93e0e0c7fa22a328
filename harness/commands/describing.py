"""The content of `harness data describe`, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.models import float64_scale
from harness.records import Dataset, FloatArray

LABELS = 10


@dataclass(frozen=True)
class Array:
    """One of a dataset's four arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    length: int


@dataclass(frozen=True)
class Description:
    """A dataset in words and numbers; `pixel_scale` (LEVELS,) is what `preprocessing` makes of each grey value.

    `before` are the distinct pixel values of the first training image, `after` what they become, in float64;
    `background` is its first pixel, `brightest` its greatest, each before and after.
    """

    name: str
    source: str
    arrays: tuple[Array, ...]
    classes: tuple[str, ...]
    first_labels: tuple[int, ...]
    one_hot: tuple[int, ...]
    preprocessing: str
    before: tuple[int, ...]
    after: tuple[float, ...]
    background: tuple[int, float]
    brightest: tuple[int, float]
    pixel_scale: FloatArray

    def as_json(self) -> dict[str, Any]:
        """The same for `json.dumps`, without the scale."""
        return {key: value for key, value in asdict(self).items() if key != "pixel_scale"}


def describe_dataset(dataset: Dataset, preprocessing: str) -> Description:
    """Look at a whole dataset; the scalars of `preprocessing` come from all of its training images."""
    arrays = [
        Array(f"{split}_{kind}", values.shape, str(values.dtype), len(values))
        for split, held in (("train", dataset.train), ("test", dataset.test))
        for kind, values in (("images", held.images), ("labels", held.labels))
    ]
    scale = float64_scale(preprocessing, dataset.train.images)
    image, labels = dataset.train.images[0], dataset.train.labels
    values = np.unique(image)
    corner, greatest = int(image[0, 0]), int(values[-1])
    return Description(
        name=dataset.name,
        source=dataset.source,
        arrays=tuple(arrays),
        classes=dataset.class_names,
        first_labels=tuple(map(int, labels[:LABELS])),
        one_hot=tuple(int(number == labels[0]) for number in range(len(dataset.class_names))),
        preprocessing=preprocessing,
        before=tuple(map(int, values)),
        after=tuple(map(float, scale[values])),
        background=(corner, float(scale[corner])),
        brightest=(greatest, float(scale[greatest])),
        pixel_scale=scale,
    )
