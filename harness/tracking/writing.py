"""A run in the store, from its start to a state that is always recorded."""

from __future__ import annotations

import getpass
import json
import logging
import math
import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import paths
from harness.records import RunState, Split
from harness.tracking.provenance import git_state, installed_packages, machine_tags, model_requirements
from harness.tracking.store import ensure_experiment, explained, open_client, shown_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

PARAMETER_LIMIT = 6_000  # characters, MLflow's own limit
TAG_LIMIT = 5_000
PARAMETERS_A_BATCH = 100

DATASET_ATTEMPTS = 5
TAKEN = re.compile("unique|duplicate", re.IGNORECASE)
"""How databases say that a row is there already. MLflow looks for a dataset and then inserts it: another run may have
done so in between, and it is found the next time."""
FAST_PNG = {"compress_level": 3}  # a tenth larger, encoded in two thirds of the time


@dataclass(frozen=True)
class RunIdentity:
    """What a run is called and where it belongs."""

    name: str
    experiment: str
    parent_id: str | None = None
    overrides: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class UsedSplit(NamedTuple):
    """Images that a run was given; `context` is `training`, `validation` or `testing`."""

    name: str
    context: str
    split: Split


class RunWriter:
    """Writes one run to the store; every call is on disk (or acknowledged by the server) when it returns."""

    def __init__(self, uri: str, identity: RunIdentity, run_id: str | None = None) -> None:
        """Begin a new run; with `run_id` go on in that one: it is RUNNING again."""
        self.uri = uri
        self._client = open_client(uri)
        self.experiment_id = ensure_experiment(uri, identity.experiment)
        self._recorded: Mapping[str, str] = {}
        with explained(uri):
            if run_id is None:
                run = self._client.create_run(self.experiment_id, tags=_start_tags(identity), run_name=identity.name)
            else:
                run = self._client.get_run(run_id)
                self._recorded = run.data.params
                for key, value in _start_tags(identity).items():
                    self._client.set_tag(run_id, key, value)
                self._client.update_run(run_id, status=str(RunState.RUNNING))
        self.run_id: str = run.info.run_id
        self.name = identity.name
        self._model_id: str | None = None
        self._tables: dict[str, dict[str, str]] = {}

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(key, value[:TAG_LIMIT]) for key, value in tags.items()]
        with explained(self.uri):
            self._client.log_batch(self.run_id, tags=entries)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [
            Param(key, str(value)[:PARAMETER_LIMIT]) for key, value in parameters.items() if key not in self._recorded
        ]
        with explained(self.uri):
            for start in range(0, len(entries), PARAMETERS_A_BATCH):
                self._client.log_batch(self.run_id, params=entries[start : start + PARAMETERS_A_BATCH])

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """The series' values at `epoch` (from 1), at once, so that the UI is live."""
        self._log_metrics(metrics, step=epoch)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Scalars, logged once at step 0 and linked to the model, if one was logged before."""
        self._log_metrics(metrics, step=0, model_id=self._model_id)

    def _log_metrics(self, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(key, float(value), now, step, model_id=model_id) for key, value in metrics.items()]
        with explained(self.uri):
            self._client.log_batch(self.run_id, metrics=entries)

    def log_text(self, name: str, text: str) -> None:
        with explained(self.uri):
            self._client.log_text(self.run_id, text, name)

    def log_table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """A table that the UI shows as one; `columns` are lists of equal length, and what is not finite is left empty.

        MLflow's own `log_table` writes the same, through pandas and after asking the store what it has: several times
        as long.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

        rows = [[_json_value(value) for value in row] for row in zip(*columns.values(), strict=True)]
        self.log_text(name, json.dumps({"columns": list(columns), "data": rows}, ensure_ascii=False))
        self._tables[name] = {"path": name, "type": "table"}
        self.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps(list(self._tables.values()))})

    def log_file(self, file: Path, folder: str | None = None) -> None:
        with explained(self.uri):
            self._client.log_artifact(self.run_id, str(file), folder)

    def log_figure(self, name: str, figure: Figure) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / Path(name).name
            figure.savefig(file, pil_kwargs=FAST_PNG)
            self.log_file(file, "figures")

    def log_datasets(self, used: Sequence[UsedSplit], source: str) -> None:
        """What the run was given, as its dataset inputs; `source` says where all of it came from."""
        import mlflow.data
        from mlflow.data.sources import LocalArtifactDatasetSource
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        origin = LocalArtifactDatasetSource(source)
        inputs = []
        for name, context, split in used:
            described = mlflow.data.from_numpy(split.images, origin, split.labels, name=name, digest=split.digest)
            inputs.append(DatasetInput(Dataset(**described.to_dict()), [InputTag("mlflow.data.context", context)]))
        with explained(self.uri):
            for attempt in range(DATASET_ATTEMPTS):
                try:
                    self._client.log_inputs(self.run_id, inputs)
                    break
                except MlflowException as error:
                    if attempt + 1 == DATASET_ATTEMPTS or not TAKEN.search(str(error)):
                        raise

    def log_model(self, model: Any, example: Split) -> None:
        """`model` (raw images in, probabilities out) as an MLflow model with signature, input example, requirements.

        The requirements are given, not guessed: guessing starts a process that imports TensorFlow.
        """
        import mlflow
        import numpy as np
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, ModelSignature
        from mlflow.types.schema import Schema, TensorSpec

        # Without a name the input reaches the model as an array; under one, as a dict, of which Keras warns.
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 28, 28))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 10))]),
        )
        with explained(self.uri):
            logged = self._client.create_logged_model(self.experiment_id, name="model", source_run_id=self.run_id)
        description = Model(
            artifact_path=logged.artifact_location,
            run_id=self.run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as temporary:
            mlflow.keras.save_model(
                model,
                temporary,
                mlflow_model=description,
                signature=signature,
                input_example=example.images,
                pip_requirements=model_requirements(),
            )
            with explained(self.uri):
                self._client.log_model_artifacts(logged.model_id, temporary)
                self._client.finalize_logged_model(logged.model_id, "READY")
                self._client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._model_id = logged.model_id

    def end(self, state: RunState) -> None:
        with explained(self.uri):
            self._client.set_terminated(self.run_id, status=str(state))


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def tracked_run(
    uri: str,
    identity: RunIdentity,
    log_file: Path | None = None,
    system_metrics: bool = False,
    run_id: str | None = None,
) -> Iterator[RunWriter]:
    """A run that ends FINISHED, FAILED or KILLED, whatever the block does; exceptions are recorded and raised again.

    A failure keeps its message as the tag `harness.error` and its traceback as `traceback.txt`. `log_file` is kept as
    an artifact at the end; `system_metrics` samples CPU, memory and disk meanwhile.
    """
    writer = RunWriter(uri, identity, run_id)
    try:
        state = git_state(paths.project_root())
        if state.diff:
            writer.log_text("code/uncommitted.diff", state.diff)
        writer.log_text("code/packages.txt", installed_packages())
        with _system_metrics(uri, writer.run_id) if system_metrics else nullcontext():
            yield writer
    except KeyboardInterrupt as interruption:
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
            writer.set_tags({"harness.error": message, "harness.error_type": type(error).__name__})
            log.info("%s: %s: %s", state, type(error).__name__, message)  # the last line of the log that is kept
            writer.log_text("traceback.txt", shown_uri("".join(traceback.format_exception(error))))
        if log_file is not None and log_file.is_file():
            writer.log_file(log_file, "logs")
    finally:
        writer.end(state)


@contextmanager
def _system_metrics(uri: str, run_id: str) -> Iterator[None]:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=1, samples_before_logging=5, tracking_uri=uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def _start_tags(identity: RunIdentity) -> dict[str, str]:
    state = git_state(paths.project_root())
    tags = {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "harness",
        "mlflow.source.type": "LOCAL",
        "harness.kind": "run",
        **machine_tags(),
        **identity.tags,
    }
    if identity.overrides:
        tags["harness.overrides"] = " ".join(identity.overrides)
    if state.commit:
        tags |= {
            "mlflow.source.git.commit": state.commit,
            "mlflow.source.git.branch": state.branch,
            "harness.git.dirty": str(state.dirty).lower(),
        }
    if identity.parent_id:
        tags["mlflow.parentRunId"] = identity.parent_id
    return {key: shown_uri(value)[:TAG_LIMIT] for key, value in tags.items()}
