"""The table of docs/configuration.md that is made of the code: `make options` writes it, with cog.

The first cell of a row is the setting, the second what its type and rule allow, the third the optimizers that have it.
"""

from __future__ import annotations

import dataclasses
import typing

from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import OptimizerConfig

TYPES = {float: "number", int: "whole number", bool: "`true`, `false`"}
LIMITS = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}


def optimizer_options() -> str:
    """The rows of all options but the learning rate, which is among the other settings."""
    kinds = typing.get_type_hints(OptimizerConfig)
    lines = ["| setting | allowed | for |", "|---|---|---|"]
    for item in dataclasses.fields(OptimizerConfig):
        having = [f"`{name}`" for name, optimizer in OPTIMIZERS.items() if item.name in optimizer.options]
        if item.name not in ("name", "learning_rate"):
            users = "every one" if len(having) == len(OPTIMIZERS) else ", ".join(having)
            lines.append(f"| `optimizer.{item.name}` | {_allowed(kinds[item.name], item.metadata)} | {users} |")
    return "\n".join(lines)


def _allowed(kind: object, rule: typing.Mapping[str, object]) -> str:
    [word] = [word for each, word in TYPES.items() if each in typing.get_args(kind)]
    limits = [f"{words} {rule[key]}" for key, words in LIMITS.items() if rule.get(key) is not None]
    return f"{word}{', ' if limits else ''}{' and '.join(limits)}; or `null`"
