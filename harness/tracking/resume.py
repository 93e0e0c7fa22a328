"""Resumes an interrupted or failed run: the same run in the store, another try."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.config.schema import OPERATIONAL
from harness.records import RunRecord, RunState
from harness.tracking.provenance import libraries, other_libraries
from harness.tracking.selection import EPOCH_METRIC, ERROR_TAG, ERROR_TYPE_TAG, FINGERPRINT_TAG, TRIES_TAG
from harness.tracking.shared_writes import tag_run
from harness.tracking.store import Store

log = logging.getLogger(__name__)

LABELS = ("model.name",)
"""Settings that decide no number, but the row of a run in tables."""


@dataclass(frozen=True)
class EarlierTries:
    """What the store has from earlier tries of a run: its parameters, the number of logged epochs, the number of tries,
    and whether it has its model."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    epochs: int = 0
    tries: int = 0
    has_model: bool = False


def resumable(runs: Sequence[RunRecord], fingerprint: str | None, settings: Mapping[str, object]) -> RunRecord | None:
    """The run to resume for a job: the last of `runs` that did not finish and has the same settings and data. None: the
    job starts a new run, and the log says why.

    `fingerprint` is that of the job, None if it is not known; `settings` are all of its settings by dotted name.
    """
    began = sorted(runs, key=lambda run: FINGERPRINT_TAG in run.tags)  # runs that never read their data come last
    for run in reversed(began):
        if run.state is RunState.FINISHED:
            continue
        reason = _other_work(run, fingerprint, settings)
        if not reason:
            return run
        log.warning("The run %s (%s) is not resumed, a new one begins: %s.", run.name, run.run_id, reason)
    return None


def _other_work(run: RunRecord, fingerprint: str | None, settings: Mapping[str, object]) -> str:
    """Why a run cannot be resumed for this job, as text; empty if it can."""
    recorded = run.tags.get(FINGERPRINT_TAG)
    compared = LABELS if recorded else [key for key in settings if not key.startswith(OPERATIONAL)]
    if other := [key for key in compared if run.parameters.get(key, wanted := str(settings[key])) != wanted]:
        return f"its settings differ ({', '.join(other)})"
    if recorded is None:  # it ended before it had read its data: there is no checkpoint, so versions do not matter
        return ""
    if recorded != fingerprint:
        return f"its fingerprint is {recorded}, that of this job {fingerprint or 'is not known'}"
    if versions := other_libraries(run.tags):
        return f"it was started with {versions}, and {libraries()} is installed now"
    return ""


def reopen(store: Store, run_id: str, tags: Mapping[str, str]) -> EarlierTries:
    """Set a run to RUNNING again, and return what it has. The error of its last try becomes `harness.try.1.error`.

    Raises `StoreError`.
    """
    with store.connected() as client:
        run = client.get_run(run_id)
        points = client.get_metric_history(run_id, EPOCH_METRIC)
        tries = int(run.data.tags.get(TRIES_TAG, "1"))
        for tag in (ERROR_TAG, ERROR_TYPE_TAG):
            if tag in run.data.tags:
                client.set_tag(run_id, f"harness.try.{tries}.{tag.rpartition('.')[2]}", run.data.tags[tag])
                client.delete_tag(run_id, tag)
        tag_run(store, run_id, {**tags, TRIES_TAG: str(tries + 1)})
        client.update_run(run_id, status="RUNNING")
    return EarlierTries(
        parameters=run.data.params,
        epochs=max((point.step for point in points), default=0),
        tries=tries,
        has_model=bool(run.outputs and run.outputs.model_outputs),
    )
