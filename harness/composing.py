"""Hydra at the edge: our schema and groups registered, overrides composed into a typed `Config`.

Everything that Hydra or OmegaConf find wrong with a request leaves here as a `ConfigError` that names the setting,
the rule and the choices.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from harness import paths
from harness.config import SWEEP_SETTINGS, Config, flatten
from harness.errors import ConfigError, suggestion
from harness.validation import validate

VERSION_BASE = "1.3"
CONFIG_NAME = "config"
EXPERIMENTS = "experiments"
FULL_CHECK_LIMIT = 64
"""Combinations of a sweep that are each composed beforehand; of more, each value is tried once (0.1 s a try)."""
PLAIN_SEED = re.compile(r"seed=\d{1,9}")
"""Overrides that need no look: whole numbers that are seeds beyond doubt, of which a sweep may have hundreds."""
SIBLINGS_SHOWN = 12
NO_OPTION = re.compile(r"null|true|false|[-+.\d].*|\{.*")
"""Values that Hydra does not take for the name of a group's option."""


class ExperimentsSource(FileConfigSource):
    """`experiments/` as a config group. A plain search path on its parent would show every folder beside it."""

    @staticmethod
    def scheme() -> str:
        return EXPERIMENTS

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", EXPERIMENTS)

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(f"{EXPERIMENTS}/") and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == EXPERIMENTS:
            return super().list(config_path, results_filter)
        return [EXPERIMENTS] if config_path == "" and results_filter is not ObjectType.CONFIG else []


class ExperimentsSearchPath(SearchPathPlugin):
    """Puts `experiments/` behind `conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("harness", f"{EXPERIMENTS}://{paths.experiments_directory().parent}")


@lru_cache
def register() -> None:
    """Make Hydra know our schema, our experiments and `${harness_...:}`; once a process."""
    ConfigStore.instance().store(name="harness_schema", node=Config, provider="harness")
    OmegaConf.register_new_resolver("harness_root", lambda: str(paths.project_root()), replace=True)
    OmegaConf.register_new_resolver("harness_first", lambda *found: next(item for item in found if item is not None))
    OmegaConf.register_new_resolver("harness_epochs", _epochs, replace=True)
    Plugins.instance().register(ExperimentsSource)
    Plugins.instance().register(ExperimentsSearchPath)


def _epochs(steps: int, images: int | None, batch_size: int) -> int:
    """`${harness_epochs:STEPS,${dataset.train_size},${regime.batch_size}}`: the epochs that come nearest to STEPS.

    For studies in which the size of the training set differs from run to run and the length of training must not.
    """
    if images is None:
        raise ConfigError(
            f"dataset.train_size=null: this study sets its epochs so that every run takes {steps:,} steps, and has to "
            "know the size. Give it as a number."
        )
    if images < 1 or batch_size < 1:
        return 1  # either is refused, in its own words, by `validate`
    return max(1, round(steps / math.ceil(images / batch_size)))


def to_config(composed: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """What Hydra composed as a checked `Config`. Raises `ConfigError`, in the words of `overrides`."""
    config = typed_config(composed, overrides)
    validate(config)
    return config


def typed_config(composed: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """As `to_config`, but only names and types are checked: the run itself checks the rest, and records a failure."""
    with explained(overrides):
        content = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        _refuse_unknown_keys(content, overrides)
        OmegaConf.resolve(content)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), content))
    assert isinstance(config, Config)
    return config


def recorded_config(text: str) -> Config:
    """The `Config` that a run recorded as YAML; settings that its version did not have yet are at their defaults.

    Raises `ConfigError` where it holds what this version does not know.
    """
    with explained():
        content = OmegaConf.merge(OmegaConf.create(dataclasses.asdict(Config())), OmegaConf.create(text))
        assert isinstance(content, DictConfig)
        return typed_config(content)


def compose_config(
    overrides: Sequence[str] = (), config_name: str = CONFIG_NAME, config_dir: str | None = None
) -> Config:
    """The configuration of one run, from overrides as on the command line. Raises `ConfigError`."""
    with composer(config_dir) as extra, explained(overrides):
        composed = compose(config_name, overrides=[*overrides, *extra])
        return to_config(composed, overrides)


@dataclass(frozen=True)
class SweepJobs:
    """The jobs of a sweep in Hydra's order: each a list of overrides; `swept` names what takes several values,
    `launcher` is the configuration of what carries them out, and `sweeper` the class that Hydra makes the grid with."""

    jobs: tuple[tuple[str, ...], ...]
    swept: tuple[str, ...]
    launcher: Mapping[str, Any] = field(default_factory=dict)
    sweeper: str = ""


def expand_sweep(overrides: Sequence[str], config_name: str = CONFIG_NAME, config_dir: str | None = None) -> SweepJobs:
    """The grid that Hydra's sweeper makes of `overrides` and of `hydra.sweeper.params`. Raises `ConfigError`."""
    with composer(config_dir) as extra, explained(overrides):
        parser = OverridesParser.create()
        given = parser.parse_overrides(list(overrides))
        fixed = [item.input_line for item in given if not item.is_sweep_override() and item.input_line is not None]
        with_hydra = compose(config_name, overrides=[*fixed, *extra], return_hydra_config=True)
        params = OmegaConf.select(with_hydra, "hydra.sweeper.params") or {}
        every = parser.parse_overrides([f"{key}={value}" for key, value in params.items()] + list(overrides))
        _refuse_continuous(every)
        jobs = BasicSweeper.split_arguments(every, None)[0]
    last = {item.get_key_element().lstrip("+"): item for item in every}
    swept = tuple(key for key, item in last.items() if item.is_sweep_override())
    launcher = OmegaConf.to_container(with_hydra.hydra.launcher)
    assert isinstance(launcher, dict)
    return SweepJobs(
        tuple(tuple(job) for job in jobs),
        swept,
        {str(key): value for key, value in launcher.items()},
        str(OmegaConf.select(with_hydra, "hydra.sweeper._target_")),
    )


