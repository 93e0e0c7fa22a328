"""Data of the user's own, by its source: read, and kept in memory as long as its files stay as they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harness.config.schema import DatasetConfig
from harness.data.arrays import RawData, make_dataset
from harness.data.idx import find_files, read_folder
from harness.data.image_folder import Listing, list_pictures, read_image_folder
from harness.data.npz import read_npz
from harness.data.python_loader import call_loader, state_of
from harness.errors import UnusableData
from harness.records import Dataset
from harness.terminal import doing


class Facts(NamedTuple):
    """The digest of a dataset, and the shape of its images."""

    digest: str
    image_shape: tuple[int, ...]


_KEPT, _KEPT_BYTES = 4, 2**28
"""Datasets that stay in memory: four, or more if they are small. A sweep may come back to each of a dozen."""
_UNLOOKED = 1.0
"""Seconds for which a folder of pictures is not listed again: planning a sweep asks for it once a job."""
_loaded: dict[str, Dataset] = {}
_facts: dict[str, Facts] = {}
_listed: dict[str, tuple[float, Listing]] = {}


def load_own(config: DatasetConfig) -> Dataset:
    """The dataset that `config` describes. Raises `UnusableData`, and `ConfigError` for a loader that is not there."""
    key, read = _ready(config)
    if key not in _loaded:
        while len(_loaded) >= _KEPT and sum(map(_size, _loaded.values())) > _KEPT_BYTES:
            del _loaded[next(iter(_loaded))]
        try:
            with doing(f"Reading {config.name}"):
                _loaded[key] = read()
        except MemoryError as error:
            raise UnusableData(f"dataset.name={config.name}: it takes more memory than there is.") from error
    _loaded[key] = _loaded.pop(key)  # the last that was asked for
    _facts[key] = Facts(_loaded[key].digest, _loaded[key].spec.image_shape)
    return _loaded[key]


def facts_of(config: DatasetConfig) -> Facts:
    """What a plan wants to know of the dataset of each job; it is read once for it. Raises as `load_own`."""
    key, _ = _ready(config)
    if key not in _facts:
        load_own(config)
    return _facts[key]


def _size(dataset: Dataset) -> int:
    return int(dataset.train.images.nbytes + dataset.test.images.nbytes)


def forget() -> None:
    """Have the next `load_own` read all data again, also what a loader returned."""
    _loaded.clear()
    _facts.clear()
    _listed.clear()


def _ready(config: DatasetConfig) -> tuple[str, Callable[[], Dataset]]:
    """What changes when the data or its settings do, and how it is read."""
    state, read = _reader(config)
    return repr((state, config.source, config.name, config.class_names)), read


def _reader(config: DatasetConfig) -> tuple[Any, Callable[[], Dataset]]:
    if config.source == "image_folder":
        listing = _listing(Path(str(config.directory)).expanduser().absolute())
        settings = (config.image_size, config.colour, config.test_fraction, config.test_seed)
        return listing.digest(settings), lambda: read_image_folder(config, listing)
    if config.source == "python":
        loader, options = str(config.loader), config.options
        return state_of(loader, options), lambda: _made(config, call_loader(loader, options))
    if config.source == "idx":
        folder = Path(str(config.directory)).expanduser().absolute()
        return _states(*find_files(folder).values()), lambda: _made(config, read_folder(folder))
    file = Path(str(config.file)).expanduser().absolute()
    return _states(file), lambda: _made(config, read_npz(file))


def _made(config: DatasetConfig, raw: RawData) -> Dataset:
    return make_dataset(config.name, raw, config.class_names)


def _states(*files: Path) -> list[tuple[str, int, int, int]]:
    try:
        found = [(file, file.stat()) for file in files]
    except FileNotFoundError as error:
        raise UnusableData(f"{error.filename}: there is no such file.") from error
    except OSError as error:
        raise UnusableData(f"{error.filename}: cannot be read ({error.strerror}).") from error
    return [(str(file), state.st_size, state.st_mtime_ns, state.st_ino) for file, state in found]


def _listing(folder: Path) -> Listing:
    seen, listing = _listed.get(str(folder), (float("-inf"), None))
    if listing is None or time.monotonic() - seen > _UNLOOKED:
        with doing(f"Listing {folder}"):
            listing = list_pictures(folder)
    _listed[str(folder)] = time.monotonic(), listing
    return listing
