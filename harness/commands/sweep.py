"""`harness sweep`: a run for each combination of values. Arguments are Hydra's; the same as `harness train -m`."""

from __future__ import annotations

import click

from harness.commands.train import HYDRA_ARGUMENTS, run_hydra


@click.command(name="sweep", context_settings=HYDRA_ARGUMENTS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Train a grid of settings and compare the runs."""
    return run_hydra(arguments, multirun=True)
