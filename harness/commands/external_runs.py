"""Options for reading external runs; several commands have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from harness.analysis.metric_names import Naming
from harness.errors import RequestError

Command = TypeVar("Command", bound=Callable[..., None])

_OPTIONS = (
    click.option("--train-metric", metavar="NAME", help="Training accuracy of external runs, such as accuracy."),
    click.option("--held-out-metric", metavar="NAME", help="Their held-out accuracy, such as val_accuracy."),
    click.option("--train-loss-metric", metavar="NAME", help="Their training loss."),
    click.option("--held-out-loss-metric", metavar="NAME", help="Their held-out loss."),
    click.option("--group-by", metavar="PARAMETER,...", help="Parameters that tell their rows apart."),
)

NAMING_FLAGS = ("--train-metric", "--held-out-metric", "--train-loss-metric", "--held-out-loss-metric", "--group-by")


def naming_options(command: Command) -> Command:
    """Add the options to a command, which hands their values to `naming_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def naming_of(
    train_metric: str | None,
    held_out_metric: str | None,
    train_loss_metric: str | None,
    held_out_loss_metric: str | None,
    group_by: str | None,
) -> Naming:
    """What the options say. Raises `RequestError` for a `--group-by` that names nothing."""
    keys = tuple(key.strip() for key in (group_by or "").split(",") if key.strip())
    if group_by is not None and not keys:
        raise RequestError("--group-by: name at least one parameter, separated by commas.")
    return Naming(train_metric, held_out_metric, train_loss_metric, held_out_loss_metric, keys)
