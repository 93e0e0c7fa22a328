"""What a person sees while runs train."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.composing import compose_config
from harness.run import RunResult
from harness.sweep.progress import Display

EPOCH = {"fit/loss": 0.5, "fit/accuracy": 0.8, "train/loss": 0.4, "train/accuracy": 0.85, "time/epoch_seconds": 1.25}
RESULT = RunResult(
    "0123abcd",
    "cnn [draft] seed=0",
    "studies",
    {"final/train_accuracy": 0.9, "final/test_accuracy": 0.86, "final/gap_test_accuracy": 0.04},
)


def display(terminal: bool = False) -> tuple[Display, io.StringIO]:
    screen = io.StringIO()
    return Display(Console(file=screen, force_terminal=terminal, width=160, highlight=False)), screen


def go_through_a_run(shown: Display, jobs: int) -> None:
    with shown.live(jobs):
        shown.run_started(RESULT.name)
        shown.training_started(10)
        shown.epoch_ended(1, EPOCH)
        shown.epoch_ended(2, EPOCH | {"val/loss": 0.6, "val/accuracy": 0.75})
        shown.training_ended("stopped early after epoch 2 of 10")
        shown.run_finished(RESULT)


def test_without_a_terminal_a_run_is_told_in_plain_lines() -> None:
    shown, screen = display()
    go_through_a_run(shown, jobs=1)
    lines = screen.getvalue().splitlines()
    assert lines[1] == "epoch  1/10   fit 0.5000 80.00 %   train 0.4000 85.00 %   1.25 s"
    assert lines[2] == "epoch  2/10   fit 0.5000 80.00 %   train 0.4000 85.00 %   val 0.6000 75.00 %   1.25 s"
    assert lines[3] == "stopped early after epoch 2 of 10"
    assert lines[4].startswith("cnn [draft] seed=0  train 90.00 %  test 86.00 %  gap to test +4.00 points  ")
    assert lines[5] == "run 0123abcd in experiment studies"
    assert "harness compare --experiment 'studies'" in lines[6]
    assert "\x1b" not in screen.getvalue()


def test_without_a_terminal_a_sweep_has_a_line_for_each_job() -> None:
    shown, screen = display()
    with shown.live(12):
        shown.run_started(RESULT.name)
        shown.training_started(10)
        shown.epoch_ended(1, EPOCH)
        shown.run_finished(RESULT)
        shown.run_started("other")
        shown.run_failed("other", "no [luck] at all")
    first, second = screen.getvalue().splitlines()
    assert first.startswith("[ 1/12] cnn [draft] seed=0  train 90.00 %")
    assert second == "[ 2/12] other  failed: no [luck] at all"


@pytest.mark.parametrize("jobs", [1, 2])
def test_on_a_terminal_a_bar_is_drawn_and_gone_in_the_end(jobs: int) -> None:
    shown, screen = display(terminal=True)
    go_through_a_run(shown, jobs)
    said = screen.getvalue()
    assert "━" in said
    assert "epoch  1/10" not in said, "the bar replaces the lines"
    assert ("sweep" in said) == (jobs > 1)
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l") > -1, "the cursor is back"
    assert "train 90.00 %" in said


def test_the_bar_goes_when_the_run_breaks() -> None:
    shown, screen = display(terminal=True)

    def work() -> None:
        with shown.live():
            shown.run_started("a run")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_the_configuration_is_a_tree_of_what_is_set_without_the_password() -> None:
    shown, screen = display()
    shown.show_configuration(compose_config(["optimizer=sgd", "tracking.uri='http://ann:hush@host'"]))
    said = screen.getvalue()
    assert "├── optimizer\n│   ├── name: sgd\n" in said
    assert "hidden: [128]" in said
    assert "beta_1" not in said, "null in this optimizer"
    assert "uri: http://host" in said
