"""Safe access to a store: holds back signals, translates errors into `StoreError`, retries, and hides passwords."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from harness.errors import OutsideStore, StoreError
from harness.text import clean
from harness.tracking import outages
from harness.tracking.refusals import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

log = logging.getLogger(__name__)

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")

CREDENTIALS = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:@]*:(?!\d+/)\S*@)")
"""User and password in front of the host of a URI. SQLAlchemy accepts slashes in a password; `host:5000/a@b` has
none."""

SECRET_OPTIONS = re.compile(
    r"(?P<key>(?:[?&;][\w.-]*(?:pass|pwd|token|secret|key|auth|cred|sig)|(?<![\w.?&;-])[\w.]*(?:password|passwd|token|secret))"
    r"[\w.-]*=)[^&;\s\"']+",
    re.IGNORECASE,
)
"""Query options of a URI that hold a password (`postgresql://host/db?password=...`), and variables and settings with
such a name (`MLFLOW_TRACKING_TOKEN=...`)."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a command to end."""

SILENT_SECONDS = 3.0
"""Seconds without an answer after which a message says what the command is waiting for."""
PATIENCE_SECONDS = 15.0
"""Seconds without an answer after which a command fails, before anything was started."""
LOOK_SECONDS = 0.2

WRITE_ATTEMPTS = 5
TAKEN = re.compile("unique|duplicate", re.IGNORECASE)
"""The texts of databases' errors for a row that already exists."""

MOST_ANSWERED, MOST_DOWNLOADED = 2**28, 2**32
"""The largest response of a server, unpacked, and the largest file, in bytes. A thousand runs are 50 MB."""
ANSWER_SECONDS, DOWNLOAD_SECONDS = 120.0, 3600.0
"""Seconds that each may take from the first byte to the last; MLflow only limits the time between two bytes."""

LONGEST_REASON = 2000
"""Characters of an error: a server quotes what it was asked, which may be long."""

_VERSION = re.compile(r"\d+\.\d+")


USUAL, WHILE_TRAINING = 2, 7
"""How often a request to a server is retried. MLflow's default of seven takes four minutes until it fails: good for a
run with results to lose, but too long for a user at a terminal."""
_retries: ContextVar[int] = ContextVar("_retries", default=USUAL)


def shown_uri(uri: str) -> str:
    """A URI, or any text with URIs, without users and passwords."""
    return SECRET_OPTIONS.sub(r"\g<key>***", CREDENTIALS.sub("", uri))


def holds_secret(uri: str | None) -> bool:
    """Whether a URI holds a user or a password."""
    return uri is not None and shown_uri(uri) != uri


class Discreet(logging.Formatter):
    """A log formatter that removes passwords (`shown_uri`) and control characters, also from tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(shown_uri(super().format(record)), lines=True)


@contextmanager
def explained(shown: str, server: bool, experiment: str | None = None) -> Iterator[None]:
    """Translate errors of MLflow and the database in the block into a `StoreError` that names the store as `shown`, and
    the `experiment` that a server does not let the user write to.

    A signal waits until the block ends, unless the store is a `server`: a server protects its own data, and may take
    long to answer.
    """
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    # Not in the environment: workers would inherit it as the user's own.
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = _retries.get()
    try:
        with _signals_held(server):
            yield
    except ImportError as error:
        raise StoreError(
            f"The tracking store {shown} cannot be used: {error}. Install that driver of its database."
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ParseError) as error:
        if "MLFLOW_" in str(error):
            raise StoreError(f"A variable of the environment has a wrong value for MLflow. {error}") from error
        if not server:
            raise
        raise StoreError(
            f"{shown} gives answers that an MLflow server does not give ({type(error).__name__})."
        ) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = next((one for one in (error, error.__cause__) if isinstance(one, DBAPIError)), None)
        said = error if cause is None else cause.orig  # without the SQL
        told = in_words(error, experiment) if server else None
        reason = shown_uri(" ".join((told or str(said)).split())).rstrip(".")
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]} ..."
        raise StoreError(
            f"The tracking store {shown} cannot be used: {reason}.\nThe store is set by tracking.uri, else by "
            "MLFLOW_TRACKING_URI, else it is mlflow.db in the project's root."
        ) from error


def bound_answers() -> None:
    """From now on, let MLflow reject responses of a server that are too large or take too long."""
    from mlflow.utils import request_utils

    usual = request_utils._get_request_session
    if usual.__name__ == "bounded_session":
        return

    def bounded_session(*arguments: Any, **options: Any) -> Any:
        session = usual(*arguments, **options)
        session.hooks["response"] = [bound]
        outages.tell_retries(session)
        return session

    request_utils._get_request_session = bounded_session


def bound(response: Any, stream: bool = False, **_: Any) -> None:
    """A hook that `requests` calls when a response begins; it then reads the body through `iter_content`."""
    outages.answered(response.url, response.status_code)
    most, seconds = (MOST_DOWNLOADED, DOWNLOAD_SECONDS) if stream else (MOST_ANSWERED, ANSWER_SECONDS)
    usual = response.iter_content

    def counted(chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        left, late = most, threading.Event()
        with ExitStack() as unless_whole:
            unless_whole.callback(response.close)
            with _cut_off(response, seconds, late):
                for part in usual(chunk_size, decode_unicode):
                    left -= len(part)
                    if left < 0:
                        raise OSError(f"its answer is longer than {most:,} bytes")
                    yield part
            if late.is_set():
                raise OSError(f"its answer has not ended after {seconds:g} s")
            unless_whole.pop_all()

    response.iter_content = counted
    if response.request.method == "DELETE":
        _ = response.content  # MLflow would not read it, and leave its connection open


@contextmanager
def _cut_off(response: Any, seconds: float, late: threading.Event) -> Iterator[None]:
    """Close the connection of a response after `seconds`; a read in the block then finds the end of the data."""
    try:
        ours = socket.socket(fileno=os.dup(response.raw.fileno()))
    except (OSError, ValueError):  # the connection is closed already: the response is complete
        yield
        return

    def cut() -> None:
        late.set()
        with suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        ours.close()


def check_is_mlflow(uri: str, shown: str) -> None:
    """Raise `StoreError` if a server without experiments is no MLflow server (those report a version)."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    answer = http_request(get_default_host_creds(uri), "/version", "GET")
    if answer.status_code != 200 or not _VERSION.match(answer.text.strip()[:40]):
        raise StoreError(f"{shown} answers, but it is no MLflow server. See what listens there, or name another store.")


