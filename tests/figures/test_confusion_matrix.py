"""Counts and shares of the confusion matrix."""

import dataclasses

import numpy as np
import pytest

from harness.figures import confusion_matrix
from harness.records import ClassScore
from tests.figures import runs
from tests.figures.drawing import texts, texts_beyond_the_edge

EVALUATION = runs.evaluation(runs.split(30))


def test_shares_are_percentages_of_the_true_class() -> None:
    confusion = confusion_matrix.compute(EVALUATION)
    assert confusion.counts.tolist() == [[8, 2, 0], [0, 8, 2], [2, 0, 8]]
    assert confusion.shares[0].tolist() == pytest.approx([80.0, 20.0, 0.0])
    assert confusion.class_names == runs.CLASSES


def test_a_class_without_images_has_a_row_of_zeros() -> None:
    empty = dataclasses.replace(EVALUATION, confusion=np.array([[3, 0, 0], [0, 0, 0], [0, 0, 2]]))
    assert confusion_matrix.compute(empty).shares[1].tolist() == [0.0, 0.0, 0.0]


def test_counts_and_class_names_are_written() -> None:
    shown = texts(confusion_matrix.draw(confusion_matrix.compute(EVALUATION), "a run"))
    assert shown.count("8") == 3
    assert all(shown.count(name) == 2 for name in runs.CLASSES)
    assert "30 test images, 80.0% on the diagonal (right)" in shown


def test_ten_long_class_names_fit() -> None:
    names = tuple(ClassScore(f"Ankle boot ${i}$", 0.0, 0.0, 0.0, 1_000) for i in range(10))
    counts = np.full((10, 10), 1_000)
    wide = dataclasses.replace(EVALUATION, confusion=counts, per_class=names)
    figure = confusion_matrix.draw(confusion_matrix.compute(wide), "a run")
    assert texts_beyond_the_edge(figure) == []
    assert "Ankle boot $3$" in texts(figure)
