from __future__ import annotations

from harness.analysis.comparison import compare
from harness.analysis.descriptions import LONGEST, run_note, sweep_note
from harness.config.schema import Config, flatten
from harness.records import RunState
from tests.analysis.records import run

SCORES = {"final/train_accuracy": 0.912, "final/test_accuracy": 0.84, "final/gap_test_accuracy": 0.072}


def test_a_run_says_what_differs_what_came_out_and_how_to_repeat_it() -> None:
    parameters = {
        **flatten(Config()),
        "model.dropout": 0.3,
        "regime.epochs": 7,
        "tracking.experiment": "mine",
        "seed": 2,
    }
    note = run_note(
        parameters, SCORES, ["model.dropout=0.3", "regime.epochs=7", "seed=2", "tracking.experiment=my own"]
    )
    first, _ = note.split("\n", 1)
    assert "dropout 0.3" in first
    assert "epochs 7" in first
    assert first.endswith("seed 2**")
    assert "batch_size" not in first
    assert "mine" not in first
    assert "| test | 84.0 % | +7.2 points |" in note
    assert "validation" not in note
    assert "harness train model.dropout=0.3 regime.epochs=7 seed=2 'tracking.experiment=my own'" in note


def test_a_run_marks_the_figures_of_the_split_that_chose_its_epoch() -> None:
    scores = {**SCORES, "final/val_accuracy": 0.85, "final/gap_val_accuracy": 0.062}
    stopped = {"regime.early_stopping.enabled": True, "regime.early_stopping.monitor": "val/loss"}
    note = run_note({**flatten(Config()), **stopped}, scores, [])
    assert "| validation† | 85.0 % |" in note
    assert "| test | 84.0 % |" in note
    assert "look too good" in note
    assert "†" not in run_note(flatten(Config()), scores, [])


def test_a_sweep_names_its_failures_with_their_reasons() -> None:
    failed = run(state=RunState.FAILED, model__name="b")
    note = sweep_note(compare([run(model__name="a"), failed]), {failed.run_id: "It broke.\nMore."}, ["model=a,b"])
    assert f"- `{failed.name}`: failed: It broke.\n" in note
    assert "harness sweep model=a,b" in note
    assert "report.html" not in note
    assert "report.html" in sweep_note(compare([run(model__name="a")]), {}, ["model=a,b"], reported=True)


def test_a_long_table_is_cut_at_its_end_and_says_so() -> None:
    runs = [run(0.9 + number / 10_000, model__name=f"model_{number}") for number in range(300)]
    note = sweep_note(compare(runs), {}, ["model=many"])
    assert len(note) <= LONGEST + 20
    assert "| model_0 |" in note
    assert "model_299" not in note
    [more] = [line for line in note.split("\n") if "more: `comparison.csv`" in line]
    rows = sum(line.startswith("| model_") for line in note.split("\n"))
    assert f"| and {300 - rows} more" in more
    assert "harness sweep model=many" in note
