from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness import cli
from harness.commands import predict as module
from harness.commands.inspect import command as inspect_command
from harness.commands.predict import command
from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.errors import DataError, RequestError
from harness.figures.predictions import CAPTIONS
from tests import forking
from tests.conftest import REPOSITORY, RunCommand
from tests.tracking.stores import new_client
from tests.trained_runs import train
from tests.variants import forget_data, part, write_variant

SUBSET = str(REPOSITORY / "tests" / "data")
Predict = Callable[..., Result]


def invoke(*arguments: str) -> Result:
    """The command's output and error; its expected errors are raised, as `cli.py` sees them."""
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def first_images(name: str, count: int) -> np.ndarray:
    return load_dataset(DatasetConfig(name=name, directory=SUBSET)).test.images[:count]


def enlarged(image: np.ndarray, invert: bool = True) -> Image.Image:
    page = Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC)
    framed = np.pad(np.asarray(page), 30)
    return Image.fromarray(255 - framed if invert else framed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "1", "--image", "a.png"], "--index and --image were given together"),
        (["--index", "1", "--npy", "a.npy"], "--index and --npy were given together"),
        (["another"], "another: give one run"),
        (["--npy", "a.npy", "b.npy"], "b.npy: give one run"),
        (["--index", "-1"], "'-1' is no index. Write 12, 0-14 or"),
        (["--index", "one"], "'one' is no index"),
        (["--index", "1,,2"], "'' is no index"),
        (["--index", "7-3"], "7-3 runs backwards. Write 3-7"),
        (["--index", "0-99999999999999999999"], "is no index"),
        (["--fit", "mnist"], "only image files are fitted"),
        (["--invert"], "test images need no inversion"),
        (["--layout", "grid", "--palette", "blue"], "--layout and --palette: there is no picture to draw"),
        (["--output", "a.jpg"], "Give a name that ends in .png"),
        (["--output", "folder.png"], "is a folder"),
        (["--output", "file/a.png"], "file is not a folder"),
        (["--output", "a.png", "--layout", "single"], "--layout single shows one image, and there are 25"),
        (["--output", "a.png", "--layout", "line", "--index", "0-1"], "--layout line shows one image, and there are 2"),
        (["--output", "a.png", "--columns", "3"], "only a grid has columns, and 25 images are drawn as sheet"),
        (
            ["--output", "a.png", "--captions", "names", "--index", "4"],
            "only a sheet has captions, and 1 image is drawn",
        ),
        (["--output", "a.png", "--index", "0-400"], "401 images are too many for one picture"),
        (["--output", "a.png", "--index", "4", "--layout", "line", "--palette", "blue"], "a line has no colours"),
    ],
)
def test_a_wrong_request_is_refused_before_the_store_is_read(arguments: list[str], message: str, project: Path) -> None:
    Path("folder.png").mkdir()
    Path("file").touch()
    with pytest.raises(RequestError, match=message):
        invoke("latest", *arguments)
    assert not list(project.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RequestError, match="cannot be written to"):
        invoke("latest", "--output", str(tmp_path / "locked" / "a.png"))


def test_the_captions_are_those_that_can_be_drawn() -> None:
    assert tuple(CAPTIONS) == module.CAPTIONS


