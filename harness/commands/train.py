"""`harness train`: one run, or a sweep with `--multirun`. Arguments are Hydra's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.terminal import console as console_on
from harness.terminal import doing

if TYPE_CHECKING:
    from harness.analysis.comparison import Comparison

HYDRA_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Everything behind the subcommand goes to Hydra as it is, `--help` included."""


@click.command(name="train", context_settings=HYDRA_ARGUMENTS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Train one model and track the run."""
    return run_hydra(arguments)


def run_hydra(arguments: Sequence[str], multirun: bool = False) -> int:
    """Hand `arguments` to Hydra and print what comes back; returns the exit code."""
    with doing("Loading"):
        from harness.commands.plans import plan_lines
        from harness.sweeps.launch import launch
        from harness.sweeps.runner import Outlook

    def show_plan(outlook: Outlook) -> None:
        for line in plan_lines(outlook):
            click.echo(line)

    launch(arguments, print_comparison, multirun, show_plan)
    return 0


def print_comparison(comparison: Comparison) -> None:
    """Print the comparison of a sweep at its end."""
    from harness.analysis.comparison_table import print_table, render

    console = console_on()
    if console.is_interactive:
        print_table(comparison, console)
    else:
        click.echo(render(comparison, "table"), nl=False)
