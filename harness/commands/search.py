"""`harness search`: the best configuration that a budget allows. The same as `harness sweep hydra/sweeper=optuna`."""

from __future__ import annotations

import click

from harness.commands.train import HYDRA_ARGUMENTS, run_hydra


@click.command(name="search", context_settings=HYDRA_ARGUMENTS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Search for settings with a small gap."""
    return run_hydra(("hydra/sweeper=optuna", *arguments), multirun=True)
