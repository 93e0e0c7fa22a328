"""Hydra takes launchers and sweepers from this namespace package and nowhere else: ours have their address here."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from harness.sweep.planning import due_jobs
from harness.sweep.pool import PoolLauncher as _PoolLauncher


class PoolLauncher(_PoolLauncher):
    """`hydra/launcher=pool`: the jobs of a sweep in worker processes on this machine."""


class GridSweeper(BasicSweeper):
    """`hydra/sweeper=grid`: Hydra's own, but for two things. Jobs that the store has as finished are left out, whatever
    launcher carries out the rest. And it does not compose every job once more before the first starts (0.1 s each):
    `harness sweep` has checked the grid by then."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs that are due, in batches."""
        (grid,) = BasicSweeper.split_arguments(overrides, None)
        return [list(batch) for batch in BasicSweeper.split_overrides_to_chunks(due_jobs(grid), max_batch_size)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Everything that is wrong has been said already."""
