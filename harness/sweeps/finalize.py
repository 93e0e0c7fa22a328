"""The end of a sweep: reads its runs from the store, prints the comparison and logs it with the parent run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from harness.analysis.comparison import Comparison, compare
from harness.analysis.comparison_table import render
from harness.analysis.descriptions import sweep_note
from harness.analysis.held_out import HeldOutPredictions
from harness.analysis.settings import NOT_CONTINUED, headings
from harness.config.schema import flatten
from harness.errors import NotInStore, StoreError, SweepFailed
from harness.records import RunRecord, RunState
from harness.sweeps.contract import WorkerGroup
from harness.sweeps.lease import is_held
from harness.sweeps.mlflow_views import not_decisive, show_sweep
from harness.sweeps.plan import SweepPlan, one_a_job, reused_jobs
from harness.sweeps.progress import SweepDisplay
from harness.tracking.access import shown_uri
from harness.tracking.predictions_file import readable_predictions
from harness.tracking.reading import read_runs, sweep_runs
from harness.tracking.relocation import local_path
from harness.tracking.selection import (
    CONFIRMS_TAG,
    ERROR_TAG,
    JOB_TAG,
    JOBS_TAG,
    KIND_TAG,
    NOTE_TAG,
    OVERRIDES_TAG,
    PARENT_TAG,
    RUN,
    recorded_number,
    recorded_settings,
)
from harness.tracking.spool import trained_runs
from harness.tracking.store import Store
from harness.tracking.views import run_page
from harness.tracking.writing import RunIdentity, RunWriter

log = logging.getLogger(__name__)

REPORT = "report.html"
"""The name that `report.saving` uses; importing it from there would import Jinja2."""

Report = Callable[[Comparison], None]


def finish_parent(
    parent: RunWriter,
    plan: SweepPlan,
    state: RunState,
    report: Report,
    display: SweepDisplay,
    ended: list[RunRecord] | None = None,
) -> list[RunRecord]:
    """Log the comparison, end the parent run in `state` (FAILED if not every job finished), print, and name the file
    of the report. `ended` are the sweep's runs, if they were just read. Returns the sweep's runs."""
    comparison = None
    drawn = any(job.config.figures != "none" for job in plan.jobs)
    reported = drawn and not plan.confirms and state is not RunState.KILLED  # --confirm prints its own comparison
    try:
        with display.doing("Comparing the runs"):
            runs = sweep_runs(parent.store, parent.run_id) if ended is None else ended
            predictions = readable_predictions(parent.store, runs, log.warning)
            comparison = compared(runs, parent.run_id, plan.swept, parent.name, len(plan.jobs), predictions)
            finished = _states(runs).count(RunState.FINISHED)
            _record(parent, comparison, finished, reported, runs)
        if finished < len(plan.jobs) and state is RunState.FINISHED:
            state = RunState.FAILED
    except KeyboardInterrupt:
        state = RunState.KILLED
        raise
    except BaseException:
        state = RunState.FAILED
        raise
    finally:
        parent.end(state)
    if comparison is not None:
        report(_asked_for(comparison, runs, parent, plan))
        if reported and state is not RunState.KILLED:
            with display.doing("Drawing the report"):
                kept = store_report(parent.store, parent.run_id, comparison)
            if kept:
                print_locations(parent.store, parent.run_id, display)
    return runs


def store_report(store: Store, parent_id: str, comparison: Comparison) -> bool:
    """Make the report of a sweep and log it with the parent run; whether that succeeded. An error is only logged,
    because the runs are already recorded.

    It takes two to three seconds, mostly for figures: a sweep with `figures=none` has no report.
    """
    try:
        from harness.reports import saving

        [parent] = read_runs(store, run_ids=[parent_id], include_parents=True)
        saving.save(store, parent_id, saving.make(store, comparison, parent, words=parent_id))
    except Exception as error:  # noqa: BLE001 - no error of the report may fail a finished sweep
        log.warning(
            "The report was not made (%s: %s). `harness report %s` makes it.",
            type(error).__name__, error, parent_id,
        )  # fmt: skip
        return False
    return True


def print_locations(store: Store, parent_id: str, display: SweepDisplay) -> None:
    """Print the path of the sweep's report, if there is one."""
    [parent] = read_runs(store, run_ids=[parent_id], include_parents=True)
    folder = local_path(parent.artifacts)
    if store.is_server:
        display.say(f"Report: {store.shown}{run_page(parent.experiment_id, parent_id)}/artifacts/{REPORT}")
    elif folder is None:
        display.say(f"Report: {shown_uri(parent.artifacts)}/{REPORT}")
    elif (page := folder / REPORT).is_file():
        display.say(f"Report: {page}")


