"""Checks files that somebody else may have written: regular files, of limited size when unpacked, plain data only."""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness import paths
from harness.errors import RequestError

TEXT_BYTES = 256_000
"""The largest configuration or description that is read; those of the harness have about 5,000 bytes."""
UNPACKED_BYTES, UNPACKED_RATIO = 2**26, 20
"""A packed file may unpack to 64 MiB or to 20 times its own size, whichever is more."""
SHARING = "Use a folder of your own, or one that is shared with a group: chgrp GROUP FOLDER; chmod g+rwxs,o-w FOLDER."
HEADER_ERRORS = (tokenize.TokenError, SyntaxError, TypeError, RecursionError, MemoryError)
"""What NumPy raises besides `ValueError` for a damaged header of an array, which is a text that Python reads."""
_WEIGHTS = "model.weights.h5"
_MEMBERS = {"config.json", "metadata.json", _WEIGHTS}


def most_unpacked(packed: int, ratio: int = UNPACKED_RATIO) -> int:
    """How many bytes may come out of a file of `packed` bytes."""
    return max(UNPACKED_BYTES, ratio * packed)


def check_root() -> None:
    """Check that no other user has prepared files or links in the project's root that a run would write to.

    Raises `RequestError`: in a folder that everybody may write to (`/tmp`), the files of the harness must belong to
    this user or to the folder's owner, and must not be links. Also if there is a file where a folder is needed.
    """
    root = paths.project_root()
    for name in paths.KEPT:
        place = root / name
        problem = planted(place)
        if not problem and name != paths.DATABASE and os.path.lexists(place) and not place.is_dir():
            problem = f"{place} is not a folder"
        if problem:
            raise RequestError(
                f"Nothing is written to {root}: {problem}. {SHARING} Set HARNESS_ROOT=FOLDER to use another folder."
            )


def planted(path: Path) -> str:
    """Why a stranger may have put the file at `path` there, in words; empty if that is impossible or it is missing."""
    try:
        folder, found = path.parent.stat(), path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if not folder.st_mode & stat.S_IWOTH:
        return ""
    if found.st_uid not in (os.geteuid(), folder.st_uid):
        return f"everybody may write to {path.parent}, and {path.name} in it belongs to another user"
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
        return f"everybody may write to {path.parent}, and {path.name} in it is a link"
    return ""


def check_regular(file: Path, most: int | None = None) -> int:
    """The size of a file in bytes. Raises `RequestError` for more than `most`, and for a FIFO, a device or a folder."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise RequestError(f"{file} is not a regular file, so it is not read.")
    if most is not None and found.st_size > most:
        raise RequestError(f"{file} has {found.st_size:,} bytes, but at most {most:,} are allowed, so it is not read.")
    return found.st_size


def read_bytes(file: Path, most: int = TEXT_BYTES) -> bytes:
    """The content of a regular file. Raises `OSError`, and `RequestError` as `check_regular` does."""
    check_regular(file, most)
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # a FIFO would block
        return stream.read(most)


def read_text(file: Path, most: int = TEXT_BYTES) -> str:
    """The text of a regular file. Raises as `read_bytes` does, and `RequestError` if it is not UTF-8."""
    try:
        return read_bytes(file, most).decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not a text in UTF-8.") from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, because a few lines of aliases can expand to billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias", event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(file: Path) -> Any:
    """The plain data in a YAML file. Raises as `read_text` and `plain_yaml` do."""
    return plain_yaml(read_text(file), str(file))


def plain_yaml(text: str, source: str) -> Any:
    """The plain data in YAML (no tags, no aliases), or None if the text is empty.

    Raises `RequestError`. Its message names the `source` and the line, but never shows the content.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise RequestError(f"{source} is not plain YAML{where}: tags, aliases and deep nesting are refused.") from None


