"""What a model takes single images for, as plain data; needs no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.records import Evaluation, FloatArray, Split, UInt8Array


@dataclass(frozen=True)
class PredictedImage:
    """One image (height, width) uint8 and its probabilities (classes,).

    `true` is its class, None for a picture that has none; `label` says which image it is ("test image 12", or the name
    of a file), and `index` is its place in the split, if it is of one.
    """

    image: UInt8Array
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
    """Images of the test split by their indices, with what `evaluation`, which judged that split, says of them."""
    return tuple(
        PredictedImage(
            split.images[index], evaluation.probabilities[index], int(split.labels[index]), f"test image {index}", index
        )
        for index in indices
    )


def first_images(split: Split, evaluation: Evaluation, count: int) -> tuple[PredictedImage, ...]:
    """The first `count` images, or all of a smaller split: not chosen, so they flatter no model."""
    return predicted_images(split, evaluation, range(min(count, len(split))))
