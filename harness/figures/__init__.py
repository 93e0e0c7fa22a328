"""Figures of runs and sweeps. For each, one function computes the data and another draws it.

This package is cheap to import: matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.errors import ConfigError, NoPicture, suggestion
from harness.figures.view import Drawable, PredictedImage, RunView, first_images, per_class_table, predicted_images

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SELECTIONS",
    "Drawable",
    "PredictedImage",
    "RunView",
    "first_images",
    "per_class_table",
    "predicted_images",
    "run_figures",
]

SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "few": ("learning_curves.png", "predictions.png", "confusion_matrix.png"),
    "all": (
        "learning_curves.png",
        "learning_curves_one_panel.png",
        "training_image.png",
        "training_images.png",
        "pixel_values.png",
        "predictions.png",
        "prediction.png",
        "prediction_grid_5x3.png",
        "prediction_grid_4x3.png",
        "probabilities.png",
        "confident_mistakes.png",
        "confusion_matrix.png",
    ),
}
"""The files for each value of the setting `figures`; `builders.BUILDERS` draws them. `few` takes 0.2 s."""


def run_figures(view: Drawable, selection: str) -> Iterator[tuple[str, Figure]]:
    """The figures of one run as (file name, figure), each drawn when the iterator reaches it.

    `selection` is the value of the setting `figures`.

    Raises:
        ConfigError: `selection` is not one of `SELECTIONS`.
    """
    if selection not in SELECTIONS:
        raise ConfigError(
            f"figures={selection} is not known; the choices are {', '.join(SELECTIONS)}."
            f"{suggestion(selection, SELECTIONS)}"
        )
    return _drawn(view, SELECTIONS[selection])


def _drawn(view: Drawable, names: tuple[str, ...]) -> Iterator[tuple[str, Figure]]:
    if not names:
        return
    from harness.figures.builders import BUILDERS

    left_out: dict[str, list[str]] = {}
    for name in names:
        try:
            yield name, BUILDERS[name](view)
        except NoPicture as reason:
            left_out.setdefault(str(reason), []).append(name.removesuffix(".png"))
    for why, without in left_out.items():
        log.warning("Figures left out: %s. %s", ", ".join(without), why)
