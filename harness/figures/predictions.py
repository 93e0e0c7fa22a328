"""A sheet of images with what the model takes them for; what shows all ten probabilities is in `probabilities`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from harness.figures import mosaic, style
from harness.figures.lettering import LINE, width
from harness.figures.predicted import PredictedImage
from harness.figures.probabilities import draw_prediction, draw_prediction_grid, draw_probability_line

__all__ = [
    "CAPTIONS",
    "PredictedImage",
    "draw_prediction",
    "draw_prediction_grid",
    "draw_probability_line",
    "draw_sheet",
]

COLUMNS = 5
_CELL = 36  # pixels that a cell is wide at least
_LABEL = 22  # characters of a file's name that are shown
_EXPLAINED = {
    "percent": "✓ right or ✗ wrong, predicted class, its probability, (true class)",
    "names": "✓ right or ✗ wrong, predicted class (true class)",
    "indices": "✓ right or ✗ wrong, index of the image, number of the predicted class (pred) and of the true one (gt)",
}


def _percent(image: PredictedImage, names: Sequence[str]) -> str:
    return f"{names[image.predicted]} {image.confidence:.0%}\n{_true(image, names)}"


def _names(image: PredictedImage, names: Sequence[str]) -> str:
    between = "\n" if image.true is None else " "
    return f"{names[image.predicted]}{between}{_true(image, names)}"


def _true(image: PredictedImage, names: Sequence[str]) -> str:
    """The true class in brackets; of a picture that has none, which picture it is."""
    return f"({names[image.true]})" if image.true is not None else style.shortened(image.label, _LABEL)


def _indices(image: PredictedImage, names: Sequence[str]) -> str:
    which = style.shortened(image.label, _LABEL) if image.index is None else f"i={image.index}"
    truth = "" if image.true is None else f", gt={image.true}"
    return f"{which}, pred={image.predicted}{truth}"


CAPTIONS: Mapping[str, Callable[[PredictedImage, Sequence[str]], str]] = {
    "percent": _percent,
    "names": _names,  # guide E
    "indices": _indices,  # guide B
}
"""What stands below an image, for each choice of captions."""


def draw_sheet(
    images: Sequence[PredictedImage],
    class_names: Sequence[str],
    captions: str = "percent",
    palette: str = "safe",
    title: str = "",
    note: str = "",
) -> Figure:
    """Any number of images, five in a row, dark on white, each with a caption of the kind `captions` (`CAPTIONS`).

    A wrong prediction has a ✗, bold letters and a frame besides its colour. `note` replaces the line below the title.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("a sheet needs one image at least")
    texts = [f"{style.mark(image.right)}{CAPTIONS[captions](image, class_names)}" for image in images]
    widest = max(width(text, style.SMALL_SIZE, bold=True) for text in texts) / mosaic.PIXEL
    lines = max(text.count("\n") for text in texts) + 1
    below = (4.0 + lines * LINE * style.SMALL_SIZE) / 72 / mosaic.PIXEL
    columns = min(COLUMNS, len(images))
    cell = max(_CELL, round(widest) + 3)
    grid = mosaic.Grid(len(images), columns, cell, mosaic.SIDE + round(below) + 3, (cell - mosaic.SIDE) // 2, top=1)
    sheet = mosaic.new_sheet(grid, title, note or _note(images, captions), least=4.5)
    sheet.paste([image.image for image in images])
    colours = [style.verdict(image.right, palette) for image in images]
    wrong = [image.right is False for image in images]
    below_images = grid.places(mosaic.SIDE / 2, mosaic.SIDE)
    sheet.letter(texts, below_images, colours=colours, bold=wrong, valign="top", shift=(0.0, -4.0))
    sheet.frame(grid.places()[wrong], style.PALETTES[palette].wrong)
    return sheet.figure


def _note(images: Sequence[PredictedImage], captions: str) -> str:
    known = [image for image in images if image.right is not None]
    if not known:
        return "Predicted class" + (" and its probability." if captions == "percent" else ".")
    right = sum(image.right is True for image in known)
    return f"{right} of {len(known)} right. {_EXPLAINED[captions]}."
