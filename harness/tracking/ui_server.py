"""The process behind `harness ui`: MLflow's server for one user, protected by a token.

It gets a listening socket, and on standard input a line of JSON with the token, the store and its artifact folder. When
standard input ends, the command has ended, and the process exits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import socket
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from harness.errors import OutsideStore
from harness.tracking.allowed_locations import artifact_path, named_places
from harness.tracking.relocation import local_path

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_OUTSIDE = "This is outside the artifacts of the store."
REFUSED = b"This server answers whoever has its token. Open the link that `harness ui` has printed.\n"
COOKIE = "harness_ui_{port}"
"""Part of the cookie's name: cookies are shared by all ports of a host, and several servers may run."""
OWN_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
"""Allowed Host headers: the local names of this machine, with any port (the port may be forwarded)."""


class TokenRequired:
    """Accepts only requests with the token: as a cookie, as `Authorization: Bearer` (`MLFLOW_TRACKING_TOKEN` of
    MLflow's client), or as the password of basic authentication. The link with `?token=` sets the cookie.

    For a browser all servers on this machine are the same host: it would send the cookie to servers of other users too,
    and let their pages send requests here. So all pages are below a secret path, to which the cookie is bound, and
    requests from pages of another origin, or with an unknown host name, are refused.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application, self._token, self._cookie = application, token, COOKIE.format(port=port)
        self._folder = f"/{hashlib.sha256(f'folder {token}'.encode()).hexdigest()[:20]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it (401); other ASGI events (the server's start) pass."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        headers = {key.lower(): value.decode("latin-1") for key, value in scope.get("headers", ())}
        host = headers.get(b"host", "")
        own = OWN_HOSTS.fullmatch(host) and headers.get(b"origin", f"http://{host}") == f"http://{host}"
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[-1].rstrip("/")
        inside = scope["path"].startswith(f"{self._folder}/")
        get = scope["type"] == "http" and scope["method"] == "GET"
        if own and get and scope["path"] == "/" and self._is_token(given):
            cookie = f"{self._cookie}={self._token}; Path={self._folder}; HttpOnly; SameSite=Lax"
            place = (b"location", f"{self._folder}/".encode())
            await _answer(send, 303, b"", [place, (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")])
        elif own and inside and self._is_token(self._cookie_of(headers)):
            bare = {key: scope[key][len(self._folder) :] for key in ("path", "raw_path") if scope.get(key)}
            await self._application({**scope, **bare}, receive, send)
        elif own and self._is_token(_credential(headers)):
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, 401, REFUSED, [(b"content-type", b"text/plain; charset=utf-8")])
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _cookie_of(self, headers: MutableMapping[bytes, str]) -> str:
        try:
            found = SimpleCookie(headers.get(b"cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value


def _credential(headers: MutableMapping[bytes, str]) -> str:
    kind, _, value = headers.get(b"authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return value.strip() if kind.lower() == "bearer" else ""


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def keep_artifacts_within(root: Path, store: str) -> None:
    """From now on let MLflow read and write artifacts only below `root` (links resolved) or in places that
    HARNESS_ARTIFACTS names: a record in the store could name any other folder."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    named = [found.resolve() for place in named_places() if (found := local_path(place)) is not None]
    roots = [root.parent.resolve() / root.name, *named]

    def is_within(folder: str, path: str | None) -> bool:
        found = Path(folder, path or "").resolve()
        return any(found.is_relative_to(own) for own in roots)

    def checked(usual: Callable[..., Any], location: str, *given: Any, **others: Any) -> Any:
        try:
            artifact_path(store, None, location)
        except OutsideStore:
            raise MlflowException(_OUTSIDE, error_code=PERMISSION_DENIED) from None
        return usual(location, *given, **others)

    class Within(LocalArtifactRepository):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._check(None)

        def _check(self, path: str | None) -> None:
            if not is_within(self._artifact_dir, path):
                raise MlflowException(_OUTSIDE, error_code=PERMISSION_DENIED)

        def get_local_path(self, artifact_path: str) -> Any:
            self._check(artifact_path)
            return super().get_local_path(artifact_path)

        def _get_or_create_artifact_dir(self, artifact_path: str | None = None) -> Any:
            self._check(artifact_path)
            return super()._get_or_create_artifact_dir(artifact_path)

        def list_artifacts(self, path: str | None = None) -> Any:
            self._check(path)
            return [info for info in super().list_artifacts(path) if is_within(self._artifact_dir, info.path)]

        def _download_file(self, remote_file_path: str, local_path: str) -> Any:
            self._check(remote_file_path)
            return super()._download_file(remote_file_path, local_path)

        def delete_artifacts(self, artifact_path: str | None = None) -> Any:
            self._check(artifact_path)
            return super().delete_artifacts(artifact_path)

    registered = _artifact_repository_registry.get_registered_artifact_repositories()
    for scheme in [*registered]:
        if scheme in ("", "file"):
            registered[scheme] = Within
        elif scheme not in ("runs", "models"):  # MLflow resolves these to one of the others
            registered[scheme] = partial(checked, registered[scheme])


def main(descriptor: int) -> int:
    """Serve on the listening socket `descriptor` until the command ends."""
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
    from mlflow.server.handlers import initialize_backend_stores

    # No job workers (they are for language models): the server starts in half the time.
    os.environ |= {
        BACKEND_STORE_URI_ENV_VAR: told["store"],
        ARTIFACT_ROOT_ENV_VAR: told["artifacts"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_WORKSPACES": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
    }
    initialize_backend_stores(told["store"], told["store"], told["artifacts"])
    keep_artifacts_within(Path(told["artifacts"]), told["store"])
    import uvicorn
    from mlflow.server.fastapi_app import app

    listener = socket.socket(fileno=descriptor)
    guarded = TokenRequired(app, told["token"], listener.getsockname()[1])
    config = uvicorn.Config(guarded, access_log=False, log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _end_with_the_command() -> None:
    # The command writes nothing more: this returns when it has ended, even by `kill -9`. Python's own reader would hold
    # a lock, on which the interpreter would crash at exit.
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
