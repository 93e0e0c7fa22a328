"""Plain data that the floors (docs/structure.md) pass to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
ImageArray = npt.NDArray[np.uint8 | np.float32]
LabelArray = npt.NDArray[np.uint8 | np.uint16]  # uint16 beyond 256 classes
Weights = tuple[npt.NDArray[Any], ...]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

WHITE = int(np.iinfo(np.uint8).max)
"""The largest value of a pixel; the smallest is 0."""
LEVELS = WHITE + 1
"""The number of values that a pixel can have."""


def is_grey(images: npt.NDArray[Any]) -> bool:
    """Whether `images` (n, height, width) have grey values in bytes, as the published datasets have."""
    return images.ndim == 3 and images.dtype == np.uint8


DIGEST_PARAMETERS: Mapping[str, str] = {split: f"data.{split}_digest" for split in ("train", "val", "test")}
"""The parameter of a run with the digest of each split; "None" if the run has no such split."""
VARIANT_PARAMETER = "data.variant"
"""The parameter of a run for the files that its dataset was read from: "published" or "variant 1a2b3c4d"."""
PUBLISHED = "published"


@dataclass(frozen=True)
class DatasetSpec:
    """What the data is: images of `image_shape` and `dtype`, each of one of the classes `class_names`, by label.

    `digests` are those of the splits (`Split.digest`) under "train", "val" (where there is one) and "test", as they are
    given to a run: after subset, wrong labels and validation split. Two runs with the same digest saw the same images.
    """

    name: str
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    digests: Mapping[str, str]
    dtype: str = "uint8"

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


@dataclass(frozen=True)
class Split:
    """Some images and their labels: `images` (n, *image_shape) uint8 or float32, `labels` (n,) from 0."""

    images: ImageArray
    labels: LabelArray

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """The first 32 hex digits of the SHA-256 over images and labels: what a run was really given."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Dataset:
    """A dataset as published: its training and test images, untouched.

    `digest` is the SHA-256 over the four files' SHA-256 sums (hex); `source` says in words where the files came from.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    digest: str
    source: str

    @cached_property
    def spec(self) -> DatasetSpec:
        """What the data is, with the digests of the whole training and test set."""
        shape = self.train.images.shape[1:]
        digests = {"train": self.train.digest, "test": self.test.digest}
        return DatasetSpec(self.name, shape, self.class_names, digests, str(self.train.images.dtype))


@dataclass(frozen=True)
class ReplacedLabels:
    """Labels that were replaced by wrong ones. Each array has the shape (k,).

    `images` are indices into the published training set, ascending. `published` are their labels there, `given` the
    wrong labels for training.
    """

    images: IntArray
    published: LabelArray
    given: LabelArray

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Splits:
    """The training, validation and test images of one run. Training and validation never share an image.

    `spec` has the digests of these splits. `replaced` are the labels of `train` that are wrong on purpose, or None if
    the run has no label noise.
    """

    spec: DatasetSpec
    train: Split
    validation: Split | None
    test: Split
    replaced: ReplacedLabels | None = None

    @property
    def noisy_labels(self) -> int:
        """The number of training labels that were replaced."""
        return 0 if self.replaced is None else len(self.replaced)

    def named(self) -> Iterator[tuple[str, Split]]:
        """The splits by the prefixes of their metrics: `train`, `val` (if there is one) and `test`."""
        yield "train", self.train
        if self.validation is not None:
            yield "val", self.validation
        yield "test", self.test


@dataclass
class History:
    """Metrics by epoch. Each series has one value per epoch: `series["fit/loss"][0]` belongs to epoch `before + 1`.

    `before` is the number of epochs that had been trained before this training began.
    """

    series: dict[str, list[float]] = field(default_factory=dict)
    before: int = 0

    def append(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.series.setdefault(name, []).append(float(value))

    @property
    def epochs(self) -> int:
        """The number of epochs in the series."""
        return max((len(values) for values in self.series.values()), default=0)

    @property
    def last_epoch(self) -> int:
        return self.before + self.epochs

    def last(self, name: str) -> float:
        return self.series[name][-1]


@dataclass(frozen=True)
class Fitted:
    """The results of training besides the model: its history, and the weights of two epochs in Keras's order.

    `last` are the weights after the last epoch, `best` those after the epoch of the least validation loss (None if no
    validation loss was finite). Both are the weights that the epoch was evaluated with.
    """

    history: History
    last: Weights
    best: Weights | None = None


@dataclass(frozen=True)
class Score:
    """The score of a model on one split, in inference mode.

    `loss` is the mean cross-entropy in nats (regularisation penalties left out), `accuracy` a fraction; `others` are
    the metrics that the run was asked for, by name.
    """

    loss: float
    accuracy: float
    others: Mapping[str, float] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class, as fractions; `support` is the number of images of this class."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for the n images of a split, in its order. Each array has the shape (n,).

    `labels` are the true classes, `predicted` the predicted ones, `losses` the cross-entropies in nats (float16: three
    digits).
    """

    labels: LabelArray
    predicted: LabelArray
    losses: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each image was predicted correctly, (n,)."""
        return np.asarray(self.predicted == self.labels)


@dataclass(frozen=True)
class Evaluation(Score):
    """A model evaluated on one split of n images.

    `ece` (expected calibration error), `calibration_error` (debiased; NaN for very few images) and `brier` (Brier
    score) are defined in metrics.py. `probabilities` has the shape (n, classes). `losses` (n,) are in nats; `loss` is
    their mean. `confusion[i, j]` is the number of images of class i that were predicted as class j.
    """

    ece: float
    calibration_error: float
    brier: float
    probabilities: FloatArray
    labels: LabelArray
    losses: FloatArray
    confusion: IntArray
    per_class: tuple[ClassScore, ...]

    @property
    def predictions(self) -> IntArray:
        """The most probable class of each image, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def right(self) -> int:
        """The number of images that were predicted correctly."""
        return int(np.trace(self.confusion))

    @property
    def by_image(self) -> Predictions:
        """The prediction for each image, in the form that the store keeps."""
        with np.errstate(over="ignore"):  # a loss too large for float16 becomes infinite
            losses = self.losses.astype(np.float16)
        return Predictions(self.labels, self.predictions.astype(self.labels.dtype), losses)


