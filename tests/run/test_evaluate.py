"""What one pass over a split says about a model."""

import numpy as np
import pytest

from harness.errors import TrainingError
from harness.records import FloatArray, Split, UInt8Array
from harness.run.evaluate import evaluate

CLASSES = ("dark", "light")


def split(*labels: int) -> Split:
    """An image a label, all of one grey: 0 for class 0, 255 for class 1."""
    truth = np.array(labels, dtype=np.uint8)
    return Split(images=np.repeat(truth * 255, 28 * 28).reshape(-1, 28, 28).astype(np.uint8), labels=truth)


def answer_by_brightness(images: UInt8Array) -> FloatArray:
    light = np.where(images.mean(axis=(1, 2)) > 127, 0.8, 0.2)
    return np.log(np.stack([1 - light, light], axis=1))


def test_an_evaluation_holds_every_score_of_the_split() -> None:
    seen = split(0, 1, 1, 0)
    wrongly_labelled = Split(seen.images, np.array([0, 1, 1, 1], dtype=np.uint8))
    result = evaluate(answer_by_brightness, wrongly_labelled, CLASSES)
    assert result.accuracy == 0.75
    assert result.loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)) / 4)
    assert result.ece == pytest.approx(0.05)
    assert result.confusion.tolist() == [[1, 0], [1, 2]]
    assert result.predictions.tolist() == [0, 1, 1, 0]
    assert result.labels is wrongly_labelled.labels
    assert np.allclose(result.probabilities.sum(axis=1), 1.0)
    assert [score.name for score in result.per_class] == list(CLASSES)


def test_the_loss_of_a_very_wrong_prediction_is_exact_where_its_probability_is_zero() -> None:
    result = evaluate(lambda images: np.array([[0.0, -1000.0]]), split(1), CLASSES)
    assert result.probabilities[0, 1] == 0.0
    assert result.loss == 1000.0


def test_float32_answers_are_averaged_in_float64() -> None:
    many = split(*[0] * 50_000)
    log = np.float32(-0.1)
    result = evaluate(lambda images: np.tile([log, np.float32(-2.3)], (len(images), 1)), many, CLASSES)
    assert result.loss == pytest.approx(-float(log), rel=1e-12)


def test_a_model_that_answers_nan_is_named_as_diverged() -> None:
    answers = np.log([[0.5, 0.5], [0.5, 0.5]])
    answers[1, 0] = np.nan
    with pytest.raises(TrainingError, match="NaN for 1 of 2 images"):
        evaluate(lambda images: answers, split(0, 1), CLASSES)


def test_answers_for_another_number_of_images_or_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2\); \(2, 2\)"):
        evaluate(lambda images: np.log([[0.5, 0.5]]), split(0, 1), CLASSES)
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        evaluate(answer_by_brightness, split(0), ("dark", "light", "grey"))
