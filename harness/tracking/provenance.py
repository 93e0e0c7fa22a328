"""What a number needs beside its configuration to be made again: code, packages, machine."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distributions, version
from pathlib import Path

from harness.machine import available_cpus, gpus, this_process
from harness.tracking.selection import PROCESS_TAG

GIT_SECONDS = 20
PINNED = ("tensorflow", "keras", "numpy", "mlflow")


@dataclass(frozen=True)
class GitState:
    """The commit that the code came from, and what differs from it. All empty outside a git checkout."""

    commit: str = ""
    branch: str = ""
    dirty: bool = False
    diff: str = ""


@lru_cache
def git_state(directory: Path) -> GitState:
    """The state of the checkout at `directory`, as it was when this process first asked."""
    commit = _git(directory, "rev-parse", "HEAD").strip()
    if not commit:
        return GitState()
    status = _git(directory, "status", "--porcelain")
    return GitState(
        commit=commit,
        branch=_git(directory, "rev-parse", "--abbrev-ref", "HEAD").strip(),
        dirty=bool(status),
        diff=_git(directory, "diff", "HEAD", "--no-color", "--no-ext-diff", "--binary") if status else "",
    )


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=False,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""  # no git, or none that answers: the run is recorded without a commit
    return done.stdout if done.returncode == 0 else ""


@lru_cache
def installed_packages() -> str:
    """Every installed distribution as `name==version`, a line each, sorted."""
    found = {f"{item.metadata['Name']}=={item.version}" for item in distributions() if item.metadata["Name"]}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


@lru_cache
def model_requirements() -> list[str]:
    """What a logged model needs to be loaded, pinned to what made it."""
    return [f"{name}=={version(name)}" for name in PINNED]


def machine_tags() -> dict[str, str]:
    """The interpreter, the libraries and the machine, as tags."""
    return {
        "harness.version": version("overfitting-harness"),
        "harness.python": platform.python_version(),
        "harness.tensorflow": version("tensorflow"),
        "harness.keras": version("keras"),
        "harness.platform": platform.platform(),
        "harness.cpus": str(available_cpus()),
        "harness.gpus": ",".join(gpus()) or "none",
        "harness.host": platform.node(),
        "harness.command": _command(),
        PROCESS_TAG: this_process(),
    }


def _command() -> str:
    """What was typed; `sys.argv` is Hydra's while a run goes on."""
    program, *arguments = sys.orig_argv[1:] or [""]
    return shlex.join([Path(program).name, *arguments])
