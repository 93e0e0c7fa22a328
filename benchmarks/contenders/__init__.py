"""Programs that train one epoch each time they are told to, each in a process of its own (see `gate.py`).

`torch_loop.py` and `jax_scan.py` run in another environment, so that nothing here imports more than NumPy at the top.
"""
