"""A search with a budget (`harness search`): trials are suggested one by one, and trained as jobs of a sweep.

Data flows one way. A worker that is free asks `jobs.py` for its next job. That reads the store: each trial is a
parameter of the parent run, its scores are those of its child runs (`trials.py`). `objective.py` says what the scores
are worth, a sampler (`samplers.py`, the contract) suggests the next trial, and it is written to the store before it is
trained. Nothing else is remembered, so a search that was killed continues where it was.
"""
