"""README.md shows exactly what the demonstration prints, shortened: the code makes it again from stored values."""

from __future__ import annotations

import io

from rich.console import Console

from harness.analysis.comparison import compare
from harness.analysis.comparison_table import render
from harness.composing import expand_sweep
from harness.sweeps.progress import SweepDisplay
from harness.sweeps.run_names import sweep_name
from tests.conftest import REPOSITORY
from tests.demonstration import COMMAND, README, SAMPLE, recorded, shortened, shown


def test_the_sample_in_the_readme_is_what_the_demonstration_prints() -> None:
    runs, swept = recorded(), expand_sweep(COMMAND).swept
    title = sweep_name(swept, COMMAND)
    console = Console(file=io.StringIO(), highlight=False)
    display = SweepDisplay(console)
    with display.live(title, len(runs)):
        display.show(runs)
    assert isinstance(console.file, io.StringIO)
    table = render(compare(runs, swept=swept, title=title), "table")
    assert shown() == shortened(console.file.getvalue() + table), "`make sample` writes it again"


def test_make_prints_the_last_line_of_the_sample() -> None:
    found = SAMPLE.search(README.read_text(encoding="utf-8"))
    assert found is not None
    last = found[2].splitlines()[-1]
    assert f'@echo "{last}"' in (REPOSITORY / "Makefile").read_text(encoding="utf-8")
