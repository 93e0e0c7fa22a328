"""Decoded pictures of folders, kept so that a folder is decoded once: by one process, for all workers of a sweep.

An entry is one array in a file of its own, which processes map instead of reading it, so that they share its memory.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from harness import paths
from harness.errors import UnusableData
from harness.records import UInt8Array
from harness.terminal import doing
from harness.untrusted import planted

logger = logging.getLogger(__name__)

_KEPT = 4
"""Entries of one folder of pictures: of several sizes, or of what was in it before."""
_PATIENCE = 3600.0


def root() -> Path:
    """The folder of the entries."""
    return paths.cache_directory() / "image_folders"


def obtain(folder: Path, key: str, decode: Callable[[], UInt8Array]) -> UInt8Array:
    """The decoded pictures of a folder whose files and settings have this `key`: from the cache, or decoded and put
    there.

    Where the cache cannot be written, a warning says so, and they are decoded by each process that wants them. Raises
    what `decode` raises.
    """
    owner = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:12]
    entry = root() / f"{owner}-{key}.npy"
    if (found := _read(entry)) is not None:
        return found
    images = None
    try:
        root().mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(root() / f".{owner}.lock", folder):
            if (found := _read(entry)) is not None:  # the process that held the lock may have put it there
                return found
            images = decode()
            _write(entry, images)
            for old in sorted(root().glob(f"{owner}-*.npy"), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
                old.unlink()
    except OSError as error:
        logger.warning(
            "%s: the pictures of %s cannot be kept there (%s), so every process reads them again. The environment "
            "variable "
            "HARNESS_CACHE names another folder.", root(), folder, error.strerror or error,
        )  # fmt: skip
        return decode() if images is None else images
    found = _read(entry)
    return images if found is None else found


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with doing(f"Waiting for another process that is reading {folder}"):
                lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise UnusableData(
            f"{folder}: another process has been reading it for {_PATIENCE:g} s. Wait for it or stop it, then repeat "
            "the command."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _write(entry: Path, images: UInt8Array) -> None:
    """Readable for this user only, as pictures may be private. Raises `OSError`."""
    temporary = entry.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            np.save(stream, images, allow_pickle=False)
        temporary.replace(entry)
    finally:
        temporary.unlink(missing_ok=True)


def _read(entry: Path) -> UInt8Array | None:
    """None where there is no such entry, or a damaged one, or one that another user may have put there."""
    if planted(entry):
        return None
    with suppress(OSError, ValueError, EOFError):
        found = np.asarray(np.load(entry, mmap_mode="r", allow_pickle=False))
        if found.dtype == np.uint8 and found.ndim in (3, 4):
            return found
    return None
