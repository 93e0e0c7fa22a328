from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness import data
from harness.commands.data import command
from harness.config.schema import DatasetConfig
from harness.errors import DataError, RequestError
from tests.dataset.tiny import raw_files, sums, write


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A variant of a few images."""
    folder = write(tmp_path / "small")
    lines = [f"{digest}  {name}\n" for name, digest in sums(raw_files()).items()]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, env={"COLUMNS": "200"})


def test_list_shows_both_datasets_and_their_state(project: Path) -> None:
    result = invoke("list")
    assert result.exit_code == 0
    for words in ("fashion_mnist", "mnist", "60,000 + 10,000", "not fetched"):
        assert words in result.output


def test_list_as_json_is_for_programs(project: Path, tmp_path: Path) -> None:
    rows = json.loads(invoke("list", "--format", "json").output)
    assert [row["name"] for row in rows] == ["fashion_mnist", "mnist"]
    assert rows[0]["classes"][9] == "Ankle boot"
    assert rows[1]["folder"] == str(tmp_path / "cache" / "datasets" / "mnist")


def test_list_reads_sizes_only(project: Path) -> None:
    folder = data.default_root() / "mnist"
    folder.mkdir(parents=True)
    for name, size in data.publication("mnist").bytes_by_file.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)
    states = {row["name"]: row["state"] for row in json.loads(invoke("list", "--format", "json").output)}
    assert states == {"fashion_mnist": "not fetched", "mnist": "in the cache"}


@pytest.mark.parametrize("subcommand", ["fetch", "verify"])
def test_an_unknown_name_is_refused_before_any_work(project: Path, subcommand: str) -> None:
    error = invoke(subcommand, "mnist", "fashion-mnist").exception
    assert isinstance(error, RequestError)
    assert "The datasets are fashion_mnist, mnist. Did you mean 'fashion_mnist'?" in str(error)
    assert not data.default_root().exists()


def test_verify_tells_missing_files(project: Path) -> None:
    result = invoke("verify", "mnist")
    assert isinstance(result.exception, DataError)
    assert result.output.count("missing") >= 4
    assert "harness data fetch" in str(result.exception)


def test_verify_tells_a_damaged_file_from_sound_ones(subset: Path, tmp_path: Path) -> None:
    assert invoke("verify", "--directory", str(subset)).output.count("OK") == 8
    shutil.copytree(subset / "mnist", tmp_path / "mnist")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"scribble")
    result = invoke("verify", "mnist", "--directory", str(tmp_path))
    assert isinstance(result.exception, DataError)
    assert "train-labels-idx1-ubyte cannot be read" in str(result.exception)
    assert result.output.count("OK") == 3


def test_the_group_has_its_subcommands() -> None:
    assert isinstance(command, click.Group)
    assert sorted(command.commands) == ["describe", "fetch", "list", "show", "verify"]


@pytest.mark.parametrize(
    ("arguments", "name", "size"),
    [
        ((), "mnist_train_0.png", (600, 543)),
        (("--split", "test", "--index", "8", "--cmap", "gray_r", "--no-bar"), "mnist_test_8.png", (504, 543)),
        (("--grid", "2x6"), "mnist_train_2x6.png", (972, 419)),
        (("--output", "new/own.PNG"), "new/own.PNG", (600, 543)),
    ],
)
def test_show_draws_an_image_or_a_grid_and_names_the_file(
    project: Path, subset: Path, arguments: tuple[str, ...], name: str, size: tuple[int, int]
) -> None:
    result = invoke("show", "mnist", "--directory", str(subset), *arguments)
    assert result.exception is None, result.exception
    assert result.output == f"Wrote {name}\n"
    with Image.open(name) as picture:
        assert picture.format == "PNG"
        assert picture.size == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("minst",), "'minst' is not a dataset. .* Did you mean 'mnist'"),
        (("mnist", "--index", "2000"), r"--index 2000: mnist has 2,000 training images. Give a number from 0 to 1999"),
        (("mnist", "--index", "-1", "--split", "test"), r"--index -1: mnist has 500 test images"),
        (("mnist", "--index", "1", "--grid", "2x2"), "--index and --grid were given together"),
        (("mnist", "--grid", "5"), "--grid 5: must be ROWSxCOLUMNS, such as 5x5, each from 1 to 20"),
        (("mnist", "--grid", "0x3"), "--grid 0x3: must be"),
        (("mnist", "--grid", "21x3"), "--grid 21x3: must be"),
        (("mnist", "--output", "picture.jpg"), "--output picture.jpg: figures are written as PNG"),
        (("mnist", "--output", "folder.png"), "--output folder.png: is a folder"),
    ],
)
def test_show_refuses_what_it_cannot_draw_and_writes_nothing(
    project: Path, subset: Path, arguments: tuple[str, ...], message: str
) -> None:
    Path("folder.png").mkdir()
    error = invoke("show", *arguments, "--directory", str(subset)).exception
    assert isinstance(error, RequestError)
    assert re.search(message, str(error)), error
    assert [item.name for item in Path.cwd().iterdir()] == ["folder.png"]


def test_a_grid_of_more_images_than_there_are_is_refused(project: Path, small: Path) -> None:
    error = invoke("show", "mnist", "--grid", "9x9", "--directory", str(small)).exception
    assert isinstance(error, RequestError)
    assert re.search(r"--grid 9x9: needs 81, and mnist has \d+ training images", str(error)), error


def test_describe_as_json_says_what_the_guides_print(project: Path, subset: Path) -> None:
    result = invoke("describe", "fashion_mnist", "--directory", str(subset), "--format", "json")
    assert result.exception is None, result.exception
    described = json.loads(result.output)
    shapes = {array["name"]: (array["shape"], array["dtype"], array["length"]) for array in described["arrays"]}
    assert shapes == {
        "train_images": ([2000, 28, 28], "uint8", 2000),
        "train_labels": ([2000], "uint8", 2000),
        "test_images": ([500, 28, 28], "uint8", 500),
        "test_labels": ([500], "uint8", 500),
    }
    held = data.load_dataset(DatasetConfig(name="fashion_mnist", directory=str(subset))).train
    assert described["first_labels"] == held.labels[:10].tolist()
    assert described["one_hot"] == np.eye(10, dtype=int)[held.labels[0]].tolist()
    assert described["before"] == sorted(set(held.images[0].flatten().tolist()))
    assert described["after"] == [value / 255 for value in described["before"]]
    assert described["classes"][9] == "Ankle boot"


def test_standardizing_is_done_in_the_order_of_the_guide(project: Path, subset: Path) -> None:
    arguments = ("describe", "mnist", "--directory", str(subset), "--preprocessing", "standardize")
    described = json.loads(invoke(*arguments, "--format", "json").output)
    held = data.load_dataset(DatasetConfig(name="mnist", directory=str(subset))).train.images
    by_hand = (held[0] - np.mean(held)) / (np.std(held) + 1e-10)
    assert described["after"] == pytest.approx(sorted(set(by_hand.flatten().tolist())), rel=1e-14)
    assert described["background"] == [0, pytest.approx(by_hand[0, 0], rel=1e-14)]


def test_describe_prints_a_table_and_draws_the_values_where_asked(project: Path, subset: Path) -> None:
    result = invoke("describe", "fashion_mnist", "--directory", str(subset), "--output", "values.png")
    assert result.exception is None, result.exception
    for words in ("(2000, 28, 28)", "9 Ankle boot", "First training labels: ", "as one-hot: ", "Wrote values.png"):
        assert words in result.output
    with Image.open("values.png") as picture:
        assert picture.format == "PNG"


def test_a_dataset_is_described_and_shown_without_tensorflow(project: Path, subset: Path) -> None:
    code = (
        "import sys; from harness.cli import main\n"
        f"assert main(['data', 'describe', 'mnist', '--directory', {str(subset)!r}]) == 0\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"assert main(['data', 'show', 'mnist', '--directory', {str(subset)!r}]) == 0\n"
        "assert not {'tensorflow', 'keras', 'mlflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_guide_b_comes_out_to_the_last_digit_but_one_over_all_images() -> None:
    described = json.loads(invoke("describe", "mnist", "--preprocessing", "standardize", "--format", "json").output)
    assert described["background"] == [0, pytest.approx(-0.4240738943910262, rel=1e-15)]
    assert described["brightest"] == [255, pytest.approx(2.8215433456857437, rel=1e-15)]
    assert described["first_labels"] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.mark.slow
def test_fetch_into_a_folder_makes_one_that_runs_can_use(project: Path, tmp_path: Path) -> None:
    result = invoke("fetch", "--directory", str(tmp_path / "carried"))
    assert result.exception is None, result.exception
    assert result.output.count("fetched from") == 2
    assert invoke("fetch", "--directory", str(tmp_path / "carried")).output.count("was there already") == 2
    assert invoke("verify", "--directory", str(tmp_path / "carried")).exit_code == 0


def test_data_of_ones_own_is_described_in_numbers(project: Path) -> None:
    images = np.arange(8 * 9, dtype=np.float64).reshape(8, 3, 3)
    images[5] = images[0]
    labels = np.array(["ant", "bee", "bee", "bee", "ant", "bee", "ant", "bee"])
    np.savez("insects.npz", x_train=images[:6], y_train=labels[:6], x_test=images[[0, 7]], y_test=labels[[1, 7]])
    for words in (["npz"], ["dataset=npz"]):
        described = json.loads(invoke("describe", *words, "dataset.file=insects.npz", "--format", "json").output)
        assert described["name"] == "insects"
        assert described["counts"] == {"train": [2, 4], "test": [0, 2]}
        assert described["values"]["train"] == {"least": 0, "greatest": 44, "mean": images[:6].mean()}
        assert described["duplicates"] == {"train": 1, "test": 1, "pairs": [[0, 0]], "contradicting": 1}
    result = invoke("describe", "npz", "dataset.file=insects.npz", "--output", "insects.png")
    assert result.exception is None, result.exception
    for words in ("(6, 3, 3)  float32", "ant                  2            0", "Values of training images: 0 to 44",
                  "Test images that training has too: 1 (1 of them with another label; test 0 = train 0)"):  # fmt: skip
        assert words in result.output
    with Image.open("insects.png") as picture:
        assert picture.width > picture.height


def test_a_thousand_classes_are_described_in_a_screen(project: Path) -> None:
    loader = "dataset.loader=tests.dataset.loaders:tiny"
    result = invoke("describe", "python", loader, "dataset.options.classes=1000", "--output", "many.png")
    assert result.exception is None, result.exception
    assert len(result.output.splitlines()) < 40
    assert "1,000 classes: 0, 1, 2, 3, 4 ... 998, 999" in result.output
    assert "Training images of a class: 6 to 6, median 6" in result.output
    assert Path("many.png").is_file()


def test_own_images_are_shown_and_vectors_are_not(project: Path) -> None:
    labels = np.array([0, 1] * 10)
    np.savez("pictures.npz", x_train=np.zeros((20, 3, 3), np.uint8), y_train=labels, x_test=np.zeros((2, 3, 3), np.uint8), y_test=[0, 1])  # fmt: skip # noqa: E501
    np.savez("vectors.npz", x_train=np.zeros((20, 3)), y_train=labels, x_test=np.zeros((2, 3)), y_test=[0, 1])
    assert "Wrote pictures_train_2x3.png" in invoke("show", "npz", "dataset.file=pictures.npz", "--grid", "2x3").output
    colours = np.random.default_rng(0).random((20, 4, 6, 3))
    np.savez("colours.npz", x_train=colours, y_train=labels, x_test=colours[:2], y_test=[0, 1])
    assert "Wrote colours_train_3x3.png" in invoke("show", "npz", "dataset.file=colours.npz", "--grid", "3x3").output
    assert "Wrote colours_train_0.png" in invoke("show", "npz", "dataset.file=colours.npz").output
    error = invoke("show", "npz", "dataset.file=vectors.npz").exception
    assert "vectors has vectors of 3 values" in str(error)
    described = invoke("describe", "npz", "dataset.file=vectors.npz").output
    assert ("Values of training rows: 0 to 0" in described, "images that" in described) == (True, False)


def test_loaders_of_installed_packages_are_listed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "offering-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[harness.datasets]\ntiny_pictures = tests.dataset.loaders:tiny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "tiny_pictures                            offered" in invoke("list").output
    assert {"name": "tiny_pictures", "state": "offered", "loader": "tests.dataset.loaders:tiny"} in json.loads(
        invoke("list", "--format", "json").output
    )
