"""What runs wrote while their store could not be used: kept on this machine until `harness sync` brings it home.

A spool is a folder `spool/<run id>/` in the project's root: `journal.jsonl`, a line for each operation in order (the
first line says which run of which store), `files/` with the files that they name, `done`, how many lines are in the
store already, and a lock, held by the run while it writes and by whoever brings it home. Where the project's disk is
full too, the run goes on in a second folder under `$TMPDIR`, as the next part.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness import paths
from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.locations import Move, local_path
from harness.tracking.pending_writes import End, File, Operation, TrainedModel, from_json, to_json
from harness.tracking.store import Store, open_store

_log = logging.getLogger(__name__)

FOLDER = "spool"
JOURNAL, FILES, DONE, LOCK = "journal.jsonl", "files", "done", "lock"


@dataclass(frozen=True)
class Origin:
    """Whose results a spool keeps: a run, by name and id, of a store and an experiment in it, in one try at it."""

    uri: str
    run_id: str
    name: str
    experiment_id: str
    attempt: int = 1

    @property
    def store(self) -> Store:
        return open_store(self.uri)


def places() -> list[Path]:
    """Where this project's spools may lie, in the order of trying."""
    owner = hashlib.sha256(str(paths.project_root()).encode()).hexdigest()[:12]
    return [paths.project_root() / FOLDER, Path(tempfile.gettempdir()) / f"harness-spool-{os.getuid()}" / owner]


class Spool:
    """One folder of results on their way; `part` counts the folders of a run from 1, in the order of writing."""

    def __init__(self, folder: Path) -> None:
        """Open what lies in `folder`. Raises `StoreError` if it cannot be read."""
        self.folder = folder
        self.lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        header = self._header()
        self.part = int(header.pop("part"))
        self._count = self._size = 0
        self.origin = Origin(**header)
        if self.origin.run_id != folder.name:
            raise StoreError(f"The spool {folder} says that it is of the run {self.origin.run_id}. Move it away.")

    @classmethod
    def create(cls, place: Path, origin: Origin, part: int) -> Spool:
        """The spool of a run in `place`, locked: a new one, or that of an earlier try. Raises `OSError`."""
        folder = place / origin.run_id
        _private(place)
        folder.mkdir(mode=0o700, exist_ok=True)
        if problem := _untrusted(place, folder.name):
            raise PermissionError(problem)
        try:
            with (folder / LOCK).open("ab"):
                pass
            if not (folder / JOURNAL).is_file():
                # It may hold the password that the store's address holds: for nobody else to read (the folder's mode).
                paths.write_text(folder / JOURNAL, json.dumps({"part": part, **asdict(origin)}) + "\n")
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        spool = cls(folder)
        spool.lock.acquire()
        spool._go_on()
        return spool

    def append(self, operation: Operation) -> None:
        """Keep one operation, on disk at return, or leave the spool as it was. Raises `OSError`."""
        copied = self.folder / FILES / f"{self._count:06}"
        try:
            line = json.dumps(to_json(self._with_copy(operation, copied)), ensure_ascii=False) + "\n"
            self._write(line.encode())
        except OSError:
            shutil.rmtree(copied, ignore_errors=True)
            raise
        self._count += 1

    def operations(self) -> Iterator[Operation]:
        """Everything that was kept, in order; a last line that its writer did not live to end is nothing."""
        for line in self._lines():
            yield from_json(json.loads(line), self.folder)

    @property
    def done(self) -> int:
        """How many operations are in the store."""
        file = self.folder / DONE
        return int(file.read_text()) if file.is_file() else 0

    @property
    def ended(self) -> str | None:
        """The state that the run ended in; None where its process died before it could say."""
        last = next(iter(deque(self._lines(), maxlen=1)), b"{}")
        operation = json.loads(last)
        return str(operation["state"]) if operation.get("kind") == End.__name__ else None

    def mark_done(self, count: int) -> None:
        """Remember that the first `count` operations are in the store. Raises `OSError`."""
        paths.write_text(self.folder / DONE, f"{count}\n")

    def remove(self) -> None:
        """Take the spool away; the journal goes first, since a spool without one is none."""
        (self.folder / JOURNAL).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other runs are in it
            self.folder.parent.rmdir()

    def _header(self) -> dict[str, Any]:
        try:
            with (self.folder / JOURNAL).open("rb") as journal:
                header: dict[str, Any] = json.loads(journal.readline())
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The spool {self.folder} cannot be read ({error}). Look at it, or move it away."
            ) from error
        return header

    def _lines(self) -> Iterator[bytes]:
        with (self.folder / JOURNAL).open("rb") as journal:
            journal.readline()
            yield from (line for line in journal if line.endswith(b"\n"))

    def _go_on(self) -> None:
        """Find the end of what is kept; what a writer did not live to end will be overwritten."""
        lines = list(self._lines())
        with (self.folder / JOURNAL).open("rb") as journal:
            self._size = len(journal.readline()) + sum(map(len, lines))
        self._count = len(lines)
        shutil.rmtree(self.folder / FILES / f"{self._count:06}", ignore_errors=True)

    def _with_copy(self, operation: Operation, target: Path) -> Operation:
        """The operation on a copy of its file or folder, where it has one."""
        if not isinstance(operation, File | TrainedModel):
            return operation
        source, copy = Path(operation.path), target / Path(operation.path).name
        target.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        for path in (copy, *copy.rglob("*")):
            _sync(path)
        return replace(operation, path=str(copy.relative_to(self.folder)))

    def _write(self, line: bytes) -> None:
        with (self.folder / JOURNAL).open("r+b", buffering=0) as journal:
            journal.truncate(self._size)
            journal.seek(self._size)
            try:
                if journal.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(journal.fileno())
            except OSError:
                journal.truncate(self._size)
                raise
        self._size += len(line)


