"""Reads runs from the store as `RunRecord`s.

A local SQLite store is read by SQL, without MLflow (whose import takes longer than reading ten thousand runs). A server
is asked in JSON, without MLflow either. Every other store, and a SQLite store with a schema that `sqlite_reader` does
not know, is read through `MlflowClient`. All give equal records. Nothing here writes to a store, and one that does not
exist is not created.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.errors import RequestError, StoreError, UnknownRun, suggestion
from harness.records import RunRecord
from harness.tracking.preflight import check_made
from harness.tracking.reused_tags import reused_runs
from harness.tracking.selection import (
    CONFIRMS_TAG,
    JOB_TAG,
    REPRODUCES_TAG,
    CachedReader,
    Reader,
    Selection,
    Series,
    in_order,
    is_sweep,
)
from harness.tracking.sqlite_reader import SqliteReader, UnknownSchema
from harness.tracking.store import Store

if TYPE_CHECKING:
    from harness.tracking.finished_runs import FinishedRuns

_log = logging.getLogger(__name__)
_CANDIDATES_SHOWN = 5
_JUST_NOW = 2.0
"""Seconds."""
_MORE_ASKED = 50
"""If all of the newest runs belong to `harness compare --confirm`, so many times more are read."""


_cached: ContextVar[Mapping[Store, CachedReader]] = ContextVar("cached", default=MappingProxyType({}))
"""The reader of `cached_reads`; a thread that starts in its block does not see it."""


@contextmanager
def cached_reads(store: Store, finished: FinishedRuns | None = None) -> Iterator[None]:
    """In the block, the store is opened for reading only once, and the same runs are read only once.

    For a single request. Do not wait for new runs in the block, or write runs and read them back: the cache does not
    see them. No lock is held between two reads. `finished`: the finished runs that this machine has of a server, where
    tags may be some days old; never for planning.
    """
    kept = _cached.get()
    if store in kept:
        yield
        return
    with ExitStack() as last:
        token = _cached.set({**kept, store: CachedReader(lambda: last.enter_context(_open(store, finished)))})
        try:
            yield
        finally:
            _cached.reset(token)


@contextmanager
def open_reader(store: Store) -> Iterator[Reader]:
    """The reader for this kind of store, or the one of `cached_reads`.

    Raises:
        StoreError: the store does not exist, is no MLflow store, or cannot be read.
    """
    if (kept := _cached.get().get(store)) is not None:
        yield kept
        return
    with _open(store) as reader:
        yield reader


@contextmanager
def _open(store: Store, finished: FinishedRuns | None = None) -> Iterator[Reader]:
    if store.is_server:
        from harness.tracking.server_reader import ServerReader

        yield ServerReader(store, finished)
        return
    if store.database is None:
        yield _client_reader(store)
        return
    if store.is_missing:
        raise StoreError(
            f"There are no runs yet: the store {store.database} does not exist. Make some with `harness sweep`."
        )
    try:
        try:
            reader = SqliteReader(store.database)
        except UnknownSchema:
            check_made(store.database)  # while MLflow creates a store, it goes through all its earlier schemas
            reader = SqliteReader(store.database)
    except UnknownSchema as unknown:
        _log.warning("%s Reading %s through MLflow's client instead, which is slower.", unknown, store.database)
        yield _client_reader(store)
        return
    try:
        yield reader
    finally:
        reader.close()


def _client_reader(store: Store) -> Reader:
    from harness.tracking.client_reader import ClientReader  # imports MLflow: seconds

    return ClientReader(store)


def read_runs(
    store: Store,
    *,
    experiment: str | None = None,
    parent_id: str | None = None,
    job: int | None = None,
    run_ids: Sequence[str] | None = None,
    include_parents: bool = False,
) -> list[RunRecord]:
    """Read the runs that meet all conditions, oldest first; deleted runs and runs of deleted experiments are left out.

    Args:
        store: the store.
        experiment: an experiment's name, or its id.
        parent_id: the sweep that the runs belong to.
        job: the number of a job in its sweep.
        run_ids: full run ids; each must exist.
        include_parents: whether to include the parent runs of sweeps.

    Raises:
        RequestError: an experiment or a run id that the store does not have.
        StoreError: see `open_reader`.
    """
    with open_reader(store) as reader:
        experiments = None if experiment is None else (_experiment_id(store, reader, experiment),)
        wanted = None if run_ids is None else tuple(dict.fromkeys(run_ids))
        runs = reader.select(Selection(experiments, parent_id, job, wanted))
    missing = set(wanted or ()) - {run.run_id for run in runs}
    if missing and experiment is None and parent_id is None and job is None:
        raise RequestError(f"The store {store.shown} has no run {', '.join(sorted(missing))} (or it was deleted).")
    return [run for run in runs if include_parents or not is_sweep(run)]


def select_runs(store: Store, selection: Selection) -> list[RunRecord]:
    """The selected runs, parent runs included, oldest first; empty if there is no local store yet. Raises `StoreError`
    as `open_reader`."""
    if store.is_missing:
        return []
    with open_reader(store) as reader:
        return reader.select(selection)


def sweep_runs(store: Store, parent_id: str, parent: RunRecord | None = None) -> list[RunRecord]:
    """The runs of a sweep, oldest first: those under its parent run, and the reused runs of other commands, which
    replace the sweep's own tries of these jobs.

    A reused run has its job number in this sweep as `JOB_TAG`, this sweep as `reused_by`, and its own `parent_id`.
    Deleted runs are left out. `parent` is the parent run, if it was read before. Raises `StoreError` as `open_reader`.
    """
    with open_reader(store) as reader:
        parents = [parent] if parent is not None else reader.select(Selection(run_ids=(parent_id,)))
        numbers = {run_id: job for run in parents
                   for run_id, job in reused_runs(run.tags, run.run_id).items()}  # fmt: skip
        # The runs of a sweep of ours are in its experiment, which spares a look at the others.
        among = tuple(run.experiment_id for run in parents if is_sweep(run)) or None
        own = reader.select(Selection(among, parent_id))
        reused = reader.select(Selection(run_ids=tuple(numbers))) if numbers else []
    numbered = [
        replace(run, tags={**run.tags, JOB_TAG: str(numbers[run.run_id])}, reused_by=parent_id) for run in reused
    ]
    replaced = {run.tags[JOB_TAG] for run in numbered}
    own = [run for run in own if run.tags.get(JOB_TAG) not in replaced]
    return in_order([run for run in (*own, *numbered) if not is_sweep(run)])


class SweepReader:
    """Reads the runs of a sweep again and again, as `sweep_runs`; a server is asked for a finished run only once."""

    def __init__(self, store: Store) -> None:
        self._store, self._finished = store, None
        if store.is_server:
            from harness.tracking.finished_runs import FinishedRuns

            self._finished = FinishedRuns(store, is_short=True)

    def runs(self, parent: RunRecord) -> list[RunRecord]:
        """The runs of the sweep `parent`. Raises `StoreError`."""
        with cached_reads(self._store, self._finished):
            return sweep_runs(self._store, parent.run_id, parent)


def runs_of_fingerprints(store: Store, experiment: str, fingerprints: Collection[str]) -> list[RunRecord]:
    """The runs of an experiment with one of the fingerprints, without those of `harness reproduce`, as by
    `runs_of_experiment`."""
    selection = Selection(fingerprints=tuple(dict.fromkeys(fingerprints)))
    return [run for run in runs_of_experiment(store, experiment, selection) if REPRODUCES_TAG not in run.tags]


def read_series(store: Store, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
    """The values by epoch of these metrics: `series[run_id]["fit/loss"][1]`. Raises `StoreError` as `open_reader`."""
    with open_reader(store) as reader:
        return reader.series(run_ids, metrics)


def experiment_tags(store: Store, experiment_id: str) -> dict[str, str]:
    """The tags of an experiment; empty if there is no such experiment. Raises `StoreError` as `open_reader`."""
    with open_reader(store) as reader:
        return reader.experiment_tags(experiment_id)


def latest_run(store: Store) -> RunRecord | None:
    """The run that started last, parent runs included; None if there is none. Runs of `harness compare --confirm` are
    skipped (see `without_confirming`). Raises `StoreError` as `open_reader`."""
    return _newest(store, Selection())


def latest_sweep(store: Store) -> RunRecord | None:
    """The parent run of the sweep that started last; None if there is none. Confirming sweeps are skipped."""
    return _newest(store, Selection(sweeps_only=True))


def _newest(store: Store, selection: Selection) -> RunRecord | None:
    with open_reader(store) as reader:
        asked = 1
        while True:
            found = reader.select(replace(selection, newest=asked))
            if left := without_confirming(store, found):
                return left[-1]
            if len(found) < asked:
                return None
            asked *= _MORE_ASKED


def read_sweeps(store: Store, experiment: str | None = None) -> list[RunRecord]:
    """The parent runs of sweeps, as by `runs_of_experiment`; without an experiment those of the whole store."""
    return runs_of_experiment(store, experiment, Selection(sweeps_only=True))


def runs_of_experiment(store: Store, experiment: str | None, selection: Selection) -> list[RunRecord]:
    """The selected runs of the experiment with this name (None: any), oldest first; empty if there is no such
    experiment, or no local store yet. Raises `StoreError` as `open_reader`."""
    if store.is_missing:
        return []
    with open_reader(store) as reader:
        known = _experiments(store, reader, experiment)
        wanted = tuple(identity for identity, name in known.items() if experiment in (None, name))
        return reader.select(replace(selection, experiment_ids=wanted)) if wanted else []


def without_confirming(store: Store, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """`runs` without the sweeps of `harness compare --confirm` and their runs: these confirm a selection, so nothing
    may be selected by them. Raises `StoreError` as `open_reader`."""
    ids = {run.parent_id for run in runs} - {None}
    with open_reader(store) as reader:
        parents = reader.select(Selection(run_ids=tuple(sorted(map(str, ids))))) if ids else []
    confirming = {run.run_id for run in (*runs, *parents) if CONFIRMS_TAG in run.tags}
    return [run for run in runs if not confirming.intersection((run.run_id, run.parent_id))]


def resolve_run(store: Store, text: str) -> RunRecord:
    """Find the one run that `text` names: a run id, a run's name, or the beginning of a run id, tried in this order.

    Raises:
        UnknownRun: `text` names no run.
        RequestError: `text` names several runs, or is empty.
        StoreError: see `open_reader`.
    """
    if not text.strip():
        raise RequestError("A run was given as an empty word. Give a run id, the beginning of one, or a run's name.")
    with open_reader(store) as reader:
        selections = [Selection(name=text)]
        if text.isascii() and text.isalnum():  # the characters of run ids; also keeps wildcards out of the prefix
            selections = [Selection(run_ids=(text,)), *selections, Selection(prefix=text)]
        found: list[RunRecord] = next(filter(None, map(reader.select, selections)), [])
        if not found:
            near = suggestion(text, {run.name for run in reader.select(Selection())})
            raise UnknownRun(
                f"No run in the store {store.shown} has the id or the name '{text}', or an id that begins so."
                f"{near} `harness ui` shows what is there."
            )
    if len(found) > 1:
        raise RequestError(f"'{text}' means {len(found)} runs:\n{_listed(found)}\nGive a run id, or more of it.")
    return found[0]


def _listed(runs: Sequence[RunRecord]) -> str:
    newest = sorted(runs, key=lambda run: run.started, reverse=True)
    lines = [
        f"  {run.run_id}  {run.name}  ({run.experiment}, {run.started:%Y-%m-%d %H:%M} UTC)"
        for run in newest[:_CANDIDATES_SHOWN]
    ]
    if len(newest) > _CANDIDATES_SHOWN:
        lines.append(f"  and {len(newest) - _CANDIDATES_SHOWN} older ones")
    return "\n".join(lines)


def _experiments(store: Store, reader: Reader, wanted: str | None) -> dict[str, str]:
    """The names of the experiments by id: as read just now, or a moment ago if the one that is `wanted` was there."""
    known = store.remembered_experiments()
    if known is None or (wanted not in known.values() and store.remembered_experiments(_JUST_NOW) is None):
        return reader.experiments()
    return dict(known)


def _experiment_id(store: Store, reader: Reader, wanted: str) -> str:
    experiments = _experiments(store, reader, wanted)
    for identity, name in experiments.items():
        if name == wanted:
            return identity
    if wanted in experiments:
        return wanted
    names = sorted(experiments.values())
    raise RequestError(
        f"There is no experiment '{wanted}'.{suggestion(wanted, names)} The store has {', '.join(names) or 'none'}."
    )
