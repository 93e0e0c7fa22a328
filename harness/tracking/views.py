"""Saved views of the MLflow UI: tags of an experiment, which its page lists under "Views" and opens by a URL.

The harness's own views have keys that begin with `harness-`; they are written only if they change, and other views are
never changed. For an unknown version of MLflow no views are written.
"""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from harness.errors import StoreError
from harness.tracking.access import retry_insert
from harness.tracking.reading import experiment_tags
from harness.tracking.shared_writes import tag_run
from harness.tracking.store import Store

log = logging.getLogger(__name__)

TAG = "mlflow.sharedViewState."
OWN = "harness-"
OF_SWEEP = f"{OWN}sweep-"
OF_SEARCH = f"{OWN}search-"
WRITES = 8
"""Requests to a server at once."""
MOST_SWEEPS, MOST_SEARCHES = 20, 5
"""The page holds forty views of an experiment. Only those of the latest are kept, so that users can add some."""


@dataclass(frozen=True)
class View:
    """A view: `key` is unique in its experiment, `name` is shown.

    `created` (milliseconds since 1970) orders the page's list, latest first; `state` is as in `view_states`.
    """

    key: str
    name: str
    created: int
    state: Mapping[str, Any]


def sweep_key(parent_id: str) -> str:
    """The key of a sweep's view; it never changes."""
    return OF_SWEEP + parent_id


def search_key(parent_id: str) -> str:
    """The key of a search's view of settings against the gap."""
    return OF_SEARCH + parent_id


def tags_of_views(parent_id: str) -> list[str]:
    """The tags of an experiment that are about a sweep or a search."""
    return [TAG + sweep_key(parent_id), TAG + search_key(parent_id)]


def view_page(experiment_id: str, key: str) -> str:
    """The path of a view in the UI (after the host), with its charts open."""
    query = f"viewStateShareKey={key}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"/#/experiments/{experiment_id}/runs?{query}"


def run_page(experiment_id: str, run_id: str) -> str:
    """The path of a run in the UI (after the host)."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}"


def named_view(view: View) -> str:
    """The tag's value: JSON with the name and the compressed state. Equal views give equal text."""
    text = json.dumps(view.state, separators=(",", ":"), ensure_ascii=False)
    state = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return json.dumps({"name": view.name, "createdAt": view.created, "updatedAt": view.created, "state": state})


KNOWN_PAGES: Mapping[str, Callable[[View], str]] = {"3.17": named_view, "3.18": named_view}
"""The format of a view for each tested version of MLflow."""


Labels = Mapping[str, Mapping[str, str]]
"""Tags of runs, by run id."""


def write_views(store: Store, experiment_id: str, views: Sequence[View], labels: Labels | None = None) -> bool:
    """Write those `views` that are new or have changed, and the `labels` by which they group runs. Returns whether this
    version of MLflow can show them.

    Raises `StoreError`.
    """
    page = page_version(store)
    write = KNOWN_PAGES.get(".".join(page.split(".")[:2]))
    if write is None:
        log.info("No views are saved: the page of MLflow %s is not among %s.", page, ", ".join(KNOWN_PAGES))
        return False
    present = experiment_tags(store, experiment_id)
    own = {key: value for key, value in present.items() if key.startswith(TAG + OWN)}
    wanted = {TAG + view.key: write(view) for view in views}
    changed = {key: value for key, value in wanted.items() if own.get(key) != value}
    known = own | wanted
    surplus = set[str]()
    for kind, most in ((OF_SWEEP, MOST_SWEEPS), (OF_SEARCH, MOST_SEARCHES)):
        of_kind = [key for key in known if key.startswith(TAG + kind)]
        of_kind.sort(key=lambda key: int(json.loads(known[key])["createdAt"]), reverse=True)
        surplus |= set(of_kind[most:])
    if changed or surplus or labels:
        with store.connected() as client:  # importing MLflow takes seconds: only if there is something to write
            with ThreadPoolExecutor(1 if store.is_local else WRITES) as pool:  # a server takes a request for each run
                writing = [pool.submit(tag_run, store, run_id, tags) for run_id, tags in (labels or {}).items()]
            for written in writing:
                written.result()
            for key, value in changed.items():
                retry_insert(partial(client.set_experiment_tag, experiment_id, key, value))
            for key in surplus & own.keys():
                client.delete_experiment_tag(experiment_id, key)
    return True


def saved_views(store: Store, experiment_id: str) -> set[str]:
    """The keys of the harness's own views of an experiment. Raises `StoreError`."""
    return {key.removeprefix(TAG) for key in experiment_tags(store, experiment_id) if key.startswith(TAG + OWN)}


def page_version(store: Store) -> str:
    """The version of MLflow that shows the store: the server's, else the installed one. Raises `StoreError`."""
    if not store.is_server:
        return version("mlflow")
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    with store.explained():
        answer = http_request(get_default_host_creds(store.uri), "/version", "GET")
        if answer.status_code != 200:
            raise StoreError(f"{store.shown} does not say which version of MLflow it is ({answer.status_code}).")
        return str(answer.text).strip()
