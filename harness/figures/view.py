"""The data from which the figures of one run are made; needs no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.records import Evaluation, FloatArray, History, ImageArray, Score, Split


class Drawable(Protocol):
    """What the figures of one run ask for; a part that none of them asks for need not be there.

    `test` is what the final weights score on the test images `split`, and `evaluation` all that they say of them;
    `train` is what the run was trained on. `pixel_scale` (LEVELS,) is what the model's preprocessing makes of each grey
    value; `palette` is the setting of that name; so many labels of `train` as `noisy_labels` says are wrong on purpose.
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
    def pixel_scale(self) -> FloatArray: ...
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
    """A run that has just been trained, with all of it in memory; see `Drawable`."""

    history: History
    evaluation: Evaluation
    split: Split
    train: Split
    pixel_scale: FloatArray
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

    `true` is its class, None for a picture that has none; `label` says which image it is ("test image 12", or the name
    of a file), and `index` is its place in the split, if it is of one.
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
        """Whether `predicted` is the true class; None where that is not known."""
        return None if self.true is None else self.predicted == self.true


def predicted_images(split: Split, evaluation: Evaluation, indices: Iterable[int]) -> tuple[PredictedImage, ...]:
    """Images of the test split by their indices, with what `evaluation` of that split says of them."""
    return tuple(
        PredictedImage(
            split.images[index], evaluation.probabilities[index], int(split.labels[index]), f"test image {index}", index
        )
        for index in indices
    )


def first_images(split: Split, evaluation: Evaluation, count: int) -> tuple[PredictedImage, ...]:
    """The first `count` images, or all of a smaller split: not chosen, so they flatter no model."""
    return predicted_images(split, evaluation, range(min(count, len(split))))


def per_class_table(evaluation: Evaluation) -> dict[str, list[str | float | int]]:
    """Columns of equal length, a row a class, in the order of the labels: what `mlflow.log_table` takes.

    `precision`, `recall` and `f1` are fractions; `support` counts the images of the class; `most_taken_for` names the
    class that it is most often mistaken for, and is empty where there was no mistake.
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
