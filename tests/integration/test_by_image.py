"""Runs of a real sweep, image by image, and how many seeds would show more."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.integration.conftest import VALIDATED, Outcome

pytestmark = pytest.mark.slow


def test_a_confusion_over_runs_has_the_accuracy_that_the_runs_logged(swept: Outcome) -> None:
    done = swept.project.run("compare", "--by-image", "--baseline", "optimizer=sgd", "--format", "json")
    found = json.loads(done.stdout)
    logged = [run.data.metrics["final/val_accuracy"] for run in swept.children]
    assert (found["held_out"], found["images"], found["runs"]) == ("val", 100, 4)
    assert np.trace(found["confusion"]) / 100 == pytest.approx(np.mean(logged))
    assert all(of["answered"] != of["label"] for of in found["missed_by_all"])
    [adam] = found["differences"]
    sgd_first = sorted(swept.children, key=lambda run: run.data.params["optimizer.name"] != "sgd")
    values = [run.data.metrics["final/val_accuracy"] for run in sgd_first]
    assert adam["difference"] == pytest.approx(np.mean(values[2:]) - np.mean(values[:2]))


def test_a_plan_with_more_seeds_says_what_they_would_show(swept: Outcome) -> None:
    done = swept.project.run("compare", "--power", "1", "--format", "json")
    sd, table = (json.loads(done.stdout)[key] for key in ("sd", "table"))
    five = next(row for row in table if row["seeds"] == 5)
    plan = swept.project.run("sweep", "optimizer=sgd,adam", *VALIDATED, "seed=range(5)", "threads=1", "--plan")
    [line] = [line for line in plan.stdout.splitlines() if line.startswith("By the spread so far")]
    numbers = re.search(r"difference (\S+) points, from 4 runs\) 5 seeds show a difference of (\S+) points", line)
    assert numbers is not None, line
    assert [float(number) / 100 for number in numbers.groups()] == pytest.approx([sd, five["smallest"]], rel=0.05)
