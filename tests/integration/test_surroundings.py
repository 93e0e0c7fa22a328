"""What a person, a shell or a rc file has set does not reach the numbers of a run."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from shutil import copytree

import pytest

from harness.tracking.provenance import COMMIT_TAG
from tests.conftest import REPOSITORY
from tests.integration.conftest import HARNESS, SMALL, NewProject, Project, waited

pytestmark = pytest.mark.slow

NET = ("model=cnn", "model.filters=[4]", "model.hidden=[16]", "model.shift=4", "model.head=softmax")
SETTINGS = (*SMALL, *NET, "regime.epochs=2", "threads=1", "tracking.log_model=false", "tracking.log_state=false")
SWEEP = ("sweep", *SETTINGS, "engine=compiled,keras", "hydra.launcher.workers=1")

Numbers = set[tuple[str, str, int, float]]


def numbers(project: Project) -> Numbers:
    """Every value of every run that is not a time: engine, metric, step, value."""
    query = """
        select tags.value, metrics.key, metrics.step, metrics.value from metrics
        join tags on tags.run_uuid = metrics.run_uuid and tags.key = 'harness.engine'
        where metrics.key not like 'time/%' and metrics.key not like 'system/%'
    """
    with sqlite3.connect(project.root / "mlflow.db") as database:
        return set(database.execute(query))


def hostile_keras(folder: Path) -> dict[str, str]:
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.01, "backend": "jax"}
    (folder / ".keras").mkdir()
    (folder / ".keras" / "keras.json").write_text(json.dumps(settings))
    return {
        "HOME": str(folder),
        "KERAS_BACKEND": "torch",
        "KERAS_MAX_EPOCHS": "1",
        "KERAS_MAX_STEPS_PER_EPOCH": "3",
        "KERAS_NNX_ENABLED": "true",
        "TF_USE_LEGACY_KERAS": "1",
    }


def hostile_tensorflow(folder: Path) -> dict[str, str]:
    return {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
        "TF_NUM_INTRAOP_THREADS": "7",
        "TF_XLA_FLAGS": "--no_such_flag",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "PYTHONHASHSEED": "1",
    }


def hostile_records(folder: Path) -> dict[str, str]:
    """Backend, style, warnings, language, MLflow and git of another place."""
    (folder / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Somebody else's"]):
        subprocess.run([*git, *command], check=True)
    return {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(folder),
        "PYTHONWARNINGS": "error",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_EXPERIMENT_ID": "99",
        "MLFLOW_EXPERIMENT_NAME": "theirs",
        "MLFLOW_TRUNCATE_LONG_VALUES": "false",
        "HYDRA_MAIN_MODULE": "theirs.main",
        "GIT_DIR": str(folder / ".git"),
        "GIT_WORK_TREE": str(folder),
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "20",
    }


@pytest.fixture(scope="module")
def ended(new_project: NewProject) -> dict[str, Project]:
    """The same sweep in a clean and in a hostile surrounding, side by side. Neither is a fork."""
    projects = {"clean": new_project(), "hostile": new_project()}
    started = [
        project.start(*SWEEP, program=(HARNESS,), environment=hostile(project.elsewhere) if name == "hostile" else {})
        for name, project in projects.items()
    ]
    for process in started:
        done = waited(process)
        assert done.returncode == 0, done.stderr
    return projects


def hostile(folder: Path) -> dict[str, str]:
    return hostile_keras(folder) | hostile_tensorflow(folder) | hostile_records(folder)


@pytest.fixture
def clean(ended: dict[str, Project]) -> Numbers:
    found = numbers(ended["clean"])
    assert {engine for engine, *_ in found} == {"compiled", "keras"}
    return found


def test_a_hostile_surrounding_changes_no_number_of_a_sweep_and_is_recorded(
    ended: dict[str, Project], clean: Numbers, tmp_path: Path
) -> None:
    project, variables = ended["hostile"], hostile(tmp_path)
    assert numbers(project) == clean
    own = subprocess.check_output(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], text=True).strip()
    expected = {name for name in variables if name.startswith(("KERAS_", "TF_", "XLA_", "NPY_", "MPL", "MLFLOW_"))}
    for run in project.runs():
        assert run.data.tags[COMMIT_TAG] == own
        assert expected <= set(run.data.tags["harness.ignored_environment"].split(", "))


@pytest.mark.processes
def test_a_style_in_the_working_directory_changes_nothing(clean: Numbers, empty: Project) -> None:
    (empty.elsewhere / "matplotlibrc").write_text("text.usetex: True\n")
    done = empty.run("train", *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert numbers(empty) == {number for number in clean if number[0] == "compiled"}


def test_relative_paths_and_names_like_numbers_arrive_where_hydra_changes_the_folder_of_a_job(empty: Project) -> None:
    copytree(REPOSITORY / "tests" / "data" / "fashion_mnist", empty.elsewhere / "dd (v2)")
    words = ("dataset.directory=dd (v2)", "dataset.train_size=200", "tracking.uri=sqlite:///own.db", "figures=none")
    names = ("tracking.experiment=1.10", "tracking.run_name=2e1354", "regime.epochs=1", "hydra.job.chdir=true")
    for command, seed in (("train", "seed=1"), ("sweep", "seed=2")):
        done = empty.run(command, *words, *names, seed)
        assert done.returncode == 0, done.stderr
    client = empty.client(f"sqlite:///{empty.elsewhere / 'own.db'}")
    runs = client.search_runs([client.get_experiment_by_name("1.10").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["2e1354", "2e1354", "mlp_128 adam"]
    given = {run.data.params["dataset.directory"] for run in runs if run.data.tags["harness.kind"] == "run"}
    assert given == {str(empty.elsewhere / "dd (v2)")}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), {"PYTHONOPTIMIZE": "2"}, "Unset PYTHONOPTIMIZE"),
        (("+hydra.job.env_set={XLA_FLAGS:x,MINE:y,KERAS_BACKEND:jax}",), {}, "XLA_FLAGS, KERAS_BACKEND cannot be set"),
    ],
)
def test_what_cannot_be_undone_is_refused_in_a_line(
    empty: Project, words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = empty.run("train", *SETTINGS, *words, environment=variables)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert list(empty.root.iterdir()) == []
