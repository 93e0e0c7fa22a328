"""Trained models in the store: which run somebody means, and its model as files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import RequestError, UnknownRun
from harness.records import RunRecord, RunState
from harness.tracking.reading import cached_reads, latest_run, read_runs, resolve_run
from harness.tracking.selection import is_sweep
from harness.tracking.store import Store

LATEST, BEST = "latest", "best"
_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")
_REGISTERED = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>\d+|latest)|@(?P<alias>[^/@:]+))?")


class _UnknownModel(RequestError):
    """Nothing in the registry answers to what was given."""


def find_trained(store: Store, text: str) -> RunRecord:
    """The one run that `text` means, in the order of trying:

    `latest`, the finished run that started last; `best`, see `best_run`; a run's id, name, or the beginning of its id
    (`runs:/` before it is welcome); a registered model (`NAME`, which is its highest version, `NAME/3`, `NAME@alias`,
    `models:/...`) or a logged one (`models:/m-...`), which stand for the run that they come from.

    Raises:
        RequestError: nothing or too much answers to `text`, or it is a sweep.
        StoreError: the store cannot be read.
    """
    with cached_reads(store):
        return _find_trained(store, text)


def _find_trained(store: Store, text: str) -> RunRecord:
    if text == LATEST:
        return _finished(store)[-1]
    if text == BEST:
        return best_run(store)
    if text.startswith("models:/"):
        return _of_model(store, text)
    try:
        run = resolve_run(store, text.removeprefix("runs:/"))
    except UnknownRun as unknown:
        try:
            return _of_model(store, text)
        except _UnknownModel:
            raise RequestError(f"{unknown} No registered model is called so either.") from unknown
    if is_sweep(run):
        raise RequestError(
            f"{run.name} ({run.run_id}) is a sweep, which has no model of its own. Name one of its runs; "
            f"`harness compare {run.run_id[:8]} --format json` lists them."
        )
    return run


def best_run(store: Store) -> RunRecord:
    """The finished run of highest held-out accuracy among those of the latest run's experiment and dataset.

    Held out is the validation split where all of them have one, else the test images: then it flatters itself.
    Raises as `find_trained`.
    """
    finished = _finished(store)
    latest = finished[-1]
    peers = [
        run
        for run in finished
        if run.experiment_id == latest.experiment_id
        and run.parameters.get("dataset.name") == latest.parameters.get("dataset.name")
    ]
    metric = ranking_metric(peers)
    return max(peers, key=lambda run: run.metrics.get(metric, float("-inf")))


def ranking_metric(runs: list[RunRecord]) -> str:
    """What `best_run` ranks by."""
    validated = all("final/val_accuracy" in run.metrics for run in runs)
    return "final/val_accuracy" if validated else "final/test_accuracy"


def _finished(store: Store) -> list[RunRecord]:
    """The finished runs of the experiment that was used last, or of the store where that has none; never empty."""
    newest = latest_run(store)
    runs = [] if newest is None else read_runs(store, experiment=newest.experiment)
    if not any(run.state is RunState.FINISHED for run in runs):
        runs = read_runs(store)
    finished = [run for run in runs if run.state is RunState.FINISHED]
    if not finished:
        raise RequestError("There are no finished runs yet. Make one with `harness train`.")
    return finished


def _of_model(store: Store, text: str) -> RunRecord:
    """The run that a registered or a logged model comes from."""
    from mlflow.exceptions import MlflowException

    client = store.client
    with store.explained():
        try:
            run_id = _source_run(client, text)
        except MlflowException as error:
            # MLflow calls an alias that is not there, and a name that it would refuse, an invalid parameter.
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            run_id = None
    if run_id is None:
        raise _UnknownModel(f"The store {store.shown} has no model '{text}'.")
    if not run_id:
        raise RequestError(f"The model '{text}' names no run that it comes from, so nothing is known of its data.")
    try:
        (run,) = read_runs(store, run_ids=[run_id])
    except RequestError as error:
        raise RequestError(
            f"The model '{text}' comes from the run {run_id}, which was deleted or belongs to another store. "
            f"`mlflow runs restore --run-id {run_id}` brings a deleted one back."
        ) from error
    return run


def _source_run(client: Any, text: str) -> str | None:
    """The id of the run that a model comes from, empty where it does not say; None where there is no such model."""
    if logged := _LOGGED.fullmatch(text):
        return str(client.get_logged_model(logged["id"]).source_run_id or "")
    match = _REGISTERED.fullmatch(text)
    if match is None:
        raise _UnknownModel(f"{text}: a registered model is written NAME, NAME/VERSION, NAME@ALIAS or models:/... .")
    name, number, alias = match["name"], match["version"], match["alias"]
    if number not in (None, LATEST):
        version = client.get_model_version(name, number)
    else:
        version = client.get_model_version_by_alias(name, alias or LATEST)  # MLflow keeps this alias itself
    return str(version.run_id or "")


@contextmanager
def model_folder(store: Store, run: RunRecord) -> Iterator[Path]:
    """The folder of the run's logged MLflow model (`MLmodel`, `data/model.keras`, ...), for the length of the block.

    Raises `RequestError` where the run has no model.
    """
    model_id = logged_model_id(store, run)
    client = store.client
    with store.explained():
        location = client.get_logged_model(model_id).artifact_location
    with downloaded(store, location) as folder:
        yield folder


def logged_model_id(store: Store, run: RunRecord) -> str:
    """The id (`m-...`) of the model that the run logged last. Raises `RequestError` where it has none."""
    client = store.client
    with store.explained():
        outputs = client.get_run(run.run_id).outputs
        models = [] if outputs is None else outputs.model_outputs
        if len(models) > 1:  # the store gives them in any order
            models.sort(key=lambda model: (model.step, client.get_logged_model(model.model_id).creation_timestamp))
    if not models:
        raise RequestError(
            f"The run {run.name} ({run.run_id}, {run.state}) has no model: only a run that finished, with "
            "tracking.log_model=true, keeps one."
        )
    return str(models[-1].model_id)


@contextmanager
def downloaded(store: Store, location: str) -> Iterator[Path]:
    """The artifact (a file or folder) at the URI `location` as a local path, in place where it lies on this machine."""
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlsplit(location).scheme in ("", "file"):
        yield Path(local_file_uri_to_path(location))
        return
    with tempfile.TemporaryDirectory() as temporary:
        with store.explained():
            found = download_artifacts(artifact_uri=location, dst_path=temporary, tracking_uri=store.uri)
        yield Path(found)


@contextmanager
def run_artifact(store: Store, run: RunRecord, name: str) -> Iterator[Path]:
    """The run's artifact `name` as a local path. Raises `RequestError` where the run does not have it."""
    client = store.client
    with store.explained():
        root = client.get_run(run.run_id).info.artifact_uri
        folder = name.rpartition("/")[0]
        there = any(item.path == name for item in client.list_artifacts(run.run_id, folder or None))
    if not there:
        raise RequestError(f"The run {run.name} ({run.run_id}) has no artifact {name}: was it made by the harness?")
    with downloaded(store, f"{root}/{name}") as path:
        yield path
