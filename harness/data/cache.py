"""The cache of published datasets: a folder for each, with the four raw IDX files.

Every read compares the files with the published sums. What is missing or damaged is fetched again by one process,
while the others that want it wait.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import paths
from harness.data.catalogue import FILES, Publication
from harness.data.folder import FileState, StoredFile, complete, examine, problems
from harness.data.network import LIMITS, Limits
from harness.data.sources import SOURCES, Source
from harness.errors import DataError

logger = logging.getLogger(__name__)

ORIGIN_FILE = "ORIGIN"


@dataclass(frozen=True)
class Obtained:
    """The four files of a published dataset, all checked. `fetched_from` is None if the cache had them already."""

    files: tuple[StoredFile, ...]
    folder: Path
    fetched_from: str | None = None

    @property
    def source(self) -> str:
        """In words, where the files came from."""
        return f"the cache {self.folder} ({_origin(self.folder)})"


def default_root() -> Path:
    """The folder of the cache, which has a sub-folder for each dataset."""
    return paths.cache_directory() / "datasets"


def obtain(
    publication: Publication,
    root: Path | None = None,
    sources: Sequence[Source] = SOURCES,
    limits: Limits = LIMITS,
) -> Obtained:
    """The files of a published dataset, from the cache under `root` or, if they are not all there and sound, from the
    first source that can deliver them. Raises `DataError` naming every source tried and why it failed."""
    folder = (default_root() if root is None else root) / publication.name
    files = examine(folder, publication.sums)
    if complete(files):
        return Obtained(files, folder)
    with _locked(folder, publication, limits.lock):
        files = examine(folder, publication.sums)  # the process that held the lock may have placed them
        if complete(files):
            return Obtained(files, folder)
        for file in files:
            if file.state is FileState.DAMAGED:
                logger.warning("%s %s; the dataset is downloaded again", folder / file.name, file.problem)
        return _fetch(publication, folder, files, sources, limits)


def _fetch(
    publication: Publication, folder: Path, files: tuple[StoredFile, ...], sources: Sequence[Source], limits: Limits
) -> Obtained:
    tried = [f"the cache {folder}: {problems(files)}"]
    for source in sources:
        if source.dataset != publication.name:
            continue
        logger.info("%s: trying %s", publication.title, source.label)
        with tempfile.TemporaryDirectory(prefix="harness-data-") as workspace:
            try:
                fetched = examine(source.obtain(Path(workspace), limits), publication.sums)
            except DataError as error:
                tried.append(f"{source.label}: {error}")
                continue
        if complete(fetched):
            _place(fetched, folder, source.label)
            logger.info("%s: fetched from %s into %s", publication.title, source.label, folder)
            return Obtained(fetched, folder, source.label)
        tried.append(f"{source.label}: {problems(fetched)}")
    raise DataError(_nothing_worked(publication, folder, tried))


def _place(files: Sequence[StoredFile], folder: Path, label: str) -> None:
    try:
        for file in files:
            paths.write_bytes(folder / file.name, file.content)
        paths.write_text(folder / ORIGIN_FILE, f"fetched from {label}\n")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: cannot be written ({error.strerror or error}). Free some space or give access, or set the "
        "environment variable HARNESS_CACHE to a folder that can be written."
    )


def _nothing_worked(publication: Publication, folder: Path, tried: Sequence[str]) -> str:
    return "\n".join((
        f"{publication.title}: no place has the files. Tried in this order:",
        *(f"  - {attempt}" for attempt in tried),
        "Make one of these work and repeat the command, or put these four files, raw or as .gz,",
        *(f"  - {name}" for name in FILES),
        f"into {folder}, or into any folder that is then named with dataset.directory=FOLDER.",
    ))  # fmt: skip


@contextmanager
def _locked(folder: Path, publication: Publication, seconds: float) -> Iterator[None]:
    """One process at a time. The operating system frees the lock when its holder ends, however it ends."""
    from filelock import FileLock, Timeout

    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        with paths.named_by_the_user():
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("%s: waiting for another process that is downloading it", publication.title)
                lock.acquire(timeout=seconds)
    except Timeout:
        raise DataError(
            f"{publication.title}: another process has held {path} for {seconds:g} s. Wait for it or stop it, then "
            "repeat the command."
        ) from None
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _origin(folder: Path) -> str:
    try:
        return (folder / ORIGIN_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "placed there manually"


def summary(publication: Publication, root: Path | None = None) -> tuple[str, Path]:
    """What the cache seems to have of a dataset, by the sizes of the files alone, and the folder."""
    folder = (default_root() if root is None else root) / publication.name
    sizes = {name: (folder / name).stat().st_size for name in FILES if (folder / name).is_file()}
    packed = [name for name in FILES if name not in sizes and (folder / f"{name}.gz").is_file()]
    if not sizes and not packed:
        return "not fetched", folder
    if wrong := [name for name, size in sizes.items() if size != publication.bytes_by_file[name]]:
        return f"damaged ({len(wrong)} of {len(FILES)} files)", folder
    if absent := len(FILES) - len(sizes) - len(packed):
        return f"incomplete ({absent} of {len(FILES)} files missing)", folder
    return "in the cache", folder
