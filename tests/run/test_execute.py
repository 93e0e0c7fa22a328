"""What a run does before it trains and while it does; whole runs are in tests/integration."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.composing import compose_config
from harness.config.schema import Config, RegimeConfig, ScheduleConfig
from harness.data import load_splits
from harness.errors import ConfigError, Terminated
from harness.run.checkpoint import Checkpoint
from harness.run.execute import RunContext, execute
from harness.run.log import NOISY_LABELS, RunObserver, log_configuration, log_data
from harness.tracking.store import open_store
from harness.tracking.writing import RunIdentity, tracked_run
from harness.training import TrainingState


class Watcher:
    """Keeps what it is told, with what the store had at that moment."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self.told: list[tuple[object, ...]] = []

    def training_started(self, epochs: range) -> None:
        self.told.append(("started", epochs))

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        stored = self._client.get_metric_history(self._run_id, "train/loss")
        self.told.append((epoch, metrics["train/loss"], [(metric.step, metric.value) for metric in stored]))

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None: ...

    def training_ended(self, reason: str) -> None:
        self.told.append(("ended", reason))


class Unwatched:
    """Listens to nothing."""

    def training_started(self, epochs: range) -> None: ...

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None: ...

    def epoch_completed(self, epoch: int, state: Callable[[], TrainingState]) -> None: ...

    def training_ended(self, reason: str) -> None: ...


@pytest.fixture
def uri(project: Path) -> str:
    return f"sqlite:///{project / 'mlflow.db'}"


def test_an_epoch_is_in_the_store_before_whoever_watches_hears_of_it(uri: str) -> None:
    with tracked_run(open_store(uri), RunIdentity("a run", "study")) as tracked:
        watcher = Watcher(MlflowClient(uri), tracked.run_id)
        recorded = RunObserver(tracked, watcher, Checkpoint(tracked.run_id, None))
        recorded.training_started(range(1, 3))
        recorded.epoch_ended(1, {"train/loss": 2.0})
        recorded.epoch_ended(2, {"train/loss": 1.0})
        recorded.training_ended("all epochs trained")
    assert watcher.told == [
        ("started", range(1, 3)), (1, 2.0, [(1, 2.0)]), (2, 1.0, [(1, 2.0), (2, 1.0)]), ("ended", "all epochs trained")
    ]  # fmt: skip


def test_a_signal_that_a_library_swallowed_ends_training_with_the_epoch(
    uri: str, subset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.machine.received_signal", signal.SIGTERM)
    config = compose_config([f"dataset.directory={subset}", "dataset.train_size=100", "regime.epochs=3"])
    with pytest.raises(Terminated, match="SIGTERM"):
        execute(config, RunContext("told"), Unwatched())
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("harness").experiment_id])
    assert run.info.status == "KILLED"


def test_settings_that_do_not_fit_each_other_are_a_recorded_failure(uri: str) -> None:
    config = Config(regime=RegimeConfig(schedule=ScheduleConfig(name="plateau", warmup_epochs=1)))
    with pytest.raises(ConfigError, match="cannot have a warm-up"):
        execute(config, RunContext("wrong"), Watcher(MlflowClient(uri), ""))
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("harness").experiment_id])
    assert (run.info.status, run.data.tags["harness.error_type"]) == ("FAILED", "ConfigError")
    assert run.data.params["regime.schedule.name"] == "plateau", "which settings they were can be seen"


def test_the_password_of_the_store_is_in_no_parameter_and_no_file(uri: str, project: Path) -> None:
    overrides = ["tracking.uri='http://ann:hush-hush@host'"]
    config = compose_config(overrides)
    with tracked_run(open_store(uri), RunIdentity("a run", "study")) as tracked:
        log_configuration(tracked, config, overrides)
    assert MlflowClient(uri).get_run(tracked.run_id).data.params["tracking.uri"] == "http://host"
    files = [file for file in project.rglob("*") if file.is_file()]
    assert {"config.yaml", "overrides.yaml"} <= {file.name for file in files}
    assert [file for file in files if b"hush-hush" in file.read_bytes()] == []


def test_the_module_is_imported_without_a_framework() -> None:
    code = (
        "import sys, harness.run; sys.exit(any(name in sys.modules for name in ('tensorflow', 'mlflow', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_replaced_labels_are_listed_in_an_artifact(uri: str, subset: Path) -> None:
    config = compose_config([f"dataset.directory={subset}", "dataset.train_size=100", "dataset.label_noise=0.2"])
    dataset, splits = load_splits(config.dataset, config.regime.validation)
    with tracked_run(open_store(uri), RunIdentity("a run", "study")) as tracked:
        log_data(tracked, dataset, splits)
    file = Path(MlflowClient(uri).download_artifacts(tracked.run_id, NOISY_LABELS))
    heading, *lines = file.read_text().splitlines()
    assert heading == "image,published,given"
    assert len(lines) == splits.noisy_labels > 15
    for image, published, given in (map(int, line.split(",")) for line in lines):
        assert dataset.train.labels[image] == published != given


@pytest.mark.slow
def test_a_run_with_every_axis_of_overfitting_records_what_it_was_trained_on(uri: str, subset: Path) -> None:
    config = compose_config(
        [
            f"dataset.directory={subset}", "dataset.train_size=200", "dataset.test_size=100", "dataset.label_noise=0.3",
            "model=mlp", "model.width=8", "model.depth=2", "model.shift=2", "model.dropout=0.1", "model.l2=0.001",
            "regime.label_smoothing=0.1", "regime.epochs=1", "figures=all", "tracking.log_model=false",
        ]
    )  # fmt: skip
    result = execute(config, RunContext("every axis"), Unwatched())
    run = MlflowClient(uri).get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["data/noisy_labels"] == pytest.approx(60, abs=3)
    assert run.data.metrics["model/parameters"] == 785 * 8 + 9 * 8 + 9 * 10
    assert (run.data.params["model.width"], run.data.params["model.shift"]) == ("8", "2")
