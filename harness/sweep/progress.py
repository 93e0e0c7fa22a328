"""What a person sees while runs train: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.tree import Tree

from harness.config import Config
from harness.records import RunRecord, RunState
from harness.run import RunResult
from harness.tracking.access import shown_uri
from harness.tracking.selection import CONTINUED_EPOCHS, ERROR_TAG, recorded_number
from harness.training import TrainingState

STAGE_COLUMNS: Mapping[str, tuple[float, str]] = {
    **{f"{split}_accuracy": (100.0, "7.2f") for split in ("train", "val", "test")},
    **{f"gap_{split}_accuracy": (100.0, "+8.2f") for split in ("val", "test")},
    **{f"gap_{split}_loss": (1.0, "+9.4f") for split in ("val", "test")},
}
"""What is printed of each stage: metric, scale, form; with the names of the stages 80 columns wide."""
STANDING = {RunState.RUNNING: "running", RunState.FAILED: "failed", RunState.KILLED: "stopped"}


class RunDisplay:
    """One run as it goes. Observes training; prints to `console` (stderr by default)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else stderr_console()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._last = 0
        self._started = 0.0

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show a bar, on a terminal, while the block lasts."""
        with _progress(self.console) as self._progress:
            try:
                yield
            finally:
                self._progress = self._bar = None

    def say(self, text: str) -> None:
        """A line for the person who waits."""
        _line(self.console, escape(text))

    def show_configuration(self, config: Config) -> None:
        """The resolved configuration as a tree; what is null is left out."""
        self.console.print(_tree(config))

    def run_started(self, name: str) -> None:
        self._started = time.perf_counter()
        if self._progress is not None:
            self._bar = self._progress.add_task(escape(name), total=None, metrics="starting")

    def run_finished(self, result: RunResult) -> None:
        seconds = time.perf_counter() - self._started
        _line(self.console, f"{escape(result.name)}  {_outcome(result.metrics)}  {seconds:.1f} s")
        for line in stage_lines(result.metrics):
            _line(self.console, line)
        experiment = escape(result.experiment)
        _line(self.console, f"run {result.run_id} in experiment {experiment}")
        _line(self.console, f"see it: harness ui    beside others: harness compare --experiment '{experiment}'")

    def training_started(self, epochs: range) -> None:
        self._last = epochs.stop - 1
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, total=self._last, completed=epochs.start - 1, metrics="")
        else:
            _line(
                self.console,
                "loss and accuracy by epoch: fit = running while the weights move, train = again at its end",
            )

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, completed=epoch, metrics=_scores(metrics))
        else:
            count = f"epoch {epoch:>{len(str(self._last))}}/{self._last}"
            _line(self.console, f"{count}   {_scores(metrics)}   {metrics['time/epoch_seconds']:.2f} s")

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None: ...

    def training_ended(self, reason: str) -> None:
        if reason.startswith("stopped"):
            _line(self.console, reason)


class SweepDisplay:
    """The runs of a sweep as the store shows them: a line for each that ended, on a terminal a bar for each that
    trains and one for the whole. Prints to `console` (stderr by default)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else stderr_console()
        self._progress: Progress | None = None
        self._whole: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._told: dict[str, datetime | None] = {}
        self._earlier: dict[str, datetime | None] = {}
        self._jobs = 0

    def say(self, text: str) -> None:
        """A line for the person who waits."""
        _line(self.console, escape(text))

    @contextmanager
    def live(
        self, title: str, jobs: int, before: Sequence[RunRecord] = (), due: int | None = None, reused: int = 0
    ) -> Iterator[None]:
        """Announce the sweep; show bars, on a terminal, while the block lasts.

        Of the runs that were there `before`, those that finished are counted and not told again; what became of the
        others is told when they end anew. `due` is the number of jobs to be carried out, if not all; `reused` how many
        of the finished runs are not of this sweep.
        """
        self._jobs = jobs
        self._told = {run.run_id: run.ended for run in before if run.state is RunState.FINISHED}
        self._earlier = {run.run_id: run.ended for run in before if run.state is not RunState.FINISHED}
        _line(self.console, f"{escape(title)}: {jobs} runs")
        if before:
            rest = jobs - len(self._told) if due is None else due
            done = len(self._told) - reused
            parts = [f"{done} of {jobs} are finished already"] if done or not reused else []
            parts += [f"{reused} of {jobs} jobs reused"] if reused else []
            _line(self.console, ", ".join([*parts, f"{rest} to do"]))
        with _progress(self.console) as self._progress:
            if self._progress is not None:
                self._whole = self._progress.add_task("[bold]sweep", total=jobs, completed=len(self._told), metrics="")
            try:
                yield
            finally:
                self._progress = self._whole = None
                self._bars.clear()

    def show(self, runs: Sequence[RunRecord]) -> None:
        """Bring the screen up to date with the sweep's runs."""
        for run in sorted(runs, key=lambda run: (run.ended or run.started, run.started)):
            if run.state is RunState.RUNNING:
                self._show_running(run)
                self._earlier.pop(run.run_id, None)
            elif self._told.get(run.run_id, ...) != run.ended and self._earlier.get(run.run_id, ...) != run.ended:
                self._told[run.run_id] = run.ended
                self._show_ended(run)
        if self._progress is not None and self._whole is not None:
            self._progress.update(
                self._whole, completed=len(self._told) + sum(map(_share, runs)), metrics=escape(_standing(runs))
            )

    def _show_running(self, run: RunRecord) -> None:
        self._told.pop(run.run_id, None)  # it ended before, and is tried again
        if self._progress is None:
            return
        if run.run_id not in self._bars:
            self._bars[run.run_id] = self._progress.add_task(escape(run.name), total=None, metrics="starting")
        if run.epochs:
            self._progress.update(
                self._bars[run.run_id], total=_epochs(run), completed=run.epochs, metrics=_scores(run.metrics)
            )

    def _show_ended(self, run: RunRecord) -> None:
        if self._progress is not None and (bar := self._bars.pop(run.run_id, None)) is not None:
            self._progress.remove_task(bar)
        count = rf"\[{len(self._told):>{len(str(self._jobs))}}/{self._jobs}] "
        if run.state is RunState.FINISHED:
            seconds = (run.ended - run.started).total_seconds() if run.ended else 0.0
            _line(self.console, f"{count}{escape(run.name)}  {_outcome(run.metrics)}  {seconds:.1f} s")
        elif run.state is RunState.FAILED:
            message = escape(run.tags.get(ERROR_TAG, "no reason was recorded"))
            _line(self.console, f"[red]{count}{escape(run.name)}  failed:[/red] {message}")
        else:
            _line(self.console, f"[yellow]{count}{escape(run.name)}  stopped[/yellow] after {run.epochs} epochs")


