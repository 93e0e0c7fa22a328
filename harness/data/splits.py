"""Which images a run trains on, chooses by and is evaluated on. Seeded with NumPy's `default_rng`;
images keep the order in which they were published, so shuffling is left to training."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.config.schema import DatasetConfig, ValidationConfig
from harness.data.label_noise import replace_labels
from harness.errors import ConfigError, suggestion
from harness.records import Dataset, IntArray, LabelArray, ReplacedLabels, Split, Splits

logger = logging.getLogger(__name__)


def split_dataset(dataset: Dataset, config: DatasetConfig, validation: ValidationConfig) -> Splits:
    """Hold out the validation images, keep `config.train_size` of the rest and the first `config.test_size` test
    images, and replace `config.label_noise` of the training labels.

    In this order, so that neither the size nor the noise changes which images are held out, nor their labels.
    Raises `ConfigError` for a size that the dataset does not have.
    """
    check_sizes(dataset, config, validation)
    published = dataset.train
    held_out = _held_out(published, validation)
    rest = np.setdiff1d(np.arange(len(published)), held_out, assume_unique=True)
    chosen, replaced = rest, None
    if config.train_size is not None or config.label_noise:
        order = rest[stratified_order(published.labels[rest], config.train_size or len(rest), config.seed)]
        chosen = np.sort(order)
        if config.label_noise:
            replaced = replace_labels(
                published.labels, order, config.label_noise, len(dataset.class_names), config.seed
            )
    train = _select(published, chosen)
    if replaced is not None:
        train = Split(train.images, _relabelled(train.labels, chosen, replaced))
    validated = _select(published, held_out) if len(held_out) else None
    _warn_of_classes(dataset, config, validation, chosen)
    test = _select(dataset.test, np.arange(config.test_size or len(dataset.test)))
    for words, split, source in (
        (f"dataset.test_size={config.test_size}", test, dataset.test),
        (f"regime.validation.strategy=first, size={validation.size}", validated, published),
    ):
        _warn_of_order(words, split, source)
    digests = {"train": train.digest, "test": test.digest} | ({"val": validated.digest} if validated else {})
    spec = replace(dataset.spec, digests=digests)
    return Splits(spec, train, validated, test, replaced)


def _warn_of_classes(dataset: Dataset, config: DatasetConfig, validation: ValidationConfig, chosen: IntArray) -> None:
    """Say which classes a split cannot give what it should: with thousands of them some have few images."""
    names, labels = dataset.class_names, dataset.train.labels
    counts = np.bincount(labels, minlength=len(names))
    if validation.strategy == "stratified" and (alone := [names[label] for label in np.flatnonzero(counts == 1)]):
        logger.warning(
            "regime.validation.strategy=stratified: %s one training image, which cannot be in both splits.",
            _listed(alone),
        )
    left = np.bincount(labels[chosen], minlength=len(names))
    if absent := [names[label] for label in np.flatnonzero((left == 0) & (counts > 0))]:
        logger.warning(
            "%s no image to train on: dataset.train_size=%s is small, or the validation split has them all.",
            _listed(absent), config.train_size,
        )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    few = ", ".join(names[:3]) + ("" if len(names) <= 3 else ", ...")
    return f"the class {few} has" if len(names) == 1 else f"{len(names):,} classes ({few}) have"


def _warn_of_order(words: str, split: Split | None, source: Split) -> None:
    """Of images that lie in the order of their classes the first ones are no fair sample."""
    if split is None or len(split) == len(source) or not np.array_equal(split.labels, source.labels[: len(split)]):
        return
    has, had = len(np.unique(split.labels)), len(np.unique(source.labels))
    if has < min(had, len(split)) / 2:
        logger.warning(
            "%s: the first %s images have %d of %d classes. Are they in the order of their classes? Shuffle them.",
            words, f"{len(split):,}", has, had,
        )  # fmt: skip


def check_sizes(dataset: Dataset, config: DatasetConfig, validation: ValidationConfig) -> None:
    """Raise `ConfigError` for a split that the dataset is too small for; nothing is split."""
    published = len(dataset.train)
    held_out = 0 if validation.strategy == "none" else validation.size
    if held_out >= published:
        raise ConfigError(
            f"regime.validation.size={validation.size}: there are {published:,} training images and at least one must "
            f"be left to train on. Set it to at most {published - 1}, or set regime.validation.strategy=none."
        )
    rest = published - held_out
    if config.train_size is not None and config.train_size > rest:
        kept_back = f" ({held_out:,} of {published:,} are for validation)" if held_out else ""
        raise ConfigError(
            f"dataset.train_size={config.train_size}: {dataset.name} has {rest:,} training images"
            f"{kept_back}. Set it to at most {rest}, or to null for all of them."
        )
    if config.test_size is not None and config.test_size > len(dataset.test):
        raise ConfigError(
            f"dataset.test_size={config.test_size}: {dataset.name} has {len(dataset.test):,} test images. Set it to at "
            f"most {len(dataset.test)}, or to null for all of them."
        )


def _held_out(train: Split, validation: ValidationConfig) -> IntArray:
    """The numbers of the validation images, ascending."""
    if validation.strategy == "none":
        return np.arange(0)
    if validation.strategy not in _CHOOSERS:
        choices = ("none", *_CHOOSERS)
        raise ConfigError(
            f"regime.validation.strategy={validation.strategy}: must be one of {', '.join(choices)}."
            f"{suggestion(validation.strategy, choices)}"
        )
    return _CHOOSERS[validation.strategy](train.labels, validation.size, validation.seed)


def _select(split: Split, which: IntArray) -> Split:
    """The images `which` (ascending, no two the same); all of them are `split` itself, not a copy."""
    if len(which) == len(split):
        return split
    images, labels = split.images[which], split.labels[which]
    images.flags.writeable = labels.flags.writeable = False  # runs share them
    return Split(images, labels)


def _relabelled(labels: LabelArray, images: IntArray, replaced: ReplacedLabels) -> LabelArray:
    """`labels` of `images` (both (n,), ascending) with those that are `replaced`."""
    relabelled = labels.copy()
    relabelled[np.searchsorted(images, replaced.images)] = replaced.given
    relabelled.flags.writeable = False  # runs share them
    return relabelled


def _first(labels: LabelArray, size: int, seed: int) -> IntArray:
    return np.arange(size)


def _random(labels: LabelArray, size: int, seed: int) -> IntArray:
    return np.sort(np.random.default_rng(seed).choice(len(labels), size, replace=False))


def stratified_sample(labels: LabelArray, size: int, seed: int) -> IntArray:
    """`size` indices in ascending order, classes in the proportion that they have in `labels` (largest remainder)."""
    counts = largest_remainder(np.bincount(labels), size).tolist()
    return np.sort(np.concatenate(_first_of_each_class(labels, counts, seed)))


def largest_remainder(counts: IntArray, size: int) -> IntArray:
    """Divide `size` in proportion to `counts`: the whole part to each, then one more to the largest remainders (the
    lower class first in a tie). `size` is at most the sum of `counts`.

    A class that one more would take whole comes last: if its images are held out, none is left to train on."""
    whole, remainder = np.divmod(counts * size, counts.sum())
    order = np.lexsort((-remainder, whole + 1 >= counts, remainder == 0))
    whole[order[: size - whole.sum()]] += 1
    return whole


def stratified_subset(labels: LabelArray, size: int, seed: int) -> IntArray:
    """`size` indices in ascending order; less than one image off proportional in each class; for one seed a smaller
    subset is part of every larger one. `size` is at most the number of labels."""
    return np.sort(stratified_order(labels, size, seed))


def stratified_order(labels: LabelArray, size: int, seed: int) -> IntArray:
    """The first `size` indices of an order that the seed draws, every beginning of which has the classes in proportion.

    Image j (from 0) of a class of m among N must come after place floor(jN / m) and by place ceil((j + 1)N / m), and
    taking the earliest deadline first meets them all (Baruah, Cohen, Plaxton and Varvel, "Proportionate progress",
    Algorithmica 15, 1996).
    """
    counts = np.bincount(labels).tolist()
    taken = [0] * len(counts)
    total = len(labels)
    waiting = [(0, label) for label, count in enumerate(counts) if count]  # (place after which it may come, class)
    due: list[tuple[int, int]] = []  # (place by which it must come, class)
    classes = np.empty(size, dtype=np.int64)
    for place in range(size):
        while waiting and waiting[0][0] <= place:
            _, label = heapq.heappop(waiting)
            heapq.heappush(due, (-(-(taken[label] + 1) * total // counts[label]), label))
        _, label = heapq.heappop(due)
        classes[place] = label
        taken[label] += 1
        if taken[label] < counts[label]:
            heapq.heappush(waiting, (taken[label] * total // counts[label], label))
    order = np.empty(size, dtype=np.int64)
    for label, chosen in enumerate(_first_of_each_class(labels, taken, seed)):
        order[classes == label] = chosen
    return order


def _first_of_each_class(labels: LabelArray, counts: Sequence[int], seed: int) -> list[IntArray]:
    """For each class c the indices of its first `counts[c]` images in a shuffled order of all images."""
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    return [order[np.flatnonzero(shuffled == label)[:count]] for label, count in enumerate(counts)]


_CHOOSERS: Mapping[str, Callable[[LabelArray, int, int], IntArray]] = {
    "first": _first,
    "random": _random,
    "stratified": stratified_sample,
}
