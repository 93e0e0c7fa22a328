"""README.md shows what the demonstration prints, to the letter: the code makes it again from the values of its runs."""

from __future__ import annotations

import io

from rich.console import Console

from harness.analysis.comparison import compare
from harness.analysis.presenting import render
from harness.composing import expand_sweep
from harness.sweep.progress import SweepDisplay
from harness.sweep.run_names import sweep_name
from tests.conftest import REPOSITORY
from tests.demonstration import COMMAND, README, recorded, shown


def test_the_sample_in_the_readme_is_what_the_demonstration_prints() -> None:
    runs, swept = recorded(), expand_sweep(COMMAND).swept
    title = sweep_name(swept, COMMAND)
    console = Console(file=io.StringIO(), highlight=False)
    display = SweepDisplay(console)
    with display.live(title, len(runs)):
        display.show(runs)
    assert isinstance(console.file, io.StringIO)
    table = render(compare(runs, swept=swept, title=title), "table")
    assert shown() == console.file.getvalue() + table, "`make sample` writes it anew"


def test_make_says_what_the_sample_ends_with() -> None:
    last = README.read_text(encoding="utf-8").partition("```\n\nand a figure")[0].splitlines()[-1]
    assert f'@echo "{last}"' in (REPOSITORY / "Makefile").read_text(encoding="utf-8")
