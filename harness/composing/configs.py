"""Makes one typed and checked `Config`, from overrides or from what Hydra composed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.composing.explaining import explained, unknown_setting
from harness.composing.setup import CONFIG_NAME, config_loader
from harness.composing.words import as_written
from harness.config.schema import OPTIONS, SAVED, Config, flatten
from harness.config.validation import validate
from harness.errors import ConfigError
from harness.surroundings import is_ignored
from harness.untrusted import plain_yaml

SEARCH = "search"
"""The section of a search (`harness.config.search`): no part of a run's configuration."""


def compose_config(
    overrides: Sequence[str] = (), config_name: str = CONFIG_NAME, config_dir: str | None = None
) -> Config:
    """The configuration of one run, from overrides as on the command line. Raises `ConfigError`."""
    loader, words = config_loader(config_dir), as_written(overrides)
    with explained(overrides):
        content = composed(loader, config_name, words)
        config = typed_config(content, overrides)
    if OmegaConf.select(content, "hydra.mode") == RunMode.MULTIRUN:
        raise ConfigError("hydra.mode=MULTIRUN would start a sweep. Start a sweep with `harness sweep`.")
    validate(config)
    return config


def composed(loader: ConfigLoader, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """What Hydra composes from `overrides`, with Hydra's own settings. Raises the errors of Hydra and OmegaConf."""
    return loader.load_configuration(config_name, list(overrides), RunMode.RUN, from_shell=False)


def typed_config(composed: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """Turn what Hydra composed into a `Config`: names and types are checked, values are not.

    Raises `ConfigError`. Its message quotes `overrides` as the user wrote them.
    """
    with explained(overrides):
        _refuse_variables(composed)
        content = own_settings(composed)
        _refuse_unknown_keys(content, overrides)
        OmegaConf.resolve(content)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), content))
    assert isinstance(config, Config)
    return with_absolute_paths(config)


def with_absolute_paths(config: Config) -> Config:
    """The configuration with paths that mean the same in every working directory; relative ones are taken from that of
    this process. What is no path is left alone."""
    dataset, source = config.dataset, config.regime.continue_from
    named = {"directory": dataset.directory, "file": dataset.file}
    changed: dict[str, Any] = {key: _absolute(path) for key, path in named.items() if path is not None and path.strip()}
    if changed:
        config = replace(config, dataset=replace(dataset, **changed))
    if source is not None and Path(source).suffix in SAVED:
        config = replace(config, regime=replace(config.regime, continue_from=_absolute(source)))
    return config


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def own_settings(composed: DictConfig) -> DictConfig:
    """A copy of a composed configuration without Hydra's own settings and those of a search."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key not in ("hydra", SEARCH)])


def recorded_config(text: str) -> Config:
    """The `Config` that a run recorded as YAML. Settings that its version did not have yet get their defaults.

    The text may come from a stranger, so `${...}` is refused and nothing is computed from it.

    Raises:
        RequestError: the text is not plain YAML.
        ConfigError: it contains `${...}`, or a setting that this version does not know.
    """
    given = plain_yaml(text, "The recorded configuration")
    if not isinstance(given, dict):
        raise ConfigError("The recorded configuration has no settings.")
    _refuse_interpolations(given)
    with explained():
        content = OmegaConf.merge(OmegaConf.create(dataclasses.asdict(Config())), OmegaConf.create(given))
        assert isinstance(content, DictConfig)
        return typed_config(content)


def _refuse_interpolations(given: object, key: str = "") -> None:
    if isinstance(given, dict):
        for name, value in given.items():
            _refuse_interpolations(name, key)
            _refuse_interpolations(value, f"{key}.{name}".lstrip("."))
    elif isinstance(given, list):
        for value in given:
            _refuse_interpolations(value, key)
    elif isinstance(given, str) and "${" in given:
        raise ConfigError(
            f"The recorded configuration has a value that would have to be computed ({key}). It may only have plain "
            "values, so it is not used."
        )


def _refuse_variables(composed: DictConfig) -> None:
    """Raise `ConfigError` if Hydra is to set an environment variable that the harness ignores.

    It cannot simply be removed: Hydra fails at the end of a job if a variable that it set is gone.
    """
    if names := [str(name) for name in OmegaConf.select(composed, "hydra.job.env_set") or () if is_ignored(str(name))]:
        raise ConfigError(
            f"hydra.job.env_set: {', '.join(names)} cannot be set for a run, because no configuration records it. "
            "Remove it. docs/configuration.md lists the variables that are pinned or ignored."
        )


def _refuse_unknown_keys(content: DictConfig, overrides: Sequence[str]) -> None:
    known = flatten(Config())
    groups = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    for key in _leaves(content):
        if key not in known and key not in groups and not f"{key}.".startswith(OPTIONS):
            raise ConfigError(unknown_setting(key, overrides))
    needed = {item.name for item in dataclasses.fields(Config)}
    for word in overrides:  # without this check, a deleted group would get the schema's defaults
        group = re.split("[=@]", word.removeprefix("~"))[0]
        if word.startswith("~") and group in needed:
            raise ConfigError(f"{word}: every run needs an option of the group {group}, so it cannot be removed.")


def _leaves(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