def check_sweep(sweep: SweepJobs, config_name: str = CONFIG_NAME, config_dir: str | None = None) -> list[Config]:
    """Compose jobs before any of them starts, so that a wrong value is refused at once; what was composed.

    Every value is tried once, and every combination too where they are at most `FULL_CHECK_LIMIT` (seeds aside, which
    fit anything); in a larger grid a wrong combination shows when its job starts, and is recorded as its failure.
    """
    for key in sweep.swept:
        if key.startswith("tracking."):
            raise ConfigError(f"{key}: tracking cannot be swept, since the runs of a sweep are kept together.")
        if key.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{key}: Hydra's own settings are those of the whole sweep. Give one value.")
        if key == "resume":
            raise ConfigError("resume: says what the whole sweep does. Give one value.")
        if key == "threads":
            raise ConfigError("threads: cannot be swept, since TensorFlow keeps in a process what it was started with.")
        if key in SWEEP_SETTINGS:
            raise ConfigError(f"{key}: cannot be swept, since a sweep deals with all its jobs alike. Give one value.")
    combinations = {job: tuple(item for item in job if not item.startswith("seed=")) for job in sweep.jobs}
    every_combination = len(set(combinations.values())) <= FULL_CHECK_LIMIT
    seen: set[str | tuple[str, ...]] = set()
    checked = []
    with composer(config_dir) as extra:
        for job, combination in combinations.items():
            values = {item for item in job if not PLAIN_SEED.fullmatch(item)}
            wanted: set[str | tuple[str, ...]] = {*values, combination} if every_combination else {*values}
            if not seen.issuperset(wanted):
                seen |= wanted
                with explained(job):
                    checked.append(to_config(compose(config_name, overrides=[*job, *extra]), job))
    return checked


