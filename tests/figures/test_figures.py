"""The package as a run uses it."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import matplotlib
import pytest

from harness import config, figures
from harness.errors import ConfigError
from tests.figures import runs
from tests.figures.drawing import pixels

TEST_SPLIT = runs.split()
ARGUMENTS = (runs.history(4, validation=True), runs.evaluation(TEST_SPLIT), TEST_SPLIT, runs.CLASSES, "a run")


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("none", []),
        ("few", ["learning_curves.png"]),
        ("all", ["learning_curves.png", "predictions.png", "confusion_matrix.png"]),
    ],
)
def test_a_selection_draws_its_figures(selection: str, names: list[str]) -> None:
    drawn = dict(figures.run_figures(*ARGUMENTS, selection))
    assert list(drawn) == names
    assert all(pixels(figure).min() < 0.5 for figure in drawn.values())


def test_every_setting_of_figures_is_a_selection() -> None:
    assert set(figures.SELECTIONS) == set(config.FIGURES)


def test_an_unknown_selection_is_refused_with_the_choices_before_anything_is_drawn() -> None:
    with pytest.raises(ConfigError, match=r"figures=fwe .* none, few, all.*Did you mean 'few'"):
        figures.run_figures(*ARGUMENTS, "fwe")


def test_importing_the_package_does_not_import_matplotlib() -> None:
    code = "import harness.figures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_leaves_pyplot_and_the_settings_of_the_process_alone() -> None:
    code = (
        # A copy, because reading the backend from the settings themselves imports pyplot.
        "import sys, matplotlib; before = dict(matplotlib.rcParams.copy())\n"
        "from tests.figures.test_figures import ARGUMENTS, figures, pixels\n"
        "for name, figure in figures.run_figures(*ARGUMENTS, 'all'): pixels(figure)\n"
        "assert dict(matplotlib.rcParams.copy()) == before and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_figure_that_was_saved_and_dropped_is_freed() -> None:
    name, figure = next(figures.run_figures(*ARGUMENTS, "few"))
    pixels(figure)
    remembered = weakref.ref(figure)
    del figure
    gc.collect()
    assert remembered() is None, f"something still holds {name} (matplotlib {matplotlib.__version__})"
