"""How a command line is read before Hydra sees it."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.sweeps.launch import _parse, command_line


@pytest.mark.parametrize(
    ("arguments", "multirun", "kind"),
    [
        (["seed=1"], False, "run"),
        (["seed=1,2"], True, "multirun"),
        (["-m", "seed=1,2"], False, "multirun"),
        (["seed=1,2", "--multirun"], False, "multirun"),
        (["seed=1,2", "-m", "model=cnn"], False, "multirun"),
        (["--cfg", "job"], False, "cfg"),
        (["--cfg", "job"], True, "cfg"),
        (["--help"], True, "help"),
        (["--info", "defaults"], False, "info"),
    ],
)
def test_a_line_asks_for_one_run_or_a_sweep_or_an_answer(arguments: list[str], multirun: bool, kind: str) -> None:
    request = _parse(arguments, multirun)
    assert {name for name in ("run", "multirun", "cfg", "help", "info") if getattr(request, name)} == {kind}


def test_train_with_the_multirun_flag_is_the_same_request_as_sweep() -> None:
    flagged = command_line(_parse(["model=cnn", "-m", "seed=0,1"], multirun=False))
    assert flagged == command_line(_parse(["model=cnn", "seed=0,1"], multirun=True))
    assert flagged == ["--multirun", "model=cnn", "seed=0,1"]


def test_flags_reach_hydra_before_the_overrides_wherever_they_stood() -> None:
    line = command_line(_parse(["seed=1", "--config-dir", "mine", "model=own"], multirun=False), ["last=1"])
    assert line == ["--config-dir", "mine", "seed=1", "model=own", "last=1"]


def test_an_experiment_may_be_asked_for_in_hydras_spelling_of_an_addition() -> None:
    assert command_line(_parse(["+experiments=demo"], multirun=False)) == ["experiments=demo"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--config-path", "x"], "--config-dir DIR"), (["--nonsense"], "--hydra-help"), (["--cfg", "x"], "'job'")],
)
def test_a_wrong_flag_is_a_wrong_request(arguments: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        _parse(arguments, multirun=False)


@pytest.mark.parametrize(
    ("arguments", "plan", "watched", "rest"),
    [
        (["seed=0,1", "--plan"], True, None, ["seed=0,1"]),
        (["--watch"], False, "", []),
        (["a=1", "--watch=abc"], False, "abc", ["a=1"]),
        (["--watch", "tracking.uri=x"], False, "", ["tracking.uri=x"]),
        (["--watch", "0123abcd", "tracking.uri=x"], False, "0123abcd", ["tracking.uri=x"]),
        (["--watch", "--config-dir", "mine"], False, "", []),
        (["seed=0,1"], False, None, ["seed=0,1"]),
    ],
)
def test_flags_of_ours_never_reach_hydra(
    arguments: list[str], plan: bool, watched: str | None, rest: list[str]
) -> None:
    request = _parse(arguments, multirun=True)
    assert (request.plan, request.watch, request.overrides) == (plan, watched, rest)
    assert not {"--plan", "--watch"} & set(command_line(request))


@pytest.mark.parametrize("flag", ["--plan", "--watch"])
def test_a_flag_of_sweeps_is_refused_for_a_single_run(flag: str) -> None:
    with pytest.raises(RequestError, match=f"{flag}: only a sweep has it"):
        _parse([flag], multirun=False)
