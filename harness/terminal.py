"""What stdout and stderr are (terminal, pipe, file), which characters they can show, and printing that never fails.

The work is done before its result is printed. So a closed pipe, a full disk or a character that the encoding does not
have must not make the command fail.
"""

from __future__ import annotations

import codecs
import errno
import html
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PLAIN: Mapping[str, str] = {
    "─": "-", "━": "#", "┄": "-", "│": "|", "├": "+", "└": "+", "…": "~", "±": "+-", "×": "x", "†": "*", "‡": "**",
    "▲": "^", "▼": "v", "▾": "v", "●": "*", "✓": "+", "✗": "x", "²": "^2", "⁴": "^4",
}  # fmt: skip
"""Replacements for characters that the encoding does not have."""
PATIENCE = 10.0
"""On an output that cannot redraw a line, `doing` prints its message after this many seconds."""
_REPLACING = "harness-plain"


def console(stderr: bool = False) -> Console:
    """A rich console on stdout or stderr.

    `is_terminal` is true on a terminal only, also if FORCE_COLOR is set. `is_interactive` is true if lines can be
    redrawn, which is not the case for `!command` in a notebook.
    """
    from rich.console import Console

    kernel = in_kernel()
    stream = sys.stderr if stderr and not kernel else sys.stdout  # a notebook shows stderr as if it were an error
    person = bool(getattr(stream, "isatty", lambda: False)())
    coloured = not person and os.environ.get("FORCE_COLOR", "0") not in ("", "0")
    return Console(
        stderr=stderr and not kernel,
        width=_CELL if kernel else None,
        force_jupyter=False,
        highlight=False,
        force_terminal=person,
        force_interactive=False if _only_appends() else None,
        color_system="standard" if coloured else "auto",
    )


_CELL = 100
"""Columns of text that the cell of a notebook shows."""


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook, where what is shown can be replaced (`replaceable`)."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@contextmanager
def replaceable(frame: Callable[[], str]) -> Iterator[None]:
    """Show in a notebook what `frame` says, always the newest, while the block lasts; nothing of it stays."""
    display: Any = sys.modules["IPython"].display.display

    def shown(text: str) -> dict[str, str]:
        return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>" if text else ""}

    handle, ended = display(shown(frame()), raw=True, display_id=True), threading.Event()

    def refresh() -> None:
        while not ended.wait(_REFRESH):
            handle.update(shown(frame()), raw=True)

    refreshing = threading.Thread(target=refresh, daemon=True)
    refreshing.start()
    try:
        yield
    finally:
        ended.set()
        refreshing.join()
        handle.update(shown(""), raw=True)


_REFRESH = 0.5
"""Seconds between two frames in a notebook."""

_NOTEBOOK = "JPY_PARENT_PID" in os.environ or "matplotlib_inline" in os.environ.get("MPLBACKEND", "")
"""Whether a notebook's kernel started the command: it runs `!command` in a terminal, but shows each redrawn line below
the last. Checked at import, because the command itself sets MPLBACKEND later."""


def _only_appends() -> bool:
    return _NOTEBOOK or os.environ.get("TERM", "dumb") == "dumb"


@contextmanager
def doing(what: str, screen: Console | None = None) -> Iterator[None]:
    """Show `what` and the elapsed seconds on stderr while the block runs, and remove the line afterwards."""
    screen = screen or console(stderr=True)
    if not screen.is_interactive:
        timer = threading.Timer(PATIENCE, lambda: screen.print(f"{what} ...", markup=False, soft_wrap=True))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        return
    from rich.live import Live
    from rich.text import Text

    began = time.monotonic()

    def line() -> Text:
        text = Text(f"{what} ... {time.monotonic() - began:.0f} s", style="dim", no_wrap=True)
        text.truncate(max(screen.width - 1, 1))
        return text

    with Live(console=screen, transient=True, get_renderable=line):
        yield


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Tell on stderr how much of `total` is done while the block lasts: it calls what it is given after each one."""
    screen = console(stderr=True)
    if not screen.is_interactive:
        with doing(f"{what} ({total:,})", screen):
            yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, expand=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def printing() -> Iterator[Streams]:
    """Replace stdout and stderr with streams that never fail, while the block runs."""
    _open_missing()
    kept = sys.stdout, sys.stderr
    codecs.register_error(_REPLACING, _replaced)
    if sys.stderr.isatty() and _has_size(sys.stderr):
        for name in ("COLUMNS", "LINES"):  # if exported, they do not change with the size of the window
            os.environ.pop(name, None)
    streams = Streams(_unfailing(kept[0], sys.__stdout__), _unfailing(kept[1], sys.__stderr__))
    sys.stdout, sys.stderr = streams.out, streams.err
    try:
        yield streams
    finally:
        streams.out.flush()
        streams.err.flush()
        sys.stdout, sys.stderr = kept


class Streams:
    """The stdout and stderr that the command writes to."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err

    def lost(self) -> OSError | None:
        """The error by which output to stdout was lost; None without an error, or if the reader closed the pipe."""
        self.out.flush()
        error = self.out.outlet.lost if isinstance(self.out, _Stream) else None
        return None if error is not None and error.errno == errno.EPIPE else error


class _Outlet(io.FileIO):
    """A file descriptor on which `write` never raises. After an error, kept in `lost`, output is discarded."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.lost is not None:
            return size
        try:
            written = super().write(data)
            while written is None:  # a full pipe that another process made non-blocking
                select.select([], [self.fileno()], [])
                written = super().write(data)
            return written
        except OSError as error:
            self.lost = error
            return size


class _Stream(io.TextIOWrapper):
    """A text stream to an `_Outlet`. It replaces characters that the encoding does not have."""

    buffer = None  # type: ignore[assignment]  # click would use it to write UTF-8 to an ASCII stream

    def __init__(self, outlet: _Outlet, encoding: str, line_buffering: bool) -> None:
        super().__init__(io.BufferedWriter(outlet), encoding, _REPLACING, line_buffering=line_buffering)
        self.outlet = outlet


def _unfailing(stream: TextIO, own: TextIO | None) -> TextIO:
    """The stream in a form that never fails. A stream that replaced Python's own (in a test) is returned as it is."""
    if stream is not own or not isinstance(stream, io.TextIOWrapper):
        return stream
    with suppress(OSError):  # text printed before; the outlet meets the same error when it writes
        stream.flush()
    outlet = _Outlet(stream.fileno(), "w", closefd=False)
    return _Stream(outlet, stream.encoding, stream.line_buffering or stream.isatty())


def _open_missing() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that is closed (`>&-`).

    Otherwise the next file that is opened, such as a store, would get that descriptor, and with it the output of
    libraries.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    null = Path(os.devnull)
    sys.stdout, sys.stderr = sys.stdout or null.open("w"), sys.stderr or null.open("w")


def _has_size(stream: TextIO) -> bool:
    return os.get_terminal_size(stream.fileno()).columns > 0


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler for characters that an encoding cannot write.

    It writes the replacement in `PLAIN` or an escape. A byte of a file name that was not text is written unchanged.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= sign <= "\udcff" for sign in text):
        return bytes(ord(sign) - 0xDC00 for sign in text), error.end
    return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text), error.end
