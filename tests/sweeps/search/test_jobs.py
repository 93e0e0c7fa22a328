"""A search over a made function: its trials are in a real store, and the tests do the work of the workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from mlflow.entities import Metric

from harness.config.search import Dimension, SearchConfig, Space
from harness.errors import PAUSED, StoreError
from harness.records import RunRecord
from harness.sweeps.claims import Claims
from harness.sweeps.finalize import compared
from harness.sweeps.job import PAUSE_TAG
from harness.sweeps.search.ending import as_csv
from harness.sweeps.search.objective import METRICS, Objective
from harness.sweeps.search.pruning import Pruner, rungs
from harness.sweeps.search.samplers import make_sampler
from harness.sweeps.search.search_jobs import SearchJobs, seconds_trained
from harness.sweeps.search.trials import Trials, ranges
from harness.sweeps.worker import Job
from harness.tracking.reading import read_runs
from harness.tracking.selection import ERROR_TYPE_TAG, JOB_TAG, KIND_TAG, PARENT_TAG, RUN, TRIES_TAG
from harness.tracking.shared_writes import tag_run
from harness.tracking.store import open_store
from tests.sweeps.test_lease import record

SPACE: Space = {
    "optimizer.learning_rate": Dimension(low=1e-4, high=0.1, log=True),
    "model": Dimension(choices=("mlp_128", "cnn")),
}
TEMPLATE = Job(0, (), None, None, None)  # type: ignore[arg-type]
Train = Callable[[Mapping[str, str]], float | None]


@pytest.fixture
def parent(project: Path) -> str:
    client = open_store().client
    return str(client.create_run(client.create_experiment("harness"), tags={KIND_TAG: "sweep"}).info.run_id)


def gap_of(words: Mapping[str, str]) -> float | None:
    """The made function: its optimum is a learning rate of 0.01 with the cnn; seeds add a little."""
    rate = float(words["optimizer.learning_rate"])
    return 0.02 * (math.log10(rate) + 2) ** 2 + 0.01 * (words["model"] != "cnn") + 0.0005 * int(words["seed"])


class Search:
    """A process that takes part in a search."""

    def __init__(self, parent: str, **settings: object) -> None:
        given = {"trials": 8, "seeds": 2, "sampler": "random", "within": 100.0, **settings}
        self.settings = SearchConfig(**given)  # type: ignore[arg-type]
        self.store, self.parent, self.said = open_store(), parent, list[str]()
        self.trials = Trials(self.settings, SPACE, ("figures=none",), 0)
        self.trials.read(record(parent))
        self.trials.set_runs({int(run.tags[JOB_TAG]): run for run in read_runs(self.store, parent_id=parent)})
        self.claims = Claims(self.store, parent, 1)
        sampler = make_sampler(self.settings, SPACE, Objective.count(self.settings))
        pruner = Pruner(self.settings, rungs(self.settings, 27), self.store)
        until = time.monotonic() + (math.inf if self.settings.seconds is None else self.settings.seconds)
        self.source = SearchJobs(
            self.trials,
            sampler,
            pruner,
            self.claims,
            until,
            0,
            False,
            lambda parent: False,
            self.said.append,
            [TEMPLATE],
        )

    def next(self) -> Job | None:
        return self.source.next(lambda jobs: jobs[0])

    def end(self, job: Job, train: Train = gap_of, state: str | None = None) -> None:
        """Write the run of a job as its worker would."""
        words = dict(word.split("=", 1) for word in job.overrides)
        gap = train(words)
        tags = {KIND_TAG: RUN, PARENT_TAG: self.parent, JOB_TAG: str(job.number)}
        client = self.store.client
        [experiment] = [found.experiment_id for found in client.search_experiments() if found.name == "harness"]
        run_id = client.create_run(experiment, tags=tags).info.run_id
        if gap is not None:
            found = {"gap": gap, "accuracy": 0.9 - gap, "loss": gap}
            client.log_batch(run_id, [Metric(METRICS[name], value, 0, 0) for name, value in found.items()])
        client.set_terminated(run_id, state or ("FAILED" if gap is None else "FINISHED"))
        self.source.ended(job)

    def train_epochs(self, job: Job) -> int:
        """Train the run of a job to where it pauses, or to its 27 epochs, as its worker would; returns the epochs."""
        gap = gap_of(dict(word.split("=", 1) for word in job.overrides))
        assert gap is not None
        client, tags = self.store.client, {KIND_TAG: RUN, PARENT_TAG: self.parent, JOB_TAG: str(job.number)}
        pause = int(record(self.parent).tags.get(f"{PAUSE_TAG}{job.number}", 0))
        [run] = read_runs(self.store, parent_id=self.parent, job=job.number) or [None]
        began = 0 if run is None else run.epochs
        [experiment] = [found.experiment_id for found in client.search_experiments() if found.name == "harness"]
        run_id = client.create_run(experiment, tags=tags).info.run_id if run is None else run.run_id
        at = {"fit/loss": 1.0, "train/accuracy": 0.9, "val/accuracy": 0.9 - gap, "val/loss": gap}
        epochs = range(began + 1, (pause or 27) + 1)
        client.log_batch(run_id, [Metric(name, value, 0, epoch) for epoch in epochs for name, value in at.items()])
        tries = 0 if run is None else int(run.tags.get(TRIES_TAG, 1))
        client.set_tag(run_id, TRIES_TAG, str(tries + 1))
        if pause:
            client.set_tag(run_id, ERROR_TYPE_TAG, PAUSED)
        else:
            final = {"gap": gap, "accuracy": 0.9 - gap, "loss": gap}
            client.log_batch(run_id, [Metric(METRICS[name], value, 0, 0) for name, value in final.items()])
        client.set_terminated(run_id, "KILLED" if pause else "FINISHED")
        self.source.ended(job)
        return pause or 27

    def work(self, most: int | None = None, train: Train = gap_of) -> list[int]:
        """Do jobs one by one as a single worker does, at most so many; returns their numbers."""
        done = list[int]()
        while (most is None or len(done) < most) and (job := self.next()) is not None:
            self.end(job, train)
            done.append(job.number)
        return done

    def leave(self) -> None:
        tag_run(self.store, self.parent, {self.claims._own.beat_tag: "left"})


def settings_of(parent: str) -> dict[str, str]:
    return {key: text for key, text in record(parent).parameters.items() if key.startswith("trial.")}


def another_parent() -> str:
    client = open_store().client
    [experiment] = [found.experiment_id for found in client.search_experiments() if found.name == "harness"]
    return str(client.create_run(experiment, tags={KIND_TAG: "sweep"}).info.run_id)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_killed_search_ends_with_the_trials_of_one_that_was_not(parent: str, sampler: str) -> None:
    whole = Search(parent, sampler=sampler, trials=14)
    jobs = whole.work()
    other = another_parent()
    done, cut = list[int](), 0
    for most in (1, 9, 6, None):  # each part is a new process; the one before left a job that had begun
        part = Search(other, sampler=sampler, trials=14)
        done += part.work(most)
        if most is not None and (begun := part.next()) is not None:
            part.end(begun, state="KILLED")
            cut += 1
        part.leave()
    assert settings_of(other) == settings_of(parent)
    assert (cut, done) == (3, jobs)


def test_every_trial_has_its_seeds_and_is_trained_once(parent: str) -> None:
    search = Search(parent, racing=False)
    assert search.work() == list(range(16))
    words = [search.trials.words_of(job) for job in (0, 1, 2)]
    assert [word[-1] for word in words] == ["seed=0", "seed=1", "seed=0"]
    assert words[0][:-1] == words[1][:-1] != words[2][:-1]
    assert words[0][0] == "figures=none"


def test_seeds_of_a_trial_that_cannot_win_are_not_spent(parent: str) -> None:
    search = Search(parent, trials=20, seeds=3)
    jobs = search.work()
    stopped = [line for line in search.said if "cannot catch up" in line]
    assert len(jobs) < 60
    assert stopped
    best = search.trials.objective().winners
    gaps = {number: gap_of({**trial.settings, "seed": "1"}) for number, trial in search.trials.by_number.items()}  # type: ignore[dict-item]
    assert best == [min(gaps, key=lambda number: gaps[number] or 0.0)]


def test_a_free_worker_gets_another_trial_and_records_what_it_was_suggested_from(parent: str) -> None:
    search = Search(parent, trials=3, racing=False)
    first, second = search.next(), search.next()
    assert (first and first.number, second and second.number) == (0, 2)
    for _ in range(2):
        assert first is not None
        search.end(first)
        first = search.next()
    assert first is not None
    assert first.number == 4  # the second trial is still running
    assert [trial.basis for _, trial in sorted(search.trials.by_number.items())] == ["", "", "0"]


def test_the_job_of_a_lost_worker_is_still_running_until_another_has_trained_it(parent: str) -> None:
    """The pool gives it to another worker, while the worker that comes back asks for its next job."""
    search = Search(parent, trials=2, racing=False)
    lost, other = search.next(), search.next()
    assert (lost and lost.number, other and other.number) == (0, 2)
    assert lost is not None
    assert other is not None
    search.end(other)
    assert sorted(search.work()) == [1, 3]
    assert not any(trial.failed for trial in search.trials.by_number.values())
    search.end(lost)
    assert search.work() == []
    assert all(trial.outcome(2).whole for trial in search.trials.by_number.values())


def test_two_processes_in_one_search_do_no_trial_twice(parent: str) -> None:
    one, two = Search(parent), Search(parent)
    done = list[int]()
    while jobs := [(search, job) for search in (one, two) if (job := search.next()) is not None]:
        for search, job in jobs:
            search.end(job)
            done.append(job.number)
    assert len(done) == len(set(done))
    assert {number // 2 for number in done} == set(range(8))
    assert settings_of(parent).keys() == {f"trial.{number}" for number in range(8)}
    assert one.trials.by_number[4].settings == two.trials.by_number[4].settings


def test_more_trials_extend_the_same_study(parent: str) -> None:
    few = Search(parent, trials=4)
    few.work()
    few.leave()
    before = settings_of(parent)
    more = Search(parent, trials=7)
    more.work()
    assert len(settings_of(parent)) == 7
    assert before.items() <= settings_of(parent).items()
    other = another_parent()
    Search(other, trials=7).work()
    assert settings_of(other) == settings_of(parent)


def test_a_failed_trial_has_no_value_and_ends_nothing(parent: str) -> None:
    search = Search(parent, sampler="tpe", racing=False)
    search.work(train=lambda words: None if words["model"] == "cnn" else gap_of(words))
    failed = [trial for trial in search.trials.by_number.values() if trial.failed]
    assert failed
    assert all(list(trial.runs) == [0] for trial in failed)
    assert len(search.trials.by_number) == 8
    assert as_csv(search.trials).count("failed") == len(failed)


def test_a_run_without_finite_scores_counts_as_failed(parent: str) -> None:
    search = Search(parent, trials=2, racing=False)
    assert search.work(train=lambda words: math.nan) == [0, 2]


def test_no_trial_begins_after_the_time_but_its_seeds_are_finished(parent: str) -> None:
    search = Search(parent, trials=None, time="0.1s", racing=False)
    job = search.next()
    assert job is not None
    time.sleep(0.2)
    search.end(job)
    assert search.work() == [1]


def test_a_finite_space_ends_when_everything_was_tried(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACE, "optimizer.learning_rate", Dimension(choices=("0.1", "0.01", "0.001")))
    search = Search(parent, trials=50, seeds=1, sampler="tpe")
    assert search.work() == list(range(6))


def test_a_strangers_trial_outside_the_space_is_refused(parent: str) -> None:
    open_store().client.log_param(
        parent, "trial.0", '{"settings":{"model":"x:y","optimizer.learning_rate":1},"from":""}'
    )
    with pytest.raises(StoreError, match="not in its space"):
        Search(parent)


def test_ranges_are_short() -> None:
    assert (ranges([3, 0, 1, 2, 5]), ranges([])) == ("0-3,5", "")


def test_the_time_of_a_search_is_the_time_in_which_something_was_trained() -> None:
    from datetime import UTC, datetime, timedelta

    def run(start: float, end: float) -> RunRecord:
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        times = {"started": begin + timedelta(seconds=start), "ended": begin + timedelta(seconds=end)}
        return RunRecord("a", "a", "0", "e", "FINISHED", parameters={}, metrics={}, tags={}, **times)  # type: ignore[arg-type]

    assert seconds_trained([run(0, 10), run(5, 12), run(100, 101)]) == 13


def test_halving_lets_the_best_third_continue(parent: str) -> None:
    search = Search(parent, trials=9, seeds=2, pruner="halving", objective="loss", racing=False)
    reached: dict[int, int] = {}
    while (job := search.next()) is not None:
        reached[job.number] = search.train_epochs(job)
    epochs = {number // 2: epoch for number, epoch in reached.items() if number % 2 == 0}
    assert sorted(epochs.values()).count(27) == 1
    assert min(epochs.values()) == 3
    [whole] = [number for number, epoch in epochs.items() if epoch == 27]
    assert reached[2 * whole + 1] == 27  # its other seed is trained to the end as well
    paused = [run for run in read_runs(search.store, parent_id=parent) if run.state == "KILLED"]
    assert len(paused) == 8
    assert all(METRICS["loss"] not in run.metrics for run in paused)
    assert search.trials.objective().winners == [whole]


def test_a_halving_that_was_cut_continues_as_one_that_was_not(parent: str) -> None:
    def trained(on: str, most: int | None = None) -> list[tuple[int, int]]:
        search, done = Search(on, trials=9, seeds=1, pruner="halving", sampler="tpe"), []
        while (most is None or len(done) < most) and (job := search.next()) is not None:
            done.append((job.number, search.train_epochs(job)))
        search.leave()
        return done

    whole, other = trained(parent), another_parent()
    assert [*trained(other, 4), *trained(other, 3), *trained(other)] == whole
    assert settings_of(other) == settings_of(parent)


def test_a_trial_below_the_median_pauses_for_good(parent: str) -> None:
    search = Search(parent, trials=10, seeds=1, pruner="median", objective="loss")
    jobs = list[int]()
    while (job := search.next()) is not None:
        search.train_epochs(job)
        jobs.append(job.number)
    runs = read_runs(search.store, parent_id=parent)
    assert len(runs) == 10
    assert 4 < sum(run.state == "FINISHED" for run in runs) < 10


def test_a_paused_run_is_in_no_mean_gap_or_ranking(parent: str) -> None:
    search = Search(parent, trials=4, seeds=1, pruner="halving", objective="loss")
    while (job := search.next()) is not None:
        search.train_epochs(job)
    comparison = compared(read_runs(search.store, parent_id=parent), parent, ["model"], "search")
    assert comparison is not None
    assert sum(row.finished for row in comparison.rows) == 1
    assert [outcome.seeds for outcome in search.trials.objective()._outcomes].count(()) == 3
