"""A run is called after what makes it differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.analysis.settings import headings
from harness.config.schema import SWEEP_SETTINGS, Config, flatten

EXPERIMENTS = "experiments"
UNNAMED = (
    "tracking.", "hydra.", "hydra/", "figures", "palette", "resume", "threads", "dataset.directory", *SWEEP_SETTINGS,
)  # fmt: skip
"""Settings that change no number, or its last digits; they name no run."""
SINGLE = frozenset(flatten(Config()))
"""Settings, as opposed to groups of them."""
QUOTES = "'\""


def run_name(config: Config, overrides: Sequence[str], differing: Iterable[str] | None = None) -> str:
    """What a run is called: for a single run, what `tracking.run_name` says; in a sweep that names the whole.

    In a sweep the values of the `differing` keys, in their order: `mlp_128 sgd seed=0`. A single run has nothing to
    differ from but the defaults: model and optimizer, then every other override: `mlp_128 adam epochs=4`.
    """
    if config.tracking.run_name is not None and differing is None:
        return config.tracking.run_name
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
    chosen = {"model": config.model.name, "optimizer": config.optimizer.name}
    if differing is None:
        named = chosen | {key: value for key, value in given.items() if key not in chosen}
    else:
        named = {key: given[key] for key in differing if key in given}
    named = {key: value for key, value in named.items() if not key.startswith(UNNAMED)} or chosen
    short = headings(list(named))
    # A group is known by its option; a setting needs its name.
    return " ".join(f"{short[key]}={value.strip(QUOTES)}" if key in SINGLE else value for key, value in named.items())


def group_name(config: Config, overrides: Sequence[str], differing: Iterable[str]) -> str:
    """What runs of a sweep that differ in their seed only are called together: `mlp_128 sgd`."""
    return run_name(config, overrides, [key for key in differing if key != "seed"])


def sweep_name(swept: Sequence[str], overrides: Sequence[str]) -> str:
    """`sweep of model, optimizer, seed`, led by the experiment's name where there is one."""
    experiments = [item.partition("=")[2] for item in overrides if item.lstrip("+").startswith(f"{EXPERIMENTS}=")]
    keys = ", ".join(headings(swept).values()) or "one job"
    one = bool(experiments) and EXPERIMENTS not in swept
    return f"{experiments[0]}: {keys}" if one else f"sweep of {keys}"
