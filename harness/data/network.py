"""Downloads and package tools, each with a time limit. Every failure is a `DataError` with the reason."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from harness.errors import DataError
from harness.terminal import console, doing

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20
"""No file of these datasets comes near it; a download that passes it is not the file that was asked for."""


@dataclass(frozen=True)
class Limits:
    """How long to wait, in seconds."""

    silence: float = 15  # for a connection, and between two pieces of an answer
    download: float = 600  # for one file
    command: float = 180  # for one call of a package tool
    lock: float = 1800  # for another process that fetches the same dataset


LIMITS = Limits()


def download(url: str, target: Path, limits: Limits = LIMITS) -> None:
    """Write what `url` answers to `target`. Raises `DataError` for no, a late, a short or an overlong answer."""
    deadline = time.monotonic() + limits.download
    received = 0
    try:
        with _open(url, limits.silence) as response, target.open("wb") as file:
            length = int(response.headers.get("Content-Length") or 0)
            with _progress(url, length) as advance:
                # read1 returns after one read of the socket, so that a trickle meets the deadline as well.
                while chunk := response.read1(2**16):
                    received += len(chunk)
                    if time.monotonic() > deadline:
                        raise DataError(f"{url}: not complete after {limits.download:g} s ({received:,} bytes came)")
                    if received > MAX_BYTES:
                        raise DataError(f"{url}: more than {MAX_BYTES:,} bytes came, which no file of a dataset has")
                    file.write(chunk)
                    advance(len(chunk))
    except (OSError, HTTPException) as error:
        raise DataError(f"{url}: {_reason(error, limits.silence)}") from error
    if received < length:
        raise DataError(f"{url}: the connection ended after {received:,} of {length:,} bytes")


def _open(url: str, seconds: float) -> HTTPResponse:
    """`urlopen` under one time limit for everything up to the headers. Its own limit holds for each address of the host
    alone, and not at all for the look-up of the name, hence the thread; a daemon, so that it cannot delay the exit."""
    answer: queue.SimpleQueue[HTTPResponse | OSError | HTTPException] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            answer.put(urlopen(url, timeout=seconds))
        except (OSError, HTTPException) as error:
            answer.put(error)

    threading.Thread(target=attempt, name=f"open {url}", daemon=True).start()
    try:
        outcome = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _reason(error: OSError | HTTPException, seconds: float) -> str:
    if isinstance(error, HTTPError):
        error.close()
        return f"HTTP status {error.code} ({error.reason})"
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {seconds:g} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


@contextmanager
def _progress(url: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if a person is looking at it, else one line in the log."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.table import Column

    screen = console(stderr=True)
    if not screen.is_interactive:
        logger.info("Downloading %s", url)
        with doing(f"Downloading {url}", screen):
            yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=screen, transient=True, expand=True) as progress:
        task = progress.add_task(url.rsplit("/", 1)[-1], total=total or None)
        yield lambda count: progress.advance(task, count)


def run_tool(arguments: Sequence[str | Path], directory: Path, seconds: float) -> None:
    """Run a package tool in `directory` without input. Raises `DataError` if it is not installed, fails (with what it
    said) or takes longer than `seconds`; it and everything it started are stopped then."""
    words = [str(word) for word in arguments]
    command = Path(words[0]).name
    if shutil.which(words[0]) is None:
        raise DataError(f"{command} is not installed")
    logger.info("Running %s", command)
    process = subprocess.Popen(
        words,
        cwd=directory,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Its own process group: a helper that outlives the tool would hold the pipe open, and the wait for it with it.
        start_new_session=True,
    )
    try:
        with doing(f"Running {command}"):
            output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise DataError(f"{command} did not finish within {seconds:g} s") from None
    finally:
        _stop(process)
    if process.returncode != 0:
        raise DataError(f"{command} failed with status {process.returncode}: {_last_words(output)}")


def _stop(process: subprocess.Popen[str]) -> None:
    """Stop what is left of the tool's process group, which may outlive the tool itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _last_words(output: str) -> str:
    """What a tool said of its failure: its first lines marked as errors, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "npm error", "npm ERR!", "dpkg-deb: error"))]
    return " / ".join(errors[:2] or lines[-1:] or ["it printed nothing"])
