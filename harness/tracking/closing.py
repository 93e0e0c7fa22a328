"""Ends runs whose own process can no longer do it."""

from __future__ import annotations

from harness.records import RunRecord, RunState
from harness.tracking.selection import ERROR_TAG
from harness.tracking.store import explained, open_client

ERROR_TYPE_TAG = "harness.error_type"


def close_abandoned(uri: str, run: RunRecord, state: RunState, reason: str) -> None:
    """Give a run that was left RUNNING its end, and say why."""
    client = open_client(uri)
    with explained(uri):
        client.set_tag(run.run_id, ERROR_TAG, reason)
        client.set_tag(run.run_id, ERROR_TYPE_TAG, "ProcessDied")
        client.set_terminated(run.run_id, status=str(state))
