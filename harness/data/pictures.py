"""Image files and arrays of anybody's making as the images that a model takes: of its size, grey, light on dark.

Each fault is a `DataError` of its own that names the file, so that one bad file does not stop the others.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.data.fitting import FITS, SIDE, WHITE, looks_inverted
from harness.errors import DataError, RequestError, suggestion
from harness.records import WHITE as MOST
from harness.records import FloatArray, ImageArray, UInt8Array
from harness.untrusted import HEADER_ERRORS

MAX_MEBIBYTES = 64
MAX_PIXELS = 64_000_000
"""Above it a file is refused before it is decoded: a few kilobytes can promise a picture of gigabytes."""

_DECODED = f"the {MAX_PIXELS // 10**6} million that are decoded. Save a smaller one"

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO")
"""Of Pillow's formats those that are common; some of the rest start programs (EPS) or take anything for a picture."""
BY_SUFFIX = {
    ".tga": "TGA", ".pcx": "PCX", ".sgi": "SGI", ".rgb": "SGI", ".bw": "SGI", ".dds": "DDS", ".qoi": "QOI",
    ".psd": "PSD", ".icns": "ICNS", ".ras": "SUN", ".xbm": "XBM", ".xpm": "XPM", ".msp": "MSP", ".dib": "DIB",
}  # fmt: skip
"""Formats that are read of files with these names only, as their first bytes say little."""

_ONE_AT_A_TIME = Lock()
"""For what takes 30 bytes a pixel, of up to 64 million pixels."""
PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV")
"""Pillow's modes of 8 bits that are converted to RGB as they are, where nothing is transparent."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, struct.error)
"""What Pillow raises for damaged files: it promises none, these are what it raised for 64,000 of them."""

_NPY_MAGIC, _ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
_PER_16_BIT_STEP = 257.0
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values of a picture that is turned by a quarter."""


@dataclass(frozen=True)
class Picture:
    """An `image` (height, width) uint8 made from a file.

    `looks_inverted` (see `fitting.looks_inverted`) is said of the whole picture, negated if that was asked for; `notes`
    are what Pillow found odd about the file.
    """

    image: UInt8Array
    looks_inverted: bool
    notes: tuple[str, ...] = ()


def read_picture(file: Path, fit: str, shape: tuple[int, ...], invert: bool = False) -> Picture:
    """The picture in an image file, of any size and colour mode, as one image for a model.

    It is turned upright (EXIF), made grey (Rec. 601), negated if `invert`, and brought to `shape` by `FITS[fit]`; one
    that has this shape (height, width) already is not fitted. Of an animation the first frame is taken. What is
    transparent becomes black behind a picture that is light on the whole, else white.

    Raises:
        DataError: the file cannot be read as a picture, is too large, or has nothing on it.
        RequestError: there is no such fit.
    """
    if fit not in FITS:
        raise RequestError(f"'{fit}' is no fit. The fits are {', '.join(FITS)}.{suggestion(fit, FITS)}")
    try:
        content = picture_bytes(file)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            grey = grey_values(decoded(content, file.suffix))
        if invert:
            grey = WHITE - grey
        image = np.rint(grey).astype(np.uint8) if grey.shape == shape else _fitted(grey, fit, shape)
    except DataError as error:
        raise DataError(f"{file}: {error}.") from error
    notes = dict.fromkeys(f"{file}: {' '.join(str(warning.message).split())}" for warning in warned)
    return Picture(image, looks_inverted(grey), tuple(notes))


def read_array(file: Path, shape: tuple[int, ...], dtype: str = "uint8", invert: bool = False) -> ImageArray:
    """The images in a `.npy` file as (n, *shape) of `dtype`, n at least 1; bytes negated if `invert`.

    Raises `DataError` unless it holds an array of shape (n, *shape) or `shape`, of bytes, or for float32 of any finite
    numbers.
    """
    try:
        array = _loaded(file)
        if dtype == "float32":
            return _as_floats(array, shape)
        if problem := _unsuited(array, shape):
            many = ", ".join(map(str, ("n", *shape)))
            raise DataError(f"{problem}. It must be uint8 in 0..{MOST}, of shape ({many}) or {shape}")
    except DataError as error:
        raise DataError(f"{file}: {error}.") from error
    images = np.array(array, dtype=np.uint8).reshape(-1, *shape)
    return np.uint8(MOST) - images if invert else images


