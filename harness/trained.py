"""A run that was trained, opened again: its record, configuration, model and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.composing import recorded_config
from harness.config import Config
from harness.data import load_splits, publication
from harness.models import KERAS_FILE, load_model, log_probabilities
from harness.records import Dataset, FloatArray, RunRecord, Splits, UInt8Array
from harness.tracking.models import find_trained, model_folder, run_artifact
from harness.tracking.store import Store
from harness.training import import_tensorflow


@dataclass(frozen=True)
class TrainedRun:
    """`model` takes images (n, 28, 28) uint8 and puts out probabilities (n, 10), as it was saved."""

    record: RunRecord
    config: Config
    model: Any

    @property
    def class_names(self) -> tuple[str, ...]:
        return publication(self.config.dataset.name).class_names

    def probabilities(self, images: UInt8Array) -> FloatArray:
        """Of images (n, 28, 28) uint8: (n, 10), each row adding up to 1."""
        return np.asarray(np.exp(log_probabilities(self.model)(images)))

    def load_data(self) -> tuple[Dataset, Splits]:
        """The data that the run was given. Raises `DataError` if it cannot be had."""
        return load_splits(self.config.dataset, self.config.regime.validation)


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
        return TrainedRun(record, config, load_model(folder / KERAS_FILE))


def read_config(store: Store, record: RunRecord) -> Config:
    """The configuration that the run recorded. Raises as `open_run`."""
    with run_artifact(store, record, "config/config.yaml") as file:
        return recorded_config(file.read_text())
