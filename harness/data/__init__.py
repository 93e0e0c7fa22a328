"""Datasets: their files, their checks and their splits."""

from harness.data.cache import default_root, obtain, summary
from harness.data.catalogue import FILES, PUBLICATIONS, Publication, publication, variant
from harness.data.folder import FileState, StoredFile, demanded_sums, examine, locate
from harness.data.loading import check_data, dataset_digest, image_shape, load_dataset, load_splits
from harness.data.own import forget
from harness.data.python_loader import offered
from harness.data.splits import split_dataset

__all__ = [
    "FILES",
    "PUBLICATIONS",
    "FileState",
    "Publication",
    "StoredFile",
    "check_data",
    "dataset_digest",
    "default_root",
    "demanded_sums",
    "examine",
    "forget",
    "image_shape",
    "load_dataset",
    "load_splits",
    "locate",
    "obtain",
    "offered",
    "publication",
    "split_dataset",
    "summary",
    "variant",
]
