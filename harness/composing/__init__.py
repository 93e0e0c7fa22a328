"""All use of Hydra: registers schema and groups, composes overrides into a typed `Config`, expands a sweep into jobs.

Every error of Hydra or OmegaConf becomes a `ConfigError` that names the setting, its rule and the choices.
"""

from harness.composing.configs import compose_config, recorded_config, typed_config, with_absolute_paths
from harness.composing.explaining import explained, group_names
from harness.composing.grid import GRID_SWEEPER, GRID_SWEEPERS, SweepJobs, expand_sweep
from harness.composing.hydra_versions import VERSION_BASE
from harness.composing.jobs import SweepComposer, check_sweep
from harness.composing.setup import CONFIG_NAME, EXPERIMENTS, STUDY, added_folder, config_loader, register
from harness.composing.space import SEARCH_SWEEPER, SpaceOfWords, chooses_search, is_of_search, search_space
from harness.composing.words import as_written

__all__ = [
    "CONFIG_NAME",
    "EXPERIMENTS",
    "GRID_SWEEPER",
    "GRID_SWEEPERS",
    "SEARCH_SWEEPER",
    "STUDY",
    "VERSION_BASE",
    "SpaceOfWords",
    "SweepComposer",
    "SweepJobs",
    "added_folder",
    "as_written",
    "check_sweep",
    "chooses_search",
    "compose_config",
    "config_loader",
    "expand_sweep",
    "explained",
    "group_names",
    "is_of_search",
    "recorded_config",
    "register",
    "search_space",
    "typed_config",
    "with_absolute_paths",
]
