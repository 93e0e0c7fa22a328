"""The spool: a folder with what a run wrote while its store was down, until `harness sync` uploads it.

A spool is a folder `spool/<run id>/` in the project's root with `journal.jsonl` (one operation per line, in order; the
first line names the run and the store), `files/` (the files of the operations), `done` (how many lines are in the store
already), and a lock (held by the run while it writes, and by the process that uploads). If the project's disk is full
too, the run continues in a second folder under `$TMPDIR`, the next part.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import logging
import os
import secrets
import shutil
import stat
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from harness import paths
from harness.errors import StoreError
from harness.records import RunState
from harness.tracking.pending_writes import End, File, Operation, TrainedModel, from_json, to_json
from harness.tracking.relocation import Move, local_path
from harness.tracking.store import Store, open_store

_log = logging.getLogger(__name__)

FOLDER = "spool"
JOURNAL, FILES, DONE, LOCK = "journal.jsonl", "files", "done", "lock"
PLAIN = (stat.S_IFREG, stat.S_IFDIR)
KEY = "spool.key"
"""A file in the cache with the key that marks the user's own spools."""


@dataclass(frozen=True)
class Origin:
    """The source of a spool: the run's name and id, its store, its experiment, and the number of the try."""

    uri: str
    run_id: str
    name: str
    experiment_id: str
    attempt: int = 1

    @property
    def store(self) -> Store:
        return open_store(self.uri)


def places() -> list[Path]:
    """The folders for this project's spools, in the order of trying."""
    owner = hashlib.sha256(str(paths.project_root()).encode()).hexdigest()[:12]
    return [paths.project_root() / FOLDER, Path(tempfile.gettempdir()) / f"harness-spool-{os.getuid()}" / owner]


class Spool:
    """One spool folder; `part` counts the folders of a run from 1, in the order of writing."""

    def __init__(self, folder: Path) -> None:
        """Open the spool in `folder`. Raises `StoreError` if it cannot be read."""
        self.folder = folder
        self.lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        self.part, self.origin, self._mark = self._header()
        self._count = self._size = 0
        if self.origin.run_id != folder.name:
            raise StoreError(f"The spool {folder} says that it is of the run {self.origin.run_id}. Move it away.")

    @classmethod
    def create(cls, place: Path, origin: Origin, part: int) -> Spool:
        """Create the spool of a run in `place`, or open that of an earlier try; it is locked. Raises `OSError`."""
        folder = place / origin.run_id
        _private(place)
        folder.mkdir(mode=0o700, exist_ok=True)
        if problem := _untrusted(place, folder.name):
            raise PermissionError(problem)
        try:
            with (folder / LOCK).open("ab"):
                pass
            if not (folder / JOURNAL).is_file():
                # The store's URI may hold a password, so the folder's mode lets nobody else read it.
                header = {"part": part, **asdict(origin), "mark": _mark_of(origin)}
                paths.write_text(folder / JOURNAL, json.dumps(header) + "\n", kept=True)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        spool = cls(folder)
        spool.lock.acquire()
        spool._go_on()
        return spool

    def append(self, operation: Operation) -> None:
        """Append one operation; it is on disk at return. On `OSError` the spool is unchanged."""
        copied = self.folder / FILES / f"{self._count:06}"
        try:
            line = json.dumps(to_json(self._with_copy(operation, copied)), ensure_ascii=False) + "\n"
            self._write(line.encode())
        except OSError:
            shutil.rmtree(copied, ignore_errors=True)
            raise
        self._count += 1

    def operations(self) -> Iterator[Operation]:
        """All operations in order; an incomplete last line (its writer was killed) is ignored."""
        for line in self._lines():
            yield from_json(json.loads(line), self.folder)

    @property
    def is_marked(self) -> bool:
        """Whether this user has written the spool. A spool copied from somebody else could name any store, which would
        then receive the user's token."""
        return hmac.compare_digest(self._mark.encode(), _mark_of(self.origin).encode()) and self._mark != ""

    @property
    def done(self) -> int:
        """How many operations are in the store."""
        file = self.folder / DONE
        return int(file.read_text()) if file.is_file() else 0

    @property
    def ended(self) -> str | None:
        """The final state of the run; None if its process died before it recorded one."""
        last = next(iter(deque(self._lines(), maxlen=1)), b"{}")
        operation = json.loads(last)
        return str(operation["state"]) if operation.get("kind") == End.__name__ else None

    def mark_done(self, count: int) -> None:
        """Record that the first `count` operations are in the store. Raises `OSError`."""
        paths.write_text(self.folder / DONE, f"{count}\n", kept=True)

    def remove(self) -> None:
        """Delete the spool; the journal first, because a folder without a journal is no spool."""
        (self.folder / JOURNAL).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # it has spools of other runs
            self.folder.parent.rmdir()

    def _header(self) -> tuple[int, Origin, str]:
        try:
            with (self.folder / JOURNAL).open("rb") as journal:
                header = json.loads(journal.readline())
            part, attempt = int(header.pop("part")), int(header.pop("attempt", 1))
            mark = str(header.pop("mark", ""))
            return part, Origin(**{key: str(value) for key, value in header.items()}, attempt=attempt), mark
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"The spool {self.folder} cannot be read ({error}). Look at it, or move it away."
            ) from error

    def _lines(self) -> Iterator[bytes]:
        with (self.folder / JOURNAL).open("rb") as journal:
            journal.readline()
            yield from (line for line in journal if line.endswith(b"\n"))

    def _go_on(self) -> None:
        """Find the end of the last complete line; an incomplete one will be overwritten."""
        lines = list(self._lines())
        with (self.folder / JOURNAL).open("rb") as journal:
            self._size = len(journal.readline()) + sum(map(len, lines))
        self._count = len(lines)
        shutil.rmtree(self.folder / FILES / f"{self._count:06}", ignore_errors=True)

    def _with_copy(self, operation: Operation, target: Path) -> Operation:
        """The operation with a copy of its file or folder in the spool, if it has one."""
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


