"""The common part of the two readers of a store: the query (`Selection`), the interface (`Reader`), tags, checks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from harness.errors import StoreError
from harness.records import DIGEST_PARAMETERS, RunRecord, RunState, from_milliseconds
from harness.text import clean, commit

_log = logging.getLogger(__name__)
LONGEST_TEXT = 20_000
"""Characters; the longest text that MLflow accepts is a tag of 8,000."""
_MOST = 1_000_000_000
"""A larger number of epochs, jobs or tries counts as malformed."""

KIND_TAG = "harness.kind"
RUN, SWEEP = "run", "sweep"
PARENT_TAG = "mlflow.parentRunId"
NAME_TAG = "mlflow.runName"
SWEPT_TAG = "harness.swept"
SEARCH_TAG = "harness.search"
"""On a search: its settings, as JSON."""
BEST_TAG = "harness.search.best"
"""On a search: the numbers of its best trials."""
JOB_TAG = "harness.job"
JOBS_TAG = "harness.jobs"
"""On a sweep: its number of jobs."""
FINGERPRINT_TAG = "harness.fingerprint"
GROUP_TAG = "harness.group"
"""On a run of a sweep: its name without the seed, equal for runs that differ only in the seed."""
ROW_TAG = "harness.row"
"""On a run: rank and name of its row in the table of its experiment's runs; `harness.row.1a2b3c4d`: in a sweep's."""
REPRODUCES_TAG = "harness.reproduces"
"""On a run of `harness reproduce`: the id of the run that it repeats."""
CONFIRMS_TAG = "harness.confirms"
"""On a sweep of `harness compare --confirm`: a run of each row that it trains again under fresh seeds."""
OVERRIDES_TAG = "harness.overrides"
NOTE_TAG = "mlflow.note.content"
"""A run's description in the UI, in Markdown."""
SWEEP_FINGERPRINT_TAG = "harness.sweep_fingerprint"
PROCESS_TAG = "harness.process"
THREADS_TAG = "harness.intra_op_threads"
VERSION_TAG = "harness.version"
COMMIT_TAG = "mlflow.source.git.commit"
DIRTY_TAG = "harness.git.dirty"
LIBRARIES = {"TensorFlow": "harness.tensorflow", "Keras": "harness.keras"}
"""The tags with the versions that decide a run's numbers besides its fingerprint."""
PREDICTIONS_TAG = "harness.predictions"
"""On a run that logged its predictions for each held-out image: the name of the artifact."""
ERROR_TAG = "harness.error"
ERROR_TYPE_TAG = "harness.error_type"
TRIES_TAG = "harness.tries"
CONTINUED_FROM = "continued.from"
CONTINUED_EPOCHS = "continued.epochs"
CONTINUED_SETTINGS = "continued.settings"
"""Parameters of every run; see `analysis.settings.NOT_CONTINUED`."""
EPOCH_METRIC = "fit/loss"
"""A metric that is logged once per epoch with the epoch as its step: the progress of a run."""

CLASS_NAMES = "class_names"
"""Key in a logged model's metadata: the class names, in the order of the probabilities."""
CONTEXT_TAG = "mlflow.data.context"
CONTEXTS: Mapping[str, str] = {"train": "training", "val": "validation", "test": "testing"}
"""The context of a run's dataset inputs by split, as MLflow names them."""


@dataclass(frozen=True)
class Selection:
    """A query for runs that meet every condition that is not None. `newest`: only so many, those that started last."""

    experiment_ids: tuple[str, ...] | None = None
    parent_id: str | None = None
    job: int | None = None
    run_ids: tuple[str, ...] | None = None
    name: str | None = None
    prefix: str | None = None
    sweeps_only: bool = False
    fingerprints: tuple[str, ...] | None = None
    newest: int | None = None
    running: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether it asks for all runs of experiments or of a sweep."""
        return self == Selection(self.experiment_ids, self.parent_id)


Series = dict[str, dict[str, dict[int, float]]]
"""Values by run id, metric and step; if a step was logged several times, the last value."""


class Reader(Protocol):
    """A way to read a store. Deleted runs, and runs of deleted experiments, do not exist for it."""

    def experiments(self) -> dict[str, str]:
        """The names of the experiments by id."""

    def select(self, selection: Selection) -> list[RunRecord]:
        """The selected runs, sorted by start, then by id."""

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        """The tags of an experiment; empty if there is no such experiment."""

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        """Every value of `metrics` of these runs. A run without any is absent."""


class CachedReader:
    """A `Reader` that caches the results of another one, which `make` creates when it is first needed."""

    def __init__(self, make: Callable[[], Reader]) -> None:
        self._reader = cache(make)
        self._experiments = cache(lambda: self._reader().experiments())
        self._selected = cache(lambda selection: self._reader().select(selection))

    def experiments(self) -> dict[str, str]:
        return dict(self._experiments())

    def select(self, selection: Selection) -> list[RunRecord]:
        return list(self._selected(selection))

    def experiment_tags(self, experiment_id: str) -> dict[str, str]:
        return self._reader().experiment_tags(experiment_id)

    def series(self, run_ids: Sequence[str], metrics: Sequence[str]) -> Series:
        return self._reader().series(run_ids, metrics)


def is_sweep(run: RunRecord) -> bool:
    """Whether a run is the parent run of a sweep."""
    return run.tags.get(KIND_TAG) == SWEEP


def lacks_digests(tags: Mapping[str, str], parameters: Mapping[str, str]) -> bool:
    """Whether a run of the harness has no digests of its splits as parameters (runs of earlier versions)."""
    return tags.get(KIND_TAG) == RUN and DIGEST_PARAMETERS["train"] not in parameters


def digest_parameters(digests: Mapping[str, str]) -> dict[str, str]:
    """The parameters `data.*_digest` that a run would have today, from the digests of its dataset inputs by context;
    empty without dataset inputs."""
    if not digests:
        return {}
    return {parameter: digests.get(CONTEXTS[split], "None") for split, parameter in DIGEST_PARAMETERS.items()}


def recorded_commit(tags: Mapping[str, str]) -> str:
    """The commit of a run's code; empty if none is recorded, or the recorded text is no commit."""
    return commit(tags.get(COMMIT_TAG, ""))


