"""A run that was trained, opened again: its record, configuration, model and data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.composing import recorded_config
from harness.config.schema import Config
from harness.data import load_splits, publication
from harness.errors import RequestError
from harness.images import DATASET_TAG
from harness.models import KERAS_FILE, load_model, log_probabilities
from harness.records import DIGEST_PARAMETERS, Dataset, DatasetSpec, FloatArray, RunRecord, Split, Splits, UInt8Array
from harness.tracking.models import find_trained, model_folder, run_artifact
from harness.tracking.selection import CLASS_NAMES
from harness.tracking.store import Store
from harness.training import import_tensorflow
from harness.untrusted import read_text, read_yaml

_WORDS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class TrainedRun:
    """`model` takes images (n, *image_shape) uint8 and puts out probabilities (n, classes), as it was saved; `spec` is
    what the run was given."""

    record: RunRecord
    config: Config
    model: Any
    spec: DatasetSpec

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.spec.class_names

    def probabilities(self, images: UInt8Array) -> FloatArray:
        """Of images (n, *image_shape) uint8: (n, classes), each row adding up to 1."""
        return np.asarray(np.exp(log_probabilities(self.model)(images)))

    def load_data(self) -> tuple[Dataset, Splits]:
        """The data that the run was given. Raises as `load_recorded`."""
        return load_recorded(self.record, self.config)


def open_run(store: Store, text: str) -> TrainedRun:
    """The run that `text` means (see `tracking.models.find_trained`) with its model in memory; imports TensorFlow.

    Raises:
        RequestError: no such run, or it has no model or no configuration of the harness.
        StoreError: the store cannot be read.
    """
    record = find_trained(store, text)
    return open_model(store, record, read_config(store, record))


def open_model(store: Store, record: RunRecord, config: Config) -> TrainedRun:
    """The run with its model in memory; `config` is what `read_config` gives. Raises as `open_run`."""
    with model_folder(store, record) as folder:
        import_tensorflow()
        model = load_model(folder / KERAS_FILE)
        names = read_class_names(folder, config)
    shape = tuple(model.inputs[0].shape[1:])
    digests = {split: record.parameters.get(key, "None") for split, key in DIGEST_PARAMETERS.items()}
    given = {split: digest for split, digest in digests.items() if digest != "None"}
    return TrainedRun(record, config, model, DatasetSpec(config.dataset.name, shape, names, given))


def read_class_names(folder: Path, config: Config) -> tuple[str, ...]:
    """The classes of the logged model in `folder`; of one that an earlier version logged those of the dataset."""
    description = folder / "MLmodel"
    described = read_yaml(description) if description.is_file() else None
    metadata = described.get("metadata") if isinstance(described, dict) else None
    names = metadata.get(CLASS_NAMES) if isinstance(metadata, dict) else None
    if names is None:
        return publication(config.dataset.name).class_names
    if not isinstance(names, list):
        raise RequestError(f"{description}: its {CLASS_NAMES} are no list of names.")
    return tuple(map(str, names))


def recorded_shape(record: RunRecord, config: Config) -> tuple[tuple[int, ...], int]:
    """The shape of the images that a run was given, and the number of their classes; of the published dataset, where
    an earlier version recorded it."""
    shape, classes = (record.parameters.get(f"data.{key}") for key in ("image_shape", "classes"))
    if shape is None or classes is None:
        published = publication(config.dataset.name)
        return published.image_shape, len(published.class_names)
    return tuple(map(int, shape.split("x"))), int(classes)


def read_config(store: Store, record: RunRecord) -> Config:
    """The configuration that the run recorded. Raises as `open_run`."""
    with run_artifact(store, record, "config/config.yaml") as file:
        return recorded_config(read_text(file))


def read_words(store: Store, record: RunRecord) -> tuple[str, ...]:
    """The overrides that the run recorded, as they were typed. Raises as `open_run`."""
    with run_artifact(store, record, "config/overrides.yaml") as file:
        words = read_yaml(file) or []
    if not isinstance(words, list):
        raise RequestError(f"The run {record.name} ({record.run_id}) recorded no list of overrides.")
    return tuple(map(str, words))


def load_recorded(
    record: RunRecord, config: Config, needed: Iterable[str] = DIGEST_PARAMETERS
) -> tuple[Dataset, Splits]:
    """The data that the run was given, of which the splits `needed` (`train`, `val`, `test`) must be what they were.

    Images from a folder that only the record names are used where it also has their digests: who wrote it had them.

    Raises:
        DataError: it cannot be had.
        RequestError: the images or labels of such a split are others now, or nothing says which they were.
    """
    folder = config.dataset.directory
    unknown = [split for split in needed if DIGEST_PARAMETERS[split] not in record.parameters]
    if folder is not None and unknown:
        raise RequestError(
            f"The run {record.name} ({record.run_id}) names the folder {folder} for its data, but does not say which "
            f"{_WORDS[unknown[0]]} images it was given (no digest). A folder that only a record names is not read."
        )
    dataset, splits = load_splits(config.dataset, config.regime.validation)
    now = splits.spec.digests
    for split in needed:
        then, found = record.parameters.get(DIGEST_PARAMETERS[split]), now.get(split, "None")
        if then is not None and then != found:
            raise RequestError(
                f"The {_WORDS[split]} images of {dataset.source} are not those that the run {record.name} "
                f"({record.run_id}) was given: their digest was {then[:8]} and is {found[:8]} now. Bring back the "
                "files that it was given."
            )
    return dataset, splits


def test_images(record: RunRecord, config: Config) -> Split:
    """The test images that the dataset of a run has, those that it was judged by first. Raises as `load_recorded`."""
    dataset, splits = load_recorded(record, config, ["test"])
    # Of other files only those images are known to be the same that the run was given.
    return dataset.test if record.tags.get(DATASET_TAG) == dataset.digest else splits.test
