"""Where everything lies, how files are written so that no reader ever sees half of one, and who may read them.

The project's root is the checkout that the package runs from, or the working directory for an installed wheel; the
environment variable `HARNESS_ROOT` overrides both. The store, the outputs and the embedded artifacts belong there,
whatever folder Hydra makes for a job.

What the harness keeps (runs, logs, configurations, diffs) is its user's alone (0600, 0700), unless it lies in a folder
that is shared on purpose: one that its group may write to, and which hands its group on (`chmod g+rwxs`). Whatever the
user names a place for (an export, a figure) has the modes of the user's umask, as `cp` would have it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _checkout() -> Path | None:
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "conf").is_dir() else None


def project_root() -> Path:
    """The folder that owns the store and the outputs."""
    if named := os.environ.get("HARNESS_ROOT"):
        return Path(named).expanduser().resolve()
    return _checkout() or Path.cwd()


def configuration_directory() -> Path:
    """Hydra's primary configuration folder (`conf/`)."""
    checkout = _checkout()
    return (checkout if checkout is not None else PACKAGE) / "conf"


def experiments_directory() -> Path:
    """The named studies (`experiments/`)."""
    checkout = _checkout()
    return (checkout if checkout is not None else PACKAGE) / "experiments"


def cache_directory() -> Path:
    """Downloaded datasets: `$HARNESS_CACHE`, else `$XDG_CACHE_HOME/harness`, else `~/.cache/harness`."""
    if named := os.environ.get("HARNESS_CACHE"):
        return Path(named).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "harness"


def checkpoint_directory() -> Path:
    """The states of runs that still train."""
    return project_root() / "checkpoints"


def checkpoint_file(run_id: str) -> Path:
    """The checkpoint of a running run; always inside that folder, whatever the run's id is."""
    return checkpoint_directory() / f"{re.sub(r'[^0-9A-Za-z_-]', '_', run_id)}.npz"


def array_file(digest: str) -> Path:
    """The arrays with this digest that Python handed over (`harness.train(data=...)`)."""
    return project_root() / ARRAYS / f"arrays_{digest}.npz"


def default_store_uri() -> str:
    """MLflow's own default store, anchored at the project's root: a plain `mlflow ui` there finds every run."""
    return f"sqlite:///{project_root() / DATABASE}"


def default_artifact_directory() -> Path:
    """MLflow's own default artifact folder, anchored at the project's root."""
    return project_root() / "mlruns"


OUTPUTS, DATABASE, ARRAYS = "outputs", "mlflow.db", "arrays"
KEPT = (OUTPUTS, "outputs/runs", "outputs/sweeps", "checkpoints", "mlruns", DATABASE, "spool", ARRAYS)
"""What is kept in the project's root."""
_SHARED = stat.S_ISGID | stat.S_IWGRP
_users_umask: int | None = None
"""That of the user, where this process has another."""


def is_shared(folder: Path) -> bool:
    """Whether a folder is shared on purpose, or the nearest above it where it is yet to be made: its group may write,
    and what is made in it belongs to that group."""
    found = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    return found is not None and found.stat().st_mode & _SHARED == _SHARED


def umask_in(folder: Path) -> int:
    """The umask for what is kept in `folder`: nothing for others; all for the group where the folder is shared, unless
    the user's own umask keeps the group out."""
    usual = _own_umask()
    if is_shared(folder) and not usual & stat.S_IRGRP:
        return usual & ~stat.S_IRWXG | stat.S_IRWXO
    return usual | stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def private_files() -> Iterator[None]:
    """What this process and its children write while the block lasts has the modes that `umask_in` gives it in the
    project's root."""
    global _users_umask
    if _users_umask is not None:
        yield
        return
    mask = _own_umask()
    os.umask(umask_in(project_root()))
    _users_umask = mask
    try:
        yield
    finally:
        _users_umask = None
        os.umask(mask)


def share_as(folder: Path) -> None:
    """In a block of `private_files`: the group may have what is written from now on if `folder` is shared. What is kept
    elsewhere lies in folders that keep it out (`make_folder`)."""
    if _users_umask is not None:
        os.umask(_umask() & umask_in(folder))


@contextmanager
def named_by_the_user() -> Iterator[None]:
    """What is written while the block lasts has the modes of the user's own umask."""
    before = os.umask(_own_umask())
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path) -> None:
    """Make a folder for what is kept, and those above it, with the modes of `umask_in`. Raises `OSError`."""
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(stat.S_IRWXU)
            handed_on = folder.stat().st_mode & stat.S_ISGID
            folder.chmod(handed_on | 0o777 & ~umask_in(folder.parent))


def make_file(file: Path, umask: int) -> None:
    """Make an empty file. Raises `OSError`, also where there is one already, or a link."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    file.chmod(0o666 & ~umask)


def _own_umask() -> int:
    """The user's own, whatever this process has now."""
    return _umask() if _users_umask is None else _users_umask


def _umask() -> int:
    mask = os.umask(0o077)  # there is no other way to ask
    os.umask(mask)
    return mask


@contextmanager
def atomic_path(target: Path, kept: bool = False) -> Iterator[Path]:
    """A temporary file beside `target` that replaces it when the block ends without an exception.

    It has the modes of the file that it replaces, else those of the user's umask, or of this process's if it is `kept`.
    """
    with named_by_the_user():
        target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.part"
    try:
        make_file(temporary, _umask() if kept else _own_umask())
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes, kept: bool = False) -> None:
    """Write a file whole or not at all; see `atomic_path`."""
    with atomic_path(target, kept) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str, kept: bool = False) -> None:
    """Write a UTF-8 text file whole or not at all; see `atomic_path`."""
    write_bytes(target, content.encode(), kept)


def take_new_place(temporary: Path, target: Path) -> None:
    """Give the file `temporary` the name `target`, unless another process has put a file that is not empty there first.

    Raises `OSError`.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        if target.stat().st_size == 0:  # what a process leaves that was killed as it began to write
            temporary.replace(target)
    except OSError:  # a file system without links
        temporary.replace(target)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place, contents and all, when the block ends without an exception.

    Folders above `target` are made where they are missing, and removed again if the block fails. What is in it has the
    modes of the user's umask. Raises `OSError`.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with named_by_the_user():
            temporary.mkdir(parents=True)
            yield temporary
        _take_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # not empty: it holds `target`, or what somebody else has put there meanwhile
                folder.rmdir()


def _take_place(folder: Path, target: Path) -> None:
    """No system call swaps two folders: the old one steps aside, and comes back if the new one cannot follow."""
    if not target.exists():
        folder.rename(target)
        return
    aside = folder.with_suffix(".old")
    target.rename(aside)
    try:
        folder.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside)
