"""The backend of pyplot, which the figures here do not use, in the process of a user who does."""

from __future__ import annotations

import matplotlib


def restore_backend(name: str | None) -> None:
    """Give back the backend of pyplot that the variable MPLBACKEND (`name`) or else a matplotlibrc asks for, where
    matplotlib was imported under another value of the variable."""
    wanted = name or dict.__getitem__(matplotlib.rcParamsOrig, "backend")
    dict.__setitem__(matplotlib.rcParams, "backend", wanted)
