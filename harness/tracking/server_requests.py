"""Reading requests to an MLflow server without the import of MLflow, which takes longer than most of them."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from harness.tracking import access
from harness.tracking.refusals import CERTIFICATE, PASSWORD, TOKEN, USER
from harness.tracking.store import Store

OK = 200
SECONDS = 120.0
"""How long to wait for the first byte of an answer, as MLflow does."""
NOT_HERE = (
    "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_WORKSPACE", access.TIMEOUT,
)  # fmt: skip
"""Variables with which MLflow itself makes the requests."""


def ask(store: Store, path: str, *, json: Mapping[str, Any] | None = None, params: Any = None) -> dict[str, Any]:
    """The answer of the server to a POST with `json`, or to a GET with `params`. Raises `StoreError`.

    The request is made with `requests` alone, once. If it does not get a plain answer, MLflow makes it again, with its
    retries, plugins and errors.
    """
    found = ask_plainly(store, path, json=json, params=params)
    if found is not None:
        return found
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    with store.explained():
        access.bound_answers()
        asked = {"params": params} if json is None else {"json": json}
        method = "GET" if json is None else "POST"
        answer = http_request(get_default_host_creds(store.uri), path, method, **asked)
        return dict(verify_rest_response(answer, path).json())


def ask_plainly(
    store: Store, path: str, *, json: Mapping[str, Any] | None = None, params: Any = None
) -> dict[str, Any] | None:
    """As `ask`, without MLflow; None if the answer is not as usual."""
    from requests import RequestException

    if any(os.environ.get(name) for name in NOT_HERE):
        return None
    with suppress(RequestException, OSError, ValueError, RecursionError):
        answer = _session().request(
            *("GET" if json is None else "POST", store.uri.rstrip("/") + path),
            json=json, params=params, timeout=SECONDS, allow_redirects=False, **_identity(),
        )  # fmt: skip
        found = answer.json() if answer.status_code == OK else None
        return found if isinstance(found, dict) else None
    return None


@cache
def _session() -> Any:
    from requests import Session

    session = Session()
    session.hooks["response"] = [access.bound]
    return session


def _identity() -> dict[str, Any]:
    """Who asks, in the words of `requests`: user and password, or a token; and how the server is known."""
    known: dict[str, Any] = {"verify": os.environ.get(CERTIFICATE, True)}
    user, password = (os.environ.get(name) for name in (USER, PASSWORD))
    if user and password:
        return known | {"headers": {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}}
    if token := os.environ.get(TOKEN):
        return known | {"headers": {"Authorization": f"Bearer {token}"}}
    return known
