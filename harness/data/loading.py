"""From the configuration to a dataset in memory, and to its splits."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

from harness.config.schema import PUBLISHED_SOURCE, DatasetConfig, ValidationConfig
from harness.data import cache, idx
from harness.data.catalogue import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Publication,
    digest,
    publication,
)
from harness.data.folder import SUMS_FILE, StoredFile, complete, demanded_sums, examine, locate, problems
from harness.data.own import facts_of, load_own
from harness.data.splits import check_sizes, split_dataset
from harness.errors import ConfigError, DataError
from harness.records import Dataset, Split, Splits, UInt8Array

logger = logging.getLogger(__name__)


def load_dataset(config: DatasetConfig) -> Dataset:
    """The dataset that the configuration names, whole and untouched; read once a process.

    A published one is read from `config.directory` if that is set, and from nowhere else then; otherwise from the
    cache, which fetches what it lacks. Data of one's own is read again where its files have changed. The arrays are
    read-only. Raises `RequestError` for an unknown name, `DataError` if the files of a published dataset cannot be had
    or are not what their SHA-256 sums say, and `UnusableData` for data of one's own that cannot be trained on.
    """
    if config.source == PUBLISHED_SOURCE:
        return _load(config.name, _named_folder(config), cache.default_root())
    return load_own(config)


def dataset_digest(config: DatasetConfig) -> str:
    """The digest of the dataset that `load_dataset` would return; nothing is fetched for it. Raises as that does."""
    if config.source != PUBLISHED_SOURCE:
        return facts_of(config).digest
    if _named_folder(config) is None:
        return digest(publication(config.name).sums)
    return load_dataset(config).digest


def image_shape(config: DatasetConfig) -> tuple[int, ...]:
    """The shape of an image of the dataset; a published one is not loaded for it. Raises as `load_dataset`."""
    if config.source == PUBLISHED_SOURCE:
        return publication(config.name).image_shape
    return facts_of(config).image_shape


def load_splits(config: DatasetConfig, validation: ValidationConfig) -> tuple[Dataset, Splits]:
    """The dataset, and what a run trains on, chooses by and is evaluated on.

    Runs of one process that ask for the same are given the same arrays, so that what is derived from them (digests,
    copies on a device) is made once. They are read-only; the last four that were asked for are kept. Raises what
    `load_dataset` and `split_dataset` raise.
    """
    dataset = load_dataset(config)
    key = repr((dataset.digest, id(dataset), astuple(config), astuple(validation)))
    if key not in _splits:
        while len(_splits) >= _KEPT:
            del _splits[next(iter(_splits))]
        _splits[key] = dataset, split_dataset(dataset, config, validation)
    _splits[key] = _splits.pop(key)  # the last that was asked for
    return _splits[key]


def check_data(config: DatasetConfig, validation: ValidationConfig) -> None:
    """Raise what `load_splits` would; the dataset is read, but nothing is split."""
    check_sizes(load_dataset(config), config, validation)


_KEPT = 4
_splits: dict[str, tuple[Dataset, Splits]] = {}


def _named_folder(config: DatasetConfig) -> Path | None:
    if config.directory is None:
        return None
    if not config.directory.strip():
        raise ConfigError(
            "dataset.directory='' names no folder. Name one that holds the four files of the dataset, or set "
            "dataset.directory=null to use the cache and the network."
        )
    return Path(config.directory).expanduser().resolve()


@lru_cache(maxsize=4)
def _load(name: str, directory: Path | None, cache_root: Path) -> Dataset:
    published = publication(name)
    if directory is None:
        obtained = cache.obtain(published, cache_root)
        return _assemble(published, obtained.files, digest(published.sums), obtained.source)
    folder = locate(directory, published)
    sums = demanded_sums(folder, published)
    files = examine(folder, sums)
    if not complete(files):
        raise DataError(
            f"dataset.directory={directory}: {folder} does not hold {published.title}: {problems(files)}. The files "
            "{}, raw or as .gz, must match {}. Repair the folder, or set dataset.directory=null to use the cache and "
            "the network.".format(
                ", ".join(published.sums),
                "the published SHA-256 sums" if sums is published.sums else f"its {SUMS_FILE}",
            )
        )
    if dict(sums) == dict(published.sums):
        return _assemble(published, files, digest(sums), f"the folder {folder}")
    logger.warning(
        "%s is a variant with its own checksums (%s), not the published %s: its results cannot be compared with "
        "published ones",
        folder,
        SUMS_FILE,
        published.title,
    )
    return _assemble(published, files, digest(sums), f"the folder {folder} (a variant, not the published dataset)")


def _assemble(published: Publication, files: Iterable[StoredFile], files_digest: str, source: str) -> Dataset:
    content = {file.name: file.content for file in files}
    return Dataset(
        name=published.name,
        class_names=published.class_names,
        train=_split(content, TRAIN_IMAGES, TRAIN_LABELS, published),
        test=_split(content, TEST_IMAGES, TEST_LABELS, published),
        digest=files_digest,
        source=source,
    )


def _split(content: dict[str, bytes], images_file: str, labels_file: str, published: Publication) -> Split:
    images, labels = _decode(content, images_file, 3), _decode(content, labels_file, 1)
    if images.shape[1:] != published.image_shape:
        found, wanted = (" x ".join(map(str, shape)) for shape in (images.shape[1:], published.image_shape))
        raise DataError(f"{images_file}: images of {found}; they must be {wanted} pixels")
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{images_file} holds {len(images):,} images and {labels_file} {len(labels):,} labels; there must be as "
            "many of each, and at least one"
        )
    if labels.max() >= (classes := len(published.class_names)):
        raise DataError(f"{labels_file}: label {labels.max()}; labels must be 0 to {classes - 1}")
    return Split(images, labels)


def _decode(content: dict[str, bytes], name: str, dimensions: int) -> UInt8Array:
    try:
        return idx.decode(content[name], dimensions)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
