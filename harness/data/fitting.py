"""A grey picture of any size brought to 28 x 28 the way each dataset's own pictures were.

MNIST (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998, and the page
that the files were published on): black and white digits, each scaled with its aspect kept into a box of 20 x 20
pixels, grey through anti-aliasing, and laid into 28 x 28 so that its centre of mass is in the middle.

Fashion-MNIST (Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017, figure 1): edges within 5 % of the corners' colour are trimmed, the longest edge is brought to 28 by
leaving out rows and columns, the picture is sharpened with a Gaussian operator of radius and standard deviation 1,
extended to 28 x 28 with the object in the middle, negated, and made grey. Negation is left to who asks for it.

Neither text speaks of contrast, yet every test image of both has black in it and a pixel of at least 254. So both fits
first take the background for 0 and the lightest pixel for 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from harness import records
from harness.errors import DataError
from harness.records import FloatArray, ImageArray, UInt8Array

SIDE = 28
WHITE = float(records.WHITE)
MIDDLE_GREY = WHITE / 2

_BOX = 20
_CENTRE = 14.0
"""The row and column, from 0, that the centre of mass of MNIST's test images lies at (13.99 and 14.01 on average)."""
_NEAR = 0.05 * WHITE
_LEAST_CONTRAST = 8.0


def looks_inverted(picture: FloatArray | ImageArray) -> bool:
    """Whether the background of `picture` (height, width) in 0..255 is bright: the median along its four edges.

    On the 10,000 test images of either dataset it is never wrong, as published or negated.
    """
    return bool(np.median(_edges(picture)) > MIDDLE_GREY)


def fit_mnist(picture: FloatArray) -> UInt8Array:
    """As MNIST's digits: (height, width) in 0..255, light on dark, to (28, 28).

    The digit is what is lighter than half of the contrast; that NIST's scans were black and white is why. Raises
    `DataError` where there is nothing on it.
    """
    levelled = _levelled(picture)
    rows, columns = _extent(levelled > MIDDLE_GREY)
    # Averaging areas is anti-aliasing; a triangle does it too, and enlarges a small picture without blocks.
    digit = _resized(levelled[rows, columns], _BOX, Image.Resampling.BILINEAR)
    height, width = digit.shape
    mass = digit.sum()
    row = (digit.sum(axis=1) @ np.arange(height)) / mass
    column = (digit.sum(axis=0) @ np.arange(width)) / mass
    top = int(np.clip(round(_CENTRE - row), 0, SIDE - height))
    left = int(np.clip(round(_CENTRE - column), 0, SIDE - width))
    return _on_canvas(digit, top, left, 0.0)


def fit_fashion_mnist(picture: FloatArray) -> UInt8Array:
    """As Fashion-MNIST's articles: (height, width) in 0..255, light on dark, to (28, 28).

    What is added at the sides has the colour of the darkest corner. Raises `DataError` where there is nothing on it.
    """
    levelled = _levelled(picture)
    darkest = min(levelled[row, column] for row in (0, -1) for column in (0, -1))
    article = _sharpened(_resized(_trimmed(levelled), SIDE, Image.Resampling.NEAREST))
    height, width = article.shape
    return _on_canvas(article, (SIDE - height) // 2, (SIDE - width) // 2, darkest)


def stretch(picture: FloatArray) -> UInt8Array:
    """The whole of it, (height, width) in 0..255, scaled to (28, 28), whatever that does to its shape."""
    return _pixels(_scaled(picture, SIDE, SIDE, Image.Resampling.BOX))


FITS: Mapping[str, Callable[[FloatArray], UInt8Array]] = {
    "mnist": fit_mnist,
    "fashion_mnist": fit_fashion_mnist,
    "stretch": stretch,
}
"""Ways to 28 x 28. Each dataset has one of its own name, which suits the models trained on it."""


def _edges(picture: FloatArray | ImageArray) -> FloatArray | ImageArray:
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _levelled(picture: FloatArray) -> FloatArray:
    """Background to 0 and lightest pixel to 255. A bright background (see `looks_inverted`) is left in."""
    ground = picture.min() if looks_inverted(picture) else np.median(_edges(picture))
    contrast = picture.max() - ground
    if contrast < _LEAST_CONTRAST:
        raise DataError("there is nothing on it that is lighter than its background")
    return np.asarray(np.clip((picture - ground) * (WHITE / contrast), 0.0, WHITE))


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns from the first to the last that has something set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _trimmed(picture: FloatArray) -> FloatArray:
    """Without the edges that are as their corner: left and top as the first corner, right and bottom as the next two.

    So does ImageMagick's -trim, whose words the paper uses.
    """
    first, right, bottom = (np.abs(picture - picture[corner]) > _NEAR for corner in ((0, 0), (0, -1), (-1, 0)))
    if not (first.any() and right.any() and bottom.any()):
        raise DataError("there is nothing on it that differs from its background")
    rows = slice(int(first.any(axis=1).argmax()), len(picture) - int(bottom.any(axis=1)[::-1].argmax()))
    columns = slice(int(first.any(axis=0).argmax()), picture.shape[1] - int(right.any(axis=0)[::-1].argmax()))
    return picture[rows, columns]


def _resized(picture: FloatArray, longest: int, by: Image.Resampling) -> FloatArray:
    """With its longest edge at `longest` pixels and its aspect kept."""
    scale = longest / max(picture.shape)
    height, width = (max(1, round(edge * scale)) for edge in picture.shape)
    return _scaled(picture, height, width, by)


def _scaled(picture: FloatArray, height: int, width: int, by: Image.Resampling) -> FloatArray:
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.resize((width, height), by), dtype=np.float64)


def _sharpened(picture: FloatArray) -> FloatArray:
    """ImageMagick's -sharpen 1x1: a 3 x 3 kernel of negative Gaussian weights, its middle making it add up to more."""
    offsets = np.array([-1, 0, 1])
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 2)
    kernel = -weights
    kernel[1, 1] = 2 * weights.sum()
    kernel /= kernel.sum()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(picture, 1, mode="edge"), (3, 3))
    return np.asarray(np.clip(np.einsum("yxij,ij->yx", windows, kernel), 0.0, WHITE))


def _on_canvas(picture: FloatArray, top: int, left: int, ground: float) -> UInt8Array:
    canvas = np.full((SIDE, SIDE), ground)
    height, width = picture.shape
    canvas[top : top + height, left : left + width] = picture
    return _pixels(canvas)


def _pixels(picture: FloatArray) -> UInt8Array:
    return np.rint(np.clip(picture, 0.0, WHITE)).astype(np.uint8)
