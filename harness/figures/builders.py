"""The figures of a run by file name: functions that compute and draw each from a `Drawable`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from harness.errors import NoPicture
from harness.figures import (
    confusion_matrix,
    image_sheets,
    learning_curves,
    mistakes,
    predictions,
)
from harness.figures.view import Drawable, first_images, predicted_images
from harness.records import Split

SHEET = 25
LINE_IMAGE = 8
"""The test image whose probabilities guide B draws as a line."""


def _learning_curves(run: Drawable) -> Figure:
    return learning_curves.draw(learning_curves.compute(run.history, run.test), run.title)


def _unit_curves(run: Drawable) -> Figure:
    return learning_curves.draw_unit(learning_curves.compute_unit(run.history), run.title)


def _training_image(run: Drawable) -> Figure:
    named = f"{', labelled' if run.noisy_labels else ':'} {run.class_names[run.train.labels[0]]}"
    return image_sheets.draw_image(run.train.images[0], f"The first training image{named}", run.title)


def _training_images(run: Drawable) -> Figure:
    first = Split(run.train.images[:SHEET], run.train.labels[:SHEET])
    note = f"The first {len(first)} of {len(run.train):,} training images."
    if run.noisy_labels:
        note += f" Labels as trained on: {run.noisy_labels:,} of the {len(run.train):,} are wrong on purpose."
    return image_sheets.draw_images(first, run.class_names, note, run.title)


def _pixel_values(run: Drawable) -> Figure:
    if run.pixel_scale is None:
        raise NoPicture("It shows grey values in bytes, and the data have colours or other numbers.")
    values = image_sheets.compute_pixel_values(run.train.images[0], run.pixel_scale)
    return image_sheets.draw_pixel_values(
        values, f"First training image ({run.class_names[run.train.labels[0]]})", run.title
    )


def _predictions(run: Drawable) -> Figure:
    shown = first_images(run.split, run.evaluation, SHEET)
    right = sum(image.right is True for image in shown)
    note = (
        f"The first {len(shown)} test images, {right} right ✓: predicted class, probability (true class). "
        f"All {len(run.split):,}: {run.evaluation.accuracy:.1%} right."
    )
    return predictions.draw_sheet(shown, run.class_names, palette=run.palette, title=run.title, note=note)


def _prediction(run: Drawable) -> Figure:
    [image] = first_images(run.split, run.evaluation, 1)
    return predictions.draw_prediction(image, run.class_names, run.palette, run.title)


def _prediction_grid(rows: int, columns: int = 3) -> Callable[[Drawable], Figure]:
    def build(run: Drawable) -> Figure:
        shown = first_images(run.split, run.evaluation, rows * columns)
        return predictions.draw_prediction_grid(shown, run.class_names, columns, run.palette, run.title)

    return build


def _probabilities(run: Drawable) -> Figure:
    [image] = predicted_images(run.split, run.evaluation, [min(LINE_IMAGE, len(run.split) - 1)])
    return predictions.draw_probability_line(image, run.class_names, run.title)


def _confident_mistakes(run: Drawable) -> Figure:
    return mistakes.draw(mistakes.compute(run.split, run.evaluation), run.class_names, run.palette, run.title)


def _confusion_matrix(run: Drawable) -> Figure:
    return confusion_matrix.draw(confusion_matrix.compute(run.evaluation), run.title)


BUILDERS: Mapping[str, Callable[[Drawable], Figure]] = {
    "learning_curves.png": _learning_curves,
    "learning_curves_one_panel.png": _unit_curves,  # guide D
    "training_image.png": _training_image,  # guides A, B, C and E
    "training_images.png": _training_images,  # guides A and E
    "pixel_values.png": _pixel_values,  # guide B
    "predictions.png": _predictions,  # guides B and E
    "prediction.png": _prediction,  # guides A and E
    "prediction_grid_5x3.png": _prediction_grid(5),  # guide A
    "prediction_grid_4x3.png": _prediction_grid(4),  # guide C
    "probabilities.png": _probabilities,  # guide B
    "confident_mistakes.png": _confident_mistakes,  # guide A describes it, but does not draw it
    "confusion_matrix.png": _confusion_matrix,
}
