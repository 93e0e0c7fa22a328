"""What a store records is no reason to delete anything outside of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import OutsideStore
from harness.records import RunRecord, RunState
from harness.tracking.deleting import delete_runs
from harness.tracking.store import open_store
from tests.security.stranger import Stranger
from tests.security.test_servers import sending


@pytest.mark.parametrize("words", [("delete", "RUN", "--yes"), ("gc", "--yes")], ids=lambda words: words[0])
@pytest.mark.parametrize("run_id", ["documents", "../documents", "0" * 32])
def test_a_folder_elsewhere_is_not_deleted_for_a_run(
    words: tuple[str, ...], run_id: str, stranger: Stranger, private: Path
) -> None:
    victim = private / run_id
    victim.mkdir()
    (victim / "thesis").write_text("years of work")
    stranger.execute("PRAGMA foreign_keys = OFF")
    for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
        stranger.execute(f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?", run_id, stranger.run)
    stranger.execute("UPDATE experiments SET artifact_location = ?", private.as_uri())
    stranger.execute("UPDATE runs SET artifact_uri = ?", victim.as_uri())
    if words[0] == "gc":
        stranger.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    main([run_id if word == "RUN" else word for word in words] + ["--store", stranger.uri])
    assert (victim / "thesis").read_text() == "years of work"


OTHERS = "b" * 32


@pytest.mark.parametrize(
    ("uri", "model", "source"),
    [
        ("mlflow-artifacts:/", None, ""), ("mlflow-artifacts:/1", None, ""), ("mlflow-artifacts:/1/x/../", None, ""),
        (f"mlflow-artifacts:/1/{OTHERS}/artifacts", None, ""), ("mlflow-artifacts://other/1/RUN/artifacts", None, ""),
        ("http://127.0.0.1:9/1/RUN/artifacts", None, ""), ("file:///srv/RUN/artifacts", "mlflow-artifacts:/", "RUN"),
        ("mlflow-artifacts:/1/RUN/artifacts", "mlflow-artifacts:/1/models", "RUN"),
        ("mlflow-artifacts:/1/RUN/artifacts", f"mlflow-artifacts:/1/models/m-{OTHERS}/artifacts", OTHERS),
    ],
)  # fmt: skip
def test_a_server_is_not_asked_to_delete_what_is_of_others(
    uri: str, model: str | None, source: str, project: Path
) -> None:
    """Whatever place the run's record names, and whichever models it calls its own."""
    run_id, asked = "a" * 32, list[str]()
    info = {"run_id": run_id, "run_uuid": run_id, "experiment_id": "1", "status": "FINISHED", "start_time": 1,
            "end_time": 2, "lifecycle_stage": "active", "artifact_uri": uri.replace("RUN", run_id)}  # fmt: skip
    outputs = {} if model is None else {"outputs": {"model_outputs": [{"model_id": f"m-{OTHERS}", "step": 0}]}}
    logged = {"model_id": f"m-{OTHERS}", "experiment_id": "1", "name": "model", "creation_timestamp_ms": 1,
              "last_updated_timestamp_ms": 1, "artifact_uri": model, "status": "LOGGED_MODEL_READY",
              "source_run_id": source.replace("RUN", run_id)}  # fmt: skip

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(f"{handler.command} {handler.path}")
        content: object = {}
        if "/runs/get" in handler.path:
            content = {"run": {"info": info, "data": {}, **outputs}}
        elif "/logged-models/" in handler.path:
            content = {"model": {"info": logged}}
        elif "/experiments/get" in handler.path:
            content = {"experiment": {"experiment_id": "1", "name": "a", "artifact_location": "x"}}
        body = json.dumps(content).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    run = RunRecord(run_id, "theirs", "1", "a", RunState.FINISHED, datetime.now(UTC), None, {}, {}, {}, 0, "")
    with sending(answer) as address:
        if source == OTHERS:
            delete_runs(open_store(address), [run])
        else:
            with pytest.raises(OutsideStore):
                delete_runs(open_store(address), [run])
    deleted = [line for line in asked if line.startswith("DELETE") or "delete" in line]
    if source == OTHERS:
        assert not [line for line in deleted if OTHERS in line]
        assert any(f"/1/{run_id}/artifacts" in line for line in deleted), "its own go"
    else:
        assert deleted == []
