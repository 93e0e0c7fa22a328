"""File systems for tests, to fill or to make read-only. Mounting them needs root."""

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
        f"This test needs its own file system, but mounting it failed: {done.stderr.strip()}. Run it as root, or "
        f"set {WITHOUT}=1 to skip it."
    )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Inside the `with` block, a disk of this size is mounted at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Inside the `with` block, no file in `folder` can be opened for writing, not even by root."""
    aside = folder.with_name(f"{folder.name}.aside")
    aside.mkdir()
    with ExitStack() as mounted:
        # Remounted at another place first: at `folder`, a process could open a file before it is read-only.
        _mount("--bind", str(folder), str(aside))
        mounted.callback(subprocess.run, ["umount", "--lazy", str(aside)], check=True)
        _mount("-o", "remount,ro,bind", str(aside))
        _mount("--bind", str(aside), str(folder))
        mounted.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        yield


def fill(folder: Path) -> Path:
    """Fill the disk with one file, and return it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass
    return filler
