"""File systems of a test's own, to be filled or made read-only. They need root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

WITHOUT = "HARNESS_TESTS_WITHOUT_MOUNTS"


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if os.environ.get(WITHOUT):
        pytest.skip(f"{WITHOUT} is set: no file system can be mounted here")
    pytest.fail(
        f"This test needs a file system of its own, and mounting one failed: {done.stderr.strip()}. Run it as root, or "
        f"set {WITHOUT}=1 to go without."
    )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of this size at `folder` while the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in `folder` can be opened for writing while the block lasts, by root either."""
    aside = folder.with_name(f"{folder.name}.aside")
    aside.mkdir()
    with ExitStack() as mounted:
        # Made read-only beside it first: on the folder itself somebody might open a file before it is.
        _mount("--bind", str(folder), str(aside))
        mounted.callback(subprocess.run, ["umount", "--lazy", str(aside)], check=True)
        _mount("-o", "remount,ro,bind", str(aside))
        _mount("--bind", str(aside), str(folder))
        mounted.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        yield


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass
    return filler
