"""Rows trained again: the overrides that say what runs recorded, the seeds, and what is refused at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.comparison import Comparison, compare
from harness.composing import check_sweep, compose_config, expand_sweep
from harness.config.schema import Config, flatten
from harness.errors import RequestError
from harness.records import RunRecord, RunState
from harness.sweeps.confirm import _words, fresh_seeds, train_again
from harness.sweeps.plan import plan_sweep
from harness.tracking.store import open_store
from tests.analysis.records import run

RECORDED = [
    [],
    ["model=cnn", "optimizer=sgd", "regime.epochs=2", "seed=4"],
    ["experiments=capacity", "model.width=16", "regime.validation.seed=${seed}", 'tracking.experiment="isn\'t, it"'],
    ["optimizer=muon", "optimizer.epsilon=1e-9", "model=mlp", "model.hidden=[]", "debug=tiny", "resume=false"],
]


def recorded(words: list[str]) -> Config:
    config = compose_config(words)
    return replace(config, resume="true", seed=9)


@pytest.mark.parametrize("words", RECORDED, ids=str)
@pytest.mark.parametrize(
    "given", ["its own words", "words of an option that has gone", "words that mean another thing"]
)
def test_overrides_compose_to_what_was_recorded_whatever_the_words_mean_by_now(words: list[str], given: str) -> None:
    wanted = recorded(words)
    now = {
        "its own words": words,
        "words of an option that has gone": [*words, "model=gone"],
        "words that mean another thing": [word.replace("cnn", "mlp").replace("muon", "adam") for word in words],
    }[given]
    found = _words(now, wanted)
    assert flatten(compose_config([*found, "seed=9"])) == flatten(wanted)
    assert not [word for word in found if word.startswith(("seed=", "resume="))]


def test_words_that_still_serve_are_kept_so_that_runs_are_named_as_they_were() -> None:
    assert _words(RECORDED[1], recorded(RECORDED[1])) == ("model=cnn", "optimizer=sgd", "regime.epochs=2")


def test_fresh_seeds_lie_above_those_of_every_run_that_was_compared() -> None:
    every = [run(seed=0, model__name="a"), run(seed=7, model__name="b", state=RunState.FAILED, metrics={})]
    assert fresh_seeds(compare(every), 3) == (8, 9, 10)


def test_a_sweep_that_confirms_is_not_resumed_by_one_of_equal_jobs_that_does_not(project: Path) -> None:
    jobs = expand_sweep(["seed=0,1"])
    plan = plan_sweep(jobs, check_sweep(jobs), open_store())
    names = ("", "a", "b")
    assert len({replace(plan, confirms=name).fingerprint for name in names}) == 3


def stranger() -> RunRecord:
    return replace(run(model__name="a"), tags={})


def seedless() -> RunRecord:
    known = run(model__name="a")
    return replace(known, parameters={key: value for key, value in known.parameters.items() if key != "seed"})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (stranger(), "runs that the harness did not write"),
        (seedless(), "recorded no seed"),
        (run(state=RunState.FAILED, metrics={}, model__name="a"), "has no finished run"),
    ],
)
def test_a_row_that_cannot_be_trained_again_is_refused_before_the_store_is_touched(
    project: Path, row: RunRecord, said: str
) -> None:
    comparison: Comparison = compare([row])
    with pytest.raises(RequestError, match=said):
        train_again(open_store(), comparison.rows, (1, 2), (), lambda found: None)
    assert list(project.iterdir()) == []
