"""The writes of a run as plain data (operations), and their execution in the store: at once, or later from a spool.

All operations are idempotent: parameters, tags and artifacts have names, metrics have key and step, datasets have name
and digest, and a run has one model. So an operation whose result is unknown (the response was lost, the process was
killed) is simply repeated.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import StoreError, TakenOver
from harness.machine import seconds_elapsed
from harness.metrics import split_of
from harness.records import RunState
from harness.tracking.access import retry_insert
from harness.tracking.selection import CONTEXT_TAG, ERROR_TAG, ERROR_TYPE_TAG, PARENT_TAG, TRIES_TAG
from harness.tracking.store import Store

MODEL = "model"
"""The name of a run's model, of which it has one."""

OURS_SECONDS = 30.0
"""Seconds after which it is checked again that no other command has resumed the run: half the time after which a lease
without a heartbeat expires."""


@dataclass(frozen=True)
class Parameters:
    """Settings as text."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Tags:
    """Tags; existing tags of the same name are replaced."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Metrics:
    """Values at one step; `time` in milliseconds since 1970; `of_model`: also link them to the run's model.

    `datasets` are the `dataset_name` and `dataset_digest` of each split that the run was given.
    """

    values: Mapping[str, float]
    step: int
    time: int
    of_model: bool = False
    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A text as the artifact `name`."""

    name: str
    text: str


@dataclass(frozen=True)
class File:
    """The file at `path` as an artifact in `folder`."""

    path: str
    folder: str | None


@dataclass(frozen=True)
class Datasets:
    """The dataset inputs of the run: MLflow's description of each dataset, and its `context`."""

    described: tuple[Mapping[str, str], ...]
    contexts: tuple[str, ...]


@dataclass(frozen=True)
class TrainedModel:
    """The folder at `path` as the run's model, in MLflow's format."""

    path: str


@dataclass(frozen=True)
class End:
    """The final state of the run, and its end time (milliseconds since 1970)."""

    state: str
    time: int


Values = Parameters | Tags | Metrics
Operation = Values | Text | File | Datasets | TrainedModel | End
_KINDS: Mapping[str, Callable[..., Operation]] = {
    kind.__name__: kind for kind in (Parameters, Tags, Metrics, Text, File, Datasets, TrainedModel, End)
}


def to_json(operation: Operation) -> dict[str, Any]:
    """An operation as a dictionary for JSON."""
    return {"kind": type(operation).__name__, **asdict(operation)}


def from_json(entry: Mapping[str, Any], folder: Path) -> Operation:
    """The inverse of `to_json`; a `path` is relative to `folder`. Raises `StoreError` if a path is outside of it, or if
    the entry is no operation."""
    try:
        values = dict(entry)
        operation = _KINDS[values.pop("kind")](**values)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"The spool {folder} has a line that is no operation. It stays where it is.") from error
    if isinstance(operation, File | TrainedModel):
        path = folder / operation.path
        for file in (path, *path.rglob("*")):
            if not file.resolve().is_relative_to(folder.resolve()):
                raise StoreError(
                    f"The spool {folder} names a file outside of it ({file}). Nothing of it was taken over."
                )
        return replace(operation, path=str(path))
    return operation


@dataclass(frozen=True)
class RunNow:
    """A run's current state in the store, the number of its tries so far, and the sweep that it belongs to."""

    state: RunState
    tries: int
    parent_id: str | None


def look(store: Store, run_id: str) -> RunNow:
    """Read a run's current state from the store. Raises `StoreError`."""
    with store.connected() as client:
        run = client.get_run(run_id)
    tags = run.data.tags
    return RunNow(RunState(run.info.status), int(tags.get(TRIES_TAG, "1")), tags.get(PARENT_TAG))


