"""Draw the bundled subsets from the published datasets: `python tests/data/make_subset.py [FOLDER]`.

A subset has 2,000 of the 60,000 training images and 500 of the 10,000 test images, in the published order, chosen by
`stratified_subset` with seed 0. Classes have the published proportions: in Fashion-MNIST all are equal, so a subset has
200 and 50 images of each. The published files are checked against their SHA-256 sums first.

Each folder gets four gzipped IDX files (without a time stamp) and `SHA256SUMS` of the uncompressed bytes, because
compressed bytes can differ between versions of zlib.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

from harness import paths
from harness.config.schema import DatasetConfig
from harness.data import idx, load_dataset
from harness.data.catalogue import PUBLICATIONS, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from harness.data.folder import SUMS_FILE
from harness.data.splits import stratified_subset

TRAIN_SIZE, TEST_SIZE, SEED = 2000, 500, 0


def write_subset(name: str, folder: Path) -> None:
    dataset = load_dataset(DatasetConfig(name=name))
    raw = {}
    for split, size, images, labels in (
        (dataset.train, TRAIN_SIZE, TRAIN_IMAGES, TRAIN_LABELS),
        (dataset.test, TEST_SIZE, TEST_IMAGES, TEST_LABELS),
    ):
        chosen = stratified_subset(split.labels, size, SEED)
        raw[images], raw[labels] = idx.encode(split.images[chosen]), idx.encode(split.labels[chosen])
    for file, content in raw.items():
        paths.write_bytes(folder / f"{file}.gz", gzip.compress(content, compresslevel=9, mtime=0))
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in raw.items())
    paths.write_text(folder / SUMS_FILE, sums)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for dataset_name in PUBLICATIONS:
        write_subset(dataset_name, target / dataset_name)
