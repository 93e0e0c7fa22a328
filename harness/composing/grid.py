"""Expands a sweep into its jobs, as Hydra's own sweeper does.

This is done once, and the plan and the launcher get the same jobs. A second grid could differ, because `shuffle` would
draw again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.default_element import ConfigDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from harness.composing.explaining import explained
from harness.composing.setup import CONFIG_NAME, config_loader
from harness.composing.words import TEXTS, as_written
from harness.config.schema import SWEEP_SETTINGS, Config, flatten
from harness.errors import ConfigError

GRID_SWEEPER = "hydra_plugins.harness.GridSweeper"
"""Our sweeper. It runs the jobs that it is given; any other sweeper makes its own grid."""
GRID_SWEEPERS = ("", GRID_SWEEPER, "hydra._internal.core_plugins.basic_sweeper.BasicSweeper")
"""Sweepers whose jobs are known before they start."""
SWEEPER_SETTINGS = {"_target_", "max_batch_size", "params"}


@dataclass(frozen=True)
class SweepJobs:
    """The jobs of a sweep in Hydra's order.

    `jobs` has the overrides of each job, and `hydra` those of Hydra's own settings, which are the same for all jobs.
    `swept` names the settings and groups with several values. `launcher` is the configuration of Hydra's launcher,
    `sweeper` the class of Hydra's sweeper.
    """

    jobs: tuple[tuple[str, ...], ...]
    swept: tuple[str, ...]
    launcher: Mapping[str, Any] = field(default_factory=dict)
    sweeper: str = ""
    hydra: tuple[str, ...] = ()


def expand_sweep(overrides: Sequence[str], config_name: str = CONFIG_NAME, config_dir: str | None = None) -> SweepJobs:
    """The grid that Hydra's sweeper makes from `overrides` and `hydra.sweeper.params`.

    An option of a swept group can have its own `hydra.sweeper.params`, as experiments do. Then each option has its own
    grid, one after the other. Raises `ConfigError` for overrides that cannot be in a grid.
    """
    loader = config_loader(config_dir)
    with explained(overrides):
        return _Expansion(loader, config_name, overrides).expanded()


@dataclass(frozen=True)
class _SweepSettings:
    """The parts of Hydra's configuration that are about the sweep itself."""

    params: Mapping[str, str]
    launcher: Mapping[str, Any]
    sweeper: Mapping[str, Any]


class _Expansion:
    def __init__(self, loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]) -> None:
        self._loader, self._config_name = loader, config_name
        self._parser = OverridesParser.create(config_loader=loader)
        given = self._parser.parse_overrides(as_written(overrides))
        for item in given:
            if item.is_sweep_override():
                refuse_unsweepable(item)
        self._hydra = [str(item.input_line) for item in given if item.is_hydra_override()]
        self._given = [item for item in given if not item.is_hydra_override()]
        self._settings: Callable[[tuple[str, ...]], _SweepSettings] = cache(self._composed_settings)

    def expanded(self) -> SweepJobs:
        jobs, swept = self._expand({})
        settings = self._settings(())
        target = str(settings.sweeper.get("_target_"))
        return SweepJobs(tuple(jobs), tuple(swept), settings.launcher, target, tuple(self._hydra))

    def _example(self, item: Override) -> Override:
        """The ends of an interval, which another sweeper understands, for a check of its jobs."""
        sweep = item.value()
        if not isinstance(sweep, IntervalSweep) or sweep.start is None or sweep.end is None:
            return item
        [found] = self._parser.parse_overrides([f"{item.get_key_element()}={sweep.start},{sweep.end}"])
        return found

    def _expand(self, chosen: Mapping[str, str]) -> tuple[list[tuple[str, ...]], list[str]]:
        """The jobs and the swept keys, with the groups in `chosen` set to these options."""
        words = [f"{key}={option}" for key, option in chosen.items()]
        settings = self._settings(tuple(words))
        params = self._parser.parse_overrides(as_written([f"{key}={value}" for key, value in settings.params.items()]))
        every = [*params, *self._given, *self._parser.parse_overrides(words)]
        last = {item.get_key_element(): item for item in every}
        for key, item in last.items():
            if item.is_sweep_override():
                refuse_unsweepable(item)
                if settings.sweeper.get("_target_") not in GRID_SWEEPERS:
                    item = last[key] = self._example(item)
                _refuse_endless(item)
                if options := self._options_with_grids(key, item, tuple(words), settings):
                    parts = [self._expand({**chosen, key: option}) for option in options]
                    swept = dict.fromkeys(name for _, names in parts for name in names)
                    return [job for jobs, _ in parts for job in jobs], list(swept)
        (grid,) = BasicSweeper.split_arguments([last[item.get_key_element()] for item in every], None)
        for item in last.values():
            if not grid and item.is_sweep_override() and not list(item.sweep_string_iterator()):
                raise ConfigError(f"{item.input_line}: has no value.{self._options_there_are(item)}")
        several = [key for key, item in last.items() if item.is_sweep_override()]
        return [tuple(as_written(job)) for job in grid], list(
            dict.fromkeys(key.lstrip("+") for key in [*chosen, *several])
        )

    def _options_with_grids(
        self, key: str, item: Override, words: tuple[str, ...], settings: _SweepSettings
    ) -> list[str]:
        """The options that `item` sweeps over, if at least one of them has its own grid; otherwise none."""
        if not item.is_choice_sweep() or not self._options(item.key_or_group):
            return []
        options, any_grid = list(item.sweep_string_iterator()), False
        for option in options:
            if item.package is None and not self._reaches_hydra(f"{item.key_or_group}/{option}"):
                continue
            found = self._settings((*words, f"{key}={option}"))
            if (found.launcher, found.sweeper) != (settings.launcher, settings.sweeper):
                raise ConfigError(
                    f"{key}={option}: sets Hydra's launcher or sweeper, but all jobs of a sweep share these. Set them "
                    "on the command line, or sweep this option alone."
                )
            any_grid = any_grid or found.params != settings.params
        if any_grid and settings.sweeper.get("_target_") != GRID_SWEEPER:
            raise ConfigError(
                f"{item.input_line}: options with their own grid (hydra.sweeper.params) need hydra/sweeper=grid. "
                "Remove the other sweeper, or sweep each option alone."
            )
        return options if any_grid else []

    def _composed_settings(self, words: tuple[str, ...]) -> _SweepSettings:
        given = [str(item.input_line) for item in self._given]
        # Hydra composes the configuration of a sweep in the same way: without the settings that have several values.
        with explained([*self._hydra, *given, *words]):
            composed = self._loader.load_configuration(
                self._config_name, [*self._hydra, *given, *words], RunMode.MULTIRUN, from_shell=False
            )
        sweeper, launcher = _content(composed.hydra.sweeper), _content(composed.hydra.launcher)
        sweeper.pop("params", None)
        params = composed.hydra.sweeper.get("params") or {}
        if not isinstance(params, DictConfig | dict):
            raise ConfigError(
                f"hydra.sweeper.params={params}: must give the values of each key, as in "
                "'hydra.sweeper.params={seed:\"1,2\"}'."
            )
        if sweeper.get("_target_") == GRID_SWEEPER and (extra := sorted(sweeper.keys() - SWEEPER_SETTINGS)):
            raise ConfigError(
                f"hydra.sweeper.{extra[0]}: the sweeper has no such setting. Write the values to sweep over one level "
                f"below: hydra.sweeper.params.{extra[0]}=..."
            )
        size = sweeper.get("max_batch_size")
        if size is not None and (type(size) is not int or size < 1):
            raise ConfigError(f"hydra.sweeper.max_batch_size={size}: must be a whole number, at least 1, or null.")
        for key, value in params.items_ex(resolve=False) if isinstance(params, DictConfig) else params.items():
            _refuse_misread(str(key), value)
        return _SweepSettings({str(key): str(value) for key, value in params.items()}, launcher, sweeper)

    def _options(self, group: str) -> list[str]:
        return self._loader.get_group_options(group, config_name=self._config_name, overrides=self._hydra)

    def _options_there_are(self, item: Override) -> str:
        options = self._options(item.key_or_group)
        return f" The options there are {', '.join(options)}." if options else ""

    def _reaches_hydra(self, path: str) -> bool:
        """Whether the file of an option could change Hydra's own settings. Composing it would tell, but takes 0.1 s."""
        loaded = self._loader.repository.load_config(path)
        if loaded is None or loaded.header["package"] is not None:
            return True
        group = path.rpartition("/")[0]
        return any(
            not isinstance(item, ConfigDefault)
            or item.package is not None
            or str(item.path).startswith("/")
            or self._reaches_hydra(f"{group}/{item.path}")
            for item in loaded.defaults_list or []
            if not item.is_self()
        )


