"""The location of every file, how files are written completely or not at all, and who may read them.

The project's root is the checkout that the package runs from, or the working directory for an installed wheel. The
environment variable `HARNESS_ROOT` overrides both. The store, its artifacts and the outputs are in the root.

The files that the harness keeps there (runs, logs, configurations, diffs) are private to their user (modes 0600 and
0700), except in a folder that is shared on purpose: its group may write to it, and new files belong to that group
(`chmod g+rwxs`). A file that the user names (an export, a figure) gets the modes of the user's umask.
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
    """Hydra's main configuration folder (`conf/`)."""
    checkout = _checkout()
    return (checkout if checkout is not None else PACKAGE) / "conf"


def experiments_directory() -> Path:
    """The folder of the named studies (`experiments/`)."""
    checkout = _checkout()
    return (checkout if checkout is not None else PACKAGE) / "experiments"


def cache_directory() -> Path:
    """The folder of downloaded datasets: `$HARNESS_CACHE`, or `$XDG_CACHE_HOME/harness`, or `~/.cache/harness`."""
    if named := os.environ.get("HARNESS_CACHE"):
        return Path(named).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "harness"


def checkpoint_directory() -> Path:
    """The folder of the checkpoints of running runs."""
    return project_root() / "checkpoints"


def checkpoint_file(run_id: str) -> Path:
    """The checkpoint of a running run. It is inside `checkpoint_directory()` for any text as id."""
    return checkpoint_directory() / f"{re.sub(r'[^0-9A-Za-z_-]', '_', run_id)}.npz"


def array_file(digest: str) -> Path:
    """The arrays with this digest that Python handed over (`harness.train(data=...)`)."""
    return project_root() / ARRAYS / f"arrays_{digest}.npz"


def default_store_uri() -> str:
    """MLflow's default store, in the project's root, so that a plain `mlflow ui` there finds every run."""
    return f"sqlite:///{project_root() / DATABASE}"


def default_artifact_directory() -> Path:
    """MLflow's default artifact folder, in the project's root."""
    return project_root() / "mlruns"


OUTPUTS, DATABASE, ARRAYS = "outputs", "mlflow.db", "arrays"
KEPT = (OUTPUTS, "outputs/runs", "outputs/sweeps", "checkpoints", "mlruns", DATABASE, "spool", ARRAYS)
"""What the harness keeps in the project's root."""
_SHARED = stat.S_ISGID | stat.S_IWGRP
_users_umask: int | None = None
"""The user's umask, while this process has another one."""


def is_shared(folder: Path) -> bool:
    """Whether a folder is shared on purpose: its group may write to it, and new files in it belong to that group.

    If the folder does not exist yet, the nearest existing folder above it counts.
    """
    found = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    return found is not None and found.stat().st_mode & _SHARED == _SHARED


def umask_in(folder: Path) -> int:
    """The umask for files that the harness keeps in `folder`.

    Others have no access. The group has full access if the folder is shared and the user's umask lets the group read.
    """
    usual = _own_umask()
    if is_shared(folder) and not usual & stat.S_IRGRP:
        return usual & ~stat.S_IRWXG | stat.S_IRWXO
    return usual | stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def private_files() -> Iterator[None]:
    """Inside the `with` block, this process and its children write files with the umask of the project's root."""
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
    """Inside a block of `private_files`: give the group access to files written from now on, if `folder` is shared.

    Files in other folders stay private, because the modes of those folders (`make_folder`) keep the group out.
    """
    if _users_umask is not None:
        os.umask(_umask() & umask_in(folder))


@contextmanager
def named_by_the_user() -> Iterator[None]:
    """Inside the `with` block, files are written with the user's own umask."""
    before = os.umask(_own_umask())
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path) -> None:
    """Make a folder for files that the harness keeps, and missing folders above it, with the modes of `umask_in`.

    Raises `OSError`.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(stat.S_IRWXU)
            inherited = folder.stat().st_mode & stat.S_ISGID
            folder.chmod(inherited | 0o777 & ~umask_in(folder.parent))


def make_file(file: Path, umask: int) -> None:
    """Make an empty file. Raises `OSError`, also if a file or a link of this name exists."""
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    file.chmod(0o666 & ~umask)


def _own_umask() -> int:
    """The user's umask, also while this process has another one."""
    return _umask() if _users_umask is None else _users_umask


def _umask() -> int:
    mask = os.umask(0o077)  # the umask can only be read by setting it
    os.umask(mask)
    return mask


@contextmanager
def atomic_path(target: Path, kept: bool = False) -> Iterator[Path]:
    """A temporary file beside `target`, which replaces `target` when the block ends without an exception.

    It gets the modes of the file that it replaces. A new file gets those of the user's umask, or of this process's
    umask if it is `kept` by the harness.
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
    """Write a file completely or not at all; see `atomic_path`."""
    with atomic_path(target, kept) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str, kept: bool = False) -> None:
    """Write a UTF-8 text file completely or not at all; see `atomic_path`."""
    write_bytes(target, content.encode(), kept)


def take_new_place(temporary: Path, target: Path) -> None:
    """Rename the file `temporary` to `target`, unless a file that is not empty already has this name.

    Raises `OSError`.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        if target.stat().st_size == 0:  # left by a process that was killed when it began to write
            temporary.replace(target)
    except OSError:  # a file system without links
        temporary.replace(target)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which replaces `target` when the block ends without an exception.

    Missing folders above `target` are made, and removed again if the block fails. Files get the modes of the user's
    umask. Raises `OSError`.
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
            with suppress(OSError):  # not empty: it contains `target`, or files that someone else has written
                folder.rmdir()


def _take_place(folder: Path, target: Path) -> None:
    """Replace `target` with `folder`. No portable call swaps two folders, so the old one is renamed first.

    If the new folder cannot be renamed then, the old one gets its name back.
    """
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
