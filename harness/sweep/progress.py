"""What a person sees while runs train: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.tree import Tree

from harness.config import Config
from harness.run import RunResult
from harness.tracking.store import shown_uri


class Display:
    """One run, or the runs of a sweep, as they go. Observes training; prints to `console` (stderr by default)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._epochs_bar: TaskID | None = None
        self._jobs_bar: TaskID | None = None
        self._jobs = 0
        self._job = 0
        self._epochs = 0
        self._started = 0.0

    @contextmanager
    def live(self, jobs: int = 1) -> Iterator[None]:
        """Show bars, on a terminal, while the block lasts; `jobs` above 1 shows one for the whole sweep."""
        self._jobs = jobs
        if not self.console.is_terminal:
            yield
            return
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                   TextColumn("{task.fields[metrics]}"), TimeElapsedColumn(), TimeLeftColumn()]  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as progress:
            self._progress = progress
            if jobs > 1:
                self._jobs_bar = progress.add_task("[bold]sweep", total=jobs, metrics="")
            try:
                yield
            finally:
                self._progress = self._epochs_bar = self._jobs_bar = None

    def show_configuration(self, config: Config) -> None:
        """The resolved configuration as a tree; what is null is left out."""
        self.console.print(_tree(config))

    def run_started(self, name: str) -> None:
        self._job += 1
        self._started = time.perf_counter()
        if self._progress is not None:
            if self._epochs_bar is not None:
                self._progress.remove_task(self._epochs_bar)
            self._epochs_bar = self._progress.add_task(name, total=None, metrics="starting")

    def run_finished(self, result: RunResult) -> None:
        self._line(f"{self._count()}{escape(result.name)}  {_outcome(result.metrics)}  {self._seconds():.1f} s")
        self._finished_job()
        if self._jobs == 1:
            self._line(f"run {result.run_id} in experiment {escape(result.experiment)}")
            self._line(
                f"see it: harness ui    beside others: harness compare --experiment '{escape(result.experiment)}'"
            )

    def run_failed(self, name: str, message: str) -> None:
        self._line(f"[red]{self._count()}{escape(name)}  failed:[/red] {escape(message)}")
        self._finished_job()

    def training_started(self, epochs: int) -> None:
        self._epochs = epochs
        if self._progress is not None and self._epochs_bar is not None:
            self._progress.update(self._epochs_bar, total=epochs, metrics="")
        elif self._jobs == 1:
            self._line("loss and accuracy by epoch: fit = running while the weights move, train = again at its end")

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if self._progress is not None and self._epochs_bar is not None:
            self._progress.update(self._epochs_bar, completed=epoch, metrics=_scores(metrics))
        elif self._jobs == 1:
            count = f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}"
            self._line(f"{count}   {_scores(metrics)}   {metrics['time/epoch_seconds']:.2f} s")

    def training_ended(self, reason: str) -> None:
        if self._jobs == 1 and reason.startswith("stopped"):
            self._line(reason)

    def _line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def _finished_job(self) -> None:
        if self._progress is not None and self._jobs_bar is not None:
            self._progress.update(self._jobs_bar, completed=self._job)

    def _count(self) -> str:
        return rf"\[{self._job:>{len(str(self._jobs))}}/{self._jobs}] " if self._jobs > 1 else ""

    def _seconds(self) -> float:
        return time.perf_counter() - self._started


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
            parts.append(f"gap to {split} {100 * gap:+.2f} points")
    return "  ".join(parts)


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
