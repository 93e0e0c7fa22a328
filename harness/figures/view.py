"""The data for the figures of one run; needs no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.errors import NoPicture
from harness.records import Evaluation, FloatArray, History, ImageArray, Score, Split


class Drawable(Protocol):
    """The data that figures of one run read. Each figure reads only some of it.

    `split` has the test images, `test` and `evaluation` the scores of the final weights on them, `train` the training
    images. `pixel_scale` (LEVELS,) has each grey value after the model's preprocessing (None for other
    data). `palette` is the setting of
    that name. `noisy_labels` is the number of labels in `train` that are wrong on purpose.
    """

    @property
    def history(self) -> History: ...
    @property
    def test(self) -> Score: ...
    @property
    def evaluation(self) -> Evaluation: ...
    @property
    def split(self) -> Split: ...
    @property
    def train(self) -> Split: ...
    @property
    def pixel_scale(self) -> FloatArray | None: ...
    @property
    def class_names(self) -> Sequence[str]: ...
    @property
    def title(self) -> str: ...
    @property
    def palette(self) -> str: ...
    @property
    def noisy_labels(self) -> int: ...


@dataclass(frozen=True)
class RunView:
    """A run that has just been trained, with all data in memory; see `Drawable`."""

    history: History
    evaluation: Evaluation
    split: Split
    train: Split
    pixel_scale: FloatArray | None
    class_names: Sequence[str]
    title: str
    palette: str = "safe"
    noisy_labels: int = 0

    @property
    def test(self) -> Score:
        return self.evaluation


@dataclass(frozen=True)
class PredictedImage:
    """One image (height, width) uint8 and its probabilities (classes,).

    `true` is its class, or None if that is not known. `label` names the image ("test image 12", or a file name), and
    `index` is its index in the split, if it is from a split.
    """

    image: ImageArray
    probabilities: FloatArray
    true: int | None
    label: str
    index: int | None = None

    @property
    def predicted(self) -> int:
        """The most probable class, the first of equals."""
        return int(self.probabilities.argmax())

    @property
    def confidence(self) -> float:
        """The probability of `predicted`, a fraction."""
        return float(self.probabilities[self.predicted])

    @property
    def right(self) -> bool | None:
        """Whether `predicted` is the true class; None if that is not known."""
        return None if self.true is None else self.predicted == self.true


def check_picture(image: ImageArray) -> None:
    """Raise `NoPicture` unless `image` is (height, width), or (height, width, channels) with colours."""
    if image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (1, 3, 4)):
        return
    what = f"vectors of {len(image):,} features" if image.ndim == 1 else f"of the shape {image.shape}"
    raise NoPicture(f"A figure of images cannot be drawn, because the data are {what}.")


MOST_CLASSES = 25
"""The most classes that a figure shows all of."""
_SHORTLIST = 10


def shown_classes(scores: FloatArray, true: int | None) -> list[int]:
    """The classes whose scores (probabilities or logits) are drawn: all, or if there are more than `MOST_CLASSES` those
    with the highest scores and the true one."""
    if len(scores) <= MOST_CLASSES:
        return list(range(len(scores)))
    return sorted({*scores.argsort()[::-1][:_SHORTLIST].tolist(), *([] if true is None else [true])})


def predicted_images(split: Split, evaluation: Evaluation, indices: Iterable[int]) -> tuple[PredictedImage, ...]:
    """Images of the test split by their indices, with their predictions from the `evaluation` of that split."""
    return tuple(
        PredictedImage(
            split.images[index], evaluation.probabilities[index], int(split.labels[index]), f"test image {index}", index
        )
        for index in indices
    )


def first_images(split: Split, evaluation: Evaluation, count: int) -> tuple[PredictedImage, ...]:
    """The first `count` images, or all of a smaller split. They are not selected, so they favour no model."""
    return predicted_images(split, evaluation, range(min(count, len(split))))


def per_class_table(evaluation: Evaluation) -> dict[str, list[str | float | int]]:
    """Columns for `mlflow.log_table`, with a row for each class in the order of the labels.

    `precision`, `recall` and `f1` are fractions; `support` is the number of images of the class. `most_taken_for` is
    the class that is predicted most often instead, empty if there was no mistake.
    """
    scores = evaluation.per_class
    mistakes = evaluation.confusion.copy()
    mistakes[range(len(scores)), range(len(scores))] = 0
    return {
        "class": [score.name for score in scores],
        "precision": [score.precision for score in scores],
        "recall": [score.recall for score in scores],
        "f1": [score.f1 for score in scores],
        "support": [score.support for score in scores],
        "most_taken_for": [scores[row.argmax()].name if row.any() else "" for row in mistakes],
    }