def unpack_gzip(file: Path, ratio: int = UNPACKED_RATIO, memory: float = math.inf) -> bytes:
    """What is in a gzip file, counted while it is unpacked. Raises `RequestError` for more than its size (`ratio`) or
    the `memory` in bytes allows, and as `gzip` does."""
    most = int(min(most_unpacked(check_regular(file), ratio), memory))
    with gzip.open(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise RequestError(f"{file} unpacks to more than {most:,} bytes, so it is not read.")
    return content


def check_archive(file: Path, ratio: int = UNPACKED_RATIO) -> None:
    """Make sure, by its headers, that a zip archive (`.npz`, `.keras`) holds no more than its size allows. Where they
    lie, `zipfile` may unpack more of what is read as a whole. Raises `RequestError`, and as `zipfile` does."""
    most = most_unpacked(check_regular(file), ratio)
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > most:
            raise RequestError(f"{file} unpacks to more than {most:,} bytes, so it is not read.")


def array_headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The shape and type of each array in NumPy's archive (`.npz`), by its name. Raises as `zipfile`
    does, `ValueError` for a member that is no array, and `RequestError` for one larger than what is there of it."""
    headers = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                if np.lib.format.read_magic(stream) != (1, 0):
                    raise RequestError(f"{file} contains an array with an unusual header, so it is not read.")
                try:
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                except HEADER_ERRORS as error:
                    raise ValueError("an array in it has a damaged header") from error
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > member.file_size:
                raise RequestError(f"{file} contains an array that is larger than its data, so it is not read.")
            headers[member.filename.removesuffix(".npy")] = (shape, dtype)
    return headers


@contextmanager
def open_arrays(file: Path, ratio: int = UNPACKED_RATIO) -> Iterator[Any]:
    """NumPy's archive (`.npz`) as `np.load` opens it, without pickled objects. NumPy reads arrays part by part, as long
    as they have its usual header. Raises as `check_archive` and `array_headers`."""
    check_archive(file, ratio)
    array_headers(file)
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        yield arrays


@contextmanager
def bounded_model(file: Path, layer: Any) -> Iterator[None]:
    """Inside the `with` block, the Keras model in `file` (`.keras`) can be loaded safely; `layer` is `keras.Layer`.

    Keras reads each member of the archive at once, so members must not be compressed (Keras writes them so). Keras also
    makes the weights from the configuration before it reads any, so their size is counted while they are made. Raises
    `RequestError` if they need more than the file can contain, and as `zipfile` does.
    """
    check_archive(file)
    most = most_unpacked(file.stat().st_size)
    with zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise RequestError(f"{file} is compressed, but Keras does not compress its models, so it is not read.")
        names = set(archive.namelist())
        if strange := sorted(name for name in names - _MEMBERS if not name.startswith("assets/")):
            raise RequestError(f"{file} is not read: {strange[0][:40]!r} in it is not a part of a Keras model.")
        if _WEIGHTS in names:
            _check_weights(file, archive.read(_WEIGHTS), most)
    made, usual = 0, layer.add_weight

    def counted(self: Any, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal made
        sizes = shape if isinstance(shape, tuple | list) else (shape or 1,)
        made += 4 * math.prod(size if isinstance(size, int) else 1 for size in sizes)
        if made > most:
            raise RequestError(f"{file} describes a model of at least {made:,} bytes, but it is too small for that.")
        return usual(self, shape, *arguments, **options)

    layer.add_weight = counted
    try:
        yield
    finally:
        layer.add_weight = usual


def _check_weights(file: Path, content: bytes, most: int) -> None:
    import h5py

    total = 0

    def add(name: str, found: Any) -> None:
        nonlocal total
        if isinstance(found, h5py.Dataset):
            if found.is_virtual or found.external:
                raise RequestError(f"{file} refers to other files for its weights, so it is not read.")
            total += max(found.size or 0, math.prod(found.chunks or ())) * found.dtype.itemsize

    with h5py.File(io.BytesIO(content), "r") as weights:
        if weights.visititems_links(lambda name, link: isinstance(link, h5py.ExternalLink) or None):
            raise RequestError(f"{file} refers to other files for its weights, so it is not read.")
        weights.visititems(add)
    if total > most:
        raise RequestError(f"{file} unpacks to more than {most:,} bytes, so it is not read.")
