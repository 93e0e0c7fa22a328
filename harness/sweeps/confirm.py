"""Trains rows of a comparison again under fresh seeds, as one sweep, with the settings that their runs recorded
(`conf/` may have changed since)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hydra.core.override_parser.types import Quote, QuotedString

from harness.analysis.comparison import Comparison
from harness.analysis.rows import Row
from harness.analysis.settings import SEED, swept_settings
from harness.composing import compose_config
from harness.config.schema import SWEEP_SETTINGS, Config, flatten, settings_with
from harness.errors import ConfigError, RequestError
from harness.records import RunRecord, RunState
from harness.run.code import check_code
from harness.run.load import load_recorded, read_config, read_words
from harness.run.warm_start import SAME, refuse_unnamed_file
from harness.sweeps.launch import launch_jobs
from harness.sweeps.plan import one_a_job
from harness.tracking.selection import CONTINUED_FROM
from harness.tracking.store import Store, open_store

SET_ANEW = {SEED, *(key.partition(".")[0] for key in settings_with("sweep"))}
"""Settings and groups that the confirming sweep itself sets for its jobs."""


@dataclass(frozen=True)
class _Recorded:
    """A run of a row: its configuration, and the overrides that were typed for it."""

    record: RunRecord
    config: Config
    words: tuple[str, ...]


def fresh_seeds(comparison: Comparison, count: int) -> tuple[int, ...]:
    """`count` seeds above the largest seed of the comparison, so that none was used for the ranking. Replicated draws
    of the data (`dataset.seed`, ...) get the same numbers."""
    keys = (SEED, *comparison.replicates)
    used = [run.parameters.get(key, "") for row in comparison.rows for run in row.runs for key in keys]
    first = max((int(seed) for seed in used if seed.isdecimal()), default=-1) + 1
    return tuple(range(first, first + count))


def train_again(
    store: Store,
    rows: Sequence[Row],
    seeds: Sequence[int],
    draws: Sequence[str],
    report: Callable[[list[list[RunRecord]]], None],
    hydra: Sequence[str] = (),
) -> None:
    """Train each row under each of the `seeds`, in the experiment of the first row; finished runs are reused. The
    replicated settings `draws` get the number of the seed. `report` gets the runs of each row, even if some failed.
    `hydra` are overrides of Hydra's own settings, such as the launcher.

    Raises:
        RequestError: a row has no finished run, or a run without a recorded seed or configuration, or its images have
            changed; nothing is written.
        SweepFailed: some runs did not finish.
        HarnessError: as `launch.launch`.
    """
    for row in rows:
        _check(row)
    store.check_writable()
    recorded = [_recorded(store, row) for row in rows]
    first, name = recorded[0], f"confirming {' against '.join(row.label for row in rows)}"
    uri = None if store == open_store() else store.uri
    wanted = [_with_own(of.config, first, name, uri, seeds[0]) for of in recorded]
    words = [
        tuple(word for word in _words(of.words, config) if _key(word) not in draws)
        for of, config in zip(recorded, wanted, strict=True)
    ]
    jobs = [(*given, *(f"{key}={seed}" for key in (*draws, SEED))) for given in words for seed in seeds]

    def by_row(found: Comparison) -> None:
        runs = one_a_job([run for row in found.rows for run in row.runs])
        report([
            [run for number, run in sorted(runs.items()) if number // len(seeds) == place] for place in range(len(rows))
        ])  # fmt: skip

    launch_jobs(jobs, _swept(words, rows), " ".join(of.record.run_id for of in recorded), by_row, hydra)


def _check(row: Row) -> None:
    strangers = [run for run in row.runs if not run.is_own]
    if strangers:
        raise RequestError(
            f"--confirm: {row.label} has runs that the harness did not write ({strangers[0].name}). It can train again "
            "only what it has trained."
        )
    if not row.finished:
        raise RequestError(f"--confirm: {row.label} has no finished run, so there is nothing to confirm.")
    if unknown := [run for run in row.runs if not run.parameters.get(SEED, "").isdecimal()]:
        raise RequestError(
            f"--confirm: the run {unknown[0].name} ({unknown[0].run_id}) of {row.label} recorded no seed, so no seed "
            "is known to be fresh."
        )


def _recorded(store: Store, row: Row) -> _Recorded:
    """The first finished run of a row, after a check that its images and its warm start have not changed."""
    finished = [run for run in row.runs if run.state is RunState.FINISHED]
    record = finished[0]
    config = read_config(store, record)
    named = config.regime.continue_from
    if named is not None and not SAME.fullmatch(named):
        sources = {run.parameters.get(CONTINUED_FROM, named) for run in finished}
        if len(sources) > 1:
            raise RequestError(
                f"--confirm: the runs of {row.label} were continued from different runs, and which of them a fresh "
                "seed should continue is not known. Train them with regime.continue_from=same:EPOCHS."
            )
        config = replace(config, regime=replace(config.regime, continue_from=sources.pop()))
    check_code(store, record, config)
    refuse_unnamed_file(record, config, "harness sweep ... regime.continue_from=FILE with fresh seeds trains the same.")
    load_recorded(record, config)
    return _Recorded(record, config, read_words(store, record))


def _with_own(config: Config, first: _Recorded, name: str, uri: str | None, seed: int) -> Config:
    """A run's recorded configuration with the settings that all jobs of the confirming sweep share."""
    usual = Config()
    tracking = replace(
        config.tracking, uri=uri, experiment=first.record.experiment, run_name=name, parent_run=None, job=None
    )
    shared = {key: getattr(usual, key) for key in ("resume", *SWEEP_SETTINGS)}
    return replace(config, seed=seed, threads=first.config.threads, tracking=tracking, **shared)


def _words(given: Sequence[str], wanted: Config) -> tuple[str, ...]:
    """Overrides that compose to `wanted`, without its seed: the overrides `given`, so that names and descriptions stay
    the same, and one override for each setting that would have another value now."""
    kept = [word for word in given if "${" not in word and _key(word).partition(".")[0] not in SET_ANEW]
    seed = f"{SEED}={wanted.seed}"
    try:
        found = flatten(compose_config([*kept, seed]))
    except ConfigError:  # an option that was removed, or is in a --config-dir
        found = {}
    if not found or found.keys() - flatten(wanted).keys():
        kept, found = [], flatten(compose_config([seed]))
    other = {key: value for key, value in flatten(wanted).items() if key not in found or found[key] != value}
    return (*kept, *(f"{key}={_text(value)}" for key, value in other.items()))


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _text(value: object) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return QuotedString(value, Quote.single).with_quotes() if isinstance(value, str) else repr(value)


def _swept(words: Sequence[Sequence[str]], rows: Sequence[Row]) -> tuple[str, ...]:
    """The seed, and those of the given keys in which the rows of the comparison differ."""
    shown, known = set(rows[0].settings), flatten(Config())
    keys = dict.fromkeys(_key(word) for given in words for word in given)
    return (*(key for key in keys if shown.intersection(swept_settings([key], known))), SEED)
