"""Every study of experiments/ is stated completely before it is run, and composes as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.analysis.studies import Study
from harness.composing import check_sweep, expand_sweep
from harness.errors import ConfigError, RequestError
from harness.sweeps.plan import PlannedJob, SweepPlan
from harness.sweeps.study_runs import check_rows, find_studies, read_studies, words_of
from tests.conftest import REPOSITORY

STUDIES = read_studies()
every_study = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def planned(words: list[str]) -> SweepPlan:
    jobs = expand_sweep(words)
    configs = check_sweep(jobs)
    return SweepPlan(
        tuple(
            PlannedJob(number, "", overrides, config, "")
            for number, (overrides, config) in enumerate(zip(jobs.jobs, configs, strict=True))
        ),
        jobs.swept,
    )


@every_study
def test_a_study_has_the_rows_and_seeds_that_it_names(study: Study) -> None:
    plan = planned(words_of(study))
    check_rows(study, plan)
    seeds = [job.config.seed for job in plan.jobs]
    assert len(set(seeds)) == study.seeds >= 5
    assert len(seeds) % study.seeds == 0
    assert {job.config.tracking.experiment for job in plan.jobs} == {study.name}


@every_study
def test_a_study_states_the_power_that_its_seeds_give(study: Study) -> None:
    for criterion in study.criteria:
        power = study.power(criterion)
        assert (criterion.power is None) == (power is None), criterion.claim
        if power is not None and criterion.power is not None:
            assert power - 0.01 <= criterion.power <= power, criterion.claim
            assert criterion.power >= 0.7, criterion.claim


@every_study
def test_a_study_says_in_its_header_what_its_statement_says(study: Study) -> None:
    text = (REPOSITORY / "experiments" / f"{study.name}.yaml").read_text()
    head = dict(re.findall(r"^# (\w+): +(.+)$", text.partition("\nstudy:")[0], flags=re.MULTILINE))
    assert {"Question", "Command", "Duration", "Expected", "Seeds"} <= set(head)
    assert head["Seeds"].startswith(f"{study.seeds} a row.")
    assert "make studies" in head["Command"]


@every_study
def test_the_quick_form_of_a_study_is_small_and_elsewhere(study: Study) -> None:
    jobs = planned(words_of(study, quick=True)).jobs
    assert {job.config.tracking.experiment for job in jobs} == {"quick"}
    assert len({job.config.seed for job in jobs}) == 2
    assert max((job.config.dataset.train_size or 60_000) * job.config.regime.epochs for job in jobs) <= 12_000


def test_a_statement_that_names_a_row_without_runs_is_refused() -> None:
    study = STUDIES["early_stopping"]
    with pytest.raises(ConfigError, match=r"no run has regime.early_stopping.enabled=True"):
        check_rows(study, planned(words_of(study, ["regime.early_stopping.enabled=false"])))


def test_studies_are_found_by_name() -> None:
    assert find_studies(()) == tuple(STUDIES.values())
    assert find_studies(["max_norm", "max_norm"]) == (STUDIES["max_norm"],)
    with pytest.raises(RequestError, match=r"there is no such study.*batch_size.*Did you mean"):
        find_studies(["batchsize"])


def test_the_statement_is_no_setting(project: Path) -> None:
    assert expand_sweep(["experiments=batch_size", "seed=0"]).swept == ("regime.batch_size",)
