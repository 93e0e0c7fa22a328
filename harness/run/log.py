"""What a run logs besides its scores: configuration, data, warm start, metrics by epoch, training state."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from harness import machine
from harness.analysis.descriptions import run_note
from harness.config.schema import Config, flatten
from harness.data import variant
from harness.errors import Terminated
from harness.images import DATASET_TAG
from harness.records import DIGEST_PARAMETERS, VARIANT_PARAMETER, Dataset, DatasetSpec, ReplacedLabels, Splits
from harness.run.checkpoint import Checkpoint
from harness.run.warm_start import STATE_FILE, Start
from harness.tracking.access import shown_uri
from harness.tracking.selection import NOTE_TAG
from harness.tracking.writing import RunWriter
from harness.training import TrainingObserver, TrainingState, write_state

log = logging.getLogger(__name__)

NOISY_LABELS = "data/noisy_labels.csv"
"""The artifact that lists the replaced training labels (`dataset.label_noise`) and their new values."""


def log_configuration(tracked: RunWriter, config: Config, overrides: Sequence[str]) -> None:
    """Log the resolved configuration as parameters and as a file, and the overrides; passwords are removed."""
    if config.tracking.uri is not None:
        config = replace(config, tracking=replace(config.tracking, uri=shown_uri(config.tracking.uri)))
    resolved = yaml.safe_dump(asdict(config), sort_keys=False)
    log.info("run %s (%s)\n%s", tracked.name, tracked.run_id, resolved)
    tracked.log_parameters(flatten(config))
    tracked.log_text("config/config.yaml", resolved)
    tracked.log_text("config/overrides.yaml", yaml.safe_dump([shown_uri(item) for item in overrides]))


def log_note(tracked: RunWriter, config: Config, overrides: Sequence[str], scalars: Mapping[str, float]) -> None:
    """Log the description that the MLflow UI shows for the run."""
    tracked.set_tags({NOTE_TAG: shown_uri(run_note(flatten(config), scalars, overrides))})


def log_start(tracked: RunWriter, start: Start) -> None:
    """Log the warm start: the run or file whose weights training starts from."""
    tracked.log_parameters(start.parameters)
    if start.state is not None:
        tracked.set_tags({f"harness.{key.replace('.', '_')}": value for key, value in start.parameters.items()})


def log_state(tracked: RunWriter, state: TrainingState) -> None:
    """Log the final training state, so that another run can warm-start from it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, _, name = STATE_FILE.rpartition("/")
        file = Path(temporary) / name
        write_state(file, state)
        tracked.log_file(file, folder)


def log_data(tracked: RunWriter, dataset: Dataset, splits: Splits) -> None:
    """Log the datasets of the run: digests and numbers of images."""
    log.info("%s from %s: %s", dataset.name, dataset.source, {name: len(split) for name, split in splits.named()})
    tracked.log_parameters(data_parameters(dataset, splits.spec))
    tracked.set_tags({DATASET_TAG: dataset.digest})
    tracked.log_datasets(dataset.name, dict(splits.named()), dataset.source)
    if splits.replaced is not None:
        tracked.log_text(NOISY_LABELS, _as_csv(splits.replaced))


def data_parameters(dataset: Dataset, spec: DatasetSpec) -> dict[str, str]:
    """The parameters `data.*` of a run: runs with the same digest used the same images."""
    return {
        VARIANT_PARAMETER: variant(dataset.name, dataset.digest),
        **{parameter: str(spec.digests.get(split)) for split, parameter in DIGEST_PARAMETERS.items()},
        "data.image_shape": "x".join(map(str, spec.image_shape)),
        "data.classes": str(spec.classes),
        "data.dtype": spec.dtype,
    }


def _as_csv(replaced: ReplacedLabels) -> str:
    """One line per replaced label: the image's index in the published training set, the true label, the new label."""
    rows = zip(replaced.images, replaced.published, replaced.given, strict=True)
    return "\n".join(("image,published,given", *(",".join(map(str, row)) for row in rows), ""))


def data_counts(splits: Splits) -> dict[str, float]:
    """The numbers of images and of replaced labels, as metrics, so that a chart can show a gap against them."""
    counts = {f"data/{name}_images": float(len(split)) for name, split in splits.named()}
    return counts | {"data/noisy_labels": float(splits.noisy_labels)}


def log_missing_epochs(tracked: RunWriter, state: TrainingState) -> None:
    """Log the epochs of a checkpoint that the store does not have: the process was killed before they were sent."""
    if state.progress is None:
        return
    first = state.progress.before + 1
    for epoch in range(max(first, tracked.earlier.epochs + 1), state.epochs + 1):
        values = {key: series[epoch - first] for key, series in state.progress.series.items()}
        tracked.log_metrics(values, epoch)


class RunObserver:
    """Passes the events of an engine to the store, then to another observer (the display); writes checkpoints.

    Epochs that an earlier try has logged are not logged again: trained again, they have the same values.
    """

    def __init__(self, tracked: RunWriter, watcher: TrainingObserver, checkpoint: Checkpoint) -> None:
        self._tracked = tracked
        self._watcher = watcher
        self._checkpoint = checkpoint

    def training_started(self, epochs: range) -> None:
        self._watcher.training_started(epochs)

    def epoch_ended(self, epoch: int, values: Mapping[str, float]) -> None:
        if epoch > self._tracked.earlier.epochs:
            self._tracked.log_metrics(values, epoch)
        log.info("epoch %d: %s", epoch, {name: round(value, 4) for name, value in values.items()})
        self._watcher.epoch_ended(epoch, values)

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None:
        try:
            if machine.received_signal:
                raise Terminated(machine.received_signal)
            self._watcher.epoch_completed(epoch, state)
        except KeyboardInterrupt:
            self._checkpoint.keep(state(), last=True)
            raise
        self._checkpoint.keep_if_due(state)

    def training_ended(self, reason: str) -> None:
        log.info("training ended: %s", reason)
        self._watcher.training_ended(reason)
