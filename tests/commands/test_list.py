"""`harness list` on real stores."""

from __future__ import annotations

import csv
import io
import json

import pytest

from harness.cli import main
from tests.commands.conftest import Filled


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["list", *arguments]) == 0
    return capsys.readouterr().out


def test_sweeps_and_single_runs_are_lines_the_newest_first(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.run("alone")
    sweep, shared, _ = filled.sweep("grid", "a", "b", model=True)
    filled.run("c", state="FAILED", mlflow__parentRunId=sweep)
    wider, _ = filled.sweep("wider", "d")
    filled.client.set_tag(wider, "harness.reused.1", f"1:{shared}")
    header, _, *lines, _, last = listed(capsys).splitlines()
    assert header.split() == ["id", "name", "started", "state", "runs", "gap", "to", "test", "size"]
    assert [line.split()[1] for line in lines] == ["wider", "grid", "alone"]
    assert [" ".join(line.split()[4:]) for line in lines] == [
        "FINISHED 2/2 +2.00..+5.00 1.0 kB",
        "FINISHED 2/3 +2.00..+4.00 4.0 kB",
        "FINISHED +1.00 1.0 kB",
    ]
    assert "2 sweeps and 5 runs. The store" in last
    assert "artifacts 6.0 kB" in last
    assert "belong to no run: `harness gc`" in last  # checkpoints of finished runs


def test_the_runs_of_a_sweep_are_those_that_it_reuses_too(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    _, shared = filled.sweep("grid", "a")
    wider, _ = filled.sweep("wider", "b")
    filled.client.set_tag(wider, "harness.reused.1", f"1:{shared}")
    lines = listed(capsys, "--sweep", "wider").splitlines()[2:4]
    assert [line.split()[1] for line in lines] == ["b", "a"]
    assert "FINISHED, reused" in lines[1]


def test_json_and_csv_have_everything_in_full(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    sweep, first, second = filled.sweep("grid, wide", "a", "b")
    values = json.loads(listed(capsys, "--all", "--format", "json"))
    assert [one["id"] for one in values] == [second, first, sweep]
    assert values[0]["gap"] == pytest.approx(0.02)
    assert values[0] | {"gap": 0, "gap_min": 0, "gap_max": 0} == {
        "id": second, "name": "b", "kind": "run", "experiment": "study", "sweep": sweep,
        "started": "2025-10-09T10:53:20+00:00", "ended": "2025-10-09T10:53:25+00:00", "state": "FINISHED",
        "jobs": None, "finished": None, "gap": 0, "gap_min": 0, "gap_max": 0, "size": 1010,
    }  # fmt: skip
    assert (values[2]["jobs"], values[2]["finished"], values[2]["size"]) == (2, 2, 2020)
    rows = list(csv.DictReader(io.StringIO(listed(capsys, "--format", "csv"))))
    assert [(row["name"], row["gap"], row["jobs"]) for row in rows] == [("grid, wide", "", "2")]


def test_an_experiment_of_several_is_named_in_a_column(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    filled.run("first")
    other = filled.client.create_experiment("other", artifact_location=(filled.root / "mlruns" / "other").as_uri())
    filled.experiment = other
    filled.run("second")
    assert "experiment" in listed(capsys).splitlines()[0]
    assert [line.split()[1] for line in listed(capsys, "--experiment", "other").splitlines()[2:3]] == ["second"]
    assert main(["list", "--experiment", "othr"]) == 2
    assert "Did you mean 'other'?" in capsys.readouterr().err


def test_a_long_name_is_shortened_on_a_terminal_only(
    filled: Filled, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.run("n" * 200)
    assert "n" * 200 in listed(capsys)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    table = listed(capsys).splitlines()[:3]
    assert max(map(len, table)) == 80
    assert "n…" in table[2]


def test_a_damaged_database_beside_the_store_stops_gc_and_not_the_list(
    filled: Filled, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.run("a run")
    (filled.root / "other.db").write_bytes(b"SQLite format 3\0 and nothing else" * 100)
    assert "What belongs to no run is not known" in listed(capsys)
    assert main(["gc", "--yes"]) == 1
    assert "other.db" in capsys.readouterr().err
