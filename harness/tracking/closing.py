"""Ends runs whose own process can no longer do it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.records import RunRecord, RunState
from harness.tracking.access import taken_retried
from harness.tracking.attaching import check_targets
from harness.tracking.notes import end_note
from harness.tracking.selection import ERROR_TAG, ERROR_TYPE_TAG, NOTE_TAG, OVERRIDES_TAG, PROCESS_TAG, TRIES_TAG
from harness.tracking.store import Store


def close_abandoned(
    store: Store,
    run: RunRecord,
    state: RunState,
    reason: str,
    kind: str,
    log_file: Path | None = None,
    traceback: str | None = None,
) -> None:
    """Give a run that was left RUNNING its end, and say why: in words, and by the `kind` of error.

    One whose state is no longer that of `run` has ended by itself meanwhile, or another process goes on with it: it is
    left as it is. What there is of its
    log and of a traceback is kept as the run itself would have kept it. Raises `StoreError`.
    """
    client = store.client
    note = end_note(state, kind, reason, run.tags.get(OVERRIDES_TAG, ""))
    with store.explained():
        now = client.get_run(run.run_id)
        if now.info.status != run.state or now.data.tags.get(PROCESS_TAG) != run.tags.get(PROCESS_TAG):
            return
        for tag, value in ((ERROR_TAG, reason), (ERROR_TYPE_TAG, kind), (NOTE_TAG, note)):
            taken_retried(partial(client.set_tag, run.run_id, tag, value))
        if log_file is not None:
            tries = run.tags.get(TRIES_TAG, "1")
            folder = "logs" if tries == "1" else f"logs/try_{tries}"
            check_targets(store, now.info.artifact_uri, [f"{folder}/{log_file.name}"])
            client.log_artifact(run.run_id, str(log_file), folder)
        if traceback is not None:
            check_targets(store, now.info.artifact_uri, ["traceback.txt"])
            client.log_text(run.run_id, traceback, "traceback.txt")
        client.set_terminated(run.run_id, status=str(state))
