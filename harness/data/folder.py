"""A folder with the four IDX files, raw or gzipped: every file is read once and checked by its SHA-256.

A folder may carry `SHA256SUMS` (as sha256sum writes it, over the raw bytes). It is then a variant of the dataset and
is compared with its own sums, otherwise with the published ones.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.data.catalogue import FILES, Publication
from harness.errors import DataError, NoDataFolder, RequestError
from harness.untrusted import read_bytes, read_text, unpack_gzip

SUMS_FILE = "SHA256SUMS"
LARGEST_BYTES = 2**30
"""The most of one file: 20 times the training images of MNIST."""


class FileState(StrEnum):
    """What was found where a file should be."""

    OK = "OK"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True)
class StoredFile:
    """One of the four files as found; `content` holds its raw bytes if it is OK, `problem` says what is wrong."""

    name: str
    state: FileState
    problem: str = ""
    content: bytes = field(default=b"", repr=False)


def examine(folder: Path, sums: Mapping[str, str]) -> tuple[StoredFile, ...]:
    """Read the four files and compare each with its SHA-256; what is wrong is in the answer, nothing is raised."""
    return tuple(_examine(folder, name, sums[name]) for name in FILES)


def complete(files: Iterable[StoredFile]) -> bool:
    """Whether every file is there and is what it should be."""
    return all(file.state is FileState.OK for file in files)


def problems(files: Iterable[StoredFile]) -> str:
    """What is wrong with which file, in one line."""
    found = list(files)
    if all(file.state is FileState.MISSING for file in found):
        return "none of the four files is there"
    return "; ".join(f"{file.name} {file.problem}" for file in found if file.state is not FileState.OK)


def _examine(folder: Path, name: str, expected: str) -> StoredFile:
    raw, packed = folder / name, folder / f"{name}.gz"
    try:
        if raw.is_file():
            content = read_bytes(raw, LARGEST_BYTES)
        elif packed.is_file():
            content = unpack_gzip(packed)
        else:
            return StoredFile(name, FileState.MISSING, "is missing")
    except (OSError, EOFError, zlib.error, RequestError) as error:
        return StoredFile(name, FileState.DAMAGED, f"cannot be read ({error})")
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        return StoredFile(
            name,
            FileState.DAMAGED,
            f"has SHA-256 {actual[:12]}... instead of {expected[:12]}... ({len(content):,} bytes)",
        )
    return StoredFile(name, FileState.OK, content=content)


def locate(directory: Path, publication: Publication) -> Path:
    """The folder meant by `dataset.directory`: its sub-folder called by the dataset's name (`fashion_mnist` or
    `fashion-mnist`) where there is one, else the directory itself. Raises `NoDataFolder` if it is no folder."""
    if not directory.is_dir():
        raise NoDataFolder(
            f"dataset.directory={directory}: there is no such folder. Name one that holds the four files of "
            f"{publication.title}, or set dataset.directory=null to use the cache and the network."
        )
    for name in (publication.name, publication.name.replace("_", "-")):
        if (directory / name).is_dir():
            return directory / name
    return directory


def demanded_sums(folder: Path, publication: Publication) -> Mapping[str, str]:
    """The sums that the files of this folder are compared with: its own, or the published ones."""
    listing = folder / SUMS_FILE
    if not listing.is_file():
        return publication.sums
    sums = _parse_sums(listing)
    if absent := [name for name in FILES if name not in sums]:
        raise DataError(
            f"{listing}: no sum for {', '.join(absent)}. It must list the SHA-256 of the four raw (unzipped) files as "
            "sha256sum prints it; without the file the published sums are demanded."
        )
    return sums


def _parse_sums(listing: Path) -> dict[str, str]:
    sums = {}
    try:
        lines = read_text(listing).splitlines()
    except (OSError, RequestError) as error:
        raise DataError(f"{listing}: cannot be read ({error}). Write it with sha256sum.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line.rstrip())
        if match is None:
            raise DataError(f"{listing}, line {number} is not '<SHA-256>  <file name>'. Write it with sha256sum.")
        sums[match[2]] = match[1].lower()
    return sums