def _epochs(run: RunRecord) -> int:
    return recorded_number(run, "regime.epochs") + recorded_number(run, CONTINUED_EPOCHS)


def _share(run: RunRecord) -> float:
    """How much of a job that trains is done: the time left of a sweep goes by it. Its last epoch is not its end."""
    return min(run.epochs / _epochs(run), 0.9) if run.state is RunState.RUNNING and run.epochs else 0.0


def _standing(runs: Sequence[RunRecord]) -> str:
    """`2 running   1 failed   best val 88.10 % (adam seed=0)`: the highest accuracy on images not trained on."""
    counts = Counter(run.state for run in runs)
    parts = [f"{counts[state]} {word}" for state, word in STANDING.items() if counts[state]]
    for split in ("val", "test"):
        key = f"final/{split}_accuracy"
        scored = [run for run in runs if run.state is RunState.FINISHED and key in run.metrics]
        if scored:
            best = max(scored, key=lambda run: run.metrics[key])
            parts.append(f"best {split} {100 * best.metrics[key]:.2f} % ({best.name})")
            break
    return "   ".join(parts)


def stderr_console() -> Console:
    """Where progress goes."""
    return Console(stderr=True, highlight=False)


@contextmanager
def _progress(console: Console) -> Iterator[Progress | None]:
    """Bars on a terminal, which are gone afterwards; elsewhere None."""
    if not console.is_terminal:
        yield None
        return
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
               TextColumn("{task.fields[metrics]}"), TimeElapsedColumn(), TimeLeftColumn()]  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _scores(metrics: Mapping[str, float]) -> str:
    """`fit 0.4985 82.41 %   train 0.4431 84.02 %`: loss and accuracy of each split that has them."""
    return "   ".join(
        f"{split} {metrics[f'{split}/loss']:.4f} {100 * metrics[f'{split}/accuracy']:.2f} %"
        for split in ("fit", "train", "val")
        if f"{split}/loss" in metrics
    )


def _outcome(metrics: Mapping[str, float]) -> str:
    """`train 91.9 %  test 87.9 %  gap +4.0 points`; the gap to the validation split where there is one."""
    parts = []
    for split in ("train", "val", "test"):
        if (accuracy := metrics.get(f"final/{split}_accuracy")) is not None:
            parts.append(f"{split} {100 * accuracy:.2f} %")
    for split in ("val", "test"):
        if (gap := metrics.get(f"final/gap_{split}_accuracy")) is not None:
            parts.append(f"gap to {split} {100 * gap:+z.2f} points")
    return "  ".join(parts)


def stage_lines(metrics: Mapping[str, float]) -> list[str]:
    """The last epoch, the best one and what was kept, side by side; nothing where they have the same weights."""
    found = {
        stage: [metrics[f"{stage}/{name}"] for name in STAGE_COLUMNS]
        for stage in ("last", "best", "final")
        if f"{stage}/gap_val_loss" in metrics
    }
    if all(values == found["final"] for values in found.values()):
        return []
    rows: dict[str, str] = {
        f"{stage} epoch ({metrics[f'{stage}/epoch']:.0f})" + (", kept" if found[stage] == found["final"] else ""): stage
        for stage in ("last", "best")
        if stage in found
    }
    if not any(label.endswith("kept") for label in rows):
        rows["kept"] = "final"
    lines = [
        f"{'':22}{'accuracy (%)':^21}  {'gap (points)':^14}  {'gap of loss (nats)':^18}",
        f"{'':22}{'train':>7}{'val':>7}{'test':>7}{'val':>8}{'test':>8}{'val':>9}{'test':>9}",
    ]
    for label, stage in rows.items():
        cells = zip(found[stage], STAGE_COLUMNS.values(), strict=True)
        lines.append(f"{label:22}" + "".join(f"{scale * value:{form}}" for value, (scale, form) in cells))
    return lines


def _tree(config: Config) -> Tree:
    tree = Tree("[bold]configuration")
    _grow(tree, config)
    return tree


def _grow(tree: Tree, node: Any) -> None:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            _grow(tree.add(f"[bold]{item.name}"), value)
        elif value is not None:
            tree.add(f"{item.name}: [cyan]{escape(shown_uri(str(value)))}[/cyan]")
