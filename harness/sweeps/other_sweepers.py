"""Hydra sweepers of others: they suggest their own jobs by what earlier ones have returned, with no plan of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.records import RunRecord
from harness.sweeps.job import Objective, objective_of
from harness.sweeps.plan import PlannedJob, SweepPlan, one_a_job
from harness.tracking.reading import read_runs
from harness.tracking.store import Store


def recorded_objective(store: Store, parent_id: str, asked: str, number: int) -> Objective:
    """What the job `number` returns to the sweeper: the objective `asked` of its run; None if it has none."""
    run = one_a_job(read_runs(store, parent_id=parent_id, job=number)).get(number)
    return None if run is None else objective_of(run.metrics, asked)


def as_it_came(plan: SweepPlan, runs: Sequence[RunRecord]) -> SweepPlan:
    """The plan with the jobs that the sweeper has suggested, instead of examples."""
    config = plan.jobs[0].config
    jobs = [PlannedJob(number, run.name, (), config, "", run) for number, run in sorted(one_a_job(runs).items())]
    return replace(plan, jobs=tuple(jobs) or plan.jobs)
