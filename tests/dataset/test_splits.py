from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.schema import DatasetConfig, ValidationConfig
from harness.data.splits import largest_remainder, split_dataset, stratified_sample, stratified_subset
from harness.errors import ConfigError
from harness.records import Dataset, Split

UNHURRIED = settings(deadline=None)  # the machine may be busy
SEEDS = st.integers(0, 2**32)
LABELS = st.lists(st.integers(0, 9), min_size=2, max_size=150)
SKEWED = st.lists(st.integers(0, 200), min_size=2, max_size=10).filter(lambda counts: sum(counts) >= 2)
HELD_OUT = st.sampled_from(["first", "random", "stratified"])


def dataset(labels: Sequence[int]) -> Dataset:
    """Every image carries its own number in its first two pixels, so that it can be found again."""
    size = len(labels)
    images = np.zeros((size, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(size) // 256, np.arange(size) % 256
    split = Split(images, np.asarray(labels, np.uint8))
    return Dataset("fashion_mnist", tuple("0123456789"), split, split, digest="", source="made here")


def numbers(split: Split | None) -> list[int]:
    if split is None:
        return []
    return (split.images[:, 0, 0].astype(int) * 256 + split.images[:, 0, 1]).tolist()


@UNHURRIED
@given(LABELS, HELD_OUT, SEEDS, st.data())
def test_training_and_validation_images_are_disjoint_and_together_all(
    labels: list[int], strategy: str, seed: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(labels) - 1))
    splits = split_dataset(dataset(labels), DatasetConfig(), ValidationConfig(strategy, size, seed))
    train, held_out = numbers(splits.train), numbers(splits.validation)
    assert len(held_out) == size
    assert sorted(train + held_out) == list(range(len(labels)))
    assert train == sorted(train)
    assert [labels[number] for number in held_out] == splits.validation.labels.tolist()  # type: ignore[union-attr]
    assert [labels[number] for number in train] == splits.train.labels.tolist()


@UNHURRIED
@given(LABELS, HELD_OUT, SEEDS)
def test_every_split_is_contiguous_unsigned_bytes(labels: list[int], strategy: str, seed: int) -> None:
    config = DatasetConfig(train_size=1, test_size=1, seed=seed)
    for _, split in split_dataset(dataset(labels), config, ValidationConfig(strategy, 1, seed)).named():
        for array in (split.images, split.labels):
            assert array.flags.c_contiguous
            assert array.dtype == np.uint8
        assert split.images.shape == (len(split), 28, 28)


def test_without_validation_every_image_is_trained_on() -> None:
    splits = split_dataset(dataset(range(10)), DatasetConfig(), ValidationConfig("none", size=10**9))
    assert splits.validation is None
    assert numbers(splits.train) == numbers(splits.test) == list(range(10))


def test_the_first_images_are_the_first_ones() -> None:
    splits = split_dataset(dataset([0] * 9), DatasetConfig(test_size=2), ValidationConfig("first", 4))
    assert (numbers(splits.validation), numbers(splits.train)) == ([0, 1, 2, 3], [4, 5, 6, 7, 8])
    assert numbers(splits.test) == [0, 1]


@pytest.mark.parametrize("strategy", ["random", "stratified"])
def test_the_seed_decides_which_images_are_held_out(strategy: str) -> None:
    def held_out(seed: int) -> list[int]:
        validation = ValidationConfig(strategy, 40, seed)
        return numbers(split_dataset(dataset([i % 10 for i in range(400)]), DatasetConfig(), validation).validation)

    assert held_out(3) == held_out(3)
    assert held_out(3) != held_out(4)


def test_which_images_a_seed_draws_is_the_same_today_and_tomorrow() -> None:
    labels = np.arange(50, dtype=np.uint8) % 10
    assert stratified_sample(labels, 10, seed=0).tolist() == [1, 2, 4, 18, 19, 20, 23, 36, 45, 47]
    assert stratified_subset(labels, 5, seed=0).tolist() == [1, 2, 4, 20, 23]


@UNHURRIED
@given(SKEWED, st.data(), SEEDS)
def test_a_stratified_sample_has_exactly_n_images_in_proportion(
    counts: list[int], data: st.DataObject, seed: int
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts), dtype=np.uint8), counts))
    size = data.draw(st.integers(1, len(labels)))
    chosen = stratified_sample(labels, size, seed)
    assert len(set(chosen.tolist())) == len(chosen) == size
    drawn = np.bincount(labels[chosen], minlength=len(counts))
    assert np.all(np.abs(drawn - np.array(counts) * size / len(labels)) < 1)


