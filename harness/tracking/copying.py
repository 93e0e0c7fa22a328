"""Copies a store's runs into another store, each exactly once; a copy that was interrupted is continued.

MLflow gives a new run an id of its own. So a copy has the old id as a tag, and every tag or parameter that names a
copied run names its copy. All writes may be repeated: a run that was begun and not marked as complete is written again.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.records import RunState
from harness.tracking.pending_writes import MODEL, StoredRun, TrainedModel
from harness.tracking.store import Store

COPY_TAG, COMPLETE_TAG = "harness.copy_of", "harness.copy_complete"
"""The id of the original; its end time, when everything was copied."""
_VIEWS = "mlflow.sharedViewState"
_RUN_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_PAGE = 500


@dataclass
class Copied:
    """What was copied: numbers of runs that are new and that were there already, and what was left out, in words."""

    runs: int = 0
    there: int = 0
    experiments: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Pair:
    """A run and its copy; `complete` is the mark of a copy that needs nothing more."""

    original: Any
    copy_id: str
    experiment_id: str
    complete: str


def copy_store(source: Store, target: Store, say: Callable[[str], None]) -> Copied:
    """Copy all ended runs with parameters, tags, every value of their metrics, artifacts, datasets and models.

    `say` shows which run is copied. Raises `RequestError` if there is nothing to copy, or both are the same store;
    `StoreError` if one cannot be used: the copy is continued when the command is given again.
    """
    if source == target:
        raise RequestError(f"{source.shown} cannot be copied to itself. Name two stores.")
    if source.is_missing:
        raise RequestError(f"There is no store {source.database} yet.")
    with source.exclusive(".copy"):
        return _Copy(source, target, say).run()


class _Copy:
    def __init__(self, source: Store, target: Store, say: Callable[[str], None]) -> None:
        self._source, self._target, self._say = source, target, say
        self._done = Copied()
        self._ids: dict[str, str] = {}

    def run(self) -> Copied:
        pairs = [pair for experiment in self._experiments() for pair in self._begun(experiment)]
        self._ids = {pair.original.info.run_id: pair.copy_id for pair in pairs}
        for number, pair in enumerate(pairs, start=1):
            if pair.complete == _mark(pair.original):
                self._done.there += 1
                continue
            self._say(f"{number} of {len(pairs)}: {pair.original.info.run_name}")
            self._write(pair)
            self._done.runs += 1
        self._count_others()
        return self._done

    def _experiments(self) -> list[Any]:
        found: list[Any] = []
        token = ""
        while not found or token:
            with self._source.connected() as client:
                page = client.search_experiments(order_by=["experiment_id"], page_token=token or None)
            found += page
            token = page.token
            if not page:
                break
        return found

    def _begun(self, experiment: Any) -> Iterator[_Pair]:
        """Each ended run of an experiment with its copy, which is made if there is none; oldest first."""
        originals = list(self._runs(self._source, experiment.experiment_id, ""))
        running = sum(run.info.status == RunState.RUNNING for run in originals)
        if running:
            self._done.left_out.append(
                f"{running} runs of {experiment.name} that are RUNNING: copy again when they have ended"
            )
        originals = [run for run in originals if run.info.status != RunState.RUNNING]
        if not originals:
            return
        self._done.experiments += 1
        place = self._target.ensure_experiment(experiment.name)
        with self._target.connected() as client:
            known = client.get_experiment(place).tags
            for key, value in experiment.tags.items():
                if key not in known and not key.startswith(_VIEWS):
                    client.set_experiment_tag(place, key, value)
        copies = {
            run.data.tags[COPY_TAG]: run for run in self._runs(self._target, place, f"tags.`{COPY_TAG}` LIKE '%'")
        }
        for run in originals:
            info = run.info
            if (copy := copies.get(info.run_id)) is None:
                with self._target.connected() as client:
                    tags = {COPY_TAG: info.run_id}
                    copy = client.create_run(place, start_time=info.start_time, tags=tags, run_name=info.run_name)
            yield _Pair(run, copy.info.run_id, place, copy.data.tags.get(COMPLETE_TAG, ""))

    def _runs(self, store: Store, experiment_id: str, wanted: str) -> Iterator[Any]:
        token = None
        while True:
            with store.connected() as client:
                page = client.search_runs(
                    [experiment_id], wanted, max_results=_PAGE, order_by=["attributes.start_time"], page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    def _write(self, pair: _Pair) -> None:
        from mlflow.entities import Param, RunTag

        run, info = pair.original, pair.original.info
        model_id, scored = self._copy_model(pair)
        metrics = list(self._metrics(run, model_id, scored))
        parameters = [Param(key, self._translated(value)) for key, value in run.data.params.items()]
        tags = [RunTag(self._translated(key), self._translated(value)) for key, value in run.data.tags.items()]
        self._copy_artifacts(info.artifact_uri, pair.copy_id)
        with self._target.connected() as client:
            client.log_batch(pair.copy_id, metrics, parameters, tags)
            if run.inputs is not None and run.inputs.dataset_inputs:
                client.log_inputs(pair.copy_id, run.inputs.dataset_inputs)
            client.set_terminated(pair.copy_id, info.status, info.end_time)
            client.set_tag(pair.copy_id, COMPLETE_TAG, _mark(run))

    def _metrics(self, run: Any, model_id: str | None, scored: dict[tuple[str, int], Any]) -> Iterator[Any]:
        from mlflow.entities import Metric

        with self._source.connected() as client:
            for key in run.data.metrics:
                for point in client.get_metric_history(run.info.run_id, key):
                    of_model = scored.get((key, point.step))
                    linked = {} if of_model is None else {
                        "model_id": model_id, "dataset_name": of_model.dataset_name,
                        "dataset_digest": of_model.dataset_digest,
                    }  # fmt: skip
                    yield Metric(key, point.value, point.timestamp, point.step, **linked)

    def _copy_model(self, pair: _Pair) -> tuple[str | None, dict[tuple[str, int], Any]]:
        """The id of the copied model, and its metrics by key and step; None if the run has no model of the harness."""
        outputs = pair.original.outputs.model_outputs if pair.original.outputs else []
        with self._source.connected() as client:
            models = [client.get_logged_model(output.model_id) for output in outputs]
        named = [model for model in models if model.name == MODEL]
        if others := len(models) - len(named[:1]):
            self._done.left_out.append(f"{others} models of the run {pair.original.info.run_id} beside its '{MODEL}'")
        if not named:
            return None, {}
        writer = StoredRun(self._target, pair.copy_id, pair.experiment_id, attempt=1, again=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, MODEL)
            self._fetch(named[0].artifact_location, folder)
            writer.apply(TrainedModel(str(folder)))
        with self._target.explained():
            return writer.find_model(), {(one.key, one.step): one for one in named[0].metrics or []}

    def _copy_artifacts(self, location: str, copy_id: str) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "artifacts")
            self._fetch(location, folder)
            if any(folder.iterdir()):
                with self._target.connected() as client:
                    self._target.check_targets(client.get_run(copy_id).info.artifact_uri, [])
                    client.log_artifacts(copy_id, str(folder))

    def _fetch(self, location: str, folder: Path) -> None:
        """Copy the artifacts at a location of the source into a new folder. Raises `OutsideStore`."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        folder.mkdir()
        local = self._source.artifact_path(location)
        if local is not None:
            for file in local.rglob("*"):  # a link could lead to any file
                self._source.artifact_path(f"{location.rstrip('/')}/{file.relative_to(local)}")
            if not local.is_dir():
                return
        with self._source.explained():
            get_artifact_repository(location, tracking_uri=self._source.uri).download_artifacts("", str(folder))

    def _translated(self, text: str) -> str:
        """A text that names the copies in place of the originals."""
        return _RUN_ID.sub(lambda found: self._ids.get(found[0], found[0]), text)

    def _count_others(self) -> None:
        with self._source.connected() as client:
            registered = len(client.search_registered_models())
        if registered:
            self._done.left_out.append(f"{registered} registered models: `harness register` registers the copies")


def _mark(run: Any) -> str:
    return f"{run.info.end_time} {run.info.status}"
