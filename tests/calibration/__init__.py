"""Measures how often the statistics of comparisons are right on real runs: `make calibration`."""
