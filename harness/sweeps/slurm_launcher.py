"""`hydra/launcher=slurm`: submits an array of Slurm tasks, each of which joins the sweep, and watches them.

The tasks need nothing from the command: if it ends (a closed terminal, Ctrl-C), they train the jobs to the end, and the
last of them makes the table. submitit writes the sbatch file; its local executor starts processes on this machine.
"""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from harness import paths
from harness.composing import typed_config
from harness.config.schema import Config, references
from harness.errors import ConfigError, HarnessError
from harness.records import RunState
from harness.surroundings import environment
from harness.sweeps.contract import JobSource, Record, WorkerGroup
from harness.sweeps.launcher import SweepLauncher, check_installed
from harness.sweeps.plan import one_a_job
from harness.sweeps.worker import Job
from harness.sweeps.worker_pool import JobList
from harness.tracking.reading import sweep_runs
from harness.tracking.store import open_store
from harness.user_code.finding import is_reference

log = logging.getLogger(__name__)

FOLDER = "outputs/slurm"
LOOK_SECONDS = 2.0
REFUSED = 2
"""The exit code of a command that refuses to start: another try would end in the same way."""
TIMEOUTS = 1000
"""How often Slurm queues a task again that has reached its time limit."""
STOPPING_SECONDS = 60.0
"""How long a task that is pre-empted may take to end its epoch; submitit warns it 90 seconds before the end."""
EXECUTORS = ("slurm", "local")
WORDS = re.compile(r"[=,\[\]'\"]")
PARENT = "tracking.parent_run="


class SlurmLauncher(SweepLauncher):
    """`hydra/launcher=slurm`; conf/hydra/launcher/slurm.yaml describes the settings."""

    joins = False

    def __init__(
        self, tasks: int = 4, workers: int | None = 1, time: int = 60, partition: str | None = None,
        account: str | None = None, qos: str | None = None, constraint: str | None = None, cpus: int = 1,
        memory: str | None = None, gres: str | None = None, setup: Sequence[str] = (),
        options: Mapping[str, Any] | None = None, resubmissions: int = 10, executor: str = "slurm",
    ) -> None:  # fmt: skip
        check_installed("submitit", "slurm")
        numbers = {"tasks": tasks, "time": time, "cpus": cpus, **({} if workers is None else {"workers": workers})}
        for name, value in numbers.items():
            if type(value) is not int or value < 1:
                raise ConfigError(f"hydra.launcher.{name}={value}: must be a whole number, at least 1.")
        if type(resubmissions) is not int or resubmissions < 0:
            raise ConfigError(f"hydra.launcher.resubmissions={resubmissions}: must be a whole number, at least 0.")
        if executor not in EXECUTORS:
            raise ConfigError(f"hydra.launcher.executor={executor}: must be one of {', '.join(EXECUTORS)}.")
        if isinstance(setup, str):
            raise ConfigError(
                "hydra.launcher.setup: must be a list of lines: 'hydra.launcher.setup=[module load cuda]'."
            )
        self.tasks, self.workers, self.cpus, self.time, self.executor = tasks, workers, cpus, time, executor
        self.setup_lines, self.resubmissions = list(setup), resubmissions
        given = {"partition": partition, "account": account, "qos": qos, "constraint": constraint, "gres": gres}
        self.options = {key: value for key, value in given.items() if value is not None}
        self.more = dict(options or {})
        self.memory = {} if memory is None else {"mem": memory}

    def start(self, jobs: int, config: Config) -> WorkerGroup:
        return SlurmTasks(self, min(jobs, self.tasks), config)

    def count(self, jobs: int, threads: int | None) -> int:
        return min(jobs, self.tasks * (self.workers or 1))

    def submitter(self, folder: Path) -> Any:
        """submitit's executor with these settings. Raises `ConfigError` if it refuses one, or there is no Slurm."""
        import submitit

        try:
            if self.executor == "local":
                executor = submitit.LocalExecutor(folder, max_num_timeout=TIMEOUTS)
                executor.update_parameters(timeout_min=self.time, setup=self.setup_lines)
                return executor
            executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS)
            executor.update_parameters(
                time=self.time, cpus_per_task=self.cpus, setup=self.setup_lines, job_name="harness",
                additional_parameters=self.more, **self.options, **self.memory,
            )  # fmt: skip
            return executor
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ConfigError(f"hydra/launcher=slurm: {error}".splitlines()[0]) from error


