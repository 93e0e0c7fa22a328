"""The description of a run that did not finish, in Markdown."""

from __future__ import annotations

from harness.records import RunState
from harness.text import clean, markdown, shell

STATES = {RunState.FAILED: "Failed", RunState.KILLED: "Stopped"}


def end_note(state: RunState, kind: str, reason: str, overrides: str) -> str:
    """Why a run ended in `state`, where there is more to read, and the command that runs it again.

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