def _content(node: DictConfig) -> dict[str, Any]:
    """The settings as written: references such as the time or the folder of a job are not resolved."""
    content = OmegaConf.to_container(node)
    assert isinstance(content, dict)
    return {str(name): value for name, value in content.items()}


LISTS = frozenset(key for key, value in flatten(Config()).items() if isinstance(value, list))


def _refuse_misread(key: str, value: Any) -> None:
    """Raise `ConfigError` for values of `hydra.sweeper.params` that YAML did not read as the user meant them."""
    named = f"hydra.sweeper.params.{key}"
    if isinstance(value, list | ListConfig):
        several = key not in LISTS or any(isinstance(item, list | ListConfig) for item in value)
        if several:
            written = ",".join(str(item).replace(" ", "") for item in value)
            raise ConfigError(
                f"{named}: {value} is a YAML list, which counts as one value. Separate the values with commas: "
                f"{key}: {written if key not in LISTS else repr(written)}"
            )
    elif key in TEXTS and value is not None and not isinstance(value, str):
        raise ConfigError(
            f"{named}: YAML reads this as {value}, but {key} is a text. Put it in quotes to keep its characters."
        )


def refuse_unsweepable(item: Override) -> None:
    """Raise `ConfigError` for a setting that all jobs of a sweep share."""
    key, words = item.key_or_group, item.input_line
    if key.startswith("tracking."):
        raise ConfigError(f"{key}: tracking cannot be swept, because the runs of a sweep are stored together.")
    if key.startswith("hydra.sweeper.params."):
        quoted = f"{item.get_key_element()}='{item.get_value_string()}'"
        raise ConfigError(f'{words}: put the values of a grid in quotes: "{quoted}".')
    if item.is_hydra_override():
        raise ConfigError(f"{key}: all jobs of a sweep share Hydra's own settings. Give one value.")
    if key == "resume":
        raise ConfigError("resume: applies to the whole sweep. Give one value.")
    if key == "threads":
        raise ConfigError("threads: cannot be swept, because TensorFlow cannot change it in a process once it runs.")
    if key in SWEEP_SETTINGS:
        raise ConfigError(f"{key}: cannot be swept, because it applies to the whole sweep. Give one value.")


def _refuse_endless(item: Override) -> None:
    """Raise `ConfigError` for values that are not a grid."""
    if not item.is_discrete_sweep():
        raise ConfigError(
            f"{item.input_line}: a grid needs separate values. Use range(...), choice(...) or a list with commas; or "
            "`harness search`, which tries values from an interval."
        )
