"""Reads runs through MLflow's client, page by page: any store that MLflow knows, at MLflow's speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType
from mlflow.store.entities import PagedList
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response

from harness.errors import RequestError, StoreError
from harness.records import RunRecord, RunState
from harness.tracking.access import bound_answers, check_is_mlflow
from harness.tracking.preflight import check_journal
from harness.tracking.selection import (
    CONTEXT_TAG,
    EPOCH_METRIC,
    FINGERPRINT_TAG,
    JOB_TAG,
    KIND_TAG,
    PARENT_TAG,
    SWEEP,
    Selection,
    Series,
    Texts,
    bounded,
    digest_parameters,
    in_order,
    lacks_digests,
    read_record,
)
from harness.tracking.store import Store

_PAGE = 1000
_PAGES = 10_000
_IDS_PER_REQUEST = 200
_SEARCH = "/api/2.0/mlflow/runs/search"
_HISTORIES = "/api/2.0/mlflow/metrics/get-history-bulk-interval"
_RUNS_OF_HISTORIES, _VALUES_OF_HISTORIES = 100, 2500
"""At most so many runs in a request for histories, and values of each."""
_OK = 200
_FINGERPRINTS_ASKED = 100
"""MLflow's filter language has no OR for values of a tag. Up to so many values are asked for one by one, in 0.03 s
each; for more, all runs are read."""


class ClientReader:
    """A `Reader` of any store."""

    def __init__(self, store: Store) -> None:
        """Connect to the store.

        Raises:
            StoreError: MLflow cannot use it.
        """
        self._store = store
        if store.database is not None:
            check_journal(store.database)
        store.check_tables()
        with store.explained():
            bound_answers()
            self._client = MlflowClient(tracking_uri=store.uri)  # `store.client` would create missing tables

    def experiments(self) -> dict[str, str]:
        found = {experiment.experiment_id: bounded(experiment.name) for experiment in self._experiments()}
        self._store.remember_experiments(found)
        if not found and self._store.is_server:
            with self._store.explained():
                check_is_mlflow(self._store.uri, self._store.shown)
        return found

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        return next((dict(one.tags) for one in self._experiments() if one.experiment_id == experiment_id), {})

    def select(self, selection: Selection) -> list[RunRecord]:
        asked, known = selection.experiment_ids, self._store.remembered_experiments()
        if known is not None and (known.keys() >= {*(asked or ())} if asked is not None else selection.running):
            return self._select(selection, known)
        known = self._store.remembered_experiments(math.inf)  # of these runs, only the names of the experiments are new
        if known is not None and asked is None and selection.parent_id is not None:
            return self._select(selection, known)
        if known is not None and asked is None and selection.run_ids is not None:
            found = self._select(selection, known)
            if len(found) == len(selection.run_ids):
                return found  # else some may be of an experiment that is newer
        return self._select(selection, self.experiments())

    def _select(self, selection: Selection, experiments: Mapping[str, str]) -> list[RunRecord]:
        asked = selection.experiment_ids
        wanted = [identity for identity in experiments if asked is None or identity in asked]
        if not wanted:  # for MLflow an empty list is an error
            return []
        found = [run for text in _filters(selection) for run in self._search(wanted, text, selection.newest)]
        if selection.fingerprints is not None:
            among = set(selection.fingerprints)
            found = [run for run in found if run.tags.get(FINGERPRINT_TAG) in among]
        records = (_record(run, experiments.get(run.experiment_id, "")) for run in found)
        return in_order([record for record in records if record is not None])

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        found: Series = {}
        for key in metrics:
            for start in range(0, len(run_ids), _RUNS_OF_HISTORIES):
                portion = run_ids[start : start + _RUNS_OF_HISTORIES]
                for identity, points in self._histories(portion, key).items():
                    ordered = sorted(points, key=lambda point: point.timestamp)
                    found.setdefault(identity, {})[key] = {point.step: float(point.value) for point in ordered}
        return found

    def _histories(self, run_ids: Sequence[str], key: str) -> dict[str, list[Any]]:
        """The values of a metric by run: from a server in one request, if it knows this one (since MLflow 2.5)."""
        found: dict[str, list[Any]] = {}
        with self._store.explained():
            if self._store.is_server and len(run_ids) > 1:
                asked = {"run_ids": list(run_ids), "metric_key": key, "max_results": _VALUES_OF_HISTORIES}
                answer = http_request(get_default_host_creds(self._store.uri), _HISTORIES, "GET", params=asked)
                if answer.status_code == _OK:
                    for point in answer.json().get("metrics", []):
                        metric = Metric(key, float(point["value"]), int(point["timestamp"]), int(point.get("step", 0)))
                        found.setdefault(str(point["run_id"]), []).append(metric)
                    if all(len(points) < _VALUES_OF_HISTORIES for points in found.values()):  # more would be a sample
                        return found
            histories = {identity: self._client.get_metric_history(identity, key) for identity in run_ids}
        return {identity: list(points) for identity, points in histories.items() if points}

    def _experiments(self) -> Iterator[Any]:
        search = partial(self._client.search_experiments, view_type=ViewType.ACTIVE_ONLY, max_results=_PAGE)
        return self._pages(lambda token: search(page_token=token))

    def _search(self, experiment_ids: list[str], text: str, newest: int | None) -> list[_FoundRun]:
        most, order = newest or _PAGE, ["attributes.start_time DESC"]

        def page(token: str | None) -> PagedList[_FoundRun]:
            if self._store.is_server:
                return self._page_as_json(experiment_ids, text, most, order, token)
            found = self._client.search_runs(experiment_ids, text, ViewType.ACTIVE_ONLY, most, order, token)
            return PagedList([_of_entity(run) for run in found], found.token)

        if newest is not None:
            with self._store.explained():
                return list(page(None))
        return list(self._pages(page))

    def _page_as_json(
        self, experiment_ids: list[str], text: str, most: int, order: list[str], token: str | None
    ) -> PagedList[_FoundRun]:
        """A page of runs without MLflow's entities, whose making takes longer than everything else."""
        asked = {
            "experiment_ids": experiment_ids, "filter": text, "run_view_type": "ACTIVE_ONLY", "max_results": most,
            "order_by": order,
        }  # fmt: skip
        body = asked if token is None else {**asked, "page_token": token}
        answer = verify_rest_response(
            http_request(get_default_host_creds(self._store.uri), _SEARCH, "POST", json=body), _SEARCH
        )
        given = answer.json()
        return PagedList([_of_json(run) for run in given.get("runs", [])], given.get("next_page_token"))

    def _pages(self, page: Callable[[str | None], Any]) -> Iterator[Any]:
        token: str | None = None
        seen = set[str]()
        while True:
            with self._store.explained():
                found = page(token)
            yield from found
            token = found.token
            if not token:
                return
            if token in seen or len(seen) >= _PAGES:
                raise StoreError(
                    f"The store {self._store.shown} says that there is more, again and again. Use another."
                )
            seen.add(token)


