"""Printing to terminals, pipes, files and notebooks, which never fails."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys

import pytest

from harness import terminal

PRINTS = "import sys; from harness.terminal import printing\nwith printing() as streams:\n"


def run(code: str, *, stdout: int | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PRINTS + code],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", rb"---- +-0.3 * m\xf6del" + b"\xff.png"),
        ("cp1252", "---- ±0.3 † mödel".encode("cp1252") + b"\xff.png"),
        ("utf-8", "──── ±0.3 † mödel".encode() + b"\xff.png"),
    ],
)
def test_characters_missing_in_an_encoding_are_replaced(encoding: str, written: bytes) -> None:
    code = "    import click; click.echo('──── ±0.3 † mödel\\udcff.png')"
    assert run(code, PYTHONIOENCODING=encoding).stdout.strip() == written


def test_printing_to_a_full_disk_does_not_raise_and_is_reported_at_the_end() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run(
            "    for _ in range(9): print('x' * 99_999, flush=True)\n    print(streams.lost(), file=sys.stderr)",
            stdout=full.fileno(),
        )
    assert (done.returncode, done.stderr) == (0, b"[Errno 28] No space left on device\n")


def test_printing_to_a_closed_pipe_does_not_raise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("    print('x' * 999_999)\n    print(streams.lost(), file=sys.stderr)", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"None\n")


def test_printing_waits_for_a_full_nonblocking_pipe() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    command = [sys.executable, "-c", PRINTS + "    print('x' * 999_999)"]
    with subprocess.Popen(command, stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert len(pipe.read()) == 1_000_000
    assert process.returncode == 0


def test_without_stdout_the_next_file_does_not_get_its_descriptor() -> None:
    command = f'exec "{sys.executable}" -c "$CODE" >&-'
    code = PRINTS + "    print('lost'); print(open('/dev/zero').fileno() > 2, file=sys.stderr)"
    done = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"CODE": code}, capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stderr) == (0, "True\n")


@pytest.mark.parametrize(
    ("environment", "person", "drawn"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm-color", "JPY_PARENT_PID": "17"}, True, False),
        ({"TERM": "xterm-color", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}, True, False),
        ({"TERM": "xterm-256color", "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}, False, False),
    ],
)
def test_progress_is_drawn_only_where_lines_can_be_redrawn(
    environment: dict[str, str], person: bool, drawn: bool
) -> None:
    code = "from harness.terminal import console; c = console(); print(c.is_terminal, c.is_interactive)"
    kept = {key: value for key, value in os.environ.items() if key not in ("JPY_PARENT_PID", "MPLBACKEND")}
    ours, theirs = os.openpty() if person else os.pipe()
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=kept | environment, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb") as screen:
        assert screen.readline().decode().split() == [str(person), str(drawn)]


def test_replacements_keep_the_width_of_progress_signs() -> None:
    assert all(len(terminal.PLAIN[sign]) == 1 for sign in "─━┄│├└…▲▼●✓✗")


def test_the_error_handler_does_not_handle_decoding() -> None:
    with terminal.printing(), pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xff", "ascii", "harness-plain")
