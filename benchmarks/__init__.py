"""Measurements of the harness against its peers: `make bench`, or `python -m benchmarks --help`.

Every figure that is quoted is a ratio between contenders that ran in the same benchmark, taking turns. The benchmarks
use the harness through its commands and its public functions; the harness knows nothing of them.
"""
