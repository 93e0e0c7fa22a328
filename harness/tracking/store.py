"""The tracking store as a value: opened once, where a command begins, and handed down to all that reads or writes.

Opening touches nothing and imports no MLflow; a `Store` connects when it is first used.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from contextlib import contextmanager, nullcontext
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from harness import paths
from harness.errors import RequestError, StoreError
from harness.tracking import access
from harness.tracking.locations import artifact_root, check_in_place, experiment_folder, recorded_artifacts
from harness.tracking.making import make_database
from harness.tracking.places import artifact_path
from harness.tracking.preflight import check_artifacts, check_journal, check_made, check_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

OPTIONS = re.compile(r"\?[\w.-]+=[^&/]*(&[\w.-]+=[^&/]*)*")
LONGEST_NAME = 200
"""Bytes of a file's name: file systems take 255, and a lock, a journal or a copy have longer names."""
SQLITE = re.compile(r"(?P<head>sqlite(\+\w+)?:///(file:)?)(?!:memory:)(?P<file>[^?]+)(?P<options>\?.*)?")
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI opens in its model-training layout
    "mlflow.experiment.primaryMetric.name": "final/gap_test_accuracy",
}

# The harness talks to the store that it was given and to nobody else.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# MLflow prints the address of each run when it ends, with the password that it may hold.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"


def open_store(configured: str | None = None) -> Store:
    """The store at the URI `configured` (`tracking.uri`, `--store`), else at `MLFLOW_TRACKING_URI`, else the project's.

    A process has one `Store` for each URI. Raises `RequestError` for a URI that names no place, or one that MLflow and
    SQLite read differently.
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

    @cached_property
    def _identity(self) -> Path | str:
        return self.database.resolve() if self.database is not None else self.uri

    @property
    def shown(self) -> str:
        """The URI without user and password."""
        return access.shown_uri(self.uri)

    @property
    def option(self) -> str:
        """` --store URI`, as a shell wants it, for another command on this store; empty where it would open this one
        anyway."""
        return "" if self == open_store() else f" --store {shlex.quote(self.shown)}"

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
        """Whether the store is a file that does not exist yet, or in which nothing was ever written."""
        return self.database is not None and not (self.database.is_file() and self.database.stat().st_size)

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
            access.bound_answers()
            return MlflowClient(tracking_uri=self.uri)

    def make(self) -> None:
        """Make a SQLite store that does not exist yet. Raises `StoreError`."""
        _ = self.client

    def explained(self) -> AbstractContextManager[None]:
        """One use of the store, whole; what MLflow and the database raise becomes a `StoreError` that names it."""
        return access.explained(self.shown, self.is_server)

    def await_answer(self) -> None:
        """Make sure, before anything else is asked of it, that a store which is no local file answers; once a process.

        It is said what is waited for. Raises `StoreError` after 15 seconds, see `access.await_answer`.
        """
        if self.database is not None or self._answered:
            return
        import mlflow  # noqa: F401 - takes seconds, for which the store is not to blame

        def ask() -> None:
            client = self.client
            with self.explained():
                client.search_experiments(max_results=1)

        with access.retries(access.WHILE_TRAINING):
            access.await_answer(ask, self.shown)
        self._answered = True

    def artifact_path(self, location: str) -> Path | None:
        """The path on this machine of artifacts that the store records at `location`; None where they are elsewhere.

        To be asked before they are read or written. Raises `OutsideStore` as `places.artifact_path`.
        """
        return artifact_path(self.uri, self.database, location)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time, for a local store; a server keeps its own order."""
        from filelock import FileLock, Timeout

        if self.database is None:
            yield
            return
        file = self.database.resolve()  # by whichever link it was named
        lock = file.with_name(file.name + ".lock")
        if lock.is_symlink() or (lock.exists() and not lock.is_file()):
            raise StoreError(f"{lock} is no plain file, so it is no lock of ours. Look at it, and take it away.")
        held = FileLock(lock, timeout=60, is_singleton=True)  # a process that holds it may ask again
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
        """Make sure, before anything is written, that a local store can take runs; a server says so itself.

        The artifacts of an `experiment` may lie elsewhere than the store's own. Raises `StoreError` as `check_sqlite`
        and `check_in_place` do.
        """
        if self.database is None:
            return
        self.check_sound()
        check_in_place(self.database)
        if experiment is not None and (folder := recorded_artifacts(self.database, experiment)) is not None:
            check_artifacts(self.database, folder)

    def check_sound(self) -> None:
        """As `check_writable`, also for a store that was moved."""
        if self.database is not None:
            check_sqlite(self.database, artifact_root(self.database))

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment `name`, made if need be.

        Raises `StoreError` if it was deleted; see `check_writable`.
        """
        self.check_writable(name)
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
        """An absolute place for a local store's artifacts; a client elsewhere would use its own working directory."""
        if self.database is None:
            return {}
        return {"artifact_location": (artifact_root(self.database) / experiment_folder(experiment)).as_uri()}


@lru_cache
def _opened(uri: str) -> Store:
    return Store(uri)


def _absolute(uri: str) -> str:
    """A URI that means the same store in every working directory, and to MLflow as to SQLite."""
    if (match := SQLITE.fullmatch(uri)) is None:
        if problem := _problem_of_uri(uri):
            raise RequestError(f"The tracking store {access.shown_uri(uri)} cannot be used: {problem}")
        return uri
    database, options = Path(match["file"]).absolute(), match["options"] or ""
    if problem := _problem_of_file(database, options):
        raise RequestError(
            f"The tracking store {database}{options} cannot be used: {problem} Move it, or name another store with "
            "tracking.uri=sqlite:////PATH."
        )
    return f"{match['head']}{database}{options}"


def _problem_of_uri(uri: str) -> str:
    if uri.startswith("sqlite"):
        written = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        if ":memory:" in uri or uri.rstrip("/").endswith(":"):
            return f"a database in memory keeps nothing. Name a file: {written}"
        return f"a SQLite store is written with the whole path of its file, four strokes in all: {written}"
    if ("://" not in uri or uri.startswith("file:")) and not uri.startswith(("databricks", "uc")):
        place = Path(uri.removeprefix("file:").removeprefix("//")).absolute()
        file = place if place.suffix else place / "mlflow.db"
        return f"MLflow keeps runs in a database or on a server, not in a folder. Write sqlite:///{file}"
    return ""


def _problem_of_file(database: Path, options: str) -> str:
    if unquote(str(database)) != str(database):
        return "MLflow would read the % and the two digits after it as another character."
    if options and not OPTIONS.fullmatch(options):
        return "in a URI a ? ends the path, so that no folder or file may have one in its name."
    if not str(database).isprintable():
        return "its path has characters that cannot be shown."
    if len(database.name.encode()) > LONGEST_NAME:
        return f"the name of its file is longer than {LONGEST_NAME} bytes."
    try:
        database.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is yet to be made, or says so when it is used
    except OSError as error:  # links that go round, a name or a path that is too long
        return f"{error.strerror}."
    return ""


def load_mlflow() -> None:
    """Import what a run needs of MLflow: seconds."""
    import mlflow.data
    import mlflow.keras
    import mlflow.models  # noqa: F401