def _filters(selection: Selection) -> list[str]:
    """The selection in MLflow's filter language; several filters if one list of ids would be too long for a request."""
    conditions = []
    if selection.parent_id is not None:
        conditions.append(f"tags.`{PARENT_TAG}` = {_quoted(selection.parent_id)}")
    if selection.job is not None:
        conditions.append(f"tags.`{JOB_TAG}` = '{selection.job}'")
    if selection.sweeps_only:
        conditions.append(f"tags.`{KIND_TAG}` = '{SWEEP}'")
    if selection.running:
        conditions.append(f"attributes.status = '{RunState.RUNNING}'")
    if selection.name is not None:
        conditions.append(f"attributes.run_name = {_quoted(selection.name)}")
    if selection.prefix is not None:
        conditions.append(f"attributes.run_id LIKE {_quoted(selection.prefix + '%')}")
    if selection.fingerprints is not None and len(selection.fingerprints) <= _FINGERPRINTS_ASKED:
        asked = [f"tags.`{FINGERPRINT_TAG}` = {_quoted(each)}" for each in selection.fingerprints]
        return [" AND ".join([*conditions, each]) for each in asked]
    if selection.run_ids is None:
        return [" AND ".join(conditions)]
    identities = [_quoted(identity) for identity in selection.run_ids]
    portions = [identities[i : i + _IDS_PER_REQUEST] for i in range(0, len(identities), _IDS_PER_REQUEST)]
    return [" AND ".join([*conditions, f"attributes.run_id IN ({', '.join(portion)})"]) for portion in portions]