def _as_floats(array: npt.NDArray[Any], shape: tuple[int, ...]) -> ImageArray:
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise DataError(f"its type is {array.dtype} and its shape {array.shape}. It must have numbers")
    if array.shape[-len(shape) :] != shape or array.ndim - len(shape) not in (0, 1):
        raise DataError(f"its shape is {array.shape}. It must be ({', '.join(map(str, ('n', *shape)))}) or {shape}")
    with np.errstate(over="ignore"):
        images = np.array(array, dtype=np.float32).reshape(-1, *shape)
    if not np.isfinite(images).all():
        raise DataError("it has values that are not finite. Replace them")
    return images


def _fitted(grey: FloatArray, fit: str, shape: tuple[int, ...]) -> UInt8Array:
    if shape != (SIDE, SIDE):
        found, wanted = (" x ".join(map(str, sides)) for sides in (grey.shape, shape))
        raise DataError(f"it has {found} pixels and the model takes {wanted}. Save it in this size")
    return FITS[fit](grey)


def picture_bytes(file: Path) -> bytes:
    """What is in the file. Raises `DataError` for what is no regular file, empty or too large."""
    try:
        if file.is_dir():
            raise DataError("it is a folder. Name its files, as in FOLDER/*.png")
        if not file.exists():
            raise DataError("there is no such file")
        if not file.is_file():  # a pipe would be waited for, a device has no end
            raise DataError("it is no regular file")
        if (size := file.stat().st_size) == 0:
            raise DataError("it is empty")
        if size > MAX_MEBIBYTES * 2**20:
            raise DataError(
                f"it has {size / 2**20:,.0f} MiB; a picture may have at most {MAX_MEBIBYTES}. Save a smaller one"
            )
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error


def decoded(content: bytes, suffix: str) -> Image.Image:
    """The picture in a file of this `content`, whose name ends with `suffix`, upright. Raises `DataError`."""
    with _opened(content, suffix) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def scaled_picture(file: Path, size: tuple[int, ...], colour: str) -> UInt8Array:
    """The picture in a file as (height, width) in `grey` or (height, width, 3) in `rgb`, scaled to this `size`.

    Raises `DataError` as `decoded`.
    """
    image = decoded(picture_bytes(file), file.suffix)
    if image.mode in PLAIN_MODES and not image.has_transparency_data:  # without floating-point copies
        pixels = image.convert("RGB").convert("L") if colour == "grey" else image.convert("RGB")
    else:
        with _ONE_AT_A_TIME:
            values = grey_values(image) if colour == "grey" else rgb_values(image)
            pixels = Image.fromarray(np.rint(values).astype(np.uint8))
    height, width = size
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels)


def picture_header(content: bytes, suffix: str) -> tuple[int, int, bool]:
    """Height and width of the upright picture that `decoded` returns, and whether it can have no colours; nothing is
    decoded. Raises `DataError`."""
    with _opened(content, suffix) as image:
        width, height = image.size
        is_grey = image.mode in ("1", "L", "LA", "La", "F", "I") or image.mode.startswith("I;16")
        if image.mode == "P":
            palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
            is_grey = bool((palette == palette[:, :1]).all())
        if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
            height, width = width, height
        return height, width, is_grey


