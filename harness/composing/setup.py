"""Prepares Hydra: registers our schema, resolvers and experiments, and where Hydra looks for groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from harness import paths
from harness.composing.hydra_versions import register_resolver, set_version_base
from harness.composing.words import TEXTS
from harness.config.optimizers import OPTIMIZERS
from harness.config.schema import Config
from harness.config.search import SearchConfig
from harness.config.validation import NAME_SHOWN
from harness.errors import ConfigError

CONFIG_NAME = "config"
EXPERIMENTS = "experiments"
STUDY = "study"
"""The key of an experiment that says what its runs are compared with (`harness.analysis.studies`). It is no setting."""
INCOMPLETE = frozenset({"model=custom"})
"""Options that need a setting besides."""
OPTIMIZER = "optimizer"
"""The group whose options are not files: they are made from `harness.config.optimizers`."""


@dataclass
class Composed(Config):
    """What Hydra composes: a run's configuration, and beside it the settings of a search."""

    search: SearchConfig | None = None


class ExperimentsSource(FileConfigSource):
    """`experiments/` as a config group. With its parent as a plain search path, every folder would become a group."""

    @staticmethod
    def scheme() -> str:
        return EXPERIMENTS

    def load_config(self, config_path: str) -> ConfigResult:
        loaded = super().load_config(config_path)
        if isinstance(loaded.config, DictConfig):
            loaded.config.pop(STUDY, None)
        return loaded

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", EXPERIMENTS)

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(f"{EXPERIMENTS}/") and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == EXPERIMENTS:
            return super().list(config_path, results_filter)
        return [EXPERIMENTS] if config_path == "" and results_filter is not ObjectType.CONFIG else []


class OptimizersSource(ConfigSource):
    """The options of the group `optimizer`. In `ConfigStore`, Hydra would use them as schemas of files of that name."""

    @staticmethod
    def scheme() -> str:
        return "optimizers"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removeprefix(f"{OPTIMIZER}/").removesuffix(".yaml")
        config = OmegaConf.create({"name": name, **OPTIMIZERS[name].chosen()})
        where = f"{self.scheme()}://{self.path}"
        return ConfigResult(config=config, path=where, provider=self.provider, header={"package": None})

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", OPTIMIZER)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return group == OPTIMIZER and name in OPTIMIZERS

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == OPTIMIZER:
            return sorted(OPTIMIZERS) if results_filter is not ObjectType.GROUP else []
        return [OPTIMIZER] if config_path == "" and results_filter is not ObjectType.CONFIG else []


class Loader(ConfigLoaderImpl):
    """Hydra's composer, which refuses files in which YAML has read a text as something else. `glob(*)` takes no option
    that does not stand alone."""

    def get_group_options(self, group_name: str, *arguments: Any, **options: Any) -> list[str]:
        found = super().get_group_options(group_name, *arguments, **options)
        return [option for option in found if f"{group_name}={option}" not in INCOMPLETE]

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        loaded = super()._load_single_config(default, repo)
        for key in TEXTS if isinstance(loaded.config, DictConfig) else ():
            value = OmegaConf.select(loaded.config, key, throw_on_resolution_failure=False)
            if isinstance(value, bool | int | float):
                raise ConfigError(
                    f"{default.config_path}.yaml: {key} is a text, but YAML reads the value as {value!r}. "
                    "Put it in quotes to keep its characters."
                )
        return loaded


class ExperimentsSearchPath(SearchPathPlugin):
    """Adds the optimizers and `experiments/` to the search path, after `conf/`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("harness", f"{OptimizersSource.scheme()}://harness.config")
        search_path.append("harness", f"{EXPERIMENTS}://{paths.experiments_directory().parent}")


@lru_cache
def register() -> None:
    """Register our schema, our experiments and `${harness_...:}` with Hydra, once in each process."""
    ConfigStore.instance().store(name="harness_schema", node=Composed, provider="harness")
    for name, resolver in {
        "harness_root": lambda: str(paths.project_root()),
        "harness_first": lambda *found: next(item for item in found if item is not None),
        "harness_epochs": _epochs,
        "harness_label": _label,
    }.items():
        register_resolver(name, resolver, replace=True)
    Plugins.instance().register(ExperimentsSource)
    Plugins.instance().register(OptimizersSource)
    Plugins.instance().register(ExperimentsSearchPath)


def _epochs(steps: int, images: int | None, batch_size: int) -> int:
    """`${harness_epochs:STEPS,${dataset.train_size},${regime.batch_size}}`: the number of epochs closest to STEPS.

    For studies with training sets of different sizes, in which every run takes the same number of steps.
    """
    if images is None:
        raise ConfigError(
            f"dataset.train_size=null: this study computes its epochs so that every run takes {steps:,} steps. Give "
            "dataset.train_size as a number."
        )
    if images < 1 or batch_size < 1:
        return 1  # `validate` refuses either, with its own message
    return max(1, round(steps / math.ceil(images / batch_size)))


def _label(place: str | None) -> str:
    """`${harness_label:${dataset.file}}`: what data of one's own is called unless `dataset.name` says it: by its file
    (without what follows the dot), its folder, or the loader's function."""
    module, colon, function = str(place or "own").partition(":")
    if colon and "/" not in str(place):
        name = module.rpartition(".")[2] if function in ("load", "load_data") else function
    else:
        path = Path(str(place or "own")).expanduser().absolute()
        name = path.stem if path.suffix == ".npz" else path.name
    return name[:NAME_SHOWN] or "own"


def added_folder(config_dir: str) -> Path:
    """The folder that `--config-dir` names. Raises `ConfigError` if it does not exist."""
    folder = Path(config_dir).expanduser().absolute()
    if not folder.is_dir():
        what = "that is a file" if folder.is_file() else "there is no such folder"
        raise ConfigError(
            f"--config-dir {config_dir}: {what}. Name a folder with options of groups, such as "
            f"FOLDER/model/wide.yaml or FOLDER/{EXPERIMENTS}/mine.yaml."
        )
    return folder


def config_loader(config_dir: str | None) -> Loader:
    """Hydra's config loader. It searches `config_dir` as Hydra searches the folder of its flag `--config-dir`.

    Raises `ConfigError` if there is no such folder.
    """
    register()
    setup_globals()
    set_version_base()
    search_path = create_config_search_path(str(paths.configuration_directory()))
    if config_dir is not None:
        folder = added_folder(config_dir)
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return Loader(search_path)
