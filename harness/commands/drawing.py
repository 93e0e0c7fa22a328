"""Where a command's picture goes: checked before the work, written whole after it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import paths
from harness.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIX = ".png"


def check_output(file: Path) -> None:
    """Raise `RequestError` where a PNG cannot be written to `file`; nothing is made."""
    if file.suffix.lower() != SUFFIX:
        raise RequestError(f"--output {file}: pictures are drawn as PNG. Name a file that ends in {SUFFIX}.")
    if file.is_dir():
        raise RequestError(f"--output {file}: it is a folder. Name a file in it.")
    folder = next(parent for parent in file.absolute().parents if parent.exists() or parent.is_symlink())
    if not folder.is_dir():
        raise RequestError(f"--output {file}: {folder} is no folder. Name another file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"--output {file}: the folder {folder} cannot be written to. Name another file.")


def write_figure(figure: Figure, file: Path) -> None:
    """Write the PNG whole or not at all, and say so on standard error. Raises `RequestError`."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    try:
        paths.write_bytes(file, stream.getvalue())
    except OSError as error:
        raise RequestError(f"--output {file}: cannot be written ({error.strerror}). Name another file.") from error
    click.echo(f"Wrote {file}", err=True)
