"""What differs between Hydra 1.3 and 1.4 (OmegaConf 2.3 and 2.4). It can be removed with Hydra 1.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hydra
from hydra import version
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

BEFORE_1_4 = hydra.__version__.startswith("1.3.")
VERSION_BASE: Mapping[str, str] = {"version_base": "1.3"} if BEFORE_1_4 else {}
"""Arguments for Hydra's functions. Hydra 1.4 behaves as 1.3 with this version, and warns if a version is given."""

register_resolver: Any = getattr(OmegaConf, "register_new_resolver" if BEFORE_1_4 else "register_resolver")


def set_version_base() -> None:
    """Make Hydra behave as version 1.3, also where no function takes `VERSION_BASE`."""
    if BEFORE_1_4:
        version.setbase(VERSION_BASE["version_base"])


def set_override_dirname(config: DictConfig, overrides: list[Override]) -> None:
    """Set `hydra.job.override_dirname`, the name made from a job's overrides. In Hydra 1.4 a resolver computes it."""
    if BEFORE_1_4:
        from hydra._internal.config_loader_impl import get_overrides_dirname

        naming = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides, kv_sep=naming.kv_sep, item_sep=naming.item_sep, exclude_keys=naming.exclude_keys
        )
