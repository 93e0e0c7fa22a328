"""Finds the run or sweep that a user names (id, name, `latest`, `best`, model), and opens a run's model as files."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import RequestError, StoreError, UnknownRun
from harness.images import images_of
from harness.records import RunRecord, RunState
from harness.tracking.allowed_locations import MOST_FILES, check_files
from harness.tracking.reading import (
    cached_reads,
    latest_run,
    latest_sweep,
    read_runs,
    read_sweeps,
    resolve_run,
    without_confirming,
)
from harness.tracking.relocation import check_in_place
from harness.tracking.selection import is_sweep
from harness.tracking.store import Store

LATEST, BEST = "latest", "best"
_DEEPEST = 20
"""How many levels of folders a server may list among the artifacts."""
_ASKED_AGAIN = 3
"""MLflow lists a folder twice: to see whether it is a folder, and for its content."""
_BY_VALIDATION = "final/val_accuracy"
_LOGGED = re.compile(r"models:/(?P<id>m-[0-9a-f]{32})")
_REGISTERED = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>\d+|latest)|@(?P<alias>[^/@:]+))?")


class _UnknownModel(RequestError):
    """The registry has no model with the given name."""


def find_run(store: Store, text: str) -> RunRecord:
    """Find the one run or sweep that `text` names. Tried in this order:

    `latest`, the run that started last, or its sweep; `best`, see `best_run`; a run's id, name, or the beginning of its
    id (`runs:/` in front is allowed); a registered model (`NAME` for its highest version, `NAME/3`, `NAME@alias`,
    `models:/...`) or a logged model (`models:/m-...`), which mean the run that they come from. `latest` and `best` skip
    the runs of `harness compare --confirm`.

    Raises:
        RequestError: `text` names no run, or several.
        StoreError: the store cannot be read.
    """
    with cached_reads(store):
        return _find_run(store, text)


def _find_run(store: Store, text: str) -> RunRecord:
    if text == LATEST:
        if (newest := latest_run(store)) is None:
            raise RequestError("There are no runs yet. Make some with `harness sweep` or `harness train`.")
        return _parent(store, newest) or newest
    if text == BEST:
        return best_run(store)
    if text.startswith("models:/"):
        return _of_model(store, text)
    try:
        return resolve_run(store, text.removeprefix("runs:/"))
    except UnknownRun as unknown:
        try:
            return _of_model(store, text)
        except _UnknownModel:
            raise RequestError(f"{unknown} No registered model is called so either.") from unknown


def find_trained(store: Store, text: str) -> RunRecord:
    """Find the one trained run that `text` names: as `find_run`, but `latest` is the finished run that started last.

    Raises:
        RequestError: `text` names no run, or several, or a sweep.
        StoreError: the store cannot be read.
    """
    with cached_reads(store):
        run = _finished(store)[-1] if text == LATEST else _find_run(store, text)
    if is_sweep(run):
        raise RequestError(
            f"{run.name} ({run.run_id}) is a sweep, which has no model of its own. Name one of its runs; "
            f"`harness compare {run.run_id[:8]} --format json` lists them."
        )
    return run


def find_sweep(store: Store, text: str) -> RunRecord:
    """Find the sweep that `text` names: as `find_run`, but `latest` is the sweep that started last, and `best` is the
    sweep of the best run.

    Raises:
        RequestError: `text` names nothing, or several runs, or no sweep.
        StoreError: the store cannot be read.
    """
    if text == LATEST:
        if (sweep := latest_sweep(store)) is None:
            raise RequestError("There is no sweep yet. Make one with `harness sweep`.")
        return sweep
    with cached_reads(store):
        run = _find_run(store, text)
        found = _parent(store, run) or run if text == BEST else run
    if not is_sweep(found):
        raise RequestError(
            f"The run {found.name} ({found.run_id}) is no sweep. Name a sweep, or every run of an experiment: "
            f"--experiment {shlex.quote(found.experiment)}"
        )
    return found


def _parent(store: Store, run: RunRecord) -> RunRecord | None:
    """The sweep that a run belongs to; None if there is none, or it was deleted."""
    if run.parent_id is None:
        return None
    parents = [parent for parent in read_sweeps(store, run.experiment) if parent.run_id == run.parent_id]
    return parents[0] if parents else None


def best_run(store: Store) -> RunRecord:
    """The finished run with the highest held-out accuracy in the experiment of the latest run, among runs that were
    scored on the same images.

    Held-out is the validation split if all runs with these test images have one, else the test images; the test
    accuracy of the run chosen by it is then optimistic. Raises as `find_run`.
    """
    finished = _finished(store)
    latest = finished[-1]
    runs = [run for run in finished if run.experiment_id == latest.experiment_id]
    images = dict(zip((run.run_id for run in runs), images_of(runs), strict=True))
    evaluated = images[latest.run_id]
    peers = [run for run in runs if images[run.run_id].test == evaluated.test]
    metric = "final/test_accuracy"
    if all(_BY_VALIDATION in run.metrics for run in peers):
        metric, peers = _BY_VALIDATION, [run for run in peers if images[run.run_id].val == evaluated.val]
    return max(peers, key=lambda run: run.metrics.get(metric, float("-inf")))


def _finished(store: Store) -> list[RunRecord]:
    """The finished runs of the experiment that was used last; if it has none, those of the whole store. Never empty."""
    newest = latest_run(store)
    runs = [] if newest is None else without_confirming(store, read_runs(store, experiment=newest.experiment))
    if not any(run.state is RunState.FINISHED for run in runs):
        runs = without_confirming(store, read_runs(store))
    finished = [run for run in runs if run.state is RunState.FINISHED]
    if not finished:
        raise RequestError("There are no finished runs yet. Make one with `harness train`.")
    return finished


def _of_model(store: Store, text: str) -> RunRecord:
    """The run that a registered or a logged model comes from."""
    from mlflow.exceptions import MlflowException

    with store.connected() as client:
        try:
            run_id = _source_run(client, text)
        except MlflowException as error:
            # MLflow reports a missing alias, or a name that is not allowed, as an invalid parameter.
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
    """The id of the run that a model comes from; empty if not recorded; None if there is no such model."""
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
    """The folder of the run's logged MLflow model (`MLmodel`, `data/model.keras`, ...), valid during the block.

    Raises `RequestError` if the run has no model.
    """
    with downloaded(store, model_location(store, run)) as folder:
        yield folder


def model_location(store: Store, run: RunRecord) -> str:
    """The URI of the folder of the run's logged model. Raises as `model_folder`."""
    model_id = logged_model_id(store, run)
    with store.connected() as client:
        return str(client.get_logged_model(model_id).artifact_location)


