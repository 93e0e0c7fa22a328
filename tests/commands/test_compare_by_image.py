"""`harness compare --by-image` and `--power`, on a real store whose runs kept their predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import RequestError
from harness.records import Predictions
from harness.tracking.predictions_file import FILE, write_predictions
from harness.tracking.selection import PREDICTIONS_TAG
from tests.commands.test_compare import START, as_json, invoke
from tests.tracking.stores import new_client, new_study, record, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

IMAGES = 40


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two models under three seeds that kept their predictions, and an experiment whose runs kept none."""
    folder = tmp_path_factory.mktemp("store")
    uri, client = new_client(folder)
    study, old = new_study(client, folder), new_study(client, folder, "old")
    labels, rng = np.arange(IMAGES) % 10, np.random.default_rng(0)
    for place, model in enumerate(("mlp_128", "cnn")):
        for seed in range(3):
            right = rng.random(IMAGES) < 0.6 + 0.3 * place
            right[[7, 9]] = False
            predicted = np.where(right, labels, (labels + 1) % 10).astype(np.uint8)
            run = record(
                client, study, f"{model} {seed}", started=START + 10 * place + seed,
                settings={"model.name": model, "seed": seed},
                metrics={**scores(0.95, float(right.mean())), "data/test_images": IMAGES},
                tags={PREDICTIONS_TAG: FILE},
            )  # fmt: skip
            kept = Predictions(labels.astype(np.uint8), predicted, (1 - right).astype(np.float16))
            write_predictions(folder / FILE, {"test": kept})
            client.log_artifact(run, str(folder / FILE))
            record(client, old, model, started=START + seed, settings={"model.name": model}, metrics=scores(0.95, 0.9))
    return uri


def test_images_that_all_runs_miss_are_shown_with_the_names_of_the_classes(uri: str) -> None:
    found = as_json(uri, "--experiment", "study", "--by-image")
    assert (found["runs"], found["images"], found["configurations"]) == (6, IMAGES, 2)
    missed = {of["index"]: (of["class"], of["answered_class"]) for of in found["missed_by_all"]}
    assert missed[7] == ("Sneaker", "Bag")
    assert missed[9] == ("Ankle boot", "T-shirt/top")
    assert found["differences"] == []


def test_a_baseline_is_held_to_image_by_image(uri: str) -> None:
    [found] = as_json(uri, "--experiment", "study", "--by-image", "--baseline", "model=mlp_128")["differences"]
    rows = {row["settings"]["model.name"]: row["scores"] for row in as_json(uri, "--experiment", "study")["rows"]}
    expected = rows["cnn"]["test_accuracy"]["mean"] - rows["mlp_128"]["test_accuracy"]["mean"]
    assert found["difference"] == pytest.approx(expected)
    assert found["more"] + found["less"] + found["equal"] == IMAGES
    [one] = as_json(uri, "mlp_128 0", "cnn 0", "--by-image", "--baseline", "mlp_128 0")["differences"]
    assert (one["test"], one["n"], one["n_baseline"]) == ("mcnemar", 1, 1)


def test_the_form_follows_the_output(uri: str, tmp_path: Path) -> None:
    for file, begin in (("a.csv", "index,label,class,"), ("a.json", "{"), ("a.md", "**Experiment study"),
                        ("a.tex", "% Needs"), ("a.html", "<!DOCTYPE html>")):  # fmt: skip
        invoke(uri, "--experiment", "study", "--by-image", "--output", str(tmp_path / file))
        assert (tmp_path / file).read_text().startswith(begin)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + IMAGES


def test_power_rests_on_the_spread_of_the_runs_and_names_the_floor_of_their_images(uri: str) -> None:
    found = json.loads(invoke(uri, "--experiment", "study", "--power", "2.5", "--format", "json"))
    assert (found["difference"], found["runs"], found["rows"], found["degrees"]) == (0.025, 6, 2, 2)
    assert found["fewest"] > 2
    assert found["held_out_images"] == IMAGES
    assert found["floor"] is None or found["floor"] > 0
    assert "seeds show 2.5 points" in invoke(uri, "--experiment", "study", "--power", "2.5").replace("\n  ", " ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--experiment old --by-image", "none of these runs kept what it answers for each test image"),
        ("--experiment study --by-image --effect model", "Use one of them"),
        ("--experiment study --by-image --baseline resnet", "--baseline resnet: no row"),
        ("--experiment study --power 1 --by-image", "Leave out --baseline, --effect and --by-image"),
        ("--experiment study --power 1 --baseline cnn", "Leave out --baseline, --effect and --by-image"),
    ],
)
def test_a_request_that_has_no_answer_is_refused(uri: str, words: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        invoke(uri, *words.split(), "--output", str(tmp_path / "x.json"))
    assert not (tmp_path / "x.json").exists()