@dataclass(frozen=True)
class Stages:
    """The scores of three sets of weights on `train`, `val` (if there is one) and `test`.

    `final` are the weights that the run ends with, `last` those after the last epoch, `best` those after the epoch of
    the least validation loss. None means that there are no such weights, or that their predictions are NaN. On the
    held-out splits, the final weights have a full `Evaluation`.
    """

    final: Mapping[str, Score]
    last: Mapping[str, Score] | None = None
    best: Mapping[str, Score] | None = None

    @property
    def held_out(self) -> dict[str, Evaluation]:
        """The evaluations of the final weights on `val` (if there is one) and `test`."""
        scores = self.final.items()
        return {split: score for split, score in scores if split != "train" and isinstance(score, Evaluation)}

    def named(self) -> Iterator[tuple[str, Mapping[str, Score]]]:
        """The sets of weights that have scores, by the prefixes of their metrics."""
        for name, scores in (("final", self.final), ("last", self.last), ("best", self.best)):
            if scores is not None:
                yield name, scores


class Place(StrEnum):
    """The mark of a row in a comparison, the same in every table, figure and page."""

    NONE = ""
    FRONT = "front"
    UNDERFIT = "underfit"
    PERHAPS_UNDERFIT = "underfit?"

    @property
    def is_underfit(self) -> bool:
        """Whether the accuracy is (perhaps) too low for a meaningful gap."""
        return self in (Place.UNDERFIT, Place.PERHAPS_UNDERFIT)


class RunState(StrEnum):
    """The state of a run in the store, spelled as MLflow spells it."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class RunRecord:
    """One run as read from the store: parameters as text, and the last value of each metric.

    `epochs` is the number of epochs trained so far, `artifacts` the URI of the run's artifacts. `reused_by` is the id
    of the sweep that was read, if that sweep reuses this run of an earlier command.
    """

    run_id: str
    name: str
    experiment_id: str
    experiment: str
    state: RunState
    started: datetime
    ended: datetime | None
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    epochs: int = 0
    reused_by: str | None = None
    artifacts: str = ""

    @property
    def parent_id(self) -> str | None:
        return self.tags.get("mlflow.parentRunId")

    @property
    def sweeps(self) -> tuple[str, ...]:
        """The ids of the known sweeps of this run: the one that trained it, and the one that reuses it."""
        return tuple(sweep for sweep in (self.parent_id, self.reused_by) if sweep is not None)

    @property
    def is_own(self) -> bool:
        """Whether the harness made the run (otherwise it is an external run)."""
        return "harness.kind" in self.tags


def from_milliseconds(stamp: int) -> datetime:
    """MLflow's time stamps (milliseconds since 1970, UTC) as an aware datetime."""
    return datetime.fromtimestamp(stamp / 1000, UTC)
