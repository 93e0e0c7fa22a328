"""A folder of pictures: `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*` and a stratified split by `dataset.test_seed`.

The headers of all pictures are read first, so that a wrong one is found in seconds. The decoded pictures are kept in
the cache (`image_cache.py`) under the names, sizes and times of the files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import __version__

from harness.config.schema import DatasetConfig
from harness.data import image_cache
from harness.data.arrays import assembled, check_memory, label_type
from harness.data.pictures import picture_bytes, picture_header, scaled_picture
from harness.data.splits import stratified_sample
from harness.errors import DataError, UnusableData
from harness.machine import available_cpus
from harness.records import Dataset, IntArray, Split, UInt8Array
from harness.terminal import counting

logger = logging.getLogger(__name__)

TRAIN, TEST = "train", "test"
_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What systems put beside pictures; names that begin with a dot are left out too."""
_FORM = 1
"""Of what is in the cache; a change of how pictures are decoded needs another."""
_FAULTS = 5


class PictureFile(NamedTuple):
    """A picture in the folder: its path from there, the split (empty with one level of folders) and class by the names
    of its folders, and what tells whether it has changed."""

    path: str
    split: str
    class_name: str
    state: tuple[int, int, int]


@dataclass(frozen=True)
class Listing:
    """The pictures of a `folder`, those of training first, in an order that mixes the classes and that no other picture
    changes, so that the first of them are a fair sample; the names of its `classes`; whether it has `two_levels`."""

    folder: Path
    files: tuple[PictureFile, ...]
    classes: tuple[str, ...]
    two_levels: bool

    def digest(self, *settings: Any) -> str:
        """Hex digits that change with the files and these settings."""
        content = json.dumps([_FORM, __version__, str(self.folder), self.files, settings], default=str)
        return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:32]


def list_pictures(folder: Path) -> Listing:
    """The pictures in a folder; none is opened. Links are followed as long as they stay in the folder. Raises
    `UnusableData` for a folder without two classes, for an empty class, and for a file that is none."""
    if not folder.is_dir():
        what = "that is no folder" if folder.exists() else "there is no such folder"
        raise UnusableData(f"dataset.directory={folder}: {what}.")
    try:
        top = _subfolders(folder)
        two_levels = TRAIN in top and (TEST in top or bool(_subfolders(top[TRAIN])))
        if two_levels and TEST not in top:
            raise UnusableData(
                f"{folder}: has a folder {TRAIN} with classes, and no folder {TEST} beside it. Add {TEST}/CLASS/ with "
                f"other pictures, or split the first: dataset.directory={folder / TRAIN}."
            )
        if two_levels and (others := sorted(set(top) - {TRAIN, TEST})):
            logger.warning("%s: %s is not used; only %s and %s are.", folder, ", ".join(others), TRAIN, TEST)
        found: dict[tuple[str, str], list[PictureFile]] = {}
        for split in (TRAIN, TEST) if two_levels else ("",):
            for name, place in (_subfolders(top[split]) if split else top).items():
                listed = _files(folder.resolve(), place, f"{split}/{name}" if split else name)
                found[split, name] = [PictureFile(path, split, name, state) for path, state in listed]
    except OSError as error:
        raise UnusableData(f"{error.filename or folder}: cannot be read ({error.strerror or error}).") from error
    classes = sorted(name for split, name in found if split != TEST)
    if len(classes) < 2:
        raise UnusableData(
            f"{folder}: has {'no folder' if not classes else 'one folder (' + classes[0] + ')'} of pictures of a "
            f"class. It must have {TRAIN}/CLASS/ and {TEST}/CLASS/, or CLASS/, a folder for each of at least two "
            "classes."
        )
    for (split, name), files in found.items():
        if split == TEST and name not in classes:
            raise UnusableData(f"{top[TEST] / name}: {TRAIN} has no class {name}, so no model can learn it.")
        if not files and split != TEST:
            raise UnusableData(
                f"{(top[split] if split else folder) / name}: there are no pictures in it. Add some, or remove it."
            )
    if two_levels and not any(files for (split, _), files in found.items() if split == TEST):
        raise UnusableData(f"{top[TEST]}: there are no pictures of a class in it.")
    every = sorted((file for files in found.values() for file in files), key=_place)
    return Listing(folder, tuple(every), tuple(classes), two_levels)


def _place(file: PictureFile) -> tuple[bool, bytes]:
    return file.split == TEST, hashlib.blake2b(os.fsencode(file.path), digest_size=16).digest()


def read_image_folder(config: DatasetConfig, listing: Listing) -> Dataset:
    """The pictures in the folder as images of one size (h, w), or (h, w, 3) with colours; see `docs/datasets.md`.

    Raises `UnusableData`, which names the files, for what is no picture, has another size where `dataset.image_size` is
    null, or takes more memory than there is; and for a class of one picture that cannot be split.
    """
    classes = _ordered(listing, config.class_names)
    labels = np.array([classes.index(name) for name in classes], label_type(len(classes)))
    number = dict(zip(classes, labels, strict=True))
    labels = np.array([number[file.class_name] for file in listing.files], label_type(len(classes)))
    if listing.two_levels:
        in_test = np.array([file.split == TEST for file in listing.files])
        parts = np.flatnonzero(~in_test), np.flatnonzero(in_test)
    else:
        parts = _split(listing, labels, classes, config.test_fraction, config.test_seed)
    key = listing.digest(config.image_size, config.colour)
    images = image_cache.obtain(listing.folder, key, lambda: _decode_all(listing, config.image_size, config.colour))
    train, test = (Split(_part(images, which), labels[which]) for which in parts)
    return assembled(config.name, f"the folder {listing.folder}", train, test, classes)


