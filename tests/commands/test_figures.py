"""Figures drawn again from a store. That they are those of the run itself is in integration/test_train.py."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness.commands.figures import command
from harness.errors import RequestError
from tests.commands.conftest import Filled
from tests.tracking.stores import record, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

Draw = Callable[..., Result]


@pytest.fixture
def draw(filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """The command in an empty folder; its store has a run called `$one$` that trained epochs 3 and 4, and `bare`."""
    monkeypatch.chdir(tmp_path)
    one = filled.run("$one$")
    for epoch, loss in ((3, 0.9), (4, 0.5)):
        for name in ("fit", "train", "val"):
            filled.client.log_metric(one, f"{name}/loss", loss, step=epoch)
            filled.client.log_metric(one, f"{name}/accuracy", 1 - loss / 2, step=epoch)
    filled.run("bare")

    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(
            command, ["--store", f"sqlite:///{filled.root}/mlflow.db", *arguments], standalone_mode=False
        )  # fmt: skip
        if result.exception is not None:
            raise result.exception
        return result

    return invoke


def test_a_figure_of_a_run_is_drawn_in_the_width_of_a_column(draw: Draw) -> None:
    paper = ("$one$", "learning_curves", "--width", "3.3", "--font-size", "8", "--output", "paper")
    assert draw(*paper, "--dpi", "300").stdout == "Wrote paper/learning_curves.png\n"
    with Image.open("paper/learning_curves.png") as picture:
        assert picture.width == 990
    draw(*paper, "--format", "svg")
    written = Path("paper/learning_curves.svg").read_text()
    texts = re.findall(r">([^<>]+)</text>", written)
    assert {"$one$", "epoch", "validation", "least validation loss: epoch 4"} <= set(texts)
    sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", written)}
    assert 8.0 in sizes
    assert max(sizes) < 10
    draw(*paper, "--format", "pdf")
    page = Path("paper/learning_curves.pdf").read_bytes()
    assert b"/CIDFontType2" in page, "fonts are embedded as text"
    assert b"/Type3" not in page


def test_text_and_marks_grow_with_the_font(draw: Draw) -> None:
    high = []
    for size in ("6", "14"):
        draw("$one$", "learning_curves", "--width", "3.3", "--font-size", size)
        with Image.open("figures/learning_curves.png") as picture:
            high.append(picture.height)
    assert high[0] < high[1]


def test_the_title_can_be_replaced_or_left_out(draw: Draw) -> None:
    draw("$one$", "learning_curves", "--format", "svg", "--title", "")
    assert "$one$" not in Path("figures/learning_curves.svg").read_text()


def test_figures_of_a_sweep_are_those_of_its_report(draw: Draw, filled: Filled) -> None:
    [parent] = filled.sweep("grid")
    for number, model in enumerate(("a", "a", "b", "b")):
        record(
            filled.client, filled.experiment, f"{model} {number}", started=1_770_000_000_000 + number,
            settings={"model.name": model, "seed": number % 2}, metrics=scores(0.9, 0.8 + number / 100),
            tags={"mlflow.parentRunId": parent},
        )  # fmt: skip
    assert draw("grid", "--format", "svg").stdout.split() == [
        "Wrote", "figures/gap_bars.svg", "Wrote", "figures/train_against_held_out.svg",
    ]  # fmt: skip
    assert ">grid</text>" in Path("figures/gap_bars.svg").read_text()
    assert draw("grid", "pareto.png", "gap_bars").stdout.count("Wrote") == 2
    with pytest.raises(RequestError, match="heat_map is no figure of it; there are gap_bars, "):
        draw("grid", "heat_map")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("$one$", "lerning_curves"), "lerning_curves is no figure of it.*Did you mean 'learning_curves'"),
        (("$one$", "learning_curves", "--all"), "learning_curves and --all were given together"),
        (("bare", "learning_curves"), "The run bare .* has recorded no fit/loss by epoch"),
        (("$one$", "confusion_matrix"), "config/config.yaml|has no model"),
        (("nothing",), "'nothing'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(
    draw: Draw, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        draw(*arguments)
    assert not list(tmp_path.glob("figures/*"))


def test_a_file_is_no_folder_for_figures(draw: Draw) -> None:
    Path("taken").write_text("")
    with pytest.raises(RequestError, match="--output taken"):
        draw("$one$", "--output", "taken")


def test_refusing_imports_neither_tensorflow_nor_matplotlib(project: Path) -> None:
    program = (
        "import sys; from harness import cli\n"
        "code = cli.main(['figures', 'latest', 'predictions', '--all'])\n"
        "print(code, sorted({'mlflow', 'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"
