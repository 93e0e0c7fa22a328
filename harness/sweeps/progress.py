"""The display while runs train: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from harness.config.schema import Config
from harness.records import RunRecord, RunState
from harness.run.execute import RunResult
from harness.sweeps import bars
from harness.terminal import console as console_on
from harness.terminal import doing
from harness.tracking.access import shown_uri
from harness.tracking.selection import CONTINUED_EPOCHS, ERROR_TAG, recorded_number
from harness.training import TrainingState

STAGE_COLUMNS: Mapping[str, tuple[float, str]] = {
    **{f"{split}_accuracy": (100.0, "7.2f") for split in ("train", "val", "test")},
    **{f"gap_{split}_accuracy": (100.0, "+8.2f") for split in ("val", "test")},
    **{f"gap_{split}_loss": (1.0, "+9.4f") for split in ("val", "test")},
}
"""The columns printed for each stage: metric, scale, format; 80 columns wide with the names of the stages."""
WITHOUT_LOSSES = 59
"""The columns without the gaps of the loss, for a narrow terminal."""
SPLITS = ("train", "val", "test")
STANDING = {RunState.RUNNING: "running", RunState.FAILED: "failed", RunState.KILLED: "stopped"}


class _Display:
    """Prints to `console` (stderr by default)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console if console is not None else console_on(stderr=True)
        self._bars: bars.Bars | None = None

    def say(self, text: str) -> None:
        """A line for the person who waits."""
        _line(self.console, escape(text))


class RunDisplay(_Display):
    """The display of one run: a training observer."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._bar: bars.ProgressBar | None = None
        self._last = 0
        self._started = 0.0

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show a bar during the block, if the console is a terminal."""
        with bars.live(self.console) as self._bars:
            try:
                yield
            finally:
                self._bars = self._bar = None

    def show_configuration(self, config: Config) -> None:
        """Print the resolved configuration as a tree, on a terminal; null values are left out."""
        if self.console.is_interactive:
            tree = Tree("[bold]configuration")
            _grow(tree, config)
            self.console.print(tree)

    def run_started(self, name: str) -> None:
        self._started = time.perf_counter()
        if self._bars is not None:
            self._bar = self._bars.running[name] = bars.ProgressBar(name, 0)

    def run_finished(self, result: RunResult, option: str = "") -> None:
        """Print the result; `option` is `Store.option`, the store for the printed commands."""
        seconds = time.perf_counter() - self._started
        _parts(self.console, [escape(result.name), *_outcome(result.metrics), f"{seconds:.1f} s"], indent=2)
        lines = stage_lines(result.metrics)
        narrow = self.console.is_terminal and self.console.width < max(map(len, lines), default=0)
        for line in lines:
            _line(self.console, line[:WITHOUT_LOSSES].rstrip() if narrow else line)
        experiment = escape(result.experiment)
        _line(self.console, f"run {result.run_id} in experiment {experiment}")
        option = escape(option)
        others = f"beside others: harness compare --experiment '{experiment}'{option}"
        _parts(self.console, [f"see it: harness ui{option}", others], indent=0)

    def training_started(self, epochs: range) -> None:
        self._last = epochs.stop - 1
        if self._bar is not None:
            self._bar.total, self._bar.done = self._last, epochs.start - 1
        else:
            _line(
                self.console,
                "loss and accuracy by epoch: fit = running while the weights move, train = again at its end",
            )

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if self._bar is not None:
            self._bar.update(epoch, _scores(metrics))
        else:
            count = f"epoch {epoch:>{len(str(self._last))}}/{self._last}"
            _line(self.console, f"{count}   {_scores(metrics)[0]}   {metrics['time/epoch_seconds']:.2f} s")

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None: ...

    def training_ended(self, reason: str) -> None:
        if reason.startswith("stopped"):
            _line(self.console, reason)