def test_the_largest_remainders_get_what_is_left() -> None:
    # 7 of (10, 21, 9, 30): proportional are 1.0, 2.1, 0.9 and 3.0.
    assert largest_remainder(np.array([10, 21, 9, 30]), 7).tolist() == [1, 2, 1, 3]
    assert largest_remainder(np.array([5, 5, 5]), 2).tolist() == [1, 1, 0]


@UNHURRIED
@given(SKEWED, SEEDS)
def test_subsets_are_nested_and_within_one_image_of_proportional(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts), dtype=np.uint8), counts))
    smaller: set[int] = set()
    for size in sorted({1, 2, len(labels) // 3, len(labels) // 2, len(labels) - 1, len(labels)} - {0}):
        chosen = stratified_subset(labels, size, seed)
        assert len(set(chosen.tolist())) == size
        assert smaller <= set(chosen.tolist())
        drawn = np.bincount(labels[chosen], minlength=len(counts))
        assert np.all(np.abs(drawn - np.array(counts) * size / len(labels)) < 1)
        smaller = set(chosen.tolist())


def test_every_size_of_a_very_uneven_dataset_is_balanced() -> None:
    # One large class and nine small ones is where rounding class by class drifts by several images.
    counts = np.array([91, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    for size in range(1, 101):
        drawn = np.bincount(labels[stratified_subset(labels, size, 0)], minlength=10)
        assert np.all(np.abs(drawn - counts * size / 100) < 1), size


@UNHURRIED
@given(LABELS, HELD_OUT, SEEDS, SEEDS, st.data())
def test_training_sets_of_every_size_are_nested_beside_the_same_validation_images(
    labels: list[int], strategy: str, seed: int, drawn: int, data: st.DataObject
) -> None:
    validation = ValidationConfig(strategy, data.draw(st.integers(1, len(labels) - 1)), seed)
    whole = split_dataset(dataset(labels), DatasetConfig(), validation)
    pool = np.bincount(whole.train.labels, minlength=10)
    smaller: set[int] = set()
    for size in sorted({1, len(whole.train) // 2, len(whole.train)} - {0}):
        splits = split_dataset(dataset(labels), DatasetConfig(train_size=size, seed=drawn), validation)
        assert numbers(splits.validation) == numbers(whole.validation)
        assert smaller <= set(numbers(splits.train)) <= set(numbers(whole.train))
        classes = np.bincount(splits.train.labels, minlength=10)
        assert np.all(np.abs(classes - pool * size / len(whole.train)) < 1)
        smaller = set(numbers(splits.train))


@pytest.mark.parametrize(
    ("config", "validation", "words"),
    [
        (DatasetConfig(train_size=21), ValidationConfig(), ["dataset.train_size=21", "20 training images"]),
        (DatasetConfig(train_size=11), ValidationConfig("first", 10), ["train_size=11", "at most 10", "10 of 20"]),
        (DatasetConfig(test_size=21), ValidationConfig(), ["dataset.test_size=21", "at most 20", "null"]),
        (DatasetConfig(), ValidationConfig("random", 20), ["validation.size=20", "at most 19", "strategy=none"]),
        (DatasetConfig(), ValidationConfig("stratifed", 1), ["strategy=stratifed", "Did you mean 'stratified'"]),
    ],
)
def test_a_size_too_large_is_refused_with_value_limit_and_remedy(
    config: DatasetConfig, validation: ValidationConfig, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        split_dataset(dataset([i % 10 for i in range(20)]), config, validation)
    for word in words:
        assert word in str(refusal.value)
