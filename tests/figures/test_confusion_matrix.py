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


def test_of_many_classes_those_with_the_most_mistakes_are_drawn_and_that_is_said() -> None:
    names = tuple(ClassScore(f"class {label}", 0.0, 0.0, 0.0, 5) for label in range(100))
    counts = np.diag(np.full(100, 5))
    for label in range(40, 65):
        counts[label, (label + 1) % 100] = 2 + label % 3
    many = dataclasses.replace(EVALUATION, confusion=counts, per_class=names)
    confusion = confusion_matrix.compute(many)
    assert set(confusion.class_names) <= {f"class {label}" for label in range(40, 66)}
    assert len(confusion.class_names) == 25
    figure = confusion_matrix.draw(confusion, "a run")
    assert any("The 25 of 100 classes with the most mistakes" in text for text in texts(figure))
    assert max(figure.get_size_inches()) < 20
    assert texts_beyond_the_edge(figure) == []