class SlurmTasks:
    """The tasks of an array, which join the sweep (a `WorkerGroup`)."""

    def __init__(self, launcher: SlurmLauncher, tasks: int, config: Config) -> None:
        self.failures: dict[int, Any] = {}
        self.record: Record | None = None
        self.grows = False
        self.source_of: Callable[[Sequence[Job]], JobSource] = JobList
        self.value_of: Callable[[int], object] = lambda number: None
        self._launcher, self._tasks, self._config = launcher, tasks, config
        self._folder = paths.project_root() / FOLDER
        paths.make_folder(self._folder)
        self._executor = launcher.submitter(self._folder)

    @property
    def threads(self) -> int | None:
        if self._config.threads is not None:
            return self._config.threads
        workers = self._launcher.workers
        return None if workers is None else max(1, self._launcher.cpus // workers)

    def work(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Submit the tasks, and wait until they have trained the jobs. Those that end before are submitted again."""
        if jobs:
            self._watch(jobs, _Joining(_command(jobs, self._launcher)))
        return [
            JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=self.value_of(job.number))
            for job in jobs
        ]

    def end(self) -> None:
        """Nothing: the tasks end when no job is left."""

    def _watch(self, jobs: Sequence[Job], joining: _Joining) -> None:
        running = self._submit(joining, self._tasks)
        log.warning(
            "Tasks submitted: %d (%s), with their logs in %s. They continue if this command ends.",
            *(len(running), running[0].job_id, self._folder),
        )
        again = self._launcher.resubmissions
        try:
            while running:
                time.sleep(LOOK_SECONDS)
                ended = [task for task in running if task.done()]
                running = [task for task in running if task not in ended]
                lost = [task for task in ended if _is_lost(task)]
                if not lost or not self._left(jobs):
                    continue
                if not again:
                    log.warning("Tasks were lost, and resubmissions=%d are used up.", self._launcher.resubmissions)
                    continue
                count = min(len(lost), again)
                again -= count
                log.warning(
                    "Tasks that were pre-empted or lost: %d (%s). They are submitted again.", count, lost[0].job_id
                )
                running += self._submit(joining, count)
        except KeyboardInterrupt:
            stop = "scancel" if self._launcher.executor == "slurm" else "kill"
            named = " ".join(dict.fromkeys(task.job_id.partition("_")[0] for task in running))
            log.warning("The tasks continue without this command. To end them: %s %s", stop, named)
            raise

    def _submit(self, joining: _Joining, count: int) -> list[Any]:
        uri = open_store(self._config.tracking.uri).uri
        with _terminal_ignored(), environment(MLFLOW_TRACKING_URI=uri):  # not in a command line: it may hold a password
            return (
                [self._executor.submit(joining)]
                if count == 1
                else list(self._executor.map_array(lambda one: one(), [joining] * count))
            )

    def _left(self, jobs: Sequence[Job]) -> bool:
        """Whether some jobs have not ended, or may follow."""
        if self.grows:
            return True  # a task that finds no job ends at once
        parent = _parent(jobs)
        ended = one_a_job(sweep_runs(open_store(self._config.tracking.uri), parent))
        states = (RunState.FINISHED, RunState.FAILED)
        return any(job.number not in ended or ended[job.number].state not in states for job in jobs)


class _Joining:
    """What a task does: it joins the sweep in a process of its own. Slurm queues it again if it is pre-empted."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        self._process = subprocess.Popen(self.command, start_new_session=True)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """submitit calls it before the end of a task that is pre-empted or reaches its time limit."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.terminate()  # its jobs stop at the end of their epoch, and are free for others
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOPPING_SECONDS)
        return DelayedSubmission(_Joining(self.command))


def _command(jobs: Sequence[Job], launcher: SlurmLauncher) -> list[str]:
    """The command of a task."""
    workers = "null" if launcher.workers is None else str(launcher.workers)
    words = [
        sys.executable,
        "-P",
        "-m",
        "harness",
        "join",
        _parent(jobs),
        "--wait",
        f"hydra.launcher.workers={workers}",
    ]
    sources = jobs[0].config.hydra.runtime.config_sources
    folders = [str(source.path) for source in sources if source.provider == "command-line"]
    code = set(references(typed_config(jobs[0].config)).values())
    code |= {word for job in jobs for item in job.overrides for word in WORDS.split(item) if is_reference(word)}
    flags = [("--config-dir", folder) for folder in folders] + [("--import", one) for one in sorted(code)]
    return [*words, *(word for flag in flags for word in flag)]


def _parent(jobs: Sequence[Job]) -> str:
    """The id of the sweep's parent run, which is in every job."""
    return next(item.partition("=")[2].strip("'") for item in jobs[0].overrides if item.startswith(PARENT))


def _is_lost(task: Any) -> bool:
    """Whether a task has ended before it found no job. Raises `HarnessError` if the sweep refused it."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        code = int(task.result())
    except (UncompletedJobError, FailedJobError):
        return True
    if code == REFUSED:
        said = (task.stderr() or "").strip().splitlines()
        raise HarnessError(
            f"The task {task.job_id} could not join the sweep: {' '.join(said[-5:]) or 'it says nothing'}"
        )
    return code != 0


@contextmanager
def _terminal_ignored() -> Iterator[None]:
    """Processes that start in the block do not end with the terminal, nor with its Ctrl-C."""
    usual = {}
    with suppress(ValueError):  # in another thread than the main one
        usual = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