def print_result(store: Store, plan: SweepPlan, report: Report, display: SweepDisplay) -> None:
    """Print the result of a sweep that another command has ended. Raises as `raise_if_unfinished`."""
    assert plan.parent is not None
    runs = sweep_runs(store, plan.parent.run_id)
    comparison = compared(runs, plan.parent.run_id, plan.swept, plan.parent.name, len(plan.jobs))
    if comparison is not None:
        report(comparison)
        print_locations(store, plan.parent.run_id, display)
    raise_if_unfinished(store, runs, len(plan.jobs))


def in_words_spooled(trained: int, jobs: int) -> str:
    """The message about jobs whose results are in a spool because the store was down."""
    return (
        f"{trained} of {jobs} runs were trained, but not all of their results are in the store: these wait on this "
        "machine. `harness sync` uploads them when the store can be used again, and updates the sweep's table; "
        "nothing needs to be trained again."
    )


@contextmanager
def naming_spools(pool: WorkerGroup | None, jobs: int) -> Iterator[None]:
    """If the store is still down at the end, add to the error that the results of trained jobs are in a spool."""
    try:
        yield
    except StoreError as error:
        kept = [] if pool is None else [one for one in pool.failures.values() if one.kind == NotInStore.__name__]
        if not kept:
            raise
        raise StoreError(f"{error}\n{in_words_spooled(len(kept), jobs)}") from error


def raise_if_unfinished(store: Store, runs: Sequence[RunRecord], jobs: int) -> None:
    """Raise `SweepFailed`, with the numbers, unless all `jobs` of the sweep have a finished run in `runs`."""
    states = _states(runs)
    unfinished, failed = jobs - states.count(RunState.FINISHED), states.count(RunState.FAILED)
    waiting = trained_runs(store) if unfinished else set()
    if spooled := sum(run.run_id in waiting for run in one_a_job(runs).values() if run.state != RunState.FINISHED):
        rest = unfinished - spooled
        others = f"{rest} more are not finished: after that, the same command resumes them.  " if rest else ""
        raise SweepFailed(others + in_words_spooled(spooled, jobs))
    if unfinished and failed == unfinished:
        raise SweepFailed(
            f"{failed} of {jobs} runs failed; the others are recorded. `harness ui` shows each failure's message (tag "
            "harness.error) and traceback (artifact traceback.txt). The same command again runs what failed."
        )
    if unfinished:
        raise SweepFailed(
            f"{unfinished} of {jobs} runs are not finished ({failed} failed). The same command resumes them."
        )


def _states(runs: Sequence[RunRecord]) -> list[RunState]:
    """The state of each job that has a run, reused ones included."""
    return [run.state for run in one_a_job(runs).values()]


def _asked_for(comparison: Comparison, runs: Sequence[RunRecord], parent: RunWriter, plan: SweepPlan) -> Comparison:
    """The comparison with the jobs that never started, so that the printed table says `2/3`; only for the screen."""
    begun = one_a_job(runs)
    recorded = [set(run.parameters.items()) for run in runs]
    common = {**NOT_CONTINUED, **dict(set.intersection(*recorded))} if recorded else {}  # not in the configuration
    waiting = [
        RunRecord(
            *(f"job {job.number}", job.name, parent.experiment_id, parent.identity.experiment, RunState.SCHEDULED),
            started=datetime.now(UTC),
            ended=None,
            parameters={**common, **{key: str(value) for key, value in flatten(job.config).items()}},
            metrics={},
            tags={KIND_TAG: RUN, JOB_TAG: str(job.number), PARENT_TAG: parent.run_id},
        )
        for job in plan.jobs
        if job.number not in begun
    ]
    return compare([*runs, *waiting], swept=plan.swept, title=comparison.title) if waiting else comparison