def test_refusing_imports_neither_tensorflow_nor_mlflow_nor_matplotlib(project: Path) -> None:
    program = (
        "import sys; from harness import cli\n"
        "code = cli.main(['predict', 'latest', '--index', 'x', '--output', 'a.png'])\n"
        "print(code, sorted({'mlflow', 'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The URI of a store for each dataset, with one run trained on the bundled images; both trained side by side."""
    roots = {name: tmp_path_factory.mktemp(name) for name in ("mnist", "fashion_mnist")}
    training = [
        forking.ForkedCommand(
            [str(Path(sys.executable).with_name("harness")), "train", f"dataset={name}", f"dataset.directory={SUBSET}",
             "dataset.test_size=100", "model=mlp_128_128", "regime.epochs=8", "figures=none", "palette=green"],
            cwd=root, env={**os.environ, "HARNESS_ROOT": str(root)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )
        for name, root in roots.items()
    ]  # fmt: skip
    assert [process.wait(timeout=300) for process in training] == [0, 0]
    return {name: f"sqlite:///{root / 'mlflow.db'}" for name, root in roots.items()}


@pytest.fixture
def predict(stores: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """The command on the latest run of a dataset's store, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name, *arguments: invoke("latest", *arguments, "--store", stores[name])


def as_json(predict: Predict, name: str, *arguments: str) -> Any:
    return json.loads(predict(name, *arguments, "--format", "json").stdout)


@pytest.mark.slow
def test_the_first_25_test_images_are_shown_with_their_classes(predict: Predict) -> None:
    shown = predict("fashion_mnist")
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["image", "predicted", "probability", "true", "right?"]
    rows = lines[2:-2]
    assert [row.split()[2] for row in rows] == [str(index) for index in range(25)]
    yes = sum(row.endswith("yes") for row in rows)
    assert lines[-1] == f"{yes} of 25 right"
    assert 12 < yes <= 25
    assert shown.stderr.startswith("Run mlp_128_128")
    assert "of experiment harness: fashion_mnist, test accuracy" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


@pytest.mark.slow
def test_indices_are_taken_in_the_order_given_beyond_those_that_the_run_was_scored_by(predict: Predict) -> None:
    document = as_json(predict, "mnist", "--index", "400,3-5", "--index", "0", "499")
    assert [row["index"] for row in document["predictions"]] == [400, 3, 4, 5, 0, 499]
    labels = load_dataset(DatasetConfig(name="mnist", directory=SUBSET)).test.labels
    assert [row["true"] for row in document["predictions"]] == [int(labels[i]) for i in (400, 3, 4, 5, 0, 499)]
    with pytest.raises(RequestError, match=r"--index 500: mnist has 500 test images\. Choose from 0 to 499"):
        predict("mnist", "--index", "0-500")


@pytest.mark.slow
def test_json_has_the_probabilities_of_all_classes_or_of_the_most_probable(predict: Predict) -> None:
    document = as_json(predict, "fashion_mnist", "--index", "7")
    (row,) = document["predictions"]
    assert document["run_name"].startswith("mlp_128_128")
    assert len(document["run_id"]) == 32
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert list(row["probabilities"])[9] == "Ankle boot"
    assert row["probability"] == max(row["probabilities"].values()) == row["probabilities"][row["predicted_name"]]
    assert row["right"] == (row["predicted"] == row["true"])
    (short,) = as_json(predict, "fashion_mnist", "--index", "7", "--top", "3")["predictions"]
    ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:3]
    assert list(short["probabilities"].items()) == ranked
    assert ", ".join(f"{name} {share:.1%}" for name, share in ranked) in predict(
        "fashion_mnist", "--index", "7", "--top", "3"
    ).stdout  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("mnist", 0.85), ("fashion_mnist", 0.8)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_enlarged_and_negated_test_images_are_taken_for_the_same(
    name: str, least: float, suffix: str, predict: Predict
) -> None:
    files = []
    for number, image in enumerate(first_images(name, 60)):
        files.append(f"{number}.{suffix}")
        enlarged(image).save(files[-1])
    originals = as_json(predict, name, "--index", "0-59")["predictions"]
    pictures = as_json(predict, name, "--image", *files, "--invert")["predictions"]
    assert [row["image"] for row in pictures] == files
    assert all(row["true"] is row["true_name"] is row["right"] is row["index"] is None for row in pictures)
    same = [one["predicted"] == other["predicted"] for one, other in zip(originals, pictures, strict=True)]
    assert np.mean(same) >= least


@pytest.mark.slow
def test_an_array_is_predicted_as_the_test_images_that_it_holds(predict: Predict) -> None:
    np.save("a.npy", first_images("mnist", 30))
    document = as_json(predict, "mnist", "--npy", "a.npy")
    assert [row["image"] for row in document["predictions"][:2]] == ["a.npy[0]", "a.npy[1]"]
    originals = as_json(predict, "mnist", "--index", "0-29")
    for one, other in zip(document["predictions"], originals["predictions"], strict=True):
        assert list(one["probabilities"].values()) == pytest.approx(list(other["probabilities"].values()), abs=1e-6)
    np.save("a.npy", 255 - first_images("mnist", 30))
    turned = as_json(predict, "mnist", "--npy", "a.npy", "--invert")
    assert turned["predictions"] == document["predictions"]
    assert (
        "a.npy[0], a.npy[1], a.npy[2] and 27 more: the background is bright"
        in predict("mnist", "--npy", "a.npy").stderr
    )


@pytest.mark.slow
def test_what_looks_inverted_is_warned_of_and_predicted_as_it_is(predict: Predict) -> None:
    (image,) = first_images("mnist", 1)
    enlarged(image).save("paper.png")
    enlarged(image, invert=False).save("board.png")
    shown = predict("mnist", "--image", "paper.png", "board.png")
    (warning,) = [line for line in shown.stderr.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: paper.png: the background is bright, as if inverted")
    assert "--invert corrects this" in warning
    turned = predict("mnist", "--image", "paper.png", "board.png", "--invert")
    assert "warning: board.png: after --invert the background is bright" in turned.stderr
    assert "paper.png" not in turned.stderr
    one, other = (as_json(predict, "mnist", "--image", *words)["predictions"][0] for words in (
        ["paper.png", "--invert"], ["board.png"],
    ))  # fmt: skip
    assert {**one, "image": ""} == {**other, "image": ""}


@pytest.mark.slow
def test_files_that_cannot_be_used_do_not_stop_the_others(predict: Predict, stores: dict[str, str]) -> None:
    enlarged(first_images("mnist", 1)[0], invert=False).save("good.png")
    Path("bad.png").write_text("no picture")
    words = ["latest", "--store", stores["mnist"], "--image", "bad.png", "good.png", "absent.png"]
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert isinstance(result.exception, DataError)
    lines = str(result.exception).splitlines()
    assert lines[0] == "2 of 3 files could not be used."
    assert lines[1].startswith("  bad.png: it is no picture")
    assert lines[2] == "  absent.png: there is no such file."
    assert "good.png" in result.stdout
    with pytest.raises(RequestError, match=r"2 of 2 files could not be used\.\n  bad\.png: .*\n  absent\.png: "):
        predict("mnist", "--image", "bad.png", "absent.png")
    with pytest.raises(RequestError, match=r"^absent\.png: there is no such file"):
        predict("mnist", "--image", "absent.png")
    with pytest.raises(RequestError, match=r"^bad\.png: it is no \.npy file"):
        predict("mnist", "--npy", "bad.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--index", "8"], ["--index", "0-14"], ["--index", "0-11", "--columns", "4", "--palette", "blue"], [],
        ["--captions", "indices"], ["--index", "8", "--layout", "line"], ["--index", "8", "--layout", "sheet"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_layout_is_drawn_beside_the_table(words: list[str], predict: Predict) -> None:
    shown = predict("fashion_mnist", *words, "--output", "new/picture.png")
    assert shown.stdout == predict("fashion_mnist", *[w for w in words if w in ("--index", "8", "0-14", "0-11")]).stdout
    assert shown.stderr.splitlines()[1:] == ["Wrote new/picture.png"]
    assert [file.name for file in Path("new").iterdir()] == ["picture.png"]
    with Image.open("new/picture.png") as picture:
        assert min(picture.size) > 250
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


@pytest.mark.slow
def test_the_palette_is_the_runs_unless_another_is_named(predict: Predict) -> None:
    pictures = {}
    for name, words in {"own": [], "green": ["--palette", "green"], "safe": ["--palette", "safe"]}.items():
        predict("fashion_mnist", "--index", "0-3", "--output", f"{name}.png", *words)
        pictures[name] = Path(f"{name}.png").read_bytes()
    assert pictures["own"] == pictures["green"] != pictures["safe"]


@pytest.mark.slow
def test_an_array_with_too_many_images_for_the_layout_is_refused_once_it_is_read(predict: Predict) -> None:
    np.save("a.npy", first_images("mnist", 2))
    with pytest.raises(RequestError, match="--layout line shows one image, and there are 2"):
        predict("mnist", "--npy", "a.npy", "--layout", "line", "--output", "a.png")
    assert not Path("a.png").exists()


@pytest.mark.slow
def test_the_real_command_has_the_exit_codes(run_command: RunCommand, stores: dict[str, str], tmp_path: Path) -> None:
    enlarged(first_images("mnist", 1)[0], invert=False).save(tmp_path / "good.png")
    store, good, absent = stores["mnist"], str(tmp_path / "good.png"), str(tmp_path / "absent.png")
    done = run_command("predict", "best", "--store", store, "--image", good, absent, "--format", "json")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["predictions"]) == 1
    assert done.stderr.splitlines()[1:] == [
        "error: 1 of 2 files could not be used.",
        f"  {absent}: there is no such file.",
    ]
    refused = run_command("predict", "best", "--store", store, "--image", absent)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[1:] == [f"error: {absent}: there is no such file."]


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "predict" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_right_and_wrong_are_told_only_of_the_test_images_that_the_run_was_scored_by(tmp_path: Path) -> None:
    uri, _ = new_client(tmp_path)
    whole, folder = load_dataset(DatasetConfig(directory=SUBSET)), tmp_path / "mine"
    data = write_variant(folder, part(whole.train, 0, 200), part(whole.test, 0, 100))
    train(uri, "mine", data, "dataset.test_size=50", "model.hidden=[8]")
    asked = ("mine", "--store", uri)
    assert "of 1 right" in invoke(*asked, "--index", "99").stdout

    shutil.rmtree(folder)
    write_variant(folder, part(whole.train, 200, 400), part(whole.test, 0, 80))
    forget_data()
    assert "of 1 right" in invoke(*asked, "--index", "49").stdout, "these are the same, whatever else is not"
    with pytest.raises(RequestError, match=r"has 50 test images\. Choose from 0 to 49"):
        invoke(*asked, "--index", "50")

    shutil.rmtree(folder)
    write_variant(folder, part(whole.train, 0, 200), part(whole.test, 100, 200))
    forget_data()
    refusal = r"The test images of the folder .* are not those that the run mine .* Or choose pictures of your own with"
    with pytest.raises(RequestError, match=refusal):
        invoke(*asked)
    inspected = CliRunner().invoke(inspect_command, [*asked, "--layer", "all"], standalone_mode=False)
    assert "The test images of the folder" in str(inspected.exception)
    np.save(tmp_path / "own.npy", whole.test.images[:2])
    assert "right?" not in invoke(*asked, "--npy", str(tmp_path / "own.npy")).stdout
    with pytest.raises(RequestError, match=r"--top 11: the model of mine knows 10 classes\. Choose 1 to 10"):
        invoke(*asked, "--top", "11")
