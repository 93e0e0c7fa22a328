"""The contract of a launcher: what the local pool, Ray, and a launcher of your own have in common.

A *worker* trains one job at a time: a process on this machine, an actor of a cluster. A *group* has workers, and
hands the next job to a worker as soon as it is free:

    JobSource.next() --job--> Worker.carry_out() --Failure or None--> recorded, tried again, counted --> next() ...

A source may choose the next job from a list, claim it in the store (several machines), or make it up from the results
so far (a search). `WorkerPool` is such a group; it does the retries, `max_failures`, `fail_fast` and Ctrl-C. So a
launcher of your own needs two classes: a `Worker`, and a `WorkerLauncher` (launcher.py) that makes them. The tests in
tests/sweeps/launcher_contract.py run with any worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from hydra.core.utils import JobReturn

from harness.sweeps.worker import Failure, Job, WorkerSpec

Record = Callable[[int, Failure], None]
"""A callback for each failed try, with the job's number, called before a retry or the next job starts."""
Choose = Callable[[Sequence[Job]], Job]


class JobSource(Protocol):
    """Where the workers get their jobs from, one by one. Called by several threads."""

    def next(self, choose: Choose) -> Job | None:
        """The next job: one of those that are free, as `choose` chooses. May wait; None: there is no further job."""

    def ended(self, job: Job) -> None:
        """A job that `next` returned has come to its end, however. Of a job whose worker was lost only after another
        worker has trained it."""

    def close(self) -> None:
        """No further job is to start: `next` returns None, also where it waits."""


class WorkerLost(Exception):
    """A worker has gone during a job, and with it whatever trained the job: its machine has died. The job goes to
    another worker. The message says what happened."""


class Worker(ABC):
    """Trains one job at a time, with the resources of its `spec`. `carry_out` is called by one thread; `stop`, `cancel`
    and `end` by any, also during a job."""

    spec: WorkerSpec

    @abstractmethod
    def carry_out(self, job: Job, timeout: float | None) -> Failure | None:
        """Run one job (`worker.carry_out`, in a process of its own) for at most `timeout` seconds. Returns why it
        fails, or None. A process that dies is a failure (`DIED`), and the worker can carry out the next job.

        Raises `WorkerLost` if the worker is lost, `CancelledError` after `cancel`.
        """

    @abstractmethod
    def stop(self) -> None:
        """The running job stops at the end of its epoch, as after Ctrl-C; no other starts here."""

    @abstractmethod
    def cancel(self) -> None:
        """The running job stops at once."""

    @abstractmethod
    def end(self) -> None:
        """End the worker and all its processes; a job that still runs is stopped at once."""

    def is_ready(self, seconds: float) -> bool:
        """Whether the worker can take a job; waits for it for `seconds` at most. A lost worker may come back."""
        return True


class WorkerGroup(Protocol):
    """Whatever trains the jobs of a sweep: `WorkerPool`, which has workers, or machines that join (`slurm.py`)."""

    failures: dict[int, Failure]
    """Why a job failed in its last try, by its number."""
    record: Record | None
    source_of: Callable[[Sequence[Job]], JobSource]
    """Makes the source of the jobs that `work` gets."""
    grows: bool
    """Whether more jobs follow from those that `work` gets, as in a search. Set before `work`."""
    value_of: Callable[[int], object]
    """What a job that has ended returns to Hydra's sweeper, by its number."""

    @property
    def threads(self) -> int | None:
        """The number of threads of each worker."""

    def work(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Run every job. Returns only when no job is running here. Raises `SweepFailed`, `KeyboardInterrupt`."""

    def end(self) -> None:
        """End whatever runs; a job that still runs is stopped at once."""