@contextmanager
def composer(config_dir: str | None) -> Iterator[list[str]]:
    """Hydra ready to compose; yields the overrides that make it look into `--config-dir` as well."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(paths.configuration_directory()), version_base=VERSION_BASE):
        folder = str(config_dir).replace("\\", "\\\\").replace("'", "\\'")
        yield [f"hydra.searchpath=['file://{folder}']"] if config_dir else []


def _refuse_continuous(overrides: Sequence[Override]) -> None:
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.input_line}: a grid needs separate values. Use range(...), choice(...) or a list with "
                "commas."
            )


def _refuse_unknown_keys(content: DictConfig, overrides: Sequence[str]) -> None:
    known = flatten(Config())
    groups = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    for key in _leaves(content):
        if key not in known and key not in groups:
            raise ConfigError(_unknown(key, overrides))
    for item in dataclasses.fields(Config):
        if item.name not in content:
            raise ConfigError(f"~{item.name}: every run needs a {item.name}; it cannot be taken out.")


def _leaves(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@contextmanager
def explained(overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise into a `ConfigError`; `overrides` are what the user gave."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error)) from error
    except OverrideParseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{error.override}: this override cannot be read ({reason}). Write key=value, group=option or "
            "key=value1,value2; quote what the shell would take apart: 'model.hidden=[64,64]'."
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__context__, ConfigError):  # a resolver of ours refused
            raise error.__context__ from None
        raise ConfigError(_explain(error, overrides)) from error
    except ValueError as error:  # Hydra raises it bare for a group set to a number and the like
        raise ConfigError(_explain_text(str(error), overrides)) from error


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    choices = [str(choice) for choice in error.options or []]
    if not group:
        return f"{option}: there is no such configuration file in {paths.configuration_directory()}."
    return f"{group}={option}: must be one of {', '.join(choices)}.{suggestion(option, choices)}"


def _explain(error: HydraException | OmegaConfBaseException, overrides: Sequence[str]) -> str:
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return _explain_text(str(error), overrides)
    key = str(cause.full_key or "")
    if isinstance(cause, ConfigKeyError) or type(cause).__name__ == "ConfigAttributeError":
        return _unknown(key, overrides)
    reason = str(cause.msg or cause).splitlines()[0]
    given = _given(key, overrides)
    wanted = _expected_type(key.split("[")[0])
    return f"{given}: must be {wanted}." if wanted else f"{given}: {reason}."


def _explain_text(text: str, overrides: Sequence[str]) -> str:
    """Hydra's own message, for what it finds wrong without OmegaConf (for instance an unknown group)."""
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if f"'{key}'" in text and "Could not override" in text:
            return _unknown(key, overrides)
        if "Config group override" in text and key in _group_names() and NO_OPTION.fullmatch(value):
            return f"{override}: {key} is a group; it takes the name of an option. `harness train --help` lists them."
        if "Ambiguous value" in text and override in text:
            return (
                f"{override}: several values make a sweep: use `harness sweep` or `harness train --multirun`. "
                f"A list is written {key}=[...]."
            )
    return " ".join(text.split())


def _unknown(key: str, overrides: Sequence[str] = ()) -> str:
    """What to say of a key that does not exist: its neighbours if they are few, the nearest name if there is one."""
    known = [*flatten(Config()), *_group_names()]
    parents = [key.rsplit(".", depth)[0] for depth in range(1, key.count(".") + 1)]
    head = next((parent for parent in parents if any(name.startswith(f"{parent}.") for name in known)), "")
    siblings = [name for name in known if head and name.startswith(f"{head}.")] or _top_names()
    near = suggestion(key, [*known, *siblings]) or suggestion(key, siblings)
    choices = f"The settings there are {', '.join(siblings)}." if len(siblings) <= SIBLINGS_SHOWN or not near else ""
    message = f"{_given(key, overrides)}: there is no such setting.{near} {choices}".rstrip()
    return f"{message} `harness train --help` shows all settings."


def _given(key: str, overrides: Sequence[str]) -> str:
    """The override that set `key`, as the user wrote it; the key alone if a file set it."""
    return next((item for item in overrides if item.lstrip("+~").split("=")[0] == key.split("[")[0]), key)


def _group_names() -> list[str]:
    folders = sorted(item.name for item in paths.configuration_directory().iterdir() if item.is_dir())
    return [*(name for name in folders if name != "hydra"), EXPERIMENTS]


def _top_names() -> list[str]:
    fields = [item.name for item in dataclasses.fields(Config)]
    return fields + [name for name in _group_names() if name not in fields]


def _expected_type(key: str) -> str | None:
    """The type of a setting in words: `a whole number`, `true or false`."""
    node: Any = Config
    for part in key.split("."):
        hints = get_type_hints(node) if dataclasses.is_dataclass(node) else {}
        if part not in hints:
            return None
        node = hints[part]
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "list[int]": "a list of whole numbers such as [128,64]",
        "None": "null",
    }
    if dataclasses.is_dataclass(node):
        return f"one of the options of the group '{key}'" if "." not in key else "a group of settings"
    names = [name.strip() for name in (node.__name__ if isinstance(node, type) else str(node)).split("|")]
    if str(node).startswith("list["):
        names = [str(node)]
    return " or ".join(words.get(name, name) for name in names)
