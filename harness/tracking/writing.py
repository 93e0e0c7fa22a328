"""Writes a run to the store, from its start to its final state, which is always recorded."""

from __future__ import annotations

import errno
import json
import logging
import math
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError, TakenOver
from harness.machine import user_name
from harness.records import DatasetSpec, Predictions, RunState, Split
from harness.tracking.access import shown_uri
from harness.tracking.background_outbox import BackgroundOutbox
from harness.tracking.masking import without_secrets
from harness.tracking.outbox import Outbox
from harness.tracking.pending_writes import Datasets, File, Metrics, Parameters, Tags, Text, TrainedModel, look
from harness.tracking.predictions_file import FILE as PREDICTIONS_FILE
from harness.tracking.predictions_file import write_predictions
from harness.tracking.provenance import code_state, installed_packages, machine_tags, model_requirements
from harness.tracking.resume import EarlierTries, reopen
from harness.tracking.selection import (
    CLASS_NAMES,
    CONTEXTS,
    ERROR_TAG,
    ERROR_TYPE_TAG,
    KIND_TAG,
    NOTE_TAG,
    OVERRIDES_TAG,
    PREDICTIONS_TAG,
    RUN,
)
from harness.tracking.spool import Origin
from harness.tracking.store import Store
from harness.tracking.sync import upload_before
from harness.tracking.unfinished import end_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

PARAMETER_LIMIT = 6_000  # characters, MLflow's own limit
DIFF = "code/uncommitted.diff"
TAG_LIMIT = 5_000
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
SPARE_FILES = ("serving_input_example.json", "python_env.yaml")
"""Files of MLflow's model folder that repeat others: the images of `input_example.json` as a request, and the Python of
`conda.yaml`, which MLflow reads where this one is missing. Each file is a request to a server."""
FAST_PNG = {"compress_level": 3}  # a tenth larger, encoded in two thirds of the time


