"""Writes figures to the files that a user names, and to PNG bytes for a report."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
_COLOURS = 128


def png_path(given: Path | None, default: str) -> Path:
    """The file for a figure: the one that `--output` names, otherwise `default` in the working directory.

    Raises:
        RequestError: the name does not end in .png or is a folder, or its folder cannot be made or written to.
    """
    target = Path(default) if given is None else given.expanduser()
    if target.suffix.lower() != ".png":
        raise RequestError(f"--output {target}: figures are written as PNG. Give a name that ends in .png.")
    if target.is_dir():
        raise RequestError(f"--output {target}: is a folder. Name a file in it, such as {target / default}.")
    folder = next(parent for parent in target.absolute().parents if parent.exists() or parent.is_symlink())
    if not folder.is_dir():
        raise RequestError(f"--output {target}: {folder} is not a folder. Name another file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"--output {target}: the folder {folder} cannot be written to. Name another file.")
    return target


def figure_folder(folder: Path) -> Path:
    """The folder that `--output` names, for several figures with names of their own.

    Raises:
        RequestError: a file has that name, or the folder cannot be made or written to.
    """
    return png_path(folder.expanduser() / "figure.png", "figure.png").parent


def write_figure(figure: Figure, target: Path) -> None:
    """Save a figure in the format of `target`'s suffix, one of `FORMATS`. Missing folders are made.

    Raises:
        RequestError: the file cannot be written.
    """
    form = target.suffix.lower().removeprefix(".")
    undated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form, {})
    try:
        with paths.atomic_path(target) as temporary:
            figure.savefig(temporary, format=form, metadata=undated)
    except OSError as error:
        raise RequestError(f"--output {target}: cannot be written ({error.strerror}). Name another file.") from error


def png_bytes(figure: Figure, scale: float = 2.0) -> bytes:
    """A figure as PNG bytes, with `scale` times its dpi and a palette of `_COLOURS` colours.

    Twice the dpi is sharp on high-resolution screens. The palette needs a third of the bytes, and its colours cannot
    be told from the original ones. `MAXCOVERAGE` keeps white exactly white; the octree method does not.
    """
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=scale * figure.dpi, pil_kwargs={"compress_level": 0})
    picture = Image.open(drawn).convert("RGB")
    few = picture.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(packed, format="png")  # `optimize` would save a twelfth of the bytes in ten times the time
    return packed.getvalue()
