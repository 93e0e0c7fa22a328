"""Names of runs and sweeps, made from the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.analysis.settings import headings
from harness.config.schema import OPERATIONAL, PUBLISHED_SOURCE, Config, is_single

EXPERIMENTS = "experiments"
UNNAMED = ("hydra.", "hydra/", *OPERATIONAL)
"""Settings that change no number, or only its last digits; they are not part of a name."""
_CHOOSING_DATA = ("dataset", "dataset.name", "dataset.file", "dataset.directory", "dataset.loader")
QUOTES = "'\""


def run_name(config: Config, overrides: Sequence[str], differing: Iterable[str] | None = None) -> str:
    """The name of a run. For a single run `tracking.run_name`, if set (in a sweep that is the name of the sweep).

    In a sweep: the values of the `differing` keys, in order: `mlp_128 sgd seed=0`. A single run without a name: model
    and optimizer, then every other override: `mlp_128 adam epochs=4`.
    """
    if config.tracking.run_name is not None and differing is None:
        return config.tracking.run_name
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
    chosen = {"model": config.model.name, "optimizer": config.optimizer.name}
    if differing is None:
        named = chosen | {key: value for key, value in given.items() if key not in chosen}
    else:
        named = {key: given[key] for key in differing if key in given}
    if config.dataset.source != PUBLISHED_SOURCE:  # its label says more than a path
        named = {"dataset" if key in _CHOOSING_DATA else key: value for key, value in named.items()}
        named |= {"dataset": config.dataset.name} if "dataset" in named else {}
    named = {key: value for key, value in named.items() if not key.startswith(UNNAMED)} or chosen
    if differing is None and config.model.name == config.model.builder:
        named.pop("model.builder", None)
    short = headings(list(named))
    # The option of a group (`mlp_128`) is clear without the group's name; a setting needs its name (`seed=0`).
    return " ".join(f"{short[key]}={value.strip(QUOTES)}" if is_single(key) else value for key, value in named.items())


def group_name(config: Config, overrides: Sequence[str], differing: Iterable[str]) -> str:
    """The common name of runs of a sweep that differ only in their seed: `mlp_128 sgd`."""
    return run_name(config, overrides, [key for key in differing if key != "seed"])


def sweep_name(swept: Sequence[str], overrides: Sequence[str]) -> str:
    """`sweep of model, optimizer, seed`, with the experiment's name in front if there is one."""
    experiments = [item.partition("=")[2] for item in overrides if item.lstrip("+").startswith(f"{EXPERIMENTS}=")]
    keys = ", ".join(headings(swept).values()) or "one job"
    one = bool(experiments) and EXPERIMENTS not in swept
    return f"{experiments[0]}: {keys}" if one else f"sweep of {keys}"
