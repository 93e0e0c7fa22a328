"""The space of a search, from Hydra's sweep syntax: which settings may have which values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.composing.configs import SEARCH
from harness.composing.explaining import explained
from harness.composing.grid import refuse_unsweepable
from harness.composing.setup import CONFIG_NAME, config_loader
from harness.composing.words import as_written
from harness.config.schema import Config
from harness.config.search import Dimension, SearchConfig, Space
from harness.config.validation import field_problems
from harness.errors import ConfigError, suggestion

SEARCH_SWEEPER = "optuna"
"""The option of `hydra/sweeper` that makes a sweep a search."""
USUAL = "search=tpe"


@dataclass(frozen=True)
class SpaceOfWords:
    """What a command line says of a search.

    `fixed` are the overrides that all trials share, `space` the settings that are searched over, `settings` the search
    itself. `launcher` is the configuration of Hydra's launcher, `hydra` are the overrides of Hydra's own settings.
    """

    fixed: tuple[str, ...]
    space: Space
    settings: SearchConfig
    seed: int
    launcher: Mapping[str, Any] = field(default_factory=dict)
    hydra: tuple[str, ...] = ()


def chooses_search(overrides: Sequence[str]) -> bool:
    """Whether a sweep is to be a search: `hydra/sweeper=optuna`."""
    given = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith("hydra/sweeper=")]
    return given[-1:] == [SEARCH_SWEEPER]


def is_of_search(override: str) -> bool:
    """Whether an override is about a search: `search=...`, `search.trials=...`."""
    return override.lstrip("+~").partition("=")[0].partition(".")[0] == SEARCH


def search_space(
    overrides: Sequence[str], config_name: str = CONFIG_NAME, config_dir: str | None = None
) -> SpaceOfWords:
    """The space that `overrides` and `hydra.sweeper.params` describe.

    Raises `ConfigError`: nothing is searched over, a seed is, or a value is wrong.
    """
    loader = config_loader(config_dir)
    about = [word for word in overrides if is_of_search(word)]
    _refuse_unknown(about)
    with explained(overrides):
        parser = OverridesParser.create(config_loader=loader)
        for item in parser.parse_overrides(about):
            if item.is_sweep_override():
                raise ConfigError(f"{item.input_line}: a search has one value of it.")
        given = parser.parse_overrides(as_written([word for word in overrides if not is_of_search(word)]))
        hydra = [str(item.input_line) for item in given if item.is_hydra_override()]
        given = [item for item in given if not item.is_hydra_override()]
        plain = [str(item.input_line) for item in given if not item.is_sweep_override()]

        def composed(words: Sequence[str]) -> DictConfig:
            return loader.load_configuration(config_name, [*hydra, *plain, *words], RunMode.MULTIRUN, from_shell=False)

        chosen = any(word.lstrip("+").startswith(f"{SEARCH}=") for word in about)
        found = composed(about) if chosen else composed([])
        if not chosen:  # an experiment may have chosen one
            found = composed([*([] if found.get(SEARCH) is not None else [USUAL]), *about])
        settings = _settings(found)
        params = found.hydra.sweeper.get("params") or {}
        items = parser.parse_overrides(as_written([f"{key}={value}" for key, value in params.items()]))
        last = {item.get_key_element(): item for item in (*items, *given)}
        space = {
            str(item.key_or_group): dimension
            for item in last.values()
            if item.is_sweep_override() and (dimension := _dimension(item)) is not None
        }
    fixed = [str(item.input_line) for item in last.values() if not item.is_sweep_override()]
    if not space:
        raise ConfigError(
            "There is nothing to search over: give at least one setting several values, as in "
            "'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))' or model=mlp_128,cnn."
        )
    seed = found.get("seed")
    content = OmegaConf.to_container(found.hydra.launcher)
    assert isinstance(content, dict)
    return SpaceOfWords(
        tuple(as_written(fixed)), space, settings, seed if isinstance(seed, int) else 0,
        {str(name): value for name, value in content.items()}, tuple(hydra),
    )  # fmt: skip


def _refuse_unknown(about: Sequence[str]) -> None:
    known = [item.name for item in dataclasses.fields(SearchConfig)]
    for word in about:
        name = word.lstrip("+~").partition("=")[0].partition(".")[2]
        if name and name not in known:
            raise ConfigError(
                f"{word}: there is no such setting. A search has {', '.join(known)}.{suggestion(name, known)}"
            )


def _settings(composed: DictConfig) -> SearchConfig:
    settings = OmegaConf.to_object(composed[SEARCH])
    assert isinstance(settings, SearchConfig)
    if problems := [f"search.{problem}" for problem in field_problems(settings, "")]:
        raise ConfigError("\n".join(problems))
    _ = settings.seconds  # refuses what is no time
    if settings.confirm == 1:
        raise ConfigError("search.confirm=1: an interval needs at least two runs. Use 5, or 0 for none.")
    return settings


def _dimension(item: Override) -> Dimension | None:
    """The values of a swept override; None if it has a single one. Raises `ConfigError`."""
    key, sweep = str(item.key_or_group), item.value()
    refuse_unsweepable(item)
    if key == "seed" or key.endswith(("_seed", ".seed")):
        raise ConfigError(
            f"{item.input_line}: a seed is never searched over, because the best of several seeds is luck. Every trial "
            f"is trained under several seeds: search.seeds=3{'' if key == 'seed' else f'; give one value of {key}'}."
        )
    if isinstance(sweep, IntervalSweep):
        return _interval(item, sweep)
    if isinstance(sweep, RangeSweep):
        return _range(item, sweep)
    choices = tuple(dict.fromkeys(item.sweep_string_iterator()))
    if not choices:
        raise ConfigError(f"{item.input_line}: has no value.")
    if isinstance(sweep, Sweep) and "log" in sweep.tags:
        raise ConfigError(f"{item.input_line}: log is for numbers: tag(log,interval(1e-4,1e-1)).")
    return Dimension(choices)


def _interval(item: Override, sweep: IntervalSweep) -> Dimension:
    low, high = sweep.start, sweep.end
    if low is None or high is None or not math.isfinite(low) or not math.isfinite(high) or low > high:
        raise ConfigError(f"{item.input_line}: must be interval(START,END) with START below END.")
    whole = (isinstance(low, int) and isinstance(high, int)) or str(item.key_or_group) in WHOLE
    if whole and math.ceil(low) > math.floor(high):
        raise ConfigError(f"{item.input_line}: has no whole number in it.")
    if whole:
        low, high = math.ceil(low), math.floor(high)
    return _logarithmic(item, sweep, Dimension(low=low, high=high, whole=whole))


def _range(item: Override, sweep: RangeSweep) -> Dimension:
    values = [float(text) for text in item.sweep_string_iterator()]
    if not values:
        raise ConfigError(f"{item.input_line}: has no value.")
    step = abs(float(sweep.step))
    whole = all(value.is_integer() for value in values) and step.is_integer()
    low, high = min(values), max(values)
    if "log" in sweep.tags and step != 1:
        raise ConfigError(f"{item.input_line}: tag(log,range(...)) has no other step than 1. Use interval(...).")
    numbers = Dimension(
        low=int(low) if whole else low, high=int(high) if whole else round(low + round((high - low) / step) * step, 12),
        whole=whole, step=step,
    )  # fmt: skip
    return _logarithmic(item, sweep, numbers)


def _logarithmic(item: Override, sweep: Sweep, numbers: Dimension) -> Dimension:
    if "log" not in sweep.tags:
        return numbers
    if numbers.low <= 0:
        raise ConfigError(f"{item.input_line}: log needs numbers above zero.")
    return dataclasses.replace(numbers, log=True, step=None)


def _whole(node: type, prefix: str = "") -> list[str]:
    found = []
    for name, hint in get_type_hints(node).items():
        if hasattr(hint, "__dataclass_fields__"):
            found += _whole(hint, f"{prefix}{name}.")
        elif hint in (int, int | None):
            found.append(f"{prefix}{name}")
    return found


WHOLE = frozenset(_whole(Config))
"""Settings that are whole numbers."""
