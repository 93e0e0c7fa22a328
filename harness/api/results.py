"""What the Python interface returns: `Run`, `Sweep`, `ComparisonTable` and `SweepReport`."""

from __future__ import annotations

import html
import io
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import difference_tables, power_tables
from harness.analysis.comparison import Comparison
from harness.analysis.comparison_table import render
from harness.analysis.differences import Findings
from harness.analysis.power import Power, power
from harness.api.chosen_runs import whole_sweep
from harness.api.comparing import baseline_row, compared, comparison_figures, tested
from harness.api.session import session
from harness.errors import RequestError, suggestion
from harness.records import RunRecord
from harness.tabular import CELL
from harness.tracking.models import run_artifact
from harness.tracking.reading import read_runs, read_series, sweep_runs
from harness.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.reports.content import Report
    from harness.reports.drawing import Drawing
    from harness.run.load import TrainedRun

log = logging.getLogger(__name__)

Shown = Comparison | Findings | Power
_SERIES = ("fit", "train", "val", "optimizer", "time")
_SHOWN = ("train_accuracy", "val_accuracy", "test_accuracy", "gap_val_accuracy", "gap_test_accuracy", "gap_test_loss")


class Run:
    """A run in the store, finished or not.

    Attributes:
        id, name, experiment, state: as in MLflow; `state` is "FINISHED", "FAILED", "KILLED" or "RUNNING".
        settings: every setting by its dotted name (`settings["regime.epochs"]`), with numbers as numbers.
        metrics: the last value of each metric (`metrics["final/gap_test_accuracy"]`), see docs/tracking.md.
    """

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store, self._record = store, record
        self.id, self.name, self.experiment = record.run_id, record.name, record.experiment
        self.state = str(record.state)
        self.settings: dict[str, Any] = {key: typed(value) for key, value in record.parameters.items()}
        self.metrics: dict[str, float] = dict(record.metrics)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each epoch, from 1: `fit/loss`, `train/accuracy`, `val/loss`, ...

        `gap/val_accuracy` is train - val, `gap/val_loss` is val - train: positive means overfitting.
        """
        import pandas as pd

        names = [name for name in self.metrics if name.partition("/")[0] in _SERIES]
        series = read_series(self._store, [self.id], names).get(self.id, {})
        kept = {name: pd.Series(values) for name, values in series.items() if any(step > 0 for step in values)}
        found = pd.DataFrame(kept).sort_index()
        found.index.name = "epoch"
        if "val/loss" in found:
            found["gap/val_accuracy"] = found["train/accuracy"] - found["val/accuracy"]
            found["gap/val_loss"] = found["val/loss"] - found["train/loss"]
        return found

    @property
    def figures(self) -> list[str]:
        """The names that `figure` takes."""
        from harness.figures.builders import BUILDERS

        return [Path(name).stem for name in BUILDERS]

    def figure(self, name: str, title: str | None = None) -> Figure:
        """A figure of this run, drawn from the store. Raises `RequestError` for a name that is not in `figures`."""
        from harness.figures.builders import BUILDERS
        from harness.run.stored_view import StoredView

        builders = {Path(file).stem: build for file, build in BUILDERS.items()}
        check_name(name, builders)
        with session("harness", "figures", self.id, name):
            return builders[name](StoredView(self._store, self._record, title))

    @cached_property
    def _trained(self) -> TrainedRun:
        from harness.run.load import open_run

        with session("harness", "predict", self.id):
            return open_run(self._store, self.id)

    @property
    def model(self) -> Any:
        """The Keras model: images as the dataset has them go in, class probabilities come out."""
        return self._trained.model

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self._trained.class_names

    def predict(self, images: Any) -> Any:
        """The class probabilities (n, classes) of images (n, *image_shape), or of one image (*image_shape).

        The images are as the dataset has them (uint8 pixels, for instance): the model has the preprocessing inside.
        Raises `RequestError` for another shape.
        """
        import numpy as np

        given, shape = np.asarray(images), self._trained.spec.image_shape
        one = given.shape == shape
        if not one and given.shape[1:] != shape:
            raise RequestError(f"Images of the shape {given.shape}: this model takes (n, {str(shape)[1:]}.")
        found = self._trained.probabilities(given[None] if one else given)
        return found[0] if one else found

    def __repr__(self) -> str:
        gap = self.metrics.get("final/gap_val_accuracy", self.metrics.get("final/gap_test_accuracy"))
        said = "" if gap is None else f", gap {100 * gap:+.2f} points"
        return f"<Run {self.name!r} {self.id[:8]} {self.state}{said}>"

    def _repr_html_(self) -> str:
        rows = {"experiment": self.experiment, "id": self.id, "state": self.state}
        for name in _SHOWN:
            if (value := self.metrics.get(f"final/{name}")) is not None:
                rows[name] = f"{value:+.4f}" if name.startswith("gap") else f"{value:.4f}"
        cells = "".join(f"<tr><th>{escaped(key)}</th><td>{escaped(value)}</td></tr>" for key, value in rows.items())
        return f"<table><caption>{escaped(self.name)}</caption>{cells}</table>"


class ComparisonTable:
    """Runs side by side, ranked by overfitting gap, or tested differences between them."""

    def __init__(self, store: Store, compare: Callable[[bool], Comparison], shown: Shown | None = None) -> None:
        """`compare` makes the comparison, with or without what runs predicted for each held-out image."""
        self._store, self._compare = store, compare
        self._shown = compare(False) if shown is None else shown

    @cached_property
    def _whole(self) -> Comparison:
        """The comparison that tests and figures are made from, as those of the commands are."""
        return self._compare(True)

    def to_frame(self) -> pd.DataFrame:
        """The values of `harness compare --format csv`: accuracies and gaps are fractions."""
        import pandas as pd

        return pd.read_csv(io.StringIO(self._rendered("csv")))

    def effect(self, setting: str, baseline: str | None = None) -> ComparisonTable:
        """The effect of a setting, all other settings equal (`harness compare --effect`). Raises `RequestError`."""
        return self._with(tested(self._whole, baseline, setting))

    def differences(self, baseline: str) -> ComparisonTable:
        """All other rows compared with one, with tests (`harness compare --baseline`). Raises `RequestError`."""
        return self._with(tested(self._whole, baseline_row(self._store, self._whole, baseline), None))

    def power(self, points: float) -> ComparisonTable:
        """How many seeds would show a difference of so many points of accuracy (`harness compare --power`)."""
        return self._with(power(self._whole, points / 100))

    @cached_property
    def _figures(self) -> Mapping[str, Drawing]:
        return comparison_figures(self._store, self._whole)

    @property
    def figures(self) -> list[str]:
        """The names that `figure` takes."""
        return list(self._figures)

    def figure(self, name: str, title: str | None = None) -> Figure:
        """A figure of the compared rows. Raises `RequestError` for a name that is not in `figures`."""
        check_name(name, self._figures)
        return self._figures[name].draw(self._whole.title if title is None else title)

    def _with(self, shown: Shown) -> ComparisonTable:
        return ComparisonTable(self._store, self._compare, shown)

    def _rendered(self, form: str) -> str:
        if isinstance(self._shown, Findings):
            return difference_tables.render(self._shown, form)
        return power_tables.render(self._shown, form) if isinstance(self._shown, Power) else render(self._shown, form)

    def __repr__(self) -> str:
        return self._rendered("table").rstrip("\n")

    def _repr_html_(self) -> str:
        return self._rendered(CELL)


class Sweep:
    """A sweep in the store.

    Attributes:
        id, name, experiment: those of the sweep's own run.
    """

    def __init__(self, store: Store, record: RunRecord) -> None:
        self._store, self._record = store, record
        self.id, self.name, self.experiment = record.run_id, record.name, record.experiment

    @property
    def runs(self) -> pd.DataFrame:
        """A row for each run: its name, state, settings and metrics; the index is the run's id."""
        return frame_of(sweep_runs(self._store, self.id))

    def run(self, which: int | str) -> Run:
        """A run by its place in `runs`, its name or its id."""
        found = sweep_runs(self._store, self.id)
        if isinstance(which, int):
            return Run(self._store, found[which])
        chosen = [run for run in found if which in (run.name, run.run_id)]
        if len(chosen) != 1:
            raise RequestError(f"{which!r}: {len(chosen)} runs of {self.name} have this name or id.")
        return Run(self._store, chosen[0])

    @cached_property
    def comparison(self) -> ComparisonTable:
        """The runs side by side, as `harness.compare(sweep)`."""
        chosen = whole_sweep(self._store, self._record)
        return ComparisonTable(self._store, partial(compared, self._store, chosen, log.warning))

    def __repr__(self) -> str:
        found = sweep_runs(self._store, self.id)
        finished = sum(run.state == "FINISHED" for run in found)
        return f"<Sweep {self.name!r} {self.id[:8]}: {finished} of {len(found)} runs finished>"

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