@contextmanager
def _opened(content: bytes, suffix: str) -> Iterator[Image.Image]:
    """The picture, not decoded yet; what Pillow raises in the block becomes a `DataError`."""
    formats = (*FORMATS, BY_SUFFIX[suffix.lower()]) if suffix.lower() in BY_SUFFIX else FORMATS
    try:
        with Image.open(io.BytesIO(content), formats=formats) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise DataError(f"it has {width:,} x {height:,} pixels, more than {_DECODED}")
            yield opened
    except UnidentifiedImageError as error:
        raise DataError(f"it is no picture of a format that is read here: {', '.join(formats)}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"it promises more pixels than {_DECODED}") from error
    except _DAMAGED as error:
        raise DataError(f"it is damaged or cut short ({error or type(error).__name__})") from error


def rgb_values(image: Image.Image) -> FloatArray:
    """(height, width, 3) in 0..255. Raises `DataError` as `grey_values`."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return np.repeat(_sixteen_bit(image)[..., None], 3, axis=2)
    try:
        colours = np.asarray(image.convert("RGB"), dtype=np.float64)
        if not image.has_transparency_data:
            return colours
        opacity = np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float64) / WHITE
    except ValueError as error:
        raise DataError(f"its colours ({image.mode}) cannot be read. Save it in RGB") from error
    return _laid_on_contrast(colours, opacity[..., None])


def grey_values(image: Image.Image) -> FloatArray:
    """(height, width) in 0..255."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _sixteen_bit(image)
    try:
        light = np.asarray(image.convert("RGB").convert("L"), dtype=np.float64)
        if not image.has_transparency_data:
            return light
        opacity = np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float64) / WHITE
    except ValueError as error:
        raise DataError(f"its colours ({image.mode}) cannot be made grey. Save it in RGB") from error
    return _laid_on_contrast(light, opacity)


def _sixteen_bit(image: Image.Image) -> FloatArray:
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"its pixels are {'floating point' if image.mode == 'F' else '32 bit'} numbers from {values.min():g} to "
            f"{values.max():g}, and what is black and white among them is not known. Save it with 8 or 16 bits"
        )
    light = np.asarray(values / _PER_16_BIT_STEP)
    if (unseen := image.info.get("transparency")) is None:
        return light
    return _laid_on_contrast(light, np.asarray(values != unseen, dtype=np.float64))


def _laid_on_contrast(light: FloatArray, opacity: FloatArray) -> FloatArray:
    """Over black where the visible part is light on average, else over white: either way it can be seen."""
    if not opacity.any():
        raise DataError("it is wholly transparent")
    ground = 0.0 if np.average(light, weights=np.broadcast_to(opacity, light.shape)) > WHITE / 2 else WHITE
    return np.asarray(light * opacity + ground * (1.0 - opacity))


def _loaded(file: Path) -> npt.NDArray[np.generic]:
    """The array in the file, mapped rather than read: shape and type are known before a byte of it is."""
    try:
        if not file.is_file():
            raise DataError("there is no such file" if not file.exists() else "it is no regular file")
        with file.open("rb") as stream:
            start = stream.read(len(_NPY_MAGIC))
        if start[: len(_ZIP_MAGIC)] == _ZIP_MAGIC:
            raise DataError("it is an .npz archive, or another zip file. Save the one array in it with numpy.save")
        if start != _NPY_MAGIC:
            raise DataError(f"it is {'no .npy file' if start else 'empty'}. Write one with numpy.save")
        mapped: npt.NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, OverflowError, *HEADER_ERRORS) as error:
        if "Python objects" in str(error) or "pickle" in str(error):
            raise DataError("it holds Python objects, which are not loaded. Save an array of numbers") from error
        raise DataError(f"it is damaged or cut short ({error})") from error


def _unsuited(array: npt.NDArray[np.generic], shape: tuple[int, ...]) -> str:
    """What is wrong with an array, and what to do about it; the empty string for one that can be taken."""
    if array.dtype != np.uint8:
        if array.dtype.kind == "f" and array.size and np.nanmax(array) <= 1:
            return f"its type is {array.dtype}, of values up to 1: save (array * {MOST}).round().astype('uint8')"
        return f"its type is {array.dtype}: if its values are 0 to {MOST}, save array.astype('uint8')"
    if array.size == 0:
        return f"its shape is {array.shape}: there is no image in it"
    if array.shape[-len(shape) :] == shape and array.ndim - len(shape) in (0, 1):
        return ""
    remedy = ""
    if array.shape[-1:] == (1,):
        remedy = ": save array[..., 0]"
    elif array.shape[-1:] == (math.prod(shape),):
        remedy = f": save array.reshape(-1, {', '.join(map(str, shape))})"
    elif array.ndim in (2, 3):
        remedy = ": save its pictures as image files, which are fitted (--image)"
    return f"its shape is {array.shape}{remedy}"
