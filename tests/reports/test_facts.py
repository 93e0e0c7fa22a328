from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.reports import facts
from tests.reports.reports import comparison, parent, runs

STUDY = """# @package _global_
#
# Question:  does it
#            rain?
# Command:   harness sweep experiments=rain
# Expected:  It does.

regime:
  epochs: 5  # Question: not this
"""


def test_the_question_at_the_head_of_a_study_may_have_several_lines() -> None:
    assert facts.head_of(STUDY) == {
        "Question": "does it rain?", "Command": "harness sweep experiments=rain", "Expected": "It does."
    }  # fmt: skip


def test_a_report_asks_the_studys_question_or_one_made_from_the_settings(repository: Path) -> None:
    question, expected = facts.question(comparison(), parent("experiments=demo seed=1,2"))
    assert question.startswith("Does the optimizer or the width of a network decide")
    assert expected.startswith("Adam trains to a higher accuracy")
    made = "How do model and width change the overfitting gap on mnist?"
    assert facts.question(comparison(), parent("model=a,b")) == (made, "")
    assert facts.question(comparison(), None) == (made, "")


def test_a_study_in_config_dir_is_found_if_the_folder_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "rain.yaml").write_text(STUDY)
    command = f"harness sweep --config-dir {tmp_path} experiments=rain"
    assert "rain" not in facts.question(comparison(), parent("experiments=rain", command))[0]
    monkeypatch.setattr("sys.orig_argv", ["python", *command.split()])
    assert facts.question(comparison(), parent("experiments=rain", command))[0] == "Does it rain?"
    outside = parent(f"experiments=a/../../{tmp_path.name}/experiments/rain", command)
    assert "rain" not in facts.question(comparison(), outside)[0]


def test_what_was_varied_is_named_with_its_values_by_size() -> None:
    found = dict(facts.varied(comparison(runs(widths=(100, 9)))))
    assert found == {"model": "a, b", "width": "9, 100", "seed": "0, 1, 2, 3, 4"}


def test_runs_of_two_commits_are_listed_apart() -> None:
    one, other, *_ = runs()
    records = [
        replace(one, tags={"mlflow.source.git.commit": "a" * 40, "harness.git.dirty": "false"}),
        replace(other, tags={"mlflow.source.git.commit": "b" * 40, "harness.git.dirty": "true"}),
    ]
    code = dict(facts.origin(records))["code"]
    assert f"commit {'a' * 12}, nothing uncommitted (1 run)" in code
    assert f"commit {'b' * 12}, with uncommitted changes" in code


@pytest.mark.parametrize(
    "typed",
    ["harness sweep 'seed=range(3)' model=a,b", "-m harness sweep 'seed=range(3)' model=a,b"],
)
def test_the_typed_command_is_given_to_run_the_sweep_again(typed: str) -> None:
    found = facts.rerun(comparison(), parent("seed=range(3) model=a,b", typed), runs(), "abc")
    assert [command for command, _ in found.commands] == [
        "harness sweep 'seed=range(3)' model=a,b", "harness report abc"
    ]  # fmt: skip
    cut = parent("seed=range(3) model=a,b", f"harness sweep {'x' * 5000}")
    assert facts.rerun(comparison(), cut, runs(), "").commands[0][0] == "harness sweep 'seed=range(3)' model=a,b"


def test_uncommitted_changes_are_mentioned_beside_the_commit() -> None:
    records = [replace(run, tags={"mlflow.source.git.commit": "c" * 40, "harness.git.dirty": "true"}) for run in runs()]
    found = facts.rerun(comparison(records), parent(command="harness sweep a=1,2"), records, "")
    assert found.commands[0][0] == f"git checkout {'c' * 40}"
    assert "code/uncommitted.diff" in found.notes[0]
