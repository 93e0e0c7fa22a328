"""Small artificial runs for tests of figures."""

import numpy as np

from harness.figures import RunView
from harness.figures.view import PredictedImage
from harness.records import Evaluation, FloatArray, History, Split
from harness.run.evaluate import evaluate

CLASSES = ("top", "trouser", "boot")


def split(size: int = 40) -> Split:
    """Random images; labels 0, 1, 2, 0, 1, ..."""
    images = np.random.default_rng(0).integers(0, 256, size=(size, 28, 28), dtype=np.uint8)
    return Split(images, (np.arange(size) % 3).astype(np.uint8))


def evaluation(evaluated: Split) -> Evaluation:
    """A model with 70% confidence in the true class, except that it predicts the next class for every fifth image."""
    taken_for = (evaluated.labels + (np.arange(len(evaluated)) % 5 == 4)) % 3
    logs: FloatArray = np.log(np.where(np.arange(3) == taken_for[:, None], 0.7, 0.15))
    return evaluate(lambda images: logs, evaluated, CLASSES)


def history(epochs: int, validation: bool) -> History:
    """A history with decreasing training loss, and with the least validation loss at epoch 3."""
    run = History()
    for epoch in range(1, epochs + 1):
        train = {"train/loss": 1.0 / epoch, "train/accuracy": 1.0 - 0.2 / epoch}
        running = {"fit/loss": 1.5 / epoch, "fit/accuracy": 1.0 - 0.3 / epoch}
        held_out = {"val/loss": 0.5 + 0.1 * abs(epoch - 3), "val/accuracy": 0.75}
        run.append(running | train | (held_out if validation else {}))
    return run


def view(images: int = 40, epochs: int = 4, validation: bool = True, palette: str = "safe") -> RunView:
    """A run that was trained and evaluated on this number of images."""
    evaluated = split(images)
    unit = np.arange(256) / 255
    return RunView(
        history(epochs, validation), evaluation(evaluated), evaluated, split(images), unit, CLASSES, "a $run$", palette
    )


def predicted(predicted: int, true: int | None, confidence: float = 0.7, label: str = "test image 3") -> PredictedImage:
    """A grey image (value 200) that is predicted as class `predicted` of three."""
    probabilities: FloatArray = np.full(3, (1 - confidence) / 2)
    probabilities[predicted] = confidence
    return PredictedImage(np.full((28, 28), 200, dtype=np.uint8), probabilities, true, label)
