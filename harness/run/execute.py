"""One run from top to bottom: seed, data, model, fit, evaluate, track, figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import metrics
from harness.config.fingerprint import fingerprint
from harness.config.schema import Config, flatten
from harness.config.validation import check_images, validate
from harness.data import dataset_digest, load_splits
from harness.errors import HarnessError
from harness.figures import RunView, per_class_table, run_figures
from harness.machine import available_cpus
from harness.models import build_model, measure_model, pixel_scale, probability_model
from harness.own_metrics import load_metrics
from harness.records import RunRecord, Split, is_grey
from harness.run.checkpoint import Checkpoint
from harness.run.code import log_code
from harness.run.evaluate import evaluate_stages
from harness.run.log import (
    RunObserver,
    data_counts,
    log_configuration,
    log_data,
    log_missing_epochs,
    log_note,
    log_start,
    log_state,
)
from harness.run.warm_start import LOG_STATE, find_start, keeps_state, start_identity
from harness.surroundings import prepare
from harness.tracking.access import WHILE_TRAINING, retries
from harness.tracking.resume import resumable
from harness.tracking.selection import FINGERPRINT_TAG, GROUP_TAG, JOB_TAG, REPRODUCES_TAG, THREADS_TAG
from harness.tracking.shared_checkpoints import SharedCheckpoints
from harness.tracking.store import Store, load_mlflow, open_store
from harness.tracking.writing import RunIdentity, RunWriter, tracked_run
from harness.training import (
    TrainingObserver,
    capture,
    choose_engine,
    fit,
    import_tensorflow,
    intra_op_threads,
    load_callbacks,
    seed_everything,
    weight_shapes,
)

log = logging.getLogger(__name__)

EXAMPLES = 5
"""Images in a logged model's input example."""


@dataclass(frozen=True)
class RunContext:
    """Facts about a run that do not change its numbers.

    `job` is its number in a sweep, `group` its name there without the seed; `earlier` are runs of earlier tries of the
    job: one of them may be resumed; `reproduces` is the run that this one repeats (`harness reproduce`).
    """

    name: str
    overrides: Sequence[str] = ()
    parent_id: str | None = None
    job: int | None = None
    group: str | None = None
    log_file: Path | None = None
    earlier: Sequence[RunRecord] = ()
    reproduces: str | None = None


@dataclass(frozen=True)
class RunResult:
    """A finished run: its id, name and experiment, and the scalars that were logged for it."""

    run_id: str
    name: str
    experiment: str
    metrics: Mapping[str, float]


def load_libraries(threads: int | None = None) -> None:
    """Import the libraries early, which takes seconds in a new process; see `import_tensorflow`."""
    import_tensorflow(threads)
    load_mlflow()


