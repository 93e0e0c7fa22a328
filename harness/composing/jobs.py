"""Makes the configuration of every job of a sweep.

Hydra takes 0.1 s to compose a job. So only one of the jobs that differ in plain values is composed; the values of the
others are then set on it, as Hydra would set them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from operator import attrgetter
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.composing.configs import composed, own_settings, typed_config, with_absolute_paths
from harness.composing.explaining import explained
from harness.composing.grid import SweepJobs
from harness.composing.hydra_versions import set_override_dirname
from harness.composing.setup import CONFIG_NAME, config_loader
from harness.config.schema import Config, flatten, settings_with
from harness.config.validation import validate
from harness.errors import ConfigError

SHARED = settings_with("sweep")
"""Settings that are the same for all jobs of a sweep."""
SETTINGS = frozenset(flatten(Config()))

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
CALL = re.compile(r"\$\{harness_\w+:[^${}]*\}")
"""A reference to one setting (`${a.b}`), and a call of one of our resolvers (`${harness_...:...}`)."""


def check_sweep(sweep: SweepJobs, config_name: str = CONFIG_NAME, config_dir: str | None = None) -> list[Config]:
    """The checked configuration of every job. Raises `ConfigError` for the first job that is wrong."""
    composer = JobComposer(config_loader(config_dir), config_name, sweep.hydra)
    configs = []
    for job in sweep.jobs:
        with explained(job):
            config = composer.config(job)
        validate(config)
        configs.append(config)
    _refuse_differences(sweep, configs)
    return configs


def _refuse_differences(sweep: SweepJobs, configs: Sequence[Config]) -> None:
    """Raise `ConfigError` if options of groups set different values for a setting that all jobs must share."""
    for key in SHARED:
        values = list(dict.fromkeys(map(attrgetter(key), configs)))
        if len(values) > 1:
            raise ConfigError(
                f"{key}: must be the same for all jobs of a sweep, but the options of {', '.join(sweep.swept)} set it "
                f"to {' and '.join(str(value) for value in values)}. Give one value: {key}={values[0]}."
            )


@dataclass(frozen=True)
class _Override:
    """An override, with what is needed to find jobs that differ in plain values only.

    `key` is the setting that it changes; empty if it chooses an option of a group. A `plain` override does nothing but
    set `key` to the typed `value`. `form` is equal for overrides that differ in a plain value only.
    """

    text: str
    form: str
    key: str = ""
    plain: bool = False
    value: Any = None


class JobComposer:
    """Composes the jobs of a sweep; `hydra` has the overrides of Hydra's own settings."""

    def __init__(self, loader: ConfigLoader, config_name: str, hydra: Sequence[str]) -> None:
        self._loader, self._config_name, self._hydra = loader, config_name, hydra
        self._forms = _Forms(loader, config_name, hydra)
        self.examples: dict[tuple[str, ...], _Example] = {}

    def config(self, job: Sequence[str]) -> Config:
        """The configuration that Hydra would compose. Raises the errors of Hydra and OmegaConf."""
        form, values = self._forms.read(job)
        example = self.examples.get(form)
        if example is not None and example.sets_values:
            return with_absolute_paths(example.with_values(values))
        found = composed(self._loader, self._config_name, [*self._hydra, *job])
        config = typed_config(found, job)
        self.examples[form] = _Example(config, own_settings(found))
        return config


class SweepComposer:
    """For the launcher: gives the same as Hydra's `load_sweep_config` for each job, but faster."""

    def __init__(self, loader: ConfigLoader, sweep: DictConfig) -> None:
        self._loader, self._sweep = loader, sweep
        self._forms = _Forms(loader, sweep.hydra.job.config_name, list(sweep.hydra.overrides.hydra))
        self._examples: dict[tuple[str, ...], DictConfig] = {}

    def config(self, job: Sequence[str]) -> DictConfig:
        """The job's configuration, with Hydra's own settings. Raises the errors of Hydra and OmegaConf."""
        form, values = self._forms.read(job)
        if form not in self._examples:
            self._examples[form] = self._loader.load_sweep_config(self._sweep, list(job))
        config = copy.deepcopy(self._examples[form])
        for key, value in values.items():
            OmegaConf.update(config, key, value)
        overrides = [item for item in self._forms.parsed(job) if not item.is_hydra_override()]
        config.hydra.overrides.task = [item.input_line for item in overrides]
        set_override_dirname(config, overrides)
        return config


