"""Figures as files that a person asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness import paths
from harness.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_path(given: Path | None, default: str) -> Path:
    """Where a figure goes: where `--output` says, else `default` in the working directory.

    Raises:
        RequestError: the name does not end in .png, names a folder, or is in one that cannot be made or written to.
    """
    target = Path(default) if given is None else given.expanduser()
    if target.suffix.lower() != ".png":
        raise RequestError(f"--output {target}: figures are written as PNG. Give a name that ends in .png.")
    if target.is_dir():
        raise RequestError(f"--output {target}: is a folder. Name a file in it, such as {target / default}.")
    folder = next(parent for parent in target.absolute().parents if parent.exists() or parent.is_symlink())
    if not folder.is_dir():
        raise RequestError(f"--output {target}: {folder} is no folder. Name another file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"--output {target}: the folder {folder} cannot be written to. Name another file.")
    return target


def write_png(figure: Figure, target: Path) -> None:
    """Save a figure whole or not at all; folders that are missing are made.

    Raises:
        RequestError: the file cannot be written.
    """
    try:
        with paths.atomic_path(target) as temporary:
            figure.savefig(temporary, format="png")
    except OSError as error:
        raise RequestError(f"--output {target}: cannot be written ({error.strerror}). Name another file.") from error
