"""Warm start: finds and checks the run or file that `regime.continue_from` names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from harness.analysis.settings import ABSENT, NOT_CONTINUED, deciding, setting_of, settings_digest
from harness.config.schema import SAVED, STATE_SUFFIX, Config, flatten, settings_with
from harness.data import load_splits, variant
from harness.errors import ConfigError, DataError, RequestError
from harness.images import DATASET_TAG
from harness.models import custom_objects
from harness.records import DIGEST_PARAMETERS, VARIANT_PARAMETER, Dataset, RunRecord, RunState, Splits
from harness.run.load import read_config
from harness.tracking.models import find_trained, run_artifact
from harness.tracking.reading import cached_reads, read_runs, runs_named
from harness.tracking.selection import (
    CONTINUED_EPOCHS,
    CONTINUED_FROM,
    CONTINUED_SETTINGS,
    FINGERPRINT_TAG,
)
from harness.tracking.store import Store
from harness.training.state import TrainingState, read_state, state_of_model

STATE_FILE = "training/state.npz"
"""The artifact with a run's training state, from which another run can continue."""

LOG_STATE = "tracking.log_state"
RUN_URI = "runs:/"
DECIDING = settings_with("weights")
"""Settings that must be equal for weights to fit the model and to mean the same."""

SAME = re.compile(r"same:(\d+)")
"""`same:40`: the run with the same settings and seed that was trained for 40 epochs. For a sweep over seeds, in which
each job continues a different run."""


@dataclass(frozen=True)
class Start:
    """The training state that a run starts from, and the run's parameters that say where the state comes from."""

    state: TrainingState | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: NOT_CONTINUED)


def find_start(store: Store, config: Config, recorded: Mapping[str, str] = MappingProxyType({})) -> Start:
    """Read what `regime.continue_from` names, from the store or from a file.

    `recorded` are the parameters of an earlier try at this run: a resumed run continues the same run as that try,
    even if the name now means another.

    Raises:
        RequestError: it does not exist, is ambiguous or unfinished, has no state, does not fit `config`, or was
            trained on images that are held out here.
        DataError: the dataset cannot be loaded.
        StoreError: the store cannot be read.
    """
    if (named := config.regime.continue_from) is None:
        return Start()
    if (before := recorded.get(CONTINUED_FROM)) is not None:
        config = replace(config, regime=replace(config.regime, continue_from=before))
        named = before
    if (file := _file(named)) is not None:
        own = file.suffix == STATE_SUFFIX
        state = read_state(file) if own else state_of_model(file, custom_objects(config.model))
        state = replace(state, progress=None, fingerprint="")  # of a checkpoint: another run's metrics and callbacks
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        return Start(state, _parameters(str(file.resolve()), state, digest))
    run = find_source(store, config)
    _check_images(store, run, config)
    with run_artifact(store, run, STATE_FILE) as kept:
        state = read_state(kept)
    return Start(state, _parameters(f"{RUN_URI}{run.run_id}", state, settings_digest(with_variant(run))))


def check_start(store: Store, config: Config) -> None:
    """Raise what `find_start` would raise, as far as that is known without reading the weights; no heavy import."""
    if (named := config.regime.continue_from) is not None and _file(named) is None:
        _check_images(store, find_source(store, config), config)


def refuse_unnamed_file(record: RunRecord, config: Config, how: str) -> None:
    """Raise `RequestError` if a recorded configuration starts from a file: a record of somebody else could name a
    private file. `how` tells the user how to name a file of their own."""
    named = config.regime.continue_from
    if named is not None and Path(named).suffix in SAVED:
        raise RequestError(
            f"The run {record.name} ({record.run_id}) was continued from the file {named}. A file that only a record "
            f"names is not read. If it is yours, name it too: {how}"
        )


def start_identity(store: Store, config: Config) -> str:
    """What a run starts from, for its fingerprint: that run's fingerprint, or the file's SHA-256; empty for none.

    Raises as `check_start`.
    """
    if (named := config.regime.continue_from) is None:
        return ""
    if (file := _file(named)) is not None:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    run = find_source(store, config)
    return run.tags.get(FINGERPRINT_TAG, run.run_id)


