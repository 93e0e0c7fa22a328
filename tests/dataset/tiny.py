"""A dataset of a few images with its own sums. The code under test treats it as a published one."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.data import idx
from harness.data.catalogue import FILES, MNIST, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Publication
from harness.data.network import Limits
from harness.data.sources import Source

TRAIN_SIZE, TEST_SIZE = 30, 20


def raw_files() -> dict[str, bytes]:
    rng = np.random.default_rng(7)
    contents = {}
    for images, labels, size in ((TRAIN_IMAGES, TRAIN_LABELS, TRAIN_SIZE), (TEST_IMAGES, TEST_LABELS, TEST_SIZE)):
        contents[images] = idx.encode(rng.integers(0, 256, (size, 28, 28), dtype=np.uint8))
        contents[labels] = idx.encode((np.arange(size) % 10).astype(np.uint8))
    return contents


def sums(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


TINY: Publication = replace(
    MNIST, name="tiny", title="Tiny", sums=sums(raw_files()), train_size=TRAIN_SIZE, test_size=TEST_SIZE
)


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in raw_files().items():
        (folder / name).write_bytes(content)
    return folder


def counting_source(journal: Path, *, delay: float = 0) -> Source:
    """A source that works, and that adds a line to `journal` each time it is used."""

    def obtain(workspace: Path, limits: Limits) -> Path:
        with journal.open("a") as lines:
            lines.write("fetched\n")
        time.sleep(delay)
        return write(workspace)

    return Source("tiny", "a source that counts", obtain)


def fetch_at_once(root: Path, journal: Path, start_at: float) -> None:
    """The code of each process in the concurrency test. It fails if the process does not get the dataset."""
    from harness.data.cache import obtain

    time.sleep(max(0.0, start_at - time.time()))
    obtained = obtain(TINY, root, [counting_source(journal, delay=0.5)])
    assert {file.name: file.content for file in obtained.files} == raw_files()
    assert len(obtained.files) == len(FILES)
