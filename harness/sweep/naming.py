"""A run is called after what makes it differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.config import Config

UNNAMED = ("tracking.", "hydra.", "hydra/", "figures")
"""Settings that change no number; they name no run."""


def run_name(config: Config, overrides: Sequence[str], differing: Iterable[str] | None = None) -> str:
    """`mlp_128 sgd seed=0`: the values of `differing` keys in their order, by default of every override.

    A group's option stands alone, a setting with its last word. With nothing that differs: model and optimizer.
    """
    if config.tracking.run_name is not None:
        return config.tracking.run_name
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
    keys = list(given) if differing is None else [key for key in differing if key in given]
    parts = [_part(key, given[key]) for key in keys if not key.startswith(UNNAMED)]
    return " ".join(parts) or f"{config.model.name} {config.optimizer.name}"


def sweep_name(swept: Sequence[str], overrides: Sequence[str]) -> str:
    """`sweep of model, optimizer, seed`, led by the experiment's name where there is one."""
    experiments = [item.partition("=")[2] for item in overrides if item.lstrip("+").startswith("experiments=")]
    keys = ", ".join(key.rpartition(".")[2] for key in swept) or "one job"
    return f"{experiments[0]}: {keys}" if experiments else f"sweep of {keys}"


def _part(key: str, value: str) -> str:
    is_group = "." not in key and key != "seed"
    return value if is_group else f"{key.rpartition('.')[2]}={value}"
