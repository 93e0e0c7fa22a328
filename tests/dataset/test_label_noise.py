"""Which training labels are replaced, by what, and what stays as it was published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.schema import DatasetConfig, ValidationConfig
from harness.data.label_noise import replace_labels
from harness.data.splits import split_dataset, stratified_order
from harness.records import Splits
from tests.dataset.test_splits import HELD_OUT, LABELS, SEEDS, UNHURRIED, dataset, numbers

SHARES = st.floats(0, 1, exclude_max=True)
SOME = st.floats(0.001, 1, exclude_max=True)
TEN_CLASSES = [number % 10 for number in range(400)]


def splits_of(labels: list[int], validation: ValidationConfig | None = None, **settings: float) -> Splits:
    config = DatasetConfig(**settings)  # type: ignore[arg-type]
    return split_dataset(dataset(labels), config, validation or ValidationConfig())


def replacements(splits: Splits) -> dict[int, int]:
    """The wrong label of each image that has one."""
    assert splits.replaced is not None
    return dict(zip(splits.replaced.images.tolist(), splits.replaced.given.tolist(), strict=True))


@UNHURRIED
@given(LABELS, HELD_OUT, SEEDS, SHARES, st.data())
def test_only_the_labels_that_are_listed_differ_from_the_published_ones_and_each_of_them_does(
    labels: list[int], strategy: str, seed: int, share: float, data: st.DataObject
) -> None:
    held_out = data.draw(st.integers(1, len(labels) - 1))
    size = data.draw(st.integers(1, len(labels) - held_out))
    validation = ValidationConfig(strategy, held_out, seed)
    clean = splits_of(labels, validation, train_size=size, seed=seed)
    noisy = splits_of(labels, validation, train_size=size, seed=seed, label_noise=share)
    for (_, one), (_, other) in zip(clean.named(), noisy.named(), strict=True):
        assert numbers(one) == numbers(other)
    assert clean.validation.digest == noisy.validation.digest  # type: ignore[union-attr]
    assert clean.test.digest == noisy.test.digest
    given_labels = dict(zip(numbers(noisy.train), noisy.train.labels.tolist(), strict=True))
    wrong = {number: label for number, label in given_labels.items() if label != labels[number]}
    assert wrong == (replacements(noisy) if noisy.replaced else {})
    assert noisy.noisy_labels == len(wrong)
    assert (clean.train.digest != noisy.train.digest) == bool(wrong)
    if noisy.replaced is not None:
        assert noisy.replaced.published.tolist() == [labels[number] for number in noisy.replaced.images]


@UNHURRIED
@given(HELD_OUT, SEEDS, SOME, SOME, st.integers(1, 300), st.integers(1, 300))
def test_a_label_that_is_replaced_stays_so_with_more_noise_and_with_more_images(
    strategy: str, seed: int, share: float, other_share: float, size: int, other_size: int
) -> None:
    (less, more), (small, large) = sorted((share, other_share)), sorted((size, other_size))
    validation = ValidationConfig(strategy, 100, seed)

    def noisy(amount: float, images: int) -> Splits:
        return splits_of(TEN_CLASSES, validation, label_noise=amount, train_size=images, seed=seed)

    assert replacements(noisy(less, small)).items() <= replacements(noisy(more, small)).items()
    whole, part = noisy(less, large), noisy(less, small)
    kept = set(numbers(part.train))
    assert {image: label for image, label in replacements(whole).items() if image in kept} == replacements(part)


@UNHURRIED
@given(SEEDS, SHARES, st.integers(1, 400))
def test_the_share_is_met_within_a_few_labels_at_every_size(seed: int, share: float, size: int) -> None:
    splits = splits_of(TEN_CLASSES, label_noise=share, train_size=size, seed=seed)
    assert abs(splits.noisy_labels - share * size) < 4


def test_every_class_has_its_share_and_every_other_class_is_taken_equally_often() -> None:
    labels = (np.arange(60_000) % 10).astype(np.uint8)
    replaced = replace_labels(labels, stratified_order(labels, len(labels), 3), 0.3, 10, 3)
    assert np.abs(np.bincount(replaced.published) - 0.3 * 6_000).max() < 10
    steps = np.bincount((replaced.given.astype(int) - replaced.published) % 10, minlength=10)
    assert steps[0] == 0
    assert np.abs(steps[1:] - len(replaced) / 9).max() < 4 * np.sqrt(len(replaced) / 9)


def test_the_seed_draws_which_labels_are_replaced_and_by_what() -> None:
    one, same, other = (replacements(splits_of(TEN_CLASSES, label_noise=0.3, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one.keys() != other.keys()
    both = one.keys() & other.keys()
    assert [one[image] for image in both] != [other[image] for image in both]


def test_which_labels_a_seed_replaces_is_the_same_today_and_tomorrow() -> None:
    found = replacements(splits_of([number % 10 for number in range(20)], label_noise=0.2, seed=0))
    assert found == {4: 5, 7: 5, 12: 8, 17: 6}


def test_without_noise_nothing_is_listed_and_arrays_are_the_published_ones() -> None:
    published = dataset(TEN_CLASSES)
    splits = split_dataset(published, DatasetConfig(), ValidationConfig())
    assert (splits.replaced, splits.noisy_labels) == (None, 0)
    assert splits.train is published.train


def test_relabelled_arrays_cannot_be_written_to() -> None:
    splits = splits_of(TEN_CLASSES, label_noise=0.5)
    with pytest.raises(ValueError, match="read-only"):
        splits.train.labels[0] = 0
    assert splits.replaced is not None
    with pytest.raises(ValueError, match="read-only"):
        splits.replaced.given[0] = 0
