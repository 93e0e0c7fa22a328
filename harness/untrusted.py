"""Files that somebody else may have written: regular ones of a sane size, plain data, and bounded before unpacking."""

from __future__ import annotations

import gzip
import math
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.errors import RequestError

TEXT_BYTES = 256_000
"""The most of a configuration or a description; those of the harness take five thousand."""
UNPACKED_BYTES, UNPACKED_RATIO = 2**26, 20
"""What a packed file may hold: 64 MiB, or so many times its own size where that is more."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def most_unpacked(packed: int) -> int:
    """How many bytes may come out of a file of `packed` bytes."""
    return max(UNPACKED_BYTES, UNPACKED_RATIO * packed)


def check_regular(file: Path, most: int | None = None) -> int:
    """The size of a file. Raises `RequestError` for a FIFO, a device or a folder, and for more than `most` bytes."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise RequestError(f"{file} is not a regular file, so it is not read.")
    if most is not None and found.st_size > most:
        raise RequestError(f"{file} has {found.st_size:,} bytes; such a file has at most {most:,}, so it is not read.")
    return found.st_size


def read_bytes(file: Path, most: int = TEXT_BYTES) -> bytes:
    """The content of a regular file. Raises `RequestError` as `check_regular`, and `OSError`."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # a FIFO would wait
        check_regular(file, most)
        return stream.read(most)


def read_text(file: Path, most: int = TEXT_BYTES) -> str:
    """The text of a regular file. Raises as `read_bytes`, and `RequestError` for what is no UTF-8."""
    try:
        return read_bytes(file, most).decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is no text in UTF-8.") from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias", self.peek_event().start_mark)
        return super().compose_node(parent, index)


def read_yaml(file: Path) -> Any:
    """The plain data in a YAML file: no tags, no aliases; None where it is empty.

    Raises `RequestError`, which tells the line and never its content, and `OSError`.
    """
    text = read_text(file)
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise RequestError(f"{file} is no plain YAML{where}: tags, aliases and deep nesting are refused.") from None


def unpack_gzip(file: Path) -> bytes:
    """What is in a gzip file, counted while it is unpacked. Raises `RequestError` for too much, and as `gzip` does."""
    most = most_unpacked(check_regular(file))
    with gzip.open(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise RequestError(f"{file} unpacks to more than {most:,} bytes, so it is not read.")
    return content


def check_archive(file: Path) -> None:
    """Make sure, by the headers alone, that no more is in a zip archive (`.npz`, `.keras`) than its size allows, and no
    larger array than its member has bytes: Python's `zipfile` unpacks no more than the headers say.

    Raises `RequestError`, and as `zipfile` does.
    """
    most = most_unpacked(check_regular(file))
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > most:
            raise RequestError(f"{file} unpacks to more than {most:,} bytes, so it is not read.")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
                if math.prod(shape) * dtype.itemsize > member.file_size:
                    raise RequestError(f"{file}: the array {member.filename[:40]!r} is larger than what is there of it.")
