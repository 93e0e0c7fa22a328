"""The most confident mistakes, and the reliability diagram."""

import numpy as np
import pytest

from harness import metrics
from harness.figures import mistakes
from harness.records import Evaluation, Split
from harness.run.evaluate import evaluate
from tests.figures import runs
from tests.figures.drawing import overlapping, texts, texts_beyond_the_edge


def evaluated(size: int) -> tuple[Split, Evaluation]:
    """Random confidences; about half of the predictions are wrong."""
    held = runs.split(size)
    logits = np.random.default_rng(1).normal(scale=3.0, size=(size, 3))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return held, evaluate(lambda images: logs, held, runs.CLASSES)


def test_the_most_confident_of_all_mistakes_come_first() -> None:
    held, evaluation = evaluated(500)
    found = mistakes.compute(held, evaluation)
    wrong = evaluation.predictions != held.labels
    assert found.wrong == wrong.sum()
    assert found.sure == (evaluation.probabilities.max(axis=1)[wrong] > 0.9).sum()
    confidences = [image.confidence for image in found.shown]
    assert confidences == sorted(evaluation.probabilities.max(axis=1)[wrong], reverse=True)[:12]
    assert all(image.right is False for image in found.shown)


def test_the_diagram_has_the_bins_and_the_error_of_the_metric() -> None:
    held, evaluation = evaluated(500)
    reliability = mistakes.compute(held, evaluation).reliability
    assert len(reliability.counts) == 15
    assert reliability.counts.sum() == 500
    assert reliability.error == evaluation.ece
    assert reliability.error == metrics.expected_calibration_error(evaluation.probabilities, held.labels)
    filled = reliability.counts > 0
    gaps = np.abs(reliability.accuracy - reliability.confidence)[filled]
    assert (gaps * reliability.counts[filled]).sum() / 500 == pytest.approx(evaluation.ece)
    assert np.isnan(reliability.accuracy[~filled]).all()
    edges = np.linspace(0, 1, 16)
    assert (reliability.confidence[filled] <= edges[1:][filled]).all()


def test_the_drawing_says_which_images_and_how_large_the_error_is() -> None:
    held, evaluation = evaluated(500)
    found = mistakes.compute(held, evaluation)
    figure = mistakes.draw(found, ("T-shirt/top", "$x$", "Ankle boot"), title="a run")
    shown = texts(figure)
    assert found.shown[0].label in shown
    assert any(f"(ECE) {100 * evaluation.ece:.1f} points" in text for text in shown)
    assert any(f"the error is {100 * evaluation.calibration_error:.1f} points (root mean" in text for text in shown)
    assert any(f"{found.wrong} of 500 test images are wrong" in text for text in shown)
    assert texts_beyond_the_edge(figure) == []
    assert overlapping(figure) == []


def test_a_model_without_mistakes_is_drawn_without_images() -> None:
    held = runs.split(6)
    sure = np.log(np.where(np.arange(3) == held.labels[:, None], 0.98, 0.01))
    found = mistakes.compute(held, evaluate(lambda images: sure, held, runs.CLASSES))
    assert (found.wrong, found.shown) == (0, ())
    shown = texts(mistakes.draw(found, runs.CLASSES))
    assert any("0 of 6 test images are wrong" in text for text in shown)
    assert not any("root mean square" in text for text in shown), "too few images for it"