class SweepDisplay(_Display):
    """The display of a sweep: a line for each run that ended; on a terminal also a bar for each running run and one for
    the whole sweep."""

    def __init__(self, console: Console | None = None, splits: Sequence[str] = SPLITS) -> None:
        """`splits`: those whose scores are shown."""
        super().__init__(console)
        self._splits = splits
        self._told: dict[str, datetime | None] = {}
        self._earlier: dict[str, datetime | None] = {}
        self._jobs = 0

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Show what the user is waiting for, during the block."""
        return doing(what, self.console)

    @contextmanager
    def live(
        self, title: str, jobs: int | None, before: Sequence[RunRecord] = (), due: int | None = None, reused: int = 0,
        told: str = "", seconds: float | None = None,
    ) -> Iterator[None]:  # fmt: skip
        """Announce the sweep; on a terminal show bars during the block.

        Runs that existed `before`: the finished ones are counted and not printed again; the others are printed when
        they end. `due` is the number of jobs to train, if not all; `reused` is how many finished runs belong to other
        commands. `jobs` is None if nobody knows how many there will be, and `told` says what there will be then.
        `seconds`: no job begins after so many.
        """
        self._jobs = jobs or 0
        self._told = {run.run_id: run.ended for run in before if run.state is RunState.FINISHED}
        self._earlier = {run.run_id: run.ended for run in before if run.state is not RunState.FINISHED}
        _line(self.console, f"{escape(title)}: {told or f'{jobs} runs'}")
        done = len(self._told) - reused
        if jobs is None and done:
            _line(self.console, f"{done} run{'s are' if done > 1 else ' is'} finished already")
        elif before and jobs is not None:
            rest = jobs - len(self._told) if due is None else due
            parts = [f"{done} of {jobs} are finished already"] if done or not reused else []
            parts += [f"{reused} of {jobs} jobs reused"] if reused else []
            _line(self.console, ", ".join([*parts, f"{rest} to do"]))
        with bars.live(self.console) as self._bars:
            if self._bars is not None:
                self._bars.whole = whole = bars.ProgressBar(
                    "sweep", self._jobs, len(self._told), ("starting workers", ""), "bold"
                )
                whole.timed_from = (whole.began, whole.done)
                whole.ends = None if seconds is None else whole.began + seconds
            try:
                yield
            finally:
                self._bars = None

    def show(self, runs: Sequence[RunRecord]) -> None:
        """Update the display from the sweep's runs."""
        for run in sorted(runs, key=lambda run: (run.ended or run.started, run.started)):
            if run.state is RunState.RUNNING:
                self._show_running(run)
                self._earlier.pop(run.run_id, None)
            elif self._told.get(run.run_id, ...) != run.ended and self._earlier.get(run.run_id, ...) != run.ended:
                self._told[run.run_id] = run.ended
                self._show_ended(run)
        if self._bars is not None and self._bars.whole is not None and (standing := _standing(runs)):
            self._bars.whole.update(len(self._told) + sum(map(_share, runs)), standing)

    def _show_running(self, run: RunRecord) -> None:
        self._told.pop(run.run_id, None)  # it ended before, and is being retried
        if self._bars is None:
            return
        bar = self._bars.running.setdefault(run.run_id, bars.ProgressBar(run.name, 0))
        bar.total = _epochs(run)
        if run.epochs:
            bar.update(run.epochs, _scores(run.metrics))

    def _show_ended(self, run: RunRecord) -> None:
        if self._bars is not None:
            self._bars.running.pop(run.run_id, None)
        of = f"/{self._jobs}" if self._jobs else ""
        count = rf"\[{len(self._told):>{max(len(of) - 1, 0)}}{of}] "
        if run.state is RunState.FINISHED:
            seconds = (run.ended - run.started).total_seconds() if run.ended else 0.0
            parts = [f"{count}{escape(run.name)}", *_outcome(run.metrics, self._splits), f"{seconds:.1f} s"]
            _parts(self.console, parts, indent=len(count) - 1)
        elif run.state is RunState.FAILED:
            message = escape(run.tags.get(ERROR_TAG, "no reason was recorded"))
            _line(self.console, f"[red]{count}{escape(run.name)}  failed:[/red] {message}")
        else:
            _line(self.console, f"[yellow]{count}{escape(run.name)}  stopped[/yellow] after {run.epochs} epochs")


