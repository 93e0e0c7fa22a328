"""What stands behind stdout and stderr, a terminal, a pipe or a file: what it can show, and printing that never fails.

The work is done when its result is printed. A reader who has gone, a full disk or an encoding without a character must
not turn it into a failure.
"""

from __future__ import annotations

import codecs
import errno
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
"""What is written instead where the encoding does not have a character."""
PATIENCE = 10.0
"""Seconds after which what takes long is said also where no line can be drawn over."""
_REPLACING = "harness-plain"


def console(stderr: bool = False) -> Console:
    """A rich console on stdout or stderr. `is_terminal` where a person looks at it, whatever FORCE_COLOR says;
    `is_interactive` where what was drawn can be drawn over, which a notebook's `!command` cannot."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    person = bool(getattr(stream, "isatty", lambda: False)())
    coloured = not person and os.environ.get("FORCE_COLOR", "0") not in ("", "0")
    return Console(
        stderr=stderr,
        highlight=False,
        force_terminal=person,
        force_interactive=False if _only_appends() else None,
        color_system="standard" if coloured else "auto",
    )


_NOTEBOOK = "JPY_PARENT_PID" in os.environ or "matplotlib_inline" in os.environ.get("MPLBACKEND", "")
"""Whether a notebook's kernel started the command: it runs `!command` in a terminal, and shows every frame below the
last. Asked once: the command sets MPLBACKEND itself, later."""


def _only_appends() -> bool:
    return _NOTEBOOK or os.environ.get("TERM", "dumb") == "dumb"


@contextmanager
def doing(what: str, screen: Console | None = None) -> Iterator[None]:
    """Tell on stderr what is being waited for while the block lasts: `what`, and for how long; gone afterwards."""
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
    """Put streams that never fail in the place of stdout and stderr while the block lasts."""
    _open_missing()
    kept = sys.stdout, sys.stderr
    codecs.register_error(_REPLACING, _replaced)
    if sys.stderr.isatty() and _has_size(sys.stderr):
        for name in ("COLUMNS", "LINES"):  # exported once, they do not follow the window
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
    """Stdout and stderr as the command writes to them."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err

    def lost(self) -> OSError | None:
        """Why not all that was written to stdout has arrived; None where it has, or where its reader (`head`) had
        enough and went."""
        self.out.flush()
        error = self.out.outlet.lost if isinstance(self.out, _Stream) else None
        return None if error is not None and error.errno == errno.EPIPE else error


class _Outlet(io.FileIO):
    """A file descriptor to which writing always succeeds; `lost` is why what was written goes nowhere."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.lost is not None:
            return size
        try:
            written = super().write(data)
            while written is None:  # it is full, and somebody has made it non-blocking
                select.select([], [self.fileno()], [])
                written = super().write(data)
            return written
        except OSError as error:
            self.lost = error
            return size


class _Stream(io.TextIOWrapper):
    """Text to an `_Outlet`, with what its encoding lacks replaced."""

    buffer = None  # type: ignore[assignment]  # through which click would write UTF-8 to a stream that is ASCII

    def __init__(self, outlet: _Outlet, encoding: str, line_buffering: bool) -> None:
        super().__init__(io.BufferedWriter(outlet), encoding, _REPLACING, line_buffering=line_buffering)
        self.outlet = outlet


def _unfailing(stream: TextIO, own: TextIO | None) -> TextIO:
    """The stream in a form that never fails, unless somebody has put another one in Python's own place (a test)."""
    if stream is not own or not isinstance(stream, io.TextIOWrapper):
        return stream
    with suppress(OSError):  # what others printed before; the outlet will see for itself
        stream.flush()
    outlet = _Outlet(stream.fileno(), "w", closefd=False)
    return _Stream(outlet, stream.encoding, stream.line_buffering or stream.isatty())


def _open_missing() -> None:
    """Give a command that was started without stdin, stdout or stderr (`>&-`) one that leads nowhere: else the next
    file that is opened, a store, would get its number, and what libraries print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    nowhere = Path(os.devnull)
    sys.stdout, sys.stderr = sys.stdout or nowhere.open("w"), sys.stderr or nowhere.open("w")


def _has_size(stream: TextIO) -> bool:
    return os.get_terminal_size(stream.fileno()).columns > 0


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """For what an encoding cannot write: a plain sign, the byte of a file's name that was no text, or its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= sign <= "\udcff" for sign in text):
        return bytes(ord(sign) - 0xDC00 for sign in text), error.end
    return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text), error.end