class Search(Sweep):
    """A search in the store: a sweep whose runs are those of its trials."""

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial: its settings, its state, and its means over the seeds. The index is its number.

        `gap` and `accuracy` are those of the validation images, fractions; `suggested_from` are the trials that were
        known when it was suggested.
        """
        import pandas as pd

        with run_artifact(self._store, self._record, "trials.csv") as file:
            return pd.read_csv(file, index_col="trial")

    @property
    def best(self) -> dict[str, Any]:
        """The settings of the best trial; with `search.objective=pareto`, of the most accurate one of the front."""
        found = self.trials[self.trials["state"] == "best"].sort_values("accuracy", ascending=False)
        if found.empty:
            raise RequestError(f"{self.name}: no trial has ended under all of its seeds.")
        settings = found.columns[: list(found.columns).index("state")]
        return {key: found.iloc[0][key] for key in settings}

    def __repr__(self) -> str:
        return f"<Search {self.name!r} {self.id[:8]}: {len(self.trials)} trials>"

    def _repr_html_(self) -> str:
        return str(self.trials.to_html())


class SweepReport:
    """A sweep's report; a notebook shows the page.

    Attributes:
        answer: what the report says, in one line.
        files: where it was written.
    """

    def __init__(self, report: Report, files: Iterable[Path]) -> None:
        self._report = report
        self.answer = report.answer
        self.files = tuple(files)

    @property
    def html(self) -> str:
        """The page."""
        from harness.reports.rendering import html as page

        return page(self._report)

    def __repr__(self) -> str:
        return self.answer

    def _repr_html_(self) -> str:
        return frame(self.html, 720)


def frame_of(runs: Iterable[RunRecord]) -> pd.DataFrame:
    """A row for each run: name, state, settings and metrics; the index is the run's id."""
    import pandas as pd

    rows: list[Mapping[str, Any]] = [
        {
            "run_id": run.run_id, "name": run.name, "experiment": run.experiment, "state": str(run.state),
            "started": run.started, "ended": run.ended, **{key: typed(value) for key, value in run.parameters.items()},
            **run.metrics,
        }
        for run in runs
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("run_id") if rows else pd.DataFrame(index=pd.Index([], name="run_id"))


def read_record(store: Store, run_id: str) -> RunRecord:
    """The run or sweep with this id."""
    [record] = read_runs(store, run_ids=[run_id], include_parents=True)
    return record


def typed(text: str) -> Any:
    """A recorded setting as the value that it was: a number, True, False or None; else the text."""
    known = {"None": None, "True": True, "False": False}
    if text in known:
        return known[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_name(name: str, known: Iterable[str]) -> None:
    """Raise `RequestError` for a figure that there is not."""
    names = list(known)
    if name not in names:
        raise RequestError(f"{name}: there is no such figure; there are {', '.join(names)}.{suggestion(name, names)}")


def escaped(text: object) -> str:
    """Text for HTML."""
    return html.escape(str(text))


def frame(page: str, height: int) -> str:
    """A whole page inside a notebook's cell, where its style and scripts touch nothing else."""
    return (
        f'<iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" style="width: 100%; height: {height}px; '
        'border: 0"></iframe>'
    )
