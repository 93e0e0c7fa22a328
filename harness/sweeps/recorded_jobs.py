"""The jobs of a sweep as an artifact of its parent run, with what decides their numbers: for machines that join it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.config.schema import flatten
from harness.errors import RequestError, StoreError
from harness.records import RunRecord
from harness.sweeps.plan import ListedJob, SweepPlan
from harness.tracking.models import run_artifact
from harness.tracking.provenance import code_state, libraries
from harness.tracking.selection import bounded
from harness.tracking.store import Store
from harness.untrusted import read_text

FILE = "jobs.json"
MOST_BYTES = 200_000_000
LEFT_OUT = ("tracking.uri", "tracking.parent_run", "tracking.job")
"""Settings of a job that each machine has for itself; Hydra's own too. A record that has them is refused: it may have
been written by somebody else, and Hydra's settings name code that is called."""
CODE = re.compile(r"diff --git a/(harness|conf|experiments|hydra_plugins)/")


@dataclass(frozen=True)
class RecordedJobs:
    """The jobs of a sweep in the order of their numbers, and what a machine must share with those that train them.

    `settings` are those that all jobs have in common; `threads` is the number of threads of each worker.
    """

    jobs: tuple[ListedJob, ...]
    swept: tuple[str, ...]
    threads: int | None
    settings: Mapping[str, str]
    code: Mapping[str, str]


def recorded_jobs(plan: SweepPlan, threads: int | None) -> RecordedJobs:
    """The list of a sweep's jobs."""
    jobs = sorted(plan.jobs, key=lambda job: job.number)
    listed = [
        ListedJob(
            tuple(item for item in job.overrides if not _is_left_out(item)),
            job.fingerprint, job.config.model.name, job.data,
        )
        for job in jobs
    ]  # fmt: skip
    every = [{key: str(value) for key, value in flatten(job.config).items() if not _is_left_out(key)} for job in jobs]
    common = {key: value for key, value in every[0].items() if all(one.get(key) == value for one in every)}
    return RecordedJobs(tuple(listed), plan.swept, threads, common, present_code())


def present_code() -> dict[str, str]:
    """What the numbers of a run depend on besides its settings and data: the harness's code and the libraries."""
    code = code_state()
    parts = [part for part in re.split(r"^(?=diff --git )", code.diff, flags=re.MULTILINE) if CODE.match(part)]
    changes = hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()[:12] if parts else ""
    return {
        "version of the harness": code.version,
        "commit": code.commit[:12],
        "uncommitted changes": changes,
        "libraries": libraries(),
    }


def as_text(jobs: RecordedJobs) -> str:
    """The content of the artifact."""
    return json.dumps(asdict(jobs), ensure_ascii=False, indent=1)


def read_jobs(store: Store, parent: RunRecord) -> RecordedJobs | None:
    """The list that the sweep's command has recorded; None if there is none (earlier versions, other launchers).

    Raises `StoreError` if it cannot be read.
    """
    try:
        with run_artifact(store, parent, FILE) as file:
            text = read_text(file, MOST_BYTES)
    except RequestError:
        return None
    try:
        return _parsed(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(f"{FILE} of the sweep {parent.name} ({parent.run_id}) is malformed: {error!r:.80}") from error


def _parsed(found: Any) -> RecordedJobs:
    jobs = [
        ListedJob(_texts(one["overrides"]), *(bounded(str(one[key])) for key in ("fingerprint", "label", "data")))
        for one in found["jobs"]
    ]
    threads = found["threads"]
    if any(_is_left_out(item) for one in jobs for item in one.overrides):
        raise ValueError("a job has settings that belong to a machine")
    if not jobs or not (threads is None or (type(threads) is int and 0 < threads < 10_000)):
        raise ValueError("no jobs, or no number of threads")
    settings, code = ({bounded(str(key)): bounded(str(value)) for key, value in found[part].items()}
                      for part in ("settings", "code"))  # fmt: skip
    return RecordedJobs(tuple(jobs), _texts(found["swept"]), threads, settings, code)


def _texts(found: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TypeError("a list of texts was expected")
    return tuple(bounded(one) for one in found)


def _is_left_out(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key in LEFT_OUT or "hydra" in key
