"""Vectors, colours, floating-point numbers and many classes get what MNIST gets, on real data that nobody here made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_images

import harness
from harness.commands import export, figures, inspect, predict
from harness.errors import ConfigError, HarnessError, NoPicture, RequestError

pytestmark = [
    pytest.mark.slow,  # TensorFlow takes seconds to import
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),  # MLflow's own
]


def vectors() -> tuple[Any, Any]:
    found = load_breast_cancer()
    return found.data.astype(np.float32), found.target


def floats() -> tuple[Any, Any]:
    found = load_digits()
    return found.images.astype(np.float32)[:400], found.target[:400]


def colours() -> tuple[Any, Any]:
    """Patches of two photographs."""
    patches = [
        photo[row : row + 16, column : column + 16]
        for photo in load_sample_images().images
        for row in range(0, 400, 32)
        for column in range(0, 600, 32)
    ]
    return np.array(patches), np.repeat([0, 1], len(patches) // 2)


def many() -> tuple[Any, Any]:
    """300 made classes, more than a byte can number."""
    labels = np.arange(1_200) % 300
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 6), np.uint8)
    return images[labels], labels


KINDS = {made.__name__: made for made in (vectors, floats, colours, many)}


@pytest.fixture(scope="module", params=sorted(KINDS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Run]:
    root = tmp_path_factory.mktemp(request.param)
    order = np.random.default_rng(0).permutation
    images, labels = KINDS[request.param]()
    places = np.arange(len(labels)) if request.param == "many" else order(len(labels))  # every class in both splits
    train, test = places[: -len(places) // 4], places[-len(places) // 4 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_ROOT", str(root))
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield harness.train(
            "model.hidden=[8]", "regime.epochs=2", "engine=keras", dataset={"preprocessing": "standardize"},
            data=((images[train], labels[train]), (images[test], labels[test])), figures="all",
            tracking={"run_name": request.param},
        )  # fmt: skip


def answer(command: Any, *words: str) -> Result:
    """The result of a command; its expected error is raised."""
    done = CliRunner().invoke(command.command, words)
    if isinstance(done.exception, HarnessError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def test_figures_are_drawn_and_those_that_make_no_sense_are_left_out(run: harness.Run, tmp_path: Path) -> None:
    done = answer(figures, run.id, "--all", "--output", str(tmp_path))
    drawn = {file.stem for file in tmp_path.glob("*.png")}
    assert {"learning_curves", "confusion_matrix", "probabilities"} <= drawn
    assert ("predictions" in drawn) == (run.name != "vectors")
    assert ("pixel_values" in drawn) == (run.name == "many")
    assert all(f"Left out: {name}." in done.output for name in set(run.figures) - drawn)
    for file in tmp_path.glob("*.png"):
        with Image.open(file) as picture:
            assert max(picture.size) < 2_500, file.name
    if run.name == "vectors":
        with pytest.raises(NoPicture, match="vectors of 30 features"):
            run.figure("predictions")


def test_test_images_are_predicted(run: harness.Run) -> None:
    found = json.loads(answer(predict, run.id, "--format", "json", "--index", "0-9").stdout)["predictions"]
    assert len(found) == 10
    assert all(0 <= each["probability"] <= 1 for each in found)


def test_a_picture_of_vectors_is_refused_before_anything_is_predicted(run: harness.Run, tmp_path: Path) -> None:
    if run.name == "vectors":
        for layout in ("grid", "sheet", "single"):
            with pytest.raises(NoPicture, match="vectors of 30 features"):
                answer(predict, run.id, "--layout", layout, "--index", "0", "--output", str(tmp_path / "no.png"))
    words = ("--index", "0", "--layout", "line", "--output", str(tmp_path / "line.png"))
    assert "line.png" in answer(predict, run.id, *words).output


def test_arrays_of_ones_own_are_predicted(run: harness.Run, tmp_path: Path) -> None:
    images, _ = KINDS[run.name]()
    np.save(tmp_path / "own.npy", images[:3])
    found = json.loads(answer(predict, run.id, "--npy", str(tmp_path / "own.npy"), "--format", "json").stdout)
    expected = run.predict(images[:3])
    assert [each["probability"] for each in found["predictions"]] == pytest.approx(expected.max(axis=1), abs=1e-5)
    np.save(tmp_path / "wrong.npy", images[:3, :5])
    with pytest.raises(RequestError, match="its shape is"):
        answer(predict, run.id, "--npy", str(tmp_path / "wrong.npy"))


def test_a_picture_is_scaled_or_refused(run: harness.Run, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)).save(picture)
    if run.name in ("vectors", "floats"):
        with pytest.raises(RequestError, match=r"--image: the data of the run are .* Give an array"):
            answer(predict, run.id, "--image", str(picture))
    else:
        assert "picture.png" in answer(predict, run.id, "--image", str(picture)).output


def test_layers_are_shown_and_weights_drawn_where_they_see_pixels(run: harness.Run, tmp_path: Path) -> None:
    assert "hidden_1" in answer(inspect, run.id, "--layer", "all").output
    file = tmp_path / "weights.png"
    if run.name == "vectors":
        with pytest.raises(NoPicture, match="not the pixels of an image"):
            answer(inspect, run.id, "--weights", "--output", str(file))
    else:
        answer(inspect, run.id, "--weights", "--output", str(file))
        assert file.exists()


def test_an_export_says_what_goes_in(run: harness.Run, tmp_path: Path) -> None:
    images, _ = KINDS[run.name]()
    answer(export, run.id, str(tmp_path / "export"))
    said = json.loads((tmp_path / "export" / "about.json").read_text())["input"]
    assert said["shape"] == [None, *images.shape[1:]]
    assert said["dtype"] == run.settings["data.dtype"] == str(images.dtype)
    assert ("range" in said) == (images.dtype == np.uint8)


@pytest.mark.parametrize("word", ["model=cnn", "model.shift=1", "model.flip=true"])
def test_what_only_pictures_have_is_refused_for_vectors(word: str, project: Path) -> None:
    images, labels = vectors()
    with pytest.raises(ConfigError, match="vectors of 30 features"):
        harness.train(word, data=((images[:400], labels[:400]), (images[400:], labels[400:])))
    assert list(project.rglob("*.npz")) == [], "the arrays of a refused call are not kept"
