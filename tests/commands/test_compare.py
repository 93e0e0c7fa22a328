from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.compare import command
from harness.errors import HarnessError, RequestError, StoreError
from tests.conftest import RunCommand
from tests.tracking.stores import new_client, record, record_sweep, scores

# MLflow 3.17 uses a loader that SQLAlchemy 2.1 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

START = 1_700_000_000_000
OPTIMIZERS = {
    "sgd": {"optimizer.name": "sgd", "optimizer.learning_rate": 0.01, "optimizer.momentum": 0.0},
    "adam": {"optimizer.name": "adam", "optimizer.learning_rate": 0.001, "optimizer.beta_1": 0.9},
}
GAPS = {("mlp_128", "sgd"): 0.01, ("mlp_128", "adam"): 0.03, ("cnn", "sgd"): 0.02, ("cnn", "adam"): 0.05}


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with a finished sweep, an experiment without one, and a sweep that has no runs; `uri` is its URI."""
    uri, client = new_client(tmp_path_factory.mktemp("store"))
    study, loose = client.create_experiment("study"), client.create_experiment("loose")
    found = {"uri": uri}
    found["empty"] = record_sweep(client, study, "empty", started=START - 1, swept=["model"])
    found["sweep"] = record_sweep(client, study, "grid", started=START, swept=["model", "optimizer", "seed"])
    for number, ((model, optimizer), gap) in enumerate(GAPS.items()):
        for seed in range(2):
            name = f"{model} {optimizer} {seed}"
            failed = name == "cnn adam 1"
            found[name] = record(
                client, study, name, started=START + 2 * number + seed, state="FAILED" if failed else "FINISHED",
                settings={**OPTIMIZERS[optimizer], "model.name": model, "seed": seed},
                metrics={} if failed else scores(0.9 + seed / 100, 0.9 - gap),
                tags={"mlflow.parentRunId": found["sweep"]},
            )  # fmt: skip
    for epochs in (5, 30):
        found[f"epochs {epochs}"] = record(
            client, loose, f"epochs {epochs}", started=START + epochs * 1000,
            settings={"regime.epochs": epochs}, metrics=scores(0.9, 0.9 - epochs / 1000, val=0.88),
        )  # fmt: skip
    return found


def invoke(uri: str, *arguments: str) -> str:
    """What the command prints; its expected errors are raised, as `cli.py` sees them."""
    result = CliRunner().invoke(command, ["--store", uri, *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def as_json(uri: str, *arguments: str) -> Any:
    return json.loads(invoke(uri, "--format", "json", *arguments))


def test_a_table_needs_neither_pandas_nor_jinja(ids: dict[str, str]) -> None:
    program = (
        f"import sys; from harness.cli import main; assert main(['compare', '--store', {ids['uri']!r}]) == 0\n"
        "assert not {'pandas', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_latest_sweep_is_compared_by_default_smallest_gap_first(ids: dict[str, str]) -> None:
    document = as_json(ids["uri"])
    assert document["title"] == "grid (experiment study)"
    assert document["settings"] == ["model.name", "optimizer.name"]
    order = [tuple(row["settings"].values()) for row in document["rows"]]
    assert order == [("mlp_128", "sgd"), ("cnn", "sgd"), ("mlp_128", "adam"), ("cnn", "adam")]
    assert [row["n"] for row in document["rows"]] == [2] * 4
    assert document["rows"][0]["scores"]["gap_test_accuracy"]["mean"] == pytest.approx(0.015)
    assert document["rows"][-1]["unfinished"] == {"failed": 1}
    assert document["follows"]["optimizer.learning_rate"] == "optimizer.name"


def test_the_table_reads_as_documented(ids: dict[str, str]) -> None:
    lines = invoke(ids["uri"]).splitlines()
    assert lines[0] == "grid (experiment study): 8 runs, 4 configurations"
    (line,) = [line for line in lines if line.startswith("mlp_128  sgd")]
    assert "+1.5 ± 6.4" in line
    assert max(map(len, lines)) <= 100
    assert any("1 run did not finish" in line for line in lines)


def test_rows_are_held_to_a_baseline_paired_by_seed(ids: dict[str, str]) -> None:
    document = as_json(ids["uri"], "--baseline", "model=mlp_128,optimizer=sgd")
    assert document["baseline"] == "mlp_128 sgd"
    gaps = [one for one in document["differences"] if one["measure"] == "gap_test_accuracy"]
    assert [one["n"] for one in gaps] == [2, 2, 1]
    assert gaps[-1]["finding"] == "too few seeds (n=1)"
    assert as_json(ids["uri"], "--baseline", ids["mlp_128 sgd 1"])["baseline"] == "mlp_128 sgd"
    effect = invoke(ids["uri"], "--effect", "optimizer", "--baseline", "sgd")
    assert "differences to optimizer.name=sgd" in " ".join(effect.split())


def test_a_demand_on_accuracy_decides_what_is_ranked(ids: dict[str, str]) -> None:
    def underfit(*arguments: str) -> int:
        return sum(row["underfit"] for row in as_json(ids["uri"], *arguments)["rows"])

    assert [underfit(), underfit("--within", "all"), underfit("--within", "1.5")] == [1, 0, 2]
    assert underfit("--min-accuracy", "0.88") == underfit("--min-accuracy", "88%") == 2
    assert underfit("--min-accuracy", "0.88", "--within", "0.5") == 3
    assert len(as_json(ids["uri"], "--pareto")["rows"]) == 1


def test_without_a_sweep_the_latest_experiment_is_compared(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    for number, name in enumerate(("older", "newer")):
        record(client, client.create_experiment(name), "run", started=START + number, metrics=scores(0.9, 0.8))
    assert as_json(uri)["title"] == "Experiment newer"


def test_an_experiment_holds_its_runs_without_the_parents(ids: dict[str, str]) -> None:
    assert as_json(ids["uri"], "--experiment", "study")["runs"] == 8
    loose = as_json(ids["uri"], "--experiment", "loose")
    assert (loose["settings"], loose["sorted_by"]) == (["regime.epochs"], "gap_val_accuracy")


def test_runs_are_named_by_id_beginning_or_name_and_a_sweep_stands_for_its_runs(ids: dict[str, str]) -> None:
    named = as_json(ids["uri"], ids["epochs 5"], ids["epochs 30"][:16], "mlp_128 sgd 0", "epochs 5")
    assert named["runs"] == 3
    assert as_json(ids["uri"], "grid", ids["epochs 5"], ids["cnn sgd 0"])["runs"] == 9
    assert as_json(ids["uri"], "--sweep", ids["sweep"][:16])["runs"] == 8


def test_latest_and_best_are_understood_wherever_a_run_is_named(ids: dict[str, str]) -> None:
    assert as_json(ids["uri"], "latest")["runs"] == 1, "the single run that started last"
    assert as_json(ids["uri"], "best")["rows"][0]["runs"][0]["name"] == "epochs 5"
    assert as_json(ids["uri"], "best", "latest", f"runs:/{ids['epochs 5']}")["runs"] == 2
    assert as_json(ids["uri"], "--sweep", "latest")["title"] == "grid (experiment study)"
    held = as_json(ids["uri"], "--experiment", "loose", "--baseline", "best")
    assert held["baseline"] == "5"
    assert as_json(ids["uri"], "--experiment", "loose", "--baseline", "latest")["baseline"] == "30"


def test_latest_is_the_sweep_of_the_run_that_started_last_and_best_the_sweep_of_the_best(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    record(client, study, "single", started=START, metrics=scores(0.9, 0.8))
    for number, test in enumerate((0.85, 0.7)):
        parent = record_sweep(client, study, f"sweep {number}", started=START + 10 * number + 1, swept=["seed"])
        for seed in range(2):
            record(
                client, study, f"{number} {seed}", started=START + 10 * number + 2 + seed, settings={"seed": seed},
                metrics=scores(0.9, test), tags={"mlflow.parentRunId": parent},
            )  # fmt: skip
    named = {text: as_json(uri, *text.split()) for text in ("latest", "--sweep latest", "--sweep best", "best")}
    runs = {text: [run["name"] for row in found["rows"] for run in row["runs"]] for text, found in named.items()}
    assert runs["latest"] == runs["--sweep latest"] == ["1 0", "1 1"]
    assert runs["--sweep best"] == ["0 0", "0 1"]
    assert runs["best"] in (["0 0"], ["0 1"])


@pytest.mark.parametrize("way", ["--sweep sizes", "--experiment study", "sizes"])
def test_a_sweep_over_sizes_of_which_some_were_trained_before_is_one_question(tmp_path: Path, way: str) -> None:
    """The small size is underfit beside the whole set, whoever trained it."""
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    first = record_sweep(client, study, "first", started=START, swept=["seed"])

    def trained(parent: str, size: int | None, test: float, started: int) -> str:
        settings = {"dataset.train_size": size, "data.train_digest": f"{size}", "data.val_digest": "None"}
        return record(
            client, study, f"{size}", started=started, settings={**settings, "data.test_digest": "t"},
            metrics=scores(0.9, test), tags={"mlflow.parentRunId": parent},
        )  # fmt: skip

    small = trained(first, 500, 0.8, START + 1)
    second = record_sweep(client, study, "sizes", started=START + 2, swept=["dataset.train_size"])
    client.set_tag(second, "harness.reused.1", f"0:{small}")
    trained(second, None, 0.88, START + 3)
    rows = as_json(uri, *way.split())["rows"]
    assert {row["settings"]["dataset.train_size"]: row["underfit"] for row in rows} == {"None": False, "500": True}


def test_a_registered_model_stands_for_its_run_in_a_comparison_too(tmp_path: Path) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    found = [record(client, study, f"r{n}", started=START + n, settings={"regime.epochs": n + 1},
                    metrics=scores(0.9, 0.8)) for n in range(2)]  # fmt: skip
    client.create_registered_model("shop")
    client.create_model_version("shop", "file:///nowhere", run_id=found[0])
    assert as_json(uri, "shop")["rows"][0]["runs"][0]["name"] == "r0"
    assert as_json(uri, "--experiment", "study", "--baseline", "models:/shop")["baseline"] == "1"


def test_sweeps_on_different_files_are_two_rows(tmp_path: Path) -> None:
    """Three runs on the published images and three on a variant must not be averaged."""
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    for variant, gap in (("published", 0.02), ("variant 1a2b3c4d", -0.15)):
        digest = f"{variant:_<32}"
        images = {"data.train_digest": digest, "data.val_digest": "None", "data.test_digest": digest}
        parent = record_sweep(client, study, variant, started=START, swept=["seed"])
        for seed in range(3):
            record(
                client, study, "run", started=START + seed, settings={"seed": seed, "data.variant": variant, **images},
                metrics=scores(0.7, 0.7 - gap), tags={"mlflow.parentRunId": parent},
            )  # fmt: skip
    document = as_json(uri, "--experiment", "study")
    gaps = {row["settings"]["data.variant"]: row["scores"]["gap_test_accuracy"]["mean"] for row in document["rows"]}
    assert gaps == {"published": pytest.approx(0.02), "variant 1a2b3c4d": pytest.approx(-0.15)}
    assert document["repeats"] == 0
    with pytest.raises(RequestError, match="scored on other test images"):
        invoke(uri, "--experiment", "study", "--baseline", "data=published")


def test_rows_are_sorted_by_the_column_asked_for(ids: dict[str, str]) -> None:
    document = as_json(ids["uri"], "--sort", "test_accuracy", "--descending")
    means = [row["scores"]["test_accuracy"]["mean"] for row in document["rows"]]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == 4


def test_the_form_follows_the_suffix_of_the_output(ids: dict[str, str], tmp_path: Path) -> None:
    for name in ("a.csv", "a.json", "a.md", "a.txt", "b.json"):
        forced = ["--format", "csv"] if name == "b.json" else []
        assert invoke(ids["uri"], "--output", str(tmp_path / "new" / name), *forced) == ""
    folder = tmp_path / "new"
    assert len(list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))) == 4
    assert json.loads((folder / "a.json").read_text())["runs"] == 8
    assert (folder / "a.md").read_text().startswith("**grid")
    assert (folder / "a.txt").read_text() == invoke(ids["uri"])
    assert (folder / "b.json").read_text() == (folder / "a.csv").read_text()
    assert len(list(folder.iterdir())) == 5


def test_every_table_of_the_command_is_written_as_latex_and_html_too(ids: dict[str, str], tmp_path: Path) -> None:
    for arguments in ([], ["--baseline", "model=mlp_128,optimizer=sgd"], ["--effect", "optimizer"]):
        for suffix, begin, row in ((".tex", "% Needs", " & "), (".html", "<!DOCTYPE html>", "<tr><td>")):
            file = tmp_path / f"a{suffix.upper()}"
            assert invoke(ids["uri"], *arguments, "--output", str(file)) == ""
            text = file.read_text()
            assert text.startswith(begin)
            assert row in text
            form = {".tex": "latex", ".html": "html"}[suffix]
            assert invoke(ids["uri"], *arguments, "--format", form) == text
    assert "harness ui" not in text, "a file is read elsewhere"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "gap_test_acuracy"], r"Did you mean 'gap_test_accuracy'"),
        (["--experiment", "studdy"], r"Did you mean 'study'.*loose, study"),
        (["--sweep", "epochs 5"], r"is no sweep"),
        (["--sweep", "empty"], r"has no runs"),
        (["nonesuch"], r"No run in the store"),
        (["grid", "--experiment", "study"], r"RUNS and --experiment were given together"),
        (["--experiment", "Default"], r"has no runs"),
        (["--min-accuracy", "88"], r"0\.88.*88%"),
        (["--min-accuracy", "nan"], r"0\.88.*88%"),
        (["--within", "some"], r"or all"),
        (["--pareto", "--effect", "model"], r"--pareto picks rows"),
        (["--baseline", "cnn"], r"no row of this comparison"),
        (["--effect", "epochs"], r"regime\.epochs is 5 in every run"),
        (["epochs 5", "--baseline", "all runs"], r"no other row"),
        (["grid", "--baseline", "best"], r"epochs 5 .* is not among those compared here"),
    ],
)
def test_a_wrong_request_is_refused(ids: dict[str, str], arguments: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        invoke(ids["uri"], *arguments)


@pytest.mark.parametrize("name", ["fig.svg", "fig.PNG", "table.xlsx", "gaps.parquet"])
def test_a_suffix_that_names_no_form_is_refused_with_those_that_do(
    ids: dict[str, str], tmp_path: Path, name: str
) -> None:
    with pytest.raises(RequestError, match=r"a table is written as \.json, \.csv, \.md, \.tex, \.html, \.txt"):
        invoke(ids["uri"], "--output", str(tmp_path / name))
    invoke(ids["uri"], "--output", str(tmp_path / name), "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO((tmp_path / name).read_text())))) == 4


def test_a_refused_request_leaves_the_output_as_it_was(ids: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        invoke(ids["uri"], "--sort", "nonesuch", "--output", str(tmp_path / "a.csv"))
    assert not list(tmp_path.iterdir())


def test_a_store_without_runs_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="harness sweep"):
        invoke(f"sqlite:///{tmp_path / 'mlflow.db'}")
    uri, _ = new_client(tmp_path)
    with pytest.raises(RequestError, match="no runs to compare yet"):
        invoke(uri)


def test_comparing_imports_neither_tensorflow_nor_mlflow(ids: dict[str, str]) -> None:
    program = (
        "import sys; from harness.commands.compare import command\n"
        f"command(['--store', {ids['uri']!r}], standalone_mode=False)\n"
        "print(sorted({'mlflow', 'tensorflow', 'keras', 'matplotlib', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_real_command_compares_and_refuses_with_its_exit_codes(
    ids: dict[str, str], run_command: RunCommand
) -> None:
    shown = run_command("compare", "--store", ids["uri"], "--format", "markdown")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "| mlp_128 | sgd | 2 |" in shown.stdout
    refused = run_command("compare", "--store", ids["uri"], "--sort", "nonesuch")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Choose from" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_experiment_is_compared_without_what_confirms_its_rows_until_a_sweep_has_these_seeds_too(
    tmp_path: Path,
) -> None:
    uri, client = new_client(tmp_path)
    study = client.create_experiment("study")
    parents = [record_sweep(client, study, name, started=START + place, swept=["seed"])
               for place, name in enumerate(("first", "confirming", "with more seeds", "larger"))]  # fmt: skip
    first, confirming, more, larger = parents
    runs = [
        record(client, study, f"seed={seed}", started=START + 10 + seed, settings={"seed": seed},
               metrics=scores(0.9, 0.8), tags={"mlflow.parentRunId": parent})
        for seed, parent in enumerate((first, confirming))
    ]  # fmt: skip
    for parent in (confirming, more):
        client.set_tag(parent, "harness.confirms", runs[0])
    client.set_tag(more, "harness.reused.1", f"0:{runs[1]}")
    for reused, seeds in (("", ["0"]), (f"0:{runs[0]} 1:{runs[1]}", ["0", "1"])):
        client.set_tag(larger, "harness.reused.1", reused)
        (row,) = as_json(uri, "--experiment", "study")["rows"]
        assert [run["seed"] for run in row["runs"]] == seeds
