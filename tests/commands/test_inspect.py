"""`harness inspect` on runs that were really trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from harness.commands.inspect import command
from harness.config.schema import DatasetConfig
from harness.data import load_dataset
from harness.errors import RequestError, StoreError
from harness.records import Split
from tests.conftest import REPOSITORY, RunCommand
from tests.trained_runs import train

pytestmark = [
    # MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
    # MLflow's own types, when its `pyfunc` is imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

DATA = REPOSITORY / "tests" / "data"
SMALL = (f"dataset.directory={DATA}", "dataset.train_size=300", "dataset.test_size=100")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the runs `mlp` (24 ReLU units, of logits) and `cnn` (two convolutions, of probabilities)."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_ROOT", str(folder))
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        train(uri, "mlp", *SMALL, "dataset=mnist", "model=mlp", "model.hidden=[24]")
        cnn = ("model=cnn", "model.filters=[3,4]", "model.hidden=[70]", "model.head=softmax")
        train(uri, "cnn", *SMALL, *cnn, "optimizer.learning_rate=0.3")
    return uri


@pytest.fixture(scope="module")
def mnist() -> Split:
    return load_dataset(DatasetConfig(name="mnist", directory=str(DATA))).test


def invoke(uri: str, *arguments: str) -> Result:
    """What the command prints; its expected errors are raised, as `cli.py` sees them."""
    result = CliRunner().invoke(command, ["--store", uri, *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def document(uri: str, *arguments: str) -> Any:
    return json.loads(invoke(uri, *arguments, "--format", "json").stdout)


@pytest.mark.slow
def test_alone_it_lists_the_layers(uri: str) -> None:
    result = invoke(uri, "mlp")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["hidden_1", "Dense", "(None,", "24)", "18,840"] in lines
    assert "19,090 parameters: 19,090 trainable, 0 not trainable" in result.stdout
    assert result.stderr.startswith("Run mlp (")
    assert "--layer all" in result.stderr
    found = document(uri, "mlp")
    assert found["parameters"] == {"total": 19_090, "trainable": 19_090, "not_trainable": 0}
    assert [layer["name"] for layer in found["layers"]] == [
        "pixels", "preprocessing", "flatten", "hidden_1", "hidden_1_relu", "output", "probabilities"
    ]  # fmt: skip
    assert found["layers"][3]["output_shape"] == [24]
    assert (found["run_name"], found["dataset"]) == ("mlp", "mnist")


@pytest.mark.slow
def test_all_layers_are_shown_for_a_test_image(uri: str, mnist: Split) -> None:
    found = document(uri, "cnn", "--layer", "all", "--index", "3")
    layers = {layer["name"]: layer for layer in found["layers"]}
    fashion = load_dataset(DatasetConfig(directory=str(DATA))).test
    assert layers["pixels"]["mean"] == pytest.approx(fashion.images[3].mean())
    assert (found["image"]["index"], found["image"]["true"]) == (3, int(fashion.labels[3]))
    assert layers["output"]["max"] == pytest.approx(found["image"]["probability"], abs=1e-5)
    assert layers["pooling_2"]["output_shape"] == [7, 7, 4]
    assert layers["convolution_1_relu"]["min"] == 0.0
    assert found["test_images"] == len(fashion)
    hidden = layers["hidden_1_relu"]
    assert set(hidden["dead"]["units"]) <= set(hidden["off"]["units"])
    assert hidden["dead"]["share"] == pytest.approx(hidden["dead"]["count"] / 70)
    assert hidden["dead"]["count"] > 0, "a learning rate of 0.3 kills units"
    assert layers["hidden_1"]["dead"] is None
    assert "values" not in hidden
    table = invoke(uri, "cnn", "--index", "3").stdout
    assert f"{hidden['dead']['count']} of 70 ({hidden['dead']['share']:.0%})" in table
    assert "not a ReLU" in table
    assert f"0 for each of the {len(fashion):,} test images" in table


@pytest.mark.slow
def test_one_layer_gives_its_values_and_says_where_its_activation_is(uri: str, mnist: Split) -> None:
    found = document(uri, "mlp", "--layer", "preprocessing")
    np.testing.assert_allclose(found["layers"][0]["values"], mnist.images[0] / 255, atol=1e-6)
    sums, after = (document(uri, "mlp", "--layer", name)["layers"][0] for name in ("hidden_1", "hidden_1_relu"))
    np.testing.assert_allclose(np.maximum(sums["values"], 0), after["values"], atol=1e-6)
    assert after["off"]["units"] == [unit for unit, value in enumerate(after["values"]) if value == 0]
    assert "--layer hidden_1_relu" in invoke(uri, "mlp", "--layer", "hidden_1").stdout


@pytest.mark.slow
def test_an_image_file_and_an_array_give_what_the_test_image_gives(uri: str, mnist: Split, tmp_path: Path) -> None:
    Image.fromarray(mnist.images[5]).save(tmp_path / "five.png")
    Image.fromarray(255 - mnist.images[5]).save(tmp_path / "inverted.png")
    np.save(tmp_path / "five.npy", mnist.images[5])
    layer = ("mlp", "--layer", "hidden_1")
    expected = document(uri, *layer, "--index", "5")
    for arguments in (
        ("--image", "five.png"),
        ("--image", "inverted.png", "--invert"),
        ("--npy", "five.npy"),
    ):
        found = document(uri, *layer, arguments[0], str(tmp_path / arguments[1]), *arguments[2:])
        assert found["layers"] == expected["layers"], arguments
        assert (found["image"]["index"], found["image"]["true"]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [("cnn",), ("mlp", "--layer", "all", "--index", "1"), ("cnn", "--layer", "pooling_1"), ("cnn", "--weights")],
)
def test_the_picture_is_drawn_where_it_was_asked_for(uri: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "new" / "layers.png"
    result = invoke(uri, *arguments, "--output", str(file))
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert result.stderr.splitlines()[-1] == f"Wrote {file}"
    assert [item.name for item in file.parent.iterdir()] == [file.name]


@pytest.mark.slow
def test_weights_are_listed_by_layer(uri: str) -> None:
    found = document(uri, "cnn", "--weights")["weights"]
    assert [(each["layer"], each["shape"]) for each in found] == [
        ("convolution_1", [3, 3, 1, 3]), ("convolution_2", [3, 3, 3, 4]), ("hidden_1", [196, 70]), ("output", [70, 10])
    ]  # fmt: skip
    assert "(3, 3, 1, 3)" in invoke(uri, "cnn", "--weights").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mlp", "--layer", "hiden_1"], r"no layer 'hiden_1'.*pixels, .*Did you mean 'hidden_1'\?"),
        (["mlp", "--index", "1000000"], r"--index 1000000: mnist has [\d,]+ test images. Choose from 0 to"),
        (["mlp", "--image", "nowhere.png"], r"nowhere.png: there is no such file"),
        (["nonesuch"], "nonesuch"),
    ],
)
def test_a_wrong_request_is_refused(uri: str, arguments: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        invoke(uri, *arguments)


@pytest.mark.slow
def test_an_array_of_several_images_is_refused(uri: str, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(RequestError, match=r"it holds 2 images\. Save one of them"):
        invoke(uri, "mlp", "--npy", str(tmp_path / "two.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "1", "--image", "a.png"], "--index and --image were given together"),
        (["--weights", "--layer", "hidden_1"], "Use it by itself"),
        (["--weights", "--index", "1"], "Use it by itself"),
        (["--index", "1", "--invert"], "--invert: test images are as they must be"),
        (["--fit", "mnist"], "only image files are fitted"),
        (["--output", "a.jpg"], "ends in .png"),
    ],
)
def test_contradictions_are_refused_before_the_store_is_looked_at(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        invoke(f"sqlite:///{tmp_path / 'mlflow.db'}", "latest", *arguments)
    with pytest.raises(StoreError):
        invoke(f"sqlite:///{tmp_path / 'mlflow.db'}", "latest")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_refused_index_costs_no_start_of_tensorflow(uri: str) -> None:
    program = (
        "import sys\nfrom harness.commands.inspect import command\n"
        f"try:\n    command(['mlp', '--store', {uri!r}, '--index', '123456'], standalone_mode=False)\n"
        "except Exception as error:\n    print(error)\n"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    refusal, imported = done.stdout.splitlines()
    assert refusal.startswith("--index 123456")
    assert imported == "[]"


@pytest.mark.slow
def test_the_real_command_answers_with_its_exit_codes(uri: str, run_command: RunCommand) -> None:
    shown = run_command("inspect", "cnn", "--store", uri, "--layer", "convolution_1_relu")
    assert shown.returncode == 0, shown.stderr
    assert "(None, 28, 28, 3)" in shown.stdout
    assert "tensorflow" not in shown.stderr.lower()
    refused = run_command("inspect", "cnn", "--store", uri, "--layer", "nonesuch")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Traceback" not in refused.stderr