@retries(WHILE_TRAINING)
def execute(
    config: Config, context: RunContext, observer: TrainingObserver, callbacks: Sequence[Any] = ()
) -> RunResult:
    """Train, evaluate and record one run. An error is recorded with the run, then raised again.

    `callbacks` are Keras callbacks added to those of the configuration.
    Raises `HarnessError` for expected errors (settings that contradict each other, no data, a diverging loss, a store
    that cannot be used).
    """
    started = time.perf_counter()
    prepare()  # the command has done it, but another launcher may have started this process elsewhere
    store = open_store(config.tracking.uri)
    tags = _identifying_tags(store, config, context)
    identity = RunIdentity(context.name, config.tracking.experiment, context.parent_id, context.overrides, tags)
    watching, resumed = config.tracking.system_metrics, _resumed(config, context, tags)
    with tracked_run(store, identity, context.log_file, watching, resumed, config.tracking.diff) as tracked:
        log_configuration(tracked, config, context.overrides)
        validate(config)
        log_code(tracked, config)
        import_tensorflow(config.threads)
        checkpoint = _checkpoint(store, tracked, config, context, tags.get(FINGERPRINT_TAG, ""))
        start = find_start(store, config, tracked.earlier.parameters)
        log_start(tracked, start)
        seed_everything(config.seed, config.threads)
        dataset, splits = load_splits(config.dataset, config.regime.validation)
        log_data(tracked, dataset, splits)
        spec = splits.spec
        check_images(config.model, spec.image_shape)

        images, preprocessing = splits.train.images, config.dataset.preprocessing
        model = build_model(config.model, preprocessing, spec, images, config.mixed_precision)
        callbacks = [*callbacks, *load_callbacks(config)]
        engine, reason = choose_engine(config, callbacks, model, splits.train)
        log.info("engine %s (%s), %d parameters", engine, reason, model.count_params())
        tracked.set_tags(
            {
                "harness.engine": engine,
                "harness.engine_reason": reason,
                "harness.intra_op_threads": str(intra_op_threads()),
            }
        )

        fit_started = time.perf_counter()
        watched, kept = RunObserver(tracked, observer, checkpoint), checkpoint.read(weight_shapes(model))
        if kept is not None:
            log_missing_epochs(tracked, kept)
        state = kept or start.state
        fitted = fit(engine, model, config, splits.train, splits.validation, watched, callbacks, state)
        fit_seconds = time.perf_counter() - fit_started

        asked_for = load_metrics(config.metrics)
        stages = evaluate_stages(model, fitted, splits, spec.class_names, asked_for)
        history, test = fitted.history, stages.held_out["test"]
        if config.tracking.log_model:
            examples = Split(splits.test.images[:EXAMPLES], splits.test.labels[:EXAMPLES])
            tracked.log_model(probability_model(model, config.model.head), spec, examples)
        asked = tracked.earlier.parameters.get(LOG_STATE, str(config.tracking.log_state))
        if keeps_state(asked, context.parent_id):
            log_state(tracked, capture(model, history.last_epoch))
        tracked.log_table("per_class.json", per_class_table(test))
        tracked.log_predictions({split: score.by_image for split, score in stages.held_out.items()})
        scale = pixel_scale(model) if is_grey(splits.train.images) else None
        names, wrong = spec.class_names, splits.noisy_labels
        view = RunView(history, test, splits.test, splits.train, scale, names, context.name, config.palette, wrong)
        for name, figure in run_figures(view, config.figures or "few"):
            tracked.log_figure(name, figure)

        scalars = metrics.summarize(history, stages, asked_for) | {
            **data_counts(splits),
            **measure_model(model, config.model.head, splits.train, config.measures),
            "model/parameters": float(model.count_params()),
            "time/fit_seconds": fit_seconds,
            "time/total_seconds": time.perf_counter() - started,
        }
        tracked.log_metrics(scalars)
        log_note(tracked, config, context.overrides, scalars)
        log.info("finished: %s", {name: round(value, 4) for name, value in scalars.items()})
    checkpoint.remove()
    return RunResult(tracked.run_id, context.name, config.tracking.experiment, scalars)


def _checkpoint(store: Store, tracked: RunWriter, config: Config, context: RunContext, fingerprint: str) -> Checkpoint:
    """The run's checkpoint. That of a sweep's job is in the store too, because another machine may resume the job."""
    shared = None
    if context.job is not None:
        attempt = tracked.earlier.tries + 1
        shared = SharedCheckpoints(store, tracked.run_id, attempt, config.tracking.upload_seconds)
    return Checkpoint(tracked.run_id, config.tracking.checkpoint_seconds, fingerprint, shared)


def _resumed(config: Config, context: RunContext, tags: Mapping[str, str]) -> str | None:
    """The id of the earlier run that is resumed; None to start a new run."""
    run = resumable(context.earlier, tags.get(FINGERPRINT_TAG), flatten(config))
    if run is None:
        return None
    log.info("resuming the run %s", run.run_id)
    now = str(config.threads or available_cpus())
    if (before := run.tags.get(THREADS_TAG, now)) != now:
        log.warning(
            "This run was begun with %s threads and is resumed with %s: its last digits will differ from those of "
            "a run that was not interrupted.",
            before,
            now,
        )
    return run.run_id


def _identifying_tags(store: Store, config: Config, context: RunContext) -> dict[str, str]:
    """The tags by which later commands find the run: its job number in a sweep, and its fingerprint.

    If the fingerprint cannot be computed, it is left out: the run itself will fail for the same reason.
    """
    tags = {} if context.job is None else {JOB_TAG: str(context.job)}
    if context.group is not None:
        tags[GROUP_TAG] = context.group
    if context.reproduces is not None:
        tags[REPRODUCES_TAG] = context.reproduces
    with suppress(HarnessError):
        validate(config)
        tags[FINGERPRINT_TAG] = fingerprint(config, dataset_digest(config.dataset), start_identity(store, config))
    return tags