def find_source(store: Store, config: Config) -> RunRecord:
    """The run that `regime.continue_from` names; if several fit, the finished one that started last.

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
    if not _kept_state(run):
        why = " (by default a run of a sweep keeps none)" if run.parent_id is not None else ""
        again = " resume=false" if run.parent_id is not None else ""
        raise RequestError(
            f"regime.continue_from={named}: the run {run.name} ({run.run_id}) kept no training state{why}. Train it "
            f"again with {LOG_STATE}=true{again}, or export its model and continue from the file, with a fresh "
            f"optimizer: harness export {run.run_id[:8]} --format keras DIR."
        )
    wanted = flatten(config)
    found = {key: setting_of(run.parameters, key) for key in DECIDING}
    other = [f"{key}={value}" for key, value in found.items() if str(wanted[key]) != value]
    if other:
        raise RequestError(
            f"regime.continue_from={named}: that run was trained with {', '.join(other)}, and its weights need the "
            "same here. Give these settings too."
        )
    return run


def keeps_state(asked: str, parent_id: str | None) -> bool:
    """Whether a run logs its training state. `asked` is its parameter `tracking.log_state`; if that is "None", a run
    of a sweep (`parent_id`) logs none: the state is three times the size of the weights."""
    return asked == "True" or (asked == "None" and parent_id is None)


def _kept_state(run: RunRecord) -> bool:
    return keeps_state(run.parameters.get(LOG_STATE, ""), run.parent_id)


def _check_images(store: Store, run: RunRecord, config: Config) -> None:
    """Raise `RequestError` if a run, or one that it was continued from, was trained on images that are held out here.

    If digests show that it held out all images that are held out here, or was trained on the same training images,
    nothing else is checked. Otherwise images are compared one by one; those in the training split here do not count. A
    run whose images cannot be found is refused. The training images of a file are not known, so a file is not checked.
    Raises `DataError` if the dataset cannot be loaded.
    """
    named = f"regime.continue_from={config.regime.continue_from}"
    dataset, splits = load_splits(config.dataset, config.regime.validation)
    digests = splits.spec.digests
    whose = f"{run.name} ({run.run_id})"
    while True:
        given = {split: run.parameters.get(parameter) for split, parameter in DIGEST_PARAMETERS.items()}
        same = {digests[split] for split in digests.keys() - {"train"}} <= {given["val"], given["test"]}
        if not same and given["train"] != digests["train"]:
            _compare_images(f"{named}: {whose}", _training_images(store, named, run, config, dataset), run, splits)
        source = run.parameters.get(CONTINUED_FROM, "None")
        if not source.startswith(RUN_URI):
            return
        try:
            (run,) = read_runs(store, run_ids=[source.removeprefix(RUN_URI)])
        except RequestError as error:
            if same:
                return  # it was checked against these images when it was continued
            raise RequestError(
                f"{named}: {run.name} ({run.run_id}) was continued from the run {source.removeprefix(RUN_URI)}, which "
                "is not in the store any more. So it cannot be known whether that was trained on images that are held "
                f"out here. Restore it, or hold out the images that {run.name} held out: {_held_out_by(run)}."
            ) from error
        whose = f"{run.name} ({run.run_id}), from which that run was continued,"


def _training_images(store: Store, named: str, run: RunRecord, config: Config, dataset: Dataset) -> set[bytes]:
    """The images that a run was trained on. Raises `RequestError` if they cannot be found, or have changed."""
    theirs = read_config(store, run)
    given = theirs.dataset
    if run.tags.get(DATASET_TAG) == dataset.digest:  # the same files, even if they were in another folder
        drawn = {key: getattr(given, key) for key in ("train_size", "test_size", "label_noise", "seed")}
        given = replace(config.dataset, **drawn)
    try:
        train = load_splits(given, theirs.regime.validation)[1].train
        gone = train.digest != run.parameters.get(DIGEST_PARAMETERS["train"])
    except (DataError, ConfigError):
        gone = True
    if gone:
        place = given.directory or given.file
        where = f"in {place} " if place is not None else ""
        raise RequestError(
            f"{named}: the images that {run.name} ({run.run_id}) was trained on cannot be found {where}any more. "
            "So it cannot be known whether some of them are held out here. Bring the files back, or hold out the "
            f"images that it held out: {_held_out_by(run)}."
        )
    return {image.tobytes() for image in train.images}


def _compare_images(whose: str, trained_on: set[bytes], run: RunRecord, splits: Splits) -> None:
    found = {}
    for split, words in (("val", "validation"), ("test", "testing")):
        images = dict(splits.named()).get(split)
        if images is not None and (leaked := trained_on & {image.tobytes() for image in images.images}):
            found[words] = leaked
    if not found:
        return
    own = {image.tobytes() for image in splits.train.images}
    counts = {words: len(leaked - own) for words, leaked in found.items()}
    if any(counts.values()):
        told = " and ".join(f"{count:,} for {words}" for words, count in counts.items() if count)
        raise RequestError(
            f"{whose} was trained on images that are held out here: {told}. Hold out the images that it held out "
            f"({_held_out_by(run)}), or continue another run."
        )


def _held_out_by(run: RunRecord) -> str:
    """The settings that decided which images a run held out."""
    keys = ["dataset.name", "dataset.directory", "dataset.test_size", "regime.validation.strategy"]
    if (strategy := run.parameters.get(keys[-1])) != "none":
        keys += ["regime.validation.size", *(["regime.validation.seed"] if strategy != "first" else [])]
    keys += [key for key in ("dataset.file", "dataset.loader") if run.parameters.get(key, "None") != "None"]
    found = {key: run.parameters.get(key, ABSENT) for key in keys}
    return " ".join(f"{key}={'null' if value == 'None' else value}" for key, value in found.items())


def with_variant(run: RunRecord) -> Mapping[str, str]:
    """The parameters of a run; the file of the dataset is added if an earlier version did not record it."""
    if VARIANT_PARAMETER in run.parameters or DATASET_TAG not in run.tags:
        return run.parameters
    read_from = variant(run.parameters.get("dataset.name", ""), run.tags[DATASET_TAG])
    return {**run.parameters, VARIANT_PARAMETER: read_from}


def _named(store: Store, named: str) -> RunRecord:
    finished = [run for run in reversed(runs_named(store, named)) if run.state is RunState.FINISHED]
    return next(filter(_kept_state, finished), finished[0]) if finished else find_trained(store, named)


def _earlier(store: Store, config: Config, epochs: int) -> RunRecord:
    """The run with the same seed, training images and settings (except `epochs`) that was trained for `epochs`."""
    wanted = _all_but_epochs(flatten(config))
    trained_on = load_splits(config.dataset, config.regime.validation)[1].spec.digests["train"]
    experiment = config.tracking.experiment
    found = [
        run
        for run in reversed(read_runs(store, experiment=experiment))
        if run.state is RunState.FINISHED
        and run.epochs == epochs
        and run.parameters.get(DIGEST_PARAMETERS["train"]) == trained_on
        and _all_but_epochs(run.parameters) == wanted
    ]
    if found:
        return next(filter(_kept_state, found), found[0])
    raise RequestError(
        f"the experiment {experiment} has no finished run of these settings with {epochs} epochs and "
        f"seed={config.seed} that was trained on these images. Train it first: the same command with "
        f"regime.epochs={epochs} regime.continue_from=null."
    )


def _all_but_epochs(parameters: Mapping[str, object]) -> dict[str, str]:
    apart = ("regime.epochs", CONTINUED_EPOCHS, CONTINUED_SETTINGS, VARIANT_PARAMETER)
    return {key: value for key, value in deciding(parameters).items() if key not in apart}


def _file(named: str) -> Path | None:
    """The file that is named, if the suffix is that of a file. Raises `RequestError` if it does not exist."""
    file = Path(named).expanduser()
    if file.suffix not in SAVED:
        return None
    if not file.is_file():
        raise RequestError(f"regime.continue_from={named}: there is no such file.")
    return file


def _parameters(source: str, state: TrainingState, digest: str) -> dict[str, str]:
    return {CONTINUED_FROM: source, CONTINUED_EPOCHS: str(state.epochs), CONTINUED_SETTINGS: digest}
