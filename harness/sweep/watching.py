"""A sweep as the store shows it, while its jobs are carried out elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.errors import StoreError
from harness.records import RunRecord
from harness.tracking.reading import read_runs

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.5
"""Seconds between two looks at the store."""
SHARE_OF_TIME = 0.05
"""What looking may take of one processor, which the workers need."""

LONGEST_WAIT = 5.0
"""Seconds that the end of a sweep waits for a look at a store that does not answer."""

Show = Callable[[Sequence[RunRecord]], None]


@contextmanager
def watched(uri: str, parent_id: str, show: Show) -> Iterator[None]:
    """Call `show` with the sweep's runs every now and then while the block lasts, and once more at its end."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(uri, parent_id, show, over), name="watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(LONGEST_WAIT)
        _look(uri, parent_id, show)


def _watch(uri: str, parent_id: str, show: Show, over: threading.Event) -> None:
    pause = SHORTEST_PAUSE
    while not over.wait(pause):
        started = time.perf_counter()
        _look(uri, parent_id, show)
        pause = max(SHORTEST_PAUSE, (time.perf_counter() - started) / SHARE_OF_TIME)


def _look(uri: str, parent_id: str, show: Show) -> None:
    try:
        show(read_runs(uri, parent_id=parent_id))
    except StoreError as error:  # it may come back; if it does not, the jobs say so
        log.warning("The store could not be read for the display: %s", error)
