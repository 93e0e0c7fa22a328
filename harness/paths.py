"""Where everything lies, and how files are written so that no reader ever sees half of one.

The project's root is the checkout that the package runs from, or the working directory for an installed wheel; the
environment variable `HARNESS_ROOT` overrides both. The store, the outputs and the embedded artifacts belong there,
whatever folder Hydra makes for a job.
"""

from __future__ import annotations

import os
import re
import shutil
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


def default_store_uri() -> str:
    """MLflow's own default store, anchored at the project's root: a plain `mlflow ui` there finds every run."""
    return f"sqlite:///{project_root() / 'mlflow.db'}"


def default_artifact_directory() -> Path:
    """MLflow's own default artifact folder, anchored at the project's root."""
    return project_root() / "mlruns"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.part"
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(target, content.encode())


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

    Folders above `target` are made where they are missing, and removed again if the block fails. Raises `OSError`.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
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
