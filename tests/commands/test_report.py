from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from harness.commands.report import command
from harness.errors import HarnessError, RequestError, StoreError
from harness.tracking.selection import PREDICTIONS_TAG
from tests.tracking.stores import new_client, new_study, record, record_sweep, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

START = 1_700_000_000_000


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with a finished sweep of two models, one run of which failed; `uri` is its URI."""
    folder = tmp_path_factory.mktemp("store")
    uri, client = new_client(folder)
    study = new_study(client, folder)
    found = {"uri": uri, "sweep": record_sweep(client, study, "grid", started=START, swept=["model", "seed"])}
    for number, (model, gap) in enumerate((("a", 0.01), ("b", 0.05))):
        for seed in range(4):
            broken = (model, seed) == ("b", 3)
            found[f"{model} {seed}"] = record(
                client, study, f"{model} {seed}", started=START + 4 * number + seed,
                settings={"model.name": model, "seed": seed}, state="FAILED" if broken else "FINISHED",
                metrics={} if broken else scores(0.9 + seed / 1000, 0.9 - gap + seed * number / 3000),
                tags={"mlflow.parentRunId": found["sweep"]} | ({"harness.error": "it burnt"} if broken else {}),
            )  # fmt: skip
    return found


def invoke(uri: str, *arguments: str) -> Result:
    """The command's outcome; its expected errors are raised, as `cli.py` sees them."""
    result = CliRunner().invoke(command, ["--store", uri, *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_the_latest_sweep_is_reported_and_kept_with_its_run(ids: dict[str, str]) -> None:
    done = invoke(ids["uri"])
    assert done.stdout.startswith("model b rather than a overfits more")
    client = MlflowClient(ids["uri"])
    kept = {item.path for item in client.list_artifacts(ids["sweep"])}
    assert {"report.html", "report.md", "report_figures"} <= kept
    text = Path(client.download_artifacts(ids["sweep"], "report.md")).read_text()
    named = re.findall(r"\]\(report_figures/(\w+\.png)\)", text)
    assert named
    figures = {item.path for item in client.list_artifacts(ids["sweep"], "report_figures")}
    assert figures == {f"report_figures/{name}" for name in named}
    assert "it burnt" in text
    assert client.get_run(ids["sweep"]).info.status == "FINISHED", "as it was"


def test_markdown_has_its_figures_beside_it_and_nothing_else_is_written(ids: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "new" / "study.md"
    done = invoke(ids["uri"], ids["sweep"][:12], "--no-log", "--output", str(target))
    assert f"Wrote {target}" in done.stderr
    assert {path.name for path in target.parent.iterdir()} == {"study.md", "study_figures"}
    named = re.findall(r"\]\(study_figures/(\w+\.png)\)", target.read_text())
    assert {path.name for path in (tmp_path / "new" / "study_figures").iterdir()} == set(named)


def test_an_experiment_is_reported_to_a_file(ids: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "study.html"
    invoke(ids["uri"], "--experiment", "study", "--baseline", "model=b", "--output", str(target))
    page = target.read_text()
    assert "a rather than b" in page
    assert f"harness report --experiment study --baseline model=b --output {target}" in page


def test_a_missing_file_of_predictions_is_mentioned_and_the_report_still_made(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = new_study(client, tmp_path)
    sweep = record_sweep(client, study, "grid", started=START, swept=["model", "seed"])
    for number, model in enumerate("ab"):
        for seed in range(3):
            record(
                client, study, f"{model} {seed}", started=START + 4 * number + seed,
                settings={"model.name": model, "seed": seed},
                metrics={**scores(0.9 + seed / 1000, 0.8 + seed * number / 3000), "data/test_images": 400.0},
                tags={"mlflow.parentRunId": sweep, PREDICTIONS_TAG: "predictions.npz"},
            )  # fmt: skip
    done = invoke(uri, "--no-log", "--output", str(tmp_path / "report.md"))
    assert "Intervals over images of their rows rest on the formula p (1 - p) / N" in done.stderr
    assert "The predictions of the run a 0" in done.stderr
    text = (tmp_path / "report.md").read_text()
    assert "the formula p (1 - p) / N stands in, p being the accuracy on N images" in text
    assert "| with other images |" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-log"], "--no-log leaves nowhere for the report to go. Add --output"),
        (["--experiment", "study"], "there is no sweep to store the report with"),
        (["grid", "--experiment", "study", "--output", "a.html"], "use one of them"),
        (["--output", "a.pdf"], r"Give a name that ends in \.html or \.md"),
        (["a 0"], "is no sweep. Name a sweep, or every run of an experiment: --experiment study"),
        (["grid", "--baseline", "nothing"], "no row of this comparison is called so"),
        (["nothing"], "No run in the store"),
    ],
)
def test_a_wrong_request_is_refused_with_what_to_do(
    ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=message):
        invoke(ids["uri"], *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_or_one_without_a_sweep_is_refused(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    record(client, new_study(client, tmp_path), "single", started=START, metrics=scores(0.9, 0.8))
    with pytest.raises(RequestError, match="There is no sweep to report yet"):
        invoke(uri)
    with pytest.raises(StoreError, match="does not exist"):
        invoke(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_cannot_be_written_is_a_wrong_request(ids: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        invoke(ids["uri"], "--no-log", "--output", str(tmp_path / "file" / "report.html"))
