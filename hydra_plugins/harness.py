"""Our launcher and sweeper for Hydra, which finds them in this namespace package only."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from harness.sweeps.launcher import PoolLauncher as _PoolLauncher
from harness.sweeps.plan import chosen_jobs
from harness.sweeps.ray_launcher import RayLauncher as _RayLauncher
from harness.sweeps.slurm_launcher import SlurmLauncher as _SlurmLauncher


class PoolLauncher(_PoolLauncher):
    """`hydra/launcher=pool`: runs the jobs of a sweep in worker processes on this machine."""


class RayLauncher(_RayLauncher):
    """`hydra/launcher=ray`: runs the jobs of a sweep in actors of a Ray cluster."""


class SlurmLauncher(_SlurmLauncher):
    """`hydra/launcher=slurm`: submits an array of workers that join the sweep."""


class GridSweeper(BasicSweeper):
    """`hydra/sweeper=grid`: Hydra's own sweeper, with two differences.

    If `harness sweep` has made the grid, it runs the jobs that are due, with any launcher. And it does not compose
    every job again before the first one starts (0.1 s each), because all jobs are checked already.
    """

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs that are due, in batches of at most `max_batch_size`."""
        if (jobs := chosen_jobs()) is None:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        words = [list(job) for job in jobs]
        return [list(batch) for batch in BasicSweeper.split_overrides_to_chunks(words, max_batch_size)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Does nothing, because all jobs are checked already."""


class SearchSweeper(GridSweeper):
    """`hydra/sweeper=optuna`: a search. `harness search` suggests its jobs (harness/sweeps/search), one by one."""