def bring_up_to_date(store: Store, parent_id: str) -> bool:
    """Update a sweep's table, figure, note, report and state after a late upload (`harness sync`). Returns False and
    does nothing if a command is running the sweep, because that command does it at its end.

    Raises `StoreError`.
    """
    [record] = read_runs(store, run_ids=[parent_id], include_parents=True)
    if is_held(record):
        return False
    jobs, runs = recorded_number(record, JOBS_TAG), sweep_runs(store, parent_id)
    swept = recorded_settings(record)
    predictions = readable_predictions(store, runs, log.warning)
    if (comparison := compared(runs, parent_id, swept, record.name, jobs, predictions)) is None:
        return False
    reported = CONFIRMS_TAG not in record.tags and any(run.parameters.get("figures") != "none" for run in runs)
    words = tuple(record.tags.get(OVERRIDES_TAG, "").split())
    identity = RunIdentity(record.name, record.experiment, overrides=words, tags=record.tags)
    parent, finished = RunWriter(store, identity, parent_id, adding=True), _states(runs).count(RunState.FINISHED)
    _record(parent, comparison, finished, reported, runs)
    if finished == jobs or record.state is RunState.RUNNING:
        parent.end(RunState.FINISHED if finished == jobs else RunState.FAILED)
    if reported:
        store_report(store, parent_id, comparison)
    return True


def compared(
    runs: Sequence[RunRecord],
    parent_id: str,
    swept: Sequence[str],
    title: str,
    jobs: int | None = None,
    predictions: HeldOutPredictions | None = None,
) -> Comparison | None:
    """The comparison of a sweep's runs; None if there is no run. `jobs`: the number of jobs, if it differs."""
    if reused := sum(run.parent_id != parent_id for run in runs):
        title = f"{title} ({reused_jobs(reused, jobs or len(runs))})"
    return compare(runs, swept=swept, title=title, predictions=predictions) if runs else None


def _record(
    parent: RunWriter, comparison: Comparison | None, finished: int, reported: bool, runs: Sequence[RunRecord]
) -> None:
    """Log the comparison with the parent run (a table for the UI, a CSV file and one figure), and update the views of
    the UI."""
    tags = {"harness.finished": str(finished)}
    if comparison is not None:
        parent.log_text("comparison.csv", render(comparison, "csv"))
        parent.log_table("comparison.json", _columns(comparison))
        errors = {run.run_id: run.tags.get(ERROR_TAG, "") for row in comparison.rows for run in row.runs}
        reused = [run for run in runs if run.parent_id != parent.run_id]
        words = None if CONFIRMS_TAG in parent.identity.tags else parent.identity.overrides
        tags |= {NOTE_TAG: shown_uri(sweep_note(comparison, errors, words, reported, reused))}
        from harness.reports.drawing import draw_gaps

        parent.log_figure("comparison.png", draw_gaps(comparison))
    parent.set_tags(tags)
    with not_decisive(parent.name):
        [record] = read_runs(parent.store, run_ids=[parent.run_id], include_parents=True)
        show_sweep(parent.store, record, runs)


def _columns(comparison: Comparison) -> dict[str, list[Any]]:
    """Mean scores by short headings, rounded: the UI's table treats a dot in a heading as nesting, and shows every
    digit."""
    columns: dict[str, list[Any]] = {
        heading: [row.settings[key] for row in comparison.rows]
        for key, heading in headings(comparison.settings).items()
    }
    columns["runs"] = [row.n for row in comparison.rows]
    columns["finished"] = [row.finished for row in comparison.rows]
    columns["place"] = [row.place.value for row in comparison.rows]
    for name in comparison.scores:
        scores = [row.scores.get(name) for row in comparison.rows]
        columns[name] = [None if score is None else round(score.mean, 6) for score in scores]
    return {heading.replace(".", " "): values for heading, values in columns.items()}
