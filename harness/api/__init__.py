"""The Python interface. `import harness` offers all of it (see docs/python.md); the commands work in the same way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.analysis.comparison import Comparison
from harness.analysis.metric_names import Naming
from harness.api.chosen_runs import check_csv, choose, whole_experiment, whole_sweep, with_csv
from harness.api.comparing import compared, demanded, reported
from harness.api.given_arrays import words_for
from harness.api.overrides import overrides as as_overrides
from harness.api.results import ComparisonTable, Run, Search, Sweep, SweepReport, frame_of, read_record
from harness.api.session import session, training_session
from harness.errors import RequestError
from harness.tracking.models import find_run, find_sweep
from harness.tracking.reading import cached_reads, read_runs
from harness.tracking.selection import is_sweep
from harness.tracking.store import Store, open_store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Data = tuple[tuple[Any, Any], tuple[Any, Any]]
"""Arrays, or what NumPy makes arrays of: ((x_train, y_train), (x_test, y_test))."""
Named = str | Run | Sweep
"""What names runs: a run's or a sweep's id or name, `latest`, `best`, or what this interface has returned."""

__all__ = [
    "ComparisonTable",
    "Run",
    "Search",
    "Sweep",
    "SweepReport",
    "compare",
    "load",
    "report",
    "runs",
    "search",
    "sweep",
    "train",
]


def train(
    *overrides: str, data: Data | None = None, callbacks: Sequence[Any] = (), store: str | Path | None = None,
    **settings: Any,
) -> Run:  # fmt: skip
    """Train one run, as `harness train` does, and return it.

    Args:
        overrides: Hydra's, as on the command line.
        data: ((x_train, y_train), (x_test, y_test)), as Keras's own datasets are: images (n, *shape), labels (n,). They
            are kept in the project's folder `arrays/`.
        callbacks: Keras callbacks that are added to those of the configuration.
        store: the MLflow store; by default MLFLOW_TRACKING_URI, else the project's own.
        settings: further settings with Python values; a section is a dictionary. `model` may be a function of a module,
            as `model.builder` is.

    Raises:
        harness.errors.HarnessError: with the message that the command prints.

    Example:
        >>> run = harness.train("model=mlp_128", "debug=tiny", seed=1, regime={"epochs": 2})
        >>> run.state, len(run.history)
        ('FINISHED', 2)
    """
    others = [*as_overrides(overrides, settings), *_stored_in(store)]
    with words_for(data, others) as words, training_session("harness", "train", *words):
        from harness.sweeps.launch import train_run

        opened, run_id = train_run(words, callbacks)
        return Run(opened, read_record(opened, run_id))


def sweep(*overrides: str, data: Data | None = None, store: str | Path | None = None, **settings: Any) -> Sweep:
    """Train a run for each combination of values, as `harness sweep` does; the same call resumes an interrupted sweep.

    A list, a range or a tuple has the values to try. The other arguments are those of `train`.

    Raises:
        harness.errors.HarnessError: with the message that the command prints; `SweepFailed` if runs have failed.

    Example:
        >>> sweep = harness.sweep("debug=tiny", "model=mlp_128,mlp_300_100", seed=range(2), figures="none")
        >>> len(sweep.runs)
        4
    """
    others = [*as_overrides(overrides, settings, sweeps=True), *_stored_in(store)]
    with words_for(data, others) as words, training_session("harness", "sweep", *words):
        from harness.sweeps.launch import train_sweep

        opened, parent_id = train_sweep(words, lambda comparison: None)
        return Sweep(opened, read_record(opened, parent_id))


def search(*overrides: str, data: Data | None = None, store: str | Path | None = None, **settings: Any) -> Search:
    """Search for the best configuration within a budget, as `harness search` does; the same call resumes it.

    A list, a range or a tuple has the values to choose from; intervals are texts, and `search` has the budget. The
    other arguments are those of `train`.

    Raises:
        harness.errors.HarnessError: with the message that the command prints.

    Example:
        >>> found = harness.search(
        ...     "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "debug=tiny", model=["mlp_128", "mlp_300_100"],
        ...     regime={"validation": {"strategy": "stratified", "size": 200}},
        ...     search={"trials": 2, "seeds": 2, "confirm": 0}, figures="none",
        ... )
        >>> len(found.trials), sorted(found.best)
        (2, ['model', 'optimizer.learning_rate'])
    """
    others = [*as_overrides(overrides, settings, sweeps=True), *_stored_in(store), "hydra/sweeper=optuna"]
    with words_for(data, others) as words, training_session("harness", "search", *words):
        from harness.sweeps.launch import train_sweep

        opened, parent_id = train_sweep(words, lambda comparison: None)
        return Search(opened, read_record(opened, parent_id))


def compare(
    *what: Named,
    experiment: str | None = None,
    runs: Iterable[Named] = (),
    csv: str | Path | Sequence[str | Path] = (),
    baseline: str | None = None,
    effect: str | None = None,
    at: Literal["final", "last", "best"] = "final",
    interval: Literal["seeds", "seeds+images"] = "seeds",
    replicates: str | None = None,
    min_accuracy: float | str | None = None,
    within: float | str | None = None,
    pareto: bool = False,
    sort: str | None = None,
    descending: bool = False,
    metrics: Mapping[str, str] | None = None,
    group_by: Sequence[str] = (),
    store: str | Path | None = None,
) -> ComparisonTable:
    """Runs side by side, ranked by overfitting gap, as `harness compare` shows them.

    Args:
        what: sweeps and runs, or what names them; by default the latest sweep.
        experiment: all runs of this experiment.
        runs: the same as `what`, as a list.
        csv: files of external runs, a row a run or an epoch; the store is not read if nothing else is named.
        baseline: compare every other row with this one; with `effect`, the value to compare the others with.
        effect: the effect of this setting, all other settings equal.
        at: with the final weights of each run, those of the last epoch, or those of the smallest validation loss.
        interval, replicates, min_accuracy, within, pareto, sort, descending: see docs/comparing.md.
        metrics: for external runs, their names of `train`, `held_out`, `train_loss` and `held_out_loss`.
        group_by: for external runs, the parameters that tell rows apart.

    Raises:
        harness.errors.RequestError: there are no such runs, or they cannot be compared in this way.

    Example:
        >>> table = harness.compare("latest")
        >>> sorted(table.to_frame()["model.name"])
        ['mlp_128', 'mlp_300_100']
    """
    named = [_name(each) for each in (*what, *runs)]
    files = [Path(file) for file in ([csv] if isinstance(csv, str | Path) else csv)]
    naming = _naming(metrics, group_by)
    given = next((each._store for each in (*what, *runs) if isinstance(each, Run | Sweep)), None)
    with session("harness", "compare", *named):
        opened = given if given is not None and store is None else _open(store)
        if files:
            check_csv(interval)
            chosen = with_csv(opened, named, experiment, None, files, naming, at)
        else:
            with cached_reads(opened):
                chosen = choose(opened, named, experiment, None)

        def compare_with(predictions: bool) -> Comparison:
            return compared(
                opened, chosen, log.warning, predictions and not files, naming=naming, stage=at, interval=interval,
                replicates=replicates, sort_by=sort, ascending=not descending,
                demand=demanded(min_accuracy, within), only_front=pareto,
            )  # fmt: skip

        table = ComparisonTable(opened, compare_with)
        if effect is not None:
            return table.effect(effect, baseline)
        return table if baseline is None else table.differences(baseline)


def runs(experiment: str | None = None, store: str | Path | None = None) -> pd.DataFrame:
    """A row for each run of an experiment, or of the whole store: name, state, settings and metrics.

    Example:
        >>> harness.runs(experiment="harness")["state"].unique().tolist()
        ['FINISHED']
    """
    with session("harness", "list"):
        opened = _open(store)
        with cached_reads(opened):
            if experiment is not None:
                return frame_of(whole_experiment(opened, experiment).runs)
            return frame_of([] if opened.is_missing else read_runs(opened))


def load(name: str, store: str | Path | None = None) -> Run | Sweep:
    """The run or sweep that `name` names: an id, the beginning of one, a name, `latest`, `best`, a registered model.

    Raises:
        harness.errors.RequestError: it names nothing, or several runs.

    Example:
        >>> harness.load("best").state
        'FINISHED'
    """
    with session("harness", "list"):
        opened = _open(store)
        record = find_run(opened, name)
        return Sweep(opened, record) if is_sweep(record) else Run(opened, record)


def report(
    sweep: Named | None = None, output: str | Path | None = None, baseline: str | None = None,
    store: str | Path | None = None,
) -> SweepReport:  # fmt: skip
    """Write a sweep's report, by default the latest's, and store it with the sweep's run, as `harness report` does.

    Args:
        output: also write this file, .html or .md.
        baseline: the row that others are compared with.

    Raises:
        harness.errors.RequestError: there is no such sweep, or the file cannot be written.

    Example:
        >>> harness.report().answer.startswith("No")
        True
    """
    from harness.reports import saving

    target = None if output is None else Path(output)
    if target is not None:
        saving.check_target(target)
    name = sweep if isinstance(sweep, str) else None if sweep is None else sweep.id
    with session("harness", "report", *([name] if name else [])):
        opened = sweep._store if isinstance(sweep, Run | Sweep) and store is None else _open(store)
        parent = find_sweep(opened, name or "latest")
        chosen = whole_sweep(opened, parent)
        words = [parent.run_id, *(["--baseline", baseline] if baseline else [])]
        made = reported(opened, chosen, parent, log.warning, baseline=baseline, words=words)
        files = [] if target is None else saving.write(made, target)
        saving.save(opened, parent.run_id, made)
        return SweepReport(made, files)


def _name(named: Named) -> str:
    if isinstance(named, Run | Sweep):
        return named.id
    if isinstance(named, str):
        return named
    raise RequestError(
        f"A value of the type {type(named).__name__} names no run. Give runs, sweeps, or their names or ids as text."
    )


def _stored_in(store: str | Path | None) -> list[str]:
    return [] if store is None else as_overrides([], {"tracking.uri": _uri(store)})


def _uri(store: str | Path) -> str:
    return f"sqlite:///{store.resolve()}" if isinstance(store, Path) else store


def _open(store: str | Path | None) -> Store:
    opened = open_store(None if store is None else _uri(store))
    opened.await_answer()
    return opened


def _naming(metrics: Mapping[str, str] | None, group_by: Sequence[str]) -> Naming:
    known = ("train", "held_out", "train_loss", "held_out_loss")
    if wrong := set(metrics or ()) - set(known):
        raise RequestError(f"metrics={dict(metrics or {})}: {min(wrong)} is none of {', '.join(known)}.")
    train_accuracy, held_out_accuracy, train_loss, held_out_loss = ((metrics or {}).get(name) for name in known)
    return Naming(train_accuracy, held_out_accuracy, train_loss, held_out_loss, tuple(group_by))
