"""Trained models in the store: which run somebody means, and its model as files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.tracking.reading import latest_run, read_runs, resolve_run
from harness.tracking.selection import is_sweep
from harness.tracking.store import explained, open_client, shown_uri

LATEST, BEST = "latest", "best"
_REGISTERED = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@:]+))?")


def find_trained(uri: str, text: str) -> RunRecord:
    """The one run that `text` means, in the order of trying:

    `latest`, the run that finished last of all started; `best`, see `best_run`; a run's id, name, or the beginning of
    its id (`runs:/` before it is welcome); a registered model (`NAME`, `NAME/3`, `NAME@alias`, `models:/...`), which
    stands for the run that it comes from.

    Raises:
        RequestError: nothing or too much answers to `text`, or it is a sweep.
        StoreError: the store cannot be read.
    """
    if text == LATEST:
        return _finished(uri)[-1]
    if text == BEST:
        return best_run(uri)
    if text.startswith("models:/"):
        return _registered(uri, text)
    try:
        run = resolve_run(uri, text.removeprefix("runs:/"))
    except RequestError as unknown:
        if (found := _registered_or_none(uri, text)) is None:
            raise RequestError(f"{unknown} No registered model is called so either.") from unknown
        return found
    if is_sweep(run):
        raise RequestError(
            f"{run.name} ({run.run_id}) is a sweep, which has no model of its own. Name one of its runs; "
            f"`harness compare {run.run_id[:8]} --format json` lists them."
        )
    return run


def best_run(uri: str) -> RunRecord:
    """The finished run of highest held-out accuracy among those of the latest run's experiment and dataset.

    Held out is the validation split where all of them have one, else the test images: then it flatters itself.
    Raises as `find_trained`.
    """
    latest = _finished(uri)[-1]
    peers = [
        run
        for run in read_runs(uri, experiment=latest.experiment)
        if run.state is RunState.FINISHED
        and run.parameters.get("dataset.name") == latest.parameters.get("dataset.name")
    ]
    return max(peers, key=lambda run: run.metrics.get(ranking_metric(peers), float("-inf")))


def ranking_metric(runs: list[RunRecord]) -> str:
    """What `best_run` ranks by."""
    validated = all("final/val_accuracy" in run.metrics for run in runs)
    return "final/val_accuracy" if validated else "final/test_accuracy"


def _finished(uri: str) -> list[RunRecord]:
    """The finished runs of the experiment that was used last; never empty."""
    newest = latest_run(uri)
    runs = [] if newest is None else read_runs(uri, experiment=newest.experiment)
    if not any(run.state is RunState.FINISHED for run in runs):
        runs = read_runs(uri)
    finished = [run for run in runs if run.state is RunState.FINISHED]
    if not finished:
        raise RequestError("There are no finished runs yet. Make one with `harness train`.")
    return finished


def _registered_or_none(uri: str, text: str) -> RunRecord | None:
    try:
        return _registered(uri, text)
    except RequestError:
        return None


def _registered(uri: str, text: str) -> RunRecord:
    from mlflow.exceptions import MlflowException

    match = _REGISTERED.fullmatch(text)
    if match is None:
        raise RequestError(f"{text}: a registered model is written NAME, NAME/VERSION, NAME@ALIAS or models:/... .")
    client = open_client(uri)
    try:
        version = _version(client, match["name"], match["version"], match["alias"])
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise RequestError(f"The store {shown_uri(uri)} has no registered model '{text}'.") from error
        with explained(uri):
            raise
    (run,) = read_runs(uri, run_ids=[version.run_id])
    return run


def _version(client: Any, name: str, number: str | None, alias: str | None) -> Any:
    if number is not None:
        return client.get_model_version(name, number)
    if alias is not None:
        return client.get_model_version_by_alias(name, alias)
    versions = client.search_model_versions(f"name = '{name}'")
    if not versions:
        raise RequestError(f"There is no registered model '{name}'.")
    return max(versions, key=lambda version: int(version.version))


@contextmanager
def model_folder(uri: str, run: RunRecord) -> Iterator[Path]:
    """The folder of the run's logged MLflow model (`MLmodel`, `data/model.keras`, ...), for the length of the block.

    Raises `RequestError` where the run has no model.
    """
    client = open_client(uri)
    with explained(uri):
        outputs = client.get_run(run.run_id).outputs
        models = [] if outputs is None else outputs.model_outputs
    if not models:
        raise RequestError(
            f"The run {run.name} ({run.run_id}, {run.state}) has no model: only a run that finished, with "
            "tracking.log_model=true, keeps one."
        )
    with explained(uri):
        location = client.get_logged_model(models[-1].model_id).artifact_location
    with downloaded(uri, location) as folder:
        yield folder


@contextmanager
def downloaded(uri: str, location: str) -> Iterator[Path]:
    """The artifact (a file or folder) at the URI `location` as a local path, in place where it lies on this machine."""
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    if location.startswith("file:") or "://" not in location:
        yield Path(local_file_uri_to_path(location))
        return
    with tempfile.TemporaryDirectory() as temporary:
        with explained(uri):
            found = download_artifacts(artifact_uri=location, dst_path=temporary, tracking_uri=uri)
        yield Path(found)


@contextmanager
def run_artifact(uri: str, run: RunRecord, name: str) -> Iterator[Path]:
    """The run's artifact `name` as a local path. Raises `RequestError` where the run does not have it."""
    client = open_client(uri)
    with explained(uri):
        root = client.get_run(run.run_id).info.artifact_uri
        folder = name.rpartition("/")[0]
        there = any(item.path == name for item in client.list_artifacts(run.run_id, folder or None))
    if not there:
        raise RequestError(f"The run {run.name} ({run.run_id}) has no artifact {name}: was it made by the harness?")
    with downloaded(uri, f"{root}/{name}") as path:
        yield path