def _part(images: UInt8Array, which: IntArray) -> UInt8Array:
    """`which` images; without a copy where they follow each other."""
    if which[-1] - which[0] + 1 == len(which):
        return images[which[0] : which[-1] + 1]
    return images[which]


def _ordered(listing: Listing, class_names: Sequence[str] | None) -> list[str]:
    if class_names is None:
        return list(listing.classes)
    if sorted(class_names) != list(listing.classes):
        raise UnusableData(
            f"dataset.class_names={list(class_names)}: the folders of {listing.folder} are "
            f"{', '.join(listing.classes[:20])}. Give the same names in the order that you want, or leave it out."
        )
    return list(class_names)


def _split(
    listing: Listing, labels: Any, classes: Sequence[str], fraction: float, seed: int
) -> tuple[IntArray, IntArray]:
    counts = np.bincount(labels)
    if (alone := np.flatnonzero(counts < 2)).size:
        raise UnusableData(
            f"{listing.folder / classes[alone[0]]}: has one picture, which cannot be in both the training and the test "
            f"images ({len(alone):,} of {len(classes):,} classes have one). Add pictures, or make the folders {TRAIN} "
            f"and {TEST}."
        )
    size = min(max(1, round(len(labels) * fraction)), len(labels) - len(classes))
    test = stratified_sample(labels, size, seed)
    taken = np.bincount(labels[test], minlength=len(classes))
    if (whole := np.flatnonzero(taken == counts)).size:
        raise UnusableData(
            f"dataset.test_fraction={fraction}: leaves the class {classes[whole[0]]} ({counts[whole[0]]} pictures) "
            "without training images. Use less."
        )
    return np.setdiff1d(np.arange(len(labels)), test, assume_unique=True), test


def _subfolders(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        return {entry.name: Path(entry.path) for entry in sorted(entries, key=lambda entry: entry.name)
                if entry.is_dir() and not _is_ignored(entry.name)}  # fmt: skip


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _files(root: Path, folder: Path, path: str, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """The files below a folder, by their path from the root."""
    real = os.path.realpath(folder)
    if not Path(real).is_relative_to(root) or real in above:
        where = f"a folder that it is in ({real})" if real in above else f"{real}, outside {root}"
        raise UnusableData(f"{folder}: is a link to {where}, which is not followed. Put a copy in its place (cp -rL).")
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_ignored(entry.name):
                continue
            if entry.is_dir():
                yield from _files(root, Path(entry.path), f"{path}/{entry.name}", above | {real})
                continue
            if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
                raise UnusableData(
                    f"{entry.path}: is a link to a file outside {root}, which is not followed. Put a copy in its place."
                )
            try:
                found = entry.stat()
            except FileNotFoundError:
                raise UnusableData(f"{entry.path}: is a link to a file that is not there.") from None
            if not stat.S_ISREG(found.st_mode):
                raise UnusableData(f"{entry.path}: is no regular file, so it is not read.")
            yield f"{path}/{entry.name}", (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _decode_all(listing: Listing, size: Sequence[int] | None, colour: str | None) -> UInt8Array:
    """Every picture, (n, h, w) or (n, h, w, 3)."""
    files = [listing.folder / file.path for file in listing.files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow finds odd about a file that it can read
        with counting(f"Looking at the pictures of {listing.folder.name}", len(files)) as advance:
            headers = _for_each(files, lambda number: _header(files[number]), advance)
        shape = tuple(size) if size is not None else _common_size(files, [header[:2] for header in headers])
        colour = colour or ("grey" if all(is_grey for _, _, is_grey in headers) else "rgb")
        full = shape if colour == "grey" else (*shape, 3)
        check_memory(str(listing.folder), len(files) * int(np.prod(full)))
        images = np.empty((len(files), *full), np.uint8)

        def decode(number: int) -> None:
            images[number] = scaled_picture(files[number], shape, colour)

        with counting(f"Reading the pictures of {listing.folder.name}", len(files)) as advance:
            _for_each(files, decode, advance)
    return images


def _for_each(files: Sequence[Path], work: Callable[[int], Any], advance: Callable[[], None]) -> list[Any]:
    """What `work` answers for the number of each file, by as many threads as there are processors. Raises
    `UnusableData` with the first faults."""
    faults: list[str] = []
    answers: list[Any] = []

    def attempt(number: int) -> Any:
        try:
            return work(number)
        except DataError as error:
            return f"{files[number]}: {error}."

    step = 64 * available_cpus()
    with ThreadPoolExecutor(available_cpus()) as pool:
        for start in range(0, len(files), step):
            for answer in pool.map(attempt, range(start, min(start + step, len(files)))):
                advance()
                (faults if isinstance(answer, str) else answers).append(answer)
            if len(faults) >= _FAULTS:
                break
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:_FAULTS])
        more = f"\n  and at least {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
        raise UnusableData(f"Pictures that cannot be used. Repair them, or move them away:\n{shown}{more}")
    return answers


def _header(file: Path) -> tuple[int, int, bool]:
    return picture_header(picture_bytes(file), file.suffix)


def _common_size(files: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise UnusableData(
                f"{file}: has {size[0]} x {size[1]} pixels (height x width), and {files[0]} has {sizes[0][0]} x "
                f"{sizes[0][1]}. Set dataset.image_size=[HEIGHT,WIDTH]: every picture is then scaled to it."
            )
    return sizes[0]
