"""Asks for confirmation before something is deleted."""

from __future__ import annotations

import sys

import click

from harness.errors import RequestError

DECLINED = 1
"""The exit code of a command that was told not to."""


def agreed(question: str, yes: bool) -> bool:
    """Whether the user wants it: said with `--yes`, or asked for now. Raises `RequestError` where nobody answers."""
    if yes:
        return True
    click.echo(f"{question} [y/N] ", nl=False)
    answer = sys.stdin.readline()
    if not answer:
        click.echo()
        raise RequestError("There was no answer, so nothing was deleted. Add --yes to delete without a question.")
    if answer.strip().lower() in ("y", "yes"):
        return True
    click.echo("Nothing was deleted.")
    return False
