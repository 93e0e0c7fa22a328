"""MLflow's model registry: registers the model of a run as a version of a named model."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.surroundings import environment
from harness.tracking.models import BEST, LATEST, logged_model_id
from harness.tracking.store import Store

NAME_LIMIT = 256  # characters, those of the column in MLflow's tables
ALIAS_LIMIT = 255
_ALIAS = re.compile(r"[\w-]+")
_VERSION_ALIAS = re.compile(r"[vV]\d+")
SHOWN_PARAMETERS = ("dataset.name", "model.name")
SHOWN_METRICS = ("final/test_accuracy", "final/test_loss", "final/gap_test_accuracy", "final/gap_test_loss")


@dataclass(frozen=True)
class Registered:
    """A version in the registry. `new` is False if the run was already registered under this name; `alias_was_on` is
    the version from which the alias was moved, if any."""

    name: str
    version: int
    alias: str
    new: bool
    alias_was_on: int | None


def check_names(name: str, alias: str) -> None:
    """Raise `RequestError` for a name or an alias that MLflow refuses, or that later commands could not use.

    MLflow itself checks an alias only after it has created the version.
    """
    if problem := _problem_of_name(name):
        raise RequestError(f"'{name}' cannot be the name of a registered model: {problem}.")
    if problem := _problem_of_alias(alias):
        raise RequestError(
            f"--alias '{alias}': {problem}. Letters, digits, - and _ are allowed: champion, for instance."
        )


def _problem_of_name(name: str) -> str:
    if name in (LATEST, BEST):
        return "a command that takes a run understands the word otherwise"
    if not name.strip() or name != name.strip():
        return "it is empty, or begins or ends with a space"
    if wrong := [letter for letter in "/:@\"'" if letter in name]:
        return f"it has a {wrong[0]} in it. models:/NAME/VERSION and NAME@ALIAS must stay readable"
    if name in (".", ".."):
        return "MLflow may use it as the name of a folder"
    return f"it is longer than {NAME_LIMIT} characters" if len(name) > NAME_LIMIT else ""


def _problem_of_alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias):
        return "it is empty, or has characters that MLflow does not allow"
    if alias.lower() == LATEST:
        return "MLflow keeps that alias for the highest version"
    if _VERSION_ALIAS.fullmatch(alias):
        return "MLflow keeps v and a number for versions"
    return f"it is longer than {ALIAS_LIMIT} characters" if len(alias) > ALIAS_LIMIT else ""


def register_model(store: Store, run: RunRecord, name: str, alias: str, description: str | None = None) -> Registered:
    """Make the model of `run` a version of the registered model `name`, with `alias` on it.

    The version links to the logged model, whose page has all metrics. The page of the version and the list of versions
    show only tags, so dataset, model and test scores are tags as well. If the run is already a version of `name`, no
    new version is made: the alias is moved to it, and `description`, if given, replaces the old one. The default
    description consists of the run's scores.

    Raises:
        RequestError: the run has not finished or has no model, or MLflow refuses a name.
        StoreError: the store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    check_names(name, alias)
    store.check_writable()  # a version records the location of the model
    if run.state is not RunState.FINISHED:
        raise RequestError(f"The run {run.name} ({run.run_id}) is {run.state}: only a finished run can be registered.")
    model_id = logged_model_id(store, run)
    with store.connected() as client:
        try:
            aliases = _aliases(client, name)
            versions = client.search_model_versions(f"name = '{name}'")
            same = [int(one.version) for one in versions if one.source == f"models:/{model_id}"]
            version = min(same, default=None)  # the first one, if there are several
            if new := version is None:
                version = _create(store, client, run, name, model_id, description or described(run))
            elif description is not None:
                client.update_model_version(name, str(version), description)
            client.set_registered_model_alias(name, alias, str(version))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise RequestError(f"MLflow does not register this as '{name}': {error.message}") from error
    was = aliases.get(alias)
    return Registered(name, version, alias, new, None if was in (None, version) else was)


def described(run: RunRecord) -> str:
    """A sentence with the run's name, id, dataset, model, and the scores that it has."""
    parts = [", ".join(run.parameters[key] for key in SHOWN_PARAMETERS if key in run.parameters)]
    if (accuracy := run.metrics.get("final/test_accuracy")) is not None:
        parts.append(f"test accuracy {100 * accuracy:.2f} %")
    if (gap := run.metrics.get("final/gap_test_accuracy")) is not None:
        parts.append(f"gap to test {100 * gap:+z.2f} points")
    return f"{run.name} (run {run.run_id}): {', '.join(filter(None, parts))}."


def _aliases(client: Any, name: str) -> dict[str, int]:
    """The aliases of the registered model `name` with their version numbers; the model is created if it is missing."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        model = client.create_registered_model(name)
    return {alias: int(version) for alias, version in model.aliases.items()}


def _create(store: Store, client: Any, run: RunRecord, name: str, model_id: str, description: str) -> int:
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    tags = {key: run.parameters[key] for key in SHOWN_PARAMETERS if key in run.parameters}
    tags |= {key: f"{run.metrics[key]:.6g}" for key in SHOWN_METRICS if key in run.metrics}
    # MLflow looks up the logged model behind a new version in the default store, whichever the client is for. What a
    # notebook has set as the default goes before the variable, which MLflow sets and removes together with it.
    with environment(MLFLOW_TRACKING_URI=store.uri), _use_tracking_uri(store.uri):
        version = client.create_model_version(
            name, f"models:/{model_id}", run.run_id, tags, description=description, model_id=model_id
        )
    _list_version(client, model_id, name, int(version.version))
    return int(version.version)


def _list_version(client: Any, model_id: str, name: str, version: int) -> None:
    """Show the version on the page of the logged model, as `mlflow.register_model` does."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    listed = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if not any((item["name"], int(item["version"])) == (name, version) for item in listed):  # a server has done it
        listed.append({"name": name, "version": version})
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(listed)})