def _private(place: Path) -> None:
    """Make the folder for spools, for this user only. Raises `PermissionError` where it is not."""
    for folder in _chain(place):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if problem := _untrusted(place):
        raise PermissionError(problem)


def _chain(place: Path) -> list[Path]:
    """The folders of ours from the one that others may write into (`/tmp`, the project's root) down to `place`."""
    return [place] if place.name == FOLDER else [place.parent, place]


def _untrusted(place: Path, run: str = "") -> str:
    """Why the spool of `run` in `place` may be another user's work, in words; empty where it is this user's alone."""
    for folder in [*_chain(place), *([place / run, place / run / JOURNAL, place / run / FILES] if run else [])]:
        try:
            found = folder.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            return f"{folder} is a link"
        if found.st_uid != os.getuid():
            return f"{folder} belongs to another user"
        others = 0o022 if folder == place.parent or place.name == FOLDER else 0o077  # who may read can plant nothing
        if stat.S_ISDIR(found.st_mode) and folder.name != FILES and found.st_mode & others:
            return f"others may look into {folder} or change it: chmod 700 {folder}, if what is in it is yours"
    return ""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def find_spools(run_id: str | None = None) -> dict[str, list[Spool]]:
    """The spools of this project by run id, each run's parts in order. Raises `StoreError` for one that is damaged."""
    found: dict[str, list[Spool]] = {}
    for place in places():
        for journal in sorted(place.glob(f"{run_id or '*'}/{JOURNAL}")):
            if problem := _untrusted(place, journal.parent.name):
                _log.warning("The spool %s is left alone: %s.", journal.parent, problem)
                continue
            spool = Spool(journal.parent)
            found.setdefault(spool.origin.run_id, []).append(spool)
    return {run: sorted(parts, key=lambda spool: spool.part) for run, parts in found.items()}


def follow_store(move: Move, store: Store) -> None:
    """Have this project's spools of a store that was moved or copied name its present place. Raises `StoreError`."""
    olds = {path.with_name(move.database.name) for place in move.places if (path := local_path(place)) is not None}
    for spools in find_spools().values():
        for spool in spools:
            if spool.origin.store.database in olds:
                spool.origin = replace(spool.origin, uri=store.uri)
                header, _, rest = (spool.folder / JOURNAL).read_bytes().partition(b"\n")
                changed = json.dumps({**json.loads(header), "uri": store.uri}).encode()
                paths.write_bytes(spool.folder / JOURNAL, changed + b"\n" + rest)


def trained_runs(store: Store) -> set[str]:
    """The ids of the store's runs that were trained to their end and wait in a spool. Raises `StoreError`."""
    found = find_spools()
    return {run_id for run_id, parts in found.items()
            if parts[-1].ended == RunState.FINISHED and parts[0].origin.store == store}  # fmt: skip


@contextmanager
def held(spools: Sequence[Spool]) -> Iterator[bool]:
    """Whether the spools of a run are ours while the block lasts: not while the run itself or another sync has them."""
    with ExitStack() as taken:
        try:
            for spool in spools:
                taken.enter_context(spool.lock)
            ours = True
        except Timeout:
            ours = False
        for spool in spools:
            if ours and not (spool.folder / JOURNAL).is_file():  # brought home meanwhile; the lock has made the folder
                shutil.rmtree(spool.folder, ignore_errors=True)
                ours = False
        yield ours
