"""The tracking store as a value: opened once, where a command begins, and handed down to all that reads or writes.

Opening touches nothing and imports no MLflow; a `Store` connects when it is first used.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.errors import StoreError
from harness.tracking import access
from harness.tracking.soundness import check_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

SQLITE = re.compile(r"(?P<head>sqlite(\+\w+)?:///(file:)?)(?!:memory:)(?P<file>[^?]+)(?P<options>\?.*)?")
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI opens in its model-training layout
    "mlflow.experiment.primaryMetric.name": "final/gap_test_accuracy",
}

# The harness talks to the store that it was given and to nobody else.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def open_store(configured: str | None = None) -> Store:
    """The store at the URI `configured` (`tracking.uri`, `--store`), else at `MLFLOW_TRACKING_URI`, else the project's.

    A process has one `Store` for each URI.
    """
    return _opened(_absolute(configured or os.environ.get("MLFLOW_TRACKING_URI") or paths.default_store_uri()))


class Store:
    """Where runs are kept: a SQLite file, another database or a server. Made by `open_store`.

    Stores are equal where they are the same database, whatever options their URIs have.

    Attributes:
        uri: as MLflow wants it; the path of a SQLite file in it is absolute. It may hold a password: see `shown`.
        database: the file of a SQLite store, on this machine; None for any other.
    """

    def __init__(self, uri: str) -> None:
        match = SQLITE.fullmatch(uri)
        self.uri = uri
        self.database = None if match is None else Path(match["file"])
        self._answered = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Store({self.shown!r})"

    @property
    def _identity(self) -> Path | str:
        return self.database or self.uri

    @property
    def shown(self) -> str:
        """The URI without user and password."""
        return access.shown_uri(self.uri)

    @property
    def is_local(self) -> bool:
        """Whether processes that use the store can keep each other out by a lock (`exclusive`)."""
        return self.database is not None

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def is_missing(self) -> bool:
        """Whether the store is a file that does not exist yet."""
        return self.database is not None and not self.database.is_file()

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient` on a store that is ready: tables made, once and under a lock, if it is a new SQLite file.

        Raises `StoreError`. Several processes that make the tables of one file at the same time would crash.
        """
        from mlflow import MlflowClient

        for talker in ("mlflow", "alembic"):
            logging.getLogger(talker).setLevel(logging.WARNING)
        # It prints a traceback for each error of the database, which is then raised too.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        with self.explained():
            self._make_tables()
            return MlflowClient(tracking_uri=self.uri)

    def explained(self) -> AbstractContextManager[None]:
        """One use of the store, whole; what MLflow and the database raise becomes a `StoreError` that names it."""
        return access.explained(self.shown, self.is_server)

    def await_answer(self) -> None:
        """Make sure, before anything else is asked of it, that a store which is no local file answers; once a process.

        It is said what is waited for. Raises `StoreError` after 20 seconds, see `access.await_answer`.
        """
        if self.database is not None or self._answered:
            return
        import mlflow  # noqa: F401 - takes seconds, for which the store is not to blame

        def ask() -> None:
            client = self.client
            with self.explained():
                client.search_experiments(max_results=1)

        access.await_answer(ask, self.shown)
        self._answered = True

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time, for a local store; a server keeps its own order."""
        from filelock import FileLock, Timeout

        if self.database is None:
            yield
            return
        lock = self.database.with_name(self.database.name + ".lock")
        try:
            with FileLock(lock, timeout=60, is_singleton=True):  # a process that holds it may ask again
                yield
        except Timeout as error:
            raise StoreError(
                f"Another process has held {lock} for a minute. Try again when it is done, or end it; "
                "the lock goes with its process, the file may stay."
            ) from error

    def wait_until_made(self) -> None:
        """Return when no other process is making the store's tables. Raises `StoreError` after a minute."""
        with self.exclusive():
            pass

    def check_writable(self) -> None:
        """Make sure, before anything is written, that a local store can take runs; a server says so itself.

        Raises `StoreError` as `check_sqlite` does.
        """
        if self.database is not None:
            check_sqlite(self.database, artifact_root(self.database))

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment `name`, made if need be.

        Raises `StoreError` if it was deleted; see `check_writable`.
        """
        self.check_writable()
        client = self.client
        with self.explained(), self.exclusive():
            found = client.get_experiment_by_name(name)
            if found is None:
                return str(client.create_experiment(name, tags=EXPERIMENT_TAGS, **self._artifact_location(name)))
            if found.lifecycle_stage == "deleted":
                raise StoreError(
                    f"The experiment '{name}' has been deleted in {self.shown}. Restore it with "
                    f"`mlflow experiments restore --experiment-id {found.experiment_id}` or set another "
                    "tracking.experiment."
                )
            return str(found.experiment_id)

    def _make_tables(self) -> None:
        if self.database is None:
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        if "%" in self.uri:
            raise StoreError(
                f"The tracking store {self.uri} cannot be made: MLflow misreads a path with a % in it. Move it."
            )
        if self == Store(paths.default_store_uri()):
            self.database.parent.mkdir(parents=True, exist_ok=True)
        if not self.database.parent.is_dir():
            raise StoreError(
                f"The tracking store {self.uri} cannot be made: there is no folder {self.database.parent}."
            )
        with self.exclusive():
            SqlAlchemyStore(self.uri, artifact_root(self.database).as_uri())

    def _artifact_location(self, experiment: str) -> dict[str, str]:
        """An absolute place for a local store's artifacts; a client elsewhere would use its own working directory."""
        if self.database is None:
            return {}
        folder = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in experiment)
        return {"artifact_location": (artifact_root(self.database) / folder).as_uri()}


@lru_cache
def _opened(uri: str) -> Store:
    return Store(uri)


def _absolute(uri: str) -> str:
    """A URI that means the same store in every working directory."""
    if (match := SQLITE.fullmatch(uri)) is None:
        return uri
    return f"{match['head']}{Path(match['file']).absolute()}{match['options'] or ''}"


def artifact_root(database: Path) -> Path:
    """Where the artifacts of a SQLite store lie: `mlruns/` beside the database, as MLflow would put them."""
    return database.parent / "mlruns"


def load_mlflow() -> None:
    """Import what a run needs of MLflow: seconds."""
    import mlflow.data
    import mlflow.keras
    import mlflow.models  # noqa: F401
