"""Hydra takes launchers from this namespace package and from nowhere else, so ours has its address here."""

from harness.sweep.pool import PoolLauncher as _PoolLauncher


class PoolLauncher(_PoolLauncher):
    """`hydra/launcher=pool`: the jobs of a sweep in worker processes on this machine."""
