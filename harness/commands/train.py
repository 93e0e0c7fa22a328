"""`harness train`: one run, or a sweep with `--multirun`. Arguments are Hydra's."""

from __future__ import annotations

from collections.abc import Sequence

import click

from harness.terminal import console as console_on
from harness.terminal import doing

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
        from harness.analysis.comparison import Comparison
        from harness.analysis.comparison_table import print_table, render
        from harness.commands.plans import plan_lines
        from harness.sweeps.launch import launch
        from harness.sweeps.runner import Outlook

    def report(comparison: Comparison) -> None:
        console = console_on()
        if console.is_interactive:
            print_table(comparison, console)
        else:
            click.echo(render(comparison, "table"), nl=False)

    def show_plan(outlook: Outlook) -> None:
        for line in plan_lines(outlook):
            click.echo(line)

    launch(arguments, report, multirun, show_plan)
    return 0
