"""Which earlier run a job is resumed in."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest

from harness.config.schema import Config, flatten
from harness.records import RunRecord, RunState
from harness.tracking.resume import resumable
from tests.analysis.records import run

SETTINGS = flatten(Config())
MINE, ANOTHERS = "a" * 32, "b" * 32


def left(state: RunState = RunState.KILLED, /, fingerprint: str | None = MINE, **tags: str) -> RunRecord:
    """A run that an earlier try has left, with the settings of the job."""
    here = {"harness.tensorflow": version("tensorflow"), "harness.keras": version("keras")}
    marked = {} if fingerprint is None else {"harness.fingerprint": fingerprint}
    parameters = {key: str(value) for key, value in SETTINGS.items()}
    return replace(run(), state=state, parameters=parameters, tags={**here, **marked, **tags})


@pytest.mark.parametrize("state", [RunState.KILLED, RunState.FAILED, RunState.RUNNING])
def test_an_unfinished_run_of_the_same_fingerprint_is_resumed(state: RunState) -> None:
    earlier = left(state)
    assert resumable([earlier], MINE, SETTINGS) is earlier


def test_nothing_is_resumed_where_there_is_nothing_or_all_is_done() -> None:
    assert resumable([], MINE, SETTINGS) is None
    assert resumable([left(RunState.FINISHED)], MINE, SETTINGS) is None


@pytest.mark.parametrize("fingerprint", [ANOTHERS, None], ids=["another job", "not known"])
def test_a_run_of_another_fingerprint_is_not_and_the_log_says_so(
    fingerprint: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    earlier = left()
    assert resumable([earlier], fingerprint, SETTINGS) is None
    [said] = caplog.messages
    assert earlier.run_id in said
    assert MINE in said


@pytest.mark.parametrize("tag", ["harness.tensorflow", "harness.keras"])
def test_a_run_that_other_versions_began_is_not(tag: str, caplog: pytest.LogCaptureFixture) -> None:
    assert resumable([left(RunState.KILLED, MINE, **{tag: "1.2.3"})], MINE, SETTINGS) is None
    [said] = caplog.messages
    assert "1.2.3" in said
    assert f"Keras {version('keras')}" in said


def test_a_run_under_another_label_is_not() -> None:
    assert resumable([left()], MINE, {**SETTINGS, "model.name": "mine"}) is None


@pytest.mark.parametrize(
    ("setting", "value", "same"),
    [("seed", 7, False), ("model.hidden", [3], False), ("model.name", "mine", False), ("threads", 3, True),
     ("figures", "all", True), ("dataset.directory", "/elsewhere", True), ("tracking.experiment", "mine", True)],
)  # fmt: skip
def test_a_run_that_ended_before_it_read_its_data_is_known_by_its_settings(
    setting: str, value: Any, same: bool
) -> None:
    earlier = left(RunState.FAILED, None)
    assert (resumable([earlier], MINE, {**SETTINGS, setting: value}) is earlier) == same


def test_of_several_the_last_that_is_the_same_work_is_resumed() -> None:
    first, second, other, no_data = left(), left(), left(RunState.KILLED, ANOTHERS), left(RunState.FAILED, None)
    assert resumable([first, second, other], MINE, SETTINGS) is second
    assert resumable([first, no_data], MINE, SETTINGS) is first, "it has a checkpoint"
    assert resumable([other, no_data], MINE, SETTINGS) is no_data
