"""Runs from CSV files."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis.csv_runs import read_csv
from harness.analysis.external_runs import adapt
from harness.analysis.metric_names import GAP_TAG, Naming
from harness.commands.compare import command
from harness.errors import RequestError
from harness.records import RunState

RUNS = """run,lr,seed,accuracy,val_accuracy,loss,val_loss
a,0.1,1,0.9,0.8,0.3,0.5
b,0.1,2,0.92,0.83,0.3,0.5
c,0.01,1,0.85,0.80,0.4,0.5
d,0.01,2,0.84,0.80,0.4,0.45
"""
LOGGED = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,1,0.5,1\n1,0.8,0.5,0.7,0.6\n2,0.95,0.2,0.71,0.9\n"


def write(folder: Path, text: str | bytes, name: str = "runs.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def invoke(*arguments: Any) -> str:
    result = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_row_a_run_is_grouped_by_its_settings(tmp_path: Path) -> None:
    file = write(tmp_path, RUNS)
    rows = list(csv.DictReader(invoke("--csv", file, "--format", "csv").splitlines()))
    assert [(row["lr"], row["n"]) for row in rows] == [("0.01", "2"), ("0.1", "2")]
    assert float(rows[0]["gap_val_accuracy"]) == pytest.approx(0.045)
    assert "harness ui" not in invoke("--csv", file)
    assert "-5.00" in invoke("--csv", file, "--baseline", "lr=0.1")
    assert "Effect of lr" in invoke("--csv", file, "--effect", "lr")


def test_a_row_an_epoch_is_read_at_its_last_or_its_best_epoch(tmp_path: Path) -> None:
    files = [write(tmp_path, LOGGED, "one.csv"), write(tmp_path, LOGGED.replace("0.95", "0.97"), "two.csv")]
    arguments = [text for file in files for text in ("--csv", file)]
    assert "+25.0" in invoke(*arguments)
    assert "+10.0" in invoke(*arguments, "--at", "best")
    several = write(tmp_path, "run,lr,epoch,acc,val_acc\n" + "".join(
        f"{run},0.{run},{epoch},{0.5 + 0.1 * epoch},0.5\n" for epoch in (2, 0, 1) for run in (1, 2)
    ))  # fmt: skip
    runs = read_csv([several], Naming())
    assert [(run.name, run.parameters, run.metrics["acc"], run.epochs) for run in runs] == [
        ("1", {"lr": "0.1"}, 0.7, 3), ("2", {"lr": "0.2"}, 0.7, 3),
    ]  # fmt: skip


def test_exports_of_mlflow_wandb_and_the_callback_are_read(tmp_path: Path) -> None:
    mlflow = "run_id,status,params.lr,params.units,metrics.accuracy,metrics.val_accuracy,tags.mlflow.user,start_time\n"
    mlflow += "x,FINISHED,0.1,8,0.9,0.8,me,now\ny,FAILED,0.1,8,,,me,now\n"
    [one, two] = read_csv([write(tmp_path, mlflow)], Naming())
    assert one.parameters == {"lr": "0.1", "units": "8"}
    assert one.metrics == {"accuracy": 0.9, "val_accuracy": 0.8}
    assert two.state is RunState.FAILED
    wandb = '"Name","State","lr","_step","train/f1","val/f1","train/acc","val/acc","Created"\n'
    wandb += '"a","finished","0.1","7","0.5","0.4","0.9","0.8","today"\n'
    [run] = read_csv([write(tmp_path, wandb)], Naming())
    assert run.parameters == {"lr": "0.1"}
    assert set(run.metrics) == {"train/f1", "val/f1", "train/acc", "val/acc"}
    own = "epoch,gap/accuracy,train/accuracy,val/accuracy,val_accuracy\n0,NA,0.5,0.4,0.3\n1,0.1,0.9,0.8,0.1\n"
    found, reading = adapt(read_csv([write(tmp_path, own)], Naming()))
    assert found[0].tags == {GAP_TAG: "csv"}
    assert found[0].metrics["final/val_accuracy"] == 0.8
    assert not reading.running


def test_other_names_are_given(tmp_path: Path) -> None:
    file = write(tmp_path, "run,width,top1,dev\na,1,0.9,0.8\nb,2,0.9,0.7\n")
    assert "+10.0" in invoke("--csv", file, "--train-metric", "top1", "--held-out-metric", "dev", "--group-by", "width")
    with pytest.raises(RequestError, match="--train-metric"):
        invoke("--csv", file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there are no rows"),
        ("run,accuracy\n", "no rows below the header"),
        ("run,accuracy,val_accuracy\na,0.9\n", "runs.csv:2: there are 2 cells, but 3 columns"),
        ("run,accuracy,val_accuracy\na,0.9,0.8\nb,high,0.8\n", "runs.csv:3: the column accuracy has 'high'"),
        ("run,accuracy,accuracy\na,0.9,0.8\n", "runs.csv:1: the column 'accuracy' is there twice"),
        ("run,accuracy,val_accuracy\na,0.9,0.8\na,0.9,0.8\n", "runs.csv:3: the run a was already read"),
        ("epoch,accuracy,val_accuracy\n0,0.9,0.8\n0,0.9,0.8\n", "runs.csv:3: the epoch 0 of this run"),
        ("epoch,accuracy,val_accuracy\nsoon,0.9,0.8\n", "runs.csv:2: the column epoch has 'soon'"),
        ('run,accuracy\n"a,0.9\n', "is no CSV"),
        (b"run,\xff\xfe\n", "no text in UTF-8"),
        ("run,accuracy\n" + "x" * 200_000 + ",1\n", "is no CSV"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        invoke("--csv", write(tmp_path, text))
    assert words in str(refused.value)


@pytest.mark.parametrize("options", [["--by-image"], ["--confirm", "2"], ["--interval", "seeds+images"]])
def test_what_a_file_has_nothing_for_is_refused(tmp_path: Path, options: list[str]) -> None:
    from harness.analysis.rows import INTERVALS

    options = [*options[:-1], next(one for one in INTERVALS if one != "seeds")] if "--interval" in options else options
    with pytest.raises(RequestError, match="cannot be used with --csv"):
        invoke("--csv", write(tmp_path, RUNS), *options)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(RequestError, match=str(file)):
            invoke("--csv", file)
    with pytest.raises(RequestError, match="row an epoch"):
        invoke("--csv", write(tmp_path, RUNS), "--at", "best")


CELLS = st.sampled_from(["", "0.5", "nan", "inf", "1e400", "-1", "a", "=1+1", "\x1b[31m", '"', '"a', "NA", "\0", "1_0"])
HEADERS = st.sampled_from(["run", "epoch", "accuracy", "val_accuracy", "loss", "val_loss", "lr", "", "seed", "params.x",
                           "metrics.accuracy", "metrics.val_accuracy", "train/loss", "status", "run_id"])  # fmt: skip
TABLES = st.lists(HEADERS, max_size=6).flatmap(
    lambda header: st.lists(st.lists(CELLS, min_size=len(header), max_size=len(header)), max_size=5).map(
        lambda rows: "\n".join(",".join(row) for row in [header, *rows]).encode()
    )
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=TABLES | st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    options=st.sampled_from([[], ["--at", "best"], ["--effect", "lr"], ["--power", "1"], ["--format", "json"]]),
)
def test_whatever_a_file_holds_there_is_a_table_or_a_refusal(tmp_path: Path, text: bytes, options: list[str]) -> None:
    with suppress(RequestError):
        invoke("--csv", write(tmp_path, text), *options)
