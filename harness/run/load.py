"""Loads a trained run from the store: its record, configuration, model and data."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.composing import recorded_config
from harness.config.schema import PUBLISHED_SOURCE, Config
from harness.data import load_splits, publication
from harness.errors import RequestError
from harness.images import DATASET_TAG
from harness.models import KERAS_FILE, check_classifier, custom_objects, load_model, log_probabilities, own_parts
from harness.records import DIGEST_PARAMETERS, Dataset, DatasetSpec, FloatArray, ImageArray, RunRecord, Split, Splits
from harness.run.code import changed_code
from harness.tracking.models import downloaded, find_trained, model_folder, model_location, run_artifact
from harness.tracking.selection import CLASS_NAMES
from harness.tracking.store import Store
from harness.training import import_tensorflow
from harness.untrusted import read_text, read_yaml

log = logging.getLogger(__name__)

_COUNT, _SHAPE = re.compile(r"[0-9]{1,6}"), re.compile(r"[0-9]{1,6}(x[0-9]{1,6}){0,3}")
_WORDS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class TrainedRun:
    """`model` takes images (n, *image_shape) uint8 and returns probabilities (n, classes), as saved; `spec` describes
    the data of the run."""

    record: RunRecord
    config: Config
    model: Any
    spec: DatasetSpec

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.spec.class_names

    def probabilities(self, images: ImageArray) -> FloatArray:
        """The class probabilities (n, classes) of images (n, *image_shape) uint8; each row sums to 1."""
        return np.asarray(np.exp(log_probabilities(self.model)(images)))

    def load_data(self) -> tuple[Dataset, Splits]:
        """Load the data that the run was trained and evaluated on. Raises as `load_recorded`."""
        return load_recorded(self.record, self.config)


def open_run(store: Store, text: str) -> TrainedRun:
    """Load the run that `text` names (see `tracking.models.find_trained`) with its model; imports TensorFlow.

    Raises:
        RequestError: no such run, or it has no model or no configuration of the harness.
        StoreError: the store cannot be read.
    """
    record = find_trained(store, text)
    return open_model(store, record, read_config(store, record))


def open_model(store: Store, record: RunRecord, config: Config) -> TrainedRun:
    """Load the run's model; `config` is the result of `read_config`. Raises as `open_run`."""
    with model_folder(store, record) as folder:
        import_tensorflow()
        model = load_saved(folder / KERAS_FILE, record, config)
        names = read_class_names(folder, config)
        shape = recorded_shape(record, config)[0]
        check_classifier(model, shape, len(names), is_custom(config))
    digests = {split: record.parameters.get(key, "None") for split, key in DIGEST_PARAMETERS.items()}
    given = {split: digest for split, digest in digests.items() if digest != "None"}
    return TrainedRun(
        record, config, model, DatasetSpec(config.dataset.name, shape, names, given, str(model.inputs[0].dtype))
    )


def load_saved(file: Path, record: RunRecord, config: Config) -> Any:
    """The run's model, which is in `file`. The module of a model of somebody's own is imported only if it has layers
    that Keras does not know; a warning says if it is not the code that the run was trained with. Raises `RequestError`,
    also for code that the user has not named (`user_code.check_allowed`)."""
    if not own_parts(config.model):
        return load_model(file)
    try:
        return load_model(file)
    except RequestError:
        objects = custom_objects(config.model)
    if changed := [key for key in changed_code(record, config) if key.startswith("model.")]:
        log.warning(
            "The run %s (%s) was trained with another source of %s: its layers compute here as they are written now.",
            *(record.name, record.run_id, ", ".join(changed)),
        )
    return load_model(file, objects)


def is_custom(config: Config) -> bool:
    """Whether the model is one of somebody's own (`model.builder`)."""
    return config.model.builder is not None


