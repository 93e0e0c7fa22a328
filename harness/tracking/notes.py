"""The description of a run that did not finish, in Markdown."""

from __future__ import annotations

from harness.records import RunState

STATES = {RunState.FAILED: "Failed", RunState.KILLED: "Stopped"}


def end_note(state: RunState, kind: str, reason: str, overrides: str) -> str:
    """Why a run ended in `state`, where there is more to read, and the command that runs it again.

    `kind` is the type of the error, `overrides` are the settings as they were typed.
    """
    fenced = reason.replace("```", "'''")
    lines = [
        f"**{STATES.get(state, state)}** ({kind})",
        f"```\n{fenced}\n```",
        "Among the artifacts: `traceback.txt` and the log in `logs/`.",
        f"The same run again:\n```\n{f'harness train {overrides}'.rstrip()}\n```",
    ]
    return "\n\n".join(lines) + "\n"
