"""What a person sees while runs train."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from harness.composing import compose_config
from harness.records import RunRecord, RunState
from harness.run.execute import RunResult
from harness.sweeps.progress import RunDisplay, SweepDisplay, stage_lines

EPOCH = {"fit/loss": 0.5, "fit/accuracy": 0.8, "train/loss": 0.4, "train/accuracy": 0.85, "time/epoch_seconds": 1.25}
FINAL = {"final/train_accuracy": 0.9, "final/test_accuracy": 0.86, "final/gap_test_accuracy": 0.04}
RESULT = RunResult("0123abcd", "cnn [draft] seed=0", "studies", FINAL)
START = datetime(2026, 11, 21, tzinfo=UTC)


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=terminal, width=160, highlight=False), screen


def go_through_a_run(shown: RunDisplay) -> None:
    with shown.live():
        shown.run_started(RESULT.name)
        shown.training_started(range(1, 11))
        shown.epoch_ended(1, EPOCH)
        shown.epoch_ended(2, EPOCH | {"val/loss": 0.6, "val/accuracy": 0.75})
        shown.training_ended("stopped early after epoch 2 of 10")
        shown.run_finished(RESULT)


def run(name: str, state: RunState = RunState.RUNNING, epochs: int = 0, error: str | None = None) -> RunRecord:
    return RunRecord(
        run_id=f"id of {name}",
        name=name,
        experiment_id="1",
        experiment="studies",
        state=state,
        started=START,
        ended=None if state is RunState.RUNNING else START + timedelta(seconds=3.25),
        parameters={"regime.epochs": "10"},
        metrics=FINAL if state is RunState.FINISHED else EPOCH if epochs else {},
        tags={} if error is None else {"harness.error": error},
        epochs=epochs,
    )


def test_without_a_terminal_a_run_is_told_in_plain_lines() -> None:
    where, screen = console()
    go_through_a_run(RunDisplay(where))
    lines = screen.getvalue().splitlines()
    assert lines[1] == "epoch  1/10   fit 0.5000 80.00 %   train 0.4000 85.00 %   1.25 s"
    assert lines[2] == "epoch  2/10   fit 0.5000 80.00 %   train 0.4000 85.00 %   val 0.6000 75.00 %   1.25 s"
    assert lines[3] == "stopped early after epoch 2 of 10"
    assert lines[4].startswith("cnn [draft] seed=0  train 90.00 %  test 86.00 %  gap to test +4.00 points  ")
    assert lines[5] == "run 0123abcd in experiment studies"
    assert "harness compare --experiment 'studies'" in lines[6]
    assert "\x1b" not in screen.getvalue()


def stage(name: str, train: float, epoch: int) -> dict[str, float]:
    """A model that gets 80 % of the validation and test images right, and `train` of its own."""
    scores = {"train_accuracy": train, "val_accuracy": 0.8, "test_accuracy": 0.8}
    gaps = {f"gap_{split}_accuracy": train - 0.8 for split in ("val", "test")}
    losses = {f"gap_{split}_loss": 10 * train for split in ("val", "test")}
    return {f"{name}/{key}": value for key, value in ({"epoch": epoch} | scores | gaps | losses).items()}


def test_weights_that_score_otherwise_are_told_apart() -> None:
    lines = stage_lines(stage("last", 0.95, 12) | stage("best", 0.9, 7) | stage("final", 0.9, 0))
    assert lines[2:] == [
        "last epoch (12)         95.00  80.00  80.00  +15.00  +15.00  +9.5000  +9.5000",
        "best epoch (7), kept    90.00  80.00  80.00  +10.00  +10.00  +9.0000  +9.0000",
    ]
    assert max(map(len, lines)) <= 80
    lines = stage_lines(stage("last", 0.95, 12) | stage("best", 0.9, 7) | stage("final", 0.85, 0))
    assert [line[:22].strip() for line in lines[2:]] == ["last epoch (12)", "best epoch (7)", "kept"]
    lines = stage_lines(stage("last", 0.95, 12) | stage("best", 0.9, 7) | stage("final", 0.95, 0))
    assert [line[:22].strip() for line in lines[2:]] == ["last epoch (12), kept", "best epoch (7)"]


def test_nothing_is_told_apart_where_the_last_epoch_is_the_best_or_no_epoch_is() -> None:
    assert stage_lines(stage("last", 0.95, 12) | stage("best", 0.95, 12) | stage("final", 0.95, 0)) == []
    assert stage_lines(FINAL) == []


def test_on_a_terminal_a_bar_is_drawn_and_gone_in_the_end() -> None:
    where, screen = console(terminal=True)
    go_through_a_run(RunDisplay(where))
    said = screen.getvalue()
    assert "━" in said
    assert "epoch  1/10" not in said, "the bar replaces the lines"
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l") > -1, "the cursor is back"
    assert "train 90.00 %" in said


def test_the_bar_goes_when_the_run_breaks() -> None:
    where, screen = console(terminal=True)
    shown = RunDisplay(where)

    def work() -> None:
        with shown.live():
            shown.run_started("a run")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_without_a_terminal_a_sweep_has_a_line_for_each_run_that_ended_and_tells_it_once() -> None:
    where, screen = console()
    shown = SweepDisplay(where)
    with shown.live("sweep of [seed]", 12):
        shown.show([run("first"), run("second", epochs=3)])
        shown.show([run("first", RunState.FINISHED, 10), run("second", epochs=4)])
        shown.show([run("first", RunState.FINISHED, 10), run("second", RunState.FAILED, 4, "no [luck] at all")])
        shown.show(
            [run("first", RunState.FINISHED, 10), run("second", RunState.FAILED, 4), run("3", RunState.KILLED, 2)]
        )
    assert screen.getvalue().splitlines() == [
        "sweep of [seed]: 12 runs",
        "[ 1/12] first  train 90.00 %  test 86.00 %  gap to test +4.00 points  3.2 s",
        "[ 2/12] second  failed: no [luck] at all",
        "[ 3/12] 3  stopped after 2 epochs",
    ]


def test_a_line_that_is_wider_than_the_terminal_is_broken_between_scores() -> None:
    screen = io.StringIO()
    shown = SweepDisplay(
        Console(file=screen, force_terminal=True, force_interactive=False, width=50, color_system=None)
    )
    with shown.live("sweep of seed", 12):
        shown.show([run("a run", RunState.FINISHED, 10)])
    assert screen.getvalue().splitlines()[1:] == [
        "[ 1/12] a run  train 90.00 %  test 86.00 %",
        "        gap to test +4.00 points  3.2 s",
    ]


def test_what_had_finished_before_is_counted_once_and_what_is_tried_again_is_told_anew() -> None:
    where, screen = console()
    shown = SweepDisplay(where)
    done, failed = run("done", RunState.FINISHED, 10), run("failed", RunState.FAILED, 4, "no luck")
    later = START + timedelta(seconds=60)
    with shown.live("sweep of seed", 3, [done, failed], 2):
        shown.show([done, failed])
        shown.show([done, run("failed", epochs=2), run("new", RunState.FAILED, 1, "died")])
        shown.show([done, replace(run("failed", RunState.FINISHED, 10), ended=later), run("new", epochs=2)])
        shown.show([done, replace(run("failed", RunState.FINISHED, 10), ended=later), run("new", RunState.FAILED, 3)])
    assert [line[:24] for line in screen.getvalue().splitlines()] == [
        "sweep of seed: 3 runs",
        "1 of 3 are finished alre",
        "[2/3] new  failed: died",
        "[2/3] failed  train 90.0",
        "[3/3] new  failed: no re",
    ]


def test_the_bar_of_a_sweep_says_how_it_stands() -> None:
    where, screen = console(terminal=True)
    shown = SweepDisplay(where)
    good = replace(run("good", RunState.FINISHED, 10), metrics=FINAL | {"final/test_accuracy": 0.9})
    with shown.live("sweep of seed", 9):
        shown.show([run("plain", RunState.FINISHED, 10), good, run("broken", RunState.FAILED), run("third", epochs=5)])
        where.print()  # which draws again
        said = screen.getvalue()
    assert "1 running   1 failed   best test 90.00 % (good)" in said
    assert "3/9" in said


def test_on_a_terminal_a_sweep_has_a_bar_for_each_run_at_work_and_one_for_the_whole() -> None:
    where, screen = console(terminal=True)
    shown = SweepDisplay(where)
    with shown.live("sweep of seed", 3):
        shown.show([run("first", epochs=7), run("second")])
        where.file.flush()
        where.print()  # which draws again
        said = screen.getvalue()
        shown.show([run("first", RunState.FINISHED, 10), run("second", epochs=1)])
    for words in ("first", "7/10", "fit 0.5000 80.00 %", "second", "starting", "0/3"):
        assert words in said, words
    assert "[1/3] first" in screen.getvalue()
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l") > -1, "the cursor is back"


def test_the_configuration_is_a_tree_of_what_is_set_without_the_password() -> None:
    where, screen = console(terminal=True)
    RunDisplay(where).show_configuration(compose_config(["optimizer=sgd", "tracking.uri='http://ann:hush@host'"]))
    said = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "├── optimizer\n│   ├── name: sgd\n" in said
    assert "hidden: [128]" in said
    assert "beta_1" not in said, "null in this optimizer"
    assert "uri: http://host" in said
    where, screen = console()
    RunDisplay(where).show_configuration(compose_config([]))
    assert screen.getvalue() == "", "not into a pipe or a file"
