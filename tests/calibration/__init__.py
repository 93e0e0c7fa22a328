"""How often the statistics of comparisons are right on real runs: `python -m tests.calibration` (make calibration)."""
