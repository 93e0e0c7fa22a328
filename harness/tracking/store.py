"""Which tracking store, and making it ready. Everything that reads or writes runs asks here."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.errors import StoreError
from harness.tracking.soundness import check_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SQLITE = "sqlite:///"
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # the UI opens in its model-training layout
    "mlflow.experiment.primaryMetric.name": "final/gap_test_accuracy",
}

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")

CREDENTIALS = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:@]*:(?!\d+/)\S*@)")
"""What an address holds before its host. SQLAlchemy takes a password with slashes in it; `host:5000/a@b` has none."""

WRITE_ATTEMPTS = 5
TAKEN = re.compile("unique|duplicate", re.IGNORECASE)
"""How databases say that a row is there already."""

# The harness talks to the store that it was given and to nobody else.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def store_uri(configured: str | None = None) -> str:
    """The store's URI: `tracking.uri` where it is set, else `MLFLOW_TRACKING_URI`, else the project's own store."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or paths.default_store_uri()


def sqlite_file(uri: str) -> Path | None:
    """The database file of a SQLite store; None for any other store."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


def shown_uri(uri: str) -> str:
    """A store's URI, or any text with URIs in it, without the users and passwords that they may hold."""
    return CREDENTIALS.sub("", uri)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """One use of the store, whole; what MLflow and the database raise becomes a `StoreError` that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        with _whole(uri):
            yield
    except ImportError as error:
        raise StoreError(
            f"The tracking store {shown_uri(uri)} cannot be used: {error}. Install that driver of its database."
        ) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = next((one for one in (error, error.__cause__) if isinstance(one, DBAPIError)), None)
        said = error if cause is None else cause.orig  # without the SQL
        reason = shown_uri(" ".join(str(said).split())).rstrip(".")
        raise StoreError(
            f"The tracking store {shown_uri(uri)} cannot be used: {reason}.\nThe store is set by tracking.uri, else by "
            "MLFLOW_TRACKING_URI, else it is mlflow.db in the project's root."
        ) from error


def refused(error: StoreError) -> bool:
    """Whether the store was there and did not want what it was given; it would not later either."""
    return getattr(error.__cause__, "error_code", None) in REFUSALS


def taken_retried(write: Callable[[], object]) -> None:
    """Do `write`, once more where another process has inserted the same row meanwhile.

    MLflow looks for a dataset or a tag and then inserts it; the next time it is found. Two runs may be given the same
    images, and a command may end a run whose worker is just ending it.
    """
    from mlflow.exceptions import MlflowException

    for attempt in range(WRITE_ATTEMPTS):
        try:
            write()
            return
        except MlflowException as error:
            if attempt + 1 == WRITE_ATTEMPTS or not TAKEN.search(str(error)):
                raise


@contextmanager
def few_retries() -> Iterator[None]:
    """MLflow's own seven tries take minutes to give up on a server; they are for a run that has something to lose."""
    given = os.environ.get(RETRIES)
    os.environ[RETRIES] = given or "2"
    try:
        yield
    finally:
        if given is None:
            del os.environ[RETRIES]


@contextmanager
def _whole(uri: str) -> Iterator[None]:
    """Hold back the first Ctrl-C or SIGTERM until the block ends; a second one comes through.

    MLflow does not roll back a transaction that `KeyboardInterrupt` leaves, and SQLite would stay locked: the run could
    not be marked as killed. A server keeps its own order, and may let us wait for long.
    """
    if uri.startswith(("http://", "https://")) or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        handler = usual[signal.Signals(number)]
        if held and callable(handler):
            handler(number, frame)
        held.append(number)

    caught = {number: handler for number, handler in usual.items() if callable(handler)}
    for number in caught:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def load_mlflow() -> None:
    """Import what a run needs of MLflow: seconds."""
    import mlflow.data
    import mlflow.keras
    import mlflow.models  # noqa: F401


@lru_cache
def open_client(uri: str) -> Any:
    """An `MlflowClient` on a store that is ready: tables made, once and under a lock, if it is a new SQLite file.

    Raises `StoreError`. Several processes that make the tables of one file at the same time would crash.
    """
    from mlflow import MlflowClient

    for talker in ("mlflow", "alembic"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    # It prints a traceback for each error of the database, which is then raised too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with explained(uri):
        if database := sqlite_file(uri):
            _make_tables(uri, database)
        return MlflowClient(tracking_uri=uri)


def ensure_experiment(uri: str, name: str) -> str:
    """The id of the experiment `name`, made if need be. Raises `StoreError` if it was deleted; see `check_writable`."""
    check_writable(uri)
    client = open_client(uri)
    with explained(uri), exclusive(uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name, tags=EXPERIMENT_TAGS, **_artifact_location(uri, name)))
        if found.lifecycle_stage == "deleted":
            raise StoreError(
                f"The experiment '{name}' has been deleted in {shown_uri(uri)}. Restore it with "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}` or set another "
                "tracking.experiment."
            )
        return str(found.experiment_id)


def check_writable(uri: str) -> None:
    """Make sure, before anything is written, that a local store can take runs; a server says so itself.

    Raises `StoreError` as `check_sqlite` does.
    """
    if database := sqlite_file(uri):
        check_sqlite(database, artifact_root(database))


def _make_tables(uri: str, database: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if "%" in uri:
        raise StoreError(f"The tracking store {uri} cannot be made: MLflow misreads a path with a % in it. Move it.")
    if uri == paths.default_store_uri():
        database.parent.mkdir(parents=True, exist_ok=True)
    if not database.parent.is_dir():
        raise StoreError(f"The tracking store {uri} cannot be made: there is no folder {database.parent}.")
    with exclusive(uri):
        SqlAlchemyStore(uri, artifact_root(database).as_uri())


def artifact_root(database: Path) -> Path:
    """Where the artifacts of a SQLite store lie: `mlruns/` beside the database, as MLflow would put them."""
    return database.parent / "mlruns"


def _artifact_location(uri: str, experiment: str) -> dict[str, str]:
    """An absolute place for a local store's artifacts; a client elsewhere would use its own working directory."""
    database = sqlite_file(uri)
    if database is None:
        return {}
    folder = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in experiment)
    return {"artifact_location": (artifact_root(database) / folder).as_uri()}


@contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """One process at a time, for a local store; a server keeps its own order."""
    from filelock import FileLock, Timeout

    database = sqlite_file(uri)
    if database is None:
        yield
        return
    lock = database.with_name(database.name + ".lock")
    try:
        with FileLock(lock, timeout=60, is_singleton=True):  # a process that holds it may ask again
            yield
    except Timeout as error:
        raise StoreError(
            f"Another process has held {lock} for a minute. Try again when it is done, or end it; "
            "the lock goes with its process, the file may stay."
        ) from error


def wait_until_made(uri: str) -> None:
    """Return when no other process is making the store's tables. Raises `StoreError` after a minute."""
    with exclusive(uri):
        pass
