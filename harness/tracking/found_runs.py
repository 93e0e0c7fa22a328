"""Runs as MLflow's client and an MLflow server give them: the query in MLflow's filter language, and their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.tracking.selection import (
    CONTEXT_TAG,
    EPOCH_METRIC,
    FINGERPRINT_TAG,
    JOB_TAG,
    KIND_TAG,
    PARENT_TAG,
    SWEEP,
    Selection,
    Texts,
    digest_parameters,
    in_order,
    lacks_digests,
    read_record,
)

IDS_PER_REQUEST = 200
FINGERPRINTS_ASKED = 100
"""MLflow's filter language has no OR for values of a tag. Up to so many values are asked for one by one, in 0.03 s
each; for more, all runs are read."""


def filters(selection: Selection) -> list[str]:
    """The selection in MLflow's filter language; several filters if one list of ids would be too long for a request."""
    conditions = []
    if selection.parent_id is not None:
        conditions.append(f"tags.`{PARENT_TAG}` = {quoted(selection.parent_id)}")
    if selection.job is not None:
        conditions.append(f"tags.`{JOB_TAG}` = '{selection.job}'")
    if selection.sweeps_only:
        conditions.append(f"tags.`{KIND_TAG}` = '{SWEEP}'")
    if selection.running:
        conditions.append(f"attributes.status = '{RunState.RUNNING}'")
    if selection.name is not None:
        conditions.append(f"attributes.run_name = {quoted(selection.name)}")
    if selection.prefix is not None:
        conditions.append(f"attributes.run_id LIKE {quoted(selection.prefix + '%')}")
    if selection.fingerprints is not None and len(selection.fingerprints) <= FINGERPRINTS_ASKED:
        asked = [f"tags.`{FINGERPRINT_TAG}` = {quoted(each)}" for each in selection.fingerprints]
        return [" AND ".join([*conditions, each]) for each in asked]
    if selection.run_ids is None:
        return [" AND ".join(conditions)]
    identities = [quoted(identity) for identity in selection.run_ids]
    portions = [identities[i : i + IDS_PER_REQUEST] for i in range(0, len(identities), IDS_PER_REQUEST)]
    return [" AND ".join([*conditions, f"attributes.run_id IN ({', '.join(portion)})"]) for portion in portions]


def quoted(text: str) -> str:
    """A text as a quoted string of MLflow's filter language, which has no escape character."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise RequestError(f"MLflow cannot be asked for {text}, which has both kinds of quotes. Give a run id instead.")


@dataclass(frozen=True)
class FoundRun:
    """A run as the store gives it; `digests` are those of its datasets by context."""

    run_id: str
    name: Any
    experiment_id: str
    status: Any
    times: tuple[Any, Any]
    artifacts: Any
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Any]
    epochs: Any
    digests: Mapping[str, str]


def of_json(run: dict[str, Any]) -> FoundRun:
    """A run as a server gives it in JSON. Raises `ValueError`, `TypeError`, `LookupError` and others if it is none."""
    info, data = run["info"], run.get("data", {})
    times = [int(info[key]) if key in info else None for key in ("start_time", "end_time")]
    metrics = {str(one["key"]): float(one["value"]) for one in data.get("metrics", [])}
    steps = (int(one.get("step", 0)) for one in data.get("metrics", []) if one["key"] == EPOCH_METRIC)
    digests = {
        next((str(tag["value"]) for tag in one.get("tags", []) if tag["key"] == CONTEXT_TAG), ""):
        str(one["dataset"]["digest"]) for one in run.get("inputs", {}).get("dataset_inputs", [])
    }  # fmt: skip
    parameters, tags = (
        {str(one["key"]): str(one.get("value", "")) for one in data.get(what, [])} for what in ("params", "tags")
    )
    return FoundRun(
        str(info["run_id"]), info.get("run_name"), str(info["experiment_id"]), info["status"], (times[0], times[1]),
        info.get("artifact_uri", ""), parameters, tags, metrics, next(steps, 0), digests,
    )  # fmt: skip


def of_fingerprints(found: Sequence[FoundRun], selection: Selection) -> list[FoundRun]:
    """The runs that have one of the selection's fingerprints, if it has any: MLflow may have been asked for more."""
    if selection.fingerprints is None or len(selection.fingerprints) <= FINGERPRINTS_ASKED:
        return list(found)
    among = set(selection.fingerprints)
    return [run for run in found if run.tags.get(FINGERPRINT_TAG) in among]


def records(found: Iterable[FoundRun], experiments: Mapping[str, str]) -> list[RunRecord]:
    """The runs as records, sorted by start, then by id; malformed ones are left out with a word. `experiments` are the
    names of experiments by id."""
    words, texts = Texts(), Texts(lines=True)
    made = (_record(run, experiments.get(run.experiment_id, ""), words, texts) for run in found)
    return in_order([one for one in made if one is not None])


def _record(run: FoundRun, experiment: str, words: Texts, texts: Texts) -> RunRecord | None:
    parameters = {words[key]: words[value] for key, value in run.parameters.items()}
    tags = {words[key]: texts[value] for key, value in run.tags.items()}
    if lacks_digests(tags, parameters):  # the dataset inputs were read with the run
        parameters |= digest_parameters({context: words[digest] for context, digest in run.digests.items()})
    metrics = {words[key]: value for key, value in run.metrics.items()}
    return read_record(
        run.run_id, run.name, run.experiment_id, experiment, run.status, *run.times, run.artifacts, parameters, tags,
        metrics, run.epochs,
    )  # fmt: skip
