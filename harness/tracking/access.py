"""One use of a store: whole when a signal comes, its errors in words, tried again where that helps."""

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
from typing import TYPE_CHECKING, Any

from harness.errors import OutsideStore, StoreError
from harness.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

log = logging.getLogger(__name__)

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")

CREDENTIALS = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:@]*:(?!\d+/)\S*@)")
"""What an address holds before its host. SQLAlchemy takes a password with slashes in it; `host:5000/a@b` has none."""

SECRET_OPTIONS = re.compile(
    r"(?P<key>(?:[?&;][\w.-]*(?:pass|pwd|token|secret|key|auth|cred|sig)|(?<![\w.?&;-])[\w.]*(?:password|passwd|token|secret))"
    r"[\w.-]*=)[^&;\s\"']+",
    re.IGNORECASE,
)
"""Options of an address that hold a password (`postgresql://host/db?password=...`), and variables and settings that are
called so (`MLFLOW_TRACKING_TOKEN=...`)."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a command to end."""

SILENT_SECONDS = 3.0
"""After so long without an answer, it is said what is waited for."""
PATIENCE_SECONDS = 15.0
"""A store that has not answered by then is given up, before anything was started."""
LOOK_SECONDS = 0.2

WRITE_ATTEMPTS = 5
TAKEN = re.compile("unique|duplicate", re.IGNORECASE)
"""How databases say that a row is there already."""

MOST_ANSWERED, MOST_DOWNLOADED = 2**28, 2**32
"""Bytes of one answer of a server, unpacked, and of one file. A thousand runs are 50 MB."""
ANSWER_SECONDS, DOWNLOAD_SECONDS = 120.0, 3600.0
"""How long one may take from its first byte to its last; MLflow itself only limits the time between two bytes."""

_VERSION = re.compile(r"\d+\.\d+")


USUAL, WHILE_TRAINING = 2, 7
"""How often MLflow tries a request to a server again. Its own seven tries take four minutes to give up, which suits a
run that has something to lose; whoever waits at a terminal wants to know."""
_retries = USUAL


def shown_uri(uri: str) -> str:
    """A store's URI, or any text with URIs in it, without the users and passwords that they may hold."""
    return SECRET_OPTIONS.sub(r"\g<key>***", CREDENTIALS.sub("", uri))


def holds_secret(uri: str | None) -> bool:
    """Whether an address holds a user or a password."""
    return uri is not None and shown_uri(uri) != uri


class Discreet(logging.Formatter):
    """Log lines, tracebacks included, as `shown_uri` shows them and clean."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(shown_uri(super().format(record)), lines=True)


@contextmanager
def explained(shown: str, server: bool) -> Iterator[None]:
    """What MLflow and the database raise in the block becomes a `StoreError` that names the store as `shown`.

    A signal waits until the block ends, unless the store is a `server`: that keeps its own order, and may let us wait
    for long.
    """
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = _retries  # not in the environment: workers inherit that as the user's
    try:
        with _whole(server):
            yield
    except ImportError as error:
        raise StoreError(
            f"The tracking store {shown} cannot be used: {error}. Install that driver of its database."
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ParseError) as error:
        if not server:
            raise
        raise StoreError(
            f"{shown} gives answers that an MLflow server does not give ({type(error).__name__})."
        ) from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = next((one for one in (error, error.__cause__) if isinstance(one, DBAPIError)), None)
        said = error if cause is None else cause.orig  # without the SQL
        reason = shown_uri(" ".join(str(said).split())).rstrip(".")
        raise StoreError(
            f"The tracking store {shown} cannot be used: {reason}.\nThe store is set by tracking.uri, else by "
            "MLFLOW_TRACKING_URI, else it is mlflow.db in the project's root."
        ) from error


def bound_answers() -> None:
    """Have MLflow, from now on, read no answer of a server that is too large or takes for ever."""
    from mlflow.utils import request_utils

    usual = request_utils._get_request_session
    if usual.__name__ == "bounded_session":
        return

    def bounded_session(*arguments: Any, **options: Any) -> Any:
        session = usual(*arguments, **options)
        session.hooks["response"] = [_bound]
        return session

    request_utils._get_request_session = bounded_session


def _bound(response: Any, stream: bool = False, **_: Any) -> None:
    """`requests` calls it when an answer begins, and then reads all of it by its `iter_content`."""
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
        _ = response.content  # MLflow leaves it unread, and its connection open


@contextmanager
def _cut_off(response: Any, seconds: float, late: threading.Event) -> Iterator[None]:
    """Shut the connection of a response where the block takes longer; what reads in it finds the end."""
    try:
        ours = socket.socket(fileno=os.dup(response.raw.fileno()))
    except (OSError, ValueError):  # all of it is here
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
    """Raise `StoreError` where a server that has no experiments is no MLflow server: those have a version."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    answer = http_request(get_default_host_creds(uri), "/version", "GET")
    if answer.status_code != 200 or not _VERSION.match(answer.text.strip()[:40]):
        raise StoreError(f"{shown} answers, but it is no MLflow server. See what listens there, or name another store.")


def refused(error: StoreError) -> bool:
    """Whether the store was there and did not want what it was given; it would not later either."""
    return isinstance(error, OutsideStore) or getattr(error.__cause__, "error_code", None) in REFUSALS


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


def await_answer(ask: Callable[[], object], shown: str) -> None:
    """Do `ask`, the first request to the store `shown`, and say what is waited for where that takes long.

    Raises what it raises, and `StoreError` after `PATIENCE_SECONDS`, unless the user has told MLflow how long to wait.
    """
    failures: list[BaseException] = []

    def asking() -> None:
        try:
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
    """Have requests to a server tried again `count` times while the block lasts, in the place of the `USUAL` number.

    Whoever has set the number in the environment has that everywhere.
    """
    global _retries
    before, _retries = _retries, count
    try:
        yield
    finally:
        _retries = before


@contextmanager
def _whole(server: bool) -> Iterator[None]:
    """Hold back the first Ctrl-C, SIGTERM or SIGHUP until the block ends; a second one comes through, but for SIGHUP: a
    terminal that is closed says so twice.

    MLflow does not roll back a transaction that `KeyboardInterrupt` leaves, and SQLite would stay locked: the run could
    not be marked as killed.
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
