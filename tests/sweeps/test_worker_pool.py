"""What a pool tries again, and when it gives a sweep up: told by workers that fail as they are told to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from harness.config.schema import Config
from harness.errors import ConfigError, DataError, StoreError, SweepFailed, TrainingError
from harness.sweeps.contract import Choose, Worker, WorkerLost
from harness.sweeps.worker import Failure, Job, WorkerSpec
from harness.sweeps.worker_pool import JobList, WorkerPool

CRASH = Failure("Its process was ended by SIGSEGV.", "ProcessDied")
NAN = Failure("The training loss became nan.", "TrainingError", lasting=True)


@dataclass
class Scripted(Worker):
    """A worker whose tries end as written, in order; afterwards all go well."""

    ends: list[Failure | None]
    spec: WorkerSpec = field(default_factory=lambda: WorkerSpec(0, 1, None))
    done: list[int] = field(default_factory=list)

    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        self.done.append(job.number)
        return self.ends.pop(0) if self.ends else None

    def stop(self) -> None: ...

    def cancel(self) -> None: ...

    def end(self) -> None: ...


def jobs(count: int) -> list[Job]:
    return [Job(number, (f"seed={number}",), None, None, None) for number in range(count)]  # type: ignore[arg-type]


def pool_of(worker: Scripted, config: Config) -> WorkerPool:
    return WorkerPool([lambda: worker], config)


def worked(ends: Sequence[Failure | None], config: Config, count: int = 4) -> tuple[list[int], dict[int, Failure]]:
    """The tries made, by their job, and the failures that were left."""
    worker = Scripted(list(ends))
    pool = pool_of(worker, config)
    pool.work(jobs(count))
    return worker.done, pool.failures


def test_without_retries_each_job_is_tried_once_and_the_rest_go_on() -> None:
    assert worked([None, CRASH], Config()) == ([0, 1, 2, 3], {1: CRASH})


def test_a_failed_job_is_tried_again_until_it_succeeds_or_its_retries_are_used_up() -> None:
    assert worked([CRASH, CRASH, None], Config(retries=2), 2) == ([0, 0, 0, 1], {})
    assert worked([CRASH, CRASH, CRASH], Config(retries=2), 2) == ([0, 0, 0, 1], {0: CRASH})


def test_what_is_sure_to_fail_again_is_not_tried_again() -> None:
    assert worked([NAN], Config(retries=5), 2) == ([0, 1], {0: NAN})


def test_failures_of_training_and_of_the_request_are_lasting_those_of_data_and_store_are_not() -> None:
    assert TrainingError("").lasting
    assert ConfigError("").lasting
    assert not DataError("").lasting
    assert not StoreError("").lasting


def test_every_failed_try_is_recorded_before_the_next_begins() -> None:
    worker = Scripted([CRASH, CRASH])
    pool = pool_of(worker, Config(retries=2))
    told: list[tuple[int, int]] = []
    pool.record = lambda number, failure: told.append((number, len(worker.done)))
    pool.work(jobs(1))
    assert told == [(0, 1), (0, 2)]


def test_a_store_that_cannot_take_a_reason_now_does_not_end_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(number: int, failure: Failure) -> None:
        raise StoreError("it is locked")

    worker = Scripted([CRASH])
    pool = pool_of(worker, Config())
    pool.record = refuse
    pool.work(jobs(2))
    assert worker.done == [0, 1]
    assert pool.failures == {0: CRASH}, "the end of the sweep records it"
    assert "Why job 0 failed could not be recorded yet: it is locked" in caplog.text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config(max_failures=2), r"2 jobs in a row failed, so the sweep was stopped \(max_failures=2\).*SIGSEGV"),
        (Config(max_failures=1), r"A job failed, so the sweep was stopped \(max_failures=1\).*SIGSEGV"),
        (Config(fail_fast=True), r"A job failed, so the sweep was stopped \(fail_fast=true\).*SIGSEGV"),
    ],
)
def test_too_many_failures_in_a_row_stop_the_sweep_and_say_so(config: Config, words: str) -> None:
    worker = Scripted([CRASH] * 9)
    with pytest.raises(SweepFailed, match=words):
        pool_of(worker, config).work(jobs(9))
    assert worker.done == list(range(2 if config.max_failures == 2 else 1))


def test_failures_that_are_not_in_a_row_do_not_stop_it() -> None:
    tries, failures = worked([CRASH, None, CRASH, None], Config(max_failures=2))
    assert tries == [0, 1, 2, 3]
    assert sorted(failures) == [0, 2]


def test_a_job_counts_as_failed_once_its_retries_are_used_up() -> None:
    assert worked([CRASH, None, CRASH, None], Config(max_failures=1, retries=1), 2) == ([0, 0, 1, 1], {})


def test_an_interruption_during_a_try_is_the_end_of_trying() -> None:
    worker = Scripted([])
    pool = pool_of(worker, Config(retries=3))

    def interrupted(job: Job, timeout: float | None) -> Failure:
        worker.done.append(job.number)
        pool._call_off()
        return CRASH

    worker.carry_out = interrupted  # type: ignore[method-assign]
    pool.work(jobs(3))
    assert worker.done == [0]


def test_a_bug_in_the_pool_itself_is_raised_and_no_job_is_left_waiting() -> None:
    worker = Scripted([CRASH])
    pool = pool_of(worker, Config())

    def broken(number: int, failure: Failure) -> None:
        raise ZeroDivisionError

    pool.record = broken
    with pytest.raises(ZeroDivisionError):
        pool.work(jobs(3))
    assert worker.done == [0]


def test_a_worker_without_work_leaves_the_others_to_theirs() -> None:
    """In a search, the next job of one worker may follow from the one that it has just done."""
    first, second = Scripted([], WorkerSpec(0, 1, None)), Scripted([], WorkerSpec(1, 1, None))
    idle = threading.Event()

    class ForOneOfThem:
        left, owners = jobs(3), list[int]()

        def next(self, choose: Choose) -> Job | None:
            self.owners.append(threading.get_ident())
            if threading.get_ident() != self.owners[0]:
                idle.set()
                return None
            assert idle.wait(30)
            return self.left.pop(0) if self.left else None

        def ended(self, job: Job) -> None: ...

        def close(self) -> None: ...

    pool = WorkerPool([lambda: first, lambda: second], Config())
    pool.source_of = lambda listed: ForOneOfThem()
    pool.work(jobs(1))
    assert sorted((first.done, second.done)) == [[], [0, 1, 2]]


def test_a_job_whose_worker_was_lost_has_ended_when_another_has_trained_it() -> None:
    """A search must not take it for failed in between."""
    ended: list[tuple[int, int]] = []

    class Listed(JobList):
        def ended(self, job: Job) -> None:
            ended.append((job.number, len(worker.done)))

    class Lost(Scripted):
        def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
            self.done.append(job.number)
            if len(self.done) == 1:
                raise WorkerLost("its node has gone")
            return None

    worker = Lost([])
    pool = pool_of(worker, Config())
    pool.source_of = Listed
    pool.work(jobs(2))
    assert worker.done == [0, 0, 1]
    assert ended == [(0, 2), (1, 3)]