class StoredRun:
    """One run in the store, to which operations are applied."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        experiment_id: str,
        attempt: int,
        again: bool = False,
        location: str | None = None,
    ) -> None:
        """`attempt`: the number of this try, from 1; `again`: operations may have been applied before; `location`:
        that of the run's artifacts, if it is known."""
        self.store = store
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.attempt = attempt
        self._again = again
        self._ours_at = seconds_elapsed()
        self._client = store.client
        self._model_id: str | None = None
        self._known_location = location
        self._latest: dict[str, int] | None = None
        self._steps: dict[str, set[int]] = {}
        self._read = set[str]()

    def apply(self, operation: Operation) -> None:
        """Write one operation; at return it is on disk, or acknowledged by the server.

        Raises `StoreError`, `TakenOver` if a later try of the run has begun, and `OutsideStore` for an artifact whose
        location does not belong to the store.
        """
        if isinstance(operation, Text):
            self.store.check_targets(self._location, [operation.name])
        elif isinstance(operation, File):
            name = Path(operation.path).name
            self.store.check_targets(self._location, [f"{operation.folder}/{name}" if operation.folder else name])
        with self.store.explained():
            self._make_sure_of_it()
            match operation:
                case Parameters() | Tags() | Metrics():
                    self._values([operation])
                case Text():
                    self._text(operation)
                case File():
                    self._artifacts(self._location).log_artifact(operation.path, operation.folder)
                case Datasets():
                    self._datasets(operation)
                case TrainedModel():
                    self._model(Path(operation.path))
                case End():
                    self._end(operation)

    def apply_together(self, operations: Sequence[Values]) -> None:
        """Write several operations in one request, as `apply`; all, or some of them may be repeated after an error."""
        with self.store.explained():
            self._make_sure_of_it()
            self._values(operations)

    @cached_property
    def _location(self) -> str:
        if self._known_location is not None:
            return self._known_location
        with self.store.explained():
            return str(self._client.get_run(self.run_id).info.artifact_uri)

    def _artifacts(self, location: str) -> Any:
        """MLflow's access to the artifacts at `location`; through its client, it would ask for the location again."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(location, tracking_uri=self.store.uri)

    def _text(self, operation: Text) -> None:
        name = PurePosixPath(operation.name)
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, name.name)
            file.write_text(operation.text, encoding="utf-8")
            self._artifacts(self._location).log_artifact(str(file), str(name.parent) if name.parent.name else None)

    def _make_sure_of_it(self) -> None:
        """Check that no other command has resumed the run, for example while this machine slept."""
        if seconds_elapsed() - self._ours_at < OURS_SECONDS:
            return
        tries = look(self.store, self.run_id).tries
        if tries > self.attempt:
            self._ours_at = -math.inf
            raise TakenOver(
                f"Another command has resumed the run {self.run_id} since this machine last wrote to it (try "
                f"{tries}; this was try {self.attempt}). That command keeps the run."
            )
        self._ours_at = seconds_elapsed()

    def _values(self, operations: Sequence[Values]) -> None:
        from mlflow.entities import Param, RunTag

        parameters: dict[str, str] = {}
        tags: dict[str, str] = {}
        metrics: list[Any] = []
        for operation in operations:
            match operation:
                case Parameters():
                    parameters |= operation.values
                case Tags():
                    tags |= operation.values
                case Metrics():
                    metrics += self._metrics(operation)
        named = [Param(key, value) for key, value in parameters.items()]
        set_to = [RunTag(key, value) for key, value in tags.items()]
        # MLflow's client splits what is too much for one request.
        retry_insert(lambda: self._client.log_batch(self.run_id, metrics, named, set_to))

    def _metrics(self, operation: Metrics) -> list[Any]:
        from mlflow.entities import Metric

        model_id = self.find_model() if operation.of_model else None
        values = self._missing(operation, model_id) if self._again else operation.values
        return [
            Metric(
                *(key, value, operation.time, operation.step),
                model_id=model_id,
                **operation.datasets.get(split_of(key) or "", {}),
            )
            for key, value in values.items()
        ]

    def _missing(self, operation: Metrics, model_id: str | None) -> dict[str, float]:
        """The values that the run does not have at this step.

        The store writes a run's metrics before the copies of its model. If only the copies are missing, both are
        written again, and the store ignores the first because they have the same time.
        """
        scored = set()
        if model_id is not None:
            found = self._client.get_logged_model(model_id).metrics or []
            scored = {(metric.key, metric.step) for metric in found}
        missing = {}
        for key, value in operation.values.items():
            of_model_only = model_id is not None and (key, operation.step) not in scored
            if of_model_only or not self._has(key, operation.step):
                missing[key] = value
                self._steps.setdefault(key, set()).add(operation.step)
        return missing

    def _has(self, key: str, step: int) -> bool:
        """Whether the run has a value of the metric at this step. One request tells the last step of every metric; the
        history of a metric is read only if there are later steps."""
        if self._latest is None:
            last = self._client.get_run(self.run_id).data._metric_objs
            self._latest = {metric.key: metric.step for metric in last}
        if step in self._steps.get(key, ()):
            return True
        if step >= (latest := self._latest.get(key, -1)):
            return step == latest
        if key not in self._read:
            self._read.add(key)
            found = {metric.step for metric in self._client.get_metric_history(self.run_id, key)}
            self._steps.setdefault(key, set()).update(found)
        return step in self._steps[key]

    def _datasets(self, operation: Datasets) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(Dataset(**described), [InputTag(CONTEXT_TAG, context)])
            for described, context in zip(operation.described, operation.contexts, strict=True)
        ]
        retry_insert(lambda: self._client.log_inputs(self.run_id, inputs))

    def _model(self, folder: Path) -> None:
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        model_id = self.find_model()
        if model_id is None:
            model = self._client.create_logged_model(self.experiment_id, name=MODEL, source_run_id=self.run_id)
            model_id = self._model_id = str(model.model_id)
        else:
            model = self._client.get_logged_model(model_id)
        names = (str(file.relative_to(folder)) for file in folder.rglob("*"))
        self.store.check_targets(model.artifact_location, names)
        description = Model.load(str(folder))
        description.artifact_path = model.artifact_location
        description.run_id = self.run_id
        description.model_uuid = description.model_id = model_id
        description.save(str(folder / "MLmodel"))
        self._artifacts(model.artifact_location).log_artifacts(str(folder))
        self._client.finalize_logged_model(model_id, "READY")
        outputs = self._client.get_run(self.run_id).outputs if self._again else None
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self._client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])

    def find_model(self) -> str | None:
        """The id of the run's model, also if an earlier try made it and the response was lost."""
        if self._model_id is None and self._again:
            found = self._client.search_logged_models(
                [self.experiment_id], filter_string=f"source_run_id = '{self.run_id}'"
            )
            self._model_id = next((str(model.model_id) for model in found if model.name == MODEL), None)
        return self._model_id

    def _end(self, operation: End) -> None:
        if self._again and operation.state == RunState.FINISHED:
            # While the store was down, another command may have declared the run dead and recorded a reason.
            tags = self._client.get_run(self.run_id).data.tags
            for tag in (ERROR_TAG, ERROR_TYPE_TAG):
                if tag in tags:
                    self._client.delete_tag(self.run_id, tag)
        self._client.set_terminated(self.run_id, status=operation.state, end_time=operation.time)
