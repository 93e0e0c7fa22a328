"""`harness sweep --plan`: what a sweep would do, as text and a table."""

from __future__ import annotations

from operator import attrgetter

from harness.analysis.comparison import compare
from harness.analysis.power_tables import in_a_line
from harness.analysis.settings import SEED
from harness.records import RunState
from harness.sweeps.plan import PlannedJob, SweepPlan
from harness.sweeps.runner import Outlook
from harness.tabular import text_table

MINUTE, HOUR = 60, 3600


def plan_lines(outlook: Outlook) -> list[str]:
    """The lines that `--plan` prints: what there is, a row for each job, and how long the rest would take."""
    plan = outlook.plan
    jobs, due = len(plan.jobs), {job.number for job in outlook.due.values()}
    if plan.parent is None:
        lines = [f"{_counted(jobs, 'job')}, a new sweep."]
    else:
        begun = f"'{plan.parent.name}' ({plan.parent.run_id[:8]}, {plan.parent.started.astimezone():%Y-%m-%d %H:%M})"
        lines = [f"{_counted(jobs, 'job')}, {plan.finished} of them finished in the sweep {begun}."]
    lines += plan.remarks()
    if outlook.busy is not None:
        lines.append(f"It is running now, in {outlook.busy}: the command would watch it.")
    rows = [
        [
            str(job.number),
            job.name,
            _state(job),
            _would(job, job.number in due),
            _duration(outlook.forecast.job_seconds(job)) if job.number in due else "",
        ]
        for job in sorted(plan.jobs, key=lambda job: job.number)
    ]
    lines += ["", *text_table(("job", "name", "so far", "would", "takes"), rows, numbers=("job", "takes")), ""]
    if due:
        workers = min(outlook.workers, len(due))
        total = _duration(outlook.forecast.total_seconds(list(outlook.due.values()), workers))
        basis = "" if total == "unknown" else ", by earlier runs of the same structure on this machine"
        lines.append(f"{_counted(len(due), 'job')} to do with {_counted(workers, 'worker')}: {total}{basis}.")
    else:
        lines.append("Nothing is left to do.")
    lines += _power(plan)
    lines.append("Nothing was trained or written.")
    return lines


def _power(plan: SweepPlan) -> list[str]:
    """What the seeds of the plan would show, by the runs that have finished; nothing where these have no spread."""
    if not any(job.finished for job in plan.jobs):
        return []
    comparison = compare(plan.runs, swept=plan.swept)
    draws = comparison.replicates if any(row.over_draws for row in comparison.rows) else ()
    repeated, every = attrgetter(*(draws or (SEED,))), attrgetter(*draws, SEED)
    seeds, replicates = ({of(job.config) for job in plan.jobs} for of in (repeated, every))
    line = in_a_line(comparison, len(seeds), len(plan.jobs) // len(replicates))
    return [] if line is None else [line]


def _state(job: PlannedJob) -> str:
    if job.run is None:
        return "other versions" if job.outdated is not None else "-"
    words = {RunState.FINISHED: "finished", RunState.FAILED: "failed", RunState.KILLED: "stopped",
             RunState.RUNNING: "running"}  # fmt: skip
    state = words.get(job.run.state, str(job.run.state).lower())
    return state if job.finished or not job.run.epochs else f"{state} after epoch {job.run.epochs}"


def _would(job: PlannedJob, due: bool) -> str:
    if not due:
        return "be reused" if job.reused else "be skipped"
    return f"resume after epoch {job.epochs_kept}" if job.epochs_kept else "run"


def _duration(seconds: float | None) -> str:
    """`12 s`, `3 min`, `1.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < HOUR else f"{seconds / HOUR:.1f} h"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
