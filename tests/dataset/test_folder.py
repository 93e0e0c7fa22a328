from __future__ import annotations

import gzip
import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.config.schema import DATASETS, DatasetConfig
from harness.data import idx, load_dataset
from harness.data.catalogue import FASHION_MNIST, FILES, PUBLICATIONS, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, digest
from harness.data.folder import FileState, examine
from harness.errors import ConfigError, DataError, NoDataFolder, RequestError
from tests.dataset.tiny import TINY, raw_files, sums, write


def load(directory: Path | str, name: str = "mnist"):
    return load_dataset(DatasetConfig(name=name, directory=str(directory)))


def write_sums(folder: Path, contents: dict[str, bytes] | None = None) -> None:
    listing = "".join(f"{total}  {name}\n" for name, total in sums(contents or raw_files()).items())
    (folder / "SHA256SUMS").write_text(listing)


def replace_file(folder: Path, name: str, content: bytes) -> None:
    contents = raw_files() | {name: content}
    (folder / name).write_bytes(content)
    write_sums(folder, contents)


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    folder = write(tmp_path / "variant")
    write_sums(folder)
    return folder


def test_the_configuration_and_the_catalogue_name_the_same_datasets() -> None:
    assert sorted(PUBLICATIONS) == sorted(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_the_bundled_subsets_load_as_what_they_are(subset: Path, name: str) -> None:
    dataset = load(subset, name)
    assert dataset.train.images.shape == (2000, 28, 28)
    assert dataset.test.images.shape == (500, 28, 28)
    assert np.bincount(dataset.train.labels).min() > 175
    assert len(dataset.class_names) == 10
    assert "variant" in dataset.source
    assert dataset.digest != digest(PUBLICATIONS[name].sums)


def test_class_names_are_in_the_order_of_the_labels(subset: Path) -> None:
    assert load(subset, "fashion_mnist").class_names[9] == "Ankle boot"
    assert load(subset, "mnist").class_names == tuple("0123456789")


def test_bundled_archives_carry_no_time_stamp(subset: Path) -> None:
    for archive in subset.glob("*/*.gz"):
        assert archive.read_bytes()[4:8] == bytes(4), archive


def test_a_dataset_is_read_once_a_process(subset: Path) -> None:
    assert load(subset) is load(subset)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("nested", ["", "mnist"])
def test_files_may_be_raw_or_gzipped_and_in_a_sub_folder(variant: Path, pack: bool, nested: str) -> None:
    folder = variant
    if nested:
        folder = variant.parent / "parent" / nested
        shutil.copytree(variant, folder)
    if pack:
        for name in FILES:
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    dataset = load(folder.parent if nested else folder)
    assert idx.encode(dataset.train.images) == raw_files()[TRAIN_IMAGES]


def test_a_sub_folder_may_be_spelled_with_a_hyphen(variant: Path) -> None:
    shutil.copytree(variant, variant.parent / "datasets" / "fashion-mnist")
    assert len(load(variant.parent / "datasets", "fashion_mnist").train) == 30


def test_a_variant_is_announced(variant: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(variant)
    assert "not the published MNIST" in caplog.text


def test_without_sums_of_its_own_a_folder_must_hold_the_published_files(variant: Path) -> None:
    (variant / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="published SHA-256 sums") as refusal:
        load(variant)
    assert all(name in str(refusal.value) for name in FILES)


def test_a_named_folder_that_does_not_work_is_an_error_and_the_network_is_not_asked(
    tmp_path: Path, project: Path
) -> None:
    with pytest.raises(NoDataFolder, match="there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="none of the four files is there"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="names no folder"):
        load("")
    assert not (tmp_path / "cache").exists()


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(RequestError, match=r"fashion_mnist, mnist\. Did you mean 'fashion_mnist'"):
        load_dataset(DatasetConfig(name="fashon_mnist"))


def test_a_file_that_differs_from_the_folders_own_sums_is_named(variant: Path) -> None:
    (variant / TRAIN_LABELS).write_bytes(b"something else")
    with pytest.raises(DataError, match=rf"{TRAIN_LABELS} has SHA-256 .* instead of .*its SHA256SUMS"):
        load(variant)


def test_a_broken_archive_is_named(variant: Path) -> None:
    packed = gzip.compress((variant / TRAIN_IMAGES).read_bytes())
    (variant / f"{TRAIN_IMAGES}.gz").write_bytes(packed[:-20])
    (variant / TRAIN_IMAGES).unlink()
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} cannot be read"):
        load(variant)


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("0123  t10k-labels-idx1-ubyte\n", "line 1"),
        (f"{'0' * 64}  t10k-labels-idx1-ubyte.gz\n", "no sum for train-images-idx3-ubyte"),
        ("", "no sum for"),
    ],
)
def test_a_list_of_sums_that_cannot_be_used_is_refused(variant: Path, listing: str, words: str) -> None:
    (variant / "SHA256SUMS").write_text(listing)
    with pytest.raises(DataError, match=words):
        load(variant)


def test_a_list_may_mark_binary_files_and_name_the_folder(variant: Path) -> None:
    listing = "".join(f"{total.upper()} *./{name}\n" for name, total in sums(raw_files()).items())
    (variant / "SHA256SUMS").write_text(listing)
    assert len(load(variant).train) == 30


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (TRAIN_LABELS, np.zeros(29, np.uint8), "30 images and .* 29 labels"),
        (TEST_LABELS, np.full(20, 10, np.uint8), "label 10; labels must be 0 to 9"),
        (TRAIN_IMAGES, np.zeros((30, 32, 32), np.uint8), "32 x 32; they must be 28 x 28"),
        (TRAIN_IMAGES, np.zeros((30, 784), np.uint8), f"{TRAIN_IMAGES}: not an IDX file"),
    ],
)
def test_a_variant_that_no_model_could_take_is_refused(variant: Path, name: str, array: np.ndarray, words: str) -> None:
    replace_file(variant, name, idx.encode(array))
    with pytest.raises(DataError, match=words):
        load(variant)


def test_the_digest_is_what_the_documented_command_prints(variant: Path) -> None:
    command = "sha256sum *-ubyte | LC_ALL=C sort | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=variant, capture_output=True, text=True, check=True).stdout
    assert load(variant).digest == printed.split()[0]


def test_examining_reports_each_file(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / FILES[1]).unlink()
    (folder / FILES[2]).write_bytes(b"")
    states = {file.name: file.state for file in examine(folder, TINY.sums)}
    assert [states[name] for name in FILES] == [FileState.OK, FileState.MISSING, FileState.DAMAGED, FileState.OK]


def test_the_sizes_of_the_published_files_are_known() -> None:
    assert FASHION_MNIST.bytes_by_file[TRAIN_IMAGES] == 47_040_016
    assert FASHION_MNIST.bytes_by_file[TEST_LABELS] == 10_008
