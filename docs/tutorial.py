"""Runs the commands that docs/guides.md shows, and writes their output and pictures into it.

    make tutorial

Cog finds the calls of `command` in the page (in comments) and puts what they print behind them. The commands run one
after the other in a project of their own, which is gone afterwards.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cog

from harness.paths import cache_directory

IMAGES = Path(os.environ.get("TUTORIAL_IMAGES", Path(__file__).parent / "images"))
"""Where the pictures go; the page links `images/`."""

start_command: type[subprocess.Popen[str]] = subprocess.Popen
"""How a command is started."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_project = Path(tempfile.mkdtemp(prefix="tutorial-"))
atexit.register(shutil.rmtree, _project, ignore_errors=True)


def command(line: str, picture: str = "", start: str = "", lines: int | None = None, code: int = 0) -> None:
    """Show `line`, run it, and show what it printed: from the line on that the pattern `start` matches, `lines` of it.

    `picture` describes the PNG file that the command draws (its `--output` or `--figure`); it is kept as an image of
    the page. `code` is the exit code that the command must have.
    """
    words = shlex.split(line)
    harness = [str(Path(sys.executable).with_name("harness")), *words[1:]]
    environment = {**os.environ, "HARNESS_ROOT": str(_project), "COLUMNS": "100", "NO_COLOR": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    pipe = subprocess.PIPE
    with start_command(harness, cwd=_project, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        out, err = process.communicate()
    if process.returncode != code:
        raise RuntimeError(f"{line}: exit code {process.returncode}\n{out}\n{err}")
    _block(line)
    said = COLOURS.sub("", out or err).replace(str(cache_directory()), "~/.cache/harness")
    printed = [text.rstrip() for text in said.strip("\n").splitlines() if not text.startswith("Wrote ")]
    first = next(number for number, text in enumerate(printed) if re.match(start, text)) if start else 0
    printed = [*(["..."] if first else []), *printed[first:]]
    if lines is not None and len(printed) > lines:
        printed = [*printed[:lines], "..."]
    if printed:
        _block("\n".join(printed))
    if picture:
        (name,) = (word for word in words if word.endswith(".png"))
        shutil.copyfile(_project / name, IMAGES / f"guide_{name}")
        cog.outl(f"![{picture}](images/guide_{name})\n")


def artifact(name: str, picture: str) -> None:
    """Show a figure that the latest run keeps as its artifact."""
    files = sorted(_project.glob(f"mlruns/*/*/artifacts/figures/{name}"), key=lambda file: file.stat().st_mtime)
    shutil.copyfile(files[0], IMAGES / f"guide_{name}")
    cog.outl(f"![{picture}](images/guide_{name})\n")


def _block(text: str) -> None:
    cog.outl(f"```\n{text}\n```\n")
