"""Folders with variants of a dataset: other images with its name, and their own sums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.data import PUBLICATIONS, idx, loading
from harness.data.catalogue import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from harness.data.folder import SUMS_FILE
from harness.records import DatasetSpec, Split

CLOTHES = DatasetSpec("fashion_mnist", (28, 28), PUBLICATIONS["fashion_mnist"].class_names, {})
"""The shape and classes of Fashion-MNIST, for tests that need nothing else."""


def write_variant(folder: Path, train: Split, test: Split) -> str:
    """Write these images into the new folder `folder`. Returns the setting that names it."""
    folder.mkdir()
    contents = {
        TRAIN_IMAGES: train.images, TRAIN_LABELS: train.labels, TEST_IMAGES: test.images, TEST_LABELS: test.labels,
    }  # fmt: skip
    lines = []
    for name, array in contents.items():
        raw = idx.encode(array)
        (folder / name).write_bytes(raw)
        lines.append(f"{hashlib.sha256(raw).hexdigest()}  {name}\n")
    (folder / SUMS_FILE).write_text("".join(lines))
    return f"dataset.directory={folder}"


def part(split: Split, start: int, stop: int) -> Split:
    """The images from `start` up to, but not including, `stop`."""
    return Split(split.images[start:stop], split.labels[start:stop])


def joined(*splits: Split) -> Split:
    """The images of several splits, concatenated."""
    return Split(np.concatenate([each.images for each in splits]), np.concatenate([each.labels for each in splits]))


def forget_data() -> None:
    """Clear the cache of datasets, because a process does not notice that the files have changed."""
    loading._load.cache_clear()
    loading._splits.clear()