class _Forms:
    """Finds which jobs differ in plain values only: these have the same form."""

    def __init__(self, loader: ConfigLoader, config_name: str, hydra: Sequence[str]) -> None:
        self._loader, self._config_name, self._hydra = loader, config_name, list(hydra)
        self._parser = OverridesParser.create()
        self._parse, self._read = cache(self._parse_override), cache(self._read_override)
        self._is_group, self._tied = cache(self._has_options), cache(_tied)

    def read(self, job: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
        """The form of a job, and its typed plain values."""
        overrides = [self._read(text) for text in job]
        tied = self._tied(tuple(item.key for item in overrides))
        form = tuple(item.text if item.key in tied else item.form for item in overrides)
        return form, {item.key: item.value for item in overrides if item.plain and item.key not in tied}

    def parsed(self, job: Sequence[str]) -> list[Override]:
        return [self._parse(text) for text in job]

    def _parse_override(self, text: str) -> Override:
        (parsed,) = self._parser.parse_overrides([text])
        return parsed

    def _read_override(self, text: str) -> _Override:
        parsed = self._parse(text)
        key, value = parsed.key_or_group, parsed.value()
        if self._is_group(key) and not isinstance(value, dict):
            return _Override(text, text)
        simple = parsed.package is None and not parsed.is_delete() and not isinstance(value, dict)
        refers = "${" in str(value) or "???" in str(value)
        if key in SETTINGS and simple and not refers:
            with suppress(OmegaConfBaseException):  # a wrong value: composing the job raises it again, with a message
                return _Override(text, parsed.get_key_element(), key, plain=True, value=_typed(key, value))
        return _Override(text, text, key)

    def _has_options(self, key: str) -> bool:
        return bool(self._loader.get_group_options(key, config_name=self._config_name, overrides=self._hydra))


def _tied(keys: Sequence[str]) -> frozenset[str]:
    """The settings that several overrides change, whole or in part. Their result depends on the order."""
    pairs = combinations([key for key in keys if key], 2)
    return frozenset(key for pair in pairs if _overlap(*pair) for key in pair)


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


class _Example:
    """A composed job, on which the values of other jobs can be set.

    `content` is what Hydra composed, with references to other settings (`${...}`) not resolved.
    """

    def __init__(self, config: Config, content: DictConfig) -> None:
        self._config, self._content = config, content
        self._computed = dict(_interpolated(content))
        self._needed = [_references(text) for text in self._computed.values()]
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    @property
    def sets_values(self) -> bool:
        """False if a whole section refers to another: then the effect of a single value is not known."""
        return SETTINGS.issuperset(self._computed)

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """The configuration with these typed `values`. Settings that depend on them are computed again."""
        needed = {key: value for key, value in values.items() if self._needs(key)}
        case = tuple(map(repr, needed.items()))
        if self._computed and case not in self._known:
            for key, value in needed.items():
                OmegaConf.update(self._content, key, value)
            found = {key: OmegaConf.select(self._content, key) for key in self._computed}
            self._known[case] = {key: _typed(key, value) for key, value in found.items()}
        return _changed(self._config, {**values, **self._known.get(case, {})})

    def _needs(self, key: str) -> bool:
        return any(names is None or any(_overlap(key, name) for name in names) for names in self._needed)


def _interpolated(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings that refer to others: each name, and the text as written."""
    for key in map(str, node):
        child = node._get_node(key)
        assert isinstance(child, Node)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _interpolated(child, f"{prefix}{key}.")
        elif "${" in (text := str(OmegaConf.to_container(child) if isinstance(child, ListConfig) else child._value())):
            yield f"{prefix}{key}", text


def _references(text: str) -> list[str] | None:
    """The settings that a value refers to; None if the text alone does not show it."""
    return None if "${" in CALL.sub("", REFERENCE.sub("", text)) else REFERENCE.findall(text)


def _typed(key: str, value: Any) -> Any:
    """`value` converted to the type of the setting `key`. Raises OmegaConf's `ValidationError`."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    OmegaConf.update(_schema(), key, value)
    typed = OmegaConf.select(_schema(), key)
    return OmegaConf.to_container(typed) if OmegaConf.is_config(typed) else typed


@cache
def _schema() -> DictConfig:
    schema: DictConfig = OmegaConf.structured(Config)
    return schema


def _changed(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of `config` with other `values`. Sections in which nothing changes are shared."""
    changed: dict[str, Any] = {"": copy.copy(config)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        setattr(_own(changed, section), name, value)
    fresh: Config = changed[""]
    fresh.__post_init__()
    return fresh


def _own(changed: dict[str, Any], section: str) -> Any:
    """The copy of a section, made at the first call for it."""
    if section not in changed:
        above, _, name = section.rpartition(".")
        parent = _own(changed, above)
        changed[section] = copy.copy(getattr(parent, name))
        setattr(parent, name, changed[section])
    return changed[section]
