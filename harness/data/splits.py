"""Which images a run trains on, chooses by and is judged by. Seeded with NumPy's `default_rng`; images keep the order
in which they were published, so shuffling is left to training."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import numpy as np

from harness.config import DatasetConfig, ValidationConfig
from harness.errors import ConfigError, suggestion
from harness.records import Dataset, IntArray, Split, Splits, UInt8Array


def split_dataset(dataset: Dataset, config: DatasetConfig, validation: ValidationConfig) -> Splits:
    """Hold out the validation images, then keep `config.train_size` of the rest and the first `config.test_size` test
    images. Raises `ConfigError` for a size that the dataset does not have."""
    train, held_out = _hold_out(dataset.train, validation)
    if config.train_size is not None:
        if config.train_size > len(train):
            kept_back = "" if held_out is None else f" ({len(held_out):,} of {len(dataset.train):,} are for validation)"
            raise ConfigError(
                f"dataset.train_size={config.train_size}: {dataset.name} has {len(train):,} training images"
                f"{kept_back}. Set it to at most {len(train)}, or to null for all of them."
            )
        train = _select(train, stratified_subset(train.labels, config.train_size, config.seed))
    test = dataset.test
    if config.test_size is not None:
        if config.test_size > len(test):
            raise ConfigError(
                f"dataset.test_size={config.test_size}: {dataset.name} has {len(test):,} test images. Set it to at "
                f"most {len(test)}, or to null for all of them."
            )
        test = _select(test, slice(config.test_size))
    return Splits(train, held_out, test)


def _hold_out(train: Split, validation: ValidationConfig) -> tuple[Split, Split | None]:
    if validation.strategy == "none":
        return train, None
    if validation.strategy not in _CHOOSERS:
        choices = ("none", *_CHOOSERS)
        raise ConfigError(
            f"regime.validation.strategy={validation.strategy}: must be one of {', '.join(choices)}."
            f"{suggestion(validation.strategy, choices)}"
        )
    if validation.size >= len(train):
        raise ConfigError(
            f"regime.validation.size={validation.size}: there are {len(train):,} training images and at least one must "
            f"be left to train on. Set it to at most {len(train) - 1}, or set regime.validation.strategy=none."
        )
    chosen = _CHOOSERS[validation.strategy](train.labels, validation.size, validation.seed)
    rest = np.ones(len(train), dtype=bool)
    rest[chosen] = False
    return _select(train, np.flatnonzero(rest)), _select(train, chosen)


def _select(split: Split, which: IntArray | slice) -> Split:
    images, labels = np.ascontiguousarray(split.images[which]), np.ascontiguousarray(split.labels[which])
    images.flags.writeable = labels.flags.writeable = False  # runs share them
    return Split(images, labels)


def _first(labels: UInt8Array, size: int, seed: int) -> IntArray:
    return np.arange(size)


def _random(labels: UInt8Array, size: int, seed: int) -> IntArray:
    return np.sort(np.random.default_rng(seed).choice(len(labels), size, replace=False))


def stratified_sample(labels: UInt8Array, size: int, seed: int) -> IntArray:
    """`size` indices in ascending order, classes in the proportion that they have in `labels` (largest remainder)."""
    return _first_of_each_class(labels, largest_remainder(np.bincount(labels), size), seed)


def largest_remainder(counts: IntArray, size: int) -> IntArray:
    """Divide `size` in proportion to `counts`: the whole part to each, then one more to the largest remainders (the
    lower class first in a tie). `size` is at most the sum of `counts`."""
    whole, remainder = np.divmod(counts * size, counts.sum())
    order = np.argsort(-remainder, kind="stable")
    whole[order[: size - whole.sum()]] += 1
    return whole


def stratified_subset(labels: UInt8Array, size: int, seed: int) -> IntArray:
    """`size` indices in ascending order; less than one image off proportional in each class; for one seed a smaller
    subset is part of every larger one. `size` is at most the number of labels.

    A fixed order of classes of which every beginning is that well balanced: image j (from 0) of a class of m among N
    must come after place floor(jN / m) and by place ceil((j + 1)N / m), and taking the earliest deadline first meets
    them all (Baruah, Cohen, Plaxton and Varvel, "Proportionate progress", Algorithmica 15, 1996).
    """
    counts = np.bincount(labels)
    taken = np.zeros_like(counts)
    total = len(labels)
    waiting = [(0, label) for label in np.flatnonzero(counts).tolist()]  # (place after which it may come, class)
    due: list[tuple[int, int]] = []  # (place by which it must come, class)
    for place in range(size):
        while waiting and waiting[0][0] <= place:
            _, label = heapq.heappop(waiting)
            heapq.heappush(due, (-(-(int(taken[label]) + 1) * total // int(counts[label])), label))
        _, label = heapq.heappop(due)
        taken[label] += 1
        if taken[label] < counts[label]:
            heapq.heappush(waiting, (int(taken[label]) * total // int(counts[label]), label))
    return _first_of_each_class(labels, taken, seed)


def _first_of_each_class(labels: UInt8Array, counts: IntArray, seed: int) -> IntArray:
    """The indices of the first `counts[c]` images of each class c in a shuffled order of all images, ascending."""
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    chosen = [order[np.flatnonzero(shuffled == label)[:count]] for label, count in enumerate(counts)]
    return np.sort(np.concatenate(chosen))


_CHOOSERS: Mapping[str, Callable[[UInt8Array, int, int], IntArray]] = {
    "first": _first,
    "random": _random,
    "stratified": stratified_sample,
}