@dataclass(frozen=True)
class RunIdentity:
    """The name of a run, its experiment, its sweep, its overrides and its tags."""

    name: str
    experiment: str
    parent_id: str | None = None
    overrides: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class RunWriter:
    """Writes one run to the store. When a call returns, its data is on disk (or acknowledged by the server); in the
    background, when `flush` or `end` returns.

    If the store fails, the run continues, and the rest goes to a spool on this machine: see `outbox`.
    """

    def __init__(
        self,
        store: Store,
        identity: RunIdentity,
        run_id: str | None = None,
        adding: bool = False,
        background: bool = False,
    ) -> None:
        """Start a new run; with `run_id` resume that run: it is RUNNING again, and its earlier data stays (`recorded`).

        `adding`: only add data to that run, which has ended; its state and start data do not change. `background`: the
        calls do not wait for the store.
        """
        self.store = store
        self.experiment_id = store.ensure_experiment(identity.experiment)
        location = None
        if run_id is None:
            with store.connected() as client:
                run = client.create_run(self.experiment_id, tags=_start_tags(identity), run_name=identity.name)
            location = str(run.info.artifact_uri)
        self.run_id: str = run.info.run_id if run_id is None else run_id
        self.name = identity.name
        self.identity = identity
        self.earlier = EarlierTries()
        if run_id is not None and adding:
            self.earlier = EarlierTries(tries=look(store, run_id).tries - 1)
        elif run_id is not None:
            upload_before(store, run_id)  # the spool of an earlier try
            self.earlier = reopen(store, run_id, _start_tags(identity))
        attempt = self.earlier.tries + 1
        outbox = Outbox(Origin(store.uri, self.run_id, identity.name, self.experiment_id, attempt), location)
        self._delivery = BackgroundOutbox(outbox) if background else outbox
        self._has_model = self.earlier.has_model
        self._datasets: dict[str, dict[str, str]] = {}
        self._tables: dict[str, dict[str, str]] = {}
        self._waiting: dict[str, str] = {}

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Write the tags, and the tags that earlier calls have queued."""
        waited, self._waiting = self._waiting, {}
        self._delivery.put(Tags(waited | {key: value[:TAG_LIMIT] for key, value in tags.items()}))

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log the parameters that the run does not have yet: a parameter never changes."""
        missing = {key: value for key, value in parameters.items() if key not in self.earlier.parameters}
        self._delivery.put(Parameters({key: str(value)[:PARAMETER_LIMIT] for key, value in missing.items()}))

    def log_metrics(self, metrics: Mapping[str, float], epoch: int = 0) -> None:
        """Log the metrics of an `epoch` (from 1) at once, so that the UI is live; or scalars at step 0, linked to the
        model if one was logged before."""
        values = {key: float(value) for key, value in metrics.items()}
        self._delivery.put(Metrics(values, epoch, _now(), self._has_model and not epoch, self._datasets))

    def log_text(self, name: str, text: str) -> None:
        self._delivery.put(Text(name, text))

    def log_table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Log a table that the UI can show; `columns` are lists of equal length, and non-finite values become empty.

        MLflow's own `log_table` writes the same, but takes several times as long (pandas, and a request for existing
        tables). The tag by which the UI finds the table is written with the next tags, or at the end.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

        rows = [
            [None if isinstance(value, float) and not math.isfinite(value) else value for value in row]
            for row in zip(*columns.values(), strict=True)
        ]
        self.log_text(name, json.dumps({"columns": list(columns), "data": rows}, ensure_ascii=False))
        self._tables[name] = {"path": name, "type": "table"}
        self._waiting |= {MLFLOW_LOGGED_ARTIFACTS: json.dumps(list(self._tables.values()))}

    def log_file(self, file: Path, folder: str | None = None) -> None:
        self._delivery.put(File(str(file), folder))

    def log_figure(self, name: str, figure: Figure) -> None:
        with _temporary_folder() as temporary:
            file = temporary / Path(name).name
            figure.savefig(file, pil_kwargs=FAST_PNG)
            self.log_file(file, "figures")

    def log_predictions(self, predictions: Mapping[str, Predictions]) -> None:
        """Log the run's predictions for each held-out image; see `predictions_file.py`."""
        with _temporary_folder() as temporary:
            file = temporary / PREDICTIONS_FILE
            write_predictions(file, predictions)
            self.log_file(file)
        self._waiting |= {PREDICTIONS_TAG: file.name}

    def log_datasets(self, name: str, splits: Mapping[str, Split], source: str) -> None:
        """Log the splits as dataset inputs, named by `name` and the split; `source` is where they come from. Metrics
        that are logged later are linked to the dataset that they score."""
        import mlflow.data
        from mlflow.data.sources import LocalArtifactDatasetSource

        origin = LocalArtifactDatasetSource(source)
        described = []
        for key, split in splits.items():
            named = {"name": f"{name}_{key}", "digest": split.digest}
            self._datasets[key] = {f"dataset_{what}": value for what, value in named.items()}
            described.append(mlflow.data.from_numpy(split.images, origin, split.labels, **named).to_dict())
        self._delivery.put(Datasets(tuple(described), tuple(CONTEXTS[key] for key in splits)))

    def log_model(self, model: Any, data: DatasetSpec, example: Split) -> None:
        """Log `model` (raw images in, probabilities out) as an MLflow model with signature, input example, requirements
        and class names.

        The requirements are passed, because MLflow would start a process that imports TensorFlow to infer them. If an
        earlier try has logged the model, nothing is logged.
        """
        if self._has_model:
            return
        import mlflow
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types.schema import Schema, TensorSpec

        # Without a name MLflow passes the input as an array; with a name as a dict, and Keras warns.
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(data.dtype), (-1, *data.image_shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, data.classes))]),
        )
        with _temporary_folder() as temporary:
            folder, description = temporary / "model", Model()
            folder.mkdir()
            mlflow.keras.save_model(
                model, str(folder), signature=signature, input_example=example.images,
                pip_requirements=model_requirements(), metadata={CLASS_NAMES: list(data.class_names)},
                mlflow_model=description,
            )  # fmt: skip
            for name in SPARE_FILES:
                (folder / name).unlink(missing_ok=True)
            (description.saved_input_example_info or {}).pop("serving_input_path", None)
            description.save(str(folder / "MLmodel"))
            self._delivery.put(TrainedModel(str(folder)))
        self._has_model = True

    def flush(self) -> None:
        """Wait until everything is in the store, or in a spool. Raises what a write has raised."""
        if self._waiting:
            self.set_tags({})
        self._delivery.flush()

    def leave(self) -> None:
        """Write nothing more: another process has the run."""
        self._delivery.leave()

    def end(self, state: RunState) -> None:
        """Record the final state of the run. Raises `NotInStore` if it FINISHED and some results are in a spool."""
        if self._waiting:
            self.set_tags({})
        self._delivery.end(state, _now())


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for temporary files. Raises `StoreError` if the disk is full."""
    try:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreError(
            f"A file of the run could not be written to {tempfile.gettempdir()}: {error.strerror or error}. Free "
            "some space there, or name another place for temporary files with TMPDIR."
        ) from error


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


@contextmanager
def tracked_run(
    store: Store,
    identity: RunIdentity,
    log_file: Path | None = None,
    system_metrics: bool = False,
    run_id: str | None = None,
    diff: bool = True,
) -> Iterator[RunWriter]:
    """A run that always ends FINISHED, FAILED or KILLED; exceptions of the block are recorded and raised again.

    A failure is recorded with its message as the tag `harness.error` and its traceback as `traceback.txt`. `log_file`
    is logged as an artifact at the end; `system_metrics` samples CPU, memory and disk. `run_id`: see `RunWriter`.
    `diff`: log the changes since the commit, without secrets.
    Raises `TakenOver` if another process has resumed the run; from then on nothing is written.
    """
    writer = RunWriter(store, identity, run_id, background=not store.is_local)
    try:
        if diff and (changes := code_state().diff):
            masked, count = without_secrets(shown_uri(changes))
            if count:
                log.warning(
                    "%d secrets are masked in %s, which the run keeps. tracking.diff=false leaves the diff out.",
                    *(count, DIFF),
                )
            writer.log_text(DIFF, masked)
        writer.log_text("code/packages.txt", installed_packages())
        with _system_metrics(store, writer.run_id) if system_metrics else nullcontext():
            yield writer
        writer.flush()
    except TakenOver:
        writer.leave()
        raise  # the process that has taken over the run records its end
    except KeyboardInterrupt as interruption:
        with suppress(TakenOver):  # the interrupt must be raised, or the worker would start its next job
            _close(writer, RunState.KILLED, log_file, interruption)
        raise
    except BaseException as error:
        _close(writer, RunState.FAILED, log_file, error)
        raise
    _close(writer, RunState.FINISHED, log_file, None)


def _close(writer: RunWriter, state: RunState, log_file: Path | None, error: BaseException | None) -> None:
    try:
        if error is not None:
            message = shown_uri(str(error)) or type(error).__name__
            kind, overrides = type(error).__name__, shown_uri(" ".join(writer.identity.overrides))
            note = end_note(state, kind, message, overrides)
            writer.set_tags({ERROR_TAG: message, ERROR_TYPE_TAG: kind, NOTE_TAG: note})
            log.info("%s: %s: %s", state, type(error).__name__, message)  # the last line of the logged file
            writer.log_text("traceback.txt", shown_uri("".join(traceback.format_exception(error))))
        if log_file is not None and log_file.is_file():
            tries = writer.earlier.tries
            writer.log_file(log_file, f"logs/try_{tries + 1}" if tries else "logs")
    finally:
        writer.end(state)


@contextmanager
def _system_metrics(store: Store, run_id: str) -> Iterator[None]:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=1, samples_before_logging=5, tracking_uri=store.uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def _start_tags(identity: RunIdentity) -> dict[str, str]:
    tags = {
        "mlflow.user": user_name(),
        "mlflow.source.name": "harness",
        "mlflow.source.type": "LOCAL",
        KIND_TAG: RUN,
        **machine_tags(),
        **identity.tags,
    }
    if identity.overrides:
        tags[OVERRIDES_TAG] = " ".join(identity.overrides)
    if identity.parent_id:
        tags["mlflow.parentRunId"] = identity.parent_id
    return {key: shown_uri(value)[:TAG_LIMIT] for key, value in tags.items()}
