"""Ends runs that did not finish: writes their description, and records the end if their process has died."""

from __future__ import annotations

from pathlib import Path

from harness.records import RunRecord, RunState
from harness.text import clean, markdown, shell
from harness.tracking.selection import ERROR_TAG, ERROR_TYPE_TAG, NOTE_TAG, OVERRIDES_TAG, PROCESS_TAG, TRIES_TAG
from harness.tracking.shared_writes import tag_run
from harness.tracking.store import Store

STATES = {RunState.FAILED: "Failed", RunState.KILLED: "Stopped"}


def close_abandoned(
    store: Store,
    run: RunRecord,
    state: RunState,
    reason: str,
    kind: str,
    log_file: Path | None = None,
    traceback: str | None = None,
) -> None:
    """End a run that was left RUNNING, with the reason as text and as the `kind` of error.

    A run that has ended meanwhile, or that another process has resumed, is not changed. Log and traceback are logged as
    the run itself would have done. Raises `StoreError`.
    """
    note = end_note(state, kind, reason, run.tags.get(OVERRIDES_TAG, ""))
    with store.connected() as client:
        now = client.get_run(run.run_id)
        if now.info.status != run.state or now.data.tags.get(PROCESS_TAG) != run.tags.get(PROCESS_TAG):
            return
        tag_run(store, run.run_id, {ERROR_TAG: reason, ERROR_TYPE_TAG: kind, NOTE_TAG: note})
        if log_file is not None:
            tries = run.tags.get(TRIES_TAG, "1")
            folder = "logs" if tries == "1" else f"logs/try_{tries}"
            store.check_targets(now.info.artifact_uri, [f"{folder}/{log_file.name}"])
            client.log_artifact(run.run_id, str(log_file), folder)
        if traceback is not None:
            store.check_targets(now.info.artifact_uri, ["traceback.txt"])
            client.log_text(run.run_id, traceback, "traceback.txt")
        client.set_terminated(run.run_id, status=str(state))


def end_note(state: RunState, kind: str, reason: str, overrides: str) -> str:
    """The description of a run that did not finish: its state and reason, its log files, and the command to repeat it.

    `kind` is the type of the error, `overrides` are the settings as they were typed.
    """
    fenced = clean(reason, lines=True).replace("```", "'''")
    lines = [
        f"**{STATES.get(state, state)}** ({markdown(kind)})",
        f"```\n{fenced}\n```",
        "Among the artifacts: `traceback.txt` and the log in `logs/`.",
        f"The same run again:\n```\n{shell(['harness', 'train', *overrides.split()])}\n```",
    ]
    return "\n\n".join(lines) + "\n"
