"""The studies of `experiments/` by their real command, each cut down to two values, one seed and few images."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import SMALL, NewProject, Outcome

pytestmark = pytest.mark.slow

CUT = {
    "capacity": ("model.width=8,16", "regime.epochs=2"),
    "train_size": (
        "dataset.train_size=200,400",
        "regime.epochs='${harness_epochs:16,${dataset.train_size},${regime.batch_size}}'",
    ),
    "label_noise": ("dataset.label_noise=0,0.9", "regime.epochs=2"),
}


@pytest.fixture(scope="module", params=CUT)
def study(request: pytest.FixtureRequest, new_project: NewProject) -> tuple[str, Outcome]:
    project = new_project()
    small = [word for word in SMALL if not CUT[request.param][0].startswith(word.partition("=")[0])]
    words = (*small, "figures=none", "regime.validation.size=200", *CUT[request.param], "seed=0")
    return request.param, Outcome(project, project.run("sweep", f"experiments={request.param}", *words))


def test_a_study_runs_to_its_table(study: tuple[str, Outcome]) -> None:
    name, outcome = study
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert outcome.done.stdout.startswith(f"{name}: ")
    assert ": 2 runs, 2 configurations" in outcome.done.stdout
    assert [child.info.status for child in outcome.children] == ["FINISHED", "FINISHED"]


def test_a_study_has_an_experiment_of_its_own_in_the_store(study: tuple[str, Outcome]) -> None:
    name, outcome = study
    kept = {outcome.project.client().get_experiment(run.info.experiment_id).name for run in outcome.children}
    assert kept == {name}


def test_what_a_study_sweeps_is_what_differs_in_its_runs(study: tuple[str, Outcome]) -> None:
    name, outcome = study
    setting, _, values = CUT[name][0].partition("=")
    assert [json.loads(child.data.params[setting]) for child in outcome.children] == json.loads(f"[{values}]")
    if name == "train_size":
        assert [child.data.params["regime.epochs"] for child in outcome.children] == ["4", "2"]
        assert [len(_series(outcome, job)) for job in (0, 1)] == [4, 2]
    if name == "label_noise":
        assert [child.data.metrics["data/noisy_labels"] for child in outcome.children] == [0, 540]


def test_a_study_has_gaps_to_both_held_out_splits(study: tuple[str, Outcome]) -> None:
    for child in study[1].children:
        assert {"final/gap_val_accuracy", "final/gap_test_accuracy", "final/gap_test_loss"} <= set(child.data.metrics)


def _series(outcome: Outcome, job: int) -> list[float]:
    run = outcome.children[job]
    return [point.value for point in outcome.project.client().get_metric_history(run.info.run_id, "gap/accuracy")]
