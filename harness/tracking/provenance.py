"""Records what else decides a run's numbers besides its configuration: code, packages, machine."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distribution, distributions, version
from pathlib import Path

from harness import paths, surroundings
from harness.machine import available_cpus, gpus, this_process
from harness.surroundings import ignored
from harness.tracking.selection import COMMIT_TAG, DIRTY_TAG, LIBRARIES, PROCESS_TAG, VERSION_TAG, recorded_commit

GIT_SECONDS = 20
UNTRACKED_FILE_BYTES, UNTRACKED_BYTES = 200_000, 2_000_000
"""The largest size of one untracked file, and of all untracked files, that is recorded."""
UNTRACKED_NAMED = 20
MISSING_TAG = "harness.git.missing"
PINNED = ("tensorflow", "keras", "numpy", "mlflow")
DISTRIBUTION = "overfitting-harness"
CHECKOUT, WHEEL, COPY = "checkout", "wheel", "copy"
"""Where the code is: in a git checkout that tracks it, installed from a wheel, or in another folder."""

_GIT = (
    "git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}",
    "-c", "status.showUntrackedFiles=normal", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false",
    "-c", f"core.attributesFile={os.devnull}", "-c", "protocol.allow=never", "--no-optional-locks",
)  # fmt: skip
"""A repository's configuration can name programs: reading its state must not start them, nor write the index. A user's
preferences (no untracked files, patches without prefixes) must not change what is recorded."""
_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
_NO_SUBMODULES = "--ignore-submodules=all"
"""In a submodule git would use the configuration of the submodule."""


@dataclass(frozen=True)
class CodeState:
    """The harness's own code: its version, its location, its commit, and the changes since that commit.

    `commit` is empty if it is not known: a wheel has one only if it was installed from a repository. `diff` includes
    untracked files; `missing` names the files that it leaves out (not text, too large, hidden).
    """

    version: str
    source: str
    commit: str = ""
    branch: str = ""
    dirty: bool = False
    diff: str = ""
    missing: str = ""


@lru_cache
def code_state() -> CodeState:
    """The state of the running code, as it was at the first call in this process; not of the project's root, which may
    be in another repository."""
    return state_of(paths.PACKAGE)


def state_of(package: Path) -> CodeState:
    """The state of the package in the folder `package`. A repository that contains the folder but does not track it
    (a virtual environment in a checkout) does not count."""
    release = version(DISTRIBUTION)
    commit = _git(package, "rev-parse", "HEAD").strip()
    if commit and _git(package, "ls-files", "--", "__init__.py"):
        own = ("--", str(package.parent))
        status = _git(package, "status", "--porcelain", "--untracked-files=all", _NO_SUBMODULES, *own)
        options = (
            "--no-color", "--no-ext-diff", "--no-textconv", _NO_SUBMODULES, "--binary", "--src-prefix=a/",
            "--dst-prefix=b/",
        )  # fmt: skip
        added, missing = _untracked(package.parent)
        return CodeState(
            release,
            CHECKOUT,
            commit,
            branch=_git(package, "rev-parse", "--abbrev-ref", "HEAD").strip(),
            dirty=bool(status),
            diff=(_git(package, "diff", "HEAD", *options, *own) if status else "") + added,
            missing=missing,
        )
    installed = distribution(DISTRIBUTION)
    if Path(str(installed.locate_file(package.name))).resolve() != package:
        return CodeState(release, COPY)
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return CodeState(release, WHEEL, origin.get("vcs_info", {}).get("commit_id", ""))


def _untracked(folder: Path) -> tuple[str, str]:
    """The files in `folder` that git neither tracks nor ignores, as a diff that adds them; and a text that names those
    that the diff leaves out."""
    diff: list[str] = []
    missing: list[str] = []
    room = UNTRACKED_BYTES
    for name in filter(None, _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".").split("\0")):
        text, problem = _new_text(folder / name, min(room, UNTRACKED_FILE_BYTES))
        if any(part.startswith(".") for part in Path(name).parts):
            text, problem = None, "hidden"  # personal settings, which may hold a password
        elif not name.isprintable() or set(name) & set('"\\'):
            text, problem = None, "a name that a diff cannot hold"
        if text is None:
            missing.append(f"{name} ({problem})")
            continue
        room -= len(text.encode())
        diff.append(_addition(name, text, os.access(folder / name, os.X_OK)))
    shown = ", ".join(missing[:UNTRACKED_NAMED])
    more = len(missing) - UNTRACKED_NAMED
    return "".join(diff), shown + (f" and {more} more" if more > 0 else "")


def _new_text(file: Path, most: int) -> tuple[str | None, str]:
    """The text of a file of at most `most` bytes; or None and the reason."""
    try:
        if file.is_symlink() or not file.is_file():
            return None, "no plain file"
        if (size := file.stat().st_size) > most:
            return None, f"{size} bytes"
        text = file.read_bytes().decode()
    except OSError as error:
        return None, str(error.strerror)
    except UnicodeDecodeError:
        return None, "no text"
    return (None, "no text") if "\0" in text else (text, "")


def _addition(name: str, text: str, executable: bool) -> str:
    """A new file as `git diff` writes it, for `git apply`."""
    head = f"diff --git a/{name} b/{name}\nnew file mode {'100755' if executable else '100644'}\n"
    if not text:
        return head
    lines = text.split("\n")
    ended = lines[-1] == ""
    lines = lines[:-1] if ended else lines
    body = "".join(f"+{line}\n" for line in lines) + ("" if ended else "\\ No newline at end of file\n")
    return f"{head}--- /dev/null\n+++ b/{name}\t\n@@ -0,0 +1,{len(lines)} @@\n{body}"


def _git(directory: Path, *arguments: str) -> str:
    """The output of git, with all filters of the repository's configuration off; empty if git fails."""
    keys = _ask_git(directory, {}, "config", "--name-only", "-z", "--get-regexp", r"^filter\.").split("\0")
    filters = {key: "false" if key.endswith(".required") else "" for key in keys if key}
    settings = {"GIT_CONFIG_COUNT": str(len(filters))}
    for number, (key, value) in enumerate(filters.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return _ask_git(directory, settings, *arguments)


def _ask_git(directory: Path, settings: Mapping[str, str], *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {**_ENVIRONMENT, **settings}
    try:
        done = subprocess.run(
            [*_GIT, "-C", str(directory), *arguments], env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, check=False,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""  # git is missing or does not answer: the run is recorded without a commit
    return done.stdout if done.returncode == 0 else ""


def code_tags(code: CodeState) -> dict[str, str]:
    """The code as tags; the tags that MLflow shows as the source are set only if the commit is known."""
    tags = {VERSION_TAG: code.version, "harness.source": code.source}
    if code.commit:
        tags[COMMIT_TAG] = code.commit
    if code.source == CHECKOUT:
        tags |= {"mlflow.source.git.branch": code.branch, DIRTY_TAG: str(code.dirty).lower()}
        if code.missing:
            tags[MISSING_TAG] = code.missing
    return tags


def other_libraries(tags: Mapping[str, str]) -> str:
    """A run's versions of TensorFlow and Keras, as text, if they differ from the installed ones (they decide its
    numbers). Empty if they are the same or not recorded."""
    here = _installed()
    if all(tags.get(tag) in (None, here[tag]) for tag in LIBRARIES.values()):
        return ""
    return _in_words(tags)


def libraries() -> str:
    """The installed versions of TensorFlow and Keras, as text."""
    return _in_words(_installed())


@lru_cache
def _installed() -> dict[str, str]:
    return {tag: version(name.lower()) for name, tag in LIBRARIES.items()}


def _in_words(tags: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {tags[tag]}" for name, tag in LIBRARIES.items() if tag in tags)


def other_code(tags: Mapping[str, str]) -> str:
    """A text about the code that a run was trained with, if it may differ from the present code: another version or
    commit, or uncommitted changes, then or now. Empty if it is the same."""
    now = code_tags(code_state())
    known = (VERSION_TAG, COMMIT_TAG, DIRTY_TAG)
    if all(tags.get(tag) == now.get(tag) for tag in known) and now.get(DIRTY_TAG) != "true":
        return ""
    return _code_in_words(tags)


def present_code() -> str:
    """The running code, in the form of `other_code`."""
    return _code_in_words(code_tags(code_state()))


def _code_in_words(tags: Mapping[str, str]) -> str:
    words = f"version {tags.get(VERSION_TAG, 'unknown')}"
    if commit := recorded_commit(tags):
        words += f" of commit {commit[:8]}"
    return words + (" with uncommitted changes" if tags.get(DIRTY_TAG) == "true" else "")


@lru_cache
def installed_packages() -> str:
    """Every installed distribution as `name==version`, one per line, sorted."""
    described = (item.metadata for item in distributions())  # read from its file at each access
    found = {f"{metadata['Name']}=={metadata['Version']}" for metadata in described if metadata["Name"]}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


@lru_cache
def model_requirements() -> list[str]:
    """The requirements of a logged model, pinned to the installed versions."""
    return [f"{name}=={version(name)}" for name in PINNED]


def machine_tags() -> dict[str, str]:
    """Tags with the code, the interpreter, the libraries, the machine, and the ignored environment variables."""
    return {
        **code_tags(code_state()),
        "harness.python": platform.python_version(),
        **_installed(),
        "harness.platform": platform.platform(),
        "harness.cpus": str(available_cpus()),
        "harness.gpus": ",".join(gpus()) or "none",
        "harness.host": platform.node(),
        "harness.command": typed_command(),
        PROCESS_TAG: this_process(),
        **({"harness.ignored_environment": ", ".join(names)} if (names := ignored()) else {}),
        **({"harness.environment_in_effect": ", ".join(surroundings.in_effect)} if surroundings.in_effect else {}),
    }


_called_as: ContextVar[tuple[str, ...]] = ContextVar("called_as", default=())


@contextmanager
def called_as(*words: str) -> Iterator[None]:
    """In the block, `typed_command` is this command: the one that does the same as the call from Python."""
    before = _called_as.set(words)
    try:
        yield
    finally:
        _called_as.reset(before)


def typed_command() -> str:
    """The command as the user typed it; during a run, `sys.argv` is that of Hydra."""
    if words := _called_as.get():
        return shlex.join(words)
    program, *arguments = sys.orig_argv[1:] or [""]
    return shlex.join([Path(program).name, *arguments])
