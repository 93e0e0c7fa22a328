"""Ends runs whose own process can no longer do it."""

from __future__ import annotations

from harness.records import RunRecord, RunState
from harness.tracking.selection import ERROR_TAG, ERROR_TYPE_TAG
from harness.tracking.store import explained, open_client


def close_abandoned(uri: str, run: RunRecord, state: RunState, reason: str, kind: str) -> None:
    """Give a run that was left RUNNING its end, and say why: in words, and by the `kind` of error."""
    client = open_client(uri)
    with explained(uri):
        client.set_tag(run.run_id, ERROR_TAG, reason)
        client.set_tag(run.run_id, ERROR_TYPE_TAG, kind)
        client.set_terminated(run.run_id, status=str(state))
