"""`harness ARGUMENTS` with a home of its own, which waits only a few seconds for the heartbeat of another machine."""

from __future__ import annotations

import os

from harness.cli import main
from harness.sweeps import claims, lease, owners

if __name__ == "__main__":
    os.environ["HOME"] = os.environ.pop("HARNESS_NODE_HOME")
    for module in (owners, lease, claims):
        vars(module).update(BEAT_SECONDS=1.0, EXPIRY_SECONDS=6.0)
    main()
