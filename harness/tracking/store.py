"""The tracking store as a value: opened once, where a command begins, and passed to all code that reads or writes.

Opening changes nothing and does not import MLflow; a `Store` connects when it is first used.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import time
from contextlib import contextmanager, nullcontext
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.errors import StoreError
from harness.tracking import access
from harness.tracking.allowed_locations import artifact_path
from harness.tracking.databases import has_tables, is_shared_database, shared_root, without_tables
from harness.tracking.making import make_database
from harness.tracking.preflight import check_artifacts, check_journal, check_made, check_sqlite
from harness.tracking.relocation import artifact_root, check_in_place, experiment_folder, recorded_artifacts
from harness.tracking.selection import bounded
from harness.tracking.store_uri import SQLITE, absolute_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

EXPERIMENTS_SECONDS, EXPERIMENTS_ASKED = 30.0, 1000
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI opens in its model-training layout
    "mlflow.experiment.primaryMetric.name": "final/gap_test_accuracy",
}

# The harness connects only to the store that it was given (no telemetry).
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Its bars for each download would run through the display of a sweep.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# At the end of a run MLflow prints its URL, which may hold a password.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"


def open_store(configured: str | None = None) -> Store:
    """The store at the URI `configured` (`tracking.uri`, `--store`), else at `MLFLOW_TRACKING_URI`, else the project's.

    A process has one `Store` per URI. Raises `RequestError` for an invalid URI, or one that MLflow and SQLite interpret
    differently.
    """
    return _opened(absolute_uri(configured or os.environ.get("MLFLOW_TRACKING_URI") or paths.default_store_uri()))


class Store:
    """Where runs are kept: a SQLite file, another database or a server. Made by `open_store`.

    Stores are equal if they are the same database, even if the options of their URIs differ.

    Attributes:
        uri: for MLflow; the path of a SQLite file in it is absolute. It may hold a password: see `shown`.
        database: the file of a SQLite store, on this machine; None for any other store.
    """

    def __init__(self, uri: str) -> None:
        match = SQLITE.fullmatch(uri)
        self.uri = uri
        self.database = None if match is None else Path(match["file"])
        self._answered = False
        self._experiments: tuple[float, dict[str, str]] = (-math.inf, {})
        self._ensured: dict[str, str] = {}
        self._experiment: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Store({self.shown!r})"

    @cached_property
    def _identity(self) -> Path | str:
        return self.database.resolve() if self.database is not None else self.uri

    @property
    def shown(self) -> str:
        """The URI without user and password."""
        return access.shown_uri(self.uri)

    @property
    def option(self) -> str:
        """` --store URI`, quoted for a shell, for a printed command on this store; empty if this is the default store
        anyway."""
        return "" if self == open_store() else f" --store {shlex.quote(self.shown)}"

    @property
    def is_local(self) -> bool:
        """Whether the processes that use the store can share a lock file (`exclusive`)."""
        return self.database is not None

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def is_missing(self) -> bool:
        """Whether the store is a file that does not exist yet, or is empty."""
        return self.database is not None and not (self.database.is_file() and self.database.stat().st_size)

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient` for this store; the tables of a new SQLite file are created first.

        They are created once and under a lock: several processes that create them at the same time would crash. Raises
        `StoreError`.
        """
        from mlflow import MlflowClient

        for talker in ("mlflow", "alembic"):
            logging.getLogger(talker).setLevel(logging.WARNING)
        # It would print a traceback for each error of the database, in addition to raising it.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        with self.explained():
            self._make_tables()
            access.bound_answers()
            return MlflowClient(tracking_uri=self.uri)

    def make(self) -> None:
        """Create a SQLite store that does not exist yet. Raises `StoreError`."""
        _ = self.client

    def explained(self) -> AbstractContextManager[None]:
        """Use the store in the block: signals wait, and errors of MLflow and the database become a `StoreError`."""
        return access.explained(self.shown, self.is_server, self._experiment)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """The `client`, to use in the block as by `explained`."""
        client = self.client
        with self.explained():
            yield client

    def await_answer(self) -> None:
        """Check, once per process and before other requests, that a store that is no local file answers.

        A message says what the command is waiting for. Raises `StoreError` after 15 seconds, see `access.await_answer`.
        """
        if self.database is not None or self._answered:
            return
        if self.is_server:
            access.await_answer(self._ask_plainly, self.shown)
            if self._answered:
                return
        import mlflow  # noqa: F401 - takes seconds, which must not count as waiting for the store

        def ask() -> None:
            if is_shared_database(self.uri):
                self._has_tables()
                return
            with self.connected() as client:
                client.search_experiments(max_results=1)

        def ask_patiently() -> None:
            try:
                with access.retries(0):
                    ask()
            except StoreError as error:
                if access.is_insecure(error):  # another try would fail in the same way
                    raise
                with access.retries(access.WHILE_TRAINING):
                    ask()

        access.await_answer(ask_patiently, self.shown)
        self._answered = True

    def _ask_plainly(self) -> None:
        """The first request to a server, without the import of MLflow, which then finds out what is wrong."""
        from harness.tracking.server_requests import ask_plainly

        asked = {"max_results": EXPERIMENTS_ASKED, "view_type": "ACTIVE_ONLY"}
        found = ask_plainly(self, "/api/2.0/mlflow/experiments/search", json=asked)
        try:
            if found is None or not found["experiments"]:
                return
            names = {str(one["experiment_id"]): bounded(str(one["name"])) for one in found["experiments"]}
        except (LookupError, TypeError):
            return
        self._answered = True
        if not found.get("next_page_token"):
            self.remember_experiments(names)

    def check_tables(self) -> None:
        """Before a database that is no file is read: MLflow would make or migrate tables that are missing.

        Raises `StoreError`.
        """
        if is_shared_database(self.uri) and not self._has_tables():
            raise StoreError(without_tables(self.shown))

    def _has_tables(self) -> bool:
        with self.explained():
            return has_tables(self.uri)

    def artifact_path(self, location: str) -> Path | None:
        """The local path of artifacts at the recorded `location`; None if they are not on this machine.

        Call it before they are read or written. Raises `OutsideStore` for any other location.
        """
        return artifact_path(self.uri, self.database, location)

    def check_targets(self, location: str, names: Iterable[str]) -> None:
        """Before artifacts are written at `location` under these names: check that the location belongs to the store
        and that no target is a link. A file with a second hard link is removed, so that the other name keeps its
        content. Raises `OutsideStore` as `artifact_path`."""
        for target in [self.artifact_path(f"{location.rstrip('/')}/{name}") for name in names]:
            if target is not None and target.is_file() and target.stat().st_nlink > 1:
                target.unlink()

    @contextmanager
    def exclusive(self, purpose: str = "") -> Iterator[None]:
        """A lock for one process at a time on a local store, one for each `purpose`; a server needs none."""
        from filelock import FileLock, Timeout

        if self.database is None:
            yield
            return
        file = self.database.resolve()  # the same lock, even if the URI names a link
        lock = file.with_name(f"{file.name}{purpose}.lock")
        if lock.is_symlink() or (lock.exists() and not lock.is_file()):
            raise StoreError(f"{lock} is no plain file, so it is no lock of ours. Look at it, and take it away.")
        held = FileLock(lock, timeout=60, is_singleton=True)  # reentrant within a process
        try:
            held.acquire()
        except Timeout as error:
            raise StoreError(
                f"Another process has held {lock} for a minute. Try again when it is done, or end it; "
                "the lock goes with its process, the file may stay."
            ) from error
        except OSError as error:
            raise StoreError(f"The lock {lock} cannot be taken ({error.strerror}): see whose it is.") from error
        try:
            yield
        finally:
            held.release()

    def check_writable(self, experiment: str | None = None) -> None:
        """Check, before anything is written, that a local store can record runs (a server reports problems itself).

        An `experiment` may have its artifacts outside the store's own folder. Raises `StoreError` as `check_sqlite` and
        `check_in_place` do.
        """
        if self.database is None:
            return
        self.check_sound()
        check_in_place(self.database)
        if experiment is not None and (folder := recorded_artifacts(self.database, experiment)) is not None:
            check_artifacts(self.database, folder)

    def check_sound(self) -> None:
        """As `check_writable`, but a store that was moved or copied is accepted."""
        if self.database is not None:
            check_sqlite(self.database, artifact_root(self.database))

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment `name`, which is created if it does not exist.

        A process asks a server once. Raises `StoreError` if it was deleted; see `check_writable`.
        """
        self._experiment = name
        if name in self._ensured:
            return self._ensured[name]
        self.check_writable(name)
        identity = self._found_or_created(name)
        if not self.is_local:
            self._ensured[name] = identity
        return identity

    def remember_experiment(self, name: str, identity: str) -> None:
        """Spare `ensure_experiment` the request: a run of this experiment has just been read."""
        if not self.is_local:
            self._experiment = name
            self._ensured.setdefault(name, identity)

    def remember_experiments(self, names: dict[str, str]) -> None:
        """Keep the names of the store's experiments by id for `EXPERIMENTS_SECONDS`."""
        self._experiments = (time.monotonic(), names)

    def remembered_experiments(self, within: float = EXPERIMENTS_SECONDS) -> dict[str, str] | None:
        """The names that were read in the last `within` seconds; None if there are none."""
        read, names = self._experiments
        return names if names and time.monotonic() - read < within else None

    def _found_or_created(self, name: str) -> str:
        with self.connected() as client, self.exclusive():
            found = client.get_experiment_by_name(name)
            if found is None:
                created = client.create_experiment(name, tags=EXPERIMENT_TAGS, **self._artifact_location(name))
                self._experiments[1][str(created)] = name
                return str(created)
            if found.lifecycle_stage == "deleted":
                raise StoreError(
                    f"The experiment '{name}' has been deleted in {self.shown}. Restore it with "
                    f"`mlflow experiments restore --experiment-id {found.experiment_id}` or set another "
                    "tracking.experiment."
                )
            self.artifact_path(found.artifact_location)
            return str(found.experiment_id)

    def _make_tables(self) -> None:
        if self.database is None:
            return
        check_journal(self.database)
        paths.share_as(self.database.parent)
        if self == Store(paths.default_store_uri()):
            self.database.parent.mkdir(parents=True, exist_ok=True)
        if not self.database.parent.is_dir():
            raise StoreError(
                f"The tracking store {self.uri} cannot be made: there is no folder {self.database.parent}."
            )
        with self.exclusive() if self.is_missing else nullcontext():  # no lock for a store that may only be read
            if self.is_missing:
                make_database(self.database, artifact_root(self.database))
                paths.make_folder(artifact_root(self.database))
        check_made(self.database)

    def _artifact_location(self, experiment: str) -> dict[str, str]:
        """The absolute artifact location of a new experiment (MLflow would use a relative path); empty for a server,
        which chooses it (for example on S3).

        A database has no place for artifacts: the user names one that all machines share. Raises `StoreError`.
        """
        if self.database is None:
            if not is_shared_database(self.uri):
                return {}
            return {"artifact_location": f"{shared_root(self.shown)}/{experiment_folder(experiment)}"}
        return {"artifact_location": (artifact_root(self.database) / experiment_folder(experiment)).as_uri()}


@lru_cache
def _opened(uri: str) -> Store:
    return Store(uri)


def load_mlflow() -> None:
    """Import the parts of MLflow that a run needs, which takes seconds."""
    import mlflow.data
    import mlflow.keras
    import mlflow.models  # noqa: F401