def _mark_of(origin: Origin) -> str:
    """A signature of the origin that only this user can make; empty if the user's key cannot be stored."""
    file = paths.cache_directory() / KEY
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{KEY}.{uuid.uuid4().hex}.part")
            temporary.touch(0o600)
            temporary.write_text(secrets.token_hex(32))
            paths.take_new_place(temporary, file)
            temporary.unlink(missing_ok=True)
        key = file.read_bytes()
    except OSError:
        return ""
    return hmac.new(key, json.dumps(asdict(origin), sort_keys=True).encode(), "sha256").hexdigest()


def _private(place: Path) -> None:
    """Create the folder for spools with access for this user only. Raises `PermissionError` if others have access."""
    for folder in _chain(place):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if problem := _untrusted(place):
        raise PermissionError(problem)


def _chain(place: Path) -> list[Path]:
    """The folders that must belong to this user: below `/tmp` or the project's root, down to `place`."""
    return [place] if place.name == FOLDER else [place.parent, place]


def _untrusted(place: Path, run: str = "") -> str:
    """Why another user may have written the spool of `run` in `place`, as text; empty if only this user can."""
    for folder in [*_chain(place), *([place / run, place / run / JOURNAL, place / run / FILES] if run else [])]:
        try:
            found = folder.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            return f"{folder} is a link"
        if stat.S_ISDIR(found.st_mode) == (folder.name == JOURNAL) or stat.S_IFMT(found.st_mode) not in PLAIN:
            return f"{folder} is neither a file nor a folder, or not the one that belongs there"
        if found.st_uid != os.getuid():
            return f"{folder} belongs to another user"
        others = 0o022 if folder == place.parent or place.name == FOLDER else 0o077  # reading alone is harmless here
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
    """The spools of this project by run id, each run's parts in order. Raises `StoreError` for a damaged spool."""
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
    """After a store was moved or copied, update this project's spools to its new place. Raises `StoreError`.

    A store other than the project's own could only claim that it was at the old place: if a store still exists there,
    its spools are not changed.
    """
    named = {path.with_name(move.database.name) for place in move.places if (path := local_path(place)) is not None}
    is_own = store == open_store(paths.default_store_uri())
    olds = {database for database in named if is_own or not database.exists()}
    for spools in find_spools().values():
        for spool in spools:
            if spool.origin.store.database in olds:
                spool_is_ours = spool.is_marked
                spool.origin = replace(spool.origin, uri=store.uri)
                header, _, rest = (spool.folder / JOURNAL).read_bytes().partition(b"\n")
                mark = _mark_of(spool.origin) if spool_is_ours else ""
                changed = json.dumps({**json.loads(header), "uri": store.uri, "mark": mark}).encode()
                paths.write_bytes(spool.folder / JOURNAL, changed + b"\n" + rest, kept=True)


def trained_runs(store: Store) -> set[str]:
    """The ids of the store's runs whose training has finished and whose results are in a spool. Raises `StoreError`."""
    found = find_spools()
    return {run_id for run_id, parts in found.items()
            if parts[-1].ended == RunState.FINISHED and parts[0].origin.store == store}  # fmt: skip


@contextmanager
def held(spools: Sequence[Spool]) -> Iterator[bool]:
    """Lock the spools of a run during the block. Yields False if the run itself or another sync has the lock."""
    with ExitStack() as taken:
        try:
            for spool in spools:
                taken.enter_context(spool.lock)
            ours = True
        except Timeout:
            ours = False
        for spool in spools:
            if ours and not (spool.folder / JOURNAL).is_file():  # uploaded already; the lock has created the folder
                shutil.rmtree(spool.folder, ignore_errors=True)
                ours = False
        yield ours