class Texts(dict[object, str]):
    """A cache of cleaned texts of a store: the same keys and values occur on thousands of runs."""

    def __init__(self, lines: bool = False) -> None:
        super().__init__()
        self._lines = lines

    def __missing__(self, recorded: object) -> str:
        text = "" if recorded is None else recorded if isinstance(recorded, str) else str(recorded)
        self[recorded] = bounded(text, self._lines)
        return self[recorded]


def bounded(text: str, lines: bool = False) -> str:
    """A text of a store, cleaned, and cut to the length that MLflow would accept."""
    rest = len(text) - LONGEST_TEXT
    return clean(text, lines) if rest <= 0 else f"{clean(text[:LONGEST_TEXT], lines)}… ({rest:,} more)"


def read_record(
    run_id: object,
    name: object,
    experiment_id: object,
    experiment: str,
    status: Any,
    start: Any,
    end: Any,
    artifacts: object,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, Any],
    epochs: Any,
) -> RunRecord | None:
    """A run from texts that are clean already; None, with a warning, if something in it is malformed.

    A store of somebody else may contain anything, and one bad run must not prevent reading the others.
    """
    named = bounded(str(name or tags.get(NAME_TAG, "")))
    if wrong := _malformed(status, (start, end), metrics, epochs):
        _say_once(f"The run {named} ({clean(str(run_id))}) is left out, it is malformed: {clean(wrong)}.")
        return None
    return RunRecord(
        run_id=clean(str(run_id)),
        name=named,
        experiment_id=clean(str(experiment_id)),
        experiment=experiment,
        state=RunState(status),
        started=from_milliseconds(start or 0),
        ended=from_milliseconds(end) if end else None,
        parameters=parameters,
        metrics=metrics,
        tags=tags,
        epochs=epochs,
        artifacts=str(artifacts or ""),
    )


@cache
def _say_once(message: str) -> None:
    """Log a warning only once: a request may read the same run several times."""
    _log.warning("%s", message)


def _malformed(status: Any, times: tuple[Any, Any], metrics: Mapping[str, Any], epochs: Any) -> str:
    """What is malformed in a run (state, time, metric, epochs), as text; empty if nothing is."""
    if status not in list(RunState):
        return f"its state is {status!r:.50}"
    for time in times:
        try:
            from_milliseconds(time or 0)
        except (TypeError, ValueError, OverflowError, OSError):
            return f"a time of it is {time!r:.50}"
    for key, value in metrics.items():
        if not isinstance(value, (int, float)):
            return f"its metric {key:.50} is {value!r:.50}"
    return "" if isinstance(epochs, int) and 0 <= epochs <= _MOST else f"it has trained {epochs!r:.50} epochs"


def recorded_number(run: RunRecord, key: str, default: int = 0) -> int:
    """An integer from a run's tag or parameter. Raises `StoreError` if it is no integer, or too large."""
    text = run.tags.get(key, run.parameters.get(key, str(default)))
    try:
        number = int(text[:20])
    except ValueError:
        number = _MOST + 1
    if abs(number) > _MOST:
        raise StoreError(f"The run {run.name} ({run.run_id}) has {key}={clean(text[:50])}, which should be a number.")
    return number


def recorded_settings(run: RunRecord) -> tuple[str, ...]:
    """The settings that a sweep varies, as its parent run recorded them; empty if it did not. Raises `StoreError` if
    the recorded text is no list of settings."""
    text = run.tags.get(SWEPT_TAG, "[]")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        told = clean(text[:50])
        raise StoreError(
            f"The run {run.name} ({run.run_id}) has {SWEPT_TAG}={told}, which should be a list of settings."
        )
    return tuple(map(clean, found))


def in_order(runs: list[RunRecord]) -> list[RunRecord]:
    """Runs by start, then by id."""
    return sorted(runs, key=lambda run: (run.started, run.run_id))
