"""The package `figures` as a run uses it."""

import dataclasses
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import matplotlib
import pytest

from harness import figures
from harness.config import schema
from harness.errors import ConfigError
from harness.figures import style
from harness.figures.builders import BUILDERS
from tests.figures import runs
from tests.figures.drawing import colour_of, pixels, texts, texts_beyond_the_edge

VIEW = runs.view()
ALL = (
    "learning_curves.png", "learning_curves_one_panel.png", "training_image.png", "training_images.png",
    "pixel_values.png", "predictions.png", "prediction.png", "prediction_grid_5x3.png", "prediction_grid_4x3.png",
    "probabilities.png", "confident_mistakes.png", "confusion_matrix.png",
)  # fmt: skip
FEW = ("learning_curves.png", "predictions.png", "confusion_matrix.png")


@pytest.mark.parametrize(("selection", "names"), [("none", ()), ("few", FEW), ("all", ALL)])
def test_a_selection_draws_its_figures(selection: str, names: tuple[str, ...]) -> None:
    drawn = dict(figures.run_figures(VIEW, selection))
    assert tuple(drawn) == names
    assert all(pixels(figure).min() < 0.5 for figure in drawn.values())
    for name, figure in drawn.items():
        assert VIEW.title in texts(figure), name
        assert texts_beyond_the_edge(figure) == [], name


@pytest.mark.parametrize("images", [1, 7, 12])
def test_a_run_on_a_few_images_draws_every_figure(images: int) -> None:
    for name, figure in figures.run_figures(runs.view(images, epochs=1, validation=False), "all"):
        assert pixels(figure).min() < 0.5, name
        assert texts_beyond_the_edge(figure) == [], name


def test_a_long_name_of_a_run_is_broken_into_lines_that_fit() -> None:
    view = dataclasses.replace(VIEW, title="mlp_128_128 sgd mnist preprocessing=standardize epochs=3 labels=one_hot")
    for name, figure in figures.run_figures(view, "all"):
        assert texts_beyond_the_edge(figure) == [], name


@pytest.mark.parametrize("palette", schema.PALETTES)
def test_the_palette_colours_right_and_wrong_predictions_of_a_run(palette: str) -> None:
    drawn = dict(figures.run_figures(runs.view(palette=palette), "all"))
    for name in ("predictions.png", "prediction_grid_5x3.png"):
        wrong = {colour_of(drawn[name], text) for text in texts(drawn[name]) if text.startswith("✗")}
        assert wrong == {style.PALETTES[palette].wrong}
    assert colour_of(drawn["prediction.png"], "✓ top 70% (top)") == style.PALETTES[palette].right


def test_every_palette_of_the_setting_has_colours() -> None:
    assert set(style.PALETTES) == set(schema.PALETTES)


def test_every_selected_figure_has_a_builder() -> None:
    assert tuple(BUILDERS) == figures.SELECTIONS["all"]


def test_every_setting_of_figures_is_a_selection() -> None:
    assert set(figures.SELECTIONS) == set(schema.FIGURES)


def test_an_unknown_selection_is_refused_with_the_choices_before_anything_is_drawn() -> None:
    with pytest.raises(ConfigError, match=r"figures=fwe .* none, few, all.*Did you mean 'few'"):
        figures.run_figures(VIEW, "fwe")


def test_importing_the_package_does_not_import_matplotlib() -> None:
    code = "import harness.figures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_leaves_pyplot_and_the_settings_of_the_process_alone() -> None:
    code = (
        # A copy, because reading the backend from the settings themselves imports pyplot.
        "import sys, matplotlib; before = dict(matplotlib.rcParams.copy())\n"
        "from tests.figures.test_figures import VIEW, figures, pixels\n"
        "for name, figure in figures.run_figures(VIEW, 'all'): pixels(figure)\n"
        "assert dict(matplotlib.rcParams.copy()) == before and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_figure_that_was_saved_and_dropped_is_freed() -> None:
    name, figure = next(figures.run_figures(VIEW, "few"))
    pixels(figure)
    remembered = weakref.ref(figure)
    del figure
    gc.collect()
    assert remembered() is None, f"something still holds {name} (matplotlib {matplotlib.__version__})"
