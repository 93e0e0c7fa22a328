"""A sweeper of somebody else, as a plugin of Hydra: it suggests jobs by what earlier ones have returned."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

from harness.records import RunState
from tests.integration.conftest import VALIDATED, NewProject
from tests.integration.test_resume import children

pytestmark = pytest.mark.slow

PLUGIN = '''
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Climber(Sweeper):
    """Tries both ends of an interval, then a value beside the better one."""

    def __init__(self, file, params=None):
        self.file = file

    def setup(self, *, hydra_context, task_function, config):
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments):
        given = OverridesParser.create().parse_overrides(arguments)
        fixed = [item.input_line for item in given if not item.is_sweep_override()]
        (item,) = [item for item in given if item.is_sweep_override()]

        def values_of(rates, first):
            jobs = [[*fixed, f"{item.get_key_element()}={rate}"] for rate in rates]
            return [one.return_value for one in self.launcher.launch(jobs, initial_job_idx=first)]

        ends = [item.value().start, item.value().end]
        values = values_of(ends, 0)
        near = ends[0] * 2 if values[0] < values[1] else ends[1] / 2
        with open(self.file, "w") as file:
            file.write(repr([*zip(ends, values), (near, values_of([near], 2)[0])]))


ConfigStore.instance().store(
    group="hydra/sweeper", name="climber", node={"_target_": "hydra_plugins.climber.Climber", "file": "???"}
)
'''


@pytest.mark.parametrize("objective", ["gap", "pareto"])
def test_a_sweeper_of_others_suggests_jobs_by_their_objective(
    new_project: NewProject, tmp_path: Path, objective: str
) -> None:
    project, told = new_project(), tmp_path / "told"
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "climber.py").write_text(PLUGIN)
    done = project.run(
        "sweep", *VALIDATED, "figures=none", "hydra/sweeper=climber", f"hydra.sweeper.file={told}",
        f"objective={objective}", "optimizer.learning_rate=interval(0.0001,0.01)", "hydra.launcher.workers=1",
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[3] learning_rate=" in done.stderr
    runs = children(project)
    assert [run.state for run in runs] == [RunState.FINISHED] * 3
    names = ("final/gap_val_accuracy",) if objective == "gap" else ("final/val_accuracy", "final/gap_val_accuracy")
    recorded = {
        float(run.parameters["optimizer.learning_rate"]): tuple(run.metrics[name] for name in names) for run in runs
    }
    for rate, value in ast.literal_eval(told.read_text()):
        found = recorded[rate]
        assert value == (pytest.approx(found[0]) if objective == "gap" else pytest.approx(found))
        assert all(map(math.isfinite, found))