def _quoted(text: str) -> str:
    """A text as a quoted string of MLflow's filter language, which has no escape character."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise RequestError(f"MLflow cannot be asked for {text}, which has both kinds of quotes. Give a run id instead.")


@dataclass(frozen=True)
class _FoundRun:
    """A run as the store gives it; `digests` are those of its datasets by context."""

    run_id: str
    name: Any
    experiment_id: str
    status: Any
    times: tuple[Any, Any]
    artifacts: Any
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Any]
    epochs: Any
    digests: Mapping[str, str]


def _of_entity(run: Any) -> _FoundRun:
    info, data = run.info, run.data
    inputs = [] if run.inputs is None else run.inputs.dataset_inputs
    contexts = [next((tag.value for tag in one.tags if tag.key == CONTEXT_TAG), "") for one in inputs]
    # The run object has the steps of the last values, but MLflow has no public attribute for them.
    epochs = next((metric.step for metric in data._metric_objs if metric.key == EPOCH_METRIC), 0)
    return _FoundRun(
        info.run_id, info.run_name, info.experiment_id, info.status, (info.start_time, info.end_time),
        info.artifact_uri, data.params, data.tags, data.metrics, epochs,
        {context: one.dataset.digest for context, one in zip(contexts, inputs, strict=True)},
    )  # fmt: skip


def _of_json(run: dict[str, Any]) -> _FoundRun:
    info, data = run["info"], run.get("data", {})
    times = [int(info[key]) if key in info else None for key in ("start_time", "end_time")]
    metrics = {str(one["key"]): float(one["value"]) for one in data.get("metrics", [])}
    steps = (int(one.get("step", 0)) for one in data.get("metrics", []) if one["key"] == EPOCH_METRIC)
    digests = {
        next((str(tag["value"]) for tag in one.get("tags", []) if tag["key"] == CONTEXT_TAG), ""):
        str(one["dataset"]["digest"]) for one in run.get("inputs", {}).get("dataset_inputs", [])
    }  # fmt: skip
    parameters, tags = (
        {str(one["key"]): str(one.get("value", "")) for one in data.get(what, [])} for what in ("params", "tags")
    )
    return _FoundRun(
        str(info["run_id"]), info.get("run_name"), str(info["experiment_id"]), info["status"], (times[0], times[1]),
        info.get("artifact_uri", ""), parameters, tags, metrics, next(steps, 0), digests,
    )  # fmt: skip


def _record(run: _FoundRun, experiment: str) -> RunRecord | None:
    words, texts = Texts(), Texts(lines=True)
    parameters = {words[key]: words[value] for key, value in run.parameters.items()}
    tags = {words[key]: texts[value] for key, value in run.tags.items()}
    if lacks_digests(tags, parameters):  # the dataset inputs were read with the run
        parameters |= digest_parameters({context: words[digest] for context, digest in run.digests.items()})
    metrics = {words[key]: value for key, value in run.metrics.items()}
    return read_record(
        run.run_id, run.name, run.experiment_id, experiment, run.status, *run.times, run.artifacts, parameters, tags,
        metrics, run.epochs,
    )  # fmt: skip
