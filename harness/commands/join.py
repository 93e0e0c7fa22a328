"""`harness join`: train jobs of a sweep that another command, perhaps on another machine, has started."""

from __future__ import annotations

import click

from harness.commands.store_option import import_option, store_option
from harness.commands.train import print_comparison
from harness.tracking.store import Store


@click.command(name="join")
@click.argument("sweep")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--wait", is_flag=True, help="Wait for the sweep if it has not begun; with latest, for the next one.")
@click.option("--config-dir", metavar="DIR", help="Your own folder of configurations, as for `harness sweep`.")
@import_option
@store_option
def command(sweep: str, overrides: tuple[str, ...], wait: bool, config_dir: str | None, store: Store) -> None:
    """Train jobs of a running sweep, one by one, until none is left.

    SWEEP is a sweep's id, the beginning of it, or its name; latest. Code, libraries, settings and data of this machine
    must be those of the sweep. KEY=VALUE are settings of this machine: hydra.launcher.workers=2, dataset.directory=DIR.

    You may stop at any time (Ctrl-C): the jobs that are not finished go to others.
    """
    from harness.sweeps.join import join
    from harness.sweeps.progress import SweepDisplay

    join(store, sweep, overrides, config_dir, wait, SweepDisplay(), print_comparison)