def _epochs(run: RunRecord) -> int:
    """The number of epochs that the run will train; 0 until its configuration is recorded."""
    return recorded_number(run, "regime.epochs") + recorded_number(run, CONTINUED_EPOCHS)


def _share(run: RunRecord) -> float:
    """The completed share of a running job, used for the time left; below 1 after the last epoch."""
    return min(run.epochs / max(_epochs(run), 1), 0.9) if run.state is RunState.RUNNING else 0.0


def _standing(runs: Sequence[RunRecord]) -> list[str]:
    """`2 running   1 failed   best val 88.10 % (adam seed=0)`: counts, and the highest held-out accuracy. Several
    wordings, the longest first; empty if there is nothing to show yet."""
    counts = Counter(run.state for run in runs)
    parts = [f"{counts[state]} {word}" for state, word in STANDING.items() if counts[state]]
    wordings = ["   ".join(parts)] if parts else []
    for split in ("val", "test"):
        key = f"final/{split}_accuracy"
        scored = [run for run in runs if run.state is RunState.FINISHED and key in run.metrics]
        if scored:
            best = max(scored, key=lambda run: run.metrics[key])
            score = f"best {split} {100 * best.metrics[key]:.2f} %"
            return ["   ".join([*parts, f"{score} ({best.name})"]), "   ".join([*parts, score]), *wordings, ""]
    return [*wordings, ""] if wordings else []


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _parts(console: Console, parts: Sequence[str], indent: int) -> None:
    """Print the parts in one line; if the terminal is too narrow, in several lines, broken only between parts."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}  {part}"
        if console.is_terminal and Text.from_markup(longer).cell_len > console.width:
            lines.append(" " * indent + part)
        else:
            lines[-1] = longer
    for line in lines:
        _line(console, line)


def _scores(metrics: Mapping[str, float]) -> list[str]:
    """`fit 0.4985 82.41 %   train 0.4431 84.02 %`: loss and accuracy of each split. Five wordings: all; without `fit`;
    accuracies only; only the last accuracy; nothing."""
    splits = [split for split in ("fit", "train", "val") if f"{split}/loss" in metrics]
    ended = [split for split in splits if split != "fit"]
    accuracies = {split: f"{100 * metrics[f'{split}/accuracy']:.2f} %" for split in splits}
    both = {split: f"{split} {metrics[f'{split}/loss']:.4f} {accuracies[split]}" for split in splits}
    short = [f"{split} {accuracies[split]}" for split in ended]
    return ["   ".join(both.values()), "   ".join(both[split] for split in ended), "   ".join(short), *short[-1:], ""]


def _outcome(metrics: Mapping[str, float], splits: Sequence[str] = SPLITS) -> list[str]:
    """`train 91.9 %`, `test 87.9 %`, `gap to test +4.0 points`; the gap to the validation split if there is one."""
    parts = []
    for split in splits:
        if (accuracy := metrics.get(f"final/{split}_accuracy")) is not None:
            parts.append(f"{split} {100 * accuracy:.2f} %")
    for split in splits:
        if (gap := metrics.get(f"final/gap_{split}_accuracy")) is not None:
            parts.append(f"gap to {split} {100 * gap:+z.2f} points")
    return parts


def stage_lines(metrics: Mapping[str, float]) -> list[str]:
    """A table with the last epoch, the best epoch and the kept weights; empty if all have the same weights."""
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


def _grow(tree: Tree, node: Any) -> None:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            _grow(tree.add(f"[bold]{item.name}"), value)
        elif value is not None:
            tree.add(f"{item.name}: [cyan]{escape(shown_uri(str(value)))}[/cyan]")