def logged_model_id(store: Store, run: RunRecord) -> str:
    """The id (`m-...`) of the model that the run logged last. Raises `RequestError` if it has none."""
    with store.connected() as client:
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
def downloaded(store: Store, location: str, is_file: bool = False) -> Iterator[Path]:
    """The artifact (a file or folder) at the URI `location` as a local path; not copied if it is on this machine.

    `is_file`: it is a file if it exists, which spares the request that finds out.
    Raises `OutsideStore` if it does not belong to the store, or contains links (`allowed_locations.artifact_path`).
    """
    if (path := store.artifact_path(location)) is not None:
        if store.database is not None and not path.exists():
            check_in_place(store.database)
        check_files(path)
        yield path
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    root, _, name = location.rstrip("/").rpartition("/")
    with tempfile.TemporaryDirectory() as temporary:
        with store.explained():
            repository = get_artifact_repository(root, tracking_uri=store.uri)
            if is_file:
                repository._download_file(name, found := str(Path(temporary, Path(name).name)))  # as plugins define it
            else:
                repository.list_artifacts = _bounded(repository.list_artifacts, location)
                found = repository.download_artifacts(name, temporary)
        yield Path(found)


def _bounded(usual: Callable[[str | None], list[Any]], location: str) -> Callable[[str | None], list[Any]]:
    """MLflow's function that lists a folder of artifacts, with limits: `StoreError` if a server lists without end."""
    files, asked = 0, Counter[str | None]()

    def listed(path: str | None = None) -> list[Any]:
        nonlocal files
        found = usual(path)
        files += 0 if path in asked else len(found)
        deep = (path or "").count("/") > _DEEPEST
        if asked[path] > _ASKED_AGAIN or deep or files > MOST_FILES or any(item.path == path for item in found):
            raise StoreError(f"The folder {location} has no end: its server lists folders in themselves, or too many.")
        asked[path] += 1
        return found

    return listed


@contextmanager
def run_artifact(store: Store, run: RunRecord, name: str) -> Iterator[Path]:
    """The run's artifact `name` as a local path. Raises `RequestError` if the run does not have it, and as
    `downloaded`."""
    with store.connected() as client:
        location = f"{client.get_run(run.run_id).info.artifact_uri.rstrip('/')}/{name}"
    if not run.is_own:  # an external run's artifacts may be anywhere
        there = False
    elif (path := store.artifact_path(location)) is not None:
        there = path.exists()
    else:
        folder = name.rpartition("/")[0]
        with store.connected() as client:
            there = any(item.path == name for item in client.list_artifacts(run.run_id, folder or None))
    if not there:
        if store.database is not None:
            check_in_place(store.database)
        raise RequestError(f"The run {run.name} ({run.run_id}) has no artifact {name}: was it made by the harness?")
    with downloaded(store, location) as path:
        yield path