def read_class_names(folder: Path, config: Config) -> tuple[str, ...]:
    """The class names of the logged model in `folder`; if an earlier version logged it, those of the dataset."""
    description = folder / "MLmodel"
    described = read_yaml(description) if description.is_file() else None
    metadata = described.get("metadata") if isinstance(described, dict) else None
    names = metadata.get(CLASS_NAMES) if isinstance(metadata, dict) else None
    if names is None:
        return publication(config.dataset.name).class_names
    if not isinstance(names, list):
        raise RequestError(f"{description}: its {CLASS_NAMES} are no list of names.")
    return tuple(map(str, names))


def class_names_of(store: Store, record: RunRecord) -> tuple[str, ...]:
    """The class names of a run: of its dataset where that is published, else of its model. Raises as `open_run`."""
    if record.parameters.get("dataset.source", PUBLISHED_SOURCE) == PUBLISHED_SOURCE:
        return publication(record.parameters.get("dataset.name", "")).class_names
    with downloaded(store, f"{model_location(store, record)}/MLmodel") as file:
        return read_class_names(file.parent, read_config(store, record))


def recorded_shape(record: RunRecord, config: Config) -> tuple[tuple[int, ...], int]:
    """The image shape and the number of classes that a run recorded; those of the published dataset if an earlier
    version made the run."""
    shape, classes = (record.parameters.get(f"data.{key}") for key in ("image_shape", "classes"))
    if shape is None or classes is None:
        published = publication(config.dataset.name)
        return published.image_shape, len(published.class_names)
    if not _SHAPE.fullmatch(shape) or not _COUNT.fullmatch(classes):
        raise RequestError(
            f"The run {record.name} ({record.run_id}) records images of {shape[:50]!r} and {classes[:50]!r} classes, "
            "which should be as 28x28 and 10."
        )
    return tuple(map(int, shape.split("x"))), int(classes)


def recorded_dtype(record: RunRecord) -> str:
    """The type of the images that a run recorded; bytes if an earlier version made the run."""
    return "float32" if record.parameters.get("data.dtype") == "float32" else "uint8"


def read_config(store: Store, record: RunRecord) -> Config:
    """Read the configuration that the run recorded. Raises as `open_run`."""
    with run_artifact(store, record, "config/config.yaml") as file:
        return recorded_config(read_text(file))


def read_words(store: Store, record: RunRecord) -> tuple[str, ...]:
    """Read the overrides that the run recorded, as they were typed. Raises as `open_run`."""
    with run_artifact(store, record, "config/overrides.yaml") as file:
        words = read_yaml(file) or []
    if not isinstance(words, list):
        raise RequestError(f"The run {record.name} ({record.run_id}) recorded no list of overrides.")
    return tuple(map(str, words))


def load_recorded(
    record: RunRecord, config: Config, needed: Iterable[str] = DIGEST_PARAMETERS
) -> tuple[Dataset, Splits]:
    """Load the data of a recorded run; the splits `needed` (`train`, `val`, `test`) must be unchanged.

    A folder or file that only the record names is read only if the record also has the digests of its images: whoever
    wrote the record then had these images already.

    Raises:
        DataError: the data cannot be loaded.
        RequestError: the images or labels of a needed split have changed, or the run recorded no digest of them.
    """
    place = config.dataset.directory or config.dataset.file
    unknown = [split for split in needed if DIGEST_PARAMETERS[split] not in record.parameters]
    if place is not None and unknown:
        raise RequestError(
            f"The run {record.name} ({record.run_id}) names {place} for its data, but does not say which "
            f"{_WORDS[unknown[0]]} images it used (no digest). A place that only a record names is not read."
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
    """All test images of a run's dataset; those that the run was evaluated on come first. Raises as `load_recorded`."""
    dataset, splits = load_recorded(record, config, ["test"])
    # If the files differ, only the images with the recorded digest are known to be the same.
    return dataset.test if record.tags.get(DATASET_TAG) == dataset.digest else splits.test
