"""How worker processes start: as new processes of Python that do not run the program again that has started them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_STARTING = threading.Lock()


class WorkerContext(SpawnContext):
    """Multiprocessing's "spawn", but a worker does not import `__main__`: a script needs no `if __name__ ==
    "__main__":` around `harness.sweep(...)`, and a notebook has no such file."""

    class Process(SpawnProcess):
        """A worker process."""

        @staticmethod
        def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's name
            with _nameless_main():
                return SpawnProcess._Popen(process_obj)


@contextmanager
def _nameless_main() -> Iterator[None]:
    """While a process starts, `__main__` has neither a file nor a module's name that it could import."""
    main = sys.modules["__main__"]
    with _STARTING:
        had_file, file = hasattr(main, "__file__"), getattr(main, "__file__", None)
        spec, main.__spec__ = getattr(main, "__spec__", None), None
        if had_file:
            del main.__file__
        try:
            yield
        finally:
            main.__spec__ = spec
            if had_file:
                main.__file__ = file