def is_insecure(error: StoreError) -> bool:
    """Whether no secured connection could be made (TLS)."""
    return "SSLError" in str(error.__cause__)


def refused(error: StoreError) -> bool:
    """Whether the store was reachable but rejected the write, so that a retry is useless."""
    return isinstance(error, OutsideStore) or getattr(error.__cause__, "error_code", None) in REFUSALS


def retry_insert(write: Callable[[], object]) -> None:
    """Call `write`, and retry once if another process has inserted the same row at the same time.

    MLflow looks for a dataset or a tag and inserts it if it is missing; the retry finds it. This happens when two runs
    log the same dataset, or when a command ends a run at the same time as its worker.
    """
    from mlflow.exceptions import MlflowException

    for attempt in range(WRITE_ATTEMPTS):
        try:
            write()
            return
        except MlflowException as error:
            if attempt + 1 == WRITE_ATTEMPTS or not TAKEN.search(str(error)):
                raise


def await_answer(ask: Callable[[], object], shown: str) -> None:
    """Call `ask`, the first request to the store `shown`; if it takes long, log what the command is waiting for.

    Raises the errors of `ask`, and `StoreError` after `PATIENCE_SECONDS`, unless the user has set MLflow's own timeout.
    """
    failures: list[BaseException] = []

    def asking() -> None:
        try:
            with outages.silent():
                ask()
        except BaseException as error:  # noqa: BLE001 - raised again below: it would end in this thread
            failures.append(error)

    asked_for = [name for name in (RETRIES, TIMEOUT) if name in os.environ]
    patience = math.inf if asked_for else PATIENCE_SECONDS
    ending = f"as {' and '.join(asked_for)} has it" if asked_for else f"for {PATIENCE_SECONDS:g} s at most"
    thread, began = threading.Thread(target=asking, name="first request", daemon=True), time.monotonic()
    thread.start()
    thread.join(SILENT_SECONDS)
    if thread.is_alive():
        log.warning("Waiting for an answer of the tracking store %s, %s.", shown, ending)
    while thread.is_alive() and time.monotonic() - began < patience:
        thread.join(LOOK_SECONDS)
    if thread.is_alive():
        raise StoreError(
            f"The tracking store {shown} has not answered for {PATIENCE_SECONDS:g} s. Nothing was started. See whether "
            f"its server runs and can be reached, or name another store with tracking.uri or --store. {RETRIES}=7 in "
            "the environment waits as long as MLflow does."
        )
    for failure in failures:
        raise failure


@contextmanager
def retries(count: int) -> Iterator[None]:
    """Retry requests to a server `count` times in the block, instead of `USUAL` times; in other threads, only if they
    run in a copy of its context.

    A number that the user has set in the environment always has priority.
    """
    before = _retries.set(count)
    try:
        yield
    finally:
        _retries.reset(before)


@contextmanager
def _signals_held(server: bool) -> Iterator[None]:
    """Hold back the first Ctrl-C, SIGTERM or SIGHUP until the block ends. A second one is delivered at once, except
    SIGHUP, which a closed terminal sends twice.

    MLflow does not roll back a transaction that `KeyboardInterrupt` interrupts, and SQLite would stay locked: the run
    could not be marked as killed.
    """
    if server or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in ENDING}
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        handler = usual[signal.Signals(number)]
        if held and callable(handler) and number != signal.SIGHUP:
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
