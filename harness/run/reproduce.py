"""Trains a recorded run again, only from what the store has recorded."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.analysis.reproducibility import Repetition, compare_values
from harness.composing import with_absolute_paths
from harness.config.schema import Config
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.run.code import check_code
from harness.run.execute import RunContext, RunResult, execute
from harness.run.load import load_recorded, read_config, read_words
from harness.run.warm_start import check_start, refuse_unnamed_file
from harness.tracking.models import find_trained
from harness.tracking.reading import cached_reads, read_runs, read_series
from harness.tracking.selection import CONTINUED_FROM, ERROR_TAG, THREADS_TAG
from harness.tracking.store import Store
from harness.training import TrainingObserver
from harness.untrusted import check_root

LOG = "run.log"


@dataclass(frozen=True)
class OriginalRun:
    """The run to reproduce: its record, its configuration and its overrides."""

    record: RunRecord
    config: Config
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.record.name} again"


CONTINUED, DATA = "regime.continue_from", ("dataset.directory", "dataset.file")
"""The settings of a record that can name a file or a folder on this machine."""


def find_recorded(store: Store, text: str, named: Mapping[str, str] = MappingProxyType({})) -> OriginalRun:
    """Find the finished run that `text` names, ready to be reproduced: same data, same threads, same warm start.

    `named` are the file (`regime.continue_from`) and the place of the data (`dataset.directory` or `dataset.file`) that
    the user names: a file to continue from that only the record names is not read.

    Nothing is written. Raises:
        RequestError: there is no such run; it is a sweep, did not finish or was written by another program; the run
            that it continued was deleted, or its data have changed.
        DataError: its data cannot be loaded.
        StoreError: the store cannot be read.
    """
    record = find_trained(store, text)
    if record.state is not RunState.FINISHED:
        why = f": {record.tags[ERROR_TAG].rstrip('.')}" if ERROR_TAG in record.tags else ""
        raise RequestError(
            f"The run {record.name} ({record.run_id}) is {record.state}{why}. Only a finished run has results that a "
            "repetition could be compared with."
        )
    config = _config(store, record)
    if CONTINUED in named:
        config = replace(config, regime=replace(config.regime, continue_from=named[CONTINUED]))
    else:
        refuse_unnamed_file(record, config, f"harness reproduce {record.run_id[:8]} {CONTINUED}=FILE")
    places: dict[str, Any] = {key.removeprefix("dataset."): named[key] for key in DATA if key in named}
    config = replace(config, dataset=replace(config.dataset, **places))
    config = with_absolute_paths(config)
    check_code(store, record, config)
    check_start(store, config)
    load_recorded(record, config)
    return OriginalRun(record, config, read_words(store, record))


def reproduce(store: Store, recorded: OriginalRun, observer: TrainingObserver) -> tuple[RunResult, Repetition]:
    """Train again as a new run of the same experiment, and compare it with the recorded run. Raises as `execute`."""
    check_root()
    store.ensure_experiment(recorded.record.experiment)
    with _log_file() as file:
        context = RunContext(recorded.name, recorded.overrides, log_file=file, reproduces=recorded.record.run_id)
        result = execute(recorded.config, context, observer)
    return result, hold_to(store, recorded.record, result.run_id)


def hold_to(store: Store, original: RunRecord, run_id: str) -> Repetition:
    """Compare another run of the store with `original`."""
    with cached_reads(store):
        (again,) = read_runs(store, run_ids=[run_id])
        ids, names = [original.run_id, run_id], sorted({*original.metrics, *again.metrics})
        series = read_series(store, ids, names)
    return compare_values(original, again, series.get(original.run_id, {}), series.get(run_id, {}))


def _config(store: Store, record: RunRecord) -> Config:
    """The recorded configuration without the settings of its sweep and store; values that the run chose itself (such
    as the number of threads) are fixed to what it chose."""
    config = read_config(store, record)
    source = record.parameters.get(CONTINUED_FROM, "None")
    threads = record.tags.get(THREADS_TAG)
    return replace(
        config,
        threads=config.threads if threads is None else int(threads),
        figures=config.figures or "few",
        regime=replace(config.regime, continue_from=config.regime.continue_from if source == "None" else source),
        tracking=replace(
            config.tracking, uri=store.uri, experiment=record.experiment, parent_run=None, job=None, run_name=None
        ),
    )


@contextmanager
def _log_file() -> Iterator[Path]:
    """A file that receives the harness's log during the block, as Hydra's log file does for a job."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / LOG
        handler = logging.FileHandler(file)
        handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))
        logger = logging.getLogger("harness")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield file
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()
