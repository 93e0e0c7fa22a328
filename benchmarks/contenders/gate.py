"""How the driver and a contender talk: a line in is "go", a line of JSON out is the answer.

The first "go" asks the contender to prepare (load, build, perhaps compile), each later one for an epoch.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


class Gate:
    """The contender's end. Whatever else is printed to standard output goes to standard error instead."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def wait(self) -> None:
        """Return when the driver says go; leave quietly when it has gone."""
        if not sys.stdin.readline():
            raise SystemExit(0)

    def answer(self, **values: Any) -> None:
        print(json.dumps(values), file=self._answers, flush=True)
