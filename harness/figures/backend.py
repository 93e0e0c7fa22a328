"""Settings of matplotlib that belong to a process or machine: a user's changes, pyplot's backend, fonts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib.font_manager import fontManager


def restore_backend(name: str | None) -> None:
    """Give back the backend of pyplot that the variable MPLBACKEND (`name`) or else a matplotlibrc asks for, where
    matplotlib was imported under another value of the variable."""
    wanted = name or dict.__getitem__(matplotlib.rcParamsOrig, "backend")
    dict.__setitem__(matplotlib.rcParams, "backend", wanted)


_DEFAULTS = {
    name: value for name, value in dict.items(matplotlib.rcParamsDefault) if not name.startswith(("backend", "webagg"))
}


def users_settings_undone() -> dict[str, Any]:
    """matplotlib's own values of the settings that a matplotlibrc or a notebook has changed."""
    now = dict(dict.items(matplotlib.rcParams))
    return {name: value for name, value in _DEFAULTS.items() if now[name] is not value and now[name] != value}


_FAMILIES = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Microsoft YaHei", "Hiragino Sans", "PingFang SC", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai",
    "Arial Unicode MS",
)  # fmt: skip
"""Fonts in order: each character uses the first installed font that has it."""


@lru_cache
def font_families() -> list[str]:
    """Those of `_FAMILIES` that are installed."""
    installed = {font.name for font in fontManager.ttflist}
    return [name for name in _FAMILIES if name in installed]
