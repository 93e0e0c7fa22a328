"""Hydra takes launchers and sweepers from this namespace package and nowhere else: ours have their address here."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from harness.sweep.pool import PoolLauncher as _PoolLauncher


class PoolLauncher(_PoolLauncher):
    """`hydra/launcher=pool`: the jobs of a sweep in worker processes on this machine."""


class GridSweeper(BasicSweeper):
    """`hydra/sweeper=grid`: Hydra's own, but it does not compose every job once more before the first starts (0.1 s
    each): `harness sweep` has checked the grid by then."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Everything that is wrong has been said already."""
