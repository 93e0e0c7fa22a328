"""Hydra takes launchers and sweepers from this namespace package and nowhere else: ours have their address here."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from harness.sweeps.launcher import PoolLauncher as _PoolLauncher
from harness.sweeps.plan import chosen_jobs


class PoolLauncher(_PoolLauncher):
    """`hydra/launcher=pool`: the jobs of a sweep in worker processes on this machine."""


class GridSweeper(BasicSweeper):
    """`hydra/sweeper=grid`: Hydra's own, but for two things. It makes no grid where `harness sweep` has made it, with
    all jobs that are due; whatever launcher carries them out. And it does not compose every job once more before the
    first starts (0.1 s each): they have been checked by then."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs that are due, in batches."""
        if (jobs := chosen_jobs()) is None:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        words = [list(job) for job in jobs]
        return [list(batch) for batch in BasicSweeper.split_overrides_to_chunks(words, max_batch_size)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Everything that is wrong has been said already."""
