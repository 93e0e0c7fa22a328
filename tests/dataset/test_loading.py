"""Runs of one process share arrays where they ask for the same, and only there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.schema import DatasetConfig, ValidationConfig
from harness.data import check_data, load_dataset, load_splits, split_dataset
from harness.errors import ConfigError

FIRST = ValidationConfig("first", 100)


@pytest.fixture
def config(subset: Path) -> DatasetConfig:
    return DatasetConfig(directory=str(subset), train_size=500)


def test_equal_settings_are_given_the_same_arrays(config: DatasetConfig) -> None:
    dataset, splits = load_splits(config, FIRST)
    again, same = load_splits(replace(config), replace(FIRST))
    assert again is dataset is load_dataset(config)
    for (_, ours), (_, theirs) in zip(splits.named(), same.named(), strict=True):
        assert ours.images is theirs.images
        assert ours.labels is theirs.labels


def test_they_are_those_that_splitting_the_dataset_gives(config: DatasetConfig) -> None:
    _, splits = load_splits(config, FIRST)
    expected = split_dataset(load_dataset(config), config, FIRST)
    assert [split.digest for _, split in splits.named()] == [split.digest for _, split in expected.named()]


def test_other_settings_are_given_other_images(config: DatasetConfig) -> None:
    _, splits = load_splits(config, FIRST)
    for other, validation in (
        (replace(config, seed=1), FIRST),
        (replace(config, train_size=501), FIRST),
        (replace(config, name="mnist"), FIRST),
        (config, ValidationConfig("first", 101)),
        (config, ValidationConfig("random", 100)),
    ):
        assert load_splits(other, validation)[1].train.digest != splits.train.digest


def test_another_cache_is_another_dataset(
    config: DatasetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "one"))
    dataset, _ = load_splits(config, FIRST)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "two"))
    assert load_splits(config, FIRST)[0] is not dataset


def test_shared_arrays_cannot_be_written_to(config: DatasetConfig) -> None:
    _, splits = load_splits(replace(config, test_size=50), FIRST)
    for _, split in splits.named():
        with pytest.raises(ValueError, match="read-only"):
            split.images[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            split.labels[0] = 0


def test_only_the_last_few_are_kept(config: DatasetConfig) -> None:
    _, first = load_splits(config, FIRST)
    for size in range(101, 105):
        load_splits(config, ValidationConfig("first", size))
    assert load_splits(config, FIRST)[1] is not first


def test_a_size_that_does_not_fit_is_refused_each_time(config: DatasetConfig) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"dataset\.train_size=70000"):
            load_splits(replace(config, train_size=70_000), FIRST)


@pytest.mark.parametrize(
    ("other", "validation"),
    [
        ({"train_size": 1_901}, FIRST),
        ({"test_size": 501}, FIRST),
        ({}, ValidationConfig("random", 2_000)),
        ({"train_size": 1_900}, FIRST),
        ({"test_size": 500, "train_size": 2_000}, ValidationConfig()),
    ],
)
def test_data_is_checked_as_it_would_be_split(
    config: DatasetConfig, other: dict[str, int], validation: ValidationConfig
) -> None:
    found = []
    for ask in (check_data, load_splits):
        try:
            ask(replace(config, **other), validation)
            found.append("")
        except ConfigError as error:
            found.append(str(error))
    assert found[0] == found[1]
    assert bool(found[0]) is (other.get("train_size") not in (1_900, 2_000))
