"""What `regime.continue_from` means: the run or file that training goes on from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from harness.analysis.settings import NOT_CONTINUED, deciding, setting_of, settings_digest
from harness.config import Config, flatten
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.tracking.models import find_trained, run_artifact
from harness.tracking.reading import cached_reads, read_runs, runs_named
from harness.tracking.selection import CONTINUED_EPOCHS, CONTINUED_FROM, CONTINUED_SETTINGS, FINGERPRINT_TAG
from harness.tracking.store import Store
from harness.training.state import TrainingState, read_state, state_of_model

STATE_FILE = "training/state.npz"
"""The artifact of a run that another can continue from."""

MODEL_SUFFIX, STATE_SUFFIX = ".keras", ".npz"
DECIDING = (
    "model.architecture", "model.hidden", "model.width", "model.depth", "model.filters", "model.kernel_size",
    "model.pool_size", "model.activation", "model.batch_norm", "dataset.preprocessing",
)  # fmt: skip
"""Settings without which weights have another meaning, or no place."""

SAME = re.compile(r"same:(\d+)")
"""`same:40`: the run of the same settings and seed that had trained 40 epochs. It serves a sweep over seeds, in which
every job has another run to continue."""


@dataclass(frozen=True)
class Start:
    """Where a run begins: the state, and the run's parameters that say where it comes from."""

    state: TrainingState | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: NOT_CONTINUED)


def find_start(store: Store, config: Config, recorded: Mapping[str, str] = MappingProxyType({})) -> Start:
    """Read what `regime.continue_from` names, from the store or from a file.

    `recorded` are the parameters that a run has from an earlier try: what it went on from then holds, whatever the name
    means by now.

    Raises:
        RequestError: it does not exist, is ambiguous or unfinished, keeps no state, or does not fit `config`.
        StoreError: the store cannot be read.
    """
    if (named := config.regime.continue_from) is None:
        return Start()
    if (before := recorded.get(CONTINUED_FROM)) is not None:
        config = replace(config, regime=replace(config.regime, continue_from=before))
        named = before
    if (file := _file(named)) is not None:
        state = read_state(file) if file.suffix == STATE_SUFFIX else state_of_model(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        return Start(state, _parameters(str(file.resolve()), state, digest))
    run = find_source(store, config)
    with run_artifact(store, run, STATE_FILE) as kept:
        state = read_state(kept)
    return Start(state, _parameters(f"runs:/{run.run_id}", state, settings_digest(run.parameters)))


def check_start(store: Store, config: Config) -> None:
    """Raise what `find_start` would, as far as it can be known without reading the weights; no heavy import."""
    if (named := config.regime.continue_from) is not None and _file(named) is None:
        find_source(store, config)


def start_identity(store: Store, config: Config) -> str:
    """What a run goes on from, for its fingerprint: the fingerprint of that run, or the file's SHA-256; empty for none.

    Raises as `check_start`.
    """
    if (named := config.regime.continue_from) is None:
        return ""
    if (file := _file(named)) is not None:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    run = find_source(store, config)
    return run.tags.get(FINGERPRINT_TAG, run.run_id)


def find_source(store: Store, config: Config) -> RunRecord:
    """The run that `regime.continue_from` names: of several that fit the finished one that started last.

    Raises as `find_start`.
    """
    named = str(config.regime.continue_from)
    try:
        with cached_reads(store):
            run = _earlier(store, config, int(match[1])) if (match := SAME.fullmatch(named)) else _named(store, named)
    except RequestError as error:
        raise RequestError(f"regime.continue_from={named}: {error}") from error
    if run.state is not RunState.FINISHED:
        raise RequestError(
            f"regime.continue_from={named}: the run {run.name} ({run.run_id}) is {run.state}. Only a finished run can "
            "be continued."
        )
    if run.parameters.get("tracking.log_state") != "True":
        raise RequestError(
            f"regime.continue_from={named}: the run {run.name} ({run.run_id}) kept no training state. Train it again "
            "with tracking.log_state=true, or export its model and continue from the file, with a fresh optimizer: "
            f"harness export {run.run_id[:8]} --format keras DIR."
        )
    wanted = flatten(config)
    found = {key: setting_of(run.parameters, key) for key in DECIDING}
    other = [f"{key}={value}" for key, value in found.items() if str(wanted[key]) != value]
    if other:
        raise RequestError(
            f"regime.continue_from={named}: that run was trained with {', '.join(other)}, and its weights need the "
            "same here. Give these settings too."
        )
    if (trained_on := _validation_trained_on(run, wanted)) is not None:
        raise RequestError(
            f"regime.continue_from={named}: that run, with {trained_on}, was trained on images that are held out for "
            "validation here. Give its regime.validation settings, or regime.validation.strategy=none."
        )
    return run


def _validation_trained_on(run: RunRecord, wanted: Mapping[str, object]) -> str | None:
    """The settings by which a run held out other images of the same dataset than are wanted; None where none differ."""
    strategy = wanted["regime.validation.strategy"]
    if strategy == "none" or run.parameters.get("dataset.name") != wanted["dataset.name"]:
        return None
    keys = [f"regime.validation.{name}" for name in ("strategy", "size", *(("seed",) if strategy != "first" else ()))]
    found = {key: setting_of(run.parameters, key) for key in keys}
    if strategy == found[keys[0]] == "first" and int(str(wanted[keys[1]])) <= int(found[keys[1]]):
        return None  # the first few are among the first many
    other = [f"{key}={value}" for key, value in found.items() if str(wanted[key]) != value]
    return ", ".join(other) or None


def _named(store: Store, named: str) -> RunRecord:
    finished = [run for run in runs_named(store, named) if run.state is RunState.FINISHED]
    return finished[-1] if finished else find_trained(store, named)


def _earlier(store: Store, config: Config, epochs: int) -> RunRecord:
    """The run of the same seed and settings, but for the number of epochs, that had trained `epochs`."""
    wanted = _all_but_epochs(flatten(config))
    experiment = config.tracking.experiment
    for run in reversed(read_runs(store, experiment=experiment)):
        if run.state is RunState.FINISHED and run.epochs == epochs and _all_but_epochs(run.parameters) == wanted:
            return run
    raise RequestError(
        f"the experiment {experiment} has no finished run of these settings with {epochs} epochs and "
        f"seed={config.seed}. Train it first: the same command with regime.epochs={epochs} regime.continue_from=null."
    )


def _all_but_epochs(parameters: Mapping[str, object]) -> dict[str, str]:
    how_long = ("regime.epochs", CONTINUED_EPOCHS, CONTINUED_SETTINGS)
    return {key: value for key, value in deciding(parameters).items() if key not in how_long}


def _file(named: str) -> Path | None:
    """The file that is meant, where it is one: by its suffix. Raises `RequestError` if it is not there."""
    file = Path(named).expanduser()
    if file.suffix not in (MODEL_SUFFIX, STATE_SUFFIX):
        return None
    if not file.is_file():
        raise RequestError(f"regime.continue_from={named}: there is no such file.")
    return file


def _parameters(source: str, state: TrainingState, digest: str) -> dict[str, str]:
    return {CONTINUED_FROM: source, CONTINUED_EPOCHS: str(state.epochs), CONTINUED_SETTINGS: digest}
