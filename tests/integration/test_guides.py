"""`harness guides` on all 60,000 images: a guide is consistent with our runs, and a wrong configuration is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.paths import cache_directory
from tests.integration.conftest import NewProject, Project

pytestmark = pytest.mark.slow

SEEDS = ("--seeds", "5")


@pytest.fixture(scope="module")
def project(new_project: NewProject) -> Project:
    return new_project()


@pytest.fixture(scope="module")
def reproduced(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path]:
    """Guide B, as JSON, and the picture of its curves."""
    figure = tmp_path_factory.mktemp("guides") / "curves.png"
    done = guides(project, "B", *SEEDS, "--format", "json", "--figure", str(figure))
    assert done.returncode == 0, done.stderr
    (guide,) = json.loads(done.stdout)["guides"]
    return guide, figure


def guides(project: Project, *words: str):  # type: ignore[no-untyped-def]
    # The whole of MNIST, from the cache of whoever runs the tests (fetched where it is not there yet).
    return project.run("guides", *words, environment={"HARNESS_CACHE": str(cache_directory())})


def test_guide_b_is_consistent_with_our_runs(reproduced: tuple[dict[str, object], Path], project: Project) -> None:
    guide, figure = reproduced
    assert guide["consistent"] is True
    assert "rejected in about 4 % of cases" in guide["verdict"]
    assert guide["parameters"] == {"published": 118_282, "measured": 118_282}
    assert {item["metric"]: item["published"] for item in guide["figures"]} == {
        "final/fit_loss": 0.1432,
        "final/fit_accuracy": 0.9577,
        "final/test_loss": 0.1316,
        "final/test_accuracy": 0.9611,
    }
    assert all(item["inside"] for item in guide["figures"])
    assert [point["epoch"] for point in guide["curves"][0]["epochs"]] == [1, 2, 3]
    assert figure.read_bytes().startswith(b"\x89PNG")
    children = [run for run in project.runs() if run.data.tags["harness.kind"] == "run"]
    assert sorted(run.info.run_id for run in children) == sorted(run["run_id"] for run in guide["runs"])


def test_what_the_store_has_is_not_trained_again(reproduced: tuple[dict[str, object], Path], project: Project) -> None:
    before = len(project.runs())
    done = guides(project, "mnist_128_128", *SEEDS, "--format", "markdown")
    assert done.returncode == 0, done.stderr
    assert len(project.runs()) == before
    assert "| training loss | 0.1432 |" in done.stdout


@pytest.mark.parametrize(
    "wrong", [pytest.param("optimizer.learning_rate=0.02", marks=pytest.mark.long), "dataset.preprocessing=unit_range"]
)
def test_a_wrong_configuration_is_not_taken_for_the_guide(wrong: str, project: Project) -> None:
    done = guides(project, "B", wrong, *SEEDS)
    assert done.returncode == 1
    assert "NOT consistent with one more run of ours: training loss" in done.stdout
    assert "Not consistent with one more run of ours: B (final/fit_loss" in done.stderr


def test_a_run_that_is_missing_is_named_where_nothing_may_be_trained(project: Project) -> None:
    done = guides(project, "E", *SEEDS, "--no-train")
    assert done.returncode == 1
    assert "E fashion_single_128_short: the store has no finished run with seed 0, 1, 2, 3, 4" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("F",), "there is no such guide. The guides are A (fashion_single_128)"),
        (("B", "optimizer.lr=1"), "there is no such setting"),
        (("B", "--figure", "curves.pdf"), "pictures are written as .png"),
        (("B", "--output", "nowhere/x.md"), "there is no folder"),
        (("--seeds", "1"), "1 is not in the range"),
    ],
)
def test_a_wrong_request_is_refused(words: tuple[str, ...], message: str, empty: Project) -> None:
    done = guides(empty, *words)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert empty.runs() == [] if (empty.root / "mlflow.db").exists() else True
