"""Tab completion of the whole command line, behind the flag that Hydra users know: `harness -sc install=bash`.

The script that Hydra installs calls `harness -sc query=SHELL` with the line so far in COMP_LINE. Hydra knows nothing of
subcommands: this module completes those, hands the overrides of `train` and `sweep` to Hydra with the subcommand taken
out of the line, and asks click about the rest.
"""

from __future__ import annotations

import contextlib
import io
import os

import click
from click.shell_completion import ShellComplete

HYDRA_COMMANDS = ("train", "sweep")


def shell_completion(group: click.Group, arguments: list[str]) -> int:
    """Answer `-sc install=SHELL`, `-sc uninstall=SHELL` or `-sc query=SHELL`; returns the exit code."""
    action, _, shell = arguments[-1].partition("=")
    line = os.environ.get("COMP_LINE")
    if action != "query" or line is None:
        return _ask_hydra(arguments)
    # A message in the middle of a line being typed helps nobody.
    with contextlib.redirect_stderr(io.StringIO()):
        return _query(group, arguments, shell, line)


def _query(group: click.Group, arguments: list[str], shell: str, line: str) -> int:
    words = [word for word in line.split()[1:] if word != "--debug"]
    incomplete = words.pop() if words and not line.endswith(" ") else ""
    if words and words[0] in HYDRA_COMMANDS:
        os.environ["COMP_LINE"] = " ".join(["harness", *_known_to_hydra(words[1:]), incomplete])
        return _ask_hydra(arguments)
    if words:
        items = ShellComplete(group, {}, "harness", "_HARNESS_COMPLETE").get_completions(words, incomplete)
        found = [item.value for item in items if item.type == "plain"]
    else:
        found = [name for name in group.list_commands(click.Context(group)) if name.startswith(incomplete)]
    click.echo(("\n" if shell == "fish" else " ").join(found))
    return 0


def _known_to_hydra(words: list[str]) -> list[str]:
    """`words` without the flags that only the harness knows; they would end Hydra's own parsing of the line."""
    from hydra._internal.utils import get_args_parser

    _, unknown = get_args_parser().parse_known_args(words)
    return [word for word in words if word not in unknown]


def _ask_hydra(arguments: list[str]) -> int:
    import harness.sweeps.launch  # noqa: F401 - here, where nobody is told what takes long
    from harness.commands.train import run_hydra

    return run_hydra(arguments)
