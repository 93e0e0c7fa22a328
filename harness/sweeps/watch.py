"""Watches a sweep by reading the store while other processes train its jobs."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

from harness.errors import RequestError, StoreError
from harness.records import RunRecord, RunState
from harness.sweeps.finalize import Report, compared
from harness.sweeps.lease import LeaseWatch, holder_of, is_held
from harness.sweeps.owners import jittered
from harness.sweeps.progress import SweepDisplay
from harness.tracking.models import find_sweep
from harness.tracking.reading import SweepReader, read_runs, read_sweeps, sweep_runs
from harness.tracking.selection import BEST_TAG, JOBS_TAG, SEARCH_TAG, recorded_number, recorded_settings
from harness.tracking.store import Store

log = logging.getLogger(__name__)

SHORTEST_PAUSE, PAUSE_OF_SERVER = 0.5, 3.0
"""Seconds between two reads of the store. A server answers others too."""
LONGER, LONGEST_PAUSE = 1.5, 15.0
"""As long as a server has nothing new, each pause is so much longer than the last one, up to so many seconds."""
SHARE_OF_TIME = 0.05
"""The largest share of one CPU core that reading may use; the workers need the rest."""

LONGEST_WAIT = 5.0
"""Seconds that the end of a sweep waits for a store that does not answer."""

Show = Callable[[Sequence[RunRecord]], None]


@contextmanager
def watched(
    store: Store, read_parent: Callable[[], RunRecord], show: Show, least_pause: Callable[[], float] = lambda: 0.0
) -> Iterator[Show]:
    """Call `show` with the sweep's runs repeatedly during the block, and once more at its end, unless the block gives
    the last runs to what it gets. `read_parent` reads the parent run, which is done once. `least_pause`: the least
    seconds between two looks."""
    over, shortest = threading.Event(), SHORTEST_PAUSE if store.is_local else PAUSE_OF_SERVER
    parent, reader = cache(read_parent), SweepReader(store)
    last: list[Sequence[RunRecord]] = []

    def watch() -> None:
        pause, before = shortest, list[RunRecord]()
        while not over.wait(pause):
            started = time.perf_counter()
            found = _look(reader, parent, show)
            slow = (time.perf_counter() - started) / SHARE_OF_TIME
            longer = pause * LONGER if found == before and not store.is_local else shortest
            pause, before = jittered(max(shortest, min(longer, LONGEST_PAUSE), slow, least_pause())), found

    watcher = threading.Thread(target=watch, name="watcher", daemon=True)
    watcher.start()
    try:
        yield last.append
    finally:
        over.set()
        watcher.join(LONGEST_WAIT)
        if last:
            show(last[-1])
        else:
            _look(reader, parent, show)


def _look(reader: SweepReader, parent: Callable[[], RunRecord], show: Show) -> list[RunRecord]:
    """Show the runs, and return them; none if the store cannot be read."""
    try:
        found = reader.runs(parent())
    except StoreError as error:  # the store may come back; if it does not, the jobs report it
        log.warning("The store could not be read for the display: %s", error)
        return []
    show(found)
    return found


def follow(store: Store, parent_id: str, show: Show) -> bool:
    """Call `show` with the runs of a sweep that another command trains, until it ends. Returns False if that command
    died before the sweep ended."""
    watch, pause, reader = LeaseWatch(), SHORTEST_PAUSE, SweepReader(store)
    while True:
        started = time.perf_counter()
        [parent] = read_runs(store, run_ids=[parent_id], include_parents=True)
        over = watch.is_over(parent)
        _look(reader, partial(lambda parent: parent, parent), show)
        if over:
            holder = holder_of(parent)
            return holder is None or holder.released
        time.sleep(pause)
        pause = max(SHORTEST_PAUSE, (time.perf_counter() - started - pause) / SHARE_OF_TIME)


def watch(store: Store, named: str, display: SweepDisplay, report: Report) -> None:
    """Show a sweep that another command trains until it ends, then call `report`. The sweep is the one `named`, or the
    newest running one.

    Raises `RequestError` if there is none, `UnknownRun`, or `StoreError`.
    """
    with display.doing("Looking for the sweep"):
        parent = _sweep_named(store, named)
    is_search = SEARCH_TAG in parent.tags
    if is_search:  # test images are for its winner
        display = SweepDisplay(display.console, splits=("train", "val"))
    try:
        done = [run for run in sweep_runs(store, parent.run_id) if run.state is RunState.FINISHED]
        reused = sum(run.parent_id != parent.run_id for run in done)
        jobs = recorded_number(parent, JOBS_TAG)
        told = f"at most {jobs} runs" if jobs else "runs, until its time is over"
        with display.live(parent.name, jobs or None, done, reused=reused, told=told if is_search else ""):
            ended = follow(store, parent.run_id, display.show)
    except KeyboardInterrupt:
        display.say("No longer watching; the sweep continues.")
        raise
    if not ended:
        display.say("The command that ran this sweep has gone. The same `harness sweep ...` resumes it.")
    if is_search:
        display.say(_best_in_words(read_runs(store, run_ids=[parent.run_id], include_parents=True)[0]))
        return
    runs = sweep_runs(store, parent.run_id)
    comparison = compared(runs, parent.run_id, recorded_settings(parent), parent.name, jobs)
    if comparison is not None:
        report(comparison)


def _best_in_words(parent: RunRecord) -> str:
    """The best trials of a search that has ended."""
    numbers = parent.tags.get(BEST_TAG, "").split()
    told = [f"trial {number} ({_settings(parent.parameters.get(f'trial.{number}', ''))})" for number in numbers]
    best = f"Best: {', '.join(told)}." if told else "It has no best trial yet."
    return f"{best} The same `harness search ...` shows all of them; so does the artifact trials.csv."


def _settings(trial: str) -> str:
    try:
        return " ".join(f"{key}={value}" for key, value in json.loads(trial)["settings"].items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # the store may be a stranger's
        return trial


def _sweep_named(store: Store, named: str) -> RunRecord:
    if named:
        return find_sweep(store, named)
    at_work = [sweep for sweep in read_sweeps(store) if is_held(sweep)]
    if not at_work:
        raise RequestError(
            "--watch: no sweep is running in this store. `harness compare` shows the last one; tracking.uri=... "
            "names another store."
        )
    return at_work[-1]
