"""Real MLflow stores for tests, written with `MlflowClient` as the harness writes them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag

from harness.config.schema import Config, flatten


def new_client(folder: Path) -> tuple[str, MlflowClient]:
    """The URI of a new, empty SQLite store in `folder`, and a client on it."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return uri, MlflowClient(tracking_uri=uri)


def new_study(client: MlflowClient, folder: Path, name: str = "study") -> str:
    """The id of a new experiment with its artifacts in `folder` (MLflow's default is the working directory)."""
    identity: str = client.create_experiment(name, artifact_location=(folder / "mlruns" / name).as_uri())
    return identity


def record(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    started: int,
    settings: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    state: str | None = "FINISHED",
    tags: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> str:
    """Record a run with the default configuration changed by `settings`. Returns its id.

    With state None, the run stays running. `inputs` are the digests of its dataset inputs by context ("training", ...).
    """
    parameters = {**flatten(Config()), **(settings or {})}
    every = {"harness.kind": "run", **(tags or {})}
    run = client.create_run(experiment_id, start_time=started, run_name=name, tags=every)
    identity: str = run.info.run_id
    if every["harness.kind"] == "run":
        client.log_batch(
            identity,
            params=[Param(key, str(value)) for key, value in parameters.items()],
            metrics=[Metric(key, value, started, 0) for key, value in (metrics or {}).items()],
            tags=[RunTag("harness.note", "it's here")],
        )
    if inputs is not None:
        client.log_inputs(
            identity,
            [
                DatasetInput(Dataset("images", digest, "local", "{}"), [InputTag("mlflow.data.context", context)])
                for context, digest in inputs.items()
            ],
        )
    if state is not None:
        client.set_terminated(identity, status=state, end_time=started + 5_000)
    return identity


def record_sweep(client: MlflowClient, experiment_id: str, name: str, *, started: int, swept: list[str]) -> str:
    """Record a sweep's parent run. Returns its id."""
    tags = {"harness.kind": "sweep", "harness.swept": json.dumps(swept)}
    return record(client, experiment_id, name, started=started, tags=tags)


def scores(train: float, test: float, val: float | None = None) -> dict[str, float]:
    """The final metrics of a run with these accuracies (fractions); losses are 1 - accuracy."""
    found = {"final/train_accuracy": train}
    for split, accuracy in {"test": test, "val": val}.items():
        if accuracy is not None:
            found[f"final/{split}_accuracy"] = accuracy
            found[f"final/gap_{split}_accuracy"] = train - accuracy
            found[f"final/gap_{split}_loss"] = train - accuracy
    return found


def record_model(client: MlflowClient, run_id: str, files: Mapping[str, str]) -> str:
    """Log a model with these files (text by path) as the output of a run. Returns its id."""
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment_id, name="model", source_run_id=run_id)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    identity: str = logged.model_id
    return identity
